/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The store, with a munged of the test's own. */
#include <dirent.h>
#include <dlfcn.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "images.h"
#include "sckpt/store.h"

/* Read by seal.c. */
extern char seal_socket[108];
char seal_socket[108];

static char top[] = "/tmp/sckpt-unit-XXXXXX";
static struct spec spec = { .cluster = "lab", .step = "batch", .job = 7,
			    .node = "n1" };
static pid_t munged = -1;

/* ---- what the file server does ---------------------------------------------- */

/* It is away for a moment. */
static bool away;

int faccessat(int dir, const char *name, int mode, int flags)
{
	if (!away)
		return (int)syscall(SYS_faccessat2, dir, name, mode, flags);
	errno = ESTALE;
	return -1;
}

/* It has made the link, and its answer does not come: the client asks again. */
static bool answer_is_lost;

int linkat(int from, const char *name, int to, const char *as, int flags)
{
	long rc = syscall(SYS_linkat, from, name, to, as, flags);

	return (int)(rc == 0 && answer_is_lost ?
			     syscall(SYS_linkat, from, name, to, as, flags) : rc);
}

static int made_durable; /* the last descriptor that was */

int fsync(int fd)
{
	made_durable = fd;
	return (int)syscall(SYS_fsync, fd);
}

/* What another process does when a directory has just been read; NULL nothing. */
static void (*meanwhile)(void);

int closedir(DIR *d)
{
	static int (*real)(DIR *d);
	void (*now)(void) = meanwhile;

	if (!real)
		*(void **)&real = dlsym(RTLD_NEXT, "closedir");
	meanwhile = NULL;
	if (now)
		now();
	return real(d);
}

/* ---- around the tests ------------------------------------------------------ */

static void run_munged(void)
{
	static const char *const options[] = { "socket", "key-file", "pid-file",
					       "log-file", "seed-file" };
	char words[5][160], *argv[9] = { (char *)"munged", (char *)"--foreground",
					 (char *)"--force" };

	for (int i = 0; i < 5; i++) {
		snprintf(words[i], sizeof(words[i]), "--%s=%s/munge/%s",
			 options[i], top, options[i]);
		argv[3 + i] = words[i];
	}
	if (!freopen("/dev/null", "w", stderr))
		_exit(1);
	/* One that stayed would keep the pipe open that the results go through. */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	execv("/usr/sbin/munged", argv);
	_exit(1);
}

static int start_munged(void)
{
	char path[160], key[64];
	int fd;

	snprintf(path, sizeof(path), "%s/munge", top);
	if (chmod(top, 0755) < 0 || mkdir(path, 0755) < 0)
		return -1;
	snprintf(seal_socket, sizeof(seal_socket), "%s/munge/socket", top);
	snprintf(path, sizeof(path), "%s/munge/key-file", top);
	fill_random((uint8_t *)key, sizeof(key), (uint64_t)getpid());
	fd = open(path, O_WRONLY | O_CREAT, 0600);
	if (fd < 0 || write(fd, key, sizeof(key)) != sizeof(key))
		return -1;
	close(fd);
	/* In the foreground it is a child, and can be ended. */
	if ((munged = fork()) == 0)
		run_munged();
	for (int i = 0; i < 6000 && munged > 0; i++) {
		char *seal = seal_make("x", 1, NULL);

		free(seal);
		if (seal)
			return 0;
		if (waitpid(munged, NULL, WNOHANG) == munged)
			munged = -1;
		usleep(10000);
	}
	fprintf(stderr, "munged does not start\n");
	return -1;
}

static int setup(void **state)
{
	(void)state;
	if (!mkdtemp(top))
		return -1;
	snprintf(spec.fixed, sizeof(spec.fixed), "%s", top);
	snprintf(spec.base, sizeof(spec.base), "%s/a/b", top);
	return start_munged();
}

static int teardown(void **state)
{
	(void)state;
	if (munged > 0) {
		kill(munged, SIGTERM);
		waitpid(munged, NULL, 0);
	}
	return tree_remove(AT_FDCWD, top, NULL);
}

/* Each begins with an empty step. */
static int fresh(void **state)
{
	static struct store s;
	struct err e;

	if (store_forget(&spec, &e) < 0 || store_open(&spec, true, &s, &e) < 0)
		return -1;
	*state = &s;
	return 0;
}

static int close_it(void **state)
{
	store_close(*state);
	return 0;
}

/* ---- generations -------------------------------------------------------------- */

static const struct image_options options = { .threads = 1, .buffer = 1 << 20,
					      .level = 1 };

static struct manifest some_manifest(int number, int run)
{
	static struct manifest_stream streams[TASK_STREAMS];
	struct manifest m = { .cluster = "lab", .step = "batch", .node = "n1",
			      .kernel = "6.1", .command = "x \"y\"", .job = 7,
			      .uid = geteuid(), .generation = number, .run = run,
			      .criu_version = 40201, .root = 1000,
			      .reason = "preempted",
			      .monotonic = 1234567890123456789 };

	m.streams = streams;
	m.stream_count = TASK_STREAMS;
	for (int i = 0; i < TASK_STREAMS; i++)
		m.streams[i] = (struct manifest_stream){ .output = -1 };
	snprintf(m.streams[1].key, sizeof(m.streams[1].key), "pipe:[12]");
	m.streams[1].output = 1;
	m.streams[1].length = 99;
	return m;
}

static uint8_t memory[64 * IMAGE_PAGE], core[300];
static const struct content contents[] = { { "pages-1.img", memory, sizeof(memory) },
					   { "core-1.img", core, sizeof(core) } };

/* A generation with images, leaning on parent's packs or on none. */
static void publish(const struct store *s, struct generation g,
		    const struct image_set *parent, struct image_set *set)
{
	struct manifest m = some_manifest(g.number, g.run);
	char prefix[GENERATION_NAME_MAX + 1];
	struct err e = { "" };

	generation_name(g, prefix);
	fill_random(memory + (g.number % 64) * IMAGE_PAGE, IMAGE_PAGE,
		    (uint64_t)g.number * 100 + (uint64_t)g.run + 1);
	fill_text(core, sizeof(core), (uint64_t)g.number);
	assert_int_equal(write_set(s->dir, prefix, &options, parent, contents,
				   2, &m.set, &e), 0);
	if (generation_publish(s, &m, &e) < 0)
		fail_msg("%s", e.text);
	if (set) {
		*set = m.set;
		m.set = (struct image_set){ .items = NULL };
	}
	m.streams = NULL;
	manifest_free(&m);
}

static int load(const struct store *s, int number, int run, struct err *e)
{
	struct manifest m;
	int rc = generation_load(s, (struct generation){ number, run },
				 geteuid(), &spec, &m, e);

	if (rc == 0)
		manifest_free(&m);
	return rc;
}

