/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdio.h>
#include <string.h>

#include "sckpt/policy.h"
#include "unit.h"

enum words { PLAIN, TIMELIMIT, CANCEL, EVERY };

static const struct spec specs[] = {
	[PLAIN] = { .job = 1 },
	[TIMELIMIT] = { .timelimit = true },
	[CANCEL] = { .cancel = true },
	[EVERY] = { .every = 600 },
};

/* Every row of the table in doc/internals.md, for a step with every word. */
static void every_cause(void **state)
{
	static const struct {
		struct job_facts facts;
		enum cause cause;
		enum action action[4]; /* as enum words */
	} rows[] = {
#define ALL(action) { action, action, action, action }
		{ { .answered = false }, CAUSE_UNKNOWN, ALL(ACTION_SAVE_AND_END) },
		{ { .answered = true, .running = true }, CAUSE_SIGNAL, ALL(ACTION_PASS) },
		{ { .answered = true, .running = true, .preempted = true },
		  CAUSE_GRACE, ALL(ACTION_SAVE) },
		{ { .answered = true, .pending = true, .completing = true, .preempted = true },
		  CAUSE_PREEMPTED, ALL(ACTION_SAVE_AND_END) },
		{ { .answered = true, .pending = true, .completing = true },
		  CAUSE_REQUEUED, ALL(ACTION_SAVE_AND_END) },
		{ { .answered = true, .pending = true }, CAUSE_REQUEUED,
		  ALL(ACTION_SAVE_AND_END) },
		{ { .answered = true, .timeout = true, .completing = true }, CAUSE_TIMEOUT,
		  { ACTION_PASS, ACTION_SAVE_AND_REQUEUE, ACTION_PASS, ACTION_PASS } },
		{ { .answered = true, .cancelled = true, .completing = true }, CAUSE_CANCELLED,
		  { ACTION_PASS, ACTION_PASS, ACTION_SAVE_AND_END, ACTION_PASS } },
		/* Cancelled while preempted: it does not come back. */
		{ { .answered = true, .cancelled = true, .completing = true, .preempted = true },
		  CAUSE_CANCELLED,
		  { ACTION_PASS, ACTION_PASS, ACTION_SAVE_AND_END, ACTION_PASS } },
		{ { .answered = true, .evicted = true, .completing = true, .preempted = true },
		  CAUSE_EVICTED, ALL(ACTION_SAVE_AND_END) },
		{ { .answered = true, .completing = true }, CAUSE_ENDED, ALL(ACTION_PASS) },
		{ { .answered = true }, CAUSE_ENDED, ALL(ACTION_PASS) },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		enum cause cause = stop_cause(&rows[i].facts);

		assert_int_equal(cause, rows[i].cause);
		for (int words = PLAIN; words <= EVERY; words++)
			assert_int_equal(stop_action(cause, &specs[words]),
					 rows[i].action[words]);
		assert_non_null(cause_name(cause));
	}
}

