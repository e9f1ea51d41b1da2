/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The step's description as "key=value" arguments, one table for both ways. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "sckpt/base.h"

enum type { TEXT, NUMBER, UNSIGNED, BYTES, FLAG, CHOICE };

#define FIELD(kind, name, member) \
	{ name, kind, offsetof(struct spec, member), \
	  sizeof(((struct spec *)0)->member) }

static const struct field {
	const char *name;
	enum type type;
	size_t offset, size;
} fields[] = {
	FIELD(TEXT, "cluster", cluster),
	FIELD(TEXT, "node", node),
	FIELD(TEXT, "step", step),
	FIELD(TEXT, "id", id),
	FIELD(UNSIGNED, "job", job),
	FIELD(NUMBER, "restart", restart),
	FIELD(TEXT, "base", base),
	FIELD(TEXT, "fixed", fixed),
	FIELD(TEXT, "criu", criu),
	FIELD(NUMBER, "criu-version", criu_version),
	FIELD(CHOICE, "grant", grant),
	FIELD(FLAG, "no-new-privs", no_new_privs),
	FIELD(FLAG, "append", append),
	FIELD(FLAG, "own-stderr", own_stderr),
	FIELD(TEXT, "from", from),
	FIELD(FLAG, "from-own", from_own),
	FIELD(TEXT, "from-base", from_base),
	FIELD(TEXT, "from-fixed", from_fixed),
	FIELD(NUMBER, "every", every),
	FIELD(FLAG, "timelimit", timelimit),
	FIELD(FLAG, "cancel", cancel),
	FIELD(FLAG, "notify", notify),
	FIELD(FLAG, "skip-done", skip_done),
	FIELD(FLAG, "check", check),
	FIELD(NUMBER, "kill-wait", kill_wait),
	FIELD(TEXT, "carry", carry),
	FIELD(TEXT, "note", note),
	FIELD(NUMBER, "keep", limits.keep),
	FIELD(NUMBER, "keep-after", limits.keep_after),
	FIELD(BYTES, "quota", limits.quota),
	FIELD(BYTES, "buffer", limits.buffer),
	FIELD(NUMBER, "compress", limits.compress),
	FIELD(NUMBER, "overhead", limits.overhead),
	FIELD(NUMBER, "mtbf", limits.mtbf),
	FIELD(NUMBER, "requeue-wait", limits.requeue_wait),
	FIELD(CHOICE, "on-restore-failure", limits.on_failure),
	FIELD(CHOICE, "files", limits.files),
	FIELD(BYTES, "files-max", limits.files_max),
	FIELD(TEXT, "local", limits.local),
	FIELD(FLAG, "resume", resume),
	FIELD(FLAG, "done", done),
	FIELD(NUMBER, "tasks", tasks),
	FIELD(NUMBER, "nodes", nodes),
	FIELD(NUMBER, "part", part),
	FIELD(UNSIGNED, "launch", launch),
	FIELD(UNSIGNED, "token", token),
	FIELD(TEXT, "call", call),
	FIELD(NUMBER, "place", place),
	FIELD(FLAG, "script-out", script_out),
	FIELD(FLAG, "script-err", script_err),
	FIELD(FLAG, "labels", labels),
	FIELD(NUMBER, "control", control),
	FIELD(NUMBER, "links", links),
	FIELD(NUMBER, "joins", joins),
	FIELD(NUMBER, "elevate", elevate),
	FIELD(NUMBER, "broker", broker),
	FIELD(NUMBER, "counters", counters),
	FIELD(TEXT, "off", off),
};

#define FIELDS (sizeof(fields) / sizeof(fields[0]))
/* Enumerations travel as numbers. */
_Static_assert(sizeof(enum grant) == sizeof(int) &&
		       sizeof(enum on_failure) == sizeof(int) &&
		       sizeof(enum files) == sizeof(int),
	       "CHOICE reads and writes an int");
_Static_assert(FIELDS <= SPEC_ARGS_MAX, "SPEC_ARGS_MAX is too small");

