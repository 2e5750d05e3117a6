/* Skipped, walked and found must agree. */
#include "fuzz.h"

#include "json_find.h"

static void
walk(struct lk_json *r)
{
    struct lk_span name;

    switch (lk_json_peek(r)) {
    case LK_JSON_OBJECT:
        lk_json_enter_object(r);
        while (lk_json_next_member(r, &name))
            walk(r);
        lk_json_leave_object(r);
        break;
    case LK_JSON_ARRAY:
        lk_json_enter_array(r);
        while (lk_json_next_item(r))
            walk(r);
        lk_json_leave_array(r);
        break;
    case LK_JSON_STRING:
        PROMISE(lk_utf8_is_valid(lk_json_string(r)));
        break;
    case LK_JSON_BOOL:
        (void)lk_json_bool(r);
        break;
    case LK_JSON_NULL:
        lk_json_null(r);
        break;
    case LK_JSON_NUMBER:
    case LK_JSON_END:
        lk_json_skip(r);
        break;
    }
}

static void
numbers(uint8_t *text, size_t size)
{
    struct lk_json r;
    int64_t value;

    lk_json_open(&r, text, size);
    value = lk_json_int(&r);
    PROMISE(r.err == LK_OK || value == 0);
    lk_json_open(&r, text, size);
    value = lk_json_numeric_date(&r);
    PROMISE(value >= 0 && value <= (int64_t)1 << 53);
}

/* Entering an object finds all that passing over it finds. */
static void
entered(const uint8_t *data, uint8_t *text, size_t size)
{
    enum lk_err passed;
    struct lk_json r;

    memcpy(text, data, size);
    lk_json_open(&r, text, size);
    if (lk_json_peek(&r) != LK_JSON_OBJECT)
        return;
    lk_json_skip(&r);
    passed = r.err;
    lk_json_open(&r, text, size);
    lk_json_enter_object(&r);
    PROMISE(r.err == passed);
    /* what was checked is passed over without another error */
    if (r.err == LK_OK) {
        lk_json_leave_object(&r);
        PROMISE(r.err == LK_OK);
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *text = malloc(size + 1), room[64];
    struct lk_span found, member = {NULL, 0};
    struct lk_json r;
    enum lk_err skipped, walked;
    bool has_a;

    if (text == NULL)
        return 0;
    /* exactly as long as the input, for the sanitizer's sake */
    text = realloc(text, size > 0 ? size : 1);
    memcpy(text, data, size);
    numbers(text, size);
    (void)lk_json_find_text(lk_span_of(text, size), LK_SPAN("a"), LK_BUF_OF(room), &found);
    has_a = lk_json_has_member(lk_span_of(text, size), LK_SPAN("a"));
    lk_json_open(&r, text, size);
    lk_json_skip(&r);
    skipped = lk_json_close(&r);
    PROMISE(memcmp(text, data, size) == 0);
    lk_json_open(&r, text, size);
    walk(&r);
    walked = lk_json_close(&r);
    PROMISE((skipped == LK_OK) == (walked == LK_OK));
    entered(data, text, size);
    if (skipped == LK_OK) {
        bool seen = false;

        memcpy(text, data, size);
        lk_json_open(&r, text, size);
        if (lk_json_peek(&r) == LK_JSON_OBJECT) {
            lk_json_enter_object(&r);
            while (lk_json_next_member(&r, &member)) {
                seen = seen || lk_span_is(member, "a");
                lk_json_skip(&r);
            }
        }
        PROMISE(seen == has_a);
    }
    free(text);
    return 0;
}
