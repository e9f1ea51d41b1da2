/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A generation's manifest as JSON: doc/store-format.md is its description. */
#include <stdio.h>
#include <string.h>

#include "json.h"

#include "sckpt/store.h"

void manifest_free(struct manifest *m)
{
	for (size_t i = 0; i < m->process_count; i++) {
		free(m->processes[i].command);
		free(m->processes[i].files);
	}
	free(m->streams);
	for (size_t i = 0; i < m->pmi_count; i++) {
		for (size_t k = 0; k < m->pmi[i].count; k++)
			free(m->pmi[i].said[k].text);
		free(m->pmi[i].said);
	}
	free(m->pmi);
	free(m->processes);
	for (size_t i = 0; i < m->file_count; i++)
		free(m->files[i].path);
	free(m->files);
	for (size_t i = 0; i < m->need_count; i++)
		free(m->needs[i].path);
	free(m->needs);
	for (size_t i = 0; i < m->mount_count; i++) {
		free(m->mounts[i].point);
		free(m->mounts[i].path);
	}
	free(m->mounts);
	image_set_free(&m->set);
	*m = (struct manifest){ .job = 0 };
}

int manifest_add_streams(struct manifest *m, size_t tasks, struct err *e)
{
	m->stream_count = tasks * TASK_STREAMS;
	if (!(m->streams = calloc(m->stream_count, sizeof(*m->streams)))) {
		m->stream_count = 0;
		return err_set(e, "no memory for the manifest");
	}
	for (size_t i = 0; i < m->stream_count; i++)
		m->streams[i].output = -1;
	return 0;
}

/* ---- tables for both directions ------------------------------------------ */

/* FLAG, MAYBE: what sckpt wrote before it knew of it has not got it, and means false, 0. */
enum type { TEXT, INT, MAYBE, UINT32, INT64, UINT64, BOOL, FLAG, DIGEST, SEED };

struct field {
	const char *name;
	enum type type;
	size_t offset, size;
};

#define FIELD(of, kind, name, member) \
	{ name, kind, offsetof(struct of, member), \
	  sizeof(((struct of *)0)->member) }
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static const struct field manifest_fields[] = {
	FIELD(manifest, TEXT, "cluster", cluster),
	FIELD(manifest, UINT32, "job", job),
	FIELD(manifest, TEXT, "step", step),
	FIELD(manifest, INT, "generation", generation),
	FIELD(manifest, INT, "run", run),
	FIELD(manifest, MAYBE, "nodes", nodes),
	FIELD(manifest, MAYBE, "part", part),
	FIELD(manifest, MAYBE, "place", place),
	FIELD(manifest, INT, "parent", parent),
	FIELD(manifest, UINT32, "uid", uid),
	FIELD(manifest, TEXT, "reason", reason),
	FIELD(manifest, TEXT, "command", command),
	FIELD(manifest, TEXT, "node", node),
	FIELD(manifest, TEXT, "kernel", kernel),
	FIELD(manifest, INT, "criu_version", criu_version),
	FIELD(manifest, INT64, "time", time),
	FIELD(manifest, INT64, "monotonic_ns", monotonic),
	FIELD(manifest, INT64, "boottime_ns", boottime),
	FIELD(manifest, INT, "root_pid", root),
	FIELD(manifest, INT, "srun_calls", calls),
	FIELD(manifest, INT64, "resident_bytes", resident),
	FIELD(manifest, INT64, "frozen_us", frozen_us),
	FIELD(manifest, INT64, "dump_us", dump_us),
	FIELD(manifest, UINT64, "image_bytes", set.bytes),
	FIELD(manifest, UINT64, "stored_bytes", set.stored),
	FIELD(manifest, SEED, "seed", set.seed),
	FIELD(manifest, TEXT, "meta", set.meta),
	FIELD(manifest, UINT64, "meta_size", set.meta_size),
	FIELD(manifest, UINT64, "meta_length", set.meta_length),
	FIELD(manifest, DIGEST, "meta_sha256", set.meta_sha256),
	FIELD(manifest, BOOL, "ended", ended),
	FIELD(manifest, UINT32, "origin", origin),
};

static const struct field stream_fields[] = {
	FIELD(manifest_stream, TEXT, "key", key),
	FIELD(manifest_stream, INT64, "position", position),
	FIELD(manifest_stream, INT, "output", output),
	FIELD(manifest_stream, INT64, "length", length),
};

