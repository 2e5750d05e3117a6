/*
 * The library's side of the differential tests: settings and tokens in, verdicts out.
 *
 * stdin is frames: a letter, a length of four bytes, big-endian, and so many bytes.
 *
 *     X  begin anew                      A  our audience
 *     I  an issuer: its url              N  now and leeway, 8 bytes each, in seconds
 *     O  the last issuer is our own      K  a key of the last issuer: a JWK or a COSE_Key
 *     Y  the last issuer's typ           T  a token
 *
 * stdout has a line for each token: "E NAME" for one that is refused, or "A" and what was read, as
 * name=value. Texts and bytes are "x" and hex, "-" where absent.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <latchkey/cose.h>
#include <latchkey/jwk.h>
#include <latchkey/token.h>

#define TEXT_ROOM  256
#define ISSUER_KEY 8

static struct lk_keyset keyset;
static struct lk_issuer issuers[LK_ISSUERS_MAX];
static uint8_t issuer_text[LK_ISSUERS_MAX][2][TEXT_ROOM], audience_text[TEXT_ROOM];
static struct lk_verifier verifier = {.keys = &keyset, .issuers = issuers};
static struct lk_key keys[ISSUER_KEY]; /* of the last issuer, not yet in the set */
static size_t key_count;
static int64_t now_s;

static void
die(const char *what, enum lk_err err)
{
    fprintf(stderr, "driver: %s: %s\n", what, lk_err_name(err));
    exit(2);
}

static struct lk_span
keep(uint8_t room[TEXT_ROOM], struct lk_span text)
{
    if (text.len > TEXT_ROOM)
        die("a setting is too long", LK_ERR_LIMIT);
    if (text.len > 0)
        memcpy(room, text.ptr, text.len);
    return lk_span_of(room, text.len);
}

static int64_t
number(const uint8_t *bytes)
{
    uint64_t value = 0;

    for (size_t i = 0; i < 8; i++)
        value = value << 8 | bytes[i];
    return (int64_t)value;
}

static void
keys_flush(void)
{
    enum lk_err err;

    if (key_count == 0)
        return;
    err = lk_keyset_put(&keyset, (uint32_t)(verifier.issuer_count - 1), keys, key_count);
    if (err != LK_OK)
        die("keys", err);
    key_count = 0;
}

static void
key_add(struct lk_span in)
{
    uint8_t *text = malloc(in.len + 1);
    size_t count = 1;
    enum lk_err err;

    if (text == NULL || key_count == ISSUER_KEY || in.len == 0)
        die("a key", LK_ERR_LIMIT);
    memcpy(text, in.ptr, in.len);
    if (text[0] == '{') {
        err = lk_jwks_read(text, in.len, &keys[key_count], 1, &count);
    } else {
        err = lk_cose_key_parse(lk_span_of(text, in.len), &keys[key_count]);
        if (err == LK_OK)
            err = lk_key_open(&keys[key_count]);
    }
    free(text);
    if (err != LK_OK || count != 1)
        die("a key", err);
    key_count++;
}

static void
reset(void)
{
    keys_flush();
    lk_keyset_wipe(&keyset);
    memset(issuers, 0, sizeof(issuers));
    verifier.issuer_count = 0;
}

static void
issuer_add(struct lk_span url)
{
    size_t i = verifier.issuer_count;

    if (i == LK_ISSUERS_MAX)
        die("issuers", LK_ERR_LIMIT);
    keys_flush();
    issuers[i].url = keep(issuer_text[i][0], url);
    verifier.issuer_count++;
}

/* What was read. */

static void
put_hex(struct lk_span span)
{
    if (span.ptr == NULL) {
        putchar('-');
        return;
    }
    putchar('x');
    for (size_t i = 0; i < span.len; i++)
        printf("%02x", span.ptr[i]);
}

static void
put_span(const char *name, struct lk_span span)
{
    printf(" %s=", name);
    put_hex(span);
}

static void
put_list(const char *name, const struct lk_span *list, size_t count)
{
    printf(" %s=", name);
    for (size_t i = 0; i < count; i++) {
        if (i > 0)
            putchar(',');
        put_hex(list[i]);
    }
}

static void
put_number(const char *name, bool is_there, uint64_t value)
{
    if (is_there)
        printf(" %s=%llu", name, (unsigned long long)value);
    else
        printf(" %s=-", name);
}

