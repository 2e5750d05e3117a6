#include "cose_parts.h"

#include "cbor_head.h"
#include "cbor_item.h"

#include <string.h>

/* RFC 9052 section 3.1 */
#define LABEL_ALG  1
#define LABEL_CRIT 2
#define LABEL_KID  4
#define LABEL_BITS 32 /* labels below are told apart by a bit each */

#define TAG_CWT    61 /* RFC 8392 section 6 */
#define BODY_LEN   4  /* items of a COSE_Sign1 or COSE_Mac0 */
#define DEPTH_BODY 1  /* containers around what is in it */

/* alg, kid, and the heads of the protected map around them; a multiple of 8 */
#define PROTECTED_ROOM (LK_KID_MAX + 24)
#define PREFIX_ROOM    (PROTECTED_ROOM + 32)

static bool
alg_is_mac(enum lk_alg alg)
{
    return alg == LK_ALG_HS256 || alg == LK_ALG_HS256_64;
}

/* A bucket of header parameters, and what of it we look at. */
struct bucket {
    bool is_protected;
    struct lk_cbor_keys keys;
    unsigned seen;   /* bit n: label n is there */
    unsigned others; /* labels that have no bit */
    unsigned crit;   /* bit n: crit names label n */
    enum lk_alg alg; /* of the protected one */
    struct lk_span kid;
};

/* The algorithm whose head was just taken. */
static enum lk_alg
alg_of(const struct lk_cbor_in *in)
{
    int64_t id = (int64_t)(in->value & INT64_MAX);

    return lk_alg_from_cose(in->major == LK_CBOR_UINT ? id : -1 - id);
}

/* An algorithm is an integer or, registered for none of ours, a text. */
static enum lk_alg
alg_take(struct lk_cbor_in *in)
{
    lk_cbor_head_take(in);
    if (in->major == LK_CBOR_TEXT)
        lk_cbor_string_take(in);
    else if (in->major > LK_CBOR_NEGINT)
        lk_cbor_fail(in, LK_ERR_TYPE);
    else if (in->value > INT64_MAX)
        lk_cbor_fail(in, LK_ERR_RANGE);
    else
        return alg_of(in);
    return LK_ALG_NONE;
}

/* RFC 9052 section 3.1: crit names, in an array that is not empty, labels that are in the same map
 * and that the reader must understand. We understand alg and kid. */
static enum lk_err
crit_read(struct lk_span crit, unsigned *named)
{
    struct lk_cbor_in in;
    size_t count;

    lk_cbor_in_open(&in, crit);
    count = lk_cbor_container_take(&in, LK_CBOR_ARRAY, SIZE_MAX);
    if (count == 0)
        return LK_ERR_CRIT;
    for (size_t i = 0; i < count; i++) {
        lk_cbor_head_take(&in);
        if (in.major != LK_CBOR_UINT || (in.value != LABEL_ALG && in.value != LABEL_KID))
            return LK_ERR_CRIT;
        *named |= 1u << in.value;
    }
    return LK_OK;
}

/* Nothing in the unprotected bucket is believed but kid, which only chooses among our own keys. */
static void
parameter_take(struct lk_cbor_in *in, unsigned label, size_t depth, struct bucket *b)
{
    enum lk_err err = LK_OK;

    if (label == LABEL_KID) {
        lk_cbor_bytes_take(in);
        b->kid = in->content;
    } else if (label == LABEL_ALG && b->is_protected) {
        b->alg = alg_take(in);
    } else {
        lk_cbor_item_take(in, depth);
        if (label == LABEL_CRIT && b->is_protected && in->err == LK_OK)
            err = crit_read(in->content, &b->crit);
    }
    if (err != LK_OK)
        lk_cbor_fail(in, err);
}

/* Labels are integers or text (RFC 9052 section 1.5). Those that have no bit are told apart by
 * buckets_check. */
static void
bucket_take(struct lk_cbor_in *from, size_t depth, struct bucket *b)
{
    struct lk_cbor_in in = *from;

    lk_cbor_map_take(&in, &b->keys);
    for (size_t i = 0; i < b->keys.pairs && in.err == LK_OK; i++) {
        unsigned label = 0;

        lk_cbor_key_take(&in);
        if (in.major == LK_CBOR_BYTES)
            lk_cbor_fail(&in, LK_ERR_TYPE);
        if (in.major != LK_CBOR_UINT || in.value >= LABEL_BITS) {
            b->others++;
        } else {
            label = (unsigned)in.value;
            if ((b->seen >> label & 1) != 0)
                lk_cbor_fail(&in, LK_ERR_DUPLICATE);
            b->seen |= 1u << label;
        }
        parameter_take(&in, label, depth + 1, b);
    }
    *from = in;
}

