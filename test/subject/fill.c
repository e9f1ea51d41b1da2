/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fill --mib N --kind random|doubles|half|text [--processes P]
 *      [--touch PERCENT] [--grow PERCENT]
 * Each of P processes (1) fills N MiB of one anonymous area; then it says ready
 * and obeys signals:
 *   SIGUSR2  writes PERCENT (5) of the pages anew, chosen at random: "touched"
 *   SIGUSR1  puts PERCENT (10) of new pages into the middle of the area, what is
 *            behind them moves up: "grown"
 *   SIGTERM  ends
 * What the measurements of test/bench dump. Every page is its own: no two pages
 * but zero ones hold the same.
 *   random   bytes that no compression shortens
 *   doubles  normally distributed numbers, as numerical codes hold
 *   half     every other page, by lot, written full of zeros; else random
 *   text     made-up words, frequent ones short, by Zipf's law, with punctuation;
 *            zstd -1 leaves 0.41 of it in blocks of 64 KiB, a little less than of
 *            English prose, more than of logs and source text
 */
#include <math.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE ((size_t)4096)
#define PAGE_WORDS (PAGE / 8)
/* An area may grow so often that it has doubled. */
#define ROOM 2

enum kind { RANDOM, DOUBLES, HALF, TEXT };
static const char *const kinds[] = { "random", "doubles", "half", "text" };

static enum kind kind;
static char *area;
static size_t pages, capacity;
static double touch_percent = 5, grow_percent = 10;
static uint64_t stream; /* differs from process to process */
static uint64_t written; /* pages written so far: the next one's seed */

/* splitmix64 */
static inline uint64_t next(uint64_t *state)
{
	uint64_t x = *state += UINT64_C(0x9e3779b97f4a7c15);

	x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
	return x ^ x >> 31;
}

/* ---- doubles: the quantiles of the normal distribution, interpolated ----- */

#define QUANTILES 4096

static double *quantiles_make(void)
{
	const double step = 1e-4;
	double *q = calloc(QUANTILES + 1, sizeof(*q)), sum = 0, x = -4.5;

	if (!q)
		return NULL;
	for (int i = 0; i <= QUANTILES; i++) {
		while (x < 4.5 && sum < (double)i / QUANTILES) {
			sum += step * exp(-x * x / 2) / sqrt(2 * M_PI);
			x += step;
		}
		q[i] = x;
	}
	return q;
}

static void doubles_page(double *page, const double *q, uint64_t seed)
{
	for (size_t i = 0; i < PAGE_WORDS; i++) {
		uint64_t x = next(&seed);
		size_t n = x >> 52;

		page[i] = q[n] + (q[n + 1] - q[n]) *
					 (double)(x & ((UINT64_C(1) << 52) - 1)) *
					 0x1p-52;
	}
}

/* ---- text: words in slots, each as often as it is frequent --------------- */

#define WORDS 4000
#define SLOTS 65536
/* Of 32 words so many are the habitual one behind the word before. */
#define HABITS 10

struct slot {
	char text[13];
	uint8_t length;
	uint16_t habit; /* the slot that often follows */
};

static size_t word_make(char *word, int rank, uint64_t *seed)
{
	static const char consonants[] = "ttttnnnnsssshhrrrrddllccmmffggpwbvk",
			  vowels[] = "eeeeeaaaoooiiiu";
	size_t length = rank < 10 ? 2 : rank < 100 ? 3 : rank < 600 ? 4 : 6;
	uint64_t x = next(seed);

	length += x % (rank < 100 ? 2 : rank < 600 ? 4 : 6);
	for (size_t i = 0; i < length; i++) {
		x = next(seed);
		/* Mostly by turns. */
		if ((i ^ (x >> 40)) & 1 && (x >> 41) % 4)
			word[i] = vowels[x % (sizeof(vowels) - 1)];
		else
			word[i] = consonants[x % (sizeof(consonants) - 1)];
	}
	return length;
}

static struct slot *slots_make(void)
{
	struct slot *slots = calloc(SLOTS, sizeof(*slots));
	uint64_t seed = 1; /* one language for all processes */
	double total = 0, sum = 0;
	int n = 0;

