/*
 * host_fetch_test.c - requests against a small scripted server on loopback.
 *
 * The server answers each connection with the next piece of text, as it stands, and keeps what it
 * was asked. TLS is tried end to end, where real certificates are.
 */
#define _GNU_SOURCE /* strcasestr */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <pthread.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include <latchkey/host/clock.h>
#include <latchkey/host/fetch.h>

struct server {
    int listener;
    unsigned short port;
    pthread_t thread;
    const char *answer; /* NULL: accept and stay silent */
    char asked[8192];
    size_t asked_len;
};

static struct server server;
static char url[64];
static uint8_t room[256];

/* Read until the blank line and as many bytes as Content-Length says. */
static void
request_read(int fd)
{
    const char *end, *length;
    size_t want = 0;
    ssize_t n;

    server.asked_len = 0;
    for (;;) {
        n = read(fd, server.asked + server.asked_len, sizeof(server.asked) - 1 - server.asked_len);
        if (n <= 0)
            return;
        server.asked_len += (size_t)n;
        server.asked[server.asked_len] = '\0';
        end = strstr(server.asked, "\r\n\r\n");
        if (end == NULL)
            continue;
        length = strcasestr(server.asked, "content-length:");
        if (length != NULL && length < end)
            want = strtoul(length + 15, NULL, 10);
        if (server.asked_len >= (size_t)(end + 4 - server.asked) + want)
            return;
    }
}

static void *
server_run(void *user)
{
    char byte;
    int fd;

    (void)user;
    while ((fd = accept(server.listener, NULL, NULL)) >= 0) {
        request_read(fd);
        if (server.answer == NULL) {
            while (read(fd, &byte, 1) > 0)
                continue;
        } else if (write(fd, server.answer, strlen(server.answer)) < 0) {
            (void)close(fd);
            break;
        }
        (void)close(fd);
    }
    return NULL;
}

static int
server_start(void **state)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(address);

    (void)state;
    server.listener = socket(AF_INET, SOCK_STREAM, 0);
    if (server.listener < 0 ||
        bind(server.listener, (struct sockaddr *)&address, sizeof(address)) != 0 ||
        listen(server.listener, 8) != 0 ||
        getsockname(server.listener, (struct sockaddr *)&address, &len) != 0)
        return -1;
    server.port = ntohs(address.sin_port);
    (void)snprintf(url, sizeof(url), "http://127.0.0.1:%u/path?q=1", server.port);
    return pthread_create(&server.thread, NULL, server_run, NULL);
}

static int
server_stop(void **state)
{
    (void)state;
    (void)shutdown(server.listener, SHUT_RDWR);
    (void)pthread_join(server.thread, NULL);
    return close(server.listener);
}

static enum lk_err
fetch(const struct lk_fetch_request *request, size_t cap, struct lk_fetch_answer *answer)
{
    struct lk_fetch *f = lk_fetch_new(NULL);
    enum lk_err err;

    assert_non_null(f);
    err = lk_fetch_run(f, request, (struct lk_buf){room, cap}, answer);
    lk_fetch_free(f);
    return err;
}

static void
test_get(void **state)
{
    const struct lk_fetch_request request = {
        .method = "GET", .url = url, .bearer = "abc.def", .timeout_ms = 5000};
    struct lk_fetch_answer answer;

    (void)state;
    server.answer = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                    "Date: Thu, 09 Oct 2025 08:53:30 GMT\r\nContent-Length: 2\r\n\r\n{}";
    assert_int_equal(fetch(&request, sizeof(room), &answer), LK_OK);
    assert_int_equal(answer.status, 200);
    assert_true(lk_span_is(answer.body, "{}"));
    assert_string_equal(answer.content_type, "application/json");
    assert_int_equal(answer.server_date_s, 1760000010);
    assert_int_equal(answer.retry_after_s, 0);
    assert_string_equal(answer.error, "");
    assert_non_null(strstr(server.asked, "GET /path?q=1 HTTP/1.1\r\n"));
    assert_non_null(strstr(server.asked, "\r\nAuthorization: Bearer abc.def\r\n"));
    assert_null(strcasestr(server.asked, "content-type"));
}

