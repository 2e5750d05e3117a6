#include <latchkey/cose_encrypt.h>

#include "cbor_head.h"
#include "cbor_item.h"

#include <string.h>

#include <latchkey/crypto.h>

/* RFC 9052 section 3.1 */
#define LABEL_ALG        1
#define LABEL_CRIT       2
#define LABEL_KID        4
#define LABEL_IV         5
#define LABEL_PARTIAL_IV 6

#define TAG_ENCRYPT0 16
#define TAG_CWT      61 /* RFC 8392 section 6 */

#define HEAD_MAX 24 /* bytes: array, context string of 8, head of a byte string */

/* Labels are integers or text (RFC 9052 section 1.5). The map was just entered. */
static enum lk_err
labels_check(const struct lk_cbor *map, size_t pairs)
{
    struct lk_cbor r = *map;

    for (size_t i = 0; i < pairs && r.err == LK_OK; i++) {
        if (lk_cbor_peek(&r) == LK_CBOR_TEXT)
            lk_cbor_skip(&r);
        else
            (void)lk_cbor_int(&r);
        lk_cbor_skip(&r);
    }
    return r.err;
}

/* RFC 9052 section 3.1: a list, not empty, of labels that are in the same map and understood. It
 * may be as long as the message, so what it names is noted and looked for once. */
static enum lk_err
crit_check(const struct lk_cbor *map)
{
    struct lk_cbor r = *map, look = *map;
    unsigned named = 0; /* bit n: label n */
    size_t count;

    if (!lk_cbor_map_find(&r, LABEL_CRIT))
        return LK_OK;
    count = lk_cbor_enter_array(&r);
    if (r.err != LK_OK || count == 0)
        return LK_ERR_CRIT;
    for (size_t i = 0; i < count; i++) {
        int64_t label = lk_cbor_int(&r);

        if (r.err != LK_OK || (label != LABEL_ALG && label != LABEL_KID && label != LABEL_IV))
            return LK_ERR_CRIT;
        named |= 1u << label;
    }
    for (int label = LABEL_ALG; label <= LABEL_IV; label++)
        if ((named >> label & 1) != 0 && !lk_cbor_map_find(&look, label))
            return LK_ERR_CRIT;
    return LK_OK;
}

static enum lk_err
alg_read(const struct lk_cbor *map, enum lk_aead *cipher)
{
    struct lk_cbor r = *map;

    if (!lk_cbor_map_find(&r, LABEL_ALG))
        return LK_ERR_MISSING;
    if (lk_cbor_peek(&r) == LK_CBOR_TEXT)
        return LK_ERR_ALG; /* registered for none of ours */
    *cipher = lk_aead_from_cose(lk_cbor_int(&r));
    if (r.err != LK_OK)
        return r.err;
    return *cipher == LK_AEAD_NONE ? LK_ERR_ALG : LK_OK;
}

/* What either bucket may have. */
static enum lk_err
shared_read(const struct lk_cbor *map, struct lk_cose_encrypt0 *out)
{
    struct lk_cbor r = *map;

    if (lk_cbor_map_find(&r, LABEL_PARTIAL_IV))
        return LK_ERR_UNSUPPORTED;
    if (out->kid.ptr == NULL)
        out->kid = lk_cbor_map_bytes(&r, LABEL_KID);
    if (out->iv.ptr == NULL)
        out->iv = lk_cbor_map_bytes(&r, LABEL_IV);
    return r.err;
}

/* @param map  [out] the protected bucket, entered, with so many pairs. */
static enum lk_err
protected_read(struct lk_cose_encrypt0 *out, struct lk_cbor *map, size_t *pairs)
{
    static const uint8_t empty[] = {0xa0};
    struct lk_cbor whole;
    enum lk_err err;

    lk_cbor_open(&whole,
                 out->protected_.len > 0 ? out->protected_ : lk_span_of(empty, sizeof(empty)));
    *map = whole;
    lk_cbor_skip(&whole);
    err = lk_cbor_close(&whole);
    *pairs = lk_cbor_enter_map(map);
    if (err == LK_OK)
        err = map->err;
    if (err == LK_OK)
        err = labels_check(map, *pairs);
    if (err == LK_OK)
        err = crit_check(map);
    /* RFC 9052 section 5.3: the empty map is authenticated as no bytes at all. */
    if (err == LK_OK && *pairs == 0)
        out->protected_ = LK_SPAN("");
    return err == LK_OK ? shared_read(map, out) : err;
}

/* RFC 9052 section 3: no label in both buckets. Within one, enter_map has looked already. */
static enum lk_err
buckets_check(const struct lk_cbor_keys *protected_, const struct lk_cbor *unprotected,
              size_t pairs)
{
    struct lk_cbor_keys more = {unprotected->pos, pairs};
    struct lk_cbor_in in = {.pos = unprotected->pos, .end = unprotected->end};

    lk_cbor_keys_check(&in, protected_, &more);
    return in.err;
}

static enum lk_err
unprotected_read(struct lk_cbor *r, const struct lk_cbor_keys *protected_,
                 struct lk_cose_encrypt0 *out)
{
    size_t pairs = lk_cbor_enter_map(r);
    enum lk_err err = r->err != LK_OK ? r->err : labels_check(r, pairs);
    struct lk_cbor look = *r;

