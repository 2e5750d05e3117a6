#include "revoke.h"

#include <string.h>

#include <latchkey/host/clock.h>

#include "log.h"
#include "plugin.h"

/* --- sessions ------------------------------------------------------------------------------ */

static void
end_session(struct plugin *p, struct session *s, int64_t now_ms)
{
    if (!sessions_revoke(&p->sessions, s))
        return;
    /* Offline ones are only denied: 2.0 uses freed memory after such a kick. */
    if (s->state == SESSION_ONLINE)
        expiry_set(&p->expiry, s, now_ms);
}

static bool
kid_is_revoked(const struct plugin *p, const uint8_t print[KID_PRINT_LEN])
{
    uint8_t key[REVOCATION_KEY_LEN];

    revocation_kid_key(print, key);
    return revocations_has(&p->revoke.set, REVOCATION_KID, key, 0);
}

static bool
look_at_kid(void *context, struct session *s)
{
    struct plugin *p = context;

    if (kid_is_revoked(p, s->kid))
        end_session(p, s, plugin_now_ms());
    return true;
}

/* After a restart: the file names subjects by their hashes, so each session is asked about. */
static bool
look_at_all(void *context, struct session *s)
{
    struct plugin *p = context;
    const struct revocations *set = &p->revoke.set;
    uint8_t subject[REVOCATION_KEY_LEN];

    /* One whose subject cannot be told is taken for revoked. */
    if (revocations_has(set, REVOCATION_TOKEN, s->token_id, 0) || kid_is_revoked(p, s->kid) ||
        revocation_subject_key(session_subject(s), subject) != LK_OK ||
        revocations_has(set, REVOCATION_SUBJECT, subject, s->generation))
        end_session(p, s, plugin_now_ms());
    return true;
}

/* --- keys ---------------------------------------------------------------------------------- */

void
revoke_keys(struct plugin *p)
{
    size_t gone;

    if (!p->revoke.on)
        return;
    gone = keys_drop_revoked(&p->keys, &p->revoke.set);
    if (gone == 0)
        return;
    p->revoke.keys_gone = true;
    log_line(LK_LOG_WARN, "keys issuer=%s revoked=%zu left=%zu", lk_log_text(p->options.issuer),
             gone, p->keys.set.count);
}

static void
end_sessions_of_key(struct plugin *p)
{
    revoke_keys(p);
    worker_want_keys_anew(&p->worker);
    p->revoke.walking = true;
    p->revoke.cursor = (struct session_cursor){0, 0};
}

/* --- news ---------------------------------------------------------------------------------- */

void
revoke_take(struct plugin *p, struct note *note)
{
    struct revoke *r = &p->revoke;

    if (note->feed_is_fresh) {
        r->heard = true;
        r->fresh_ms = plugin_now_ms();
        r->heard_s = lk_clock_wall_s();
        metrics_set(&p->metrics.feed_success_s, (uint64_t)r->heard_s);
        r->server_now_s = note->server_date_s;
        r->sweeping = note->server_date_s > 0;
    }
    if (note->news == NULL)
        return;
    *(r->first == NULL ? &r->first : &r->last->next) = note->news;
    r->last = note->news;
    note->news = NULL;
}

static void
remember(struct plugin *p, const struct feed_entry *e, int64_t answered_s)
{
    struct revoke *r = &p->revoke;

    if (revocations_put(&r->set, (enum revocation_kind)e->kind, e->key, e->gen_before, e->until_s,
                        answered_s) ||
        r->told_full)
        return;
    r->told_full = true;
    log_line(LK_LOG_ERROR,
             "revocations more than %d, which is all there is room for: tokens issued before %lld "
             "are refused until %lld, and clients have to get new ones",
             REVOCATIONS_MAX, (long long)r->set.issued_before_s, (long long)r->set.issued_until_s);
}

