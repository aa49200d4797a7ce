/* Structured log lines: escaping, rate limits, buffering, output.
 *
 * Lines gather in the thread's buffer and are written once a turn with one write(2), so that a
 * storm of connections does not pay a system call for each. Lines of level error do not wait.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "host/log.h"

#include "base/assert.h"
#include "base/bytes.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* Per event and thread. A line has some 150 bytes: a client that makes us log one event without end
 * costs 7.5 kB a second, 650 MB a day, instead of gigabytes an hour. */
#define LINES_PER_SECOND 50
#define LINES_BURST      500

#define REPORT_EVERY_S 10 /* how often a thread says what it has left out */
#define LINE_TAIL      4  /* bytes kept free for what ends a value and a line */
#define FIELD_FRAME    6  /* bytes around a field's name and value: ,"":"" */

static const struct {
    enum mqtt5_log_level level;
    const char *name;
} event_table[] = {
#define X(name, level, text) {MQTT5_LOG_##level, text},
    M5_LOG_EVENT_TABLE(X)
#undef X
};

static const char *const level_names[] = {"error", "warning", "info", "debug"};
static const char *const level_colours[] = {"\033[31m", "\033[33m", "\033[32m", "\033[36m"};

/* ---- escaping ---- */

/* The length of the character of well-formed UTF-8 at @p p, or 0; *point is its number. */
static size_t decode(const uint8_t *p, size_t left, uint32_t *point)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    const size_t size = p[0] < 0x80 ? 1 : p[0] >= 0xF0 ? 4 : p[0] >= 0xE0 ? 3 : 2;
    *point = p[0];
    if (size == 1)
        return 1;
    if (p[0] < 0xC2 || p[0] > 0xF4 || left < size)
        return 0;
    *point = p[0] & (0x7Fu >> size);
    for (size_t i = 1; i < size; i++) {
        if ((p[i] & 0xC0) != 0x80)
            return 0;
        *point = *point << 6 | (p[i] & 0x3Fu);
    }
    const bool surrogate = *point >= 0xD800 && *point <= 0xDFFF;
    return *point < least[size] || surrogate || *point > 0x10FFFF ? 0 : size;
}

/* Characters that could make a line look like another one: controls, line ends, marks that turn
 * the direction of writing, characters without a width. */
static bool deceptive(uint32_t point)
{
    return point < 0x20 || (point >= 0x7F && point <= 0x9F) || point == 0x2028 || point == 0x2029 ||
           (point >= 0x200B && point <= 0x200F) || (point >= 0x202A && point <= 0x202E) ||
           (point >= 0x2060 && point <= 0x206F) || point == 0xFEFF;
}

/* Writes one character of @p from into @p out (8 bytes at least); returns how many bytes. */
static size_t escape_one(char out[8], const uint8_t *from, size_t size, uint32_t point, bool json)
{
    static const char digits[] = "0123456789abcdef";
    const char *simple = point == '"'    ? "\\\""
                         : point == '\\' ? "\\\\"
                         : point == '\n' ? "\\n"
                         : point == '\r' ? "\\r"
                         : point == '\t' ? "\\t"
                                         : NULL;
    if (simple != NULL) {
        memcpy(out, simple, 2);
        return 2;
    }
    if (size > 0 && !deceptive(point)) {
        memcpy(out, from, size);
        return size;
    }
    if (!json && point <= 0xFF && size <= 1) {
        const char hex[] = {'\\', 'x', digits[point >> 4], digits[point & 15]};
        memcpy(out, hex, sizeof hex);
        return sizeof hex;
    }
    const uint32_t shown = size > 0 ? point : 0xFFFD;
    const char unicode[] = {'\\',
                            'u',
                            digits[shown >> 12 & 15],
                            digits[shown >> 8 & 15],
                            digits[shown >> 4 & 15],
                            digits[shown & 15]};
    memcpy(out, unicode, sizeof unicode);
    return sizeof unicode;
}

size_t m5_log_escape(char *out, size_t size, struct mqtt5_bytes value, bool json)
{
    size_t used = 0;
    for (size_t i = 0; i < value.len;) {
        uint32_t point;
        char one[8];
        const size_t taken = decode(value.data + i, value.len - i, &point);
        if (taken == 0)
            point = value.data[i];
        const size_t written = escape_one(one, value.data + i, taken, point, json);
        if (used + written > size)
            break;
        memcpy(out + used, one, written);
        used += written;
        i += taken > 0 ? taken : 1;
    }
    return used;
}

/* ---- output ---- */

