/*
 * ES256 verification with a table of multiples of the key's point.
 *
 * To verify is to compute u1*G + u2*Q. For G libcrypto has a table of multiples, which makes u1*G
 * six times cheaper than u2*Q. Here the key's point Q becomes the generator of a second group on
 * the same curve and gets such a table too. What is compared is the projective x, which saves the
 * inversion for the affine one. Everything here is public: constant time is no concern.
 *
 * Making Q a generator and its table are calls OpenSSL 3 deprecates without a successor. They stay
 * in this file, and whatever fails in it sends the caller back to EVP.
 */
#define OPENSSL_SUPPRESS_DEPRECATED

#include "prepared.h"

#include <openssl/bn.h>
#include <openssl/crypto.h>
#include <openssl/ec.h>
#include <openssl/obj_mac.h>

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

struct lk_table {
    EC_GROUP *stock; /* P-256 as it comes */
    EC_GROUP *own;   /* P-256 with the generator Q, and its table */
};

/* What one verification at a time computes in. */
struct lk_table_room {
    BN_CTX *bn;
    EC_POINT *a, *b;
};

void
lk_table_free(struct lk_table *table)
{
    if (table == NULL)
        return;
    EC_GROUP_free(table->stock);
    EC_GROUP_free(table->own);
    OPENSSL_free(table);
}

void
lk_table_room_free(struct lk_table_room *room)
{
    if (room == NULL)
        return;
    EC_POINT_free(room->a);
    EC_POINT_free(room->b);
    BN_CTX_free(room->bn);
    OPENSSL_free(room);
}

static struct lk_table_room *
room_new(const struct lk_table *table)
{
    struct lk_table_room *room = OPENSSL_zalloc(sizeof(*room));

    if (room == NULL)
        return NULL;
    room->bn = BN_CTX_new();
    room->a = EC_POINT_new(table->stock);
    room->b = EC_POINT_new(table->stock);
    if (room->bn != NULL && room->a != NULL && room->b != NULL)
        return room;
    lk_table_room_free(room);
    return NULL;
}

/* Verification: FIPS 186-5 section 6.4.2. */

/* u1 = e/s and u2 = r/s, modulo n. */
static bool
scalars_get(const struct lk_table *table, const BIGNUM *e, const BIGNUM *r, const BIGNUM *s,
            BIGNUM *u1, BIGNUM *u2, BN_CTX *bn)
{
    const BIGNUM *n = EC_GROUP_get0_order(table->stock);

    return BN_mod_inverse(u2, s, n, bn) != NULL && BN_mod_mul(u1, e, u2, n, bn) == 1 &&
           BN_mod_mul(u2, r, u2, n, bn) == 1;
}

/* room->a = u1*G + u2*Q. */
static bool
sum_compute(const struct lk_table *table, struct lk_table_room *room, const BIGNUM *u1,
            const BIGNUM *u2)
{
    return EC_POINT_mul(table->stock, room->a, u1, NULL, NULL, room->bn) == 1 &&
           EC_POINT_mul(table->own, room->b, u2, NULL, NULL, room->bn) == 1 &&
           EC_POINT_add(table->stock, room->a, room->a, room->b, room->bn) == 1;
}

/* Is the affine x, which is X/Z^2, the number `x`? Needs x < p. */
static enum lk_table_verdict
x_equals(const BIGNUM *x, const BIGNUM *projective, const BIGNUM *z2, const BIGNUM *p, BN_CTX *bn)
{
    enum lk_table_verdict verdict = LK_VERDICT_NONE;
    BIGNUM *product;

    BN_CTX_start(bn);
    product = BN_CTX_get(bn);
    if (product != NULL && BN_mod_mul(product, x, z2, p, bn) == 1)
        verdict = BN_cmp(product, projective) == 0 ? LK_VERDICT_VALID : LK_VERDICT_INVALID;
    BN_CTX_end(bn);
    return verdict;
}

