use strict;
use warnings;
use lib 't/lib';
use ShmTest;
use Test::More;
use Time::HiRes qw(sleep);
use IPC::Shm;

plan skip_all => 'operators are not wrapped: each element is a change of its own' if !has_batches();

# Every operation is whole for every other process: while one process changes the
# variable all the time, a reader sees it before or after, never between.

our %h : shm;
our @a : shm;

sub while_changing {
    my ($name, $change, $look) = @_;
    $change->(0);
    my $pid = child(
        sub {
            for (my $i = 1;; $i++) { $change->($i) }
        }
    );
    my ($wrong, %seen) = ('');
    for (my $n = 0; $n < 20_000 || keys %seen < 3 && $n < 80_000; $n++) {
        sleep 0.001 if $n >= 20_000;    # a busy machine: the other has hardly run
        my ($state, $why) = $look->();
        $seen{$state}++ if defined $state;
        if (defined $why) { $wrong = $why; last }
        last if keys %seen > 200;
    }
    kill KILL => $pid;
    waitpid $pid, 0;
    is $wrong, '', "$name is whole";
    cmp_ok scalar(keys %seen), '>', 2, "… and was seen to change";
    return;
}

sub all_equal {
    my %v = map { $_ => 1 } @_;
    return keys %v <= 1;
}

while_changing(
    'a list assignment of a hash',
    sub {
        my ($i) = @_;
        %h = map { ("$_" => $i) } 1 .. 10 + $i % 20;
    },
    sub { my %c = %h; return ($c{1}, keys %c >= 10 && all_equal(values %c) ? undef : join ' ', %c) }
);
while_changing(
    'the number of keys',
    sub {
        my ($i) = @_;
        %h = map { ($_ => $i) } $i * 50 + 1 .. $i * 50 + 50;
    },
    sub {
        my ($n, $m) = (scalar(keys %h), 0 + keys(%h));
        return ((keys %h)[0], $n == 50 && $m == 50 ? undef : "$n, $m keys");
    }
);
while_changing(
    'a list assignment of an array',
    sub { my ($i) = @_; @a = ($i) x (5 + $i % 7) },
    sub { my @c = @a; return ($c[0], @c >= 5 && all_equal(@c) ? undef : "@c") }
);
while_changing(
    'splice',
    sub {
        my ($i) = @_;
        if (!$i) { @a = (0) x 20 }
        else     { splice @a, $i % 5, 10, ("s$i") x 10 }
    },
    sub {
        my @c = @a;
        my %n;
        $n{$_}++ for grep {/s/} @c;
        return (scalar(join ',', %n), @c == 20 ? undef : scalar(@c) . ' elements');
    }
);
while_changing(
    'sort in place',
    sub {
        my ($i) = @_;
        if ($i % 2) {
            @a = sort { $a <=> $b } @a;
        } else {
            @a = reverse 1 .. 30;
        }
    },
    sub {
        my @c    = @a;
        my $text = join ',', @c;
        return ($text . rand, $text eq join(',', 1 .. 30) || $text eq join(',', reverse 1 .. 30) ? undef : $text);
    }
);
while_changing(
    'reverse in place',
    sub {
        my ($i) = @_;
        if   ($i) { @a = reverse @a }
        else      { @a = (1 .. 30) }
    },
    sub {
        my @c    = @a;
        my $text = join ',', @c;
        return ($text . rand, $text eq join(',', 1 .. 30) || $text eq join(',', reverse 1 .. 30) ? undef : $text);
    }
);
while_changing(
    'assignment to a slice',
    sub { my ($i) = @_; @h{qw(x y z)} = ($i) x 3 },
    sub { my ($x, $y, $z) = @h{qw(x y z)}; return ($x, $x eq $y && $y eq $z ? undef : "$x $y $z") }
);
while_changing(
    'a key/value slice',
    sub { my ($i) = @_; @h{ 'a' .. 'z' } = ($i) x 26 },
    sub { my %c = %h{ 'a' .. 'z' }; return ($c{a}, keys %c == 26 && all_equal(values %c) ? undef : join ' ', %c) }
);
while_changing(
    'split to an array',
    sub { my ($i) = @_; @a = split /,/, join ',', ($i) x (5 + $i % 7) },
    sub { my @c = values @a; return ($c[0], @c >= 5 && all_equal(@c) ? undef : "@c") }
);
while_changing(
    'a key/value slice of an array',
    sub { my ($i) = @_; @a[ 0 .. 4 ] = ($i) x 5 },
    sub { my %c = %a[ 0 .. 4 ]; return ($c{0}, keys %c == 5 && all_equal(values %c) ? undef : join ' ', %c) }
);
while_changing(
    'deletion of a slice',
    sub {
        my ($i) = @_;
        if ($i % 2) { @h{ 'k' .. 'o' } = ($i) x 5 }
        else        { delete @h{ 'k' .. 'o' } }
    },
    sub {
        my @c = @h{ 'k' .. 'o' };
        my $n = grep {defined} @c;
        return ($n . rand, $n % 5 ? "$n of 5" : undef);
    }
);
while_changing(
    'push of a list',
    sub {
        my ($i) = @_;
        if   ($i % 50) { push @a, ($i) x 3 }
        else           { @a = () }
    },
    sub { my @c = @a; return (scalar(@c) . rand, @c % 3 ? scalar(@c) . ' elements' : undef) }
);
while_changing(
    'clearing by assignment of nothing and filling',
    sub { my ($i) = @_; %h = $i % 2 ? () : (a => 1, b => 2, c => 3) },
    sub { my $n   = () = keys %h; return ($n . rand, $n == 0 || $n == 3 ? undef : "$n keys") }
);

