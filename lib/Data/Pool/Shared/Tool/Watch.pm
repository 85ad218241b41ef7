package Data::Pool::Shared::Tool::Watch;

use 5.022;
use strict;
use warnings;
use POSIX       ();
use Time::HiRes ();
use Data::Pool::Shared;
use Data::Pool::Shared::Tool::Sample;
use Data::Pool::Shared::Tool::Screen;
use Data::Pool::Shared::Tool::Text qw(json_line path_text);
use Data::Pool::Shared::Tool::View;

our $VERSION = '1.000';

my $SHORTEST   = 0.05;                          # seconds between two looks
my $PAGE       = 20;                            # plain lines between two headings
my @LINE_RATES = qw(alloc free wait timeout);

sub watch {
    my ($options, $path) = @_;
    my $interval = $options->{interval} // 1;
    die "watch: the interval must be at least $SHORTEST seconds\n" if !($interval >= $SHORTEST && $interval < 1e6);
    die "watch: the count must be at least 1\n"                    if defined $options->{count} && $options->{count} < 1;

    my $pool     = Data::Pool::Shared->attach($path, { readonly => 1 });
    my $terminal = POSIX::isatty(0) && POSIX::isatty(1) && ($ENV{TERM} // 'dumb') ne 'dumb';
    my %watch    = (pool => $pool, path => $path, file => _file($path), interval => $interval, count => $options->{count});
    return $options->{json} ? _lines(\%watch, \&_json) : $terminal ? _live(\%watch) : _lines(\%watch, \&_plain);
}

# ---- plain lines

sub _lines {
    my ($watch, $print) = @_;
    my $sample;
    local $| = 1;
    for (my $looks = 0; !defined $watch->{count} || $looks < $watch->{count}; $looks++) {
        Time::HiRes::sleep($watch->{interval}) if $looks > 0;
        $sample = Data::Pool::Shared::Tool::Sample->take($watch->{pool}, $sample);
        $print->($sample, $looks, $watch) or die "cannot write the output: $!\n";
    }
    return;
}

sub _json {
    my ($sample, undef, $watch) = @_;
    my %line =
        (%{ $sample->{counts} }, path => path_text($watch->{path}), stale => $sample->{stale}, rates => $sample->{rates}, time => time);
    $line{size}    = delete $line{mmap_size};
    $line{holders} = [
        map {
            my $holder = $_;
            +{ map { $_ => $holder->{$_} } qw(pid slots state age command) }
        } @{ $sample->{holders} }
    ];
    return print json_line(\%line);
}

sub _plain {
    my ($sample, $looks) = @_;
    my $format = join('  ', '%9s', '%7s', '%7s', map {'%10s'} @LINE_RATES) . "\n";
    printf $format, qw(used stale waiters), map {"$_/s"} @LINE_RATES if $looks % $PAGE == 0;
    my @rates = map { defined $_ ? sprintf '%.0f', $_ : '-' } @{ $sample->{rates} }{@LINE_RATES};
    return printf $format, $sample->{counts}{used}, $sample->{stale}, $sample->{counts}{waiters}, @rates;
}

# ---- the live view

# Whatever ends it, the terminal is given back first. A signal that ends it then
# does what it would have done.
sub _live {
    my ($watch) = @_;
    my $screen = Data::Pool::Shared::Tool::Screen->new;
    my $signal;
    my $ok = eval {
        local @SIG{qw(INT TERM HUP QUIT)} = (sub { ($signal) = @_; die "stopped by SIG$signal\n" }) x 4;
        local $SIG{WINCH}                 = sub { };                                                       # the wait for a key ends
        local $SIG{TSTP}                  = sub { _suspend($screen) };
        $screen->start;
        _refresh($watch, $screen);
        1;
    };
    my $error = $@;
    $screen->stop;
    kill $signal => $$ if $signal;
    die $error if !$ok;
    return;
}

sub _suspend {
    my ($screen) = @_;
    $screen->stop;
    kill STOP => $$;
    $screen->start;
    return;
}

sub _refresh {
    my ($watch, $screen) = @_;
    my $view = Data::Pool::Shared::Tool::View->new($watch->{pool}, $watch->{path});
    my ($sample, $due) = (undef, 0);
    for (my $looks = 0;;) {
        if (_now() >= $due) {
            return if defined $watch->{count} && $looks++ >= $watch->{count};
            $sample = Data::Pool::Shared::Tool::Sample->take($watch->{pool}, $sample);
            $due    = _now() + $watch->{interval};
        }
        $screen->draw($view->lines($sample, _note($watch), $screen->size));
        my $key = $screen->key($due - _now());
        return if defined $key && ($key eq '' || lc $key eq 'q');
    }
}

sub _now { return Time::HiRes::clock_gettime(Time::HiRes::CLOCK_MONOTONIC()) }

# Is the pool that we look at still the one at this path?
sub _note {
    my ($watch) = @_;
    my $file = _file($watch->{path});
    return $file eq $watch->{file} ? '' : $file eq '' ? 'file removed' : 'file replaced by another';
}

sub _file {
    my ($path) = @_;
    return join ':', (stat $path)[ 0, 1 ];
}

1;

__END__

=encoding utf8

=head1 NAME

Data::Pool::Shared::Tool::Watch - shmpool's command that goes on looking at a pool

=head1 SYNOPSIS

    use Data::Pool::Shared::Tool::Watch;
    Data::Pool::Shared::Tool::Watch::watch({ interval => 0.5, count => 2 }, '/dev/shm/jobs');

=head1 FUNCTIONS

=head2 watch

    watch(\%options, $path);

The command of the same name of L<shmpool>, with its options. On a terminal it is a live
view, otherwise it prints lines; see L<Data::Pool::Shared::Tool::View>.

=head1 LICENSE

This is free software; you can redistribute it and/or modify it under the same terms as
Perl itself.

=cut
