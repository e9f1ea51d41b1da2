# shellcheck shell=bash disable=SC2154
# SPDX-License-Identifier: GPL-2.0-or-later
# A node: mount, uts, pid, ipc, cgroup and network namespaces, held by its init.

node_cgroups() { # NODE: its group in every hierarchy
	local dir
	if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
		echo "/sys/fs/cgroup/sckpt-$id/$1"
		return
	fi
	for dir in freezer cpuset memory cpu cpuacct devices pids; do
		[ -d "/sys/fs/cgroup/$dir" ] && echo "/sys/fs/cgroup/$dir/sckpt-$id/$1"
	done
	return 0
}

node_make_cgroups() { # NODE
	local dir parent
	while read -r dir; do
		parent=${dir%/*}
		mkdir -p "$parent"
		if [ -e "$parent/cgroup.subtree_control" ]; then
			echo '+cpuset +cpu +memory +pids' >/sys/fs/cgroup/cgroup.subtree_control
			echo '+cpuset +cpu +memory +pids' >"$parent/cgroup.subtree_control"
		fi
		mkdir -p "$dir"
		# A v1 cpuset is empty until told.
		if [ -e "$dir/cpuset.mems" ] && [[ $dir = */cpuset/* ]]; then
			for f in cpus mems; do
				cat "/sys/fs/cgroup/cpuset/cpuset.$f" >"$parent/cpuset.$f"
				cat "/sys/fs/cgroup/cpuset/cpuset.$f" >"$dir/cpuset.$f"
			done
		fi
	done < <(node_cgroups "$1")
}

node_enter_cgroups() { # NODE: this very process
	local dir
	while read -r dir; do
		[ -d "$dir/outer" ] && dir+=/outer
		echo $BASHPID >"$dir/cgroup.procs"
	done < <(node_cgroups "$1")
}

# In cgroup v2 a group with controllers for its children holds no process, and
# slurmd refuses a group with processes of another PID namespace. So the node's
# own group, the root of what it sees, has two leaves: init for its processes,
# outer for what entered it from this machine.
node_divide_cgroup() { # NODE PID
	local dir=/sys/fs/cgroup/sckpt-$id/$1 pid
	[ -e "$dir/cgroup.subtree_control" ] || return 0
	mkdir -p "$dir/init" "$dir/outer"
	echo "$2" >"$dir/init/cgroup.procs"
	while read -r pid; do echo "$pid" >"$dir/outer/cgroup.procs"; done <"$dir/cgroup.procs"
	echo '+cpuset +cpu +memory +pids' >"$dir/cgroup.subtree_control"
}

# Runs a command of this machine in a group of the cluster's, so that it is
# found and ended when this command is killed. What is built beside a test takes
# the processor only where the nodes leave it.
host_run() {
	local rc=0 group=host.$$ dir
	node_make_cgroups "$group"
	while read -r dir; do
		[ ! -e "$dir/cpu.shares" ] || echo 2 >"$dir/cpu.shares"
		[ ! -e "$dir/cpu.weight" ] || echo 1 >"$dir/cpu.weight"
	done < <(node_cgroups "$group")
	(
		node_enter_cgroups "$group"
		exec "$@" 8<&-
	) || rc=$?
	leftovers_remove_groups "$group"
	return $rc
}

# The node's init, if it is up. Numbers are used again, so it has to be in the
# node's group.
node_pid() { # NODE
	local pid groups
	{ read -r pid <"$run/$1.pid" && groups=$(<"/proc/$pid/cgroup"); } 2>/dev/null || return
	[[ $groups$'\n' = *"/sckpt-$id/$1"[/$'\n']* ]] && echo "$pid"
}

# Closes what the caller of test/cluster left open: daemons must not hold it.
node_close_descriptors() {
	local fd
	for fd in /proc/"$BASHPID"/fd/*; do
		fd=${fd##*/}
		[ "$fd" -le 2 ] || [ "$fd" = 255 ] || eval "exec $fd<&-"
	done
}

node_boot() { # NODE
	local node=$1 dir=$state/nodes/$1 pid
	mkdir -p "$dir/up" "$dir/work" "$dir/m"
	rm -f "$run/$node".{pid,init,go,ready}
	mkfifo "$run/$node.go" "$run/$node.ready"
	# For reading and writing: to open it must not wait.
	exec 6<>"$run/$node.ready"
	node_make_cgroups "$node"
	cp "$here/cluster.d/node-init.sh" "$state/node-init.sh"
	(
		node_enter_cgroups "$node"
		node_close_descriptors
		# Daemons know nothing of the environment of whoever starts the cluster.
		exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 \
			setsid unshare --mount --uts --ipc --pid --net --cgroup --fork \
			--propagation private bash "$state/node-init.sh" \
			"$node" "$dir" "$(paste -sd: "$run/root")" "$state" "$run" "$(node_hosts)" \
			</dev/null >"$dir/console" 2>&1
	) &
	wait_for 60 init test -s "$run/$node.init" || die "node $node did not start: $dir/console"
	pid=$(<"$run/$node.init")
	node_divide_cgroup "$node" "$pid"
	network_attach "$node" "$pid"
	echo go >"$run/$node.go"
	# Until it has its own root and its daemons it is no node: a command that
	# enters before pivot_root would see and change this machine's files.
	read -r -t $((30 * slow)) _ <&6 || die "node $node did not come up: $dir/console"
	exec 6<&-
	mv "$run/$node.init" "$run/$node.pid"
	rm -f "$run/$node".{go,ready}
}

