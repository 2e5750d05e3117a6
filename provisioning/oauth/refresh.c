#include "refresh.h"

#include <string.h>

#include <latchkey/base64url.h>
#include <latchkey/crypto.h>

#define MAC_AT (STORE_FAMILY_LEN + 4)

static enum lk_err
mac_make(const struct seal *seal, const uint8_t token[REFRESH_BYTES], uint8_t mac[32])
{
    const struct lk_span part = lk_span_of(token, MAC_AT);

    return lk_crypto_hmac_sha256(seal_key(seal, SEAL_REFRESH), &part, 1, mac);
}

enum lk_err
refresh_write(const struct seal *seal, const struct refresh *refresh, uint8_t out[REFRESH_BYTES])
{
    memcpy(out, refresh->family, STORE_FAMILY_LEN);
    for (unsigned i = 0; i < 4; i++)
        out[STORE_FAMILY_LEN + i] = (uint8_t)(refresh->counter >> (24 - 8 * i));
    return mac_make(seal, out, out + MAC_AT);
}

enum lk_err
refresh_parse(const struct seal *seal, struct lk_span token, struct refresh *out)
{
    uint8_t bytes[REFRESH_BYTES], mac[32];
    struct lk_span raw = token;

    memset(out, 0, sizeof(*out));
    if (token.len == REFRESH_TEXT && lk_base64url_decode(token, LK_BUF_OF(bytes), &raw) != LK_OK)
        return LK_ERR_CREDENTIAL;
    if (raw.len != REFRESH_BYTES)
        return LK_ERR_CREDENTIAL;
    if (raw.ptr != bytes)
        memcpy(bytes, raw.ptr, REFRESH_BYTES);
    if (mac_make(seal, bytes, mac) != LK_OK)
        return LK_ERR_CRYPTO;
    if (!lk_equal_ct(lk_span_of(mac, sizeof(mac)), lk_span_of(bytes + MAC_AT, sizeof(mac))))
        return LK_ERR_CREDENTIAL;
    memcpy(out->family, bytes, STORE_FAMILY_LEN);
    for (unsigned i = 0; i < 4; i++)
        out->counter = out->counter << 8 | bytes[STORE_FAMILY_LEN + i];
    return LK_OK;
}

static bool
in_grace(const struct store_family *family, uint32_t counter, int64_t now_ms, int64_t grace_s)
{
    /* A clock that was set back makes the age negative; a device is not locked out for that. */
    return family->counter > 0 && counter == family->counter - 1 && family->rotated_ms > 0 &&
           now_ms - family->rotated_ms <= grace_s * 1000;
}

enum refresh_verdict
refresh_judge(struct store_family *family, uint32_t counter, int64_t now_ms, int64_t lifetime_s,
              int64_t grace_s)
{
    if (family->revoked_s != 0 || now_ms / 1000 >= family->expires_s)
        return REFRESH_DEAD;
    if (counter == family->counter) {
        family->counter++;
        family->rotated_ms = now_ms;
        family->expires_s = now_ms / 1000 + lifetime_s;
        return REFRESH_ROTATED;
    }
    if (in_grace(family, counter, now_ms, grace_s))
        return REFRESH_REPEATED;
    /* RFC 9700 section 4.14.2: whoever shows it, thief or owner, both lose the family. A counter
     * that was never given out carries a right MAC only after a restore from a backup; the same. */
    family->revoked_s = now_ms / 1000;
    return REFRESH_REUSED;
}
