/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The step's processes, as the kernel tells of them in the step's own /proc: what criu needs
 * for them, and whether they are what they have to be. Nobody of the tree can get more than it
 * was started with, for it has no_new_privs; this looks at it all the same, once before
 * criu starts, and once with all of it frozen, before the images are sealed.
 */
#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/capability.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "broker.h"
#include "sckpt/image.h"

struct process {
	pid_t pid, parent;
	bool ours; /* below the root */
	char name[32];
};

struct look {
	const struct broker *b;
	struct process *list;
	size_t count;
	unsigned long *sockets; /* inodes that the tree holds */
	size_t socket_count;
	int needs;
	const uint8_t *vdso; /* this kernel's, 32 bytes */
};

static bool is_number(const char *name)
{
	return *name && name[strspn(name, "0123456789")] == '\0';
}

/* ---- the tree ----------------------------------------------------------------------- */

static bool read_process(const char *pid, struct process *p)
{
	cleanup_free char *stat = NULL;
	char path[64], *open, *close;

	*p = (struct process){ .pid = atoi(pid) };
	snprintf(path, sizeof(path), "/proc/%d/stat", p->pid);
	if (file_read(AT_FDCWD, path, 4096, &stat, NULL) <= 0 ||
	    !(open = strchr(stat, '(')) || !(close = strrchr(stat, ')')) ||
	    sscanf(close + 1, " %*c %d", &p->parent) != 1)
		return false;
	*close = '\0';
	snprintf(p->name, sizeof(p->name), "%s", open + 1);
	text_plain(p->name);
	return true;
}

static int read_processes(struct look *l, struct err *e)
{
	DIR *dir = opendir("/proc");
	struct dirent *entry;
	size_t room = 0;
	bool more = true;

	if (!dir)
		return err_sys(e, "cannot look at the step's processes");
	while ((entry = readdir(dir))) {
		if (!is_number(entry->d_name))
			continue;
		if (l->count == room) {
			struct process *list;

			room = room ? room * 2 : 64;
			if (!(list = realloc(l->list, room * sizeof(*list)))) {
				closedir(dir);
				return err_set(e, "no memory to look at the step's processes");
			}
			l->list = list;
		}
		if (read_process(entry->d_name, &l->list[l->count]))
			l->count++;
	}
	closedir(dir);
	/* Parents need not stand before their children. */
	while (more) {
		more = false;
		for (size_t i = 0; i < l->count; i++) {
			bool ours = l->list[i].pid == ROOT_PID;

			for (size_t k = 0; !ours && k < l->count; k++)
				ours = l->list[k].ours && l->list[k].pid == l->list[i].parent;
			more |= ours && !l->list[i].ours;
			l->list[i].ours |= ours;
		}
	}
	return 0;
}

/* ---- a process ------------------------------------------------------------------------ */

static bool find(const char *status, const char *name, const char **value)
{
	char key[32];
	const char *at;

	snprintf(key, sizeof(key), "\n%s:\t", name);
	if (!(at = strstr(status, key)))
		return false;
	*value = at + strlen(key);
	return true;
}

static uint64_t caps_of(const char *status, const char *name)
{
	const char *value;

	return find(status, name, &value) ? strtoull(value, NULL, 16) : UINT64_MAX;
}

static int look_at_thread(struct look *l, const struct process *p, const char *tid,
			  struct err *e)
{
	static const char *const sets[] = { "CapInh", "CapPrm", "CapEff", "CapAmb" };
	cleanup_free char *status = NULL;
	const char *value;
	unsigned id[4];
	char path[320];

	snprintf(path, sizeof(path), "/proc/%d/task/%s/status", p->pid, tid);
	if (file_read(AT_FDCWD, path, 1 << 20, &status, NULL) <= 0)
		return 0; /* it has ended */
	if (!find(status, "Uid", &value) ||
	    sscanf(value, "%u %u %u %u", &id[0], &id[1], &id[2], &id[3]) != 4)
		return err_set(e, "process %d is not understood", p->pid);
	for (int i = 0; i < 4; i++)
		if (id[i] != l->b->uid)
			return err_set(e, "%s[%d] has another user id", p->name, p->pid);
	for (size_t i = 0; i < sizeof(sets) / sizeof(sets[0]); i++)
		if (caps_of(status, sets[i]) & ~ALLOWED_CAPS)
			return err_set(e, "%s[%d] has capabilities", p->name, p->pid);
	if (!find(status, "NoNewPrivs", &value) || atoi(value) != 1)
		return err_set(e, "%s[%d] may get new rights (no_new_privs is not set)",
			       p->name, p->pid);
	if (find(status, "Seccomp", &value) && atoi(value) > 0)
		l->needs |= ELEVATE_SECCOMP;
	return 0;
}

