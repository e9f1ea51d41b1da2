/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Sets of images: what goes in comes out, or nothing does. */
#include <dirent.h>
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "image/meta.h"
#include "images.h"

#define PAGE ((size_t)IMAGE_PAGE)
#define MIB ((size_t)1 << 20)

static char top[] = "/tmp/sckpt-unit-XXXXXX";
static int dir;
static const struct image_options usual = { .threads = 2, .buffer = 4 << 20,
					    .level = 1 };

/* In place of the C library's: a disk that fails in the background. */
static int sync_error, sync_flags;

int sync_file_range(int fd, off_t offset, off_t count, unsigned flags)
{
	(void)fd;
	(void)offset;
	(void)count;
	if (!sync_error || !(flags & (unsigned)sync_flags))
		return 0;
	errno = sync_error;
	return -1;
}

static int setup(void **state)
{
	(void)state;
	return mkdtemp(top) && (dir = open(top, O_RDONLY | O_DIRECTORY)) >= 0 ?
		       0 :
		       -1;
}

static int teardown(void **state)
{
	(void)state;
	close(dir);
	return tree_remove(AT_FDCWD, top, NULL);
}

/* Each begins with an empty directory. */
static int empty(void **state)
{
	DIR *d = opendir(top);
	struct dirent *entry;

	(void)state;
	while ((entry = readdir(d)))
		if (entry->d_name[0] != '.')
			unlinkat(dir, entry->d_name, 0);
	closedir(d);
	return 0;
}

static struct content content(const char *name, size_t size)
{
	struct content c = { name, malloc(size + 1), size };

	assert_non_null(c.data);
	memset(c.data, 0, size + 1);
	return c;
}

static void free_contents(struct content *c, size_t count)
{
	for (size_t i = 0; i < count; i++)
		free(c[i].data);
}

static unsigned files(void)
{
	DIR *d = opendir(top);
	unsigned count = 0;

	while (readdir(d))
		count++;
	closedir(d);
	return count - 2; /* . and .. */
}

/* The set's own files, and not those of its parents. */
static void remove_set(const struct image_set *set)
{
	for (size_t i = 0; i < set->pack_count; i++)
		if (!strncmp(set->packs[i].name, set->meta, strlen("1-0.")))
			unlinkat(dir, set->packs[i].name, 0);
	unlinkat(dir, set->meta, 0);
}

/* ---- there and back --------------------------------------------------------- */

static void odd_sizes(void **state)
{
	static const size_t sizes[] = { 0, 1, 4095, 4096, 4097, 262143, 262144,
					262145, 1048576, 3 * 1048576 + 4095,
					9 * 1048576 + 1 };
	static const struct image_options all[] = {
		{ .threads = 1, .buffer = 1 << 20, .level = 1 },
		{ .threads = 2, .buffer = 1 << 20, .level = 0 },
		{ .threads = 3, .buffer = 8 << 20, .level = 9 },
		/* More threads than slabs. */
		{ .threads = 16, .buffer = 1, .level = 1 },
		{ .threads = 0, .buffer = 2 << 20, .level = 1 },
	};
	const size_t count = 2 * sizeof(sizes) / sizeof(sizes[0]);
	struct content c[22];
	char names[22][32];

	(void)state;
	for (size_t i = 0; i < count; i++) {
		snprintf(names[i], sizeof(names[i]), i % 2 ? "pages-%zu.img" : "core-%zu.img", i);
		c[i] = content(names[i], sizes[i / 2]);
		if (i % 4 < 2)
			fill_random(c[i].data, c[i].size, i + 1);
		else
			fill_text(c[i].data, c[i].size, i + 1);
	}
	for (size_t o = 0; o < sizeof(all) / sizeof(all[0]); o++) {
		struct image_reader *r;
		struct image_set set;
		struct err e = { "" };
		char copy[300];

		assert_int_equal(write_set(dir, "1-0", &all[o], NULL, c, count, &set, &e), 0);
		assert_int_equal(set.item_count, count);
		assert_int_equal(read_set(dir, &set, &all[o], c, count, &e), 0);
		/* People's way out. */
		r = image_reader_open(dir, &set, &all[o], &e);
		assert_non_null(r);
		assert_int_equal(take_image(r, &(struct content){ "none.img", NULL, 0 }, &e), -1);
		for (size_t i = 0; i < count; i++) {
			struct stat st;
			uint8_t *back;
			int fd;

			snprintf(copy, sizeof(copy), "%s/copy", top);
			fd = open(copy, O_RDWR | O_CREAT | O_TRUNC, 0600);
			assert_int_equal(image_reader_copy(r, c[i].name, fd, &e), 0);
			fstat(fd, &st);
			assert_int_equal(st.st_size, c[i].size);
			back = malloc(c[i].size + 1);
			assert_int_equal(pread(fd, back, c[i].size, 0), c[i].size);
			assert_memory_equal(back, c[i].data, c[i].size);
			free(back);
			close(fd);
			unlink(copy);
		}
		for (size_t i = 0; i < set.pack_count; i++)
			assert_int_equal(image_reader_verify_pack(r, i, &e), 0);
		image_reader_close(r);
		remove_set(&set);
		image_set_free(&set);
		assert_int_equal(files(), 0);
	}
	free_contents(c, count);
}

