# shellcheck shell=bash disable=SC2154
# SPDX-License-Identifier: GPL-2.0-or-later
# The nodes' root and the build's root: made once by mmdebstrap, cached by
# what they are made of, never written to afterwards.

node_packages=(
	slurmctld slurmd slurm-client munge criu
	bubblewrap bsdextrautils iproute2 jq libcap2-bin libgcrypt20 libjson-c5
	libmunge2 libseccomp2 libxxhash0 libzstd1 mount procps
	python3-minimal python3-numpy python3-pycriu strace util-linux zstd
)
build_packages=(
	autoconf automake build-essential clang clang-tidy codespell cppcheck debhelper gcc gdb git
	libcap-dev libclang-rt-dev libcmocka-dev libc6-dev libgcrypt20-dev
	libjson-c-dev libmunge-dev libseccomp-dev libslurm-dev libtool libxxhash-dev
	libzstd-dev lintian llvm make pkgconf python3 rpm shellcheck slurm-client xz-utils
)
# What `--criu sid` takes from sid: criu, what reads its images, and the
# libraries it needs newer.
sid_packages='criu python3-pycriu libcompel1 libnet9 libnl-3-200 libnl-genl-3-200 libnl-route-3-200'
criu_from=$suite

# What is otherwise with Debian's other suites. The checks of the sources are
# trixie's (test/check).
case $suite in
bookworm)
	# Its criu is 3.17.1, which no user can run: sid's, with a libc of its own.
	mapfile -t node_packages < <(printf '%s\n' "${node_packages[@]}" | grep -vxE 'criu|python3-pycriu')
	# For sckpt-record.
	node_packages+=(libslurm38)
	criu_from=apart
	;;
esac
[ "$suite" = trixie ] || build_packages=(
	autoconf automake build-essential debhelper gcc git libcap-dev libcmocka-dev libc6-dev
	libgcrypt20-dev libjson-c-dev libmunge-dev libseccomp-dev libslurm-dev
	libtool libxxhash-dev libzstd-dev make munge pkgconf python3 slurm-client xz-utils
)

# CRIU 4.1.1 cannot dump any inet socket on Linux 6.16 and later
# ("Can't get 1:16 opt"); 4.2 can, and so can Debian's 4.1.1-3, but trixie
# has 4.1.1-1.
rootfs_choose_criu() {
	local major minor
	IFS=. read -r major minor _ <<<"$(uname -r)"
	case $1 in
	trixie | sid)
		[ "$suite" = trixie ] || die "--criu is for SCKPT_TEST_SUITE=trixie"
		criu_from=$1 && say "CRIU from $1, as told"
		;;
	'')
		if [ "$suite" != trixie ]; then
			say "CRIU from sid"
		elif [ "$major" -gt 6 ] || { [ "$major" = 6 ] && [ "${minor%%[!0-9]*}" -ge 16 ]; }; then
			criu_from=sid
			say "CRIU from sid: trixie's 4.1.1 cannot dump sockets on Linux $major.$minor"
		else
			criu_from=trixie
			say "CRIU from trixie: it works on Linux $major.$minor"
		fi
		;;
	*) die "--criu takes trixie or sid" ;;
	esac
}

# The mirror that this machine's apt uses. Apt knows a label only from an
# archive it has been updated from.
rootfs_mirror() {
	local uri
	# shellcheck disable=SC2016
	uri=$(apt-get indextargets --format '$(LABEL) $(REPO_URI)' 'Created-By: Packages' |
		sed -n 's/^Debian \([^ ]*\)$/\1/p')
	[ -n "$uri" ] || die "apt on this machine knows no Debian archive (apt-get update?)"
	echo "${uri%%$'\n'*}"
}

rootfs_key() { # KIND PACKAGES…
	{
		printf '%s\n' "$@" "$suite" "$criu_from"
		cat "$here/cluster.d/rootfs.sh"
	} | sha256sum | cut -c1-16
}

rootfs_node_dir() { echo "$cache/node-$(rootfs_key node "${node_packages[@]}")"; }
rootfs_build_dir() { criu_from='' && echo "$cache/build-$(rootfs_key build "${build_packages[@]}")"; }

rootfs_ready() { rootfs_make "$(rootfs_node_dir)" node "${node_packages[@]}"; }
rootfs_build_ready() { rootfs_make "$(rootfs_build_dir)" build "${build_packages[@]}"; }

