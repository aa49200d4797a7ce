/* The handshake of WebSocket: what a server takes and how it refuses, what a client asks for and
 * believes.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "unit/websocket_end.h"

#include <stdio.h>

static bool says(const struct end *end, const char *text)
{
    return end->out.size > 0 && memmem(end->out.data, end->out.size, text, strlen(text)) != NULL;
}

static void assert_says(const struct end *end, const char *text)
{
    if (!says(end, text))
        fail_msg("\"%s\" is not in: %.*s", text, (int)end->out.size, (const char *)end->out.data);
}

/* ---- server ---- */

/* The key and its answer are those of RFC 6455, 1.3. [MQTT-6.0.0-4] */
static void a_request_is_taken_in_the_words_of_the_rfc(void **state)
{
    (void)state;
    static const char answer[] = "HTTP/1.1 101 Switching Protocols\r\n"
                                 "Upgrade: websocket\r\n"
                                 "Connection: Upgrade\r\n"
                                 "Sec-WebSocket-Accept: " ACCEPT "\r\n"
                                 "Sec-WebSocket-Protocol: mqtt\r\n\r\n";
    struct end end;
    for (size_t piece = 1; piece < sizeof plain_request; piece++) {
        serve(&end, NULL);
        end_feed_pieces(&end, m5_bytes_of(plain_request), piece);
        assert_true(end.transport->open);
        assert_int_equal(end.out.size, sizeof answer - 1);
        assert_memory_equal(end.out.data, answer, sizeof answer - 1);
        end_fini(&end);
    }
}

static void fields_come_in_any_case_order_and_spacing(void **state)
{
    (void)state;
    struct end end;
    serve(&end, NULL);
    end_feed_text(&end, "GET /mqtt?token=1&x HTTP/1.1\r\n"
                        "sec-websocket-protocol:chat\r\n"
                        "SEC-WEBSOCKET-PROTOCOL: superchat ,\t mqtt , x\r\n"
                        "Sec-WebSocket-version: \t 13 \r\n"
                        "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"
                        "UPGRADE: h2c, WebSocket\r\n"
                        "connection:keep-alive,  upgrade\r\n"
                        "X-Empty:\r\n"
                        "Sec-WebSocket-Key:" KEY "\r\n"
                        "host:broker.example\r\n\r\n");
    assert_true(end.transport->open);
    assert_says(&end, "Sec-WebSocket-Protocol: mqtt\r\n");
    assert_false(says(&end, "permessage-deflate"));
    assert_false(says(&end, "Extensions"));
    end_fini(&end);
}

/* Writes a request with one line in place of another; NULL leaves it out. */
static void write_request(char *out, size_t size, const char *from, const char *to)
{
    const char *found = strstr(plain_request, from);
    assert_non_null(found);
    snprintf(out, size, "%.*s%s%s", (int)(found - plain_request), plain_request, to,
             found + strlen(from));
}

#define HOST    "Host: broker.example\r\n"
#define UPGRADE "Upgrade: websocket\r\n"
#define VERSION "Sec-WebSocket-Version: 13\r\n"
#define PROTO   "Sec-WebSocket-Protocol: mqtt\r\n"
#define KEY_IS  "Sec-WebSocket-Key: " KEY "\r\n"

