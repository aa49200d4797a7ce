/* The keys of mosquitto.conf: what each becomes, or what to do instead.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "host/config/mosquitto.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum kind {
    AS_FLAG,    /* the flag `flag` means the same */
    ALWAYS,     /* cannot be taken over: a warning */
    WHEN_TRUE,  /* only then is there something that cannot be taken over */
    WHEN_FALSE, /* */
    NEVER,      /* the broker would do what was not asked for: an error */
    BRIDGE,     /* said once, at `connection` */
    BY_FUNCTION /* `take` */
};

typedef bool take_fn(struct m5_mosquitto *state, const char *value);

struct m5_mosquitto_key {
    const char *name;
    enum kind kind;
    const char *flag;
    const char *zero; /* AS_FLAG: what 0 becomes, which means "no limit" there; NULL = 0 */
    const char *text; /* why not, and what to do instead */
    take_fn *take;
};

static const char no_plugins[] = "plugins cannot be loaded: see auth_config in "
                                 "docs/configuration.md for what there is instead";

/* ---- values ---- */

static struct m5_mosquitto_listener *current(struct m5_mosquitto *state)
{
    struct m5_mosquitto_listener *listener = &state->listeners[state->count - 1];
    if (listener->place.line == 0)
        listener->place = state->place;
    listener->is_used = true;
    return listener;
}

static bool read_bool(struct m5_mosquitto *state, const char *value, bool *out)
{
    if (strcmp(value, "true") == 0 || strcmp(value, "1") == 0)
        *out = true;
    else if (strcmp(value, "false") == 0 || strcmp(value, "0") == 0)
        *out = false;
    else
        return m5_mosquitto_refuse(state, "wants true or false, not \"%s\"", value);
    return true;
}

static bool read_number(struct m5_mosquitto *state, const char *value, long least, long most,
                        long *out)
{
    char *end;
    errno = 0;
    *out = strtol(value, &end, 10);
    if (*value == 0 || *end != 0)
        return m5_mosquitto_refuse(state, "wants a number, not \"%s\"", value);
    if (errno != 0 || *out < least || *out > most)
        return m5_mosquitto_refuse(state, "must be %ld to %ld, not %s", least, most, value);
    return true;
}

/* Paths are relative to where the program runs, as they are for Mosquitto. */
static bool read_text(struct m5_mosquitto *state, const char *value, const char **out)
{
    if (*value == 0)
        return m5_mosquitto_refuse(state, "wants a value");
    if (*out != NULL)
        return m5_mosquitto_refuse(state, "is given twice");
    *out = m5_config_keep(state->config, value);
    return *out != NULL || m5_config_no_memory(state->problems);
}

static bool set_flag(struct m5_mosquitto *state, const char *flag, const char *value)
{
    return m5_config_set_at(state->config, flag, &value, 1, state->place, state->key,
                            state->problems);
}

/* ---- keys of the broker ---- */

static bool take_include(struct m5_mosquitto *state, const char *value)
{
    char folder[4096];
    size_t size = strlen(value);
    while (size > 1 && value[size - 1] == '/')
        size--;
    snprintf(folder, sizeof folder, "%.*s", (int)size, value);
    return *value == 0 ? m5_mosquitto_refuse(state, "wants a folder")
                       : m5_mosquitto_include(state, folder);
}

static bool take_per_listener(struct m5_mosquitto *state, const char *value)
{
    if (state->listeners[0].allow_anonymous != M5_SWITCH_UNSET ||
        state->listeners[0].password_file != NULL || state->count > 1)
        return m5_mosquitto_refuse(state, "must stand in front of every key that it changes");
    return read_bool(state, value, &state->per_listener_settings);
}

/* Where keys about security go: the first stands for the whole broker. */
static struct m5_mosquitto_listener *secured(struct m5_mosquitto *state)
{
    return state->per_listener_settings ? current(state) : &state->listeners[0];
}

static bool take_anonymous(struct m5_mosquitto *state, const char *value)
{
    bool allowed;
    if (!read_bool(state, value, &allowed))
        return false;
    secured(state)->allow_anonymous = allowed ? M5_SWITCH_ON : M5_SWITCH_OFF;
    return true;
}

static bool take_password_file(struct m5_mosquitto *state, const char *value)
{
    return read_text(state, value, &secured(state)->password_file);
}

