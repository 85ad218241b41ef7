use strict;
use warnings;
use lib 't/lib';
use ShmTest;
use Test::More;
use IPC::Shm;

our %h : shm;
our @a : shm;
our $s : shm;

sub variables { IPC::Shm->recover; return IPC::Shm->stats->{variables} }
my $base = variables();

# Nested data, made by autovivification and by assignment.
$h{a}{b}[3] = 1;
$h{list} = [ 1, [ 2, [3] ], { four => 4 } ];
is in_child(sub {"$h{a}{b}[3] $#{$h{a}{b}} $h{list}[1][1][0] $h{list}[2]{four}"}), '1 3 3 4', 'nested data in another process';
is in_child(sub { $h{a}{c}{d} = 'deep'; push @{ $h{list} }, 'pushed'; $h{kid}{made} = 1 }) && "$h{a}{c}{d} $h{list}[-1] $h{kid}{made}",
    'deep pushed 1', 'what a child makes deep inside is seen';
is program('use IPC::Shm; our %h : shm; print join ",", ref $h{a}, ref $h{a}{b}, ref $h{list}[2], $h{a}{c}{d}'), 'HASH,ARRAY,HASH,deep',
    '… by another program, too';
$s = \'a constant';
is in_child(sub { ref($s) . " $$s" }), 'SCALAR a constant', 'a reference to a scalar';
$s = \\'deeper';
is in_child(sub { ref($s) . ref($$s) . " $$$s" }), 'REFSCALAR deeper', 'a reference to a reference';

# The original variable becomes shared, its content is kept.
{
    my %mine  = (x => 1, y => [ 1, 2 ]);
    my $alias = \%mine;
    $h{mine} = \%mine;
    is_deeply \%mine, { x => 1, y => [ 1, 2 ] }, 'the target of a stored reference keeps its content';
    is $h{mine}, $alias, '… and stays the same variable';
    in_child(sub { $h{mine}{x} = 2; $h{mine}{z} = 3 });
    is "$mine{x}$alias->{z}", '23', '… which now is shared';
    $mine{w} = 4;
    is in_child(sub { $h{mine}{w} }), 4, '… both ways';
}

# One target referred to twice stays one.
{
    my $one = [ 1, 2, 3 ];
    $h{left}  = $one;
    $h{right} = { same => $one };
    push @a, $one, $one;
    is in_child(
        sub {
            push @{ $h{left} }, 4;
            ($h{left} == $h{right}{same} && $a[0] == $a[1] && $a[0] == $h{left} ? 'one' : 'several') . " @{$a[1]}";
        }
        ),
        'one 1 2 3 4', 'one target referred to four times is one';
    is "@$one",                                                                                          '1 2 3 4', '… here as well';
    is program('use IPC::Shm; our %h : shm; our @a : shm; print $h{left} == $a[1] ? "one" : "several"'), 'one', '… and in another program';
}

# Blessed references.
{

    package Some::Class;
    sub new  { my ($class, %f) = @_; return bless {%f}, $class }
    sub name { return $_[0]{name} }
}
$h{object} = Some::Class->new(name => 'Bob');
is in_child(sub { ref($h{object}) . ' ' . $h{object}->name }), 'Some::Class Bob', 'a blessed reference in a child';
is program('use IPC::Shm; our %h : shm; sub Some::Class::name { "I am $_[0]{name}" } print $h{object}->name'), 'I am Bob',
    '… and in another program';
sub scalar_object { my $x = 5; return bless \$x, 'Scalar::Object' }
$h{inner} = [ bless([ 1, 2 ], "W\x{ef}de\x{263a}"), scalar_object() ];
is in_child(sub { (ref($h{inner}[0]) eq "W\x{ef}de\x{263a}" ? 'wide' : 'no') . ref($h{inner}[1]) . ${ $h{inner}[1] } }),
    'wideScalar::Object5', 'blessed arrays and scalars, inside of others';

# The class is stored with the reference.
{
    my $object = bless { n => 1 }, 'First';
    $h{object} = $object;
    pipe my $go_r,  my $go_w  or die $!;
    pipe my $say_r, my $say_w or die $!;
    my $other = child(
        sub {
            for (1 .. 3) { syswrite $say_w, ref($h{object}) . "\n"; sysread $go_r, my $x, 1 }
        }
    );
    is readline($say_r), "First\n", 'a class';
    bless $object, 'Second';
    is ref $h{object}, 'Second', 'an object that is blessed anew has its new class here';
    $h{unrelated} = 1;
    syswrite $go_w, 'x';
    is readline($say_r), "First\n", '… and the stored one for others';
    $h{object} = $object;
    syswrite $go_w, 'x';
    is readline($say_r), "Second\n", '… until it is stored anew: then they see it, though they had the object already';
    is program('use IPC::Shm; our %h : shm; print ref $h{object}'), 'Second', '… in another program, too';
    syswrite $go_w, 'x';
    ok finish($other), '(the other ends)';
}

