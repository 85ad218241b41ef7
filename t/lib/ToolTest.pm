package ToolTest;

# Runs the program shmpool as a user would.

use strict;
use warnings;
use Config;
use Cwd      ();
use Exporter qw(import);
use JSON::PP ();
use POSIX    ();
use PoolTest qw(perl temp_path write_file read_file);
use Test::More;

our @EXPORT_OK = qw(shmpool_in_shell shmpool shmpool_reads succeeds json fails leave_stale has_utf8_locale);

# The words that run it with the library under test.
sub _words {
    my ($script) = grep {-e} 'blib/script/shmpool', 'script/shmpool';
    return (perl(), Cwd::abs_path($script));
}

sub shmpool_in_shell {
    return join ' ', map { "'" . s/'/'\\''/gr . "'" } _words();
}

# Run it with something on standard input: its exit status, or the name of the
# signal that ended it; standard output; standard error.
sub shmpool_reads {
    my ($input, @words) = @_;
    my $in  = write_file(temp_path('in'), $input);
    my $pid = fork // die "fork: $!";
    if (!$pid) {
        open STDIN,  '<', $in              or POSIX::_exit(3);
        open STDOUT, '>', temp_path('out') or POSIX::_exit(3);
        open STDERR, '>', temp_path('err') or POSIX::_exit(3);
        exec _words(), @words or POSIX::_exit(3);
    }
    waitpid $pid, 0;
    my $status = $? & 127 ? (split ' ', $Config{sig_name})[ $? & 127 ] : $? >> 8;
    return ($status, map { read_file(temp_path($_)) } qw(out err));
}

sub shmpool { my @words = @_; return shmpool_reads('', @words) }

sub succeeds {
    my @words = @_;
    my ($status, $out, $err) = shmpool(@words);
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    is "$status$err", '0', "shmpool @words: succeeds, and complains about nothing";
    return $out;
}

sub json { my @words = @_; return JSON::PP->new->utf8->allow_nonref->decode(succeeds(@words, '--json')) }

# Errors are one line on standard error and status 2.
sub fails {
    my ($words, $message) = @_;
    my ($status, $out, $err) = shmpool(@$words);
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    is $status, 2, "shmpool @$words: status 2";
    like $err, qr/\Ashmpool: [^\n]*$message[^\n]*\n\z/, 'one line that says what is wrong';
    return $out;
}

# Slots of a process that is dead; its PID.
sub leave_stale {
    my ($pool, $slots) = @_;
    my $pid = fork // die "fork: $!";
    if (!$pid) { $pool->alloc_n($slots); kill KILL => $$ }
    waitpid $pid, 0;
    return $pid;
}

# Is there a locale in which shmpool may print more than ASCII?
sub has_utf8_locale {
    my $before = POSIX::setlocale(POSIX::LC_CTYPE());
    my $has    = POSIX::setlocale(POSIX::LC_CTYPE(), 'C.UTF-8');
    POSIX::setlocale(POSIX::LC_CTYPE(), $before);
    return $has;
}

1;