    if (err == LK_OK)
        err = buckets_check(protected_, r, pairs);
    if (err == LK_OK && lk_cbor_map_find(&look, LABEL_ALG))
        err = LK_ERR_ALG;
    if (err == LK_OK && lk_cbor_map_find(&look, LABEL_CRIT))
        err = LK_ERR_CRIT;
    if (err == LK_OK)
        err = shared_read(r, out);
    lk_cbor_leave_map(r);
    return err;
}

/* Tag 61, if it is there, encloses a tagged COSE object (RFC 8392 section 6). */
static enum lk_err
tags_read(struct lk_cbor *r, bool untagged, struct lk_cose_encrypt0 *out)
{
    uint64_t tag;

    if (lk_cbor_peek(r) != LK_CBOR_TAG)
        return untagged ? LK_OK : LK_ERR_TYPE;
    tag = lk_cbor_tag(r);
    out->cwt_tag = tag == TAG_CWT;
    if (out->cwt_tag) {
        if (lk_cbor_peek(r) != LK_CBOR_TAG)
            return r->err != LK_OK ? r->err : LK_ERR_MALFORMED;
        tag = lk_cbor_tag(r);
    }
    if (r->err != LK_OK)
        return r->err;
    out->cose_tag = tag == TAG_ENCRYPT0;
    if (out->cose_tag)
        return LK_OK;
    return tag == 17 || tag == 18 || (tag >= 96 && tag <= 98) ? LK_ERR_UNSUPPORTED
                                                              : LK_ERR_MALFORMED;
}

static enum lk_err
header_read(struct lk_cbor *r, struct lk_cose_encrypt0 *out)
{
    struct lk_cbor_keys keys;
    struct lk_cbor map;
    enum lk_err err;

    out->protected_ = lk_cbor_bytes(r);
    if (r->err != LK_OK)
        return r->err;
    err = protected_read(out, &map, &keys.pairs);
    keys.first = map.pos;
    if (err == LK_OK)
        err = unprotected_read(r, &keys, out);
    if (err == LK_OK)
        err = alg_read(&map, &out->cipher);
    if (err == LK_OK && out->iv.ptr == NULL)
        err = LK_ERR_MISSING;
    if (err == LK_OK && out->iv.len != lk_aead_sizes_of(out->cipher).nonce)
        err = LK_ERR_MALFORMED;
    return err;
}

static enum lk_err
body_read(struct lk_cbor *r, struct lk_cose_encrypt0 *out)
{
    size_t items = lk_cbor_enter_array(r);
    enum lk_err err;

    if (r->err != LK_OK)
        return r->err;
    if (items != 3)
        return LK_ERR_MALFORMED;
    err = header_read(r, out);
    if (err != LK_OK)
        return err;
    /* nil: the content is elsewhere, which no token's is */
    if (lk_cbor_peek(r) == LK_CBOR_SIMPLE)
        return LK_ERR_MISSING;
    out->ciphertext = lk_cbor_bytes(r);
    lk_cbor_leave_array(r);
    return lk_cbor_close(r);
}

bool
lk_cose_is_encrypt0(struct lk_span message)
{
    struct lk_cose_encrypt0 tags = {.cwt_tag = false};
    struct lk_cbor r;

    lk_cbor_open(&r, message);
    return tags_read(&r, false, &tags) == LK_OK;
}

enum lk_err
lk_cose_encrypt0_parse(struct lk_span message, bool untagged, struct lk_cose_encrypt0 *out)
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

/* The first piece of the Enc_structure (RFC 9052 section 5.3), up to what is protected. */
static enum lk_err
context_write(struct lk_buf room, size_t protected_len, struct lk_span *out)
{
    struct lk_cbor_out w;

    lk_cbor_write_open(&w, room);
    lk_cbor_write_array(&w, 3);
    lk_cbor_write_text(&w, LK_SPAN("Encrypt0"));
    lk_cbor_write_head(&w, LK_CBOR_BYTES, protected_len);
    return lk_cbor_write_close(&w, out);
}

static enum lk_err
bytes_head_write(struct lk_buf room, size_t len, struct lk_span *out)
{
    struct lk_cbor_out w;

    lk_cbor_write_open(&w, room);
    lk_cbor_write_head(&w, LK_CBOR_BYTES, len);
    return lk_cbor_write_close(&w, out);
}

enum lk_err
lk_cose_encrypt0_decrypt(const struct lk_cose_encrypt0 *message, const struct lk_key *key,
                         struct lk_span external_aad, struct lk_buf room, struct lk_span *plain)
{
    uint8_t context[HEAD_MAX], aad_head[LK_CBOR_HEAD_MAX];
    struct lk_span parts[4] = {{NULL, 0}, message->protected_, {NULL, 0}, external_aad};
    enum lk_err err;

    *plain = (struct lk_span){NULL, 0};
    if (key->alg != LK_ALG_AEAD || message->cipher == LK_AEAD_NONE ||
        key->u.oct.cipher != message->cipher)
        return LK_ERR_ALG;
    err = context_write(LK_BUF_OF(context), message->protected_.len, &parts[0]);
    if (err == LK_OK)
        err = bytes_head_write(LK_BUF_OF(aad_head), external_aad.len, &parts[2]);
    if (err != LK_OK)
        return err;
    return lk_crypto_decrypt(key, message->iv, parts, 4, message->ciphertext, room, plain);
}
