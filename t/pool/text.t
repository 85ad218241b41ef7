# Text stays what it was: characters, bytes, and what is cut.
use strict;
use warnings;
use Test::More;
use lib 't/lib';
use PoolTest;

my $RAW = 'Data::Pool::Shared';
my $STR = "${RAW}::Str";

binmode Test::More->builder->$_, ':encoding(UTF-8)' for qw(output failure_output todo_output);

for my $backing (backings()) {
    my $pool = make((grep { $_->{name} eq 'Str' } classes())[0], $backing, 3);
    my ($before, $slot, $after) = map { $pool->alloc_set('neighbour') } 1 .. 3;
    is($pool->max_len,   16,                 "max_len on $backing");
    is($pool->elem_size, $pool->max_len + 4, "elem_size on $backing is 4 more");

    my @texts = (
        '', 'a', 'x' x 16, "\0", "a\0b\0", "\0" x 16, "caf\x{e9}", "\x{ff}" x 16,
        "\x{263a}",
        "\x{263a}" x 5,
        "\x{1f600}" x 4,
        "mixed \x{e9}\x{263a}",
        "\x{10ffff}", '0', '0 but true', " trailing ", "\n\r\t"
    );
    for my $text (@texts) {
        my $shown = join ' ', map { sprintf '%x', ord } split //, $text;
        $pool->set($slot, $text);
        is($pool->get($slot),        $text,        "$backing: get gives back [$shown]");
        is(length $pool->get($slot), length $text, "$backing: of the same length");
        my $got = $pool->get($slot);
        $got .= 'more';
        is($pool->get($slot), $text, "$backing: what is got is a copy");
    }
    my $bytes = "\xe9\xff";
    $pool->set($slot, $bytes);
    ok(!utf8::is_utf8($pool->get($slot)), "$backing: byte strings come back as bytes");
    utf8::upgrade(my $characters = $bytes);
    $pool->set($slot, $characters);
    is($pool->get($slot), $bytes, "$backing: the same text however perl stores it");
    my $encoded = "\x{263a}";
    utf8::encode($encoded);
    $pool->set($slot, $encoded);
    is($pool->get($slot), "\xe2\x98\xba", "$backing: encoded text is bytes, and stays so");
    $pool->set($slot, 42.5);
    is($pool->get($slot), '42.5', "$backing: a number is its text");
    my @warnings = warnings_of { $pool->set($slot, undef) };
    like("@warnings", qr/^Use of uninitialized value/, "$backing: undef warns as perl does");
    is($pool->get($slot), '', "$backing: and is empty");
    is($pool->get($_), 'neighbour', "$backing: the neighbours are as they were") for $before, $after;
}

# Every way to store a value, for both classes that can cut
my %store = (
    set           => sub { $_[0]->set($_[1], $_[2]) },
    set_n         => sub { $_[0]->set_n([ $_[1] ], [ $_[2] ]) },
    'set_n (one)' => sub { $_[0]->set_n([ $_[1] ], $_[2]) },
    bind          => sub { $_[0]->bind($_[1], my $variable); $variable = $_[2] },
    alloc_set     => sub { my $slot = $_[0]->alloc_set($_[2]); $_[0]->set($_[1], $_[0]->get($slot)); $_[0]->free($slot) },
    try_alloc_set => sub { my $slot = $_[0]->try_alloc_set($_[2]); $_[0]->set($_[1], $_[0]->get($slot)); $_[0]->free($slot) },
);
# what it is, its text, what is left of it in 10 bytes
my @cuts = (
    [ 'bytes',                        'x' x 11,              'x' x 10 ],
    [ 'many bytes',                   "\xff" x 10_000,       "\xff" x 10 ],
    [ '2-byte characters',            "\x{100}" x 6,         "\x{100}" x 5 ],
    [ '2-byte characters, odd',       'a' . "\x{100}" x 5,   'a' . "\x{100}" x 4 ],
    [ '3-byte characters',            "\x{263a}" x 4,        "\x{263a}" x 3 ],
    [ '4-byte characters',            "\x{1f600}" x 3,       "\x{1f600}" x 2 ],
    [ 'a character over the end',     'a' x 9 . "\x{263a}",  'a' x 9 ],
    [ 'a character right at the end', 'a' x 7 . "\x{263a}b", 'a' x 7 . "\x{263a}" ],
);
for my $way (sort keys %store) {
    my $store = $store{$way};
    subtest "what is too long is cut, with a warning: $way" => sub {
        my $text = $STR->new(undef, 3, 10);
        my $slot = $text->alloc;
        for my $cut (@cuts) {
            my ($what, $long, $left) = @$cut;
            my @warnings = warnings_of { $store->($text, $slot, $long) };
            is($text->get($slot), $left, "$what at a character boundary");
            is(@warnings,         1,     "$what with one warning");
            my $bytes = length(
                do { my $copy = $long; utf8::encode($copy) if utf8::is_utf8($copy); $copy }
            );
            like(
                $warnings[0],
                qr/^Value of $bytes bytes is cut to the 10 bytes of its slot at \Q${\__FILE__}\E line \d+\.$/,
                "$what: which says how much, and where"
            );
            {
                no warnings;
                is(scalar(warnings_of { $text->set($slot, $long) }), 0, "$what: no warnings is silent") if $way eq 'set';
            }
        }
        my $raw = $RAW->new(undef, 3, 10);
        $slot = $raw->alloc;
        my @warnings = warnings_of { $store->($raw, $slot, "\0\xff" x 8) };
        is($raw->get($slot), "\0\xff" x 5, 'raw bytes are cut at the byte');
        is(@warnings,        1,            'with one warning');
        dies_with { $store->($raw, $slot, "\x{263a}" x 8) } qr/Wide character/, 'wide characters die also where they would be cut';
    };
}