/* A signal that may be the warning of --signal, at 1000. */
static void every_warning(void **state)
{
	static const struct {
		struct job_facts facts;
		bool saves[4]; /* as enum words */
	} rows[] = {
		{ { .answered = false }, { false } },
		{ { .answered = true, .running = true }, { false } },
		/* The limit is far. */
		{ { .answered = true, .running = true, .end = 9000 }, { false } },
		/* Near: with timelimit the plan has it. */
		{ { .answered = true, .running = true, .end = 1060 },
		  { [EVERY] = true } },
		{ { .answered = true, .running = true, .end = 990 }, { false } },
		/* send_user_signal at the begin of the grace. */
		{ { .answered = true, .running = true, .end = 9000, .preempted = true },
		  { [EVERY] = true, [TIMELIMIT] = true } },
		/* Being stopped: SIGTERM is what counts. */
		{ { .answered = true, .pending = true, .completing = true, .end = 1060 },
		  { false } },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		for (int words = PLAIN; words <= EVERY; words++)
			assert_int_equal(warning_saves(&rows[i].facts, &specs[words], 1000),
					 rows[i].saves[words]);
}

static void plans_for_the_limit(void **state)
{
#define JOB .answered = true, .running = true, .batch = true, .requeue = true
	static const struct {
		struct job_facts facts;
		int64_t need_us;
		int what, seconds;
	} rows[] = {
		{ { .answered = false }, 0, LIMIT_ASK, 60 },
		{ { .answered = true, .pending = true }, 0, LIMIT_ASK, 60 },
		{ { .answered = true, .running = true, .requeue = true, .end = 2000 },
		  0, LIMIT_NEVER, 0 },
		{ { .answered = true, .running = true, .batch = true, .end = 2000 },
		  0, LIMIT_NEVER, 0 },
		{ { JOB, .start = 0, .end = 0 }, 0, LIMIT_ASK, 6 * 3600 },
		/* No limit is a year. */
		{ { JOB, .start = 900, .end = 31536900 }, 0, LIMIT_ASK, 6 * 3600 },
		/* Half of the rest, until little is left. */
		{ { JOB, .start = 900, .end = 4605 }, 0, LIMIT_ASK, 1800 },
		{ { JOB, .start = 900, .end = 1035 }, 0, LIMIT_ASK, 30 },
		{ { JOB, .start = 900, .end = 1006 }, 0, LIMIT_ASK, 2 },
		{ { JOB, .start = 900, .end = 1005 }, 0, LIMIT_ACT, 0 },
		{ { JOB, .start = 900, .end = 990 }, 0, LIMIT_ACT, 0 },
		/* Twice 30 s and 5. */
		{ { JOB, .start = 100, .end = 1066 }, 30000000, LIMIT_ASK, 2 },
		{ { JOB, .start = 100, .end = 1065 }, 30000000, LIMIT_ACT, 0 },
		{ { JOB, .start = 100, .end = 1065 }, 29000001, LIMIT_ACT, 0 },
		{ { JOB, .start = 1000, .end = 1060 }, 30000000, LIMIT_NEVER, 0 },
		{ { JOB, .start = 1000, .end = 1060 }, 500000, LIMIT_ASK, 26 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct limit_plan plan = limit_plan(&rows[i].facts, 1000,
						    rows[i].need_us);

		assert_int_equal(plan.what, rows[i].what);
		assert_int_equal(plan.seconds, rows[i].seconds);
		assert_true((plan.what == LIMIT_NEVER) == (*plan.text != '\0'));
	}
}

static void near(double is, double should)
{
	assert_true(is > should * 0.999 && is < should * 1.001);
}

static void intervals(void **state)
{
	(void)state;
	/* Young: sqrt(2 * 10 s * 1 day) */
	near(interval_auto(10, 86400), 1314.53);
	near(interval_auto(40, 86400), 2 * 1314.53);
	near(interval_auto(0.001, 86400), 13.145);
	near(interval_auto(0.0001, 3600), 10); /* the least */
	near(interval_auto(1e5, 1e8), 86400); /* the most */
}

/* A thousand jobs that start together: in none of 20 parts of the interval do
 * more than twice their share write, and all write within one interval. */
static void spread(void **state)
{
	int count[20] = { 0 };

	(void)state;
	for (uint32_t job = 5000; job < 6000; job++) {
		double at = interval_spread(job, "batch", 0);

		assert_true(at > 0 && at <= 1);
		count[at == 1 ? 19 : (int)(at * 20)]++;
	}
	for (int i = 0; i < 20; i++)
		assert_true(count[i] >= 25 && count[i] <= 100);
	/* The same each time, another for another step and run. */
	assert_true(interval_spread(7, "0", 1) == interval_spread(7, "0", 1));
	assert_true(interval_spread(7, "0", 1) != interval_spread(7, "1", 1));
	assert_true(interval_spread(7, "0", 1) != interval_spread(7, "0", 2));
}

#define S INT64_C(1000000000)

static void rhythm(void **state)
{
	struct spec spec = { .job = 7, .step = "batch", .every = 100,
			     .limits = { .overhead = 5, .mtbf = 20000 } };
	struct rhythm r;

	(void)state;
	rhythm_begin(&r, &spec, 1000 * S);
	assert_true(r.due > 1000 * S && r.due <= 1100 * S);
	/* 4 s are less than 5 % of 100 s. */
	assert_false(rhythm_took(&r, 4000000, 1200 * S));
	assert_true(r.due == 1300 * S);
	/* (4 + 12) / 2 = 8 s are not: 160 s, and that is told once. */
	assert_true(rhythm_took(&r, 12000000, 1300 * S));
	assert_true(r.due == 1460 * S);
	assert_false(rhythm_took(&r, 12000000, 1460 * S));
	assert_true(r.due == 1660 * S);
	/* It gets cheaper again. */
	assert_false(rhythm_took(&r, 0, 1660 * S));
	assert_true(r.due == 1760 * S);
	/* One is left out. */
	rhythm_next(&r, 1760 * S);
	assert_true(r.due == 1860 * S);

	/* sqrt(2 * 1 * 20000) = 200; then with 4 s 400, with 0.25 s 141. */
	spec.every = EVERY_AUTO;
	rhythm_begin(&r, &spec, 0);
	near(r.seconds, 200);
	assert_true(r.due > 0 && r.due <= 200 * S);
	assert_false(rhythm_took(&r, 4000000, 0));
	near(r.seconds, 400);
	assert_false(rhythm_took(&r, 0, 0));
	near(r.seconds, 282.84);
	/* 5 % of the time allow 5 s each 100 s, where Young would take 77 s. */
	spec.limits.mtbf = 600;
	rhythm_begin(&r, &spec, 0);
	assert_true(rhythm_took(&r, 5000000, 0));
	near(r.seconds, 100);

	spec.every = 0;
	rhythm_begin(&r, &spec, 1000 * S);
	assert_false(rhythm_took(&r, 4000000, 1200 * S));
	assert_true(r.due == 0);
}

static void budgets(void **state)
{
	char text[640] = "";

	(void)state;
	assert_int_equal(budget_need_us(0, 5e8), 500000);
	assert_int_equal(budget_need_us(1000000000, 5e8), 2500000);
	assert_int_equal(budget_deadline_us(30), 26500000);
	/* Slurm waits 5 s at the least. */
	assert_int_equal(budget_deadline_us(0), 4000000);
	assert_int_equal(budget_deadline_us(5), 4000000);
	assert_false(budget_warning(INT64_C(13) << 30, 6e8, true, 30, text,
				    sizeof(text)));
	assert_string_equal(text, "");
	assert_true(budget_warning(INT64_C(48) << 30, 6.0 * (1 << 30) / 10, true,
				   30, text, sizeof(text)));
	assert_non_null(strstr(text, "a dump of 48 GiB at 614 MiB/s takes about 80.50 s and does not fit into KillWait=30 s"));
	assert_true(budget_warning(INT64_C(48) << 30, SPEED_ASSUMED, false, 30,
				   text, sizeof(text)));
	assert_non_null(strstr(text, "/s (assumed)"));

	struct spec spec = { .step = "0", .kill_wait = 30 };

	assert_true(budget_fits_grace(80500000, &spec, 60));
	assert_false(budget_fits_grace(80600000, &spec, 60));
	assert_false(budget_fits_grace(80500000, &spec, 0));
	strcpy(spec.step, "batch");
	assert_false(budget_fits_grace(80500000, &spec, 60));
}

static void answers_of_slurmctld(void **state)
{
	struct job_facts f;
	struct err e;

	(void)state;
	/* 24.11 */
	assert_int_equal(job_parse(
		"{\"jobs\":[{\"job_id\":7,\"job_state\":[\"PENDING\",\"COMPLETING\"],"
		"\"preempt_time\":{\"set\":true,\"infinite\":false,\"number\":17},"
		"\"restart_cnt\":3,\"batch_flag\":true,\"requeue\":true,"
		"\"mail_user\":\"ann\",\"comment\":\"my own\","
		"\"submit_time\":{\"set\":true,\"number\":4},"
		"\"start_time\":{\"set\":true,\"number\":5},"
		"\"end_time\":{\"set\":true,\"number\":65}}]}", 7, &f, &e), 0);
	assert_true(f.answered && f.pending && f.completing && f.preempted &&
		    !f.running && f.restarts == 3 && f.batch && f.requeue &&
		    f.start == 5 && f.end == 65);
	assert_string_equal(f.mail_user, "ann");
	assert_string_equal(f.comment, "my own");
	assert_int_equal(f.submitted, 4);
	assert_int_equal(job_parse(
		"{\"jobs\":[{\"job_id\":7,\"job_state\":[\"RUNNING\"],"
		"\"preempt_time\":{\"set\":true,\"infinite\":false,\"number\":0}}]}",
		7, &f, &e), 0);
	assert_true(f.running && !f.preempted);
	assert_int_equal(job_parse(
		"{\"jobs\":[{\"job_id\":7,\"job_state\":[\"RUNNING\"],"
		"\"preempt_time\":{\"set\":false,\"infinite\":false,\"number\":9}}]}",
		7, &f, &e), 0);
	assert_false(f.preempted);
	/* 22.05: plain words and numbers */
	assert_int_equal(job_parse("{\"jobs\":[{\"job_id\":7,\"job_state\":\"CANCELLED\","
				   "\"preempt_time\":5}]}", 7, &f, &e), 0);
	assert_true(f.cancelled && f.preempted);
	static const char *const bad[] = { "", "{", "[]", "{\"jobs\":[]}",
					   "{\"jobs\":{}}", "{\"jobs\":[7]}",
					   "{\"jobs\":[{\"job_id\":7}]}",
					   "{\"jobs\":[{\"job_id\":8,\"job_state\":\"RUNNING\"}]}" };
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(job_parse(bad[i], 7, &f, &e), -1);
		assert_false(f.answered);
	}
}

/* One task of an array has the array's number, and all are shown for it. */
static void large_records(void **state)
{
	static const char *const texts[][2] = {
		{ "", "" },
		{ "{\"a\":1}", "{\"a\":1}" },
		{ "{\"job_resources\": {\"a\": [{\"b\": \"}\\\"]\"}, 2]}, \"c\":1}", "{\"job_resources\":0, \"c\":1}" },
		{ "[{\"job_resources\":{}},{\"job_resources\": [1],\"c\":2}]", "[{\"job_resources\":0},{\"job_resources\":0,\"c\":2}]" },
		{ "{\"job_resources\": null, \"c\":1}", "{\"job_resources\":0, \"c\":1}" },
		{ "{\"job_resources\": null}", "{\"job_resources\":0}" },
		/* In a comment of the user's. */
		{ "{\"comment\":\"\\\"job_resources\\\":{\",\"c\":1}", "{\"comment\":\"\\\"job_resources\\\":{\",\"c\":1}" },
		/* Cut off. */
		{ "{\"job_resources\":", "{\"job_resources\":" },
		{ "{\"job_resources\":{\"a\":\"\\", "{\"job_resources\":0" },
	};
	char text[256];

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		snprintf(text, sizeof(text), "%s", texts[i][0]);
		job_trim(text);
		assert_string_equal(text, texts[i][1]);
	}
}

