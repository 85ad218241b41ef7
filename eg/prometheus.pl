#!/usr/bin/env perl
# Metrics that worker processes share, printed in the text format of Prometheus. A
# worker counts with one atomic addition; the worker that is asked for /metrics reads what
# all of them have counted, including dead ones.
use strict;
use warnings;
use Data::Pool::Shared;

my $WORKERS  = 4;
my $REQUESTS = 5_000;                          # of each worker
my @STATUS   = (200,   404,   500);
my @BUCKETS  = (0.005, 0.025, 0.1, '+Inf');    # seconds, upper bounds

# A slot for each number, allocated before fork and found by name.
my $counts  = Data::Pool::Shared::I64->new(undef, 32);
my $seconds = Data::Pool::Shared::F64->new(undef, 1);
my %count   = map { $_ => $counts->alloc } (map {"status $_"} @STATUS), (map {"bucket $_"} @BUCKETS), 'busy';
my $total   = $seconds->alloc;
$counts->disown($_) for values %count;         # they outlive everybody: no recovery takes them
$seconds->disown($total);

sub observe {
    my ($status, $took) = @_;
    my ($bucket) = grep { $_ eq '+Inf' || $took <= $_ } @BUCKETS;
    $counts->add_n([ @count{ "status $status", "bucket $bucket" } ], 1);
    $seconds->add($total, $took);
    return;
}

sub metrics {
    my $text = "# HELP http_requests_total Requests by status.\n# TYPE http_requests_total counter\n";
    $text .= sprintf "http_requests_total{status=\"%s\"} %d\n", $_, $counts->get($count{"status $_"}) for @STATUS;
    $text .= "# HELP http_requests_busy Requests being worked on.\n# TYPE http_requests_busy gauge\n";
    $text .= sprintf "http_requests_busy %d\n", $counts->get($count{busy});
    $text .= "# HELP http_request_seconds How long requests took.\n# TYPE http_request_seconds histogram\n";
    my $so_far = 0;
    for my $bucket (@BUCKETS) {
        $so_far += $counts->get($count{"bucket $bucket"});
        $text .= sprintf "http_request_seconds_bucket{le=\"%s\"} %d\n", $bucket, $so_far;
    }
    return $text . sprintf "http_request_seconds_sum %.3f\nhttp_request_seconds_count %d\n", $seconds->get($total), $so_far;
}

for my $worker (1 .. $WORKERS) {
    my $pid = fork // die "fork: $!\n";
    next if $pid;
    for my $request (1 .. $REQUESTS) {
        $counts->incr($count{busy});
        observe($request % 100 == 0 ? 500 : $request % 10 == 0 ? 404 : 200, ($request % 4 + 1) / 64);
        $counts->decr($count{busy});
    }
    exit 0;
}
my $failed = 0;
while (wait > 0) { $failed ||= $? }
print metrics();

# Do the numbers add up?
my ($all, $errors) = ($WORKERS * $REQUESTS, $WORKERS * $REQUESTS / 100);
my $text = metrics();
my $ok =
      !$failed
    && $text =~ /^http_requests_total\{status="500"\} $errors$/m
    && $text =~ /^http_request_seconds_count $all$/m
    && $text =~ /^http_requests_busy 0$/m
    && $seconds->get($total) == $all * (1 + 2 + 3 + 4) / 4 / 64;
print STDERR "WRONG\n" if !$ok;
exit($ok ? 0 : 1);
