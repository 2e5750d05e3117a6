/* Other issuers' names for what we ask of a token: scopes, subject, tenant (contracts section 7).
 */
#include <latchkey/token.h>

#include <string.h>

#include <latchkey/scope.h>

#include "items.h"
#include "json_find.h"

/* A member of a map by name, as it stands. */
static bool
find_member(enum lk_format format, struct lk_span map, struct lk_span name, struct lk_span *value)
{
    struct lk_cbor r;

    *value = (struct lk_span){NULL, 0};
    if (format == LK_FORMAT_JWT)
        return lk_json_find_raw(map, name, value);
    lk_cbor_open(&r, map);
    (void)lk_cbor_enter_map(&r);
    if (!lk_cbor_map_find_text(&r, name))
        return false;
    *value = lk_cbor_raw(&r);
    return value->ptr != NULL;
}

/* A top-level claim of this name, or else a path: realm_access.roles. */
static bool
find_claim(const struct lk_claims *claims, struct lk_span path, struct lk_span *value)
{
    struct lk_span map = claims->raw;

    while (!find_member(claims->format, map, path, value)) {
        const uint8_t *dot = path.len > 0 ? memchr(path.ptr, '.', path.len) : NULL;
        size_t len = dot != NULL ? (size_t)(dot - path.ptr) : 0;

        if (dot == NULL || !find_member(claims->format, map, lk_span_of(path.ptr, len), &map))
            return false;
        path = lk_span_of(dot + 1, path.len - len - 1);
    }
    return true;
}

/* What is behind what the token uses: its signature is the last thing that is decoded, and a JWT's
 * claims follow it once more, unescaped. Claims that were only encrypted are the last themselves.
 */
static struct lk_buf
room_behind(const struct lk_token *token, struct lk_buf scratch)
{
    struct lk_span last = token->signature.ptr != NULL ? token->signature : token->claims.raw;
    uintptr_t begin = (uintptr_t)scratch.ptr, end = (uintptr_t)last.ptr;
    size_t used = 0;

    if (end >= begin && end - begin < scratch.cap)
        used = (size_t)(end - begin) + last.len;
    if (token->format == LK_FORMAT_JWT)
        used += token->claims.raw.len;
    if (used > scratch.cap)
        used = scratch.cap;
    return (struct lk_buf){scratch.ptr + used, scratch.cap - used};
}

static enum lk_err
map_subject(struct lk_span name, struct lk_buf *room, struct lk_claims *claims)
{
    struct lk_span value, text;
    struct lk_items r;
    enum lk_err err;

    if (!find_claim(claims, name, &value))
        return LK_ERR_CLAIM;
    lk_items_open(&r, claims->format, value, room);
    text = lk_items_text(&r);
    err = lk_items_close(&r);
    if (err != LK_OK)
        return err == LK_ERR_SCOPE ? LK_ERR_CLAIM : err;
    /* As everywhere in claims: what ends up as a C string must not be cut short. */
    if (text.len == 0 || memchr(text.ptr, 0, text.len) != NULL)
        return LK_ERR_CLAIM;
    claims->subject = text;
    return LK_OK;
}

/* Scopes put one behind the other. */
struct list {
    struct lk_span prefix;
    struct lk_buf room;
    size_t len;
    bool is_full;
};

/* Only scopes with the prefix count; others are for somebody else, or no scopes at all. */
static void
list_put(struct list *list, struct lk_span scope)
{
    size_t prefix_len = list->prefix.len;
    size_t space = list->len > 0;

    if (scope.len == 0 || scope.len <= prefix_len || memchr(scope.ptr, ' ', scope.len) != NULL ||
        lk_scope_check(scope) != LK_OK ||
        (prefix_len > 0 && memcmp(scope.ptr, list->prefix.ptr, prefix_len) != 0))
        return;
    scope = lk_span_of(scope.ptr + prefix_len, scope.len - prefix_len);
    if (list->is_full || space + scope.len > list->room.cap - list->len) {
        list->is_full = true;
        return;
    }
    /* The texts of JSON lie in the same room, and never before where they go. */
    memmove(list->room.ptr + list->len + space, scope.ptr, scope.len);
    if (space > 0)
        list->room.ptr[list->len] = ' ';
    list->len += space + scope.len;
}

static void
list_put_text(struct list *list, struct lk_span text)
{
    struct lk_span scope;

    while (lk_scope_next(&text, &scope))
        list_put(list, scope);
}

/* A text of scopes, or an array with one in each item: what has a space in it is no scope then, and
 * not two. */
static enum lk_err
list_read(struct list *list, enum lk_format format, struct lk_span value)
{
    struct lk_buf room = list->room;
    struct lk_items r;

    lk_items_open(&r, format, value, &room);
    if (lk_items_peek(&r) == LK_ITEM_TEXT) {
        list_put_text(list, lk_items_text(&r));
        return lk_items_close(&r);
    }
    lk_items_enter_array(&r);
    while (lk_items_next(&r))
        list_put(list, lk_items_text(&r));
    return lk_items_close(&r);
}

/* Where nothing else is said, scopes stand in `scope`: as text, or in an array as some issuers
 * write it. Without a prefix a text stays as it is; so does AIF, which is no list. */
static enum lk_err
map_scope(const struct lk_issuer *issuer, struct lk_buf room, struct lk_claims *claims)
{
    struct list list = {.prefix = issuer->scope_prefix, .room = room};
    bool is_named = issuer->scope_claim.ptr != NULL;
    bool is_array =
        claims->format == LK_FORMAT_JWT && lk_json_is_array_of_texts(claims->scope_data);
    struct lk_span value = claims->scope_data;
    enum lk_err err = LK_OK;

    if (claims->scope_is_mapped || (!is_named && !is_array && issuer->scope_prefix.len == 0))
        return LK_OK;
    if (is_named ? find_claim(claims, issuer->scope_claim, &value) : is_array)
        err = list_read(&list, claims->format, value);
    else if (!is_named)
        list_put_text(&list, claims->scope);
    if (err == LK_OK)
        err = list.is_full ? LK_ERR_NO_SPACE : lk_scope_check(lk_span_of(room.ptr, list.len));
    if (err != LK_OK)
        return err;
    claims->scope = list.len > 0 ? lk_span_of(room.ptr, list.len) : (struct lk_span){NULL, 0};
    claims->scope_data = (struct lk_span){NULL, 0};
    claims->scope_is_mapped = true;
    return LK_OK;
}

enum lk_err
lk_token_map_claims(const struct lk_issuer *issuer, struct lk_buf scratch, struct lk_token *token)
{
    struct lk_buf room = room_behind(token, scratch);
    enum lk_err err = LK_OK;

    if (issuer->own)
        return LK_OK;
    if (issuer->tenant.ptr != NULL)
        token->claims.tenant = issuer->tenant;
    if (issuer->subject_claim.ptr != NULL)
        err = map_subject(issuer->subject_claim, &room, &token->claims);
    if (err == LK_OK)
        err = map_scope(issuer, room, &token->claims);
    return err == LK_ERR_NO_SPACE && scratch.cap >= LK_TOKEN_SCRATCH_MAX ? LK_ERR_LIMIT : err;
}
