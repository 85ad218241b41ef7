use strict;
use warnings;
use lib 't/lib';
use RedisTest;
use TAP::Parser;
use Test::More;

# On Valkey, the tests that run on Redis otherwise. Where there is no Redis they do so in any case.

my $valkey = RedisTest::program_path('valkey-server');
plan skip_all => 'valkey-server is not installed (Debian has it from version 13 on)' if !defined $valkey;
plan skip_all => 'there is no redis-server: all tests use valkey-server'             if !defined RedisTest::program_path('redis-server');
local $ENV{SHM_SERVER_PROGRAM} = $valkey;

for my $file (qw(variables elements locks stale server)) {
    my $parser = TAP::Parser->new({ source => "t/redis/$file.t", switches => [ map {"-I$_"} grep { !ref } @INC ], merge => 1 });
    my @said;
    while (my $result = $parser->next) { push @said, $result->as_string if !$result->is_test || !$result->is_ok }
    ok !$parser->has_problems && $parser->passed > 0, "t/redis/$file.t: " . $parser->passed . ' tests' or diag join "\n", @said;
}
done_testing;
