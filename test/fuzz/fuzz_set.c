/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A pack and a meta file of the fuzzer's. What the manifest says of them is
 * made to fit, and so are the digests when it likes, so that all that lies
 * behind those is reached. What the commands' way out gives, criu's threads
 * must give too.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <sanitizer/asan_interface.h>
#include <zstd.h>

#include "set_input.h"

#include "memory.h"
#include "meta.h"
#include "pack.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* So many pages of zeros in a page list cost time and show nothing. */
#define PAGES_MOST 600U

/*
 * In place of mappings: the heap, where the sanitizer sees what goes too far.
 * Large ones, which are slow to get, are kept from one run to the next, and are
 * out of bounds in between.
 */
#define LARGE (128U << 10)
static struct { void *memory; size_t size; bool free; } kept[64];

void *memory_get(size_t size)
{
	size_t i = 0;

	if (size < LARGE)
		return malloc(size);
	while (kept[i].memory && !(kept[i].free && kept[i].size == size))
		i++;
	if (!kept[i].memory) {
		kept[i].memory = malloc(size);
		kept[i].size = size;
	}
	kept[i].free = false;
	ASAN_UNPOISON_MEMORY_REGION(kept[i].memory, size);
	return kept[i].memory;
}

void memory_put(void *memory, size_t size)
{
	size_t i = 0;

	if (!memory || size < LARGE) {
		free(memory);
		return;
	}
	while (kept[i].memory != memory)
		i++;
	kept[i].free = true;
	ASAN_POISON_MEMORY_REGION(memory, size);
}

void *memory_reserve(size_t size)
{
	return memory_get(size);
}

void memory_populate(void *memory, size_t size)
{
	(void)memory;
	(void)size;
}

static int put(int dir, const char *name, const void *data, size_t size)
{
	/* Pages that are there already are the quickest. */
	int fd = openat(dir, name, O_WRONLY | O_CREAT, 0600);
	int rc = fd >= 0 && write(fd, data, size) == (ssize_t)size &&
				 ftruncate(fd, (off_t)size) == 0 ?
			 0 :
			 -1;

	close(fd);
	return rc;
}

/* The pages of a block, if it can be unpacked. */
static const uint8_t *pages_of(const struct pack_block *b, const uint8_t *from)
{
	static uint8_t pages[BLOCK_SIZE];
	size_t size = b->pages * (size_t)IMAGE_PAGE;

	if (b->method == BLOCK_STORED)
		return b->stored == size ? from : NULL;
	return size <= sizeof(pages) &&
			       ZSTD_decompress(pages, size, from, b->stored) == size ?
		       pages :
		       NULL;
}

/* Digests as a writer would have made them, where there is something to make
 * them of. */
static void mend(uint8_t *pack, const struct image_pack *p,
		 const struct page_key *key)
{
	uint8_t *blocks = pack + p->data;
	uint8_t *digests = blocks + p->blocks * sizeof(struct pack_block);

	for (uint32_t i = 0, n = 0; i < p->blocks; i++) {
		struct pack_block b;
		const uint8_t *pages;

		memcpy(&b, blocks + i * sizeof(b), sizeof(b));
		if (b.offset > p->data || b.stored > p->data - b.offset)
			return;
		pages = pages_of(&b, pack + b.offset);
		if (b.method == BLOCK_ZSTD)
			b.check = bytes_check(pack + b.offset, b.stored);
		memcpy(blocks + i * sizeof(b), &b, sizeof(b));
		for (uint32_t at = 0; at < b.pages && n < p->pages; at++, n++) {
			struct page_digest d;

			if (!pages)
				continue;
			d = page_digest(key, pages + at * IMAGE_PAGE);
			memcpy(digests + n * sizeof(d), &d, sizeof(d));
		}
	}
}

