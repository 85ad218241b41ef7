# While nobody waits there is no system call in the operations that matter.
use strict;
use warnings;
use Test::More;
use lib 't/lib';
use PoolTest;

plan skip_all => 'no strace here, or it may not trace' if system('strace -qq -o /dev/null true >/dev/null 2>&1') != 0;

# The system calls of a piece of Perl, run many times; between two writes that mark it.
sub calls_of {
    my ($class, $arguments, $code) = @_;
    my $log = temp_path('calls');
    my $program =
          "my \$pool = $class->new($arguments); my \$slot = \$pool->alloc; my \$x; \$pool->bind(\$slot, \$x); my \$round = sub { $code }; "
        . '$round->() for 1 .. 10; syswrite STDERR, "begin"; $round->() for 1 .. 1000; syswrite STDERR, "end"';
    system 'strace', '-f', '-qq', '-o', $log, perl_command("open STDERR, '>', '/dev/null'; $program");
    die "the program failed: $code" if $?;
    my ($between) = read_file($log) =~ /write\(2, "begin".*?\n(.*?)^[^\n]*write\(2, "end"/ms;
    return ['no marks'] if !defined $between;
    return [ grep { !/\bbrk\(|MAP_ANONYMOUS|SIG/ } split /\n/, $between ];    # perl's own memory aside
}

my %numbers = map { $_ => "Data::Pool::Shared::$_" } qw(I64 I32 F64);
for my $name (sort keys %numbers) {
    is_deeply(calls_of($numbers{$name}, 'undef, 100', $_), [], "$name: $_")
        for '$pool->free($pool->alloc)',
        '$pool->free($pool->try_alloc); $pool->free($pool->alloc(5)); $pool->free($pool->alloc_set(7)); $pool->free_n($pool->alloc_n(20))',
        '$pool->set($slot, 5); $pool->get($slot); $pool->add($slot, 2); $pool->incr($slot); $pool->cas($slot, 8, 9); $x = $x + 1',
        'my ($i, $guard) = $pool->alloc_guard; $pool->owner($i); $pool->adopt($i)';
}
is_deeply(calls_of('Data::Pool::Shared::Str', 'undef, 100, 50', '$pool->free($pool->alloc); $pool->set($slot, "text"); $pool->get($slot)'),
    [], 'Str: alloc, free, set, get');
is_deeply(calls_of('Data::Pool::Shared', 'undef, 100, 50', '$pool->free($pool->alloc); $pool->set($slot, "text"); $pool->get($slot)'),
    [], 'Raw: alloc, free, set, get');
is_deeply(
    calls_of(
        'Data::Pool::Shared::I64',
        "'" . temp_path('pool') . "', 100",
        '$pool->free($pool->alloc); $pool->set($slot, 5); $pool->get($slot)'
    ),
    [],
    'on a file'
);
isnt(scalar @{ calls_of('Data::Pool::Shared::I64', 'undef, 1', '$pool->alloc(0.00001)') }, 0, '(but where all slots are taken there are)');

subtest 'a free wakes who waits' => sub {
    my $log     = temp_path('wakes');
    my $program = q{
        my $pool = Data::Pool::Shared::I64->new(undef, 1);
        my $slot = $pool->alloc;
        my $child = fork // die "fork: $!";
        if (!$child) { while (1) { $pool->free($pool->alloc) } }
        sub sleeps { open my $stat, '<', "/proc/$child/stat"; return readline($stat) =~ /\) S/ }
        for (1 .. 20) {
            select undef, undef, undef, 0.001 until $pool->stats->{waiters} && sleeps();
            $pool->free($slot);
            $slot = $pool->alloc;
        }
        kill 'KILL', $child;
        waitpid $child, 0;
        exit 0;
    };
    system 'strace', '-qq', '-e', 'trace=futex', '-o', $log, perl_command($program);
    is($?, 0, 'two processes hand a slot to each other');
    my $woken = () = read_file($log) =~ /FUTEX_WAKE.* = 1$/mg;
    cmp_ok($woken, '>=', 10, 'each time one sleeps the other wakes it: nobody has to look for himself');
};

done_testing;