static const struct field item_fields[] = {
	FIELD(image_item, TEXT, "name", name),
	FIELD(image_item, UINT64, "size", size),
	FIELD(image_item, BOOL, "bulk", bulk),
	FIELD(image_item, UINT64, "offset", offset),
	FIELD(image_item, UINT64, "length", length),
	FIELD(image_item, DIGEST, "sha256", sha256),
};

static const struct field pack_fields[] = {
	FIELD(image_pack, TEXT, "name", name),
	FIELD(image_pack, UINT64, "size", size),
	FIELD(image_pack, UINT64, "data", data),
	FIELD(image_pack, UINT32, "blocks", blocks),
	FIELD(image_pack, UINT32, "pages", pages),
	FIELD(image_pack, DIGEST, "sha256", sha256),
};

static const struct field pmi_fields[] = {
	FIELD(manifest_pmi, INT, "task", task),
	FIELD(manifest_pmi, TEXT, "key", key),
	FIELD(manifest_pmi, BOOL, "waits", waits),
};

static const struct field process_fields[] = {
	FIELD(manifest_process, INT, "pid", pid),
	FIELD(manifest_process, INT, "parent", parent),
	FIELD(manifest_process, INT64, "resident_bytes", resident),
	FIELD(manifest_process, TEXT, "name", name),
};

static const struct field file_fields[] = {
	FIELD(manifest_file, UINT64, "inode", inode),
	FIELD(manifest_file, INT64, "size", size),
	FIELD(manifest_file, INT64, "mtime_ns", mtime_ns),
	FIELD(manifest_file, INT, "mode", mode),
	FIELD(manifest_file, BOOL, "local", local),
	FIELD(manifest_file, INT, "stream", stream),
	FIELD(manifest_file, BOOL, "appended", appended),
	FIELD(manifest_file, BOOL, "append_mode", append_mode),
	FIELD(manifest_file, BOOL, "shared", shared),
	FIELD(manifest_file, MAYBE, "name_of", name_of),
	FIELD(manifest_file, FLAG, "times_lie", times_lie),
	FIELD(manifest_file, INT64, "digested", digested),
	FIELD(manifest_file, DIGEST, "sha256", sha256),
	FIELD(manifest_file, TEXT, "copy", copy),
};

static const struct field need_fields[] = {
	FIELD(manifest_need, TEXT, "build_id", build_id),
};

static const struct field cpu_fields[] = {
	FIELD(manifest, TEXT, "cpu", cpu),
};

static const struct field host_fields[] = {
	FIELD(manifest, INT64, "memory_bytes", memory),
	FIELD(manifest, INT, "threads", threads),
	FIELD(manifest, INT, "highest_pid", highest_pid),
	FIELD(manifest, TEXT, "groups", groups),
};

static const struct field mount_fields[] = {
	FIELD(manifest_mount, TEXT, "type", type),
	FIELD(manifest_mount, TEXT, "source", source),
};

/* ---- writing ---------------------------------------------------------------- */

static json_object *value(const struct field *f, const void *at)
{
	switch (f->type) {
	case TEXT:
		return json_object_new_string(at);
	case INT:
	case MAYBE:
		return json_object_new_int(*(const int *)at);
	case UINT32:
		return json_object_new_int64(*(const uint32_t *)at);
	case INT64:
		return json_object_new_int64(*(const int64_t *)at);
	case UINT64:
		return json_object_new_int64((int64_t)*(const uint64_t *)at);
	case BOOL:
	case FLAG:
		return json_object_new_boolean(*(const bool *)at);
	case DIGEST:
		return json_hex(at, IMAGE_SHA256);
	case SEED:
		return json_hex(at, IMAGE_SEED);
	}
	return NULL;
}

static void put(json_object *o, const struct field *fields, size_t count,
		const void *from)
{
	for (size_t i = 0; i < count; i++)
		json_object_object_add(o, fields[i].name,
				       value(&fields[i], (const char *)from +
								 fields[i].offset));
}

static json_object *put_list(const struct field *fields, size_t count,
			     const void *from, size_t size, size_t n)
{
	json_object *list = json_object_new_array();

	for (size_t i = 0; i < n; i++) {
		json_object *o = json_object_new_object();

		put(o, fields, count, (const char *)from + i * size);
		json_object_array_add(list, o);
	}
	return list;
}

