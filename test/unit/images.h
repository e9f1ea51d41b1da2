/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Criu's part towards an image_writer and an image_reader: pipes. */
#ifndef UNIT_IMAGES_H
#define UNIT_IMAGES_H

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "sckpt/image.h"
#include "unit.h"

struct content {
	const char *name;
	uint8_t *data;
	size_t size;
};

static inline uint64_t random_next(uint64_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return *seed;
}

static inline void fill_random(uint8_t *data, size_t size, uint64_t seed)
{
	for (size_t i = 0; i < size; i += 8) {
		uint64_t r = random_next(&seed);

		memcpy(data + i, &r, size - i < 8 ? size - i : 8);
	}
}

static inline void fill_text(uint8_t *data, size_t size, uint64_t seed)
{
	static const char *const words[] = { "the ", "program ", "stands ",
					     "still\n", "while ", "it ", "is " };
	size_t n = 0;

	while (n < size) {
		const char *w = words[random_next(&seed) % 7];

		while (*w && n < size)
			data[n++] = (uint8_t)*w++;
	}
}

static inline void open_pipe(int p[2])
{
	assert_int_equal(pipe2(p, O_CLOEXEC | O_NONBLOCK), 0);
}

/* As criu writes it: in pieces of other sizes than the reader's. */
static inline int pour_image(const struct image_sink *sink,
			     const struct content *c, struct err *e)
{
	int handle = sink->open(sink->arg, c->name, e), p[2], rc = 1;
	size_t sent = 0;

	if (handle < 0)
		return -1;
	open_pipe(p);
	while (rc == 1) {
		size_t want = c->size - sent < 30011 ? c->size - sent : 30011;
		ssize_t n = want ? write(p[1], c->data + sent, want) : 0;

		if (n > 0)
			sent += (size_t)n;
		if (sent == c->size && p[1] >= 0) {
			close(p[1]);
			p[1] = -1;
		}
		rc = sink->pour(sink->arg, handle, p[0], e);
	}
	close(p[0]);
	if (p[1] >= 0)
		close(p[1]);
	return rc < 0 ? -1 : sink->close(sink->arg, handle, e);
}

static inline int write_set(int dir, const char *prefix,
			    const struct image_options *options,
			    const struct image_set *parent,
			    const struct content *c, size_t count,
			    struct image_set *set, struct err *e)
{
	struct image_writer *w = image_writer_open(dir, prefix, options, parent,
						   0, e);
	int rc = w ? 0 : -1;

	if (w) {
		struct image_sink sink = image_writer_sink(w);

		for (size_t i = 0; rc == 0 && i < count; i++)
			rc = pour_image(&sink, &c[i], e);
		if (rc == 0)
			rc = image_writer_finish(w, set, e);
	}
	image_writer_close(w);
	return rc;
}

/* Reads an image through a pipe; -1 and e, or 0 and it is as it should be. */
static inline int take_image(struct image_reader *r, const struct content *c,
			     struct err *e)
{
	struct image_source source = image_reader_source(r);
	int handle = source.open(source.arg, c->name, e), p[2], rc = 1;
	size_t got = 0;
	uint8_t buf[17011];

	if (handle < 0)
		return -1;
	open_pipe(p);
	while (rc == 1) {
		ssize_t n;

		rc = source.pour(source.arg, handle, p[1], e);
		while ((n = read(p[0], buf, sizeof(buf))) > 0) {
			assert_true(got + (size_t)n <= c->size);
			assert_memory_equal(buf, c->data + got, n);
			got += (size_t)n;
		}
	}
	close(p[0]);
	close(p[1]);
	source.close(source.arg, handle);
	if (rc == 0)
		assert_int_equal(got, c->size);
	return rc;
}

/* Opens a set and reads all of it; wrong bytes fail the test. */
static inline int read_set(int dir, const struct image_set *set,
			   const struct image_options *options,
			   const struct content *c, size_t count, struct err *e)
{
	struct image_reader *r = image_reader_open(dir, set, options, e);
	int rc = r ? 0 : -1;

	if (r)
		image_reader_source(r).begin(r);
	for (size_t i = 0; rc == 0 && i < count; i++)
		rc = take_image(r, &c[i], e);
	image_reader_close(r);
	return rc;
}

#endif
