/* Where a connection comes from, as logins are counted: an IPv4 address, an IPv6 /64, or this
 * machine by a Unix socket; and lists of such networks.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_HOST_AUTH_SOURCE_H
#define M5_HOST_AUTH_SOURCE_H

#include "host/address.h"
#include "host/auth/text.h"

#define M5_SOURCE_SIZE 16
#define M5_BANS_MAX    100000u

/* An address as 16 bytes, IPv4 as ::ffff:a.b.c.d; all zeros for a Unix socket. */
struct m5_source {
    uint8_t bytes[M5_SOURCE_SIZE];
};

/* The whole address. */
struct m5_source m5_source_of(const struct m5_address *address);

/* The address that is counted: the same, but of other IPv6 addresses only the first 64 bits, which
 * is what one subscriber of a provider has to himself. */
struct m5_source m5_source_counted(struct m5_source source);

/* Networks that may not connect: lines `ADDRESS` or `ADDRESS/BITS`, comments with '#'. Never
 * changes once it is made. */
struct m5_bans;

struct m5_bans *m5_bans_new(const struct mqtt5_allocator *allocator, struct mqtt5_bytes text,
                            struct m5_text_error *error);
struct m5_bans *m5_bans_load(const char *path, struct m5_text_error *error);
void m5_bans_free(struct m5_bans *bans); /* accepts NULL */

/* Never true for a Unix socket. */
bool m5_bans_contain(const struct m5_bans *bans, struct m5_source source);

#endif