static uint64_t page_bytes(const struct image_set *set)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < set->pack_count; i++)
		sum += set->packs[i].pages * (uint64_t)IMAGE_PAGE;
	return sum;
}

static void zeros_and_equals_cost_nothing(void **state)
{
	struct content c[] = { content("pages-1.img", 8 * MIB),
			       content("pages-2.img", 4 * MIB + 100) };
	struct image_set set;
	struct err e = { "" };

	(void)state;
	/* Zeros only. */
	assert_int_equal(write_set(dir, "1-0", &usual, NULL, c, 2, &set, &e), 0);
	assert_int_equal(set.pack_count, 0);
	assert_int_equal(read_set(dir, &set, &usual, c, 2, &e), 0);
	remove_set(&set);
	image_set_free(&set);
	/* One page again and again, in both: stored once. */
	fill_random(c[0].data, PAGE, 3);
	for (size_t i = 1; i < 512; i++)
		memcpy(c[0].data + i * PAGE, c[0].data, PAGE);
	memcpy(c[1].data, c[0].data, MIB);
	assert_int_equal(write_set(dir, "1-0", &usual, NULL, c, 2, &set, &e), 0);
	assert_int_equal(page_bytes(&set), PAGE);
	assert_int_equal(read_set(dir, &set, &usual, c, 2, &e), 0);
	remove_set(&set);
	image_set_free(&set);
	free_contents(c, 2);
	assert_int_equal(files(), 0);
}

static void only_what_changed(void **state)
{
	struct content c = content("pages-1.img", 8 * MIB), grown;
	struct image_set first, second, third;
	struct err e = { "" };

	(void)state;
	fill_random(c.data, c.size, 5);
	assert_int_equal(write_set(dir, "1-0", &usual, NULL, &c, 1, &first, &e), 0);
	assert_true(first.stored > 8 * MIB);
	/* 5 % of the pages. */
	for (size_t i = 0; i < c.size / PAGE; i += 20)
		c.data[i * PAGE + 7] ^= 1;
	assert_int_equal(write_set(dir, "2-0", &usual, &first, &c, 1, &second, &e), 0);
	assert_true(second.stored < first.stored / 10);
	assert_memory_equal(second.seed, first.seed, sizeof(first.seed));
	assert_int_equal(read_set(dir, &second, &usual, &c, 1, &e), 0);
	/* 10 % more in the middle. */
	grown = content("pages-1.img", c.size + 800 * 1024);
	memcpy(grown.data, c.data, c.size / 2);
	fill_random(grown.data + c.size / 2, 800 * 1024, 77);
	memcpy(grown.data + c.size / 2 + 800 * 1024, c.data + c.size / 2, c.size / 2);
	assert_int_equal(write_set(dir, "3-0", &usual, &second, &grown, 1, &third, &e), 0);
	assert_true(third.stored < first.stored / 8);
	assert_int_equal(read_set(dir, &third, &usual, &grown, 1, &e), 0);
	/* What was before is whole still. */
	assert_int_equal(read_set(dir, &second, &usual, &c, 1, &e), 0);
	/* A parent of which a pack is gone: nothing leans on that. */
	remove_set(&third);
	image_set_free(&third);
	assert_int_equal(unlinkat(dir, first.packs[0].name, 0), 0);
	assert_int_equal(read_set(dir, &second, &usual, &c, 1, &e), -1);
	says(e, "is missing");
	assert_int_equal(write_set(dir, "3-0", &usual, &second, &grown, 1, &third, &e), 0);
	for (size_t i = 0; i < third.pack_count; i++)
		assert_string_not_equal(third.packs[i].name, first.packs[0].name);
	assert_int_equal(read_set(dir, &third, &usual, &grown, 1, &e), 0);
	remove_set(&third);
	remove_set(&second);
	remove_set(&first);
	image_set_free(&third);
	image_set_free(&second);
	image_set_free(&first);
	free(c.data);
	free(grown.data);
	assert_int_equal(files(), 0);
}

