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

/* How the value of a claim is read, and where it goes. */
#define AT(member) offsetof(struct lk_claims, member)
static const struct field {
    enum kind kind;
    uint16_t value, flag; /* offsets */
} fields[] = {
    [C_ISS] = {K_TEXT, AT(issuer), 0},
    [C_SUB] = {K_TEXT, AT(subject), 0},
    [C_AUD] = {K_AUDIENCE, AT(audience), AT(audience_count)},
    [C_EXP] = {K_DATE, AT(expires_s), AT(has_expires)},
    [C_NBF] = {K_DATE, AT(not_before_s), AT(has_not_before)},
    [C_IAT] = {K_DATE, AT(issued_s), AT(has_issued)},
    [C_ID] = {K_BYTES, AT(token_id), 0},
    [C_CNF] = {K_CNF, 0, 0},
    [C_SCOPE] = {K_SCOPE, AT(scope), 0},
    [C_TYPE] = {K_TEXT, AT(type), 0},
    [C_TENANT] = {K_TEXT, AT(tenant), 0},
    [C_GENERATION] = {K_COUNT, AT(generation), AT(has_generation)},
    [C_CHILDREN] = {K_CHILDREN, AT(children), AT(children_count)},
};

static enum claim
claim_by_name(struct lk_span name)
{
    static const struct {
        char name[8];
        uint8_t len;
        uint8_t claim;
    } names[] = {{"dty", 3, C_TYPE},
                 {"tnt", 3, C_TENANT},
                 {"gen", 3, C_GENERATION},
                 {"children", 8, C_CHILDREN}};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (name.len == names[i].len && memcmp(name.ptr, names[i].name, name.len) == 0)
            return (enum claim)names[i].claim;
    return C_UNKNOWN;
}

