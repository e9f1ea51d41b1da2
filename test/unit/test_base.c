/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sckpt/base.h"
#include "sckpt/broker.h"
#include "unit.h"

static void errors_keep_the_first_cause(void **state)
{
	struct err e;
	char longer[2000];

	(void)state;
	errno = EACCES;
	assert_int_equal(err_sys(&e, "cannot open %s", "x"), -1);
	assert_int_equal(errno, EACCES);
	assert_int_equal(err_context(&e, "line %d", 3), -1);
	assert_string_equal(e.text, "line 3: cannot open x: Permission denied");
	memset(longer, 'a', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = '\0';
	err_set(&e, "%s", longer);
	err_context(&e, "%s", longer);
	assert_true(strlen(e.text) < sizeof(e.text));
	assert_int_equal(err_set(NULL, "nobody listens"), -1);
	/* What users choose is quoted, in slurmd's log and on root's terminal. */
	err_set(&e, "no %s", "a\nb\033[1m\x7f\xc2\x9b" "1m \xc3\xa4");
	assert_string_equal(e.text, "no a?b?[1m???1m \xc3\xa4");
	err_context(&e, "in %s", "c\r");
	says(e, "in c?: no a?b");
	errno = ENOENT;
	err_sys(&e, "%s", "d\t");
	assert_string_equal(e.text, "d?: No such file or directory");
}

static void nearest_word(void **state)
{
	static const char *const words[] = { "off", "required", "grant=agent",
					     NULL };

	(void)state;
	assert_string_equal(text_nearest("requried", words), "required");
	assert_string_equal(text_nearest("grant=agnet", words), "grant=agent");
	assert_string_equal(text_nearest("of", words), "off");
	assert_string_equal(text_nearest("", words), "off");
}

static void escapes_paths(void **state)
{
	static const char path[] = "/a b/\n%\xff~";
	static const char *const bad[] = { "%", "%4", "%4g", "%00", "a%" };
	char *text = text_escape(path), *back = text_unescape(text);

	(void)state;
	assert_string_equal(text, "/a%20b/%0a%25%ff~");
	assert_string_equal(back, path);
	free(text);
	free(back);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_null(text_unescape(bad[i]));
}

static void expands_directories(void **state)
{
	const struct text_vars v = { .user = "ann",
				     .home = "/home/ann",
				     .cluster = "lab",
				     .uid = 7,
				     .job = 12 };
	char out[32];
	struct err e;

	(void)state;
	assert_int_equal(text_expand("%h/.sckpt", &v, out, sizeof(out), &e), 0);
	assert_string_equal(out, "/home/ann/.sckpt");
	assert_int_equal(text_expand("/x/%c/%u/%U/%j/%%", &v, out, sizeof(out), &e), 0);
	assert_string_equal(out, "/x/lab/ann/7/12/%");
	assert_int_equal(text_expand("/x/%q", &v, out, sizeof(out), &e), -1);
	says(e, "'%q' is not known");
	assert_int_equal(text_expand("/x\n/y", &v, out, sizeof(out), &e), -1);
	says(e, "control characters");
	assert_int_equal(text_expand("/x/%", &v, out, sizeof(out), &e), -1);
	assert_int_equal(text_expand("/0123456789012345678901234567890", &v,
				     out, sizeof(out), &e), -1);
	says(e, "longer than 31 bytes");
	assert_int_equal(text_expand("%u", &(struct text_vars){ .user = "" },
				     out, sizeof(out), &e), -1);
}

static void fixed_part_of_a_directory(void **state)
{
	static const char *const cases[][2] = {
		{ "/scratch/ck/%u", "/scratch/ck" }, { "/scratch/ck-%u", "/scratch" },
		{ "/scratch/ck", "/scratch/ck" },    { "/scratch/ck/", "/scratch/ck" },
		{ "/%u", "/" },
	};
	char out[64];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		conf_dir_fixed(cases[i][0], out, sizeof(out));
		assert_string_equal(out, cases[i][1]);
	}
}

