/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What becomes of a file at a restore: every row of the decision. */
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(local),
		cmocka_unit_test(appended),
		cmocka_unit_test(appended_and_changed),
		cmocka_unit_test(written_from_its_begin),
		cmocka_unit_test(in_place),
		cmocka_unit_test(removed_on_nfs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
