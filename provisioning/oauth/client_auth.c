#include "client_auth.h"

#include <stdio.h>
#include <string.h>

#include <latchkey/crypto.h>
#include <latchkey/id.h>

#include "guess.h"

/** Look both up; LK_ERR_NOT_FOUND if the id is neither's. */
static enum lk_err
principal_get(struct store_db *db, struct lk_span id, struct principal *p)
{
    enum lk_err err = store_device_get(db, id, &p->device);

    p->is_device = err == LK_OK;
    if (err == LK_ERR_NOT_FOUND)
        err = store_client_get(db, id, &p->client);
    return err;
}

/** An id nobody has costs the same work as a wrong secret. */
static bool
secret_is_right(struct lk_span secret, const uint8_t stored[32], bool is_known)
{
    uint8_t hash[LK_SHA256_LEN];
    bool is_right = lk_crypto_sha256(secret, hash) == LK_OK &&
                    lk_equal_ct(lk_span_of(hash, sizeof(hash)), lk_span_of(stored, sizeof(hash)));

    lk_wipe(hash, sizeof(hash));
    return is_right && is_known;
}

uint64_t
device_generation_floor(const struct store_device *device, int64_t now_s)
{
    return device->generation - (device->old_until_s > now_s ? 1 : 0);
}

uint64_t
client_generation_floor(const struct store_client *client, int64_t now_s)
{
    return client->generation - (client->old_until_s > now_s ? 1 : 0);
}

/** The newest secret, or the one before while it is valid. Both are always compared. */
static bool
secret_check(struct principal *p, struct lk_span secret, bool is_known, int64_t now_s)
{
    const uint8_t *hash = p->is_device ? p->device.secret_hash : p->client.secret_hash;
    const uint8_t *old = p->is_device ? p->device.old_hash : p->client.old_hash;
    uint64_t newest = p->is_device ? p->device.generation : p->client.generation;
    uint64_t floor = p->is_device ? device_generation_floor(&p->device, now_s)
                                  : client_generation_floor(&p->client, now_s);
    bool is_newest = secret_is_right(secret, hash, is_known);
    bool is_old = secret_is_right(secret, old, is_known) && floor < newest;

    p->generation = is_newest ? newest : floor;
    return is_newest || is_old;
}

static bool
refuse(struct http_call *call, const struct token_request *request, struct lk_span id)
{
    unsigned wait_s = guess_failed(call->service->guess, id, call->from,
                                   call->config->limits.guesses, call->now_s);

    if (wait_s > 0)
        http_retry_after(call, wait_s);
    /* One answer for an unknown id, a wrong secret and a suspended device. */
    oauth_refuse(call, request, OAUTH_INVALID_CLIENT, "the client is unknown or its secret wrong");
    return false;
}

static void
caller_set(struct http_call *call, const struct principal *p)
{
    const char *tenant = p->is_device ? p->device.tenant : p->client.tenant;

    snprintf(call->caller.id, sizeof(call->caller.id), "%s",
             p->is_device ? p->device.id : p->client.id);
    snprintf(call->caller.tenant, sizeof(call->caller.tenant), "%s", tenant);
    call->caller.is_device = p->is_device;
}

bool
client_authenticate(struct http_call *call, const struct token_request *request, const char *what,
                    struct principal *p)
{
    enum lk_err err;
    bool is_right;

    http_audit(call, what, request->id);
    if (request->id.ptr == NULL || request->secret.ptr == NULL || !lk_id_is_valid(request->id)) {
        oauth_refuse(call, request, OAUTH_INVALID_CLIENT, "client authentication is missing");
        return false;
    }
    err = principal_get(call->db, request->id, p);
    if (err != LK_OK && err != LK_ERR_NOT_FOUND) {
        http_fail(call, err);
        return false;
    }
    is_right = secret_check(p, request->secret, err == LK_OK, call->now_s);
    if (!is_right || (p->is_device ? p->device.state : p->client.state) != STORE_ACTIVE)
        return refuse(call, request, request->id);
    guess_passed(call->service->guess, request->id, call->from);
    caller_set(call, p);
    p->kind = p->is_device ? config_type(call->config, lk_span_text(p->device.type))
                           : config_role(call->config, lk_span_text(p->client.role));
    return true;
}
