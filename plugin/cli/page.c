/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The report as one page of HTML: no network, no script. What comes out of the
 * store is text there and nothing else, whatever is in it.
 */
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

#include "report.h"

/* ---- text ------------------------------------------------------------------------- */

static void put(FILE *to, const char *text)
{
	for (; *text; text++)
		switch (*text) {
		case '&':
			fputs("&amp;", to);
			break;
		case '<':
			fputs("&lt;", to);
			break;
		case '>':
			fputs("&gt;", to);
			break;
		case '"':
			fputs("&quot;", to);
			break;
		case '\'':
			fputs("&#39;", to);
			break;
		default:
			fputc(*text >= ' ' && *text <= '~' ? *text : '?', to);
		}
}

static void put_span(FILE *to, int64_t us)
{
	char span[16];

	span_print(us, span);
	put(to, span);
}

enum precision { DAY, MINUTE, SECOND, ALL };

/* Local time. */
static void put_time(FILE *to, int64_t us, enum precision precision)
{
	time_t at = (time_t)(us / 1000000);
	char text[64] = "";
	struct tm tm;

	if (!localtime_r(&at, &tm))
		return;
	switch (precision) {
	case DAY:
		strftime(text, sizeof(text), "%b %e", &tm);
		break;
	case MINUTE:
		strftime(text, sizeof(text), "%H:%M", &tm);
		break;
	case SECOND:
		strftime(text, sizeof(text), "%H:%M:%S", &tm);
		break;
	case ALL:
		strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S", &tm);
		break;
	}
	put(to, text);
}

/* ---- the drawing -------------------------------------------------------------------- */

/* In units of the drawing: its width, where time begins and ends, a lane. */
#define WIDTH 1000
#define LEFT 116
#define RIGHT 988
#define LANE 34
#define BAR 16
#define TOP 10
#define LANES 12

struct drawing {
	FILE *to;
	const struct report *r;
	int64_t from, until;
	const char *lanes[LANES]; /* the nodes, in the order in which they came */
	int lane_count;
};

static double x(const struct drawing *d, int64_t at)
{
	at = at < d->from ? d->from : at > d->until ? d->until : at;
	return LEFT + (double)(at - d->from) * (RIGHT - LEFT) /
			      (double)(d->until - d->from);
}

/* Of more nodes than there are lanes, the last is for the rest. */
static int lane(struct drawing *d, const char *node)
{
	for (int i = 0; i < d->lane_count; i++)
		if (!strcmp(d->lanes[i], node))
			return i;
	if (d->lane_count == LANES)
		return LANES - 1;
	d->lanes[d->lane_count] = d->lane_count == LANES - 1 ? "others" : node;
	return d->lane_count++;
}

static double y(const struct drawing *d, int n)
{
	(void)d;
	return TOP + n * LANE + LANE / 2.0;
}

static void bar(struct drawing *d, const char *class, int n, int64_t from,
		int64_t until, const char *what, int run)
{
	double width = x(d, until) - x(d, from);

	if (until <= from)
		return;
	fprintf(d->to, "<rect class=\"%s\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%d\" rx=\"2\"><title>",
		class, x(d, from), y(d, n) - BAR / 2.0,
		width < 1.5 ? 1.5 : width, BAR);
	fprintf(d->to, "run %d: %s for ", run, what);
	put_span(d->to, until - from);
	fputs(", until ", d->to);
	put_time(d->to, until, ALL);
	fputs("</title></rect>\n", d->to);
}

static void draw_run(struct drawing *d, const struct run *run,
		     const struct run *before)
{
	int n = lane(d, run->node);

	if (before)
		fprintf(d->to, "<path class=\"wait\" d=\"M%.1f %.1fL%.1f %.1f\"/>\n",
			x(d, before->end), y(d, lane(d, before->node)),
			x(d, run->begin), y(d, n));
	bar(d, "restore", n, run->begin, run->from ? run->from : run->end,
	    run->from ? "was restored" : "could not go on", run->number);
	if (!run->from)
		return;
	bar(d, "work", n, run->from, run->kept, "worked", run->number);
	bar(d, "lost", n, run->kept, run->end,
	    run->end_known ? "worked in vain" : "worked in vain, or was dead already",
	    run->number);
}

