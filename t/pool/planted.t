# What others put at the path of a pool does not become one, and a limit on the size of
# files is an exception.
use strict;
use warnings;
use Test::More;
use Time::HiRes qw(time);
use lib 't/lib';
use PoolTest;

my $I64    = 'Data::Pool::Shared::I64';
my $NOBODY = 65534;

# A folder with these permissions, whatever the umask.
sub folder {
    my ($name, $mode) = @_;
    my $path = temp_path($name);
    mkdir $path or die "mkdir: $!";
    chmod $mode, $path or die "chmod: $!";
    return $path;
}

# A path in it that is a link to an empty file elsewhere; and that file.
sub linked {
    my ($folder) = @_;
    my $file = write_file("$folder.target", '');
    symlink $file, "$folder/pool" or die "symlink: $!";
    return ("$folder/pool", $file);
}

subtest 'links' => sub {
    for my $case ([ sticky => 01777 ], [ open => 0777 ], [ group => 0775 ]) {
        my ($name, $mode) = @$case;
        my ($path, $file) = linked(folder($name, $mode));
        dies_with { $I64->new($path, 10) } qr/cannot open pool \Q$path\E: it is a link where others may write/, "$name: not followed";
        is -s $file, 0, '... what it leads to is as it was';
        dies_with { $I64->new($path) } qr/is a link where others may write/, '... nor to attach';
        unlink $file;
        dies_with { $I64->new($path, 10) } qr/is a link where others may write/, '... nor where it leads to nothing';
        ok !-e $file, '... which is not made';
    }
    my ($path, $file) = linked(folder(own => 0755));
    is $I64->new($path, 10)->capacity, 10, 'in a folder where only its owner may write it is followed';
    cmp_ok -s $file, '>', 0, '... and the pool is there';
    chmod 0777, temp_path('own');
    is $I64->new($file)->capacity, 10, 'a pool itself may be in any folder';
    my $memfd = $I64->new_memfd(test => 3);
    is(Data::Pool::Shared->attach("/proc/$$/fd/" . $memfd->memfd)->capacity, 3, 'links of /proc are followed') if -e '/proc/self/fd/0';
};

subtest 'empty files' => sub {
    my $folder = folder(files => 01777);
    is $I64->new(write_file("$folder/own", ''), 10)->capacity, 10, 'one\'s own is taken';
    write_file("$folder.other", '');
    SKIP: {
        skip 'hard links cannot be made here', 1 if !link "$folder.other", "$folder/hard";
        dies_with { $I64->new("$folder/hard", 10) } qr/invalid: not a pool, but an empty file .* several names/,
            'not one with another name';
        is -s "$folder.other", 0, '... which is as it was';
    }
    SKIP: {
        skip 'only root can make files of others', 1 if $> != 0;
        my $unfinished = 'LSDPOOL0';
        for my $text ('', $unfinished, $unfinished . "\0" x 1000) {
            my $path = write_file("$folder/planted", $text);
            chown $NOBODY, $NOBODY, $path;
            dies_with { $I64->new($path, 10) } qr/invalid: not a pool, but an empty file of another user/,
                length($text) . ' bytes of another user: not taken';
            is read_file($path), $text, '... nor touched';
            chown 0, 0, $path;
            is $I64->new($path, 10)->capacity, 10, '... but it is as one\'s own';
            unlink $path;
        }
        my $path = temp_path('shared');
        $I64->new($path, 10, { mode => 0666 })->alloc_set(17);
        chmod 0755, temp_folder();
        my $result = in_child {
            ($), $>) = ("$NOBODY $NOBODY", $NOBODY);
            $I64->new($path, 10)->get(0);
        }
        ->result;
        is $result, 17, 'a pool of another user can be shared, if he lets';
        chmod 0700, temp_folder();
    }
};

subtest 'created by one user while another opens it' => sub {
    plan skip_all => 'only root can be two users' if $> != 0;
    my $folder = folder(both => 0777);
    chmod 0755, temp_folder();
    my @children = map {
        my $user = $_;
        in_child {
            ($), $>) = ("$user $user", $user);
            for my $n (1 .. 200) {
                $_[0]->say('ready');
                $_[0]->hear;
                my $pool;    # until its creator has set the mode, a file is closed to others
                until ($pool = eval { $I64->new("$folder/pool$n", 1000, { mode => 0666 }) }) {
                    return $@ if $@ !~ /Permission denied/;
                }
            }
            'all';
        }
    } 0, $NOBODY, 0, $NOBODY;
    for my $n (1 .. 200) {
        my @lines = map { $_->hear } @children;
        last if grep { $_ ne 'ready' } @lines;
        $_->say('go!') for @children;
    }
    is_deeply [ map { $_->result } @children ], [ ('all') x 4 ], 'both have it, whoever was first';

    # As it is for a moment after it was created, until its creator locks it.
    my $creator = in_child {
        ($), $>) = ("$NOBODY $NOBODY", $NOBODY);
        while (defined(my $n = $_[0]->hear)) {
            last if $n eq 'enough';
            $I64->new("$folder/moment$n", 10, { mode => 0666 });
        }
        'made';
    };
    my @had;
    for my $n (1 .. 500) {    # it waits for half a second: where the creator came later than that, it is no such moment
        chown $NOBODY, $NOBODY, write_file("$folder/moment$n", '');
        my $then = time;
        $creator->say($n);
        my $had = eval { $I64->new("$folder/moment$n", 10)->capacity } // $@;
        push @had, $had if $had eq '10' || time - $then < 0.4;
        last if @had == 20;
    }
    $creator->say('enough');
    is_deeply \@had, [ (10) x 20 ], 'who comes before the creator has locked it, waits';
    $creator->result;
    chmod 0700, temp_folder();
};

subtest 'a limit on the size of files' => sub {
    my $path    = temp_path('limited');
    my $limited = sub {
        my ($program) = @_;
        my @command   = perl_command($program);
        my $output    = qx{ulimit -f 200; @{[ join ' ', map { "'" . s/'/'\\''/gr . "'" } @command ]} 2>&1};
        return "$output, status $?";
    };
    for my $new ("new('$path', 1_000_000)", "new('$path', 1_000_000, { sparse => 1 })", "new_memfd(test => 1_000_000)") {
        my $program = "eval { Data::Pool::Shared::I64->$new; 1 } ? print 'made' : print \$\@";
        like $limited->($program), qr/^cannot create .* of \d+ bytes: File too large at -e line 1\.\n, status 0$/, "$new dies of itself";
        ok !-e $path, '... and leaves no file';
    }
    like $limited->("print Data::Pool::Shared::I64->new('$path', 1000)->capacity"), qr/^1000, status 0/, 'a smaller one can be made';
    my $large = $I64->new("$path.large", 1_000_000);
    like $limited->("print Data::Pool::Shared::I64->new('$path.large')->alloc_set(5) >= 0"), qr/^1, status 0/, 'a larger one can be used';
    like $limited->('print Data::Pool::Shared::I64->new(undef, 1_000_000)->capacity'), qr/^1000000, status 0/,
        'what is no file has no limit';
};

done_testing;
