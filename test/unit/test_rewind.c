/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What becomes of a file at a restore: every row of the decision, and what is undone when
 * that fails. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "files.h"
#include "unit.h"

#define SIZE 1000

/* As it was at the dump; what a row says is laid over it. */
static const struct file_now as_it_was = { .there = true,
					   .same_inode = true,
					   .known = true,
					   .same = true,
					   .size = SIZE,
					   .mtime_ns = 5,
					   .ours = true };

static enum rewind_action decide(bool appended, const char *copy, bool shared,
				 const struct file_now *now, const char **why)
{
	struct manifest_file f = { .size = SIZE,
				   .mtime_ns = 5,
				   .appended = appended,
				   .append_mode = appended,
				   .shared = shared };

	strcpy(f.copy, copy);
	return rewind_decide(&f, now, why);
}

static void appended(void **state)
{
	struct file_now now = as_it_was;
	const char *why;

	(void)state;
	assert_int_equal(decide(true, "", false, &now, &why), REWIND_KEEP);
	assert_null(why);
	now.mtime_ns = 6; /* of one that is appended to it tells nothing */
	assert_int_equal(decide(true, "", false, &now, &why), REWIND_KEEP);
	now.size = SIZE + 1;
	assert_int_equal(decide(true, "", false, &now, &why), REWIND_CUT);
	assert_null(why);
	now.ours = false; /* it ended with the dump: others wrote that */
	assert_int_equal(decide(true, "", false, &now, &why), REWIND_LEAVE);
	assert_null(why);
	now.ours = true;
	now.others = true;
	assert_int_equal(decide(true, "", false, &now, &why), REWIND_LEAVE);
	assert_non_null(strstr(why, "nothing is cut off"));
	now.others = false;
	assert_int_equal(decide(true, "", true, &now, &why), REWIND_LEAVE);
	assert_non_null(strstr(why, "nothing is cut off"));
	now.same_inode = false;
	assert_int_equal(decide(true, "", false, &now, &why), REWIND_REFUSE);
	assert_string_equal(why, "was replaced by another file");
	now.same_inode = true;
	now.known = now.same = false;
	assert_int_equal(decide(true, "", false, &now, &why), REWIND_LEAVE);
	assert_non_null(strstr(why, "cannot be read"));
}

static void appended_and_changed(void **state)
{
	struct file_now now = as_it_was;
	const char *why;

	(void)state;
	/* A copy of it elsewhere is as good as itself, but not to be cut. */
	now.same_inode = false;
	assert_int_equal(decide(true, "", false, &now, &why), REWIND_KEEP);
	now.same = false;
	assert_int_equal(decide(true, "", false, &now, &why), REWIND_REFUSE);
	assert_string_equal(why, "does not hold any more what it held");
	now.size = SIZE - 1;
	now.known = false;
	assert_int_equal(decide(true, "", true, &now, &why), REWIND_REFUSE);
	assert_string_equal(why, "is shorter than it was");
	now.there = false;
	assert_int_equal(decide(true, "", true, &now, &why), REWIND_REFUSE);
	assert_string_equal(why, "is gone");
}

/* A file that stood at its end without being in append mode. */
static void written_from_its_begin(void **state)
{
	const struct manifest_file f = { .size = SIZE, .appended = true };
	struct file_now now = as_it_was;
	const char *why;

	(void)state;
	now.size = SIZE + 1;
	assert_int_equal(rewind_decide(&f, &now, &why), REWIND_CUT);
	now.others = true; /* criu would not open it as it is */
	assert_int_equal(rewind_decide(&f, &now, &why), REWIND_REFUSE);
	assert_non_null(strstr(why, "not by this program alone"));
	now.others = now.ours = false;
	assert_int_equal(rewind_decide(&f, &now, &why), REWIND_REFUSE);
	now.ours = true;
	now.same = false;
	assert_int_equal(rewind_decide(&f, &now, &why), REWIND_REFUSE);
	now.size = SIZE;
	assert_int_equal(rewind_decide(&f, &now, &why), REWIND_LEAVE);
	assert_non_null(strstr(why, "as it is now"));
	now.size = SIZE - 1;
	assert_int_equal(rewind_decide(&f, &now, &why), REWIND_REFUSE);
}

