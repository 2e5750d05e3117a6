/* Whose token is this, and may they publish there?    verify JWKS-FILE TOPIC <TOKEN */
#include <stdio.h>
#include <time.h>

#include <latchkey/grant.h>
#include <latchkey/jwk.h>
#include <latchkey/token.h>

static struct lk_keyset keyset; /* large: not for the stack */
static struct lk_policy policy;

static size_t
read_all(FILE *file, uint8_t *room, size_t cap)
{
    size_t len = file != NULL ? fread(room, 1, cap, file) : 0;

    if (file != NULL && file != stdin)
        fclose(file);
    return len;
}

static enum lk_err
load_keys(const char *path)
{
    uint8_t text[16384]; /* changed while it is read */
    struct lk_key keys[4];
    size_t count, len = read_all(fopen(path, "rb"), text, sizeof(text));
    enum lk_err err = lk_jwks_read(text, len, keys, 4, &count);

    return err != LK_OK ? err : lk_keyset_put(&keyset, 0, keys, count); /* 0: the first issuer */
}

/* Form, key, signature, times, issuer, audience. The claims point into the text and the scratch. */
static enum lk_err
verify(struct lk_span text, struct lk_buf scratch, struct lk_token *token)
{
    struct lk_issuer issuer = {
        .url = LK_SPAN("https://as.example.com"), .own = true, .typ = LK_SPAN("at+jwt")};
    struct lk_verifier verifier = {.keys = &keyset,
                                   .issuers = &issuer,
                                   .issuer_count = 1,
                                   .audience = LK_SPAN("mqtt"),
                                   .leeway_s = 30};

    return lk_token_verify(&verifier, text, (int64_t)time(NULL), scratch, token);
}

/* The scope map says what the token's scopes permit; a grant is that, made for one client. */
static enum lk_err
may_publish(const struct lk_claims *claims, const char *topic, bool *allowed)
{
    static uint8_t names[1024], shape[LK_GRANT_MAX], values[LK_VALUES_MAX];
    struct lk_request request = {.action = LK_ACTION_PUBLISH, .topic = lk_span_text(topic)};
    struct lk_identity identity;
    struct lk_grant grant = {0};
    enum lk_err err = lk_policy_parse(lk_span_text(lk_policy_default), &policy, NULL);

    if (err == LK_OK)
        err =
            lk_identity_from_claims(&policy, claims, claims->subject, LK_BUF_OF(names), &identity);
    if (err == LK_OK)
        err = lk_grant_compile(&policy, &identity, LK_BUF_OF(shape), &grant.shape,
                               LK_BUF_OF(values), &grant.values);
    *allowed = lk_grant_check(&grant, &request).access == LK_ACCESS_ALLOW;
    return err;
}

int
main(int argc, char **argv)
{
    uint8_t text[LK_TOKEN_MAX], scratch[LK_TOKEN_SCRATCH_MAX];
    struct lk_token token;
    bool allowed = false;
    enum lk_err err;

    if (argc != 3)
        return 2;
    err = load_keys(argv[1]);
    if (err == LK_OK)
        err = verify(lk_span_of(text, read_all(stdin, text, sizeof(text))), LK_BUF_OF(scratch),
                     &token);
    if (err == LK_OK)
        err = may_publish(&token.claims, argv[2], &allowed);
    if (err == LK_OK)
        printf("%.*s %s\n", (int)token.claims.subject.len, (const char *)token.claims.subject.ptr,
               allowed ? "may publish" : "may not publish");
    else
        fprintf(stderr, "refused: %s\n", lk_err_text(err));
    lk_keyset_wipe(&keyset);
    return allowed ? 0 : 1;
}
