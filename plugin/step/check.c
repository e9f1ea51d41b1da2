/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The rehearsal: a checkpoint, which counts as any does, and a restore of it that
 * nobody sees. The copy is made in a user namespace, where a process has the rights
 * over PIDs and mounts that it needs: beside it a PID namespace, a network of its
 * own, so that ports are free, and mounts of its own that are read-only, but for
 * the files that the program writes, which are empty ones of the same size. At
 * criu's post-restore point, with everything there and nothing running, it is
 * compared with the program, and its namespace is killed.
 *
 * Files of the program's, its output and its time are so not touched, and not one
 * instruction of the copy is run. What only a restore in place could show (files
 * brought back, clocks, timers) is not rehearsed; nor are user, groups and
 * capabilities, which criu gives the tasks behind that point.
 */
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "check.h"
#include "session.h"

/* Beside what the program has: criu's own, and page tables. */
#define MEMORY_SLACK (UINT64_C(64) << 20)
#define TIME_MOST 1800 /* seconds */

struct copy {
	const struct step *step;
	const struct check *check;
	struct manifest m;
	int64_t start;
};

/* ---- what it finds -------------------------------------------------------------- */

static void report(const struct check *c, const char *kind, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* A line: "ok", "blocks" or "note", and a sentence; before them all "node" and its name. */
static void report(const struct check *c, const char *kind, const char *fmt, ...)
{
	char text[900];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	for (char *at = text; *at; at++)
		if (*at == '\n')
			*at = ' ';
	dprintf(c->report, "%s %s\n", kind, text);
}

static void not_rehearsed(const struct check *c, const char *what)
{
	report(c, "note", "the restore was not rehearsed: %s (%s)", what,
	       strerror(errno));
}

/* ---- a place for the copy ---------------------------------------------------------- */

static int write_text(const char *path, const char *text)
{
	cleanup_fd int fd = open(path, O_WRONLY | O_CLOEXEC);

	return fd < 0 ? -1 : file_write(fd, text, strlen(text), NULL);
}

/* The same user and group inside as outside. */
static int keep_ids(uid_t uid, gid_t gid)
{
	char uids[64], gids[64];

	snprintf(uids, sizeof(uids), "%u %u 1", uid, uid);
	snprintf(gids, sizeof(gids), "%u %u 1", gid, gid);
	return write_text("/proc/self/setgroups", "deny") < 0 ||
			       write_text("/proc/self/uid_map", uids) < 0 ||
			       write_text("/proc/self/gid_map", gids) < 0 ?
		       -1 :
		       0;
}

/* In the place of a file that the program writes: as long, and empty. */
static int stand_in(const struct manifest_file *f, size_t number)
{
	char path[sizeof(SCKPT_RUN_DIR) + 32];
	cleanup_fd int fd = -1;

	snprintf(path, sizeof(path), SCKPT_RUN_DIR "/file-%zu", number);
	if ((fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600)) < 0 ||
	    ftruncate(fd, f->size) < 0 || fchmod(fd, (mode_t)f->mode & 0777) < 0)
		return -1;
	/* One that is not there will be told by criu. */
	return mount(path, f->path, NULL, MS_BIND, NULL) < 0 && errno != ENOENT ?
		       -1 :
		       0;
}

/* What is in a FIFO criu writes there again. */
static int stand_in_fifo(const char *at, int number)
{
	char path[sizeof(SCKPT_RUN_DIR) + 32];
	struct stat st;

	snprintf(path, sizeof(path), SCKPT_RUN_DIR "/fifo-%d", number);
	if (stat(at, &st) < 0)
		return errno == ENOENT ? 0 : -1;
	return mkfifo(path, 0600) < 0 || chmod(path, st.st_mode & 0777) < 0 ||
			       mount(path, at, NULL, MS_BIND, NULL) < 0 ?
		       -1 :
		       0;
}

static int read_only(void)
{
	struct mount_attr attr = { .attr_set = MOUNT_ATTR_RDONLY };

	return mount_setattr(AT_FDCWD, "/", AT_RECURSIVE, &attr, sizeof(attr));
}

static int make_mounts(const struct manifest *m, const struct shape *shape)
{
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    read_only() < 0 ||
	    mount("sckpt", SCKPT_RUN_DIR, "tmpfs", MS_NOSUID | MS_NODEV,
		  "mode=0700") < 0 ||
	    mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC,
		  NULL) < 0)
		return -1;
	for (int i = 0; i < shape->fifo_count; i++)
		if (stand_in_fifo(shape->fifos[i], i) < 0)
			return -1;
	for (size_t i = 0; i < m->file_count; i++)
		/* There is one for each FIFO already. */
		if ((!manifest_is_name(&m->files[i]) || m->files[i].name_of) &&
		    stand_in(&m->files[i], i) < 0)
			return -1;
	return 0;
}

