package IPC::Shm::Engine::Redis::Variable;
use strict;
use warnings;
use Carp         ();
use Scalar::Util ();
use IPC::Shm::Engine::Redis::Value;
use IPC::Shm::Sharing;
use IPC::Shm::Tied;

our $VERSION  = '1.000';
our @CARP_NOT = @IPC::Shm::Engine::Redis::Connection::CARP_NOT;

IPC::Shm::Tied::_load_methods();    # it calls what is below their methods, too

# What scalars, arrays and hashes have in common. An object has
#   engine, conn, key (in Redis), id, type, name
#   seen     the serial that this process saw last, with its own changes since
#   held     the locks that it has: '' or some of r, w, and u: r alone among all (see Joint.pm)
#   kids     field => [what is stored there, the reference that it became here]
#   batch    the change that is open (begin), see the types; joint: it is part of one of several variables
#   holding  objects that a look at all has found
#   fresh    objects that are about to be stored
#   vanishing  true if elements of it may vanish, as far as is known
#   copy     place => [value, until when it may be used, if not `until`], where reads may be stale
#   until    until when copies may be used: one look sees by the serial that all of them still hold

*now    = \&IPC::Shm::Engine::Redis::Connection::now;
*encode = \&IPC::Shm::Engine::Redis::Value::encode;
*decode = \&IPC::Shm::Engine::Redis::Value::decode;

use constant POLL => 0.03;    # seconds until a waiter looks whether the owner of a lock is dead

sub engine { return $_[0]{engine} }
sub id     { return $_[0]{id} }

# What the methods in C say in other words; `remove('key')` is not to remove the variable.
sub _takes_nothing { my ($name, $given) = @_; Carp::croak("$name takes no arguments") if $given > 1; return }

sub name { my ($self) = @_; _takes_nothing('name', scalar @_); return $self->{name} }