/* Marks that would cover each other are left out: the newest of them stays. */
static bool hidden(const struct drawing *d, int i)
{
	const struct event *ev = &d->r->events[i];

	for (int n = i + 1; n < d->r->count; n++) {
		const struct event *next = &d->r->events[n];

		if (next->kind == EVENT_CHECKPOINT)
			return next->run == ev->run &&
			       x(d, next->at_us) - x(d, ev->at_us) < 5;
		if (next->kind != EVENT_REQUEUED)
			return false;
	}
	return false;
}

static void draw_checkpoint(struct drawing *d, const struct event *ev)
{
	double at = x(d, ev->at_us), mid = y(d, lane(d, ev->node));

	fprintf(d->to, "<path class=\"%s\" d=\"M%.1f %.1fl5 -6h-10z\"/>"
		       "<path class=\"tick\" d=\"M%.1f %.1fv%d\"/>\n",
		ev->end ? "mark end" : "mark", at, mid - BAR / 2.0 + 2, at,
		mid - BAR / 2.0, BAR);
	/* A larger place to point at. */
	fprintf(d->to, "<rect class=\"point\" x=\"%.1f\" y=\"%.1f\" width=\"10\" height=\"%d\"><title>checkpoint %d (",
		at - 5, mid - BAR / 2.0 - 6, BAR + 6, ev->generation.number);
	put(d->to, ev->text);
	fputs("), ", d->to);
	put_time(d->to, ev->at_us, ALL);
	fputs("</title></rect>\n", d->to);
}

static void draw_refusal(struct drawing *d, const struct event *ev)
{
	fprintf(d->to, "<path class=\"refused\" d=\"M%.1f %.1fl8 8m0 -8l-8 8\"><title>",
		x(d, ev->time_us) - 4, y(d, lane(d, ev->node)) - 4);
	put_time(d->to, ev->time_us, ALL);
	fputs(": no checkpoint: ", d->to);
	put(d->to, ev->text);
	fputs("</title></path>\n", d->to);
}

static int64_t tick_length(int64_t span)
{
	static const int64_t seconds[] = {
		1,    2,    5,	   10,	  15,	 30,	 60,	 120,
		300,  600,  900,   1800,  3600,	 7200,	 10800,	 21600,
		43200, 86400, 172800, 604800, 1209600, 2592000
	};
	size_t i = 0;

	while (i + 1 < sizeof(seconds) / sizeof(seconds[0]) &&
	       span / (seconds[i] * 1000000) > 7)
		i++;
	/* Beyond some months as few ticks as do. */
	return seconds[i] * 1000000 *
	       (1 + span / (seconds[i] * 1000000) / 8);
}

/* On whole minutes, hours, days of local time. */
static void draw_axis(struct drawing *d)
{
	int64_t length = tick_length(d->until - d->from), first;
	time_t from = (time_t)(d->from / 1000000);
	double bottom = TOP + d->lane_count * LANE;
	struct tm tm = { .tm_gmtoff = 0 };

	localtime_r(&from, &tm);
	first = d->from + tm.tm_gmtoff * INT64_C(1000000);
	first = first - first % length - tm.tm_gmtoff * INT64_C(1000000);
	for (int64_t at = first; at <= d->until; at += length) {
		if (at < d->from || x(d, at) > RIGHT - 12)
			continue;
		fprintf(d->to, "<path class=\"grid\" d=\"M%.1f %dV%.1f\"/>"
			       "<text class=\"time\" x=\"%.1f\" y=\"%.1f\">",
			x(d, at), TOP, bottom + 4, x(d, at), bottom + 17);
		put_time(d->to, at, length >= 43200 * INT64_C(1000000) ? DAY :
				    length >= 60 * INT64_C(1000000)    ? MINUTE :
									 SECOND);
		fputs("</text>\n", d->to);
	}
}

