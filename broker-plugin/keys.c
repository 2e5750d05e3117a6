#include "keys.h"

#include <stdlib.h>
#include <string.h>

#include <latchkey/jwk.h>
#include <latchkey/host/file.h>

#include "limits.h"

/* Is it the same key, to the byte? Public material, or the operator's own file. */
static bool
key_is_same(const struct lk_key *a, const struct lk_key *b)
{
    return a->alg == b->alg && lk_span_equal(lk_key_kid(a), lk_key_kid(b)) &&
           lk_equal_ct(lk_span_of(&a->u, sizeof(a->u)), lk_span_of(&b->u, sizeof(b->u)));
}

static uint64_t
serial_for(struct keys *k, const struct lk_key *key)
{
    for (size_t i = 0; i < k->set.count; i++)
        if (key_is_same(&k->set.keys[i], key))
            return k->serials[i];
    return ++k->serial_last;
}

enum lk_err
keys_put(struct keys *k, struct lk_key *keys, size_t count)
{
    uint64_t serials[LK_KEYS_MAX];
    enum lk_err err;

    if (count > LK_KEYS_MAX)
        return LK_ERR_LIMIT;
    for (size_t i = 0; i < count; i++)
        serials[i] = serial_for(k, &keys[i]);
    err = lk_keyset_put(&k->set, 0, keys, count);
    if (err == LK_OK)
        memcpy(k->serials, serials, count * sizeof(serials[0]));
    return err;
}

uint64_t
keys_serial(const struct keys *k, const struct lk_key *key)
{
    return k->serials[key - k->set.keys];
}

static enum lk_err
read_document(struct keys *k, uint8_t *text, size_t len)
{
    struct lk_key *keys = calloc(LK_KEYS_MAX, sizeof(*keys));
    size_t count = 0;
    enum lk_err err = LK_ERR_NOMEM;

    if (keys == NULL)
        return err;
    err = lk_jwks_read(text, len, keys, LK_KEYS_MAX, &count);
    if (err == LK_OK && count == 0)
        err = LK_ERR_KEY;
    if (err == LK_OK)
        err = keys_put(k, keys, count);
    for (size_t i = 0; i < count; i++)
        lk_key_wipe(&keys[i]);
    free(keys);
    return err;
}

enum lk_err
keys_load(struct keys *k, const char *path)
{
    uint8_t *room = malloc(JWKS_MAX);
    struct lk_span file;
    enum lk_err err = LK_ERR_NOMEM;

    if (room == NULL)
        return err;
    err = lk_file_read(path, (struct lk_buf){room, JWKS_MAX}, &file);
    if (err == LK_OK)
        err = read_document(k, room, file.len);
    lk_wipe(room, JWKS_MAX);
    free(room);
    return err;
}

void
keys_close(struct keys *k)
{
    lk_keyset_wipe(&k->set);
}
