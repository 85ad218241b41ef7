# Each atomic of the headers and of store/ that is not relaxed names the one it pairs with, in a
# comment: of its function, above it, or at the head of its section.
use strict;
use warnings;

use Test::More;

my $ORDER   = qr/__ATOMIC_(?:ACQUIRE|RELEASE|ACQ_REL|SEQ_CST)/;
my $PARTNER = qr/\bpair(?:s|ing)? with\b|\b[a-z]+_\w+\(\)/;       # "pairs with …", "as in pool_x()", "see pool_x()"

sub comments { my ($text) = @_; return join ' ', $text =~ m{/\*.*?\*/}gs }

# The functions of a file: name, line, and text from the comment above to the
# closing brace. Macros that define functions end where their lines do.
sub functions {
    my ($file) = @_;
    open my $in, '<', $file or die "cannot read $file: $!";
    my @found;
    my ($text, $line, $section, $inside, $macro) = ('', 0, '', 0, 0);
    while (<$in>) {
        if (!$inside && !$macro && /^$/) {
            $section = $text =~ /\bpairing with\b/ ? $text : '' if $text =~ m{^/\* -{40}};
            $text    = '';
            next;
        }
        $line = $. if $text eq '';
        $text .= $_;
        $macro  ||= !$inside && /^#define .*\\$/;
        $inside ||= /^\{/;
        next if $macro ? /\\$/ : !($inside && /^\}/);
        my ($name) = $macro ? $text =~ /^#define (\w+)/m : $text =~ /^(?![\s\/*#]).*?(\w+)\(/m;
        push @found, { name => $name, line => $line, text => $text, comments => comments($section . $text) };
        ($text, $inside, $macro) = ('', 0, 0);
    }
    return @found;
}

sub silent {
    return grep { $_->{text} =~ $ORDER && $_->{comments} !~ $PARTNER } @_;
}

# The check itself can fail.
{
    my ($good) = grep { $_->{name} eq 'pool_i_claim' } functions('pool.h');
    is(scalar silent($good),                      0, 'pool_i_claim is found, with its order and its partner');
    is(scalar silent({ %$good, comments => '' }), 1, '... and without its comment it would be told');
}

my ($atomics, $checked) = (0, 0);
for my $file (sort(glob '*.h'), sort glob 'store/*.[ch]') {
    my @functions = functions($file);
    my $in_file   = do { local (@ARGV, $/) = $file; <> };
    my $inside    = join '', map { $_->{text} } @functions;
    is(scalar(() = $inside =~ /$ORDER/g), scalar(() = $in_file =~ /$ORDER/g), "$file: all its atomics are in functions");
    my @silent = silent(@functions);
    is(scalar @silent, 0, '... and each that is not relaxed has its partner named')
        or diag(map { ; "$file line $_->{line}: $_->{name}\n" } @silent);
    $atomics += () = $inside =~ /$ORDER/g;
    $checked += grep { $_->{text} =~ $ORDER } @functions;
}
diag("$atomics memory orders in $checked functions");

done_testing;
