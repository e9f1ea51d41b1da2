/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Who may go on from a step's generations. Every run of the job that starts
 * the step makes claim.<run>, which only one can: link(2) fails for the second,
 * on NFS too. It notes the newest generation of that moment, `base`. What an
 * earlier run publishes afterwards has a greater number and an older run, and
 * does not count: that is the fence against a node that was thought dead.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <json-c/json.h>

#include "claim.h"
#include "dir.h"

#define PREFIX "claim."

static bool claim_run(const char *name, int *run)
{
	char *end;
	long n;

	if (strncmp(name, PREFIX, strlen(PREFIX)))
		return false;
	errno = 0;
	n = strtol(name + strlen(PREFIX), &end, 10);
	if (errno || end == name + strlen(PREFIX) || *end || n < 0 || n >= INT_MAX)
		return false;
	*run = (int)n;
	return true;
}

/* ---- what ran ------------------------------------------------------------------- */

#define RAN "ran."

int store_mark_ran(const struct store *store, int run, struct err *e)
{
	char name[32];

	snprintf(name, sizeof(name), RAN "%d", run);
	if (dir_write(store, name, "", false, e) < 0)
		return -1;
	return fsync(store->dir) < 0 ? err_sys(e, "cannot write %s/%s", store->path, name) : 0;
}

int store_ran_between(const struct store *store, int after, int before,
		      struct err *e)
{
	for (int run = after + 1; run < before; run++) {
		char name[32];

		snprintf(name, sizeof(name), RAN "%d", run);
		if (faccessat(store->dir, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
			return 1;
		if (errno != ENOENT)
			return err_sys(e, "%s/%s", store->path, name);
	}
	return 0;
}

/* ---- claims ---------------------------------------------------------------------- */

static int add_claim(const char *name, void *arg)
{
	struct claims *c = arg;
	struct claim *more;
	int run;

	if (!claim_run(name, &run))
		return 0;
	if (!(more = realloc(c->list, (c->count + 1) * sizeof(*more))))
		return err_set(c->e, "no memory for claims");
	c->list = more;
	more[c->count++] = (struct claim){ .run = run, .base = INT_MAX };
	return 0;
}

/* A claim that cannot be read fences nothing, but it is one. */
static void read_claim(const struct store *store, struct claim *c)
{
	cleanup_free char *text = NULL;
	json_object *o, *v;
	char name[32];

	snprintf(name, sizeof(name), PREFIX "%d", c->run);
	if (file_read(store->dir, name, 4096, &text, NULL) < 0)
		return;
	o = json_tokener_parse(text);
	/* Whatever it is, it is no reason to leave a generation out. */
	if (json_object_object_get_ex(o, "base", &v) &&
	    json_object_is_type(v, json_type_int))
		c->base = json_object_get_int(v);
	if (json_object_object_get_ex(o, "node", &v) && v)
		snprintf(c->node, sizeof(c->node), "%s",
			 json_object_get_string(v));
	json_object_put(o);
}

int claims_read(const struct store *store, struct claims *c, struct err *e)
{
	*c = (struct claims){ .e = e };
	if (dir_each(store, add_claim, c, e) < 0) {
		claims_free(c);
		return -1;
	}
	for (size_t i = 0; i < c->count; i++)
		read_claim(store, &c->list[i]);
	return 0;
}

void claims_free(struct claims *c)
{
	free(c->list);
	*c = (struct claims){ .list = NULL };
}

bool claims_allow(const struct claims *c, struct generation g)
{
	for (size_t i = 0; i < c->count; i++)
		if (c->list[i].run > g.run && g.number > c->list[i].base)
			return false;
	return true;
}

int store_superseded(const struct store *store, int run, char node[256],
		     struct err *e)
{
	struct claims c;
	int found = 0;

	if (claims_read(store, &c, e) < 0)
		return -1;
	for (size_t i = 0; i < c.count; i++)
		if (c.list[i].run > run) {
			found = 1;
			if (node)
				snprintf(node, 256, "%s", c.list[i].node);
		}
	claims_free(&c);
	return found;
}

/* Whose claim was first. */
static void tell_taken(const struct store *store, int run, struct err *e)
{
	struct claim c = { .run = run, .base = INT_MAX };

	read_claim(store, &c);
	err_set(e, "run %d of this step has been taken over already, on %s: two copies of one program must not run",
		       run, *c.node ? c.node : "another node");
}

/* An NFS client may remember an older list of the directory; one that changes it reads it
 * anew. */
static int refresh(const struct store *store, struct err *e)
{
	char probe[64];
	cleanup_fd int fd = -1;

	snprintf(probe, sizeof(probe), ".claim.%d.probe", getpid());
	fd = openat(store->dir, probe, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_sys(e, "cannot write to %s", store->path);
	unlinkat(store->dir, probe, 0);
	return 0;
}

int store_fenced(const struct store *store, int run, char node[256], struct err *e)
{
	char by[256] = "";
	int rc = store_superseded(store, run, by, e);

	if (rc > 0)
		err_set(e, "the job goes on on %s since: this run may not save any more",
			*by ? by : "another node");
	if (node)
		memcpy(node, by, sizeof(by));
	return rc;
}

int store_may_save(const struct store *store, int run, struct err *e)
{
	return refresh(store, e) < 0 ? -1 : store_fenced(store, run, NULL, e);
}

int store_claim(const struct store *store, int run, const char *node,
		struct err *e)
{
	cleanup_free struct generation *list = NULL;
	char name[32], other[256] = "";
	json_object *o;
	int count, rc;

	if (refresh(store, e) < 0)
		return -1;
	if ((rc = store_superseded(store, run, other, e)) < 0)
		return -1;
	if (rc > 0) {
		err_set(e, "a later run of this step has begun on %s: this one is over",
			*other ? other : "another node");
		return 1;
	}
	if ((count = store_published(store, &list, e)) < 0)
		return -1;
	o = json_object_new_object();
	json_object_object_add(o, "run", json_object_new_int(run));
	json_object_object_add(o, "base",
			       json_object_new_int(count ? list[0].number : 0));
	json_object_object_add(o, "node", json_object_new_string(node));
	snprintf(name, sizeof(name), PREFIX "%d", run);
	rc = dir_write(store, name, json_object_to_json_string(o), true, e);
	if (rc < 0 && errno == EEXIST) {
		tell_taken(store, run, e);
		rc = 1;
	}
	json_object_put(o);
	if (rc == 0 && fsync(store->dir) < 0)
		rc = err_sys(e, "cannot write to %s", store->path);
	return rc;
}
