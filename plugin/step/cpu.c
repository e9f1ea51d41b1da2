/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The instructions of a processor, by /proc/cpuinfo. */
#include <stdio.h>
#include <string.h>

#include "needs.h"

/* Words of /proc/cpuinfo that are instructions a program may use, by how they
 * begin. Not those of the kernel's own, of virtual machines and of mitigations,
 * which differ between nodes that run the same programs. */
static const char *const instructions[] = {
	"3dnow", "abm",	  "adx",      "aes",	 "amx",	  "avx",  "bmi",
	"cldemote", "clflush", "clwb", "clzero", "cmov", "cx16", "cx8",
	"erms",	 "f16c",  "fma",      "fsgsbase", "fsrm", "fxsr", "gfni",
	"hle",	 "lahf_lm", "mmx",    "movbe",	 "movdir", "ospke", "pclmul",
	"pku",	 "popcnt", "prefetchw", "rdpid", "rdrand", "rdseed", "rdtscp",
	"rtm",	 "serialize", "sha",  "sse",	 "ssse",  "vaes", "vpclmul",
	"waitpkg", "xop", "xsave",
};

static bool is_instruction(const char *word)
{
	for (size_t i = 0; i < sizeof(instructions) / sizeof(instructions[0]); i++)
		if (!strncmp(word, instructions[i], strlen(instructions[i])))
			return true;
	return false;
}

void cpu_flags_of(char *cpuinfo, char *flags, size_t size)
{
	char *at = strstr(cpuinfo, "\nflags"), *word;
	size_t n = 0;

	flags[0] = '\0';
	if (!at || !(at = strchr(at + 1, ':')))
		return;
	at++;
	at[strcspn(at, "\n")] = '\0';
	while ((word = strsep(&at, " ")))
		if (*word && is_instruction(word) && n + strlen(word) + 2 < size)
			n += (size_t)snprintf(flags + n, size - n, "%s%s",
					      n ? " " : "", word);
}

bool words_have(const char *words, const char *word)
{
	const size_t n = strlen(word);

	for (const char *at = words; (at = strstr(at, word)); at += n)
		if ((at == words || at[-1] == ' ') && (!at[n] || at[n] == ' '))
			return true;
	return false;
}

void cpu_lacks(const char *then, const char *now, char *lacks, size_t size)
{
	char word[64];
	size_t n = 0;

	lacks[0] = '\0';
	for (const char *at = then; *at; at += strspn(at, " ")) {
		size_t length = strcspn(at, " ");

		snprintf(word, sizeof(word), "%.*s", (int)length, at);
		at += length;
		if (!words_have(now, word) && n + length + 3 < size)
			n += (size_t)snprintf(lacks + n, size - n, "%s%s",
					      n ? ", " : "", word);
	}
}
