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
    return "none";
}

size_t
lk_alg_signature_len(enum lk_alg alg)
{
    for (size_t i = 0; i < ALG_COUNT; i++)
        if (algs[i].alg == alg)
            return algs[i].signature_len;
    return 0;
}
