package Data::Pool::Shared::Tool::View;

use 5.022;
use strict;
use warnings;
use POSIX ();
use Data::Pool::Shared::Tool::Map;
use Data::Pool::Shared::Tool::Screen;
use Data::Pool::Shared::Tool::Text qw(bytes duration is_utf8_locale path_text);

our $VERSION = '1.000';

my %BLOCKS = (free => "\x{b7}", stale => "\x{259a}", levels => [ map { chr 0x2580 + $_ } 1 .. 8 ]);
my %ASCII  = (free => '.',      stale => 'X',        levels => [ '-', '+', '#', '@' ]);

sub new {
    my ($class, $pool, $path) = @_;
    my $glyphs = is_utf8_locale() ? \%BLOCKS                      : \%ASCII;
    my $odd    = is_utf8_locale() ? qr/[^\x20-\x7e\xa0-\x{10ff}]/ : qr/[^\x20-\x7e]/;    # what may not be one column wide
    return bless { pool => $pool, path => path_text($path) =~ s/$odd/?/gr, glyphs => $glyphs, colour_of => {} }, $class;
}

# The whole view for a screen of that size.
sub lines {
    my ($self, $sample, $note, $rows, $columns) = @_;
    $self->_assign_colours(@{ $sample->{holders} });
    return ($self->_usage($sample), @{ $self->_map($sample, $rows - 1, $columns)->{lines} }) if $rows < 6;

    my @blank = $rows >= 14 ? [] : ();
    my @head  = ($self->_title($note, $columns), $self->_usage($sample), $self->_rates($sample), @blank);
    my $room  = $rows - @head - @blank - 1;
    my @table = $self->_table($sample, $self->_table_size($room, $columns));
    my $map   = $self->_map($sample, $room - @table, $columns);
    my @body  = (@head, @{ $map->{lines} }, @table ? (@blank, @table) : ());
    push @body, [] while @body < $rows - 1;
    return (@body, $self->_legend($map->{per_cell}));
}

# Lines for the table of owners: what a map of a cell a slot leaves, if that is
# enough for three owners; else a third of the room. It does not depend on who
# holds what, so that the view stays put.
sub _table_size {
    my ($self, $room, $columns) = @_;
    my $needed = Data::Pool::Shared::Tool::Map->new($self->{pool}->capacity, $columns, 1e9)->rows;
    return $room - $needed if $room - $needed >= 4;
    return int $room / 3;
}

# An owner keeps its colour as long as it holds anything.
sub _assign_colours {
    my ($self, @holders) = @_;
    my $old    = $self->{colour_of};
    my %now    = map { $_->{owner} => 1 } @holders;
    my %colour = map { $_ => $old->{$_} } grep { $now{$_} } keys %$old;
    my @taken  = (0) x Data::Pool::Shared::Tool::Screen::owner_styles();
    $taken[$_]++ for values %colour;
    for my $owner (grep { !defined $colour{$_} } map { $_->{owner} } @holders) {
        my ($free) = sort { $taken[$a] <=> $taken[$b] || $a <=> $b } 0 .. $#taken;
        $colour{$owner} = $free;
        $taken[$free]++;
    }
    $self->{colour_of} = \%colour;
    return;
}

sub _style_of {
    my ($self, $sample, $owner) = @_;
    my $state = $sample->{owners}->of($owner)->{state};
    return 'stale' if $state eq 'stale';
    return 'plain' if $state eq 'disowned' || !defined $self->{colour_of}{$owner};
    return "owner$self->{colour_of}{$owner}";
}

sub _title {
    my ($self, $note, $columns) = @_;
    my $left  = "shmpool  $self->{path}" . ($note ? "  ($note)" : '');
    my $clock = POSIX::strftime('%H:%M:%S', localtime);
    my $space = $columns - length($left) - length $clock;
    return [ $left, 'title', $space > 0 ? (' ' x $space . $clock, 'dim') : () ];
}

