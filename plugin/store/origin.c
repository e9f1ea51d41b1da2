/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How a batch job was submitted, for those who want to submit it again. */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <json-c/json.h>

#include "dir.h"

#define SUBMIT "submit.json"
/* sbatch takes 4 MiB unless told otherwise (max_script_size). */
#define SCRIPT_MAX (64 << 20)

/* What tells a job's resources (sbatch(1), OUTPUT ENVIRONMENT VARIABLES). */
static const char *const names[] = {
	"SLURM_JOB_NAME", "SLURM_JOB_PARTITION", "SLURM_JOB_ACCOUNT",
	"SLURM_JOB_QOS", "SLURM_JOB_RESERVATION", "SLURM_JOB_NUM_NODES",
	"SLURM_NTASKS", "SLURM_NTASKS_PER_NODE", "SLURM_CPUS_PER_TASK", "SLURM_MEM_PER_NODE",
	"SLURM_MEM_PER_CPU", "SLURM_SUBMIT_DIR", "SLURM_ARRAY_TASK_ID", ORIGIN_START, ORIGIN_END,
};

static bool is_wanted(const char *variable, size_t length)
{
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (strlen(names[i]) == length &&
		    !strncmp(names[i], variable, length))
			return true;
	return false;
}

bool origin_kept(const struct store *store)
{
	return faccessat(store->dir, SUBMIT, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

static void put_time(json_object *o, const char *name, int64_t time)
{
	char text[24];

	snprintf(text, sizeof(text), "%" PRId64, time);
	if (time > 0)
		json_object_object_add(o, name, json_object_new_string(text));
}

void origin_keep(const struct store *store, const char *script,
		 char *const envp[], int64_t start, int64_t end)
{
	cleanup_free char *text = NULL;
	json_object *o;

	/* The environment is written last: with it both are there. */
	if (origin_kept(store) ||
	    file_read(AT_FDCWD, script, SCRIPT_MAX, &text, NULL) < 0 ||
	    dir_write(store, ORIGIN_SCRIPT, text, false, NULL) < 0)
		return;
	o = json_object_new_object();
	put_time(o, ORIGIN_START, start);
	put_time(o, ORIGIN_END, end);
	for (; *envp; envp++) {
		size_t n = strcspn(*envp, "=");
		char name[64];

		if (n >= sizeof(name) || !(*envp)[n] || !is_wanted(*envp, n))
			continue;
		memcpy(name, *envp, n);
		name[n] = '\0';
		json_object_object_add(o, name,
				       json_object_new_string(*envp + n + 1));
	}
	dir_write(store, SUBMIT, json_object_to_json_string(o), false, NULL);
	json_object_put(o);
}

char *origin_variable(const struct store *store, const char *name)
{
	cleanup_free char *text = NULL;
	json_object *o, *v;
	char *value = NULL;

	if (file_read(store->dir, SUBMIT, 1 << 20, &text, NULL) < 0)
		return NULL;
	o = json_tokener_parse(text);
	if (json_object_object_get_ex(o, name, &v) &&
	    json_object_is_type(v, json_type_string))
		value = strdup(json_object_get_string(v));
	json_object_put(o);
	return value;
}