static bool there(const struct store *s, const char *name)
{
	return faccessat(s->dir, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

static void put_file(const struct store *s, const char *name, const char *text)
{
	int fd = openat(s->dir, name, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	assert_int_equal(file_write(fd, text, strlen(text), NULL), 0);
	close(fd);
}

/* "3-1 2-0 1-0" */
static void assert_list(const struct store *s, const char *want)
{
	cleanup_free struct generation *list = NULL;
	struct err e = { "" };
	int count = store_generations(s, &list, &e);
	char have[256] = "";

	assert_true(count >= 0);
	for (int i = 0; i < count; i++) {
		char name[GENERATION_NAME_MAX + 1];

		generation_name(list[i], name);
		strcat(have, i ? " " : "");
		strcat(have, name);
	}
	assert_string_equal(have, want);
}

static void manifest_goes_there_and_back(void **state)
{
	const struct store *s = *state;
	struct manifest_process p[] = { { 1000, 1, 4096, "sh", (char *)"sh -c 'a\nb\xff'", NULL },
					{ 1001, 1000, 0, "x", NULL, (char *)"/a\n/b" } };
	struct manifest_request said[] = { { (char *)"cmd=init\n", 9 },
					   { (char *)"\0\xff\"", 3 } };
	struct manifest_pmi pmi = { .task = 0, .key = "socket:[7]", .waits = true,
				    .said = said, .count = 2 };
	struct manifest m = some_manifest(1, 3), back;
	struct err e = { "" };

	m.pmi = &pmi;
	m.pmi_count = 1;
	m.processes = p;
	m.process_count = 2;
	m.parent = 0;
	assert_int_equal(write_set(s->dir, "1-3", &options, NULL, contents, 2,
				   &m.set, &e), 0);
	assert_int_equal(generation_publish(s, &m, &e), 0);
	assert_list(s, "1-3");
	assert_int_equal(generation_load(s, (struct generation){ 1, 3 }, geteuid(),
					 &spec, &back, &e), 0);
	assert_int_equal(back.generation, 1);
	assert_int_equal(back.run, 3);
	assert_int_equal(back.monotonic, 1234567890123456789);
	assert_string_equal(back.command, "x \"y\"");
	assert_string_equal(back.streams[1].key, "pipe:[12]");
	assert_int_equal(back.streams[1].length, 99);
	assert_int_equal(back.streams[0].output, -1);
	assert_int_equal(back.stream_count, 3);
	assert_int_equal(back.pmi_count, 1);
	assert_true(back.pmi[0].waits);
	assert_string_equal(back.pmi[0].key, "socket:[7]");
	assert_int_equal(back.pmi[0].count, 2);
	assert_int_equal(back.pmi[0].said[1].size, 3);
	assert_memory_equal(back.pmi[0].said[1].text, "\0\xff\"", 3);
	assert_int_equal(back.process_count, 2);
	assert_string_equal(back.processes[0].command, "sh -c 'a\nb?'");
	assert_string_equal(back.processes[1].files, "/a\n/b");
	assert_int_equal(back.set.item_count, 2);
	assert_int_equal(back.set.pack_count, m.set.pack_count);
	assert_memory_equal(back.set.items[0].sha256, m.set.items[0].sha256, IMAGE_SHA256);
	assert_memory_equal(back.set.packs[0].sha256, m.set.packs[0].sha256, IMAGE_SHA256);
	assert_memory_equal(back.set.seed, m.set.seed, IMAGE_SEED);
	assert_int_equal(read_set(s->dir, &back.set, &options, contents, 2, &e), 0);
	/* Of another job, of another user. */
	struct spec other = spec;
	struct manifest none;
	other.job = 8;
	assert_int_equal(generation_load(s, (struct generation){ 1, 3 }, geteuid(),
					 &other, &none, &e), -1);
	says(e, "it is of job 7.batch");
	assert_int_equal(generation_load(s, (struct generation){ 1, 3 },
					 geteuid() + 1, NULL, &none, &e), -1);
	says(e, "was sealed by user id");
	/* Not twice under one name; and the first stays whole. */
	assert_int_equal(generation_publish(s, &m, &e), -1);
	assert_int_equal(load(s, 1, 3, &e), 0);
	image_set_free(&m.set);
	manifest_free(&back);
}

static void files_of_the_program(void **state)
{
	const struct store *s = *state;
	struct manifest_file f[3] = {
		{ (char *)"/a b%\n\xff", 7, 123456, 1, 0644, 0, true, false, 2, true, true, true, 99, { 1, 2 }, "" },
		{ (char *)"/db", 8, 5, 2, 0600, 0, false, true, 0, false, false, false, 5, { 3 }, "" },
		{ (char *)"/db2", 8, 5, 2, S_IFREG | 0600, 2, false, true, 0, false, false, false, 0, { 0 }, "" },
	};
	struct manifest m = some_manifest(1, 3), back;
	struct err e = { "" };
	char path[1500], next[IMAGE_FILE_MAX + 1];
	cleanup_fd int fd = -1;
	struct stat st;
	char *json, *at;

	put_file(s, "db", "12345");
	snprintf(path, sizeof(path), "%s/db", s->path);
	fd = open(path, O_RDONLY);
	assert_int_equal(generation_take_file(s, (struct generation){ 1, 3 }, 1, fd,
					      5, NULL, f[1].copy, &e), 0);
	assert_string_equal(f[1].copy, "1-3.1.file");
	m.files = f;
	m.file_count = 3;
	m.ended = true;
	m.origin = 4711;
	assert_int_equal(write_set(s->dir, "1-3", &options, NULL, contents, 2,
				   &m.set, &e), 0);
	assert_int_equal(generation_publish(s, &m, &e), 0);
	assert_int_equal(generation_load(s, (struct generation){ 1, 3 }, geteuid(),
					 &spec, &back, &e), 0);
	assert_true(back.ended);
	assert_int_equal(back.origin, 4711);
	assert_int_equal(back.file_count, 3);
	for (int i = 0; i < 3; i++) {
		struct manifest_file *b = &back.files[i];

		assert_string_equal(b->path, f[i].path);
		assert_int_equal(b->inode, f[i].inode);
		assert_int_equal(b->size, f[i].size);
		assert_int_equal(b->mtime_ns, f[i].mtime_ns);
		assert_int_equal(b->mode, f[i].mode);
		assert_int_equal(b->name_of, f[i].name_of);
		assert_int_equal(b->local, f[i].local);
		assert_int_equal(b->stream, f[i].stream);
		assert_int_equal(b->appended, f[i].appended);
		assert_int_equal(b->append_mode, f[i].append_mode);
		assert_int_equal(b->shared, f[i].shared);
		assert_int_equal(b->digested, f[i].digested);
		assert_memory_equal(b->sha256, f[i].sha256, IMAGE_SHA256);
		assert_string_equal(b->copy, f[i].copy);
	}
	/* The next generation shares it; it goes with the last that has it. */
	assert_int_equal(generation_take_file(s, (struct generation){ 2, 3 }, 0, -1,
					      5, f[1].copy, next, &e), 0);
	assert_int_equal(fstatat(s->dir, next, &st, 0), 0);
	assert_int_equal(st.st_nlink, 2);
	assert_int_equal(store_next(s, 3, &e), 2);
	assert_false(there(s, next));
	assert_true(there(s, "1-3.1.file"));
	publish(s, (struct generation){ 2, 3 }, NULL, NULL);
	assert_int_equal(generation_remove(s, (struct generation){ 1, 3 }, &e), 0);
	assert_false(there(s, "1-3.1.file"));
	/* Manifests that lie. */
	json = manifest_text(&back, &e);
	manifest_free(&back);
	assert_non_null(at = strstr(json, "\"\\/db\""));
	memcpy(at, "\"db0\"", 5);
	at[5] = ' ';
	assert_int_equal(manifest_parse(json, &back, &e), -1);
	says(e, "'files' makes no sense");
	free(json);
	image_set_free(&m.set);
}

/* It would count, and push out those that can be read. */
static void what_could_not_be_read_again(void **state)
{
	struct manifest_process process = { .pid = 1000, .name = "x" };
	struct manifest_pmi pmi = { .key = "socket:[7]", .count = MANIFEST_REQUESTS_MAX + 1 };
	struct manifest m = some_manifest(2, 0);
	const struct store *s = *state;
	struct err e = { "" };

	publish(s, (struct generation){ 1, 0 }, NULL, NULL);
	assert_int_equal(write_set(s->dir, "2-0", &options, NULL, contents, 2,
				   &m.set, &e), 0);
	pmi.said = calloc(pmi.count, sizeof(*pmi.said));
	for (size_t i = 0; i < pmi.count; i++)
		pmi.said[i] = (struct manifest_request){ (char *)"x", 1 };
	m.pmi = &pmi;
	m.pmi_count = 1;
	assert_int_equal(generation_publish(s, &m, &e), -1);
	says(e, "it could not be read again: the manifest's 'pmi' makes no sense");
	m.pmi_count = 0;
	process.command = malloc((64 << 20) + 1);
	memset(process.command, 'x', 64 << 20);
	process.command[64 << 20] = '\0';
	m.processes = &process;
	m.process_count = 1;
	assert_int_equal(generation_publish(s, &m, &e), -1);
	says(e, "its manifest would be larger than 64 MiB");
	assert_list(s, "1-0");
	m.process_count = 0;
	assert_int_equal(generation_publish(s, &m, &e), 0);
	assert_list(s, "2-0 1-0");
	free(process.command);
	free(pmi.said);
	image_set_free(&m.set);
}

/* Of a part of a set it is known when the set is whole. */
static void ended_is_said_later(void **state)
{
	const struct store *s = *state;
	const struct generation g = { 1, 0 };
	struct err e = { "" };
	struct manifest m;

	publish(s, g, NULL, NULL);
	publish(s, (struct generation){ 2, 0 }, NULL, NULL);
	assert_int_equal(generation_load(s, g, geteuid(), &spec, &m, &e), 0);
	assert_false(m.ended);
	manifest_free(&m);
	generation_mark_ended(s, g);
	assert_int_equal(generation_load(s, g, geteuid(), &spec, &m, &e), 0);
	assert_true(m.ended);
	manifest_free(&m);
	/* It stays and goes with it. */
	assert_int_equal(store_sweep(s, &e), 0);
	assert_true(there(s, "1-0.ended"));
	assert_int_equal(generation_remove(s, g, &e), 0);
	assert_false(there(s, "1-0.ended"));
}

static void who_ran(void **state)
{
	const struct store *s = *state;
	struct err e = { "" };

	assert_int_equal(store_ran_between(s, 0, 9, &e), 0);
	assert_int_equal(store_mark_ran(s, 3, &e), 0);
	assert_int_equal(made_durable, s->dir);
	assert_int_equal(store_mark_ran(s, 3, &e), 0);
	assert_int_equal(store_ran_between(s, 2, 4, &e), 1);
	assert_int_equal(store_ran_between(s, 3, 4, &e), 0);
	assert_int_equal(store_ran_between(s, 0, 3, &e), 0);
}

static void a_link_that_is_asked_for_twice(void **state)
{
	const struct store *s = *state;
	struct err e = { "" };

	answer_is_lost = true;
	publish(s, (struct generation){ 1, 0 }, NULL, NULL);
	assert_int_equal(store_claim(s, 1, "n1", &e), 0);
	/* And another one's is another one's. */
	assert_int_equal(store_claim(s, 1, "n2", &e), 1);
	answer_is_lost = false;
	assert_int_equal(load(s, 1, 0, &e), 0);
}

static void seal_is_of_one_text_and_one_user(void **state)
{
	const struct store *s = *state;
	cleanup_free char *text = NULL, *seal = NULL;
	struct err e = { "" };
	ssize_t size, seal_size;

	publish(s, (struct generation){ 1, 0 }, NULL, NULL);
	publish(s, (struct generation){ 2, 0 }, NULL, NULL);
	/* Sealed again and again: expired or seen before, it stays authentic. */
	assert_int_equal(load(s, 1, 0, &e), 0);
	sleep(2);
	assert_int_equal(load(s, 1, 0, &e), 0);
	/* One for the other's, both, none. */
	assert_int_equal(renameat(s->dir, "1-0.seal", s->dir, "1.seal"), 0);
	assert_int_equal(load(s, 1, 0, &e), -1);
	says(e, "its seal is missing");
	assert_int_equal(linkat(s->dir, "2-0.seal", s->dir, "1-0.seal", 0), 0);
	assert_int_equal(load(s, 1, 0, &e), -1);
	says(e, "changed after it was sealed");
	renameat(s->dir, "1-0.json", s->dir, "1.json");
	assert_int_equal(linkat(s->dir, "2-0.json", s->dir, "1-0.json", 0), 0);
	assert_int_equal(load(s, 1, 0, &e), -1);
	says(e, "its manifest is that of generation 2 of run 0");
	assert_int_equal(renameat(s->dir, "1.json", s->dir, "1-0.json"), 0);
	assert_int_equal(renameat(s->dir, "1.seal", s->dir, "1-0.seal"), 0);
	assert_int_equal(load(s, 1, 0, &e), 0);
	/* Every byte of both counts. */
	size = file_read(s->dir, "1-0.json", 1 << 20, &text, &e);
	for (ssize_t i = 0; i < size; i += 3) {
		char was = text[i];

		text[i] ^= 1;
		put_file(s, "1-0.json", text);
		assert_int_equal(load(s, 1, 0, &e), -1);
		text[i] = was;
	}
	for (ssize_t i = 0; i < size; i += 17) {
		cleanup_free char *half = strndup(text, (size_t)i);

		put_file(s, "1-0.json", half);
		assert_int_equal(load(s, 1, 0, &e), -1);
	}
	put_file(s, "1-0.json", text);
	seal_size = file_read(s->dir, "1-0.seal", 1 << 20, &seal, &e);
	for (ssize_t i = 0; i < seal_size; i++)
		for (int bit = 0; bit < 8; bit++) {
			char was = seal[i];

			seal[i] = (char)(was ^ (1 << bit));
			put_file(s, "1-0.seal", seal);
			*e.text = '\0';
			if (load(s, 1, 0, &e) == 0)
				fail_msg("bit %d of byte %zd of the seal (of %zd) can be flipped", bit, i, seal_size);
			assert_true(*e.text);
			seal[i] = was;
		}
	/* Longer than it was. */
	{
		cleanup_free char *longer = NULL;

		assert_true(asprintf(&longer, "%sx", seal) > 0);
		put_file(s, "1-0.seal", longer);
		assert_int_equal(load(s, 1, 0, &e), -1);
		says(e, "its seal is damaged");
	}
	put_file(s, "1-0.seal", seal);
	assert_int_equal(load(s, 1, 0, &e), 0);
}

/* What another user sealed is not ours, whatever it says. */
static void seal_of_another_user(void **state)
{
	const struct store *s = *state;
	cleanup_free char *text = NULL;
	struct err e = { "" };
	char seal[4096] = "";
	int p[2], status;
	ssize_t size;
	pid_t child;

	if (geteuid())
		skip();
	publish(s, (struct generation){ 1, 0 }, NULL, NULL);
	size = file_read(s->dir, "1-0.json", 1 << 20, &text, &e);
	assert_int_equal(pipe(p), 0);
	if ((child = fork()) == 0) {
		char *made = setresuid(65534, 65534, 65534) == 0 ?
				     seal_make(text, (size_t)size, NULL) :
				     NULL;
		size_t n = made ? strlen(made) : 0;

		_exit(n && write(p[1], made, n) == (ssize_t)n ? 0 : 1);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	assert_true(read(p[0], seal, sizeof(seal) - 1) > 0);
	close(p[0]);
	close(p[1]);
	put_file(s, "1-0.seal", seal);
	assert_int_equal(load(s, 1, 0, &e), -1);
	says(e, "it was sealed by user id 65534, and is to be of 0");
}

static void seal_needs_munged(void **state)
{
	const struct store *s = *state;
	struct manifest m = some_manifest(2, 0);
	char was[sizeof(seal_socket)];
	struct err e = { "" };

	publish(s, (struct generation){ 1, 0 }, NULL, &m.set);
	memcpy(was, seal_socket, sizeof(was));
	snprintf(seal_socket, sizeof(seal_socket), "%s/none", top);
	assert_int_equal(load(s, 1, 0, &e), -1);
	says(e, "is munge running on this node?");
	assert_int_equal(generation_publish(s, &m, &e), -1);
	says(e, "is munge running on this node?");
	memcpy(seal_socket, was, sizeof(was));
	assert_list(s, "1-0");
	assert_false(there(s, "2-0.json"));
	image_set_free(&m.set);
}

static void newest_first(void **state)
{
	static const char *const others[] = { "1-0.pack", "x.json", "01x-0.json",
					      "0-0.json", "3-.json", "-1-0.json",
					      "3-1.json.part", "99999999999-0.json",
					      "4--1.json", "5-0.jsonx" };
	const struct store *s = *state;

	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		put_file(s, others[i], "{}");
	assert_list(s, "");
	put_file(s, "2-0.json", "{}");
	put_file(s, "10-1.json", "{}");
	put_file(s, "1-0.json", "{}");
	put_file(s, "2-3.json", "{}");
	assert_list(s, "10-1 2-3 2-0 1-0");
}

static void a_newer_format_is_refused(void **state)
{
	char text[32], sentence[80];
	struct manifest m;
	struct err e = { "" };

	(void)state;
	snprintf(text, sizeof(text), "{\"format\": %d}", MANIFEST_FORMAT + 1);
	snprintf(sentence, sizeof(sentence),
		 "has format %d, and this sckpt reads format %d",
		 MANIFEST_FORMAT + 1, MANIFEST_FORMAT);
	assert_int_equal(manifest_parse(text, &m, &e), -1);
	says(e, sentence);
	assert_int_equal(manifest_parse("{}", &m, &e), -1);
	assert_int_equal(manifest_parse("[", &m, &e), -1);
	assert_int_equal(manifest_parse("", &m, &e), -1);
	assert_int_equal(manifest_parse("null", &m, &e), -1);
}

static void what_a_manifest_may_lack(void **state)
{
	struct manifest m = some_manifest(1, 0), back;
	struct manifest_process p = { 1000, 1, 4096, "sh", NULL, NULL };
	struct manifest_mount mount = { (char *)"/a b", (char *)"/a b/%", "nfs4",
					"server:/export" };
	struct err e = { "" };
	cleanup_free char *text = NULL;
	char *at;

	(void)state;
	snprintf(m.set.meta, sizeof(m.set.meta), "1-0.meta");
	m.processes = &p;
	m.process_count = 1;
	m.mounts = &mount;
	m.mount_count = 1;
	m.memory = 1 << 20;
	m.threads = 3;
	m.highest_pid = 1004;
	snprintf(m.groups, sizeof(m.groups), "1001 2001");
	text = manifest_text(&m, &e);
	assert_int_equal(manifest_parse(text, &back, &e), 0);
	assert_int_equal(back.memory, 1 << 20);
	assert_int_equal(back.threads, 3);
	assert_int_equal(back.highest_pid, 1004);
	assert_string_equal(back.groups, "1001 2001");
	assert_int_equal(back.mount_count, 1);
	assert_string_equal(back.mounts[0].point, "/a b");
	assert_string_equal(back.mounts[0].path, "/a b/%");
	assert_string_equal(back.mounts[0].source, "server:/export");
	manifest_free(&back);
	/* What older builds wrote. */
	at = strstr(text, "\"mounts\"");
	assert_non_null(at);
	at[1] = 'M';
	assert_int_equal(manifest_parse(text, &back, &e), 0);
	assert_int_equal(back.memory, 0);
	assert_int_equal(back.mount_count, 0);
	manifest_free(&back);
	at[1] = 'm';
	/* One that lies. */
	at = strstr(text, "\"\\/a%20b\"");
	assert_non_null(at);
	memcpy(at, "\"aa", 3);
	assert_int_equal(manifest_parse(text, &back, &e), -1);
	says(e, "'mounts' makes no sense");
	memcpy(at, "\"\\/", 3);
	at = strstr(text, "\"command\": \"\", ");
	assert_non_null(at);
	memcpy(at, "\"command\":null,", 15);
	assert_int_equal(manifest_parse(text, &back, &e), 0);
	manifest_free(&back);
}

/* ---- claims ----------------------------------------------------------------------- */

static void one_claimant(void **state)
{
	const struct store *s = *state;
	struct err e = { "" };
	char node[256];

	assert_int_equal(store_superseded(s, 0, node, &e), 0);
	assert_int_equal(store_claim(s, 0, "n1", &e), 0);
	assert_int_equal(store_superseded(s, 0, node, &e), 0);
	assert_int_equal(store_claim(s, 0, "n2", &e), 1);
	says(e, "has been taken over already, on n1: two copies");
	assert_int_equal(store_claim(s, 2, "n2", &e), 0);
	assert_int_equal(store_superseded(s, 1, node, &e), 1);
	assert_string_equal(node, "n2");
	/* An earlier one that comes late. */
	assert_int_equal(store_claim(s, 1, "n3", &e), 1);
	says(e, "a later run of this step has begun on n2");
	assert_int_equal(store_claim(s, 0, "n3", &e), 1);
	/* A claim that cannot be read is one. */
	put_file(s, "claim.2", "{\"node\": null");
	assert_int_equal(store_claim(s, 2, "n3", &e), 1);
	says(e, "on another node");
	put_file(s, "claim.2", "{\"node\": null, \"base\": 0}");
	assert_int_equal(store_claim(s, 2, "n3", &e), 1);
	assert_false(there(s, ".claim.2.part"));
}

static void late_writers_do_not_count(void **state)
{
	const struct store *s = *state;
	struct manifest m = some_manifest(3, 0);
	struct err e = { "" };

	assert_int_equal(store_claim(s, 0, "n1", &e), 0);
	publish(s, (struct generation){ 1, 0 }, NULL, NULL);
	publish(s, (struct generation){ 2, 0 }, NULL, NULL);
	assert_int_equal(store_claim(s, 1, "n2", &e), 0);
	/* n1 was only thought dead. */
	assert_int_equal(write_set(s->dir, "3-0", &options, NULL, contents, 2, &m.set, &e), 0);
	assert_int_equal(generation_publish(s, &m, &e), -1);
	says(e, "the job goes on on n2 since");
	assert_false(there(s, "3-0.json"));
	assert_false(there(s, "3-0.seal"));
	/* It had its name before it looked again: readers leave it out. */
	put_file(s, "3-0.json", "{}");
	assert_list(s, "2-0 1-0");
	publish(s, (struct generation){ 4, 1 }, NULL, NULL);
	assert_list(s, "4-1 2-0 1-0");
	m.streams = NULL;
	manifest_free(&m);
}

/* It is told before it has written anything. */
static void who_is_superseded_may_not_save(void **state)
{
	const struct store *s = *state;
	struct err e = { "" };

	assert_int_equal(store_may_save(s, 0, &e), 0);
	assert_int_equal(store_claim(s, 0, "n1", &e), 0);
	assert_int_equal(store_may_save(s, 0, &e), 0);
	assert_int_equal(store_claim(s, 1, "n2", &e), 0);
	assert_int_equal(store_may_save(s, 1, &e), 0);
	assert_int_equal(store_may_save(s, 0, &e), 1);
	says(e, "the job goes on on n2 since: this run may not save any more");
}

static void next_removes_what_is_unfinished(void **state)
{
	static const char *const dead[] = { "3-0.0.pack", "3-0.meta", "3-0.seal",
					    "5-0.1.pack", ".3-0.json.00ff.part",
					    ".1-0.output.1.part" };
	static const char *const kept[] = { "1-0.0.pack", "2-0.json", "2-0.0.pack",
					    "4-1.0.pack", ".4-1.json.00ff.part",
					    "output.1", "claim.0" };
	const struct store *s = *state;
	struct err e = { "" };

	assert_int_equal(store_next(s, 0, &e), 1);
	for (size_t i = 0; i < sizeof(dead) / sizeof(dead[0]); i++)
		put_file(s, dead[i], "{}");
	for (size_t i = 0; i < sizeof(kept) / sizeof(kept[0]); i++)
		put_file(s, kept[i], "{}");
	/* A later run is at work on 4; an earlier one that does not know leaves
	 * all of that alone. */
	assert_int_equal(store_next(s, 0, &e), 5);
	for (size_t i = 0; i < sizeof(dead) / sizeof(dead[0]); i++)
		assert_false(there(s, dead[i]));
	for (size_t i = 0; i < sizeof(kept) / sizeof(kept[0]); i++)
		if (!there(s, kept[i]))
			fail_msg("%s is gone", kept[i]);
	/* The later one takes its own, and earlier ones'. */
	assert_int_equal(store_next(s, 1, &e), 3);
	assert_false(there(s, "4-1.0.pack"));
	assert_false(there(s, ".4-1.json.00ff.part"));
}

/* ---- retention --------------------------------------------------------------------- */

static void keeps_the_newest(void **state)
{
	const struct store *s = *state;
	struct err e = { "" };

	for (int i = 1; i <= 4; i++)
		publish(s, (struct generation){ i, 0 }, NULL, NULL);
	assert_int_equal(store_retain(s, 2, 0, NULL, &e), 0);
	assert_list(s, "4-0 3-0");
	assert_false(there(s, "2-0.0.pack"));
	assert_false(there(s, "2-0.seal"));
	/* Run 1 could not restore 4, and went on from 3: both stay until there
	 * are two that can be restored. */
	assert_int_equal(store_claim(s, 1, "n2", &e), 0);
	const struct generation three = { 3, 0 };
	assert_int_equal(store_retain(s, 2, 1, &three, &e), 0);
	assert_list(s, "4-0 3-0");
	publish(s, (struct generation){ 5, 1 }, NULL, NULL);
	assert_int_equal(store_retain(s, 2, 1, &three, &e), 0);
	assert_list(s, "5-1 4-0 3-0");
	publish(s, (struct generation){ 6, 1 }, NULL, NULL);
	assert_int_equal(store_retain(s, 2, 1, &three, &e), 0);
	assert_list(s, "6-1 5-1");
	assert_int_equal(load(s, 5, 1, &e), 0);
}

/* ---- a step on three nodes -------------------------------------------------------- */

static void open_parts(const struct store *first, struct store part[3])
{
	struct err e;

	part[0] = *first;
	assert_int_equal(store_note_nodes(first, 3, &e), 0);
	for (int i = 1; i < 3; i++)
		assert_int_equal(part_open(first, i, true, &part[i], &e), 0);
}

static void close_parts(struct store part[3])
{
	store_close(&part[1]);
	store_close(&part[2]);
}

static void a_set_counts_when_all_have_it(void **state)
{
	struct store *s = *state, part[3];
	struct err e;

	assert_int_equal(store_nodes(s), 1);
	open_parts(s, part);
	assert_int_equal(store_nodes(s), 3);
	for (int i = 0; i < 3; i++)
		publish(&part[i], (struct generation){ 1, 0 }, NULL, NULL);
	assert_list(s, "1-0");
	publish(&part[0], (struct generation){ 2, 0 }, NULL, NULL);
	publish(&part[2], (struct generation){ 2, 0 }, NULL, NULL);
	assert_list(s, "1-0");
	/* A number that any of them has used is not given again. */
	assert_int_equal(store_next(s, 0, &e), 3);
	publish(&part[1], (struct generation){ 2, 0 }, NULL, NULL);
	assert_list(s, "2-0 1-0");
	/* What one of them published too late does not count for any. */
	assert_int_equal(store_claim(&part[1], 1, "n9", &e), 0);
	for (int i = 0; i < 3; i++)
		publish(&part[i], (struct generation){ 3 + i % 2, 1 }, NULL, NULL);
	assert_list(s, "2-0 1-0");
	close_parts(part);
}

static void a_set_is_removed_whole(void **state)
{
	struct store *s = *state, part[3];
	struct err e;

	open_parts(s, part);
	for (int n = 1; n <= 3; n++)
		for (int i = 0; i < 3; i++)
			publish(&part[i], (struct generation){ n, 0 }, NULL, NULL);
	publish(&part[0], (struct generation){ 4, 0 }, NULL, NULL);
	publish(&part[1], (struct generation){ 5, 0 }, NULL, NULL);
	/* Of sets that are not complete none counts towards what is kept, and none
	 * pushes out one that is. */
	assert_int_equal(store_retain(s, 2, 0, NULL, &e), 0);
	assert_list(s, "3-0 2-0");
	assert_true(there(s, "4-0.json"));
	assert_int_equal(store_retain_parts(s, &e), 0);
	assert_false(there(s, "4-0.json"));
	for (int i = 1; i < 3; i++)
		assert_int_equal(part_retain(&part[i], s, &e), 0);
	assert_false(there(&part[1], "5-0.json"));
	assert_false(there(&part[1], "1-0.json"));
	assert_false(there(&part[2], "1-0.0.pack"));
	assert_list(s, "3-0 2-0");
	assert_int_equal(generation_remove(s, (struct generation){ 3, 0 }, &e), 0);
	assert_false(there(&part[2], "3-0.json"));
	assert_list(s, "2-0");
	close_parts(part);
}

/* What cannot be looked at is not gone: nothing is removed, and no set is thought to be
 * whole, or not to be. */
static void what_cannot_be_told(void **state)
{
	cleanup_free struct generation *list = NULL, *again = NULL;
	struct store *s = *state, part[3];
	struct err e;
	char path[1500];

	open_parts(s, part);
	for (int i = 0; i < 3; i++)
		publish(&part[i], (struct generation){ 1, 0 }, NULL, NULL);
	away = true;
	assert_int_equal(part_retain(&part[1], s, &e), -1);
	says(e, strerror(ESTALE));
	assert_int_equal(store_sweep(s, &e), -1);
	says(e, strerror(ESTALE));
	assert_true(part_claimed(s, 1, 5));
	away = false;
	assert_false(part_claimed(s, 1, 5));
	assert_true(there(&part[1], "1-0.json"));
	assert_true(there(s, "1-0.seal"));
	close_parts(part);
	/* Another node's part: open to others, then no directory. */
	snprintf(path, sizeof(path), "%s/node.1", s->path);
	errno = ENOENT;
	assert_int_equal(chmod(path, 0755), 0);
	assert_int_equal(store_generations(s, &list, &e), -1);
	says(e, "node 1 of the step: directory node.1 is open to others");
	assert_int_equal(store_retain_parts(s, &e), -1);
	assert_int_equal(chmod(path, 0700), 0);
	assert_int_equal(renameat(s->dir, "node.1", s->dir, "away"), 0);
	assert_int_equal(store_retain(s, 1, 0, NULL, &e), 0);
	put_file(s, "node.1", "");
	assert_int_equal(store_retain_parts(s, &e), -1);
	says(e, strerror(ENOTDIR));
	assert_true(there(s, "1-0.json"));
	unlinkat(s->dir, "node.1", 0);
	assert_int_equal(renameat(s->dir, "away", s->dir, "node.1"), 0);
	/* How many there are. */
	assert_int_equal(unlinkat(s->dir, "nodes", 0), 0);
	assert_int_equal(mkdirat(s->dir, "nodes", 0700), 0);
	assert_int_equal(store_nodes(s), -1);
	assert_int_equal(store_generations(s, &again, &e), -1);
	says(e, "cannot tell how many nodes");
	assert_int_equal(generation_remove(s, (struct generation){ 1, 0 }, &e), -1);
	assert_int_equal(unlinkat(s->dir, "nodes", AT_REMOVEDIR), 0);
	put_file(s, "nodes", "");
	assert_int_equal(store_nodes(s), -1);
	put_file(s, "nodes", "3\n");
	assert_list(s, "1-0");
}

static void a_part_is_of_its_node(void **state)
{
	struct store *s = *state, part[3];
	struct spec other = spec;
	struct manifest m;
	struct err e;

	open_parts(s, part);
	for (int i = 0; i < 3; i++)
		publish(&part[i], (struct generation){ 1, 0 }, NULL, NULL);
	/* All of them say that they are the first's. */
	assert_int_equal(load(s, 1, 0, &e), 0);
	other.part = 2;
	assert_int_equal(generation_load(&part[2], (struct generation){ 1, 0 },
					 geteuid(), &other, &m, &e), -1);
	assert_non_null(strstr(e.text, "of node 0 of the step, not of node 2"));
	close_parts(part);
}

static void nodes_talk(void **state)
{
	const struct set_order told = { .launch = 5, .run = 2, .number = 7, .word = SET_DUMP,
					.generation = { 5, 2 }, .end = true,
					.reason = "preemption", .text = "\"x\"\n" };
	const struct set_answer said = { .run = 2, .number = 7,
					 .state = SET_REFUSED, .elsewhere = true,
					 .over = true, .status = 256, .stored = 9,
					 .node = "n3", .text = "no room" };
	struct store *s = *state, part[3];
	struct spec other = spec;
	struct set_answer a;
	struct set_order o;
	struct err e;

	other.part = 2;
	assert_int_equal(set_order_read(&other, &o, &e), 0);
	open_parts(s, part);
	assert_int_equal(set_answer_read(s, 2, &a, &e), 0);
	assert_int_equal(set_order_write(s, &told, &e), 0);
	assert_int_equal(set_answer_write(&part[2], &said, &e), 0);
	/* The others read the first one's, whichever they are. */
	assert_int_equal(set_order_read(&other, &o, &e), 0); /* of another launch */
	other.launch = 5;
	assert_int_equal(set_order_read(&other, &o, &e), 1);
	assert_memory_equal(&o.generation, &told.generation, sizeof(o.generation));
	assert_int_equal(o.word, SET_DUMP);
	assert_true(o.end && o.run == 2 && o.number == 7 && !o.resume);
	assert_string_equal(o.reason, told.reason);
	assert_string_equal(o.text, told.text);
	assert_int_equal(set_answer_read(s, 2, &a, &e), 1);
	assert_true(a.state == SET_REFUSED && a.elsewhere && a.over &&
		    a.status == 256 && a.stored == 9);
	assert_string_equal(a.text, "no room");
	put_file(s, "order", "{ \"run\": 2 }");
	assert_int_equal(set_order_read(&other, &o, &e), -1);
	put_file(&part[2], "answer", "{");
	assert_int_equal(set_answer_read(s, 2, &a, &e), -1);
	close_parts(part);
}

static void shared_packs_stay(void **state)
{
	const struct store *s = *state;
	struct image_set one, two, three;
	struct err e = { "" };

	fill_random(memory, sizeof(memory), 42);
	publish(s, (struct generation){ 1, 0 }, NULL, &one);
	publish(s, (struct generation){ 2, 0 }, &one, &two);
	publish(s, (struct generation){ 3, 0 }, &two, &three);
	assert_int_equal(two.pack_count, 2);
	assert_int_equal(three.pack_count, 3);
	assert_int_equal(generation_remove(s, (struct generation){ 2, 0 }, &e), 0);
	assert_list(s, "3-0 1-0");
	assert_false(there(s, "2-0.meta"));
	assert_true(there(s, "2-0.0.pack"));
	assert_int_equal(read_set(s->dir, &three, &options, contents, 2, &e), 0);
	assert_int_equal(generation_remove(s, (struct generation){ 1, 0 }, &e), 0);
	assert_true(there(s, "1-0.0.pack"));
	assert_int_equal(read_set(s->dir, &three, &options, contents, 2, &e), 0);
	/* Killed between the manifest and the rest: the next sweep takes it. */
	publish(s, (struct generation){ 4, 0 }, NULL, NULL);
	assert_int_equal(unlinkat(s->dir, "3-0.json", 0), 0);
	put_file(s, "5-0.0.pack", "being written");
	assert_int_equal(store_sweep(s, &e), 0);
	assert_false(there(s, "1-0.0.pack"));
	assert_false(there(s, "3-0.meta"));
	assert_false(there(s, "3-0.seal"));
	assert_true(there(s, "4-0.0.pack"));
	assert_true(there(s, "5-0.0.pack"));
	assert_int_equal(load(s, 4, 0, &e), 0);
	/* What a manifest needs that cannot be read is not known. */
	publish(s, (struct generation){ 6, 0 }, NULL, NULL);
	put_file(s, "4-0.json", "{ damaged");
	assert_int_equal(unlinkat(s->dir, "6-0.json", 0), 0);
	assert_int_equal(store_sweep(s, &e), -1);
	says(e, "generation 4");
	assert_true(there(s, "6-0.0.pack"));
	assert_true(there(s, "4-0.0.pack"));
	image_set_free(&one);
	image_set_free(&two);
	image_set_free(&three);
}

static const struct store *shared;
static struct manifest unpublished;

static void publish_it(void)
{
	struct err e = { "" };

	assert_int_equal(generation_publish(shared, &unpublished, &e), 0);
}

/* It leans on a generation whose removal has begun, and which was not the newest: that one
 * could not be restored. */
static void published_while_another_is_removed(void **state)
{
	struct image_set first;
	struct err e = { "" };

	shared = *state;
	publish(shared, (struct generation){ 1, 0 }, NULL, &first);
	publish(shared, (struct generation){ 2, 0 }, NULL, NULL);
	unpublished = some_manifest(3, 1);
	assert_int_equal(write_set(shared->dir, "3-1", &options, &first, contents, 2,
				   &unpublished.set, &e), 0);
	meanwhile = publish_it;
	assert_int_equal(generation_remove(shared, (struct generation){ 1, 0 }, &e), 0);
	assert_null(meanwhile);
	assert_list(shared, "3-1 2-0");
	assert_int_equal(read_set(shared->dir, &unpublished.set, &options, contents, 2, &e), 0);
	image_set_free(&unpublished.set);
	image_set_free(&first);
}

static void quota_and_room(void **state)
{
	const struct store *s = *state;
	struct spec mine = spec;
	struct err e = { "" };
	uint64_t limit, bytes;

	publish(s, (struct generation){ 1, 0 }, NULL, NULL);
	assert_int_equal(store_size(&spec, &bytes, &e), 0);
	assert_true(bytes >= sizeof(memory) / 2 && bytes < 4 << 20);
	assert_int_equal(store_room(&mine, s, 1, &limit, &e), 0);
	assert_int_equal(limit, 0);
	mine.limits.quota = bytes + 1000000;
	assert_int_equal(store_room(&mine, s, 1, &limit, &e), 0);
	assert_int_equal(limit, 1000000);
	mine.limits.quota = bytes;
	assert_int_equal(store_room(&mine, s, 1, &limit, &e), -1);
	says(e, "and the quota is");
	mine.limits.quota = 0;
	assert_int_equal(store_room(&mine, s, UINT64_C(1) << 60, &limit, &e), -1);
	says(e, "at the least");
}

/* ---- requests and answers ------------------------------------------------------------- */

static void requests_and_answers(void **state)
{
	const struct store *s = *state;
	struct status put = { .kind = STATUS_SAVED, .request = "abc",
			      .generation = { 4, 2 }, .done = 7, .total = 9,
			      .text = "say \"why\"\n" }, got;
	struct err e = { "" };
	struct stat st;
	char id[40];

	assert_int_equal(request_take(s, id, &e), 0);
	assert_int_equal(request_put(s, "abc", &e), 0);
	assert_int_equal(fstatat(s->dir, "request", &st, 0), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(request_take(s, id, &e), 1);
	assert_string_equal(id, "abc");
	assert_int_equal(request_take(s, id, &e), 0);
	put_file(s, "request", "0123456789012345678901234567890123456789999\nx");
	assert_int_equal(request_take(s, id, &e), 1);
	assert_int_equal(strlen(id), 39);
	assert_int_equal(mkdirat(s->dir, "request", 0700), 0);
	assert_int_equal(request_take(s, id, &e), -1);
	says(e, "cannot read the request");
	assert_int_equal(unlinkat(s->dir, "request", AT_REMOVEDIR), 0);
	assert_int_equal(status_read(s, &got, &e), 0);
	status_write(s, &put);
	assert_int_equal(status_read(s, &got, &e), 1);
	assert_int_equal(got.kind, STATUS_SAVED);
	assert_string_equal(got.request, "abc");
	assert_string_equal(got.text, put.text);
	assert_int_equal(got.generation.number, 4);
	assert_int_equal(got.generation.run, 2);
	assert_int_equal(got.total, 9);
	assert_true(got.time > 0);
	put_file(s, "status.json", "{");
	assert_int_equal(status_read(s, &got, &e), -1);
	put_file(s, "status.json", "{\"text\": null, \"state\": null, \"done\": \"x\"}");
	assert_int_equal(status_read(s, &got, &e), 1);
	assert_string_equal(got.text, "");
}

/* ---- directories -------------------------------------------------------------------- */

static void set_aside_and_forget(void **state)
{
	const struct store *s = *state;
	struct store none;
	struct err e;
	char path[1500];

	assert_int_equal(store_used(s, &e), 0);
	publish(s, (struct generation){ 1, 0 }, NULL, NULL);
	assert_int_equal(store_used(s, &e), 1);
	assert_int_equal(store_set_aside(&spec, &e), 0);
	assert_int_equal(store_open(&spec, false, &none, &e), 1);
	snprintf(path, sizeof(path), "%s/lab/7/batch.old.1", spec.base);
	assert_int_equal(access(path, F_OK), 0);
	assert_int_equal(tree_remove(AT_FDCWD, path, &e), 0);
	assert_int_equal(store_open(&spec, true, &none, &e), 0);
	store_close(&none);
	assert_int_equal(store_forget(&spec, &e), 0);
	snprintf(path, sizeof(path), "%s/lab/7", spec.base);
	assert_int_equal(access(path, F_OK), -1);
}

static void refuses_foreign_directories(void **state)
{
	struct store s;
	struct spec other = spec;
	struct err e;

	(void)state;
	snprintf(other.fixed, sizeof(other.fixed), "%s/nowhere", top);
	snprintf(other.base, sizeof(other.base), "%s/nowhere/x", top);
	assert_int_equal(store_open(&other, true, &s, &e), -1);
	says(e, "is not there on n1");
	snprintf(other.fixed, sizeof(other.fixed), "%s", top);
	snprintf(other.base, sizeof(other.base), "%s/open", top);
	assert_int_equal(mkdir(other.base, 0700), 0);
	assert_int_equal(chmod(other.base, 0777), 0);
	assert_int_equal(store_open(&other, true, &s, &e), -1);
	says(e, "is open to others");
}

static void stepd_lines_are_taken_out(void **state)
{
#define LINE "slurmstepd-n1: error: *** JOB 7 ON n1 CANCELLED AT 2026-11-24T02:21:27 DUE TO PREEMPTION ***\n"
	static const struct {
		const char *in, *out;
	} cases[] = {
		{ "a\n" LINE "b\n", "a\nb\n" },
		{ "half a li" LINE "ne\n", "half a line\n" },
		{ LINE LINE, "" },
		{ "slurmstepd: error: *** STEP 7.0 ON n1 CANCELLED AT x ***\n", "" },
		{ "slurmstepd slurmstepd-n1: error: *** JOB 7 ON n1 CANCELLED AT x ***\n", "slurmstepd " },
		/* As Slurm does since 25.05 (LogTimeFormat). */
		{ "[2026-11-27T23:41:46.006] error: *** JOB 7 ON n1 CANCELLED AT x ***\nb\n", "b\n" },
		{ "a[1] [Nov 27 23:41:46] error: *** STEP 7.0 ON n1 CANCELLED AT x ***\n", "a[1] " },
		{ "[1] error: *** FULL ***\n" LINE "b", "[1] error: *** FULL ***\nb" },
		{ "[1] error: *** JOB 8 ON n1 CANCELLED AT x ***\n", NULL },
		{ "[1]\n] error: *** JOB 7 ON n1 CANCELLED AT x ***\n", NULL },
		{ "my error: *** JOB 7 ON n1 CANCELLED AT x ***\n", NULL },
		/* Another job's, the program's own words, no newline yet. */
		{ "slurmstepd-n1: error: *** JOB 8 ON n1 CANCELLED AT x ***\n", NULL },
		{ "slurmstepd is a daemon\n", NULL },
		{ "slurmstepd-n1: error: *** JOB 7 ON n1 FAILED ***\n", NULL },
		{ "slurmstepd-n1: error: *** JOB 7 ON n1 CANCELLED AT x ***", NULL },
		{ "", NULL },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char buf[1024];
		size_t n = strlen(cases[i].in);
		const char *want = cases[i].out ? cases[i].out : cases[i].in;

		memcpy(buf, cases[i].in, n);
		n = output_strip(buf, n, 7);
		assert_int_equal(n, strlen(want));
		assert_memory_equal(buf, want, n);
	}
}

/* A line of slurmstepd's wherever a block of the copy may cut it. */
static void stepd_lines_across_blocks(void **state)
{
	char path[64];
	struct err e;

	(void)state;
	for (int shift = -120; shift <= 20; shift += 5) {
		size_t before = (size_t)((1 << 20) + shift), n = 0;
		char *text = malloc(before + 4096), *want = malloc(before + 4096);
		cleanup_fd int fd = -1, log = -1;
		struct stat st;

		for (; n < before; n++)
			text[n] = want[n] = n % 61 == 60 ? '\n' : 'x';
		memcpy(text + n, LINE, strlen(LINE));
		memcpy(text + n + strlen(LINE), "end\n", 4);
		memcpy(want + n, "end\n", 4);
		snprintf(path, sizeof(path), "%s/file", top);
		fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
		snprintf(path, sizeof(path), "%s/log", top);
		log = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
		assert_int_equal(file_write(fd, text, n + strlen(LINE) + 4, &e), 0);
		assert_int_equal(output_copy(log, fd, 0, 7, &e), n + strlen(LINE) + 4);
		fstat(log, &st);
		assert_int_equal(st.st_size, n + 4);
		assert_int_equal(pread(log, text, n + 4, 0), n + 4);
		assert_memory_equal(text, want, n + 4);
		free(text);
		free(want);
	}
}

#define STEP_TEST(f) cmocka_unit_test_setup_teardown(f, fresh, close_it)

/* ---- how long one stays -------------------------------------------------------- */

static void set_time(const struct store *s, const char *name, int64_t at)
{
	const struct timespec times[] = { { .tv_sec = at }, { .tv_sec = at } };

	assert_int_equal(utimensat(s->dir, name, times, 0), 0);
}

static void of_use_is_what_was_touched(void **state)
{
	const struct generation g = { 1, 0 };
	const struct store *s = *state;
	struct spec old = spec;
	struct store aside;
	struct err e = { "" };
	struct stat st;

	/* Its manifest says 0. */
	publish(s, g, NULL, NULL);
	set_time(s, "1-0.json", 1000);
	set_time(s, ".", 900);
	assert_int_equal(generation_used(s, g), 1000);
	set_time(s, ".", 2000);
	assert_int_equal(generation_used(s, g), 2000);
	generation_touch(s, g);
	assert_true(generation_used(s, g) >= time(NULL) - 100);
	assert_int_equal(fstat(s->dir, &st), 0);
	assert_int_equal(st.st_mtime, 2000);
	set_time(s, "1-0.json", 1000);
	assert_int_equal(store_set_aside(&spec, &e), 0);
	strcpy(old.step, "batch.old.1");
	assert_int_equal(store_open(&old, false, &aside, &e), 0);
	assert_true(generation_used(&aside, g) >= time(NULL) - 100);
	store_close(&aside);
	assert_int_equal(store_forget(&old, &e), 0);
}

static bool is_job_12(uint32_t job, void *arg)
{
	++*(int *)arg;
	return job == 12;
}

/* What lies there is the user's own: more than a number is not taken from it. */
static void who_waits_for_it_is_known(void **state)
{
	static const char *const none[] = { "wanted.", "wanted.x", "wanted.12x", "wanted.-12",
					    "wanted. 12", "wanted.0", "wanted.4294967308",
					    "wanted.99999999999999999999" };
	const struct store *s = *state;
	struct err e = { "" };
	int asked = 0;

	for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++)
		put_file(s, none[i], "12");
	assert_int_equal(wanted_by(s, is_job_12, &asked), 0);
	assert_int_equal(asked, 0);
	assert_int_equal(wanted_add(s, 11, &e), 0);
	assert_int_equal(wanted_by(s, is_job_12, &asked), 0);
	assert_int_equal(wanted_add(s, 12, &e), 0);
	assert_int_equal(wanted_add(s, 12, &e), 0);
	assert_int_equal(wanted_by(s, is_job_12, &asked), 12);
	/* Of a job this young it may not be known yet that it is there. */
	wanted_sweep(s, is_job_12, &asked);
	assert_true(there(s, "wanted.11"));
	set_time(s, "wanted.11", 1000);
	set_time(s, "wanted.12", 1000);
	set_time(s, "wanted.0", 1000);
	wanted_sweep(s, is_job_12, &asked);
	assert_true(there(s, "wanted.12"));
	assert_false(there(s, "wanted.11"));
	assert_true(there(s, "wanted.0"));
}

/* The last one, of a step that runs on: what it held is free, unless the next is just written. */
static void the_last_leaves_nothing(void **state)
{
	const struct store *s = *state;
	struct err e = { "" };

	publish(s, (struct generation){ 1, 0 }, NULL, NULL);
	publish(s, (struct generation){ 2, 0 }, NULL, NULL);
	put_file(s, "3-0.0.pack", "");
	assert_int_equal(generation_remove(s, (struct generation){ 1, 0 }, &e), 0);
	assert_false(there(s, "1-0.0.pack"));
	assert_int_equal(generation_remove(s, (struct generation){ 2, 0 }, &e), 0);
	assert_true(there(s, "2-0.0.pack"));
	assert_true(there(s, "3-0.0.pack"));
	unlinkat(s->dir, "3-0.0.pack", 0);
	publish(s, (struct generation){ 3, 0 }, NULL, NULL);
	assert_int_equal(generation_remove(s, (struct generation){ 3, 0 }, &e), 0);
	assert_false(there(s, "2-0.0.pack"));
	assert_false(there(s, "3-0.0.pack"));
	assert_false(there(s, "3-0.meta"));
	assert_false(there(s, "3-0.seal"));
}

/* ---- logs of a run's own ------------------------------------------------------ */

static void assert_log(const struct store *s, int log, const char *text)
{
	cleanup_fd int named = openat(s->dir, "output.1", O_RDONLY);
	struct stat a, b;
	char is[64] = "";

	assert_int_equal(fstat(log, &a), 0);
	assert_int_equal(fstat(named, &b), 0);
	assert_int_equal(a.st_ino, b.st_ino);
	assert_true(read(named, is, sizeof(is) - 1) >= 0);
	assert_string_equal(is, text);
}

static void logs_are_taken_over(void **state)
{
	const struct store *s = *state;
	struct err e = { "" };
	struct rlimit full, was;
	struct stat st;
	int log, before;

	put_file(s, "output.1", "one\ntwo\n");
	put_file(s, ".3-1.output.1.part", "of one that was killed in the middle of it");
	log = before = output_open(s, 1, false, &e);
	before = fcntl(before, F_DUPFD_CLOEXEC, 3);
	assert_int_equal(output_take_over(s, 1, 3, 1, 9, &log, &e), -1);
	says(e, "only 8 of 9 bytes");
	assert_int_equal(output_take_over(s, 1, 3, 1, 4, &log, &e), 0);
	assert_false(there(s, ".3-1.output.1.part"));
	assert_log(s, log, "one\n");
	assert_int_equal(file_write(before, "late\n", 5, &e), 0);
	/* It is in append mode, as a log is. */
	assert_int_equal(lseek(log, 0, SEEK_SET), 0);
	assert_int_equal(file_write(log, "three\n", 6, &e), 0);
	assert_log(s, log, "one\nthree\n");
	close(before);
	/* No room for two of them. */
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &was), 0);
	full = (struct rlimit){ 2, was.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &full), 0);
	assert_int_equal(output_take_over(s, 1, 4, 2, 4, &log, &e), 0);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &was), 0);
	assert_false(there(s, ".4-2.output.1.part"));
	assert_log(s, log, "one\n");
	close(log);
	/* Nor has one that begins anew the old one's. */
	before = output_open(s, 1, false, &e);
	log = output_open_new(s, 1, &e);
	assert_log(s, log, "");
	assert_int_equal(fstat(before, &st), 0);
	assert_int_equal(st.st_size, 4);
	close(before);
	close(log);
}

