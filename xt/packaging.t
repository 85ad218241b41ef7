#!/usr/bin/env perl
# What a release holds, what it installs, and what a stranger can do with it: in
# folders with a blank in their names, the last part as a user without rights.
use strict;
use warnings;
use Config;
use Cwd        ();
use File::Find ();
use File::Temp ();
use JSON::PP   ();
use Module::CoreList;
use Module::Metadata;
use Test::More;

plan skip_all => 'not a checkout' if !-d '.git';

my $folder = File::Temp::tempdir('packaging-XXXXXX', TMPDIR => 1, CLEANUP => 1);
my $top    = Cwd::getcwd();
my $source = "$folder/a checkout";
END { chdir $top if defined $top }

# Run a command line: (status, all that it printed).
sub shell { my ($line) = @_; my $output = qx{( $line ) 2>&1 </dev/null}; return ($?, $output) }

sub works {
    my ($line,   $name)   = @_;
    my ($status, $output) = shell($line);
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    ok $status == 0, $name // $line or diag $output;
    return $output;
}

sub read_file { my ($path) = @_; open my $file, '<', $path or die "$path: $!"; local $/; return scalar readline $file }

sub files_in {
    my ($where) = @_;
    my @files;
    File::Find::find({ no_chdir => 1, wanted => sub { push @files, s{^\Q$where\E/}{}r if -f || -l } }, $where);
    return sort @files;
}

sub has_command {
    my ($command) = @_;
    return grep { -x "$_/$command" } split /:/, $ENV{PATH};
}

mkdir $source                                                       or die $!;
system("git ls-files -z | xargs -0 cp --parents -t '$source'") == 0 or die 'cannot copy';
chdir $source                                                       or die $!;
my @checkout = files_in('.');

subtest 'build' => sub {
    my ($status, $output) = shell("$^X Makefile.PL");
    is $status, 0, 'Makefile.PL succeeds';
    unlike $output,           qr/warn|missing|not found|in unknown/i, 'without a warning';
    unlike works('make -j4'), qr/warning/i,                           'nor has the compiler one, at four jobs';
    works('make manifest');
    is read_file('MANIFEST'), read_file("$top/MANIFEST"), 'make manifest changes nothing';
    like works('make distcheck'), qr/\A[^\n]*fullcheck\n\z/, 'make distcheck has nothing to say';
    works('make dist');
};

my $version   = read_file('lib/Data/Pool/Shared.pm') =~ /^our \$VERSION = '([\d.]+)';$/m ? $1 : die 'no version';
my $release   = "Data-Pool-Shared-$version";
my $elsewhere = "$folder/else where";
mkdir $elsewhere or die $!;
works("tar xzf '$release.tar.gz' -C '$elsewhere'", 'the release unpacks');

subtest 'clean up' => sub {
    works('make clib');
    works('make realclean');
    is_deeply [ grep { !/^MANIFEST\.bak$|\.tar\.gz$/ } files_in('.') ], \@checkout, 'make realclean leaves the checkout';
    my @tracked = grep { system("cd '$top' && git check-ignore -q '$_'") != 0 } 'MANIFEST.bak', "$release.tar.gz";
    is_deeply \@tracked, [], 'and what is made on request is none of git\'s business';
};

chdir "$elsewhere/$release" or die $!;

# Modules that files use, but for our own and pragmas.
sub used_by {
    my (@files) = @_;
    my %used;
    for my $file (@files) {
        my $code = read_file($file) =~ s/^__END__.*//msr =~ s/^=\w.*?^=cut$//msgr;
        $used{$1}++ while $code =~ /^\s*(?:use|require)\s+([A-Z]\w*(?:::\w+)*)/mg;
    }
    return grep { !/^(?:Data::Pool::Shared|IPC::Shm)\b|^(?:\w+Test)$/ } sort keys %used;
}

