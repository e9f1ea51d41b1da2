/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where the threads of a process have their areas for restartable sequences (rseq(2)), by images that
 * root has sealed. In there is an address that the kernel believes: of instructions where a thread goes on
 * that was interrupted. Criu registers the areas while its tasks have more than the program had.
 *
 * And whose PID the tree's root has: criu believes its parasite of that, in memory that the user can write to
 * (dump_one_task(), criu/cr-dump.c), and the broker knows the root by it (criu/adopt.c, in_trace.c).
 */
#include <stdlib.h>
#include <string.h>

#include "broker.h"

/* images/core.proto, rseq.proto, pstree.proto: numbers of fields */
enum { CORE_THREAD = 5, THREAD_RSEQ = 15, RSEQ_POINTER = 1, PSTREE_PID = 1, PSTREE_PARENT = 2, PSTREE_THREADS = 5 };

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
		if (rc < 0 || (its && numbers_take(entry, PSTREE_THREADS, tids) < 0))
			return -1;
	}
	return rc < 0 || !tids->count ? -1 : 0;
}

/* Are all of the numbers of that field this one, and is it there? -1: it is not understood. */
static int all_are(struct pb m, uint32_t field, uint64_t value)
{
	struct numbers found = { .count = 0 };
	int rc = find_all(m, &field, 1, &found), good = found.count > 0;

	for (size_t i = 0; i < found.count; i++)
		good &= found.list[i] == value;
	free(found.list);
	return rc < 0 ? -1 : good;
}

int pstree_look(const uint8_t *pstree, size_t size, struct err *e)
{
	struct pb entries, entry;
	bool first = true, good = true;
	int rc;

	if (size < MAGICS)
		return err_set(e, "pstree.img is not understood");
	entries = pb_of(pstree + MAGICS, size - MAGICS);
	for (; (rc = pb_message(&entries, &entry)) > 0; first = false) {
		int none = all_are(entry, PSTREE_PARENT, 0), root = all_are(entry, PSTREE_PID, ROOT_PID);

		if (none < 0 || root < 0)
			return err_set(e, "pstree.img is not understood");
		/* The first one, and no other. */
		good &= none == first && root == first;
	}
	if (rc < 0 || first)
		return err_set(e, "pstree.img is not understood");
	return good ? 0 : err_set(e, "an image has another root of the tree than process %d", ROOT_PID);
}
