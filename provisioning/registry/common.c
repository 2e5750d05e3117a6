#include "common.h"

#include <stdio.h>
#include <string.h>

#include <latchkey/base64url.h>
#include <latchkey/id.h>
#include <latchkey/scope.h>

#define ID_RANDOM 16 /* characters of 5 bits: 80 bits */

void
text_of(char *out, size_t size, struct lk_span text)
{
    snprintf(out, size, "%.*s", (int)text.len, text.ptr == NULL ? "" : (const char *)text.ptr);
}

const char *
state_name(enum store_state state)
{
    switch (state) {
    case STORE_ACTIVE:
        return "active";
    case STORE_SUSPENDED:
        return "suspended";
    case STORE_DELETED:
        return "deleted";
    }
    return "";
}

/* --- Ids ----------------------------------------------------------------------------------------
 */

enum lk_err
id_generate(const char *prefix, char out[LK_SUBJECT_MAX + 1])
{
    static const char digits[] = "0123456789abcdefghjkmnpqrstvwxyz"; /* none to be mistaken */
    uint8_t random[ID_RANDOM];
    enum lk_err err = lk_crypto_random(LK_BUF_OF(random));
    int len = snprintf(out, LK_SUBJECT_MAX + 1, "%s-", prefix);

    if (err != LK_OK || len < 0 || len + ID_RANDOM > LK_ID_MAX)
        return err != LK_OK ? err : LK_ERR_LIMIT;
    for (size_t i = 0; i < ID_RANDOM; i++)
        out[(size_t)len + i] = digits[random[i] & 31];
    out[len + ID_RANDOM] = '\0';
    return LK_OK;
}

/** Ids that are words of a path. */
static bool
id_is_reserved(struct lk_span id)
{
    return lk_span_is(id, "count");
}

enum lk_err
id_take(struct json_take *take, const char *prefix, char out[LK_SUBJECT_MAX + 1])
{
    struct lk_span id = json_take_text(take, "id", 1, LK_SUBJECT_MAX, false);

    if (id.ptr == NULL)
        return id_generate(prefix, out);
    if (!lk_id_is_valid(id) || memchr(id.ptr, '~', id.len) != NULL || id_is_reserved(id))
        json_take_refuse(take, "/id",
                         "must be 1 to 64 of A-Z a-z 0-9 . _ - and begin with a letter or digit");
    text_of(out, LK_SUBJECT_MAX + 1, id);
    return LK_OK;
}

/* --- Secrets -------------------------------------------------------------------------------------
 */

static enum lk_err
secret_fill(struct secret *secret)
{
    struct lk_span text;
    enum lk_err err =
        lk_base64url_encode(lk_span_of(secret->bytes, SECRET_LEN),
                            (struct lk_buf){(uint8_t *)secret->text, SECRET_TEXT_LEN}, &text);

    secret->text[SECRET_TEXT_LEN] = '\0';
    return err == LK_OK ? lk_crypto_sha256(text, secret->hash) : err;
}

enum lk_err
secret_generate(struct secret *secret)
{
    enum lk_err err;

    memset(secret, 0, sizeof(*secret));
    err = lk_crypto_random(LK_BUF_OF(secret->bytes));
    return err == LK_OK ? secret_fill(secret) : err;
}

enum lk_err
secret_from(struct lk_span text, struct secret *secret)
{
    struct lk_span bytes;
    enum lk_err err;

    memset(secret, 0, sizeof(*secret));
    if (text.len != SECRET_TEXT_LEN)
        return LK_ERR_BASE64;
    err = lk_base64url_decode(text, LK_BUF_OF(secret->bytes), &bytes);
    return err == LK_OK ? secret_fill(secret) : err;
}

enum lk_err
secret_psk(const struct seal *seal, const struct secret *secret, struct lk_span id,
           struct lk_buf room, struct lk_span *sealed)
{
    static const char label[] = "latchkey-psk-v1"; /* with its zero byte */
    uint8_t info[sizeof(label) + LK_SUBJECT_MAX], psk[32];
    enum lk_err err;

