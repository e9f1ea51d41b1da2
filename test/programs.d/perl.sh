# shellcheck shell=bash disable=SC2034
# SPDX-License-Identifier: GPL-2.0-or-later
packages=perl
version='perl -e "print \$^V"'

prepare() {
	cat >work.pl <<'END'
use strict; use warnings; use Digest::SHA qw(sha256_hex);
$| = 1;
# A child that answers through pipes, and hashes that grow.
pipe(my $qr, my $qw); pipe(my $ar, my $aw);
my $pid = fork // die;
if (!$pid) {
	close $qw; close $ar; select $aw; $| = 1;
	my %seen;
	while (<$qr>) { chomp; $seen{$_ % 9973} .= $_; print sha256_hex($seen{$_ % 9973}), "\n"; }
	exit 0;
}
close $qr; close $aw; select((select($qw), $| = 1)[0]);
my (%words, $x); $x = 1;
for my $unit (1 .. 60) {
	for (1 .. 8000) {
		$x = ($x * 1103515245 + 12345) & 0x7fffffff;
		print $qw "$x\n";
		chomp(my $answer = <$ar>);
		$words{$1}++ while $answer =~ /([a-f]+)/g;
	}
	print "$unit ", sha256_hex(join ",", map "$_=$words{$_}", sort keys %words), "\n";
}
close $qw; waitpid $pid, 0;
print "child ended with $?\n";
END
}

work() { perl ../work.pl; }
