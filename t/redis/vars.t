use strict;
use warnings;
use lib 't/lib';
use RedisTest;
use TAP::Parser;
use Test::More;

# What IPC::Shm promises, by the tests of t/vars, on a server. What is different there, by the
# names of the tests, is what the manual says (IPC::Shm::Engine::Redis, "WHAT IS DIFFERENT").

my %differs = (
    refs    => { 'nothing is left when the references are gone' => 'a variable that was removed is gone at once, not with its last user' },
    crash   => { 'what the dead had made is gone with the last reference' => 'a variable that was removed is gone at once' },
    signals => {
        map { $_ => 'perl calls no method of a tied scalar while one of it is running' } '… a scalar too',
        'the store of the handler is one, that of the operation another',
        'a fetch that waited sees what the handler stored'
    },
    lexicals   => { '… and the namespace has not grown'                           => 'bytes are those of the whole server' },
    operations => { 'my $k; my $x=$h{$k}; @h{$k,undef}=(1,2); my @y=@h{$k}; [%h]' => 'a slice with an undefined key warns less' },
);
my @files =
    grep { -e "t/vars/$_.t" }
    qw(basics values names attributes locks atomic wait threads refs named operations lexicals errors limits crash examples signals queue);
my $server = server();
local $ENV{SHM_TEST_SERVER} = "redis://127.0.0.1:$server->{port}";
local $ENV{SHM_MANY}        = 1000;
local $ENV{SHM_KILLS}       = 20;

for my $file (@files) {
    my $parser = TAP::Parser->new({ source => "t/vars/$file.t", switches => [ map {"-I$_"} grep { !ref } @INC ], merge => 1 });
    my ($passed, $wrong, $differs, @said) = (0, 0, 0);
    while (my $result = $parser->next) {
        push @said, $result->as_string if !$result->is_test || !$result->is_ok;
        next if !$result->is_test;
        my $name = $result->description =~ s/\A- //r =~ s/\s+\z//r;
        if    ($result->is_ok)         { $passed++ }
        elsif ($differs{$file}{$name}) { $differs++ }
        else                           { $wrong++ }
    }
    my $skipped = $parser->skip_all;
    my $well    = $skipped
        || ($passed > 0 && !$wrong && $parser->is_good_plan && ($differs || !$parser->exit));
    ok $well, "t/vars/$file.t: " . ($skipped ? "skipped ($skipped)" : "$passed tests" . ($differs ? ", $differs known to differ" : ''))
        or diag join "\n", @said;
}
done_testing;
