/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What criu is asked to do, and what it says when it will not. */
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "explain.h"
#include "step.h"

/* A file that was deleted while open is carried whole; nothing is gained by
 * a limit that makes the dump fail. G is the largest unit criu knows. */
#define GHOST_LIMIT "1048576G"

#define SAID SCKPT_RUN_DIR "/criu.out"
#define STATS SCKPT_RUN_DIR "/stats-dump"

static void add(struct criu_command *c, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

static void add(struct criu_command *c, const char *fmt, ...)
{
	char **argv = realloc(c->argv, ((size_t)c->argc + 2) * sizeof(*argv));
	va_list ap;

	if (!argv) {
		c->failed = true;
		return;
	}
	c->argv = argv;
	va_start(ap, fmt);
	if (vasprintf(&c->argv[c->argc], fmt, ap) < 0)
		c->failed = true;
	else
		c->argc++;
	c->argv[c->argc] = NULL;
	va_end(ap);
}

/* The open file that criu calls `key` becomes fd at a restore. */
static void inherit(struct criu_command *c, const char *key, int fd)
{
	int *more = realloc(c->inherit,
			    ((size_t)c->inherits + 1) * sizeof(*more));

	if (!more) {
		c->failed = true;
		return;
	}
	c->inherit = more;
	c->inherit[c->inherits] = fd;
	add(c, "--inherit-fd=fd[%d]:%s", CRIU_FD_FIRST + c->inherits, key);
	c->inherits++;
}

/* In dump and restore alike. */
static void begin(struct criu_command *c, const struct spec *spec,
		  const char *what, const char *log)
{
	memset(c, 0, sizeof(*c));
	add(c, "%s", spec->criu);
	add(c, "%s", what);
	add(c, "--unprivileged");
	/* Otherwise it obeys /etc/criu/default.conf and ~/.criu. */
	add(c, "--no-default-config");
	add(c, "--stream");
	add(c, "--images-dir=%s", SCKPT_RUN_DIR);
	add(c, "--log-file=%s", log);
	add(c, "-v2");
	add(c, "--file-locks");
	add(c, "--ghost-limit=%s", GHOST_LIMIT);
	/* The step's cgroup is the new node's, and right as it is. */
	add(c, "--manage-cgroups=ignore");
	add(c, "--cpu-cap=fpu,ins");
	add(c, "--action-script=%s", HOOK_PATH);
}

void criu_dump_command(struct criu_command *c, const struct spec *spec,
		       const struct stdio *io, const struct pmi *pmi, bool end)
{
	begin(c, spec, "dump", DUMP_LOG);
	add(c, "--tree=%d", ROOT_PID);
	add(c, "--network-lock=skip");
	if (!end)
		add(c, "--leave-running");
	for (int i = 0; i < io->count; i++) {
		bool known = io->s[i].kind != STREAM_FILE;

		for (int j = 0; j < i && !known; j++)
			known = !strcmp(io->s[j].key, io->s[i].key);
		if (!known)
			add(c, "--external=%s", io->s[i].key);
	}
	for (int i = 0; i < pmi->count; i++) {
		const char *inode = strchr(pmi_key(pmi, i), '[');

		add(c, "--external=unix%s", inode); /* sk-unix.c */
	}
}

void criu_restore_command(struct criu_command *c, const struct spec *spec,
			  const struct stdio *io, const struct pmi *pmi,
			  const struct manifest *m)
{
	begin(c, spec, "restore", RESTORE_LOG);
	add(c, "--restore-detached");
	for (int i = 0; i < io->count; i++) {
		const char *key = m->streams[i].key;
		bool known = !*key || io->s[i].program < 0;

		/* Criu takes the first of a name. */
		for (int j = 0; j < i && !known; j++)
			known = io->s[j].program >= 0 &&
				!strcmp(m->streams[j].key, key);
		if (!known)
			inherit(c, key, io->s[i].program);
	}
	for (size_t i = 0; i < m->pmi_count; i++)
		inherit(c, m->pmi[i].key, pmi_program(pmi, m->pmi[i].task));
}

void criu_exchange_file(struct criu_command *c, const char *name, int fd)
{
	/* Criu's names begin behind the first slash. */
	inherit(c, name + 1, fd);
}

void criu_command_free(struct criu_command *c)
{
	for (int i = 0; i < c->argc; i++)
		free(c->argv[i]);
	free(c->argv);
	free(c->inherit);
	*c = (struct criu_command){ .argc = 0 };
}

pid_t criu_start(struct criu_command *c, struct err *e)
{
	/* A cache of kernel probes goes to XDG_RUNTIME_DIR (kerndat.c). */
	char *envp[] = { "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C",
			 "XDG_RUNTIME_DIR=" SCKPT_RUN_DIR,
			 "SCKPT_HOOK=" HOOK_SOCKET,
			 "LD_PRELOAD=" IN_CRIU_PATH, NULL };
	posix_spawn_file_actions_t files;
	pid_t pid;
	int rc;

	if (c->failed)
		return err_set(e, "cannot run criu: no memory for its arguments");
	posix_spawn_file_actions_init(&files);
	posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_addopen(&files, 1, SAID,
					 O_WRONLY | O_CREAT | O_TRUNC, 0600);
	posix_spawn_file_actions_adddup2(&files, 1, 2);
	for (int i = 0; i < c->inherits; i++)
		posix_spawn_file_actions_adddup2(&files, c->inherit[i],
						 CRIU_FD_FIRST + i);
	rc = run_spawn(c->argv, envp, &files, NULL, &pid, e);
	posix_spawn_file_actions_destroy(&files);
	return rc < 0 ? -1 : pid;
}

/* ---- what it says ------------------------------------------------------ */

/* Bytes of a log that are kept. */
#define LOG_MOST (1 << 20)

/* SCKPT_RUN_DIR is the step's own and gone with it: what criu said is kept where
 * its checkpoints are, and removed with them. */
static bool keep(const char *log, size_t size, const struct store *store,
		 const char *name)
{
	cleanup_fd int fd = openat(store->dir, name,
				   O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW |
					   O_CLOEXEC,
				   0600);

	return fd >= 0 &&
	       file_write(fd, log, size < LOG_MOST ? size : LOG_MOST, NULL) == 0;
}

/* Without an error in its log: the words it died with. */
static void last_words(int status, char *text, size_t size)
{
	cleanup_free char *said = NULL;

	if (file_read(AT_FDCWD, SAID, 65536, &said, NULL) > 0)
		snprintf(text, size, "criu: %.*s", (int)strcspn(said, "\n"), said);
	else if (WIFSIGNALED(status))
		snprintf(text, size, "criu was killed by signal %d",
			 WTERMSIG(status));
	else
		snprintf(text, size, "criu ended with %d and no message",
			 WEXITSTATUS(status));
}

bool criu_explain(const struct store *store, const char *name, int status,
		  char *text, size_t size)
{
	char path[sizeof(SCKPT_RUN_DIR) + 32], words[400];
	cleanup_free char *log = NULL;
	bool known = false, kept;
	ssize_t n;

	snprintf(path, sizeof(path), SCKPT_RUN_DIR "/%s", name);
	n = file_read(AT_FDCWD, path, 64 << 20, &log, NULL);
	kept = n > 0 && keep(log, (size_t)n, store, name);
	if (n > 0 && explain_log(log, &known, words, sizeof(words)))
		snprintf(text, size, known ? "%s" : "criu: %s", words);
	else
		last_words(status, text, size);
	n = (ssize_t)strlen(text);
	if (!known && kept && (size_t)n < size)
		snprintf(text + n, size - (size_t)n, " (criu's log is %s/%s)",
			 store->path, name);
	return known;
}

/* ---- stats-dump ---------------------------------------------------------
 * Two magic words, a length, then a protobuf StatsEntry whose field 1 is a
 * DumpStatsEntry, whose field 2 is frozen_time in us (images/stats.proto). */

int64_t criu_frozen_us(void)
{
	cleanup_free char *data = NULL;
	ssize_t size = file_read(AT_FDCWD, STATS, 65536, &data, NULL);
	struct pb_field dump, frozen;

	if (size < 12 ||
	    !pb_find(pb_of(data + 12, (size_t)size - 12), 1, &dump) ||
	    !dump.data ||
	    !pb_find(pb_of(dump.data, (size_t)dump.value), 2, &frozen))
		return -1;
	return (int64_t)frozen.value;
}
