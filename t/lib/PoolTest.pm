package PoolTest;

# What the tests share: the five classes and three backings, scratch paths,
# children that report and never outlive the test, namespaces, a C compiler.

use strict;
use warnings;
use Config;
use Cwd        ();
use Errno      qw(EINTR);
use Exporter   qw(import);
use File::Path ();
use File::Temp ();
use IO::Handle;
use POSIX        ();
use Scalar::Util qw(weaken);
use Storable     ();
use Test::More   ();
use Time::HiRes  ();
use Data::Pool::Shared;

our @EXPORT = qw(
    classes backings make dies_with warnings_of lives temp_folder temp_path write_file read_file
    in_child wait_until perl perl_command unshare_command compile
);

my $HUNG = 600;    # seconds after which a test is taken to hang: compiling takes long beside other work
my $MAIN = $$;
my ($folder, $watched);
my %children;      # who is to be ended with the test; the object while it is used

# name, class, what follows the capacity, and two values to store
sub classes {
    my $base = 'Data::Pool::Shared';
    return (
        { name => 'Raw', class => $base,          size => [16], one => 'a' x 16,    two => "\0\xff" x 8 },
        { name => 'I64', class => "${base}::I64", size => [],   one => 1,           two => -9_000_000_000 },
        { name => 'I32', class => "${base}::I32", size => [],   one => 1,           two => -2_000_000_000 },
        { name => 'F64', class => "${base}::F64", size => [],   one => 1,           two => -2.5e300 },
        { name => 'Str', class => "${base}::Str", size => [16], one => "caf\x{e9}", two => "\x{263a} smile" },
    );
}

sub backings { return qw(path anonymous memfd) }

# A new pool of a class from classes() on one of the backings.
my $count = 0;

sub make {
    my ($kind, $backing, $capacity, @options) = @_;
    my @geometry = ($capacity, @{ $kind->{size} }, @options);
    return $kind->{class}->new(temp_path('pool' . ++$count), @geometry) if $backing eq 'path';
    return $kind->{class}->new(undef,                        @geometry) if $backing eq 'anonymous';
    return $kind->{class}->new_memfd('test', @geometry);
}

# ---- what a block of code does

sub _fail_at_caller {
    my ($name, @why) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    Test::More::fail($name);
    Test::More::diag(@why);
    return 0;
}

# It dies, and each pattern matches what it dies with.
sub dies_with (&@) {
    my ($code, @patterns) = @_;
    my $name = pop @patterns;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    return _fail_at_caller($name, 'it did not die') if eval { $code->(); 1 };
    my $error = $@;
    for my $pattern (@patterns) {
        return _fail_at_caller($name, "died of: $error", "expected: $pattern") if $error !~ $pattern;
    }
    return Test::More::pass($name);
}

sub lives (&$) {
    my ($code, $name) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    return Test::More::pass($name) if eval { $code->(); 1 };
    return _fail_at_caller($name, "died of: $@");
}

sub warnings_of (&) {
    my ($code) = @_;
    my @warnings;
    local $SIG{__WARN__} = sub { push @warnings, @_ };
    $code->();
    return @warnings;
}

# ---- files

sub temp_folder { return $folder }
sub temp_path   { return temp_folder() . "/$_[0]" }

sub write_file {
    my ($path, $bytes) = @_;
    open my $file, '>:raw', $path or die "cannot write $path: $!";
    print {$file} $bytes or die "cannot write $path: $!";
    close $file          or die "cannot write $path: $!";
    return $path;
}

sub read_file {
    my ($path) = @_;
    open my $file, '<:raw', $path or die "cannot read $path: $!";
    local $/ = undef;
    return scalar readline $file;
}

