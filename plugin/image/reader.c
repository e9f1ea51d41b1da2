/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Giving criu its images. A bulk image that criu has opened is a feed: its
 * next pieces are read, unpacked and checked by threads ahead of time, and
 * handed to criu in order by the caller's thread. Every feed has room for at
 * least one piece of its own, so that criu's processes, which read in any
 * order, never wait for each other.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "memory.h"
#include "meta.h"
#include "pack.h"
#include "threads.h"

#define PIECE_PAGES 256U
#define PIECE_SIZE (PIECE_PAGES * IMAGE_PAGE)
#define PIECES_MOST 8U
/* Memory of pieces that is kept for the next image: to be given new memory, and to touch it,
 * takes longer than to fill it, and a tree of many processes has many images. */
#define SPARE_MOST (4 * PIECES_MOST)
/* Blocks that lie behind one another are read at once, up to this size. */
#define READ_SIZE (1U << 20)
/* One block may be larger than its pages. */
#define READ_ROOM (READ_SIZE + 2 * BLOCK_SIZE)
/* So many pages in a row are read straight to where they belong. */
#define PLAIN_LEAST 16U

/* ---- unpacking one piece, in any thread ----------------------------------- */

struct unpacker {
	const struct image_reader *r;
	struct block_coder *coder;
	uint8_t *read, *block;
};

/* A page that is wanted, and where. */
struct want {
	uint32_t pack, page, block;
	uint32_t out; /* page number in the piece */
};

struct piece {
	struct piece *next;
	struct feed *feed;
	enum { IDLE, QUEUED, RUNNING, READY, GIVEN } state;
	struct meta_run runs[PIECE_PAGES];
	unsigned run_count;
	uint8_t *data;
	size_t size, sent;
	uint64_t begin; /* where in the image it begins */
	bool put; /* it is where it belongs already */
	bool touched; /* its memory is there */
};

/* Where bytes [begin, end) of an image belong: at `to` in the memory of a process. */
struct target {
	pid_t pid; /* 0: nowhere */
	uint64_t to, begin, end;
};

struct feed {
	const struct image_item *item;
	uint64_t pos; /* metadata: bytes handed over */
	const struct meta_run *runs; /* bulk: its page list */
	size_t run_count, run_at;
	uint32_t run_used; /* pages of runs[run_at] that pieces have */
	uint64_t left; /* bytes no piece has yet */
	struct target target;
	struct piece *pieces;
	unsigned piece_count, next; /* next: the one whose turn it is */
	uint64_t given; /* pieces lent to the pipe since it was empty */
	bool ahead; /* criu has not asked for it yet */
};

struct image_reader {
	const struct image_set *set;
	const struct image_item **by_name; /* its items, sorted */
	struct image_options options;
	struct page_key key;
	uint8_t *meta;
	struct pack_reader *packs;

	pthread_mutex_t lock;
	pthread_cond_t work, ready;
	struct feed **feeds;
	size_t feed_count, open_feeds, ahead;
	struct piece *first, **last;
	bool closing;
	struct err failed;
	uint8_t *spare[SPARE_MOST]; /* the caller's thread's, as the feeds are */
	unsigned spare_count;
	struct unpacker workers[IMAGE_THREADS_MAX];
	pthread_t threads[IMAGE_THREADS_MAX];
	int thread_count;
};

static void unpacker_close(struct unpacker *u)
{
	block_coder_close(u->coder);
	memory_put(u->read, READ_ROOM);
	memory_put(u->block, BLOCK_SIZE);
	*u = (struct unpacker){ .coder = NULL };
}

static int unpacker_open(struct unpacker *u, const struct image_reader *r,
			 struct err *e)
{
	*u = (struct unpacker){ .r = r };
	if (!(u->coder = block_coder_open(0, e)))
		return -1;
	/* Of what is never touched, as with small images, there is nothing to wait for. */
	u->read = memory_reserve(READ_ROOM);
	u->block = memory_reserve(BLOCK_SIZE);
	if (!u->read || !u->block) {
		unpacker_close(u);
		return err_set(e, "no memory to unpack images");
	}
	return 0;
}

