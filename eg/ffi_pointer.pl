#!/usr/bin/env perl
# Raw pointers: C functions work on slots in place, through FFI::Platypus. C's
# snprintf writes text into a slot, and C's qsort sorts the slots of a pool, whose
# data are one array. Another process sees it all.
use strict;
use warnings;
use FFI::Platypus 1.00;
use Data::Pool::Shared;

my $ffi      = FFI::Platypus->new(api => 1, lib => [undef]);    # undef: what perl itself is linked with
my $snprintf = $ffi->function(snprintf => [ 'opaque', 'size_t', 'string' ]                         => [ 'int', 'double' ] => 'int');
my $strlen   = $ffi->function(strlen   => ['opaque']                                               => 'size_t');
my $qsort    = $ffi->function(qsort    => [ 'opaque', 'size_t', 'size_t', '(opaque,opaque)->int' ] => 'void');

# A slot of raw bytes is a buffer of elem_size bytes.
my $texts = Data::Pool::Shared->new(undef, 4, 32);
my $text  = $texts->alloc;
$snprintf->call($texts->ptr($text), $texts->elem_size, '%d apples, %.2f a piece', 12, 0.35);
my $length = $strlen->call($texts->ptr($text));

# Slots 0 to 999 of a pool of 64-bit integers are an array of int64_t.
my $numbers = Data::Pool::Shared::I64->new(undef, 1000);
my $slots   = $numbers->alloc_n(1000);
my %value   = map { $_ => $_ * 7919 % 1000 } @$slots;
$numbers->set_n($slots, [ @value{@$slots} ]);
my $ascending = $ffi->closure(
    sub {
        my ($left, $right) = map { ${ $ffi->cast(opaque => 'sint64*', $_) } } @_;
        return $left <=> $right;
    }
);
$qsort->call($numbers->data_ptr, 1000, $numbers->elem_size, $ascending);

# What another process finds there.
pipe my $from_child, my $to_parent or die "pipe: $!\n";
my $pid = fork // die "fork: $!\n";
if (!$pid) {
    print {$to_parent} join ',', unpack('Z*', $texts->get($text)), @{ $numbers->get_n([ 0 .. 999 ]) };
    exit 0;
}
close $to_parent;
my ($found, @sorted) = (split /,(?! )/, readline $from_child);
waitpid $pid, 0;

print "C wrote \"$found\" ($length bytes), and sorted: @sorted[0 .. 4] ... @sorted[-3 .. -1]\n";
my $ok = $found eq '12 apples, 0.35 a piece' && $length == 23 && "@sorted" eq join ' ', 0 .. 999;
print $ok ? "Everything adds up.\n" : "WRONG\n";
exit($ok ? 0 : 1);
