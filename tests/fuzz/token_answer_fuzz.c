/*
 * The answer of a token endpoint, and a command's payload.
 */
#include "fuzz.h"

#include <latchkey/device.h>

static bool
is_inside(struct lk_span part, const uint8_t *data, size_t size)
{
    return part.len == 0 || (part.ptr >= data && part.ptr + part.len <= data + size);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t copy[65536];
    struct lk_token_answer a;
    struct lk_command c;

    if (lk_token_answer_parse(lk_span_of(data, size), &a) == LK_OK) {
        PROMISE(is_inside(a.access_token, data, size) && is_inside(a.refresh_token, data, size));
        PROMISE(a.error != 0 || (a.access_token.len > 0 && a.expires_in_s > 0));
    } else {
        PROMISE(a.access_token.ptr == NULL && a.refresh_token.ptr == NULL && a.error == 0);
    }
    if (size > sizeof(copy))
        return 0;
    if (size > 0)
        memcpy(copy, data, size);
    if (lk_command_parse((struct lk_buf){copy, size}, &c) == LK_OK) {
        PROMISE(c.name.len > 0 && is_inside(c.name, copy, size) && is_inside(c.args, copy, size));
    } else {
        PROMISE(c.name.ptr == NULL && c.args.ptr == NULL);
    }
    return 0;
}
