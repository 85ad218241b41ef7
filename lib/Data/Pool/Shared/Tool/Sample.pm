package Data::Pool::Shared::Tool::Sample;

use 5.022;
use strict;
use warnings;
use Time::HiRes ();
use Data::Pool::Shared::Tool::Owners;

our $VERSION = '1.000';

my %COUNTER = (alloc => 'allocs', free => 'frees', wait => 'waits', timeout => 'timeouts', recovery => 'recoveries');

sub take {
    my ($class, $pool, $before) = @_;
    my $owners = Data::Pool::Shared::Tool::Owners->new($pool);
    my $self   = bless {
        at      => Time::HiRes::clock_gettime(Time::HiRes::CLOCK_MONOTONIC()),
        owners  => $owners,
        counts  => $pool->stats,
        holders => [],
        stale   => 0,
    }, $class;
    for my $holder (sort { $b->{slots} <=> $a->{slots} || $a->{owner} <=> $b->{owner} } @{ $pool->holders }) {
        my $about = $owners->of($holder->{owner});
        push @{ $self->{holders} }, { %$holder, %$about };
        $self->{stale} += $holder->{slots} if $about->{state} eq 'stale';
    }
    $self->{rates} = $before ? $self->_rates_since($before) : { map { $_ => undef } keys %COUNTER };
    return $self;
}

# Counters are sums over a pool that others work on: one may seem to go back.
sub _rates_since {
    my ($self, $before) = @_;
    my $seconds = $self->{at} - $before->{at};
    my %rates;
    for my $name (keys %COUNTER) {
        my $more = $self->{counts}{ $COUNTER{$name} } - $before->{counts}{ $COUNTER{$name} };
        $rates{$name} = $more > 0 ? $more / $seconds : 0;
    }
    return \%rates;
}

1;

__END__

=encoding utf8

=head1 NAME

Data::Pool::Shared::Tool::Sample - one look at a pool, and its rates since another

=head1 SYNOPSIS

    my $sample = Data::Pool::Shared::Tool::Sample->take($pool, $sample_before);

=head1 METHODS

=head2 take

Returns a hash: C<at> (time), C<counts> (as returned by the pool's C<stats>), C<holders> (those with most
slots first, with all that C<owners>, a L<Data::Pool::Shared::Tool::Owners>, knows about
them), C<stale> (slots) and C<rates> per second of C<alloc>, C<free>, C<wait>, C<timeout>
and C<recovery>; the rates are undefined if there is no earlier sample.

=head1 LICENSE

This is free software; you can redistribute it and/or modify it under the same terms as
Perl itself.

=cut
