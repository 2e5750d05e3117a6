/*
 * latchkey/keyset.h - the keys a verifier trusts, found by (issuer, kid).
 */
#ifndef LATCHKEY_KEYSET_H
#define LATCHKEY_KEYSET_H

#include <latchkey/key.h>

struct lk_keyset {
    struct lk_key keys[LK_KEYS_MAX];
    size_t count;
};

/**
 * Replace all keys of one issuer. `keys` are moved: on success the caller's array is zeroed and the
 * set owns them; on error the set is as it was. Kids must be distinct.
 * @return LK_OK, LK_ERR_LIMIT, LK_ERR_DUPLICATE.
 */
LK_MUST_CHECK enum lk_err lk_keyset_put(struct lk_keyset *set, uint32_t issuer, struct lk_key *keys,
                                        size_t count);

/**
 * Find a key. Without a kid (absent span) the issuer's only key, if it has exactly one; keys that
 * decrypt (LK_ALG_AEAD) do not count there.
 * @return NULL if there is none.
 */
const struct lk_key *lk_keyset_get(const struct lk_keyset *set, uint32_t issuer,
                                   struct lk_span kid);

/** Wipe every key. */
void lk_keyset_wipe(struct lk_keyset *set);

#endif