static void versions(void **state)
{
	char out[16];

	(void)state;
	assert_int_equal(version_parse("4.1.1"), 40101);
	assert_int_equal(version_parse("3.19\nGitID: x"), 31900);
	assert_int_equal(version_parse("4"), 40000);
	assert_int_equal(version_parse("v4"), -1);
	assert_int_equal(version_parse(""), -1);
	version_print(40101, out);
	assert_string_equal(out, "4.1.1");
	version_print(31900, out);
	assert_string_equal(out, "3.19");
}

static void words_of_the_option(void **state)
{
	static const char *const plain[] = { NULL, "", "(null)" };
	struct request r;
	struct err e;

	(void)state;
	for (int i = 0; i < 3; i++) {
		assert_int_equal(request_parse(plain[i], &r, &e), 0);
		assert_true(r.on && !r.required && r.grant == GRANT_UNSET);
	}
	assert_int_equal(request_parse("required,grant=agent", &r, &e), 0);
	assert_true(r.on && r.required && r.grant == GRANT_AGENT);
	assert_int_equal(request_parse("off", &r, &e), 0);
	assert_false(r.on);
	assert_int_equal(request_parse("required", &r, &e), 0);
	assert_int_equal(request_parse("requird", &r, &e), -1);
	says(e, "'requird'; the nearest one is 'required'");
	assert_true(r.on && r.required); /* unchanged */
	assert_false(r.skip_done);
	assert_false(r.check);
	assert_int_equal(request_parse("check", &r, &e), 0);
	assert_true(r.on && r.check);
	assert_int_equal(request_parse("steps=skip-done", &r, &e), 0);
	assert_true(r.on && r.skip_done);
	assert_int_equal(request_parse("carry=/tmp/%u:$TMPDIR/x", &r, &e), 0);
	assert_string_equal(r.carry, "/tmp/%u:$TMPDIR/x");
	assert_int_equal(request_parse("off,required", &r, &e), -1);
	assert_int_equal(request_parse("required,", &r, &e), -1);
}

static void words_with_values(void **state)
{
	static const struct {
		const char *words;
		int every, keep;
		bool timelimit, cancel, notify;
		const char *dir;
	} good[] = {
		{ "every=30m", 1800, 0, false, false, false, "" },
		{ "30", 1800, 0, false, false, false, "" },
		{ "every=30", 1800, 0, false, false, false, "" },
		{ "every=90s,keep=5", 90, 5, false, false, false, "" },
		{ "every=auto,notify", EVERY_AUTO, 0, false, false, true, "" },
		{ "preempt,timelimit,cancel", 0, 0, true, true, false, "" },
		{ "dir=/scratch/%u/ck", 0, 0, false, false, false, "/scratch/%u/ck" },
		{ "dir=%h/ck", 0, 0, false, false, false, "%h/ck" },
	};
	static const struct {
		const char *words, *says;
	} bad[] = {
		{ "every=", "every=: it is auto, or a time such as 30m" },
		{ "every=0", "at least 1s and at most 30d" },
		{ "every=31d", "at least 1s and at most 30d" },
		{ "every=99999999999", "at least 1s" },
		{ "every=soon", "it is auto, or a time" },
		{ "evry=30m", "the nearest one is 'every='" },
		{ "timelimits", "the nearest one is 'timelimit'" },
		{ "timelimit=yes", "does not know the word 'timelimit=yes'" },
		{ "keep=0", "a number from 1 to 1000" },
		{ "keep=two", "a number from 1 to 1000" },
		{ "dir=ck", "it is an absolute path" },
		{ "dir=/", "it is an absolute path" },
		{ "dir=/x/%z", "not known" },
		{ "grant=all", "it is either step or agent" },
		{ "steps=skip", "steps=skip: it is skip-done" },
		{ "restart=12", "JOB.STEP:GENERATION" },
		{ "carry=", "it is an absolute path" },
		{ "carry=tmp/x", "it is an absolute path" },
		{ "carry=/", "it is an absolute path" },
		{ "carry=/tmp/a:b", "it is an absolute path" },
		{ "carry=/tmp/%z", "not known" },
	};
	struct request r;
	struct err e;

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		assert_int_equal(request_parse(good[i].words, &r, &e), 0);
		assert_int_equal(r.every, good[i].every);
		assert_int_equal(r.keep, good[i].keep);
		assert_true(r.timelimit == good[i].timelimit &&
			    r.cancel == good[i].cancel &&
			    r.notify == good[i].notify);
		assert_string_equal(r.dir, good[i].dir);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(request_parse(bad[i].words, &r, &e), -1);
		says(e, bad[i].says);
	}
}

