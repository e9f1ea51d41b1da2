/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * cli: the command sckpt. One file per subcommand, each with one function
 * cmd_NAME() that takes the options and returns an exit status; sckpt.c has
 * the table of them.
 */
#ifndef SCKPT_CLI_H
#define SCKPT_CLI_H

#include <json-c/json.h>

#include "sckpt/store.h"

/* ---- exit statuses: part of the interface (sckpt(1)) --------------------- */

enum {
	EXIT_OK = 0,
	EXIT_FAILED = 1, /* it could not be done; stderr says why */
	EXIT_USAGE = 2, /* unknown subcommand, option or word */
	EXIT_NOT_FOUND = 3, /* there is no such job, step or checkpoint */
	EXIT_DAMAGED = 4, /* verify: something is not as it was written */
	EXIT_TIMED_OUT = 5 /* create, vacate: no answer within --timeout */
};

struct options {
	bool json, force, all, dry_run, print, fix, try;
	const char *dir, *user;
	long timeout; /* seconds */
	long older_than; /* seconds */
	long since; /* seconds ago; -1: from the begin */
	const char *html; /* file; NULL none */
	int argc; /* what is left: the subcommand's own arguments */
	char **argv;
};

int cmd_list(const struct options *o);
int cmd_show(const struct options *o);
int cmd_verify(const struct options *o);
int cmd_check(const struct options *o);
int cmd_create(const struct options *o);
int cmd_vacate(const struct options *o);
int cmd_remove(const struct options *o);
int cmd_prune(const struct options *o);
int cmd_export(const struct options *o);
int cmd_import(const struct options *o);
int cmd_restart(const struct options *o);
int cmd_doctor(const struct options *o);
int cmd_report(const struct options *o);

