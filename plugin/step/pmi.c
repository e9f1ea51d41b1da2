/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * PMI: the socket by which Slurm's mpi/pmi2 plugin tells the ranks of an MPI program
 * of each other (PMI_FD), 1.1 and 2.0. It ends in slurmstepd, which after a restore is
 * another one and knows nothing of what was said; so the agent stands between.
 *
 * A rank asks, and waits for the answer before it asks again. What changed something
 * (init, put, barrier) is kept, and told the new slurmstepd again, whose answers nobody
 * hears; but a rank that was waiting gets the answer to its last question then.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "step.h"

#define PIECE 4096
/* Of one rank: what MPI libraries say is a few thousand bytes. */
#define SAID_MAX (1 << 20)

struct pmi_link {
	int task;
	int outer, inner; /* slurmstepd's; the agent's end of the rank's */
	int program; /* the rank's, until it has it */
	char key[MANIFEST_PMI_KEY]; /* criu's name of that */
	struct manifest_request *said;
	size_t count;
	bool waits; /* the last of them has no answer yet */
	bool broken; /* more was said than is kept: not to be dumped */
	/* After a restore: */
	size_t again; /* of said, the next to be told again; count: all are */
	bool sent; /* and its answer is waited for */
	bool deliver; /* the last one's answer is the rank's */
	char answer[PIECE];
	size_t answered;
};

/* ---- requests --------------------------------------------------------------------- */

/* It asks only, and leaves no trace in slurmstepd. */
static bool only_asks(const struct manifest_request *r)
{
	static const char *const words[] = { "cmd=get", "cmd=kvs-get",
					     "cmd=info-get", "cmd=lookup" };
	/* A request of PMI 2.0 has its length in front. */
	size_t skip = r->size > 6 && r->text[0] != 'c' ? 6 : 0;

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		size_t n = strlen(words[i]);

		if (r->size >= skip + n && !memcmp(r->text + skip, words[i], n))
			return true;
	}
	return false;
}

static bool append(struct manifest_request *r, const char *data, size_t size)
{
	char *more = realloc(r->text, r->size + size);

	if (!more)
		return false;
	memcpy(more + r->size, data, size);
	r->text = more;
	r->size += size;
	return true;
}

/* The rank has the answer, or it would not ask again: is the last one to be kept? */
static void begin_request(struct pmi_link *l)
{
	struct manifest_request *more;
	size_t all = 0;

	if (l->count && only_asks(&l->said[l->count - 1]))
		free(l->said[--l->count].text);
	for (size_t i = 0; i < l->count; i++)
		all += l->said[i].size;
	l->broken |= all > SAID_MAX || l->count == MANIFEST_REQUESTS_MAX;
	if (l->broken)
		return;
	more = realloc(l->said, (l->count + 1) * sizeof(*more));
	l->broken = !more;
	if (!more)
		return;
	l->said = more;
	l->said[l->count++] = (struct manifest_request){ NULL, 0 };
	l->again = l->count;
}

/* Is a whole answer there? A line, or as many bytes as its first six say. */
static bool whole(const char *text, size_t size)
{
	int length;

	if (size && text[0] == 'c')
		return text[size - 1] == '\n';
	return size >= 6 && sscanf(text, "%6d", &length) == 1 &&
	       size >= 6 + (size_t)length;
}

/* ---- the sockets -------------------------------------------------------------------- */

static int number_of(char *const *environment)
{
	for (; environment && *environment; environment++)
		if (!strncmp(*environment, "PMI_FD=", 7))
			return atoi(*environment + 7);
	return -1;
}

static int stand_between(struct pmi_link *l, int task, int fd, int above,
			 struct err *e)
{
	struct stat st;
	int pair[2];

	*l = (struct pmi_link){ .task = task, .outer = -1, .inner = -1,
				.program = -1 };
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0 ||
	    (l->outer = fcntl(fd, F_DUPFD_CLOEXEC, above)) < 0)
		return err_sys(e, "cannot stand between Slurm's PMI and task %d",
			       task);
	l->inner = pair[0];
	l->program = fcntl(pair[1], F_DUPFD_CLOEXEC, above);
	close(pair[1]);
	/* The rank finds it under Slurm's number. */
	if (l->program < 0 || fstat(l->program, &st) < 0 ||
	    dup3(l->program, fd, task ? O_CLOEXEC : 0) < 0)
		return err_sys(e, "cannot stand between Slurm's PMI and task %d",
			       task);
	snprintf(l->key, sizeof(l->key), "socket:[%lu]", (unsigned long)st.st_ino);
	return 0;
}

int pmi_take(struct pmi *p, const struct tasks *t, int above, struct err *e)
{
	if (!(p->list = calloc((size_t)t->count, sizeof(*p->list))))
		return err_set(e, "no memory for the step's tasks");
	for (int i = 0; i < t->count; i++) {
		int number = number_of(tasks_environment(t, i));
		int fd = number > 2 ? tasks_descriptor(t, i, number) : -1;
		int kind = 0;
		socklen_t size = sizeof(kind);

		if (fd < 0 ||
		    getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &kind, &size) < 0 ||
		    kind != AF_UNIX)
			continue;
		if (stand_between(&p->list[p->count++], i, fd, above, e) < 0)
			return -1;
		if (i == 0)
			p->first = fd;
	}
	return 0;
}

void pmi_given(struct pmi *p)
{
	for (int i = 0; i < p->count; i++)
		close_fd(&p->list[i].program);
	if (p->first > 2)
		close_fd(&p->first);
}

/* ---- what is said -------------------------------------------------------------------- */