# A constant of a class is stored by value: nobody can change what is true elsewhere.
{
    require JSON::PP;
    $h{doc} = JSON::PP::decode_json('{"yes":true,"no":false}');
    is in_child(sub { my $t = $h{doc}{yes}; ${$t} = 0; JSON::PP->new->canonical->encode({ %{ $h{doc} } }) }), '{"no":false,"yes":true}',
        'a child cannot change a constant that is stored';
    is(JSON::PP->new->canonical->encode({ %{ $h{doc} } }), '{"no":false,"yes":true}', '… it is what it was');
    is(JSON::PP::encode_json([ JSON::PP::true() ]),        '[true]',                  '… and so is that of the class');
    delete $h{doc};
}

# A destructor runs when this process lets go of the object, not before.
{

    package Mortal;
    our @gone;
    sub new { my ($class, $n) = @_; return bless { n => $n }, $class }
    sub DESTROY { my ($self) = @_; push @gone, $self->{n}; return }
}
{
    @a = ();
    $h{mortal} = Mortal->new('hash');
    push @a, Mortal->new('array');
    $s = Mortal->new('scalar');
    %h = (%h, box => [ Mortal->new('inner') ]);
    push @{ $h{late} }, Mortal->new('late');
    is "@Mortal::gone", '', 'objects that were stored live, though nothing else holds them';
    in_child(sub { $h{"other$_"} = 'x' x 1000 for 1 .. 200; delete $h{"other$_"} for 1 .. 200; @a = (@a, 1); @Mortal::gone = () });
    is $h{mortal}{n} . $a[0]{n}, 'hasharray', '(others change the variables)';
    is "@Mortal::gone",          '',          '… also while others change what they are stored in';
    my $address = "$h{mortal}";
    in_child(sub { %h = (%h, more => 1); });
    is "$h{mortal}", $address, '… and stay where they are';
    delete $h{mortal};
    is "@Mortal::gone", 'hash', 'a destructor runs when the object is deleted';
    in_child(sub { @a = (); $s = 1 });
    is scalar(@a) . $s,               '01',                '(others let go of them)';
    is join(' ', sort @Mortal::gone), 'array hash scalar', '… or when others have let go of it, at the next look';
    delete @h{qw(box late)};
    is scalar(@Mortal::gone), 5, '… or of what it was in';
}

# … and at the end of the program, while the variables are still there.
# (A scalar on a server holds what it leads to until perl takes all apart.)
for my $place (
    'our %x : shm; $x{o} = $object',
    'our @x : shm; push @x, $object',
    'our %x : shm; $x{in}[0]{o} = $object',
    on_server() ? () : 'our $x : shm; $x = $object'
    )
{
    my $end = program(
        'use IPC::Shm; package Last; sub DESTROY { my ($self) = @_; $self->{n}++; print "gone $self->{n} ${^GLOBAL_PHASE}"; $? = 9; return }
        package main; my $object = bless { n => 1 }, "Last"; ' . $place . '; undef $object; END { print "end " } $? = 3; '
    );
    delete $IPC::Shm::NAMEVARS{"${_}main::x"} for '$', '@', '%';
    is $end, 'end gone 2 END', "the end of the program destroys: $place";
}

# To bless a shared variable changes no value.
{
    our $bless : shm = 5;
    in_child(sub { $bless = 6 });
    bless \$bless, 'Some::Class';
    is in_child(sub {$bless}), 6, 'bless of a shared scalar stores nothing';
    (tied $bless)->remove;
}

# A held reference stays usable.
{
    $h{held} = { value => 'kept' };
    my $held = $h{held};
    $h{held} = 'overwritten';
    is $held->{value}, 'kept', 'a held reference after its place was overwritten';
    $held->{more} = 1;
    is join(',', sort keys %$held), 'more,value', '… also for writing';
    $h{again} = $held;
    is in_child(sub { $h{again}{more} }), 1, '… and for storing anew';
    my $deleted = delete $h{again};
    is $deleted->{value}, 'kept', 'delete returns a reference that works';
    my $other = $h{list};
    in_child(sub { delete $h{list} });
    ok !exists $h{list}, '(a child deletes it)';
    is $other->[1][1][0], 3, 'a held reference after another process deleted its place';
    @a = ({ n => 1 }, { n => 2 }, { n => 3 }, { n => 4 });
    my ($first, $last) = (shift @a, pop @a);
    my @spliced = splice @a, 0, 2;
    is join(',', map { $_->{n} } $first, $last, @spliced), '1,4,2,3', 'shift, pop and splice return references that work';
    @a = ({ n => 5 }, { n => 6 });
    is in_child(sub { my $job = shift @a; my ($more) = splice @a, 0, 1; "$job->{n}$more->{n}" }), '56',
        '… in a process that has not seen them before';
}

# Cycles.
{
    my $ring = { name => 'ring' };
    $ring->{self} = $ring;
    $h{ring} = $ring;
    is in_child(sub { $h{ring}{self}{self}{self}{name} }), 'ring', 'a cycle can be stored';
    my ($a1, $b1) = ({ n => 'a' }, { n => 'b' });
    ($a1->{other}, $b1->{other}) = ($b1, $a1);
    $h{pair} = $a1;
    is in_child(sub { $h{pair}{other}{other}{other}{n} }), 'b', 'two that refer to each other';
}

