use strict;
use warnings;
use lib 't/lib';
use ShmTest;
use Test::More;
use Scalar::Util qw(blessed refaddr);
use Storable     ();
use IPC::Shm;

# Deep plain copies.

my @warnings;
local $SIG{__WARN__} = sub { push @warnings, @_ };    # of what is freed twice perl only warns

our %h : shm;
our @a : shm;
our $s : shm;

sub is_plain {
    my ($ref) = @_;
    my $kind = Scalar::Util::reftype($ref);
    return !tied %$ref if $kind eq 'HASH';
    return !tied @$ref if $kind eq 'ARRAY';
    return !tied $$ref;
}

{

    package Thing;
    use overload '""' => sub { die "asked\n" }, '%{}' => sub { die "asked\n" }, 'bool' => sub { die "asked\n" };
}

my $list = [ 1, [2], undef ];
%h = (
    list       => $list,
    same       => $list,
    object     => bless({ x => [1] }, 'Some::Class'),
    text       => \'text',
    deep       => \\'x',
    undef      => undef,
    "\x{263a}" => 1
);
$h{self}  = \%h;
$h{thing} = bless [ \%h ], 'Thing';
my $copy = (tied %h)->copy;

ok is_plain($copy), 'a plain hash';
is join(',', sort keys %$copy), join(',', sort keys %h), '… with all keys';
ok is_plain($copy->{list}),    'what it leads to is plain, too';
ok is_plain($copy->{list}[1]), '… all the way';
is_deeply [ @{ $copy->{list} } ], [ 1, [2], undef ], '… and equal';
is refaddr($copy->{same}),   refaddr($copy->{list}), 'two references to one stay that';
is refaddr($copy->{self}),   refaddr($copy),         'a ring stays a ring';
is blessed($copy->{object}), 'Some::Class',          'objects are blessed';
is ${ $copy->{text} },       'text',                 'a reference to a scalar';
is ${ ${ $copy->{deep} } },  'x',                    '… and to one of those';
is blessed($copy->{thing}),  'Thing',                'an object that overloads everything';
push @{ $copy->{list} }, 'mine';
is scalar(@{ $h{list} }), 3, 'a copy is nobody else\'s';
$copy->{self} = $copy->{thing} = undef;

@a = (1, { n => 2 });
$a[4] = 5;
is_deeply((tied @a)->copy, [ 1, { n => 2 }, undef, undef, 5 ], 'an array, with holes');
$s = 7;
is((tied $s)->copy, 7, 'a scalar: its value');
$s = { a => [1] };
ok is_plain((tied $s)->copy), '… which is copied where it is a reference';
is_deeply((tied $s)->copy, { a => [1] }, '… deeply');
my $object = bless \my %of_class, 'My::Class';
tie %of_class, 'IPC::Shm::Tied';
$of_class{x} = 1;
is ref((tied %of_class)->copy), has_batches() ? 'My::Class' : 'HASH', 'a blessed variable; its class is not known where tie is not wrapped';

{
    my $chain;
    $chain = [$chain] for 1 .. 20_000;
    my @deep : shm = ($chain);
    my ($plain, $n) = ((tied @deep)->copy, 0);
    while (ref $plain->[0]) { $plain = $plain->[0]; $n++ }
    is $n, 20_000, 'deep data';
}

# --- modules that copy
is_deeply(Storable::dclone((tied %h)->copy->{list}), [ 1, [2], undef ], 'Storable takes a copy');
my $why;
$why = eval { Storable::dclone(\%h); 1 } ? '' : $@;
like $why, qr/\(tied \.\.\.\)->copy/, 'dclone of a shared variable names copy';
$why = eval { Storable::freeze({ x => $h{list} }); 1 } ? '' : $@;
like $why, qr/\(tied \.\.\.\)->copy/, 'freeze of what refers to one, too';
SKIP: {
    eval { require JSON::PP } or skip 'no JSON::PP', 1;
    is(JSON::PP->new->canonical->encode((tied @a)->copy), '[1,{"n":2},null,null,5]', 'JSON takes a copy');
}
SKIP: {
    eval { require Clone; 1 } or skip 'Clone is not installed', 2;
    is_deeply(Clone::clone((tied %h)->copy->{list}), [ 1, [2], undef ], 'Clone takes a copy');
    $why = eval { my $clone = Clone::clone(\%h); () = %$clone; 1 } ? '' : $@;
    like $why, qr/\(tied \.\.\.\)->copy/, 'a clone of a shared variable names copy';
}
SKIP: {
    eval { require Sereal::Encoder; require Sereal::Decoder; 1 } or skip 'Sereal is not installed', 1;
    is_deeply(
        Sereal::Decoder::decode_sereal(Sereal::Encoder::encode_sereal((tied @a)->copy)),
        [ 1, { n => 2 }, undef, undef, 5 ],
        'Sereal takes a copy'
    );
}

# --- of one moment, also while the writer is killed
SKIP: {
    skip 'operators are not wrapped', 2 if !has_batches();
    %h = (inner => { map { $_ => 0 } 1 .. 20 }, map { $_ => 0 } 1 .. 20);
    my ($mixed, %seen) = (0);
    for my $round (1 .. 5) {
        my $pid = child(
            sub {
                for (my $i = $round * 1e6;; $i++) {
                    %h = (inner => $h{inner}, map { $_ => $i } 1 .. 20);
                    %{ $h{inner} } = map { $_ => $i } 1 .. 20;
                }
            }
        );
        my $look = sub {
            my $now   = (tied %h)->copy;
            my %inner = map { $_ => 1 } values %{ delete $now->{inner} };
            my %outer = map { $_ => 1 } values %$now;
            $mixed++ if keys %inner != 1 || keys %outer != 1;
            $seen{$_}++ for keys %outer;
            return scalar keys %seen;
        };
        my $before = $look->();
        $look->() for 1 .. 200;
        until_true(sub { $look->() > $before + 2 });    # a busy machine: the other has hardly run
        kill KILL => $pid;
        $look->() for 1 .. 100;
        waitpid $pid, 0;
    }
    is $mixed, 0, 'each variable is of one moment';
    cmp_ok scalar(keys %seen), '>', 10, '… of which there were many';
}

is "@warnings[ 0 .. ($#warnings < 2 ? $#warnings : 2) ]", '', 'perl has warned of nothing';
IPC::Shm->cleanup;
done_testing;
