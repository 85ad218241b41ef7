#!/usr/bin/env perl
# The code has the form and passes the checks that the files at the top configure.
use strict;
use warnings;
use Config;
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
            my $output = qx{( $line ) 2>&1};
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
    grep { !m{^xs/} } @library    # that takes perl's macros for errors
);
# Perl's own headers are not ours to check: they are the system's here.
my $perl_headers = "-isystem $Config{archlibexp}/CORE -include EXTERN.h -include perl.h -include XSUB.h -D_REENTRANT -DPERL_NO_GET_CONTEXT";
my $c_flags      = '-x c -std=gnu11 -I. -D_GNU_SOURCE -DPOOL_IMPLEMENTATION';
clean('clang-tidy', "clang-tidy --quiet FILE -- $c_flags $perl_headers 2>/dev/null", grep {m{^xs/.*\.h$}} @library);
clean('clang-tidy', "clang-tidy --quiet FILE -- $c_flags 2>/dev/null",               grep {/^pool.*\.h$/} @library);

done_testing;
