use strict;
use warnings;
use lib 't/lib';
use ShmTest;
use Test::More;
use IPC::Open2 ();
use IPC::Shm;

# A process that has no descriptor left cannot open the files that others have added
# to the namespace. It must not take what is in them for something that is not there.

my $program = <<'CODE';
use strict;
use warnings;
use IPC::Shm;
our %first : shm = (here => 1);
my @open;
sub ask { my ($code) = @_; my $got = eval { $code->() }; print defined $got ? "$got\n" : $@ =~ s/\n//gr . "\n"; }
sub declare { my ($name) = @_; my $variable = eval "our \%$name : shm; \\\%$name" or die $@; return $variable }
$| = 1;
print "ready\n";
while (<STDIN>) {
    if    (/^exhaust/) { while (open my $file, '<', '/dev/null') { push @open, $file } print "done\n" }
    elsif (/^release/) { @open = (); print "done\n" }
    elsif (/^recover/) { ask(sub { IPC::Shm->recover; return 'recovered' }) }
    elsif (/^declare (\w+)/) { ask(sub { my $v = declare($1); $v->{n} // 'empty' }) }
    elsif (/^deep (\w+)/)    { ask(sub { declare($1)->{deep}{er}{est} // 'empty' }) }
    elsif (/^store/) { ask(sub { $first{more} = 'x' x 100_000; return 'stored' }) }
}
CODE
my $file = File::Temp->new(SUFFIX => '.pl');
print {$file} $program;
close $file;
my $command = join ' ', 'ulimit -n 64 && exec', $^X, map({"'-I$_'"} grep { !ref } @INC), "'$file'", '2>&1';
my $pid     = IPC::Open2::open2(my $out, my $in, '/bin/sh', '-c', $command);
sub hear { my $line = <$out>; chomp $line if defined $line; return $line }
sub ask { my ($what) = @_; print {$in} "$what\n"; return hear() }
is hear(), 'ready', 'a process with few descriptors';

# Meanwhile others add to each of the namespace's files.
for my $n (1 .. 80) {
    my $variable = eval "our \%n$n : shm = (n => $n); \\\%n$n" or die $@;    ## no critic (StringyEval)
    $variable->{deep} = { er => { est => "deep$n" } } if $n > 70;
}
our (%n80, %n1);
$n1{blocks} = 'x' x 300_000;
for my $n (2 .. 30) {    # room in the first files
    delete $IPC::Shm::NAMEVARS{"%main::n$n"};
    no strict 'refs';    ## no critic
    untie %{"n$n"};
}
finish(child(sub { $n80{low} = { er => { est => 'low' } } for 1 .. 3 }));    # what only n80 refers to
my $variables = IPC::Shm->stats->{variables};

ask('exhaust');
is ask('declare n80'), 80,          'without a descriptor, it sees what others have made since';
is ask('recover'),     'recovered', '(it recovers)';
is ask('store'),       'stored',    'a store needs no descriptor either';
is(IPC::Shm->stats->{variables}, $variables, '… and it has not freed what it cannot see');
is "$n80{deep}{er}{est} $n80{low}{er}{est}", 'deep80 low', '… nor what that refers to';
ask('release');
is ask('declare n80'), 80,          'with descriptors it finds the variable';
is ask('deep n80'),    'deep80',    '… and all that it refers to';
is ask('store'),       'stored',    '… and stores again';
is ask('recover'),     'recovered', '… and recovers';
my %left = map { $_ => $IPC::Shm::NAMEVARS{"%main::n$_"}{deep}{er}{est} } 71 .. 80;
is_deeply \%left, { map { $_ => "deep$_" } 71 .. 80 }, 'nothing was lost';
close $in;
waitpid $pid, 0;
IPC::Shm->cleanup;
done_testing;
