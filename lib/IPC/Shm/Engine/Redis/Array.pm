package IPC::Shm::Engine::Redis::Array;
use strict;
use warnings;
use Carp         ();
use Scalar::Util ();
use IPC::Shm::Engine::Redis::Joint;
use IPC::Shm::Engine::Redis::Variable;

our $VERSION  = '1.000';
our @ISA      = qw(IPC::Shm::Engine::Redis::Variable IPC::Shm::Array);    ## no critic (those of IPC::Shm have no file)
our @CARP_NOT = @IPC::Shm::Engine::Redis::Connection::CARP_NOT;

# Element i is the field first + i. This process takes the first index for what it was when
# it saw the array last, and asks again where it was wrong.

*packed = \&IPC::Shm::Engine::Redis::Value::packed;

# As in memory.
my $max_size = 2**30;

sub TIEARRAY { my ($class, $object) = @_; return $object || IPC::Shm::Engine::Redis::_anonymous(2) }

# An open change works on a list of elements, [text, value] or undef: a new one after
# CLEAR; the content, under the write lock, if it is to be changed otherwise. Where all that happens is that
# elements are pushed, those alone are collected.
sub _no_change { return (list => undef, pushed => []) }

sub _list {
    my ($self) = @_;
    my $batch = $self->{batch};
    return $batch->{list} if $batch->{list};
    local $IPC::Shm::HANDLERS_WAIT = 1;
    $batch->{lock} ||= $self->lock('write', undef) if !defined $batch->{joint};
    my ($content, $serial) = $self->_content;
    $batch->{serial} = $serial;
    my $keep = delete $self->{holding};
    return $batch->{list} = [ (map { defined $_ ? [ $_->[1], $self->_value(@$_) ] : undef } @$content), splice @{ $batch->{pushed} } ];
}

sub _operation {
    my ($self, $batch) = @_;
    my $list = $batch->{list};
    if (!$list) {
        my @texts = map { $_->[0] } @{ $batch->{pushed} };
        return defined $batch->{done} ? ('queue', 'done', $batch->{done}, @texts) : @texts ? ('array', 'push', @texts) : ();
    }
    my $refers = grep { defined && ref $_->[1] } @$list;
    return (
        'assign',
        scalar @$list,
        $batch->{serial} // '',
        ($refers ? 1 : 0) . (defined $batch->{done} ? " $batch->{done}" : ''),
        packed(map { $_ && $_->[0] } @$list)
    );
}

