/*
 * keys.c - the keys of `token verify --jwks FILE`.
 */
#include "keys.h"

#include <ctype.h>
#include <string.h>

#include <latchkey/base64url.h>
#include <latchkey/cose_key.h>
#include <latchkey/jwk.h>

void
keys_wipe(struct keys *keys)
{
    size_t i;

    for (i = 0; i < keys->count; i++)
        lk_key_wipe(&keys->key[i]);
    lk_wipe(keys, sizeof(*keys));
}

/* @param mac  the algorithm of a symmetric key that names none; else LK_ALG_NONE. */
static enum lk_err
key_add(struct keys *keys, const json_t *jwk, enum lk_alg mac)
{
    struct lk_key *key = &keys->key[keys->count];
    char *text = json_dumps(jwk, JSON_COMPACT);
    struct lk_json r;
    enum lk_err err, end;

    if (text == NULL)
        return LK_ERR_NOMEM;
    memset(key, 0, sizeof(*key));
    lk_json_open(&r, (uint8_t *)text, strlen(text));
    err = lk_jwk_read(&r, key);
    end = lk_json_close(&r);
    if (err == LK_OK)
        err = end;
    if (err == LK_OK && mac != LK_ALG_NONE)
        key->alg = mac;
    if (err == LK_OK)
        err = lk_key_open(key);
    if (err == LK_OK)
        keys->count++;
    else
        lk_key_wipe(key);
    json_text_free(text);
    return err;
}

static bool
is_symmetric_without_alg(const json_t *jwk)
{
    const char *kty = json_string_value(json_object_get(jwk, "kty"));

    return kty != NULL && strcmp(kty, "oct") == 0 && json_object_get(jwk, "alg") == NULL;
}

static void
note_left_out(size_t number, enum lk_err err)
{
    cli_note("key %zu is left out: %s", number,
             err == LK_ERR_KEY ? "its numbers make no valid key of its kind" : lk_err_text(err));
}

static int
jwk_take(struct keys *keys, json_t *jwk, size_t number)
{
    enum lk_err err;

    if (keys->count + 2 > KEYS_MAX)
        return cli_refused("more than %d keys", KEYS_MAX);
    if (is_symmetric_without_alg(jwk)) {
        (void)json_object_set_new(jwk, "alg", json_string("HS256"));
        err = key_add(keys, jwk, LK_ALG_HS256);
        if (err == LK_OK)
            err = key_add(keys, jwk, LK_ALG_HS256_64);
    } else {
        err = key_add(keys, jwk, LK_ALG_NONE);
    }
    if (err != LK_OK)
        note_left_out(number, err);
    return CLI_DONE;
}

static bool
is_mac(const struct lk_key *key)
{
    return key->alg == LK_ALG_HS256 || key->alg == LK_ALG_HS256_64;
}

/* What decrypts is told from either by its type, and cannot be mistaken for a public key. */
static int
mixture_check(const char *path, const struct keys *keys)
{
    size_t i, macs = 0, others = 0;

    for (i = 0; i < keys->count; i++) {
        macs += is_mac(&keys->key[i]);
        others += !is_mac(&keys->key[i]) && keys->key[i].alg != LK_ALG_AEAD;
    }
    if (macs > 0 && others > 0)
        return cli_refused("%s: public and symmetric keys in one set", path);
    return CLI_DONE;
}

static bool
same_text(const json_t *a, const json_t *b, const char *member)
{
    const char *one = json_string_value(json_object_get(a, member));
    const char *two = json_string_value(json_object_get(b, member));

    return one != NULL && two != NULL && strcmp(one, two) == 0;
}

/* A set in which a key can be mistaken for another is refused, whatever the message would choose.
 */
static int
set_check(const char *path, const json_t *set, const struct keys *keys)
{
    size_t i, j;

    if (!json_is_array(set) || json_array_size(set) > KEYS_MAX)
        return cli_refused("%s: \"keys\" must be a list of at most %d keys", path, KEYS_MAX);
    for (i = 0; i < json_array_size(set); i++) {
        for (j = i + 1; j < json_array_size(set); j++) {
            if (same_text(json_array_get(set, i), json_array_get(set, j), "kid") &&
                same_text(json_array_get(set, i), json_array_get(set, j), "kty"))
                return cli_refused("%s: two keys with the same kid", path);
        }
    }
    return mixture_check(path, keys);
}

