package Data::Pool::Shared::Tool::Map;

use 5.022;
use strict;
use warnings;

our $VERSION = '1.000';

my $LABELLED = 40;    # narrower maps have no slot numbers at the left

# How to lay a pool out on width x height characters: as few slots a cell as
# possible, as a number of two digits with zeros.
sub new {
    my ($class, $capacity, $width, $height) = @_;
    my $label   = $width >= $LABELLED ? length($capacity - 1) + 2 : 0;
    my $columns = $width - $label;
    $columns -= $columns % 8 if $columns > 8;
    $columns = 1         if $columns < 1;
    $columns = $capacity if $columns > $capacity;
    my $per_cell = _ceil($capacity, $columns * $height);
    my $unit     = 10**(length($per_cell) > 2 ? length($per_cell) - 2 : 0);
    $per_cell = $unit * _ceil($per_cell, $unit);
    return bless { capacity => $capacity, label => $label, columns => $columns, per_cell => $per_cell }, $class;
}

sub per_cell { my ($self) = @_; return $self->{per_cell} }

sub rows {
    my ($self) = @_;
    return _ceil($self->{capacity}, $self->{columns} * $self->{per_cell});
}

sub _ceil { my ($number, $by) = @_; return int(($number + $by - 1) / $by) }

# Look at the pool: what is in each cell.
sub cells {
    my ($self, $pool, $owners) = @_;
    my @cells;
    for (my $first = 0; $first < $self->{capacity}; $first += $self->{per_cell}) {
        my $last = $first + $self->{per_cell} - 1;
        $last = $self->{capacity} - 1 if $last >= $self->{capacity};
        my %cell = (slots => $last - $first + 1, used => 0, stale => 0, most => 0, owner => 0);
        for my $holder (@{ $pool->holders($first, $last) }) {
            $cell{used} += $holder->{slots};
            $cell{stale} += $holder->{slots} if $owners->of($holder->{owner})->{state} eq 'stale';
            @cell{qw(most owner)} = @$holder{qw(slots owner)} if $holder->{slots} > $cell{most};
        }
        push @cells, \%cell;
    }
    return @cells;
}

# The rows of the map, each a list of text and style in turn.
sub draw {
    my ($self, $glyphs, $style_of, @cells) = @_;
    my @lines;
    my $label = $self->{label} ? sprintf '%%%dd ', $self->{label} - 1 : '';
    while (my @row = splice @cells, 0, $self->{columns}) {
        my @line = $label ? (sprintf($label, @lines * $self->{columns} * $self->{per_cell}), 'dim') : ();
        for my $cell (@row) {
            my ($glyph, $style) = _glyph($glyphs, $style_of, $cell);
            if (@line && $line[-1] eq $style) { $line[-2] .= $glyph }
            else                              { push @line, $glyph, $style }
        }
        push @lines, \@line;
    }
    return @lines;
}

sub _glyph {
    my ($glyphs, $style_of, $cell) = @_;
    return ($glyphs->{free},  'dim')   if !$cell->{used};
    return ($glyphs->{stale}, 'stale') if $cell->{stale};
    my $levels = $glyphs->{levels};
    my $used   = $cell->{used} < $cell->{slots} ? $cell->{used} : $cell->{slots};
    return ($levels->[ int(($used * @$levels - 1) / $cell->{slots}) ], $style_of->($cell->{owner}));
}

1;

__END__

=encoding utf8

=head1 NAME

Data::Pool::Shared::Tool::Map - a pool as a map of characters

=head1 SYNOPSIS

    use Data::Pool::Shared::Tool::Map;
    use Data::Pool::Shared::Tool::Owners;
    my $map   = Data::Pool::Shared::Tool::Map->new($pool->capacity, $width, $height);
    my @cells = $map->cells($pool, Data::Pool::Shared::Tool::Owners->new($pool));
    my @lines = $map->draw($glyphs, sub { my ($owner) = @_; return 'plain' }, @cells);

=head1 METHODS

=head2 new

A map of the given size in characters. Each cell stands for the same number of slots.

=head2 per_cell, rows

The number of slots per cell, and the number of rows that the map really has.

=head2 cells

Looks at the pool, and returns a hash for each cell: how many slots it stands for (C<slots>), how many
of them are C<used> and C<stale>, and the C<owner> of most of them.

=head2 draw

Returns the rows of the map. C<$glyphs> has the characters: C<free>, C<stale>, and C<levels> from
nearly empty to full. The sub returns the style of an owner. A row is an array of text and
style in turn, as L<Data::Pool::Shared::Tool::Screen> draws them.

=head1 LICENSE

This is free software; you can redistribute it and/or modify it under the same terms as
Perl itself.

=cut
