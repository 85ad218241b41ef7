# A file is a whole pool or no pool, whoever races or dies.
use strict;
use warnings;
use Cwd qw(getcwd);
use Test::More;
use lib 't/lib';
use PoolTest;

my $RAW = 'Data::Pool::Shared';
my $I64 = "${RAW}::I64";

subtest 'many creators make one pool' => sub {
    for my $round (1 .. 15) {
        my $path = temp_path("race-$round");
        write_file($path, '') if $round % 3 == 0;
        my @children = map {
            in_child {
                $_[0]->say('ready');
                $_[0]->hear;
                my $pool = $I64->new($path, 100_000);    # large: creating takes a while
                my $slot = $pool->alloc;
                $pool->set($slot, $$);
                $slot;
            }
        } 1 .. 6;
        $_->hear for @children;
        $_->say('go') for @children;
        my %slot_of = map { $_->pid => scalar $_->result } @children;
        my $pool    = $I64->new($path);
        is_deeply({ map { $pool->get($_) => $_ } @{ $pool->allocated_slots } },
            \%slot_of, "round $round: six processes, six slots of one pool");
    }
};

subtest 'creators that disagree' => sub {
    for my $round (1 .. 8) {
        my $path     = temp_path("disagree-$round");
        my @children = map {
            my $capacity = $_;
            in_child {
                $_[0]->say('ready');
                $_[0]->hear;
                my $pool = eval { $I64->new($path, $capacity) };
                $pool ? $pool->capacity : $@
            }
        } 10, 10, 20, 20;
        $_->hear for @children;
        $_->say('go') for @children;
        my @got   = map { scalar $_->result } @children;
        my $whole = $I64->new($path)->capacity;
        my ($first, $second) = $whole == 10 ? ([ 0, 1 ], [ 2, 3 ]) : ([ 2, 3 ], [ 0, 1 ]);
        is_deeply([ @got[@$first] ], [ $whole, $whole ], "round $round: those who want what it is have it");
        is((grep {/incompatible.*10.*20|incompatible.*20.*10/} @got[@$second]), 2, "round $round: the others are told");
    }
};

subtest 'one creates, another removes, again and again' => sub {
    my $path    = temp_path('removed');
    my $remover = in_child {
        for (1 .. 300) { $RAW->unlink($path) }
        1
    };
    my @creators = map {
        in_child {
            for (1 .. 150) { my $pool = $I64->new($path, 10); $pool->free($pool->alloc) or die 'not freed' }
            1
        }
    } 1 .. 2;
    is((grep { $_->result } @creators), 2, 'each creator has a pool each time');
    ok($remover->result, 'and the remover ends');
    is($I64->new($path, 10)->capacity, 10, 'what is left is a pool, or none');
};