static int
document_take(const char *path, json_t *document, struct keys *keys)
{
    json_t *set = json_object_get(document, "keys"), *jwk;
    int code = CLI_DONE;
    size_t i;

    if (set == NULL)
        return jwk_take(keys, document, 1);
    json_array_foreach (set, i, jwk) {
        if (code == CLI_DONE)
            code = jwk_take(keys, jwk, i + 1);
    }
    return code == CLI_DONE ? set_check(path, set, keys) : code;
}

/* --- COSE_Key and COSE_KeySet ---------------------------------------------------------------- */

static enum lk_err
cose_key_add(struct keys *keys, struct lk_span item, enum lk_alg mac)
{
    struct lk_key *key = &keys->key[keys->count];
    enum lk_err err = lk_cose_key_parse(item, key);

    if (err == LK_OK && mac != LK_ALG_NONE)
        key->alg = mac;
    if (err == LK_OK)
        err = lk_key_open(key);
    if (err == LK_OK)
        keys->count++;
    else
        lk_key_wipe(key);
    return err;
}

/* A symmetric COSE_Key that names no alg, with the one it is taken for; false for any other. */
static bool
cose_key_with_alg(struct lk_span item, struct lk_buf room, struct lk_span *out)
{
    struct lk_cbor r;
    struct lk_cbor_out w;
    size_t pairs;
    bool bare;

    lk_cbor_open(&r, item);
    pairs = lk_cbor_enter_map(&r);
    bare = lk_cbor_map_int(&r, 1, 0) == 4 && !lk_cbor_map_find(&r, 3) && r.err == LK_OK;
    if (!bare)
        return false;
    lk_cbor_open(&r, item);
    (void)lk_cbor_enter_map(&r);
    lk_cbor_write_open(&w, room);
    lk_cbor_write_map(&w, pairs + 1);
    for (size_t i = 0; i < 2 * pairs; i++)
        lk_cbor_write_raw(&w, lk_cbor_raw(&r));
    lk_cbor_write_int(&w, 3);
    lk_cbor_write_int(&w, lk_alg_to_cose(LK_ALG_HS256));
    return r.err == LK_OK && lk_cbor_write_close(&w, out) == LK_OK;
}

static int
cose_key_take(struct keys *keys, struct lk_span item, size_t number)
{
    uint8_t room[1024];
    struct lk_span named;
    enum lk_err err;

    if (keys->count + 2 > KEYS_MAX)
        return cli_refused("more than %d keys", KEYS_MAX);
    if (cose_key_with_alg(item, LK_BUF_OF(room), &named)) {
        err = cose_key_add(keys, named, LK_ALG_HS256);
        if (err == LK_OK)
            err = cose_key_add(keys, named, LK_ALG_HS256_64);
    } else {
        err = cose_key_add(keys, item, LK_ALG_NONE);
    }
    if (err != LK_OK)
        note_left_out(number, err);
    lk_wipe(room, sizeof(room));
    return CLI_DONE;
}

static int
cose_document_take(const char *path, struct lk_span file, struct keys *keys)
{
    struct lk_cbor r;
    size_t items = 1;
    int code = CLI_DONE;
    bool is_set;

    lk_cbor_open(&r, file);
    is_set = lk_cbor_peek(&r) == LK_CBOR_ARRAY;
    if (is_set)
        items = lk_cbor_enter_array(&r);
    for (size_t i = 0; i < items && r.err == LK_OK && code == CLI_DONE; i++) {
        struct lk_span item = lk_cbor_raw(&r);

        if (r.err == LK_OK)
            code = cose_key_take(keys, item, i + 1);
    }
    if (is_set)
        lk_cbor_leave_array(&r);
    if (code == CLI_DONE && lk_cbor_close(&r) != LK_OK)
        code = cli_refused("%s: not a COSE_Key or COSE_KeySet: %s", path, lk_err_text(r.err));
    return code;
}

/* Two keys of one kind with one kid; HMAC keys without alg were taken twice, for two algorithms. */
static int
kids_check(const char *path, const struct keys *keys)
{
    size_t i, j;

    for (i = 0; i < keys->count; i++) {
        for (j = i + 1; j < keys->count; j++) {
            if (keys->key[i].kid_len > 0 && keys->key[i].alg == keys->key[j].alg &&
                lk_span_equal(lk_key_kid(&keys->key[i]), lk_key_kid(&keys->key[j])))
                return cli_refused("%s: two keys with the same kid", path);
        }
    }
    return CLI_DONE;
}

