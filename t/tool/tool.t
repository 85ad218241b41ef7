# The program shmpool as its users run it: pools at rest. (t/tool/watch.t has the live view.)
use strict;
use warnings;
use Test::More;
use JSON::PP     ();
use Pod::Checker ();
use lib 't/lib';
use PoolTest qw(in_child perl perl_command read_file temp_folder unshare_command write_file);
use POSIX    ();
use ToolTest qw(shmpool_in_shell shmpool succeeds json fails leave_stale has_utf8_locale);
use Data::Pool::Shared;
use Data::Pool::Shared::Tool;

my $folder = temp_folder();

my $name_of_test = 'tool.t';    # not perl, which runs it

subtest 'info' => sub {
    my $pool = Data::Pool::Shared::Str->new("$folder/info", 200, 28, { mode => 0640 });
    my $held = $pool->alloc_n(7);
    $pool->free($held->[0]);
    $pool->alloc_n(200, 0.01);
    leave_stale($pool, 4);
    leave_stale($pool, 2);
    my %expected = (
        path           => "$folder/info",
        variant        => 'Str',
        capacity       => 200,
        elem_size      => 32,
        mode           => '0640',
        format_version => 1,
        used           => 12,
        available      => 188,
        stale          => 6,
        allocs         => 13,
        frees          => 1,
        waits          => 1,
        timeouts       => 1,
        recoveries     => 0,
        waiters        => 0,
        sparse         => JSON::PP::false,
        size           => -s "$folder/info",
    );
    is_deeply json('info', "$folder/info"), [ \%expected ], 'as JSON';

    my $text = succeeds('info', "$folder/info");
    like $text, qr/^\Q$folder\E\/info$/m,                              'path';
    like $text, qr/variant +Str, 32 bytes an element$/m,               'variant and element size';
    like $text, qr/capacity +200 slots$/m,                             'capacity';
    like $text, qr/used +12 slots \(6\.0 %\), 6 of them stale$/m,      'used and stale';
    like $text, qr/waiters +0 now; 1 call had to wait, 1 timed out$/m, 'waiters';
    like $text, qr/counters +13 allocations, 1 free, 0 recovered$/m,   'counters';
    like $text, qr/size +\d+ KiB$/m,                                   'size';
    like $text, qr/mode +0640$/m,                                      'mode';
    like $text, qr/format +version 1$/m,                               'format version';

    my $memfd = Data::Pool::Shared::I64->new_memfd('x', 10);
    is json('info', "/proc/$$/fd/" . $memfd->memfd)->[0]{variant}, 'I64', 'a memfd, through /proc';

    my $sparse = Data::Pool::Shared->new("$folder/sparse", 5, 8, { sparse => 1 });
    my $both   = json('info', "$folder/sparse", "$folder/info");
    is_deeply [ map { $_->{variant} } @$both ], [ 'raw', 'Str' ], 'several files, in order';
    ok $both->[0]{sparse}, 'a sparse one';

    write_file("$folder/other", 'something else');
    my $out = fails([ 'info', '--json', "$folder/sparse", "$folder/other", "$folder/info", "$folder/none" ],
        'other is invalid: not a pool; .*none: No such file');
    is @{ JSON::PP->new->utf8->decode($out) }, 2, 'the good ones among bad ones are shown';
};

subtest 'a waiter counts while it waits' => sub {
    my $pool = Data::Pool::Shared::I64->new("$folder/waited", 2);
    my $held = $pool->alloc_n(2);
    my $pid  = fork // die "fork: $!";
    if (!$pid) { $pool->alloc; POSIX::_exit(0) }
    my $waiters = 0;
    for (1 .. 500) {
        last if $waiters = json('info', "$folder/waited")->[0]{waiters};
        select undef, undef, undef, 0.02;
    }
    is $waiters, 1, 'one';
    $pool->free($held->[0]);
    waitpid $pid, 0;
};

