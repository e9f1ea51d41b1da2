#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# First process of a node: its mounts, then its daemons, then nothing more.
set -euo pipefail
node=$1 dir=$2 root=$3 state=$4 run=$5 hosts=$6

# /proc is still the machine's: this is our PID out there.
read -r pid _ </proc/self/stat
echo "$pid" >"$run/$node.init.part"
mv "$run/$node.init.part" "$run/$node.init"
read -r _ <"$run/$node.go"
# Out of reach after pivot_root.
exec 6>"$run/$node.ready"

hostname "$node"
m=$dir/m
mount -t overlay overlay -o "lowerdir=$state/dest:$root,upperdir=$dir/up,workdir=$dir/work" "$m"
mount --bind "$state/shared" "$m/shared"
mount --bind "$state/shared/home" "$m/home"
mount --bind "$state/etc" "$m/etc/slurm"
mount -t proc proc "$m/proc"
mount -t sysfs -o ro sysfs "$m/sys"
if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
	mount -t cgroup2 cgroup2 "$m/sys/fs/cgroup"
else
	mount -t tmpfs cgroup "$m/sys/fs/cgroup"
	for c in freezer cpuset memory cpu cpuacct devices pids; do
		[ -d "/sys/fs/cgroup/$c" ] || continue
		mkdir "$m/sys/fs/cgroup/$c"
		mount -t cgroup -o "$c" cgroup "$m/sys/fs/cgroup/$c"
	done
fi
mount -t tmpfs -o mode=755 run "$m/run"
mount -t tmpfs -o mode=1777 tmp "$m/tmp"
mount -t tmpfs -o mode=755 dev "$m/dev"
mknod -m 666 "$m/dev/null" c 1 3
mknod -m 666 "$m/dev/zero" c 1 5
mknod -m 666 "$m/dev/full" c 1 7
mknod -m 666 "$m/dev/random" c 1 8
mknod -m 666 "$m/dev/urandom" c 1 9
mknod -m 666 "$m/dev/tty" c 5 0
mknod -m 666 "$m/dev/fuse" c 10 229
mkdir "$m/dev/pts" "$m/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts "$m/dev/pts"
ln -s pts/ptmx "$m/dev/ptmx"
ln -s /proc/self/fd "$m/dev/fd"
ln -s /proc/self/fd/0 "$m/dev/stdin"
ln -s /proc/self/fd/1 "$m/dev/stdout"
ln -s /proc/self/fd/2 "$m/dev/stderr"
mount -t tmpfs -o mode=1777 shm "$m/dev/shm"
install -m 400 "$state/munge.key" "$m/run/munge.key"
cd "$m"
mkdir -p .old
pivot_root . .old
cd /
umount -l /.old
rmdir /.old 2>/dev/null || true

export PATH=/usr/sbin:/usr/bin:/sbin:/bin
{
	echo 127.0.0.1 localhost
	echo "$hosts"
} >/etc/hosts
echo "$node" >/etc/hostname
install -d -o munge -g munge /run/munge /var/lib/munge /var/log/munge
install -m 400 -o munge -g munge /run/munge.key /etc/munge/munge.key
install -d -o slurm -g slurm /var/lib/slurm /var/lib/slurm/slurmctld /var/log/slurm
install -d /var/lib/slurm/slurmd
ulimit -c 0
# munged takes its name from argv[0] and so do Slurm's daemons.
{
	setpriv --reuid munge --regid munge --init-groups munged
	case $node in
	ctl) slurmctld ;;
	*)
		(
			# In cgroup v2 slurmd divides the group it starts in, and
			# takes its paths from that of PID 1: start it elsewhere.
			if [ -d /sys/fs/cgroup/init ]; then
				echo $BASHPID >"$(mktemp -d /sys/fs/cgroup/start.XXXXXX)/cgroup.procs"
			fi
			exec slurmd -N "$node"
		)
		;;
	esac
} 6>&-
echo ready >&6
exec 6>&-
# Bash as PID 1 reaps what is orphaned.
sleep infinity &
while :; do wait || true; done
