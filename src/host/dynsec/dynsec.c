/* Dynamic security: the document, its file, and the view that threads ask.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "host/dynsec/dynsec.h"

#include "base/alloc.h"
#include "base/bytes.h"
#include "host/auth/rewrite.h"
#include "host/dynsec/view.h"

#include <stdlib.h>
#include <string.h>

#define FILE_MODE 0600
#define GONE_MAX  10000u

struct m5_dynsec {
    const struct mqtt5_allocator *allocator;
    const char *path;     /* NULL: none */
    pthread_mutex_t lock; /* guards `document` and the file */
    json_t *document;
    pthread_mutex_t gone_lock;
    json_t *gone; /* names that were deleted, and the generation when; by `gone_lock` */
    struct m5_snapshot view, users; /* of struct m5_dynsec_view, struct m5_users */
    bool has_view, has_users;
    struct m5_verifier *verifier;
    atomic_ullong generation;
};

static void free_view(void *view)
{
    m5_dynsec_view_free(view);
}

static void free_users(void *users)
{
    m5_users_free(users);
}

/* ---- commands ---- */

static bool save(struct m5_dynsec *dynsec, const json_t *document)
{
    struct m5_rewrite rewrite;
    struct m5_text_error error = {0};
    if (dynsec->path == NULL)
        return true;
    char *text = json_dumps(document, JSON_INDENT(2));
    if (text == NULL)
        return false;
    const bool saved = m5_rewrite_begin(&rewrite, dynsec->path, FILE_MODE, &error) &&
                       m5_rewrite_commit(&rewrite, m5_bytes_of(text), &error);
    m5_rewrite_end(&rewrite);
    m5_wipe(text, strlen(text));
    free(text);
    return saved;
}

/* Remembers who is deleted by @p document, for as long as workers may have to be told. */
static void note_gone(struct m5_dynsec *dynsec, const struct m5_dynsec_view *view)
{
    size_t i;
    const json_t *client;
    const json_int_t generation = (json_int_t)m5_dynsec_generation(dynsec) + 1;
    pthread_mutex_lock(&dynsec->gone_lock);
    if (json_object_size(dynsec->gone) > GONE_MAX)
        json_object_clear(dynsec->gone);
    json_array_foreach(m5_dynsec_list(dynsec->document, "clients"), i, client)
    {
        const char *name = json_string_value(json_object_get(client, "username"));
        if (m5_dynsec_view_welcomes(view, m5_bytes_of(name), m5_bytes(NULL, 0)) ==
            M5_DYNSEC_UNKNOWN)
            json_object_set_new(dynsec->gone, name, json_integer(generation));
    }
    pthread_mutex_unlock(&dynsec->gone_lock);
}

static bool is_gone(struct m5_dynsec *dynsec, struct mqtt5_bytes username, uint64_t since)
{
    json_int_t generation = 0;
    const char *name;
    json_t *when;
    pthread_mutex_lock(&dynsec->gone_lock);
    json_object_foreach(dynsec->gone, name, when)
    {
        if (m5_bytes_equal(m5_bytes_of(name), username))
            generation = json_integer_value(when);
    }
    pthread_mutex_unlock(&dynsec->gone_lock);
    return generation > (json_int_t)since;
}

/* Puts a changed document in place: in the file first, then for everybody. */
static bool put(struct m5_dynsec *dynsec, json_t *document)
{
    struct m5_dynsec_view *view = m5_dynsec_view_new(dynsec->allocator, document);
    struct m5_users *users = view != NULL ? m5_dynsec_view_users(view) : NULL;
    if (users == NULL || !save(dynsec, document)) {
        m5_dynsec_view_free(view);
        m5_users_free(users);
        return false;
    }
    note_gone(dynsec, view);
    if (!m5_snapshot_set(&dynsec->users, users))
        m5_users_free(users);
    if (!m5_snapshot_set(&dynsec->view, view))
        m5_dynsec_view_free(view);
    json_decref(dynsec->document);
    dynsec->document = json_incref(document);
    atomic_fetch_add(&dynsec->generation, 1);
    return true;
}

/* What could not be kept has not been done. */
static void take_back(json_t *answers)
{
    size_t i;
    json_t *answer;
    json_array_foreach(answers, i, answer)
    {
        json_object_del(answer, "data");
        if (json_object_get(answer, "error") == NULL)
            json_object_set_new(answer, "error", json_string("Internal error"));
    }
}

static json_t *refuse(const char *why)
{
    return json_pack("[{s:s, s:s}]", "command", "Unknown command", "error", why);
}

static json_t *execute(struct m5_dynsec *dynsec, const json_t *commands, bool *changed)
{
    json_t *answers = json_array(), *command;
    size_t i;
    pthread_mutex_lock(&dynsec->lock);
    json_t *document = json_deep_copy(dynsec->document);
    json_array_foreach(commands, i, command)
    {
        if (document != NULL)
            json_array_append_new(answers, m5_dynsec_command(document, command, changed));
    }
    if (*changed && !put(dynsec, document)) {
        take_back(answers);
        *changed = false;
    }
    json_decref(document);
    pthread_mutex_unlock(&dynsec->lock);
    return answers;
}

