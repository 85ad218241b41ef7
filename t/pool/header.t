# Each public header stands alone and is clean: under each compiler that is here, as
# C11 without GNU extensions and as C++17, as a header and as the implementation.
use strict;
use warnings;

use File::Temp qw(tempdir);
use Test::More;

my $dir    = tempdir('pool-header-XXXXXX', TMPDIR => 1, CLEANUP => 1);
my @strict = qw(-Wall -Wextra -Wpedantic -Wshadow -Wconversion -Werror -I. -O2);

# Nothing before the include, and nothing after it but a use.
my %source = map { ("a header, $_" => qq{#include "$_"\n}, "the implementation, $_" => qq{#define POOL_IMPLEMENTATION\n#include "$_"\n}) }
    qw(pool.h pool_grow.h pool_lock.h);
my %use;
$use{'pool.h'} = <<'C';
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

$use{'pool_lock.h'} = <<'C';
int main(void)
{
    pool_spec_t  spec = { POOL_I64, 10, 8, 0, 0 };
    pool_error_t err;
    pool_t      *pool = pool_open(NULL, &spec, &err);
    pool_lock_t  lock = { 0, 0, 0 };
    bool         died = true, right = pool != NULL && pool_lock_acquire(pool, &lock, POOL_FOREVER, &died) == POOL_OK && !died;
    right = right && pool_lock_acquire(pool, &lock, pool_lock_deadline(1000), &died) == POOL_TIMEOUT;
    pool_lock_release(&lock);
    right = right && pool_lock_try(&lock, 1);
    pool_close(pool);
    return right ? 0 : 1;
}
C
$use{'pool_grow.h'} = <<'C';
int main(int count, char **arguments)
{
    pool_grow_t  row;
    pool_error_t err;
    uint64_t     slot;
    if (count != 2) return 2;
    pool_grow_init(&row, arguments[1], 100, 0600);
    slot = pool_grow_alloc(&row, &err);
    if (slot == POOL_NONE || pool_grow_ptr(&row, slot) == NULL || !pool_grow_free(&row, slot)) return 1;
    pool_grow_close(&row);
    return 0;
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
            my ($header) = $what =~ /(\S+)$/;
            my $file = "$dir/use.$suffix";
            open my $out, '>', $file or die "cannot write $file: $!";
            print {$out} $source{$what}, $use{$header};
            close $out or die "cannot write $file: $!";
            my $cc    = $name =~ /clang/     ? 'clang'           : 'gcc';
            my @pool  = $what =~ /^a header/ ? "$dir/pool-$cc.o" : ();
            my $error = compile($name, '-c', "-std=$standard", @strict, '-o', "$dir/use.o", $file);
            is($error, '', "$name -std=$standard: $what compiles without a warning");
            $error = compile($cc, qw(-c -std=c11), @strict, '-o', @pool, 'pool.c') if @pool && !-e $pool[0];
            $error ||= compile($name, '-o', "$dir/use", "$dir/use.o", @pool, '-pthread');
            is($error,                                                               '', '... links');
            is(system("$dir/use", $header eq 'pool_grow.h' ? "$dir/row-$name" : ()), 0,  '... and works');
        }
    }
}

done_testing;
