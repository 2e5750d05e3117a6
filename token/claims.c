/* Claims by name, out of the claims set as it was signed. */
#include <latchkey/claims.h>

#include "json_find.h"

#include <string.h>

#include <latchkey/cbor.h>

/* At the value of a top-level claim with a text key. */
static bool
cwt_find(const struct lk_claims *claims, struct lk_span name, struct lk_cbor *r)
{
    lk_cbor_open(r, claims->raw);
    (void)lk_cbor_enter_map(r);
    return lk_cbor_map_find_text(r, name);
}

bool
lk_claims_get_text(const struct lk_claims *claims, struct lk_span name, struct lk_buf room,
                   struct lk_span *value)
{
    struct lk_cbor r;

    *value = (struct lk_span){NULL, 0};
    if (claims->format == LK_FORMAT_JWT)
        return lk_json_find_text(claims->raw, name, room, value);
    if (claims->format != LK_FORMAT_CWT || !cwt_find(claims, name, &r))
        return false;
    *value = lk_cbor_text(&r);
    /* As everywhere in claims: what ends up as a C string must not be cut short. */
    if (value->len > 0 && memchr(value->ptr, 0, value->len) != NULL)
        *value = (struct lk_span){NULL, 0};
    return value->ptr != NULL;
}

bool
lk_claims_get_raw(const struct lk_claims *claims, struct lk_span name, struct lk_span *value)
{
    struct lk_cbor r;

    *value = (struct lk_span){NULL, 0};
    if (claims->format == LK_FORMAT_JWT)
        return lk_json_find_raw(claims->raw, name, value);
    if (claims->format != LK_FORMAT_CWT || !cwt_find(claims, name, &r))
        return false;
    *value = lk_cbor_raw(&r);
    return value->ptr != NULL;
}
