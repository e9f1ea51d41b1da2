/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The keeper. Between criu and the agent, whom it does not trust, in criu's own
 * protocol. What is in images decides what criu does with its rights at a restore: so
 * each is digested on its way to the agent, and the runner has the list of digests sealed;
 * and on the way back it is read whole, compared, and served from memory. Contents of
 * memory (pages-*.img) are the program's own words anyway: their pipes go straight on. But for what is
 * believed in there: by criu the vDSO, which has to be the one of the kernel of the dump; by the kernel what
 * threads had said to it of sequences to be interrupted (rseq.c), which becomes nothing: where it
 * counts, criu says it again at the end.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <gcrypt.h>

#include "broker.h"
#include "sckpt/image.h"

#define PIECE 65536
/* Of one image that is kept in memory: of files that were deleted, most of all. */
#define IMAGE_MOST (UINT64_C(1) << 30)

/* Where in the pages of one process its vDSO is. */
struct vdso {
	uint32_t pages; /* the N of pages-N.img */
	uint64_t at, size; /* size 0: nowhere */
};

/* Where in the pages of one process a thread's rseq_cs is (linux/rseq.h). */
struct sequence {
	uint32_t pages;
	uint64_t at;
};
#define RSEQ_CS_AT 8
#define RSEQ_CS_SIZE 8
#define RSEQ_ALIGNED 32

/* An image that criu has open. */
struct kept {
	size_t image; /* in the statement's list */
	gcry_md_hd_t md;
	int to; /* dump: a pipe to the agent */
	uint8_t *data; /* restore; of pages: those that criu has not got yet */
	uint64_t at;
	size_t held, sent; /* of pages: bytes in there */
	int from; /* restore, of pages with something in them that is believed: a pipe of the agent's */
	struct vdso vdso;
	struct numbers sequences; /* then: where in there are such */
};

struct keeper {
	int agent, runner;
	struct statement s;
	size_t room; /* of s.list */
	struct kept *kept; /* of each that was opened: a handle is a place in it */
	size_t count, kept_room;
	struct vdso *vdsos;
	size_t vdso_count;
	struct sequence *sequences;
	size_t sequence_count;
	uint8_t *tree; /* pstree.img */
	size_t tree_size;
};

static int new_handle(struct keeper *k, size_t image, struct err *e)
{
	if (k->count == k->kept_room) {
		size_t room = k->kept_room ? k->kept_room * 2 : 256;
		struct kept *more = realloc(k->kept, room * sizeof(*more));

		if (!more)
			return err_set(e, "no memory for images");
		k->kept = more;
		k->kept_room = room;
	}
	k->kept[k->count] = (struct kept){ .image = image, .to = -1, .from = -1 };
	return (int)k->count++;
}

static struct stated *stated_of(const struct keeper *k, int handle)
{
	return &k->s.list[k->kept[handle].image];
}

/* ---- words between runner and keeper ------------------------------------------------- */

struct head {
	uint32_t word;
	uint32_t size;
};

static int write_all(int fd, const void *data, size_t size, struct err *e)
{
	const char *at = data;

	while (size) {
		ssize_t n = write(fd, at, size);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(e, "cannot hand images over");
		at += n;
		size -= (size_t)n;
	}
	return 0;
}

/* 1; 0: nothing more comes; -1. */
static int read_all(int fd, void *data, size_t size, struct err *e)
{
	char *at = data;

	while (size) {
		ssize_t n = read(fd, at, size);

		if (n < 0 && errno == EINTR)
			continue;
		if (n == 0)
			return 0;
		if (n < 0)
			return err_sys(e, "cannot take images");
		at += n;
		size -= (size_t)n;
	}
	return 1;
}

int keep_put(int fd, enum keep_word word, const void *data, size_t size, struct err *e)
{
	const struct head head = { word, (uint32_t)size };

	return write_all(fd, &head, sizeof(head), e) < 0 ||
			       write_all(fd, data, size, e) < 0 ?
		       -1 :
		       0;
}