/* arg: "NAME=value" words, NULL after the last. */
static bool lookup(const char *name, char *value, size_t size, void *arg)
{
	for (char **at = arg; *at; at++)
		if (!strncmp(*at, name, strlen(name)) &&
		    (*at)[strlen(name)] == '=') {
			snprintf(value, size, "%s", *at + strlen(name) + 1);
			return true;
		}
	return false;
}

static void words_of_the_environment(void **state)
{
	char *all[] = { "SCKPT_EVERY=2h", "SCKPT_KEEP=3", "SCKPT_TIMELIMIT=yes",
			"SCKPT_CANCEL=0", "SCKPT_DIR=/x", "SCKPT_REQUIRED=", NULL };
	struct request r = { .on = false };
	struct err e;

	(void)state;
	/* They do not switch on. */
	assert_int_equal(request_environment(&r, false, lookup, all, &e), 0);
	assert_true(!r.on && !r.every);
	/* The option wins. */
	assert_int_equal(request_parse("every=30m", &r, &e), 0);
	assert_int_equal(request_environment(&r, true, lookup, all, &e), 0);
	assert_true(r.every == 1800 && r.keep == 3 && r.timelimit &&
		    !r.cancel && !r.required);
	assert_string_equal(r.dir, "/x");
	/* SCKPT_CHECKPOINT stands for it, and only then. */
	char *stands[] = { "SCKPT_CHECKPOINT=keep=7,cancel", "SCKPT_KEEP=3", NULL };

	r = (struct request){ .on = false };
	assert_int_equal(request_environment(&r, false, lookup, stands, &e), 0);
	assert_true(r.on && r.keep == 7 && r.cancel);
	assert_int_equal(request_parse("off", &r, &e), 0);
	assert_int_equal(request_environment(&r, true, lookup, stands, &e), 0);
	assert_true(!r.on && !r.keep);

	static char *bad[][2] = { { "SCKPT_KEEP=no", NULL },
				  { "SCKPT_CANCEL=perhaps", NULL },
				  { "SCKPT_RESTART_DIR=x", NULL } };
	static const char *const why[] = { "SCKPT_KEEP: --checkpoint=keep=no",
					   "SCKPT_CANCEL=perhaps: it is yes or no",
					   "it is an absolute path" };
	for (size_t i = 0; i < 3; i++) {
		assert_int_equal(request_parse("", &r, &e), 0);
		assert_int_equal(request_environment(&r, true, lookup, bad[i], &e), -1);
		says(e, why[i]);
		assert_true(r.on && !r.keep);
	}
}

static void spans(void **state)
{
	char out[16];

	(void)state;
	span_print(-1, out);
	assert_string_equal(out, "?");
	span_print(12000, out);
	assert_string_equal(out, "12.0 ms");
	span_print(1200000, out);
	assert_string_equal(out, "1.20 s");
	span_print(INT64_C(1805) * 1000000, out);
	assert_string_equal(out, "30 min 5 s");
	span_print(INT64_C(7260) * 1000000, out);
	assert_string_equal(out, "2 h 1 min");
}

static void directory_of_a_user(void **state)
{
	const struct text_vars v = { .user = "ann", .home = "/home/ann",
				     .cluster = "lab", .uid = 7, .job = 12 };
	static const char *const good[][3] = {
		{ "/scratch/ck", "/scratch/ck", "/scratch" },
		{ "/scratch/%u/%j//", "/scratch/ann/12", "/scratch/ann" },
		{ "/ck", "/ck", "/" },
		{ "%h/ck", "/home/ann/ck", "/home/ann" },
	};
	char base[64], fixed[64];
	struct err e;

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		assert_int_equal(conf_user_store(good[i][0], &v, base, sizeof(base),
						 fixed, sizeof(fixed), &e), 0);
		assert_string_equal(base, good[i][1]);
		assert_string_equal(fixed, good[i][2]);
	}
	assert_int_equal(conf_user_store("%u/ck", &v, base, sizeof(base), fixed,
					 sizeof(fixed), &e), -1);
	assert_int_equal(conf_user_store("//", &v, base, sizeof(base), fixed,
					 sizeof(fixed), &e), -1);
}

