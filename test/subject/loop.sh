#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# loop.sh N FILE IDS: N lines, a running child most of the time, state in
# variables, arrays, an open descriptor, a trap and a coprocess. Its output and
# FILE are the same whether or not it was stopped in its middle; IDS gets the
# PIDs, at the beginning and at the end. It is quick once the home has a file `quick`.
set -u
n=$1 file=$2 ids=$3

# pid, process group and session of every process there is all the time.
identities() {
	local p stat
	for p in $$ "$long" "$helper"; do
		if read -r stat <"/proc/$p/stat"; then
			# shellcheck disable=SC2086 # its fields
			set -- ${stat##*) }
			echo -n "$p $3 $4 "
		else
			echo -n "$p gone "
		fi
	done
	echo
}

exec 5>>"$file"
count=0
trap 'trapped=$((trapped + 1))' USR1
trap 'echo "trap at exit, state $sum"' EXIT
trapped=0
sleep 3600 &
long=$!
# Upper case comes back for each line that goes in.
coproc UP { while read -r line; do echo "${line^^}"; done; }
helper=$UP_PID
declare -a seen=()
declare -A by_digit=()
sum=0
identities >"$ids"
for ((i = 1; i <= n; i++)); do
	[ -e ~/quick ] || sleep "${TEST_PACE:-0.1}"
	sum=$(((sum * 31 + i) % 1000003))
	seen+=("$sum")
	by_digit[${sum: -1}]=$((${by_digit[${sum: -1}]:-0} + 1))
	word=$(echo "$sum" | tr 0-9 a-j | rev)
	echo "$word" >&"${UP[1]}"
	read -r upper <&"${UP[0]}"
	echo "line $i $word $upper"
	echo "$i $sum" >&5
	((i % 10)) || kill -USR1 $$
	count=$((count + 1))
done
identities >>"$ids"
exec 5>&-
kill "$long" || echo "the child is gone"
digits=''
for d in 0 1 2 3 4 5 6 7 8 9; do digits+=" ${by_digit[$d]:-0}"; done
echo "state $sum $count trapped $trapped digits$digits" \
	"$(printf '%s\n' "${seen[@]}" | cksum)"
