/* SPDX-License-Identifier: GPL-2.0-or-later */
/* sckpt.conf: key=value lines, strict. */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "sckpt/base.h"

#define CONF_MAX (64 * 1024)

static const char *const keys[] = {
	"dir", "user-dir", "criu", "grant", "no-new-privs", "keep", "keep-max",
	"keep-after", "quota", "buffer", "compress", "overhead", "mtbf",
	"requeue-wait", "on-restore-failure", "files", "files-max", "local",
	"allow-users", "allow-groups", "allow-partitions", "elevate",
	"elevate-groups", "elevate-accounts", "elevate-partitions", "metrics-dir", NULL
};

void conf_defaults(struct conf *conf)
{
	*conf = (struct conf){ .dir = "%h/.sckpt",
			       .criu = CRIU_PATH,
			       .grant = GRANT_STEP,
			       .keep_max = 10,
			       .limits = { .keep = 2,
					   .buffer = 1 << 30,
					   .compress = 1,
					   .overhead = 5,
					   .mtbf = 30 * 24 * 3600,
					   .requeue_wait = 10,
					   .files_max = 1 << 30,
					   .local = "/tmp:/var/tmp:/dev/shm" } };
}

static int set_path(char *to, size_t size, const char *key, const char *value,
		    const char *starts, struct err *e)
{
	if (!strchr(starts, value[0]))
		return err_set(e, "%s=%s: not an absolute path", key, value);
	if (strlen(value) >= size)
		return err_set(e, "%s: longer than %zu bytes", key, size - 1);
	strcpy(to, value);
	return 0;
}

static int set_dir(struct conf *conf, const char *value, struct err *e)
{
	const struct text_vars probe = {
		.user = "u", .home = "/h", .cluster = "c"
	};
	char expanded[sizeof(conf->dir)];

	if (text_expand(value, &probe, expanded, sizeof(expanded), e) < 0)
		return err_context(e, "dir");
	if (expanded[0] != '/')
		return err_set(e, "dir=%s: not an absolute path", value);
	return set_path(conf->dir, sizeof(conf->dir), "dir", value, "/%", e);
}

static int set_choice(const char *key, const char *value, const char *first,
		      const char *second, struct err *e)
{
	if (!strcmp(value, first))
		return 0;
	if (!strcmp(value, second))
		return 1;
	return err_set(e, "%s=%s: it is either %s or %s", key, value, first,
		       second);
}

static int set_number(const char *key, const char *value, int least, int most,
		      int *to, struct err *e)
{
	char *end;
	long n = strtol(value, &end, 10);

	if (end == value || *end || n < least || n > most)
		return err_set(e, "%s=%s: it is a number from %d to %d", key,
			       value, least, most);
	*to = (int)n;
	return 0;
}

static int set_size(const char *key, const char *value, uint64_t least,
		    uint64_t *to, struct err *e)
{
	char text[16];
	uint64_t n;

	if (size_parse(value, &n) < 0)
		return err_set(e, "%s=%s: it is a size such as 64M, 20G or 2T",
			       key, value);
	if (n < least) {
		size_print(least, text);
		return err_set(e, "%s=%s: it is at least %s", key, value, text);
	}
	*to = n;
	return 0;
}

static int set_files(enum files *files, const char *value, struct err *e)
{
	if (!strcmp(value, "cut"))
		*files = FILES_CUT;
	else if (!strcmp(value, "copy"))
		*files = FILES_COPY;
	else if (!strcmp(value, "leave"))
		*files = FILES_LEAVE;
	else
		return err_set(e, "files=%s: it is cut, copy or leave", value);
	return 0;
}

static int set_span(const char *key, const char *value, long least, int *to,
		    struct err *e)
{
	long n;

	if (span_parse(value, &n) < 0 || n < least || n > INT_MAX)
		return err_set(e, "%s=%s: it is a time such as 12h, 30d or 8w, of at least %ld s",
			       key, value, least);
	*to = (int)n;
	return 0;
}

static int set_directories(const char *key, const char *value, char *to,
			   size_t size, struct err *e)
{
	if (!strcmp(value, "none"))
		value = "";
	for (const char *at = value; at && *value; at = strchr(at, ':')) {
		at += *at == ':';
		if (*at != '/' || at[1] == '\0' || at[1] == ':')
			return err_set(e, "%s=%s: it is none, or a list of directories with : between, such as /tmp:/scratch",
				       key, value);
	}
	if (strlen(value) >= size)
		return err_set(e, "%s= is longer than %zu bytes", key, size - 1);
	strcpy(to, value);
	return 0;
}

/* Wrong here is what would let in nobody, or somebody else. */
static int set_names(const char *key, const char *value, char *to, size_t size,
		     struct err *e)
{
	size_t n = strlen(value);

	if (strpbrk(value, " \t:;\"'") || value[0] == ',' || value[n - 1] == ',' ||
	    strstr(value, ",,"))
		return err_set(e, "%s=%s: it is a list of names with , between", key,
			       value);
	if (n >= size)
		return err_set(e, "%s= is longer than %zu bytes", key, size - 1);
	strcpy(to, value);
	return 0;
}

