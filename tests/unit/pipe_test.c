/* The pipe: one or two transports over a stream, with a toy transport whose every step is known.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "base/alloc.h"
#include "base/bytes.h"
#include "base/rng.h"
#include "host/pipe.h"
#include "support/seed.h"
#include "support/test_allocator.h"
#include "support/unit.h"

#include <string.h>

/* ---- a toy: "H" each way, then frames of one length byte, the last one of length 0 ---- */

struct toy {
    struct m5_transport head;
    const struct mqtt5_allocator *allocator;
    bool client, greeted; /* we have said "H" */
    uint8_t left;         /* bytes of the frame that is being read */
};

static ptrdiff_t toy_fail(struct toy *toy)
{
    toy->head.failure = "the toy is broken";
    return M5_TRANSPORT_FAILED;
}

static bool toy_greet(struct toy *toy, struct m5_outbox *out)
{
    if (toy->greeted)
        return true;
    toy->greeted = true;
    return m5_outbox_append(out, m5_bytes("H", 1));
}

static ptrdiff_t toy_read(struct m5_transport *transport, struct mqtt5_bytes *wire,
                          struct m5_outbox *out, uint8_t *plain, size_t size)
{
    struct toy *toy = (struct toy *)transport;
    if (toy->client && !toy_greet(toy, out))
        return toy_fail(toy);
    for (; wire->len > 0; wire->data++, wire->len--) {
        if (toy->left > 0) {
            size_t count = toy->left < wire->len ? toy->left : wire->len;
            count = count < size ? count : size;
            memcpy(plain, wire->data, count);
            *wire = m5_bytes(wire->data + count, wire->len - count);
            toy->left = (uint8_t)(toy->left - count);
            return (ptrdiff_t)count;
        }
        if (!toy->head.open) {
            if (wire->data[0] != 'H' || !toy_greet(toy, out))
                return toy_fail(toy);
            toy->head.open = true;
        } else if (wire->data[0] == 0) {
            return M5_TRANSPORT_CLOSED;
        } else {
            toy->left = wire->data[0];
        }
    }
    return M5_TRANSPORT_AGAIN;
}

static bool toy_write(struct m5_transport *transport, const struct mqtt5_bytes *views, size_t count,
                      struct m5_outbox *out)
{
    assert_true(transport->open);
    for (size_t i = 0; i < count; i++) {
        for (struct mqtt5_bytes rest = views[i]; rest.len > 0;) {
            const size_t taken = rest.len < 200 ? rest.len : 200;
            const uint8_t head = (uint8_t)taken;
            if (!m5_outbox_append(out, m5_bytes(&head, 1)) ||
                !m5_outbox_append(out, m5_bytes(rest.data, taken)))
                return false;
            rest = m5_bytes(rest.data + taken, rest.len - taken);
        }
    }
    return true;
}

static void toy_finish(struct m5_transport *transport, struct m5_outbox *out)
{
    if (transport->open)
        (void)m5_outbox_append(out, m5_bytes("", 1));
}

static void toy_free(struct m5_transport *transport)
{
    struct toy *toy = (struct toy *)transport;
    m5_free(toy->allocator, toy, sizeof *toy);
}

static const struct m5_transport_kind toy_kind = {
    .name = "toy", .read = toy_read, .write = toy_write, .finish = toy_finish, .free = toy_free};

static struct m5_transport *toy_new(const struct mqtt5_allocator *allocator, bool client)
{
    struct toy *toy = (struct toy *)m5_alloc_zero(allocator, sizeof *toy);
    assert_non_null(toy);
    toy->head.kind = &toy_kind;
    toy->allocator = allocator;
    toy->client = client;
    return &toy->head;
}

/* ---- two ends with a stream between them ---- */

#define TOTAL 20000u /* bytes each way */

struct end {
    struct m5_pipe pipe;
    struct m5_pipe_room room;  /* its thread's */
    uint8_t stream[4 * TOTAL]; /* what it has sent and the other has not received */
    size_t stream_size;
    uint32_t written, seen; /* plain bytes */
    bool closed;
};

static uint8_t byte_at(uint32_t position)
{
    return (uint8_t)(position * 31 + position / 251);
}

