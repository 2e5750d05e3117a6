/*
 * token.c - latchkey token get and show.
 */
#include "api.h"
#include "claims_json.h"
#include "message.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include <latchkey/host/clock.h>

/* The server has the last word on how long a token lives. */
static void
note_lifetime(const struct token_wish *wish, const json_t *answer)
{
    int64_t given_s = (int64_t)json_integer_value(json_object_get(answer, "expires_in"));
    char given[40];

    if (wish->lifetime_s <= 0 || given_s >= wish->lifetime_s)
        return;
    out_duration(given_s, given, sizeof(given));
    cli_note("the server allows this client %s, not more", given);
}

int
token_get(struct cli *cli, int argc, char **argv)
{
    struct token_wish wish = {0};
    const struct opt options[] = {{"scope", OPT_TEXT, &wish.scope},
                                  {"audience", OPT_TEXT, &wish.audience},
                                  {"format", OPT_TEXT, &wish.format},
                                  {"lifetime", OPT_SECONDS, &wish.lifetime_s},
                                  {NULL, OPT_FLAG, NULL}};
    json_t *answer = NULL;
    struct texts rest;
    struct api api;
    int code;

    if (!options_parse(cli, argc, argv, options, 0, 0, &rest))
        return CLI_USAGE;
    if (wish.format != NULL && strcmp(wish.format, "jwt") != 0 && strcmp(wish.format, "cwt") != 0)
        return cli_usage(cli, "--format: expected jwt or cwt, not '%s'", wish.format);
    code = api_open(cli, &api);
    if (code != CLI_DONE)
        return code;
    code = api_token(&api, &wish, &answer);
    if (code == CLI_DONE && cli->json)
        out_json(answer);
    else if (code == CLI_DONE)
        (void)puts(json_string_value(json_object_get(answer, "access_token")));
    if (code == CLI_DONE)
        note_lifetime(&wish, answer);
    json_decref(answer);
    api_close(&api);
    return code;
}

static json_t *
header_of(const struct message *m)
{
    json_t *header;

    if (m->is_jws)
        return claims_from_json(m->header);
    header = json_pack("{s:s}", "alg", message_alg(m));
    if (m->kid.ptr != NULL)
        (void)json_object_set_new(header, "kid",
                                  lk_utf8_is_valid(m->kid)
                                      ? json_stringn((const char *)m->kid.ptr, m->kid.len)
                                      : hex_json(m->kid));
    return header;
}

static json_t *
claims_of(const struct message *m)
{
    return m->is_jws ? claims_from_json(m->payload) : claims_from_cbor(m->payload);
}

/* What the times mean now, in one sentence. */
static void
say_validity(const json_t *claims)
{
    const json_t *exp = json_object_get(claims, "exp"), *nbf = json_object_get(claims, "nbf");
    int64_t now_s = lk_clock_wall_s();
    char away[40];

    if (!json_is_number(exp)) {
        (void)puts("It names no expiry, so no verifier of Latchkey takes it.");
        return;
    }
    if (json_number_value(exp) <= (double)now_s) {
        out_duration(now_s - (int64_t)json_number_value(exp), away, sizeof(away));
        (void)printf("It expired %s ago.\n", away);
    } else if (json_is_number(nbf) && json_number_value(nbf) > (double)now_s) {
        out_duration((int64_t)json_number_value(nbf) - now_s, away, sizeof(away));
        (void)printf("It is valid only in %s.\n", away);
    } else if (json_number_value(exp) - (double)now_s < 1e11) {
        out_duration((int64_t)json_number_value(exp) - now_s, away, sizeof(away));
        (void)printf("It is good for %s more.\n", away);
    }
}

static void
show_lines(const struct message *m, const json_t *header, const json_t *claims)
{
    (void)printf("Not verified: anybody could have written this. See latchkey token verify.\n\n");
    (void)printf("%s, %zu bytes\n\nHeader\n", message_kind(m), m->whole.len);
    out_lines(header);
    (void)puts("\nClaims");
    out_lines(claims);
    (void)putchar('\n');
    say_validity(claims);
}