static int set_grant(struct conf *conf, const char *value, struct err *e)
{
	if (!strcmp(value, "step"))
		conf->grant = GRANT_STEP;
	else if (!strcmp(value, "agent"))
		conf->grant = GRANT_AGENT;
	else if (!strcmp(value, "never"))
		conf->grant = GRANT_NEVER;
	else
		return err_set(e, "grant=%s: it is step, agent or never", value);
	return 0;
}

static int set_elevate(int *elevate, const char *value, struct err *e)
{
	static const struct {
		const char *name;
		int what;
	} words[] = { { "none", 0 }, { "seccomp", ELEVATE_SECCOMP },
		      { "tcp", ELEVATE_TCP }, { "ptrace", ELEVATE_PTRACE } };
	int all = 0;

	for (const char *at = value; *at; at += *at == ',') {
		size_t n = strcspn(at, ","), i = 0;

		while (i < 4 && (strlen(words[i].name) != n || strncmp(words[i].name, at, n)))
			i++;
		if (i == 4)
			return err_set(e, "elevate=%s: it is none, or a list of seccomp, tcp and ptrace with , between",
				       value);
		all |= words[i].what;
		at += n;
	}
	*elevate = all;
	return 0;
}

/* Lists of names: where they are kept. */
static char *names_of(struct conf *conf, const char *key, size_t *size)
{
	const struct {
		const char *key;
		char *to;
	} lists[] = { { "allow-users", conf->allow_users },
		      { "allow-groups", conf->allow_groups },
		      { "allow-partitions", conf->allow_partitions },
		      { "elevate-groups", conf->elevate_groups },
		      { "elevate-accounts", conf->elevate_accounts },
		      { "elevate-partitions", conf->elevate_partitions } };

	*size = sizeof(conf->allow_users);
	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++)
		if (!strcmp(lists[i].key, key))
			return lists[i].to;
	return NULL;
}

static int set_limit(struct limits *l, const char *key, const char *value,
		     struct err *e)
{
	if (!strcmp(key, "keep"))
		return set_number(key, value, 1, KEEP_MAX, &l->keep, e);
	if (!strcmp(key, "keep-after"))
		return set_number(key, value, 0, KEEP_MAX, &l->keep_after, e);
	if (!strcmp(key, "files"))
		return set_files(&l->files, value, e);
	if (!strcmp(key, "local"))
		return set_directories(key, value, l->local, sizeof(l->local), e);
	if (!strcmp(key, "files-max"))
		return set_size(key, value, 0, &l->files_max, e);
	if (!strcmp(key, "quota") && !strcmp(value, "none"))
		l->quota = 0;
	else if (!strcmp(key, "quota"))
		return set_size(key, value, 1 << 20, &l->quota, e);
	else if (!strcmp(key, "buffer"))
		return set_size(key, value, 4 << 20, &l->buffer, e);
	else if (!strcmp(key, "compress") && !strcmp(value, "none"))
		l->compress = 0;
	else if (!strcmp(key, "compress"))
		return set_number(key, value, 1, 19, &l->compress, e);
	else if (!strcmp(key, "overhead"))
		return set_number(key, value, 1, 100, &l->overhead, e);
	else if (!strcmp(key, "mtbf"))
		return set_span(key, value, 60, &l->mtbf, e);
	else if (!strcmp(key, "requeue-wait") && !strcmp(value, "slurm"))
		l->requeue_wait = 0;
	else if (!strcmp(key, "requeue-wait"))
		return set_span(key, value, 2, &l->requeue_wait, e);
	else if (!strcmp(value, "hold"))
		l->on_failure = ON_FAILURE_HOLD;
	else if (!strcmp(value, "fresh"))
		l->on_failure = ON_FAILURE_FRESH;
	else if (!strcmp(value, "fail"))
		l->on_failure = ON_FAILURE_FAIL;
	else
		return err_set(e, "%s=%s: it is fresh, hold or fail", key, value);
	return 0;
}

static bool is_key(const char *key)
{
	for (size_t i = 0; keys[i]; i++)
		if (!strcmp(keys[i], key))
			return true;
	return false;
}

