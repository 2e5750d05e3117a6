#include "guess.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include <latchkey/crypto.h>

#include "../limits.h"

#define FORGET_S 600 /* without a failure, all is forgotten */

struct slot {
    uint8_t tag[16];
    unsigned failures;
    int64_t last_s;
};

struct guess {
    pthread_mutex_t lock;
    atomic_bool any; /* somebody failed since the start: until then there is nothing to look up */
    uint8_t key[32]; /* so that nobody can aim at the slot of another */
    struct slot slot[GUESS_SLOTS];
};

enum lk_err
guess_new(struct guess **out)
{
    struct guess *guess = calloc(1, sizeof(*guess));

    *out = NULL;
    if (guess == NULL)
        return LK_ERR_NOMEM;
    pthread_mutex_init(&guess->lock, NULL);
    if (lk_crypto_random(LK_BUF_OF(guess->key)) != LK_OK) {
        guess_free(guess);
        return LK_ERR_CRYPTO;
    }
    *out = guess;
    return LK_OK;
}

void
guess_free(struct guess *guess)
{
    if (guess == NULL)
        return;
    pthread_mutex_destroy(&guess->lock);
    free(guess);
}

/** The slot of a pair; NULL only if the crypto library fails. */
static struct slot *
slot_of(struct guess *guess, struct lk_span id, const char *from, uint8_t tag[32])
{
    const struct lk_span parts[] = {id, LK_SPAN(" "), lk_span_text(from)};

    if (lk_crypto_hmac_sha256(lk_span_of(guess->key, sizeof(guess->key)), parts, 3, tag) != LK_OK)
        return NULL;
    return &guess->slot[((size_t)tag[30] << 8 | tag[31]) % GUESS_SLOTS];
}

static bool
slot_is(const struct slot *slot, const uint8_t tag[32])
{
    return slot->failures > 0 && memcmp(slot->tag, tag, sizeof(slot->tag)) == 0;
}

unsigned
guess_failed(struct guess *guess, struct lk_span id, const char *from, unsigned free, int64_t now_s)
{
    uint8_t tag[32];
    struct slot *slot = slot_of(guess, id, from, tag);
    unsigned over, wait_s = 0;

    if (slot == NULL)
        return GUESS_WAIT_MAX_S;
    atomic_store(&guess->any, true);
    pthread_mutex_lock(&guess->lock);
    if (!slot_is(slot, tag) || now_s - slot->last_s > FORGET_S) {
        memcpy(slot->tag, tag, sizeof(slot->tag));
        slot->failures = 0;
    }
    slot->last_s = now_s;
    if (slot->failures < free + 16)
        slot->failures++;
    if (slot->failures > free) {
        over = slot->failures - free - 1;
        wait_s = over < 6 ? 1U << over : GUESS_WAIT_MAX_S;
    }
    pthread_mutex_unlock(&guess->lock);
    return wait_s;
}

void
guess_passed(struct guess *guess, struct lk_span id, const char *from)
{
    uint8_t tag[32];
    struct slot *slot;

    if (!atomic_load(&guess->any))
        return;
    slot = slot_of(guess, id, from, tag);
    if (slot == NULL)
        return;
    pthread_mutex_lock(&guess->lock);
    if (slot_is(slot, tag))
        slot->failures = 0;
    pthread_mutex_unlock(&guess->lock);
}
