# Hostile bytes in a namespace: libFuzzer over the operations of store/, see store_fuzz.c.
#
#   STORE_FUZZ_SECONDS  how long (60)
use strict;
use warnings;

use File::Temp qw(tempdir);
use Test::More;

my $seconds = $ENV{STORE_FUZZ_SECONDS} || 60;
my $dir     = tempdir('store-fuzz-XXXXXX', TMPDIR => 1, CLEANUP => 1);

my ($clang) = grep { system("command -v $_ >/dev/null 2>&1") == 0 } 'clang', map {"clang-$_"} reverse 11 .. 20;
plan skip_all => 'clang is not installed' if !$clang;

my $try = `echo 'int LLVMFuzzerTestOneInput(const char *b, unsigned long n); int LLVMFuzzerTestOneInput(const char *b, unsigned long n)
    { return b == 0 && n == 1; }' | $clang -fsanitize=fuzzer,address,undefined -x c -o $dir/try - 2>&1`;
plan skip_all => "this $clang has no libFuzzer: $try" if $? != 0;

my $build  = "$clang -std=gnu11 -g -O1 -Wall -Wextra -Werror -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=undefined -pthread";
my $output = qx{$build -o $dir/fuzz xt/store_fuzz.c store/*.c pool.c 2>&1};
is($?, 0, 'the fuzzer compiles') or diag($output);

# It starts from lists of operations with scribbles between them, which it would take long to find.
mkdir "$dir/$_" or die "cannot make $dir/$_: $!" for qw(found artifacts);
srand 7;
for my $number (1 .. 60) {
    my @bytes = ($number % 4 == 0 ? 0xf8 + rand 8 : rand 0xf8);
    push @bytes, rand() < 0.5 ? 12 : (0, 1, 11, 13, 19, 20, 22)[ rand 7 ], rand 256, rand 256 for 1 .. 6;
    push @bytes, rand() < 0.4 ? (0xc0 | rand 64, map { rand 256 } 1 .. 5) : (rand 40, rand 256, rand 256) while @bytes < 300;
    open my $out, '>:raw', "$dir/found/seed-$number" or die "cannot write $dir/found/seed-$number: $!";
    print {$out} pack 'C*', map {int} @bytes;
    close $out or die "cannot write $dir/found/seed-$number: $!";
}

# What a length says that is damaged is asked of malloc(), which may say no.
$ENV{ASAN_OPTIONS} = 'allocator_may_return_null=1';
$output = qx{$dir/fuzz -max_total_time=$seconds -timeout=20 -max_len=400 -len_control=0 -rss_limit_mb=3000 -malloc_limit_mb=1000000 \\
    -print_final_stats=1 -artifact_prefix=$dir/artifacts/ $dir/found 2>&1};
is($?, 0, 'no input crashes, reaches out of bounds or keeps an operation from ending') or diag(substr $output, -4000);

my ($executions) = $output =~ /^stat::number_of_executed_units:\s*(\d+)/m;
cmp_ok($executions || 0, '>', 100, 'it did run');
diag(sprintf '%d executions', $executions || 0);

# So that an input can be run by hand.
for my $file (glob "$dir/artifacts/*") {
    open my $in, '<:raw', $file or die "cannot read $file: $!";
    local $/;
    diag("$file: printf '", (join '', map { sprintf '\\%03o', ord } split //, <$in>), q{'});
}

done_testing;