/* Unpacks a block that was read; *pages points to its pages. */
static int open_block(struct unpacker *u, const struct pack_reader *p,
		      const struct pack_block *b, const uint8_t *data,
		      const uint8_t **pages, struct err *e)
{
	size_t size = (size_t)b->pages * IMAGE_PAGE;

	if (b->method == BLOCK_STORED && b->stored == size) {
		*pages = data;
		return 0;
	}
	*pages = u->block;
	if (b->method == BLOCK_ZSTD && bytes_check(data, b->stored) != b->check)
		return err_set(e, "%s is damaged: the block at byte %ju has another digest",
			       p->pack.name, (uintmax_t)b->offset);
	if (block_unpack(u->coder, b->method, data, b->stored, u->block, size,
			 e) < 0)
		return err_context(e, "%s", p->pack.name);
	return 0;
}

static int check_page(const struct unpacker *u, const struct pack_reader *p,
		      uint32_t number, const uint8_t *page, struct err *e)
{
	if (page_same(page_digest(&u->r->key, page), p->digests[number]))
		return 0;
	return err_set(e, "%s is damaged: page %u has another digest",
		       p->pack.name, number);
}

static int compare_wants(const void *a, const void *b)
{
	const struct want *x = a, *y = b;

	if (x->pack != y->pack)
		return x->pack < y->pack ? -1 : 1;
	return x->page < y->page ? -1 : x->page > y->page;
}

/* The pages of a piece by place in the packs. Zeros are done here. */
static unsigned list_wants(const struct unpacker *u, const struct piece *piece,
			   struct want *wants)
{
	unsigned count = 0, out = 0;
	bool sorted = true;

	for (unsigned i = 0; i < piece->run_count; i++) {
		const struct meta_run *r = &piece->runs[i];

		if (r->pack == META_ZERO) {
			memset(piece->data + (size_t)out * IMAGE_PAGE, 0,
			       (size_t)r->count * IMAGE_PAGE);
			out += r->count;
			continue;
		}
		for (uint32_t n = 0; n < r->count; n++, out++) {
			struct want *w = &wants[count++];

			*w = (struct want){ r->pack, r->page + n, 0, out };
			if (count > 1 && compare_wants(w - 1, w) > 0)
				sorted = false;
		}
	}
	if (!sorted)
		qsort(wants, count, sizeof(*wants), compare_wants);
	for (unsigned i = 0; i < count; i++) {
		const struct pack_reader *p = &u->r->packs[wants[i].pack];
		uint32_t last = i ? wants[i - 1].block : 0;

		wants[i].block = i && wants[i - 1].pack == wants[i].pack &&
						 wants[i].page < p->first[last + 1] ?
					 last :
					 pack_block_of(p, wants[i].page);
	}
	return count;
}

/* A page's place in the file, if it is stored as it is; 0 if not. */
static uint64_t plain_place(const struct pack_reader *p, const struct want *w)
{
	const struct pack_block *b = &p->blocks[w->block];

	if (b->method != BLOCK_STORED || b->stored != b->pages * IMAGE_PAGE)
		return 0;
	return b->offset + (uint64_t)(w->page - p->first[w->block]) * IMAGE_PAGE;
}

/* The wants from `at` on whose pages follow one another, in the file as in the
 * piece. */
static unsigned plain_run(const struct pack_reader *p, const struct want *wants,
			  unsigned at, unsigned count)
{
	uint64_t place = plain_place(p, &wants[at]);
	unsigned end = at + 1;

	while (end < count && wants[end].pack == wants[at].pack &&
	       wants[end].out == wants[at].out + (end - at) &&
	       plain_place(p, &wants[end]) ==
		       place + (uint64_t)(end - at) * IMAGE_PAGE)
		end++;
	return end;
}

/* Reads them straight to where they belong. */
static int unpack_plain(const struct unpacker *u, const struct pack_reader *p,
			const struct want *wants, unsigned count, uint8_t *out,
			struct err *e)
{
	uint8_t *to = out + (size_t)wants[0].out * IMAGE_PAGE;

