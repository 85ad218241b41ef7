package Data::Pool::Shared::Tool::Variables;

use 5.022;
use strict;
use warnings;
use Data::Dumper ();
use JSON::PP     ();
use POSIX        ();
use Scalar::Util qw(blessed);
use Data::Pool::Shared;
use IPC::Shm ();
use Data::Pool::Shared::Tool::Owners;
use Data::Pool::Shared::Tool::Plain;
use Data::Pool::Shared::Tool::Text qw(bytes counted json_text one_line path_text printable print_table quoted);

our $VERSION = '1.000';

my $PATIENCE = 10;    # seconds to wait for somebody's lock
my $FORMAT   = 4;     # of the namespaces that this version makes

# ---- names and places

# The namespace that the user means. It must exist: nobody wants one made by looking. With
# `old`, its format may be another one.
sub _namespace {
    my ($options, $given, $old) = @_;
    $given //= $options->{namespace};
    IPC::Shm->import(namespace => $given) if defined $given;
    my $namespace = IPC::Shm->namespace;
    $IPC::Shm::ATTACH_ONLY = 1;
    return $namespace if IPC::Shm::Engine::is_url($namespace);    # on another host: there is no file to look at
    if (!-e "$namespace/namespace") {
        die "cannot open namespace $namespace: $!\n" if !$!{ENOENT} && !$!{ENOTDIR};
        die -e $namespace ? "$namespace is not a namespace\n" : "there is no namespace $namespace\n";
    }
    my $format = format_of($namespace);
    die "$namespace is a namespace of another version (format $format); shmpool cleanup removes it\n"
        if !$old && defined $format && $format != $FORMAT;
    return $namespace;
}

# The version of the format of a namespace, by the first bytes of its file; undef: it is not one.
sub format_of {
    my ($namespace) = @_;
    open my $file, '<:raw', "$namespace/namespace" or return undef;
    my $length = read $file, my $head, 12;
    return undef if !$length || $length < 12;
    my ($magic, $version) = unpack 'a8 L', $head;
    return $version if $magic =~ /\AISHMBLE/;
    return 1        if $magic eq 'LSDPOOL1' && -e "$namespace/vars.0";
    return undef;
}

# A variable's full name, and its sigil. A plain word is the name of a variable apart from packages
# if there is one; otherwise it stands for a variable of package main.
sub _full_name {
    my ($name) = @_;
    utf8::decode($name);
    my ($sigil, $bare) = $name =~ /\A([\$\@%])([^\W\d]\w*(?:(?:\.|::|-)\w+)*)\z/
        or die "\"$name\" is not the name of a variable, such as '%main::config' (quote it for the shell)\n";
    return ($bare =~ /\W/ || exists $IPC::Shm::NAMEVARS{$name} ? $name : "${sigil}main::$bare", $sigil);
}

sub _existing {
    my ($name) = @_;
    return $IPC::Shm::NAMEVARS{$name} // die "there is no variable $name\n";
}

sub _tied {
    my ($reference) = @_;
    return ref $reference eq 'HASH' ? tied %$reference : ref $reference eq 'ARRAY' ? tied @$reference : tied $$reference;
}

sub _lock {
    my ($reference, $kind, $name, $wait) = @_;
    $wait //= $PATIENCE;
    die "the seconds to wait must not be negative\n" if !($wait >= 0);
    return _tied($reference)->lock_guard($kind, $wait) // die "$name is locked by ", _holder($name), ": gave up after $wait seconds\n";
}

# Who has a lock on the variable, as far as can be told.
sub _holder {
    my ($name)     = @_;
    my ($variable) = grep { defined $_->{name} && $_->{name} eq $name } IPC::Shm->list;
    my ($pid)      = $variable ? grep {defined} $variable->{writer}, @{ $variable->{readers} } : ();
    return 'another process' if !defined $pid;
    my $command = Data::Pool::Shared::Tool::Owners::command_of($pid);
    return "process $pid" . (defined $command ? ' (' . printable($command) . ')' : '');
}

# ---- vars

