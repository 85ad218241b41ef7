#!/usr/bin/env perl
# More waiters than the table of them has entries: none is forgotten.
use strict;
use warnings;
use Test::More;
use FindBin;
use lib $FindBin::Bin;
use Proof;

my $folder = scratch_folder();
relay(build($folder, 'crowd'));
done_testing;
