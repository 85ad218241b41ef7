package IPC::Shm::Queue;
use strict;
use warnings;
no warnings 'redefine';    ## no critic (stubs in IPC::Shm::Tied load this, and are replaced by it)
use Carp ();

our $VERSION  = '1.000';
our @CARP_NOT = qw(IPC::Shm IPC::Shm::Tied IPC::Shm::Elements);

# Arrays as queues that lose no job, on top of what an engine has for arrays: _take_next(RESERVE) takes
# the next element, or gives an empty list; _end(TICKET, BACK) ends a reservation; _reserved and
# _is_reserved tell of them. Each is one change.

my $look = 0.25;           # seconds until a waiter checks whether a process that has a job is dead: nobody tells it

sub _now { IPC::Shm::Tied::_load('Time/HiRes.pm'); return Time::HiRes::clock_gettime(Time::HiRes::CLOCK_MONOTONIC()) }

sub _queue {
    my ($self, $what) = @_;
    Carp::croak("Only arrays are queues: there is no $what for hashes and scalars") if !$self->isa('IPC::Shm::Array');
    Carp::croak('Queues need an engine that can reserve elements')                  if !$self->can('_end');
    return;
}

# The next one that is there, at once; an empty list if there is none.
sub _at_once {
    my ($self, $reserve, $what) = @_;
    my $next = $self->can('_take_next') || _queue($self, $what);
    my @got;
    return @got if eval { @got = $self->$next($reserve); 1 };
    return IPC::Shm::_from_callers_line(sub { die $_[0] }, $@);    ## no critic (its line is the caller's)
}

sub take {
    my ($self, $seconds) = @_;
    my ($job) = my @got = _at_once($self, 0, 'take');
    ($job) = IPC::Shm::_from_callers_line(\&_next, $self, 0, $seconds) if !@got;
    return $job;
}

sub reserve {
    my ($self, $seconds) = @_;
    my @got = _at_once($self, 1, 'reserve');
    return @got ? @got : IPC::Shm::_from_callers_line(\&_next, $self, 1, $seconds);
}

# The size is read before looking for a job: anything pushed after that ends the wait.
sub _next {
    my ($self, $reserve, $seconds) = @_;
    Carp::croak("A time limit must be a number of seconds, not '$seconds'; it cannot be negative")
        if defined $seconds && !(IPC::Shm::_is_number($seconds) && $seconds >= 0);
    my $until = !defined $seconds ? undef : $seconds > 0 ? _now() + $seconds : 0;
    while (1) {
        my $size = $self->FETCHSIZE;
        my $used = $self->_is_reserved;
        if ($size || $used) {
            my @got = $self->_take_next($reserve);
            return @got if @got;
        }
        my $left = defined $until ? $until && $until - _now() : undef;
        return if defined $left && $left <= 0;
        $left = $look if $used && (!defined $left || $left > $look);
        $self->wait_change($left);
    }
    return;
}

sub done {
    my ($self, $ticket, $code) = @_;
    _queue($self, 'done');
    Carp::croak('done takes a ticket, and perhaps a sub') if !defined $ticket || (defined $code && ref $code ne 'CODE');
    return scalar IPC::Shm::_from_callers_line(\&_done, $self, $ticket, $code);
}

# Nobody else can take the job while the sub runs, because this process is changing the queue. All that
# the sub stores is part of that change. An engine that cannot do this overrides it.
sub _change_of_all {
    my ($self) = @_;
    my $change = bless { object => 'IPC::Shm::Queue::Joint', ended => 1, locked => 0 }, 'IPC::Shm::Elements::Change';
    local $IPC::Shm::HANDLERS_WAIT = 1;
    Carp::croak('The sub of done cannot call done with a sub') if !$self->_begin_joint;
    $change->{ended} = 0;
    return $change;
}

sub _done {
    my ($self, $ticket, $code) = @_;
    return $self->_end($ticket, 0) if !$code;
    my $change = $self->_change_of_all;
    return !!0 if !$self->_end($ticket, 0);
    my $returned;
    for my $once (1) { $code->(); $returned = 1 }
    return !!0 if !$returned;
    $change->commit;
    return !!1;
}

sub release {
    my ($self, $ticket) = @_;
    _queue($self, 'release');
    Carp::croak('release takes a ticket') if !defined $ticket;
    return scalar IPC::Shm::_from_callers_line($self->can('_end'), $self, $ticket, 1);
}

sub reserved {
    my ($self) = @_;
    _queue($self, 'reserved');
    my @all = sort { $a->{order} <=> $b->{order} } IPC::Shm::_from_callers_line($self->can('_reserved'), $self);
    delete $_->{order} for @all;
    return @all;
}

1;

__END__

=encoding utf8

=head1 NAME

IPC::Shm::Queue - shared arrays as queues that lose no job

=head1 SYNOPSIS

    use IPC::Shm;
    our @queue : shm;
    push @queue, 'job';
    while (my ($job, $ticket) = (tied @queue)->reserve(0)) {
        print "$job\n";
        (tied @queue)->done($ticket);
    }

=head1 DESCRIPTION

Methods of the object behind a shared array, for all engines. They are described in L<IPC::Shm/ELEMENTS AND QUEUES>, from L<IPC::Shm/take> on.

=head2 take, reserve

Wait for an element and remove it: C<take> for good, C<reserve> until C<done> is called. A waiting worker notices within a quarter of a second that another worker
has died and left its job.

=head2 done, release, reserved

End a reservation, give the element back, and list all reservations.

=head1 SEE ALSO

L<IPC::Shm>

=cut
