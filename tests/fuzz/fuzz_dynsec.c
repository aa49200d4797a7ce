/* Dynamic security: files, and commands one after the other. What is read or made can be written
 * and read again as the same, and rules never grant what the default and no rule grant.
 *
 * An input is a document, 0xFE (never in UTF-8), and a list of commands; without 0xFE the commands
 * meet a document of our own.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "base/assert.h"
#include "base/bytes.h"
#include "host/dynsec/view.h"

#include <stdlib.h>
#include <string.h>

#define COMMANDS_MAX 64u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char sample[] =
    "{\"clients\":[{\"username\":\"a\",\"roles\":[{\"rolename\":\"r\"}]},{\"username\":\"b\","
    "\"clientid\":\"c\",\"disabled\":true}],\"groups\":[{\"groupname\":\"g\",\"clients\":["
    "{\"username\":\"a\",\"priority\":2}],\"roles\":[{\"rolename\":\"s\"}]}],\"anonymousGroup\":"
    "\"g\",\"roles\":[{\"rolename\":\"r\",\"acls\":[{\"acltype\":\"publishClientSend\",\"topic\":"
    "\"a/%u/#\",\"allow\":true,\"priority\":1},{\"acltype\":\"subscribePattern\",\"topic\":\"#\","
    "\"allow\":false}]},{\"rolename\":\"s\",\"acls\":[]}]}";

static void ask(const json_t *document)
{
    static const char *const topics[] = {"a/a/b", "$CONTROL/dynamic-security/v1", "+/#", "#"};
    static const char *const names[] = {"a", "b", "nobody", ""};
    struct m5_dynsec_view *view = m5_dynsec_view_new(&m5_libc_allocator, document);
    M5_ASSERT(view != NULL);
    for (size_t i = 0; i < M5_COUNT_OF(names); i++) {
        const struct m5_principal who = {.client_id = m5_bytes_of("c"),
                                         .username = m5_bytes_of(names[i]),
                                         .anonymous = names[i][0] == 0,
                                         .proved = true};
        const bool out =
            m5_dynsec_view_welcomes(view, who.username, who.client_id) == M5_DYNSEC_DENY;
        for (size_t j = 0; j < M5_COUNT_OF(topics); j++) {
            for (unsigned action = 0; action <= M5_ACL_MAY_UNSUBSCRIBE; action++) {
                const enum m5_dynsec_verdict verdict = m5_dynsec_view_ask(
                    view, &who, (enum m5_acl_action)action, m5_bytes_of(topics[j]));
                M5_ASSERT(who.anonymous || !out || verdict == M5_DYNSEC_DENY);
            }
        }
    }
    struct m5_users *users = m5_dynsec_view_users(view);
    M5_ASSERT(users != NULL);
    m5_users_free(users);
    m5_dynsec_view_free(view);
}

/* Written and read again it is the same. */
static void check(const json_t *document)
{
    struct m5_text_error error = {0};
    char *text = json_dumps(document, 0);
    M5_ASSERT(text != NULL);
    json_t *again = m5_dynsec_read(m5_bytes_of(text), &error);
    M5_ASSERT(again != NULL && json_equal(document, again));
    json_decref(again);
    free(text);
    ask(document);
}

/* Hashing takes too long here. */
static bool has_password(const json_t *command)
{
    return json_string_length(json_object_get(command, "password")) > 0;
}

static void execute(json_t *document, struct mqtt5_bytes text)
{
    json_error_t wrong;
    json_t *commands =
        json_loadb((const char *)text.data, text.len, JSON_REJECT_DUPLICATES, &wrong);
    for (size_t i = 0; i < json_array_size(commands) && i < COMMANDS_MAX; i++) {
        const json_t *command = json_array_get(commands, i);
        bool changed = false;
        if (has_password(command))
            continue;
        json_t *before = json_deep_copy(document);
        json_t *answer = m5_dynsec_command(document, command, &changed);
        M5_ASSERT(answer != NULL && json_string_length(json_object_get(answer, "command")) > 0);
        M5_ASSERT(json_object_get(answer, "error") == NULL || !changed);
        M5_ASSERT(changed || json_equal(before, document));
        json_decref(answer);
        json_decref(before);
    }
    json_decref(commands);
    check(document);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *end = size > 0 ? memchr(data, 0xFE, size) : NULL;
    struct mqtt5_bytes text = m5_bytes_of(sample), commands = m5_bytes(data, size);
    struct m5_text_error error = {0};
    if (end != NULL) {
        text = m5_bytes(data, (size_t)(end - data));
        commands = m5_bytes(end + 1, size - text.len - 1);
    }
    json_t *document = m5_dynsec_read(text, &error);
    M5_ASSERT((document == NULL) == (error.text[0] != 0));
    if (document == NULL)
        return 0;
    check(document);
    execute(document, commands);
    json_decref(document);
    return 0;
}