static const struct refused {
    const char *from, *to; /* what is changed in the plain request */
    const char *answer, *failure;
} refused[] = {
    {"GET /mqtt", "GET /", "HTTP/1.1 404 Not Found\r\n",
     "the request is for a path that is not served: /"},
    {"GET /mqtt", "GET /mqtt/", "404 Not Found",
     "the request is for a path that is not served: /mqtt/"},
    {"GET /mqtt", "GET mqtt", "404 Not Found", "the request is for a path that is not served"},
    {"GET /mqtt", "GET *", "404 Not Found", "the request is for a path that is not served"},
    {"GET", "POST", "HTTP/1.1 405 Method Not Allowed\r\n", "the request's method is not GET"},
    {"GET", "get", "Allow: GET\r\n", "the request's method is not GET"},
    {"HTTP/1.1", "HTTP/1.0", "HTTP/1.1 505 ", "the request is not of HTTP/1.1"},
    {"HTTP/1.1", "HTTP/2.0", "HTTP/1.1 505 ", "the request is not of HTTP/1.1"},
    {"HTTP/1.1", "FTP/1.1", "HTTP/1.1 400 ",
     "the request is no HTTP/1.1 as a client would write it"},
    {" HTTP/1.1", "", "HTTP/1.1 400 ", "the request is no HTTP/1.1 as a client would write it"},
    {"GET /", "GET  /", "HTTP/1.1 400 ", "the request is no HTTP/1.1 as a client would write it"},
    {HOST, "", "HTTP/1.1 400 ", "the request has no Host, or several"},
    {HOST, HOST HOST, "HTTP/1.1 400 ", "the request has no Host, or several"},
    {HOST, HOST "X : y\r\n", "400 ", "the request is no HTTP/1.1 as a client would write it"},
    {HOST, HOST " folded\r\n", "400 ", "the request is no HTTP/1.1 as a client would write it"},
    {HOST, HOST ": y\r\n", "400 ", "the request is no HTTP/1.1 as a client would write it"},
    {HOST, HOST "no colon\r\n", "400 ", "the request is no HTTP/1.1 as a client would write it"},
    {HOST, HOST "X: a\rb\r\n", "400 ", "the request is no HTTP/1.1 as a client would write it"},
    {HOST, HOST "X: a\x01\r\n", "400 ", "the request is no HTTP/1.1 as a client would write it"},
    {HOST, HOST "X: a\n", "400 ", "the request is no HTTP/1.1 as a client would write it"},
    {HOST, HOST "Content-Length: 5\r\n", "400 ", "the request carries a body"},
    {HOST, HOST "Transfer-Encoding: chunked\r\n", "400 ", "the request carries a body"},
    {UPGRADE, "", "HTTP/1.1 426 Upgrade Required\r\n",
     "a web request came, which does not ask for WebSocket"},
    {UPGRADE, "Upgrade: websockets\r\n", "426 ",
     "a web request came, which does not ask for WebSocket"},
    {"Connection: Upgrade\r\n", "Connection: close\r\n", "Upgrade: websocket\r\n",
     "a web request came, which does not ask for WebSocket"},
    {VERSION, "Sec-WebSocket-Version: 8\r\n", "Sec-WebSocket-Version: 13\r\n",
     "the request is for another version of WebSocket than 13"},
    {VERSION, "", "HTTP/1.1 426 ", "the request is for another version of WebSocket than 13"},
    {VERSION, VERSION VERSION, "HTTP/1.1 400 ", "the request says the same thing twice"},
    {KEY_IS, "", "HTTP/1.1 400 ", "Sec-WebSocket-Key is missing or not of 16 bytes"},
    {KEY_IS, KEY_IS KEY_IS, "HTTP/1.1 400 ", "the request says the same thing twice"},
    {KEY, "dGhlIHNhbXBsZSBub25j", "400 ", "Sec-WebSocket-Key is missing or not of 16 bytes"},
    {KEY, "dGhlIHNhbXBsZSBub25jZSE=", "400 ", "Sec-WebSocket-Key is missing or not of 16 bytes"},
    {KEY, "dGhlIHNhbXBsZSBub25jZ!==", "400 ", "Sec-WebSocket-Key is missing or not of 16 bytes"},
    {PROTO, "", "must offer the WebSocket subprotocol \"mqtt\"",
     "the client does not offer the subprotocol mqtt"},
    {PROTO, "Sec-WebSocket-Protocol: chat, MQTT\r\n", "HTTP/1.1 400 ",
     "the client does not offer the subprotocol mqtt: chat, MQTT"},
};

