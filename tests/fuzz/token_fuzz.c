/*
 * Tokens, and claims sets by themselves, so that the fuzzer need not get past a signature.
 * Nothing it makes up may verify; claims that were read can be written and read again.
 */
#include "fuzz.h"

#include <latchkey/token.h>

#include "trusted.h"

static void
claims_alone(const uint8_t *data, size_t size)
{
    static uint8_t room[1 << 16];
    struct lk_claims claims;
    struct lk_span in = lk_span_of(data, size), value;
    uint8_t value_room[32];

    if (size > LK_TOKEN_MAX)
        return;
    if (lk_claims_read_jwt(in, LK_BUF_OF(room), &claims) == LK_OK) {
        (void)lk_claims_get_text(&claims, LK_SPAN("dty"), LK_BUF_OF(value_room), &value);
        claims_write_back(&claims);
    }
    if (lk_claims_read_cwt(in, &claims) == LK_OK) {
        (void)lk_claims_get_text(&claims, LK_SPAN("dty"), LK_BUF_OF(value_room), &value);
        claims_write_back(&claims);
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t scratch[LK_TOKEN_SCRATCH_MAX];
    struct lk_span text = lk_span_of(data, size);
    struct lk_token token;
    enum lk_err err;

    claims_alone(data, size);
    err = lk_token_parse(text, LK_BUF_OF(scratch), &token);
    PROMISE(size <= LK_TOKEN_MAX || err == LK_ERR_LIMIT);
    PROMISE(err != LK_ERR_NO_SPACE);
    if (err != LK_OK)
        return 0;
    token_lies_in(&token, text, lk_span_of(scratch, sizeof(scratch)));
    claims_write_back(&token.claims);
    /* the seeds are signed with other keys or for another time */
    PROMISE(lk_token_verify(trusted_verifier(), text, TRUSTED_NOW_S, LK_BUF_OF(scratch), &token) !=
            LK_OK);
    return 0;
}
