/* The offline queue in a file: what it keeps, what a crash, a flipped bit or a full disk does to
 * it. SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "support/unit.h"

#include "base/bytes.h"
#include "base/rng.h"
#include "host/client/spool.h"
#include "host/client/spool_file.h"
#include "support/seed.h"
#include "support/test_allocator.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define PATH_MAX_SIZE 200u
#define IMAGE_MAX     8192u

struct rig {
    struct test_allocator memory;
    struct m5_spool_config config;
    struct m5_spool *spool;
    char folder[PATH_MAX_SIZE / 2], path[PATH_MAX_SIZE], damaged[PATH_MAX_SIZE];
    uint64_t dropped[16];
    unsigned drops;
};

static void note_drop(void *ctx, uint64_t id)
{
    struct rig *rig = ctx;
    assert_true(rig->drops < 16);
    rig->dropped[rig->drops++] = id;
}

static void rig_init(struct rig *rig)
{
    memset(rig, 0, sizeof *rig);
    test_allocator_init(&rig->memory);
    snprintf(rig->folder, sizeof rig->folder, "/tmp/mqtt5-spool-XXXXXX");
    assert_non_null(mkdtemp(rig->folder));
    snprintf(rig->path, sizeof rig->path, "%s/queue", rig->folder);
    snprintf(rig->damaged, sizeof rig->damaged, "%s/queue.damaged", rig->folder);
    rig->config = (struct m5_spool_config){
        .allocator = &rig->memory.table,
        .path = rig->path,
        .messages_max = 1000,
        .bytes_max = 1u << 20,
        .on_drop = note_drop,
        .ctx = rig,
    };
}

static void rig_open(struct rig *rig)
{
    char why[256] = "";
    if (m5_spool_open(&rig->config, &rig->spool, why, sizeof why) != MQTT5_OK)
        fail_msg("%s", why);
}

static void rig_close(struct rig *rig)
{
    m5_spool_close(rig->spool);
    rig->spool = NULL;
    test_allocator_check(&rig->memory);
}

static void rig_reopen(struct rig *rig)
{
    rig_close(rig);
    rig_open(rig);
}

static void rig_fini(struct rig *rig)
{
    char fresh[PATH_MAX_SIZE + 8];
    rig_close(rig);
    snprintf(fresh, sizeof fresh, "%s.new", rig->path);
    assert_int_equal(access(fresh, F_OK), -1); /* nothing is left lying about */
    unlink(rig->path);
    unlink(rig->damaged);
    assert_int_equal(rmdir(rig->folder), 0);
}

static uint64_t append(struct rig *rig, const char *text)
{
    uint64_t id;
    const enum mqtt5_error error = m5_spool_append(rig->spool, m5_bytes_of(text), &id);
    if (error != MQTT5_OK)
        fail_msg("%s", m5_spool_why(rig->spool));
    return id;
}

/* All that is there, as "1:a 3*7:c ": number, mark unless 0, text. */
static const char *contents(struct rig *rig)
{
    static char out[4096];
    struct m5_spool_item item = {0};
    size_t size = 0;
    out[0] = 0;
    while (m5_spool_next(rig->spool, item.id, &item)) {
        struct mqtt5_bytes text;
        assert_int_equal(m5_spool_read(rig->spool, item.id, &text), MQTT5_OK);
        assert_int_equal(text.len, item.size);
        size += (size_t)snprintf(out + size, sizeof out - size, "%ju", (uintmax_t)item.id);
        if (item.mark != M5_SPOOL_UNMARKED)
            size += (size_t)snprintf(out + size, sizeof out - size, "*%u", item.mark);
        size += (size_t)snprintf(out + size, sizeof out - size, ":%.*s ", (int)text.len,
                                 (const char *)text.data);
    }
    return out;
}

static struct m5_spool_stats stats(const struct rig *rig)
{
    struct m5_spool_stats out;
    m5_spool_stats(rig->spool, &out);
    return out;
}

static uint64_t size_of(const char *path)
{
    struct stat status;
    assert_int_equal(stat(path, &status), 0);
    return (uint64_t)status.st_size;
}

static size_t load(const char *path, uint8_t *out)
{
    const int fd = open(path, O_RDONLY);
    assert_true(fd >= 0);
    const ssize_t size = read(fd, out, IMAGE_MAX);
    assert_true(size >= 0 && size < (ssize_t)IMAGE_MAX);
    close(fd);
    return (size_t)size;
}

