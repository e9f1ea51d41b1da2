# shellcheck shell=bash disable=SC2034
# SPDX-License-Identifier: GPL-2.0-or-later
# Sort keeps what does not fit into its memory in files that are closed between
# two passes: -T a directory that all nodes see.
packages='coreutils bsdextrautils tar zstd'
version='sort --version'

prepare() {
	mkdir -p tree
	for i in $(seq 60); do seq "$i" 7 900000 | rev >tree/"$i"; done
}

work() {
	seq 5000000 | rev | LC_ALL=C sort -S 24M -T . --parallel=2 | tee >(sha256sum >sorted.sum) |
		tr 1-5 6-9a | LC_ALL=C sort -r -S 24M -T . | uniq -c | sha256sum
	tar -C .. --sort=name --mtime=@0 -cf - tree | zstd -T2 -12 | tee >(wc -c >packed.size) |
		zstd -d | tar -xOf - | sha256sum
}
