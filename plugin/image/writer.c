/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Taking criu's images. The caller's thread only copies what criu sends into
 * slabs; workers digest the slabs' pages, look each up, pack what is new and
 * write it, each to a pack of its own. When all slabs are full the caller
 * waits for one, and criu with it; unless packing is what takes so long, then
 * slabs go into the spill, a file, and are packed later.
 *
 * If criu comes first, the workers make the slabs' memory real before it sends
 * anything, and step aside for it, for the caller, and for the program when that runs again.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <unistd.h>

#include "bytes.h"
#include "memory.h"
#include "meta.h"
#include "pack.h"
#include "pagemap.h"
#include "threads.h"

#define SLAB BLOCK_SIZE
#define BESIDE_NICE 10
#define SLABS_LEAST 4U
/* Their memory is populated so many at a time. */
#define SLABS_STEP 16U
/* What is enough when what is written is no faster for more. */
#define BUFFER_PLAIN (UINT64_C(64) << 20)
#define BUFFER_LEAST (UINT64_C(4) << 20)

struct slab {
	struct slab *next, *extra;
	uint8_t *data;
	size_t size;
};

/* What a worker has to do: one part of a bulk image. */
struct task {
	struct task *next;
	struct slab *slab; /* NULL: it is in the spill, at `spilled` */
	uint64_t spilled;
	size_t size;
	size_t item, part;
};

/* Where the pages of one slab are. */
struct part {
	struct meta_run *runs;
	unsigned count;
};

struct item {
	struct image_item d;
	uint8_t *data; /* metadata: all of it */
	size_t room;
	struct slab *filling; /* bulk: what is not handed on yet */
	struct part *parts;
	size_t part_count, part_room;
};

struct worker {
	pthread_t thread;
	bool started;
	struct image_writer *w;
	struct block_coder *coder;
	struct slab own; /* for what comes back from the spill */
	struct pack_writer *pack; /* NULL until there is something new */
	uint32_t pack_number;
	struct known_chunk *chunks[PACK_PAGES_MAX / KNOWN_CHUNK_PAGES];
	unsigned chunk_count;
};

struct image_writer {
	int dir;
	char prefix[32];
	struct image_options options;
	uint8_t seed[IMAGE_SEED];
	struct page_key key;
	struct known *known;
	struct pack_reader *old; /* the parent's packs, by its numbers */
	size_t old_count;

	pthread_mutex_t lock; /* of all that follows */
	pthread_cond_t work, room;
	uint8_t *memory;
	size_t memory_size;
	struct slab *slabs, *free;
	struct task *first, **last;
	size_t slab_count; /* all of them */
	size_t slabs_begun, slabs_ready; /* given to a thread to be populated; done */
	size_t filling; /* those that images hold */
	struct slab *extra; /* made one by one, linked by their own */
	struct item **items;
	size_t item_count;
	struct image_pack *packs; /* the parent's, then ours */
	size_t pack_count;
	bool begun, finishing, finished; /* begun: criu is on its way */
	struct err failed; /* the first failure; "" */

	int spill; /* the caller's thread alone writes to it */
	uint64_t spill_size;

	bool cancelled; /* atomic, as the rest */
	bool packing; /* the last blocks were worth packing */
	bool crowded; /* no slab is free */
	uint64_t taken, stored;
	struct worker workers[IMAGE_THREADS_MAX];
	int threads;
};

/* ---- failing --------------------------------------------------------------- */

static void fail(struct image_writer *w, const struct err *e)
{
	pthread_mutex_lock(&w->lock);
	if (!*w->failed.text)
		w->failed = *e;
	pthread_cond_broadcast(&w->room);
	pthread_cond_broadcast(&w->work);
	pthread_mutex_unlock(&w->lock);
}

static bool has_failed(struct image_writer *w)
{
	bool failed;

	pthread_mutex_lock(&w->lock);
	failed = *w->failed.text;
	pthread_mutex_unlock(&w->lock);
	return failed;
}

#define CALLED_OFF "it was called off"

void image_writer_cancel(struct image_writer *w)
{
	const struct err e = { CALLED_OFF };

	__atomic_store_n(&w->cancelled, true, __ATOMIC_RELEASE);
	fail(w, &e);
}

void image_writer_progress(struct image_writer *w, uint64_t *taken,
			   uint64_t *stored)
{
	*taken = __atomic_load_n(&w->taken, __ATOMIC_RELAXED);
	*stored = __atomic_load_n(&w->stored, __ATOMIC_RELAXED);
}

/* ---- a worker's pack ------------------------------------------------------- */

static void pack_name(const struct image_writer *w, uint32_t number,
		      char name[IMAGE_FILE_MAX + 1])
{
	snprintf(name, IMAGE_FILE_MAX + 1, "%s.%zu.pack", w->prefix,
		 number - w->old_count);
}

