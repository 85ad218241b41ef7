package IPC::Shm::Sharing;
use strict;
use warnings;
use B            ();
use Carp         ();
use Scalar::Util ();

our $VERSION  = '1.000';
our @CARP_NOT = qw(IPC::Shm IPC::Shm::Tied IPC::Shm::Scalar IPC::Shm::Array IPC::Shm::Hash
    IPC::Shm::Engine::Redis::Variable IPC::Shm::Engine::Redis::Scalar IPC::Shm::Engine::Redis::Array IPC::Shm::Engine::Redis::Hash);

# What becomes shared when a reference is stored: the thing that it leads to, and everything that
# can be reached from there. First everything is checked, and nothing is created if one thing cannot be
# shared. Then the new variables are created and filled, and finally the originals are
# tied to them. Loops, not recursion: data may be deep.

my %type_of = (SCALAR => 1, REF => 1, VSTRING => 1, ARRAY => 2, HASH => 3);
my %kind_of = (
    CODE   => 'code',
    GLOB   => 'a glob or filehandle',
    IO     => 'a filehandle',
    REGEXP => 'a regular expression',
    FORMAT => 'a format',
    LVALUE => 'a reference to a part of a string or variable',
);

# Magic that does not make a variable special.
use re ();
my %is_harmless = map { $_ => 1 } '<', '>', '~', 'g', 'w', 't', 'V', '@', '#', 'P', 'p', 'q';

# What is about to be tied, while all of it is filled: address => object.
our $coming;

# The object of the variable that a reference leads to, which is shared if necessary; undef
# for a constant, which is stored by its value. Takes a reference to the value.
sub object_of {
    my ($engine, $value) = @_;
    refuse('a glob') if ref $value eq 'GLOB';
    my $target = $$value;
    if ($coming) { my $object = coming($target); return $object if $object }
    my $what = _look($engine, $target);
    return $what->{object} if $what->{object};
    return undef           if $what->{constant};    ## no critic (a value)
    return _share($engine, $target, $what);
}

sub refuse { my ($what) = @_; return Carp::croak("Cannot share $what") }

sub _tied {
    my ($target, $type) = @_;
    return $type == 3 ? tied %$target : $type == 2 ? tied @$target : tied $$target;
}

