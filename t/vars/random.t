use strict;
use warnings;
use lib 't/lib';
use ShmTest;
use Test::More;
use IPC::Shm;

# Thousands of random operations on a shared variable and on a plain one: what
# they return and what they leave must be the same. Then again with two processes
# that take turns at the shared variable while each keeps its own plain one.

my $seed = $ENV{SHM_SEED} || time ^ $$;
diag "seed $seed (set SHM_SEED to repeat)";

my $random;
sub start_random { $random = shift; return }

# A generator of our own, so that two processes draw the same numbers.
sub draw { my ($n) = @_; $random = ($random * 1103515245 + 12345) % 2147483648; return int(($random >> 8) % $n) }

my @strings = ('', 'a', "b\0c", 'x' x 95, 'y' x 96, 'z' x 300, "\x{e9}", "\x{263a}", "\x{263a}" x 200, "\xff\xfe", '0', '00', '-1', '1e3');

sub value {
    my $kind = draw(12);
    return undef                                            if $kind == 0;
    return draw(100)                                        if $kind < 3;
    return -draw(1000)                                      if $kind == 3;
    return draw(2147483648) * 4294967296 + draw(2147483648) if $kind == 4;
    return draw(1000) / 7                                   if $kind == 5;
    return $strings[ draw(scalar @strings) ];
}

sub key { return draw(3) ? 'k' . draw(40) : $strings[ draw(scalar @strings) ] }

sub show {
    my ($value) = @_;
    return 'undef'                                     if !defined $value;
    return "number " . unpack('H*', pack 'F>', $value) if $value =~ /\A-?[0-9]+\.[0-9]+\z/;
    my $text = "$value";
    utf8::encode($text) if utf8::is_utf8($text);
    return (utf8::is_utf8($value) ? 'c:' : 'b:') . $text;
}

sub show_all {
    return join ',', map { show($_) } @_;
}