static int pack_begin(struct worker *k, struct err *e)
{
	struct image_writer *w = k->w;
	char name[IMAGE_FILE_MAX + 1];
	struct image_pack *more;

	pthread_mutex_lock(&w->lock);
	more = realloc(w->packs, (w->pack_count + 1) * sizeof(*more));
	if (more) {
		w->packs = more;
		k->pack_number = (uint32_t)w->pack_count++;
		more[k->pack_number] = (struct image_pack){ .size = 0 };
		pack_name(w, k->pack_number, more[k->pack_number].name);
	}
	pthread_mutex_unlock(&w->lock);
	if (!more)
		return err_set(e, "no memory for a pack");
	pack_name(w, k->pack_number, name);
	k->chunk_count = 0;
	k->pack = pack_create(w->dir, name, e);
	return k->pack ? 0 : -1;
}

static struct page_digest digest_of_page(void *arg, uint32_t n)
{
	struct worker *k = arg;
	unsigned i = 0;

	while (i + 1 < k->chunk_count && k->chunks[i + 1]->first <= n)
		i++;
	return k->chunks[i]->digests[n - k->chunks[i]->first];
}

static int pack_end(struct worker *k, struct err *e)
{
	struct image_writer *w = k->w;
	struct image_pack done;
	uint64_t before;
	int rc;

	if (!k->pack)
		return 0;
	before = pack_size(k->pack);
	rc = pack_finish(k->pack, digest_of_page, k, &done, e);
	__atomic_fetch_add(&w->stored, pack_size(k->pack) - before,
			   __ATOMIC_RELAXED);
	pack_close(k->pack);
	k->pack = NULL;
	if (rc < 0)
		return -1;
	pthread_mutex_lock(&w->lock);
	w->packs[k->pack_number] = done;
	pthread_mutex_unlock(&w->lock);
	return 0;
}

/* A pack and a chunk with room for a slab's pages. */
static int make_room(struct worker *k, struct err *e)
{
	const unsigned most = sizeof(k->chunks) / sizeof(k->chunks[0]);
	struct known_chunk *last = k->pack && k->chunk_count ?
					   k->chunks[k->chunk_count - 1] :
					   NULL;

	if (last && last->pages + BLOCK_PAGES <= KNOWN_CHUNK_PAGES)
		return 0;
	if (k->pack && k->chunk_count == most && pack_end(k, e) < 0)
		return -1;
	if (!k->pack) {
		if (pack_begin(k, e) < 0)
			return -1;
		last = NULL;
	}
	last = known_chunk_new(k->w->known, k->pack_number,
			       last ? last->first + last->pages : 0, e);
	if (!last)
		return -1;
	k->chunks[k->chunk_count++] = last;
	return 0;
}

/* ---- a slab ------------------------------------------------------------------ */

static bool is_zero(const uint8_t *page)
{
	uint64_t first;

	memcpy(&first, page, sizeof(first));
	return !first && !memcmp(page, page + 8, IMAGE_PAGE - 8);
}

struct runs {
	struct meta_run run[BLOCK_PAGES];
	unsigned count;
};

static void add_page(struct runs *r, uint32_t pack, uint32_t page)
{
	struct meta_run *last = r->count ? &r->run[r->count - 1] : NULL;

	if (last && last->pack == pack &&
	    (pack == META_ZERO || last->page + last->count == page))
		last->count++;
	else
		r->run[r->count++] = (struct meta_run){ pack, page, 1 };
}

/* Finds a place for every page; what is new is moved to the slab's begin.
 * Returns how many pages are new. */
static unsigned place_pages(struct worker *k, struct slab *s, struct runs *runs)
{
	struct image_writer *w = k->w;
	struct known_chunk *chunk = k->chunks[k->chunk_count - 1];
	unsigned pages = (unsigned)((s->size + IMAGE_PAGE - 1) / IMAGE_PAGE);
	uint32_t at = KNOWN_NONE, pack, number;
	unsigned fresh = 0;

	for (unsigned i = 0; i < pages; i++) {
		const uint8_t *page = s->data + (size_t)i * IMAGE_PAGE;
		struct page_digest d;
		bool added;

		if (is_zero(page)) {
			add_page(runs, META_ZERO, 0);
			continue;
		}
		d = page_digest(&w->key, page);
		at = known_take(w->known, chunk, d, at, &added);
		if (added) {
			if (fresh != i)
				memcpy(s->data + (size_t)fresh * IMAGE_PAGE,
				       page, IMAGE_PAGE);
			fresh++;
		}
		known_place(w->known, at, &pack, &number);
		add_page(runs, pack, number);
	}
	return fresh;
}

