#include <latchkey/key.h>

/* The first row of an algorithm has the id we write. RFC 9864 gave ES256 and EdDSA second ids that
 * name the curve as well; both are read. */
static const struct {
    enum lk_alg alg;
    int64_t cose;
    const char *jose; /* NULL: not an algorithm of JOSE */
    const char *name;
    size_t signature_len;
} algs[] = {
    {LK_ALG_ES256, -7, "ES256", "ES256", 64},  {LK_ALG_ES256, -9, NULL, "ES256", 64},
    {LK_ALG_EDDSA, -8, "EdDSA", "EdDSA", 64},  {LK_ALG_EDDSA, -19, "Ed25519", "EdDSA", 64},
    {LK_ALG_HS256, 5, "HS256", "HS256", 32},   {LK_ALG_HS256_64, 4, NULL, "HS256/64", 8},
    {LK_ALG_RS256, -257, "RS256", "RS256", 0},
};

#define ALG_COUNT (sizeof(algs) / sizeof(algs[0]))

enum lk_alg
lk_alg_from_cose(int64_t id)
{
    for (size_t i = 0; i < ALG_COUNT; i++)
        if (algs[i].cose == id)
            return algs[i].alg;
    return LK_ALG_NONE;
}

enum lk_alg
lk_alg_from_jose(struct lk_span name)
{
    for (size_t i = 0; i < ALG_COUNT; i++)
        if (algs[i].jose != NULL && lk_span_is(name, algs[i].jose))
            return algs[i].alg;
    return LK_ALG_NONE;
}

int64_t
lk_alg_to_cose(enum lk_alg alg)
{
    for (size_t i = 0; i < ALG_COUNT; i++)
        if (algs[i].alg == alg)
            return algs[i].cose;
    return 0;
}

const char *
lk_alg_name(enum lk_alg alg)
{
    for (size_t i = 0; i < ALG_COUNT; i++)
        if (algs[i].alg == alg)
            return algs[i].name;
    return alg == LK_ALG_AEAD ? "AEAD" : "none";
}

size_t
lk_alg_signature_len(enum lk_alg alg)
{
    for (size_t i = 0; i < ALG_COUNT; i++)
        if (algs[i].alg == alg)
            return algs[i].signature_len;
    return 0;
}

/* RFC 9053 tables 5 and 6. CCM: nonce and length field share 15 bytes (RFC 3610 section 2.3). */
static const struct {
    int64_t cose;
    const char *name;
    bool is_jose;
    struct lk_aead_sizes sizes;
} aeads[] = {
    [LK_AEAD_NONE] = {0, "none", false, {0, 0, 0}},
    [LK_AEAD_A128GCM] = {1, "A128GCM", true, {16, 12, 16}},
    [LK_AEAD_A192GCM] = {2, "A192GCM", true, {24, 12, 16}},
    [LK_AEAD_A256GCM] = {3, "A256GCM", true, {32, 12, 16}},
    [LK_AEAD_CCM_16_64_128] = {10, "AES-CCM-16-64-128", false, {16, 13, 8}},
    [LK_AEAD_CCM_16_64_256] = {11, "AES-CCM-16-64-256", false, {32, 13, 8}},
    [LK_AEAD_CCM_64_64_128] = {12, "AES-CCM-64-64-128", false, {16, 7, 8}},
    [LK_AEAD_CCM_64_64_256] = {13, "AES-CCM-64-64-256", false, {32, 7, 8}},
    [LK_AEAD_CCM_16_128_128] = {30, "AES-CCM-16-128-128", false, {16, 13, 16}},
    [LK_AEAD_CCM_16_128_256] = {31, "AES-CCM-16-128-256", false, {32, 13, 16}},
    [LK_AEAD_CCM_64_128_128] = {32, "AES-CCM-64-128-128", false, {16, 7, 16}},
    [LK_AEAD_CCM_64_128_256] = {33, "AES-CCM-64-128-256", false, {32, 7, 16}},
};

#define AEAD_COUNT (sizeof(aeads) / sizeof(aeads[0]))

enum lk_aead
lk_aead_from_cose(int64_t id)
{
    for (size_t i = 1; i < AEAD_COUNT; i++)
        if (aeads[i].cose == id)
            return (enum lk_aead)i;
    return LK_AEAD_NONE;
}

enum lk_aead
lk_aead_from_jose(struct lk_span name)
{
    for (size_t i = 1; i < AEAD_COUNT; i++)
        if (aeads[i].is_jose && lk_span_is(name, aeads[i].name))
            return (enum lk_aead)i;
    return LK_AEAD_NONE;
}

/* A key's cipher comes from whoever filled the key in. */
static size_t
aead_row(enum lk_aead cipher)
{
    return (size_t)cipher < AEAD_COUNT ? (size_t)cipher : LK_AEAD_NONE;
}

int64_t
lk_aead_to_cose(enum lk_aead cipher)
{
    return aeads[aead_row(cipher)].cose;
}

const char *
lk_aead_name(enum lk_aead cipher)
{
    return aeads[aead_row(cipher)].name;
}

struct lk_aead_sizes
lk_aead_sizes_of(enum lk_aead cipher)
{
    return aeads[aead_row(cipher)].sizes;
}
