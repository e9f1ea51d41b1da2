/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Where the caller's checkpoints are: sckpt.conf, the words in plugstack.conf
 * as the plugin gets them, and the account data base. */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "cli.h"

#define PLUGSTACK_MAX (1 << 20)
#define WORDS_MAX 64

/* ---- the user --------------------------------------------------------------- */

/*
 * Slurm's commands run as the user then, who can trace them, as any of their processes:
 * they must have nothing of root's, neither its environment (sbatch would even hand that
 * to the job) nor descriptors; and run_apart() keeps its terminal from them. This
 * process itself nobody can trace: it is not dumpable.
 */
static int leave_root_behind(const struct passwd *pw, struct err *e)
{
	static const char *const kept[] = { "SLURM_CONF", "TERM", "NO_COLOR", "LANG",
					    "LC_ALL", "TZ" };
	char *values[sizeof(kept) / sizeof(kept[0])] = { NULL };
	struct dirent *entry;
	bool good = true;
	DIR *fds;

	for (size_t i = 0; i < sizeof(kept) / sizeof(kept[0]); i++) {
		const char *value = getenv(kept[i]);

		values[i] = value ? strdup(value) : NULL;
		good &= !value || values[i];
	}
	clearenv();
	for (size_t i = 0; i < sizeof(kept) / sizeof(kept[0]); i++) {
		good &= !values[i] || setenv(kept[i], values[i], 1) == 0;
		free(values[i]);
	}
	good &= setenv("PATH", "/usr/local/bin:/usr/bin:/bin", 1) == 0 &&
		setenv("HOME", pw->pw_dir, 1) == 0 &&
		setenv("USER", pw->pw_name, 1) == 0 &&
		setenv("LOGNAME", pw->pw_name, 1) == 0;
	if (!good)
		return err_set(e, "no memory");
	if (!(fds = opendir("/proc/self/fd")))
		return err_sys(e, "cannot list descriptors");
	while ((entry = readdir(fds)))
		if (atoi(entry->d_name) > STDERR_FILENO)
			fcntl(atoi(entry->d_name), F_SETFD, FD_CLOEXEC);
	closedir(fds);
	return 0;
}

/*
 * A file system of a process of the user's own answers when that likes, and until then no
 * signal ends who has asked it (fuse), not even SIGKILL. So root's terminal belongs to this
 * process, which has asked for nothing, and ends with the other one or soon after a signal.
 */
__attribute__((noreturn)) static void wait_for(pid_t child, const sigset_t *signals)
{
	const struct timespec patience = { .tv_sec = 2 };
	int status, sig = 0;

	while (waitpid(child, &status, WNOHANG) != child) {
		int got = sigtimedwait(signals, NULL, sig ? &patience : NULL);

		if (got < 0 && errno == EAGAIN) {
			fputs("sckpt: what looks at the user's files does not end: their file system does not answer\n", stderr);
			goto signalled;
		}
		if (got <= 0 || got == SIGCHLD)
			continue;
		sig = got;
		/* The others are those of the terminal, and the child has them, too. */
		if (sig == SIGTERM || sig == SIGHUP)
			kill(child, sig);
	}
	if (WIFEXITED(status))
		_exit(WEXITSTATUS(status));
	sig = WTERMSIG(status);
signalled:
	signal(sig, SIG_DFL);
	sigprocmask(SIG_UNBLOCK, signals, NULL);
	raise(sig);
	_exit(128 + sig);
}

/* Goes on in a child, which this process waits for; *parent is that one's PID. */
static int go_apart(pid_t *parent, struct err *e)
{
	static const int ends[] = { SIGINT, SIGQUIT, SIGTERM, SIGHUP };
	sigset_t signals, before;
	struct sigaction is;
	pid_t child;

	sigemptyset(&signals);
	sigaddset(&signals, SIGCHLD);
	/* Not what nohup has made it deaf to. */
	for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++)
		if (sigaction(ends[i], NULL, &is) == 0 && is.sa_handler != SIG_IGN)
			sigaddset(&signals, ends[i]);
	*parent = getpid();
	fflush(NULL);
	sigprocmask(SIG_BLOCK, &signals, &before);
	if ((child = fork()) > 0)
		wait_for(child, &signals);
	sigprocmask(SIG_SETMASK, &before, NULL);
	return child < 0 ? err_sys(e, "cannot start a process") : 0;
}

/* Root looks after a user's store as that user, and before it has touched
 * anything of theirs: what lies there may be a trap. */
static int become(const struct options *o, const struct passwd **user,
		  struct err *e)
{
	const struct passwd *pw;
	uid_t uid = geteuid();
	pid_t parent;

