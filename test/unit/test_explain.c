/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The lines are as CRIU 4.2 writes them, behind its file and line. */
#include <stdio.h>

#include "explain.h"
#include "unit.h"

/* In the order of the table's rows. */
static const struct {
	const char *error, *says;
} rows[] = {
	{ "inet: Connected TCP socket, consider using --tcp-established option.",
	  "holds a TCP connection" },
	{ "unix: External socket is used. Consider using --ext-unix-sk option.",
	  "a unix socket of a program outside of the job" },
	{ "unix: Can't dump half of stream unix connection. name: (null); peer name: /run/nscd/socket",
	  "the unix socket /run/nscd/socket of a program outside" },
	{ "skqueue: recvmsg fail: error: Protocol not supported",
	  "a TCP connection is on its way to another process" },
	{ "sockets: Sockets (family 2 proto 6) are not collected",
	  "of sockets of the kind 2/6: the admin has to load its modules tcp_diag" },
	{ "Can't dump file 3 of that type [600] (anon anon_inode:[io_uring])",
	  "descriptor 3 is a kernel object of the kind [io_uring]" },
	{ "Can't dump file 4 of that type [20666] (chr 10:229)",
	  "descriptor 4 is the device 10:229" },
	{ "Can't dump file 5 of that type [60660] (unknown /dev/sda)",
	  "descriptor 5 is open on what cannot be taken along (unknown /dev/sda)" },
	{ "Task 1001 with SysVIPC shmem map @7f0000000000 doesn't live in IPC ns",
	  "process 1001 uses System V shared memory" },
	{ "Can't handle non-regular mapping on 1001's map 7fab00000000",
	  "process 1001 has the memory of a device mapped (a GPU's or a network adapter's, at 7fab00000000)" },
	{ "Unsupported mapping found 00007fab00000000-00007fab00001000",
	  "at 00007fab00000000-00007fab00001000 (" },
	{ "fsnotify: Can't find suitable path for handle (dev 0x2f ino 0x9): -2",
	  "on what has no name any more" },
	{ "fsnotify: \tCan't dump that handle", "inotify watch: watch by polling" },
	{ "The packetized mode for pipes is not supported yet",
	  "make it without O_DIRECT" },
	{ "tty: Found slave peer index 7 without correspond master peer",
	  "on the terminal /dev/pts/7, whose" },
	{ "Can't lookup mount=642 for fd=3 path=/old/data: x",
	  "descriptor 3 is open on /old/data: x, in" },
	{ "Open files on overmounted mounts are not supported yet; mount=3 fd=4 path=/a",
	  "descriptor 4 is open on /a, and another" },
	{ "Can't create link remap for /home/u/a. Use link-remap option.",
	  "/home/u/a was removed while it is open and has another name" },
	{ "Can't dump nested user namespace for 1002",
	  "process 1002 is in a user namespace of its own" },
	{ "mnt: Nested mount namespaces are not supported without userns",
	  "a mount namespace of its own" },
	{ "suspending seccomp failed: Operation not permitted",
	  "under seccomp: run it without its sandbox" },
	{ "Unseizable non-zombie 1002 found, state t, err -1/10",
	  "process 1002 is traced by a debugger" },
	{ "Unseizable non-zombie 1002 found, state S, err -1/10",
	  "process 1002 cannot be stopped (its state is S)" },
	{ "SEIZE 1003: task not stopped after seize",
	  "process 1003 ended or changed" },
	{ "Timeout reached. Try to interrupt: 1", "within 10 s" },
	{ "A session leader of 1005(1005) is outside of its pid namespace",
	  "process 1005 belongs to a session of a process outside" },
	{ "Individually stopped threads not supported", "a thread was stopped" },
	{ "Can't fork for 1001: File exists", "the PID 1001, which it had, is taken" },
	{ "Can't open file data/a on restore: No such file or directory",
	  "the file /data/a, which" },
	{ "Can't open file tmp/hsperfdata_u/1000: No such file or directory",
	  "the file /tmp/hsperfdata_u/1000, which it had open, is not there" },
	{ "Can't open file data/a: Permission denied",
	  "the file /data/a, which it had open, may not be opened" },
	{ "File home/u/out has bad size 12 (expect 40)",
	  "the file /home/u/out is of 12 bytes now, and had 40:" },
	{ "File usr/lib/x86_64-linux-gnu/libc.so.6 has bad build-ID",
	  "/usr/lib/x86_64-linux-gnu/libc.so.6 is another one" },
	{ "File home/u/a has bad mode 0100600 (expect 0100644)",
	  "the file /home/u/a has the mode 0100600 now, and had 0100644:" },
	{ "inet: Can't bind inet socket (id 9): Address already in use",
	  "port that it listened on is taken" },
	{ "inet: Can't bind inet socket (id 9): Cannot assign requested address",
	  "is not this node's" },
	{ "unix: Can't bind id 0x1 ino 77 addr /tmp/s: Address already in use",
	  "the name of the unix socket /tmp/s, which" },
	{ "unix: Can't bind id 0x1 ino 77 addr /tmp/d/s: No such file or directory",
	  "the directory of the unix socket /tmp/d/s, which" },
	{ "sockets: Can't set 1:36 (len 4): Operation not permitted", "a mark (SO_MARK)" },
	{ "sockets: Can't set 1:12 (len 4): Operation not permitted", "a priority (SO_PRIORITY)" },
	{ "Unable to drop capability 24: -1", "bounding set of capabilities" },
	{ "cpu: CPU instruction capabilities do not match run time",
	  "lacks instructions" },
	{ "cpu: CPU capabilities do not match run time", "lacks instructions" },
	{ "cpu: CPU xsave size mismatch (2696/832)", "other vector registers" },
	{ "1001 killed by signal 9: Killed", "process 1001 was killed while" },
	{ "Can't mmap section for restore code: Cannot allocate memory",
	  "not enough memory for it (Can't mmap section for restore code):" },
	{ "Can't write ghost: No space left on device", "is full (Can't write ghost)" },
	{ "Can't write ghost: Disk quota exceeded", "quota is used up" },
};

