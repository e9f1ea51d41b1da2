/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Works on a step's directory with the libraries that the step itself uses:
 *
 *   verify DIR            a line for each generation, newest first:
 *                         "2-0 whole" or "2-0: why it is not"; 1 if one is not
 *   claim DIR RUN NODE    "claimed", or why not; 1 then
 *   publish DIR RUN NODE  waits for a line on standard input, then publishes a
 *                         generation without images; "published N", or why not
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "sckpt/store.h"

static const struct image_options options = { .buffer = 8 << 20, .level = 1 };

/* Every image in full, and every block of every pack. */
static int verify_set(const struct store *s, const struct image_set *set,
		      struct err *e)
{
	struct image_reader *r = image_reader_open(s->dir, set, &options, e);
	int rc = r ? 0 : -1, null = open("/dev/null", O_WRONLY | O_CLOEXEC);

	for (size_t i = 0; rc == 0 && i < set->item_count; i++)
		rc = image_reader_copy(r, set->items[i].name, null, e);
	for (size_t i = 0; rc == 0 && i < set->pack_count; i++)
		rc = image_reader_verify_pack(r, i, e);
	image_reader_close(r);
	close(null);
	return rc;
}

static int verify(const struct store *s, struct err *e)
{
	struct generation *list;
	int count = store_generations(s, &list, e), bad = 0;

	for (int i = 0; i < count; i++) {
		char name[GENERATION_NAME_MAX + 1];
		struct manifest m;
		int rc = generation_load(s, list[i], geteuid(), NULL, &m, e);

		if (rc == 0) {
			rc = verify_set(s, &m.set, e);
			manifest_free(&m);
		}
		generation_name(list[i], name);
		if (rc == 0)
			printf("%s whole\n", name);
		else
			printf("%s: %s\n", name, e->text);
		bad |= rc < 0;
	}
	free(list);
	return count < 0 ? -1 : bad;
}

static int publish(const struct store *s, int run, const char *node,
		   struct err *e)
{
	const struct image_options none = { .threads = 1, .buffer = 1 << 20 };
	struct manifest m = { .cluster = "test", .step = "0", .run = run,
			      .uid = geteuid(), .reason = "a test" };
	char prefix[GENERATION_NAME_MAX + 1], line[8];
	struct image_writer *w;
	int rc;

	if (manifest_add_streams(&m, 1, e) < 0)
		return -1;
	snprintf(m.node, sizeof(m.node), "%s", node);
	if ((m.generation = store_next(s, run, e)) < 0)
		return -1;
	generation_name((struct generation){ m.generation, run }, prefix);
	if (!(w = image_writer_open(s->dir, prefix, &none, NULL, 0, e)))
		return -1;
	printf("written\n");
	fflush(stdout);
	if (!fgets(line, sizeof(line), stdin))
		return err_set(e, "there was no word to publish");
	if ((rc = image_writer_finish(w, &m.set, e)) == 0 &&
	    (rc = generation_publish(s, &m, e)) == 0)
		printf("published %d\n", m.generation);
	image_writer_close(w);
	manifest_free(&m);
	return rc;
}

int main(int argc, char *argv[])
{
	struct err e = { "" };
	struct store s;
	int rc = 2;

	if (argc < 3)
		return 2;
	if (store_open_path(argv[2], &s, &e) < 0)
		rc = -1;
	else if (argc == 3 && !strcmp(argv[1], "verify"))
		rc = verify(&s, &e);
	else if (argc == 5 && !strcmp(argv[1], "publish"))
		rc = publish(&s, atoi(argv[3]), argv[4], &e);
	else if (argc == 5 && !strcmp(argv[1], "claim") &&
		 (rc = store_claim(&s, atoi(argv[3]), argv[4], &e)) == 0)
		printf("claimed\n");
	if (*e.text && (rc < 0 || !strcmp(argv[1], "claim")))
		printf("%s\n", e.text);
	return rc < 0 ? 1 : rc;
}
