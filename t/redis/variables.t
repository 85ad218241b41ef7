use strict;
use warnings;
use lib 't/lib';
use RedisTest;
use Test::More;

# The engine's contract (IPC::Shm::Engine), on a server.

my $server = server();
my $engine = engine($server->url);
my $h      = hash($engine, '%main::h');
my $a      = array($engine, '@main::a');
my $s      = scalar_of($engine, '$main::s');

# Values and keys come back equal.
my %value = (
    undef      => undef,
    empty      => '',
    zero       => 0,
    'text 0'   => '0',
    negative   => -5,
    largest    => 18446744073709551615,
    smallest   => -9223372036854775807 - 1,
    third      => 1 / 3,
    minus_zero => -0.0,
    infinity   => 9**9**9,
    whole      => 1e15,
    bytes      => join('', map {chr} 0 .. 255),
    "\x{263a}" => "\x{263b}\x{e9}",
    "\xe9"     => 'latin',
    true       => !!1,
    false      => !!0,
    long       => 'x' x 1_000_000,
);
$h->{$_} = $value{$_} for keys %value;

for my $key (sort keys %value) {
    ok defined $value{$key} ? $h->{$key} eq $value{$key} : !defined $h->{$key}, "a value: " . ($key =~ s/[^ -~]/?/gr);
}
is_deeply tied(%$h)->all,    \%value,              'all of them in one look';
is_deeply [ sort keys %$h ], [ sort keys %value ], 'the keys';
is in_child(sub { (length $h->{long}) . ($h->{third} == 1 / 3 ? 'equal' : '') }), '1000000equal', 'a child sees them';
(my $upgraded = "\xe9") =~ s/\z/\x{263a}/;
chop $upgraded;
is $h->{$upgraded},    'latin', 'a key is found whatever its encoding is inside';
is delete $h->{third}, 1 / 3,   'delete returns the value';
ok !exists $h->{third}, '… which is gone';
%$h = (x => 1, y => 2);
is join(',', map {"$_$h->{$_}"} sort keys %$h), 'x1,y2', 'a list assignment';
is scalar(%$h) ? 1 : 0,                         1,       'a hash in boolean context';

push @$a, 1 .. 5;
is "@$a", '1 2 3 4 5', 'an array';
unshift @$a, -1, 0;
is shift(@$a) . pop(@$a),                      '-15',         'unshift, shift and pop';
is join(' ', splice @$a, 1, 2, 'a', 'b', 'c'), '1 2',         'splice returns what it cut out';
is "@$a",                                      '0 a b c 3 4', '… and puts in what is new';
splice @$a, 4, 1;
is "@$a", '0 a b c 4', 'splice near the end';
splice @$a, 1, 0, map {"n$_"} 1 .. 4;
is "@$a", '0 n1 n2 n3 n4 a b c 4', 'splice that makes it longer';
$#$a = 1;
is "@$a", '0 n1', '$#a';
$a->[3] = 'three';
is_deeply [ @$a, exists $a->[2] ? 'there' : 'not there' ], [ 0, 'n1', undef, 'three', 'not there' ], 'a hole';
is $a->[-1], 'three', 'from the end';

$$s = 40;
is tied($$s)->add(2),    42,   'add';
is tied($$s)->add(-0.5), 41.5, '… a fraction';
$$s = 9223372036854775807;
is tied($$s)->add(1),                               '9223372036854775808', '… beyond the signed integers';
is tied(%$h)->add('n', 3) + tied(%$h)->add('n', 4), 10,                    '… to an element';
dies_with { $$s = 'text'; tied($$s)->add(1) } qr/not a number/, '… not to a text';

