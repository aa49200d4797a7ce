/* mosquitto.conf: what is taken over, and what is said about the rest.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "base/bytes.h"
#include "host/auth/text.h"
#include "host/config/config.h"
#include "host/config/data.h"

#include "support/unit.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void print_problems(const struct m5_problems *problems)
{
    for (uint32_t i = 0; i < problems->count; i++) {
        char text[2048];
        m5_problem_format(&problems->items[i], text, sizeof text);
        print_error("  %s\n", text);
    }
}

static bool has_problem(const struct m5_problems *problems, const char *wanted)
{
    for (uint32_t i = 0; i < problems->count; i++) {
        char text[2048];
        m5_problem_format(&problems->items[i], text, sizeof text);
        if (strstr(text, wanted) == text)
            return true;
    }
    return false;
}

/* Reads @p text as m.conf; the configuration is finished when it can be. */
static struct m5_config *read_text(const char *text, struct m5_problems *problems)
{
    struct m5_config *config = m5_config_new(&m5_libc_allocator);
    assert_non_null(config);
    m5_problems_init(problems);
    if (m5_config_read_mosquitto_text(config, "m.conf", m5_bytes_of(text), problems))
        m5_config_finish(config, problems);
    return config;
}

/* A text that is right, with so many warnings. */
static struct m5_config *good(const char *text, uint32_t warnings)
{
    struct m5_problems problems;
    struct m5_config *config = read_text(text, &problems);
    if (problems.errors > 0 || problems.warnings != warnings) {
        print_problems(&problems);
        fail_msg("in:\n%s", text);
    }
    m5_problems_fini(&problems);
    return config;
}

#define LOCAL "listener 1 127.0.0.1\nallow_anonymous true\n"

static const struct {
    const char *text, *problem;
} cases[] = {
    {"bogus 1", "m.conf:1:1: error: bogus: Mosquitto has no such key"},
    {"\n  alow_anonymous true", "m.conf:2:3: error: alow_anonymous: Mosquitto has no such key; did "
                                "you mean allow_anonymous?"},
    {"allow_anonymous yes", "m.conf:1:1: error: allow_anonymous: wants true or false, not \"yes\""},
    {"allow_anonymous", "m.conf:1:1: error: allow_anonymous: wants true or false, not \"\""},
    {"listener", "m.conf:1:1: error: listener: wants a number, not \"\""},
    {"listener 65536", "m.conf:1:1: error: listener: must be 0 to 65535, not 65536"},
    {"listener 0", "m.conf:1:1: error: listener: port 0 is for Unix sockets"},
    {"listener 1 ::1]x\nallow_anonymous true", "m.conf:1:1: error: listener: \"[::1]x]:1\" is no"},
    {"listener 1\nport 2", "m.conf:2:1: error: port: is for the default listener"},
    {"listener 1 127.0.0.1", "m.conf:1:1: error: listeners: allow_anonymous is false and there is"},
    {"password_file a\npassword_file b", "m.conf:2:1: error: password_file: is given twice"},
    {"password_file", "m.conf:1:1: error: password_file: wants a value"},
    {"max_keepalive 70000", "m.conf:1:1: error: max_keepalive: must be 0 to 65535s, not 70000"},
    {"max_connections 0", "m.conf:1:1: error: max_connections: 0 would let nobody in"},
    {"max_qos 3", "m.conf:1:1: error: max_qos: must be 0 to 2, not 3"},
    {"protocol stomp", "m.conf:1:1: error: protocol: must be mqtt or websockets, not \"stomp\""},
    {"socket_domain ipx", "m.conf:1:1: error: socket_domain: must be ipv4 or ipv6"},
    {"persistent_client_expiration 2x", "m.conf:1:1: error: persistent_client_expiration: wants a"},
    {"log_type loud", "m.conf:1:1: error: log_type: \"loud\" is no type of log lines"},
    {"tls_version tlsv1", "m.conf:1:1: error: tls_version: must be tlsv1.2 or tlsv1.3"},
    {"cafile a\ncapath b", "m.conf:2:1: error: capath: there is one place for certificates"},
    {"include_dir /x", "m.conf:1:1: error: include_dir: is nested too deeply"},
    {"topic # both", "m.conf:1:1: error: topic: belongs behind a line `connection NAME`"},
    {"listener 1\npsk_hint x\nallow_anonymous true", "m.conf:2:1: error: psk_hint: needs a psk_fi"},
    {"acl_file a\nper_listener_settings true\nallow_anonymous true\nper_listener_settings true",
     "m.conf:4:1: error: per_listener_settings: must stand in front of every key"},
    /* what would leave the broker more open than was asked */
    {"bind_interface eth0",
     "m.conf:1:1: error: bind_interface: a listener is not bound to an inte"},
    {"clientid_prefixes a", "m.conf:1:1: error: clientid_prefixes: clients cannot be refused by"},
    {"mount_point a/", "m.conf:1:1: error: mount_point: topics of a listener cannot be moved"},
    {"auth_plugin x.so", "m.conf:1:1: error: auth_plugin: plugins cannot be loaded"},
    {"plugin_opt_config_file f", "m.conf:1:1: error: plugin_opt_config_file: plugins cannot be lo"},
    {"auth_opt_x y", "m.conf:1:1: error: auth_opt_x: plugins cannot be loaded"},
    {"use_subject_as_username true", "m.conf:1:1: error: use_subject_as_username: a whole subject"},
    {"tls_engine x", "m.conf:1:1: error: tls_engine: keys are read from files only"},
    /* what the broker does without */
    {"pid_file x", "m.conf:1:1: warning: pid_file: no such file is written"},
    {"user x", "m.conf:1:1: warning: user: the broker does not change its user"},
    {"ciphers x\n" LOCAL, "m.conf:1:1: warning: ciphers: lists of OpenSSL are not read"},
    {"http_dir x", "m.conf:1:1: warning: http_dir: no files are served"},
    {"connection b\naddress x\ntopic #\nbridge_cafile y",
     "m.conf:1:1: warning: connection: there are no bridges in this version: \"b\""},
    {"queue_qos0_messages true", "m.conf:1:1: warning: queue_qos0_messages: QoS 0 messages do not"},
    {"allow_zero_length_clientid false", "m.conf:1:1: warning: allow_zero_length_clientid: cl"},
    {"message_size_limit 1000",
     "m.conf:1:1: warning: message_size_limit: limits the payload there"},
    {"log_dest syslog", "m.conf:1:1: warning: log_dest: the log goes to standard error"},
    {"tls_version tlsv1.1", "m.conf:1:1: warning: tls_version: TLS 1.1 is not served any more"},
    {LOCAL "cafile x", "m.conf:3:1: warning: certfile: without a certfile this listener speaks no"},
    {LOCAL "max_qos 1", "m.conf:3:1: warning: max_qos: counts for all listeners here"},
    {"max_connections 5\n" LOCAL, "m.conf:1:1: warning: keys of a listener in front of the first"},
};

