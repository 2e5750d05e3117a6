#include <latchkey/device.h>

#include <latchkey/cbor.h>
#include <latchkey/json.h>

static enum lk_err
parse_json(struct lk_buf payload, struct lk_command *c)
{
    struct lk_json r;
    struct lk_span name;

    lk_json_open(&r, payload.ptr, payload.cap);
    lk_json_enter_object(&r);
    while (lk_json_next_member(&r, &name)) {
        if (lk_span_is(name, "id"))
            c->id = lk_json_string(&r);
        else if (lk_span_is(name, "name"))
            c->name = lk_json_string(&r);
        else if (lk_span_is(name, "args"))
            c->args = lk_json_raw(&r);
        else if (lk_span_is(name, "expires_at"))
            c->expires_at_s = lk_json_numeric_date(&r);
        else
            lk_json_skip(&r);
    }
    lk_json_leave_object(&r);
    return lk_json_close(&r);
}

static enum lk_err
parse_cbor(struct lk_buf payload, struct lk_command *c)
{
    struct lk_cbor r;

    c->is_cbor = true;
    lk_cbor_open(&r, lk_span_of(payload.ptr, payload.cap));
    lk_cbor_enter_map(&r);
    if (lk_cbor_map_find_text(&r, LK_SPAN("id")))
        c->id = lk_cbor_text(&r);
    if (lk_cbor_map_find_text(&r, LK_SPAN("name")))
        c->name = lk_cbor_text(&r);
    if (lk_cbor_map_find_text(&r, LK_SPAN("args")))
        c->args = lk_cbor_raw(&r);
    if (lk_cbor_map_find_text(&r, LK_SPAN("expires_at")))
        c->expires_at_s = lk_cbor_numeric_date(&r);
    lk_cbor_leave_map(&r);
    return lk_cbor_close(&r);
}

enum lk_err
lk_command_parse(struct lk_buf payload, struct lk_command *command)
{
    struct lk_command c = {0};
    enum lk_err err;

    *command = c;
    if (payload.cap == 0)
        return LK_ERR_TRUNCATED;
    /* Contracts section 10: the first byte decides. A CBOR map begins with 0xa0 to 0xbf. */
    err = (payload.ptr[0] & 0xe0) == 0xa0 ? parse_cbor(payload, &c) : parse_json(payload, &c);
    if (err == LK_OK && c.name.len == 0)
        err = LK_ERR_MISSING;
    if (err == LK_OK)
        *command = c;
    return err;
}
