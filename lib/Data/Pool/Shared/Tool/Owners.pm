package Data::Pool::Shared::Tool::Owners;

use 5.022;
use strict;
use warnings;

our $VERSION = '1.000';

sub new {
    my ($class, $pool) = @_;
    return bless { pool => $pool, known => {} }, $class;
}

# What is known of the process that an owner word names; looked up once.
sub of {
    my ($self, $owner) = @_;
    return $self->{known}{$owner} //= _look_up($self->{pool}, $owner);
}

sub _look_up {
    my ($pool, $owner) = @_;
    my $pid   = $pool->owner_pid($owner);
    my %about = (pid => $pid, age => $pool->owner_age($owner), command => undef);
    $about{state} =
          $pid == 0                       ? 'disowned'
        : $pool->owner_is_dead($owner)    ? 'stale'
        : $pool->owner_is_unknown($owner) ? 'unknown'
        : defined $about{age}             ? 'alive'
        :                                   'elsewhere';    # another PID namespace: its PID is somebody else here
    $about{command} = command_of($pid) if $about{state} eq 'alive';
    return \%about;
}

# What a process is called; of one that perl runs, its program.
sub command_of {
    my ($pid) = @_;
    my $name = _name_of($pid);
    return $name if !defined $name || $name !~ /\A(?:debug)?perl[\d.]*\z/;
    return _script_of($pid) // $name;
}

# The program among the arguments of perl. Options of perl come before it; of those, -I and
# -M may have a word of their own, and with -e there is no file.
sub _script_of {
    my ($pid) = @_;
    open my $file, '<', "/proc/$pid/cmdline" or return undef;
    my (undef, @words) = split /\0/, readline($file) // '';
    while (defined(my $word = shift @words)) {
        return 'perl -e'                     if $word =~ /\A-[acfnpsStTuUvwWXl\d]*[eE]/;
        shift @words                         if $word =~ /\A-[IMm]\z/;
        next                                 if $word =~ /\A-./ && $word ne '--';
        $word = shift @words // return undef if $word eq '--';
        utf8::decode($word);
        return $word =~ s{.*/(?=.)}{}r;
    }
    return undef;
}

sub _name_of {
    my ($pid) = @_;
    open my $file, '<', "/proc/$pid/comm" or return undef;
    my $name = readline $file;
    return undef if !defined $name;    # it ended just now
    chomp $name;
    utf8::decode($name);               # what a program has called itself
    return $name;
}

1;

__END__

=encoding utf8

=head1 NAME

Data::Pool::Shared::Tool::Owners - what is known of the processes that hold slots

=head1 SYNOPSIS

    my $owners = Data::Pool::Shared::Tool::Owners->new($pool);
    print $owners->of($pool->owner_word($slot))->{state};

=head1 METHODS

=head2 new

    my $owners = Data::Pool::Shared::Tool::Owners->new($pool);

An empty table. Make a new one for each look at the pool: processes come and go.

=head2 of

    my $about = $owners->of($owner_word);

A hash: C<pid>; C<age> in seconds or C<undef>; C<command>, the process's name or C<undef>;
and C<state>, one of C<alive>, C<stale> (dead: recovery frees its slots), C<disowned>
(without an owner, on purpose), C<elsewhere> (in another PID namespace, which has live processes), C<unknown> (in another
PID namespace, about which nothing can be found out).

=head2 command_of

    my $name = Data::Pool::Shared::Tool::Owners::command_of($pid);

The name of a process or, if it is a Perl program, the name of the script; C<undef> if there is no such process.

=head1 LICENSE

This is free software; you can redistribute it and/or modify it under the same terms as
Perl itself.

=cut
