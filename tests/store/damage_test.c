/* A store that was damaged in every way we could think of: never a crash, never a wrong record.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "base/bytes.h"
#include "base/rng.h"
#include "host/store/state.h"
#include "store/rig.h"
#include "support/seed.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* A file in memory. */
struct content {
    char name[64];
    uint8_t *bytes;
    size_t size;
};

/* The files of a good store, and what is in it. */
struct original {
    struct content files[8];
    unsigned count;
    struct model model;      /* everything */
    struct model in_the_map; /* what the log did not add */
};

static void read_file(const char *path, struct content *out)
{
    const int fd = open(path, O_RDONLY);
    struct stat status;
    assert_true(fd >= 0);
    assert_int_equal(fstat(fd, &status), 0);
    out->size = (size_t)status.st_size;
    out->bytes = malloc(out->size + 1);
    assert_non_null(out->bytes);
    assert_int_equal(read(fd, out->bytes, out->size), out->size);
    close(fd);
}

static void write_file(const char *path, const uint8_t *bytes, size_t size)
{
    const int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes, size), size);
    close(fd);
}

static void take_files(const struct rig *rig, struct original *out)
{
    DIR *dir = opendir(rig->dir);
    char path[256];
    assert_non_null(dir);
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        if (strcmp(entry->d_name, "data.mdb") != 0 && strncmp(entry->d_name, "log-", 4) != 0)
            continue;
        struct content *file = &out->files[out->count++];
        snprintf(file->name, sizeof file->name, "%.60s", entry->d_name);
        rig_path(rig, entry->d_name, path);
        read_file(path, file);
    }
    closedir(dir);
}

static struct content *file_named(struct original *original, const char *prefix)
{
    for (unsigned i = 0; i < original->count; i++) {
        if (strncmp(original->files[i].name, prefix, strlen(prefix)) == 0)
            return &original->files[i];
    }
    fail();
    return NULL;
}

static void put_files(const struct rig *rig, const struct original *original)
{
    char path[256];
    remove_folder(rig->dir);
    assert_int_equal(mkdir(rig->dir, 0700), 0);
    for (unsigned i = 0; i < original->count; i++) {
        rig_path(rig, original->files[i].name, path);
        write_file(path, original->files[i].bytes, original->files[i].size);
    }
}

static struct m5_batch *filler(unsigned from, unsigned to, struct model *model)
{
    struct m5_batch *batch = batch_new(0, true);
    uint8_t value[9000];
    for (unsigned i = from; i < to; i++) {
        char key[32];
        snprintf(key, sizeof key, "k%05u", i);
        memset(value, (int)(i % 251), sizeof value);
        const size_t size = i % 40 == 0 ? 9000 - i % 1000 : i % 70;
        batch_add(batch, i % 7 == 3 ? M5_STORE_DELETE : M5_STORE_PUT, m5_bytes_of(key),
                  m5_bytes(value, i % 7 == 3 ? 0 : size));
    }
    model_apply(model, batch);
    return batch;
}

/* A store with a map of some depth and free pages, and a log of three groups after it. */
static void make_original(struct rig *rig, struct original *out)
{
    *out = (struct original){0};
    rig->options.apply_ms = 60000;
    assert_int_equal(rig_open(rig), MQTT5_OK);
    rig_store(rig, filler(0, 3000, &out->in_the_map));
    rig_close(rig);
    assert_int_equal(rig_open(rig), MQTT5_OK);
    rig_store(rig, filler(1003, 2100, &out->in_the_map));
    rig_close(rig);
    assert_int_equal(rig_open(rig), MQTT5_OK);
    for (size_t i = 0; i < out->in_the_map.count; i++) {
        const struct model_entry *entry = &out->in_the_map.entries[i];
        model_put(&out->model, m5_bytes(entry->key, entry->key_size),
                  m5_bytes(entry->value, entry->value_size));
    }
    for (unsigned i = 0; i < 3; i++)
        rig_store(rig, filler(3000 + i * 100, 3100 + i * 100, &out->model));
    rig_abandon(rig);
    take_files(rig, out);
    assert_int_equal(out->count, 2);
}