/* The protected bucket is a map inside a byte string; 40 stands for an empty one. */
static enum lk_err
protected_read(struct lk_cose *out, struct bucket *b)
{
    struct lk_cbor_in in;

    lk_cbor_in_open(&in, out->protected_);
    if (out->protected_.len > 0)
        bucket_take(&in, 0, b);
    if (in.pos < in.end)
        lk_cbor_fail(&in, LK_ERR_TRAILING);
    if ((b->crit & ~b->seen) != 0)
        lk_cbor_fail(&in, LK_ERR_CRIT);
    if ((b->seen >> LABEL_ALG & 1) != 0 && b->alg == LK_ALG_NONE)
        lk_cbor_fail(&in, LK_ERR_ALG);
    /* RFC 9052 section 3: the empty map goes into the signature as no bytes at all. */
    if (b->keys.pairs == 0)
        out->protected_ = LK_SPAN("");
    return in.err;
}

/* RFC 9052 section 3: no label twice, neither in a bucket nor in both. */
static void
buckets_check(struct lk_cbor_in *in, const struct bucket *protected_,
              const struct bucket *unprotected)
{
    if ((protected_->seen & unprotected->seen) != 0)
        lk_cbor_fail(in, LK_ERR_DUPLICATE);
    if (protected_->others + unprotected->others > 1)
        lk_cbor_keys_check(in, &protected_->keys, &unprotected->keys);
    if ((unprotected->seen >> LABEL_ALG & 1) != 0)
        lk_cbor_fail(in, LK_ERR_ALG);
    if ((unprotected->seen >> LABEL_CRIT & 1) != 0)
        lk_cbor_fail(in, LK_ERR_CRIT);
}

static void
buckets_take(struct lk_cbor_in *in, struct lk_cose *out)
{
    struct bucket protected_ = {.is_protected = true}, unprotected = {.is_protected = false};
    enum lk_err err;

    lk_cbor_bytes_take(in);
    out->protected_ = in->content;
    if (in->err != LK_OK)
        return;
    err = protected_read(out, &protected_);
    if (err != LK_OK)
        lk_cbor_fail(in, err);
    bucket_take(in, DEPTH_BODY, &unprotected);
    buckets_check(in, &protected_, &unprotected);
    out->alg = protected_.alg;
    out->kid_protected = protected_.kid.ptr != NULL;
    out->kid = out->kid_protected ? protected_.kid : unprotected.kid;
    out->unprotected_empty = unprotected.keys.pairs == 0;
}

/* Encrypt0, Encrypt, Mac, Sign: RFC 9052 section 2 */
static bool
is_other_cose(uint64_t tag)
{
    return tag == 16 || (tag >= 96 && tag <= 98);
}

/* Tag 61, if it is there, encloses a tagged COSE object (RFC 8392 section 6). */
static void
tags_take(struct lk_cbor_in *in, enum lk_cose_kind untagged, struct lk_cose *out)
{
    out->kind = untagged;
    if (lk_cbor_major(in) != LK_CBOR_TAG) {
        if (untagged == LK_COSE_NONE)
            lk_cbor_fail(in, LK_ERR_TYPE);
        return;
    }
    lk_cbor_head_take(in);
    out->cwt_tag = in->value == TAG_CWT;
    if (out->cwt_tag)
        lk_cbor_head_take(in);
    out->cose_tag = true;
    if (in->major == LK_CBOR_TAG && (in->value == LK_COSE_SIGN1 || in->value == LK_COSE_MAC0))
        out->kind = (enum lk_cose_kind)in->value;
    else if (in->major == LK_CBOR_TAG && is_other_cose(in->value))
        lk_cbor_fail(in, LK_ERR_UNSUPPORTED);
    else
        lk_cbor_fail(in, LK_ERR_MALFORMED);
}

static void
body_take(struct lk_cbor_in *in, struct lk_cose *out)
{
    if (lk_cbor_container_take(in, LK_CBOR_ARRAY, SIZE_MAX) != BODY_LEN)
        lk_cbor_fail(in, LK_ERR_MALFORMED);
    buckets_take(in, out);
    if (out->alg == LK_ALG_NONE)
        lk_cbor_fail(in, LK_ERR_MISSING);
    if (alg_is_mac(out->alg) != (out->kind == LK_COSE_MAC0))
        lk_cbor_fail(in, LK_ERR_ALG);
    /* nil: the content is elsewhere, which no token's is */
    if (lk_cbor_major(in) == LK_CBOR_SIMPLE && (*in->pos & 31) < 25)
        lk_cbor_fail(in, LK_ERR_MISSING);
    lk_cbor_bytes_take(in);
    out->payload = in->content;
    lk_cbor_bytes_take(in);
    out->signature = in->content;
    if (in->pos < in->end)
        lk_cbor_fail(in, LK_ERR_TRAILING);
}

