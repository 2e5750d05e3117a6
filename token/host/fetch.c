/*
 * fetch.c - HTTPS over libcurl. The only file that knows libcurl.
 */
#include <latchkey/host/fetch.h>

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>

#include <curl/curl.h>

#include "limits.h"

struct lk_fetch {
    CURL *curl;
    char *ca_file; /* NULL: the system's */
};

/* What the callbacks of one request fill. */
struct progress {
    struct lk_buf room;
    size_t len;
    unsigned lines;
    bool too_long;
    int64_t date_s;
    const volatile int *cancel;
};

/* Request headers: our own list over our own room, so that it can be wiped afterwards. */
struct head {
    struct curl_slist line[FETCH_HEADERS_MAX + 3];
    size_t count;
    char authorization[FETCH_HEADER_MAX];
    char content_type[256];
};

static pthread_once_t curl_once = PTHREAD_ONCE_INIT;
static CURLcode curl_ready = CURLE_FAILED_INIT;

static void
curl_start(void)
{
    curl_ready = curl_global_init(CURL_GLOBAL_DEFAULT);
}

void
lk_fetch_free(struct lk_fetch *fetch)
{
    if (fetch == NULL)
        return;
    curl_easy_cleanup(fetch->curl);
    free(fetch->ca_file);
    free(fetch);
}

struct lk_fetch *
lk_fetch_new(const char *ca_file)
{
    struct lk_fetch *fetch;

    if (pthread_once(&curl_once, curl_start) != 0 || curl_ready != CURLE_OK)
        return NULL;
    fetch = calloc(1, sizeof(*fetch));
    if (fetch == NULL)
        return NULL;
    fetch->curl = curl_easy_init();
    if (ca_file != NULL)
        fetch->ca_file = strdup(ca_file);
    if (fetch->curl == NULL || (ca_file != NULL && fetch->ca_file == NULL)) {
        lk_fetch_free(fetch);
        return NULL;
    }
    return fetch;
}

static size_t
on_body(char *bytes, size_t one, size_t len, void *user)
{
    struct progress *p = user;

    (void)one; /* always 1 */
    if (len > p->room.cap - p->len) {
        p->too_long = true;
        return 0;
    }
    memcpy(p->room.ptr + p->len, bytes, len);
    p->len += len;
    return len;
}

static size_t
on_header(char *bytes, size_t one, size_t len, void *user)
{
    struct progress *p = user;
    char date[64];
    time_t when;

    (void)one;
    if (++p->lines > FETCH_ANSWER_LINES) {
        p->too_long = true;
        return 0;
    }
    if (len <= 5 || len - 5 >= sizeof(date) || strncasecmp(bytes, "date:", 5) != 0)
        return len;
    memcpy(date, bytes + 5, len - 5);
    date[len - 5] = '\0';
    when = curl_getdate(date, NULL);
    p->date_s = when > 0 ? (int64_t)when : 0;
    return len;
}

static int
on_progress(void *user, curl_off_t down_total, curl_off_t down, curl_off_t up_total, curl_off_t up)
{
    const struct progress *p = user;

    (void)down_total, (void)down, (void)up_total, (void)up;
    return p->cancel != NULL && *p->cancel != 0;
}

/* Control characters in a header would let a value become a header of its own. */
static bool
is_one_line(const char *text)
{
    for (; *text != '\0'; text++) {
        if ((unsigned char)*text < 0x20 || *text == 0x7f)
            return false;
    }
    return true;
}

static bool
head_add(struct head *head, const char *line)
{
    if (!is_one_line(line) || head->count == sizeof(head->line) / sizeof(head->line[0]))
        return false;
    /* libcurl reads the list and leaves it alone; its type just does not say so. */
    head->line[head->count].data = (char *)(uintptr_t)line;
    head->line[head->count].next = NULL;
    if (head->count > 0)
        head->line[head->count - 1].next = &head->line[head->count];
    head->count++;
    return true;
}

static bool
head_print(struct head *head, char *room, size_t cap, const char *name, const char *value)
{
    int n = snprintf(room, cap, "%s%s", name, value);

    return n >= 0 && (size_t)n < cap && head_add(head, room);
}

