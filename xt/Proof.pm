package Proof;

# What the author tests in C share: compiling them against pool.h, or against a
# copy of it that is broken on purpose, and passing on their TAP.

use strict;
use warnings;
use Config;
use Exporter              qw(import);
use File::Basename        qw(dirname);
use File::Spec::Functions qw(catfile rel2abs);
use File::Temp            ();
use Test::More            ();

our @EXPORT = qw(scratch_folder build broken_copy relay verdict);

my $XT  = dirname(rel2abs(__FILE__));
my $TOP = dirname($XT);

sub scratch_folder { return File::Temp->newdir('proof-XXXXXX', TMPDIR => 1) }

# Compile xt/NAME.c in $folder; pool.h is taken from $include, or from the top.
# Linked statically where that works: fewer instructions that are not the pool's.
sub build {
    my ($folder, $name, $include, @flags) = @_;
    my ($cc)    = split ' ', $ENV{CC} || $Config{cc};
    my $program = catfile($folder, $name);
    my @command = ($cc, qw(-std=gnu11 -O2 -g -pthread), @flags, '-I' . ($include || $TOP), catfile($XT, "$name.c"), '-o', $program);
    for my $link ('-static', '-Wl,-z,now') {
        my $said = qx{@command $link 2>&1};
        return $program                                       if $? == 0;
        Test::More::BAIL_OUT("cannot compile $name.c: $said") if $link ne '-static';
    }
    return;
}

# A folder with a pool.h in which $from is $to. Where the code is not as it was,
# the test that breaks it must be written anew.
sub broken_copy {
    my ($from, $to) = @_;
    my $folder = scratch_folder();
    my $code   = do { local (@ARGV, $/) = catfile($TOP, 'pool.h'); <> };
    my $times  = () = $code =~ /\Q$from\E/g;
    return if $times != 1;
    $code =~ s/\Q$from\E/$to/;
    open my $out, '>', "$folder/pool.h" or die "$folder/pool.h: $!";
    print {$out} $code;
    close $out or die "$folder/pool.h: $!";
    return $folder;
}

# Run a program that prints TAP; its lines become tests of this one.
sub relay {
    my (@command) = @_;
    open my $from, '-|', @command or die "$command[0]: $!";
    while (my $line = <$from>) {
        chomp $line;
        if    ($line =~ /^(not )?ok\s*\d* - (.*)/) { Test::More::ok(!$1, $2) }
        elsif ($line =~ /^Bail out! (.*)/)         { Test::More::fail($1) }
        elsif ($line =~ /^# (.*)/)                 { Test::More::note($1) }
        elsif ($line !~ /^1\.\.\d+$/)              { Test::More::diag($line) }
    }
    close $from;
    return Test::More::is($?, 0, 'it ended well');
}

# Run a program of which only the end is of interest: (exit status, what it complained of).
sub verdict {
    my (@command) = @_;
    open my $from, '-|', @command or die "$command[0]: $!";
    my @complaints = grep { /^# .+: / || /^not ok/ || /^Bail out/ } <$from>;
    close $from;
    chomp @complaints;
    return ($?, @complaints);
}

1;