static void task_of_an_array(void **state)
{
	static const char answer[] =
		"{\"jobs\":[{\"job_id\":21,\"array_job_id\":20,\"array_task_id\":1,"
		"\"job_state\":\"RUNNING\",\"restart_cnt\":4},"
		"{\"job_id\":20,\"array_job_id\":{\"set\":true,\"number\":20},"
		"\"array_task_id\":{\"set\":true,\"number\":3},"
		"\"job_state\":\"PENDING\",\"restart_cnt\":5,\"priority\":9,"
		"\"eligible_time\":77,\"flags\":[\"A\",\"EXPEDITED_REQUEUE\"]}]}";
	struct job_facts f;

	(void)state;
	assert_int_equal(job_parse(answer, 20, &f, NULL), 0);
	assert_true(f.pending && f.restarts == 5 && f.begin == 77 && !f.held &&
		    f.expedited);
	assert_string_equal(f.name, "20_3");
	assert_int_equal(job_parse(answer, 21, &f, NULL), 0);
	/* Whose priority is not told is left alone. */
	assert_true(f.running && f.restarts == 4 && f.held && !f.expedited);
	assert_string_equal(f.name, "20_1");
	assert_int_equal(job_parse("{\"jobs\":[{\"job_id\":7,\"job_state\":\"RUNNING\","
				   "\"array_job_id\":0,\"array_task_id\":null}]}",
				   7, &f, NULL), 0);
	assert_string_equal(f.name, "7");
}

