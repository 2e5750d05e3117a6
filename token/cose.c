#include "cose_parts.h"

#include "cbor_head.h"

#include <string.h>

/* RFC 9052 section 3.1 */
#define LABEL_ALG  1
#define LABEL_CRIT 2
#define LABEL_KID  4

#define TAG_CWT 61 /* RFC 8392 section 6 */

/* alg, kid, and the heads of the protected map around them; a multiple of 8 */
#define PROTECTED_ROOM (LK_KID_MAX + 24)
#define PREFIX_ROOM    (PROTECTED_ROOM + 32)

static bool
alg_is_mac(enum lk_alg alg)
{
    return alg == LK_ALG_HS256 || alg == LK_ALG_HS256_64;
}

enum lk_err
lk_cose_alg_read(struct lk_cbor *r, enum lk_alg *alg)
{
    *alg = LK_ALG_NONE;
    if (lk_cbor_peek(r) == LK_CBOR_TEXT)
        lk_cbor_skip(r);
    else
        *alg = lk_alg_from_cose(lk_cbor_int(r));
    if (r->err != LK_OK)
        return r->err;
    return *alg == LK_ALG_NONE ? LK_ERR_ALG : LK_OK;
}

/* RFC 9052 section 3.1: crit names, in an array that is not empty, labels that are in the same map
 * and that the reader must understand. We understand alg and kid. */
static enum lk_err
crit_check(struct lk_cbor *map)
{
    struct lk_cbor r = *map;
    size_t count;

    if (!lk_cbor_map_find(&r, LABEL_CRIT))
        return LK_OK;
    count = lk_cbor_enter_array(&r);
    if (r.err != LK_OK || count == 0)
        return LK_ERR_CRIT;
    for (size_t i = 0; i < count; i++) {
        struct lk_cbor look = *map;
        int64_t label = lk_cbor_int(&r);

        if (r.err != LK_OK || (label != LABEL_ALG && label != LABEL_KID) ||
            !lk_cbor_map_find(&look, label))
            return LK_ERR_CRIT;
    }
    return LK_OK;
}

/* Labels are integers or text (RFC 9052 section 1.5). */
static enum lk_err
labels_check(const struct lk_cbor *map, size_t pairs)
{
    struct lk_cbor r = *map;

    for (size_t i = 0; i < pairs; i++) {
        if (lk_cbor_peek(&r) == LK_CBOR_TEXT)
            lk_cbor_skip(&r);
        else
            (void)lk_cbor_int(&r);
        lk_cbor_skip(&r);
    }
    return r.err;
}

/* Open the protected bucket as a map; 40 stands for an empty one. */
static enum lk_err
protected_open(struct lk_cose *out, struct lk_cbor *map)
{
    static const uint8_t empty_map[] = {0xa0};
    struct lk_cbor whole;
    size_t pairs;
    enum lk_err err;

    lk_cbor_open(&whole, out->protected_);
    if (out->protected_.len == 0)
        lk_cbor_open(&whole, lk_span_of(empty_map, sizeof(empty_map)));
    *map = whole;
    lk_cbor_skip(&whole);
    err = lk_cbor_close(&whole);
    pairs = lk_cbor_enter_map(map);
    if (err == LK_OK)
        err = map->err;
    if (err == LK_OK)
        err = labels_check(map, pairs);
    /* RFC 9052 section 3: the empty map goes into the signature as no bytes at all. */
    if (err == LK_OK && pairs == 0)
        out->protected_ = LK_SPAN("");
    return err;
}

static enum lk_err
protected_read(struct lk_cose *out, struct lk_cbor *map)
{
    enum lk_err err = protected_open(out, map);
    struct lk_cbor r = *map;

    if (err == LK_OK)
        err = crit_check(map);
    if (err == LK_OK && lk_cbor_map_find(&r, LABEL_ALG))
        err = lk_cose_alg_read(&r, &out->alg);
    if (err != LK_OK)
        return err;
    out->kid = lk_cbor_map_bytes(&r, LABEL_KID);
    out->kid_protected = out->kid.ptr != NULL;
    return r.err;
}

