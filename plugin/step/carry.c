/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which directories may travel whole, and whose they are. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "carry.h"
#include "files.h"

/* $TMPDIR is the job's, which whoever typed the word may not know. */
static int expand(const char *word, size_t n, char *path, size_t size,
		  struct err *e)
{
	static const char variable[] = "$TMPDIR";
	const size_t v = sizeof(variable) - 1;
	const char *tmp = "";

	if (n >= v && !strncmp(word, variable, v) && (n == v || word[v] == '/')) {
		if (!(tmp = getenv("TMPDIR")) || *tmp != '/')
			return err_set(e, "carry=%.*s: TMPDIR is not set in the job",
				       (int)n, word);
		word += v;
		n -= v;
	}
	if ((size_t)snprintf(path, size, "%s%.*s", tmp, (int)n, word) >= size)
		return err_set(e, "carry=%s: too long", path);
	for (n = strlen(path); n > 1 && path[n - 1] == '/'; n--)
		path[n - 1] = '\0';
	return 0;
}

int carry_each(const struct step *step,
	       int (*visit)(const struct step *step, const char *path, void *arg,
			    struct err *e),
	       void *arg, struct err *e)
{
	const char *words = step->spec.carry;

	/* What a script carries is there for its steps, too. */
	if (is_call_step(step->spec.step))
		return 0;
	while (*words) {
		size_t n = strcspn(words, ":");
		char path[sizeof(((struct carry_root *)0)->path)];

		if (n && (expand(words, n, path, sizeof(path), e) < 0 ||
			  visit(step, path, arg, e) < 0))
			return -1;
		words += n + (words[n] == ':');
	}
	return 0;
}

/* Can nobody else put another one in the place of what is in this directory? */
static bool is_safe(const struct stat *st)
{
	return S_ISDIR(st->st_mode) &&
	       (st->st_uid == 0 || st->st_uid == geteuid()) &&
	       (!(st->st_mode & S_IWOTH) || st->st_mode & S_ISVTX);
}

/* Every directory that the path leads through. */
static int check_above(const char *path, struct err *e)
{
	char at[sizeof(((struct carry_root *)0)->path)];
	struct stat st;

	for (const char *slash = path; slash; slash = strchr(slash + 1, '/')) {
		size_t n = slash == path ? 1 : (size_t)(slash - path);

		memcpy(at, path, n);
		at[n] = '\0';
		if (lstat(at, &st) < 0)
			return errno == ENOENT ? 0 : err_sys(e, "carry=%s", path);
		if (S_ISLNK(st.st_mode))
			return err_set(e, "carry=%.400s: %.200s is a symbolic link; name the directory itself",
				       path, at);
		if (!is_safe(&st))
			return err_set(e, "carry=%.400s: %.200s is another user's, or anybody may change what is in it",
				       path, at);
	}
	return 0;
}

static int check_path(const struct step *step, const char *path, struct err *e)
{
	const size_t n = strlen(path);
	char below[sizeof(((struct carry_root *)0)->path) + 2];

	snprintf(below, sizeof(below), "%s/.", path);
	if (path[0] != '/' || strstr(below, "//") || strstr(path, "/./") ||
	    strstr(below, "/../") || (n > 2 && !strcmp(path + n - 3, "/..")))
		return err_set(e, "carry=%.400s: it is the absolute path of a directory, without . and ..",
			       path);
	if (!local_is(step, below))
		return err_set(e, "carry=%.400s is below none of the directories that every node has for itself (%.200s, $TMPDIR): what is elsewhere need not travel, or the admin adds it to local= of sckpt.conf",
			       path, step->spec.limits.local);
	if (!strncmp(step->spec.base, path, n) &&
	    (step->spec.base[n] == '/' || !step->spec.base[n]))
		return err_set(e, "carry=%.400s: the checkpoints themselves are in it",
			       path);
	return check_above(path, e);
}

int carry_open(const struct step *step, const char *path, struct carry_root *root,
	       struct err *e)
{
	struct stat st;

	root->fd = -1;
	snprintf(root->path, sizeof(root->path), "%s", path);
	if (check_path(step, path, e) < 0)
		return -1;
	root->fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (root->fd < 0 && errno == ENOENT)
		return 0;
	if (root->fd < 0)
		return errno == ENOTDIR || errno == ELOOP ?
			       err_set(e, "carry=%.400s: it is a link or a file and no directory", path) :
			       err_sys(e, "carry=%.400s", path);
	if (fstat(root->fd, &st) < 0 || st.st_uid != geteuid()) {
		close_fd(&root->fd);
		return err_set(e, "carry=%.400s: the directory is not yours", path);
	}
	root->dev = st.st_dev;
	return 1;
}

