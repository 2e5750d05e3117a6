/* Whatever is read is written again, and means the same; whatever is skipped can be read. */
#include "fuzz.h"

#include <latchkey/cbor.h>

static void
copy(struct lk_cbor *r, struct lk_cbor_out *w)
{
    size_t items;

    switch (lk_cbor_peek(r)) {
    case LK_CBOR_UINT:
        lk_cbor_write_uint(w, lk_cbor_uint(r));
        break;
    case LK_CBOR_NEGINT:
        lk_cbor_write_int(w, lk_cbor_int(r));
        break;
    case LK_CBOR_BYTES:
        lk_cbor_write_bytes(w, lk_cbor_bytes(r));
        break;
    case LK_CBOR_TEXT:
        lk_cbor_write_text(w, lk_cbor_text(r));
        break;
    case LK_CBOR_ARRAY:
        items = lk_cbor_enter_array(r);
        lk_cbor_write_array(w, items);
        for (size_t i = 0; i < items && r->err == LK_OK; i++)
            copy(r, w);
        lk_cbor_leave_array(r);
        break;
    case LK_CBOR_MAP:
        items = lk_cbor_enter_map(r);
        lk_cbor_write_map(w, items);
        for (size_t i = 0; i < 2 * items && r->err == LK_OK; i++)
            copy(r, w);
        lk_cbor_leave_map(r);
        break;
    case LK_CBOR_TAG:
        /* A chain of tags has no depth limit of its own; do not answer it with recursion. */
        while (lk_cbor_peek(r) == LK_CBOR_TAG)
            lk_cbor_write_tag(w, lk_cbor_tag(r));
        copy(r, w);
        break;
    case LK_CBOR_SIMPLE:
    case LK_CBOR_FLOAT:
        lk_cbor_write_raw(w, lk_cbor_raw(r));
        break;
    case LK_CBOR_END:
        lk_cbor_skip(r);
        break;
    }
}

static void
look_up(struct lk_span in)
{
    struct lk_cbor r;

    lk_cbor_open(&r, in);
    (void)lk_cbor_enter_map(&r);
    for (int64_t key = -3; key < 10 && r.err == LK_OK; key++)
        if (lk_cbor_map_find(&r, key))
            lk_cbor_skip(&r);
    if (lk_cbor_map_find_text(&r, LK_SPAN("gen")))
        (void)lk_cbor_numeric_date(&r);
    (void)lk_cbor_map_text(&r, 1);
    lk_cbor_leave_map(&r);
    if (lk_cbor_close(&r) != LK_OK)
        PROMISE(lk_cbor_peek(&r) == LK_CBOR_END);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t room[1 << 16], again[1 << 16];
    struct lk_span in = lk_span_of(data, size), first, second;
    struct lk_cbor_out w;
    struct lk_cbor r;
    enum lk_err err;

    if (size > sizeof(room) / 2)
        return 0;
    look_up(in);
    lk_cbor_open(&r, in);
    lk_cbor_write_open(&w, LK_BUF_OF(room));
    copy(&r, &w);
    if (lk_cbor_close(&r) != LK_OK)
        return 0;
    /* Never longer than it came, well-formed, and the second copy is the first. */
    PROMISE(lk_cbor_write_close(&w, &first) == LK_OK && first.len <= size);
    lk_cbor_open(&r, in);
    lk_cbor_skip(&r);
    err = lk_cbor_close(&r);
    PROMISE(err == LK_OK);
    lk_cbor_open(&r, first);
    lk_cbor_write_open(&w, LK_BUF_OF(again));
    copy(&r, &w);
    err = lk_cbor_close(&r);
    PROMISE(err == LK_OK && lk_cbor_write_close(&w, &second) == LK_OK);
    PROMISE(lk_span_equal(first, second));
    return 0;
}
