package Data::Pool::Shared::Tool::Text;

use 5.022;
use strict;
use warnings;
use Exporter 'import';
use I18N::Langinfo ();
use JSON::PP       ();
use POSIX          ();

our $VERSION = '1.000';

our @EXPORT_OK = qw(one_line use_locale is_utf8_locale path_text json_line json_text print_json_list
    bytes counted duration exact_number json_number printable quoted print_table);

my $utf8 = 0;    # may we print more than ASCII?

# What is not ASCII is left out by those who write, where the locale has no UTF-8.
sub use_locale {
    POSIX::setlocale(POSIX::LC_CTYPE(), '');
    $utf8 = I18N::Langinfo::langinfo(I18N::Langinfo::CODESET()) =~ /^utf-?8$/i;
    binmode STDOUT, ':encoding(UTF-8)';
    return;
}

sub is_utf8_locale { return $utf8 }

# An exception as one line of bytes without the place in the code. Names of
# variables come as characters, paths as bytes.
sub one_line {
    my ($message) = @_;
    utf8::encode($message) if utf8::is_utf8($message);
    chomp $message;
    $message =~ s/(.*) at .+? line \d+\.?\n?.*\z/$1/s;
    return $message =~ s/[\x00-\x1f\x7f]/?/gr;
}

# The bytes of a path as the text that a person sees in them.
sub path_text {
    my ($path) = @_;
    utf8::decode($path);    # or it stays as it is
    return $path;
}

# JSON in ASCII is right in any locale.
sub json_line { my ($data) = @_; return JSON::PP->new->ascii->canonical->allow_nonref->allow_bignum->encode($data) . "\n" }
sub json_text { my ($data) = @_; return JSON::PP->new->ascii->canonical->allow_nonref->allow_bignum->pretty->encode($data) }

# A list of which the code returns the next element, or undef at the end; an element
# a line. There may be millions, so none is kept.
sub print_json_list {
    my ($next)  = @_;
    my $json    = JSON::PP->new->ascii->canonical->allow_bignum;
    my $between = "[\n";
    while (my $element = $next->()) {
        print $between, $json->encode($element) or return;
        $between = ",\n";
    }
    return print $between eq ",\n" ? "\n]\n" : "[]\n";
}

sub bytes {
    my ($number) = @_;
    return "$number B" if $number < 1024;
    my @units = qw(KiB MiB GiB TiB);
    my $unit;
    do { $number /= 1024; $unit = shift @units } while $number >= 1024 && @units;
    return sprintf $number < 10 ? '%.1f %s' : '%.0f %s', $number, $unit;
}

# 1 slot, 2 slots.
sub counted { my ($number, $what) = @_; return "$number $what" . ($number == 1 ? '' : 's') }

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
    my $text     = $number == 0 ? sprintf '%.1g', $number : "$number";    # perl leaves the sign of -0 out
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

# Text with escapes for what cannot be printed here, so that it does nothing else
# to a terminal.
sub printable {
    my ($text) = @_;
    my $odd = $utf8 ? qr/[^[:print:]]/ : qr/[^\x20-\x7e]/;
    return $text =~ s/($odd)/_escape($1)/ger;
}

my %ESCAPE = ("\n" => '\\n', "\t" => '\\t', '"' => '\\"', '\\' => '\\\\');

sub _escape { my ($character) = @_; return $ESCAPE{$character} // sprintf ord $character < 256 ? '\\x%02x' : '\\x{%x}', ord $character }

# A string as a person reads it best: in quotes, what cannot be printed as an
# escape, no longer than `most` characters. `bytes`: it is no text, but bytes.
sub quoted {
    my ($string, $most, $bytes) = @_;
    my $cut = defined $most && length $string > $most;
    $string = substr $string, 0, $most if $cut;
    my $odd = $utf8 && !$bytes ? qr/["\\]|[^[:print:]]/ : qr/["\\]|[^\x20-\x7e]/;
    $string =~ s/($odd)/_escape($1)/ge;
    return qq{"$string"} . ($cut ? '...' : '');
}

my $MEASURED = 1000;

# Rows as text in columns; the code returns the next row, or undef at the end. A
# column whose heading starts with ">" is flush right, the last one not padded. There
# may be millions of rows: those after the first thousand are not kept, and a
# wider one among them moves what is right of it.
sub print_table {
    my ($headings, $next) = @_;
    my @right = map { /^>/ ? 1 : 0 } @$headings;
    my @first = ([ map {s/^>//r} @$headings ]);
    while (@first <= $MEASURED and my $row = $next->()) { push @first, $row }
    my @width = map { _width($_, @first) } 0 .. $#right;
    my $format =
        join('  ', map { $right[$_] ? "%$width[$_]s" : $_ == $#width ? '%s' : "%-$width[$_]s" } 0 .. $#width) . "\n";
    printf $format, @$_ or return for @first;
    while (my $row = $next->()) { printf $format, @$row or return }
    return 1;
}

sub _width {
    my ($column, @rows) = @_;
    my $width = 0;
    for my $row (@rows) { $width = length $row->[$column] if length $row->[$column] > $width }
    return $width;
}

1;

__END__

=encoding utf8

=head1 NAME

Data::Pool::Shared::Tool::Text - how shmpool writes numbers, times, values and errors

=head1 SYNOPSIS

    use Data::Pool::Shared::Tool::Text qw(bytes quoted print_table);
    my @rows = ([ quoted($name), bytes($size) ]);
    print_table([ 'NAME', '>SIZE' ], sub { shift @rows });

=head1 FUNCTIONS

=head2 use_locale, is_utf8_locale

C<use_locale> sets up the user's locale, and makes standard output UTF-8. C<is_utf8_locale> tells whether UTF-8 is the encoding of the
locale; if it is not, only ASCII should be printed.

=head2 one_line

An exception's message on one line, as bytes, without "at FILE line N".

=head2 path_text

The bytes of a path as characters, if they are UTF-8.

=head2 json_line, json_text, print_json_list

Data as JSON, on one line or indented; in ASCII, with sorted keys. C<print_json_list> prints a list with
one element per line; it calls a sub for each element until that returns C<undef>.

=head2 bytes, counted, duration

A number of bytes with its unit; a number of things, as "1 slot" and "2 slots"; seconds as "2m05s".

=head2 exact_number, json_number

A double with all the digits that it needs; C<json_number> returns it as a value for JSON, in which NaN and infinities
become the strings "NaN", "Infinity", "-Infinity".

=head2 printable

Text with escapes for what cannot be printed in this locale.

=head2 quoted

    my $text = quoted($string, $most, $bytes);

The string in double quotes, with escapes for what cannot be printed, and cut after
C<$most> characters if that is given. If C<$bytes> is true, only ASCII is printed as such.

=head2 print_table

    print_table(\@headings, sub { ... });

Prints columns of text. The sub returns the next row, a reference to an array, and C<undef> at the
end. A heading that begins with ">" makes its column flush right.

=head1 LICENSE

This is free software; you can redistribute it and/or modify it under the same terms as
Perl itself.

=cut