/* Each set leaves packs of few pages, all of which stay in use. */
static void many_packs(void **state)
{
	const struct image_options options = { .threads = 16, .buffer = 4 << 20 };
	const size_t slab = 256 << 10;
	struct content c = content("pages-1.img", 64 * slab);
	struct rlimit few, was;
	struct image_set last, next;
	struct err e = { "" };
	size_t i;

	(void)state;
	getrlimit(RLIMIT_NOFILE, &was);
	few = was;
	few.rlim_cur = 64;
	fill_random(c.data, c.size, 11);
	assert_int_equal(write_set(dir, "0-0", &options, NULL, &c, 1, &last, &e), 0);
	/* Beside the packs there is a meta file for each. */
	for (i = 1; files() - i < 600; i++) {
		char prefix[16];

		snprintf(prefix, sizeof(prefix), "%zu-0", i);
		for (size_t at = i % 4 * slab; at < c.size; at += 4 * slab)
			c.data[at + i / 4 % 64 * PAGE + i / 256] ^= 1;
		setrlimit(RLIMIT_NOFILE, &few);
		if (write_set(dir, prefix, &options, &last, &c, 1, &next, &e) < 0)
			fail_msg("set %zu: %s", i, e.text);
		setrlimit(RLIMIT_NOFILE, &was);
		assert_true(next.stored < c.size / 8);
		assert_true(next.pack_count <= 512 + 16);
		image_set_free(&last);
		last = next;
	}
	assert_int_equal(read_set(dir, &last, &options, &c, 1, &e), 0);
	image_set_free(&last);
	free(c.data);
}

/* More bulk images are open at once than there are slabs. */
static void many_open_at_once(void **state)
{
	const struct image_options small = { .threads = 2, .buffer = 1, .level = 1 };
	struct content c[40];
	char names[40][32];
	int pipes[40][2], handles[40];
	struct image_writer *w;
	struct image_sink sink;
	struct image_source source;
	struct image_reader *r;
	struct image_set set;
	struct err e = { "" };

	(void)state;
	w = image_writer_open(dir, "1-0", &small, NULL, 0, &e);
	assert_non_null(w);
	sink = image_writer_sink(w);
	for (int i = 0; i < 40; i++) {
		snprintf(names[i], sizeof(names[i]), "pages-%d.img", i);
		c[i] = content(names[i], 10 * PAGE + (size_t)i);
		fill_random(c[i].data, c[i].size, (uint64_t)i + 1);
		handles[i] = sink.open(sink.arg, c[i].name, &e);
		assert_int_equal(handles[i], i);
		open_pipe(pipes[i]);
	}
	for (size_t half = 0; half < 2; half++)
		for (int i = 0; i < 40; i++) {
			size_t at = half ? 5 * PAGE : 0;
			size_t n = half ? c[i].size - at : 5 * PAGE;

			assert_int_equal(write(pipes[i][1], c[i].data + at, n), n);
			assert_int_equal(sink.pour(sink.arg, handles[i], pipes[i][0], &e), 1);
		}
	for (int i = 0; i < 40; i++) {
		close(pipes[i][1]);
		assert_int_equal(sink.pour(sink.arg, handles[i], pipes[i][0], &e), 0);
		assert_int_equal(sink.close(sink.arg, handles[i], &e), 0);
		close(pipes[i][0]);
	}
	assert_int_equal(image_writer_finish(w, &set, &e), 0);
	image_writer_close(w);
	assert_int_equal(read_set(dir, &set, &small, c, 40, &e), 0);
	/* All open at once on the way out, in any order, and closed in the
	 * middle. */
	r = image_reader_open(dir, &set, &small, &e);
	source = image_reader_source(r);
	source.begin(source.arg);
	for (int i = 0; i < 40; i++) {
		handles[i] = source.open(source.arg, c[i].name, &e);
		assert_true(handles[i] >= 0);
	}
	for (int i = 39; i >= 0; i--) {
		uint8_t buf[11 * PAGE];

		open_pipe(pipes[i]);
		if (i % 3) {
			assert_int_equal(source.pour(source.arg, handles[i], pipes[i][1], &e), 0);
			assert_int_equal(read(pipes[i][0], buf, sizeof(buf)), c[i].size);
			assert_memory_equal(buf, c[i].data, c[i].size);
		}
		close(pipes[i][0]);
		close(pipes[i][1]);
		source.close(source.arg, handles[i]);
	}
	image_reader_close(r);
	remove_set(&set);
	image_set_free(&set);
	free_contents(c, 40);
	assert_int_equal(files(), 0);
}

