/*
 * grants.h - compiled grants, with equal shapes shared between sessions.
 *
 * Ten thousand sensors with the same scopes have the same rules; only what fills the placeholders
 * differs. A shape is kept once and counted.
 */
#ifndef PLUGIN_GRANTS_H
#define PLUGIN_GRANTS_H

#include <latchkey/grant.h>

struct shape {
    struct shape *next;
    uint32_t hash;
    uint32_t refs;
    size_t len;
    uint8_t bytes[];
};

#define GRANTS_BUCKETS 1024 /* kinds of grants are few; a full table only gets slower */

struct grants {
    struct shape *buckets[GRANTS_BUCKETS];
    uint8_t shape_room[LK_GRANT_MAX];
    uint8_t values_room[LK_VALUES_MAX];
};

/**
 * Compile an identity.
 * @param shape   [out] counted; give it back with grants_put. NULL on error.
 * @param values  [out] inside `grants`: copy before the next call.
 * @return LK_OK, LK_ERR_NOMEM, or what lk_grant_compile says.
 */
LK_MUST_CHECK enum lk_err grants_compile(struct grants *grants, const struct lk_policy *policy,
                                         const struct lk_identity *identity, struct shape **shape,
                                         struct lk_span *values);

/** Give a shape back; NULL is none. */
void grants_put(struct grants *grants, struct shape *shape);

#endif