/* ---- programs that have ended ---------------------------------------------- */

static const struct ended some_end = { .run = 3, .status = 512, .requeued = true,
				       .batch_flag = 2, .time = 1700000000,
				       .length = { -1, 6, -1 } };

static void keep_output(const struct store *s, const char *text)
{
	struct err e;
	int fd = output_open(s, 1, true, &e);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, 0), 0);
	assert_int_equal(file_write(fd, text, strlen(text), &e), 0);
	close(fd);
	assert_int_equal(ended_keep_output(&spec, s, 1, &e), 0);
}

static void assert_output(const char *text)
{
	char is[64] = "";
	struct err e;
	int fd = ended_output(&spec, 1, &e);

	assert_true(fd >= 0);
	assert_int_equal(read(fd, is, sizeof(is)), strlen(text));
	assert_string_equal(is, text);
	close(fd);
}

static void an_end_outlives_its_step(void **state)
{
	struct store *s = *state;
	struct ended was;
	struct err e;

	assert_int_equal(ended_drop(&spec, &e), 0);
	assert_int_equal(ended_read(&spec, &was, &e), 0);
	assert_int_equal(ended_output(&spec, 1, &e), -1);
	keep_output(s, "one\n");
	/* Output alone is no record. */
	assert_int_equal(ended_read(&spec, &was, &e), 0);
	/* A later run's takes its place. */
	keep_output(s, "hello\n");
	assert_int_equal(ended_write(&spec, &some_end, &e), 0);
	assert_int_equal(store_forget(&spec, &e), 0);
	memset(&was, 0, sizeof(was));
	assert_int_equal(ended_read(&spec, &was, &e), 1);
	assert_memory_equal(&was, &some_end, sizeof(was));
	assert_output("hello\n");
	/* It is not another step's, and no step itself. */
	struct spec other = spec;

	other.job++;
	assert_int_equal(ended_read(&other, &was, &e), 0);
	other = spec;
	strcpy(other.step, "0");
	assert_int_equal(ended_read(&other, &was, &e), 0);
	assert_int_equal(ended_drop(&spec, &e), 0);
	assert_int_equal(ended_read(&spec, &was, &e), 0);
	assert_int_equal(ended_output(&spec, 1, &e), -1);
}

