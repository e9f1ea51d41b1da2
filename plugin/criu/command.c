/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What criu is asked to do. */
#include <stdarg.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sckpt/criu.h"
#include "sckpt/put.h"

/* A file that was deleted while open is carried whole; nothing is gained by
 * a limit that makes the dump fail. G is the largest unit criu knows. */
#define GHOST_LIMIT "1048576G"

int criu_parts(bool restore, struct err *e)
{
	const char *const parts[] = { HOOK_PATH, IN_CRIU_PATH };
	struct stat named, is;
	char exe[32], link[PATH_MAX];
	ssize_t n;

	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
		if (access(parts[i], F_OK) < 0)
			return err_sys(e, "sckpt was removed from this node while the job runs (%s): install it again there",
				       parts[i]);
	if (restore)
		return 0;
	/* Criu would take a removed file along, and no user may make that anew
	 * where it was. Its name tells; its count of links does not on an overlay. */
	snprintf(exe, sizeof(exe), "/proc/%d/exe", ROOT_PID);
	n = readlink(exe, link, sizeof(link) - 1);
	if (n < 0 || stat(exe, &is) < 0)
		return err_sys(e, "cannot look at %s", exe);
	link[n] = '\0';
	if (stat(link, &named) < 0 || named.st_dev != is.st_dev || named.st_ino != is.st_ino)
		return err_set(e, "sckpt was removed from this node while the job runs, and what it began with is not there any more: the job runs on without further checkpoints");
	return 0;
}

static void add_file(struct criu_run *r, const char *key, int fd)
{
	struct criu_file *more =
		realloc(r->files, ((size_t)r->count + 1) * sizeof(*more));

	if (more)
		r->files = more;
	if (!more || !(more[r->count].key = strdup(key))) {
		r->failed = true;
		return;
	}
	more[r->count++].fd = fd;
}

void criu_leave_out(struct criu_run *r, const char *key)
{
	add_file(r, key, -1);
}

void criu_inherit(struct criu_run *r, const char *key, int fd)
{
	add_file(r, key, fd);
}

void criu_run_free(struct criu_run *r)
{
	for (int i = 0; i < r->count; i++)
		free(r->files[i].key);
	free(r->files);
	r->files = NULL;
	r->count = 0;
}

struct words {
	char **argv;
	int count;
	bool failed;
};

static void add(struct words *w, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

static void add(struct words *w, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	if (w->failed || vasprintf(&w->argv[w->count], fmt, ap) < 0)
		w->failed = true;
	else
		w->count++;
	va_end(ap);
	w->argv[w->count] = NULL;
}

char **criu_args(const struct criu_run *r, const char *criu, const char *images,
		 bool tcp)
{
	struct words w = { calloc((size_t)r->count + 24, sizeof(char *)), 0,
			   r->failed };

	if (!w.argv)
		return NULL;
	add(&w, "%s", criu);
	add(&w, "%s", r->restore ? "restore" : "dump");
	add(&w, "--unprivileged");
	/* Otherwise it obeys /etc/criu/default.conf and ~/.criu. */
	add(&w, "--no-default-config");
	add(&w, "--stream");
	add(&w, "--images-dir=%s", images);
	add(&w, "--work-dir=%s", SCKPT_RUN_DIR);
	add(&w, "--log-file=%s", r->restore ? RESTORE_LOG : DUMP_LOG);
	add(&w, "-v2");
	add(&w, "--file-locks");
	add(&w, "--ghost-limit=%s", GHOST_LIMIT);
	/* The step's cgroup is the new node's, and right as it is. */
	add(&w, "--manage-cgroups=ignore");
	add(&w, "--cpu-cap=fpu,ins");
	add(&w, "--action-script=%s", HOOK_PATH);
	if (tcp)
		add(&w, "--tcp-established");
	if (r->restore) {
		add(&w, "--restore-detached");
		for (int i = 0; i < r->count; i++)
			add(&w, "--inherit-fd=fd[%d]:%s", CRIU_FD_FIRST + i,
			    r->files[i].key);
	} else {
		add(&w, "--tree=%d", ROOT_PID);
		add(&w, "--network-lock=skip");
		if (!r->end)
			add(&w, "--leave-running");
		for (int i = 0; i < r->count; i++)
			add(&w, "--external=%s", r->files[i].key);
	}
	if (!w.failed)
		return w.argv;
	criu_args_free(w.argv);
	return NULL;
}

void criu_args_free(char **argv)
{
	for (char **at = argv; at && *at; at++)
		free(*at);
	free(argv);
}

void criu_env(char *envp[CRIU_ENV_MAX], bool restore, char *hook, char *cache, bool put)
{
	char **at = envp;

	*at++ = "PATH=/usr/sbin:/usr/bin:/sbin:/bin";
	*at++ = "LC_ALL=C";
	*at++ = hook;
	if (put)
		*at++ = "SCKPT_PUT=" SCKPT_RUN_DIR "/" PUT_SOCKET;
	if (restore)
		*at++ = "SCKPT_RESTORES=1";
	*at++ = "LD_PRELOAD=" IN_CRIU_PATH;
	*at++ = cache;
	*at = NULL;
}