static void settings(void **state)
{
	static const struct {
		const char *line, *says;
	} bad[] = {
		{ "dirr=/x", "there is no setting 'dirr'; the nearest one is 'dir'" },
		{ "dir", "not of the form key=value" },
		{ "dir=", "dir has no value" },
		{ "dir=relative", "not an absolute path" },
		{ "dir=/x/%z", "not known" },
		{ "criu=criu", "not an absolute path" },
		{ "metrics-dir=here", "not an absolute path" },
		{ "grant=all", "it is step, agent or never" },
		{ "allow-users=,a", "list of names with , between" },
		{ "allow-groups=a,,b", "list of names with , between" },
		{ "allow-partitions=a:b", "list of names with , between" },
		{ "elevate=root", "it is none, or a list of seccomp, tcp and ptrace" },
		{ "elevate=tcp seccomp", "it is none, or a list of" },
		{ "elevate-groups=a,,b", "list of names with , between" },
		{ "no-new-privs=yes", "it is either auto or always" },
		{ "local=tmp", "it is none, or a list of directories" },
		{ "files=all", "it is cut, copy or leave" },
		{ "files-max=much", "it is a size such as" },
		{ "user-dir=maybe", "it is either yes or no" },
		{ "keep-max=0", "a number from 1 to 1000" },
		{ "overhead=0", "a number from 1 to 100" },
		{ "mtbf=soon", "a time such as" },
		{ "requeue-wait=1", "at least 2 s" },
		{ "requeue-wait=never", "a time such as" },
	};
	struct conf conf, before;
	struct err e;

	(void)state;
	conf_defaults(&conf);
	assert_string_equal(conf.dir, "%h/.sckpt");
	before = conf;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(conf_set(&conf, bad[i].line, &e), -1);
		says(e, bad[i].says);
		assert_memory_equal(&conf, &before, sizeof(conf));
	}
	assert_int_equal(conf_set(&conf, "dir=/x/%u", &e), 0);
	assert_int_equal(conf_set(&conf, "grant=agent", &e), 0);
	assert_int_equal(conf_set(&conf, "no-new-privs=always", &e), 0);
	assert_int_equal(conf_set(&conf, "files=copy", &e), 0);
	assert_int_equal(conf_set(&conf, "files-max=3M", &e), 0);
	assert_int_equal(conf.limits.files, FILES_COPY);
	assert_int_equal(conf.limits.files_max, 3 << 20);
	assert_int_equal(conf_set(&conf, "mtbf=8w", &e), 0);
	assert_int_equal(conf.limits.requeue_wait, 10);
	assert_int_equal(conf_set(&conf, "requeue-wait=1m", &e), 0);
	assert_int_equal(conf.limits.requeue_wait, 60);
	assert_int_equal(conf_set(&conf, "requeue-wait=slurm", &e), 0);
	assert_int_equal(conf.limits.requeue_wait, 0);
	assert_int_equal(conf_set(&conf, "local=/tmp:/scratch", &e), 0);
	assert_string_equal(conf.limits.local, "/tmp:/scratch");
	assert_int_equal(conf_set(&conf, "local=none", &e), 0);
	assert_string_equal(conf.limits.local, "");
	assert_int_equal(conf_set(&conf, "overhead=10", &e), 0);
	assert_int_equal(conf_set(&conf, "user-dir=no", &e), 0);
	assert_string_equal(conf.dir, "/x/%u");
	assert_true(conf.limits.mtbf == 8 * 7 * 86400 && conf.limits.overhead == 10 &&
		    conf.user_dir == USER_DIR_NO);
	assert_true(conf.grant == GRANT_AGENT && conf.no_new_privs);
	assert_string_equal(conf.allow_users, "");
	assert_int_equal(conf_set(&conf, "allow-users=a,1001", &e), 0);
	assert_int_equal(conf_set(&conf, "allow-groups=g", &e), 0);
	assert_int_equal(conf_set(&conf, "allow-partitions=low,high", &e), 0);
	assert_int_equal(conf_set(&conf, "grant=never", &e), 0);
	assert_string_equal(conf.allow_users, "a,1001");
	assert_string_equal(conf.allow_groups, "g");
	assert_string_equal(conf.allow_partitions, "low,high");
	assert_int_equal(conf.elevate, 0);
	assert_int_equal(conf_set(&conf, "elevate=tcp,seccomp", &e), 0);
	assert_int_equal(conf.elevate, ELEVATE_TCP | ELEVATE_SECCOMP);
	assert_int_equal(conf_set(&conf, "elevate=ptrace", &e), 0);
	assert_int_equal(conf.elevate, ELEVATE_PTRACE);
	assert_int_equal(conf_set(&conf, "elevate=none", &e), 0);
	assert_int_equal(conf.elevate, 0);
	assert_int_equal(conf_set(&conf, "metrics-dir=/var/lib/m", &e), 0);
	assert_string_equal(conf.metrics_dir, "/var/lib/m");
	assert_int_equal(conf_set(&conf, "elevate-accounts=mpi", &e), 0);
	assert_string_equal(conf.elevate_accounts, "mpi");
	assert_true(conf.grant == GRANT_NEVER);
}

