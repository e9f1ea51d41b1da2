/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a program needs of the node that it goes on on: the files it has mapped,
 * which have to be the same (a library of another build has its code elsewhere,
 * and nobody but the program would notice), and the instructions that it may have
 * found its processor to have; with mounts.c and room.c. Looked at before criu starts.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "files.h"
#include "needs.h"

/* Program headers and the note are at the begin of what linkers make. */
#define HEAD 65536

/* false: there is no such file. */
static bool read_build_id(const char *path, char id[BUILD_ID_MAX])
{
	cleanup_fd int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	cleanup_free uint8_t *head = malloc(HEAD);
	struct stat st;
	ssize_t n;

	id[0] = '\0';
	if (fd < 0) /* one that may only be executed, too */
		return access(path, F_OK) == 0;
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || !head)
		return true;
	if ((n = pread(fd, head, HEAD, 0)) > 0)
		build_id_of(head, (size_t)n, id);
	return true;
}

/* And what else of the machine a program is made for: words of the same kind. */
static void cpu_flags(char *flags, size_t size)
{
	cleanup_free char *text = NULL;
	struct utsname machine;
	size_t n;

	flags[0] = '\0';
	if (file_read(AT_FDCWD, "/proc/cpuinfo", 64 << 20, &text, NULL) > 0)
		cpu_flags_of(text, flags, size);
	n = strlen(flags);
	if (uname(&machine) == 0)
		snprintf(flags + n, size - n, "%s%.60s %ld-byte-pages", n ? " " : "",
			 machine.machine, sysconf(_SC_PAGESIZE));
}

/* ---- at a dump ------------------------------------------------------------------ */

struct finding {
	const struct step *step;
	struct manifest *m;
	struct stat *list; /* as many as m->needs */
	size_t room, last;
	struct err *e;
};

static bool is_known(struct finding *f, const struct stat *st)
{
	/* A file has several mappings, one after the other. */
	for (size_t n = 0; n < f->m->need_count; n++) {
		size_t i = (f->last + n) % f->m->need_count;

		if (f->list[i].st_ino == st->st_ino &&
		    f->list[i].st_dev == st->st_dev) {
			f->last = i;
			return true;
		}
	}
	return false;
}

static int add(struct finding *f, const char *path, const struct stat *st)
{
	struct manifest_need need = { .path = NULL };
	size_t n = f->m->need_count;

	if (n == f->room) {
		size_t room = n ? 2 * n : 64;
		void *needs = realloc(f->m->needs, room * sizeof(need)), *list;

		if (needs)
			f->m->needs = needs;
		list = needs ? realloc(f->list, room * sizeof(*st)) : NULL;
		if (!list)
			return err_set(f->e, "no memory for the program's libraries");
		f->list = list;
		f->room = room;
	}
	f->list[n] = *st;
	/* Of what is not there any more by this name nothing can be said. */
	if (read_build_id(path, need.build_id) && !(need.path = strdup(path)))
		return err_set(f->e, "no memory for the program's libraries");
	f->m->needs[n] = need;
	f->m->need_count++;
	return 0;
}

/* "from-to perms offset major:minor inode   path" (proc_pid_maps(5)) */
static int take_line(struct finding *f, char *line)
{
	char perms[5], *path = strchr(line, '/');
	unsigned int major, minor;
	unsigned long inode;
	struct stat st = { .st_ino = 0 };

	if (!path || sscanf(line, "%*s %4s %*s %x:%x %lu", perms, &major, &minor,
			    &inode) != 4 || !inode)
		return 0;
	st.st_dev = makedev(major, minor);
	st.st_ino = inode;
	/* Files are shared to be written to; a newline is an escape here. */
	if ((perms[1] == 'w' && perms[3] == 's') || strchr(path, '\\') ||
	    is_known(f, &st) || f->m->need_count >= MANIFEST_NEEDS_MAX ||
	    local_is(f->step, path))
		return 0;
	if ((strlen(path) > 10 && !strcmp(path + strlen(path) - 10, " (deleted)")) ||
	    file_silly_renamed(path))
		return 0;
	return add(f, path, &st);
}

