# shellcheck shell=bash disable=SC2034
# SPDX-License-Identifier: GPL-2.0-or-later
packages='make g++'
version='make --version'

prepare() {
	for i in $(seq 40); do
		printf '#include <vector>\n#include <map>\n#include <string>\nstd::map<std::string, std::vector<int>> m%d;\nint f%d(int n) { m%d["x"].push_back(n); return m%d["x"].size() + %d; }\n' "$i" "$i" "$i" "$i" "$i" >f"$i".cc
	done
	{
		seq -f 'int f%g(int);' 40
		echo '#include <cstdio>'
		echo 'int main() { int s = 0;'
		seq -f 's += f%g(s);' 40
		echo 'printf("%d\n", s); }'
	} >main.cc
	cat >Makefile <<'END'
prog: $(patsubst ../%.cc,%.o,$(wildcard ../*.cc))
	g++ -o $@ $(sort $^)
%.o: ../%.cc
	g++ -O1 -c -o $@ $<
END
}

# Which of two recipes is said first is not decided.
work() { make -f ../Makefile -j 4 --no-print-directory | sort && ./prog; }
