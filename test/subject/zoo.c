/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * zoo --state PATH [--seconds S] [--only A,B | --without A,B] [--pids FILE]
 * zoo --list
 * Sets everything up, verifies it, says that it is ready, waits until told to
 * go on or for S seconds, verifies again: a line per exhibit on stdout, the
 * same with and without a stop in the middle. Exit 0 or 1; 2 when it could not
 * be set up.
 *
 * PATH a directory: PATH/ready, PATH/go, ids in PATH/ids.before and .after.
 * Otherwise: ready in the file PATH, PATH.go, and it works in PATH.d.
 * --pids FILE: ids in FILE.before and FILE.after instead.
 */
#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "zoo.h"

#define PATIENCE_MS 10000

const char *zoo_dir;

/* What limits other rooms (descriptors, directory, nice) comes last. */
static const struct exhibit *const rooms[] = { zoo_processes, zoo_threads,
					       zoo_timers,    zoo_memory,
					       zoo_files,     zoo_ipc,
					       zoo_sched };
#define ROOMS (sizeof(rooms) / sizeof(rooms[0]))

void zoo_die(const char *what)
{
	fprintf(stderr, "zoo: %s: %s\n", what, strerror(errno));
	exit(2);
}

const char *zoo_text(const char *fmt, ...)
{
	char *text;
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(&text, fmt, ap) < 0)
		abort();
	va_end(ap);
	return text;
}

static long long now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000LL + ts.tv_nsec / 1000000;
}

void zoo_sleep(int ms)
{
	struct timespec left = { ms / 1000, ms % 1000 * 1000000L };

	while (nanosleep(&left, &left) < 0 && errno == EINTR)
		;
}

bool zoo_read(int fd, void *buf, size_t n)
{
	long long end = now_ms() + PATIENCE_MS;
	size_t got = 0;

	while (got < n && now_ms() < end) {
		struct pollfd p = { .fd = fd, .events = POLLIN };
		ssize_t r;

		if (poll(&p, 1, 200) < 1)
			continue;
		r = read(fd, (char *)buf + got, n - got);
		if (r == 0 || (r < 0 && errno != EINTR && errno != EAGAIN))
			return false;
		got += r > 0 ? (size_t)r : 0;
	}
	return got == n;
}

bool zoo_ended(pid_t pid)
{
	long long end = now_ms() + PATIENCE_MS;
	int status;
	pid_t r;

	while ((r = waitpid(pid, &status, WNOHANG)) == 0 && now_ms() < end)
		zoo_sleep(2);
	return r == pid && status == 0;
}

/* ---- which process and thread ids there are ------------------------------ */

static size_t read_file(const char *path, char *buf, size_t size)
{
	FILE *f = fopen(path, "r");
	size_t n = f ? fread(buf, 1, size, f) : 0;

	if (f)
		fclose(f);
	return n;
}

/* Ours is what was forked from this process and so has its command line, which
 * names the state, and our zombies, which have none any more. A copy that ought
 * not to be there is so seen too. */
static bool is_ours(const char *pid)
{
	char own[4096], its[4096], text[512] = "", *at;
	size_t n = read_file("/proc/self/cmdline", own, sizeof(own));
	int ppid;

	if (read_file(zoo_text("/proc/%s/cmdline", pid), its, sizeof(its)) == n &&
	    !memcmp(own, its, n))
		return true;
	read_file(zoo_text("/proc/%s/stat", pid), text, sizeof(text) - 1);
	at = strrchr(text, ')');
	return at && sscanf(at, ") Z %d", &ppid) == 1 && ppid == getpid();
}

