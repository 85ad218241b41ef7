#!/usr/bin/env perl
# The code has the form and passes the checks that the files at the top configure.
use strict;
use warnings;
use Test::More;

sub installed {
    my ($program) = @_;
    return grep { -x "$_/$program" } split /:/, $ENV{PATH};
}

# Run `command` on each file; no output and status 0 is a pass.
sub clean {
    my ($program, $command, @files) = @_;
    SKIP: {
        skip "$program is not installed", scalar @files if !installed($program);
        for my $file (@files) {
            (my $line = $command) =~ s/FILE/$file/g;
            my $output = qx{$line 2>&1};
            ok $? == 0 && $output eq '', "$program: $file" or diag substr $output, 0, 3000;
        }
    }
    return;
}

sub tracked { my (@patterns) = @_; chomp(my @files = qx{git ls-files -- @patterns}); return @files }

if (!-d '.git') { plan skip_all => 'not a checkout' }

my @perl    = tracked("'*.pl' '*.pm' '*.t' '*.PL' script");
my @c       = tracked("'*.c' '*.h'");
my @library = grep { !m{^(?:t|xt|eg|bench)/} } @c;

clean('perltidy',     'perltidy -pro=.perltidyrc -st FILE | diff FILE -', @perl);
clean('perlcritic',   'perlcritic --quiet --profile .perlcriticrc FILE',  grep { !m{^x?t/} } @perl);
clean('clang-format', 'clang-format FILE | diff FILE -',                  @c);
clean(
    'cppcheck',
    'cppcheck --quiet --std=c11 --suppressions-list=.cppcheck --inline-suppr -I. -D__linux__ -DPOOL_IMPLEMENTATION --enable=warning,performance,portability --error-exitcode=1 FILE',
    @library
);
clean('clang-tidy', 'clang-tidy --quiet FILE -- -x c -std=c11 -I. -D_GNU_SOURCE -DPOOL_IMPLEMENTATION 2>/dev/null', grep {/\.h$/} @library);

done_testing;
