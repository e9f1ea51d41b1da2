/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What in a tree criu cannot dump with CAP_CHECKPOINT_RESTORE alone, by name:
 * criu's own first error tells neither process nor descriptor. What is looked
 * for was seen to be refused (CRIU 4.1.1 and 4.2.1).
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "step.h"

static const struct {
	const char *link; /* begin of /proc/PID/fd/N's target */
	const char *what, *way_out;
} descriptors[] = {
	{ "anon_inode:inotify", "an inotify watch",
	  "watch by polling, or close it" },
	{ "anon_inode:[inotify]", "an inotify watch",
	  "watch by polling, or close it" },
	{ "anon_inode:[fanotify]", "a fanotify watch", "close it" },
	{ "anon_inode:[io_uring]", "an io_uring",
	  "run without it; an admin can set kernel.io_uring_disabled=1, and programs do without. Node.js opens one even with UV_USE_IO_URING=0" },
	{ "anon_inode:[userfaultfd]", "a userfaultfd", "close it" },
	{ "anon_inode:[perf_event]", "a perf event", "run without perf" },
	{ "anon_inode:bpf", "a BPF object", "close it" },
	{ "/dev/fuse", "a FUSE file system that it serves",
	  "unmount it (fusermount3 -u), and unpack what it shows into a directory" },
	{ "/dev/nvidia", "a GPU", "run without --checkpoint on GPUs" },
	{ "/dev/dri/", "a GPU", "run without --checkpoint on GPUs" },
	{ "/dev/kvm", "a virtual machine", "run without --checkpoint" },
};

/* What is looked at, and what was found so far. */
struct look {
	const pid_t *pids;
	int count, elevate;
	struct blockers *found;
	char *tcp, *tcp6; /* the kernel's tables, once they are needed */
	pid_t pid;
	char name[32];
};

static void who_is(struct look *l, pid_t pid)
{
	cleanup_free char *comm = NULL;
	char path[64];

	l->pid = pid;
	snprintf(path, sizeof(path), "/proc/%d/comm", pid);
	if (file_read(AT_FDCWD, path, 256, &comm, NULL) < 0)
		snprintf(l->name, sizeof(l->name), "process");
	else
		snprintf(l->name, sizeof(l->name), "%.*s",
			 (int)strcspn(comm, "\n"), comm);
}

