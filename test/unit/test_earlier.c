/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which earlier call of srun a new one is (step/earlier.c). */
#include "earlier.h"
#include "unit.h"

static int found(struct earlier *k, const char *call)
{
	const struct earlier_step *s = earlier_find(k, call);

	return s ? s->number : 0;
}

static void first_of_its_kind(void **state)
{
	struct earlier_step steps[] = {
		{ 2, "0.1.aa", false }, /* of the run from the top: the first aa */
		{ 3, "0.2.bb", false }, /* its second bb */
		{ 6, "4.1.cc", false }, /* of one that went on after 4 calls */
		{ 7, "", false }, /* by an older sckpt */
	};
	struct earlier k = { .steps = steps, .step_count = 4 };

	(void)state;
	assert_int_equal(found(&k, "0.1.aa"), 2);
	/* Not its second, and not one that the script knows of itself. */
	assert_int_equal(found(&k, "0.2.aa"), 0);
	assert_int_equal(found(&k, "2.1.aa"), 0);
	assert_int_equal(found(&k, "1.1.aa"), 2);
	assert_int_equal(found(&k, "0.1.bb"), 0);
	/* Before the fourth call there may have been others. */
	assert_int_equal(found(&k, "0.1.cc"), 0);
	assert_int_equal(found(&k, "4.1.cc"), 6);
	assert_int_equal(found(&k, "5.1.cc"), 6);
	assert_int_equal(found(&k, "0.1.dd"), 0);
	assert_int_equal(found(&k, ""), 0);
	steps[0].taken = true;
	assert_int_equal(found(&k, "0.1.aa"), 0);
	assert_true(earlier_is_other(&k, 3));
	assert_false(earlier_is_other(&k, 4));
	/* That one is gone on with by its number, as it was done then. */
	assert_false(earlier_is_other(&k, 7));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(first_of_its_kind),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
