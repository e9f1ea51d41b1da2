/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * image: what criu writes and reads. Criu is run with --stream: for every
 * image file it asks us over a unix socket in its images directory and hands
 * us a pipe (criu/img-streamer.c; images/img-streamer.proto). The stream
 * does not know where images go: that is the sink's and the source's part.
 *
 * A stream is driven by the caller's own poll loop and never blocks in
 * poll: wait until stream_fd() is readable, then call stream_step().
 */
#ifndef SCKPT_IMAGE_H
#define SCKPT_IMAGE_H

#include "sckpt/base.h"

/* Where the images of a dump go. */
struct image_sink {
	void *arg;
	/* A new image; returns a handle >= 0. name holds no '/'. */
	int (*open)(void *arg, const char *name, struct err *e);
	/* Takes what the pipe (non-blocking) holds. Returns 1 when more may
	 * come, 0 at its end, -1 on error. */
	int (*pour)(void *arg, int handle, int pipe, struct err *e);
	/* The image is complete. */
	int (*close)(void *arg, int handle, struct err *e);
	/* May be NULL. Criu has been started, and comes soon. */
	void (*begin)(void *arg);
};

/* Where the images of a restore come from. */
struct image_source {
	void *arg;
	/* Returns a handle >= 0, -2 when there is no such image, -1 on error. */
	int (*open)(void *arg, const char *name, struct err *e);
	/* Puts what fits into the pipe (non-blocking). 1, 0 and -1 as above. */
	int (*pour)(void *arg, int handle, int pipe, struct err *e);
	void (*close)(void *arg, int handle);
	/* May be NULL. The pipe is empty: puts the next `size` bytes into the memory of process
	 * pid, at `to`. 1; 0: not possible, and nothing was put; -1 on error. */
	int (*put)(void *arg, int handle, pid_t pid, uint64_t to, uint64_t size,
		   struct err *e);
	/* As above. */
	void (*begin)(void *arg);
};

struct stream;

/*
 * Listens in criu's images directory (an open descriptor of it and its path,
 * which must fit into sockaddr_un). Exactly one of sink and source is given;
 * it must stay valid until stream_close(). NULL on error.
 */
struct stream *stream_open(const char *dir, const struct image_sink *sink,
			   const struct image_source *source, struct err *e);
/* The same over a connected socket, which is taken over; not when it fails. */
struct stream *stream_adopt(int fd, const struct image_sink *sink,
			    const struct image_source *source, struct err *e);
/*
 * For one who passes images on, of a criu of user `peer`: it is offered the pipe of each
 * image that was opened, and
 * 1: it has taken it, the stream is through with this image; 0: it has not; -1.
 */
typedef int stream_hand_on(void *arg, int handle, int pipe, struct err *e);
void stream_pass_on(struct stream *s, uid_t peer, stream_hand_on *hand_on);
int stream_fd(const struct stream *s);
/* Handles all that is ready. After an error the stream is of no use. */
int stream_step(struct stream *s, struct err *e);
/* Steps until no image is open any more: after criu's post-dump point, when
 * criu has closed its ends, everything has then reached the sink. */
int stream_drain(struct stream *s, struct err *e);
void stream_close(struct stream *s);

#define IMAGE_NAME_MAX 255

/* ---- a set of images on disk (doc/image-format.md) ---------------------- */

/*
 * Two kinds: metadata images (small: core, mm, files, …) are kept whole in one
 * meta file; bulk images (memory pages, deleted files) are cut into pages, and
 * a page that is in any pack already is not written again.
 */
#define IMAGE_PAGE 4096U /* the unit of deduplication, on every machine */
#define IMAGE_SHA256 32
#define IMAGE_SEED 16
#define IMAGE_FILE_MAX 63 /* of the names of packs and meta files */

void image_sha256(const void *data, size_t size, uint8_t out[IMAGE_SHA256]);
/* Of bytes [at, at + size) of a file; fails when it has not as many. */
int image_sha256_file(int fd, int64_t at, int64_t size,
		      uint8_t out[IMAGE_SHA256], struct err *e);

struct image_item {
	char name[IMAGE_NAME_MAX + 1]; /* criu's name */
	uint64_t size; /* bytes criu wrote */
	bool bulk;
	/* Where in the unpacked meta file its bytes are, or its page list. */
	uint64_t offset, length;
	uint8_t sha256[IMAGE_SHA256]; /* of those */
};

struct image_pack {
	char name[IMAGE_FILE_MAX + 1];
	uint64_t size; /* bytes of the file */
	uint64_t data; /* of which blocks; the index follows */
	uint32_t blocks, pages;
	uint8_t sha256[IMAGE_SHA256]; /* of the index */
};