int spec_args(const struct spec *spec, char *argv[SPEC_ARGS_MAX + 1],
	      struct err *e)
{
	int n = 0;

	argv[0] = NULL;
	for (size_t i = 0; i < FIELDS; i++) {
		const struct field *f = &fields[i];
		const void *at = (const char *)spec + f->offset;
		int rc = -1;

		switch (f->type) {
		case TEXT:
			rc = asprintf(&argv[n], "%s=%s", f->name,
				      (const char *)at);
			break;
		case NUMBER:
			rc = asprintf(&argv[n], "%s=%d", f->name,
				      *(const int *)at);
			break;
		case UNSIGNED:
			rc = asprintf(&argv[n], "%s=%u", f->name,
				      *(const uint32_t *)at);
			break;
		case FLAG:
			rc = asprintf(&argv[n], "%s=%d", f->name,
				      *(const bool *)at);
			break;
		case BYTES:
			rc = asprintf(&argv[n], "%s=%ju", f->name,
				      (uintmax_t)*(const uint64_t *)at);
			break;
		case CHOICE:
			rc = asprintf(&argv[n], "%s=%d", f->name,
				      *(const int *)at);
			break;
		}
		if (rc < 0) {
			argv[n] = NULL;
			spec_args_free(argv);
			return err_sys(e, "cannot describe the step");
		}
		argv[++n] = NULL;
	}
	return n;
}

void spec_args_free(char *argv[])
{
	for (; *argv; argv++) {
		free(*argv);
		*argv = NULL;
	}
}

static int number(const char *text, long long least, long long most,
		  long long *value)
{
	char *end;

	errno = 0;
	*value = strtoll(text, &end, 10);
	return errno || end == text || *end || *value < least ||
			       *value > most ?
		       -1 :
		       0;
}

static int take(const struct field *f, const char *value, struct spec *spec)
{
	void *at = (char *)spec + f->offset;
	long long v = 0;

	switch (f->type) {
	case TEXT:
		if (strlen(value) >= f->size)
			return -1;
		strcpy(at, value);
		return 0;
	case NUMBER:
		if (number(value, INT_MIN, INT_MAX, &v) < 0)
			return -1;
		*(int *)at = (int)v;
		return 0;
	case UNSIGNED:
		if (number(value, 0, UINT32_MAX, &v) < 0)
			return -1;
		*(uint32_t *)at = (uint32_t)v;
		return 0;
	case FLAG:
		if (number(value, 0, 1, &v) < 0)
			return -1;
		*(bool *)at = v;
		return 0;
	case BYTES:
		if (number(value, 0, INT64_MAX, &v) < 0)
			return -1;
		*(uint64_t *)at = (uint64_t)v;
		return 0;
	case CHOICE:
		if (number(value, 0, 2, &v) < 0)
			return -1;
		*(int *)at = (int)v;
		return 0;
	}
	return -1;
}

int spec_parse(int argc, char *const argv[], struct spec *spec, struct err *e)
{
	int n;

	*spec = (struct spec){ .restart = -1, .tasks = 1, .nodes = 1,
			       .control = -1, .links = -1, .joins = -1,
			       .counters = -1 };
	for (n = 0; n < argc && strcmp(argv[n], "--"); n++) {
		const char *eq = strchr(argv[n], '=');
		size_t i = 0;

		while (eq && i < FIELDS &&
		       (strlen(fields[i].name) != (size_t)(eq - argv[n]) ||
			strncmp(fields[i].name, argv[n],
				(size_t)(eq - argv[n]))))
			i++;
		if (!eq || i == FIELDS || take(&fields[i], eq + 1, spec) < 0)
			return err_set(e, "bad argument '%.64s'", argv[n]);
	}
	/* One that is only looked at has nobody to talk to (SUPERVISE_LOOK). */
	if ((spec->control < 0 && !*spec->off) || !spec->job || !*spec->step || !*spec->cluster)
		return err_set(e, "this program is started by Slurm through spank-sckpt, not by hand");
	return n;
}