static void what_is_refused_and_how(void **state)
{
    (void)state;
    struct end end;
    char request[1024];
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        write_request(request, sizeof request, refused[i].from, refused[i].to);
        serve(&end, NULL);
        end_feed_text(&end, request);
        assert_int_equal(end.result, M5_TRANSPORT_FAILED);
        assert_false(end.transport->open);
        assert_string_equal(end.transport->failure, refused[i].failure);
        assert_says(&end, refused[i].answer);
        assert_says(&end, "close\r\n");
        assert_says(&end, "ws://<this host and port>/mqtt");
        assert_null(m5_websocket_request(end.transport));
        end_fini(&end);
    }
}

/* What a person sees who opens the address with a web browser. */
static void a_plain_web_request_is_answered_for_a_person(void **state)
{
    (void)state;
    static const char page[] =
        "This is the address of an MQTT broker, not of a web page.\n"
        "MQTT clients reach the broker here by WebSocket: wss://<this host and port>/mqtt\n";
    const struct m5_websocket_server_config config = {.tls = true};
    struct end end;
    char length[64];
    serve(&end, &config);
    end_feed_text(&end, "GET /mqtt HTTP/1.1\r\nHost: x\r\nAccept: text/html\r\n\r\n");
    snprintf(length, sizeof length, "Content-Length: %zu\r\n", sizeof page - 1);
    assert_says(&end, length);
    assert_memory_equal(end.out.data + end.out.size - (sizeof page - 1), page, sizeof page - 1);
    end_fini(&end);
}

static void configured_paths_origins_and_subprotocols(void **state)
{
    (void)state;
    static const char *const origins[] = {"https://app.example", "null"};
    const struct m5_websocket_server_config config = {
        .path = "/broker", .origins = origins, .origin_count = 2, .subprotocol_optional = true};
    static const struct {
        const char *path, *more, *answer, *subprotocol;
    } cases[] = {
        {"/broker", "", "HTTP/1.1 101 ", ""},
        {"http://host:80/broker?x", "", "HTTP/1.1 101 ", ""},
        {"/mqtt", "", "HTTP/1.1 404 ", NULL},
        {"http://host", "", "HTTP/1.1 404 ", NULL},
        {"/broker", "Origin: https://app.example\r\n", "HTTP/1.1 101 ", ""},
        {"/broker", "Origin: HTTPS://APP.example\r\n", "HTTP/1.1 101 ", ""},
        {"/broker", "Origin: null\r\n", "HTTP/1.1 101 ", ""},
        {"/broker", "Origin: https://app.example.evil\r\n", "HTTP/1.1 403 ", NULL},
        {"/broker", "Origin: http://app.example\r\n", "HTTP/1.1 403 ", NULL},
        {"/broker", "Origin:\r\n", "HTTP/1.1 403 ", NULL},
        {"/broker", "Origin: null\r\nOrigin: null\r\n", "HTTP/1.1 400 ", NULL},
        {"/broker", "Sec-WebSocket-Protocol: mqttv3.1\r\n", "HTTP/1.1 101 ", "mqttv3.1"},
        {"/broker", "Sec-WebSocket-Protocol: mqttv3.1, mqtt\r\n", "HTTP/1.1 101 ", "mqtt"},
        {"/broker", "Sec-WebSocket-Protocol: amqp\r\n", "HTTP/1.1 400 ", NULL},
    };
    struct end end;
    char request[512];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        snprintf(request, sizeof request,
                 "GET %s HTTP/1.1\r\n" HOST UPGRADE "Connection: Upgrade\r\n" KEY_IS VERSION
                 "%s\r\n",
                 cases[i].path, cases[i].more);
        serve(&end, &config);
        end_feed_text(&end, request);
        assert_says(&end, cases[i].answer);
        assert_int_equal(end.transport->open, cases[i].subprotocol != NULL);
        if (cases[i].subprotocol != NULL)
            assert_string_equal(m5_websocket_request(end.transport)->subprotocol,
                                cases[i].subprotocol);
        if (cases[i].subprotocol != NULL && cases[i].subprotocol[0] == 0)
            assert_false(says(&end, "Sec-WebSocket-Protocol"));
        end_fini(&end);
    }
}

