/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * wanted.<job>: a job that was submitted to go on from a step of another one (sckpt restart). It
 * may wait for days, and until it has begun nothing else tells that somebody needs the step.
 */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "dir.h"

#define PREFIX "wanted."
/* Who was asked which jobs there are may not have known of a younger one, s. */
#define YOUNG 3600

/* Its number is all that counts of it; 0 for any other name. */
static uint32_t wanted_job(const char *name)
{
	size_t n = strlen(PREFIX);
	unsigned long job;
	char *end;

	if (strncmp(name, PREFIX, n) || !isdigit((unsigned char)name[n]))
		return 0;
	errno = 0;
	job = strtoul(name + n, &end, 10);
	return errno || *end || job > UINT32_MAX ? 0 : (uint32_t)job;
}

int wanted_add(const struct store *store, uint32_t job, struct err *e)
{
	char name[32];

	snprintf(name, sizeof(name), PREFIX "%u", job);
	return dir_write(store, name, "", false, e);
}

struct looking {
	const struct store *store;
	bool (*active)(uint32_t job, void *arg);
	void *arg;
	uint32_t job;
};

static int find_active(const char *name, void *arg)
{
	struct looking *l = arg;
	uint32_t job = wanted_job(name);

	if (!job || !l->active(job, l->arg))
		return 0;
	l->job = job;
	return 1;
}

uint32_t wanted_by(const struct store *store, bool (*active)(uint32_t job, void *arg), void *arg)
{
	struct looking l = { store, active, arg, 0 };

	dir_each(store, find_active, &l, NULL);
	return l.job;
}

static int drop_inactive(const char *name, void *arg)
{
	const struct looking *l = arg;
	uint32_t job = wanted_job(name);
	struct stat st;

	if (job && !l->active(job, l->arg) &&
	    fstatat(l->store->dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	    st.st_mtime < time(NULL) - YOUNG)
		unlinkat(l->store->dir, name, 0);
	return 0;
}

void wanted_sweep(const struct store *store, bool (*active)(uint32_t job, void *arg), void *arg)
{
	struct looking l = { store, active, arg, 0 };

	dir_each(store, drop_inactive, &l, NULL);
}
