/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Criu dumps pages of zeros as it does others, and at a restore writes them, a
 * page fault each. In a private anonymous mapping a page that the page map
 * leaves out is one of zeros, too, and costs nothing until it is touched.
 * A short run of them is not left out: criu reads what lies between two such
 * gaps by itself, and one large piece is sooner in place than many small ones
 * (plugin/criu/populate.c). For the same reason entries that follow one another are made one: criu's are
 * as long as its pipes.
 *
 * The images are read as criu writes them (pagemap.proto, mm.proto, vma.proto): two magic
 * words, then messages with their length before them.
 */
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "pagemap.h"
#include "sckpt/image.h"

#define MAGIC_COMMON 0x54564319U /* criu/include/magic.h */
#define MAGIC_PAGEMAP 0x56084025U
#define MAGIC_MM 0x57492820U

/* vma_entry.status, criu/include/image.h */
#define VMA_REGULAR (1U << 0)
#define VMA_STACK (1U << 1)
#define VMA_VDSO (1U << 3)
#define VMA_HEAP (1U << 5)
#define VMA_ANON_PRIVATE (1U << 9)

/* pagemap_entry.flags, criu/include/pagemap.h */
#define PE_LAZY (1U << 1)
#define PE_PRESENT (1U << 2)

static bool open_image(const void *data, size_t size, uint32_t magic,
		       struct pb *messages)
{
	uint32_t found[2];

	if (size < sizeof(found))
		return false;
	memcpy(found, data, sizeof(found));
	*messages = pb_of((const uint8_t *)data + sizeof(found),
			  size - sizeof(found));
	return found[0] == MAGIC_COMMON && found[1] == magic;
}

bool pagemap_pages_id(const void *map, size_t size, uint32_t *id)
{
	struct pb_field f;
	struct pb i, m;

	if (!open_image(map, size, MAGIC_PAGEMAP, &i) ||
	    pb_message(&i, &m) <= 0 || !pb_find(m, 1, &f))
		return false;
	*id = (uint32_t)f.value;
	return true;
}

/* ---- mappings -------------------------------------------------------------- */

struct range {
	uint64_t start, end;
};

struct mapping {
	struct range at;
	uint64_t flags, status;
};

/* 1: the next of mm-PID.img's message; 0: there is no more; -1. */
static int next_mapping(struct pb *mm, struct mapping *v)
{
	struct pb_field f;
	struct pb m;
	int rc;

	do
		rc = pb_next(mm, &f);
	while (rc > 0 && f.number != 14);
	if (rc <= 0 || f.wire != PB_BYTES)
		return rc <= 0 ? rc : -1;
	*v = (struct mapping){ .flags = 0 };
	m = pb_of(f.data, (size_t)f.value);
	while ((rc = pb_next(&m, &f)) > 0)
		switch (f.number) {
		case 1:
			v->at.start = f.value;
			break;
		case 2:
			v->at.end = f.value;
			break;
		case 6:
			v->flags = f.value;
			break;
		case 7:
			v->status = f.value;
			break;
		}
	return rc < 0 ? -1 : 1;
}

static bool may_be_left_out(const struct mapping *v)
{
	return (v->flags & MAP_PRIVATE) && (v->flags & MAP_ANONYMOUS) &&
	       !(v->flags & MAP_HUGETLB) && (v->status & VMA_REGULAR) &&
	       (v->status & VMA_ANON_PRIVATE) &&
	       !(v->status & ~(VMA_REGULAR | VMA_STACK | VMA_HEAP | VMA_ANON_PRIVATE));
}

/* The mappings whose pages may be left out, in order; their number, -1: the
 * image is not understood, -2: no memory. */
static ssize_t read_mappings(const void *mm, size_t size, struct range **list)
{
	size_t count = 0, room = 0;
	struct mapping v;
	struct pb i, m;
	int rc;

	if (!open_image(mm, size, MAGIC_MM, &i) || pb_message(&i, &m) <= 0)
		return -1;
	while ((rc = next_mapping(&m, &v)) > 0) {
		if (!may_be_left_out(&v))
			continue;
		if (count == room) {
			struct range *more;

			room = room ? 2 * room : 64;
			if (!(more = realloc(*list, room * sizeof(*more))))
				return -2;
			*list = more;
		}
		if (count && v.at.start < (*list)[count - 1].end)
			return -1;
		(*list)[count++] = v.at;
	}
	return rc < 0 ? -1 : (ssize_t)count;
}

