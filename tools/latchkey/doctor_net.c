/*
 * doctor_net.c - the issuers: can they be reached, are they trusted, do the clocks agree?
 */
#include "doctor.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <latchkey/host/clock.h>
#include <latchkey/host/fetch.h>
#include <latchkey/host/file.h>
#include <latchkey/jwk.h>

#define LEEWAY_S 30 /* the plugin's, where nothing is said */

static void
check_keys(struct doctor *d, struct place at, const char *from, uint8_t *text, size_t len)
{
    static struct lk_key keys[LK_KEYS_MAX];
    size_t count = 0;
    enum lk_err err = lk_jwks_read(text, len, keys, LK_KEYS_MAX, &count);

    for (size_t i = 0; i < count; i++)
        lk_key_wipe(&keys[i]);
    if (err != LK_OK || count == 0)
        doctor_find(d,
                    &(struct finding){"issuer-keys", at, "without keys no token is good",
                                      "name the issuer's JWKS: jwks_uri or keys_file"},
                    "%s: %s", from, err != LK_OK ? lk_err_text(err) : "no key in it");
}

static int64_t
leeway_of(const struct doctor *d)
{
    const struct setting *s = doctor_option(d, SIZE_MAX, "leeway");
    char *unit;
    long value = s != NULL ? strtol(s->value, &unit, 10) : LEEWAY_S;

    return s != NULL && *unit == 'm' ? value * 60 : value;
}

static void
check_clock(struct doctor *d, struct place at, const char *url, int64_t server_s)
{
    int64_t now_s = lk_clock_wall_s();
    int64_t off_s = server_s > now_s ? server_s - now_s : now_s - server_s;
    char text[40];

    if (server_s == 0 || off_s <= leeway_of(d))
        return;
    out_duration(off_s, text, sizeof(text));
    doctor_find(d,
                &(struct finding){"clock", at, "tokens are refused as not yet valid or as expired",
                                  "set the clock here or there (NTP)"},
                "this machine's clock is %s %s %s", text, server_s > now_s ? "behind" : "ahead of",
                url);
}

static const struct {
    enum lk_err err;
    const char *check, *why, *remedy;
    bool unreachable;
} failures[] = {
    {LK_ERR_PERMISSION, "issuer-trust",
     "the plugin talks to nobody whose certificate it cannot verify",
     "name the CA that signed it: ca_file", false},
    {LK_ERR_UNAVAILABLE, "issuer-unreachable",
     "new keys and revocations do not arrive; without kept keys nobody gets in",
     "start it, open the way, or use keys_file", true},
    {LK_ERR_TIMEOUT, "issuer-unreachable",
     "new keys and revocations do not arrive; without kept keys nobody gets in",
     "start it, open the way, or use keys_file", true},
    {LK_ERR_ARG, "issuer-url", "the plugin does not start with it",
     "https://, or http:// to a loopback address", false},
    {LK_ERR_LIMIT, "issuer-keys", "without keys no token is good", "is that the issuer's JWKS?",
     false},
};

static void
find_failure(struct doctor *d, struct place at, const char *url, enum lk_err err, const char *text)
{
    for (size_t i = 0; i < sizeof(failures) / sizeof(failures[0]); i++) {
        if (failures[i].err != err)
            continue;
        d->unreachable = d->unreachable || failures[i].unreachable;
        doctor_find(d,
                    &(struct finding){failures[i].check, at, failures[i].why, failures[i].remedy},
                    "%s: %s", url, text[0] != '\0' ? text : lk_err_text(err));
    }
}

