/* JSON to print: strings, and other people's values without their blanks.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "cli/json.h"

#include <mqtt5/topic.h>

#include <string.h>

/* ---- bytes as text ---- */

void cli_hex(FILE *out, struct mqtt5_bytes bytes)
{
    for (size_t i = 0; i < bytes.len; i++)
        fprintf(out, "%02x", bytes.data[i]);
}

void cli_base64(FILE *out, struct mqtt5_bytes bytes)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < bytes.len; i += 3) {
        const size_t left = bytes.len - i;
        const uint32_t group = (uint32_t)bytes.data[i] << 16 |
                               (uint32_t)(left > 1 ? bytes.data[i + 1] : 0) << 8 |
                               (uint32_t)(left > 2 ? bytes.data[i + 2] : 0);
        putc(digits[group >> 18], out);
        putc(digits[group >> 12 & 63], out);
        putc(left > 1 ? digits[group >> 6 & 63] : '=', out);
        putc(left > 2 ? digits[group & 63] : '=', out);
    }
}

/* Bytes of the character that starts at @p index, 0 when it is none. */
static size_t character_size(struct mqtt5_bytes text, size_t index)
{
    const uint8_t first = text.data[index];
    const size_t size = first < 0x80 ? 1 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;
    if (size > text.len - index)
        return 0;
    const struct mqtt5_bytes one = {.data = text.data + index, .len = size};
    return size == 1 || mqtt5_utf8_check(one) == MQTT5_OK ? size : 0;
}

static void put_ascii(FILE *out, uint8_t c)
{
    static const char controls[] = "\b\t\n\f\r", letters[] = "btnfr";
    const char *control = c != 0 ? strchr(controls, c) : NULL;
    if (c == '"' || c == '\\')
        fprintf(out, "\\%c", c);
    else if (control != NULL)
        fprintf(out, "\\%c", letters[control - controls]);
    else if (c < 0x20)
        fprintf(out, "\\u%04x", c);
    else
        putc(c, out);
}

void cli_json_string(FILE *out, struct mqtt5_bytes text)
{
    putc('"', out);
    for (size_t i = 0, size; i<text.len; i += size> 0 ? size : 1) {
        size = character_size(text, i);
        if (size == 0)
            fputs("\\ufffd", out);
        else if (size == 1)
            put_ascii(out, text.data[i]);
        else
            fwrite(text.data + i, 1, size, out);
    }
    putc('"', out);
}

/* ---- values ---- */

/* Takes tokens off a text; prints them when there is somewhere to. */
struct scanner {
    const char *at, *end;
    FILE *out; /* NULL: only look */
    uint32_t depth;
    uint8_t is_object[CLI_JSON_DEPTH_MAX / 8]; /* a bit for each open bracket */
};

static void skip_blanks(struct scanner *scanner)
{
    while (scanner->at < scanner->end && memchr(" \t\r\n", *scanner->at, 4) != NULL)
        scanner->at++;
}

static char peek(const struct scanner *scanner)
{
    return scanner->at < scanner->end ? *scanner->at : 0;
}

static bool take(struct scanner *scanner, size_t size)
{
    if (scanner->out != NULL)
        fwrite(scanner->at, 1, size, scanner->out);
    scanner->at += size;
    return true;
}

static bool take_word(struct scanner *scanner, const char *word)
{
    const size_t size = strlen(word);
    return (size_t)(scanner->end - scanner->at) >= size && memcmp(scanner->at, word, size) == 0 &&
           take(scanner, size);
}

static size_t digits_at(const struct scanner *scanner, size_t size)
{
    size_t count = 0;
    while (scanner->at + size + count < scanner->end && scanner->at[size + count] >= '0' &&
           scanner->at[size + count] <= '9')
        count++;
    return count;
}

static bool is_at(const struct scanner *scanner, size_t size, const char *set)
{
    return scanner->at + size < scanner->end && scanner->at[size] != 0 &&
           strchr(set, scanner->at[size]) != NULL;
}

