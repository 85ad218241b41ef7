# The examples of the pool run, and what they print is right. Each ends with a status
# other than 0 if its own sums do not add up.
use strict;
use warnings;
use Test::More;
use lib 't/lib';
use Config;
use PoolTest qw(temp_folder temp_path read_file);

# file => what it prints, and what it needs
my %EXAMPLES = (
    'connection_limit.pl'    => [qr/^jobs at once, at most +[123]$/m],
    'pipeline.pl'            => [qr/^5000 items, sum of squares 41679167500$/m],
    'event_loop_ev.pl'       => [ qr/^600 results in \d+ wake-ups, sum 1260300$/m,                 'EV' ],
    'event_loop_io_async.pl' => [ qr/^600 results in \d+ wake-ups, sum 1260300$/m,                 'IO::Async::Loop' ],
    'ffi_pointer.pl'         => [ qr/^C wrote "12 apples, 0\.35 a piece".*sorted: 0 1 2 .* 999$/m, 'FFI::Platypus' ],
    'pdl.pl'                 => [ qr/^pi is about 3\.141\d+; by the pool's own methods 3\.141/m,   'PDL' ],
    'pass_memfd.pl'          => [
        qr/^program \d+ got a pool of 100 slots and answers\n.*^the answer is 42$/ms,
        [ 'x86_64 or aarch64', sub { $Config{archname} =~ /^(?:x86_64|aarch64)/ } ]
    ],
    'prometheus.pl' => [qr/^http_requests_total\{status="200"\} 18000\n.*^http_request_seconds_bucket\{le="0\.1"\} 20000$/ms],
    'c_and_perl.pl' => [
        qr/^the C program squared 1000 numbers.*^the Perl program got 1000 of them, sum 333833500$/ms,
        [ 'a C compiler', sub { $Config{cc} && !system "$Config{cc} --version >/dev/null 2>&1" } ]
    ],
);

# Where the examples put what they need: it must be empty afterwards.
mkdir $ENV{TMPDIR} = temp_path('scratch') or die $!;

sub run {
    my @command = @_;
    my $pid     = fork // die "fork: $!";
    if (!$pid) {
        open STDOUT, '>',  temp_path('out') or die;
        open STDERR, '>&', \*STDOUT         or die;
        exec @command or die;
    }
    waitpid $pid, 0;
    return ($?, read_file(temp_path('out')));
}

# Asked in another process: some of these modules change how a process behaves.
sub is_there {
    my ($need) = @_;
    return $need->[1]->() if ref $need;
    my ($status) = run($^X, "-M$need", '-e', '1');
    return $status == 0;
}

for my $example (sort keys %EXAMPLES) {
    my ($prints, $need) = @{ $EXAMPLES{$example} };
    SKIP: {
        skip "$example needs " . (ref $need ? $need->[0] : "$need, which is not installed"), 3 if $need && !is_there($need);
        my ($status, $out) = run($^X, (map {"-I$_"} grep { !ref } @INC), "eg/$example");
        is $status, 0, "$example succeeds" or diag $out;
        like $out, $prints, "$example prints what it should";
        is_deeply [ glob "$ENV{TMPDIR}/*" ], [], "$example leaves no file";
    }
}

done_testing;
