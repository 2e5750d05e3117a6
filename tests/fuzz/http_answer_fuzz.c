/*
 * An HTTP answer: read whole and read byte by byte come to the same.
 */
#include "fuzz.h"

#include <latchkey/device/http.h>

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t room_a[1024], room_b[1024];
    struct lk_http_answer a, b;
    enum lk_err err_a, err_b = LK_OK;
    size_t i;

    lk_http_answer_open(&a, LK_BUF_OF(room_a));
    lk_http_answer_open(&b, LK_BUF_OF(room_b));
    err_a = lk_http_answer_feed(&a, lk_span_of(data, size));
    for (i = 0; i < size; i++)
        err_b = lk_http_answer_feed(&b, lk_span_of(data + i, 1));
    PROMISE(err_a == err_b);
    PROMISE(a.status == b.status && a.retry_after_s == b.retry_after_s && a.date_s == b.date_s);
    PROMISE(lk_http_answer_is_done(&a) == lk_http_answer_is_done(&b));
    PROMISE(lk_span_equal(a.body, b.body) && a.body.len <= sizeof(room_a));
    PROMISE(!lk_http_answer_is_done(&a) || (a.status >= 200 && a.status <= 599));
    return 0;
}
