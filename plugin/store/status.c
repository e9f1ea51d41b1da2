/* SPDX-License-Identifier: GPL-2.0-or-later */
/* status.json and request: how people's commands and a step talk. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <json-c/json.h>

#include "dir.h"

#define STATUS "status.json"
#define REQUEST "request"
#define CHECK "check"

static const char *const kinds[] = {
	[STATUS_RUNNING] = "running", [STATUS_FREEZING] = "freezing",
	[STATUS_WRITING] = "writing", [STATUS_SAVED] = "saved",
	[STATUS_REFUSED] = "refused", [STATUS_STOPPED] = "stopped",
	[STATUS_ENDED] = "ended",     [STATUS_CHECKED] = "checked",
};

#define KINDS (sizeof(kinds) / sizeof(kinds[0]))

void status_write(const struct store *store, const struct status *s)
{
	json_object *o = json_object_new_object();
	const char *text;
	cleanup_fd int fd = -1;
	char part[48];

	json_object_object_add(o, "state",
			       json_object_new_string(kinds[s->kind]));
	json_object_object_add(o, "request", json_object_new_string(s->request));
	json_object_object_add(o, "generation",
			       json_object_new_int(s->generation.number));
	json_object_object_add(o, "run", json_object_new_int(s->generation.run));
	json_object_object_add(o, "done", json_object_new_int64((int64_t)s->done));
	json_object_object_add(o, "total",
			       json_object_new_int64((int64_t)s->total));
	json_object_object_add(o, "restore_us",
			       json_object_new_int64(s->restore_us));
	json_object_object_add(o, "ended", json_object_new_int(s->ended));
	json_object_object_add(o, "time", json_object_new_int64(time(NULL)));
	json_object_object_add(o, "text", json_object_new_string(s->text));
	text = json_object_to_json_string(o);
	/* Not durable: it tells of the moment. */
	snprintf(part, sizeof(part), "." STATUS ".%d" DIR_PART, getpid());
	fd = openat(store->dir, part,
		    O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd >= 0 && (file_write(fd, text, strlen(text), NULL) < 0 ||
			renameat(store->dir, part, store->dir, STATUS) < 0))
		unlinkat(store->dir, part, 0);
	json_object_put(o);
}

static int64_t number(const json_object *o, const char *name)
{
	json_object *v;

	return json_object_object_get_ex(o, name, &v) ? json_object_get_int64(v) :
							0;
}

static void text(const json_object *o, const char *name, char *to, size_t size)
{
	json_object *v;

	snprintf(to, size, "%s",
		 json_object_object_get_ex(o, name, &v) && v ?
			 json_object_get_string(v) :
			 "");
}

int status_read(const struct store *store, struct status *s, struct err *e)
{
	cleanup_free char *data = NULL;
	char kind[16];
	json_object *o;

	*s = (struct status){ .kind = STATUS_RUNNING };
	if (file_read(store->dir, STATUS, 65536, &data, e) < 0)
		return errno == ENOENT ? 0 : -1;
	if (!(o = json_tokener_parse(data)))
		return err_set(e, "%s/" STATUS " is damaged", store->path);
	text(o, "state", kind, sizeof(kind));
	for (size_t i = STATUS_RUNNING; i < KINDS; i++)
		if (!strcmp(kinds[i], kind))
			s->kind = (enum status_kind)i;
	text(o, "request", s->request, sizeof(s->request));
	text(o, "text", s->text, sizeof(s->text));
	s->generation.number = (int)number(o, "generation");
	s->generation.run = (int)number(o, "run");
	s->done = (uint64_t)number(o, "done");
	s->total = (uint64_t)number(o, "total");
	s->restore_us = number(o, "restore_us");
	s->ended = (int)number(o, "ended");
	s->time = number(o, "time");
	json_object_put(o);
	return 1;
}

void status_clear(const struct store *store)
{
	unlinkat(store->dir, STATUS, 0);
	unlinkat(store->dir, STORE_SLURM_ID, 0);
}

int slurm_id_write(const struct store *store, const char *id, struct err *e)
{
	return dir_write(store, STORE_SLURM_ID, id, false, e);
}

int slurm_id_read(const struct store *store, char id[32])
{
	cleanup_free char *data = NULL;

	if (file_read(store->dir, STORE_SLURM_ID, 31, &data, NULL) < 0)
		return -1;
	snprintf(id, 32, "%s", data);
	return 0;
}

int call_text_write(const struct store *store, const char *text, struct err *e)
{
	return dir_write(store, STORE_CALL, text, false, e);
}

void call_text_read(const struct store *store, char text[CALL_TEXT_MAX + 1])
{
	cleanup_free char *data = NULL;

	text[0] = '\0';
	if (file_read(store->dir, STORE_CALL, CALL_TEXT_MAX, &data, NULL) >= 0)
		snprintf(text, CALL_TEXT_MAX + 1, "%s", data);
}

int check_put(const struct store *store, const char *text, struct err *e)
{
	return dir_write(store, CHECK, text, false, e);
}

int check_get(const struct store *store, char **text, struct err *e)
{
	return file_read(store->dir, CHECK, CHECK_MAX, text, e) < 0 ? -1 : 0;
}

int request_put(const struct store *store, const char *id, struct err *e)
{
	return dir_write(store, REQUEST, id, false, e);
}

int request_take(const struct store *store, char id[40], struct err *e)
{
	cleanup_free char *data = NULL;

	if (file_read(store->dir, REQUEST, 4096, &data, NULL) < 0)
		return errno == ENOENT ?
			       0 :
			       err_sys(e, "cannot read the request in %s",
				       store->path);
	snprintf(id, 40, "%.*s", (int)strcspn(data, "\n"), data);
	/* Whoever removes it has it. */
	if (unlinkat(store->dir, REQUEST, 0) == 0)
		return 1;
	return errno == ENOENT ? 0 :
				 err_sys(e, "cannot take the request from %s",
					 store->path);
}
