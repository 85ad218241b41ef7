use strict;
use warnings;
use Config;
use lib 't/lib';
use ShmTest;
use Test::More;
use File::Temp ();
use IPC::Shm;

# IPC::Shm is a guest in the program: what it does to perl's operators, where, and how
# it is switched off.

sub run_perl {
    my ($switches, $code) = @_;
    local $ENV{PERL5LIB} = join ':', grep { !ref } @INC;
    open my $out, '-|', "$^X $switches -e '$code' 2>&1" or die "cannot run: $!";
    local $/ = undef;
    my $text = <$out>;
    close $out;
    return $text . ($? ? "status $?" : '');
}

is run_perl('-W -MIPC::Shm', 'print 1'), '1', 'perl -W has nothing to say of it';
is run_perl(
    '-W -MIPC::Shm',
    'use attributes; our $x : shm = 5; sub f : lvalue { $x } f() = 6; print $x, " ", attributes::get(\&f); attributes->import(main => \&f, "method"); print " ", join ",", sort(attributes::get(\&f))'
    ),
    '6 lvalue lvalue,method', 'attributes does for others what it did';

is run_perl(
    '-W',
    'require attributes; BEGIN { require attributes } my @before = (\*attributes::import, join ",", sort keys %attributes::); require IPC::Shm; my @after = (\*attributes::import, join ",", sort keys %attributes::); print $before[0] == $after[0] && $before[1] eq $after[1] ? "same" : "@before\n@after"; my $x; &attributes::import("attributes", main => \$x, "shm"); print " ", ref tied $x; eval { attributes->import(main => \$x, "odd") }; print " $@"'
    ),
    q{same }
    . (on_server() ? q{IPC::Shm::Engine::Redis::Scalar} : q{IPC::Shm::Scalar})
    . qq{ Invalid SCALAR attribute: odd at -e line 1.\n},
    '… and has the same symbols: what was compiled before comes to us, too';