# The same ways, in a scope where the warning is fatal, and in one where it is off
{
    use warnings FATAL => 'Data::Pool::Shared';
    my %fatal = (
        set           => sub { $_[0]->set($_[1], $_[2]) },
        set_n         => sub { $_[0]->set_n([ $_[1], $_[1] ], [ 'ok', $_[2] ]) },
        bind          => sub { $_[0]->bind($_[1], my $variable); $variable = $_[2] },
        alloc_set     => sub { $_[0]->alloc_set($_[2]) },
        try_alloc_set => sub { $_[0]->try_alloc_set($_[2]) },
    );
    for my $pool ($RAW->new(undef, 3, 10), $STR->new(undef, 3, 10)) {
        my $slot = $pool->alloc_set('untouched!');
        for my $way (sort keys %fatal) {
            my $name = ref($pool) . ": $way";
            my $line;
            dies_with { $fatal{$way}->($pool, $slot, 'x' x 11) }
            qr/^Value of 11 bytes is cut to the 10 bytes of its slot at \Q${\__FILE__}\E/, "$name dies where the warning is fatal";
            is($pool->get($slot), 'untouched!', "$name: before anything is written");
            is($pool->used,       1,            "$name: or allocated");
        }
    }
}
{
    no warnings 'Data::Pool::Shared';
    my $pool     = $STR->new(undef, 1, 10);
    my $slot     = $pool->alloc;
    my @warnings = warnings_of { $pool->set($slot, 'silently' x 10) };
    is_deeply(\@warnings, [], q{no warnings 'Data::Pool::Shared' silences it});
    is($pool->get($slot), 'silentlysi', 'and it is cut');
    @warnings = warnings_of { $pool->set($slot, undef) };
    is(@warnings, 1, 'but only that one');
}
{
    use warnings FATAL => 'all';
    my $pool = $STR->new(undef, 1, 10);
    my $slot = $pool->alloc;
    dies_with { $pool->set($slot, 'x' x 11) } qr/is cut/, 'FATAL => all includes it';
    is($pool->get($slot), '', 'and nothing was written');
}
{
    use warnings FATAL => 'all', NONFATAL => 'Data::Pool::Shared';
    my $pool = $STR->new(undef, 1, 10);
    my $slot = $pool->alloc;
    is(scalar(warnings_of { $pool->set($slot, 'x' x 11) }), 1, 'NONFATAL makes it a warning again');
}
{
    no warnings;
    my $pool = $STR->new(undef, 1, 10);
    my $slot = $pool->alloc;
    is(scalar(warnings_of { $pool->set($slot, 'x' x 11) }), 0, 'no warnings: none');
    local $^W = 1;
    is(scalar(warnings_of { $pool->set($slot, 'x' x 11) }), 0, 'which -w does not change');
}

