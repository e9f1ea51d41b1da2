/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What becomes of a file when the program goes back to a checkpoint: facts in,
 * action out. In doubt nothing is taken out of it. */
#include "files.h"

static enum rewind_action say(enum rewind_action action, const char **why,
			      const char *text)
{
	*why = text;
	return action;
}

static enum rewind_action decide_in_place(const struct manifest_file *f,
					  const struct file_now *now,
					  const char **why)
{
	bool same_size = now->there && now->size == f->size;

	if (same_size && (f->size == 0 || (now->mtime_ns == f->mtime_ns &&
					   !(f->times_lie && *f->copy))))
		return REWIND_KEEP;
	if (*f->copy && !(now->there && now->others))
		return REWIND_BRING;
	if (!now->there)
		return say(REWIND_REFUSE, why, "is gone; files=copy would have kept it");
	if (!same_size)
		return say(REWIND_REFUSE, why,
			   now->others ?
				   "has another size, and others write to it, too" :
				   "has another size, and is written in place; files=copy would have kept its content");
	return say(REWIND_LEAVE, why,
		   now->others ?
			   "was written since the checkpoint, and others write to it, too: it is left as it is" :
			   "was written since the checkpoint: the program finds it as it is now (files=copy would have kept its content)");
}

/* What has the name here may be anybody's, but it is the user's (local_check). */
static enum rewind_action decide_local(const struct manifest_file *f,
				       const struct file_now *now,
				       const char **why)
{
	/* Its inode number stays, too, which some programs know it by (SQLite). */
	if (now->there && now->size == f->size &&
	    now->mtime_ns == f->mtime_ns &&
	    (!f->times_lie || (now->same_inode && now->known && now->same)))
		return REWIND_KEEP;
	if (*f->copy)
		return REWIND_REPLACE;
	return say(REWIND_REFUSE, why,
		   now->there ?
			   "was only on the node of the checkpoint, and here is another one" :
			   "was only on the node of the checkpoint");
}

/* Longer than it was, and it begins with what it held. */
static enum rewind_action decide_appended(const struct manifest_file *f,
					  const struct file_now *now,
					  const char **why)
{
	const bool alone = !now->others && !f->shared;

	/* Criu opens nothing of another size, but in append mode. */
	if (!f->append_mode && !(now->ours && alone))
		return say(REWIND_REFUSE, why,
			   "is longer than it was, and not by this program alone");
	if (!now->ours)
		return REWIND_LEAVE; /* the program wrote nothing of it */
	if (!alone)
		return say(REWIND_LEAVE, why,
			   "was appended to since the checkpoint, and not by this program alone: nothing is cut off, so it may hold some of the program's lines twice");
	if (!now->same_inode)
		return say(REWIND_REFUSE, why, "was replaced by another file");
	if (!now->known)
		return say(REWIND_LEAVE, why,
			   "was appended to since the checkpoint, and cannot be read: nothing is cut off, so it may hold some of the program's lines twice");
	return REWIND_CUT;
}

enum rewind_action rewind_decide(const struct manifest_file *f,
				 const struct file_now *now, const char **why)
{
	*why = NULL;
	if (f->local)
		return decide_local(f, now, why);
	if (!f->appended)
		return decide_in_place(f, now, why);
	if (!now->there)
		return say(REWIND_REFUSE, why, "is gone");
	if (now->size < f->size)
		return say(REWIND_REFUSE, why, "is shorter than it was");
	/* At its end it stood only by chance: it is written in place, as it
	 * turns out, and is as long as it must be. */
	if (now->known && !now->same && !f->append_mode && now->size == f->size)
		return say(REWIND_LEAVE, why,
			   "was written since the checkpoint: the program finds it as it is now");
	if (now->known && !now->same)
		return say(REWIND_REFUSE, why, "does not hold any more what it held");
	if (now->size == f->size)
		return REWIND_KEEP;
	return decide_appended(f, now, why);
}