static int put_pack(int dir, const struct set_input *in, const uint8_t *data,
		    size_t size, struct image_pack *p)
{
	static uint8_t pack[1 << 18];
	size_t head = size < sizeof(struct pack_header) ?
			      size :
			      sizeof(struct pack_header);
	size_t fill = in->fill % 33U * (size_t)IMAGE_PAGE;
	static const uint8_t seed[IMAGE_SEED]; /* the set's */
	struct page_key key;

	page_key_make(seed, &key);
	memcpy(pack, data, head);
	for (size_t i = 0; i < fill; i++)
		pack[head + i] = SET_FILL(i);
	memcpy(pack + head + fill, data + head, size - head);
	snprintf(p->name, sizeof(p->name), "1-0.0.pack");
	p->size = size + fill;
	p->blocks = in->blocks;
	p->pages = in->pages;
	p->data = p->size - (p->blocks * sizeof(struct pack_block) +
			     p->pages * sizeof(struct page_digest));
	if (p->data > p->size)
		p->data = in->pages;
	else if (in->flags & SET_MEND)
		mend(pack, p, &key);
	image_sha256(pack + p->data, p->size > p->data ? p->size - p->data : 0,
		     p->sha256);
	return put(dir, p->name, pack, p->size);
}

static int put_meta(int dir, const struct set_input *in, const uint8_t *data,
		    size_t size, struct image_set *set)
{
	static uint8_t packed[ZSTD_COMPRESSBOUND(65536)], meta[65536];
	struct image_item *core = &set->items[0], *bulk = &set->items[1];
	uint64_t pages = 0;
	size_t n;

	if (in->flags & SET_PACKED) {
		memcpy(packed, data, size);
	} else {
		size = ZSTD_compress(packed, sizeof(packed), data, size, 1);
		if (ZSTD_isError(size))
			return -1;
	}
	n = ZSTD_decompress(meta, sizeof(meta), packed, size);
	if (ZSTD_isError(n))
		n = 64;
	snprintf(set->meta, sizeof(set->meta), "1-0.meta");
	set->meta_size = size;
	set->meta_length = n;
	image_sha256(packed, size, set->meta_sha256);
	/* The first bytes are metadata, the rest is a page list. */
	core->length = core->size = n < SET_CORE ? n : SET_CORE;
	bulk->offset = core->length;
	bulk->length = n - bulk->offset;
	if (!(in->flags & SET_RAGGED))
		bulk->length -= bulk->length % sizeof(struct meta_run);
	for (size_t at = 0; at + sizeof(struct meta_run) <= bulk->length;
	     at += sizeof(struct meta_run)) {
		struct meta_run run;

		memcpy(&run, meta + bulk->offset + at, sizeof(run));
		pages += run.count;
	}
	bulk->size = pages > PAGES_MOST ? 0 : pages * IMAGE_PAGE;
	/* The last page of a file need not be full. */
	if (in->flags & SET_SHORT && bulk->size > 0)
		bulk->size -= in->pages;
	for (int i = 0; i < 2; i++)
		image_sha256(meta + set->items[i].offset,
			     (size_t)set->items[i].length, set->items[i].sha256);
	return put(dir, set->meta, packed, size);
}

/* The manifest is about other files than those that are there. */
static void lie(struct image_set *set, unsigned what)
{
	switch (what % 8) {
	case 0:
		set->meta_sha256[0] ^= 1;
		break;
	case 1:
		set->meta_size++;
		break;
	case 2:
		set->meta_size--;
		break;
	case 3:
		set->items[0].sha256[31] ^= 1;
		break;
	case 4:
		set->meta_length = META_MAX + 1;
		break;
	case 5:
		set->packs[0].size++;
		break;
	case 6:
		set->packs[0].sha256[0] ^= 1;
		break;
	case 7:
		strcpy(set->packs[0].name, "missing");
	}
}

/* An image by the commands' way, in memory; -1 as image_reader_copy(). */
static ssize_t copy(struct image_reader *r, const char *name, int to,
		    struct err *e)
{
	if (lseek(to, 0, SEEK_SET) < 0 ||
	    image_reader_copy(r, name, to, e) < 0)
		return -1;
	return lseek(to, 0, SEEK_CUR);
}

