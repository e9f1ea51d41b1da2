/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The runner: inside of the step, beside the agent. It starts criu, is asked by its hook,
 * and seals what the keeper lists.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "broker.h"
#include "sckpt/store.h"

/* Criu's, below those that it inherits. */
#define IMAGES_FD (CRIU_FD_FIRST - 1)
#define IMAGES "/proc/self/fd/19"

struct runner {
	const struct broker *b;
	struct criu_run run;
	int keeper, hook;
	int needs;
	uint8_t vdso[32]; /* dump: digest of this kernel's */
	struct criu_watch criu;
	struct repairs repairs;
	bool vouched; /* dump: the agent has the seal */
};

/* ---- with the agent ------------------------------------------------------------------ */

static int tell(const struct runner *r, enum broker_word word, int value,
		const char *text, struct err *e)
{
	struct broker_message m = { .word = word, .value = value };

	m.size = (uint32_t)snprintf(m.text, sizeof(m.text), "%s", text);
	return broker_send(r->b->sock, &m, NULL, 0, e);
}

/* May criu go on? */
static int ask_agent(const struct runner *r, const char *action, struct err *e)
{
	struct broker_message *m = malloc(sizeof(*m));
	int none = 0, rc = m ? tell(r, BROKER_HOOK, 0, action, e) :
			       err_set(e, "no memory for an answer");
	struct ucred from;

	while (rc == 0) {
		rc = broker_receive(r->b->sock, m, NULL, &none, &from, e);
		if (rc == 0)
			rc = err_set(e, "the agent is gone");
		/* Seen from inside it is the first process. */
		if (rc > 0 && from.pid == 1 && m->word == BROKER_ANSWER)
			break;
		if (rc > 0) {
			say("a message that nobody waits for, of process %d of the step", from.pid);
			rc = 0;
		}
	}
	rc = rc < 0 || m->value ? -1 : 0;
	free(m);
	return rc;
}

/* ---- what is vouched for ---------------------------------------------------------------- */

/* In the image: the seal's line, then the statement. */
static int seal(struct runner *r, const char *list, struct err *e)
{
	cleanup_free char *text = NULL, *credential = NULL, *image = NULL;
	struct statement s;
	int needs, rc = -1;

	/* Frozen, nothing of it changes any more; and so it was till the look was over. */
	if (look_at_tree(r->b, r->vdso, &needs, e) < 0 || look_whether_it_stands(r->criu.pid, e) < 0)
		return -1;
	/* It would say of images that criu wrote with less what they are to be restored with. */
	if (needs & ~r->needs)
		return err_set(e, "it needs more than when criu began: it has changed meanwhile");
	if (statement_parse(list, &s) < 0)
		return err_set(e, "the images are not understood");
	snprintf(s.cluster, sizeof(s.cluster), "%s", r->b->cluster);
	s.uid = r->b->uid;
	s.needs = r->needs;
	memcpy(s.vdso, r->vdso, sizeof(s.vdso));
	text = statement_text(&s);
	statement_free(&s);
	if (text && (credential = seal_make(text, strlen(text), e)) &&
	    asprintf(&image, "%s\n%s", credential, text) >= 0)
		rc = keep_put(r->keeper, KEEP_SEALED, image, strlen(image), e);
	return rc;
}

/* A restore: is it what a broker of this cluster has sealed for this user? */
static int check_seal(struct runner *r, char *image, size_t size, bool *elsewhere,
		      struct err *e)
{
	char *text = image;
	const char *credential = strsep(&text, "\n");
	struct statement s;
	int rc = 0;

	if (!text || strlen(credential) + 1 + strlen(text) != size)
		return err_set(e, "the list of images is not sealed");
	if (seal_check(credential, text, strlen(text), 0, e) < 0)
		return -1;
	if (statement_parse(text, &s) < 0)
		return err_set(e, "the list of images is of another version of sckpt");
	/* Of a dump that needed nothing more is not made: it was made by a criu with nothing of use. */
	r->needs = s.needs ? s.needs | look_at_node() : 0;
	if (s.uid != r->b->uid)
		rc = err_set(e, "the checkpoint is of user id %u", s.uid);
	else if (strcmp(s.cluster, r->b->cluster))
		rc = err_set(e, "the checkpoint is of the cluster %s", s.cluster);
	else if ((*elsewhere = r->needs & ~r->b->allowed))
		rc = err_set(e, "it needs more than the admin allows on this node (elevate=)");
	statement_free(&s);
	return rc < 0 ? -1 : keep_put(r->keeper, KEEP_GOOD, text, strlen(text), e);
}

/* Its next word, which is not that it has failed. */
static int hear_keeper(const struct runner *r, enum keep_word *word, char **data,
		       size_t *size, struct err *e)
{
	int rc = keep_get(r->keeper, word, data, size, e);

	if (rc == 0)
		return err_set(e, "the keeper of images has ended");
	if (rc > 0 && *word == KEEP_FAILED)
		return err_set(e, "%s", *data);
	return rc < 0 ? -1 : 0;
}

