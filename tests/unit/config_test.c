/* Configuration files: what each mistake is answered with and where, and that what is written can
 * be read.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "base/bytes.h"
#include "host/auth/text.h"
#include "host/config/config.h"
#include "host/config/data.h"
#include "host/config/document.h"
#include "support/test_allocator.h"

#include "support/unit.h"

#include <stdlib.h>
#include <string.h>

#define CONFIG_NAMES_MAX 256

static struct m5_config *new_config(void)
{
    struct m5_config *config = m5_config_new(&m5_libc_allocator);
    assert_non_null(config);
    return config;
}

/* Reads @p text as f.yaml in the folder /etc/mqttv5. */
static bool read_text(struct m5_config *config, const char *text, struct m5_problems *problems)
{
    m5_problems_init(problems);
    return m5_config_read_text(config, "f.yaml", "/etc/mqttv5", m5_bytes_of(text), problems);
}

static void print_problems(const struct m5_problems *problems)
{
    for (uint32_t i = 0; i < problems->count; i++) {
        char text[2048];
        m5_problem_format(&problems->items[i], text, sizeof text);
        print_error("  %s\n", text);
    }
}

/* A configuration of @p text that is right. */
static struct m5_config *good(const char *text)
{
    struct m5_config *config = new_config();
    struct m5_problems problems;
    bool ok = read_text(config, text, &problems);
    ok = m5_config_finish(config, &problems) && ok;
    if (!ok)
        print_problems(&problems);
    assert_true(ok);
    m5_problems_fini(&problems);
    return config;
}

static bool has_problem(const struct m5_problems *problems, const char *wanted)
{
    for (uint32_t i = 0; i < problems->count; i++) {
        char text[2048];
        m5_problem_format(&problems->items[i], text, sizeof text);
        if (strncmp(text, wanted, strlen(wanted)) == 0)
            return true;
    }
    return false;
}

/* ---- mistakes ---- */

