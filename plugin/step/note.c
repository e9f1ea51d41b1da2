/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the agent has to tell people. */
#include <stdarg.h>
#include <stdio.h>

#include "step.h"

void step_tell(const struct step *step, enum control_kind kind, const char *fmt, ...)
{
	struct control msg = { .kind = kind };
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(msg.text, sizeof(msg.text), fmt, ap);
	va_end(ap);
	control_send(step->spec.control, &msg, NULL);
}
