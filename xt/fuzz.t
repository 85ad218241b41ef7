# Hostile bytes: libFuzzer over attaching and over every operation, see fuzz.c.
#
#   POOL_FUZZ_RUNS     stop after so many executions (1,000,000)
#   POOL_FUZZ_SECONDS  or after so much time (120)
use strict;
use warnings;

use File::Temp qw(tempdir);
use Test::More;

my $runs    = $ENV{POOL_FUZZ_RUNS}    || 1_000_000;
my $seconds = $ENV{POOL_FUZZ_SECONDS} || 120;
my $dir     = tempdir('pool-fuzz-XXXXXX', TMPDIR => 1, CLEANUP => 1);

my ($clang) = grep { system("command -v $_ >/dev/null 2>&1") == 0 } 'clang', map {"clang-$_"} reverse 11 .. 20;
plan skip_all => 'clang is not installed' if !$clang;

my $build =
    "$clang -std=gnu11 -g -O1 -Wall -Wextra -Werror -fsanitize=fuzzer,address,undefined" . ' -fno-sanitize-recover=undefined -pthread';
my $has_fuzzer =
    `echo 'int LLVMFuzzerTestOneInput(const char *b, unsigned long n); int LLVMFuzzerTestOneInput(const char *b, unsigned long n)
    { return b == 0 && n == 1; }' | $clang -fsanitize=fuzzer,address,undefined -x c -o $dir/try - 2>&1`;
plan skip_all => "this $clang has no libFuzzer: $has_fuzzer" if $? != 0;

my $output = qx{$build -o $dir/fuzz xt/fuzz.c 2>&1};
is($?, 0, 'the fuzzer compiles') or diag($output);

# New inputs go to a folder of this run; it starts from those that are kept.
mkdir "$dir/$_" or die "cannot make $dir/$_: $!" for qw(found artifacts);
my @kept = glob 't/corpus/*';
cmp_ok(scalar @kept, '>', 0, 'there is a corpus to start from');
$output = qx{$dir/fuzz -runs=$runs -max_total_time=$seconds -timeout=20 -max_len=400 -print_final_stats=1 \\
    -artifact_prefix=$dir/artifacts/ $dir/found t/corpus 2>&1};
is($?, 0, 'no input crashes, reaches out of bounds or keeps an operation from ending') or diag(substr $output, -4000);

my ($executions) = $output =~ /^stat::number_of_executed_units:\s*(\d+)/m;
my ($new)        = $output =~ /^stat::new_units_added:\s*(\d+)/m;
cmp_ok($executions || 0, '>', 1000, 'it did run');
diag(sprintf '%d executions, %d inputs of interest beside the %d that are kept', $executions || 0, $new || 0, scalar @kept);

# What was found is to be kept in t/corpus once it is mended.
for my $file (glob "$dir/artifacts/*") {
    open my $in, '<:raw', $file or die "cannot read $file: $!";
    local $/;
    diag("$file: printf '", (join '', map { sprintf '\\%03o', ord } split //, <$in>), "' > t/corpus/NAME");
}

done_testing;
