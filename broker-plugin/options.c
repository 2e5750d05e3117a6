#include "options.h"

#include <ctype.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <ini.h>

#include <latchkey/host/file.h>
#include <latchkey/host/log.h>
#include <latchkey/id.h>
#include <latchkey/key.h>

#include "compat.h"
#include "scrape.h"

enum option_kind {
    OPTION_TEXT,
    OPTION_SECONDS,
    OPTION_COUNT,
    OPTION_RATE,
    OPTION_WORD,
    OPTION_ALGS
};

#define MINUTE INT64_C(60)
#define DAY    INT64_C(86400)
#define AT(m)  offsetof(struct options, m)

static const char *const unknown_words[] = {"deny", "defer", NULL};
static const char *const binding_words[] = {"strict", "off", NULL};
static const char *const on_deny_words[] = {"ignore", "disconnect", NULL};
static const char *const bool_words[] = {"false", "true", NULL};
static const char *const feed_words[] = {"off", "on", NULL};

static const struct option {
    const char *name;
    enum option_kind kind;
    size_t at;
    const char *text; /* default of OPTION_TEXT */
    int64_t preset;   /* default of the others */
    int64_t least, most;
    const char *const *words; /* OPTION_WORD: the value is the index */
    bool of_issuer;           /* may also stand in [issuer NAME] */
    bool live;                /* SIGHUP changes it */
} known[] = {
    {.name = "issuer", .at = AT(issuer), .of_issuer = true},
    {.name = "jwks_uri", .at = AT(jwks_uri), .of_issuer = true},
    {.name = "keys_file", .at = AT(keys_file), .of_issuer = true},
    {.name = "ca_file", .at = AT(ca_file), .of_issuer = true},
    {.name = "client_id", .at = AT(client_id), .of_issuer = true},
    {.name = "client_secret_file", .at = AT(client_secret_file), .of_issuer = true},
    {.name = "rs_key_file", .at = AT(rs_key_file), .of_issuer = true},
    {.name = "typ", .at = AT(typ), .of_issuer = true},
    {.name = "scope_claim", .at = AT(scope_claim), .of_issuer = true},
    {.name = "scope_prefix", .at = AT(scope_prefix), .of_issuer = true},
    {.name = "subject_claim", .at = AT(subject_claim), .of_issuer = true},
    {.name = "tenant", .at = AT(tenant), .of_issuer = true},
    {.name = "algs", .kind = OPTION_ALGS, .at = AT(algs), .of_issuer = true},
    {.name = "feed",
     .kind = OPTION_WORD,
     .at = AT(feed),
     .words = feed_words,
     .preset = FEED_AS_IT_MAY,
     .of_issuer = true},
    {.name = "max_feed_age",
     .kind = OPTION_SECONDS,
     .at = AT(max_feed_age_s),
     .preset = 0,
     .least = FEED_AGE_MIN_S,
     .most = 365 * DAY,
     .of_issuer = true,
     .live = true},
    {.name = "audience", .at = AT(audience), .text = "mqtt"},
    {.name = "scopes", .at = AT(scopes), .text = "/etc/latchkey/scopes.acl", .live = true},
    {.name = "state_dir", .at = AT(state_dir), .text = "/var/lib/latchkey/broker"},
    {.name = "metrics", .at = AT(metrics), .text = "off"},
    {.name = "presence",
     .kind = OPTION_WORD,
     .at = AT(presence),
     .words = bool_words,
     .preset = true},
    {.name = "refresh_interval",
     .kind = OPTION_SECONDS,
     .at = AT(refresh_interval_s),
     .preset = 5 * MINUTE,
     .least = 1,
     .most = DAY,
     .live = true},
    {.name = "leeway",
     .kind = OPTION_SECONDS,
     .at = AT(leeway_s),
     .preset = 30,
     .least = 0,
     .most = 10 * MINUTE,
     .live = true},
    {.name = "session_keep",
     .kind = OPTION_SECONDS,
     .at = AT(session_keep_s),
     .preset = 7 * DAY,
     .least = 1,
     .most = 3650 * DAY,
     .live = true},
    {.name = "max_connections_per_subject",
     .kind = OPTION_COUNT,
     .at = AT(max_connections_per_subject),
     .preset = 8,
     .least = 1,
     .most = 100000,
     .live = true},
    {.name = "max_sessions",
     .kind = OPTION_COUNT,
     .at = AT(max_sessions),
     .preset = 200000,
     .least = 1,
     .most = SESSIONS_MAX_CEIL},
    {.name = "auth_fail_rate",
     .kind = OPTION_RATE,
     .at = AT(auth_fail_rate),
     .preset = 10,
     .least = 1,
     .most = 1000000,
     .live = true},
    {.name = "cache_size",
     .kind = OPTION_COUNT,
     .at = AT(cache_size),
     .preset = 131072,
     .least = 0,
     .most = CACHE_SIZE_CEIL},
    {.name = "unknown",
     .kind = OPTION_WORD,
     .at = AT(unknown),
     .words = unknown_words,
     .preset = UNKNOWN_DENY,
     .live = true},
    {.name = "client_id_binding",
     .kind = OPTION_WORD,
     .at = AT(client_id_binding),
     .words = binding_words,
     .preset = BINDING_STRICT,
     .live = true},
    {.name = "on_deny",
     .kind = OPTION_WORD,
     .at = AT(on_deny),
     .words = on_deny_words,
     .preset = ON_DENY_IGNORE,
     .live = true},
    {.name = "disconnect_after_expire",
     .kind = OPTION_WORD,
     .at = AT(disconnect_after_expire),
     .words = bool_words,
     .preset = true},
    {.name = "require_cnf",
     .kind = OPTION_WORD,
     .at = AT(require_cnf),
     .words = bool_words,
     .preset = false},
};
#define KNOWN_COUNT (sizeof(known) / sizeof(known[0]))

