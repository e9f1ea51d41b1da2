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

/* ---- srun's own arguments --------------------------------------------------------- */

/* Those before the program's: srun has taken them apart (src/srun/opt.c, _set_options), of a
 * job of several parts (srun … : …) the first one's. */
struct own {
	char *block, **list;
	int count;
};

static void own_free(struct own *o)
{
	free(o->list);
	free(o->block);
}

static void own_take(struct own *o)
{
	*o = (struct own){ .list = given("/proc/self/cmdline", &o->block, 0) };
	while (o->list && o->count < optind && o->list[o->count])
		o->count++;
}

/* What follows an option's name in arg, or stands behind it; NULL: it is another one. */
static const char *value_of(const char *arg, const char *next, const char *name, size_t least,
			    char letter)
{
	size_t n = strcspn(arg, "=");

	if (!strncmp(arg, "--", 2)) {
		if (n < least || strncmp(arg, name, n))
			return NULL;
		arg += n + (arg[n] == '=');
	} else if (!letter || !(arg = srun_letter(arg, letter))) {
		return NULL;
	}
	return *arg || !next ? arg : next;
}

/* The last one counts, and any before the environment; `least` bytes of the name are its own.
 * NULL: it was not given. */
static const char *own_value(const struct own *o, const char *name, size_t least, char letter,
			     const char *const variables[2])
{
	const char *value = NULL, *found;

	for (int i = 1; i < o->count; i++)
		if ((found = value_of(o->list[i], o->list[i + 1], name, least, letter)))
			value = found;
	for (int i = 0; !value && i < 2; i++)
		value = variables[i] ? getenv(variables[i]) : NULL;
	return value;
}

/* As srun understands it (src/srun/fname.c): its own standard stream. */
static bool is_its_own(const char *value)
{
	return !value || !strncasecmp(value, "all", 3) || *value == '-';
}

static bool own_flag(const struct own *o, const char *name, size_t least, char letter)
{
	for (int i = 1; i < o->count; i++)
		if (value_of(o->list[i], NULL, name, least, letter))
			return true;
	return false;
}

/* Its input is the script's, which may have more to read from there. */
static bool reads_input(const struct own *o)
{
	static const char *const variables[] = { "SLURM_STDINMODE", "SRUN_INPUT" };
	const char *value = own_value(o, "--input", 5, 'i', variables);

	/* A number is that of the task that is to read it. */
	return is_its_own(value) || !value[strspn(value, "0123456789")];
}

/* A step of several parts of a heterogeneous job. */
static bool is_of_parts(const struct own *o)
{
	const char *const variables[2] = { NULL };
	const char *value = own_value(o, "--het-group", 6, 0, variables);

	if (value && value[strspn(value, "0123456789")])
		return true;
	for (char **at = o->list; getenv("SLURM_HET_SIZE") && at && *at; at++)
		if (!strcmp(*at, ":"))
			return true;
	return false;
}

/* ---- in its place ----------------------------------------------------------------- */

/* Who stands in reads all that there is, as srun does. */
static void leave_input(void)
{
	struct own own;
	int fd = -1;

	own_take(&own);
	if (!reads_input(&own) && (fd = open("/dev/null", O_RDONLY | O_CLOEXEC)) > 0)
		dup2(fd, 0);
	if (fd > 0)
		close(fd);
	own_free(&own);
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
	leave_input();
	execve(SRUN_PATH, argv, envp);
	/* It goes on as any srun; only the script cannot be dumped now. */
	slurm_error(SAYS "cannot run %s: %m", SRUN_PATH);
}

/* ---- what the node cannot know ---------------------------------------------------- */

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

void srun_note_streams(void)
{
	static const char *const outputs[] = { "SLURM_STDOUTMODE", "SRUN_OUTPUT" };
	static const char *const errors[] = { "SLURM_STDERRMODE", "SRUN_ERROR" };
	static const char *const modes[] = { "SLURM_OPEN_MODE", NULL };
	static bool noted;
	const char *out, *err, *mode;
	char note[8], *at = note;
	struct own own;

	/* For each part of a heterogeneous job srun asks anew. */
	if (noted)
		return;
	noted = true;
	own_take(&own);
	out = own_value(&own, "--output", 4, 'o', outputs);
	err = own_value(&own, "--error", 4, 'e', errors);
	mode = own_value(&own, "--open-mode", 4, 0, modes);
	if (is_its_own(out))
		*at++ = STREAMS_OUT;
	/* Errors go where output goes if nothing is said of them. */
	if (is_its_own(err ? err : out))
		*at++ = STREAMS_ERR;
	if (getenv("SLURM_LABELIO") || own_flag(&own, "--label", 4, 'l'))
		*at++ = STREAMS_LABELS;
	if (mode)
		*at++ = *mode == 'a' ? STREAMS_APPEND : STREAMS_TRUNCATE;
	if (is_of_parts(&own))
		*at++ = STREAMS_OF_PARTS;
	*at = '\0';
	setenv(STREAMS_VARIABLE, note, 1);
	own_free(&own);
}
