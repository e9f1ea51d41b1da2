/* SPDX-License-Identifier: GPL-2.0-or-later */
/* <base>/<cluster>/ended: how programs of batch steps ended. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "dir.h"
#include "json.h"

#define FORMAT 1
#define NAME_MAX_ENDED 64

static void record_name(const struct spec *spec, char name[NAME_MAX_ENDED])
{
	snprintf(name, NAME_MAX_ENDED, "%u.%s.json", spec->job, spec->step);
}

static void output_name(const struct spec *spec, int i,
			char name[NAME_MAX_ENDED])
{
	snprintf(name, NAME_MAX_ENDED, "%u.%s.%d", spec->job, spec->step, i);
}

/* ---- writing -------------------------------------------------------------- */

static int copy_log(const struct store *from, int i, const struct store *to,
		    const char *name, struct err *e)
{
	cleanup_fd int in = output_open(from, i, false, e), out = -1;
	struct stat st;

	if (in < 0)
		return -1;
	out = openat(to->dir, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW |
					    O_CLOEXEC, 0600);
	if (out < 0 || fstat(in, &st) < 0)
		return err_sys(e, "cannot make %s/%s", to->path, name);
	if (file_copy(in, 0, out, st.st_size, e) < 0 || fsync(out) < 0)
		return err_context(e, "%s/%s", to->path, name);
	return 0;
}

int ended_keep_output(const struct spec *spec, const struct store *from, int i,
		      struct err *e)
{
	char log[32], name[NAME_MAX_ENDED];
	struct store to;
	int rc = dir_beside(spec, ENDED, true, &to, e);

	if (rc < 0)
		return -1;
	snprintf(log, sizeof(log), "output.%d", i);
	output_name(spec, i, name);
	/* Not taken away: a checkpoint of the step may need it yet. */
	unlinkat(to.dir, name, 0);
	if (linkat(from->dir, log, to.dir, name, 0) < 0)
		rc = copy_log(from, i, &to, name, e);
	store_close(&to);
	return rc;
}

int ended_write(const struct spec *spec, const struct ended *ended,
		struct err *e)
{
	json_object *o = json_object_new_object();
	char name[NAME_MAX_ENDED];

	json_object_object_add(o, "format", json_object_new_int(FORMAT));
	json_object_object_add(o, "run", json_object_new_int(ended->run));
	json_object_object_add(o, "status", json_object_new_int(ended->status));
	json_object_object_add(o, "requeued",
			       json_object_new_boolean(ended->requeued));
	json_object_object_add(o, "batch_flag",
			       json_object_new_int(ended->batch_flag));
	json_object_object_add(o, "time", json_object_new_int64(ended->time));
	json_object_object_add(o, "length",
			       json_numbers(ended->length, TASK_STREAMS));
	record_name(spec, name);
	return json_keep(spec, ENDED, name, o, e);
}

/* ---- reading --------------------------------------------------------------- */

static bool parse(const char *text, struct ended *ended)
{
	json_object *o = json_tokener_parse(text), *v;
	int64_t format, run, status, flag;
	bool good = json_number(o, "format", FORMAT, FORMAT, &format) &&
		    json_number(o, "run", 0, INT_MAX, &run) &&
		    json_number(o, "status", 0, 0xffff, &status) &&
		    json_number(o, "batch_flag", -1, INT_MAX, &flag) &&
		    json_number(o, "time", 0, INT64_MAX, &ended->time) &&
		    json_take_numbers(o, "length", ended->length,
				      TASK_STREAMS);

	if (good) {
		ended->run = (int)run;
		ended->status = (int)status;
		ended->batch_flag = (int)flag;
		good = json_object_object_get_ex(o, "requeued", &v) &&
		       json_object_is_type(v, json_type_boolean);
	}
	if (good)
		ended->requeued = json_object_get_boolean(v);
	json_object_put(o);
	return good;
}

int ended_read(const struct spec *spec, struct ended *ended, struct err *e)
{
	cleanup_free char *text = NULL;
	char name[NAME_MAX_ENDED];
	struct store at;
	int rc = dir_beside(spec, ENDED, false, &at, e);

	if (rc)
		return rc < 0 ? -1 : 0;
	record_name(spec, name);
	if (file_read(at.dir, name, 4096, &text, e) < 0)
		rc = errno == ENOENT ? 0 : -1;
	else if (!parse(text, ended))
		rc = err_set(e, "%s/%s is damaged", at.path, name);
	else
		rc = 1;
	store_close(&at);
	return rc;
}

int ended_output(const struct spec *spec, int i, struct err *e)
{
	char name[NAME_MAX_ENDED];
	struct store at;
	int rc = dir_beside(spec, ENDED, false, &at, e), fd;

	if (rc)
		return rc < 0 ? -1 : err_set(e, "%s is not there", at.path);
	output_name(spec, i, name);
	fd = openat(at.dir, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		err_sys(e, "%s/%s", at.path, name);
	store_close(&at);
	return fd;
}

/* ---- removing --------------------------------------------------------------- */

int ended_drop(const struct spec *spec, struct err *e)
{
	char name[NAME_MAX_ENDED];
	struct store at;
	int rc = dir_beside(spec, ENDED, false, &at, e);

	if (rc)
		return rc < 0 ? -1 : 0;
	/* The record first: without it the rest means nothing. */
	record_name(spec, name);
	if (unlinkat(at.dir, name, 0) < 0 && errno != ENOENT)
		rc = err_sys(e, "cannot remove %s/%s", at.path, name);
	for (int i = 1; rc == 0 && i < TASK_STREAMS; i++) {
		output_name(spec, i, name);
		unlinkat(at.dir, name, 0);
	}
	store_close(&at);
	return rc;
}

struct sweep {
	const struct store *at;
	int64_t until;
	bool asked, known;
	struct ended_jobs jobs;
	bool (*ask)(struct ended_jobs *jobs, void *arg);
	void *arg;
	struct err *e;
};

static int sweep_one(const char *name, void *arg)
{
	struct sweep *s = arg;
	unsigned long job;
	struct stat st;
	char *end;

	if (*name == '.') {
		job = 0; /* of a writer that was killed */
	} else {
		errno = 0;
		job = strtoul(name, &end, 10);
		if (errno || end == name || *end != '.')
			return 0;
	}
	if (fstatat(s->at->dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
	    st.st_ctime > s->until)
		return 0;
	if (!s->asked)
		s->known = s->ask(&s->jobs, s->arg);
	s->asked = true;
	if (!s->known)
		return 1;
	for (size_t i = 0; i < s->jobs.count; i++)
		if (s->jobs.list[i] == job) {
			/* Not to be asked about again for as long. */
			utimensat(s->at->dir, name, NULL, AT_SYMLINK_NOFOLLOW);
			return 0;
		}
	if (unlinkat(s->at->dir, name, 0) < 0 && errno != ENOENT)
		return err_sys(s->e, "cannot remove %s/%s", s->at->path, name);
	return 0;
}

int ended_sweep(const struct spec *spec, int64_t older,
		bool (*ask)(struct ended_jobs *jobs, void *arg), void *arg,
		struct err *e)
{
	struct store at;
	struct sweep s = { .at = &at,
			   .until = time(NULL) - older,
			   .ask = ask,
			   .arg = arg,
			   .e = e };
	int rc = dir_beside(spec, ENDED, false, &at, e);

	if (rc)
		return rc < 0 ? -1 : 0;
	rc = dir_each(&at, sweep_one, &s, e);
	store_close(&at);
	return rc < 0 ? -1 : 0;
}
