/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The build-id that a linker writes into what it makes (ld(1), --build-id). */
#include <elf.h>
#include <stdio.h>
#include <string.h>

#include "needs.h"

/* The note in [at, end); "" when it is not there. */
static void take_note(const uint8_t *at, const uint8_t *end, char id[BUILD_ID_MAX])
{
	while ((size_t)(end - at) >= sizeof(Elf64_Nhdr)) {
		Elf64_Nhdr note;
		size_t name, size;

		memcpy(&note, at, sizeof(note));
		at += sizeof(note);
		name = ((size_t)note.n_namesz + 3) & ~(size_t)3;
		size = ((size_t)note.n_descsz + 3) & ~(size_t)3;
		if (name > (size_t)(end - at) || size > (size_t)(end - at) - name)
			return;
		if (note.n_type == NT_GNU_BUILD_ID && note.n_namesz == 4 &&
		    !memcmp(at, "GNU", 4) && 2 * note.n_descsz < BUILD_ID_MAX) {
			for (size_t i = 0; i < note.n_descsz; i++)
				snprintf(id + 2 * i, 3, "%02x", at[name + i]);
			return;
		}
		at += name + size;
	}
}

/* Of what is no 64-bit ELF file, and of one without, "". */
void build_id_of(const uint8_t *head, size_t size, char id[BUILD_ID_MAX])
{
	Elf64_Ehdr elf;

	id[0] = '\0';
	if (size < sizeof(elf))
		return;
	memcpy(&elf, head, sizeof(elf));
	if (memcmp(elf.e_ident, ELFMAG, SELFMAG) ||
	    elf.e_ident[EI_CLASS] != ELFCLASS64 ||
	    elf.e_phentsize != sizeof(Elf64_Phdr))
		return;
	for (size_t i = 0; i < elf.e_phnum && !*id; i++) {
		size_t at = elf.e_phoff + i * sizeof(Elf64_Phdr);
		Elf64_Phdr part;

		if (elf.e_phoff > size || at + sizeof(part) > size)
			return;
		memcpy(&part, head + at, sizeof(part));
		if (part.p_type == PT_NOTE && part.p_offset <= size &&
		    part.p_filesz <= size - part.p_offset)
			take_note(head + part.p_offset,
				  head + part.p_offset + part.p_filesz, id);
	}
}