static void every_row(void **state)
{
	const int count = sizeof(rows) / sizeof(rows[0]);
	char text[400], line[400];

	(void)state;
	assert_int_equal(explain_rows(), count);
	for (int i = 0; i < count; i++) {
		/* What follows in the log is not looked at. */
		snprintf(line, sizeof(line), "%s\n(00.1) next) line\n", rows[i].error);
		assert_int_equal(explain_error(line, text, sizeof(text)), i + 1);
		if (!strstr(text, rows[i].says))
			fail_msg("%s: %s", rows[i].error, text);
		assert_null(strchr(text, '$'));
		assert_int_equal(explain_error(rows[i].error, text, sizeof(text)),
				 i + 1);
	}
}

static void unknown(void **state)
{
	char text[400];

	(void)state;
	assert_int_equal(explain_error("", text, sizeof(text)), 0);
	assert_int_equal(explain_error("inet: Connected", text, sizeof(text)), 0);
	assert_int_equal(explain_error("Can't fork for 5: No space", text,
				       sizeof(text)), 0);
	/* A pattern with an end ends there. */
	assert_int_equal(explain_error("x: Cannot allocate memory for y", text,
				       sizeof(text)), 0);
	/* It never writes behind its end. */
	text[8] = 'x';
	assert_int_equal(explain_error("Can't fork for 1001: File exists", text, 8),
			 28);
	assert_string_equal(text, "the PID");
	assert_int_equal(text[8], 'x');
}

static void of_a_log(void **state)
{
	char text[400];
	bool known;

	(void)state;
	assert_false(explain_log("(00.1) Warn  (criu/a.c:1): x\n", &known, text,
				 sizeof(text)));
	/* The one that is known, wherever it stands. */
	assert_true(explain_log("(00.015) Error (criu/files.c:1): Odd: 1\n"
				"(00.016) pie: 1001: Error (criu/pie/restorer.c:317): Unable to drop capability 24: -1\n"
				"(00.017) Error (criu/cr-restore.c:9): Restoring FAILED.\n",
				&known, text, sizeof(text)));
	assert_true(known);
	assert_non_null(strstr(text, "bounding set"));
	/* Not what criu does when it has failed. */
	assert_true(explain_log("(00.1) 1001: Error (criu/files.c:1221): Unable to open fd=3 id=0xf\n"
				"(00.2) Error (criu/cr-restore.c:2331): Restoring FAILED.\n"
				"(00.3) Error (criu/cr-restore.c:1269): 1000 killed by signal 9: Killed\n",
				&known, text, sizeof(text)));
	assert_false(known);
	assert_string_equal(text, "Unable to open fd=3 id=0xf");
	/* Else the first, whole. */
	assert_true(explain_log("Error (criu/files.c:1): Odd (1): 2\nError (criu/b.c:2): More\n",
				&known, text, sizeof(text)));
	assert_false(known);
	assert_string_equal(text, "Odd (1): 2");
	/* None, for sckpt has done it. */
	assert_true(explain_log("pie: 1001: Error (criu/include/sk-inet.h:80): Failed to turn off repair mode on socket 5: errno -1\n"
				"(00.2) Error (criu/a.c:1): Odd\n",
				&known, text, sizeof(text)));
	assert_string_equal(text, "Odd");
	/* One that is cut. */
	assert_true(explain_log("Error (cri", &known, text, sizeof(text)));
	assert_string_equal(text, "cri");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_row),
		cmocka_unit_test(unknown),
		cmocka_unit_test(of_a_log),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