static void draw(FILE *to, const struct report *r)
{
	struct drawing d = { .to = to, .r = r };
	const struct work *w = &r->work;

	if (!w->count)
		return;
	d.from = w->runs[0].begin;
	d.until = w->runs[w->count - 1].end;
	for (int i = 0; i < w->count; i++) {
		lane(&d, w->runs[i].node);
		if (w->runs[i].end > d.until)
			d.until = w->runs[i].end;
	}
	if (d.until <= d.from)
		d.until = d.from + 1000000;
	fprintf(to, "<svg viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"timeline of step %u.",
		WIDTH, TOP + d.lane_count * LANE + 24, r->step.job);
	put(to, r->step.step);
	fputs("\">\n", to);
	draw_axis(&d);
	for (int i = 0; i < d.lane_count; i++) {
		char name[16];

		snprintf(name, sizeof(name), "%.12s%s", d.lanes[i],
			 strlen(d.lanes[i]) > 12 ? ".." : "");
		fprintf(to, "<path class=\"lane\" d=\"M%d %.1fH%d\"/>"
			    "<text class=\"node\" x=\"%d\" y=\"%.1f\">",
			LEFT, y(&d, i), RIGHT, LEFT - 10, y(&d, i) + 4);
		put(to, name);
		fputs("</text>\n", to);
	}
	for (int i = 0; i < w->count; i++)
		draw_run(&d, &w->runs[i], i ? &w->runs[i - 1] : NULL);
	for (int i = 0; i < r->count; i++)
		if (r->events[i].time_us < d.from)
			continue;
		else if (r->events[i].kind == EVENT_CHECKPOINT && !hidden(&d, i))
			draw_checkpoint(&d, &r->events[i]);
		else if (r->events[i].kind == EVENT_REFUSED)
			draw_refusal(&d, &r->events[i]);
	fputs("</svg>\n", to);
}

/* ---- the words beside it ---------------------------------------------------------------- */

static void figure(FILE *to, const char *name, int64_t us, bool at_most,
		   const char *class)
{
	fprintf(to, "<div%s%s%s><dt>%s</dt><dd>", *class ? " class=\"" : "",
		class, *class ? "\"" : "", name);
	if (us)
		fputs(at_most ? "&le;&nbsp;" : "", to);
	if (us)
		put_span(to, us);
	else
		fputs("&ndash;", to);
	fputs("</dd></div>\n", to);
}

static void number(FILE *to, const char *name, int n)
{
	fprintf(to, "<div><dt>%s</dt><dd>%d</dd></div>\n", name, n);
}

static void tell_event(FILE *to, const struct event *ev)
{
	char size[16];

	switch (ev->kind) {
	case EVENT_BEGIN:
		fprintf(to, "run %d begins%s on ", ev->run,
			ev->fresh ? " afresh" : "");
		put(to, ev->node);
		break;
	case EVENT_RESTORE:
		fprintf(to, "restored from checkpoint %d in ",
			ev->generation.number);
		put_span(to, ev->us);
		break;
	case EVENT_CHECKPOINT:
		fprintf(to, "checkpoint %d (", ev->generation.number);
		put(to, ev->text);
		fputs(") taken in ", to);
		put_span(to, ev->us);
		fputs(", stopped ", to);
		put_span(to, ev->frozen_us);
		size_print((uint64_t)ev->stored, size);
		fprintf(to, ", %s stored", size);
		if (ev->count > 1)
			fprintf(to, "; these are sums of %d", ev->count);
		break;
	case EVENT_REFUSED:
		fputs("no checkpoint: ", to);
		put(to, ev->text);
		break;
	case EVENT_REQUEUED:
		fputs("back in the queue by now", to);
		break;
	case EVENT_END:
		if (WIFSIGNALED(ev->status))
			fprintf(to, "ended by signal %d", WTERMSIG(ev->status));
		else
			fprintf(to, "ended, exit %d", WEXITSTATUS(ev->status));
		break;
	}
}

#define EVENTS_TOLD 200

static void tell_events(FILE *to, const struct report *r)
{
	int first = r->count > EVENTS_TOLD ? r->count - EVENTS_TOLD : 0;

	fprintf(to, "<details><summary>%s%d events</summary><table>\n",
		first ? "last " : "", r->count - first);
	for (int i = first; i < r->count; i++) {
		fputs("<tr><td>", to);
		put_time(to, r->events[i].time_us, ALL);
		fputs("</td><td>", to);
		tell_event(to, &r->events[i]);
		fputs("</td></tr>\n", to);
	}
	fputs("</table></details>\n", to);
}