static bool take_number(struct scanner *scanner)
{
    size_t size = is_at(scanner, 0, "-");
    const size_t whole = digits_at(scanner, size);
    if (whole == 0 || (whole > 1 && scanner->at[size] == '0'))
        return false;
    size += whole;
    if (is_at(scanner, size, ".")) {
        const size_t fraction = digits_at(scanner, size + 1);
        if (fraction == 0)
            return false;
        size += 1 + fraction;
    }
    if (is_at(scanner, size, "eE")) {
        size += 1 + (size_t)is_at(scanner, size + 1, "+-");
        const size_t exponent = digits_at(scanner, size);
        if (exponent == 0)
            return false;
        size += exponent;
    }
    return take(scanner, size);
}

static size_t escape_size(const struct scanner *scanner, size_t size)
{
    if (is_at(scanner, size + 1, "\"\\/bfnrt"))
        return 2;
    if (!is_at(scanner, size + 1, "u"))
        return 0;
    for (size_t i = 2; i < 6; i++) {
        if (!is_at(scanner, size + i, "0123456789abcdefABCDEF"))
            return 0;
    }
    return 6;
}

static bool take_string(struct scanner *scanner)
{
    size_t size = 1;
    if (peek(scanner) != '"')
        return false;
    while (scanner->at + size < scanner->end && scanner->at[size] != '"') {
        size_t step = 1;
        if ((unsigned char)scanner->at[size] < 0x20)
            return false;
        if (scanner->at[size] == '\\' && (step = escape_size(scanner, size)) == 0)
            return false;
        size += step;
    }
    return scanner->at + size < scanner->end && take(scanner, size + 1);
}

static bool in_object(const struct scanner *scanner)
{
    const uint32_t top = scanner->depth - 1;
    return (scanner->is_object[top / 8] >> (top % 8) & 1u) != 0;
}

static bool open_bracket(struct scanner *scanner)
{
    const uint32_t top = scanner->depth;
    const uint8_t bit = (uint8_t)(1u << (top % 8));
    if (top == CLI_JSON_DEPTH_MAX)
        return false;
    if (peek(scanner) == '{')
        scanner->is_object[top / 8] |= bit;
    else
        scanner->is_object[top / 8] &= (uint8_t)~bit;
    scanner->depth++;
    return take(scanner, 1);
}

/* The key of a member and its colon. */
static bool take_key(struct scanner *scanner)
{
    skip_blanks(scanner);
    if (!take_string(scanner))
        return false;
    skip_blanks(scanner);
    return peek(scanner) == ':' && take(scanner, 1);
}

/* A value without brackets, or the brackets that open one, up to where a value is over. */
static bool take_value(struct scanner *scanner)
{
    for (;;) {
        skip_blanks(scanner);
        const char c = peek(scanner);
        if (c != '{' && c != '[')
            break;
        if (!open_bracket(scanner))
            return false;
        skip_blanks(scanner);
        if (peek(scanner) == (c == '{' ? '}' : ']')) {
            scanner->depth--;
            return take(scanner, 1);
        }
        if (c == '{' && !take_key(scanner))
            return false;
    }
    switch (peek(scanner)) {
    case '"': return take_string(scanner);
    case 't': return take_word(scanner, "true");
    case 'f': return take_word(scanner, "false");
    case 'n': return take_word(scanner, "null");
    default: return take_number(scanner);
    }
}

static bool scan(struct scanner *scanner)
{
    if (!take_value(scanner))
        return false;
    while (scanner->depth > 0) {
        skip_blanks(scanner);
        const char c = peek(scanner);
        if (c == (in_object(scanner) ? '}' : ']')) {
            scanner->depth--;
            take(scanner, 1);
        } else if (c != ',' || !take(scanner, 1) || (in_object(scanner) && !take_key(scanner)) ||
                   !take_value(scanner)) {
            return false;
        }
    }
    skip_blanks(scanner);
    return scanner->at == scanner->end;
}

static bool run(FILE *out, struct mqtt5_bytes text)
{
    struct scanner scanner = {.at = (const char *)text.data, .out = out};
    scanner.end = scanner.at + text.len;
    return text.len > 0 && scan(&scanner);
}

bool cli_json_check(struct mqtt5_bytes text)
{
    return mqtt5_utf8_check(text) == MQTT5_OK && run(NULL, text);
}

void cli_json_compact(FILE *out, struct mqtt5_bytes text)
{
    (void)run(out, text);
}
