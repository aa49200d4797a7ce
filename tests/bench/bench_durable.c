/* Loads a broker, ours or another, with what has to be stored; speaks MQTT 5 over raw sockets.
 *
 *     bench_durable disk -D DIR                 rate of append 4 KiB + fdatasync in DIR
 *     bench_durable publish -p PORT [...]       QoS 1 publishers, one session for each ten of them
 *         -n N publishers, -w N unacknowledged each, -o: the sessions are offline,
 *         -R N rounds of -d seconds each, between two looks at the disk (-D); a round whose looks
 *         differ by more than 25 % does not count; what is printed are medians of the rounds,
 *         -r N: open loop, so many a second in all, latency from when each was due
 *         -0: ten pairs at QoS 0, as fast as they go, beside it (-n 0: alone)
 *     bench_durable queue -p PORT -m MESSAGES   for ten sessions that are offline, and their drain
 *     bench_durable sessions -p PORT -m COUNT [-f FIRST]   makes sessions with a subscription each
 *     bench_durable await -p PORT               until a CONNECT is answered
 *
 * -b PID: the broker, whose CPU time (first thread, all threads) is taken; -D DIR: its folder,
 * whose size is taken. One thread. See tools/bench_durable.sh.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum {
    PAYLOAD = 64,
    SLOTS = 2048, /* packet ids 1 to SLOTS, in turn */
    EVENTS = 512,
    BUFFER = 1 << 18,
    PLAIN_PAIRS = 10,
    PLAIN_WINDOW = 100, /* QoS 0 messages on their way, each pair */
    BUCKETS = 64 * 16,
    ROUNDS_MAX = 40,
    STALL_S = 30
};

enum role { PUBLISHER, SUBSCRIBER, PLAIN_PUBLISHER, PLAIN_SUBSCRIBER, VISITOR };

struct conn {
    int fd; /* -1: none */
    enum role role;
    uint32_t number, peer; /* peer: of a PLAIN_SUBSCRIBER, its publisher's place */
    bool accepted, subscribed, wants_out;
    uint32_t window, outstanding;
    uint16_t next_id;
    uint64_t *due; /* by packet id: when it was sent, or should have been */
    uint8_t *in, *out;
    size_t in_size, in_capacity, out_size, out_capacity;
};

#define DISK_S 0.15 /* a look at the disk's own rate */

static struct {
    const char *mode, *dir, *prefix;
    uint16_t port;
    uint32_t publishers, window, first, rounds;
    uint64_t messages;
    double seconds, rate;
    bool offline, plain;
    pid_t broker;
} option = {
    .prefix = "b", .publishers = 1, .window = 1, .rounds = 7, .seconds = 0.5, .messages = 1000000};

static struct conn *conns;
static uint32_t conn_count;
static int poller;
static bool stopping; /* nothing new is sent */
static uint64_t sent, paced, acked, refused, received, plain_received, subscribed, accepted,
    duplicates;
static uint64_t histogram[BUCKETS];

/* ---- clocks and measures ---- */

static _Noreturn void die(const char *what)
{
    fprintf(stderr, "bench_durable: %s: %s\n", what, strerror(errno));
    exit(2);
}

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* Sixteen buckets for each power of two. */
static uint32_t bucket_of(uint64_t ns)
{
    const uint32_t top = ns < 16 ? 4 : 63 - (uint32_t)__builtin_clzll(ns);
    return (top - 4) * 16 + (uint32_t)(ns >> (top - 4) & 15);
}

static double percentile_us(double part)
{
    uint64_t all = 0, below = 0;
    for (uint32_t i = 0; i < BUCKETS; i++)
        all += histogram[i];
    for (uint32_t i = 0; i < BUCKETS; i++)
        if ((double)(below += histogram[i]) >= part * (double)all && all > 0)
            return (double)((16 + (uint64_t)(i % 16)) << (i / 16)) / 1e3;
    return 0;
}

