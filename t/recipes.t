#!/usr/bin/env perl
# Every recipe of the cookbook, and every synopsis, runs as it is printed.
use strict;
use warnings;
use File::Spec;
use File::Temp 'tempdir';
use Test::More;

my @include = map {qq("-I@{[ File::Spec->rel2abs($_) ]}")} grep { !ref } @INC;

# [ title, code ] for each heading of a POD file that has code.
sub recipes {
    my ($file) = @_;
    open my $pod, '<:encoding(UTF-8)', $file or die "$file: $!\n";
    my ($in_pod, $title, @found) = (0, '');
    while (my $line = <$pod>) {
        $in_pod = 1 if $line =~ /^=\w/;
        $in_pod = 0 if $line =~ /^=cut/;
        next if !$in_pod;
        if    ($line =~ /^=head\d\s+(.*)/) { $title = $1 }
        elsif ($line =~ /^ {4}(.*)/) {
            push @found, [ $title, '' ] if !@found || $found[-1][0] ne $title;
            $found[-1][1] .= "$1\n";
        } elsif ($line eq "\n" && @found) {
            $found[-1][1] .= "\n";
        }
    }
    return @found;
}

sub runs {
    my ($title, $code, $prelude) = @_;
    my $run    = tempdir(CLEANUP => 1);
    my $script = "$run/recipe.pl";
    open my $out, '>:encoding(UTF-8)', $script or die "$script: $!\n";
    print $out "use strict; use warnings; use utf8; my \$run = '$run';\n$prelude\n#line 1 \"recipe\"\n$code\n";
    close $out or die "$script: $!\n";
    local $ENV{IPC_SHM_NAMESPACE} = "$run/namespace";
    my $output = qx{cd "$run" && $^X @include "$script" 2>&1 </dev/null};
    is $?, 0, $title or diag $output;
    unlike $output, qr/warn|uninit|deprecat/i, "$title: without a warning";
    return;
}

my %without = map { $_ => 1 } ('DESCRIPTION');
for my $recipe (grep { !$without{ $_->[0] } } recipes('lib/Data/Pool/Shared/Cookbook.pod')) {
    my $prelude = $recipe->[1] =~ /\bshm\b/ ? 'use IPC::Shm;' : 'use Data::Pool::Shared;';
    runs("cookbook: $recipe->[0]", $recipe->[1], $prelude);
}

# A synopsis names files in /dev/shm; here they go where nobody else looks.
for my $file ('lib/Data/Pool/Shared.pm', grep {-e} 'lib/IPC/Shm.pm') {
    my ($synopsis) = grep { $_->[0] eq 'SYNOPSIS' } recipes($file);
    (my $code = $synopsis->[1]) =~ s{'/dev/shm/}{"\$run" . '/}g;
    runs("synopsis of $file", $code, '');
}

done_testing;
