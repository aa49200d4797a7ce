/* Dynamic security: clients, groups and roles that administrators change while the broker runs, by
 * messages to $CONTROL/dynamic-security/v1, kept in a file. Commands, answers and file are those of
 * Mosquitto's plugin of that name, so that its tools (mosquitto_ctrl dynsec) work.
 *
 * The document is JSON, as in the file. Commands change it under a lock; what threads ask is a view
 * compiled from it that never changes and is replaced after each change (view.h). A change counts
 * only once it is in the file.
 *
 * A client that is named here is judged by what stands here alone; others are left to the password
 * and access control files. docs/security.md tells operators.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_HOST_DYNSEC_DYNSEC_H
#define M5_HOST_DYNSEC_DYNSEC_H

#include "broker/access.h"
#include "host/acl/cache.h"
#include "host/auth/verifier.h"

#define M5_DYNSEC_TOPIC    "$CONTROL/dynamic-security/v1"
#define M5_DYNSEC_RESPONSE "$CONTROL/dynamic-security/v1/response"

#define M5_DYNSEC_PAYLOAD_MAX 1048576u /* bytes of a message with commands */
#define M5_DYNSEC_DEPTH_MAX   16u      /* levels of JSON */

struct m5_dynsec;

/* Reads the file @p path (borrowed) and starts the threads that check passwords; with NULL, the
 * document is empty and kept in memory: for tests. NULL with @p error. @p allocator is borrowed and
 * used by several threads. */
struct m5_dynsec *m5_dynsec_new(const struct mqtt5_allocator *allocator, const char *path,
                                const struct m5_verifier_config *verifier,
                                struct m5_text_error *error);

/* No thread may use it any more. Accepts NULL. */
void m5_dynsec_free(struct m5_dynsec *dynsec);

/* Executes the commands in @p payload and gives the JSON that answers them, to be freed by free();
 * NULL without memory. *changed: a new view is in place. Takes as long as a file takes to be
 * written, and a password to be hashed. Any thread; one at a time, others wait. */
char *m5_dynsec_execute(struct m5_dynsec *dynsec, struct mqtt5_bytes payload, bool *changed);

/* Grows with each new view. */
uint64_t m5_dynsec_generation(const struct m5_dynsec *dynsec);

enum m5_dynsec_verdict {
    M5_DYNSEC_ALLOW,
    M5_DYNSEC_DENY,
    M5_DYNSEC_UNKNOWN /* it is not named here: others are to decide */
};

/* What a client may do. Any thread; never waits. */
enum m5_dynsec_verdict m5_dynsec_ask(struct m5_dynsec *dynsec, const struct m5_principal *who,
                                     enum m5_acl_action action, struct mqtt5_bytes topic);

/* What those may do for whom nothing stands here: the default access. Never below $CONTROL. */
enum m5_dynsec_verdict m5_dynsec_default(struct m5_dynsec *dynsec, enum m5_acl_action action,
                                         struct mqtt5_bytes topic);

/* May it be connected at all, by what stands here: it is not disabled and uses the client
 * identifier that it is bound to? UNKNOWN for those without a name, too. */
enum m5_dynsec_verdict m5_dynsec_welcomes(struct m5_dynsec *dynsec, struct mqtt5_bytes username,
                                          struct mqtt5_bytes client_id);

/* May a client that is connected stay? @p since: the generation when that was asked last. No: it is
 * not welcome, or it was named here and has been deleted since. */
bool m5_dynsec_keeps(struct m5_dynsec *dynsec, struct mqtt5_bytes username,
                     struct mqtt5_bytes client_id, uint64_t since);

/* Checks a password as m5_verifier_ask() does. */
enum m5_login_answer m5_dynsec_login(struct m5_dynsec *dynsec, const struct m5_login *login);
bool m5_dynsec_cancel(struct m5_dynsec *dynsec, const void *ctx, uint64_t token);

#endif
