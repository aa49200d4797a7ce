/* CONNECT of MQTT 5.0, 3.1.1 and 3.1 (section 3.1).
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "protocol/codec.h"
#include "protocol/property.h"
#include "protocol/topic.h"

#define NAME_OF_3_1   "MQIsdp"
#define NAME          "MQTT"
#define BRIDGE_BIT    0x80u
#define FLAG_RESERVED 0x01u
#define FLAG_CLEAN    0x02u
#define FLAG_WILL     0x04u
#define FLAG_RETAIN   0x20u
#define FLAG_PASSWORD 0x40u
#define FLAG_USERNAME 0x80u

/* Protocol name and version [MQTT-3.1.2-1] [MQTT-3.1.2-2]. A version that is not known is kept, so
 * that the refusal can be told in the dialect that is nearest to it. */
static void read_protocol(struct m5_reader *reader, struct mqtt5_connect *out)
{
    const struct mqtt5_bytes name = m5_take_binary(reader);
    const uint8_t level = m5_take_u8(reader);
    if (reader->error != MQTT5_OK)
        return;
    const bool is_3_1 = m5_bytes_equal(name, m5_bytes_of(NAME_OF_3_1));
    if (!is_3_1 && !m5_bytes_equal(name, m5_bytes_of(NAME))) {
        m5_reader_fail(reader, MQTT5_ERR_PROTOCOL_NAME);
        return;
    }
    out->version = level;
    if (!is_3_1 && level == MQTT5_VERSION_5)
        return;
    const uint8_t wanted = is_3_1 ? MQTT5_VERSION_3_1 : MQTT5_VERSION_3_1_1;
    if ((level & ~BRIDGE_BIT) != wanted) {
        m5_reader_fail(reader, MQTT5_ERR_PROTOCOL_VERSION);
        return;
    }
    out->version = wanted;
    out->bridge = (level & BRIDGE_BIT) != 0;
}

static void read_flags(struct m5_reader *reader, struct mqtt5_connect *out)
{
    uint8_t flags = m5_take_u8(reader);
    out->clean_start = (flags & FLAG_CLEAN) != 0;
    out->has_will = (flags & FLAG_WILL) != 0;
    out->has_username = (flags & FLAG_USERNAME) != 0;
    out->has_password = (flags & FLAG_PASSWORD) != 0;
    if (out->version == MQTT5_VERSION_3_1) { /* 3.1 does not look at bits that it does not use */
        const uint8_t of_will = (uint8_t)(FLAG_RETAIN | 3u << 3);
        flags = (uint8_t)(flags & ~(FLAG_RESERVED | (out->has_will ? 0 : of_will)));
    }
    out->will.qos = flags >> 3 & 3;
    out->will.retain = (flags & FLAG_RETAIN) != 0;
    /* [MQTT-3.1.2-3] [MQTT-3.1.2-12] */
    m5_reader_need(reader, (flags & FLAG_RESERVED) == 0, MQTT5_ERR_RESERVED_BITS);
    m5_reader_need(reader, out->will.qos <= 2, MQTT5_ERR_QOS);
    /* [MQTT-3.1.2-11] [MQTT-3.1.2-13] */
    m5_reader_need(reader, out->has_will || (out->will.qos == 0 && !out->will.retain),
                   MQTT5_ERR_CONNECT_FLAGS);
    if (out->version < MQTT5_VERSION_5)
        m5_reader_need(reader, out->has_username || !out->has_password, MQTT5_ERR_CONNECT_FLAGS);
}

/* [MQTT-3.1.2-9]. The topic is one that may be published to. */
static void read_will(struct m5_reader *reader, const struct mqtt5_decode_limits *limits,
                      struct mqtt5_connect *out)
{
    if (out->version == MQTT5_VERSION_5)
        m5_properties_read(reader, MQTT5_IN_WILL, limits, &out->will.properties);
    out->will.topic = m5_take_utf8(reader); /* [MQTT-3.1.3-11] */
    out->will.payload = m5_take_binary(reader);
    const enum mqtt5_error error = mqtt5_topic_check(out->will.topic, limits->topic_levels_max);
    m5_reader_need(reader, error == MQTT5_OK, error);
}

/* In 3.1 the Remaining Length decides: the flags may announce a user name and a password that are
 * not there. */
static void drop_absent_of_3_1(const struct m5_reader *reader, struct mqtt5_connect *out)
{
    if (out->version != MQTT5_VERSION_3_1 || reader->error != MQTT5_OK || reader->at != reader->end)
        return;
    out->has_username = out->has_username && out->username.data != NULL;
    out->has_password = false;
}

/* [MQTT-3.1.2-16] to [MQTT-3.1.2-19] [MQTT-3.1.3-12] */
static void read_credentials(struct m5_reader *reader, struct mqtt5_connect *out)
{
    drop_absent_of_3_1(reader, out);
    if (out->has_username)
        out->username = m5_take_utf8(reader);
    drop_absent_of_3_1(reader, out);
    if (out->has_password)
        out->password = m5_take_binary(reader);
}