subtest 'META.json' => sub {
    my $meta     = JSON::PP->new->decode(read_file('META.json'));
    my %requires = map { $_ => $meta->{prereqs}{$_}{requires} } qw(runtime test configure);
    is $meta->{version}, $version, 'version';
    ok $meta->{resources}{$_}, "resources: $_" for qw(homepage bugtracker license);
    is_deeply $meta->{license}, ['perl_5'], 'license';
    for my $module (grep { $_ ne 'perl' } sort keys %{ $requires{runtime} }) {
        ok(Module::CoreList->is_core($module, undef, '5.022000'), "runtime: $module came with perl 5.22");
    }
    for my $module (used_by(grep {m{^(?:lib|script)/.*}} files_in('.'))) {
        ok exists $requires{runtime}{$module}, "runtime: $module";
    }
    my %optional = map { $_ => 1 } map { keys %{ $meta->{prereqs}{$_}{recommends} } } qw(test develop);
    for my $module (used_by(grep {m{^t/.*\.(?:t|pm)$}} files_in('.'))) {
        ok exists $requires{test}{$module} || exists $requires{runtime}{$module} || $optional{$module}, "test: $module";
    }
    ok exists $requires{configure}{$_}, "configure: $_" for used_by('Makefile.PL');

    my $found = Module::Metadata->provides(version => 2, dir => 'lib');
    is_deeply [ grep { ($found->{$_}{version} // '') ne $version } sort keys %$found ], [], 'every package has the version';
    my ($hidden) = @{ $meta->{no_index}{namespace} };
    is_deeply [ grep { !$meta->{provides}{$_} } sort keys %$found ], [ grep {/^\Q$hidden\E::/} sort keys %$found ],
        'provides has all packages, but for those that are not to be indexed';
    for my $package (sort keys %{ $meta->{provides} }) {
        like read_file($meta->{provides}{$package}{file}), qr/^package \Q$package\E;|^\@\Q$package\E::ISA/m, "$package is where it says";
    }
};

subtest 'install' => sub {
    like works("$^X Makefile.PL"), qr/^Looks good$/m, 'the kit is complete';
    works('make');
    my $root = "$folder/root";
    works("make install DESTDIR='$root'");
    my @files = files_in($root);
    for my $file (grep {/\.(?:pm|pod)$/} map {s{^lib/}{}r} grep {m{^lib/}} files_in('.')) {
        is scalar(grep {m{/\Q$file\E$}} @files), 1, $file;
        my $page  = $file =~ s{/}{::}gr =~ s/\.\w+$//r;
        my $pages = $page =~ /::(?:Tool|Internals|Engine::.*)(?:::|\z)/ ? 0 : 1;    # what is inside has none
        is scalar(grep {m{/man3/\Q$page\E\.\w+$}} @files), $pages, "$page: pages of the manual";
    }
    my ($arch)  = grep {m{/auto/Data/Pool/Shared/Shared\.so$}} @files;
    my ($shm)   = grep {m{/bin/shmpool$}} @files;
    my ($page1) = grep {m{/man1/shmpool\.\w+$}} @files;
    my @pages   = grep {m{/man3/}} @files;
    ok((grep {/Shared\.\w+$/} @pages) && (grep {/IPC::Shm\.\w+$/} @pages), 'pages of what a user names');
    ok(!(grep {/Tool|Internals/} @pages),                                  'not of what is inside');
    ok $arch && $shm && $page1, 'the library, shmpool and its page' or return;
    my $lib = "$root/" . $arch =~ s{/auto/.*}{}r;
    ok -x "$root/$shm", 'shmpool is a program';
    {
        local $ENV{PERL5LIB} = $lib;
        is works("'$root/$shm' --version"), "shmpool $version\n", 'which runs';
        like works("'$root/$shm' info --help"), qr/Prints what kind of pool it is/, 'and has its manual';
    }
    SKIP: {
        skip 'man is not installed', 1 if !has_command('man');
        local @ENV{qw(MANWIDTH LC_ALL)} = (100, 'C.UTF-8');
        my @says = map { my (undef, $says) = shell("man --warnings -E UTF-8 -l '$root/$_' >/dev/null"); $says } grep {m{/man[13]/}} @files;
        is join('', @says), '', 'the pages are set without a warning';
    }
};

subtest 'C library' => sub {
    plan skip_all => 'pkg-config is not installed' if !has_command('pkg-config');
    my $program = <<'C';
#include "pool.h"
#include "pool_grow.h"
#include "pool_lock.h"
#include "store/store.h"
static int variables(const char *folder)
{
    store_error_t err;
    store_t      *store = store_open(folder, NULL, &err);
    store_var_t  *hash  = store == NULL ? NULL : store_declare(store, STORE_HASH, "%main::h", 8, true, &err);
    store_key_t   key;
    store_value_t value = store_int(42);
    int           code;
    if (hash == NULL) return 1;
    key  = store_key(store, "key", 3, false);
    code = store_hash_put(hash, &key, &value, 0);
    store_release(hash);
    store_remove_all(store, 0);
    store_close(store);
    return code;
}
int main(void)
{
    pool_spec_t  spec = { POOL_I64, 10, 8, 0, 0 };
    pool_error_t err;
    pool_t      *pool = pool_open(NULL, &spec, &err);
    uint64_t     slot = pool == NULL ? POOL_NONE : pool_try_alloc(pool);
    return slot < POOL_NOSPC && pool_i64_add(pool, slot, 42) == 42 && pool_free(pool, slot) ? variables("namespace") : 1;
}
C
    my $c = "$folder/user.c";
    open my $file, '>', $c or die $!;
    print {$file} $program;
    close $file or die $!;
    for my $where ([ 'PREFIX', "$folder/usr" ], [ 'INSTALL_BASE', "$folder/base" ]) {
        my ($how, $prefix) = @$where;
        works("$^X Makefile.PL $how=$prefix && make install_clib", "installed with $how");
        local $ENV{PKG_CONFIG_PATH} = "$prefix/lib/pkgconfig";
        is works('pkg-config --modversion pool'), "$version\n", 'pkg-config knows it';
        works("$Config{cc} -std=gnu11 -Wall -Werror -o '$folder/shared' '$c' \$(pkg-config --cflags --libs pool)",    'links');
        works("$Config{cc} -std=gnu11 -static -o '$folder/static' '$c' \$(pkg-config --static --cflags --libs pool)", 'links statically');
        works("LD_LIBRARY_PATH=$prefix/lib '$folder/shared' && '$folder/static'",                                     'and works');
        my ($status) = shell("'$folder/shared'");
        isnt $status, 0, 'the shared one needs the library';
        like works("readelf -d '$folder/shared'"), qr/NEEDED.*\[libpool\.so\.0\]/, 'by its versioned name' if has_command('readelf');
        works("make install_clib PREFIX=$prefix/other", 'installed elsewhere');
        like read_file("$prefix/other/lib/pkgconfig/pool.pc"), qr{^prefix=\Q$prefix\E/other$}m, 'pool.pc says where';
        works("make uninstall_clib && make uninstall_clib PREFIX=$prefix/other", 'uninstalled');
        is_deeply [ files_in($prefix) ], [], 'nothing is left';
    }
};

subtest 'the tests of the release, as a user without rights' => sub {
    my @user = $> == 0 ? qw(setpriv --reuid=65534 --regid=65534 --clear-groups) : ();
    plan skip_all => 'this is root, and setpriv is not installed' if @user && !has_command('setpriv');
    my $home = "$folder/home";
    mkdir $home or die $!;
    system("chmod 755 '$folder' && chown -R 65534:65534 '$elsewhere' '$home'") if @user;
    my $output = works("@user env -i PATH='$ENV{PATH}' HOME='$home' sh -c '$^X Makefile.PL && make && make disttest'", 'make disttest');
    like $output, qr/^Result: PASS$/m, 'all tests pass';
    is_deeply [ files_in($home) ], [], 'nothing is left at home';
};

done_testing;
