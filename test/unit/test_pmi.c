/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The agent between a rank and Slurm's PMI: what it keeps of what is said. */
#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "step.h"
#include "unit.h"

/* The step's only task, and what it was given. */
static int given;
static char variable[32];
static char *environment[] = { variable, NULL };

char *const *tasks_environment(const struct tasks *t, int task)
{
	(void)t;
	(void)task;
	return environment;
}

int tasks_descriptor(const struct tasks *t, int task, int number)
{
	(void)t;
	(void)task;
	return number == given ? given : -1;
}

static void ask(struct pmi *p, int slurm, const char *request)
{
	char got[64];
	int rank = pmi_program(p, 0);
	ssize_t n = (ssize_t)strlen(request);

	assert_int_equal(send(rank, request, (size_t)n, 0), n);
	pmi_pump(p);
	assert_int_equal(recv(slurm, got, sizeof(got), MSG_DONTWAIT), n);
	assert_int_equal(send(slurm, "cmd=rc\n", 7, 0), 7);
	pmi_pump(p);
	assert_int_equal(recv(rank, got, sizeof(got), MSG_DONTWAIT), 7);
}

/* As many as a manifest may have, and then none is taken any more; the rank goes on. */
static void more_than_can_be_told_again(void **state)
{
	const struct tasks tasks = { .count = 1 };
	static struct pmi p;
	struct manifest m;
	struct err e = { "" };
	int pair[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	given = pair[1];
	snprintf(variable, sizeof(variable), "PMI_FD=%d", given);
	assert_int_equal(pmi_take(&p, &tasks, 100, &e), 0);
	for (int i = 0; i < MANIFEST_REQUESTS_MAX; i++) {
		ask(&p, pair[0], "cmd=get\n"); /* leaves no trace */
		ask(&p, pair[0], "cmd=put\n");
	}
	m = (struct manifest){ .job = 0 };
	assert_int_equal(pmi_settle(&p, &m, &e), 0);
	assert_int_equal(m.pmi[0].count, MANIFEST_REQUESTS_MAX);
	manifest_free(&m);
	for (int i = 0; i < 3; i++) {
		ask(&p, pair[0], "cmd=put\n");
		m = (struct manifest){ .job = 0 };
		assert_int_equal(pmi_settle(&p, &m, &e), -1);
		says(e, "more to Slurm's PMI than can be told again");
		manifest_free(&m);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(more_than_can_be_told_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
