# shellcheck shell=bash disable=SC2034
# SPDX-License-Identifier: GPL-2.0-or-later
packages=octave
version='octave-cli --version'

prepare() {
	cat >work.m <<'END'
rand ("twister", 7);
m = floor (rand (300) * 251);
for unit = 1:60
  m = mod (m * m' + unit, 251);
  s = cellfun (@(v) sum (sort (v)), num2cell (m, 1));
  printf ("%d %d %d %.15g\n", unit, sum (m(:)), mod (sum (s .* (1:300)), 99991), norm (m));
  fflush (stdout);
  pause (0.3);
end
END
}

work() { HOME=$PWD/.. octave-cli --no-history ../work.m; }