static enum lk_err
head_build(const struct lk_fetch_request *request, struct head *head)
{
    size_t i;

    /* The empty Content-Type and Expect take away what libcurl would add by itself. */
    if (!head_add(head, "Expect:"))
        return LK_ERR_ARG;
    if (request->content_type == NULL) {
        if (!head_add(head, "Content-Type:"))
            return LK_ERR_ARG;
    } else if (!head_print(head, head->content_type, sizeof(head->content_type),
                           "Content-Type: ", request->content_type)) {
        return LK_ERR_ARG;
    }
    if (request->bearer != NULL &&
        !head_print(head, head->authorization, sizeof(head->authorization),
                    "Authorization: Bearer ", request->bearer))
        return LK_ERR_ARG;
    for (i = 0; request->headers != NULL && request->headers[i] != NULL; i++) {
        if (!head_add(head, request->headers[i]))
            return LK_ERR_ARG;
    }
    return LK_OK;
}

static bool
is_loopback(const char *host)
{
    struct in_addr address;

    if (strcasecmp(host, "localhost") == 0 || strcmp(host, "[::1]") == 0)
        return true;
    return inet_pton(AF_INET, host, &address) == 1 && ntohl(address.s_addr) >> 24 == IN_LOOPBACKNET;
}

/* https, or http to ourselves; no user or password hidden in the URL. */
static enum lk_err
url_check(const char *url, bool *loopback)
{
    enum lk_err err = LK_ERR_ARG;
    CURLU *u = curl_url();
    char *scheme = NULL, *host = NULL, *user = NULL;

    *loopback = false;
    if (u == NULL)
        return LK_ERR_NOMEM;
    if (curl_url_set(u, CURLUPART_URL, url, 0) != CURLUE_OK ||
        curl_url_get(u, CURLUPART_SCHEME, &scheme, 0) != CURLUE_OK ||
        curl_url_get(u, CURLUPART_HOST, &host, 0) != CURLUE_OK ||
        curl_url_get(u, CURLUPART_USER, &user, 0) != CURLUE_NO_USER)
        goto out;
    *loopback = is_loopback(host);
    if (strcmp(scheme, "https") == 0 || (strcmp(scheme, "http") == 0 && *loopback))
        err = LK_OK;
out:
    curl_free(scheme);
    curl_free(host);
    curl_free(user);
    curl_url_cleanup(u);
    return err;
}