# A constant is stored as a writable double, an object among them.
{
    my $object = bless \(my $x = 'constant'), 'Constant::Object';
    Internals::SvREADONLY($x, 1);
    $h{constant} = $object;
    is in_child(sub { ref($h{constant}) . ${ $h{constant} } }), 'Constant::Objectconstant', 'a constant object keeps its class';
    ${ $h{constant} } = 'changed';
    is "$x " . in_child(sub { ${ $h{constant} } }), 'constant changed', '… and itself';
    delete $h{constant};
}

# Copies.
{
    require Storable;
    $h{deep} = { list => [1] };
    ok !eval { Storable::dclone(\%h); 1 } && $@ =~ /^Storable cannot copy or store a shared variable.* at/, 'Storable is refused';
    is_deeply Storable::dclone({ map { $_ => 1 } keys %h }), { map { $_ => 1 } keys %h }, '… but for what was copied';
    delete $h{deep};
}

# Weak references.
{
    require Scalar::Util;
    my $parent = { name => 'parent' };
    my $kid    = { name => 'kid', parent => $parent };
    Scalar::Util::weaken($kid->{parent});
    $parent->{kid} = $kid;
    $h{family} = $parent;
    undef $parent;
    undef $kid;
    is in_child(sub { $h{family}{kid}{parent}{kid}{name} }), 'kid', 'a weak reference is stored';
    is $h{family}{kid}{parent}
    {name}, 'parent', '… and leads where it led';
    my $count = IPC::Shm->stats->{variables};
    delete $h{family};
    IPC::Shm->recover;
    is(IPC::Shm->stats->{variables}, $count - 2, '… and does not keep anything from recover');
}
IPC::Shm->recover;
in_child(sub { $h{foreign_ring} = {}; $h{foreign_ring}{self} = $h{foreign_ring}; delete $h{foreign_ring} });
my $before = IPC::Shm->stats->{variables};
cmp_ok(IPC::Shm->recover, '>', 0, 'recover finds the cycle that a dead process left');
is(IPC::Shm->stats->{variables}, $before - 1, '… and frees it');

# What cannot be shared.
{

    package Foreign::Tie;
    sub TIEHASH { return bless {}, shift }
}
{
    tie my %foreign, 'Foreign::Tie';
    my $lvalue  = \substr(my $text = 'abc', 1, 1);
    my %element = (x => 1);
    open my $handle, '<', $0 or die $!;
    $h{old} = 'old';
    my @cases = (
        [ 'code',                    sub {1},                               qr/Cannot share code/ ],
        [ 'a glob',                  \*STDOUT,                              qr/Cannot share a glob/ ],
        [ 'a glob as value',         *STDOUT,                               qr/Cannot share a glob/ ],
        [ 'a handle',                $handle,                               qr/Cannot share a glob or filehandle/ ],
        [ 'an IO object',            *STDOUT{IO},                           qr/Cannot share a filehandle/ ],
        [ 'a regular expression',    qr/x/,                                 qr/Cannot share a regular expression/ ],
        [ 'a foreign tied variable', \%foreign,                             qr/Cannot share a variable that is tied to something else/ ],
        [ 'a reference to a part',   $lvalue,                               qr/Cannot share a reference to a part/ ],
        [ '%ENV',                    \%ENV,                                 qr/Cannot share a special variable/ ],
        [ '$1',                      \$1,                                   qr/Cannot share/ ],
        [ 'code deep inside',        { fine => [ 1, { bad => sub {1} } ] }, qr/Cannot share code/ ],
    );
    for my $case (@cases) {
        my ($what, $value, $message) = @$case;
        my $count = IPC::Shm->stats->{variables};
        ok !eval { $h{old} = $value; 1 }, "$what cannot be stored";
        like $@, qr/$message.* at \Q$0\E line/, '… and the message says what, and where';
        is $h{old}, 'old', '… the old value stays';
        is(IPC::Shm->stats->{variables}, $count, '… and no variable was made');
    }
    my $data = { fine => [ 1, { bad => sub {1} } ] };
    eval { $h{old} = $data };
    ok !tied(%$data) && !tied(@{ $data->{fine} }), 'what was not stored is left as it was';
    eval {
        push @a, 1,
            sub {1}
    };
    is scalar(@a), 0, 'a push that dies pushes nothing';
    eval {
        %h = (%h, x => sub {1});
    };
    is $h{old}, 'old', 'a list assignment that dies leaves the old hash';
    my $count = IPC::Shm->stats->{variables};

    for my $assign (
        sub {
            %h = (x => [1], y => sub {1});
        },
        sub {
            @h{qw(x y)} = ({}, sub {1});
        },
        sub {
            @a = ([1], [2], sub {1});
        }
        )
    {
        eval { $assign->() };
        my @looked = ($h{old}, scalar @a);
    }
    is(IPC::Shm->stats->{variables}, $count, '… and keeps no variable that was made for it') if has_batches();
}

# Everything goes when the last reference goes.
%h = ();
@a = ();
$s = undef;
is(variables(), $base, 'nothing is left when the references are gone') or diag(explain([ IPC::Shm->list ]));
done_testing;
