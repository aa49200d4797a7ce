/* Every number of the schema at its least, its most and 0: an engine starts with it, serves, and
 * time passes.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "base/bytes.h"
#include "host/auth/text.h"
#include "host/config/config.h"
#include "host/config/data.h"
#include "support/engine_peer.h"

#include "support/unit.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static struct engine_rig *rig;

/* Whatever the limits say: nothing may break, and the engine still answers. */
static void serve(const struct mqtt5_broker_config *config)
{
    engine_rig_init(rig, 2);
    rig->config = *config;
    rig->config.allow_anonymous = true;
    engine_rig_start(rig);
    static const uint8_t versions[] = {MQTT5_VERSION_5, MQTT5_VERSION_3_1_1};
    for (size_t i = 0; i < 2; i++) {
        struct engine_peer *peer = guest_open(rig, versions[i]);
        const struct mqtt5_connect connect = guest_connect_packet(versions[i], "c");
        if (guest_say_connect(peer, &connect) == 0) {
            for (uint8_t qos = 0; qos < 3 && !peer->closed; qos++)
                guest_subscribe(peer, "a/+", qos);
            for (uint8_t qos = 0; qos < 3 && !peer->closed; qos++)
                guest_publish(peer, "a/b", "hello", qos);
            if (!peer->closed)
                guest_retain(peer, "a/r", "kept", 0);
            engine_advance(rig, 5000);
        }
        if (peer->used)
            guest_lose(peer);
    }
    engine_advance(rig, 120000);
    engine_rig_fini(rig);
}

/* Sets @p key to @p number in a fresh configuration; NULL when that is refused. */
static struct m5_config *with(const struct m5_key *key, uint64_t number)
{
    char text[M5_VALUE_TEXT_SIZE];
    const char *const texts[] = {text};
    struct m5_problems problems;
    m5_problems_init(&problems);
    struct m5_config *config = m5_config_new(&m5_libc_allocator);
    assert_non_null(config);
    m5_value_write(number, m5_key_unit(key->type), text);
    bool ok = m5_config_set(config, key->flag, texts, 1, key->flag, &problems);
    ok = ok && mqtt5_broker_config_check(&config->options.config, NULL) == MQTT5_OK;
    m5_problems_fini(&problems);
    if (ok)
        return config;
    m5_config_free(config);
    return NULL;
}

static bool is_number(enum m5_key_type type)
{
    return type == M5_KEY_INTEGER || type == M5_KEY_SECONDS || type == M5_KEY_MILLISECONDS ||
           type == M5_KEY_SIZE;
}

static void try_number(const struct m5_key *key, uint64_t number, bool allowed)
{
    struct m5_config *config = with(key, number);
    if ((config != NULL) != allowed)
        fail_msg("%s: %" PRIu64 " is %s", key->name, number, allowed ? "refused" : "taken");
    if (config != NULL)
        serve(&m5_config_options(config)->config);
    m5_config_free(config);
}

static void try_key(void *ctx, const struct m5_key *key, const char *group)
{
    unsigned *count = (unsigned *)ctx;
    (void)group;
    if (!is_number(key->type))
        return;
    ++*count;
    try_number(key, key->least, true);
    try_number(key, key->most, true);
    if (key->least > 0) {
        try_number(key, 0, false);
        try_number(key, key->least - 1, false);
    }
    if (key->most < UINT64_MAX)
        try_number(key, key->most + 1, false);
}

static void case_30_every_number_at_its_ends_serves(void **state)
{
    (void)state;
    unsigned count = 0;
    rig = malloc(sizeof *rig);
    assert_non_null(rig);
    m5_schema_flags(try_key, &count);
    assert_true(count >= 25);
    free(rig);
}

/* All of them at once: the tightest broker and the loosest. */
static void collect(void *ctx, const struct m5_key *key, const char *group)
{
    struct m5_config *config = (struct m5_config *)ctx;
    char text[M5_VALUE_TEXT_SIZE];
    const char *const texts[] = {text};
    struct m5_problems problems;
    (void)group;
    if (!is_number(key->type))
        return;
    m5_problems_init(&problems);
    m5_value_write(config->watch_files ? key->least : key->most, m5_key_unit(key->type), text);
    assert_true(m5_config_set(config, key->flag, texts, 1, key->flag, &problems));
    m5_problems_fini(&problems);
}

static void case_30_all_numbers_at_one_end_serve(void **state)
{
    (void)state;
    rig = malloc(sizeof *rig);
    assert_non_null(rig);
    for (int least = 0; least < 2; least++) {
        struct m5_config *config = m5_config_new(&m5_libc_allocator);
        const char *why;
        assert_non_null(config);
        config->watch_files = least == 1; /* tells collect() which end */
        m5_schema_flags(collect, config);
        assert_int_equal(mqtt5_broker_config_check(&config->options.config, &why), MQTT5_OK);
        serve(&config->options.config);
        m5_config_free(config);
    }
    free(rig);
}

/* ---- what can change while the broker runs ---- */

/* Fields of the engine's configuration that it takes while it runs. */
static const struct {
    size_t begin, end;
} live[] = {
#define X(field)                                        \
    {offsetof(struct m5_config, options.config.field),  \
     offsetof(struct m5_config, options.config.field) + \
         sizeof(((struct mqtt5_broker_config *)NULL)->field)},
    M5_CONFIG_LIVE(X)
#undef X
};

static void check_liveness(void *ctx, const char *path, const struct m5_key *key, const void *base)
{
    const struct m5_config *config = (const struct m5_config *)ctx;
    const char *field = (const char *)base + key->offset, *start = (const char *)config;
    const char *engine = (const char *)&config->options.config;
    bool is_live = false;
    if (field < engine || field >= engine + sizeof config->options.config)
        return;
    for (size_t i = 0; i < sizeof live / sizeof *live; i++)
        is_live = is_live || (field >= start + live[i].begin && field < start + live[i].end);
    if (is_live == key->needs_restart)
        fail_msg("%s %s, says the engine", path, is_live ? "counts at once" : "needs a restart");
}

static void the_schema_knows_what_needs_a_restart(void **state)
{
    (void)state;
    struct m5_config *config = m5_config_new(&m5_libc_allocator);
    assert_non_null(config);
    m5_config_walk(config, check_liveness, config);
    m5_config_free(config);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(case_30_every_number_at_its_ends_serves),
        cmocka_unit_test(case_30_all_numbers_at_one_end_serve),
        cmocka_unit_test(the_schema_knows_what_needs_a_restart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
