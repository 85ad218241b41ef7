package IPC::Shm::Engine::Redis::Joint;
use strict;
use warnings;
use Carp ();
use IPC::Shm::Elements;
use IPC::Shm::Sharing;

our $VERSION  = '1.000';
our @CARP_NOT = @IPC::Shm::Engine::Redis::Connection::CARP_NOT;

# One change of all variables of a namespace that are stored in before its end. From its first store on a
# variable is this process's as with a write lock, but others may look at it (lock.lua, join); what is stored is
# collected as in any open change. All of it goes to the server at the end, as one script, which looks whether
# everything is still so before it changes anything. Before that nothing is stored, whatever dies.

# An open change that the queue takes part in: an object with commit, whose end without that undoes it.
sub begin {
    my ($class, $queue) = @_;
    my $conn   = $queue->{conn};
    my $self   = bless { conn   => $conn, members => [] }, $class;
    my $change = bless { object => $self, ended   => 0, locked => 0 }, 'IPC::Shm::Elements::Change';
    $conn->{joint} = $self;
    $self->join($queue);
    return $change;
}

# The change of a variable, as part of this one; undef for what is only being made. A handler of a signal
# that ran meanwhile may have made it part.
sub join {    ## no critic (as it is called)
    my ($self, $variable) = @_;
    return undef if $variable->{container} && IPC::Shm::Sharing::coming($variable->{container});    ## no critic (no change)
    Carp::croak($variable->_what . ' was removed') if $variable->{removed};
    my ($ok, $why) = (1);
    local $IPC::Shm::HANDLERS_WAIT = 1;    # until it is noted what this process has
    if ($variable->{held} !~ /w/) {
        local ($@, $!);
        $ok  = eval { $variable->_wait_turn('join', 'w', undef) };
        $why = $@;
        $variable->_leave if !$ok;
    }
    die $why                  if !$ok;
    return $variable->{batch} if $variable->{batch};
    my $locks = $variable->{held} =~ /w/ ? '' : $variable->{held} =~ /r/ ? 'u' : 'ru';
    $variable->{held} .= $locks;
    $self->{conn}{locks} += length $locks;
    $variable->{copy} = {} if $variable->{copy};
    push @{ $self->{members} }, $variable;
    return $variable->{batch} = { $variable->_no_change, joint => $locks, ends => '' };
}

# A child that was forked meanwhile has none open.
sub _is_open { my ($self) = @_; return $self->{conn}{joint} && $self->{conn}{joint} == $self }

# What is referred to in what a change stores: IDs.
sub _refers_to {
    my ($batch) = @_;
    my $set     = $batch->{set};
    my @stored  = (ref $set eq 'HASH' ? values %$set : $set, map { @{ $_ || [] } } @$batch{qw(list pushed)});
    return map { defined && $_->[0] =~ /\Ar([^:]+):/s ? $1 : () } @stored;
}

sub commit {
    my ($self) = @_;
    return if !$self->_is_open;
    my ($ok, $why);
    {
        local ($@, $!);
        $ok  = eval { $self->_publish; 1 };
        $why = $@;
    }
    return if $ok;
    $self->abort;
    die $why;
}

sub _publish {
    my ($self)  = @_;
    my @members = @{ $self->{members} };
    my @changes = map  { [ $_->_operation($_->{batch}) ] } @members;
    my $n       = grep {@$_} @changes;
    if ($n == 1) {    # the queue alone: ending a job has a script of its own, which needs no memory
        $members[$_]->_publish($members[$_]{batch}) for grep { @{ $changes[$_] } } 0 .. $#members;
        return $self->abort;
    }
    my @words;
    for my $i (0 .. $#members) {
        my ($member, $script, @arguments) = ($members[$i], @{ $changes[$i] });
        push @words, $member->{key}, $member->_held_kind, "$member->{batch}{joint}$member->{batch}{ends}", $script // '', scalar @arguments,
            @arguments;
    }
    my $refers = CORE::join ' ', map { _refers_to($_->{batch}) } @members;
    my ($refused, @reply) = @{ $self->{conn}->script('joint', $members[0]{key}, '', $refers, @words) };
    $members[ $refused - 1 ]->_refused($reply[0]) if $refused;
    for my $i (grep { @{ $changes[$_] } } 0 .. $#members) {
        $members[$i]->_has_changed($reply[$i]);
        $members[$i]->_published($members[$i]{batch});
    }
    return $self->_end(sub { $_[0]->_released($_[1]) });
}

sub abort {
    my ($self) = @_;
    return $self->_is_open ? $self->_end(sub { $_[0]->_release($_[1]) }) : undef;
}

# Nothing takes part any more. Where the locks cannot be given back because the server is out of reach, this
# process is nobody for it from now on, so that nobody waits.
sub _end {
    my ($self, $release) = @_;
    my $conn = $self->{conn};
    $conn->{joint} = undef;
    for my $member (reverse splice @{ $self->{members} }) {
        my $batch = delete $member->{batch};
        my $which = $batch->{joint} . $batch->{ends};
        delete $member->{fresh};
        next if $which eq '';
        local ($@, $!);
        eval { local $SIG{__DIE__}; $release->($member, $which); 1 } or $conn->{redis} or delete $conn->{channel};
    }
    return;
}

1;

__END__

=encoding utf8

=head1 NAME

IPC::Shm::Engine::Redis::Joint - one change of several variables on Redis

=head1 SYNOPSIS

    my $change = IPC::Shm::Engine::Redis::Joint->begin($queue);
    $code->();
    $change->commit;

=head1 DESCRIPTION

What C<done> with a sub is (L<IPC::Shm::Queue>).

=head2 begin

    my $change = IPC::Shm::Engine::Redis::Joint->begin($queue);

Begins a change that the queue takes part in; waits for its lock like a store. The object that it returns has a method C<commit>; destroyed without that, it undoes the
change. While there is one, C<< $connection->{joint} >> is the object that has the following methods.

=head2 join

    my $batch = $joint->join($variable);

Another variable takes part: waits for its lock, and returns its open change, or C<undef> if the variable is only being made. Dies like a store.

=head2 commit, abort

The end: C<commit> has all of it stored by one script, or dies with nothing stored; C<abort> drops it. Both release the locks that were taken for the change.

=head1 SEE ALSO

L<IPC::Shm::Engine::Redis>

=cut
