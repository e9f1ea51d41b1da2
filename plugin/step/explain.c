/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Criu's errors in words: its own name neither what the program did nor what
 * can be done. A % of a pattern stands for any text, and $1, $2… of the sentence
 * for what the first, second… of them was.
 */
#include <stdio.h>
#include <string.h>

#include "explain.h"

#define PIECES_MAX 4

static const struct {
	const char *pattern, *sentence;
} table[] = {
	/* ---- at a dump ---- */
	{ "inet: Connected TCP socket, consider",
	  "it holds a TCP connection, which would be broken: close it before the job is stopped" },
	{ "unix: External socket is used.",
	  "it is connected to a unix socket of a program outside of the job (a daemon's, or ssh-agent's): close the connection before the job is stopped" },
	{ "unix: Can't dump half of stream unix connection. name: %; peer name: %\n",
	  "it is connected to the unix socket $2 of a program outside of the job: close the connection before the job is stopped" },
	{ "skqueue: recvmsg fail: error: Protocol not supported",
	  "a TCP connection is on its way to another process in a unix socket, and cannot be taken along so: have it received before the job is stopped" },
	{ "sockets: Sockets (family % proto %) are not collected",
	  "the kernel of this node does not tell of sockets of the kind $1/$2: the admin has to load its modules tcp_diag, udp_diag, raw_diag, unix_diag, netlink_diag and af_packet_diag" },
	{ "Can't dump file % of that type [%] (anon anon_inode:%)\n",
	  "descriptor $1 is a kernel object of the kind $3, which cannot be taken along: close it, or run the program without it" },
	{ "Can't dump file % of that type [%] (chr %)\n",
	  "descriptor $1 is the device $3, whose state cannot be taken along: close it before the job is stopped, or run without --checkpoint" },
	{ "Can't dump file % of that type [%] (%)\n",
	  "descriptor $1 is open on what cannot be taken along ($3): close it before the job is stopped" },
	{ "Task % with SysVIPC shmem map @",
	  "process $1 uses System V shared memory (shmget), which belongs to no process: use shm_open or mmap instead" },
	{ "Can't handle non-regular mapping on %'s map %\n",
	  "process $1 has the memory of a device mapped (a GPU's or a network adapter's, at $2): run without --checkpoint, or without that device" },
	{ "Unsupported mapping found %\n",
	  "it has memory mapped of a kind that cannot be taken along, at $1 (of an io_uring, say, or of perf): run the program without it" },
	{ "fsnotify: Can't find suitable path for handle",
	  "it holds an inotify watch on what has no name any more: watch by polling, or close it" },
	{ "fsnotify: \tCan't dump that handle",
	  "it holds an inotify watch: watch by polling, or close it" },
	{ "The packetized mode for pipes is not supported yet",
	  "it has a pipe in packet mode: make it without O_DIRECT" },
	{ "tty: Found slave peer index % without",
	  "it is on the terminal /dev/pts/$1, whose other end is not in the job: run it without a terminal, or under script(1) inside of the job" },
	{ "Can't lookup mount=% for fd=% path=%\n",
	  "descriptor $2 is open on $3, in a file system that is not mounted in the job: open it again after the job's start, by a name that the job sees" },
	{ "Open files on overmounted mounts are not supported yet; mount=% fd=% path=%\n",
	  "descriptor $2 is open on $3, and another file system was mounted over it: close it" },
	{ "Can't create link remap for %. Use",
	  "$1 was removed while it is open and has another name: keep it, or remove that one too" },
	{ "Can't dump nested % namespace for %\n",
	  "process $2 is in a $1 namespace of its own: run it without its sandbox or container" },
	{ "mnt: Nested mount namespaces are not supported",
	  "a process is in a mount namespace of its own: run it without its sandbox or container" },
	{ "suspending seccomp failed",
	  "a process has put itself under seccomp: run it without its sandbox" },
	{ "Unseizable non-zombie % found, state t,",
	  "process $1 is traced by a debugger: detach it" },
	{ "Unseizable non-zombie % found, state %, err",
	  "process $1 cannot be stopped (its state is $2): a debugger, strace or a profiler may have it, or it has made itself not dumpable, or kernel.yama.ptrace_scope of this node is not 0; detach, or ask the admin" },
	{ "SEIZE %: task not stopped after seize",
	  "process $1 ended or changed while it was being stopped: try again" },
	{ "Timeout reached. Try to interrupt:",
	  "not every process could be stopped within 10 s: one waits for a disk or a file server (state D in ps), or they fork too fast; try again when that is over" },
	{ "A session leader of %(%) is outside of its pid namespace",
	  "process $2 belongs to a session of a process outside of the job: start it by setsid(1)" },
	{ "Individually stopped threads not supported",
	  "a thread was stopped by itself, by a debugger: detach it" },
	/* ---- at a restore ---- */
	{ "Can't fork for %: File exists",
	  "the PID $1, which it had, is taken: another process of the step has it" },
	{ "Can't open file % on restore: No such file or directory",
	  "the file /$1, which it had open, is not there on this node: bring it back, or keep it where all nodes see it" },
	{ "Can't open file %: No such file or directory",
	  "the file /$1, which it had open, is not there on this node: bring it back, or keep it where all nodes see it" },
	{ "Can't open file %: Permission denied",
	  "the file /$1, which it had open, may not be opened any more on this node: give its mode and owner back" },
	{ "File % has bad size % (expect %)\n",
	  "the file /$1 is of $2 bytes now, and had $3: give it back its content, or go on from an older checkpoint" },
	{ "File % has bad build-ID",
	  "the program or library /$1 is another one than at the dump: restore where the same version is installed" },
	{ "File % has bad mode % (expect %)\n",
	  "the file /$1 has the mode $2 now, and had $3: chmod it back" },
	{ "inet: Can't bind inet socket (id %): Address already in use",
	  "the port that it listened on is taken on this node: free it, or run the job on another node" },
	{ "inet: Can't bind inet socket (id %): Cannot assign requested address",
	  "the address that it listened on is not this node's: let it listen on 0.0.0.0 or 127.0.0.1" },
	{ "unix: Can't bind id % ino % addr %: Address already in use",
	  "the name of the unix socket $3, which it listened on, is taken on this node, by a file or another user: free it, or run the job on another node" },
	{ "unix: Can't bind id % ino % addr %: No such file or directory",
	  "the directory of the unix socket $3, which it listened on, is not there on this node: make it, or keep it where all nodes see it" },
	{ "sockets: Can't set 1:36 (len %): Operation not permitted",
	  "it has a socket with a mark (SO_MARK) of another network namespace, which it may not have in the node's" },
	{ "sockets: Can't set 1:12 (len %): Operation not permitted",
	  "it has a socket with a priority (SO_PRIORITY) of another network namespace, which it may not have in the node's" },
	{ "Unable to drop capability %:",
	  "the bounding set of capabilities of this node is not full, and the program was dumped on one where it is: the admin can set no-new-privs on all nodes" },
	{ "cpu: CPU instruction capabilities do not match run time",
	  "this node's processor lacks instructions that the program may use: restore on a node like the one before (--constraint)" },
	{ "cpu: CPU capabilities do not match run time",
	  "this node's processor lacks instructions that the program may use: restore on a node like the one before (--constraint)" },
	{ "cpu: CPU xsave size mismatch",
	  "this node's processor has other vector registers: restore on a node like the one before (--constraint)" },
	{ "% killed by signal 9:",
	  "process $1 was killed while it was being restored, for want of memory most likely: give the job more (--mem)" },
	{ "%: Cannot allocate memory\n",
	  "there was not enough memory for it ($1): give the job more (--mem)" },
	{ "%: No space left on device\n",
	  "a file system is full ($1): free space there" },
	{ "%: Disk quota exceeded\n",
	  "your quota is used up ($1): remove files" },
};

