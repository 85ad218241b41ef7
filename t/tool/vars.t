# The program shmpool as its users run it: the variables of IPC::Shm.
use strict;
use warnings;
use Test::More;
use lib 't/lib';
use JSON::PP     ();
use PoolTest     qw(perl temp_path in_child write_file);
use Scalar::Util qw(blessed refaddr);
use ToolTest     qw(shmpool_reads succeeds json fails has_utf8_locale);
use IPC::Shm namespace => temp_path('namespace');

my $namespace = temp_path('namespace');
my $me        = $$;
$ENV{IPC_SHM_NAMESPACE} = $namespace;

subtest 'looking makes no namespace' => sub {
    local $ENV{IPC_SHM_NAMESPACE} = my $missing = temp_path('missing');
    for my $words (['vars'], [ 'dump', '%x' ], [ 'set', '%x', '{}' ], [ 'rm', '%x' ], ['gc'], [ 'cleanup', '--yes' ]) {
        fails($words, "there is no namespace \Q$missing\E");
        ok !-e $missing, 'and none is made';
    }
    mkdir temp_path('other') or die $!;
    write_file(temp_path('other') . '/precious', 'x');
    fails([ 'cleanup', '--yes', '--namespace', temp_path('other') ], 'other is not a namespace');
    ok -e temp_path('other') . '/precious', 'a folder that is none is not cleaned up';

    # What is left of one whose maker was killed right away: IPC::Shm would finish it.
    my @begun = ('--namespace', my $begun = temp_path('begun'));
    mkdir $begun or die $!;
    write_file("$begun/namespace", '');
    fails([ @$_, @begun ], 'is not a namespace of IPC::Shm') for ['vars'], [ 'dump', '%x' ], ['gc'];
    is_deeply [ map { -s $_ } glob "$begun/*" ], [0], 'nor is one finished';

    symlink 'loop', temp_path('loop') or die $!;
    fails([ 'vars', temp_path('loop') ], 'cannot open namespace .*loop: Too many levels of symbolic links');
};

our %config : shm;
our @list : shm;
our $number : shm   = 0.1 + 0.2;
our $negative : shm = -0.0;
{

    package Other;
    use utf8;
    our %loop : shm;
    our @twice : shm = ([7]);
    $twice[1] = $twice[0];
    our %object : shm;
    $object{me} = bless \%object, 'Some\'s @class';
    $object{in} = bless [], 'Café';
    our $café : shm = 3;
}
my %content = (
    integer             => -9223372036854775808,
    fraction            => 0.1 + 0.2,
    text                => "\x{263a}\n",
    bytes               => "\xff",
    nothing             => undef,
    digits              => '007',
    nested              => { list => [ 1, [2], {} ] },
    scalar              => \"inner",
    object              => bless({ a => 1 }, 'Some::Class'),
    "k\x{e9}y \x{263a}" => 1,
);
%config            = %content;
@list              = (1, undef, 9**9**9, -9**9**9, 1e300);
$Other::loop{self} = \%Other::loop;

