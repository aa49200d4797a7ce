/* Measures the store: groups a second beside the disk's own rate, and the cost of a change.
 *
 *     bench_store DIR [seconds]      DIR on the disk to be measured
 *
 * A publisher sends a message of 200 bytes, waits until it is stored and sends the next; a consumer
 * deletes each message about a thousand messages later, so that little of it cancels in a group.
 * The disk's rate (append 4 KiB, fdatasync) is taken in turns with the store's, as it changes from
 * second to second; what counts is the quotient.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "base/bytes.h"
#include "broker/journal.h"
#include "broker/record.h"
#include "host/store/store.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { ROUNDS = 41, LAG = 1000, VALUE_SIZE = 200, PART_SIZE = 512 * 1024 };

static struct {
    struct m5_store *store;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    bool ready;
    uint64_t sent, position;
} bench = {.mutex = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static double clock_s(clockid_t which)
{
    struct timespec t;
    clock_gettime(which, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void wake(void *ctx, uint32_t shard)
{
    (void)ctx;
    (void)shard;
    pthread_mutex_lock(&bench.mutex);
    bench.ready = true;
    pthread_cond_signal(&bench.changed);
    pthread_mutex_unlock(&bench.mutex);
}

static void add(struct m5_batch *batch, enum m5_store_op op, uint64_t number)
{
    static const uint8_t value[VALUE_SIZE];
    struct m5_batch_part *part = batch->parts;
    const uint32_t size = op == M5_STORE_DELETE ? 0 : VALUE_SIZE;
    uint8_t *at = (uint8_t *)(part + 1) + part->size;
    at[0] = (uint8_t)op;
    at[1] = 9;
    at = m5_write_u32(at + 2, size);
    *at = 'm';
    at = m5_write_u64(at + 1, number);
    memcpy(at, value, size);
    part->size += 15 + size;
    batch->changes++;
}

/* What @p publishers send in one turn. */
static void submit(unsigned publishers)
{
    struct m5_batch *batch = calloc(1, sizeof *batch);
    const size_t size = (size_t)publishers * (VALUE_SIZE + 30);
    struct m5_batch_part *part = calloc(1, sizeof *part + size);
    if (batch == NULL || part == NULL)
        abort();
    part->capacity = (uint32_t)size;
    batch->parts = batch->last_part = part;
    batch->bytes = size;
    batch->urgent = true;
    batch->position = ++bench.position;
    for (unsigned i = 0; i < publishers; i++) {
        add(batch, M5_STORE_PUT_NEW, ++bench.sent);
        if (bench.sent > LAG)
            add(batch, M5_STORE_DELETE, bench.sent - LAG);
    }
    m5_store_submit(bench.store, batch);
}

/* Waits for what is stored; the number of messages. */
static unsigned take(void)
{
    unsigned messages = 0;
    pthread_mutex_lock(&bench.mutex);
    while (!bench.ready)
        pthread_cond_wait(&bench.changed, &bench.mutex);
    bench.ready = false;
    pthread_mutex_unlock(&bench.mutex);
    for (struct m5_batch *batch = m5_store_take(bench.store, 0), *next; batch; batch = next) {
        next = batch->next;
        messages += batch->parts->capacity / (VALUE_SIZE + 30);
        free(batch->parts);
        free(batch);
    }
    return messages;
}

/* Messages a second, with so many publishers. */
static double publish(unsigned publishers, double seconds)
{
    const double begin = clock_s(CLOCK_MONOTONIC);
    const uint64_t before = bench.sent;
    /* Publishers come in two crowds, as they do: one gathers while the other is stored. */
    unsigned out = publishers;
    submit(publishers - publishers / 2);
    if (publishers > 1)
        submit(publishers / 2);
    while (clock_s(CLOCK_MONOTONIC) - begin < seconds) {
        const unsigned stored = take();
        if (stored > 0)
            submit(stored);
    }
    while (out > 0)
        out -= take();
    return (double)(bench.sent - before) / (clock_s(CLOCK_MONOTONIC) - begin);
}

/* Appends of 4 KiB that are synced, a second. */
static double sync_rate(const char *dir, double seconds)
{
    static uint8_t block[4096];
    char path[512];
    snprintf(path, sizeof path, "%s/append", dir);
    const int fd = open(path, O_CREAT | O_TRUNC | O_WRONLY, 0600);
    const double begin = clock_s(CLOCK_MONOTONIC);
    unsigned count = 0;
    for (; clock_s(CLOCK_MONOTONIC) - begin < seconds; count++) {
        if (write(fd, block, sizeof block) != sizeof block || fdatasync(fd) != 0)
            abort();
    }
    const double rate = count / (clock_s(CLOCK_MONOTONIC) - begin);
    close(fd);
    unlink(path);
    return rate;
}

static int compare(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void measure(const char *dir, unsigned publishers, double seconds)
{
    double rates[ROUNDS], quotients[ROUNDS];
    struct m5_store_figures before, after;
    const double cpu = clock_s(CLOCK_PROCESS_CPUTIME_ID);
    const uint64_t sent = bench.sent;
    double disk_cpu = 0;
    m5_store_figures(bench.store, &before);
    for (unsigned i = 0; i < ROUNDS; i++) {
        const double begin = clock_s(CLOCK_PROCESS_CPUTIME_ID);
        const double disk = sync_rate(dir, seconds / 2);
        disk_cpu += clock_s(CLOCK_PROCESS_CPUTIME_ID) - begin;
        rates[i] = publish(publishers, seconds);
        quotients[i] = rates[i] / (disk + sync_rate(dir, seconds / 2)) * 2;
    }
    m5_store_figures(bench.store, &after);
    const double used = clock_s(CLOCK_PROCESS_CPUTIME_ID) - cpu - 2 * disk_cpu;
    qsort(rates, ROUNDS, sizeof rates[0], compare);
    qsort(quotients, ROUNDS, sizeof quotients[0], compare);
    printf("%9u %12.0f %10.2f %12.1f %14.2f\n", publishers, rates[ROUNDS / 2],
           quotients[ROUNDS / 2],
           (double)(after.changes - before.changes) / (double)(after.commits - before.commits),
           used * 1e6 / (2 * (double)(bench.sent - sent)));
    fflush(stdout);
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fputs("usage: bench_store DIR [seconds]\n", stderr);
        return 2;
    }
    const double seconds = argc > 2 ? strtod(argv[2], NULL) : 0.1;
    char dir[512];
    snprintf(dir, sizeof dir, "%.400s/bench_store.%ld", argv[1], (long)getpid());
    const struct m5_store_options options = {.dir = dir, .shards = 1, .hooks = {.wake = wake}};
    struct m5_store_report report;
    if (m5_store_open(&options, &bench.store, &report) != MQTT5_OK ||
        m5_store_start(bench.store) != MQTT5_OK) {
        fprintf(stderr, "bench_store: %s\n", report.why);
        return 1;
    }
    puts("publishers   messages/s  x disk    changes/commit  us CPU/change");
    static const unsigned publishers[] = {1, 10, 100, 1000};
    for (unsigned i = 0; i < sizeof publishers / sizeof publishers[0]; i++)
        measure(argv[1], publishers[i], seconds);
    if (m5_store_stop(bench.store, 5000) != MQTT5_OK)
        return 1;
    m5_store_free(bench.store);
    char command[600];
    snprintf(command, sizeof command, "rm -r '%s'", dir);
    return system(command) == 0 ? 0 : 1;
}