static void an_end_that_is_damaged(void **state)
{
	static const char *const bad[] = {
		"", "{", "[]",
		"{\"format\":2,\"run\":0,\"status\":0,\"requeued\":true,\"batch_flag\":1,\"time\":1,\"length\":[-1,0,0]}",
		"{\"format\":1,\"run\":-1,\"status\":0,\"requeued\":true,\"batch_flag\":1,\"time\":1,\"length\":[-1,0,0]}",
		"{\"format\":1,\"run\":0,\"status\":0,\"requeued\":1,\"batch_flag\":1,\"time\":1,\"length\":[-1,0,0]}",
		"{\"format\":1,\"run\":0,\"status\":0,\"requeued\":true,\"batch_flag\":1,\"time\":1,\"length\":[0]}",
	};
	char path[1300];
	struct ended was;
	struct err e;

	(void)state;
	snprintf(path, sizeof(path), "%s/%s/ended/7.batch.json", spec.base,
		 spec.cluster);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(ended_write(&spec, &some_end, &e), 0);
		int fd = open(path, O_WRONLY | O_TRUNC);

		assert_true(fd >= 0);
		assert_int_equal(file_write(fd, bad[i], strlen(bad[i]), &e), 0);
		close(fd);
		assert_int_equal(ended_read(&spec, &was, &e), -1);
		assert_non_null(strstr(e.text, "damaged"));
	}
	assert_int_equal(ended_drop(&spec, &e), 0);
}