# What a reference leads to: { type, object => … } if it is shared already, constant => 1
# if it is a value that nobody can change. Dies if it cannot be shared.
sub _look {
    my ($engine, $target) = @_;
    my $kind = Scalar::Util::reftype($target);
    my $type = $type_of{$kind} or refuse($kind_of{$kind} // 'a ' . lc $kind);
    refuse('a regular expression') if $kind eq 'SCALAR' && ref $target ne 'SCALAR' && re::is_regexp($target);
    refuse('a glob') if $type == 1 && ref \$$target eq 'GLOB';
    if (my $tied = _tied($target, $type)) {
        refuse('a variable that is tied to something else') if !Scalar::Util::blessed($tied) || !$tied->isa('IPC::Shm::Tied');
        refuse('a variable of another namespace')           if !$tied->can('engine')         || $tied->engine != $engine;
        return { type => $type, object => $tied };
    }
    my $b = B::svref_2object($target);
    for (my $magic = $b->can('MAGIC') && $b->MAGICAL ? $b->MAGIC : undef; $magic && ref $magic ne 'B::SPECIAL'; $magic = $magic->MOREMAGIC)
    {
        refuse('a special variable') if !$is_harmless{ $magic->TYPE };
    }
    refuse('a symbol table') if $type == 3 && defined $b->NAME && length $b->NAME && $b->NAME ne 'main' ? 1 : 0;
    return { type => 1, constant => 1 } if $type == 1 && defined Scalar::Util::blessed($target) && _is_truth($target);
    if ($b->FLAGS & B::SVf_READONLY) {
        return { type => 1, double => 1 } if $type == 1;
        refuse($type == 2 ? 'a read-only array' : 'a read-only hash');
    }
    return { type => $type };
}

# The one true and the one false of modules that need them; not all of them make them read-only.
sub _is_truth {
    my ($target) = @_;
    for my $class (qw(JSON::PP::Boolean Types::Serialiser::BooleanBase boolean Mojo::JSON::_Bool)) { return 1 if $target->isa($class) }
    return 0;
}

# Is the value of the scalar one that leads on?
sub _leads { my ($value) = @_; return ref $$value || ref $value eq 'GLOB' }

# References to the values in a container.
sub _values {
    my ($target, $type) = @_;
    return
          $type == 3 ? map { \$_ } values %$target
        : $type == 2 ? map { exists $target->[$_] ? \$target->[$_] : () } 0 .. $#$target
        :              \$$target;
}

# What is to become a variable. Of something read-only, a copy is shared: the program does not intend
# a constant to change.
sub _new {
    my ($target, $what) = @_;
    my $address = Scalar::Util::refaddr($target);
    if ($what->{double}) {
        my $class = Scalar::Util::blessed($target);
        $target = \(my $double = $$target);
        bless $target, $class if defined $class;
    }
    return { target => $target, type => $what->{type}, address => $address };
}

sub _share {
    my ($engine, $target, $what) = @_;
    my %seen = (Scalar::Util::refaddr($target) => 1);
    my @new  = (_new($target, $what));
    for (my $i = 0; $i < @new; $i++) {
        for my $value (_values(@{ $new[$i] }{qw(target type)})) {
            next             if !_leads($value);
            refuse('a glob') if ref $value eq 'GLOB';
            my $next = $$value;
            next if $seen{ Scalar::Util::refaddr($next) }++;
            my $is = _look($engine, $next);
            push @new, _new($next, $is) if !$is->{object} && !$is->{constant};
        }
    }
    $_->{object} = $engine->variable($_->{type}, undef, 1) for @new;
    my %of = map { $_->{address} => $_->{object} } @new;

    # The object knows its container before a reference to it is stored.
    $engine->contained($_->{object}, $_->{target}) for @new;
    local $coming = \%of;
    for my $one (@new) { _fill($engine, $one) }
    for my $one (@new) { _tie($engine, $one) }
    return $new[0]{object};
}

sub coming { my ($target) = @_; return $coming && $coming->{ Scalar::Util::refaddr($target) } }

sub _fill {
    my ($engine, $one) = @_;
    my ($target, $type, $object) = @$one{qw(target type object)};
    my ($ok,     $why);
    $object->_begin_operator;    # nobody else knows it yet
    local $@;
    $ok = eval {
        local $SIG{__DIE__};
        if ($type == 3) {
            $object->CLEAR;
            $object->STORE($_, $target->{$_}) for keys %$target;
        } elsif ($type == 2) {
            $object->CLEAR;
            $object->STORESIZE(scalar @$target);
            for my $i (0 .. $#$target) { $object->STORE($i, $target->[$i]) if exists $target->[$i] }
        } else {
            $object->STORE($$target);
        }
        $object->commit;
        1;
    };
    return if $ok;
    $why = $@;
    $object->abort;
    die $why;
}

sub _tie {
    my ($engine, $one) = @_;
    my ($target, $type, $object) = @$one{qw(target type object)};
    my $class = ref $object;
    if    ($type == 3) { %$target = (); tie %$target, $class, $object }
    elsif ($type == 2) { @$target = (); tie @$target, $class, $object }
    else               { tie $$target, $class, $object }
    $engine->contained($object, $target);
    return;
}

1;

__END__

=encoding utf8

=head1 NAME

IPC::Shm::Sharing - what becomes shared when a reference is stored

=head1 SYNOPSIS

    my $object = IPC::Shm::Sharing::object_of($engine, \$reference);

=head1 DESCRIPTION

When a reference is stored in a variable of L<IPC::Shm>, what it leads to becomes a shared variable itself. This module does this
for engines written in Perl (for shared memory, F<xs/share.c> does the same). It creates new variables through C<< $engine->variable >>, fills each in one change, ties the original to it, and tells the
engine by calling C<< $engine->contained($object, $container) >>. Anything that cannot be shared is refused before anything is created.

=head2 object_of, refuse, coming

C<object_of> takes a reference to a reference, and returns the object of the variable that the latter leads to, or C<undef> for a constant, which an engine stores by its
value and class. C<coming> returns the object that a container is about to be tied to, while earlier ones are being filled. C<refuse> dies.

=head1 SEE ALSO

L<IPC::Shm>, L<IPC::Shm::Engine>

=cut
