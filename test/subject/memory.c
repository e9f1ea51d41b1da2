/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * memory --mib N [--content random|doubles|zeros|half|text]
 *        [--touch PERCENT [--rate ROUNDS] [--spread]] [--seconds S] [--go FILE]
 * Fills N MiB, says ready, then changes PERCENT of the pages ROUNDS times a
 * second, always the same ones (the first; with --spread evenly over all), until
 * S seconds are over or FILE is there, and tells whether every page still holds
 * what was written to it last. half: each page half zeros.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define PAGE ((size_t)4096)
#define WORDS (PAGE / 8)

enum content { RANDOM, DOUBLES, ZEROS, HALF, TEXT };
static const char *const contents[] = { "random", "doubles", "zeros", "half",
					"text" };

static uint64_t *memory, *scratch;
static uint32_t *touches;
static size_t pages;
static enum content content;

static uint64_t following(uint64_t x)
{
	x ^= x << 13;
	x ^= x >> 7;
	return x ^ x << 17;
}

/* What page n holds when it was touched so many times. */
static void page_of(uint64_t *page, size_t n, uint32_t touched)
{
	static const char words[] = "the job goes on on another node and ";
	uint64_t x = (n + 1) * UINT64_C(0x9e3779b97f4a7c15) | 1;

	for (size_t i = 0; i < WORDS; i++) {
		double d;

		x = following(x);
		switch (content) {
		case ZEROS:
			page[i] = 0;
			break;
		case HALF:
			page[i] = i < WORDS / 2 ? x : 0;
			break;
		case DOUBLES:
			/* A smooth field with some noise, as in simulations. */
			d = 1.0 + (double)(n * WORDS + i) / 1e6 +
			    (double)(x >> 44) / 1e9;
			memcpy(&page[i], &d, 8);
			break;
		case TEXT:
			memcpy(&page[i],
			       words + x % (sizeof(words) - 1 - 8), 8);
			break;
		case RANDOM:
			page[i] = x;
		}
	}
	page[WORDS - 1] += touched;
}

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static int verify(void)
{
	size_t wrong = 0;

	for (size_t n = 0; n < pages; n++) {
		page_of(scratch, n, touches[n]);
		wrong += memcmp(scratch, memory + n * WORDS, PAGE) != 0;
	}
	if (wrong)
		printf("memory: FAILED: %zu of %zu pages are not what they were\n",
		       wrong, pages);
	else
		printf("memory: ok\n");
	return wrong != 0;
}

static void touch(size_t how_many, int spread)
{
	for (size_t i = 0; i < how_many; i++) {
		size_t n = spread ? i * pages / how_many : i;

		memory[n * WORDS + WORDS - 1]++;
		touches[n]++;
	}
}

static int usage(void)
{
	fputs("usage: memory --mib N [--content random|doubles|zeros|half|text]\n"
	      "              [--touch PERCENT [--rate ROUNDS] [--spread]]"
	      "\n              [--seconds S] [--go FILE]\n",
	      stderr);
	return 2;
}

int main(int argc, char *argv[])
{
	double percent = 0, rate = 1, seconds = 3600, end, next;
	const char *go = NULL;
	int spread = 0;

	for (int i = 1; i < argc; i += 2) {
		if (!strcmp(argv[i], "--spread")) {
			spread = 1;
			i--;
			continue;
		}
		if (i + 1 == argc)
			return usage();
		if (!strcmp(argv[i], "--mib"))
			pages = strtoul(argv[i + 1], NULL, 10) * (1048576 / PAGE);
		else if (!strcmp(argv[i], "--touch"))
			percent = atof(argv[i + 1]);
		else if (!strcmp(argv[i], "--rate"))
			rate = atof(argv[i + 1]);
		else if (!strcmp(argv[i], "--seconds"))
			seconds = atof(argv[i + 1]);
		else if (!strcmp(argv[i], "--go"))
			go = argv[i + 1];
		else if (!strcmp(argv[i], "--content")) {
			for (content = RANDOM; content <= TEXT; content++)
				if (!strcmp(contents[content], argv[i + 1]))
					break;
			if (content > TEXT)
				return usage();
		} else
			return usage();
	}
	if (!pages || rate <= 0 || percent < 0 || percent > 100)
		return usage();
	memory = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	touches = calloc(pages, sizeof(*touches));
	scratch = malloc(PAGE);
	if (memory == MAP_FAILED || !touches || !scratch) {
		perror("memory");
		return 2;
	}
	for (size_t n = 0; n < pages; n++)
		page_of(memory + n * WORDS, n, 0);
	printf("ready\n");
	fflush(stdout);

	end = now() + seconds;
	next = now();
	while (now() < end && !(go && access(go, F_OK) == 0)) {
		struct timespec rest = { 0, 0 };
		double left = next - now();

		if (left <= 0) {
			touch((size_t)((double)pages * percent / 100), spread);
			next = now() + left + 1 / rate;
			/* A stop is not made up for. */
			if (next < now())
				next = now();
			continue;
		}
		/* FILE is looked for often. */
		rest.tv_nsec = (long)((left > 0.1 ? 0.1 : left) * 1e9);
		nanosleep(&rest, NULL);
	}
	return verify();
}
