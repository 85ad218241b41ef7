#!/usr/bin/env perl
# The XS compiles for a perl without threads, whose macros are others. Where this perl
# has threads, its headers are made to say that it has not; nothing is run.
use strict;
use warnings;
use Config;
use ExtUtils::ParseXS;
use ExtUtils::Typemaps;
use File::Temp ();
use Test::More;

my $headers = "$Config{archlibexp}/CORE";
my $folder  = File::Temp::tempdir(CLEANUP => 1);
my $typemap = 'ExtUtils/typemap';
my ($core)  = grep {-e} map {"$_/$typemap"} grep { !ref } @INC or die "there is no $typemap";

-e "$headers/perl.h" or plan skip_all => "the headers of perl are not installed: $headers";

for my $header (glob "$headers/*.h") {
    my ($name) = $header =~ m{([^/]+)\z};
    symlink $header, "$folder/$name" or die "symlink: $!" if $name ne 'config.h';
}
open my $in,  '<', "$headers/config.h" or die $!;
open my $out, '>', "$folder/config.h"  or die $!;
while (<$in>) { print {$out} $_ if !/^\s*#\s*define\s+(?:USE_ITHREADS|USE_THREADS|MULTIPLICITY|PERL_IMPLICIT_CONTEXT)\b/ }
close $out or die $!;

ExtUtils::ParseXS->new->process_file(filename => 'Shared.xs', output => "$folder/Shared.c", typemap => [ $core, 'typemap' ]);
for my $file ("$folder/Shared.c", sort glob 'xs/*.c') {
    my $command = "$Config{cc} $Config{ccflags} -DVERSION='\"0\"' -DXS_VERSION='\"0\"' -Wall -Werror -fsyntax-only";
    my $check   = "#ifdef MULTIPLICITY\\n#error threads\\n#endif\\n";
    my $output =
        qx{( printf '#include "EXTERN.h"\\n#include "perl.h"\\n$check' | $command -I$folder -x c - && $command -I. -Ixs -I$folder $file ) 2>&1};
    ok $? == 0, $file =~ s{\Q$folder/\E}{}r =~ s{Shared\.c}{Shared.xs}r or diag substr $output, 0, 3000;
}
done_testing;