    if (id.len > LK_SUBJECT_MAX)
        return LK_ERR_LIMIT;
    memcpy(info, label, sizeof(label));
    memcpy(info + sizeof(label), id.ptr, id.len);
    err = lk_crypto_hkdf_sha256(lk_span_of(secret->bytes, SECRET_LEN), LK_SPAN(""),
                                lk_span_of(info, sizeof(label) + id.len), LK_BUF_OF(psk));
    if (err == LK_OK)
        err = seal_put(seal, SEAL_PSK, id, lk_span_of(psk, sizeof(psk)), room, sealed);
    lk_wipe(psk, sizeof(psk));
    return err;
}

bool
overlap_take(struct http_call *call, int64_t *old_until_s)
{
    struct json_take take;
    int64_t overlap_s;

    json_take_open(&take, call);
    overlap_s = json_take_int(&take, "overlap_s", 0, 0, OVERLAP_MAX_S);
    *old_until_s = overlap_s == 0 ? 0 : call->now_s + overlap_s;
    return json_take_close(&take);
}

json_t *
secret_json(const struct secret *secret, int64_t old_until_s, int64_t now_s)
{
    return json_pack("{s:s, s:I}", "secret", secret->text, "old_valid_until",
                     (json_int_t)(old_until_s == 0 ? now_s : old_until_s));
}

/* --- Pages
 * ------------------------------------------------------------------------------------------- */

enum lk_err
cursor_write(struct lk_span id, char out[LIST_CURSOR_MAX])
{
    struct lk_span text;
    enum lk_err err =
        lk_base64url_encode(id, (struct lk_buf){(uint8_t *)out, LIST_CURSOR_MAX - 1}, &text);

    out[err == LK_OK ? text.len : 0] = '\0';
    return err;
}

enum lk_err
cursor_read(struct lk_span cursor, struct lk_buf room, struct lk_span *id)
{
    enum lk_err err = lk_base64url_decode(cursor, room, id);

    if (err == LK_OK && !lk_id_is_valid(*id))
        err = LK_ERR_MALFORMED;
    if (err != LK_OK)
        *id = (struct lk_span){NULL, 0};
    return err;
}

bool
page_take(struct http_call *call, struct lk_buf room, unsigned *limit, struct lk_span *after)
{
    struct lk_span cursor = http_query(call, "cursor");

    *after = (struct lk_span){NULL, 0};
    if (!http_query_number(call, "limit", LIST_LIMIT_DEFAULT, 1, LIST_LIMIT_MAX, limit))
        return false;
    if (cursor.ptr == NULL || cursor_read(cursor, room, after) == LK_OK)
        return true;
    http_problem(call, 400, "invalid_cursor", "cursor is not one this server gave out");
    return false;
}

void
page_answer(struct http_call *call, json_t *items, unsigned limit)
{
    json_t *body = json_object(), *next = json_null();

    if (json_array_size(items) > limit) {
        char cursor[LIST_CURSOR_MAX];
        const json_t *last = json_array_get(items, limit - 1);

        if (cursor_write(lk_span_text(json_string_value(json_object_get(last, "id"))), cursor) ==
            LK_OK)
            next = json_string(cursor);
        json_array_remove(items, limit);
    }
    json_object_set_new(body, "items", items);
    json_object_set_new(body, "next_cursor", next);
    http_answer(call, 200, body);
}

json_t *
scopes_json(const char *scopes)
{
    struct lk_span rest = lk_span_text(scopes), scope;
    json_t *list = json_array();

    while (lk_scope_next(&rest, &scope))
        json_array_append_new(list, json_stringn((const char *)scope.ptr, scope.len));
    return list;
}

void
location_put(struct http_call *call, const char *folder, const char *id)
{
    char path[LK_SUBJECT_MAX + 32];

    snprintf(path, sizeof(path), "/v1/%s/%s", folder, id);
    http_header(call, "Location", path);
}
