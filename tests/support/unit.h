/* What every unit test includes: cmocka with the headers it wants before it.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef TEST_UNIT_H
#define TEST_UNIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#endif