/* ---- whose it is ------------------------------------------------------------- */

/* "CLUSTER JOB STORE\n": without the job's directory in the store, it does not go on. */
static void mark_text(const struct step *step, char *text, size_t size)
{
	const char *store = step->store.path;
	const char *end = strrchr(store, '/');

	snprintf(text, size, "%s %u %.*s\n", step->spec.cluster, step->spec.job,
		 (int)(end ? end - store : 0), store);
}

static ssize_t read_mark(const struct carry_root *root, char *text, size_t size,
			 struct err *e)
{
	cleanup_fd int fd = openat(root->fd, CARRY_MARK,
				   O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	struct stat st;
	ssize_t n = 0;

	if (fd < 0 && errno == ENOENT)
		return 0;
	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) ||
	    st.st_uid != geteuid() || (n = read(fd, text, size - 1)) < 0)
		return err_set(e, "%.400s/%s is not what sckpt puts there: remove it",
			       root->path, CARRY_MARK);
	text[n] = '\0';
	return n;
}

int carry_whose(const struct step *step, const struct carry_root *root,
		uint32_t also, struct err *e)
{
	char text[1800], cluster[128] = "", store[1400] = "";
	ssize_t n = read_mark(root, text, sizeof(text), e);
	bool same_cluster;
	unsigned job = 0;
	struct stat st;

	if (n <= 0)
		return (int)n;
	if (sscanf(text, "%127s %u %1399[^\n]", cluster, &job, store) != 3)
		return 0;
	same_cluster = !strcmp(cluster, step->spec.cluster);
	if (same_cluster && (job == step->spec.job || (also && job == also)))
		return 1;
	/* It ended well, or was never checkpointed; or it ended otherwise. */
	if ((lstat(store, &st) < 0 && errno == ENOENT) ||
	    (same_cluster && !others_active(step, job)))
		return 0;
	return err_set(e, "carry=%.300s: job %u carries that directory, too: give each job one of its own, such as carry=/tmp/job-%%j",
		       root->path, job);
}

int carry_mark(const struct step *step, const struct carry_root *root, struct err *e)
{
	char text[1800], was[1800];
	cleanup_fd int fd = -1;
	struct err ignored;

	mark_text(step, text, sizeof(text));
	if (read_mark(root, was, sizeof(was), &ignored) > 0 && !strcmp(text, was))
		return 0;
	/* Of a job that is over, or that this one goes on from. */
	unlinkat(root->fd, CARRY_MARK, 0);
	fd = openat(root->fd, CARRY_MARK,
		    O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_sys(e, "carry=%.400s: cannot make %s there", root->path,
			       CARRY_MARK);
	return file_write(fd, text, strlen(text), e);
}

static int look_at_one(const struct step *step, const char *path, void *arg,
		       struct err *e)
{
	struct carry_root root;
	int rc = carry_open(step, path, &root, e);

	(void)arg;
	if (rc > 0)
		rc = carry_whose(step, &root, 0, e);
	close_fd(&root.fd);
	return rc < 0 ? -1 : 0;
}

void carry_look(const struct step *step)
{
	struct err e = { "" };

	if (carry_each(step, look_at_one, NULL, &e) < 0)
		step_tell(step, CONTROL_NOTE, "%s; as long as that is so no checkpoint can be made",
			  e.text);
}

/* ---- names below it ------------------------------------------------------------- */

int carry_parent(int root, const char *path, const char **name, struct err *e)
{
	int fd = fcntl(root, F_DUPFD_CLOEXEC, 0);
	struct stat st;

	while (fd >= 0) {
		size_t n = strcspn(path, "/");
		char part[NAME_MAX + 1];
		int next;

		if (!path[n] || n > NAME_MAX)
			break;
		memcpy(part, path, n);
		part[n] = '\0';
		next = openat(fd, part,
			      O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		close(fd);
		fd = next;
		/* It could be exchanged where others may write. */
		if (fd >= 0 && (fstat(fd, &st) < 0 || st.st_uid != geteuid())) {
			close_fd(&fd);
			errno = EPERM;
		}
		path += n + 1;
	}
	*name = path;
	return fd < 0 ? err_sys(e, "the directory of %.400s", path) : fd;
}