/* Is x of room->a, modulo n, the number r? As x < p and n < p < 2n, x is r or r + n. */
static enum lk_table_verdict
sum_judge(const struct lk_table *table, struct lk_table_room *room, const BIGNUM *r)
{
    const BIGNUM *n = EC_GROUP_get0_order(table->stock), *p = EC_GROUP_get0_field(table->stock);
    enum lk_table_verdict verdict = LK_VERDICT_NONE;
    BIGNUM *x, *z, *wrapped;

    if (EC_POINT_is_at_infinity(table->stock, room->a))
        return LK_VERDICT_INVALID;
    BN_CTX_start(room->bn);
    x = BN_CTX_get(room->bn);
    z = BN_CTX_get(room->bn);
    wrapped = BN_CTX_get(room->bn);
    if (wrapped == NULL ||
        EC_POINT_get_Jprojective_coordinates_GFp(table->stock, room->a, x, NULL, z, room->bn) !=
            1 ||
        BN_mod_sqr(z, z, p, room->bn) != 1 || BN_add(wrapped, r, n) != 1)
        goto out;
    verdict = x_equals(r, x, z, p, room->bn);
    if (verdict == LK_VERDICT_INVALID && BN_cmp(wrapped, p) < 0)
        verdict = x_equals(wrapped, x, z, p, room->bn);
out:
    BN_CTX_end(room->bn);
    return verdict;
}

enum lk_table_verdict
lk_table_verify(const struct lk_table *table, struct lk_table_room **room,
                const uint8_t hash[LK_SHA256_LEN], const uint8_t raw[LK_ES256_LEN])
{
    enum lk_table_verdict verdict = LK_VERDICT_NONE;
    BIGNUM *e, *r, *s, *u1, *u2;
    BN_CTX *bn;

    if (*room == NULL)
        *room = room_new(table);
    if (*room == NULL)
        return LK_VERDICT_NONE;
    bn = (*room)->bn;
    BN_CTX_start(bn);
    e = BN_CTX_get(bn);
    r = BN_CTX_get(bn);
    s = BN_CTX_get(bn);
    u1 = BN_CTX_get(bn);
    u2 = BN_CTX_get(bn);
    if (u2 != NULL && BN_bin2bn(hash, LK_SHA256_LEN, e) != NULL &&
        BN_bin2bn(raw, LK_ES256_HALF, r) != NULL &&
        BN_bin2bn(raw + LK_ES256_HALF, LK_ES256_HALF, s) != NULL &&
        scalars_get(table, e, r, s, u1, u2, bn) && sum_compute(table, *room, u1, u2))
        verdict = sum_judge(table, *room, r);
    BN_CTX_end(bn);
    return verdict;
}

/* The self-test: the same sums with and without the table, and signatures whose answer is known. */

/* Edges of the range and of the windows of 4 to 8 bits in which tables are read. */
static const char *const edges[] = {
    "0",
    "1",
    "2",
    "7f",
    "80",
    "FFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632550", /* n - 1 */
    "FFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC63254F",
    "7FFFFFFF800000007FFFFFFFFFFFFFFFDE737D56D38BCF4279DCE5617E3192A8", /* (n - 1) / 2 */
    "8000000000000000000000000000000000000000000000000000000000000000",
    "4081020408102040810204081020408102040810204081020408102040810204", /* bit 6 of each 7 */
    "7F7F7F7F7F7F7F7F7F7F7F7F7F7F7F7F7F7F7F7F7F7F7F7F7F7F7F7F7F7F7F7F",
    "8888888888888888888888888888888888888888888888888888888888888888",
    "BA7816BF8F01CFEA414140DE5DAE2223B00361A396177A9CB410FF61F20015AD", /* SHA-256 of "abc" */
    "248D6A61D20638B8E5C026930C3E6039A33CE45964FF2167F6ECEDD419DB06C1",
};

/* The sum by table and by the stock multiplication, which is left in `wanted`. */
static bool
sum_is_right(const struct lk_table *table, struct lk_table_room *room, const EC_POINT *q,
             const BIGNUM *u1, const BIGNUM *u2, EC_POINT *wanted)
{
    return EC_POINT_mul(table->stock, wanted, u1, q, u2, room->bn) == 1 &&
           sum_compute(table, room, u1, u2) &&
           EC_POINT_cmp(table->stock, wanted, room->a, room->bn) == 0;
}

