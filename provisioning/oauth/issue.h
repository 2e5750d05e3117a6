/*
 * provisioning/oauth/issue.h - make access tokens.
 */
#ifndef PROVISIONING_ISSUE_H
#define PROVISIONING_ISSUE_H

#include <latchkey/claims.h>

#include "../service.h"
#include "../store/store.h"

/** What a token is to say; everything else follows from the configuration and the clock. */
struct issue {
    struct lk_span subject;
    struct lk_span tenant; /* empty: default; "*": every one */
    struct lk_span type;   /* device type; empty: not a device */
    struct lk_span scopes;
    unsigned audience; /* enum config_audience */
    uint64_t generation;
    int64_t lifetime_s;
    enum lk_format format;
    const struct store_children *children; /* NULL: none */
};

struct issued {
    struct lk_span token; /* JWT text or raw CWT, inside the room */
    int64_t expires_s;
    char jti[24]; /* base64url, for the audit */
    uint8_t id[16];
};

/** @param room  LK_TOKEN_MAX suffices. */
LK_MUST_CHECK enum lk_err oauth_issue(struct service *service, const struct issue *issue,
                                      int64_t now_s, struct lk_buf room, struct issued *out);

/**
 * The desk's own token for the broker: subject `subject`, role desk, scope desk:use, tenant "*",
 * audience mqtt, as JWT. Any thread.
 * @param expires_s [out] seconds since 1970.
 */
LK_MUST_CHECK enum lk_err oauth_issue_desk(struct service *service, const char *subject,
                                           struct lk_buf room, struct lk_span *jwt,
                                           int64_t *expires_s);

#endif
