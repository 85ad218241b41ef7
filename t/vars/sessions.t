use strict;
use warnings;
use lib 't/lib';
use ShmTest;
use Test::More;
use IPC::Shm;

# eg/shm/SessionStore.pm under the middleware that it is for.

BEGIN {
    plan skip_all => 'Plack::Middleware::Session is not installed'
        if !eval { require Plack::Middleware::Session; require Plack::Builder; 1 };
}
require './eg/shm/SessionStore.pm';    ## no critic (an example)

my $store = SessionStore->new(name => 'test.web', seconds => 600);

# /add: one more in the cart of this session; /fill: all numbers are the same; and what the middleware offers.
my $app = Plack::Builder::builder(
    sub {
        Plack::Builder::enable('Session', store => $store);
        return sub {
            my ($env) = @_;
            my ($session, $options) = @$env{qw(psgix.session psgix.session.options)};
            my ($what,    $n)       = $env->{PATH_INFO} =~ m{\A/(\w+)/?(\d*)};
            push @{ $session->{cart} }, $n if $what eq 'add';
            $session->{fill}      = { map { $_ => $n } 1 .. 8 } if $what eq 'fill';
            $options->{expire}    = 1                           if $what eq 'leave';
            $options->{change_id} = 1                           if $what eq 'login';
            die "no\n" if $what eq 'die';
            return [ 200, [], [ join ',', @{ $session->{cart} // [] } ] ];
        };
    }
);

# A browser: it has a cookie, or gets one.
sub get {
    my ($browser, $path) = @_;
    my %env = (
        REQUEST_METHOD      => 'GET',
        SCRIPT_NAME         => '',
        PATH_INFO           => $path,
        SERVER_NAME         => 'localhost',
        SERVER_PORT         => 80,
        'psgi.url_scheme'   => 'http',
        'psgi.multiprocess' => 1
    );
    $env{HTTP_COOKIE} = $browser->{cookie} if $browser->{cookie};
    my ($status, $headers, $body) = @{ $app->(\%env) };
    my %header = @$headers;
    ($browser->{cookie}) = $header{'Set-Cookie'} =~ /\A([^;]+)/ if $header{'Set-Cookie'};
    return join '', @$body;
}

sub id { my ($browser) = @_; return $browser->{cookie} =~ s/.*=//r }

my (%ann, %bob);
get(\%ann, '/add/1');
like id(\%ann), qr/\A[0-9a-f]{20,}\z/, 'a browser gets a session';
get(\%bob, '/add/7');
is get(\%ann, '/add/2'), '1,2', '… that goes on';
is get(\%bob, '/show'),  '7',   '… and is not that of another';
is in_child(sub { get(\%ann, '/show') }), '1,2', 'another worker has it, too';
in_child(sub { get(\%ann, '/add/3') });
is get(\%ann, '/show'), '1,2,3', '… and what that stores';
ok !eval { get(\%ann, '/die'); 1 }, 'an application that dies';
is get(\%ann, '/show'), '1,2,3', '… leaves the session';

my $before = id(\%ann);
get(\%ann, '/login');
isnt id(\%ann),            $before, 'a new name for a session';
is get(\%ann, '/show'),    '1,2,3', '… that is the same';
is $store->fetch($before), undef,   '… the old name is gone';

my %was = %bob;
get(\%bob, '/leave');
is get(\%was, '/show'),                                          '',    'a session that was left is gone';
is $store->fetch(id(\%was)) && $store->fetch(id(\%was))->{cart}, undef, '… from the store, too';
is get({ cookie => "plack_session=$before" }, '/show'),          '',    'a cookie of old has no session';

# Workers are killed while they store.
for my $round (1 .. 8) {
    my $pid = child(
        sub {
            for (my $i = 1;; $i++) { get(\%ann, "/fill/$i") }
        }
    );
    until_true(sub { ($store->fetch(id(\%ann))->{fill}{1} // 0) >= 3 });
    kill KILL => $pid;
    waitpid $pid, 0;
    my $session = $store->fetch(id(\%ann));
    my %value   = map { $_ => 1 } values %{ $session->{fill} };
    is scalar(keys %value), 1,       "a worker is killed, $round: the session is whole";
    is get(\%ann, '/show'), '1,2,3', '… and what was there is there';
    get(\%ann, '/fill/0');
}
IPC::Shm->cleanup;
done_testing;