rootfs_make() { # DIR KIND PACKAGES…
	local dir=$1 kind=$2 mirror part
	shift 2
	[ -d "$dir" ] && touch "$dir" && return
	mkdir -p "$cache"
	(
		flock 9
		[ -d "$dir" ] && exit
		# Whoever has the lock is the only one who makes a root.
		rm -rf --one-file-system "$cache"/*.part.*
		mirror=$(rootfs_mirror)
		part=$(mktemp -d "$dir.part.XXXX")
		trap 'rm -rf --one-file-system "$part"' EXIT
		say "making the $kind root from Debian $suite (once, about half a minute to two)"
		rootfs_mmdebstrap "$kind" "$part" "$mirror" "$@" >"$cache/$kind.log" 2>&1 ||
			die "mmdebstrap failed: $cache/$kind.log"
		[ "$kind" = node ] && rootfs_accounts "$part"
		mv "$part" "$dir"
		trap - EXIT
		rootfs_prune "$kind"
	) 8<&- 9>"$cache/lock"
}

# Removes roots that no recipe asked for in a day (every use touches them) and
# that no cluster of any checkout stands on.
rootfs_prune() { # KIND
	local dir
	find "$cache" -maxdepth 1 -name "$1-*" -mtime +0 | while read -r dir; do
		grep -qsxF "$dir" /run/sckpt-test/*/root || rm -rf --one-file-system "$dir"
	done
}

# It mounts /proc, /sys and /dev below the directory that it makes: in a namespace these are gone
# with it, also when it is killed.
rootfs_run_mmdebstrap() { host_run unshare --mount --propagation private mmdebstrap "$@"; }

rootfs_mmdebstrap() { # KIND DIR MIRROR PACKAGES…
	local kind=$1 dir=$2 mirror=$3 sources include
	# On a mirror that stands still sid's Release file may be past its date.
	local sid_mirror="[check-valid-until=no] $3"
	shift 3
	include=$(
		IFS=,
		echo "$*"
	)
	sources=("deb $mirror $suite main")
	[ "$suite" = sid ] && sources=("deb $sid_mirror sid main")
	local hook=(true)
	if [ "$kind" = node ] && [ "$suite" != sid ] && [ "$criu_from" = sid ]; then
		sources+=("deb $sid_mirror sid main")
		include+=,${sid_packages// /,}
		hook=(sh -c "printf '%s\n' 'Package: *' 'Pin: release n=sid' 'Pin-Priority: -1' '' 'Package: $sid_packages' 'Pin: release n=sid' 'Pin-Priority: 990' >\"\$1/etc/apt/preferences.d/sid\"" sh)
	fi
	rootfs_run_mmdebstrap --quiet --variant=apt --format=directory \
		--aptopt='APT::Install-Recommends "false"' \
		--dpkgopt='path-exclude=/usr/share/doc/*' \
		--dpkgopt='path-exclude=/usr/share/man/*' \
		--dpkgopt='path-exclude=/usr/share/locale/*' \
		--setup-hook="mkdir -p \"\$1/etc/apt/preferences.d\"" \
		--setup-hook="$(printf '%q ' "${hook[@]}") \"\$1\"" \
		--include="$include" "$suite" "$dir" "${sources[@]}" &&
		{ [ "$kind" != node ] || [ "$criu_from" != apart ] || rootfs_criu_apart "$dir" "$sid_mirror"; }
}

# Sid's criu in a root with an older libc: its own loader finds its own libraries.
rootfs_criu_apart() { # DIR MIRROR
	local apart=/usr/lib/criu-of-sid from=$1/tmp/sid loader
	rootfs_run_mmdebstrap --quiet --variant=extract --include=criu,patchelf sid "$from" "deb $2 sid main" || return
	ln -s usr/lib usr/lib64 "$from" &&
		mkdir "$1$apart" &&
		cp -a "$from"/usr/lib/*-linux-gnu/*.so* "$1$apart" &&
		loader=$(chroot "$from" patchelf --print-interpreter /usr/sbin/criu) &&
		chroot "$from" patchelf --set-interpreter "$apart/${loader##*/}" \
			--force-rpath --set-rpath "$apart" /usr/sbin/criu &&
		cp "$from/usr/sbin/criu" "$1/usr/sbin/criu" &&
		rm -rf "$from"
}

# Two users of different groups, everywhere the same.
rootfs_accounts() {
	chroot "$1" sh -ec '
		groupadd -g 1101 physics
		groupadd -g 1102 biology
		useradd -u 1001 -U -G physics -M -d /home/user1 -s /bin/bash user1
		useradd -u 1002 -U -G biology -M -d /home/user2 -s /bin/bash user2
		rm -f /etc/munge/munge.key
		mkdir -p /shared /home /etc/slurm
	'
}
