/* How a client comes to its connection and comes back to it: attempts, back-off, redirection.
 *
 *   wanted = false             the user wants none
 *   wanted, link busy          an attempt is under way, or it is connected
 *   wanted, waiting            the next attempt is due at retry_at_ms
 *
 * The first connection that fails ends `wanted` unless options.reconnect.first; a later one only
 * when its error is permanent or attempts_max is reached. Use Another Server and Server Moved lead
 * to another attempt at once, at another place; the first only for that connection.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "base/alloc.h"
#include "base/bytes.h"
#include "host/client/host.h"
#include "host/client/mock.h"

#include <stdio.h>
#include <unistd.h>

#define URL_SIZE 3200 /* bytes of "wss://host:port/path" with the zero, and more */

/* ---- places ---- */

static bool set_text(struct mqtt5_client *client, char **place, const char *text)
{
    char *copy = NULL;
    if (text != NULL) {
        copy = m5_alloc(client->allocator, strlen(text) + 1);
        if (copy == NULL)
            return false;
        memcpy(copy, text, strlen(text) + 1);
    }
    if (*place != NULL)
        m5_free(client->allocator, *place, strlen(*place) + 1);
    *place = copy;
    return true;
}

/* ---- the end ---- */

void m5_client_host_drop_link(struct mqtt5_client *client)
{
    m5_link_close(&client->link);
    m5_client_lost(client->engine);
}

void m5_client_host_fail_link_as(struct mqtt5_client *client, const struct m5_link_failure *failure)
{
    snprintf(client->why, sizeof client->why, "%s", failure->text);
    client->why_said = true;
    m5_client_fail(client->engine, failure->error != MQTT5_OK ? failure->error : MQTT5_ERR_IO);
    m5_client_host_drop_link(client);
}

/* The URL without its query, which may be a secret. */
void m5_client_host_fail_at_url(struct mqtt5_client *client, const struct m5_link_failure *failure)
{
    struct m5_link_failure named = {.error = failure->error};
    const char *url = client->course.url;
    const size_t size = strcspn(url, "?");
    snprintf(named.text, sizeof named.text, "%.*s: %.180s", size < 110 ? (int)size : 110, url,
             failure->text);
    m5_client_host_fail_link_as(client, &named);
}

static void fail_named(struct mqtt5_client *client, const struct m5_link_failure *failure)
{
    if (failure->named)
        m5_client_host_fail_link_as(client, failure);
    else
        m5_client_host_fail_at_url(client, failure);
}

void m5_client_host_fail_link(struct mqtt5_client *client, const char *why)
{
    struct m5_link_failure failure = {.error = MQTT5_ERR_IO};
    snprintf(failure.text, sizeof failure.text, "%s", why);
    m5_client_host_fail_link_as(client, &failure);
}

void m5_client_host_stop(struct mqtt5_client *client)
{
    client->course.wanted = client->course.waiting = false;
    m5_client_set_returning(client->engine, false);
}

enum mqtt5_client_state m5_client_host_state(const struct mqtt5_client *client)
{
    const enum mqtt5_client_state state = m5_client_state(client->engine);
    return state == MQTT5_CLIENT_DISCONNECTED && client->course.wanted ? MQTT5_CLIENT_WAITING
                                                                       : state;
}

bool m5_client_host_is_down(const struct mqtt5_client *client)
{
    return m5_client_host_state(client) == MQTT5_CLIENT_DISCONNECTED;
}

/* ---- attempts ---- */

/* Lets the user's hook connect, with the lock open: it may wait. */
static void dial(struct mqtt5_client *client, const struct m5_url *url)
{
    char text[URL_SIZE], why[sizeof client->why] = "the dial hook has failed";
    m5_url_format(url, text, sizeof text);
    m5_client_host_call_begin(client);
    const int fd = client->config->dial(client->config->dial_ctx, text, why, sizeof why);
    m5_client_host_call_end(client);
    if (m5_client_state(client->engine) != MQTT5_CLIENT_CONNECTING) { /* given up meanwhile */
        if (fd >= 0)
            close(fd);
        return;
    }
    if (fd < 0)
        m5_client_host_fail_link(client, why);
    else
        m5_link_adopt(&client->link, fd, NULL);
}

/* Opens the transport for the attempt that the engine has begun. */
static void open_link(struct mqtt5_client *client)
{
    struct m5_url url;
    struct m5_link_failure failure = {.error = MQTT5_ERR_IO};
    const enum mqtt5_error error =
        m5_url_parse(client->course.url, &url, failure.text, sizeof failure.text);
    if (error != MQTT5_OK) /* of a server that has sent us there */
        m5_client_host_fail_link(client, failure.text);
    else if (client->mock != NULL && !m5_client_mock_open(client->mock, &client->link))
        m5_client_host_fail_link(client, "the network of the mock refuses");
    else if (client->mock != NULL)
        client->ready = true;
    else if (client->config->dial != NULL)
        dial(client, &url);
    else if (!m5_client_stack_build(client->stack, &url, &client->link, &failure) ||
             !m5_link_start(&client->link, &url, client->config->connect_timeout_ms,
                            m5_client_host_now(client), m5_client_host_wake, client, &failure))
        fail_named(client, &failure);
}

