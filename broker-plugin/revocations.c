#include "revocations.h"

#include <stdlib.h>
#include <string.h>

#include <latchkey/base64url.h>
#include <latchkey/crypto.h>

/* --- names --------------------------------------------------------------------------------- */

static enum lk_err
hash_name(struct lk_span name, uint8_t *out, size_t len)
{
    uint8_t digest[LK_SHA256_LEN];
    enum lk_err err = lk_crypto_sha256(name, digest);

    memset(out, 0, len);
    if (err == LK_OK)
        memcpy(out, digest, len);
    return err;
}

enum lk_err
revocation_token_key(struct lk_span id, uint8_t key[REVOCATION_KEY_LEN])
{
    struct lk_buf room = {key, REVOCATION_KEY_LEN};
    struct lk_span decoded;

    if (id.len == REVOCATION_KEY_LEN) {
        memcpy(key, id.ptr, REVOCATION_KEY_LEN);
        return LK_OK;
    }
    if (id.len == LK_BASE64URL_LEN(REVOCATION_KEY_LEN) &&
        lk_base64url_decode(id, room, &decoded) == LK_OK)
        return LK_OK;
    return hash_name(id, key, REVOCATION_KEY_LEN);
}

enum lk_err
revocation_subject_key(struct lk_span subject, uint8_t key[REVOCATION_KEY_LEN])
{
    return hash_name(subject, key, REVOCATION_KEY_LEN);
}

enum lk_err
revocation_kid_print(struct lk_span kid, uint8_t print[KID_PRINT_LEN])
{
    return hash_name(kid, print, KID_PRINT_LEN);
}

void
revocation_kid_key(const uint8_t print[KID_PRINT_LEN], uint8_t key[REVOCATION_KEY_LEN])
{
    memset(key, 0, REVOCATION_KEY_LEN);
    memcpy(key, print, KID_PRINT_LEN);
}

/* --- opening ------------------------------------------------------------------------------- */

enum lk_err
revocations_open(struct revocations *set, size_t count_max)
{
    uint32_t chains = 64;

    *set = (struct revocations){.count_max = count_max, .kept_round = 1, .round = 1};
    if (count_max > UINT32_MAX / 4)
        return LK_ERR_NOMEM;
    /* While a full list comes in, the one before is still here. */
    set->place_count = (uint32_t)count_max * 2;
    /* Chains of two or three when full; small, since whoever fills it touches all of it. */
    while (chains < count_max / 2)
        chains *= 2;
    set->chain_mask = chains - 1;
    /* Not the broker's allocator: the copy behind the state file belongs to another thread. */
    set->places = calloc(set->place_count, sizeof(struct revocation));
    set->chains = calloc(chains, sizeof(uint32_t));
    if (set->places != NULL && set->chains != NULL)
        return LK_OK;
    revocations_close(set);
    return LK_ERR_NOMEM;
}

void
revocations_close(struct revocations *set)
{
    free(set->places);
    free(set->chains);
    *set = (struct revocations){0};
}

/* --- chains of places ---------------------------------------------------------------------- */

/* Keys are hashes, or ids that an issuer drew; Fibonacci hashing also spreads what is only text. */
static uint32_t *
chain_of(const struct revocations *set, const uint8_t key[REVOCATION_KEY_LEN])
{
    uint64_t word[2];

    memcpy(word, key, sizeof(word));
    return &set->chains[((word[0] ^ word[1]) * UINT64_C(0x9e3779b97f4a7c15) >> 32) &
                        set->chain_mask];
}

static struct revocation *
find(const struct revocations *set, enum revocation_kind kind,
     const uint8_t key[REVOCATION_KEY_LEN])
{
    uint32_t at;

    if (set->places == NULL)
        return NULL;
    for (at = *chain_of(set, key); at != 0; at = set->places[at - 1].next) {
        struct revocation *r = &set->places[at - 1];

        if (r->kind == kind && memcmp(r->key, key, REVOCATION_KEY_LEN) == 0)
            return r;
    }
    return NULL;
}

static bool
holds(const struct revocations *set, const struct revocation *r)
{
    return r->kind != REVOCATION_NONE && r->round >= set->kept_round;
}

static struct revocation *
take_place(struct revocations *set)
{
    struct revocation *r;

    if (set->free != 0) {
        r = &set->places[set->free - 1];
        set->free = r->next;
        return r;
    }
    return set->used < set->place_count ? &set->places[set->used++] : NULL;
}