static void store(const char *path, const uint8_t *bytes, size_t size)
{
    const int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes, size), (ssize_t)size);
    close(fd);
}

/* ---- what it keeps ---- */

static void test_messages_marks_and_order_survive(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig);
    rig_open(&rig);
    assert_string_equal(contents(&rig), "");
    assert_int_equal(append(&rig, "one"), 1);
    assert_int_equal(append(&rig, ""), 2);
    assert_int_equal(append(&rig, "three, of more than eight bytes"), 3);
    assert_int_equal(append(&rig, "four"), 4);
    assert_int_equal(m5_spool_mark(rig.spool, 1, 77), MQTT5_OK);
    assert_int_equal(m5_spool_mark(rig.spool, 4, M5_SPOOL_MARK_MAX), MQTT5_OK);
    assert_int_equal(m5_spool_mark(rig.spool, 4, 5), MQTT5_OK);
    assert_int_equal(m5_spool_remove(rig.spool, 2), MQTT5_OK);
    for (unsigned i = 0; i < 2; i++) {
        assert_string_equal(contents(&rig), "1*77:one 3:three, of more than eight bytes 4*5:four ");
        assert_int_equal(stats(&rig).messages, 3);
        assert_int_equal(stats(&rig).bytes, 38);
        rig_reopen(&rig);
        assert_int_equal(stats(&rig).cut_bytes, 0);
        assert_int_equal(stats(&rig).damaged_bytes, 0);
    }
    assert_int_equal(append(&rig, "five"), 5);
    assert_int_equal(size_of(rig.path), stats(&rig).file_bytes);
    struct stat status;
    assert_int_equal(stat(rig.path, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0600);
    rig_fini(&rig);
}

static void test_what_is_not_there_is_an_error(void **state)
{
    (void)state;
    struct rig rig;
    struct mqtt5_bytes text;
    rig_init(&rig);
    rig_open(&rig);
    append(&rig, "a");
    append(&rig, "b");
    assert_int_equal(m5_spool_remove(rig.spool, 1), MQTT5_OK);
    static const uint64_t ids[] = {0, 1, 3, UINT64_MAX};
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(m5_spool_read(rig.spool, ids[i], &text), MQTT5_ERR_INVALID_ARGUMENT);
        assert_int_equal(m5_spool_mark(rig.spool, ids[i], 1), MQTT5_ERR_INVALID_ARGUMENT);
        assert_int_equal(m5_spool_remove(rig.spool, ids[i]), MQTT5_ERR_INVALID_ARGUMENT);
    }
    assert_int_equal(m5_spool_mark(rig.spool, 2, UINT32_MAX), MQTT5_ERR_INVALID_ARGUMENT);
    assert_string_equal(contents(&rig), "2:b ");
    rig_fini(&rig);
}

static void test_one_at_a_time_has_the_file(void **state)
{
    (void)state;
    struct rig rig;
    struct m5_spool *second;
    char why[256];
    rig_init(&rig);
    rig_open(&rig);
    append(&rig, "mine");
    assert_int_equal(m5_spool_open(&rig.config, &second, why, sizeof why), MQTT5_ERR_INVALID_STATE);
    assert_null(second);
    assert_non_null(strstr(why, "another process is using it"));
    assert_non_null(strstr(why, rig.path));
    rig_reopen(&rig);
    assert_string_equal(contents(&rig), "1:mine ");
    rig_fini(&rig);
}

static void test_what_is_no_spool_is_left_alone(void **state)
{
    (void)state;
    struct rig rig;
    char why[256];
    uint8_t text[] =
        "Dear diary, today was a very long day, and I wrote a line that is longer than "
        "the header of a spool.";
    uint8_t after[IMAGE_MAX];
    rig_init(&rig);
    store(rig.path, text, sizeof text);
    assert_int_equal(m5_spool_open(&rig.config, &rig.spool, why, sizeof why), MQTT5_ERR_CONFIG);
    assert_non_null(strstr(why, "not a queue of messages"));
    assert_int_equal(load(rig.path, after), sizeof text);
    assert_memory_equal(after, text, sizeof text);
    store(rig.path, text, 20);
    assert_int_equal(m5_spool_open(&rig.config, &rig.spool, why, sizeof why), MQTT5_ERR_CONFIG);
    assert_int_equal(load(rig.path, after), 20);

    rig.config.path = rig.folder;
    assert_int_equal(m5_spool_open(&rig.config, &rig.spool, why, sizeof why), MQTT5_ERR_IO);
    rig.config.path = "/nowhere/at/all/queue";
    assert_int_equal(m5_spool_open(&rig.config, &rig.spool, why, sizeof why), MQTT5_ERR_IO);
    assert_string_equal(why, "/nowhere/at/all/queue: No such file or directory");
    rig.config.path = rig.path;
    rig.config.messages_max = 0;
    assert_int_equal(m5_spool_open(&rig.config, &rig.spool, NULL, 0), MQTT5_ERR_CONFIG);
    rig_fini(&rig);
}

