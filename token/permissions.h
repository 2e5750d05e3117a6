/*
 * permissions.h - what a token lists itself, in the one form all of its notations come to: the
 * bytes of lk_identity.permissions. Inside token/ only.
 *
 *     [ [filter: tstr, bits: uint] * ]      deterministic CBOR, at most LK_PERMISSIONS_MAX entries
 *
 *     bits   0x01 publish   0x02 subscribe   0x04 retain=no (publish only)   0x30 the highest QoS
 *            0x40 from `acl`   0x80 from `publ` and `subs`   neither: from AIF
 *
 * Where an entry came from is kept because a scope map that is read later may no longer want it.
 *
 * A filter in it is final: valid and not shared, its placeholders filled, without the tenant's
 * prefix, at most LK_POLICY_LEVELS_MAX levels, and it begins with no `$` and is not authz-info.
 */
#ifndef LK_PERMISSIONS_H
#define LK_PERMISSIONS_H

#include <latchkey/cbor.h>
#include <latchkey/grant.h>
#include <latchkey/policy.h>

#include "rules.h"

struct lk_permission {
    struct lk_span filter;
    bool publish, subscribe;
    uint8_t flags;   /* LK_RULE_RETAIN_NO */
    uint8_t qos_max; /* 2 where nothing is said */
    uint8_t source;  /* one of LK_TOKEN_RULES_..., or 0: AIF */
};

/** Does a permission count under this scope map? It keeps its place in the list if not. */
static inline bool
lk_permission_counts(const struct lk_policy *policy, const struct lk_permission *permission)
{
    return permission->source == 0 || (policy->token_rules & permission->source) != 0;
}

/** May a filter stand in a permission? @return LK_OK, LK_ERR_SCOPE, LK_ERR_LIMIT (levels). */
LK_MUST_CHECK enum lk_err lk_permission_filter_check(struct lk_span filter);

/**
 * Walk over stored permissions, in order; absent ones are none.
 *
 *     lk_permissions_open(&walk, identity->permissions);
 *     while (lk_permissions_next(&walk, &permission)) ...
 *     err = lk_permissions_close(&walk);
 *
 * The first error ends the walk; close() reports it: the CBOR reader's, LK_ERR_LIMIT, LK_ERR_RANGE
 * for bits that mean nothing, LK_ERR_SCOPE for a filter that may not stand here.
 */
struct lk_permissions {
    struct lk_cbor r;
    bool is_absent;
};

void lk_permissions_open(struct lk_permissions *walk, struct lk_span permissions);
bool lk_permissions_next(struct lk_permissions *walk, struct lk_permission *permission);
LK_MUST_CHECK enum lk_err lk_permissions_close(struct lk_permissions *walk);

/**
 * A permission as a rule of the scope map has it, without scope and line: text_at of its levels is
 * an offset from `stored`, where the walked permissions begin.
 */
void lk_permission_rule(const struct lk_permission *permission, const uint8_t *stored,
                        struct lk_rule *rule);

/** Collects permissions. Filters are borrowed until close(). The first error sticks. */
struct lk_permissions_out {
    enum lk_err err;
    size_t count;
    struct lk_permission entry[LK_PERMISSIONS_MAX];
};

void lk_permissions_write_open(struct lk_permissions_out *w);

/** Add one; those of one filter, source and limits become one entry. One that permits nothing
 * is left out. LK_ERR_LIMIT sticks, and the errors of lk_permission_filter_check. */
void lk_permissions_write(struct lk_permissions_out *w, const struct lk_permission *permission);

/**
 * @param room  LK_PERMISSIONS_ROOM suffices; more than that is LK_ERR_LIMIT.
 * @param out   [out] inside `room`; absent if there was nothing to write.
 * @return LK_OK, the first error, LK_ERR_NO_SPACE.
 */
LK_MUST_CHECK enum lk_err lk_permissions_write_close(struct lk_permissions_out *w,
                                                     struct lk_buf room, struct lk_span *out);

/**
 * From a filter as a token writes it to what of it lies in the tenant's own tree, without the
 * prefix. With a tenant T: t/T/foo/# is foo/#, # is #, +/+/x is x; without one what begins with
 * the level `t` is dropped, and for LK_TENANCY_ALL everything is.
 *
 * @return false if nothing is left that may stand in a permission.
 */
bool lk_permission_enter(enum lk_tenancy tenancy, struct lk_span tenant, struct lk_span *filter);

/** Is there a topic that matches both filters? Both valid, not shared. */
bool lk_filters_overlap(struct lk_span a, struct lk_span b);

/**
 * What a token lists itself, as stored bytes: AIF-MQTT in its scope, and the claims the scope map's
 * `token-rules` name.
 *
 * @param identity  subject, client id and tenant are filled in.
 * @param room      the permissions stand in it; LK_IDENTITY_ROOM suffices.
 * @param is_aif    [out] the scope is no list of scopes.
 * @return LK_OK, LK_ERR_SCOPE, LK_ERR_LIMIT, LK_ERR_NO_SPACE, or the error of a reader.
 */
LK_MUST_CHECK enum lk_err lk_permissions_from_claims(const struct lk_policy *policy,
                                                     const struct lk_claims *claims,
                                                     const struct lk_identity *identity,
                                                     struct lk_buf room,
                                                     struct lk_span *permissions, bool *is_aif);

#endif