static int look_at_threads(struct look *l, const struct process *p, struct err *e)
{
	struct dirent *entry;
	char path[64];
	int rc = 0;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/task", p->pid);
	if (!(dir = opendir(path)))
		return 0; /* it has ended */
	while (rc == 0 && (entry = readdir(dir)))
		if (is_number(entry->d_name))
			rc = look_at_thread(l, p, entry->d_name, e);
	closedir(dir);
	return rc;
}

/* Those that the broker has entered, all of them, and its user namespace: the agent may have others. */
static int look_at_namespaces(const struct process *p, struct err *e)
{
	static const char *const kinds[] = { "user", "pid", "pid_for_children", "mnt", "net",
					     "ipc",  "uts", "cgroup" };

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		char path[64], its[64] = "", ours[64] = "";

		snprintf(path, sizeof(path), "/proc/%d/ns/%s", p->pid, kinds[i]);
		if (readlink(path, its, sizeof(its) - 1) < 0)
			continue; /* a zombie has none */
		snprintf(path, sizeof(path), "/proc/self/ns/%s", kinds[i]);
		if (readlink(path, ours, sizeof(ours) - 1) < 0 || strcmp(its, ours))
			return err_set(e, "%s[%d] is in a namespace of its own (%s): run it without its sandbox or container",
				       p->name, p->pid, kinds[i]);
	}
	return 0;
}

/* Of one that has ended the kernel says that its files are root's. */
static bool has_ended(pid_t pid)
{
	cleanup_free char *status = NULL;
	const char *value;
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	return file_read(AT_FDCWD, path, 1 << 20, &status, NULL) <= 0 ||
	       (find(status, "State", &value) && (*value == 'Z' || *value == 'X'));
}

/* What its user may not read themself is not theirs by a dump. */
static int look_at_owner(const struct look *l, const struct process *p, struct err *e)
{
	char path[64];
	struct stat st;

	snprintf(path, sizeof(path), "/proc/%d/mem", p->pid);
	if (stat(path, &st) == 0 && st.st_uid != l->b->uid && !has_ended(p->pid))
		return err_set(e, "%s[%d] has made itself not dumpable, or runs a program that cannot be read",
			       p->name, p->pid);
	return 0;
}

static int look_at_sockets(struct look *l, const struct process *p, struct err *e)
{
	struct dirent *entry;
	char path[64];
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/fd", p->pid);
	if (!(dir = opendir(path)))
		return 0;
	while ((entry = readdir(dir))) {
		char link[64];
		unsigned long inode, *more;
		ssize_t n = readlinkat(dirfd(dir), entry->d_name, link, sizeof(link) - 1);

		if (n <= 0)
			continue;
		link[n] = '\0';
		if (sscanf(link, "socket:[%lu]", &inode) != 1)
			continue;
		more = realloc(l->sockets, (l->socket_count + 1) * sizeof(*more));
		if (!more) {
			closedir(dir);
			return err_set(e, "no memory to look at the step's sockets");
		}
		l->sockets = more;
		more[l->socket_count++] = inode;
	}
	closedir(dir);
	return 0;
}

/* ---- the vDSO ------------------------------------------------------------------------- */

#define VDSO_MOST (1U << 20)

static bool find_vdso(pid_t pid, uint64_t *start, uint64_t *size)
{
	cleanup_free char *maps = NULL;
	char path[64], *rest, *line;
	uint64_t end;

	snprintf(path, sizeof(path), "/proc/%d/maps", pid);
	if (file_read(AT_FDCWD, path, 256 << 20, &maps, NULL) <= 0)
		return false;
	for (rest = maps; (line = strsep(&rest, "\n"));)
		if (strstr(line, " [vdso]") &&
		    sscanf(line, "%" SCNx64 "-%" SCNx64, start, &end) == 2 && end > *start &&
		    end - *start <= VDSO_MOST) {
			*size = end - *start;
			return true;
		}
	return false;
}

