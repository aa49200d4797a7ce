/* WebSocket frames: what comes out is what went in, however it is framed and cut; what is wrong
 * ends the connection in the words of RFC 6455.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "unit/websocket_end.h"

#include "support/seed.h"

#include "base/rng.h"

#include <stdio.h>

#define BINARY 0x82 /* a whole message */

static uint8_t wire[1 << 19], sample[PLAIN_MAX];

static void fill_sample(size_t size)
{
    for (size_t i = 0; i < size; i++)
        sample[i] = (uint8_t)(i * 7 + i / 251);
}

static void write_plain(struct end *end, struct mqtt5_bytes bytes)
{
    assert_true(m5_transport_write(end->transport, &bytes, 1, &end->out));
}

/* ---- data ---- */

static void every_size_gets_through_both_ways(void **state)
{
    (void)state;
    static const size_t sizes[] = {1, 7, 8, 9, 125, 126, 127, 255, 65535, 65536, 70001};
    static struct end server, client;
    fill_sample(70001);
    connect_ends(&server, &client);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        server.plain_size = client.plain_size = 0;
        write_plain(&client, m5_bytes(sample, sizes[i]));
        write_plain(&server, m5_bytes(sample, sizes[i]));
        carry(&client, &server, SIZE_MAX);
        carry(&server, &client, SIZE_MAX);
        assert_int_equal(server.plain_size, sizes[i]);
        assert_int_equal(client.plain_size, sizes[i]);
        assert_memory_equal(server.plain, sample, sizes[i]);
        assert_memory_equal(client.plain, sample, sizes[i]);
    }
    end_fini(&server);
    end_fini(&client);
}

static void every_split_gives_the_same(void **state)
{
    (void)state;
    static struct end server, client;
    fill_sample(300);
    for (size_t piece = 1; piece < 320; piece++) {
        for (size_t read = 0; read <= 3; read++) {
            connect_ends(&server, &client);
            server.read_size = client.read_size = read * read * read;
            write_plain(&client, m5_bytes(sample, 300));
            write_plain(&client, m5_bytes(sample, 1));
            write_plain(&server, m5_bytes(sample, 300));
            carry(&client, &server, piece);
            carry(&server, &client, piece);
            assert_int_equal(server.plain_size, 301);
            assert_memory_equal(server.plain, sample, 300);
            assert_int_equal(client.plain_size, 300);
            assert_memory_equal(client.plain, sample, 300);
            end_fini(&server);
            end_fini(&client);
        }
    }
}

/* One frame for a turn: a server's is plain, a client's is masked, each with another mask. */
static void a_write_is_one_frame(void **state)
{
    (void)state;
    static struct end server, client;
    const struct mqtt5_bytes views[] = {m5_bytes_of("\x30\x03"), m5_bytes(NULL, 0),
                                        m5_bytes_of("\x01t"), m5_bytes_of("payload")};
    connect_ends(&server, &client);
    assert_true(m5_transport_write(server.transport, views, 4, &server.out));
    assert_int_equal(server.out.size, 13);
    assert_memory_equal(server.out.data, "\x82\x0B\x30\x03\x01tpayload", 13);
    end_hush(&server);
    assert_true(m5_transport_write(server.transport, views + 1, 1, &server.out));
    assert_int_equal(server.out.size, 0);

    assert_true(m5_transport_write(client.transport, views, 4, &client.out));
    assert_true(m5_transport_write(client.transport, views, 4, &client.out));
    assert_int_equal(client.out.size, 2 * 17);
    assert_memory_equal(client.out.data, "\x82\x8B", 2);
    assert_memory_equal(client.out.data + 17, "\x82\x8B", 2);
    assert_memory_not_equal(client.out.data + 2, client.out.data + 19, 4);
    carry(&client, &server, 5);
    assert_int_equal(server.plain_size, 22);
    assert_memory_equal(server.plain + 11, "\x30\x03\x01tpayload", 11);
    end_fini(&server);
    end_fini(&client);
}

/* ---- framing of WebSocket x framing of MQTT ---- */