/* Its network has the loopback interface, and every address. */
static void make_network(void)
{
	cleanup_fd int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq up = { .ifr_name = "lo", .ifr_flags = IFF_UP };

	if (fd >= 0)
		ioctl(fd, SIOCSIFFLAGS, &up);
	write_text("/proc/sys/net/ipv4/ip_nonlocal_bind", "1");
	write_text("/proc/sys/net/ipv6/ip_nonlocal_bind", "1");
}

/* As criu has it in the step. */
static int keep_capability(void)
{
	const cap_value_t one[] = { CAP_CHECKPOINT_RESTORE };
	cap_t caps = cap_get_proc();
	int rc = -1;

	if (caps && cap_set_flag(caps, CAP_INHERITABLE, 1, one, CAP_SET) == 0 &&
	    cap_set_proc(caps) == 0)
		rc = cap_set_ambient(CAP_CHECKPOINT_RESTORE, CAP_SET);
	cap_free(caps);
	return rc;
}

/* ---- the restore -------------------------------------------------------------------- */

/* What the copy has as its standard descriptors: nobody's. */
static int give_streams(struct stdio *io, const struct manifest *m)
{
	for (int i = 0; i < io->count; i++) {
		int pair[2] = { -1, -1 }, fd = -1;

		io->s[i].program = -1;
		if (!*m->streams[i].key)
			continue;
		if (strncmp(m->streams[i].key, "pipe:", 5))
			fd = open("/dev/null", O_RDWR | O_CLOEXEC);
		else if (pipe2(pair, O_CLOEXEC) == 0)
			fd = pair[i % TASK_STREAMS > 0];
		/* Above what it becomes in criu. */
		if (fd >= 0)
			io->s[i].program = fcntl(fd, F_DUPFD_CLOEXEC, io->above);
		if (io->s[i].program < 0)
			return -1;
	}
	return 0;
}

static void differs(void *arg, const char *text)
{
	const struct copy *c = arg;

	report(c->check, "blocks", "restored, it would not be the same: %s", text);
}

/* Everything is there, and nothing runs: now it is looked at, and killed. */
static int commit(void *arg, struct stream *stream, struct err *e)
{
	struct copy *c = arg;
	cleanup_free pid_t *pids = NULL;
	struct shape have = { .count = 0 };
	int count = program_tree(c->m.root, &pids, e);
	char took[16], memory[16];

	(void)stream;
	if (count < 0 || shape_of(pids, count, &have, e) < 0) {
		report(c->check, "blocks", "the restored copy cannot be looked at: %s",
		       e->text);
	} else if (!shape_compare(&c->check->shape, &have, differs, c)) {
		span_print((clock_ns(CLOCK_MONOTONIC) - c->start) / 1000, took);
		size_print((uint64_t)program_resident(pids, count), memory);
		report(c->check, "ok", "it was restored beside itself on %s in %s, and was the same: %d process%s, %d threads, %d descriptors, %s of memory; the copy was killed before it ran",
		       c->step->spec.node, took, have.count,
		       have.count == 1 ? "" : "es", shape_threads(&have),
		       shape_descriptors(&have), memory);
	}
	/* Criu too: nothing but this process is left in the namespace. */
	kill(-1, SIGKILL);
	_exit(0);
}

/* Why criu failed where only the rehearsal would. */
static const struct {
	const char *error, *why;
} rehearsal_only[] = {
	{ "Read-only file system",
	  "it has files that are removed while they are open, and a rehearsal makes none" },
	{ "Error (criu/tty.c:",
	  "it has a terminal of its own, and in a user namespace none can be given its number and its owner" },
	{ "unix: Can't bind id",
	  "it listens on a unix socket that has a name, and a rehearsal must not take that away" },
};

static void tell_failure(const struct copy *c, int status)
{
	cleanup_free char *log = NULL;
	char why[600];

	if (file_read(AT_FDCWD, SCKPT_RUN_DIR "/" RESTORE_LOG, 64 << 20, &log,
		      NULL) > 0)
		for (size_t i = 0;
		     i < sizeof(rehearsal_only) / sizeof(rehearsal_only[0]); i++)
			if (strstr(log, rehearsal_only[i].error)) {
				report(c->check, "note", "the restore was rehearsed in part: %s",
				       rehearsal_only[i].why);
				return;
			}
	criu_explain(&c->step->store, RESTORE_LOG, status, why, sizeof(why));
	report(c->check, "blocks", "it cannot be restored: %s", why);
}

