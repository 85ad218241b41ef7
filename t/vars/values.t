use strict;
use warnings;
use lib 't/lib';
use ShmTest;
use Test::More;
use B            ();
use Scalar::Util ();
use IPC::Shm;

# What is stored comes back equal, in this process and in another.

our %h : shm;
our @a : shm;
our $s : shm;

my %value = (
    undef          => undef,
    empty          => '',
    zero           => 0,
    'string 0'     => '0',
    'string 007'   => '007',
    small          => 31,
    'not small'    => 32,
    negative       => -1,
    'IV max'       => 9223372036854775807,
    'IV min'       => -9223372036854775807 - 1,
    'UV max'       => 18446744073709551615,
    'over IV max'  => 9223372036854775808,
    'a third'      => 1 / 3,
    'huge double'  => 1.7976931348623157e308,
    'tiny double'  => 5e-324,
    '-0.0'         => -0.0,
    infinity       => 9**9**9,
    '-infinity'    => -9**9**9,
    'whole double' => 1e15,
    '2**53 + 1'    => 9007199254740993,
    bytes          => join('', map {chr} 0 .. 255),
    'high bytes'   => "\xe9\xff",
    characters     => "\x{263a}\x{1F600}\x{e9}",
    'latin chars'  => do { my $t = "\xe9t\xe9"; utf8::upgrade($t); $t },
    'NUL'          => "\0",
    '95 bytes'     => 'x' x 95,
    '96 bytes'     => 'x' x 96,
    '127 bytes'    => 'y' x 127,
    '16384 bytes'  => 'z' x 16384,
    'block size'   => 'b' x 4080,
    'true'         => !!1,
    'false'        => !!0,
    'version'      => 'v1.2.3',
);

# Text that is equal only for equal values: numbers by their bits.
sub is_number { my $flags = B::svref_2object(\$_[0])->FLAGS; return !($flags & B::SVf_POK) && $flags & (B::SVf_IOK | B::SVf_NOK) }

sub exact {
    my ($v) = @_;
    return 'undef' if !defined $v;
    my $flags = is_number($v) ? '0' : '';
    return 'double ' . unpack 'H*', pack 'F>', $v if $flags eq '0' && $v != int $v;
    return "bits " . unpack('H*', pack 'F>', $v) if $flags eq '0' && ($v == 9**9**9 || $v == -9**9**9 || $v == 0);
    my $text = "$v";
    utf8::encode(my $bytes = $text);
    return ($flags eq '0' ? 'number ' : 'string ') . unpack 'H*', $bytes;
}

%h = %value;
$a[$_] = (map { $value{$_} } sort keys %value)[$_] for 0 .. keys(%value) - 1;
my @child = split /\|/, in_child(
    sub {
        map { exact($h{$_}) } sort keys %value;
    }
);
my @names = sort keys %value;
for my $i (0 .. $#names) {
    my $name = $names[$i];
    $s = $value{$name};
    is exact($h{$name}),                                                 exact($value{$name}), "$name in a hash";
    is exact($a[$i]),                                                    exact($value{$name}), "$name in an array";
    is exact($s),                                                        exact($value{$name}), "$name in a scalar";
    is in_child(sub { $s = 'x'; $s = $value{$name}; exact($h{$name}) }), exact($value{$name}), "$name in another process";
    is exact($s),                                                        exact($value{$name}), "$name from another process";
}
{
    my $nan = 9**9**9 / 9**9**9;
    $s = $nan;
    is in_child(sub { $s != $s ? 'not a number' : $s }), 'not a number', 'NaN';
}
SKIP: {
    skip 'a server keeps the text of what is a number and another text', 9 if on_server();
    no warnings 'numeric';
    for my $dual (
        [ 7,     'seven' ],
        [ 7,     '12' ],
        [ 7.5,   '12' ],
        [ -3,    '4' ],
        [ 0,     '5' ],
        [ 5,     '' ],
        [ 2**63, '1' ],
        [ 2**63, 'x' ],
        [ -1,    '18446744073709551615' ]
        )
    {
        $h{dual} = Scalar::Util::dualvar($dual->[0], $dual->[1]);
        my $got = in_child(sub { 0 + $h{dual} . " $h{dual}" });
        is $got, "@$dual", "the number $dual->[0] with the text '$dual->[1]'";
    }
}
for my $text ('12', '-5', '1e3', ' 5', '5abc', 'nan', '18446744073709551615', '-9007199254740993', '0 but true') {
    no warnings 'numeric';
    my $used   = $text;
    my $number = 0 + $used;
    $h{used} = $used;
    is exact($h{used}), exact($text), "the text '$text', used as a number, is a text";
    my $flags = B::svref_2object(\(my $back = $h{used}))->FLAGS;
    ok !($flags & (B::SVf_IOK | B::SVf_NOK)), '… and nothing else';
}
ok utf8::is_utf8($h{characters}), 'characters are characters';
ok !utf8::is_utf8($h{bytes}),     'bytes are bytes';
{
    (my $none = "\x{263a}") =~ s/.//;
    %h = (%h, before => $none, after => "\xff" x 80);
    ok utf8::is_utf8($h{before}),                   'no characters are characters';
    ok in_child(sub { utf8::is_utf8($h{before}) }), '… in another process, too';
}