static const struct {
    const char *text, *problem;
} mistakes[] = {
    /* syntax and what YAML could do */
    {"a: [1", "f.yaml:2:1: error: this is neither YAML nor JSON: "},
    {"a: 'x", "f.yaml:1:6: error: this is neither YAML nor JSON: "},
    {"a:\n\t- b", "f.yaml:2:1: error: this is neither YAML nor JSON: "},
    {"{\"workers\": 1,, }", "f.yaml:1:15: error: this is neither YAML nor JSON: "},
    {"\xff\xfe", "f.yaml:1:1: error: invalid leading UTF-8 octet (at byte 0)"},
    {"a: \x01", "f.yaml:1:1: error: control characters are not allowed (at byte 3)"},
    {"a: \"\\0\"", "f.yaml:1:4: error: a text may not contain the character U+0000"},
    {"a: &x 1", "f.yaml:1:4: error: anchors (&name) and aliases (*name) are not allowed"},
    {"a: *x", "f.yaml:1:4: error: anchors (&name) and aliases (*name) are not allowed"},
    {"a: &x [1]", "f.yaml:1:4: error: anchors"},
    {"a: &x {b: 1}", "f.yaml:1:4: error: anchors"},
    {"a: !!int 3", "f.yaml:1:4: error: tags (!name) are not allowed"},
    {"a: !x [1]", "f.yaml:1:4: error: tags (!name) are not allowed"},
    {"<<: {a: 1}", "f.yaml:1:1: error: merge keys (<<) are not allowed"},
    {"? {a: b}\n: c", "f.yaml:1:3: error: a key must be a word"},
    {"? [a]\n: c", "f.yaml:1:3: error: a key must be a word"},
    {"a: [[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]", "f.yaml:1:19: error: this is nested too deeply"},
    {"workers: 1\n---\nworkers: 2", "f.yaml:2:1: error: a second document (---) is not allowed"},
    {"- workers: 1", "f.yaml:1:1: error: a configuration is made of lines \"key: value\""},
    {"workers", "f.yaml:1:1: error: a configuration is made of lines \"key: value\""},
    /* keys */
    {"worker: 1", "f.yaml:1:1: error: worker: there is no such key; did you mean workers?"},
    {"wrokers: 1", "f.yaml:1:1: error: wrokers: there is no such key; did you mean workers?"},
    {"xyzzyxyzzy: 1", "f.yaml:1:1: error: xyzzyxyzzy: there is no such key; mqttv5 broker gener"},
    {"log_config:\n  colour: red",
     "f.yaml:2:3: error: log_config.colour: there is no such key here; there are level, json"},
    {"workers: 1\nworkers: 2",
     "f.yaml:2:1: error: workers: is given twice: first in line 1, column 1"},
    {"{\"workers\": 1, \"workers\": 1}", "f.yaml:1:16: error: workers: is given twice"},
    {"max_clients: 1\nconnections_max: 2",
     "f.yaml:2:1: error: connections_max: is another name of max_clients, which stands in line 1"},
    {"bridges: [{}]", "f.yaml:1:1: error: bridges: there are no bridges in this version"},
    {"quic_config: {cert_file: a}", "f.yaml:1:1: error: quic_config: there is no MQTT over QUIC"},
    {"client_channel_capacity: 5", "f.yaml:1:1: warning: client_channel_capacity: "},
    /* types */
    {"workers: [1]", "f.yaml:1:10: error: workers: wants a single value, not a list"},
    {"workers: {a: 1}", "f.yaml:1:10: error: workers: wants a single value, not a section of keys"},
    {"log_config: 5",
     "f.yaml:1:13: error: log_config: wants a section of keys, not a single value"},
    {"listeners: {bind: a}", "f.yaml:1:12: error: listeners: wants a list: lines that begin with"},
    {"listeners: [5]",
     "f.yaml:1:13: error: listeners[0]: wants a section of keys, not a single value"},
    {"bind_addresses: {a: b}", "f.yaml:1:17: error: bind_addresses: wants a list of texts"},
    {"bind_addresses: [[a]]",
     "f.yaml:1:18: error: bind_addresses: wants texts in its list, not a list"},
    {"bind_addresses: [~]",
     "f.yaml:1:18: error: bind_addresses: wants texts in its list, not nothing"},
    {"workers: five", "f.yaml:1:10: error: workers: wants a whole number, not \"five\""},
    {"workers: \"5\"",
     "f.yaml:1:10: error: workers: wants a whole number without quotes, not \"5\""},
    {"workers: 5s", "f.yaml:1:10: error: workers: wants a whole number, not \"5s\""},
    {"workers: -1", "f.yaml:1:10: error: workers: wants a whole number, not \"-1\""},
    {"workers: 1.5", "f.yaml:1:10: error: workers: wants a whole number, not \"1.5\""},
    {"workers: 99999999999999999999", "f.yaml:1:10: error: workers: wants a whole number, not"},
    {"connect_timeout: soon",
     "f.yaml:1:18: error: connect_timeout: wants a duration like 2, 2s or 250ms, not \"soon\""},
    {"keep_alive_max: 1h30", "f.yaml:1:17: error: keep_alive_max: wants a duration like 30, 30s"},
    {"session_expiry_interval: 1x",
     "f.yaml:1:26: error: session_expiry_interval: wants a duration like 30, 30s or 1m30s, or n"},
    {"max_packet_size: 1PB", "f.yaml:1:18: error: max_packet_size: wants a size like 4096, 64KiB"},
    {"retain_available: maybe",
     "f.yaml:1:19: error: retain_available: wants true or false, not \"maybe\""},
    {"retain_available: 'true'",
     "f.yaml:1:19: error: retain_available: wants true or false without quotes, not \"true\""},
    {"queue_policy: drop_nwest", "f.yaml:1:15: error: queue_policy: must be one of drop_newest, "
                                 "drop_oldest, not \"drop_nwest\" "
                                 "(did you mean drop_newest?)"},
    {"unix_config: {path: s, mode: 999}",
     "f.yaml:1:30: error: unix_config.mode: wants access bits in octal, like 0660, not \"999\""},
    {"unix_config: {path: s, mode: 01777}", "f.yaml:1:30: error: unix_config.mode: must be 0 to"},
    {"ban_file: ''", "f.yaml:1:11: error: ban_file: may not be empty: give the name of a file"},
    /* ranges */
    {"workers: 65", "f.yaml:1:10: error: workers: must be 0 to 64, not 65"},
    {"max_packet_size: 63", "f.yaml:1:18: error: max_packet_size: must be 64 to 268435460, not 63"},
    {"connect_timeout: 0", "f.yaml:1:18: error: connect_timeout: must be 1ms to 4294967295ms, not"},
    {"output_bytes_max: 1", "f.yaml:1:19: error: output_bytes_max: must be at least 64, not 1"},
    {"maximum_qos: 3", "f.yaml:1:14: error: maximum_qos: must be 0 to 2, not 3"},
    {"session_expiry_interval: 4294967296",
     "f.yaml:1:26: error: session_expiry_interval: must be 0 to never, not 4294967296"},
    /* texts that must be something */
    {"bind_addresses: ['127.0.0.1:x']",
     "f.yaml:1:18: error: bind_addresses: \"127.0.0.1:x\" is no address: the port is a number"},
    {"listeners: [{bind: '::1:1883'}]",
     "f.yaml:1:20: error: listeners[0].bind: \"::1:1883\" is no address: "},
    {"proxy_config: {trusted: [10.0.0.0/33]}",
     "f.yaml:1:26: error: proxy_config.trusted: \"10.0.0.0/33\" is no network"},
    {"storage_config: {durability_rules: [{filter: a/#/b}]}",
     "f.yaml:1:46: error: storage_config.durability_rules[0].filter: \"a/#/b\" is no topic filter"},
    {"storage_config: {durability_rules: [{filter: $share/g/a}]}",
     "f.yaml:1:46: error: storage_config.durability_rules[0].filter: \"$share/g/a\" is a shared"},
    {"auth_config: {http: {uri: ftp://x}}",
     "f.yaml:1:27: error: auth_config.http.uri: \"ftp://x\" cannot be used: only https is allowed"},
    {"auth_config: {jwt_config: {jwks_uri: 'http://id.example/k'}}",
     "f.yaml:1:38: error: auth_config.jwt_config.jwks_uri: \"http://id.example/k\" cannot be used: "
     "http is for this machine only"},
    {"auth_config: {jwt_config: {role_mappings: [{pattern: {Like: x}}]}}",
     "f.yaml:1:54: error: auth_config.jwt_config.role_mappings[0].pattern: must be {Equals: text}"},
};