static void settings_file(void **state)
{
	char path[] = "/tmp/sckpt-unit-XXXXXX";
	static const char text[] = "# all of it\n\n  dir=/a/%u  # here\ngrant=nobody\n";
	char word[64];
	struct conf conf, before;
	struct err e;
	int fd = mkstemp(path);

	(void)state;
	conf_defaults(&conf);
	before = conf;
	assert_true(write(fd, text, strlen(text)) > 0);
	close(fd);
	assert_int_equal(conf_read(&conf, path, &e), -1);
	says(e, "line 4: grant=nobody");
	/* Nothing of a file with an error counts. */
	assert_memory_equal(&conf, &before, sizeof(conf));
	unlink(path);
	assert_int_equal(conf_read(&conf, path, &e), 0);
	/* One that is named must be there: it may say who is allowed. */
	snprintf(word, sizeof(word), "conf=%s", path);
	assert_int_equal(conf_load(&conf, 1, (char *[]){ word }, &e), -1);
	says(e, word);
}

static void steps_of_calls(void **state)
{
	static const char *const bad[] = { NULL, "", "srun-", "srun-x", "0",
					   "srun-3,", "srun-3,afresh,", "srun-3,token=12cdef", "srun-3,token=",
					   "srun-3,afresh,token=0012cdef", "srun-3,call=", "srun-3,call=x",
					   "srun-3,call=1.1.ab,token=0012cdef", "srun-3,call=1.1.ab/..",
					   "srun-3,call=0123456789012345678901234567890123456789012345678901234567890123", "srun-3/..",
					   "srun-1234567890", "batch" };
	struct call_step step = { .token = 0 };
	struct err e;

	(void)state;
	assert_int_equal(call_step_parse("srun-3", &step, &e), 0);
	assert_string_equal(step.name, "srun-3");
	assert_false(step.afresh);
	assert_int_equal(step.token, 0);
	assert_int_equal(call_step_parse("srun-3,token=0012cdef,afresh", &step, &e), 0);
	assert_int_equal(step.token, 0x12cdef);
	assert_true(step.afresh);
	assert_string_equal(step.call, "");
	assert_int_equal(call_step_parse("srun-3,token=0012cdef,call=0.1.00ff,afresh", &step, &e), 0);
	assert_string_equal(step.call, "0.1.00ff");
	assert_true(step.afresh);
	assert_int_equal(call_step_parse("srun-123456789,afresh", &step, &e), 0);
	assert_string_equal(step.name, "srun-123456789");
	assert_true(step.afresh);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(call_step_parse(bad[i], &step, &e), -1);
		says(e, "sckpt's own");
	}
	/* Unchanged by what is wrong. */
	assert_string_equal(step.name, "srun-123456789");
}

static void blocks_of_proc(void **state)
{
	char block[] = "srun\0\0two\nlines\0last";
	char **list;

	(void)state;
	/* As /proc/PID/cmdline: a NUL behind each, the last one's, too. */
	list = block_list(block, sizeof(block), 2);
	assert_non_null(list);
	assert_null(list[0]);
	assert_null(list[1]);
	assert_string_equal(list[2], "srun");
	assert_string_equal(list[3], "");
	assert_string_equal(list[4], "two\nlines");
	assert_string_equal(list[5], "last");
	assert_null(list[6]);
	free(list);
	list = block_list(block, 0, 0);
	assert_non_null(list);
	assert_null(list[0]);
	free(list);
}

