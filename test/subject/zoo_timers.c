/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Clocks and timers. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "zoo.h"

/* ---- clocks never go back, in any thread ----------------------------------- */

static atomic_int backwards, leaps;
static atomic_long looks;

static long long now_ns(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return ts.tv_sec * 1000000000LL + ts.tv_nsec;
}

void zoo_look_at_clocks(struct clock_seen *seen)
{
	long long m = now_ns(CLOCK_MONOTONIC), b = now_ns(CLOCK_BOOTTIME);

	if (m < seen->monotonic || b < seen->boottime)
		atomic_fetch_add(&backwards, 1);
	/* Nor does it leap: another node's time is not ours. */
	if (seen->monotonic && m - seen->monotonic > 20000000000LL)
		atomic_fetch_add(&leaps, 1);
	seen->monotonic = m;
	seen->boottime = b;
	atomic_fetch_add(&looks, 1);
}

static void *look_always(void *arg)
{
	struct clock_seen seen = { 0, 0 };

	(void)arg;
	for (;;) {
		zoo_look_at_clocks(&seen);
		zoo_sleep(1);
	}
	return NULL;
}

static void clocks_setup(void)
{
	pthread_t t;

	NEED(pthread_create(&t, NULL, look_always, NULL) == 0);
}

static const char *clocks_verify(bool last)
{
	long before = atomic_load(&looks);

	(void)last;
	/* Until every thread has looked again. */
	for (int i = 0; i < 1000 && atomic_load(&looks) < before + 200; i++)
		zoo_sleep(10);
	WANT(atomic_load(&looks) >= before + 200);
	WANT(atomic_load(&backwards) == 0);
	WANT(atomic_load(&leaps) == 0);
	return NULL;
}

/* ---- timerfd ---------------------------------------------------------------- */

#define FAR 5000

/* What remains of FAR seconds: some are gone, but not many. */
static bool plausible(time_t left)
{
	return left > FAR - 1500 && left <= FAR;
}

static int distant, walltime;

static void timerfd_setup(void)
{
	const struct itimerspec far = { { 7, 0 }, { FAR, 0 } };

	distant = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
	walltime = timerfd_create(CLOCK_REALTIME, TFD_NONBLOCK);
	NEED(timerfd_settime(distant, 0, &far, NULL) == 0);
	NEED(timerfd_settime(walltime, 0, &far, NULL) == 0);
}

static const char *runs(int fd)
{
	struct itimerspec left, later;
	uint64_t n;

	WANT(timerfd_gettime(fd, &left) == 0);
	WANT(plausible(left.it_value.tv_sec) && left.it_interval.tv_sec == 7);
	WANT(read(fd, &n, sizeof(n)) < 0 && errno == EAGAIN);
	zoo_sleep(20);
	WANT(timerfd_gettime(fd, &later) == 0);
	WANT(later.it_value.tv_sec < left.it_value.tv_sec ||
	     later.it_value.tv_nsec < left.it_value.tv_nsec);
	return NULL;
}

static const char *timerfd_verify(bool last)
{
	const char *wrong = runs(distant);

	(void)last;
	return wrong ? wrong : runs(walltime);
}

/* Expired and not read when it is dumped: criu restores that one tick and none
 * after it (checkpoint-restore/criu#3162), so sckpt has to see to it. */
static int ticking;

static void unread_setup(void)
{
	const struct itimerspec often = { { 0, 50000000 }, { 0, 50000000 } };

	ticking = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
	NEED(timerfd_settime(ticking, 0, &often, NULL) == 0);
}

static const char *unread_verify(bool last)
{
	uint64_t n = 0;

	(void)last;
	WANT(zoo_read(ticking, &n, sizeof(n)) && n >= 1);
	WANT(zoo_read(ticking, &n, sizeof(n)) && n >= 1);
	return NULL;
}

/* ---- setitimer and timer_create ---------------------------------------------- */

static volatile sig_atomic_t alarms, posix_alarms;

