/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One run of criu. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "sckpt/broker.h"
#include "session.h"

/* How often people are told of the progress. */
#define TICK_MS 250

static int at_point(struct session *s, const char *action, struct err *e)
{
	if (!strcmp(action, "pre-dump"))
		return s->ready ? s->ready(s->arg, e) : 0;
	return s->commit(s->arg, s->stream, e);
}

static int answer_hook(struct session *s, int listener, struct err *e)
{
	char action[32], answer;
	cleanup_fd int fd = hook_accept(listener, s->criu.pid, action, sizeof(action));
	int rc;

	if (fd < 0)
		return 0;
	rc = strcmp(action, "pre-restore") ? at_point(s, action, e) :
					     criu_watch_adopt(&s->criu, e);
	answer = rc < 0;
	if (write(fd, &answer, 1) != 1 && rc == 0)
		return err_sys(e, "criu's hook is gone");
	return rc;
}

/* Now and then; -1: it is to be given up. */
static int look_at_clock(const struct session *s, int64_t *next, struct err *e)
{
	if (!s->tick || clock_ns(CLOCK_MONOTONIC) < *next)
		return 0;
	*next = clock_ns(CLOCK_MONOTONIC) + TICK_MS * INT64_C(1000000);
	return s->tick(s->arg, e);
}

static void begin_images(const struct session *s)
{
	if (s->sink && s->sink->begin)
		s->sink->begin(s->sink->arg);
	if (s->source && s->source->begin)
		s->source->begin(s->source->arg);
}

/* Waits for criu's end, and serves it meanwhile. */
static int serve(struct session *s, int hook, struct err *e)
{
	int64_t next = clock_ns(CLOCK_MONOTONIC) + TICK_MS * INT64_C(1000000);

	begin_images(s);
	while (!s->criu.ended) {
		struct pollfd p[] = { { stream_fd(s->stream), POLLIN, 0 },
				      { hook, POLLIN, 0 },
				      { s->criu.signals, POLLIN, 0 } };

		if (poll(p, 3, s->tick ? TICK_MS : -1) < 0) {
			if (errno == EINTR)
				continue;
			return err_sys(e, "cannot wait for criu");
		}
		if (look_at_clock(s, &next, e) < 0)
			return -1;
		if (p[0].revents && stream_step(s->stream, e) < 0)
			return -1;
		if (p[1].revents && answer_hook(s, hook, e) < 0)
			return -1;
		if (p[2].revents && criu_watch_look(&s->criu, e) < 0)
			return -1;
	}
	return 0;
}

static void drop_stream(struct session *s)
{
	stream_close(s->stream);
	s->stream = NULL;
}

static int by_itself(struct session *s, const struct criu_run *run, struct err *e)
{
	cleanup_fd int hook = hook_listen(HOOK_SOCKET, e);
	int rc = -1;

	if (hook < 0 ||
	    !(s->stream = stream_open(SCKPT_RUN_DIR, s->sink, s->source, e)))
		return -1;
	/* The caller looks for ended children of its own afterwards. */
	if (criu_watch_begin(&s->criu, e) < 0)
		return -1;
	s->criu.pid = criu_start(run, s->program, e);
	rc = s->criu.pid < 0 ? -1 : serve(s, hook, e);
	if (rc < 0) {
		drop_stream(s);
		close_fd(&hook);
	}
	criu_watch_end(&s->criu);
	return rc;
}

/* ---- by the broker --------------------------------------------------------------- */