/* Several packets, one behind the other, with Remaining Lengths of one to three bytes. */
static size_t write_packets(uint8_t *out)
{
    static const uint32_t sizes[] = {0, 2, 127, 128, 300, 16383, 16384};
    uint8_t *at = out;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        *at++ = sizes[i] == 0 ? 0xC0 : 0x30;
        at = m5_varint_write(at, sizes[i]);
        for (uint32_t k = 0; k < sizes[i]; k++)
            *at++ = k == 0 ? 0 : k == 1 && sizes[i] > 2 ? 1 : (uint8_t)('a' + k % 26);
    }
    return (size_t)(at - out);
}

/* How @p packets become frames: of @p size bytes each, @p frames to a message; with empty frames
 * and Pings between them if asked. */
struct framing {
    size_t size, frames;
    bool empty, pings;
};

static size_t write_frames(uint8_t *out, struct mqtt5_bytes packets, struct framing framing)
{
    size_t at = 0, number = 0;
    for (size_t taken = 0; taken < packets.len; number++) {
        const size_t rest = packets.len - taken;
        const size_t size = rest < framing.size ? rest : framing.size;
        const bool first = number % framing.frames == 0;
        const bool last = number % framing.frames == framing.frames - 1 || size == rest;
        const uint8_t head = (uint8_t)((last ? 0x80 : 0) | (first ? 2 : 0));
        if (framing.empty && !first)
            at += put_frame(out + at, 0, true, m5_bytes(NULL, 0));
        if (framing.pings)
            at += put_frame(out + at, 0x89, true, m5_bytes_of("are you there?"));
        at += put_frame(out + at, head, true, m5_bytes(packets.data + taken, size));
        taken += size;
    }
    return at;
}

/* SECURITY-CASES 23 [MQTT-6.0.0-2]: a frame may end anywhere in a packet, in its length too, and a
 * packet anywhere in a frame; what is read ends at a guard page. */
static void mqtt_packets_cross_frames_in_every_way(void **state)
{
    (void)state;
    static const size_t sizes[] = {1, 2, 3, 4, 5, 64, 129, 131, 16387, 40000};
    static const size_t frames[] = {1, 2, 3, 100000};
    /* the smallest only where that takes no ages */
    static const size_t pieces[] = {1, 2, 3, 5, 14, 100, 1460, SIZE_MAX};
    static struct end end;
    const size_t size = write_packets(sample);
    for (size_t i = 0; i < M5_COUNT_OF(sizes) * M5_COUNT_OF(frames) * 4; i++) {
        const struct framing framing = {.size = sizes[i / 4 % M5_COUNT_OF(sizes)],
                                        .frames = frames[i / 4 / M5_COUNT_OF(sizes)],
                                        .empty = i % 2 == 1,
                                        .pings = i % 4 >= 2 && i / 4 % M5_COUNT_OF(sizes) > 4};
        const size_t wire_size = write_frames(wire, m5_bytes(sample, size), framing);
        assert_true(wire_size <= sizeof wire);
        for (size_t k = wire_size > 100000 ? 4 : 0; k < M5_COUNT_OF(pieces); k++) {
            serve_open(&end, NULL);
            end.read_size = k * 37;
            end_feed_pieces(&end, m5_bytes(wire, wire_size), pieces[k]);
            assert_int_equal(end.result, M5_TRANSPORT_AGAIN);
            assert_int_equal(end.plain_size, size);
            assert_memory_equal(end.plain, sample, size);
            end_fini(&end);
        }
    }
}

static void random_streams_get_through(void **state)
{
    (void)state;
    static struct end end;
    struct m5_rng rng;
    m5_rng_init(&rng, test_seed(20261122));
    fill_sample(5000);
    for (int round = 0; round < 300; round++) {
        size_t at = 0;
        const struct framing framing = {.size = 1 + m5_rng_below(&rng, 700),
                                        .frames = 1 + m5_rng_below(&rng, 4),
                                        .empty = m5_rng_below(&rng, 2) == 0,
                                        .pings = m5_rng_below(&rng, 2) == 0};
        const size_t size = write_frames(wire, m5_bytes(sample, 5000), framing);
        serve_open(&end, NULL);
        while (at < size) {
            const size_t piece = 1 + m5_rng_below(&rng, size - at < 900 ? size - at : 900);
            end.read_size = 1 + m5_rng_below(&rng, 600);
            end_feed(&end, m5_bytes(wire + at, piece));
            at += piece;
        }
        assert_int_equal(end.plain_size, 5000);
        assert_memory_equal(end.plain, sample, 5000);
        end_fini(&end);
    }
}