/* Seconds of CPU of a thread of the broker. */
static double thread_cpu(pid_t process, const char *thread)
{
    char path[300];
    snprintf(path, sizeof path, "/proc/%d/task/%s/schedstat", (int)process, thread);
    FILE *file = fopen(path, "r");
    unsigned long long ns = 0;
    if (file == NULL)
        return 0;
    if (fscanf(file, "%llu", &ns) != 1)
        ns = 0;
    fclose(file);
    return (double)ns / 1e9;
}

struct cpu {
    double first, all, own; /* of the broker's first thread, all of it, this program */
};

static struct cpu cpu_now(void)
{
    struct cpu cpu = {0};
    struct timespec own;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &own);
    cpu.own = (double)own.tv_sec + (double)own.tv_nsec / 1e9;
    char path[64], first[16];
    snprintf(path, sizeof path, "/proc/%d/task", (int)option.broker);
    snprintf(first, sizeof first, "%d", (int)option.broker);
    DIR *tasks = option.broker > 0 ? opendir(path) : NULL;
    for (struct dirent *entry; tasks != NULL && (entry = readdir(tasks)) != NULL;) {
        if (entry->d_name[0] == '.')
            continue;
        const double one = thread_cpu(option.broker, entry->d_name);
        cpu.all += one;
        if (strcmp(entry->d_name, first) == 0)
            cpu.first = one;
    }
    if (tasks != NULL)
        closedir(tasks);
    return cpu;
}

static uint64_t broker_memory_kib(void)
{
    char path[64], line[256];
    unsigned long kib = 0;
    snprintf(path, sizeof path, "/proc/%d/status", (int)option.broker);
    FILE *file = option.broker > 0 ? fopen(path, "r") : NULL;
    while (file != NULL && fgets(line, sizeof line, file) != NULL)
        if (sscanf(line, "VmRSS: %lu", &kib) == 1)
            break;
    if (file != NULL)
        fclose(file);
    return kib;
}

/* What the files of option.dir take on the disk. */
static uint64_t dir_bytes(void)
{
    uint64_t bytes = 0;
    DIR *dir = option.dir != NULL ? opendir(option.dir) : NULL;
    for (struct dirent *entry; dir != NULL && (entry = readdir(dir)) != NULL;) {
        struct stat status;
        if (fstatat(dirfd(dir), entry->d_name, &status, 0) == 0 && S_ISREG(status.st_mode))
            bytes += (uint64_t)status.st_blocks * 512;
    }
    if (dir != NULL)
        closedir(dir);
    return bytes;
}

/* ---- bytes out ---- */

static void flush(struct conn *conn)
{
    size_t done = 0;
    while (conn->fd >= 0 && done < conn->out_size) {
        const ssize_t n = send(conn->fd, conn->out + done, conn->out_size - done, MSG_NOSIGNAL);
        if (n < 0 && errno != EAGAIN)
            die("send");
        if (n < 0)
            break;
        done += (size_t)n;
    }
    memmove(conn->out, conn->out + done, conn->out_size - done);
    conn->out_size -= done;
    const bool wants = conn->out_size > 0;
    if (wants != conn->wants_out && conn->fd >= 0) {
        struct epoll_event event = {.events = wants ? EPOLLIN | EPOLLOUT : EPOLLIN,
                                    .data.ptr = conn};
        epoll_ctl(poller, EPOLL_CTL_MOD, conn->fd, &event);
        conn->wants_out = wants;
    }
}

static uint8_t *room(struct conn *conn, size_t size)
{
    if (conn->out_capacity - conn->out_size < size) {
        conn->out_capacity = (conn->out_size + size) * 2;
        conn->out = realloc(conn->out, conn->out_capacity);
        if (conn->out == NULL)
            die("realloc");
    }
    uint8_t *at = conn->out + conn->out_size;
    conn->out_size += size;
    return at;
}

static uint8_t *put_u16(uint8_t *at, uint32_t value)
{
    at[0] = (uint8_t)(value >> 8);
    at[1] = (uint8_t)value;
    return at + 2;
}