/** What is being read, and the first thing that was wrong with it. */
struct reading {
    struct options *o;
    char *error;
    enum lk_err err;
    bool given[KNOWN_COUNT];
    char section[OPTION_NAME_MAX]; /* the [issuer NAME] that was seen */
};

static void
complain(struct reading *r, const char *what, const char *name, const char *value,
         const char *expected)
{
    if (r->err != LK_OK)
        return;
    r->err = LK_ERR_ARG;
    (void)snprintf(r->error, OPTION_ERROR_MAX, "option %s %s%s%s%s", lk_log_text(name),
                   value != NULL ? lk_log_text(value) : "", value != NULL ? ": " : "", what,
                   expected);
}

static bool
parse_number(const char *text, const char **rest, int64_t *number)
{
    int64_t n = 0;

    if (!isdigit((unsigned char)*text))
        return false;
    for (; isdigit((unsigned char)*text); text++) {
        if (n > INT64_MAX / 1000000)
            return false;
        n = n * 10 + (*text - '0');
    }
    *number = n;
    *rest = text;
    return true;
}

bool
options_parse_duration(const char *text, int64_t *seconds)
{
    static const struct {
        const char *unit;
        int64_t seconds;
    } units[] = {{"", 1}, {"s", 1}, {"m", MINUTE}, {"h", 60 * MINUTE}, {"d", DAY}};
    const char *rest;
    int64_t n;

    *seconds = 0;
    if (!parse_number(text, &rest, &n))
        return false;
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
        if (strcmp(rest, units[i].unit) == 0) {
            *seconds = n * units[i].seconds;
            return true;
        }
    }
    return false;
}

static bool
parse_count(const char *text, bool rate, int64_t *number)
{
    const char *rest;

    return parse_number(text, &rest, number) &&
           (*rest == '\0' || (rate && strcmp(rest, "/s") == 0));
}

static bool
parse_word(const char *text, const char *const *words, int64_t *index)
{
    for (*index = 0; words[*index] != NULL; (*index)++)
        if (strcmp(text, words[*index]) == 0)
            return true;
    return false;
}

static const char *
words_text(const char *const *words)
{
    if (words == unknown_words)
        return "deny or defer";
    if (words == binding_words)
        return "strict or off";
    if (words == on_deny_words)
        return "ignore or disconnect";
    if (words == feed_words)
        return "on or off";
    return "true or false";
}

static void
set_text(struct reading *r, const struct option *option, const char *value)
{
    size_t len = strlen(value);

    if (len == 0)
        complain(r, "a value is missing", option->name, NULL, "");
    else if (len >= OPTION_TEXT_MAX)
        complain(r, "the value is too long", option->name, NULL, "");
    else
        memcpy((char *)r->o + option->at, value, len + 1);
}