/* ---- what is wrong ---- */

#define MASK "\x37\xFA\x21\x3D"

static const struct broken {
    const char *bytes;
    size_t size;
    uint16_t code;
    bool to_client;
    const char *failure;
} broken[] = {
#define ROW(bytes, code, to_client, failure)              \
    {                                                     \
        bytes, sizeof bytes - 1, code, to_client, failure \
    }
    ROW("\xC2\x80" MASK, 1002, false,
        "the peer used an extension of WebSocket that was not agreed on"),
    ROW("\xA2\x80" MASK, 1002, false,
        "the peer used an extension of WebSocket that was not agreed on"),
    ROW("\x92\x80" MASK, 1002, false,
        "the peer used an extension of WebSocket that was not agreed on"),
    ROW("\x82\x01x", 1002, false, "the client sent a WebSocket frame without a mask"),
    ROW("\x82\x00", 1002, false, "the client sent a WebSocket frame without a mask"),
    ROW("\x89\x00", 1002, false, "the client sent a WebSocket frame without a mask"),
    ROW("\x82\x81" MASK "x", 1002, true, "the server sent a WebSocket frame with a mask"),
    ROW("\x8A\x80" MASK, 1002, true, "the server sent a WebSocket frame with a mask"),
    ROW("\x83\x80" MASK, 1002, false, "the peer sent a WebSocket frame of an unknown kind"),
    ROW("\x87\x80" MASK, 1002, false, "the peer sent a WebSocket frame of an unknown kind"),
    ROW("\x8B\x80" MASK, 1002, false, "the peer sent a WebSocket frame of an unknown kind"),
    ROW("\x8F\x00", 1002, true, "the peer sent a WebSocket frame of an unknown kind"),
    ROW("\x81\x80" MASK, 1003, false,
        "the peer sent a WebSocket text frame, and MQTT comes in binary ones"),
    ROW("\x01\x81" MASK "x", 1003, false,
        "the peer sent a WebSocket text frame, and MQTT comes in binary ones"),
    ROW("\x80\x80" MASK, 1002, false,
        "the peer sent WebSocket frames in an order that makes no message"),
    ROW("\x00\x80" MASK, 1002, false,
        "the peer sent WebSocket frames in an order that makes no message"),
    ROW("\x02\x80" MASK "\x82\x80" MASK, 1002, false,
        "the peer sent WebSocket frames in an order that makes no message"),
    ROW("\x02\x80" MASK "\x81\x80" MASK, 1002, false,
        "the peer sent WebSocket frames in an order that makes no message"),
    ROW("\x02\x80" MASK "\x80\x80" MASK "\x80\x80" MASK, 1002, false,
        "the peer sent WebSocket frames in an order that makes no message"),
    ROW("\x09\x80" MASK, 1002, false, "the peer split a WebSocket control frame"),
    ROW("\x08\x80" MASK, 1002, false, "the peer split a WebSocket control frame"),
    ROW("\x89\xFE\0\x7E" MASK, 1002, false,
        "the peer sent a WebSocket control frame that is too large"),
    ROW("\x8A\x7E\0\x7E", 1002, true, "the peer sent a WebSocket control frame that is too large"),
    ROW("\x82\xFE\0\x7D" MASK, 1002, false,
        "the peer wrote the length of a WebSocket frame in a wrong way"),
    ROW("\x89\xFE\0\x05" MASK, 1002, false,
        "the peer wrote the length of a WebSocket frame in a wrong way"),
    ROW("\x82\xFF\0\0\0\0\0\0\xFF\xFF" MASK, 1002, false,
        "the peer wrote the length of a WebSocket frame in a wrong way"),
    ROW("\x82\x7F\x80\0\0\0\0\x01\0\0", 1002, true,
        "the peer wrote the length of a WebSocket frame in a wrong way"),
    ROW("\x82\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF" MASK, 1002, false,
        "the peer wrote the length of a WebSocket frame in a wrong way"),
    ROW("\x88\x81" MASK "x", 1002, false, "the peer's Close frame has no right code"),
    ROW("\x88\x02\x03\xE7", 1002, true, "the peer's Close frame has no right code"), /* 999 */
    ROW("\x88\x02\x03\xEC", 1002, true, "the peer's Close frame has no right code"), /* 1004 */
    ROW("\x88\x02\x03\xED", 1002, true, "the peer's Close frame has no right code"), /* 1005 */
    ROW("\x88\x02\x03\xEE", 1002, true, "the peer's Close frame has no right code"), /* 1006 */
    ROW("\x88\x02\x03\xF7", 1002, true, "the peer's Close frame has no right code"), /* 1015 */
    ROW("\x88\x02\x13\x88", 1002, true, "the peer's Close frame has no right code"), /* 5000 */
    ROW("\x88\x04\x03\xE8\xC0\x80", 1007, true, "the reason in the peer's Close frame is no UTF-8"),
#undef ROW
};