/* Paths and arguments are bytes; JSON wants UTF-8. */
static json_object *any_text(const char *text)
{
	char *copy = strdup(text ? text : "");
	json_object *o = NULL;

	if (copy) {
		for (char *at = copy; *at; at++)
			if ((unsigned char)*at < ' ' || (unsigned char)*at > '~')
				*at = *at == '\n' ? '\n' : '?';
		o = json_object_new_string(copy);
	}
	free(copy);
	return o;
}

static json_object *put_pmi(const struct manifest *m)
{
	json_object *list = json_object_new_array();

	for (size_t i = 0; i < m->pmi_count; i++) {
		const struct manifest_pmi *p = &m->pmi[i];
		json_object *o = json_object_new_object();
		json_object *said = json_object_new_array();

		put(o, pmi_fields, COUNT(pmi_fields), p);
		for (size_t k = 0; k < p->count; k++)
			json_object_array_add(said, json_hex((const uint8_t *)p->said[k].text,
							     p->said[k].size));
		json_object_object_add(o, "said", said);
		json_object_array_add(list, o);
	}
	return list;
}

static json_object *put_processes(const struct manifest *m)
{
	json_object *list = json_object_new_array();

	for (size_t i = 0; i < m->process_count; i++) {
		const struct manifest_process *p = &m->processes[i];
		json_object *o = json_object_new_object();

		put(o, process_fields, COUNT(process_fields), p);
		json_object_object_add(o, "command", any_text(p->command));
		json_object_object_add(o, "files", any_text(p->files));
		json_object_array_add(list, o);
	}
	return list;
}

static json_object *put_path(const char *path)
{
	cleanup_free char *text = text_escape(path);

	return text ? json_object_new_string(text) : NULL;
}

static json_object *put_files(const struct manifest *m)
{
	json_object *list = json_object_new_array();

	for (size_t i = 0; i < m->file_count; i++) {
		json_object *o = json_object_new_object();

		json_object_object_add(o, "path", put_path(m->files[i].path));
		put(o, file_fields, COUNT(file_fields), &m->files[i]);
		json_object_array_add(list, o);
	}
	return list;
}

static json_object *put_needs(const struct manifest *m)
{
	json_object *o = json_object_new_object(), *list = json_object_new_array();
	json_object *mounts = json_object_new_array();

	put(o, cpu_fields, COUNT(cpu_fields), m);
	put(o, host_fields, COUNT(host_fields), m);
	for (size_t i = 0; i < m->need_count; i++) {
		json_object *need = json_object_new_object();

		json_object_object_add(need, "path", put_path(m->needs[i].path));
		put(need, need_fields, COUNT(need_fields), &m->needs[i]);
		json_object_array_add(list, need);
	}
	for (size_t i = 0; i < m->mount_count; i++) {
		json_object *mount = json_object_new_object();

		json_object_object_add(mount, "point", put_path(m->mounts[i].point));
		json_object_object_add(mount, "path", put_path(m->mounts[i].path));
		put(mount, mount_fields, COUNT(mount_fields), &m->mounts[i]);
		json_object_array_add(mounts, mount);
	}
	json_object_object_add(o, "files", list);
	json_object_object_add(o, "mounts", mounts);
	return o;
}

char *manifest_text(const struct manifest *m, struct err *e)
{
	json_object *o = json_object_new_object();
	const char *text;
	char *out = NULL;

	json_object_object_add(o, "format", json_object_new_int(MANIFEST_FORMAT));
	put(o, manifest_fields, COUNT(manifest_fields), m);
	json_object_object_add(o, "streams",
			       put_list(stream_fields, COUNT(stream_fields),
					m->streams, sizeof(m->streams[0]),
					m->stream_count));
	if (m->pmi_count)
		json_object_object_add(o, "pmi", put_pmi(m));
	json_object_object_add(o, "processes", put_processes(m));
	json_object_object_add(o, "files", put_files(m));
	json_object_object_add(o, "needs", put_needs(m));
	json_object_object_add(o, "images",
			       put_list(item_fields, COUNT(item_fields),
					m->set.items, sizeof(m->set.items[0]),
					m->set.item_count));
	json_object_object_add(o, "packs",
			       put_list(pack_fields, COUNT(pack_fields),
					m->set.packs, sizeof(m->set.packs[0]),
					m->set.pack_count));
	text = json_object_to_json_string_ext(o, JSON_C_TO_STRING_SPACED);
	if (!text || asprintf(&out, "%s\n", text) < 0) {
		out = NULL;
		err_set(e, "no memory for the manifest");
	}
	json_object_put(o);
	return out;
}

