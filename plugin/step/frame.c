/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * RS TOKEN " " NODE " " STREAM " " AT " " DATA GS "." FILLING NEWLINE, where numbers are
 * hexadecimal, and a newline in the data is GS "n" and a GS is GS "g".
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "frame.h"

#define RS '\036'
#define GS '\035'
#define BEGIN 9 /* RS and the token */

static void begin(char out[BEGIN + 1], uint32_t token)
{
	snprintf(out, BEGIN + 1, "%c%08" PRIx32, RS, token);
}

size_t frame_make(char out[FRAME_SIZE], uint32_t token, int node, int stream,
		  int64_t at, const char *data, size_t size)
{
	size_t n, i;

	begin(out, token);
	n = BEGIN + (size_t)snprintf(out + BEGIN, FRAME_SIZE - BEGIN,
				     " %x %x %" PRIx64 " ", (unsigned)node,
				     (unsigned)stream, (uint64_t)at);
	/* Behind a byte of two there is still room for the end. */
	for (i = 0; i < size && n + 5 <= FRAME_SIZE; i++)
		if (data[i] == '\n' || data[i] == GS) {
			out[n++] = GS;
			out[n++] = data[i] == GS ? 'g' : 'n';
		} else {
			out[n++] = data[i];
		}
	out[n++] = GS;
	out[n++] = '.';
	memset(out + n, '.', FRAME_SIZE - 1 - n);
	out[FRAME_SIZE - 1] = '\n';
	return i;
}

bool frame_begins(const char *data, size_t size, uint32_t token)
{
	char want[BEGIN + 1];

	begin(want, token);
	return size && !memcmp(data, want, size < BEGIN ? size : BEGIN);
}

/* With the blank behind it; NULL: there is none. */
static const char *number(const char *at, const char *end, uint64_t *n)
{
	static const char digits[] = "0123456789abcdef";
	const char *from = at;

	for (*n = 0; at < end && *at != ' '; at++) {
		const char *digit = memchr(digits, *at, 16);

		if (!digit || at - from >= 15)
			return NULL;
		*n = *n * 16 + (uint64_t)(digit - digits);
	}
	return at > from && at < end ? at + 1 : NULL;
}

bool frame_take(const char in[FRAME_SIZE], uint32_t token, struct frame *f)
{
	const char *at = in + BEGIN + 1, *end = in + FRAME_SIZE - 1;
	uint64_t node, stream, first;

	if (!frame_begins(in, FRAME_SIZE, token) || in[BEGIN] != ' ' ||
	    *end != '\n' || !(at = number(at, end, &node)) ||
	    !(at = number(at, end, &stream)) || !(at = number(at, end, &first)) ||
	    node > INT32_MAX || stream > INT32_MAX)
		return false;
	*f = (struct frame){ .node = (int)node, .stream = (int)stream,
			     .at = (int64_t)first };
	for (; at < end; at++) {
		char byte = *at;

		if (byte == GS) {
			if (++at == end || (*at != 'n' && *at != 'g'))
				return at < end && *at == '.';
			byte = *at == 'n' ? '\n' : GS;
		}
		f->data[f->size++] = byte;
	}
	return false;
}
