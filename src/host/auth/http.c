/* HTTP requests by libcurl.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "host/auth/http.h"

#include "base/bytes.h"

#include <curl/curl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define CONNECT_MS 5000L

static pthread_once_t once = PTHREAD_ONCE_INIT;
static bool ready;

static void start(void)
{
    ready = curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK;
}

static bool is_here(const char *host)
{
    static const char *const ours[] = {"127.0.0.1", "[::1]", "localhost"};
    for (size_t i = 0; i < sizeof ours / sizeof *ours; i++) {
        if (strcasecmp(host, ours[i]) == 0)
            return true;
    }
    return false;
}

static const char *judge(CURLU *parts, const char *url)
{
    char *scheme = NULL, *host = NULL;
    const char *why = NULL;
    const char *slashes = strstr(url, "://");
    if (slashes != NULL && slashes[3] == '/')
        return "it has no host: give https://HOST/PATH";
    if (curl_url_set(parts, CURLUPART_URL, url, 0) != CURLUE_OK ||
        curl_url_get(parts, CURLUPART_SCHEME, &scheme, 0) != CURLUE_OK ||
        curl_url_get(parts, CURLUPART_HOST, &host, 0) != CURLUE_OK || host[0] == 0)
        why = "it is no URL with a scheme and a host: give https://HOST/PATH";
    else if (strcmp(scheme, "http") == 0 && !is_here(host))
        why = "http is for this machine only: give https://HOST/PATH";
    else if (strcmp(scheme, "https") != 0 && strcmp(scheme, "http") != 0)
        why = "only https is allowed: give https://HOST/PATH";
    curl_free(scheme);
    curl_free(host);
    return why;
}

bool m5_http_url_check(const char *url, const char **why)
{
    *why = "it has more than 2048 bytes";
    if (strlen(url) > M5_HTTP_URL_MAX)
        return false;
    *why = "it has a blank or a control character";
    for (const char *at = url; *at != 0; at++) {
        if ((unsigned char)*at <= ' ' || *at == 0x7F)
            return false;
    }
    CURLU *parts = curl_url();
    *why = parts == NULL ? "out of memory" : judge(parts, url);
    curl_url_cleanup(parts);
    return *why == NULL;
}

/* ---- texts that grow ---- */

static bool append(struct m5_text *text, const void *data, size_t size, size_t max)
{
    if (size > max - text->size)
        return false;
    if (text->size + size >= text->capacity) {
        const size_t capacity = 2 * (text->size + size) + 64;
        uint8_t *larger = realloc(text->data, capacity);
        if (larger == NULL)
            return false;
        text->data = larger;
        text->capacity = capacity;
    }
    memcpy(text->data + text->size, data, size);
    text->size += size;
    text->data[text->size] = 0;
    return true;
}

/* What stands for itself in a form; everything else, zeros too, as %XX. */
static bool is_plain(uint8_t byte)
{
    return (byte >= '0' && byte <= '9') || (byte >= 'A' && byte <= 'Z') ||
           (byte >= 'a' && byte <= 'z') || byte == '-' || byte == '.' || byte == '_' || byte == '~';
}

bool m5_http_form_add(struct m5_text *form, const char *name, struct mqtt5_bytes value)
{
    static const char digits[] = "0123456789ABCDEF";
    bool ok = form->size == 0 || append(form, "&", 1, SIZE_MAX);
    ok = ok && append(form, name, strlen(name), SIZE_MAX) && append(form, "=", 1, SIZE_MAX);
    for (size_t i = 0; ok && i < value.len; i++) {
        const uint8_t byte = value.data[i];
        const char coded[3] = {'%', digits[byte >> 4], digits[byte & 15]};
        ok = is_plain(byte) ? append(form, &byte, 1, SIZE_MAX) : append(form, coded, 3, SIZE_MAX);
    }
    return ok;
}

/* ---- requests ---- */

static size_t take(char *data, size_t size, size_t count, void *ctx)
{
    struct m5_http_answer *answer = ctx;
    return append(&answer->body, data, size * count, M5_HTTP_BODY_MAX) ? size * count : 0;
}

static int look(void *ctx, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
    const atomic_bool *stop = ctx;
    (void)a, (void)b, (void)c, (void)d;
    return stop != NULL && atomic_load(stop);
}

static void prepare(CURL *curl, const struct m5_http_request *request,
                    struct m5_http_answer *answer, char error[CURL_ERROR_SIZE])
{
    curl_easy_setopt(curl, CURLOPT_URL, request->url);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(curl, CURLOPT_NOPROXY, "127.0.0.1,localhost,::1");
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)request->timeout_ms);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_MS);
    curl_easy_setopt(curl, CURLOPT_USERAGENT, "mqtt5");
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, error);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, answer);
    curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, look);
    curl_easy_setopt(curl, CURLOPT_XFERINFODATA, request->stop);
    if (request->ca_file != NULL)
        curl_easy_setopt(curl, CURLOPT_CAINFO, request->ca_file);
    if (request->form.data == NULL)
        return;
    curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE, (long)request->form.len);
    curl_easy_setopt(curl, CURLOPT_POSTFIELDS, (const char *)request->form.data);
}

bool m5_http_do(const struct m5_http_request *request, struct m5_http_answer *answer)
{
    char error[CURL_ERROR_SIZE] = "";
    *answer = (struct m5_http_answer){.why = "out of memory"};
    pthread_once(&once, start);
    CURL *curl = ready ? curl_easy_init() : NULL;
    if (curl == NULL)
        return false;
    prepare(curl, request, answer, error);
    const CURLcode code = curl_easy_perform(curl);
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &answer->status);
    curl_easy_cleanup(curl);
    if (code == CURLE_OK)
        return true;
    snprintf(answer->why, sizeof answer->why, "%s",
             error[0] != 0 ? error : curl_easy_strerror(code));
    m5_text_free(&answer->body);
    return false;
}
