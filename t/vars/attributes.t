use strict;
use warnings;
use lib 't/lib';
use ShmTest;
use Test::More;
use IPC::Shm;

# The attribute in all the places where a program may have it, and among other
# attributes. Each program starts in an empty namespace.

sub prints {
    my ($code, $expected, $name) = @_;
    my $got = program($code);
    IPC::Shm->cleanup;
    return ref $expected ? like($got, $expected, $name) : is($got, $expected, $name);
}
my $names = 'join " ", sort keys %IPC::Shm::NAMEVARS';

# Forms of declarations.
prints
    'use IPC::Shm; our ($p, @q) : shm; ($p, @q) = (1, 2, 3); our ($x, $y) : shm = (5, 6); my ($l, @m) : shm = (7, 8, 9); print "$p @q $x $y $l @m"',
    '1 2 3 5 6 7 8 9', 'several variables in one declaration';
prints 'use IPC::Shm; { our @a : shm = (1); } { our @a : shm; push @a, 2; print "@a" }', '1 2', 'declared in two scopes: one variable';
prints 'use IPC::Shm; our $x : shm = 5; package Other; our $x : shm = 6; package main; print "$main::x $Other::x"', '5 6',
    'of one name in two packages: two variables';
prints 'use IPC::Shm; BEGIN { our $b : shm = 9 } our $b; print $b', '9', 'in BEGIN';
prints 'package Dog; sub new { } package main; use IPC::Shm; my Dog $s : shm = 5; our Dog $t : shm = 6; print "$s $t ", ' . $names,
    '5 6 $main::t',
    'with a class';
prints
    "use utf8; package Pak\x{c3}\x{a9}; use IPC::Shm; our \%\x{c3}\x{a9}t\x{c3}\x{a9} : shm = (a => 1); binmode STDOUT, ':utf8'; print $names",
    "\%Pak\x{c3}\x{a9}::\x{c3}\x{a9}t\x{c3}\x{a9}", 'names of characters';
prints "no warnings; package A'B; use IPC::Shm; our \$v : shm; print $names", '$A::B::v',                  'the old separator of packages';
prints 'require IPC::Shm; eval q{our $x : shm = 5; print tied $x ? "shared" : "not"} or die $@', 'shared', 'without import';
prints
    'use IPC::Shm; use attributes (); our %h; my @l; attributes->import(__PACKAGE__, $_, "shm") for \%h, \@l; print tied %h && tied @l ? "shared" : "not"',
    'shared', 'at run time, by hand';
prints 'use IPC::Shm; my $full = \1; attributes->import(__PACKAGE__, \$full, "shm"); print tied $full ? "shared" : "not"', 'shared',
    'a variable that holds a reference';
prints 'use warnings FATAL => "all"; use strict; use IPC::Shm; our $x : shm = 1; my %y : shm; our @z : Shm; print "fine"', 'fine',
    'no warning, where one would be fatal';
prints
    'use IPC::Shm; our %h : shm; if (!fork) { eval q{package Late; our %l : shm = (k => "child")} or die $@; exit } wait; eval q{package Late; our %l : shm; print $l{k}} or die $@',
    'child', 'in code that is loaded after a fork';

# An alias: whichever name comes first in the alphabet, in every process.
{
    my %seen = map {
        program(
            'use IPC::Shm; BEGIN { no strict "refs"; *{"main::alias$_"} = \%main::name for 1 .. 9 } our %name : shm; print ' . $names) => 1
    } 1 .. 8;
    is join('|', sort keys %seen), '%main::alias1', 'a variable of several names has the same name in each process';
    IPC::Shm->cleanup;
}

# When a lexical is a new variable, and when it is not.
prints
    'use IPC::Shm; my @got; my $n = 0; for (1 .. 2) { my $v : shm; push @got, defined $v ? "old" : "new"; $v = 1; redo if $n++ < 2 } print "@got"',
    'new new new new', 'a loop, also by redo';
prints
    'use IPC::Shm; my @s; for my $i (1 .. 3) { my $n : shm = $i; push @s, sub { $n += 10 } } $_->() for @s; print join " ", map { $_->() } @s',
    '21 22 23', 'closures';
prints 'use IPC::Shm; sub f { my @l : shm = @_; f($_[0] - 1) if $_[0]; print "@l " } f(3)', '0 1 2 3 ', 'recursion';
prints
    'use IPC::Shm; use feature "state"; sub f { state $n : shm = 5; state @l : shm; state %h : shm; $h{x}++; push @l, $n++; return "@l $h{x};" } print f(), f()',
    '5 1;5 6 2;', 'state variables keep their value';
prints 'use IPC::Shm; use feature "state"; sub f { state $n : shm; return ++$n } f(); if (!fork) { f(); exit } wait; print f()', '3',
    '… and share it with children';
prints 'use IPC::Shm; use feature "state"; sub f { state $n : shm; return ++$n } f(); IPC::Shm->cleanup; print f()', '1',
    '… and are new after a cleanup';

# local.
prints 'use IPC::Shm; our $x : shm = 1; sub look { $x } sub f { local our $x = 2; look() } print f(), look()', '21', 'local on a scalar';
prints 'use IPC::Shm; our (%h, @a) : shm; %h = (a => 1); @a = (1); { local %h = (b => 2); local @a = (7) } print %h, @a', 'a11',
    'what is shared of a hash or array is not touched by local';

# Among other attributes.
my $loud =
    'sub Loud : ATTR(SCALAR) { print "loud " } our $x : Loud : shm = 5; my $y : shm : Loud = 6; print tied $x && tied $y ? "$x $y" : "not"';
prints "package P; use Attribute::Handlers; use IPC::Shm; $loud", 'loud loud 5 6', 'Attribute::Handlers, loaded before';
prints "package P; use IPC::Shm; use Attribute::Handlers; $loud", 'loud loud 5 6', '… and after';
my $own  = 'sub MODIFY_SCALAR_ATTRIBUTES { my ($class, $ref, @rest) = @_; print "(@rest)"; return grep { $_ ne "Mine" } @rest }';
my $mine = 'our $x : Mine : shm = 5; our $y : shm = 6; our $z : Mine = 7; print tied $x && tied $y && !tied $z ? "$x $y $z" : "not"';
prints "package P; $own use IPC::Shm; $mine", '(Mine)(Mine)5 6 7', 'a handler of the package, before';
prints "package P; use IPC::Shm; $own $mine", '(Mine)(Mine)5 6 7', '… and after';
prints "package Base; $own package P; use IPC::Shm; our \@ISA; BEGIN { \@ISA = 'Base' } $mine", '(Mine)(Mine)5 6 7', 'an inherited handler';
prints "package P; $own package main; use IPC::Shm; package P; our \$x : nonsense : shm",
    qr/^Invalid SCALAR attribute: nonsense at program line 1/, 'what the handler refuses is refused';

for my $wrong ([ 'sub f : shm { }', 'CODE attribute: shm' ], [ 'our $x : SHM', 'SCALAR attribute: SHM' ],) {
    my ($code, $what) = @$wrong;
    prints "use IPC::Shm; eval q{$code; 1} or print \$@", qr/^Invalid \Q$what\E at \(eval \d+\) line 1/, "refused: $code";
}
prints 'use IPC::Shm; eval q{our $x : shm(5); 1} or print $@', qr/^'5' is not a name for a shared \w+.* at \(eval \d+\) line 1/,
    'refused: what is not a name';
done_testing;