static void on_alarm(int sig)
{
	if (sig == SIGALRM)
		alarms = alarms + 1;
	else
		posix_alarms = posix_alarms + 1;
}

static bool goes_on(volatile sig_atomic_t *n)
{
	sig_atomic_t before = *n;

	for (int i = 0; i < 2000 && *n < before + 2; i++)
		zoo_sleep(5);
	return *n >= before + 2;
}

static void itimer_setup(void)
{
	const struct itimerval often = { { 0, 70000 }, { 0, 70000 } };
	const struct itimerval far = { { 0, 0 }, { FAR, 0 } };
	struct sigaction sa = { .sa_handler = on_alarm, .sa_flags = SA_RESTART };

	NEED(sigaction(SIGALRM, &sa, NULL) == 0);
	NEED(setitimer(ITIMER_REAL, &often, NULL) == 0);
	NEED(setitimer(ITIMER_PROF, &far, NULL) == 0);
}

static const char *itimer_verify(bool last)
{
	struct itimerval left;

	(void)last;
	WANT(goes_on(&alarms));
	WANT(getitimer(ITIMER_REAL, &left) == 0);
	WANT(left.it_interval.tv_sec == 0 &&
	     left.it_interval.tv_usec / 1000 == 70);
	WANT(getitimer(ITIMER_PROF, &left) == 0);
	WANT(plausible(left.it_value.tv_sec));
	return NULL;
}

/* One that is to ring once, in a process that has no other: this was lost once
 * (checkpoint-restore/criu#2559). */
static int ask[2], answer[2];

static void alarm_setup(void)
{
	pid_t child;

	NEED(pipe(ask) == 0 && pipe(answer) == 0);
	child = fork();
	if (child == 0) {
		struct itimerval left;
		char c;

		close(ask[1]);
		close(answer[0]);
		alarm(FAR);
		while (read(ask[0], &c, 1) == 1 &&
		       getitimer(ITIMER_REAL, &left) == 0 &&
		       write(answer[1], &left, sizeof(left)) == sizeof(left))
			;
		_exit(0);
	}
	NEED(child > 0);
	close(ask[0]);
	close(answer[1]);
}

static const char *alarm_verify(bool last)
{
	struct itimerval left;

	(void)last;
	WANT(write(ask[1], "x", 1) == 1);
	WANT(zoo_read(answer[0], &left, sizeof(left)));
	WANT(plausible(left.it_value.tv_sec));
	return NULL;
}

static timer_t near_timer, far_timer;

static void posix_setup(void)
{
	const struct itimerspec often = { { 0, 60000000 }, { 0, 60000000 } };
	const struct itimerspec far = { { 0, 0 }, { FAR, 0 } };
	struct sigaction sa = { .sa_handler = on_alarm, .sa_flags = SA_RESTART };
	struct sigevent ev = { .sigev_notify = SIGEV_SIGNAL,
			       .sigev_signo = SIGRTMIN + 5 };

	NEED(sigaction(SIGRTMIN + 5, &sa, NULL) == 0);
	NEED(timer_create(CLOCK_MONOTONIC, &ev, &near_timer) == 0);
	NEED(timer_create(CLOCK_REALTIME, &ev, &far_timer) == 0);
	NEED(timer_settime(near_timer, 0, &often, NULL) == 0);
	NEED(timer_settime(far_timer, 0, &far, NULL) == 0);
}

static const char *posix_verify(bool last)
{
	struct itimerspec left;

	(void)last;
	WANT(goes_on(&posix_alarms));
	WANT(timer_gettime(far_timer, &left) == 0);
	WANT(plausible(left.it_value.tv_sec));
	return NULL;
}

const struct exhibit zoo_timers[] = {
	{ "clocks", clocks_setup, clocks_verify },
	{ "timerfd", timerfd_setup, timerfd_verify },
	{ "timerfd-unread", unread_setup, unread_verify },
	{ "setitimer", itimer_setup, itimer_verify },
	{ "alarm", alarm_setup, alarm_verify },
	{ "posix-timer", posix_setup, posix_verify },
	{ NULL, NULL, NULL }
};
