/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Directories of the store: where a step's generations are. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "dir.h"

/* A directory on the way down to the store. Root's or the user's own: anybody
 * else could exchange what is below it. */
static int step_down(int dir, const char *name, bool make, struct err *e)
{
	cleanup_fd int fd = -1;
	struct stat st;

	if (make && mkdirat(dir, name, 0700) < 0 && errno != EEXIST)
		return err_sys(e, "cannot make directory %s", name);
	fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return err_sys(e, "cannot open directory %s", name);
	if (fstat(fd, &st) < 0)
		return err_sys(e, "cannot look at directory %s", name);
	if (st.st_uid != 0 && st.st_uid != geteuid())
		return err_set(e, "directory %s belongs to user id %u", name,
			       st.st_uid);
	return steal_fd(&fd);
}

/* Whose process serves the mount that this is on (FUSE: user_id=); -1: none's, or it is not seen. */
static int64_t server_of(int dir)
{
	cleanup_free char *info = NULL, *mounts = NULL;
	char path[64], *rest, *line;
	struct statfs fs;
	long long id;

	if (fstatfs(dir, &fs) < 0 || fs.f_type != FUSE_SUPER_MAGIC)
		return -1;
	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", dir);
	if (file_read(AT_FDCWD, path, 65536, &info, NULL) <= 0 ||
	    !(id = text_number(info, "mnt_id:")) ||
	    file_read(AT_FDCWD, "/proc/self/mountinfo", 16 << 20, &mounts, NULL) <= 0)
		return -1;
	for (rest = mounts; (line = strsep(&rest, "\n"));)
		if (text_number(line, "") == id)
			return text_number(line, "user_id=");
	return -1;
}

/* What it says of owners and modes, and keeps of what is written, is its process's word. */
static int look_at_server(int dir, struct err *e)
{
	int64_t uid = server_of(dir);

	return uid > 0 && uid != geteuid() ?
		       err_set(e, "it is on a file system that a process of user id %" PRId64 " makes (FUSE)", uid) :
		       0;
}

/* The user's own directory: all of it below spec->fixed. 1: it is not there. */
static int open_base(const struct spec *spec, bool make, int *base,
		     struct err *e)
{
	cleanup_free char *copy = NULL;
	char *rest, *name, *next;
	cleanup_fd int dir = open(spec->fixed,
				  O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (dir < 0)
		return err_sys(e, "the store's directory %s is not there on %s",
			       spec->fixed, spec->node);
	if (strncmp(spec->base, spec->fixed, strlen(spec->fixed)))
		return err_set(e, "%s is not below %s", spec->base, spec->fixed);
	if (!(copy = strdup(spec->base + strlen(spec->fixed))))
		return err_sys(e, "cannot open the store");
	rest = copy + strspn(copy, "/");
	while ((name = strsep(&rest, "/"))) {
		int fd;

		rest = rest ? rest + strspn(rest, "/") : NULL;
		next = rest && *rest ? rest : NULL;
		fd = next ? step_down(dir, name, make, e) :
			    dir_private(dir, name, make, e);
		if (fd < 0)
			return !make && errno == ENOENT ?
				       1 :
				       err_context(e, "%s", spec->base);
		close(dir);
		dir = fd;
		if (!next)
			break;
	}
	if (look_at_server(dir, e) < 0)
		return err_context(e, "%s", spec->base);
	*base = steal_fd(&dir);
	return 0;
}

/* Opens <cluster>/<name> below the user's base. 1: it is not there. */
static int dir_below(const struct spec *spec, const char *name, bool make, int *dir,
	      struct err *e)
{
	cleanup_fd int base = -1, cluster = -1;
	int rc = open_base(spec, make, &base, e);

	if (rc)
		return rc;
	cluster = dir_private(base, spec->cluster, make, e);
	if (cluster >= 0)
		*dir = dir_private(cluster, name, make, e);
	if (cluster < 0 || *dir < 0)
		return !make && errno == ENOENT ?
			       1 :
			       err_context(e, "%s", spec->base);
	return 0;
}

static int open_job(const struct spec *spec, bool make, int *job,
		    struct err *e)
{
	char name[16];

	snprintf(name, sizeof(name), "%u", spec->job);
	return dir_below(spec, name, make, job, e);
}

/* Of a step on several nodes each has its own, but the first in the step's. */
static int open_part(const struct spec *spec, bool make, struct store *store,
		     struct err *e)
{
	struct store part;