static enum claim
key_take(struct lk_cbor_in *in)
{
    struct lk_span name = lk_cbor_key_take(in);

    if (in->major == LK_CBOR_TEXT)
        return claim_by_name(name);
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
static struct lk_span
text_take(struct lk_cbor_in *in, const uint8_t *begin)
{
    struct lk_span text = {NULL, 0};

    lk_cbor_head_take(in);
    if (in->major != LK_CBOR_TEXT)
        lk_cbor_fail(in, LK_ERR_TYPE);
    else
        text = lk_cbor_content_take(in);
    if (text.len == 0 || (!LK_CBOR_IS_SMALL && text_odd(begin, text) == 0))
        return text;
    if (!lk_utf8_is_valid(text))
        lk_cbor_fail(in, LK_ERR_UTF8);
    if (memchr(text.ptr, 0, text.len) != NULL)
        lk_cbor_fail(in, LK_ERR_MALFORMED);
    return text;
}

/* Step into an array of texts. */
static size_t
texts_enter(struct lk_cbor_in *in, size_t max)
{
    size_t count = lk_cbor_container_take(in, LK_CBOR_ARRAY);

    if (count > max)
        lk_cbor_fail(in, LK_ERR_LIMIT);
    return count;
}

static uint64_t
count_take(struct lk_cbor_in *in)
{
    lk_cbor_head_take(in);
    if (in->major != LK_CBOR_UINT)
        lk_cbor_fail(in, LK_ERR_TYPE);
    return in->value;
}

/* A scope that is no text. RFC 9200 section 5.8.1 lets it be bytes, as an AIF structure is; RFC
 * 9237 has that as an array. */
static struct lk_span
scope_data_take(struct lk_cbor_in *in)
{
    uint8_t major = lk_cbor_major(in);
    struct lk_span item;

    if (major == LK_CBOR_BYTES)
        return lk_cbor_bytes_take(in);
    item = lk_cbor_item_take(in, DEPTH_CLAIM);
    return major == LK_CBOR_ARRAY ? item : (struct lk_span){NULL, 0};
}

/* Confirmation members: what they are (RFC 8747 section 3, RFC 9679 section 5.6). */
static const struct {
    uint8_t major, kind;
    uint8_t value; /* of the head: length, items; 0: any, and another type is an error */
} members[CNF_CKT + 1] = {
    [0] = {LK_CBOR_MAJOR_NONE, LK_CNF_OTHER, 1}, /* one nobody knows */
    [CNF_COSE_KEY] = {LK_CBOR_MAP, LK_CNF_KEY, 0},
    [CNF_ENCRYPTED] = {LK_CBOR_ARRAY, LK_CNF_ENCRYPTED, 3}, /* a COSE_Encrypt0 */
    [CNF_KID] = {LK_CBOR_BYTES, LK_CNF_KID, 0},
    [CNF_OSC] = {LK_CBOR_MAJOR_NONE, LK_CNF_OTHER, 1},
    [CNF_CKT] = {LK_CBOR_BYTES, LK_CNF_THUMBPRINT, 32},
};

/* The value of a confirmation stays absent if the member says nothing we understand. */
static void
member_take(struct lk_cbor_in *in, size_t member, struct lk_claims *c)
{
    struct lk_span item = lk_cbor_item_take(in, DEPTH_CNF);
    struct lk_cbor_in look = lk_cbor_in_of(item);

    lk_cbor_head_take(&look);
    if (member == CNF_ENCRYPTED && look.major == LK_CBOR_TAG && look.value == TAG_ENCRYPT0)
        lk_cbor_head_take(&look);
    if (look.major == LK_CBOR_BYTES)
        item = lk_cbor_content_take(&look);
    if (look.major == members[member].major &&
        (members[member].value == 0 || look.value == members[member].value)) {
        c->cnf = (enum lk_cnf_kind)members[member].kind;
        c->cnf_value = item;
    } else if (members[member].value == 0) {
        lk_cbor_fail(in, LK_ERR_TYPE);
    }
}

/* One known member makes it what it is, members nobody knows are passed over; two known ones could
 * mean two keys (RFC 8747 section 3.1), and none means nothing we could check. */
static void
confirmation_take(struct lk_cbor_in *in, struct lk_claims *c)
{
    struct lk_cbor_keys keys = {NULL, lk_cbor_map_take(in)};
    size_t known = 0;

    keys.first = in->pos;
    for (size_t i = 0; i < keys.pairs && in->err == LK_OK; i++) {
        size_t member = 0;

        (void)lk_cbor_key_take(in);
        if (in->major == LK_CBOR_UINT && in->value <= CNF_CKT)
            member = (size_t)in->value;
        known += member != 0;
        member_take(in, member, c);
    }
    if (in->err == LK_OK && keys.pairs > 1 &&
        !lk_cbor_keys_differ(keys, (struct lk_cbor_keys){NULL, 0}, in->end))
        lk_cbor_fail(in, LK_ERR_DUPLICATE);
    if (known == 1 && c->cnf_value.ptr != NULL)
        return;
    c->cnf = LK_CNF_OTHER;
    c->cnf_value = (struct lk_span){NULL, 0};
}

static void
value_take(struct lk_cbor_in *in, const struct field *field, struct lk_claims *c)
{
    void *value = (uint8_t *)c + field->value;
    struct lk_span *texts = value;
    size_t count = 0, most = 0;

    switch (field->kind) {
    case K_SKIP:
        (void)lk_cbor_item_take(in, DEPTH_CLAIM);
        break;
    case K_TEXT:
        count = 1;
        break;
    case K_BYTES:
        *(struct lk_span *)value = lk_cbor_bytes_take(in);
        break;
    case K_DATE:
        *(int64_t *)value = lk_cbor_date_take(in);
        *((bool *)c + field->flag) = true;
        break;
    case K_COUNT:
        *(uint64_t *)value = count_take(in);
        *((bool *)c + field->flag) = true;
        break;
    case K_AUDIENCE:
        count = 1;
        if (lk_cbor_major(in) == LK_CBOR_ARRAY)
            most = LK_AUDIENCE_MAX;
        break;
    case K_CHILDREN:
        most = LK_CHILDREN_MAX;
        break;
    case K_CNF:
        confirmation_take(in, c);
        break;
    case K_SCOPE:
        if (lk_cbor_major(in) == LK_CBOR_TEXT)
            count = 1;
        else
            c->scope_data = scope_data_take(in);
        break;
    }
    if (most > 0)
        count = texts_enter(in, most);
    if (field->kind == K_AUDIENCE || field->kind == K_CHILDREN)
        *(size_t *)(void *)((uint8_t *)c + field->flag) = count;
    for (size_t i = 0; i < count && in->err == LK_OK; i++)
        texts[i] = text_take(in, c->raw.ptr);
}

static void
claims_take(struct lk_cbor_in *in, struct lk_claims *c)
{
    struct lk_cbor_keys keys = {NULL, lk_cbor_map_take(in)};
    unsigned seen = 0, unknown = 0;

    keys.first = in->pos;
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
    if (in->err == LK_OK && unknown > 1 &&
        !lk_cbor_keys_differ(keys, (struct lk_cbor_keys){NULL, 0}, in->end))
        lk_cbor_fail(in, LK_ERR_DUPLICATE);
    if (in->pos < in->end)
        lk_cbor_fail(in, LK_ERR_TRAILING);
}

/* Empty but for the texts of arrays, which their counts guard. For lengths like these a call is
 * faster than what compilers put in the place of memset. */
static void
claims_clear(struct lk_claims *c)
{
    lk_wipe(c, offsetof(struct lk_claims, audience));
    c->audience_count = 0;
    memset(&c->children_count, 0, sizeof(*c) - offsetof(struct lk_claims, children_count));
}

enum lk_err
lk_claims_read_cwt(struct lk_span payload, struct lk_claims *claims)
{
    struct lk_cbor_in in = lk_cbor_in_of(payload);

    claims_clear(claims);
    claims->format = LK_FORMAT_CWT;
    claims->raw = payload;
    claims_take(&in, claims);
    if (in.err != LK_OK)
        memset(claims, 0, sizeof(*claims));
    return in.err;
}