/* What a % of a pattern was. */
struct piece {
	const char *at;
	int size;
};

static bool match(const char *error, const char *end, const char *pattern,
		  struct piece pieces[PIECES_MAX])
{
	const char *at = error;
	int n = 0;

	for (;;) {
		size_t literal = strcspn(pattern, "%\n");
		const char *from = at;

		/* The first literal stands at the begin, others behind a %. */
		while (n > 0 && at + literal <= end &&
		       strncmp(at, pattern, literal) != 0)
			at++;
		/* A newline in a pattern is the end of the line. */
		if (n > 0 && literal == 0 && (!*pattern || *pattern == '\n'))
			at = end;
		/* So the last literal before it is looked for at the end. */
		if (n > 0 && literal && pattern[literal] == '\n')
			at = end - literal;
		if (at < from || at + literal > end ||
		    strncmp(at, pattern, literal) != 0)
			return false;
		if (n > 0)
			pieces[n - 1].size = (int)(at - from);
		at += literal;
		pattern += literal;
		if (!*pattern || *pattern == '\n')
			return !*pattern || at == end;
		if (n == PIECES_MAX)
			return false;
		pieces[n++] = (struct piece){ at, 0 };
		pattern++;
	}
}

static void fill_in(const char *sentence, const struct piece *pieces, char *text,
		    size_t size)
{
	size_t n = 0;

	text[0] = '\0';
	while (*sentence && n < size) {
		size_t plain = strcspn(sentence, "$");

		n += (size_t)snprintf(text + n, size - n, "%.*s", (int)plain,
				      sentence);
		sentence += plain;
		if (!*sentence || n >= size)
			break;
		n += (size_t)snprintf(text + n, size - n, "%.*s",
				      pieces[sentence[1] - '1'].size,
				      pieces[sentence[1] - '1'].at);
		sentence += 2;
	}
}

int explain_rows(void)
{
	return sizeof(table) / sizeof(table[0]);
}

int explain_error(const char *error, char *text, size_t size)
{
	const char *end = error + strcspn(error, "\n");

	for (int i = 0; i < explain_rows(); i++) {
		struct piece pieces[PIECES_MAX] = { { NULL, 0 } };

		if (match(error, end, table[i].pattern, pieces)) {
			fill_in(table[i].sentence, pieces, text, size);
			return i + 1;
		}
	}
	return 0;
}

/* What its tasks say because sckpt has done that for them (criu/in_attach.c). */
static bool is_none(const char *error)
{
	return !strncmp(error, "Failed to turn off repair mode", 30);
}

/* The text of the next error at or behind `at`; NULL: there is none. */
static const char *next_error(const char *at)
{
	while ((at = strstr(at, "Error ("))) {
		/* "Error (criu/files.c:123): text" */
		const char *text = strstr(at, "): ");

		at = text && text < at + strcspn(at, "\n") ? text + 3 : at + 7;
		if (!is_none(at))
			return at;
	}
	return NULL;
}

/* From here on it tells how it clears away: that it kills what it has made, say. */
static bool is_last(const char *error)
{
	return !strncmp(error, "Restoring FAILED.", 17) ||
	       !strncmp(error, "Dumping FAILED.", 15);
}

bool explain_log(const char *log, bool *known, char *text, size_t size)
{
	const char *first = next_error(log);

	*known = false;
	for (const char *at = first; at && !is_last(at); at = next_error(at))
		if (explain_error(at, text, size)) {
			*known = true;
			return true;
		}
	if (first)
		snprintf(text, size, "%.*s", (int)strcspn(first, "\n"), first);
	return first != NULL;
}
