/* The claims set of a CWT (RFC 8392), read. */
#include <latchkey/claims.h>

#include "cwt_labels.h"

#include <string.h>

#include <latchkey/cbor.h>

#define THUMBPRINT_LEN 32 /* bytes: SHA-256 (RFC 9679 section 5.6) */

/* The claims we know. Our own have their names as text keys, which the registered ones never do. */
enum claim {
    C_ISS,
    C_SUB,
    C_AUD,
    C_EXP,
    C_NBF,
    C_IAT,
    C_ID,
    C_CNF,
    C_SCOPE,
    C_TENANT,
    C_TYPE,
    C_CHILDREN,
    C_GENERATION,
    C_UNKNOWN
};

static enum claim
claim_by_name(struct lk_span name)
{
    static const struct {
        const char *name;
        enum claim claim;
    } names[] = {
        {"tnt", C_TENANT}, {"dty", C_TYPE}, {"children", C_CHILDREN}, {"gen", C_GENERATION}};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (lk_span_is(name, names[i].name))
            return names[i].claim;
    return C_UNKNOWN;
}

static enum claim
claim_by_number(int64_t number)
{
    static const enum claim claims[] = {
        [CWT_ISS] = C_ISS, [CWT_SUB] = C_SUB, [CWT_AUD] = C_AUD,
        [CWT_EXP] = C_EXP, [CWT_NBF] = C_NBF, [CWT_IAT] = C_IAT,
        [CWT_CTI] = C_ID,  [CWT_CNF] = C_CNF, [CWT_SCOPE] = C_SCOPE};

    return number >= CWT_ISS && number <= CWT_SCOPE ? claims[number] : C_UNKNOWN;
}

/* The key of a claims map. */
static enum claim
cwt_key(struct lk_cbor *r)
{
    if (lk_cbor_peek(r) == LK_CBOR_TEXT)
        return claim_by_name(lk_cbor_text(r));
    if (lk_cbor_peek(r) == LK_CBOR_BYTES) {
        lk_cbor_skip(r);
        return C_UNKNOWN;
    }
    return claim_by_number(lk_cbor_int(r));
}

/* A text without NUL, as in JSON: what ends up as a C string must not be cut short. */
static struct lk_span
cwt_text(struct lk_cbor *r)
{
    struct lk_span text = lk_cbor_text(r);

    if (text.len > 0 && memchr(text.ptr, 0, text.len) != NULL) {
        r->err = LK_ERR_MALFORMED;
        return (struct lk_span){NULL, 0};
    }
    return text;
}

static size_t
cwt_texts(struct lk_cbor *r, struct lk_span *out, size_t max)
{
    size_t count = lk_cbor_enter_array(r);

    if (r->err == LK_OK && count > max)
        r->err = LK_ERR_LIMIT;
    for (size_t i = 0; i < count && r->err == LK_OK; i++)
        out[i] = cwt_text(r);
    lk_cbor_leave_array(r);
    return r->err == LK_OK ? count : 0;
}

static void
cwt_audience(struct lk_cbor *r, struct lk_claims *c)
{
    if (lk_cbor_peek(r) == LK_CBOR_ARRAY) {
        c->audience_count = cwt_texts(r, c->audience, LK_AUDIENCE_MAX);
        return;
    }
    c->audience[0] = cwt_text(r);
    c->audience_count = 1;
}

/* RFC 8747 section 3.3: a COSE_Encrypt0 of three items; its tag may be left out. */
static bool
is_encrypt0(struct lk_span item)
{
    struct lk_cbor r;

    lk_cbor_open(&r, item);
    if (lk_cbor_peek(&r) == LK_CBOR_TAG && lk_cbor_tag(&r) != 16)
        return false;
    return lk_cbor_peek(&r) == LK_CBOR_ARRAY && lk_cbor_enter_array(&r) == 3;
}

/* One known member makes it what it is, members nobody knows are passed over; two known ones could
 * mean two keys (RFC 8747 section 3.1), and none means nothing we could check. */