static void write_all(const char *bytes, size_t size)
{
    while (size > 0) {
        const ssize_t written = write(STDERR_FILENO, bytes, size);
        if (written <= 0)
            return; /* nobody reads the log: nothing that could be said about it, or to whom */
        bytes += written;
        size -= (size_t)written;
    }
}

static void write_buffer(struct m5_log *log)
{
    if (log->buffer_size == 0)
        return;
    pthread_mutex_lock(&log->sink->mutex);
    write_all(log->buffer, log->buffer_size);
    pthread_mutex_unlock(&log->sink->mutex);
    log->buffer_size = 0;
}

static void call_back(struct m5_log *log)
{
    struct m5_log_sink *sink = log->sink;
    log->line[log->line_size] = 0;
    pthread_mutex_lock(&sink->mutex);
    sink->write(sink->ctx, event_table[log->event].level, event_table[log->event].name, log->line);
    pthread_mutex_unlock(&sink->mutex);
}

/* ---- lines ---- */

static void put(struct m5_log *log, const char *text, size_t size)
{
    if (log->line_size + size > M5_LOG_LINE_MAX - LINE_TAIL)
        return;
    memcpy(log->line + log->line_size, text, size);
    log->line_size += size;
}

static void put_text(struct m5_log *log, const char *text)
{
    put(log, text, strlen(text));
}

/* Starts a field; false when it and @p size bytes of value have no room: it is then left out. */
static bool put_name(struct m5_log *log, const char *name, size_t size)
{
    if (log->line_size + strlen(name) + FIELD_FRAME + size > M5_LOG_LINE_MAX - LINE_TAIL)
        return false;
    put_text(log, log->sink->json ? ",\"" : " ");
    put_text(log, name);
    put_text(log, log->sink->json ? "\":" : "=");
    return true;
}

/* "2026-11-22T12:00:00.123Z"; the calendar is asked once a second. */
static void put_time(struct m5_log *log, uint64_t now_ms)
{
    if (log->date_s != log->now_s) {
        const time_t seconds = (time_t)log->now_s;
        struct tm parts;
        gmtime_r(&seconds, &parts);
        strftime(log->date, sizeof log->date, "%Y-%m-%dT%H:%M:%S", &parts);
        log->date_s = log->now_s;
    }
    const unsigned ms = (unsigned)(now_ms % 1000);
    const char tail[] = {'.', (char)('0' + ms / 100), (char)('0' + ms / 10 % 10),
                         (char)('0' + ms % 10), 'Z'};
    put_text(log, log->date);
    put(log, tail, sizeof tail);
}

static void put_head(struct m5_log *log, uint64_t now_ms)
{
    const enum mqtt5_log_level level = event_table[log->event].level;
    const char *name = event_table[log->event].name;
    if (log->sink->json) {
        put_text(log, "{\"time\":\"");
        put_time(log, now_ms);
        put_text(log, "\",\"level\":\"");
        put_text(log, level_names[level]);
        put_text(log, "\",\"event\":\"");
        put_text(log, name);
        put_text(log, "\"");
        return;
    }
    put_time(log, now_ms);
    put_text(log, " ");
    put_text(log, log->sink->colours ? level_colours[level] : "");
    put_text(log, level_names[level]);
    put_text(log, log->sink->colours ? "\033[0m " : " ");
    put_text(log, name);
}

static uint64_t read_clock(struct m5_log *log)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    log->now_s = (uint64_t)now.tv_sec;
    return log->now_s * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* ---- rates ---- */

static bool take_token(struct m5_log *log, enum m5_log_event event)
{
    struct m5_log_rate *rate = &log->rates[event];
    if (log->now_s != rate->refilled_s) {
        const uint64_t seconds = log->now_s > rate->refilled_s ? log->now_s - rate->refilled_s : 1;
        const uint64_t tokens = seconds > LINES_BURST ? LINES_BURST : seconds * LINES_PER_SECOND;
        rate->tokens += (uint32_t)tokens;
        if (rate->tokens > LINES_BURST)
            rate->tokens = LINES_BURST;
        rate->refilled_s = log->now_s;
    }
    if (rate->tokens == 0) {
        rate->suppressed++;
        log->suppressing = true;
        return false;
    }
    rate->tokens--;
    return true;
}

static void start_line(struct m5_log *log, enum m5_log_event event, uint64_t now_ms)
{
    log->event = event;
    log->line_size = 0;
    put_head(log, now_ms);
}

