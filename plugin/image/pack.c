/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Pack files. What has been written is sent on to the disk as it comes, so that
 * the fsync in the end finds little to do, and does not stay in memory: it is
 * as large as the program, and is read on another node if at all.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "memory.h"
#include "pack.h"

#define WRITE_SIZE (1U << 20)
/* Sent on to the disk in such pieces. */
#define SEND_SIZE (8U << 20)

struct pack_writer {
	int fd;
	char name[IMAGE_FILE_MAX + 1];
	uint8_t *buf;
	size_t fill;
	uint64_t flushed; /* bytes of the file before buf */
	uint64_t sent, waited; /* of which these were sent on, and arrived */
	int64_t began, busy; /* ns: this write, and those since the last sending */
	double ns; /* a byte took lately */
	struct pack_block *blocks;
	size_t block_count, block_room;
	uint32_t pages;
	struct sha256 *index;
};

/* Where the kernel or the file system knows nothing of it, fsync does it all. */
static int sync_range(const struct pack_writer *p, uint64_t from, uint64_t to,
		      unsigned flags, struct err *e)
{
	if (sync_file_range(p->fd, (off_t)from, (off_t)(to - from), flags) == 0 ||
	    errno == ENOSYS || errno == EINVAL || errno == ESPIPE)
		return 0;
	return err_sys(e, "cannot write %s", p->name);
}

/*
 * Sends what is new on to the disk, and waits for what was sent before: little
 * is left for fsync to do, little memory is dirty, and how fast the disk is can
 * be told. The kernel tells an error once: what this hears of, fsync does not.
 */
static int send_on(struct pack_writer *p, struct err *e)
{
	int64_t now;

	if (p->sent > p->waited &&
	    sync_range(p, p->waited, p->sent,
		       SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE |
			       SYNC_FILE_RANGE_WAIT_AFTER,
		       e) < 0)
		return -1;
	p->waited = p->sent;
	if (sync_range(p, p->sent, p->flushed, SYNC_FILE_RANGE_WRITE, e) < 0)
		return -1;
	p->sent = p->flushed;
	now = clock_ns(CLOCK_MONOTONIC);
	p->ns = (double)(p->busy + now - p->began) / (double)SEND_SIZE;
	p->busy = 0;
	p->began = now;
	return 0;
}

