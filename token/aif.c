#include <latchkey/aif.h>

#include <string.h>

#include <latchkey/base64url.h>
#include <latchkey/topic.h>

#include "items.h"

/* What JSON numbers hold exactly (RFC 8259 section 6); Dynamic-iPATCH is bit 38. */
#define METHODS_MAX ((uint64_t)1 << 53)

static const struct {
    const char *word;
    uint64_t bit;
} PERMISSIONS[] = {{"pub", LK_AIF_PUB}, {"sub", LK_AIF_SUB}};

static uint64_t
permission_by_word(struct lk_span word)
{
    for (size_t i = 0; i < sizeof(PERMISSIONS) / sizeof(PERMISSIONS[0]); i++) {
        if (lk_span_is(word, PERMISSIONS[i].word))
            return PERMISSIONS[i].bit;
    }
    return 0;
}

/* RFC 9431 section 3: mqtt-permissions = [+ permission] */
static uint64_t
read_words(struct lk_items *r)
{
    uint64_t permissions = 0;

    lk_items_enter_array(r);
    while (lk_items_next(r)) {
        uint64_t bit = permission_by_word(lk_items_text(r));

        if (bit == 0)
            lk_items_fail(r, LK_ERR_SCOPE);
        permissions |= bit;
    }
    if (permissions == 0)
        lk_items_fail(r, LK_ERR_SCOPE);
    return permissions;
}

static uint64_t
read_methods(struct lk_items *r)
{
    uint64_t methods = lk_items_number(r);

    if (methods > METHODS_MAX)
        lk_items_fail(r, LK_ERR_SCOPE);
    return methods;
}

/* `$` is the server's, and a share group is no permission's business. */
static bool
is_target(enum lk_aif_kind kind, struct lk_span target)
{
    return kind == LK_AIF_REST || (lk_filter_is_valid(target) && target.ptr[0] != '$');
}

static void
aif_add(struct lk_items *r, struct lk_aif *aif, const struct lk_aif_entry *entry)
{
    for (size_t i = 0; i < aif->count; i++) {
        if (lk_span_equal(aif->entry[i].target, entry->target)) {
            aif->entry[i].permissions |= entry->permissions;
            return;
        }
    }
    if (aif->count == LK_PERMISSIONS_MAX)
        lk_items_fail(r, LK_ERR_LIMIT);
    else
        aif->entry[aif->count++] = *entry;
}

/* One pair; the reader stands at it. */
static void
read_entry(struct lk_items *r, struct lk_aif *aif)
{
    struct lk_aif_entry entry = {{NULL, 0}, 0};
    size_t items = 0;

    lk_items_enter_array(r);
    for (; lk_items_next(r); items++) {
        if (items == 0)
            entry.target = lk_items_text(r);
        else if (items > 1)
            lk_items_fail(r, LK_ERR_SCOPE);
        else if (aif->kind == LK_AIF_MQTT)
            entry.permissions = read_words(r);
        else
            entry.permissions = read_methods(r);
    }
    if (items != 2 || !is_target(aif->kind, entry.target))
        lk_items_fail(r, LK_ERR_SCOPE);
    if (lk_items_error(r) == LK_OK)
        aif_add(r, aif, &entry);
}

static enum lk_err
read_list(struct lk_items *r, enum lk_aif_kind kind, struct lk_aif *aif)
{
    enum lk_err err;

    memset(aif, 0, sizeof(*aif));
    aif->kind = kind;
    lk_items_enter_array(r);
    while (lk_items_next(r))
        read_entry(r, aif);
    err = lk_items_close(r);
    if (err != LK_OK)
        memset(aif, 0, sizeof(*aif));
    return err;
}

enum lk_err
lk_aif_read(enum lk_aif_kind kind, enum lk_format format, struct lk_span in, struct lk_buf room,
            struct lk_aif *aif)
{
    struct lk_items r;

    lk_items_open(&r, format, in, &room);
    return read_list(&r, kind, aif);
}

