#!/usr/bin/env perl
# The protocol's model, explored in full (see xt/model/run).
use strict;
use warnings;
use Test::More;

plan skip_all => 'spin is not installed' if !grep { -x "$_/spin" } split /:/, $ENV{PATH};

my @lines = qx{sh xt/model/run 2>&1};
is $?, 0, 'each scenario holds, each broken one is found';
print map {"# $_"} @lines;
like $lines[-1] // '', qr/^\d+ passed, 0 failed/, 'the script says so itself';

done_testing;
