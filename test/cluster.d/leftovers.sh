# shellcheck shell=bash disable=SC2154
# SPDX-License-Identifier: GPL-2.0-or-later
# Finding and removing whatever this cluster left: its groups
# name its processes, its links have its id, its mounts die with its nodes.

leftovers_groups() { # [NODE]
	local base
	for base in /sys/fs/cgroup /sys/fs/cgroup/*; do
		[ -d "$base/sckpt-$id${1:+/$1}" ] && echo "$base/sckpt-$id${1:+/$1}"
	done
	return 0
}

leftovers_processes() { # [NODE]
	local group
	for group in $(leftovers_groups "$@"); do
		find "$group" -name cgroup.procs -exec cat {} + 2>/dev/null
	done | sort -un
}

leftovers_none_alive() { [ -z "$(leftovers_processes "$@")" ]; }

# A frozen process (v1) does not die of SIGKILL.
leftovers_thaw() { # [NODE]
	local group state_file
	for group in $(leftovers_groups "$@"); do
		find "$group" -name freezer.state 2>/dev/null |
			while read -r state_file; do echo THAWED >"$state_file" || true; done
	done
}

# Kills what is in the groups, and removes the groups.
# shellcheck disable=SC2120
leftovers_cgroups() { # [NODE]
	local group pid
	leftovers_thaw "$@"
	for pid in $(leftovers_processes "$@"); do kill -KILL "$pid" 2>/dev/null || true; done
	wait_for 20 'their end' leftovers_none_alive "$@" ||
		die "these do not die: $(leftovers_processes "$@" | tr '\n' ' ')"
	# A group stays busy for a moment after its last process.
	wait_for 60 'their groups' leftovers_remove_groups "$@" ||
		die "these groups cannot be removed: $(leftovers_groups "$@" | tr '\n' ' ')"
}

# Removes the groups; those of all when it was the last of them.
leftovers_remove_groups() { # [NODE]
	local group
	for group in $(leftovers_groups "$@"); do
		find "$group" -depth -type d -exec rmdir {} \; 2>/dev/null || true
		[ $# = 0 ] || rmdir "${group%/*}" 2>/dev/null || true
	done
	[ -z "$(leftovers_groups "$@")" ]
}

# shellcheck disable=SC2119
leftovers_remove() {
	leftovers_cgroups
	network_down
	rm -rf "$run"
	rm -rf --one-file-system "${state:?}"/{nodes,shared,etc,munge.key}
}

# A cluster that came up stays one while any of its nodes lives.
cluster_running() {
	local n
	[ -e "$run/complete" ] || return
	for n in $(cluster_nodes); do node_pid "$n" >/dev/null && return; done
	return 1
}

# What is really there, whatever the files say.
cluster_status() {
	local processes links groups mounts n
	processes=$(leftovers_processes | wc -l)
	groups=$(leftovers_groups | wc -l)
	links=$(ip -o link show | grep -c ": sk$id" || true)
	mounts=$(grep -c "/sckpt-test/$id/" /proc/self/mountinfo || true)
	if ! cluster_running; then
		if [ "$processes$groups$links$mounts" = 0000 ]; then
			echo "no cluster $instance of this checkout; nothing left behind"
			return 3
		fi
		echo "no cluster $instance, but left-overs: $processes processes, $groups groups, $links links, $mounts mounts (test/cluster down removes them)"
		return 1
	fi
	echo "checkout $checkout, cluster $instance, id $id, network $(network_prefix).0/24, $processes processes"
	for n in $(cluster_nodes); do
		if ! node_pid "$n" >/dev/null; then
			echo "$n: down"
		elif ! ip -o link show "$(network_link "$n")" 2>/dev/null | grep -q 'state UP'; then
			echo "$n: cut off, $(node_daemons "$n")"
		else
			echo "$n: up, $(node_daemons "$n"), log $(node_path "$n" /var/log/slurm)"
		fi
	done
	node_pid ctl >/dev/null || return 0
	node_run ctl -- sh -c 'sinfo -V; criu --version | head -n 1; timeout 5 sinfo || echo "slurmctld does not answer"'
}
