/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The node's system log, for what an admin has to hear of. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <syslog.h>

#include "broker.h"

/* A user who tries ten thousand times does not fill it: behind that the hundredth, the
 * thousandth and so on. */
#define MOST 50

static uint64_t *said; /* shared by all of the broker's processes */
static char who[64];

void say_open(uint32_t job, const char *step)
{
	snprintf(who, sizeof(who), "step %u.%s", job, step);
	said = mmap(NULL, sizeof(*said), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	/* At once: later it would be opened inside of the step. */
	openlog("sckpt-broker", LOG_PID | LOG_NDELAY, LOG_AUTHPRIV);
}

static bool is_round(uint64_t count)
{
	while (count % 10 == 0)
		count /= 10;
	return count == 1;
}

void say(const char *fmt, ...)
{
	char text[900];
	uint64_t count;
	va_list ap;

	if (said == MAP_FAILED)
		return;
	count = __atomic_add_fetch(said, 1, __ATOMIC_RELAXED);
	if (count > MOST && !is_round(count))
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	syslog(LOG_WARNING, "%s: %s%s", who, text_plain(text),
	       count < MOST ? "" : " (there is more of this than is logged)");
}
