/* SPDX-License-Identifier: GPL-2.0-or-later */
/* <base>/<cluster>/ended/<job>.done-<record>.*: steps of a script that are done. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dir.h"
#include "json.h"

#define FORMAT 1
#define NAME 64

static void record_name(const struct spec *spec, int record, char name[NAME])
{
	snprintf(name, NAME, "%u.done-%d.json", spec->job, record);
}

static void stream_name(const struct spec *spec, int record, int stream,
			char name[NAME])
{
	snprintf(name, NAME, "%u.done-%d.%d", spec->job, record, stream);
}

/* The record that a file of the job's belongs to; 0 none. */
static int record_of(const struct spec *spec, const char *name,
		     const char **rest)
{
	char front[NAME], *end;
	size_t n = (size_t)snprintf(front, sizeof(front), "%u.done-", spec->job);
	long record;

	if (strncmp(name, front, n))
		return 0;
	errno = 0;
	record = strtol(name + n, &end, 10);
	*rest = end;
	return errno || end == name + n || *end != '.' || record < 1 ||
			       record >= INT_MAX ?
		       0 :
		       (int)record;
}

/* ---- writing -------------------------------------------------------------- */

int done_write(const struct spec *spec, const struct done *done, struct err *e)
{
	json_object *o = json_object_new_object();
	char name[NAME];

	json_object_object_add(o, "format", json_object_new_int(FORMAT));
	json_object_object_add(o, "call", json_object_new_int(done->call));
	json_object_object_add(o, "command",
			       json_hex(done->command, sizeof(done->command)));
	json_object_object_add(o, "length",
			       json_numbers(done->length, TASK_STREAMS));
	record_name(spec, done->record, name);
	return json_keep(spec, ENDED, name, o, e);
}

int done_stream(const struct spec *spec, int record, int stream, bool make,
		struct err *e)
{
	struct store at;
	char name[NAME];
	int fd, rc = dir_beside(spec, ENDED, make, &at, e);

	if (rc)
		return rc < 0 ? -1 : err_set(e, "%s is not there", at.path);
	stream_name(spec, record, stream, name);
	/* One that is there already is of a step that was not done, and may
	 * still be written to by whom a run before has left. */
	if (make)
		unlinkat(at.dir, name, 0);
	fd = openat(at.dir, name,
		    O_NOFOLLOW | O_CLOEXEC |
			    (make ? O_WRONLY | O_CREAT | O_EXCL : O_RDONLY),
		    0600);
	if (fd < 0)
		err_sys(e, "cannot open %s/%s", at.path, name);
	store_close(&at);
	return fd;
}

/* ---- reading --------------------------------------------------------------- */

static bool parse(const char *text, struct done *done)
{
	json_object *o = json_tokener_parse(text), *command;
	int64_t format, call;
	bool good = json_number(o, "format", FORMAT, FORMAT, &format) &&
		    json_number(o, "call", 1, INT_MAX, &call) &&
		    json_object_object_get_ex(o, "command", &command) &&
		    json_object_is_type(command, json_type_string) &&
		    json_unhex(json_object_get_string(command), done->command,
			       sizeof(done->command)) == 0 &&
		    json_take_numbers(o, "length", done->length,
				      TASK_STREAMS);

	for (size_t i = 0; good && i < TASK_STREAMS; i++)
		good = done->length[i] >= 0;
	if (good)
		done->call = (int)call;
	json_object_put(o);
	return good;
}

struct listing {
	const struct spec *spec;
	const struct store *at;
	struct done *list;
	int count;
	struct err *e;
};

static int list_one(const char *name, void *arg)
{
	struct listing *l = arg;
	cleanup_free char *text = NULL;
	struct done done = { 0 }, *more;
	const char *rest;

	done.record = record_of(l->spec, name, &rest);
	if (!done.record || strcmp(rest, ".json"))
		return 0;
	/* What cannot be read is of no step: that one runs once more. */
	if (file_read(l->at->dir, name, 4096, &text, NULL) < 0 ||
	    !parse(text, &done))
		return 0;
	more = realloc(l->list, ((size_t)l->count + 1) * sizeof(*more));
	if (!more)
		return err_set(l->e, "no memory for the steps that are done");
	l->list = more;
	more[l->count++] = done;
	return 0;
}

static int by_record(const void *a, const void *b)
{
	const struct done *one = a, *other = b;

	return one->record < other->record ? -1 : one->record > other->record;
}

int done_list(const struct spec *spec, struct done **list, struct err *e)
{
	struct store at;
	struct listing l = { .spec = spec, .at = &at, .e = e };
	int rc = dir_beside(spec, ENDED, false, &at, e);

	*list = NULL;
	if (rc)
		return rc < 0 ? -1 : 0;
	rc = dir_each(&at, list_one, &l, e);
	store_close(&at);
	if (rc < 0) {
		free(l.list);
		return -1;
	}
	if (l.count)
		qsort(l.list, (size_t)l.count, sizeof(*l.list), by_record);
	*list = l.list;
	return l.count;
}

/* ---- removing --------------------------------------------------------------- */

struct dropping {
	const struct spec *spec;
	const struct store *at;
	bool records;
};

static int drop_one(const char *name, void *arg)
{
	const struct dropping *d = arg;
	const char *rest;

	if (record_of(d->spec, name, &rest) &&
	    !strcmp(rest, ".json") == d->records)
		unlinkat(d->at->dir, name, 0);
	return 0;
}

int done_drop(const struct spec *spec, struct err *e)
{
	struct store at;
	struct dropping d = { .spec = spec, .at = &at, .records = true };
	int rc = dir_beside(spec, ENDED, false, &at, e);

	if (rc)
		return rc < 0 ? -1 : 0;
	/* The records first: without them the rest means nothing. */
	rc = dir_each(&at, drop_one, &d, e);
	d.records = false;
	if (rc == 0)
		rc = dir_each(&at, drop_one, &d, e);
	store_close(&at);
	return rc;
}
