/* A cursor over the bytes of one packet that remembers the first thing that was wrong, so that a
 * decoder reads all its fields in a row and looks once.
 *
 * After a failure every further read gives 0 or an empty view and leaves the error as it is.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_PROTOCOL_READER_H
#define M5_PROTOCOL_READER_H

#include "base/bytes.h"
#include "protocol/utf8.h"

struct m5_reader {
    const uint8_t *at, *end; /* equal after a failure */
    enum mqtt5_error error;
};

static inline struct m5_reader m5_reader_of(struct mqtt5_bytes bytes)
{
    /* An empty view may have no address, and nothing may be added to a null pointer, not even 0. */
    const uint8_t *at = bytes.data != NULL ? bytes.data : (const uint8_t *)"";
    return (struct m5_reader){.at = at, .end = at + bytes.len, .error = MQTT5_OK};
}

static inline size_t m5_reader_left(const struct m5_reader *reader)
{
    return (size_t)(reader->end - reader->at);
}

static inline void m5_reader_fail(struct m5_reader *reader, enum mqtt5_error error)
{
    if (reader->error == MQTT5_OK)
        reader->error = error;
    reader->at = reader->end;
}

/* Fails with @p error unless @p condition holds. */
static inline void m5_reader_need(struct m5_reader *reader, bool condition, enum mqtt5_error error)
{
    if (!condition)
        m5_reader_fail(reader, error);
}

/* Takes @p size bytes; false, with MQTT5_ERR_TRUNCATED, when there are fewer. */
static inline bool m5_take(struct m5_reader *reader, size_t size, const uint8_t **out)
{
    if (m5_reader_left(reader) < size) {
        m5_reader_fail(reader, MQTT5_ERR_TRUNCATED);
        return false;
    }
    *out = reader->at;
    reader->at += size;
    return true;
}

static inline uint8_t m5_take_u8(struct m5_reader *reader)
{
    const uint8_t *p;
    return m5_take(reader, 1, &p) ? *p : 0;
}

static inline uint16_t m5_take_u16(struct m5_reader *reader)
{
    const uint8_t *p;
    return m5_take(reader, 2, &p) ? m5_read_u16(p) : 0;
}

static inline uint32_t m5_take_u32(struct m5_reader *reader)
{
    const uint8_t *p;
    return m5_take(reader, 4, &p) ? m5_read_u32(p) : 0;
}

/* Section 1.5.5: at most four bytes, and no more than the value needs [MQTT-1.5.5-1]. */
static inline uint32_t m5_take_varint(struct m5_reader *reader)
{
    uint32_t value = 0;
    for (unsigned shift = 0; shift < 28; shift += 7) {
        if (reader->at == reader->end) {
            m5_reader_fail(reader, MQTT5_ERR_TRUNCATED);
            return 0;
        }
        const uint8_t byte = *reader->at++;
        value |= (uint32_t)(byte & 0x7F) << shift;
        if (byte < 0x80) {
            m5_reader_need(reader, byte != 0 || shift == 0, MQTT5_ERR_VARINT_NOT_MINIMAL);
            return value;
        }
    }
    m5_reader_fail(reader, MQTT5_ERR_VARINT_TOO_LONG);
    return 0;
}

/* @p size bytes as a view. */
static inline struct mqtt5_bytes m5_take_bytes(struct m5_reader *reader, size_t size)
{
    const uint8_t *p;
    return m5_take(reader, size, &p) ? m5_bytes(p, size) : (struct mqtt5_bytes){0};
}

/* Binary data: two bytes of length, then as many bytes. */
static inline struct mqtt5_bytes m5_take_binary(struct m5_reader *reader)
{
    const size_t size = m5_take_u16(reader);
    return m5_take_bytes(reader, size);
}

/* A UTF-8 encoded string [MQTT-1.5.4-1] [MQTT-1.5.4-2]; a byte order mark is a character like any
 * other [MQTT-1.5.4-3]. */
static inline struct mqtt5_bytes m5_take_utf8(struct m5_reader *reader)
{
    const struct mqtt5_bytes text = m5_take_binary(reader);
    const enum mqtt5_error error = m5_utf8_check(text);
    m5_reader_need(reader, error == MQTT5_OK, error);
    return text;
}

/* A packet identifier, which is never 0 (section 2.2.1). */
static inline uint16_t m5_take_packet_id(struct m5_reader *reader)
{
    const uint16_t id = m5_take_u16(reader);
    m5_reader_need(reader, id != 0, MQTT5_ERR_PACKET_ID_ZERO);
    return id;
}

/* The result of a decoder that expects nothing more. */
static inline enum mqtt5_error m5_reader_finish(struct m5_reader *reader)
{
    m5_reader_need(reader, reader->at == reader->end, MQTT5_ERR_TRAILING_BYTES);
    return reader->error;
}

#endif
