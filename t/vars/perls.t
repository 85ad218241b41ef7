use strict;
use warnings;
use lib 't/lib';
use ShmTest;
use Test::More;
use Tie::Array  ();
use Tie::Hash   ();
use Tie::Scalar ();
use IPC::Shm;

# Each perl compiles the same code to other operators: elements with fixed or lexical
# indices, chains of them, stores to lexicals, strings in pieces, hashes as booleans. So
# each line below is run on a shared variable and on a plain one, on lexicals and on
# package variables. What it returns, what it leaves in the variables and what it warns
# of must be the same; or as with any tied variable, where that differs from a plain one.
#
# A line that begins with a version is for perls from that one on, one with `our` for
# package variables only.

my %declare = (
    plain  => [ 'my (%h, @a, $s);',                       'our (%h, @a, $s);' ],
    shared => [ 'my %h : shm; my @a : shm; my $s : shm;', 'our %h : shm; our @a : shm; our $s : shm;' ],
    tied   => [ map {"$_ (%h, \@a, \$s); tie %h, 'Tie::StdHash'; tie \@a, 'Tie::StdArray'; tie \$s, 'Tie::StdScalar';"} qw(my our) ],
);

sub show {
    my ($value) = @_;
    return 'undef' if !defined $value;
    return '[' . join(',', map { show($_) } @$value) . ']'                              if ref $value eq 'ARRAY';
    return '{' . join(',', map { "$_=>" . show($value->{$_}) } sort keys %$value) . '}' if ref $value eq 'HASH';
    return "\\" . show($$value) if ref $value eq 'SCALAR' || ref $value eq 'REF';
    return ref $value || "$value";
}

# Run the code on variables of one kind; everything that can be seen of it, as text.
my $package = 0;

