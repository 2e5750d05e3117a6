#include "who.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <latchkey/base64url.h>
#include <latchkey/crypto.h>
#include <latchkey/host/clock.h>
#include <latchkey/host/file.h>
#include <latchkey/jwk.h>

#include "limits.h"
#include "run.h"

#define TOKEN_LIFE_S 86400

int
who_open(struct who *who)
{
    uint8_t room[KEY_FILE_MAX];
    struct lk_span file;
    size_t count = 0;
    enum lk_err err;

    if (who->key_file == NULL)
        return 0;
    err = lk_file_read(who->key_file, LK_BUF_OF(room), &file);
    if (err == LK_OK)
        err = lk_jwks_read(room, file.len, &who->key, 1, &count);
    lk_wipe(room, sizeof(room));
    if (err == LK_OK && count == 1 && who->key.has_private)
        return 0;
    (void)fprintf(stderr, "latchkey-load: %s: expected one JWK with its private part%s%s\n",
                  who->key_file, err != LK_OK ? ": " : "", err != LK_OK ? lk_err_text(err) : "");
    return EXIT_USAGE;
}

void
who_close(struct who *who)
{
    lk_key_wipe(&who->key);
}

void
person_name(struct person *person, enum who_kind kind, unsigned number)
{
    person->kind = kind;
    (void)snprintf(person->id, sizeof(person->id), "%s-%06u",
                   kind == WHO_SENSOR ? "sensor" : "monitor", number);
}

void
person_free(struct person *person)
{
    if (person->token != NULL)
        lk_wipe(person->token, person->token_len);
    free(person->token);
    person->token = NULL;
}

static struct lk_claims
person_claims(const struct who *who, const struct person *person, struct lk_span token_id)
{
    const int64_t now_s = lk_clock_wall_s();
    bool sensor = person->kind == WHO_SENSOR;

    return (struct lk_claims){
        .format = who->format,
        .issuer = lk_span_text(who->issuer),
        .subject = lk_span_text(person->id),
        .client = lk_span_text(person->id),
        .audience = {lk_span_text(who->audience)},
        .audience_count = 1,
        .scope = lk_span_text(sensor ? "telemetry:send config:read" : "telemetry:read"),
        .type = sensor ? lk_span_text("sensor") : (struct lk_span){NULL, 0},
        .token_id = token_id,
        .has_expires = true,
        .expires_s = now_s + TOKEN_LIFE_S,
        .has_issued = true,
        .issued_s = now_s,
    };
}

static enum lk_err
token_make(const struct who *who, const struct person *person, struct lk_buf room,
           struct lk_span *token)
{
    uint8_t raw[LK_TOKEN_MAX], id[16];
    struct lk_claims claims = person_claims(who, person, lk_span_of(id, sizeof(id)));
    enum lk_err err = lk_crypto_random(LK_BUF_OF(id));

    if (err == LK_OK && who->format == LK_FORMAT_JWT)
        return lk_token_issue(&claims, who->format, &who->key, room, token);
    if (err == LK_OK)
        err = lk_token_issue(&claims, who->format, &who->key, LK_BUF_OF(raw), token);
    return err == LK_OK ? lk_base64url_encode(*token, room, token) : err;
}

int
person_renew(const struct who *who, struct person *person)
{
    uint8_t room[LK_BASE64URL_LEN(LK_TOKEN_MAX) + 1];
    struct lk_span token;
    enum lk_err err;

    if (who->key_file == NULL)
        return 0;
    person_free(person);
    err = token_make(who, person, LK_BUF_OF(room), &token);
    if (err == LK_OK)
        person->token = malloc(token.len);
    if (err != LK_OK || person->token == NULL) {
        (void)fprintf(stderr, "latchkey-load: cannot make a token: %s\n",
                      lk_err_text(err != LK_OK ? err : LK_ERR_NOMEM));
        return EXIT_REFUSED;
    }
    memcpy(person->token, token.ptr, token.len);
    person->token_len = token.len;
    return 0;
}

struct lk_mqtt_connect
person_connect(const struct who *who, const struct person *person)
{
    struct lk_mqtt_connect connect = {.version = who->version, .clean_start = true};

    connect.client_id = lk_span_text(person->id);
    if (person->token != NULL)
        connect.password = lk_span_of(person->token, person->token_len);
    else if (who->password != NULL)
        connect.password = lk_span_text(who->password);
    if (connect.password.ptr != NULL)
        connect.username = lk_span_text(person->id);
    return connect;
}