int keep_get(int fd, enum keep_word *word, char **data, size_t *size, struct err *e)
{
	struct head head;
	int rc = read_all(fd, &head, sizeof(head), e);

	*data = NULL;
	if (rc <= 0)
		return rc;
	if (head.size > STATEMENT_MAX)
		return err_set(e, "too much is said of the images");
	if (!(*data = malloc((size_t)head.size + 1)))
		return err_set(e, "no memory for what is said of the images");
	rc = read_all(fd, *data, head.size, e);
	(*data)[head.size] = '\0';
	*word = head.word;
	*size = head.size;
	return rc;
}

/* ---- the agent, asked as criu asks ------------------------------------------------------ */

static int ask_image(const struct keeper *k, const char *name, struct err *e)
{
	uint8_t request[sizeof(uint32_t) + 2 + STATEMENT_NAME];
	size_t n = strlen(name);
	const uint32_t size = (uint32_t)n + 2;

	memcpy(request, &size, sizeof(size));
	request[4] = 1 << 3 | 2; /* ImgStreamerRequestEntry { filename = 1 } */
	request[5] = (uint8_t)n; /* names are shorter than 128 */
	memcpy(request + 6, name, n);
	return write_all(k->agent, request, 6 + n, e);
}

static int pass_pipe(const struct keeper *k, int pipe, struct err *e)
{
	static const char byte = 0;

	return fds_send(k->agent, &byte, 1, &pipe, 1, e);
}

/* ImgStreamerReplyEntry { exists = 1 } */
static int hear_reply(const struct keeper *k, struct err *e)
{
	uint8_t reply[6];
	const uint8_t yes[6] = { 2, 0, 0, 0, 1 << 3, 1 };
	int rc = read_all(k->agent, reply, sizeof(reply), e);

	if (rc < 0)
		return -1;
	return rc > 0 && !memcmp(reply, yes, sizeof(yes));
}

/* A whole image of at most so many bytes; malloc'ed. */
static int fetch(const struct keeper *k, const char *name, uint64_t most,
		 uint8_t **data, uint64_t *size, struct err *e)
{
	cleanup_fd int rd = -1;
	uint64_t room = 0;
	int p[2], rc;

	*data = NULL;
	*size = 0;
	if (ask_image(k, name, e) < 0 || (rc = hear_reply(k, e)) < 0)
		return -1;
	if (rc == 0)
		return err_set(e, "%s is missing", name);
	if (pipe2(p, O_CLOEXEC) < 0)
		return err_sys(e, "cannot take images");
	rd = p[0];
	rc = pass_pipe(k, p[1], e);
	close(p[1]);
	while (rc == 0) {
		ssize_t n;

		if (room - *size < PIECE) {
			uint8_t *more;

			room = room ? room * 2 : PIECE * 2;
			if (!(more = realloc(*data, room)))
				return err_set(e, "no memory for %s", name);
			*data = more;
		}
		n = read(rd, *data + *size, PIECE);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(e, "cannot take %s", name);
		if (n == 0)
			break;
		*size += (uint64_t)n;
		if (*size > most)
			return err_set(e, "%s is longer than what was sealed", name);
	}
	return rc;
}

/* ---- a dump ---------------------------------------------------------------------------- */

/* Deleted files' contents are said by criu in an image of their own, behind owner and
 * mode: they are looked at. */
static bool is_pages(const char *name)
{
	return !strncmp(name, "pages-", 6);
}