static void each_line_is_answered_for(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct m5_problems problems;
        struct m5_config *config = read_text(cases[i].text, &problems);
        if (!has_problem(&problems, cases[i].problem)) {
            print_problems(&problems);
            fail_msg("%s: wanted %s", cases[i].text, cases[i].problem);
        }
        m5_problems_fini(&problems);
        m5_config_free(config);
    }
}

static void settings_that_say_nothing_new_are_silent(void **state)
{
    (void)state;
    m5_config_free(good("# a comment\n\n   # another\r\n\t\r\n"
                        "queue_qos0_messages false\nupgrade_outgoing_qos false\n"
                        "set_tcp_nodelay true\ncheck_retain_source true\nlog_timestamp true\n"
                        "connection_messages true\nallow_zero_length_clientid true\n"
                        "log_dest stderr\nuse_username_as_clientid false\nmax_queued_messages 5\n",
                        0));
}

static void limits_are_taken_over(void **state)
{
    (void)state;
    struct m5_config *config = good("max_inflight_messages 0\n"
                                    "max_keepalive 120\n"
                                    "max_packet_size 5000\n"
                                    "max_queued_bytes 0\n"
                                    "max_queued_messages 0\n"
                                    "memory_limit 100000000\n"
                                    "persistent_client_expiration 2w\n"
                                    "retain_available false\n"
                                    "sys_interval 30\n"
                                    "log_type error\n"
                                    "log_type warning\n"
                                    "log_type notice\n"
                                    "log_type warning\n"
                                    "persistence true\n"
                                    "persistence_location /var/lib/mosquitto/\n"
                                    "plugin /usr/lib/mosquitto_dynamic_security.so\n"
                                    "plugin_opt_config_file dyn.json\n",
                                    0);
    const struct mqtt5_broker_options *options = m5_config_options(config);
    assert_int_equal(options->config.inflight_max, 65535);
    assert_int_equal(options->config.receive_maximum, 65535);
    assert_int_equal(options->config.keep_alive_max_s, 120);
    assert_int_equal(options->config.maximum_packet_size, 5000);
    assert_true(options->config.queued_bytes_max == SIZE_MAX);
    assert_int_equal(options->config.queued_messages_max, UINT32_MAX);
    assert_int_equal(options->config.memory_max, 100000000);
    assert_int_equal(options->config.session_expiry_max_s, 1209600);
    assert_false(options->config.retain_available);
    assert_int_equal(options->config.sys_interval_s, 30);
    assert_int_equal(options->log_level, MQTT5_LOG_INFO);
    assert_string_equal(options->storage_dir, "/var/lib/mosquitto/mqttv5");
    assert_int_equal(options->listener_count, 0);
    assert_string_equal(options->dynamic_security_file, "dyn.json");
    m5_config_free(config);
}