# Lexicals, and what else has an operator of its own.
{
    my (%l, @l) : shm;
    my $change = sub {
        my ($i) = @_;
        %l = map { ("$_" => $i) } 1 .. 10 + $i % 20;
    };
    while_changing('a lexical hash',
        $change, sub { my %c = %l; return ($c{1}, keys %c >= 10 && all_equal(values %c) ? undef : join ' ', %c) });
    while_changing('values', $change, sub { my @c = values %l; return ($c[0], @c >= 10 && all_equal(@c) ? undef : "@c") });
    while_changing(
        'keys',
        sub {
            my ($i) = @_;
            %l = map { ("$i-$_" => 1) } 1 .. 10;
        },
        sub {
            my @c = map {s/-.*//r} keys %l;
            return ($c[0], @c == 10 && all_equal(@c) ? undef : "@c");
        }
    );
    $change = sub { my ($i) = @_; @l = ($i) x (5 + $i % 7) };
    while_changing('a lexical array',     $change, sub { my @c = @l;           return ($c[0], @c >= 5 && all_equal(@c) ? undef : "@c") });
    while_changing('a slice of an array', $change, sub { my @c = @l[ 0 .. 4 ]; return ($c[0], @c == 5 && all_equal(@c) ? undef : "@c") });
}

# What is read as a whole may refer to variables that come and go.
{
    local $SIG{ALRM} = 'DEFAULT';
    alarm ChildTest::LIMIT;    # the end, if a look never ends
    %h = @a = ();
    my $pid = child(
        sub {
            for (my $i = 1;; $i++) {
                $h{ 'k' . $i % 7 } = { n => $i, list => [$i] };
                delete $h{ 'k' . ($i + 3) % 7 };
                push @a, { n => $i, list => [$i] };
                shift @a if @a > 5;
                @a = ()  if $i % 50 == 0;
            }
        }
    );
    until_true(sub { keys %h && @a });
    my %missing;
    my $check = sub {
        my ($what, @values) = @_;
        for my $value (@values) { $missing{$what}++ if ref $value ne 'HASH' || ($value->{n} // 0) != ($value->{list}[0] // -1) }
    };
    for (1 .. 3000) {
        my %copy = %h;
        my @list = @a;
        $check->('a copy of a hash',   values %copy);
        $check->('a copy of an array', @list);
        my @values = values %h;
        $check->('values', @values);
        my %slice = %h{qw(k1 k2 k3)};
        $check->('a slice of a hash', grep {defined} values %slice);
        my @slice = @a[ 0, 1, -1 ];
        $check->('a slice of an array', grep {defined} @slice);
        my @sorted = sort { $a->{n} <=> $b->{n} } grep {defined} @a;
        $check->('what is sorted', @sorted);
    }
    is join(', ', map {"$_: $missing{$_}"} sort keys %missing), '', 'what is read as a whole has all that it refers to';
    kill KILL => $pid;
    waitpid $pid, 0;
    alarm 0;
}

# One change is one publication.
{
    my $t      = tied %h;
    my $before = $t->serial;
    %h = map { ($_ => 1) } 1 .. 500;
    is $t->serial - $before, 1, 'a list assignment is one change';
    $before = $t->serial;
    @h{ 1 .. 100 } = ();
    is $t->serial - $before, 1, 'assignment to a slice is one change';
    {
        my ($x, $y, @two) = (0, 0, 1, 2);
        $before = $t->serial;
        (@h{ 1 .. 3 }, ($x, $y)) = (1 .. 5);
        is $t->serial - $before . "$x$y", '145', '… before others';
        $before = $t->serial;
        (@h{ 1 .. 3 }, @two[ 0, 1 ]) = (1 .. 5);
        is $t->serial - $before . "@two", '14 5', '… before two elements of a plain array';
        our ($p, $q);
        $before = $t->serial;
        ($p, $q) = (1, 2);
        ($h{1}, $q) = (1, 3);
        is $t->serial - $before . "$p$q", '113', '… beside a package variable';
    }
    $before = (tied @a)->serial;
    @a      = (1 .. 500);
    is + (tied @a)->serial - $before, 1, '… of an array as well';
    $before = (tied @a)->serial;
    @a = split /,/, '1,2,3';
    is + (tied @a)->serial - $before, 1, 'split to an array is one change';
    $before = $t->serial;
    delete @h{ 1 .. 100 };
    is $t->serial - $before, 1, 'deletion of a slice is one change';
    @a      = (3, 1, 2);
    $before = (tied @a)->serial;
    @a      = sort { $a <=> $b } @a;
    is + (tied @a)->serial - $before . " @a", '1 1 2 3', 'sort in place is one change';
    $before = (tied @a)->serial;
    @a      = reverse @a;
    is + (tied @a)->serial - $before . " @a", '1 3 2 1', 'reverse in place is one change';
    {
        delete local @h{ 101 .. 110 };
        is scalar(keys %h), 390, '… also for a while';
    }
    @h{ 1 .. 100 } = (1) x 100;
    is scalar(keys %h), 500, '… which ends';
    (%h) = (%h, more => 1);
    is scalar(keys %h), 501, 'a hash in its own list assignment';
    my $count = () = (%h = (a => 1, a => 2, b => 3));
    is "$count $h{a}", '4 2', 'keys that come twice: the last one counts';
    my ($first, %rest);
    ($first, %h) = ('head', k => 'v');
    is "$first $h{k} " . keys %h, 'head v 1', 'a hash behind a scalar';
    ($a[0], $a[1]) = ($a[1], $a[0]);
    is "@a[0, 1]", '2 3', 'swapping two elements';
    our %other : shm = (o => 1);
    (@a[ 0, 1 ], %other) = (5, 6, p => 2);
    is "@a[0, 1] " . join(',', %other), '5 6 p,2', 'two shared variables in one assignment';
    eval {
        no warnings;
        %h = (x => 1, y => sub { });
    };
    is join(',', %h),                                            'k,v',  'an assignment that dies changes nothing';
    is in_child(sub { (tied %h)->writelock(0) . join ',', %h }), '1k,v', '… and holds no lock';
}
done_testing;