static void free_original(struct original *original)
{
    for (unsigned i = 0; i < original->count; i++)
        free(original->files[i].bytes);
    model_free(&original->model);
    model_free(&original->in_the_map);
}

enum found { FOUND_ALL, FOUND_MAP_ASIDE, FOUND_LOG_ASIDE };

/* Opens the store as it is now: it must open, say what it set aside, hold nothing that was not
 * there, and work. */
static enum found open_damaged(struct rig *rig, const struct original *original)
{
    rig->options.damaged = MQTT5_STORAGE_SET_ASIDE;
    const enum mqtt5_error error = rig_open_only(rig);
    if (error != MQTT5_OK)
        fail_msg("%s", rig->report.why);
    struct model found = rig_load(rig);
    const unsigned maps = rig_count_files(rig, "data.mdb.damaged-");
    const unsigned logs = rig_count_files(rig, "log-0000000000000003.damaged-");
    enum found result = FOUND_ALL;
    assert_int_equal(rig->report.damage[0] != 0, maps + logs > 0);
    if (maps > 0) {
        assert_int_equal(found.count, 0);
        result = FOUND_MAP_ASIDE;
    } else if (logs > 0) {
        assert_true(found.count >= original->in_the_map.count);
        assert_true(found.count < original->model.count);
        result = FOUND_LOG_ASIDE;
    } else if (found.count == original->in_the_map.count + 86u * 2) {
        result = FOUND_LOG_ASIDE; /* the last group was cut short, as a crash could have done */
    } else {
        assert_true(model_digest(&found) == model_digest(&original->model));
    }
    model_free(&found);
    rig_start(rig);
    struct m5_batch *batch = batch_new(0, true);
    batch_text(batch, M5_STORE_PUT, "k", "life goes on");
    rig_store(rig, batch);
    rig_close(rig);
    return result;
}

/* When damage is to be refused it is, and nothing is renamed. */
static void expect_refusal(struct rig *rig)
{
    rig->options.damaged = MQTT5_STORAGE_REFUSE;
    assert_int_equal(rig_open_only(rig), MQTT5_ERR_CONFIG);
    assert_non_null(strstr(rig->report.why, "is damaged"));
    assert_int_equal(rig_count_files(rig, "data.mdb.damaged-"), 0);
    assert_int_equal(rig_count_files(rig, "data.mdb"), 1);
}

static void a_truncated_map_is_set_aside(void **state)
{
    (void)state;
    struct rig rig;
    struct original original;
    rig_init(&rig);
    make_original(&rig, &original);
    const struct content *map = file_named(&original, "data.mdb");
    char path[256];
    rig_path(&rig, "data.mdb", path);
    unsigned aside = 0;
    for (size_t size = 0; size < map->size; size += size < 20000 ? 1024 + 64 : 40960 + 100) {
        put_files(&rig, &original);
        assert_int_equal(truncate(path, (off_t)size), 0);
        expect_refusal(&rig);
        aside += open_damaged(&rig, &original) == FOUND_MAP_ASIDE;
    }
    assert_true(aside > 15);
    free_original(&original);
    rig_fini(&rig);
}

/* Bytes of the numbers of the last transaction in meta pages: without them LMDB goes by the
 * transaction before, which is a state that was. */
static bool is_transaction_number(size_t at)
{
    return at % 4096 >= 144 && at % 4096 < 152 && at < 8192;
}