static void batch_flags(void **state)
{
	char text[] = "JobId=21 ArrayJobId=20 ArrayTaskId=1 JobName=BatchFlag=9 BatchFlag=2 Reboot=0\n"
		      "JobId=20 ArrayJobId=20 JobName=x XBatchFlag=8 BatchFlag=3\n";
	char copy[sizeof(text)];

	(void)state;
	memcpy(copy, text, sizeof(text));
	assert_int_equal(batch_flag_parse(copy, 20), 3);
	memcpy(copy, text, sizeof(text));
	assert_int_equal(batch_flag_parse(copy, 21), 2);
	memcpy(copy, text, sizeof(text));
	assert_int_equal(batch_flag_parse(copy, 22), -1);
	copy[0] = '\0';
	assert_int_equal(batch_flag_parse(copy, 20), -1);
}

/* Every row of the table of ends in doc/internals.md; the program was told to end at
 * `stopped`, and the step at 1000. */
static void every_ending(void **state)
{
#define MAY_COME_BACK .answered = true, .batch = true, .requeue = true
#define PUT_BACK MAY_COME_BACK, .pending = true, .completing = true
	static const struct {
		struct job_facts facts;
		struct own_end end;
		enum ending ending;
	} rows[] = {
		/* It ended while the job was put back, by Slurm or by this step. */
		{ { PUT_BACK, .preempt_time = 999 }, { .run = 0 }, ENDING_REQUEUED },
		{ { PUT_BACK, .preempt_time = 999 }, { .run = 3, .stopped = 900 }, ENDING_REQUEUED },
		{ { PUT_BACK }, { .ours = true }, ENDING_REQUEUED },
		/* By somebody else, often itself, also for a signal that is no stop. */
		{ { PUT_BACK }, { .run = 0 }, ENDING_AFRESH },
		{ { PUT_BACK }, { .run = 3, .stopped = 900 }, ENDING_AFRESH },
		{ { PUT_BACK }, { .run = 3, .stopped = 900, .signalled = 1000 }, ENDING_AFRESH },
		/* Because of that. */
		{ { PUT_BACK }, { .stopped = 1000 }, ENDING_TOLD },
		{ { PUT_BACK }, { .stopped = 998 }, ENDING_TOLD },
		{ { PUT_BACK, .preempt_time = 999 }, { .stopped = 998 }, ENDING_TOLD },
		{ { PUT_BACK, .preempt_time = 999 }, { .signalled = 1000 }, ENDING_TOLD },
		{ { PUT_BACK }, { .stopped = 1000, .ours = true }, ENDING_TOLD },
		{ { PUT_BACK }, { .ours = true, .signalled = 1000 }, ENDING_TOLD },
		/* In its grace time, and because of it. */
		{ { MAY_COME_BACK, .running = true, .preempt_time = 990 }, { .run = 0 }, ENDING_MAYBE },
		{ { MAY_COME_BACK, .running = true, .preempt_time = 990 }, { .stopped = 984 }, ENDING_MAYBE },
		{ { MAY_COME_BACK, .running = true, .preempt_time = 990 }, { .stopped = 985 }, ENDING_TOLD },
		{ { MAY_COME_BACK, .running = true, .preempt_time = 990 }, { .run = 2, .stopped = 995 }, ENDING_TOLD },
		/* It relies on its top, wherever it ended by itself. */
		{ { MAY_COME_BACK, .running = true }, { .requeue_exit = true }, ENDING_AFRESH },
		{ { MAY_COME_BACK, .running = true }, { .run = 3, .requeue_exit = true }, ENDING_AFRESH },
		{ { MAY_COME_BACK, .running = true, .preempt_time = 990 }, { .requeue_exit = true },
		  ENDING_AFRESH },
		{ { MAY_COME_BACK, .running = true, .preempt_time = 990 },
		  { .stopped = 995, .requeue_exit = true }, ENDING_TOLD },
		{ { PUT_BACK, .preempt_time = 999 }, { .requeue_exit = true }, ENDING_AFRESH },
		{ { PUT_BACK, .preempt_time = 999 }, { .stopped = 1000, .requeue_exit = true },
		  ENDING_TOLD },
		{ { .answered = true, .batch = true, .running = true }, { .requeue_exit = true },
		  ENDING_FORGET },
		/* The flag of an earlier grace time may still be set. */
		{ { MAY_COME_BACK, .running = true }, { .run = 1 }, ENDING_MAYBE },
		{ { MAY_COME_BACK, .running = true }, { .run = 0 }, ENDING_FORGET },
		/* It does not come back. */
		{ { MAY_COME_BACK, .completing = true }, { .run = 1 }, ENDING_FORGET },
		{ { MAY_COME_BACK, .cancelled = true, .completing = true }, { .run = 1 }, ENDING_FORGET },
		{ { MAY_COME_BACK, .timeout = true, .completing = true }, { .run = 1 }, ENDING_FORGET },
		{ { .answered = true, .batch = true, .pending = true }, { .run = 0 }, ENDING_FORGET },
		{ { .answered = true, .requeue = true, .pending = true }, { .run = 0 }, ENDING_FORGET },
		{ { .answered = false }, { .run = 1 }, ENDING_FORGET },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct own_end end = rows[i].end;

		end.told = 1000;
		assert_int_equal(ending_of(&rows[i].facts, &end), rows[i].ending);
	}
}

