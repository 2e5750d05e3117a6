/*
 * verify.c - latchkey token verify: offline, for people, scripts and other people's test suites.
 *
 * Order of the checks: form, key, signature; only then what the payload says.
 */
#include "cli.h"
#include "claims_json.h"
#include "keys.h"
#include "message.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <latchkey/cbor.h>
#include <latchkey/claims.h>
#include <latchkey/host/clock.h>
#include <latchkey/token.h>

#define AT_MAX_S     INT64_C(253402300799) /* the end of the year 9999 */
#define LEEWAY_MAX_S 31622400              /* a year; more is a typing mistake */

struct wish {
    const char *jwks, *issuer, *audience, *external_aad;
    int64_t at_s, leeway_s;
    bool signature_only, own;
    struct message_wish form;
};

static int
refuse_time(enum lk_err err, const char *claim, int64_t value_s, const struct wish *wish)
{
    return cli_refused("%s: %s is %" PRId64 ", judged at %" PRId64 " with a leeway of %" PRId64
                       " s",
                       lk_err_text(err), claim, value_s, wish->at_s, wish->leeway_s);
}

static bool
has_audience(const struct lk_claims *claims, struct lk_span audience)
{
    size_t i;

    for (i = 0; i < claims->audience_count; i++) {
        if (lk_span_equal(claims->audience[i], audience))
            return true;
    }
    return false;
}

/* AIF-MQTT (RFC 9431 section 3): a list of pairs of a topic filter and permissions. */
static bool
is_aif(struct lk_span scope)
{
    struct lk_cbor r;
    size_t pairs, i;

    lk_cbor_open(&r, scope);
    pairs = lk_cbor_enter_array(&r);
    for (i = 0; i < pairs && r.err == LK_OK; i++) {
        if (lk_cbor_enter_array(&r) != 2)
            return false;
        (void)lk_cbor_text(&r);
        lk_cbor_skip(&r);
        lk_cbor_leave_array(&r);
    }
    lk_cbor_leave_array(&r);
    return lk_cbor_close(&r) == LK_OK;
}

/* A CWT's scope is text, or bytes that hold AIF. */
static bool
scope_is_fine(const struct message *m)
{
    struct lk_cbor r;
    bool fine = true;

    if (m->is_jws)
        return true;
    lk_cbor_open(&r, m->payload);
    (void)lk_cbor_enter_map(&r);
    if (lk_cbor_map_find(&r, 9) && lk_cbor_peek(&r) == LK_CBOR_BYTES)
        fine = is_aif(lk_cbor_bytes(&r));
    return fine;
}

/* RFC 8747 section 3.2: a secret key stands in a token encrypted or not at all. COSE labels: kty is
 * 1, and 4 is symmetric; d is -4 for kty 1 and 2, -3 for kty 3 (RFC 9053 section 7, RFC 8230). */
static bool
cnf_has_secret(const json_t *claims)
{
    const json_t *cnf = json_object_get(claims, "cnf");
    const json_t *jwk = json_object_get(cnf, "jwk"), *cose = json_object_get(cnf, "COSE_Key");
    json_int_t kty = json_integer_value(json_object_get(cose, "1"));
    const char *name = json_string_value(json_object_get(jwk, "kty"));

    if (json_object_get(jwk, "d") != NULL || (name != NULL && strcmp(name, "oct") == 0))
        return true;
    return cose != NULL && (kty == 4 || json_object_get(cose, kty == 3 ? "-3" : "-4") != NULL);
}

static int
claims_check(const struct lk_claims *claims, const struct wish *wish)
{
    if (!claims->has_expires)
        return cli_refused("%s: exp", lk_err_text(LK_ERR_CLAIM));
    if (claims->expires_s + wish->leeway_s <= wish->at_s)
        return refuse_time(LK_ERR_EXPIRED, "exp", claims->expires_s, wish);
    if (claims->has_not_before && claims->not_before_s > wish->at_s + wish->leeway_s)
        return refuse_time(LK_ERR_NOT_YET, "nbf", claims->not_before_s, wish);
    if (claims->cnf == LK_CNF_OTHER)
        return cli_refused("cnf: not a key confirmation we take: a public key, a kid or x5t#S256");
    if (wish->issuer != NULL && !lk_span_is(claims->issuer, wish->issuer))
        return cli_refused("%s: iss", lk_err_text(LK_ERR_ISSUER));
    if (wish->audience != NULL && !has_audience(claims, lk_span_text(wish->audience)))
        return cli_refused("%s: aud", lk_err_text(LK_ERR_AUDIENCE));
    return CLI_DONE;
}

