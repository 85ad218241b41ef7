#!/usr/bin/env perl
# Killed at every instruction of every operation, a process costs nobody a slot.
use strict;
use warnings;
use Config;
use Test::More;
use FindBin;
use lib $FindBin::Bin;
use Proof;

plan skip_all => 'stepping by instructions is written for x86-64' if $Config{archname} !~ /x86_64/;

my $folder = scratch_folder();
my $files  = scratch_folder();
relay(build($folder, 'step'), $files);

# The mistake that this pool does not make: taken first, its owner named after.
$ENV{POOL_STEP_FIRST} = 1;
for my $operation ('alloc', 'alloc that searches', 'alloc_n', 'alloc that blocks and is woken') {
    my ($status, @complaints) = verdict(build($folder, 'step', undef, '-DPOOL_TEST_REORDER'), $files, $operation);
    is $status >> 8, 1, "a reordered $operation fails";
    like $complaints[0], qr/leaked: its owner word is 8000000000000000/, 'for a slot leaked that names nobody';
    note $complaints[0];
}

done_testing;