static void steps_that_are_done(void **state)
{
	struct done one = { .record = 1, .call = 3, .command = { 0xab, 1 },
			    .length = { 0, 6, 0 } };
	struct spec other = spec;
	static const char damaged[] = "{\"format\":1,\"call\":1,\"command\":null}";
	struct done *list;
	char path[1300];
	struct err e;
	int fd;

	(void)state;
	assert_int_equal(done_drop(&spec, &e), 0);
	assert_int_equal(done_list(&spec, &list, &e), 0);
	fd = done_stream(&spec, 1, 1, true, &e);
	assert_true(fd >= 0);
	assert_int_equal(file_write(fd, "hello\n", 6, &e), 0);
	close(fd);
	/* Its output alone makes no step done. */
	assert_int_equal(done_list(&spec, &list, &e), 0);
	one.record = 12;
	assert_int_equal(done_write(&spec, &one, &e), 0);
	one.record = 1;
	assert_int_equal(done_write(&spec, &one, &e), 0);
	assert_int_equal(done_list(&spec, &list, &e), 2);
	assert_memory_equal(&list[0], &one, sizeof(one));
	assert_int_equal(list[1].record, 12);
	free(list);
	fd = done_stream(&spec, 1, 1, false, &e);
	assert_true(fd >= 0);
	assert_int_equal(read(fd, path, sizeof(path)), 6);
	close(fd);
	/* One that is made anew is no longer the same file. */
	fd = done_stream(&spec, 1, 1, true, &e);
	assert_int_equal(lseek(fd, 0, SEEK_END), 0);
	close(fd);
	other.job++;
	assert_int_equal(done_list(&other, &list, &e), 0);
	/* A damaged one is of no step; the others are. */
	snprintf(path, sizeof(path), "%s/%s/ended/7.done-12.json", spec.base,
		 spec.cluster);
	fd = open(path, O_WRONLY | O_TRUNC);
	assert_int_equal(file_write(fd, damaged, strlen(damaged), &e), 0);
	close(fd);
	assert_int_equal(done_list(&spec, &list, &e), 1);
	free(list);
	assert_int_equal(done_drop(&other, &e), 0);
	assert_int_equal(done_list(&spec, &list, &e), 1);
	free(list);
	assert_int_equal(done_drop(&spec, &e), 0);
	assert_int_equal(access(path, F_OK), -1);
	assert_int_equal(done_stream(&spec, 1, 1, false, &e), -1);
}

