/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See earlier.h. A call's text is SINCE.TIMES.HASH. */
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "earlier.h"
#include "sckpt/image.h"
#include "step.h"

#define MOST (64 << 20)

/* ---- what a call is --------------------------------------------------------------------- */

/* "" for what the script's own is, whose name may be another in each run. */
static void put_stream(FILE *to, pid_t pid, int fd)
{
	char path[64], link[PATH_MAX] = "", own[PATH_MAX] = "";

	snprintf(path, sizeof(path), "/proc/%d/fd/%d", pid, fd);
	if (readlink(path, link, sizeof(link) - 1) < 0 || *link != '/')
		*link = '\0';
	snprintf(path, sizeof(path), "/proc/%d/fd/%d", PROGRAM_PID, fd);
	if (readlink(path, own, sizeof(own) - 1) < 0 || strcmp(link, own))
		fputs(link, to);
	fputc('\0', to);
}

static bool is_in(char *const *list, const char *text)
{
	for (; *list; list++)
		if (!strcmp(*list, text))
			return true;
	return false;
}

/*
 * What Slurm gave the script, and it passed on, is another in each run. Of the rest two bytes stand for
 * all, from which no secret can be guessed: others can see arguments of srun's.
 */
static int put_variables(FILE *to, pid_t pid, struct err *e)
{
	uint8_t hash[IMAGE_SHA256], all[IMAGE_SHA256] = { 0 };
	cleanup_free char *data = NULL, *then = NULL;
	cleanup_free char **list = NULL, **before = NULL;
	char path[64];
	ssize_t size, was;

	snprintf(path, sizeof(path), "/proc/%d/environ", pid);
	if ((size = file_read(AT_FDCWD, path, MOST, &data, e)) < 0)
		return -1;
	snprintf(path, sizeof(path), "/proc/%d/environ", ROOT_PID);
	if ((was = file_read(AT_FDCWD, path, MOST, &then, e)) < 0)
		return -1;
	if (!(list = block_list(data, (size_t)size, 0)) || !(before = block_list(then, (size_t)was, 0)))
		return err_set(e, "no memory for a call of srun");
	for (char **v = list; *v; v++) {
		if (is_in(before, *v))
			continue;
		/* In no order. */
		image_sha256(*v, strlen(*v), hash);
		for (size_t i = 0; i < sizeof(all); i++)
			all[i] ^= hash[i];
	}
	image_sha256(all, sizeof(all), hash);
	fwrite(hash, 1, 2, to);
	return 0;
}

static int hash_of(pid_t pid, char hash[EARLIER_HASH + 1], struct err *e)
{
	uint8_t command[IMAGE_SHA256], all[IMAGE_SHA256];
	cleanup_free char *text = NULL;
	size_t size = 0;
	FILE *to;
	int rc;

	if (call_command(pid, command, e) < 0)
		return -1;
	if (!(to = open_memstream(&text, &size)))
		return err_set(e, "no memory for a call of srun");
	fwrite(command, 1, sizeof(command), to);
	for (int fd = 0; fd < 3; fd++)
		put_stream(to, pid, fd);
	rc = put_variables(to, pid, e);
	if (fclose(to) != 0 && rc == 0)
		rc = err_set(e, "no memory for a call of srun");
	if (rc < 0)
		return -1;
	image_sha256(text, size, all);
	for (int i = 0; i < EARLIER_HASH / 2; i++)
		sprintf(&hash[2 * i], "%02x", all[i]);
	return 0;
}

/* ---- texts -------------------------------------------------------------------------------- */

static bool take_apart(const char *call, int *since, int *times, const char **hash)
{
	int n = 0;

	if (sscanf(call, "%d.%d.%n", since, times, &n) != 2 || !n)
		return false;
	*hash = call + n;
	return true;
}

void earlier_describe(struct earlier *k, pid_t pid, int count, char call[CALL_TEXT_MAX + 1])
{
	char hash[EARLIER_HASH + 1], (*more)[EARLIER_HASH + 1];
	int times = 1;

	*call = '\0';
	if (k->since < 0)
		k->since = count;
	if (hash_of(pid, hash, NULL) < 0 ||
	    !(more = realloc(k->calls, (k->call_count + 1) * sizeof(*more))))
		return;
	k->calls = more;
	for (size_t i = 0; i < k->call_count; i++)
		times += !strcmp(hash, more[i]);
	memcpy(more[k->call_count++], hash, sizeof(hash));
	snprintf(call, CALL_TEXT_MAX + 1, "%d.%d.%s", k->since, times, hash);
}

/* ---- what is there ---------------------------------------------------------------------- */

int earlier_open(struct earlier *k, const struct spec *script, struct err *e)
{
	cleanup_free int *numbers = NULL;
	int count;

	*k = (struct earlier){ .since = -1 };
	if (script->restart == 0)
		return 0; /* what is there is another job's of that number */
	if ((count = store_steps(script, CALL_STEP, &numbers, e)) <= 0)
		return count;
	if (!(k->steps = calloc((size_t)count, sizeof(*k->steps))))
		return err_set(e, "no memory for the script's steps");
	for (int i = 0; i < count; i++) {
		struct earlier_step *s = &k->steps[k->step_count];
		cleanup_free struct generation *list = NULL;
		struct spec spec = *script;
		struct store store;

		snprintf(spec.step, sizeof(spec.step), CALL_STEP "%d", numbers[i]);
		if (store_open(&spec, false, &store, e) != 0)
			continue;
		/* One that cannot be read may be there. */
		if (store_generations(&store, &list, NULL) != 0) {
			s->number = numbers[i];
			call_text_read(&store, s->call);
			k->step_count++;
		}
		store_close(&store);
	}
	return 0;
}

struct earlier_step *earlier_find(struct earlier *k, const char *call)
{
	int since, times, its_since, its_times;
	const char *hash, *its;

	if (!take_apart(call, &since, &times, &hash) || times != 1)
		return NULL;
	for (int i = 0; i < k->step_count; i++) {
		struct earlier_step *s = &k->steps[i];

		/* Those up to `since` are known to the script, which calls for them itself. */
		if (!s->taken && s->number > since &&
		    take_apart(s->call, &its_since, &its_times, &its) && its_times == 1 &&
		    its_since <= since && !strcmp(its, hash))
			return s;
	}
	return NULL;
}

bool earlier_is_other(const struct earlier *k, int number)
{
	for (int i = 0; i < k->step_count; i++)
		if (k->steps[i].number == number && *k->steps[i].call)
			return true;
	return false;
}