static void each_mistake_is_told_with_its_place(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof mistakes / sizeof *mistakes; i++) {
        struct m5_config *config = new_config();
        struct m5_problems problems;
        const bool ok = read_text(config, mistakes[i].text, &problems);
        if (ok != (problems.errors == 0) || !has_problem(&problems, mistakes[i].problem)) {
            print_problems(&problems);
            fail_msg("%s: wanted %s", mistakes[i].text, mistakes[i].problem);
        }
        m5_problems_fini(&problems);
        m5_config_free(config);
    }
}

static void all_mistakes_are_told_in_order(void **state)
{
    (void)state;
    static const char text[] = "worker: 1\n"
                               "workers: 65\n"
                               "log_config: {level: loud, json: 5}\n"
                               "workers: 2\n"
                               "listeners:\n"
                               "  - {transport: tcp, bnid: 1}\n";
    static const char *const wanted[] = {"f.yaml:1:1: error: worker: ",
                                         "f.yaml:2:10: error: workers: must be",
                                         "f.yaml:3:21: error: log_config.level: ",
                                         "f.yaml:3:33: error: log_config.json: ",
                                         "f.yaml:4:1: error: workers: is given",
                                         "f.yaml:6:22: error: listeners[0].bnid: there is n"};
    struct m5_config *config = new_config();
    struct m5_problems problems;
    assert_false(read_text(config, text, &problems));
    m5_problems_sort(&problems);
    assert_int_equal(problems.count, sizeof wanted / sizeof *wanted);
    for (uint32_t i = 0; i < problems.count; i++) {
        char line[2048];
        m5_problem_format(&problems.items[i], line, sizeof line);
        if (strncmp(line, wanted[i], strlen(wanted[i])) != 0)
            fail_msg("\"%s\" instead of \"%s\"", line, wanted[i]);
    }
    m5_problems_fini(&problems);
    m5_config_free(config);
}

/* What only the whole can tell. */
static const struct {
    const char *text, *problem;
} contradictions[] = {
    {"bind_addresses: ['0.0.0.0:1883']",
     "f.yaml:1:17: error: bind_addresses: 0.0.0.0:1883 can be reached from other machines"},
    {"listeners: [{bind: '*:1883'}]",
     "f.yaml:1:13: error: listeners: *:1883 can be reached from other machines"},
    {"listeners: [{bind: 'broker.example:1883'}]",
     "f.yaml:1:13: error: listeners: broker.example:1883 can be reached from other machines"},
    {"listeners: [{bind: '127.0.0.1:1883', auth: {allow_anonymous: false}}]",
     "f.yaml:1:13: error: listeners: allow_anonymous is false and there is no way to log in"},
    {"auth_config: {allow_anonymous: false}",
     "f.yaml:1:14: error: auth_config.allow_anonymous: without a way to log in"},
    {"listeners: [{transport: tls, bind: '127.0.0.1:1'}]",
     "f.yaml:1:13: error: listeners: transports tls and wss need a section tls"},
    {"listeners: [{bind: '127.0.0.1:1', tls: {cert_file: a}}]",
     "f.yaml:1:13: error: listeners: has a section tls, but does not speak TLS"},
    {"listeners: [{transport: tcp}]", "f.yaml:1:13: error: listeners: needs bind: 'address:port'"},
    {"listeners: [{transport: unix}]", "f.yaml:1:13: error: listeners: transport unix needs a pat"},
    {"listeners: [{transport: unix, path: a, bind: 'b:1'}]", "f.yaml:1:13: error: listeners: tra"},
    {"listeners: [{bind: 'localhost:1', max_packet_size: 32}]",
     "f.yaml:1:13: error: listeners: max_packet_size must be 0, or 64 at least"},
    {"listeners: [{bind: 'localhost:1', proxy: {protocol: v2}}]",
     "f.yaml:1:13: error: listeners: proxy: trusted must name the networks"},
    {"proxy_config: {protocol: v1}", "f.yaml: error: proxy_config.trusted: must name the networks"},
    {"listeners: [{name: a, bind: 'localhost:1'}, {name: a, bind: 'localhost:2'}]",
     "f.yaml:1:45: error: listeners: two listeners have the name \"a\""},
    {"tls_config: {key_file: k}", "f.yaml:1:13: error: tls.cert_file: TLS needs a certificate"},
    {"tls_config: {cert_file: c, require_client_cert: true}",
     "f.yaml:1:13: error: tls.ca_file: client certificates can only be asked for with a ca_file"},
    {"tls_config: {cert_file: c, identity: cn}",
     "f.yaml:1:13: error: tls.identity: user names out of certificates need client certificates"},
    {"tls_config: {cert_file: c, ca_file: a, identity: fingerprint}",
     "f.yaml:1:13: error: tls.identity_file: identity: fingerprint and identity_file go together"},
    {"tls_config: {cert_file: c, key_password: a, key_password_file: b}",
     "f.yaml:1:13: error: tls.key_password: key_password and key_password_file are both given"},
    {"tls_config: {cert_file: c, key_password_file: b}",
     "f.yaml:1:13: error: tls.key_password_file: /etc/mqttv5/b cannot be read: "},
    {"websocket_tls_config: {bind_addresses: ['127.0.0.1:1']}",
     "f.yaml:1:23: error: websocket_tls_config: WebSocket over TLS needs a certificate"},
    {"websocket_config: {subprotocol: stomp}", "f.yaml:1:19: error: subprotocol: can only be mqtt"},
    {"unix_config: {owner: me}", "f.yaml:1:14: error: unix_config.path: a Unix socket needs a pat"},
    {"auth_config: {auth_method: scram}",
     "f.yaml:1:14: error: auth_method: scram needs a scram_file"},
    {"auth_config: {auth_method: Jwt}", "f.yaml:1:14: error: auth_method: jwt needs an issuer"},
    {"auth_config: {jwt_config: {issuer: x}}",
     "f.yaml:1:27: error: jwt_config.key_file: an issuer of tokens needs a key_file"},
    {"auth_config: {jwt_config: {key_file: k, role_map: ['a:b']}}",
     "f.yaml:1:27: error: role_claim: role_map (--jwt-role-map) needs a role_claim"},
    {"auth_config: {jwt_config: {key_file: k, role_claim: c, role_map: ['ab']}}",
     "f.yaml:1:66: error: role_map: \"ab\" is not written as VALUE:ROLE"},
    {"storage_config: {durability_for: ['a/#']}",
     "f.yaml:1:34: error: durability_for: \"a/#\" must be written as FILTER=LEVEL"},
    {"storage_config: {durability_for: ['a/#=often']}",
     "f.yaml:1:34: error: durability_for: often is none of strict, relaxed, memory"},
    {"storage_config: {durability_rules: [{durability: strict}]}",
     "error: storage_config.durability_rules: each needs a filter"},
};

