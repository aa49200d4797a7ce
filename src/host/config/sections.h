/* Words that the tables of keys are written in, and the sections that the root is made of.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_HOST_CONFIG_SECTIONS_H
#define M5_HOST_CONFIG_SECTIONS_H

#include "host/config/data.h"
#include "host/config/schema.h"

/* A field of a section's struct. */
#define M5_AT(type, member) \
    .offset = offsetof(struct type, member), .width = sizeof(((struct type *)0)->member)

/* The struct of a section inside another's; NULL members of it are fields of the outer one. */
#define M5_INSIDE(type, member) .offset = offsetof(struct type, member)

/* An array and its number of entries. */
#define M5_MANY(type, items, count) \
    .offset = offsetof(struct type, items), .count_offset = offsetof(struct type, count)

/* The same as a struct m5_texts. */
#define M5_TEXTS(type, member)                           \
    .offset = offsetof(struct type, member.items),       \
    .count_offset = offsetof(struct type, member.count), \
    .place_offset = offsetof(struct type, member.place)

/* What texts must be. */
m5_key_check_fn m5_check_endpoint; /* "host:port" */
m5_key_check_fn m5_check_network;  /* "10.0.0.0/8" */
m5_key_check_fn m5_check_filter;   /* a topic filter without $share */
m5_key_check_fn m5_check_url;      /* https://, or http:// of this machine */
m5_key_check_fn m5_check_utf8;     /* a string of MQTT */

extern const struct m5_section m5_section_listener;
extern const struct m5_section m5_section_tls_config;
extern const struct m5_section m5_section_websocket_config;
extern const struct m5_section m5_section_websocket_tls_config;
extern const struct m5_section m5_section_unix_config;
extern const struct m5_section m5_section_listener_auth;
extern const struct m5_section m5_section_auth_config;

#endif