sub _what { my ($self) = @_; return 'The shared ' . ($self->{name} // (undef, qw(scalar array hash))[ $self->{type} ]) }

sub _fail {
    my ($self, $what) = @_;
    Carp::croak($self->_what . ' was removed') if $what eq 'REMOVED';
    Carp::croak('The lock on t' . substr($self->_what, 1) . ' was lost: the server took this process for gone; nothing was stored')
        if $what eq 'LOST';
    Carp::croak('Deadlock on t' . substr($self->_what, 1) . ': this process and another one hold locks, and each wants what the other has')
        if $what eq 'DEADLOCK';
    Carp::croak('A reference leads to a variable that was removed') if $what eq 'GONE';
    return Carp::croak("The Redis engine does not understand '$what'");
}

# Does it believe to hold a lock that counts for a change?
sub _held_kind { my ($self) = @_; my $held = $self->{held}; return $held eq '' ? '' : $held =~ /w/ ? 'w' : 'r' }

# ---- changes and looks

# A change by a script: waits while others hold locks. Returns the reply. The serial counts
# the change as seen; if others came between, it stays behind, as it should.
sub _alter {
    my ($self, $script, @arguments) = @_;
    Carp::croak($self->_what . ' was removed') if $self->{removed};
    my $held = $self->{held} eq '' ? '' : $self->_held_kind;
    $self->_fail('LOST') if $self->{lost};
    my $reply = $self->{conn}->script($script, $self->{key}, $held, @arguments);
    $reply = $self->_after_turn('w', sub { $self->{conn}->script($script, $self->{key}, $held, @arguments) })
        if !ref $reply && $reply eq 'BUSY';
    $self->_refused($reply) if !ref $reply;
    $self->_has_changed($reply->[0]);
    return $reply;
}

# This process has, to that serial.
sub _has_changed {
    my ($self, $serial) = @_;
    $self->{seen}++    if $serial > $self->{seen};
    $self->{copy} = {} if $self->{copy};
    return;
}

sub _refused {
    my ($self, $why) = @_;
    $self->{removed} = 1 if $why eq 'REMOVED';
    if ($why eq 'LOST') { $self->{conn}->identify if !$self->{lost}++ }
    return $self->_fail($why);
}

# A look: a command that returns an array with the serial and the writer at its end.
sub _look {
    my ($self, @fields) = @_;
    Carp::croak($self->_what . ' was removed') if $self->{removed};
    my $conn = $self->{conn};
    my $ask  = $self->{type} == 3 ? sub { $self->_fields(@fields) } : sub { $conn->command('HMGET', $self->{key}, @fields, '!s', '!w') };
    return $self->_readable($ask->()) || $self->_after_turn('f', sub { $self->_readable($ask->()) || 'BUSY' });
}

sub _readable {
    my ($self, $reply) = @_;
    my $writer = pop @$reply;
    my $serial = pop @$reply;
    if (!defined $serial)                       { $self->{removed} = 1; $self->_fail('REMOVED') }
    if (defined $writer || $self->{held} ne '') { return if !$self->_may_read($writer) }
    if ($serial != $self->{seen}) {
        $self->{seen} = $serial;
        $self->{copy} = {} if $self->{copy};
        $self->_seen_anew if %{ $self->{kids} };
    }
    return $reply;
}

# A copy may be used for as long as the user allows, counted from before the server was asked
# whether it holds. What vanishes does not change the serial.
sub _from_copy {
    my ($self, $place) = @_;
    my $now  = now();
    my $copy = $self->{copy}{$place};
    return $copy->[0] if $copy && ($copy->[1] || $self->{until}) > $now;
    my ($field, $text) = $self->_at($place);
    my $value = defined $text ? $self->_value($field, $text) : undef;
    my $until = $now + $self->{engine}{stale};
    $self->{until} = $until;
    %{ $self->{copy} } = () if keys %{ $self->{copy} } > 100_000;
    $self->{copy}{$place} = [ $value, $self->{vanishing} ? $until : 0 ] if !ref $value;
    return $value;
}

# Field and text of a place.
sub _at { my ($self, $field) = @_; return ($field, $self->_look($field)->[0]) }

sub _may_read {
    my ($self, $writer) = @_;
    my $mine = defined $writer && $writer eq $self->{conn}{me};
    if (!$mine && $self->{held} =~ /w/) { $self->_refused('LOST') }
    return !defined $writer || $mine;
}

# Others have changed it: what this process keeps alive for it may have gone.
sub _seen_anew {
    my ($self) = @_;
    my $kids   = $self->{kids};
    my $n      = keys %$kids;
    return if $n > 100 && ++$self->{unswept} < $n / 10;
    $self->{unswept} = 0;
    my @fields = keys %$kids;
    while (my @some = splice @fields, 0, 1000) {
        my $now = $self->{conn}->command('HMGET', $self->{key}, @some);
        my @gone;
        for my $i (0 .. $#some) { push @gone, delete $kids->{ $some[$i] } if !defined $now->[$i] || $now->[$i] ne $kids->{ $some[$i] }[0] }
    }
    return;
}

# ---- waiting

# Do it when those who hold locks let it be done; it returns BUSY as long as they do not.
sub _after_turn {
    my ($self, $kind, $code) = @_;
    my $reply;
    my ($ok, $why);
    local $IPC::Shm::HANDLERS_WAIT = 1;
    {
        local ($@, $!);
        $ok = eval {
            do {
                $self->_wait_turn('turn', $kind, undef);
                $reply = $code->();
            } while (!ref $reply && $reply eq 'BUSY');
            1;
        };
        $why = $@;
    }
    $self->_leave;
    return $reply if $ok;
    die $why;
}

# True if it is this process's turn; false if the time was over. Handlers of signals run while it sleeps, even if the
# caller has them wait otherwise: what the script has done is to be noted before one dies.
sub _wait_turn {
    my ($self, $what, $kind, $until) = @_;
    my $conn  = $self->{conn};
    my $asked = '';
    while (1) {
        my $left  = defined $until              ? $until - now() : undef;
        my $queue = !defined $left || $left > 0 ? 'q'            : '';
        my $held  = $self->{held} eq ''         ? ''             : $self->_held_kind;
        my $reply = $conn->script('lock', $self->{key}, $held, $what, $kind, $queue . ($conn->{locks} ? 'h' : '') . $asked);
        return 1 if $reply eq '1';
        $asked = 'a';
        if ($reply eq 'NOBODY') {
            $self->_refused('LOST') if $self->{held} ne '';
            $conn->identify;
            next;
        }
        $self->_refused($reply) if $reply ne 'BUSY';
        return                  if !$queue;
        $conn->pause(defined $left && $left < POLL ? $left : POLL);
    }
    return;
}

sub _leave {
    my ($self) = @_;
    my ($keep) = $self->_held_kind;
    local ($@, $!);
    eval { local $SIG{__DIE__}; $self->{conn}->script('leave', $self->{key}, '', $keep); 1 };
    return;
}

# ---- locks

sub _until {
    my ($seconds) = @_;
    return if !defined $seconds;
    Carp::croak("A time limit must be a number of seconds, not '$seconds'; it cannot be negative")
        if !Scalar::Util::looks_like_number($seconds) || !($seconds >= 0);
    return now() + $seconds;
}

sub lock {    ## no critic (as the contract calls it)
    my ($self, $kind, $seconds) = @_;
    my $until  = defined $seconds ? _until($seconds) : undef;
    my $letter = $kind eq 'write' ? 'w'              : 'r';
    Carp::croak($self->_what . ' was removed') if $self->{removed};
    return 0                                   if index($self->{held}, $letter) >= 0 || $self->{held} =~ /w/;
    $self->{conn}->reach;
    local $IPC::Shm::HANDLERS_WAIT = 1;
    my $reply;
    my ($ok, $why);
    {
        local ($@, $!);
        $ok  = eval { $reply = $self->_wait_turn('lock', $letter, $until); 1 };
        $why = $@;
    }

    if (!$ok || !$reply) {
        $self->_leave if !$ok || !defined $seconds || $seconds > 0;
        return undef  if $ok;                                         ## no critic (a timeout: also in list context)
        die $why;
    }
    if (index($self->{held}, $letter) >= 0 || $self->{held} =~ /w/) {    # a handler has taken it meanwhile
        $self->_leave;
        return 0;
    }
    $self->{conn}{locks}++;
    $self->{held} .= $letter;
    $self->{copy} = {} if $self->{copy};
    return 1;
}

sub unlock {
    my ($self, $kind) = @_;
    local $IPC::Shm::HANDLERS_WAIT = 1;
    my $held  = $self->{held};
    my $which = !defined $kind ? $held : $kind eq 'write' ? 'w' : 'r';
    $which = join '', grep { index($held, $_) >= 0 } split //, $which if $which ne $held;
    if (my $batch = $self->{batch}) {    # what one of several variables relies on ends with that
        $which =~ s/[$batch->{joint}$batch->{ends}]//g if defined $batch->{joint};
        $batch->{ends} .= $which                       if defined $batch->{joint};
        return length $which ? 1 : 0                   if defined $batch->{joint};
    }
    return $which eq '' ? 0 : $self->_release($which);
}

sub _released {
    my ($self, $which) = @_;
    if ($which eq $self->{held}) { $self->{held} = '' }
    else                         { $self->{held} =~ s/[$which]//g }
    $self->{conn}{locks} -= length $which;
    return;
}

sub _release {
    my ($self, $which) = @_;
    $self->_released($which);
    return 0 if $self->{removed};

    if ($self->{lost}) {    # it was told already
        delete $self->{lost} if $self->{held} eq '';
        return 0;
    }
    my $had = $self->{conn}->script('unlock', $self->{key}, '', $which);
    return 0 if $had eq 'REMOVED';
    return $had || $self->_fail('LOST');
}

sub writelock   { my ($self, $seconds) = @_; return $self->lock('write', $seconds) }
sub readlock    { my ($self, $seconds) = @_; return $self->lock('read',  $seconds) }
sub unlock_kind { my ($self, $kind) = @_; return $self->unlock($kind) }

# ---- changes by others

sub serial {
    my ($self) = @_;
    _takes_nothing('serial', scalar @_);
    my $reply = $self->{conn}->command('HMGET', $self->{key}, '!s');
    $self->_refused('REMOVED') if !defined $reply->[0];
    return 0 + $reply->[0];
}

sub wait_change {
    my ($self, $seconds) = @_;
    Carp::croak('wait_change takes at most a number of seconds') if @_ > 2;
    my $until = _until($seconds);
    my $conn  = $self->{conn};
    while (1) {
        my $reply = $conn->script('watch', $self->{key}, '', $self->{seen});
        if (ref $reply) {
            if ($reply->[1]) { $self->{seen} = $reply->[0]; $self->{copy} = {} if $self->{copy}; return 1 }
        } elsif ($reply eq 'NOBODY') {
            $conn->identify;
            next;
        } else {
            $self->_refused($reply);
        }
        my $left = defined $until ? $until - now() : 5;
        return !!0 if $left <= 0;
        $conn->pause($left > 5 ? 5 : $left);
    }
    return;
}

sub remove {
    my ($self) = @_;
    _takes_nothing('remove', scalar @_);
    Carp::croak('A change of this variable is open: it cannot be removed') if $self->{batch};
    $self->_alter('remove');
    $self->_forget;
    return 1;
}

sub _forget {
    my ($self) = @_;
    $self->{removed} = 1;
    $self->{conn}{locks} -= length $self->{held};
    $self->{held} = '';
    $self->_take_kids;
    delete $self->{conn}{variables}{ $self->{id} };
    return;
}

# ---- references

sub _reference { my ($self) = @_; return $self->{engine}->container($self) }

sub _is_shared { my ($self) = @_; return !$self->{removed} }

# Tie a container that a program has declared.
sub _tie {
    my ($self, $container) = @_;
    if    ($self->{type} == 3) { tie %$container, ref $self, $self }
    elsif ($self->{type} == 2) { tie @$container, ref $self, $self }
    else                       { tie $$container, ref $self, $self }
    $self->{engine}->contained($self, $container);
    return;
}

# The user has tied it (xs/engine.c).
sub _is_tied_to {
    my ($self, $container) = @_;
    $self->{engine}->contained($self, $container) if !defined $self->{container};
    return;
}

# What is stored for a value. A reference leads to a variable of this engine, which is made if need be.
sub _store_value {
    my ($self, $value) = @_;
    return encode($value) if !ref $value && ref(\$value) ne 'GLOB';
    my $object = IPC::Shm::Sharing::object_of($self->{engine}, \$value);
    if (!$object) {    # a constant
        my $class = Scalar::Util::blessed($value) // '';
        utf8::encode($class);
        return 's' . length($class) . ":$class" . encode($$value);
    }
    push @{ $self->{fresh} }, $object;    # until it is stored, nothing else may lead to it
    my $class = Scalar::Util::blessed($value) // '';
    utf8::encode($class);
    return "r$object->{id}:$object->{type}:$class";
}

# The value that is stored in a field. A reference may lead to what others have let go of since
# the look: then $again looks once more.
sub _value {
    my ($self, $field, $text, $again) = @_;
    my $kind = ord $text;
    return decode($text)    if $kind != 114 && $kind != 115;
    return _constant($text) if $kind == 115;
    my $kid = $self->{kids}{$field};
    return $kid->[1] if $kid && $kid->[0] eq $text;
    my $reference = $self->{engine}->_reference($text, $again);
    if (!$reference) {
        my $now = $again->();
        return defined $now ? $self->_value($field, $now, $now eq $text ? undef : $again) : undef;
    }
    $self->{kids}{$field} = [ $text, $reference ];
    return $reference;
}

# All fields and values of one moment, in one exchange; in two if there are references that are new
# here, for this process must be attached to what they lead to.
sub _everything {
    my ($self) = @_;
    Carp::croak($self->_what . ' was removed') if $self->{removed};
    my $conn = $self->{conn};
    my $ask  = sub {
        my $new   = $self->{vanishing};                                         # some may have vanished: only the script can tell
        my %all   = $new ? () : @{ $conn->command('HGETALL', $self->{key}) };
        my $known = [];
        for my $text ($all{'!k'} ? values %all : ()) {
            my ($id) = $text =~ /\Ar([^:]+)/ or next;
            if (defined $conn->{variables}{$id}) { push @$known, $conn->{variables}{$id} }
            else                                 { $new++ }
        }
        $self->{holding} = $known;                                              # until the caller has the references
        $self->{vanishing} || $self->_readable([ @all{qw(!s !w)} ]) or return 'BUSY';
        return \%all if !$new && !defined $all{'!E'};
        my $reply;
        while (($reply = $conn->script('all', $self->{key}, '')) eq 'NOBODY') { $conn->identify }
        return $reply           if $reply eq 'BUSY';
        $self->_refused($reply) if !ref $reply;
        $self->{copy} = {} if $self->{copy};
        %all = @{ $reply->[1] };
        $self->_may_read($all{'!w'}) or return 'BUSY';                          # where it is held, it is this process's still
        $self->{vanishing} = defined $all{'!E'};
        $self->{seen}      = $reply->[0];
        $self->{holding}   = $self->{engine}->_attach_all(values %all);
        return \%all;
    };
    my $all = $ask->();
    return ref $all ? $all : $self->_after_turn('f', $ask);
}

sub _constant {
    my ($text)   = @_;
    my ($length) = $text =~ /\As([0-9]+):/;
    my $class    = substr $text, 2 + length $length, $length;
    my $value    = decode(substr $text, 2 + length($length) + $length);
    utf8::decode($class);
    return length $class ? bless(\$value, $class) : \$value;
}

# What was stored here so far is kept alive by the caller alone: destructors run when it lets go.
sub _take_kids {
    my ($self) = @_;
    my $kids = $self->{kids};
    $self->{kids} = {};
    return $kids;
}

# What was stored there by this process just now.
sub _stored {
    my ($self, $field, $text, $value) = @_;
    my $old = delete $self->{kids}{$field};
    return if !ref $value || ord $text != 114;
    my $object = $self->{conn}{variables}{ substr $text, 1, index($text, ':') - 1 };
    my $kept   = $object && defined $object->{container} ? $object->{container} : $self->{engine}->_reference($text);
    $self->{kids}{$field} = [ $text, $kept ];
    return;
}

# ---- addition

# Within an open change: what is in a place is looked at, and the sum stored.
sub _add_in_change {
    my ($self, $delta, @place) = @_;
    Carp::croak('Cannot add what is not a number') if !Scalar::Util::looks_like_number($delta);
    my $value = $self->FETCH(@place) // 0;
    Carp::croak('Cannot add to a value that is not a number') if !Scalar::Util::looks_like_number($value);
    $self->STORE(@place, $value + $delta);
    return $value + $delta;
}

# Undef: it is none.
sub _add_integer {
    my ($self, $field, $delta, @is_index) = @_;
    return $delta =~ /\A-?[0-9]{1,18}\z/ ? $self->_alter('add', $field, "$delta", @is_index) : undef;
}

# To what is stored in a field. Integers of 64 bits are added by the server; what goes
# beyond is worked out here, and stored if nobody else has stored meanwhile.
sub _add {
    my ($self, $field, $delta) = @_;
    Carp::croak('Cannot add what is not a number') if !Scalar::Util::looks_like_number($delta);
    $delta = 0 + $delta;
    my $reply = $self->_add_integer($field, $delta) || [ 0, undef, $self->_look($field)->[0] ];
    while (!defined $reply->[1]) {
        my $text  = $reply->[2];
        my $value = defined $text ? ord $text == 114 ? 'a reference' : decode($text) : 0;
        $value = 0 if !defined $value;
        Carp::croak('Cannot add to a value that is not a number') if !Scalar::Util::looks_like_number($value) && $value ne '';
        my $sum = ($value eq '' ? 0 : $value) + $delta;
        my $set = $self->_alter('put', $field, encode($sum), 'k', $text // '');
        return $sum if $set->[1];
        $reply = [ 0, undef, $self->_look($field)->[0] ];
    }
    return 0 + $reply->[1];
}

# ---- one change of many operations

# An open change is a hash: what is changed, and whether the write lock was taken for it. What
# the user begins excludes others until it is committed, so that looks in it hold; an operator of
# perl only collects what it stores, and has it published in one go.
sub begin {
    my ($self) = @_;
    _takes_nothing('begin', scalar @_);
    return 1 if $self->{conn}{joint} && defined $self->_in_change->{joint};
    Carp::croak('A change of ' . ($self->{name} // 'the variable') . ' is open already') if $self->{batch};
    Carp::croak($self->_what . ' was removed')                                           if $self->{removed};
    local $IPC::Shm::HANDLERS_WAIT = 1;
    my $locked = $self->lock('write', undef);
    $self->{batch} = { $self->_no_change, lock => $locked };
    return 1;
}

# The one that is open. While one of several variables is, each that is stored in takes part.
sub _in_change {
    my ($self) = @_;
    return $self->{batch} || ($self->{conn}{joint} && $self->{conn}{joint}->join($self));
}

# False: the user has one open already, of which this is a part.
sub _begin_operator {
    my ($self) = @_;
    return 0                                   if $self->_in_change;
    Carp::croak($self->_what . ' was removed') if $self->{removed};
    $self->{batch} = { $self->_no_change, lock => 0 };
    return 1;
}

# The whole content anew, from the operator (xs/whole.c): plain values alone, packed. False: within an open
# change it is done one by one.
sub _assign_packed {
    my ($self, $packed) = @_;
    return 0 if $self->_in_change;
    $self->_alter('assign', unpack('xN', $packed), '', 0, $packed);
    return $self->_is_anew;
}

sub _is_anew {
    my ($self) = @_;
    $self->{first} = 0;
    $self->_take_kids;
    return 1;
}

# Likewise by RESTORE, which is for the server half the work. False: within an open change; or the server is not allowed
# to, or does not take it.
sub _assign_dump {
    my ($self, $dump) = @_;
    my $conn = $self->{conn};
    return 0 if $self->_in_change || $self->{vanishing} || $self->{removed} || $self->{lost} || !$conn->takes_dumps;
    my $n = ord(substr $dump, 1, 1) == 0x80 ? unpack 'x2N', $dump : 0x3fff & unpack 'xn', $dump;    # more than 63
    my $refused;
    my $ask = sub {
        my @restore = ('RESTORE', "$self->{key}:d:$conn->{me}", 60_000, $dump, 'REPLACE');
        (my $reply, $refused) = $conn->script_after(\@restore, 'assign', $self->{key}, $self->_held_kind, $n, '', 0, '', '', 'dump');
        return $reply;
    };
    my $reply = $ask->();
    $reply = $self->_after_turn('w', $ask) if !ref $reply && $reply eq 'BUSY';
    if (!ref $reply && $reply =~ /\ANODUMP ?(.*)/s) {
        if (length $1) { $conn->dump_refused($refused // $1) }
        else           { $self->{vanishing} = 1 }
        return 0;
    }
    $self->_refused($reply) if !ref $reply;
    $self->_has_changed($reply->[0]);
    return $self->_is_anew;
}

sub abort {
    my ($self) = @_;
    _takes_nothing('abort', scalar @_);
    Carp::croak('This change is part of that of done: it is undone when the sub dies') if $self->{batch} && defined $self->{batch}{joint};
    local $IPC::Shm::HANDLERS_WAIT = 1;
    my $batch = delete $self->{batch} or return 0;
    delete $self->{fresh};
    $self->unlock('write') if $batch->{lock};
    return 1;
}

# One operation, a script and its arguments, has all that a change of a variable is.
sub _publish {
    my ($self,   $batch)     = @_;
    my ($script, @arguments) = $self->_operation($batch) or return;
    $self->_alter($script, @arguments);
    $self->_published($batch);
    return;
}

sub commit {
    my ($self) = @_;
    _takes_nothing('commit', scalar @_);
    return 1 if $self->{batch} && defined $self->{batch}{joint};
    local $IPC::Shm::HANDLERS_WAIT = 1;
    my $batch = delete $self->{batch} or return 0;
    my ($ok, $why);
    {
        local ($@, $!);
        $ok  = eval { $self->_publish($batch); 1 };
        $why = $@;
    }
    delete $self->{fresh};
    $self->unlock('write') if $batch->{lock};
    die $why               if !$ok;
    return 1;
}

# ---- elements

sub is_open { my ($self) = @_; return $self->{batch} ? 1 : 0 }

# What a change here looks at others could change meanwhile, were there no lock.
sub _begin_alone {
    my ($self) = @_;
    return 0 if $self->{conn}{joint} && $self->begin;
    local $IPC::Shm::HANDLERS_WAIT = 1;
    my $locked = $self->lock('write');
    return $locked if eval { $self->begin };
    my $why = $@;
    $self->unlock('write') if $locked;
    die $why;
}

# IPC::Shm::Hash and the others have these in C, for variables in memory.
for my $name (qw(insert replace exchange update)) {
    no strict 'refs';    ## no critic (a method each)
    *$name = IPC::Shm::Elements->can($name);
}

# Elements of arrays, and scalars, do not vanish.
sub _keep_expiry { my ($self, @all) = @_; $self->STORE(@all); return }

# DESTROY, which is in C, calls this while handlers of signals wait.
sub _destroyed {
    my ($self) = @_;
    return if ${^GLOBAL_PHASE} eq 'DESTRUCT' || !$self->{conn};
    my $conn = $self->{conn};
    return if !$conn->{channel} && !$conn->{redis} || $conn->is_clone;
    local ($@, $!, $?);
    my $known = $conn->{variables}{ $self->{id} };
    return if defined $known && Scalar::Util::refaddr($known) != Scalar::Util::refaddr($self);
    delete $conn->{variables}{ $self->{id} };
    return if $self->{removed};
    eval {
        local $SIG{__DIE__};
        $conn->script('unlock', $self->{key}, '', $self->{held}) if $self->{held} ne '';
        $conn->{locks} -= length $self->{held};
        $conn->script('detach', $self->{key}, '');
        1;
    };
    _let_fall(delete $self->{kids});
    return;
}

# What it kept goes one by one: the data may be deep.
my @falling;
my $falls;

sub _let_fall {
    my ($kids) = @_;
    push @falling, values %$kids;
    %$kids = ();
    return if $falls;
    $falls = 1;
    while (@falling) { pop @falling }
    $falls = 0;
    return;
}

sub CLONE_SKIP { return 0 }

1;

__END__

=encoding utf8

=head1 NAME

IPC::Shm::Engine::Redis::Variable - what scalars, arrays and hashes on Redis have in common

=head1 DESCRIPTION

The methods are those of L<IPC::Shm::Engine>, which has their arguments and what they return and throw.

=head2 insert, replace, exchange, update

Those of L<IPC::Shm::Elements>.

=head2 lock, unlock_kind, wait_change, serial, name, remove, engine, id, begin, commit, abort, is_open

See there. Beside the exceptions named there, each of them dies if the server cannot be reached or does not answer in time, if the variable was removed, and if a lock
that it relies on was lost (L<IPC::Shm::Engine::Redis/WHEN SOMETHING FAILS>).

=head2 readlock, writelock, unlock

Those of L<IPC::Shm>.

=head2 encode, decode, now

Those of L<IPC::Shm::Engine::Redis::Value> and L<IPC::Shm::Engine::Redis::Connection>.

=head2 POLL

Seconds until a waiter looks whether the owner of a lock still lives.

=head1 SEE ALSO

L<IPC::Shm::Engine::Redis>

=cut
