/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Threads, what they wait for, and the signals kept for them. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "zoo.h"

static bool becomes(atomic_int *value, int wanted)
{
	for (int i = 0; i < 2000 && atomic_load(value) != wanted; i++)
		zoo_sleep(5);
	return atomic_load(value) == wanted;
}

/* ---- a robust mutex, held by a process that dies when told ------------------
 * The kernel's list of robust futexes must have come along. */

static pthread_mutex_t *robust;
static pid_t holder;
static int told[2];

static void robust_setup(void)
{
	pthread_mutexattr_t attr;
	int holds[2];
	char c;

	robust = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	NEED(robust != MAP_FAILED && pipe(told) == 0 && pipe(holds) == 0);
	pthread_mutexattr_init(&attr);
	pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
	pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
	NEED(pthread_mutex_init(robust, &attr) == 0);
	if ((holder = fork()) == 0) {
		close(told[1]);
		pthread_mutex_lock(robust);
		if (write(holds[1], "x", 1) != 1 || read(told[0], &c, 1) < 0)
			_exit(1);
		_exit(0);
	}
	NEED(holder > 0 && zoo_read(holds[0], &c, 1));
	close(told[0]);
	close(holds[0]);
	close(holds[1]);
}

static const char *robust_verify(bool last)
{
	struct timespec until;

	WANT(pthread_mutex_trylock(robust) == EBUSY);
	if (!last)
		return NULL;
	WANT(write(told[1], "x", 1) == 1);
	WANT(zoo_ended(holder));
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += 10;
	WANT(pthread_mutex_timedlock(robust, &until) == EOWNERDEAD);
	WANT(pthread_mutex_consistent(robust) == 0);
	WANT(pthread_mutex_unlock(robust) == 0);
	WANT(pthread_mutex_lock(robust) == 0);
	return NULL;
}

/* ---- blocked and pending signals, an alternate stack, a handler -------------- */

static char altstack[65536];
static volatile sig_atomic_t handled, on_altstack;

static void handler(int sig)
{
	char here;

	(void)sig;
	handled = handled + 1;
	on_altstack = &here >= altstack && &here < altstack + sizeof(altstack);
}

/* Before the threads: they inherit the mask, so the queued one stays. */
static void signals_setup(void)
{
	struct sigaction sa = { .sa_handler = handler, .sa_flags = SA_ONSTACK };
	stack_t ss = { .ss_sp = altstack, .ss_size = sizeof(altstack) };
	sigset_t set;

	NEED(sigaltstack(&ss, NULL) == 0 && sigaction(SIGUSR1, &sa, NULL) == 0);
	signal(SIGHUP, SIG_IGN);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigaddset(&set, SIGRTMIN + 3);
	NEED(pthread_sigmask(SIG_BLOCK, &set, NULL) == 0);
	/* One for the thread; two, in order, for the process. */
	NEED(pthread_kill(pthread_self(), SIGUSR1) == 0);
	NEED(sigqueue(getpid(), SIGRTMIN + 3,
		      (union sigval){ .sival_int = 77 }) == 0);
	NEED(sigqueue(getpid(), SIGRTMIN + 3,
		      (union sigval){ .sival_int = 78 }) == 0);
}

static const char *signals_verify(bool last)
{
	const struct timespec now = { 0, 0 };
	struct sigaction sa;
	siginfo_t info;
	sigset_t set;
	stack_t ss;

	sigpending(&set);
	WANT(sigismember(&set, SIGUSR1) && sigismember(&set, SIGRTMIN + 3));
	WANT(handled == 0);
	pthread_sigmask(SIG_BLOCK, NULL, &set);
	WANT(sigismember(&set, SIGUSR1) && sigismember(&set, SIGRTMIN + 3));
	WANT(!sigismember(&set, SIGTERM));
	WANT(sigaction(SIGHUP, NULL, &sa) == 0 && sa.sa_handler == SIG_IGN);
	WANT(sigaction(SIGUSR1, NULL, &sa) == 0 && sa.sa_handler == handler);
	WANT(sigaltstack(NULL, &ss) == 0 && ss.ss_sp == altstack &&
	     ss.ss_size == sizeof(altstack));
	if (!last)
		return NULL;
	sigemptyset(&set);
	sigaddset(&set, SIGRTMIN + 3);
	for (int value = 77; value <= 78; value++) {
		WANT(sigtimedwait(&set, &info, &now) == SIGRTMIN + 3);
		WANT(info.si_value.sival_int == value);
		WANT(info.si_code == SI_QUEUE && info.si_pid == getpid());
	}
	WANT(sigtimedwait(&set, &info, &now) < 0 && errno == EAGAIN);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
	WANT(handled == 1 && on_altstack);
	return NULL;
}

