/* SPDX-License-Identifier: GPL-2.0-or-later */
/* manifest_parse; what it takes, it writes, and takes again. */
#include <stdlib.h>
#include <string.h>

#include "sckpt/store.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1), *again;
	struct manifest m;
	struct err e = { "" };

	memcpy(text, data, size);
	text[size] = '\0';
	if (manifest_parse(text, &m, &e) == 0) {
		struct manifest back;
		char *same;

		again = manifest_text(&m, &e);
		if (!again || manifest_parse(again, &back, &e) < 0 ||
		    !(same = manifest_text(&back, &e)) || strcmp(again, same))
			abort();
		manifest_free(&back);
		free(same);
		free(again);
		manifest_free(&m);
	} else if (!*e.text) {
		abort();
	}
	free(text);
	return 0;
}