static void
cwt_confirmation(struct lk_cbor *r, struct lk_claims *c)
{
    size_t pairs = lk_cbor_enter_map(r);
    unsigned known = 0;

    c->cnf = LK_CNF_OTHER;
    for (size_t i = 0; i < pairs && r->err == LK_OK; i++) {
        enum lk_cbor_type type = lk_cbor_peek(r);
        int64_t member = 0;

        if (type == LK_CBOR_UINT || type == LK_CBOR_NEGINT)
            member = lk_cbor_int(r);
        else
            lk_cbor_skip(r);
        known += member >= CNF_COSE_KEY && member <= CNF_CKT;
        if (member == CNF_COSE_KEY) {
            if (r->err == LK_OK && lk_cbor_peek(r) != LK_CBOR_MAP)
                r->err = LK_ERR_TYPE;
            c->cnf_value = lk_cbor_raw(r);
            c->cnf = LK_CNF_KEY;
        } else if (member == CNF_ENCRYPTED) {
            c->cnf_value = lk_cbor_raw(r);
            c->cnf = LK_CNF_ENCRYPTED;
        } else if (member == CNF_KID || member == CNF_CKT) {
            c->cnf_value = lk_cbor_bytes(r);
            c->cnf = member == CNF_KID ? LK_CNF_KID : LK_CNF_THUMBPRINT;
        } else {
            lk_cbor_skip(r);
        }
    }
    lk_cbor_leave_map(r);
    if (known != 1 || c->cnf_value.ptr == NULL ||
        (c->cnf == LK_CNF_THUMBPRINT && c->cnf_value.len != THUMBPRINT_LEN) ||
        (c->cnf == LK_CNF_ENCRYPTED && !is_encrypt0(c->cnf_value))) {
        c->cnf = LK_CNF_OTHER;
        c->cnf_value = (struct lk_span){NULL, 0};
    }
}

/* RFC 9200 section 5.8.1 lets it be bytes, as an AIF structure is; RFC 9237 has that as an array.
 */
static void
cwt_scope(struct lk_cbor *r, struct lk_claims *c)
{
    switch (lk_cbor_peek(r)) {
    case LK_CBOR_TEXT:
        c->scope = cwt_text(r);
        break;
    case LK_CBOR_BYTES:
        c->scope_data = lk_cbor_bytes(r);
        break;
    case LK_CBOR_ARRAY:
        c->scope_data = lk_cbor_raw(r);
        break;
    case LK_CBOR_UINT:
    case LK_CBOR_NEGINT:
    case LK_CBOR_MAP:
    case LK_CBOR_TAG:
    case LK_CBOR_SIMPLE:
    case LK_CBOR_FLOAT:
    case LK_CBOR_END:
        lk_cbor_skip(r);
        break;
    }
}

static void
cwt_claim(struct lk_cbor *r, enum claim claim, struct lk_claims *c)
{
    switch (claim) {
    case C_ISS:
        c->issuer = cwt_text(r);
        break;
    case C_SUB:
        c->subject = cwt_text(r);
        break;
    case C_AUD:
        cwt_audience(r, c);
        break;
    case C_EXP:
        c->expires_s = lk_cbor_numeric_date(r);
        c->has_expires = true;
        break;
    case C_NBF:
        c->not_before_s = lk_cbor_numeric_date(r);
        c->has_not_before = true;
        break;
    case C_IAT:
        c->issued_s = lk_cbor_numeric_date(r);
        c->has_issued = true;
        break;
    case C_ID:
        c->token_id = lk_cbor_bytes(r);
        break;
    case C_CNF:
        cwt_confirmation(r, c);
        break;
    case C_SCOPE:
        cwt_scope(r, c);
        break;
    case C_TENANT:
        c->tenant = cwt_text(r);
        break;
    case C_TYPE:
        c->type = cwt_text(r);
        break;
    case C_CHILDREN:
        c->children_count = cwt_texts(r, c->children, LK_CHILDREN_MAX);
        break;
    case C_GENERATION:
        c->generation = lk_cbor_uint(r);
        c->has_generation = true;
        break;
    case C_UNKNOWN:
        lk_cbor_skip(r);
        break;
    }
}

enum lk_err
lk_claims_read_cwt(struct lk_span payload, struct lk_claims *claims)
{
    struct lk_cbor r;
    size_t pairs;
    enum lk_err err;

    memset(claims, 0, sizeof(*claims));
    lk_cbor_open(&r, payload);
    pairs = lk_cbor_enter_map(&r);
    for (size_t i = 0; i < pairs && r.err == LK_OK; i++) {
        enum claim claim = cwt_key(&r);

        /* RFC 8392 section 3: no claim's value is tagged, not even one we do not know. */
        if (lk_cbor_peek(&r) == LK_CBOR_TAG)
            r.err = LK_ERR_TYPE;
        cwt_claim(&r, claim, claims);
    }
    lk_cbor_leave_map(&r);
    err = lk_cbor_close(&r);
    if (err != LK_OK) {
        memset(claims, 0, sizeof(*claims));
        return err;
    }
    claims->format = LK_FORMAT_CWT;
    claims->raw = payload;
    return LK_OK;
}
