/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What happened to a step, a line of JSON for each event (doc/store-format.md).
 * The log lies in the step's directory as long as there is one; when that goes
 * since the program ended well, the log is kept beside the jobs' directories.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <json-c/json.h>

#include "dir.h"

/* A log that is larger is made smaller before the next line. */
#define LOG_MOST (64 << 10)
#define LOG_AGAIN (48 << 10)
/* What a reader takes; one line may come on top. */
#define LOG_READ (1 << 20)
/* Of ended steps so many logs are kept; of more, the oldest go. */
#define KEPT_MOST 1000
#define KEPT_AGAIN 900

static const char *const kinds[] = {
	[EVENT_BEGIN] = "begin", [EVENT_RESTORE] = "restore",
	[EVENT_CHECKPOINT] = "checkpoint", [EVENT_REFUSED] = "refused",
	[EVENT_REQUEUED] = "requeued", [EVENT_END] = "end",
};

#define KINDS (sizeof(kinds) / sizeof(kinds[0]))

/* ---- a line -------------------------------------------------------------------- */

/* Valid JSON is UTF-8, and what people named their job may be anything. */
static json_object *words(const char *text)
{
	char copy[sizeof(((struct event *)0)->text)];

	snprintf(copy, sizeof(copy), "%s", text);
	for (char *at = copy; *at; at++)
		if ((unsigned char)*at < ' ' || (unsigned char)*at > '~')
			*at = '?';
	return json_object_new_string(copy);
}

static void put(json_object *o, const char *name, int64_t n)
{
	json_object_object_add(o, name, json_object_new_int64(n));
}

static void put_text(json_object *o, const char *name, const char *text)
{
	if (*text)
		json_object_object_add(o, name, words(text));
}

json_object *event_json(const struct event *ev)
{
	json_object *o = json_object_new_object();

	json_object_object_add(o, "event",
			       json_object_new_string(kinds[ev->kind]));
	put(o, "time_us", ev->time_us);
	put(o, "run", ev->run);
	put_text(o, "node", ev->node);
	switch (ev->kind) {
	case EVENT_BEGIN:
		json_object_object_add(o, "fresh",
				       json_object_new_boolean(ev->fresh));
		put_text(o, "name", ev->name);
		put_text(o, "array", ev->array);
		put_text(o, "command", ev->text);
		break;
	case EVENT_CHECKPOINT:
		put(o, "generation", ev->generation.number);
		put(o, "at_us", ev->at_us);
		put_text(o, "reason", ev->text);
		json_object_object_add(o, "end", json_object_new_boolean(ev->end));
		put(o, "dump_us", ev->us);
		put(o, "frozen_us", ev->frozen_us);
		put(o, "resident_bytes", ev->resident);
		put(o, "stored_bytes", ev->stored);
		put(o, "count", ev->count);
		break;
	case EVENT_RESTORE:
		put(o, "generation", ev->generation.number);
		put(o, "generation_run", ev->generation.run);
		put(o, "at_us", ev->at_us);
		put(o, "restore_us", ev->us);
		if (ev->origin)
			put(o, "origin", ev->origin);
		break;
	case EVENT_REFUSED:
		put_text(o, "text", ev->text);
		break;
	case EVENT_END:
		put(o, "status", ev->status);
		break;
	case EVENT_REQUEUED:
		break;
	}
	return o;
}

char *event_text(const struct event *ev)
{
	json_object *o = event_json(ev);
	char *line = NULL;

	if (asprintf(&line, "%s\n",
		     json_object_to_json_string_ext(
			     o, JSON_C_TO_STRING_SPACED |
					JSON_C_TO_STRING_NOSLASHESCAPE)) < 0)
		line = NULL;
	json_object_put(o);
	return line;
}

/* What does not fit or is missing is 0: it is for people, and trusted for nothing. */
static int64_t number(const json_object *o, const char *name, int64_t most)
{
	json_object *v;
	int64_t n = json_object_object_get_ex(o, name, &v) ?
			    json_object_get_int64(v) :
			    0;

	return n < 0 || n > most ? 0 : n;
}

static void text(const json_object *o, const char *name, char *to, size_t size)
{
	json_object *v;

	if (json_object_object_get_ex(o, name, &v) &&
	    json_object_is_type(v, json_type_string))
		snprintf(to, size, "%s", json_object_get_string(v));
}

static bool truth(const json_object *o, const char *name)
{
	json_object *v;

	return json_object_object_get_ex(o, name, &v) && json_object_get_boolean(v);
}