/* ---- a mutex that one thread holds and another waits for --------------------- */

static pthread_mutex_t mutex;
static atomic_int waiter;
enum { WAITS = 1, GOT_IT };

static void *wait_for_mutex(void *arg)
{
	(void)arg;
	atomic_store(&waiter, WAITS);
	if (pthread_mutex_lock(&mutex) == 0)
		atomic_store(&waiter, GOT_IT);
	return NULL;
}

static void mutex_setup(void)
{
	pthread_mutexattr_t attr;
	pthread_t t;

	pthread_mutexattr_init(&attr);
	pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_ERRORCHECK);
	NEED(pthread_mutex_init(&mutex, &attr) == 0);
	NEED(pthread_mutex_lock(&mutex) == 0);
	NEED(pthread_create(&t, NULL, wait_for_mutex, NULL) == 0);
	NEED(becomes(&waiter, WAITS));
}

static const char *mutex_verify(bool last)
{
	WANT(atomic_load(&waiter) == WAITS);
	/* The owner is known by its thread id. */
	WANT(pthread_mutex_lock(&mutex) == EDEADLK);
	if (!last)
		return NULL;
	WANT(pthread_mutex_unlock(&mutex) == 0);
	WANT(becomes(&waiter, GOT_IT));
	return NULL;
}

/* ---- 64 threads, each with its own name, mask, memory and look at the clocks -- */

#define THREADS 64

static __thread int own;
static atomic_int question, answers, wrong;
static pid_t tids[THREADS];

static void *live(void *arg)
{
	int n = (int)(size_t)arg, answered = 0;
	struct clock_seen seen = { 0, 0 };
	char name[16], now[16];
	sigset_t mask, is;

	own = n;
	tids[n] = gettid();
	snprintf(name, sizeof(name), "thread-%d", n);
	pthread_setname_np(pthread_self(), name);
	sigemptyset(&mask);
	sigaddset(&mask, SIGRTMIN + 6 + n % 8);
	pthread_sigmask(SIG_BLOCK, &mask, NULL);
	pthread_sigmask(SIG_BLOCK, NULL, &mask);
	atomic_fetch_add(&answers, 1);
	for (;;) {
		zoo_sleep(20);
		zoo_look_at_clocks(&seen);
		if (answered == atomic_load(&question))
			continue;
		answered = atomic_load(&question);
		pthread_getname_np(pthread_self(), now, sizeof(now));
		pthread_sigmask(SIG_BLOCK, NULL, &is);
		if (own != n || tids[n] != gettid() || strcmp(name, now))
			atomic_fetch_add(&wrong, 1);
		for (int s = 1; s <= SIGRTMAX; s++)
			if (sigismember(&mask, s) != sigismember(&is, s))
				atomic_fetch_add(&wrong, 1);
		atomic_fetch_add(&answers, 1);
	}
	return NULL;
}

static void threads_setup(void)
{
	for (size_t i = 0; i < THREADS; i++) {
		pthread_t t;

		NEED(pthread_create(&t, NULL, live, (void *)i) == 0);
	}
	NEED(becomes(&answers, THREADS));
}

static const char *threads_verify(bool last)
{
	(void)last;
	atomic_store(&answers, 0);
	atomic_fetch_add(&question, 1);
	WANT(becomes(&answers, THREADS));
	WANT(atomic_load(&wrong) == 0);
	return NULL;
}

const struct exhibit zoo_threads[] = {
	{ "robust-mutex", robust_setup, robust_verify },
	{ "signals", signals_setup, signals_verify },
	{ "mutex", mutex_setup, mutex_verify },
	{ "threads", threads_setup, threads_verify },
	{ NULL, NULL, NULL }
};
