/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A step's output logs, and what of them is in memory until it is on the disk. */
#include "outlog.h"

#include <string.h>
#include <unistd.h>

#include "sckpt/store.h"

/* A full disk stays full for a while. */
#define AGAIN_NS INT64_C(1000000000)

int outlogs_init(struct outlogs *l, int count, struct err *e)
{
	*l = (struct outlogs){ .lock = PTHREAD_MUTEX_INITIALIZER,
			       .synced = PTHREAD_COND_INITIALIZER };
	if (!(l->list = calloc((size_t)count, sizeof(*l->list))))
		return err_set(e, "no memory for the step's output logs");
	for (; l->count < count; l->count++)
		l->list[l->count].fd = -1;
	return 0;
}

/* ---- with the lock ------------------------------------------------------- */

static void fail(struct outlogs *l, const struct err *why)
{
	l->behind = l->doubt = true;
	l->failures++;
	l->why = *why;
	l->again = clock_ns(CLOCK_MONOTONIC) + AGAIN_NS;
}

static int tell(const struct outlogs *l, struct err *e)
{
	return err_set(e, "the program's output could not be kept: %.400s; %s", l->why.text,
		       l->lost ? "the step is not saved any more" :
				 "it waits, and is tried again");
}

static size_t held(const struct outlogs *l)
{
	size_t sum = 0;

	for (int i = 0; i < l->count; i++)
		sum += l->list[i].held;
	return sum;
}

static void let_go(struct outlog *log)
{
	free(log->tail);
	log->tail = NULL;
	log->held = log->room = 0;
}

/* So many bytes of it are on the disk, and need no memory any more. */
static void is_safe(struct outlog *log, int64_t bytes)
{
	size_t n;

	if (bytes <= log->safe)
		return;
	n = (size_t)(bytes - log->safe);
	log->safe = bytes;
	if (n >= log->held) { /* what is copied from a file is in no tail */
		let_go(log);
		return;
	}
	log->held -= n;
	memmove(log->tail, log->tail + n, log->held);
}

static void lose(struct outlogs *l, const char *why)
{
	const struct err was = l->why;

	err_set(&l->why, "%.300s%s%s", l->behind ? was.text : "", l->behind ? ", and " : "", why);
	l->lost = l->doubt = true;
	for (int i = 0; i < l->count; i++)
		let_go(&l->list[i]);
}

static int remember(struct outlogs *l, struct outlog *log, const void *data, size_t size)
{
	/* A store that hangs while it syncs has not failed. */
	while (l->syncing && held(l) + size > OUTLOG_MOST)
		pthread_cond_wait(&l->synced, &l->lock);
	if (held(l) + size > OUTLOG_MOST) {
		lose(l, "more than 64 MiB waited for it");
		return -1;
	}
	if (log->held + size > log->room) {
		size_t room = 2 * log->room + size;
		char *tail = realloc(log->tail, room);

		if (!tail) {
			lose(l, "there is no memory for it");
			return -1;
		}
		log->tail = tail;
		log->room = room;
	}
	memcpy(log->tail + log->held, data, size);
	log->held += size;
	return 0;
}

/* Writes all tails again: an error that is told now may be of bytes written long ago. */
static int catch_up(struct outlogs *l)
{
	struct err e = { "" };

	for (int i = 0; i < l->count; i++) {
		const struct outlog *log = &l->list[i];

		if (log->fd >= 0 && (output_cut(log->fd, log->safe, &e) < 0 ||
				     file_write(log->fd, log->tail, log->held, &e) < 0)) {
			fail(l, &e);
			return -1;
		}
	}
	l->behind = false;
	return 0;
}

/* Of all, for each tells its error but once. Needs no lock. */
static int sync_all(const struct outlogs *l, struct err *e)
{
	int rc = 0;

	for (int i = 0; i < l->count; i++)
		if (l->list[i].fd >= 0 && fsync(l->list[i].fd) < 0)
			rc = err_sys(e, "cannot sync");
	return rc;
}

struct early {
	struct outlogs *logs;
	unsigned failures; /* until it began */
};