char *m5_dynsec_execute(struct m5_dynsec *dynsec, struct mqtt5_bytes payload, bool *changed)
{
    json_error_t error;
    json_t *request = NULL, *answers;
    *changed = false;
    if (payload.len > 0 && payload.len <= M5_DYNSEC_PAYLOAD_MAX)
        request =
            json_loadb((const char *)payload.data, payload.len, JSON_REJECT_DUPLICATES, &error);
    const json_t *commands = json_object_get(request, "commands");
    if (request == NULL)
        answers = refuse("Payload not valid JSON");
    else if (!json_is_array(commands))
        answers = refuse("Invalid/missing commands");
    else
        answers = execute(dynsec, commands, changed);
    json_t *answer = json_pack("{s:o}", "responses", answers);
    char *text = answer != NULL ? json_dumps(answer, JSON_COMPACT) : NULL;
    json_decref(answer);
    json_decref(request);
    return text;
}

uint64_t m5_dynsec_generation(const struct m5_dynsec *dynsec)
{
    return atomic_load(&((struct m5_dynsec *)(uintptr_t)dynsec)->generation);
}

/* ---- questions ---- */

enum m5_dynsec_verdict m5_dynsec_ask(struct m5_dynsec *dynsec, const struct m5_principal *who,
                                     enum m5_acl_action action, struct mqtt5_bytes topic)
{
    const struct m5_dynsec_view *view = m5_snapshot_get(&dynsec->view, NULL);
    return view == NULL ? M5_DYNSEC_DENY : m5_dynsec_view_ask(view, who, action, topic);
}

enum m5_dynsec_verdict m5_dynsec_default(struct m5_dynsec *dynsec, enum m5_acl_action action,
                                         struct mqtt5_bytes topic)
{
    const struct m5_dynsec_view *view = m5_snapshot_get(&dynsec->view, NULL);
    return view == NULL ? M5_DYNSEC_DENY : m5_dynsec_view_default(view, action, topic);
}

enum m5_dynsec_verdict m5_dynsec_welcomes(struct m5_dynsec *dynsec, struct mqtt5_bytes username,
                                          struct mqtt5_bytes client_id)
{
    const struct m5_dynsec_view *view = m5_snapshot_get(&dynsec->view, NULL);
    return view == NULL ? M5_DYNSEC_DENY : m5_dynsec_view_welcomes(view, username, client_id);
}

bool m5_dynsec_keeps(struct m5_dynsec *dynsec, struct mqtt5_bytes username,
                     struct mqtt5_bytes client_id, uint64_t since)
{
    switch (m5_dynsec_welcomes(dynsec, username, client_id)) {
    case M5_DYNSEC_ALLOW: return true;
    case M5_DYNSEC_DENY: return false;
    case M5_DYNSEC_UNKNOWN: break;
    }
    return !is_gone(dynsec, username, since);
}

enum m5_login_answer m5_dynsec_login(struct m5_dynsec *dynsec, const struct m5_login *login)
{
    return m5_verifier_ask(dynsec->verifier, login);
}

bool m5_dynsec_cancel(struct m5_dynsec *dynsec, const void *ctx, uint64_t token)
{
    return m5_verifier_cancel(dynsec->verifier, ctx, token);
}

/* ---- life ---- */

static bool start(struct m5_dynsec *dynsec, const struct m5_verifier_config *config)
{
    struct m5_dynsec_view *view = m5_dynsec_view_new(dynsec->allocator, dynsec->document);
    struct m5_users *users = view != NULL ? m5_dynsec_view_users(view) : NULL;
    dynsec->has_view = view != NULL && m5_snapshot_init(&dynsec->view, view, free_view);
    dynsec->has_users = users != NULL && m5_snapshot_init(&dynsec->users, users, free_users);
    if (!dynsec->has_view)
        m5_dynsec_view_free(view);
    if (!dynsec->has_users)
        m5_users_free(users);
    if (dynsec->has_view && dynsec->has_users)
        dynsec->verifier = m5_verifier_new(dynsec->allocator, config, &dynsec->users);
    return dynsec->verifier != NULL;
}

struct m5_dynsec *m5_dynsec_new(const struct mqtt5_allocator *allocator, const char *path,
                                const struct m5_verifier_config *verifier,
                                struct m5_text_error *error)
{
    struct m5_text text = {0};
    json_t *document = NULL;
    if (path == NULL || m5_text_read(path, &text, error))
        document = m5_dynsec_read(m5_bytes(text.data, text.size), error);
    m5_text_free(&text);
    if (document == NULL)
        return NULL;
    struct m5_dynsec *dynsec = m5_alloc_zero(allocator, sizeof *dynsec);
    if (dynsec == NULL) {
        json_decref(document);
        m5_text_fail(error, 0, 0, "out of memory");
        return NULL;
    }
    dynsec->allocator = allocator;
    dynsec->path = path;
    dynsec->document = document;
    atomic_init(&dynsec->generation, 1);
    pthread_mutex_init(&dynsec->lock, NULL);
    pthread_mutex_init(&dynsec->gone_lock, NULL);
    dynsec->gone = json_object();
    if (start(dynsec, verifier))
        return dynsec;
    m5_text_fail(error, 0, 0, "no memory or threads for dynamic security");
    m5_dynsec_free(dynsec);
    return NULL;
}

void m5_dynsec_free(struct m5_dynsec *dynsec)
{
    if (dynsec == NULL)
        return;
    m5_verifier_free(dynsec->verifier);
    if (dynsec->has_view)
        m5_snapshot_fini(&dynsec->view);
    if (dynsec->has_users)
        m5_snapshot_fini(&dynsec->users);
    json_decref(dynsec->document);
    json_decref(dynsec->gone);
    pthread_mutex_destroy(&dynsec->gone_lock);
    pthread_mutex_destroy(&dynsec->lock);
    m5_free(dynsec->allocator, dynsec, sizeof *dynsec);
}