static void end_init(struct end *end, const struct mqtt5_allocator *allocator, unsigned layers,
                     bool client)
{
    *end = (struct end){.room.allocator = allocator};
    m5_pipe_init(&end->pipe);
    for (unsigned i = 0; i < layers; i++)
        m5_pipe_push(&end->pipe, toy_new(allocator, client));
}

static void end_fini(struct end *end)
{
    m5_pipe_fini(&end->pipe, &end->room);
    m5_pipe_room_fini(&end->room);
}

/* Sends a part of what waits. */
static void send_some(struct end *end, struct m5_rng *rng)
{
    const struct mqtt5_bytes view = m5_pipe_output(&end->pipe);
    const size_t size = view.len == 0 ? 0 : 1 + (size_t)m5_rng_below(rng, view.len);
    assert_true(end->stream_size + size <= sizeof end->stream);
    m5_copy(end->stream + end->stream_size, m5_bytes(view.data, size));
    end->stream_size += size;
    m5_pipe_sent(&end->pipe, &end->room, size);
}

/* Takes plain bytes until there are none, or the reader has had enough. */
static void read_some(struct end *end, struct m5_rng *rng)
{
    uint8_t plain[300];
    for (;;) {
        if (m5_rng_below(rng, 8) == 0)
            break;
        const ptrdiff_t got = m5_pipe_read(&end->pipe, &end->room, plain,
                                           1 + (size_t)m5_rng_below(rng, sizeof plain));
        if (got <= 0) {
            assert_true(got == M5_TRANSPORT_AGAIN || got == M5_TRANSPORT_CLOSED);
            end->closed = got == M5_TRANSPORT_CLOSED;
            break;
        }
        for (ptrdiff_t i = 0; i < got; i++)
            assert_int_equal(plain[i], byte_at(end->seen++));
    }
    assert_true(m5_pipe_leave(&end->pipe, &end->room));
    if (end->room.between != NULL) /* another pipe of the thread uses it */
        memset(end->room.between, 0xEE, M5_PIPE_BETWEEN);
}

/* Receives a part of what @p from has sent; the buffer is used anew after that. */
static void receive_some(struct end *end, struct end *from, struct m5_rng *rng)
{
    uint8_t buffer[5000];
    if (!m5_pipe_holds(&end->pipe)) {
        size_t size = (size_t)m5_rng_below(rng, sizeof buffer);
        size = size < from->stream_size ? size : from->stream_size;
        memcpy(buffer, from->stream, size);
        from->stream_size -= size;
        memmove(from->stream, from->stream + size, from->stream_size);
        m5_pipe_receive(&end->pipe, m5_bytes(buffer, size));
    }
    read_some(end, rng);
    memset(buffer, 0xDD, sizeof buffer);
}

static void write_some(struct end *end, struct m5_rng *rng)
{
    uint8_t bytes[2][900];
    struct mqtt5_bytes views[2];
    if (!m5_pipe_open(&end->pipe) || m5_pipe_output(&end->pipe).len > 0)
        return;
    for (int i = 0; i < 2; i++) {
        uint32_t size = (uint32_t)m5_rng_below(rng, sizeof bytes[i]);
        size = size < TOTAL - end->written ? size : TOTAL - end->written;
        for (uint32_t at = 0; at < size; at++)
            bytes[i][at] = byte_at(end->written++);
        views[i] = m5_bytes(bytes[i], size);
    }
    assert_true(m5_pipe_write(&end->pipe, &end->room, views, 2));
}

static void talk(uint64_t seed, unsigned layers)
{
    struct test_allocator allocator;
    struct m5_rng rng;
    static struct end ends[2];
    m5_rng_init(&rng, seed * 2 + layers);
    test_allocator_init(&allocator);
    end_init(&ends[0], &allocator.table, layers, true);
    end_init(&ends[1], &allocator.table, layers, false);
    for (int round = 0; ends[0].seen < TOTAL || ends[1].seen < TOTAL; round++) {
        assert_true(round < 100000);
        for (int i = 0; i < 2; i++) {
            receive_some(&ends[i], &ends[1 - i], &rng);
            write_some(&ends[i], &rng);
            send_some(&ends[i], &rng);
        }
    }
    m5_pipe_finish(&ends[0].pipe, &ends[0].room);
    for (int round = 0; !ends[1].closed; round++) {
        assert_true(round < 1000);
        send_some(&ends[0], &rng);
        receive_some(&ends[1], &ends[0], &rng);
    }
    end_fini(&ends[0]);
    end_fini(&ends[1]);
    test_allocator_check(&allocator);
}

