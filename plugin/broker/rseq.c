/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where the threads of a process have their areas for restartable sequences (rseq(2)), by images that
 * root has sealed. In there is an address that the kernel believes: of instructions where a thread goes on
 * that was interrupted. Criu registers the areas while its tasks have more than the program had.
 */
#include <stdlib.h>
#include <string.h>

#include "broker.h"

/* images/core.proto, rseq.proto, pstree.proto: numbers of fields */
enum { CORE_THREAD = 5, THREAD_RSEQ = 15, RSEQ_POINTER = 1, PSTREE_PID = 1, PSTREE_THREADS = 5 };

int numbers_add(struct numbers *n, uint64_t value)
{
	uint64_t *more = realloc(n->list, (n->count + 1) * sizeof(*more));

	if (!more)
		return -1;
	n->list = more;
	more[n->count++] = value;
	return 0;
}

/* Whatever criu makes of a field that is there twice, it is one of these. */
static int find_all(struct pb m, const uint32_t *path, size_t depth, struct numbers *found)
{
	struct pb_field f;
	int rc;

	while ((rc = pb_next(&m, &f)) > 0) {
		if (f.number != path[0])
			continue;
		if (f.wire != (depth > 1 ? PB_BYTES : PB_VARINT) ||
		    (depth > 1 ? find_all(pb_of(f.data, (size_t)f.value), path + 1, depth - 1, found) :
				 numbers_add(found, f.value)) < 0)
			return -1;
	}
	return rc;
}

int rseq_areas(const uint8_t *core, size_t size, struct numbers *areas)
{
	static const uint32_t path[] = { CORE_THREAD, THREAD_RSEQ, RSEQ_POINTER };
	struct pb entries, entry;
	int rc;

	if (size < MAGICS)
		return -1;
	entries = pb_of(core + MAGICS, size - MAGICS);
	while ((rc = pb_message(&entries, &entry)) > 0)
		if (find_all(entry, path, 3, areas) < 0)
			return -1;
	return rc;
}

/* Repeated numbers, packed or not. */
static int take_threads(struct pb m, struct numbers *tids)
{
	struct pb_field f;
	uint64_t tid;
	int rc;

	while ((rc = pb_next(&m, &f)) > 0) {
		struct pb packed;

		if (f.number != PSTREE_THREADS)
			continue;
		if (f.wire == PB_VARINT && numbers_add(tids, f.value) == 0)
			continue;
		if (f.wire != PB_BYTES)
			return -1;
		packed = pb_of(f.data, (size_t)f.value);
		while ((rc = pb_number(&packed, &tid)) > 0)
			if (numbers_add(tids, tid) < 0)
				return -1;
		if (rc < 0)
			return -1;
	}
	return rc;
}

int rseq_threads(const uint8_t *pstree, size_t size, uint32_t pid, struct numbers *tids)
{
	static const uint32_t path[] = { PSTREE_PID };
	struct pb entries, entry;
	int rc;

	if (size < MAGICS)
		return -1;
	entries = pb_of(pstree + MAGICS, size - MAGICS);
	while ((rc = pb_message(&entries, &entry)) > 0) {
		struct numbers pids = { .count = 0 };
		bool its = false;

		rc = find_all(entry, path, 1, &pids);
		for (size_t i = 0; i < pids.count; i++)
			its |= pids.list[i] == pid;
		free(pids.list);
		if (rc < 0 || (its && take_threads(entry, tids) < 0))
			return -1;
	}
	return rc < 0 || !tids->count ? -1 : 0;
}
