/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The words of --checkpoint=WORDS, and the variables that stand for them. */
#include <stdio.h>
#include <string.h>

#include "sckpt/base.h"

/* Longer intervals than this are a slip of the hand. */
#define EVERY_MAX (30L * 24 * 3600)

static int take_grant(const char *value, struct request *req, struct err *e)
{
	if (!strcmp(value, "step"))
		req->grant = GRANT_STEP;
	else if (!strcmp(value, "agent"))
		req->grant = GRANT_AGENT;
	else
		return err_set(e, "--checkpoint=grant=%.64s: it is either step or agent",
			       value);
	return 0;
}

/* What follows restart=: JOB.STEP:GENERATION, as sckpt restart writes it. */
static int take_restart(const char *id, struct request *req, struct err *e)
{
	size_t job = strspn(id, "0123456789"), step, generation;
	const char *at = id + job;

	step = *at == '.' ? strcspn(at + 1, ":") : 0;
	generation = step && at[1 + step] == ':' ?
			     strspn(at + step + 2, "0123456789") :
			     0;
	if (!job || !generation || at[step + 2 + generation] ||
	    strchr(id, '/') || strlen(id) >= sizeof(req->from))
		return err_set(e, "--checkpoint=restart=%.64s: it is JOB.STEP:GENERATION, such as restart=1234.batch:2; sckpt restart writes it",
			       id);
	strcpy(req->from, id);
	return 0;
}

static int take_every(const char *value, struct request *req, struct err *e)
{
	long seconds;

	if (!strcmp(value, "auto")) {
		req->every = EVERY_AUTO;
		return 0;
	}
	/* A number alone is minutes: so --checkpoint=<interval> of old. */
	if (*value && !value[strspn(value, "0123456789")])
		seconds = strlen(value) > 9 ? -1 : atol(value) * 60;
	else if (span_parse(value, &seconds) < 0)
		return err_set(e, "--checkpoint=every=%.64s: it is auto, or a time such as 30m, 2h or 90s; a number alone is minutes",
			       value);
	if (seconds < 1 || seconds > EVERY_MAX)
		return err_set(e, "--checkpoint=every=%.64s: it is at least 1s and at most 30d",
			       value);
	req->every = (int)seconds;
	return 0;
}

static int take_keep(const char *value, struct request *req, struct err *e)
{
	char *end;
	long n = strtol(value, &end, 10);

	if (end == value || *end || n < 1 || n > KEEP_MAX)
		return err_set(e, "--checkpoint=keep=%.64s: it is a number from 1 to %d",
			       value, KEEP_MAX);
	req->keep = (int)n;
	return 0;
}

static int take_steps(const char *value, struct request *req, struct err *e)
{
	if (strcmp(value, "skip-done"))
		return err_set(e, "--checkpoint=steps=%.64s: it is skip-done, or is left out",
			       value);
	req->skip_done = true;
	return 0;
}

/* A template as dir= of sckpt.conf; what is wrong with it is told where it is
 * typed. */
static int take_path(const char *word, const char *path, char *to, size_t size,
		     struct err *e)
{
	const struct text_vars probe = {
		.user = "u", .home = "/h", .cluster = "c"
	};
	char expanded[sizeof(((struct request *)0)->dir)];

	if (strlen(path) >= size)
		return err_set(e, "--checkpoint=%s: longer than %zu bytes", word,
			       size - 1);
	if (text_expand(path, &probe, expanded, sizeof(expanded), e) < 0)
		return err_context(e, "--checkpoint=%s", word);
	if (expanded[0] != '/' || !expanded[1])
		return err_set(e, "--checkpoint=%s=%.64s: it is an absolute path",
			       word, path);
	strcpy(to, path);
	return 0;
}

static int take_dir(const char *value, struct request *req, struct err *e)
{
	return take_path("dir", value, req->dir, sizeof(req->dir), e);
}

static int take_restart_dir(const char *value, struct request *req,
			    struct err *e)
{
	return take_path("restart-dir", value, req->from_dir,
			 sizeof(req->from_dir), e);
}

/* Directories with : between, each absolute or below $TMPDIR, which the shell of the
 * submission need not know. */
static int take_carry(const char *value, struct request *req, struct err *e)
{
	const struct text_vars probe = {
		.user = "u", .home = "/h", .cluster = "c"
	};
	char expanded[sizeof(req->carry)];

	if (strlen(value) >= sizeof(req->carry))
		return err_set(e, "--checkpoint=carry: longer than %zu bytes",
			       sizeof(req->carry) - 1);
	if (text_expand(value, &probe, expanded, sizeof(expanded), e) < 0)
		return err_context(e, "--checkpoint=carry");
	for (const char *at = expanded; at; at = strchr(at, ':')) {
		at += *at == ':';
		if ((*at != '/' || !at[1] || at[1] == ':') &&
		    strncmp(at, "$TMPDIR", 7))
			return err_set(e, "--checkpoint=carry=%.64s: it is an absolute path, or several with : between, such as carry=/tmp/job-%%j; $TMPDIR is the job's",
				       value);
	}
	strcpy(req->carry, value);
	return 0;
}

/*
 * A member that is zero has not been said. A word without a function sets a
 * bool; one without a member is what is done anyway.
 */