/* Takes what is in the pipe; it has to be what the copy, if any, has there. */
static size_t drain(int pipe, int copied, size_t at)
{
	static char got[65536], want[65536];
	ssize_t n;

	while ((n = read(pipe, got, sizeof(got))) > 0) {
		if (copied >= 0 &&
		    (pread(copied, want, (size_t)n, (off_t)at) != n ||
		     memcmp(got, want, (size_t)n)))
			__builtin_trap();
		at += (size_t)n;
	}
	return at;
}

/* Criu's way. size: what the other way gave, -1: it refused. */
static void serve(struct image_reader *r, const char *name, int copied,
		  ssize_t size, bool leave)
{
	struct image_source source = image_reader_source(r);
	struct err e = { "" };
	int p[2], handle, rc;
	size_t at = 0;

	if (source.open(source.arg, "no-such.img", &e) != -2)
		__builtin_trap();
	if ((handle = source.open(source.arg, name, &e)) < 0 ||
	    pipe2(p, O_NONBLOCK | O_CLOEXEC) < 0)
		__builtin_trap();
	/* As stream.c has it: a piece must fit. */
	if (fcntl(p[1], F_SETPIPE_SZ, 1 << 20) < 0)
		__builtin_trap();
	if (leave) /* criu closes its end before it has all */
		close(p[0]);
	do {
		rc = source.pour(source.arg, handle, p[1], &e);
		if (!leave)
			at = drain(p[0], size < 0 ? -1 : copied, at);
	} while (rc == 1);
	if (rc < 0 && !*e.text)
		__builtin_trap();
	if (!leave && (rc == 0) != (size >= 0 && at == (size_t)size))
		__builtin_trap();
	source.close(source.arg, handle);
	if (!leave)
		close(p[0]);
	close(p[1]);
}

static void use(struct image_reader *r, const struct image_set *set,
		const struct set_input *in)
{
	static int out = -1;
	struct err e = { "" };

	if (out < 0)
		out = memfd_create("out", MFD_CLOEXEC);
	for (size_t i = 0; i < set->pack_count; i++)
		if (image_reader_verify_pack(r, i, &e) < 0 && !*e.text)
			__builtin_trap();
	for (size_t i = 0; i < set->item_count; i++) {
		ssize_t n = copy(r, set->items[i].name, out, &e);

		if (n < 0 && !*e.text)
			__builtin_trap();
		if (n >= 0 && (uint64_t)n != set->items[i].size)
			__builtin_trap();
		if (in->flags & SET_SERVE)
			serve(r, set->items[i].name, out, n,
			      in->flags & SET_LEAVE);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char dir_name[] = "/dev/shm/sckpt-fuzz-XXXXXX";
	static int dir = -1;
	struct image_options options = { .threads = 1, .buffer = 1 << 20 };
	struct image_item items[2] = { { .name = "core-1.img" },
				       { .name = "pages-1.img", .bulk = true } };
	struct image_pack packs[2] = { { .size = 0 } };
	struct image_set set = { .items = items, .item_count = 2,
				 .packs = packs, .pack_count = 1 };
	struct image_reader *r;
	struct set_input in;
	struct err e = { "" };
	size_t pack_size;

	if (dir < 0) {
		if (!mkdtemp(dir_name))
			return 0;
		dir = open(dir_name, O_RDONLY | O_DIRECTORY);
		signal(SIGPIPE, SIG_IGN);
	}
	if (size < sizeof(in) || size > 65536)
		return 0;
	memcpy(&in, data, sizeof(in));
	data += sizeof(in);
	size -= sizeof(in);
	pack_size = in.pack_size < size ? in.pack_size : size;
	if (put_pack(dir, &in, data, pack_size, &packs[0]) < 0 ||
	    put_meta(dir, &in, data + pack_size, size - pack_size, &set) < 0)
		return 0;
	if (in.flags & SET_TWO) {
		packs[1] = packs[0];
		set.pack_count = 2;
		options.threads = 2;
		options.buffer = 16 << 20;
	}
	if (in.flags & SET_LIE)
		lie(&set, pack_size < size ? data[pack_size] : 0);
	if ((r = image_reader_open(dir, &set, &options, &e)))
		use(r, &set, &in);
	else if (!*e.text)
		__builtin_trap();
	image_reader_close(r);
	return 0;
}
