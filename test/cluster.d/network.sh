# shellcheck shell=bash disable=SC2154
# SPDX-License-Identifier: GPL-2.0-or-later
# One bridge, one veth pair per node. The bridge has no address: this machine
# and the world outside are not on the nodes' network.

bridge=sk${id}

network_prefix() { cat "$run/prefix"; }

# Takes the /24 that the id names, or the next that is free. Checkouts choose
# one after the other.
network_choose() {
	local third=$((16#${id:0:2})) i prefix routes
	routes=$(ip -o -4 route show table all)
	exec 9</run/sckpt-test
	flock 9
	for i in $(seq 0 254); do
		prefix=10.77.$(((third + i) % 255))
		if [[ $'\n'$routes != *[$' \n']"$prefix".* ]] &&
			! grep -qsxF "$prefix" /run/sckpt-test/*/prefix; then
			echo "$prefix" >"$run/prefix"
			exec 9<&-
			return
		fi
	done
	die "no free network in 10.77.0.0/16"
}

network_index() { [ "$1" = ctl ] && echo 1 || echo $((${1#n} + 1)); }
network_address() { echo "$(network_prefix).$(network_index "$1")"; }
network_link() { echo "sk${id}$1"; }

network_up() {
	ip link add "$bridge" type bridge
	ip link set "$bridge" up
}

# Gives the node with this init its end of a new pair.
network_attach() { # NODE PID
	local link
	link=$(network_link "$1")
	ip link add "$link" type veth peer name eth0 netns "$2"
	ip link set "$link" master "$bridge" up
	nsenter -t "$2" -n sh -ec "
		ip link set lo up
		ip addr add $(network_address "$1")/24 dev eth0
		ip link set eth0 up"
}

network_switch() { # NODE up|down
	[ -e "/sys/class/net/$(network_link "$1")" ] || die "node $1 is not up"
	ip link set "$(network_link "$1")" "$2"
}

network_detach() { # NODE
	ip link del "$(network_link "$1")" 2>/dev/null || true
}

network_down() {
	local link
	for link in $(ip -o link show 2>/dev/null | sed -n "s/^[0-9]*: \(sk${id}[^@:]*\).*/\1/p"); do
		ip link del "$link" 2>/dev/null || true
	done
}
