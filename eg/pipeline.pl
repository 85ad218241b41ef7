#!/usr/bin/env perl
# A pipeline of processes. Only the numbers of slots go through the pipes; the texts
# stay where they are. Each stage adopts the slots that it receives: from then
# on it owns them, whatever happens to the previous stage. (Until then they belong to the
# sender: if it dies, a recovery frees them. A slot that must survive this, too, has to be
# disowned before it is sent.) The size of the pool limits how much is under way: a
# fast stage waits for a slow one.
use strict;
use warnings;
use Data::Pool::Shared;

my $ITEMS = 5_000;
my $pool  = Data::Pool::Shared::Str->new(undef, 16, 100);

sub send_slot { my ($to, $slot) = @_; syswrite($to, pack 'Q', $slot) == 8 or die "pipe: $!\n"; return }

# Returns nothing at the end of the stream.
sub receive_slot {
    my ($from) = @_;
    my $got = sysread($from, my $message, 8) // die "pipe: $!\n";
    return if $got == 0;
    my $slot = unpack 'Q', $message;
    $pool->adopt($slot) or die "slot $slot was lost on the way\n";
    return $slot;
}

# Start a stage: its code is called with where to read and where to write.
my @stages;

sub stage {
    my ($from, $code) = @_;
    pipe my $reader, my $writer or die "pipe: $!\n";
    my $pid = fork // die "fork: $!\n";
    if (!$pid) {
        close $reader;
        $code->($from, $writer);
        exit 0;
    }
    push @stages, $pid;
    return $reader;    # what the next stage reads; our end of the writer closes here
}

sub write_numbers {
    my (undef, $to) = @_;
    send_slot($to, $pool->alloc_set("item $_")) for 1 .. $ITEMS;
    return;
}

sub add_squares {
    my ($from, $to) = @_;
    while (defined(my $slot = receive_slot($from))) {
        my ($number) = $pool->get($slot) =~ /(\d+)/;
        $pool->set($slot, "item $number: " . $number**2);
        send_slot($to, $slot);
    }
    return;
}

my $numbers = stage(undef,    \&write_numbers);
my $squares = stage($numbers, \&add_squares);
close $numbers;    # the second stage has it

# The last stage is this process.
my ($count, $sum) = (0, 0);
while (defined(my $slot = receive_slot($squares))) {
    my ($number, $square) = $pool->get($slot) =~ /item (\d+): (\d+)/;
    $count++;
    $sum += $square;
    die "item $number is out of order\n" if $number != $count;
    $pool->free($slot);
}
my $failed = 0;
for my $pid (@stages) { waitpid $pid, 0; $failed ||= $? }

my $expected = $ITEMS * ($ITEMS + 1) * (2 * $ITEMS + 1) / 6;
my $stats    = $pool->stats;
print "$count items, sum of squares $sum\n";
print "$stats->{allocs} slots were allocated, $stats->{waits} times the first stage waited, $stats->{used} are in use\n";
my $ok = !$failed && $count == $ITEMS && $sum == $expected && $stats->{used} == 0 && $stats->{allocs} == $ITEMS;
print $ok ? "Everything adds up.\n" : "WRONG: expected $ITEMS items, sum $expected\n";
exit($ok ? 0 : 1);