/* ---- the limits ---- */

static void test_a_full_queue_refuses(void **state)
{
    (void)state;
    struct rig rig;
    uint64_t id;
    rig_init(&rig);
    rig.config.messages_max = 3;
    rig.config.bytes_max = 10;
    rig_open(&rig);
    append(&rig, "1234");
    append(&rig, "123456"); /* ten bytes are allowed */
    assert_int_equal(m5_spool_append(rig.spool, m5_bytes_of("x"), &id), MQTT5_ERR_QUEUE_FULL);
    assert_non_null(strstr(m5_spool_why(rig.spool), "the queue is full"));
    append(&rig, ""); /* and three messages */
    assert_int_equal(m5_spool_append(rig.spool, m5_bytes_of(""), &id), MQTT5_ERR_QUEUE_FULL);
    assert_int_equal(m5_spool_remove(rig.spool, 1), MQTT5_OK);
    append(&rig, "abcd");
    assert_string_equal(contents(&rig), "2:123456 3: 4:abcd ");
    assert_int_equal(stats(&rig).dropped, 0);
    rig_fini(&rig);
}

static void test_the_newest_is_dropped(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig);
    rig.config.messages_max = 2;
    rig.config.overflow = M5_SPOOL_DROP_NEWEST;
    rig_open(&rig);
    append(&rig, "a");
    append(&rig, "b");
    assert_int_equal(append(&rig, "c"), 0);
    assert_int_equal(stats(&rig).dropped, 1);
    assert_int_equal(m5_spool_remove(rig.spool, 1), MQTT5_OK);
    assert_int_equal(append(&rig, "d"), 3);
    assert_string_equal(contents(&rig), "2:b 3:d ");
    rig_fini(&rig);
}

static void test_the_oldest_that_were_not_sent_are_dropped(void **state)
{
    (void)state;
    struct rig rig;
    uint64_t id;
    rig_init(&rig);
    rig.config.bytes_max = 10;
    rig.config.overflow = M5_SPOOL_DROP_OLDEST;
    rig_open(&rig);
    append(&rig, "aaaa");
    append(&rig, "bb");
    append(&rig, "cc");
    append(&rig, "dd");
    assert_int_equal(m5_spool_mark(rig.spool, 1, 9), MQTT5_OK); /* sent: it stays */
    assert_int_equal(append(&rig, "eee"), 5);
    assert_string_equal(contents(&rig), "1*9:aaaa 4:dd 5:eee ");
    assert_int_equal(rig.drops, 2);
    assert_int_equal(rig.dropped[0], 2);
    assert_int_equal(rig.dropped[1], 3);
    /* What can never fit drops nobody. */
    assert_int_equal(m5_spool_append(rig.spool, m5_bytes_of("1234567"), &id), MQTT5_ERR_QUEUE_FULL);
    assert_int_equal(rig.drops, 2);
    assert_int_equal(append(&rig, "123456"), 6);
    rig_reopen(&rig);
    assert_string_equal(contents(&rig), "1*9:aaaa 6:123456 ");
    rig_fini(&rig);
}

/* Smaller limits than the last time: what is there stays. */
static void test_more_than_the_limits_may_be_found(void **state)
{
    (void)state;
    struct rig rig;
    uint64_t id;
    rig_init(&rig);
    rig_open(&rig);
    append(&rig, "a");
    append(&rig, "b");
    append(&rig, "c");
    rig.config.messages_max = 1;
    rig_reopen(&rig);
    assert_string_equal(contents(&rig), "1:a 2:b 3:c ");
    assert_int_equal(m5_spool_append(rig.spool, m5_bytes_of("d"), &id), MQTT5_ERR_QUEUE_FULL);
    rig_fini(&rig);
}

