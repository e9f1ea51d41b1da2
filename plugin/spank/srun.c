/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * In srun. A client of slurmctld's and of its step's cannot be dumped: it holds
 * connections. So where a protected batch script calls srun, sckpt-srun takes
 * srun's place, its process id included, before anything is connected; it stays
 * in the script's tree and has the real one started outside (step/srun.c).
 */
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "spank_sckpt.h"

#define MOST (64 << 20) /* arguments and environment: the kernel's limit is less */

/* Somebody listens on the FIFO, and the directory is the step's own: only root
 * could have put one there otherwise. */
static bool in_protected_script(void)
{
	cleanup_fd int fd = open(CALLS_FIFO, O_WRONLY | O_NONBLOCK | O_NOFOLLOW |
						     O_CLOEXEC);
	struct stat st;

	return fd >= 0 && fstat(fd, &st) == 0 && S_ISFIFO(st.st_mode) &&
	       st.st_uid == geteuid();
}

/* As they were given to srun: it has changed its own copies since. */
static char **given(const char *path, char **block, size_t front)
{
	ssize_t size = file_read(AT_FDCWD, path, MOST, block, NULL);

	return size < 0 ? NULL : block_list(*block, (size_t)size, front);
}

void srun_stand_in(void)
{
	cleanup_free char *args = NULL, *vars = NULL;
	cleanup_free char **argv = NULL, **envp = NULL;
	char exe[4096];
	ssize_t n;

	if (!in_protected_script())
		return;
	/* What runs on a terminal is not protected anyway. */
	for (int i = 0; i < 3; i++)
		if (isatty(i))
			return;
	n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);
	if (n <= 0 || !(argv = given("/proc/self/cmdline", &args, 2)) ||
	    !(envp = given("/proc/self/environ", &vars, 0)))
		return;
	exe[n] = '\0';
	argv[0] = (char *)SRUN_PATH;
	argv[1] = exe;
	execve(SRUN_PATH, argv, envp);
	/* It goes on as any srun; only the script cannot be dumped now. */
	slurm_error(SAYS "cannot run %s: %m", SRUN_PATH);
}

/* slurmstepd has a pipe for each, and cannot see whether they end in one file. */
void srun_note_stderr(void)
{
	struct stat out, err;

	if (fstat(2, &err) == 0 &&
	    (isatty(2) || fstat(1, &out) < 0 || out.st_dev != err.st_dev ||
	     out.st_ino != err.st_ino))
		setenv(STDERR_VARIABLE, "own", 1);
	else
		unsetenv(STDERR_VARIABLE);
}

void srun_note_from(void)
{
	if (option_from_said())
		setenv(FROM_VARIABLE, "own", 1);
	else
		unsetenv(FROM_VARIABLE);
}

static uint32_t add_text(uint32_t hash, const char *text)
{
	/* FNV-1a, with the NUL. */
	do
		hash = (hash ^ (unsigned char)*text) * UINT32_C(16777619);
	while (*text++);
	return hash;
}

void srun_note_place(void)
{
	char path[PATH_MAX] = "", number[16];
	uint32_t hash = add_text(UINT32_C(2166136261), getcwd(path, sizeof(path)) ? path : "");
	ssize_t n = readlink("/proc/self/fd/0", path, sizeof(path) - 1);

	path[n < 0 ? 0 : n] = '\0';
	/* Pipes have another name each time. */
	hash = add_text(hash, *path == '/' ? path : "");
	snprintf(number, sizeof(number), "%u", (hash & INT32_MAX) | 1);
	setenv(PLACE_VARIABLE, number, 1);
}

/* ---- where a call's output goes --------------------------------------------------- */

/* srun's short options without an argument of their own. */
static const char flags[] = "hHIkKlOQsuvVXZ";

/* Is it --output or --error, maybe shortened, or -o or -e? What begins with "all" is as
 * without (src/srun/fname.c). */
static bool is_option(const char *arg, const char *next, const char *name,
		      size_t least, char letter)
{
	size_t n = strcspn(arg, "=");

	if (!strncmp(arg, "--", 2)) {
		if (n < least || strncmp(arg, name, n))
			return false;
		arg += n + (arg[n] == '=');
	} else if (*arg == '-') {
		while (*++arg && *arg != letter && strchr(flags, *arg))
			;
		if (*arg++ != letter)
			return false;
	} else {
		return false;
	}
	return strncasecmp(*arg || !next ? arg : next, "all", 3) != 0;
}

/* Those of srun's arguments that are not the program's: SPANK tells these. */
static void find_files(spank_t sp, bool *out, bool *err)
{
	cleanup_free char *args = NULL;
	cleanup_free char **argv = given("/proc/self/cmdline", &args, 0);
	char **program = NULL;
	int count = 0, own = 0;

	*out = *err = true;
	if (!argv ||
	    spank_get_item(sp, S_JOB_ARGV, &count, &program) != ESPANK_SUCCESS)
		return;
	while (argv[own])
		own++;
	*out = *err = false;
	for (int i = 1; i < own - count; i++) {
		/* A job of several parts (srun … : …): not known which. */
		if (!strcmp(argv[i], ":"))
			*out = *err = true;
		*out |= is_option(argv[i], argv[i + 1], "--output", 4, 'o');
		*err |= is_option(argv[i], argv[i + 1], "--error", 4, 'e');
	}
}

void srun_note_multi_prog(spank_t sp)
{
	cleanup_free char *args = NULL;
	cleanup_free char **argv = given("/proc/self/cmdline", &args, 0);
	char **program = NULL;
	int count = 0, own = 0;

	while (argv && argv[own])
		own++;
	/* Behind the file's name srun has put what is in it (launch_slurm.c, _load_multi). */
	if (spank_get_item(sp, S_JOB_ARGV, &count, &program) == ESPANK_SUCCESS && count > 1 &&
	    own >= count && strcmp(argv[own - count + 1], program[1]))
		setenv(MULTI_PROG_VARIABLE, "1", 1);
	else
		unsetenv(MULTI_PROG_VARIABLE);
}

void srun_note_frames(spank_t sp)
{
	bool out, err;

	find_files(sp, &out, &err);
	out |= getenv("SLURM_STDOUTMODE") || getenv("SRUN_OUTPUT");
	err |= getenv("SLURM_STDERRMODE") || getenv("SRUN_ERROR");
	/* Errors go where output goes if nothing is said of them. */
	setenv(FRAMES_VARIABLE, out ? "" : err ? "o" : "oe", 1);
}
