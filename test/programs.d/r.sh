# shellcheck shell=bash disable=SC2034
# SPDX-License-Identifier: GPL-2.0-or-later
packages=r-base-core
version='R --version'

prepare() {
	cat >work.R <<'END'
library(parallel)
set.seed(7)
m <- matrix(sample(0:250, 90000, TRUE), 300)
for (unit in 1:50) {
	m <- (m %*% t(m) + unit) %% 251
	parts <- unlist(mclapply(1:2, function(n) sum(sort(m[n, ] * unit) * 1:300), mc.cores = 2))
	x <- rnorm(200000); y <- 2 * x + rnorm(200000)
	cat(unit, sum(m), parts, format(coef(lm(y ~ x)), digits = 12), "\n")
	Sys.sleep(0.2)
}
END
}

work() { Rscript --vanilla ../work.R; }
