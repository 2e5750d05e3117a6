/*
 * A header, a line feed and a claims set, both JSON; from them a JWT, signed with the key its
 * header asks for. The fuzzer need not know base64url, and sees what stands behind the signature.
 */
#include "fuzz.h"

#include <latchkey/base64url.h>
#include <latchkey/crypto.h>

#include "trusted.h"

static uint8_t text_room[4 * LK_TOKEN_MAX], scratch[LK_TOKEN_SCRATCH_MAX];

static size_t
put_segment(size_t at, struct lk_span bytes, bool dot)
{
    struct lk_buf room = {text_room + at, sizeof(text_room) - at - 1};
    struct lk_span out;

    PROMISE(lk_base64url_encode(bytes, room, &out) == LK_OK);
    at += out.len;
    if (dot)
        text_room[at++] = '.';
    return at;
}

/* The header and the claims set with a signature of zeros, then with the right one. */
static struct lk_span
write_token(struct lk_span header, struct lk_span payload)
{
    static const uint8_t zeros[64];
    uint8_t signature_room[LK_SIGNATURE_MAX];
    struct lk_span signature = lk_span_of(zeros, sizeof(zeros)), signed_part;
    const struct lk_key *key;
    struct lk_token token;
    size_t len;

    len = put_segment(0, header, true);
    len = put_segment(len, payload, false);
    signed_part = lk_span_of(text_room, len);
    text_room[len++] = '.';
    if (lk_token_parse(lk_span_of(text_room, put_segment(len, signature, false)),
                       LK_BUF_OF(scratch), &token) == LK_OK) {
        PROMISE(token.part_count == 1 && lk_span_equal(token.parts[0], signed_part));
        key = trusted_key(token.alg);
        if (key != NULL)
            PROMISE(lk_crypto_sign(key, &signed_part, 1, LK_BUF_OF(signature_room), &signature) ==
                    LK_OK);
    }
    return lk_span_of(text_room, put_segment(len, signature, false));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *feed = size > 0 ? memchr(data, '\n', size) : NULL;
    struct lk_span text, payload;
    struct lk_token token;

    if (feed == NULL || size > LK_TOKEN_MAX)
        return 0;
    payload = lk_span_of(feed + 1, size - (size_t)(feed - data) - 1);
    text = write_token(lk_span_of(data, (size_t)(feed - data)), payload);
    if (text.len > LK_TOKEN_MAX || lk_token_parse(text, LK_BUF_OF(scratch), &token) != LK_OK)
        return 0;
    PROMISE(token.format == LK_FORMAT_JWT && lk_span_equal(token.claims.raw, payload));
    token_lies_in(&token, lk_span_of(NULL, 0), lk_span_of(scratch, sizeof(scratch)));
    claims_write_back(&token.claims);
    if (lk_token_verify(trusted_verifier(), text, TRUSTED_NOW_S, LK_BUF_OF(scratch), &token) ==
        LK_OK)
        accepted_holds(text, &token);
    return 0;
}