/* The user's turn to begin an exchange; its data goes out with the CONNECT. */
void m5_client_host_auth(struct mqtt5_client *client, enum mqtt5_auth_step step,
                         struct mqtt5_bytes data)
{
    struct mqtt5_bytes reply = {0};
    m5_client_host_call_begin(client);
    enum mqtt5_error error = client->config->auth(client->config->auth_ctx, step, data, &reply);
    m5_client_host_call_end(client);
    if (error == MQTT5_OK && step != MQTT5_AUTH_SUCCESS)
        error = m5_client_auth(client->engine, reply);
    if (error == MQTT5_OK || error == MQTT5_ERR_INVALID_STATE) /* ended meanwhile */
        return;
    snprintf(client->why, sizeof client->why, "the authentication handler: %s",
             mqtt5_error_text(error));
    m5_client_fail(client->engine, error);
    m5_client_host_nudge(client);
}

static void begin_attempt(struct mqtt5_client *client, enum m5_client_start start)
{
    client->course.waiting = false;
    client->course.connected_at_ms = 0;
    if (m5_client_open(client->engine, start, m5_client_host_now(client)) == MQTT5_OK)
        return;
    client->course.waiting = true; /* no memory now; a little later perhaps */
    client->course.retry_at_ms = m5_client_host_now(client) + 1000;
}

void m5_client_host_advance(struct mqtt5_client *client)
{
    struct m5_client_course *course = &client->course;
    struct m5_link_failure failure = {.error = MQTT5_ERR_IO};
    if (course->waiting && m5_client_host_now(client) >= course->retry_at_ms)
        begin_attempt(client, M5_CLIENT_START_RESUME);
    if (m5_client_state(client->engine) == MQTT5_CLIENT_CONNECTING) {
        if (m5_client_wants_auth(client->engine))
            m5_client_host_auth(client, MQTT5_AUTH_START, (struct mqtt5_bytes){0});
        if (client->link.state == M5_LINK_DOWN &&
            m5_client_state(client->engine) == MQTT5_CLIENT_CONNECTING)
            open_link(client);
    }
    if (client->link.state != M5_LINK_CONNECTING && client->link.state != M5_LINK_SHAKING)
        return;
    if (!m5_link_step(&client->link, m5_client_host_now(client), &failure))
        fail_named(client, &failure);
    else if (client->link.state == M5_LINK_UP)
        client->ready = true; /* there may be more in the transports than in the socket */
}

/* User name and password of @p url go before those of the options. */
static enum mqtt5_error take_url(struct mqtt5_client *client, const char *text, char *out,
                                 size_t size)
{
    struct m5_url url;
    enum mqtt5_error error = m5_url_parse(text, &url, client->why, sizeof client->why);
    if (error == MQTT5_OK && client->config->dial == NULL && client->mock == NULL)
        error = m5_url_built(&url, client->why, sizeof client->why);
    if (error == MQTT5_OK && client->config->dial == NULL && client->mock == NULL)
        error = m5_client_stack_check(client->stack, &url, client->why, sizeof client->why);
    if (error != MQTT5_OK)
        return error;
    m5_url_format(&url, out, size);
    return m5_client_set_credentials(client->engine, url.has_username ? url.username : NULL,
                                     url.has_password ? url.password : NULL)
               ? MQTT5_OK
               : MQTT5_ERR_NOMEM;
}

enum mqtt5_error m5_client_host_connect(struct mqtt5_client *client, const char *url,
                                        struct m5_client_op *op)
{
    struct m5_client_course *course = &client->course;
    char text[URL_SIZE];
    if (!m5_client_host_is_down(client))
        return MQTT5_ERR_INVALID_STATE;
    if (url == NULL && course->home == NULL) {
        snprintf(client->why, sizeof client->why, "no URL");
        return MQTT5_ERR_INVALID_ARGUMENT;
    }
    enum mqtt5_error error = MQTT5_OK;
    if (url != NULL)
        error = take_url(client, url, text, sizeof text);
    if (error == MQTT5_OK && url != NULL && !set_text(client, &course->home, text))
        error = MQTT5_ERR_NOMEM;
    if (error == MQTT5_OK && !set_text(client, &course->url, course->home))
        error = MQTT5_ERR_NOMEM;
    if (error == MQTT5_OK)
        error = m5_client_open(client->engine, M5_CLIENT_START_AS_CONFIGURED,
                               m5_client_host_now(client));
    if (error != MQTT5_OK)
        return error;
    client->why[0] = 0;
    client->connecting = op;
    course->wanted = true;
    course->made = course->waiting = course->away = false;
    course->hops = 0;
    course->connected_at_ms = 0;
    m5_backoff_reset(&course->backoff);
    m5_client_set_returning(client->engine,
                            course->backoff.policy.enabled && course->backoff.policy.first);
    m5_client_host_nudge(client);
    return MQTT5_OK;
}

