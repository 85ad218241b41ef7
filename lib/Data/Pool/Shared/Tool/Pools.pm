package Data::Pool::Shared::Tool::Pools;

use 5.022;
use strict;
use warnings;
use Fcntl    qw(S_IMODE);
use Cwd      ();
use JSON::PP ();
use Data::Pool::Shared;
use Data::Pool::Shared::Tool::Owners;
use Data::Pool::Shared::Tool::Text qw(one_line path_text json_text print_json_list
    bytes counted duration exact_number json_number printable quoted print_table);

our $VERSION = '1.000';

my $LONGEST_VALUE = 60;    # characters shown of a value; --json has all

# ---- info

sub info {
    my ($options, @paths) = @_;
    my (@about, @wrong);
    for my $path (@paths) {
        my $about = eval { _about($path) };
        if   ($about) { push @about, $about }
        else          { push @wrong, one_line($@) }
    }
    print $options->{json} ? json_text(\@about) : join "\n", map { _info_text($_) } @about if @about || $options->{json};
    die $wrong[0],          "\n" if @wrong == 1;
    die join('; ', @wrong), "\n" if @wrong;
    return;
}

sub stale_count {
    my ($pool, $unknown_too) = @_;
    my $stale = 0;
    for my $holder (@{ $pool->holders }) {
        my $owner = $holder->{owner};
        $stale += $holder->{slots} if $pool->owner_is_dead($owner) || $unknown_too && $pool->owner_is_unknown($owner);
    }
    return $stale;
}

sub _about {
    my ($path) = @_;
    my $pool   = Data::Pool::Shared->attach($path, { readonly => 1 });
    my $mode   = (stat $path)[2] // die "$path: $!\n";
    my $about  = $pool->stats;
    $about->{size}           = delete $about->{mmap_size};
    $about->{path}           = path_text($path);
    $about->{variant}        = $pool->variant;
    $about->{stale}          = stale_count($pool);
    $about->{mode}           = sprintf '%04o', S_IMODE($mode);
    $about->{sparse}         = $pool->is_sparse ? JSON::PP::true : JSON::PP::false;
    $about->{format_version} = $pool->format_version;
    return $about;
}

sub _info_text {
    my ($about) = @_;
    my %is      = %$about;
    my $share   = 100 * $is{used} / $is{capacity};
    my @lines   = (
        [ 'variant',  "$is{variant}, " . counted($is{elem_size}, 'byte') . ' an element' ],
        [ 'capacity', counted($is{capacity}, 'slot') ],
        [ 'used',     sprintf('%s (%.1f %%), %d of them stale', counted($is{used}, 'slot'), $share, $is{stale}) ],
        [ 'waiters',  "$is{waiters} now; " . counted($is{waits}, 'call') . " had to wait, $is{timeouts} timed out" ],
        [ 'counters', "" . join ', ', counted($is{allocs}, 'allocation'), counted($is{frees}, 'free'), "$is{recoveries} recovered" ],
        [ 'size',     bytes($is{size}) . ($is{sparse} ? ', sparse' : '') ],
        [ 'mode',     $is{mode} ],
        [ 'format',   "version $is{format_version}" ],
    );
    return printable($is{path}) . "\n" . join '', map { sprintf "  %-8s  %s\n", @$_ } @lines;
}

# ---- pools

