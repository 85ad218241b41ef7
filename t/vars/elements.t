use strict;
use warnings;
use lib 't/lib';
use ShmTest;
use Test::More;
use Time::HiRes  qw(sleep);
use Scalar::Util ();
use IPC::Shm;

# One element at a time: each call is one change, whatever comes between or dies.

our %h : shm;
our @a : shm;
our $s : shm;
my ($hash, $array, $scalar) = (tied %h, tied @a, tied $s);

sub dies {
    my ($code) = @_;
    return eval { $code->(); 1 } ? '' : $@;
}

{

    package ChangesKey;
    my @reused;
    sub TIESCALAR { return bless [ $_[1] ] }

    sub FETCH {
        undef ${ $_[0][0] };
        @reused = map { 'Z' x 3000 } 1 .. 50;
        ${ $_[0][0] } = 'new_key';
        return 1;
    }
}

# --- add
is $hash->add(x => 5),    5,   'absent counts as 0';
is $hash->add(x => 2.5),  7.5, 'with fractions';
is $hash->add(x => '-7'), 0.5, 'and down';
$h{undef} = undef;
is $hash->add(undef => 1), 1, 'undef counts as 0';
$h{max} = 9223372036854775807;
is $hash->add(max => 1),  '9223372036854775808', 'exact beyond 63 bits';
is $hash->add(max => -2), '9223372036854775806', '… and back';
$h{max} = 18446744073709551615;
is $hash->add(max => -1), '18446744073709551614', '… of the largest there is';
$h{max} = -5;
is $hash->add(max => 18446744073709551615), '18446744073709551610', '… and from below zero';
is $hash->add("\x{263a}" => 2),             2,                      'a key of characters';
is $h{"\x{263a}"},                          2,                      '… is that key';
is $array->add(3, 4),                       4,                      'an element of an array';
is join(',', map { $_ // '-' } @a),         '-,-,-,4',              '… which grows';
is $scalar->add(3),                         3,                      'a scalar';
is $s,                                      3,                      '… has it';
$h{word} = 'abc';
like dies(sub { $hash->add(word => 1) }), qr/\ACannot add to a value that is not a number at \S*elements\.t line/, 'not to a word';
like dies(sub { $hash->add(x => 'b') }),  qr/\ACannot add what is not a number at \S*elements\.t line/,            'nor a word';
like dies(sub { $array->add(-1, 1) }),    qr/index of -1 is out of range at \S*elements\.t line/,                  'no negative index';
like dies(sub { $hash->add(x => Scalar::Util::dualvar(5, 'b')) }), qr/\ACannot add what is not a number at/, 'nor a word with a number';
is $h{word}, 'abc', 'and nothing was changed';
{
    my $key = 'q' x 3000;
    tie my $magic, 'ChangesKey', \$key;
    is $hash->add($key, $magic),                             1, 'a delta whose magic changes the key';
    is scalar(grep { exists $h{$_} } 'q' x 3000, 'new_key'), 1, '… is of that key, or the one before';
    delete @h{ 'q' x 3000, 'new_key' };
}

# --- insert, replace, exchange, update
ok $hash->insert(new  => 1), 'insert where there is none';
ok !$hash->insert(new => 2), '… and not where there is';
is $h{new}, 1, '… which stays';
$h{none} = undef;
ok !$hash->insert(none => 1), 'a key with undef is there';
ok $array->insert(1,  'one'), 'insert in a hole of an array';
ok !$array->insert(1, 'two'), '… once';
undef $s;
ok $scalar->insert(7),           'insert into an undefined scalar';
ok !$scalar->insert(8),          '… once';
ok $hash->replace(new => 1, 2),  'replace what is there';
ok !$hash->replace(new => 1, 3), '… and only that';
is $h{new}, 2, '… has replaced';
ok $hash->replace(lead => undef, 'me'),   'replace undef: if absent';
ok !$hash->replace(lead => undef, 'you'), '… only then';
ok !$hash->replace(absent => 1, 2),       'what is absent is not replaced';
ok !exists $h{absent},                    '… nor made';
ok $scalar->replace(7, 9),                'replace a scalar';
is $hash->exchange(new => 'n'),              2,      'exchange returns the old';
is $hash->exchange(other => 1),              undef,  '… undef where there was none';
is $hash->update(new => sub { $_ .= '!' }),  'n!',   'update returns the new';
is $h{new},                                  'n!',   '… and stores it';
is $array->update(0 => sub { $_ = 'zero' }), 'zero', 'update an array';
is $scalar->update(sub { $_++ }),            10,     'update a scalar';
like dies(
    sub {
        $hash->update(new => sub { $_ = 'lost'; die "oops\n" });
    }
    ),
    qr/\Aoops\n\z/, 'what the sub dies of is passed on';
is $h{new}, 'n!', '… and nothing has happened';
like dies(
    sub {
        no warnings 'exiting';
        for (1) {
            $hash->update(new => sub { $_ = 'lost'; last });
        }
    }
    ),
    qr/\ACan't .*last.* at \S*elements\.t line/, 'last does not lead out of the sub';
is $h{new}, 'n!', '… and nothing has happened';
for (my $outer = 'outer') {    ## no critic (it is to be aliased)
    $hash->update(new => sub { $_ = "$_" });
    is $_, 'outer', '$_ is what it was';
}
{
    my $key = 'new';
    is $hash->update($key => sub { $key = 'no'; $_ }), 'n!', 'the key may change meanwhile';
    ok !exists $h{no}, '… to no effect';
    my $kept = \undef;
    $hash->update(new => sub { $kept = \$_ });
    $$kept = 'x';
    is $h{new}, 'n!', 'a reference to $_ that is kept leads to a copy';
}
is in_child(
    sub {
        $hash->update(new => sub { $_ .= '?' });
        $h{new};
    }
    ),
    'n!?', '… and nobody is locked out';
$hash->update(new => sub { $_ = { n => 1 } });
is $h{new}{n}, 1, 'update to a reference';
$hash->update(new => sub { $_->{n}++ });
is $h{new}{n}, 2, '… that is changed';
ok $hash->replace(new => $h{new}, 'x'), 'replace a reference by the same';
$hash->update(outer => sub { $_ = 1; $hash->add(inner => 1); $hash->insert(third => 3) });
is "@h{qw(outer inner third)}", '1 1 3', 'calls within an update are part of it';
dies(
    sub {
        $hash->update(outer => sub { $hash->add(inner => 1); die "no\n" });
    }
);
is $h{inner}, 1, '… also when it dies';
like dies(sub { $hash->update(new => 1) }),  qr/\Aupdate takes a sub at \S*elements\.t line/,                     'update without a sub';
like dies(sub { $hash->insert('new') }),     qr/\Ainsert takes a key and a value at \S*elements\.t line/,         'insert without a value';
like dies(sub { $hash->replace(new => 1) }), qr/\Areplace takes a key and an old and a new value at \S*elements/, 'replace without one';
like dies(
    sub {
        $hash->insert(new2 => sub { });
    }
    ),
    qr/\ACannot share code at \S*elements\.t line/, 'what cannot be shared';
like dies(sub { $array->ttl(0) }), qr/Only the elements of hashes can expire.*at \S*elements\.t line/, 'arrays do not expire';

# --- wrong use is told on each engine, and changes nothing
{
    my @before = ({%h}, [@a]);
    my @wrong  = (
        [ $hash,  add         => 'new' ],
        [ $hash,  add         => 'new', 1, 2 ],
        [ $array, add         => 0 ],
        [ $array, add         => 0, 1, 2 ],
        [ $hash,  store       => ],
        [ $hash,  store       => 'new' ],
        [ $hash,  store       => 'new', 1, 2, 3 ],
        [ $hash,  expire      => ],
        [ $hash,  expire      => 1, 2 ],
        [ $hash,  limit       => ],
        [ $hash,  limit       => 1, 2 ],
        [ $hash,  ttl         => ],
        [ $hash,  sweep       => 'new' ],
        [ $hash,  remove      => 'new' ],
        [ $array, remove      => 0 ],
        [ $array, wait_change => 0, 1 ],
        map { [ $array, add => $_, 1 ], [ $array, insert => $_, 1 ], [ $array, exchange => $_, 1 ], [ $array, store => $_, 1 ] } -1,
        2**30, 1e18
    );
    my @accepted = grep {
        my ($object, $method, @arguments) = @$_;
        dies(sub { $object->$method(@arguments) }) !~ /takes|Usage|out of range/;
    } @wrong;
    is join(', ', map {"$_->[1](@$_[2 .. $#$_])"} @accepted), '', 'wrong arguments are refused';
    is_deeply [ {%h}, [@a] ], \@before, '… and nothing is changed';
}

# --- many at once
sub together {
    my ($code) = @_;
    return finish(map { child($code) } 1 .. 4);
}
ok together(sub { $hash->add("count" . $_ % 3, 1) for 1 .. 3000 }), 'four processes add';
is $h{count0} + $h{count1} + $h{count2}, 12_000, '… none is lost';
ok together(sub { $array->add(5, 1) for 1 .. 2000 }), 'the same in an array';
is $a[5], 8000, '… none is lost';
ok together(
    sub {
        $hash->update(updated => sub { $_ .= 'x' }) for 1 .. 500;
    }
    ),
    'four processes update';
is length $h{updated}, 2000, '… none is lost';
my @won = sort map { $h{"won$_"} // 0 } 1 .. 4;
$h{winners} = 0;
ok together(sub { $hash->insert("seat$_" => $$) and $hash->add(winners => 1) for 1 .. 500 }), 'four processes insert';
is $h{winners}, 500, '… each seat goes to one';

# --- kill -9 in the middle
SKIP: {
    skip 'an update on a server holds the write lock: readers wait', 4 if on_server();
    my $pid = child(
        sub {
            $hash->update(held => sub { $_ = 'half'; $h{sub} = 'half'; kill STOP => $$; sleep 60 });
        }
    );
    ok stopped($pid), 'a process stops in the middle of an update';
    is $h{held}, undef, '… others read on, and see nothing of it';
    kill KILL => $pid;
    waitpid $pid, 0;
    is $hash->add(held => 1), 1,     'when it is killed its change has not happened';
    is $h{sub},               undef, '… nothing of it';
}
for my $round (1 .. 15) {
    %h = (left => 1000, right => 0);
    my @pids = map {
        child(
            sub {
                while (1) {
                    $hash->update(left => sub { $_--; $hash->add(right => 1) });
                }
            }
        )
    } 1 .. 2;
    sleep 0.01 + rand 0.02;
    kill KILL => @pids;
    waitpid $_, 0 for @pids;
    my %now = %h;
    is $now{left} + $now{right}, 1000, "killed in the middle, $round: whole" or last;
}

# --- within an operator
@a = (3, 1, 2);
@a = sort { $array->add(9, 1); $a <=> $b } @a;
is "@a[0..2]", '1 2 3', 'a call within an operator on the same variable';
%h = map { ("k$_" => $hash->add(n => 1)) } 1 .. 3;
is join(',', map { $h{"k$_"} } 1 .. 3), '1,2,3', 'a call where the variable is assigned to';

IPC::Shm->cleanup;
done_testing;