static void listeners_are_taken_over(void **state)
{
    (void)state;
    struct m5_config *config = good("password_file pw\n"
                                    "acl_file acl\n"
                                    "psk_file psk\n"
                                    "port 1\n"
                                    "bind_address 127.0.0.1\n"
                                    "listener 2 ::1\n"
                                    "protocol websockets\n"
                                    "max_connections 7\n"
                                    "listener 3\n"
                                    "socket_domain ipv4\n"
                                    "cafile ca\ncertfile c\nkeyfile k\ncrlfile r\n"
                                    "require_certificate true\nuse_identity_as_username true\n"
                                    "tls_version tlsv1.3\n"
                                    "listener 0 /run/m.sock\n"
                                    "listener 4\n"
                                    "psk_hint here\n"
                                    "listener 5 host.example\n"
                                    "protocol websockets\n"
                                    "certfile c\nkeyfile k\ncafile ca\n",
                                    0);
    const struct mqtt5_broker_options *options = m5_config_options(config);
    assert_int_equal(options->listener_count, 6);
    const struct mqtt5_listener *l = options->listeners;
    assert_int_equal(l[0].transport, MQTT5_TRANSPORT_TCP);
    assert_string_equal(l[0].host, "127.0.0.1");
    assert_int_equal(l[0].port, 1);
    assert_int_equal(l[1].transport, MQTT5_TRANSPORT_WS);
    assert_string_equal(l[1].host, "::1");
    assert_int_equal(l[1].connections_max, 7);
    assert_true(l[1].websocket.subprotocol_optional);
    assert_int_equal(l[2].transport, MQTT5_TRANSPORT_TLS);
    assert_string_equal(l[2].host, "0.0.0.0");
    assert_string_equal(l[2].tls->ca_file, "ca");
    assert_string_equal(l[2].tls->crl_file, "r");
    assert_string_equal(l[2].tls->credentials[0].key_file, "k");
    assert_int_equal(l[2].tls->client_certificate, MQTT5_TLS_CLIENT_CERTIFICATE_REQUIRED);
    assert_int_equal(l[2].tls->identity, MQTT5_TLS_IDENTITY_CN);
    assert_int_equal(l[2].tls->version_min, MQTT5_TLS_1_3);
    assert_int_equal(l[3].transport, MQTT5_TRANSPORT_UNIX);
    assert_string_equal(l[3].path, "/run/m.sock");
    assert_int_equal(l[4].transport, MQTT5_TRANSPORT_TLS);
    assert_string_equal(l[4].host, "");
    assert_string_equal(l[4].tls->psk_file, "psk");
    assert_int_equal(l[4].tls->credential_count, 0);
    assert_int_equal(l[5].transport, MQTT5_TRANSPORT_WSS);
    assert_int_equal(l[5].tls->client_certificate, MQTT5_TLS_CLIENT_CERTIFICATE_NONE);
    assert_string_equal(options->auth.password_file, "pw");
    assert_string_equal(options->acl_file, "acl");
    assert_false(options->auth.allow_anonymous);
    assert_null(options->storage_dir); /* persistence is off there unless it is said */
    m5_config_free(config);
}

static void settings_of_listeners_stay_with_them(void **state)
{
    (void)state;
    struct m5_config *config = good("per_listener_settings true\n"
                                    "listener 1 127.0.0.1\n"
                                    "allow_anonymous true\n"
                                    "listener 2\n"
                                    "password_file pw\n",
                                    0);
    const struct mqtt5_broker_options *options = m5_config_options(config);
    assert_int_equal(options->listener_count, 2);
    assert_true(options->listeners[0].auth->allow_anonymous);
    assert_null(options->listeners[0].auth->password_file);
    assert_false(options->listeners[1].auth->allow_anonymous);
    assert_string_equal(options->listeners[1].auth->password_file, "pw");
    m5_config_free(config);
}

