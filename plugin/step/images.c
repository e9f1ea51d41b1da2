/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reading criu's own images, where what is in them is needed before a restore. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "images.h"

#define IMG_COMMON_MAGIC 0x54564319U /* criu/include/magic.h */
#define IMAGE_MOST (256 << 20)

int criu_image_read(struct image_reader *reader, const char *name, char **data,
		    struct pb *entries, struct err *e)
{
	cleanup_fd int fd = memfd_create(name, MFD_CLOEXEC);
	uint32_t magic = 0;
	char path[64];
	ssize_t size;

	if (fd < 0)
		return err_sys(e, "cannot read %s", name);
	if (image_reader_copy(reader, name, fd, e) < 0)
		return -1;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if ((size = file_read(AT_FDCWD, path, IMAGE_MOST, data, e)) < 0)
		return -1;
	if (size >= 8)
		memcpy(&magic, *data, 4);
	*entries = pb_of(*data, (size_t)size);
	entries->at += size < 8 ? size : magic == IMG_COMMON_MAGIC ? 8 : 4;
	return 0;
}

uint64_t criu_number(struct pb message, uint32_t wanted)
{
	struct pb_field f;

	return pb_find(message, wanted, &f) && !f.data ? f.value : 0;
}

struct pb criu_bytes(struct pb message, uint32_t wanted)
{
	struct pb_field f;

	if (pb_find(message, wanted, &f) && f.data)
		return pb_of(f.data, (size_t)f.value);
	return (struct pb){ NULL, NULL };
}