static void add(struct look *l, const char *way_out, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* A process that has a thousand of one kind is told once. */
static void add(struct look *l, const char *way_out, const char *fmt, ...)
{
	struct blockers *all = l->found;
	struct blocker *b;
	va_list ap;

	for (int i = 0; i < all->count; i++)
		if (all->list[i].pid == l->pid && all->list[i].way_out == way_out) {
			all->list[i].more++;
			return;
		}
	if (all->count == BLOCKERS_MAX) {
		all->more++;
		return;
	}
	b = &all->list[all->count++];
	*b = (struct blocker){ .pid = l->pid, .way_out = way_out };
	memcpy(b->name, l->name, sizeof(b->name));
	va_start(ap, fmt);
	vsnprintf(b->what, sizeof(b->what), fmt, ap);
	va_end(ap);
}

void blocker_print(const struct blocker *b, char *text, size_t size)
{
	char more[32] = "";

	if (b->more)
		snprintf(more, sizeof(more), " and %d more", b->more);
	snprintf(text, size, "%s[%d] %s%s: %s", b->name, b->pid, b->what, more,
		 b->way_out);
}

/* ---- descriptors ------------------------------------------------------------ */

/* An established connection by its socket's inode: local and remote address. */
bool blocker_connection(const char *table, unsigned long inode, char *text,
			size_t size)
{
	const char *line = table;

	for (; *line; line += strcspn(line, "\n"), line += *line == '\n') {
		unsigned la, lp, ra, rp, state;
		unsigned long ino;

		/* IPv4 as in net/ipv4/tcp_ipv4.c; of IPv6 the ports alone. */
		if (sscanf(line, "%*d: %8x:%x %8x:%x %x %*s %*s %*s %*s %*s %lu",
			   &la, &lp, &ra, &rp, &state, &ino) == 6) {
			if (ino != inode || state == 0x0a)
				continue;
			snprintf(text, size,
				 "a TCP connection %u.%u.%u.%u:%u to %u.%u.%u.%u:%u",
				 la & 255, la >> 8 & 255, la >> 16 & 255,
				 la >> 24, lp, ra & 255, ra >> 8 & 255,
				 ra >> 16 & 255, ra >> 24, rp);
			return true;
		}
		if (sscanf(line, "%*d: %*32[0-9A-F]:%x %*32[0-9A-F]:%x %x %*s %*s %*s %*s %*s %lu",
			   &lp, &rp, &state, &ino) == 4 &&
		    ino == inode && state != 0x0a) {
			snprintf(text, size,
				 "a TCP connection, port %u to port %u", lp, rp);
			return true;
		}
	}
	return false;
}

static bool in_table(char **table, const char *path, unsigned long inode,
		     char *text, size_t size)
{
	if (!*table && file_read(AT_FDCWD, path, 64 << 20, table, NULL) < 0)
		return false;
	return blocker_connection(*table, inode, text, size);
}

/* The number of a terminal whose master this descriptor is; -1: it is none. */
static int master_of(pid_t pid, const char *fd, const char *link)
{
	cleanup_free char *info = NULL;
	char path[320], *at;

	if (strcmp(link, "/dev/ptmx") && strcmp(link, "/dev/pts/ptmx"))
		return -1;
	snprintf(path, sizeof(path), "/proc/%d/fdinfo/%s", pid, fd);
	if (file_read(AT_FDCWD, path, 65536, &info, NULL) < 0 ||
	    !(at = strstr(info, "tty-index:")))
		return -1;
	return atoi(at + strlen("tty-index:"));
}

typedef bool look_fn(struct look *l, pid_t pid, const char *fd,
		     const char *link, void *arg);

/* Until look() returns true. */
static bool each_fd(struct look *l, pid_t pid, look_fn *look, void *arg)
{
	struct dirent *entry;
	bool done = false;
	char path[64];
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	if (!(dir = opendir(path)))
		return false;
	while (!done && (entry = readdir(dir))) {
		char link[256];
		ssize_t n = readlinkat(dirfd(dir), entry->d_name, link,
				       sizeof(link) - 1);

		if (n <= 0)
			continue;
		link[n] = '\0';
		done = look(l, pid, entry->d_name, link, arg);
	}
	closedir(dir);
	return done;
}

static bool is_master(struct look *l, pid_t pid, const char *fd,
		      const char *link, void *arg)
{
	(void)l;
	return master_of(pid, fd, link) == *(int *)arg;
}

/* A terminal goes along when its other end is in the tree, too. */
static void look_at_terminal(struct look *l, const char *fd, const char *link)
{
	int number = atoi(link + strlen("/dev/pts/"));

	for (int i = 0; i < l->count; i++)
		if (each_fd(l, l->pids[i], is_master, &number))
			return;
	add(l, "run it without a terminal, or under script(1) inside of the job",
	    "is on the terminal %s, whose other end is not in the job (descriptor %s)",
	    link, fd);
}

static bool look_at_fd(struct look *l, pid_t pid, const char *fd,
		       const char *link, void *arg)
{
	char tcp[128];
	unsigned long inode;

	(void)pid, (void)arg;
	for (size_t i = 0; i < sizeof(descriptors) / sizeof(descriptors[0]); i++)
		if (!strncmp(link, descriptors[i].link,
			     strlen(descriptors[i].link)))
			add(l, descriptors[i].way_out, "holds %s (descriptor %s)",
			    descriptors[i].what, fd);
	if (!strncmp(link, "/dev/pts/", 9) && link[9] >= '0' && link[9] <= '9')
		look_at_terminal(l, fd, link);
	if (sscanf(link, "socket:[%lu]", &inode) == 1 &&
	    (in_table(&l->tcp, "/proc/net/tcp", inode, tcp, sizeof(tcp)) ||
	     in_table(&l->tcp6, "/proc/net/tcp6", inode, tcp, sizeof(tcp)))) {
		l->found->needs |= ELEVATE_TCP;
		if (!(l->elevate & ELEVATE_TCP))
			add(l, "close it before it is stopped",
			    "holds %s (descriptor %s)", tcp, fd);
	}
	return false;
}

/* What criu dumps without a word and brings back as something else. */
static bool look_at_silent_fd(struct look *l, pid_t pid, const char *fd,
			      const char *link, void *arg)
{
	cleanup_free char *info = NULL;
	char path[320];

	(void)arg;
	if (strcmp(link, "anon_inode:[eventfd]"))
		return false;
	snprintf(path, sizeof(path), "/proc/%d/fdinfo/%s", pid, fd);
	/* Told since Linux 6.5 (fs/eventfd.c). */
	if (file_read(AT_FDCWD, path, 65536, &info, NULL) > 0 &&
	    strstr(info, "eventfd-semaphore: 1"))
		add(l, "use sem_init",
		    "uses an eventfd as a semaphore (descriptor %s), which criu would bring back as a plain one",
		    fd);
	return false;
}

/* ---- the process itself -------------------------------------------------------- */

static void look_at_memory(struct look *l)
{
	cleanup_free char *maps = NULL;
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/maps", l->pid);
	if (file_read(AT_FDCWD, path, 256 << 20, &maps, NULL) > 0 &&
	    strstr(maps, " /SYSV"))
		add(l, "use shm_open or mmap instead",
		    "uses System V shared memory (shmget)");
}

static void look_at_status(struct look *l)
{
	cleanup_free char *status = NULL;
	char path[64];
	int tracer;

	snprintf(path, sizeof(path), "/proc/%d/status", l->pid);
	if (file_read(AT_FDCWD, path, 65536, &status, NULL) < 0)
		return;
	if (text_number(status, "\nSeccomp:") > 0) {
		l->found->needs |= ELEVATE_SECCOMP;
		if (!(l->elevate & ELEVATE_SECCOMP))
			add(l, "run it without its sandbox, or ask the admin for elevate=seccomp",
			    "has put itself under seccomp");
	}
	if ((tracer = (int)text_number(status, "\nTracerPid:")) > 0)
		add(l, "detach the debugger", "is traced by process %d", tracer);
}

static void look_at_namespace(struct look *l)
{
	char path[64], its[64] = "", ours[64] = "";

	snprintf(path, sizeof(path), "/proc/%d/ns/user", l->pid);
	if (readlink(path, its, sizeof(its) - 1) > 0 &&
	    readlink("/proc/self/ns/user", ours, sizeof(ours) - 1) > 0 &&
	    strcmp(its, ours))
		add(l, "run it without its sandbox or container (unshare, bubblewrap, rootless podman)",
		    "is in a user namespace of its own");
}

void blockers_find(const pid_t *pids, int count, int elevate, struct blockers *found)
{
	struct look l = { .pids = pids, .count = count, .elevate = elevate, .found = found };

	*found = (struct blockers){ .count = 0 };
	for (int i = 0; i < count; i++) {
		who_is(&l, pids[i]);
		each_fd(&l, pids[i], look_at_fd, NULL);
		look_at_memory(&l);
		look_at_status(&l);
		look_at_namespace(&l);
	}
	free(l.tcp);
	free(l.tcp6);
}

/*
 * fcntl(2), F_SETLEASE: criu opens what a program has open, for its build id (files-reg.c), and would
 * wait for the lease's holder, which is frozen; a signal of it ends the program then.
 */
static void look_for_leases(struct look *l)
{
	cleanup_free char *locks = NULL;
	char *rest, *line;
	int pid;

	/* Of other PID namespaces none are shown. */
	if (file_read(AT_FDCWD, "/proc/locks", 16 << 20, &locks, NULL) < 0)
		return;
	for (rest = locks; (line = strsep(&rest, "\n"));) {
		if (sscanf(line, "%*d: LEASE %*s WRITE %d ", &pid) != 1)
			continue;
		for (int i = 0; i < l->count; i++)
			if (l->pids[i] == pid) {
				who_is(l, pid);
				add(l, "give it back (F_UNLCK) before",
				    "has a lease on a file for writing (F_SETLEASE), which a checkpoint would break");
			}
	}
}

void blockers_silent(const pid_t *pids, int count, struct blockers *found)
{
	struct look l = { .pids = pids, .count = count, .found = found };

	*found = (struct blockers){ .count = 0 };
	for (int i = 0; i < count; i++) {
		who_is(&l, pids[i]);
		each_fd(&l, pids[i], look_at_silent_fd, NULL);
	}
	look_for_leases(&l);
}
