package IPC::Shm::Engine::Redis::Value;
use strict;
use warnings;
use B ();

our $VERSION = '1.000';

# How values and keys are written in Redis. A value is an integer as it is, or one
# letter and what follows:
#
#   u  undef            t f  true, false             d  a double, 8 bytes
#   b  bytes            c    characters, UTF-8       r  a reference: ID:type:class
#
# A key of a hash is `=` and bytes, or `~` and characters that are no bytes.

use constant HAS_BOOL => $] >= 5.036;

sub encode {
    my ($value) = @_;
    return 'u'                        if !defined $value;
    return _encode_characters($value) if utf8::is_utf8($value);
    no warnings;                                # `^` of two texts is a text, else a number
    my $bits = (my $copy = $value) ^ $value;    # which makes integers of its operands
    return "b$value" if $bits ne '0';
    $value = $_[0];
    if (HAS_BOOL && is_bool($value)) { return $value ? 't' : 'f' }
    my $flags = B::svref_2object(\$value)->FLAGS;
    return "b$value" if $flags & B::SVf_POK && ($value ne '' || !($flags & (B::SVf_IOK | B::SVf_NOK)));
    return 'f'       if $value eq '';
    return "$value"  if $value =~ /\A(?:-?[1-9][0-9]{0,19}|0)\z/ && !_is_minus_zero($value);
    return 'd' . pack 'd<', $value;
}

sub _is_minus_zero { my ($value) = @_; return $value == 0 && pack('d>', $value) eq "\x80\0\0\0\0\0\0\0" }

sub _encode_characters {
    my ($text) = @_;
    utf8::encode($text);
    return "c$text";
}

# A reference is decoded by the variable it was found in.
sub decode {
    my ($text) = @_;
    my $kind = ord $text;
    return substr $text, 1 if $kind == 98;    # b
    return 0 + $text if $kind < 58;           # a digit, or -
    if ($kind == 99) { my $value = substr $text, 1; utf8::decode($value); utf8::upgrade($value); return $value }
    return undef if $kind == 117;             ## no critic (a value)
    return unpack 'd<', substr $text, 1 if $kind == 100;
    return !!1 if $kind == 116;
    return !!0 if $kind == 102;
    die "is damaged: a value begins with '" . substr($text, 0, 1) . "'\n";
}

sub key {
    my ($key) = @_;
    return '='     if !defined $key;
    return "=$key" if !utf8::is_utf8($key);
    return "=$key" if utf8::downgrade($key, 1);
    utf8::encode($key);
    return "~$key";
}

sub decode_key {
    my ($text) = @_;
    my $key    = substr $text, 1;
    utf8::decode($key) if ord $text == 126;
    return $key;
}

# Texts as one argument for a script (MessagePack), undef for those that are not there. The server's client
# handles each argument by itself, which is slow; xs/whole.c does the same for whole lists.
sub packed {
    my (@texts) = @_;
    return pack('CN', 0xdd, scalar @texts) . join '', map { defined $_ ? pack('CN/a*', 0xdb, $_) : "\xc0" } @texts;
}

1;

__END__

=encoding utf8

=head1 NAME

IPC::Shm::Engine::Redis::Value - how values and keys are written in Redis

=head1 DESCRIPTION

All of them are functions. References are the affair of the variable.

=head2 encode, decode

    my $bytes = encode($value);
    my $value = decode($bytes);

From a value to the bytes that are stored, and back. C<decode> dies if the bytes are none that C<encode> makes.

=head2 key, decode_key

    my $field = key($key);
    my $key   = decode_key($field);

Likewise, for a key of a hash; C<undef> is the empty key.

=head2 packed

    my $bytes = packed(@texts);

Texts as one argument for a script: a MessagePack array, with nil for C<undef>.

=head2 is_bool, HAS_BOOL

C<HAS_BOOL> is true if this perl tells truth values from others; then C<is_bool($value)> is true for such a value.

=head1 SEE ALSO

L<IPC::Shm::Engine::Redis>

=cut