int
token_show(struct cli *cli, int argc, char **argv)
{
    static struct message m;
    static uint8_t room[INPUT_MAX];
    struct message_wish wish = {.alg_unprotected = true};
    const struct opt options[] = {{"hex", OPT_FLAG, &wish.hex}, {NULL, OPT_FLAG, NULL}};
    json_t *header, *claims, *all;
    struct lk_span in;
    struct texts rest;
    enum lk_err err;
    int code;

    if (!options_parse(cli, argc, argv, options, 0, 1, &rest))
        return CLI_USAGE;
    code = input_read(cli, rest.count > 0 ? rest.item[0] : NULL, LK_BUF_OF(room), &in);
    if (code != CLI_DONE)
        return code;
    err = message_parse(in, &wish, &m);
    /* An algorithm or extension we do not take is no reason not to look, as long as the rest of a
     * JWT could be taken apart. */
    if (err != LK_OK && !(m.is_jws && (err == LK_ERR_ALG || err == LK_ERR_CRIT)))
        code = cli_refused("not a token: %s", lk_err_text(err));
    if (code == CLI_DONE && m.is_sealed)
        code =
            cli_refused("it is encrypted (%s): only latchkey token verify, with its key, sees what "
                        "it says",
                        message_alg(&m));
    header = code == CLI_DONE ? header_of(&m) : NULL;
    claims = code == CLI_DONE ? claims_of(&m) : NULL;
    if (code == CLI_DONE && (header == NULL || claims == NULL))
        code = cli_refused("not a token: its payload is not a set of claims");
    if (code == CLI_DONE && cli->json) {
        all = json_pack("{s:b, s:s, s:O, s:O}", "verified", 0, "kind", message_kind(&m), "header",
                        header, "claims", claims);
        out_json(all);
        json_decref(all);
    } else if (code == CLI_DONE) {
        show_lines(&m, header, claims);
    }
    json_decref(header);
    json_decref(claims);
    lk_wipe(room, sizeof(room));
    lk_wipe(&m, sizeof(m));
    return code;
}

/* The token with its form around it. @return false: it is no text a token could be. */
static bool
revoke_form(struct lk_span token, char *form, size_t cap)
{
    static const char head[] = "token=";
    size_t i;

    if (token.len == 0 || token.len + sizeof(head) > cap)
        return false;
    for (i = 0; i < token.len; i++)
        if (token.ptr[i] != '.' && token.ptr[i] != '-' && token.ptr[i] != '_' &&
            !isalnum(token.ptr[i]))
            return false;
    (void)snprintf(form, cap, "%s%.*s", head, (int)token.len, (const char *)token.ptr);
    return true;
}

int
token_revoke(struct cli *cli, int argc, char **argv)
{
    static const struct opt options[] = {{NULL, OPT_FLAG, NULL}};
    static uint8_t room[INPUT_MAX];
    static char form[LK_TOKEN_MAX + 32];
    struct lk_span token;
    struct texts rest;
    struct api api;
    json_t *answer = NULL;
    int code;

    if (!options_parse(cli, argc, argv, options, 0, 1, &rest))
        return CLI_USAGE;
    code = input_read(cli, rest.count > 0 ? rest.item[0] : NULL, LK_BUF_OF(room), &token);
    if (code == CLI_DONE && !revoke_form(input_trim(token), form, sizeof(form)))
        code = cli_usage(cli, "expected a token: a JWT, or a CWT or refresh token as base64url");
    if (code == CLI_DONE)
        code = api_open(cli, &api);
    if (code == CLI_DONE) {
        code = api_form(&api, "/oauth/revoke", lk_span_text(form), &answer);
        api_close(&api);
    }
    json_decref(answer);
    lk_wipe(form, sizeof(form));
    lk_wipe(room, sizeof(room));
    return code;
}
