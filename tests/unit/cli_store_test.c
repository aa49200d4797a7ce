/* `mqttv5 store`: what it prints of a store, and its exit codes.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "base/bytes.h"
#include "broker/journal.h"
#include "broker/record.h"
#include "cli/command.h"
#include "host/store/store.h"
#include "support/test_allocator.h"
#include "support/unit.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct fixture {
    char dir[64], copy[80], output[80], text[4096];
    struct test_allocator allocator;
};

static void remove_files(const char *dir)
{
    static const char *const names[] = {"data.mdb", "lock.mdb", "lock"};
    char path[256];
    for (unsigned i = 0; i < sizeof names / sizeof names[0]; i++) {
        snprintf(path, sizeof path, "%s/%s", dir, names[i]);
        unlink(path);
    }
    rmdir(dir);
}

/* A store with a session of client "a\nb", its subscription, and a record without sense. */
static void make_store(struct fixture *fixture, bool senseless)
{
    test_allocator_init(&fixture->allocator);
    const struct mqtt5_allocator *allocator = &fixture->allocator.table;
    const struct m5_store_options options = {.dir = fixture->dir, .shards = 1};
    struct m5_store_report report;
    struct m5_store *store;
    assert_int_equal(m5_store_open(&options, &store, &report), MQTT5_OK);
    const struct m5_session_record session = {.client_id = m5_bytes_of("a\nb"), .anonymous = true};
    const struct m5_subscription_record subscription = {.filter = m5_bytes_of("x/#"), .qos = 1};
    const struct m5_record_key keys[] = {m5_key_of(M5_RECORD_SESSION, 7, 0),
                                         m5_key_of(M5_RECORD_SUBSCRIPTION, 7, 3),
                                         m5_key_of(M5_RECORD_WILL, 7, 0)};
    const size_t sizes[] = {m5_session_record_size(&session),
                            m5_subscription_record_size(&subscription), 1};
    struct m5_batch *batches[3] = {NULL};
    for (unsigned i = 0; i < (senseless ? 3 : 2); i++) {
        uint8_t *value;
        batches[i] =
            m5_batch_single(allocator, M5_STORE_PUT, m5_key_bytes(&keys[i]), sizes[i], &value);
        assert_non_null(batches[i]);
        if (i == 0)
            m5_session_record_write(&session, value);
        else if (i == 1)
            m5_subscription_record_write(&subscription, value);
        else
            *value = 1;
        batches[i]->position = i + 1;
        m5_store_submit(store, batches[i]);
    }
    assert_int_equal(m5_store_start(store), MQTT5_OK);
    assert_int_equal(m5_store_stop(store, 5000), MQTT5_OK);
    for (struct m5_batch *batch = m5_store_take(store, 0), *next; batch != NULL; batch = next) {
        next = batch->next;
        m5_batch_free(allocator, batch);
    }
    m5_store_free(store);
    test_allocator_check(&fixture->allocator);
}

static void start(struct fixture *fixture, bool senseless)
{
    *fixture = (struct fixture){.dir = "/tmp/m5-cli-store-XXXXXX"};
    assert_non_null(mkdtemp(fixture->dir));
    snprintf(fixture->copy, sizeof fixture->copy, "%s-copy", fixture->dir);
    snprintf(fixture->output, sizeof fixture->output, "%s-output", fixture->dir);
    make_store(fixture, senseless);
}

static void stop(struct fixture *fixture)
{
    remove_files(fixture->dir);
    remove_files(fixture->copy);
    unlink(fixture->output);
}

static const char *environment(const char *name)
{
    return getenv(name);
}

/* Runs the command; its exit code, and what it printed in fixture->text. */
static int run(struct fixture *fixture, const char *action, const char *dir, const char *more)
{
    char *argv[] = {(char *)(uintptr_t)action, (char *)(uintptr_t)dir, (char *)(uintptr_t)more,
                    NULL};
    char error[512];
    struct cli_call call;
    const int argc = dir == NULL ? 1 : more == NULL ? 2 : 3;
    fflush(stdout);
    const int before = dup(STDOUT_FILENO);
    const int fd = open(fixture->output, O_CREAT | O_TRUNC | O_RDWR, 0600);
    assert_true(before >= 0 && fd >= 0);
    dup2(fd, STDOUT_FILENO);
    const int code = cli_parse(&cmd_store, argc, argv, environment, &call, error, sizeof error)
                         ? cmd_store.run(&call)
                         : CLI_USAGE;
    fflush(stdout);
    dup2(before, STDOUT_FILENO);
    cli_call_free(&call);
    const ssize_t size = pread(fd, fixture->text, sizeof fixture->text - 1, 0);
    assert_true(size >= 0);
    fixture->text[size] = 0;
    close(before);
    close(fd);
    return code;
}