	if (!slots)
		return NULL;
	for (int rank = 0; rank < WORDS; rank++)
		total += 1 / (rank + 2.7);
	for (int rank = 0; rank < WORDS; rank++) {
		char word[12];
		size_t length = word_make(word, rank, &seed);
		uint64_t habit;

		habit = next(&seed);
		sum += 1 / (rank + 2.7);
		for (; n < SLOTS && n < sum / total * SLOTS; n++) {
			struct slot *s = &slots[n];
			unsigned lot = next(&seed) % 100;
			const char *after = lot < 6  ? ", " :
					    lot < 10 ? ". " :
					    lot < 12 ? ".\n" :
						       " ";

			memcpy(s->text, word, length);
			memcpy(s->text + length, after, strlen(after));
			s->length = (uint8_t)(length + strlen(after));
			s->habit = (uint16_t)habit;
		}
	}
	return slots;
}

static void text_page(char *page, const struct slot *slots, uint64_t seed)
{
	char text[PAGE + sizeof(*slots)];
	const struct slot *s = slots;
	size_t at = 0;

	while (at < PAGE) {
		uint64_t x = next(&seed), lots = x >> 48;

		for (int i = 0; i < 3 && at < PAGE; i++, x >>= 16, lots >>= 5) {
			/* Some words follow by habit: "as well as". */
			s = &slots[lots % 32 < HABITS ? s->habit : x % SLOTS];
			/* Of constant size, and so quick. */
			memcpy(text + at, s, sizeof(*s));
			at += s->length;
		}
	}
	memcpy(page, text, PAGE);
}

/* ---- the area ------------------------------------------------------------- */

static void random_page(uint64_t *page, uint64_t seed)
{
	for (size_t i = 0; i < PAGE_WORDS; i++)
		page[i] = next(&seed);
}

/* Tables live while pages are written: they are not to be dumped. */
struct tables {
	double *quantiles;
	struct slot *slots;
};

static void tables_make(struct tables *t)
{
	t->quantiles = kind == DOUBLES ? quantiles_make() : NULL;
	t->slots = kind == TEXT ? slots_make() : NULL;
	if ((kind == DOUBLES && !t->quantiles) || (kind == TEXT && !t->slots)) {
		perror("fill");
		exit(2);
	}
}

static void tables_free(struct tables *t)
{
	free(t->quantiles);
	free(t->slots);
}

static void page_write(size_t n, const struct tables *t)
{
	uint64_t seed = stream << 40 ^ written++;
	void *page = area + n * PAGE;

	seed = next(&seed);
	switch (kind) {
	case RANDOM:
		random_page(page, seed);
		break;
	case DOUBLES:
		doubles_page(page, t->quantiles, seed);
		break;
	case HALF:
		if (seed & 1)
			random_page(page, seed);
		else
			memset(page, 0, PAGE);
		break;
	case TEXT:
		text_page(page, t->slots, seed);
	}
}

static void pages_write(size_t first, size_t count)
{
	struct tables t;

	tables_make(&t);
	for (size_t i = 0; i < count; i++)
		page_write(first + i, &t);
	tables_free(&t);
}

/* Each page once at most: pages are drawn as they pass by. */
static void touch(void)
{
	size_t left = (size_t)((double)pages * touch_percent / 100);
	uint64_t seed = written;
	struct tables t;

	tables_make(&t);
	for (size_t n = 0; n < pages && left; n++) {
		if (next(&seed) % (pages - n) >= left)
			continue;
		page_write(n, &t);
		left--;
	}
	tables_free(&t);
}

static void grow(void)
{
	size_t more = (size_t)((double)pages * grow_percent / 100);
	size_t middle = pages / 2;

	if (pages + more > capacity) {
		fprintf(stderr, "fill: has grown too often\n");
		exit(2);
	}
	memmove(area + (middle + more) * PAGE, area + middle * PAGE,
		(pages - middle) * PAGE);
	pages += more;
	pages_write(middle, more);
}