# References.
my %mine = (list => [ 1, { deep => 2 } ]);
$h->{mine} = \%mine;
is in_child(sub { push @{ $h->{mine}{list} }, 3; $h->{mine}{list}[1]{deep} }), 2,      'nested data in a child';
is scalar @{ $mine{list} },                                                    3,      '… is the same data here';
is $h->{mine},                                                                 \%mine, 'the reference is the same one';
$h->{ring}    = my $ring = { name => 'ring' };
$ring->{self} = $ring;
is $h->{ring}{self}{self}{name}, 'ring', 'a ring';
$h->{object} = bless { n => 1 }, 'Some::Class';
is in_child(sub { ref $h->{object} }), 'Some::Class', 'a blessed reference';
$h->{new}{deep}[3] = 1;
is in_child(sub { scalar @{ $h->{new}{deep} } }), 4, 'autovivification';
{
    my $deep = my $top = [];
    $deep      = $deep->[0] = [] for 1 .. 300;
    $deep->[0] = 'bottom';
    $h->{deep} = $top;
    is in_child(
        sub {
            my $n  = 0;
            my $at = $h->{deep};
            while (ref $at) { $at = $at->[0]; $n++ }
            "$n$at";
        }
        ),
        '301bottom', 'deep data';
}
for my $bad (
    [ sub { },              'code' ],
    [ \*STDOUT,             'a glob' ],
    [ qr/x/,                'a regular expression' ],
    [ \%ENV,                'a special variable' ],
    [ [ { x => sub { } } ], 'code' ]
    )
{
    my $count = $engine->stats->{variables};
    dies_with { $h->{x} = $bad->[0] } qr/Cannot share $bad->[1].* at \Q$0\E line/, "$bad->[1] is refused";
    is $h->{x},                     1,      '… and the old value stays';
    is $engine->stats->{variables}, $count, '… no variable was made';
}
{
    require JSON::PP;
    $h->{json} = [ JSON::PP::true(), JSON::PP::false() ];
    is in_child(sub { ref($h->{json}[0]) . ($h->{json}[0] ? 1 : 0) . ($h->{json}[1] ? 1 : 0) }), 'JSON::PP::Boolean10',
        'constants of a class are stored by value';
    is JSON::PP::true() . '', '1', '… and stay what they were';
}
undef $ring;
%$h   = ();
%mine = ();
$engine->recover;
is $engine->stats->{variables}, 4, 'what nothing leads to is gone (%mine is still ours)' or diag explain [ $engine->list ];

