/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Letting go of the step's capability. */
#include <sys/capability.h>

#include "step.h"

int drop_capability(void)
{
	cap_t none = cap_init();
	int rc = none && cap_set_proc(none) == 0 ? 0 : -1;

	/* Ambient goes with inheritable (capabilities(7)). */
	cap_free(none);
	return rc;
}
