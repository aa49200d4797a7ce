/* URLs of servers: every scheme, user names, addresses, default ports, and what is refused.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "host/client/url.h"
#include "support/unit.h"

#include <string.h>

static void urls_are_read(void **state)
{
    static const struct {
        const char *url, *host;
        uint16_t port;
        enum m5_url_kind kind;
        const char *path, *written;
    } cases[] = {
        {"mqtt://example.org", "example.org", 1883, M5_URL_TCP, "", "mqtt://example.org:1883"},
        {"tcp://a:1", "a", 1, M5_URL_TCP, "", "mqtt://a:1"},
        {"MQTT://a:65535/", "a", 65535, M5_URL_TCP, "", "mqtt://a:65535"},
        {"localhost", "localhost", 1883, M5_URL_TCP, "", "mqtt://localhost:1883"},
        {"127.0.0.1:1884", "127.0.0.1", 1884, M5_URL_TCP, "", "mqtt://127.0.0.1:1884"},
        {"mqtt://[::1]:7", "::1", 7, M5_URL_TCP, "", "mqtt://[::1]:7"},
        {"[::1]", "::1", 1883, M5_URL_TCP, "", "mqtt://[::1]:1883"},
        {"mqtts://a", "a", 8883, M5_URL_TLS, "", "mqtts://a:8883"},
        {"ssl://a", "a", 8883, M5_URL_TLS, "", "mqtts://a:8883"},
        {"ws://a", "a", 80, M5_URL_WS, "/mqtt", "ws://a:80/mqtt"},
        {"ws://a/", "a", 80, M5_URL_WS, "/mqtt", "ws://a:80/mqtt"},
        {"ws://a:8080/x?y=z", "a", 8080, M5_URL_WS, "/x?y=z", "ws://a:8080/x?y=z"},
        {"wss://a", "a", 443, M5_URL_WSS, "/mqtt", "wss://a:443/mqtt"},
        {"quic://[2001:db8::1]", "2001:db8::1", 14567, M5_URL_QUIC, "",
         "quic://[2001:db8::1]:14567"},
        {"unix:///run/mqtt.sock", "", 0, M5_URL_UNIX, "/run/mqtt.sock", "unix:///run/mqtt.sock"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct m5_url url;
        char why[200] = "", text[600];
        const enum mqtt5_error error = m5_url_parse(cases[i].url, &url, why, sizeof why);
        if (error != MQTT5_OK)
            fail_msg("%s: %s", cases[i].url, why);
        assert_string_equal(url.endpoint.host, cases[i].host);
        assert_int_equal(url.endpoint.port, cases[i].port);
        assert_int_equal(url.kind, cases[i].kind);
        assert_string_equal(url.path, cases[i].path);
        assert_false(url.has_username || url.has_password);
        m5_url_format(&url, text, sizeof text);
        assert_string_equal(text, cases[i].written);
    }
}

static void user_and_password_are_decoded(void **state)
{
    static const struct {
        const char *url, *username, *password; /* NULL: none */
    } cases[] = {
        {"mqtt://anna@a", "anna", NULL},
        {"mqtt://anna:@a", "anna", ""},
        {"mqtt://anna:p%40ss%3a@[::1]:7", "anna", "p@ss:"},
        {"mqtt://:token@a", "", "token"},
        {"anna:a@b@a:1", "anna", "a@b"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct m5_url url;
        char why[200] = "", text[600];
        assert_int_equal(m5_url_parse(cases[i].url, &url, why, sizeof why), MQTT5_OK);
        assert_true(url.has_username);
        assert_string_equal(url.username, cases[i].username);
        assert_int_equal(url.has_password, cases[i].password != NULL);
        assert_string_equal(url.password, cases[i].password != NULL ? cases[i].password : "");
        m5_url_format(&url, text, sizeof text);
        assert_null(strchr(text, '@'));
    }
}

static void urls_that_make_no_sense_are_refused(void **state)
{
    static const struct {
        const char *url, *word; /* of the explanation */
    } cases[] = {
        {"http://a", "scheme"},
        {"mqtt://", "host"},
        {"", "host"},
        {"mqtt://:1883", "host"},
        {"mqtt://a:0", "port"},
        {"mqtt://a:65536", "port"},
        {"mqtt://a/topic", "path"},
        {"mqtt://::1", "brackets"},
        {"mqtt://u%4@a", "percent"},
        {"mqtt://u%zz@a", "percent"},
        {"mqtt://u%00@a", "percent"},
        {"mqtt://u:p%2@a", "password"},
        {"unix://run/socket", "unix:///"},
        {"unix:///1234567890123456789012345678901234567890123456789012345678901234567890123456789"
         "0123456789012345678901234567",
         "107"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct m5_url url;
        char why[300] = "";
        const enum mqtt5_error error = m5_url_parse(cases[i].url, &url, why, sizeof why);
        if (error != MQTT5_ERR_INVALID_ARGUMENT || strstr(why, cases[i].word) == NULL)
            fail_msg("%s: %s: %s", cases[i].url, mqtt5_error_name(error), why);
    }
}

static void an_explanation_hides_the_password(void **state)
{
    struct m5_url url;
    char why[300] = "";
    (void)state;
    assert_int_equal(m5_url_parse("mqtt://anna:secret@a:0", &url, why, sizeof why),
                     MQTT5_ERR_INVALID_ARGUMENT);
    assert_null(strstr(why, "secret"));
    assert_non_null(strstr(why, "@a:0"));
}

static void transports_that_are_not_built_say_so(void **state)
{
    static const struct {
        const char *url, *word;
    } cases[] = {{"mqtts://a", NULL},  {"wss://a", NULL},  {"ws://a", NULL},
                 {"quic://a", "QUIC"}, {"mqtt://a", NULL}, {"unix:///a", NULL}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct m5_url url;
        char why[300] = "";
        assert_int_equal(m5_url_parse(cases[i].url, &url, why, sizeof why), MQTT5_OK);
        assert_int_equal(m5_url_built(&url, why, sizeof why),
                         cases[i].word != NULL ? MQTT5_ERR_NOT_BUILT : MQTT5_OK);
        assert_true(cases[i].word == NULL || strstr(why, cases[i].word) != NULL);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(urls_are_read),
        cmocka_unit_test(user_and_password_are_decoded),
        cmocka_unit_test(urls_that_make_no_sense_are_refused),
        cmocka_unit_test(an_explanation_hides_the_password),
        cmocka_unit_test(transports_that_are_not_built_say_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