static bool
verdict_is(const struct lk_table *table, struct lk_table_room *room, const BIGNUM *e,
           const BIGNUM *r, const BIGNUM *s, enum lk_table_verdict wanted)
{
    uint8_t hash[LK_SHA256_LEN], raw[LK_ES256_LEN];

    return BN_bn2binpad(e, hash, LK_SHA256_LEN) == LK_SHA256_LEN &&
           BN_bn2binpad(r, raw, LK_ES256_HALF) == LK_ES256_HALF &&
           BN_bn2binpad(s, raw + LK_ES256_HALF, LK_ES256_HALF) == LK_ES256_HALF &&
           lk_table_verify(table, &room, hash, raw) == wanted;
}

/*
 * Who may choose the hash needs no private key: for the sum R = u1*G + u2*Q, r is x of R, s = r/u2
 * and e = u1*s. This must verify, and no neighbour of it.
 */
static bool
signature_is_judged(const struct lk_table *table, struct lk_table_room *room, const EC_POINT *sum,
                    const BIGNUM *u1, const BIGNUM *u2)
{
    const BIGNUM *n = EC_GROUP_get0_order(table->stock);
    BIGNUM *e, *r, *s;
    bool ok = false;

    if (BN_is_zero(u2) || EC_POINT_is_at_infinity(table->stock, sum))
        return true;
    BN_CTX_start(room->bn);
    e = BN_CTX_get(room->bn);
    r = BN_CTX_get(room->bn);
    s = BN_CTX_get(room->bn);
    if (s == NULL || EC_POINT_get_affine_coordinates(table->stock, sum, r, NULL, room->bn) != 1 ||
        BN_nnmod(r, r, n, room->bn) != 1 || BN_mod_inverse(s, u2, n, room->bn) == NULL ||
        BN_mod_mul(s, r, s, n, room->bn) != 1 || BN_mod_mul(e, u1, s, n, room->bn) != 1)
        goto out;
    ok = verdict_is(table, room, e, r, s, LK_VERDICT_VALID) && BN_add_word(e, 1) == 1 &&
         verdict_is(table, room, e, r, s, LK_VERDICT_INVALID) && BN_sub_word(e, 1) == 1 &&
         BN_mod_add(r, r, BN_value_one(), n, room->bn) == 1 &&
         verdict_is(table, room, e, r, s, LK_VERDICT_INVALID) &&
         BN_mod_sub(r, r, BN_value_one(), n, room->bn) == 1 && BN_sub(s, n, s) == 1 &&
         verdict_is(table, room, e, r, s, LK_VERDICT_VALID);
out:
    BN_CTX_end(room->bn);
    return ok;
}

/*
 * r + n, which no random signature reaches: the sum of u*G and R - u*G is a point R with x = n + 3,
 * the smallest one there is (3 = r; 2 + n and 4 + n are other numbers).
 */
static bool
wrapped_x_is_judged(const struct lk_table *table, struct lk_table_room *room, EC_POINT *point,
                    const BIGNUM *u)
{
    BIGNUM *x;
    bool ok;

    BN_CTX_start(room->bn);
    x = BN_CTX_get(room->bn);
    ok = x != NULL && BN_copy(x, EC_GROUP_get0_order(table->stock)) != NULL &&
         BN_add_word(x, 3) == 1 &&
         EC_POINT_set_compressed_coordinates(table->stock, point, x, 0, room->bn) == 1 &&
         EC_POINT_mul(table->stock, room->a, u, NULL, NULL, room->bn) == 1 &&
         EC_POINT_copy(room->b, room->a) == 1 &&
         EC_POINT_invert(table->stock, room->b, room->bn) == 1 &&
         EC_POINT_add(table->stock, room->b, point, room->b, room->bn) == 1 &&
         EC_POINT_add(table->stock, room->a, room->a, room->b, room->bn) == 1 &&
         BN_set_word(x, 3) == 1 && sum_judge(table, room, x) == LK_VERDICT_VALID &&
         BN_set_word(x, 2) == 1 && sum_judge(table, room, x) == LK_VERDICT_INVALID &&
         BN_set_word(x, 4) == 1 && sum_judge(table, room, x) == LK_VERDICT_INVALID;
    BN_CTX_end(room->bn);
    return ok;
}