# One change of many operations.
{
    my $object = tied %$h;
    %$h = (old => 1);
    my $serial = $object->serial;
    $object->_begin_operator;
    $h->{$_} = $_ for 1 .. 10;
    delete $h->{old};
    is "$h->{3}" . exists($h->{old}),                  '3' . '', 'an open change is seen here';
    is in_child(sub { $h->{3} // 'none', $h->{old} }), 'none|1', '… not by others';
    $object->commit;
    is $object->serial - $serial,                      1,        'it is one change';
    is in_child(sub { $h->{3}, $h->{old} // 'none' }), '3|none', '… which then is seen';
    $object->begin;
    %$h = ();
    $object->abort;
    is $h->{3}, 3, 'a change that was aborted has not happened';
    my $list = tied @$a;
    $list->_begin_operator;
    @$a = map { $_ * 2 } 1 .. 3;
    push @$a, 'more';
    is in_child(sub { scalar @$a }), 4, '(others see the old array)' if @$a == 4;
    $list->commit;
    is in_child(sub {"@$a"}), '2 4 6 more', 'one change of an array';
    $list->begin;
    my $first = shift @$a;
    is in_child(sub { tied(@$a)->lock('read', 0) }), 'undef', 'what is begun excludes others';
    push @$a, $first;
    $list->commit;
    is "@$a", '4 6 more 2', '… of what is in it';
}

# Whole contents, in pieces for the server.
{
    my @kinds = (undef, 0, -7, 1.5, 1e30, '', "b\0\xff", "\x{263a}", 18446744073709551615, "12", !!1, !!0, '-0', 'x' x 1000);
    my %large = map { (("$_" . ($_ % 3 ? '' : "\x{e9}") . ($_ % 5 ? '' : "\x{263a}")) => $kinds[ $_ % @kinds ]) } 1 .. 9001;
    my $texts = sub {
        join '|', map { IPC::Shm::Engine::Redis::Value::encode($_) } @_;
    };
    %$h = %large;
    is scalar(%$h) ? scalar keys %$h : 0, 9001, 'a list assignment of 9,001 pairs';
    is_deeply {
        map { $_ => $texts->($h->{$_}) } keys %$h
    }, { map { $_ => $texts->($large{$_}) } keys %large }, '… of each kind of value';
    is_deeply $h, tied(%$h)->all, '… by elements as together';
    my @pairs = (a => 1, b => 2, a => 3);
    %$h = @pairs;
    is_deeply [ $h->{a}, scalar keys %$h, tied(%$h)->SCALAR ], [ 3, 2, 2 ], 'a key that comes twice counts once';
    my $upgraded = "\x{e9}";
    utf8::upgrade($upgraded);
    %$h = ($upgraded => 1);
    is $h->{"\x{e9}"}, 1, 'keys are characters, however perl keeps them';
    @$a = map { $kinds[ $_ % @kinds ] } 1 .. 9001;
    is $texts->(@$a), $texts->(map { $kinds[ $_ % @kinds ] } 1 .. 9001), '… of 9,001 elements';
    is @$a,           9001,                                              '… which are counted';
    tied(@$a)->begin;
    @$a = (1) x 4500;
    delete $a->[3];
    $#$a = 4600;
    tied(@$a)->commit;
    is join(',', scalar @$a, map { exists $a->[$_] ? 1 : 0 } 2 .. 4, 4499, 4500), '4601,1,0,1,1,0', '… with holes';
    (%$h, @$a) = ();
}

# The end of a dump is the CRC-64 of what is before.
sub with_crc {
    no warnings 'portable';
    my ($dump) = @_;
    my $body   = substr $dump, 0, -8;
    my @table  = map {
        my $crc = $_;
        $crc = $crc & 1 ? $crc >> 1 ^ 0x95ac9329ac4bc9b5 : $crc >> 1 for 1 .. 8;
        $crc;
    } 0 .. 255;
    my $crc = 0;
    $crc = $table[ ($crc ^ $_) & 255 ] ^ $crc >> 8 for unpack 'C*', $body;
    return $body . pack 'Q<', $crc;
}

# They go as dumps, if the server takes them; else as texts. There is no difference but in the time.
{
    my $times = sub { $server->ask(qw(INFO commandstats)) =~ /cmdstat_rename:calls=([0-9]+)/ ? $1 / 2 : 0 };    # two for each that is taken
    my @pairs = map { ("$_" . ($_ % 5 ? '' : "\x{263a}") => $_ % 3 ? $_ : 'x' x ($_ * 10)) } 1 .. 2000;
    my $began = $times->();
    my $done  = sub { $times->() - $began };
    my $b     = array($engine, '@main::b');    # (an array whose $#a was looked at is assigned as texts)
    my $list  = tied @$b;
    $h->{kept} = { x => 1 };
    my $inner = $engine->stats->{variables};
    (%$h) = @pairs;
    is $done->(), 1, 'a list of 2,000 pairs: a dump';
    is_deeply $h, {@pairs}, '… is what was assigned';
    is $engine->stats->{variables}, $inner - 1, '… and what it referred to is gone';
    my $serial = tied(%$h)->serial;
    %$h = (@pairs, 1 => 'again');
    is_deeply [ $h->{1}, tied(%$h)->SCALAR, $done->(), tied(%$h)->serial - $serial ], [ 'again', 2000, 1, 1 ],
        'a key that comes twice: texts';
    @$b = @pairs;
    is_deeply [ @$b, $done->() ], [ @pairs, 2 ], 'an array';
    is in_child(sub { unshift @$b, 'new'; "$b->[0] $b->[1]" }), 'new 1',    '… is one';
    is $b->[-1],                                                $pairs[-1], '… for all';
    $list->begin;
    @$b = @pairs;
    $list->abort;
    is_deeply [ scalar @$b, $done->() ], [ 4001, 2 ], 'in an open change: what the change makes of it';
    $list->lock('write');
    @$b = @pairs;
    is in_child(sub { $list->lock('write', 0) ? 'taken' : 'held' }), 'held', 'a lock outlasts it';
    $list->unlock;
    tied(%$h)->store(brief => 1, 100);
    %$h = @pairs;
    is_deeply [ $done->(), scalar keys %$h ], [ 3, 2000 ], 'where elements may vanish: texts';
    tied(%$h)->expire(undef);
    tied(%$h)->sweep;

    $server->ask(qw(ACL SETUSER weak on >pw ~* &* +@all -restore));
    my $weak    = engine($server->url =~ s{//}{//weak:pw\@}r);
    my $w       = hash($weak, '%main::w');
    my $scripts = sub { $server->ask(qw(INFO commandstats)) =~ /cmdstat_evalsha:calls=([0-9]+)/; return $1 };
    my $sent    = sub { my $was = $scripts->(); %$w = @_; return $scripts->() - $was };
    %$w = @pairs;
    is_deeply $w, {@pairs}, 'without the right to RESTORE: texts';
    is $sent->(@pairs), 1, '… which is known, then';
    $server->ask(qw(ACL SETUSER weak +restore -rename));
    $weak->{conn}{redis} = undef;
    is $sent->(@pairs, last => 1), 2, 'a new connection tries again';
    is_deeply $w, { @pairs, last => 1 }, '… without the right to RENAME: texts';
    is $done->(), 3, '… all of them';
    $server->ask(qw(ACL SETUSER weak +rename -persist));
    $weak->{conn}{redis} = undef;
    is join(' ', $sent->(@pairs), $done->()), '2 3', '… or to PERSIST';
    $server->ask(qw(ACL SETUSER weak +persist));
    $weak->{conn}{redis} = undef;
    is join(' ', $sent->(@pairs), $done->()), '1 4', '… with all three: a dump';

    $server->ask(qw(CLIENT KILL USER weak));
    dies_with { %$w = (1 .. 1000) } qr/Lost the connection to the Redis server at .*: the operation may have happened/, 'a cut connection';
    is_deeply $w, {@pairs}, '… had not stored';
    is join(' ', $sent->(@pairs), $done->()), '1 5', '… and a new one does';

    # One that the server does not take: the type is one that there is not.
    my $real = \&IPC::Shm::Engine::Redis::Variable::_assign_dump;
    no warnings 'redefine';
    local *IPC::Shm::Engine::Redis::Variable::_assign_dump =
        sub { my ($self, $dump) = @_; substr $dump, 0, 1, "\x7f"; return $real->($self, with_crc($dump)) };
    is $sent->(@pairs), 2, 'a dump that is refused';
    is_deeply $w, {@pairs}, '… goes as texts';
    *IPC::Shm::Engine::Redis::Variable::_assign_dump = $real;
    is join(' ', $sent->(@pairs), $done->()), '1 5', '… so do those of the next seconds';
    $weak->{conn}{no_dumps} -= 10;
    is join(' ', $sent->(@pairs), $done->()), '1 6', '… then it is tried again';

    # A handler of a signal may empty what is assigned from, while the server is asked.
    my @source = map {"value $_"} 1 .. 300;
    local *IPC::Shm::Engine::Redis::Variable::_assign_dump = sub { @source = (); return 0 };
    @$b = @source;
    is_deeply $b, [ map {"value $_"} 1 .. 300 ], 'what is assigned is what there was at first';
    *IPC::Shm::Engine::Redis::Variable::_assign_dump = $real;
    (%$h, @$b) = ();
    tied(%$w)->remove;
    $list->remove;
}

# Changes by others.
{
    my $object = tied %$h;
    is $object->wait_change(0) ? 1 : 0, 0, 'no change';
    $h->{own} = 1;
    is $object->wait_change(0) ? 1 : 0, 0, 'what this process does is none';
    my $pid = child(sub { select undef, undef, undef, 0.1; $h->{other} = 1 });
    is $object->wait_change(20) ? 1 : 0, 1, 'a change of another process ends the wait';
    is $h->{other},                      1, '… and is there';
    finish($pid);
}

# Lives.
{
    my $n       = $engine->stats->{variables};
    my $lexical = hash($engine, undef);
    $lexical->{x} = 1;
    is $engine->stats->{variables}, $n + 1, 'an anonymous variable';
    pipe my $r, my $w or die $!;
    my $pid = child(sub { close $w; sysread $r, my $x, 1; die if $lexical->{x} != 1 });
    undef $lexical;
    is $engine->stats->{variables}, $n + 1, '… lives while a child has it, which has not touched it yet';
    close $w;
    ok finish($pid), '… and finds it';
    is $engine->stats->{variables}, $n, '… then it is gone';
}
is join(' ', sort $engine->names), '$main::s %main::h @main::a', 'the names';
tied(%$h)->remove;
dies_with { $h->{x} } qr/The shared %main::h was removed at \Q$0\E/, 'a removed variable';
is_deeply $engine->variable(3, '%main::h', 0), undef, '… has no name';
$engine->cleanup;
is scalar($engine->names), 0, 'cleanup';
is_deeply [ grep { !/:c\z|:format\z/ } @{ $server->ask('KEYS', '*') } ], [], '… leaves nothing';
done_testing;
