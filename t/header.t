# pool.h stands alone and is clean: under each compiler that is here, as C11 and
# as C++17, as a header and as the implementation.
use strict;
use warnings;

use File::Temp qw(tempdir);
use Test::More;

my $dir    = tempdir('pool-header-XXXXXX', TMPDIR => 1, CLEANUP => 1);
my @strict = qw(-Wall -Wextra -Wpedantic -Wshadow -Wconversion -Werror -I. -O2);

# Nothing before the include, and nothing after it but a use.
my %source = (
    'a header'           => qq{#include "pool.h"\n},
    'the implementation' => qq{#define POOL_IMPLEMENTATION\n#include "pool.h"\n},
);
my $use = <<'C';
int main(void)
{
    pool_spec_t  spec = { POOL_I64, 10, 8, 0, 0 };
    pool_error_t err;
    pool_t      *pool = pool_open(NULL, &spec, &err);
    uint64_t     slot = pool == NULL ? POOL_NONE : pool_try_alloc(pool);
    bool         right = slot < POOL_NOSPC && pool_i64_add(pool, slot, 42) == 42 && pool_free(pool, slot);
    pool_close(pool);
    return right ? 0 : 1;
}
C

sub compile {
    my (@command) = @_;
    my $output = qx{@command 2>&1};
    return $? == 0 ? '' : "@command\n$output";
}

my %compiler = (gcc => [ 'c11', 'c' ], clang => [ 'c11', 'c' ], 'g++' => [ 'c++17', 'cc' ], 'clang++' => [ 'c++17', 'cc' ]);
for my $name (sort keys %compiler) {
    my ($standard, $suffix) = @{ $compiler{$name} };
    SKIP: {
        skip "$name is not installed", 1 if system("command -v $name >/dev/null 2>&1") != 0;
        skip "this $name does not know $standard", 1
            if compile($name, "-std=$standard", "-x", $suffix eq 'c' ? 'c' : 'c++', '-fsyntax-only', '/dev/null');
        for my $what (sort keys %source) {
            my $file = "$dir/use.$suffix";
            open my $out, '>', $file or die "cannot write $file: $!";
            print {$out} $source{$what}, $use;
            close $out or die "cannot write $file: $!";
            my @pool  = $what eq 'a header' ? "$dir/pool.o" : ();
            my $error = compile($name, '-c', "-std=$standard", @strict, '-o', "$dir/use.o", $file);
            is($error, '', "$name -std=$standard: $what compiles without a warning");
            $error = compile($name =~ /clang/ ? 'clang' : 'gcc', qw(-c -std=c11), @strict, '-o', "$dir/pool.o", 'pool.c') if @pool;
            $error ||= compile($name, '-o', "$dir/use", "$dir/use.o", @pool, '-pthread');
            is($error,             '', '... links');
            is(system("$dir/use"), 0,  '... and works');
        }
    }
}

done_testing;
