# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What this machine must be and have.

host_check() {
	[ "$(id -u)" = 0 ] || die "this needs root: it makes namespaces, mounts and links"
	local ID='' VERSION_ID=''
	# shellcheck source=/dev/null
	[ -r /etc/os-release ] && source /etc/os-release
	case $ID:$VERSION_ID in
	debian:12 | debian:13) ;;
	*) die "this runs on Debian 12 and 13, and here is ${ID:-something else} $VERSION_ID" ;;
	esac
	[ -e /sys/fs/cgroup/freezer ] || [ -e /sys/fs/cgroup/cgroup.controllers ] ||
		die "no cgroup controllers are mounted below /sys/fs/cgroup"
}

# Commands, and the Debian package of each.
host_packages() {
	local missing=() command package
	while read -r command package; do
		command -v "$command" >/dev/null || missing+=("$package")
	done <<-END
		mmdebstrap mmdebstrap
		ip iproute2
		nsenter util-linux
		setpriv util-linux
		git git
	END
	[ ${#missing[@]} = 0 ] && return
	say "installing ${missing[*]}"
	apt-get update -qq
	DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends \
		"${missing[@]}" >/dev/null
}
