#!/usr/bin/perl
# What IPC::Shm costs the code that shares nothing: each line of plain perl below in a
# process of its own, with the module loaded and without.
#
#     perl -Mblib bench/guest.pl [--time] [--against MODULE] [name ...]
#
# Counted are the instructions (valgrind --tool=callgrind), which are the same each time on
# a busy machine as well; --time takes the processor time of both in turns, best of nine.
# The bar is 1.02. "load" is loading the module, beside POSIX.
use strict;
use warnings;
use Getopt::Long qw(GetOptions);

GetOptions('time' => \my $time, 'against=s' => \my $against) or exit 2;
$against //= 'IPC::Shm';

my @cases = (
    elements => 'my %h = (a => 1, b => 2); my ($k, $n) = ("b", 0);'           => '$n += $h{a} + $h{$k}; $h{a} = $n',
    nested   => 'my %h = (a => { b => { c => 1 } }); my ($k, $n) = ("b", 0);' => '$n += $h{a}{b}{c} + $h{a}{$k}{c}; $h{a}{b}{d} = $n',
    arrays   => 'my @a = (1 .. 9); my ($i, $n) = (3, 0);'                     => '$n += $a[0] + $a[$i]; $a[1] = $n',
    'my (...) = @_' => 'sub f { my ($x, $y, $z) = @_; return $x }'            => 'f(1, 2, 3)',
    'my %h = (...)' => ''                                                     => 'my %h = (a => 1, b => 2, c => 3); my @l = (1, 2, 3)',
    swap            => 'my ($x, $y) = (1, 2);'                                => '($x, $y) = ($y, $x)',
    copy            => 'my %h = map { $_ => 1 } 1 .. 5; my @a = 1 .. 5;'      => 'my %c = %h; my @c = @a',
    arguments       => 'my @a = (1, 2); sub g { return }'                     => 'g(@a)',
    references      => 'my $r = [1, 2, 3]; my $n = 0;'                        => '$n += @$r; for my $x (@$r) { $n += $x }',
    keys   => 'my %h = map { $_ => 1 } 1 .. 5; my $n = 0;' => '$n += keys %h; for my $k (keys %h) { $n += $k } $n += $_ for values %h',
    slices => 'my %h = (a => 1, b => 2, c => 3); my @a = 1 .. 5; my ($x, $y);' =>
        '($x, $y) = @h{qw(a b)}; ($x, $y) = @a[1, 2]; @h{qw(a b)} = (1, 2)',
    sort        => 'my @a = (3, 1, 2);'                => 'my @s = sort { $a <=> $b } @a; @s = reverse @s',
    split       => ''                                  => 'my @f = split /,/, "a,b,c"; my ($x, $y) = split /,/, "a,b"',
    delete      => 'my %h;'                            => '$h{a} = 1; delete $h{a}; @h{1, 2} = (); delete @h{1, 2}',
    open        => ''                                  => 'open my $f, "<", "/dev/null" or die; close $f',
    environment => 'my $n = 0;'                        => '$n += length $ENV{HOME}; $ENV{X_Y} = 1',
    calls       => 'sub h { return $_[0] } my $n = 0;' => '$n += h(1)',
    methods     => 'package P { sub new { bless {}, shift } sub m { $_[0]{m} = $_[1] } } my $o = P->new;' => '$o->m(1)',
    'tied hash' => 'require Tie::Hash; tie my %t, "Tie::StdHash"; my $n = 0;'                             =>
        '$t{a} = 1; $n += $t{a}; my @k = keys %t; my %c = %t; delete $t{a}',
);

sub program {
    my ($setup, $code, $rounds, $module) = @_;
    return ($^X, (map {"-I$_"} grep { !ref } @INC), $module ? "-M$module" : (), '-e', "$setup; for my \$round (1 .. $rounds) { $code }");
}

sub instructions {
    my @command = @_;
    local @ENV{qw(PERL_HASH_SEED PERL_PERTURB_KEYS HOME)} = (0, 0, '/');
    my $pid = open my $out, '-|';
    if (!$pid) {
        open STDERR, '>&', \*STDOUT or die $!;
        exec qw(valgrind --tool=callgrind --callgrind-out-file=/dev/null), @command or die "valgrind: $!";
    }
    my $text = do { local $/ = undef; <$out> };
    return $text =~ /Collected : (\d+)/ ? $1 : die "valgrind says: $text";
}

sub seconds {
    my @command = @_;
    my @before  = times;
    system(@command) == 0 or die "@command";
    my @after = times;
    return $after[2] + $after[3] - $before[2] - $before[3];
}

# What a round costs.
sub counted {
    my ($setup, $code, $module) = @_;
    my ($few, $many) = map { instructions(program($setup, $code, $_, $module)) } 100, 600;
    return ($many - $few) / 500;
}

sub timed {
    my ($setup, $code) = @_;
    my @best;
    for (1 .. 9) {
        for my $i (0, 1) {
            my $took = -seconds(program($setup, '', 1, $i && $against));
            $took += seconds(program($setup, $code, 500_000, $i && $against));
            $best[$i] = $took if !defined $best[$i] || $took < $best[$i];
        }
    }
    return @best;
}

my ($over, %wanted) = (0, map { $_ => 1 } @ARGV);
printf "%-16s %12s %12s %7s\n", $time ? 'seconds' : 'instructions', 'without', 'with', 'ratio';
while (my ($name, $setup, $code) = splice @cases, 0, 3) {
    next if %wanted && !$wanted{$name};
    my ($without, $with) = $time ? timed($setup, $code) : map { counted($setup, $code, $_) } '', $against;
    my $ratio = $with / $without;
    $over++ if $ratio > 1.02;
    printf "%-16s %12.*f %12.*f %7.3f%s\n", $name, $time ? 3 : 0, $without, $time ? 3 : 0, $with, $ratio, $ratio > 1.02 ? ' over' : '';
}
if (!%wanted || $wanted{load}) {
    my ($base, @load) = map { $time ? seconds(program('', '', 1, $_)) : instructions(program('', '', 1, $_)) } '', 'POSIX', $against;
    printf "%-16s %12s %12s %7s\n", 'load', 'POSIX', $against, 'ratio';
    printf "%-16s %12.*f %12.*f %7.3f\n", '', (map { ($time ? 3 : 0, $_ - $base) } @load), ($load[1] - $base) / ($load[0] - $base);
}
print $over ? "$over over 1.02\n" : "none over 1.02\n";
exit($over ? 1 : 0);
