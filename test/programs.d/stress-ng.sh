# shellcheck shell=bash disable=SC2034
# SPDX-License-Identifier: GPL-2.0-or-later
# Each stressor verifies its own work; how much of it was done in the time is not
# the same twice, so that it is told to do a number of operations. Not with --pipe, whose
# pipes are in packet mode.
packages=stress-ng
version='stress-ng --version'

work() {
	stress-ng --verify --oomable --temp-path . --quiet --no-rand-seed \
		--cpu 1 --cpu-method fibonacci --cpu-ops 6000 \
		--vm 1 --vm-bytes 64M --vm-ops 20000 --timerfd 1 --timerfd-ops 200000 \
		--futex 1 --futex-ops 800000
	echo "ended with $?"
}