/* Does a map have the label that is next in a reader? */
static bool
label_is_in(const struct lk_cbor *map, const struct lk_cbor *at)
{
    struct lk_cbor look = *map, label = *at;

    if (lk_cbor_peek(&label) == LK_CBOR_TEXT)
        return lk_cbor_map_find_text(&look, lk_cbor_text(&label));
    return lk_cbor_map_find(&look, lk_cbor_int(&label));
}

/* Nothing in the unprotected bucket is believed but kid, which only chooses among our own keys. */
static enum lk_err
unprotected_read(struct lk_cbor *r, const struct lk_cbor *protected_map, struct lk_cose *out)
{
    size_t pairs = lk_cbor_enter_map(r);
    enum lk_err err = r->err != LK_OK ? r->err : labels_check(r, pairs);
    struct lk_cbor walk = *r;

    if (err != LK_OK)
        return err;
    out->unprotected_empty = pairs == 0;
    for (size_t i = 0; i < pairs; i++) {
        if (label_is_in(protected_map, &walk))
            return LK_ERR_DUPLICATE;
        lk_cbor_skip(&walk);
        lk_cbor_skip(&walk);
    }
    if (lk_cbor_map_find(r, LABEL_ALG))
        return LK_ERR_ALG;
    if (lk_cbor_map_find(r, LABEL_CRIT))
        return LK_ERR_CRIT;
    if (!out->kid_protected)
        out->kid = lk_cbor_map_bytes(r, LABEL_KID);
    lk_cbor_leave_map(r);
    return r->err;
}

/* Tag 61, if it is there, encloses a tagged COSE object (RFC 8392 section 6). */
static enum lk_err
tags_read(struct lk_cbor *r, enum lk_cose_kind untagged, struct lk_cose *out)
{
    uint64_t tag;

    out->kind = untagged;
    if (lk_cbor_peek(r) != LK_CBOR_TAG)
        return untagged == LK_COSE_NONE ? LK_ERR_TYPE : LK_OK;
    tag = lk_cbor_tag(r);
    if (tag == TAG_CWT) {
        out->cwt_tag = true;
        if (lk_cbor_peek(r) != LK_CBOR_TAG)
            return r->err != LK_OK ? r->err : LK_ERR_MALFORMED;
        tag = lk_cbor_tag(r);
    }
    if (r->err != LK_OK)
        return r->err;
    out->cose_tag = true;
    if (tag == LK_COSE_SIGN1 || tag == LK_COSE_MAC0) {
        out->kind = (enum lk_cose_kind)tag;
        return LK_OK;
    }
    /* Encrypt0, Encrypt, Mac, Sign: RFC 9052 section 2 */
    return tag == 16 || (tag >= 96 && tag <= 98) ? LK_ERR_UNSUPPORTED : LK_ERR_MALFORMED;
}

static enum lk_err
body_read(struct lk_cbor *r, struct lk_cose *out)
{
    size_t items = lk_cbor_enter_array(r);
    struct lk_cbor map;
    enum lk_err err;

    if (r->err != LK_OK)
        return r->err;
    if (items != 4)
        return LK_ERR_MALFORMED;
    out->protected_ = lk_cbor_bytes(r);
    if (r->err != LK_OK)
        return r->err;
    err = protected_read(out, &map);
    if (err == LK_OK)
        err = unprotected_read(r, &map, out);
    if (err != LK_OK)
        return err;
    if (out->alg == LK_ALG_NONE)
        return LK_ERR_MISSING;
    if (alg_is_mac(out->alg) != (out->kind == LK_COSE_MAC0))
        return LK_ERR_ALG;
    /* nil: the content is elsewhere, which no token's is */
    if (lk_cbor_peek(r) == LK_CBOR_SIMPLE)
        return LK_ERR_MISSING;
    out->payload = lk_cbor_bytes(r);
    out->signature = lk_cbor_bytes(r);
    lk_cbor_leave_array(r);
    return lk_cbor_close(r);
}