	errno = 0;
	pw = o->user ? getpwnam(o->user) : getpwuid(uid);
	if (!pw)
		return o->user ? err_set(e, "there is no user %s", o->user) :
				 err_set(e, "user id %u has no account here", uid);
	if (uid && pw->pw_uid != uid)
		return err_set(e, "--user %s: only root may look after the checkpoints of others",
			       o->user);
	if (!uid && !pw->pw_uid)
		return err_set(e, "steps of root are not checkpointed: say whose checkpoints are meant, with --user NAME");
	if (uid) {
		*user = pw;
		return 0;
	}
	if (go_apart(&parent, e) < 0 || leave_root_behind(pw, e) < 0)
		return -1;
	if (initgroups(pw->pw_name, pw->pw_gid) < 0 ||
	    setresgid(pw->pw_gid, pw->pw_gid, pw->pw_gid) < 0 ||
	    setresuid(pw->pw_uid, pw->pw_uid, pw->pw_uid) < 0 ||
	    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0 ||
	    prctl(PR_SET_PDEATHSIG, SIGTERM, 0, 0, 0) < 0 || getppid() != parent)
		return err_sys(e, "cannot become %s", pw->pw_name);
	*user = pw;
	return 0;
}

/* ---- the configuration --------------------------------------------------------- */

/* Our words in a line of plugstack.conf: "required sckpt.so dir=/x"; blanks
 * divide, # begins a comment (Slurm's plugstack.conf has no quotes). */
static int take_line(char *line, char *words[WORDS_MAX], struct site *site)
{
	const char *blanks = " \t\r";
	char *rest, *word, *name;
	int n = 0;

	line[strcspn(line, "#")] = '\0';
	if (!(word = strtok_r(line, blanks, &rest)) ||
	    (strcmp(word, "required") && strcmp(word, "optional")) ||
	    !(word = strtok_r(NULL, blanks, &rest)))
		return -1;
	name = strrchr(word, '/');
	if (strcmp(name ? name + 1 : word, "sckpt.so"))
		return -1;
	snprintf(site->plugin, sizeof(site->plugin), "%s", word);
	while (n < WORDS_MAX && (word = strtok_r(NULL, blanks, &rest)))
		words[n++] = word;
	return n;
}

/* "include PATTERN" (spank(7)); relative ones are Slurm's configuration directory's. */
static int take_includes(const char *pattern, int depth, struct site *site, struct err *e);

/* 1: the line was there, and *conf is as it says. */
static int take_file(const char *path, int depth, struct site *site, struct err *e)
{
	cleanup_free char *text = NULL;
	char *words[WORDS_MAX], *rest, *line;
	int n, rc = 0;

	if (file_read(AT_FDCWD, path, PLUGSTACK_MAX, &text, e) < 0)
		return -1;
	for (rest = text; !rc && (line = strsep(&rest, "\n"));) {
		char *at = line + strspn(line, " \t");

		if (!strncmp(at, "include", 7) && strchr(" \t", at[7]) && at[7]) {
			at += 7 + strspn(at + 7, " \t");
			at[strcspn(at, " \t\r#")] = '\0';
			rc = take_includes(at, depth, site, e);
		} else if ((n = take_line(line, words, site)) >= 0) {
			snprintf(site->file, sizeof(site->file), "%s", path);
			rc = conf_load(&site->conf, n, words, e) < 0 ? -1 : 1;
		}
	}
	return rc;
}

static int take_includes(const char *pattern, int depth, struct site *site, struct err *e)
{
	char path[sizeof(site->dir) + 512];
	glob_t found;
	int rc = 0;

	if (depth == 0)
		return err_set(e, "plugstack.conf includes itself");
	snprintf(path, sizeof(path), "%s%s%s", *pattern == '/' ? "" : site->dir,
		 *pattern == '/' ? "" : "/", pattern);
	if (glob(path, 0, NULL, &found))
		return 0;
	for (size_t i = 0; !rc && i < found.gl_pathc; i++)
		rc = take_file(found.gl_pathv[i], depth - 1, site, e);
	globfree(&found);
	return rc;
}

int site_read(struct site *site, struct err *e)
{
	const char *slash = strrchr(SCKPT_CONF, '/');
	int rc;

	*site = (struct site){ .file = "" };
	snprintf(site->dir, sizeof(site->dir), "%.*s", (int)(slash - SCKPT_CONF), SCKPT_CONF);
	conf_defaults(&site->conf);
	/* A login node may be without plugstack.conf. */
	rc = take_includes("plugstack.conf", 8, site, e);
	if (rc == 0) {
		strcpy(site->dir, CONFIGLESS);
		rc = take_includes("plugstack.conf", 8, site, e);
	}
	if (rc == 0)
		rc = conf_load(&site->conf, 0, NULL, e);
	return rc < 0 ? -1 : 0;
}