static void *sync_apart(void *arg)
{
	struct early *early = arg;
	struct outlogs *l = early->logs;
	struct err e = { "" };
	int rc = sync_all(l, &e);

	pthread_mutex_lock(&l->lock);
	if (rc < 0)
		fail(l, &e);
	/* After a failure all was written anew. */
	for (int i = 0; l->failures == early->failures && i < l->count; i++)
		is_safe(&l->list[i], l->list[i].early);
	l->syncing = false;
	pthread_cond_broadcast(&l->synced);
	pthread_mutex_unlock(&l->lock);
	free(early);
	return NULL;
}

/* One after the other: of two only one is told of an error. Not here: a store may take its time, and
 * the step is listened to meanwhile. */
static void sync_early(struct outlogs *l)
{
	struct early *early;
	pthread_t thread;

	if (l->behind || l->syncing || held(l) < OUTLOG_HELD || !(early = malloc(sizeof(*early))))
		return;
	*early = (struct early){ l, l->failures };
	for (int i = 0; i < l->count; i++)
		l->list[i].early = l->list[i].safe + (int64_t)l->list[i].held;
	if (pthread_create(&thread, NULL, sync_apart, early)) {
		free(early);
		return;
	}
	pthread_detach(thread);
	l->syncing = true;
}

static void add(struct outlogs *l, struct outlog *log, const void *data, size_t size)
{
	struct err e = { "" };

	if (remember(l, log, data, size) < 0)
		return;
	if (!l->behind && file_write(log->fd, data, size, &e) < 0)
		fail(l, &e);
	else if (l->behind && clock_ns(CLOCK_MONOTONIC) >= l->again)
		catch_up(l);
	sync_early(l);
}

/* ---- without it ------------------------------------------------------------ */

void outlog_add(struct outlogs *l, int i, const void *data, size_t size)
{
	pthread_mutex_lock(&l->lock);
	if (!l->lost)
		add(l, &l->list[i], data, size);
	pthread_mutex_unlock(&l->lock);
}

int outlogs_settle(struct outlogs *l, struct err *e)
{
	int rc = 0;

	pthread_mutex_lock(&l->lock);
	if (l->lost || (l->behind && catch_up(l) < 0))
		rc = tell(l, e);
	else
		l->doubt = false;
	for (int i = 0; i < l->count; i++)
		l->list[i].settled = l->list[i].safe + (int64_t)l->list[i].held;
	pthread_mutex_unlock(&l->lock);
	return rc;
}

int outlog_copy(struct outlog *log, int fd, uint32_t job, struct err *e)
{
	int64_t n;

	/* From where the last good dump ended: one that came to nothing may have left a part,
	 * or bytes of which fsync has said that they did not reach the disk. */
	if (output_cut(log->fd, log->safe, e) < 0 ||
	    (n = output_copy(log->fd, fd, log->copied, job, e)) < 0)
		return -1;
	log->taken = log->copied + n;
	log->settled = lseek(log->fd, 0, SEEK_END);
	return log->settled < 0 ? err_sys(e, "cannot keep the program's output") : 0;
}

int outlogs_sync(struct outlogs *l, struct err *e)
{
	struct err why = { "" };
	int rc;

	pthread_mutex_lock(&l->lock);
	while (l->syncing)
		pthread_cond_wait(&l->synced, &l->lock);
	l->syncing = true;
	pthread_mutex_unlock(&l->lock);
	rc = sync_all(l, &why);
	pthread_mutex_lock(&l->lock);
	if (rc < 0)
		fail(l, &why);
	/* A write meanwhile may have been told of an error that fsync is not told again. */
	rc = l->doubt ? tell(l, e) : 0;
	for (int i = 0; rc == 0 && i < l->count; i++) {
		is_safe(&l->list[i], l->list[i].settled);
		l->list[i].copied = l->list[i].taken;
	}
	l->syncing = false;
	pthread_cond_broadcast(&l->synced);
	pthread_mutex_unlock(&l->lock);
	return rc;
}