static uint8_t *put_text(uint8_t *at, const char *text)
{
    const size_t size = strlen(text);
    at = put_u16(at, (uint32_t)size);
    memcpy(at, text, size);
    return at + size;
}

static void send_connect(struct conn *conn, bool clean, uint32_t expiry_s)
{
    static const char roles[] = {'p', 's', 'q', 't', 'v'};
    char id[64];
    snprintf(id, sizeof id, "%s-%c%u", option.prefix, roles[conn->role], conn->number);
    uint8_t *start = room(conn, 23 + strlen(id)), *at = start + 2;
    at = put_text(at, "MQTT");
    *at++ = 5;
    *at++ = clean ? 2 : 0;
    at = put_u16(at, 0);
    *at++ = 8;
    *at++ = 0x11;
    at = put_u16(put_u16(at, expiry_s >> 16), expiry_s);
    *at++ = 0x21;
    at = put_u16(at, 65535);
    at = put_text(at, id);
    start[0] = 0x10;
    start[1] = (uint8_t)(at - start - 2);
    conn->out_size = (size_t)(at - conn->out);
}

static void topic_of(const struct conn *conn, char *topic, size_t size)
{
    switch (conn->role) {
    case PUBLISHER:
    case SUBSCRIBER: snprintf(topic, size, "%s/t/%u", option.prefix, conn->number % 10); break;
    case VISITOR: snprintf(topic, size, "sessions/%u/state", conn->number); break;
    case PLAIN_PUBLISHER:
    case PLAIN_SUBSCRIBER:
    default: snprintf(topic, size, "%s/plain/%u", option.prefix, conn->number); break;
    }
}

static void send_subscribe(struct conn *conn)
{
    char topic[64];
    topic_of(conn, topic, sizeof topic);
    const size_t body = 2 + 1 + 2 + strlen(topic) + 1;
    uint8_t *at = room(conn, 2 + body);
    *at++ = 0x82;
    *at++ = (uint8_t)body;
    at = put_u16(at, 1);
    *at++ = 0;
    at = put_text(at, topic);
    *at = conn->role == PLAIN_SUBSCRIBER ? 0 : 1;
}

static void send_publish(struct conn *conn, uint64_t due_ns)
{
    char topic[64];
    topic_of(conn, topic, sizeof topic);
    const bool plain = conn->role == PLAIN_PUBLISHER;
    const size_t body = 2 + strlen(topic) + (plain ? 0 : 2) + 1 + PAYLOAD;
    uint8_t *at = room(conn, 2 + body);
    *at++ = plain ? 0x30 : 0x32;
    *at++ = (uint8_t)body; /* below 128 */
    at = put_text(at, topic);
    if (!plain) {
        conn->next_id = (uint16_t)(conn->next_id % SLOTS + 1);
        conn->due[conn->next_id - 1] = due_ns;
        at = put_u16(at, conn->next_id);
        sent++;
    }
    conn->outstanding++;
    *at++ = 0;
    memset(at, 'x', PAYLOAD);
}

/* ---- bytes in ---- */

static void take_ack(struct conn *conn, const uint8_t *body, size_t size)
{
    const uint32_t id = (uint32_t)body[0] << 8 | body[1];
    const uint64_t ns = now_ns() - conn->due[id - 1];
    histogram[bucket_of(ns)]++;
    conn->outstanding--;
    if (size > 2 && body[2] >= 0x80)
        refused++;
    else
        acked++;
}

static void take_publish(struct conn *conn, uint8_t first, const uint8_t *body)
{
    if (conn->role == PLAIN_SUBSCRIBER) {
        plain_received++;
        conns[conn->peer].outstanding--;
        return;
    }
    if ((first & 0x08) != 0)
        duplicates++;
    received++;
    const uint8_t *id = body + 2 + ((size_t)body[0] << 8 | body[1]);
    uint8_t *at = room(conn, 4);
    at[0] = 0x40;
    at[1] = 2;
    at[2] = id[0];
    at[3] = id[1];
}

