/* The document of dynamic security, compiled to answer questions: never changes once it is made, so
 * any number of threads may ask it.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_HOST_DYNSEC_VIEW_H
#define M5_HOST_DYNSEC_VIEW_H

#include "host/auth/users.h"
#include "host/dynsec/document.h"
#include "host/dynsec/dynsec.h"

struct m5_dynsec_view;

/* NULL without memory. @p document is not needed any more afterwards. */
struct m5_dynsec_view *m5_dynsec_view_new(const struct mqtt5_allocator *allocator,
                                          const json_t *document);
void m5_dynsec_view_free(struct m5_dynsec_view *view); /* accepts NULL */

enum m5_dynsec_verdict m5_dynsec_view_ask(const struct m5_dynsec_view *view,
                                          const struct m5_principal *who, enum m5_acl_action action,
                                          struct mqtt5_bytes topic);

enum m5_dynsec_verdict m5_dynsec_view_default(const struct m5_dynsec_view *view,
                                              enum m5_acl_action action, struct mqtt5_bytes topic);

enum m5_dynsec_verdict m5_dynsec_view_welcomes(const struct m5_dynsec_view *view,
                                               struct mqtt5_bytes username,
                                               struct mqtt5_bytes client_id);

/* The passwords of the clients that have one, to verify logins by. NULL without memory. */
struct m5_users *m5_dynsec_view_users(const struct m5_dynsec_view *view);

#endif
