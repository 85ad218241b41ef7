package Turns;    # benchmarks on a noisy machine: candidates take turns, the best turn of each counts

use strict;
use warnings;
use Exporter 'import';
use Time::HiRes 'time';

our @EXPORT_OK = qw(progress turns seconds table verdict load_floor);

# A line that says what is going on, on a terminal; nothing in a log.
sub progress {
    my ($text) = @_;
    return if !-t STDERR;
    local $| = 1;
    printf STDERR "\r\e[K%s", $text // '';
    return;
}

sub seconds {
    my ($code) = @_;
    my $start = time;
    $code->();
    return time - $start;
}

# Run each candidate once a turn, in the order of their names; return for each the
# best figure that `measure` gave (least, or with `most` the greatest).
sub turns {
    my ($turns, $candidates, %option) = @_;
    my $measure = $option{measure} // \&seconds;
    my %best;
    for my $turn (1 .. $turns) {
        for my $name (sort keys %$candidates) {
            progress("turn $turn of $turns: $name");
            my $figure = $measure->($candidates->{$name});
            my $better = !exists $best{$name} || ($option{most} ? $figure > $best{$name} : $figure < $best{$name});
            $best{$name} = $figure if $better;
        }
    }
    progress();
    return \%best;
}

# Rows of columns, the first to the left, the others to the right.
sub table {
    my @rows = @_;
    my @width;
    for my $row (@rows) {
        for my $i (0 .. $#$row) { $width[$i] = length $row->[$i] if length $row->[$i] > ($width[$i] // 0) }
    }
    for my $row (@rows) {
        print join('  ', map { sprintf $_ ? "%$width[$_]s" : "%-$width[$_]s", $row->[$_] } 0 .. $#$row), "\n";
    }
    return;
}

sub verdict { my ($met) = @_; return $met ? 'met' : 'NOT MET' }

# The class XSFloor, whose methods do only what every XS method must. It is built
# in a temporary folder from XSFLOOR=folder, or from where this project keeps it.
sub load_floor {
    require File::Temp;
    require FindBin;
    my $source = $ENV{XSFLOOR} // "$FindBin::Bin/../../shared/xsfloor";
    -d $source or die "No folder $source: set XSFLOOR to the folder of the XS floor.\n";
    my $copy = File::Temp::tempdir(CLEANUP => 1);
    system(
        "cp -r \Q$source\E/. \Q$copy\E && chmod -R u+w \Q$copy\E && cd \Q$copy\E && $^X Makefile.PL >build.log 2>&1 && make >>build.log 2>&1"
        ) == 0
        or die "The XS floor in $source does not build.\n";
    unshift @INC, "$copy/blib/lib", "$copy/blib/arch";
    require XSFloor;
    return XSFloor->new(1000);
}

1;
