/* Access control lists: rules out of a file, compiled into an object that answers in no time.
 *
 * An m5_acl never changes after m5_acl_new(): any number of threads may ask it. Two formats are
 * read. Ours (lines `user`, `role`, `assign`) and that of Mosquitto's acl_file (lines `user`,
 * `topic`, `pattern`). docs/security.md tells the grammar and the order of decision to operators;
 * check.c tells it to programmers.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_HOST_ACL_ACL_H
#define M5_HOST_ACL_ACL_H

#include "broker/access.h"
#include "host/auth/text.h"

#include <mqtt5/allocator.h>

#define M5_ACL_LEVELS_MAX      128u    /* of a pattern */
#define M5_ACL_RULES_MAX       100000u /* in a file */
#define M5_ACL_ASSIGNMENTS_MAX 100000u /* of roles to users, in a file */
#define M5_ACL_USER_ROLES_MAX  64u     /* of one user */
#define M5_ACL_TEMPLATES_MAX   256u    /* different levels with %u or %c behind the same levels */

enum m5_acl_format {
    M5_ACL_DETECT, /* by the first line that is no comment; an empty file is ours */
    M5_ACL_OURS,
    M5_ACL_MOSQUITTO
};

/* What a rule grants; 0 is a denial of both. */
enum m5_acl_right { M5_ACL_READ = 1, M5_ACL_WRITE = 2, M5_ACL_BOTH = 3 };

enum m5_acl_kind {
    M5_ACL_USER,      /* of the user named `subject` */
    M5_ACL_ROLE,      /* of those with the role named `subject` */
    M5_ACL_EVERYBODY, /* `user *` */
    M5_ACL_ANONYMOUS, /* Mosquitto's `topic` lines before the first `user` */
    M5_ACL_PATTERN    /* Mosquitto's `pattern` */
};

struct m5_acl_rule {
    enum m5_acl_kind kind;
    uint8_t rights; /* enum m5_acl_right, or 0: deny */
    uint32_t line;
    int32_t weight; /* 50 - 10 for each wildcard + bytes of the pattern: the heaviest decides */
    uint32_t next;  /* position + 1 of the next rule at the same node; 0: none */
    struct mqtt5_bytes subject; /* empty for the last three kinds */
    struct mqtt5_bytes pattern;
};

struct m5_acl_assignment {
    struct mqtt5_bytes user, role;
    uint32_t line;
};

/* What a file says, in its order. */
struct m5_acl_source {
    const struct mqtt5_allocator *allocator;
    enum m5_acl_format format; /* M5_ACL_OURS or M5_ACL_MOSQUITTO */
    uint8_t *text;             /* a copy, which the views point into */
    size_t text_size;
    struct m5_acl_rule *rules;
    uint32_t rule_count, rule_capacity;
    struct m5_acl_assignment *assignments;
    uint32_t assignment_count, assignment_capacity;
};

/* Reads @p text, of which it keeps a copy. On false, @p error says what is wrong first; the source
 * can be given back either way. */
bool m5_acl_parse(const struct mqtt5_allocator *allocator, struct mqtt5_bytes text,
                  enum m5_acl_format format, struct m5_acl_source *out,
                  struct m5_text_error *error);
void m5_acl_source_fini(struct m5_acl_source *source);

/* The right that "read", "publish", "rw", "deny"... stand for; false for other words. */
bool m5_acl_rights_of(struct mqtt5_bytes word, uint8_t *rights);

/* True for a pattern that a rule may have; @p error gets a sentence with line and column 0. */
bool m5_acl_pattern_check(struct mqtt5_bytes pattern, struct m5_text_error *error);

/* A policy. NULL with @p error when the text is wrong or there is no memory. */
struct m5_acl *m5_acl_new(const struct mqtt5_allocator *allocator, struct mqtt5_bytes text,
                          enum m5_acl_format format, struct m5_text_error *error);

/* The policy in the file @p path, with memory of malloc(). */
struct m5_acl *m5_acl_load(const char *path, enum m5_acl_format format,
                           struct m5_text_error *error);
void m5_acl_free(struct m5_acl *acl); /* accepts NULL */

const struct m5_acl_source *m5_acl_source_of(const struct m5_acl *acl);

/* True when some rule has %c in it: only then does an answer depend on the client identifier. */
bool m5_acl_uses_client_id(const struct m5_acl *acl);

/* What decided. */
struct m5_acl_verdict {
    bool allowed;
    const struct m5_acl_rule *rule; /* NULL: no rule did, so it is denied */
};

/* May @p who publish to the topic name @p topic? Never waits, allocates or fails. */
struct m5_acl_verdict m5_acl_may_write(const struct m5_acl *acl, const struct m5_principal *who,
                                       struct mqtt5_bytes topic);

/* May it be sent messages of the topic name @p topic? */
struct m5_acl_verdict m5_acl_may_read(const struct m5_acl *acl, const struct m5_principal *who,
                                      struct mqtt5_bytes topic);

/* May it subscribe to @p filter (valid, without "$share/NAME/")? Granted only if a rule that
 * grants reading covers the filter, that is, matches every topic that the filter can match, and is
 * the one that decides among all rules that cover it. Rules that match a part of those topics only
 * are left to the deliveries, where m5_acl_may_read() is asked for each. */
struct m5_acl_verdict m5_acl_may_subscribe(const struct m5_acl *acl, const struct m5_principal *who,
                                           struct mqtt5_bytes filter);

#endif
