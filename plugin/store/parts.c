/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A step on several nodes: where its parts are, and how its nodes talk. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <json-c/json.h>

#include "dir.h"
#include "json.h"

#define PART "node."
#define NODES "nodes"
#define ORDER "order"
#define ANSWER "answer"
#define FILE_MAX 8192

/* ---- parts ------------------------------------------------------------------ */

int store_nodes(const struct store *store)
{
	cleanup_free char *text = NULL;
	int nodes;

	errno = 0;
	if (file_read(store->dir, NODES, 32, &text, NULL) < 0)
		return errno == ENOENT ? 1 : -1;
	nodes = atoi(text);
	errno = EBADMSG;
	return nodes < 1 || nodes > NODES_MAX ? -1 : nodes;
}

int store_note_nodes(const struct store *store, int nodes, struct err *e)
{
	char text[16];

	snprintf(text, sizeof(text), "%d\n", nodes);
	if (nodes > 1)
		return dir_write(store, NODES, text, false, e);
	return unlinkat(store->dir, NODES, 0) < 0 && errno != ENOENT ?
		       err_sys(e, "cannot remove %s/" NODES, store->path) :
		       0;
}

static void part_name(int part, char name[24])
{
	snprintf(name, 24, PART "%d", part);
}

int part_open(const struct store *store, int part, bool make, struct store *at,
	      struct err *e)
{
	char name[24];

	if (!part) {
		*at = *store;
		at->dir = fcntl(store->dir, F_DUPFD_CLOEXEC, 0);
		return at->dir < 0 ? err_sys(e, "cannot open %s", store->path) : 0;
	}
	part_name(part, name);
	snprintf(at->path, sizeof(at->path), "%.1300s/%s", store->path, name);
	at->dir = dir_private(store->dir, name, make, e);
	return at->dir < 0 ? -1 : 0;
}

/* 1, 0, or -1. */
static int is_there(const struct store *store, int part, const char *file,
		    struct err *e)
{
	char name[80], dir[24] = "";

