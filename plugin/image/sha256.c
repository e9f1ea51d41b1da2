/* SPDX-License-Identifier: GPL-2.0-or-later */
/* SHA-256, by libgcrypt. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include <gcrypt.h>

#include "digest.h"

int digest_begin(struct err *e)
{
	if (gcry_control(GCRYCTL_INITIALIZATION_FINISHED_P))
		return 0;
	if (!gcry_check_version("1.8.0"))
		return err_set(e, "libgcrypt is older than 1.8.0");
	gcry_control(GCRYCTL_DISABLE_SECMEM, 0);
	gcry_control(GCRYCTL_INITIALIZATION_FINISHED, 0);
	return 0;
}

struct sha256 {
	gcry_md_hd_t md;
};

struct sha256 *sha256_open(struct err *e)
{
	struct sha256 *s;

	if (digest_begin(e) < 0)
		return NULL;
	s = malloc(sizeof(*s));
	if (!s || gcry_md_open(&s->md, GCRY_MD_SHA256, 0)) {
		free(s);
		err_set(e, "no memory for a digest");
		return NULL;
	}
	return s;
}

void sha256_add(struct sha256 *s, const void *data, size_t size)
{
	gcry_md_write(s->md, data, size);
}

void sha256_end(struct sha256 *s, uint8_t out[IMAGE_SHA256])
{
	memcpy(out, gcry_md_read(s->md, GCRY_MD_SHA256), IMAGE_SHA256);
	gcry_md_close(s->md);
	free(s);
}

void image_sha256(const void *data, size_t size, uint8_t out[IMAGE_SHA256])
{
	digest_begin(NULL);
	gcry_md_hash_buffer(GCRY_MD_SHA256, out, data, size);
}

int image_sha256_file(int fd, int64_t at, int64_t size,
		      uint8_t out[IMAGE_SHA256], struct err *e)
{
	const size_t room = 1 << 16;
	cleanup_free uint8_t *buf = malloc(room);
	struct sha256 *s = sha256_open(e);
	int rc = buf && s ? 0 : err_set(e, "no memory for a digest");

	while (rc == 0 && size > 0) {
		ssize_t n = pread(fd, buf,
				  size < (int64_t)room ? (size_t)size : room, at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			rc = n ? err_sys(e, "cannot read") :
				 err_set(e, "it is shorter than it was");
			break;
		}
		sha256_add(s, buf, (size_t)n);
		at += n;
		size -= n;
	}
	if (s)
		sha256_end(s, out);
	return rc;
}
