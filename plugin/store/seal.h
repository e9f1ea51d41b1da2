/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SCKPT_SEAL_H
#define SCKPT_SEAL_H

#include "sckpt/store.h"

/*
 * A seal is a MUNGE credential whose payload is the SHA-256 of a text: munged,
 * with the cluster's key, vouches for the user id that asked for it.
 */
/* malloc'ed, the caller's; NULL on error. */
char *seal_make(const char *text, size_t size, struct err *e);
/* Was the text sealed, as it is, by uid? */
int seal_check(const char *seal, const char *text, size_t size, uid_t uid,
	       struct err *e);

#endif
