/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is in carried directories, as text (doc/store-format.md): a line for each
 * entry, KIND MODE GID MTIME SIZE PATH [TO], and below a file a line "x AT SIZE" for
 * each of its extents.
 */
#include <stdio.h>
#include <string.h>

#include "carry.h"

int carry_put(FILE *to, const struct carry_entry *entry)
{
	cleanup_free char *path = text_escape(entry->path);
	cleanup_free char *target = text_escape(entry->to ? entry->to : "");

	if (!path || !target)
		return -1;
	fprintf(to, "%c %o %u %jd %jd %s%s%s\n", (int)entry->kind, entry->mode,
		entry->gid, (intmax_t)entry->mtime_ns, (intmax_t)entry->size, path,
		entry->to ? " " : "", target);
	for (size_t i = 0; i < entry->extent_count; i++)
		fprintf(to, "x %jd %jd\n", (intmax_t)entry->extents[i].at,
			(intmax_t)entry->extents[i].size);
	return ferror(to) ? -1 : 0;
}

/* Down from a directory, and nowhere else. */
static bool leads_down(const char *path)
{
	for (const char *at = path; at; at = strchr(at, '/')) {
		size_t n;

		at += at != path;
		n = strcspn(at, "/");
		if (n == 0 || n > 255 || (n == 1 && at[0] == '.') ||
		    (n == 2 && at[0] == '.' && at[1] == '.'))
			return false;
	}
	return true;
}

static bool makes_sense(const struct carry_list *l, const struct carry_entry *new)
{
	bool has_target = new->kind == CARRY_NAME || new->kind == CARRY_LINK;

	if (!strchr("aDdfohlp", (int)new->kind) || has_target != !!new->to ||
	    new->size < 0 || new->mode > 07777)
		return false;
	if (new->kind == CARRY_ROOT || new->kind == CARRY_ABOVE)
		return new->path[0] == '/' && leads_down(new->path + 1);
	return l->count > 0 && leads_down(new->path) &&
	       (new->kind != CARRY_NAME || leads_down(new->to));
}

static int take_entry(char *line, struct carry_list *list)
{
	struct carry_entry new = { .kind = 0 }, *more;
	intmax_t mtime, size;
	char kind, *path, *to;
	int at = 0;

	if (sscanf(line, "%c %o %u %jd %jd %n", &kind, &new.mode, &new.gid, &mtime,
		   &size, &at) != 5 || !at)
		return -1;
	path = line + at;
	to = strchr(path, ' ');
	if (to)
		*to++ = '\0';
	new.kind = (enum carry_kind)kind;
	new.mtime_ns = mtime;
	new.size = size;
	new.path = text_unescape(path);
	new.to = to ? text_unescape(to) : NULL;
	if (!new.path || (to && !new.to) || !makes_sense(list, &new) ||
	    list->count >= CARRY_MOST ||
	    !(more = realloc(list->list, (list->count + 1) * sizeof(*more)))) {
		free(new.path);
		free(new.to);
		return -1;
	}
	list->list = more;
	more[list->count++] = new;
	return 0;
}

static int take_extent(const char *line, struct carry_list *list)
{
	struct carry_entry *of = list->count ? &list->list[list->count - 1] : NULL;
	struct carry_extent *more;
	intmax_t at, size, end = 0;

	if (!of || of->kind != CARRY_FILE ||
	    sscanf(line, "x %jd %jd", &at, &size) != 2)
		return -1;
	if (of->extent_count)
		end = of->extents[of->extent_count - 1].at +
		      of->extents[of->extent_count - 1].size;
	if (at < end || at % IMAGE_PAGE || size <= 0 || at > of->size ||
	    size > of->size - at ||
	    !(more = realloc(of->extents, (of->extent_count + 1) * sizeof(*more))))
		return -1;
	of->extents = more;
	more[of->extent_count++] = (struct carry_extent){ at, size };
	return 0;
}

int carry_take(char *text, struct carry_list *list, struct err *e)
{
	char *line;

	*list = (struct carry_list){ .list = NULL };
	while ((line = strsep(&text, "\n")))
		if (*line && (*line == 'x' ? take_extent(line, list) :
					     take_entry(line, list)) < 0)
			return err_set(e, "the list of carried directories makes no sense at '%.64s'",
				       line);
	return 0;
}

void carry_free(struct carry_list *list)
{
	for (size_t i = 0; i < list->count; i++) {
		free(list->list[i].path);
		free(list->list[i].to);
		free(list->list[i].extents);
	}
	free(list->list);
	*list = (struct carry_list){ .list = NULL };
}