int needs_find(const struct step *step, const pid_t *pids, int count,
	       struct manifest *m, struct err *e)
{
	struct finding f = { .step = step, .m = m, .e = e };
	size_t kept = 0;
	int rc = 0;

	cpu_flags(m->cpu, sizeof(m->cpu));
	for (int i = 0; rc == 0 && i < count; i++) {
		cleanup_free char *text = NULL;
		char path[64], *at, *line;

		snprintf(path, sizeof(path), "/proc/%d/maps", pids[i]);
		if (file_read(AT_FDCWD, path, 256 << 20, &text, NULL) < 0)
			continue; /* it is gone */
		at = text;
		while (rc == 0 && (line = strsep(&at, "\n")))
			rc = take_line(&f, line);
	}
	free(f.list);
	for (size_t i = 0; i < m->need_count; i++)
		if (m->needs[i].path)
			m->needs[kept++] = m->needs[i];
	m->need_count = kept;
	room_find(step->root, pids, count, m);
	return rc < 0 ? -1 : mounts_find(step, pids, count, m, e);
}

/* ---- at a restore ------------------------------------------------------------------ */

/* Named as an administrator can install it: "package libz1 1.3"; "" nobody knows. */
static void name_package(const char *path, char *text, size_t size)
{
	char *envp[] = { "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C", NULL };
	char *of[] = { "/usr/bin/dpkg-query", "-S", (char *)path, NULL };
	char *version[] = { "/usr/bin/dpkg-query", "-W", "-f",
			    "${Package} ${Version}", NULL, NULL };
	char *rpm[] = { "/usr/bin/rpm", "-qf", (char *)path, NULL };
	cleanup_free char *owner = NULL, *full = NULL;

	text[0] = '\0';
	if (run_collect(of, envp, 5000, 65536, &owner, NULL) >= 0) {
		owner[strcspn(owner, ", \n")] = '\0';
		if (*owner && owner[strlen(owner) - 1] == ':')
			owner[strlen(owner) - 1] = '\0';
		version[4] = owner;
		if (run_collect(version, envp, 5000, 65536, &full, NULL) < 0)
			full = strdup(owner);
	} else if (run_collect(rpm, envp, 5000, 65536, &full, NULL) < 0) {
		return;
	}
	if (full)
		snprintf(text, size, ", here of package %.*s",
			 (int)strcspn(full, "\n"), full);
}

/* What is wrong with it; packages are asked for, which takes its time. */
static void name_need(const struct manifest_need *need, bool there, const char *id,
		      char *text, size_t size)
{
	char package[160];

	if (!there) {
		snprintf(text, size, "%.200s is not there", need->path);
		return;
	}
	name_package(need->path, package, sizeof(package));
	snprintf(text, size, "%.200s is of another build (%.8s, and was %.8s)%s",
		 need->path, *id ? id : "none", need->build_id, package);
}

#define NAMED 3 /* so many are named; one is as a rule the cause of the others */

int needs_met(const struct manifest *m, const char *node, struct err *e)
{
	char now[CPU_FLAGS_MAX], lacks[200], all[700] = "", one[400];
	char id[BUILD_ID_MAX];
	int missing = 0;

	cpu_flags(now, sizeof(now));
	cpu_lacks(m->cpu, now, lacks, sizeof(lacks));
	if (*lacks)
		return err_set(e, "the processor of %s has no %s, which that of %s had and the program may use",
			       node, lacks, m->node);
	if (mounts_met(m, node, e) < 0)
		return -1;
	for (size_t i = 0; i < m->need_count; i++) {
		const struct manifest_need *need = &m->needs[i];
		bool there = read_build_id(need->path, id);
		size_t n = strlen(all);

		if ((there && (!*need->build_id || !strcmp(id, need->build_id))) ||
		    missing++ >= NAMED)
			continue;
		name_need(need, there, id, one, sizeof(one));
		snprintf(all + n, sizeof(all) - n, "%s%s", n ? "; " : "", one);
	}
	if (!missing)
		return 0;
	if (missing > NAMED)
		snprintf(one, sizeof(one), "; and %d more", missing - NAMED);
	return err_set(e, "the program has files mapped that are not the same on %s as on %s: %s%s. Install the same there",
		       node, m->node, all, missing > NAMED ? one : "");
}
