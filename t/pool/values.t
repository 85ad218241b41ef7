# What a slot holds: numbers, their arithmetic, and raw bytes.
use strict;
use warnings;
use Test::More;
use lib 't/lib';
use PoolTest;

my $RAW = 'Data::Pool::Shared';
my ($I64_MAX, $I64_MIN) = (9223372036854775807, -9223372036854775807 - 1);
my ($I32_MAX, $I32_MIN) = (2147483647,          -2147483648);
my ($INF,     $NAN)     = (9**9**9, -sin 9**9**9);

my %range = (I64 => [ $I64_MIN, $I64_MAX ], I32 => [ $I32_MIN, $I32_MAX ]);

for my $backing (backings()) {
    for my $kind (grep { $range{ $_->{name} } } classes()) {
        my ($what, $pool) = ("$kind->{name} on $backing", make($kind, $backing, 3));
        my ($min,  $max)  = @{ $range{ $kind->{name} } };
        my ($before, $slot, $after) = map { $pool->alloc_set(77) } 1 .. 3;

        for my $value (0, 1, -1, $min, $max, $min + 1, $max - 1) {
            is_deeply([ $pool->set($slot, $value) ], [], "$what: set($value) returns nothing");
            is($pool->get($slot), $value, "$what: get gives $value back");
        }
        $pool->set($slot, 10);
        is($pool->add($slot, 5),   15, "$what: add returns the sum");
        is($pool->add($slot, -7),  8,  "$what: of a negative number, too");
        is($pool->add($slot, 0),   8,  "$what: and of 0");
        is($pool->incr($slot),     9,  "$what: incr");
        is($pool->decr($slot),     8,  "$what: decr");
        is($pool->xchg($slot, 20), 8,  "$what: xchg returns what was there");
        ok($pool->cas($slot,  20, 30), "$what: cas of the right value is true");
        ok(!$pool->cas($slot, 20, 40), "$what: of another it is false");
        is($pool->get($slot),             30, "$what: and changes nothing");
        is($pool->cmpxchg($slot, 30, 50), 30, "$what: cmpxchg of the right value returns it");
        is($pool->cmpxchg($slot, 30, 60), 50, "$what: of another, what is there");
        is($pool->get($slot),             50, "$what: and changes nothing");

        $pool->set($slot, $max);
        is($pool->add($slot, 1),    $min, "$what: add wraps around at the top");
        is($pool->decr($slot),      $max, "$what: decr at the bottom");
        is($pool->incr($slot),      $min, "$what: incr at the top");
        is($pool->add($slot, $min), 0,    "$what: add of the smallest number to itself");
        $pool->set($slot, $max);
        is($pool->add($slot, $max), -2, "$what: add of the largest to itself");

        $pool->set($slot, 55);
        my @too_big = (
            2**63, -2**63 - 2049,
            18446744073709551615, '9223372036854775808', '-9223372036854775809', '1e30', -1e30, $INF, -$INF, $NAN, 'inf'
        );
        push @too_big, $max + 1, $min - 1, "2147483648", -2147483649.0 if $max == $I32_MAX;
        for my $value (@too_big) {
            dies_with { $pool->set($slot, $value) } qr/does not fit/,  qr/\d\d bits/, "$what: set($value)";
            dies_with { $pool->xchg($slot, $value) } qr/does not fit/, "$what: xchg($value)";
            dies_with { $pool->cas($slot, 55, $value) } qr/does not fit/, "$what: cas(55, $value)";
            dies_with { $pool->cas($slot, $value, 1) } qr/does not fit/, "$what: cas($value, 1)";
            dies_with { $pool->cmpxchg($slot, 55, $value) } qr/does not fit/, "$what: cmpxchg(55, $value)";
            my $used = $pool->used;
            $pool->free($before);
            dies_with { $pool->alloc_set($value) } qr/does not fit/, "$what: alloc_set($value)";
            is($pool->used,              $used - 1, "$what: alloc_set($value) takes no slot");
            is($pool->try_alloc_set(77), $before,   "$what: it is still free");
        }
        dies_with { $pool->add($slot, '1e30') } qr/does not fit/, "$what: add of what is no integer of 64 bits";
        is($pool->get($slot), 55, "$what: none of these wrote anything");
        is_deeply($pool->get_n([ $before, $after ]), [ 77, 77 ], "$what: neighbours kept their values");

        my @converted = ([ '42', 42 ], [ ' 42', 42 ], [ 2.9, 2 ], [ -2.9, -2 ], [ '2.9', 2 ], [ '1e3', 1000 ], [ !!1, 1 ]);
        for my $pair (@converted) {
            my @warnings = warnings_of { $pool->set($slot, $pair->[0]) };
            is($pool->get($slot), $pair->[1], "$what: '$pair->[0]' is $pair->[1]");
            is(@warnings,         0,          "$what: without a warning");
        }
        for my $bad ([ 'abc', 0 ], [ '12abc', 12 ], [ '', 0 ]) {
            my @warnings = warnings_of { $pool->set($slot, $bad->[0]) };
            is($pool->get($slot), $bad->[1], "$what: '$bad->[0]' is $bad->[1]");
            is(@warnings,         1,         "$what: with one warning …");
            like($warnings[0], qr/^Argument "\Q$bad->[0]\E" isn't numeric .* at \Q${\__FILE__}\E/, "$what: … which is perl's");
        }
        my @warnings = warnings_of { $pool->set($slot, undef) };
        like("@warnings", qr/^Use of uninitialized value/, "$what: undef warns as perl does");
        is($pool->get($slot), 0, "$what: and is 0");
        {
            no warnings;
            is(scalar(warnings_of { $pool->set($slot, 'abc') }), 0, "$what: no warnings, no warning");
            use warnings FATAL => 'numeric';
            $pool->set($slot, 5);
            dies_with { $pool->set($slot, 'abc') } qr/isn't numeric/, "$what: FATAL => 'numeric' dies";
            is($pool->get($slot), 5, "$what: before anything is written");
        }
    }

    my $pool = make((grep { $_->{name} eq 'F64' } classes())[0], $backing, 2);
    my $slot = $pool->alloc;
    for my $value (0, 1, -1, 0.1, -1.5, 1e308, -1e308, 5e-324, $INF, -$INF, 2**53 + 2) {
        $pool->set($slot, $value);
        is($pool->get($slot), $value, "F64 on $backing: get gives $value back");
    }
    $pool->set($slot, $NAN);
    ok($pool->get($slot) != $pool->get($slot),    "F64 on $backing: a NaN is one");
    ok($pool->cas($slot, $pool->get($slot), 1.5), "F64 on $backing: cas finds the same NaN");
    is($pool->add($slot, 0.25), 1.75, "F64 on $backing: add");
    is($pool->incr($slot),      2.75, "F64 on $backing: incr");
    is($pool->decr($slot),      1.75, "F64 on $backing: decr");
    is($pool->xchg($slot, 8.5), 1.75, "F64 on $backing: xchg");
    ok($pool->cas($slot,  8.5, 0.5), "F64 on $backing: cas of the right value");
    ok(!$pool->cas($slot, 8.5, 1.5), "F64 on $backing: cas of another");
    is($pool->cmpxchg($slot, 0.5, 2.5), 0.5, "F64 on $backing: cmpxchg of the right value");
    is($pool->cmpxchg($slot, 0.5, 3.5), 2.5, "F64 on $backing: cmpxchg of another");
    $pool->set($slot, -0.0);
    ok($pool->cas($slot, 0, 4), "F64 on $backing: cas compares numbers: -0 is 0");
    is($pool->get($slot), 4, "F64 on $backing: and it is set");
    my @warnings = warnings_of { $pool->set($slot, my $text = '3x') };
    like("@warnings", qr/^Argument "3x" isn't numeric/, "F64 on $backing: text warns as perl does");
    is($pool->get($slot), 3, "F64 on $backing: and counts as perl counts it");
    $pool->set($slot, 4);
    dies_with { use warnings FATAL => 'numeric'; $pool->add($slot, my $text = '3x') } qr/isn't numeric/,
        "F64 on $backing: a fatal warning of add";
    is($pool->get($slot), 4, "F64 on $backing: comes before anything is written");

    my $raw = make((classes())[0], $backing, 3);
    my ($before, $bytes, $after) = map { $raw->alloc_set('n' x 16) } 1 .. 3;
    my $all = join '', map {chr} 0 .. 255;
    for my $at (0, 100, 240) {
        $raw->set($bytes, substr $all, $at, 16);
        is($raw->get($bytes), substr($all, $at, 16), "Raw on $backing: bytes from $at on");
    }
    $raw->set($bytes, 'short');
    is($raw->get($bytes), 'short' . "\0" x 11, "Raw on $backing: less is padded with zeros, over what was there");
    $raw->set($bytes, '');
    is($raw->get($bytes),        "\0" x 16, "Raw on $backing: nothing is all zeros");
    is(length $raw->get($bytes), 16,        "Raw on $backing: get always has elem_size bytes");
    $raw->set($bytes, 12345);
    is($raw->get($bytes), '12345' . "\0" x 11, "Raw on $backing: a number is its digits");
    my $upgraded = "\xe9\xff";
    utf8::upgrade($upgraded);
    $raw->set($bytes, $upgraded);
    is($raw->get($bytes), "\xe9\xff" . "\0" x 14, "Raw on $backing: characters up to 255 are bytes, however perl stores them");
    ok(!utf8::is_utf8($raw->get($bytes)), "Raw on $backing: and come back as bytes");
    dies_with { $raw->set($bytes, "\x{100}") } qr/Wide character/, "Raw on $backing: a character above 255 dies";
    dies_with { $raw->alloc_set("\x{100}") } qr/Wide character/, "Raw on $backing: in alloc_set";
    dies_with { $raw->set_n([$bytes], ["\x{100}"]) } qr/Wide character/, "Raw on $backing: and in set_n";
    is($raw->get($bytes), "\xe9\xff" . "\0" x 14, "Raw on $backing: nothing was written");
    is($raw->used,        3,                      "Raw on $backing: no slot was taken");
    is($raw->get($_),     'n' x 16,               "Raw on $backing: the neighbour is as it was") for $before, $after;
    @warnings = warnings_of { $raw->set($bytes, undef) };
    like("@warnings", qr/^Use of uninitialized value/, "Raw on $backing: undef warns");
}

subtest 'addresses' => sub {
    for my $kind (classes()) {
        my $pool = make($kind, 'anonymous', 10);
        $pool->alloc_n(10);
        is($pool->data_ptr % 64, 0, "$kind->{name}: the data begin on a cache line");
        is_deeply(
            [ map { $pool->ptr($_) } 0 .. 9 ],
            [ map { $pool->data_ptr + $_ * $pool->elem_size } 0 .. 9 ],
            "$kind->{name}: slot i is at data_ptr + i * elem_size"
        );
        $pool->set(3, $kind->{one});
        my $memory = unpack 'P' . $pool->elem_size, pack 'J', $pool->ptr(3);
        my $native = { Raw => $kind->{one}, I64 => pack('q', 1), I32 => pack('l', 1), F64 => pack('d', 1) }->{ $kind->{name} };
        is($memory,               $native,        "$kind->{name}: the bytes there are the native ones") if defined $native;
        is(substr($memory, 4, 4), 'caf' . "\xe9", "$kind->{name}: text follows a head of 4 bytes")      if !defined $native;
    }
};

subtest 'elements of odd sizes keep apart' => sub {
    for my $size (1, 2, 3, 4, 5, 7, 8, 9, 63, 64, 65, 4097) {
        my $pool = $RAW->new(undef, 70, $size);
        is($pool->elem_size, $size, "raw slots of $size bytes");
        $pool->set($_, chr($_ + 48) x $size) for sort { $a <=> $b } @{ $pool->alloc_n(70) };
        is_deeply([ map { $pool->get($_) } 0 .. 69 ], [ map { chr($_ + 48) x $size } 0 .. 69 ], "$size bytes each: none runs into another");
    }
};

subtest 'numbers of magic and overloaded values are looked at once' => sub {
    my $pool    = "${RAW}::I64"->new(undef, 2);
    my $slot    = $pool->alloc;
    my $fetched = 0;
    tie my $tied, 'PoolTest::Tied', sub { 41 + ++$fetched };
    $pool->set($slot, $tied);
    is($pool->get($slot), 42, 'a tied scalar is read');
    is($fetched,          1,  'once');
    {

        package Number;
        use overload '0+' => sub { ${ $_[0] } }, fallback => 1
    }
    $pool->set($slot, bless \(my $n = 17), 'Number');
    is($pool->get($slot), 17, 'an overloaded object is a number');
    dies_with { $pool->set($slot, bless \(my $big = 2**70), 'Number') } qr/does not fit/, 'that may not fit';
    my $dropped = "${RAW}::I64"->new(undef, 2);
    my $index   = $dropped->alloc;
    tie my $drops, 'PoolTest::Tied', sub { undef $dropped; 1 };
    lives { $dropped->set($index, $drops) } 'a value that drops the pool while it is read is no crash';
};

done_testing;
