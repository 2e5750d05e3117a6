/*
 * ES256 verification without a table: this build leaves everything to EVP.
 */
#include "prepared.h"

enum lk_err
lk_table_new(const struct lk_key *key, struct lk_table **table)
{
    (void)key;
    *table = NULL;
    return LK_ERR_UNSUPPORTED;
}

void
lk_table_free(struct lk_table *table)
{
    (void)table;
}

enum lk_table_verdict
lk_table_verify(const struct lk_table *table, struct lk_table_room **room,
                const uint8_t hash[LK_SHA256_LEN], const uint8_t raw[LK_ES256_LEN])
{
    (void)table;
    (void)room;
    (void)hash;
    (void)raw;
    return LK_VERDICT_NONE;
}

void
lk_table_room_free(struct lk_table_room *room)
{
    (void)room;
}