# Killed at each system call that touches the file: strace sends the signal before the call.
subtest 'a killed creator leaves a path that the next can use' => sub {
    plan skip_all => 'no strace here, or it may not trace'
        if system('strace -qq -o /dev/null -e inject=getppid:signal=SIGKILL true >/dev/null 2>&1') != 0;
    my $path   = temp_path('killed');
    my $log    = temp_path('calls');
    my $create = sub {
        my ($options, $existing, @strace) = @_;
        unlink $path;
        write_file($path, '') if $existing;
        system 'strace', '-qq', '-o', $log, '-P', $path, @strace,
            perl_command("Data::Pool::Shared->new(\$ARGV[0], 1000, 1000, { $options })", $path);
        return $? & 127;
    };
    for my $case ([ '', 0 ], [ 'sparse => 1', 1 ], [ 'mode => 0640', 0 ]) {
        my ($options, $existing) = @$case;
        my $what = ($existing ? 'in an empty file' : 'where there is none') . ", {$options}";
        $create->($options, $existing);
        my @calls = read_file($log) =~ /^(\w+)\(/mg;
        cmp_ok(scalar @calls, '>=', 10, "$what: a creation is at least ten system calls");
        my (%nth, %left);
        for my $call (@calls) {
            my $where = "$what: killed before $call " . ++$nth{$call};
            is($create->($options, $existing, '-e', "inject=$call:signal=SIGKILL:when=$nth{$call}"), 9, $where);
            my $pool = eval { $RAW->new($path, 2000, 500) };
            like($@, qr/incompatible/, "$where: the pool was whole, if it is not ours") if !$pool;
            $left{ $pool ? 'none' : 'whole' }++;
            $pool //= $RAW->new($path, 1000, 1000);
            is(scalar @{ $pool->alloc_n($pool->capacity) }, $pool->capacity, "$where: all of it can be used");
            $pool->set($_, 'x' x 500) for 0 .. $pool->capacity - 1;
        }
        cmp_ok($left{none},  '>=', 5, "$what: there were deaths before the pool was whole");
        cmp_ok($left{whole}, '>=', 1, "$what: and after");
    }
};

subtest 'what a killed creator may leave' => sub {
    my $magic = 'LSDPOOL0';    # "creating"
    for my $left ([ 'nothing but the file' => '' ], [ 'the mark alone' => $magic ], [ 'the mark and blocks' => $magic . "\0" x 100_000 ]) {
        my ($what, $bytes) = @$left;
        my $path = write_file(temp_path('left'), $bytes);
        dies_with { $I64->new($path) } qr/invalid/, "$what: not to attach to";
        my $pool = $I64->new($path, 10);
        is($pool->capacity,          10, "$what: to create in");
        is($pool->alloc_set(3),      0,  "$what: and use");
        is($I64->new($path)->get(0), 3,  "$what: with others");
    }
};

subtest 'unlink' => sub {
    my $path   = temp_path('unlinked');
    my $pool   = $I64->new($path, 10);
    my $second = $I64->new($path, 10);
    my $slot   = $pool->alloc_set(5);
    ok($pool->unlink,  'on an object');
    ok(!-e $path,      'removes the file');
    ok(!$pool->unlink, 'a second time is false');
    is($second->get($slot), 5,     'who has the pool open keeps it');
    is($second->path,       $path, 'and knows its path');
    my $new = $I64->new($path, 20);
    is($new->capacity, 20, 'the path is free for another pool');
    ok($RAW->unlink($path),  'CLASS->unlink($path)');
    ok(!-e $path,            'removes the file, too');
    ok(!$I64->unlink($path), 'and is false where there is none');
    $new = $I64->new($path, 20);
    ok(Data::Pool::Shared::Str->unlink($path), 'any class will do');
};

subtest 'a relative path' => sub {
    my $home = getcwd();
    chdir temp_folder() or die "chdir: $!";
    my $pool = $I64->new('relative', 10);
    is($pool->path, 'relative', 'is kept as it was given');
    mkdir 'elsewhere';
    chdir 'elsewhere' or die "chdir: $!";
    ok($pool->unlink, 'and unlink finds the file after a chdir');
    chdir $home or die "chdir: $!";
    ok(!-e temp_path('relative'), 'it is gone');
};

subtest 'unusual paths' => sub {
    for my $name ('with space', "with\nnewline", '%s%n', "\xff\xfe", "caf\xc3\xa9") {
        my $path = temp_path($name);
        my $pool = $I64->new($path, 10);
        is($pool->path, $path, 'path is what was given');
        ok(-e $path,      'the file is there');
        ok($pool->unlink, 'and can be removed');
    }
    symlink temp_path('target'), temp_path('link') or die "symlink: $!";
    $I64->new(temp_path('target'), 10)->alloc_set(8);
    is($I64->new(temp_path('link'))->get(0), 8, 'a symbolic link to a pool');
};

subtest 'what is in the file' => sub {
    my $path = temp_path('kept');
    my $pool = Data::Pool::Shared::Str->new($path, 10, 30);
    my $slot = $pool->alloc_set("kept \x{263a}");
    ok($pool->sync, 'sync is true');
    like(read_file($path), qr/kept \xe2\x98\xba/, 'the text is in the file');
    undef $pool;
    is(Data::Pool::Shared::Str->new($path)->get($slot), "kept \x{263a}", 'and in the pool that is opened again');
    ok($_->sync, 'sync of a pool without a file is true') for $I64->new(undef, 1), $I64->new_memfd('test', 1);
};

subtest 'descriptors are closed' => sub {
    my $open   = sub { scalar(() = glob '/proc/self/fd/*') };
    my $path   = temp_path('descriptors');
    my $before = $open->();
    for (1 .. 3) {
        my $pool   = $I64->new($path, 10);
        my $memfd  = $I64->new_memfd('test', 10);
        my $third  = $I64->new_from_fd($memfd->memfd);
        my $sparse = $I64->new(temp_path('descriptors-sparse'), 10, { sparse => 1 });
        $pool->eventfd;
        eval { $I64->new($path,       11) };
        eval { $I64->new('/dev/null', 11) };
    }
    is($open->(), $before, 'with the pool, and where new dies');
    my $pool = $I64->new_memfd('test', 10);
    $pool->eventfd;
    open my $list, '-|', 'ls', '-l', '/proc/self/fd' or die "ls: $!";
    my @inherited = grep {/memfd|eventfd/} <$list>;
    is_deeply(\@inherited, [], 'and not inherited by programs that are started');
};

done_testing;