	if (pack_read(p, plain_place(p, &wants[0]), (size_t)count * IMAGE_PAGE,
		      to, e) < 0)
		return -1;
	for (unsigned i = 0; i < count; i++)
		if (check_page(u, p, wants[i].page, to + (size_t)i * IMAGE_PAGE,
			       e) < 0)
			return -1;
	return 0;
}

/* The wants from `at` on that are in blocks lying behind one another. */
static unsigned extent(const struct pack_reader *p, const struct want *wants,
		       unsigned at, unsigned count, size_t *size)
{
	unsigned end = at + 1;

	const struct pack_block *first = &p->blocks[wants[at].block];

	*size = first->stored;
	for (; end < count && wants[end].pack == wants[at].pack; end++) {
		uint32_t last = wants[end - 1].block, block = wants[end].block;
		uint64_t with = p->blocks[block].offset +
				p->blocks[block].stored - first->offset;

		if (block == last)
			continue;
		if (block != last + 1 || with > READ_SIZE)
			break;
		*size = (size_t)with;
	}
	return end;
}

static int unpack_extent(struct unpacker *u, const struct pack_reader *p,
			 const struct want *wants, unsigned count,
			 const uint8_t *data, uint8_t *out, struct err *e)
{
	uint64_t begin = p->blocks[wants[0].block].offset;
	const uint8_t *pages = NULL;

	for (unsigned i = 0; i < count; i++) {
		const struct want *w = &wants[i];
		const struct pack_block *b = &p->blocks[w->block];
		const uint8_t *page;

		if ((i == 0 || wants[i - 1].block != w->block) &&
		    open_block(u, p, b, data + (b->offset - begin), &pages, e) < 0)
			return -1;
		page = pages + (size_t)(w->page - p->first[w->block]) * IMAGE_PAGE;
		if (check_page(u, p, w->page, page, e) < 0)
			return -1;
		memcpy(out + (size_t)w->out * IMAGE_PAGE, page, IMAGE_PAGE);
	}
	return 0;
}

static int unpack(struct unpacker *u, const struct piece *piece, struct err *e)
{
	struct want wants[PIECE_PAGES];
	unsigned count = list_wants(u, piece, wants), end;

	for (unsigned at = 0; at < count; at = end) {
		const struct pack_reader *p = &u->r->packs[wants[at].pack];
		size_t size;

		/* Short ones are cheaper with their neighbours. */
		end = plain_run(p, wants, at, count);
		if (plain_place(p, &wants[at]) && end - at >= PLAIN_LEAST) {
			if (unpack_plain(u, p, wants + at, end - at,
					 piece->data, e) < 0)
				return -1;
			continue;
		}
		end = extent(p, wants, at, count, &size);
		if (pack_read(p, p->blocks[wants[at].block].offset, size,
			      u->read, e) < 0 ||
		    unpack_extent(u, p, wants + at, end - at, u->read,
				  piece->data, e) < 0)
			return -1;
	}
	return 0;
}

/* ---- pieces ----------------------------------------------------------------- */

/* Gives the feed's next pages to a piece; false when there are none. */
static bool fill_piece(struct feed *f, struct piece *piece)
{
	unsigned pages = 0;

	piece->run_count = 0;
	piece->sent = 0;
	piece->put = false;
	piece->begin = f->item->size - f->left;
	while (pages < PIECE_PAGES && f->run_at < f->run_count) {
		const struct meta_run *r = &f->runs[f->run_at];
		uint32_t n = r->count - f->run_used;

		if (n > PIECE_PAGES - pages)
			n = PIECE_PAGES - pages;
		piece->runs[piece->run_count++] = (struct meta_run){
			r->pack, r->pack == META_ZERO ? 0 : r->page + f->run_used, n
		};
		pages += n;
		f->run_used += n;
		if (f->run_used == r->count) {
			f->run_at++;
			f->run_used = 0;
		}
	}
	piece->size = (size_t)pages * IMAGE_PAGE;
	if (piece->size > f->left)
		piece->size = (size_t)f->left;
	f->left -= piece->size;
	return piece->size > 0;
}

