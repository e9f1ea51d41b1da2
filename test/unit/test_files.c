/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is known of a program's files from dump to dump; the program is this one. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "files.h"
#include "unit.h"

static char dir[] = "/tmp/sckpt-unit-XXXXXX";
static int said;

int program_tree(pid_t root, pid_t **pids, struct err *e)
{
	(void)root;
	(void)e;
	*pids = malloc(sizeof(**pids));
	assert_non_null(*pids);
	**pids = getpid();
	return 1;
}

void step_tell(const struct step *step, enum control_kind kind, const char *fmt, ...)
{
	(void)step;
	(void)kind;
	(void)fmt;
	said++;
}

/* Every node sees them. */
bool local_is(const struct step *step, const char *path)
{
	(void)step;
	(void)path;
	return false;
}

int local_parents(const struct step *step, const char *path,
		  int (*add)(const char *dir, const struct stat *st, void *arg),
		  void *arg)
{
	(void)step;
	(void)path;
	(void)add;
	(void)arg;
	return 0;
}

bool bound_name(pid_t pid, const char *fd, char *path, size_t size)
{
	(void)pid;
	(void)fd;
	(void)path;
	(void)size;
	return false;
}

static struct stdio io;
static struct step step = { .io = &io };

static int open_file(const char *name, int flags)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | flags, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, "some", 4), 4);
	return fd;
}

/* Is the file of that name noted as one that others write to, too? */
static bool dump(const char *name)
{
	static const struct manifest none;
	struct manifest m = { .job = 0 };
	struct files_held held;
	struct err e = { "" };
	bool shared = false;

	assert_int_equal(files_record(&step, &m, &none, &held, &e), 0);
	for (size_t i = 0; i < m.file_count; i++)
		shared = shared || (!strcmp(strrchr(m.files[i].path, '/') + 1, name) &&
				    m.files[i].shared);
	files_release(&held, &m);
	manifest_free(&m);
	return shared;
}

static void files_that_were_closed_are_forgotten(void **state)
{
	struct manifest_file f = { .path = NULL };
	char name[32], path[64];
	struct stat st;
	size_t others;
	int fd;

	(void)state;
	dump("");
	others = step.seen.count; /* of whoever runs the tests */
	/* Two that are remembered: one that others write to, and one that people were told of. */
	fd = open_file("shared", O_APPEND);
	snprintf(path, sizeof(path), "%s/shared", dir);
	assert_int_equal(fstat(fd, &st), 0);
	f.path = path;
	f.inode = st.st_ino;
	files_shared(&step, &f);
	close(fd);
	fd = open_file("in-place", 0);
	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	said = 0;
	dump("");
	assert_int_equal(said, 1);
	close(fd);
	for (int i = 0; i < 50; i++) {
		snprintf(name, sizeof(name), "result.%d", i);
		fd = open_file(name, O_APPEND);
		assert_false(dump(name));
		close(fd);
	}
	assert_in_range(step.seen.count, 0, others + 3);
	fd = open_file("shared", O_APPEND);
	assert_true(dump("shared"));
	close(fd);
	fd = open_file("in-place", 0);
	dump("");
	assert_int_equal(said, 1);
	close(fd);
}

static int setup(void **state)
{
	(void)state;
	return mkdtemp(dir) ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	free(step.seen.list);
	return tree_remove(AT_FDCWD, dir, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(files_that_were_closed_are_forgotten),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
