#!/usr/bin/env perl
# A guest in the program: perl's own tests say the same, test by test, whether IPC::Shm is
# loaded or not. They are taken from Debian's source package of this perl. See xt/README.
use strict;
use warnings;
use Config;
use Cwd        qw(cwd);
use File::Find ();
use File::Path qw(make_path);
use File::Temp qw(tempdir);
use Test::More;
use IPC::Shm ();

# What the module has to do with: the operators it replaces, those that meet shared
# variables, magic, attributes, processes, code that runs inside of other code.
my @selection = map {"t/$_"} qw(
    op/aassign.t op/append.t op/args.t op/array.t op/attrs.t op/auto.t op/avhv.t op/caller.t op/chop.t op/closure.t op/context.t
    op/coreamp.t op/coresubs.t op/decl-refs.t op/defer.t op/defined.t op/delete.t op/die.t op/do.t op/each.t op/each_array.t op/eval.t
    op/exec.t op/for-many.t op/for.t op/fork.t op/gmagic.t op/goto.t op/grep.t op/gv.t op/hash-clear-placeholders.t op/hash.t
    op/hashassign.t op/hashwarn.t op/inc.t op/inccode-tie.t op/inccode.t op/join.t op/kvaslice.t op/kvhslice.t op/leaky-magic.t op/lex.t op/lex_assign.t
    op/lexsub.t op/list.t op/local.t op/localref.t op/lvref.t op/magic-27839.t op/magic.t op/method.t op/multideref.t op/my.t
    op/my_stash.t op/mydef.t op/or.t op/override.t op/pos.t op/postfixderef.t op/push.t op/range.t op/recurse.t op/ref.t op/repeat.t
    op/reverse.t op/runlevel.t op/signatures.t op/smartkve.t op/smartmatch.t op/sort.t op/splice.t op/split.t op/split_unicode.t op/state.t
    op/studytied.t op/sub.t op/sub_lval.t op/substr.t op/svleak.t op/switch.t op/symbolcache.t op/threads.t op/tie.t op/tie_fetch_count.t op/tiearray.t
    op/tiehandle.t op/tiehash.t op/try.t op/undef.t op/universal.t op/unshift.t op/utf8magic.t op/utfhash.t op/vec.t op/wantarray.t
    op/warn.t op/while.t re/pat_re_eval.t re/qr.t re/reg_eval.t re/reg_eval_scope.t re/reg_nc_tie.t re/subst.t re/subst_amp.t
    uni/attrs.t uni/bless.t uni/gv.t uni/method.t uni/stash.t uni/tie.t uni/variables.t base/lex.t cmd/for.t cmd/mod.t comp/our.t
    comp/parser.t comp/proto.t comp/require.t io/closepid.t io/dup.t io/open.t io/openpid.t io/pipe.t lib/croak.t
    lib/universal.t run/exit.t run/fresh_perl.t mro/basic.t
);
push @selection, map {"lib/$_"} qw(DB.t Internals.t builtin.t overload.t overloading.t sort.t subs.t vars.t);

