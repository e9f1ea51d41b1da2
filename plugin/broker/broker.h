/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * sckpt-broker: runs criu for one step with more than CAP_CHECKPOINT_RESTORE
 * (include/sckpt/broker.h). Its processes:
 *
 *   broker    (broker.c) waits for the agent's requests, beside slurmstepd;
 *   keeper    (keep.c) for one request: all images pass through it, but for the
 *             contents of memory; in the step's cgroups; no capability, and a seccomp filter;
 *   runner    (run.c) for one request: inside of the step's namespaces and cgroups
 *             (enter.c); starts criu, and is what criu's hook asks.
 *
 * All are root's by user id. Only criu is the user's.
 */
#ifndef BROKER_H
#define BROKER_H

#include <linux/capability.h>
#include <sys/types.h>

#include "sckpt/broker.h"
#include "sckpt/criu.h"

#define SPACES 6

/* In its directory, of the runner's. In one of the user's, they could answer in the runner's place. */
#define HOOK_NAME "hook.sock"

/* What a process of the step may have. */
#define ALLOWED_CAPS (UINT64_C(1) << CAP_CHECKPOINT_RESTORE)

struct broker {
	uint32_t job;
	const char *step, *cluster, *criu;
	uid_t uid;
	int allowed; /* ELEVATE_* */
	int sock; /* the agent's other end */
	pid_t agent; /* 0: not known yet */
	int agent_fd; /* pidfd */
	int spaces[SPACES]; /* its namespaces when it greeted; -1: the kernel has none such */
	int images; /* directory of criu's socket, open */
	char dir[128]; /* its path, outside */
};

/* ---- say.c: the node's system log (authpriv) --------------------------------------- */

void say_open(uint32_t job, const char *step);
/* A line; after many of a step few of them. */
void say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* ---- enter.c --------------------------------------------------------------------- */

/* Nothing but what criu and its start need. allowed: ELEVATE_*. */
int caps_cut(int allowed, struct err *e);
int caps_none(struct err *e);
/* At the greeting: later the agent may be where its user wants it. */
int keep_namespaces(struct broker *b, pid_t agent, struct err *e);
/* Into the cgroups of the agent, onto its CPUs; then into the namespaces that were kept. */
int enter_groups(const struct broker *b, struct err *e);
int enter_namespaces(const struct broker *b, struct err *e);
/* What it does with files from here on it does as the user. */
int files_as_user(const struct broker *b, struct err *e);
/* In a child: becomes the user, with CAP_CHECKPOINT_RESTORE, CAP_SYS_CHROOT and `needs`, all
 * ambient. */
int become_user(const struct broker *b, int needs, struct err *e);
/* What the processes that criu restores have of these until they have their own (1 << CAP_…). */
uint64_t caps_of_restored(int needs);

/* ---- look.c: the step's processes, seen from inside --------------------------------- */

/*
 * What criu needs for them (ELEVATE_*). -1: they are not to be dumped with more than the user
 * has, and e says why. vdso: of vdso_digest(), which those of the processes have to be.
 */
int look_at_tree(const struct broker *b, const uint8_t vdso[32], int *needs, struct err *e);
/*
 * -1 unless this criu, which is not waited for yet, has held all of the tree till now. Its user can have it
 * end, or believe that its hook has failed; it goes on with the root first (pstree_switch_state(), criu/seize.c).
 */
int look_whether_it_stands(pid_t criu, struct err *e);
/* What this node asks for beside that: ELEVATE_PTRACE or 0. */
int look_at_node(void);
/* SHA-256 of the vDSO that this process has of this kernel. */
int vdso_digest(uint8_t out[32], struct err *e);
/* The root is in the agent's cgroups. */
int look_at_groups(struct err *e);
/* At a restore: timers_start() for the tree. */
int start_timers(struct err *e);

/* Inodes of all sockets that the tree holds; malloc'ed. */
int look_for_sockets(unsigned long **list, size_t *count, struct err *e);

/* ---- repair.c: repair mode of connections, at a dump ------------------------------------ */

struct repaired;
struct repairs {
	int sock; /* readable when criu asks; -1: it is not heard */
	struct repaired *list; /* those in repair mode */
	size_t count, room;
	unsigned long *ours; /* inodes */
	size_t our_count;
};

