/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * For test/static only, before every source but plugin/base/error.c: what an analyzer
 * that sees one file at a time cannot know. The err_ functions return -1 (include/sckpt/base.h);
 * without it `if (!p) return err_set(e, …)` seems to go on with a NULL p in the caller.
 */
#include <dirent.h>

#include "sckpt/base.h"

#define err_set(...) ({ (err_set)(__VA_ARGS__); -1; })
#define err_sys(...) ({ (err_sys)(__VA_ARGS__); -1; })
#define err_context(...) ({ (err_context)(__VA_ARGS__); -1; })

/* Of a DIR that is open it cannot fail. */
#define dirfd(dir) ({ int dirfd_ = (dirfd)(dir); if (dirfd_ < 0) __builtin_unreachable(); dirfd_; })