static void contradictions_are_told(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof contradictions / sizeof *contradictions; i++) {
        struct m5_config *config = new_config();
        struct m5_problems problems;
        if (!read_text(config, contradictions[i].text, &problems)) {
            print_problems(&problems);
            fail_msg("%s cannot even be read", contradictions[i].text);
        }
        /* read_text() has no file to name. */
        config->file = strncmp(contradictions[i].problem, "f.yaml: ", 8) == 0 ? "f.yaml" : NULL;
        if (m5_config_finish(config, &problems) ||
            !has_problem(&problems, contradictions[i].problem)) {
            print_problems(&problems);
            fail_msg("%s: wanted %s", contradictions[i].text, contradictions[i].problem);
        }
        m5_problems_fini(&problems);
        m5_config_free(config);
    }
}

static void bombs_do_not_go_off(void **state)
{
    (void)state;
    static const struct {
        const char *open, *item, *close;
        unsigned count;
        const char *problem;
    } bombs[] = {
        {"a: ", "[", "", 100000, "f.yaml:1:19: error: this is nested too deeply"},
        {"a: ", "{b: ", "", 100000, "f.yaml:1:"},
        {"listeners: [", "{},", "]", 65, "f.yaml:1:12: error: listeners: may have at most 64 ent"},
        {"listeners: [", "{},", "]", 1001, "f.yaml:1:3013: error: there are too many entries here"},
        {"a: [", "[0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0],", "]", 900,
         "f.yaml:1:"},
    };
    for (size_t i = 0; i < sizeof bombs / sizeof *bombs; i++) {
        const size_t size = strlen(bombs[i].item);
        char *text = (char *)malloc(64 + size * bombs[i].count);
        assert_non_null(text);
        size_t used = (size_t)snprintf(text, 32, "%s", bombs[i].open);
        for (unsigned j = 0; j < bombs[i].count; j++, used += size)
            memcpy(text + used, bombs[i].item, size);
        snprintf(text + used, 8, "%s", bombs[i].close);
        struct m5_config *config = new_config();
        struct m5_problems problems;
        assert_false(read_text(config, text, &problems));
        if (!has_problem(&problems, bombs[i].problem)) {
            print_problems(&problems);
            fail_msg("wanted %s", bombs[i].problem);
        }
        m5_problems_fini(&problems);
        m5_config_free(config);
        free(text);
    }
}

/* ---- what is read ---- */

static void every_kind_of_value_is_read(void **state)
{
    (void)state;
    static const char text[] = "max_clients: 77\n"
                               "connect_timeout: 1m30s\n"
                               "session_expiry_interval: never\n"
                               "keep_alive_max: '2m'\n"
                               "queued_bytes_max: 3MiB\n"
                               "retain_available: no\n"
                               "shared_strategy: sticky\n"
                               "response_information: \"a/b\"\n"
                               "sys_topics_enabled: false\n"
                               "workers: ~\n"
                               "quic_config: null\n"
                               "bridges: []\n"
                               "ban_file: bans.txt\n"
                               "auth_config: {acl_file: /abs/acl, password_file: sub/p}\n"
                               "storage_config:\n"
                               "  base_dir: store\n"
                               "  durability_for: ['a/#=memory']\n"
                               "  durability_rules: [{filter: b/+, durability: relaxed}]\n";
    struct m5_config *config = good(text);
    const struct mqtt5_broker_options *options = m5_config_options(config);
    assert_int_equal(options->config.connections_max, 77);
    assert_int_equal(options->config.connect_timeout_ms, 90000);
    assert_int_equal(options->config.session_expiry_max_s, UINT32_MAX);
    assert_int_equal(options->config.keep_alive_max_s, 120);
    assert_int_equal(options->config.queued_bytes_max, 3145728);
    assert_false(options->config.retain_available);
    assert_int_equal(options->config.shared_strategy, MQTT5_SHARED_STICKY);
    assert_string_equal(options->config.response_information, "a/b");
    assert_int_equal(options->config.sys_interval_s, 0);
    assert_int_equal(options->workers, 0);
    assert_string_equal(options->ban_file, "/etc/mqttv5/bans.txt");
    assert_string_equal(options->acl_file, "/abs/acl");
    assert_string_equal(options->auth.password_file, "/etc/mqttv5/sub/p");
    assert_false(options->auth.allow_anonymous);
    assert_string_equal(options->storage_dir, "/etc/mqttv5/store");
    assert_int_equal(options->config.durability_rule_count, 2);
    assert_string_equal(options->config.durability_rules[0].filter, "a/#");
    assert_int_equal(options->config.durability_rules[0].durability, MQTT5_DURABILITY_MEMORY);
    assert_string_equal(options->config.durability_rules[1].filter, "b/+");
    assert_int_equal(options->config.durability_rules[1].durability, MQTT5_DURABILITY_RELAXED);
    m5_config_free(config);
}