static int write_pages(struct worker *k, const struct slab *s, unsigned fresh,
		       struct err *e)
{
	struct image_writer *w = k->w;
	bool hurry = !w->options.criu_first &&
		     __atomic_load_n(&w->crowded, __ATOMIC_RELAXED);
	enum block_method method;
	const void *out;
	size_t n = block_pack(k->coder, s->data, (size_t)fresh * IMAGE_PAGE,
			      hurry ? pack_store_ns(k->pack) : 0, &method, &out);
	uint64_t stored = __atomic_add_fetch(&w->stored, n, __ATOMIC_RELAXED);

	__atomic_store_n(&w->packing, block_packs(k->coder), __ATOMIC_RELAXED);
	if (w->options.limit && stored > w->options.limit)
		return err_set(e, "the checkpoint would exceed the %ju MiB that are left of the quota",
			       (uintmax_t)(w->options.limit >> 20));
	return pack_append(k->pack, method, out, n, fresh, e);
}

static int from_spill(struct worker *k, const struct task *t, struct err *e)
{
	size_t done = 0;

	if (!k->own.data && !(k->own.data = memory_get(SLAB)))
		return err_set(e, "no memory for a buffer");
	while (done < t->size) {
		ssize_t n = pread(k->w->spill, k->own.data + done,
				  t->size - done, (off_t)(t->spilled + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return err_sys(e, "cannot read back what was put aside");
		done += (size_t)n;
	}
	k->own.size = t->size;
	return 0;
}

static int process(struct worker *k, const struct task *t, struct err *e)
{
	struct slab *s = t->slab ? t->slab : &k->own;
	struct image_writer *w = k->w;
	size_t tail = t->size % IMAGE_PAGE;
	struct runs runs = { .count = 0 };
	struct part part;
	unsigned fresh;

	if (__atomic_load_n(&w->cancelled, __ATOMIC_ACQUIRE))
		return err_set(e, CALLED_OFF);
	if ((!t->slab && from_spill(k, t, e) < 0) || make_room(k, e) < 0)
		return -1;
	if (tail)
		memset(s->data + s->size, 0, IMAGE_PAGE - tail);
	fresh = place_pages(k, s, &runs);
	if (fresh && write_pages(k, s, fresh, e) < 0)
		return -1;
	part.count = runs.count;
	part.runs = malloc(runs.count * sizeof(*part.runs));
	if (!part.runs)
		return err_set(e, "no memory for a page list");
	memcpy(part.runs, runs.run, runs.count * sizeof(*part.runs));
	pthread_mutex_lock(&w->lock);
	w->items[t->item]->parts[t->part] = part;
	pthread_mutex_unlock(&w->lock);
	return 0;
}

/* With the lock held. The last used is the next used: it is in the cache. */
static void put_free(struct image_writer *w, struct slab *s)
{
	s->next = w->free;
	w->free = s;
}

/* With the lock held, which is given up meanwhile. */
static void more_slabs(struct image_writer *w)
{
	size_t first = w->slabs_begun, count = w->slab_count - first;

	if (count > SLABS_STEP)
		count = SLABS_STEP;
	w->slabs_begun += count;
	pthread_mutex_unlock(&w->lock);
	memory_populate(w->memory + first * SLAB, count * SLAB);
	pthread_mutex_lock(&w->lock);
	for (size_t i = 0; i < count; i++)
		put_free(w, &w->slabs[first + i]);
	w->slabs_ready += count;
	pthread_cond_broadcast(&w->room);
}

static struct task *next_task(struct image_writer *w)
{
	struct task *t;

	pthread_mutex_lock(&w->lock);
	while (!w->finishing && !*w->failed.text && !w->first)
		if (w->begun && w->options.criu_first && w->slabs_begun < w->slab_count)
			more_slabs(w);
		else
			pthread_cond_wait(&w->work, &w->lock);
	t = *w->failed.text ? NULL : w->first;
	if (t && !(w->first = t->next))
		w->last = &w->first;
	pthread_mutex_unlock(&w->lock);
	return t;
}

static void free_slab(struct image_writer *w, struct slab *s)
{
	pthread_mutex_lock(&w->lock);
	put_free(w, s);
	pthread_cond_signal(&w->room);
	pthread_mutex_unlock(&w->lock);
}

static void *work(void *arg)
{
	struct worker *k = arg;
	struct err e = { "" };
	struct task *t;
	int rc = 0;

	if (k->w->options.criu_first)
		setpriority(PRIO_PROCESS, (id_t)gettid(), BESIDE_NICE);
	while (rc == 0 && (t = next_task(k->w))) {
		rc = process(k, t, &e);
		if (t->slab)
			free_slab(k->w, t->slab);
		free(t);
	}
	if (rc == 0 && !has_failed(k->w))
		rc = pack_end(k, &e);
	if (rc < 0)
		fail(k->w, &e);
	return NULL;
}

/* ---- the way in ------------------------------------------------------------- */

/* One more: every slab belongs to an image that criu has not closed, and none
 * of them need be the next to get any data. With the lock held. */
static int add_slab(struct image_writer *w)
{
	struct slab *s = calloc(1, sizeof(*s));

	if (!s || !(s->data = malloc(SLAB))) {
		free(s);
		return -1;
	}
	s->extra = w->extra;
	w->extra = s;
	w->slab_count++;
	w->slabs_begun++;
	w->slabs_ready++;
	put_free(w, s);
	return 0;
}

/* Waits until there is one. */
static struct slab *take_slab(struct image_writer *w, struct err *e)
{
	struct slab *s = NULL;

	pthread_mutex_lock(&w->lock);
	while (!w->free && !*w->failed.text)
		if (w->slabs_begun < w->slab_count) {
			more_slabs(w);
		} else if (w->slabs_ready < w->slab_count) {
			pthread_cond_wait(&w->room, &w->lock);
		} else if (w->filling < w->slab_count) {
			__atomic_store_n(&w->crowded, true, __ATOMIC_RELAXED);
			pthread_cond_wait(&w->room, &w->lock);
		} else if (add_slab(w) < 0) {
			err_set(&w->failed, "no memory for a buffer");
		}
	if (*w->failed.text) {
		*e = w->failed;
	} else {
		s = w->free;
		w->free = s->next;
		w->filling++;
		s->next = NULL;
		s->size = 0;
	}
	pthread_mutex_unlock(&w->lock);
	return s;
}

/* Is the next slab to be had only by waiting for a worker that packs? */
static bool must_spill(struct image_writer *w)
{
	bool full;

	if (!w->options.criu_first ||
	    !__atomic_load_n(&w->packing, __ATOMIC_RELAXED))
		return false;
	pthread_mutex_lock(&w->lock);
	full = !w->free && w->slabs_begun == w->slab_count;
	pthread_mutex_unlock(&w->lock);
	return full;
}

/* Failing is no failure: then it is waited for a worker. */
static bool spill(struct image_writer *w, struct slab *s, uint64_t *at)
{
	size_t done = 0;

	if (w->spill < 0)
		w->spill = openat(w->dir, ".", O_TMPFILE | O_RDWR | O_CLOEXEC,
				  0600);
	if (w->spill < 0)
		return false;
	*at = w->spill_size;
	while (done < s->size) {
		ssize_t n = pwrite(w->spill, s->data + done, s->size - done,
				   (off_t)(*at + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		done += (size_t)n;
	}
	w->spill_size += s->size;
	return true;
}

static int add_part(struct item *item, struct err *e)
{
	size_t room = item->part_room ? item->part_room * 2 : 64;
	struct part *more;

	if (item->part_count == item->part_room) {
		if (!(more = realloc(item->parts, room * sizeof(*more))))
			return err_set(e, "no memory for a page list");
		item->parts = more;
		item->part_room = room;
	}
	item->parts[item->part_count++] = (struct part){ NULL, 0 };
	return 0;
}

/* What was filled becomes a task. A slab whose content was spilled stays with
 * the image, to be filled again. */
static int hand_on(struct image_writer *w, size_t number, struct err *e)
{
	struct item *item = w->items[number];
	struct slab *s = item->filling;
	struct task *t = calloc(1, sizeof(*t));
	int rc;

	if (!t)
		return err_set(e, "no memory for a page list");
	*t = (struct task){ .slab = s, .size = s->size, .item = number };
	if (must_spill(w) && spill(w, s, &t->spilled)) {
		t->slab = NULL;
		s->size = 0;
	} else {
		item->filling = NULL;
	}
	pthread_mutex_lock(&w->lock);
	if (!item->filling)
		w->filling--;
	if ((rc = add_part(item, e)) == 0) {
		t->part = item->part_count - 1;
		*w->last = t;
		w->last = &t->next;
		pthread_cond_signal(&w->work);
	}
	pthread_mutex_unlock(&w->lock);
	if (rc < 0)
		free(t);
	return rc;
}

static int sink_open(void *arg, const char *name, struct err *e)
{
	struct image_writer *w = arg;
	struct item *item = calloc(1, sizeof(*item));
	struct item **more;

	if (!item)
		return err_set(e, "no memory for image %s", name);
	snprintf(item->d.name, sizeof(item->d.name), "%s", name);
	item->d.bulk = !strncmp(name, "pages-", 6) ||
		       !strncmp(name, "ghost-file-", 11);
	pthread_mutex_lock(&w->lock);
	more = realloc(w->items, (w->item_count + 1) * sizeof(*more));
	if (more) {
		w->items = more;
		more[w->item_count++] = item;
	}
	pthread_mutex_unlock(&w->lock);
	if (!more) {
		free(item);
		return err_set(e, "no memory for image %s", name);
	}
	return (int)w->item_count - 1;
}

/* A place for the next bytes of an image. */
static uint8_t *next_room(struct image_writer *w, int handle, size_t *room,
			  struct err *e)
{
	struct item *item = w->items[handle];

	if (item->d.bulk) {
		if (!item->filling && !(item->filling = take_slab(w, e)))
			return NULL;
		*room = SLAB - item->filling->size;
		return item->filling->data + item->filling->size;
	}
	if (item->d.size == item->room) {
		size_t more = item->room ? item->room * 2 : 4096;
		uint8_t *data = realloc(item->data, more);

		if (!data) {
			err_set(e, "no memory for image %s", item->d.name);
			return NULL;
		}
		item->data = data;
		item->room = more;
	}
	*room = item->room - (size_t)item->d.size;
	return item->data + item->d.size;
}

/* So many bytes more are where next_room() said. */
static int taken(struct image_writer *w, int handle, size_t n, struct err *e)
{
	struct item *item = w->items[handle];

	item->d.size += n;
	__atomic_fetch_add(&w->taken, n, __ATOMIC_RELAXED);
	if (!item->d.bulk)
		return 0;
	item->filling->size += n;
	return item->filling->size == SLAB ? hand_on(w, (size_t)handle, e) : 0;
}

static int sink_pour(void *arg, int handle, int pipe, struct err *e)
{
	struct image_writer *w = arg;

	for (;;) {
		size_t room;
		uint8_t *to = next_room(w, handle, &room, e);
		ssize_t n;

		if (!to)
			return -1;
		n = read(pipe, to, room);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return 1;
		if (n < 0)
			return err_sys(e, "cannot read from criu");
		if (n == 0)
			return 0;
		if (taken(w, handle, (size_t)n, e) < 0)
			return -1;
	}
}

int image_writer_read(struct image_writer *w, int handle, int fd, int64_t at,
		      int64_t size, struct err *e)
{
	int64_t end = at + size, whole;
	int rc = 1;

	whole = at + (size + IMAGE_PAGE - 1) / IMAGE_PAGE * IMAGE_PAGE;
	while (at < whole) {
		size_t room;
		uint8_t *to = next_room(w, handle, &room, e);
		ssize_t n = 0;

		if (!to)
			return -1;
		if (room > (uint64_t)(whole - at))
			room = (size_t)(whole - at);
		if (at < end)
			n = pread(fd, to,
				  room < (uint64_t)(end - at) ? room : (size_t)(end - at),
				  at);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(e, "cannot read it");
		if (n == 0) {
			rc = at < end ? 0 : rc;
			end = at;
			memset(to, 0, room);
			n = (ssize_t)room;
		}
		if (taken(w, handle, (size_t)n, e) < 0)
			return -1;
		at += n;
	}
	return rc;
}

static int sink_close(void *arg, int handle, struct err *e)
{
	struct image_writer *w = arg;
	struct item *item = w->items[handle];
	const struct slab *s = item->filling;

	if (s && s->size && hand_on(w, (size_t)handle, e) < 0)
		return -1;
	/* It may be empty, or its content in the spill. */
	if (item->filling) {
		pthread_mutex_lock(&w->lock);
		w->filling--;
		pthread_mutex_unlock(&w->lock);
		free_slab(w, item->filling);
		item->filling = NULL;
	}
	return 0;
}

/* To give memory to a process is to lock all of its memory, which whoever starts criu would
 * wait for. */
static void sink_begin(void *arg)
{
	struct image_writer *w = arg;

	pthread_mutex_lock(&w->lock);
	w->begun = true;
	pthread_cond_broadcast(&w->work);
	pthread_mutex_unlock(&w->lock);
}

struct image_sink image_writer_sink(struct image_writer *w)
{
	return (struct image_sink){ w, sink_open, sink_pour, sink_close, sink_begin };
}

/* ---- the parent ------------------------------------------------------------- */

/* So many small packs are leaned on; whoever restores has all of them open. */
#define PACKS_MOST 512U

static int larger_first(const void *a, const void *b)
{
	const uint64_t *one = a, *two = b;

	return *one < *two ? 1 : *one > *two ? -1 : 0;
}

/* Where there are too many, those with the least in use count as unused: what is in them is
 * written again, together. sums[] is for sorting. */
static void use_the_largest(uint32_t *used, uint64_t *sums, size_t count)
{
	uint64_t pages = 0;

	for (size_t i = 0; i < count; i++) {
		pages += used[i];
		sums[i] = (uint64_t)used[i] << 32 | i;
	}
	qsort(sums, count, sizeof(*sums), larger_first);
	/* As many large ones as it takes, each at least half in use. */
	for (size_t i = PACKS_MOST + 2 * pages / PACK_PAGES_MAX; i < count; i++)
		used[(uint32_t)sums[i]] = 0;
}

/* How many of each pack's pages the parent still uses, at least; 0 in those that are not
 * to be leaned on. */
static uint32_t *count_used(int dir, const struct image_set *parent)
{
	cleanup_free uint8_t *data = NULL;
	uint64_t *sums = calloc(parent->pack_count + 1, sizeof(*sums));
	uint32_t *used = calloc(parent->pack_count + 1, sizeof(*used));

	if (!sums || !used || meta_read(dir, parent, &data, NULL) < 0) {
		free(sums);
		free(used);
		return NULL;
	}
	for (size_t i = 0; i < parent->item_count; i++) {
		const struct image_item *item = &parent->items[i];
		const struct meta_run *r = (const void *)(data + item->offset);

		for (size_t n = 0; item->bulk && n < item->length / sizeof(*r); n++)
			if (r[n].pack < parent->pack_count)
				sums[r[n].pack] += r[n].count;
	}
	for (size_t i = 0; i < parent->pack_count; i++) {
		uint32_t pages = parent->packs[i].pages;

		used[i] = sums[i] > pages ? pages : (uint32_t)sums[i];
		if (used[i] * UINT64_C(2) < pages)
			used[i] = 0;
	}
	use_the_largest(used, sums, parent->pack_count);
	free(sums);
	return used;
}

/*
 * The parent's pages are known; a pack that cannot be read, or of which less
 * than half is still in use, is not leaned on, nor are more than a number of small
 * ones: their pages are written again, and they can go when the generations that
 * need them do.
 */
static int learn(struct image_writer *w, const struct image_set *parent,
		 uint64_t expected, struct err *e)
{
	uint64_t pages = expected / IMAGE_PAGE;
	cleanup_free uint32_t *used = NULL;
	size_t n = parent ? parent->pack_count : 0;

	if (parent)
		used = count_used(w->dir, parent);
	w->old = calloc(n + 1, sizeof(*w->old));
	w->packs = calloc(n + 1, sizeof(*w->packs));
	if (!w->old || !w->packs)
		return err_set(e, "no memory for packs");
	for (size_t i = 0; i < n; i++) {
		w->old[i].fd = -1;
		w->packs[i] = parent->packs[i];
		if (used && used[i] &&
		    pack_open(w->dir, &parent->packs[i], &w->old[i], NULL) == 0)
			pages += w->old[i].pack.pages;
		/* Only its digests are needed. */
		close_fd(&w->old[i].fd);
	}
	w->old_count = w->pack_count = n;
	if (!(w->known = known_open(pages, e)))
		return -1;
	for (size_t i = 0; i < n; i++)
		if (w->old[i].digests &&
		    known_add_pack(w->known, (uint32_t)i, w->old[i].digests,
				   w->old[i].pack.pages, e) < 0)
			return -1;
	return 0;
}

/* ---- begin and end ------------------------------------------------------------ */

/* What is to be copied while criu waits finds room at once, as far as it is
 * allowed: all of a first set; later, twice of what was new last time. */
static uint64_t buffer_size(const struct image_options *o,
			    const struct image_set *parent, uint64_t expected)
{
	uint64_t size = BUFFER_PLAIN;

	if (o->criu_first) {
		size = parent && parent->stored < expected / 2 ?
			       parent->stored * 2 :
			       expected;
		/* A guess, and it grows until criu stops it. */
		size += size / 8 + BUFFER_LEAST;
	}
	return size < o->buffer ? size : o->buffer;
}

static int make_slabs(struct image_writer *w, const struct image_set *parent,
		      uint64_t expected, struct err *e)
{
	uint64_t buffer = buffer_size(&w->options, parent, expected);
	size_t count = (size_t)(buffer / SLAB);

	if (count < SLABS_LEAST)
		count = SLABS_LEAST;
	w->memory_size = count * SLAB;
	w->memory = memory_reserve(w->memory_size);
	w->slabs = calloc(count, sizeof(*w->slabs));
	if (!w->memory || !w->slabs)
		return err_set(e, "no memory for a buffer of %zu MiB",
			       w->memory_size >> 20);
	for (size_t i = 0; i < count; i++)
		w->slabs[i].data = w->memory + i * SLAB;
	w->slab_count = count;
	return 0;
}

static int start_workers(struct image_writer *w, struct err *e)
{
	int threads = threads_for(w->options.threads);

	for (int i = 0; i < threads; i++) {
		struct worker *k = &w->workers[i];

		k->w = w;
		if (!(k->coder = block_coder_open(w->options.level, e)))
			return -1;
		w->threads = i + 1;
		errno = pthread_create(&k->thread, NULL, work, k);
		if (errno)
			return err_sys(e, "cannot start a thread");
		k->started = true;
	}
	return 0;
}

struct image_writer *image_writer_open(int dir, const char *prefix,
				       const struct image_options *options,
				       const struct image_set *parent,
				       uint64_t expected, struct err *e)
{
	struct image_writer *w = calloc(1, sizeof(*w));

	if (!w) {
		err_set(e, "no memory to write images");
		return NULL;
	}
	w->dir = dir;
	w->options = *options;
	w->last = &w->first;
	w->spill = -1;
	snprintf(w->prefix, sizeof(w->prefix), "%s", prefix);
	pthread_mutex_init(&w->lock, NULL);
	pthread_cond_init(&w->work, NULL);
	pthread_cond_init(&w->room, NULL);
	if (parent)
		memcpy(w->seed, parent->seed, sizeof(w->seed));
	else if (getrandom(w->seed, sizeof(w->seed), 0) != sizeof(w->seed)) {
		err_sys(e, "no random numbers");
		goto fail;
	}
	if (digest_begin(e) < 0)
		goto fail;
	page_key_make(w->seed, &w->key);
	if (learn(w, parent, expected, e) < 0 || make_slabs(w, parent, expected, e) < 0 ||
	    start_workers(w, e) < 0)
		goto fail;
	return w;
fail:
	image_writer_close(w);
	return NULL;
}

static void join(struct image_writer *w)
{
	pthread_mutex_lock(&w->lock);
	w->finishing = true;
	pthread_cond_broadcast(&w->work);
	pthread_mutex_unlock(&w->lock);
	for (int i = 0; i < w->threads; i++) {
		if (w->workers[i].started)
			pthread_join(w->workers[i].thread, NULL);
		w->workers[i].started = false;
	}
}

/* The page list of a bulk image: its parts' runs, those that meet made one. */
static int add_page_list(struct bytes *b, const struct item *item,
			 const uint32_t *renumber, struct err *e)
{
	struct meta_run run = { META_ZERO, 0, 0 };

	for (size_t p = 0; p < item->part_count; p++)
		for (unsigned i = 0; i < item->parts[p].count; i++) {
			struct meta_run r = item->parts[p].runs[i];

			if (!r.count) /* left out */
				continue;
			if (r.pack != META_ZERO)
				r.pack = renumber[r.pack];
			if (r.pack == run.pack && run.count < INT32_MAX &&
			    (r.pack == META_ZERO ||
			     run.page + run.count == r.page)) {
				run.count += r.count;
				continue;
			}
			if (run.count && bytes_add(b, &run, sizeof(run), e) < 0)
				return -1;
			run = r;
		}
	return run.count ? bytes_add(b, &run, sizeof(run), e) : 0;
}

/* Images of one process lie beside one another. */
static struct item *find_item(const struct image_writer *w, const char *name, size_t near)
{
	for (size_t i = 0; i < w->item_count; i++) {
		struct item *item = w->items[(near + i) % w->item_count];

		if (!strcmp(item->d.name, name))
			return item;
	}
	return NULL;
}

/* Of one process; item `at` is its page map. */
static int tidy_map_of(struct image_writer *w, size_t at, struct err *e)
{
	size_t near = at > 16 ? at - 16 : 0;
	struct item *map = w->items[at];
	struct bytes out = { NULL, 0, 0 };
	cleanup_free struct meta_run **runs = NULL;
	struct item *mm, *pages;
	char name[IMAGE_NAME_MAX + 1];
	uint32_t id;
	size_t count = 0;
	int64_t omitted;

	snprintf(name, sizeof(name), "mm-%s", map->d.name + strlen("pagemap-"));
	if (!(mm = find_item(w, name, near)) ||
	    !pagemap_pages_id(map->data, (size_t)map->d.size, &id))
		return 0;
	snprintf(name, sizeof(name), "pages-%u.img", id);
	if (!(pages = find_item(w, name, near)))
		return 0;
	for (size_t p = 0; p < pages->part_count; p++)
		count += pages->parts[p].count;
	if (!(runs = calloc(count + 1, sizeof(*runs))))
		return err_set(e, "no memory for a page map");
	count = 0;
	for (size_t p = 0; p < pages->part_count; p++)
		for (unsigned i = 0; i < pages->parts[p].count; i++)
			runs[count++] = &pages->parts[p].runs[i];
	omitted = pagemap_tidy(mm->data, (size_t)mm->d.size, map->data,
			       (size_t)map->d.size, runs, count, &out, e);
	if (omitted >= 0 && out.data) {
		free(map->data);
		map->data = out.data;
		map->d.size = out.size;
		pages->d.size -= (uint64_t)omitted * IMAGE_PAGE;
	} else {
		free(out.data);
	}
	return omitted < 0 ? -1 : 0;
}

static int tidy_maps(struct image_writer *w, struct err *e)
{
	for (size_t i = 0; i < w->item_count; i++) {
		struct item *item = w->items[i];

		/* pagemap-shmem-ID.img has no mm-shmem-ID.img beside it. */
		if (!item->d.bulk && item->d.size &&
		    !strncmp(item->d.name, "pagemap-", 8) &&
		    tidy_map_of(w, i, e) < 0)
			return -1;
	}
	return 0;
}

/* Keeps the packs that a page list names; renumber[] are their new numbers. */
static int keep_packs(struct image_writer *w, struct image_set *set,
		      uint32_t *renumber, struct err *e)
{
	for (size_t i = 0; i < w->item_count; i++)
		for (size_t p = 0; p < w->items[i]->part_count; p++) {
			const struct part *part = &w->items[i]->parts[p];

			for (unsigned n = 0; n < part->count; n++)
				if (part->runs[n].pack != META_ZERO)
					renumber[part->runs[n].pack] = 1;
		}
	if (!(set->packs = calloc(w->pack_count + 1, sizeof(*set->packs))))
		return err_set(e, "no memory for packs");
	for (size_t i = 0; i < w->pack_count; i++) {
		/* One of ours that is not named was made for nothing. */
		if (!renumber[i]) {
			if (i >= w->old_count)
				unlinkat(w->dir, w->packs[i].name, 0);
			continue;
		}
		renumber[i] = (uint32_t)set->pack_count;
		set->packs[set->pack_count++] = w->packs[i];
	}
	return 0;
}

static int describe(struct image_writer *w, struct image_set *set,
		    const uint32_t *renumber, struct bytes *b, struct err *e)
{
	if (!(set->items = calloc(w->item_count + 1, sizeof(*set->items))))
		return err_set(e, "no memory for images");
	for (size_t i = 0; i < w->item_count; i++) {
		struct item *item = w->items[i];
		const uint8_t zero[4] = { 0 };
		struct image_item *d = &set->items[set->item_count++];

		if (bytes_add(b, zero, (4 - b->size % 4) % 4, e) < 0)
			return -1;
		*d = item->d;
		d->offset = b->size;
		if ((item->d.bulk ? add_page_list(b, item, renumber, e) :
				    bytes_add(b, item->data,
					      (size_t)item->d.size, e)) < 0)
			return -1;
		d->length = b->size - d->offset;
		image_sha256(b->data ? b->data + d->offset : b->data,
			  (size_t)d->length, d->sha256);
		set->bytes += d->size;
	}
	return 0;
}

int image_writer_finish(struct image_writer *w, struct image_set *set,
			struct err *e)
{
	cleanup_free uint32_t *renumber = NULL;
	struct bytes b = { NULL, 0, 0 };
	int rc = -1;

	*set = (struct image_set){ .items = NULL };
	join(w);
	if (*w->failed.text) {
		*e = w->failed;
		return -1;
	}
	if (!(renumber = calloc(w->pack_count + 1, sizeof(*renumber))))
		return err_set(e, "no memory for packs");
	memcpy(set->seed, w->seed, sizeof(set->seed));
	snprintf(set->meta, sizeof(set->meta), "%s.meta", w->prefix);
	if ((w->options.verbatim || tidy_maps(w, e) == 0) && keep_packs(w, set, renumber, e) == 0 &&
	    describe(w, set, renumber, &b, e) == 0 &&
	    meta_write(w->dir, set, b.data, b.size, e) == 0)
		rc = 0;
	free(b.data);
	if (rc < 0) {
		image_set_free(set);
		return -1;
	}
	__atomic_fetch_add(&w->stored, set->meta_size, __ATOMIC_RELAXED);
	set->stored = w->stored;
	w->finished = true;
	return 0;
}

static void remove_files(struct image_writer *w)
{
	char meta[IMAGE_FILE_MAX + 1];

	for (size_t i = w->old_count; i < w->pack_count; i++)
		unlinkat(w->dir, w->packs[i].name, 0);
	snprintf(meta, sizeof(meta), "%s.meta", w->prefix);
	unlinkat(w->dir, meta, 0);
}

void image_writer_discard(struct image_writer *w)
{
	w->finished = false;
}

void image_writer_close(struct image_writer *w)
{
	if (!w)
		return;
	if (!w->finished)
		image_writer_cancel(w);
	join(w);
	if (!w->finished)
		remove_files(w);
	for (int i = 0; i < w->threads; i++) {
		block_coder_close(w->workers[i].coder);
		memory_put(w->workers[i].own.data, SLAB);
		pack_close(w->workers[i].pack);
	}
	while (w->first) {
		struct task *t = w->first;

		w->first = t->next;
		free(t);
	}
	if (w->spill >= 0)
		close(w->spill);
	for (size_t i = 0; i < w->item_count; i++) {
		for (size_t p = 0; p < w->items[i]->part_count; p++)
			free(w->items[i]->parts[p].runs);
		free(w->items[i]->parts);
		free(w->items[i]->data);
		free(w->items[i]);
	}
	known_close(w->known);
	for (size_t i = 0; i < w->old_count; i++)
		pack_reader_close(&w->old[i]);
	while (w->extra) {
		struct slab *s = w->extra;

		w->extra = s->extra;
		free(s->data);
		free(s);
	}
	memory_put(w->memory, w->memory_size);
	pthread_mutex_destroy(&w->lock);
	pthread_cond_destroy(&w->work);
	pthread_cond_destroy(&w->room);
	free(w->items);
	free(w->old);
	free(w->packs);
	free(w->slabs);
	free(w);
}
