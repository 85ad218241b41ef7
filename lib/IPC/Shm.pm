package IPC::Shm;
use 5.022;
use strict;
use warnings;
use Carp ();
use Data::Pool::Shared ();
use IPC::Shm::Attribute;
use IPC::Shm::Names;
use IPC::Shm::Tied;

our $VERSION = $Data::Pool::Shared::VERSION;

IPC::Shm::_boot(__PACKAGE__);
IPC::Shm::Attribute->install;
tie our %NAMEVARS, 'IPC::Shm::Names';    ## no critic (the documented name)

my %type_of = ('$' => 1, '@' => 2, '%' => 3);
my $namespace;                           # as given by `use IPC::Shm namespace =>`
my $in_use;                              # where the first variable went

sub import {
    my ($class, %option) = @_;
    my $caller = caller;
    for my $name (sort keys %option) { Carp::croak("Unknown option '$name' of $class") if $name ne 'namespace' }
    _set_namespace($option{namespace}) if exists $option{namespace};
    IPC::Shm::Attribute->install_into($caller);
    return;
}

sub _set_namespace {
    my ($dir) = @_;
    Carp::croak('namespace must be the path of a directory') unless defined $dir && length $dir && $dir !~ /\0/;
    $dir = _absolute($dir);
    Carp::croak("The namespace $in_use is in use already; it cannot become $dir") if defined $in_use && $in_use ne $dir;
    $namespace = $dir;
    return;
}

# A relative directory is the same one after a chdir.
sub _absolute {
    my ($dir) = @_;
    $dir =~ s{(?<=.)/+\z}{};
    return $dir if $dir =~ m{\A/};
    require Cwd;
    return Cwd::getcwd() . "/$dir";
}

sub namespace {
    return $in_use if defined $in_use;
    return $namespace if defined $namespace;
    my $dir = $ENV{IPC_SHM_NAMESPACE};
    return _absolute($dir) if defined $dir && length $dir;
    return "/dev/shm/ipc-shm-$>";
}

# What the functions of Shm.xs need to find or make the namespace.
sub _where {
    my $path = namespace();
    $in_use = $path;
    return ($path, $path eq "/dev/shm/ipc-shm-$>", IPC::Shm::Tied->Size, IPC::Shm::Tied->Mode);
}

# The object of a variable: a new one, or the one of that name.
sub _new {
    my ($type, $name) = @_;
    my $object = eval { _variable(_where(), $type, $name) };
    return $object if defined $object;
    (my $why = $@) =~ s/ at \S+ line \d+\.?\n\z//;
    return Carp::croak($why);
}

sub _named { my ($name) = @_; return _new($type_of{ substr $name, 0, 1 } || 0, $name) }

sub cleanup {
    my ($class) = @_;
    _cleanup(_where());
    return 1;
}

sub stats   { return _stats(_where()) }
sub list    { return _list(_where()) }
sub recover { return _recover(_where()) }

1;
