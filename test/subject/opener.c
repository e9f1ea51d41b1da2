/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * opener KIND TIMES VICTIM ATTACKER NAME TRAP, as root: opens NAME as user id VICTIM, TIMES
 * times, by the function of sckpt's that opens such a thing in a store (below), while a process
 * of user id ATTACKER exchanges NAME and TRAP. Prints
 *
 *   KIND opens N swaps N right N refused N other N
 *
 * right: it was what had the name at first; other: it was not. Of what does not show which one
 * it has opened it is right that it succeeds, and the caller has to look at what the trap leads
 * to.
 */
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "pack.h"
#include "sckpt/base.h"
#include "sckpt/store.h"

/* Then it says how often it was. */
#define SECONDS 20

static const char *name, *trap, *last;
static char above[1000];
static struct store in; /* the directory that NAME is in, for what is opened by its last part */
static struct image_pack pack;
static struct stat own;
static char *text;
static unsigned long right, refused, other;

static void judge_stat(int rc, const struct stat *st)
{
	if (rc < 0)
		refused++;
	else if (st->st_dev == own.st_dev && st->st_ino == own.st_ino)
		right++;
	else
		other++;
}

/* Takes fd over. */
static void judge(int fd)
{
	struct stat st;

	judge_stat(fd < 0 ? -1 : fstat(fd, &st), &st);
	close_fd(&fd);
}

static void open_private(void)
{
	judge(dir_private(AT_FDCWD, name, false, NULL));
}

static void make_private(void)
{
	judge(dir_private(AT_FDCWD, name, true, NULL));
}

static void open_path(void)
{
	struct store s;

	store_open_path(name, &s, NULL);
	judge(s.dir);
}

static void open_step(const char *below, bool make)
{
	struct spec spec = { .cluster = "test", .step = "batch", .job = 1 };
	struct store s;

	strcpy(spec.fixed, above);
	snprintf(spec.base, sizeof(spec.base), "%.900s%s", name, below);
	judge(store_open(&spec, make, &s, NULL) ? -1 : s.dir);
}

static void open_store(void)
{
	open_step("", false);
}

static void make_store(void)
{
	open_step("", true);
}

/* NAME is only on the way to the user's own directory. */
static void open_below(void)
{
	open_step("/st", false);
}

static void make_below(void)
{
	open_step("/st", true);
}

static void read_file(void)
{
	char *data;

	if (file_read(in.dir, last, 1 << 20, &data, NULL) < 0) {
		refused++;
		return;
	}
	*(strcmp(data, text) ? &other : &right) += 1;
	free(data);
}

static void open_pack(void)
{
	struct pack_reader p;
	struct stat st;

	judge_stat(pack_open(in.dir, &pack, &p, NULL) < 0 ? -1 : fstat(p.fd, &st), &st);
	pack_reader_close(&p);
}

static void open_output(void)
{
	judge(output_open(&in, 1, false, NULL));
}

static void make_output(void)
{
	judge(output_open(&in, 1, true, NULL));
}

static void add_event(void)
{
	event_add(&in, &(struct event){ .kind = EVENT_BEGIN }, false);
	right++;
}

static void remove_tree(void)
{
	static char to[1000];
	struct stat st;
	int fd;

	if (!*to && readlink(trap, to, sizeof(to) - 1) < 0)
		exit(2);
	if (mkdirat(in.dir, last, 0700) == 0) {
		char path[1200];

		snprintf(path, sizeof(path), "%s/x", last);
		fd = openat(in.dir, path, O_WRONLY | O_CREAT | O_NOFOLLOW, 0600);
		close_fd(&fd);
	}
	if (lstat(trap, &st) == 0 && S_ISDIR(st.st_mode)) {
		tree_remove(AT_FDCWD, trap, NULL);
		refused += symlink(to, trap) < 0;
	}
	*(tree_remove(in.dir, last, NULL) < 0 ? &refused : &right) += 1;
}

static const struct kind {
	const char *name;
	void (*open)(void);
	const char *right; /* below NAME, is what is opened */
} kinds[] = {
	{ "private", open_private, "" },
	{ "private-make", make_private, "" },
	{ "path", open_path, "" },
	{ "store", open_store, "/test/1/batch" },
	{ "store-make", make_store, "/test/1/batch" },
	{ "below", open_below, "/st/test/1/batch" },
	{ "below-make", make_below, "/st/test/1/batch" },
	{ "file", read_file, "" },
	{ "pack", open_pack, "" },
	{ "output", open_output, "" },
	{ "output-make", make_output, "" },
	{ "event", add_event, "" },
	{ "remove", remove_tree, NULL },
};

static void become(const char *uid)
{
	const uid_t u = (uid_t)atoi(uid);

	if (setresgid(u, u, u) < 0 || setresuid(u, u, u) < 0)
		exit(2);
}

/* Who opens may not kill who swaps. */
struct shared {
	volatile unsigned long swaps;
	volatile bool over;
};

static void swap(struct shared *s, pid_t parent)
{
	while (!s->over && getppid() == parent)
		if (renameat2(AT_FDCWD, name, AT_FDCWD, trap, RENAME_EXCHANGE) == 0)
			s->swaps++;
	/* As it was. */
	if (s->swaps % 2)
		renameat2(AT_FDCWD, name, AT_FDCWD, trap, RENAME_EXCHANGE);
	_exit(0);
}

int main(int argc, char *argv[])
{
	unsigned long times = 0, most;
	const struct kind *k = kinds;
	struct shared *shared;
	char path[1300];
	time_t end = time(NULL) + SECONDS;
	struct err e;
	pid_t parent;

	if (argc != 7)
		return 2;
	while (strcmp(k->name, argv[1]))
		if (++k == kinds + sizeof(kinds) / sizeof(*kinds))
			return 2;
	most = strtoul(argv[2], NULL, 10);
	name = argv[5];
	trap = argv[6];
	snprintf(above, sizeof(above), "%s", name);
	dirname(above);
	last = strrchr(name, '/') + 1;
	snprintf(path, sizeof(path), "%s%s", name, k->right ? k->right : "/..");
	in = (struct store){ .dir = open(above, O_RDONLY | O_DIRECTORY | O_CLOEXEC) };
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (in.dir < 0 || shared == MAP_FAILED || (k->right && stat(path, &own) < 0)) {
		perror(path);
		return 2;
	}
	parent = getpid();
	if (fork() == 0) {
		become(argv[4]);
		swap(shared, parent);
	}
	become(argv[3]);
	if (k->open == read_file)
		while (file_read(in.dir, last, 1 << 20, &text, NULL) < 0 || strncmp(text, "right", 5))
			;
	if (k->open == open_pack) {
		struct manifest m;

		if (generation_peek(&in, (struct generation){ 1, 0 }, &m, &e) < 0) {
			fprintf(stderr, "%s\n", e.text);
			return 2;
		}
		pack = m.set.packs[0];
	}
	/* A swapper that has to wait for its turn makes all of it last longer. */
	for (; (times < most || shared->swaps < most / 10) && time(NULL) < end; times++)
		k->open();
	shared->over = true;
	wait(NULL);
	printf("%s opens %lu swaps %lu right %lu refused %lu other %lu\n", k->name, times, shared->swaps,
	       right, refused, other);
	return other != 0;
}
