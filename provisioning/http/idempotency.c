/*
 * Idempotency-Key: a caller that lost an answer asks again with the same key and gets the same
 * answer, secrets included. The answer is stored with the effect, in one transaction, sealed.
 */
#include "call.h"

#include <stdio.h>
#include <string.h>

#include <latchkey/crypto.h>

#include "../keys/seal.h"

#define ANSWER_MAX 16384 /* bytes; answers of POST are some hundreds */

/** Stored before the body: status, then the body. */
#define ANSWER_HEAD 2

static bool
key_is_fine(const char *key)
{
    size_t len = strlen(key);

    if (len == 0 || len > IDEMPOTENCY_MAX)
        return false;
    for (size_t i = 0; i < len; i++)
        if (key[i] < 0x21 || key[i] > 0x7e)
            return false;
    return true;
}

/** What makes two requests the same: path, query and body, byte by byte. */
static enum lk_err
request_hash(const struct http_inner *in, uint8_t out[32])
{
    static const struct lk_span label = {(const uint8_t *)"latchkeyd request v1", 20};
    uint8_t path[32], query[32];
    struct lk_span parts[3];
    enum lk_err err = lk_crypto_sha256(lk_span_text(in->path), path);

    if (err == LK_OK)
        err = lk_crypto_sha256(lk_span_text(in->query_text), query);
    parts[0] = lk_span_of(path, sizeof(path));
    parts[1] = lk_span_of(query, sizeof(query));
    parts[2] = in->raw_body.ptr == NULL ? LK_SPAN("") : in->raw_body;
    return err == LK_OK ? lk_crypto_hmac_sha256(label, parts, 3, out) : err;
}

bool
idempotency_open(struct http_call *call)
{
    struct http_inner *in = call_inner(call);
    bool many;
    const char *key = http_request_header(call, "Idempotency-Key", &many);

    if (key == NULL)
        return true;
    if (many || !key_is_fine(key)) {
        http_problem(call, 400, "invalid_idempotency_key",
                     "Idempotency-Key must be 1 to 128 visible ASCII characters, once");
        return false;
    }
    snprintf(in->key, sizeof(in->key), "%s", key);
    if (request_hash(in, in->key_body) != LK_OK) {
        http_fail(call, LK_ERR_CRYPTO);
        return false;
    }
    in->has_key = true;
    return true;
}

/** Caller, a zero byte, key: what the sealed answer belongs to. */
static struct lk_span
bound_of(const struct http_inner *in, char *room, size_t size)
{
    int len = snprintf(room, size, "%s%c%s", in->call.caller.id, '\0', in->key);

    return lk_span_of(room, (size_t)len);
}

static enum lk_err
answer_restore(struct http_call *call, struct lk_span plain)
{
    struct http_inner *in = call_inner(call);

    if (plain.len < ANSWER_HEAD)
        return LK_ERR_IO;
    http_answer_bytes(call, (unsigned)(plain.ptr[0] << 8 | plain.ptr[1]), "application/json",
                      lk_span_of(plain.ptr + ANSWER_HEAD, plain.len - ANSWER_HEAD));
    return in->status == 0 ? LK_ERR_IO : LK_OK;
}

enum lk_err
idempotency_find(struct store_db *db, struct http_call *call)
{
    struct http_inner *in = call_inner(call);
    uint8_t sealed_room[ANSWER_MAX + ANSWER_HEAD + LK_SEAL_OVERHEAD];
    uint8_t plain_room[ANSWER_MAX + ANSWER_HEAD];
    char bound[LK_SUBJECT_MAX + IDEMPOTENCY_MAX + 2];
    struct lk_span sealed, plain;
    enum lk_err err = store_answer_get(db, lk_span_text(call->caller.id), lk_span_text(in->key),
                                       in->key_body, call->now_s, LK_BUF_OF(sealed_room), &sealed);

    if (err == LK_ERR_NOT_FOUND)
        return LK_OK;
    if (err == LK_ERR_STATE)
        return http_problem_in(call, 422, "idempotency_key_reused",
                               "this Idempotency-Key was used for another request");
    if (err == LK_OK)
        err = seal_get(call->service->seal, SEAL_ANSWER, bound_of(in, bound, sizeof(bound)), sealed,
                       LK_BUF_OF(plain_room), &plain);
    if (err == LK_OK)
        err = answer_restore(call, plain);
    lk_wipe(plain_room, sizeof(plain_room));
    return err == LK_OK ? LK_ERR_EXISTS : LK_ERR_IO;
}

enum lk_err
idempotency_keep(struct store_db *db, struct http_call *call)
{
    struct http_inner *in = call_inner(call);
    uint8_t plain[ANSWER_MAX + ANSWER_HEAD];
    uint8_t room[ANSWER_MAX + ANSWER_HEAD + LK_SEAL_OVERHEAD];
    char bound[LK_SUBJECT_MAX + IDEMPOTENCY_MAX + 2];
    struct lk_span sealed;
    enum lk_err err;

    if (in->status == 0 || in->len > ANSWER_MAX)
        return LK_ERR_LIMIT;
    plain[0] = (uint8_t)(in->status >> 8);
    plain[1] = (uint8_t)in->status;
    if (in->len > 0)
        memcpy(plain + ANSWER_HEAD, in->bytes, in->len);
    err = seal_put(call->service->seal, SEAL_ANSWER, bound_of(in, bound, sizeof(bound)),
                   lk_span_of(plain, in->len + ANSWER_HEAD), LK_BUF_OF(room), &sealed);
    if (err == LK_OK)
        err = store_answer_put(db, lk_span_text(call->caller.id), lk_span_text(in->key),
                               in->key_body, sealed, call->now_s + IDEMPOTENCY_KEEP_S);
    lk_wipe(plain, sizeof(plain));
    return err;
}