static bool take_acl_file(struct m5_mosquitto *state, const char *value)
{
    const char **acl_file = &state->config->auth.acl_file;
    if (*acl_file != NULL && state->per_listener_settings && strcmp(*acl_file, value) != 0)
        return m5_mosquitto_refuse(state, "there is one list for all listeners here: put the rules "
                                          "together, or use roles (mqttv5 acl)");
    if (*acl_file != NULL && state->per_listener_settings)
        return true;
    if (state->per_listener_settings)
        m5_mosquitto_warn(state, "the list counts for all listeners");
    return read_text(state, value, acl_file);
}

static bool take_psk_file(struct m5_mosquitto *state, const char *value)
{
    return read_text(state, value, &state->psk_file);
}

static bool take_persistence(struct m5_mosquitto *state, const char *value)
{
    return read_bool(state, value, &state->persistence);
}

static bool take_location(struct m5_mosquitto *state, const char *value)
{
    return read_text(state, value, &state->persistence_location);
}

/* "2w": hours, days, weeks, months, years. */
static bool take_expiration(struct m5_mosquitto *state, const char *value)
{
    static const char units[] = "hdwmy";
    static const uint64_t seconds[] = {3600, 86400, 604800, 2592000, 31536000};
    char *end, text[32];
    const unsigned long number = strtoul(value, &end, 10);
    const char *unit = *end != 0 ? strchr(units, *end) : NULL;
    if (end == value || number == 0 || number > 1000000 || unit == NULL || end[1] != 0)
        return m5_mosquitto_refuse(state, "wants a number with h, d, w, m or y, like 2w");
    const uint64_t total = number * seconds[unit - units];
    snprintf(text, sizeof text, "%lu", (unsigned long)(total < UINT32_MAX ? total : UINT32_MAX));
    return set_flag(state, "session-expiry", text);
}

static bool take_log_dest(struct m5_mosquitto *state, const char *value)
{
    if (strcmp(value, "stderr") != 0)
        m5_mosquitto_warn(state, "the log goes to standard error: let the service manager keep it "
                                 "(journalctl), or redirect it");
    return true;
}

static bool take_log_type(struct m5_mosquitto *state, const char *value)
{
    static const struct {
        const char *name, *level;
    } types[] = {{"debug", "debug"},
                 {"all", "debug"},
                 {"information", "info"},
                 {"notice", "info"},
                 {"warning", "warning"},
                 {"error", "error"},
                 {"none", "error"},
                 {"subscribe", "debug"},
                 {"unsubscribe", "debug"},
                 {"websockets", "info"},
                 {NULL, NULL}};
    static const char *const levels[] = {"error", "warning", "info", "debug"};
    size_t i = 0;
    while (types[i].name != NULL && strcmp(types[i].name, value) != 0)
        i++;
    if (types[i].name == NULL)
        return m5_mosquitto_refuse(state, "\"%s\" is no type of log lines", value);
    /* The types add up; here there are levels, and each holds those before it. */
    for (size_t level = 0; level < 4; level++)
        if (strcmp(levels[level], types[i].level) == 0 &&
            (!state->has_log_type || level > (size_t)m5_config_options(state->config)->log_level)) {
            state->has_log_type = true;
            return set_flag(state, "log-level", types[i].level);
        }
    return true;
}

static bool take_inflight(struct m5_mosquitto *state, const char *value)
{
    const char *number = strcmp(value, "0") == 0 ? "65535" : value;
    return set_flag(state, "inflight-max", number) && set_flag(state, "receive-maximum", number);
}

static bool take_message_size(struct m5_mosquitto *state, const char *value)
{
    long limit;
    char text[32];
    if (!read_number(state, value, 0, 268435455, &limit))
        return false;
    if (limit == 0)
        return set_flag(state, "maximum-packet-size", "268435460");
    const long size = limit + 65536 < 268435460 ? limit + 65536 : 268435460;
    snprintf(text, sizeof text, "%ld", size);
    m5_mosquitto_warn(state,
                      "limits the payload there, and the whole packet here: taken as %ld "
                      "bytes (max_packet_size)",
                      size);
    return set_flag(state, "maximum-packet-size", text);
}

static bool take_memory(struct m5_mosquitto *state, const char *value)
{
    return strcmp(value, "0") == 0 || set_flag(state, "memory-max", value);
}