/* libcurl copies what it is given here, except the body, the error text and the list of headers. */
static CURLcode
set_options(const struct lk_fetch *fetch, const struct lk_fetch_request *request, bool loopback,
            struct head *head, struct progress *p, char *error)
{
    CURL *c = fetch->curl;
    unsigned timeout_ms = request->timeout_ms > 0 ? request->timeout_ms : FETCH_TIMEOUT_MS;
    CURLcode rc = CURLE_OK;

#define SET(option, value)                                                                         \
    if (rc == CURLE_OK)                                                                            \
    rc = curl_easy_setopt(c, option, value)
    curl_easy_reset(c);
    SET(CURLOPT_ERRORBUFFER, error);
    SET(CURLOPT_URL, request->url);
    SET(CURLOPT_PROTOCOLS_STR, "http,https");
    SET(CURLOPT_FOLLOWLOCATION, 0L);
    SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    SET(CURLOPT_USERAGENT, "latchkey");
    SET(CURLOPT_NOSIGNAL, 1L);
    SET(CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    SET(CURLOPT_SSL_VERIFYPEER, 1L);
    SET(CURLOPT_SSL_VERIFYHOST, 2L);
    if (fetch->ca_file != NULL) {
        SET(CURLOPT_CAINFO, fetch->ca_file);
        SET(CURLOPT_CAPATH, NULL); /* else the system's folder would be trusted beside the file */
    }
    if (loopback)
        SET(CURLOPT_PROXY, ""); /* what stays on this machine goes through nobody's proxy */
    SET(CURLOPT_TIMEOUT_MS, (long)timeout_ms);
    SET(CURLOPT_CONNECTTIMEOUT_MS, (long)FETCH_CONNECT_MS);
    SET(CURLOPT_WRITEFUNCTION, on_body);
    SET(CURLOPT_WRITEDATA, p);
    SET(CURLOPT_HEADERFUNCTION, on_header);
    SET(CURLOPT_HEADERDATA, p);
    SET(CURLOPT_NOPROGRESS, 0L);
    SET(CURLOPT_XFERINFOFUNCTION, on_progress);
    SET(CURLOPT_XFERINFODATA, p);
    SET(CURLOPT_HTTPHEADER, head->line);
    if (request->body.len > 0 || strcmp(request->method, "POST") == 0) {
        SET(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->body.len);
        SET(CURLOPT_POSTFIELDS, request->body.len > 0 ? (const char *)request->body.ptr : "");
    } else if (strcmp(request->method, "HEAD") == 0) {
        SET(CURLOPT_NOBODY, 1L);
    }
    SET(CURLOPT_CUSTOMREQUEST, request->method);
    if (request->user != NULL) {
        SET(CURLOPT_HTTPAUTH, (long)CURLAUTH_BASIC);
        SET(CURLOPT_USERNAME, request->user);
        SET(CURLOPT_PASSWORD, request->password != NULL ? request->password : "");
    }
#undef SET
    return rc;
}

static enum lk_err
err_of(CURLcode rc, const struct progress *p)
{
    static const struct {
        CURLcode rc;
        enum lk_err err;
    } table[] = {
        {CURLE_OPERATION_TIMEDOUT, LK_ERR_TIMEOUT},
        {CURLE_ABORTED_BY_CALLBACK, LK_ERR_CLOSED},
        {CURLE_PEER_FAILED_VERIFICATION, LK_ERR_PERMISSION},
        {CURLE_SSL_CACERT_BADFILE, LK_ERR_PERMISSION},
        {CURLE_SSL_ISSUER_ERROR, LK_ERR_PERMISSION},
        {CURLE_SSL_INVALIDCERTSTATUS, LK_ERR_PERMISSION},
        {CURLE_URL_MALFORMAT, LK_ERR_ARG},
        {CURLE_OUT_OF_MEMORY, LK_ERR_NOMEM},
    };
    size_t i;

    if (rc == CURLE_OK)
        return LK_OK;
    if (p->too_long)
        return LK_ERR_LIMIT;
    for (i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        if (table[i].rc == rc)
            return table[i].err;
    }
    return LK_ERR_UNAVAILABLE;
}

static void
read_answer(CURL *curl, const struct progress *p, struct lk_fetch_answer *answer)
{
    const char *type = NULL;
    curl_off_t retry_s = 0;
    long status = 0;

    (void)curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    (void)curl_easy_getinfo(curl, CURLINFO_CONTENT_TYPE, &type);
    (void)curl_easy_getinfo(curl, CURLINFO_RETRY_AFTER, &retry_s);
    answer->status = status > 0 ? (unsigned)status : 0;
    answer->body = lk_span_of(p->room.ptr, p->len);
    answer->server_date_s = p->date_s;
    if (retry_s > 0)
        answer->retry_after_s = retry_s < FETCH_RETRY_MAX_S ? (unsigned)retry_s : FETCH_RETRY_MAX_S;
    if (type != NULL)
        (void)snprintf(answer->content_type, sizeof(answer->content_type), "%s", type);
}

static enum lk_err
refuse(struct lk_fetch_answer *answer, enum lk_err err, const char *why)
{
    (void)snprintf(answer->error, sizeof(answer->error), "%.*s", (int)sizeof(answer->error) - 1,
                   why);
    return err;
}

enum lk_err
lk_fetch_run(struct lk_fetch *fetch, const struct lk_fetch_request *request, struct lk_buf room,
             struct lk_fetch_answer *answer)
{
    struct progress p = {.room = room, .cancel = request->cancel};
    char error[CURL_ERROR_SIZE] = "";
    struct head head = {.count = 0};
    bool loopback;
    CURLcode rc;
    enum lk_err err;

    *answer = (struct lk_fetch_answer){0};
    err = url_check(request->url, &loopback);
    if (err != LK_OK)
        return refuse(answer, err, "the URL must be https://, or http:// to a loopback address");
    if (request->user != NULL && strchr(request->user, ':') != NULL)
        return refuse(answer, LK_ERR_ARG, "a colon in the user name (RFC 7617 section 2)");
    err = head_build(request, &head);
    if (err != LK_OK) {
        (void)refuse(answer, err, "a header line is too long or holds a control character");
        goto out;
    }
    rc = set_options(fetch, request, loopback, &head, &p, error);
    if (rc == CURLE_OK)
        rc = curl_easy_perform(fetch->curl);
    err = err_of(rc, &p);
    if (err == LK_OK)
        read_answer(fetch->curl, &p, answer);
    else if (err == LK_ERR_LIMIT)
        (void)refuse(answer, err, "the answer is longer than it may be");
    else
        (void)refuse(answer, err, error[0] != '\0' ? error : curl_easy_strerror(rc));
    curl_easy_reset(fetch->curl); /* nothing of ours is pointed to any longer; connections stay */
out:
    if (err != LK_OK)
        lk_wipe(room.ptr, p.len);
    lk_wipe(&head, sizeof(head));
    return err;
}
