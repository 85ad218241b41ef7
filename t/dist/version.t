# One version for the distribution and all its modules, and programs that name an
# older one, as they do for modules of these names elsewhere, load it.
use strict;
use warnings;
use ExtUtils::MakeMaker ();
use File::Find          qw(find);
use Test::More;
use Data::Pool::Shared 0.03;
use IPC::Shm 0.35;

my %version;
find({ no_chdir => 1, wanted => sub { $version{$_} = MM->parse_version($_) if /\.pm\z/ } }, 'lib');
ok keys %version > 5, 'there are modules';
is $version{$_},                            $Data::Pool::Shared::VERSION, $_         for sort keys %version;
is "Data::Pool::Shared::$_"->VERSION(0.03), $Data::Pool::Shared::VERSION, "class $_" for qw(I64 I32 F64 Str);
for my $class (map {"Data::Pool::Shared::$_"} qw(I64 I32 F64 Str)) {
    is system($^X, (map {"-I$_"} grep { !ref } @INC),
        '-we', "use $class 0.03; exit !$class->new(undef, 2" . ($class =~ /Str/ ? ', 8)' : ')')),
        0,
        "use $class loads";
}
ok !eval { Data::Pool::Shared->VERSION(99); 1 }, 'one from the future does not';

open my $changes, '<', 'Changes' or die "Changes: $!";
is((grep {defined} map {/^(\d\S+)  \d{4}-/} <$changes>)[0], $Data::Pool::Shared::VERSION, 'and it is the newest in Changes');

done_testing;