/* Of plugins, the one for dynamic security is built in. */
static bool take_plugin(struct m5_mosquitto *state, const char *value)
{
    if (strstr(value, "mosquitto_dynamic_security") == NULL)
        return m5_mosquitto_refuse(state, "%s", no_plugins);
    state->has_dynamic_security = true;
    return true;
}

static bool take_plugin_file(struct m5_mosquitto *state, const char *value)
{
    if (!state->has_dynamic_security)
        return m5_mosquitto_refuse(state, "%s", no_plugins);
    return read_text(state, value, &state->config->auth.dynamic_security_file);
}

/* ---- keys of a listener ---- */

static bool take_listener(struct m5_mosquitto *state, const char *value)
{
    long port;
    char number[16];
    const size_t size = strcspn(value, " \t");
    const char *host = value + size + strspn(value + size, " \t");
    if (state->count == M5_MOSQUITTO_LISTENERS_MAX)
        return m5_mosquitto_refuse(state, "there may be at most %d listeners",
                                   M5_MOSQUITTO_LISTENERS_MAX - 1);
    snprintf(number, sizeof number, "%.*s", (int)(size < 15 ? size : 15), value);
    if (!read_number(state, number, 0, 65535, &port))
        return false;
    if (port == 0 && *host != '/')
        return m5_mosquitto_refuse(state, "port 0 is for Unix sockets: listener 0 /path/of/socket");
    state->in_bridge = false;
    struct m5_mosquitto_listener *listener = &state->listeners[state->count++];
    *listener = (struct m5_mosquitto_listener){
        .place = state->place, .is_used = true, .has_address = true, .port = (uint16_t)port};
    return *host == 0 || read_text(state, host, &listener->host);
}

static bool take_port(struct m5_mosquitto *state, const char *value)
{
    long port;
    if (state->count > 1)
        return m5_mosquitto_refuse(state, "is for the default listener: it must stand in front of "
                                          "every `listener`");
    if (!read_number(state, value, 1, 65535, &port))
        return false;
    current(state)->port = (uint16_t)port;
    current(state)->has_address = true;
    return true;
}

static bool take_bind_address(struct m5_mosquitto *state, const char *value)
{
    struct m5_mosquitto_listener *listener = current(state);
    listener->has_address = true;
    return read_text(state, value, &listener->host);
}

static bool take_domain(struct m5_mosquitto *state, const char *value)
{
    if (strcmp(value, "ipv4") != 0 && strcmp(value, "ipv6") != 0)
        return m5_mosquitto_refuse(state, "must be ipv4 or ipv6");
    return read_text(state, value, &current(state)->domain);
}

static bool take_protocol(struct m5_mosquitto *state, const char *value)
{
    if (strcmp(value, "mqtt") != 0 && strcmp(value, "websockets") != 0)
        return m5_mosquitto_refuse(state, "must be mqtt or websockets, not \"%s\"", value);
    current(state)->is_websocket = strcmp(value, "websockets") == 0;
    return true;
}

static bool take_connections(struct m5_mosquitto *state, const char *value)
{
    long most;
    if (!read_number(state, value, -1, UINT32_MAX, &most))
        return false;
    if (most == 0)
        return m5_mosquitto_refuse(state, "0 would let nobody in: leave the listener out");
    current(state)->connections_max = most < 0 ? 0 : (uint32_t)most;
    return true;
}

/* Of one listener there, of the broker here: the lowest counts. */
static bool take_max_qos(struct m5_mosquitto *state, const char *value)
{
    long qos;
    if (!read_number(state, value, 0, 2, &qos))
        return false;
    if (qos < 2 && state->count > 1)
        m5_mosquitto_warn(state, "counts for all listeners here");
    if (qos > m5_config_options(state->config)->config.maximum_qos)
        return true;
    return set_flag(state, "max-qos", value);
}

static bool take_topic_alias(struct m5_mosquitto *state, const char *value)
{
    if (state->count > 1)
        m5_mosquitto_warn(state, "counts for all listeners here");
    return set_flag(state, "topic-alias-maximum", value);
}

/* ---- TLS ---- */

static struct m5_mosquitto_listener *secure(struct m5_mosquitto *state)
{
    struct m5_mosquitto_listener *listener = current(state);
    if (listener->tls_place.line == 0)
        listener->tls_place = state->place;
    return listener;
}