enum lk_err
lk_cose_parse(struct lk_span message, enum lk_cose_kind untagged, struct lk_cose *out)
{
    struct lk_cbor_in in;

    lk_cbor_in_open(&in, message);
    memset(out, 0, sizeof(*out));
    tags_take(&in, untagged, out);
    body_take(&in, out);
    if (in.err != LK_OK)
        memset(out, 0, sizeof(*out));
    return in.err;
}

/* What is signed. */

/* A part that is the head of a byte string, behind `len` bytes that stand in the room already. */
static struct lk_span
head_part(uint8_t room[LK_COSE_HEAD_MAX], size_t len, size_t content_len)
{
    len += lk_cbor_head_put(room + len, LK_CBOR_BYTES, content_len);
    return lk_span_of(room, len);
}

size_t
lk_cose_parts(const struct lk_cose *message, struct lk_span external_aad,
              uint8_t heads[LK_COSE_HEADS][LK_COSE_HEAD_MAX], struct lk_span *parts)
{
    /* An array of four, a text, and room for the head behind it */
    static const uint8_t sign1[] = "\x84\x6aSignature1", mac0[] = "\x84\x64MAC0";
    size_t len = message->kind == LK_COSE_MAC0 ? sizeof(mac0) - 1 : sizeof(sign1) - 1, count = 0;

    _Static_assert(sizeof(sign1) - 1 + LK_CBOR_HEAD_MAX <= LK_COSE_HEAD_MAX, "heads have room");
    memcpy(heads[0], message->kind == LK_COSE_MAC0 ? mac0 : sign1, len);
    parts[count++] = head_part(heads[0], len, message->protected_.len);
    parts[count++] = message->protected_;
    if (external_aad.len > 0) {
        parts[count++] = head_part(heads[1], 0, external_aad.len);
        parts[count++] = external_aad;
        parts[count++] = head_part(heads[2], 0, message->payload.len);
    } else {
        heads[1][0] = LK_CBOR_BYTES << 5; /* of no bytes */
        parts[count++] = head_part(heads[1], 1, message->payload.len);
    }
    parts[count++] = message->payload;
    return count;
}

enum lk_err
lk_cose_verify(const struct lk_cose *message, const struct lk_key *key, struct lk_span external_aad)
{
    uint8_t heads[LK_COSE_HEADS][LK_COSE_HEAD_MAX];
    struct lk_span parts[LK_PARTS_MAX];
    size_t count;

    if (key->alg == LK_ALG_NONE || key->alg != message->alg)
        return LK_ERR_ALG;
    count = lk_cose_parts(message, external_aad, heads, parts);
    return lk_crypto_verify(key, parts, count, message->signature);
}

/* The strict form. */

static enum lk_err
protected_write(enum lk_alg alg, struct lk_span kid, struct lk_buf room, struct lk_span *out)
{
    struct lk_cbor_out w;

    lk_cbor_write_open(&w, room);
    lk_cbor_write_map(&w, 2);
    lk_cbor_write_int(&w, LABEL_ALG);
    lk_cbor_write_int(&w, lk_alg_to_cose(alg));
    lk_cbor_write_int(&w, LABEL_KID);
    lk_cbor_write_bytes(&w, kid);
    return lk_cbor_write_close(&w, out);
}

/* Everything before the payload's content. */
static void
prefix_write(struct lk_cbor_out *w, enum lk_cose_kind kind, struct lk_span protected_,
             size_t payload_len)
{
    lk_cbor_write_tag(w, TAG_CWT);
    lk_cbor_write_tag(w, (uint64_t)kind);
    lk_cbor_write_array(w, 4);
    lk_cbor_write_bytes(w, protected_);
    lk_cbor_write_map(w, 0);
    lk_cbor_write_head(w, LK_CBOR_BYTES, payload_len);
}

/* A head in its shortest form. */
static void
own_head_take(struct lk_cbor_in *in, uint8_t major)
{
    const uint8_t *start = in->pos;

    lk_cbor_head_take(in);
    if (in->major != major || (size_t)(in->pos - start) != lk_cbor_head_len(in->value))
        lk_cbor_fail(in, LK_ERR_FORM);
}

