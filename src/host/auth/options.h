/* Copies of what an operator wants of logins, and whether two of them want the same.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_HOST_AUTH_OPTIONS_H
#define M5_HOST_AUTH_OPTIONS_H

#include "host/auth/text.h"

#include <mqtt5/auth.h>

/* A copy with all that it names. */
struct m5_auth_copy {
    struct mqtt5_auth_options options;
    struct m5_auth_block *blocks;
};

/* False without memory; m5_auth_copy_fini() either way. */
bool m5_auth_copy_init(struct m5_auth_copy *copy, const struct mqtt5_auth_options *from);
void m5_auth_copy_fini(struct m5_auth_copy *copy); /* accepts a zeroed one */

bool m5_auth_options_equal(const struct mqtt5_auth_options *a, const struct mqtt5_auth_options *b);

#endif