static void json_and_yaml_are_one_language(void **state)
{
    (void)state;
    struct m5_config *yaml = good("max_clients: 5\n"
                                  "listeners:\n"
                                  "  - {name: a, bind: '127.0.0.1:1'}\n"
                                  "  - name: b\n"
                                  "    transport: ws\n"
                                  "    bind: '[::1]:2'\n"
                                  "    websocket: {path: /x, origins: [https://a, https://b]}\n");
    struct m5_config *json =
        good("{\"max_clients\": 5, \"listeners\": [\n"
             "\t{\"name\": \"a\", \"bind\": \"127.0.0.1:1\"},\n"
             "\t{\"name\": \"b\", \"transport\": \"ws\", \"bind\": \"[::1]:2\",\n"
             "\t \"websocket\": {\"path\": \"/x\",\n"
             "\t   \"origins\": [\"https://a\", \"https://b\"]}}]}\n");
    assert_int_equal(m5_config_diff(yaml, json, NULL, NULL), 0);
    const struct mqtt5_broker_options *options = m5_config_options(json);
    assert_int_equal(options->listener_count, 2);
    assert_string_equal(options->listeners[1].host, "::1");
    assert_int_equal(options->listeners[1].port, 2);
    assert_int_equal(options->listeners[1].transport, MQTT5_TRANSPORT_WS);
    assert_string_equal(options->listeners[1].websocket.path, "/x");
    assert_int_equal(options->listeners[1].websocket.origin_count, 2);
    assert_string_equal(options->listeners[1].websocket.origins[1], "https://b");
    m5_config_free(yaml);
    m5_config_free(json);
}

static void the_short_form_makes_listeners(void **state)
{
    (void)state;
    struct m5_config *config = good(
        "bind_addresses: ['127.0.0.1:1', 'localhost']\n"
        "tls_config: {bind_addresses: ['0.0.0.0'], cert_file: c.pem, key_file: k.pem,\n"
        "             ca_file: ca.pem, certificates: [{cert_file: d.pem}]}\n"
        "websocket_config: {bind_addresses: ['*:81'], path: /p, allowed_origins: [https://o]}\n"
        "websocket_tls_config: {bind_addresses: '[::]:82'}\n"
        "unix_config: {path: '@m', mode: 0600}\n"
        "proxy_config: {protocol: any, trusted: [10.0.0.0/8, '2001:db8::/32']}\n"
        "auth_config: {allow_anonymous: true}\n");
    const struct mqtt5_broker_options *options = m5_config_options(config);
    static const struct {
        enum mqtt5_transport transport;
        const char *host;
        uint16_t port;
    } wanted[] = {{MQTT5_TRANSPORT_TCP, "127.0.0.1", 1},
                  {MQTT5_TRANSPORT_TCP, "localhost", 1883},
                  {MQTT5_TRANSPORT_TLS, "0.0.0.0", 8883},
                  {MQTT5_TRANSPORT_WS, "", 81},
                  {MQTT5_TRANSPORT_WSS, "::", 82}};
    assert_int_equal(options->listener_count, 6);
    for (size_t i = 0; i < 5; i++) {
        const struct mqtt5_listener *listener = &options->listeners[i];
        assert_int_equal(listener->transport, wanted[i].transport);
        assert_string_equal(listener->host, wanted[i].host);
        assert_int_equal(listener->port, wanted[i].port);
        assert_int_equal(listener->proxy_protocol, MQTT5_PROXY_ANY);
        assert_int_equal(listener->proxy_trusted_count, 2);
        assert_true((listener->tls != NULL) == (i == 2 || i == 4));
    }
    const struct mqtt5_tls_server_options *tls = options->listeners[4].tls;
    assert_int_equal(tls->credential_count, 2);
    assert_string_equal(tls->credentials[1].certificate_file, "/etc/mqttv5/d.pem");
    assert_int_equal(tls->client_certificate, MQTT5_TLS_CLIENT_CERTIFICATE_OPTIONAL);
    assert_true(tls->session_tickets);
    assert_string_equal(options->listeners[4].websocket.path, "/p");
    assert_string_equal(options->listeners[4].websocket.origins[0], "https://o");
    assert_int_equal(options->listeners[5].transport, MQTT5_TRANSPORT_UNIX);
    assert_string_equal(options->listeners[5].path, "@m");
    assert_int_equal(options->listeners[5].mode, 0600);
    m5_config_free(config);
}

