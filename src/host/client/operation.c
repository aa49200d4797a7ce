/* Operations that somebody waits for, or is called back about.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "base/alloc.h"
#include "base/bytes.h"
#include "host/client/call.h"
#include "host/client/host.h"
#include "host/client/queue_file.h"

static size_t size_of(uint32_t count)
{
    return sizeof(struct m5_client_op) + count;
}

struct m5_client_op *m5_client_host_op_new(struct mqtt5_client *client, mqtt5_client_done_fn *done,
                                           void *ctx, uint32_t count)
{
    struct m5_client_op *op = m5_alloc_zero(client->allocator, size_of(count));
    if (op == NULL)
        return NULL;
    m5_client_call_started(done, ctx);
    op->done = done;
    op->ctx = ctx;
    op->count = count;
    return op;
}

void m5_client_host_op_free(struct mqtt5_client *client, struct m5_client_op *op)
{
    if (op == NULL)
        return;
    if (!op->finished) /* it has never begun */
        m5_client_call_failed(op->done, op->ctx);
    m5_free(client->allocator, op, size_of(op->count));
}

static void keep(struct m5_client_op *op, const struct mqtt5_client_result *result)
{
    const size_t size = result->reason_codes.len < op->count ? result->reason_codes.len : op->count;
    op->finished = true;
    op->error = result->error;
    op->reason_code = result->reason_code;
    op->packet_id = result->packet_id;
    m5_copy(op->reason_codes, m5_bytes(result->reason_codes.data, size));
}

void m5_client_host_op_finish(struct mqtt5_client *client, struct m5_client_op *op,
                              const struct mqtt5_client_result *result)
{
    if (op == NULL)
        return;
    keep(op, result);
    m5_client_queue_done(client, op);
    if (op->count > 0) /* a SUBSCRIBE or UNSUBSCRIBE */
        m5_client_host_settle_handlers(client, op);
    if (op->waited_for) {
        pthread_cond_broadcast(&client->changed);
        return;
    }
    if (op->done != NULL) {
        m5_client_host_call_begin(client);
        op->done(op->ctx, result);
        m5_client_host_call_end(client);
    }
    m5_client_host_op_free(client, op);
}
