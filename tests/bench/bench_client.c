/* Measures clients side by side: messages of 64 bytes per CPU second, towards a sink on loopback.
 *
 *     bench_client [messages]       default: 1000000 at QoS 0, a fifth of that at QoS 1
 *
 * "qos 0": publishes to a server that only reads. "qos 1": with at most 100 in flight, to one that
 * acknowledges. Each client runs in a process of its own, whose CPU time (user and system, all
 * threads) counts; the sink is another process, which counts what arrives. libmosquitto and
 * libpaho-mqtt3a are measured too where they are installed (libmosquitto-dev, libpaho-mqtt-dev).
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "base/bytes.h"

#include <mqtt5/client.h>

#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#if __has_include(<mosquitto.h>)
#include <mosquitto.h>
#endif
#if __has_include(<MQTTAsync.h>)
#include <MQTTAsync.h>
#endif

#define PAYLOAD     64
#define WINDOW      100
#define OUTSTANDING 1000 /* messages that a client may have queued */
#define ROUNDS      5

static const char topic[] = "bench/topic";
static uint8_t payload[PAYLOAD];

static void die(const char *what)
{
    fprintf(stderr, "bench_client: %s: %s\n", what, strerror(errno));
    exit(1);
}

/* ---- the sink ---- */

static void send_all(int fd, const uint8_t *bytes, size_t size)
{
    while (size > 0) {
        const ssize_t sent = send(fd, bytes, size, MSG_NOSIGNAL);
        if (sent <= 0)
            return;
        bytes += sent;
        size -= (size_t)sent;
    }
}

/* Answers the packets in @p stream; gives how many bytes were whole packets. */
static size_t answer(int fd, struct mqtt5_bytes stream, uint64_t *count)
{
    static uint8_t out[1 << 18];
    static const uint8_t connack[] = {0x20, 2, 0, 0};
    struct mqtt5_frame frame;
    size_t at = 0, size = 0;
    while (mqtt5_frame_read(m5_bytes(stream.data + at, stream.len - at), UINT32_MAX, &frame) ==
           MQTT5_OK) {
        if (frame.type == MQTT5_CONNECT)
            send_all(fd, connack, sizeof connack);
        *count += frame.type == MQTT5_PUBLISH;
        if (frame.type == MQTT5_PUBLISH && (frame.flags & 6) != 0) {
            const uint8_t *id = frame.body.data + 2 + m5_read_u16(frame.body.data);
            const uint8_t ack[4] = {0x40, 2, id[0], id[1]};
            memcpy(out + size, ack, sizeof ack);
            size += sizeof ack;
        }
        at += frame.size;
    }
    send_all(fd, out, size);
    return at;
}

/* Serves one connection, and leaves when it ends; the exit tells whether all came. */
static void run_sink(int listener, uint64_t expected)
{
    static uint8_t bytes[1 << 18];
    size_t size = 0;
    uint64_t count = 0;
    const int fd = accept(listener, NULL, NULL);
    for (;;) {
        const ssize_t read = recv(fd, bytes + size, sizeof bytes - size, 0);
        if (read <= 0)
            break;
        size += (size_t)read;
        const size_t used = answer(fd, m5_bytes(bytes, size), &count);
        memmove(bytes, bytes + used, size - used);
        size -= used;
    }
    _exit(count == expected ? 0 : 1);
}

/* ---- how many are on their way ---- */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static uint64_t done;

static void count_done(void)
{
    pthread_mutex_lock(&lock);
    done++;
    if (done % (OUTSTANDING / 2) == 0)
        pthread_cond_signal(&changed);
    pthread_mutex_unlock(&lock);
}

/* Waits until fewer than OUTSTANDING of @p sent are under way; every half of them is told. */
static void wait_room(uint64_t sent)
{
    if (sent % (OUTSTANDING / 2) != 0)
        return;
    pthread_mutex_lock(&lock);
    while (sent - done >= OUTSTANDING)
        pthread_cond_wait(&changed, &lock);
    pthread_mutex_unlock(&lock);
}

/* ---- ours ---- */