int conf_set(struct conf *conf, const char *assignment, struct err *e)
{
	const char *eq = strchr(assignment, '=');
	char key[32], *names;
	size_t size;
	int choice;

	if (!eq || (size_t)(eq - assignment) >= sizeof(key))
		return err_set(e, "'%.64s' is not of the form key=value",
			       assignment);
	memcpy(key, assignment, (size_t)(eq - assignment));
	key[eq - assignment] = '\0';
	if (!*++eq)
		return err_set(e, "%s has no value", key);
	if (!strcmp(key, "dir"))
		return set_dir(conf, eq, e);
	if (!strcmp(key, "criu"))
		return set_path(conf->criu, sizeof(conf->criu), key, eq, "/",
				e);
	if (!strcmp(key, "metrics-dir"))
		return set_path(conf->metrics_dir, sizeof(conf->metrics_dir), key, eq,
				"/", e);
	if (!strcmp(key, "grant"))
		return set_grant(conf, eq, e);
	if (!strcmp(key, "elevate"))
		return set_elevate(&conf->elevate, eq, e);
	if ((names = names_of(conf, key, &size)))
		return set_names(key, eq, names, size, e);
	if (!strcmp(key, "no-new-privs")) {
		if ((choice = set_choice(key, eq, "auto", "always", e)) < 0)
			return -1;
		conf->no_new_privs = choice;
		return 0;
	}
	if (!strcmp(key, "user-dir")) {
		if ((choice = set_choice(key, eq, "yes", "no", e)) < 0)
			return -1;
		conf->user_dir = choice ? USER_DIR_NO : USER_DIR_YES;
		return 0;
	}
	if (!strcmp(key, "keep-max"))
		return set_number(key, eq, 1, KEEP_MAX, &conf->keep_max, e);
	if (is_key(key))
		return set_limit(&conf->limits, key, eq, e);
	return err_set(e, "there is no setting '%s'; the nearest one is '%s'",
		       key, text_nearest(key, keys));
}

static char *trim(char *line)
{
	char *end;

	line[strcspn(line, "#\n")] = '\0';
	while (isspace((unsigned char)*line))
		line++;
	end = line + strlen(line);
	while (end > line && isspace((unsigned char)end[-1]))
		*--end = '\0';
	return line;
}

int conf_read(struct conf *conf, const char *path, struct err *e)
{
	cleanup_free char *text = NULL;
	struct conf new = *conf;
	char *rest, *line;
	unsigned number = 0;

	if (access(path, F_OK) < 0 && errno == ENOENT)
		return 0;
	if (file_read(AT_FDCWD, path, CONF_MAX, &text, e) < 0)
		return -1;
	for (rest = text; (line = strsep(&rest, "\n"));) {
		number++;
		line = trim(line);
		if (*line && conf_set(&new, line, e) < 0)
			return err_context(e, "%s line %u", path, number);
	}
	*conf = new;
	return 0;
}

void conf_dir_fixed(const char *template, char *out, size_t size)
{
	const char *percent = strchr(template, '%');
	size_t n = percent ? (size_t)(percent - template) : strlen(template);

	/* "/scratch/ck-%u" needs /scratch; "/scratch/ck" needs itself. */
	if (percent)
		while (n > 1 && template[n - 1] != '/')
			n--;
	while (n > 1 && template[n - 1] == '/')
		n--;
	snprintf(out, size, "%.*s", (int)n, n ? template : "/");
}

int conf_load(struct conf *conf, int count, char *const words[], struct err *e)
{
	const char *path = SCKPT_CONF;
	bool named = false;
	int rc;

	conf_defaults(conf);
	for (int i = 0; i < count; i++)
		if (!strncmp(words[i], "conf=", 5)) {
			path = words[i] + 5;
			named = true;
		}
	/* Who may have the capability may be said there, and nowhere else. */
	if (named && access(path, F_OK) < 0)
		return err_sys(e, "conf=%s", path);
	rc = conf_read(conf, path, e);
	for (int i = 0; rc == 0 && i < count; i++)
		if (strncmp(words[i], "conf=", 5) &&
		    (rc = conf_set(conf, words[i], e)) < 0)
			err_context(e, "plugstack.conf");
	return rc;
}

int conf_store(const struct conf *conf, const struct text_vars *vars,
	       char *base, size_t base_size, char *fixed, size_t fixed_size,
	       struct err *e)
{
	const char *template = conf->dir;
	char with_user[sizeof(conf->dir) + 8];

	/* What needs to be there before: nothing is made outside a store. */
	if (!strncmp(template, "%h", 2))
		snprintf(fixed, fixed_size, "%s", vars->home);
	else
		conf_dir_fixed(template, fixed, fixed_size);
	if (!strstr(template, "%u") && !strstr(template, "%U") &&
	    !strstr(template, "%h")) {
		snprintf(with_user, sizeof(with_user), "%s/%%u", template);
		template = with_user;
	}
	return text_expand(template, vars, base, base_size, e) < 0 ?
		       err_context(e, "dir=") :
		       0;
}

int conf_user_store(const char *template, const struct text_vars *vars,
		    char *base, size_t base_size, char *fixed,
		    size_t fixed_size, struct err *e)
{
	size_t n;

	if (text_expand(template, vars, base, base_size, e) < 0)
		return err_context(e, "dir=");
	for (n = strlen(base); n > 1 && base[n - 1] == '/'; n--)
		base[n - 1] = '\0';
	while (n > 0 && base[n - 1] != '/')
		n--;
	if (base[0] != '/' || !base[1])
		return err_set(e, "dir=%s: not an absolute path", template);
	snprintf(fixed, fixed_size, "%.*s", n > 1 ? (int)n - 1 : 1, base);
	return 0;
}
