use strict;
use warnings;
use lib 't/lib';

my @warnings;

BEGIN {
    $SIG{__WARN__} = sub { push @warnings, @_ }
}
use ShmTest;
use Test::More;
use IPC::Shm;
use warnings;    # after it: nothing that IPC::Shm switched off may be needed

# Declarations, and what they promise: the same value for all, beyond the end.

our $scalar : shm;
our @array : shm;
our %hash : shm;
our $upper : Shm = 'upper';
our ($p, @q, %r) : shm;
our %initial : shm = (a => 1, b => 2);
my $lexical : shm;
my $with_value : shm = 'foo';
my @list : shm       = (1, 2, 3);
my %table : shm      = (k => 'v');

is_deeply \@warnings, [], 'no warning for a lower-case attribute under use warnings';
is $scalar, undef, 'a new scalar is undefined';
is_deeply \@array, [], 'a new array is empty';
is_deeply \%hash, {}, 'a new hash is empty';
is $upper, 'upper', ': Shm is the same attribute';
is_deeply \%initial, { a => 1, b => 2 }, 'a hash with an initial value';
is_deeply [ $lexical, $with_value, @list, %table ], [ undef, 'foo', 1, 2, 3, 'k', 'v' ], 'lexicals with and without';
ok tied($_->[0] eq '$' ? ${ $_->[1] } : $_->[0] eq '@' ? @{ $_->[1] } : %{ $_->[1] }), "$_->[2] is shared"
    for [ '$', \$scalar, '$scalar' ], [ '@', \@array, '@array' ], [ '%', \%hash, '%hash' ], [ '$', \$p, '($p, …)' ], [ '@', \@q, '@q' ],
    [ '%', \%r, '%r' ];

$scalar = 42;
@array  = ('a' .. 'e');
%hash   = (one => 1, two => 2);
is program(
    'use IPC::Shm; our $scalar : shm; our @array : shm; our %hash : shm; print "$scalar @array $hash{one}$hash{two}"; $hash{three} = 3; push @array, "f"; $scalar++'
    ),
    '42 a b c d e 12', 'another program sees the values';
is "$scalar @array $hash{three}",                          '43 a b c d e f 3', '… and this one what that has changed';
is in_child(sub { $scalar = 44; "$scalar $hash{three}" }), '44 3',             'a child sees them';
is $scalar,                                                44,                 '… and so do we what the child has changed';

# Persistence: beyond the end of all programs that use it.
program('package Elsewhere; use IPC::Shm; our %stay : shm; $stay{here} = "still"');
is program('package Elsewhere; use IPC::Shm; our %stay : shm; print $stay{here}'), 'still',
    'a package variable persists beyond the program\'s end';
is program('use IPC::Shm; our %stay : shm; print exists $stay{here} ? "same" : "other"'), 'other', 'the package is part of the name';
is program('package Elsewhere; use IPC::Shm; our $stay : shm; our @stay : shm; print defined $stay || @stay ? "same" : "other"'), 'other',
    'and so is the sigil';

# Late: evaluated, required, loaded at run time, in another package of the file.
{
    my $got = eval q{ package Late; our %late : shm; $late{x} = 5; our %again : shm = (y => 6); "$late{x}$again{y}" };
    is $got,                                                                   56, 'in eval, in a package without its own use';
    is program('package Late; use IPC::Shm; our %late : shm; print $late{x}'), 5,  '… under the name of that package';
    my $file = File::Temp->new(SUFFIX => '.pm');
    print {$file}
        'package Required; use strict; use warnings; use IPC::Shm; our @queue : shm; sub put { push @queue, @_ } sub all { @queue } 1;';
    close $file;
    require "$file";
    Required::put(1, 2);
    Required::put(3);
    is join(',', Required::all()),                                                  '1,2,3', 'in a file that is required at run time';
    is program('package Required; use IPC::Shm; our @queue : shm; print "@queue"'), '1 2 3', '… shared under its name';
}
is program('require IPC::Shm; IPC::Shm->import; eval q{our $late : shm; $late = 7; print $late} or die $@'), 7,
    'IPC::Shm itself loaded late';
