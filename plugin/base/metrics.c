/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is counted of checkpoints, how far it is believed, and how it is printed. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "sckpt/metrics.h"

/* Both in the order of the enumerations. */
static const char *const reasons[COUNTED_REASONS] = {
	"preemption", "requeue", "timelimit", "cancel",
	"clock", "request", "check", "other"
};
static const char *const refusals[REFUSALS] = { "node", "older", "afresh", "lost" };

enum counted_reason counted_reason(const char *reason)
{
	/* policy/cause.c, step/supervise.c; by how they begin. */
	static const struct {
		const char *begins;
		enum counted_reason is;
	} known[] = { { "preemption", COUNTED_PREEMPTION },
		      { "requeue", COUNTED_REQUEUE },
		      { "time limit", COUNTED_TIMELIMIT },
		      { "scancel", COUNTED_CANCEL },
		      { "every", COUNTED_CLOCK },
		      { "sckpt check", COUNTED_CHECK },
		      { "--checkpoint=check", COUNTED_CHECK },
		      { "sckpt ", COUNTED_REQUEST } };

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (!strncmp(reason, known[i].begins, strlen(known[i].begins)))
			return known[i].is;
	return COUNTED_OTHER;
}

/* ---- what is believed --------------------------------------------------------------- */

/* A checkpoint or a restore takes criu some hundredths of a second, and no node's criu
 * moves more bytes: far above what was ever seen, so that nothing true is lost. */
#define EVENTS_PER_S 64
#define BYTES_PER_S (UINT64_C(64) << 30)
/* For steps that were hardly there. */
#define SLACK_S 2

static bool count_within(const uint64_t *list, int n, uint64_t most, uint64_t *sum)
{
	for (int i = 0; i < n; i++) {
		if (list[i] > most - *sum)
			return false;
		*sum += list[i];
	}
	return true;
}

int counters_check(const struct counters *c, uint64_t lived_us, struct err *e)
{
	uint64_t lived = lived_us / 1000000 + SLACK_S, events = 0;
	uint64_t us = lived * 1000000, bytes;

	if (__builtin_mul_overflow(lived, BYTES_PER_S, &bytes))
		bytes = UINT64_MAX;
	if (!count_within(c->checkpoints, COUNTED_REASONS, lived * EVENTS_PER_S, &events) ||
	    !count_within(c->failures, COUNTED_REASONS, lived * EVENTS_PER_S, &events) ||
	    !count_within(c->refusals, REFUSALS, lived * EVENTS_PER_S, &events) ||
	    !count_within(&c->restores, 1, lived * EVENTS_PER_S, &events))
		return err_set(e, "it counted more checkpoints and restores than %" PRIu64 " s have room for", lived);
	if (c->us > us || c->stopped_us > us || c->restore_us > us)
		return err_set(e, "it counted more seconds than the %" PRIu64 " that it lived", lived);
	if (c->taken > bytes || c->stored > bytes)
		return err_set(e, "it counted more bytes than %" PRIu64 " s have room for", lived);
	return 0;
}

static void add(uint64_t *to, uint64_t n)
{
	if (__builtin_add_overflow(*to, n, to))
		*to = UINT64_MAX;
}

void counters_add(struct counters *sum, const struct counters *c)
{
	for (int i = 0; i < COUNTED_REASONS; i++) {
		add(&sum->checkpoints[i], c->checkpoints[i]);
		add(&sum->failures[i], c->failures[i]);
	}
	for (int i = 0; i < REFUSALS; i++)
		add(&sum->refusals[i], c->refusals[i]);
	add(&sum->taken, c->taken);
	add(&sum->stored, c->stored);
	add(&sum->us, c->us);
	add(&sum->stopped_us, c->stopped_us);
	add(&sum->restores, c->restores);
	add(&sum->restore_us, c->restore_us);
}

/* ---- Prometheus' text format ----------------------------------------------------------- */

struct page {
	char *text;
	int size; /* -1: it is full */
};

static void put(struct page *p, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void put(struct page *p, const char *fmt, ...)
{
	va_list ap;
	int n;

	if (p->size < 0)
		return;
	va_start(ap, fmt);
	n = vsnprintf(p->text + p->size, METRICS_TEXT_MAX - (size_t)p->size, fmt, ap);
	va_end(ap);
	p->size = n < 0 || n >= METRICS_TEXT_MAX - p->size ? -1 : p->size + n;
}

static void head(struct page *p, const char *name, const char *help)
{
	put(p, "# HELP sckpt_%s %s\n# TYPE sckpt_%s counter\n", name, help, name);
}

static void one(struct page *p, const char *name, const char *help, uint64_t n)
{
	head(p, name, help);
	put(p, "sckpt_%s %" PRIu64 "\n", name, n);
}

static void seconds(struct page *p, const char *name, const char *help, uint64_t us)
{
	head(p, name, help);
	put(p, "sckpt_%s %" PRIu64 ".%06" PRIu64 "\n", name, us / 1000000, us % 1000000);
}

static void each(struct page *p, const char *name, const char *help,
		 const char *const labels[], const uint64_t *list, int n)
{
	head(p, name, help);
	for (int i = 0; i < n; i++)
		put(p, "sckpt_%s{reason=\"%s\"} %" PRIu64 "\n", name, labels[i], list[i]);
}

int metrics_print(const struct node_counters *n, char text[METRICS_TEXT_MAX])
{
	const struct counters *c = &n->sum;
	struct page p = { text, 0 };

	each(&p, "checkpoints_total", "Checkpoints that were made.", reasons,
	     c->checkpoints, COUNTED_REASONS);
	each(&p, "checkpoint_failures_total", "Checkpoints that were refused or failed.",
	     reasons, c->failures, COUNTED_REASONS);
	one(&p, "checkpoint_taken_bytes_total", "Memory that criu handed over.", c->taken);
	one(&p, "checkpoint_stored_bytes_total", "What of it the store got.", c->stored);
	seconds(&p, "checkpoint_seconds_total", "From criu's start until all was durable.",
		c->us);
	seconds(&p, "stopped_seconds_total", "In which programs stood still for it.",
		c->stopped_us);
	one(&p, "restores_total", "Steps that went on from a checkpoint.", c->restores);
	each(&p, "restore_failures_total", "Checkpoints that could not be restored here.",
	     refusals, c->refusals, REFUSALS);
	seconds(&p, "restore_seconds_total", "From looking at the checkpoints until the program ran.",
		c->restore_us);
	one(&p, "steps_total", "Steps that were to be protected and have ended.", n->steps);
	one(&p, "steps_disbelieved_total", "Steps whose figures were out of range and left out.",
	    n->bad);
	return p.size;
}
