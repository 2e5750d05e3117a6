/* The claims set of a CWT (RFC 8392), read. */
#include <latchkey/claims.h>

#include "cbor_item.h"
#include "cwt_labels.h"
#include "level.h"

#include <string.h>

#define TAG_ENCRYPT0 16

/* Containers around what is read: the map of the claims, and that of a confirmation. */
#define DEPTH_CLAIM 1
#define DEPTH_CNF   2

/* The claims we know: the registered ones by their labels, and our own behind them. Those have
 * texts as keys, which the registered ones never do. */
enum claim {
    C_UNKNOWN = 0,
    C_ISS = CWT_ISS,
    C_SUB = CWT_SUB,
    C_AUD = CWT_AUD,
    C_EXP = CWT_EXP,
    C_NBF = CWT_NBF,
    C_IAT = CWT_IAT,
    C_ID = CWT_CTI,
    C_CNF = CWT_CNF,
    C_SCOPE = CWT_SCOPE,
    C_TYPE,
    C_TENANT,
    C_GENERATION,
    C_CHILDREN
};

enum kind { K_SKIP, K_TEXT, K_BYTES, K_DATE, K_COUNT, K_AUDIENCE, K_CHILDREN, K_CNF, K_SCOPE };

/* How the value of a claim is read, and where it goes: the words of the struct before it, and the
 * flags before its own. */
#define AT(member)   (offsetof(struct lk_claims, member) / sizeof(size_t))
#define FLAG(member) (offsetof(struct lk_claims, member) - offsetof(struct lk_claims, has_expires))
static const struct field {
    uint8_t kind, value, flag;
} fields[] = {
    [C_UNKNOWN] = {K_SKIP, 0, 0},
    [C_ISS] = {K_TEXT, AT(issuer), 0},
    [C_SUB] = {K_TEXT, AT(subject), 0},
    [C_AUD] = {K_AUDIENCE, AT(audience), 0},
    [C_EXP] = {K_DATE, AT(expires_s), FLAG(has_expires)},
    [C_NBF] = {K_DATE, AT(not_before_s), FLAG(has_not_before)},
    [C_IAT] = {K_DATE, AT(issued_s), FLAG(has_issued)},
    [C_ID] = {K_BYTES, AT(token_id), 0},
    [C_CNF] = {K_CNF, 0, 0},
    [C_SCOPE] = {K_SCOPE, AT(scope), 0},
    [C_TYPE] = {K_TEXT, AT(type), 0},
    [C_TENANT] = {K_TEXT, AT(tenant), 0},
    [C_GENERATION] = {K_COUNT, AT(generation), FLAG(has_generation)},
    [C_CHILDREN] = {K_CHILDREN, AT(children), 0},
};

_Static_assert(sizeof(struct lk_claims) / sizeof(size_t) <= UINT8_MAX, "a byte tells the place");

/* Our own claims in the order of the enum, each behind its length. */
static enum claim
claim_by_name(struct lk_span name)
{
    static const uint8_t names[] = "\3dty\3tnt\3gen\10children";
    const uint8_t *at = names;

    for (unsigned claim = C_TYPE; claim <= C_CHILDREN; claim++, at += 1 + *at)
        if (name.len == *at && memcmp(name.ptr, at + 1, name.len) == 0)
            return (enum claim)claim;
    return C_UNKNOWN;
}

static enum claim
key_take(struct lk_cbor_in *in)
{
    lk_cbor_key_take(in);
    if (in->major == LK_CBOR_TEXT)
        return claim_by_name(in->content);
    return in->major == LK_CBOR_UINT && in->value <= C_SCOPE ? (enum claim)in->value : C_UNKNOWN;
}

/* Is a text more than plain ASCII? Not zero: it may be, or it has NUL. */
static uint64_t
text_odd(const uint8_t *begin, struct lk_span text)
{
    const uint8_t *end = text.ptr + text.len;
    uint64_t odd = 0, word;
    size_t at = 0;

    for (; text.len - at >= 8; at += 8) {
        word = lk_load_le64(text.ptr + at);
        odd |= lk_zero_bytes(word) | (word & LK_HIGHS);
    }
    if (at < text.len) {
        word = lk_load_word(begin, text.ptr + at, end) | (LK_ONES * ' ') << (8 * (text.len - at));
        odd |= lk_zero_bytes(word) | (word & LK_HIGHS);
    }
    return odd;
}