/* ---- damage ---- */

struct image {
    uint8_t bytes[IMAGE_MAX];
    size_t size;
    size_t ends[5]; /* of the file with so many messages */
};

/* Five messages, the second removed and the third marked: all that a file can hold. */
static void make_image(struct rig *rig, struct image *image)
{
    static const char *const texts[] = {"one", "two two", "three three 3", "", "five"};
    rig_open(rig);
    for (unsigned i = 0; i < 5; i++) {
        append(rig, texts[i]);
        image->ends[i] = (size_t)stats(rig).file_bytes;
    }
    assert_int_equal(m5_spool_remove(rig->spool, 2), MQTT5_OK);
    assert_int_equal(m5_spool_mark(rig->spool, 3, 6), MQTT5_OK);
    rig_close(rig);
    image->size = load(rig->path, image->bytes);
    assert_int_equal(image->size, image->ends[4]);
}

static void test_a_file_cut_anywhere_keeps_what_was_whole(void **state)
{
    (void)state;
    static const char *const whole[] = {"",
                                        "1:one ",
                                        "1:one ",
                                        "1:one 3*6:three three 3 ",
                                        "1:one 3*6:three three 3 4: ",
                                        "1:one 3*6:three three 3 4: 5:five "};
    struct rig rig;
    struct image image;
    rig_init(&rig);
    make_image(&rig, &image);
    for (size_t size = 0; size <= image.size; size++) {
        unsigned messages = 0;
        while (messages < 5 && image.ends[messages] <= size)
            messages++;
        const size_t expected_end = messages == 0 ? M5_SPOOL_HEADER_SIZE : image.ends[messages - 1];
        store(rig.path, image.bytes, size);
        rig_open(&rig);
        assert_string_equal(contents(&rig), whole[messages]);
        assert_int_equal(stats(&rig).cut_bytes,
                         size < M5_SPOOL_HEADER_SIZE ? size : size - expected_end);
        assert_int_equal(stats(&rig).damaged_bytes, 0);
        assert_int_equal(append(&rig, "more"), messages + 1);
        rig_reopen(&rig);
        assert_int_equal(stats(&rig).cut_bytes, 0);
        assert_non_null(strstr(contents(&rig), ":more "));
        assert_memory_equal(contents(&rig), whole[messages], strlen(whole[messages]));
        rig_close(&rig);
    }
    rig_fini(&rig);
}

/* Whatever bit flips, every message that is shown is one that was written, and nothing but what the
 * bit belongs to is lost. */
static void test_a_flipped_bit_costs_one_message_at_most(void **state)
{
    (void)state;
    static const char *const may_be[] = {
        "1:one 3*6:three three 3 4: 5:five ",          /* padding, or one copy of the header */
        "3*6:three three 3 4: 5:five ",                /* one is lost */
        "1:one 4: 5:five ",                            /* three is lost */
        "1:one 3*6:three three 3 5:five ",             /* four is lost */
        "1:one 3*6:three three 3 4: ",                 /* five is lost */
        "1:one 3:three three 3 4: 5:five ",            /* the mark of three is lost */
        "1:one 2:two two 3*6:three three 3 4: 5:five " /* the removal of two is lost */
    };
    unsigned seen[8] = {0};
    struct rig rig;
    struct image image;
    rig_init(&rig);
    make_image(&rig, &image);
    for (size_t bit = 0; bit < image.size * 8; bit++) {
        image.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        store(rig.path, image.bytes, image.size);
        image.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        unlink(rig.damaged);
        rig_open(&rig);
        const char *text = contents(&rig);
        const struct m5_spool_stats found = stats(&rig);
        unsigned i = 0;
        while (i < 7 && strcmp(text, may_be[i]) != 0)
            i++;
        if (i == 7)
            fail_msg("bit %zu: %s", bit, text);
        seen[i]++;
        assert_int_equal(found.damaged_marks, i >= 5 || (i == 0 && found.damaged_marks > 0));
        if (i >= 1 && i <= 3) { /* what is in the midst is kept for who wants to look */
            assert_true(found.damaged_bytes >= M5_SPOOL_RECORD_SIZE);
            assert_int_equal(size_of(rig.damaged), image.size);
        }
        if (i == 4)
            assert_true(found.cut_bytes >= M5_SPOOL_RECORD_SIZE);
        char before[256];
        snprintf(before, sizeof before, "%s", text);
        rig_reopen(&rig);
        assert_string_equal(contents(&rig), before);
        assert_int_equal(stats(&rig).damaged_bytes, 0);
        rig_close(&rig);
    }
    for (unsigned i = 0; i < 7; i++)
        assert_true(seen[i] > 0);
    rig_fini(&rig);
}