subtest 'a program without warnings pragma' => sub {
    my $program = q{my $p = Data::Pool::Shared::Str->new(undef, 1, 3); $p->alloc; $p->set(0, 'long'); print $p->get(0)};
    for my $case ([ 'plain', [], 0 ], [ 'with -w', ['-w'], 1 ], [ 'with -W', ['-W'], 1 ], [ 'with -X', ['-X'], 0 ]) {
        my ($what, $switches, $expected) = @$case;
        my ($perl, @command) = perl_command($program);
        open my $saved,  '>&', \*STDERR            or die "dup: $!";
        open STDERR,     '>',  temp_path('stderr') or die "open: $!";
        open my $output, '-|', $perl, @$switches, @command or die "cannot run perl: $!";
        my $printed = readline $output;
        close $output;
        open STDERR, '>&', $saved or die "dup: $!";
        is($printed,                                                    'lon',     "$what: cut");
        is(scalar(() = read_file(temp_path('stderr')) =~ /is cut to/g), $expected, "$what: $expected warnings");
    }
};

subtest 'a handler of warnings may die, and nothing is written' => sub {
    my $pool = $STR->new(undef, 2, 10);
    my $slot = $pool->alloc_set('untouched');
    local $SIG{__WARN__} = sub { die "handled: $_[0]" };
    dies_with { $pool->set($slot, 'x' x 11) } qr/^handled: Value of 11/, 'set';
    dies_with { $pool->alloc_set('x' x 11) } qr/^handled: Value of 11/, 'alloc_set';
    is($pool->get($slot), 'untouched', 'the value is as it was');
    is($pool->used,       1,           'no slot was taken');
};

subtest 'text that comes in unusual ways' => sub {
    my $pool = $STR->new(undef, 2, 20);
    my $slot = $pool->alloc;
    tie my $tied, 'PoolTest::Tied', sub {"tied \x{263a}"};
    $pool->set($slot, $tied);
    is($pool->get($slot), "tied \x{263a}", 'a tied scalar');
    {

        package Text;
        use overload '""' => sub {"over \x{263a}"}
    }
    $pool->set($slot, bless [], 'Text');
    is($pool->get($slot), "over \x{263a}", 'an overloaded object');
    'matched' =~ /(.+)/;
    $pool->set($slot, $1);
    is($pool->get($slot), 'matched', 'a capture');
    $pool->set($slot, substr 'substring', 0, 3);
    is($pool->get($slot), 'sub', 'a substring');
    my $version = v1.22.333;
    $pool->set($slot, $version);
    is($pool->get($slot), "\x{1}\x{16}\x{14d}", 'a version string');
    $pool->set($slot, *STDOUT);
    is($pool->get($slot), '*main::STDOUT', 'a glob');
    my $index = $slot;
    tie my $dropping, 'PoolTest::Tied', sub { undef $pool; 'x' };
    lives { $pool->set($index, $dropping) } 'one that drops the pool while it is read';
};

subtest 'another process reads the same characters' => sub {
    my $pool = $STR->new(undef, 2, 40);
    my $slot = $pool->alloc_set("to the child \x{263a}");
    is(in_child { $pool->get($slot) }->result, "to the child \x{263a}", 'from here to there');
    in_child { $pool->set($slot, "from the child \x{1f600}"); 1 }->result;
    is($pool->get($slot), "from the child \x{1f600}", 'and back');
};

subtest 'a damaged slot is no malformed string' => sub {
    my $path  = temp_path('damaged');
    my $pool  = $STR->new($path, 1, 10);
    my $slot  = $pool->alloc_set("\x{263a}\x{263a}");
    my $at    = index read_file($path), "\xe2\x98\xba";
    my $patch = sub {
        my ($where, $bytes) = @_;
        open my $file, '+<:raw', $path or die "open: $!";
        seek $file, $where, 0;
        print {$file} $bytes;
        close $file;
    };
    $patch->($at, "\xff\xfe");
    is($pool->get($slot), "\xff\xfe\xba\xe2\x98\xba", 'what is no UTF-8 comes as bytes');
    $patch->($at - 4, pack 'L', 0x7fffffff);
    is(length $pool->get($slot), 10, 'a length beyond the slot is cut to the slot');
    $patch->($at - 4, pack 'L', 0xffffffff);
    cmp_ok(length $pool->get($slot),           '<=', 10, 'of characters, too');
    cmp_ok(length ${ \$pool->slot_sv($slot) }, '<=', 10, 'and of a view');
};

done_testing;