static void run_ours(uint16_t port, uint64_t messages, int qos)
{
    char url[64];
    struct mqtt5_client_options options;
    struct mqtt5_client *client;
    snprintf(url, sizeof url, "mqtt://127.0.0.1:%u", port);
    mqtt5_client_options_init(&options);
    options.client_id = "bench";
    options.version = MQTT5_VERSION_3_1_1;
    options.inflight_max = WINDOW;
    options.queued_messages_max = OUTSTANDING;
    if (mqtt5_client_new(&options, &client) != MQTT5_OK ||
        mqtt5_client_connect(client, url, 10000) != MQTT5_OK)
        die("our client");
    const struct mqtt5_publish publish = {
        .topic = m5_bytes_of(topic), .payload = m5_bytes(payload, PAYLOAD), .qos = (uint8_t)qos};
    for (uint64_t i = 0; i < messages;) {
        const enum mqtt5_error error = mqtt5_client_publish_async(client, &publish, NULL, NULL);
        if (error == MQTT5_OK)
            i++;
        else if (error != MQTT5_ERR_QUEUE_FULL ||
                 mqtt5_client_wait_room(client, MQTT5_FOREVER) != MQTT5_OK)
            die("our publish");
    }
    struct mqtt5_client_info info;
    for (;;) { /* what is in flight is acknowledged before the end */
        mqtt5_client_get_info(client, &info);
        if (info.queued_messages == 0)
            break;
        usleep(1000);
    }
    if (mqtt5_client_disconnect(client, NULL, 60000) != MQTT5_OK)
        die("our disconnect");
    mqtt5_client_free(client);
}

/* ---- libmosquitto ---- */

#if __has_include(<mosquitto.h>)
static void mosquitto_published(struct mosquitto *m, void *ctx, int id)
{
    (void)m;
    (void)ctx;
    (void)id;
    count_done();
}

static void run_mosquitto(uint16_t port, uint64_t messages, int qos)
{
    void *library = dlopen("libmosquitto.so.1", RTLD_NOW);
    if (library == NULL)
        _exit(77);
#define GET(name) __typeof__(&mosquitto_##name) name = dlsym(library, "mosquitto_" #name)
    GET(lib_init);
    GET(new);
    GET(max_inflight_messages_set);
    GET(publish_callback_set);
    GET(connect);
    GET(loop_start);
    GET(publish);
    GET(disconnect);
    GET(loop_stop);
#undef GET
    lib_init();
    struct mosquitto *m = new ("bench", true, NULL);
    max_inflight_messages_set(m, WINDOW);
    publish_callback_set(m, mosquitto_published);
    if (connect(m, "127.0.0.1", port, 60) != 0 || loop_start(m) != 0)
        die("libmosquitto");
    for (uint64_t i = 0; i < messages; i++) {
        wait_room(i);
        if (publish(m, NULL, topic, PAYLOAD, payload, qos, false) != 0)
            die("mosquitto_publish");
    }
    while (__atomic_load_n(&done, __ATOMIC_RELAXED) < messages)
        usleep(1000);
    disconnect(m);
    loop_stop(m, false);
}
#endif

/* ---- libpaho-mqtt3a ---- */

#if __has_include(<MQTTAsync.h>)
static bool paho_connected;

static void paho_ready(void *ctx, MQTTAsync_successData *data)
{
    (void)ctx;
    (void)data;
    __atomic_store_n(&paho_connected, true, __ATOMIC_RELEASE);
}

static void paho_sent(void *ctx, MQTTAsync_successData *data)
{
    (void)ctx;
    (void)data;
    count_done();
}