my $top    = cwd;
my $folder = tempdir('guest-XXXXXX', TMPDIR => 1, CLEANUP => 1);
my $source = prepared($ENV{SHM_GUEST_SOURCE} // fetched());

# Debian's source package of this perl, by a list of sources of our own.
sub fetched {
    for my $needed (qw(apt-get dpkg-source)) {
        plan skip_all => "$needed is not installed" if system("command -v $needed >/dev/null") != 0;
    }
    my $targets = q(apt-get indextargets 'Origin: Debian' 'Created-By: Packages' --format 'deb-src $(REPO_URI) $(CODENAME) $(COMPONENT)');
    my @from    = grep {/\S/} qx{$targets};
    plan skip_all => 'apt knows of no mirror of Debian' if !@from;
    make_path("$folder/lists/partial", "$folder/cache/archives/partial");
    my $apt = "timeout 100 apt-get -q -o Dir::Etc::sourcelist=$folder/sources.list -o Dir::Etc::sourceparts=-"
        . " -o Dir::State::lists=$folder/lists -o Dir::Cache=$folder/cache -o APT::Sandbox::User=";
    my $said = '';
    for my $line (@from) {    # one after the other: not every mirror has the sources of all
        open my $list, '>', "$folder/sources.list" or die "sources.list: $!";
        print {$list} $line;
        close $list or die "sources.list: $!";
        $said .= qx{cd "$folder" && $apt update 2>&1 && $apt source --only-source perl 2>&1};
        my ($there) = glob "$folder/perl-5.*/t/TEST";
        return $there =~ s{/t/TEST\z}{}r if $there;
    }
    plan skip_all => 'apt-get source perl: ' . ($said =~ /^(E: .*)/m ? $1 : $said);
    return;
}

# Its tests, and beside them what a build would have made: ./perl, and in lib the modules of
# this perl, and ours.
sub prepared {
    my ($from)  = @_;
    my $version = sprintf '%vd', $^V;
    my $is      = $from =~ /perl-([\d.]+)\/?\z/ ? $1 : 'unknown';
    plan skip_all => "this is perl $version, and its source here is of $is" if $is ne $version;
    my $to = "$folder/perl";
    make_path("$to/lib");
    my @lib = grep { defined && -d } @Config{qw(privlibexp archlibexp)},
        ($Config{multiarch} ? "/usr/lib/$Config{multiarch}/perl-base" : ());
    for my $modules (@lib, "$top/blib/lib", "$top/blib/arch") {
        system("cp -rsn '$modules/.' '$to/lib/'") == 0 or die "cannot copy $modules";
    }
    system("cp -r '$from/t' '$to/' && cp -rn '$from/lib' '$from/cpan' '$from/dist' '$from/ext' '$to/' && cp '$from/MANIFEST' '$to/'") == 0
        or die "cannot copy $from";
    symlink $^X, "$to/$_" or die "symlink: $!" for 'perl', 't/perl';
    return $to;
}

# All of them: t/ and lib/ of perl, and those of the modules that come with it. Without t/run/switchd.t,
# which traces every line that runs: it fails with any module loaded.
sub all_files {
    my @found;
    File::Find::find({ no_chdir => 1, wanted => sub { push @found, $File::Find::name =~ s{^\Q$source/\E}{}r if /\.t\z/ && -f } },
        map {"$source/$_"} qw(t lib cpan dist ext));
    return sort grep { $_ ne 't/run/switchd.t' && (!m{^lib/.+/} || m{^lib/(?:feature|locale|strict|warnings)/}) } @found;
}

# Perl counts the strings that are compiled, and tells the number ("at (eval 1)"). Any module
# that compiles some makes a difference; this one makes that alone.
sub counting_module {
    my $number = qx{$^X "-I$top/blib/lib" "-I$top/blib/arch" -MIPC::Shm -e 'print eval q{__FILE__}'};
    my $before = $number =~ /eval (\d+)/ ? $1 - 1 : 0;
    open my $out, '>', "$folder/Counting.pm" or die "Counting.pm: $!";
    print {$out} "package Counting; eval '1' for 1 .. $before; 1;\n";
    close $out or die "Counting.pm: $!";
    return $before;
}

# Run a file, alone or with the guest; returns how it ended and what its tests said, a line
# each, without their names.
sub said {
    my ($file, @guest) = @_;
    my ($in, $name)    = $file =~ m{^((?:cpan|dist|ext)/[^/]+)/(.+)}s ? ($1, $2) : ('t', $file =~ s{^t/}{}r =~ s{^(?=lib/\w+\.t$)}{../}r);
    my $hand    = "$source/$file";
    my ($bang)  = do { open my $read, '<', $hand or die "$hand: $!"; <$read> // '' };
    my ($taint) = $bang =~ /^#!.*perl.*\s(-[tT]|-\w*[tT]\w*)/ ? $1 =~ /T/ ? '-T' : '-t' : ();
    my @modules = map {"-I$top/blib/$_"} qw(lib arch);
    local %ENV = (
        (map { $_ => $ENV{$_} } grep { !/^(?:PERL|HARNESS|IPC_SHM|LC_|LANG)/ } keys %ENV),
        PERL_CORE => 1,
        PERL5LIB  => join(':', "$top/blib/lib", "$top/blib/arch", $in eq 't' ? () : ("$source/lib", "$source/$in/lib")),
        @guest ? (PERL5OPT => "@guest") : (),
    );
    my @command = ('timeout', '-k', '5', '300', $^X, $taint ? ($taint, @modules, @guest) : (), $name);
    my $child   = open(my $from, '-|') // die "fork: $!";

    if (!$child) {
        open STDERR, '>', '/dev/null' or die "/dev/null: $!";
        open STDIN,  '<', '/dev/null' or die "/dev/null: $!";
        chdir "$source/$in" or die "$in: $!";
        exec @command       or die "exec: $!";
    }
    my @lines = map { /^((?:not )?ok\b *\d*)(?:.*?# *(skip|todo)\b)?/i ? lc join ' ', $1, $2 // () : () } <$from>;
    close $from;
    return "ends with $?", @lines;
}

# The first line that is not the same, or nothing.
sub difference {
    my ($alone, $with) = @_;
    for my $n (1 .. ($#$alone > $#$with ? $#$alone : $#$with), 0) {
        my ($x, $y) = map { $_->[$n] // 'nothing' } $alone, $with;
        return "alone: $x; with IPC::Shm: $y" if $x ne $y;
    }
    return;
}

my @files = !$ENV{SHM_GUEST_TESTS} ? @selection : $ENV{SHM_GUEST_TESTS} eq 'all' ? all_files() : split ' ', $ENV{SHM_GUEST_TESTS};
my $count = counting_module();
my $tests = 0;
for my $file (grep { -e "$source/$_" } @files) {
    my $alone = [ said($file) ];
    my $with  = [ said($file, '-MIPC::Shm') ];
    my $what  = difference($alone, $with);

    # Time and chance make a test differ from itself: what differs is tried again.
    if ($what && !difference([ said($file, "-I$folder", '-MCounting') ], $with)) {
        note "$file: $what; it is the same with $count strings that are compiled first";
        undef $what;
    }
    for (1 .. 2) { $what &&= difference([ said($file) ], [ said($file, '-MIPC::Shm') ]) }
    is $what, undef, $file;
    $tests += $#$alone;
}
note @files . " files of perl's own, $tests tests";
cmp_ok $tests, '>', @files, 'they have been run';
done_testing;
