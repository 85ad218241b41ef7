# The documented command builds the C example, and what it builds works.
use strict;
use warnings;

use Cwd        qw(getcwd);
use File::Copy qw(copy);
use File::Temp qw(tempdir);
use Test::More;

plan skip_all => 'there is no command cc' if system('command -v cc >/dev/null 2>&1') != 0;

# In a copy, for the command leaves an a.out where it is run.
my $dir = tempdir('pool-embed-XXXXXX', TMPDIR => 1, CLEANUP => 1);
mkdir "$dir/eg" or die "cannot make $dir/eg: $!";
for my $file (qw(pool.h pool.c eg/embed.c)) {
    copy($file, "$dir/$file") or die "cannot copy $file: $!";
}
my $here = getcwd();
chdir $dir or die "cannot go to $dir: $!";

my $output = qx{cc eg/embed.c pool.c 2>&1};
is($?,      0,  'cc eg/embed.c pool.c');
is($output, '', '... says nothing');
$output = qx{./a.out 2>&1};
is($?, 0, 'the program ends well') or diag($output);
like($output, qr/^ok +\S/m, '... having said what it did');
unlike($output, qr/^NOT/m, '... and that all of it was right');
like($output, qr/capacity is 4 slots, not 8/, '... an error has its text');
is(() = $output =~ /was held by process \d+, which is dead/g, 3, '... three slots were recovered from the dead');

chdir $here or die "cannot go back to $here: $!";
done_testing;