static int remember(struct keeper *k, const char *name, struct err *e)
{
	struct stated *at;

	if (!statement_name_good(name))
		return err_set(e, "criu has an image with a name that is not known");
	for (size_t i = 0; i < k->s.count; i++)
		if (!strcmp(k->s.list[i].name, name))
			return err_set(e, "criu has the image %s twice", name);
	if (k->s.count == k->room) {
		size_t room = k->room ? k->room * 2 : 256;
		struct stated *list = realloc(k->s.list, room * sizeof(*list));

		if (!list)
			return err_set(e, "no memory for images");
		k->s.list = list;
		k->room = room;
	}
	at = &k->s.list[k->s.count];
	*at = (struct stated){ .pages = is_pages(name) };
	strcpy(at->name, name);
	return new_handle(k, k->s.count++, e);
}

static int dump_open(void *arg, const char *name, struct err *e)
{
	struct keeper *k = arg;
	int handle = remember(k, name, e), p[2], rc;

	if (handle < 0 || ask_image(k, name, e) < 0)
		return -1;
	if (stated_of(k, handle)->pages)
		return handle;
	if (gcry_md_open(&k->kept[handle].md, GCRY_MD_SHA256, 0))
		return err_set(e, "no memory for a digest");
	if (pipe2(p, O_CLOEXEC) < 0)
		return err_sys(e, "cannot hand images over");
	k->kept[handle].to = p[1];
	rc = pass_pipe(k, p[0], e);
	close(p[0]);
	return rc < 0 ? -1 : handle;
}

/* Pages with something in them that is believed pass through the keeper. */
static int go_between(const struct keeper *k, struct kept *kept, struct err *e)
{
	int p[2], rc;

	if (pipe2(p, O_CLOEXEC) < 0)
		return err_sys(e, "cannot take images");
	kept->from = p[0];
	rc = pass_pipe(k, p[1], e);
	close(p[1]);
	return rc;
}

static int hand_on(void *arg, int handle, int pipe, struct err *e)
{
	const struct keeper *k = arg;

	if (!stated_of(k, handle)->pages)
		return 0;
	if (k->kept[handle].data)
		return go_between(k, &k->kept[handle], e);
	if (pass_pipe(k, pipe, e) < 0)
		return -1;
	close(pipe);
	return 1;
}

static int dump_pour(void *arg, int handle, int pipe, struct err *e)
{
	struct keeper *k = arg;
	struct kept *kept = &k->kept[handle];
	uint8_t piece[PIECE];
	ssize_t n = read(pipe, piece, sizeof(piece));

	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 1 : err_sys(e, "criu's stream broke");
	if (n == 0)
		return 0;
	gcry_md_write(kept->md, piece, (size_t)n);
	stated_of(k, handle)->size += (uint64_t)n;
	if (stated_of(k, handle)->size > IMAGE_MOST)
		return err_set(e, "a file of more than 1 GiB was deleted while it is open: close it");
	return write_all(kept->to, piece, (size_t)n, e) < 0 ? -1 : 1;
}

static int dump_close(void *arg, int handle, struct err *e)
{
	struct keeper *k = arg;
	struct kept *kept = &k->kept[handle];

	(void)e;
	memcpy(stated_of(k, handle)->sha256, gcry_md_read(kept->md, GCRY_MD_SHA256),
	       sizeof(stated_of(k, handle)->sha256));
	gcry_md_close(kept->md);
	close_fd(&kept->to);
	return 0;
}

/* Criu is through: the list is sealed, and is the last image. */
static int finish_dump(struct keeper *k, struct stream *stream, struct err *e)
{
	cleanup_free char *text = NULL, *sealed = NULL;
	enum keep_word word;
	size_t size;
	int p[2], rc;

	if (stream_drain(stream, e) < 0)
		return -1;
	if (!(text = statement_text(&k->s)))
		return err_set(e, "no memory for the list of images");
	if (keep_put(k->runner, KEEP_LIST, text, strlen(text), e) < 0 ||
	    (rc = keep_get(k->runner, &word, &sealed, &size, e)) < 0)
		return -1;
	if (rc == 0 || word != KEEP_SEALED)
		return err_set(e, "the images are not sealed");
	if (ask_image(k, BROKER_IMAGE, e) < 0 || pipe2(p, O_CLOEXEC) < 0)
		return -1;
	rc = pass_pipe(k, p[0], e);
	close(p[0]);
	if (rc == 0)
		rc = write_all(p[1], sealed, size, e);
	close(p[1]);
	return rc < 0 ? -1 : keep_put(k->runner, KEEP_DONE, NULL, 0, e);
}