/* A request of @p size bytes with @p count fields more than the plain one has. */
static size_t write_large(char *out, size_t size, unsigned count)
{
    size_t at = sizeof plain_request - 3;
    memcpy(out, plain_request, at);
    for (unsigned i = 0; i < count; i++)
        at += (size_t)snprintf(out + at, 16, "X%u: \r\n", i);
    if (size > 0) {
        memset(out + at, 'f', size - at - 4);
        memcpy(out + at, "Filler: ", 8);
        at = size - 4;
        memcpy(out + at, "\r\n", 2);
        at += 2;
    }
    memcpy(out + at, "\r\n", 2);
    return at + 2;
}

static void heads_have_bounds(void **state)
{
    (void)state;
    static const struct {
        size_t size;
        unsigned count;
        bool open;
    } cases[] = {
        {M5_WEBSOCKET_HEAD_MAX, 0, true},
        {M5_WEBSOCKET_HEAD_MAX + 1, 0, false},
        {0, M5_WEBSOCKET_FIELDS_MAX - 6, true},
        {0, M5_WEBSOCKET_FIELDS_MAX - 5, false},
    };
    struct end end;
    char request[M5_WEBSOCKET_HEAD_MAX + 16];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        for (size_t piece = 1; piece < sizeof request; piece += 4000) {
            serve(&end, NULL);
            end_feed_pieces(&end,
                            m5_bytes(request, write_large(request, cases[i].size, cases[i].count)),
                            piece);
            assert_int_equal(end.transport->open, cases[i].open);
            assert_says(&end, cases[i].open ? " 101 " : " 431 ");
            end_fini(&end);
        }
    }
}

static void strangers_are_told_apart_in_the_log(void **state)
{
    (void)state;
    static const struct {
        const char *bytes, *failure;
    } cases[] = {
        {"\x10\x0C", "MQTT came without WebSocket: this address is for ws:// or wss:// clients"},
        {"\x16\x03\x01",
         "TLS came to a listener of plain WebSocket: this address is for ws:// clients"},
        {"\r\n", "what came is no HTTP, with which WebSocket begins"},
        {"\xFF", "what came is no HTTP, with which WebSocket begins"},
    };
    struct end end;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        serve(&end, NULL);
        end_feed_text(&end, cases[i].bytes);
        assert_int_equal(end.result, M5_TRANSPORT_FAILED);
        assert_string_equal(end.transport->failure, cases[i].failure);
        assert_int_equal(end.out.size, 0);
        end_fini(&end);
    }
}

static void what_was_asked_for_is_told_clean(void **state)
{
    (void)state;
    struct end end;
    char request[1024], agent[400];
    memset(agent, 'a', sizeof agent);
    memcpy(agent, "Mozilla \xC3\xBC\xE9", 11);
    snprintf(request, sizeof request,
             "Host: broker.example\r\nOrigin: https://app.example\r\nUser-Agent: %.*s\r\n",
             (int)sizeof agent, agent);
    char whole[2048];
    write_request(whole, sizeof whole, HOST, request);
    serve(&end, NULL);
    end_feed_text(&end, whole);
    const struct m5_websocket_request *told = m5_websocket_request(end.transport);
    assert_non_null(told);
    assert_string_equal(told->path, "/mqtt");
    assert_string_equal(told->origin, "https://app.example");
    assert_string_equal(told->subprotocol, "mqtt");
    assert_string_equal(told->forwarded, "");
    assert_int_equal(strlen(told->user_agent), M5_WEBSOCKET_TEXT_MAX);
    assert_memory_equal(told->user_agent, "Mozilla \xC3\xBC?aaa", 14);
    m5_websocket_forget(end.transport);
    assert_null(m5_websocket_request(end.transport));
    end_fini(&end);
}

/* What is left of a connection without traffic; docs/performance.md has the figure. */
static void an_idle_connection_is_small(void **state)
{
    (void)state;
    struct end end;
    serve_open(&end, NULL);
    m5_websocket_forget(end.transport);
    m5_outbox_fini(&end.out);
    assert_true(end.allocator.bytes <= 400);
    print_message("an idle connection: %zu bytes\n", end.allocator.bytes);
    end_fini(&end);
}