/* JSON begins with a brace; hex and CBOR never do. */
static bool
looks_like_json(struct lk_span file)
{
    for (size_t i = 0; i < file.len; i++)
        if (file.ptr[i] != ' ' && file.ptr[i] != '\t' && file.ptr[i] != '\r' && file.ptr[i] != '\n')
            return file.ptr[i] < 0x80 && !isxdigit(file.ptr[i]);
    return true;
}

static int
cose_file_take(const char *path, struct lk_span file, struct keys *keys)
{
    static uint8_t raw_room[KEYS_FILE_MAX / 2];
    struct lk_span raw = file;
    int code = CLI_DONE;

    if (file.ptr[0] < 0x80 && hex_decode(file, LK_BUF_OF(raw_room), &raw) != LK_OK)
        code = cli_refused("%s: neither JSON, CBOR nor hex", path);
    if (code == CLI_DONE)
        code = cose_document_take(path, raw, keys);
    if (code == CLI_DONE)
        code = kids_check(path, keys);
    if (code == CLI_DONE)
        code = mixture_check(path, keys);
    lk_wipe(raw_room, sizeof(raw_room));
    return code;
}

static int
json_file_take(const char *path, struct lk_span file, struct keys *keys)
{
    json_error_t error;
    json_t *document = json_loadb((const char *)file.ptr, file.len, JSON_REJECT_DUPLICATES, &error);
    int code;

    if (json_is_object(document))
        code = document_take(path, document, keys);
    else
        code = cli_refused("%s: not a JWKS or JWK: %s", path,
                           document == NULL ? error.text : "not an object");
    json_decref(document);
    return code;
}

int
keys_read(const struct cli *cli, const char *path, struct keys *keys)
{
    static uint8_t room[KEYS_FILE_MAX];
    struct lk_span file;
    int code;

    keys->count = 0;
    code = input_read(cli, path, LK_BUF_OF(room), &file);
    if (code != CLI_DONE)
        return code;
    code =
        looks_like_json(file) ? json_file_take(path, file, keys) : cose_file_take(path, file, keys);
    lk_wipe(room, sizeof(room));
    if (code == CLI_DONE && keys->count == 0)
        code = cli_refused("%s: no key in it that could verify anything", path);
    return code;
}

/* A COSE kid is bytes, a JWK's is text: the same bytes, or their base64url. */
static bool
kid_fits(const struct lk_key *key, const struct message *m)
{
    uint8_t room[LK_BASE64URL_LEN(LK_KID_MAX) + 1];
    struct lk_span text;

    if (lk_span_equal(lk_key_kid(key), m->kid))
        return true;
    return !m->is_jws && m->kid.len <= LK_KID_MAX && m->kid.len > 0 &&
           lk_base64url_encode(m->kid, LK_BUF_OF(room), &text) == LK_OK &&
           lk_span_equal(lk_key_kid(key), text);
}

/* Is the key one a message's id may mean? */
static bool
may_be_meant(const struct lk_key *key, const struct message *m)
{
    return m->kid.ptr == NULL || key->kid_len == 0 || kid_fits(key, m);
}

static bool
is_for(const struct lk_key *key, const struct message *m)
{
    if (key->alg == LK_ALG_AEAD && m->is_sealed && !m->is_nested)
        return key->u.oct.cipher == m->sealed.cipher;
    return key->alg != LK_ALG_AEAD && key->alg == m->alg;
}

/* Try the keys in turn: to open the message, or to verify it. */
static enum lk_err
keys_try(const struct keys *keys, struct message *m, bool open, struct lk_span external_aad)
{
    bool tried = false, other_alg = false;
    enum lk_err err;
    size_t i;

    for (i = 0; i < keys->count; i++) {
        const struct lk_key *key = &keys->key[i];

        if (!may_be_meant(key, m))
            continue;
        if (!is_for(key, m)) {
            other_alg = true;
            continue;
        }
        err = open ? message_open(m, key, external_aad) : message_verify(m, key, external_aad);
        if (err != LK_ERR_SIGNATURE)
            return err;
        tried = true;
    }
    return tried ? LK_ERR_SIGNATURE : other_alg ? LK_ERR_ALG : LK_ERR_KEY;
}

enum lk_err
keys_open(const struct keys *keys, struct message *m, struct lk_span external_aad)
{
    return keys_try(keys, m, true, external_aad);
}

enum lk_err
keys_verify(const struct keys *keys, struct message *m, struct lk_span external_aad)
{
    return keys_try(keys, m, false, external_aad);
}