static void
test_post(void **state)
{
    const char *const headers[] = {"Idempotency-Key: k1", "Accept: application/json", NULL};
    struct lk_fetch_request request = {.method = "POST",
                                       .url = url,
                                       .user = "me%3A",
                                       .password = "se cret",
                                       .content_type = "application/json",
                                       .body = LK_SPAN("{\"a\":1}"),
                                       .headers = headers,
                                       .timeout_ms = 5000};
    struct lk_fetch_answer answer;

    (void)state;
    server.answer = "HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n";
    assert_int_equal(fetch(&request, sizeof(room), &answer), LK_OK);
    assert_int_equal(answer.status, 201);
    assert_int_equal(answer.body.len, 0);
    assert_non_null(strstr(server.asked, "POST /path?q=1 HTTP/1.1\r\n"));
    assert_non_null(strstr(server.asked, "\r\nIdempotency-Key: k1\r\n"));
    assert_non_null(strstr(server.asked, "\r\nContent-Type: application/json\r\n"));
    assert_non_null(strstr(server.asked, "\r\nAuthorization: Basic bWUlM0E6c2UgY3JldA==\r\n"));
    assert_non_null(strstr(server.asked, "\r\n\r\n{\"a\":1}"));
    assert_null(strstr(server.asked, "Expect"));
    /* Without a body, and with another method: nothing of the last request stays. */
    request = (struct lk_fetch_request){.method = "DELETE", .url = url, .timeout_ms = 5000};
    assert_int_equal(fetch(&request, sizeof(room), &answer), LK_OK);
    assert_non_null(strstr(server.asked, "DELETE /path?q=1"));
    assert_null(strstr(server.asked, "Authorization"));
    request.method = "POST";
    assert_int_equal(fetch(&request, sizeof(room), &answer), LK_OK);
    assert_non_null(strstr(server.asked, "Content-Length: 0"));
    assert_null(strcasestr(server.asked, "content-type"));
}

static void
test_answers(void **state)
{
    static const struct {
        const char *what, *answer;
        size_t cap;
        enum lk_err err;
        unsigned status, retry_after_s;
    } rows[] = {
        {"a refusal is an answer", "HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno", 2, LK_OK, 403,
         0},
        {"a redirect is not followed",
         "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n", 2,
         LK_OK, 302, 0},
        {"told to wait", "HTTP/1.1 503 Wait\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n", 2,
         LK_OK, 503, 7},
        {"told to wait for ever",
         "HTTP/1.1 429 Wait\r\nRetry-After: 99999999999\r\nContent-Length: 0\r\n\r\n", 2, LK_OK,
         429, 21600},
        {"a byte too long", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", 2, LK_ERR_LIMIT, 0,
         0},
        {"too long, in pieces",
         "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n", 2,
         LK_ERR_LIMIT, 0, 0},
        {"cut off", "HTTP/1.1 200 OK\r\nContent-Length: 30\r\n\r\nabc", 64, LK_ERR_UNAVAILABLE, 0,
         0},
        {"no HTTP at all", "SSH-2.0-x\r\n", 64, LK_ERR_UNAVAILABLE, 0, 0},
        {"nothing", "", 64, LK_ERR_UNAVAILABLE, 0, 0},
        {"a date that is none", "HTTP/1.1 200 OK\r\nDate: yesterday\r\nContent-Length: 0\r\n\r\n",
         2, LK_OK, 200, 0},
    };
    const struct lk_fetch_request request = {.method = "GET", .url = url, .timeout_ms = 5000};
    struct lk_fetch_answer answer;
    enum lk_err err;
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        server.answer = rows[i].answer;
        err = fetch(&request, rows[i].cap, &answer);
        if (err != rows[i].err || answer.status != rows[i].status ||
            answer.retry_after_s != rows[i].retry_after_s || answer.server_date_s != 0)
            fail_msg("%s: %s, status %u, retry %u, %s", rows[i].what, lk_err_name(err),
                     answer.status, answer.retry_after_s, answer.error);
        assert_int_equal(answer.error[0] == '\0', err == LK_OK);
        if (err != LK_OK)
            assert_null(answer.body.ptr);
    }
}

