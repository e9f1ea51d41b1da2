/* SPDX-License-Identifier: GPL-2.0-or-later */
/* sckpt.conf, then the words of plugstack.conf, which win. */
#include "spank_sckpt.h"

static struct conf conf;
static struct err problem;

const struct conf *settings(void)
{
	return &conf;
}

const char *settings_error(void)
{
	return problem.text;
}

void settings_load(int ac, char *argv[])
{
	problem.text[0] = '\0';
	if (conf_load(&conf, ac, argv, &problem) < 0)
		slurm_error(SAYS "%s; no step is protected until this is mended",
			    problem.text);
}