static int write_out(struct pack_writer *p, struct err *e)
{
	size_t done = 0;

	p->began = clock_ns(CLOCK_MONOTONIC);
	while (done < p->fill) {
		ssize_t n = pwrite(p->fd, p->buf + done, p->fill - done,
				   (off_t)(p->flushed + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return err_sys(e, "cannot write %s", p->name);
		done += (size_t)n;
	}
	p->flushed += p->fill;
	p->fill = 0;
	if (p->flushed - p->sent >= SEND_SIZE && send_on(p, e) < 0)
		return -1;
	p->busy += clock_ns(CLOCK_MONOTONIC) - p->began;
	return 0;
}

double pack_store_ns(const struct pack_writer *p)
{
	return p->ns;
}

static int put(struct pack_writer *p, const void *data, size_t size,
	       struct err *e)
{
	const uint8_t *from = data;

	while (size > 0) {
		size_t n = WRITE_SIZE - p->fill < size ? WRITE_SIZE - p->fill :
							 size;

		memcpy(p->buf + p->fill, from, n);
		p->fill += n;
		from += n;
		size -= n;
		if (p->fill == WRITE_SIZE && write_out(p, e) < 0)
			return -1;
	}
	return 0;
}

struct pack_writer *pack_create(int dir, const char *name, struct err *e)
{
	struct pack_header header = { .version = PACK_VERSION, .page = IMAGE_PAGE };
	struct pack_writer *p = calloc(1, sizeof(*p));

	if (!p) {
		err_set(e, "no memory for a pack");
		return NULL;
	}
	memcpy(header.magic, PACK_MAGIC, sizeof(header.magic));
	p->fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (p->fd < 0) {
		err_sys(e, "cannot make %s", name);
		goto fail;
	}
	snprintf(p->name, sizeof(p->name), "%s", name);
	if (!(p->buf = memory_get(WRITE_SIZE))) {
		err_set(e, "no memory for a pack");
		goto fail;
	}
	if (put(p, &header, sizeof(header), e) < 0)
		goto fail;
	return p;
fail:
	pack_close(p);
	return NULL;
}

void pack_close(struct pack_writer *p)
{
	uint8_t unused[IMAGE_SHA256];

	if (!p)
		return;
	if (p->fd >= 0)
		close(p->fd);
	if (p->index)
		sha256_end(p->index, unused);
	free(p->blocks);
	memory_put(p->buf, WRITE_SIZE);
	free(p);
}

uint64_t pack_size(const struct pack_writer *p)
{
	return p->flushed + p->fill;
}

int pack_append(struct pack_writer *p, enum block_method method,
		const void *data, size_t size, unsigned pages, struct err *e)
{
	struct pack_block *b;

	if (p->block_count == p->block_room) {
		size_t room = p->block_room ? p->block_room * 2 : 256;

		if (!(b = realloc(p->blocks, room * sizeof(*b))))
			return err_set(e, "no memory for a pack's index");
		p->blocks = b;
		p->block_room = room;
	}
	b = &p->blocks[p->block_count++];
	*b = (struct pack_block){ .offset = pack_size(p),
				  .stored = (uint32_t)size,
				  .pages = (uint16_t)pages,
				  .method = (uint8_t)method,
				  .check = method == BLOCK_STORED ?
						   0 :
						   bytes_check(data, size) };
	p->pages += pages;
	return put(p, data, size, e);
}

static int put_index(struct pack_writer *p, const void *data, size_t size,
		     struct err *e)
{
	sha256_add(p->index, data, size);
	return put(p, data, size, e);
}

int pack_finish(struct pack_writer *p,
		struct page_digest (*digest)(void *arg, uint32_t n), void *arg,
		struct image_pack *out, struct err *e)
{
	/* The index' numbers are to be aligned in the file, too. */
	const uint8_t zero[8] = { 0 };
	size_t pad = (8 - pack_size(p) % 8) % 8;

	*out = (struct image_pack){ .blocks = (uint32_t)p->block_count,
				    .pages = p->pages };
	snprintf(out->name, sizeof(out->name), "%s", p->name);
	if (!(p->index = sha256_open(e)) || put(p, zero, pad, e) < 0)
		return -1;
	out->data = pack_size(p);
	if (put_index(p, p->blocks, p->block_count * sizeof(*p->blocks), e) < 0)
		return -1;
	for (uint32_t i = 0; i < p->pages; i++) {
		struct page_digest d = digest(arg, i);

		if (put_index(p, &d, sizeof(d), e) < 0)
			return -1;
	}
	sha256_end(p->index, out->sha256);
	p->index = NULL;
	out->size = pack_size(p);
	if (write_out(p, e) < 0)
		return -1;
	if (fsync(p->fd) < 0)
		return err_sys(e, "cannot write %s", p->name);
	posix_fadvise(p->fd, 0, 0, POSIX_FADV_DONTNEED);
	return 0;
}

/* ---- reading ------------------------------------------------------------- */

/* Is every block where and as large as it can be? Who reads blocks later need
 * not ask again. */
static int check_blocks(struct pack_reader *p, struct err *e)
{
	uint64_t end = sizeof(struct pack_header), pages = 0;

	p->first = malloc(((size_t)p->pack.blocks + 1) * sizeof(*p->first));
	if (!p->first)
		return err_set(e, "no memory for a pack's index");
	for (uint32_t i = 0; i < p->pack.blocks; i++) {
		const struct pack_block *b = &p->blocks[i];

		if (b->offset != end || !b->stored ||
		    b->stored > 2 * BLOCK_SIZE || !b->pages ||
		    b->pages > BLOCK_PAGES)
			return err_set(e, "the index of %s makes no sense",
				       p->pack.name);
		p->first[i] = (uint32_t)pages;
		pages += b->pages;
		end = b->offset + b->stored;
	}
	p->first[p->pack.blocks] = (uint32_t)pages;
	if (pages != p->pack.pages || (end + 7) / 8 * 8 != p->pack.data)
		return err_set(e, "the index of %s makes no sense", p->pack.name);
	return 0;
}

/* What lies between the blocks and the index. */
static int check_padding(const struct pack_reader *p, struct err *e)
{
	const struct pack_block *b = p->blocks;
	uint32_t n = p->pack.blocks;
	uint64_t end = n ? b[n - 1].offset + b[n - 1].stored :
			   sizeof(struct pack_header);
	uint8_t pad[8] = { 0 };
	size_t size = (size_t)(p->pack.data - end);

	if (pread(p->fd, pad, size, (off_t)end) != (ssize_t)size)
		return err_sys(e, "cannot read %s", p->pack.name);
	for (size_t i = 0; i < size; i++)
		if (pad[i])
			return err_set(e, "%s is damaged before its index",
				       p->pack.name);
	return 0;
}

int pack_read(const struct pack_reader *p, uint64_t offset, size_t size,
	      void *to, struct err *e)
{
	size_t done = 0;

	while (done < size) {
		ssize_t n = pread(p->fd, (uint8_t *)to + done, size - done,
				  (off_t)(offset + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(e, "cannot read %s", p->pack.name);
		if (n == 0)
			return err_set(e, "%s ends early", p->pack.name);
		done += (size_t)n;
	}
	return 0;
}

/* Read and not mapped: a mapping of a file that can fail is a SIGBUS. */
static int read_index(struct pack_reader *p, struct err *e)
{
	uint64_t blocks = p->pack.blocks * (uint64_t)sizeof(*p->blocks);
	uint64_t digests = p->pack.pages * (uint64_t)sizeof(*p->digests);
	size_t size = (size_t)(blocks + digests);
	uint8_t sha[IMAGE_SHA256];

	if (p->pack.data % 8 || p->pack.data > p->pack.size ||
	    p->pack.size - p->pack.data != blocks + digests)
		return err_set(e, "%s has another size than its index needs",
			       p->pack.name);
	p->index_size = size;
	if (size && !(p->index = memory_get(size)))
		return err_set(e, "no memory for the index of %s", p->pack.name);
	if (pack_read(p, p->pack.data, size, p->index, e) < 0)
		return -1;
	image_sha256(p->index, size, sha);
	if (memcmp(sha, p->pack.sha256, sizeof(sha)))
		return err_set(e, "the index of %s is damaged: its digest is another one",
			       p->pack.name);
	p->blocks = p->index;
	p->digests = p->index ? (const void *)((const uint8_t *)p->index + blocks) :
				NULL;
	return 0;
}

int pack_open(int dir, const struct image_pack *pack, struct pack_reader *p,
	      struct err *e)
{
	const int flags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC;
	struct pack_header header;
	cleanup_fd int plain = openat(dir, pack->name, flags);
	struct stat st;

	*p = (struct pack_reader){ .fd = -1, .pack = *pack };
	if (plain < 0)
		return err_sys(e, "%s is missing", pack->name);
	if (fstat(plain, &st) < 0 || !S_ISREG(st.st_mode) ||
	    (uint64_t)st.st_size != pack->size)
		return err_set(e, "%s has %jd bytes, and %ju were written",
			       pack->name, (intmax_t)st.st_size,
			       (uintmax_t)pack->size);
	if (pread(plain, &header, sizeof(header), 0) != sizeof(header) ||
	    memcmp(header.magic, PACK_MAGIC, sizeof(header.magic))) {
		err_set(e, "%s does not begin as a pack of sckpt's", p->pack.name);
		goto fail;
	}
	if (header.version != PACK_VERSION || header.page != IMAGE_PAGE) {
		err_set(e, "%s is of format %u, and this sckpt reads format %u: use the sckpt that wrote it",
			p->pack.name, header.version, PACK_VERSION);
		goto fail;
	}
	p->fd = steal_fd(&plain);
	if (read_index(p, e) < 0 || check_blocks(p, e) < 0 ||
	    check_padding(p, e) < 0)
		goto fail;
	posix_fadvise(p->fd, 0, 0, POSIX_FADV_SEQUENTIAL);
	return 0;
fail:
	pack_reader_close(p);
	return -1;
}

void pack_reader_close(struct pack_reader *p)
{
	memory_put(p->index, p->index_size);
	if (p->fd >= 0)
		close(p->fd);
	free(p->first);
	*p = (struct pack_reader){ .fd = -1 };
}

uint32_t pack_block_of(const struct pack_reader *p, uint32_t page)
{
	uint32_t low = 0, high = p->pack.blocks;

	while (high - low > 1) {
		uint32_t middle = low + (high - low) / 2;

		if (p->first[middle] <= page)
			low = middle;
		else
			high = middle;
	}
	return low;
}
