#include "prepared.h"

#include <openssl/crypto.h>

void
lk_kit_free(struct lk_kit *kit)
{
    if (kit == NULL)
        return;
    EVP_MD_CTX_free(kit->hash);
    EVP_PKEY_CTX_free(kit->verify);
    EVP_PKEY_CTX_free(kit->sign);
    EVP_MD_CTX_free(kit->verify_whole);
    EVP_MD_CTX_free(kit->sign_whole);
    EVP_MAC_CTX_free(kit->mac);
    lk_table_room_free(kit->room);
    OPENSSL_free(kit);
}

struct lk_kit *
lk_kit_take(struct lk_prepared *p)
{
    for (size_t i = 0; i < LK_KIT_SPARES; i++) {
        struct lk_kit *kit = NULL;

        /* Only look first: an exchange takes the cache line from everyone. */
        if (atomic_load_explicit(&p->spare[i], memory_order_relaxed) != NULL)
            kit = atomic_exchange_explicit(&p->spare[i], NULL, memory_order_acquire);
        if (kit != NULL)
            return kit;
    }
    return OPENSSL_zalloc(sizeof(struct lk_kit));
}

void
lk_kit_put(struct lk_prepared *p, struct lk_kit *kit, bool is_good)
{
    for (size_t i = 0; is_good && i < LK_KIT_SPARES; i++) {
        struct lk_kit *none = NULL;

        if (atomic_compare_exchange_strong_explicit(&p->spare[i], &none, kit, memory_order_release,
                                                    memory_order_relaxed))
            return;
    }
    lk_kit_free(kit);
}