static void assert_close(const struct end *end, uint16_t code)
{
    uint8_t payload[2];
    const size_t head = end->out.size >= 8 && end->out.data[1] == 0x82 ? 6 : 2;
    assert_int_equal(end->out.size, head + 2);
    assert_int_equal(end->out.data[0], 0x88);
    memcpy(payload, end->out.data + head, 2);
    for (size_t i = 0; head == 6 && i < 2; i++)
        payload[i] ^= end->out.data[2 + i];
    assert_int_equal(m5_read_u16(payload), code);
}

/* Opens the end that a case is for. */
static void open_one(struct end *end, bool client)
{
    static struct end other;
    if (!client) {
        serve_open(end, NULL);
        return;
    }
    connect_ends(&other, end);
    end_fini(&other);
}

static void what_is_wrong_closes_with_its_code(void **state)
{
    (void)state;
    static struct end end;
    for (size_t i = 0; i < M5_COUNT_OF(broken); i++) {
        for (size_t piece = 1; piece <= broken[i].size; piece++) {
            open_one(&end, broken[i].to_client);
            end_feed_pieces(&end, m5_bytes(broken[i].bytes, broken[i].size), piece);
            if (end.result != M5_TRANSPORT_FAILED)
                fail_msg("case %zu is taken", i);
            assert_string_equal(end.transport->failure, broken[i].failure);
            assert_close(&end, broken[i].code);
            const struct mqtt5_bytes more = m5_bytes_of("more");
            assert_false(m5_transport_write(end.transport, &more, 1, &end.out));
            m5_transport_finish(end.transport, &end.out); /* all is said */
            assert_close(&end, broken[i].code);
            end_fini(&end);
        }
    }
}

/* What came before the fault is given first, and `pending` says that there is more to hear. */
static void what_was_right_before_is_given(void **state)
{
    (void)state;
    static struct end end;
    size_t size = put_frame(wire, BINARY, true, m5_bytes("\xC0\x00", 2));
    size += put_frame(wire + size, 0x81, true, m5_bytes_of("x"));
    serve_open(&end, NULL);
    struct mqtt5_bytes view = m5_bytes(wire, size);
    assert_true(end_read(&end, &view));
    assert_int_equal(end.plain_size, 2);
    assert_true(end.transport->pending);
    view = m5_bytes(NULL, 0);
    assert_false(end_read(&end, &view));
    assert_int_equal(end.result, M5_TRANSPORT_FAILED);
    end_fini(&end);
}

static void messages_have_a_limit_when_one_is_given(void **state)
{
    (void)state;
    const struct m5_websocket_server_config config = {.message_size_max = 1000};
    static const struct {
        size_t sizes[3]; /* frames of one message */
        bool fits;
    } cases[] = {{{1000, 0, 0}, true},   {{1001, 0, 0}, false}, {{500, 500, 0}, true},
                 {{500, 500, 1}, false}, {{1, 1000, 0}, false}, {{0, 0, 1000}, true}};
    static struct end end;
    fill_sample(2000);
    for (size_t i = 0; i < M5_COUNT_OF(cases); i++) {
        serve_open(&end, &config);
        for (size_t k = 0; k < 3; k++) {
            const uint8_t first = (uint8_t)((k == 0 ? 2 : 0) | (k == 2 ? 0x80 : 0));
            end_feed(&end, m5_bytes(wire, put_frame(wire, first, true,
                                                    m5_bytes(sample, cases[i].sizes[k]))));
        }
        assert_int_equal(end.result, cases[i].fits ? M5_TRANSPORT_AGAIN : M5_TRANSPORT_FAILED);
        if (!cases[i].fits)
            assert_close(&end, 1009);
        else /* the next message counts anew */
            end_feed(&end, m5_bytes(wire, put_frame(wire, BINARY, true, m5_bytes(sample, 1000))));
        if (cases[i].fits)
            assert_int_equal(end.plain_size, 2000);
        end_fini(&end);
    }
}

