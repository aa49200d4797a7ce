/* Walks an LMDB file, as the format of LMDB 0.9 has it on machines with 64 bits, little-endian.
 *
 * Page 0 and 1 are meta pages, for even and for odd transactions: the one with the higher number
 * counts, the other is that of the transaction before. Each names two trees, that of free pages and
 * that of records.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "host/store/pages.h"

#include "base/bytes.h"
#include "broker/store.h"
#include "host/store/crc.h"
#include "host/store/folder.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define META_MAGIC   0xBEEFC0DEu
#define META_VERSION 1u
#define PAGE_HEADER  16u
#define NO_PAGE      UINT64_MAX
#define DEPTH_MAX    32u

/* A transaction may take pages at the end and leave them again: they are free, and never written.
 * It has at most 2^17 pages at a time. */
#define PAGES_UNWRITTEN (1u << 20)

#define PAGE_BRANCH   0x01u
#define PAGE_LEAF     0x02u
#define PAGE_OVERFLOW 0x04u
#define PAGE_META     0x08u
#define PAGE_KINDS    0x6fu /* what a page may say it is; 0x10 is left by writing */

#define NODE_HEADER 8u
#define NODE_BIG    0x01u /* the value is in overflow pages */

/* A tree in a meta page, 48 bytes. */
struct tree {
    uint32_t page_size; /* of the file, in the first tree */
    uint16_t flags, depth;
    uint64_t branch_pages, leaf_pages, overflow_pages, entries, root;
};

/* What follows the header of a meta page. */
struct meta {
    uint32_t magic, version;
    uint64_t address, map_size;
    struct tree trees[2];
    uint64_t last_page, transaction;
};

struct page_header {
    uint64_t number;
    uint16_t unused, flags;
    uint16_t lower, upper; /* bounds of the room between offsets and nodes */
};

struct node {
    uint32_t low;   /* of a leaf: size of the value; of a branch: low bits of the page */
    uint16_t flags; /* of a branch: high bits of the page */
    uint16_t key_size;
};

struct walk {
    int fd;
    struct meta meta;
    uint32_t page_size;
    uint8_t *seen; /* a bit for each page */
    uint8_t *pages[DEPTH_MAX];
    uint8_t *value; /* of overflow pages */
    size_t value_size;
    bool free_tree; /* which tree it is */
    size_t last_key_size;
    uint8_t last_key[512];
    m5_pages_fn *see;
    void *ctx;
    struct m5_pages_report *report;
    char *why;
};

uint32_t m5_value_sum(struct mqtt5_bytes key, struct mqtt5_bytes value)
{
    uint8_t sizes[5];
    sizes[0] = (uint8_t)key.len;
    m5_write_u32(sizes + 1, (uint32_t)value.len);
    const uint32_t sum = m5_crc32c(m5_crc32c(0, sizes, sizeof sizes), key.data, key.len);
    return m5_crc32c(sum, value.data, value.len);
}

static enum mqtt5_error damaged(struct walk *walk, uint64_t page, const char *what)
{
    m5_say(walk->why, "page %llu: %s", (unsigned long long)page, what);
    return MQTT5_ERR_TRUNCATED;
}

static enum mqtt5_error no_memory(struct walk *walk)
{
    m5_say(walk->why, "there is not enough memory to read it");
    return MQTT5_ERR_NOMEM;
}