static void a_good_store_is_checked_counted_and_printed(void **state)
{
    (void)state;
    struct fixture fixture;
    start(&fixture, false);
    assert_int_equal(run(&fixture, "check", fixture.dir, NULL), CLI_OK);
    assert_non_null(strstr(fixture.text, "good: 2 records"));
    assert_int_equal(run(&fixture, "check", fixture.dir, "--json"), CLI_OK);
    assert_non_null(strstr(fixture.text, "{\"good\":true,\"records\":2,"));
    assert_int_equal(run(&fixture, "stats", fixture.dir, "--json"), CLI_OK);
    assert_non_null(strstr(fixture.text, "\"session\":{\"count\":1,"));
    assert_non_null(strstr(fixture.text, "\"subscription\":{\"count\":1,"));
    assert_int_equal(run(&fixture, "dump", fixture.dir, NULL), CLI_OK);
    assert_non_null(strstr(fixture.text, "session session=7 client=\"a\\nb\""));
    assert_non_null(strstr(fixture.text, "\nsubscription session=7 number=3 filter=\"x/#\" qos=1"));
    assert_int_equal(run(&fixture, "dump", fixture.dir, "--json"), CLI_OK);
    assert_non_null(
        strstr(fixture.text, "{\"kind\":\"session\",\"session\":7,\"client\":\"a\\nb\""));
    stop(&fixture);
}

static void a_record_without_sense_is_found(void **state)
{
    (void)state;
    struct fixture fixture;
    start(&fixture, true);
    assert_int_equal(run(&fixture, "check", fixture.dir, "--json"), CLI_FAILED);
    assert_non_null(strstr(fixture.text, "{\"good\":false,\"records\":3,"));
    assert_int_equal(run(&fixture, "dump", fixture.dir, NULL), CLI_FAILED);
    assert_non_null(strstr(fixture.text, "will session=7 damaged=value"));
    stop(&fixture);
}

static void a_backup_is_a_store_and_is_not_overwritten(void **state)
{
    (void)state;
    struct fixture fixture;
    start(&fixture, false);
    assert_int_equal(run(&fixture, "backup", fixture.dir, fixture.copy), CLI_OK);
    assert_int_equal(run(&fixture, "check", fixture.copy, NULL), CLI_OK);
    assert_non_null(strstr(fixture.text, "good: 2 records"));
    assert_int_equal(run(&fixture, "backup", fixture.dir, fixture.copy), CLI_FAILED);
    stop(&fixture);
}

static void a_damaged_store_fails_the_check(void **state)
{
    (void)state;
    struct fixture fixture;
    char path[128];
    start(&fixture, false);
    snprintf(path, sizeof path, "%s/data.mdb", fixture.dir);
    assert_int_equal(truncate(path, 5000), 0);
    assert_int_equal(run(&fixture, "check", fixture.dir, "--json"), CLI_FAILED);
    assert_non_null(strstr(fixture.text, "\"good\":false"));
    assert_int_equal(run(&fixture, "backup", fixture.dir, fixture.copy), CLI_FAILED);
    assert_int_not_equal(access(fixture.copy, F_OK), 0);
    stop(&fixture);
}

static void wrong_usage_is_told_apart(void **state)
{
    (void)state;
    struct fixture fixture;
    start(&fixture, false);
    assert_int_equal(run(&fixture, "check", NULL, NULL), CLI_USAGE);
    assert_int_equal(run(&fixture, "look", fixture.dir, NULL), CLI_USAGE);
    assert_int_equal(run(&fixture, "backup", fixture.dir, NULL), CLI_USAGE);
    assert_int_equal(run(&fixture, "check", "/nowhere/at/all", NULL), CLI_FAILED);
    stop(&fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_good_store_is_checked_counted_and_printed),
        cmocka_unit_test(a_record_without_sense_is_found),
        cmocka_unit_test(a_backup_is_a_store_and_is_not_overwritten),
        cmocka_unit_test(a_damaged_store_fails_the_check),
        cmocka_unit_test(wrong_usage_is_told_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
