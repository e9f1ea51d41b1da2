# shellcheck shell=bash disable=SC2154
# SPDX-License-Identifier: GPL-2.0-or-later
# Slurm's configuration: one /etc/slurm for all nodes, in $state/etc.

slurm_configure() { # NODES WITH_SCKPT
	local i cgroup=cgroup/v1
	[ -e /sys/fs/cgroup/cgroup.controllers ] && cgroup=cgroup/v2
	rm -rf "${state:?}"/{etc,shared,nodes}
	mkdir -p "$state/etc" "$state/shared/home" "$state/nodes"
	for i in 1 2; do
		install -d -m 700 -o 100$i -g 100$i "$state/shared/home/user$i"
	done
	chmod 755 "$state/shared"
	head -c 128 /dev/urandom >"$state/munge.key"
	{
		cat <<-END
			ClusterName=test
			SlurmctldHost=ctl($(network_address ctl))
			SlurmUser=slurm
			AuthType=auth/munge
			AuthInfo=cred_expire=5
			CredType=cred/munge
			StateSaveLocation=/var/lib/slurm/slurmctld
			SlurmdSpoolDir=/var/lib/slurm/slurmd
			SlurmctldPidFile=/run/slurmctld.pid
			SlurmdPidFile=/run/slurmd.pid
			SlurmctldLogFile=/var/log/slurm/slurmctld.log
			SlurmdLogFile=/var/log/slurm/slurmd.log
			SlurmctldDebug=debug
			SlurmdDebug=debug2
			ProctrackType=proctrack/cgroup
			TaskPlugin=task/cgroup,task/affinity
			JobAcctGatherType=jobacct_gather/none
			SchedulerType=sched/backfill
			SchedulerParameters=sched_interval=2,bf_interval=2,sched_min_interval=0
			SelectType=select/cons_tres
			SelectTypeParameters=CR_Core
			PreemptType=preempt/partition_prio
			PreemptMode=REQUEUE
			JobRequeue=1
			MpiDefault=none
			MailProg=/etc/slurm/mail
			KillWait=$((30 * slow))
			MinJobAge=3600
			SlurmdTimeout=$((15 * slow))
			BatchStartTimeout=$((10 * slow))
			UnkillableStepTimeout=60
			ReturnToService=2
			SlurmdParameters=config_overrides
			PlugStackConfig=/etc/slurm/plugstack.conf
		END
		# Before 23.11 it is 5, and no setting.
		[ "$suite" = bookworm ] || echo MaxBatchRequeue=10000
		echo "PartitionName=low Nodes=ALL Default=YES PriorityTier=1 PreemptMode=REQUEUE GraceTime=0 MaxTime=INFINITE"
		echo "PartitionName=high Nodes=ALL PriorityTier=10 PreemptMode=OFF MaxTime=INFINITE"
	} >"$state/etc/slurm.conf"
	slurm_nodes "$1"
	cat >"$state/etc/cgroup.conf" <<-END
		CgroupPlugin=$cgroup
		IgnoreSystemd=yes
		ConstrainCores=yes
		ConstrainRAMSpace=yes
	END
	[ "$2" = no ] || echo 'required sckpt.so' >"$state/etc/plugstack.conf"
}

slurm_nodes() { # NODES: these, and no others
	local i
	sed -i '/^NodeName=/d' "$state/etc/slurm.conf"
	for i in $(seq "$1"); do
		echo "NodeName=n$i NodeAddr=$(network_address "n$i") CPUs=2 RealMemory=4000"
	done >>"$state/etc/slurm.conf"
}

slurm_idle() { # NODES
	[ "$(node_run ctl -- sinfo -h -N -p low -t idle -o %N | sort -u | wc -l)" = "$1" ]
}

slurm_answers() { node_run ctl -- scontrol ping; }

slurm_slurmds() { # a line for each that is up: its node and PID
	local n pid
	for n in $(cluster_nodes); do
		if [ "$n" = ctl ] || ! node_pid "$n" >/dev/null; then continue; fi
		read -r pid <"$(node_path "$n" /run/slurmd.pid)" || return
		echo "$n $pid"
	done
}

slurm_slurmds_are_others() { # OLD: all of them
	local now
	now=$(slurm_slurmds) && ! grep -qxF "$1" <<<"$now"
}

# scontrol returns when slurmctld has read it; the nodes follow on their own.
# Slurm 24.11's slurmd cannot in cgroup v2 without systemd: it fails to attach
# itself to its group again, and the old one goes on with the old configuration.
slurm_reconfigure() {
	local n old
	if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
		for n in $(cluster_nodes); do
			node_pid "$n" >/dev/null && node_restart "$n"
		done
	else
		old=$(slurm_slurmds) || die "a slurmd is dead"
		node_run ctl -- scontrol reconfigure
		# Before 23.11 they stay the same processes.
		[ "$suite" = bookworm ] || wait_for 60 'other slurmds' slurm_slurmds_are_others "$old" ||
			die "not every slurmd has executed itself again"
	fi
	wait_for 30 slurmctld slurm_answers || die "slurmctld does not answer"
}

slurm_wait() { # NODES
	say "waiting for slurmctld and slurmd"
	wait_for 60 idle slurm_idle "$1" || {
		node_run ctl -- tail -n 20 /var/log/slurm/slurmctld.log >&2 || true
		die "the nodes did not become idle"
	}
}