static void hang_up(struct pmi_link *l)
{
	close_fd(&l->outer);
	close_fd(&l->inner);
}

static void send_all(struct pmi_link *l, int to, const char *data, size_t size)
{
	while (size) {
		ssize_t n = send(to, data, size, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			hang_up(l);
			return;
		}
		data += n;
		size -= (size_t)n;
	}
}

/* Bytes, 0 when there is nothing now; hangs up at the end. */
static size_t take(struct pmi_link *l, int from, char *data, size_t size)
{
	ssize_t n = from < 0 ? 0 : recv(from, data, size, MSG_DONTWAIT);

	if (from >= 0 && (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)))
		hang_up(l);
	return n > 0 ? (size_t)n : 0;
}

static void from_rank(struct pmi_link *l)
{
	char data[PIECE];
	size_t n = take(l, l->inner, data, sizeof(data));

	if (!n)
		return;
	if (!l->waits)
		begin_request(l);
	l->waits = true;
	if (!l->broken)
		l->broken = !append(&l->said[l->count - 1], data, n);
	l->again = l->count;
	send_all(l, l->outer, data, n);
}

static void from_slurm(struct pmi_link *l)
{
	char data[PIECE];
	size_t n = take(l, l->outer, data, sizeof(data));

	if (!n)
		return;
	l->waits = false;
	send_all(l, l->inner, data, n);
}

static void tell_again(struct pmi_link *l)
{
	const struct manifest_request *r = &l->said[l->again];

	if (!l->sent) {
		l->sent = true;
		l->answered = 0;
		send_all(l, l->outer, r->text, r->size);
		return;
	}
	l->answered += take(l, l->outer, l->answer + l->answered,
			    sizeof(l->answer) - l->answered);
	if (!whole(l->answer, l->answered) && l->answered < sizeof(l->answer))
		return;
	l->sent = false;
	if (++l->again == l->count && l->deliver) {
		l->waits = l->deliver = false;
		send_all(l, l->inner, l->answer, l->answered);
	}
}

void pmi_pump(struct pmi *p)
{
	for (int i = 0; i < p->count; i++) {
		struct pmi_link *l = &p->list[i];

		if (l->again < l->count) {
			tell_again(l);
		} else {
			from_rank(l);
			from_slurm(l);
		}
	}
}

int pmi_polls(const struct pmi *p, struct pollfd *fds)
{
	int n = 0;

	for (int i = 0; i < p->count; i++) {
		const struct pmi_link *l = &p->list[i];
		bool again = l->again < l->count;

		if (l->outer < 0)
			continue;
		fds[n++] = (struct pollfd){ l->outer,
					    again && !l->sent ? POLLIN | POLLOUT :
								POLLIN, 0 };
		if (!again)
			fds[n++] = (struct pollfd){ l->inner, POLLIN, 0 };
	}
	return n;
}

/* ---- dump and restore ----------------------------------------------------------------- */

const char *pmi_key(const struct pmi *p, int i)
{
	return p->list[i].key;
}

int pmi_program(const struct pmi *p, int task)
{
	for (int i = 0; i < p->count; i++)
		if (p->list[i].task == task)
			return p->list[i].program;
	return -1;
}

/* A copy of the first count. */
static int copy_said(const struct pmi_link *l, size_t count,
		     struct manifest_pmi *to)
{
	if (!(to->said = calloc(count + 1, sizeof(*to->said))))
		return -1;
	for (; to->count < count; to->count++)
		if (!append(&to->said[to->count], l->said[to->count].text,
			    l->said[to->count].size))
			return -1;
	return 0;
}

int pmi_settle(struct pmi *p, struct manifest *m, struct err *e)
{
	if (!(m->pmi = calloc((size_t)p->count + 1, sizeof(*m->pmi))))
		return err_set(e, "no memory for the manifest");
	for (int i = 0; i < p->count; i++) {
		struct pmi_link *l = &p->list[i];
		struct manifest_pmi *to = &m->pmi[m->pmi_count];
		bool again = l->again < l->count;
		size_t count;
		int unread = 0;

		if (l->broken)
			return err_set(e, "task %d has said more to Slurm's PMI than can be told again",
				       l->task);
		if (!again)
			from_rank(l);
		if (l->inner < 0)
			continue; /* it is through with PMI */
		/* An answer that the rank has not read is asked for again. */
		ioctl(l->inner, SIOCOUTQ, &unread);
		to->waits = again ? l->deliver : l->waits || unread;
		count = l->count;
		if (count && !to->waits && only_asks(&l->said[count - 1]))
			count--;
		to->task = l->task;
		memcpy(to->key, l->key, sizeof(to->key));
		m->pmi_count++;
		if (copy_said(l, count, to) < 0)
			return err_set(e, "no memory for the manifest");
	}
	return 0;
}

static int take_said(struct pmi_link *l, const struct manifest_pmi *was)
{
	for (size_t i = 0; i < was->count; i++) {
		begin_request(l);
		if (l->broken || !append(&l->said[l->count - 1],
					 was->said[i].text, was->said[i].size))
			return -1;
	}
	l->again = 0;
	l->deliver = l->waits = was->waits && l->count;
	return 0;
}

int pmi_recall(struct pmi *p, const struct manifest *m, struct err *e)
{
	for (size_t i = 0; i < m->pmi_count; i++)
		for (int k = 0; k < p->count; k++)
			if (p->list[k].task == m->pmi[i].task &&
			    take_said(&p->list[k], &m->pmi[i]) < 0)
				return err_set(e, "no memory for what task %d had said to Slurm's PMI",
					       m->pmi[i].task);
	return 0;
}