/* UTF-8 without NUL, as in JSON: what ends up as a C string must not be cut short. */
static void
text_take(struct lk_cbor_in *in, const uint8_t *begin)
{
    lk_cbor_typed_take(in, LK_CBOR_TEXT);
    lk_cbor_content_take(in);
    if (in->content.len == 0 || (!LK_CBOR_IS_SMALL && text_odd(begin, in->content) == 0))
        return;
    if (!lk_utf8_is_valid(in->content))
        lk_cbor_fail(in, LK_ERR_UTF8);
    else if (memchr(in->content.ptr, 0, in->content.len) != NULL)
        lk_cbor_fail(in, LK_ERR_MALFORMED);
}

/* A scope that is no text. RFC 9200 section 5.8.1 lets it be bytes, as an AIF structure is; RFC
 * 9237 has that as an array. */
static void
scope_data_take(struct lk_cbor_in *in, uint8_t major, struct lk_claims *c)
{
    if (major == LK_CBOR_BYTES)
        lk_cbor_bytes_take(in);
    else
        lk_cbor_item_take(in, DEPTH_CLAIM);
    if (major == LK_CBOR_BYTES || major == LK_CBOR_ARRAY)
        c->scope_data = in->content;
}

/* Confirmation members: what they are (RFC 8747 section 3, RFC 9679 section 5.6). */
static const struct {
    uint8_t major, kind;
    uint8_t value; /* of the head: length, items; 0: any, and another type is an error */
} members[CNF_CKT + 1] = {
    [0] = {LK_CBOR_NONE, LK_CNF_OTHER, 1}, /* one nobody knows */
    [CNF_COSE_KEY] = {LK_CBOR_MAP, LK_CNF_KEY, 0},
    [CNF_ENCRYPTED] = {LK_CBOR_ARRAY, LK_CNF_ENCRYPTED, 3}, /* a COSE_Encrypt0 */
    [CNF_KID] = {LK_CBOR_BYTES, LK_CNF_KID, 0},
    [CNF_OSC] = {LK_CBOR_NONE, LK_CNF_OTHER, 1},
    [CNF_CKT] = {LK_CBOR_BYTES, LK_CNF_THUMBPRINT, 32},
};

/* The value of a confirmation stays absent if the member says nothing we understand. */
static void
member_take(struct lk_cbor_in *in, size_t member, struct lk_claims *c)
{
    const uint8_t *start = in->pos;
    uint64_t value;
    uint8_t major;

    lk_cbor_head_take(in);
    if (member == CNF_ENCRYPTED && in->major == LK_CBOR_TAG && in->value == TAG_ENCRYPT0)
        lk_cbor_head_take(in);
    major = in->major;
    value = in->value;
    if (major == LK_CBOR_BYTES) {
        lk_cbor_content_take(in);
    } else if (in->err == LK_OK) {
        in->pos = start;
        lk_cbor_item_take(in, DEPTH_CNF);
    }
    if (major == members[member].major &&
        (members[member].value == 0 || value == members[member].value)) {
        c->cnf = (enum lk_cnf_kind)members[member].kind;
        c->cnf_value = in->content;
    } else if (members[member].value == 0) {
        lk_cbor_fail(in, LK_ERR_TYPE);
    }
}

/* One known member makes it what it is, members nobody knows are passed over; two known ones could
 * mean two keys (RFC 8747 section 3.1), and none means nothing we could check. */
static void
confirmation_take(struct lk_cbor_in *in, struct lk_claims *c)
{
    struct lk_cbor_keys keys;
    size_t known = 0;

    lk_cbor_map_take(in, &keys);
    for (size_t i = 0; i < keys.pairs && in->err == LK_OK; i++) {
        size_t member = 0;

        lk_cbor_key_take(in);
        if (in->major == LK_CBOR_UINT && in->value <= CNF_CKT)
            member = (size_t)in->value;
        known += member != 0;
        member_take(in, member, c);
    }
    lk_cbor_keys_check(in, &keys, NULL);
    if (known == 1 && c->cnf_value.ptr != NULL)
        return;
    c->cnf = LK_CNF_OTHER;
    c->cnf_value = (struct lk_span){NULL, 0};
}