subtest 'vars' => sub {
    my $all = json('vars');
    is $all->{namespace}, $namespace, 'namespace';
    is $all->{variables}, 8 + 8,      'how many there are: the named ones, and what they refer to';
    my %variable = map { ($_->{name} // '') => $_ } @{ $all->{list} };
    is_deeply [ sort grep { $_ ne '' } keys %variable ],
        [ "\$Other::caf\x{e9}", qw($main::negative $main::number %Other::loop %Other::object %main::config @Other::twice @main::list) ],
        'names';
    is $variable{'%main::config'}{elements}, 10,      'elements';
    is $variable{'@main::list'}{type},       'ARRAY', 'type';
    is_deeply $variable{'@main::list'}{attached}, [$$], 'who has it';
    cmp_ok $variable{'%main::config'}{bytes}, '>', 50, 'bytes';

    my $text = succeeds('vars', $namespace);
    like $text, qr/\A\Q$namespace\E: 16 variables, [\d.]+ \w+ used\n *NAME +TYPE +ELEMENTS +BYTES +SERIAL +LOCK +PROCESSES\n/, 'heading';
    like $text,                     qr/^\@main::list +array +5 +\d+ +\d+ +- +$me$/m, 'a line a variable';
    like $text,                     qr/^\(3 anonymous\) +hash +2 +\d+ +- +- +$me$/m, 'those without a name in one line a type';
    like succeeds('vars', '--all'), qr/(?:^\(anonymous\) +hash +.*\n){3}/m,          'with --all a line each';

    my $locked = (tied %config)->writelock;
    like succeeds('vars'), qr/^%main::config .* write $me +$me$/m, 'a write lock, and whose it is';
    (tied %config)->unlock;
    $locked = (tied %config)->readlock;
    like succeeds('vars'), qr/^%main::config .* read $me +$me$/m, 'a read lock';
    (tied %config)->unlock;
};

subtest 'dump' => sub {
    is_deeply json('dump', '%config'), { %content, scalar => 'inner', object => { a => 1 } }, 'a hash of everything as JSON';
    like succeeds('dump', '%main::config'), qr/^ *"digits" : "007",$/m,                 'a string that looks like a number is a string';
    like succeeds('dump', '%main::config'), qr/^ *"integer" : -9223372036854775808,$/m, 'a number is a number, exactly';
    is_deeply json('dump', '@list'), [ 1, undef, 'Infinity', '-Infinity', 1e300 ], 'an array';
    is json('dump', '$number'), 0.1 + 0.2, 'a scalar, to the last bit';

    fails([ 'dump', '%Other::loop' ], 'refers to itself.*use --perl');

    fails([ 'dump', '%missing' ], 'there is no variable %main::missing');
    fails([ 'dump', 'config' ],   '"config" is not the name of a variable');
    fails([ 'dump', '%a b' ],     '"%a b" is not the name of a variable');
    fails(['dump'], 'usage: shmpool dump \[OPTIONS\] VAR');
};

# What `dump --perl` prints makes the variable again: a reference to that, with
# another package in place of the variable's own.
sub evaluated {
    my ($name) = @_;
    my $perl = succeeds('dump', '--perl', $name);
    my ($sigil, $package) = $name =~ /\A(.)(\w+)::/;
    eval $perl =~ s/\b${package}::/Copy::/gr . '; 1' or return fail("$name: $@ in $perl");
    utf8::decode($name);
    return eval $name =~ s/\A.\w+/\\${sigil}Copy/r;
}

subtest 'dump --perl' => sub {
    my $copy = evaluated('%main::config');
    ok $copy->{fraction} == 0.1 + 0.2, 'exact numbers';
    is_deeply { %$copy, fraction => $config{fraction} }, \%config, 'evaluated, it is the same';
    is ref $copy->{object}, 'Some::Class', 'with classes';
    is_deeply evaluated('@main::list'), \@list, 'an array';
    ok ${ evaluated('$main::number') } == $number, 'a scalar';
    is_deeply evaluated('$main::negative'), \'-0', 'a zero keeps its sign';

    $copy = evaluated('%Other::loop');
    is $copy->{self}, $copy, 'a variable that refers to itself';
    $copy = evaluated('@Other::twice');
    is $copy->[0], $copy->[1], 'what is referred to twice is one thing';
    is_deeply $copy->[0], [7], 'with its content';
    $copy = evaluated('%Other::object');
    is blessed $copy,       'Some\'s @class', 'a variable that is an object';
    is $copy->{me},         $copy,            'and refers to itself';
    is blessed $copy->{in}, "Caf\x{e9}",      'a class outside ASCII';
    is_deeply evaluated("\$Other::caf\xc3\xa9"), \3, 'and such a name';
    local $ENV{LC_ALL} = 'C';
    is_deeply evaluated("\$Other::caf\xc3\xa9"), \3, 'in any locale';
};

subtest 'names outside ASCII' => sub {
    fails([ 'dump', "\$Other::caf\xc3\xa8" ], "there is no variable \\\$Other::caf\xc3\xa8\$");
    {
        local $ENV{LC_ALL} = 'C';
        like succeeds('vars'), qr/^\$Other::caf\\xe9 /m, 'are spelled where the locale is ASCII';
    }
    SKIP: {
        skip 'no locale C.UTF-8', 2 if !has_utf8_locale();
        local $ENV{LC_ALL} = 'C.UTF-8';
        like succeeds('vars'), qr/^\$Other::caf\xc3\xa9 /m, 'are shown where it has them';
    }
};

subtest 'set' => sub {
    succeeds('set', '%config', '{"a":[1,{"b":null}],"c":true,"d":false,"e":"\u263a"}');
    is_deeply \%config, { a => [ 1, { b => undef } ], c => 1, d => 0, e => "\x{263a}" }, 'a hash, seen by this process at once';
    succeeds('set', '@main::list', '[1.5,"x"]');
    is_deeply \@list, [ 1.5, 'x' ], 'an array';
    succeeds('set', '$number', '"caf' . "\xc3\xa9" . '"');
    is $number, "caf\x{e9}", 'a scalar';
    succeeds('set', '$number', '{"deep":[1]}');
    is_deeply $number,                     { deep => [1] },             'a scalar that refers to more';
    is_deeply json('set', '$number', '7'), { name => '$main::number' }, 'as JSON';

    my ($status) = shmpool_reads('[1,2,3]', 'set', '@list', '-');
    is_deeply [ $status, \@list ], [ 0, [ 1, 2, 3 ] ], 'from standard input';

    for my $words ([ '$number', '-5' ], [ '--wait', 1, '$number', '-7.5e3' ], [ '$number', '--', '-0.25' ]) {
        succeeds('set', @$words);
        is $number, 0 + $words->[-1], 'a negative number is no option';
    }

    succeeds('set', '%main::ENV',      '{"a":"1"}');
    succeeds('set', '@UNIVERSAL::ISA', '["No::Such"]');
    is_deeply json('dump', '%ENV'), { a => 1 }, 'no variable of the program itself is meant';
    succeeds('rm', '%ENV', '@UNIVERSAL::ISA');

    succeeds('set', '%Fresh::table', '{"new":1}');
    is_deeply json('dump', '%Fresh::table'), { new => 1 }, 'a new variable';
    is eval 'package Fresh; our %table : shm; $table{new}', 1, 'which is what a declaration of that name finds';

    fails([ 'set', '@list',   '{}' ],       '@main::list takes a JSON array');
    fails([ 'set', '%config', '[]' ],       '%main::config takes a JSON object');
    fails([ 'set', '%config', '{"a":}' ],   'not JSON: ');
    fails([ 'set', '%config', 'nonsense' ], 'not JSON: ');
    fails([ 'set', '%config' ], 'usage: shmpool set \[OPTIONS\] VAR JSON');
    is_deeply [ sort keys %config ], [qw(a c d e)], 'after an error all is as it was';
};

subtest 'a lock of somebody else' => sub {
    my $child = in_child {
        my ($parent) = @_;
        (tied %config)->writelock;
        $parent->say('locked');
        $parent->hear;
    };
    $child->hear;
    fails([ 'dump', '--wait', 0.1, '%config' ],
        "%main::config is locked by process ${\ $child->pid} [(]vars\\.t[)]: gave up after 0.1 seconds");
    fails([ 'set', '--wait', 0.1, '%config', '{}' ], '%main::config is locked by process \d+ ');
    fails([ 'set', '--wait', -1,  '%config', '{}' ], 'to wait must not be negative');
    fails([ 'rm', '--wait', 0, '%config' ], '%main::config is locked by process \d+ ');
    $child->say('go on');
    $child->result;
    is_deeply json('dump', '%config')->{c}, 1, 'when it is unlocked: the value';
};

subtest 'names apart from packages' => sub {
    tie my %session, 'IPC::Shm::Tied', 'app.session';
    tie my @queue,   'IPC::Shm::Tied', 'job-queue';
    tie my @plain,   'IPC::Shm::Tied', 'plain';
    tie my @other,   'IPC::Shm::Tied', 'main::other';
    %session = (a => 1);
    @plain   = (7);
    @other   = (8);
    is_deeply json('dump', '%app.session'), { a => 1 }, 'with a dot';
    is_deeply json('dump', '@plain'), [7], 'a word';
    is_deeply json('dump', '@other'), [8], 'a word that stands for a variable of package main';
    is succeeds('dump', '--perl', '%app.session'), "%app_session = (\n  \"a\" => 1\n);\n", 'in Perl, under a name that Perl takes';
    succeeds('set', '@job-queue', '[1,2]');
    is_deeply \@queue, [ 1, 2 ], 'set';
    succeeds('set', '@plain', '[3]');
    is_deeply [ @plain, exists $IPC::Shm::NAMEVARS{'@main::plain'} ? 'another' : () ], [3], 'the same variable, no other';
    succeeds('rm', '%app.session', '@job-queue', '@plain', '@other');
    fails([ 'dump', '%app.session' ], 'there is no variable %app\.session');
};

subtest 'rm' => sub {
    succeeds('rm', '%Fresh::table');
    fails([ 'dump', '%Fresh::table' ], 'there is no variable %Fresh::table');
    my $out = fails([ 'rm', '--json', '%nope', '@list', '$nope' ], 'there is no variable %main::nope; there is no variable \$main::nope');
    is_deeply(JSON::PP->new->decode($out), { removed => ['@main::list'] }, 'those that are there among those that are not');
    fails([ 'dump', '@list' ], 'there is no variable @main::list');
    fails(['rm'],              'usage: shmpool rm \[OPTIONS\] VAR\.\.\.');
};

subtest 'gc' => sub {
    my @elsewhere = ('--namespace', my $other = temp_path('garbage'));
    my $cycles    = 'use IPC::Shm; our $named : shm; my %first : shm; my %second : shm; %first = (o => \%second); %second = (o => \%first)';
    {
        local $ENV{IPC_SHM_NAMESPACE} = $other;
        system(perl(), '-e', $cycles) == 0 or die $?
    }
    is json('vars', @elsewhere)->{variables}, 3, 'a cycle that nothing leads to, and a variable with a name';
    my $result = json('gc', @elsewhere);
    is $result->{namespace}, $other, 'the namespace';
    is $result->{variables}, 2,      'the cycle is freed';
    cmp_ok $result->{freed}, '>=', 2, 'and what it was made of';
    is json('vars', @elsewhere)->{variables}, 1,                   'the variable with a name is there';
    is succeeds('gc', @elsewhere),            "nothing to free\n", 'a second time there is nothing to do';
};

subtest 'cleanup' => sub {
    fails(['cleanup'], 'cleanup removes everything: add --yes \(there is no terminal to ask on\)');
    ok -e $namespace, 'nothing is removed';
    my $count = json('vars')->{variables};
    is_deeply json('cleanup', '--yes'), { namespace => $namespace, removed => $count }, 'with --yes';
    ok !-e $namespace, 'the namespace is gone';
    fails(['vars'], 'there is no namespace');
};

subtest 'namespaces of another version' => sub {
    my $old  = temp_path('old');
    my $make = sub {
        mkdir $old or die $!;
        Data::Pool::Shared->new("$old/$_", 1, 64) for qw(namespace vars.0 blocks.0 names.0 attach.0);
    };
    $make->();
    for my $words ([ 'vars', $old ], [ 'dump', '%x', '--namespace', $old ]) {
        fails($words, 'is a namespace of another version \(format 1\); shmpool cleanup removes it');
    }
    {
        my $user = in_child {
            my ($parent) = @_;
            my $pool = Data::Pool::Shared->attach("$old/blocks.0");
            $parent->say('attached');
            $parent->hear;
        };
        $user->hear;
        fails([ 'gc', '--namespace', $old ], 'of another version .* and process \d+ uses it: left alone');
        ok -e "$old/names.0", 'gc leaves alone what a process uses';
        $user->say('go on');
        $user->result;
    }
    like succeeds('gc', '--namespace', $old), qr/^removed \Q$old\E, a namespace of another version \(format 1\)$/,
        'gc says what it removes';
    ok !-e $old, 'and that is gone';

    $make->();
    write_file("$old/precious", 'x');
    fails([ 'cleanup', '--namespace', $old ], 'add --yes');
    succeeds('cleanup', '--yes', '--namespace', $old);
    is_deeply [ glob "$old/*" ], ["$old/precious"], 'cleanup removes its files and no other';
};

done_testing;