/* ---- the page map ------------------------------------------------------------ */

struct entry {
	uint64_t address, pages, flags, in_parent;
	bool wide, compat, has_parent, has_flags; /* which fields it has */
};

static bool read_entry(struct pb m, struct entry *n)
{
	uint64_t compat = 0;
	struct pb_field f;
	int rc;

	*n = (struct entry){ .address = 0 };
	while ((rc = pb_next(&m, &f)) > 0)
		switch (f.number) {
		case 1:
			n->address = f.value;
			break;
		case 2:
			compat = f.value;
			break;
		case 3:
			n->in_parent = f.value;
			n->has_parent = true;
			break;
		case 4:
			n->flags = f.value;
			n->has_flags = true;
			break;
		case 5:
			n->pages = f.value;
			n->wide = true;
			break;
		default:
			return false; /* what else it may say is not known */
		}
	n->compat = compat != 0;
	if (!n->wide)
		n->pages = compat;
	/* Without flags it is older than what is understood here. */
	return rc == 0 && n->has_flags && n->pages &&
	       (n->flags & ~PE_LAZY) == PE_PRESENT;
}

static uint8_t *put(uint8_t *p, uint32_t number, uint64_t v)
{
	*p++ = (uint8_t)(number << 3);
	for (; v >= 0x80; v >>= 7)
		*p++ = (uint8_t)(v | 0x80);
	*p++ = (uint8_t)v;
	return p;
}

static int write_entry(struct bytes *out, const struct entry *n, struct err *e)
{
	uint8_t text[64], *p = text + sizeof(uint32_t);
	uint32_t size;

	if (!n->pages)
		return 0;
	p = put(p, 1, n->address);
	p = put(p, 2, n->wide && !n->compat ? 0 : n->pages);
	if (n->has_parent)
		p = put(p, 3, n->in_parent);
	p = put(p, 4, n->flags);
	if (n->wide)
		p = put(p, 5, n->pages);
	size = (uint32_t)(p - text - (ptrdiff_t)sizeof(size));
	memcpy(text, &size, sizeof(size));
	return bytes_add(out, text, (size_t)(p - text), e);
}

/* Criu takes what one read(2) returns for an int. */
#define ENTRY_PAGES_MOST 262144U

static bool joins(const struct entry *last, const struct entry *n)
{
	return last->address + last->pages * IMAGE_PAGE == n->address &&
	       last->pages + n->pages <= ENTRY_PAGES_MOST && last->flags == n->flags &&
	       last->in_parent == n->in_parent && last->has_parent == n->has_parent &&
	       last->wide == n->wide && last->compat == n->compat;
}

/* ---- leaving out --------------------------------------------------------------- */

struct walk {
	const struct range *ranges;
	size_t range_count, range;
	struct meta_run **runs;
	size_t run_count, run;
	uint32_t used; /* pages of runs[run] that were passed */
	uint32_t *left; /* what remains of each run */
	struct bytes *out;
	struct entry last; /* not written yet: what follows may belong to it */
	uint64_t omitted;
};

/* How many of so many pages from address on lie in a mapping whose pages may
 * be left out; if none, *kept says how many do not. Addresses only grow. */
static uint64_t eligible(struct walk *w, uint64_t address, uint64_t pages,
			 uint64_t *kept)
{
	const struct range *r;
	uint64_t n;

	while (w->range < w->range_count &&
	       w->ranges[w->range].end <= address)
		w->range++;
	*kept = pages;
	if (w->range == w->range_count)
		return 0;
	r = &w->ranges[w->range];
	if (r->start > address) {
		n = (r->start - address) / IMAGE_PAGE;
		*kept = n < pages ? n : pages;
		return 0;
	}
	n = (r->end - address) / IMAGE_PAGE;
	return n < pages ? n : pages;
}

/* Zeros from here on, of at most so many pages; it need not be more than what is
 * left out at least. One stretch of them is several runs where slabs end. */