# Code that is not in the body of a sub, and code that was there before the module: a list
# assignment in it is one change from its first run on.
my $counts_it = <<'CODE';
our (%h, @a, $text);
sub serials { my ($t, $code) = @_; my $before = $t->serial; $code->(); return $t->serial - $before }
sub declare { eval 'our %h : shm; our @a : shm; 1' or die $@; return tied %h }
sub load { require IPC::Shm; IPC::Shm->import; return declare() }
CODE
my %places = (
    's///e'                  => [ '',                            q{(my $t = 'x') =~ s/x/FILL; 'y'/e} ],
    's///ee'                 => [ '',                            q{(my $t = 'x') =~ s/x/'FILL; 1'/ee} ],
    'a regex'                => [ '',                            q{'x' =~ /x(?{ FILL })/} ],
    'a regex put together'   => [ q{my $x = 'x';},               q{'xx' =~ /$x(?{ FILL })/} ],
    'qr//'                   => [ q{my $qr = qr/x(?{ FILL })/;}, q{'x' =~ $qr} ],
    'a regex that is a text' => [ q{my $code = '(?{ FILL })';},  q{use re 'eval'; 'x' =~ /x$code/} ],
    'a format'        => [ "format PICTURE =\n@<<\ndo { FILL; 'x' }\n.\n", q{open PICTURE, '>', '/dev/null' or die $!; write PICTURE} ],
    'a block of sort' => [ '',                                             q{my @s = sort { FILL if $a == 1; $a <=> $b } 1, 2} ],
    'a default value' => [ q{sub defaults { my ($x) = @_; $x //= do { FILL; 1 } }}, q{defaults()} ],
    'an elsif'        => [ '', q{if ($text) { } elsif (!$text) { FILL } else { $text = 1 }} ],
    'a loop'          => [ '', q{for (my $i = 0; $i < 1; do { FILL; $i++ }) { }} ],
);
SKIP: {
    skip 'operators are not wrapped', 2 * keys %places if !has_batches();
    for my $place (sort keys %places) {
        my ($before, $code) = map {s/FILL/%h = map { (\$_ => 1) } 1 .. 50/r} @{ $places{$place} };
        my $all = "no strict; no warnings;\n$counts_it$before\nsub work { $code; return }\n";
        is program("${all}print serials(load(), \\&work)"),                   1, "$place, compiled before the module";
        is program("use IPC::Shm;\n${all}print serials(declare(), \\&work)"), 1, "$place, compiled after";
    }
}
SKIP: {
    skip 'operators are not wrapped', 5 if !has_batches();
    my $running = q{my $t = load(); my $before = $t->serial; %h = map { ($_ => 1) } 1 .. 50; print $t->serial - $before;};
    my $begin   = "no strict; no warnings; $counts_it";
    is program("$begin sub work { $running } work()"),  1, 'a sub that loads the module itself';
    is program("$begin eval q{$running 1} or die \$@"), 1, '… a string';
    is program(
        "$begin eval q{sub deeper { eval q(load()) } deeper(); my \$before = (tied %h)->serial; %h = map { (\$_ => 1) } 1 .. 50; print +(tied %h)->serial - \$before; 1} or die \$@"
        ),
        1, '… a string that has another do it';
    my $file = File::Temp->new(SUFFIX => '.pl');
    print {$file} $running, ' 1;';
    close $file;
    is program("$begin do '$file' or die \$@"), 1, '… a file';
    is program(
        "no strict; our %h; sub fill { %h = map { (\$_ => 1) } 1 .. 50 } my \@filled = \$ENV{NEVER} ? () : (%h = map { (\$_ => 1) } 1 .. 50); use IPC::Shm; BEGIN { eval 'our %h : shm; our \$first = (tied %h)->serial; 1' or die \$@ } print +(tied %h)->serial - \$first"
        ),
        1, '… a program, below what it does';
}

# What is tied by hand has the short way: no method is called.
SKIP: {
    skip 'operators are not wrapped', 2 if !has_batches();
    my $called = 0;
    my ($fetch, $store) = (\&IPC::Shm::Hash::FETCH, \&IPC::Shm::Hash::STORE);
    no warnings 'redefine';
    local *IPC::Shm::Hash::FETCH = sub { $called++; goto &$fetch };
    local *IPC::Shm::Hash::STORE = sub { $called++; goto &$store };
    tie my %by_hand, 'IPC::Shm::Tied';
    $by_hand{a} = 1;
    is $by_hand{a}, 1, 'a hash that is tied by hand';
    is $called,     0, '… calls no method for an element';
}

# The switch.
my $counts =
    'our %fresh : shm; %fresh = (a => 1, b => 2); print +(tied %fresh)->serial > 1 ? "each" : "one", " $fresh{a}$fresh{b}"; (tied %fresh)->remove';
{
    local $ENV{IPC_SHM_PLAIN_OPERATORS} = '';
    is program("use IPC::Shm; $counts"),                             'one 12',  'a list assignment is one change';
    is program("use IPC::Shm operators => 0; $counts"),              'each 12', 'with operators => 0 perl does it in its own way';
    is program("require IPC::Shm; eval q($counts); die \$@ if \$@"), 'one 12',  'without import: as with it';
    like program('use IPC::Shm; use IPC::Shm operators => 0;'), qr/must come first, or IPC_SHM_PLAIN_OPERATORS be set at program line 1/,
        'it has to be said first';
    is program('use IPC::Shm operators => 0; use IPC::Shm; print IPC::Shm::_has_operators() ? 1 : 0'), 0, '… and then holds for all';
    $ENV{IPC_SHM_PLAIN_OPERATORS} = 1;
    is program("use IPC::Shm; $counts"), 'each 12', 'the same with IPC_SHM_PLAIN_OPERATORS';
}

# A debugger is called for the subs of the program, and when it ends for no more than for any object.
SKIP: {
    skip 'the engine of a server is written in Perl', 1 if on_server();
    local $ENV{PERL5DB} = 'sub DB::DB {}';
    my $traced = 'use IPC::Shm; our %x : shm; BEGIN { *DB::sub = sub { print "$DB::sub " if $DB::sub !~ m{DESTROY}; goto &$DB::sub } }
        sub mine { print "here " } mine(); $x{o} = bless {}, "Kept"; print "end "';
    is run_perl('-d', $traced), 'main::mine here end ', 'a debugger sees the subs of the program only';
}

# A program that embeds perl, twice one after the other, with the library unloaded at the end
# of each as DynaLoader may do: compiled code of the second one goes through the operators
# that the first one has wrapped.
SKIP: {
    skip 'it unloads the client of the server as well, which cannot take it', 1 if on_server();
    my $folder = File::Temp::tempdir(CLEANUP => 1);
    open my $file, '>', "$folder/embed.c" or die "embed.c: $!";
    print {$file} <<'C';
#include <EXTERN.h>
#include <perl.h>
EXTERN_C void boot_DynaLoader(pTHX_ CV *cv);
static void xs_init(pTHX) { newXS("DynaLoader::boot_DynaLoader", boot_DynaLoader, __FILE__); }
int main(int argc, char **argv, char **env)
{
    int i, code = 0;
    PERL_SYS_INIT3(&argc, &argv, &env);
    for (i = 0; i < 2; i++) {
        PerlInterpreter *my_perl = perl_alloc();
        perl_construct(my_perl);
        PL_exit_flags |= PERL_EXIT_DESTRUCT_END;
        code |= perl_parse(my_perl, xs_init, argc, argv, NULL) || perl_run(my_perl);
        perl_destruct(my_perl);
        perl_free(my_perl);
    }
    PERL_SYS_TERM();
    return code;
}
C
    close $file or die "embed.c: $!";
    my $flags = qx{$^X -MExtUtils::Embed -e ccopts -e ldopts 2>/dev/null};
    $flags =~ tr/\n/ /;
    system "$Config{cc} -w -o $folder/embed $folder/embed.c $flags >/dev/null 2>&1";
    skip 'perl cannot be embedded here (no libperl)', 1 if $? || !$flags;
    local $ENV{PERL5LIB} = join ':', grep { !ref } @INC;
    my $code =
        'our %e : shm; $e{n}++; our @e : shm = (3, 1, 2); @e = sort @e; print "$e{n} @e\n"; DynaLoader::dl_unload_file($_) for @DynaLoader::dl_librefs; my %c = (a => 1); my @l = %c; print "@l\n"; $! = 0';
    $code =~ s/'/'\\''/g;
    is qx{$folder/embed -MIPC::Shm -e '$code' 2>&1} . "status $?", "1 1 2 3\na 1\n2 1 2 3\na 1\nstatus 0",
        'two interpreters in one program, the library unloaded in between';
}

# Modules that put hands on variables or operators themselves.
my %with = (
    'Devel::NYTProf'     => [ '-d:NYTProf',                                '' ],
    'Devel::Cover'       => [ '-MDevel::Cover=-silent,1,-db,FOLDER/cover', '' ],
    'Moose'              => [ '', 'package Thing; use Moose; has list => (is => "rw"); package main; ' ],
    'Coro'               => [ '', 'use Coro; my $other = async { our %m : shm; $m{coro} = 1; cede; $m{coro}++ }; $other->join; ' ],
    'Future::AsyncAwait' => [
        '',
        'use Future; use Future::AsyncAwait; my $f = Future->new; async sub go { our %m : shm; await $f; $m{async} = 1 } my $g = go(); $f->done; $g->get; '
    ],
);
for my $module (sort keys %with) {
    (my $path = "$module.pm") =~ s{::}{/}g;
    SKIP: {
        skip "$module is not installed", 1 if !grep { !ref && -e "$_/$path" } @INC;
        my $folder = File::Temp::tempdir(CLEANUP => 1);
        local $ENV{NYTPROF} = "file=$folder/out";
        my ($switches, $code) = @{ $with{$module} };
        $switches =~ s/FOLDER/$folder/;
        my $text = run_perl(
            "$switches -MIPC::Shm",
            $code
                . 'our %m : shm; our @m : shm; %m = (a => 1, b => { c => 2 }); @m = (3, 1, 2); @m = sort @m; $_ *= 2 for reverse @m; my @k = sort keys %m; print "@m @k $m{a} $m{b}{c}\n"'
        );
        like $text, qr/^2 4 6 a b 1 2\n/m, "with $module";
    }
}

# Somebody else's magic on a shared hash is asked as often as on another tied one.
SKIP: {
    skip 'Variable::Magic is not installed', 1 if !eval { require Variable::Magic; 1 };
    my $text = run_perl('-MIPC::Shm -MTie::Hash -MVariable::Magic=wizard,cast', <<'CODE');
our %m : shm = (a => 1);
tie my %other, q(Tie::StdHash);
$other{a} = 1;
for my $hash (\%m, \%other) {
    my %asked;
    my @kinds = qw(fetch store exists delete);
    cast %$hash, wizard(map { my $kind = $_; $kind => sub { $asked{$kind}++; return } } @kinds);
    for (1 .. 3) { my $x = $hash->{a}; my $y = $$hash{a}; $hash->{b} = 2; $hash->{b} = "x$_"; my $e = exists $hash->{b}; delete $hash->{b} }
    print join(q( ), map { $asked{$_} || 0 } @kinds), "\n";
}
CODE
    like $text, qr/\A(6 6 3 \d)\n\1\n\z/, 'Variable::Magic is asked of each element, in each round';
}
done_testing;
