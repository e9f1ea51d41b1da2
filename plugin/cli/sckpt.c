/* SPDX-License-Identifier: GPL-2.0-or-later */
/* sckpt: the table of subcommands, their options and their help. */
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"

enum { /* options, as bits */
	JSON = 1,
	DIR_ = 2,
	USER = 4,
	FORCE = 8,
	ALL = 16,
	DRY_RUN = 32,
	PRINT = 64,
	TIMEOUT = 128,
	OLDER_THAN = 256,
	HELP = 512,
	SINCE = 1024,
	HTML = 2048,
	FIX = 4096,
	TRY = 8192,
	ALWAYS = JSON | DIR_ | USER | HELP
};

static const struct {
	const char *name, *value, *help;
	int bit;
} all_options[] = {
	{ "json", NULL, "print JSON, for programs", JSON },
	{ "dir", "DIR", "the store is in DIR, whatever sckpt.conf says", DIR_ },
	{ "user", "NAME", "root only: NAME's checkpoints, as NAME", USER },
	{ "force", NULL, "also what a job that has not ended needs", FORCE },
	{ "all", NULL, "all generations, not only the newest", ALL },
	{ "dry-run", NULL, "only say what would be removed", DRY_RUN },
	{ "print", NULL, "only print the command, and run nothing", PRINT },
	{ "timeout", "TIME", "wait so long for the checkpoint, such as 90s or 10m (default 1h)", TIMEOUT },
	{ "older-than", "TIME", "only what is older, such as 12h, 7d or 2w (default 7d)", OLDER_THAN },
	{ "since", "TIME", "only steps that something happened to since then, such as 12h, 7d or 2w ago", SINCE },
	{ "html", "FILE", "write a page with a timeline for each step; - is standard output", HTML },
	{ "fix", NULL, "print the lines that would mend it, each with its file, and nothing else", FIX },
	{ "try", NULL, "also submit a tiny job, checkpoint it, and restore that beside it", TRY },
	{ "help", NULL, "this text", HELP },
};

#define OPTIONS (sizeof(all_options) / sizeof(all_options[0]))

static const struct command {
	const char *name, *arguments, *line;
	int least, most; /* arguments */
	int options;
	int (*run)(const struct options *o);
	const char *help;
} commands[] = {
	{ "list", "[ID]", "show which checkpoints there are", 0, 1, ALWAYS,
	  cmd_list,
	  "Lists the checkpoints of all jobs, or of a job or step: when, where and why each\n"
	  "was made, how much memory the program had, how much of it had to be stored,\n"
	  "how long it stood still, and the state of the job." },
	{ "show", "ID", "show everything about a checkpoint", 1, 1, ALWAYS,
	  cmd_show,
	  "Shows a checkpoint's manifest: its processes with their PIDs, memory and open\n"
	  "files, its standard streams and what it takes on disk." },
	{ "verify", "[ID]", "check seal and digests", 0, 1, ALWAYS | ALL,
	  cmd_verify,
	  "Reads a checkpoint from beginning to end and checks that every byte is as it was\n"
	  "written, and that its user wrote it. Each fault is told with its file; the exit\n"
	  "status is 4 when there is any. With --all and no ID: everything." },
	{ "create", "JOB[.STEP]", "checkpoint a running job, which goes on", 1, 1,
	  ALWAYS | TIMEOUT, cmd_create,
	  "Makes a checkpoint of every protected step of a running job, or of one step, and\n"
	  "waits until it is durable. The job goes on." },
	{ "check", "JOB[.STEP]", "rehearse checkpoint and restore of a running job", 1, 1,
	  ALWAYS | TIMEOUT, cmd_check,
	  "Makes a checkpoint as create does, and restores it beside the job, in namespaces of\n"
	  "its own on the same node: the copy is compared with the program and killed before it\n"
	  "runs. Tells all that is in the way, by name; the exit status is 1 when there is\n"
	  "anything. The job goes on." },
	{ "vacate", "JOB", "checkpoint a running job, end and requeue it", 1, 1,
	  ALWAYS | TIMEOUT, cmd_vacate,
	  "Makes a checkpoint as create does. When that has worked the job is requeued: it\n"
	  "saves what changed since, ends, and goes on wherever Slurm starts it next." },
	{ "remove", "ID", "remove checkpoints", 1, 1, ALWAYS | FORCE | DRY_RUN,
	  cmd_remove,
	  "Removes one generation, all of a step, or all of a job. The newest one of a job\n"
	  "that has not ended is what it would go on from, and stays without --force." },
	{ "prune", "", "remove what jobs that have ended left behind", 0, 0,
	  ALWAYS | DRY_RUN | OLDER_THAN, cmd_prune,
	  "Removes old checkpoints of jobs that have ended or that Slurm does not know any\n"
	  "more. A job that may still run or run again loses nothing." },
	{ "export", "ID DIR", "write a checkpoint as plain images of criu", 2, 2,
	  ALWAYS, cmd_export,
	  "Writes a checkpoint's images into DIR, which must be new or empty, as criu itself\n"
	  "would have written them; criu restore and crit read them. Beside them lies what\n"
	  "import needs." },
	{ "import", "DIR", "bring an exported checkpoint back into the store", 1, 1,
	  ALWAYS | FORCE, cmd_import,
	  "Makes what export wrote the newest generation of its step again, sealed for you." },
	{ "restart", "ID", "submit a new job that goes on from a checkpoint", 1, 1,
	  ALWAYS | PRINT | FORCE, cmd_restart,
	  "Submits, through sbatch, a new job that goes on from a checkpoint of a batch job,\n"
	  "with the script and the resources of the old job. PIDs stay; the job id is new, and\n"
	  "the program's environment is the old one." },
	{ "doctor", "", "look for what is wrong with this node, Slurm and the store", 0, 0,
	  ALWAYS | FIX | TRY, cmd_doctor,
	  "Looks, on a compute node, a login node or the controller, at what sckpt needs: kernel,\n"
	  "criu, the plugin, Slurm's configuration, the store and how fast it is, munge and clocks.\n"
	  "Each line is OK, WARN or FAIL, with what to change; the exit status is 1 when one is\n"
	  "FAIL. Nothing is changed. Root looks at a user's store by --user NAME." },
	{ "report", "[ID...]", "tell what checkpoints saved, and what was lost", 0,
	  10000, ALWAYS | SINCE | HTML, cmd_report,
	  "For each protected step: how long its program ran, how much of that work restores\n"
	  "brought over, how much was done twice, how long it stood still for checkpoints\n"
	  "and waited in the queue. <= is the most that it can be. sckpt(1) says it exactly." },
};