/* Part of a piece. */
static bool put_part(const struct target *t, const struct piece *p, size_t at, size_t size)
{
	const struct iovec here = { p->data + at, size };
	const struct iovec there = { (void *)(uintptr_t)(t->to + (p->begin + at - t->begin)),
				     size };

	return process_vm_writev(t->pid, &here, 1, &there, 1, 0) == (ssize_t)size;
}

static int cannot_put(pid_t pid, struct err *e)
{
	return err_sys(e, "cannot write to the memory of process %d", pid);
}

static bool all_within(const struct piece *p, const struct target *t)
{
	return t->pid && p->begin >= t->begin && p->begin + p->size <= t->end;
}

static void *work(void *arg)
{
	struct unpacker *u = arg;
	struct image_reader *r = (struct image_reader *)u->r;

	pthread_mutex_lock(&r->lock);
	for (;;) {
		struct err e = { "" };
		struct target target;
		struct piece *piece;
		bool put;
		int rc;

		while (!r->first && !r->closing)
			pthread_cond_wait(&r->work, &r->lock);
		if (!(piece = r->first))
			break;
		if (!(r->first = piece->next))
			r->last = &r->first;
		piece->state = RUNNING;
		target = piece->feed->target;
		pthread_mutex_unlock(&r->lock);
		put = all_within(piece, &target);
		if (!piece->touched)
			memory_populate(piece->data, piece->size);
		rc = unpack(u, piece, &e);
		if (rc == 0 && put && !put_part(&target, piece, 0, piece->size))
			rc = cannot_put(target.pid, &e);
		pthread_mutex_lock(&r->lock);
		piece->put = put;
		piece->touched = piece->touched || piece->size == PIECE_SIZE;
		if (rc < 0 && !*r->failed.text)
			r->failed = e;
		piece->state = READY;
		pthread_cond_broadcast(&r->ready);
	}
	pthread_mutex_unlock(&r->lock);
	return NULL;
}

/* With the lock held. */
static void queue_piece(struct image_reader *r, struct piece *piece)
{
	piece->state = IDLE;
	if (!fill_piece(piece->feed, piece))
		return;
	piece->state = QUEUED;
	piece->next = NULL;
	*r->last = piece;
	r->last = &piece->next;
	pthread_cond_signal(&r->work);
}

static int start_threads(struct image_reader *r, struct err *e)
{
	int threads = threads_for(r->options.threads);

	while (r->thread_count < threads) {
		struct unpacker *u = &r->workers[r->thread_count];

		if (unpacker_open(u, r, e) < 0)
			return -1;
		errno = pthread_create(&r->threads[r->thread_count], NULL, work,
				       u);
		if (errno) {
			unpacker_close(u);
			return err_sys(e, "cannot start a thread");
		}
		r->thread_count++;
	}
	return 0;
}

/* ---- the way out -------------------------------------------------------------- */

static void feed_begin(const struct image_reader *r, struct feed *f,
		       const struct image_item *item)
{
	*f = (struct feed){ .item = item };
	if (!item->bulk)
		return;
	f->runs = (const struct meta_run *)(r->meta + item->offset);
	f->run_count = (size_t)(item->length / sizeof(*f->runs));
	f->left = item->size;
}

static int feed_read_ahead(struct image_reader *r, struct feed *f, struct err *e)
{
	uint64_t pieces = (f->left + PIECE_SIZE - 1) / PIECE_SIZE;
	uint64_t room = r->options.buffer / PIECE_SIZE / (r->open_feeds + 1);
	uint64_t count = room < 1 ? 1 : room > PIECES_MOST ? PIECES_MOST : room;

	if (count > pieces)
		count = pieces;
	if (count == 0)
		return 0;
	if (!(f->pieces = calloc((size_t)count, sizeof(*f->pieces))))
		return err_set(e, "no memory to read images");
	for (unsigned i = 0; i < count; i++) {
		struct piece *p = &f->pieces[i];

		p->feed = f;
		/* Not from the heap: what a pipe still refers to must not be
		 * given to anybody else. A mapping's pages live on in the pipe. */
		p->data = r->spare_count ? r->spare[--r->spare_count] :
						     memory_reserve(PIECE_SIZE);
		if (!p->data)
			return err_set(e, "no memory to read images");
		f->piece_count++;
	}
	if (start_threads(r, e) < 0)
		return -1;
	pthread_mutex_lock(&r->lock);
	for (unsigned i = 0; i < f->piece_count; i++)
		queue_piece(r, &f->pieces[i]);
	pthread_mutex_unlock(&r->lock);
	return 0;
}