static void run_paho(uint16_t port, uint64_t messages, int qos)
{
    void *library = dlopen("libpaho-mqtt3a.so.1", RTLD_NOW);
    char uri[64];
    if (library == NULL)
        _exit(77);
#define GET(name) __typeof__(&MQTTAsync_##name) name = dlsym(library, "MQTTAsync_" #name)
    GET(create);
    GET(connect);
    GET(send);
    GET(disconnect);
#undef GET
    MQTTAsync client;
    MQTTAsync_connectOptions connect_options = MQTTAsync_connectOptions_initializer;
    MQTTAsync_responseOptions options = MQTTAsync_responseOptions_initializer;
    snprintf(uri, sizeof uri, "tcp://127.0.0.1:%u", port);
    connect_options.maxInflight = WINDOW;
    connect_options.onSuccess = paho_ready;
    options.onSuccess = paho_sent;
    if (create(&client, uri, "bench", MQTTCLIENT_PERSISTENCE_NONE, NULL) != 0 ||
        connect(client, &connect_options) != 0)
        die("libpaho-mqtt3a");
    while (!__atomic_load_n(&paho_connected, __ATOMIC_ACQUIRE))
        usleep(1000);
    for (uint64_t i = 0; i < messages; i++) {
        wait_room(i);
        if (send(client, topic, PAYLOAD, payload, qos, 0, &options) != 0)
            die("MQTTAsync_send");
    }
    while (__atomic_load_n(&done, __ATOMIC_RELAXED) < messages)
        usleep(1000);
    disconnect(client, NULL);
    usleep(100000); /* it answers nobody: the library's thread sends it */
}
#endif

/* ---- runs ---- */

struct subject {
    const char *name;
    void (*run)(uint16_t port, uint64_t messages, int qos);
};

static double seconds(const struct timeval *time)
{
    return (double)time->tv_sec + (double)time->tv_usec / 1e6;
}

/* Messages per CPU second of one run; 0: the library is not there, -1: messages are missing. */
static double measure(const struct subject *subject, uint64_t messages, int qos)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t size = sizeof address;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    const int listener = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) != 0 ||
        listen(listener, 1) != 0 || getsockname(listener, (struct sockaddr *)&address, &size) != 0)
        die("listen");
    fflush(stdout);
    const pid_t sink = fork();
    if (sink == 0)
        run_sink(listener, messages);
    const pid_t client = fork();
    if (client == 0) {
        close(listener);
        subject->run(ntohs(address.sin_port), messages, qos);
        _exit(0);
    }
    int status = 0, sink_status = 0;
    struct rusage usage;
    wait4(client, &status, 0, &usage);
    close(listener);
    const bool there = WIFEXITED(status) && WEXITSTATUS(status) == 0;
    if (!there)
        kill(sink, 15);
    waitpid(sink, &sink_status, 0);
    if (!there)
        return WIFEXITED(status) && WEXITSTATUS(status) == 77 ? 0 : -1;
    if (sink_status != 0)
        return -1;
    return (double)messages / (seconds(&usage.ru_utime) + seconds(&usage.ru_stime));
}

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static void compare(const struct subject *subjects, size_t count, uint64_t messages, int qos)
{
    double rates[8][ROUNDS];
    for (int round = 0; round < ROUNDS; round++) /* in turns: the machine may change */
        for (size_t i = 0; i < count; i++)
            rates[i][round] = measure(&subjects[i], messages, qos);
    for (size_t i = 0; i < count; i++) {
        qsort(rates[i], ROUNDS, sizeof *rates[i], by_value);
        printf("qos %d  %-18s %10.0f messages per CPU second (%.0f to %.0f)%s\n", qos,
               subjects[i].name, rates[i][ROUNDS / 2], rates[i][0], rates[i][ROUNDS - 1],
               rates[i][0] <= 0 ? "  INCOMPLETE or not installed" : "");
    }
}

int main(int argc, char **argv)
{
    const uint64_t messages = argc > 1 ? strtoull(argv[1], NULL, 10) : 1000000;
    const struct subject subjects[] = {
        {"mqtt5", run_ours},
#if __has_include(<mosquitto.h>)
        {"libmosquitto", run_mosquitto},
#endif
#if __has_include(<MQTTAsync.h>)
        {"libpaho-mqtt3a", run_paho},
#endif
    };
    const size_t count = sizeof subjects / sizeof *subjects;
    memset(payload, 'x', sizeof payload);
    compare(subjects, count, messages, 0);
    compare(subjects, count, messages / 5, 1);
    return 0;
}
