/* Calls, as the operations that they wait for see them.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_HOST_CLIENT_CALL_H
#define M5_HOST_CLIENT_CALL_H

#include <mqtt5/client.h>

/* An operation with this callback begins, or did not begin after all. Lock held. */
void m5_client_call_started(mqtt5_client_done_fn *done, void *ctx);
void m5_client_call_failed(mqtt5_client_done_fn *done, void *ctx);

#endif