/* What a pipe was lent stays as it is when its image is done, and the next one is read. */
static void lent_pages_stay(void **state)
{
	const struct image_options options = { .threads = 2, .buffer = 16 << 20, .level = 1 };
	struct content c[] = { content("pages-1.img", 266 * PAGE),
			       content("pages-2.img", 256 * PAGE) };
	static uint8_t got[266 * PAGE];
	struct image_source source;
	struct image_reader *r;
	struct image_set set;
	struct err e = { "" };
	int first, second, one[2], two[2];

	(void)state;
	fill_random(c[0].data, c[0].size, 1);
	fill_random(c[1].data, c[1].size, 2);
	assert_int_equal(write_set(dir, "1-0", &options, NULL, c, 2, &set, &e), 0);
	r = image_reader_open(dir, &set, &options, &e);
	source = image_reader_source(r);
	open_pipe(one);
	open_pipe(two);
	assert_true(fcntl(one[1], F_SETPIPE_SZ, 256 * PAGE) == 256 * PAGE);
	assert_true(fcntl(two[1], F_SETPIPE_SZ, 256 * PAGE) == 256 * PAGE);
	first = source.open(source.arg, c[0].name, &e);
	assert_int_equal(source.pour(source.arg, first, one[1], &e), 1);
	assert_int_equal(read(one[0], got, 10 * PAGE), 10 * PAGE);
	assert_int_equal(source.pour(source.arg, first, one[1], &e), 0);
	source.close(source.arg, first);
	second = source.open(source.arg, c[1].name, &e);
	assert_int_equal(source.pour(source.arg, second, two[1], &e), 0);
	assert_int_equal(read(one[0], got + 10 * PAGE, 256 * PAGE), 256 * PAGE);
	assert_memory_equal(got, c[0].data, c[0].size);
	assert_int_equal(read(two[0], got, 256 * PAGE), 256 * PAGE);
	assert_memory_equal(got, c[1].data, c[1].size);
	source.close(source.arg, second);
	for (int i = 0; i < 2; i++) {
		close(one[i]);
		close(two[i]);
	}
	image_reader_close(r);
	remove_set(&set);
	image_set_free(&set);
	free_contents(c, 2);
	assert_int_equal(files(), 0);
}

/* ---- failing ------------------------------------------------------------------ */

