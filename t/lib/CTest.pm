package CTest;

# Compiles the C tests in t/c (or another folder) and relays what they print as subtests.
#
#   my $suite = CTest->new(cflags => ['-O2'], runner => ['valgrind', '-q']);
#   plan skip_all => $suite->{unusable} if $suite->{unusable};
#   $suite->run($_) for CTest::sources();
#
# library => [files]: what the tests are linked with, beside pool.c.

use strict;
use warnings;

use Config;
use File::Basename qw(basename);
use File::Temp     qw(tempdir);
use TAP::Parser;
use Test::More;

# The compiler is Perl's unless POOL_CC names another; POOL_CFLAGS are added
# (-fsanitize=address, for example).
sub new {
    my ($class, %option) = @_;
    my $self = bless {
        cc      => $option{cc}     || [ split ' ', $ENV{POOL_CC} || $Config{cc} ],
        cflags  => $option{cflags} || [],
        libs    => $option{libs}   || [],
        library => [ 'pool.c', @{ $option{library} || [] } ],
        runner  => $option{runner} || [],
        dir     => tempdir('pool-c-XXXXXX', TMPDIR => 1, CLEANUP => 1),
    }, $class;
    push @{ $self->{cflags} }, split ' ', $ENV{POOL_CFLAGS} || '';
    $self->{unusable} = $self->_try;
    return $self;
}

sub sources { my ($folder) = (@_, 't/c'); my @sources = sort glob "$folder/*.c"; return @sources }

# Why nothing can be compiled and run, or ''.
sub _try {
    my ($self) = @_;
    open my $out, '>', "$self->{dir}/try.c" or die "cannot write $self->{dir}/try.c: $!";
    print {$out} "int main(void) { return 0; }\n";
    close $out or die "cannot write $self->{dir}/try.c: $!";
    my ($failed, $output) = $self->_compile("$self->{dir}/try", "$self->{dir}/try.c");
    return "no working C compiler: $self->{cc}[0]: $output" if $failed;
    local $ENV{TMPDIR} = $self->{dir};
    ($failed, $output) = _output(@{ $self->{runner} }, "$self->{dir}/try");
    return $failed ? "cannot run what @{ $self->{cc} } builds: $output" : '';
}

# Runs a command without a shell. Returns its wait status and all it printed.
sub _output {
    my (@command) = @_;
    my $pid       = open my $from, '-|';
    die "cannot fork: $!" if !defined $pid;
    if (!$pid) {
        open STDERR, '>&', \*STDOUT;
        { no warnings 'exec'; exec { $command[0] } @command; }
        print "cannot run $command[0]: $!\n";
        require POSIX;
        STDOUT->flush;
        POSIX::_exit(127);
    }
    my $output = do { local $/; <$from> };
    close $from;
    return ($?, defined $output ? $output : '');
}

sub _compile {
    my ($self, @arguments) = @_;
    return _output(@{ $self->{cc} }, qw(-std=gnu11 -g -Wall -Wextra -Werror -pthread), @{ $self->{cflags} }, '-o', @arguments);
}

# The library's objects: each is compiled once.
sub _objects {
    my ($self) = @_;
    my @objects;
    for my $source (@{ $self->{library} }) {
        my $object = "$self->{dir}/" . ($source =~ s{[/.]}{_}gr) . '.o';
        if (!-e $object) {
            my ($failed, $output) = $self->_compile($object, '-c', $source);
            die "cannot compile $source:\n$output" if $failed;
        }
        push @objects, $object;
    }
    return @objects;
}

# Compiles a test; one that includes an implementation of its own does without the library.
sub build {
    my ($self, $source) = @_;
    my $program = "$self->{dir}/" . basename($source, '.c');
    open my $in, '<', $source or die "cannot read $source: $!";
    my $whole = grep {/^#define POOL_IMPLEMENTATION/} <$in>;
    my ($failed, $output) = $self->_compile($program, $source, $whole ? () : $self->_objects, @{ $self->{libs} });
    die "cannot compile $source:\n$output" if $failed;
    return $program;
}

# Compiles and runs one test: a subtest with every line that it prints.
sub run {
    my ($self, $source) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    return subtest basename($source) => sub {
        my $program = eval { $self->build($source) };
        return fail("compiles: $@") if !$program;
        local $ENV{TMPDIR} = $self->{dir};
        my $tap = TAP::Parser->new({ exec => [ @{ $self->{runner} }, $program ], merge => 1 });
        while (my $line = $tap->next) { _relay($line) }
        is($tap->wait,      0,                   'the program ends well');
        is($tap->tests_run, $tap->tests_planned, 'after all its tests');
    };
}

sub _relay {
    my ($line) = @_;
    (my $name = $line->is_test ? $line->description : '') =~ s/^- //;
    if ($line->is_test && $line->has_skip) {
        SKIP: { skip $line->explanation, 1 }
    } elsif ($line->is_test) {
        ok($line->is_ok, $name);
    } elsif ($line->is_bailout) {
        fail($line->as_string);
    } elsif (!$line->is_plan && $line->as_string =~ /\S/) {
        diag($line->as_string);
    }
    return;
}

1;