#define COMMANDS (sizeof(commands) / sizeof(commands[0]))

int complain(int status, const char *fmt, ...)
{
	cleanup_free char *text = NULL;
	bool colour = colours(2);
	va_list ap;
	int n;

	fputs(colour ? BOLD RED "sckpt:" PLAIN " " : "sckpt: ", stderr);
	va_start(ap, fmt);
	n = vasprintf(&text, fmt, ap);
	va_end(ap);
	/* Names of a user's may be in it, and root may read it. */
	fputs(n < 0 ? "no memory" : text_plain(text), stderr);
	fputc('\n', stderr);
	return status;
}

/* ---- help ------------------------------------------------------------------------- */

static void help_all(FILE *to)
{
	fputs("usage: sckpt SUBCOMMAND [ARGUMENT...] [OPTION...]\n\n"
	      "Checkpoints of Slurm jobs that were started with --checkpoint.\n\n", to);
	for (size_t i = 0; i < COMMANDS; i++)
		fprintf(to, "  %-8s %-11s %s\n", commands[i].name,
			commands[i].arguments, commands[i].line);
	fputs("\nAn ID is JOB, JOB.STEP or JOB.STEP:GENERATION, such as 1234, 1234.batch or 1234.0:3;\n"
	      "for an array task 1234_5, for another cluster CLUSTER/1234. Without a generation it is\n"
	      "the newest.\n\n"
	      "sckpt SUBCOMMAND --help tells more, and sckpt(1) all of it.\n", to);
}

static void help_one(const struct command *c)
{
	printf("usage: sckpt %s%s%s [OPTION...]\n\n%s\n\n", c->name,
	       *c->arguments ? " " : "", c->arguments, c->help);
	for (size_t i = 0; i < OPTIONS; i++) {
		char left[40];

		if (!(c->options & all_options[i].bit))
			continue;
		snprintf(left, sizeof(left), "--%s%s%s", all_options[i].name,
			 all_options[i].value ? " " : "",
			 all_options[i].value ? all_options[i].value : "");
		printf("  %-18s %s\n", left, all_options[i].help);
	}
	fputs("\nExit status: 0 done; 1 it could not be done; 2 wrong usage; 3 there is no such job or\n"
	      "checkpoint; 4 damaged; 5 no answer in time.\n", stdout);
}

/* ---- options ------------------------------------------------------------------------ */