static void step(FILE *to, const struct report *r)
{
	const struct event *begin = report_begin(r);
	const struct work *w = &r->work;
	bool bad = w->ended && w->status;

	fprintf(to, "<section>\n<h2>%u.", r->step.job);
	put(to, r->step.step);
	fputs(" <span class=\"name\">", to);
	put(to, begin ? begin->name : "");
	fprintf(to, "</span> <span class=\"state %s\">",
		bad ? "bad" : w->ended ? "good" : "other");
	put(to, r->state);
	fputs("</span></h2>\n<p class=\"sub\">", to);
	put(to, r->step.cluster);
	if (begin && *begin->array) {
		fputs(", array task ", to);
		put(to, begin->array);
	}
	if (w->count) {
		fputs(" &middot; ", to);
		put_time(to, w->runs[0].begin, ALL);
	}
	fputs(" &middot; <code>", to);
	put(to, begin ? begin->text : "");
	fputs("</code></p>\n", to);
	draw(to, r);
	fputs("<dl>\n", to);
	figure(to, "work", w->work, false, "");
	figure(to, "saved", w->saved, false, "good");
	figure(to, "lost", w->lost, w->lost_at_most, w->lost ? "bad" : "");
	figure(to, "stopped", w->stopped, false, "");
	figure(to, "in the queue", w->waited, false, "");
	number(to, "runs", w->count);
	number(to, "checkpoints", w->checkpoints);
	fputs("</dl>\n", to);
	tell_events(to, r);
	fputs("</section>\n", to);
}

/* ---- the page ------------------------------------------------------------------------------ */

static const char head[] =
"<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
"<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
"<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
"<title>sckpt report</title>\n<style>\n"
":root { color-scheme: light dark;\n"
"  --page: #f4f5f7; --card: #fff; --text: #1c2430; --soft: #667085; --rule: #e3e6eb;\n"
"  --work: #3b82c4; --lost: #d9534f; --restore: #e6a23c; --mark: #1c2430; --good: #1f8a5b; --bad: #c0392b; }\n"
"@media (prefers-color-scheme: dark) { :root {\n"
"  --page: #14181f; --card: #1d232d; --text: #e6e9ee; --soft: #98a2b3; --rule: #313946;\n"
"  --work: #4f9ad8; --lost: #e5716d; --restore: #edb45c; --mark: #f2f4f7; --good: #4cc38a; --bad: #ef7a70; } }\n"
"* { box-sizing: border-box; }\n"
"body { margin: 0; background: var(--page); color: var(--text);\n"
"  font: 15px/1.45 system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif; }\n"
"main { max-width: 1080px; margin: 0 auto; padding: 28px 20px 48px; }\n"
"h1 { font-size: 24px; margin: 0 0 2px; }\n"
"h2 { font-size: 17px; margin: 0; overflow-wrap: anywhere; }\n"
"section, .sum { background: var(--card); border: 1px solid var(--rule); border-radius: 10px; }\n"
"section { padding: 16px 20px 12px; margin: 18px 0; }\n"
".sub, .soft { color: var(--soft); font-size: 13px; margin: 2px 0 6px; overflow-wrap: anywhere; }\n"
".name { font-weight: 400; }\n"
".state { font-size: 12px; font-weight: 600; padding: 1px 8px; border-radius: 9px; border: 1px solid; white-space: nowrap; }\n"
".good dd, .state.good { color: var(--good); } .bad dd, .state.bad { color: var(--bad); }\n"
".state.other { color: var(--soft); }\n"
"code { font-size: 12px; }\n"
"dl { display: flex; flex-wrap: wrap; gap: 4px 30px; margin: 8px 0 6px; }\n"
"dt { color: var(--soft); font-size: 12px; } dd { margin: 0; font-weight: 600; font-variant-numeric: tabular-nums; }\n"
".sum { margin: 14px 0 0; } .sum dl { padding: 14px 20px; margin: 0; gap: 8px 40px; } .sum dd { font-size: 20px; }\n"
"svg { display: block; width: 100%; height: auto; }\n"
"svg text { font-size: 12px; fill: var(--soft); } .node { text-anchor: end; } .time { text-anchor: middle; }\n"
".lane, .grid { stroke: var(--rule); stroke-width: 1; }\n"
".wait { stroke: var(--soft); stroke-width: 1.5; stroke-dasharray: 3 4; fill: none; }\n"
".work { fill: var(--work); } .restore { fill: var(--restore); }\n"
".lost { fill: url(#hatch); stroke: var(--lost); stroke-width: 1; }\n"
".mark { fill: var(--mark); } .mark.end { fill: var(--good); } .tick { stroke: var(--card); stroke-width: 1.5; }\n"
".refused { stroke: var(--bad); stroke-width: 2.5; fill: none; } .point { fill: transparent; }\n"
".hatch { stroke: var(--lost); stroke-width: 3; }\n"
".legend { display: flex; flex-wrap: wrap; gap: 6px 22px; font-size: 13px; color: var(--soft); margin: 16px 2px 0; }\n"
".legend svg { display: inline-block; width: 24px; height: 16px; vertical-align: -3px; margin-right: 4px; }\n"
"details { border-top: 1px solid var(--rule); padding-top: 6px; font-size: 13px; }\n"
"summary { cursor: pointer; color: var(--soft); }\n"
"td { padding: 1px 14px 1px 0; vertical-align: top; overflow-wrap: anywhere; } td:first-child { white-space: nowrap; color: var(--soft); }\n"
"@media (max-width: 640px) { main { padding: 16px 10px; } section { padding: 12px; } svg text { font-size: 18px; } }\n"
"@media print { body { background: none; } section { break-inside: avoid; } }\n"
"</style>\n</head>\n<body>\n"
"<svg width=\"0\" height=\"0\" style=\"position:absolute;width:0;height:0\" aria-hidden=\"true\"><defs>"
"<pattern id=\"hatch\" width=\"6\" height=\"6\" patternUnits=\"userSpaceOnUse\" patternTransform=\"rotate(45)\">"
"<path class=\"hatch\" d=\"M0 0V6\"/></pattern></defs></svg>\n<main>\n<h1>sckpt report</h1>\n";