/* Keeps Response Information, for the response topics of requests. */
static void keep_prefix(struct mqtt5_client *client, const struct mqtt5_properties *properties)
{
    char text[256];
    if (!MQTT5_HAS(properties, RESPONSE_INFORMATION))
        return;
    const struct mqtt5_bytes prefix = properties->response_information;
    snprintf(text, sizeof text, "%.*s", (int)prefix.len, (const char *)prefix.data);
    (void)set_text(client, &client->response_prefix, text); /* without: our own prefix */
}

void m5_client_host_connected(struct mqtt5_client *client, const struct m5_client_event *event)
{
    keep_prefix(client, &event->result.properties);
    client->course.made = true;
    client->course.hops = 0;
    client->course.connected_at_ms = m5_client_host_now(client);
    m5_client_set_returning(client->engine, client->course.backoff.policy.enabled);
}

/* ---- after a connection ---- */

/* Reads the first of the servers in a Server Reference (section 4.11): "host", "host:port" or a
 * URL, in a list with spaces between. False when it cannot be used. */
static bool read_reference(const struct mqtt5_client *client, struct mqtt5_bytes reference,
                           char *out, size_t size)
{
    char text[URL_SIZE], why[8];
    struct m5_url url;
    size_t length = 0;
    while (length < reference.len && reference.data[length] != ' ')
        length++;
    if (length == 0 || length >= sizeof text || memchr(reference.data, 0, length) != NULL)
        return false;
    memcpy(text, reference.data, length);
    text[length] = 0;
    if (m5_url_parse(text, &url, why, sizeof why) != MQTT5_OK ||
        (client->config->dial == NULL && client->mock == NULL &&
         m5_url_built(&url, why, sizeof why) != MQTT5_OK))
        return false;
    m5_url_format(&url, out, size);
    return true;
}

/* Goes where the server sends us, if it may. */
static bool redirect(struct mqtt5_client *client, const struct mqtt5_client_result *result)
{
    struct m5_client_course *course = &client->course;
    char text[URL_SIZE];
    if (course->hops >= course->backoff.policy.redirects_max ||
        !MQTT5_HAS(&result->properties, SERVER_REFERENCE) ||
        !read_reference(client, result->properties.server_reference, text, sizeof text) ||
        !set_text(client, &course->url, text))
        return false;
    course->hops++;
    course->away = true;
    if (result->reason_code == MQTT5_REASON_SERVER_MOVED && set_text(client, &course->home, text))
        course->away = false;
    return true;
}

/* Decides on the next attempt; false: there is none. */
static bool plan(struct mqtt5_client *client, const struct mqtt5_client_result *result,
                 struct mqtt5_client_change *change)
{
    struct m5_client_course *course = &client->course;
    enum mqtt5_error_class class = mqtt5_client_classify(result, client->config->version);
    const uint64_t now = m5_client_host_now(client);
    uint32_t wait = 0;
    if (course->made && (result->error == MQTT5_ERR_TLS || result->error == MQTT5_ERR_WEBSOCKET))
        class = MQTT5_CLASS_SLOW; /* it has been right before, and may be again */
    if (!course->wanted || class == MQTT5_CLASS_NONE)
        return false;
    if (course->connected_at_ms != 0)
        m5_backoff_lasted(&course->backoff, now - course->connected_at_ms);
    if (class != MQTT5_CLASS_REDIRECT || !redirect(client, result)) {
        if (!course->made && !course->backoff.policy.first)
            return false;
        if (!m5_backoff_next(&course->backoff, class, &wait))
            return false;
        course->hops = 0;
        if (course->away && set_text(client, &course->url, course->home))
            course->away = false;
    }
    course->waiting = true;
    course->retry_at_ms = now + wait;
    change->attempt = course->backoff.attempt;
    change->retry_ms = wait;
    return true;
}

void m5_client_host_decide(struct mqtt5_client *client, const struct m5_client_event *event,
                           struct mqtt5_client_change *change)
{
    const bool again = plan(client, &event->result, change);
    change->state = again ? MQTT5_CLIENT_WAITING : MQTT5_CLIENT_DISCONNECTED;
    if (again)
        return;
    m5_client_host_stop(client);
    m5_client_host_requests_down(client);
}
