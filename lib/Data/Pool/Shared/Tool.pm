package Data::Pool::Shared::Tool;

use 5.022;
use strict;
use warnings;
use Getopt::Long ();
use Data::Pool::Shared;
use Data::Pool::Shared::Tool::Text qw(one_line use_locale);

our $VERSION = '1.000';

# What the user may ask for: the module that does it (a function of the same
# name), what it takes, and its options beside --json and --help.
my $POOLS     = __PACKAGE__ . '::Pools';
my $WATCH     = __PACKAGE__ . '::Watch';
my $VARIABLES = __PACKAGE__ . '::Variables';
my %COMMANDS  = (
    pools   => [ $POOLS,     '[DIR...]' ],
    info    => [ $POOLS,     'FILE...' ],
    slots   => [ $POOLS,     'FILE' ],
    recover => [ $POOLS,     'FILE',        'dry-run',     'namespace-gone' ],
    watch   => [ $WATCH,     'FILE',        'interval=f',  'count=i' ],
    vars    => [ $VARIABLES, '[NAMESPACE]', 'namespace=s', 'all' ],
    dump    => [ $VARIABLES, 'VAR',         'namespace=s', 'wait=f', 'perl' ],
    set     => [ $VARIABLES, 'VAR JSON',    'namespace=s', 'wait=f' ],
    rm      => [ $VARIABLES, 'VAR...',      'namespace=s', 'wait=f' ],
    gc      => [ $VARIABLES, '',            'namespace=s' ],
    cleanup => [ $VARIABLES, '',            'namespace=s', 'yes' ],
    help    => [ undef,      '[COMMAND]' ],
);

sub commands { return \%COMMANDS }

# The whole program: returns its exit status.
sub run {
    my ($class, @words) = @_;
    my $ok = eval {
        local $SIG{BUS} = sub { die "a file has lost its end while it was read\n" };    # perl calls it at once
        use_locale();
        _command(@words);
        close STDOUT or die "cannot write the output: $!\n";
        1;
    };
    return 0 if $ok;
    print STDERR 'shmpool: ', one_line($@), "\n";
    return 2;
}

sub _command {
    my @words = @_;
    my $name  = @words && $words[0] !~ /^-/ ? shift @words : undef;
    if (defined $name && $name eq 'help' && @words == 1 && $words[0] !~ /^-/) { ($name, @words) = ($words[0], '--help') }
    die "there is no command \"$name\" (see shmpool --help)\n" if defined $name && !$COMMANDS{$name};

    my ($module, $takes, @specs) = defined $name ? @{ $COMMANDS{$name} } : (undef, '', 'version');
    _hide_numbers(\@words) if $takes =~ /JSON/;
    my $options = eval { _options(\@words, 'help|h', 'json', @specs) } or die defined $name ? $@ : _misplaced($@);
    return _help($name)                       if $options->{help};
    return print "shmpool $VERSION\n"         if $options->{version};
    return _help()                            if defined $name && $name eq 'help' && !@words;
    die "which command? See shmpool --help\n" if !defined $name;
    die _usage($name, $takes)                 if !_fits($takes, scalar @words);

    require $module =~ s{::}{/}gr . '.pm';
    return $module->can($name)->($options, @words);
}

sub _usage { return 'usage: ' . join(' ', 'shmpool', $_[0], '[OPTIONS]', $_[1] || ()) . "\n" }

# An option of some command that came before the command.
sub _misplaced {
    my ($wrong)  = @_;
    my ($option) = $wrong =~ /unknown option: ([\w-]+)/ or return $wrong;
    my $known    = grep {/\A\Q$option\E(?:=|\z)/} map { @$_[ 2 .. $#$_ ] } values %COMMANDS;
    return $known ? "--$option must come after the command (see shmpool --help)\n" : $wrong;
}

# Does a command that takes `FILE...` or the like take so many words?
sub _fits {
    my ($takes, $count) = @_;
    my @takes = split ' ', $takes;
    my $least = grep { !/^\[/ } @takes;
    return $count >= $least && ($count <= @takes || $takes =~ /\.\.\.\]?$/);
}

# A negative number is JSON and no option, unless it follows one. JSON may begin
# with a blank, an option does not.
sub _hide_numbers {
    my ($words) = @_;
    for my $i (1 .. $#$words) { $words->[$i] =~ s/^-(?=\d)/ -/ if $words->[ $i - 1 ] !~ /^-/ }
    return;
}

sub _options {
    my ($words, @specs) = @_;
    my (%options, @wrong);
    my $parser = Getopt::Long::Parser->new(config => [qw(gnu_getopt no_auto_abbrev)]);
    local $SIG{__WARN__} = sub { push @wrong, lcfirst $_[0] };
    $parser->getoptionsfromarray($words, \%options, @specs) or die $wrong[0];
    return \%options;
}

# The manual is the POD of the program.
sub _help {
    my ($name) = @_;
    require Pod::Usage;
    my $sections = defined $name ? "COMMANDS/$name" : [qw(SYNOPSIS OPTIONS)];
    return Pod::Usage::pod2usage(-input => $0, -verbose => 99, -sections => $sections, -output => \*STDOUT, -exitval => 'NOEXIT');
}

1;

__END__

=encoding utf8

=head1 NAME

Data::Pool::Shared::Tool - the program shmpool

=head1 SYNOPSIS

    use Data::Pool::Shared::Tool;
    exit Data::Pool::Shared::Tool->run(@ARGV);

=head1 DESCRIPTION

Reads the command line of L<shmpool>, calls the function that does the work, and turns
exceptions into one line on standard error. The work is done in the modules below this
one, one subject each: C<Pools> (pools, info, slots, recover), C<Watch> (the live view, of a
C<Sample> drawn as a C<Map> on a C<Screen>), C<Owners> (what is known of a process),
C<Variables> (those of L<IPC::Shm>, as C<Plain> data), and C<Text> (how numbers, times and
values look).

=head2 run

    my $status = Data::Pool::Shared::Tool->run(@words);

Does what the words say. Returns the exit status: 0, or 2 after an error.

=head2 commands

A reference to the hash of commands by name.

=head1 LICENSE

This is free software; you can redistribute it and/or modify it under the same terms as
Perl itself.

=cut