#define MEMBER(name) \
	offsetof(struct request, name), sizeof(((struct request *)0)->name)

static const struct word {
	const char *name, *variable;
	int (*take)(const char *value, struct request *req, struct err *e);
	size_t offset, size;
} words[] = {
	{ "every=", "SCKPT_EVERY", take_every, MEMBER(every) },
	{ "preempt", NULL, NULL, 0, 0 },
	{ "timelimit", "SCKPT_TIMELIMIT", NULL, MEMBER(timelimit) },
	{ "cancel", "SCKPT_CANCEL", NULL, MEMBER(cancel) },
	{ "keep=", "SCKPT_KEEP", take_keep, MEMBER(keep) },
	{ "dir=", "SCKPT_DIR", take_dir, MEMBER(dir) },
	{ "carry=", "SCKPT_CARRY", take_carry, MEMBER(carry) },
	{ "required", "SCKPT_REQUIRED", NULL, MEMBER(required) },
	{ "restart=", "SCKPT_RESTART", take_restart, MEMBER(from) },
	{ "restart-dir=", "SCKPT_RESTART_DIR", take_restart_dir,
	  MEMBER(from_dir) },
	{ "notify", "SCKPT_NOTIFY", NULL, MEMBER(notify) },
	{ "check", "SCKPT_CHECK", NULL, MEMBER(check) },
	{ "steps=", "SCKPT_STEPS", take_steps, MEMBER(skip_done) },
	{ "grant=", "SCKPT_GRANT", take_grant, MEMBER(grant) },
};

#define WORDS (sizeof(words) / sizeof(words[0]))

static bool takes_value(const struct word *w)
{
	return w->name[strlen(w->name) - 1] == '=';
}

static void set_flag(const struct word *w, struct request *req)
{
	if (w->size)
		*(bool *)((char *)req + w->offset) = true;
}

static int unknown(const char *word, struct err *e)
{
	const char *known[WORDS + 2];
	char all[256];
	size_t n = 0;

	for (size_t i = 0; i < WORDS; i++) {
		known[i] = words[i].name;
		n += (size_t)snprintf(all + n, sizeof(all) - n, "%s, ",
				      words[i].name);
	}
	known[WORDS] = "off";
	known[WORDS + 1] = NULL;
	return err_set(e, "--checkpoint does not know the word '%.64s'; the nearest one is '%s' (all: %soff, or a number of minutes)",
		       word, text_nearest(word, known), all);
}

static int take(const char *word, struct request *req, struct err *e)
{
	if (!strcmp(word, "off")) {
		req->on = false;
		return 0;
	}
	if (*word && !word[strspn(word, "0123456789")])
		return take_every(word, req, e);
	for (size_t i = 0; i < WORDS; i++) {
		const struct word *w = &words[i];

		if (takes_value(w) && !strncmp(word, w->name, strlen(w->name)))
			return w->take(word + strlen(w->name), req, e);
		if (!takes_value(w) && !strcmp(word, w->name)) {
			set_flag(w, req);
			return 0;
		}
	}
	return unknown(word, e);
}

int request_parse(const char *given, struct request *req, struct err *e)
{
	struct request new = { .on = true };
	cleanup_free char *copy = NULL;
	char *word, *rest;

	if (given && *given && strcmp(given, "(null)")) {
		if (!(copy = rest = strdup(given)))
			return err_sys(e, "--checkpoint");
		while ((word = strsep(&rest, ",")))
			if (take(word, &new, e) < 0)
				return -1;
		if (!new.on && strcmp(given, "off"))
			return err_set(e, "--checkpoint=off takes no other word beside it, and got '%.64s'",
				       given);
	}
	*req = new;
	return 0;
}

/* ---- the environment ------------------------------------------------------- */

static bool said(const struct word *w, const struct request *req)
{
	const char *at = (const char *)req + w->offset;

	for (size_t i = 0; i < w->size; i++)
		if (at[i])
			return true;
	return false;
}

static int take_variable(const struct word *w, const char *value,
			 struct request *req, struct err *e)
{
	if (takes_value(w))
		return w->take(value, req, e) < 0 ?
			       err_context(e, "%s", w->variable) :
			       0;
	if (!strcmp(value, "1") || !strcmp(value, "yes"))
		set_flag(w, req);
	else if (strcmp(value, "0") && strcmp(value, "no"))
		return err_set(e, "%s=%.64s: it is yes or no", w->variable,
			       value);
	return 0;
}

int request_environment(struct request *req, bool given,
			bool (*lookup)(const char *name, char *value,
				       size_t size, void *arg),
			void *arg, struct err *e)
{
	struct request new = *req;
	char value[sizeof(new.dir) + 64];

	if (!given && lookup("SCKPT_CHECKPOINT", value, sizeof(value), arg) &&
	    request_parse(value, &new, e) < 0)
		return err_context(e, "SCKPT_CHECKPOINT");
	for (size_t i = 0; new.on && i < WORDS; i++) {
		const struct word *w = &words[i];

		if (w->variable && !said(w, &new) &&
		    lookup(w->variable, value, sizeof(value), arg) && *value &&
		    take_variable(w, value, &new, e) < 0)
			return -1;
	}
	*req = new;
	return 0;
}
