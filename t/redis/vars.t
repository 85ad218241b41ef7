use strict;
use warnings;
use lib 't/lib';
use RedisTest;
use TAP::Parser;
use Test::More;

# What IPC::Shm promises, by the tests of t/vars, on a server. What is different there, by the
# names of the tests, is what the manual says (IPC::Shm::Engine::Redis, "WHAT IS DIFFERENT"): such a
# test fails here, or it is not different. All others pass.

my %differs = (
    perls   => { map { $_ => 'a slice with an undefined key warns less' } q{@h{undef, 'a'}}, q{@h{undef, 'a'} (package variables)} },
    refs    => { 'nothing is left when the references are gone' => 'a variable that was removed is gone at once, not with its last user' },
    crash   => { 'what the dead had made is gone with the last reference' => 'a variable that was removed is gone at once' },
    signals => {
        map { $_ => 'perl calls no method of a tied scalar while one of it is running' } '… a scalar too, 2',
        'the store of the handler is one, that of the operation another',
        'a fetch that waited sees what the handler stored'
    },
    namespace => {
        '… bytes_total'                    => 'the size is the server\'s',
        'who has the lock goes on as well' => 'cleanup waits for nobody, and who has a lock is told'
    },
    operations => { 'my $k; my $x=$h{$k}; @h{$k,undef}=(1,2); my @y=@h{$k}; [%h]' => 'a slice with an undefined key warns less' },
);
my @files  = map {m{([^/]+)\.t\z}} glob 't/vars/*.t';  # all; what a file or a test of it does not do on a server it says itself (on_server)
my $server = server();
local $ENV{SHM_TEST_SERVER} = "redis://127.0.0.1:$server->{port}";
local $ENV{SHM_MANY}        = 1000;
local $ENV{SHM_KILLS}       = 20;
local $ENV{SHM_FORKS}       = 100;

for my $file (@ARGV ? @ARGV : @files) {
    my $parser = TAP::Parser->new({ source => "t/vars/$file.t", switches => [ map {"-I$_"} grep { !ref } @INC ], merge => 1 });
    my ($passed, $failed, @wrong, @said, %listed) = (0, 0);
    while (my $result = $parser->next) {
        push @said, $result->as_string if !$result->is_test || !$result->is_ok;
        next if !$result->is_test;
        my $name = $result->description =~ s/\A- //r =~ s/\s+\z//r;
        if ($differs{$file}{$name}) {
            $listed{$name}++;
            push @wrong, "'$name' is not different" if $result->is_actual_ok;
            $failed++ if !$result->is_actual_ok;
        } elsif (!$result->is_ok) {
            push @wrong, "'$name' failed";
        } else {
            $passed++;
        }
    }
    if ($parser->skip_all) {
        SKIP: { skip "t/vars/$file.t: " . $parser->skip_all, 1 }
        next;
    }
    push @wrong, map {"there is no test '$_'"} grep { !$listed{$_} } keys %{ $differs{$file} };
    push @wrong, 'no test has passed'                  if !$passed;
    push @wrong, 'the plan is wrong'                   if !$parser->is_good_plan;
    push @wrong, 'the exit status is ' . $parser->exit if $parser->exit != $failed;
    ok !@wrong, "t/vars/$file.t: $passed tests" . ($failed ? ", $failed known to differ" : '') or diag join "\n", @wrong, @said;
}
done_testing;
