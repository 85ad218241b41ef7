use strict;
use warnings;
use lib 't/lib';
use File::Temp ();
my $mount;

BEGIN {
    require Test::More;
    $mount = File::Temp::tempdir(CLEANUP => 1);
    if ($> != 0 || system("mount -t tmpfs -o size=3m none '$mount' 2>/dev/null") != 0) {
        Test::More->import(skip_all => 'needs the right to mount a small tmpfs');
    }
}

END {
    if (defined $mount && -e "$mount/.mounted") { unlink "$mount/.mounted"; system "umount -l '$mount'" }
}
use ShmTest;
use Test::More;

BEGIN {
    open my $mark, '>', "$mount/.mounted" or die $!;
    $ENV{IPC_SHM_NAMESPACE} = "$mount/space";
}
use IPC::Shm;

# A filesystem that is full is an exception from the store that did not fit.
our %h : shm;
our @a : shm;
our $s : shm = 'before';
$h{small} = 'value';
@a = (1, 2, 3);
our @long : shm = (1 .. 3000);

my $n = 0;
1 while eval { $h{ "key" . $n } = 'x' x 1000; $n++; 1 };
like $@, qr/No space left|no space left/i, 'a full filesystem is an exception';
like $@, qr/ at \Q$0\E line/,              '… from the place of the store';
cmp_ok $n, '>', 500, '… after the namespace was used up';
is scalar(keys %h), $n + 1, 'the store that did not fit is not there';
is in_child(sub { scalar(keys %h) . (exists $h{"key$n"} ? 'there' : 'not') . $h{small} }), $n + 1 . 'notvalue', '… for the others neither';
ok !eval { $s = 'y' x 2_000_000; 1 }, 'a large value does not fit';
is $s, 'before', '… and the old one stays';
ok !eval { push @a, ('z' x 500_000) x 3; 1 }, 'a push does not fit';
is "@a", '1 2 3', '… and nothing of it is there';
ok !eval {
    %h = (%h, map { ("more$_" => 'm' x 1000) } 1 .. 2000);
    1;
},
    'a list assignment does not fit';
is scalar(keys %h), $n + 1, '… and the old hash stays' if has_batches();
{
    # Until not even the smallest page is to be had.
    my $m = 0;
    for my $length (300, 100, 20) {
        1 while eval { $h{ "less$length." . $m++ } = 'x' x $length; 1 }
    }
    is eval { join ' ', splice @long, 1000, 3 }, '1001 1002 1003',      'elements go out of the middle';
    is "@long[999, 1000, -1] " . @long,          '1000 1004 3000 2997', '… and what is behind them comes nearer';
}
{
    my ($object, $m) = (tied @long, 0);
    for my $length (300, 100, 20, 1) {
        1 while eval { $h{ "least$length." . $m++ } = 'x' x $length; 1 }
    }
    my @is = @long;
    $object->begin;
    my $done = eval {
        splice @long, 2000, 5;
        splice @long, 1000, 5;
        shift @long;
        pop @long;
        delete $long[500];
        splice @long, 20, 2;
        1;
    };
    is $done ? '' : $@, '', 'elements go out of the middle again and again in one change';
    $object->abort;
    is "@long", "@is", '… which is undone';
    is eval {
        $object->update(
            10 => sub {
                splice @long, 2000, 5;
                splice @long, 1000, 5;
            }
        );
        join ' ', scalar(@long), @long[ 1000, -1 ];
    } // $@, join(' ', @is - 10, @is[ 1005, -1 ]), '… the same within update';
}
my %data = (deep => [ map { 'd' x 100_000 } 1 .. 30 ]);
ok !eval { $h{small} = \%data; 1 }, 'a structure does not fit';
is $h{small}, 'value', '… the old value stays';
ok !tied(%data) && @{ $data{deep} } == 30 && $data{deep}[29] eq 'd' x 100_000, '… and the structure is as it was';
ok !grep({ !defined $_->{name} } IPC::Shm->list),                              '… without variables that nobody has';
is in_child(sub { (tied %h)->writelock(0) . (tied @a)->writelock(0) . (tied $s)->writelock(0) }), '111', 'no lock is left behind';
%h = ();
ok eval { $h{again} = 'x' x 1000; 1 }, 'what was cleared makes room';
ok eval { $s = 'y' x 500_000; 1 }, '… for others as well' or diag $@;
is in_child(sub { length $s }), 500_000, '… seen by all';
IPC::Shm->cleanup;
done_testing;
