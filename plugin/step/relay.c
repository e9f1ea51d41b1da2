/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One stream of a srun call (relay.h). */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <unistd.h>

#include "relay.h"
#include "sckpt/base.h"

void relay_end(struct relay *r)
{
	close_fd(&r->from);
	close_fd(&r->to);
	r->open = false;
}

void relay_poll(const struct relay *r, struct pollfd *p)
{
	bool full = r->sent < r->filled;

	*p = (struct pollfd){ !r->open ? -1 : full ? r->to : r->from,
			      full ? POLLOUT : POLLIN, 0 };
}

static void take(struct relay *r)
{
	size_t room = sizeof(r->buf);
	ssize_t n;

	if (r->most >= 0 && r->most - r->passed < (int64_t)room)
		room = (size_t)(r->most - r->passed);
	n = room ? read(r->from, r->buf, room) : 0;
	if (n < 0 && errno == EINTR)
		return;
	if (n <= 0) {
		relay_end(r);
		return;
	}
	r->filled = (size_t)n;
	r->sent = 0;
	if (r->copy >= 0 && file_write(r->copy, r->buf, r->filled, NULL) < 0)
		r->spoilt = true;
	if (r->to < 0) {
		r->sent = r->filled;
		r->passed += n;
	}
}

static void give(struct relay *r)
{
	size_t n = r->filled - r->sent;
	ssize_t done;

	/* So much does not block when poll() says that there is room. */
	done = write(r->to, r->buf + r->sent, n > PIPE_BUF ? PIPE_BUF : n);
	if (done < 0 && (errno == EINTR || errno == EAGAIN))
		return;
	if (done < 0) {
		relay_end(r); /* nobody reads it any more */
		return;
	}
	r->sent += (size_t)done;
	r->passed += done;
}

void relay_move(struct relay *r)
{
	if (r->sent < r->filled)
		give(r);
	else
		take(r);
	if (r->most >= 0 && r->passed >= r->most)
		relay_end(r);
}

bool relay_drained(struct relay *r)
{
	struct pollfd p;

	if (r->open)
		fcntl(r->from, F_SETFL, O_NONBLOCK);
	while (r->open) {
		relay_poll(r, &p);
		if (p.events == POLLOUT && poll(&p, 1, 0) == 0)
			return false;
		/* With nothing more in it read() says so, or fails. */
		relay_move(r);
	}
	return true;
}
