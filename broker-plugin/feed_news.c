#include "feed_news.h"

#include <stdlib.h>
#include <string.h>

#include <latchkey/id.h>
#include <latchkey/json.h>

/* --- one entry ----------------------------------------------------------------------------- */

struct raw_entry {
    struct lk_span kind, value;
    int64_t gen_before, until_s;
    bool has_gen, has_until;
};

static void
read_members(struct lk_json *r, struct raw_entry *raw)
{
    struct lk_span name;

    *raw = (struct raw_entry){.kind = {NULL, 0}};
    lk_json_enter_object(r);
    while (lk_json_next_member(r, &name)) {
        if (lk_span_is(name, "kind")) {
            raw->kind = lk_json_string(r);
        } else if (lk_span_is(name, "value")) {
            raw->value = lk_json_string(r);
        } else if (lk_span_is(name, "gen_before") && lk_json_peek(r) != LK_JSON_NULL) {
            raw->gen_before = lk_json_int(r);
            raw->has_gen = true;
        } else if (lk_span_is(name, "until")) {
            raw->until_s = lk_json_numeric_date(r);
            raw->has_until = true;
        } else {
            lk_json_skip(r);
        }
    }
    lk_json_leave_object(r);
}

static enum lk_err
name_subject(const struct raw_entry *raw, struct feed_entry *entry)
{
    if (!raw->has_gen)
        return LK_ERR_MISSING;
    if (raw->gen_before < 0)
        return LK_ERR_RANGE;
    if (!lk_id_is_valid(raw->value))
        return LK_OK; /* nobody's: kind stays NONE */
    entry->kind = REVOCATION_SUBJECT;
    entry->gen_before = (uint64_t)raw->gen_before;
    entry->subject_len = (uint8_t)raw->value.len;
    memcpy(entry->subject, raw->value.ptr, raw->value.len);
    return revocation_subject_key(raw->value, entry->key);
}

static enum lk_err
name_kid(const struct raw_entry *raw, struct feed_entry *entry)
{
    uint8_t print[KID_PRINT_LEN];
    enum lk_err err;

    if (raw->value.len > LK_KID_MAX)
        return LK_OK;
    err = revocation_kid_print(raw->value, print);
    entry->kind = REVOCATION_KID;
    revocation_kid_key(print, entry->key);
    return err;
}

static enum lk_err
name_token(const struct raw_entry *raw, struct feed_entry *entry)
{
    entry->kind = REVOCATION_TOKEN;
    return revocation_token_key(raw->value, entry->key);
}

static void
remember_kind(struct feed_news *news, struct lk_span kind)
{
    size_t len = kind.len < FEED_KIND_MAX ? kind.len : FEED_KIND_MAX;

    if (news->unknown_kind[0] == '\0' && kind.len > 0)
        memcpy(news->unknown_kind, kind.ptr, len);
}

static enum lk_err
name(struct feed_news *news, const struct raw_entry *raw, struct feed_entry *entry)
{
    if (lk_span_is(raw->kind, "jti"))
        return name_token(raw, entry);
    if (lk_span_is(raw->kind, "sub"))
        return name_subject(raw, entry);
    if (lk_span_is(raw->kind, "kid"))
        return name_kid(raw, entry);
    if (!lk_span_is(raw->kind, "family"))
        remember_kind(news, raw->kind);
    return LK_OK;
}

/* --- the list ------------------------------------------------------------------------------ */

static enum lk_err
make_room(struct feed_news *news)
{
    size_t room = news->room > 0 ? news->room * 2 : 16;
    struct feed_entry *entries;

    if (news->count < news->room)
        return LK_OK;
    if (news->count >= FEED_PAGE_MAX)
        return LK_ERR_LIMIT;
    entries = realloc(news->entries, room * sizeof(*entries));
    if (entries == NULL)
        return LK_ERR_NOMEM;
    news->entries = entries;
    news->room = room;
    return LK_OK;
}

static enum lk_err
add(struct feed_news *news, const struct raw_entry *raw)
{
    struct feed_entry entry = {.until_s = raw->until_s};
    enum lk_err err;

    if (raw->kind.ptr == NULL || raw->value.ptr == NULL || !raw->has_until)
        return LK_ERR_MISSING;
    err = name(news, raw, &entry);
    if (err != LK_OK || entry.kind == REVOCATION_NONE)
        return err;
    err = make_room(news);
    if (err == LK_OK)
        news->entries[news->count++] = entry;
    return err;
}

static enum lk_err
read_entries(struct lk_json *r, struct feed_news *news)
{
    struct raw_entry raw;
    enum lk_err err = LK_OK;

    lk_json_enter_array(r);
    while (err == LK_OK && lk_json_next_item(r)) {
        read_members(r, &raw);
        err = r->err == LK_OK ? add(news, &raw) : r->err;
    }
    if (err == LK_OK)
        lk_json_leave_array(r);
    return err;
}

/* --- the answer ---------------------------------------------------------------------------- */

/* It goes back in a URL as it is. */
static enum lk_err
take_epoch(struct feed_news *news, struct lk_span epoch)
{
    static const char unreserved[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                                     "0123456789-._~";

    if (epoch.len == 0 || epoch.len > FEED_EPOCH_MAX)
        return LK_ERR_SYNTAX;
    for (size_t i = 0; i < epoch.len; i++)
        if (memchr(unreserved, epoch.ptr[i], sizeof(unreserved) - 1) == NULL)
            return LK_ERR_SYNTAX;
    memcpy(news->epoch, epoch.ptr, epoch.len);
    return LK_OK;
}

enum { SEEN_EPOCH = 1, SEEN_SEQ = 2, SEEN_FULL = 4, SEEN_ENTRIES = 8, SEEN_ALL = 15 };

static enum lk_err
read_answer(struct lk_json *r, struct feed_news *news)
{
    enum lk_err err = LK_OK;
    struct lk_span member;
    unsigned seen = 0;

    lk_json_enter_object(r);
    while (err == LK_OK && lk_json_next_member(r, &member)) {
        if (lk_span_is(member, "epoch")) {
            seen |= SEEN_EPOCH;
            member = lk_json_string(r);
            err = r->err == LK_OK ? take_epoch(news, member) : r->err;
        } else if (lk_span_is(member, "seq")) {
            seen |= SEEN_SEQ;
            news->seq = lk_json_int(r);
        } else if (lk_span_is(member, "full")) {
            seen |= SEEN_FULL;
            news->full = lk_json_bool(r);
        } else if (lk_span_is(member, "more")) {
            news->more = lk_json_bool(r);
        } else if (lk_span_is(member, "entries")) {
            seen |= SEEN_ENTRIES;
            err = read_entries(r, news);
        } else {
            lk_json_skip(r);
        }
    }
    if (err != LK_OK)
        return err;
    lk_json_leave_object(r);
    err = lk_json_close(r);
    if (err == LK_OK && seen != SEEN_ALL)
        err = LK_ERR_MISSING;
    return err == LK_OK && news->seq < 0 ? LK_ERR_RANGE : err;
}

enum lk_err
feed_news_read(uint8_t *text, size_t len, struct feed_news **news)
{
    struct lk_json r;
    enum lk_err err;

    *news = calloc(1, sizeof(**news));
    if (*news == NULL)
        return LK_ERR_NOMEM;
    lk_json_open(&r, text, len);
    err = read_answer(&r, *news);
    if (err == LK_OK)
        return LK_OK;
    feed_news_free(*news);
    *news = NULL;
    return err;
}

void
feed_news_free(struct feed_news *news)
{
    if (news == NULL)
        return;
    free(news->entries);
    free(news);
}
