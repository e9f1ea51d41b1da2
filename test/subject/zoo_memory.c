/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Memory of all kinds, each with a pattern. */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <unistd.h>

#include "zoo.h"

#define SIZE (3 << 20)
#define PAGE ((size_t)sysconf(_SC_PAGESIZE))

/* An xorshift generator from a seed, eight bytes at a time. */
static uint64_t following(uint64_t x)
{
	x ^= x << 13;
	x ^= x >> 7;
	return x ^ x << 17;
}

static void fill(uint8_t *p, size_t size, uint64_t seed)
{
	for (size_t i = 0; i + 8 <= size; i += 8) {
		seed = following(seed);
		memcpy(p + i, &seed, 8);
	}
}

static bool intact(const uint8_t *p, size_t size, uint64_t seed)
{
	for (size_t i = 0; i + 8 <= size; i += 8) {
		seed = following(seed);
		if (memcmp(p + i, &seed, 8))
			return false;
	}
	return true;
}

/* ---- private, with protections and a lock ------------------------------------ */

static uint8_t *readable, *closed, *locked;
static int tube[2];

static uint8_t *anonymous_map(size_t size, int flags)
{
	uint8_t *p = mmap(NULL, size, PROT_READ | PROT_WRITE,
			  flags | MAP_ANONYMOUS, -1, 0);

	NEED(p != MAP_FAILED);
	return p;
}

static void private_setup(void)
{
	readable = anonymous_map(SIZE, MAP_PRIVATE);
	closed = anonymous_map(PAGE, MAP_PRIVATE);
	locked = anonymous_map(4 * PAGE, MAP_PRIVATE);
	fill(readable, SIZE, 11);
	fill(closed, PAGE, 12);
	fill(locked, 4 * PAGE, 13);
	NEED(mprotect(readable, SIZE, PROT_READ) == 0);
	NEED(mprotect(closed, PAGE, PROT_NONE) == 0);
	NEED(mlock(locked, 4 * PAGE) == 0);
	NEED(pipe2(tube, O_NONBLOCK) == 0);
}

static const char *private_verify(bool last)
{
	char c = 'x';

	WANT(intact(readable, SIZE, 11));
	WANT(intact(locked, 4 * PAGE, 13));
	/* The kernel says what is protected without a fault of ours. */
	WANT(write(tube[1], closed, 1) < 0 && errno == EFAULT);
	WANT(write(tube[1], &c, 1) == 1);
	WANT(read(tube[0], readable, 1) < 0 && errno == EFAULT);
	while (read(tube[0], &c, 1) == 1)
		;
	/* Locked memory cannot be thrown away. */
	WANT(madvise(locked, 4 * PAGE, MADV_DONTNEED) < 0);
	if (last) {
		WANT(mprotect(closed, PAGE, PROT_READ) == 0);
		WANT(intact(closed, PAGE, 12));
	}
	return NULL;
}

/* ---- shared: by two processes that must go on sharing ------------------------- */

struct shared {
	uint8_t *map;
	uint64_t seed;
	int fd;
	int ask[2], answer[2];
};

/* The child adds one to the first byte whenever asked. */
static void share(struct shared *s)
{
	pid_t child;

	fill(s->map, SIZE, s->seed);
	NEED(pipe(s->ask) == 0 && pipe(s->answer) == 0);
	child = fork();
	if (child == 0) {
		char c;

		close(s->ask[1]);
		while (read(s->ask[0], &c, 1) == 1) {
			s->map[0]++;
			if (write(s->answer[1], &c, 1) != 1)
				break;
		}
		_exit(0);
	}
	NEED(child > 0);
	close(s->ask[0]);
	close(s->answer[1]);
}

static const char *shares(struct shared *s)
{
	uint8_t before = s->map[0];
	char c = 'x';

	WANT(intact(s->map, SIZE, s->seed));
	WANT(write(s->ask[1], &c, 1) == 1 && zoo_read(s->answer[0], &c, 1));
	WANT(s->map[0] == (uint8_t)(before + 1));
	s->map[0] = before;
	return NULL;
}

static struct shared anonymous = { .seed = 21 }, memfd = { .seed = 22 },
		     devshm = { .seed = 23 };

