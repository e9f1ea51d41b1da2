# shellcheck shell=bash disable=SC2154
# SPDX-License-Identifier: GPL-2.0-or-later
# Further packages of Debian for the nodes: SCKPT_TEST_PACKAGES in the
# environment. They are a layer over the nodes' ordinary root, which stays as it
# is, and cached like that.

packages_dir() { # nothing when no further packages are asked for
	[ -n "${SCKPT_TEST_PACKAGES:-}" ] || return 0
	local base
	base=$(rootfs_node_dir)
	# shellcheck disable=SC2086
	echo "$cache/packages-$(printf '%s\n' "$base" $SCKPT_TEST_PACKAGES |
		cat - "$here/cluster.d/packages.sh" | sha256sum | cut -c1-16)"
}

# What nodes are mounted over, uppermost first, a line each.
packages_layers() {
	packages_dir
	rootfs_node_dir
}

packages_ready() {
	local dir part
	dir=$(packages_dir)
	[ -n "$dir" ] || return 0
	[ -d "$dir" ] && touch "$dir" && return
	(
		flock 9
		[ -d "$dir" ] && exit
		rm -rf --one-file-system "$cache"/*.part.*
		part=$(mktemp -d "$dir.part.XXXX")
		trap 'rm -rf --one-file-system "$part"' EXIT
		say "adding packages to the nodes' root (once, some minutes): $SCKPT_TEST_PACKAGES"
		mkdir "$part/up" "$part/work" "$part/m"
		chmod 755 "$part/up"
		host_run unshare --mount --propagation private \
			bash -c "$(declare -f packages_install); packages_install \"\$@\"" packages \
			"$part" "$(rootfs_node_dir)" "$SCKPT_TEST_PACKAGES" >"$cache/packages.log" 2>&1 ||
			die "apt-get failed: $cache/packages.log"
		mv "$part/up" "$dir"
		rootfs_prune packages
	) 8<&- 9>"$cache/lock"
}

# In a mount namespace of its own.
packages_install() { # PART BASE PACKAGES
	set -e
	local m=$1/m device
	mount -t overlay overlay -o "lowerdir=$2,upperdir=$1/up,workdir=$1/work" "$m"
	mount -t proc proc "$m/proc"
	mount -t tmpfs -o mode=755 dev "$m/dev"
	for device in null zero full random urandom; do
		touch "$m/dev/$device"
		mount --bind "/dev/$device" "$m/dev/$device"
	done
	ln -s /proc/self/fd "$m/dev/fd"
	cp --remove-destination /etc/resolv.conf "$m/etc/resolv.conf"
	# Manuals are left out, and Java's alternatives have some.
	mkdir -p "$m/usr/share/man/man1"
	export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8
	chroot "$m" apt-get update
	# shellcheck disable=SC2086
	chroot "$m" apt-get install -y --no-install-recommends $3
	chroot "$m" apt-get clean
}
