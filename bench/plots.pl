#!/usr/bin/env perl
# From the data of a run of bench/many.pl: plots, and the tables of the README.
#
#     perl bench/plots.pl bench/many.jsonl
#
# Writes bench/plots/keys.svg and bench/plots/processes-*.svg, and in README the section
# "What shared variables cost", all of it.
use strict;
use warnings;
use utf8;
use open qw(:std :encoding(UTF-8));
use FindBin;
use File::Path qw(make_path);
use JSON::PP   ();
use List::Util qw(max min);

my $file = shift // die "usage: $0 DATA\n";
my $top  = "$FindBin::Bin/..";
my (%run, @rows, %points);    # points: by plot, who and x
read_data($file);

# Who, in which order, and the colour of the line. (Told apart without colours by the marks.)
my @who    = ('IPC::Shm', 'Hash::SharedMem', 'its functions', 'Tie::StdHash');
my %colour = ('IPC::Shm'      => '#0072b2', 'Hash::SharedMem' => '#d55e00', 'its functions' => '#e69f00', 'Tie::StdHash' => '#666666');
my %mark   = ('IPC::Shm'      => 'circle',  'Hash::SharedMem' => 'square',  'its functions' => 'diamond', 'Tie::StdHash' => 'cross');
my %title  = ('its functions' => 'Hash::SharedMem, its functions', 'Tie::StdHash' => 'Tie::StdHash (shares nothing)');

my %mix = (stores => 'only stores', tenth => '10 % stores', reads => 'only fetches');

my $quick = $run{scale} == 1 ? '' : ", a quick look (scale $run{scale})";
my $note  = "$run{machine}, $run{date}$quick";
make_path("$top/bench/plots");
plot(
    'keys', "A fetch and a store of a tied hash, by its number of keys: processor time",
    'keys',
    [ fetch => 'fetch' ],
    [ store => 'store' ]
);
my @sizes = sort { $a <=> $b } map { /^stores-(\d+)/ ? $1 : () } keys %points;

for my $size (@sizes) {
    plot("processes-$size", 'One hash of ' . commas($size) . " keys, by number of processes that use it: time of all, by operations of all",
        'processes', map { [ "$_-$size" => $mix{$_} ] } qw(stores tenth reads));
}
readme();

sub read_data {
    my ($from) = @_;
    my $json = JSON::PP->new;
    open my $in, '<', $from or die "$from: $!\n";
    while (<$in>) {
        my $line = $json->decode($_);
        my $kind = delete $line->{kind};
        if    ($kind eq 'run') { %run = %$line }
        elsif ($kind eq 'row') { push @rows, $line }
        else                   { $points{ $line->{plot} }{ $line->{who} }{ $line->{x} } = $line->{y} }
    }
    die "$from is not of bench/many.pl\n" if !%run;
    return;
}

sub commas { my ($n) = @_; 1 while $n =~ s/^(\d+)(\d{3})/$1,$2/; return $n }
sub escape { my ($text) = @_; my %of = ('<' => '&lt;', '>' => '&gt;', '&' => '&amp;'); return $text =~ s/([<>&])/$of{$1}/gr }

# ---- SVG, by hand: panels side by side; both axes logarithmic, so that a distance is a ratio.

my ($width, $height, $left, $upper, $lower);

BEGIN { ($width, $height, $left, $upper, $lower) = (390, 300, 66, 98, 46) }

sub text {
    my ($x, $y, $text, %how) = @_;
    my $more = join '', map {qq( $_="$how{$_}")} sort keys %how;
    return sprintf '<text x="%.1f" y="%.1f"%s>%s</text>', $x, $y, $more, escape($text);
}