static void in_place(void **state)
{
	struct file_now now = as_it_was;
	const char *why;

	(void)state;
	now.known = now.same = false; /* nothing is digested */
	assert_int_equal(decide(false, "", false, &now, &why), REWIND_KEEP);
	assert_int_equal(decide(false, "c", false, &now, &why), REWIND_KEEP);
	now.mtime_ns = 6;
	assert_int_equal(decide(false, "", false, &now, &why), REWIND_LEAVE);
	assert_non_null(strstr(why, "as it is now"));
	assert_int_equal(decide(false, "c", false, &now, &why), REWIND_BRING);
	assert_null(why);
	now.others = true;
	assert_int_equal(decide(false, "c", false, &now, &why), REWIND_LEAVE);
	assert_non_null(strstr(why, "others write to it"));
	now.size = SIZE + 1;
	assert_int_equal(decide(false, "c", false, &now, &why), REWIND_REFUSE);
	now.others = false;
	assert_int_equal(decide(false, "c", false, &now, &why), REWIND_BRING);
	assert_int_equal(decide(false, "", false, &now, &why), REWIND_REFUSE);
	assert_non_null(strstr(why, "has another size"));
	now = (struct file_now){ .ours = true };
	assert_int_equal(decide(false, "c", false, &now, &why), REWIND_BRING);
	assert_int_equal(decide(false, "", false, &now, &why), REWIND_REFUSE);
	assert_non_null(strstr(why, "is gone"));
}

static void local(void **state)
{
	struct manifest_file f = { .size = SIZE, .mtime_ns = 5, .local = true };
	struct file_now now = as_it_was;
	const char *why;

	(void)state;
	strcpy(f.copy, "1-0.0.file");
	assert_int_equal(rewind_decide(&f, &now, &why), REWIND_KEEP);
	/* Nothing can be told by its time where a mapping writes without it. */
	f.times_lie = true;
	assert_int_equal(rewind_decide(&f, &now, &why), REWIND_KEEP);
	now.same = false;
	assert_int_equal(rewind_decide(&f, &now, &why), REWIND_REPLACE);
	now = as_it_was;
	now.same_inode = false; /* it is some other job's */
	assert_int_equal(rewind_decide(&f, &now, &why), REWIND_REPLACE);
	now.same_inode = true;
	f.times_lie = false;
	now.mtime_ns = 6;
	assert_int_equal(rewind_decide(&f, &now, &why), REWIND_REPLACE);
	now.others = true; /* they keep theirs */
	assert_int_equal(rewind_decide(&f, &now, &why), REWIND_REPLACE);
	now = (struct file_now){ .there = false };
	assert_int_equal(rewind_decide(&f, &now, &why), REWIND_REPLACE);
	f.copy[0] = '\0';
	assert_int_equal(rewind_decide(&f, &now, &why), REWIND_REFUSE);
	now = as_it_was;
	now.size++;
	assert_int_equal(rewind_decide(&f, &now, &why), REWIND_REFUSE);
}

/* Names as Linux' NFS client makes them; no NFS is needed to know them. */
static void removed_on_nfs(void **state)
{
	(void)state;
	assert_true(file_silly_renamed("/home/u/.nfs00000000004a1c2200000001"));
	assert_true(file_silly_renamed(".nfs00000000004a1c22000000ff"));
	assert_false(file_silly_renamed("/home/u/.nfs00000000004a1c220000001"));
	assert_false(file_silly_renamed("/home/u/.nfs00000000004a1c22000000011"));
	assert_false(file_silly_renamed("/home/u/.nfs00000000004a1c22.0000001"));
	assert_false(file_silly_renamed("/home/u/.nfs00000000004a1c2200000001/file"));
	assert_false(file_silly_renamed("/home/u/nfs00000000004a1c2200000001"));
	assert_false(file_silly_renamed(""));
}

/* ---- changing one, and giving it up ------------------------------------------- */

/* What rewind.c asks others for: here nobody has anything to say. */
int64_t files_mtime(const struct stat *st)
{
	return st->st_mtim.tv_sec;
}

void files_shared(struct step *step, const struct manifest_file *f)
{
	(void)step;
	(void)f;
}

int local_check(const struct manifest_file *f, struct err *e)
{
	(void)f;
	(void)e;
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
	(void)e;
	return 0;
}