/* ---- forwarded addresses ---- */

/* Proxies are those of 10.0.0.0/8 and 2001:db8::/32, as their texts tell. */
static bool is_proxy(void *ctx, const char *address)
{
    assert_ptr_equal(ctx, &plain_request);
    return strncmp(address, "10.", 3) == 0 || strncmp(address, "2001:db8:", 9) == 0;
}

#define XFF "X-Forwarded-For: "
#define FWD "Forwarded: "

static const struct {
    const char *fields, *address;
    uint16_t port;
} forwarded[] = {
    {"", "", 0},
    {XFF "192.0.2.7\r\n", "192.0.2.7", 0},
    {XFF "192.0.2.7:4711\r\n", "192.0.2.7", 4711},
    {XFF "2001:DB9:0::1\r\n", "2001:db9::1", 0},
    {XFF "[2001:db9::1]:65535\r\n", "2001:db9::1", 65535},
    {XFF "::ffff:192.0.2.7\r\n", "192.0.2.7", 0},
    /* what stands further left the client may have made up */
    {XFF "6.6.6.6, 192.0.2.7\r\n", "192.0.2.7", 0},
    {XFF "6.6.6.6, 192.0.2.7, 10.0.0.1\r\n", "192.0.2.7", 0},
    {XFF "6.6.6.6\r\n" XFF "192.0.2.7\r\n" XFF "10.0.0.1, 10.0.0.2\r\n", "192.0.2.7", 0},
    {XFF "10.0.0.1, 10.0.0.2\r\n", "10.0.0.1", 0}, /* a client among the proxies */
    {XFF "10.9.9.9, 6.6.6.6, 10.0.0.2\r\n", "6.6.6.6", 0},
    /* unknown, or no address: then nobody is */
    {XFF "6.6.6.6, unknown\r\n", "", 0},
    {XFF "6.6.6.6, unknown, 10.0.0.1\r\n", "", 0},
    {XFF "6.6.6.6,\r\n", "", 0},
    {XFF "192.0.2.7:70000\r\n", "", 0},
    {XFF "192.0.2.7:\r\n", "", 0},
    {XFF "192.0.2.7; rm -rf\r\n", "", 0},
    {XFF "[::1\r\n", "", 0},
    {XFF "[::1]x\r\n", "", 0},
    {XFF "\r\n", "", 0},
    {FWD "for=192.0.2.7\r\n", "192.0.2.7", 0},
    {FWD "proto=https; FOR=\"[2001:db9::1]:80\";by=10.0.0.1\r\n", "2001:db9::1", 80},
    {FWD "for=6.6.6.6, for=192.0.2.7;proto=http, for=10.0.0.1\r\n", "192.0.2.7", 0},
    {FWD "for=6.6.6.6\r\n" FWD "for=192.0.2.7\r\n", "192.0.2.7", 0},
    {FWD "for=_hidden\r\n", "", 0},
    {FWD "by=192.0.2.7\r\n", "", 0},
    /* quotes that the client left open swallow what the proxy has appended */
    {FWD "for=6.6.6.6;by=\", for=192.0.2.7\r\n", "", 0},
    {FWD "for=6.6.6.6;by=\", for=\"192.0.2.7:80\"\r\n", "", 0},
    {FWD "for=6.6.6.6;by=\"a\\\", for=192.0.2.7\r\n", "", 0},
    {FWD "for=6.6.6.6;by=\"a,b\", for=192.0.2.7\r\n", "192.0.2.7", 0},
    /* one of the two the proxy has only passed on */
    {XFF "6.6.6.6\r\n" FWD "for=192.0.2.7\r\n", "", 0},
    {XFF "192.0.2.7\r\n" FWD "for=192.0.2.7\r\n", "192.0.2.7", 0},
};