static int compare_items(const void *a, const void *b)
{
	const struct image_item *const *x = a, *const *y = b;

	return strcmp((*x)->name, (*y)->name);
}

/* A tree of thousands of processes has tens of thousands of images. */
static int sort_items(struct image_reader *r, struct err *e)
{
	size_t n = r->set->item_count;

	if (!(r->by_name = malloc((n + 1) * sizeof(*r->by_name))))
		return err_set(e, "no memory for a list of images");
	for (size_t i = 0; i < n; i++)
		r->by_name[i] = &r->set->items[i];
	qsort(r->by_name, n, sizeof(*r->by_name), compare_items);
	return 0;
}

static int compare_name(const void *name, const void *item)
{
	return strcmp(name, (*(const struct image_item *const *)item)->name);
}

static const struct image_item *find_item(const struct image_reader *r,
					  const char *name)
{
	const struct image_item **at = bsearch(name, r->by_name, r->set->item_count,
					       sizeof(*r->by_name), compare_name);

	return at ? *at : NULL;
}

static struct feed *feed_open(struct image_reader *r, const struct image_item *item,
			      struct err *e)
{
	struct feed **more = realloc(r->feeds, (r->feed_count + 1) * sizeof(*more));
	struct feed *f = more ? malloc(sizeof(*f)) : NULL;

	if (more)
		r->feeds = more;
	if (!f) {
		err_set(e, "no memory to read images");
		return NULL;
	}
	feed_begin(r, f, item);
	more[r->feed_count++] = f;
	if (item->bulk && feed_read_ahead(r, f, e) < 0)
		return NULL;
	r->open_feeds++;
	return f;
}

static int source_open(void *arg, const char *name, struct err *e)
{
	struct image_reader *r = arg;
	const struct image_item *item = find_item(r, name);

	if (!item)
		return -2;
	for (size_t i = 0; r->ahead && i < r->feed_count; i++)
		if (r->feeds[i]->ahead && r->feeds[i]->item == item) {
			r->feeds[i]->ahead = false;
			r->ahead--;
			return (int)i;
		}
	return feed_open(r, item, e) ? (int)r->feed_count - 1 : -1;
}

/* It is some ms in coming, and asks for the images in their order: the first of them are read
 * meanwhile. What fails here fails, and is told, when it asks. */
static void source_begin(void *arg)
{
	struct image_reader *r = arg;
	uint64_t left = r->options.buffer / PIECE_SIZE;
	struct err e;

	if (left > PIECES_MOST)
		left = PIECES_MOST;
	for (size_t i = 0; i < r->set->item_count && left; i++) {
		struct feed *f;

		/* Other bulk (the content of files) criu does not ask for at once, or never. */
		if (!r->set->items[i].bulk || strncmp(r->set->items[i].name, "pages-", 6))
			continue;
		if (!(f = feed_open(r, &r->set->items[i], &e)))
			return;
		f->ahead = true;
		r->ahead++;
		left -= f->piece_count < left ? f->piece_count : left;
	}
}

/*
 * 1: all is given; 0: the pipe is full; 2: criu closed its end. With `lend` the
 * pipe refers to the data itself (vmsplice(2)), which saves a copy.
 */
static int to_pipe(int pipe, const uint8_t *data, size_t size, size_t *sent,
		   bool lend, struct err *e)
{
	while (*sent < size) {
		struct iovec iov = { (void *)(data + *sent), size - *sent };
		ssize_t n = lend ? vmsplice(pipe, &iov, 1, SPLICE_F_NONBLOCK) :
				   write(pipe, iov.iov_base, iov.iov_len);

		if (n < 0 && errno == EAGAIN)
			return 0;
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EPIPE ?
				       2 :
				       err_sys(e, "cannot write to criu");
		*sent += (size_t)n;
	}
	return 1;
}

