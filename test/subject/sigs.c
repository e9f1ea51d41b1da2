/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * sigs --seconds S [--die-on-term], or in short: sigs S [die]
 * A line for each signal handled, and how many of each in the end. With
 * --die-on-term SIGTERM ends it with exit code 3.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const struct {
	int number;
	const char *name;
} signals[] = { { SIGTERM, "SIGTERM" }, { SIGUSR1, "SIGUSR1" },
		{ SIGUSR2, "SIGUSR2" }, { SIGCONT, "SIGCONT" },
		{ SIGHUP, "SIGHUP" },	{ SIGINT, "SIGINT" },
		{ SIGQUIT, "SIGQUIT" }, { SIGURG, "SIGURG" },
		{ SIGXCPU, "SIGXCPU" }, { SIGWINCH, "SIGWINCH" } };
#define SIGNALS (sizeof(signals) / sizeof(signals[0]))

static volatile sig_atomic_t counts[SIGNALS], terminated;

/* All are blocked in it, so that lines come whole. */
static void handler(int sig)
{
	char line[32] = "got ";
	ssize_t ignored;

	for (size_t i = 0; i < SIGNALS; i++)
		if (signals[i].number == sig) {
			counts[i] = counts[i] + 1;
			strcat(line, signals[i].name);
		}
	strcat(line, "\n");
	ignored = write(1, line, strlen(line));
	(void)ignored;
	if (sig == SIGTERM)
		terminated = 1;
}

int main(int argc, char *argv[])
{
	struct sigaction sa = { .sa_handler = handler, .sa_flags = SA_RESTART };
	struct timespec now, end;
	int die = 0, seconds = -1;

	for (int i = 1; i < argc; i++)
		if (!strcmp(argv[i], "--seconds") && i + 1 < argc)
			seconds = atoi(argv[++i]);
		else if (!strcmp(argv[i], "--die-on-term") ||
			 !strcmp(argv[i], "die"))
			die = 1;
		else if (*argv[i] >= '0' && *argv[i] <= '9')
			seconds = atoi(argv[i]);
		else
			seconds = argc = -1;
	if (seconds < 0) {
		fputs("usage: sigs --seconds S [--die-on-term]\n", stderr);
		return 2;
	}
	sigfillset(&sa.sa_mask);
	for (size_t i = 0; i < SIGNALS; i++)
		sigaction(signals[i].number, &sa, NULL);
	dprintf(1, "ready\n");
	clock_gettime(CLOCK_MONOTONIC, &end);
	end.tv_sec += seconds;
	do {
		const struct timespec tick = { 0, 50000000 };

		nanosleep(&tick, NULL);
		clock_gettime(CLOCK_MONOTONIC, &now);
	} while (!(die && terminated) &&
		 (now.tv_sec < end.tv_sec ||
		  (now.tv_sec == end.tv_sec && now.tv_nsec < end.tv_nsec)));
	for (size_t i = 0; i < SIGNALS; i++)
		if (counts[i])
			dprintf(1, "%s %d\n", signals[i].name, (int)counts[i]);
	return die && terminated ? 3 : 0;
}