static const char legend[] =
"<div class=\"legend\">"
"<span><svg viewBox=\"0 0 24 16\"><rect class=\"work\" y=\"2\" width=\"24\" height=\"12\" rx=\"2\"/></svg>work that counts</span>"
"<span><svg viewBox=\"0 0 24 16\"><rect class=\"lost\" x=\"1\" y=\"2\" width=\"22\" height=\"12\" rx=\"2\"/></svg>work that was lost</span>"
"<span><svg viewBox=\"0 0 24 16\"><rect class=\"restore\" y=\"2\" width=\"24\" height=\"12\" rx=\"2\"/></svg>restoring</span>"
"<span><svg viewBox=\"0 0 24 16\"><path class=\"wait\" d=\"M0 8H24\"/></svg>in the queue</span>"
"<span><svg viewBox=\"0 0 24 16\"><path class=\"mark\" d=\"M12 13l7 -9h-14z\"/></svg>checkpoint</span>"
"<span><svg viewBox=\"0 0 24 16\"><path class=\"mark end\" d=\"M12 13l7 -9h-14z\"/></svg>checkpoint at a stop</span>"
"<span><svg viewBox=\"0 0 24 16\"><path class=\"refused\" d=\"M8 4l8 8m0 -8l-8 8\"/></svg>no checkpoint</span>"
"</div>\n";

static void sums(FILE *to, const struct report *list, size_t count)
{
	int64_t work = 0, saved = 0, lost = 0, stopped = 0, waited = 0;
	int checkpoints = 0;
	bool at_most = false;

	for (size_t i = 0; i < count; i++) {
		const struct work *w = &list[i].work;

		work += w->work;
		saved += w->saved;
		lost += w->lost;
		at_most |= w->lost_at_most;
		stopped += w->stopped;
		waited += w->waited;
		checkpoints += w->checkpoints;
	}
	fputs("<div class=\"sum\"><dl>\n", to);
	number(to, count == 1 ? "step" : "steps", (int)count);
	figure(to, "work", work, false, "");
	figure(to, "saved by checkpoints", saved, false, "good");
	figure(to, "lost", lost, at_most, lost ? "bad" : "");
	figure(to, "stopped for them", stopped, false, "");
	figure(to, "in the queue", waited, false, "");
	number(to, "checkpoints", checkpoints);
	fputs("</dl></div>\n", to);
}

void page_write(FILE *to, const struct report *list, size_t count)
{
	fputs(head, to);
	fputs("<p class=\"soft\">Protected steps as of ", to);
	put_time(to, clock_ns(CLOCK_REALTIME) / 1000, ALL);
	fputs("</p>\n", to);
	sums(to, list, count);
	fputs(legend, to);
	/* The newest first: that is what is looked for. */
	for (size_t i = count; i-- > 0;)
		step(to, &list[i]);
	if (!count)
		fputs("<section><p class=\"soft\">No protected step has a log here.</p></section>\n", to);
	fputs("</main>\n</body>\n</html>\n", to);
}