static void bytes_arrive_in_order_through_any_splits(void **state)
{
    (void)state;
    const uint64_t seed = test_seed(1);
    for (unsigned i = 0; i < 20; i++)
        for (unsigned layers = 1; layers <= 2; layers++)
            talk(seed + i, layers);
}

static void an_idle_pipe_has_no_memory(void **state)
{
    (void)state;
    struct test_allocator allocator;
    struct m5_rng rng;
    static struct end ends[2];
    test_allocator_init(&allocator);
    m5_rng_init(&rng, 1);
    end_init(&ends[0], &allocator.table, 2, true);
    end_init(&ends[1], &allocator.table, 2, false);
    while (!m5_pipe_open(&ends[0].pipe) || !m5_pipe_open(&ends[1].pipe)) {
        for (int i = 0; i < 2; i++) {
            receive_some(&ends[i], &ends[1 - i], &rng);
            send_some(&ends[i], &rng);
        }
    }
    for (int i = 0; i < 2; i++) {
        while (m5_pipe_output(&ends[i].pipe).len > 0)
            send_some(&ends[i], &rng);
        assert_null(ends[i].pipe.kept);
        assert_int_equal(ends[i].pipe.out.capacity, 0);
        end_fini(&ends[i]);
    }
    test_allocator_check(&allocator);
}

static void what_fails_stays_failed_and_says_why(void **state)
{
    (void)state;
    struct test_allocator allocator;
    struct end *end = (struct end *)test_malloc(sizeof *end);
    uint8_t plain[10];
    test_allocator_init(&allocator);
    end_init(end, &allocator.table, 1, false);
    m5_pipe_receive(&end->pipe, m5_bytes("X", 1));
    assert_int_equal(m5_pipe_read(&end->pipe, &end->room, plain, sizeof plain),
                     M5_TRANSPORT_FAILED);
    assert_string_equal(m5_pipe_failure(&end->pipe), "the toy is broken");
    assert_false(m5_pipe_holds(&end->pipe));
    assert_false(m5_pipe_leave(&end->pipe, &end->room));
    assert_int_equal(m5_pipe_read(&end->pipe, &end->room, plain, sizeof plain),
                     M5_TRANSPORT_FAILED);
    end_fini(end);
    test_free(end);
    test_allocator_check(&allocator);
}

/* Without memory at any point the pipe fails, and leaks nothing. */
static void no_memory_is_a_failure(void **state)
{
    (void)state;
    uint8_t plain[4];
    for (uint64_t nth = 1;; nth++) {
        struct test_allocator allocator;
        struct end *end = (struct end *)test_malloc(sizeof *end);
        test_allocator_init(&allocator);
        end_init(end, &allocator.table, 2, false);
        test_allocator_fail_nth(&allocator, nth);
        /* "H" below; then, in its frames, "H" and a frame above */
        m5_pipe_receive(&end->pipe, m5_bytes("H\x01H\x05\x04"
                                             "abcd",
                                             9));
        ptrdiff_t got = m5_pipe_read(&end->pipe, &end->room, plain, 2);
        if (got == 2)
            got = m5_pipe_leave(&end->pipe, &end->room) ? 2 : M5_TRANSPORT_FAILED;
        const bool failed = test_allocator_failed(&allocator);
        assert_int_equal(got, failed ? M5_TRANSPORT_FAILED : 2);
        end_fini(end);
        test_free(end);
        test_allocator_check(&allocator);
        if (!failed)
            break;
        assert_true(nth < 100);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_arrive_in_order_through_any_splits),
        cmocka_unit_test(an_idle_pipe_has_no_memory),
        cmocka_unit_test(what_fails_stays_failed_and_says_why),
        cmocka_unit_test(no_memory_is_a_failure),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