static uint64_t zeros_ahead(const struct walk *w, uint64_t most)
{
	uint64_t n = w->runs[w->run]->count - w->used;

	for (size_t i = w->run + 1; i < w->run_count && n < most &&
				    n < PAGEMAP_OMIT_LEAST &&
				    w->runs[i]->pack == META_ZERO; i++)
		n += w->runs[i]->count;
	return n < most ? n : most;
}

static int add_entry(struct walk *w, const struct entry *n, struct err *e)
{
	if (!n->pages)
		return 0;
	if (w->last.pages && joins(&w->last, n)) {
		w->last.pages += n->pages;
		return 0;
	}
	if (write_entry(w->out, &w->last, e) < 0)
		return -1;
	w->last = *n;
	return 0;
}

/* One entry, as one or more without what is left out. */
static int walk_entry(struct walk *w, struct entry n, struct err *e)
{
	struct entry now = n;
	uint64_t left = n.pages;
	bool gap = false; /* what is before was left out */

	now.pages = 0;
	while (left) {
		const struct meta_run *r = w->runs[w->run];
		uint64_t count = r->count - w->used, omit = 0, kept;

		if (count > left)
			count = left;
		kept = count;
		if (r->pack == META_ZERO)
			omit = eligible(w, n.address, zeros_ahead(w, left), &kept);
		if (omit && !gap && omit < PAGEMAP_OMIT_LEAST) {
			kept = omit;
			omit = 0;
		}
		omit = omit < count ? omit : count;
		kept = kept < count ? kept : count;
		gap = omit > 0;
		if (omit) {
			if (add_entry(w, &now, e) < 0)
				return -1;
			now.address = n.address + omit * IMAGE_PAGE;
			now.pages = 0;
			w->left[w->run] -= (uint32_t)omit;
			w->omitted += omit;
			kept = omit;
		} else {
			now.pages += kept;
		}
		n.address += kept * IMAGE_PAGE;
		left -= kept;
		w->used += (uint32_t)kept;
		if (w->used == r->count) {
			w->run++;
			w->used = 0;
		}
	}
	return add_entry(w, &now, e);
}

/* Do the map and the runs have as many pages, in order of address? */
static bool fits(struct pb i, const struct walk *w)
{
	uint64_t pages = 0, have = 0, after = 0;
	struct entry n;
	struct pb m;
	int rc;

	while ((rc = pb_message(&i, &m)) > 0) {
		if (!read_entry(m, &n) || n.address < after ||
		    n.address % IMAGE_PAGE ||
		    n.pages > (UINT64_MAX - n.address) / IMAGE_PAGE)
			return false;
		after = n.address + n.pages * IMAGE_PAGE;
		pages += n.pages;
	}
	for (size_t k = 0; k < w->run_count; k++)
		have += w->runs[k]->count;
	return rc == 0 && pages == have;
}

int64_t pagemap_tidy(const void *mm, size_t mm_size, const void *map,
			   size_t map_size, struct meta_run *runs[],
			   size_t run_count, struct bytes *out, struct err *e)
{
	cleanup_free struct range *ranges = NULL;
	cleanup_free uint32_t *left = NULL;
	struct walk w = { .runs = runs, .run_count = run_count, .out = out };
	ssize_t count = read_mappings(mm, mm_size, &ranges);
	struct entry n;
	struct pb i, m;

	if (count == -2 || !(left = calloc(run_count + 1, sizeof(*left))))
		return err_set(e, "no memory for a page map");
	if (count <= 0 || !open_image(map, map_size, MAGIC_PAGEMAP, &i) ||
	    pb_message(&i, &m) <= 0 || !fits(i, &w))
		return 0;
	for (size_t k = 0; k < run_count; k++)
		left[k] = runs[k]->count;
	w.ranges = ranges;
	w.range_count = (size_t)count;
	w.left = left;
	if (bytes_add(out, map, (size_t)(i.at - (const uint8_t *)map), e) < 0)
		return -1;
	while (pb_message(&i, &m) > 0 && read_entry(m, &n))
		if (walk_entry(&w, n, e) < 0)
			return -1;
	if (write_entry(out, &w.last, e) < 0)
		return -1;
	for (size_t k = 0; k < run_count; k++)
		runs[k]->count = left[k];
	return (int64_t)w.omitted;
}