/* pid tid pgid sid name */
static const char *id_line(const char *pid, const char *tid)
{
	char text[512] = "", *name, *end;
	int pgid, sid;

	read_file(zoo_text("/proc/%s/task/%s/stat", pid, tid), text,
		  sizeof(text) - 1);
	name = strchr(text, '(');
	end = strrchr(text, ')');
	if (!name || !end || sscanf(end, ") %*c %*d %d %d", &pgid, &sid) != 2)
		return NULL;
	return zoo_text("%s %s %d %d %.*s\n", pid, tid, pgid, sid,
			(int)(end - name - 1), name + 1);
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void write_file(const char *path, const char *const *lines, size_t n)
{
	const char *part = zoo_text("%s.part", path);
	FILE *f = fopen(part, "w");

	NEED(f);
	for (size_t i = 0; i < n; i++)
		fputs(lines[i], f);
	NEED(!ferror(f) && fclose(f) == 0 && rename(part, path) == 0);
}

static void write_ids(const char *path)
{
	static const char *lines[4096];
	DIR *proc = opendir("/proc");
	struct dirent *p, *t;
	size_t n = 0;

	NEED(proc);
	while ((p = readdir(proc))) {
		DIR *tasks;

		if (!atoi(p->d_name) || !is_ours(p->d_name))
			continue;
		tasks = opendir(zoo_text("/proc/%s/task", p->d_name));
		while (tasks && (t = readdir(tasks)) && n < 4096)
			if (atoi(t->d_name) &&
			    (lines[n] = id_line(p->d_name, t->d_name)))
				n++;
		if (tasks)
			closedir(tasks);
	}
	closedir(proc);
	qsort(lines, n, sizeof(*lines), by_text);
	write_file(path, lines, n);
}

/* ---- the round ------------------------------------------------------------ */

static const char *only, *without;

static bool listed(const char *list, const char *name)
{
	size_t n = strlen(name);

	for (; list && *list; list += strcspn(list, ","), list += *list == ',')
		if (!strncmp(list, name, n) && (!list[n] || list[n] == ','))
			return true;
	return false;
}

/* Every exhibit on show, in order. */
static const struct exhibit *next(size_t *i)
{
	for (size_t r = 0, k = 0; r < ROOMS; r++)
		for (const struct exhibit *x = rooms[r]; x->name; x++) {
			if (k++ < *i)
				continue;
			++*i;
			if ((!only || listed(only, x->name)) &&
			    !listed(without, x->name))
				return x;
		}
	return NULL;
}

static int verify_all(bool last)
{
	const struct exhibit *x;
	int failed = 0;

	for (size_t i = 0; (x = next(&i));) {
		const char *wrong = x->verify(last);

		failed += wrong != NULL;
		if (last || wrong)
			printf("%s: %s%s\n", x->name, wrong ? "FAILED: " : "ok",
			       wrong ? wrong : "");
	}
	fflush(stdout);
	return failed;
}

static void check_names(const char *list)
{
	while (list && *list) {
		size_t n = strcspn(list, ",");
		bool known = false;

		for (size_t r = 0; r < ROOMS; r++)
			for (const struct exhibit *x = rooms[r]; x->name; x++)
				known |= strlen(x->name) == n &&
					 !strncmp(x->name, list, n);
		if (!known) {
			fprintf(stderr, "zoo: no exhibit '%.*s' (--list)\n",
				(int)n, list);
			exit(2);
		}
		list += n + (list[n] == ',');
	}
}

static int usage(void)
{
	fputs("usage: zoo --state PATH [--seconds S] [--only A,B | --without A,B]"
	      " [--pids FILE]\n       zoo --list\n",
	      stderr);
	return 2;
}

int main(int argc, char *argv[])
{
	static const char *const ready_line[] = { "ready\n" };
	const char *state = NULL, *pids = NULL, *ready, *go;
	const struct exhibit *x;
	struct clock_seen seen = { 0, 0 };
	long long end;
	int seconds = 3600, failed;
	struct stat st;

	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--list")) {
			for (size_t k = 0; (x = next(&k));)
				puts(x->name);
			return 0;
		}
		if (i + 1 == argc)
			return usage();
		if (!strcmp(argv[i], "--state"))
			state = argv[++i];
		else if (!strcmp(argv[i], "--seconds"))
			seconds = atoi(argv[++i]);
		else if (!strcmp(argv[i], "--only"))
			only = argv[++i];
		else if (!strcmp(argv[i], "--without"))
			without = argv[++i];
		else if (!strcmp(argv[i], "--pids"))
			pids = argv[++i];
		else
			return usage();
	}
	if (!state)
		return usage();
	check_names(only);
	check_names(without);

	/* An exhibit changes the directory: no path may be relative. */
	if (*state != '/')
		state = zoo_text("%s/%s", getcwd(NULL, 0), state);
	if (pids && *pids != '/')
		pids = zoo_text("%s/%s", getcwd(NULL, 0), pids);
	if (stat(state, &st) == 0 && S_ISDIR(st.st_mode)) {
		zoo_dir = state;
		ready = zoo_text("%s/ready", state);
		go = zoo_text("%s/go", state);
		pids = pids ? pids : zoo_text("%s/ids", state);
	} else {
		zoo_dir = zoo_text("%s.d", state);
		NEED(mkdir(zoo_dir, 0700) == 0 || errno == EEXIST);
		ready = state;
		go = zoo_text("%s.go", state);
	}

	/* A lost process is a line, not the end of this one. */
	signal(SIGPIPE, SIG_IGN);
	for (size_t i = 0; (x = next(&i));)
		x->setup();
	if (verify_all(false))
		return 2;
	if (pids)
		write_ids(zoo_text("%s.before", pids));
	write_file(ready, ready_line, 1);
	for (end = now_ms() + seconds * 1000LL; now_ms() < end;) {
		if (access(go, F_OK) == 0)
			break;
		zoo_sleep(100);
		zoo_look_at_clocks(&seen);
		zoo_beat();
	}
	if (pids)
		write_ids(zoo_text("%s.after", pids));
	failed = verify_all(true);
	/* The threads still run: nothing is torn down under them. */
	_exit(failed != 0);
}
