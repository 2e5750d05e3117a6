/*
 * provisioning/oauth/inspect.h - is one of our own access tokens good, now?
 */
#ifndef PROVISIONING_INSPECT_H
#define PROVISIONING_INSPECT_H

#include <latchkey/token.h>

#include "../service.h"
#include "../store/store.h"

/**
 * Signature and claims; that its subject is still there, active, and of that generation; that the
 * token itself was not revoked.
 *
 * @param audience  absent: whichever the token names.
 * @param scratch   LK_TOKEN_SCRATCH_MAX bytes; the claims point into it.
 * @return LK_OK; LK_ERR_REVOKED; the errors of lk_token_verify() and of the store. Proof of
 *         possession is the caller's business.
 */
LK_MUST_CHECK enum lk_err inspect_token(struct service *service, const struct config *config,
                                        struct store_db *db, struct lk_span text,
                                        struct lk_span audience, int64_t now_s,
                                        struct lk_buf scratch, struct lk_token *token);

/** The token's id: 16 bytes, whatever its format. LK_ERR_CLAIM: it is no such id. */
LK_MUST_CHECK enum lk_err inspect_token_id(const struct lk_token *token, uint8_t id[16]);

#endif
