/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <munge.h>

#include "sckpt/store.h"

#ifdef SEAL_SOCKET
/* The units have a munged of their own. For all else the library's built-in
 * socket counts: no setting and no environment names another. */
extern char SEAL_SOCKET[];
#endif

static munge_ctx_t context(void)
{
	munge_ctx_t ctx = munge_ctx_create();

#ifdef SEAL_SOCKET
	if (ctx)
		munge_ctx_set(ctx, MUNGE_OPT_SOCKET, SEAL_SOCKET);
#endif
	return ctx;
}

char *seal_make(const char *text, size_t size, struct err *e)
{
	uint8_t digest[IMAGE_SHA256];
	munge_ctx_t ctx = context();
	char *seal = NULL;
	munge_err_t rc;

	if (!ctx) {
		err_set(e, "no memory for a seal");
		return NULL;
	}
	image_sha256(text, size, digest);
	/* Nobody is to log in with it: the shorter it lives in munged's list of
	 * credentials seen, the better. */
	munge_ctx_set(ctx, MUNGE_OPT_TTL, 1);
	rc = munge_encode(&seal, ctx, digest, sizeof(digest));
	if (rc != EMUNGE_SUCCESS) {
		err_set(e, "munged does not seal the checkpoint: %s; is munge running on this node?",
			munge_ctx_strerror(ctx) ? munge_ctx_strerror(ctx) :
						  munge_strerror(rc));
		free(seal);
		seal = NULL;
	}
	munge_ctx_destroy(ctx);
	return seal;
}

/* These say when it was made and whether it was seen before; who made it and
 * what it says has been proven all the same (munge_decode(3)). */
static bool authentic(munge_err_t rc)
{
	return rc == EMUNGE_SUCCESS || rc == EMUNGE_CRED_EXPIRED ||
	       rc == EMUNGE_CRED_REPLAYED || rc == EMUNGE_CRED_REWOUND;
}

/*
 * Base64 has bits in its last letter that mean nothing, and munged does not
 * look at them, nor at what comes behind the credential's last colon. They are
 * zero in what was sealed, and nothing is there: anything else is damage.
 */
static bool canonical(const char *seal)
{
	const char *pad = strchr(seal, '=');
	const char *colon = strrchr(seal, ':');

	return colon && !colon[1] &&
	       (!pad || pad == seal ||
		strchr(pad[1] == '=' ? "AQgw" : "AEIMQUYcgkosw048", pad[-1]));
}

int seal_check(const char *seal, const char *text, size_t size, uid_t uid,
	       struct err *e)
{
	uint8_t digest[IMAGE_SHA256];
	void *payload = NULL;
	uid_t by = (uid_t)-1;
	gid_t gid;
	int length = 0, rc = -1;
	munge_ctx_t ctx = context();
	munge_err_t m;

	if (!ctx)
		return err_set(e, "no memory to check a seal");
	m = munge_decode(seal, ctx, &payload, &length, &by, &gid);
	munge_ctx_destroy(ctx);
	image_sha256(text, size, digest);
	if (m == EMUNGE_SOCKET || m == EMUNGE_TIMEOUT)
		err_set(e, "munged cannot check the seal: %s; is munge running on this node?",
			munge_strerror(m));
	else if (!authentic(m))
		err_set(e, "its seal is not this cluster's: %s",
			munge_strerror(m));
	else if (!canonical(seal))
		err_set(e, "its seal is damaged");
	else if (length != sizeof(digest) ||
		 memcmp(payload, digest, sizeof(digest)))
		err_set(e, "its manifest was changed after it was sealed");
	else if (by != uid)
		err_set(e, "it was sealed by user id %u, and is to be of %u", by,
			uid);
	else
		rc = 0;
	free(payload);
	return rc;
}

int store_seal_works(struct err *e)
{
	static const char text[] = "sckpt";
	cleanup_free char *seal = seal_make(text, sizeof(text), e);

	return seal ? seal_check(seal, text, sizeof(text), geteuid(), e) : -1;
}
