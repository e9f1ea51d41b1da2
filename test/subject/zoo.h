/* SPDX-License-Identifier: GPL-2.0-or-later */
/* zoo: one process tree that holds a bit of everything the kernel keeps for a
 * program, and can tell whether each is still what it was. */
#ifndef ZOO_H
#define ZOO_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct exhibit {
	const char *name;
	void (*setup)(void);
	/* NULL when all is well, else what is wrong. It is called once before
	 * and once after (last); only the last look may use the exhibit up. */
	const char *(*verify)(bool last);
};

extern const struct exhibit zoo_timers[], zoo_memory[], zoo_files[],
	zoo_processes[], zoo_ipc[], zoo_sched[], zoo_threads[];

/* A directory of the test's own, on the shared file system; absolute. */
extern const char *zoo_dir;

/* Ends with a message: a test that could not be set up is no test. */
void zoo_die(const char *what) __attribute__((noreturn));
/* asprintf that dies; for messages and paths, never freed. */
const char *zoo_text(const char *fmt, ...)
	__attribute__((format(printf, 1, 2)));
/* Reads exactly n bytes; false when they do not come within ten seconds: what
 * is lost must be told, not waited for. */
bool zoo_read(int fd, void *buf, size_t n);
/* Waits up to ten seconds for pid to end with status 0. */
bool zoo_ended(pid_t pid);
void zoo_sleep(int ms);

/* Each thread looks at the clocks again and again (zoo_timers.c). */
struct clock_seen {
	long long monotonic, boottime;
};
void zoo_look_at_clocks(struct clock_seen *seen);
/* A line more in the heartbeat file, when that exhibit is on show. */
void zoo_beat(void);

#define NEED(x) \
	do { \
		if (!(x)) \
			zoo_die(#x); \
	} while (0)
#define WANT(x) \
	do { \
		if (!(x)) \
			return "not so: " #x; \
	} while (0)

#endif