	if (!spec->part)
		return 0;
	if (part_open(store, spec->part, make, &part, e) < 0)
		return -1;
	close(store->dir);
	*store = part;
	return 0;
}

int store_open(const struct spec *spec, bool make, struct store *store,
	       struct err *e)
{
	cleanup_fd int job = -1;
	int rc = open_job(spec, make, &job, e);

	store->dir = -1;
	snprintf(store->path, sizeof(store->path), "%s/%s/%u/%s", spec->base,
		 spec->cluster, spec->job, spec->step);
	if (rc)
		return rc;
	if ((store->dir = dir_private(job, spec->step, make, e)) < 0 ||
	    open_part(spec, make, store, e) < 0) {
		rc = !make && errno == ENOENT ? 1 :
						err_context(e, "%s", store->path);
		store_close(store);
		return rc;
	}
	if (make && faccessat(store->dir, ".", W_OK, AT_EACCESS) < 0) {
		err_sys(e, "cannot write to %s", store->path);
		store_close(store);
		return -1;
	}
	return 0;
}

void store_close(struct store *store)
{
	if (store->dir >= 0)
		close(store->dir);
	store->dir = -1;
}

int store_open_path(const char *path, struct store *store, struct err *e)
{
	*store = (struct store){ .dir = dir_private(AT_FDCWD, path, false, e) };
	snprintf(store->path, sizeof(store->path), "%s", path);
	return store->dir < 0 ? -1 : 0;
}

int dir_beside(const struct spec *spec, const char *name, bool make,
	       struct store *at, struct err *e)
{
	at->dir = -1;
	snprintf(at->path, sizeof(at->path), "%s/%s/%s", spec->base,
		 spec->cluster, name);
	return dir_below(spec, name, make, &at->dir, e);
}

/* ---- all steps of a user ---------------------------------------------------- */

struct each {
	struct spec step;
	int dir; /* whose names are visited */
	int (*in_cluster)(const char *name, void *arg);
	int (*visit)(const struct spec *step, void *arg);
	void *arg;
	struct err *e;
};

/* Opens dir/name and visits what is in it. */
static int each_below(struct each *at, const char *name,
		      int (*visit)(const char *name, void *arg))
{
	struct each below = *at;
	struct store store = { .dir = dir_private(at->dir, name, false, at->e) };
	int rc;

	if (store.dir < 0)
		/* Gone in between, or no directory. */
		return errno == ENOENT || errno == ENOTDIR || errno == ELOOP ?
			       0 :
			       err_context(at->e, "%s", at->step.base);
	snprintf(store.path, sizeof(store.path), "%s/.../%.300s", at->step.base,
		 name);
	below.dir = store.dir;
	rc = dir_each(&store, visit, &below, at->e);
	store_close(&store);
	return rc;
}

static int each_step(const char *name, void *arg)
{
	struct each *at = arg;
	struct stat st;

	if (*name == '.' || strlen(name) >= sizeof(at->step.step) ||
	    fstatat(at->dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
	    !S_ISDIR(st.st_mode))
		return 0;
	strcpy(at->step.step, name);
	return at->visit(&at->step, at->arg);
}

static int each_job(const char *name, void *arg)
{
	struct each *at = arg;
	char *end;
	unsigned long job;

	errno = 0;
	job = strtoul(name, &end, 10);
	if (*name < '1' || *name > '9' || *end || errno || job > UINT32_MAX)
		return 0;
	at->step.job = (uint32_t)job;
	return each_below(at, name, each_step);
}

static int each_cluster(const char *name, void *arg)
{
	struct each *at = arg;

	if (*name == '.' || strlen(name) >= sizeof(at->step.cluster))
		return 0;
	strcpy(at->step.cluster, name);
	return each_below(at, name, at->in_cluster);
}

static int each_log(const char *name, void *arg)
{
	struct each *at = arg;
	struct stat st;
	char *end;
	unsigned long job;

	errno = 0;
	job = strtoul(name, &end, 10);
	if (*name < '1' || *name > '9' || *end != '.' || errno ||
	    job > UINT32_MAX || !end[1] ||
	    strlen(end + 1) >= sizeof(at->step.step) ||
	    fstatat(at->dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
	    !S_ISREG(st.st_mode))
		return 0;
	at->step.job = (uint32_t)job;
	strcpy(at->step.step, end + 1);
	return at->visit(&at->step, at->arg);
}

static int each_in_logs(const char *name, void *arg)
{
	return strcmp(name, LOGS) ? 0 : each_below(arg, name, each_log);
}

static int each_of_all(const struct spec *spec,
		       int (*in_cluster)(const char *name, void *arg),
		       int (*visit)(const struct spec *step, void *arg),
		       void *arg, struct err *e)
{
	struct each at = { .step = *spec, .in_cluster = in_cluster,
			   .visit = visit, .arg = arg, .e = e };
	struct store base;
	int rc = open_base(spec, false, &base.dir, e);

	if (rc)
		return rc < 0 ? -1 : 0;
	snprintf(base.path, sizeof(base.path), "%s", spec->base);
	at.dir = base.dir;
	rc = dir_each(&base, each_cluster, &at, e);
	store_close(&base);
	return rc;
}

int store_each(const struct spec *spec,
	       int (*visit)(const struct spec *step, void *arg), void *arg,
	       struct err *e)
{
	return each_of_all(spec, each_job, visit, arg, e);
}

int store_each_log(const struct spec *spec,
		   int (*visit)(const struct spec *step, void *arg), void *arg,
		   struct err *e)
{
	return each_of_all(spec, each_in_logs, visit, arg, e);
}

static int visit_any(const char *name, void *arg)
{
	(void)arg;
	/* What a job that never saved leaves of itself. */
	return strncmp(name, "output.", 7) && strcmp(name, "status.json") &&
	       strcmp(name, STORE_SLURM_ID) && strcmp(name, STORE_CALL) && strcmp(name, EVENTS);
}

int store_used(const struct store *store, struct err *e)
{
	return dir_each(store, visit_any, NULL, e);
}

static int set_aside(const struct spec *spec, int job, char name[64],
		     struct err *e)
{
	for (int i = 1; i < 10000; i++) {
		snprintf(name, 64, "%s.old.%d", spec->step, i);
		if (faccessat(job, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
			continue;
		if (renameat(job, spec->step, job, name) == 0) {
			/* Its owner hears of it now: it is not to be pruned at once. */
			utimensat(job, name, NULL, AT_SYMLINK_NOFOLLOW);
			return 0;
		}
		if (errno == ENOENT)
			return 0;
		return err_sys(e, "cannot set %s/%s/%u/%s aside", spec->base,
			       spec->cluster, spec->job, spec->step);
	}
	return err_set(e, "%s/%s/%u has too many old steps", spec->base,
		       spec->cluster, spec->job);
}

int store_set_aside(const struct spec *spec, struct err *e)
{
	cleanup_fd int job = -1;
	char name[64];
	int rc = open_job(spec, false, &job, e);

	return rc ? (rc < 0 ? -1 : 0) : set_aside(spec, job, name, e);
}

/* One of several nodes is looked at by the others until it is gone, which for a moment
 * puts a file there: so it goes at once, and then what was in it. */
static int remove_step(const struct spec *spec, int job, struct err *e)
{
	struct store store = { .dir = dir_private(job, spec->step, false, NULL) };
	char name[64];
	int nodes = store.dir < 0 ? 1 : store_nodes(&store);

	store_close(&store);
	snprintf(name, sizeof(name), "%s", spec->step);
	if (nodes != 1 && set_aside(spec, job, name, e) < 0)
		return -1;
	return tree_remove(job, name, e);
}

int store_forget(const struct spec *spec, struct err *e)
{
	cleanup_fd int job = -1, cluster = -1, base = -1;
	char name[16];
	int rc = open_job(spec, false, &job, e);

	if (rc)
		return rc < 0 ? -1 : 0;
	if (remove_step(spec, job, e) < 0)
		return err_context(e, "%s/%s/%u", spec->base, spec->cluster,
				   spec->job);
	/* The job's own directory, when this was its last step. */
	snprintf(name, sizeof(name), "%u", spec->job);
	if (open_base(spec, false, &base, NULL) == 0 &&
	    (cluster = dir_private(base, spec->cluster, false, NULL)) >= 0)
		unlinkat(cluster, name, AT_REMOVEDIR);
	return 0;
}

struct forgetting {
	const struct spec *spec;
	const struct store *job;
	const char *prefix;
	struct err *e;
};

/* Is it `prefix` and a number? */
static bool is_numbered(const char *name, const char *prefix)
{
	size_t n = strlen(prefix), digits;

	if (strncmp(name, prefix, n))
		return false;
	digits = strspn(name + n, "0123456789");
	return digits && digits < 10 && !name[n + digits];
}

static int forget_step(const char *name, void *arg)
{
	const struct forgetting *f = arg;
	struct spec step = *f->spec;

	if (!is_numbered(name, f->prefix))
		return 0;
	strcpy(step.step, name);
	events_retire(&step);
	return remove_step(&step, f->job->dir, f->e);
}

/* 1: the job has none. */
static int open_job_store(const struct spec *spec, struct store *job, struct err *e)
{
	int rc = open_job(spec, false, &job->dir, e);

	if (rc == 0)
		snprintf(job->path, sizeof(job->path), "%s/%s/%u", spec->base,
			 spec->cluster, spec->job);
	return rc;
}

int store_forget_steps(const struct spec *spec, const char *prefix,
		       struct err *e)
{
	struct store job = { .dir = -1 };
	struct forgetting f = { spec, &job, prefix, e };
	int rc = open_job_store(spec, &job, e);

	if (rc)
		return rc < 0 ? -1 : 0;
	rc = dir_each(&job, forget_step, &f, e);
	store_close(&job);
	return rc;
}

struct numbering {
	const char *prefix;
	int *numbers, count;
	struct err *e;
};

static int note_number(const char *name, void *arg)
{
	struct numbering *n = arg;
	int *more;

	if (!is_numbered(name, n->prefix))
		return 0;
	if (!(more = realloc(n->numbers, ((size_t)n->count + 1) * sizeof(*more))))
		return err_set(n->e, "no memory for the job's steps");
	n->numbers = more;
	more[n->count++] = atoi(name + strlen(n->prefix));
	return 0;
}

int store_steps(const struct spec *spec, const char *prefix, int **numbers, struct err *e)
{
	struct store job = { .dir = -1 };
	struct numbering n = { .prefix = prefix, .e = e };
	int rc = open_job_store(spec, &job, e);

	*numbers = NULL;
	if (rc)
		return rc < 0 ? -1 : 0;
	rc = dir_each(&job, note_number, &n, e);
	store_close(&job);
	*numbers = n.numbers;
	return rc < 0 ? -1 : n.count;
}

/* ---- room ------------------------------------------------------------------ */

static int64_t tree_size(int dirfd, const char *name)
{
	int fd = openat(dirfd, name,
			O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;
	int64_t sum = 0;
	struct stat st;

	if (!dir) {
		if (fd >= 0)
			close(fd);
		return 0;
	}
	while ((entry = readdir(dir))) {
		if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..") ||
		    fstatat(fd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			continue;
		/* One with several names lies there once. */
		sum += st.st_blocks * INT64_C(512) /
		       (S_ISDIR(st.st_mode) ? 1 : (int64_t)st.st_nlink);
		if (S_ISDIR(st.st_mode))
			sum += tree_size(fd, entry->d_name);
	}
	closedir(dir);
	return sum;
}

int store_size(const struct spec *spec, uint64_t *bytes, struct err *e)
{
	cleanup_fd int base = -1;
	int rc = open_base(spec, false, &base, e);

	*bytes = 0;
	if (rc)
		return rc < 0 ? -1 : 0;
	*bytes = (uint64_t)tree_size(base, ".");
	return 0;
}

static int quota_left(const struct spec *spec, uint64_t *limit, struct err *e)
{
	char used[16], quota[16];
	uint64_t bytes;

	*limit = 0;
	if (!spec->limits.quota)
		return 0;
	if (store_size(spec, &bytes, e) < 0)
		return -1;
	if (bytes < spec->limits.quota) {
		*limit = spec->limits.quota - bytes;
		return 0;
	}
	size_print(bytes, used);
	size_print(spec->limits.quota, quota);
	return err_set(e, "your checkpoints in %s take %s, and the quota is %s: remove some with sckpt remove or sckpt prune",
		       spec->base, used, quota);
}

int store_room(const struct spec *spec, const struct store *store,
	       uint64_t least, uint64_t *limit, struct err *e)
{
	char free_text[16], least_text[16];
	struct statvfs st;
	uint64_t bytes;

	if (quota_left(spec, limit, e) < 0)
		return -1;
	/* A file system that does not tell is asked by writing. */
	if (fstatvfs(store->dir, &st) < 0 || st.f_blocks == 0)
		return 0;
	bytes = (uint64_t)st.f_bavail * st.f_frsize;
	if (bytes >= least)
		return 0;
	size_print(bytes, free_text);
	size_print(least, least_text);
	return err_set(e, "%s has %s free, and this dump needs %s at the least: make room there, or set another dir=",
		       store->path, free_text, least_text);
}
