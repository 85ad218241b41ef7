package KillPoint;

# One operation on shared variables, one victim that is killed at one point of it,
# and what must hold of the namespace after that. Each kill point has a namespace
# and a survivor of its own. An operation is a hash:
#
#   name, before    what the variables hold: { '%h' => {...}, '$s' => ... }
#   setup           the survivor, after that
#   prepare, run    the victim: before the operation, and the operation itself
#   after, also     what the variables hold when it is complete, and may hold on
#                   the way there (a list); `after` only names what is different
#   started         the survivor, when the victim stands before the operation
#   wake            the survivor, when the victim sleeps
#   meanwhile       the survivor, while the victim stands; then that goes on to its end
#   met             whether that was well: gets what `run` returned, returns complaints
#   every           not at each event, but at every so many
#   all             loads from shared memory are events, not only stores
#   locks           the victim may keep readers out: nobody reads while it lives
#   settle          the survivor, after the kill: gives back what setup took
#   check           the survivor, at the end: more that must hold; returns complaints
#   kept            references to variables without a name that the survivor holds
#   let_go          the survivor, at the end: lets go of them
#   survive         the survivor, instead of all that is done after the kill
#   late            names that the survivor declares only after the kill
#   closed          … all of them: it has not opened the namespace before
#   follow          the child that the operation forks is the victim
#   exits           the operation ends the process

use strict;
use warnings;
use Exporter     qw(import);
use File::Path   qw(remove_tree);
use File::Temp   qw(tempdir);
use IO::Handle   ();
use List::Util   qw(sum0);
use POSIX        ();
use Scalar::Util qw(blessed refaddr reftype);
use Storable     qw(dclone);
use Test::More   ();
use IPC::Shm;
use Step;

