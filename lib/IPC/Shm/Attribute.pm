package IPC::Shm::Attribute;
use strict;
use warnings;
use attributes ();

our $VERSION = '1.000';

# The attribute `shm` of variables. For a declaration with attributes perl calls
# attributes->import(PACKAGE, \VARIABLE, ATTRIBUTES). We come before it, take our attribute, and
# pass on the rest. So `shm` is known in all packages, and no handler that a package
# has, inherits, or will have is called for it; nor does perl see a lower-case attribute
# that it would warn about.

our @CARP_NOT = qw(IPC::Shm attributes);

my %type_of  = (ARRAY => 2, HASH => 3, map { $_ => 1 } qw(SCALAR REF VSTRING));
my @sigil_of = ('', '$', '@', '%');

my $original;

sub _import {
    my (undef, $package, $variable, @attributes) = @_;
    my $type = ref $variable ? $type_of{ attributes::reftype($variable) } : undef;
    my @rest = grep { !/\A[Ss]hm(?:\(.*\))?\z/s } @attributes;
    goto &$original if !$type || @rest == @attributes;
    my ($name) = map { /\A[Ss]hm\((.*)\)\z/s ? $1 : () } @attributes;
    share($type, $package, $variable, $name);
    return if !@rest;
    @_ = (@_[ 0 .. 2 ], @rest);
    goto &$original;
}

sub install {
    return if $original;
    $original = \&attributes::import;    # not by ->can, which leaves a symbol

    # The symbol stays; what it calls is another sub. An assignment would be a redefinition, of
    # which -W warns whatever else is said.
    _exchange_sub(\*attributes::import, \&_import);
    return;
}

# Tie a variable: a package variable to the shared one of its name, a lexical to a new one. If the
# variable is already tied to the one that the name leads to, it is left alone; after a removal the name
# leads to another one. `shm(NAME)` means the variable of that name, whatever name is declared.
# A lexical without a name is a new variable each time that it comes into
# scope; if it is tied already, it has not left its scope (`state`).
sub share {
    my ($type, $package, $variable, $given) = @_;
    my $tied = $type == 3 ? tied %$variable : $type == 2 ? tied @$variable : tied $$variable;
    my $name = defined $given ? IPC::Shm::Tied::_full_name($type, $given =~ s/\A\s+|\s+\z//gr) : _package_name($type, $package, $variable);
    return if !defined $name && defined $tied && $tied->isa('IPC::Shm::Tied') && $tied->_is_shared;
    my $object = IPC::Shm::_new($type, $name);
    $object->_tie($variable) unless ref $tied && $tied == $object;
    return;
}

sub _package_name {
    my ($type, $package, $variable) = @_;
    my $name = IPC::Shm::_find_name($variable, $package);
    return defined $name ? $sigil_of[$type] . $package . '::' . $name : undef;
}

1;

__END__

=encoding utf8

=head1 NAME

IPC::Shm::Attribute - the attribute : shm

=head1 SYNOPSIS

    our %variable : shm;
    our %session : shm(app.session);

=head1 DESCRIPTION

This module tells L<IPC::Shm> about declarations with C<: shm>.

=head2 install, share

Called by L<IPC::Shm>: C<install> puts itself in front of C<< attributes->import >>, which perl calls for
each declaration with attributes; C<share> shares one variable.

=head1 SEE ALSO

L<IPC::Shm>

=cut
