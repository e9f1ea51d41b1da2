/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Open files: positions, flags, locks, a deleted one, a growing one. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "zoo.h"

static int create(const char *name, int flags)
{
	int fd = open(zoo_text("%s/%s", zoo_dir, name), flags | O_CREAT | O_TRUNC,
		      0600);

	NEED(fd >= 0);
	return fd;
}

/* ---- positions and flags -------------------------------------------------------- */

static int plain, twin, high, own, appended, directory;

static void files_setup(void)
{
	plain = create("plain", O_RDWR);
	NEED(write(plain, "0123456789", 10) == 10);
	NEED(lseek(plain, 4, SEEK_SET) == 4);
	twin = dup(plain);
	high = fcntl(plain, F_DUPFD_CLOEXEC, 700);
	own = open(zoo_text("%s/plain", zoo_dir), O_RDONLY);
	NEED(twin >= 0 && high >= 700 && own >= 0);
	appended = create("appended", O_WRONLY | O_APPEND);
	NEED(write(appended, "begin\n", 6) == 6);
	directory = open(zoo_dir, O_RDONLY | O_DIRECTORY);
	NEED(directory >= 0);
}

static const char *files_verify(bool last)
{
	char c;

	(void)last;
	WANT(lseek(plain, 0, SEEK_CUR) == 4);
	WANT(read(twin, &c, 1) == 1 && c == '4');
	WANT(lseek(high, 0, SEEK_CUR) == 5 && lseek(plain, 4, SEEK_SET) == 4);
	WANT(fcntl(high, F_GETFD) == FD_CLOEXEC && fcntl(twin, F_GETFD) == 0);
	WANT(lseek(own, 0, SEEK_CUR) == 0);
	WANT((fcntl(own, F_GETFL) & O_ACCMODE) == O_RDONLY);
	WANT((fcntl(plain, F_GETFL) & O_ACCMODE) == O_RDWR);
	WANT((fcntl(appended, F_GETFL) & (O_ACCMODE | O_APPEND)) ==
	     (O_WRONLY | O_APPEND));
	WANT(lseek(appended, 0, SEEK_CUR) == 6);
	WANT(faccessat(directory, "plain", R_OK, 0) == 0);
	return NULL;
}

/* ---- deleted, yet open ------------------------------------------------------------ */

static int deleted;

static void deleted_setup(void)
{
	deleted = create("deleted", O_RDWR);
	NEED(write(deleted, "still here", 10) == 10);
	NEED(unlink(zoo_text("%s/deleted", zoo_dir)) == 0);
}

static const char *deleted_verify(bool last)
{
	char buf[11] = "";
	struct stat st;

	(void)last;
	WANT(fstat(deleted, &st) == 0 && st.st_nlink == 0);
	WANT(lseek(deleted, 0, SEEK_CUR) == 10);
	WANT(pread(deleted, buf, 10, 0) == 10 && !strcmp(buf, "still here"));
	WANT(access(zoo_text("%s/deleted", zoo_dir), F_OK) < 0);
	return NULL;
}

/* ---- locks: only another process can see them -------------------------------------- */

static int locked, flocked;

static void locks_setup(void)
{
	struct flock lock = { .l_type = F_WRLCK,
			      .l_whence = SEEK_SET,
			      .l_start = 10,
			      .l_len = 20 };

	locked = create("locked", O_RDWR);
	flocked = create("flocked", O_RDWR);
	NEED(fcntl(locked, F_SETLK, &lock) == 0 && flock(flocked, LOCK_EX) == 0);
}

/* Whether the other process sees what it should; it ends with 0. */
static const char *seen_by_other(int (*look)(void))
{
	pid_t pid = fork();

	if (pid == 0)
		_exit(look());
	WANT(pid > 0 && zoo_ended(pid));
	return NULL;
}

static int sees_fcntl(void)
{
	struct flock lock = { .l_type = F_WRLCK,
			      .l_whence = SEEK_SET,
			      .l_start = 15,
			      .l_len = 1 };

	return fcntl(locked, F_GETLK, &lock) < 0 || lock.l_type != F_WRLCK ||
	       lock.l_pid != getppid() || lock.l_start != 10 ||
	       lock.l_len != 20;
}

static int sees_flock(void)
{
	int fd = open(zoo_text("%s/flocked", zoo_dir), O_RDWR);

	return fd < 0 || flock(fd, LOCK_EX | LOCK_NB) == 0 ||
	       errno != EWOULDBLOCK;
}

static const char *locks_verify(bool last)
{
	const char *fcntl_lock = seen_by_other(sees_fcntl);
	const char *flock_lock = seen_by_other(sees_flock);

	(void)last;
	WANT(fcntl_lock == NULL);
	WANT(flock_lock == NULL);
	return NULL;
}

/* ---- a file that grows all the time: no line lost, none twice ----------------------- */

static int heart = -1, beats;

void zoo_beat(void)
{
	if (heart >= 0)
		dprintf(heart, "beat %d\n", ++beats);
}

static void heartbeat_setup(void)
{
	heart = create("heartbeat", O_WRONLY | O_APPEND);
	zoo_beat();
}

static const char *heartbeat_verify(bool last)
{
	FILE *f = fopen(zoo_text("%s/heartbeat", zoo_dir), "r");
	int n, lines = 0, in_order = 0;

	(void)last;
	WANT(f);
	while (fscanf(f, "beat %d\n", &n) == 1)
		in_order += n == ++lines;
	n = feof(f);
	fclose(f);
	WANT(n && in_order == lines && lines == beats);
	return NULL;
}

/* ---- inotify: refused by criu for an ordinary user ----------------------------------- */

static int watcher;

static void inotify_setup(void)
{
	watcher = inotify_init1(IN_NONBLOCK);
	NEED(watcher >= 0 && inotify_add_watch(watcher, zoo_dir, IN_CREATE) >= 0);
}

static const char *inotify_verify(bool last)
{
	char buf[4096];

	(void)last;
	while (read(watcher, buf, sizeof(buf)) > 0)
		;
	unlink(zoo_text("%s/watched", zoo_dir));
	close(create("watched", O_RDWR));
	WANT(read(watcher, buf, sizeof(buf)) > 0);
	return NULL;
}

const struct exhibit zoo_files[] = {
	{ "files", files_setup, files_verify },
	{ "deleted-file", deleted_setup, deleted_verify },
	{ "locks", locks_setup, locks_verify },
	{ "heartbeat", heartbeat_setup, heartbeat_verify },
	{ "inotify", inotify_setup, inotify_verify },
	{ NULL, NULL, NULL }
};