static void every_rerun(void **state)
{
	static const struct {
		struct past was;
		int run, flag;
		bool asks;
		enum rerun rerun;
	} rows[] = {
		/* Put back before it ended: whatever slurmctld says. */
		{ { .run = 0, .requeued = true, .batch_flag = 1 }, 1, 0, false, RERUN_END },
		{ { .run = 0, .requeued = true, .batch_flag = 1 }, 1, -1, false, RERUN_END },
		{ { .run = 4, .requeued = true, .batch_flag = -1, .failed = true }, 5, 0, false,
		  RERUN_END },
		/* And then once more: by slurmctld, when it did not start; by people. */
		{ { .run = 0, .requeued = true, .batch_flag = 1 }, 2, 2, true, RERUN_END },
		{ { .run = 0, .requeued = true, .batch_flag = 1 }, 2, 1, true, RERUN_AFRESH },
		{ { .run = 0, .requeued = true, .batch_flag = 1, .failed = true }, 2, 1, true,
		  RERUN_GO_ON },
		/* Put back by slurmctld when it ended. */
		{ { .run = 0, .batch_flag = 1 }, 1, 2, true, RERUN_END },
		{ { .run = 3, .batch_flag = 2, .failed = true }, 4, 3, true, RERUN_END },
		{ { .run = 3, .batch_flag = 2 }, 5, 4, true, RERUN_END },
		{ { .run = 3, .batch_flag = 2 }, 5, 3, true, RERUN_AFRESH },
		/* By people: what ended well begins afresh, what failed goes on. */
		{ { .run = 0, .batch_flag = 1 }, 1, 1, true, RERUN_AFRESH },
		{ { .run = 0, .batch_flag = 1, .failed = true }, 1, 1, true, RERUN_GO_ON },
		/* Above MaxBatchRequeue it begins at 1 again, and people release the job. */
		{ { .run = 6, .batch_flag = 6 }, 7, 1, true, RERUN_AFRESH },
		/* Not to be known. */
		{ { .run = 0, .batch_flag = 1 }, 1, -1, true, RERUN_AFRESH },
		{ { .run = 1, .batch_flag = -1 }, 2, 0, false, RERUN_AFRESH },
		/* It is of this run, or of a later one. */
		{ { .run = 1, .requeued = true, .batch_flag = 1 }, 1, 2, true, RERUN_GO_ON },
		{ { .run = 2, .requeued = true, .batch_flag = 1 }, 1, 2, true, RERUN_GO_ON },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		assert_int_equal(rerun_asks(&rows[i].was, rows[i].run),
				 rows[i].asks);
		assert_int_equal(rerun_of(&rows[i].was, rows[i].run,
					  rows[i].flag),
				 rows[i].rerun);
	}
}