/* Options for TLS that stand alone never open a port to others, nor a plaintext one. */
static void case_16_tls_keys_open_nothing_to_others(void **state)
{
    (void)state;
    struct m5_config *config = good("tls_config: {cert_file: c.pem, key_file: k.pem}\n");
    const struct mqtt5_broker_options *options = m5_config_options(config);
    assert_int_equal(options->listener_count, 2);
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(options->listeners[i].transport, MQTT5_TRANSPORT_TLS);
        assert_true(m5_listener_is_local(&options->listeners[i]));
    }
    struct m5_problems problems;
    m5_problems_init(&problems);
    m5_config_lint(config, &problems);
    assert_true(has_problem(&problems, "f.yaml:1:13: warning: tls_config: has no bind_addresses"));
    m5_problems_fini(&problems);
    m5_config_free(config);
    /* The same of a mosquitto.conf. */
    config = new_config();
    m5_problems_init(&problems);
    assert_true(m5_config_read_mosquitto_text(
        config, "m.conf", m5_bytes_of("certfile c.pem\nkeyfile k.pem\nallow_anonymous true\n"),
        &problems));
    assert_true(m5_config_finish(config, &problems));
    assert_true(has_problem(&problems, "m.conf:1:1: warning: keys of a listener without"));
    options = m5_config_options(config);
    assert_int_equal(options->listener_count, 2);
    assert_string_equal(options->listeners[0].host, "127.0.0.1");
    assert_int_equal(options->listeners[0].transport, MQTT5_TRANSPORT_TLS);
    assert_string_equal(options->listeners[1].host, "::1");
    m5_problems_fini(&problems);
    m5_config_free(config);
}

static void tokens_and_listeners_of_their_own_are_read(void **state)
{
    (void)state;
    struct m5_config *config =
        good("auth_config:\n"
             "  rate_limit: {max_attempts: 3, window_secs: 10, lockout_secs: 20}\n"
             "  jwt_config: {algorithm: rs256, secret_or_key_file: k.pem, clock_skew_secs: 5,\n"
             "               role_claim: dep, role_map: ['a:b:r']}\n"
             "  federated_jwt_config:\n"
             "    issuers:\n"
             "      - {name: off, enabled: false}\n"
             "      - name: x\n"
             "        key_source: {Jwks: {uri: 'https://x/k', fallback_key_file: f.pem}}\n"
             "        auth_mode: ClaimBinding\n"
             "        role_mappings:\n"
             "          - {claim_path: a.b, pattern: {EndsWith: c}, assign_roles: [d]}\n"
             "          - {claim_path: e, pattern: Any, roles: [f, g]}\n"
             "listeners:\n"
             "  - bind: '0.0.0.0:1'\n"
             "  - bind: '0.0.0.0:2'\n"
             "    auth: {allow_anonymous: true, address_lockout: {failures: never}}\n");
    const struct mqtt5_auth_options *auth = &m5_config_options(config)->auth;
    assert_int_equal(auth->address_lockout.failures, 3);
    assert_int_equal(auth->user_lockout.lock_s, 20);
    assert_int_equal(auth->jwt_issuer_count, 2);
    const struct mqtt5_jwt_issuer *first = &auth->jwt_issuers[0], *second = &auth->jwt_issuers[1];
    assert_string_equal(first->algorithm, "RS256");
    assert_string_equal(first->key_file, "/etc/mqttv5/k.pem");
    assert_int_equal(first->clock_skew_s, 5);
    assert_int_equal(first->jwks_refresh_s, 3600);
    assert_int_equal(first->role_mapping_count, 1);
    assert_string_equal(first->role_mappings[0].claim_path, "dep");
    assert_string_equal(first->role_mappings[0].value, "a:b");
    assert_string_equal(first->role_mappings[0].roles[0], "r");
    assert_string_equal(second->jwks_uri, "https://x/k");
    assert_string_equal(second->key_file, "/etc/mqttv5/f.pem");
    assert_int_equal(second->roles, MQTT5_JWT_ROLES_MAPPED);
    assert_int_equal(second->role_mapping_count, 2);
    assert_int_equal(second->role_mappings[0].match, MQTT5_CLAIM_ENDS_WITH);
    assert_string_equal(second->role_mappings[0].value, "c");
    assert_int_equal(second->role_mappings[1].match, MQTT5_CLAIM_ANY);
    assert_int_equal(second->role_mappings[1].role_count, 2);
    const struct mqtt5_listener *listeners = m5_config_options(config)->listeners;
    assert_null(listeners[0].auth);
    assert_true(listeners[1].auth->allow_anonymous);
    assert_int_equal(listeners[1].auth->address_lockout.failures, UINT32_MAX);
    m5_config_free(config);
}

/* ---- flags and variables ---- */

static void flags_count_before_files(void **state)
{
    (void)state;
    struct m5_config *config = new_config();
    struct m5_problems problems;
    assert_true(read_text(config, "max_clients: 5\nbind_addresses: ['127.0.0.1:1']", &problems));
    static const char *const seven[] = {"7"}, *const hosts[] = {"127.0.0.1:2,[::1]:3"},
                             *const on[] = {"true"}, *const tls[] = {"127.0.0.1:4"},
                             *const file[] = {"c.pem"};
    assert_true(m5_config_set(config, "max-clients", seven, 1, "--max-clients", &problems));
    assert_true(m5_config_set(config, "host", hosts, 1, "MQTT5_BIND", &problems));
    assert_true(m5_config_set(config, "no-retain", on, 1, "--no-retain", &problems));
    assert_true(m5_config_set(config, "tls-host", tls, 1, "--tls-host", &problems));
    assert_true(m5_config_set(config, "tls-cert", file, 1, "--tls-cert", &problems));
    assert_true(m5_config_finish(config, &problems));
    const struct mqtt5_broker_options *options = m5_config_options(config);
    assert_int_equal(options->config.connections_max, 7);
    assert_false(options->config.retain_available);
    assert_int_equal(options->listener_count, 3);
    assert_int_equal(options->listeners[1].port, 3);
    /* Paths of flags are relative to where the program runs. */
    assert_string_equal(options->listeners[2].tls->credentials[0].certificate_file, "c.pem");
    static const char *const wrong[] = {"many"};
    assert_false(m5_config_set(config, "max-clients", wrong, 1, "MQTT5_MAX_CLIENTS", &problems));
    assert_true(has_problem(&problems, "MQTT5_MAX_CLIENTS: error: wants a whole number, not"));
    m5_problems_fini(&problems);
    m5_config_free(config);
}