static void
set_number(struct reading *r, const struct option *option, const char *value)
{
    char range[96];
    int64_t n = 0;
    bool ok;

    if (option->kind == OPTION_SECONDS)
        ok = options_parse_duration(value, &n);
    else
        ok = parse_count(value, option->kind == OPTION_RATE, &n);
    if (!ok || n < option->least || n > option->most) {
        (void)snprintf(range, sizeof(range), "%s from %lld to %lld",
                       option->kind == OPTION_SECONDS ? "a duration like 300s or 7d, in seconds"
                                                      : "a number",
                       (long long)option->least, (long long)option->most);
        complain(r, "expected ", option->name, value, range);
        return;
    }
    memcpy((char *)r->o + option->at, &n, sizeof(n));
}

static void
set_word(struct reading *r, const struct option *option, const char *value)
{
    int64_t index;

    if (!parse_word(value, option->words, &index)) {
        complain(r, "expected ", option->name, value, words_text(option->words));
        return;
    }
    memcpy((char *)r->o + option->at, &index, sizeof(index));
}

/* One algorithm by its JOSE name; 0 for none we take. */
static int64_t
alg_bit(const char *name, size_t len)
{
    enum lk_alg alg = lk_alg_from_jose(lk_span_of(name, len));

    return alg == LK_ALG_NONE ? 0 : INT64_C(1) << (unsigned)alg;
}

static void
set_algs(struct reading *r, const struct option *option, const char *value)
{
    int64_t bits = 0;

    for (const char *at = value; *at != '\0' || at == value;) {
        size_t len = strcspn(at, " ,");
        int64_t bit = alg_bit(at, len);

        if (bit == 0) {
            complain(r, "expected ", option->name, value,
                     "some of ES256 EdDSA HS256 RS256, with spaces or commas between them");
            return;
        }
        bits |= bit;
        at += len;
        at += strspn(at, " ,");
    }
    memcpy((char *)r->o + option->at, &bits, sizeof(bits));
}

static void
set(struct reading *r, const char *name, const char *value, bool in_issuer)
{
    for (size_t i = 0; i < KNOWN_COUNT; i++) {
        if (strcmp(name, known[i].name) != 0)
            continue;
        if (in_issuer && !known[i].of_issuer)
            complain(r, "belongs into [plugin], not into an [issuer ...] section", name, NULL, "");
        else if (r->given[i])
            complain(r, "given twice", name, NULL, "");
        else if (known[i].kind == OPTION_TEXT)
            set_text(r, &known[i], value);
        else if (known[i].kind == OPTION_WORD)
            set_word(r, &known[i], value);
        else if (known[i].kind == OPTION_ALGS)
            set_algs(r, &known[i], value);
        else
            set_number(r, &known[i], value);
        r->given[i] = true;
        return;
    }
    complain(r, "there is no such option", name, NULL, "");
}

static void
set_defaults(struct options *o)
{
    for (size_t i = 0; i < KNOWN_COUNT; i++) {
        char *at = (char *)o + known[i].at;

        if (known[i].kind != OPTION_TEXT)
            memcpy(at, &known[i].preset, sizeof(known[i].preset));
        else if (known[i].text != NULL)
            (void)snprintf(at, OPTION_TEXT_MAX, "%s", known[i].text);
    }
}

/* inih's handler: 0 stops nothing, but its line number is not needed; `error` says more. */
static int
on_ini_line(void *user, const char *section, const char *name, const char *value)
{
    struct reading *r = user;
    bool in_issuer = strncmp(section, "issuer ", 7) == 0 && section[7] != '\0';

    if (!in_issuer && strcmp(section, "plugin") != 0) {
        complain(r, "stands outside of [plugin] and [issuer NAME]", name, NULL, "");
    } else if (strcmp(name, "config") == 0) {
        complain(r, "only mosquitto.conf can name the file", name, NULL, "");
    } else if (in_issuer && r->section[0] != '\0' && strcmp(r->section, section) != 0) {
        complain(r, "more than one issuer is not supported by this version", section, NULL, "");
    } else {
        if (in_issuer)
            (void)snprintf(r->section, sizeof(r->section), "%s", section);
        set(r, name, value, in_issuer);
    }
    return r->err == LK_OK;
}