static void test_a_header_that_is_lost_twice_is_kept_for_people(void **state)
{
    (void)state;
    struct rig rig;
    struct image image;
    rig_init(&rig);
    make_image(&rig, &image);
    image.bytes[20] ^= 1;
    image.bytes[60] ^= 1;
    store(rig.path, image.bytes, image.size);
    rig_open(&rig);
    assert_string_equal(contents(&rig), "");
    assert_int_equal(stats(&rig).damaged_bytes, image.size);
    assert_int_equal(size_of(rig.damaged), image.size);
    append(&rig, "new");
    rig_reopen(&rig);
    assert_string_equal(contents(&rig), "1:new ");
    rig_fini(&rig);
}

/* Noise in the place of records, with pieces of real ones in it. */
static void test_noise_is_no_message(void **state)
{
    (void)state;
    struct rig rig;
    struct image image;
    struct m5_rng rng;
    rig_init(&rig);
    make_image(&rig, &image);
    m5_rng_init(&rng, test_seed(5));
    for (unsigned round = 0; round < 500; round++) {
        uint8_t bytes[IMAGE_MAX];
        memcpy(bytes, image.bytes, image.size);
        const size_t begin =
            M5_SPOOL_HEADER_SIZE + (size_t)m5_rng_below(&rng, image.size - M5_SPOOL_HEADER_SIZE);
        const size_t size = (size_t)m5_rng_below(&rng, image.size - begin + 1);
        const size_t from = (size_t)m5_rng_below(&rng, image.size - size + 1);
        if (round % 2 == 0)
            m5_rng_fill(&rng, bytes + begin, size);
        else
            memmove(bytes + begin, bytes + from, size);
        store(rig.path, bytes, image.size);
        rig_open(&rig);
        struct m5_spool_item item = {0};
        while (m5_spool_next(rig.spool, item.id, &item))
            assert_true(item.id >= 1 && item.id <= 5);
        rig_close(&rig);
    }
    rig_fini(&rig);
}

/* ---- a full disk ---- */