int vdso_digest(uint8_t out[32], struct err *e)
{
	uint64_t start, size;

	memset(out, 0, 32);
	if (find_vdso(getpid(), &start, &size))
		image_sha256((const void *)(uintptr_t)start, (size_t)size, out);
	else if (getauxval(AT_SYSINFO_EHDR))
		return err_set(e, "cannot find the kernel's vDSO");
	return 0;
}

/* Criu patches the vDSO of a program that it restores with another kernel, and would by what stands in
 * it, with more than the user's rights: the keeper compares it at a restore, and this one
 * would not pass. */
static int look_at_vdso(const struct look *l, const struct process *p, struct err *e)
{
	cleanup_free uint8_t *data = NULL;
	cleanup_fd int mem = -1;
	uint8_t digest[32];
	uint64_t start, size;
	char path[64];

	if (!find_vdso(p->pid, &start, &size))
		return 0;
	snprintf(path, sizeof(path), "/proc/%d/mem", p->pid);
	if ((mem = open(path, O_RDONLY | O_CLOEXEC)) < 0 || !(data = malloc(size)) ||
	    pread(mem, data, size, (off_t)start) != (ssize_t)size)
		return 0; /* it has ended */
	image_sha256(data, (size_t)size, digest);
	if (!memcmp(digest, l->vdso, sizeof(digest)))
		return 0;
	return err_set(e, "%s[%d] has another vDSO than this kernel's: it was restored from another kernel's, or is a 32-bit program, and cannot be checkpointed with more than CAP_CHECKPOINT_RESTORE here",
		       p->name, p->pid);
}

/* ---- connections ------------------------------------------------------------------------ */

struct end {
	char address[33];
	unsigned port;
};

struct connection {
	struct end here, there;
	unsigned state;
	unsigned long inode;
	bool ours;
};

#define ESTABLISHED 1 /* net/tcp_states.h */
#define LISTEN 10

static bool has_socket(const struct look *l, unsigned long inode)
{
	for (size_t i = 0; inode && i < l->socket_count; i++)
		if (l->sockets[i] == inode)
			return true;
	return false;
}

/* /proc/net/tcp, tcp6: addresses as words of 32 bits in the machine's order. */
static bool is_loopback(const char *address)
{
	static const char mapped[] = "0000000000000000FFFF0000";
	unsigned word;

	if (strlen(address) == 32) {
		if (!strcmp(address, "00000000000000000000000001000000"))
			return true;
		if (strncmp(address, mapped, 24))
			return false;
		address += 24;
	}
	return sscanf(address, "%8x", &word) == 1 && ntohl(word) >> 24 == 127;
}

static void print_end(const struct end *at, char text[64])
{
	struct in_addr in;
	unsigned word;

	if (strlen(at->address) == 8 && sscanf(at->address, "%8x", &word) == 1) {
		in.s_addr = word;
		snprintf(text, 64, "%s:%u", inet_ntoa(in), at->port);
	} else {
		snprintf(text, 64, "port %u", at->port);
	}
}

static int read_table(struct look *l, const char *path, struct connection **list,
		      size_t *count, struct err *e)
{
	cleanup_free char *text = NULL;
	size_t room = 0;
	char *rest, *line;

	*list = NULL;
	*count = 0;
	if (file_read(AT_FDCWD, path, 256 << 20, &text, NULL) < 0)
		return 0; /* no such protocol */
	for (rest = text; (line = strsep(&rest, "\n"));) {
		struct connection c = { .state = 0 }, *more;

		if (sscanf(line, " %*d: %32[0-9A-F]:%x %32[0-9A-F]:%x %x %*s %*s %*s %*s %*s %lu",
			   c.here.address, &c.here.port, c.there.address, &c.there.port,
			   &c.state, &c.inode) != 6 ||
		    c.state == LISTEN)
			continue;
		c.ours = has_socket(l, c.inode);
		if (*count == room) {
			room = room ? room * 2 : 64;
			if (!(more = realloc(*list, room * sizeof(*more))))
				return err_set(e, "no memory to look at the step's connections");
			*list = more;
		}
		(*list)[(*count)++] = c;
	}
	return 0;
}

static bool same_end(const struct end *a, const struct end *b)
{
	return a->port == b->port && !strcmp(a->address, b->address);
}