static bool take_ca(struct m5_mosquitto *state, const char *value)
{
    struct m5_mosquitto_listener *listener = secure(state);
    if (listener->ca_file != NULL)
        return m5_mosquitto_refuse(state, "there is one place for certificates of authorities: "
                                          "cafile or capath, once");
    return read_text(state, value, &listener->ca_file);
}

static bool take_cert(struct m5_mosquitto *state, const char *value)
{
    return read_text(state, value, &secure(state)->cert_file);
}

static bool take_key(struct m5_mosquitto *state, const char *value)
{
    return read_text(state, value, &secure(state)->key_file);
}

static bool take_crl(struct m5_mosquitto *state, const char *value)
{
    return read_text(state, value, &secure(state)->crl_file);
}

static bool take_require(struct m5_mosquitto *state, const char *value)
{
    return read_bool(state, value, &secure(state)->wants_certificate);
}

static bool take_identity(struct m5_mosquitto *state, const char *value)
{
    return read_bool(state, value, &secure(state)->identity);
}

static bool take_subject(struct m5_mosquitto *state, const char *value)
{
    bool wanted;
    if (!read_bool(state, value, &wanted))
        return false;
    return !wanted || m5_mosquitto_refuse(state, "a whole subject cannot be a user name here: use "
                                                 "use_identity_as_username (the common name), and "
                                                 "adapt the acl_file");
}

static bool take_psk_hint(struct m5_mosquitto *state, const char *value)
{
    (void)value;
    secure(state)->has_psk = true;
    return true; /* the text itself only helps people */
}

static bool take_tls_version(struct m5_mosquitto *state, const char *value)
{
    struct m5_mosquitto_listener *listener = secure(state);
    if (strcmp(value, "tlsv1.1") == 0)
        m5_mosquitto_warn(state, "TLS 1.1 is not served any more: 1.2 and newer are");
    else if (strcmp(value, "tlsv1.2") != 0 && strcmp(value, "tlsv1.3") != 0)
        return m5_mosquitto_refuse(state, "must be tlsv1.2 or tlsv1.3, not \"%s\"", value);
    return read_text(state, value, &listener->tls_version);
}

/* ---- bridges ---- */

static bool take_connection(struct m5_mosquitto *state, const char *value)
{
    state->in_bridge = true;
    m5_mosquitto_warn(state,
                      "there are no bridges in this version: \"%s\" and its keys are left "
                      "out",
                      value);
    return true;
}

/* ---- all keys ---- */

#define FUNCTION(key, function)                            \
    {                                                      \
        .name = key, .kind = BY_FUNCTION, .take = function \
    }
#define SAME(key, key_flag, none)                                    \
    {                                                                \
        .name = key, .kind = AS_FLAG, .flag = key_flag, .zero = none \
    }
#define SAY(key, when, why)                    \
    {                                          \
        .name = key, .kind = when, .text = why \
    }
#define OF_BRIDGE(key)              \
    {                               \
        .name = key, .kind = BRIDGE \
    }

