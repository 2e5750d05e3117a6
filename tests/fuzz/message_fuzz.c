/*
 * What `latchkey token show` and `verify` read: the first byte chooses how, the rest is the input.
 * Spans stay inside, a payload becomes JSON or does not, and whatever the library takes for a token
 * is taken here too, with the same algorithm and key id.
 */
#include "fuzz.h"

#include <latchkey/token.h>

#include "claims_json.h"
#include "message.h"

static bool
is_inside(struct lk_span part, const void *room, size_t len)
{
    const uint8_t *start = room;

    return part.len == 0 || (part.ptr >= start && part.ptr + part.len <= start + len);
}

static void
payload_to_json(const struct message *m)
{
    json_t *claims = m->is_jws ? claims_from_json(m->payload) : claims_from_cbor(m->payload);
    char *text;

    if (claims == NULL)
        return;
    PROMISE(json_is_object(claims));
    text = json_dumps(claims, JSON_COMPACT);
    PROMISE(text != NULL);
    free(text);
    json_decref(claims);
}

static void
agree_with_library(struct lk_span in, const struct message *m, enum lk_err err)
{
    static uint8_t scratch[LK_TOKEN_SCRATCH_MAX];
    struct lk_token token;

    if (lk_token_parse(in, LK_BUF_OF(scratch), &token) != LK_OK)
        return;
    PROMISE(err == LK_OK);
    PROMISE(m->alg == token.alg);
    PROMISE(lk_span_equal(m->kid, token.kid));
    PROMISE(m->is_sealed == (token.sealed.message.ptr != NULL));
    PROMISE(m->is_jws == (token.format == LK_FORMAT_JWT));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct message m;
    struct message_wish wish = {.hex = size > 0 && (data[0] & 1) != 0,
                                .alg_unprotected = size > 0 && (data[0] & 2) != 0};
    struct lk_span in = size > 0 ? lk_span_of(data + 1, size - 1) : lk_span_of(data, 0);
    enum lk_err err = message_parse(in, &wish, &m);
    json_t *claims;

    if (err == LK_OK) {
        PROMISE(m.alg != LK_ALG_NONE);
        PROMISE(message_kind(&m) != NULL && message_alg(&m) != NULL);
        PROMISE(is_inside(m.payload, &m, sizeof(m)) || is_inside(m.payload, in.ptr, in.len));
        if (!m.is_sealed)
            payload_to_json(&m);
    }
    if (!wish.hex)
        agree_with_library(in, &m, err);
    claims = claims_from_cbor(in);
    json_decref(claims);
    return 0;
}