static void spec_goes_there_and_back(void **state)
{
	struct spec in = { .cluster = "lab",
			   .node = "n1",
			   .step = "batch",
			   .job = 4000000000U,
			   .restart = -1,
			   .base = "/home/a b/.sckpt",
			   .fixed = "/home/a b",
			   .criu = "/usr/sbin/criu",
			   .criu_version = 40201,
			   .grant = GRANT_AGENT,
			   .no_new_privs = true,
			   .own_stderr = true,
			   .from_own = true,
			   .every = EVERY_AUTO,
			   .timelimit = true,
			   .note = "keep=9, but",
			   .limits = { .overhead = 5, .mtbf = 100000 },
			   .resume = true,
			   .control = 7,
			   .off = "why = not" };
	char *args[SPEC_ARGS_MAX + 1];
	struct spec out;
	struct err e;
	int n = spec_args(&in, args, &e);

	(void)state;
	assert_true(n > 10);
	assert_int_equal(spec_parse(n, args, &out, &e), n);
	assert_string_equal(out.base, in.base);
	assert_string_equal(out.off, in.off);
	assert_string_equal(out.note, in.note);
	assert_true(out.every == EVERY_AUTO && out.timelimit && !out.cancel &&
		    out.limits.mtbf == 100000);
	assert_true(out.job == in.job && out.restart == -1 && out.control == 7 &&
		    out.grant == GRANT_AGENT && out.no_new_privs && out.resume &&
		    out.own_stderr && out.from_own &&
		    !out.append);
	spec_args_free(args);
	assert_int_equal(spec_parse(1, (char *[]){ "job=x" }, &out, &e), -1);
	assert_int_equal(spec_parse(1, (char *[]){ "color=red" }, &out, &e), -1);
	assert_int_equal(spec_parse(1, (char *[]){ "job=1" }, &out, &e), -1);
	says(e, "started by Slurm");
}

static void private_directories(void **state)
{
	char path[] = "/tmp/sckpt-unit-XXXXXX";
	struct err e;
	int top, fd;

	(void)state;
	assert_non_null(mkdtemp(path));
	top = open(path, O_RDONLY | O_DIRECTORY);
	fd = dir_private(top, "mine", true, &e);
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(fchmodat(top, "mine", 0755, 0), 0);
	assert_int_equal(dir_private(top, "mine", true, &e), -1);
	says(e, "is open to others");
	assert_int_equal(symlinkat("mine", top, "link"), 0);
	assert_int_equal(dir_private(top, "link", true, &e), -1);
	assert_int_equal(dir_private(top, "none", false, &e), -1);
	assert_int_equal(errno, ENOENT);
	/* A link in a tree is removed, not followed. */
	assert_int_equal(mkdirat(top, "tree", 0700), 0);
	assert_int_equal(symlinkat("../mine", top, "tree/link"), 0);
	assert_int_equal(tree_remove(top, "tree", &e), 0);
	assert_int_equal(faccessat(top, "mine", F_OK, 0), 0);
	assert_int_equal(tree_remove(top, "tree", &e), 0);
	close(top);
	assert_int_equal(tree_remove(AT_FDCWD, path, &e), 0);
}

static void running_programs(void **state)
{
	char *const envp[] = { "A=b", NULL };
	char *out = NULL;
	struct err e;

	(void)state;
	assert_int_equal(run_collect((char *[]){ "/bin/sh", "-c", "echo $A; cat; echo no >&2", NULL },
				     envp, 5000, 100, &out, &e), 0);
	assert_string_equal(out, "b\n");
	free(out);
	assert_int_equal(run_collect((char *[]){ "/bin/sh", "-c", "exit 3", NULL },
				     envp, 5000, 100, &out, &e), -1);
	says(e, "failed");
	assert_int_equal(run_collect((char *[]){ "/bin/sleep", "10", NULL },
				     envp, 50, 100, &out, &e), -1);
	says(e, "no answer in time");
	assert_int_equal(run_collect((char *[]){ "/bin/sh", "-c", "yes", NULL },
				     envp, 5000, 1000, &out, &e), -1);
	says(e, "wrote more than 1000 bytes");
	assert_int_equal(run_collect((char *[]){ "/none", NULL }, envp, 50, 9,
				     &out, &e), -1);
	says(e, "No such file");
}

