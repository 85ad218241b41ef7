#!/usr/bin/env perl
# Every recipe of the cookbook, and every synopsis, runs as it is printed: Perl's and C's.
use strict;
use warnings;
use lib 't/lib';
use Config;
use File::Temp 'tempdir';
use RecipeTest;
use Test::More;

my $perl = join q{ }, map {qq("$_")} perl_command();

sub runs {
    my ($title, $code, $prelude) = @_;
    my $run    = tempdir(CLEANUP => 1);
    my $script = write_recipe($run, $code, $prelude);
    local $ENV{IPC_SHM_NAMESPACE} = "$run/namespace";
    my $output = qx{cd "$run" && $perl "$script" 2>&1 </dev/null};
    is $?, 0, $title or diag $output;
    unlike $output, qr/warn|uninit|deprecat/i, "$title: without a warning";
    return;
}

runs("cookbook: $_->[0]", @$_[ 1, 2 ]) for cookbook();

# A synopsis names files in /dev/shm; here they go where nobody else looks.
sub synopsis_runs {
    my ($file, $code, $prelude) = @_;
    $code =~ s{(['"])/dev/shm/([^'"]*)\1}{"\$run/$2"}g;
    return runs("synopsis of $file", $code, $prelude);
}

# What a synopsis takes for granted.
my $a_pool = <<'PERL';
use Data::Pool::Shared;
my $path = "$run/jobs";
my $pool = Data::Pool::Shared::I64->new($path, 100);
$pool->alloc_n(7);
my $slot = $pool->alloc;
PERL
my $variables = 'use IPC::Shm; our %config : shm = (a => 1); my %variable : shm; my $reference = \%config;';
my %before    = (
    'IPC/Shm/Sharing.pm'              => 'require JSON::PP; my $engine; $reference = JSON::PP::true();',
    'IPC/Shm/Copy.pm'                 => 'use JSON::PP;',
    'IPC/Shm/Queue.pm'                => 'my @queue : shm; push @queue, 1; sub work { }',
    'IPC/Shm/Elements.pm'             => 'my %hits : shm; my %leader : shm; my $address = "::1"; $config{limit} = 12;',
    'Data/Pool/Shared/Tool.pm'        => '@ARGV = "--version";',
    'Data/Pool/Shared/Tool/Map.pm'    => 'my ($width, $height) = (80, 24); my $glyphs = { free => ".", stale => "X", levels => ["#"] };',
    'Data/Pool/Shared/Tool/Plain.pm'  => 'my $text = "[1]"; require JSON::PP;',
    'Data/Pool/Shared/Tool/Sample.pm' => 'my $sample_before;',
    'Data/Pool/Shared/Tool/Text.pm'   => 'my ($name, $size) = ("x", 5);',
    'Data/Pool/Shared/Tool/View.pm'   => <<'PERL',
use Data::Pool::Shared::Tool::Sample;
my ($sample, $note, $rows, $columns) = (Data::Pool::Shared::Tool::Sample->take($pool), '', 24, 80);
PERL
);
my @modules = glob 'lib/Data/Pool/*.pm lib/Data/Pool/Shared/*.pm lib/Data/Pool/Shared/Tool/*.pm lib/IPC/*.pm lib/IPC/Shm/*.pm';
for my $file (@modules) {
    my ($synopsis) = grep { $_->[0] eq 'SYNOPSIS' } recipes($file);
    ok $synopsis, "$file has a synopsis" or next;
    my $name    = $file =~ s{^lib/}{}r;
    my $module  = $name =~ s{/}{::}gr =~ s{\.pm$}{}r;
    my $own     = $name =~ m{/Tool/|IPC/Shm/};
    my $prelude = $own ? "$a_pool $variables use $module;" : '';
    synopsis_runs($file, $synopsis->[1], $prelude . ($before{$name} // ''));
}

for my $page (glob 'lib/IPC/Shm/From*.pod') { runs("$page: $_->[0]", $_->[1], '') for recipes($page) }

# The code of a comment or a text file: what is indented.
sub indented {
    my ($file, $from, $to, $margin) = @_;
    open my $in, '<', $file or die "$file: $!\n";
    my @lines = grep { /$from/ .. /$to/ } readline $in;
    return join '', map { /^$margin {4}(.*\n)/ ? $1 : () } @lines;
}

synopsis_runs('README', indented('README', qr/^In a nutshell/, qr/^How it works/, ''), '');

SKIP: {
    my @compiler = (split(' ', $Config{cc}), '-Wall', '-Werror', "-I.");
    skip "no C compiler: $compiler[0]", 3 if system("@compiler --version >/dev/null 2>&1") != 0;
    my $dir = tempdir(CLEANUP => 1);
    my %c   = (
        'pool.h'      => '',
        'pool_grow.h' => 'char job[256] = "work";',
        'pool_lock.h' =>
            'pool_spec_t spec = { POOL_I64, 10, 8, 0, 0 }; pool_t *pool = pool_open(NULL, &spec, NULL); pool_lock_t lock = { 0, 0, 0 };',
    );
    for my $header (sort keys %c) {
        my $code = indented($header, qr{^/\*}, qr{\*/}, qr{ \* }) =~ s/^cc .*\n//mr =~ s{"/dev/shm/(?:\w+/)*}{"$dir/}gr;
        open my $out, '>', "$dir/synopsis.c" or die $!;
        print {$out}
            "#include \"$header\"\nstatic inline void put_in_order(void) {}\nint main(void)\n{\n$c{$header}\n$code\nreturn 0;\n}\n";
        close $out or die $!;
        my $output = qx{@compiler -o '$dir/synopsis' '$dir/synopsis.c' pool.c -lpthread 2>&1 && '$dir/synopsis' 2>&1};
        ok $code =~ /pool/ && $? == 0, "synopsis of $header" or diag $output;
    }
}

done_testing;
