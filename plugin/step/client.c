/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * sckpt-client key=value… -- PID NUMBER NEW IN OUT ERR WORDS RECORD DONE WHAT: one srun call
 * of a protected script (calls.h), and what that is (earlier.h). A child of the agent's and outside of the script's
 * tree. It starts the real srun as sckpt-srun PID was to be started, and waits for
 * its end; then it tells sckpt-srun, unless the step is not over but stopped.
 *
 * With steps=skip-done (RECORD is not 0) all input and output pass through here, and
 * are kept. A step that is DONE is not started: its srun's output is said again.
 *
 * The agent tells it of a stop by SIGTERM, and by SIGALRM that there is no more time to
 * wait for the step.
 *
 * Exit status 0: sckpt-srun was told, or is gone; CALL_GOES_ON: the step is to go
 * on in the job's next run; CALL_WAS_DONE: sckpt-srun was told, and nothing was run.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "calls.h"
#include "from.h"
#include "relay.h"
#include "sckpt/policy.h"
#include "step.h"

#define MOST (64 << 20)
#define OWN_FDS 900
/* How long a step that runs may leave unsaid that it has ended, once srun has:
 * it was killed, and its helpers with it. */
#define SILENT_MS 5000
/* How long srun may take to end after its step, in a stop: it may have much to pass on, to
 * who reads slowly. SIGALRM comes before, where there is less time. */
#define ENDING_MS 30000
/* How long a job may go on whose step was stopped with it, as it seemed to the step. */
#define STOPPED_MS 60000
/* How long slurmctld may be away before a srun that came to nothing is believed to have failed
 * for itself. */
#define UNANSWERED_MS 300000
/* How often is looked whether a step has been stopped; for some seconds. */
#define LOOK_MS 100
/* How often slurmctld is asked again. */
#define ASK_AGAIN_MS 1000
/* A step that goes on is started so often, 5 s, 10 s, 20 s … after the last try:
 * slurmctld may be away for a moment, and the program never asked to be started again. */
#define TRIES 7
#define FIRST_PAUSE_S 5

struct client {
	struct spec spec; /* of the step that srun starts */
	struct call call;
	const char *what; /* of a new call; "" it cannot be told */
	bool is_new, goes_on;
	int record; /* of this step; 0 none */
	bool done;
	struct relay relays[3]; /* input, output, errors */
	int for_srun[3]; /* its ends of them */
	int tries;
	int64_t again; /* ns, when srun is started once more; 0 it runs or is over */
	int pidfd; /* sckpt-srun */
	int words;
	int signals;
	pid_t srun;
	bool ended, stopping;
	bool left; /* the agent waits for the step's end no longer */
	bool by_itself; /* the program was not told to end */
	int status;
	int64_t patience; /* ns */
	int look_ms;
};

static void tell(const struct client *c, enum call_word_kind kind, int value)
{
	struct call_word word = { kind, value, c->call.number };

	while (write(c->words, &word, sizeof(word)) < 0 && errno == EINTR)
		;
}

/* Before the script can end for it. */
static void tell_agent(const struct client *c)
{
	const struct call told = { .number = c->call.number };
	int fd = open(CALLS_FIFO, O_WRONLY | O_NONBLOCK | O_CLOEXEC);

	if (fd < 0)
		return;
	while (write(fd, &told, sizeof(told)) < 0 && errno == EINTR)
		;
	close(fd);
}

/* Descriptors of this process's own are above all that srun is to have. */
static int out_of_the_way(int fd)
{
	int above = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, OWN_FDS);

	if (above < 0)
		return fd;
	close(fd);
	return above;
}

/* Yama keeps descriptors from who is no ancestor (elevate=ptrace). Sckpt-srun's pipes, of
 * which it holds both ends, are as good when opened once more. */