/* The request, and the broker's end of the stream with it. */
static int ask_broker(struct session *s, const struct criu_run *run, struct err *e)
{
	struct broker_message *m = calloc(1, sizeof(*m));
	int fds[FDS_MAX], pair[2], count = 1, rc = -1;

	if (!m)
		return err_set(e, "no memory to ask the broker");
	*m = (struct broker_message){ .word = run->restore ? BROKER_RESTORE : BROKER_DUMP,
				      .value = run->end };
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0) {
		free(m);
		return err_sys(e, "cannot ask the broker");
	}
	fds[0] = pair[1];
	for (int i = 0; i < run->count; i++) {
		size_t n = strlen(run->files[i].key) + 1;

		if (m->size + n > sizeof(m->text) || (run->restore && count == FDS_MAX)) {
			err_set(e, "it has too many standard streams for the broker: use fewer tasks on a node, or files for their output");
			goto out;
		}
		memcpy(m->text + m->size, run->files[i].key, n);
		m->size += (uint32_t)n;
		m->count++;
		if (run->restore)
			fds[count++] = run->files[i].fd;
	}
	if (!run->failed && (s->stream = stream_adopt(pair[0], s->sink, s->source, e))) {
		pair[0] = -1;
		rc = broker_send(s->broker, m, fds, count, NULL);
		if (rc < 0)
			err_set(e, "the step's sckpt-broker is gone, and its programs need more than CAP_CHECKPOINT_RESTORE: no checkpoint of them can be taken in this run of the job");
	}
out:
	close_fd(&pair[0]);
	close(pair[1]);
	free(m);
	return rc;
}

static int hear_broker(struct session *s, bool given_up, struct err *e)
{
	struct broker_message *m = malloc(sizeof(*m));
	int none = 0, rc = m ? broker_receive(s->broker, m, NULL, &none, NULL, e) : -1;

	if (rc <= 0) {
		free(m);
		s->criu.ended = true;
		return err_set(e, "the step's sckpt-broker is gone: the node's system log may say why");
	}
	rc = 0;
	switch (m->word) {
	case BROKER_HOOK: {
		struct broker_message answer = { .word = BROKER_ANSWER, .value = 1 };
		char action[32];

		snprintf(action, sizeof(action), "%.*s", (int)m->size, m->text);
		if (!given_up)
			rc = at_point(s, action, e);
		answer.value = given_up || rc < 0;
		if (broker_send(s->broker, &answer, NULL, 0, e) < 0)
			rc = -1;
		break;
	}
	case BROKER_DONE:
		s->criu.ended = true;
		s->criu.status = m->value;
		break;
	case BROKER_REFUSED:
		s->criu.ended = true;
		s->elsewhere = m->value;
		rc = err_set(e, "%.*s", (int)m->size, m->text);
		break;
	default:
		break;
	}
	free(m);
	return rc;
}

static int serve_broker(struct session *s, struct err *e)
{
	int64_t next = clock_ns(CLOCK_MONOTONIC) + TICK_MS * INT64_C(1000000);

	begin_images(s);
	while (!s->criu.ended) {
		struct pollfd p[] = { { stream_fd(s->stream), POLLIN, 0 },
				      { s->broker, POLLIN, 0 } };

		if (poll(p, 2, s->tick ? TICK_MS : -1) < 0) {
			if (errno == EINTR)
				continue;
			return err_sys(e, "cannot wait for the broker");
		}
		if (look_at_clock(s, &next, e) < 0)
			return -1;
		if (p[0].revents && stream_step(s->stream, e) < 0)
			return -1;
		if (p[1].revents && hear_broker(s, false, e) < 0)
			return -1;
	}
	return 0;
}

static int by_broker(struct session *s, const struct criu_run *run, struct err *e)
{
	struct err later;
	int rc;

	if (ask_broker(s, run, e) < 0)
		return -1;
	rc = serve_broker(s, e);
	drop_stream(s);
	/* Until criu has undone what it did. */
	while (!s->criu.ended)
		hear_broker(s, true, &later);
	return rc;
}

int session_run(struct session *s, const struct criu_run *run, int *status,
		struct err *e)
{
	pid_t breakpoint;
	int rc;

	if (criu_parts(run->restore, e) < 0)
		return -1;
	breakpoint = breakpoint_begin();
	rc = s->broker >= 0 ? by_broker(s, run, e) : by_itself(s, run, e);
	breakpoint_end(breakpoint);
	drop_stream(s);
	*status = s->criu.status;
	return rc;
}