/* Waits for the piece whose turn it is; NULL: there is no more, or it failed. */
static struct piece *await_piece(struct image_reader *r, struct feed *f,
				 struct err *e)
{
	struct piece *p = f->piece_count ? &f->pieces[f->next] : NULL;

	pthread_mutex_lock(&r->lock);
	while (p && (p->state == QUEUED || p->state == RUNNING) &&
	       !*r->failed.text)
		pthread_cond_wait(&r->ready, &r->lock);
	*e = r->failed;
	if (*r->failed.text || (p && p->state != READY))
		p = NULL;
	pthread_mutex_unlock(&r->lock);
	return p;
}

/*
 * Lent memory may be written to again when criu has read it. A pipe holds at
 * most PIECE_PAGES pages (stream.c), so with a whole piece in it the one before
 * has been read; not with a short one, which is the last: that before it stays GIVEN,
 * and nobody gets its memory.
 */
static void done_with(struct image_reader *r, struct feed *f, bool lent)
{
	unsigned before = (f->next + f->piece_count - 1) % f->piece_count;

	pthread_mutex_lock(&r->lock);
	if (!lent)
		queue_piece(r, &f->pieces[f->next]);
	else if (f->given++ > 0 && f->pieces[f->next].size == PIECE_SIZE)
		queue_piece(r, &f->pieces[before]);
	pthread_mutex_unlock(&r->lock);
	f->next = (f->next + 1) % f->piece_count;
}

static int pour_bulk(struct image_reader *r, struct feed *f, int pipe,
		     struct err *e)
{
	/* With one piece alone there is none to go on with. */
	bool lend = f->piece_count > 1 || f->item->size <= PIECE_SIZE;
	struct err why = { "" };
	struct piece *p;
	int rc;

	while ((p = await_piece(r, f, &why))) {
		rc = to_pipe(pipe, p->data, p->size, &p->sent, lend, e);
		if (rc != 1)
			return rc < 0 ? -1 : rc == 0;
		p->state = GIVEN;
		done_with(r, f, lend);
	}
	if (!*why.text)
		return 0;
	*e = why;
	return -1;
}

static int source_pour(void *arg, int handle, int pipe, struct err *e)
{
	struct image_reader *r = arg;
	struct feed *f = r->feeds[handle];
	size_t sent = (size_t)f->pos;
	int rc;

	if (f->item->bulk)
		return pour_bulk(r, f, pipe, e);
	rc = to_pipe(pipe, r->meta + f->item->offset, (size_t)f->item->size,
		     &sent, false, e);
	f->pos = sent;
	return rc < 0 ? -1 : rc == 0;
}

/* A piece that the pipe was lent, and that has been read from there. */
static void take_back(struct image_reader *r, struct feed *f)
{
	struct piece *before = &f->pieces[(f->next + f->piece_count - 1) % f->piece_count];

	pthread_mutex_lock(&r->lock);
	if (f->given && before->state == GIVEN)
		queue_piece(r, before);
	f->given = 0;
	pthread_mutex_unlock(&r->lock);
}

static void set_target(struct image_reader *r, struct feed *f, const struct target *t)
{
	pthread_mutex_lock(&r->lock);
	f->target = *t;
	pthread_mutex_unlock(&r->lock);
}

/* The part of a piece that belongs to the target, if nobody has put it yet. */
static bool put_rest(const struct target *t, struct piece *p)
{
	uint64_t end = p->begin + p->size < t->end ? p->begin + p->size : t->end;
	size_t size = (size_t)(end - p->begin) - p->sent;

	if (!p->put && !put_part(t, p, p->sent, size))
		return false;
	p->sent += size;
	return true;
}

/*
 * What is unpacked already, and what a request begins or ends in the middle of, this thread
 * puts; the rest those that unpack it.
 */
static int source_put(void *arg, int handle, pid_t pid, uint64_t to, uint64_t size,
		      struct err *e)
{
	static const struct target nowhere;
	struct image_reader *r = arg;
	struct feed *f = r->feeds[handle];
	struct err why = { "" };
	struct piece *p;
	struct target t;

