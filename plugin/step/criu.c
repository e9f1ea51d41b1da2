/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Criu, run by the agent; and what it says when it will not. */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "explain.h"
#include "step.h"

#define STATS SCKPT_RUN_DIR "/stats-dump"

void criu_dump_run(struct criu_run *r, const struct stdio *io, const struct pmi *pmi,
		   bool end)
{
	*r = (struct criu_run){ .end = end };
	for (int i = 0; i < io->count; i++) {
		bool known = io->s[i].kind != STREAM_FILE;

		for (int j = 0; j < i && !known; j++)
			known = !strcmp(io->s[j].key, io->s[i].key);
		if (!known)
			criu_leave_out(r, io->s[i].key);
	}
	for (int i = 0; i < pmi->count; i++) {
		char key[MANIFEST_PMI_KEY + 8];

		/* sk-unix.c */
		snprintf(key, sizeof(key), "unix%s", strchr(pmi_key(pmi, i), '['));
		criu_leave_out(r, key);
	}
}

void criu_restore_run(struct criu_run *r, const struct stdio *io,
		      const struct pmi *pmi, const struct manifest *m)
{
	*r = (struct criu_run){ .restore = true };
	for (int i = 0; i < io->count; i++) {
		const char *key = m->streams[i].key;
		bool known = !*key || io->s[i].program < 0;

		/* Criu takes the first of a name. */
		for (int j = 0; j < i && !known; j++)
			known = io->s[j].program >= 0 &&
				!strcmp(m->streams[j].key, key);
		if (!known)
			criu_inherit(r, key, io->s[i].program);
	}
	for (size_t i = 0; i < m->pmi_count; i++)
		criu_inherit(r, m->pmi[i].key, pmi_program(pmi, m->pmi[i].task));
}

pid_t criu_start(const struct criu_run *r, const char *criu, struct err *e)
{
	/* Its cache goes to XDG_RUNTIME_DIR (kerndat.c). */
	char *envp[CRIU_ENV_MAX], **argv = criu_args(r, criu, SCKPT_RUN_DIR, false);
	posix_spawn_file_actions_t files;
	pid_t pid;
	int rc;

	if (!argv)
		return err_set(e, "cannot run criu: no memory for its arguments");
	criu_env(envp, r->restore, "SCKPT_HOOK=" HOOK_SOCKET, "XDG_RUNTIME_DIR=" SCKPT_RUN_DIR,
		 true);
	posix_spawn_file_actions_init(&files);
	posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_addopen(&files, 1, CRIU_SAID,
					 O_WRONLY | O_CREAT | O_TRUNC, 0600);
	posix_spawn_file_actions_adddup2(&files, 1, 2);
	for (int i = 0; r->restore && i < r->count; i++)
		posix_spawn_file_actions_adddup2(&files, r->files[i].fd,
						 CRIU_FD_FIRST + i);
	rc = run_spawn(argv, envp, &files, NULL, &pid, e);
	posix_spawn_file_actions_destroy(&files);
	criu_args_free(argv);
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

	if (file_read(AT_FDCWD, CRIU_SAID, 65536, &said, NULL) > 0)
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
