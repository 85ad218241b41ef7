#!/usr/bin/env perl
# The perls that Debian has: for each release a small system is made in a folder, the
# distribution is built and tested in it with that release's perl and with its debugging
# build, and a table is printed. See xt/README.
use strict;
use warnings;
use Cwd                qw(cwd);
use ExtUtils::Manifest qw(maniread);
use File::Copy         qw(copy);
use File::Path         qw(make_path);
use File::Temp         qw(tempdir);
use Getopt::Long       qw(GetOptions);
use Time::HiRes        qw(time);

my %option = (perl => [], tests => 't/*/*.t');
GetOptions(\%option, 'mirror=s', 'perl=s@', 'tests=s', 'log=s')
    or die "usage: $0 [--mirror URL] [--perl NAME]… [--tests FILES] [--log FOLDER] [RELEASE…]\n";
my @releases = @ARGV              ? @ARGV              : qw(bullseye bookworm trixie sid);
my @perls    = @{ $option{perl} } ? @{ $option{perl} } : qw(perl debugperl);
my $logs     = $option{log} // tempdir('perls-log-XXXXXX', TMPDIR => 1);
my $top      = cwd;

die "run it in the top folder\n"                if !-e 'MANIFEST';
die "only root can make a system in a folder\n" if $> != 0;
die "debootstrap is not installed\n"            if system('command -v debootstrap >/dev/null') != 0;
my $mirror = $option{mirror} // first_mirror() // die "apt names no mirror of Debian: use --mirror\n";
make_path($logs);
# What runs ends with unshare, and the folders go with this program.
my $running;
$SIG{INT} = $SIG{TERM} = sub {
    if ($running) { kill KILL => $running; waitpid $running, 0 }
    exit 1;
};

# The mirror that this machine's own packages come from.
sub first_mirror {
    my ($url) = qx{apt-get indextargets 'Origin: Debian' 'Created-By: Packages' --format '\$(REPO_URI)' 2>/dev/null};
    return $url =~ s/\s+\z//r if defined $url;
    return;
}

# A command in the system that lies in $root, with /proc and /dev/shm of its own: mounts and
# processes go when it ends, in whichever way. Returns true if it was well.
sub inside {
    my ($root, $log, $command) = @_;
    my $mounts =
        'mount -t proc proc "$0/proc" && mkdir -p "$0/dev/shm" && mount -t tmpfs tmpfs "$0/dev/shm" && exec chroot "$0" sh -c "$1"';
    my $child = fork // die "fork: $!";
    if (!$child) {
        %ENV = (PATH => '/usr/sbin:/usr/bin:/sbin:/bin', LC_ALL => 'C.UTF-8', HOME => '/root');
        open STDIN,  '<',  '/dev/null' or die $!;
        open STDOUT, '>>', $log        or die "$log: $!";
        open STDERR, '>&', \*STDOUT    or die $!;
        exec qw(unshare --mount --pid --fork --kill-child nice -n 19 sh -c), $mounts, $root, $command or die "unshare: $!";
    }
    $running = $child;
    waitpid $child, 0;
    undef $running;
    return $? == 0;
}

sub copy_tree {
    my ($to) = @_;
    for my $file (sort keys %{ maniread("$top/MANIFEST") }) {
        my ($folder) = "$to/$file" =~ m{(.*)/};
        make_path($folder);
        copy("$top/$file", "$to/$file") or die "$file: $!";
    }
    return;
}

sub text_of { my ($file) = @_; open my $in, '<', $file or return ''; local $/ = undef; return scalar <$in> }

# What this perl is, and what the tests said.
sub row {
    my ($root, $release, $perl) = @_;
    my ($log, $about) = map {"$logs/$release-$perl.$_"} qw(log about);
    my $start = time;
    unlink $log, $about;
    inside($root, $about,
        qq{$perl -MConfig -e 'printf "%vd %s, %s", \$^V, \$Config{usethreads} ? "threads" : "no threads", \$Config{gccversion}'});
    copy_tree("$root/src-$perl");
    my $well =
        inside($root, $log, "cd /src-$perl && $perl Makefile.PL && make && HARNESS_OPTIONS=j2 make test TEST_FILES='$option{tests}'");
    my $said = text_of($log);
    my ($files, $tests) = $said =~ /^Files=(\d+), Tests=(\d+)/m;
    my @failed = $said =~ /^(t\/\S+)\s+\(Wstat/mg;
    my $result = $well ? 'pass' : !defined $tests ? 'not built' : "FAILED: @failed";
    printf "%-10s %-10s %-32s %5s %6s %5d  %s\n", $release, $perl, text_of($about), $files // '-', $tests // '-', time - $start, $result;
    return $well;
}

sub system_of {
    my ($release) = @_;
    my $root      = tempdir("perls-$release-XXXXXX", TMPDIR => 1, CLEANUP => 1);
    my $include   = 'perl,perl-debug,gcc,make,libc6-dev,libperl-dev,procps';
    chmod 0755, $root or die "chmod $root: $!";    # some tests become another user
    system("nice -n 19 debootstrap --variant=minbase --include=$include $release '$root' '$mirror' >'$logs/$release.log' 2>&1") == 0
        or do { printf "%-10s no system: see %s\n", $release, "$logs/$release.log"; return };
    return $root;
}

local $| = 1;
my $wrong = 0;
printf "%-10s %-10s %-32s %5s %6s %5s\n", qw(release perl version files tests s);
for my $release (@releases) {
    my $root = system_of($release) // do { $wrong++; next };
    row($root, $release, $_) or $wrong++ for @perls;
    system 'rm', '-rf', '--one-file-system', $root;
}
print "what they said: $logs\n";
exit($wrong ? 1 : 0);