int event_parse(const char *line, struct event *ev)
{
	/* 285000 years: sums of some do not overflow. */
	const int64_t most = INT64_MAX >> 10;
	json_object *o = json_tokener_parse(line), *v;
	char kind[16] = "";

	*ev = (struct event){ .time_us = 0 };
	if (!json_object_is_type(o, json_type_object)) {
		json_object_put(o);
		return -1;
	}
	text(o, "event", kind, sizeof(kind));
	for (size_t i = EVENT_BEGIN; i < KINDS; i++)
		if (!strcmp(kinds[i], kind))
			ev->kind = (enum event_kind)i;
	ev->time_us = number(o, "time_us", most);
	ev->at_us = number(o, "at_us", most);
	ev->us = number(o, ev->kind == EVENT_RESTORE ? "restore_us" : "dump_us",
			most);
	ev->frozen_us = json_object_object_get_ex(o, "frozen_us", &v) &&
					json_object_get_int64(v) < 0 ?
				-1 :
				number(o, "frozen_us", most);
	ev->run = (int)number(o, "run", INT_MAX - 1);
	ev->generation.number = (int)number(o, "generation", INT_MAX - 1);
	ev->generation.run = ev->kind == EVENT_RESTORE ?
				     (int)number(o, "generation_run", INT_MAX - 1) :
				     ev->run;
	ev->resident = number(o, "resident_bytes", most);
	ev->stored = number(o, "stored_bytes", most);
	ev->count = (int)number(o, "count", INT_MAX - 1);
	ev->origin = (uint32_t)number(o, "origin", UINT32_MAX);
	ev->status = (int)number(o, "status", INT_MAX);
	ev->fresh = truth(o, "fresh");
	ev->end = truth(o, "end");
	text(o, "node", ev->node, sizeof(ev->node));
	text(o, "name", ev->name, sizeof(ev->name));
	text(o, "array", ev->array, sizeof(ev->array));
	text(o, ev->kind == EVENT_BEGIN	     ? "command" :
		ev->kind == EVENT_CHECKPOINT ? "reason" :
					       "text",
	     ev->text, sizeof(ev->text));
	json_object_put(o);
	return ev->kind && ev->time_us ? 0 : -1;
}

/* ---- reading ---------------------------------------------------------------------- */

static int add(struct event **list, int *count, const struct event *ev,
	       struct err *e)
{
	/* Room grows by halves: a log has some thousand lines at most. */
	if (!(*count & (*count - 1))) {
		struct event *more = realloc(*list, (*count ? 2 * (size_t)*count : 1) *
							    sizeof(*more));

		if (!more)
			return err_set(e, "no memory for events");
		*list = more;
	}
	(*list)[(*count)++] = *ev;
	return 0;
}

/* A line that was cut off by a crash is left out. */
static int parse_all(char *data, struct event **list, struct err *e)
{
	char *line, *rest = data;
	int count = 0;

	*list = NULL;
	while ((line = strsep(&rest, "\n"))) {
		struct event ev;

		if (event_parse(line, &ev) == 0 &&
		    add(list, &count, &ev, e) < 0) {
			free(*list);
			*list = NULL;
			return -1;
		}
	}
	return count;
}

static int read_log(int dir, const char *name, struct event **list,
		    struct err *e)
{
	cleanup_free char *data = NULL;

	*list = NULL;
	if (file_read(dir, name, LOG_READ, &data, e) < 0)
		return errno == ENOENT ? 0 : -1;
	return parse_all(data, list, e);
}

/* ---- keeping it small -------------------------------------------------------------- */

/* Checkpoints of a run with nothing else between: the last stands for all. */
static int put_together(struct event *list, int count)
{
	int n = 0;

	for (int i = 0; i < count; i++) {
		struct event *last = n ? &list[n - 1] : NULL;

		if (!last || last->kind != EVENT_CHECKPOINT ||
		    list[i].kind != EVENT_CHECKPOINT || last->run != list[i].run) {
			list[n++] = list[i];
			continue;
		}
		list[i].count += last->count;
		list[i].us += last->us;
		list[i].stored += last->stored;
		if (list[i].frozen_us >= 0 && last->frozen_us >= 0)
			list[i].frozen_us += last->frozen_us;
		*last = list[i];
	}
	return n;
}

static void make_smaller(const struct store *store)
{
	cleanup_free struct event *list = NULL;
	cleanup_free char *all = NULL;
	int count = read_log(store->dir, EVENTS, &list, NULL);
	size_t size = 0;

	if (count <= 0)
		return;
	count = put_together(list, count);
	/* From the newest back, as much as is kept. */
	for (int i = count - 1; i >= 0; i--) {
		cleanup_free char *line = event_text(&list[i]);
		size_t n = line ? strlen(line) : 0;
		char *more = size + n > LOG_AGAIN ? NULL :
						    realloc(all, size + n + 1);

		if (!more)
			break;
		all = more;
		memmove(all + n, all, size);
		memcpy(all, line, n);
		size += n;
		all[size] = '\0';
	}
	if (all)
		dir_write(store, EVENTS, all, false, NULL);
}

