/* Simulation of clients: some of ours against our engine, and one of ours against a broker that
 * means no good; one thread, virtual time, everything from one seed.
 *
 * The engine's world: clients with sessions that last publish to a few topics and subscribe to
 * some; bytes travel in pieces and late, and connections break at any byte. A witness that sits
 * next to the engine, with a link that never fails, subscribes to everything: what it gets is what
 * the broker has accepted. In the end everything that a client has taken on must be complete.
 *
 * The hostile world: what comes is valid, nearly valid, out of place, too much or noise. The client
 * must stay whole, within a bound on its memory, and end every operation once.
 *
 * tests/sim is about the engine: its clients are models, not ours.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef TESTS_SIMCLIENT_SIMCLIENT_H
#define TESTS_SIMCLIENT_SIMCLIENT_H

#include "base/rng.h"
#include "broker/engine.h"
#include "client/client.h"
#include "support/test_allocator.h"

#include <stdio.h>

#define SC_CLIENTS  6u
#define SC_TOPICS   4u
#define SC_MESSAGES 512u
#define SC_NOTHING  UINT32_MAX

/* X(NAME, what is told, a piece of the complaint that must follow) */
#define SC_LIE_TABLE(X)                                                              \
    X(TWICE, "a QoS 2 message was shown twice", "delivered 2 times")                 \
    X(UNSEEN, "a message that was shown was not", "delivered 0 times")               \
    X(ORDER, "two messages changed places", "out of order")                          \
    X(UNACCEPTED, "the broker has not accepted a message", "accepted 0 times")       \
    X(REPEATED, "the broker has accepted a QoS 2 message twice", "accepted 2 times") \
    X(WINDOW, "an acknowledgement has not come", "in flight")                        \
    X(UNENDED, "an operation has not ended", "ended 0 times")                        \
    X(TWICE_ENDED, "an operation has ended twice", "ended 2 times")                  \
    X(LEAK, "a byte was not given back", "bytes are not given back")                 \
    X(HUGE, "the client took more than it may", "more than its bound")

enum sc_lie {
#define X(name, text, complaint) SC_LIE_##name,
    SC_LIE_TABLE(X)
#undef X
        SC_LIE_COUNT,
    SC_LIE_NONE = SC_LIE_COUNT
};

struct sc_bytes {
    uint8_t *data;
    size_t size, room;
};

void sc_bytes_add(struct sc_bytes *bytes, struct mqtt5_bytes more);
void sc_bytes_cut(struct sc_bytes *bytes, size_t size);
void sc_bytes_fini(struct sc_bytes *bytes);

/* One direction of a link: bytes that come in order, in pieces and late. */
struct sc_pipe {
    struct sc_bytes bytes;
    struct {
        uint64_t ready_ms;
        size_t size;
    } pieces[64];
    unsigned first, count;
    uint64_t stalled_until_ms;
};

/* How many of @p size bytes it takes now. */
size_t sc_pipe_push(struct sc_pipe *pipe, struct mqtt5_bytes bytes, uint64_t ready_ms);
struct mqtt5_bytes sc_pipe_ready(const struct sc_pipe *pipe, uint64_t now_ms);
void sc_pipe_take(struct sc_pipe *pipe, size_t size);
void sc_pipe_clear(struct sc_pipe *pipe);

/* Sees packets in a stream of bytes. */
struct sc_tap {
    struct sc_bytes bytes;
    bool blind; /* something was no packet */
};

/* Adds @p bytes; then sc_tap_next() gives the packets that are whole. */
void sc_tap_add(struct sc_tap *tap, struct mqtt5_bytes bytes);
bool sc_tap_next(struct sc_tap *tap, uint8_t version, struct mqtt5_packet *out);
void sc_tap_reset(struct sc_tap *tap);

struct sc_run; /* a seed being run: see main.c */

struct sc_run {
    uint64_t seed;
    bool verbose, failed;
    enum sc_lie lie;
    bool lied;
    uint32_t lie_countdown;
    struct m5_rng rng;
    uint64_t now_ms;
    char complaint[256];
    uint64_t publishes, deliveries, breaks, packets; /* figures for people */
};

/* Notes the first thing that is wrong. */
void sc_fail(struct sc_run *run, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Says what happens, with --verbose. */
void sc_say(const struct sc_run *run, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* True once in a run, when @p lie is to be told: at a moment that the seed chooses. */
bool sc_lies(struct sc_run *run, enum sc_lie lie);

uint64_t sc_below(struct sc_run *run, uint64_t bound);
bool sc_chance(struct sc_run *run, uint32_t percent);

/* The worlds. */
void sc_run_engine(struct sc_run *run);
void sc_run_hostile(struct sc_run *run);

#endif