	if (part)
		part_name(part, dir);
	snprintf(name, sizeof(name), "%s%s%s", dir, part ? "/" : "", file);
	if (faccessat(store->dir, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
		return 1;
	return errno == ENOENT ? 0 : err_sys(e, "%s/%s", store->path, name);
}

bool part_claimed(const struct store *store, int part, int run)
{
	char name[32];

	snprintf(name, sizeof(name), "claim.%d", run);
	return is_there(store, part, name, NULL) != 0;
}

int set_has(const struct store *store, int part, struct generation g, struct err *e)
{
	char name[48];

	snprintf(name, sizeof(name), "%d-%d.json", g.number, g.run);
	return is_there(store, part, name, e);
}

/* "n1,n2,n3,+" */
static void add_node(char *to, size_t size, const char *node, int left)
{
	size_t n = strlen(to);

	if (n + strlen(node) + 32 < size)
		snprintf(to + n, size - n, ",%s", node);
	else if (left >= 0 && to[n - 1] != '+')
		snprintf(to + n, size - n, ",+");
}

int set_sum(const struct store *store, struct generation g, struct manifest *m,
	    struct err *e)
{
	for (int i = 1; i < m->nodes; i++) {
		struct manifest part;
		struct store at;
		int rc;

		if (part_open(store, i, false, &at, e) < 0)
			return -1;
		rc = generation_peek(&at, g, &part, e);
		store_close(&at);
		if (rc < 0)
			return err_context(e, "node %d of the step", i);
		m->resident += part.resident;
		m->set.bytes += part.set.bytes;
		m->set.stored += part.set.stored;
		if (part.frozen_us > m->frozen_us)
			m->frozen_us = part.frozen_us;
		if (part.dump_us > m->dump_us)
			m->dump_us = part.dump_us;
		add_node(m->node, sizeof(m->node), part.node, m->nodes - 1 - i);
		manifest_free(&part);
	}
	return 0;
}

/* ---- what the nodes say to each other -------------------------------------------- */

static void put(json_object *o, const char *name, int64_t n)
{
	json_object_object_add(o, name, json_object_new_int64(n));
}

static void put_text(json_object *o, const char *name, const char *text)
{
	json_object_object_add(o, name, json_object_new_string(text));
}

static bool take(const json_object *o, const char *name, int *to)
{
	int64_t n;

	if (!json_number(o, name, INT_MIN, INT_MAX, &n))
		return false;
	*to = (int)n;
	return true;
}

static void take_text(const json_object *o, const char *name, char *to,
		      size_t size)
{
	json_object *v;

	snprintf(to, size, "%s",
		 json_object_object_get_ex(o, name, &v) && v ?
			 json_object_get_string(v) :
			 "");
}

static int write_object(const struct store *store, const char *name,
			json_object *o, struct err *e)
{
	int rc = dir_write(store, name, json_object_to_json_string(o), false, e);

	json_object_put(o);
	return rc;
}

int set_order_write(const struct store *store, const struct set_order *o,
		    struct err *e)
{
	json_object *j = json_object_new_object();

	put(j, "launch", o->launch);
	put(j, "run", o->run);
	put(j, "number", o->number);
	put(j, "word", o->word);
	put(j, "generation", o->generation.number);
	put(j, "generation_run", o->generation.run);
	put(j, "resume", o->resume);
	put(j, "end", o->end);
	put_text(j, "reason", o->reason);
	put_text(j, "request", o->request);
	put_text(j, "text", o->text);
	return write_object(store, ORDER, j, e);
}

int set_answer_write(const struct store *part, const struct set_answer *a,
		     struct err *e)
{
	json_object *j = json_object_new_object();

	put(j, "run", a->run);
	put(j, "number", a->number);
	put(j, "state", a->state);
	put(j, "elsewhere", a->elsewhere);
	put(j, "over", a->over);
	put(j, "status", a->status);
	put(j, "resident", a->resident);
	put(j, "stored", a->stored);
	put_text(j, "node", a->node);
	put_text(j, "text", a->text);
	return write_object(part, ANSWER, j, e);
}

static int64_t mtime_ns(const struct stat *st)
{
	return st->st_mtim.tv_sec * INT64_C(1000000000) + st->st_mtim.tv_nsec;
}

/* An NFS client may remember how a directory was; one that changes it reads it anew.
 * Returns the time there. */
static int64_t look_anew(const struct store *store)
{
	struct stat st = { .st_size = 0 };
	char probe[64];
	uint64_t id = 0;
	int fd;

	if (getrandom(&id, sizeof(id), 0) < 0)
		return 0;
	snprintf(probe, sizeof(probe), ".look.%016jx", (uintmax_t)id);
	fd = openat(store->dir, probe, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC,
		    0600);
	if (fd >= 0) {
		fstat(fd, &st);
		close(fd);
	}
	unlinkat(store->dir, probe, 0);
	return mtime_ns(&st);
}

/* The object in a file; NULL, and *rc is 0 when there is none. */
static json_object *read_object(const struct store *store, const char *name,
				int *rc, struct err *e)
{
	cleanup_free char *text = NULL;
	json_object *o;

	if (file_read(store->dir, name, FILE_MAX, &text, e) < 0) {
		*rc = errno == ENOENT ? 0 : -1;
		return NULL;
	}
	*rc = 1;
	if (!(o = json_tokener_parse(text)))
		*rc = err_set(e, "%s/%s is damaged", store->path, name);
	return o;
}

int set_order_read(const struct spec *spec, struct set_order *o, struct err *e)
{
	struct spec first = *spec;
	int rc, word, resume, end;
	struct store store;
	int64_t launch, now;
	struct stat st;
	json_object *j;

	*o = (struct set_order){ .run = 0 };
	first.part = 0;
	rc = store_open(&first, false, &store, e);
	if (rc)
		return rc < 0 ? -1 : 0;
	now = look_anew(&store);
	j = read_object(&store, ORDER, &rc, e);
	if (j && fstatat(store.dir, ORDER, &st, AT_SYMLINK_NOFOLLOW) == 0)
		o->age = now - mtime_ns(&st);
	store_close(&store);
	if (!j)
		return rc;
	if (!json_number(j, "launch", 0, UINT32_MAX, &launch) ||
	    !take(j, "run", &o->run) || !take(j, "number", &o->number) ||
	    !take(j, "word", &word) || word < SET_START || word > SET_OVER ||
	    !take(j, "generation", &o->generation.number) ||
	    !take(j, "generation_run", &o->generation.run) ||
	    !take(j, "resume", &resume) || !take(j, "end", &end))
		rc = err_set(e, "%s/" ORDER " makes no sense", store.path);
	else {
		rc = launch == spec->launch;
		o->launch = (uint32_t)launch;
		o->word = (enum set_word)word;
		o->resume = resume;
		o->end = end;
	}
	take_text(j, "reason", o->reason, sizeof(o->reason));
	take_text(j, "request", o->request, sizeof(o->request));
	take_text(j, "text", o->text, sizeof(o->text));
	json_object_put(j);
	return rc;
}

int set_answer_read(const struct store *store, int part, struct set_answer *a,
		    struct err *e)
{
	int rc = -1, state, elsewhere, over;
	struct store at;
	json_object *j;

	*a = (struct set_answer){ .run = -1 };
	if (part_open(store, part, false, &at, e) < 0)
		return errno == ENOENT ? 0 : -1;
	look_anew(&at);
	j = read_object(&at, ANSWER, &rc, e);
	store_close(&at);
	if (!j)
		return rc;
	if (!take(j, "run", &a->run) || !take(j, "number", &a->number) ||
	    !take(j, "state", &state) || !take(j, "elsewhere", &elsewhere) ||
	    !take(j, "over", &over) || !take(j, "status", &a->status) ||
	    !json_number(j, "resident", 0, INT64_MAX, &a->resident) ||
	    !json_number(j, "stored", 0, INT64_MAX, &a->stored) ||
	    state < 0 || state > SET_REFUSED) {
		rc = err_set(e, "%s/" ANSWER " makes no sense", at.path);
	} else {
		a->state = state;
		a->elsewhere = elsewhere;
		a->over = over;
	}
	take_text(j, "node", a->node, sizeof(a->node));
	take_text(j, "text", a->text, sizeof(a->text));
	json_object_put(j);
	return rc;
}