static void restore(struct copy *c)
{
	const struct image_options options = {
		.buffer = memory_for_buffer(c->step->spec.limits.buffer,
					    (uint64_t)c->m.resident)
	};
	struct image_source source;
	struct session session = { .program = c->step->spec.criu,
				   .broker = -1,
				   .source = &source,
				   .commit = commit,
				   .arg = c };
	struct criu_run run;
	struct stdio io = *c->step->io;
	struct image_reader *reader;
	struct err e = { "" };
	int status = 0, rc = -1;

	if ((reader = image_reader_open(c->step->store.dir, &c->m.set, &options,
					&e)) &&
	    give_streams(&io, &c->m) == 0) {
		source = image_reader_source(reader);
		c->start = clock_ns(CLOCK_MONOTONIC);
		criu_restore_run(&run, &io, c->step->pmi, &c->m);
		rc = session_run(&session, &run, &status, &e);
	}
	/* commit() does not come back. */
	if (rc < 0)
		report(c->check, "blocks", "it cannot be restored: %s", e.text);
	else
		tell_failure(c, status);
}

/* PID 1 of the copy's namespace. */
static void __attribute__((noreturn)) inside(struct copy *c)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (make_mounts(&c->m, &c->check->shape) < 0)
		not_rehearsed(c->check, "this node gives user namespaces no right to mounts");
	else if (keep_capability() < 0)
		not_rehearsed(c->check, "this node gives user namespaces no capabilities");
	else {
		make_network();
		restore(c);
	}
	kill(-1, SIGKILL);
	_exit(0);
}

/* Is there one in the copy for this file? */
static bool stands_in(const struct manifest *m, unsigned long inode)
{
	for (size_t i = 0; i < m->file_count; i++)
		if (m->files[i].inode == inode)
			return true;
	return false;
}

/*
 * A lock that the program has on a file is not to be had for the copy: criu would
 * wait for it. NULL: there is nothing of that kind.
 */
static const char *locked(const struct manifest *m)
{
	cleanup_free char *locks = NULL;
	char *rest, *line;
	unsigned long inode;
	int pid;

	/* Of other PID namespaces none are shown. */
	if (file_read(AT_FDCWD, "/proc/locks", 16 << 20, &locks, NULL) < 0)
		return NULL;
	for (rest = locks; (line = strsep(&rest, "\n"));) {
		if (sscanf(line, "%*d: %*s %*s WRITE %d %*x:%*x:%lu", &pid, &inode) != 2 ||
		    pid < ROOT_PID || stands_in(m, inode))
			continue;
		return "it has a lock on a file that it only reads, and a rehearsal must not take that away";
	}
	return NULL;
}

/* Only what it needs of the agent's: a pipe of the program's has an end when the
 * program closes it. */
static void close_others(int a, int b)
{
	unsigned low = (unsigned)(a < b ? a : b), high = (unsigned)(a < b ? b : a);

	if (low > 3)
		close_range(3, low - 1, 0);
	if (high > low + 1)
		close_range(low + 1, high - 1, 0);
	close_range(high + 1, ~0U, 0);
}

/* A copy that hangs is in nobody's way but for its memory. */
static void await(const struct check *c, pid_t pid)
{
	const struct timespec most = { .tv_sec = TIME_MOST };
	sigset_t chld;

	sigemptyset(&chld);
	sigaddset(&chld, SIGCHLD);
	/* The agent has it blocked, and so has this. */
	if (sigtimedwait(&chld, NULL, &most) < 0) {
		kill(pid, SIGKILL);
		report(c, "note", "the restore was not rehearsed to its end: it was not done in %d minutes",
		       TIME_MOST / 60);
	}
	waitpid(pid, NULL, 0);
}

static void __attribute__((noreturn)) outside(struct copy *c)
{
	const int own = CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWNET;
	uid_t uid = geteuid();
	gid_t gid = getegid();
	uint64_t left = memory_left();
	char has[16], free[16];
	const char *lock;
	pid_t pid;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	close_others(c->step->store.dir, c->check->report);
	if (left < (uint64_t)c->m.resident + MEMORY_SLACK) {
		size_print((uint64_t)c->m.resident, has);
		size_print(left, free);
		report(c->check, "note", "the restore was not rehearsed: a copy needs as much memory again, %s, and the job has %s left (--mem)",
		       has, free);
	} else if (elevate_made(&c->m)) {
		report(c->check, "note", "the restore was not rehearsed: it needs the node's sckpt-broker (elevate=), which restores in place alone");
	} else if (c->m.pmi_count) {
		report(c->check, "note", "the restore was not rehearsed: its ranks talk to Slurm's PMI, which a copy has none of");
	} else if ((lock = locked(&c->m))) {
		report(c->check, "note", "the restore was not rehearsed: %s", lock);
	} else if (unshare(own) < 0) {
		not_rehearsed(c->check, "this node allows users no user namespaces");
	} else if (keep_ids(uid, gid) < 0) {
		not_rehearsed(c->check, "this node gives user namespaces no users");
	} else if ((pid = fork()) == 0) {
		inside(c);
	} else if (pid < 0) {
		not_rehearsed(c->check, "no process for it");
	} else {
		await(c->check, pid);
	}
	_exit(0);
}

