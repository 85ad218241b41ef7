package IPC::Shm::Engine::Redis::Hash;
use strict;
use warnings;
no warnings 'uninitialized';    # undef as a key is the user's affair
use Carp         ();
use Scalar::Util ();
use IPC::Shm::Engine::Redis::Variable;

our $VERSION  = '1.000';
our @ISA      = qw(IPC::Shm::Engine::Redis::Variable IPC::Shm::Hash);    ## no critic (those of IPC::Shm have no file)
our @CARP_NOT = @IPC::Shm::Engine::Redis::Connection::CARP_NOT;

*key        = \&IPC::Shm::Engine::Redis::Value::key;
*packed     = \&IPC::Shm::Engine::Redis::Value::packed;
*decode_key = \&IPC::Shm::Engine::Redis::Value::decode_key;

sub TIEHASH { my ($class, $object) = @_; return $object || IPC::Shm::Engine::Redis::_anonymous(3) }

# A change that is open: cleared is 1 if the old content is gone; set: field => [text, value]; gone: field => 1.
sub _no_change { return (cleared => 0, set => {}, gone => {}) }

sub _operation {
    my ($self, $batch) = @_;
    my $set = $batch->{set};
    my @set = map { ($_, $set->{$_}[0]) } keys %$set;
    return ('assign', scalar @set, '', (grep { ref $_->[1] } values %$set) ? 1 : 0, packed(@set), _hows($set)) if $batch->{cleared};
    my @gone = grep { !$set->{$_} } keys %{ $batch->{gone} };
    return @set || @gone ? ('patch', scalar @gone, _hows($set), @gone, @set) : ();
}

sub _published {
    my ($self, $batch) = @_;
    my $set = $batch->{set};
    my $old = $batch->{cleared} ? $self->_take_kids : undef;    # until those that stay have been stored
    delete @{ $self->{kids} }{ keys %{ $batch->{gone} } };
    $self->_stored($_, @{ $set->{$_} }) for grep { %{ $self->{kids} } || ref $set->{$_}[1] } keys %$set;
    return;
}