static void parts_of_files(void **state)
{
	char path[] = "/tmp/sckpt-unit-XXXXXX", other[] = "/tmp/sckpt-unit-XXXXXX";
	int from = mkstemp(path), to = mkstemp(other);
	char text[16] = "";
	struct err e;

	(void)state;
	unlink(path);
	unlink(other);
	assert_int_equal(file_write(from, "0123456789", 10, &e), 0);
	assert_int_equal(file_copy(from, 0, to, 10, &e), 0);
	assert_int_equal(lseek(to, 0, SEEK_END), 10);
	assert_int_equal(file_copy(from, 7, to, 3, &e), 0);
	assert_int_equal(pread(to, text, 15, 0), 13);
	assert_string_equal(text, "0123456789789");
	assert_int_equal(file_copy(from, 7, to, 4, &e), -1);
	says(e, "shorter");
	close(from);
	close(to);
}

static void holes_stay_holes(void **state)
{
	char path[] = "sckpt-unit-XXXXXX", other[] = "sckpt-unit-XXXXXX";
	int from = mkstemp(path), to = mkstemp(other);
	const off_t size = 64 << 20;
	struct stat a, b;
	char c = 0;
	struct err e;

	(void)state;
	unlink(path);
	unlink(other);
	assert_int_equal(ftruncate(from, size), 0);
	assert_int_equal(pwrite(from, "x", 1, size / 2), 1);
	assert_int_equal(file_copy(from, 0, to, size, &e), 0);
	assert_int_equal(fstat(from, &a), 0);
	assert_int_equal(fstat(to, &b), 0);
	assert_int_equal(b.st_size, size);
	assert_int_equal(pread(to, &c, 1, size / 2), 1);
	assert_int_equal(c, 'x');
	/* Where the file system has none, there are none to keep. */
	assert_true(b.st_blocks <= a.st_blocks + 2048);
	close(from);
	close(to);
}

/* Who is gone has left a packet unread, which the kernel reports before what it had sent. */
static void last_words(void **state)
{
	struct control msg = { .kind = CONTROL_SIGNAL };
	struct broker_message m = { .word = BROKER_DONE };
	int pair[2], fds[FDS_MAX], count = FDS_MAX;
	struct err e = { "" };

	(void)state;
	for (int i = 0; i < 3; i++) {
		assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
		assert_int_equal(control_send(pair[0], &msg, &e), 0);
		if (i < 2)
			assert_int_equal(control_send(pair[1], &msg, &e), 0);
		else
			assert_int_equal(broker_send(pair[1], &m, NULL, 0, &e), 0);
		close(pair[1]);
		for (int expected = 1; expected >= 0; expected--)
			assert_int_equal(i == 0 ? control_receive(pair[0], &msg, 0, &e) :
					 i == 1 ? fds_receive(pair[0], &msg, sizeof(msg), fds,
							      &count, 0, &e) :
						  broker_receive(pair[0], &m, fds, &count, NULL, &e),
					 expected);
		close(pair[0]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(errors_keep_the_first_cause),
		cmocka_unit_test(nearest_word),
		cmocka_unit_test(expands_directories),
		cmocka_unit_test(escapes_paths),
		cmocka_unit_test(fixed_part_of_a_directory),
		cmocka_unit_test(versions),
		cmocka_unit_test(words_of_the_option),
		cmocka_unit_test(words_with_values),
		cmocka_unit_test(words_of_the_environment),
		cmocka_unit_test(spans),
		cmocka_unit_test(directory_of_a_user),
		cmocka_unit_test(settings),
		cmocka_unit_test(settings_file),
		cmocka_unit_test(steps_of_calls),
		cmocka_unit_test(blocks_of_proc),
		cmocka_unit_test(spec_goes_there_and_back),
		cmocka_unit_test(private_directories),
		cmocka_unit_test(parts_of_files),
		cmocka_unit_test(holes_stay_holes),
		cmocka_unit_test(running_programs),
		cmocka_unit_test(last_words),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