static void a_flipped_bit_is_found_or_does_not_matter(void **state)
{
    (void)state;
    struct rig rig;
    struct original original;
    struct m5_rng rng;
    rig_init(&rig);
    make_original(&rig, &original);
    m5_rng_init(&rng, test_seed(3));
    struct content *map = file_named(&original, "data.mdb");
    unsigned aside = 0;
    for (unsigned i = 0; i < 600 / RIG_SLOWER; i++) {
        const size_t at = i < 400
                              ? m5_rng_below(&rng, 8192) % 4096 % 256 + 4096 * m5_rng_below(&rng, 2)
                              : (size_t)m5_rng_below(&rng, map->size);
        const uint8_t bit = (uint8_t)(1u << m5_rng_below(&rng, 8));
        if (is_transaction_number(at))
            continue;
        map->bytes[at] ^= bit;
        put_files(&rig, &original);
        aside += open_damaged(&rig, &original) == FOUND_MAP_ASIDE;
        map->bytes[at] ^= bit;
    }
    assert_true(aside > (RIG_SLOWER > 1 ? 0 : 40)); /* a quarter of them as a rule */
    free_original(&original);
    rig_fini(&rig);
}

static void overwritten_pages_are_found_or_do_not_matter(void **state)
{
    (void)state;
    struct rig rig;
    struct original original;
    struct m5_rng rng;
    rig_init(&rig);
    make_original(&rig, &original);
    m5_rng_init(&rng, test_seed(4));
    struct content *map = file_named(&original, "data.mdb");
    const size_t pages = map->size / 4096;
    uint8_t saved[4096];
    unsigned aside = 0;
    for (unsigned i = 0; i < 150 / RIG_SLOWER; i++) {
        uint8_t *page = map->bytes + 4096 * m5_rng_below(&rng, pages);
        memcpy(saved, page, sizeof saved);
        if (i % 3 == 0)
            memset(page, 0, sizeof saved);
        else if (i % 3 == 1)
            m5_rng_fill(&rng, page, sizeof saved);
        else
            memcpy(page, map->bytes + 4096 * m5_rng_below(&rng, pages), sizeof saved);
        put_files(&rig, &original);
        aside += open_damaged(&rig, &original) == FOUND_MAP_ASIDE;
        memcpy(page, saved, sizeof saved);
    }
    assert_true(aside > 50 / RIG_SLOWER);
    free_original(&original);
    rig_fini(&rig);
}

static void what_is_not_a_map_is_set_aside(void **state)
{
    (void)state;
    struct rig rig;
    struct original original;
    char path[256];
    rig_init(&rig);
    make_original(&rig, &original);
    rig_path(&rig, "data.mdb", path);
    for (unsigned kind = 0; kind < 5; kind++) {
        put_files(&rig, &original);
        assert_int_equal(unlink(path), 0);
        uint8_t garbage[100000];
        memset(garbage, 'x', sizeof garbage);
        switch (kind) {
        case 0: write_file(path, garbage, 0); break;
        case 1: write_file(path, garbage, sizeof garbage); break;
        case 2: assert_int_equal(mkdir(path, 0700), 0); break;
        case 3: assert_int_equal(mkfifo(path, 0600), 0); break;
        default: assert_int_equal(symlink("elsewhere", path), 0); break;
        }
        expect_refusal(&rig);
        assert_int_equal(open_damaged(&rig, &original), FOUND_MAP_ASIDE);
    }
    free_original(&original);
    rig_fini(&rig);
}

static void what_was_set_aside_is_never_overwritten(void **state)
{
    (void)state;
    struct rig rig;
    struct original original;
    char path[256];
    rig_init(&rig);
    make_original(&rig, &original);
    rig_path(&rig, "data.mdb", path);
    for (unsigned i = 1; i <= 5; i++) {
        write_file(path, (const uint8_t *)"damaged", 7);
        assert_int_equal(rig_open(&rig), MQTT5_OK);
        rig_close(&rig);
        assert_int_equal(rig_count_files(&rig, "data.mdb.damaged-"), i);
    }
    free_original(&original);
    rig_fini(&rig);
}

/* ---- the log ---- */