# When what is stored vanishes: nothing, or what a script takes.
sub _hows {
    my ($set) = @_;
    my @how = map { $_->[2] // '' } values %$set;
    return (grep { $_ ne '' } @how) ? packed(@how) : '';
}

sub FETCH {
    my ($self, $name) = @_;
    my $field = utf8::is_utf8($name) ? key($name) : "=$name";
    return $self->_fetch_in_batch($field) if $self->{batch};
    return $self->_from_copy($field)      if $self->{copy} && $self->{held} eq '';

    # What _look does, where nothing stands in its way.
    my ($reply, $error);
    my $conn = $self->{conn};
    if (my $redis = !$self->{vanishing} && !$self->{removed} && $conn->{self} == Scalar::Util::refaddr($conn) && $conn->{redis}) {
        local $!;
        ($reply, $error) = $redis->__std_cmd('HMGET', $self->{key}, $field, '!s', '!w', '!E');
    }
    my $text;
    if ($reply && !defined $error && !defined $reply->[2] && !defined $reply->[3] && $reply->[1] eq $self->{seen} && $self->{held} eq '') {
        $text = $reply->[0];
    } else {
        $text = $self->_look($field)->[0];
    }
    return undef if !defined $text;    ## no critic (a value)
    return substr $text, 1 if ord $text == 98;
    return $self->_value($field, $text, ord $text == 114 ? sub { $self->_look($field)->[0] } : undef);
}

sub _fetch_in_batch {
    my ($self, $field) = @_;
    my $batch = $self->{batch};
    return $batch->{set}{$field}[1] if $batch->{set}{$field};
    return                          if $batch->{cleared} || $batch->{gone}{$field};
    my $text = $self->_look($field)->[0];
    return defined $text ? $self->_value($field, $text) : undef;
}

sub STORE {
    my ($self, $name, $value) = @_;
    my $field = utf8::is_utf8($name)                ? key($name)                  : "=$name";
    my $text  = ref $value || ref \$value eq 'GLOB' ? $self->_store_value($value) : IPC::Shm::Engine::Redis::Value::encode($value);
    if (my $batch = $self->_in_change) { $batch->{set}{$field} = [ $text, $value ]; return }
    $self->_alter('put', $field, $text);
    $self->_stored($field, $text, $value) if ref $value || %{ $self->{kids} };
    delete $self->{fresh}                 if ref $value;
    return;
}

sub EXISTS {
    my ($self, $name) = @_;
    my $field = key($name);
    if (my $batch = $self->{batch}) {
        return 1 if $batch->{set}{$field};
        return 0 if $batch->{cleared} || $batch->{gone}{$field};
    }
    return defined $self->_look($field)->[0] ? 1 : 0;
}

sub DELETE {
    my ($self, $name) = @_;
    my $field = key($name);
    if (my $batch = $self->_in_change) {
        my $old = $self->_fetch_in_batch($field);
        delete $batch->{set}{$field};
        $batch->{gone}{$field} = 1;
        return $old;
    }
    my $text = $self->_alter('del', $field)->[1][0];
    return if !defined $text;
    my $value = $self->_value($field, $text);
    delete $self->{kids}{$field};
    return $value;
}

sub CLEAR {
    my ($self) = @_;
    if (my $batch = $self->_in_change) { @$batch{qw(cleared set gone)} = (1, {}, {}); return }
    $self->_alter('assign', 0, '', 0, packed());
    $self->_take_kids;
    return;
}

# The content of one moment: field => text.
sub _content {
    my ($self) = @_;
    my $content = $self->_everything;
    delete $content->{$_} for grep {/\A!/} keys %$content;
    my $batch = $self->{batch} or return $content;
    %$content = () if $batch->{cleared};
    delete @$content{ keys %{ $batch->{gone} } };
    $content->{$_} = $batch->{set}{$_}[0] for keys %{ $batch->{set} };
    return $content;
}

sub all {
    my ($self) = @_;
    my $content = $self->_content;
    return $self->{engine}->_together($self, $content, sub { decode_key($_[0]) });
}

# What is referred to in a slice was let go of just now: look at all, with attaching.
sub _slice_of_all {
    my ($self, @fields) = @_;
    my $content = $self->_content;
    my $keep    = $self->{engine}->_attach_all(values %$content);
    delete $self->{holding};
    return [ map { defined $content->{$_} ? $self->_value($_, $content->{$_}) : undef } @fields ];
}

# What operators see: pairs, keys or values; or the values of these keys.
sub _look_at {
    my ($self, $what) = @_;
    if (ref $what) {
        my @fields = map { key($_) } @$what;
        my $texts  = $self->{batch} || @fields > 5000 ? [ @{ $self->_content }{@fields} ] : @fields ? $self->_look(@fields) : [];
        my $keep   = $self->{engine}->_attach_all(grep {defined} @$texts);
        return $self->_slice_of_all(@fields) if grep { !defined } @$keep;
        return [ map { defined $texts->[$_] ? $self->_value($fields[$_], $texts->[$_]) : undef } 0 .. $#fields ];
    }
    my $content = $self->_content;
    my $keep    = $self->{engine}->_attach_all($what eq 'keys' ? () : values %$content);
    delete $self->{holding};
    return [ map { decode_key($_) } keys %$content ]                    if $what eq 'keys';
    return [ map { $self->_value($_, $content->{$_}) } keys %$content ] if $what eq 'values';
    return [ map { (decode_key($_), $self->_value($_, $content->{$_})) } keys %$content ];
}

sub FIRSTKEY {
    my ($self) = @_;
    my $fields;
    if ($self->{batch} || $self->{vanishing}) { $fields = [ keys %{ $self->_content } ] }
    else {
        my $ask = sub {
            Carp::croak($self->_what . ' was removed') if $self->{removed};
            my @all = @{ $self->{conn}->command('HKEYS', $self->{key}) };
            return $self->_readable([ $self->{seen}, undef ]) && 'BUSY' if grep { $_ eq '!w' } @all and $self->{held} !~ /w/;
            if (!@all) { $self->{removed} = 1; $self->_fail('REMOVED') }
            return [ keys %{ $self->_content } ] if $self->{vanishing} = grep { $_ eq '!E' } @all;
            return [ grep { !/\A!/ } @all ];
        };
        $fields = $ask->();
        $fields = $self->_after_turn('f', $ask) if !ref $fields;
    }
    $self->{each} = $fields;
    return $self->NEXTKEY;
}

sub NEXTKEY {
    my ($self) = @_;
    my $field = pop @{ $self->{each} || [] };
    return defined $field ? decode_key($field) : undef;
}

sub SCALAR {
    my ($self) = @_;
    return scalar keys %{ $self->_content } if $self->{batch};
    return 0 + $self->_look('!l')->[0];
}

sub add {
    my ($self, $name, $delta) = @_;
    Carp::croak('add takes a key and a number') if @_ != 3;
    return $self->_in_change ? $self->_add_in_change($delta, $name) : $self->_add(key($name), $delta);
}

# ---- elements that vanish

# As HMGET. Where elements may vanish a script looks, for it knows the server's time.
sub _fields {
    my ($self, @fields) = @_;
    my ($conn, $reply)  = ($self->{conn});
    if (!$self->{vanishing}) {
        $reply = $conn->command('HMGET', $self->{key}, @fields, '!s', '!w', '!E');
        $self->{vanishing} = defined pop @$reply or return $reply;
    }
    $reply = $conn->script('look', $self->{key}, '', @fields, '!s', '!w', '!E');
    $self->{vanishing} = defined pop @$reply;
    return $reply;
}

# When an element vanishes, in the words of the scripts.
sub _how {
    my ($seconds) = @_;
    return 'n' if !defined $seconds;
    Carp::croak("A time limit must be a number of seconds, not '$seconds'; it cannot be negative")
        if !Scalar::Util::looks_like_number($seconds) || !($seconds >= 0);
    return $seconds > 9e9 ? 'n' : sprintf '%.0f', 1000 * $seconds;
}

sub store {
    my ($self, @arguments) = @_;
    Carp::croak('store takes a key and a value, and perhaps a number of seconds') if @arguments < 2 || @arguments > 3;
    my ($name, $value, @seconds) = @arguments;
    return IPC::Shm::_from_callers_line(sub { $self->_store($name, $value, @seconds ? _how(@seconds) : '') });
}

sub _store {
    my ($self, $name, $value, $how) = @_;
    my $field = key($name);
    my $text  = $self->_store_value($value);
    if (my $batch = $self->_in_change) { $batch->{set}{$field} = [ $text, $value, $how ]; return }
    $self->_alter('put', $field, $text, $how);
    $self->_stored($field, $text, $value);
    delete $self->{fresh};
    return;
}

# Stored again, it vanishes when it would have.
sub _keep_expiry { my ($self, $name, $value) = @_; return $self->_store($name, $value, 'k') }

sub touch {
    my ($self, $name, $seconds) = @_;
    Carp::croak('touch takes a key and a number of seconds') if @_ != 3;
    return IPC::Shm::_from_callers_line(sub { $self->_touch(key($name), _how($seconds)) });
}

sub _touch {
    my ($self, $field, $how) = @_;
    my $batch = $self->_in_change;
    return $self->_alter('elements', 'touch', $field, $how)->[1] ? !!1 : !!0 if !$batch;
    my $set = $batch->{set}{$field};
    if (!$set) {    # what is stored is stored again
        return !!0 if $batch->{cleared} || $batch->{gone}{$field};
        my $text = $self->_look($field)->[0];
        return !!0 if !defined $text;
        $set = $batch->{set}{$field} = [ $text, $self->_value($field, $text) ];
    }
    $set->[2] = $how;
    return !!1;
}

sub ttl {
    my ($self, $name) = @_;
    Carp::croak('ttl takes a key') if @_ != 2;
    my $field = key($name);
    my $batch = $self->{batch};
    my $left;
    if (my $set = $batch && $batch->{set}{$field}) {
        $left = $set->[2] // '';
        return undef                            if $left eq 'n';                                                ## no critic (never)
        return ($left || undef) && $left / 1000 if $left ne 'k' && ($left ||= $self->_ask('default')) ne 'k';
    } elsif ($batch && ($batch->{cleared} || $batch->{gone}{$field})) {
        return -1;
    }
    $left = $self->_ask('ttl', $field);
    return $left eq '' ? undef : $left < 0 ? -1 : $left / 1000;
}

sub _ask {
    my ($self, @what) = @_;
    Carp::croak($self->_what . ' was removed') if $self->{removed};
    my $ask   = sub { $self->{conn}->script('elements', $self->{key}, $self->_held_kind, @what) };
    my $reply = $ask->();
    $reply = $self->_after_turn('f', $ask) if !ref $reply && $reply eq 'BUSY';
    $self->_refused($reply) if !ref $reply;
    return $reply->[1];
}

# What a hash is set to does not come and go with a change.
sub _refuse_in_change {
    my ($self, $what) = @_;
    Carp::croak("A change of this variable is open: $what cannot be part of it") if $self->{batch};
    return;
}

sub expire {
    my ($self, $seconds) = @_;
    Carp::croak('expire takes a number of seconds') if @_ != 2;
    my $how = IPC::Shm::_from_callers_line(sub { _how($seconds) });
    Carp::croak('Elements that expire at once cannot be stored') if $how eq '0';
    $self->_refuse_in_change('expire');
    $self->_alter('elements', 'expire', $how eq 'n' ? '' : $how);
    return;
}

sub limit {
    my ($self, $elements) = @_;
    Carp::croak('limit takes a number of elements') if @_ != 2;
    Carp::croak("A limit must be a number of elements from 1 on, or undef, not '$elements'")
        if defined $elements && $elements !~ /\A[1-9][0-9]{0,14}\z/;
    $self->_refuse_in_change('limit');
    $self->_alter('elements', 'limit', $elements // '');
    return;
}

sub sweep {
    my ($self) = @_;
    Carp::croak('sweep takes no arguments') if @_ != 1;
    my ($freed, $some) = (0);
    do { $freed += $some = $self->_alter('elements', 'sweep')->[1] } while $some;
    return $freed;
}

1;

__END__

=encoding utf8

=head1 NAME

IPC::Shm::Engine::Redis::Hash - a shared hash on Redis

=head1 DESCRIPTION

The methods that perl calls (L<perltie>), and those of L<IPC::Shm::Engine>.

=head2 key, decode_key, packed

Those of L<IPC::Shm::Engine::Redis::Value>.

=head2 store, expire, touch, ttl, sweep, limit

Elements that expire, and hashes with a limit: see L<IPC::Shm/ELEMENTS AND QUEUES>.

=head2 add, all

See L<IPC::Shm::Engine>.

=head1 SEE ALSO

L<IPC::Shm::Engine::Redis>

=cut