static void take(struct conn *conn, uint8_t first, const uint8_t *body, size_t size)
{
    switch (first >> 4) {
    case 2:
        if (body[1] != 0) {
            fprintf(stderr, "bench_durable: CONNACK 0x%02x\n", body[1]);
            exit(3);
        }
        conn->accepted = true;
        accepted++;
        break;
    case 3: take_publish(conn, first, body); break;
    case 4: take_ack(conn, body, size); break;
    case 9:
        if (body[size - 1] > 2) {
            fprintf(stderr, "bench_durable: SUBACK 0x%02x\n", body[size - 1]);
            exit(3);
        }
        conn->subscribed = true;
        subscribed++;
        break;
    default: fprintf(stderr, "bench_durable: a packet of type %d\n", first >> 4); exit(3);
    }
}

static void parse(struct conn *conn)
{
    size_t at = 0;
    for (;;) {
        size_t length = 0, head = at + 1;
        uint32_t shift = 0;
        bool whole = false;
        while (head < conn->in_size && !whole) {
            length |= (size_t)(conn->in[head] & 0x7F) << shift;
            shift += 7;
            whole = (conn->in[head++] & 0x80) == 0;
        }
        if (!whole || conn->in_size - head < length)
            break;
        take(conn, conn->in[at], conn->in + head, length);
        at = head + length;
    }
    memmove(conn->in, conn->in + at, conn->in_size - at);
    conn->in_size -= at;
}

static void read_conn(struct conn *conn)
{
    if (conn->in == NULL) {
        conn->in_capacity = conn->role == VISITOR ? 256 : BUFFER;
        conn->in = malloc(conn->in_capacity);
        if (conn->in == NULL)
            die("malloc");
    }
    const ssize_t n =
        recv(conn->fd, conn->in + conn->in_size, conn->in_capacity - conn->in_size, 0);
    if (n < 0 && errno == EAGAIN)
        return;
    if (n <= 0)
        die("the broker closed a connection");
    conn->in_size += (size_t)n;
    parse(conn);
}

