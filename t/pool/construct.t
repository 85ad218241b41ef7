# Creating a pool and attaching to one: geometry, options, and what is refused.
use strict;
use warnings;
use Test::More;
use lib 't/lib';
use PoolTest;

my $RAW = 'Data::Pool::Shared';

for my $kind (classes()) {
    my ($name, $class, @size) = ($kind->{name}, $kind->{class}, @{ $kind->{size} });
    my $bytes = { Raw => 16, I64 => 8, I32 => 4, F64 => 8, Str => 20 }->{$name};

    for my $backing (backings()) {
        my $pool = make($kind, $backing, 10);
        isa_ok($pool, $class, "$name on $backing");
        isa_ok($pool, $RAW,   "$name on $backing");
        is($pool->capacity,  10,     "$name on $backing has the wanted capacity");
        is($pool->elem_size, $bytes, "$name on $backing has elements of $bytes bytes");
        is($pool->used,      0,      "$name on $backing starts empty");
        is($pool->available, 10,     "$name on $backing starts with all slots available");
        is(defined $pool->path ? 1 : 0, $backing eq 'path'  ? 1 : 0, "$name on $backing: path");
        is($pool->memfd >= 0   ? 1 : 0, $backing eq 'memfd' ? 1 : 0, "$name on $backing: memfd");
        is($pool->memfd, -1, "$name on $backing has memfd -1") if $backing ne 'memfd';
    }

    my $path = temp_path("attach-$name");
    my $pool = $class->new($path, 10, @size);
    my $slot = $pool->alloc;
    $pool->set($slot, $kind->{two});
    is($pool->path, $path, "$name: path is the one that was given");
    for my $attached (
        [ 'all given', 10, @size ],
        ['no geometry'],
        [ 'undef geometry', (undef) x (1 + @size) ],
        [ 'undef capacity', undef, @size ]
        )
    {
        my ($what, @geometry) = @$attached;
        my $second = $class->new($path, @geometry);
        is($second->capacity,   10,           "$name, $what: attaching takes the capacity");
        is($second->elem_size,  $bytes,       "$name, $what: attaching takes the element size");
        is($second->get($slot), $kind->{two}, "$name, $what: both see the same slot");
    }
    is($class->new($path, { populate => 1 })->get($slot), $kind->{two}, "$name: attaching with options only");

    my $memfd    = $class->new_memfd('some name', 10, @size);
    my $by_fd    = $class->new_from_fd($memfd->memfd);
    my $in_memfd = $memfd->alloc_set($kind->{two});
    is($by_fd->get($in_memfd), $kind->{two}, "$name: new_from_fd sees the same slots");
    is_deeply([ $by_fd->capacity, $by_fd->elem_size ], [ 10, $bytes ], "$name: new_from_fd takes the geometry");
    isnt($by_fd->memfd, $memfd->memfd, "$name: new_from_fd has a descriptor of its own");
    undef $memfd;
    is($by_fd->get($in_memfd), $kind->{two}, "$name: and lives on without the first");
    open my $file, '+<', $path or die "open: $!";
    is($class->new_from_fd(fileno $file)->get($slot), $kind->{two}, "$name: new_from_fd takes an open file, too");

    for my $other (grep { $_->{name} ne $name } classes()) {
        my @wanted = (10, map {16} @{ $other->{size} });
        dies_with { $other->{class}->new($path, @wanted) } qr/incompatible/, qr/variant is \Q$name\E/i, qr/not \Q$other->{name}\E/i,
            "$name is no $other->{name}: says both variants";
    }
    dies_with { $class->new($path, 11, @size) } qr/incompatible/, qr/\b10\b/, qr/\b11\b/,
        "$name: another capacity is refused, both are said";
    if (@size) {
        dies_with { $class->new($path, 10, 24) } qr/incompatible/, qr/\b$bytes\b/, $name eq 'Str' ? qr/\b28\b/ : qr/\b24\b/,
            "$name: another element size is refused, both are said";
        dies_with { $class->new(undef, 10) } qr/(elem_size|max_len) is missing/,        "$name: a new pool needs an element size";
        dies_with { $class->new_memfd('test', 10) } qr/(elem_size|max_len) is missing/, "$name: a new memfd, too";
    }
    dies_with { $class->new(undef) } qr/capacity is missing/,        "$name: an anonymous pool needs a capacity";
    dies_with { $class->new_memfd('test') } qr/capacity is missing/, "$name: a memfd needs a capacity";
    dies_with { $class->new(temp_path('none')) } qr/cannot open pool/, "$name: attaching to nothing";
    dies_with { $class->new(undef, 10, @size, 5) } qr/too many arguments/, "$name: an argument too many is refused";
}

