package RecipeTest;
use strict;
use warnings;
use File::Spec;

# The code of the documents, as programs: for the tests that run it.

sub import {
    no strict 'refs';    ## no critic (a small exporter)
    my $caller = caller;
    *{"${caller}::$_"} = \&$_ for qw(recipes cookbook write_recipe perl_command);
    return;
}

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

# [ title, code, what comes before it ] for each recipe of the cookbook.
sub cookbook {
    return map { [ @$_, $_->[1] =~ /\bshm\b/ ? 'use IPC::Shm;' : 'use Data::Pool::Shared;' ] }
        grep { $_->[0] ne 'DESCRIPTION' } recipes('lib/Data/Pool/Shared/Cookbook.pod');
}

# The program, in a folder for its files.
sub write_recipe {
    my ($run, $code, $prelude) = @_;
    my $script = "$run/recipe.pl";
    open my $out, '>:encoding(UTF-8)', $script or die "$script: $!\n";
    print $out "use strict; use warnings; use utf8; my \$run = '$run';\n$prelude\n#line 1 \"recipe\"\n$code\n";
    close $out or die "$script: $!\n";
    return $script;
}

# The perl that runs the test, as a list, with what is being tested.
sub perl_command {
    return ($^X, map { '-I' . File::Spec->rel2abs($_) } grep { !ref } @INC);
}

1;
