package Step;

# Another process, stopped at its n-th access to shared memory or system call:
# compiles shm_step.c, loads it, and starts victims.

use strict;
use warnings;
use Config;
use DynaLoader            ();
use File::Basename        qw(dirname);
use File::Spec::Functions qw(catfile rel2abs);
use File::Temp            ();
use POSIX                 ();

my $folder = File::Temp->newdir('step-XXXXXX', TMPDIR => 1);

sub load {
    my $source = catfile(dirname(rel2abs(__FILE__)), 'shm_step.c');
    my ($cc)   = split ' ', $ENV{CC} || $Config{cc};
    my $said   = qx{$cc -O2 -g $Config{ccflags} $Config{cccdlflags} -I$Config{archlibexp}/CORE -shared $source -o $folder/Step.so 2>&1};
    die "cannot compile shm_step.c: $said" if $? != 0;
    my $library = DynaLoader::dl_load_file("$folder/Step.so")       || die DynaLoader::dl_error();
    my $boot    = DynaLoader::dl_find_symbol($library, 'boot_Step') || die DynaLoader::dl_error();
    DynaLoader::dl_install_xsub('Step::boot', $boot)->();
    return;
}

# Fork a victim that prepares itself and stops before `run`. With `all` each access
# to the files of `folder` is an event, else each store; with `follow` it is the
# child that `run` forks that counts.
sub start {
    my (%as) = @_;
    defined(my $pid = fork) or die "cannot fork: $!";
    if (!$pid) {
        my $ended = eval { $as{prepare}->() if $as{prepare}; begin(); $as{run}->(); end(); 1 };
        print STDERR "# the victim died: $@" if !$ended;
        POSIX::_exit($ended ? 0 : 1);
    }
    catch ($pid, $as{folder}, $as{all} ? 1 : 0, $as{follow} ? 1 : 0);
    return $pid;
}

load();

1;
