# A bound scalar is its slot.
use strict;
use warnings;
use Config;
use Test::More;
use lib 't/lib';
use PoolTest;

my $RAW = 'Data::Pool::Shared';
my $I64 = "${RAW}::I64";

for my $kind (classes()) {
    for my $backing (backings()) {
        my ($what, $pool)  = ("$kind->{name} on $backing", make($kind, $backing, 3));
        my ($slot, $other) = map { $pool->alloc } 1 .. 2;
        my $fresh    = $pool->get($slot);
        my $variable = 'before';
        is_deeply([ $pool->bind($slot, $variable) ], [], "$what: bind returns nothing");
        is($variable, $fresh, "$what: the variable reads the slot, whatever it was before");
        $variable = $kind->{two};
        is($pool->get($slot), $kind->{two}, "$what: assigning writes the slot");
        is($variable,         $kind->{two}, "$what: which reads the same");
        $pool->set($slot, $kind->{one});
        is($variable, $kind->{one}, "$what: what set writes, the variable reads");
        in_child { $variable = $kind->{two}; 1 }->result;
        is($variable, $kind->{two}, "$what: what a child assigns, too");
        in_child { $pool->set($slot, $kind->{one}); 1 }->result;
        is($variable, $kind->{one}, "$what: and what a child sets");
        my $copy = $variable;
        $pool->set($slot, $kind->{two});
        is($copy, $kind->{one}, "$what: a copy is a plain value");

        $pool->set($other, $kind->{one});
        $pool->bind($other, $variable);
        is($variable, $kind->{one}, "$what: rebinding takes the other slot");
        $variable = $kind->{two};
        $pool->set($slot, $kind->{one});
        is($variable, $kind->{two}, "$what: and leaves the first");

        $pool->free($other);
        dies_with { my $value = $variable } qr/slot $other is not allocated/, "$what: reading a freed slot dies";
        dies_with { $variable = $kind->{one} } qr/slot $other is not allocated/, "$what: assigning to it, too";
        $pool->bind($slot, $variable);
        is($variable, $kind->{one}, "$what: it can be bound again then");
        undef $pool;
        $variable = $kind->{two};
        is($variable, $kind->{two}, "$what: the variable keeps the pool without the object");
    }
}

