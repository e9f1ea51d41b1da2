/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ender SECONDS exit N | abort | segv | kill N: counts a line per 100 ms,
 * unbuffered, then ends as told. Where all is slow the lines are as many, and
 * TEST_PACE is the seconds between them, until the home has a file `quick`. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static int usage(void)
{
	fputs("usage: ender SECONDS exit N | abort | segv | kill N\n", stderr);
	return 2;
}

int main(int argc, char *argv[])
{
	const char *how = argc > 2 ? argv[2] : "";
	const char *pace = getenv("TEST_PACE"), *home = getenv("HOME");
	long ms = pace ? (long)(atof(pace) * 1000) : 100;
	int with_number = !strcmp(how, "exit") || !strcmp(how, "kill");
	int number = argc > 3 ? atoi(argv[3]) : 0;
	int *volatile nowhere = NULL;
	char quick[256];
	sigset_t all;

	if (argc != 3 + with_number ||
	    (!with_number && strcmp(how, "abort") && strcmp(how, "segv")))
		return usage();
	snprintf(quick, sizeof(quick), "%s/quick", home ? home : ".");
	for (int i = 1, lines = (int)(atof(argv[1]) * 10); i <= lines; i++) {
		struct timespec left = { ms / 1000, ms % 1000 * 1000000 };

		dprintf(1, "line %d\n", i);
		while (access(quick, F_OK) < 0 && nanosleep(&left, &left) < 0)
			;
	}
	if (!strcmp(how, "abort"))
		abort();
	if (!strcmp(how, "segv"))
		*nowhere = 1;
	if (!strcmp(how, "exit"))
		return number;
	/* Whatever was inherited: it must end this process. */
	signal(number, SIG_DFL);
	sigfillset(&all);
	sigprocmask(SIG_UNBLOCK, &all, NULL);
	kill(getpid(), number);
	fprintf(stderr, "ender: signal %d does not end anything\n", number);
	return 2;
}
