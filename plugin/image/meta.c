/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The meta file of a set. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <zstd.h>

#include "digest.h"
#include "meta.h"

#define LEVEL 1

int meta_write(int dir, struct image_set *set, const void *data, size_t size,
	       struct err *e)
{
	size_t room = ZSTD_compressBound(size), n;
	cleanup_free void *out = NULL;
	cleanup_fd int fd = -1;

	if (room > META_MAX)
		return err_set(e, "%s would be larger than it may be", set->meta);
	if (!(out = malloc(room)))
		return err_set(e, "no memory for %s", set->meta);
	n = ZSTD_compress(out, room, data, size, LEVEL);
	if (ZSTD_isError(n))
		return err_set(e, "cannot compress %s: %s", set->meta,
			       ZSTD_getErrorName(n));
	fd = openat(dir, set->meta, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC,
		    0600);
	if (fd < 0)
		return err_sys(e, "cannot make %s", set->meta);
	if (file_write(fd, out, n, e) < 0)
		return err_context(e, "%s", set->meta);
	if (fsync(fd) < 0)
		return err_sys(e, "cannot write %s", set->meta);
	image_sha256(out, n, set->meta_sha256);
	set->meta_size = n;
	set->meta_length = size;
	return 0;
}

static int check_items(const struct image_set *set, const uint8_t *data,
		       struct err *e)
{
	for (size_t i = 0; i < set->item_count; i++) {
		const struct image_item *item = &set->items[i];
		uint8_t sha[IMAGE_SHA256];

		if (item->offset > set->meta_length ||
		    item->length > set->meta_length - item->offset ||
		    (item->bulk ? item->length % sizeof(struct meta_run) ||
					  item->offset % 4 :
				  item->length != item->size))
			return err_set(e, "%s: image %s is out of its bounds",
				       set->meta, item->name);
		image_sha256(data + item->offset, (size_t)item->length, sha);
		if (memcmp(sha, item->sha256, sizeof(sha)))
			return err_set(e, "%s: image %s is damaged: its digest is another one",
				       set->meta, item->name);
	}
	return 0;
}

int meta_read(int dir, const struct image_set *set, uint8_t **data,
	      struct err *e)
{
	cleanup_free uint8_t *unpacked = NULL;
	cleanup_free char *packed = NULL;
	uint8_t sha[IMAGE_SHA256];
	ssize_t size;
	size_t n;

	if (set->meta_length > META_MAX || set->meta_size > META_MAX)
		return err_set(e, "%s is larger than it may be", set->meta);
	size = file_read(dir, set->meta, (size_t)set->meta_size, &packed, e);
	if (size < 0)
		return -1;
	if ((uint64_t)size != set->meta_size)
		return err_set(e, "%s has %zd bytes, and %ju were written",
			       set->meta, size, (uintmax_t)set->meta_size);
	image_sha256(packed, (size_t)size, sha);
	if (memcmp(sha, set->meta_sha256, sizeof(sha)))
		return err_set(e, "%s is damaged: its digest is another one",
			       set->meta);
	if (!(unpacked = malloc((size_t)set->meta_length + 1)))
		return err_set(e, "no memory for %s", set->meta);
	n = ZSTD_decompress(unpacked, (size_t)set->meta_length, packed,
			    (size_t)size);
	if (ZSTD_isError(n) || n != set->meta_length)
		return err_set(e, "%s is damaged: %s", set->meta,
			       ZSTD_isError(n) ? ZSTD_getErrorName(n) :
						 "it is too short");
	if (check_items(set, unpacked, e) < 0)
		return -1;
	*data = unpacked;
	unpacked = NULL;
	return 0;
}
