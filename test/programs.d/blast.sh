# shellcheck shell=bash disable=SC2034
# SPDX-License-Identifier: GPL-2.0-or-later
packages='ncbi-blast+ perl'
version='blastp -version'

prepare() {
	perl -e '$x = 9; sub r { $x = ($x * 1103515245 + 12345) & 0x7fffffff; ($x >> 8) % $_[0] }
		@a = split //, "ACDEFGHIKLMNPQRSTVWY"; open D, ">db.fa"; open Q, ">q.fa";
		for $n (1 .. 20000) { $s = join "", map $a[r(20)], 1 .. 300; print D ">s$n\n$s\n";
		next if $n % 300; substr($s, r(290), 1) = $a[r(20)] for 1 .. 60; print Q ">q$n\n$s\n" }'
	makeblastdb -in db.fa -dbtype prot -out db >/dev/null
}

work() { blastp -db ../db -query ../q.fa -num_threads 2 -outfmt 6 -evalue 10 -out hits; }
