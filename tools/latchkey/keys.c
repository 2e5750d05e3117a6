/*
 * keys.c - the keys of `token verify --jwks FILE`.
 */
#include "keys.h"

#include <string.h>

#include <latchkey/base64url.h>
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
        cli_note("key %zu is left out: %s", number,
                 err == LK_ERR_KEY ? "its numbers make no valid key of its kind"
                                   : lk_err_text(err));
    return CLI_DONE;
}

static bool
is_symmetric(const struct lk_key *key)
{
    return key->alg == LK_ALG_HS256 || key->alg == LK_ALG_HS256_64;
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
    for (i = 1; i < keys->count; i++) {
        if (is_symmetric(&keys->key[0]) != is_symmetric(&keys->key[i]))
            return cli_refused("%s: public and symmetric keys in one set", path);
    }
    return CLI_DONE;
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

int
keys_read(const struct cli *cli, const char *path, struct keys *keys)
{
    static uint8_t room[KEYS_FILE_MAX];
    struct lk_span file;
    json_t *document;
    json_error_t error;
    int code;

    keys->count = 0;
    code = input_read(cli, path, LK_BUF_OF(room), &file);
    if (code != CLI_DONE)
        return code;
    document = json_loadb((const char *)file.ptr, file.len, JSON_REJECT_DUPLICATES, &error);
    lk_wipe(room, sizeof(room));
    if (!json_is_object(document)) {
        json_decref(document);
        return cli_refused("%s: not a JWKS or JWK: %s", path,
                           document == NULL ? error.text : "not an object");
    }
    code = document_take(path, document, keys);
    json_decref(document);
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

enum lk_err
keys_verify(const struct keys *keys, const struct message *m, struct lk_span external_aad)
{
    bool tried = false, other_alg = false, named;
    const struct lk_key *key;
    enum lk_err err;
    size_t i;

    for (i = 0; i < keys->count; i++) {
        key = &keys->key[i];
        named = m->kid.ptr != NULL && key->kid_len > 0;
        if (named && !kid_fits(key, m))
            continue;
        if (key->alg != m->alg) {
            other_alg = true;
            continue;
        }
        err = message_verify(m, key, external_aad);
        if (err != LK_ERR_SIGNATURE)
            return err;
        tried = true;
    }
    return tried ? LK_ERR_SIGNATURE : other_alg ? LK_ERR_ALG : LK_ERR_KEY;
}