/* Reads @p size bytes of page @p page from @p offset on. */
static enum mqtt5_error read_bytes(struct walk *walk, uint64_t page, size_t offset, uint8_t *out,
                                   size_t size)
{
    const uint64_t at = page * walk->page_size + offset;
    for (size_t done = 0; done < size;) {
        const ssize_t n = pread(walk->fd, out + done, size - done, (off_t)(at + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            m5_say(walk->why, "page %llu cannot be read: %s", (unsigned long long)page,
                   strerror(errno));
            return MQTT5_ERR_IO;
        }
        if (n == 0)
            return damaged(walk, page, "the file ends before it");
        done += (size_t)n;
    }
    return MQTT5_OK;
}

/* ---- pages ---- */

/* Notes that page @p page is used. */
static enum mqtt5_error mark(struct walk *walk, uint64_t page)
{
    if (page < 2 || page > walk->meta.last_page)
        return damaged(walk, page, "there is no such page, but something refers to it");
    uint8_t *byte = &walk->seen[page / 8];
    const uint8_t bit = (uint8_t)(1u << page % 8);
    if (*byte & bit)
        return damaged(walk, page, "it is used twice");
    *byte |= bit;
    return MQTT5_OK;
}

static uint32_t node_count(const uint8_t *page)
{
    struct page_header header;
    memcpy(&header, page, sizeof header);
    return (header.lower - PAGE_HEADER) / 2u;
}

/* Where node @p i begins in the page; 0: out of bounds. */
static uint32_t node_offset(const struct walk *walk, const uint8_t *page, uint32_t i)
{
    struct page_header header;
    uint16_t offset;
    memcpy(&header, page, sizeof header);
    memcpy(&offset, page + PAGE_HEADER + 2 * i, sizeof offset);
    return offset < header.upper || offset + NODE_HEADER > walk->page_size ? 0 : offset;
}

/* Reads page @p page of a tree, to be found at @p depth of @p tree. */
static enum mqtt5_error read_page(struct walk *walk, const struct tree *tree, uint64_t page,
                                  uint32_t depth)
{
    enum mqtt5_error error = mark(walk, page);
    if (error == MQTT5_OK && walk->pages[depth] == NULL)
        walk->pages[depth] = malloc(walk->page_size);
    if (error == MQTT5_OK && walk->pages[depth] == NULL)
        error = no_memory(walk);
    if (error == MQTT5_OK)
        error = read_bytes(walk, page, 0, walk->pages[depth], walk->page_size);
    if (error != MQTT5_OK)
        return error;
    struct page_header header;
    memcpy(&header, walk->pages[depth], sizeof header);
    const unsigned kind = depth + 1u == tree->depth ? PAGE_LEAF : PAGE_BRANCH;
    if (header.number != page || (header.flags & PAGE_KINDS) != kind)
        return damaged(walk, page, "it is not what it should be");
    if (header.lower < PAGE_HEADER || header.lower > header.upper ||
        header.upper > walk->page_size || header.lower % 2 != 0)
        return damaged(walk, page, "its bounds are wrong");
    if (node_count(walk->pages[depth]) == 0)
        return damaged(walk, page, "it is empty");
    return MQTT5_OK;
}

/* ---- records ---- */

/* Reads a value of @p size bytes that begins at overflow page @p page into walk->value. */
static enum mqtt5_error read_overflow(struct walk *walk, uint64_t page, size_t size)
{
    struct {
        uint64_t number;
        uint16_t unused, flags;
        uint32_t count;
    } header;
    if (page < 2 || page > walk->meta.last_page)
        return damaged(walk, page, "there is no such page, but a value refers to it");
    enum mqtt5_error error = read_bytes(walk, page, 0, (uint8_t *)&header, sizeof header);
    if (error != MQTT5_OK)
        return error;
    const uint64_t count = (PAGE_HEADER + (uint64_t)size - 1) / walk->page_size + 1;
    if (header.number != page || (header.flags & PAGE_KINDS) != PAGE_OVERFLOW ||
        header.count < count || header.count > walk->meta.last_page)
        return damaged(walk, page, "it is not the value that it should be");
    for (uint32_t i = 0; error == MQTT5_OK && i < header.count; i++)
        error = mark(walk, page + i);
    if (error == MQTT5_OK && walk->value_size < size) {
        free(walk->value);
        walk->value_size = 0;
        walk->value = malloc(size);
        if (walk->value == NULL)
            return no_memory(walk);
        walk->value_size = size;
    }
    return error == MQTT5_OK ? read_bytes(walk, page, PAGE_HEADER, walk->value, size) : error;
}

/* A list of free pages: their number, then each. */
static enum mqtt5_error see_free(struct walk *walk, uint64_t page, struct mqtt5_bytes value)
{
    uint64_t count = 0;
    if (value.len >= 8)
        memcpy(&count, value.data, 8);
    if (value.len < 8 || value.len / 8 - 1 < count)
        return damaged(walk, page, "a list of free pages is cut short");
    enum mqtt5_error error = MQTT5_OK;
    for (uint64_t i = 1; error == MQTT5_OK && i <= count; i++) {
        uint64_t number;
        memcpy(&number, value.data + 8 * i, 8);
        error = mark(walk, number);
    }
    walk->report->pages_free += count;
    return error;
}

static enum mqtt5_error see_record(struct walk *walk, uint64_t page, struct mqtt5_bytes key,
                                   struct mqtt5_bytes value)
{
    const size_t least = key.len < walk->last_key_size ? key.len : (size_t)walk->last_key_size;
    const int order = memcmp(walk->last_key, key.data, least);
    if (walk->report->records > 0 && (order > 0 || (order == 0 && key.len <= walk->last_key_size)))
        return damaged(walk, page, "its keys are not in order");
    memcpy(walk->last_key, key.data, key.len);
    walk->last_key_size = key.len;
    walk->report->records++;
    const bool sized = value.len >= M5_VALUE_SUM_SIZE;
    struct mqtt5_bytes content = {0};
    if (sized)
        content = m5_bytes(value.data + M5_VALUE_SUM_SIZE, value.len - M5_VALUE_SUM_SIZE);
    const bool good = sized && m5_read_u32(value.data) == m5_value_sum(key, content);
    if (!good && walk->see == NULL)
        return damaged(walk, page, "the checksum of a value is wrong");
    if (!good)
        content.data = NULL;
    else if (content.len == 0)
        content.data = walk->last_key;
    return walk->see == NULL ? MQTT5_OK : walk->see(walk->ctx, key, content);
}

/* Node @p i of a leaf. */
static enum mqtt5_error see_node(struct walk *walk, uint64_t number, const uint8_t *page,
                                 uint32_t i)
{
    const uint32_t offset = node_offset(walk, page, i);
    struct node node = {0};
    if (offset != 0)
        memcpy(&node, page + offset, sizeof node);
    const bool big = (node.flags & NODE_BIG) != 0;
    const size_t begin = (size_t)offset + NODE_HEADER + node.key_size;
    if (offset == 0 || begin + (big ? 8 : node.low) > walk->page_size || node.key_size == 0 ||
        node.key_size > 511 || (node.flags & ~NODE_BIG) != 0)
        return damaged(walk, number, "a record in it has no sense");
    const struct mqtt5_bytes key = m5_bytes(page + offset + NODE_HEADER, node.key_size);
    struct mqtt5_bytes value = m5_bytes(page + begin, node.low);
    if (big) {
        uint64_t first;
        memcpy(&first, page + begin, sizeof first);
        const enum mqtt5_error error = read_overflow(walk, first, node.low);
        if (error != MQTT5_OK)
            return error;
        value.data = walk->value;
    }
    return walk->free_tree ? see_free(walk, number, value) : see_record(walk, number, key, value);
}

/* ---- trees ---- */

/* The page that node @p i of a branch points to; 0: it has no sense. */
static uint64_t child_of(const struct walk *walk, const uint8_t *page, uint32_t i)
{
    const uint32_t offset = node_offset(walk, page, i);
    struct node node;
    if (offset == 0)
        return 0;
    memcpy(&node, page + offset, sizeof node);
    return node.low | (uint64_t)node.flags << 32;
}

static enum mqtt5_error see_leaf(struct walk *walk, uint64_t number, const uint8_t *page)
{
    enum mqtt5_error error = MQTT5_OK;
    const uint32_t count = node_count(page);
    for (uint32_t i = 0; error == MQTT5_OK && i < count; i++)
        error = see_node(walk, number, page, i);
    return error;
}

static enum mqtt5_error walk_tree(struct walk *walk, const struct tree *tree)
{
    uint32_t next[DEPTH_MAX] = {0}; /* node to look at in each page on the way */
    uint64_t numbers[DEPTH_MAX];
    if (tree->root == NO_PAGE)
        return MQTT5_OK;
    if (tree->depth == 0 || tree->depth > DEPTH_MAX)
        return damaged(walk, 0, "the depth of a tree has no sense");
    numbers[0] = tree->root;
    enum mqtt5_error error = read_page(walk, tree, tree->root, 0);
    for (uint32_t depth = 0; error == MQTT5_OK;) {
        const uint8_t *page = walk->pages[depth];
        const bool leaf = depth + 1u == tree->depth;
        if (leaf)
            error = see_leaf(walk, numbers[depth], page);
        if (leaf || next[depth] == node_count(page)) {
            if (depth == 0)
                break;
            depth--;
            continue;
        }
        const uint64_t child = child_of(walk, page, next[depth]++);
        depth++;
        next[depth] = 0;
        numbers[depth] = child;
        if (error == MQTT5_OK)
            error = read_page(walk, tree, child, depth);
    }
    return error;
}

/* ---- the file ---- */

static bool meta_is_good(const uint8_t *page, const struct meta *meta)
{
    struct page_header header;
    memcpy(&header, page, sizeof header);
    const uint32_t size = meta->trees[0].page_size;
    return (header.flags & PAGE_META) != 0 && meta->magic == META_MAGIC && size >= 512 &&
           size <= 65536 && (size & (size - 1)) == 0;
}

/* Reads meta page @p i into @p out; needs the page size for the second. */
static enum mqtt5_error read_meta(struct walk *walk, uint64_t i, struct meta *out)
{
    uint8_t page[PAGE_HEADER + sizeof *out];
    const enum mqtt5_error error = read_bytes(walk, i, 0, page, sizeof page);
    if (error != MQTT5_OK)
        return error;
    memcpy(out, page + PAGE_HEADER, sizeof *out);
    return meta_is_good(page, out) ? MQTT5_OK : damaged(walk, i, "it is not the head of a map");
}

static enum mqtt5_error check_version(struct walk *walk, const struct meta metas[2])
{
    if (metas[0].version == META_VERSION && metas[1].version == META_VERSION)
        return MQTT5_OK;
    if (metas[0].version < META_VERSION || metas[0].version != metas[1].version)
        return damaged(walk, 0, "its version has no sense");
    m5_say(walk->why, "it was written by a later version of LMDB (format %u)", metas[0].version);
    return MQTT5_ERR_CONFIG;
}

/* Finds the meta page to go by. */
static enum mqtt5_error choose_meta(struct walk *walk, uint64_t transaction)
{
    struct meta metas[2];
    enum mqtt5_error error = read_meta(walk, 0, &metas[0]);
    if (error != MQTT5_OK)
        return error;
    walk->page_size = metas[0].trees[0].page_size;
    error = read_meta(walk, 1, &metas[1]);
    if (error == MQTT5_OK)
        error = check_version(walk, metas);
    if (error != MQTT5_OK)
        return error;
    if (metas[0].transaction % 2 != 0 || metas[1].transaction % 2 != 1 ||
        metas[0].transaction + 1 - metas[1].transaction > 2)
        return damaged(walk, 0, "its transactions have no sense");
    walk->meta = metas[metas[1].transaction > metas[0].transaction];
    if (transaction != 0 && walk->meta.transaction != transaction)
        walk->meta = metas[metas[1].transaction == transaction];
    if (transaction != 0 && walk->meta.transaction != transaction) {
        m5_say(walk->why, "it changed meanwhile");
        return MQTT5_ERR_INVALID_STATE;
    }
    const off_t size = lseek(walk->fd, 0, SEEK_END);
    if (size < 0 || walk->meta.last_page < 1 ||
        walk->meta.last_page > (uint64_t)size / walk->page_size + PAGES_UNWRITTEN)
        return damaged(walk, 0, "its size has no sense");
    return MQTT5_OK;
}

static enum mqtt5_error walk_all(struct walk *walk)
{
    walk->seen = calloc(1, (size_t)(walk->meta.last_page / 8 + 1));
    if (walk->seen == NULL)
        return no_memory(walk);
    *walk->report = (struct m5_pages_report){.transaction = walk->meta.transaction,
                                             .pages = walk->meta.last_page + 1,
                                             .page_size = walk->page_size};
    walk->free_tree = true;
    enum mqtt5_error error = walk_tree(walk, &walk->meta.trees[0]);
    walk->free_tree = false;
    if (error == MQTT5_OK)
        error = walk_tree(walk, &walk->meta.trees[1]);
    if (error == MQTT5_OK && walk->report->records != walk->meta.trees[1].entries)
        error = damaged(walk, 0, "it has not as many records as it should have");
    return error;
}

enum mqtt5_error m5_pages_head(int fd, uint64_t transaction, struct m5_pages_head *head, char *why)
{
    static_assert(sizeof(struct meta) == sizeof *head, "the format of LMDB 0.9");
    const uint16_t one = 1;
    if (sizeof(size_t) != 8 || *(const uint8_t *)&one != 1) {
        m5_say(why, "not on a machine of this kind");
        return MQTT5_ERR_UNSUPPORTED;
    }
    struct walk walk = {.fd = fd, .why = why};
    const enum mqtt5_error error = choose_meta(&walk, transaction);
    memcpy(head, &walk.meta, sizeof *head);
    return error;
}

enum mqtt5_error m5_pages_walk(int fd, const struct m5_pages_head *head, m5_pages_fn *see,
                               void *ctx, struct m5_pages_report *report, char *why)
{
    struct walk walk = {.fd = fd, .see = see, .ctx = ctx, .report = report, .why = why};
    memcpy(&walk.meta, head, sizeof *head);
    walk.page_size = walk.meta.trees[0].page_size;
    const enum mqtt5_error error = walk_all(&walk);
    for (unsigned i = 0; i < DEPTH_MAX; i++)
        free(walk.pages[i]);
    free(walk.value);
    free(walk.seen);
    return error;
}