sub vars {
    my ($options, $given) = @_;
    my $namespace = _namespace($options, $given);
    my @variables = map {
        { %$_, attached => _others(@{ $_->{attached} }) }
    } IPC::Shm->list;
    @variables = sort { ($a->{name} // '~') cmp($b->{name} // '~') || $a->{type} cmp $b->{type} } @variables;
    my $stats = IPC::Shm->stats;
    return print json_text({ %$stats, namespace => path_text($namespace), list => \@variables }) if $options->{json};
    return _vars_text(path_text($namespace), $stats, $options->{all} ? @variables : _grouped(@variables));
}

# Without this process: it uses no variable, but whoever started it may have been
# attached to some.
sub _others {
    my @pids = @_;
    no warnings 'numeric';    # on another host it is host:PID
    return [ sort { $a <=> $b || $a cmp $b } grep { $_ ne $$ } @pids ];
}

# Those without a name are one line a type.
sub _grouped {
    my @variables = @_;
    my (@named, %group);
    for my $variable (@variables) {
        if (defined $variable->{name}) { push @named, $variable; next }
        my $group = $group{ $variable->{type} } //=
            { type => $variable->{type}, count => 0, elements => 0, bytes => 0, serial => '-', readers => [], locked => 0, pids => {} };
        $group->{count}++;
        $group->{$_} += $variable->{$_} for qw(elements bytes);
        $group->{locked}++ if $variable->{writer} || @{ $variable->{readers} };
        $group->{pids}{$_} = 1 for @{ $variable->{attached} };
    }
    for my $type (sort keys %group) {
        my $group = $group{$type};
        push @named, { %$group, label => "($group->{count} anonymous)", attached => _others(keys %{ $group->{pids} }) };
    }
    return @named;
}

sub _vars_text {
    my ($namespace, $stats, @variables) = @_;
    my @rows = map {
        [
            $_->{label} // (defined $_->{name} ? printable($_->{name}) : '(anonymous)'),
            lc $_->{type},
            @$_{qw(elements bytes serial)},
            _lock_text($_), join(',', @{ $_->{attached} }) || '-'
        ]
    } @variables;
    printf "%s: %s, %s used\n", printable($namespace), counted($stats->{variables}, 'variable'), bytes($stats->{bytes_used});
    print_table([ 'NAME', 'TYPE', '>ELEMENTS', '>BYTES', '>SERIAL', 'LOCK', 'PROCESSES' ], sub { shift @rows }) if @rows;
    return;
}

sub _lock_text {
    my ($variable) = @_;
    return "$variable->{locked} locked" if $variable->{locked};
    return "write $variable->{writer}"  if $variable->{writer};
    return @{ $variable->{readers} } ? 'read ' . join(',', @{ $variable->{readers} }) : '-';
}

# ---- dump, set, rm

sub dump {
    my ($options, $given) = @_;
    _namespace($options);
    my ($name)    = _full_name($given);
    my $reference = _existing($name);
    my $locked    = _lock($reference, 'read', $name, $options->{wait});
    if ($options->{perl}) { print _perl_text($name, $reference) }
    else                  { print json_text(Data::Pool::Shared::Tool::Plain::for_json($reference)) }
    return;
}

# A program that makes the variable again, with what its parts have in common. Perl's own names
# have no dots and hyphens. Useperl: Data::Dumper's C has no names and classes outside ASCII.
sub _perl_text {
    my ($name, $reference) = @_;
    my $copy = Data::Pool::Shared::Tool::Plain::copy($reference);
    $name =~ tr/.-/__/;
    my @dumped = $name =~ /^\$(.*)/ ? ([$$copy], [$1]) : ([$copy], [ $name =~ s/^./*/r ]);
    my $text   = Data::Dumper->new(@dumped)->Indent(1)->Sortkeys(1)->Useqq(1)->Useperl(1)->Purity(1)->Dump;
    $text .= "bless \\$name, " . quoted(blessed $reference) =~ s/\@/\\\@/gr . ";\n" if blessed $reference;
    return $text =~ /[^\x00-\x7f]/ ? "use utf8;\n$text" : $text;
}

# The variable is made if need be.
sub set {
    my ($options, $given, $json) = @_;
    _namespace($options);
    my ($name, $sigil) = _full_name($given);
    my $data = _decode($json eq '-' ? do { local $/; readline(STDIN) // '' } : $json);
    my $type = $sigil eq '%' ? 'HASH' : $sigil eq '@' ? 'ARRAY' : '';
    die "$name takes a JSON " . ($type eq 'HASH' ? 'object' : 'array') . "\n" if $type && ref $data ne $type;

    my $reference = IPC::Shm::_declared($name)->_reference;
    my $locked    = _lock($reference, 'write', $name, $options->{wait});
    if    ($type eq 'HASH')  { %$reference = %$data }
    elsif ($type eq 'ARRAY') { @$reference = @$data }
    else                     { $$reference = $data }
    print json_text({ name => $name }) if $options->{json};
    return;
}

sub _decode {
    my ($json) = @_;
    my $data = eval { [ JSON::PP->new->utf8->allow_nonref->decode($json) ] } or die 'not JSON: ' . one_line($@) . "\n";
    return Data::Pool::Shared::Tool::Plain::from_json($data->[0]);
}

sub rm {
    my ($options, @given) = @_;
    _namespace($options);
    my @names = map { (_full_name($_))[0] } @given;
    my (@removed, @wrong);
    for my $name (@names) {
        if (eval { _remove($name, $options->{wait}) }) {
            push @removed, $name;
        } else {
            push @wrong, one_line($@);
        }
    }
    print json_text({ removed => \@removed }) if $options->{json};
    die join('; ', @wrong), "\n" if @wrong;
    return;
}

sub _remove {
    my ($name, $wait) = @_;
    my $reference = _existing($name);
    my $locked    = _lock($reference, 'write', $name, $wait);
    return _tied($reference)->remove;
}

# ---- gc, cleanup

sub gc {
    my ($options) = @_;
    my $namespace = _namespace($options, undef, 1);
    return _gc_old($options, $namespace) if _is_old($namespace);
    my $before    = IPC::Shm->stats;
    my $freed     = IPC::Shm->recover;
    my $after     = IPC::Shm->stats;
    my $variables = $before->{variables} - $after->{variables};
    $freed = $variables if $freed < $variables;    # what others led to went with them
    my %result = (namespace => path_text($namespace), freed => $freed, variables => $variables > 0 ? $variables : 0);
    print $options->{json}
        ? json_text(\%result)
        : _freed_text($freed, $result{variables});
    return;
}

sub _freed_text {
    my ($freed, $variables) = @_;
    return "nothing to free\n" if !$freed;
    return counted($freed, 'item') . ' freed' . ($variables ? ', including ' . counted($variables, 'variable') : '') . "\n";
}

sub cleanup {
    my ($options) = @_;
    my $namespace = _namespace($options, undef, 1);
    return _cleanup_old($options, $namespace) if _is_old($namespace);
    my $count   = IPC::Shm->stats->{variables};
    my $removed = $options->{yes} || _is_meant(_remove_question($count) . " of $namespace?");
    IPC::Shm->cleanup if $removed;
    if ($options->{json}) { print json_text({ namespace => path_text($namespace), removed => $removed ? $count + 0 : 0 }) }
    else                  { print $removed ? counted($count, 'variable') . " removed\n" : "nothing was removed\n" }
    return;
}

sub _remove_question { my ($count) = @_; return $count == 1 ? 'Remove the only variable' : "Remove all $count variables" }

# ---- namespaces of another version

# The files that any version makes.
my $OLD_FILE = qr/\A(?:namespace|(?:vars|blocks|names|attach)\.\d+|processes\.[0-9a-f]{16}|draft\.[0-9a-f.]+)\z/;

sub _is_old {
    my ($namespace) = @_;
    return 0 if IPC::Shm::Engine::is_url($namespace);
    my $format = format_of($namespace);
    return defined $format && $format != $FORMAT;
}

# Nothing can be freed in it: it goes as a whole, if no process has it mapped any more.
sub _gc_old {
    my ($options, $namespace) = @_;
    if (my ($pid) = _who_maps($namespace)) {
        die "$namespace is a namespace of another version (format ", format_of($namespace), "), and process $pid uses it: left alone\n";
    }
    return _remove_old($options, $namespace);
}

sub _cleanup_old {
    my ($options, $namespace) = @_;
    my $meant = $options->{yes} || _is_meant("Remove $namespace, which is of another version (format " . format_of($namespace) . ')?');
    return _remove_old($options, $namespace) if $meant;
    print $options->{json} ? json_text({ namespace => path_text($namespace), removed => 0 }) : "nothing was removed\n";
    return;
}

# The file `namespace` goes last: what is left if we die is still one.
sub _remove_old {
    my ($options, $namespace) = @_;
    my $format = format_of($namespace);
    opendir my $dir, $namespace or die "cannot open $namespace: $!\n";
    my @files = sort { ($a eq 'namespace') <=> ($b eq 'namespace') } grep {/$OLD_FILE/} readdir $dir;
    for my $file (map {"$namespace/$_"} @files) {
        unlink $file or $!{ENOENT} or die "cannot remove $file: $!\n";
    }
    rmdir $namespace;    # unless there is more in it
    print $options->{json}
        ? json_text({ namespace => path_text($namespace), removed => JSON::PP::true, format_version => $format + 0 })
        : 'removed ' . printable(path_text($namespace)) . ", a namespace of another version (format $format)\n";
    return;
}

# Processes that have a file of it mapped, as far as this user may see.
sub _who_maps {
    my ($namespace) = @_;
    my @pids;
    for my $maps (glob '/proc/[0-9]*/maps') {
        open my $file, '<', $maps or next;
        push @pids, $maps =~ /(\d+)/ if grep {/ \Q$namespace\E\/[\w.]+$/} readline $file;
    }
    return @pids;
}

sub _is_meant {
    my ($question) = @_;
    die "cleanup removes everything: add --yes (there is no terminal to ask on)\n" if !POSIX::isatty(0);
    print STDERR "$question [y/N] ";
    return (readline(STDIN) // '') =~ /^y/i;
}

1;

__END__

=encoding utf8

=head1 NAME

Data::Pool::Shared::Tool::Variables - shmpool's commands for the variables of IPC::Shm

=head1 SYNOPSIS

    use Data::Pool::Shared::Tool::Variables;
    Data::Pool::Shared::Tool::Variables::dump({ perl => 1 }, '%main::config');

=head1 FUNCTIONS

Each prints to standard output or dies. None creates a namespace.

=head2 vars, dump, set, rm, gc, cleanup

    vars(\%options, $namespace);
    dump(\%options, $name);
    set(\%options, $name, $json);
    rm(\%options, @names);
    gc(\%options);
    cleanup(\%options);

The commands of the same name of L<shmpool>, with its options.

=head2 format_of

    my $version = format_of($directory);

The version of the format of a namespace; C<undef> if the directory is not a namespace.

=head1 LICENSE

This is free software; you can redistribute it and/or modify it under the same terms as
Perl itself.

=cut