# The same order of keys in each run: all kill points are those of one path.
BEGIN {
    if (($ENV{PERL_HASH_SEED} // '') ne '0') {
        $ENV{PERL_HASH_SEED} = 0;
        exec $^X, (map {"-I$_"} @INC), $0, @ARGV or die "cannot start anew: $!";
    }
}

our @EXPORT =
    qw(prove_operations declare undeclare report stage same text_of state_of state_with use_all check_counts await_sleep die_in namespace);

our $patience = $ENV{SHM_STEP_PATIENCE} || 20;    # seconds until what goes on counts as hanging

my $folder;                                       # the namespace
my $to_controller;                                # what the survivor reports
my $stage = '';

sub namespace { return $folder }

# --- variables -------------------------------------------------------------

sub reference_to {
    my ($name) = @_;
    my ($sigil, $rest) = $name =~ /\A(.)(.*)\z/;
    no strict 'refs';    ## no critic (by name)
    return $sigil eq '$' ? \${"main::$rest"} : $sigil eq '@' ? \@{"main::$rest"} : \%{"main::$rest"};
}

sub declare {
    for my $name (@_) { eval "package main; our $name : shm; 1" or die $@ }    ## no critic (by name)
    return;
}

sub undeclare {
    for my $name (@_) {
        my $reference = reference_to($name);
        if    ($name =~ /\A\$/) { untie $$reference; undef $$reference }
        elsif ($name =~ /\A\@/) { untie @$reference }
        else                    { untie %$reference }
    }
    return;
}

sub object_of {
    my ($reference) = @_;
    return reftype($reference) eq 'HASH' ? tied %$reference : reftype($reference) eq 'ARRAY' ? tied @$reference : tied $$reference;
}

sub assign {
    my ($name, $value) = @_;
    my $reference = reference_to($name);
    if    ($name =~ /\A\$/) { $$reference = $value }
    elsif ($name =~ /\A\@/) { @$reference = @$value }
    else                    { %$reference = %$value }
    return;
}

# What something refers to, in full, as text. Things that were seen are numbered.
sub text_of {
    my ($value, $seen) = @_;
    $seen ||= {};
    return defined $value ? "'$value'" : 'undef' if !ref $value;
    my $known = \$seen->{ refaddr $value };
    return "#$$known" if $$known;
    $$known = keys %$seen;
    my $class = blessed $value;
    my $type  = reftype $value;
    my $inside =
          $type eq 'HASH'  ? '{' . join(',', map { "$_=" . text_of($value->{$_}, $seen) } sort keys %$value) . '}'
        : $type eq 'ARRAY' ? '[' . join(',', map { text_of($_, $seen) } @$value) . ']'
        :                    '\\' . text_of($$value, $seen);
    return (defined $class ? "$class:" : '') . $inside;
}

sub state_of {
    my (@names) = @_;
    return join ' ', map { "$_ " . text_of(reference_to($_)) } @names;
}

# The state in which the variables hold this.
sub state_with {
    my (%holds) = @_;
    return join ' ', map { "$_ " . text_of(/\A\$/ ? \$holds{$_} : $holds{$_}) } sort keys %holds;
}

# (containers, references in them) that lead from here.
sub reachable {
    my (@references) = @_;
    my (%seen, $references);
    while (my $container = shift @references) {
        next if $seen{ refaddr $container }++;
        my $type   = reftype $container;
        my @inside = grep {ref} $type eq 'HASH' ? values %$container : $type eq 'ARRAY' ? @$container : $$container;
        $references += @inside;
        push @references, @inside;
    }
    return (scalar keys %seen, $references || 0);
}

# --- what must hold ----------------------------------------------------------

sub say_to_controller {
    my ($what, $text) = @_;
    $text =~ s/\n+/ /g;
    $text =~ s/((.)\g2{30,})/"$2 x " . length $1/ge;
    syswrite $to_controller, "$what $text\n";
    return;
}

sub report {
    my (@complaints) = @_;
    say_to_controller('complaint', "$stage: $_") for @complaints;
    return;
}

# Where it is, for the case that it hangs.
sub stage {
    ($stage) = @_;
    say_to_controller('stage', $stage);
    alarm $patience;
    return;
}

sub same {
    my ($got, $wanted, $what) = @_;
    report("$what: $got, not $wanted") if $got ne $wanted;
    return;
}

# Each variable can be locked, and changed, at once; it is left as it was.
sub use_all {
    my (@names) = @_;
    for my $name (@names) {
        my $reference = reference_to($name);
        my $object    = object_of($reference);
        same($object->writelock(0) // 'undef', 1, "a lock on $name");
        $object->unlock;
        if ($name =~ /\A%/) {
            $reference->{PROBE} = 'x' x 300;
            same(delete $reference->{PROBE}, 'x' x 300, "what was stored in $name");
        } elsif ($name =~ /\A\@/) {
            push @$reference, 'x' x 300;
            same(pop @$reference, 'x' x 300, "what was stored in $name");
        } else {
            my $value = $$reference;
            $$reference = 'x' x 300;
            same($$reference, 'x' x 300, "what was stored in $name");
            $$reference = $value;
        }
    }
    return;
}

# After recovery: the counts of the namespace agree with what is there. The
# survivor has looked at everything, so it is attached once to each variable.
sub check_counts {
    my ($operation) = @_;
    my @names       = names_of($operation);
    my $named       = @names;
    my ($variables, $inside) = reachable((map { reference_to($_) } @names), $operation->{kept} ? $operation->{kept}->() : ());
    my $stats    = IPC::Shm->stats;
    my @list     = IPC::Shm->list;
    my $payload  = $stats->{block_size} - 16;
    my $attached = grep {
        grep { $_ == $$ }
            @{ $_->{attached} }
    } @list;

    same($stats->{named},                $named,     'names');
    same($stats->{variables},            $variables, 'variables');
    same($stats->{attachments},          $variables, 'attachments');
    same($attached,                      $variables, 'variables that the survivor is attached to');
    same($stats->{blocks},               sum0(map { int(($_->{bytes} + $payload - 1) / $payload) } @list), 'blocks');
    same(sum0(map { $_->{refs} } @list), $named + $variables + $inside,                                    'references counted');
    same(IPC::Shm->recover,              0,                                                                'left for a second recovery');
    same(sum0(map { scalar @{ $_->{readers} } } @list),    0,                                              'read locks');
    same(sum0(map { defined $_->{writer} ? 1 : 0 } @list), 0,                                              'write locks');
    return;
}

# A program that has never seen the namespace opens it, and finds the same.
sub stranger {
    my ($go, $tell, $directory, $names) = @_;
    sysread $go, my $text, 1 or POSIX::_exit(0);
    my $found = eval {
        IPC::Shm->import(namespace => $directory);
        declare(@$names);
        my $state = state_of(@$names);
        use_all(@$names);
        undeclare(@$names);
        $state;
    };
    syswrite $tell, defined $found ? $found : "an exception: $@";
    POSIX::_exit(0);
}

# Kill another process when its operation has had so many events.
sub die_in {
    my ($events, $run) = @_;
    my $pid = Step::start(folder => $folder, run => $run);
    Step::run($pid, $events);
    Step::kill($pid);
    waitpid $pid, 0;
    return;
}

# Until a process sleeps in the kernel, waiting for others.
sub await_sleep {
    my ($pid) = @_;
    while (1) {
        open my $from, '<', "/proc/$pid/syscall" or die "no process: $!";
        return if (<$from> // '') =~ /\A202 /;    # futex
        select undef, undef, undef, 0.0005;
    }
}

# --- one kill point ------------------------------------------------------------

sub names_of { my ($operation) = @_; return sort keys %{ $operation->{before} } }

# Those of them that the survivor knows from the start.
sub early {
    my ($operation) = @_;
    return () if $operation->{closed};
    my %late = map { $_ => 1 } @{ $operation->{late} || [] };
    return grep { !$late{$_} } names_of($operation);
}

sub is_late { my ($operation) = @_; return $operation->{closed} || $operation->{late} }

# The states that may be found, in their order.
sub states_of {
    my ($operation) = @_;
    my %before = %{ $operation->{before} };
    return map { state_with(%before, %$_) } {}, @{ $operation->{also} || [] }, $operation->{after} || {};
}

sub set_up {
    my ($operation) = @_;
    IPC::Shm->import(namespace => $folder);
    IPC::Shm::Tied->Size(256);
    my @names = early($operation);
    declare(@names);
    for my $name (@names) { my $value = $operation->{before}{$name}; assign($name, ref $value ? dclone($value) : $value) }
    $operation->{setup}->() if $operation->{setup};
    return;
}

# Run the victim to its n-th event; where it sleeps, the survivor wakes it. Returns
# what became of it, and its PID, which is its child's where that is followed.
sub run_to {
    my ($operation, $pid, $events) = @_;
    my $how = Step::run($pid, $events);
    while ($how eq 'asleep') {
        $operation->{wake} ? $operation->{wake}->() : report('the victim sleeps');
        $how = Step::run($pid, $events);
    }
    $how = 'finished'            if $how eq 'gone' && $operation->{exits};
    report("the victim is $how") if $how !~ /\A(?:there|finished)\z/;
    return ($how, $pid);
}

# Returns the PID of the victim, which stands at its n-th event, and whether it has
# finished. Where the two meet, it has, and has said what it found.
sub run_victim {
    my ($operation, $events) = @_;
    pipe my $told, my $tell or die $!;
    my $pid = Step::start(
        %$operation,
        folder => $folder,
        run    => sub {
            my $found = $operation->{run}->();
            syswrite $tell, $found if $operation->{meanwhile};
        }
    );
    close $tell;
    $operation->{started}->() if $operation->{started};
    (my $how, $pid) = run_to($operation, $pid, $events);
    return ($pid, $how eq 'finished') if !$operation->{meanwhile};
    $operation->{meanwhile}->();
    my ($end) = run_to($operation, $pid, 1_000_000);
    report("the victim is $end") if $end ne 'finished';
    sysread $told, my $found, 100_000;
    report($operation->{met}->($found));
    return ($pid, $how eq 'finished');
}

# What was found must be one of the states, and the last one if all was done.
sub check_state {
    my ($operation, $finished, $at_start, $found) = @_;
    my @states = states_of($operation);
    @states = $states[0]  if $at_start && !$finished;
    @states = $states[-1] if $finished;
    report("found $found, not " . join ' or ', @states) if !grep { $_ eq $found } @states;
    return;
}

# Let go of everything. `recover` first, where others have.
sub let_go {
    my ($operation, $names) = @_;
    undeclare(@$names);
    $operation->{let_go}->() if $operation->{let_go};
    my @all = keys %IPC::Shm::NAMEVARS;
    delete $IPC::Shm::NAMEVARS{$_} for @all;
    return;
}

sub check_empty {
    my $stats = IPC::Shm->stats;
    same($stats->{$_}, 0, "$_ after all was let go") for qw(named variables attachments blocks);
    my @files = grep { !/\A(?:\.\.?|namespace|(?:vars|blocks|names|attach)\.\d+)\z/ } do { opendir(my $dir, $folder); readdir $dir };
    report("files: @files") if @files;
    IPC::Shm->cleanup;
    report('the namespace is still there after cleanup') if -e $folder;
    return;
}

# Everybody goes on at once, without a recovery.
sub go_on {
    my ($operation, $finished, $at_start, $names) = @_;
    my $read = sub { state_of(@$names) };
    declare(@$names) if is_late($operation);
    stage('reading');
    my $found = $read->();
    check_state($operation, $finished, $at_start, $found);
    stage('writing');
    use_all(@$names);
    same($read->(), $found, 'after writing');
    stage('reading anew');
    undeclare(@$names);
    declare(@$names);
    same($read->(), $found, 'read anew');
    return $found;
}

# Recovery comes first.
sub recover_first {
    my ($operation, $finished, $at_start, $names, $stranger) = @_;
    stage('recovering');
    IPC::Shm->recover;
    declare(@$names) if is_late($operation);
    stage('reading after recovery');
    my $found = state_of(@$names);
    check_state($operation, $finished, $at_start, $found);
    check_counts($operation);
    stage('another program');
    same($stranger->(), $found, 'another program finds');
    stage('after another program');
    use_all(@$names);
    same(state_of(@$names), $found, 'after writing');
    check_counts($operation);
    return $found;
}

# The survivor. It prints what it found, and complaints.
sub survive {
    my ($operation, $events, $recover, $stranger) = @_;
    my @names = names_of($operation);
    stage('setting up');
    set_up($operation);
    stage('running the victim');
    my ($pid, $finished) = run_victim($operation, $events);
    my $at_start = $events == 0;
    my $complete = $finished || defined $operation->{meanwhile};
    stage('reading while the victim stands');
    my $alive = $recover || $operation->{locks} || is_late($operation) ? undef : state_of(@names);
    Step::kill($pid) if $pid;
    waitpid $pid, 0 if $events % 2 == ($recover ? 0 : 1);    # else it stays a zombie
    stage('settling');
    $operation->{settle}->($recover) if $operation->{settle};
    my $found;
    if    ($operation->{survive}) { $found = $operation->{survive}->($operation, $complete, $at_start, $recover, $stranger) }
    elsif ($recover)              { $found = recover_first($operation, $complete, $at_start, \@names, $stranger) }
    else {
        $found = go_on($operation, $complete, $at_start, \@names);
        same($alive, $found, 'read while the victim stood') if defined $alive;
        stage('recovering');
        IPC::Shm->recover;
        same(state_of(@names), $found, 'after recovery');
        check_counts($operation);
    }
    stage('checking')                        if $operation->{check};
    report($operation->{check}->($finished)) if $operation->{check};
    stage('letting go');
    let_go($operation, \@names);
    check_empty();
    say_to_controller($finished ? 'finished' : 'there', $found);
    return;
}

# Kill the operation's victim at an event, in a namespace of its own. Returns a hash:
# finished, state, complaints.
sub kill_point {
    my ($operation, $events, $recover, $directory) = @_;
    $folder = $directory;
    pipe my $from_survivor, my $write or die $!;
    $to_controller = $write;
    defined(my $survivor = fork) or die "cannot fork: $!";
    if (!$survivor) {
        close $from_survivor;
        my $stranger = start_stranger($directory, [ names_of($operation) ]);
        my $ended    = eval { survive($operation, $events, $recover, $stranger); 1 };
        report("an exception: $@") if !$ended;
        POSIX::_exit(0);
    }
    close $write;
    undef $to_controller;
    my %result = (complaints => [], stage => '');
    my @lines  = <$from_survivor>;
    waitpid $survivor, 0;
    my $status = $?;
    for my $line (@lines) {
        chomp $line;
        if    ($line =~ /\Acomplaint (.*)/s)          { push @{ $result{complaints} }, $1 }
        elsif ($line =~ /\A(finished|there) (.*)\z/s) { @result{qw(finished state)} = ($1 eq 'finished', $2) }
        elsif ($line =~ /\Astage (.*)/)               { $result{stage} = $1 }
    }
    push @{ $result{complaints} }, "it hangs: $result{stage}"                     if $status == POSIX::SIGALRM();
    push @{ $result{complaints} }, "the survivor died of $status: $result{stage}" if $status != 0 && $status != POSIX::SIGALRM();
    return \%result;
}

# Returns the sub that lets the stranger go and returns what it found.
sub start_stranger {
    my ($directory, $names) = @_;
    pipe my $go,   my $let_go or die $!;
    pipe my $told, my $tell   or die $!;
    defined(my $pid = fork) or die "cannot fork: $!";
    if (!$pid) {
        close $let_go;
        stranger($go, $tell, $directory, $names);
    }
    close $tell;
    return sub {
        syswrite $let_go, 'x';
        my $text = do { local $/; <$told> };
        waitpid $pid, 0;
        return $text;
    };
}

# --- all points of all operations -------------------------------------------------

# Each operation is a test: it is killed after each event, and each time once with
# others that go on as if nothing had happened, once with a recovery at once. Where
# two meet, once. Only operations with @ARGV in their names, if there is one.
sub prove_operations {
    my (@operations) = @_;
    my $above = tempdir('shm-step-XXXXXX', (-w '/dev/shm' ? (DIR => '/dev/shm') : (TMPDIR => 1)), CLEANUP => 1);
    my ($total, $number) = (0, 0);
    local @SIG{qw(INT TERM HUP)} = (sub { exit 1 }) x 3;    # the folder is removed
    Step::stay();
    for my $operation (@operations) {
        next if @ARGV && index($operation->{name}, $ARGV[0]) < 0;
        my ($points, $failures) = (0, 0);
        for my $recover ($operation->{meanwhile} ? 1 : (0, 1)) {
            my ($some, $failed) = all_points($operation, $recover, "$above/namespace");
            $points   += $some;
            $failures += $failed;
            last if $failures && $ENV{SHM_STEP_FIRST};
        }
        Test::More::ok(!$failures, "$operation->{name}: $points " . ($operation->{meanwhile} ? 'meetings' : 'kill points'));
        $total += $points;
        $number++;
        last if $failures && $ENV{SHM_STEP_FIRST};
    }
    Test::More::note("$total points in $number operations");
    Test::More::isnt($number, 0, 'there are such operations');
    Test::More::done_testing();
    return;
}

# After two failures no more. With SHM_STEP_FIRST in the environment the first one is
# the end of it all.
sub all_points {
    my ($operation, $recover, $directory) = @_;
    my ($points, $failures) = (0, 0);
    my $enough = $ENV{SHM_STEP_FIRST} ? 1 : 2;
    while ($failures < $enough) {
        my $event      = $points * ($operation->{every} || 1);
        my $result     = kill_point($operation, $event, $recover, $directory);
        my @complaints = @{ $result->{complaints} };
        remove_tree($directory) if -e $directory;
        Test::More::diag("$operation->{name}, event $event" . ($recover ? ', recovered at once' : '') . ": $_")
            for splice @complaints, 0, 4;
        $failures += !!@{ $result->{complaints} };
        $points++;
        return ($points, $failures) if !defined $result->{finished} || $result->{finished};
        if ($points > 5000) { Test::More::diag("$operation->{name}: it does not end"); return ($points, 1) }
    }
    return ($points, $failures);
}

1;