sub plot {
    my ($name, $heading, $axis, @panels) = @_;
    @panels = grep { $points{ $_->[0] } } @panels or return;
    my @all = map {
        map { values %$_ }
            values %{ $points{ $_->[0] } }
    } @panels;
    my @ticks = ticks(min(@all), max(@all));
    my @svg   = (
        sprintf(
            '<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="12">',
            $width * @panels,
            $height + $upper + $lower
        ),
        '<rect width="100%" height="100%" fill="white"/>',
        text(12, 18, $heading, 'font-size' => 13),
        text(12, 36, $note,    'font-size' => 11, fill => '#444')
    );
    push @svg, legend(
        grep {
            my $who = $_;
            grep { $points{ $_->[0] }{$who} } @panels
        } @who
    );
    for my $i (0 .. $#panels) { push @svg, panel($i * $width, $axis, \@ticks, @{ $panels[$i] }) }
    open my $out, '>', "$top/bench/plots/$name.svg" or die "$name.svg: $!\n";
    print {$out} map {"$_\n"} @svg, '</svg>';
    close $out or die "$name.svg: $!\n";
    return;
}

sub legend {
    my (@shown) = @_;
    my ($x, @svg) = (20);
    for my $who (@shown) {
        my $title = $title{$who} // $who;
        push @svg, mark($who, $x, 54), text($x + 12, 58, $title);
        $x += 44 + 6.3 * length $title;
    }
    return @svg;
}

# 1, 2, 5 of each power of ten, around what there is.
sub ticks {
    my ($least, $most) = @_;
    my @all = map {
        my $power = 10**$_;
        map { $_ * $power } 1, 2, 5
    } -1 .. 9;
    my $first = (grep { $all[$_] <= $least } 0 .. $#all)[-1] // 0;
    my $last  = (grep { $all[$_] >= $most } 0 .. $#all)[0]   // $#all;
    return @all[ $first .. max($last, $first + 1) ];
}

sub panel {
    my ($offset, $axis, $ticks, $plot, $title) = @_;
    my $points = $points{$plot};
    my @x      = sort { $a <=> $b } keys %{ $points->{'IPC::Shm'} };
    my $wide   = $width - $left - 44;
    my $at_x   = sub { return $offset + $left + $wide * log($_[0] / $x[0]) / (log($x[-1] / $x[0]) || 1) };
    my $at_y   = sub { return $upper + $height * (1 - log($_[0] / $ticks->[0]) / log($ticks->[-1] / $ticks->[0])) };
    my @svg    = text($offset + $left + $wide / 2, $upper - 12, $title, 'text-anchor' => 'middle', 'font-weight' => 'bold');
    for my $tick (@$ticks) {
        my $y = $at_y->($tick);
        push @svg, sprintf('<path d="M%.1f %.1fh%.1f" stroke="#ddd"/>', $offset + $left, $y, $wide),
            text($offset + $left - 6, $y + 4, commas($tick), 'text-anchor' => 'end');
    }
    for my $x (@x) {
        push @svg, sprintf('<path d="M%.1f %.1fv5" stroke="black"/>', $at_x->($x), $upper + $height),
            text($at_x->($x), $upper + $height + 18, commas($x), 'text-anchor' => 'middle');
    }
    my $middle = $upper + $height / 2;
    push @svg, sprintf('<path d="M%.1f %.1fv%.1fh%.1f" fill="none" stroke="black"/>', $offset + $left, $upper, $height, $wide),
        text($offset + $left + $wide / 2, $upper + $height + 36, $axis, 'text-anchor' => 'middle'),
        text(
        $offset + 14, $middle,
        'nanoseconds an operation',
        'text-anchor' => 'middle',
        transform     => sprintf 'rotate(-90 %.1f %.1f)',
        $offset + 14, $middle
        );
    for my $who (grep { $points->{$_} } @who) {
        my @at = map { [ $at_x->($_), $at_y->($points->{$who}{$_}) ] } grep { defined $points->{$who}{$_} } @x;
        push @svg,
            sprintf('<polyline fill="none" stroke="%s" stroke-width="2" points="%s"/>',
            $colour{$who}, join ' ', map { sprintf '%.1f,%.1f', @$_ } @at),
            map { mark($who, @$_) } @at;
    }
    return @svg;
}

sub mark {
    my ($who, $x, $y) = @_;
    my %draw = (
        circle  => sprintf('M%.1f %.1fa4 4 0 1 0 8 0a4 4 0 1 0 -8 0z', $x - 4,   $y),
        square  => sprintf('M%.1f %.1fh7v7h-7z',                       $x - 3.5, $y - 3.5),
        diamond => sprintf('M%.1f %.1fl5 5l-5 5l-5 -5z',               $x,       $y - 5),
        cross   => sprintf('M%.1f %.1fl8 8m0 -8l-8 8',                 $x - 4,   $y - 4),
    );
    return sprintf '<path d="%s" fill="%s" stroke="%s" stroke-width="2"/>', $draw{ $mark{$who} }, $colour{$who}, $colour{$who};
}

# ---- the section of the README

# A table of a plot: a line for each who, a column for each x.
sub lines_of {
    my ($plot, $title) = @_;
    my $points = $points{$plot} or return;
    my @lines;
    for my $who (grep { $points->{$_} } @who) {
        push @lines,
            sprintf '    %-14s %-17s' . '%10s' x keys %{ $points->{$who} }, @lines ? '' : $title, $who,
            map { sprintf '%.0f', $points->{$who}{$_} } sort { $a <=> $b } keys %{ $points->{$who} };
    }
    return @lines;
}

sub head_of {
    my ($plot, $title) = @_;
    my @x = sort { $a <=> $b } keys %{ $points{$plot}{'IPC::Shm'} };
    return sprintf '    %-32s' . '%10s' x @x, $title, map { commas($_) } @x;
}

sub number { my ($n) = @_; return $n >= 100 ? sprintf '%.0f', $n : sprintf '%.3g', $n }

sub readme {
    my @lines = (
        'What shared variables cost',
        '-' x 26,
        '',
        "$run{machine}, $run{date};",
        "all in one run of bench/many.pl, candidates taking turns, best of $run{turns}$quick.",
        'Nanoseconds per operation; for several processes, elapsed time divided by the operations of all.',
        'Hash::SharedMem as a tied hash, and through its functions; Tie::StdHash shares nothing.',
        ''
    );
    push @lines, head_of('fetch', 'keys'), lines_of(fetch => 'fetch'), lines_of(store => 'store'), '    (bench/plots/keys.svg)', ''
        if $points{fetch};
    for my $size (@sizes) {
        push @lines, head_of("stores-$size", commas($size) . ' keys; processes:'),
            (map { lines_of("$_-$size", $mix{$_}) } qw(stores tenth reads)), "    (bench/plots/processes-$size.svg)", '';
    }
    push @lines, sprintf('    %-48s%16s   %s', '', 'measured', 'beside');
    for my $row (grep { $_->{what} !~ /^(?:hash (?:fetch|store)|\d+ processes)/ } @rows) {
        push @lines,
            sprintf(
            '    %-48s%16s   %s',
            $row->{what},
            number($row->{figure}) . " $row->{unit}",
            $row->{other} ? number($row->{other}) . " $row->{unit}, $row->{against}" : ''
            ) =~ s/ +\z//r;
    }
    splice_in(join "\n", @lines, '', '', '');
    return;
}

# Everything from this section's heading to the next one's.
sub splice_in {
    my ($section) = @_;
    open my $in, '<', "$top/README" or die "README: $!\n";
    my $readme = do { local $/; <$in> };
    close $in;
    $readme =~ s/^What shared variables cost\n.*?(?=^What survives what\n)/$section/ms or die "README has no such section any more.\n";
    open my $out, '>', "$top/README" or die "README: $!\n";
    print {$out} $readme;
    close $out or die "README: $!\n";
    return;
}