/* Until criu may connect. */
static int await_keeper(struct runner *r, bool *elsewhere, struct err *e)
{
	for (;;) {
		cleanup_free char *data = NULL;
		enum keep_word word;
		size_t size;

		if (hear_keeper(r, &word, &data, &size, e) < 0)
			return -1;
		if (word == KEEP_READY)
			return 0;
		if (word == KEEP_VOUCH && check_seal(r, data, size, elsewhere, e) < 0)
			return -1;
	}
}

static int take_from_keeper(struct runner *r, struct err *e)
{
	cleanup_free char *data = NULL;
	enum keep_word word;
	size_t size;

	if (hear_keeper(r, &word, &data, &size, e) < 0)
		return -1;
	if (word == KEEP_LIST)
		return seal(r, data, e);
	r->vouched |= word == KEEP_DONE;
	return 0;
}

/* ---- criu ------------------------------------------------------------------------------- */

static void __attribute__((noreturn))
become_criu(const struct runner *r, pid_t runner, char *argv[], char *envp[], int *fds)
{
	struct err e = { "" };
	sigset_t none;
	int images;

	signal(SIGPIPE, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	/* Above all that they become. */
	images = fcntl(r->b->images, F_DUPFD_CLOEXEC, CRIU_FD_FIRST + FDS_MAX);
	for (int i = 0; i < r->run.count; i++)
		if (r->run.restore)
			fds[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, CRIU_FD_FIRST + FDS_MAX);
	if (become_user(r->b, r->needs, &e) < 0)
		_exit(126);
	/* What it restores is not to be without the runner, who has it give up capabilities. */
	if (r->run.restore && (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0 || getppid() != runner))
		_exit(126);
	/* As the user: what lies there is theirs. */
	close(0);
	if (open("/dev/null", O_RDONLY) != 0)
		_exit(126);
	close(1);
	if (open(CRIU_SAID, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_NONBLOCK, 0600) != 1 &&
	    open("/dev/null", O_WRONLY) != 1)
		_exit(126);
	if (dup2(1, 2) < 0 || dup2(images, IMAGES_FD) < 0)
		_exit(126);
	for (int i = 0; r->run.restore && i < r->run.count; i++)
		if (dup2(fds[i], CRIU_FD_FIRST + i) < 0)
			_exit(126);
	syscall(SYS_close_range, 3U, (unsigned)IMAGES_FD - 1, 0U);
	syscall(SYS_close_range,
		(unsigned)(CRIU_FD_FIRST + (r->run.restore ? r->run.count : 0)), ~0U, 0U);
	execve(argv[0], argv, envp);
	_exit(127);
}

/* The node's were looked at by the plugin; these are what the step's mounts show. */
static int look_at_programs(const char *criu, struct err *e)
{
	const char *const programs[] = { criu, IN_CRIU_PATH, HOOK_PATH };
	struct stat st;

	for (size_t i = 0; i < sizeof(programs) / sizeof(programs[0]); i++) {
		if (stat(programs[i], &st) < 0)
			return err_sys(e, "cannot look at %s", programs[i]);
		if (!S_ISREG(st.st_mode) || st.st_uid != 0 || (st.st_mode & 022))
			return err_set(e, "%s is not root's alone", programs[i]);
	}
	return 0;
}

static int start_criu(struct runner *r, int *fds, struct err *e)
{
	char **argv = criu_args(&r->run, r->b->criu, IMAGES, r->needs & ELEVATE_TCP);
	char *envp[CRIU_ENV_MAX], hook[64];
	const pid_t runner = getpid();

	if (!argv)
		return err_set(e, "no memory to start criu");
	if (look_at_programs(r->b->criu, e) < 0) {
		criu_args_free(argv);
		return -1;
	}
	r->criu.pid = fork();
	if (r->criu.pid == 0) {
		/* Its child that asks has not its descriptors. */
		snprintf(hook, sizeof(hook), "SCKPT_HOOK=/proc/%d/fd/%d/" HOOK_NAME, (int)getpid(),
			 IMAGES_FD);
		/* Root's: what criu believes of the kernel is not to be the user's word. */
		criu_env(envp, r->run.restore, hook, "XDG_RUNTIME_DIR=" IMAGES, false);
		become_criu(r, runner, argv, envp, fds);
	}
	criu_args_free(argv);
	return r->criu.pid < 0 ? err_sys(e, "cannot start criu") : 0;
}

/* Criu has dumped all, and the tree is frozen. */
static int finish_dump(struct runner *r, struct err *e)
{
	if (keep_put(r->keeper, KEEP_FINISH, NULL, 0, e) < 0)
		return -1;
	while (!r->vouched)
		if (take_from_keeper(r, e) < 0)
			return -1;
	return 0;
}

static int answer_hook(struct runner *r, struct err *e)
{
	char action[32], answer;
	cleanup_fd int fd = hook_accept(r->hook, r->criu.pid, action, sizeof(action));
	int rc;

	if (fd < 0)
		return 0;
	if (!strcmp(action, "pre-restore")) {
		rc = criu_watch_adopt(&r->criu, e);
	} else if (!strcmp(action, "pre-dump")) {
		rc = ask_agent(r, action, e);
	} else if (!strcmp(action, "post-dump")) {
		rc = finish_dump(r, e) < 0 ? -1 : ask_agent(r, action, e);
	} else if (r->run.restore && !r->criu.adopted) {
		rc = err_set(e, "what was restored has not been made by criu");
	} else {
		rc = look_at_groups(e) < 0 || start_timers(e) < 0 ? -1 : ask_agent(r, action, e);
	}
	answer = rc < 0;
	if (write(fd, &answer, 1) != 1 && rc == 0)
		return err_sys(e, "criu's hook is gone");
	return rc;
}

static int serve(struct runner *r, struct err *e)
{
	while (!r->criu.ended) {
		struct pollfd p[] = { { r->hook, POLLIN, 0 },
				      { r->criu.signals, POLLIN, 0 },
				      { r->keeper, POLLIN, 0 },
				      { r->repairs.sock, POLLIN, 0 } };

		if (poll(p, 4, -1) < 0 && errno != EINTR)
			return err_sys(e, "cannot wait for criu");
		if (p[1].revents && criu_watch_look(&r->criu, e) < 0)
			return -1;
		if (!r->criu.ended && p[2].revents && take_from_keeper(r, e) < 0)
			return -1;
		if (!r->criu.ended && p[3].revents)
			repairs_hear(&r->repairs, r->criu.pid);
		if (p[0].revents && answer_hook(r, e) < 0)
			return -1;
	}
	/* Where it failed because the keeper did: that has said why before it left criu alone. */
	if (r->criu.status && poll(&(struct pollfd){ r->keeper, POLLIN, 0 }, 1, 0) > 0)
		return take_from_keeper(r, e);
	return 0;
}

/* ---- the request ---------------------------------------------------------------------------- */

/* Where nobody but criu and what it makes gets to. */
static int listen_for_hook(struct runner *r, bool restore, struct err *e)
{
	char path[64];
	mode_t mask = umask(0);

	snprintf(path, sizeof(path), "/proc/self/fd/%d/" HOOK_NAME, r->b->images);
	r->hook = hook_listen(path, e);
	/* A restore is of sockets that nobody else has yet: there criu does it (criu/in_sockopt.c). */
	if (r->hook >= 0 && !restore && (r->b->allowed & ELEVATE_TCP) &&
	    repairs_begin(&r->repairs, r->b->images, e) < 0)
		close_fd(&r->hook);
	umask(mask);
	return r->hook < 0 ? -1 : 0;
}

static int begin(struct runner *r, int *fds, bool *elsewhere, struct err *e)
{
	if (criu_watch_begin(&r->criu, e) < 0)
		return -1;
	if (!r->run.restore) {
		if (vdso_digest(r->vdso, e) < 0 ||
		    look_at_tree(r->b, r->vdso, &r->needs, e) < 0)
			return -1;
		if (r->needs & ~r->b->allowed)
			return err_set(e, "it needs more than the admin allows (elevate=)");
	}
	if (await_keeper(r, elsewhere, e) < 0)
		return -1;
	if (r->run.restore)
		r->criu.keep = caps_of_restored(r->needs);
	return start_criu(r, fds, e);
}

void run(const struct broker *b, struct broker_message *request, int *fds, int count,
	 int keeper)
{
	struct runner r = { .b = b, .keeper = keeper, .hook = -1, .repairs = { .sock = -1 } };
	struct err e = { "" };
	bool elsewhere = false;
	int rc;

	if (listen_for_hook(&r, request->word == BROKER_RESTORE, &e) < 0 || files_as_user(b, &e) < 0 || asked_take(request, fds, count, &r.run, &e) < 0 ||
	    begin(&r, fds, &elsewhere, &e) < 0) {
		say("%s refused: %s", r.run.restore ? "a restore is" : "a dump is", e.text);
		tell(&r, BROKER_REFUSED, elsewhere, e.text, &e);
		_exit(0);
	}
	for (int i = 0; i < count; i++)
		close(fds[i]);
	rc = serve(&r, &e);
	/* Before criu lets the tree go on, where it waits for this; and whatever it did. */
	repairs_end(&r.repairs, r.run.end && r.criu.ended && r.criu.status == 0);
	if (rc < 0) {
		close_fd(&r.keeper);
		close_fd(&r.hook);
		criu_watch_end(&r.criu);
	}
	if (rc < 0 && *e.text) {
		say("a %s failed: %s", r.run.restore ? "restore" : "dump", e.text);
		tell(&r, BROKER_REFUSED, 0, e.text, &e);
	} else {
		tell(&r, BROKER_DONE, r.criu.status, "", &e);
	}
	_exit(0);
}