is program(
    'sub assign { my $h = shift; %$h = @_; return } require IPC::Shm; IPC::Shm->import; eval q{our %l : shm; assign(\%l, 1 .. 1000); print +(tied %l)->serial} or die $@'
    ),
    has_batches() ? 1 : 501, 'code compiled before IPC::Shm was loaded assigns a list in one change (where there are such)';

# Classes with attributes of their own.
is program(<<'CODE'), "mine:Mine ok\n", 'a package that has attributes of its own keeps them';
package Own;
our @seen;
sub MODIFY_SCALAR_ATTRIBUTES { my ($class, $ref, @attributes) = @_; push @seen, @attributes; return grep { $_ ne 'Mine' } @attributes }
use IPC::Shm;
BEGIN { IPC::Shm->import }
our $both : Mine : shm = 'ok';
print "mine:@seen $both\n";
CODE
like program('use IPC::Shm; our $x : nonsense;'), qr/Invalid SCALAR attribute: nonsense/, 'an unknown attribute is still refused';

# By hand.
my $object = tie my %by_hand, 'IPC::Shm::Tied';
isa_ok $object, 'IPC::Shm::Tied';
$by_hand{x} = 1;
is in_child(sub { $by_hand{x} += 1 }) . $by_hand{x}, '22', 'tie my %h, "IPC::Shm::Tied" makes an anonymous shared hash';
isa_ok tie(my @array_by_hand,  'IPC::Shm::Tied'), 'IPC::Shm::Tied', 'an array by hand';
isa_ok tie(my $scalar_by_hand, 'IPC::Shm::Tied'), 'IPC::Shm::Tied', 'a scalar by hand';

# untie leaves the variable to the others.
{
    our @leave : shm = (1, 2);
    untie @leave;
    is_deeply \@leave, [], 'an untied variable is an ordinary one again';
    is program('use IPC::Shm; our @leave : shm; print "@leave"'), '1 2', '… and the shared one goes on';
}
{
    our @wipe : shm = (1 .. 5);
    undef @wipe;
    is program('use IPC::Shm; our @wipe : shm; print scalar @wipe'), 0, 'undef @array empties the shared array';
    our %wipe : shm = (1, 2);
    undef %wipe;
    is program('use IPC::Shm; our %wipe : shm; print scalar keys %wipe'), 0, 'undef %hash empties the shared hash';
}

# Going through a hash while others change it.
{
    our %walk : shm = map { $_ => $_ } 1 .. 200;
    my %seen;
    my $steps = 0;
    while (my ($k, $v) = each %walk) {
        $seen{$k}++;
        finish(child(sub { $walk{"new$_"} = 1 for 1 .. 500; delete @walk{ 101 .. 110 } })) if ++$steps == 20;
    }
    is scalar(grep { $_ > 1 } values %seen),             0, 'each gives no key twice while others change the hash';
    is scalar(grep { !$seen{$_} } 1 .. 100, 111 .. 200), 0, '… and none of those that stay is left out';
    my $deleted = 0;
    while (my ($k) = each %walk) { delete $walk{$k}; $deleted++ }
    is "$deleted " . keys %walk, 690 . ' 0', 'deleting while going through';
}

is_deeply [ sort keys %IPC::Shm::NAMEVARS ], [
    sort
        qw($main::scalar @main::array %main::hash $main::upper $main::p @main::q %main::r %main::initial %Elsewhere::stay $Elsewhere::stay @Elsewhere::stay
        %main::stay %Late::late %Late::again @Required::queue $main::late %main::l $Own::both @main::leave @main::wipe %main::wipe %main::walk)
    ],
    '%IPC::Shm::NAMEVARS lists the named variables';
is_deeply $IPC::Shm::NAMEVARS{'@main::array'}, [ 'a' .. 'f' ], '… and leads to them';
ok !exists $IPC::Shm::NAMEVARS{'@main::nothing'}, '… and not to others';
is_deeply \@warnings, [], 'no warnings at all' or diag @warnings;
done_testing;