/* The keys of Mosquitto 2.0's manual; x stands for any name. */
static const char documented[] =
    "acl_file address addresses allow_anonymous allow_duplicate_messages "
    "allow_zero_length_clientid auth_opt_x auth_plugin auth_plugin_deny_special_chars "
    "auto_id_prefix autosave_interval autosave_on_changes bind_address bind_interface "
    "bridge_alpn bridge_attempt_unsubscribe bridge_bind_address bridge_cafile bridge_capath "
    "bridge_certfile bridge_identity bridge_insecure bridge_keyfile bridge_max_packet_size "
    "bridge_outgoing_retain bridge_protocol_version bridge_psk bridge_require_ocsp "
    "bridge_tls_version cafile capath certfile check_retain_source ciphers ciphers_tls1.3 "
    "cleansession clientid_prefixes connection connection_messages crlfile dhparamfile http_dir "
    "idle_timeout include_dir keepalive_interval keyfile listener local_cleansession "
    "local_clientid local_password local_username log_dest log_facility log_timestamp "
    "log_timestamp_format log_type max_connections max_inflight_bytes max_inflight_messages "
    "max_keepalive max_packet_size max_qos max_queued_bytes max_queued_messages max_topic_alias "
    "memory_limit message_size_limit mount_point notification_topic notifications "
    "notifications_local_only password_file per_listener_settings persistence persistence_file "
    "persistence_location persistent_client_expiration pid_file plugin plugin_opt_x port "
    "protocol psk_file psk_hint queue_qos0_messages remote_clientid remote_password "
    "remote_username require_certificate restart_timeout retain_available round_robin "
    "set_tcp_nodelay socket_domain start_type sys_interval threshold tls_engine "
    "tls_engine_kpass_sha1 tls_keyform tls_version topic try_private upgrade_outgoing_qos "
    "use_identity_as_username use_subject_as_username use_username_as_clientid user "
    "websockets_headers_size websockets_log_level";

static void every_documented_key_is_known(void **state)
{
    (void)state;
    char names[sizeof documented], text[128];
    memcpy(names, documented, sizeof names);
    for (char *rest = names, *name; (name = strsep(&rest, " ")) != NULL;) {
        struct m5_problems problems;
        snprintf(text, sizeof text, "connection x\n%s 1\n", name);
        struct m5_config *config = read_text(text, &problems);
        for (uint32_t p = 0; p < problems.count; p++)
            if (strstr(problems.items[p].text, "no such key") != NULL)
                fail_msg("%s is not known", name);
        m5_problems_fini(&problems);
        m5_config_free(config);
    }
}

static void write_file(const char *folder, const char *name, const char *text)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *out = fopen(path, "w");
    assert_non_null(out);
    fputs(text, out);
    fclose(out);
}

static void folders_are_included_in_order(void **state)
{
    (void)state;
    char folder[] = "/tmp/mqtt5-conf-XXXXXX", path[256], text[512];
    assert_non_null(mkdtemp(folder));
    write_file(folder, "b.conf", "max_keepalive 2\nbogus x\n");
    write_file(folder, "A.conf", "max_keepalive 1\nlistener 7 127.0.0.1\n");
    write_file(folder, "c.txt", "max_keepalive 3\n");
    snprintf(text, sizeof text, "allow_anonymous true\ninclude_dir %s/\nsys_interval 5\n", folder);
    write_file(folder, "m.main", text);
    struct m5_config *config = m5_config_new(&m5_libc_allocator);
    struct m5_problems problems;
    m5_problems_init(&problems);
    snprintf(path, sizeof path, "%s/m.main", folder);
    assert_false(m5_config_read_mosquitto(config, path, &problems));
    assert_int_equal(problems.count, 1);
    snprintf(text, sizeof text, "%s/b.conf:2:1: error: bogus: ", folder);
    assert_true(has_problem(&problems, text));
    assert_int_equal(config->options.config.keep_alive_max_s, 2);
    assert_int_equal(config->options.config.sys_interval_s, 5);
    assert_int_equal(m5_config_file_count(config), 3);
    m5_problems_fini(&problems);
    m5_config_free(config);
    static const char *const names[] = {"b.conf", "A.conf", "c.txt", "m.main"};
    for (size_t i = 0; i < 4; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        unlink(path);
    }
    rmdir(folder);
}

/* As Debian installs it. */
static void the_file_of_debian_is_read(void **state)
{
    (void)state;
    struct m5_config *config = good("pid_file /run/mosquitto/mosquitto.pid\n\n"
                                    "persistence true\n"
                                    "persistence_location /var/lib/mosquitto/\n\n"
                                    "log_dest file /var/log/mosquitto/mosquitto.log\n",
                                    2);
    assert_string_equal(m5_config_options(config)->storage_dir, "/var/lib/mosquitto/mqttv5");
    /* Without a listener everybody on this machine is served, as Mosquitto does. */
    assert_int_equal(m5_config_options(config)->listener_count, 0);
    assert_true(m5_config_options(config)->config.allow_anonymous);
    m5_config_free(config);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_line_is_answered_for),
        cmocka_unit_test(settings_that_say_nothing_new_are_silent),
        cmocka_unit_test(limits_are_taken_over),
        cmocka_unit_test(listeners_are_taken_over),
        cmocka_unit_test(settings_of_listeners_stay_with_them),
        cmocka_unit_test(every_documented_key_is_known),
        cmocka_unit_test(folders_are_included_in_order),
        cmocka_unit_test(the_file_of_debian_is_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