static int bad_option(const struct command *c, const char *word)
{
	const char *names[OPTIONS + 1];
	char name[64];
	size_t n = 0;

	for (size_t i = 0; i < OPTIONS; i++)
		if (c->options & all_options[i].bit)
			names[n++] = all_options[i].name;
	names[n] = NULL;
	snprintf(name, sizeof(name), "%.*s", (int)strcspn(word, "="), word);
	return complain(EXIT_USAGE, "sckpt %s does not take %s like this; the nearest option is --%s (sckpt %s --help)",
			c->name, name,
			text_nearest(name + strspn(name, "-"), names), c->name);
}

static int take_option(const struct command *c, int bit, const char *value,
		       struct options *o)
{
	switch (bit) {
	case JSON:
		o->json = true;
		break;
	case DIR_:
		o->dir = value;
		break;
	case USER:
		o->user = value;
		break;
	case FORCE:
		o->force = true;
		break;
	case ALL:
		o->all = true;
		break;
	case DRY_RUN:
		o->dry_run = true;
		break;
	case PRINT:
		o->print = true;
		break;
	case TIMEOUT:
		if (span_parse(value, &o->timeout) < 0)
			return complain(EXIT_USAGE, "--timeout %s: it is a time such as 90s, 10m or 1h", value);
		break;
	case OLDER_THAN:
		if (span_parse(value, &o->older_than) < 0)
			return complain(EXIT_USAGE, "--older-than %s: it is a time such as 12h, 7d or 2w", value);
		break;
	case SINCE:
		if (span_parse(value, &o->since) < 0)
			return complain(EXIT_USAGE, "--since %s: it is a time such as 12h, 7d or 2w", value);
		break;
	case FIX:
		o->fix = true;
		break;
	case TRY:
		o->try = true;
		break;
	case HTML:
		o->html = value;
		break;
	default:
		help_one(c);
		exit(EXIT_OK);
	}
	return EXIT_OK;
}

static int parse(const struct command *c, int argc, char *argv[],
		 struct options *o)
{
	struct option longs[OPTIONS + 1] = { { NULL, 0, NULL, 0 } };
	size_t n = 0;
	int bit, rc;

	for (size_t i = 0; i < OPTIONS; i++)
		if (c->options & all_options[i].bit)
			longs[n++] = (struct option){
				all_options[i].name,
				all_options[i].value ? required_argument :
						       no_argument,
				NULL, all_options[i].bit
			};
	opterr = 0;
	while ((bit = getopt_long(argc, argv, "h", longs, NULL)) != -1) {
		if (bit == '?')
			return bad_option(c, argv[optind - 1]);
		if ((rc = take_option(c, bit == 'h' ? HELP : bit, optarg, o)))
			return rc;
	}
	o->argc = argc - optind;
	o->argv = argv + optind;
	if (o->argc < c->least || o->argc > c->most)
		return complain(EXIT_USAGE, "usage: sckpt %s%s%s [OPTION...]; sckpt %s --help tells more",
				c->name, *c->arguments ? " " : "", c->arguments,
				c->name);
	return EXIT_OK;
}

static int unknown(const char *name)
{
	const char *names[COMMANDS + 1] = { NULL };

	for (size_t i = 0; i < COMMANDS; i++)
		names[i] = commands[i].name;
	return complain(EXIT_USAGE, "there is no subcommand '%.40s'; the nearest is %s (sckpt --help shows all)",
			name, text_nearest(name, names));
}

/* What people set for the squeue and scancel that they type would choose among jobs, or
 * have scancel ask before it signals. */
static void forget_variables(void)
{
	char **to = environ;

	for (char **from = environ; *from; from++)
		if (strncmp(*from, "SQUEUE_", 7) && strncmp(*from, "SCANCEL_", 8))
			*to++ = *from;
	*to = NULL;
}

int main(int argc, char *argv[])
{
	struct options o = { .timeout = 3600, .older_than = 7 * 86400,
			     .since = -1 };
	int rc;

	forget_variables();
	if (argc < 2) {
		help_all(stderr);
		return EXIT_USAGE;
	}
	if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h") ||
	    !strcmp(argv[1], "help")) {
		help_all(stdout);
		return EXIT_OK;
	}
	if (!strcmp(argv[1], "--version")) {
		puts(PACKAGE_STRING);
		return EXIT_OK;
	}
	for (size_t i = 0; i < COMMANDS; i++) {
		if (strcmp(argv[1], commands[i].name))
			continue;
		if ((rc = parse(&commands[i], argc - 1, argv + 1, &o)))
			return rc;
		rc = commands[i].run(&o);
		/* A full disk or a closed pipe loses what was printed. */
		if (fflush(stdout) || ferror(stdout))
			return complain(rc ? rc : EXIT_FAILED, "cannot write the output");
		return rc;
	}
	return unknown(argv[1]);
}