static const struct m5_mosquitto_key keys[] = {
    FUNCTION("acl_file", take_acl_file),
    FUNCTION("allow_anonymous", take_anonymous),
    SAY("allow_duplicate_messages", WHEN_TRUE,
        "a message that matches several subscriptions of a client comes once"),
    SAY("allow_zero_length_clientid", WHEN_FALSE,
        "clients without an identifier are given one, as MQTT 5 wants it"),
    FUNCTION("auth_plugin", take_plugin),
    SAY("auth_plugin_deny_special_chars", WHEN_FALSE,
        "user names and identifiers with + # or / never match %u and %c in rules"),
    SAY("auto_id_prefix", ALWAYS, "identifiers are made without a prefix of your own"),
    SAY("autosave_interval", ALWAYS,
        "every change is stored when it happens: leave it out (storage_config.durability)"),
    SAY("autosave_on_changes", ALWAYS,
        "every change is stored when it happens: leave it out (storage_config.durability)"),
    SAY("check_retain_source", WHEN_FALSE,
        "what may be read is checked at every delivery, also of retained messages"),
    SAY("clientid_prefixes", NEVER,
        "clients cannot be refused by their identifiers: use passwords or certificates, and %c in "
        "the acl_file"),
    SAY("connection_messages", WHEN_FALSE,
        "connections are logged at the level info: use log_type warning"),
    FUNCTION("include_dir", take_include),
    FUNCTION("log_dest", take_log_dest),
    SAY("log_facility", ALWAYS, "the log goes to standard error: leave it out"),
    SAY("log_timestamp", WHEN_FALSE, "every line of the log has its time"),
    SAY("log_timestamp_format", ALWAYS, "times in the log are ISO 8601, in UTC"),
    FUNCTION("log_type", take_log_type),
    SAY("max_inflight_bytes", ALWAYS,
        "what is under way is limited by messages: max_inflight_messages; and by bytes that are "
        "not sent yet: output_bytes_max"),
    FUNCTION("max_inflight_messages", take_inflight),
    SAME("max_keepalive", "keep-alive-max", NULL),
    SAME("max_packet_size", "maximum-packet-size", "268435460"),
    SAME("max_queued_bytes", "queued-bytes-max", "18446744073709551615"),
    SAME("max_queued_messages", "queued-messages-max", "4294967295"),
    FUNCTION("memory_limit", take_memory),
    FUNCTION("message_size_limit", take_message_size),
    FUNCTION("password_file", take_password_file),
    FUNCTION("per_listener_settings", take_per_listener),
    FUNCTION("persistence", take_persistence),
    SAY("persistence_file", ALWAYS, "the store has files with names of its own"),
    FUNCTION("persistence_location", take_location),
    FUNCTION("persistent_client_expiration", take_expiration),
    SAY("pid_file", ALWAYS, "no such file is written: the service manager knows the process"),
    FUNCTION("plugin", take_plugin),
    FUNCTION("global_plugin", take_plugin),
    FUNCTION("plugin_opt_config_file", take_plugin_file),
    FUNCTION("auth_opt_config_file", take_plugin_file),
    FUNCTION("psk_file", take_psk_file),
    SAY("queue_qos0_messages", WHEN_TRUE, "QoS 0 messages do not wait for clients that are away"),
    SAME("retain_available", "no-retain", NULL),
    SAY("set_tcp_nodelay", WHEN_FALSE, "it is always on"),
    SAME("sys_interval", "sys-interval", NULL),
    SAY("upgrade_outgoing_qos", WHEN_TRUE,
        "messages are delivered with the lower of the two QoS, as MQTT says"),
    SAY("user", ALWAYS,
        "the broker does not change its user: start it as the right one "
        "(User= in a systemd unit)"),
    FUNCTION("bind_address", take_bind_address),
    SAY("bind_interface", NEVER,
        "a listener is not bound to an interface, and would be open to others: give the address of "
        "the interface, listener PORT ADDRESS"),
    SAY("http_dir", ALWAYS, "no files are served: use a web server"),
    FUNCTION("listener", take_listener),
    FUNCTION("max_connections", take_connections),
    FUNCTION("max_qos", take_max_qos),
    FUNCTION("max_topic_alias", take_topic_alias),
    SAY("mount_point", NEVER,
        "topics of a listener cannot be moved: clients of all listeners see the same topics"),
    FUNCTION("port", take_port),
    FUNCTION("protocol", take_protocol),
    FUNCTION("socket_domain", take_domain),
    SAY("use_username_as_clientid", WHEN_TRUE,
        "identifiers are those of the clients; a session can only be resumed by the user who "
        "began it"),
    SAY("websockets_log_level", ALWAYS, "there is one log_type for everything"),
    SAY("websockets_headers_size", ALWAYS, "a request may have 8 KiB"),
    FUNCTION("cafile", take_ca),
    FUNCTION("capath", take_ca),
    FUNCTION("certfile", take_cert),
    SAY("ciphers", ALWAYS,
        "lists of OpenSSL are not read; the ciphers that count as secure are used (tls.priorities "
        "in a configuration of ours chooses others)"),
    SAY("ciphers_tls1.3", ALWAYS,
        "lists of OpenSSL are not read; the ciphers that count as secure are used (tls.priorities "
        "in a configuration of ours chooses others)"),
    FUNCTION("crlfile", take_crl),
    SAY("dhparamfile", ALWAYS, "it is not needed: groups are negotiated (RFC 7919)"),
    FUNCTION("keyfile", take_key),
    FUNCTION("require_certificate", take_require),
    SAY("tls_engine", NEVER, "keys are read from files only"),
    SAY("tls_engine_kpass_sha1", NEVER, "keys are read from files only"),
    SAY("tls_keyform", ALWAYS, "keys are read from files, PEM or DER"),
    FUNCTION("tls_version", take_tls_version),
    FUNCTION("use_identity_as_username", take_identity),
    FUNCTION("use_subject_as_username", take_subject),
    FUNCTION("psk_hint", take_psk_hint),
    FUNCTION("connection", take_connection),
    OF_BRIDGE("address"),
    OF_BRIDGE("addresses"),
    OF_BRIDGE("cleansession"),
    OF_BRIDGE("clientid"),
    OF_BRIDGE("idle_timeout"),
    OF_BRIDGE("keepalive_interval"),
    OF_BRIDGE("local_cleansession"),
    OF_BRIDGE("local_clientid"),
    OF_BRIDGE("local_password"),
    OF_BRIDGE("local_username"),
    OF_BRIDGE("notification_topic"),
    OF_BRIDGE("notifications"),
    OF_BRIDGE("notifications_local_only"),
    OF_BRIDGE("password"),
    OF_BRIDGE("remote_clientid"),
    OF_BRIDGE("remote_password"),
    OF_BRIDGE("remote_username"),
    OF_BRIDGE("restart_timeout"),
    OF_BRIDGE("round_robin"),
    OF_BRIDGE("start_type"),
    OF_BRIDGE("threshold"),
    OF_BRIDGE("topic"),
    OF_BRIDGE("try_private"),
    OF_BRIDGE("username"),
    {.name = NULL},
};