static void
read_config(struct reading *r)
{
    char *text = calloc(1, OPTION_FILE_MAX + 1);
    struct lk_span file;
    enum lk_err err;
    int line;

    if (text == NULL) {
        complain(r, lk_err_text(LK_ERR_NOMEM), "config", r->o->config, "");
        return;
    }
    err = lk_file_read(r->o->config, (struct lk_buf){(uint8_t *)text, OPTION_FILE_MAX}, &file);
    if (err != LK_OK) {
        complain(r, lk_err_text(err), "config", r->o->config, "");
    } else {
        line = ini_parse_string(text, on_ini_line, r);
        if (line != 0 && r->err == LK_OK) {
            char where[32];

            (void)snprintf(where, sizeof(where), "%d", line);
            complain(r, "not an ini file: line ", "config", r->o->config, where);
        }
    }
    free(text);
}

static bool
is_loopback_http(const char *url)
{
    static const char *const hosts[] = {"http://127.0.0.1", "http://localhost", "http://[::1]"};

    for (size_t i = 0; i < sizeof(hosts) / sizeof(hosts[0]); i++) {
        size_t len = strlen(hosts[i]);

        if (strncmp(url, hosts[i], len) == 0 &&
            (url[len] == '\0' || url[len] == ':' || url[len] == '/'))
            return true;
    }
    return false;
}

static bool
may_be_fetched(const char *url)
{
    return (strncmp(url, "https://", 8) == 0 && url[8] != '\0') || is_loopback_http(url);
}

/* RFC 8615: where the issuer has it, if nobody says otherwise. */
static void
fill_jwks_uri(struct reading *r)
{
    struct options *o = r->o;
    size_t len = strlen(o->issuer);
    int n;

    while (len > 0 && o->issuer[len - 1] == '/')
        len--;
    n = snprintf(o->jwks_uri, sizeof(o->jwks_uri), "%.*s/.well-known/jwks.json", (int)len,
                 o->issuer);
    if (n < 0 || (size_t)n >= sizeof(o->jwks_uri))
        complain(r, "the URL is too long", "issuer", NULL, "");
}

/* Latchkey's own server needs no mapping: who asks for one means another issuer. */
static void
check_mapping(struct reading *r)
{
    struct options *o = r->o;

    o->issuer_is_foreign = o->typ[0] != '\0' || o->scope_claim[0] != '\0' ||
                           o->scope_prefix[0] != '\0' || o->subject_claim[0] != '\0' ||
                           o->tenant[0] != '\0';
    if (o->tenant[0] != '\0' && !lk_tenant_is_valid(lk_span_text(o->tenant)))
        complain(r, "expected 1 to 32 of a-z 0-9 -", "tenant", o->tenant, "");
}

static bool
feed_is_possible(const struct options *o)
{
    return !o->issuer_is_foreign && o->client_id[0] != '\0' && o->client_secret_file[0] != '\0' &&
           may_be_fetched(o->issuer);
}

/* Without a word about it: where keys are fetched and the verifier has an account. With keys from a
 * file there may be no network at all. */
static void
check_feed(struct reading *r)
{
    struct options *o = r->o;

    if (o->feed == FEED_AS_IT_MAY)
        o->feed = feed_is_possible(o) && o->keys_file[0] == '\0' ? FEED_ON : FEED_OFF;
    else if (o->feed == FEED_ON && o->issuer_is_foreign)
        complain(r, "only Latchkey's own server has one", "feed", "on", "");
    else if (o->feed == FEED_ON && !feed_is_possible(o))
        complain(r, "needs client_id, client_secret_file and an issuer to be reached", "feed", "on",
                 "");
    if (o->max_feed_age_s != 0 && o->feed != FEED_ON)
        complain(r, "there is no feed: it needs client_id and client_secret_file", "max_feed_age",
                 NULL, "");
}

