/* Structured log lines, as text or JSON, that what a client sends can neither forge nor flood.
 *
 *     2026-11-22T12:00:00.123Z info client.connected client="a" peer=127.0.0.1:4242 version=5
 *     {"time":"2026-11-22T12:00:00.123Z","level":"info","event":"client.connected",...}
 *
 * A line is made of an event of the table below and fields. Each event may be written only so often
 * (LINES_BURST, LINES_PER_SECOND): what is left out is counted and the count is written. Passwords,
 * tokens and payloads are never given to this module.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_HOST_LOG_H
#define M5_HOST_LOG_H

#include <mqtt5/broker.h>
#include <mqtt5/bytes.h>

#include <pthread.h>
#include <stdatomic.h>

/* X(NAME, level, "stable.name") */
#define M5_LOG_EVENT_TABLE(X)                                \
    X(BROKER_STARTING, INFO, "broker.starting")              \
    X(BROKER_STOPPING, INFO, "broker.stopping")              \
    X(BROKER_STOPPED, INFO, "broker.stopped")                \
    X(DRAIN_TIMEOUT, WARNING, "drain.timeout")               \
    X(LISTENER_READY, INFO, "listener.ready")                \
    X(LISTENER_SKIPPED, WARNING, "listener.skipped")         \
    X(LISTENER_PAUSED, WARNING, "listener.paused")           \
    X(LISTENER_CLOSED, INFO, "listener.closed")              \
    X(DESCRIPTORS_FEW, WARNING, "descriptors.few")           \
    X(DESCRIPTORS_EXHAUSTED, ERROR, "descriptors.exhausted") \
    X(CONNECTION_REFUSED, WARNING, "connection.refused")     \
    X(CONNECTION_DROPPED, INFO, "connection.dropped")        \
    X(CLIENT_CONNECTED, INFO, "client.connected")            \
    X(CLIENT_REFUSED, WARNING, "client.refused")             \
    X(CLIENT_DISCONNECTED, INFO, "client.disconnected")      \
    X(CLIENT_LOST, INFO, "client.lost")                      \
    X(CLIENT_SUBSCRIBED, DEBUG, "client.subscribed")         \
    X(CLIENT_UNSUBSCRIBED, DEBUG, "client.unsubscribed")     \
    X(SESSION_TAKEN_OVER, INFO, "session.taken_over")        \
    X(SESSION_EXPIRED, DEBUG, "session.expired")             \
    X(QUEUE_FULL, WARNING, "queue.full")                     \
    X(LIMIT_REACHED, WARNING, "limit.reached")               \
    X(FILES_RELOADED, INFO, "files.reloaded")                \
    X(FILES_WRONG, ERROR, "files.wrong")                     \
    X(CONFIG_CHANGED, INFO, "config.changed")                \
    X(CONFIG_RESTART, WARNING, "config.restart_needed")      \
    X(KEYS_READ, INFO, "keys.read")                          \
    X(KEYS_FAILING, WARNING, "keys.failing")                 \
    X(STORE_READY, INFO, "store.ready")                      \
    X(STORE_DAMAGED, ERROR, "store.damaged")                 \
    X(STORE_FAILING, ERROR, "store.failing")                 \
    X(STORE_RECOVERED, WARNING, "store.recovered")           \
    X(STORE_LEFT, ERROR, "store.left")                       \
    X(SIGNAL_RECEIVED, INFO, "signal.received")              \
    X(LOG_SUPPRESSED, WARNING, "log.suppressed")

enum m5_log_event {
#define X(name, level, text) M5_LOG_##name,
    M5_LOG_EVENT_TABLE(X)
#undef X
        M5_LOG_EVENT_COUNT
};

#define M5_LOG_LINE_MAX   2048  /* bytes; a longer line is cut inside its last value */
#define M5_LOG_BUFFER_MAX 16384 /* bytes of lines that wait for m5_log_flush() */

/* Where the lines of all threads go, one at a time. */
struct m5_log_sink {
    atomic_int level; /* enum mqtt5_log_level: what is less important is not written */
    bool json, colours;
    mqtt5_log_fn *write; /* NULL: standard error */
    void *ctx;
    pthread_mutex_t mutex;
};

/* How often an event was written of late. */
struct m5_log_rate {
    uint64_t refilled_s;
    uint32_t tokens;
    uint32_t suppressed;
};

/* One thread's log. */
struct m5_log {
    struct m5_log_sink *sink;
    struct m5_log_rate rates[M5_LOG_EVENT_COUNT];
    uint64_t now_s;          /* of the wall clock, set with each line */
    uint64_t reported_s;     /* when it was last said what is left out */
    bool suppressing;        /* lines were left out since then */
    uint64_t date_s;         /* the second that `date` was made for */
    char date[20];           /* "2026-11-22T12:00:00" */
    enum m5_log_event event; /* of the line being made */
    size_t line_size;
    size_t buffer_size;
    char line[M5_LOG_LINE_MAX];
    char buffer[M5_LOG_BUFFER_MAX];
};

/* @p json and @p level as in mqtt5_broker_options; colours are on when standard error is a terminal
 * that wants them. m5_log_sink_fini() when no thread logs any more. */
void m5_log_sink_init(struct m5_log_sink *sink, const struct mqtt5_broker_options *options);
void m5_log_sink_fini(struct m5_log_sink *sink);

/* Changes the level; any thread. */
void m5_log_sink_level(struct m5_log_sink *sink, enum mqtt5_log_level level);

void m5_log_init(struct m5_log *log, struct m5_log_sink *sink);

/* Starts a line; false when it is not wanted or comes too often: then add nothing. */
bool m5_log_begin(struct m5_log *log, enum m5_log_event event);

/* Adds a field to the line. The name is one of ours. `text` is quoted and escaped, `word` is known
 * to need neither quotes nor escapes (an address, a name of ours). */
void m5_log_text(struct m5_log *log, const char *name, struct mqtt5_bytes value);
void m5_log_word(struct m5_log *log, const char *name, const char *value);
void m5_log_number(struct m5_log *log, const char *name, uint64_t value);

/* Ends the line; it is written at the next m5_log_flush() at the latest. */
void m5_log_end(struct m5_log *log);

/* Writes what waits, and how many lines were left out of events that have calmed down. Call it once
 * a turn. */
void m5_log_flush(struct m5_log *log);

/* Tells of all lines that were left out; before the end. */
void m5_log_finish(struct m5_log *log);

/* A line of one text field, written at once. */
void m5_log_note(struct m5_log *log, enum m5_log_event event, const char *name, const char *value);

/* The stable name of @p event. */
const char *m5_log_event_name(enum m5_log_event event);

/* Writes @p value to @p out with everything escaped that could end a line or a quoted value, hide
 * itself on a terminal or is not UTF-8; cut after a whole character when @p size is too small.
 * Returns the bytes written. */
size_t m5_log_escape(char *out, size_t size, struct mqtt5_bytes value, bool json);

#endif
