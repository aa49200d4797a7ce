/* Our WebSocket against libwslay's, an implementation by others: both ways, and judging the same
 * broken streams.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "unit/websocket_end.h"

#include "support/seed.h"

#include "base/rng.h"

#include <wslay/wslay.h>

#define ROUNDS 200

/* wslay at the other end of an open connection. */
struct other {
    wslay_event_context_ptr context;
    struct mqtt5_bytes input;
    size_t output_size, plain_size, closed;
    struct m5_rng rng;
    uint8_t output[PLAIN_MAX], plain[PLAIN_MAX];
};

static ssize_t give_input(wslay_event_context_ptr context, uint8_t *out, size_t size, int flags,
                          void *ctx)
{
    struct other *other = (struct other *)ctx;
    (void)flags;
    if (other->input.len == 0) {
        wslay_event_set_error(context, WSLAY_ERR_WOULDBLOCK);
        return -1;
    }
    if (size > other->input.len)
        size = other->input.len;
    memcpy(out, other->input.data, size);
    other->input = m5_bytes(other->input.data + size, other->input.len - size);
    return (ssize_t)size;
}

static ssize_t take_output(wslay_event_context_ptr context, const uint8_t *bytes, size_t size,
                           int flags, void *ctx)
{
    struct other *other = (struct other *)ctx;
    (void)context;
    (void)flags;
    assert_true(other->output_size + size <= sizeof other->output);
    memcpy(other->output + other->output_size, bytes, size);
    other->output_size += size;
    return (ssize_t)size;
}

static int give_mask(wslay_event_context_ptr context, uint8_t *out, size_t size, void *ctx)
{
    (void)context;
    m5_rng_fill(&((struct other *)ctx)->rng, out, size);
    return 0;
}

static void take_chunk(wslay_event_context_ptr context,
                       const struct wslay_event_on_frame_recv_chunk_arg *chunk, void *ctx)
{
    struct other *other = (struct other *)ctx;
    const uint8_t *bytes = chunk->data;
    (void)context;
    assert_true(other->plain_size + chunk->data_length <= sizeof other->plain);
    memcpy(other->plain + other->plain_size, bytes, chunk->data_length);
    other->plain_size += chunk->data_length;
}

/* Control frames come here; their bytes come as chunks too, and are no plain ones. */
static void take_message(wslay_event_context_ptr context,
                         const struct wslay_event_on_msg_recv_arg *message, void *ctx)
{
    struct other *other = (struct other *)ctx;
    (void)context;
    if (message->opcode >= 8)
        other->plain_size -= message->msg_length;
    if (message->opcode == 8)
        other->closed = message->status_code;
}

static void other_init(struct other *other, bool server, uint64_t seed)
{
    const struct wslay_event_callbacks callbacks = {
        .recv_callback = give_input,
        .send_callback = take_output,
        .genmask_callback = give_mask,
        .on_frame_recv_chunk_callback = take_chunk,
        .on_msg_recv_callback = take_message,
    };
    memset(other, 0, offsetof(struct other, output));
    m5_rng_init(&other->rng, seed);
    assert_int_equal(server ? wslay_event_context_server_init(&other->context, &callbacks, other)
                            : wslay_event_context_client_init(&other->context, &callbacks, other),
                     0);
    wslay_event_config_set_no_buffering(other->context, 1);
    wslay_event_config_set_max_recv_msg_length(other->context, UINT64_MAX);
}

/* Hands in bytes and lets it answer. False when it is through with the connection. */
static bool other_feed(struct other *other, struct mqtt5_bytes bytes)
{
    other->input = bytes;
    const int received = wslay_event_recv(other->context);
    const int sent = wslay_event_send(other->context);
    return received == 0 && sent == 0 && wslay_event_get_read_enabled(other->context);
}

/* Queues a message of @p size bytes of @p bytes, in fragments of up to @p piece. */
struct fragments {
    struct mqtt5_bytes rest;
    size_t piece;
};

static ssize_t give_fragment(wslay_event_context_ptr context, uint8_t *out, size_t size,
                             const union wslay_event_msg_source *source, int *end, void *ctx)
{
    struct fragments *fragments = (struct fragments *)source->data;
    (void)context;
    (void)ctx;
    if (size > fragments->piece)
        size = fragments->piece;
    if (size > fragments->rest.len)
        size = fragments->rest.len;
    memcpy(out, fragments->rest.data, size);
    fragments->rest = m5_bytes(fragments->rest.data + size, fragments->rest.len - size);
    *end = fragments->rest.len == 0;
    return (ssize_t)size;
}

static void other_say(struct other *other, struct mqtt5_bytes bytes, size_t piece)
{
    struct fragments fragments = {bytes, piece};
    const struct wslay_event_fragmented_msg message = {
        .opcode = WSLAY_BINARY_FRAME, .source.data = &fragments, .read_callback = give_fragment};
    assert_int_equal(wslay_event_queue_fragmented_msg(other->context, &message), 0);
    assert_int_equal(wslay_event_send(other->context), 0);
}

static void other_ping(struct other *other, const char *text)
{
    const struct wslay_event_msg message = {WSLAY_PING, (const uint8_t *)text, strlen(text)};
    assert_int_equal(wslay_event_queue_msg(other->context, &message), 0);
    assert_int_equal(wslay_event_send(other->context), 0);
}

static uint8_t sample[70000];

