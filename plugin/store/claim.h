/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SCKPT_CLAIM_H
#define SCKPT_CLAIM_H

#include "sckpt/store.h"

struct claim {
	int run, base;
	char node[256];
};

struct claims {
	struct claim *list;
	size_t count;
	struct err *e;
};

int claims_read(const struct store *store, struct claims *c, struct err *e);
void claims_free(struct claims *c);
/* Does a generation count, or was its run superseded when it was published? */
bool claims_allow(const struct claims *c, struct generation g);

#endif
