/*
 * claims_json.c - CBOR claims as JSON, for people and scripts.
 */
#include "claims_json.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <latchkey/base64url.h>
#include <latchkey/cbor.h>

struct label {
    int64_t number;
    const char *name;
};

static const struct label claim_labels[] = {
    {1, "iss"}, {2, "sub"}, {3, "aud"}, {4, "exp"},   {5, "nbf"},
    {6, "iat"}, {7, "cti"}, {8, "cnf"}, {9, "scope"}, {0, NULL},
};

static const struct label cnf_labels[] = {
    {1, "COSE_Key"}, {2, "Encrypted_COSE_Key"}, {3, "kid"}, {0, NULL}};

static const struct label no_labels[] = {{0, NULL}};

json_t *
base64url_json(struct lk_span bytes)
{
    size_t cap = LK_BASE64URL_LEN(bytes.len) + 1;
    uint8_t *text = malloc(cap);
    struct lk_span out;
    json_t *value = NULL;

    if (text != NULL && lk_base64url_encode(bytes, (struct lk_buf){text, cap}, &out) == LK_OK)
        value = json_stringn((const char *)out.ptr, out.len);
    free(text);
    return value;
}

json_t *
hex_json(struct lk_span bytes)
{
    static const char digits[] = "0123456789abcdef";
    char *text = malloc(bytes.len * 2 + 1);
    json_t *value;
    size_t i;

    if (text == NULL)
        return NULL;
    for (i = 0; i < bytes.len; i++) {
        text[2 * i] = digits[bytes.ptr[i] >> 4];
        text[2 * i + 1] = digits[bytes.ptr[i] & 15];
    }
    value = json_stringn(text, bytes.len * 2);
    free(text);
    return value;
}

/* The argument of an item's head: RFC 8949 section 3. */
static uint64_t
head_argument(struct lk_span item)
{
    static const uint8_t width[] = {1, 2, 4, 8};
    uint8_t info = item.ptr[0] & 31;
    uint64_t value = 0;
    uint8_t i;

    if (info < 24)
        return info;
    for (i = 0; i < width[(info - 24) & 3] && (size_t)i + 1 < item.len; i++)
        value = value << 8 | item.ptr[1 + i];
    return value;
}

static json_t *
integer_json(struct lk_span item, bool negative)
{
    uint64_t n = head_argument(item);

    if (n > INT64_MAX)
        return json_real(negative ? -1.0 - (double)n : (double)n);
    return json_integer(negative ? -1 - (json_int_t)n : (json_int_t)n);
}

static json_t *
simple_json(struct lk_span item)
{
    char text[24];
    uint64_t n = head_argument(item);

    if (n == 20 || n == 21)
        return json_boolean(n == 21);
    if (n == 22 || n == 23)
        return json_null();
    (void)snprintf(text, sizeof(text), "simple(%" PRIu64 ")", n);
    return json_string(text);
}

static void
key_text(struct lk_cbor *r, const struct label *labels, char *name, size_t cap)
{
    enum lk_cbor_type type = lk_cbor_peek(r);
    struct lk_span text;
    int64_t number;
    size_t len;

    if (type == LK_CBOR_TEXT || type == LK_CBOR_BYTES) {
        text = type == LK_CBOR_TEXT ? lk_cbor_text(r) : lk_cbor_bytes(r);
        len = text.len < cap - 1 ? text.len : cap - 1;
        if (len > 0)
            memcpy(name, text.ptr, len);
        name[len] = '\0';
        return;
    }
    number = lk_cbor_int(r);
    (void)snprintf(name, cap, "%" PRId64, number);
    for (; labels->name != NULL; labels++) {
        if (labels->number == number)
            (void)snprintf(name, cap, "%s", labels->name);
    }
}

static json_t *item_json(struct lk_cbor *r, const struct label *labels, unsigned depth);

static json_t *
map_json(struct lk_cbor *r, const struct label *labels, unsigned depth)
{
    size_t pairs = lk_cbor_enter_map(r), i;
    json_t *object = json_object();
    const struct label *inner;
    char name[264];

    for (i = 0; i < pairs && r->err == LK_OK; i++) {
        key_text(r, labels, name, sizeof(name) - 4);
        /* A text key "iss" beside the label 1: two members, and neither hides the other. */
        while (json_object_get(object, name) != NULL && strlen(name) < sizeof(name) - 1)
            (void)strcat(name, "'");
        inner = labels == claim_labels && strcmp(name, "cnf") == 0 ? cnf_labels : no_labels;
        if (json_object_set_new(object, name, item_json(r, inner, depth + 1)) != 0)
            (void)json_object_set_new(object, "?", json_null()); /* a key that is not UTF-8 */
    }
    lk_cbor_leave_map(r);
    return object;
}

static json_t *
array_json(struct lk_cbor *r, unsigned depth)
{
    size_t items = lk_cbor_enter_array(r), i;
    json_t *array = json_array();

    for (i = 0; i < items && r->err == LK_OK; i++)
        (void)json_array_append_new(array, item_json(r, no_labels, depth + 1));
    lk_cbor_leave_array(r);
    return array;
}

static json_t *
item_json(struct lk_cbor *r, const struct label *labels, unsigned depth)
{
    enum lk_cbor_type type = lk_cbor_peek(r);
    struct lk_span span;
    double number;

    if (depth > LK_DEPTH_MAX)
        return json_null();
    switch (type) {
    case LK_CBOR_UINT:
    case LK_CBOR_NEGINT:
        span = lk_cbor_raw(r);
        return r->err == LK_OK ? integer_json(span, type == LK_CBOR_NEGINT) : json_null();
    case LK_CBOR_BYTES:
        return base64url_json(lk_cbor_bytes(r));
    case LK_CBOR_TEXT:
        span = lk_cbor_text(r);
        return json_stringn(span.len > 0 ? (const char *)span.ptr : "", span.len);
    case LK_CBOR_ARRAY:
        return array_json(r, depth);
    case LK_CBOR_MAP:
        return map_json(r, labels, depth);
    case LK_CBOR_TAG:
        (void)lk_cbor_tag(r);
        return item_json(r, no_labels, depth + 1);
    case LK_CBOR_FLOAT:
        number = lk_cbor_float(r);
        return isfinite(number) ? json_real(number) : json_null();
    case LK_CBOR_SIMPLE:
        span = lk_cbor_raw(r);
        return r->err == LK_OK ? simple_json(span) : json_null();
    case LK_CBOR_END:
        break;
    }
    return json_null();
}

json_t *
claims_from_cbor(struct lk_span payload)
{
    struct lk_cbor r;
    json_t *claims;

    lk_cbor_open(&r, payload);
    if (lk_cbor_peek(&r) != LK_CBOR_MAP)
        return NULL;
    claims = map_json(&r, claim_labels, 0);
    if (lk_cbor_close(&r) == LK_OK)
        return claims;
    json_decref(claims);
    return NULL;
}

json_t *
claims_from_json(struct lk_span payload)
{
    const char *text = (const char *)payload.ptr;
    json_t *claims = json_loadb(text, payload.len, JSON_REJECT_DUPLICATES, NULL);

    /* An integer beyond 64 bits in some private claim: show it rounded rather than not at all. */
    if (claims == NULL)
        claims =
            json_loadb(text, payload.len, JSON_REJECT_DUPLICATES | JSON_DECODE_INT_AS_REAL, NULL);
    if (claims != NULL && !json_is_object(claims)) {
        json_decref(claims);
        claims = NULL;
    }
    return claims;
}
