/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SCKPT_JSON_H
#define SCKPT_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <json-c/json.h>

#include "sckpt/store.h"

/* A member that must be there, an integer of [least, most]. */
bool json_number(const json_object *o, const char *name, int64_t least,
		 int64_t most, int64_t *to);

/* A new list of them; and back, from one of exactly so many. */
json_object *json_numbers(const int64_t *from, size_t count);
bool json_take_numbers(const json_object *o, const char *name, int64_t *to,
		       size_t count);

/* A new string of hexadecimal digits; NULL without memory. */
json_object *json_hex(const uint8_t *bytes, size_t size);
/* Back from exactly as many digits; -1 when it is something else. */
int json_unhex(const char *text, uint8_t *bytes, size_t size);

/* Writes o durably as file `name` of the directory `beside` the jobs' (dir.h), and
 * frees it. */
int json_keep(const struct spec *spec, const char *beside, const char *name,
	      json_object *o, struct err *e);

#endif
