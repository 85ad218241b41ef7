use strict;
use warnings;
use lib 't/lib';
use ShmTest;
use Test::More;
use IPC::Shm;

# A name leads to one variable in a process, however it is come by.
{
    our %known : shm = (a => 1);
    our @known : shm = (1, 2);
    our $known : shm = 'x';
    is $IPC::Shm::NAMEVARS{'%main::known'},            \%known,      'NAMEVARS leads to the hash that was declared';
    is $IPC::Shm::NAMEVARS{'@main::known'},            \@known,      '… to the array';
    is $IPC::Shm::NAMEVARS{'$main::known'},            \$known,      '… to the scalar';
    is tied(%{ $IPC::Shm::NAMEVARS{'%main::known'} }), tied(%known), '… with the same object';

    my ($before) = map { $_->{refs} } grep { ($_->{name} // '') eq '%main::known' } IPC::Shm->list;
    $IPC::Shm::NAMEVARS{'%main::known'}{a}++ for 1 .. 10;
    my ($after) = map { $_->{refs} } grep { ($_->{name} // '') eq '%main::known' } IPC::Shm->list;
    is $after, $before, '… and looking takes no attachment';

    $known{a} = 1;
    $IPC::Shm::NAMEVARS{'%main::known'}{a} = 2;
    ok !(tied %known)->wait_change(0), 'a change through NAMEVARS is this process\'s own';

    is in_child(
        sub {
            alarm 60;    # ends a wait for our own lock
            my $lock = (tied %known)->lock_guard;
            $IPC::Shm::NAMEVARS{'%main::known'}{b} = 3;
            my $got = $IPC::Shm::NAMEVARS{'%main::known'}{b};
            return $got, delete $IPC::Shm::NAMEVARS{'@main::known'}, exists $IPC::Shm::NAMEVARS{'@main::known'} ? 'there' : 'gone';
        }
        ),
        '3|1|gone', 'the lock that a process holds does not keep it from NAMEVARS';
    is in_child(
        sub {
            alarm 60;
            my $lock = (tied %known)->lock_guard;
            return delete $IPC::Shm::NAMEVARS{'%main::known'};
        }
        ),
        1, '… nor from removing the variable by its name';
}

# Others' variables, and those that are known by a reference only.
program('use IPC::Shm; our %theirs : shm = (k => "v"); our $to : shm = \%theirs');
{
    our $to : shm;
    my $reference = $to;
    is $IPC::Shm::NAMEVARS{'%main::theirs'}, $reference,      'a variable that was found through another one';
    is + (tied %$reference)->name,           '%main::theirs', '… has its name then';
    eval 'our %theirs : shm; 1' or die $@;
    is tied(our %theirs), tied(%$reference), '… and is the one that a declaration gets';
    is $theirs{k},        'v',               '… with its content';
    undef $reference;
    is $theirs{k}, 'v', '… whichever goes first';
}

# An untied variable is not a view any more, even while its object lives.
{
    our %untied : shm = (k => 'v');
    my $object = tied %untied;
    { no warnings 'untie'; untie %untied }
    my $view = $IPC::Shm::NAMEVARS{'%main::untied'};
    isnt $view,      \%untied, 'NAMEVARS does not lead to a variable that was untied';
    is $view->{k},   'v',      '… but to what is shared';
    is tied(%$view), $object,  '… by the object that lives';
    eval 'our %untied : shm; 1' or die $@;
    is $untied{k}, 'v', 'it can be declared again';
    undef $view;
    is $IPC::Shm::NAMEVARS{'%main::untied'}, \%untied, '… and is what the name leads to then';
}

# What was removed cannot be removed again; the message names the caller's line.
{
    our $twice : shm = 1;
    my $object = tied $twice;
    is $object->remove, 1, 'remove returns true';
    my $line = __LINE__ + 1;
    ok !eval { $object->remove; 1 }, 'a second remove dies';
    is $@, "The shared \$main::twice was removed at $0 line $line.\n", '… and names the line that called it';
}

# Declared again, a variable is the same one, or a new one if it was removed.
{
    our %again : shm = (k => 'v');
    my $object = tied %again;
    eval 'our %again : shm; 1' or die $@;
    is tied(%again), $object, 'a second declaration changes nothing';
    my %removed_by = (
        'remove'            => sub { (tied %again)->remove },
        'remove by a name'  => sub { delete $IPC::Shm::NAMEVARS{'%main::again'} },
        'remove by others'  => sub { program('use IPC::Shm; our %again : shm; (tied %again)->remove') },
        'cleanup'           => sub { IPC::Shm->cleanup },
        'cleanup by others' => sub { program('use IPC::Shm; IPC::Shm->cleanup') },
    );
    for my $how (sort keys %removed_by) {
        $object = tied %again;
        $removed_by{$how}->();
        ok !eval { my $x = $again{k}; 1 } && $@ =~ /was removed/, "after $how it is gone";
        ok eval 'our %again : shm; 1',                            '… and can be declared again';
        is_deeply \%again, {}, '… as a new, empty one';
        isnt tied(%again), $object, '… with another object';
        ok !eval { $object->writelock; 1 } && $@ =~ /was removed/, '… while the old object stays what it was';
        undef $object;
        $again{k} = $how;
        is program('use IPC::Shm; our %again : shm; print $again{k}'), $how,    '… that is shared';
        is $IPC::Shm::NAMEVARS{'%main::again'},                        \%again, '… and that the name leads to';
    }
}

# To look for a name makes none, also where others remove it at that moment.
{
    my $look = child(
        sub {
            while (1) {
                my $variable = $IPC::Shm::NAMEVARS{'%main::brief'};
                my $there    = exists $IPC::Shm::NAMEVARS{'%main::brief'};
                my $deleted  = delete $IPC::Shm::NAMEVARS{'%main::brief'};
                die "deleted: $deleted\n" if defined $deleted && $deleted != 1;
            }
        }
    );
    my $found = 0;
    for my $round (1 .. 3000) {
        eval 'our %brief : shm; 1' or die $@;
        eval { (tied our %brief)->remove };
        $found++ if grep { $_ eq '%main::brief' } keys %IPC::Shm::NAMEVARS;
    }
    is $found, 0, 'a name that is removed stays removed, however others look for it';
    ok kill(KILL => $look), '(they did)';
    waitpid $look, 0;
    untie our %brief;
}
{
    my @undefined =
        ($IPC::Shm::NAMEVARS{'%main::none'}, $IPC::Shm::NAMEVARS{''}, $IPC::Shm::NAMEVARS{none}, $IPC::Shm::NAMEVARS{ '%' . 'x' x 600 });
    is_deeply \@undefined, [ (undef) x 4 ], 'what is no name leads to nothing';
    ok !exists $IPC::Shm::NAMEVARS{'%main::none'}, '… and none is made';
    is_deeply [ delete @IPC::Shm::NAMEVARS{ '%main::none', 'x' } ], [ undef, undef ], '… nor can it be deleted';
    is scalar(%IPC::Shm::NAMEVARS), scalar(keys %IPC::Shm::NAMEVARS), 'NAMEVARS in scalar context';
    for my $change (
        sub { $IPC::Shm::NAMEVARS{'%x'} = 1 },
        sub { %IPC::Shm::NAMEVARS = () },
        sub { undef %IPC::Shm::NAMEVARS },
        sub { push @{ $IPC::Shm::NAMEVARS{'@new'} }, 1 }
        )
    {
        ok !eval { $change->(); 1 } && $@ =~ /^%IPC::Shm::NAMEVARS is read-only; .* at \Q$0\E line/, 'it is read-only';
    }
}

IPC::Shm->cleanup;
done_testing;