static void
apply(struct plugin *p, const struct feed_entry *e, int64_t answered_s, int64_t now_ms)
{
    const struct subject *subject;
    struct session *s;

    remember(p, e, answered_s);
    switch ((enum revocation_kind)e->kind) {
    case REVOCATION_TOKEN:
        for (s = sessions_of_token(&p->sessions, e->key, NULL); s != NULL;
             s = sessions_of_token(&p->sessions, e->key, s))
            end_session(p, s, now_ms);
        break;
    case REVOCATION_SUBJECT:
        subject = sessions_subject(&p->sessions, lk_span_of(e->subject, e->subject_len));
        for (s = subject != NULL ? subject->newest : NULL; s != NULL; s = s->older)
            if (s->generation < e->gen_before)
                end_session(p, s, now_ms);
        break;
    case REVOCATION_KID:
        end_sessions_of_key(p);
        break;
    case REVOCATION_NONE:
    case REVOCATION_KINDS:
        break;
    }
}

static void
finish(struct plugin *p, const struct feed_news *news)
{
    struct revoke *r = &p->revoke;

    if (news->ends) {
        revocations_end(&r->set);
        r->sweeping = true;
        r->told_full = r->told_full && r->set.issued_before_s != 0;
    }
    /* A key that is revoked no more is there again with the next fetch. */
    if (news->ends && r->keys_gone) {
        r->keys_gone = false;
        worker_want_keys_anew(&p->worker);
    }
    log_line(LK_LOG_INFO, "feed revocations=%zu%s seq=%lld known=%zu", news->count,
             news->full ? " full" : "", (long long)news->seq, r->set.live);
}

static size_t
apply_some(struct plugin *p, size_t most, int64_t now_ms)
{
    struct revoke *r = &p->revoke;
    struct feed_news *news = r->first;

    if (r->applied == 0 && news->full)
        revocations_begin(&r->set);
    for (; most > 0 && r->applied < news->count; most--)
        apply(p, &news->entries[r->applied++], news->answered_s, now_ms);
    if (r->applied < news->count)
        return 0;
    finish(p, news);
    r->first = news->next;
    r->applied = 0;
    feed_news_free(news);
    atomic_fetch_sub(&r->feed.waiting, 1);
    return most;
}

void
revoke_some(struct plugin *p, int64_t now_ms)
{
    struct revoke *r = &p->revoke;
    size_t left = TURN_REVOKED;

    if (!r->on)
        return;
    while (left > 0 && r->first != NULL)
        left = apply_some(p, left, now_ms);
    if (r->walking)
        r->walking = !sessions_walk(&p->sessions, &r->cursor, TURN_BUCKETS, look_at_kid, p);
    if (r->sweeping)
        r->sweeping = !revocations_sweep(&r->set, r->server_now_s, TURN_SWEPT);
    r->told_full = r->told_full && r->set.issued_before_s != 0;
}

bool
revoke_is_busy(const struct plugin *p)
{
    return p->revoke.first != NULL || p->revoke.walking || p->revoke.sweeping;
}

/* --- logins -------------------------------------------------------------------------------- */

bool
revoke_has_kid(const struct plugin *p, struct lk_span kid)
{
    uint8_t print[KID_PRINT_LEN];

    if (p->revoke.set.of_kind[REVOCATION_KID] == 0 || kid.ptr == NULL)
        return false;
    return revocation_kid_print(kid, print) != LK_OK || kid_is_revoked(p, print);
}

static enum lk_err
check_names(const struct revocations *set, const struct lk_claims *claims)
{
    uint64_t generation = claims->has_generation ? claims->generation : 0;
    uint8_t key[REVOCATION_KEY_LEN];
    enum lk_err err = LK_OK;

    if (set->of_kind[REVOCATION_TOKEN] > 0) {
        err = revocation_token_key(claims->token_id, key);
        if (err == LK_OK && revocations_has(set, REVOCATION_TOKEN, key, 0))
            err = LK_ERR_REVOKED;
    }
    if (err == LK_OK && set->of_kind[REVOCATION_SUBJECT] > 0) {
        err = revocation_subject_key(claims->subject, key);
        if (err == LK_OK && revocations_has(set, REVOCATION_SUBJECT, key, generation))
            err = LK_ERR_REVOKED;
    }
    return err;
}

