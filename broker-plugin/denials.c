#include "denials.h"

#include <string.h>

#include <latchkey/id.h>
#include <latchkey/json.h>

static const char *const names[] = {
    [DENIAL_CONNECT] = "connect",         [DENIAL_RENEW] = "renew",
    [DENIAL_PUBLISH] = "publish",         [DENIAL_SUBSCRIBE] = "subscribe",
    [DENIAL_UNSUBSCRIBE] = "unsubscribe",
};

const char *
denial_action_name(enum denial_action action)
{
    return names[action];
}

/* --- taking down --------------------------------------------------------------------------- */

/* FNV-1a. Who makes two refusals collide has them compared, and gains nothing. */
static uint32_t
hash_more(uint32_t hash, const void *bytes, size_t len)
{
    const uint8_t *at = bytes;

    for (size_t i = 0; i < len; i++)
        hash = (hash ^ at[i]) * UINT32_C(16777619);
    return hash;
}

static uint32_t
hash_text(uint32_t hash, const char *text)
{
    return hash_more(hash, text, strlen(text) + 1);
}

/* Cut between characters, so that what was UTF-8 stays so; a NUL cannot be in here. */
static void
copy_text(char *to, size_t cap, struct lk_span from)
{
    size_t len = from.len < cap ? from.len : cap - 1;

    while (len < from.len && len > 0 && (from.ptr[len] & 0xc0) == 0x80)
        len--;
    if (len > 0)
        memcpy(to, from.ptr, len);
    to[len] = '\0';
}

/* "pump-7:2" says it is pump-7's. */
static struct lk_span
claimed_subject(struct lk_span client_id)
{
    const uint8_t *colon = client_id.len > 0 ? memchr(client_id.ptr, ':', client_id.len) : NULL;
    struct lk_span subject = client_id;

    if (colon != NULL)
        subject.len = (size_t)(colon - client_id.ptr);
    return lk_id_is_valid(subject) ? subject : (struct lk_span){NULL, 0};
}

static void
fill(struct denial *denial, const struct denial_facts *facts, int64_t now_s)
{
    *denial = (struct denial){.action = facts->action,
                              .reason = facts->reason,
                              .claimed = facts->subject.len == 0,
                              .count = 1,
                              .first_s = now_s,
                              .last_s = now_s};
    copy_text(denial->subject, sizeof(denial->subject),
              denial->claimed ? claimed_subject(facts->client_id) : facts->subject);
    copy_text(denial->client_id, sizeof(denial->client_id), facts->client_id);
    copy_text(denial->topic, sizeof(denial->topic), facts->topic);
}

static uint32_t
hash_of(const struct denial *denial)
{
    const uint8_t head[] = {(uint8_t)denial->action, (uint8_t)denial->reason, denial->claimed};
    uint32_t hash = hash_more(UINT32_C(2166136261), head, sizeof(head));

    hash = hash_text(hash, denial->subject);
    hash = hash_text(hash, denial->client_id);
    return hash_text(hash, denial->topic);
}

static uint32_t
owner_of(const struct denial *denial)
{
    return denial->claimed ? 0 : hash_text(UINT32_C(2166136261), denial->subject) | 1;
}

static bool
is_same(const struct denial *a, const struct denial *b)
{
    return a->action == b->action && a->reason == b->reason && a->claimed == b->claimed &&
           strcmp(a->subject, b->subject) == 0 && strcmp(a->client_id, b->client_id) == 0 &&
           strcmp(a->topic, b->topic) == 0;
}

static bool
fold(struct denials *d, uint32_t hash, const struct denial *denial)
{
    for (size_t i = 0; i < DENIALS_KEPT; i++) {
        if (d->hashes[i] != hash || d->touched[i] == 0 || !is_same(&d->ring[i], denial))
            continue;
        d->ring[i].count += d->ring[i].count < UINT32_MAX;
        d->ring[i].last_s = denial->last_s;
        d->touched[i] = ++d->clock;
        return true;
    }
    return false;
}

/* A free place, or the oldest; the oldest of its owner where that one has its part. */
static size_t
choose(const struct denials *d, uint32_t owner)
{
    size_t oldest = 0, own_oldest = DENIALS_KEPT, own = 0;

    for (size_t i = 0; i < DENIALS_KEPT; i++) {
        if (d->touched[i] < d->touched[oldest])
            oldest = i;
        if (d->touched[i] == 0 || d->owners[i] != owner)
            continue;
        own++;
        if (own_oldest == DENIALS_KEPT || d->touched[i] < d->touched[own_oldest])
            own_oldest = i;
    }
    return own >= DENIALS_OF_ONE ? own_oldest : oldest;
}

void
denials_note(struct denials *d, const struct denial_facts *facts, int64_t now_s)
{
    struct denial denial;
    uint32_t hash;
    size_t at;

    if (!d->enabled)
        return;
    fill(&denial, facts, now_s);
    hash = hash_of(&denial);
    if (fold(d, hash, &denial))
        return;
    at = choose(d, owner_of(&denial));
    if (d->touched[at] == 0)
        d->used++;
    else
        d->lost++;
    d->ring[at] = denial;
    d->hashes[at] = hash;
    d->owners[at] = owner_of(&denial);
    d->touched[at] = ++d->clock;
}

/* --- handing out --------------------------------------------------------------------------- */

static size_t
oldest_used(const struct denials *d)
{
    size_t oldest = DENIALS_KEPT;

    for (size_t i = 0; i < DENIALS_KEPT; i++)
        if (d->touched[i] != 0 && (oldest == DENIALS_KEPT || d->touched[i] < d->touched[oldest]))
            oldest = i;
    return oldest;
}

size_t
denials_take(struct denials *d, struct denial *out, size_t most)
{
    size_t n = 0, at;

    for (; n < most && d->used > 0; n++) {
        at = oldest_used(d);
        out[n] = d->ring[at];
        d->touched[at] = 0;
        d->used--;
    }
    return n;
}

static void
write_text(struct lk_json_out *w, const char *name, const char *text)
{
    lk_json_write_name(w, name);
    lk_json_write_string(w, lk_span_text(text));
}

static void
write_number(struct lk_json_out *w, const char *name, int64_t n)
{
    lk_json_write_name(w, name);
    lk_json_write_int(w, n);
}

static void
write_one(struct lk_json_out *w, const struct denial *denial)
{
    lk_json_write_object(w);
    write_text(w, "subject", denial->subject);
    write_text(w, "client_id", denial->client_id);
    write_text(w, "action", denial_action_name(denial->action));
    write_text(w, "topic", denial->topic);
    write_text(w, "reason", lk_err_name(denial->reason));
    write_number(w, "at", denial->last_s);
    write_number(w, "count", denial->count);
    lk_json_write_object_end(w);
}

enum lk_err
denials_write(const struct denial *denials, size_t count, struct lk_buf room, struct lk_span *body)
{
    struct lk_json_out w;

    lk_json_write_open(&w, room);
    lk_json_write_object(&w);
    lk_json_write_name(&w, "denials");
    lk_json_write_array(&w);
    for (size_t i = 0; i < count; i++) {
        struct lk_json_out before = w;

        write_one(&w, &denials[i]);
        /* An old broker lets text through that is not UTF-8: this one refusal is not told. */
        if (w.err == LK_ERR_UTF8)
            w = before;
    }
    lk_json_write_array_end(&w);
    lk_json_write_object_end(&w);
    return lk_json_write_close(&w, body);
}