	if (!f->item->bulk || !f->piece_count || !size)
		return 0;
	take_back(r, f);
	if (!(p = await_piece(r, f, &why)))
		return *why.text ? (*e = why, -1) : 0;
	t = (struct target){ pid, to, p->begin + p->sent, p->begin + p->sent + size };
	if (t.end < size || t.end > f->item->size || !put_rest(&t, p))
		return 0;
	set_target(r, f, &t);
	while (p && p->begin + p->sent < t.end) {
		if (p->sent == p->size) {
			done_with(r, f, false);
			p = await_piece(r, f, &why);
		} else if (!put_rest(&t, p)) {
			cannot_put(pid, &why);
			p = NULL;
		}
	}
	set_target(r, f, &nowhere);
	if (p && p->sent == p->size)
		done_with(r, f, false);
	if (p)
		return 1;
	*e = why;
	return *why.text ? -1 : err_set(e, "%s ended too soon", f->item->name);
}

/* Criu is done with it: nothing more is read, and its memory is free. */
static void feed_end(struct image_reader *r, struct feed *f)
{
	struct piece **at = &r->first;

	pthread_mutex_lock(&r->lock);
	while (*at)
		if ((*at)->feed == f)
			*at = (*at)->next;
		else
			at = &(*at)->next;
	r->last = at;
	for (unsigned i = 0; i < f->piece_count; i++)
		while (f->pieces[i].state == RUNNING)
			pthread_cond_wait(&r->ready, &r->lock);
	pthread_mutex_unlock(&r->lock);
	for (unsigned i = 0; i < f->piece_count; i++) {
		struct piece *p = &f->pieces[i];

		/* To what was sent the pipe may still refer. */
		if (p->state != GIVEN && !p->sent && r->spare_count < SPARE_MOST)
			r->spare[r->spare_count++] = p->data;
		else
			memory_put(p->data, PIECE_SIZE);
	}
	free(f->pieces);
	f->pieces = NULL;
	f->piece_count = 0;
}

static void source_close(void *arg, int handle)
{
	struct image_reader *r = arg;

	feed_end(r, r->feeds[handle]);
	r->open_feeds--;
}

struct image_source image_reader_source(struct image_reader *r)
{
	return (struct image_source){ r,	    source_open, source_pour,
				      source_close, source_put,	 source_begin };
}

/* ---- begin and end -------------------------------------------------------------- */

/* Every page list names pages that are there, and as many as it should. */
static int check_page_lists(const struct image_reader *r, struct err *e)
{
	for (size_t i = 0; i < r->set->item_count; i++) {
		const struct image_item *item = &r->set->items[i];
		const struct meta_run *run = (const void *)(r->meta + item->offset);
		uint64_t pages = 0;

		if (!item->bulk)
			continue;
		for (size_t n = 0; n < item->length / sizeof(*run); n++, pages += run[n - 1].count)
			if (!run[n].count ||
			    (run[n].pack != META_ZERO &&
			     (run[n].pack >= r->set->pack_count ||
			      run[n].page > r->packs[run[n].pack].pack.pages ||
			      run[n].count > r->packs[run[n].pack].pack.pages -
						     run[n].page)))
				return err_set(e, "the page list of %s makes no sense",
					       item->name);
		if (pages != item->size / IMAGE_PAGE + (item->size % IMAGE_PAGE != 0))
			return err_set(e, "the page list of %s is not as long as the image",
				       item->name);
	}
	return 0;
}

struct image_reader *image_reader_open(int dir, const struct image_set *set,
				       const struct image_options *options,
				       struct err *e)
{
	struct image_reader *r = calloc(1, sizeof(*r));