/* ---- reading ------------------------------------------------------------------- */

static int take_text(json_object *v, const struct field *f, void *at)
{
	const char *text = json_object_get_string(v);

	if (!json_object_is_type(v, json_type_string) ||
	    strlen(text) != (size_t)json_object_get_string_len(v))
		return -1;
	if (f->type == DIGEST || f->type == SEED)
		return json_unhex(text, at, f->size);
	if (strlen(text) >= f->size)
		return -1;
	strcpy(at, text);
	return 0;
}

static int take_number(json_object *v, const struct field *f, void *at)
{
	int64_t n = json_object_get_int64(v);

	if (!json_object_is_type(v, json_type_int))
		return -1;
	switch (f->type) {
	case INT:
	case MAYBE:
		if (n < INT32_MIN || n > INT32_MAX)
			return -1;
		*(int *)at = (int)n;
		return 0;
	case UINT32:
		if (n < 0 || n > UINT32_MAX)
			return -1;
		*(uint32_t *)at = (uint32_t)n;
		return 0;
	default:
		/* What json-c cannot hold it makes INT64_MAX. */
		if (n == INT64_MAX || n < (f->type == UINT64 ? 0 : -1))
			return -1;
		*(int64_t *)at = n;
		return 0;
	}
}

static int take(const json_object *o, const struct field *fields, size_t count,
		void *to, struct err *e)
{
	for (size_t i = 0; i < count; i++) {
		const struct field *f = &fields[i];
		void *at = (char *)to + f->offset;
		json_object *v;
		int rc = -1;

		if (!json_object_object_get_ex(o, f->name, &v)) {
			if (f->type == FLAG || f->type == MAYBE)
				continue;
			return err_set(e, "the manifest has no '%s'", f->name);
		}
		switch (f->type) {
		case TEXT:
		case DIGEST:
		case SEED:
			rc = take_text(v, f, at);
			break;
		case BOOL:
		case FLAG:
			if (json_object_is_type(v, json_type_boolean)) {
				*(bool *)at = json_object_get_boolean(v);
				rc = 0;
			}
			break;
		default:
			rc = take_number(v, f, at);
		}
		if (rc < 0)
			return err_set(e, "the manifest's '%s' makes no sense",
				       f->name);
	}
	return 0;
}

/* Reads a list into *to (calloc'ed) of at most `most` members. */
static int take_list(const json_object *o, const char *name,
		     const struct field *fields, size_t count, size_t size,
		     size_t most, void **to, size_t *n, struct err *e)
{
	json_object *list;
	size_t length;

	if (!json_object_object_get_ex(o, name, &list) ||
	    !json_object_is_type(list, json_type_array) ||
	    (length = json_object_array_length(list)) > most)
		return err_set(e, "the manifest's '%s' makes no sense", name);
	if (!(*to = calloc(length + 1, size)))
		return err_set(e, "no memory for the manifest");
	for (*n = 0; *n < length; ++*n)
		if (take(json_object_array_get_idx(list, *n), fields, count,
			 (char *)*to + *n * size, e) < 0)
			return -1;
	return 0;
}

static int take_streams(const json_object *o, struct manifest *m, struct err *e)
{
	bool good;

	if (take_list(o, "streams", stream_fields, COUNT(stream_fields),
		      sizeof(*m->streams), TASKS_MAX * TASK_STREAMS,
		      (void **)&m->streams, &m->stream_count, e) < 0)
		return -1;
	good = m->stream_count && m->stream_count % TASK_STREAMS == 0;
	for (size_t i = 0; i < m->stream_count; i++)
		good &= m->streams[i].position >= 0 &&
			m->streams[i].length >= 0 &&
			m->streams[i].output >= -1 &&
			m->streams[i].output < (int)m->stream_count;
	return good ? 0 :
		      err_set(e, "the manifest's 'streams' makes no sense");
}