static enum mqtt5_error check_contents(const struct mqtt5_connect *connect)
{
    if (connect->version == MQTT5_VERSION_5) { /* section 3.1.2.11.10 */
        const bool lonely_data = MQTT5_HAS(&connect->properties, AUTHENTICATION_DATA) &&
                                 !MQTT5_HAS(&connect->properties, AUTHENTICATION_METHOD);
        return lonely_data ? MQTT5_ERR_PROTOCOL : MQTT5_OK;
    }
    /* An empty identifier came with 3.1.1, for sessions that end with the connection
     * [MQTT3-3.1.3-8]. */
    const bool may_be_empty = connect->version == MQTT5_VERSION_3_1_1 && connect->clean_start;
    return connect->client_id.len == 0 && !may_be_empty ? MQTT5_ERR_CLIENT_ID : MQTT5_OK;
}

enum mqtt5_error m5_connect_decode(const struct mqtt5_frame *frame, uint8_t version,
                                   const struct mqtt5_decode_limits *limits,
                                   struct mqtt5_packet *packet)
{
    (void)version;
    struct mqtt5_connect *out = &packet->as.connect;
    *out = (struct mqtt5_connect){0};
    struct m5_reader reader = m5_reader_of(frame->body);
    read_protocol(&reader, out);
    m5_reader_need(&reader, m5_flags_right(frame, out->version), MQTT5_ERR_RESERVED_BITS);
    read_flags(&reader, out);
    out->keep_alive_s = m5_take_u16(&reader);
    if (out->version == MQTT5_VERSION_5)
        m5_properties_read(&reader, MQTT5_IN_CONNECT, limits, &out->properties);
    out->client_id = m5_take_utf8(&reader); /* [MQTT-3.1.3-3] [MQTT-3.1.3-4] */
    if (out->has_will)
        read_will(&reader, limits, out);
    read_credentials(&reader, out);
    const enum mqtt5_error error = m5_reader_finish(&reader);
    return error != MQTT5_OK ? error : check_contents(out);
}

static bool encodable(const struct mqtt5_connect *connect)
{
    const uint8_t version = connect->version;
    if (version < MQTT5_VERSION_3_1 || version > MQTT5_VERSION_5)
        return false;
    if (connect->bridge && version == MQTT5_VERSION_5)
        return false;
    if (connect->has_password && !connect->has_username && version < MQTT5_VERSION_5)
        return false;
    return !connect->has_will || (connect->will.qos <= 2 && connect->will.topic.len > 0);
}

size_t m5_connect_size(const struct mqtt5_packet *packet, uint8_t version)
{
    (void)version;
    const struct mqtt5_connect *connect = &packet->as.connect;
    if (!encodable(connect))
        return M5_UNENCODABLE;
    const bool is_v5 = connect->version == MQTT5_VERSION_5;
    const char *name = connect->version == MQTT5_VERSION_3_1 ? NAME_OF_3_1 : NAME;
    size_t size = m5_size_text(m5_bytes_of(name)) + 4; /* level, flags, keep alive */
    if (is_v5)
        size = m5_size_add(size, m5_properties_size(&connect->properties, MQTT5_IN_CONNECT));
    size = m5_size_add(size, m5_size_text(connect->client_id));
    if (connect->has_will) {
        if (is_v5)
            size = m5_size_add(size, m5_properties_size(&connect->will.properties, MQTT5_IN_WILL));
        size = m5_size_add(size, m5_size_text(connect->will.topic));
        size = m5_size_add(size, m5_size_text(connect->will.payload));
    }
    if (connect->has_username)
        size = m5_size_add(size, m5_size_text(connect->username));
    if (connect->has_password)
        size = m5_size_add(size, m5_size_text(connect->password));
    return size;
}

static uint8_t flags_of(const struct mqtt5_connect *connect)
{
    unsigned flags = connect->clean_start ? FLAG_CLEAN : 0;
    if (connect->has_will)
        flags |=
            FLAG_WILL | (unsigned)connect->will.qos << 3 | (connect->will.retain ? FLAG_RETAIN : 0);
    flags |= connect->has_password ? FLAG_PASSWORD : 0;
    flags |= connect->has_username ? FLAG_USERNAME : 0;
    return (uint8_t)flags;
}

/* The order of the fields is that of [MQTT-3.1.3-1]. */
uint8_t *m5_connect_write(const struct mqtt5_packet *packet, uint8_t version, uint8_t *out)
{
    (void)version;
    const struct mqtt5_connect *connect = &packet->as.connect;
    const bool is_v5 = connect->version == MQTT5_VERSION_5;
    const char *name = connect->version == MQTT5_VERSION_3_1 ? NAME_OF_3_1 : NAME;
    out = m5_write_text(out, m5_bytes_of(name));
    *out++ = (uint8_t)(connect->version | (connect->bridge ? BRIDGE_BIT : 0));
    *out++ = flags_of(connect);
    out = m5_write_u16(out, connect->keep_alive_s);
    if (is_v5)
        out = m5_properties_write(&connect->properties, out);
    out = m5_write_text(out, connect->client_id);
    if (connect->has_will) {
        if (is_v5)
            out = m5_properties_write(&connect->will.properties, out);
        out = m5_write_text(out, connect->will.topic);
        out = m5_write_text(out, connect->will.payload);
    }
    if (connect->has_username)
        out = m5_write_text(out, connect->username);
    return connect->has_password ? m5_write_text(out, connect->password) : out;
}
