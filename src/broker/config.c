/* Defaults of a broker's configuration, and what its values may be.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include <mqtt5/broker.h>

#include "base/assert.h"
#include "base/bytes.h"

#include <mqtt5/topic.h>

#define PACKET_SIZE_MAX    268435460u /* the largest that a fixed header can announce, with it */
#define CONNECT_PACKET_MIN 64u        /* less would refuse quite ordinary clients */
#define CLIENT_ID_MIN      23u        /* every server takes as many [MQTT-3.1.3-5] */
#define RATE_BURST_MAX     3600000u   /* ms: an hour's worth */
#define STRING_MAX         65535u     /* bytes of a UTF-8 string */
#define MIB                ((size_t)1024 * 1024)

void mqtt5_broker_config_init(struct mqtt5_broker_config *config)
{
    *config = (struct mqtt5_broker_config){
        .struct_size = sizeof *config,
        .maximum_qos = 2,
        .retain_available = true,
        .wildcard_subscription_available = true,
        .subscription_identifier_available = true,
        .shared_subscription_available = true,
        .connect_timeout_ms = 10000,
        .connect_packet_max = 65536,
        .maximum_packet_size = (uint32_t)(16 * MIB),
        .receive_maximum = 1024,
        .topic_alias_maximum = 256,
        .topic_alias_outgoing_max = 64,
        .session_expiry_max_s = 0xFFFFFFFF,
        .connections_max = 10000,
        .client_id_size_max = STRING_MAX,
        .topic_levels_max = 200,
        .user_properties_max = 256,
        .inflight_max = 1024,
        .queued_messages_max = 100000,
        .queued_bytes_max = 64 * MIB,
        .output_bytes_max = 16 * MIB,
        .queue_policy = MQTT5_QUEUE_DROP_NEWEST,
        .shared_strategy = MQTT5_SHARED_ROUND_ROBIN,
        .rate_burst_ms = 1000,
        .rate_action = MQTT5_RATE_WAIT,
        .durability = MQTT5_DURABILITY_STRICT,
        .store_bytes_max = 64 * MIB,
        .sys_interval_s = 10,
    };
}

/* A value and the range that it must lie in. */
struct bound {
    uint64_t value, least, most;
    const char *why;
};

static const char *check_bounds(const struct bound *bounds, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (bounds[i].value < bounds[i].least || bounds[i].value > bounds[i].most)
            return bounds[i].why;
    return NULL;
}

/* The sentence for the first key that is out of its range, or NULL. */
static const char *check_numbers(const struct mqtt5_broker_config *config)
{
    const struct bound bounds[] = {
        {config->maximum_qos, 0, 2, "maximum_qos must be 0, 1 or 2"},
        {config->connect_timeout_ms, 1, UINT32_MAX, "connect_timeout_ms must be at least 1"},
        {config->connect_packet_max, CONNECT_PACKET_MIN, PACKET_SIZE_MAX,
         "connect_packet_max must be from 64 to 268435460 bytes"},
        {config->maximum_packet_size, CONNECT_PACKET_MIN, PACKET_SIZE_MAX,
         "maximum_packet_size must be from 64 to 268435460 bytes"},
        {config->receive_maximum, 1, UINT16_MAX, "receive_maximum must be from 1 to 65535"},
        {config->client_id_size_max, CLIENT_ID_MIN, STRING_MAX,
         "client_id_size_max must be from 23 to 65535 bytes"},
        {config->topic_levels_max, 1, STRING_MAX, "topic_levels_max must be from 1 to 65535"},
        {config->inflight_max, 1, UINT16_MAX, "inflight_max must be from 1 to 65535"},
        {config->output_bytes_max, CONNECT_PACKET_MIN, SIZE_MAX,
         "output_bytes_max must be at least 64 bytes"},
        {(uint64_t)config->queue_policy, MQTT5_QUEUE_DROP_NEWEST, MQTT5_QUEUE_DROP_OLDEST,
         "queue_policy must be drop_newest or drop_oldest"},
        {(uint64_t)config->shared_strategy, MQTT5_SHARED_ROUND_ROBIN, MQTT5_SHARED_HASH_CLIENTID,
         "shared_strategy must be round_robin, random, sticky, least_inflight, hash_topic or "
         "hash_clientid"},
        {config->rate_burst_ms, 1, RATE_BURST_MAX, "rate_burst_ms must be from 1 to 3600000"},
        {(uint64_t)config->rate_action, MQTT5_RATE_WAIT, MQTT5_RATE_DISCONNECT,
         "rate_action must be wait, refuse or disconnect"},
        {(uint64_t)config->durability, MQTT5_DURABILITY_STRICT, MQTT5_DURABILITY_MEMORY,
         "durability must be strict, relaxed or memory"},
        {config->durability_rule_count, 0, MQTT5_DURABILITY_RULES_MAX,
         "there may be at most 64 durability rules"},
        {config->store_bytes_max, (uint64_t)64 * 1024, SIZE_MAX,
         "store_bytes_max must be at least 64 KiB"},
    };
    return check_bounds(bounds, M5_COUNT_OF(bounds));
}

static bool is_string(const char *text)
{
    const struct mqtt5_bytes bytes = m5_bytes_of(text);
    return bytes.len <= STRING_MAX && mqtt5_utf8_check(bytes) == MQTT5_OK;
}

/* The sentence for the first rule that is wrong, or NULL. */
static const char *check_rules(const struct mqtt5_broker_config *config)
{
    for (uint32_t i = 0; i < config->durability_rule_count; i++) {
        const struct mqtt5_durability_rule *rule = &config->durability_rules[i];
        struct mqtt5_filter filter;
        if (rule->filter == NULL ||
            mqtt5_filter_parse(m5_bytes_of(rule->filter), STRING_MAX, &filter) != MQTT5_OK ||
            filter.share_name.len > 0)
            return "a durability rule needs a valid topic filter, without $share";
        if (rule->durability > MQTT5_DURABILITY_MEMORY)
            return "the durability of a rule must be strict, relaxed or memory";
    }
    return NULL;
}

static const char *check(const struct mqtt5_broker_config *config)
{
    if (config->struct_size != sizeof *config)
        return "call mqtt5_broker_config_init() first";
    if (config->response_information != NULL && !is_string(config->response_information))
        return "response_information must be UTF-8 and at most 65535 bytes long";
    const char *sentence = check_numbers(config);
    return sentence != NULL ? sentence : check_rules(config);
}

enum mqtt5_error mqtt5_broker_config_check(const struct mqtt5_broker_config *config,
                                           const char **why)
{
    const char *sentence = check(config);
    if (why != NULL)
        *why = sentence == NULL ? "" : sentence;
    return sentence == NULL ? MQTT5_OK : MQTT5_ERR_CONFIG;
}
