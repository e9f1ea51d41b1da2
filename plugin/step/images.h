/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SCKPT_IMAGES_H
#define SCKPT_IMAGES_H

#include "sckpt/image.h"

/* A whole image of criu's; its bytes are *data, malloc'ed. Its entries follow. */
int criu_image_read(struct image_reader *reader, const char *name, char **data,
		    struct pb *entries, struct err *e);
/* The number in a field of a message; 0 when it is not there. */
uint64_t criu_number(struct pb message, uint32_t wanted);
/* The same of bytes, or a message; at NULL. */
struct pb criu_bytes(struct pb message, uint32_t wanted);

/*
 * ports.c: can the sockets of the images have their ports on this node? Waits while one
 * is only kept by a connection that has ended (TIME_WAIT). -1 otherwise: it is to be
 * another node.
 */
struct step;
int ports_free(struct image_reader *reader, const struct step *step, struct err *e);

#endif