static void turn_until(uint64_t until_ns)
{
    struct epoll_event events[EVENTS];
    const uint64_t now = now_ns(), wait = until_ns > now ? until_ns - now : 0;
    const struct timespec timeout = {.tv_sec = (time_t)(wait / 1000000000u),
                                     .tv_nsec = (long)(wait % 1000000000u)};
    const int n = epoll_pwait2(poller, events, EVENTS, &timeout, NULL);
    for (int i = 0; i < n; i++) {
        struct conn *conn = events[i].data.ptr;
        if ((events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0)
            read_conn(conn);
        if (conn->out_size > 0)
            flush(conn);
    }
}

static void turn(uint32_t timeout_ms)
{
    turn_until(now_ns() + timeout_ms * 1000000ull);
}

/* ---- connections ---- */

static void open_conn(struct conn *conn, bool clean, uint32_t expiry_s)
{
    const struct sockaddr_in to = {.sin_family = AF_INET,
                                   .sin_port = htons(option.port),
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const int one = 1;
    conn->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (conn->fd < 0)
        die("socket");
    setsockopt(conn->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (connect(conn->fd, (const struct sockaddr *)&to, sizeof to) != 0)
        die("connect");
    fcntl(conn->fd, F_SETFL, O_NONBLOCK);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = conn};
    if (epoll_ctl(poller, EPOLL_CTL_ADD, conn->fd, &event) != 0)
        die("epoll_ctl");
    conn->accepted = conn->subscribed = conn->wants_out = false;
    conn->in_size = conn->out_size = conn->outstanding = 0;
    send_connect(conn, clean, expiry_s);
}

/* Without a trace in the kernel's table of ports. */
static void close_conn(struct conn *conn)
{
    const struct linger linger = {.l_onoff = 1};
    setsockopt(conn->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
    close(conn->fd);
    conn->fd = -1;
}

static void add_conn(enum role role, uint32_t number, uint32_t peer)
{
    struct conn *conn = &conns[conn_count++];
    *conn = (struct conn){.fd = -1, .role = role, .number = number, .peer = peer};
    conn->window = role == PLAIN_PUBLISHER ? PLAIN_WINDOW : option.window;
    if (role == PUBLISHER)
        conn->due = calloc(SLOTS, sizeof *conn->due);
}

/* Waits until *@p count is @p wanted. */
static void await(const uint64_t *count, uint64_t wanted, const char *what)
{
    for (uint64_t began = now_ns(), last = *count; *count < wanted; turn(10)) {
        if (*count != last) {
            last = *count;
            began = now_ns();
        }
        if (now_ns() - began > STALL_S * 1000000000ull) {
            fprintf(stderr, "bench_durable: stuck at %llu of %llu %s\n", (unsigned long long)*count,
                    (unsigned long long)wanted, what);
            exit(3);
        }
    }
}

/* Opens all connections of a role, one burst after the other. */
static void open_all(enum role role, bool clean, uint32_t expiry_s)
{
    for (uint32_t i = 0; i < conn_count; i++) {
        if (conns[i].role != role)
            continue;
        const uint64_t before = accepted;
        open_conn(&conns[i], clean, expiry_s);
        flush(&conns[i]);
        await(&accepted, before + 1, "CONNACKs");
    }
}

static void subscribe_all(enum role role)
{
    for (uint32_t i = 0; i < conn_count; i++) {
        if (conns[i].role != role)
            continue;
        const uint64_t before = subscribed;
        send_subscribe(&conns[i]);
        flush(&conns[i]);
        await(&subscribed, before + 1, "SUBACKs");
    }
}

static void close_all(enum role role)
{
    for (uint32_t i = 0; i < conn_count; i++)
        if (conns[i].role == role && conns[i].fd >= 0)
            close_conn(&conns[i]);
}

/* ---- publishing ---- */

static void fill_windows(void)
{
    for (uint32_t i = 0; i < conn_count; i++) {
        struct conn *conn = &conns[i];
        const bool by_clock = conn->role == PUBLISHER && option.rate > 0;
        if ((conn->role != PUBLISHER && conn->role != PLAIN_PUBLISHER) || by_clock || stopping)
            continue;
        while (conn->outstanding < conn->window &&
               (conn->role != PUBLISHER || sent < option.messages))
            send_publish(conn, now_ns());
        if (conn->out_size > 0)
            flush(conn);
    }
}

/* What is due by now, in turn from each publisher; latency counts from when it was due. Returns
 * when there is more to do. */
static uint64_t pace(uint64_t began_ns)
{
    static uint32_t next;
    for (;;) {
        const uint64_t due = began_ns + (uint64_t)((double)paced * 1e9 / option.rate);
        struct conn *conn = &conns[next];
        if (due > now_ns())
            return due;
        if (conn->outstanding >= SLOTS / 4)
            return now_ns() + 1000000;
        send_publish(conn, due);
        paced++;
        flush(conn);
        next = (next + 1) % option.publishers;
    }
}

static void run_for(double seconds, uint64_t began_ns)
{
    const uint64_t until = now_ns() + (uint64_t)(seconds * 1e9);
    while (now_ns() < until) {
        const bool by_clock = option.rate > 0 && option.publishers > 0;
        const uint64_t due = by_clock ? pace(began_ns) : until;
        fill_windows();
        turn_until(due < until ? due : until);
    }
}

/* The publishers first: pace() counts on it. */
static void make_cast(void)
{
    const uint32_t sessions = option.publishers < 10 ? option.publishers : 10;
    const uint32_t pairs = option.plain ? PLAIN_PAIRS : 0;
    conns = calloc((size_t)option.publishers + sessions + 2 * pairs, sizeof *conns);
    if (conns == NULL)
        die("calloc");
    for (uint32_t i = 0; i < option.publishers; i++)
        add_conn(PUBLISHER, i, 0);
    for (uint32_t i = 0; i < sessions; i++)
        add_conn(SUBSCRIBER, i, 0);
    for (uint32_t i = 0; i < pairs; i++) {
        add_conn(PLAIN_PUBLISHER, i, 0);
        add_conn(PLAIN_SUBSCRIBER, i, conn_count - 1);
    }
    open_all(SUBSCRIBER, true, UINT32_MAX);
    subscribe_all(SUBSCRIBER);
    open_all(PLAIN_SUBSCRIBER, true, 0);
    subscribe_all(PLAIN_SUBSCRIBER);
    if (option.offline)
        close_all(SUBSCRIBER);
    open_all(PUBLISHER, true, 0);
    open_all(PLAIN_PUBLISHER, true, 0);
}

/* Ends the sessions, so that the next run finds nothing. */
static void dismiss_cast(void)
{
    close_all(SUBSCRIBER);
    open_all(SUBSCRIBER, true, 0);
    close_all(SUBSCRIBER);
}

/* Appends of 4 KiB a second that the disk makes durable, in option.dir; 0 without one. */
static double disk_rate(double seconds)
{
    static const uint8_t page[4096];
    char path[4096];
    if (option.dir == NULL)
        return 0;
    snprintf(path, sizeof path, "%s/bench_durable.%d", option.dir, (int)getpid());
    const int fd = open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);
    if (fd < 0)
        die(path);
    unlink(path);
    uint64_t count = 0;
    const uint64_t began = now_ns(), until = began + (uint64_t)(seconds * 1e9);
    for (; now_ns() < until; count++)
        if (write(fd, page, sizeof page) != (ssize_t)sizeof page || fdatasync(fd) != 0)
            die("write");
    close(fd);
    return (double)count / ((double)(now_ns() - began) / 1e9);
}

static int compare(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *values, uint32_t count)
{
    qsort(values, count, sizeof *values, compare);
    return count > 0 ? values[count / 2] : 0;
}

/* What the rounds of a measurement came to. */
struct sum {
    double rate[ROUNDS_MAX], disk[ROUNDS_MAX], times[ROUNDS_MAX];
    uint32_t kept, discarded;
    double seconds, acks, plain, delivered;
    struct cpu cpu;
};

/* One round of load, between two looks at the disk. */
static void measure(struct sum *sum, double disk_before, double *disk_after)
{
    const uint64_t acked_before = acked, received_before = received, plain_before = plain_received;
    const struct cpu before = cpu_now();
    const uint64_t began = now_ns();
    paced = 0;
    stopping = false;
    run_for(option.seconds, began);
    const double seconds = (double)(now_ns() - began) / 1e9;
    const struct cpu after = cpu_now();
    const double count = (double)(acked - acked_before);
    const double plain = (double)(plain_received - plain_before);
    const double delivered = (double)(received - received_before);
    stopping = true;
    await(&acked, sent - refused, "acknowledgements");
    *disk_after = disk_rate(DISK_S);
    const double low = disk_before < *disk_after ? disk_before : *disk_after;
    const double high = disk_before < *disk_after ? *disk_after : disk_before;
    if (high > 1.25 * low) {
        sum->discarded++;
        return;
    }
    sum->rate[sum->kept] = count / seconds;
    sum->disk[sum->kept] = (low + high) / 2;
    sum->times[sum->kept++] = low > 0 ? count / seconds / ((low + high) / 2) : 0;
    sum->seconds += seconds;
    sum->acks += count;
    sum->plain += plain;
    sum->delivered += delivered;
    sum->cpu.all += after.all - before.all;
    sum->cpu.first += after.first - before.first;
    sum->cpu.own += after.own - before.own;
}

static int publish_mode(void)
{
    static struct sum sum;
    option.messages = UINT64_MAX;
    make_cast();
    run_for(option.seconds, now_ns()); /* to get warm */
    stopping = true;
    await(&acked, sent - refused, "acknowledgements");
    memset(histogram, 0, sizeof histogram);
    for (double disk = disk_rate(DISK_S), after;
         sum.kept < option.rounds && sum.kept + sum.discarded < ROUNDS_MAX; disk = after)
        measure(&sum, disk, &after);
    const double all = sum.acks + sum.plain > 0 ? sum.acks + sum.plain : 1;
    const double seconds = sum.seconds > 0 ? sum.seconds : 1;
    printf("publishers=%u window=%u %s acks_per_s=%.0f disk_per_s=%.0f times=%.2f kept=%u/%u "
           "p50_us=%.0f p99_us=%.0f plain_per_s=%.0f delivered_per_s=%.0f broker_us=%.2f "
           "first_thread_us=%.2f own_us=%.2f broker_cpu=%.2f first_cpu=%.2f own_cpu=%.2f "
           "refused=%llu\n",
           option.publishers, option.window, option.offline ? "offline" : "online",
           median(sum.rate, sum.kept), median(sum.disk, sum.kept), median(sum.times, sum.kept),
           sum.kept, sum.kept + sum.discarded, percentile_us(0.5), percentile_us(0.99),
           sum.plain / seconds, sum.delivered / seconds, sum.cpu.all / all * 1e6,
           sum.cpu.first / all * 1e6, sum.cpu.own / all * 1e6, sum.cpu.all / seconds,
           sum.cpu.first / seconds, sum.cpu.own / seconds, (unsigned long long)refused);
    dismiss_cast();
    return 0;
}

/* A phase of work, which took until @p ended_ns, with the CPU time of what followed from it. */
static void print_phase(const char *name, uint64_t count, uint64_t began_ns, uint64_t ended_ns,
                        struct cpu before, uint64_t peak)
{
    const struct cpu after = cpu_now();
    const double seconds = (double)(ended_ns - began_ns) / 1e9;
    printf("%s messages=%llu seconds=%.2f per_s=%.0f broker_us=%.2f own_us=%.2f "
           "disk_mib=%.1f disk_peak_mib=%.1f rss_mib=%.1f refused=%llu duplicates=%llu\n",
           name, (unsigned long long)count, seconds, (double)count / seconds,
           (after.all - before.all) / (double)count * 1e6,
           (after.own - before.own) / (double)count * 1e6, (double)dir_bytes() / 1048576,
           (double)peak / 1048576, (double)broker_memory_kib() / 1024, (unsigned long long)refused,
           (unsigned long long)duplicates);
    fflush(stdout);
}

/* Looks at the folder now and then. */
static void look(uint64_t *peak, uint64_t *looked_ns)
{
    if (now_ns() - *looked_ns < 50000000)
        return;
    *looked_ns = now_ns();
    const uint64_t bytes = dir_bytes();
    *peak = bytes > *peak ? bytes : *peak;
}

static void rest(double seconds, uint64_t *peak, uint64_t *looked_ns)
{
    for (const uint64_t until = now_ns() + (uint64_t)(seconds * 1e9); now_ns() < until; turn(10))
        look(peak, looked_ns);
}

static int queue_mode(void)
{
    option.offline = true;
    make_cast();
    uint64_t peak = 0, looked = 0, began = now_ns();
    struct cpu before = cpu_now();
    while (acked + refused < option.messages) {
        fill_windows();
        turn(1);
        look(&peak, &looked);
    }
    uint64_t ended = now_ns();
    rest(3, &peak, &looked);
    print_phase("enqueue", acked, began, ended, before, peak);
    began = now_ns();
    before = cpu_now();
    for (uint32_t i = 0; i < conn_count; i++) {
        if (conns[i].role != SUBSCRIBER)
            continue;
        open_conn(&conns[i], false, UINT32_MAX);
        flush(&conns[i]);
    }
    for (peak = 0; received < acked; turn(1))
        look(&peak, &looked);
    ended = now_ns();
    rest(3, &peak, &looked); /* the last acknowledgements are stored */
    print_phase("drain", received, began, ended, before, peak);
    rest(10, &peak, &looked);
    printf("later disk_mib=%.1f\n", (double)dir_bytes() / 1048576);
    dismiss_cast();
    return 0;
}

/* ---- sessions ---- */

static int sessions_mode(void)
{
    enum { AT_ONCE = 1000 };
    conns = calloc(AT_ONCE, sizeof *conns);
    if (conns == NULL)
        die("calloc");
    for (uint32_t i = 0; i < AT_ONCE; i++)
        add_conn(VISITOR, 0, 0);
    uint64_t next = option.first, end = option.first + option.messages;
    const uint64_t began = now_ns();
    const struct cpu before = cpu_now();
    while (subscribed < option.messages) {
        for (uint32_t i = 0; i < AT_ONCE; i++) {
            if (conns[i].fd >= 0 && conns[i].subscribed)
                close_conn(&conns[i]);
            if (conns[i].fd >= 0 || next == end)
                continue;
            conns[i].number = (uint32_t)next++;
            open_conn(&conns[i], true, UINT32_MAX);
            send_subscribe(&conns[i]);
            flush(&conns[i]);
        }
        turn(10);
    }
    const uint64_t ended = now_ns();
    sleep(2);
    print_phase("sessions", subscribed, began, ended, before, 0);
    return 0;
}

/* Until a broker that is starting answers a CONNECT; prints how long that took. */
static int await_mode(void)
{
    const uint64_t began = now_ns();
    conns = calloc(1, sizeof *conns);
    if (conns == NULL)
        die("calloc");
    add_conn(PLAIN_SUBSCRIBER, 0, 0);
    const struct sockaddr_in to = {.sin_family = AF_INET,
                                   .sin_port = htons(option.port),
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    for (bool open = false; !open; usleep(1000)) {
        const int probe = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        open = connect(probe, (const struct sockaddr *)&to, sizeof to) == 0;
        close(probe);
        if (now_ns() - began > 4 * STALL_S * 1000000000ull)
            die("nobody listens");
    }
    open_conn(&conns[0], true, 0);
    flush(&conns[0]);
    await(&accepted, 1, "CONNACKs");
    printf("answered_ms=%.1f broker_cpu_ms=%.1f rss_mib=%.1f\n", (double)(now_ns() - began) / 1e6,
           cpu_now().all * 1e3, (double)broker_memory_kib() / 1024);
    return 0;
}

/* ---- the disk ---- */

static int disk_mode(void)
{
    printf("%.0f\n", disk_rate(option.seconds));
    return 0;
}

static void parse_options(int argc, char **argv)
{
    option.mode = argc > 1 ? argv[1] : "";
    optind = 2;
    for (int c; (c = getopt(argc, argv, "D:p:b:n:w:d:r:m:f:x:R:o0")) != -1;) {
        switch (c) {
        case 'D': option.dir = optarg; break;
        case 'p': option.port = (uint16_t)strtoul(optarg, NULL, 10); break;
        case 'b': option.broker = (pid_t)strtol(optarg, NULL, 10); break;
        case 'n': option.publishers = (uint32_t)strtoul(optarg, NULL, 10); break;
        case 'w': option.window = (uint32_t)strtoul(optarg, NULL, 10); break;
        case 'd': option.seconds = strtod(optarg, NULL); break;
        case 'r': option.rate = strtod(optarg, NULL); break;
        case 'm': option.messages = strtoull(optarg, NULL, 10); break;
        case 'f': option.first = (uint32_t)strtoul(optarg, NULL, 10); break;
        case 'R': option.rounds = (uint32_t)strtoul(optarg, NULL, 10); break;
        case 'x': option.prefix = optarg; break;
        case 'o': option.offline = true; break;
        case '0': option.plain = true; break;
        default: exit(2);
        }
    }
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        int (*run)(void);
    } modes[] = {{"disk", disk_mode},
                 {"publish", publish_mode},
                 {"queue", queue_mode},
                 {"sessions", sessions_mode},
                 {"await", await_mode}};
    const struct rlimit files = {.rlim_cur = 65536, .rlim_max = 65536};
    parse_options(argc, argv);
    setrlimit(RLIMIT_NOFILE, &files);
    poller = epoll_create1(EPOLL_CLOEXEC);
    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++)
        if (strcmp(modes[i].name, option.mode) == 0)
            return modes[i].run();
    fprintf(stderr, "bench_durable: disk, publish, queue, sessions or await\n");
    return 2;
}