# What there is in directories: pools, and namespaces of IPC::Shm.
sub pools {
    my ($options, @dirs) = @_;
    my (@found, @wrong);
    require Data::Pool::Shared::Tool::Variables;    # only here: it loads IPC::Shm
    require IPC::Shm::Engine::Memory;
    for my $dir (@dirs ? @dirs : '/dev/shm') {
        if (opendir my $handle, $dir) {
            push @found, map { _entry("$dir/$_") } sort grep { !/\A\.\.?\z/ } readdir $handle;
        } else {
            push @wrong, path_text($dir) . ": $!";
        }
    }
    if    ($options->{json}) { print json_text(\@found) }
    elsif (@found) {
        my @rows = map { [ $_->{kind}, $_->{contains} // $_->{error}, bytes($_->{size}), $_->{owner}, printable($_->{path}) ] } @found;
        print_table([ 'KIND', 'CONTAINS', '>SIZE', 'OWNER', 'PATH' ], sub { shift @rows });
    } elsif (!@wrong) {
        print 'no pools or namespaces in ', join(', ', map { printable(path_text($_)) } @dirs ? @dirs : '/dev/shm'), "\n";
    }
    die join('; ', @wrong), "\n" if @wrong;
    return;
}

# One pool or namespace; nothing, if it is neither.
sub _entry {
    my ($path) = @_;
    my $about = -d $path ? _namespace_entry($path) : -f _ && _is_pool($path) ? _pool_entry($path) : undef;
    return if !$about;
    my @stat = stat $path or return;
    $about->{path}  = path_text($path);
    $about->{owner} = getpwuid($stat[4]) // $stat[4];
    $about->{size} //= $stat[12] * 512;
    return $about;
}

sub _is_pool {
    my ($path) = @_;
    open my $file, '<:raw', $path or return 0;
    my $length = read $file, my $magic, 8;
    return $length && $magic eq 'LSDPOOL1';
}

sub _pool_entry {
    my ($path) = @_;
    my $pool   = eval { Data::Pool::Shared->attach($path, { readonly => 1 }) } or return { kind => 'pool', error => one_line($@) };
    return { kind => 'pool', contains => $pool->variant . ', ' . $pool->used . ' of ' . counted($pool->capacity, 'slot') };
}

sub _namespace_entry {
    my ($path) = @_;
    my $format = Data::Pool::Shared::Tool::Variables::format_of($path);
    return undef if !defined $format;
    my $about = { kind => 'namespace', size => 0 };
    $about->{size} += 512 * ((stat $_)[12] // 0) for glob quotemeta($path) . '/*';
    my $stats = eval { IPC::Shm::Engine::Memory->open($path =~ m{\A/} ? $path : Cwd::getcwd() . "/$path", attach => 1)->stats; };
    if ($stats) { $about->{contains} = counted($stats->{variables}, 'variable') . ", $stats->{named} with a name" }
    else        { $about->{error} = one_line($@) =~ s/\A\Q$path\E //r }
    return $about;
}

# ---- slots

sub slots {
    my ($options, $path) = @_;
    my $pool = Data::Pool::Shared->attach($path, { readonly => 1 });
    my $rows = _rows($pool);
    return $options->{json} ? _slots_json($pool, $rows) : _slots_text($pool, $rows);
}

# Code that returns what is known of the next allocated slot; undef after the last.
sub _rows {
    my ($pool) = @_;
    my $owners = Data::Pool::Shared::Tool::Owners->new($pool);
    my $slots  = $pool->allocated_slots;
    my $at     = 0;
    return sub {
        while ($at < @$slots) {
            my $slot  = $slots->[ $at++ ];
            my $word  = $pool->owner_word($slot);
            my $value = eval { $pool->get($slot) };
            return { %{ $owners->of($word) }, slot => $slot, value => $value } if $word != 0 && defined $value;    # else freed just now
        }
        return;
    };
}

sub _slots_json {
    my ($pool, $rows) = @_;
    my $number = $pool->variant eq 'F64';
    return print_json_list(
        sub {
            my $row = $rows->() // return;
            $row->{value} = json_number($row->{value})       if $number;
            $row->{age}   = sprintf('%.2f', $row->{age}) + 0 if defined $row->{age};
            return $row;
        }
    );
}

sub _slots_text {
    my ($pool, $rows) = @_;
    my $variant = $pool->variant;
    my $number  = $variant =~ /^[IF]/;
    return print_table(
        [ '>SLOT', '>PID', 'STATE', '>AGE', 'COMMAND', $number ? '>VALUE' : 'VALUE' ],
        sub {
            my $row = $rows->() // return;
            my @who = ($row->{pid} || '-', $row->{state}, duration($row->{age}), printable($row->{command} // '-'));
            return [ $row->{slot}, @who, _value($variant, $row->{value}) ];
        }
    );
}

sub _value {
    my ($variant, $value) = @_;
    return $value               if $variant =~ /^I/;
    return exact_number($value) if $variant eq 'F64';
    $value =~ s/\0+\z//         if $variant eq 'raw';    # what `set` has padded
    return quoted($value, $LONGEST_VALUE, $variant eq 'raw');
}

# ---- recover

sub recover {
    my ($options, $path) = @_;
    my $dry   = $options->{'dry-run'};
    my $pool  = Data::Pool::Shared->attach($path, { readonly => $dry });
    my $gone  = $options->{'namespace-gone'};
    my $count = $dry ? stale_count($pool, $gone) : $gone ? $pool->recover_unknown : $pool->recover_stale;
    my $slots = counted($count, 'stale slot');
    if ($options->{json}) {
        print json_text({ path => path_text($path), slots => $count, dry_run => $dry ? JSON::PP::true : JSON::PP::false });
    } else {
        print $dry ? "$slots would be recovered\n" : "$slots recovered\n";
    }
    return;
}

1;

__END__

=encoding utf8

=head1 NAME

Data::Pool::Shared::Tool::Pools - shmpool's commands that look at a pool once

=head1 SYNOPSIS

    use Data::Pool::Shared::Tool::Pools;
    Data::Pool::Shared::Tool::Pools::info({ json => 1 }, '/dev/shm/jobs');

=head1 FUNCTIONS

Each prints to standard output or dies.

=head2 pools, info, slots, recover

    pools(\%options, @directories);
    info(\%options, @paths);
    slots(\%options, $path);
    recover(\%options, $path);

The commands of the same name of L<shmpool>, with its options.

=head2 stale_count

    my $slots = stale_count($pool);
    my $slots = stale_count($pool, 1);

How many slots a recovery would free; with 1, how many C<recover_unknown> would free, which also assumes that owners
about which nothing can be found out are dead.

=head1 LICENSE

This is free software; you can redistribute it and/or modify it under the same terms as
Perl itself.

=cut