static void talk(struct end *end, struct other *other, struct m5_rng *rng)
{
    size_t said = 0, heard = 0;
    for (int turn = 0; turn < 6; turn++) {
        const size_t ours = 1 + m5_rng_below(rng, turn == 3 ? 66000 : 300);
        const size_t theirs = 1 + m5_rng_below(rng, turn == 4 ? 66000 : 300);
        const struct mqtt5_bytes view = m5_bytes(sample, ours);
        assert_true(m5_transport_write(end->transport, &view, 1, &end->out));
        other_say(other, m5_bytes(sample, theirs), 1 + m5_rng_below(rng, 5000));
        other_ping(other, "still there?");
        assert_true(other_feed(other, end_said(end)));
        end_hush(end);
        end_feed_pieces(end, m5_bytes(other->output, other->output_size),
                        1 + m5_rng_below(rng, 3000));
        other->output_size = 0;
        assert_memory_equal(other->plain + heard, sample, ours);
        assert_memory_equal(end->plain + said, sample, theirs);
        heard += ours;
        said += theirs;
        assert_int_equal(other->plain_size, heard);
        assert_int_equal(end->plain_size, said);
    }
}

static void both_ways_against_wslay(void **state)
{
    (void)state;
    static struct end server, client;
    static struct other other;
    struct m5_rng rng;
    const uint64_t seed = test_seed(7);
    m5_rng_init(&rng, seed);
    m5_rng_fill(&rng, sample, sizeof sample);
    for (int round = 0; round < ROUNDS; round++) {
        const bool ours_serves = round % 2 == 0;
        connect_ends(&server, &client);
        other_init(&other, !ours_serves, seed + (uint64_t)round);
        talk(ours_serves ? &server : &client, &other, &rng);
        wslay_event_context_free(other.context);
        end_fini(&server);
        end_fini(&client);
    }
}

static void both_agree_on_the_end(void **state)
{
    (void)state;
    static struct end server, client;
    static struct other other;
    connect_ends(&server, &client);
    other_init(&other, true, 1);
    m5_transport_finish(client.transport, &client.out);
    other_feed(&other, end_said(&client));
    assert_int_equal(other.closed, 1000);
    end_feed(&client, m5_bytes(other.output, other.output_size));
    assert_int_equal(client.result, M5_TRANSPORT_CLOSED);
    wslay_event_context_free(other.context);

    other_init(&other, false, 1);
    assert_int_equal(wslay_event_queue_close(other.context, 1001, (const uint8_t *)"bye", 3), 0);
    assert_int_equal(wslay_event_send(other.context), 0);
    end_feed(&server, m5_bytes(other.output, other.output_size));
    assert_int_equal(server.result, M5_TRANSPORT_CLOSED);
    other_feed(&other, end_said(&server));
    assert_true(wslay_event_get_close_received(other.context));
    assert_int_equal(other.closed, 1001);
    wslay_event_context_free(other.context);
    end_fini(&server);
    end_fini(&client);
}

/* Frames with payloads, some in fragments, with Pings between them. */
static size_t write_stream(uint8_t *out, struct m5_rng *rng)
{
    static const uint8_t firsts[] = {0x82, 0x02, 0x89, 0x00, 0x80, 0x82};
    size_t at = 0;
    for (size_t i = 0; i < sizeof firsts; i++) {
        const bool control = firsts[i] == 0x89;
        const size_t size = m5_rng_below(rng, !control && m5_rng_below(rng, 4) == 0 ? 700 : 126);
        at += put_frame(out + at, firsts[i], true, m5_bytes(sample, size));
    }
    return at;
}

/* A stream with one byte spoiled is right or wrong for both, and gives the same until then. Text
 * is the difference there must be: MQTT does not come in it. */
static void both_judge_spoiled_streams_alike(void **state)
{
    (void)state;
    static struct end end;
    static struct other other;
    static uint8_t stream[8192];
    struct m5_rng rng;
    unsigned refused = 0, texts = 0;
    m5_rng_init(&rng, test_seed(11));
    m5_rng_fill(&rng, sample, sizeof sample);
    for (int round = 0; round < 3000; round++) {
        const size_t size = write_stream(stream, &rng);
        const size_t where = m5_rng_below(&rng, round % 2 == 0 ? 8 : size);
        stream[where] ^= (uint8_t)(1 + m5_rng_below(&rng, 255));
        serve_open(&end, NULL);
        other_init(&other, true, 1);
        const bool right = other_feed(&other, m5_bytes(stream, size));
        end_feed(&end, m5_bytes(stream, size));
        if (end.transport->failure != NULL && strstr(end.transport->failure, "text") != NULL) {
            texts++;
        } else {
            if ((end.result == M5_TRANSPORT_AGAIN) != right)
                fail_msg("round %d: byte %zu is now %02x; wslay takes it: %d; ours: %s", round,
                         where, stream[where], right,
                         end.transport->failure != NULL ? end.transport->failure : "taken");
            if (right)
                assert_int_equal(end.plain_size, other.plain_size);
            assert_memory_equal(end.plain, other.plain, right ? end.plain_size : 0);
            refused += !right;
        }
        wslay_event_context_free(other.context);
        end_fini(&end);
    }
    print_message("%u of 3000 refused by both, %u by us alone as text\n", refused, texts);
    assert_true(refused > 300);
    assert_true(texts > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_ways_against_wslay),
        cmocka_unit_test(both_agree_on_the_end),
        cmocka_unit_test(both_judge_spoiled_streams_alike),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
