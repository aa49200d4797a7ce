/* Tests of the reader and the matcher themselves.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef GOLDEN_SELF_TEST_H
#define GOLDEN_SELF_TEST_H

#include <stdbool.h>

/* Prints what is wrong; a runner that reads its own language wrongly proves nothing. */
bool golden_self_test(void);

#endif
