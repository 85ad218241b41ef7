# The program shmpool as its users run it: the variables of IPC::Shm.
use strict;
use warnings;
use Test::More;
use lib 't/lib';
use JSON::PP ();
use POSIX    ();
use PoolTest qw(temp_path in_child write_file read_file);
use IPC::Shm namespace => temp_path('namespace');

my $namespace = temp_path('namespace');
my $me        = $$;
my ($script)  = grep {-e} 'blib/script/shmpool', 'script/shmpool';
my @shmpool   = ($^X, (map {"-I$_"} grep { !ref } @INC), $script);
$ENV{IPC_SHM_NAMESPACE} = $namespace;

# Run shmpool with something on standard input: (status, standard output, standard error).
sub shmpool_reads {
    my ($input, @words) = @_;
    my $in  = write_file(temp_path('in'), $input);
    my $pid = fork // die "fork: $!";
    if (!$pid) {
        open STDIN,  '<', $in              or POSIX::_exit(3);
        open STDOUT, '>', temp_path('out') or POSIX::_exit(3);
        open STDERR, '>', temp_path('err') or POSIX::_exit(3);
        exec @shmpool, @words or POSIX::_exit(3);
    }
    waitpid $pid, 0;
    return ($?, map { read_file(temp_path($_)) } qw(out err));
}

sub succeeds {
    my @words = @_;
    my ($status, $out, $err) = shmpool_reads('', @words);
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    is "$status$err", '0', "shmpool @words: succeeds";
    return $out;
}

sub json { my @words = @_; return JSON::PP->new->utf8->allow_nonref->decode(succeeds(@words)) }

sub fails {
    my ($words, $message) = @_;
    my ($status, $out, $err) = shmpool_reads('', @$words);
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    is $status >> 8, 2, "shmpool @$words: status 2";
    like $err, qr/\Ashmpool: [^\n]*$message[^\n]*\n\z/, 'one line that says what is wrong';
    return $out;
}

subtest 'looking makes no namespace' => sub {
    local $ENV{IPC_SHM_NAMESPACE} = my $missing = temp_path('missing');
    for my $words (['vars'], [ 'dump', '%x' ], [ 'set', '%x', '{}' ], [ 'rm', '%x' ], ['gc'], [ 'cleanup', '--yes' ]) {
        fails($words, "there is no namespace \Q$missing\E");
        ok !-e $missing, 'and none is made';
    }
    mkdir temp_path('other') or die $!;
    write_file(temp_path('other') . '/precious', 'x');
    fails([ 'cleanup', '--yes', '--namespace', temp_path('other') ], 'there is no namespace');
    ok -e temp_path('other') . '/precious', 'a folder that is none is not cleaned up';
};

