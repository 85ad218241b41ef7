use strict;
use warnings;
use lib 't/lib';
use ShmTest;
use Test::More;
use Data::Dumper ();
use Tie::Array   ();
use Tie::Hash    ();
use Tie::Scalar  ();
use IPC::Shm;

# Perl programs of a line, each run twice: with a shared %h, @a and $s, and with
# plain ones. What they return, warn of and die of must be the same. Where perl
# itself treats every tied variable in another way than a plain one, the program is
# marked `# tied`, and compared with the same on Tie::StdHash and so on.

my %declare = (
    shared => 'my %h : shm; my @a : shm; my $s : shm;',
    plain  => 'my (%h, @a, $s);',
    tied   => 'tie my %h, "Tie::StdHash"; tie my @a, "Tie::StdArray"; tie my $s, "Tie::StdScalar";',
);

sub without_place { my ($text) = @_; $text =~ s/ at \(eval .*//s; return $text }

sub show {
    local ($Data::Dumper::Sortkeys, $Data::Dumper::Useqq, $Data::Dumper::Indent) = (1, 1, 0);
    return Data::Dumper->new([@_])->Terse(1)->Dump;
}

my $before =
    'package One::Liner; no strict "refs"; use feature qw(state say fc refaliasing postderef);' . 'no warnings qw(redefine experimental);';

sub run {
    my ($kind, $code) = @_;
    my @warnings;
    local $SIG{__WARN__} = sub { push @warnings, without_place($_[0]) };
    my $sub = eval "$before $declare{$kind} sub { $code }" or die "$code$@";    ## no critic (StringyEval)
    my @got = eval { $sub->() };
    return show(\@got, without_place($@), \@warnings);
}

my @programs = do {
    local $/ = undef;
    grep {/\S/} split /^%%\n/m, <DATA>;
};
for my $program (@programs) {
    my $as = $program =~ /^# tied$/m ? 'tied' : 'plain';
    is run('shared', $program), run($as, $program), $program =~ s/^# tied\n//r =~ s/\n/ /gr;
}
cmp_ok scalar(@programs), '>', 400, 'there are programs';
IPC::Shm->recover;
is(IPC::Shm->stats->{variables}, 0, 'nothing is left behind') or diag(explain([ IPC::Shm->list ]));
done_testing;

__DATA__
%%
%h=(a=>1,b=>2); my $n = () = %h; $n
%%
my $n = (%h = (a=>1,b=>2,a=>3)); $n
%%
my @l = (%h = (a=>1,b=>2,a=>3)); scalar @l
%%
my $n = () = (%h = (a=>1,b=>2,a=>3)); $n
%%
my $c = ((my ($x,$y), %h) = (1,2,3,4,3,5)); ($c, %h)
%%
%h=(x=>5); my ($x) = %h; $x
%%
%h=(x=>5); my ($x,$y) = %h; ($x,$y)
%%
@a=(1..5); @a[0,1]=@a[1,0]; @a
%%
@a=(1..5); (@a)=(@a,1); @a
%%
@a=(1..5); @a=reverse @a; @a
%%
@a=(1..5); @a=(reverse(@a))[1..3]; @a
%%
@a=(3,1,2); @a = sort { $b <=> $a } @a; @a
%%
@a=(3,1,2); @a = sort @a; @a
%%
@a=(3,1,2); @a = reverse sort { $a <=> $b } @a; @a
%%
@a=map{ {n=>$_} } 3,1,2; @a = sort { $a->{n} <=> $b->{n} } @a; map {$_->{n}} @a
%%
@a=(3,1,2); my @idx = sort { $a[$a] <=> $a[$b] } 0..$#a; @idx
%%
@a=(3,1,2); $_++ for @a; @a
%%
@a=(3,1,2); $_*=2 foreach @a[0,1]; @a
%%
%h=(a=>1,b=>2); $_++ for values %h; %h{qw(a b)}
%%
%h=(a=>1,b=>2); $_++ for @h{qw(a c)}; map { $_,$h{$_} } sort keys %h
%%
@a=(1,2,3); map { $_++ } @a; @a
%%
@a=(1,2,3); my @g = grep { $_++ > 1 } @a; (@g,@a)
%%
@a=(1,2,3); for my $i (0..2) { my $r=\$a[$i]; $$r.="x" } @a
%%
sub chg { $_[0]="c" } @a=(1,2,3); chg(@a); chg($a[2]); @a
%%
sub chg2 { $_[0]="c" } chg2($h{new}); %h
%%
sub look { my $x=$_[0] } look($h{new}); %h
%%
# tied
@a=(1,2); for ($a[5]) { } scalar @a
%%
@a=(1,2); for ($a[5]) { $_=1 } scalar @a
%%
%h=(x=>1); { local $h{x}=2; local $h{y}=3; } map { $_,$h{$_} } sort keys %h
%%
%h=(x=>1); { local @h{qw(x y)}=(5,6); push @a, %h{qw(x y)}; } (@a, map { $_,$h{$_} } sort keys %h)
%%
%h=(x=>1,y=>2); my @r; { @r = delete local @h{qw(x y)}; push @r, scalar keys %h } (@r, map { $_,$h{$_} } sort keys %h)
%%
@a=(1,2,3); { local $a[1]=7; local $a[5]=8; push @{$h{r}}, @a } (scalar @a, @a, $h{r})
%%
@a=(1,2,3); { local @a[0,1]=(7,8); } @a
%%
@a=(1,2,3); { delete local $a[1]; push @{$h{r}}, defined $a[1] ? 1:0 } (@a, $h{r})
%%
push @{$h{list}}, 1,2; $h{a}{b}[3]++; ($h{list}, $h{a})
%%
my $r = \@{$h{x}{y}}; push @$r, 1; $h{x}
%%
exists $h{a}{b}{c}; [sort keys %h], ref $h{a}, exists $h{a}{b} ? 1:0
%%
keys(%h)=200; %h=(a=>1); keys(%h)
%%
%h ? 1 : 0
%%
%h=(a=>1); (!!%h, !%h, !!scalar(%h), (%h ? "t":"f"), (%h && 5), !!(%h || 7))
%%
%h=map {$_=>1} 1..50; my $n=0; while (my ($k)=each %h) { delete $h{$k}; $n++ } ($n, scalar keys %h)
%%
%h=(a=>1); %h=(); scalar keys %h
%%
%h=(a=>1); undef %h; (scalar(keys %h), defined $h{a} ? 1:0)
%%
@a=(1); undef @a; (scalar @a, $#a)
%%
%h=(x=>1); undef $h{x}; (exists $h{x}, defined $h{x})
%%
@a=(1,2); undef $a[0]; undef $a[4]; (scalar(@a), map { defined } @a)
%%
$s="hello\n"; chomp $s; $s
%%
$s="hello\n"; my $r=chomp $s; ($r,$s)
%%
$s="hello"; my $r=chop $s; ($r,$s)
%%
%h=(a=>"x\n",b=>"y\n"); my $c = chomp(%h); ($c, map {$_,$h{$_}} sort keys %h)
%%
@a=("x\n","y\n"); my $c = chomp(@a); ($c,@a)
%%
@a=("xa","yb"); my $c = chop(@a); ($c,@a)
%%
$s="hello"; substr($s,0,1)="J"; substr($s,1,1,"E"); (substr($s,-2), $s)
%%
%h=(x=>"hello"); substr($h{x},0,1)="J"; substr($h{x},1,1,"E"); 4 < length $h{x} ? $h{x} : 0
%%
%h=(x=>"hello"); my $r=\substr($h{x},1,3); $$r="i"; $h{x}
%%
$s="hello"; my $r=\substr($s,1,3); $$r="i"; $$r="longer"; $s
%%
vec($s,3,8)=65; vec($s,0,1)=1; unpack "H*",$s
%%
no warnings; vec($h{v},3,8)=65; unpack "H*",$h{v}
%%
$s="aXbX"; my @p; while ($s =~ /X/g) { push @p,pos $s } @p
%%
$s="aXbX"; pos($s)=2; $s =~ /X/g; pos $s
%%
# tied
%h=(x=>"aXbX"); my @p; my $c=0; while ($h{x} =~ /X/g) { push @p,pos $h{x}; last if ++$c>5 } @p
%%
# tied
@a=("aXbX"); my @p; my $c=0; while ($a[0] =~ /X/g) { push @p,pos $a[0]; last if ++$c>5 } @p
%%
$s="abc"; my $c=($s =~ tr/a-b/A-B/); ($c,$s)
%%
%h=(x=>"abc"); my $c=($h{x} =~ tr/a-b/A-B/); (my $t=$h{x})=~tr/c/C/; ($c,$h{x},$t, $h{x}=~tr/a-z//, $h{x}=~tr/A-B/x/r)
%%
%h=(x=>"abc"); my $c=($h{x} =~ s/b/[$&]/); ($c,$h{x}, $h{x}=~s/a/Q/r)
%%
@a=("abc","bcd"); s/b/X/ for @a; @a
%%
@a=("abc","bcd"); my @b = map { s/b/X/r } @a; (@a,@b)
%%
$s="az"; $s++; ($s, $s++, ++$s, $s)
%%
@a=(9); ($a[0]++, ++$a[0], $a[0]--, --$a[0], @a, $a[3]++, scalar @a)
%%
$h{c} ||= 5; $h{c} ||= 6; $h{d} //= 0; $h{d} //= 3; $h{d} &&= 4; $h{e} .= "x"; $h{e} x= 3; $h{f} += 2; $h{f} **= 3; $h{f} %= 5; $h{f} <<= 2; $h{f} |= 1; $h{f} ^= 2; $h{g} -= 1; map {$_,$h{$_}} sort keys %h
%%
$s .= "a"; $s x= 3; $s .= $s; $s
%%
$s = 5; $s = $s . $s; $s = $s + $s; $s = "$s$s"; $s
%%
@a=(1,2,3); my @b=(@a) x 2; my $t = "@a" x 2; (@b,$t, join("-",@a), sprintf("%d-%d-%d",@a), "@a[0,1]", "$#a", "$a[-1]")
%%
%h=(a=>1); "$h{a} $h{'a'} @h{'a'} @{[%h]}"
%%
my $r=\$h{x}; $$r=5; my $r2=\$h{x}; $$r2++; (%h, $$r)
%%
@a=(1,2,3); my $r=\$a[1]; $$r=9; @a
%%
@a=(1,2,3); (exists $a[-1], exists $a[-3], exists $a[-4], exists $a[3], exists $a[2])
%%
@a=(1,2,3); $a[-1]=9; $a[-3]=7; @a
%%
@a=(1,2,3); $a[-4]=9; @a
%%
@a=(1,2,3); my $x=$a[-4]; (defined $x ? 1:0)
%%
@a=(1,2,3); delete $a[-1]; (scalar @a, @a)
%%
@a=(1,2,3); delete $a[-7]; (scalar @a, @a)
%%
@a=(1,2,3); (delete $a[1], scalar(@a), exists $a[1] ? 1:0, delete $a[2], scalar @a)
%%
@a=(1,2,3,4); delete $a[1]; delete $a[2]; delete $a[3]; scalar @a
%%
@a=(1,2,3); local $a[-4]=1; 1
%%
@a=(1,2,3); splice(@a,-4,1); @a
%%
@a=(1,2,3); splice(@a,5,1,"x"); @a
%%
@a=(1..9); my @r=splice(@a,-4,-2); (@r,"|",@a)
%%
@a=(1..9); my @r=splice(@a,2,-20); (@r,"|",@a)
%%
@a=(1..9); my $r=splice(@a,2,3); ($r,"|",@a)
%%
@a=(1..9); my $r=splice(@a,2,0,"a".."c"); ($r,"|",@a)
%%
@a=(1..9); my @r=splice(@a); (@r,"|",@a)
%%
@a=(1..9); my @r=splice(@a,3); (@r,"|",@a)
%%
@a=(1..9); my @r=splice(@a,-3); (@r,"|",@a)
%%
@a=(1..9); my @r=splice(@a,3,undef); (@r,"|",@a)
%%
@a=(1..9); my @r=splice(@a,undef,2); (@r,"|",@a)
%%
@a=(1..9); my @r=splice(@a,1.9,2.9); (@r,"|",@a)
%%
@a=(1..3); my @r=splice(@a,1,1,@a); (@r,"|",@a)
%%
@a=(1..3); push @a, @a; @a
%%
@a=(1..3); unshift @a, @a; @a
%%
my $r = push @a, 1,2; my $r2 = unshift @a, 0; my $r3 = push @a; my $r4 = unshift @a; ($r,$r2,$r3,$r4,@a)
%%
(pop @a, shift @a, scalar @a)
%%
@a=(1,undef,3); (pop @a, pop @a, scalar @a)
%%
$#a=4; $#a=1; ($#a, scalar @a);
%%
$#a=4; my @b=@a; ($#a, $#b, map { exists $a[$_] ? 1:0 } 0..4)
%%
@a=(1..5); $#a=-1; $#a
%%
@a=(1..5); $#a=-7; $#a
%%
@a=(1..5); $#{\@a}=2; $#a--; ++$#a; @a
%%
@a=(1..5); my $r=\$#a; $$r=1; ($$r,@a)
%%
@a=(1..5); local $#a; 1
%%
@a=qw(a b c); my @r; while (my ($i,$v)=each @a) { push @r,$i,$v } (@r, keys @a, values @a)
%%
@a=qw(a b c); my ($i)=each @a; keys @a; my ($j)=each @a; ($i,$j)
%%
@a=qw(a b c d); (%a[0,2], %a[9])
%%
%h=(a=>1,b=>2); (%h{'a','b','c'})
%%
@a=(1..5); my @d=delete @a[1,4]; (@d, scalar @a)
%%
%h=(a=>1,b=>2,c=>3); my $d = delete @h{qw(a b)}; ($d, keys %h)
%%
%h=(a=>1,b=>2,c=>3); (exists $h{a}, exists $h{z}, delete $h{z}, delete($h{a}), scalar keys %h)
%%
@h{1..3}=("a".."c"); @h{qw(1 2)}=@h{qw(2 1)}; map {$_,$h{$_}} sort keys %h
%%
my ($x,$y)=@h{qw(a b)}; (defined $x, scalar keys %h)
%%
@a=(1,2,3); my ($f,@rest)=@a; my $last=(@a)[-1]; my $cnt=@a; ($f,@rest,$last,$cnt)
%%
@a=(1,2,3); my $x = @a[1,2]; my ($y) = @a[1,2]; ($x,$y)
%%
@a=(1,2,3); ($a[0],$s,@h{qw(x y)}) = (9,8,7,6); (@a,$s,map{$_,$h{$_}} sort keys %h)
%%
my $c = (($a[0],$a[1]) = (5,6,7)); ($c,@a)
%%
my $c = (@a = (5,6,7)); my $d = (@a = ()); ($c,$d,@a)
%%
my @l = (@a = (5,6,7)); $_++ for @l; (@l,@a)
%%
$_++ for (@a = (5,6,7)); @a
%%
(@a = (1,2,3))[1]
%%
((@a) = (1,2,3)) ? "t" : "f"
%%
((@a) = ()) ? "t" : "f"
%%
(my @b = @a) ? "t":"f"
%%
@a=(1,2,3); @a = @a[grep { $_ != 1 } 0..$#a]; @a
%%
@a=(1,2,3); @a = grep { $_ != 2 } @a; @a
%%
@a=(1,2,3); @a = map { $_, $_*10 } @a; @a
%%
%h=(a=>1,b=>2); %h = reverse %h; map{$_,$h{$_}} sort keys %h
%%
%h=(a=>1,b=>2); %h = map { $_ => $h{$_}+1 } keys %h; map{$_,$h{$_}} sort keys %h
%%
%h=(a=>1,b=>2); %h = (%h, c=>3); map{$_,$h{$_}} sort keys %h
%%
%h=(a=>1,b=>2); (%h, @a) = (x=>1); (map({$_,$h{$_}} sort keys %h), scalar @a)
%%
(@a, %h) = (1,2,3); (scalar(@a), scalar keys %h)
%%
%h=(1); map{$_,$h{$_}} sort keys %h
%%
%h={}; scalar keys %h
%%
my $x={}; %h=($x); scalar keys %h
%%
%h=(undef,1); [%h]
%%
$h{+undef}=1; [%h]
%%
my $k; $h{$k}=1; exists $h{$k}; { no warnings; delete $h{$k} } [%h]
%%
my $k; $a[$k]=1; $a["1x"]=2; @a
%%
$a[1.7]=1; $a["2"]=2; ($a[1], $a["1.2"], @a[2])
%%
$a["foo"]=1; @a
%%
$h{1.0}=1; $h{01}=2; $h{"01"}=3; $h{1e3}=4; $h{-0.0}=5; $h{1/4}=6; map{$_,$h{$_}} sort keys %h
%%
my @k=(1,2); $h{@k}=1; $h{"@k"}=2; $h{1,2}=3; map{s/\x1c/;/r,$h{$_}} sort keys %h
%%
my $r=[]; $h{$r}=1; my ($k)=keys %h; $k eq "$r" ? "same" : "other"
%%
@a=(5,6); wantarray
%%
my $f=sub { wantarray ? "list" : defined(wantarray) ? "scalar":"void" }; $a[0]=$f->(); @a[1,2]=$f->(); ($a[3])=$f->(); push @a,$f->(); $h{x}=$f->(); %h=(%h,y=>$f->()); $s=$f->(); (@a,$s,map{$_,$h{$_}} sort keys %h)
%%
return unless @a; 1
%%
@a = (1) x 5; @a[1..3] = (); map { defined $_ ? 1 : 0 } @a
%%
@a = (1,2,3); my $str = "$a[0]$a[1]"; $str =~ s/(\d)/$a[$1]/; $str
%%
@a = (3,2,1); my ($min) = sort { $a <=> $b } @a; ($min, (sort @a)[0], scalar(reverse "abc"), scalar reverse(@a))
%%
@a=("x","y"); print {*STDERR} ""; printf STDERR "%s", ""; my $o=join ",", @a, "z"; $o
%%
open my $fh,'>',\my $buf; $h{x}="text"; print $fh $h{x}, @a=(1,2), $s="s"; close $fh; $buf
%%
open my $fh,'<',\"l1\nl2\n"; $s=<$fh>; $h{l}=<$fh>; ($s,$h{l})
%%
open my $fh,'<',\"l1\nl2\n"; @a=<$fh>; chomp @a; @a
%%
$s="abc"; (length $s, uc $s, lcfirst $s, ord $s, index($s,"c"), reverse($s), ucfirst($s), quotemeta("$s."), sprintf("%5s|%-5s|",$s,$s), $s x 2, -$s, !$s, ~~$s, $s lt "b", $s cmp "abd", "a".$s, $s."a")
%%
$s=7; ($s+1,$s-1,$s*2,$s/2,$s%4,$s**2,-$s,abs(-$s),int($s/2),$s<=>8,$s==7,$s&3,$s|8,$s^1,~$s & 0xff,$s<<1,$s>>1,$s..9,sqrt($s*7),hex $s,oct $s,chr($s+60))
%%
$s=7; my @x=(1)x$s; scalar @x
%%
$s="10"; my $n=$s+0; my $t="$s"; ($s eq "10", $s+5, $s."5")
%%
$s="2"; my @x=(10,20,30); ($x[$s], $x[$s-1], substr("abcdef",$s,$s), "abc"=~/.{$s}/ ? $& : 0)
%%
@a=("b","a"); my ($x)=sort @a; my @sorted=sort { lc $a cmp lc $b } @a,"C"; ($x,@sorted)
%%
local $_ = "q"; $h{$_}=1; for (@a=(1,2)) { $h{$_}=$_ } map{$_,$h{$_}} sort keys %h
%%
for ($s) { $_="alias"; s/a/A/ } $s
%%
for ($s=1; $s<4; $s++) { push @a,$s } (@a,$s)
%%
for $s (1..2) { push @a,$s } @a
%%
my $code=sub { $s++ }; $code->() for 1..3; $s
%%
given: { $s=3; } $s
%%
$s=[1,2,3]; ($$s[0], $s->[1], @$s[1,2], scalar(@$s), $#$s, $#{$s}, "@$s", $s->@*, $s->$#*)
%%
$s={a=>1}; $s->{b}{c}=2; (sort(keys %$s), $s->{b}{c}, $s->%{a}, exists $s->{zz})
%%
$s=\"const"; ($$s, ref $s)
%%
my $x=5; $s=\$x; $$s++; ($x, ref $s, $$s)
%%
$s=\my @arr; push @$s,1; push @arr,2; @{$s}
%%
$s=\\"x"; (ref $s, ref $$s, $$$s)
%%
push @$s, 1,2; @$s
%%
$s->{a}=1; %$s
%%
$$s="auto"; ref $s
%%
@{$a[2]}{qw(x y)}=(1,2); (scalar @a, ref $a[2], $a[2]{x})
%%
@a=([3,1],[1,2]); map { "@$_" } sort { $a->[0] <=> $b->[0] } @a
%%
@a=([1,2],[3,4]); ($a[1][0], "@{$a[0]}", scalar @{$a[1]}, $a[-1]->[-1], map({ $$_[0] } @a))
%%
my @m=([1,2],[3,4]); @a=@m; $a[0][0]=9; ($m[0][0], $a[0]==$m[0] ? "same":"diff")
%%
my @k=%h=(a=>1); "@k"
%%
@a=(1,2,3); my $sum=0; $sum+=$_ for @a; my $i=0; while ($i<@a) { $i++ } ($sum,$i, $a[$#a], $a[@a-1], $a[$i-1])
%%
@a=(4,5,6); my %inv; @inv{@a}=(0..$#a); my @s=@inv{4,6}; @s
%%
@a=(1,2,3); (grep({$_ == 2} @a), scalar(grep {$_>1} @a), (1)x@a)
%%
@a=(undef,0,"",1); map { defined $_ ? "d$_" : "u" } @a
%%
lc(join "", map { chr(ord("A")+$_) } @a=(0..3))
%%
%h=(a=>{b=>{c=>[1,{d=>2}]}}); ($h{a}{b}{c}[1]{d}, ref $h{a}{b}{c}, delete $h{a}{b}{c}[1]{d}, scalar keys %{$h{a}{b}{c}[1]})
%%
$h{x}=1; my $ref=\%h; ($ref->{x}, $$ref{x}, @{$ref}{x}, !!scalar(%$ref), join(",",%$ref), exists $ref->{y}, (keys %$ref))
%%
delete @h{qw(a b)}; scalar keys %h
%%
%h=(b=>2,a=>1); my ($min)=sort keys %h; my @v=@h{sort keys %h}; ($min,@v, (sort {$h{$a}<=>$h{$b}} keys %h))
%%
%h=(b=>2,a=>1); my @p=map { [$_,$h{$_}] } sort keys %h; @p
%%
%h=map { $_ => {n=>$_} } 1..3; $_->{n}*=10 for values %h; map { $h{$_}{n} } sort keys %h
%%
my ($k,$v); %h=(a=>1); while (($k,$v)=each %h) { $h{$k}=$v+1 } ($k, %h)
%%
%h=(a=>1); my $k=each %h; my $k2=each %h; ($k,$k2)
%%
%h=(a=>1,b=>2); each %h; my @k=keys %h; my $c=0; $c++ while each %h; $c
%%
my $r = \@a; $r->[3]=1; $#{$r}=5; (scalar(@$r), exists $r->[3], defined $r->[0])
%%
lock(%h); lock(@a); lock($s); 1
%%
use constant C=>3; @a=(C,C); $h{+C}=C; $h{C()}++; (@a,%h)
%%
state $st=1; $st++; $s=$st; $s
%%
@a = (1..3); my @c = (shift(@a), pop(@a), @a); @c
%%
@a = (1..3); push @a, shift @a; @a
%%
@a = (1..3); @a = (pop @a, @a); @a
%%
@a=(1..4); my @pairs; while (my ($x,$y)=splice @a,0,2) { push @pairs,"$x$y" } @pairs
%%
@a=(1..3); my @z=(@a,@a)[1,4]; my ($u,undef,$w)=@a; (@z,$u,$w)
%%
(undef,$a[0],$h{x})=(1,2,3); (@a,%h)
%%
($s,@a)=(1,2,3); ($a[0],$s)=($s,$a[0]); ($s,@a)
%%
\(my $x)=\$s; $x=3; $s
%%
\my %alias=\%h; $alias{x}=1; %h
%%
foreach \my %e ({a=>1}) { $h{k}=$e{a} } %h
%%
@a=(1..3); my @b = \(@a); ${$b[0]}=9; @a
%%
my @refs = \@h{qw(a b)}; ${$refs[0]}=1; %h{qw(a)}
%%
%h=(a=>1); my ($ra,$rb)=\(@h{qw(a b)}); $$ra=7; $h{a}
%%
pos($s)=0; defined pos($s) ? 1 : 0
%%
$s="abc"; pos($s)=1; $s="xyz"; defined pos($s) ? pos $s : "undef"
%%
$s="aab"; my @m = $s =~ /(a)/g; my $c = () = $s =~ /a/g; (@m,$c, $s =~ /b/ ? $` : "")
%%
$s="aab"; $s =~ /\Ga/gc; $s =~ /\Ga/gc; $s=~ /\Gx/gc; pos $s
%%
$s="k=v;k2=v2"; %h = map { split /=/ } split /;/,$s; map{$_,$h{$_}} sort keys %h
%%
$s="a:b:c"; @a=split /:/,$s; ($a[-1], scalar @a);
%%
@a=split /,/,"1,2,3"; (@a)=split /,/,"4,5"; @a
%%
my ($x,$y); ($x,$y,@a)=split /,/,"1,2,3,4"; ($x,$y,@a)
%%
@a=localtime(0); scalar @a
%%
local $,="-"; local $"="+"; @a=(1,2); "@a"
%%
use integer; $s=7; $s/=2; $s
%%
sprintf("%s %s", ($s=5), ++$s)
%%
$s=5; my @r=($s, $s++, $s, ++$s, $s); @r
%%
$s=5; my $f=sub { join ",", @_ }; $f->($s,$s++,$s)
%%
@a=(1,2); my $f=sub { $_[0]++; $_[1]="x"; @_=(); }; &$f($a[0],$a[1]); @a
%%
@a=(1,2); my $f=sub { shift()."" }; &$f(@a); scalar @a
%%
sub amp { push @_, 3; scalar @_ } @a=(1,2); my $n=amp(@a); ($n, scalar @a)
%%
$h{"a"}{"b"}="c"; my %c=%{$h{a}}; $c{b}="d"; $h{a}{b}
%%
$h{x}=undef; (exists $h{x}, defined $h{x}, scalar(keys %h), $h{x} // "dflt")
%%
!defined $h{x}{y}; scalar keys %h
%%
@a=(1..10); @a[2..4]=@a[4,3,2]; "@a"
%%
@a=(1..10); my @odd=@a[grep {$_%2} 0..$#a]; my ($x,$y)=@a[-2,-1]; ("@odd",$x,$y)
%%
$_ = "x"; @a=($_)x3; tr/x/y/ for @a; @a
%%
@a=(1..3); "$_" for @a; reverse(1..3), sort { $b<=>$a } @a
%%
@a = sort { $a <=> $b } grep { $_ % 2 } map { $_ + 1 } 1..10; @a
%%
@a=(10,9,8); my @i=sort { $a[$a] <=> $a[$b] } 0..2; @a=@a[@i]; @a
%%
@a=(3,1,2); @a = sort { die "in sort\n" } @a; 1
%%
@a=(3,1,2); eval { @a = sort { die "in sort\n" } @a }; ($@, @a)
%%
@a=(3,1,2); my $cnt=0; @a = sort { $cnt++; $a <=> $b } @a; $cnt>0, @a
%%
@a=(3,1,2); sub by { $a <=> $b } @a = sort by @a; @a
%%
@a=(3,1,2); sub byp($$) { $_[0] <=> $_[1] } @a = sort byp @a; @a
%%
@a=(3,1,2); my $by=sub { $b <=> $a }; @a = sort $by @a; @a
%%
@a=(3,1,undef); { no warnings; @a = sort { $a <=> $b } @a; } map { defined $_ ? $_ : "u" } @a
%%
$#a=2; $a[1]=1; @a = reverse @a; map { exists $a[$_] ? 1:0 } 0..2
%%
$#a=3; $a[0]=1; @a = reverse @a; (scalar @a, map { exists $a[$_] ? 1:0 } 0..3)
%%
my $k; my $x=$h{$k}; @h{$k,undef}=(1,2); my @y=@h{$k}; [%h]
%%
%h=(a=>1,b=>2); $s="x"; my $t=$h{a}.$h{b}.$s."y$h{a}"; $s.=$h{a}.$h{b}; $h{c}="$h{a}-$h{b}"; $h{c}.=$s.$t; ($t,$s,$h{c})
%%
$h{sep}=":"; @a=(1..3); join $h{sep},@a
%%
@a=(2,1,0); ($a[$a[0]], @a[@a], $a[-$a[1]], @a[$a[1]..$a[0]])
%%
%h=(k=>"a",a=>"b",b=>"c"); $h{$h{$h{k}}}
%%
@a=(1..5); my @r; while (my $x=shift @a) { push @r,$x; last if $x==3 } (@r,"|",@a)
%%
@a=(1..3); my @r; while (@a) { push @r, pop @a } @r
%%
@a=(1..3); until (!@a) { shift @a } scalar @a
%%
$s=3; while ($s--) { push @a,$s } (@a,$s)
%%
$s="aXb"; $s=~s/X/$s/; $s
%%
$s="abc"; $s=~s/(.)/ord($1)."-"/ge; $s
%%
@a=("a1","b2"); my @m=map { /(\d)/ ? $1 : () } @a; my ($f)="k=v"=~/(\w)=(\w)/; (@m,$f)
%%
@a = "a1b2" =~ /(\d)/g; ($h{x},$h{y}) = "p:q" =~ /(\w):(\w)/; (@a,@h{qw(x y)})
%%
($s)="abc"=~/(b)/; my $c=()="aaa"=~/a/g; $h{n}=()="aaa"=~/a/g; ($s,$c,$h{n})
%%
%h=(re=>"b+"); my $m="abbc"=~/$h{re}/ ? $& : 'no'; my @x=split $h{re},"abbc"; ($m,@x)
%%
@a=(1,[2,[3]],{k=>[4]}); my ($x,$y,$z)=($a[1][1][0],$a[2]{k}[0],scalar @{$a[1]}); ($x,$y,$z)
%%
@a=([1,2],[3]); my @flat=map { @$_ } @a; my $n=0; $n+=@$_ for @a; (@flat,$n)
%%
%h=(x=>[1..3]); my ($p,@q)=@{$h{x}}; my $last=$h{x}[-1]; my $cnt=@{$h{x}}; my $hi=$#{$h{x}}; pop @{$h{x}}; ($p,@q,$last,$cnt,$hi,"@{$h{x}}")
%%
%h=(x=>{a=>1,b=>2}); my @k=sort keys %{$h{x}}; my %c=%{$h{x}}; delete $h{x}{a}; ("@k",$c{a},exists $h{x}{a}?1:0, scalar %{$h{x}})
%%
%h=(x=>{a=>1}); while (my ($k,$v)=each %{$h{x}}) { push @a,$k,$v } @a
%%
for my $k (sort { $b cmp $a } keys %{{a=>1,b=>2}}) { $h{$k}{n}++ ; $h{$k}{n}+=2 } map { "$_$h{$_}{n}" } sort keys %h
%%
@a=map +{ id=>$_, tags=>[1..$_] }, 1..3; my @got=map { scalar @{$_->{tags}} } grep { $_->{id}>1 } @a; my ($two)=grep { $_->{id}==2 } @a; $two->{name}="zwei"; (@got,$a[1]{name})
%%
@a=sort { $a->{n} <=> $b->{n} || $a->{s} cmp $b->{s} } map +{n=>$_%2,s=>"s$_"},1..5; map { $_->{s} } @a
%%
my @sorted = sort { $h{$a} <=> $h{$b} } keys %{ %h=(x=>3,y=>1,z=>2); \%h }; @sorted
%%
%h=map { $_=>$_**2 } 1..5; my @top=(sort { $h{$b} <=> $h{$a} } keys %h)[0,1]; my ($sum); $sum+=$_ for values %h; (@top,$sum)
%%
%h=(a=>1,b=>2,c=>3); delete @h{grep { $h{$_}>1 } keys %h}; %h
%%
%h=(a=>1,b=>2); my %inv=reverse %h; my %m=(%h,c=>3); my @p=%h; (scalar(keys %m),$inv{2},scalar @p)
%%
%h=(a=>1); @h{qw(b c)}=(2,3); my ($x,$y)=delete @h{qw(a b)}; ($x,$y,%h)
%%
%h=(a=>1,b=>undef); (exists $h{b}, defined $h{b}, exists $h{c}, $h{c}//"d", $h{b}//"e")
%%
$h{n}=5; $h{n}-=2; $h{n}*=4; $h{n}/=3; $h{n}**=2; $h{n}%=7; $h{n}.="x"; $h{n}
%%
@a=(5,6); $a[0]+=$a[1]; $a[1]=$a[0]--; ++$a[2]; $a[3]||="d"; $a[4]//=[]; push @{$a[4]},1; (@a[0..3],@{$a[4]})
%%
$s=5; my $x=$s++ + $s; my $y=$s-- - $s; my $z= -$s; ($x,$y,$z,$s)
%%
$s=5; my ($x,$y)=($s,$s=7); ($x,$y,$s)
%%
$s=1; $s=$s+$s*$s; $s=($s,5)[0]; $s=do { $s+1 }; $s=eval { $s*2 }; $s
%%
$s="5 apples"; no warnings; my $x=$s+0; ($x,$s)
%%
$s=undef; my $x=$s; my $y=defined $s; $s=0; ($y?1:0, defined $s?1:0, $s?1:0, $s eq "0"?1:0)
%%
@a=(1..3); my $x="@a[0..1]"; my $y="$a[0]$a[-1]$#a"; my $z="${\ $a[1]} @{[ map { $_*2 } @a ]}"; ($x,$y,$z)
%%
%h=(a=>1); my $x="$h{a}$h{'a'}@h{'a','a'}"; my $y="@{[ %h ]}"; ($x,$y)
%%
my ($x,$y); ($x,$h{a},$y)=(1,2,3); ($h{b},@a)=(4,5,6); (%h{qw(a b)},@a,$x,$y)
%%
my @l=(\$s,\@a,\%h); ${$l[0]}=1; push @{$l[1]},2; $l[2]{x}=3; ($s,@a,%h)
%%
my $f=sub :lvalue { $h{x} }; $f->()=5; $f->()++; $h{x}
%%
my $f=sub { \@_ }; @a=(1,2); my $r=$f->(@a); $r->[0]=9; ($a[0], scalar @$r)
%%
my $f=sub { my ($x,@r)=@_; scalar(@r).$x }; @a=(1,2,3); %h=(k=>"v"); ($f->(@a), $f->(%h), $f->($s//"u"), $f->(@a,@a))
%%
my $f=sub { $_[1]="set" }; @a=(1); $f->(@a,$h{new}); ($h{new})
%%
my $f=sub { return @a }; @a=(1,2,3); my $n=$f->(); my ($x)=$f->(); my @l=$f->(); ($n,$x,@l)
%%
my $f=sub { return %h }; %h=(a=>1); my %c=$f->(); my $sc=$f->(); (%c, $sc)
%%
my $f=sub { wantarray ? @a : \@a }; @a=(1,2); my $r=$f->(); push @$r,3; my @c=$f->(); @c
%%
@a=(1..5); my ($min,$max)=(sort { $a<=>$b } @a)[0,-1]; ($min,$max,(@a)[1,2],(@a,@a)[-1])
%%
@a=(1..5); my @b=@a[1..$#a]; my @c=@a[-2..-1]; my @d=@a[0,0]; my @e=@a[5,6]; (@b,"|",@c,"|",@d,"|",scalar @e)
%%
@a=(1..5); @a=@a[reverse 0..$#a]; @a[0,1]=(); map { defined $_?$_:"u" } @a
%%
@a=(1,2,3); @a=(@a)[1,2]; $#a=0; $a[$#a+1]="n"; @a
%%
@a=(1,2,3); my @b=splice(@a,1,1,map { $_*2 } @a); ("@a","@b")
%%
@a=("b".."e"); my ($i)=grep { $a[$_] eq "d" } 0..$#a; splice @a,$i,1; ($i,@a)
%%
@a=(1)x3; my @m=([@a],[@a]); $m[0][0]=9; (@a,$m[1][0])
%%
@a=(0)x5; $a[$_]=$_ for grep { $_&1 } 0..4; @a
%%
@a=1..3; @a=map { ($_)x$_ } @a; @a
%%
my ($x,$y)=(\@a,\@a); ($x==$y?1:0, "$x" eq "$y"?1:0)
%%
my $r=\$h{a}{b}; $$r=5; my $rr=\$$r; ($h{a}{b}, ref $r)
%%
my $r=\my @x; @x=(1,2); $h{r}=$r; push @x,3; ("@{$h{r}}", $h{r}==$r?1:0)
%%
my @x=(1,2); $h{r}=\@x; @x=(); push @{$h{r}},7; ("@x")
%%
my %x=(a=>1); $s=\%x; $s->{b}=2; $x{c}=3; (join ",",map{"$_$x{$_}"} sort keys %$s)
%%
my $x="v"; $h{x}=\$x; ${$h{x}}.="w"; $x.="z"; (${$h{x}})
%%
my @objs=map { bless {n=>$_},"K" } 1..3; @a=@objs; $a[1]{n}=20; ($objs[1]{n}, ref $a[2], join ",",map { $_->{n} } @a)
%%
package K2; sub new { bless {@_[1..$#_]},$_[0] } sub get { $_[0]{$_[1]} } sub set { $_[0]{$_[1]}=$_[2]; $_[0] } package T; $h{o}=K2->new(a=>1); $h{o}->set(b=>2)->set(c=>3); ($h{o}->get("c"), $h{o}->can("get")?1:0, $h{o}->isa("K2")?1:0, ref $h{o})
%%
package K3; use overload '+'=>sub { ref($_[0])->new($_[0]{v}+(ref $_[1]?$_[1]{v}:$_[1])) }, '""'=>sub { "<$_[0]{v}>" }, '=='=>sub { $_[0]{v}==(ref $_[1]?$_[1]{v}:$_[1]) }, 'bool'=>sub { $_[0]{v} }, '<=>'=>sub { my ($x,$y,$sw)=@_; my $r=$x->{v}<=>(ref $y?$y->{v}:$y); $sw?-$r:$r }, '@{}'=>sub { [1,2,3] }, '&{}'=>sub { my $s=shift; sub { "called$s->{v}@_" } }; sub new { bless {v=>$_[1]},$_[0] } package T; $h{x}=K3->new(5); $h{y}=K3->new(3); $h{z}=$h{x}+$h{y}; $h{z}+=1; @a=sort { $a<=>$b } values %h; ("$h{z}", $h{x}+1 ."", $h{x}==5?1:0, $h{x}?1:0, "@a", "@{$h{x}}", $h{x}->(7), scalar @{$h{x}}, $h{x}[1])
%%
local $@; eval { $h{x}=1; die {code=>5} }; ($@->{code},$h{x})
%%
eval { die [1,2] }; @a=@{$@}; @a
%%
local @ARGV=(1,2); @a=@ARGV; ($s)=@ARGV; my $sh=shift @a; ($sh,@a,$s)
%%
local $_="topic"; $s=$_; for (@a=(1,2)) { $_*=2 } ($s,@a,$_)
%%
my $str=''; open my $fh,'>',\$str; print {$fh} @a=(1,2); printf {$fh} "%s-%d",$s="q",$h{n}=3; close $fh; $str
%%
@a=unpack "C*","AB"; $s=pack "C*",@a; ($s,@a)
%%
$s=sprintf "%03d|%-4s|%s",$h{n}=7,$h{t}="ab",join "",@a=(1,2); $s
%%
@a=("%s-%s",1,2); my $x=sprintf $a[0],@a[1,2]; my $fmt="%s%s"; $s=sprintf($fmt,@a[1,2]); ($x,$s)
%%
@a=sort { $a <=> $b } (10,9,100,1); my @b=reverse sort { $a <=> $b } @a; my @c=sort { ; } @a; (@a,@b)
%%
@a=(3,1,2); my @b = sort { $a <=> $b } @a; my $r=[sort @a]; @$r[0,1], @b, @a
%%
@a=(1..3); my $c=grep { $_>1 } @a; my $m=map { ($_,$_) } @a; my ($first)=grep { $_>1 } @a; ($c,$m,$first)
%%
@a=(1,2,3); for my $i (reverse 0..$#a) { splice @a,$i,1 if $a[$i]==2 } @a
%%
@a=(1,2,3); for (@a) { push @a,$_+10 if @a<5 } @a
%%
@a=(1,2,3); my $i=0; for (@a) { last if $i++>5; shift @a if $_==1 } (@a)
%%
@a=(1..3); for my $x (@a,4) { $h{$x}=1 } scalar keys %h
%%
for (1..3) { $h{$_}//=$_; next if $_==2; push @a,$h{$_} } @a
%%
OUTER: for my $x (@a=(1..3)) { for my $y (@a) { next OUTER if $y==2; $h{"$x$y"}=1 } } sort keys %h
%%
my @x=(1,2,3); @a=@x; $a[0]=9; ($x[0], \@a != \@x ? 1:0)
%%
(@a[0,1],$s)=(1,2,3); [$a[0],$a[1],$s], (my $t=$s)++, $s
%%
$s = $a[0] = $h{x} = 5; ($s,@a,%h)
%%
($s,$a[0])=(1)x2; my $x=($s==1 && $a[0]==1) ? "t":"f"; $x
%%
@a = () = (1,2,3); my $c=() = @a; (scalar @a,$c)
%%
my $n = @a = (1,2,3); my ($f)=@a=(7,8); ($n,$f,@a)
%%
my $n = %h = (1,2,3,4); ($n)
%%
if ((my $n = @a = (1,2)) > 1) { push @a,$n } @a
%%
@a=(1,2,3); my ($x,$y,$z,$w)=@a; (defined $w?1:0,$x+$y+$z)
%%
%h=(a=>1); if (exists $h{a} and !exists $h{b} and not defined $h{c}) { $s="ok" } $s
%%
%h=(1=>1); my ($k)=%h; my ($v)=values %h; my $c=()=%h; ($k,$v,$c)
%%
%h=(a=>[1]); my @c=@{$h{a}}; push @c,2; my $ref=$h{a}; push @$ref,3; (scalar @{$h{a}}, scalar @c)
%%
%h=(a=>1); my $h2={%h}; $h2->{a}=2; ($h{a}, [@a=(1)]->[0], {%h}->{a})
%%
@a=({a=>1},{a=>2}); $_->{a}*=10 for @a; my %by=map { $_->{a}=>$_ } @a; $by{20}{a}++; map { $_->{a} } @a
%%
undef $s; $s->[2]=1; (ref $s, scalar @$s, exists $s->[0]?1:0)
%%
undef $s; $s->{a}{b}=1; my @k=keys %{$s->{a}}; ("@k")
%%
undef $s; push @{$s->{list}},1,2; (scalar @{$s->{list}})
%%
undef $s; my $x=$s->{a}; (defined $s?ref $s:"u")
%%
undef $s; my @x=@{$s||[]}; my $y=@{$h{none}||[]}; for (@{$h{auto}}) {} (defined $s?1:0,exists $h{none}?1:0,exists $h{auto}?1:0)
%%
use strict; undef $s; my @x=eval { @$s }; $@ ? "died: ".($@=~s/ at .*//sr) : "lived"
%%
use strict; $s="str"; eval { $s->{a}=1 }; $@=~s/ at .*//sr
%%
$s=[1]; eval { $s->{a}=1 }; $@=~s/ at .*//sr
%%
$h{a}=5; eval { $h{a}[0]=1; use strict; $h{a}{x}=2 }; ($@?1:0)
%%
$s="é"; utf8::upgrade($s); utf8::downgrade($s); my $l=length $s; utf8::encode($s); ($l,length $s)
%%
$h{u}="\x{263a}"; utf8::encode($h{u}); my $l=length $h{u}; utf8::decode($h{u}); ($l,length $h{u}, utf8::is_utf8($h{u})?1:0)
%%
$s="\x{e9}"; my $x=$s."\x{263a}"; (length $x, $s eq "\x{e9}"?1:0, ord $s)
%%
$s=lc uc ucfirst "abC"; $h{l}=lc($s); (fc "X", $s, $h{l}, length "$s$h{l}")
%%
$s=10; my @x=(1..$s); my @y=($s..12); my @z=reverse 1..$s/2; (scalar @x,@y,@z)
%%
@a=("a".."c"); my %i; @i{@a}=(); my @e=grep { exists $i{$_} } @a; @i{@a}=@a; (scalar @e,$i{b})
%%
@a=(1..3); $"=","; my $x="@a"; local $,=";"; local $\=""; $"=" "; $x
%%
@a=([1,"a"],[2,"b"]); my %m=map { $_->[0]=>$_->[1] } @a; my %g; push @{$g{$_->[1]}},$_->[0] for @a; ($m{2},$g{a}[0])
%%
$h{a}{b}{c}=1; my @path; my $p=\%h; while (ref $p) { my ($k)=keys %$p; push @path,$k; $p=$p->{$k} } @path
%%
my $fib; $fib=sub { my $n=shift; $h{$n} //= $n<2?$n:$fib->($n-1)+$fib->($n-2) }; my $r=$fib->(20); undef $fib; $r
%%
my $it=do { my $i=0; sub { $a[$i++] } }; @a=(1,2); my @r; while (defined(my $x=$it->())) { push @r,$x } @r
%%
@a=(1,2,3); my ($s1,$s2)=(0,0); $s1+=$a[$_],$s2.=$a[$_] for 0..$#a; ($s1,$s2)
%%
@a=(1,2,3); my $r=\@a; my @c=@$r; my ($f)=@{$r}; my $l=$$r[-1]; my $n=@$r; my $t="@$r[0,1]"; ("@c",$f,$l,$n,$t, $r->@*, $r->$#*, $r->@[0,1])
%%
%h=(a=>1,b=>2); my $r=\%h; my @s=@{$r}{qw(a b)}; my %k=%{$r}{a}; my @d=$r->@{qw(a b)}; my ($e)=$r->%{b}; delete $r->{a}; (@s,%k,@d,$e,keys %$r)
%%
@a=(1..4); my ($x,$y)=@a[grep { $_%2 } 0..$#a]; my @e=map { $a[$_*2] } 0..$#a/2; ($x,$y,@e)
%%
@a=(1..4); my %h2; @h2{@a[0,1]}=@a[2,3]; ($h2{1},$h2{2}, join ",", (%a[0,1]))
%%
my @e=each @a; @a=(5); my ($i,$v)=each @a; my @f=each @a; (scalar @e,$i,$v,scalar @f)
%%
@a=(1,2,3); my @k=keys @a; my @v=values @a; $_*=2 for values @a; ("@k","@v","@a")
%%
@a=(1..3); my ($k)=each @a; @a=(4,5); my ($k2)=each @a; ($k,$k2)
%%
%h=(a=>1); my ($k)=each %h; %h=(b=>2); my ($k2)=each %h; ($k,$k2)
%%
%h=(a=>1,b=>2,c=>3); keys %h; my $c=0; while (my $k=each %h) { $c++; $h{$k}++ } ($c,@h{qw(a b c)})
%%
%h=(a=>1,b=>2,c=>3); my $n; for (keys %h) { delete $h{$_}; $n++ } ($n,scalar keys %h)
%%
# tied
%h=(x=>1); my $ref=\$h{x}; delete $h{x}; $$ref=5; (exists $h{x}?1:0)
%%
@a=(1,2); my $ref=\$a[1]; pop @a; scalar @a
%%
chop(my $x=$s="abc"); chomp($h{l}="line\n"); lc($s),$x,$h{l}
%%
$s="abc"; my $r=reverse $s; my @c=split //,$s; my $u=ucfirst lc $s; my $i=index $s,"c"; my $ss=substr $s,1; my $rep=$s x 2; my $j=join "-",@c; ($r,@c,$u,$i,$ss,$rep,$j, sprintf("%vd","1.2"), ($s=~tr/a-c//))
%%
$s="abc"; substr($s,1,1)=~s/b/BB/; my $x=\ substr($s,0,1); $$x="zz"; (lc substr($s,0,2), $s)
%%
$s="abcdef"; my ($x,$y)=unpack "a2 a2",$s; substr($s,0,2)=""; substr($s,-1)="Z"; 4==length $s ? ($x,$y,$s) : "bad $s"
%%
$s=1; my $x= $s ? "t":"f"; my $y=$s && "a"; my $z=$s || "b"; $s &&= 0; $s ||= "c"; ($x,$y,$z,$s, !!$s, not $s)
%%
my $n=0; $n++ while $n<3; $s=$n; do { $s-- } until $s<=1; $s
%%
$s = time - time; $s = rand(1)<2; $s = int 5.7; $s = abs -3; $s = sqrt 16; $s = length "abc"; $s = ord "a"; $s
%%
$s = [1,2]->[1]; $s = {a=>3}->{a}; $s = (4,5)[1]; $s = sub { 7 }->(); $s = "8"; $s
%%
$h{$_}++ for split //,"abca"; map{"$_$h{$_}"} sort keys %h
%%
$h{length $_}{$_}=1 for qw(a bb cc); map { "$_:".join "",sort keys %{$h{$_}} } sort keys %h
%%
my @q=map {; "$_" => 1 } 1..2; %h=@q; %h=(%h,%h); scalar keys %h
%%
$a[3]=1; my @d=map { defined ? 1:0 } @a; my @e=map { exists $a[$_]?1:0 } 0..3; my $c=@a; my $j=do { no warnings; join ",",@a }; (@d,@e,$c,$j)
%%
$a[3]=1; my ($x)=@a; $_//="v" for @a; @a
%%
$a[3]=1; delete $a[3]; scalar @a
%%
@a=(1,undef,3); my $c=grep { defined } @a; @a=grep { defined } @a; ($c,@a)
%%
@a=(1..3); undef @a[0,1]; 1
%%
undef $a[1]; (scalar @a);
%%
undef($h{a}{b}); join ",", ref $h{a}, exists $h{a}{b}?1:0
%%
$s=0x7fffffffffffffff; $s++; my $x=$s; $s=-9223372036854775808; $s--; ("$x","$s")
%%
$s=18446744073709551615; my $x=$s; $s++; ("$x","$s")
%%
$s="0 but true"; my $x=$s+5; $s="0x1A"; my $y=hex $s; $s="1_000"; no warnings; my $z=$s+0; ($x,$y,$z)
%%
$s="inf"; my $x=$s+0; $s="nan"; my $y=$s+0; ($x, $y!=$y?1:0)
%%
$s="1e3"; my $x=$s*1; $s=1e15; my $y="$s"; $s=1e16; my $z="$s"; $s=0.1+0.2; my $w=$s==0.3?1:0; ($x,$y,$z,$w,"$s")
%%
$s="a"; $s++; my $x=$s; $s="Az"; $s++; $s="zz"; $s++; $s="a9"; $s++; $s="Zz9"; $s++; ($x,$s)
%%
$s=""; $s++; my $x=$s; $s="ab-c"; { no warnings; $s++; } ($x,$s)
%%
$s=5; $s^=3; $s|=8; $s&=14; $s<<=1; $s>>=2; my $x=~$s & 0xff; $s="ab"; $s^="  "; $s.=""; ($x,$s)
%%
$s="ab"; $s|="  "; my $x=$s; $s=~tr/A-Z/a-z/; ($x,$s)
%%
@a=(3,1,2); $_*=10 for sort @a; @a
%%
@a=(3,1,2); $_*=10 for sort { $b <=> $a } @a; @a
%%
@a=(3,1,2); $_*=10 for reverse @a; @a
%%
our @g=(3,1,2); $_*=10 for reverse sort @a=@g; (@a,@g)
%%
@a=(3,1,2); $_*=10 for reverse sort @a; @a
%%
@a=(3,1,2); $_*=10 for do { @a }; @a
%%
@a=(3,1,2); $_*=10 for (@a)[0,1]; @a
%%
@a=(3,1,2); sub more { $_.="f" for @_ } more(reverse @a); more(sort @a[0,1]); more((@a)[2]); @a
%%
@a=(3,1,2); my @x=map { $_++ } reverse @a; my @y=grep { $_++ } sort { $a <=> $b } @a; (@x,@y,@a)
%%
@a=(3,1,2); my ($x)=map { $$_.="r"; $$_ } \(reverse @a); ($x,@a)
%%
@a=(3,1,2); $_*=10 for reverse @a[0,-1]; $_++ for do { values @a }; @a
%%
@a=(3,1,2); my $r=\@a; $_*=10 for reverse @$r; $_++ for do { @{$r}[1,2] }; @a
%%
%h=(a=>1,b=>2); $_*=10 for do { values %h }; $_++ for reverse values %h; @h{qw(a b)}
%%
%h=(a=>1,b=>2); my $r=\%h; $_*=10 for reverse @h{qw(a b)}; more(do { @{$r}{qw(a b)} }); @h{qw(a b)}
%%
%h=(a=>1,b=>2); $_.="x" for do { %h }; map { "$_$h{$_}" } sort keys %h
%%
@a=(3,1,2); sub handed { return @a[0,1] } my @x=(reverse(@a),join "",@a); $_++ for @x; (@x,@a)
%%
@a=(3,1,2); for (reverse((do { @a, 5 })[0,1])) { $_="c" } @a
%%
@a=([1],{x=>1}); for (reverse @a) { $_=ref } @a
%%
%h=(a=>1); keys(%h)=100; my $n=keys %h; my $m=scalar keys %h; sub count :lvalue { keys %h } count()=5; ($n,$m,0+count())
%%
my ($k,$i,$r)=("a",3,\%h); for my $turn (1,2) { $h{$k}="v".$i; $r->{$k."b"}="$i-$k"; $h{c}="x$h{a}y$i"; $h{e}.="e$_" for 1,2 } map { "$_$h{$_}" } sort keys %h
%%
my $i=4; my $z=($h{d}="q".$i); my @x=map { $h{m}="m$_" } 1,2; $h{f}="u".undef().$i; ($z,@x,@h{qw(d f m)})
%%
{ package Joins; use overload q("")=>sub { $main::key="later"; "j" } } our $key="now"; my $o=bless [],"Joins"; $h{$key}="a$o"; $h{"k$_"}=$_.$_ for 1,2; map { "$_$h{$_}" } sort keys %h
%%
sub joined { $h{last}="l$_[0]" } (joined(1), joined(2), scalar(joined(3)), do { joined(4); $h{last} })
%%
sub ends { my ($x,@r)=@_; push @$x,1; push @$x,2,3; push @r,scalar push @$x,4; unshift @$x,0; push @r,unshift @$x,-2,-1; push @r,shift @$x; push @r,pop @$x; push @$x; push @r,@$x,0+@$x; pop @$x while @$x; @r } (map { ends(\@a) } 1..3)
%%
my @r; for my $n (0..2) { push @a,$n if $n; push(@a,$_),$n++ for 1..2; push @r,shift(@a).pop(@a); push @a,[1,{x=>$n}]; push @r,(pop @a)->[1]{x} } (@r,@a)
%%
sub own { my $x=shift; my $y=shift; push @_,$x; unshift @a,@_; shift(@_).$y } (own(1,2), own(3,4), own(5,6), @a)
%%
my @r=map { push @a, map { $_*2 } 1..3; (scalar(@a), unshift(@a, push @a, 7), shift @a) } 1..3; (@r,@a)
%%
my @r; for (1..3) { my $x=shift @a; my $y=pop @a; push @r,$x//"u",$y//"u"; push @a,(1)x5; unshift @a,reverse 1..6; push @r,splice @a,1,-1; @a=() } @r
%%
for (1..3) { eval { push @a, sub {} ; 1 } or push @a, "died" if 0; push @a, \$_ if 0; my $i=push @a, "x$_"; $a[$i-1].=$i } @a
%%
%h=(t=>"\x{263a}",b=>"abc",n=>5,r=>[1],u=>undef,l=>"x"x100000,d=>1.5); my @r; for my $k (qw(t b n r u l d t u b)) { my $x=$h{$k}; our $g; $g=$h{$k}; push @r,ref $x ? "r@$x$#$g" : defined $x ? length($x).utf8::is_utf8($x).substr($x,0,3).$g : "u"; $x.="c"; $g="" } (@r, $h{b})
%%
%h=(a=>1,b=>2); my ($x,$y); $x=$h{a}, $y=$h{b}; my $z=($x=$h{a})+($y=$h{b}); ($x=$h{b})++; (my $w=$h{a})=~s/1/9/; ($x,$y,$z,$w,@h{qw(a b)})
%%
$h{x}="a b c d"; my $k="x"; formline("^<~~\n",$h{x}); $h{x}="e f g"; formline("^<~~\n",$h{$k}); $h{x}="h i"; formline("^<~~\n",$h{lc $k}); my $r=$^A; $^A=""; ($r,$h{x})
%%
$h{l}{x}="words to be cut"; for (1..3) { formline("^<<<<|\n",$h{l}{x}) } my $r=$^A; $^A=""; ($r,$h{l}{x})
%%
@h{qw(x y)}=("line of text","other text"); for (1..3) { formline("^<<<<< ^<<<<|\n",@h{qw(x y)}) } my $r=$^A; $^A=""; ($r,@h{qw(x y)})
%%
our $picked=\%h; format PICKED =
^<<<<~~
$$picked{text}
.
$h{text}="one two three"; open my $out,">",\my $page; { no strict; local *PICKEDOUT=$out; } my $was=select $out; $~="PICKED"; select $was; write $out; close $out; ($page,$h{text})
%%
pipe(my $r,my $w); syswrite $w,"x"; for my $k (qw(x x)) { vec($h{$_},fileno $r,1)=vec($h{$_},fileno $w,1)=1 for $k,"y"; my $n=select($h{$k},undef,$h{y},0); push @a,$n,(map { unpack "%b*",$_ } @h{$k,"y"}) } @a
