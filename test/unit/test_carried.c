/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Carried directories from a dump to a restore on the same node. */
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "carry.h"
#include "files.h"
#include "unit.h"

#define DEEPER 130 /* than it is looked into */

/* What carry*.c asks others for. */
int64_t files_mtime(const struct stat *st)
{
	return st->st_mtim.tv_sec;
}

bool local_is(const struct step *step, const char *path)
{
	(void)step;
	(void)path;
	return true;
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

int local_make_name(const struct manifest_file *f, mode_t *was, struct err *e)
{
	(void)f;
	(void)was;
	return err_set(e, "not asked for");
}

int local_settle_name(const struct manifest_file *f, struct err *e)
{
	(void)f;
	return err_set(e, "not asked for");
}

void local_remove(int dir, const char *name)
{
	tree_remove(dir, name, NULL);
}

bool others_active(const struct step *step, uint32_t job)
{
	(void)step;
	(void)job;
	return false;
}

void step_tell(const struct step *step, enum control_kind kind, const char *fmt, ...)
{
	(void)step;
	(void)kind;
	(void)fmt;
}

/* In place of the C library's: a directory that can be read in part. */
static int names_left = -1;

struct dirent *readdir(DIR *dir)
{
	struct dirent *(*real)(DIR *) = (struct dirent * (*)(DIR *)) dlsym(RTLD_NEXT, "readdir");

	if (names_left != 0) {
		names_left -= names_left > 0;
		return real(dir);
	}
	errno = EIO;
	return NULL;
}

static const struct image_options options = { .threads = 1, .buffer = 1 << 20 };
/* On an overlay files are of another device than their directories. */
static char top[] = "/dev/shm/sckpt-unit-XXXXXX";
static struct step step = { .spec = { .job = 7, .cluster = "lab", .step = "batch",
				      .limits = { .files_max = 1 << 30 } } };

static int setup(void **state)
{
	(void)state;
	if (!mkdtemp(top) || chdir(top) < 0)
		return -1;
	snprintf(step.spec.carry, sizeof(step.spec.carry), "%s/carried", top);
	snprintf(step.store.path, sizeof(step.store.path), "%s/7/batch", top);
	return (step.store.dir = open(top, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0 ? -1 : 0;
}

static int teardown(void **state)
{
	(void)state;
	close(step.store.dir);
	return chdir("/") < 0 ? -1 : tree_remove(AT_FDCWD, top, NULL);
}

static void put_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_int_equal(file_write(fd, text, strlen(text), NULL), 0);
	close(fd);
}

static int save(struct manifest *m, struct err *e)
{
	struct image_writer *w;
	int rc;

	*m = (struct manifest){ .job = 7 };
	if (carry_check(&step, e) < 0)
		return -1;
	w = image_writer_open(step.store.dir, "1-0", &options, NULL, 0, e);
	assert_non_null(w);
	rc = carry_record(&step, m, w, e);
	if (rc == 0)
		rc = image_writer_finish(w, &m->set, e);
	image_writer_close(w);
	return rc;
}

static void bring_back(const struct manifest *m)
{
	struct err e = { "" };
	struct image_reader *r = image_reader_open(step.store.dir, &m->set, &options, &e);
	struct carried *c = r ? carry_bring(&step, m, r, &e) : NULL;

	if (!c || carry_finish(c, &e) < 0)
		fail_msg("%s", e.text);
	carry_drop(c);
	carry_close(c);
	image_reader_close(r);
}

/* What was not there then is gone; what was there, and could not be taken along, stays. */
static void what_does_not_travel_stays(void **state)
{
	char path[2 * DEEPER + 32] = "carried/deep";
	struct err e = { "" };
	struct manifest m;

	(void)state;
	assert_int_equal(mkdir("carried", 0700), 0);
	put_text("carried/file", "as it was");
	assert_int_equal(mknod("carried/socket", S_IFSOCK | 0600, 0), 0);
	for (int i = 0; i < DEEPER; i++) {
		assert_int_equal(mkdir(path, 0700), 0);
		strcat(path, "/d");
	}
	put_text(path, "deep");
	if (save(&m, &e) < 0)
		fail_msg("%s", e.text);
	put_text("carried/file", "other");
	put_text("carried/new", "new");
	assert_int_equal(mkdir("carried/deep/new", 0700), 0);
	bring_back(&m);
	assert_int_equal(access("carried/new", F_OK), -1);
	assert_int_equal(access("carried/deep/new", F_OK), -1);
	assert_int_equal(access("carried/socket", F_OK), 0);
	assert_int_equal(access(path, F_OK), 0);
	manifest_free(&m);
	assert_int_equal(tree_remove(AT_FDCWD, "carried", NULL), 0);
}

static void what_cannot_be_read_is_no_end(void **state)
{
	struct err e = { "" };
	struct manifest m;

	(void)state;
	assert_int_equal(mkdir("carried", 0700), 0);
	put_text("carried/a", "a");
	put_text("carried/b", "b");
	names_left = 3;
	assert_int_equal(save(&m, &e), -1);
	names_left = -1;
	says(e, "carried/: Input/output error");
	assert_int_equal(tree_remove(AT_FDCWD, "carried", NULL), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_does_not_travel_stays),
		cmocka_unit_test(what_cannot_be_read_is_no_end),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