/* ---- where pages are ------------------------------------------------------------- */

/* At the first entry, and which pages-N.img they are in. */
static bool open_map(const void *map, size_t size, uint32_t *pages, struct pb *entries)
{
	struct pb head;

	return pagemap_pages_id(map, size, pages) && open_image(map, size, MAGIC_PAGEMAP, entries) &&
	       pb_message(entries, &head) > 0;
}

/* 1: the next entry, which begins where the last one has ended, or later; 0: there is no more; -1. */
static int next_entry(struct pb *entries, uint64_t page, uint64_t *end, struct entry *n)
{
	struct pb m;
	int rc = pb_message(entries, &m);

	if (rc <= 0)
		return rc;
	if (!read_entry(m, n) || n->address < *end || n->pages > (UINT64_MAX - n->address) / page)
		return -1;
	*end = n->address + n->pages * page;
	return 1;
}

/* ---- the vDSO ------------------------------------------------------------------ */

/* 1; 0: the process has none; -1. */
static int find_vdso(const void *mm, size_t size, struct range *r)
{
	struct mapping v;
	struct pb i, m;
	int found = 0, rc;

	if (!open_image(mm, size, MAGIC_MM, &i) || pb_message(&i, &m) <= 0)
		return -1;
	while ((rc = next_mapping(&m, &v)) > 0) {
		if (!(v.status & VMA_VDSO))
			continue;
		/* Criu would take the last one. */
		if (found++ || v.at.start >= v.at.end)
			return -1;
		*r = v.at;
	}
	return rc < 0 ? -1 : found;
}

int image_vdso(const void *mm, size_t mm_size, const void *map, size_t map_size,
	       uint32_t *pages, uint64_t *at, uint64_t *size)
{
	const uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
	uint64_t passed = 0, end = 0;
	struct range r = { 0, 0 };
	int found = find_vdso(mm, mm_size, &r), rc;
	struct entry n;
	struct pb i;

	if (found < 0 || !open_map(map, map_size, pages, &i))
		return -1;
	*at = *size = 0;
	while (found && (rc = next_entry(&i, page, &end, &n)) != 0) {
		uint64_t from, to;

		if (rc < 0)
			return -1;
		from = n.address > r.start ? n.address : r.start;
		to = end < r.end ? end : r.end;
		if (from < to) {
			/* All of it, in one piece. */
			if (from != r.start + *size)
				return -1;
			if (!*size)
				*at = passed + (from - n.address);
			*size += to - from;
		}
		passed += n.pages * page;
	}
	return *size == r.end - r.start ? 0 : -1;
}

/* ---- one place ------------------------------------------------------------------- */

/* 1: all of it is in one mapping that no file and no other process has; 0; -1. */
static int is_private(const void *mm, size_t size, const struct range *r)
{
	struct mapping v;
	struct pb i, m;
	int met = 0, rc;
	bool good = false;

	if (!open_image(mm, size, MAGIC_MM, &i) || pb_message(&i, &m) <= 0)
		return -1;
	while ((rc = next_mapping(&m, &v)) > 0) {
		if (v.at.start >= r->end || v.at.end <= r->start)
			continue;
		good = !met++ && v.at.start <= r->start && v.at.end >= r->end && may_be_left_out(&v);
	}
	return rc < 0 ? -1 : good;
}

int image_place(const void *mm, size_t mm_size, const void *map, size_t map_size, uint64_t address,
		size_t bytes, uint32_t *pages, uint64_t *at)
{
	const uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
	const struct range r = { address, address + bytes };
	uint64_t passed = 0, end = 0;
	int rc = is_private(mm, mm_size, &r), found = 0;
	struct entry n;
	struct pb i;

	if (rc <= 0)
		return rc < 0 ? -1 : -2;
	if (!open_map(map, map_size, pages, &i) || address / page != (r.end - 1) / page)
		return -1;
	while ((rc = next_entry(&i, page, &end, &n)) > 0) {
		if (n.address <= address && address < end) {
			*at = passed + (address - n.address);
			found = 1;
		}
		passed += n.pages * page;
	}
	return rc < 0 ? -1 : found;
}
