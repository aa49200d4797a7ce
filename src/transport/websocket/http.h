/* Heads of HTTP/1.1 messages (RFC 9112), as much as an upgrade needs: bounded, strict about line
 * ends and characters, no folded lines, no bodies.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_TRANSPORT_WEBSOCKET_HTTP_H
#define M5_TRANSPORT_WEBSOCKET_HTTP_H

#include "transport/transport.h"

enum m5_http_progress {
    M5_HTTP_MORE,
    M5_HTTP_WHOLE,
    M5_HTTP_BROKEN,    /* no head of HTTP */
    M5_HTTP_TOO_LARGE, /* more than M5_WEBSOCKET_HEAD_MAX bytes */
    M5_HTTP_NOMEM
};

/* Takes bytes from the front of @p wire to @p head up to the empty line that ends it; what follows
 * stays. Every line must end with CR LF. */
enum m5_http_progress m5_http_collect(struct m5_outbox *head, struct mqtt5_bytes *wire);

/* Takes the next line (without its CR LF) off the whole head *@p rest; false at the empty line. */
bool m5_http_line(struct mqtt5_bytes *rest, struct mqtt5_bytes *line);

/* Splits a line at the first and second blank; the third part may be empty or hold blanks. False
 * when there are fewer parts. */
bool m5_http_start_line(struct mqtt5_bytes line, struct mqtt5_bytes parts[3]);

struct m5_http_field {
    struct mqtt5_bytes name, value; /* the value without blanks around it */
};

/* Reads "name: value"; false when it is none. */
bool m5_http_field(struct mqtt5_bytes line, struct m5_http_field *out);

/* A character of a token: field names, methods, subprotocols. */
bool m5_http_is_token_char(uint8_t c);

/* Without regard to the case of ASCII letters. */
bool m5_http_equals(struct mqtt5_bytes bytes, const char *text);

/* Takes the next element off a list that @p separator divides, without blanks around it and with
 * what stands in quotes in one piece; false at its end. Elements may be empty; one whose quotes
 * are not closed is given as empty. */
bool m5_http_element(struct mqtt5_bytes *list, char separator, struct mqtt5_bytes *out);

/* True when @p text is an element of the comma-separated @p list, whatever its case. */
bool m5_http_lists(struct mqtt5_bytes list, const char *text);

#endif