sub run {
    my ($kind, $package_variables, $code) = @_;
    $package++;
    my @warnings;
    local $SIG{__WARN__} = sub { push @warnings, @_ };
    my $sub = eval <<"CODE" or die "$code: $@";
package Run$package; no strict; use feature ':all'; use warnings; no warnings 'experimental';
sub {
    $declare{$kind}[$package_variables]
    %h = (a => 1, b => 'two', c => undef, l => [ 1, 2, 3 ], m => { x => 1 });
    \@a = (10, 20, 30, 'x');
    \$s = 'text';
    my (\$hr, \$ar, \$sr) = (\\%h, \\\@a, \\\$s);
#line 1 "code"
    my \@got = do { $code };
    return map { main::show(\$_) } \@got, '|', \\%h, \\\@a, \$s;
}
CODE
    my @got = eval { $sub->() };
    return join ' ', map { s/\bRun\d+/Run/gr =~ s/, <DATA> line \d+//r =~ s/\(0x[0-9a-f]+\)//gr } @got, ($@ ? "died: $@" : ()), @warnings;
}

while (defined(my $line = <DATA>)) {
    chomp $line;
    my ($since, $only_our, $code) = $line =~ /^(5\.\d{3} )?(our: )?(.+)/ or next;
    next if $] < ($since // 0);
    for my $package_variables ($only_our ? 1 : (0, 1)) {
        my ($plain, $shared) = map { run($_, $package_variables, $code) } qw(plain shared);
        $plain = run('tied', $package_variables, $code) if $shared ne $plain;
        is $shared, $plain, $code . ($package_variables ? ' (package variables)' : '');
    }
}
done_testing;
__DATA__
$h{a}
$h{nothing}
$hr->{a}, $$hr{b}, $hr->{'l'}[1], $h{m}{x}
$a[0], $a[-1], $a[9], $#a, $#{$ar}, $$ar[1], $ar->[-2]
my $i = 1; $a[$i], $ar->[$i], $a[$i+1]
$h{a} = 5; $h{a}
my $x = ($h{a} = 7); $x
$a[1] = 'q'; my $x = ($a[2] = 'r'); $x
my $k = 'zz'; $h{$k} = 3; $hr->{$k}
my $x = $h{a}; $x++; $x
my $x = \$h{a}; $$x = 9; $$x
my $v = 'v'; my $t = $v; $s = $t; $s
my ($x) = $s; $x
$s = undef; defined $s
$s .= 'abc'; $s
$s = 5; $s += 3; $s++; ++$s; $s--; $s **= 2; $s
$s = 5; my $x = $s++; ($x, $s)
my $x = $s . $s . "$s-$h{b}"; $x
"$h{a}$a[0]$s @a[0,1] @h{'a','b'} $hr->{a} @{$ar}[1,2]"
my $x = "a"; $x .= $h{b}; $x .= $a[0] . $s; $x
$h{b} .= "x$h{a}y"; $h{b}
$h{n}{m}{o} = 1; $h{n}
$h{q}[3] = 1; $h{q}
push @{$h{newlist}}, 1, 2; $h{newlist}
push @a, 1, [2,3]; scalar @a
unshift @a, 'f'; $a[0]
pop @a
shift @a
splice @a, 1, 2
splice @a, 1, 2, 'p', 'q', 'r'
scalar splice(@a, -2)
@a = reverse @a; @a
@a = sort @a; @a
@a = sort { $b cmp $a } @a; @a
my @b = sort @a; @b
my @b = reverse @a; @b
scalar reverse("x", @a)
@a = map { $_ . 1 } @a; @a
$_ .= '!' for @a; @a
$_ .= '!' for values %h; sort map { ref $_ ? () : $_ } values %h
map { $_++ } @a[0,1]; @a
grep { defined } @a
@a = grep { /0/ } @a; @a
@a = split /,/, 'p,q,r'; @a
my $n = (@a = split /,/, 'p,q,r'); $n
(@a) = split //, 'abc'; @a
@$ar = split /,/, 'p,q,r'; @a
push @a, split /,/, 'p,q'; @a
@a = (@a, split /,/, 'p,q'); @a
my ($x, @y) = @a; ($x, @y)
my ($x, %y) = (1, %h); map { $_, $y{$_} } sort keys %y
@h{qw(a b)} = (8, 9); @h{qw(a b)}
@h{qw(a b)} = (); exists $h{a}
@{$hr}{qw(p q)} = (1,2); @$hr{qw(p q)}
@a[1,2] = @a[2,1]; @a
($a[0], $a[1]) = ($a[1], $a[0]); @a
($h{a}, $h{b}) = ($h{b}, $h{a}); @h{'a','b'}
%h{'a','b'}
%a[0,1]
my %c = %h{'a','b'}; map { $_ => $c{$_} } sort keys %c
%$hr{'a'}
%$ar[1]
5.024 $hr->@{'a','b'}, $ar->@[0,1], $ar->@*, $ar->$#*
5.024 map { ref $_ ? 'r' : $_ // 'u' } sort { ($a//'') cmp ($b//'') } $hr->%*
5.024 "$ar->@* $ar->@[0,1] $hr->@{a,b}"
delete $h{a}
delete @h{qw(a b)}
5.028 delete %h{qw(a b)}
5.028 delete %a[0,3]
delete $a[1]
delete $a[-1]
delete @a[0,1]
delete local $h{a}
{ delete local $h{a}; die if exists $h{a} } $h{a}
{ local $h{a} = 5; die if $h{a} != 5 } $h{a}
{ local $h{newone} = 5; } exists $h{newone}
{ local $a[1] = 5; } $a[1]
{ local @h{qw(a b)} = (5,6); } @h{qw(a b)}
{ local @a[0,1] = (5,6); } @a
our: { local $s = 3; } $s
{ local $h{m}{x} = 2; } $h{m}{x}
exists $h{a}, exists $h{zz}, exists $a[1], exists $a[99], exists $hr->{a}, exists $ar->[-1], exists $h{m}{y}
exists $h{a} ? 1 : 0, !exists $h{a}
exists $h{zz}{yy}; exists $h{zz}
defined $h{c}, defined $h{a}, defined $a[0]
$h{a} // 'd', $h{c} // 'd', $h{zz} || 'e', $h{a} && 'f'
$h{c} //= 'd'; $h{zz} ||= 'e'; $h{a} &&= 'f'; @h{qw(a c zz)}
$a[7] //= 3; scalar @a
scalar(@a), scalar(keys %h), scalar(values %h), !!%h, !%h, (%h ? 1 : 0), (@a ? 1 : 0)
if (%h) { 1 } else { 0 }
if (!%h) { 1 } else { 0 }
if (keys %h) { 1 } else { 0 }
my $n = keys %h; $n
my $n = %h; !!$n
my $n = () = %h; $n
my $n = () = keys %h; $n
keys(%h) > 3 ? 'y' : 'n'
%h = (); !%h, scalar(keys %h), (%h ? 1:0)
undef %h; scalar keys %h
undef @a; scalar @a
undef $s; $s
undef $h{a}; exists $h{a}
undef $a[0]; @a
undef $hr->{b}; 1
%h = (a => 1, a => 2); %h
my $n = (%h = (a => 1, a => 2, b => 3)); $n
my @r = (%h = (a => 1, a => 2)); @r
my $n = () = (@a = (1,2,3)); $n
@a = (); $#a
$#a = 1; @a
$#a = 5; exists $a[5], scalar @a
$#{$ar} = 0; $#a
$#a++; scalar @a
$#a--; @a
$a[6] = 1; exists $a[5], exists $a[6]
$a[-1] = 'last'; @a
$a[-9] = 1
$a[-9]
$a[$#a], $a[$#$ar]
while (my ($k, $v) = each %h) { $h{$k} = ref $v ? 'ref' : 1 } map { $_, $h{$_} } sort keys %h
my @g; while (my ($i, $v) = each @a) { push @g, $i, $v } @g
keys @a
values @a
my @k = sort keys %$hr; @k
for my $k (sort keys %h) { delete $h{$k} } scalar keys %h
for (my $i = 0; $i < @a; $i++) { $a[$i] = $i } @a
for my $x (reverse @a) { $x .= 'r' } @a
for my $x (@a, @h{qw(a b)}) { $x .= 'z' } (@a, @h{qw(a b)})
for my $x ($h{new}) { 1 } exists $h{new}
for my $x ($h{new}) { $x = 1 } exists $h{new}
sub { 1 }->($h{new}); exists $h{new}
sub { $_[0] = 4 }->($h{new}); $h{new}
sub { $_[1]++ }->(@a); @a
sub { $_[0] = 'arg' }->($a[9]); scalar @a
sub { my ($x, $y) = @_; "$x$y" }->(@a[0,1])
sub { shift }->($h{a})
sub { wantarray ? 'l' : 's' }->(%h)
&{sub { scalar @_ }}(%h)
5.036 for my ($k, $v) (map { $_, $h{$_} } sort keys %h) { $h{$k} = 'x' } values %h
5.036 my %seen; for my ($k, $v) (%h) { $seen{$k} = ref $v || $v // 'u' } map { $_, $seen{$_} } sort keys %seen
5.036 for my ($k, $v) (%h) { $v = "n$k" } map { $_, $h{$_} } sort keys %h
5.036 for my ($x, $y) (@a) { ($x, $y) = ($y, $x) } @a
5.036 for my ($x, $y, $z) (@a) { $_ .= '' for grep {defined} $z; $x = 'q' } @a
5.036 my @g; for my ($i, $v) (builtin::indexed(@a)) { push @g, "$i=$v" } @g
5.036 my @g; for my ($i, $v) (builtin::indexed(@a)) { $v = 1 } @a
5.036 $h{t} = builtin::true(); $h{f} = builtin::false(); (builtin::is_bool($h{t}), builtin::is_bool($h{f}), $h{t}, $h{f})
5.036 $s = (1 == 1); builtin::is_bool($s), $s
5.036 $s = (1 == 2); builtin::is_bool($s), $s
5.036 @a = (1 == 1, 1 == 2, 1, '', 0); map { builtin::is_bool($_) ? 'b' : 'n' } @a
5.036 my $x = !!1; $a[0] = $x; my $y = $a[0]; builtin::is_bool($y)
5.036 builtin::trim("  $s "), builtin::ceil($a[0] + .5), builtin::floor($a[0] + .5), builtin::reftype($h{l})
5.036 $s = 1.5; builtin::created_as_number($s), builtin::created_as_number($h{b}), builtin::created_as_string($h{b})
5.036 $s = "15"; my $x = $s + 0; builtin::created_as_string($s), builtin::created_as_number($s)
5.036 $s = 15; my $x = "$s"; builtin::created_as_string($s), builtin::created_as_number($s)
5.036 $a[0] = 15; my $x = "$a[0]"; builtin::created_as_number($a[0])
5.036 builtin::weaken($h{l}); $h{l}
5.040 builtin::inf > $a[0], builtin::stringify($h{a})
5.040 my $x = (exists $h{a} ^^ exists $h{zz}); $x
5.042 (any { $_ eq 'x' } @a) ? 'yes' : 'no'
5.042 (all { $_ ne '' } @a) ? 'yes' : 'no'
5.042 (any { $_ .= 'z'; 0 } @a) ? 'yes' : 'no'
5.034 try { die { x => $h{a} } } catch ($e) { $s = $e->{x} } $s
5.036 { defer { $s = 'deferred' } $s = 1 } $s
5.026 my $f = sub ($x, $y = $h{a}, @z) { "$x$y@z" }; ($f->($s), $f->(@a), $f->($a[0], $h{b}))
5.026 my $f = sub ($x, %o) { "$x$o{20}" }; $f->(@a[0,1,2])
5.038 my $f = sub ($x //= 5, $y ||= 3) { "$x$y" }; $f->($h{c}, $h{zz})
5.032 ($h{l} isa Foo) ? 1 : 0
5.032 (0 < $h{a} <= 5 < $a[0]) ? 'y' : 'n'
\my @alias = \@a; push @alias, 'al'; @a
\my %alias = \%h; $alias{al} = 1; $h{al}
\my $alias = \$s; $alias = 'al'; $s
\my $e = \$h{a}; $e = 'al'; $h{a}
\(my @e) = \(@a); $e[0] = 'via'; @a
\$h{a} = \my $other; 1
\$a[0] = \my $other; 1
foreach \my %x ($h{m}) { $x{y} = 2 } $h{m}
my $x = { %h, a => 2 }; $x->{a}, $x->{b}
my $x = [ @a, 1 ]; $x
my $x = {}; $h{e} = $x; $x->{in} = 1; $h{e}{in}
my $x = []; $h{e} = $x; push @$x, 1; $h{e}
$h{e} = {}; $h{f} = []; ($h{e}, $h{f})
my @x = (@a) x 2; @x
(@a) x 2
@a = (1) x 3; @a
@a = (@a) x 2; @a
my ($f, $l) = @a[0, -1]; ($f, $l)
my ($x, $y) = @h{'a', 'b'}; ($x, $y)
my $c = @h{'a','b'}; $c
my $c = () = @h{'a','b'}; $c
(sort { $a <=> $b } @a[0..2])[1]
(@a)[1,2]
(%h)[0] ? 1 : 0
my @m = map { /(.)/ } @a; @m
$s = -$h{a}; $s
$s = !$h{a}; $s
$s = ~$h{a} & 0xff; $s
$s = $h{a} . $h{b} . $a[0]; $s
$s = $h{a} + $a[0] * 2; $s
$s = "x" x $h{a}; $s
$s = $h{a} <=> 2; $s
my $x = $h{a} == 1; $x
$h{a} += $a[0]; $h{a}
$h{a} -= 1; $h{a} *= 2; $h{a} <<= 2; $h{a} |= 1; $h{a} ^= 3; $h{a} %= 5; $h{a} x= 2; $h{a}
$a[0]++; $a[1]--; ++$a[2]; @a
$h{cnt}{$_}++ for qw(a b a); $h{cnt}
my $i = 0; $a[$i++] = 'z'; @a
$h{$s} = 1; $h{text}
$h{$h{b}} = 1; $h{two}
$h{"k$h{a}"} = 1; $h{k1}
my $x = \$s; $$x .= 'q'; $s
my $x = \@a; $$x[0] = 1; $x->[1]++; $a[0]
my ($p, $q) = (\$h{a}, \$h{b}); ($$p, $$q) = ($$q, $$p); @h{'a', 'b'}
my $f = sub { $h{a}++ }; $f->(); $f->(); $h{a}
my $f = sub :lvalue { $h{a} }; $f->() = 'lv'; $h{a}
my $f = sub :lvalue { @a }; ($f->()) = (1,2); @a
my $f = sub :lvalue { %h }; ($f->()) = (p => 2); %h
my $f = sub :lvalue { @h{'a','b'} }; ($f->()) = (1,2); @h{'a','b'}
my $f = sub :lvalue { keys %h }; ($f->()) = 64; scalar keys %h
my $f = sub { return @a }; my @x = $f->(); my $x = $f->(); (@x, $x)
my $f = sub { return %h }; my %x = $f->(); $x{b}
my $f = sub { @h{'a','b'} }; my @x = $f->(); @x
my $f = sub { $h{a} }; my $x = $f->(); $h{a} = 2; $x
my @l = ($h{a}, $h{a}++, $h{a}); @l
my @l = ($s, $s = 5, $s); @l
keys(%h) = 100; scalar keys %h
my @x = each %h; scalar @x
my ($k) = grep { $_ eq 'b' } keys %h; $k
@a[0 .. 1] = (); @a
my @x = @a[5, 6]; scalar @x
@h{map { "k$_" } 1 .. 3} = (1) x 3; @h{map { "k$_" } 1 .. 3}
exists $a[-9], exists $h{l}[1], exists $h{l}[7]
my $t = $h{a} ? $h{b} : $h{c}; $t
$s = $h{a} ? 'y' : 'n'; $s
($h{a} ? $h{b} : $h{c}) = 'cond'; @h{'b','c'}
(my ($x, $y) = @a) ? 1 : 0
if ((my @x = @a) > 2) { 'more' } else { 'less' }
unless ($h{zz}) { 'u' }
$h{a} = $h{b} = $s = 'chain'; ($h{a}, $h{b}, $s)
my $x = my $y = $h{a}; ($x, $y)
($s, my $x) = (1, 2); ($s, $x)
(my $x, $s, undef, @a) = 1 .. 6; ($x, $s, @a)
($s, @a) = (); ($s, scalar @a)
($s) = (); $s
my $n = ($s) = (7, 8, 9); $n
my $n = (($h{a}, $h{b}) = (7, 8, 9)); $n
(%h) = (%h, z => 1); $h{z}, $h{b}
(@a, %h) = (1, 2); (@a, scalar keys %h)
(%h, @a) = (1, 2); (%h, @a)
@a = (@a, @a); scalar @a
@a = @a[1, 0]; @a
@a = @a; @a
%h = %h; scalar keys %h
@a = ($a[1], $a[0]); @a
%h = map { $_ => $h{$_} } grep { !ref $h{$_} } keys %h; scalar keys %h
@a = sort { $a <=> $b } 3, 1, 2; @a
@a = sort { $a <=> $b } grep { /\d/ } @a; @a
@a = reverse sort { $a cmp $b } @a; @a
@a = sort { $h{a} ? $b cmp $a : $a cmp $b } @a; @a
my @x = sort { $h{$a} // '' cmp $h{$b} // '' } 'a', 'b'; scalar @x
@{$h{l}} = reverse @{$h{l}}; $h{l}
@{$h{l}} = sort { $b <=> $a } @{$h{l}}; $h{l}
push @{$h{l}}, pop @{$h{l}}, shift @{$h{l}}; $h{l}
splice @{$h{l}}, 1, 1, 'mid', [5]; $h{l}
%{$h{m}} = (p => [1]); $h{m}{p}[0]
delete $h{m}{x}; $h{m}
delete $h{l}[1]; $h{l}
$h{l}[-1] = 'e'; $h{l}
$#{$h{l}} = 0; $h{l}
my ($x, $y) = @{$h{l}}; ($x, $y)
my ($x) = values %{$h{m}}; $x
my @c = map { [@$_] } $h{l}; @c
5.022 my @x = map { $_ // 'u' } @h{qw(a c zz)}; @x
$s = \@a; $s->[0]
$s = [1, [2]]; $s->[1][0]
$s = { a => { b => 1 } }; $s->{a}{b}++; $s->{a}
$$s{x} = 1 if ref $s; $s
$s = undef; $s->{viv}[2] = 1; $s
$s = undef; push @$s, 1; $s
$a[5]{x} = 1; $a[5]
my $x = \$a[6]; scalar @a
my ($x) = \(@a[0]); $$x
my @x = \(@a); ${$x[0]} = 'pp'; @a
my @x = map { \$_ } @a; ${$x[1]} = 'qq'; @a
\$s == \$s, \@a == \@a, \%h == \%h
$h{l} == $h{l}, $hr->{l} == $h{l}
my $l = $h{l}; delete $h{l}; push @$l, 4; $l
"$h{c}"
$h{c} + 1
$a[9] . 'x'
"$a[9]" . $h{zz}
@h{undef, 'a'}
local $h{c}; 1
$a['x']
$h{a}[0]
$h{a}{b}
state $z = $h{a}; $z
my sub f { $_[0] . $h{a} } f('x')
local $h{l}[0] = 5; $h{l}