# Keys.
{
    my $upgraded = "k\xe9y";
    utf8::upgrade($upgraded);
    my %key = ("\x{263a}" => 1, "k\xe9y" => 2, '' => 3, "\0" => 4, "a\nb" => 5, 'x' x 5000 => 6, 12 => 7);
    our %keys : shm = %key;
    is_deeply \%keys, \%key, 'keys with wide characters, bytes, empty and long';
    is $keys{$upgraded}, 2, 'a key is found whatever its encoding is inside';
    $keys{$upgraded} = 'two';
    is scalar(keys %keys),                                                7,       '… and stays one key';
    is in_child(sub { $keys{"k\xe9y"} . $keys{"\x{263a}"} . $keys{''} }), 'two13', '… in another process, too';
    is $keys{12.0},                                                       7,       'a number as key';
    delete $keys{$upgraded};
    is in_child(sub { exists $keys{"k\xe9y"} ? 'there' : 'gone' }), 'gone', 'deleted by its other encoding';
}

# Many megabytes.
{
    my $big = join '', map { chr(65 + $_ % 26) x 1021 } 1 .. 12_000;
    $s = $big;
    $h{big} = $big;
    push @a, $big;
    ok $s eq $big && $h{big} eq $big && $a[-1] eq $big, '12 megabytes come back';
    is in_child(sub { length($s) . ($s eq $big ? 'same' : 'other') . ($h{big} eq $big ? 'same' : 'other') }), length($big) . 'samesame',
        '… in another process';
    my $wide = "\x{263a}" x 1_000_000;
    $s = $wide;
    is in_child(sub { length($s) . ($s eq $wide ? 'same' : 'other') }), '1000000same', 'a million wide characters';
}

# Fetched values are the user's own.
{
    $h{mine} = 'abc';
    my $copy = $h{mine};
    $copy .= 'def';
    is $h{mine}, 'abc', 'a fetched value is a copy';
    $h{mine} =~ s/b/B/;
    is in_child(sub { $h{mine} }), 'aBc', 'an element as an lvalue';
    my $element = \$h{mine};
    $$element = 'through';
    is in_child(sub { $h{mine} }), 'through', 'an element through a reference';
    {
        local $h{mine} = 'local';
        is in_child(sub { $h{mine} }), 'local', 'local on an element is seen by all'
    }
    is in_child(sub { $h{mine} }), 'through', '… and undone for all';
    { local $h{fresh} = 1; local @h{qw(s t)} = (1, 2); }
    ok !exists $h{fresh} && !exists $h{s}, 'local on elements that were not there removes them again';
    { delete local $h{mine}; ok !exists $h{mine}, 'delete local' }
    is $h{mine}, 'through', '… undone';
    my ($x, $y) = @h{qw(mine nothing)};
    is_deeply [ $x, $y ], [ 'through', undef ], 'a slice';
    my %slice = %h{qw(mine)};
    is_deeply \%slice, { mine => 'through' }, 'a key and value slice';
    ok !exists $h{nothing}, 'looking makes no element';
}
$s = 40;
is((tied $s)->add(2),    42,   'add returns the sum');
is((tied $s)->add(-0.5), 41.5, 'add of a fraction');
$s = 9223372036854775807;
is((tied $s)->add(1), '9223372036854775808', 'add beyond the signed integers');
$s = 18446744073709551615;
is((tied $s)->add(1), 18446744073709551616, 'add goes over to doubles where integers end');
$s = undef;
is((tied $s)->add(7), 7, 'undef counts as 0');
$s = 'seven';
ok !eval { (tied $s)->add(1); 1 } && $@ =~ /not a number.* at \Q$0\E/, 'add to a text is an error';
is $s, 'seven', '… and changes nothing';
ok !eval { (tied $s)->add('x'); 1 } && $@ =~ /not a number/, 'add of a text is an error';
done_testing;
