/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Who may have the capability at all (sckpt.conf: grant=never, allow-users=, …). Decided by
 * what slurmstepd, root, was told by slurmctld or asks of it, never by the job's
 * environment.
 */
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "spank_sckpt.h"

#define no(...) snprintf(reason, size, __VA_ARGS__)

/* Is there a name in the list ("a,b,c") for which is(name, arg)? */
static bool any(const char *list, bool (*is)(const char *name, const void *arg),
		const void *arg)
{
	char name[256];

	for (; *list; list += *list == ',') {
		size_t n = strcspn(list, ",");

		if (n && n < sizeof(name)) {
			memcpy(name, list, n);
			name[n] = '\0';
			if (is(name, arg))
				return true;
		}
		list += n;
	}
	return false;
}

/* true: it is all digits. */
static bool is_number(const char *name, unsigned long *number)
{
	char *end;

	*number = strtoul(name, &end, 10);
	return name[strspn(name, "0123456789")] == '\0';
}

static bool is_user(const char *name, const void *arg)
{
	const uid_t *uid = arg;
	struct passwd pw, *found = NULL;
	unsigned long number;
	char buf[16384];

	if (is_number(name, &number))
		return number == *uid;
	return getpwnam_r(name, &pw, buf, sizeof(buf), &found) == 0 && found &&
	       pw.pw_uid == *uid;
}

struct gids {
	gid_t first, *others;
	int count;
};

static bool is_group(const char *name, const void *arg)
{
	const struct gids *gids = arg;
	struct group gr, *found = NULL;
	cleanup_free char *buf = malloc(1 << 20); /* it lists its members */
	unsigned long number;

	if (!is_number(name, &number)) {
		if (!buf || getgrnam_r(name, &gr, buf, 1 << 20, &found) || !found)
			return false;
		number = gr.gr_gid;
	}
	if (number == gids->first)
		return true;
	for (int i = 0; i < gids->count; i++)
		if (gids->others[i] == number)
			return true;
	return false;
}

static void take_gids(spank_t sp, struct gids *gids)
{
	spank_get_item(sp, S_JOB_GID, &gids->first);
	if (spank_get_item(sp, S_JOB_SUPPLEMENTARY_GIDS, &gids->others, &gids->count) !=
	    ESPANK_SUCCESS)
		gids->count = 0;
}

static bool is_partition(const char *name, const void *arg)
{
	return !strcmp(name, arg);
}

/* The partition that the job runs in, which may have been submitted to several ("%P"),
 * or its account ("%a"). */
static int ask_job(uint32_t job, const char *what, char *name, size_t size, struct err *e)
{
	const char *conf = getenv("SLURM_CONF");
	char id[16], where[600], format[16], *text = NULL, *rest, *line;
	char *argv[] = { SQUEUE_PATH, "-h", "-t", "all", "-o", format, "-j", id, NULL };
	char *envp[] = { "PATH=/usr/bin:/bin", "LC_ALL=C", conf ? where : NULL, NULL };
	size_t n = (size_t)snprintf(id, sizeof(id), "%u", job);
	int rc;

	snprintf(where, sizeof(where), "SLURM_CONF=%s", conf ? conf : "");
	snprintf(format, sizeof(format), "%%A %s", what);
	/* Of an array's it can be more than one line. */
	if (run_collect(argv, envp, 20000, 1 << 20, &text, e) < 0)
		return -1;
	rc = err_set(e, "slurmctld does not know job %u", job);
	for (rest = text; (line = strsep(&rest, "\n"));)
		if (!strncmp(line, id, n) && line[n] == ' ') {
			snprintf(name, size, "%s", line + n + 1);
			rc = 0;
		}
	free(text);
	return rc;
}

void allow_check(spank_t sp, const struct conf *conf, uint32_t job, char *reason,
		 size_t size)
{
	struct gids gids = { .count = 0 };
	char partition[256];
	struct err e;
	uid_t uid = 0;

	if (conf->grant == GRANT_NEVER) {
		no("the administrator does not allow it here (grant=never)");
		return;
	}
	if (*conf->allow_users || *conf->allow_groups) {
		spank_get_item(sp, S_JOB_UID, &uid);
		take_gids(sp, &gids);
		if (!any(conf->allow_users, is_user, &uid) &&
		    !any(conf->allow_groups, is_group, &gids)) {
			no("the administrator allows it to some users and groups, and user id %u is none of them (allow-users=, allow-groups=)",
			   uid);
			return;
		}
	}
	if (!*conf->allow_partitions)
		return;
	if (ask_job(job, "%P", partition, sizeof(partition), &e) < 0)
		no("it is allowed in some partitions alone, and in which one the job runs is not known: %.200s",
		   e.text);
	else if (!any(conf->allow_partitions, is_partition, partition))
		no("the administrator allows it in other partitions than %.100s (allow-partitions=%.200s)",
		   partition, conf->allow_partitions);
}

/* Is the job's own word in the list? Whatever is not known is a no. */
static bool is_listed(const char *list, uint32_t job, const char *what)
{
	char name[256];
	struct err e;

	if (!*list)
		return true;
	if (ask_job(job, what, name, sizeof(name), &e) == 0)
		return any(list, is_partition, name);
	slurm_error(SAYS "%s", e.text);
	return false;
}

int allow_elevate(spank_t sp, const struct conf *conf, uint32_t job)
{
	struct gids gids = { .count = 0 };

	if (!conf->elevate)
		return 0;
	take_gids(sp, &gids);
	if ((*conf->elevate_groups && !any(conf->elevate_groups, is_group, &gids)) ||
	    !is_listed(conf->elevate_partitions, job, "%P") ||
	    !is_listed(conf->elevate_accounts, job, "%a"))
		return 0;
	return conf->elevate;
}