static void
drop(struct revocations *set, struct revocation *r)
{
    uint32_t place = (uint32_t)(r - set->places) + 1;
    uint32_t *at = chain_of(set, r->key);

    while (*at != place)
        at = &set->places[*at - 1].next;
    *at = r->next;
    set->live -= holds(set, r);
    set->of_round -= r->round == set->round;
    set->of_kind[r->kind]--;
    *r = (struct revocation){.next = set->free};
    set->free = place;
}

/* --- coming and going ---------------------------------------------------------------------- */

static bool
is_full(const struct revocations *set)
{
    return (set->filling ? set->of_round : set->live) >= set->count_max;
}

static void
overflow(struct revocations *set, int64_t until_s, int64_t now_s)
{
    /* A token that was being issued while this was decided has the same second, or the next. */
    if (now_s + REVOCATION_RACE_S > set->issued_before_s)
        set->issued_before_s = now_s + REVOCATION_RACE_S;
    if (until_s > set->issued_until_s)
        set->issued_until_s = until_s;
    set->round_overflowed = true;
}

static struct revocation *
enter(struct revocations *set, enum revocation_kind kind, const uint8_t key[REVOCATION_KEY_LEN])
{
    struct revocation *r = is_full(set) ? NULL : take_place(set);
    uint32_t *chain = chain_of(set, key);

    if (r == NULL)
        return NULL;
    *r = (struct revocation){.kind = (uint8_t)kind, .next = *chain};
    memcpy(r->key, key, REVOCATION_KEY_LEN);
    *chain = (uint32_t)(r - set->places) + 1;
    set->of_kind[kind]++;
    return r;
}

bool
revocations_put(struct revocations *set, enum revocation_kind kind,
                const uint8_t key[REVOCATION_KEY_LEN], uint64_t gen_before, int64_t until_s,
                int64_t now_s)
{
    struct revocation *r;
    bool anew;

    if (set->places == NULL)
        return false;
    r = find(set, kind, key);
    if (r == NULL)
        r = enter(set, kind, key);
    if (r == NULL) {
        overflow(set, until_s, now_s);
        return false;
    }
    anew = !holds(set, r) || (set->filling && r->round != set->round);
    if (anew || gen_before > r->gen_before)
        r->gen_before = gen_before;
    if (anew || until_s > r->until_s)
        r->until_s = until_s;
    set->live += !holds(set, r);
    set->of_round += r->round != set->round;
    r->round = set->round;
    return true;
}

void
revocations_end(struct revocations *set)
{
    if (!set->filling)
        return;
    set->filling = false;
    set->kept_round = set->round;
    set->live = set->of_round;
    set->hand = 0;
    if (!set->round_overflowed)
        set->issued_before_s = set->issued_until_s = 0;
}

bool
revocations_sweep(struct revocations *set, int64_t now_s, size_t places)
{
    int64_t over_s = now_s - REVOCATION_SLACK_S;

    for (; places > 0 && set->hand < set->used; places--, set->hand++) {
        struct revocation *r = &set->places[set->hand];

        if (r->kind != REVOCATION_NONE && (!holds(set, r) || r->until_s < over_s))
            drop(set, r);
    }
    if (set->hand < set->used)
        return false;
    set->hand = 0;
    if (set->issued_before_s != 0 && set->issued_until_s < over_s)
        set->issued_before_s = set->issued_until_s = 0;
    return true;
}

void
revocations_begin(struct revocations *set)
{
    /* What the list before left out makes room first; as a rule it has by now. */
    set->hand = 0;
    (void)revocations_sweep(set, 0, SIZE_MAX);
    set->round++;
    set->of_round = 0;
    set->filling = true;
    set->round_overflowed = false;
}

/* --- asking -------------------------------------------------------------------------------- */

bool
revocations_has(const struct revocations *set, enum revocation_kind kind,
                const uint8_t key[REVOCATION_KEY_LEN], uint64_t generation)
{
    const struct revocation *r;

    if (set->of_kind[kind] == 0)
        return false;
    r = find(set, kind, key);
    return r != NULL && holds(set, r) && (kind != REVOCATION_SUBJECT || generation < r->gen_before);
}

bool
revocations_are_too_many(const struct revocations *set, int64_t issued_s)
{
    return issued_s < set->issued_before_s;
}

bool
revocations_each(const struct revocations *set,
                 bool (*each)(void *context, const struct revocation *r), void *context)
{
    for (uint32_t i = 0; i < set->used; i++)
        if (holds(set, &set->places[i]) && !each(context, &set->places[i]))
            return false;
    return true;
}
