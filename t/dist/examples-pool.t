# The examples of the pool run, and what they print is right. Each ends with a status
# other than 0 if its own sums do not add up.
use strict;
use warnings;
use Test::More;
use lib 't/lib';
use Config;
use PoolTest qw(temp_folder temp_path read_file);

# How an example is called => what it prints, and what it needs
my $summed   = qr/^600 results in \d+ wake-ups, sum 1260300$/m;
my %EXAMPLES = (
    'connection_limit.pl'     => [qr/^jobs at once, at most +[123]\n.*^jobs killed +1$/ms],
    'pipeline.pl'             => [qr/^5000 items, sum of squares 41679167500$/m],
    'event_loop.pl EV'        => [ $summed,                                                         'EV' ],
    'event_loop.pl IO::Async' => [ $summed,                                                         'IO::Async::Loop' ],
    'ffi_pointer.pl'          => [ qr/^C wrote "12 apples, 0\.35 a piece".*sorted: 0 1 2 .* 999$/m, 'FFI::Platypus' ],
    'pdl.pl'                  => [ qr/^pi is about 3\.141\d+; by the pool's own methods 3\.141/m,   'PDL' ],
    'pass_memfd.pl'           => [
        qr/^program \d+ got a pool of 100 slots and answers\n.*^the answer is 42$/ms,
        [ 'x86_64 or aarch64', sub { $Config{archname} =~ /^(?:x86_64|aarch64)/ } ]
    ],
    'prometheus.pl'  => [qr/^http_requests_total\{status="200"\} 18000\n.*^http_request_seconds_bucket\{le="0\.1"\} 20000$/ms],
    'worker_pool.pl' => [qr/died of signal 9 in "worker \d, job 10000": slot \d recovered\n.*^   all +20000 +200010000$/ms],
    'variables.pl'   => [
        qr/^1000 words were measured, 1000 of them right$/m,
        [ 'a C compiler', sub { $Config{cc} && !system "$Config{cc} --version >/dev/null 2>&1" } ]
    ],
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

my %printed;
for my $example (sort keys %EXAMPLES) {
    my ($prints, $need) = @{ $EXAMPLES{$example} };
    SKIP: {
        skip "$example needs " . (ref $need ? $need->[0] : "$need, which is not installed"), 3 if $need && !is_there($need);
        my ($status, $out) = run($^X, (map {"-I$_"} grep { !ref } @INC), split / /, "eg/$example");
        is $status, 0, "$example succeeds" or diag $out;
        like $out, $prints, "$example prints what it should";
        is_deeply [ glob "$ENV{TMPDIR}/*" ], [], "$example leaves no file";
        $printed{$example} = $out;
    }
}

my %here = map { s/ .*//r => 1 } keys %EXAMPLES;
is_deeply [ sort keys %here ], [ map {s{.*/}{}r} sort glob 'eg/*.pl' ], 'no example is left out';

# The format that Prometheus reads: a family of samples after its HELP and TYPE, no
# sample twice, a histogram that grows up to its count.
subtest 'the text format of Prometheus' => sub {
    my (%type, %sample, @bucket);
    for my $line (split /\n/, $printed{'prometheus.pl'}) {
        if ($line =~ /^# (HELP|TYPE) ([a-zA-Z_:][\w:]*) (.+)$/) {
            $type{$2} = $1 eq 'TYPE' ? $3 : 'announced';
        } elsif ($line =~ /^([a-zA-Z_:][\w:]*)(\{(?:[a-zA-Z_]\w*="[^"\\\n]*",?)+\})? (-?[\d.]+(?:e[-+]?\d+)?|[-+]Inf|NaN)$/) {
            my ($name, $labels, $value) = ($1, $2 // '', $3);
            my $family = $name =~ s/_(?:bucket|sum|count)\z//r;
            like $type{$family} // $type{$name} // '', qr/^(?:counter|gauge|histogram)$/, "$name$labels has a type";
            ok !defined $sample{"$name$labels"}, "... and is there once";
            $sample{"$name$labels"} = $value;
            push @bucket, $value if $name =~ /_bucket\z/;
        } else {
            fail "not the format: $line";
        }
    }
    is_deeply \%type, { http_requests_total => 'counter', http_requests_busy => 'gauge', http_request_seconds => 'histogram' }, 'types';
    is_deeply \@bucket, [ sort { $a <=> $b } @bucket ], 'buckets are cumulative';
    is $sample{'http_request_seconds_bucket{le="+Inf"}'}, $sample{http_request_seconds_count}, 'the last one has all';
};

done_testing;