static void
own_byte_take(struct lk_cbor_in *in, unsigned byte)
{
    if (in->pos == in->end || *in->pos != byte)
        lk_cbor_fail(in, LK_ERR_FORM);
    else
        in->pos++;
}

static struct lk_span
own_bytes_take(struct lk_cbor_in *in)
{
    own_head_take(in, LK_CBOR_BYTES);
    lk_cbor_content_take(in);
    return in->content;
}

/* An algorithm by the id we write. */
static enum lk_alg
own_alg_take(struct lk_cbor_in *in)
{
    uint8_t major = lk_cbor_major(in) == LK_CBOR_UINT ? LK_CBOR_UINT : LK_CBOR_NEGINT;
    int64_t id;

    own_head_take(in, major);
    id = (int64_t)(in->value & INT64_MAX);
    if (major == LK_CBOR_NEGINT)
        id = -1 - id;
    /* 0 is reserved, and not the id of no algorithm. */
    if (in->value > INT64_MAX || alg_of(in) == LK_ALG_NONE || lk_alg_to_cose(alg_of(in)) != id)
        lk_cbor_fail(in, LK_ERR_FORM);
    return alg_of(in);
}

/* What protected_write writes, in its byte string. */
static void
own_protected_take(struct lk_cbor_in *in, struct lk_cose *out)
{
    const uint8_t *start;
    uint64_t len;

    own_head_take(in, LK_CBOR_BYTES);
    len = in->value;
    start = in->pos;
    own_byte_take(in, LK_CBOR_MAP << 5 | 2);
    own_byte_take(in, LABEL_ALG);
    out->alg = own_alg_take(in);
    own_byte_take(in, LABEL_KID);
    out->kid = own_bytes_take(in);
    out->protected_ = lk_span_of(start, (size_t)(in->pos - start));
    if (out->protected_.len != len)
        lk_cbor_fail(in, LK_ERR_FORM);
}

bool
lk_cose_parse_own(struct lk_span bytes, struct lk_cose *out)
{
    struct lk_cbor_in in;
    uint64_t tag;

    lk_cbor_in_open(&in, bytes);
    *out = (struct lk_cose){
        .cwt_tag = true, .cose_tag = true, .kid_protected = true, .unprotected_empty = true};
    own_byte_take(&in, LK_CBOR_TAG << 5 | 24);
    own_byte_take(&in, TAG_CWT);
    own_head_take(&in, LK_CBOR_TAG);
    tag = in.value;
    own_byte_take(&in, LK_CBOR_ARRAY << 5 | BODY_LEN);
    own_protected_take(&in, out);
    own_byte_take(&in, LK_CBOR_MAP << 5);
    out->payload = own_bytes_take(&in);
    out->signature = own_bytes_take(&in);
    out->kind = alg_is_mac(out->alg) ? LK_COSE_MAC0 : LK_COSE_SIGN1;
    if (in.err == LK_OK && in.pos == in.end && tag == out->kind && out->kid.len > 0 &&
        out->kid.len <= LK_KID_MAX &&
        (out->alg != LK_ALG_ES256 || lk_crypto_is_low_s(out->signature)))
        return true;
    memset(out, 0, sizeof(*out));
    return false;
}

enum lk_err
lk_cose_write_cwt(const struct lk_key *key, struct lk_span payload, struct lk_buf room,
                  struct lk_span *out)
{
    uint8_t protected_room[PROTECTED_ROOM], signature_room[64];
    uint8_t heads[LK_COSE_HEADS][LK_COSE_HEAD_MAX];
    struct lk_span parts[LK_PARTS_MAX], signature;
    struct lk_cose message = {.payload = payload};
    struct lk_cbor_out w;
    size_t count;
    enum lk_err err;

    *out = (struct lk_span){NULL, 0};
    if (key->kid_len == 0)
        return LK_ERR_KEY;
    message.kind = alg_is_mac(key->alg) ? LK_COSE_MAC0 : LK_COSE_SIGN1;
    err =
        protected_write(key->alg, lk_key_kid(key), LK_BUF_OF(protected_room), &message.protected_);
    if (err != LK_OK)
        return err;
    count = lk_cose_parts(&message, (struct lk_span){NULL, 0}, heads, parts);
    err = lk_crypto_sign(key, parts, count, LK_BUF_OF(signature_room), &signature);
    if (err != LK_OK)
        return err;
    lk_cbor_write_open(&w, room);
    prefix_write(&w, message.kind, message.protected_, payload.len);
    lk_cbor_write_raw(&w, payload);
    lk_cbor_write_bytes(&w, signature);
    return lk_cbor_write_close(&w, out);
}
