# shmpool watch in a real terminal: keys are sent to it, and its screen is read back.
use strict;
use warnings;
use utf8;
use Test::More;
use lib 't/lib';
use POSIX       ();
use PoolTest    qw(perl temp_folder temp_path wait_until write_file read_file);
use Time::HiRes qw(sleep);
use ToolTest    qw(shmpool_in_shell leave_stale);
use Data::Pool::Shared;

grep { -x "$_/tmux" } split /:/, $ENV{PATH} or plan skip_all => 'needs tmux, which is not installed';
binmode $_, ':encoding(UTF-8)' for map { Test::More->builder->$_ } qw(output failure_output todo_output);

my $utf8   = POSIX::setlocale(POSIX::LC_CTYPE(), 'C.UTF-8') && 'C.UTF-8';
my $main   = $$;
my $socket = "shmpool-test-$$";
# What is typed is short: the terminal is narrow.
chmod 0755, write_file(temp_path('shmpool'), qq{#!/bin/sh\nexec @{[shmpool_in_shell()]} "\$@"\n}) or die $!;
$ENV{PATH} = temp_folder() . ":$ENV{PATH}";

# The server of tmux has its socket in the test's folder, and ends with the test,
# also if that is killed.
$ENV{TMUX_TMPDIR} = temp_folder();
delete @ENV{qw(TMUX NO_COLOR ENV)};
END { tmux('kill-server') if ($main // 0) == $$ }    # not if all was skipped

sub tmux {
    my @words = @_;
    local $?;
    open my $out, '-|:encoding(UTF-8)', 'sh', '-c', 'exec "$@" 2>>"$TMUX_TMPDIR/errors"', 'sh', 'tmux', '-u', '-L', $socket, '-f',
        '/dev/null', @words
        or die "tmux: $!";
    return join '', readline $out;
}

my $session = 'none';
sub screen { return tmux('capture-pane', '-p', '-t',     $session) }
sub type   { return tmux('send-keys',    '-t', $session, @_) }

# Wait until the screen matches. What is there then is captured once more in the
# message, if it never does.
sub shows {
    my ($pattern, $name) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    return ok(wait_until { screen() =~ $pattern or sleep 0.03 and 0 }, $name)
        || diag("the screen:\n" . screen() . read_file(temp_path('errors')));
}

# How many cells of the map show a glyph. Rows of the map begin with a slot's number.
sub cells {
    my ($glyph) = @_;
    my $map     = join '', screen() =~ /^ *\d+ (\S+)$/mg;
    return scalar(() = $map =~ /\Q$glyph\E/g);
}

sub counts {
    my ($expected, $name) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my $got = sub {
        join ' ', map { "$_" . cells($_) } sort keys %$expected;
    };
    my $all = join ' ', map {"$_$expected->{$_}"} sort keys %$expected;
    return ok(wait_until { $got->() eq $all or sleep 0.03 and 0 }, $name) || diag("expected $all; the screen:\n" . screen());
}

# Runs of a glyph in a line: colour and length.
sub coloured {
    my ($line,   $glyph) = @_;
    my ($colour, @runs)  = ('');
    for my $part ($line =~ /(\e\[[\d;]*m|\Q$glyph\E+)/g) {
        if ($part =~ /^\Q$glyph\E/) { push @runs, [ $colour, length $part ] }
        else {
            for my $code (split /;/, $part =~ s/[^\d;]//gr || 0) {
                $colour = $code =~ /^(?:0|39)$/ ? '' : $code =~ /^[39]\d$/ ? $code : $colour;
            }
        }
    }
    return @runs;
}

# A shell in a terminal of that size, with something on its screen.
my $shell_number = 0;

sub new_shell {
    my ($columns, $rows, %environment) = @_;
    my $before = $session;
    $session = 'shell' . ++$shell_number;
    my @set = map {"$_=$environment{$_}"} sort keys %environment;
    tmux('new-session',  '-d', '-s', $session, '-x', $columns, '-y', $rows, 'env', 'PS1=prompt>', @set, 'sh', '-i');
    tmux('run-shell',    '-b', "while kill -0 $$; do sleep 1; done; kill #{pid}") if $shell_number == 1;
    tmux('kill-session', '-t', $before) if $shell_number > 1;    # only now: without any session the server ends
    shows(qr/prompt>/, 'a shell in a terminal');
    type("stty -a | cksum; echo be'fore'", 'Enter');
    shows(qr/before\n/, 'with something on its screen');
    return;
}

# The terminal is as new_shell() left it: text, settings, cursor, echo.
sub is_restored {
    my ($status, $name) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    shows(qr/before\nprompt>.*prompt>\s*\z/s, "$name: the shell's screen is back");
    my ($was) = screen() =~ /^(\d+ \d+)\n/m;
    type("echo sta'tus' \$?; stty -a | cksum; echo af'ter'", 'Enter');
    shows(qr/status $status\n\Q$was\E\nafter/, "$name: status $status, and the terminal's settings are as before");
    is tmux('display-message', '-p', '-t', $session, '#{cursor_flag} #{alternate_on}'), "1 0\n", "$name: the cursor is visible";
    return;
}

my $watch = "shmpool watch --interval 0.1";
my $path  = temp_path('pool');
my $pool  = Data::Pool::Shared::I64->new($path, 200);
my $slots = $pool->alloc_n(60);
my $dead  = leave_stale($pool, 20);

SKIP: {
    skip 'the locale C.UTF-8 is missing', 1 if !$utf8;
    subtest 'the view follows the pool' => sub {
        new_shell(80, 24, LC_ALL => $utf8);
        type("$watch $path", 'Enter');
        counts({ '█' => 60, '▚' => 20, '·' => 120 }, 'a cell for each slot: mine, stale, free');
        shows(qr/^shmpool  \Q$path\E +\d\d:\d\d:\d\d$/m,                               'title and time');
        shows(qr/^used 80 of 200 \(40 %\)   stale 20   waiters 0   I64, 8 B a slot$/m, 'usage');
        shows(qr/^alloc 0   free 0   wait 0   timeout 0   recovery 0   per second$/m,  'rates');
        shows(qr/^ █ +$$ +60 +30 % +\d[\d.]*[smh][\dm]* +\w/m,                         'the table has me');
        shows(qr/^ ▚ +$dead +20 +10 % .* stale$/m,                                     'and the dead');
        shows(qr/^q leaves   █ used  · free  ▚ stale   a cell: a slot$/m,              'the last line tells the signs');
        unlike screen(), qr/before/, 'what was on the screen is out of sight';

        $pool->free_n([ splice @$slots, 0, 25 ]);
        counts({ '█' => 35, '▚' => 20, '·' => 145 }, 'freed slots leave the map');
        $pool->recover_stale;
        counts({ '█' => 35, '▚' => 0, '·' => 165 }, 'recovered ones, too');
        shows(qr/^used 35 of 200 .* stale 0 /m, 'and are not stale any more');

        my $busy = fork // die "fork: $!";
        if (!$busy) {
            while (getppid == $main) { $pool->free($pool->alloc); select undef, undef, undef, 0.0005 }
            POSIX::_exit(0);
        }
        shows(qr/^alloc [1-9]\d+   free [1-9]\d+ /m, 'rates of one who works');
        kill KILL => $busy;
        waitpid $busy, 0;
        $pool->recover_stale;

        my $taken  = $pool->alloc_n($pool->available);
        my $waiter = fork // die "fork: $!";
        if (!$waiter) { $pool->alloc; POSIX::_exit(0) }
        shows(qr/waiters 1 /, 'one who waits');
        $pool->free_n($taken);
        waitpid $waiter, 0;
        $pool->recover_stale;

        type('x');
        counts({ '█' => 35, '·' => 165 }, 'other keys do nothing');
        type('q');
        is_restored(0, 'q');
    };

    subtest 'the view fits the terminal, and follows its size' => sub {
        new_shell(80, 24, LC_ALL => $utf8);
        my $large = Data::Pool::Shared->new(temp_path('large'), 100_000, 1);
        $large->alloc_n(50_000);
        type("$watch " . temp_path('large'), 'Enter');
        shows(qr/a cell: 87 slots$/m, 'a large pool: a cell for many slots');
        for my $size ([ 40, 12 ], [ 200, 50 ], [ 37, 9 ], [ 133, 7 ]) {
            my ($columns, $rows) = @$size;
            tmux('resize-window', '-t', $session, '-x', $columns, '-y', $rows);
            my $top = substr "used 50000 of 100000 (50 %)   stale 0   waiters 0   raw, 1 B a slot", 0, $columns;
            s/ +\z// for $top;    # tmux does not tell blanks at the end
            my $bottom = substr "q leaves   ▁█ used  · free  ▚ stale", 0, $columns;
            shows(qr/\A(?=shmpool )[^\n]{1,$columns}\n\Q$top\E *\n(?:[^\n]{0,$columns}\n){@{[$rows - 3]}}\Q$bottom\E[^\n]*\n?\z/,
                "$columns x $rows");
            my ($half, $full) = (cells('·'), cells('█'));
            ok $half > 0 && $full > 0 && abs($half - $full) <= $half / 2, "$columns x $rows: the map is there, half of it full"
                if $columns >= 40;
        }
        for my $size ([ 20, 5 ], [ 9, 2 ], [ 3, 1 ]) {
            my ($columns, $rows) = @$size;
            tmux('resize-window', '-t', $session, '-x', $columns, '-y', $rows);
            my $top = substr 'used 50000 of 100000', 0, $columns;
            shows(qr/\A\Q$top\E *\n(?:[█▁-█·]+\n){@{[$rows - 1]}}\z/, "$columns x $rows: usage and map only");
        }
        tmux('resize-window', '-t', $session, '-x', 80, '-y', 24);
        shows(qr/a cell: 87 slots$/m, 'and back');
        type('q');
        is_restored(0, 'q');
    };

    subtest 'colours tell owners apart' => sub {
        my $shared = Data::Pool::Shared::I64->new(temp_path('shared'), 60);
        my @slots  = map { $shared->alloc } 1 .. 20;
        my $child  = fork // die "fork: $!";
        if (!$child) { $shared->alloc_n(20); sleep 1 while getppid == $main; POSIX::_exit(0) }
        wait_until { $shared->used == 40 };
        new_shell(80, 24, LC_ALL => $utf8);
        type("$watch " . temp_path('shared'), 'Enter');
        counts({ '█' => 40, '·' => 20 }, 'two owners');
        my $styled = tmux('capture-pane', '-e', '-p', '-t', $session);
        my (%colour, %cells);

        for my $line (split /\n/, $styled) {
            my @runs = coloured($line, '█');
            if ($line =~ /%/) { $colour{$1} = $runs[0][0] if $line =~ /█\S* +(\d+) / }
            else              { $cells{ $_->[0] } += $_->[1] for @runs }
        }
        delete $cells{''};    # the last line's
        ok $colour{$$} && $colour{$child} && $colour{$$} != $colour{$child}, 'have two colours in the table';
        is_deeply \%cells, { map { $_ => 20 } @colour{ $$, $child } }, 'and the same ones on the map' or diag explain $styled;
        type('q');

        new_shell(80, 24, LC_ALL => $utf8, NO_COLOR => 1);
        type("$watch " . temp_path('shared'), 'Enter');
        counts({ '█' => 40, '·' => 20 }, 'with NO_COLOR');
        unlike tmux('capture-pane', '-e', '-p', '-t', $session), qr/\e\[[\d;]*m/, 'there are none';
        type('q');
        kill KILL => $child;
        waitpid $child, 0;
    };
}

subtest 'ASCII where the locale has no more' => sub {
    leave_stale($pool, 20);
    new_shell(80, 24, LC_ALL => 'C');
    type("$watch $path", 'Enter');
    counts({ '@' => 35, 'X' => 20, '.' => 145 }, 'the map');
    like screen(), qr/\A[\x00-\x7f]+\z/, 'nothing but ASCII';
    type('q');
    is_restored(0, 'q');
};

subtest 'whatever ends it, the terminal is given back' => sub {
    my $start = sub {
        new_shell(80, 24, LC_ALL => 'C');
        type("$watch @_", 'Enter');
        shows(qr/^q leaves /m, 'the view is there');
    };
    $start->($path);
    type('C-c');
    is_restored(130, 'Ctrl-C');

    $start->("$path; :");
    my ($pid) = grep { readlink("/proc/$_/exe") && cmdline($_) =~ /watch .*\Q$path\E/ } map {m{(\d+)}} glob '/proc/[0-9]*';
    kill TERM => $pid;
    is_restored(0, 'SIGTERM');

    $start->($path);
    type('C-z');
    shows(qr/before\nprompt>.*Stopped.*prompt>\s*\z/s, 'Ctrl-Z: the shell');
    type('fg', 'Enter');
    shows(qr/^q leaves /m, 'fg: the view again');
    counts({ '@' => 35, 'X' => 20, '.' => 145 }, 'all of it');
    type('q');
    shows(qr/before\nprompt>.*prompt>\s*\z/s, 'and q leaves');

    my $cut = temp_path('cut');
    Data::Pool::Shared->new($cut, 100, 4096)->alloc;
    $start->($cut);
    truncate $cut, 4096;
    shows(qr/shmpool: a file has lost its end/, 'a file that is cut short: the error is on the shell\'s screen');
    is_restored(2, 'an error');

    $start->($path);
    unlink $path;
    shows(qr/^shmpool  \Q$path\E  \(file removed\)/m, 'a file that is removed: it says so');
    my $other = Data::Pool::Shared::I64->new($path, 10);
    shows(qr/\(file replaced by another\)/, 'and that another is there');
    type('q');
};

subtest 'cleanup asks on a terminal' => sub {
    my $namespace = temp_path('namespace');
    { local $ENV{IPC_SHM_NAMESPACE} = $namespace; system(perl(), '-e', 'use IPC::Shm; our $here : shm = 1') == 0 or die $? }
    new_shell(80, 24, IPC_SHM_NAMESPACE => $namespace);
    for my $no ('n', '') {
        type('shmpool cleanup', 'Enter');
        shows(qr/Remove the only variable of \Q$namespace\E\? \[y\/N\]\s*\z/, 'the question');
        type($no, 'Enter');
        shows(qr/nothing was removed\nprompt>\s*\z/, "\"$no\" is no");
        ok -e $namespace, 'all is there';
        type('clear', 'Enter');
        shows(qr/\Aprompt>\s*\z/, 'a clean screen');
    }
    type('shmpool cleanup', 'Enter');
    shows(qr/\[y\/N\]\s*\z/, 'the question again');
    type('y', 'Enter');
    shows(qr/1 variable removed\nprompt>\s*\z/, '"y" is yes');
    ok !-e $namespace, 'the namespace is gone';
};

sub cmdline {
    my ($pid) = @_;
    open my $file, '<', "/proc/$pid/cmdline" or return '';
    return join ' ', split /\0/, readline($file) // '';
}

done_testing;