# Does a mapping of a file there hold the locks of who opened it? Not on overlayfs, for one.
sub keeps_locks {
    my ($path) = @_;
    open my $from, '-|', 'stat', '-f', '-c', '%T', $path or return 0;
    return (readline($from) // '') =~ m{\A(?:tmpfs|ext2/ext3|xfs|btrfs|f2fs)$};
}

# ---- time

# Poll until the condition holds. Returns whether it did within two minutes.
sub wait_until (&) {
    my ($condition) = @_;
    my $end = Time::HiRes::time() + 120;
    until ($condition->()) {
        return 0 if Time::HiRes::time() > $end;
        Time::HiRes::sleep(0.005);
    }
    return 1;
}

# ---- children

# Fork. The block runs in the child with the child's end as its argument: it may
# say() lines and hear() them. What it returns, result() returns in the parent.
sub in_child (&) {
    my ($code) = @_;
    pipe my $from_child,  my $to_parent or die "pipe: $!";
    pipe my $from_parent, my $to_child  or die "pipe: $!";
    STDOUT->flush;
    defined(my $pid = fork) or die "fork: $!";
    if ($pid == 0) {
        close $_ for $from_child, $to_child, $watched, map { @$_{qw(in out)} } grep {defined} values %children;
        $to_parent->autoflush;
        my $self   = bless { in => $from_parent, out => $to_parent }, __PACKAGE__;
        my @result = eval { (1, $code->($self)) };
        @result = (0, "$@") if !@result;
        $self->say('result');
        Storable::store_fd(\@result, $to_parent);
        POSIX::_exit(0);
    }
    close $_ for $to_parent, $from_parent;
    $to_child->autoflush;
    my $self = bless { pid => $pid, in => $from_child, out => $to_child }, __PACKAGE__;
    weaken($children{$pid} = $self);
    return $self;
}

sub pid { return $_[0]{pid} }

sub say {
    my ($self, @words) = @_;
    local $SIG{PIPE} = 'IGNORE';
    return print { $self->{out} } "@words\n";
}

# The next line of the other side, or undef where that has gone.
sub hear {
    my ($self) = @_;
    my $line = readline $self->{in};
    chomp $line if defined $line;
    return $line;
}

# End the child with a signal. It stays a zombie until reap().
sub signal {
    my ($self, $signal) = @_;
    kill $signal, $self->{pid} or die "kill: $!";
    return $self;
}

sub reap {
    my ($self) = @_;
    my $got;
    do { $got = waitpid $self->{pid}, 0 } while $got < 0 && $! == EINTR;
    delete $children{ $self->{pid} };
    return $?;
}

sub end { return $_[0]->signal('KILL')->reap }

# Wait for the child to end; what its block returned. Dies with what it died of.
sub result {
    my ($self) = @_;
    my $line;
    do { $line = $self->hear } while defined $line && $line ne 'result';
    my $result = defined $line ? Storable::fd_retrieve($self->{in}) : [ 0, 'the child was killed' ];
    my $status = $self->reap;
    my ($ok, @values) = @$result;
    die "child: $values[0] (status $status)\n" if !$ok;
    return wantarray ? @values : $values[-1];
}

# ---- other programs

# The words that run this perl with the library under test.
sub perl {
    return ($^X, map { '-I' . Cwd::abs_path($_) } grep { !ref && -d } @INC);
}

sub perl_command {
    my ($program, @arguments) = @_;
    return (perl(), '-MData::Pool::Shared', '-e', $program, @arguments);
}

# The words that run a command with unshare(1), or nothing where that is not allowed.
sub unshare_command {
    my @options = @_;
    for my $user ([], [ '--user', '--map-root-user' ]) {
        my @command = ('unshare', @$user, @options);
        return @command if _quietly(@command, 'true');
    }
    return;
}

sub _quietly {
    my @command = @_;
    defined(my $pid = fork) or die "fork: $!";
    if ($pid == 0) {
        open STDOUT, '>', '/dev/null';
        open STDERR, '>', '/dev/null';
        { no warnings 'exec'; exec { $command[0] } @command }
        POSIX::_exit(127);
    }
    waitpid $pid, 0;
    return $? == 0;
}

# Compile a C file of t/lib with the pool. Returns the program's path, or nothing
# where there is no compiler.
sub compile {
    my ($source) = @_;
    my $program  = temp_path('program');
    my @compiler = split ' ', $Config{cc};
    return if !_quietly(@compiler, '--version');
    system(@compiler, '-O1', '-pthread', '-o', $program, "-I.", "t/lib/$source", 'pool.c') == 0 or die "cannot compile $source";
    return $program;
}

# ---- nothing is left behind

sub _descendants {
    my ($pid) = @_;
    my %children_of;
    for my $stat (glob '/proc/[0-9]*/stat') {
        my $text = eval { read_file($stat) } // next;
        push @{ $children_of{$2} }, $1 if $text =~ /^(\d+) .*\) \w (\d+)/s;
    }
    my @found = my @next = @{ $children_of{$pid} // [] };
    push @found, @next = map { @{ $children_of{$_} // [] } } @next while @next;
    return grep { $_ != $$ } @found;
}

# A process that ends a hanging test with all its children.
sub _watch {
    pipe my $alive, my $held or die "pipe: $!";
    defined(my $pid = fork) or die "fork: $!";
    if ($pid != 0) {
        $children{$pid} = undef;
        return $held;
    }
    close $held;
    $SIG{INT} = 'IGNORE';
    my $ready = '';
    vec($ready, fileno $alive, 1) = 1;
    if (!select $ready, undef, undef, $HUNG) {
        print STDERR "# $0 hangs: ended after $HUNG seconds\n";
        kill 'KILL', _descendants($MAIN), $MAIN;
        File::Path::remove_tree($folder);
    }
    POSIX::_exit(0);
}
$folder  = File::Temp::tempdir('pool-test-XXXXXX', TMPDIR => 1, CLEANUP => 1);
$watched = _watch();

END {
    if ($$ == $MAIN) {
        my $status = $?;
        for my $pid (keys %children) { kill 'KILL', $pid; waitpid $pid, 0 }
        $? = $status;
    }
}

# A tied scalar: tie my $x, 'PoolTest::Tied', sub { what reading it gives }
package PoolTest::Tied;
sub TIESCALAR { return bless $_[1], $_[0] }
sub FETCH     { return $_[0]->() }

1;