static void
check_url(struct doctor *d, struct place at, const char *url, const char *ca_file)
{
    struct lk_fetch *fetch = lk_fetch_new(ca_file);
    struct lk_fetch_request request = {.method = "GET", .url = url, .timeout_ms = 10000};
    struct lk_fetch_answer answer = {0};
    uint8_t *room = malloc(KEYS_FILE_MAX);
    enum lk_err err = LK_ERR_NOMEM;

    if (fetch != NULL && room != NULL)
        err = lk_fetch_run(fetch, &request, (struct lk_buf){room, KEYS_FILE_MAX}, &answer);
    if (err != LK_OK) {
        find_failure(d, at, url, err, answer.error);
    } else if (answer.status != 200) {
        doctor_find(d,
                    &(struct finding){"issuer-keys", at, "without keys no token is good",
                                      "name the issuer's JWKS: jwks_uri"},
                    "%s: HTTP %u", url, answer.status);
    } else {
        check_keys(d, at, url, room, answer.body.len);
        check_clock(d, at, url, answer.server_date_s);
    }
    free(room);
    lk_fetch_free(fetch);
}

static void
check_file(struct doctor *d, const struct setting *s)
{
    uint8_t *room = malloc(KEYS_FILE_MAX);
    struct lk_span file;

    /* A file that cannot be read is told by doctor_check_files(). */
    if (room != NULL &&
        lk_file_read(s->value, (struct lk_buf){room, KEYS_FILE_MAX}, &file) == LK_OK)
        check_keys(d, s->at, s->value, room, file.len);
    free(room);
}

/* What an issuer's section says, or what stands for all. */
static const struct setting *
issuer_option(const struct doctor *d, size_t section, const char *name)
{
    const struct setting *s = doctor_option(d, section, name);

    return s != NULL ? s : doctor_option(d, SIZE_MAX, name);
}

static void
jwks_url(const char *issuer, char *url, size_t cap)
{
    size_t len = strlen(issuer);

    while (len > 0 && issuer[len - 1] == '/')
        len--;
    (void)snprintf(url, cap, "%.*s/.well-known/jwks.json", (int)len, issuer);
}

static void
check_issuer(struct doctor *d, const struct setting *issuer, size_t section)
{
    const struct setting *keys = issuer_option(d, section, "keys_file");
    const struct setting *uri = issuer_option(d, section, "jwks_uri");
    const struct setting *ca = issuer_option(d, section, "ca_file");
    char url[URL_MAX];

    if (keys != NULL) {
        check_file(d, keys);
        return;
    }
    if (uri == NULL)
        jwks_url(issuer->value, url, sizeof(url));
    if (!d->offline)
        check_url(d, uri != NULL ? uri->at : issuer->at, uri != NULL ? uri->value : url,
                  ca != NULL ? ca->value : NULL);
}

/* The server the command line talks to, where it is not one of the issuers. */
static void
check_server(struct doctor *d)
{
    const char *server = getenv("LATCHKEY_URL"), *ca = getenv("LATCHKEY_CA");
    char url[URL_MAX];

    if (d->offline || server == NULL || server[0] == '\0')
        return;
    for (size_t i = 0; i < d->options.count; i++)
        if (strcmp(d->options.item[i].name, "issuer") == 0 &&
            setting_is(&d->options.item[i], server))
            return;
    if (setting_is(doctor_option(d, SIZE_MAX, "issuer"), server))
        return;
    jwks_url(server, url, sizeof(url));
    check_url(d, (struct place){"LATCHKEY_URL", 0}, url, ca != NULL && ca[0] != '\0' ? ca : NULL);
}

void
doctor_check_issuers(struct doctor *d)
{
    const struct setting *issuer = doctor_option(d, SIZE_MAX, "issuer");
    bool found = issuer != NULL;

    if (d->plugin != SIZE_MAX) {
        if (issuer != NULL)
            check_issuer(d, issuer, SIZE_MAX);
        for (size_t i = 0; i < d->options.count; i++) {
            if (d->options.item[i].name[0] != '[' || d->options.item[i].owner != i)
                continue;
            issuer = doctor_option(d, i, "issuer");
            found = found || issuer != NULL;
            if (issuer != NULL)
                check_issuer(d, issuer, i);
        }
        if (!found)
            doctor_find(d,
                        &(struct finding){"issuer-missing", d->broker.item[d->plugin].at,
                                          "the plugin does not start without one",
                                          "issuer = https://..., as in the tokens' iss"},
                        "no option names an issuer");
    }
    check_server(d);
}