void local_remove(int dir, const char *name)
{
	(void)dir;
	(void)name;
}

void local_find_left(const struct step *step, const struct manifest *m,
		     const struct stat files[], bool left[])
{
	(void)step;
	(void)m;
	(void)files;
	(void)left;
}

void others_find(const struct step *step, const struct manifest *m, bool others[])
{
	(void)step;
	(void)m;
	(void)others;
}

void step_tell(const struct step *step, enum control_kind kind, const char *fmt, ...)
{
	(void)step;
	(void)kind;
	(void)fmt;
}

/* In place of the C library's. */
static bool no_rename;

int rename(const char *from, const char *to)
{
	errno = EIO;
	return no_rename ? -1 : (int)syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
}

static char top[] = "/tmp/sckpt-unit-XXXXXX";

static void put_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	assert_int_equal(file_write(fd, text, strlen(text), NULL), 0);
	close(fd);
}

static void assert_text(const char *path, const char *text)
{
	cleanup_free char *is = NULL;
	struct err e = { "" };

	if (file_read(AT_FDCWD, path, 100, &is, &e) < 0)
		fail_msg("%s", e.text);
	assert_string_equal(is, text);
}

/* A file that only the node of the checkpoint had, and its copy in the store. */
static void begin(struct step *step, struct manifest_file *f, char *path)
{
	char copy[100];

	assert_non_null(mkdtemp(top));
	*step = (struct step){ .spec = { .job = 7, .restart = 1 } };
	step->store.dir = open(top, O_RDONLY | O_DIRECTORY);
	*f = (struct manifest_file){ .path = path, .size = 3, .mode = 0600,
				     .local = true, .digested = 3,
				     .copy = "1-0.0.file" };
	image_sha256("was", 3, f->sha256);
	snprintf(copy, sizeof(copy), "%s/%s", top, f->copy);
	put_text(copy, "was");
}

static void end(struct step *step)
{
	close(step->store.dir);
	assert_int_equal(tree_remove(AT_FDCWD, top, NULL), 0);
	memcpy(top + strlen(top) - 6, "XXXXXX", 6);
}

static void what_could_not_be_moved_stays(void **state)
{
	struct err e = { "" };
	struct manifest_file f;
	struct manifest m = { .files = &f, .file_count = 1 };
	struct step step;
	char path[100];

	(void)state;
	begin(&step, &f, path);
	snprintf(path, sizeof(path), "%s/data", top);
	put_text(path, "another's");
	no_rename = true;
	assert_null(rewind_begin(&step, &m, &e));
	no_rename = false;
	says(e, "cannot move away what is there");
	assert_text(path, "another's");
	/* It was not what it was taken for, and cannot be made. */
	unlink(path);
	assert_int_equal(symlink("elsewhere", path), 0);
	assert_null(rewind_begin(&step, &m, &e));
	says(e, "cannot make it");
	assert_int_equal(unlink(path), 0);
	end(&step);
}

static void the_longest_name(void **state)
{
	struct err e = { "" };
	char path[400], side[400];
	struct manifest_file f;
	struct manifest m = { .files = &f, .file_count = 1 };
	struct rewind *r;
	struct step step;

	(void)state;
	begin(&step, &f, path);
	snprintf(path, sizeof(path), "%s/%0*d", top, NAME_MAX, 0);
	snprintf(side, sizeof(side), "%s/%0*d.sckpt-cut.7.1", top,
		 NAME_MAX - (int)strlen(".sckpt-cut.7.1"), 0);
	put_text(path, "another's");
	r = rewind_begin(&step, &m, &e);
	if (!r)
		fail_msg("%s", e.text);
	assert_text(path, "was");
	assert_text(side, "another's");
	rewind_undo(r);
	assert_text(path, "another's");
	assert_int_equal(access(side, F_OK), -1);
	rewind_free(r);
	end(&step);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(local),
		cmocka_unit_test(appended),
		cmocka_unit_test(appended_and_changed),
		cmocka_unit_test(written_from_its_begin),
		cmocka_unit_test(in_place),
		cmocka_unit_test(removed_on_nfs),
		cmocka_unit_test(what_could_not_be_moved_stays),
		cmocka_unit_test(the_longest_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