/* ---- a restore -------------------------------------------------------------------------- */

static size_t find_stated(const struct keeper *k, const char *name)
{
	size_t i = 0;

	while (i < k->s.count && strcmp(k->s.list[i].name, name))
		i++;
	return i;
}

/* Images of one process. */
struct memory {
	uint32_t pid;
	const uint8_t *mm, *map;
	size_t mm_size, map_size;
};

/* It is what was sealed. */
static int fetch_good(const struct keeper *k, const struct stated *s, uint8_t **data,
		      struct err *e)
{
	uint8_t digest[32];
	uint64_t size;

	if (fetch(k, s->name, s->size, data, &size, e) < 0)
		return -1;
	image_sha256(*data, size, digest);
	return size == s->size && !memcmp(digest, s->sha256, sizeof(digest)) ?
		       0 :
		       err_set(e, "%s is not what was sealed: it was changed", s->name);
}

static int fetch_named(const struct keeper *k, const char *name, uint8_t **data, size_t *size,
		       struct err *e)
{
	size_t i = find_stated(k, name);

	if (i == k->s.count)
		return err_set(e, "%s is missing", name);
	*size = k->s.list[i].size;
	return fetch_good(k, &k->s.list[i], data, e);
}

static int add_sequence(struct keeper *k, const struct memory *m, uint64_t area, struct err *e)
{
	struct sequence at, *more;
	int rc;

	if (!area)
		return 0;
	rc = area % RSEQ_ALIGNED ? -1 :
				   image_place(m->mm, m->mm_size, m->map, m->map_size, area + RSEQ_CS_AT,
					       RSEQ_CS_SIZE, &at.pages, &at.at);
	if (rc == -2)
		return err_set(e, "a thread has its area for restartable sequences in memory that others could write to");
	if (rc < 0)
		return err_set(e, "an image of a process is not understood");
	if (rc == 0)
		return 0;
	if (!(more = realloc(k->sequences, (k->sequence_count + 1) * sizeof(*more))))
		return err_set(e, "no memory for images");
	k->sequences = more;
	more[k->sequence_count++] = at;
	return 0;
}

/* Of one thread. */
static int note_sequences(struct keeper *k, const struct memory *m, uint64_t tid, struct err *e)
{
	struct numbers areas = { .count = 0 };
	cleanup_free uint8_t *core = NULL;
	char name[STATEMENT_NAME];
	size_t size;
	int rc = 0;

	snprintf(name, sizeof(name), "core-%ju.img", (uintmax_t)tid);
	if (fetch_named(k, name, &core, &size, e) < 0)
		return -1;
	if (rseq_areas(core, size, &areas) < 0)
		rc = err_set(e, "%s is not understood", name);
	for (size_t n = 0; rc == 0 && n < areas.count; n++)
		rc = add_sequence(k, m, areas.list[n], e);
	free(areas.list);
	return rc;
}

static int note_threads(struct keeper *k, const struct memory *m, struct err *e)
{
	struct numbers tids = { .count = 0 };
	int rc = 0;

	/* Once for all processes. */
	if (!k->tree && fetch_named(k, "pstree.img", &k->tree, &k->tree_size, e) < 0)
		return -1;
	if (rseq_threads(k->tree, k->tree_size, m->pid, &tids) < 0)
		rc = err_set(e, "pstree.img is not understood");
	for (size_t n = 0; rc == 0 && n < tids.count; n++)
		rc = note_sequences(k, m, tids.list[n], e);
	free(tids.list);
	return rc;
}

