package IPC::Shm::Attribute;
use strict;
use warnings;

our $VERSION = '0.01';

# The attribute `shm` of variables. perl asks MODIFY_HASH_ATTRIBUTES and so on of
# the package that a declaration is in. A package that says `use IPC::Shm` gets
# them, in front of those that it has; all others inherit ours from UNIVERSAL,
# so that a second package in the same file needs no second `use`.

my %type_of  = (SCALAR => 1,   ARRAY => 2,   HASH => 3);
my %sigil_of = (SCALAR => '$', ARRAY => '@', HASH => '%');

# Take `shm` out of the attributes and share the variable. perl warns of
# lower-case attributes that a package accepted, looking at the very list that it
# passed to us: so we leave it there in upper case.
sub _accept {
    my ($kind, $package, $variable) = @_[ 0 .. 2 ];
    my ($wanted, @rest);
    for my $attribute (@_[ 3 .. $#_ ]) {
        if ($attribute =~ /\A[Ss]hm\z/) { $attribute = 'Shm'; $wanted = 1 }
        else                            { push @rest, $attribute }
    }
    share($kind, $package, $variable) if $wanted;
    return @rest;
}

# Tie a variable: a package variable by its name, a lexical to a new one. A name
# that leads to what it is tied to already is left alone; it leads elsewhere after
# the variable was removed.
sub share {
    my ($kind, $package, $variable) = @_;
    my $name = IPC::Shm::_find_name($variable, $package);
    $name = $sigil_of{$kind} . $package . '::' . $name if defined $name;
    my $tied   = $kind eq 'HASH' ? tied %$variable : $kind eq 'ARRAY' ? tied @$variable : tied $$variable;
    my $object = IPC::Shm::_new($type_of{$kind}, $name);
    IPC::Shm::_tie($variable, $object) unless ref $tied && $tied == $object;
    return;
}

sub install {
    no strict 'refs';    ## no critic (methods are made here)
    for my $kind (keys %type_of) {
        *{"IPC::Shm::Attribute::Everywhere::MODIFY_${kind}_ATTRIBUTES"} = sub { return _accept($kind, @_) };
    }
    push @UNIVERSAL::ISA, 'IPC::Shm::Attribute::Everywhere';
    return;
}

my %installed;

sub install_into {
    my (undef, $package) = @_;
    return if $installed{$package}++;
    for my $kind (keys %type_of) {
        my $method = "MODIFY_${kind}_ATTRIBUTES";
        my $theirs = $package->can($method);
        next if !$theirs || $theirs == IPC::Shm::Attribute::Everywhere->can($method);
        no strict 'refs';          ## no critic (methods are made here)
        no warnings 'redefine';    ## no critic (in front of theirs)
        *{"${package}::$method"} = sub {
            my @rest = _accept($kind, @_);
            return @rest ? $theirs->(@_[ 0, 1 ], @rest) : ();
        };
    }
    return;
}

1;

__END__

=encoding utf8

=head1 NAME

IPC::Shm::Attribute - the attribute : shm

=head1 SYNOPSIS

    our %variable : shm;

=head1 DESCRIPTION

How L<IPC::Shm> finds out about declarations with C<: shm>.

=head2 install, install_into, share

Called by L<IPC::Shm>: they provide the attribute to all packages, to a package that has attributes
of its own, and share one variable.

=head1 SEE ALSO

L<IPC::Shm>

=cut
