# shellcheck shell=bash disable=SC2034
# SPDX-License-Identifier: GPL-2.0-or-later
# A Redis server as part of the job, and a client on a connection of its own over the
# loopback device, which notices nothing: elevate=tcp.
packages='redis-server python3'
version='redis-server --version'
conf='elevate=tcp'

work() {
	local port=$((20000 + RANDOM % 10000))
	redis-server --port "$port" --bind 127.0.0.1 --save '' --appendonly no --dir . >/dev/null &
	python3 ../programs.d/redis.py "$port" 400
	kill %1
	wait %1 || true
}