static char *take_copy(const json_object *o, const char *name)
{
	json_object *v;

	return json_object_object_get_ex(o, name, &v) &&
			       json_object_is_type(v, json_type_string) ?
		       strdup(json_object_get_string(v)) :
		       NULL;
}

static int take_requests(json_object *list, struct manifest_pmi *p)
{
	size_t count;

	if (!json_object_is_type(list, json_type_array) ||
	    (count = json_object_array_length(list)) > MANIFEST_REQUESTS_MAX ||
	    !(p->said = calloc(count + 1, sizeof(*p->said))))
		return -1;
	for (; p->count < count; p->count++) {
		struct manifest_request *r = &p->said[p->count];
		json_object *v = json_object_array_get_idx(list, p->count);

		if (!json_object_is_type(v, json_type_string))
			return -1;
		r->size = (size_t)json_object_get_string_len(v) / 2;
		if (!r->size || !(r->text = malloc(r->size + 1)))
			return -1;
		if (json_unhex(json_object_get_string(v), (uint8_t *)r->text,
			       r->size) < 0) {
			free(r->text);
			return -1;
		}
	}
	return 0;
}

/* Only there of programs that use Slurm's PMI. */
static int take_pmi(const json_object *o, struct manifest *m, struct err *e)
{
	json_object *list;

	if (!json_object_object_get_ex(o, "pmi", &list))
		return 0;
	if (take_list(o, "pmi", pmi_fields, COUNT(pmi_fields), sizeof(*m->pmi),
		      TASKS_MAX, (void **)&m->pmi, &m->pmi_count, e) < 0)
		return -1;
	for (size_t i = 0; i < m->pmi_count; i++) {
		json_object *one = json_object_array_get_idx(list, i);

		if (take_requests(json_object_object_get(one, "said"),
				  &m->pmi[i]) < 0 ||
		    m->pmi[i].task < 0 ||
		    (size_t)m->pmi[i].task >= m->stream_count / TASK_STREAMS)
			return err_set(e, "the manifest's 'pmi' makes no sense");
	}
	return 0;
}

static int take_processes(const json_object *o, struct manifest *m,
			  struct err *e)
{
	json_object *list;

	if (take_list(o, "processes", process_fields, COUNT(process_fields),
		      sizeof(*m->processes), MANIFEST_PROCESSES_MAX,
		      (void **)&m->processes, &m->process_count, e) < 0)
		return -1;
	json_object_object_get_ex(o, "processes", &list);
	for (size_t i = 0; i < m->process_count; i++) {
		const json_object *p = json_object_array_get_idx(list, i);

		m->processes[i].command = take_copy(p, "command");
		m->processes[i].files = take_copy(p, "files");
	}
	return 0;
}

static char *take_path(const json_object *o, const char *name)
{
	cleanup_free char *text = take_copy(o, name);

	return text ? text_unescape(text) : NULL;
}

static int take_files(const json_object *o, struct manifest *m, struct err *e)
{
	if (take_list(o, "files", file_fields, COUNT(file_fields),
		      sizeof(*m->files), MANIFEST_FILES_MAX, (void **)&m->files,
		      &m->file_count, e) < 0)
		return -1;
	for (size_t i = 0; i < m->file_count; i++) {
		struct manifest_file *f = &m->files[i];

		f->path = take_path(json_object_array_get_idx(
			json_object_object_get(o, "files"), i), "path");
		if (!f->path || *f->path != '/' || f->size < 0 ||
		    f->digested < 0 || f->digested > f->size ||
		    f->stream < 0 || f->stream >= (int)m->stream_count ||
		    (*f->copy && f->digested != f->size) || f->name_of < 0 ||
		    (size_t)f->name_of > i ||
		    (f->name_of &&
		     (!f->local || manifest_is_name(&m->files[f->name_of - 1]))))
			return err_set(e, "the manifest's 'files' makes no sense");
	}
	return 0;
}