static void
test_many_header_lines(void **state)
{
    static char text[16384];
    const struct lk_fetch_request request = {.method = "GET", .url = url, .timeout_ms = 5000};
    struct lk_fetch_answer answer;
    size_t len = 0, i;

    (void)state;
    len += (size_t)snprintf(text, sizeof(text), "HTTP/1.1 200 OK\r\n");
    for (i = 0; i < 300; i++)
        len += (size_t)snprintf(text + len, sizeof(text) - len, "X-%zu: y\r\n", i);
    (void)snprintf(text + len, sizeof(text) - len, "Content-Length: 0\r\n\r\n");
    server.answer = text;
    assert_int_equal(fetch(&request, sizeof(room), &answer), LK_ERR_LIMIT);
}

static void
test_refused_requests(void **state)
{
    static const char *const urls[] = {"http://example.test/",
                                       "http://127.0.0.1.example.test/",
                                       "http://128.0.0.1/",
                                       "http://127.0.0.1x/",
                                       "http://127.0.0.256/",
                                       "http://localhost.example.test/",
                                       "http://user@127.0.0.1/",
                                       "https://user:word@127.0.0.1/",
                                       "ftp://127.0.0.1/",
                                       "file:///etc/passwd",
                                       "127.0.0.1/",
                                       "",
                                       "https://"};
    const char *const forged[] = {"X-A: b\r\nX-C: d", NULL};
    struct lk_fetch_request request = {.method = "GET", .timeout_ms = 1000};
    struct lk_fetch_answer answer;
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(urls) / sizeof(urls[0]); i++) {
        request.url = urls[i];
        if (fetch(&request, sizeof(room), &answer) != LK_ERR_ARG || answer.error[0] == '\0')
            fail_msg("%s was not refused", urls[i]);
    }
    request.url = url;
    request.bearer = "a\nX-Evil: b";
    assert_int_equal(fetch(&request, sizeof(room), &answer), LK_ERR_ARG);
    request.bearer = NULL;
    request.content_type = "a\rb";
    assert_int_equal(fetch(&request, sizeof(room), &answer), LK_ERR_ARG);
    request.content_type = NULL;
    request.headers = forged;
    assert_int_equal(fetch(&request, sizeof(room), &answer), LK_ERR_ARG);
    request.headers = NULL;
    request.user = "a:b";
    assert_int_equal(fetch(&request, sizeof(room), &answer), LK_ERR_ARG);
}

static void
test_nobody_there(void **state)
{
    struct lk_fetch_request request = {
        .method = "GET", .url = "http://127.0.0.1:1/", .timeout_ms = 2000};
    struct lk_fetch_answer answer;

    (void)state;
    assert_int_equal(fetch(&request, sizeof(room), &answer), LK_ERR_UNAVAILABLE);
    assert_true(answer.error[0] != '\0');
}

static void *
cancel_soon(void *flag)
{
    (void)usleep(200000);
    *(volatile int *)flag = 1;
    return NULL;
}

static void
test_silence_and_cancel(void **state)
{
    volatile int cancel = 0;
    struct lk_fetch_request request = {
        .method = "GET", .url = url, .timeout_ms = 300, .cancel = &cancel};
    struct lk_fetch_answer answer;
    int64_t start_ms = lk_clock_monotonic_ms();
    pthread_t thread;

    (void)state;
    server.answer = NULL;
    assert_int_equal(fetch(&request, sizeof(room), &answer), LK_ERR_TIMEOUT);
    assert_true(lk_clock_monotonic_ms() - start_ms < 2000);
    request.timeout_ms = 20000;
    start_ms = lk_clock_monotonic_ms();
    assert_int_equal(pthread_create(&thread, NULL, cancel_soon, (void *)(uintptr_t)&cancel), 0);
    assert_int_equal(fetch(&request, sizeof(room), &answer), LK_ERR_CLOSED);
    assert_true(lk_clock_monotonic_ms() - start_ms < 5000);
    assert_int_equal(pthread_join(thread, NULL), 0);
}

#define WITH_SERVER(test) cmocka_unit_test_setup_teardown(test, server_start, server_stop)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_SERVER(test_get),
        WITH_SERVER(test_post),
        WITH_SERVER(test_answers),
        WITH_SERVER(test_many_header_lines),
        WITH_SERVER(test_refused_requests),
        WITH_SERVER(test_nobody_there),
        WITH_SERVER(test_silence_and_cancel),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