subtest 'sizes that make no sense die with the reason' => sub {
    for my $bad (0, -1, -10, 0.5, 0.999, 'nan') {
        for my $kind (classes()) {
            dies_with { $kind->{class}->new(undef, $bad, @{ $kind->{size} }) } qr/capacity must be at least 1, not \Q$bad\E/i,
                "$kind->{name}: capacity $bad";
        }
        dies_with { $RAW->new(undef, 10, $bad) } qr/elem_size must be at least 1, not \Q$bad\E/i, "elem_size $bad";
        dies_with { "${RAW}::Str"->new(undef, 10, $bad) } qr/max_len must be at least 1, not \Q$bad\E/i, "max_len $bad";
        dies_with { "${RAW}::I64"->new_memfd('test', $bad) } qr/capacity must be at least 1/, "memfd of capacity $bad";
    }
    for my $bad (2**60, 2**64, 9**9**9) {
        dies_with { "${RAW}::I64"->new(undef, $bad) } qr/capacity must be at most \d+/, "capacity $bad";
        dies_with { $RAW->new(undef, 10, $bad) } qr/elem_size must be at most \d+/, "elem_size $bad";
        dies_with { "${RAW}::Str"->new(undef, 10, $bad) } qr/max_len must be at most \d+/, "max_len $bad";
    }
    dies_with { $RAW->new(undef, 2**32, 2**32) } qr/more than memory can hold/, 'sizes whose product overflows';
    for my $text ('many', '') {
        my @warnings = warnings_of { dies_with { "${RAW}::I64"->new(undef, $text) } qr/capacity must be at least 1/, "capacity '$text'" };
        like($warnings[0], qr/isn't numeric/, "capacity '$text' warns as perl does");
    }
    my $path = temp_path('never');
    for my $bad (0, -1, 2**60) {
        eval { "${RAW}::I64"->new($path, $bad) };
        ok(!-e $path, "capacity $bad leaves no file");
    }
    is("${RAW}::I64"->new(undef, '12')->capacity, 12, 'a size may be a string of digits');
    is("${RAW}::I64"->new(undef, 12.9)->capacity, 12, 'a size is cut to an integer');
};

subtest 'a file that is no pool is refused, and not touched' => sub {
    my $pool    = "${RAW}::I64"->new(temp_path('whole'), 100);
    my $whole   = read_file(temp_path('whole'));
    my $patched = sub { my ($at, $bytes) = @_; my $copy = $whole; substr $copy, $at, length $bytes, $bytes; $copy };
    my %foreign = (
        'text'                   => [ "This is a text, and no pool.\n" x 1000, qr/invalid/ ],
        'one byte'               => [ 'x',                                     qr/invalid/ ],
        'zeros'                  => [ "\0" x 100_000,                          qr/invalid/ ],
        'a header alone'         => [ substr($whole, 0, 64),                   qr/too small/ ],
        'a pool without its end' => [ substr($whole, 0, -4096),                qr/too small/ ],
        'another version'        => [ $patched->(8,  pack 'L', 77),    qr/incompatible.*version is 77/ ],
        'an unknown variant'     => [ $patched->(12, pack 'L', 99),    qr/incompatible.*variant is unknown/ ],
        'capacity 0'             => [ $patched->(16, pack 'Q', 0),     qr/invalid/ ],
        'a huge capacity'        => [ $patched->(16, pack 'Q', 2**63), qr/invalid/ ],
        'an odd element size'    => [ $patched->(24, pack 'Q', 9),     qr/invalid/ ],
        'unknown flags'          => [ $patched->(32, pack 'L', 0x80),  qr/invalid/ ],
        'another total size'     => [ $patched->(40, pack 'Q', 2**40), qr/invalid/ ],
    );
    for my $what (sort keys %foreign) {
        my ($bytes, $message) = @{ $foreign{$what} };
        my $path = write_file(temp_path('foreign'), $bytes);
        dies_with { "${RAW}::I64"->new($path, 100) } $message, "$what, with a geometry";
        dies_with { "${RAW}::I64"->new($path) } $message, "$what, without";
        ok(read_file($path) eq $bytes, "$what is left as it was");
        open my $file, '+<', $path or die "open: $!";
        dies_with { "${RAW}::I64"->new_from_fd(fileno $file) } $message, "$what, by descriptor";
    }
    dies_with { "${RAW}::I64"->new(temp_folder(), 100) } qr/directory/i, 'a directory';
    dies_with { "${RAW}::I64"->new('/dev/null', 100) } qr/invalid/, 'a device';
    dies_with { "${RAW}::I64"->new(temp_path('no/such/folder'), 100) } qr/No such file/, 'a path that cannot be';
    dies_with { "${RAW}::I64"->new("a\0b", 100) } qr/NUL/, 'a path that the system would cut at its NUL';
    dies_with { "${RAW}::I64"->new_from_fd(-1) } qr/invalid/,   'descriptor -1';
    dies_with { "${RAW}::I64"->new_from_fd(9999) } qr/invalid/, 'a descriptor that is not open';
    pipe my $out, my $in or die "pipe: $!";
    dies_with { "${RAW}::I64"->new_from_fd(fileno $out) } qr/invalid/, 'a pipe';
};

subtest 'options' => sub {
    my $mode = sub { sprintf '%04o', (stat $_[0])[2] & 07777 };
    for my $umask (0, 022, 077) {
        my $old   = umask $umask;
        my $plain = temp_path("plain-$umask");
        "${RAW}::I64"->new($plain, 10);
        is($mode->($plain), '0600', sprintf 'a file is created 0600 under umask %03o', $umask);
        my $given = temp_path("given-$umask");
        "${RAW}::I64"->new($given, 10, { mode => 0640 });
        is($mode->($given), '0640', sprintf 'a mode is applied exactly under umask %03o', $umask);
        umask $old;
    }
    "${RAW}::I64"->new(temp_path('plain-0'), 10, { mode => 0644 });
    is($mode->(temp_path('plain-0')), '0600', 'attaching leaves the mode of an existing pool');
    for my $bad (-1, 01000, undef, 'rw', []) {
        dies_with { "${RAW}::I64"->new(temp_path('bad'), 10, { mode => $bad }) } qr/mode must be permission bits/,
            'mode ' . ($bad // 'undef');
    }
    dies_with { $RAW->new(undef, 10, 8, { spares => 1 }) } qr/unknown option spares/, 'a misspelt option is refused';
    dies_with { $RAW->new(undef, 10, 8, { sparse => 1 }) } qr/sparse/,                'an anonymous pool cannot be sparse';
    dies_with { $RAW->new_memfd('test', 10, 8, { mode => 0600 }) } qr/mode/, 'a memfd has no mode';
    dies_with { $RAW->new(temp_path('both'), 10, 8, { sparse => 1, populate => 1 }) } qr/sparse or populated/,
        'sparse and populate exclude each other';
    ok(!-e temp_path('both'), '… and no file is left');

    my ($dense, $sparse) = map { $RAW->new(temp_path("disk-$_"), 1000, 65536, { sparse => $_ }) } 0, 1;
    my @blocks = map { (stat temp_path("disk-$_"))[12] } 0, 1;
    cmp_ok($blocks[0] * 512, '>=', 1000 * 65536,   'a pool reserves all its blocks at creation');
    cmp_ok($blocks[1] * 512, '<',  4 * 65536 * 16, 'a sparse one does not');
    my $slot = $sparse->alloc_set('x' x 65536);
    is($RAW->new(temp_path('disk-1'))->get($slot), 'x' x 65536, 'a sparse pool is attached to without the option, and works');
};

subtest 'untouched pages stay untouched' => sub {
    my $resident = sub { my ($kb) = read_file('/proc/self/status') =~ /^RssShmem:\s*(\d+)/m; $kb };
    plan skip_all => 'this kernel does not tell RssShmem' if !defined $resident->();
    my $before = $resident->();
    my $large  = "${RAW}::I64"->new(undef, 16_000_000);
    cmp_ok($resident->() - $before, '<', 4096, 'a pool of 16 million slots takes less than 4 MB of memory when new');
    $large->free($large->alloc) for 1 .. 100;
    cmp_ok($resident->() - $before, '<', 4096, 'and stays so when little is used');
    undef $large;
    $before = $resident->();
    my $populated = "${RAW}::I64"->new(undef, 1_000_000, { populate => 1 });
    cmp_ok($resident->() - $before, '>', 20_000, 'a populated pool is in memory at once');
};

subtest 'an empty existing file is initialised' => sub {
    for my $kind (classes()) {
        my $path = write_file(temp_path("empty-$kind->{name}"), '');
        dies_with { $kind->{class}->new($path) } qr/invalid/, "$kind->{name}: not without a geometry";
        my $pool = $kind->{class}->new($path, 10, @{ $kind->{size} });
        is($kind->{class}->new($path)->capacity, 10, "$kind->{name}: with one it is a pool");
    }
};

subtest 'a subclass gets objects of its own' => sub {
    @My::Pool::ISA = ("${RAW}::I64");
    my $pool = My::Pool->new(undef, 5);
    is(ref $pool,                 'My::Pool', 'new blesses into the class it is called on');
    is($pool->incr($pool->alloc), 1,          'and it is a pool of integers');
    is(ref $pool->new(undef, 5),  'My::Pool', 'an object makes another of its class');
};

done_testing;