static int note_vdso(struct keeper *k, const struct memory *m, struct err *e)
{
	struct vdso v = { .size = 0 }, *more;

	if (image_vdso(m->mm, m->mm_size, m->map, m->map_size, &v.pages, &v.at, &v.size) < 0)
		return err_set(e, "the images of the memory of process %u are not understood", m->pid);
	if (!v.size)
		return 0;
	if (!(more = realloc(k->vdsos, (k->vdso_count + 1) * sizeof(*more))))
		return err_set(e, "no memory for images");
	k->vdsos = more;
	more[k->vdso_count++] = v;
	return 0;
}

/* Before criu has a page map, and asks for the pages. */
static int note_memory(struct keeper *k, const struct stated *map, const uint8_t *data,
		       struct err *e)
{
	struct memory m = { .map = data, .map_size = map->size };
	cleanup_free uint8_t *mm = NULL;
	char name[STATEMENT_NAME + 4];

	/* Memory that is shared has no mappings of its own. */
	if (!strncmp(map->name, "pagemap-shmem-", 14))
		return 0;
	snprintf(name, sizeof(name), "mm-%s", map->name + strlen("pagemap-"));
	if (fetch_named(k, name, &mm, &m.mm_size, e) < 0)
		return -1;
	m.mm = mm;
	m.pid = (uint32_t)strtoul(map->name + strlen("pagemap-"), NULL, 10);
	return note_vdso(k, &m, e) < 0 ? -1 : note_threads(k, &m, e);
}

/* What criu opens, it opens in this order. */
static int open_pages(struct keeper *k, int handle, const char *name, struct err *e)
{
	struct kept *kept = &k->kept[handle];
	uint32_t pages;
	int rc;

	if (sscanf(name, "pages-%u.img", &pages) != 1)
		return err_set(e, "%s is not understood", name);
	for (size_t i = 0; i < k->vdso_count; i++)
		if (k->vdsos[i].pages == pages)
			kept->vdso = k->vdsos[i];
	for (size_t i = 0; i < k->sequence_count; i++)
		if (k->sequences[i].pages == pages && numbers_add(&kept->sequences, k->sequences[i].at) < 0)
			return err_set(e, "no memory for images");
	if ((kept->vdso.size || kept->sequences.count) &&
	    !(kept->data = malloc(kept->vdso.size > PIECE ? kept->vdso.size : PIECE)))
		return err_set(e, "no memory for images");
	if (ask_image(k, name, e) < 0 || (rc = hear_reply(k, e)) < 0)
		return -1;
	return rc ? handle : err_set(e, "%s is missing", name);
}

static int restore_open(void *arg, const char *name, struct err *e)
{
	struct keeper *k = arg;
	size_t i = find_stated(k, name);
	const struct stated *s = &k->s.list[i];
	uint8_t **data;
	int handle;

	if (i == k->s.count)
		return -2;
	if ((handle = new_handle(k, i, e)) < 0)
		return -1;
	if (s->pages)
		return open_pages(k, handle, name, e);
	data = &k->kept[handle].data;
	if (fetch_good(k, s, data, e) < 0 ||
	    (!strncmp(name, "core-", 5) && creds_look(*data, s->size, e) < 0) ||
	    (!strcmp(name, "pstree.img") && pstree_look(*data, s->size, e) < 0) ||
	    (!strcmp(name, "files.img") && connections_look(*data, s->size, e) < 0) ||
	    (!strncmp(name, "pagemap-", 8) && note_memory(k, s, *data, e) < 0))
		return -1;
	return handle;
}

/* In the next so many bytes. */
static void clear_sequences(struct kept *kept, size_t size)
{
	const uint64_t end = kept->at + size;

	for (size_t i = 0; i < kept->sequences.count; i++) {
		uint64_t from = kept->sequences.list[i], to = from + RSEQ_CS_SIZE;

		if (to <= kept->at || from >= end)
			continue;
		from = from > kept->at ? from : kept->at;
		to = to < end ? to : end;
		memset(kept->data + (from - kept->at), 0, to - from);
	}
}

