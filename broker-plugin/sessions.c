#include "sessions.h"

#include <string.h>

#include <latchkey/crypto.h>

#include "compat.h"
#include "presence.h"

/* --- hashing ------------------------------------------------------------------------------- */

#define ROTL(x, b) (((x) << (b)) | ((x) >> (64 - (b))))

static void
sip_round(uint64_t v[4])
{
    v[0] += v[1];
    v[1] = ROTL(v[1], 13) ^ v[0];
    v[0] = ROTL(v[0], 32);
    v[2] += v[3];
    v[3] = ROTL(v[3], 16) ^ v[2];
    v[0] += v[3];
    v[3] = ROTL(v[3], 21) ^ v[0];
    v[2] += v[1];
    v[1] = ROTL(v[1], 17) ^ v[2];
    v[2] = ROTL(v[2], 32);
}

static uint64_t
little_endian(const uint8_t *bytes, size_t len)
{
    uint64_t word = 0;

    for (size_t i = 0; i < len; i++)
        word |= (uint64_t)bytes[i] << (8 * i);
    return word;
}

/* SipHash-2-4: a device chooses the suffix of its client id, but not which bucket it falls in. */
static uint64_t
text_hash(const uint8_t key[16], struct lk_span text)
{
    uint64_t k0 = little_endian(key, 8), k1 = little_endian(key + 8, 8);
    uint64_t v[4] = {k0 ^ UINT64_C(0x736f6d6570736575), k1 ^ UINT64_C(0x646f72616e646f6d),
                     k0 ^ UINT64_C(0x6c7967656e657261), k1 ^ UINT64_C(0x7465646279746573)};
    size_t whole = text.len & ~(size_t)7;
    uint64_t word;

    for (size_t i = 0; i <= whole; i += 8) {
        word = i < whole
                   ? little_endian(text.ptr + i, 8)
                   : little_endian(text.ptr + whole, text.len - whole) | (uint64_t)text.len << 56;
        v[3] ^= word;
        sip_round(v);
        sip_round(v);
        v[0] ^= word;
    }
    v[2] ^= 0xff;
    for (int i = 0; i < 4; i++)
        sip_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

static size_t
text_bucket(const struct sessions *t, struct lk_span text)
{
    return (size_t)text_hash(t->hash_key, text) & (t->buckets - 1);
}

/* Fibonacci hashing: the low bits of a pointer say little, the high bits of the product much. */
static size_t
client_bucket(const struct sessions *t, const struct mosquitto *client)
{
    uint64_t product = (uint64_t)(uintptr_t)client * UINT64_C(0x9e3779b97f4a7c15);

    return (size_t)(product >> 32) & (t->buckets - 1);
}

/* Ids that an issuer drew, or hashes; folded, since others' may be text. */
static size_t
token_bucket(const struct sessions *t, const uint8_t token_id[REVOCATION_KEY_LEN])
{
    uint64_t word[2];

    memcpy(word, token_id, sizeof(word));
    return (size_t)((word[0] ^ word[1]) * UINT64_C(0x9e3779b97f4a7c15) >> 32) & (t->buckets - 1);
}

/* --- opening ------------------------------------------------------------------------------- */

static void
free_tables(struct sessions *t)
{
    mosquitto_free(t->by_client);
    mosquitto_free(t->by_id);
    mosquitto_free(t->by_token);
    mosquitto_free(t->subjects);
}

enum lk_err
sessions_open(struct sessions *t, struct grants *grants, size_t count_max)
{
    *t = (struct sessions){.grants = grants, .count_max = count_max, .buckets = 64};
    if (lk_crypto_random(LK_BUF_OF(t->hash_key)) != LK_OK)
        return LK_ERR_CRYPTO;
    /* At full size from the start, so that nothing has to be moved in the middle of the day; pages
     * that were never touched cost nothing. */
    while (t->buckets < count_max)
        t->buckets *= 2;
    t->by_client = mosquitto_calloc(t->buckets, sizeof(struct session *));
    t->by_id = mosquitto_calloc(t->buckets, sizeof(struct session *));
    t->by_token = mosquitto_calloc(t->buckets, sizeof(struct session *));
    t->subjects = mosquitto_calloc(t->buckets, sizeof(struct subject *));
    if (t->by_client != NULL && t->by_id != NULL && t->by_token != NULL && t->subjects != NULL)
        return LK_OK;
    free_tables(t);
    *t = (struct sessions){0};
    return LK_ERR_NOMEM;
}

/* --- subjects ------------------------------------------------------------------------------ */

struct subject *
sessions_subject(const struct sessions *t, struct lk_span name)
{
    struct subject *subject = t->subjects[text_bucket(t, name)];

    while (subject != NULL && !lk_span_equal(lk_span_of(subject->name, subject->len), name))
        subject = subject->next;
    return subject;
}

static struct subject *
subject_get(struct sessions *t, struct lk_span name)
{
    struct subject *subject = sessions_subject(t, name);
    struct subject **bucket = &t->subjects[text_bucket(t, name)];

    if (subject != NULL)
        return subject;
    subject = mosquitto_calloc(1, sizeof(*subject) + name.len + 1);
    if (subject == NULL)
        return NULL;
    subject->len = name.len;
    memcpy(subject->name, name.ptr, name.len);
    subject->next = *bucket;
    *bucket = subject;
    return subject;
}

static void
subject_put(struct sessions *t, struct subject *subject)
{
    struct subject **at = &t->subjects[text_bucket(t, lk_span_of(subject->name, subject->len))];
    struct rate *rate;

    if (subject->session_count > 0)
        return;
    while (*at != subject)
        at = &(*at)->next;
    *at = subject->next;
    while ((rate = subject->rates) != NULL) {
        subject->rates = rate->next;
        mosquitto_free(rate);
    }
    presence_orphan(subject->presence);
    mosquitto_free(subject);
}

static void
subject_enter(struct subject *subject, struct session *s)
{
    s->subject = subject;
    s->older = subject->newest;
    s->newer = NULL;
    if (subject->newest != NULL)
        subject->newest->newer = s;
    else
        subject->oldest = s;
    subject->newest = s;
    subject->session_count++;
}

static void
subject_leave(struct subject *subject, struct session *s)
{
    if (s->older != NULL)
        s->older->newer = s->newer;
    else
        subject->oldest = s->newer;
    if (s->newer != NULL)
        s->newer->older = s->older;
    else
        subject->newest = s->older;
    subject->session_count--;
}

/* --- lists by age -------------------------------------------------------------------------- */

static struct session_list *
list_of(struct sessions *t, const struct session *s)
{
    return s->state == SESSION_DYING ? &t->dying : s->state == SESSION_OFFLINE ? &t->offline : NULL;
}

static void
list_remove(struct sessions *t, struct session *s)
{
    struct session_list *list = list_of(t, s);

    if (list == NULL)
        return;
    *(s->age_prev != NULL ? &s->age_prev->age_next : &list->first) = s->age_next;
    *(s->age_next != NULL ? &s->age_next->age_prev : &list->last) = s->age_prev;
    s->age_prev = s->age_next = NULL;
}

static void
list_append(struct sessions *t, struct session *s)
{
    struct session_list *list = list_of(t, s);

    if (list == NULL)
        return;
    s->age_prev = list->last;
    s->age_next = NULL;
    *(list->last != NULL ? &list->last->age_next : &list->first) = s;
    list->last = s;
}

static void
count_online(struct sessions *t, const struct session *s, int change)
{
    if (s->state != SESSION_ONLINE)
        return;
    s->subject->online_count += (uint32_t)change;
    t->online_count += (size_t)change;
}

static void
set_state(struct sessions *t, struct session *s, enum session_state state, int64_t now_ms)
{
    list_remove(t, s);
    count_online(t, s, -1);
    s->state = (uint8_t)state;
    count_online(t, s, 1);
    s->since_ms = now_ms;
    list_append(t, s);
    t->changes++;
}

/* --- look-up ------------------------------------------------------------------------------- */

struct session *
sessions_of_pointer(const struct sessions *t, const struct mosquitto *client)
{
    struct session *s;

    if (client == NULL)
        return NULL;
    s = t->by_client[client_bucket(t, client)];
    while (s != NULL && s->client != client)
        s = s->client_next;
    return s;
}

struct session *
sessions_of_client(const struct sessions *t, const struct mosquitto *client, const char *id)
{
    struct session *s = sessions_of_pointer(t, client);

    return s != NULL && id != NULL && strcmp(s->id, id) == 0 ? s : NULL;
}

static bool
subject_is(const struct session *s, struct lk_span name)
{
    return lk_span_equal(session_subject(s), name);
}

struct session *
sessions_of_id(const struct sessions *t, const char *id, const char *user)
{
    struct session *s;

    if (id == NULL || user == NULL)
        return NULL;
    /* The newest is entered in front. */
    s = t->by_id[text_bucket(t, lk_span_text(id))];
    for (; s != NULL; s = s->id_next)
        if (s->state != SESSION_DYING && strcmp(s->id, id) == 0 &&
            subject_is(s, lk_span_text(user)))
            return s;
    return NULL;
}

struct session *
sessions_newest_of_id(const struct sessions *t, struct lk_span id)
{
    struct session *s = t->by_id[text_bucket(t, id)];

    while (s != NULL &&
           (s->state == SESSION_DYING || !lk_span_equal(lk_span_of(s->id, s->id_len), id)))
        s = s->id_next;
    return s;
}

bool
sessions_id_is_taken(const struct sessions *t, struct lk_span id, struct lk_span subject)
{
    struct session *s = t->by_id[text_bucket(t, id)];

    for (; s != NULL; s = s->id_next)
        if (s->state != SESSION_DYING && lk_span_equal(lk_span_of(s->id, s->id_len), id) &&
            (subject.ptr == NULL || !subject_is(s, subject)))
            return true;
    return false;
}

struct session *
sessions_of_token(const struct sessions *t, const uint8_t token_id[REVOCATION_KEY_LEN],
                  const struct session *before)
{
    struct session *s =
        before != NULL ? before->token_next : t->by_token[token_bucket(t, token_id)];

    while (s != NULL && memcmp(s->token_id, token_id, REVOCATION_KEY_LEN) != 0)
        s = s->token_next;
    return s;
}

/* --- coming and going ---------------------------------------------------------------------- */

static void
token_enter(struct sessions *t, struct session *s)
{
    static const uint8_t none[REVOCATION_KEY_LEN];
    struct session **bucket = &t->by_token[token_bucket(t, s->token_id)];

    if (memcmp(s->token_id, none, sizeof(none)) == 0)
        return;
    s->token_at = bucket;
    s->token_next = *bucket;
    if (*bucket != NULL)
        (*bucket)->token_at = &s->token_next;
    *bucket = s;
}

/* In one step: an issuer that gives all its tokens one id makes one long chain. */
static void
token_leave(struct session *s)
{
    if (s->token_at == NULL)
        return;
    *s->token_at = s->token_next;
    if (s->token_next != NULL)
        s->token_next->token_at = s->token_at;
    s->token_next = NULL;
    s->token_at = NULL;
}

bool
sessions_revoke(struct sessions *t, struct session *s)
{
    if (s->revoked)
        return false;
    s->revoked = true;
    t->changes++;
    return true;
}

void
sessions_drop_pointer(struct sessions *t, struct session *s)
{
    struct session **at;

    if (s->client == NULL)
        return;
    at = &t->by_client[client_bucket(t, s->client)];
    while (*at != s)
        at = &(*at)->client_next;
    *at = s->client_next;
    s->client_next = NULL;
    s->client = NULL;
}

static void
set_pointer(struct sessions *t, struct session *s, struct mosquitto *client)
{
    struct session **bucket = &t->by_client[client_bucket(t, client)];

    s->client = client;
    s->client_next = *bucket;
    *bucket = s;
}

static void
forget(struct sessions *t, struct session *s)
{
    struct session **at = &t->by_id[text_bucket(t, lk_span_of(s->id, s->id_len))];

    sessions_drop_pointer(t, s);
    while (*at != s)
        at = &(*at)->id_next;
    *at = s->id_next;
    token_leave(s);
    list_remove(t, s);
    count_online(t, s, -1);
    subject_leave(s->subject, s);
    subject_put(t, s->subject);
    grants_put(t->grants, s->shape);
    bond_free(s->bond);
    mosquitto_free(s->room);
    mosquitto_free(s);
    t->count--;
    t->changes++;
}

void
sessions_close(struct sessions *t)
{
    for (size_t i = 0; t->by_id != NULL && i < t->buckets; i++)
        while (t->by_id[i] != NULL)
            forget(t, t->by_id[i]);
    free_tables(t);
    *t = (struct sessions){0};
}

static bool
make_room(struct sessions *t)
{
    if (t->count < t->count_max)
        return true;
    if (t->dying.first != NULL)
        forget(t, t->dying.first);
    else if (t->offline.first != NULL)
        forget(t, t->offline.first);
    return t->count < t->count_max;
}

/* One subject with ever new client ids pushes out its own past, not other people's. */
static void
make_room_of_subject(struct sessions *t, struct lk_span name, size_t most)
{
    struct subject *subject = sessions_subject(t, name);
    struct session *s = subject != NULL ? subject->oldest : NULL;

    if (subject == NULL || subject->session_count < most)
        return;
    while (s != NULL && s->state == SESSION_ONLINE)
        s = s->newer;
    if (s != NULL)
        forget(t, s);
}

/* The broker lets go of an old context right after the new login, and judges its will then. */
static void
supersede(struct sessions *t, struct lk_span id, int64_t now_ms)
{
    struct session *s = t->by_id[text_bucket(t, id)];

    for (; s != NULL; s = s->id_next) {
        if (!lk_span_equal(lk_span_of(s->id, s->id_len), id) || s->superseded)
            continue;
        s->superseded = true;
        if (s->state == SESSION_OFFLINE)
            set_state(t, s, SESSION_DYING, now_ms);
    }
}

static uint8_t *
make_values_room(struct lk_span identity, struct lk_span values)
{
    uint8_t *room = mosquitto_malloc(identity.len + values.len + 1);

    if (room == NULL)
        return NULL;
    if (identity.len > 0)
        memcpy(room, identity.ptr, identity.len);
    if (values.len > 0)
        memcpy(room + identity.len, values.ptr, values.len);
    return room;
}

static void
take_facts(struct session *s, const struct session_facts *facts)
{
    s->shape = facts->shape;
    s->bond = facts->bond;
    s->identity_len = (uint32_t)facts->identity.len;
    s->values_len = (uint32_t)facts->values.len;
    s->expires_s = facts->expires_s;
    s->deadline_ms = facts->deadline_ms;
    s->generation = facts->generation;
    s->policy_serial = facts->policy_serial;
    s->proof = facts->proof;
    memcpy(s->kid, facts->kid, sizeof(s->kid));
    memcpy(s->token_id, facts->token_id, sizeof(s->token_id));
    memcpy(s->credential, facts->credential, sizeof(s->credential));
}

static struct session *
make(const struct session_facts *facts)
{
    struct session *s = mosquitto_calloc(1, sizeof(*s) + facts->id.len + 1);

    if (s == NULL)
        return NULL;
    s->room = make_values_room(facts->identity, facts->values);
    if (s->room == NULL) {
        mosquitto_free(s);
        return NULL;
    }
    take_facts(s, facts);
    s->id_len = (uint16_t)facts->id.len;
    memcpy(s->id, facts->id.ptr, facts->id.len);
    s->state = facts->client != NULL ? SESSION_ONLINE : SESSION_OFFLINE;
    s->denied_budget = DENIALS_BURST;
    return s;
}

static void
enter(struct sessions *t, struct session *s, struct subject *subject,
      const struct session_facts *facts, int64_t now_ms)
{
    struct session **bucket = &t->by_id[text_bucket(t, facts->id)];
    struct session *before = sessions_of_pointer(t, facts->client);

    if (before != NULL)
        sessions_drop_pointer(t, before);
    subject_enter(subject, s);
    count_online(t, s, 1);
    s->id_next = *bucket;
    *bucket = s;
    token_enter(t, s);
    s->since_ms = now_ms;
    if (facts->client != NULL)
        set_pointer(t, s, facts->client);
    list_append(t, s);
    t->count++;
    t->changes++;
}

enum lk_err
sessions_add(struct sessions *t, const struct session_facts *facts, size_t of_subject_max,
             int64_t now_ms, struct session **session)
{
    enum lk_err err = LK_ERR_BUSY;
    struct session *s = NULL;
    struct subject *subject;

    *session = NULL;
    make_room_of_subject(t, facts->subject, of_subject_max);
    if (!make_room(t))
        goto out;
    err = LK_ERR_NOMEM;
    s = make(facts);
    if (s == NULL)
        goto out;
    subject = subject_get(t, facts->subject);
    if (subject == NULL)
        goto out;
    supersede(t, facts->id, now_ms);
    enter(t, s, subject, facts, now_ms);
    *session = s;
    return LK_OK;
out:
    if (s != NULL)
        mosquitto_free(s->room);
    mosquitto_free(s);
    bond_free(facts->bond);
    grants_put(t->grants, facts->shape);
    return err;
}

enum lk_err
sessions_renew(struct sessions *t, struct session *s, const struct session_facts *facts)
{
    uint8_t *room = make_values_room(facts->identity, facts->values);

    if (room == NULL) {
        bond_free(facts->bond);
        grants_put(t->grants, facts->shape);
        return LK_ERR_NOMEM;
    }
    mosquitto_free(s->room);
    s->room = room;
    grants_put(t->grants, s->shape);
    bond_free(s->bond);
    token_leave(s);
    take_facts(s, facts);
    token_enter(t, s);
    t->changes++;
    return LK_OK;
}

enum lk_err
sessions_set_grant(struct sessions *t, struct session *s, struct shape *shape,
                   struct lk_span values, uint32_t policy_serial)
{
    uint8_t *room = make_values_room(session_identity(s), values);

    if (room == NULL) {
        grants_put(t->grants, shape);
        return LK_ERR_NOMEM;
    }
    mosquitto_free(s->room);
    s->room = room;
    s->values_len = (uint32_t)values.len;
    grants_put(t->grants, s->shape);
    s->shape = shape;
    s->policy_serial = policy_serial;
    return LK_OK;
}

void
sessions_set_offline(struct sessions *t, struct session *s, int64_t now_ms)
{
    set_state(t, s, s->superseded ? SESSION_DYING : SESSION_OFFLINE, now_ms);
}

static size_t
reap_list(struct sessions *t, struct session_list *list, int64_t before_ms, size_t most)
{
    size_t gone = 0;

    for (; gone < most && list->first != NULL && list->first->since_ms <= before_ms; gone++)
        forget(t, list->first);
    return gone;
}

size_t
sessions_reap(struct sessions *t, int64_t now_ms, int64_t dying_ms, int64_t offline_ms, size_t most)
{
    size_t gone = reap_list(t, &t->dying, now_ms - dying_ms, most);

    return gone + reap_list(t, &t->offline, now_ms - offline_ms, most - gone);
}

bool
sessions_walk(const struct sessions *t, struct session_cursor *cursor, size_t buckets,
              bool (*each)(void *context, struct session *s), void *context)
{
    for (; buckets > 0; buckets--) {
        struct session *s = t->by_id[cursor->bucket];

        for (size_t i = 0; i < cursor->passed && s != NULL; i++)
            s = s->id_next;
        for (; s != NULL; s = s->id_next) {
            if (!each(context, s))
                return false;
            cursor->passed++;
        }
        cursor->passed = 0;
        cursor->bucket = (cursor->bucket + 1) & (t->buckets - 1);
        if (cursor->bucket == 0)
            return true;
    }
    return false;
}

/* --- rates --------------------------------------------------------------------------------- */

static struct rate *
rate_get(struct subject *subject, uint16_t rule, uint32_t policy_serial, uint32_t per_second,
         int64_t now_ms)
{
    struct rate *rate = subject->rates;

    while (rate != NULL && rate->rule != rule)
        rate = rate->next;
    if (rate == NULL) {
        /* Once for a subject and a rule, not for a message. */
        rate = mosquitto_calloc(1, sizeof(*rate));
        if (rate == NULL)
            return NULL;
        rate->rule = rule;
        rate->next = subject->rates;
        subject->rates = rate;
    }
    if (rate->policy_serial != policy_serial) {
        /* New, or rules have other numbers now: start with a full bucket. */
        rate->policy_serial = policy_serial;
        rate->left_milli = (int64_t)per_second * 1000;
        rate->then_ms = now_ms;
    }
    return rate;
}

bool
sessions_take_rate(struct session *s, uint16_t rule, uint32_t per_second, int64_t now_ms)
{
    struct rate *rate = rate_get(s->subject, rule, s->policy_serial, per_second, now_ms);
    int64_t full = (int64_t)per_second * 1000;
    int64_t passed_ms;

    if (rate == NULL)
        return false;
    /* After a second the bucket is full anyway; cutting there keeps the product small. */
    passed_ms = now_ms - rate->then_ms < 1000 ? now_ms - rate->then_ms : 1000;
    if (passed_ms > 0) {
        rate->left_milli += passed_ms * per_second;
        rate->then_ms = now_ms;
    }
    if (rate->left_milli > full)
        rate->left_milli = full;
    if (rate->left_milli < 1000)
        return false;
    rate->left_milli -= 1000;
    return true;
}
