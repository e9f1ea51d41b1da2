/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What json-c has no word for. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "dir.h"
#include "json.h"

bool json_number(const json_object *o, const char *name, int64_t least,
		 int64_t most, int64_t *to)
{
	json_object *v;

	if (!json_object_object_get_ex(o, name, &v) ||
	    !json_object_is_type(v, json_type_int))
		return false;
	*to = json_object_get_int64(v);
	return *to >= least && *to <= most;
}

json_object *json_numbers(const int64_t *from, size_t count)
{
	json_object *list = json_object_new_array();

	for (size_t i = 0; i < count; i++)
		json_object_array_add(list, json_object_new_int64(from[i]));
	return list;
}

bool json_take_numbers(const json_object *o, const char *name, int64_t *to,
		       size_t count)
{
	json_object *list;

	if (!json_object_object_get_ex(o, name, &list) ||
	    !json_object_is_type(list, json_type_array) ||
	    json_object_array_length(list) != count)
		return false;
	for (size_t i = 0; i < count; i++)
		to[i] = json_object_get_int64(json_object_array_get_idx(list, i));
	return true;
}

json_object *json_hex(const uint8_t *bytes, size_t size)
{
	cleanup_free char *text = calloc(2 * size + 1, 1);

	for (size_t i = 0; text && i < size; i++)
		snprintf(text + 2 * i, 3, "%02x", bytes[i]);
	return text ? json_object_new_string(text) : NULL;
}

int json_unhex(const char *text, uint8_t *bytes, size_t size)
{
	static const char digits[] = "0123456789abcdef";

	if (strlen(text) != 2 * size)
		return -1;
	for (size_t i = 0; i < size; i++) {
		const char *high = strchr(digits, text[2 * i]);
		const char *low = strchr(digits, text[2 * i + 1]);

		if (!high || !low)
			return -1;
		bytes[i] = (uint8_t)((high - digits) << 4 | (low - digits));
	}
	return 0;
}

int json_keep(const struct spec *spec, const char *beside, const char *name,
	      json_object *o, struct err *e)
{
	struct store to;
	int rc = dir_beside(spec, beside, true, &to, e);

	if (rc == 0) {
		rc = dir_write(&to, name, json_object_to_json_string(o), false, e);
		if (rc == 0 && fsync(to.dir) < 0)
			rc = err_sys(e, "cannot write to %s", to.path);
		store_close(&to);
	}
	json_object_put(o);
	return rc < 0 ? -1 : 0;
}