static void limit_file_size(uint64_t size)
{
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = size == 0 ? limit.rlim_max : size;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void test_a_full_disk_loses_nothing_and_keeps_nothing_from_going(void **state)
{
    (void)state;
    struct rig rig;
    uint64_t id;
    void (*const before)(int) = signal(SIGXFSZ, SIG_IGN);
    rig_init(&rig);
    rig_open(&rig);
    append(&rig, "first");
    append(&rig, "second");
    const uint64_t size = stats(&rig).file_bytes;
    for (uint64_t room = 0; room < 48; room += 7) { /* some of a record fits, not all of it */
        limit_file_size(size + room);
        const enum mqtt5_error error =
            m5_spool_append(rig.spool, m5_bytes_of("a third of 17 by."), &id);
        limit_file_size(0);
        assert_int_equal(error, MQTT5_ERR_IO);
        assert_int_equal(id, 0);
        assert_non_null(strstr(m5_spool_why(rig.spool), "File too large"));
        assert_int_equal(size_of(rig.path), size);
    }
    limit_file_size(size);
    const enum mqtt5_error marked = m5_spool_mark(rig.spool, 2, 4);
    const enum mqtt5_error removed = m5_spool_remove(rig.spool, 1);
    limit_file_size(0);
    assert_int_equal(marked, MQTT5_OK);
    assert_int_equal(removed, MQTT5_OK);
    assert_int_equal(append(&rig, "third"), 3);
    rig_reopen(&rig);
    assert_string_equal(contents(&rig), "2*4:second 3:third ");
    signal(SIGXFSZ, before);
    rig_fini(&rig);
}

/* It is given up, and what was there is there. */
static void test_a_rewrite_that_fails_is_tried_again(void **state)
{
    (void)state;
    struct rig rig;
    static char text[4097];
    char fresh[PATH_MAX_SIZE + 8];
    rig_init(&rig);
    rig.config.bytes_max = 16u << 20;
    rig_open(&rig);
    memset(text, 'x', sizeof text - 1);
    for (unsigned i = 0; i < 1000; i++)
        append(&rig, text);
    snprintf(fresh, sizeof fresh, "%s.new", rig.path);
    assert_int_equal(mkdir(fresh, 0700), 0); /* where the new file would be */
    for (uint64_t id = 1; id <= 520; id++)
        assert_int_equal(m5_spool_remove(rig.spool, id), MQTT5_OK);
    assert_int_equal(rmdir(fresh), 0);
    assert_int_equal(stats(&rig).rewrites, 0);
    assert_true(stats(&rig).file_bytes > 4000000);
    assert_int_equal(stats(&rig).messages, 480);
    rig_reopen(&rig); /* gives the space back */
    assert_int_equal(stats(&rig).rewrites, 1);
    assert_true(size_of(rig.path) < 2100000);
    assert_int_equal(stats(&rig).messages, 480);
    rig_fini(&rig);
}

static void test_after_a_failed_sync_nothing_is_taken(void **state)
{
    (void)state;
    struct rig rig;
    struct m5_spool_file file;
    enum m5_spool_found found;
    uint64_t size, offset;
    int pipe_ends[2];
    rig_init(&rig);
    assert_true(m5_spool_file_init(&file, &rig.memory.table, rig.path));
    assert_int_equal(m5_spool_file_open(&file, &found, &size), MQTT5_OK);
    assert_int_equal(m5_spool_file_append(&file, 1, 0, m5_bytes_of("a"), &offset), MQTT5_OK);
    assert_int_equal(m5_spool_file_sync(&file), MQTT5_OK);
    assert_int_equal(pipe(pipe_ends), 0);
    const int real = file.fd;
    file.fd = pipe_ends[1]; /* which cannot be synced */
    assert_int_equal(m5_spool_file_sync(&file), MQTT5_ERR_IO);
    file.fd = real;
    close(pipe_ends[0]);
    close(pipe_ends[1]);
    assert_int_equal(m5_spool_file_append(&file, 2, 0, m5_bytes_of("b"), &offset), MQTT5_ERR_IO);
    m5_spool_file_fini(&file);
    rig_open(&rig);
    assert_string_equal(contents(&rig), "1:a ");
    rig_fini(&rig);
}

/* ---- a process that is killed ---- */

/* Appends until it is killed, and writes each identifier to @p fd once it is promised. */
static void append_for_ever(struct rig *rig, int fd)
{
    rig->config.sync = true;
    if (m5_spool_open(&rig->config, &rig->spool, NULL, 0) != MQTT5_OK)
        _exit(1);
    for (;;) {
        uint64_t id;
        if (m5_spool_append(rig->spool, m5_bytes_of("promised"), &id) != MQTT5_OK ||
            write(fd, &id, sizeof id) != sizeof id)
            _exit(2);
        if (id % 3 == 0 && m5_spool_remove(rig->spool, id - 1) != MQTT5_OK)
            _exit(3);
    }
}

static void test_what_was_promised_survives_a_kill(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig);
    rig.config.messages_max = UINT32_MAX;
    uint64_t last = 0;
    for (unsigned round = 0; round < 8; round++) {
        int ends[2];
        uint64_t id = 0;
        assert_int_equal(pipe(ends), 0);
        const pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0)
            append_for_ever(&rig, ends[1]);
        close(ends[1]);
        for (unsigned i = 0; i < 10 + 17 * round; i++)
            assert_int_equal(read(ends[0], &id, sizeof id), sizeof id);
        assert_int_equal(kill(child, SIGKILL), 0);
        int status;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFSIGNALED(status));
        while (read(ends[0], &id, sizeof id) == sizeof id)
            last = id;
        close(ends[0]);
        rig_open(&rig); /* the lock has died with the process */
        assert_true(id >= last);
        struct m5_spool_item item = {0};
        uint64_t there = 0;
        while (m5_spool_next(rig.spool, item.id, &item))
            there += item.id <= id;
        /* One of three was removed, but perhaps not the last of each round. */
        assert_in_range(there, id - id / 3, id - id / 3 + round + 1);
        rig_close(&rig);
    }
    rig_fini(&rig);
}

/* ---- many ---- */