static bool begins_with(const char *text, const char *start)
{
    return strncmp(text, start, strlen(start)) == 0;
}

static bool take_unknown(struct m5_mosquitto *state, const char *name)
{
    const char *names[sizeof keys / sizeof *keys];
    size_t i = 0;
    if (begins_with(name, "bridge_"))
        return true; /* said at its connection */
    if (begins_with(name, "auth_opt_") || begins_with(name, "plugin_opt_"))
        return m5_mosquitto_refuse(state, "%s", no_plugins);
    for (; keys[i].name != NULL; i++)
        names[i] = keys[i].name;
    names[i] = NULL;
    const bool is_told = state->problems->count < M5_PROBLEMS_MAX;
    const char *guess = is_told ? m5_value_suggest(name, names) : NULL;
    return m5_mosquitto_refuse(state, "Mosquitto has no such key%s%s%s",
                               guess != NULL ? "; did you mean " : "", guess != NULL ? guess : "",
                               guess != NULL ? "?" : "");
}

static bool warn_when(struct m5_mosquitto *state, const struct m5_mosquitto_key *key,
                      const char *value)
{
    bool given;
    if (!read_bool(state, value, &given))
        return false;
    if (given == (key->kind == WHEN_TRUE))
        m5_mosquitto_warn(state, "%s", key->text);
    return true;
}

/* The flag of retain_available says the opposite. */
static bool take_flag(struct m5_mosquitto *state, const struct m5_mosquitto_key *key,
                      const char *value)
{
    bool wanted;
    if (begins_with(key->flag, "no-"))
        return read_bool(state, value, &wanted) &&
               set_flag(state, key->flag, wanted ? "false" : "true");
    return set_flag(state, key->flag,
                    key->zero != NULL && strcmp(value, "0") == 0 ? key->zero : value);
}

bool m5_mosquitto_take(struct m5_mosquitto *state, const char *name, const char *value)
{
    const struct m5_mosquitto_key *key = keys;
    while (key->name != NULL && strcmp(key->name, name) != 0)
        key++;
    if (key->name == NULL)
        return take_unknown(state, name);
    switch (key->kind) {
    case AS_FLAG: return take_flag(state, key, value);
    case ALWAYS: m5_mosquitto_warn(state, "%s", key->text); return true;
    case WHEN_TRUE:
    case WHEN_FALSE: return warn_when(state, key, value);
    case NEVER: return m5_mosquitto_refuse(state, "%s", key->text);
    case BRIDGE:
        return state->in_bridge ||
               m5_mosquitto_refuse(state, "belongs behind a line `connection NAME`");
    case BY_FUNCTION: return key->take(state, value);
    }
    return false;
}
