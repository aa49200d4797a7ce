/* What texts of a configuration must be.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "base/bytes.h"
#include "host/address.h"
#include "host/auth/http.h"
#include "host/auth/source.h"
#include "host/config/sections.h"

#include <mqtt5/topic.h>

#include <string.h>

#define STRING_MAX 65535u /* bytes of a UTF-8 string */

const char *m5_check_endpoint(const char *text)
{
    struct m5_endpoint endpoint;
    const char *why = m5_endpoint_parse(text, 1883, &endpoint);
    static _Thread_local char sentence[160];
    if (why == NULL)
        return NULL;
    snprintf(sentence, sizeof sentence, "is no address: %s", why);
    return sentence;
}

const char *m5_check_network(const char *text)
{
    static _Thread_local struct m5_text_error error;
    if (strpbrk(text, "\n\r#") != NULL || *text == 0)
        return "is no network, like 10.0.0.0/8 or 2001:db8::/32";
    struct m5_bans *bans = m5_bans_new(&m5_libc_allocator, m5_bytes_of(text), &error);
    m5_bans_free(bans);
    return bans != NULL ? NULL : "is no network, like 10.0.0.0/8 or 2001:db8::/32";
}

const char *m5_check_filter(const char *text)
{
    struct mqtt5_filter filter;
    if (mqtt5_filter_parse(m5_bytes_of(text), STRING_MAX, &filter) != MQTT5_OK)
        return "is no topic filter: + and # stand alone between slashes, # at the end only";
    return filter.share_name.len > 0 ? "is a shared subscription; give its filter alone" : NULL;
}

const char *m5_check_url(const char *text)
{
    static _Thread_local char sentence[160];
    const char *why;
    if (m5_http_url_check(text, &why))
        return NULL;
    snprintf(sentence, sizeof sentence, "cannot be used: %s", why);
    return sentence;
}

const char *m5_check_utf8(const char *text)
{
    const struct mqtt5_bytes bytes = m5_bytes_of(text);
    return bytes.len <= STRING_MAX && mqtt5_utf8_check(bytes) == MQTT5_OK
               ? NULL
               : "is not UTF-8, or longer than 65535 bytes";
}
