# What the documentation names is there: files, and functions of the code.
use strict;
use warnings;
use Test::More;

sub text_of {
    my ($file) = @_;
    open my $in, '<:encoding(UTF-8)', $file or die "$file: $!";
    local $/;
    return scalar readline $in;
}

sub unique {
    my %seen;
    return grep { !$seen{$_}++ } @_;
}

my @pod = (
    glob('lib/Data/Pool/*.pm lib/Data/Pool/Shared/*.p* lib/Data/Pool/Shared/Tool/*.pm lib/IPC/*.pm lib/IPC/Shm/*.p* lib/IPC/Shm/*/*.pm'),
    'script/shmpool'
);
my @plain = qw(README CONTRIBUTING xt/README);
my $place = qr{(?:t|xt|eg|bench|lib|script|store|xs)/[\w/-]+(?:\.\w+)*};

subtest 'files' => sub {
    for my $file (@plain) {
        ok -e || -e "$_.c", "$file: $_" for unique(text_of($file) =~ m{(?<![\w/.])($place)(?![\w*])}g);
    }
    for my $file (@pod) {
        ok -e, "$file: $_" for unique(text_of($file) =~ m{F<($place/?|[\w.]+\.(?:h|c|xs|PL|psgi))>}g);
    }
};

subtest 'names of the code' => sub {
    my $code = join '',
        map { text_of($_) } glob('*.h *.c *.xs store/*.[ch] xs/*.[ch] xs/*.xs lib/*/*.pm lib/*/*/*.pm lib/*/*/*/*.pm t/lib/*.pm');
    my $pages = join '', map { text_of($_) } glob 'lib/*/*/Internals.pod lib/*/*/*/Internals.pod';
    my @names = ($pages =~ /\b((?i:pool|shm|store)_\w+)\b(?!\.h)/g, $pages =~ /C<(\w*[a-z]_\w+)>/g);
    cmp_ok @names, '>', 60, 'there are names';
    ok $code =~ /\b\Q$_\E\b/, $_ for sort(unique(@names));
};

done_testing;
