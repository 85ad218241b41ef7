package Data::Pool::Shared::Tool::Text;

use 5.022;
use strict;
use warnings;
use Exporter 'import';
use I18N::Langinfo ();
use JSON::PP       ();
use POSIX          ();

our @EXPORT_OK = qw(one_line use_locale is_utf8_locale json_line json_text bytes duration exact_number json_number quoted table);

my $utf8 = 0;    # may we print more than ASCII?

sub use_locale {
    POSIX::setlocale(POSIX::LC_CTYPE(), '');
    $utf8 = I18N::Langinfo::langinfo(I18N::Langinfo::CODESET()) =~ /^utf-?8$/i;
    binmode STDOUT, ':encoding(UTF-8)' if $utf8;
    return;
}

sub is_utf8_locale { return $utf8 }

# An exception as one line without the place in the code.
sub one_line {
    my ($message) = @_;
    chomp $message;
    $message =~ s/(.*) at .+? line \d+\.?\n?.*\z/$1/s;
    return $message =~ s/[\x00-\x1f\x7f]/?/gr;
}

# JSON in ASCII is right in any locale.
sub json_line { my ($data) = @_; return JSON::PP->new->ascii->canonical->allow_nonref->allow_bignum->encode($data) . "\n" }
sub json_text { my ($data) = @_; return JSON::PP->new->ascii->canonical->allow_nonref->allow_bignum->pretty->encode($data) }

sub bytes {
    my ($number) = @_;
    return "$number B" if $number < 1024;
    my @units = qw(KiB MiB GiB TiB);
    my $unit;
    do { $number /= 1024; $unit = shift @units } while $number >= 1024 && @units;
    return sprintf $number < 10 ? '%.1f %s' : '%.0f %s', $number, $unit;
}

sub duration {
    my ($seconds) = @_;
    return '-' if !defined $seconds;
    return sprintf '%.1fs', $seconds if $seconds < 10;
    return sprintf '%ds',   $seconds if $seconds < 60;
    my ($minutes, $hours) = (int $seconds / 60, int $seconds / 3600);
    return sprintf '%dm%02ds', $minutes, $seconds % 60 if $minutes < 60;
    return sprintf '%dh%02dm', $hours,   $minutes % 60 if $hours < 48;
    return sprintf '%dd%02dh', $hours / 24, $hours % 24;
}

# A double with as many digits as it takes to read the same one back.
sub exact_number {
    my ($number) = @_;
    my $text = "$number";
    for my $digits (15 .. 17) {
        last if $text == $number || $number != $number;
        $text = sprintf "%.${digits}g", $number;
    }
    return $text;
}

# The same for JSON, which has no word for what is no number.
sub json_number {
    my ($number) = @_;
    return 'NaN'                                  if $number != $number;
    return $number > 0 ? 'Infinity' : '-Infinity' if abs $number == 9**9**9;
    return $number + 0                            if "$number" == $number;
    require Math::BigFloat;
    return Math::BigFloat->new(exact_number($number));
}

# A string as a person reads it best: in quotes, what cannot be printed as an
# escape, no longer than `most` characters. `bytes`: it is no text, but bytes.
sub quoted {
    my ($string, $most, $bytes) = @_;
    my $cut = defined $most && length $string > $most;
    $string = substr $string, 0, $most if $cut;
    my $odd = $utf8 && !$bytes ? qr/[^[:print:]]/ : qr/[^\x20-\x7e]/;
    $string =~ s/(["\\])/\\$1/g;
    $string =~ s/\n/\\n/g;
    $string =~ s/\t/\\t/g;
    $string =~ s/($odd)/sprintf ord $1 < 256 ? '\\x%02x' : '\\x{%x}', ord $1/ge;
    return qq{"$string"} . ($cut ? '...' : '');
}

# Rows as text in columns; a column whose heading starts with ">" is flush right.
# The last column is not padded.
sub table {
    my ($headings, @rows) = @_;
    my @right  = map { /^>/ ? 1 : 0 } @$headings;
    my @titles = map {s/^>//r} @$headings;
    my @width  = map {length} @titles;
    for my $row (@rows) {
        for my $i (0 .. $#width) { $width[$i] = length $row->[$i] if length $row->[$i] > $width[$i] }
    }
    my $format = join '  ', map { $right[$_] ? "%$width[$_]s" : $_ == $#width ? '%s' : "%-$width[$_]s" } 0 .. $#width;
    return join '', map { sprintf "$format\n", @$_ } \@titles, @rows;
}

1;

__END__

=encoding utf8

=head1 NAME

Data::Pool::Shared::Tool::Text - how shmpool writes numbers, times, values and errors

=head1 SYNOPSIS

    use Data::Pool::Shared::Tool::Text qw(bytes duration quoted table);
    print table([ 'NAME', '>SIZE' ], [ quoted($name), bytes($size) ]);

=head1 FUNCTIONS

=head2 use_locale, is_utf8_locale

Look at the user's locale, and make standard output UTF-8 where that is its encoding;
whether it was so.

=head2 one_line

An exception's message on one line, without "at FILE line N".

=head2 json_line, json_text

Data as JSON on one line, or indented for reading; in ASCII, keys sorted.

=head2 bytes, duration

A number of bytes with its unit; seconds as "2m05s".

=head2 exact_number, json_number

A double with all the digits it needs; the same as a value for JSON, where what is no
number becomes one of the strings "NaN", "Infinity", "-Infinity".

=head2 quoted

    my $text = quoted($string, $most, $bytes);

The string in double quotes, with escapes for what cannot be printed, and cut after
C<$most> characters if that is given. If C<$bytes> is true, only ASCII is printed as such.

=head2 table

    my $text = table(\@headings, \@row, ...);

Columns of text. A heading that begins with ">" makes its column flush right.

=head1 LICENSE

This is free software; you can redistribute it and/or modify it under the same terms as
Perl itself.

=cut