static int open_pipe(pid_t pid, int fd)
{
	cleanup_free char *info = NULL;
	char path[64], link[16], *at;
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%d/fdinfo/%d", pid, fd);
	if (file_read(AT_FDCWD, path, 65536, &info, NULL) < 0 || !(at = strstr(info, "flags:")))
		return -1;
	snprintf(path, sizeof(path), "/proc/%d/fd/%d", pid, fd);
	n = readlink(path, link, sizeof(link));
	if (n < 6 || memcmp(link, "pipe:[", 6) != 0)
		return -1;
	return open(path, (int)(strtoul(at + 6, NULL, 8) & (O_ACCMODE | O_NONBLOCK)) | O_CLOEXEC);
}

static int take_fd(const struct client *c, int fd)
{
	int mine = (int)syscall(SYS_pidfd_getfd, c->pidfd, fd, 0);

	return mine < 0 && errno == EPERM ? open_pipe(c->call.pid, fd) : mine;
}

/* A file of /proc/PID. */
static ssize_t look(pid_t pid, const char *name, char **data, struct err *e)
{
	char path[96];

	snprintf(path, sizeof(path), "/proc/%d/%s", pid, name);
	return file_read(AT_FDCWD, path, MOST, data, e);
}

/* ---- the environment ---------------------------------------------------------- */

struct block {
	char *data;
	ssize_t size;
};

static const char *find(const struct block *b, const char *name, size_t n)
{
	const char *end = b->data + b->size;

	for (const char *at = b->data; at < end; at = block_next(at, end))
		if (!strncmp(at, name, n) && at[n] == '=')
			return at;
	return NULL;
}

static bool same(const char *a, const char *b)
{
	return a == b || (a && b && !strcmp(a, b));
}

/*
 * What srun was given, but what Slurm says of the job as it is in this run: a
 * variable that is still as the script found it becomes what the script would
 * find now.
 */
static char **environment(const struct block *given, const struct block *then)
{
	const char *end = given->data + given->size;
	size_t count = 1, n = 0;
	char **envp;

	for (const char *at = given->data; at < end; at = block_next(at, end))
		count++;
	for (char **v = environ; *v; v++)
		count++;
	if (!(envp = calloc(count, sizeof(*envp))))
		return NULL;
	for (const char *at = given->data; at < end; at = block_next(at, end)) {
		size_t name = strcspn(at, "=");
		const char *now = NULL;

		for (char **v = environ; *v && !now; v++)
			if (!strncmp(*v, at, name) && (*v)[name] == '=')
				now = *v;
		if (!same(at, find(then, at, name)))
			now = at; /* the script's own */
		if (now)
			envp[n++] = (char *)now;
	}
	for (char **v = environ; *v; v++) {
		size_t name = strcspn(*v, "=");

		/* What it then had and srun was not given, it has removed. */
		if (!find(given, *v, name) && !find(then, *v, name))
			envp[n++] = *v;
	}
	return envp;
}

/* ---- becoming srun -------------------------------------------------------------- */

/* Descriptors that sckpt-srun has only because srun was given them: all that it
 * would hand on itself. */