/* A frame that says it is 2^62 bytes long is only as large as what comes of it. */
static void a_huge_frame_streams_through(void **state)
{
    (void)state;
    static struct end end;
    fill_sample(3000);
    serve_open(&end, NULL);
    const size_t before = end.allocator.bytes;
    end_feed(&end, m5_bytes("\x82\xFF\x40\0\0\0\0\0\0\0\0\0\0\0", 14));
    end_feed(&end, m5_bytes(sample, 3000));
    assert_int_equal(end.plain_size, 3000);
    assert_memory_equal(end.plain, sample, 3000);
    assert_int_equal(end.allocator.bytes, before);
    end_fini(&end);
}

/* ---- control frames ---- */

static void pings_are_answered_also_between_fragments(void **state)
{
    (void)state;
    static struct end end;
    char payload[M5_FRAME_CONTROL_MAX];
    memset(payload, 'p', sizeof payload);
    for (size_t size = 0; size <= sizeof payload; size += 25) {
        size_t at = put_frame(wire, 0x02, true, m5_bytes_of("ab"));
        at += put_frame(wire + at, 0x89, true, m5_bytes(payload, size));
        at += put_frame(wire + at, 0x8A, true, m5_bytes_of("unasked"));
        at += put_frame(wire + at, 0x80, true, m5_bytes_of("cd"));
        for (size_t piece = 1; piece <= at; piece += 6) {
            serve_open(&end, NULL);
            end_feed_pieces(&end, m5_bytes(wire, at), piece);
            assert_int_equal(end.plain_size, 4);
            assert_memory_equal(end.plain, "abcd", 4);
            assert_int_equal(end.out.size, 2 + size);
            assert_int_equal(end.out.data[0], 0x8A);
            assert_int_equal(end.out.data[1], size);
            assert_memory_equal(end.out.data + 2, payload, size);
            end_fini(&end);
        }
    }
}

static void of_many_pings_at_once_the_last_is_answered(void **state)
{
    (void)state;
    static struct end end;
    size_t at = 0;
    for (uint8_t i = 0; i < 100; i++)
        at += put_frame(wire + at, 0x89, true, m5_bytes(&i, 1));
    serve_open(&end, NULL);
    end_feed(&end, m5_bytes(wire, at));
    assert_int_equal(end.out.size, 3);
    assert_memory_equal(end.out.data, "\x8A\x01\x63", 3);
    end_fini(&end);
}

/* A peer that sends Pings and does not read gets no memory for it, and its Pong once it reads. */
static void pongs_are_bounded(void **state)
{
    (void)state;
    static struct end end;
    const size_t size = put_frame(wire, 0x89, true, m5_bytes_of("?"));
    serve_open(&end, NULL);
    for (int i = 0; i < 30000; i++)
        end_feed(&end, m5_bytes(wire, size));
    assert_true(end.out.size > 60000);
    assert_true(end.out.size < 70000);
    end_hush(&end);
    write_plain(&end, m5_bytes_of("x"));
    assert_int_equal(end.out.size, 3 + 3);
    assert_memory_equal(end.out.data, "\x8A\x01?\x82\x01x", 6);
    end_fini(&end);
}