/* Parts of a file, each with zeros up to a page. */
static void parts_of_a_file(void **state)
{
	struct content in = content("file", 300 * PAGE + 10);
	struct content out = content("pages-x", 301 * PAGE);
	const struct image_options small = { .threads = 2, .buffer = 1, .level = 1 };
	struct image_writer *w;
	struct image_sink sink;
	struct image_set set;
	struct err e = { "" };
	char path[300];
	int fd, image;

	(void)state;
	fill_random(in.data, in.size, 1);
	snprintf(path, sizeof(path), "%s/file", top);
	fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
	assert_int_equal(write(fd, in.data, in.size), in.size);
	memcpy(out.data, in.data + PAGE, 199 * PAGE);
	memcpy(out.data + 199 * PAGE, in.data + 200 * PAGE, 5);
	memcpy(out.data + 200 * PAGE, in.data, 7);
	/* It is shorter than that. */
	memcpy(out.data + 201 * PAGE, in.data + 202 * PAGE, 98 * PAGE + 10);
	w = image_writer_open(dir, "1-0", &small, NULL, 0, &e);
	sink = image_writer_sink(w);
	image = sink.open(sink.arg, out.name, &e);
	assert_int_equal(image_writer_read(w, image, fd, PAGE, 199 * PAGE, &e), 1);
	assert_int_equal(image_writer_read(w, image, fd, 200 * PAGE, 5, &e), 1);
	assert_int_equal(image_writer_read(w, image, fd, 0, 7, &e), 1);
	assert_int_equal(image_writer_read(w, image, fd, 202 * PAGE, 100 * PAGE, &e), 0);
	assert_int_equal(image_writer_read(w, image, -1, 0, 1, &e), -1);
	assert_int_equal(sink.close(sink.arg, image, &e), 0);
	assert_int_equal(image_writer_finish(w, &set, &e), 0);
	image_writer_close(w);
	assert_int_equal(read_set(dir, &set, &small, &out, 1, &e), 0);
	close(fd);
	remove_set(&set);
	image_set_free(&set);
	free_contents(&in, 1);
	free_contents(&out, 1);
}

static void limit(void **state)
{
	struct image_options options = usual;
	struct content c = content("pages-1.img", 16 * MIB);
	struct image_set set;
	struct err e = { "" };

	(void)state;
	options.limit = 3 * MIB;
	fill_random(c.data, c.size, 9);
	assert_int_equal(write_set(dir, "1-0", &options, NULL, &c, 1, &set, &e), -1);
	says(e, "left of the quota");
	assert_int_equal(files(), 0);
	/* What is known already does not count. */
	options.limit = 0;
	assert_int_equal(write_set(dir, "1-0", &options, NULL, &c, 1, &set, &e), 0);
	options.limit = 3 * MIB;
	struct image_set second;
	assert_int_equal(write_set(dir, "2-0", &options, &set, &c, 1, &second, &e), 0);
	remove_set(&second);
	remove_set(&set);
	image_set_free(&second);
	image_set_free(&set);
	free(c.data);
	assert_int_equal(files(), 0);
}

static void name_taken(void **state)
{
	struct content c = content("pages-1.img", MIB);
	struct image_set set;
	struct err e = { "" };
	int fd;

	(void)state;
	fill_random(c.data, c.size, 9);
	fd = openat(dir, "1-0.meta", O_CREAT | O_WRONLY, 0600);
	close(fd);
	assert_int_equal(write_set(dir, "1-0", &usual, NULL, &c, 1, &set, &e), -1);
	says(e, "cannot make 1-0.meta");
	unlinkat(dir, "1-0.meta", 0);
	fd = openat(dir, "1-0.0.pack", O_CREAT | O_WRONLY, 0600);
	close(fd);
	assert_int_equal(write_set(dir, "1-0", &usual, NULL, &c, 1, &set, &e), -1);
	says(e, "cannot make 1-0.0.pack");
	unlinkat(dir, "1-0.0.pack", 0);
	free(c.data);
	assert_int_equal(files(), 0);
}

static void *call_off(void *arg)
{
	usleep(2000);
	image_writer_cancel(arg);
	return NULL;
}

static void cancel(void **state)
{
	struct content c = content("pages-1.img", 32 * MIB);

	(void)state;
	fill_random(c.data, c.size, 9);
	for (int i = 0; i < 10; i++) {
		struct image_options options = usual;
		struct err e = { "" };
		struct image_writer *w;
		struct image_sink sink;
		struct image_set set;
		pthread_t t;

		options.level = 19;
		w = image_writer_open(dir, "1-0", &options, NULL, 0, &e);
		assert_non_null(w);
		sink = image_writer_sink(w);
		pthread_create(&t, NULL, call_off, w);
		if (pour_image(&sink, &c, &e) == 0)
			assert_int_equal(image_writer_finish(w, &set, &e), -1);
		says(e, "called off");
		pthread_join(t, NULL);
		image_writer_close(w);
		assert_int_equal(files(), 0);
	}
	free(c.data);
}