subtest 'integers' => sub {
    for my $name (qw(I64 I32)) {
        my $pool = "${RAW}::$name"->new(undef, 1);
        $pool->bind($pool->alloc, my $x);
        $x = 5;
        $x++;
        is($x,   6, "$name: ++");
        is(++$x, 7, "$name: pre-increment");
        is($x--, 7, "$name: post-decrement");
        $x += 10;
        is($x, 16, "$name: +=");
        $x = $x * 2 + $x;
        is($pool->get(0), 48, "$name: an expression");
        $x .= 1;
        is($x,     481,     "$name: .= makes text, which is a number again");
        is("<$x>", '<481>', "$name: interpolation");
        $x = -3;
        is(abs($x), 3, "$name: functions");
        ok($x < 0 && !($x > 0), "$name: comparisons");
        is(join(',', map { $x = $_; $pool->get(0) } 1 .. 3), '1,2,3', "$name: assignment in a loop");
        for my $alias ($x) { $alias = 9 }
        is($pool->get(0), 9, "$name: an alias");
        my $reference = \$x;
        $$reference = 10;
        is($pool->get(0), 10, "$name: a reference");
        sub { $_[0] = 11 }
            ->($x);
        is($pool->get(0), 11, "$name: an argument");
        my ($list) = ($x) = (12, 13);
        is($pool->get(0), 12, "$name: list assignment");
        $x = '13';
        is($x, 13, "$name: text of a number");
        $x = 13.9;
        is($x,      13,       "$name: a fraction is cut");
        is(ref \$x, 'SCALAR', "$name: it is a plain scalar");

        my @warnings = warnings_of { $x = 'text' };
        like("@warnings", qr/^Argument "text" isn't numeric/, "$name: text warns as perl does");
        is($x, 0, "$name: and is 0");
        @warnings = warnings_of { $x = undef };
        like("@warnings", qr/^Use of uninitialized value/, "$name: undef warns");
        $x        = 14;
        @warnings = warnings_of { undef $x };
        is($x, 0, "$name: undef \$x makes it 0");
        $x = 15;

        for my $wrong (2**70, 'inf', 'nan') {
            dies_with { $x = $wrong } qr/does not fit/, "$name: $wrong does not fit";
            is($x, 15, "$name: and changes nothing");
        }
        my $line = __LINE__ + 1;
        eval { $x = 2**70 };
        like($@, qr/ at \Q${\__FILE__}\E line $line\b/, "$name: the error names the line of the assignment");
    }
};

subtest 'doubles' => sub {
    my $pool = "${RAW}::F64"->new(undef, 1);
    $pool->bind($pool->alloc, my $x);
    $x = 1.5;
    $x *= 3;
    is($pool->get(0), 4.5, 'arithmetic');
    $x = '2.5e3';
    is($x, 2500, 'text of a number');
    $x = 9**9**9;
    is($x, 9**9**9, 'infinity');
};

subtest 'text' => sub {
    my $pool = "${RAW}::Str"->new(undef, 1, 20);
    $pool->bind($pool->alloc, my $x);
    $x = "a\x{263a}";
    is(length $x, 2, 'characters');
    $x .= "\x{e9}";
    is($pool->get(0), "a\x{263a}\x{e9}", '.=');
    $x =~ s/a/bb/;
    is($pool->get(0), "bb\x{263a}\x{e9}", 's///');
    substr($x, 0, 1) = 'c';
    is($pool->get(0), "cb\x{263a}\x{e9}", 'substr as an lvalue');
    $x =~ tr/b/d/;
    is($pool->get(0), "cd\x{263a}\x{e9}", 'tr///');
    $x = 'bytes';
    is($x, 'bytes', 'bytes after characters');
    ok(!utf8::is_utf8($x), 'are bytes');
    ok($x =~ /^(b.)/,      'a match');
    is($1, 'by', 'with a capture');
    chop $x;
    is($pool->get(0), 'byte', 'chop');
    $x = 'x' x 20;
    my @warnings = warnings_of { $x .= 'more' };
    is($x, 'x' x 20, 'what is too long is cut');
    like("@warnings", qr/^Value of 24 bytes is cut to the 20 bytes of its slot at \Q${\__FILE__}\E/, 'with a warning');
    {
        use warnings FATAL => 'Data::Pool::Shared';
        $x = 'kept';
        dies_with { $x = 'y' x 21 } qr/is cut/, 'which may be fatal';
        is($x, 'kept', 'before anything is written');
    }
    $x = 10;
    $x++;
    is($x, 11, 'a number in a text');
    $pool->set(0, 'other');
    is("$x", 'other', 'a value that was used as a number is read again as text');
    my %hash = (key => 1);
    $x = 'key';
    is($hash{$x}, 1, 'as a key of a hash');
    open my $in, '<', \"line one\nline two\n" or die;
    $x = <$in>;
    is($pool->get(0), "line one\n", 'readline');
    chomp $x;
    is($pool->get(0), 'line one', 'chomp');
};

subtest 'raw bytes' => sub {
    my $pool = $RAW->new(undef, 1, 4);
    $pool->bind($pool->alloc, my $x);
    $x = 'ab';
    is($x, "ab\0\0", 'padded with zeros');
    dies_with { $x = "\x{100}" } qr/Wide character/, 'wide characters die';
    is($x, "ab\0\0", 'and change nothing');
    vec($x, 0, 8) = ord 'z';
    is($pool->get(0), "zb\0\0", 'vec as an lvalue');
};

subtest 'what can be bound' => sub {
    my $pool = $I64->new(undef, 3);
    my $slot = $pool->alloc_set(7);
    our $global;
    $pool->bind($slot, $global);
    is($global, 7, 'a package variable');
    {
        local $global = 1;
        is($global,           1, 'local makes it a plain variable …');
        is($pool->get($slot), 7, '… that the slot knows nothing of');
        $global = 2;
    }
    is($pool->get($slot), 7, 'the slot kept its value');
    $pool->set($slot, 8);
    is($global, 8, 'and the variable is bound again after it');
    my (@array, %hash);
    $pool->bind($slot, $array[3]);
    is($array[3], 8, 'an element of an array');
    $pool->bind($slot, $hash{key});
    $hash{key} = 9;
    is($array[3], 9, 'an element of a hash');
    is_deeply([ sort values %hash ], [9], 'in a list');
    {
        local $hash{key} = 1;
        is($pool->get($slot), 9, 'local of an element');
    }
    is($hash{key}, 9, 'and after it');
    delete $hash{key};
    is($pool->get($slot), 9, 'deleting the element leaves the slot');
    $pool->bind($slot, my $text = 'a string');
    is($text, 9, 'a variable that held a string');
    my $reference = [ 1, 2 ];
    $pool->bind($slot, $reference);
    is($reference, 9, 'or a reference');
    my $undef;
    $pool->bind($slot, $undef);
    is($undef, 9, 'or undef');
    { my $scoped; $pool->bind($slot, $scoped); $scoped = 10 }
    is($pool->get($slot), 10, 'a variable that is gone');
    my ($first, $second);
    $pool->bind($slot, $first);
    $pool->bind($slot, $second);
    $first = 11;
    is($second, 11, 'two variables of one slot');
    dies_with { $pool->bind($slot, 5) } qr/read-only/,     'a constant is refused';
    dies_with { $pool->bind($slot, undef) } qr/read-only/, 'undef, too';
    dies_with { $pool->bind($slot, *STDOUT) } qr/cannot bind/, 'a glob';
    my $plain = 3;
    dies_with { $pool->bind(7, $plain) } qr/out of range/, 'a slot that does not exist';
    is($plain, 3, 'leaves the variable as it was');
    tie my $tied, 'PoolTest::Tied', sub {1};
    my $other = $I64->new(undef, 1);
    $other->alloc_set(99);
    $pool->bind($slot, my $moved);
    $other->bind(0, $moved);
    is($moved, 99, 'a variable may move to another pool');
    undef $other;
    is($moved, 99, 'which it keeps');
};

subtest 'a destroyed object' => sub {
    my $pool = $I64->new(undef, 1);
    my $slot = $pool->alloc_set(5);
    $pool->bind($slot, my $x);
    $pool->DESTROY;
    dies_with { $pool->get($slot) } qr/destroyed/, 'the object is';
    is($x, 5, 'the variable still reads');
    $x = 6;
    is($x, 6, 'and writes');
};

subtest 'reading many times leaks nothing' => sub {
    plan skip_all => 'an address sanitizer keeps what is freed' if read_file('/proc/self/maps') =~ /libasan/;
    my $size = sub { (split ' ', read_file('/proc/self/statm'))[1] };
    my $pool = "${RAW}::Str"->new(undef, 1, 100);
    my $slot = $pool->alloc;
    my $work = sub {
        for (1 .. 2000) { $pool->bind($slot, my $x); $x = "text \x{263a} $_"; my $y = $x; my $view = \$pool->slot_sv($slot); $y = $$view }
    };
    $work->();
    my $before = $size->();
    $work->() for 1 .. 5;
    cmp_ok($size->() - $before, '<', 100, 'in pages of memory');
};

subtest 'under taint checks, and with threads' => sub {
    my $program = q{
        my $pool = Data::Pool::Shared::Str->new(undef, 1, 5000);
        $pool->bind($pool->alloc, our $x);
        $x = substr $ENV{PATH}, 0, 1000;    # a tainted value
        my $same = $x eq substr $ENV{PATH}, 0, 1000;
        if ($ARGV[0]) { require threads; $same &&= threads->create(sub { $x eq substr $ENV{PATH}, 0, 1000 })->join for 1 .. 3 }
        $x = 'clean';
        print $same && $x eq 'clean' ? 'good' : "bad $x";
    };
    my ($perl, @command) = perl_command($program, $Config{useithreads} ? 1 : 0);
    open my $output, '-|', $perl, '-T', @command or die "cannot run perl: $!";
    is(readline $output, 'good', 'a tainted value is a value');
    close $output;
    is($?, 0, 'and the program ends well');
};

done_testing;