sub _usage {
    my ($self, $sample) = @_;
    my $counts = $sample->{counts};
    my $pool   = $self->{pool};
    my $share  = 100 * $counts->{used} / $counts->{capacity};
    return [
        sprintf('used %d of %d (%.0f %%)', $counts->{used}, $counts->{capacity}, $share),
        'plain',
        "   stale $sample->{stale}",
        $sample->{stale} ? 'stale' : 'plain',
        "   waiters $counts->{waiters}",
        $counts->{waiters} ? 'heading' : 'plain',
        sprintf('   %s, %s a slot', $pool->variant, bytes($pool->elem_size)),
        'dim',
    ];
}

sub _rates {
    my ($self, $sample) = @_;
    my %rate  = %{ $sample->{rates} };
    my @parts = map { "$_ " . (defined $rate{$_} ? sprintf '%.0f', $rate{$_} : '-') } qw(alloc free wait timeout recovery);
    return [ join('   ', @parts), 'plain', '   per second', 'dim' ];
}

sub _map {
    my ($self, $sample, $height, $columns) = @_;
    return { lines => [], per_cell => 0 } if $height < 1;
    my $map   = Data::Pool::Shared::Tool::Map->new($self->{pool}->capacity, $columns, $height);
    my @cells = $map->cells($self->{pool}, $sample->{owners});
    return { lines => [ $map->draw($self->{glyphs}, sub { $self->_style_of($sample, @_) }, @cells) ], per_cell => $map->per_cell };
}

sub _table {
    my ($self, $sample, $most) = @_;
    my @holders = @{ $sample->{holders} };
    return if $most < 2 || !@holders;
    my $full  = $self->{glyphs}{levels}[-1];
    my $all   = @holders;
    my @shown = splice @holders, 0, $most - 1;
    my $note  = @shown < $all ? '   ' . @shown . " of $all" : '';
    my @lines = ([ sprintf('%10s %9s %7s %8s  %s', 'PID', 'SLOTS', 'SHARE', 'AGE', 'COMMAND'), 'heading', $note, 'dim' ]);

    for my $holder (@shown) {
        my $share = 100 * $holder->{slots} / $self->{pool}->capacity;
        my $what  = $holder->{command} // $holder->{state};
        my $style = $self->_style_of($sample, $holder->{owner});
        my $mark  = $holder->{state} eq 'stale' ? $self->{glyphs}{stale} : $full;
        my $text  = sprintf ' %7s %9d %7s %8s  ', $holder->{pid} || '-', $holder->{slots},
            sprintf($share < 10 ? '%.1f %%' : '%.0f %%', $share), duration($holder->{age});
        push @lines, [ " $mark", $style, $text, 'plain', $what =~ s/[^\x20-\x7e]/?/gr, $style eq 'stale' ? 'stale' : 'plain' ];
    }
    return @lines;
}

sub _legend {
    my ($self, $per_cell) = @_;
    my $glyphs = $self->{glyphs};
    my $scale  = $per_cell > 1 ? "$glyphs->{levels}[0]$glyphs->{levels}[-1]" : $glyphs->{levels}[-1];
    my $unit   = $per_cell > 1 ? "a cell: $per_cell slots"                   : 'a cell: a slot';
    return [ "q leaves   $scale used  $glyphs->{free} free  ", 'dim', "$glyphs->{stale} stale", 'stale', "   $unit", 'dim' ];
}

1;

__END__

=encoding utf8

=head1 NAME

Data::Pool::Shared::Tool::View - what the live view of a pool shows, and where

=head1 SYNOPSIS

    my $view  = Data::Pool::Shared::Tool::View->new($pool, $path);
    my @lines = $view->lines($sample, $note, $rows, $columns);

=head1 METHODS

=head2 new

A view of that pool. It remembers which owner has which colour.

=head2 lines

Returns the lines that fill a screen of the given size, as L<Data::Pool::Shared::Tool::Screen> draws them: title, usage,
rates, map, the processes with most slots, legend; fewer of these on a small screen. C<$note> appears in
the title.

=head1 LICENSE

This is free software; you can redistribute it and/or modify it under the same terms as
Perl itself.

=cut