struct names {
    const char *items[CONFIG_NAMES_MAX];
    size_t count;
};

static void add_unique(struct names *names, const char *name)
{
    for (size_t i = 0; i < names->count; i++)
        if (strcmp(names->items[i], name) == 0)
            fail_msg("%s is there twice", name);
    assert_true(names->count < CONFIG_NAMES_MAX);
    names->items[names->count++] = name;
}

static void note_flag(void *ctx, const struct m5_key *key, const char *group)
{
    (void)group;
    add_unique((struct names *)ctx, key->flag);
    if (key->env != NULL)
        add_unique((struct names *)ctx, key->env);
    assert_true(m5_key_is_scalar(key->type) || key->type == M5_KEY_TEXTS);
    assert_true(!key->is_inverted || (key->flag_help != NULL && strncmp(key->flag, "no-", 3) == 0));
}

/* Names are unique, every key explains itself and has a default or an example that can be read. */
static void check_section(const struct m5_section *section, unsigned depth)
{
    struct names names = {.count = 0};
    assert_true(depth < 8);
    for (const struct m5_key *key = section->keys; key->name != NULL; key++) {
        char also[128];
        add_unique(&names, key->name);
        snprintf(also, sizeof also, "%s", key->also == NULL ? "" : key->also);
        for (char *rest = also, *name; (name = strsep(&rest, " ")) != NULL;)
            assert_true(*name == 0 || m5_section_find(section, name) == key);
        if (key->help == NULL || strlen(key->help) < 5)
            fail_msg("%s has no explanation", key->name);
        if (key->section != NULL)
            check_section(key->section, depth + 1);
        else if (key->type != M5_KEY_ABSENT && key->standard == NULL && key->sample == NULL)
            fail_msg("%s has neither a default nor an example", key->name);
    }
}

static void the_schema_is_in_order(void **state)
{
    (void)state;
    struct names names = {.count = 0};
    m5_schema_flags(note_flag, &names);
    assert_true(names.count > 50);
    check_section(&m5_schema_root, 0);
}

/* ---- what is written ---- */

static char *generated(enum m5_config_format format)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    assert_non_null(out);
    m5_config_generate(format, out);
    fclose(out);
    return text;
}

static void print_change(void *ctx, const struct m5_config_change *change)
{
    (void)ctx;
    print_error("  %s: %s, %s\n", change->path, change->from == NULL ? "-" : change->from,
                change->to == NULL ? "-" : change->to);
}

static void what_is_generated_is_the_defaults(void **state)
{
    (void)state;
    for (int format = M5_CONFIG_YAML; format <= M5_CONFIG_JSON; format++) {
        char *text = generated((enum m5_config_format)format);
        struct m5_config *before = new_config(), *after = new_config();
        struct m5_problems problems;
        m5_problems_init(&problems);
        if (!m5_config_read_text(after, "g", NULL, m5_bytes_of(text), &problems))
            print_problems(&problems);
        assert_int_equal(problems.errors + problems.warnings, 0);
        assert_int_equal(m5_config_diff(before, after, print_change, NULL), 0);
        /* Those of the library. */
        mqtt5_broker_options_init(&before->options);
        assert_int_equal(m5_config_diff(before, after, print_change, NULL), 0);
        /* And it is the same when it is written again. */
        char *again = generated((enum m5_config_format)format);
        assert_string_equal(text, again);
        free(again);
        m5_problems_fini(&problems);
        m5_config_free(before);
        m5_config_free(after);
        free(text);
    }
}

/* Without the "# " in front of what is switched off every example can be read. */
static void generated_examples_are_right(void **state)
{
    (void)state;
    char *text = generated(M5_CONFIG_YAML), *to = text;
    for (const char *from = text; *from != 0;) {
        const char *end = strchr(from, '\n') + 1;
        from += strncmp(from, "# ", 2) == 0 ? 2 : 0;
        memmove(to, from, (size_t)(end - from));
        to += end - from;
        from = end;
    }
    *to = 0;
    struct m5_config *config = new_config();
    struct m5_problems problems;
    if (!read_text(config, text, &problems))
        print_problems(&problems);
    assert_int_equal(problems.errors + problems.warnings, 0);
    assert_int_equal(config->listener_count, 1);
    assert_string_equal(config->listeners[0].listener.name, "public");
    assert_non_null(config->tls);
    assert_int_equal(config->auth.issuer_count, 1);
    m5_problems_fini(&problems);
    m5_config_free(config);
    free(text);
}

/* ---- differences ---- */

struct changes {
    char text[2048];
};