enum lk_err
lk_cose_parse(struct lk_span message, enum lk_cose_kind untagged, struct lk_cose *out)
{
    struct lk_cbor r;
    enum lk_err err;

    memset(out, 0, sizeof(*out));
    lk_cbor_open(&r, message);
    err = tags_read(&r, untagged, out);
    if (err == LK_OK)
        err = body_read(&r, out);
    if (err != LK_OK)
        memset(out, 0, sizeof(*out));
    return err;
}

/* What is signed. */

static struct lk_span
head_close(struct lk_cbor_out *w)
{
    struct lk_span head;

    /* The rooms are as large as the longest head (LK_COSE_HEAD_MAX). */
    if (lk_cbor_write_close(w, &head) != LK_OK)
        return (struct lk_span){NULL, 0};
    return head;
}

static struct lk_span
bytes_head(uint8_t room[LK_COSE_HEAD_MAX], size_t len)
{
    struct lk_cbor_out w;

    lk_cbor_write_open(&w, (struct lk_buf){room, LK_COSE_HEAD_MAX});
    lk_cbor_write_head(&w, LK_CBOR_BYTES, len);
    return head_close(&w);
}

size_t
lk_cose_parts(const struct lk_cose *message, struct lk_span external_aad,
              uint8_t heads[LK_COSE_HEADS][LK_COSE_HEAD_MAX], struct lk_span parts[LK_PARTS_MAX])
{
    bool is_mac = message->kind == LK_COSE_MAC0;
    struct lk_cbor_out w;
    size_t count = 0;

    lk_cbor_write_open(&w, (struct lk_buf){heads[0], LK_COSE_HEAD_MAX});
    lk_cbor_write_array(&w, 4);
    lk_cbor_write_text(&w, is_mac ? LK_SPAN("MAC0") : LK_SPAN("Signature1"));
    lk_cbor_write_head(&w, LK_CBOR_BYTES, message->protected_.len);
    parts[count++] = head_close(&w);
    parts[count++] = message->protected_;
    if (external_aad.len > 0) {
        parts[count++] = bytes_head(heads[1], external_aad.len);
        parts[count++] = external_aad;
        parts[count++] = bytes_head(heads[2], message->payload.len);
    } else {
        lk_cbor_write_open(&w, (struct lk_buf){heads[1], LK_COSE_HEAD_MAX});
        lk_cbor_write_head(&w, LK_CBOR_BYTES, 0);
        lk_cbor_write_head(&w, LK_CBOR_BYTES, message->payload.len);
        parts[count++] = head_close(&w);
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

bool
lk_cose_is_own_form(struct lk_span bytes, const struct lk_cose *message)
{
    uint8_t protected_room[PROTECTED_ROOM], prefix_room[PREFIX_ROOM];
    uint8_t head_room[LK_COSE_HEAD_MAX];
    struct lk_span protected_, prefix, tail, head;
    struct lk_cbor_out w;

    if (message->kid.len == 0 || message->kid.len > LK_KID_MAX)
        return false;
    if (message->alg == LK_ALG_ES256 && !lk_crypto_is_low_s(message->signature))
        return false;
    if (protected_write(message->alg, message->kid, LK_BUF_OF(protected_room), &protected_) !=
        LK_OK)
        return false;
    lk_cbor_write_open(&w, LK_BUF_OF(prefix_room));
    prefix_write(&w, message->kind, protected_, message->payload.len);
    if (lk_cbor_write_close(&w, &prefix) != LK_OK)
        return false;
    head = bytes_head(head_room, message->signature.len);
    if (bytes.len != prefix.len + message->payload.len + head.len + message->signature.len)
        return false;
    tail = lk_span_of(bytes.ptr + prefix.len + message->payload.len, head.len);
    return lk_span_equal(lk_span_of(bytes.ptr, prefix.len), prefix) && lk_span_equal(tail, head);
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
