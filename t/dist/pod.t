# The documentation is well-formed.
use strict;
use warnings;
use Test::More;

eval 'use Test::Pod 1.41; 1' or plan skip_all => 'Test::Pod 1.41 is not installed';
all_pod_files_ok(all_pod_files(grep {-e} qw(lib script eg)));