static void take_others(const struct client *c)
{
	struct dirent *entry;
	char path[64];
	DIR *dir;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/fdinfo", c->call.pid);
	/* None of the numbers that are to be taken. */
	fd = out_of_the_way(open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
	if (fd < 0 || !(dir = fdopendir(fd))) {
		close_fd(&fd);
		return;
	}
	while ((entry = readdir(dir))) {
		cleanup_free char *info = NULL;
		int mine;
		char *at;

		fd = atoi(entry->d_name);
		if (fd < 3 || fd >= OWN_FDS ||
		    file_read(dirfd(dir), entry->d_name, 65536, &info, NULL) < 0 ||
		    !(at = strstr(info, "flags:")) ||
		    (strtoul(at + 6, NULL, 8) & O_CLOEXEC) ||
		    (mine = take_fd(c, fd)) < 0)
			continue;
		if (mine != fd) {
			dup2(mine, fd);
			close(mine);
		}
	}
	closedir(dir);
}

static void take_limits(pid_t pid)
{
	struct rlimit limit;

	for (int i = 0; i < RLIM_NLIMITS; i++)
		if (prlimit(pid, (enum __rlimit_resource)i, NULL, &limit) == 0)
			setrlimit((enum __rlimit_resource)i, &limit);
}

static int take_place(const struct client *c, struct err *e)
{
	cleanup_free char *status = NULL;
	char path[64], *at;

	snprintf(path, sizeof(path), "/proc/%d/cwd", c->call.pid);
	if (chdir(path) < 0)
		return err_sys(e, "cannot go to the script's directory");
	if (look(c->call.pid, "status", &status, e) < 0)
		return -1;
	if ((at = strstr(status, "\nUmask:")))
		umask((mode_t)strtoul(at + 7, NULL, 8));
	/* Nothing may be had here that the script has not. */
	if ((at = strstr(status, "\nNoNewPrivs:")) && atoi(at + 12) &&
	    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return err_sys(e, "cannot set no_new_privs");
	return 0;
}

static int take_streams(const struct client *c, struct err *e)
{
	int fds[3];

	for (int i = 0; i < 3; i++) {
		fds[i] = c->call.fds[i] < 0 ? -1 :
			 c->record	    ? c->for_srun[i] :
					      take_fd(c, c->call.fds[i]);
		if (c->call.fds[i] >= 0 && fds[i] < 0)
			return err_sys(e, "cannot take its descriptors");
		/* None of them may be in another's place. */
		if (fds[i] >= 0 && fds[i] < 3 &&
		    (fds[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, 3)) < 0)
			return err_sys(e, "cannot take its descriptors");
	}
	for (int i = 0; i < 3; i++)
		if (fds[i] >= 0)
			dup2(fds[i], i);
		else
			close(i);
	return 0;
}

static void __attribute__((noreturn))
become_srun(const struct client *c, char *argv[], char *envp[])
{
	struct err e = { "" };
	struct call_word started = { CALL_STARTED, getpid(), c->call.number };
	sigset_t none;

	/* So that what it leaves behind can be found. */
	setpgid(0, 0);
	if (take_streams(c, &e) < 0 || take_place(c, &e) < 0)
		goto fail;
	take_others(c);
	take_limits(c->call.pid);
	if (drop_capability() < 0)
		goto fail;
	if (write(c->words, &started, sizeof(started)) < 0)
		_exit(1);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	execve(argv[0], &argv[1], envp);
	err_sys(&e, "cannot run %s", argv[0]);
fail:
	dprintf(2, "sckpt: srun cannot be started: %s\n", e.text);
	_exit(1);
}

/* ---- steps=skip-done ------------------------------------------------------------- */

static void relays_end(struct client *c)
{
	for (int i = 0; i < 3; i++)
		relay_end(&c->relays[i]);
}

/* What srun reads and writes passes through here; its output is kept. */
static int relays_begin(struct client *c, struct err *e)
{
	relays_end(c);
	for (int i = 0; i < 3; i++) {
		struct relay *r = &c->relays[i];
		int p[2], mine;

		if (c->call.fds[i] < 0)
			continue;
		if ((mine = take_fd(c, c->call.fds[i])) < 0)
			return err_sys(e, "cannot pass on what srun writes");
		if (pipe2(p, O_CLOEXEC) < 0) {
			err_sys(e, "cannot pass on what srun writes");
			close(mine);
			return -1;
		}
		c->for_srun[i] = out_of_the_way(p[i > 0]);
		r->from = i ? out_of_the_way(p[0]) : out_of_the_way(mine);
		r->to = i ? out_of_the_way(mine) : out_of_the_way(p[1]);
		r->open = true;
		r->most = -1;
		r->passed = 0;
		r->filled = r->sent = 0;
		/* A step that is started once more says all again. */
		if (r->copy >= 0 && (lseek(r->copy, 0, SEEK_SET) < 0 ||
				     ftruncate(r->copy, 0) < 0))
			r->spoilt = true;
	}
	return 0;
}

/* From what was kept; what it had read of its input is read. */
static int relays_again(struct client *c, struct err *e)
{
	cleanup_free struct done *list = NULL;
	int count = done_list(&c->spec, &list, e);
	const struct done *d = NULL;

	for (int i = 0; i < count; i++)
		if (list[i].record == c->record)
			d = &list[i];
	if (!d)
		return count < 0 ? -1 : err_set(e, "its record is gone");
	for (int i = 0; i < 3; i++) {
		struct relay *r = &c->relays[i];

		if (c->call.fds[i] < 0)
			continue;
		r->most = d->length[i];
		r->from = i ? done_stream(&c->spec, c->record, i, false, e) :
			      take_fd(c, c->call.fds[i]);
		r->to = i ? take_fd(c, c->call.fds[i]) : -1;
		if (r->from < 0 || (i && r->to < 0))
			return *e->text ? -1 : err_sys(e, "cannot take its descriptors");
		r->from = out_of_the_way(r->from);
		r->to = out_of_the_way(r->to);
		r->open = true;
		if (!r->most)
			relay_end(r);
	}
	return 0;
}

/* The step has ended well, and all its output was passed on. */
static void keep_done(struct client *c)
{
	struct done done = { .record = c->record, .call = c->call.number };
	struct err e = { "" };
	struct store store;
	bool kept = call_command(c->call.pid, done.command, &e) == 0;

	for (int i = 0; i < 3; i++) {
		const struct relay *r = &c->relays[i];

		done.length[i] = c->call.fds[i] < 0 ? 0 : r->passed;
		if (i && c->call.fds[i] >= 0 &&
		    (r->spoilt || r->copy < 0 || fsync(r->copy) < 0)) {
			err_set(&e, "its output could not be kept");
			kept = false;
		}
	}
	/* Nor is what another run does to be mixed with it. */
	if (kept && store_open(&c->spec, false, &store, &e) == 0) {
		kept = !store_superseded(&store, c->spec.restart, NULL, &e);
		store_close(&store);
	}
	if ((!kept || done_write(&c->spec, &done, &e) < 0) && c->call.fds[2] >= 0) {
		cleanup_fd int err = take_fd(c, c->call.fds[2]);

		dprintf(err, "sckpt: that srun call %d is done cannot be remembered, and it will run again if the script does: %s\n",
			c->call.number, e.text);
	}
}

/* No secret: one that is in a record (steps=skip-done) is the same in the next run. */
static uint32_t token(const struct client *c)
{
	uint32_t number = c->record ? ~(uint32_t)c->record : (uint32_t)c->call.number;

	return ((c->spec.job ^ number * UINT32_C(2654435761)) & INT32_MAX) | 1;
}

/* sckpt-srun's own arguments are PATH-OF-SRUN, srun's name, srun's arguments:
 * the option goes behind the name. */
static int start_srun(struct client *c, struct err *e)
{
	cleanup_free char *args = NULL, *given = NULL, *then = NULL;
	cleanup_free char **argv = NULL, **envp = NULL;
	ssize_t size = look(c->call.pid, "cmdline", &args, e);
	struct block g, t;
	char option[96 + CALL_TEXT_MAX];

	g.size = size < 0 ? -1 : look(c->call.pid, "environ", &given, e);
	/* The tree's root has the script's first environment. */
	t.size = g.size < 0 ? -1 : look(ROOT_PID, "environ", &then, e);
	if (t.size < 0)
		return -1;
	g.data = given;
	t.data = then;
	snprintf(option, sizeof(option), "--checkpoint-step=%s,token=%08x%s%s%s",
		 c->spec.step, token(c), *c->what ? ",call=" : "", c->what, c->is_new ? ",afresh" : "");
	if (!(argv = block_list(args, (size_t)size, 0)) || !argv[0] ||
	    !argv[1] || !argv[2] || !(envp = environment(&g, &t)))
		return err_set(e, "cannot read how srun was called");
	argv[0] = argv[1];
	argv[1] = argv[2];
	argv[2] = option;
	if (c->record && relays_begin(c, e) < 0)
		return -1;
	if ((c->srun = fork()) == 0)
		become_srun(c, argv, envp);
	if (c->srun < 0)
		err_sys(e, "cannot start srun");
	for (int i = 0; c->record && i < 3; i++)
		if (c->call.fds[i] >= 0)
			close(c->for_srun[i]);
	return c->srun < 0 ? -1 : 0;
}

/* ---- how it ended ------------------------------------------------------------------ */

/* What the step's own agent says; false when it says nothing (any more). */
static bool ask_step(const struct client *c, struct status *s)
{
	struct store store;
	bool said = false;
	int fd;

	if (store_open(&c->spec, false, &store, NULL) == 0) {
		/* An NFS client may remember how the directory was; one that
		 * changes it reads it anew. */
		fd = openat(store.dir, ".client", O_WRONLY | O_CREAT | O_CLOEXEC,
			    0600);
		if (fd >= 0)
			close(fd);
		unlinkat(store.dir, ".client", 0);
		said = status_read(&store, s, NULL) > 0;
		store_close(&store);
	}
	return said;
}

/* This run of the job has it: its supervisor was there. */
static bool has_begun(const struct client *c)
{
	struct store store;
	bool begun = true;

	if (store_open(&c->spec, false, &store, NULL) == 0) {
		begun = store_superseded(&store, c->spec.restart - 1, NULL, NULL) != 0;
		store_close(&store);
	}
	return begun;
}

/* srun came to nothing, and what the step goes on from is still there. */
static bool try_later(struct client *c)
{
	int seconds = FIRST_PAUSE_S << c->tries;
	cleanup_fd int err = -1;

	if (!c->goes_on || !c->ended || c->status == 0 || c->stopping ||
	    c->tries + 1 >= TRIES || has_begun(c))
		return false;
	c->tries++;
	c->again = clock_ns(CLOCK_MONOTONIC) + seconds * INT64_C(1000000000);
	/* No signal is for the one that is gone. */
	tell(c, CALL_STARTED, 0);
	if (c->call.fds[2] >= 0 && (err = take_fd(c, c->call.fds[2])) >= 0)
		dprintf(err, "sckpt: srun could not start %s again, which goes on from its checkpoint: next try in %d s\n",
			c->spec.step, seconds);
	return true;
}

/* Is the job being stopped, to be started again? Then a step that does not end
 * well of itself was made to. told: its agent says that it was. -1: slurmctld does not
 * answer. */
static int job_stops(struct client *c, bool told)
{
	struct job_facts facts;
	enum action action;
	enum cause cause;

	if (c->stopping)
		return 1;
	c->look_ms = ASK_AGAIN_MS;
	job_ask(c->spec.job, &facts, NULL);
	if (!facts.answered)
		return -1;
	cause = stop_cause(&facts);
	if (cause == CAUSE_GRACE) /* which steps are told of, and not the script */
		return told || (WIFEXITED(c->status) && WEXITSTATUS(c->status) >= 128);
	action = stop_action(cause, &c->spec);
	return action == ACTION_SAVE_AND_END || action == ACTION_SAVE_AND_REQUEUE;
}

/* srun first: what it would do when it finds its step gone is not wanted. And
 * of its processes those first that wait for its end (srun_job.c,
 * _shepherd_spawn). */
static void kill_srun(struct client *c)
{
	cleanup_free char *children = NULL;
	char name[64], *at, *end;
	long pid;

	snprintf(name, sizeof(name), "task/%d/children", c->srun);
	if (look(c->srun, name, &children, NULL) > 0)
		for (at = children; (pid = strtol(at, &end, 10)) > 0; at = end)
			kill((pid_t)pid, SIGKILL);
	kill(c->srun, SIGKILL);
	kill(-c->srun, SIGKILL);
}

static void reap(struct client *c)
{
	int status;

	if (!c->ended && waitpid(c->srun, &status, WNOHANG) == c->srun) {
		c->ended = true;
		c->status = status;
	}
}

/* All that a srun which is gone has left has been passed on. */
static bool drained(struct client *c)
{
	bool all = true;

	for (int i = 1; i < 3; i++)
		all &= relay_drained(&c->relays[i]);
	return all;
}

static void __attribute__((noreturn)) finish(struct client *c, bool stopped)
{
	if (!c->ended)
		kill_srun(c);
	if (stopped) {
		tell(c, CALL_STOPPING, 0);
		_exit(CALL_GOES_ON);
	}
	drained(c);
	if (c->record && c->by_itself && c->status == 0)
		keep_done(c);
	if (!c->by_itself)
		tell_agent(c);
	tell(c, CALL_ENDED, c->status);
	_exit(0);
}

/* How srun ends for a program that ended so. */
static int as_srun(int status)
{
	return WIFSIGNALED(status) ? (128 + WTERMSIG(status)) << 8 : status;
}

/* srun has ended, or must: is its step over? */
static void judge(struct client *c, int64_t since)
{
	int64_t silent = clock_ns(CLOCK_MONOTONIC) - since;
	struct status s;
	bool said = ask_step(c, &s);
	int stops;

	if (said && s.kind == STATUS_ENDED) {
		c->by_itself = !*s.text;
		if (!c->ended && !c->left && silent < ENDING_MS * INT64_C(1000000))
			return;
		/* A srun that is told of its job's end ends as if its step had
		 * failed. */
		if (c->status != as_srun(s.ended) && job_stops(c, false) != 0) {
			tell(c, CALL_STOPPING, 0);
			c->status = as_srun(s.ended);
		}
		finish(c, false);
	} else if (said && (s.kind == STATUS_STOPPED || c->left)) {
		if ((stops = job_stops(c, s.kind == STATUS_STOPPED)) > 0)
			finish(c, true);
		/* It took a signal of its own for the job's end. */
		if (stops == 0 && silent > STOPPED_MS * INT64_C(1000000))
			finish(c, false);
	} else if (!said) {
		/* It was never protected, or did not begin. */
		if (c->ended && c->status == 0)
			finish(c, false);
		if ((stops = job_stops(c, false)) > 0)
			finish(c, true);
		/* Of a stop this process is told (SIGTERM). */
		if (stops < 0 && silent < UNANSWERED_MS * INT64_C(1000000))
			return;
		if (!try_later(c))
			finish(c, false);
	} else if (!c->stopping && silent > c->patience) {
		/* It said that it ran, and was killed with its helpers. */
		if (job_stops(c, false) == 0)
			finish(c, false);
		c->patience += SILENT_MS * INT64_C(1000000);
	}
}

static void serve(struct client *c)
{
	int64_t since = 0;
	struct err e;

	for (;;) {
		struct pollfd p[5] = { { c->signals, POLLIN, 0 },
				       { c->pidfd, POLLIN, 0 } };
		struct signalfd_siginfo si;
		bool more = false;

		for (int i = 0; i < 3; i++) {
			relay_poll(&c->relays[i], &p[2 + i]);
			more |= c->relays[i].open;
		}
		if (c->done && !more) {
			tell(c, CALL_ENDED, 0);
			_exit(CALL_WAS_DONE);
		}

		poll(p, 5, c->ended || c->stopping ? c->look_ms : -1);
		while (read(c->signals, &si, sizeof(si)) == sizeof(si))
			if (si.ssi_signo == SIGTERM && !c->stopping) {
				c->stopping = true;
				c->look_ms = LOOK_MS;
				tell(c, CALL_STOPPING, 0);
			} else if (si.ssi_signo == SIGALRM) {
				c->left = true;
			}
		if (c->done && c->stopping)
			_exit(CALL_GOES_ON);
		for (int i = 0; i < 3; i++)
			if (p[2 + i].revents)
				relay_move(&c->relays[i]);
		if (c->done && !p[1].revents)
			continue;
		reap(c);
		if (p[1].revents) {
			/* As when srun is killed: its step goes, too. */
			if (!c->ended && !c->done)
				kill(c->srun, SIGKILL);
			_exit(c->done ? CALL_WAS_DONE : 0);
		}
		if (c->again && !c->stopping) {
			if (clock_ns(CLOCK_MONOTONIC) < c->again)
				continue;
			c->again = since = 0;
			c->ended = false;
			if (start_srun(c, &e) < 0) {
				dprintf(2, "sckpt-client: %s\n", e.text);
				c->ended = true;
			}
		} else if ((c->ended && drained(c)) || c->stopping) {
			if (!since)
				since = clock_ns(CLOCK_MONOTONIC);
			judge(c, since);
		}
	}
}

/* ---- the begin ------------------------------------------------------------------------ */

/* Something is there that the step goes on from. What was said of its last run
 * goes. */
static bool look_back(const struct client *c)
{
	cleanup_free struct generation *list = NULL;
	struct store store;
	struct from from;
	int count = 0;

	if (store_open(&c->spec, false, &store, NULL) == 0) {
		status_clear(&store);
		count = store_generations(&store, &list, NULL);
		store_close(&store);
	}
	if (count <= 0 && *c->spec.from &&
	    (count = from_find(&c->spec, &from, NULL)) > 0)
		store_close(&from.store);
	return count > 0;
}

static int begin(struct client *c, struct err *e)
{
	sigset_t all;

	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	c->signals = signalfd(-1, &all, SFD_CLOEXEC | SFD_NONBLOCK);
	c->pidfd = out_of_the_way((int)syscall(SYS_pidfd_open, c->call.pid, 0));
	if (c->signals < 0 || c->pidfd < 0 || !call_is_srun(c->call.pid) ||
	    (c->words = out_of_the_way(take_fd(c, c->call.words))) < 0)
		return err_set(e, "process %d is no sckpt-srun", c->call.pid);
	tell(c, CALL_FRAMES, (int)token(c));
	if (c->done) {
		tell(c, c->is_new ? CALL_AFRESH : CALL_AGAIN, 0);
		/* Whatever happens now, it is this call. */
		tell(c, CALL_STARTED, 0);
		return relays_again(c, e);
	}
	c->goes_on = look_back(c);
	if (c->record)
		for (int i = 1; i < 3; i++)
			c->relays[i].copy = out_of_the_way(
				done_stream(&c->spec, c->record, i, true, e));
	tell(c, c->goes_on ? CALL_AGAIN : CALL_AFRESH, 0);
	if (!c->goes_on && !c->is_new && c->call.fds[2] >= 0) {
		cleanup_fd int err = take_fd(c, c->call.fds[2]);

		dprintf(err, "sckpt: there is no checkpoint of %s: it starts afresh\n",
			c->spec.step);
	}
	return start_srun(c, e);
}

int main(int argc, char *argv[])
{
	struct client c = { .pidfd = -1,
			    .patience = SILENT_MS * INT64_C(1000000),
			    .look_ms = LOOK_MS };
	struct err e = { "" };
	int n = spec_parse(argc - 1, argv + 1, &c.spec, &e);

	for (int i = 0; i < 3; i++)
		c.relays[i].from = c.relays[i].to = c.relays[i].copy = -1;
	if (n < 0 || argc - n != 12) {
		fprintf(stderr, "sckpt-client: started by sckpt-agent, not by hand\n");
		return 2;
	}
	argv += n + 2;
	c.call.pid = atoi(argv[0]);
	c.call.number = atoi(argv[1]);
	c.is_new = atoi(argv[2]);
	for (int i = 0; i < 3; i++)
		c.call.fds[i] = atoi(argv[3 + i]);
	c.call.words = atoi(argv[6]);
	c.record = atoi(argv[7]);
	c.done = atoi(argv[8]);
	c.what = argv[9];
	snprintf(c.spec.step, sizeof(c.spec.step), CALL_STEP "%d", c.call.number);
	if (begin(&c, &e) < 0) {
		dprintf(2, "sckpt-client: %s\n", e.text);
		return 1;
	}
	serve(&c);
}