static void forwarded_addresses_are_read_from_the_right(void **state)
{
    (void)state;
    struct m5_websocket_server_config config = {
        .peer_trusted = true, .trusted = is_proxy, .trusted_ctx = (void *)&plain_request};
    struct end end;
    char request[1024], fields[512];
    for (size_t i = 0; i < 2 * sizeof forwarded / sizeof *forwarded; i++) {
        const size_t row = i / 2;
        config.peer_trusted = i % 2 == 0; /* a stranger's word on it counts for nothing */
        snprintf(fields, sizeof fields, HOST "%s", forwarded[row].fields);
        write_request(request, sizeof request, HOST, fields);
        serve(&end, &config);
        end_feed_text(&end, request);
        const struct m5_websocket_request *told = m5_websocket_request(end.transport);
        assert_non_null(told);
        if (config.peer_trusted && strcmp(told->forwarded, forwarded[row].address) != 0)
            fail_msg("%s gives %s", forwarded[row].fields, told->forwarded);
        assert_string_equal(told->forwarded, config.peer_trusted ? forwarded[row].address : "");
        if (config.peer_trusted && forwarded[row].address[0] != 0)
            assert_int_equal(told->forwarded_port, forwarded[row].port);
        end_fini(&end);
    }
}

static void without_known_proxies_only_the_peer_is_one(void **state)
{
    (void)state;
    const struct m5_websocket_server_config config = {.peer_trusted = true};
    struct end end;
    char request[1024];
    write_request(request, sizeof request, HOST, HOST XFF "6.6.6.6, 10.0.0.1\r\n");
    serve(&end, &config);
    end_feed_text(&end, request);
    assert_string_equal(m5_websocket_request(end.transport)->forwarded, "10.0.0.1");
    end_fini(&end);
}

/* ---- client ---- */

/* [MQTT-6.0.0-3] */
static void a_client_asks_in_full(void **state)
{
    (void)state;
    static const char *const headers[] = {"Authorization: Bearer abc", "X-Tenant:  7"};
    const struct m5_websocket_client_config config = {.host = "[::1]:8080",
                                                      .path = "/a?b=c",
                                                      .headers = headers,
                                                      .header_count = 2,
                                                      .user_agent = "mqttv5/1",
                                                      .seed = 1};
    struct end end;
    dial(&end, &config);
    end_feed(&end, m5_bytes(NULL, 0));
    assert_int_equal(end.result, M5_TRANSPORT_AGAIN);
    assert_int_equal(m5_websocket_status(end.transport), 0);
    assert_memory_equal(end.out.data, "GET /a?b=c HTTP/1.1\r\nHost: [::1]:8080\r\n", 39);
    assert_says(&end, "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: ");
    assert_says(&end, "==\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: mqtt\r\n");
    assert_says(&end,
                "\r\nUser-Agent: mqttv5/1\r\nAuthorization: Bearer abc\r\nX-Tenant:  7\r\n\r\n");
    assert_false(says(&end, "Extensions"));
    const size_t size = end.out.size;
    end_feed_text(&end, "HTTP/1.1 "); /* it is asked once */
    assert_int_equal(end.out.size, size);
    end_fini(&end);
}

static void keys_differ_from_seed_to_seed(void **state)
{
    (void)state;
    char keys[2][M5_FRAME_CONTROL_MAX] = {{0}};
    for (uint64_t seed = 0; seed < 2; seed++) {
        const struct m5_websocket_client_config config = {.host = "h", .seed = seed};
        struct end end;
        dial(&end, &config);
        end_feed(&end, m5_bytes(NULL, 0));
        const char *key = (const char *)memmem(end.out.data, end.out.size, "Key: ", 5);
        assert_non_null(key);
        memcpy(keys[seed], key + 5, 24);
        end_fini(&end);
    }
    assert_string_not_equal(keys[0], keys[1]);
}

