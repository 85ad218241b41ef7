package Data::Pool::Shared::Tool::Screen;

use 5.022;
use strict;
use warnings;
use Config ();
use POSIX  ();

our $VERSION = '1.000';

# The ioctl that asks for the size of a terminal has two numbers in the world.
my $TIOCGWINSZ = $Config::Config{archname} =~ /^(?:mips|ppc|powerpc|sparc|alpha)/ ? 0x40087468 : 0x5413;

# Colours are the sixteen that every terminal has, in the user's own shades. Red
# is for what is stale.
my %STYLE  = (title => '1', dim => '2', stale => '1;31', plain => '', heading => '1');
my @OWNERS = qw(32 34 33 35 36 92 94 93 95 96);
$STYLE{"owner$_"} = $OWNERS[$_] for 0 .. $#OWNERS;

sub owner_styles { return scalar @OWNERS }

sub new {
    my ($class) = @_;
    my $colour = !length($ENV{NO_COLOR} // '');
    return bless { colour => $colour, started => 0, frame => [], size => '' }, $class;
}

# Take the terminal: keys come one by one and unseen, the view has a screen of
# its own, so that what was there before comes back at the end.
sub start {
    my ($self) = @_;
    my $terminal = POSIX::Termios->new;
    $terminal->getattr(0);
    $self->{lflag}   = $terminal->getlflag;
    $self->{started} = 1;
    $terminal->setlflag($self->{lflag} & ~(POSIX::ECHO() | POSIX::ICANON()));
    $terminal->setattr(0, POSIX::TCSANOW());
    $self->_write("\e[?1049h\e[?25l");
    $self->{size} = '';    # draw all anew
    return;
}

sub stop {
    my ($self) = @_;
    return if !$self->{started};
    $self->{started} = 0;
    $self->_write("\e[0m\e[?25h\e[?1049l");
    my $terminal = POSIX::Termios->new;
    $terminal->getattr(0);
    $terminal->setlflag($self->{lflag});
    $terminal->setattr(0, POSIX::TCSADRAIN());
    return;
}

sub DESTROY { my ($self) = @_; $self->stop; return }

sub size {
    my $answer = "\0" x 8;
    my ($rows, $columns) = ioctl(STDOUT, $TIOCGWINSZ, $answer) ? unpack 'S2', $answer : (0, 0);
    return ($rows || 24, $columns || 80);
}

# Draw lines, each an array of text and style in turn. Only those that differ
# from what is there are sent.
sub draw {
    my ($self, @lines)   = @_;
    my ($rows, $columns) = size();
    my $out = '';
    if ($self->{size} ne "$rows $columns") {
        $self->{size}  = "$rows $columns";
        $self->{frame} = [];
        $out           = "\e[0m\e[2J";
    }
    for my $row (0 .. $rows - 1) {
        my $text = $self->_painted($columns, @{ $lines[$row] // [] });
        next if $text eq ($self->{frame}[$row] // '');
        $self->{frame}[$row] = $text;
        $out .= sprintf "\e[%d;1H%s\e[K", $row + 1, $text;
    }
    $self->_write($out);
    return;
}

sub _painted {
    my ($self, $columns, @line) = @_;
    my $text = '';
    while (@line && $columns > 0) {
        my ($part, $style) = splice @line, 0, 2;
        $part = substr $part, 0, $columns;
        $columns -= length $part;
        my $code = $self->{colour} ? $STYLE{$style} : '';
        $text .= length $code ? "\e[${code}m$part\e[0m" : $part;
    }
    return $text;
}

sub _write {
    my ($self, $text) = @_;
    utf8::encode($text);
    while (length $text) {
        my $wrote = POSIX::write(1, $text, length $text);
        if    (defined $wrote) { substr($text, 0, $wrote) = '' }
        elsif (!$!{EINTR})     { die "cannot write to the terminal: $!\n" if $self->{started}; return }
    }
    return;
}

# A key that was pressed within so many seconds; undef: none, or a signal came;
# '': there is no terminal any more.
sub key {
    my ($self, $seconds) = @_;
    my $readable = '';
    vec($readable, 0, 1) = 1;
    return undef if select($readable, undef, undef, $seconds > 0 ? $seconds : 0) <= 0;
    my $got = POSIX::read(0, my $key, 1);
    return $got ? $key : $!{EINTR} ? undef : '';
}

1;

__END__

=encoding utf8

=head1 NAME

Data::Pool::Shared::Tool::Screen - the terminal while a live view has it

=head1 SYNOPSIS

    my $screen = Data::Pool::Shared::Tool::Screen->new;
    $screen->start;
    $screen->draw([ 'a title', 'title' ], [ 'red', 'stale', ' and plain', 'plain' ]);
    my $key = $screen->key(1);
    $screen->stop;

=head1 METHODS

=head2 new, start, stop

C<start> takes over the terminal on standard input and output, and C<stop> gives it back as it was. C<stop> is
also called when the object is destroyed.

=head2 size

    my ($rows, $columns) = $screen->size;

=head2 draw

    $screen->draw(@lines);

Shows the lines from the top, cut at the right. Each is an array of text and style in turn; styles
are C<plain>, C<title>, C<heading>, C<dim>, C<stale>, and C<owner0> and so on.

=head2 owner_styles

How many styles there are for owners.

=head2 key

    my $key = $screen->key($seconds);

Waits that long for a key, and returns it; C<undef> if there was none, or a signal arrived; the empty
string if the terminal is gone.

=head1 LICENSE

This is free software; you can redistribute it and/or modify it under the same terms as
Perl itself.

=cut