/* "sckpt: " and a sentence on stderr; returns status. */
int complain(int status, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* ---- ids (id.c) ----------------------------------------------------------- */

/* [CLUSTER/]JOB[_TASK][.STEP][:GENERATION] */
struct id {
	char cluster[128]; /* "" any */
	uint32_t job;
	int64_t task; /* -1: no array task */
	char step[32]; /* "" any */
	int generation; /* 0: the newest */
};

int id_parse(const char *text, struct id *id, struct err *e);
/* "JOB" or "JOB_TASK". */
void id_job(const struct id *id, char out[40]);
/* "JOB.STEP:GENERATION", as people type it. */
#define ID_TEXT_MAX 96
void id_print(const struct spec *step, int generation, char out[ID_TEXT_MAX]);

/* ---- the caller's store (place.c, steps.c) --------------------------------- */

/* What Slurm's configuration says of sckpt, as the plugin gets it. */
struct site {
	struct conf conf;
	char dir[256]; /* Slurm's configuration directory */
	char file[512]; /* plugstack.conf, or what it includes; "" nothing names sckpt.so */
	char plugin[512]; /* as it is named there */
};
int site_read(struct site *site, struct err *e);

/* Becomes --user, when root asks for that, and finds the user's stores by the
 * configuration: several when dir= has %j. */
struct place {
	struct conf conf;
	struct spec *stores; /* base, fixed and node are filled in */
	size_t count;
};
int place_find(const struct options *o, struct place *p, struct err *e);
void place_free(struct place *p);

struct steps {
	struct spec *list; /* by cluster, job and step */
	size_t count;
};
/* Directories of steps that match an id (NULL: all), -1 on error. */
int steps_find(const struct place *p, const struct id *id, struct steps *s,
	       struct err *e);
void steps_free(struct steps *s);

/*
 * The one step that an id means, opened, and its generation, the newest when
 * the id names none. Returns EXIT_OK, or complains and returns what to exit
 * with. id is made ready by id_resolve().
 */
int find_generation(const struct place *p, const struct id *id,
		    struct spec *step, struct store *store,
		    struct generation *g);
/* The checkpoint that a subcommand's first argument names. */
struct chosen {
	struct place place;
	struct spec step;
	struct store store;
	struct generation g;
};
/* Returns EXIT_OK, or complains and returns what to exit with. */
int choose(const struct options *o, struct chosen *c);
void chosen_free(struct chosen *c);

/* Parses an id and asks Slurm for the job's own number if it is of an array
 * task. Returns EXIT_OK, or complains. */
int id_resolve(const char *text, struct id *id);
/* Complains that nothing matches. */
int not_found(const struct place *p, const char *text);

/* Opens a step's directory and lists its generations; count or -1. */
int step_open(const struct spec *step, struct store *store,
	      struct generation **list, struct err *e);
/* Set aside by a later job of the same number: of no running job. */
bool step_is_old(const struct spec *step);
/* Reads a generation with its seal checked; it must be of that step. */
int step_load(const struct spec *step, const struct store *store,
	      struct generation g, struct manifest *m, struct err *e);

/* ---- Slurm (slurm.c) ------------------------------------------------------- */

struct job {
	uint32_t number;
	uid_t uid;
	char state[24]; /* "RUNNING"; the first word of it */
	bool active; /* it may still run, or run again */
	bool completing, requeue, batch;
	int restarts;
	int64_t task; /* number in its array; -1 none */
	char name[32]; /* what commands call it: ARRAY_TASK, or its number */
};

struct jobs {
	bool known; /* slurmctld answered */
	char cluster[128]; /* whose jobs these are; "" not known */
	struct job *list;
	size_t count;
};

/* All jobs of this user that slurmctld knows; when it does not answer, known
 * is false and e says why. */
void jobs_ask(struct jobs *jobs, struct err *e);
void jobs_free(struct jobs *jobs);
/* The job that an id names, by its own number or as an array's task; 1 when
 * Slurm does not know it, -1 when it does not answer. */
int job_of_id(const struct id *id, struct job *job, struct err *e);
/* The job of a step; NULL when it is not known. */
const struct job *jobs_find(const struct jobs *jobs, const struct spec *step);
/* The state of a step's job in a word; "unknown" when it cannot be told,
 * "gone" when Slurm has forgotten the job. */
const char *jobs_state(const struct jobs *jobs, const struct spec *step);
/* May the step still write, or be restored? True when that is not known. */
bool jobs_active(const struct jobs *jobs, const struct spec *step);
/* A new job that is to go on from the step (sckpt restart), and may not have begun; 0 none. */
uint32_t step_wanted(const struct jobs *jobs, const struct spec *step);
/* Forgets those that will not begin any more. */
void wanted_drop_stale(const struct jobs *jobs, const struct spec *step, const struct store *store);
/* Is the step of this running job running now? */
bool step_runs(const struct job *job, const struct spec *step);
/* What Slurm calls a step, when it runs; NULL when that is not known. */
const char *step_slurm_id(const struct spec *step, char id[32]);
/* Runs one of Slurm's commands, and passes on what it says; its exit status, or -1. said, if it
 * is not NULL: the end of its output, size bytes at most with a NUL. */
int slurm_run(char *const argv[], char *said, size_t size, struct err *e);

/* ---- asking a step for a checkpoint (ask.c) --------------------------------- */

/* Every protected step of the job that o's first argument names is asked, and
 * the outcome is printed. Exit status; *job is filled in. */
enum ask { ASK_CREATE, ASK_VACATE, ASK_CHECK };
int ask_steps(const struct options *o, enum ask what, struct job *job);
/* What a rehearsal found (check_get()), on each of so many nodes, printed or put into
 * list, if that is not NULL. Exit status. */
int check_report(const char *name, char *const texts[], int nodes,
		 json_object *list);

/* ---- output (text.c) -------------------------------------------------------- */

/* Rows of cells, in columns as wide as they must be. */
struct table;
struct table *table_new(const char *const heads[]); /* NULL-terminated */
/* Copies the text, without what could steer a terminal. */
void table_add(struct table *t, const char *text);
void table_print(struct table *t, const char *paint_column);
void table_free(struct table *t);

/* Is f a terminal that shows colours, and may they be used? */
bool colours(int fd);
#define BOLD "\033[1m"
#define RED "\033[31m"
#define GREEN "\033[32m"
#define YELLOW "\033[33m"
#define PLAIN "\033[0m"

/* Replaces what is no printable ASCII; returns text. */
char *printable(char *text);
void age_print(int64_t since, char out[16]); /* "3 h", since a time(2) */
void time_print(int64_t at, char out[32]); /* local time */
void json_out(json_object *o); /* prints and frees */

#endif