static int
claims_read(const struct message *m, struct lk_buf scratch, struct lk_claims *claims)
{
    enum lk_err err;

    if (m->is_jws)
        err = lk_claims_read_jwt(m->payload, scratch, claims);
    else
        err = lk_claims_read_cwt(m->payload, claims);
    if (err != LK_OK)
        return cli_refused("the claims: %s", lk_err_text(err));
    return CLI_DONE;
}

/* The rules of contracts section 5 for tokens of our own server. */
static int
own_check(const struct message *m, const struct wish *wish, const struct lk_claims *claims)
{
    static uint8_t scratch[LK_TOKEN_SCRATCH_MAX];
    struct lk_issuer issuer = {.url = claims->issuer, .own = true, .typ = LK_SPAN("at+jwt")};
    struct lk_verifier verifier = {.issuers = &issuer,
                                   .issuer_count = 1,
                                   .audience = lk_span_text(wish->audience),
                                   .leeway_s = wish->leeway_s};
    struct lk_token token;
    enum lk_err err;

    if (wish->audience == NULL && claims->audience_count > 0)
        verifier.audience = claims->audience[0];
    err = lk_token_parse(m->whole, LK_BUF_OF(scratch), &token);
    if (err == LK_OK)
        err = lk_token_check_claims(&verifier, &issuer, &token, wish->at_s);
    if (err == LK_ERR_CLAIM)
        return cli_refused("%s: iss, sub, aud, exp, iat and jti must be there", lk_err_text(err));
    if (err != LK_OK)
        return cli_refused("%s", lk_err_text(err));
    return CLI_DONE;
}

/* A payload that is no set of claims, for --signature-only. */
static json_t *
payload_json(const struct message *m)
{
    json_t *answer = json_pack("{s:s}", "alg", message_alg(m));

    if (m->kid.ptr != NULL && lk_utf8_is_valid(m->kid))
        (void)json_object_set_new(answer, "kid",
                                  json_stringn((const char *)m->kid.ptr, m->kid.len));
    (void)json_object_set_new(answer, "payload_hex", hex_json(m->payload));
    if (lk_utf8_is_valid(m->payload))
        (void)json_object_set_new(
            answer, "payload_text",
            json_stringn(m->payload.len > 0 ? (const char *)m->payload.ptr : "", m->payload.len));
    return answer;
}

static int
payload_print(const struct message *m, bool any)
{
    json_t *claims = m->is_jws ? claims_from_json(m->payload) : claims_from_cbor(m->payload);
    int code = CLI_DONE;

    if (claims == NULL && any)
        claims = payload_json(m);
    if (claims == NULL)
        return cli_refused("the claims: %s", lk_err_text(LK_ERR_MALFORMED));
    if (!any && !m->is_sealed && cnf_has_secret(claims))
        code = cli_refused("cnf: a symmetric or private key that is not encrypted");
    else
        out_json(claims);
    json_decref(claims);
    return code;
}

static int
judge(const struct message *m, const struct wish *wish)
{
    static uint8_t scratch[LK_TOKEN_MAX];
    struct lk_claims claims;
    int code;

    if (wish->signature_only)
        return payload_print(m, true);
    code = claims_read(m, LK_BUF_OF(scratch), &claims);
    if (code == CLI_DONE)
        code = claims_check(&claims, wish);
    if (code == CLI_DONE && !scope_is_fine(m))
        code = cli_refused("scope: bytes that are not AIF (RFC 9431 section 3)");
    if (code == CLI_DONE && wish->own)
        code = own_check(m, wish, &claims);
    return code == CLI_DONE ? payload_print(m, false) : code;
}

/* Open what is encrypted; verify what is signed, by itself or within. The external_aad belongs to
 * the outer layer. */