struct image_set {
	uint8_t seed[IMAGE_SEED]; /* of the page digests */
	char meta[IMAGE_FILE_MAX + 1];
	uint64_t meta_size, meta_length; /* bytes in the file, and unpacked */
	uint8_t meta_sha256[IMAGE_SHA256]; /* of the file */
	struct image_item *items;
	size_t item_count;
	struct image_pack *packs; /* all that the page lists name */
	size_t pack_count;
	uint64_t bytes; /* of all images, as criu wrote them */
	uint64_t stored; /* bytes this set added to the disk */
};

/* Frees what is in it; the set itself is the caller's. */
void image_set_free(struct image_set *set);

struct image_options {
	int threads; /* 0: as many as this process may use CPUs */
	uint64_t buffer; /* bytes of memory for data under way, at least 1 MiB */
	int level; /* of zstd, 1 to 19; 0: nothing is compressed */
	uint64_t limit; /* a set that would add more bytes fails; 0: none */
	/* What criu waits for. Without, the set's end: then what takes longer
	 * to pack than to store is stored as it is. With, that criu is
	 * through: then what waits to be packed is put into a file without a
	 * name meanwhile. */
	bool criu_first;
	/* Criu's images come back as they were to the byte: nothing is left out that
	 * criu would make again. */
	bool verbatim;
};

struct image_writer;

/*
 * Begins a set in directory dir (must stay open). Its files' names begin with
 * prefix; nothing else is touched. With parent, another set in the same
 * directory, pages that its packs hold are not written again. expected: bytes
 * that will come, a guess. NULL on error.
 */
struct image_writer *image_writer_open(int dir, const char *prefix,
				       const struct image_options *options,
				       const struct image_set *parent,
				       uint64_t expected, struct err *e);
/* Criu's way in. Taking is what keeps the program frozen; the rest goes on in
 * threads beside it. */
struct image_sink image_writer_sink(struct image_writer *w);
/*
 * For images that are not criu's, between its open and its close: puts bytes [at,
 * at + size) of a file into a bulk image, and zeros up to a whole page, so that what
 * follows has its pages where it had them. Returns 1; 0 when the file was shorter, and
 * the rest is zeros; -1.
 */
int image_writer_read(struct image_writer *w, int handle, int fd, int64_t at,
		      int64_t size, struct err *e);
/* Bytes taken from criu so far, and bytes added to the disk. Any thread. */
void image_writer_progress(struct image_writer *w, uint64_t *taken,
			   uint64_t *stored);
/*
 * After the last image was closed: waits for the threads, makes everything
 * durable (fsync) and describes it in *set, which the caller frees. May run in
 * another thread than the sink did.
 */
int image_writer_finish(struct image_writer *w, struct image_set *set,
			struct err *e);
/* Makes a finish in another thread fail soon. */
void image_writer_cancel(struct image_writer *w);
/* A finished set is not to stay after all: close removes its files. */
void image_writer_discard(struct image_writer *w);
/* Frees; the files of a set that was not finished are removed. */
void image_writer_close(struct image_writer *w);

struct image_reader;

/* Opens a set and checks its meta file and the packs' indices. NULL on error. */
struct image_reader *image_reader_open(int dir, const struct image_set *set,
				       const struct image_options *options,
				       struct err *e);
/* Criu's way out: read ahead and checked in threads; criu gets no page whose
 * digest was not compared. */
struct image_source image_reader_source(struct image_reader *r);
/* Hands a whole image over, piece by piece, until take returns -1. */
int image_reader_each(struct image_reader *r, const char *name,
		      int (*take)(void *arg, const uint8_t *data, size_t size,
				  struct err *e),
		      void *arg, struct err *e);
/* Writes one whole image to fd. */
int image_reader_copy(struct image_reader *r, const char *name, int fd,
		      struct err *e);
/*
 * Of one process, by criu's mm-PID.img and pagemap-PID.img: which pages-N.img has its memory, and
 * where in there its vDSO is; *size 0: it has none. -1: that is not understood, or not all of
 * the vDSO is there.
 */
int image_vdso(const void *mm, size_t mm_size, const void *map, size_t map_size,
	       uint32_t *pages, uint64_t *at, uint64_t *size);

/*
 * Of the same process: which pages-N.img has the bytes at that address, and where. 1; 0: there is no page,
 * and so zeros; -1: that is not understood; -2: they are not in memory that is the process's alone.
 */
int image_place(const void *mm, size_t mm_size, const void *map, size_t map_size, uint64_t address,
		size_t bytes, uint32_t *pages, uint64_t *at);

/* Reads and checks every block of pack number n of the set. */
int image_reader_verify_pack(struct image_reader *r, size_t n, struct err *e);
void image_reader_close(struct image_reader *r);

#endif
