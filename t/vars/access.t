use strict;
use warnings;
use lib 't/lib';
use ShmTest;
use Test::More;
use IPC::Shm;

# Elements are fetched and stored by a short way around the methods FETCH and
# STORE. Whatever can be seen of it must be as with any tied variable.

our %h : shm = (a => 1, b => 'text', list => [ 1, 2, 3 ]);
our @a : shm = (10, 20, 30);
our $s : shm = 'scalar';
my $ref = \%h;
my $key = 'a';
our $global = 'b';

sub same { my ($x) = @_; return $x }

# Each form in which an element can be read, or asked for.
{
    is $h{a},             1,      'a constant key';
    is $h{$key},          1,      'a lexical key';
    is $h{$global},       'text', 'a package variable as the key';
    is $h{ lc 'A' },      1,      'a computed key';
    is $ref->{a},         1,      'through a reference';
    is $ref->{$key},      1,      '… with a lexical key';
    is $$ref{ lc 'B' },   'text', '… with a computed key';
    is $h{list}[1],       2,      'an element of what an element refers to';
    is $ref->{list}->[2], 3,      '… through a reference';
    is $h{nothing},       undef,  'a key that is not there';
    ok !exists $h{nothing},                                                                  '… is not made by looking';
    ok exists $h{a} && exists $h{$key} && exists $ref->{$global} && exists $ref->{ lc 'A' }, 'exists in each form';
    is same($h{a}),        1,       'an argument of a sub';
    is "$h{a}$h{$global}", '1text', 'in a string';
    my @row = ($h{a}, $h{$key}, $ref->{b});
    is "@row",               '1 1 text', 'in a list';
    is $a[1] . $a[-1] . $#a, '20302',    'elements of an array';
}

# A value that was read is a value, not a window.
{
    my @before = ($h{a}, ($h{a} = 5), $h{a});
    is "@before", '1 5 5', 'a later store does not reach what was read before';
    our $read : shm = 'read';
    $_ .= ' and changed' for (tied $read)->FETCH, (tied %h)->FETCH('a');
    is "$read $h{a}", 'read 5', 'what FETCH returns is the caller\'s';
    $h{a} = 1;
    our $same;
    for my $x ($h{a}) { $x++ }
    is $h{a}, 2, 'an element under for can be assigned to';
    sub { $_[0] = 7 }
        ->($h{a});
    is $h{a}, 7, '… and as an argument';
    my $to = \$h{a};
    $$to = 8;
    is $h{a}, 8, '… and by reference';
    { local $h{a} = 9; is $h{a}, 9, 'local' }
    is $h{a},        8, '… ends';
    is delete $h{a}, 8, 'delete returns the value';
    ok !exists $h{a}, '… and deletes it';
    $h{$_}++ for qw(a a);
    is $h{a}, 2, 'an element that is made by counting';
    (my $copy = $h{b}) =~ s/e/E/;
    is "$copy $h{b}", 'tExt text', 'a copy can be changed';
    $h{b} =~ tr/t/T/;
    is $h{b}, 'TexT', 'an element can be changed in place';
}

# Warnings and exceptions are those of perl, at the line of the access.
{
    my @warnings;
    local $SIG{__WARN__} = sub { push @warnings, @_ };
    my $undef;
    my $x    = $h{$undef};
    my $line = __LINE__ - 1;
    like $warnings[0], qr/^Use of uninitialized value \$undef in hash element at \Q$0\E line $line\.$/, 'an undefined key';
    our %other : shm;
    (tied %other)->remove;
    ok !eval { $x = $other{a}; 1 }, 'a variable that was removed cannot be read';
    $line = __LINE__ - 1;
    like $@, qr/was removed at \Q$0\E line $line\.$/, '… which is told at the line of the access';
    ok !eval { $other{a} = 1 }, '… nor written';
    $line = __LINE__ - 1;
    like $@, qr/was removed at \Q$0\E line $line\.$/, '… likewise';
}

# Classes of one's own, derived from ours.
{

    package Loud;
    our @ISA = (my $base = main::on_server() ? 'IPC::Shm::Engine::Redis::Hash' : 'IPC::Shm::Hash');
    our @calls;
    sub TIEHASH { my ($class) = @_; my $object = IPC::Shm::Tied->TIEHASH; return bless $object, $class }
    sub FETCH   { my ($self, $k) = @_; push @calls, "FETCH $k"; return $self->SUPER::FETCH($k) }
    sub STORE   { my ($self, $k, $v) = @_; push @calls, "STORE $k $v"; return $self->SUPER::STORE($k, $v) }

    package main;
    tie my %loud, 'Loud';
    $loud{x} = 1;
    my $x = $loud{x};
    is "@Loud::calls", 'STORE x 1 FETCH x', 'a derived class has its methods called';
    is $x,             1,                   '… and can use ours';
    @Loud::calls = ();
    bless tied(%loud), $base;
    $x = $loud{x} + 1;
    is "$x@Loud::calls", '2', 'blessed back, it has the short way';
}

# Tied by hand, untied, tied again.
{
    tie my %t, 'IPC::Shm::Tied';
    $t{x} = 1;
    is in_child(sub { $t{x} }), 1, 'tied by hand';
    my $object = tied %t;
    { no warnings "untie"; untie %t }
    is $t{x}, undef, 'untied, it is a hash of its own';
    $t{x} = 'mine';
    is $object->FETCH('x'), 1, '… and the object goes on';
    tie my $n, 'IPC::Shm::Tied';
    $n = 5;
    is $n++,               5, 'a scalar';
    is in_child(sub {$n}), 6, '… is shared';
    tie my @l, 'IPC::Shm::Tied';
    push @l, 1, 2;
    is $l[-1] + $l[0] + @l, 5, 'an array';
    ok !eval { my $x = $l[-3] = 1; 1 }, 'an index in front of it cannot be assigned to';
    like $@, qr/^Modification of non-creatable array value attempted, subscript -3 at/, '… in the words of perl';
}

# Other tied hashes are none of our business.
{
    require Tie::Hash;
    tie my %std, 'Tie::StdHash';
    $std{x} = 3;
    my %plain = (x => 4);
    my $sum   = $std{x} + $plain{x} + { x => 5 }->{x};
    is $sum, 12, 'other hashes';
    ok exists $std{x} && !exists $std{y} && exists $plain{x}, '… as they were';
}
done_testing;