static void test_a_hundred_thousand_messages_come_and_go(void **state)
{
    (void)state;
    enum { MANY = 100000 };
    struct rig rig;
    char text[64];
    rig_init(&rig);
    rig.config.messages_max = MANY;
    rig.config.bytes_max = 1u << 30;
    rig_open(&rig);
    for (unsigned i = 1; i <= MANY; i++) {
        snprintf(text, sizeof text, "message number %u", i);
        assert_int_equal(append(&rig, text), i);
    }
    const uint64_t full = size_of(rig.path);
    rig_reopen(&rig);
    assert_int_equal(stats(&rig).messages, MANY);
    for (uint64_t id = 1; id <= MANY; id++) {
        struct mqtt5_bytes message;
        assert_int_equal(m5_spool_read(rig.spool, id, &message), MQTT5_OK);
        const int size = snprintf(text, sizeof text, "message number %u", (unsigned)id);
        assert_int_equal(message.len, size);
        assert_memory_equal(message.data, text, (size_t)size);
        if (id % 10 != 0)
            assert_int_equal(m5_spool_remove(rig.spool, id), MQTT5_OK);
        assert_true(stats(&rig).file_bytes < full + 1);
    }
    assert_int_equal(stats(&rig).messages, MANY / 10);
    assert_in_range(stats(&rig).rewrites, 1, 8);
    assert_true(size_of(rig.path) < 2 * full / 10 + (1u << 20));
    rig_reopen(&rig);
    struct m5_spool_item item = {0};
    for (uint64_t id = 10; id <= MANY; id += 10) {
        assert_true(m5_spool_next(rig.spool, item.id, &item));
        assert_int_equal(item.id, id);
        assert_int_equal(m5_spool_remove(rig.spool, id), MQTT5_OK);
    }
    assert_false(m5_spool_next(rig.spool, 0, &item));
    assert_true(size_of(rig.path) < 100000);
    rig_reopen(&rig);
    assert_int_equal(size_of(rig.path), M5_SPOOL_HEADER_SIZE);
    rig_fini(&rig);
}

/* ---- at random, against a list ---- */

#define MODEL_MAX 400u

struct model {
    uint64_t ids[MODEL_MAX];
    uint32_t marks[MODEL_MAX], sizes[MODEL_MAX];
    unsigned count;
};

static struct mqtt5_bytes message_of(uint64_t id, uint32_t size)
{
    static uint8_t bytes[20000];
    for (uint32_t i = 0; i < size; i++)
        bytes[i] = (uint8_t)(id * 31 + i * 7);
    return m5_bytes(bytes, size);
}

static void check_model(struct rig *rig, const struct model *model)
{
    struct m5_spool_item item = {0};
    for (unsigned i = 0; i < model->count; i++) {
        struct mqtt5_bytes there;
        assert_true(m5_spool_next(rig->spool, item.id, &item));
        assert_int_equal(item.id, model->ids[i]);
        assert_int_equal(item.mark, model->marks[i]);
        assert_int_equal(m5_spool_read(rig->spool, item.id, &there), MQTT5_OK);
        assert_int_equal(there.len, model->sizes[i]);
        assert_memory_equal(there.data, message_of(item.id, model->sizes[i]).data, there.len);
    }
    assert_false(m5_spool_next(rig->spool, item.id, &item));
}

static void model_step(struct rig *rig, struct model *model, struct m5_rng *rng, uint64_t *last)
{
    const uint64_t dice = m5_rng_below(rng, 100);
    const unsigned i = model->count == 0 ? 0 : (unsigned)m5_rng_below(rng, model->count);
    if (dice < 45 && model->count < MODEL_MAX) {
        const uint32_t size = (uint32_t)m5_rng_below(rng, dice == 0 ? 20000 : 3000);
        uint64_t id;
        ++*last;
        assert_int_equal(m5_spool_append(rig->spool, message_of(*last, size), &id), MQTT5_OK);
        if (model->count == 0) /* after an opening it may count anew */
            *last = id;
        assert_int_equal(id, *last);
        model->ids[model->count] = id;
        model->marks[model->count] = 0;
        model->sizes[model->count++] = size;
    } else if (dice < 80 && model->count > 0) {
        const unsigned gone = dice < 60 ? 0 : i;
        assert_int_equal(m5_spool_remove(rig->spool, model->ids[gone]), MQTT5_OK);
        for (unsigned k = gone + 1; k < model->count; k++) {
            model->ids[k - 1] = model->ids[k];
            model->marks[k - 1] = model->marks[k];
            model->sizes[k - 1] = model->sizes[k];
        }
        model->count--;
    } else if (dice < 97 && model->count > 0) {
        model->marks[i] = (uint32_t)m5_rng_below(rng, 1000);
        assert_int_equal(m5_spool_mark(rig->spool, model->ids[i], model->marks[i]), MQTT5_OK);
    } else {
        rig_reopen(rig);
        check_model(rig, model);
    }
}

