use strict;
use warnings;
use lib 't/lib';
use ShmTest;
use Test::More;
use IPC::Shm;

# Names apart from packages: shm(NAME), and tie with a name.

our %session : shm(app.session);
$session{a} = 1;
is((tied %session)->name, '%app.session', 'the variable of that name');

package Other::Package;
our %sessions : shm(app.session);
my %lexical : shm(app.session);
my @list : shm(app.session);
our $n : shm( app::n );

package main;
is $Other::Package::sessions{a}, 1, 'another package, another name: the same';
is $lexical{a},                  1, 'a lexical of that name';
$lexical{b} = 2;
is $session{b},   2, '… is the same';
is scalar(@list), 0, 'an array of that name is another variable';
is((tied $Other::Package::n)->name, '$app::n', 'blanks around a name are none of it');

tie my %tied, 'IPC::Shm::Tied', 'app.session';
is $tied{b}, 2, 'tie with a name';
tie my @tied, 'IPC::Shm::Tied', '@app.queue';
push @tied, 1;
is((tied @tied)->name, '@app.queue', 'a name with its sigil');
tie my $tied, 'IPC::Shm::Tied', 'app.count';
(tied $tied)->add(5);
is program(q(use IPC::Shm; package Foo; our $count : shm(app.count); our %x : shm(app.session); print "$count $x{a}")), '5 1',
    'another program has them';
is in_child(
    sub {
        my %again : shm(app.session);
        $again{c} = 3;
        join '', map { $session{$_} } qw(a b c);
    }
    ),
    '123', 'a child, too';
is $session{c}, 3, '… and what it stores is there';
ok exists $IPC::Shm::NAMEVARS{'%app.session'}, 'it is in %NAMEVARS';

sub scoped { my %s : shm(app.scoped); return $s{n} = ($s{n} // 0) + 1 }
scoped() for 1 .. 3;
is scoped(), 4, 'a lexical with a name outlives its scope';

sub dies { my ($code) = @_; return eval "$code; 1" ? '' : $@ }    ## no critic (declarations)
for my $bad ('a b', '', '1x', '%h', 'a..b', "a\tb", '$app.session', 'a/b') {
    my $why = dies("tie my \@x, 'IPC::Shm::Tied', q($bad)");
    like $why, qr/is not a name for a shared \w+.* at \(eval/, "no name: '$bad'";
}
like dies(q(tie my %x, 'IPC::Shm::Tied', {})),    qr/name of a shared variable must be a string at \(eval/, 'tie with a reference';
like dies(q(tie my %x, 'IPC::Shm::Tied', undef)), qr/must be a string at \(eval/,                           'tie with undef';
like dies(q(tie my %x, 'IPC::Shm::Tied', 'key', { create => 1 })), qr/at most a name, not 2 arguments at \(eval/,
    'tie as for another module';
like dies(q(our %y : shm(1x))), qr/is not a name for a shared \w+/, 'shm with what is not a name';
ok eval { tie my %x, 'IPC::Shm::Tied'; $x{1} = 1; !defined((tied %x)->name) }, 'tie without a name: anonymous, as ever';

# The name is removed: those that declare it again have a new one.
(tied %session)->remove;
is program(q(use IPC::Shm; our %x : shm(app.session); print scalar keys %x)), '0', 'removed, and declared anew';

# A name is the same, however perl keeps its characters.
{
    my $native   = "caf\x{e9}";
    my $upgraded = $native;
    utf8::upgrade($upgraded);
    tie my %one, 'IPC::Shm::Tied', $native;
    tie my %two, 'IPC::Shm::Tied', $upgraded;
    $one{x} = 5;
    is $two{x}, 5, 'a name of letters beyond ASCII';
}

IPC::Shm->cleanup;
done_testing;