static void a_log_cut_at_its_end_is_what_a_crash_leaves(void **state)
{
    (void)state;
    struct rig rig;
    struct original original;
    char path[256];
    rig_init(&rig);
    make_original(&rig, &original);
    struct content *log = file_named(&original, "log-");
    rig_path(&rig, log->name, path);
    /* Where the last group ends: what follows is zeros. */
    size_t end = log->size;
    while (end > 0 && log->bytes[end - 1] == 0)
        end--;
    put_files(&rig, &original);
    assert_int_equal(truncate(path, (off_t)end), 0);
    assert_int_equal(open_damaged(&rig, &original), FOUND_ALL);
    put_files(&rig, &original);
    assert_int_equal(truncate(path, (off_t)end - 1), 0);
    rig.options.damaged = MQTT5_STORAGE_REFUSE;
    assert_int_equal(rig_open_only(&rig), MQTT5_OK);
    assert_int_equal(rig.report.replayed, 2);
    rig_close(&rig);
    free_original(&original);
    rig_fini(&rig);
}

static void a_log_damaged_before_its_end_is_set_aside(void **state)
{
    (void)state;
    struct rig rig;
    struct original original;
    struct m5_rng rng;
    rig_init(&rig);
    make_original(&rig, &original);
    m5_rng_init(&rng, test_seed(5));
    struct content *log = file_named(&original, "log-");
    unsigned aside = 0;
    for (unsigned i = 0; i < 600 / RIG_SLOWER; i++) {
        const size_t at = (size_t)m5_rng_below(&rng, i % 3 == 0 ? 64 : log->size);
        const uint8_t bit = (uint8_t)(1u << m5_rng_below(&rng, 8));
        log->bytes[at] ^= bit;
        put_files(&rig, &original);
        aside += open_damaged(&rig, &original) == FOUND_LOG_ASIDE;
        log->bytes[at] ^= bit;
    }
    assert_true(aside > 50 / RIG_SLOWER);
    free_original(&original);
    rig_fini(&rig);
}

static void a_log_that_does_not_follow_the_map_is_set_aside(void **state)
{
    (void)state;
    struct rig rig;
    struct original original;
    char path[256], other[256];
    rig_init(&rig);
    make_original(&rig, &original);
    const struct content *log = file_named(&original, "log-");
    /* Its first segment is missing. */
    put_files(&rig, &original);
    rig_path(&rig, log->name, path);
    rig_path(&rig, "log-0000000000000009", other);
    assert_int_equal(rename(path, other), 0);
    assert_int_equal(rig_open_only(&rig), MQTT5_OK);
    assert_non_null(strstr(rig.report.damage, "starts with group 9"));
    rig_close(&rig);
    rig_expect(&rig, &original.in_the_map);
    /* There is no map. */
    put_files(&rig, &original);
    rig_path(&rig, "data.mdb", path);
    assert_int_equal(unlink(path), 0);
    rig.options.damaged = MQTT5_STORAGE_REFUSE;
    assert_int_equal(rig_open_only(&rig), MQTT5_ERR_CONFIG);
    rig.options.damaged = MQTT5_STORAGE_SET_ASIDE;
    assert_int_equal(rig_open_only(&rig), MQTT5_OK);
    assert_non_null(strstr(rig.report.damage, "no map"));
    rig_close(&rig);
    assert_int_equal(rig_count_files(&rig, "log-0000000000000003.damaged-"), 1);
    free_original(&original);
    rig_fini(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_truncated_map_is_set_aside),
        cmocka_unit_test(a_flipped_bit_is_found_or_does_not_matter),
        cmocka_unit_test(overwritten_pages_are_found_or_do_not_matter),
        cmocka_unit_test(what_is_not_a_map_is_set_aside),
        cmocka_unit_test(what_was_set_aside_is_never_overwritten),
        cmocka_unit_test(a_log_cut_at_its_end_is_what_a_crash_leaves),
        cmocka_unit_test(a_log_damaged_before_its_end_is_set_aside),
        cmocka_unit_test(a_log_that_does_not_follow_the_map_is_set_aside),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