static void note_change(void *ctx, const struct m5_config_change *change)
{
    struct changes *changes = (struct changes *)ctx;
    const size_t size = strlen(changes->text);
    static const char *const kinds[] = {"=", "+", "-"};
    snprintf(changes->text + size, sizeof changes->text - size, "%s%s %s>%s%s\n",
             kinds[change->kind], change->path, change->from == NULL ? "" : change->from,
             change->to == NULL ? "" : change->to, change->reloadable ? "" : " restart");
}

static void differences_are_told_key_by_key(void **state)
{
    (void)state;
    struct m5_config *before = good("max_clients: 5\n"
                                    "workers: 1\n"
                                    "bind_addresses: ['127.0.0.1:9']\n"
                                    "listeners:\n"
                                    "  - {name: a, bind: '127.0.0.1:1'}\n"
                                    "  - {name: b, bind: '127.0.0.1:2'}\n"
                                    "  - {bind: '127.0.0.1:3', max_connections: 4}\n"
                                    "  - {name: t, transport: tls, bind: '127.0.0.1:4',\n"
                                    "     tls: {cert_file: c, key_password: x}}\n");
    struct m5_config *after = good("max_clients: 6\n"
                                   "workers: 2\n"
                                   "bind_addresses: ['127.0.0.1:9', '[::1]:9']\n"
                                   "ban_file: b\n"
                                   "listeners:\n"
                                   "  - {name: t, transport: tls, bind: '127.0.0.1:4',\n"
                                   "     tls: {cert_file: c, key_password: y}}\n"
                                   "  - {bind: '127.0.0.1:3', max_connections: 7}\n"
                                   "  - {name: a, bind: '127.0.0.1:1'}\n"
                                   "  - {name: c, bind: '127.0.0.1:5'}\n");
    struct changes changes = {.text = ""};
    assert_int_equal(m5_config_diff(before, before, note_change, &changes), 0);
    assert_int_equal(m5_config_diff(before, after, note_change, &changes), 8);
    assert_string_equal(changes.text, "-listeners[b] >\n"
                                      "+listeners[c] >\n"
                                      "=listeners[127.0.0.1:3].max_connections 4>7\n"
                                      "=listeners[t].tls.key_password ...>...\n"
                                      "=bind_addresses [127.0.0.1:9]>[127.0.0.1:9, [::1]:9]\n"
                                      "=workers 1>2 restart\n"
                                      "=ban_file >/etc/mqttv5/b\n"
                                      "=max_clients 5>6\n");
    m5_config_free(before);
    m5_config_free(after);
}

static void its_files_are_known(void **state)
{
    (void)state;
    struct m5_config *config = good("auth_config: {password_file: p, acl_file: a}\n"
                                    "storage_config: {base_dir: not-this}\n"
                                    "listeners: [{transport: tls, bind: '127.0.0.1:1',\n"
                                    "             tls: {cert_file: c, keylog_file: nor-this}}]\n");
    static const char *const wanted[] = {"/etc/mqttv5/c", "/etc/mqttv5/a", "/etc/mqttv5/p"};
    assert_int_equal(m5_config_file_count(config), 3);
    for (size_t i = 0; i < 3; i++)
        assert_string_equal(m5_config_file(config, i), wanted[i]);
    m5_config_free(config);
}

/* ---- memory ---- */

static void without_memory_nothing_breaks(void **state)
{
    (void)state;
    static const char text[] =
        "bind_addresses: ['127.0.0.1:1']\n"
        "tls_config: {cert_file: c, certificates: [{cert_file: d}]}\n"
        "unix_config: {path: p}\n"
        "auth_config: {password_file: p, jwt_config: {key_file: k, role_claim: c,\n"
        "  role_map: ['a:b']}}\n"
        "storage_config: {durability_for: ['a=memory']}\n"
        "listeners: [{name: a, bind: '127.0.0.1:2', auth: {allow_anonymous: true}}]\n";
    struct test_allocator allocator;
    test_allocator_init(&allocator);
    uint64_t nth = 1;
    for (bool failed = true; failed; nth++) {
        struct m5_problems problems;
        m5_problems_init(&problems);
        test_allocator_fail_nth(&allocator, nth);
        struct m5_config *config = m5_config_new(&allocator.table);
        bool ok =
            config != NULL && m5_config_read_text(config, "f", "/x", m5_bytes_of(text), &problems);
        ok = ok && m5_config_finish(config, &problems);
        failed = test_allocator_failed(&allocator);
        assert_true(ok != failed);
        assert_true(config == NULL || ok || problems.errors > 0);
        m5_config_free(config);
        m5_problems_fini(&problems);
        test_allocator_check(&allocator);
    }
    assert_true(nth > 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_mistake_is_told_with_its_place),
        cmocka_unit_test(all_mistakes_are_told_in_order),
        cmocka_unit_test(contradictions_are_told),
        cmocka_unit_test(bombs_do_not_go_off),
        cmocka_unit_test(every_kind_of_value_is_read),
        cmocka_unit_test(json_and_yaml_are_one_language),
        cmocka_unit_test(the_short_form_makes_listeners),
        cmocka_unit_test(case_16_tls_keys_open_nothing_to_others),
        cmocka_unit_test(tokens_and_listeners_of_their_own_are_read),
        cmocka_unit_test(flags_count_before_files),
        cmocka_unit_test(the_schema_is_in_order),
        cmocka_unit_test(what_is_generated_is_the_defaults),
        cmocka_unit_test(generated_examples_are_right),
        cmocka_unit_test(differences_are_told_key_by_key),
        cmocka_unit_test(its_files_are_known),
        cmocka_unit_test(without_memory_nothing_breaks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
