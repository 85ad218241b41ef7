package Data::Pool::Shared::Str;

use 5.022;
use strict;
use warnings;
use Data::Pool::Shared;

our $VERSION = '1.000';

1;

__END__

=head1 NAME

Data::Pool::Shared::Str - a pool of text in shared memory

=head1 SYNOPSIS

    use Data::Pool::Shared::Str;

    my $pool = Data::Pool::Shared::Str->new(undef, 1000, 80);
    my $slot = $pool->alloc_set('text');

=head1 DESCRIPTION

This class is described in L<Data::Pool::Shared>, and C<use Data::Pool::Shared> is enough to load it. This
module allows programs to name the class that they use.

=head1 LICENSE

This is free software; you can redistribute it and/or modify it under the same terms as
Perl itself.

=cut