	if (!r) {
		err_set(e, "no memory to read images");
		return NULL;
	}
	r->set = set;
	r->options = *options;
	r->last = &r->first;
	pthread_mutex_init(&r->lock, NULL);
	pthread_cond_init(&r->work, NULL);
	pthread_cond_init(&r->ready, NULL);
	if (digest_begin(e) < 0)
		goto fail;
	page_key_make(set->seed, &r->key);
	if (!(r->packs = calloc(set->pack_count + 1, sizeof(*r->packs)))) {
		err_set(e, "no memory to read images");
		goto fail;
	}
	for (size_t i = 0; i < set->pack_count; i++)
		r->packs[i].fd = -1;
	for (size_t i = 0; i < set->pack_count; i++)
		if (pack_open(dir, &set->packs[i], &r->packs[i], e) < 0)
			goto fail;
	if (meta_read(dir, set, &r->meta, e) < 0 || check_page_lists(r, e) < 0 ||
	    sort_items(r, e) < 0)
		goto fail;
	return r;
fail:
	image_reader_close(r);
	return NULL;
}

void image_reader_close(struct image_reader *r)
{
	if (!r)
		return;
	pthread_mutex_lock(&r->lock);
	r->closing = true;
	pthread_cond_broadcast(&r->work);
	pthread_mutex_unlock(&r->lock);
	for (size_t i = 0; i < r->feed_count; i++) {
		feed_end(r, r->feeds[i]);
		free(r->feeds[i]);
	}
	for (int i = 0; i < r->thread_count; i++) {
		pthread_join(r->threads[i], NULL);
		unpacker_close(&r->workers[i]);
	}
	while (r->spare_count)
		memory_put(r->spare[--r->spare_count], PIECE_SIZE);
	if (r->packs)
		for (size_t i = 0; i < r->set->pack_count; i++)
			pack_reader_close(&r->packs[i]);
	pthread_mutex_destroy(&r->lock);
	pthread_cond_destroy(&r->work);
	pthread_cond_destroy(&r->ready);
	free(r->feeds);
	free(r->packs);
	free(r->by_name);
	free(r->meta);
	free(r);
}

/* ---- without threads: for people's commands -------------------------------------- */

int image_reader_each(struct image_reader *r, const char *name,
		      int (*take)(void *arg, const uint8_t *data, size_t size,
				  struct err *e),
		      void *arg, struct err *e)
{
	const struct image_item *item = find_item(r, name);
	struct piece *piece = NULL;
	struct unpacker u;
	struct feed f;
	int rc = 0;

	if (!item)
		return err_set(e, "there is no image %s", name);
	if (!item->bulk)
		return take(arg, r->meta + item->offset, (size_t)item->size, e);
	if (unpacker_open(&u, r, e) < 0)
		return -1;
	if ((piece = calloc(1, sizeof(*piece))))
		piece->data = memory_get(PIECE_SIZE);
	if (!piece || !piece->data)
		rc = err_set(e, "no memory to read images");
	feed_begin(r, &f, item);
	while (rc == 0 && fill_piece(&f, piece))
		if (unpack(&u, piece, e) < 0 ||
		    take(arg, piece->data, piece->size, e) < 0)
			rc = -1;
	if (piece)
		memory_put(piece->data, PIECE_SIZE);
	free(piece);
	unpacker_close(&u);
	return rc;
}

static int write_piece(void *arg, const uint8_t *data, size_t size, struct err *e)
{
	return file_write(*(const int *)arg, data, size, e);
}

int image_reader_copy(struct image_reader *r, const char *name, int fd,
		      struct err *e)
{
	return image_reader_each(r, name, write_piece, &fd, e);
}

int image_reader_verify_pack(struct image_reader *r, size_t n, struct err *e)
{
	const struct pack_reader *p = &r->packs[n];
	struct unpacker u;
	int rc = 0;

	if (unpacker_open(&u, r, e) < 0)
		return -1;
	for (uint32_t i = 0; rc == 0 && i < p->pack.blocks; i++) {
		const struct pack_block *b = &p->blocks[i];
		const uint8_t *pages;

		if (pack_read(p, b->offset, b->stored, u.read, e) < 0 ||
		    open_block(&u, p, b, u.read, &pages, e) < 0)
			rc = -1;
		for (uint32_t page = 0; rc == 0 && page < b->pages; page++)
			rc = check_page(&u, p, p->first[i] + page,
					pages + (size_t)page * IMAGE_PAGE, e);
	}
	unpacker_close(&u);
	return rc;
}
