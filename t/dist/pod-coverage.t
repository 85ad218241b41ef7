# Everything that can be called is documented.
use strict;
use warnings;
use Test::More;

eval 'use Test::Pod::Coverage 1.08; 1' or plan skip_all => 'Test::Pod::Coverage 1.08 is not installed';

# The classes of Data::Pool::Shared have one page of documentation.
require Data::Pool::Shared;
my @classes = map {"Data::Pool::Shared::$_"} qw(I64 I32 F64 Str Number Integer Guard);
for my $class (@classes) {
    (my $file = "$class.pm") =~ s{::}{/}g;
    $INC{$file} //= $INC{'Data/Pool/Shared.pm'};
    pod_coverage_ok($class, { pod_from => $INC{'Data/Pool/Shared.pm'} }, "$class is documented");
}
my %described = map { $_ => 1 } @classes;
pod_coverage_ok($_) for grep { !$described{$_} } all_modules('lib');

done_testing;