static void a_close_is_answered_with_its_code(void **state)
{
    (void)state;
    static const struct {
        const char *payload;
        size_t size;
        const char *failure;
    } cases[] = {
        {"", 0, NULL},
        {"\x03\xE8", 2, NULL},
        {"\x03\xE9going away", 12, NULL},
        {"\x03\xEA", 2, "the peer says we broke the WebSocket protocol (1002)"},
        {"\x03\xF1", 2, "the peer says our message was too large (1009)"},
        {"\x0F\xA0\xC3\xBC", 4, "the peer closes the WebSocket with a code of its own"},
        {"\x13\x87", 2, "the peer closes the WebSocket with a code of its own"},
    };
    static struct end end;
    for (size_t i = 0; i < M5_COUNT_OF(cases); i++) {
        const size_t size = put_frame(wire, 0x88, true, m5_bytes(cases[i].payload, cases[i].size));
        for (size_t piece = 1; piece <= size; piece++) {
            serve_open(&end, NULL);
            end_feed_pieces(&end, m5_bytes(wire, size), piece);
            assert_int_equal(end.result, M5_TRANSPORT_CLOSED);
            if (cases[i].failure == NULL)
                assert_null(end.transport->failure);
            else
                assert_string_equal(end.transport->failure, cases[i].failure);
            const size_t echoed = cases[i].size < 2 ? 0 : 2;
            assert_int_equal(end.out.size, 2 + echoed);
            assert_int_equal(end.out.data[0], 0x88);
            assert_memory_equal(end.out.data + 2, cases[i].payload, echoed);
            end_fini(&end);
        }
    }
}

static void a_finished_end_says_so_once_and_hears_the_answer(void **state)
{
    (void)state;
    static struct end server, client;
    connect_ends(&server, &client);
    m5_transport_finish(client.transport, &client.out);
    m5_transport_finish(client.transport, &client.out);
    assert_close(&client, 1000);
    const struct mqtt5_bytes more = m5_bytes_of("more");
    assert_false(m5_transport_write(client.transport, &more, 1, &client.out));
    write_plain(&server, m5_bytes_of("late")); /* had been on its way */
    carry(&server, &client, 1);
    assert_int_equal(client.plain_size, 4);
    carry(&client, &server, 1);
    assert_int_equal(server.result, M5_TRANSPORT_CLOSED);
    assert_close(&server, 1000);
    carry(&server, &client, 1);
    assert_int_equal(client.result, M5_TRANSPORT_CLOSED);
    assert_int_equal(client.out.size, 0); /* no answer to an answer */
    end_fini(&server);
    end_fini(&client);
}

/* ---- memory ---- */

static void without_memory_the_connection_ends(void **state)
{
    (void)state;
    static struct end end;
    const struct mqtt5_bytes view = m5_bytes_of("x");
    serve_open(&end, NULL);
    m5_outbox_fini(&end.out);
    test_allocator_fail_nth(&end.allocator, 1);
    assert_false(m5_transport_write(end.transport, &view, 1, &end.out));
    assert_int_equal(end.out.size, 0);
    test_allocator_fail_nth(&end.allocator, 1);
    end_feed(&end, m5_bytes(wire, put_frame(wire, 0x89, true, m5_bytes_of("?"))));
    assert_int_equal(end.result, M5_TRANSPORT_FAILED);
    assert_string_equal(end.transport->failure, "no memory is left for the connection");
    end_fini(&end);

    serve_open(&end, NULL);
    m5_outbox_fini(&end.out);
    test_allocator_fail_nth(&end.allocator, 1);
    end_feed(&end, m5_bytes(wire, put_frame(wire, 0x88, true, m5_bytes(NULL, 0))));
    assert_int_equal(end.result, M5_TRANSPORT_CLOSED); /* its answer is but a courtesy */
    end_fini(&end);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_size_gets_through_both_ways),
        cmocka_unit_test(every_split_gives_the_same),
        cmocka_unit_test(a_write_is_one_frame),
        cmocka_unit_test(mqtt_packets_cross_frames_in_every_way),
        cmocka_unit_test(random_streams_get_through),
        cmocka_unit_test(what_is_wrong_closes_with_its_code),
        cmocka_unit_test(what_was_right_before_is_given),
        cmocka_unit_test(messages_have_a_limit_when_one_is_given),
        cmocka_unit_test(a_huge_frame_streams_through),
        cmocka_unit_test(pings_are_answered_also_between_fragments),
        cmocka_unit_test(of_many_pings_at_once_the_last_is_answered),
        cmocka_unit_test(pongs_are_bounded),
        cmocka_unit_test(a_close_is_answered_with_its_code),
        cmocka_unit_test(a_finished_end_says_so_once_and_hears_the_answer),
        cmocka_unit_test(without_memory_the_connection_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
