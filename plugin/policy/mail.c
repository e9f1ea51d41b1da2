/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Mail by Slurm's own MailProg, called as slurmctld calls it. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "sckpt/policy.h"

static int find_mailer(char *path, size_t size, struct err *e)
{
	cleanup_free char *config = config_ask(e);

	if (!config)
		return -1;
	if (!config_find(config, "MailProg", path, size) || *path != '/')
		return err_set(e, "Slurm names no MailProg");
	path[strcspn(path, " \t")] = '\0';
	return 0;
}

int mail_send(const char *to, const char *subject, struct err *e)
{
	char mailer[512];
	char *argv[] = { mailer, "-s", (char *)subject, (char *)to, NULL };
	cleanup_free char *out = NULL;

	/* A word that begins with - would be an option of the mailer's. */
	if (!*to || *to == '-')
		return err_set(e, "there is nobody to send it to");
	if (find_mailer(mailer, sizeof(mailer), e) < 0)
		return -1;
	return run_collect(argv, environ, 10000, 65536, &out, e);
}