static void report_suppressed(struct m5_log *log)
{
    const uint64_t now_ms = read_clock(log);
    log->suppressing = false;
    log->reported_s = log->now_s;
    for (unsigned event = 0; event < M5_LOG_EVENT_COUNT; event++) {
        struct m5_log_rate *rate = &log->rates[event];
        if (rate->suppressed == 0)
            continue;
        start_line(log, M5_LOG_LOG_SUPPRESSED, now_ms);
        m5_log_word(log, "of", event_table[event].name);
        m5_log_number(log, "lines", rate->suppressed);
        m5_log_end(log);
        rate->suppressed = 0;
    }
}

/* ---- public ---- */

static bool stderr_has_colours(void)
{
    const char *off = getenv("NO_COLOR");
    return isatty(STDERR_FILENO) == 1 && (off == NULL || *off == 0);
}

void m5_log_sink_init(struct m5_log_sink *sink, const struct mqtt5_broker_options *options)
{
    *sink = (struct m5_log_sink){
        .level = options->log_level,
        .json = options->log_json,
        .colours = !options->log_json && options->log == NULL && stderr_has_colours(),
        .write = options->log,
        .ctx = options->log_ctx,
    };
    pthread_mutex_init(&sink->mutex, NULL);
}

void m5_log_sink_level(struct m5_log_sink *sink, enum mqtt5_log_level level)
{
    atomic_store_explicit(&sink->level, (int)level, memory_order_relaxed);
}

void m5_log_sink_fini(struct m5_log_sink *sink)
{
    pthread_mutex_destroy(&sink->mutex);
}

void m5_log_init(struct m5_log *log, struct m5_log_sink *sink)
{
    memset(log, 0, sizeof *log);
    log->sink = sink;
}

bool m5_log_begin(struct m5_log *log, enum m5_log_event event)
{
    if ((int)event_table[event].level >
        atomic_load_explicit(&log->sink->level, memory_order_relaxed))
        return false;
    const uint64_t now_ms = read_clock(log);
    if (!take_token(log, event))
        return false;
    start_line(log, event, now_ms);
    return true;
}

void m5_log_text(struct m5_log *log, const char *name, struct mqtt5_bytes value)
{
    if (!put_name(log, name, 0))
        return;
    put(log, "\"", 1);
    const size_t used = log->line_size, room = M5_LOG_LINE_MAX - LINE_TAIL - used;
    log->line_size += m5_log_escape(log->line + used, room, value, log->sink->json);
    log->line[log->line_size++] = '"'; /* LINE_TAIL has room for it */
}

void m5_log_word(struct m5_log *log, const char *name, const char *value)
{
    if (log->sink->json) {
        m5_log_text(log, name, m5_bytes_of(value));
        return;
    }
    const struct mqtt5_bytes word = m5_bytes_of(value);
    if (put_name(log, name, word.len))
        put(log, value, word.len);
}

void m5_log_number(struct m5_log *log, const char *name, uint64_t value)
{
    char digits[24];
    const int size = snprintf(digits, sizeof digits, "%llu", (unsigned long long)value);
    if (put_name(log, name, (size_t)size))
        put(log, digits, (size_t)size);
}

void m5_log_end(struct m5_log *log)
{
    if (log->sink->json)
        log->line[log->line_size++] = '}';
    M5_ASSERT(log->line_size < M5_LOG_LINE_MAX);
    if (log->sink->write != NULL) {
        call_back(log);
        return;
    }
    log->line[log->line_size++] = '\n';
    if (log->buffer_size + log->line_size > M5_LOG_BUFFER_MAX)
        write_buffer(log);
    memcpy(log->buffer + log->buffer_size, log->line, log->line_size);
    log->buffer_size += log->line_size;
    if (event_table[log->event].level == MQTT5_LOG_ERROR)
        write_buffer(log);
}

void m5_log_flush(struct m5_log *log)
{
    if (log->suppressing) {
        read_clock(log);
        if (log->now_s >= log->reported_s + REPORT_EVERY_S)
            report_suppressed(log);
    }
    write_buffer(log);
}

void m5_log_finish(struct m5_log *log)
{
    if (log->suppressing)
        report_suppressed(log);
    write_buffer(log);
}

void m5_log_note(struct m5_log *log, enum m5_log_event event, const char *name, const char *value)
{
    if (!m5_log_begin(log, event))
        return;
    m5_log_text(log, name, m5_bytes_of(value));
    m5_log_end(log);
    write_buffer(log);
}

const char *m5_log_event_name(enum m5_log_event event)
{
    return event_table[event].name;
}