/* At 1000, where the administrator allows 10 s. */
static void waits(void **state)
{
#define BACK .answered = true, .batch = true, .pending = true, .completing = true
	static const struct {
		struct job_facts facts;
		int wait;
	} rows[] = {
		{ { BACK }, 10 },
		{ { BACK, .begin = 1000 }, 10 },
		{ { BACK, .preempted = true, .begin = 900 }, 10 },
		/* Somebody wants it otherwise. */
		{ { BACK, .begin = 1001 }, 0 },
		{ { BACK, .begin = 99999 }, 0 },
		{ { BACK, .held = true }, 0 },
		{ { BACK, .expedited = true }, 0 },
		/* It is not being put back, or Slurm has set its wait already. */
		{ { .answered = true, .batch = true, .pending = true }, 0 },
		{ { .answered = true, .batch = true, .running = true }, 0 },
		{ { .answered = true, .batch = true, .completing = true }, 0 },
		{ { .answered = true, .batch = true, .cancelled = true, .completing = true }, 0 },
		{ { .answered = true, .pending = true, .completing = true }, 0 },
		{ { .answered = false }, 0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		assert_int_equal(requeue_wait(&rows[i].facts, 10, 120, 1000),
				 rows[i].wait);
		assert_int_equal(requeue_wait(&rows[i].facts, 0, 120, 1000), 0);
		/* Slurm lets it start as soon. */
		assert_int_equal(requeue_wait(&rows[i].facts, 10, 10, 1000), 0);
	}
}

static void configuration(void **state)
{
	static const char text[] = "Configuration data as of x\n"
				   "AuthAltTypes            = (null)\n"
				   "AuthInfo                = socket=/x,cred_expire=7\n"
				   "AuthInfoX               = cred_expire=8\n"
				   "MailProg                = /bin/mail\n"
				   "SchedulerParameters     = bf_interval=2\n";
	char value[32];

	(void)state;
	assert_true(config_find(text, "MailProg", value, sizeof(value)));
	assert_string_equal(value, "/bin/mail");
	assert_false(config_find(text, "Mail", value, sizeof(value)));
	assert_false(config_find("", "Mail", value, sizeof(value)));
	assert_int_equal(config_requeue_delay(text), 7);
	for (int code = 0; code < 256; code++)
		assert_int_equal(config_requeue_exit("RequeueExit             = 3-5,85\n"
						     "RequeueExitHold         = 7\n", code),
				 (code >= 3 && code <= 5) || code == 85);
	assert_false(config_requeue_exit("RequeueExit             = (null)\n", 0));
	assert_false(config_requeue_exit("RequeueExitHold         = 7\n", 7));
	assert_int_equal(config_requeue_delay(""), 120);
	assert_int_equal(config_requeue_delay("AuthInfo                = (null)\n"), 120);
	assert_int_equal(config_requeue_delay(
		"AuthInfo                = cred_expire=60\n"
		"SchedulerParameters     = a=1,requeue_delay=0,b\n"), 0);
}

static void comments(void **state)
{
	const int64_t s = 1000000000;

	(void)state;
	assert_true(comment_is_free(""));
	assert_true(comment_is_free("sckpt: batch: x"));
	assert_false(comment_is_free("mine"));
	assert_false(comment_is_free(" sckpt: batch: x"));
	assert_false(comment_is_free("sckpt is what I use"));
	assert_true(comment_due(0, 5 * s));
	assert_false(comment_due(5 * s, 6 * s));
	assert_false(comment_due(5 * s, 1804 * s));
	assert_true(comment_due(5 * s, 1805 * s));
}

/* A node that no waking reaches for so many seconds after it is asked. After how many it is
 * known to be there, or, negative, is given up. */
static int ask(int away, int *wakes)
{
	const int64_t s = 1000000000;
	struct presence p = { .since = 5 * s };
	bool answered = false;
	int asked = 0;

	*wakes = 0;
	for (int now = 5;; now++)
		switch (presence_look(&p, 7, answered, now * s)) {
		case PRESENCE_WAIT:
			if (asked && !p.order)
				return now - asked;
			break;
		case PRESENCE_ASK:
			assert_int_equal(now, 606);
			presence_asked(&p, 7, now * s);
			asked = now;
			answered = !away;
			break;
		case PRESENCE_WAKE:
			++*wakes;
			answered = now - asked >= away;
			break;
		case PRESENCE_GONE:
			return asked - now;
		}
}

static void presences(void **state)
{
	const int64_t s = 1000000000;
	struct presence p;
	int wakes;

	(void)state;
	assert_int_equal(ask(0, &wakes), 1);
	assert_int_equal(wakes, 0);
	/* slurmctld is started anew. */
	assert_int_equal(ask(90, &wakes), 123);
	assert_int_equal(wakes, 2);
	assert_true(ask(1700, &wakes) > 1700);
	assert_int_equal(ask(4000, &wakes), -1801);
	assert_int_equal(wakes, 29);
	/* It has heard of something else since. */
	presence_asked(&p, 7, 5 * s);
	assert_int_equal(presence_look(&p, 8, false, 3000 * s), PRESENCE_WAIT);
	assert_int_equal(presence_look(&p, 8, false, 3600 * s), PRESENCE_WAIT);
	assert_int_equal(presence_look(&p, 8, false, 3601 * s), PRESENCE_ASK);
	/* Nobody could be asked: not that it is gone. */
	presence_asked(&p, 0, 3601 * s);
	assert_int_equal(presence_look(&p, 8, false, 4201 * s), PRESENCE_WAIT);
	assert_int_equal(presence_look(&p, 8, false, 4202 * s), PRESENCE_ASK);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_cause),
		cmocka_unit_test(large_records),
		cmocka_unit_test(every_warning),
		cmocka_unit_test(plans_for_the_limit),
		cmocka_unit_test(intervals),
		cmocka_unit_test(spread),
		cmocka_unit_test(rhythm),
		cmocka_unit_test(budgets),
		cmocka_unit_test(answers_of_slurmctld),
		cmocka_unit_test(task_of_an_array),
		cmocka_unit_test(batch_flags),
		cmocka_unit_test(every_ending),
		cmocka_unit_test(configuration),
		cmocka_unit_test(every_rerun),
		cmocka_unit_test(waits),
		cmocka_unit_test(comments),
		cmocka_unit_test(presences),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