static enum lk_err
layers_check(struct message *m, const struct keys *keys, struct lk_span aad)
{
    enum lk_err err = m->is_sealed ? keys_open(keys, m, aad) : LK_OK;

    if (err != LK_OK || (m->is_sealed && !m->is_nested))
        return err;
    return keys_verify(keys, m, m->is_nested ? LK_SPAN("") : aad);
}

static int
verify_message(struct lk_span in, const struct keys *keys, const struct wish *wish)
{
    static struct message m;
    uint8_t aad_room[INPUT_MAX / 2];
    struct lk_span aad = {NULL, 0};
    enum lk_err err;
    int code;

    /* Checked before; read again here, where its room lives long enough. */
    if (wish->external_aad != NULL &&
        hex_decode(lk_span_text(wish->external_aad), LK_BUF_OF(aad_room), &aad) != LK_OK)
        return cli_refused("--external-aad: %s", lk_err_text(LK_ERR_SYNTAX));
    err = message_parse(in, &wish->form, &m);
    if (err == LK_ERR_ALG)
        code =
            cli_refused("its algorithm is none we take: ES256, EdDSA, HS256, RS256, or to decrypt "
                        "AES-GCM and AES-CCM");
    else if (err != LK_OK)
        code = cli_refused("%s", lk_err_text(err));
    else if (m.is_jws && wish->external_aad != NULL)
        code = cli_refused("a JWT has no external_aad");
    else if ((err = layers_check(&m, keys, aad)) != LK_OK)
        code = cli_refused("%s", lk_err_text(err));
    else
        code = judge(&m, wish);
    if (code == CLI_DONE && m.alg_unprotected)
        cli_note("the algorithm is not protected; a token of this form is refused");
    lk_wipe(&m, sizeof(m));
    return code;
}

static int
wish_check(const struct cli *cli, struct wish *wish)
{
    uint8_t room[INPUT_MAX / 2];
    struct lk_span aad;

    if (wish->jwks == NULL)
        return cli_usage(cli, "--jwks FILE is missing");
    if (wish->own && wish->signature_only)
        return cli_usage(cli, "--own and --signature-only exclude each other");
    if (wish->at_s > AT_MAX_S)
        return cli_usage(cli, "--at: expected seconds since 1970");
    if (wish->leeway_s > LEEWAY_MAX_S)
        return cli_usage(cli, "--leeway: at most %d seconds", LEEWAY_MAX_S);
    if (wish->external_aad != NULL &&
        hex_decode(lk_span_text(wish->external_aad), LK_BUF_OF(room), &aad) != LK_OK)
        return cli_usage(cli, "--external-aad: expected hex");
    if (wish->at_s < 0)
        wish->at_s = lk_clock_wall_s();
    wish->form.alg_unprotected = wish->signature_only;
    return CLI_DONE;
}

int
token_verify(struct cli *cli, int argc, char **argv)
{
    static uint8_t room[INPUT_MAX];
    static struct keys keys;
    struct wish wish = {.at_s = -1};
    const struct opt options[] = {{"jwks", OPT_TEXT, &wish.jwks},
                                  {"issuer", OPT_TEXT, &wish.issuer},
                                  {"audience", OPT_TEXT, &wish.audience},
                                  {"at", OPT_NUMBER, &wish.at_s},
                                  {"leeway", OPT_SECONDS, &wish.leeway_s},
                                  {"signature-only", OPT_FLAG, &wish.signature_only},
                                  {"external-aad", OPT_TEXT, &wish.external_aad},
                                  {"own", OPT_FLAG, &wish.own},
                                  {"hex", OPT_FLAG, &wish.form.hex},
                                  {NULL, OPT_FLAG, NULL}};
    struct lk_span in;
    struct texts rest;
    int code;

    if (!options_parse(cli, argc, argv, options, 0, 1, &rest))
        return CLI_USAGE;
    code = wish_check(cli, &wish);
    if (code == CLI_DONE)
        code = keys_read(cli, wish.jwks, &keys);
    if (code == CLI_DONE)
        code = input_read(cli, rest.count > 0 ? rest.item[0] : NULL, LK_BUF_OF(room), &in);
    if (code == CLI_DONE)
        code = verify_message(in, &keys, &wish);
    keys_wipe(&keys);
    lk_wipe(room, sizeof(room));
    return code;
}
