# slot_sv: a read-only scalar whose buffer is the slot.
use strict;
use warnings;
use Test::More;
use lib 't/lib';
use PoolTest;

my $RAW = 'Data::Pool::Shared';

for my $kind (classes()) {
    for my $backing (backings()) {
        my ($what,   $pool) = ("$kind->{name} on $backing", make($kind, $backing, 3));
        my ($before, $slot) = map { $pool->alloc } 1 .. 2;
        my $bytes = sub {
            my ($value) = @_;
            return pack 'a16', $value if $kind->{name} eq 'Raw';
            return pack { I64 => 'q', I32 => 'l', F64 => 'd' }->{ $kind->{name} }, $value if $kind->{name} ne 'Str';
            utf8::encode($value) if utf8::is_utf8($value);
            return $value;
        };
        $pool->set($slot, $kind->{one});
        is(ref \$pool->slot_sv($slot), 'SCALAR',               "$what: slot_sv is a scalar");
        is($pool->slot_sv($slot),      $bytes->($kind->{one}), "$what: of the bytes of the slot");
        my $view = \$pool->slot_sv($slot);
        $pool->set($slot, $kind->{two});
        is($$view, $bytes->($kind->{two}), "$what: which shows what the slot holds now");
        in_child { $pool->set($slot, $kind->{one}); 1 }->result;
        is($$view, $bytes->($kind->{one}), "$what: also what another process wrote");

        for my $alias ($pool->slot_sv($slot)) {
            $pool->set($slot, $kind->{two});
            is($alias, $bytes->($kind->{two}), "$what: an alias is a view, too");
        }
        my $copy = $pool->slot_sv($slot);
        $pool->set($slot, $kind->{one});
        is($copy, $bytes->($kind->{two}), "$what: an assigned one is a copy");
        $copy .= 'may change';
        is($pool->slot_sv($slot), $bytes->($kind->{one}), "$what: which is its own");

        for my $change (
            sub { $$view = 'x' },
            sub { $$view .= 'x' },
            sub { $$view++ },
            sub { substr($$view, 0, 1) = 'x' },
            sub { $$view =~ s/./x/s },
            sub { undef $$view },
            sub { chop $$view }
            )
        {
            dies_with { $change->() } qr/Modification of a read-only value/, "$what: it cannot be changed";
        }
        is($$view, $bytes->($kind->{one}), "$what: and is not");
        is(
            unpack('J', pack 'P', $$view),
            $pool->ptr($slot) + ($kind->{name} eq 'Str' ? 4 : 0),
            "$what: nothing is copied: it is the slot's memory"
        );

        undef $pool;
        is($$view, $bytes->($kind->{one}), "$what: it keeps the pool without the object");
        undef $view;
    }
}

subtest 'text' => sub {
    my $pool = "${RAW}::Str"->new(undef, 2, 30);
    my $slot = $pool->alloc;
    my $view = \$pool->slot_sv($slot);
    is($$view, '', 'a fresh slot is empty');
    for my $text ('a', 'longer than before', '', "with \0 in it") {
        $pool->set($slot, $text);
        is($$view,        $text,        "the view is as long as the text '$text'");
        is(length $$view, length $text, 'and says so');
    }
    $pool->set($slot, "\x{263a}");
    is($$view,        "\xe2\x98\xba", 'characters are seen as their UTF-8 bytes');
    is(length $$view, 3,              'three of them');
};

subtest 'uses' => sub {
    my $pool = $RAW->new(undef, 2, 8);
    my $slot = $pool->alloc_set('abcdefgh');
    my $view = \$pool->slot_sv($slot);
    is(substr($$view, 2, 3), 'cde', 'substr');
    ok($$view =~ /d(.)f/, 'a match');
    is($1,                                'e',           'with a capture');
    is(uc $$view,                         'ABCDEFGH',    'functions');
    is(join('-', unpack '(a2)*', $$view), 'ab-cd-ef-gh', 'unpack');
    open my $file, '>', temp_path('written') or die "open: $!";
    syswrite $file, $pool->slot_sv($slot);
    close $file;
    is(read_file(temp_path('written')), 'abcdefgh', 'syswrite');
    my %hash = ($$view => 1);
    is($hash{abcdefgh}, 1, 'a key of a hash');
    $pool->set($slot, 'ABCDEFGH');
    is((keys %hash)[0], 'abcdefgh', 'which is a copy');
    $pool->free($slot);
    lives { my $now = length $$view } 'after the slot is freed it can still be read';
    dies_with { $pool->bind($pool->alloc, $$view) } qr/read-only/, 'a view cannot be bound';
};

subtest 'a view of a destroyed pool' => sub {
    my $pool = $RAW->new(undef, 2, 8);
    my $view = \$pool->slot_sv($pool->alloc_set('abcdefgh'));
    $pool->DESTROY;
    is($$view, 'abcdefgh', 'can be read');
};

subtest 'large slots' => sub {
    my $pool = $RAW->new(undef, 1, 10_000_000);
    my $slot = $pool->alloc_set('x' x 10_000_000);
    my $view = \$pool->slot_sv($slot);
    is(length $$view,    10_000_000, 'are as long as they are');
    is($$view =~ tr/x//, 10_000_000, 'and whole');
};

done_testing;