static void
texts_take(struct lk_cbor_in *in, const uint8_t *begin, struct lk_span *texts, size_t count)
{
    for (; count > 0 && in->err == LK_OK; count--) {
        text_take(in, begin);
        *texts++ = in->content;
    }
}

static void
value_take(struct lk_cbor_in *in, const struct field *field, struct lk_claims *c)
{
    void *value = (size_t *)(void *)c + field->value;
    bool *flags = (bool *)c + offsetof(struct lk_claims, has_expires);
    uint8_t major = lk_cbor_major(in);
    size_t count = 1;

    switch ((enum kind)field->kind) {
    case K_SKIP:
        lk_cbor_item_pass(in, DEPTH_CLAIM);
        return;
    case K_DATE:
        *(int64_t *)value = lk_cbor_date_take(in);
        flags[field->flag] = true;
        return;
    case K_COUNT:
        lk_cbor_typed_take(in, LK_CBOR_UINT);
        *(uint64_t *)value = in->value;
        flags[field->flag] = true;
        return;
    case K_BYTES:
        lk_cbor_bytes_take(in);
        *(struct lk_span *)value = in->content;
        return;
    case K_CNF:
        confirmation_take(in, c);
        return;
    case K_SCOPE:
        if (major == LK_CBOR_TEXT)
            break;
        scope_data_take(in, major, c);
        return;
    case K_AUDIENCE:
        if (major == LK_CBOR_ARRAY)
            count = lk_cbor_container_take(in, LK_CBOR_ARRAY, LK_AUDIENCE_MAX);
        c->audience_count = count;
        break;
    case K_CHILDREN:
        count = lk_cbor_container_take(in, LK_CBOR_ARRAY, LK_CHILDREN_MAX);
        c->children_count = count;
        break;
    case K_TEXT:
        break;
    }
    texts_take(in, c->raw.ptr, value, count);
}

static void
claims_take(struct lk_cbor_in *in, struct lk_claims *c)
{
    struct lk_cbor_keys keys;
    unsigned seen = 0, unknown = 0;

    lk_cbor_map_take(in, &keys);
    for (size_t i = 0; i < keys.pairs && in->err == LK_OK; i++) {
        enum claim claim = key_take(in);

        if (claim == C_UNKNOWN)
            unknown++;
        else if ((seen >> claim & 1) != 0)
            lk_cbor_fail(in, LK_ERR_DUPLICATE);
        seen |= 1u << claim;
        /* RFC 8392 section 3: no claim's value is tagged, not even one we do not know. */
        if (lk_cbor_major(in) == LK_CBOR_TAG)
            lk_cbor_fail(in, LK_ERR_TYPE);
        value_take(in, &fields[claim], c);
    }
    if (unknown > 1)
        lk_cbor_keys_check(in, &keys, NULL);
    if (in->pos < in->end)
        lk_cbor_fail(in, LK_ERR_TRAILING);
}

/* Empty. The texts of arrays are guarded by their counts, and clearing them takes as long as
 * reading the rest. For lengths like these a call is faster than what compilers put in the place of
 * memset. */
static void
claims_clear(struct lk_claims *c)
{
    if (LK_CBOR_IS_SMALL) {
        memset(c, 0, sizeof(*c));
        return;
    }
    lk_wipe(c, offsetof(struct lk_claims, audience));
    c->audience_count = 0;
    memset(&c->children_count, 0, sizeof(*c) - offsetof(struct lk_claims, children_count));
}

enum lk_err
lk_claims_read_cwt(struct lk_span payload, struct lk_claims *claims)
{
    struct lk_cbor_in in;

    lk_cbor_in_open(&in, payload);
    claims_clear(claims);
    claims->format = LK_FORMAT_CWT;
    claims->raw = payload;
    claims_take(&in, claims);
    if (in.err != LK_OK)
        memset(claims, 0, sizeof(*claims));
    return in.err;
}
