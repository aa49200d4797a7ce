/* Properties of packets, as given on the command line: -D PACKET NAME VALUE [VALUE].
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_CLI_PROPERTY_H
#define M5_CLI_PROPERTY_H

#include "cli/command.h"

#include <mqtt5/property.h>

/* The properties of one packet, ready to be sent; the texts are borrowed from the call. */
struct cli_properties {
    struct mqtt5_properties set;
    struct mqtt5_user_property *users; /* what set.user_property points at */
};

/* Says of which packet -D speaks: "connect", "publish", ... NULL ends the list. */
struct cli_packet_name {
    const char *name;
    uint32_t packet; /* MQTT5_IN_... */
};

/* Checks that every -D names one of @p packets, and a property of it. Gives CLI_OK, or CLI_USAGE
 * with the error printed. */
int cli_properties_check(const struct cli_call *call, const struct cli_strings *words,
                         const struct cli_packet_name *packets);

/* Sets what @p words (checked) say of the packet called @p packet, and @p pairs (may be NULL), each
 * NAME=VALUE, as user properties behind the others. Gives CLI_OK, CLI_USAGE or CLI_FAILED with the
 * error printed; cli_properties_free() either way. */
int cli_properties_set(const struct cli_call *call, const struct cli_strings *words,
                       const char *packet, const struct cli_strings *pairs,
                       struct cli_properties *out);

void cli_properties_free(struct cli_properties *properties);

/* The property called "content-type" and the like; 0 when there is none. */
uint32_t cli_property_find(const char *name);

/* Writes the name that cli_property_find() knows; gives out. */
#define CLI_PROPERTY_NAME_SIZE 48
const char *cli_property_name(uint32_t id, char out[CLI_PROPERTY_NAME_SIZE]);

#endif
