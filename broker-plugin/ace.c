#include "ace.h"

#include <string.h>

#include <latchkey/crypto.h>

#include "compat.h"

/* --- packets ------------------------------------------------------------------------------- */

enum lk_err
ace_read_token(struct lk_span data, struct lk_span *token)
{
    size_t len;

    *token = (struct lk_span){NULL, 0};
    if (data.len == 0)
        return LK_OK;
    if (data.len < 2)
        return LK_ERR_MALFORMED;
    len = (size_t)data.ptr[0] << 8 | data.ptr[1];
    if (len > data.len - 2)
        return LK_ERR_MALFORMED;
    if (len < data.len - 2)
        return len > 0 ? LK_ERR_UNSUPPORTED : LK_ERR_MALFORMED;
    if (len > 0)
        *token = lk_span_of(data.ptr + 2, len);
    return LK_OK;
}

enum lk_err
ace_check_answer(const struct lk_key *key, const uint8_t nonce[ACE_NONCE_LEN],
                 struct lk_span answer)
{
    struct lk_span parts[2];

    if (answer.len <= ACE_NONCE_LEN)
        return LK_ERR_MALFORMED;
    parts[0] = lk_span_of(nonce, ACE_NONCE_LEN);
    parts[1] = lk_span_of(answer.ptr, ACE_NONCE_LEN);
    return lk_crypto_verify(key, parts, 2,
                            lk_span_of(answer.ptr + ACE_NONCE_LEN, answer.len - ACE_NONCE_LEN));
}

/* --- what waits ---------------------------------------------------------------------------- */

void
challenge_wipe(struct challenge *c)
{
    mosquitto_free(c->token);
    lk_wipe(c, sizeof(*c));
}

/* A handful at a time: whoever has a token and its key answers within a round trip. */
static struct challenge *
find(struct challenges *all, const struct mosquitto *client)
{
    for (size_t i = 0; i < all->count; i++)
        if (all->waiting[i].client == client)
            return &all->waiting[i];
    return NULL;
}

static struct challenge *
oldest(struct challenges *all)
{
    struct challenge *first = &all->waiting[0];

    for (size_t i = 1; i < all->count; i++)
        if (all->waiting[i].due_ms < first->due_ms)
            first = &all->waiting[i];
    return first;
}

/* The last one moves into the gap. */
static void
take_out(struct challenges *all, struct challenge *c, struct challenge *taken)
{
    *taken = *c;
    *c = all->waiting[--all->count];
    lk_wipe(&all->waiting[all->count], sizeof(all->waiting[0]));
}

bool
challenges_take(struct challenges *all, const struct mosquitto *client, struct challenge *taken)
{
    struct challenge *c = find(all, client);

    if (c != NULL)
        take_out(all, c, taken);
    return c != NULL;
}

void
challenges_drop(struct challenges *all, const struct mosquitto *client)
{
    struct challenge gone;

    if (challenges_take(all, client, &gone))
        challenge_wipe(&gone);
}

enum lk_err
challenges_add(struct challenges *all, struct challenge *c, struct lk_span token, int64_t now_ms)
{
    struct challenge gone;

    challenges_drop(all, c->client);
    if (lk_crypto_random(LK_BUF_OF(c->nonce)) != LK_OK)
        return LK_ERR_CRYPTO;
    c->token = mosquitto_malloc(token.len);
    if (c->token == NULL)
        return LK_ERR_NOMEM;
    memcpy(c->token, token.ptr, token.len);
    c->token_len = token.len;
    c->due_ms = now_ms + CHALLENGE_MS;
    if (all->count == CHALLENGES_MAX) {
        take_out(all, oldest(all), &gone);
        challenge_wipe(&gone);
    }
    if (all->count == 0 || c->due_ms < all->next_ms)
        all->next_ms = c->due_ms;
    all->waiting[all->count++] = *c;
    return LK_OK;
}

void
challenges_expire(struct challenges *all, int64_t now_ms)
{
    if (all->count == 0 || now_ms < all->next_ms)
        return;
    all->next_ms = INT64_MAX;
    for (size_t i = 0; i < all->count; i++) {
        struct challenge *c = &all->waiting[i];

        if (c->due_ms <= now_ms) {
            mosquitto_free(c->token);
            c->token = NULL;
            c->token_len = 0;
        } else if (c->due_ms < all->next_ms) {
            all->next_ms = c->due_ms;
        }
    }
}

void
challenges_close(struct challenges *all)
{
    while (all->count > 0)
        challenge_wipe(&all->waiting[--all->count]);
}