/* The next of what the agent sends; 0: nothing more comes. */
static ssize_t take_pages(const struct keeper *k, struct kept *kept, struct err *e)
{
	const struct vdso *v = &kept->vdso;
	uint8_t digest[32];
	size_t most = PIECE;
	ssize_t n;

	if (v->size && kept->at == v->at) {
		if (read_all(kept->from, kept->data, v->size, e) <= 0)
			return err_set(e, "the pages of a process end too soon");
		image_sha256(kept->data, v->size, digest);
		if (memcmp(digest, k->s.vdso, sizeof(digest)))
			return err_set(e, "the vDSO of a process is not the one of the kernel where it was dumped: it was changed");
		return (ssize_t)v->size;
	}
	if (v->size && kept->at < v->at && v->at - kept->at < most)
		most = v->at - kept->at;
	do
		n = read(kept->from, kept->data, most);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return err_sys(e, "cannot take images");
	clear_sequences(kept, (size_t)n);
	return n;
}

/* One image after the other: the agent fills each pipe by itself. Copied, and not spliced: of what it has
 * lent a pipe the agent counts on that it is not longer than that (image/reader.c). */
static int pour_pages(const struct keeper *k, struct kept *kept, int pipe, struct err *e)
{
	for (;;) {
		ssize_t n;

		if (kept->sent == kept->held) {
			if ((n = take_pages(k, kept, e)) <= 0)
				return (int)n;
			kept->at += (uint64_t)n;
			kept->held = (size_t)n;
			kept->sent = 0;
		}
		n = write(pipe, kept->data + kept->sent, kept->held - kept->sent);
		if (n < 0 && errno == EPIPE)
			return 0; /* it has read enough */
		if (n < 0)
			return errno == EAGAIN || errno == EINTR ?
				       1 :
				       err_sys(e, "criu's stream broke");
		kept->sent += (size_t)n;
	}
}

static int restore_pour(void *arg, int handle, int pipe, struct err *e)
{
	struct keeper *k = arg;
	struct kept *kept = &k->kept[handle];
	const uint64_t size = stated_of(k, handle)->size;
	uint64_t left = size - kept->at;
	ssize_t n;

	if (stated_of(k, handle)->pages)
		return pour_pages(k, kept, pipe, e);
	if (!left)
		return 0;
	n = write(pipe, kept->data + kept->at, left);
	if (n < 0 && errno == EPIPE)
		return 0; /* it has read enough */
	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 1 : err_sys(e, "criu's stream broke");
	kept->at += (uint64_t)n;
	return kept->at < size;
}

static void restore_close(void *arg, int handle)
{
	struct keeper *k = arg;

	free(k->kept[handle].data);
	k->kept[handle].data = NULL;
	free(k->kept[handle].sequences.list);
	k->kept[handle].sequences = (struct numbers){ .count = 0 };
	close_fd(&k->kept[handle].from);
}

/* What was sealed, from the agent; the runner says whether it counts. */
static int learn(struct keeper *k, struct err *e)
{
	cleanup_free uint8_t *data = NULL;
	cleanup_free char *answer = NULL;
	enum keep_word word;
	uint64_t size;
	size_t n;
	int rc;

	if (fetch(k, BROKER_IMAGE, STATEMENT_MAX, &data, &size, e) < 0 ||
	    keep_put(k->runner, KEEP_VOUCH, data, size, e) < 0 ||
	    (rc = keep_get(k->runner, &word, &answer, &n, e)) < 0)
		return -1;
	/* The statement comes back, without its seal. */
	if (rc == 0 || word != KEEP_GOOD || statement_parse(answer, &k->s) < 0)
		return err_set(e, "the list of images is not sealed");
	return 0;
}

