/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What TCP connections an image makes. Of a frozen tree root has looked at them (look.c), but others may
 * have the same sockets, who are not frozen, and the other end may be theirs: criu has asked for the
 * addresses when it began, and for the state long before that look. So what counts is what it has written.
 */
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "broker.h"

/* images/fdinfo.proto, sk-inet.proto: numbers of fields */
enum { FILE_INET = 4, INET_FAMILY = 3, INET_PROTO = 5, INET_STATE = 6, INET_PORT = 7, INET_ADDRESS = 11, TO_PEERS = 1 };

struct end {
	struct in6_addr address;
	uint64_t port;
};

struct connection {
	struct end here, there;
	bool established;
};

struct connections {
	struct connection *list;
	size_t count;
};

/* A number that has to be there, once. */
static int take_one(struct pb m, uint32_t field, uint64_t *value)
{
	struct numbers n = { .count = 0 };
	int rc = numbers_take(m, field, &n) == 0 && n.count == 1 ? 0 : -1;

	if (rc == 0)
		*value = n.list[0];
	free(n.list);
	return rc;
}

/* In words of 32 bits, as the kernel has them; of an IPv4 address criu takes the first one. */
static int take_address(struct pb m, uint32_t field, uint64_t family, struct in6_addr *address)
{
	struct numbers n = { .count = 0 };
	const bool four = family == AF_INET;
	int rc = numbers_take(m, field, &n) == 0 && (four ? n.count >= 1 : n.count == 4) ? 0 : -1;

	*address = (struct in6_addr){ .s6_addr = { [10] = 0xff, [11] = 0xff } };
	for (size_t i = 0; rc == 0 && i < (four ? 1 : n.count); i++) {
		const uint32_t word = (uint32_t)n.list[i];

		memcpy(address->s6_addr + (four ? 12 : i * sizeof(word)), &word, sizeof(word));
	}
	free(n.list);
	return rc;
}

static int take_end(struct pb m, int which, struct end *end)
{
	uint64_t family;

	return take_one(m, INET_FAMILY, &family) < 0 ||
			       take_one(m, (uint32_t)(INET_PORT + which), &end->port) < 0 ||
			       take_address(m, (uint32_t)(INET_ADDRESS + which), family, &end->address) < 0 ?
		       -1 :
		       0;
}

/* Criu connects what has a port of the other end (tcp_connection(), criu/sk-inet.c). */
static int take_socket(struct pb m, struct connections *all)
{
	struct connection c, *more;
	uint64_t proto, state;

	if (take_one(m, INET_PROTO, &proto) < 0 || take_one(m, INET_STATE, &state) < 0 ||
	    take_end(m, 0, &c.here) < 0 || take_end(m, TO_PEERS, &c.there) < 0)
		return -1;
	if (proto != IPPROTO_TCP || !c.there.port)
		return 0;
	c.established = state == TCP_ESTABLISHED;
	if (!(more = realloc(all->list, (all->count + 1) * sizeof(*more))))
		return -1;
	all->list = more;
	more[all->count++] = c;
	return 0;
}

static int take_all(const uint8_t *files, size_t size, struct connections *all)
{
	struct pb entries, entry;
	int rc;

	if (size < MAGICS)
		return -1;
	entries = pb_of(files + MAGICS, size - MAGICS);
	while ((rc = pb_message(&entries, &entry)) > 0) {
		bool any = false;
		struct pb_field f;

		while ((rc = pb_next(&entry, &f)) > 0) {
			if (f.number != FILE_INET)
				continue;
			/* Of two criu would make one. */
			if (any || f.wire != PB_BYTES || take_socket(pb_of(f.data, (size_t)f.value), all) < 0)
				return -1;
			any = true;
		}
		if (rc < 0)
			return -1;
	}
	return rc;
}

static bool is_loopback(const struct in6_addr *a)
{
	return IN6_IS_ADDR_LOOPBACK(a) || (IN6_IS_ADDR_V4MAPPED(a) && a->s6_addr[12] == 127);
}

static bool same_end(const struct end *a, const struct end *b)
{
	return a->port == b->port && !memcmp(&a->address, &b->address, sizeof(a->address));
}

static bool has_other_end(const struct connections *all, const struct connection *c)
{
	for (size_t i = 0; i < all->count; i++)
		if (same_end(&all->list[i].here, &c->there) && same_end(&all->list[i].there, &c->here))
			return true;
	return false;
}

int connections_look(const uint8_t *files, size_t size, struct err *e)
{
	struct connections all = { .count = 0 };
	int rc = take_all(files, size, &all) < 0 ? err_set(e, "files.img is not understood") : 0;

	for (size_t i = 0; rc == 0 && i < all.count; i++) {
		const struct connection *c = &all.list[i];

		if (!is_loopback(&c->here.address) || !is_loopback(&c->there.address) ||
		    (c->established && !has_other_end(&all, c)))
			rc = err_set(e, "an image has a TCP connection from port %u to port %u out of the job",
				     (unsigned)c->here.port, (unsigned)c->there.port);
	}
	free(all.list);
	return rc;
}
