#include "seal.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <latchkey/base64url.h>
#include <latchkey/crypto.h>
#include <latchkey/host/file.h>

#define KEY_LEN 32

struct seal {
    uint8_t key[SEAL_USES][KEY_LEN];
};

static const char *const purpose[SEAL_USES] = {
    [SEAL_SIGNING_KEY] = "latchkeyd signing keys v1",
    [SEAL_PSK] = "latchkeyd device psk v1",
    [SEAL_ANSWER] = "latchkeyd answers v1",
    [SEAL_REFRESH] = "latchkeyd refresh tokens v1",
};

enum lk_err
seal_create(const char *path)
{
    uint8_t master[KEY_LEN];
    uint8_t text[LK_BASE64URL_LEN(KEY_LEN) + 1];
    struct lk_span out = {NULL, 0};
    enum lk_err err;

    if (access(path, F_OK) == 0)
        return LK_ERR_EXISTS;
    err = lk_crypto_random(LK_BUF_OF(master));
    if (err == LK_OK)
        err = lk_base64url_encode(lk_span_of(master, sizeof(master)), LK_BUF_OF(text), &out);
    if (err == LK_OK) {
        text[out.len] = '\n';
        err = lk_file_write(path, lk_span_of(text, out.len + 1), 0600);
    }
    lk_wipe(master, sizeof(master));
    lk_wipe(text, sizeof(text));
    return err;
}

enum lk_err
seal_new(const uint8_t master[32], struct seal **out)
{
    struct seal *seal = calloc(1, sizeof(*seal));
    enum lk_err err = LK_OK;

    *out = NULL;
    if (seal == NULL)
        return LK_ERR_NOMEM;
    for (size_t use = 0; use < SEAL_USES && err == LK_OK; use++)
        err = lk_crypto_hkdf_sha256(lk_span_of(master, KEY_LEN), LK_SPAN(""),
                                    lk_span_text(purpose[use]), LK_BUF_OF(seal->key[use]));
    if (err != LK_OK) {
        seal_free(seal);
        return err;
    }
    *out = seal;
    return LK_OK;
}

enum lk_err
seal_open(const char *path, struct seal **out)
{
    uint8_t text[128], master[KEY_LEN];
    struct lk_span file, key;
    enum lk_err err;

    *out = NULL;
    err = lk_file_read_secret(path, LK_BUF_OF(text), &file);
    if (err == LK_OK && file.len != LK_BASE64URL_LEN(KEY_LEN))
        err = LK_ERR_BASE64;
    if (err == LK_OK)
        err = lk_base64url_decode(file, LK_BUF_OF(master), &key);
    if (err == LK_OK)
        err = seal_new(master, out);
    lk_wipe(text, sizeof(text));
    lk_wipe(master, sizeof(master));
    return err;
}

void
seal_free(struct seal *seal)
{
    if (seal == NULL)
        return;
    lk_wipe(seal, sizeof(*seal));
    free(seal);
}

enum lk_err
seal_put(const struct seal *seal, enum seal_use use, struct lk_span bound, struct lk_span plain,
         struct lk_buf room, struct lk_span *out)
{
    return lk_crypto_seal(seal->key[use], bound, plain, room, out);
}

enum lk_err
seal_get(const struct seal *seal, enum seal_use use, struct lk_span bound, struct lk_span sealed,
         struct lk_buf room, struct lk_span *out)
{
    return lk_crypto_unseal(seal->key[use], bound, sealed, room, out);
}

struct lk_span
seal_key(const struct seal *seal, enum seal_use use)
{
    return lk_span_of(seal->key[use], KEY_LEN);
}
