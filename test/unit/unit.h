/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What every unit test needs. */
#ifndef UNIT_H
#define UNIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define says(err, words) assert_non_null(strstr((err).text, words))

#endif