/* ---- its life ------------------------------------------------------------------------------ */

static int filter(struct err *e)
{
	static const int calls[] = {
		SCMP_SYS(read), SCMP_SYS(write), SCMP_SYS(recvmsg), SCMP_SYS(sendmsg),
		SCMP_SYS(recvfrom), SCMP_SYS(sendto), SCMP_SYS(accept4),
		SCMP_SYS(getsockopt), SCMP_SYS(poll), SCMP_SYS(ppoll),
		SCMP_SYS(epoll_wait), SCMP_SYS(epoll_pwait), SCMP_SYS(epoll_ctl),
		SCMP_SYS(pipe2), SCMP_SYS(close), SCMP_SYS(fcntl), SCMP_SYS(brk),
		SCMP_SYS(munmap), SCMP_SYS(mremap), SCMP_SYS(madvise),
		SCMP_SYS(futex), SCMP_SYS(geteuid), SCMP_SYS(restart_syscall),
		SCMP_SYS(rt_sigreturn), SCMP_SYS(exit_group), SCMP_SYS(getpid)
	};
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_KILL_PROCESS);
	int rc = ctx ? 0 : -1;

	for (size_t i = 0; rc == 0 && i < sizeof(calls) / sizeof(calls[0]); i++)
		rc = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, calls[i], 0);
	/* Never to become code. */
	if (rc == 0)
		rc = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 1,
				      SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
	if (rc == 0)
		rc = seccomp_load(ctx);
	seccomp_release(ctx);
	return rc == 0 ? 0 : err_set(e, "cannot put the keeper of images under seccomp");
}

static int serve(struct keeper *k, struct stream *stream, bool restore, struct err *e)
{
	for (;;) {
		struct pollfd p[] = { { stream_fd(stream), POLLIN, 0 },
				      { k->runner, POLLIN, 0 } };

		if (poll(p, 2, -1) < 0) {
			if (errno == EINTR)
				continue;
			return err_sys(e, "cannot wait for criu");
		}
		if (p[0].revents && stream_step(stream, e) < 0)
			return -1;
		if (p[1].revents) {
			cleanup_free char *data = NULL;
			enum keep_word word;
			size_t size;
			int rc = keep_get(k->runner, &word, &data, &size, e);

			if (rc <= 0)
				return rc;
			if (!restore && word == KEEP_FINISH &&
			    finish_dump(k, stream, e) < 0)
				return -1;
		}
	}
}

void keep(const struct broker *b, bool restore, int agent, int runner)
{
	/* The runner fills in the rest. */
	struct keeper k = { .agent = agent, .runner = runner, .s = { .cluster = "-" } };
	const struct image_sink sink = { &k, dump_open, dump_pour, dump_close, NULL };
	const struct image_source source = { &k, restore_open, restore_pour,
					     restore_close, NULL, NULL };
	struct err e = { "" };
	struct stream *stream;
	uint8_t digest[32];

	signal(SIGPIPE, SIG_IGN);
	umask(0); /* only criu gets to where the socket is */
	prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	image_sha256("", 0, digest); /* the library is ready then */
	stream = restore ? stream_open(b->dir, NULL, &source, &e) :
			   stream_open(b->dir, &sink, NULL, &e);
	if (stream)
		stream_pass_on(stream, b->uid, hand_on);
	/* Images may be large, and what is kept of them is of the step's memory. */
	if (!stream || enter_groups(b, &e) < 0 || caps_none(&e) < 0 || filter(&e) < 0 ||
	    (restore && learn(&k, &e) < 0) ||
	    keep_put(runner, KEEP_READY, NULL, 0, &e) < 0 ||
	    serve(&k, stream, restore, &e) < 0) {
		keep_put(runner, KEEP_FAILED, e.text, strlen(e.text), NULL);
		_exit(1);
	}
	_exit(0);
}