/* ---- the stores ------------------------------------------------------------------ */

static int add_store(struct place *p, const struct text_vars *vars,
		     struct err *e)
{
	struct spec *more = realloc(p->stores,
				    (p->count + 1) * sizeof(*p->stores));
	struct spec *s;

	if (!more)
		return err_set(e, "no memory for a list of stores");
	p->stores = more;
	s = &more[p->count];
	*s = (struct spec){ .restart = -1, .control = -1 };
	s->limits = p->conf.limits;
	if (gethostname(s->node, sizeof(s->node) - 1) < 0)
		return err_sys(e, "this host has no name");
	s->node[strcspn(s->node, ".")] = '\0';
	if (conf_store(&p->conf, vars, s->base, sizeof(s->base), s->fixed,
		       sizeof(s->fixed), e) < 0)
		return -1;
	p->count++;
	return 0;
}

/*
 * dir= with %j: a store for each job. The part of the path that has the number is
 * looked for among the names that are there.
 */
static int add_numbered(struct place *p, struct text_vars *vars, struct err *e)
{
	char base[1024], fixed[1024], with[1024], *at, *slash;
	const uint32_t mark[] = { 4000000001U, 4000000002U };
	struct dirent *entry;
	size_t before;
	DIR *dir;
	int rc = 0;

	vars->job = mark[0];
	if (conf_store(&p->conf, vars, base, sizeof(base), fixed, sizeof(fixed),
		       e) < 0)
		return -1;
	vars->job = mark[1];
	if (conf_store(&p->conf, vars, with, sizeof(with), fixed, sizeof(fixed),
		       e) < 0)
		return -1;
	/* Where both differ the number ends. */
	for (at = base; *at == with[at - base]; at++)
		;
	at -= 9;
	*at = '\0';
	slash = strrchr(base, '/');
	before = strlen(slash + 1);
	memmove(with, slash + 1, before + 1);
	slash[slash == base] = '\0';
	if (!(dir = opendir(base)))
		return errno == ENOENT ? 0 : err_sys(e, "cannot read %s", base);
	while (rc == 0 && (entry = readdir(dir))) {
		char *end;

		if (strncmp(entry->d_name, with, before) ||
		    !isdigit((unsigned char)entry->d_name[before]))
			continue;
		vars->job = (uint32_t)strtoul(entry->d_name + before, &end, 10);
		rc = add_store(p, vars, e);
	}
	closedir(dir);
	return rc;
}

int place_find(const struct options *o, struct place *p, struct err *e)
{
	const struct passwd *pw = NULL;
	struct text_vars vars = { .user = NULL };
	struct site site;
	char dir[1024];

	*p = (struct place){ .count = 0 };
	if (become(o, &pw, e) < 0)
		return -1;
	conf_defaults(&p->conf);
	if (o->dir) {
		char *path = realpath(o->dir, NULL);

		if (!path)
			return err_sys(e, "--dir %s", o->dir);
		snprintf(dir, sizeof(dir), "%s", path);
		free(path);
		if (!(p->stores = calloc(1, sizeof(*p->stores))))
			return err_set(e, "no memory");
		p->count = 1;
		p->stores[0] = (struct spec){ .restart = -1, .control = -1,
					      .limits = p->conf.limits };
		/* The directory itself is the store. */
		snprintf(p->stores[0].base, sizeof(p->stores[0].base), "%s", dir);
		*strrchr(dir, '/') = '\0';
		snprintf(p->stores[0].fixed, sizeof(p->stores[0].fixed), "%s",
			 *dir ? dir : "/");
		return 0;
	}
	if (site_read(&site, e) < 0)
		return -1;
	p->conf = site.conf;
	vars = (struct text_vars){ .user = pw->pw_name, .home = pw->pw_dir,
				   .uid = pw->pw_uid, .cluster = "%c" };
	if (strstr(p->conf.dir, "%c")) {
		struct jobs jobs;

		jobs_ask(&jobs, e);
		if (!jobs.known || !*jobs.cluster)
			return err_context(e, "dir=%s has the cluster's name in it, and slurmctld does not tell it; give --dir",
					   p->conf.dir);
		snprintf(dir, sizeof(dir), "%s", jobs.cluster);
		vars.cluster = dir;
		jobs_free(&jobs);
		return strstr(p->conf.dir, "%j") ? add_numbered(p, &vars, e) :
						   add_store(p, &vars, e);
	}
	return strstr(p->conf.dir, "%j") ? add_numbered(p, &vars, e) :
					   add_store(p, &vars, e);
}

void place_free(struct place *p)
{
	free(p->stores);
	*p = (struct place){ .count = 0 };
}
