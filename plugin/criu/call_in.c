/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The task is let run to its next system call. Where that begins, another number and other arguments
 * take its place (on entry the kernel takes them from the registers anew); where it ends, the
 * task is put back in front of the instruction, with the registers of before.
 */
#include <elf.h>
#include <errno.h>
#include <linux/capability.h>
#include <linux/ptrace.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include "call_in.h"

/* <sys/ptrace.h> and <linux/ptrace.h> are not for one file. */
long ptrace(int request, ...);

#if defined(__x86_64__)

typedef struct user_regs_struct regs_t;
#define SYSCALL_SIZE 2

static int set_call(pid_t pid, regs_t *r, long call, unsigned long one, unsigned long two)
{
	(void)pid;
	r->orig_rax = (unsigned long)call;
	r->rdi = one;
	r->rsi = two;
	r->rdx = r->r10 = r->r8 = 0;
	return 0;
}

static void go_back(regs_t *r)
{
	r->rip -= SYSCALL_SIZE;
	r->rax = r->orig_rax;
	r->orig_rax = (unsigned long long)-1; /* nothing to restart */
}

static unsigned long stack_of(const regs_t *r)
{
	return r->rsp;
}

static long call_result(const regs_t *r)
{
	return (long)r->rax;
}

#elif defined(__aarch64__)

typedef struct user_regs_struct regs_t;
#define SYSCALL_SIZE 4

static int set_call(pid_t pid, regs_t *r, long call, unsigned long one, unsigned long two)
{
	int number = (int)call;
	struct iovec iov = { &number, sizeof(number) };

	r->regs[0] = one;
	r->regs[1] = two;
	r->regs[2] = r->regs[3] = r->regs[4] = 0;
	return (int)ptrace(PTRACE_SETREGSET, pid, (void *)NT_ARM_SYSTEM_CALL, &iov);
}

static void go_back(regs_t *r)
{
	r->pc -= SYSCALL_SIZE; /* the number is in x8 still */
}

static unsigned long stack_of(const regs_t *r)
{
	return r->sp;
}

static long call_result(const regs_t *r)
{
	return (long)r->regs[0];
}

#else
#error "write set_call(), go_back() and call_result() for this architecture"
#endif

static int get_regs(pid_t pid, regs_t *r)
{
	struct iovec iov = { r, sizeof(*r) };

	return (int)ptrace(PTRACE_GETREGSET, pid, (void *)NT_PRSTATUS, &iov);
}

static int set_regs(pid_t pid, regs_t *r)
{
	struct iovec iov = { r, sizeof(*r) };

	return (int)ptrace(PTRACE_SETREGSET, pid, (void *)NT_PRSTATUS, &iov);
}

int wait_stop(pid_t pid)
{
	int status;

	while (waitpid(pid, &status, __WALL) < 0)
		if (errno != EINTR)
			return -1;
	if (WIFSTOPPED(status))
		return 0;
	errno = ESRCH;
	return -1;
}

/* To where a system call begins or ends; its registers there. */
static int go_to(pid_t pid, unsigned where, regs_t *r)
{
	struct ptrace_syscall_info info;

	do {
		if (ptrace(PTRACE_SYSCALL, pid, 0L, 0L) < 0 || wait_stop(pid) < 0 ||
		    ptrace(PTRACE_GET_SYSCALL_INFO, pid, (void *)sizeof(info), &info) < 0)
			return -1;
	} while (info.op != where);
	return get_regs(pid, r);
}

/* From where one begins. */
static int call_instead(pid_t pid, const regs_t *begin, long call, unsigned long one,
			unsigned long two)
{
	regs_t r = *begin;
	long result;

	if (set_call(pid, &r, call, one, two) < 0 || set_regs(pid, &r) < 0 ||
	    go_to(pid, PTRACE_SYSCALL_INFO_EXIT, &r) < 0)
		return -1;
	result = call_result(&r);
	r = *begin;
	go_back(&r);
	if (set_regs(pid, &r) < 0)
		return -1;
	if (result < 0)
		errno = (int)-result;
	return result < 0 ? -1 : 0;
}

int call_in(pid_t pid, long call, unsigned long one, unsigned long two)
{
	regs_t r;

	return go_to(pid, PTRACE_SYSCALL_INFO_ENTRY, &r) < 0 ?
		       -1 :
		       call_instead(pid, &r, call, one, two);
}

/* ---- capabilities (capget(2)) ---------------------------------------------------------- */

struct caps {
	struct __user_cap_header_struct header;
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];
};

uint64_t caps_of(pid_t pid)
{
	struct caps c = { .header = { _LINUX_CAPABILITY_VERSION_3, pid } };

	return syscall(SYS_capget, &c.header, c.data) < 0 ?
		       UINT64_MAX :
		       (uint64_t)c.data[1].permitted << 32 | c.data[0].permitted;
}

/* Below what its stack is in use for, and below any red zone. */
#define SCRATCH 1024

/* The arguments of a capset of one's own. */
static struct caps only(uint64_t keep)
{
	struct caps c = { .header = { _LINUX_CAPABILITY_VERSION_3, 0 } };

	for (int i = 0; i < _LINUX_CAPABILITY_U32S_3; i++)
		c.data[i].effective = c.data[i].permitted = c.data[i].inheritable =
			(uint32_t)(keep >> (32 * i));
	return c;
}

int caps_keep_own(uint64_t keep)
{
	struct caps c = only(keep);

	return (int)syscall(SYS_capset, &c.header, c.data);
}

int caps_keep(pid_t pid, uint64_t keep)
{
	const struct caps c = only(keep);
	unsigned long words[sizeof(c) / sizeof(unsigned long)], at;
	regs_t r;

	_Static_assert(sizeof(words) == sizeof(c), "whole words");
	memcpy(words, &c, sizeof(words));
	if (go_to(pid, PTRACE_SYSCALL_INFO_ENTRY, &r) < 0)
		return -1;
	at = (stack_of(&r) - SCRATCH) & ~15UL;
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (ptrace(PTRACE_POKEDATA, pid, (void *)(at + i * sizeof(words[0])), (void *)words[i]) < 0)
			return -1;
	return call_instead(pid, &r, SYS_capset, at, at + sizeof(c.header));
}