/* ---- the agent's side ----------------------------------------------------------------- */

/* The word check: nobody waits for the answer, so it is told on stderr, by each node. */
static void tell_lines(const struct step *step, char *text)
{
	char *rest = text, *line;
	bool set = step->spec.nodes > 1;

	while ((line = strsep(&rest, "\n")))
		if (strchr(line, ' ') && strncmp(line, "node ", 5))
			step_tell(step, CONTROL_NOTE, "rehearsal%s%.200s: %s%s",
				  set ? " on " : "", set ? step->spec.node : "",
				  strncmp(line, "blocks ", 7) ? "" : "in the way: ",
				  strchr(line, ' ') + 1);
}

static void answer(struct check *c, const struct step *step)
{
	struct status s = { .kind = STATUS_CHECKED,
			    .generation = { step->last.generation,
					    step->spec.restart } };
	cleanup_free char *text = NULL;
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", c->report);
	if (file_read(AT_FDCWD, path, CHECK_MAX, &text, NULL) >= 0)
		check_put(&step->store, text, NULL);
	if (text && !strcmp(c->request, CHECK_REQUEST))
		tell_lines(step, text);
	memcpy(s.request, c->request, sizeof(s.request));
	status_write(&step->store, &s);
	if (c->report > 0)
		close(c->report);
	shape_free(&c->shape);
	*c = (struct check){ .child = 0 };
}

/* There is something more important now. */
static void cancel(struct check *c, const struct step *step)
{
	if (c->child <= 0)
		return;
	kill(c->child, SIGKILL);
	report(c, "note", "the restore was not rehearsed to its end: another checkpoint was to be taken meanwhile");
	answer(c, step);
}

bool check_begin(struct check *c, const struct step *step, struct order *order)
{
	cancel(c, step);
	if (strncmp(order->request, CHECK_REQUEST, strlen(CHECK_REQUEST)))
		return false;
	memcpy(c->request, order->request, sizeof(c->request));
	if (c->report <= 0)
		c->report = memfd_create("check", MFD_CLOEXEC);
	report(c, "node", "%s", step->spec.node);
	order->shape = &c->shape;
	return true;
}

static void report_all(const struct check *c, const struct blockers *found)
{
	char text[400];

	for (int i = 0; i < found->count; i++) {
		blocker_print(&found->list[i], text, sizeof(text));
		report(c, "blocks", "%s", text);
	}
	if (found->more)
		report(c, "blocks", "and %d more like these", found->more);
}

void check_refused(struct check *c, const struct step *step, const struct err *e)
{
	cleanup_free pid_t *pids = NULL;
	struct blockers found = { .count = 0 }, silent = { .count = 0 };
	int count = program_tree(step->root, &pids, NULL);

	if (!*c->request)
		return;
	if (count > 0) {
		blockers_find(pids, count, step->spec.elevate, &found);
		blockers_silent(pids, count, &silent);
	}
	report_all(c, &found);
	report_all(c, &silent);
	/* Else the refusal is one of these. */
	if (!found.count && !silent.count && step->others_fault)
		report(c, "note", "its part was not rehearsed, for what is in the way on another node");
	else if (!found.count && !silent.count)
		report(c, "blocks", "%s", e->text);
	answer(c, step);
}

void check_restore(struct check *c, const struct step *step)
{
	struct generation g = { step->last.generation, step->spec.restart };
	struct copy copy = { .step = step, .check = c };
	struct err e = { "" };
	char size[16], stopped[16];

	if (!*c->request)
		return;
	size_print((uint64_t)step->last.resident, size);
	span_print(step->last.frozen_us, stopped);
	/* Of all nodes the first tells of it. */
	if (!step->spec.part)
		report(c, "ok", "checkpoint %d was taken of %s of memory, stopped for %s; it counts as any other",
		       step->last.generation, size, stopped);
	if (generation_load(&step->store, g, geteuid(), &step->spec, &copy.m,
			    &e) < 0) {
		report(c, "blocks", "the checkpoint cannot be read: %s", e.text);
		answer(c, step);
		return;
	}
	c->child = fork();
	if (c->child == 0)
		outside(&copy);
	manifest_free(&copy.m);
	if (c->child < 0) {
		not_rehearsed(c, "no process for it");
		answer(c, step);
	}
}

bool check_reap(struct check *c, const struct step *step, pid_t pid, int status)
{
	if (c->child <= 0 || pid != c->child)
		return false;
	if (!WIFEXITED(status))
		report(c, "note", "the restore was not rehearsed to its end: it was killed by signal %d",
		       WTERMSIG(status));
	answer(c, step);
	return true;
}
