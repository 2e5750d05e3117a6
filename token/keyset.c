#include <latchkey/keyset.h>

#include <string.h>

static bool
kids_are_distinct(const struct lk_key *keys, size_t count)
{
    for (size_t i = 1; i < count; i++)
        for (size_t k = 0; k < i; k++)
            if (lk_span_equal(lk_key_kid(&keys[i]), lk_key_kid(&keys[k])))
                return false;
    return true;
}

/* Wipe an issuer's keys and close the gaps. */
static void
issuer_remove(struct lk_keyset *set, uint32_t issuer)
{
    size_t kept = 0;

    for (size_t i = 0; i < set->count; i++) {
        if (set->keys[i].issuer == issuer) {
            lk_key_wipe(&set->keys[i]);
        } else if (kept < i) {
            set->keys[kept] = set->keys[i];
            lk_wipe(&set->keys[i], sizeof(set->keys[i]));
            kept++;
        } else {
            kept++;
        }
    }
    set->count = kept;
}

enum lk_err
lk_keyset_put(struct lk_keyset *set, uint32_t issuer, struct lk_key *keys, size_t count)
{
    size_t others = 0;

    for (size_t i = 0; i < set->count; i++)
        others += set->keys[i].issuer != issuer;
    if (count > LK_KEYS_MAX - others)
        return LK_ERR_LIMIT;
    if (!kids_are_distinct(keys, count))
        return LK_ERR_DUPLICATE;
    issuer_remove(set, issuer);
    for (size_t i = 0; i < count; i++) {
        set->keys[set->count] = keys[i];
        set->keys[set->count].issuer = issuer;
        set->count++;
        /* Not lk_key_wipe: what is prepared lives on in the set. */
        lk_wipe(&keys[i], sizeof(keys[i]));
    }
    return LK_OK;
}

const struct lk_key *
lk_keyset_get(const struct lk_keyset *set, uint32_t issuer, struct lk_span kid)
{
    const struct lk_key *only = NULL;
    size_t found = 0;

    for (size_t i = 0; i < set->count; i++) {
        const struct lk_key *key = &set->keys[i];

        if (key->issuer != issuer)
            continue;
        /* An empty kid names nothing, not even a key without one. */
        if (kid.len > 0 && lk_span_equal(lk_key_kid(key), kid))
            return key;
        /* What decrypts verifies nothing: it does not stand in the way of an only key. */
        if (key->alg == LK_ALG_AEAD)
            continue;
        only = key;
        found++;
    }
    return kid.ptr == NULL && found == 1 ? only : NULL;
}

void
lk_keyset_wipe(struct lk_keyset *set)
{
    for (size_t i = 0; i < set->count; i++)
        lk_key_wipe(&set->keys[i]);
    lk_wipe(set, sizeof(*set));
}
