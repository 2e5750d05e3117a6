/*
 * bearer.h - the verifier's own access token, for what it asks of its issuer: client_credentials
 * (RFC 6749 section 4.4), audience latchkey-api, renewed before it ends. One thread at a time;
 * blocks.
 */
#ifndef PLUGIN_BEARER_H
#define PLUGIN_BEARER_H

#include <latchkey/bytes.h>
#include <latchkey/host/fetch.h>
#include <latchkey/limits.h>

#include "limits.h"

struct bearer {
    /* Set by the owner. */
    const char *issuer, *client_id, *client_secret_file;
    const char *scope;
    const volatile int *cancel; /* as in lk_fetch_request */

    char token[LK_TOKEN_MAX + 1];
    int64_t renew_ms; /* monotonic; 0: there is none */
};

/** An URL below the issuer's, which may end in slashes. @return false if it does not fit. */
bool bearer_url(char *room, size_t cap, const char *issuer, const char *path);

/**
 * A token that is good for a while. The secret is read from its file each time, so one that was
 * rotated needs no restart.
 * @param answer  [out] of the token endpoint, if it was asked: status, Retry-After, error.
 * @return LK_OK; LK_ERR_CREDENTIAL for any status but 200; what reading the file, lk_fetch_run and
 *         the JSON reader say; LK_ERR_MISSING, LK_ERR_LIMIT.
 */
LK_MUST_CHECK enum lk_err bearer_get(struct bearer *b, struct lk_fetch *fetch,
                                     struct lk_fetch_answer *answer);

/** It was refused, or is not needed any more. */
void bearer_drop(struct bearer *b);

#endif
