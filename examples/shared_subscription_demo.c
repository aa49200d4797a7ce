/* Three workers share a subscription: each job is done by one of them.
 *
 *     shared_subscription_demo [URL]     default: mqtt://localhost:1883
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include <mqtt5/mqtt5.h>

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#define TIMEOUT_MS 10000
#define WORKERS    3
#define JOBS       30

struct office {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int done[WORKERS];
    int total;
};

struct worker {
    struct office *office;
    int number;
    struct mqtt5_client *client;
};

static struct mqtt5_bytes bytes_of(const char *text)
{
    return (struct mqtt5_bytes){.data = (const uint8_t *)text, .len = strlen(text)};
}

/* Called by the worker's client, on a thread of its own. */
static void do_job(void *ctx, const struct mqtt5_message *message)
{
    struct worker *worker = ctx;
    struct office *office = worker->office;
    (void)message; /* the job itself */
    pthread_mutex_lock(&office->lock);
    office->done[worker->number]++;
    office->total++;
    pthread_cond_signal(&office->changed);
    pthread_mutex_unlock(&office->lock);
}

static enum mqtt5_error start_client(const char *url, struct mqtt5_client **client)
{
    struct mqtt5_client_options options;
    mqtt5_client_options_init(&options);
    const enum mqtt5_error error = mqtt5_client_new(&options, client);
    return error == MQTT5_OK ? mqtt5_client_connect(*client, url, TIMEOUT_MS) : error;
}

/* All who subscribe to "$share/<name>/<filter>" with the same name and filter are one group. */
static enum mqtt5_error start_worker(const char *url, struct worker *worker)
{
    enum mqtt5_error error = start_client(url, &worker->client);
    if (error == MQTT5_OK)
        error = mqtt5_client_subscribe_one(worker->client, "$share/office/jobs/#", 1, do_job,
                                           worker, TIMEOUT_MS, NULL, NULL);
    return error;
}

static enum mqtt5_error hand_out(struct mqtt5_client *client, struct office *office)
{
    enum mqtt5_error error = MQTT5_OK;
    for (int i = 0; i < JOBS && error == MQTT5_OK; i++) {
        const struct mqtt5_publish job = {
            .topic = bytes_of("jobs/new"), .payload = bytes_of("write a letter"), .qos = 1};
        error = mqtt5_client_publish(client, &job, TIMEOUT_MS, NULL);
    }
    pthread_mutex_lock(&office->lock);
    while (error == MQTT5_OK && office->total < JOBS)
        pthread_cond_wait(&office->changed, &office->lock);
    pthread_mutex_unlock(&office->lock);
    return error;
}

int main(int argc, char **argv)
{
    const char *url = argc > 1 ? argv[1] : "mqtt://localhost:1883";
    struct office office = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, {0}, 0};
    struct worker workers[WORKERS] = {{0}};
    struct mqtt5_client *boss = NULL;
    enum mqtt5_error error = MQTT5_OK;
    for (int i = 0; i < WORKERS && error == MQTT5_OK; i++) {
        workers[i] = (struct worker){.office = &office, .number = i};
        error = start_worker(url, &workers[i]);
    }
    if (error == MQTT5_OK)
        error = start_client(url, &boss);
    if (error == MQTT5_OK)
        error = hand_out(boss, &office);
    mqtt5_client_free(boss);
    for (int i = 0; i < WORKERS; i++)
        mqtt5_client_free(workers[i].client);
    for (int i = 0; i < WORKERS && error == MQTT5_OK; i++)
        printf("worker %d has done %d jobs\n", i + 1, office.done[i]);
    if (error != MQTT5_OK)
        fprintf(stderr, "%s\n", mqtt5_error_text(error));
    return error == MQTT5_OK ? 0 : 1;
}