our %config : shm;
our @list : shm;
our $number : shm = 0.1 + 0.2;
{

    package Other;
    our %loop : shm;
}
%config = (
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
@list = (1, undef, 9**9**9, -9**9**9, 1e300);
$Other::loop{self} = \%Other::loop;

subtest 'vars' => sub {
    my $all = json('vars', '--json');
    is $all->{namespace}, $namespace, 'namespace';
    is $all->{variables}, 4 + 6,      'how many there are: the named ones, and what they refer to';
    my %variable = map { ($_->{name} // '') => $_ } @{ $all->{list} };
    is_deeply [ sort grep { $_ ne '' } keys %variable ], [ '$main::number', '%Other::loop', '%main::config', '@main::list' ], 'names';
    is $variable{'%main::config'}{elements}, 10,      'elements';
    is $variable{'@main::list'}{type},       'ARRAY', 'type';
    is_deeply $variable{'@main::list'}{attached}, [$$], 'who has it';
    cmp_ok $variable{'%main::config'}{bytes}, '>', 50, 'bytes';

    my $text = succeeds('vars', $namespace);
    like $text, qr/\A\Q$namespace\E: 10 variables, [\d.]+ \w+ used\n *NAME +TYPE +ELEMENTS +BYTES +SERIAL +LOCK +PROCESSES\n/, 'heading';
    like $text, qr/^\@main::list +array +5 +\d+ +\d+ +- +$me$/m, 'a line a variable';
    like $text, qr/^\(anonymous\) +hash +/m,                     'also without a name';

    my $locked = (tied %config)->writelock;
    like succeeds('vars'), qr/^%main::config .* write $me +$me$/m, 'a write lock, and whose it is';
    (tied %config)->unlock;
    $locked = (tied %config)->readlock;
    like succeeds('vars'), qr/^%main::config .* read $me +$me$/m, 'a read lock';
    (tied %config)->unlock;
};

subtest 'dump' => sub {
    is_deeply json('dump', '%config'),
        {
        integer             => -9223372036854775808,
        fraction            => 0.1 + 0.2,
        text                => "\x{263a}\n",
        bytes               => "\xff",
        nothing             => undef,
        digits              => '007',
        nested              => { list => [ 1, [2], {} ] },
        scalar              => 'inner',
        object              => { a => 1 },
        "k\x{e9}y \x{263a}" => 1,
        },
        'a hash of everything as JSON';
    like succeeds('dump', '%main::config'), qr/^ *"digits" : "007",$/m,                 'a string that looks like a number is a string';
    like succeeds('dump', '%main::config'), qr/^ *"integer" : -9223372036854775808,$/m, 'a number is a number, exactly';
    is_deeply json('dump', '@list'), [ 1, undef, 'Infinity', '-Infinity', 1e300 ], 'an array';
    is json('dump', '$number'), 0.1 + 0.2, 'a scalar, to the last bit';

    my $perl = succeeds('dump', '--perl', '%config');
    my %copy = do { no strict 'vars'; local %Copy::config; eval $perl =~ s/%main::config/%Copy::config/r or die $@; %Copy::config };
    $copy{fraction} += 0;
    is_deeply \%copy, \%config, 'Perl syntax: evaluated, the same';
    is ref $copy{object}, 'Some::Class', 'with classes';
    ok $copy{fraction} == 0.1 + 0.2, 'and exact numbers';
    like succeeds('dump', '--perl', '$number'),      qr/\A\$main::number = .*;\n\z/, 'a scalar';
    like succeeds('dump', '--perl', '%Other::loop'), qr/"self" => \\%Other::loop/,   'a variable that refers to itself';
    fails([ 'dump', '%Other::loop' ], 'refers to itself.*use --perl');

    fails([ 'dump', '%missing' ], 'there is no variable %main::missing');
    fails([ 'dump', 'config' ],   '"config" is no name of a variable');
    fails([ 'dump', '%a b' ],     '"%a b" is no name of a variable');
    fails(['dump'], 'usage: shmpool dump \[OPTIONS\] VAR');
};

subtest 'set' => sub {
    succeeds('set', '%config', '{"a":[1,{"b":null}],"c":true,"d":false,"e":"\u263a"}');
    is_deeply \%config, { a => [ 1, { b => undef } ], c => 1, d => 0, e => "\x{263a}" }, 'a hash, seen by this process at once';
    succeeds('set', '@main::list', '[1.5,"x"]');
    is_deeply \@list, [ 1.5, 'x' ], 'an array';
    succeeds('set', '$number', '"caf' . "\xc3\xa9" . '"');
    is $number, "caf\x{e9}", 'a scalar';
    succeeds('set', '$number', '{"deep":[1]}');
    is_deeply $number,                               { deep => [1] },             'a scalar that refers to more';
    is_deeply json('set', '--json', '$number', '7'), { name => '$main::number' }, 'as JSON';

    my ($status) = shmpool_reads('[1,2,3]', 'set', '@list', '-');
    is_deeply [ $status, \@list ], [ 0, [ 1, 2, 3 ] ], 'from standard input';

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
    fails([ 'dump', '--wait', 0.1, '%config' ], '%main::config is locked by another process for more than 0.1 seconds');
    fails([ 'set', '--wait', 0.1, '%config', '{}' ], '%main::config is locked by another process');
    fails([ 'set', '--wait', -1,  '%config', '{}' ], 'to wait must not be negative');
    $child->say('go on');
    $child->result;
    is_deeply json('dump', '%config')->{c}, 1, 'when it is unlocked: the value';
};

subtest 'rm' => sub {
    succeeds('rm', '%Fresh::table');
    fails([ 'dump', '%Fresh::table' ], 'there is no variable %Fresh::table');
    my $out = fails([ 'rm', '--json', '%nope', '@list', '$nope' ], 'there is no variable %main::nope, \$main::nope');
    is_deeply(JSON::PP->new->decode($out), { removed => ['@main::list'] }, 'those that are there among those that are not');
    fails([ 'dump', '@list' ], 'there is no variable @main::list');
    fails(['rm'],              'usage: shmpool rm \[OPTIONS\] VAR\.\.\.');
};

subtest 'gc' => sub {
    my @elsewhere = ('--namespace', my $other = temp_path('garbage'));
    my $cycles    = 'use IPC::Shm; our $named : shm; my %first : shm; my %second : shm; %first = (o => \%second); %second = (o => \%first)';
    {
        local $ENV{IPC_SHM_NAMESPACE} = $other;
        system($^X, (map {"-I$_"} grep { !ref } @INC), '-e', $cycles) == 0 or die $?
    }
    is json('vars', '--json', @elsewhere)->{variables}, 3, 'a cycle that nothing leads to, and a variable with a name';
    my $result = json('gc', '--json', @elsewhere);
    is $result->{namespace}, $other, 'the namespace';
    is $result->{variables}, 2,      'the cycle is freed';
    cmp_ok $result->{freed}, '>=', 2, 'and what it was made of';
    is json('vars', '--json', @elsewhere)->{variables}, 1,                                         'the variable with a name is there';
    is succeeds('gc', @elsewhere),                      "0 slots freed, 0 variables among them\n", 'a second time there is nothing to do';
};

subtest 'cleanup' => sub {
    fails(['cleanup'], 'cleanup removes everything: say --yes \(there is no terminal to ask\)');
    ok -e $namespace, 'nothing is removed';
    my $count = json('vars', '--json')->{variables};
    is_deeply json('cleanup', '--yes', '--json'), { namespace => $namespace, removed => $count }, 'with --yes';
    ok !-e $namespace, 'the namespace is gone';
    fails(['vars'], 'there is no namespace');
};

done_testing;
