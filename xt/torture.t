#!/usr/bin/env perl
# Processes do everything at once and are killed and stopped at random; after each round all is right.
use strict;
use warnings;
use Test::More;
use FindBin;
use lib $FindBin::Bin;
use Proof;

my $folder = scratch_folder();
relay(build($folder, 'torture'));
done_testing;