my @array_operations = (
    sub { my ($x, @v) = @_; push @$x, @v },
    sub { my ($x, @v) = @_; unshift @$x, @v },
    sub { pop @{ $_[0] } },
    sub { shift @{ $_[0] } },
    sub { my ($x, @v) = @_; my $i = @$x ? draw(scalar @$x) : 0; $x->[$i] = $v[0]; $x->[-1] },
    sub { my ($x, @v) = @_; $x->[ draw(30) ] = $v[0]; scalar @$x },
    sub { my ($x) = @_; return if !@$x; my $i = -1 - draw(scalar @$x); ($x->[$i], exists $x->[$i]) },
    sub { my ($x) = @_; delete $x->[ draw(30) ] },
    sub { my ($x) = @_; my $i = draw(30); exists $x->[$i] },
    sub { my ($x) = @_; $#$x = draw(20) - 1; scalar @$x },
    sub { my ($x, @v) = @_; my $o = draw(@$x + 1);                   my $l = draw(5);     splice @$x, $o, $l, @v },
    sub { my ($x, @v) = @_; my $o = @$x ? -1 - draw(scalar @$x) : 0; my $l = draw(7) - 3; splice @$x, $o, $l, @v },
    sub { my ($x, @v) = @_; my $o = draw(@$x + 1);                   scalar splice @$x, $o, draw(4) },
    sub { my ($x) = @_; my $o = draw(@$x + 1); splice @$x, $o },
    sub { my ($x, @v) = @_; @$x = (@v, 1, 2); scalar @$x },
    sub { my ($x, @v) = @_; my $n = (@$x = (@$x, @v)); $n },
    sub {
        my ($x) = @_;
        @$x = sort { show($a) cmp show($b) } @$x;
        my @copy = @$x;
    },
    sub { my ($x) = @_; @$x = reverse @$x; my @copy = @$x },
    sub { my ($x, @v) = @_; @$x[ 0 .. $#v ] = @v; @$x[ 0 .. 1 ] },
    sub { my ($x, @v) = @_; local $x->[1] = $v[0]; $x->[1] },
    sub { my ($x) = @_; no warnings 'uninitialized'; $x->[$_] .= 'e' for 0 .. $#$x; $#$x },
    sub {
        my ($x) = @_;
        my @got;
        keys @$x;
        while (my ($i, $v) = each @$x) { push @got, $i, $v }
        @got;
    },
    sub {
        my ($x) = @_;
        my @copy = @$x;
        grep {defined} @copy;
    },
    sub { my ($x) = @_; draw(10) ? scalar @$x : (@$x = ()) },
    sub {
        my ($x) = @_;
        join ' ', map { defined $x->[$_] ? 1 : 0 } 0 .. $#$x;
    },
    sub { my ($x) = @_; $x->[ -1 - @$x - draw(3) ] },
    sub { my ($x, @v) = @_; $x->[ -1 - @$x - draw(3) ] = $v[0] },
    sub { my ($x) = @_; my $i = -1 - draw(@$x + 3);   (exists $x->[$i], exists $x->[ -$i ]) },
    sub { my ($x) = @_; my $i = -1 - draw(@$x + 3);   delete $x->[$i] },
    sub { my ($x) = @_; my @i = (draw(12), draw(12)); delete @$x[@i] },
    sub { my ($x) = @_; my @i = (draw(@$x + 1));      %$x[ @i, 0 ] },
    sub { my ($x, @v) = @_; splice @$x, -1 - @$x - draw(3), 1, @v },
    sub { my ($x, @v) = @_; splice @$x, @$x + draw(3), draw(3), @v },
    sub { my ($x, @v) = @_; my @r = splice @$x, draw(@$x + 1), -draw(@$x + 4), @v; (scalar @r, @r) },
    sub { my ($x) = @_; draw(10) ? () : splice @$x },
    sub { my ($x, @v) = @_; my $n = push @$x, @v; my $m = unshift @$x, @v[ 1 .. $#v ]; ($n, $m) },
    sub { my ($x, @v) = @_; my ($first, @rest) = @$x; ($first, scalar @rest) },
    sub { my ($x, @v) = @_; return if @$x < 2; @$x[ 0, 1 ] = @$x[ 1, 0 ]; @$x[ 0, 1 ] },
    sub { my ($x, @v) = @_; my $n = (($x->[0], $x->[1]) = @v); ($n, $x->[1]) },
    sub { my ($x, @v) = @_; my $n = () = (@$x = @v); $n },
    sub { my ($x) = @_; undef $x->[ draw(6) ]; scalar @$x },
    sub { my ($x) = @_; draw(20) ? 1 : undef @$x },
    sub {
        my ($x) = @_;
        no warnings 'uninitialized';
        $_ .= '+' for grep { !ref } @$x;
        1;
    },
    sub { my ($x) = @_; no warnings 'uninitialized'; s/x+/x/ for @$x; scalar @$x },
    sub {
        my ($x, @v) = @_;
        no warnings 'uninitialized';
        my $copy = join ',', map {"$_"} @$x;
        length $copy;
    },
    sub { my ($x, @v) = @_; my $r = \$x->[ draw(8) ]; $$r = $v[0]; scalar @$x },
    sub {
        my ($x, @v) = @_;
        { local @$x[ 0, 1 ] = @v; }
        scalar @$x;
    },
    sub {
        my ($x, @v) = @_;
        return if !@$x;
        { delete local $x->[0]; }
        scalar @$x;
    },
    sub { my ($x) = @_; my $i = draw(5); $x->[$i] //= 'default'; $x->[$i] ||= 'true'; $x->[$i] &&= 'both'; $x->[$i] },
    sub {
        my ($x) = @_;
        my $n = 0;
        while (defined(my $v = shift @$x)) { last if ++$n > 2 }
        $n;
    },
    sub {
        my ($x) = @_;
        @$x = grep {defined} @$x;
        scalar @$x;
    },
    sub {
        my ($x) = @_;
        @$x = map { ($_, $_) } @$x[ 0 .. ($#$x > 3 ? 3 : $#$x) ];
        scalar @$x;
    },
    sub { my ($x) = @_; return if !@$x; @$x = @$x[ reverse 0 .. $#$x ]; $x->[0] },
);

my @hash_operations = (
    (sub { my ($h, @v) = @_; $h->{ key() } = $v[0] }) x 6,
    (sub { my ($h) = @_; $h->{ key() } }) x 3,
    (sub { my ($h) = @_; delete $h->{ key() } }) x 4,
    (sub { my ($h) = @_; exists $h->{ key() } }) x 2,
    sub { my ($h) = @_; my @keys = (key(), key()); delete @$h{@keys} },
    sub { my ($h, @v) = @_; my @keys = (key(), key()); @$h{@keys} = @v; @$h{@keys} },
    sub { my ($h) = @_; sort keys %$h },
    sub {
        my ($h) = @_;
        sort(map { show($_) } values %$h);
    },
    sub { my ($h) = @_; scalar(keys %$h) },
    sub { my ($h) = @_; %$h ? 'some' : 'none' },
    sub { my ($h) = @_; !!scalar %$h },
    sub {
        my ($h) = @_;
        my %seen;
        while (my ($k, $v) = each %$h) { $seen{$k} = $v }
        map { $_, $seen{$_} } sort keys %seen;
    },
    sub { my ($h) = @_; keys %$h; my ($k) = each %$h; defined $k },
    sub {
        my ($h, @v) = @_;
        my $k   = key();
        my $was = exists $h->{$k};
        { local $h->{$k} = $v[0]; }
        (exists $h->{$k}) == $was;
    },
    sub { my ($h, @v) = @_; my $k = key(); no warnings; $h->{$k} .= 'x'; $h->{$k} },
    sub { my ($h, @v) = @_; my $k = key(); no warnings; $h->{$k}++;      $h->{$k} },
    sub { my ($h, @v) = @_; my $k = key(); $h->{$k} //= $v[0] },
    sub {
        my ($h, @v) = @_;
        return if draw(4);
        %$h = map { key() => $_ } @v;
        scalar keys %$h;
    },
    sub { my ($h, @v) = @_; my $n = (%$h = (%$h, extra => $v[0])); $n },
    sub { my ($h) = @_; no warnings 'uninitialized'; $_ .= '.' for values %$h; 1 },
    sub { my ($h) = @_; draw(20) ? 1 : (%$h = ()) },
    sub { my ($h) = @_; keys(%$h) = 64; 1 },
    sub {
        my ($h)  = @_;
        my @keys = (key(), key());
        my %got  = %$h{@keys};
        map { $_, $got{$_} } sort keys %got;
    },
    sub {
        my ($h)  = @_;
        my @keys = (key(), key());
        my %got  = delete %$h{@keys};
        map { $_, $got{$_} } sort keys %got;
    },
    sub { my ($h, @v) = @_; my $n = (%$h = (a => 1, b => 2, a => $v[0])); my $m = () = %$h; ($n, $m) },
    sub { my ($h, @v) = @_; my ($k) = sort keys %$h; my ($x, %rest) = (1, %$h); scalar keys %rest },
    sub {
        my ($h, @v) = @_;
        my @k = (key(), key());
        { local @$h{@k} = @v; }
        join ',', map { exists $h->{$_} ? 1 : 0 } @k;
    },
    sub {
        my ($h) = @_;
        my $k = key();
        { delete local $h->{$k}; }
        exists $h->{$k};
    },
    sub {
        my ($h) = @_;
        while (my ($k) = each %$h) { delete $h->{$k} if $k =~ /1/ }
        scalar keys %$h;
    },
    sub { my ($h) = @_; my $k = key(); undef $h->{$k}; (exists $h->{$k}, defined $h->{$k}) },
    sub { my ($h) = @_; draw(20) ? 1 : undef %$h },
    sub { my ($h) = @_; my $k = key(); no warnings; chop $h->{$k}  if exists $h->{$k}; $h->{$k} },
    sub { my ($h) = @_; my $k = key(); no warnings; chomp $h->{$k} if exists $h->{$k}; $h->{$k} },
    sub { my ($h) = @_; my $k = key(); no warnings; $h->{$k} = "$h->{$k}"; substr($h->{$k}, 0, 1) = 'S'; $h->{$k} },
    sub { my ($h) = @_; my $k = key(); return if !defined $h->{$k}; my $n = $h->{$k} =~ tr/a-c/A-C/;   ($n, $h->{$k}) },
    sub { my ($h) = @_; my $k = key(); return if !defined $h->{$k}; my $n = $h->{$k} =~ s/[xyz]/<$&>/; ($n, $h->{$k}) },
    sub { my ($h, @v) = @_; my $r = \$h->{ key() }; $$r = $v[0]; $$r },
    sub { my ($h, @v) = @_; my $k = key(); $h->{$k} ||= $v[0]; $h->{$k} &&= 'and'; $h->{$k} },
    sub { my ($h, @v) = @_; no warnings; my $k = key(); my $copy = $h->{$k}; return if abs $copy > 1e15; $h->{$k} += draw(5); $h->{$k} },
    sub { my ($h) = @_; ($h->{one}, $h->{two}) = ($h->{two}, $h->{one}); ($h->{one}, $h->{two}) },
    sub {
        my ($h) = @_;
        %$h = map { $_ => $h->{$_} } grep { length > 1 } keys %$h;
        scalar %$h;
    },
    sub { my ($h) = @_; !%$h },
);

my @scalar_operations = (
    (sub { my ($s, @v) = @_; $$s = $v[0] }) x 6,
    sub { my ($s) = @_; $$s },
    sub { my ($s, @v) = @_; no warnings; $$s .= 'abc'; $$s },
    sub { my ($s) = @_; no warnings; $$s++ },
    sub { my ($s) = @_; no warnings; --$$s },
    sub { my ($s) = @_; no warnings; my $c = chop $$s; ($c, $$s) },
    sub { my ($s) = @_; no warnings; $$s = "$$s\n"; my $c = chomp $$s; ($c, $$s) },
    sub { my ($s) = @_; no warnings; $$s = "$$s";   substr($$s, 0, 1) = 'S'; substr $$s, -1, 1, 'E' },
    sub { my ($s) = @_; no warnings; my $n   = $$s =~ tr/a-m/A-M/; ($n, $$s) },
    sub { my ($s) = @_; no warnings; my @got = $$s =~ /(.)(.)/;    $$s =~ s/b/B/g; (@got, $$s) },
    sub { my ($s) = @_; no warnings; $$s = "$$s"; vec($$s, 0, 8) = 65 if !utf8::is_utf8($$s); $$s },
    sub { my ($s, @v) = @_; $$s //= $v[0]; $$s ||= 'or'; $$s },
    # (Whether the sum of integers beyond 2**53 is exact depends on what a plain variable held before.)
    sub { my ($s) = @_; no warnings; my $copy = $$s; return if abs $copy > 1e15; $$s += 3; $$s *= 2; $$s },
    sub { my ($s) = @_; no warnings; $$s x= 2 if length $$s < 500; length $$s },
    sub { my ($s) = @_; undef $$s;   defined $$s },
    sub { my ($s, @v) = @_; my ($x, @rest) = (1, 2); ($$s, $x) = ($x, $$s); $x },
    sub {
        my ($s, @v) = @_;
        { local $$s = $v[0]; }
        $$s;
    },
    sub {
        my ($s, @v) = @_;
        for my $alias ($$s) { $alias = $v[0] }
        $$s;
    },
    sub { my ($s) = @_; no warnings; my $copy = $$s; ($$s eq '0', $copy == 0, !$$s, length $$s, "$$s", $$s lt 'b') },
);

# Run one operation on a variable; everything that it gives, as text. The random
# numbers start from the same place for each.
sub run {
    my ($operation, $variable, $from, $context) = @_;
    start_random($from);
    my @values = map { value() } 1 .. draw(4);
    my @warnings;
    local $SIG{__WARN__} = sub { push @warnings, $_[0] =~ s/ at .*//rs };    # as bytes: whether perl marks them as UTF-8 is chance
    my @got = eval { $context ? $operation->($variable, @values) : scalar $operation->($variable, @values) };
    push @got, "died: " . $@ =~ s/ at .*//rs if $@;
    utf8::downgrade($_, 1) for @warnings, $@ ? $got[-1] : ();
    return show_all(@got, @warnings);
}

# Not `show_all(@$v)`: to hand a hole of an array to a sub makes an element of it,
# and perl itself then forgets the difference.
sub whole {
    my ($v) = @_;
    return show($$v)                                    if ref $v eq 'SCALAR';
    return show_all(map { $_, $v->{$_} } sort keys %$v) if ref $v eq 'HASH';
    my @copy = @$v;
    return show_all(scalar @copy, @copy, map { exists $v->[$_] ? 1 : 0 } 0 .. $#$v);
}

# The plain array, as new. perl 5.36 itself crashes on a plain array that was
# shifted and then lengthened often enough (not on a shared one).
sub fresh {
    my ($old) = @_;
    return $old if ref $old ne 'ARRAY';
    my @new;
    for my $i (0 .. $#$old) { $new[$i] = $old->[$i] if exists $old->[$i] }
    $#new = $#$old;
    return \@new;
}

sub same_operations {
    my ($name, $shared, $plain, $operations, $count) = @_;
    my $next = $seed;
    for my $i (1 .. $count) {
        start_random($next);
        my $which   = draw(scalar @$operations);
        my $context = draw(2);
        my $from    = draw(2147483648);
        $next = $random;
        my $expected = run($operations->[$which], $plain = fresh($plain), $from, $context);
        my $got      = run($operations->[$which], $shared,                $from, $context);
        next if $got eq $expected && whole($shared) eq whole($plain);
        is $got,           $expected,     "$name: operation $which in step $i returns the same";
        is whole($shared), whole($plain), "$name: operation $which in step $i leaves the same";
        return;
    }
    pass "$name: $count operations as on a plain variable";
    return;
}

# Two processes: each step is done by one of them on the shared variable, and by
# both on their plain ones.
sub alternating {
    my ($name, $shared, $plain, $operations, $count) = @_;
    pipe my $from_parent, my $to_child  or die $!;
    pipe my $from_child,  my $to_parent or die $!;
    $_->autoflush for $to_child, $to_parent;
    my $steps = sub {
        my ($me, $in, $out) = @_;
        my $next = $seed;
        for my $i (1 .. $count) {
            start_random($next);
            my $which = draw(scalar @$operations);
            my ($context, $from) = (draw(2), draw(2147483648));
            $next = $random;
            my $expected = run($operations->[$which], $plain = fresh($plain), $from, $context);
            if ($i % 2 == $me) {
                my $got = run($operations->[$which], $shared, $from, $context);
                return "step $i, operation $which returns $got, not $expected" if $got ne $expected;
            } else {
                my $line = <$in>;
                return "the other process stopped before step $i" if !defined $line;
            }
            my ($is, $should) = (whole($shared), whole($plain));
            return "step $i, operation $which leaves $is, not $should" if $is ne $should;
            print {$out} "$i\n";    # whose turn it was looks first, so that nobody goes on under its eyes
            next if $i % 2 != $me;
            my $seen = <$in>;
            return "the other process stopped in step $i" if !defined $seen;
        }
        return '';
    };
    local $SIG{PIPE} = 'IGNORE';
    my $pid = child(
        sub {
            close $to_child;
            close $from_child;
            my $why = $steps->(1, $from_parent, $to_parent);
            die "$why\n" if $why ne '';
        }
    );
    close $from_parent;
    close $to_parent;
    my $why = $steps->(0, $from_child, $to_child);
    close $to_child;
    is $why, '', "$name: $count operations of two processes in turn, seen by the first";
    ok finish($pid), "$name: … and by the second";
    return;
}

my $rounds = $ENV{SHM_ROUNDS} || 4000;
for my $walk (\&same_operations, \&alternating) {
    my $count = $walk == \&alternating ? $rounds / 2 : $rounds;
    my @array : shm;
    my %hash : shm;
    my $scalar : shm;
    $walk->('array',  \@array,  [],         \@array_operations,  $count);
    $walk->('hash',   \%hash,   {},         \@hash_operations,   $count);
    $walk->('scalar', \$scalar, \my $plain, \@scalar_operations, $count);
}
IPC::Shm->recover;
is(IPC::Shm->stats->{variables}, 0, 'nothing is left behind');
done_testing;