node_hosts() {
	local n
	for n in $(cluster_nodes); do echo "$(network_address "$n") $n"; done
}

node_boot_again() {
	[ -f "$run/nodes" ] || die "the cluster is not up"
	cluster_nodes | grep -qxF "$1" || die "there is no node $1"
	node_pid "$1" >/dev/null && die "node $1 is up"
	# Its init may have died by itself.
	leftovers_cgroups "$1"
	network_detach "$1"
	node_boot "$1"
}

# Everything in the node dies with its init. The link goes first: a node that
# loses power says no goodbye, while a killed process' sockets do.
node_crash() {
	local pid
	pid=$(node_pid "$1") || die "node $1 is not up"
	network_detach "$1"
	kill -KILL "$pid"
	wait_for 20 death node_is_gone "$1" "$pid" || die "node $1 does not die"
	rm -f "$run/$1.pid"
	leftovers_cgroups "$1"
}

# Init ends after all others in the node, of which some can be frozen: steps
# that are suspended, or being dumped. They are thawed to die, and only after
# init has begun to kill them, or they would run on.
node_is_gone() { # NODE PID
	test ! -e "/proc/$2" || { leftovers_thaw "$1"; false; }
}

node_run() { (node_exec "$@"); }

# Becomes a command in a node.
node_exec() { # NODE [--user USER] [--] CMD…
	local node=${1:?which node?} user=root pid
	shift
	if [ "${1:-}" = --user ]; then
		user=${2:?which user?}
		shift 2
	fi
	[ "${1:-}" = -- ] && shift
	[ $# -gt 0 ] || die "run: no command"
	pid=$(node_pid "$node") || die "node $node is not up (test/cluster up)"
	local home=/root
	[ "$user" = root ] || home=/home/$user
	node_enter_cgroups "$node"
	# shellcheck disable=SC2016
	exec nsenter -t "$pid" --mount --uts --ipc --net --pid --cgroup --root --wdns=/ \
		env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
		HOME="$home" USER="$user" LOGNAME="$user" TERM="${TERM:-dumb}" LC_ALL=C.UTF-8 \
		TEST_PACE="$pace" \
		setpriv --reuid "$user" --regid "$user" --init-groups \
		sh -c 'cd && exec "$@"' sh "$@"
}

node_restart() {
	local daemon
	daemon=$(node_daemon "$1")
	# shellcheck disable=SC2016
	node_run "$1" -- sh -ec '
		old=$(cat "/run/$1.pid")
		kill "$old"
		# As a service manager does. (slurmctld 24.11 was seen to hang in
		# conmgr_quiesce for good; gdb showed it.)
		timeout 60 tail --pid="$old" -s 0.1 -f /dev/null || {
			echo "cluster: $1 did not end in 60 s, and is killed" >&2
			kill -9 "$old"
			tail --pid="$old" -s 0.1 -f /dev/null
		}
		# As in node-init.sh, and out of the group of those who entered.
		if [ -d /sys/fs/cgroup/init ]; then
			echo $$ >"$(mktemp -d /sys/fs/cgroup/start.XXXXXX)/cgroup.procs"
		fi
		"$1"' sh "$daemon"
}

# Says which of its daemons run. Not by their names: Slurm's daemons execute
# themselves from a descriptor at a reconfiguration, and are called 8 then.
node_daemons() { # NODE
	# shellcheck disable=SC2016
	node_run "$1" -- sh -c '
		for d in munge/munged "$1"; do
			kill -0 "$(cat "/run/$d.pid")" 2>/dev/null && echo "${d#*/} runs" || echo "${d#*/} IS DEAD"
		done | paste -sd, | sed "s/,/, /"' sh "$(node_daemon "$1")"
}

node_daemon() { [ "$1" = ctl ] && echo slurmctld || echo slurmd; }

node_path() { # NODE FILE
	local pid
	if pid=$(node_pid "${1:?which node?}"); then
		echo "/proc/$pid/root${2:?which file?}"
	else
		echo "$state/nodes/$1/up$2"
	fi
}