static void test_it_is_what_a_list_would_be(void **state)
{
    (void)state;
    struct rig rig;
    struct m5_rng rng;
    static struct model model;
    uint64_t last = 0;
    uint32_t rewrites = 0;
    rig_init(&rig);
    rig.config.bytes_max = 64u << 20;
    rig_open(&rig);
    m5_rng_init(&rng, test_seed(17));
    for (unsigned round = 0; round < 12000; round++) {
        /* A message written for `last` is compared with one made for its id: keep them the same. */
        if (model.count == 0) {
            rig_reopen(&rig);
            last = 0;
        }
        model_step(&rig, &model, &rng, &last);
        rewrites = stats(&rig).rewrites > rewrites ? stats(&rig).rewrites : rewrites;
    }
    check_model(&rig, &model);
    assert_true(rewrites > 0);
    rig_fini(&rig);
}

/* ---- without memory ---- */

static void test_without_memory_nothing_changes(void **state)
{
    (void)state;
    struct rig rig;
    uint64_t id;
    rig_init(&rig);
    rig_open(&rig);
    append(&rig, "a");
    rig_close(&rig);
    enum mqtt5_error error;
    uint64_t nth = 0;
    do {
        test_allocator_fail_nth(&rig.memory, ++nth);
        error = m5_spool_open(&rig.config, &rig.spool, NULL, 0);
        assert_int_equal(error, test_allocator_failed(&rig.memory) ? MQTT5_ERR_NOMEM : MQTT5_OK);
        if (error != MQTT5_OK)
            test_allocator_check(&rig.memory);
    } while (error != MQTT5_OK);
    assert_true(nth > 3);
    test_allocator_fail_nth(&rig.memory, 0);
    assert_string_equal(contents(&rig), "1:a ");
    static char large[100000];
    memset(large, 'l', sizeof large - 1);
    test_allocator_fail_nth(&rig.memory, 1);
    assert_int_equal(m5_spool_append(rig.spool, m5_bytes_of(large), &id), MQTT5_ERR_NOMEM);
    assert_string_equal(contents(&rig), "1:a ");
    test_allocator_fail_nth(&rig.memory, 0);
    assert_int_equal(append(&rig, "b"), 2);
    rig_reopen(&rig);
    assert_string_equal(contents(&rig), "1:a 2:b ");
    rig_fini(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_messages_marks_and_order_survive),
        cmocka_unit_test(test_what_is_not_there_is_an_error),
        cmocka_unit_test(test_one_at_a_time_has_the_file),
        cmocka_unit_test(test_what_is_no_spool_is_left_alone),
        cmocka_unit_test(test_a_full_queue_refuses),
        cmocka_unit_test(test_the_newest_is_dropped),
        cmocka_unit_test(test_the_oldest_that_were_not_sent_are_dropped),
        cmocka_unit_test(test_more_than_the_limits_may_be_found),
        cmocka_unit_test(test_a_file_cut_anywhere_keeps_what_was_whole),
        cmocka_unit_test(test_a_flipped_bit_costs_one_message_at_most),
        cmocka_unit_test(test_a_header_that_is_lost_twice_is_kept_for_people),
        cmocka_unit_test(test_noise_is_no_message),
        cmocka_unit_test(test_a_full_disk_loses_nothing_and_keeps_nothing_from_going),
        cmocka_unit_test(test_a_rewrite_that_fails_is_tried_again),
        cmocka_unit_test(test_after_a_failed_sync_nothing_is_taken),
        cmocka_unit_test(test_what_was_promised_survives_a_kill),
        cmocka_unit_test(test_a_hundred_thousand_messages_come_and_go),
        cmocka_unit_test(test_it_is_what_a_list_would_be),
        cmocka_unit_test(test_without_memory_nothing_changes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
