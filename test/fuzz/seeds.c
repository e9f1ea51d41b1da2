/* SPDX-License-Identifier: GPL-2.0-or-later */
/* seeds DIR: makes the corpus that the fuzzers begin with, of real files. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sckpt/store.h"

#include "meta.h"
#include "pack.h"
#include "set_input.h"

static int save(const char *dir, const char *name, const void *data, size_t size)
{
	char path[4096];
	int fd, rc;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	*strrchr(path, '/') = '\0';
	if (mkdir(path, 0755) < 0 && errno != EEXIST)
		return -1;
	path[strlen(path)] = '/';
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
	rc = fd < 0 ? -1 : file_write(fd, data, size, NULL);
	close(fd);
	return rc;
}

static int write_images(int dir, struct image_set *set, struct err *e)
{
	const struct image_options options = { .threads = 1, .buffer = 1 << 20, .level = 1 };
	static const char *const names[] = { "core-1.img", "pages-1.img" };
	struct image_writer *w = image_writer_open(dir, "1-0", &options, NULL, 0, e);
	struct image_sink sink;
	/* More than one block. */
	static char data[(BLOCK_PAGES + 3) * IMAGE_PAGE];
	int rc = w ? 0 : -1;

	if (w)
		sink = image_writer_sink(w);
	for (int i = 0; rc == 0 && i < 2; i++) {
		int p[2], handle = sink.open(sink.arg, names[i], e);

		for (size_t n = 0; n < sizeof(data) - IMAGE_PAGE; n++)
			data[n] = (char)(n / IMAGE_PAGE + 1);
		if (handle < 0 || pipe2(p, O_NONBLOCK) < 0 ||
		    fcntl(p[1], F_SETPIPE_SZ, 1 << 20) < 0 ||
		    file_write(p[1], data, i ? sizeof(data) : 20, e) < 0)
			return -1;
		close(p[1]);
		while ((rc = sink.pour(sink.arg, handle, p[0], e)) == 1)
			;
		close(p[0]);
		if (rc == 0)
			rc = sink.close(sink.arg, handle, e);
	}
	if (rc == 0)
		rc = image_writer_finish(w, set, e);
	image_writer_close(w);
	return rc;
}

/* The pack and the meta file that the manifest names. */
static int save_set(const char *to, const char *pack, size_t size,
		    const char *meta, size_t meta_size,
		    const struct image_pack *p)
{
	struct set_input in = { .flags = SET_MEND | SET_PACKED,
				.blocks = (uint8_t)p->blocks,
				.pages = (uint8_t)p->pages,
				.pack_size = (uint16_t)size };
	char all[65536];

	memcpy(all, &in, sizeof(in));
	memcpy(all + sizeof(in), pack, size);
	memcpy(all + sizeof(in) + size, meta, meta_size);
	return save(to, "set/real", all, sizeof(in) + size + meta_size);
}

/* Many pages stored as they are, and page lists in any order. */
static int save_stored(const char *to, const char *name, uint8_t flags,
		       uint8_t core)
{
	struct __attribute__((packed)) {
		struct set_input in;
		struct pack_header header;
		struct pack_block block;
		struct page_digest digests[24];
		uint8_t core[SET_CORE];
		struct meta_run runs[5];
	} seed = {
		.in = { flags, 1, 24, 24, 0 },
		.header = { PACK_MAGIC, PACK_VERSION, IMAGE_PAGE },
		.block = { sizeof(seed.header), 24 * IMAGE_PAGE, 24, BLOCK_STORED, 0, 0 },
		.core = { core },
		.runs = { { 0, 0, 24 }, { META_ZERO, 0, flags & SET_TWO ? 300 : 3 }, { 0, 9, 2 },
			  { 0, 1, 5 }, { flags & SET_TWO ? 1 : 0, 0, 24 } },
	};

	seed.in.pack_size = sizeof(seed.header) + sizeof(seed.block) +
			    sizeof(seed.digests);
	return save(to, name, &seed, sizeof(seed));
}

int main(int argc, char *argv[])
{
	struct manifest m = { .cluster = "c", .step = "batch", .job = 7,
			      .generation = 1, .command = "x", .node = "n" };
	struct manifest_process p = { 1000, 1, 4096, "sh", (char *)"sh", (char *)"/a\n/b" };
	static struct manifest_stream streams[TASK_STREAMS];
	struct manifest_request said = { (char *)"cmd=init\n", 9 };
	struct manifest_pmi pmi = { .key = "socket:[7]", .said = &said, .count = 1 };
	struct err e = { "" };
	static const uint8_t serve[] = { 0, 9, 5, 0, 0, 0, 0x0a, 3, 'a', '.', 'b',
					 0x41, 0 };
	static const uint8_t capture[] = { 1, 9, 5, 0, 0, 0, 0x0a, 3, 'a', '.',
					   'b', 0x41, 0, 9, 5, 0, 0, 0, 0x0a, 3,
					   'c', '.', 'd', 0x41, 0 };
	cleanup_free char *text = NULL, *pack = NULL, *meta = NULL;
	ssize_t n, k;
	int dir = argc == 2 ? open(argv[1], O_RDONLY | O_DIRECTORY) : -1;

	if (dir < 0 || write_images(dir, &m.set, &e) < 0) {
		fprintf(stderr, "seeds DIR: %s\n", e.text);
		return 1;
	}
	m.streams = streams;
	m.stream_count = TASK_STREAMS;
	m.pmi = &pmi;
	m.pmi_count = 1;
	m.processes = &p;
	m.process_count = 1;
	n = file_read(dir, m.set.packs[0].name, 30000, &pack, &e);
	k = file_read(dir, m.set.meta, 30000, &meta, &e);
	text = manifest_text(&m, &e);
	if (n < 0 || k < 0 || !text)
		return 1;
	if (save(argv[1], "manifest/real", text, strlen(text)) < 0 ||
	    save_set(argv[1], pack, (size_t)n, meta, (size_t)k, m.set.packs) < 0 ||
	    save_stored(argv[1], "set/copied", SET_MEND, 0) < 0 ||
	    save_stored(argv[1], "set/served", SET_MEND | SET_SERVE, 0) < 0 ||
	    save_stored(argv[1], "set/threads",
			SET_MEND | SET_SERVE | SET_TWO | SET_SHORT, 0) < 0 ||
	    save_stored(argv[1], "set/left", SET_MEND | SET_SERVE | SET_LEAVE, 0) < 0 ||
	    save(argv[1], "stream/serve", serve, sizeof(serve)) < 0 ||
	    save(argv[1], "stream/capture", capture, sizeof(capture)) < 0)
		return 1;
	for (int i = 0; i < 8; i++) {
		char name[16];

		snprintf(name, sizeof(name), "set/lie%d", i);
		if (save_stored(argv[1], name, SET_MEND | SET_LIE, (uint8_t)i) < 0)
			return 1;
	}
	unlinkat(dir, m.set.packs[0].name, 0);
	unlinkat(dir, m.set.meta, 0);
	image_set_free(&m.set);
	return 0;
}