static enum lk_err
write_cbor(const struct lk_aif *aif, struct lk_buf room, struct lk_span *out)
{
    struct lk_cbor_out w;

    lk_cbor_write_open(&w, room);
    lk_cbor_write_array(&w, aif->count);
    for (size_t i = 0; i < aif->count; i++) {
        uint64_t permissions = aif->entry[i].permissions;

        lk_cbor_write_array(&w, 2);
        lk_cbor_write_text(&w, aif->entry[i].target);
        if (aif->kind == LK_AIF_REST) {
            lk_cbor_write_uint(&w, permissions);
            continue;
        }
        lk_cbor_write_array(&w, (permissions & LK_AIF_PUB) && (permissions & LK_AIF_SUB) ? 2 : 1);
        for (size_t k = 0; k < sizeof(PERMISSIONS) / sizeof(PERMISSIONS[0]); k++) {
            if (permissions & PERMISSIONS[k].bit)
                lk_cbor_write_text(&w, lk_span_text(PERMISSIONS[k].word));
        }
    }
    return lk_cbor_write_close(&w, out);
}

static enum lk_err
write_json(const struct lk_aif *aif, struct lk_buf room, struct lk_span *out)
{
    struct lk_json_out w;

    lk_json_write_open(&w, room);
    lk_json_write_array(&w);
    for (size_t i = 0; i < aif->count; i++) {
        uint64_t permissions = aif->entry[i].permissions;

        lk_json_write_array(&w);
        lk_json_write_string(&w, aif->entry[i].target);
        if (aif->kind == LK_AIF_REST) {
            lk_json_write_int(&w, (int64_t)permissions);
        } else {
            lk_json_write_array(&w);
            for (size_t k = 0; k < sizeof(PERMISSIONS) / sizeof(PERMISSIONS[0]); k++) {
                if (permissions & PERMISSIONS[k].bit)
                    lk_json_write_string(&w, lk_span_text(PERMISSIONS[k].word));
            }
            lk_json_write_array_end(&w);
        }
        lk_json_write_array_end(&w);
    }
    lk_json_write_array_end(&w);
    return lk_json_write_close(&w, out);
}

/* Only what can be read again. */
static bool
is_writable(const struct lk_aif *aif)
{
    if (aif->count > LK_PERMISSIONS_MAX)
        return false;
    for (size_t i = 0; i < aif->count; i++) {
        uint64_t permissions = aif->entry[i].permissions;

        if (!is_target(aif->kind, aif->entry[i].target) || permissions > METHODS_MAX)
            return false;
        if (aif->kind == LK_AIF_MQTT &&
            (permissions == 0 || (permissions & ~(uint64_t)(LK_AIF_PUB | LK_AIF_SUB)) != 0))
            return false;
    }
    return true;
}

enum lk_err
lk_aif_write(const struct lk_aif *aif, enum lk_format format, struct lk_buf room,
             struct lk_span *out)
{
    *out = (struct lk_span){NULL, 0};
    if (!is_writable(aif))
        return LK_ERR_ARG;
    return format == LK_FORMAT_CWT ? write_cbor(aif, room, out) : write_json(aif, room, out);
}

/* base64url of a JSON array? Then the front of `room` is its text. */
static enum lk_err
decode_json_array(struct lk_span scope, struct lk_buf *room, struct lk_buf *text, bool *found)
{
    struct lk_span decoded;
    struct lk_json r;
    enum lk_err err;

    *found = false;
    err = lk_base64url_decode(scope, *room, &decoded);
    if (err == LK_ERR_NO_SPACE)
        return err;
    if (err != LK_OK || decoded.len == 0)
        return LK_OK;
    /* Looked at, not read: nothing is unescaped yet. */
    lk_json_open(&r, room->ptr, decoded.len);
    *found = lk_json_peek(&r) == LK_JSON_ARRAY;
    lk_json_skip(&r);
    *found = *found && lk_json_close(&r) == LK_OK;
    if (!*found)
        return LK_OK;
    *text = (struct lk_buf){room->ptr, decoded.len};
    *room = (struct lk_buf){room->ptr + decoded.len, room->cap - decoded.len};
    return LK_OK;
}

enum lk_err
lk_aif_from_claims(const struct lk_claims *claims, struct lk_buf *room, struct lk_aif *aif,
                   bool *found)
{
    struct lk_buf text = {NULL, 0};
    struct lk_items r;
    enum lk_err err = LK_OK;

    memset(aif, 0, sizeof(*aif));
    *found = claims->scope_data.ptr != NULL &&
             (claims->format == LK_FORMAT_CWT || !lk_json_is_array_of_texts(claims->scope_data));
    if (*found) {
        lk_items_open(&r, claims->format, claims->scope_data, room);
    } else if (claims->format == LK_FORMAT_JWT && !claims->scope_is_mapped) {
        err = decode_json_array(claims->scope, room, &text, found);
        lk_items_open_json(&r, text);
    }
    return err == LK_OK && *found ? read_list(&r, LK_AIF_MQTT, aif) : err;
}