sub _published {
    my ($self, $batch)  = @_;
    my ($list, $pushed) = @$batch{qw(list pushed)};
    if (!$list) {
        for my $i (grep { ref $pushed->[$_][1] } 0 .. $#$pushed) {
            $self->_keep($batch->{n} + $i, @{ $pushed->[$i] });
        }
        return;
    }
    my $old = $self->_take_kids;    # until those that stay have been stored
    $self->{first} = 0;
    for my $i (0 .. $#$list) { $self->_stored($i, @{ $list->[$i] }) if defined $list->[$i] && ref $list->[$i][1] }
    return;
}

# All elements of one moment, [field, text] or undef each; and the serial.
sub _content {
    my ($self) = @_;
    my $all    = $self->_everything;
    my $first  = $self->{first} = $all->{'!f'};
    return ([ map { defined $all->{$_} ? [ $_, $all->{$_} ] : undef } $first .. $first + $all->{'!l'} - 1 ], $all->{'!s'});
}

sub all {
    my ($self) = @_;
    my $batch = $self->{batch};
    return [ map { defined $_ ? $_->[1] : undef } @{ $self->_list } ] if $batch && ($batch->{list} || @{ $batch->{pushed} });
    my ($content) = $self->_content;
    $self->{engine}->_attach_all(map { defined $_ ? $_->[1]            : () } @$content);
    return [ map { defined $_                     ? $self->_value(@$_) : undef } @$content ];
}

# What operators see: values, keys or pairs; or the values at these indices.
sub _look_at {
    my ($self, $what) = @_;
    my $all = $self->all;
    return [ map { defined $_ ? $_ < 0 ? $_ + @$all < 0 ? undef : $all->[$_] : $_ < @$all ? $all->[$_] : undef : $all->[0] } @$what ]
        if ref $what;
    return $what eq 'values' ? $all : $what eq 'keys' ? [ 0 .. $#$all ] : [ map { ($_, $all->[$_]) } 0 .. $#$all ];
}

# What is at an index: field and text.
sub _at {
    my ($self, $index) = @_;
    while (1) {
        my $first = $self->{first};
        my ($text, $is, $n) = @{ $self->_look($first + $index, '!f', '!l') };
        $self->{first} = $is;
        next if $is != $first;
        return ($first + $index, $index < $n ? $text : undef);
    }
    return;
}

sub FETCH {
    my ($self, $index) = @_;
    if ($self->{batch}) { my $at = $self->_list->[$index]; return $at && $at->[1] }
    return $self->_from_copy($index) if $self->{copy} && $self->{held} eq '';
    my ($field, $text) = $self->_at($index);
    return defined $text ? $self->_value($field, $text, ord $text == 114 ? sub { ($self->_at($index))[1] } : undef) : undef;
}

sub EXISTS {
    my ($self, $index) = @_;
    return defined $self->_list->[$index]   ? 1 : 0 if $self->{batch};
    return defined(($self->_at($index))[1]) ? 1 : 0;
}

sub STORE {
    my ($self, $index, $value) = @_;
    Carp::croak("An array index of $index is out of range") if $index >= $max_size;
    my $text = $self->_store_value($value);
    if ($self->_in_change) { $self->_list->[$index] = [ $text, $value ]; return }
    my $reply = $self->_alter('array', 'put', $index, $text);
    Carp::croak('Modification of non-creatable array value attempted, subscript ' . $index) if !defined $reply->[1];
    $self->_keep($index, $text, $value)                                                     if ref $value || %{ $self->{kids} };
    delete $self->{fresh};
    return;
}

# The reference that was stored there stays what it is here. Its field is known when it is looked at.
sub _keep { my ($self, $index, $text, $value) = @_; $self->_stored($self->{first} + $index, $text, $value); return }

sub FETCHSIZE {
    my ($self) = @_;
    return scalar @{ $self->_list } if $self->{batch};
    return $self->_size;
}

sub _size {
    my ($self) = @_;
    my ($first, $n) = @{ $self->_look('!f', '!l') };
    $self->{first} = $first;
    return 0 + $n;
}

sub STORESIZE {
    my ($self, $n) = @_;
    Carp::croak("An array index of $n is out of range") if $n > $max_size;
    if ($self->_in_change) { $#{ $self->_list } = $n - 1; return }
    my $have = $self->FETCHSIZE;
    return if $n == $have;
    if   ($n < $have) { $self->_alter('cut',   'size',   $n) }
    else              { $self->_alter('array', 'extend', $n) }
    return;
}

sub EXTEND {return}

sub CLEAR {
    my ($self) = @_;
    if (my $batch = $self->_in_change) { @$batch{qw(list pushed)} = ([], []); delete $batch->{serial}; return }
    $self->_alter('assign', 0, '', 0, packed());
    $self->{first} = 0;
    $self->_take_kids;
    return;
}

sub _texts {
    my ($self, @values) = @_;
    return map { $self->_store_value($_) } @values;
}

sub PUSH {
    my ($self, @values) = @_;
    return $self->FETCHSIZE if !@values;
    my @texts = $self->_texts(@values);
    if (my $batch = $self->_in_change) {
        $batch->{n} //= $self->_size if !$batch->{list};
        my $n = push @{ $batch->{list} || $batch->{pushed} }, map { [ $texts[$_], $values[$_] ] } 0 .. $#values;
        return $batch->{list} ? $n : $batch->{n} + $n;
    }
    my $n = $self->_alter('array', 'push', @texts)->[1];
    for my $i (0 .. $#values) { $self->_keep($n - @values + $i, $texts[$i], $values[$i]) if ref $values[$i] }
    delete $self->{fresh};
    return $n;
}

sub UNSHIFT {
    my ($self, @values) = @_;
    return $self->FETCHSIZE if !@values;
    my @texts = $self->_texts(@values);
    if ($self->_in_change) {
        return unshift @{ $self->_list }, map { [ $texts[$_], $values[$_] ] } 0 .. $#values;
    }
    my $n = $self->_alter('array', 'unshift', @texts)->[1];
    $self->{first} -= @values;
    for my $i (0 .. $#values) { $self->_keep($i, $texts[$i], $values[$i]) if ref $values[$i] }
    delete $self->{fresh};
    return $n;
}

# What was cut out is no longer kept for the array.
sub _taken {
    my ($self, $text) = @_;
    return undef if !defined $text;    ## no critic (an element, in a list)
    my ($field) = ord $text == 114 ? grep { $self->{kids}{$_}[0] eq $text } keys %{ $self->{kids} } : ();
    my $value   = $self->_value($field // '', $text);
    delete $self->{kids}{ $field // '' };
    return $value;
}

sub POP {
    my ($self) = @_;
    if ($self->_in_change) { my $at = pop @{ $self->_list }; return $at && $at->[1] }
    my $reply = $self->_alter('cut', 'pop');
    return $self->_taken($reply->[1] && $reply->[1][0]);
}

sub SHIFT {
    my ($self) = @_;
    if ($self->_in_change) { my $at = shift @{ $self->_list }; return $at && $at->[1] }
    my $reply = $self->_alter('cut', 'shift');
    $self->{first}++ if $reply->[1] && !$reply->[2];    # else a dead worker had it
    return $self->_taken($reply->[1] && $reply->[1][0]);
}

sub DELETE {
    my ($self, $index) = @_;
    if ($self->_in_change) {
        my $list = $self->_list;
        $index += @$list if $index < 0;
        return undef     if $index < 0 || $index > $#$list;    ## no critic (an element)
        my $old = $list->[$index];
        $list->[$index] = undef;
        if ($index == $#$list) { pop @$list while @$list && !defined $list->[-1] }
        return $old && $old->[1];
    }
    my $reply = $self->_alter('cut', 'delete', $index);
    return $self->_taken($reply->[1] && $reply->[1][0]);
}

sub SPLICE {
    my ($self, $offset, $length, @values) = @_;
    for my $argument (grep { $_ < @_ && !defined $_[$_] } 1, 2) {
        warnings::warnif('uninitialized', 'Use of uninitialized value in splice');
    }
    my $to_the_end = @_ < 3;
    $offset = int($offset // 0);
    $length = int($length // 0);
    my @texts = $self->_texts(@values);
    if ($self->_in_change) {
        my $list = $self->_list;
        $length = @$list if $to_the_end;
        my @old = splice @$list, $offset, $length, map { [ $texts[$_], $values[$_] ] } 0 .. $#values;
        return wantarray ? map { $_ && $_->[1] } @old : @old ? $old[-1] && $old[-1][1] : undef;
    }
    my $reply = $self->_alter('cut', 'splice', $offset, $to_the_end ? '' : $length, @texts);
    Carp::croak("Modification of non-creatable array value attempted, subscript $offset") if $reply->[1] eq 'BEFORE';
    warnings::warnif('misc', 'splice() offset past end of array')                         if $reply->[2];
    delete $self->{fresh};
    my @old = map { $self->_taken($_) } @{ $reply->[1] };
    return wantarray ? @old : @old ? $old[-1] : undef;
}

# ---- queues (IPC::Shm::Queue)

my $tickets = 0;

# A ticket: 48 hexadecimal digits that nobody else makes.
sub _ticket { my ($self) = @_; return substr $self->{conn}{me} . sprintf('%032x', ++$tickets), 0, 48 }

sub _take_next {
    my ($self, $reserve) = @_;
    if ($self->_in_change) {
        Carp::croak('Nothing can be reserved within an open change') if $reserve;
        return @{ $self->_list } ? $self->SHIFT : ();
    }
    my $ticket = $reserve ? $self->_ticket : '';
    my $text   = $self->_alter('queue', $reserve ? 'reserve' : 'take', $ticket)->[1];
    return if !defined $text;
    return ($self->_taken($text), $reserve ? $ticket : ());
}

sub _end {
    my ($self, $ticket, $back) = @_;
    Carp::croak("'$ticket' is not a ticket that reserve() gave") if $ticket !~ /\A[0-9a-f]{48}\z/;
    if (my $batch = $self->_in_change) {    # it is a part of that
        Carp::croak('Nothing can be released within an open change') if $back || defined $batch->{done};
        return !!0                                                   if !$self->{conn}->command('HEXISTS', "$self->{key}:o", $ticket);
        $batch->{done} = $ticket;
        return !!1;
    }
    return $self->_alter('queue', $back ? 'release' : 'done', $ticket)->[1] ? !!1 : !!0;
}

sub _change_of_all {
    my ($self) = @_;
    Carp::croak('The sub of done cannot call done with a sub')                              if $self->{conn}{joint};
    Carp::croak('A change of the queue is open already: done with a sub is one of its own') if $self->{batch};
    return IPC::Shm::Engine::Redis::Joint->begin($self);
}

*take    = \&IPC::Shm::Queue::take;      # IPC::Shm::Array has them in C
*reserve = \&IPC::Shm::Queue::reserve;

sub _is_reserved { my ($self) = @_; return $self->{conn}->command('HLEN', "$self->{key}:o") ? 1 : 0 }

sub _reserved {
    my ($self) = @_;
    my $conn   = $self->{conn};
    my %owner  = @{ $conn->command('HGETALL', "$self->{key}:o") };
    my %job    = @{ $conn->command('HGETALL', "$self->{key}:j") };
    my $known  = $self->{engine}->_processes;
    $self->{engine}->_bury;
    my $alive = $self->{engine}->_processes;
    my @all;

    for my $ticket (grep { defined $job{$_} } keys %owner) {
        my ($token, $order, $since) = split / /, $owner{$ticket};
        my $text  = $job{$ticket};
        my $value = ord $text == 114 ? $self->{engine}->_reference($text) : $self->_value('', $text);
        push @all,
            {
            job    => $value,
            ticket => $ticket,
            pid    => $known->{$token},
            dead   => $alive->{$token} ? 0 : 1,
            since  => $since,
            order  => $order
            };
    }
    return @all;
}

# The methods do not count from the end, as operators do.
sub _index {
    my ($index) = @_;
    $index = int $index;
    Carp::croak("An array index of $index is out of range") if !($index >= 0 && $index < $max_size);
    return $index;
}

for my $name (qw(insert replace exchange update store)) {
    no strict 'refs';    ## no critic (a method each)
    my $method = \&{"IPC::Shm::Elements::$name"};
    *$name = sub { _index($_[1]) if @_ > 1; goto &$method };
}

sub add {
    my ($self, $index, $delta) = @_;
    Carp::croak('add takes an index and a number') if @_ != 3;
    $index = _index($index);
    return $self->_add_in_change($delta, $index)   if $self->_in_change;
    Carp::croak('Cannot add what is not a number') if !Scalar::Util::looks_like_number($delta);
    my $reply = $self->_add_integer($index, 0 + $delta, 1);
    return 0 + $reply->[1] if $reply && defined $reply->[1];
    local $IPC::Shm::HANDLERS_WAIT = 1;
    my $locked = $self->lock('write');    # what the server cannot do
    my ($ok, $why, $sum);
    {
        local $@;
        $ok = eval {
            my $n = $self->FETCHSIZE;
            $self->STORE($index, 0) if $index >= $n;
            $sum = $self->_add($self->{first} + $index, $delta);
            1;
        };
        $why = $@;
    }
    $self->unlock('write') if $locked;
    return $sum            if $ok;
    die $why;
}

1;

__END__

=encoding utf8

=head1 NAME

IPC::Shm::Engine::Redis::Array - a shared array on Redis

=head1 DESCRIPTION

The methods that perl calls (L<perltie>), and those of L<IPC::Shm::Engine>.

=head2 packed

That of L<IPC::Shm::Engine::Redis::Value>.

=head2 take, reserve

Those of L<IPC::Shm::Queue>.

=head2 insert, replace, exchange, update, store

Those of all engines, which do not count from the end.

=head2 add, all

See L<IPC::Shm::Engine>.

=head1 SEE ALSO

L<IPC::Shm::Engine::Redis>

=cut