subtest 'slots: values by type' => sub {
    my %pools = (
        I64 => [ ['Data::Pool::Shared::I64'],        [ -9223372036854775808, 42 ] ],
        I32 => [ ['Data::Pool::Shared::I32'],        [ -2147483648, 7 ] ],
        F64 => [ ['Data::Pool::Shared::F64'],        [ 0.1, 0.1 + 0.2, -2, 1e300, 9**9**9, -9**9**9, -sin 9**9**9 ] ],
        Str => [ [ 'Data::Pool::Shared::Str', 400 ], [ 'text', "\x{263a} \"wide\"\n", "\xe9", 'x' x 400 ] ],
        raw => [ [ 'Data::Pool::Shared', 8 ],        [ 'bytes', "\xe9\0\x01" ] ],
    );
    my %text_of = (
        I64 => [qw(-9223372036854775808 42)],
        I32 => [qw(-2147483648 7)],
        F64 => [qw(0.1 0.30000000000000004 -2 1e+300 Inf -Inf NaN)],
        Str => [ '"text"',  '"\x{263a} \"wide\"\n"', '"\xe9"', '"' . 'x' x 60 . '"...' ],
        raw => [ '"bytes"', '"\xe9\x00\x01"' ],
    );
    my %json_of = (
        F64 => [ 0.1, 0.1 + 0.2, -2, 1e300, 'Infinity', '-Infinity', 'NaN' ],
        raw => [ "bytes\0\0\0", "\xe9\0\x01\0\0\0\0\0" ],
    );
    local $ENV{LC_ALL} = 'C';
    for my $variant (sort keys %pools) {
        my ($how,   $values) = @{ $pools{$variant} };
        my ($class, @size)   = @$how;
        my $pool = $class->new("$folder/$variant", 20, @size);
        $pool->alloc_set($_) for @$values;
        my $rows = json('slots', "$folder/$variant");
        is_deeply [ map { $_->{value} } @$rows ], $json_of{$variant} // $values, "$variant: JSON has the values";
        is_deeply [ map { $_->{slot} } @$rows ],  $pool->allocated_slots,        "$variant: and the indices";
        my ($heading, @lines) = split /\n/, succeeds('slots', "$folder/$variant");
        is_deeply [ map { (split ' ', $_, 6)[5] } @lines ], $text_of{$variant}, "$variant: as text";
    }
    SKIP: {
        skip 'no locale C.UTF-8', 2 if !has_utf8_locale();
        local $ENV{LC_ALL} = 'C.UTF-8';
        like succeeds('slots', "$folder/Str"), qr/"\xe2\x98\xba \\"wide\\"\\n"/, 'wide characters where the locale has them';
    }
};

subtest 'slots: who holds them' => sub {
    my $pool = Data::Pool::Shared::I64->new("$folder/who", 300);
    my $mine = $pool->alloc_set(5);
    my $kept = $pool->alloc_set(6);
    $pool->disown($kept);
    my $dead = leave_stale($pool, 1);
    my %row  = map { $_->{state} => $_ } @{ json('slots', "$folder/who") };
    is_deeply [ sort keys %row ], [qw(alive disowned stale)], 'three states';
    my %age = map { $_ => delete $row{$_}{age} } keys %row;
    is_deeply $row{alive}, { slot => $mine, pid => $$, command => $name_of_test, state => 'alive', value => 5 },
        'mine: I am alive, by name';
    is_deeply $row{disowned}, { slot => $kept, pid => 0, command => undef, state => 'disowned', value => 6 }, 'nobody\'s';
    is $row{stale}{pid},     $dead, 'the dead owner\'s PID';
    is $row{stale}{command}, undef, 'whose name is gone';
    ok $age{alive} >= $age{stale}, 'ages: the parent is the older one';
    is $age{disowned}, undef, 'nobody has no age';

    my @lines = split /\n/, succeeds('slots', "$folder/who");
    my $age   = qr/\d\.\ds|\d\ds|\d+m\d\ds|\d+h\d\dm|\d+d\d\dh/;
    like $lines[0], qr/^ *SLOT +PID +STATE +AGE +COMMAND +VALUE$/,        'heading';
    like $lines[1], qr/^ *$mine +$$ +alive +$age +\Q$name_of_test\E +5$/, 'a line a slot';
    like $lines[2], qr/^ *$kept +- +disowned +- +- +6$/,                  'of nobody';
    like $lines[3], qr/^ *\d+ +$dead +stale +$age +- +0$/,                'of the dead';
    is @lines, 4, 'and no more';

    my $empty = Data::Pool::Shared::I64->new("$folder/empty", 3);
    is_deeply json('slots', "$folder/empty"), [], 'an empty pool';
};

subtest 'slots: more than are kept' => sub {
    my $pool = Data::Pool::Shared::I64->new("$folder/more", 3000);
    $pool->alloc_set($_) for 1 .. 2500;
    my $expected = [ map { $pool->get($_) } @{ $pool->allocated_slots } ];
    is_deeply [ map { $_->{value} } @{ json('slots', "$folder/more") } ], $expected, 'JSON has all';
    my ($heading, @lines) = split /\n/, succeeds('slots', "$folder/more");
    is_deeply [ map { (split)[5] } @lines ],                 $expected, 'text, too';
    is_deeply [ grep { length != length $heading } @lines ], [],        'in columns';
};