/* Between the two words of a cancel, the second of which is said with the lock held. */
static _Thread_local bool slow;

int pthread_mutex_lock(pthread_mutex_t *m)
{
	static int (*real)(pthread_mutex_t *m);

	if (!real)
		*(void **)&real = dlsym(RTLD_NEXT, "pthread_mutex_lock");
	if (slow)
		usleep(500000);
	return real(m);
}

static void *call_off_slowly(void *arg)
{
	slow = true;
	image_writer_cancel(arg);
	return NULL;
}

static void cancel_in_between(void **state)
{
	struct image_options options = { .threads = 1, .buffer = 16 << 20, .level = 9 };
	struct content c = content("pages-1.img", 12 * MIB);
	struct image_writer *w;
	struct image_sink sink;
	struct image_set set;
	struct err e = { "" };
	pthread_t t;

	(void)state;
	fill_text(c.data, c.size, 9);
	w = image_writer_open(dir, "1-0", &options, NULL, 0, &e);
	assert_non_null(w);
	sink = image_writer_sink(w);
	assert_int_equal(pour_image(&sink, &c, &e), 0);
	pthread_create(&t, NULL, call_off_slowly, w);
	assert_int_equal(image_writer_finish(w, &set, &e), -1);
	says(e, "called off");
	pthread_join(t, NULL);
	image_writer_close(w);
	free(c.data);
	assert_int_equal(files(), 0);
}

/* ---- damage ------------------------------------------------------------------- */

static void damage_file(const struct image_set *set, const char *name,
			const struct content *c, size_t count, size_t step)
{
	cleanup_free char *good = NULL;
	struct err e = { "" };
	ssize_t size = file_read(dir, name, 64 << 20, &good, &e);
	int fd = openat(dir, name, O_RDWR);
	char away[300];

	assert_true(size > 0 && fd >= 0);
	/* Both ends and every step-th byte between; all bits of the header. */
	for (ssize_t at = 0; at < size;
	     at += at < 64 || at > size - 700 ? 1 : (ssize_t)step)
		for (int bit = at < 24 ? 0 : at % 8; bit <= (at < 24 ? 7 : at % 8); bit++) {
			char byte = (char)(good[at] ^ (1 << bit));

			*e.text = '\0';
			assert_int_equal(pwrite(fd, &byte, 1, at), 1);
			if (read_set(dir, set, &usual, c, count, &e) == 0)
				fail_msg("bit %d of byte %zd of %s (of %zd) can be flipped", bit, at, name, size);
			assert_true(*e.text);
			assert_int_equal(pwrite(fd, good + at, 1, at), 1);
		}
	for (ssize_t at = size; at-- > 0; at -= size / 20) {
		*e.text = '\0';
		assert_int_equal(ftruncate(fd, at), 0);
		assert_int_equal(read_set(dir, set, &usual, c, count, &e), -1);
		assert_true(*e.text);
	}
	assert_int_equal(pwrite(fd, good, (size_t)size, 0), size);
	/* Longer than it was. */
	assert_int_equal(pwrite(fd, good, 1, size), 1);
	assert_int_equal(read_set(dir, set, &usual, c, count, &e), -1);
	assert_int_equal(ftruncate(fd, size), 0);
	snprintf(away, sizeof(away), "%s.away", name);
	assert_int_equal(renameat(dir, name, dir, away), 0);
	assert_int_equal(read_set(dir, set, &usual, c, count, &e), -1);
	says(e, name);
	assert_int_equal(renameat(dir, away, dir, name), 0);
	assert_int_equal(read_set(dir, set, &usual, c, count, &e), 0);
	close(fd);
}

