/* The document of dynamic security: what stands in the file, and the commands that change it.
 * Between the files of this folder only.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_HOST_DYNSEC_DOCUMENT_H
#define M5_HOST_DYNSEC_DOCUMENT_H

#include "host/auth/text.h"

#include <jansson.h>

#define M5_DYNSEC_NAME_MAX  1024u   /* bytes of a name */
#define M5_DYNSEC_ITEMS_MAX 100000u /* clients, groups, roles; rules of a role */

/* The types of rules, as they are called. */
enum m5_dynsec_acl {
    M5_DYNSEC_PUBLISH_SEND,
    M5_DYNSEC_PUBLISH_RECEIVE,
    M5_DYNSEC_SUBSCRIBE_LITERAL,
    M5_DYNSEC_SUBSCRIBE_PATTERN,
    M5_DYNSEC_UNSUBSCRIBE_LITERAL,
    M5_DYNSEC_UNSUBSCRIBE_PATTERN,
    M5_DYNSEC_ACLS
};

/* What is done where no rule matches. */
enum m5_dynsec_default {
    M5_DYNSEC_DEFAULT_SEND,
    M5_DYNSEC_DEFAULT_RECEIVE,
    M5_DYNSEC_DEFAULT_SUBSCRIBE,
    M5_DYNSEC_DEFAULT_UNSUBSCRIBE,
    M5_DYNSEC_DEFAULTS
};

extern const char *const m5_dynsec_acl_names[M5_DYNSEC_ACLS];
extern const char *const m5_dynsec_default_names[M5_DYNSEC_DEFAULTS];

/* Reads the content of a file (empty: an empty document). NULL with @p error when anything in it
 * does not make sense: nothing is guessed. */
json_t *m5_dynsec_read(struct mqtt5_bytes text, struct m5_text_error *error);

/* A type of rule by its name, or M5_DYNSEC_ACLS; the same for defaults. */
enum m5_dynsec_acl m5_dynsec_acl_of(const char *name);
enum m5_dynsec_default m5_dynsec_default_of(const char *name);

/* True for a pattern that a rule may have. */
bool m5_dynsec_pattern_ok(const char *topic);

/* The item of @p list whose @p key is @p name, or NULL; *index (unless NULL) where it is. */
json_t *m5_dynsec_find(const json_t *list, const char *key, const char *name, size_t *index);

/* The lists of a document: "clients", "groups", "roles". */
json_t *m5_dynsec_list(const json_t *document, const char *name);

/* A priority, or @p otherwise where there is none. */
int m5_dynsec_priority(const json_t *item, int otherwise);

/* Executes one command: the answer to it, a new reference; NULL without memory. *changed: the
 * document has. */
json_t *m5_dynsec_command(json_t *document, const json_t *command, bool *changed);

/* For the commands of clients, groups and roles. */
struct m5_dynsec_call {
    json_t *document;
    const json_t *command;
    json_t *data; /* of the answer; NULL: none */
    bool changed;
};

/* Executes the command, and gives NULL or what is wrong, as Mosquitto words it. */
typedef const char *m5_dynsec_command_fn(struct m5_dynsec_call *call);

struct m5_dynsec_word {
    const char *name;
    m5_dynsec_command_fn *execute;
};
extern const struct m5_dynsec_word m5_dynsec_client_commands[];
extern const struct m5_dynsec_word m5_dynsec_group_commands[];
extern const struct m5_dynsec_word m5_dynsec_role_commands[];

/* A text of the command, or NULL. */
const char *m5_dynsec_text(const struct m5_dynsec_call *call, const char *key);

/* A name that may be given to something new. */
bool m5_dynsec_is_name(const char *name);

/* Takes over `textname` and `textdescription`. */
void m5_dynsec_set_texts(struct m5_dynsec_call *call, json_t *item);

/* Checks `roles` of the command: NULL, or what is wrong. The list that it stands for, sorted by
 * priority, goes to *out (a new reference; NULL: there is none in the command). */
const char *m5_dynsec_read_roles(const struct m5_dynsec_call *call, json_t **out);

/* Adds to a list that is sorted by priority, the highest first. */
void m5_dynsec_insert(json_t *list, json_t *item, int otherwise);

/* Takes @p name out of every list @p members of the items of @p list. */
void m5_dynsec_forget(json_t *list, const char *members, const char *key, const char *name);

/* The answer of a list command: names, or whole items when it is verbose. */
const char *m5_dynsec_answer_list(struct m5_dynsec_call *call, const char *list, const char *key,
                                  json_t *(*show)(const json_t *document, const json_t *item));

/* As commands answer: without what is nobody's business, with what stands elsewhere. */
json_t *m5_dynsec_show_client(const json_t *document, const json_t *client);
json_t *m5_dynsec_show_group(const json_t *document, const json_t *group);
json_t *m5_dynsec_show_role(const json_t *document, const json_t *role);

#endif