static void texts_that_cannot_stand_in_a_request_are_refused(void **state)
{
    (void)state;
    static const char *const wrong[] = {"X: a\r\nY: b",
                                        "X",
                                        ": x",
                                        "X : y",
                                        "X: \x01",
                                        "Host: x",
                                        "sec-websocket-key: x",
                                        "Connection: close",
                                        "Transfer-Encoding: chunked",
                                        ""};
    struct test_allocator allocator;
    test_allocator_init(&allocator);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        const struct m5_websocket_client_config config = {
            .host = "h", .headers = &wrong[i], .header_count = 1};
        assert_non_null(m5_websocket_header_wrong(wrong[i]));
        assert_null(m5_websocket_client_new(&config, &allocator.table));
    }
    assert_null(m5_websocket_header_wrong("Cookie: a=b; c=d"));
    const struct m5_websocket_client_config configs[] = {
        {.host = ""},
        {.host = "a b"},
        {.host = "a\r\nb"},
        {.host = "h", .path = "mqtt"},
        {.host = "h", .path = "/a b"},
        {.host = "h", .subprotocol = "a,b"},
        {.host = "h", .user_agent = "a\nb"},
    };
    for (size_t i = 0; i < sizeof configs / sizeof *configs; i++)
        assert_null(m5_websocket_client_new(&configs[i], &allocator.table));
    test_allocator_check(&allocator);
}

/* An answer to the client with seed 42, whose accept is filled in for "%s". */
static const struct {
    const char *answer, *failure; /* NULL: taken */
    unsigned status;
} answers[] = {
    {"HTTP/1.1 101 Switching Protocols\r\nUpgrade: WebSocket\r\nConnection: keep-alive, UPGRADE\r\n"
     "sec-websocket-accept: %s\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n",
     NULL, 101},
    {"HTTP/1.1 101\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n"
     "Sec-WebSocket-Protocol: mqtt\r\n\r\n",
     NULL, 101},
    {"HTTP/1.1 101 x\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n"
     "Sec-WebSocket-Protocol: mqtt\r\n\r\n",
     "the server's answer does not change to WebSocket", 101},
    {"HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
     "Sec-WebSocket-Accept: " ACCEPT "\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n",
     "the server's answer is not to our key: something between us answers for it", 101},
    {"HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n"
     "\r\n",
     "the server does not speak the WebSocket subprotocol that was asked for", 101},
    {"HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n"
     "Sec-WebSocket-Protocol: mqttv3.1\r\n\r\n",
     "the server does not speak the WebSocket subprotocol that was asked for", 101},
    {"HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n"
     "Sec-WebSocket-Extensions: permessage-deflate\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n",
     "the server wants an extension of WebSocket that was not offered", 101},
    {"HTTP/1.1 404 Not\tFound\r\nContent-Length: 0\r\n\r\n",
     "the server answers the request for WebSocket with 404 Not?Found", 404},
    {"HTTP/1.0 302\r\nLocation: /\r\n\r\n", "the server answers the request for WebSocket with 302",
     302},
    {"HTTP/1.1 10x \r\n\r\n", "what the server answers is no HTTP", 0},
    {"HTTP/2 200 \r\n\r\n", "what the server answers is no HTTP", 0},
    {"\x20\x02\r\n\r\n", "what the server answers is no HTTP", 0},
    {"HTTP/1.1 101 x\n", "what the server answers is no HTTP", 0},
    {"HTTP/1.1 101 x\r\nfolded\r\n\r\n", "what the server answers is no HTTP", 101},
    {"\r\n", "what the server answers is no HTTP", 0},
};

/* Finds what the client of dial() wants to hear by letting our server answer it. */
static void find_accept(char out[64])
{
    struct end server, client;
    serve(&server, NULL);
    dial(&client, NULL);
    end_feed(&client, m5_bytes(NULL, 0));
    carry(&client, &server, 5000);
    const char *accept = (const char *)memmem(server.out.data, server.out.size, "Accept: ", 8);
    assert_non_null(accept);
    snprintf(out, 64, "%.28s", accept + 8);
    end_fini(&server);
    end_fini(&client);
}