static void
put_look_up(const struct lk_claims *c)
{
    static uint8_t room[LK_TOKEN_MAX];
    struct lk_span value;

    (void)lk_claims_get_text(c, LK_SPAN("note"), LK_BUF_OF(room), &value);
    put_span("note_text", value);
    (void)lk_claims_get_raw(c, LK_SPAN("note"), &value);
    put_span("note_raw", value);
}

static void
put_claims(const struct lk_claims *c)
{
    static const char *const kinds[] = {"none",       "key",       "kid",  "x5t",
                                        "thumbprint", "encrypted", "other"};

    put_span("iss", c->issuer);
    put_span("sub", c->subject);
    put_span("client", c->client);
    put_span("scope", c->scope);
    put_span("scope_data", c->scope_data);
    put_span("id", c->token_id);
    put_span("tnt", c->tenant);
    put_span("dty", c->type);
    put_list("aud", c->audience, c->audience_count);
    put_list("children", c->children, c->children_count);
    put_number("exp", c->has_expires, (uint64_t)c->expires_s);
    put_number("nbf", c->has_not_before, (uint64_t)c->not_before_s);
    put_number("iat", c->has_issued, (uint64_t)c->issued_s);
    put_number("gen", c->has_generation, c->generation);
    printf(" cnf=%s", kinds[c->cnf]);
    put_span("cnf_value", c->cnf_value);
    put_span("raw", c->raw);
    put_look_up(c);
    printf(" format=%s", c->format == LK_FORMAT_CWT ? "cwt" : "jwt");
}

static void
put_token(const struct lk_token *token)
{
    printf("A alg=%s", lk_alg_name(token->alg));
    put_span("kid", token->kid);
    put_span("typ", token->typ);
    put_number("own", true, token->own_form);
    put_claims(&token->claims);
    putchar('\n');
}

static void
token_judge(struct lk_span in)
{
    static const struct lk_token nothing;
    static uint8_t scratch[LK_TOKEN_SCRATCH_MAX];
    struct lk_token token;
    uint8_t *exact = malloc(in.len > 0 ? in.len : 1); /* so that a sanitizer sees a byte too far */
    enum lk_err err;

    if (exact == NULL)
        die("a token", LK_ERR_NOMEM);
    keys_flush();
    memcpy(exact, in.ptr, in.len);
    memset(&token, 0x5a, sizeof(token));
    err = lk_token_verify(&verifier, lk_span_of(exact, in.len), now_s, LK_BUF_OF(scratch), &token);
    if (err == LK_OK)
        put_token(&token);
    else if (memcmp(&token, &nothing, sizeof(token)) != 0)
        printf("E NOT_ZEROED\n");
    else
        printf("E %s\n", lk_err_name(err));
    if (memcmp(exact, in.ptr, in.len) != 0)
        die("the token was changed", err);
    free(exact);
}

static void
frame_use(int letter, struct lk_span in)
{
    struct lk_issuer *last = &issuers[verifier.issuer_count > 0 ? verifier.issuer_count - 1 : 0];

    switch (letter) {
    case 'X':
        reset();
        break;
    case 'I':
        issuer_add(in);
        break;
    case 'O':
        last->own = true;
        break;
    case 'Y':
        last->typ = keep(issuer_text[last - issuers][1], in);
        break;
    case 'K':
        key_add(in);
        break;
    case 'A':
        verifier.audience = keep(audience_text, in);
        break;
    case 'N':
        if (in.len != 16)
            die("now and leeway", LK_ERR_TRUNCATED);
        now_s = number(in.ptr);
        verifier.leeway_s = number(in.ptr + 8);
        break;
    case 'T':
        token_judge(in);
        break;
    default:
        die("an unknown frame", LK_ERR_ARG);
    }
}

int
main(void)
{
    static uint8_t room[1 << 17];
    uint8_t head[5];

    while (fread(head, 1, sizeof(head), stdin) == sizeof(head)) {
        size_t len = (size_t)head[1] << 24 | (size_t)head[2] << 16 | (size_t)head[3] << 8 | head[4];

        if (len > sizeof(room) || fread(room, 1, len, stdin) != len)
            die("a frame", LK_ERR_TRUNCATED);
        frame_use(head[0], lk_span_of(room, len));
    }
    reset();
    return 0;
}
