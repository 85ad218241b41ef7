package Data::Pool::Shared::Tool::Plain;

use 5.022;
use strict;
use warnings;
use B                              ();
use JSON::PP                       ();
use Scalar::Util                   qw(blessed refaddr reftype);
use Data::Pool::Shared::Tool::Text qw(exact_number json_number);

our $VERSION = '1.000';

# Shared data as plain data of this process, of the same shape: what is referred to
# twice still is, objects keep their class, but for the outermost. `seen` holds the
# originals, too, so that no address in it is given to another one meanwhile.
sub copy {
    my ($value, $seen) = @_;
    my $class = $seen ? blessed $value : undef;
    $seen //= {};
    my $type  = reftype $value // return _is_fraction($value) ? exact_number($value) : $value;
    my $known = $seen->{ refaddr $value };
    return $known->[1] if $known;

    my $copy = $type eq 'HASH' ? {} : $type eq 'ARRAY' ? [] : \my $scalar;
    $seen->{ refaddr $value} = [ $value, $copy ];
    if    ($type eq 'HASH')  { $copy->{$_} = copy($value->{$_}, $seen) for keys %$value }
    elsif ($type eq 'ARRAY') { push @$copy, copy($value->[$_], $seen) for 0 .. $#$value }
    else                     { $$copy = copy($$value, $seen) }
    bless $copy, $class if defined $class;
    return $copy;
}

# Shared data as JSON can have it: no classes, a reference to a scalar is its value,
# and nothing is inside itself.
sub for_json {
    my ($value, $inside) = @_;
    $inside //= {};
    my $type    = reftype $value // return _is_fraction($value) ? json_number($value) : $value;
    my $address = refaddr $value;
    die "the variable refers to itself, which JSON cannot say: use --perl\n" if $inside->{$address}++;

    my $result;
    if ($type eq 'HASH') {
        $result = { map { $_ => for_json($value->{$_}, $inside) } keys %$value };
    } elsif ($type eq 'ARRAY') {
        $result = [ map { for_json($value->[$_], $inside) } 0 .. $#$value ];
    } else {
        $result = for_json($$value, $inside);
    }
    delete $inside->{$address};
    return $result;
}

# What was decoded from JSON, without JSON's own kind of true and false.
sub from_json {
    my ($value) = @_;
    return ($value ? 1 : 0) if JSON::PP::is_bool($value);
    return
          ref $value eq 'HASH'  ? { map { $_ => from_json($value->{$_}) } keys %$value }
        : ref $value eq 'ARRAY' ? [ map { from_json($_) } @$value ]
        :                         $value;
}

sub _is_fraction {
    my ($value) = @_;
    my $flags = B::svref_2object(\$value)->FLAGS;
    return $flags & B::SVp_NOK && !($flags & (B::SVp_POK | B::SVp_IOK));
}

1;

__END__

=encoding utf8

=head1 NAME

Data::Pool::Shared::Tool::Plain - shared data as plain data, for JSON and for Perl

=head1 SYNOPSIS

    my $copy = Data::Pool::Shared::Tool::Plain::copy($reference);
    my $tree = Data::Pool::Shared::Tool::Plain::for_json($reference);
    my $data = Data::Pool::Shared::Tool::Plain::from_json(JSON::PP->new->decode($text));

=head1 FUNCTIONS

=head2 copy

A copy of the same structure, cycles included. Objects in it keep their class, except for the
outermost. Doubles become strings of as many digits as they need.

=head2 for_json

A copy that JSON can express: without classes, with the value in place of a reference to a
scalar. Dies if the data refers to itself.

=head2 from_json

The decoded JSON with 1 and 0 in place of true and false.

=head1 LICENSE

This is free software; you can redistribute it and/or modify it under the same terms as
Perl itself.

=cut
