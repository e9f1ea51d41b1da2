/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Files that have the job's number in their names: its batch script, which bash
 * keeps open in a directory of slurmd's, and its output. A program that another
 * job goes on with gets that job's instead, the script at the place where bash was
 * reading. Which they were is in criu's own images (criu's images/fdinfo.proto, regfile.proto).
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "images.h"
#include "step.h"

static bool is_text(struct pb bytes, const char *text)
{
	return bytes.at && (size_t)(bytes.end - bytes.at) == strlen(text) &&
	       !memcmp(bytes.at, text, strlen(text));
}

/* file_entry: id = 2, reg = 3; reg_file_entry: pos = 3, name = 6. By name, or,
 * when that is NULL, by id. */
static bool find_file(struct pb files, const char *name, uint64_t id,
		      struct pb *reg)
{
	struct pb entry;

	while (pb_message(&files, &entry) > 0) {
		*reg = criu_bytes(entry, 3);
		if (reg->at && (name ? is_text(criu_bytes(*reg, 6), name) :
				       criu_number(entry, 2) == id))
			return true;
	}
	return false;
}

/* fdinfo_entry: id = 1, fd = 4; 0: it is not open. */
static uint64_t file_id(struct pb fdinfo, unsigned fd)
{
	struct pb entry;

	while (pb_message(&fdinfo, &entry) > 0)
		if (criu_number(entry, 4) == fd)
			return criu_number(entry, 1);
	return 0;
}

/* ---- the batch script ------------------------------------------------------------ */

static int first_word(const char *text, char *to, size_t size)
{
	size_t n = strcspn(text, " ");

	if (n >= size)
		return -1;
	memcpy(to, text, n);
	to[n] = '\0';
	return 0;
}

bool exchange_same(const char *command, const char *other)
{
	static const char name[] = "/slurm_script";
	size_t a = strcspn(command, " "), b = strcspn(other, " ");

	return a > sizeof(name) && b > sizeof(name) &&
	       !strncmp(command + a - (sizeof(name) - 1), name, sizeof(name) - 1) &&
	       !strncmp(other + b - (sizeof(name) - 1), name, sizeof(name) - 1) &&
	       !strcmp(command + a, other + b);
}

static int add_script(struct exchanges *x, struct pb files, const char *now,
		      struct err *e)
{
	struct exchange *at = &x->list[x->count];
	struct pb reg;

	if (!find_file(files, at->was, 0, &reg))
		return 0; /* nobody reads it any more */
	if ((at->fd = open(now, O_RDONLY | O_CLOEXEC)) < 0)
		return err_sys(e, "cannot open the job's script %s", now);
	x->count++;
	return lseek(at->fd, (off_t)criu_number(reg, 3), SEEK_SET) < 0 ?
		       err_sys(e, "cannot read the job's script %s", now) :
		       0;
}

/* ---- output ------------------------------------------------------------------------ */

static int add_stream(struct exchanges *x, struct pb files, uint64_t id, int fd,
		      struct err *e)
{
	struct exchange *at = &x->list[x->count];
	struct pb reg, name;
	size_t n;

	if (!id || fd < 0 || !find_file(files, NULL, id, &reg))
		return 0;
	name = criu_bytes(reg, 6);
	n = (size_t)(name.end - name.at);
	if (!name.at || *name.at != '/' || n >= sizeof(at->was))
		return 0;
	memcpy(at->was, name.at, n);
	at->was[n] = '\0';
	for (int i = 0; i < x->count; i++)
		if (!strcmp(x->list[i].was, at->was))
			return 0;
	if ((at->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0)) < 0)
		return err_sys(e, "cannot hand over the output");
	x->count++;
	return 0;
}

/* What the script's own process has as standard output and error. */
static int add_streams(struct exchanges *x, struct image_reader *reader,
		       struct pb files, const struct stdio *io, struct err *e)
{
	cleanup_free char *ids = NULL, *fds = NULL;
	struct pb entries, entry;
	char name[64];

	snprintf(name, sizeof(name), "ids-%d.img", PROGRAM_PID);
	/* It has ended, and left others: they keep what they have. */
	if (criu_image_read(reader, name, &ids, &entries, NULL) < 0 ||
	    pb_message(&entries, &entry) <= 0)
		return 0;
	/* task_kobj_ids_entry: files_id = 2 */
	snprintf(name, sizeof(name), "fdinfo-%u.img",
		 (unsigned)criu_number(entry, 2));
	if (criu_image_read(reader, name, &fds, &entries, NULL) < 0)
		return 0;
	for (unsigned i = 1; i < TASK_STREAMS; i++)
		if (io->s[i].kind == STREAM_FILE &&
		    add_stream(x, files, file_id(entries, i), io->s[i].program,
			       e) < 0)
			return -1;
	return 0;
}

int exchange_find(struct exchanges *x, struct image_reader *reader,
		  const struct manifest *m, const struct step *step,
		  struct err *e)
{
	cleanup_free char *data = NULL;
	struct pb files;
	char now[256];

	x->count = 0;
	if (strcmp(step->spec.step, "batch") ||
	    first_word(m->command, x->list[0].was, sizeof(x->list[0].was)) < 0 ||
	    first_word(step->command, now, sizeof(now)) < 0 ||
	    !strcmp(x->list[0].was, now))
		return 0;
	if (criu_image_read(reader, "files.img", &data, &files, e) < 0)
		return -1;
	return add_script(x, files, now, e) < 0 ?
		       -1 :
		       add_streams(x, reader, files, step->io, e);
}

void exchange_close(struct exchanges *x)
{
	for (int i = 0; i < x->count; i++)
		close(x->list[i].fd);
	x->count = 0;
}