static void
check_together(struct reading *r)
{
    struct options *o = r->o;
    struct scrape_place place;

    if (o->issuer[0] == '\0') {
        complain(r, "required, and not given", "issuer", NULL, "");
        return;
    }
    check_mapping(r);
    if (!scrape_parse(o->metrics, &place))
        complain(r, "expected off, 127.0.0.1:PORT, unix:/PATH or /PATH of a file", "metrics",
                 o->metrics, "");
    check_feed(r);
    if (o->keys_file[0] != '\0') {
        if (o->jwks_uri[0] != '\0')
            complain(r, "keys come from keys_file or from jwks_uri, not from both", "jwks_uri",
                     NULL, "");
        return;
    }
    if (o->jwks_uri[0] == '\0') {
        if (!may_be_fetched(o->issuer))
            complain(r, "expected https://, or http:// to a loopback address", "issuer", o->issuer,
                     "");
        fill_jwks_uri(r);
    } else if (!may_be_fetched(o->jwks_uri)) {
        complain(r, "expected https://, or http:// to a loopback address", "jwks_uri", o->jwks_uri,
                 "");
    }
}

static void
read_all(struct reading *r)
{
    set_defaults(r->o);
    for (unsigned i = 0; i < r->o->given_count && r->err == LK_OK; i++)
        set(r, r->o->given[i].name, r->o->given[i].value, false);
    if (r->err == LK_OK && r->o->config[0] != '\0')
        read_config(r);
    if (r->err == LK_OK)
        check_together(r);
    for (size_t i = 0; i < KNOWN_COUNT; i++)
        if (strcmp(known[i].name, "state_dir") == 0)
            r->o->state_dir_given = r->given[i];
}

/* Keep what mosquitto.conf says. `config` is kept apart: it names the file. */
static void
remember(struct reading *r, const struct mosquitto_opt *opts, int count)
{
    struct options *o = r->o;

    for (int i = 0; i < count && r->err == LK_OK; i++) {
        const char *value = opts[i].value != NULL ? opts[i].value : "";

        if (strlen(opts[i].key) >= OPTION_NAME_MAX || strlen(value) >= OPTION_TEXT_MAX) {
            complain(r, "the name or the value is too long", opts[i].key, NULL, "");
        } else if (strcmp(opts[i].key, "config") == 0) {
            if (value[0] == '\0' || o->config[0] != '\0')
                complain(r, "expected one file", "config", value, "");
            memcpy(o->config, value, strlen(value) + 1);
        } else if (o->given_count == OPTIONS_GIVEN_MAX) {
            complain(r, "one option too many", opts[i].key, NULL, "");
        } else {
            (void)snprintf(o->given[o->given_count].name, OPTION_NAME_MAX, "%s", opts[i].key);
            (void)snprintf(o->given[o->given_count].value, OPTION_TEXT_MAX, "%s", value);
            o->given_count++;
        }
    }
}

enum lk_err
options_read(struct options *o, const struct mosquitto_opt *opts, int count,
             char error[OPTION_ERROR_MAX])
{
    struct reading r = {.o = o, .error = error};

    memset(o, 0, sizeof(*o));
    error[0] = '\0';
    remember(&r, opts, count);
    if (r.err == LK_OK)
        read_all(&r);
    if (r.err != LK_OK)
        memset(o, 0, sizeof(*o));
    return r.err;
}

static size_t
value_size(const struct option *option)
{
    return option->kind == OPTION_TEXT ? OPTION_TEXT_MAX : sizeof(int64_t);
}

static bool
value_is_equal(const struct option *option, const char *a, const char *b)
{
    return option->kind == OPTION_TEXT ? strcmp(a, b) == 0 : memcmp(a, b, sizeof(int64_t)) == 0;
}

enum lk_err
options_reload(struct options *o, const char **restart, char error[OPTION_ERROR_MAX])
{
    struct options *fresh = calloc(1, sizeof(*fresh));
    struct reading r = {.o = fresh, .error = error};

    *restart = NULL;
    error[0] = '\0';
    if (fresh == NULL) {
        (void)snprintf(error, OPTION_ERROR_MAX, "%s", lk_err_text(LK_ERR_NOMEM));
        return LK_ERR_NOMEM;
    }
    memcpy(fresh->config, o->config, sizeof(fresh->config));
    memcpy(fresh->given, o->given, sizeof(fresh->given));
    fresh->given_count = o->given_count;
    read_all(&r);
    for (size_t i = 0; i < KNOWN_COUNT && r.err == LK_OK; i++) {
        const struct option *option = &known[i];
        char *now = (char *)o + option->at, *then = (char *)fresh + option->at;

        if (value_is_equal(option, now, then))
            continue;
        if (option->live)
            memcpy(now, then, value_size(option));
        else
            *restart = option->name;
    }
    free(fresh);
    return r.err;
}