static void anonymous_setup(void)
{
	anonymous.map = anonymous_map(SIZE, MAP_SHARED);
	share(&anonymous);
}

static const char *anonymous_verify(bool last)
{
	(void)last;
	return shares(&anonymous);
}

static void map_fd(struct shared *s)
{
	NEED(s->fd >= 0 && ftruncate(s->fd, SIZE) == 0);
	s->map = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, s->fd, 0);
	NEED(s->map != MAP_FAILED);
	share(s);
}

/* The descriptor still means what is mapped. */
static const char *fd_shares(struct shared *s)
{
	uint64_t word = 0x6f6f7a206f6f7a21;
	uint8_t kept[8], *at = s->map + PAGE;
	struct stat st;

	WANT(fstat(s->fd, &st) == 0 && st.st_size == SIZE && st.st_nlink == 0);
	memcpy(kept, at, 8);
	WANT(pwrite(s->fd, &word, 8, (off_t)PAGE) == 8);
	WANT(!memcmp(at, &word, 8));
	memcpy(at, kept, 8);
	return shares(s);
}

static void memfd_setup(void)
{
	memfd.fd = memfd_create("zoo", MFD_CLOEXEC);
	map_fd(&memfd);
}

static const char *memfd_verify(bool last)
{
	(void)last;
	return fd_shares(&memfd);
}

static void devshm_setup(void)
{
	const char *name = zoo_text("/zoo.%d.%ld", getpid(), (long)getuid());

	shm_unlink(name);
	devshm.fd = shm_open(name, O_RDWR | O_CREAT | O_EXCL, 0600);
	NEED(devshm.fd >= 0);
	/* Its name would be on this node only. */
	NEED(shm_unlink(name) == 0);
	map_fd(&devshm);
}

static const char *devshm_verify(bool last)
{
	(void)last;
	return fd_shares(&devshm);
}

/* ---- a mapped file: shared, and private with a page of its own ------------------ */

static uint8_t *of_file, *copy;
static int mapped;

static void mapping_setup(void)
{
	size_t size = 8 * PAGE;

	mapped = open(zoo_text("%s/mapped", zoo_dir),
		      O_RDWR | O_CREAT | O_TRUNC, 0600);
	NEED(mapped >= 0 && ftruncate(mapped, (off_t)size) == 0);
	of_file = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, mapped, 0);
	NEED(of_file != MAP_FAILED);
	fill(of_file, size, 24);
	copy = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE, mapped, 0);
	NEED(copy != MAP_FAILED);
	fill(copy + 3 * PAGE, PAGE, 25);
	NEED(msync(of_file, size, MS_SYNC) == 0);
}

static const char *mapping_verify(bool last)
{
	size_t size = 8 * PAGE;
	uint8_t byte;

	(void)last;
	WANT(intact(of_file, size, 24));
	WANT(intact(copy, 3 * PAGE, 24));
	WANT(intact(copy + 3 * PAGE, PAGE, 25));
	WANT(!memcmp(copy + 4 * PAGE, of_file + 4 * PAGE, 4 * PAGE));
	of_file[0] ^= 0xff;
	WANT(pread(mapped, &byte, 1, 0) == 1 && byte == of_file[0]);
	of_file[0] ^= 0xff;
	return NULL;
}

/* ---- System V: refused by criu outside an IPC namespace of the tree's own ------- */

static uint8_t *sysv;

static void sysv_setup(void)
{
	int id = shmget(IPC_PRIVATE, SIZE, IPC_CREAT | 0600);

	NEED(id >= 0);
	sysv = shmat(id, NULL, 0);
	shmctl(id, IPC_RMID, NULL);
	NEED(sysv != (void *)-1);
	fill(sysv, SIZE, 31);
}

static const char *sysv_verify(bool last)
{
	(void)last;
	WANT(intact(sysv, SIZE, 31));
	return NULL;
}

const struct exhibit zoo_memory[] = {
	{ "private-memory", private_setup, private_verify },
	{ "shared-memory", anonymous_setup, anonymous_verify },
	{ "memfd", memfd_setup, memfd_verify },
	{ "dev-shm", devshm_setup, devshm_verify },
	{ "file-mapping", mapping_setup, mapping_verify },
	{ "sysvshm", sysv_setup, sysv_verify },
	{ NULL, NULL, NULL }
};