static void area_make(void)
{
	capacity = pages * ROOM;
	area = mmap(NULL, capacity * PAGE, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (area == MAP_FAILED) {
		perror("fill");
		exit(2);
	}
	/* Where faults are dear (nested virtual machines) this takes a tenth of
	 * the time that writing to fresh pages takes. Older kernels refuse. */
	madvise(area, pages * PAGE, MADV_POPULATE_WRITE);
	pages_write(0, pages);
}

/* ---- processes ------------------------------------------------------------ */

static const sigset_t *commands(void)
{
	static sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigaddset(&set, SIGUSR2);
	sigaddset(&set, SIGTERM);
	return &set;
}

static int command_wait(void)
{
	int sig = 0;

	while (sigwait(commands(), &sig) != 0)
		;
	return sig;
}

static void obey(int sig)
{
	if (sig == SIGUSR2)
		touch();
	else if (sig == SIGUSR1)
		grow();
}

/* One of many: tells through the pipe what it has done. */
static void __attribute__((noreturn)) member(int done)
{
	int sig;

	area_make();
	for (;;) {
		if (write(done, "", 1) != 1)
			_exit(2);
		if ((sig = command_wait()) == SIGTERM)
			_exit(0);
		obey(sig);
	}
}

static pid_t *members_start(unsigned count, int *done)
{
	pid_t *pids = calloc(count, sizeof(*pids));
	int ends[2];

	if (!pids || pipe(ends) < 0)
		return NULL;
	for (unsigned i = 0; i < count; i++) {
		stream = i + 1;
		if ((pids[i] = fork()) < 0)
			return NULL;
		if (pids[i] == 0) {
			close(ends[0]);
			member(ends[1]);
		}
	}
	close(ends[1]);
	*done = ends[0];
	return pids;
}

/* Returns 0 when all have answered, -1 when one has ended. */
static int members_wait(int done, unsigned count)
{
	char answer;

	for (unsigned i = 0; i < count; i++)
		if (read(done, &answer, 1) != 1)
			return -1;
	return 0;
}

static void say(const char *what)
{
	printf("%s\n", what);
	fflush(stdout);
}

static int usage(void)
{
	fputs("usage: fill --mib N --kind random|doubles|half|text [--processes P]\n"
	      "            [--touch PERCENT] [--grow PERCENT]\n",
	      stderr);
	return 2;
}

static int kind_find(const char *name)
{
	for (kind = RANDOM; kind <= TEXT; kind++)
		if (!strcmp(kinds[kind], name))
			return 0;
	return -1;
}

int main(int argc, char *argv[])
{
	unsigned processes = 1;
	pid_t *pids = NULL;
	int done = -1, sig, known = 0;

	for (int i = 1; i + 1 < argc; i += 2) {
		if (!strcmp(argv[i], "--mib"))
			pages = strtoul(argv[i + 1], NULL, 10) * (1048576 / PAGE);
		else if (!strcmp(argv[i], "--processes"))
			processes = (unsigned)strtoul(argv[i + 1], NULL, 10);
		else if (!strcmp(argv[i], "--touch"))
			touch_percent = atof(argv[i + 1]);
		else if (!strcmp(argv[i], "--grow"))
			grow_percent = atof(argv[i + 1]);
		else if (!strcmp(argv[i], "--kind") && !kind_find(argv[i + 1]))
			known = 1;
		else
			return usage();
	}
	if (argc % 2 == 0 || !known || !pages || !processes ||
	    touch_percent < 0 || touch_percent > 100 || grow_percent < 0 ||
	    grow_percent > 100)
		return usage();
	sigprocmask(SIG_BLOCK, commands(), NULL);
	if (processes == 1) {
		area_make();
	} else if (!(pids = members_start(processes, &done)) ||
		   members_wait(done, processes) < 0) {
		perror("fill");
		return 2;
	}
	say("ready");
	do {
		sig = command_wait();
		for (unsigned i = 0; pids && i < processes; i++)
			kill(pids[i], sig);
		if (sig == SIGTERM)
			break;
		if (!pids)
			obey(sig);
		else if (members_wait(done, processes) < 0)
			return 2;
		say(sig == SIGUSR2 ? "touched" : "grown");
	} while (1);
	while (wait(NULL) > 0)
		;
	return 0;
}
