# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Completion of sckpt(1) for bash: subcommands, their options, and the ids that
# lie in the store.
_sckpt() {
	local word=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]}
	local command=${COMP_WORDS[1]} ids
	COMPREPLY=()
	if ((COMP_CWORD == 1)); then
		mapfile -t COMPREPLY < <(compgen -W "list show verify create check vacate remove
			prune export import restart report doctor --help --version" -- "$word")
		return
	fi
	case $previous in
	--dir) mapfile -t COMPREPLY < <(compgen -d -- "$word") && return ;;
	--user) mapfile -t COMPREPLY < <(compgen -u -- "$word") && return ;;
	--timeout | --older-than | --since) return ;;
	--html) mapfile -t COMPREPLY < <(compgen -f -- "$word") && return ;;
	esac
	if [[ $word == -* ]]; then
		# What --help tells is what there is.
		mapfile -t COMPREPLY < <(compgen -W \
			"$(sckpt "$command" --help 2>/dev/null | sed -n 's/^  \(--[a-z-]*\).*/\1/p')" -- "$word")
		return
	fi
	case $command in
	import) mapfile -t COMPREPLY < <(compgen -d -- "$word") ;;
	export)
		if ((COMP_CWORD > 2)); then
			mapfile -t COMPREPLY < <(compgen -d -- "$word")
			return
		fi
		;;&
	list | show | verify | remove | export | restart | report)
		# A report knows more steps than there are checkpoints of.
		ids=list
		[[ $command != report ]] || ids=report
		# compgen -W expands what it is given, $(commands) too: only what is an id.
		ids=$(sckpt "$ids" 2>/dev/null | awk 'NR > 1 && $1 ~ /^[0-9][0-9a-z.:_-]*$/ { print $1; sub(/:.*/, "", $1); print $1 }' | sort -u)
		# bash takes a : for the end of a word.
		mapfile -t COMPREPLY < <(compgen -W "$ids" -- "$word")
		declare -F __ltrim_colon_completions >/dev/null && __ltrim_colon_completions "$word"
		;;
	create | check | vacate)
		mapfile -t COMPREPLY < <(compgen -W "$(squeue --me --noheader --states=running --format=%i 2>/dev/null)" -- "$word")
		;;
	esac
}
complete -F _sckpt sckpt
