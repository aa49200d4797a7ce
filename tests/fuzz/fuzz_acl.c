/* Access control files of both formats, and what the policy then says.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "base/assert.h"
#include "base/bytes.h"
#include "host/acl/acl.h"
#include "host/auth/edit.h"

#include <mqtt5/topic.h>

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Takes what stands before the next 0xFE, which is never in UTF-8. */
static struct mqtt5_bytes next_part(struct mqtt5_bytes *rest)
{
    const uint8_t *end = rest->len > 0 ? memchr(rest->data, 0xFE, rest->len) : NULL;
    const struct mqtt5_bytes part =
        m5_bytes(rest->data, end != NULL ? (size_t)(end - rest->data) : rest->len);
    const size_t taken = part.len + (end != NULL);
    *rest = m5_bytes(rest->data + taken, rest->len - taken);
    return part;
}

static void check_verdict(struct m5_acl_verdict verdict, uint8_t wanted)
{
    M5_ASSERT(!verdict.allowed || verdict.rule != NULL);
    M5_ASSERT(!verdict.allowed || (verdict.rule->rights & wanted) != 0);
}

static void ask(const struct m5_acl *acl, const struct m5_principal *who, struct mqtt5_bytes text)
{
    struct mqtt5_filter filter;
    const bool is_topic = mqtt5_topic_check(text, UINT32_MAX) == MQTT5_OK;
    if (is_topic) {
        check_verdict(m5_acl_may_write(acl, who, text), M5_ACL_WRITE);
        check_verdict(m5_acl_may_read(acl, who, text), M5_ACL_READ);
    }
    if (mqtt5_filter_parse(text, UINT32_MAX, &filter) != MQTT5_OK)
        return;
    const struct m5_acl_verdict verdict = m5_acl_may_subscribe(acl, who, filter.filter);
    check_verdict(verdict, M5_ACL_READ);
    if (is_topic && filter.share_name.len == 0) /* a filter that matches one topic */
        M5_ASSERT(verdict.allowed == m5_acl_may_read(acl, who, text).allowed);
}

/* What was removed is not there any more; what stays can still be read. */
static void edit(struct mqtt5_bytes text)
{
    static const struct m5_edit_rule rule = {.keyword = "user"};
    const struct m5_edit removal = {.match = m5_edit_is_rule, .ctx = &rule};
    struct m5_text once, twice;
    uint32_t matched;
    M5_ASSERT(m5_edit_apply(text, &removal, &once, &matched));
    M5_ASSERT(m5_edit_apply(m5_bytes(once.data, once.size), &removal, &twice, &matched));
    M5_ASSERT(matched == 0 && once.size == twice.size);
    m5_text_free(&once);
    m5_text_free(&twice);
}

/* A byte for the format; then rules, user name, client identifier and topics, each ended by 0xFE.
 */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct m5_text_error error;
    if (size == 0)
        return 0;
    struct mqtt5_bytes rest = m5_bytes(data + 1, size - 1);
    const struct mqtt5_bytes text = next_part(&rest);
    struct m5_acl *acl =
        m5_acl_new(&m5_libc_allocator, text, (enum m5_acl_format)(data[0] % 3), &error);
    edit(text);
    if (acl == NULL) {
        M5_ASSERT(error.text[0] != 0);
        return 0;
    }
    struct m5_principal who = {.username = next_part(&rest), .client_id = next_part(&rest)};
    who.anonymous = who.username.len == 0;
    while (rest.len > 0)
        ask(acl, &who, next_part(&rest));
    m5_acl_free(acl);
    return 0;
}