/* dir: where criu's hook asks, too. */
int repairs_begin(struct repairs *r, int dir, struct err *e);
/* One request, which has to be this criu's. */
void repairs_hear(struct repairs *r, pid_t criu);
/* What is in repair mode still is not any more, and criu is heard no more. broken: connections are
 * broken without a word to the other end, which is gone. */
void repairs_end(struct repairs *r, bool broken);

/* ---- statement.c: what the broker vouches for ----------------------------------------- */

#define STATEMENT_MAX (64 << 20)
#define STATEMENT_NAME 128

struct stated {
	char name[STATEMENT_NAME];
	bool pages; /* contents of memory: not looked at */
	uint64_t size;
	uint8_t sha256[32];
};

struct statement {
	char cluster[128];
	uint32_t uid;
	int needs;
	uint8_t vdso[32]; /* SHA-256 of what its kernel gave processes */
	struct stated *list;
	size_t count;
};

/* malloc'ed text, and back; -1 unless it is exactly what the first would make. */
char *statement_text(const struct statement *s);
int statement_parse(const char *text, struct statement *s);
void statement_free(struct statement *s);
bool statement_name_good(const char *name);

/* ---- creds.c: what an image would make of its process ------------------------------- */

/* Bytes: two words, before an image's first message. */
#define MAGICS 8
/* A core-*.img: -1 when its process would have more capabilities than ALLOWED_CAPS. Pure. */
int creds_look(const uint8_t *image, size_t size, struct err *e);

/* numbers.c: numbers in an image; malloc'ed, the caller's, also with -1: it is not understood, or there is
 * no memory. */
struct numbers {
	uint64_t *list;
	size_t count;
};
int numbers_add(struct numbers *n, uint64_t value);
/* The numbers of that field of a message, in a row or not. */
int numbers_take(struct pb m, uint32_t field, struct numbers *n);

/* rseq.c; they add to numbers. core-*.img: addresses of a thread's areas for rseq(2). */
int rseq_areas(const uint8_t *core, size_t size, struct numbers *areas);
/* pstree.img: the threads of a process, which core-*.img are of. */
int rseq_threads(const uint8_t *pstree, size_t size, uint32_t pid, struct numbers *tids);
/* pstree.img: -1 unless ROOT_PID is the root of the tree, and the only one. Pure. */
int pstree_look(const uint8_t *pstree, size_t size, struct err *e);

/* connections.c: files.img: -1 unless its TCP connections are by loopback addresses, and of established ones
 * both ends are in there. Pure. */
int connections_look(const uint8_t *files, size_t size, struct err *e);

/* ---- asked.c --------------------------------------------------------------------------- */

/* Pure. The descriptors (those behind the stream) stay the caller's; run is to be freed. */
int asked_take(const struct broker_message *m, const int *fds, int count,
		 struct criu_run *run, struct err *e);

/* ---- keep.c ---------------------------------------------------------------------------- */

/* Between runner and keeper: a kind, and as many bytes as are said. */
enum keep_word {
	KEEP_READY = 'r', /* keeper: criu may connect */
	KEEP_VOUCH = 'v', /* keeper: restore: seal and statement; to be checked */
	KEEP_GOOD = 'g', /* runner: they are */
	KEEP_FINISH = 'f', /* runner: criu has dumped all */
	KEEP_LIST = 'l', /* keeper: the images, as a statement; to be sealed */
	KEEP_SEALED = 's', /* runner: seal and statement */
	KEEP_DONE = 'd', /* keeper: the agent has all */
	KEEP_FAILED = 'e' /* keeper: why; it ends */
};
int keep_put(int fd, enum keep_word word, const void *data, size_t size, struct err *e);
/* data: malloc'ed, with a NUL behind it. 0: the other side is gone. */
int keep_get(int fd, enum keep_word *word, char **data, size_t *size, struct err *e);

/* The keeper; agent: the stream to the agent. */
void keep(const struct broker *b, bool restore, int agent, int runner)
	__attribute__((noreturn));

/* ---- run.c ------------------------------------------------------------------------------- */

/* The runner's whole life; takes the request's descriptors. */
void run(const struct broker *b, struct broker_message *request, int *fds, int count,
	 int keeper) __attribute__((noreturn));

#endif
