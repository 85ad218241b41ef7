package Data::Pool::Shared;

use 5.022;
use strict;
use warnings;
use warnings::register;
use Carp ();

our $VERSION = '0.01';

require XSLoader;
XSLoader::load(__PACKAGE__, $VERSION);

# The classes differ by what a slot holds; XS has one body for all of them.
@Data::Pool::Shared::Number::ISA  = __PACKAGE__;
@Data::Pool::Shared::Integer::ISA = 'Data::Pool::Shared::Number';
@Data::Pool::Shared::I64::ISA     = 'Data::Pool::Shared::Integer';
@Data::Pool::Shared::I32::ISA     = 'Data::Pool::Shared::Integer';
@Data::Pool::Shared::F64::ISA     = 'Data::Pool::Shared::Number';
@Data::Pool::Shared::Str::ISA     = __PACKAGE__;

sub each_allocated {
    my ($self, $code) = @_;
    ref $code eq 'CODE' or Carp::croak('each_allocated: expected a code reference');
    for my $slot (@{ $self->allocated_slots }) {
        $code->($slot) if $self->is_allocated($slot);    # an earlier call may have freed it
    }
    return;
}

# Called from XS for a value that is longer than its slot, before it is written.
# The frame of an XSUB is invisible, so our caller is the statement that stores.
sub _warn_cut {
    my ($length, $max) = @_;
    my (undef, $file, $line, $mask) = (caller 0)[0 .. 2, 9];
    my $message = "Value of $length bytes is cut to the $max bytes of its slot at $file line $line.\n";
    my $bit     = $warnings::Offsets{ +__PACKAGE__ };
    if (defined $mask) {
        $bit = $warnings::Offsets{all} if length $mask <= $bit >> 3;    # compiled before this category existed
        die $message if vec $mask, $bit + 1, 1;
        return if !vec $mask, $bit, 1;
    }
    elsif (!$^W) {
        return;
    }
    warn $message;
    return;
}

1;