static void damage(void **state)
{
	const struct image_options one = { .threads = 1, .buffer = 1 << 20, .level = 1 };
	struct content c[] = { content("pages-1.img", 12 * PAGE),
			       content("core-1.img", 700), content("ghost-file-3.img", 5000) };
	struct content other[] = { content("pages-1.img", 12 * PAGE),
				   content("core-1.img", 700), content("ghost-file-3.img", 5000) };
	struct image_set set, second;
	struct err e = { "" };

	(void)state;
	fill_text(c[0].data, 6 * PAGE, 4);
	fill_random(c[0].data + 8 * PAGE, 2 * PAGE, 4);
	fill_text(c[1].data, c[1].size, 5);
	fill_random(c[2].data, c[2].size, 6);
	fill_random(other[0].data, other[0].size, 7);
	fill_text(other[1].data, other[1].size, 8);
	fill_random(other[2].data, other[2].size, 9);
	assert_int_equal(write_set(dir, "1-0", &one, NULL, c, 3, &set, &e), 0);
	assert_int_equal(write_set(dir, "2-0", &one, NULL, other, 3, &second, &e), 0);
	assert_int_equal(set.pack_count, 1);
	damage_file(&set, set.meta, c, 3, 1);
	damage_file(&set, set.packs[0].name, c, 3, 101);
	/* Each for the other set's. */
	for (int which = 0; which < 2; which++) {
		const char *mine = which ? set.meta : set.packs[0].name;
		const char *its = which ? second.meta : second.packs[0].name;

		assert_int_equal(renameat(dir, mine, dir, "away"), 0);
		assert_int_equal(linkat(dir, its, dir, mine, 0), 0);
		*e.text = '\0';
		assert_int_equal(read_set(dir, &set, &usual, c, 3, &e), -1);
		assert_true(*e.text);
		unlinkat(dir, mine, 0);
		assert_int_equal(renameat(dir, "away", dir, mine), 0);
	}
	assert_int_equal(read_set(dir, &set, &usual, c, 3, &e), 0);
	remove_set(&set);
	remove_set(&second);
	image_set_free(&set);
	image_set_free(&second);
	free_contents(c, 3);
	free_contents(other, 3);
	assert_int_equal(files(), 0);
}

#define SET_TEST(f) cmocka_unit_test_setup(f, empty)

/* What the reader would refuse is not written. */
static void larger_than_it_may_be(void **state)
{
	struct image_set set = { .meta = "1-0.meta" };
	struct err e = { "" };

	(void)state;
	assert_int_equal(meta_write(dir, &set, "", META_MAX, &e), -1);
	says(e, "1-0.meta would be larger than it may be");
	assert_int_equal(files(), 0);
}

/* The kernel tells an error of the disk once: to whom waits for it first. */
static void an_error_while_it_is_sent_on(void **state)
{
	static const struct image_options one = { .threads = 1, .buffer = 4 << 20 };
	const int flags[] = { SYNC_FILE_RANGE_WRITE, SYNC_FILE_RANGE_WAIT_AFTER };
	struct content c = content("pages-1.img", 32 * MIB);
	struct image_set set;

	(void)state;
	fill_random(c.data, c.size, 3);
	for (int i = 0; i < 2; i++) {
		struct err e = { "" };

		sync_flags = flags[i];
		sync_error = EIO;
		assert_int_equal(write_set(dir, "1-0", &one, NULL, &c, 1, &set, &e), -1);
		says(e, "cannot write 1-0.");
		says(e, strerror(EIO));
		/* There is none there. */
		sync_error = ENOSYS;
		assert_int_equal(write_set(dir, "2-0", &one, NULL, &c, 1, &set, &e), 0);
		remove_set(&set);
		image_set_free(&set);
	}
	sync_error = 0;
	free_contents(&c, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SET_TEST(odd_sizes),
		SET_TEST(zeros_and_equals_cost_nothing),
		SET_TEST(only_what_changed),
		SET_TEST(many_packs),
		SET_TEST(many_open_at_once),
		SET_TEST(lent_pages_stay),
		SET_TEST(parts_of_a_file),
		SET_TEST(limit),
		SET_TEST(name_taken),
		SET_TEST(cancel),
		SET_TEST(cancel_in_between),
		SET_TEST(damage),
		SET_TEST(larger_than_it_may_be),
		SET_TEST(an_error_while_it_is_sent_on),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