/* Not there in what sckpt wrote before it looked at more than files. */
static int take_host(const json_object *needs, struct manifest *m, struct err *e)
{
	json_object *list;

	if (!json_object_object_get_ex(needs, "mounts", &list))
		return 0;
	if (take(needs, host_fields, COUNT(host_fields), m, e) < 0 ||
	    take_list(needs, "mounts", mount_fields, COUNT(mount_fields),
		      sizeof(*m->mounts), MANIFEST_MOUNTS_MAX, (void **)&m->mounts,
		      &m->mount_count, e) < 0)
		return -1;
	for (size_t i = 0; i < m->mount_count; i++) {
		const json_object *o = json_object_array_get_idx(list, i);
		struct manifest_mount *mount = &m->mounts[i];

		mount->point = take_path(o, "point");
		mount->path = take_path(o, "path");
		if (!mount->point || *mount->point != '/' || !mount->path ||
		    *mount->path != '/')
			return err_set(e, "the manifest's 'mounts' makes no sense");
	}
	return 0;
}

/* Not there in what sckpt wrote before it knew of needs. */
static int take_needs(const json_object *o, struct manifest *m, struct err *e)
{
	json_object *needs, *list;

	if (!json_object_object_get_ex(o, "needs", &needs))
		return 0;
	if (take(needs, cpu_fields, COUNT(cpu_fields), m, e) < 0 ||
	    take_list(needs, "files", need_fields, COUNT(need_fields),
		      sizeof(*m->needs), MANIFEST_NEEDS_MAX, (void **)&m->needs,
		      &m->need_count, e) < 0)
		return -1;
	list = json_object_object_get(needs, "files");
	for (size_t i = 0; i < m->need_count; i++) {
		m->needs[i].path = take_path(json_object_array_get_idx(list, i), "path");
		if (!m->needs[i].path || *m->needs[i].path != '/')
			return err_set(e, "the manifest's 'needs' makes no sense");
	}
	return take_host(needs, m, e);
}

/* Names of files of the store: they are opened beside the manifest. */
static bool is_file_name(const char *name)
{
	return *name && *name != '.' && !strchr(name, '/');
}

static int check_names(const struct manifest *m, struct err *e)
{
	if (!is_file_name(m->set.meta))
		return err_set(e, "the manifest's 'meta' makes no sense");
	for (size_t i = 0; i < m->set.pack_count; i++)
		if (!is_file_name(m->set.packs[i].name))
			return err_set(e, "the manifest's 'packs' makes no sense");
	for (size_t i = 0; i < m->file_count; i++)
		if (*m->files[i].copy && !is_file_name(m->files[i].copy))
			return err_set(e, "the manifest's 'files' makes no sense");
	for (size_t i = 0; i < m->set.item_count; i++)
		if (!is_file_name(m->set.items[i].name))
			return err_set(e, "the manifest's 'images' makes no sense");
	return 0;
}

static int take_all(const json_object *o, struct manifest *m, struct err *e)
{
	json_object *format;

	if (!json_object_object_get_ex(o, "format", &format) ||
	    !json_object_is_type(format, json_type_int))
		return err_set(e, "the manifest has no 'format'");
	if (json_object_get_int(format) != MANIFEST_FORMAT)
		return err_set(e, "the manifest has format %d, and this sckpt reads format %d: use the sckpt that wrote it",
			       json_object_get_int(format), MANIFEST_FORMAT);
	if (take(o, manifest_fields, COUNT(manifest_fields), m, e) < 0 ||
	    take_streams(o, m, e) < 0 || take_pmi(o, m, e) < 0 ||
	    take_processes(o, m, e) < 0 ||
	    take_files(o, m, e) < 0 || take_needs(o, m, e) < 0 ||
	    take_list(o, "images", item_fields, COUNT(item_fields),
		      sizeof(*m->set.items), 1 << 20, (void **)&m->set.items,
		      &m->set.item_count, e) < 0 ||
	    take_list(o, "packs", pack_fields, COUNT(pack_fields),
		      sizeof(*m->set.packs), 1 << 20, (void **)&m->set.packs,
		      &m->set.pack_count, e) < 0)
		return -1;
	return check_names(m, e);
}

int manifest_parse(const char *text, struct manifest *m, struct err *e)
{
	enum json_tokener_error why;
	json_object *o = json_tokener_parse_verbose(text, &why);
	int rc;

	*m = (struct manifest){ .job = 0 };
	rc = o ? take_all(o, m, e) :
		 err_set(e, "the manifest is damaged: %s",
			 json_tokener_error_desc(why));
	json_object_put(o);
	if (rc < 0)
		manifest_free(m);
	return rc;
}
