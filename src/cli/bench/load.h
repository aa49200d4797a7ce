/* A load: publishers and subscribers on one thread, and what is seen of their messages.
 *
 * Open loop (a rate): message k is due at start + k / rate whatever became of those before, and its
 * latency counts from then on, not from when it could be sent: a server that stops for a second is
 * seen by all messages of that second ("coordinated omission" is what leaves them out).
 * Closed loop: each stream has at most `inflight` messages that are not complete. A message is
 * complete when it is acknowledged, or, at QoS 0, when it has come back to us.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_CLI_BENCH_LOAD_H
#define M5_CLI_BENCH_LOAD_H

#include "cli/bench/histogram.h"
#include "cli/bench/link.h"
#include "cli/bench/sequence.h"
#include "cli/bench/windows.h"

#define BENCH_PAYLOAD_MIN 20u /* bytes: what we write into each payload */
#define BENCH_STREAMS_MAX 65535u
#define BENCH_PAYLOAD_MAX (256u << 20)
#define BENCH_WHY_SIZE    256

/* What is to be done. All is borrowed until bench_load_fini(). */
struct bench_plan {
    struct bench_place publish_to, subscribe_at;
    struct m5_client_stack *stack;       /* what their transports are */
    struct mqtt5_client_options options; /* without a client id */
    const char *id_prefix;
    const char *topic;   /* of the only stream; else what stands before "/0", "/1", ... */
    const char *filter;  /* for all subscribers; NULL: the topics are dealt out to them */
    uint32_t publishers; /* connections that publish */
    uint32_t subscribers;
    uint32_t topics;   /* streams are dealt out to them; each publisher has a stream at least */
    uint32_t inflight; /* of each stream; closed loop */
    double rate;       /* messages a second in all; 0: closed loop */
    size_t payload_size;
    uint8_t qos;
    uint64_t warmup_ns, duration_ns;
    uint64_t connect_timeout_ns;
    bool progress; /* a line on standard error */
};

/* Numbered messages to one topic. */
struct bench_stream {
    char topic[256];
    uint32_t link;        /* of its publisher */
    uint32_t sent;        /* the next number */
    uint32_t complete;    /* acknowledged */
    uint32_t forgiven;    /* numbers below are not waited for any more: QoS 0 was lost */
    int64_t watcher;      /* tracks[] of the first who subscribes; -1: nobody */
    uint64_t expected_by; /* how many tracks should get each message */
};

/* What came of it. */
struct bench_result {
    char why[BENCH_WHY_SIZE]; /* it could not be done, or ended early; "" = it went through */
    uint64_t published;       /* in the window that is measured */
    uint64_t received;
    double elapsed_s;                      /* length of that window */
    uint64_t sent_in_all, expected_in_all; /* warm-up and window: messages, deliveries due */
    uint64_t received_in_all, lost, duplicates, reordered;
    uint64_t refused; /* messages that the server did not take */
    uint64_t foreign; /* messages that are not of this run */
    uint64_t late;    /* messages of an open loop that were not sent by the end of the window */
    uint64_t blocked; /* times that a message was due and the client's queue was full */
    double cpu;       /* share of one core that this process took in the window */
    struct bench_histogram latency;  /* ns, from when a message was due */
    struct bench_histogram service;  /* ns, from when it was handed to the client */
    struct bench_histogram lateness; /* ns, between the two */
    struct bench_windows windows;
};

struct bench_load {
    const struct bench_plan *plan;
    struct m5_loop loop;
    struct m5_pipe_room room;
    int timer_fd;
    struct bench_link *links; /* publishers, then subscribers */
    uint32_t link_count, dirty_count;
    struct bench_link **dirty;
    struct bench_stream *streams;
    uint32_t stream_count, turn_stream;
    struct bench_sequence *tracks; /* one for each stream that somebody is to get */
    uint32_t *track_of;            /* [group * stream_count + stream]: index in it + 1, or 0 */
    uint32_t group_count, track_count;
    uint8_t *payload;
    uint16_t run;

    uint32_t connected, subscribed;
    uint64_t due_count; /* open loop: messages published since the start */
    uint64_t start_ns, measure_ns, end_ns, progress_ns;
    uint64_t received_ns; /* when the last message came */
    bool measuring, leaving, failed;
    bool stopped; /* by a signal: what is under way is still waited for */
    struct bench_result *result;
    void (*on_latency)(void *ctx, uint32_t stream, uint64_t now_ns, uint64_t latency_ns);
    void *ctx;
};

/* Connects, subscribes, publishes, waits for what is under way. False when something failed:
 * result->why has it, and what was measured until then is there. @p load is zeroed, but for
 * on_latency and ctx. bench_load_fini() either way. */
bool bench_load_run(struct bench_load *load, const struct bench_plan *plan,
                    struct bench_result *result);
void bench_load_fini(struct bench_load *load);

#endif