static bool
pair_passes(const struct lk_table *table, struct lk_table_room *room, const EC_POINT *q,
            const char *first, const char *second)
{
    EC_POINT *sum = EC_POINT_new(table->stock);
    BIGNUM *u1 = NULL, *u2 = NULL;
    bool ok = sum != NULL && BN_hex2bn(&u1, first) > 0 && BN_hex2bn(&u2, second) > 0 &&
              sum_is_right(table, room, q, u1, u2, sum) &&
              signature_is_judged(table, room, sum, u1, u2) &&
              wrapped_x_is_judged(table, room, sum, u1);

    BN_free(u1);
    BN_free(u2);
    EC_POINT_free(sum);
    return ok;
}

static bool
self_test_passes(const struct lk_table *table, const EC_POINT *q)
{
    struct lk_table_room *room = room_new(table);
    bool ok = room != NULL;

    for (size_t i = 0; ok && i < COUNT(edges); i++)
        ok = pair_passes(table, room, q, edges[i], edges[i]) &&
             pair_passes(table, room, q, edges[i], edges[COUNT(edges) - 1 - i]);
    lk_table_room_free(room);
    return ok;
}

/* The point of a key that lk_key_open found valid. */
static EC_POINT *
point_new(const struct lk_key *key, const EC_GROUP *group)
{
    EC_POINT *q = EC_POINT_new(group);
    BIGNUM *x = BN_bin2bn(key->u.ec.x, sizeof(key->u.ec.x), NULL);
    BIGNUM *y = BN_bin2bn(key->u.ec.y, sizeof(key->u.ec.y), NULL);

    if (q == NULL || x == NULL || y == NULL ||
        EC_POINT_set_affine_coordinates(group, q, x, y, NULL) != 1) {
        EC_POINT_free(q);
        q = NULL;
    }
    BN_free(x);
    BN_free(y);
    return q;
}

/* A libcrypto that takes no generator of ours, or makes no table for it, is no error. */
static enum lk_err
table_fill(struct lk_table *table, const EC_POINT *q)
{
    const BIGNUM *n = EC_GROUP_get0_order(table->stock);
    const BIGNUM *cofactor = EC_GROUP_get0_cofactor(table->stock);

    if (EC_GROUP_set_generator(table->own, q, n, cofactor) != 1)
        return LK_ERR_UNSUPPORTED;
    if (EC_GROUP_precompute_mult(table->own, NULL) != 1)
        return LK_ERR_CRYPTO;
    if (EC_GROUP_have_precompute_mult(table->own) != 1)
        return LK_ERR_UNSUPPORTED;
    return self_test_passes(table, q) ? LK_OK : LK_ERR_CRYPTO;
}

enum lk_err
lk_table_new(const struct lk_key *key, struct lk_table **out)
{
    struct lk_table *table = OPENSSL_zalloc(sizeof(*table));
    EC_POINT *q = NULL;
    enum lk_err err = LK_ERR_CRYPTO;

    *out = NULL;
    if (table == NULL)
        return LK_ERR_CRYPTO;
    table->stock = EC_GROUP_new_by_curve_name(NID_X9_62_prime256v1);
    table->own = EC_GROUP_new_by_curve_name(NID_X9_62_prime256v1);
    if (table->stock != NULL && table->own != NULL)
        q = point_new(key, table->stock);
    if (q != NULL)
        err = table_fill(table, q);
    EC_POINT_free(q);
    if (err == LK_OK)
        *out = table;
    else
        lk_table_free(table);
    return err;
}