static void a_client_believes_no_other_answer(void **state)
{
    (void)state;
    struct end end;
    char accept[64], answer[512];
    find_accept(accept);
    for (size_t i = 0; i < sizeof answers / sizeof *answers; i++) {
        const char *place = strstr(answers[i].answer, "%s");
        const int before = place != NULL ? (int)(place - answers[i].answer) : 0;
        snprintf(answer, sizeof answer, "%.*s%s%s", before, answers[i].answer,
                 place != NULL ? accept : "", place != NULL ? place + 2 : answers[i].answer);
        for (size_t piece = 1; piece < sizeof answer; piece += 13) {
            dial(&end, NULL);
            end_feed(&end, m5_bytes(NULL, 0));
            end_feed_pieces(&end, m5_bytes_of(answer), piece);
            assert_int_equal(end.transport->open, answers[i].failure == NULL);
            assert_int_equal(m5_websocket_status(end.transport), answers[i].status);
            if (answers[i].failure != NULL)
                assert_string_equal(end.transport->failure, answers[i].failure);
            end_fini(&end);
        }
    }
}

static void an_endless_answer_is_given_up(void **state)
{
    (void)state;
    struct end end;
    static uint8_t filler[M5_WEBSOCKET_HEAD_MAX + 1];
    memset(filler, 'x', sizeof filler);
    dial(&end, NULL);
    end_feed(&end, m5_bytes(NULL, 0));
    end_feed(&end, m5_bytes(filler, M5_WEBSOCKET_HEAD_MAX));
    assert_int_equal(end.result, M5_TRANSPORT_AGAIN);
    end_feed(&end, m5_bytes(filler, 1));
    assert_int_equal(end.result, M5_TRANSPORT_FAILED);
    assert_string_equal(end.transport->failure, "the head of the server's answer is too large");
    end_fini(&end);
}

/* ---- memory ---- */

static void every_allocation_of_a_handshake_may_fail(void **state)
{
    (void)state;
    static const struct m5_websocket_server_config config;
    static const struct m5_websocket_client_config asked = {.host = "h"};
    bool failed = true;
    for (uint64_t nth = 1; failed; nth++) {
        struct end end;
        end_init(&end);
        test_allocator_fail_nth(&end.allocator, nth);
        end.transport = m5_websocket_server_new(&config, &end.allocator.table);
        if (end.transport != NULL)
            end_feed_text(&end, plain_request);
        failed = test_allocator_failed(&end.allocator);
        assert_int_equal(!failed, end.transport != NULL && end.transport->open);
        end_fini(&end);
    }
    failed = true;
    for (uint64_t nth = 1; failed; nth++) {
        struct end end;
        end_init(&end);
        test_allocator_fail_nth(&end.allocator, nth);
        end.transport = m5_websocket_client_new(&asked, &end.allocator.table);
        if (end.transport != NULL)
            end_feed(&end, m5_bytes(NULL, 0));
        if (end.transport != NULL)
            end_feed_text(&end, "HTTP/1.1 404 Not Found\r\n\r\n");
        failed = test_allocator_failed(&end.allocator);
        if (!failed)
            assert_int_equal(m5_websocket_status(end.transport), 404);
        end_fini(&end);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request_is_taken_in_the_words_of_the_rfc),
        cmocka_unit_test(fields_come_in_any_case_order_and_spacing),
        cmocka_unit_test(what_is_refused_and_how),
        cmocka_unit_test(a_plain_web_request_is_answered_for_a_person),
        cmocka_unit_test(configured_paths_origins_and_subprotocols),
        cmocka_unit_test(heads_have_bounds),
        cmocka_unit_test(strangers_are_told_apart_in_the_log),
        cmocka_unit_test(what_was_asked_for_is_told_clean),
        cmocka_unit_test(an_idle_connection_is_small),
        cmocka_unit_test(forwarded_addresses_are_read_from_the_right),
        cmocka_unit_test(without_known_proxies_only_the_peer_is_one),
        cmocka_unit_test(a_client_asks_in_full),
        cmocka_unit_test(keys_differ_from_seed_to_seed),
        cmocka_unit_test(texts_that_cannot_stand_in_a_request_are_refused),
        cmocka_unit_test(a_client_believes_no_other_answer),
        cmocka_unit_test(an_endless_answer_is_given_up),
        cmocka_unit_test(every_allocation_of_a_handshake_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
