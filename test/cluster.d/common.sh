# shellcheck shell=bash disable=SC2034,SC2154
# SPDX-License-Identifier: GPL-2.0-or-later
# Names and places. All of them come from the checkout's path and the number of
# the cluster, so that two clusters never meet. Tests call test/cluster several
# times a second: few forks here.

say() { echo "cluster: $*" >&2; }
die() {
	echo "cluster: $*" >&2
	exit 1
}

checkout=${here%/*}
instance=${SCKPT_TEST_INSTANCE:-1}
instances=9
[[ $instance =~ ^[1-$instances]$ ]] ||
	die "SCKPT_TEST_INSTANCE is '$instance', and is to be a number from 1 to $instances"
# How much slower than a usual one this machine is, for Slurm's time limits (test/vm).
slow=${SCKPT_TEST_SLOW:-1}
# Seconds between two lines of a program that counts: what a test does meanwhile takes longer, too.
pace=0.1
[ "$slow" = 1 ] || pace=$((slow * 5))e-2
cache=${SCKPT_TEST_CACHE:-/var/cache/sckpt-test}
suite=${SCKPT_TEST_SUITE:-trixie}
case $suite in
bookworm | trixie | sid) ;;
*) die "SCKPT_TEST_SUITE is '$suite', and is to be bookworm, trixie or sid" ;;
esac

checkout_hash=$(printf '%s' "$checkout" | sha256sum)
id=${checkout_hash:6 * (instance - 1):6}
state=/var/lib/sckpt-test/$id
run=/run/sckpt-test/$id
# The build is the checkout's, one for each suite; what is installed and all else are
# the cluster's.
build=/var/lib/sckpt-test/${checkout_hash:0:6}/build
[ "$suite" = trixie ] || build+=-$suite

# Waits until a command succeeds: wait_for SECONDS WHAT CMD…
wait_for() {
	local end=$((SECONDS + $1 * slow)) what=$2
	shift 2
	until "$@" >/dev/null 2>&1; do
		# Once more: the last time may be long ago on a busy machine.
		[ $SECONDS -lt $end ] || { "$@" >/dev/null 2>&1; return; }
		sleep 0.1
	done
}

cluster_nodes() {
	[ -f "$run/nodes" ] && echo ctl && seq -f 'n%g' "$(cat "$run/nodes")"
	return 0
}