static int look_at_table(struct look *l, const char *path, struct err *e)
{
	struct connection *list;
	size_t count;
	int rc = read_table(l, path, &list, &count, e);

	for (size_t i = 0; rc == 0 && i < count; i++) {
		const struct connection *c = &list[i];
		char here[64], there[64];
		bool whole = c->state != ESTABLISHED;

		if (!c->ours)
			continue;
		l->needs |= ELEVATE_TCP;
		print_end(&c->here, here);
		print_end(&c->there, there);
		if (!is_loopback(c->here.address) || !is_loopback(c->there.address))
			rc = err_set(e, "it has a TCP connection from %s to %s, and only those by the loopback addresses can go along: close it before it is stopped",
				     here, there);
		for (size_t k = 0; !whole && k < count; k++)
			whole = list[k].ours && same_end(&list[k].here, &c->there) &&
				same_end(&list[k].there, &c->here);
		if (rc == 0 && !whole)
			rc = err_set(e, "it has a TCP connection from %s to %s, whose other end is not in the job: close it before it is stopped",
				     here, there);
	}
	free(list);
	return rc;
}

/* ---- all of it ---------------------------------------------------------------------------- */

int look_at_node(void)
{
	cleanup_free char *scope = NULL;

	/* Not there: no Yama. */
	return file_read(AT_FDCWD, "/proc/sys/kernel/yama/ptrace_scope", 16, &scope, NULL) > 0 &&
			       atoi(scope) > 0 ?
		       ELEVATE_PTRACE :
		       0;
}

int look_at_tree(const struct broker *b, const uint8_t vdso[32], int *needs, struct err *e)
{
	struct look l = { .b = b, .needs = look_at_node(), .vdso = vdso };
	int rc = read_processes(&l, e);
	bool any = false;

	for (size_t i = 0; rc == 0 && i < l.count; i++) {
		const struct process *p = &l.list[i];

		if (!p->ours)
			continue;
		any = true;
		if (look_at_threads(&l, p, e) < 0 || look_at_namespaces(p, e) < 0 ||
		    look_at_owner(&l, p, e) < 0 || look_at_sockets(&l, p, e) < 0 ||
		    look_at_vdso(&l, p, e) < 0)
			rc = -1;
	}
	if (rc == 0 && !any)
		rc = err_set(e, "the step has no program");
	if (rc == 0 && (look_at_table(&l, "/proc/self/net/tcp", e) < 0 ||
			look_at_table(&l, "/proc/self/net/tcp6", e) < 0))
		rc = -1;
	free(l.list);
	free(l.sockets);
	*needs = l.needs;
	return rc;
}

int look_whether_it_stands(pid_t criu, struct err *e)
{
	cleanup_free char *status = NULL;
	siginfo_t end = { .si_pid = 0 };
	const char *state, *tracer;
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/status", ROOT_PID);
	/* In this order: of the tasks of a criu that ends, the root may be the last one to go on. */
	if (file_read(AT_FDCWD, path, 1 << 20, &status, NULL) > 0 && find(status, "State", &state) &&
	    *state == 't' && find(status, "TracerPid", &tracer) && atoi(tracer) == criu &&
	    waitid(P_PID, (id_t)criu, &end, WEXITED | WNOHANG | WNOWAIT) == 0 && !end.si_pid)
		return 0;
	return err_set(e, "it was let go on before all of it had been looked at: criu, or its child that asks, was killed");
}

int look_for_sockets(unsigned long **list, size_t *count, struct err *e)
{
	struct look l = { .b = NULL };
	int rc = read_processes(&l, e);

	for (size_t i = 0; rc == 0 && i < l.count; i++)
		if (l.list[i].ours)
			rc = look_at_sockets(&l, &l.list[i], e);
	free(l.list);
	free(*list);
	*list = l.sockets;
	*count = l.socket_count;
	return rc;
}

int look_at_groups(struct err *e)
{
	cleanup_free char *agents = NULL, *roots = NULL;
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/cgroup", ROOT_PID);
	if (file_read(AT_FDCWD, "/proc/1/cgroup", 1 << 16, &agents, e) < 0 ||
	    file_read(AT_FDCWD, path, 1 << 16, &roots, e) < 0)
		return -1;
	return strcmp(agents, roots) ?
		       err_set(e, "what was restored is not in the step's cgroups") :
		       0;
}

int start_timers(struct err *e)
{
	struct look l = { .b = NULL };
	int rc = read_processes(&l, e);

	for (size_t i = 0; rc == 0 && i < l.count; i++)
		if (l.list[i].ours)
			rc = timers_start(&l.list[i].pid, 1, e);
	free(l.list);
	return rc;
}