# Text from outside reaches the terminal as text, and JSON as characters.
subtest 'names of files and processes' => sub {
    my $file  = "$folder/\e[31mcaf\xc3\xa9\n";
    my $pool  = Data::Pool::Shared::I64->new($file, 3);
    my $child = in_child {
        my ($parent) = @_;
        write_file('/proc/self/comm', "\e[1m\xc3\xa9");
        $pool->alloc;
        $parent->say('ready');
        $parent->hear;
    };
    $child->hear;
    is json('info',    $file)->[0]{path},    "$folder/\e[31mcaf\x{e9}\n", 'info';
    is json('slots',   $file)->[0]{command}, "\e[1m\x{e9}",               'slots';
    is json('recover', $file)->{path},       "$folder/\e[31mcaf\x{e9}\n", 'recover';
    my $look = json('watch', '--count', 1, $file);
    is $look->{path},                "$folder/\e[31mcaf\x{e9}\n", 'watch';
    is $look->{holders}[0]{command}, "\e[1m\x{e9}",               'and its process';

    for my $locale ('C', has_utf8_locale() ? 'C.UTF-8' : ()) {
        local $ENV{LC_ALL} = $locale;
        my $e = $locale eq 'C' ? '\xe9' : "\xc3\xa9";
        like succeeds('info',  $file), qr/\A\Q$folder\E\/\\x1b\[31mcaf\Q$e\E\\n\n/, "$locale: info";
        like succeeds('slots', $file), qr/ \\x1b\[1m\Q$e\E /,                       "$locale: slots";
    }
    my $bytes = Data::Pool::Shared::I64->new("$folder/\xff", 3);
    is json('info', $bytes->path)->[0]{path}, "$folder/\xff", 'bytes that are no UTF-8';
    fails([ 'info', "$folder/caf\xc3\xa8" ], "caf\xc3\xa8: No such file");
    $child->say('go');
    $child->result;
};

subtest 'an owner in another PID namespace' => sub {
    my @unshare = unshare_command(qw(--pid --fork --kill-child)) or plan skip_all => 'unshare --pid is not allowed here';
    my $pool    = Data::Pool::Shared::I64->new("$folder/elsewhere", 10);
    my $program = '$| = 1; my $pool = Data::Pool::Shared->attach(shift); print $pool->alloc_set(8), "\n"; readline STDIN';
    pipe my $from_us, my $to_them or die "pipe: $!";
    my $pid = open(my $from_them, '-|') // die "fork: $!";
    if (!$pid) {
        close $to_them;
        open STDIN, '<&', $from_us or die;
        exec @unshare, perl_command($program, "$folder/elsewhere") or die;
    }
    chomp(my $slot = readline $from_them);
    my $state = PoolTest::keeps_locks("$folder/elsewhere") ? 'elsewhere' : 'unknown';
    is_deeply json('slots', "$folder/elsewhere"),
        [ { slot => $slot, pid => 1, state => $state, age => undef, command => undef, value => 8 } ],
        'is not taken for the process that has this PID here, and is neither alive nor stale';
    is json('recover', "$folder/elsewhere")->{slots}, 0, 'and is not recovered';
    close $to_them;
    close $from_them;
};

subtest 'a process of which nothing can be told' => sub {
    my $path = "$folder/unknown";
    my $pool = Data::Pool::Shared::I64->new($path, 10);
    leave_stale($pool, 6);
    # As if its owner was of a PID namespace with no lock: bit 33 of its entry says so, the low bits name it.
    my @table   = unpack 'Q1024', substr PoolTest::read_file($path), 4096, 8192;
    my ($place) = grep { $table[$_] } 0 .. 1023;
    open my $file, '+<', $path or die "cannot open: $!";
    seek $file, 4096 + 8 * $place, 0;
    print {$file} pack 'Q', ($table[$place] | 1 << 33) ^ 0x100;
    close $file;
    my $other = in_child { Data::Pool::Shared::I64->new($path)->alloc; $_[0]->say('ready'); $_[0]->hear };
    $other->hear;
    is json('slots', $path)->[0]{state},                            'unknown',                            'is shown as unknown';
    is succeeds('recover', $path),                                  "0 stale slots recovered\n",          'is not taken for dead';
    is succeeds('recover', '--dry-run', '--namespace-gone', $path), "6 stale slots would be recovered\n", 'but if somebody says so';
    is succeeds('recover', '--namespace-gone', $path),              "6 stale slots recovered\n",          'its slots are freed';
    is $pool->used,                                                 1,                                    'and nothing of the living';
    $other->end;
};

subtest 'looking changes nothing' => sub {
    my $pool = Data::Pool::Shared::I64->new("$folder/still", 1000);
    $pool->alloc_set($_) for 1 .. 5;
    leave_stale($pool, 3);
    my $state = sub {
        JSON::PP->new->canonical->encode(
            [ $pool->stats, map { [ $_, $pool->owner_word($_), $pool->get($_) ] } @{ $pool->allocated_slots } ]);
    };
    my $before = $state->();
    succeeds(@$_, "$folder/still") for ['info'], ['slots'], [ 'recover', '--dry-run' ], [ 'watch', '--count', 2, '--interval', 0.05 ];
    is $state->(), $before, 'slots, owners, values, counters: as before';
};

subtest 'recover' => sub {
    my $pool = Data::Pool::Shared::I64->new("$folder/recover", 1000);
    $pool->alloc_n(5);
    leave_stale($pool, $_) for 100, 17;
    is succeeds('recover', '--dry-run', "$folder/recover"), "117 stale slots would be recovered\n", 'a dry run counts';
    is_deeply json('recover', '--dry-run', "$folder/recover"),
        { path => "$folder/recover", slots => 117, dry_run => JSON::PP::true }, 'as JSON';
    is $pool->used,                            122,                           'and frees nothing';
    is succeeds('recover', "$folder/recover"), "117 stale slots recovered\n", 'recovery frees';
    is $pool->used,                            5,                             'what was stale only';
    leave_stale($pool, 1);
    is_deeply json('recover', "$folder/recover"), { path => "$folder/recover", slots => 1, dry_run => JSON::PP::false }, 'as JSON';
    is $pool->stats->{recoveries}, 118, 'the pool counts them';
};

subtest 'watch without a terminal prints lines' => sub {
    my $pool = Data::Pool::Shared::I64->new("$folder/watch", 100);
    $pool->alloc_n(3);
    leave_stale($pool, 4);
    my $busy = fork // die "fork: $!";
    if (!$busy) {
        while (getppid != 1) { $pool->free($pool->alloc) for 1 .. 100 }
        POSIX::_exit(0);
    }
    my @lines;
    my $rates = qr/^ +[78] +4 +0 +[1-9]\d* +[1-9]\d* +0 +0$/;
    for (1 .. 50) {    # until the busy one has been at work meanwhile
        @lines = split /\n/, succeeds('watch', '--interval', 0.1, '--count', 22, "$folder/watch");
        last if grep {/$rates/} @lines;
    }
    is @lines,     24,        'as many as wanted, and a heading every 20';
    is $lines[$_], $lines[0], 'the same heading' for 21;
    is_deeply [ split ' ', $lines[0] ], [qw(used stale waiters alloc/s free/s wait/s timeout/s)], 'heading';
    like $lines[1], qr/^ +[78] +4 +0( +-){4}$/, 'the first line has no rates yet';
    ok + (grep {/$rates/} @lines), 'others have';

    my ($status, $first, $second, @more);
    for (1 .. 50) {
        ($status, my $out) = shmpool('watch', '--json', '--interval', 0.1, '--count', 8, "$folder/watch");
        ($first, $second, @more) = map { JSON::PP->new->decode($_) } split /\n/, $out;
        last if grep { ($_->{rates}{alloc} // 0) > 0 } $second, @more;
    }
    is $status,                0,     'JSON lines';
    is $first->{rates}{alloc}, undef, 'no rate at first';
    ok + (grep { $_->{rates}{alloc} > 0 } $second, @more), 'then one';
    is $second->{stale}, 4, 'stale ones';
    my ($stale) = grep { $_->{state} eq 'stale' } @{ $second->{holders} };
    is $stale->{slots}, 4, 'and who holds how many';
    kill KILL => $busy;
    waitpid $busy, 0;
};

subtest 'errors' => sub {
    my $pool = "$folder/info";
    fails([],                                  'which command\?');
    fails(['nonsense'],                        'there is no command "nonsense"');
    fails(['--nonsense'],                      'unknown option: nonsense');
    fails([ '--namespace', '/x', 'vars' ],     '--namespace must come after the command');
    fails([ 'gc', 'x' ],                       'usage: shmpool gc \[OPTIONS\]$');
    fails([ 'info', '--dry-run', $pool ],      'unknown option: dry-run');
    fails(['info'],                            'usage: shmpool info \[OPTIONS\] FILE\.\.\.');
    fails([ 'slots', $pool, $pool ],           'usage: shmpool slots \[OPTIONS\] FILE');
    fails([ 'recover', $0 ],                   'invalid: not a pool');
    fails([ 'slots', "$folder/none" ],         'none: No such file');
    fails([ 'slots', "$folder" ],              'Is a directory|invalid');
    fails([ 'slots', "$folder/a\nb" ],         'a\?b: No such file');
    fails([ 'watch', '--interval', 0, $pool ], 'interval must be at least');
    fails([ 'watch', '--count', 0, $pool ],    'count must be at least 1');
    fails([ 'watch', '--count', 'x', $pool ],  '"x" invalid for option count');
    is -e "$folder/none", undef, 'and no file is made';

    open my $cut, '+<', $pool or die $!;
    truncate $cut, 8192;
    fails([ 'info', $pool ], 'too small');

    SKIP: {
        skip 'no /dev/full', 2 if !-c '/dev/full';
        my $status = system shmpool_in_shell() . " --version >/dev/full 2>$folder/err";
        is $status >> 8,             2, 'output that cannot be written: status 2';
        is read_file("$folder/err"), "shmpool: cannot write the output: No space left on device\n", 'and why';
    }
};

subtest 'pools' => sub {
    my $dir = "$folder/several";
    mkdir $dir or die $!;
    Data::Pool::Shared::I64->new("$dir/numbers", 10)->alloc;
    write_file("$dir/notes",  'no pool');
    write_file("$dir/broken", read_file("$dir/numbers") =~ s/(?<=LSDPOOL1).{40}/"\xff" x 40/esr);
    local $ENV{IPC_SHM_NAMESPACE} = "$dir/space";
    system(perl(), '-e', 'use IPC::Shm; our $here : shm = [1]') == 0 or die $?;
    my %found = map { $_->{path} =~ s{.*/}{}r => $_ } @{ json('pools', $dir) };
    is_deeply [ sort keys %found ],                              [qw(broken numbers space)],       'pools and namespaces, and nothing else';
    is_deeply [ map { $found{numbers}{$_} } qw(kind contains) ], [ 'pool', 'I64, 1 of 10 slots' ], 'a pool';
    like $found{broken}{error}, qr/./, 'one that cannot be opened, and why';
    is_deeply [ map { $found{space}{$_} } qw(kind contains) ], [ 'namespace', '2 variables, 1 with a name' ], 'a namespace';
    is $found{space}{owner}, scalar getpwuid($>), 'whose it is';
    like succeeds('pools', $dir), qr{^KIND +CONTAINS +SIZE +OWNER +PATH\n(?:.*\n)*pool +I64, 1 of 10 slots .* \Q$dir\E/numbers$}m,
        'as text';
    fails([ 'pools', "$dir/missing" ], 'missing: No such file');
    mkdir "$dir/empty" or die $!;
    is succeeds('pools', "$dir/empty"), "no pools or namespaces in $dir/empty\n", 'and that there are none';
};

subtest 'help and manual' => sub {
    like succeeds('--version'), qr/^shmpool \Q$Data::Pool::Shared::VERSION\E$/, 'version';
    my $help     = succeeds('--help');
    my @commands = $help =~ /^ +shmpool (\w+)/mg;
    is_deeply [ sort @commands ], [ sort keys %{ Data::Pool::Shared::Tool->commands } ], '--help names every command';
    is succeeds('help'),          $help,                       'help is the same';
    is succeeds('help', 'slots'), succeeds('slots', '--help'), 'help of a command, too';
    fails([ 'help', 'nonsense' ], 'there is no command "nonsense"');
    for my $command (@commands) {
        like $help, qr/^ +shmpool $command\b[^\n]*?(?:\n {30,}| {3,}(?=[a-z]))[a-z][^\n]+\n/m, "$command: a line about it";
        my $text = succeeds($command, '--help');
        like $text, qr/shmpool $command /, "$command: how to call it";
        cmp_ok $text =~ tr/\n//, '>', 4, "$command: and what it does";
    }
    my $checker = Pod::Checker->new;
    open my $sink, '>', \my $problems or die;
    $checker->parse_from_file('script/shmpool', $sink);
    is $checker->num_errors + $checker->num_warnings, 0, 'the manual\'s POD is right' or diag $problems;
};

done_testing;