enum lk_err
revoke_check(const struct plugin *p, const struct lk_claims *claims, int64_t now_ms)
{
    const struct revoke *r = &p->revoke;
    int64_t age_max_ms = p->options.max_feed_age_s * 1000;
    enum lk_err err;

    if (!r->on)
        return LK_OK;
    err = check_names(&r->set, claims);
    if (err == LK_OK &&
        revocations_are_too_many(&r->set, claims->has_issued ? claims->issued_s : 0))
        err = LK_ERR_REVOKED;
    if (err == LK_OK && age_max_ms > 0 && (!r->heard || now_ms - r->fresh_ms > age_max_ms))
        err = LK_ERR_UNAVAILABLE;
    return err;
}

/* --- start and end ------------------------------------------------------------------------- */

/* The wall clock only says how old the file is; from here on the monotonic one counts. */
static void
set_age(struct revoke *r, const struct feed_position *position)
{
    int64_t age_s = lk_clock_wall_s() - position->answered_s;

    r->server_now_s = 0; /* nothing is over before the server says what time it is */
    r->heard = position->answered_s > 0 && age_s >= 0 && age_s < LIFETIME_MAX_S;
    r->heard_s = r->heard ? position->answered_s : 0;
    r->fresh_ms = r->heard ? plugin_now_ms() - age_s * 1000 : 0;
}

static void
load(struct plugin *p)
{
    struct revoke *r = &p->revoke;
    struct feed_position position;
    int64_t saved_s;
    enum lk_err err;

    err = state_load_revocations(&p->state, p->options.issuer, &r->set, &saved_s, &position);
    if (err == LK_OK) /* the same for the thread, which has a set of its own */
        err = state_load_revocations(&p->state, p->options.issuer, &r->feed.set, &saved_s,
                                     &r->feed.position);
    if (err != LK_OK) {
        if (err != LK_ERR_NOT_FOUND)
            log_line(LK_LOG_ERROR, "revocations file=%s ignored reason=%s %s",
                     p->state.revocations_path, lk_err_name(err),
                     err == LK_ERR_SIGNATURE ? "not written by this verifier" : lk_err_text(err));
        return;
    }
    if (saved_s > p->floor_s)
        p->floor_s = saved_s;
    set_age(r, &position);
    log_line(LK_LOG_INFO, "revocations file=%s count=%zu epoch=%s seq=%lld from the last run",
             p->state.revocations_path, r->set.live, position.epoch, (long long)position.seq);
}

static void
act_on_file(struct plugin *p)
{
    struct session_cursor cursor = {0, 0};

    revoke_keys(p);
    if (p->revoke.set.live > 0)
        (void)sessions_walk(&p->sessions, &cursor, SIZE_MAX, look_at_all, p);
}

bool
revoke_open(struct plugin *p)
{
    struct revoke *r = &p->revoke;
    struct feed *f = &r->feed;
    enum lk_err err;

    if (p->options.feed != FEED_ON)
        return true;
    r->on = true;
    f->worker = &p->worker;
    f->state = &p->state;
    f->issuer = p->options.issuer;
    f->ca_file = p->options.ca_file[0] != '\0' ? p->options.ca_file : NULL;
    f->client_id = p->options.client_id;
    f->client_secret_file = p->options.client_secret_file;
    err = revocations_open(&r->set, REVOCATIONS_MAX);
    if (err == LK_OK)
        err = revocations_open(&f->set, REVOCATIONS_MAX);
    if (err == LK_OK && p->state.enabled && p->state.has_secret)
        load(p);
    act_on_file(p);
    revoke_reload(p);
    if (err == LK_OK)
        err = feed_start(f);
    if (err != LK_OK)
        log_line(LK_LOG_ERROR, "the feed cannot be read: %s", lk_err_text(err));
    return err == LK_OK;
}

void
revoke_reload(struct plugin *p)
{
    atomic_store(&p->revoke.feed.wait_s, feed_wait_s(p->options.max_feed_age_s));
}

void
revoke_close(struct plugin *p)
{
    struct revoke *r = &p->revoke;
    struct feed_news *next;

    feed_close(&r->feed);
    for (; r->first != NULL; r->first = next) {
        next = r->first->next;
        feed_news_free(r->first);
    }
    revocations_close(&r->set);
    r->on = false;
}