/* ---- writing ------------------------------------------------------------------------ */

static int open_log(const struct store *store)
{
	return openat(store->dir, EVENTS,
		      O_RDWR | O_APPEND | O_CREAT | O_NOFOLLOW | O_NONBLOCK |
			      O_CLOEXEC,
		      0600);
}

void event_add(const struct store *store, const struct event *ev, bool durable)
{
	cleanup_fd int fd = open_log(store);
	cleanup_free char *line = event_text(ev);
	struct stat st;
	char last = '\n';

	if (fd < 0 || !line || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return;
	if (st.st_size > LOG_MOST && durable) {
		make_smaller(store);
		close(fd);
		if ((fd = open_log(store)) < 0 || fstat(fd, &st) < 0)
			return;
	}
	/* One that was cut off in the middle of a line. */
	if (st.st_size && pread(fd, &last, 1, st.st_size - 1) == 1 &&
	    last != '\n') {
		char *whole;

		if (asprintf(&whole, "\n%s", line) < 0)
			return;
		free(line);
		line = whole;
	}
	if (file_write(fd, line, strlen(line), NULL) == 0 && durable)
		fdatasync(fd);
}

/* ---- logs of steps that are over ------------------------------------------------------ */

static void log_name(const struct spec *spec, char *name, size_t size)
{
	snprintf(name, size, "%u.%s", spec->job, spec->step);
}

int events_load(const struct spec *spec, struct event **list, struct err *e)
{
	struct store logs, store = { .dir = -1 };
	char name[64];
	int rc = store_open(spec, false, &store, e), count = 0;

	*list = NULL;
	if (rc < 0)
		return -1;
	if (rc == 0) {
		count = read_log(store.dir, EVENTS, list, e);
		store_close(&store);
	}
	if (count || (rc = dir_beside(spec, LOGS, false, &logs, e)))
		return count ? count : rc < 0 ? -1 : 0;
	log_name(spec, name, sizeof(name));
	count = read_log(logs.dir, name, list, e);
	store_close(&logs);
	return count;
}

struct trimming {
	const struct store *logs;
	struct log {
		char name[64];
		int64_t time;
	} *list;
	size_t count;
};

static int take_log(const char *name, void *arg)
{
	struct trimming *t = arg;
	struct log *more;
	struct stat st;

	if (strlen(name) >= sizeof(more->name) ||
	    fstatat(t->logs->dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return 0;
	if (!(t->count & (t->count - 1))) {
		more = realloc(t->list, (t->count ? 2 * t->count : 1) * sizeof(*more));
		if (!more)
			return -1;
		t->list = more;
	}
	snprintf(t->list[t->count].name, sizeof(t->list->name), "%s", name);
	t->list[t->count++].time = st.st_mtime;
	return 0;
}

static int older(const void *a, const void *b)
{
	const struct log *x = a, *y = b;

	return x->time < y->time ? -1 : x->time > y->time;
}

static int count_one(const char *name, void *arg)
{
	(void)name;
	++*(size_t *)arg;
	return 0;
}

static void trim(const struct store *logs)
{
	struct trimming t = { .logs = logs };
	size_t count = 0;

	if (dir_each(logs, count_one, &count, NULL) < 0 || count <= KEPT_MOST)
		return;
	dir_each(logs, take_log, &t, NULL);
	if (t.count > KEPT_AGAIN) {
		qsort(t.list, t.count, sizeof(*t.list), older);
		for (size_t i = 0; i < t.count - KEPT_AGAIN; i++)
			unlinkat(logs->dir, t.list[i].name, 0);
	}
	free(t.list);
}

/* Of a step that was never checkpointed there is nothing to tell. */
static bool tells(const struct event *list, int count)
{
	for (int i = 0; i < count; i++)
		if (list[i].kind != EVENT_BEGIN && list[i].kind != EVENT_END)
			return true;
	return false;
}

void events_retire(const struct spec *spec)
{
	cleanup_free struct event *list = NULL;
	struct store store = { .dir = -1 }, logs = { .dir = -1 };
	char name[64];
	int count;

	if (store_open(spec, false, &store, NULL))
		return;
	count = read_log(store.dir, EVENTS, &list, NULL);
	log_name(spec, name, sizeof(name));
	if (tells(list, count) && dir_beside(spec, LOGS, true, &logs, NULL) == 0) {
		if (renameat(store.dir, EVENTS, logs.dir, name) == 0)
			trim(&logs);
		store_close(&logs);
	}
	store_close(&store);
}

void events_forget(const struct spec *spec)
{
	struct store logs;
	char name[64];

	if (dir_beside(spec, LOGS, false, &logs, NULL))
		return;
	log_name(spec, name, sizeof(name));
	unlinkat(logs.dir, name, 0);
	store_close(&logs);
}