struct answer {
	bool known;
	uint32_t list[2];
	size_t count;
	int asked;
};

static bool answer(struct ended_jobs *jobs, void *arg)
{
	struct answer *a = arg;

	a->asked++;
	jobs->list = a->list;
	jobs->count = a->count;
	return a->known;
}

static void old_ends_are_swept(void **state)
{
	struct answer unknown = { .known = false };
	struct answer both = { .known = true, .list = { 8, 7 }, .count = 2 };
	struct answer one = { .known = true, .list = { 8 }, .count = 1 };
	struct spec other = spec;
	struct ended was;
	struct err e;

	assert_int_equal(ended_sweep(&spec, 0, answer, &unknown, &e), 0);
	keep_output(*state, "x");
	assert_int_equal(ended_write(&spec, &some_end, &e), 0);
	other.job = 8;
	assert_int_equal(ended_write(&other, &some_end, &e), 0);
	/* Nothing is old: nobody is asked. */
	assert_int_equal(ended_sweep(&spec, 1000, answer, &one, &e), 0);
	assert_int_equal(one.asked, 0);
	assert_int_equal(ended_sweep(&spec, -2, answer, &unknown, &e), 0);
	assert_int_equal(unknown.asked, 1);
	assert_int_equal(ended_sweep(&spec, -2, answer, &both, &e), 0);
	assert_int_equal(both.asked, 1);
	assert_int_equal(ended_read(&spec, &was, &e), 1);
	assert_int_equal(ended_sweep(&spec, -2, answer, &one, &e), 0);
	assert_int_equal(ended_read(&spec, &was, &e), 0);
	assert_int_equal(ended_output(&spec, 1, &e), -1);
	assert_int_equal(ended_read(&other, &was, &e), 1);
	assert_int_equal(ended_drop(&other, &e), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		STEP_TEST(manifest_goes_there_and_back),
		STEP_TEST(files_of_the_program),
		STEP_TEST(what_could_not_be_read_again),
		STEP_TEST(ended_is_said_later),
		STEP_TEST(who_ran),
		STEP_TEST(a_link_that_is_asked_for_twice),
		STEP_TEST(seal_is_of_one_text_and_one_user),
		STEP_TEST(seal_of_another_user),
		STEP_TEST(seal_needs_munged),
		STEP_TEST(newest_first),
		cmocka_unit_test(a_newer_format_is_refused),
		cmocka_unit_test(what_a_manifest_may_lack),
		STEP_TEST(one_claimant),
		STEP_TEST(who_is_superseded_may_not_save),
		STEP_TEST(late_writers_do_not_count),
		STEP_TEST(next_removes_what_is_unfinished),
		STEP_TEST(keeps_the_newest),
		STEP_TEST(a_set_counts_when_all_have_it),
		STEP_TEST(a_set_is_removed_whole),
		STEP_TEST(a_part_is_of_its_node),
		STEP_TEST(what_cannot_be_told),
		STEP_TEST(nodes_talk),
		STEP_TEST(shared_packs_stay),
		STEP_TEST(published_while_another_is_removed),
		STEP_TEST(quota_and_room),
		STEP_TEST(requests_and_answers),
		STEP_TEST(set_aside_and_forget),
		STEP_TEST(of_use_is_what_was_touched),
		STEP_TEST(who_waits_for_it_is_known),
		STEP_TEST(the_last_leaves_nothing),
		STEP_TEST(logs_are_taken_over),
		STEP_TEST(an_end_outlives_its_step),
		STEP_TEST(an_end_that_is_damaged),
		STEP_TEST(steps_that_are_done),
		STEP_TEST(old_ends_are_swept),
		cmocka_unit_test(refuses_foreign_directories),
		cmocka_unit_test(stepd_lines_are_taken_out),
		cmocka_unit_test(stepd_lines_across_blocks),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
