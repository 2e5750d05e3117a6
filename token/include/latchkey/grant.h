/*
 * latchkey/grant.h - compiled permissions: what one client may do, decided without walking strings
 * it need not, without allocating, without a lock.
 *
 * A grant has two halves, both position-independent bytes that the caller stores where it likes:
 *
 *   shape   which rules, with placeholders left open. Equal for all clients with the same scopes
 *           and kind, so it can be interned: compare and share the bytes.
 *   values  what fills the placeholders for one client.
 *
 * A new scope map needs a recompilation from the identity; keep that (lk_identity_write).
 */
#ifndef LATCHKEY_GRANT_H
#define LATCHKEY_GRANT_H

#include <latchkey/claims.h>
#include <latchkey/policy.h>

/** What a grant is compiled from. Spans are borrowed. */
struct lk_identity {
    struct lk_span subject;
    struct lk_span client_id; /* MQTT client id; absent voids rules with {client} */
    struct lk_span type;      /* absent: not a device, which voids rules with {device} */
    struct lk_span tenant; /* absent: default tenant; "*": both, only with desk:use or bridge:use */
    struct lk_span scope;
    struct lk_span children[LK_CHILDREN_MAX];
    size_t children_count;
    struct {
        struct lk_span name, value;
    } named[LK_NAMED_MAX]; /* {claim.NAME} */
    size_t named_count;
    struct lk_span permissions; /* what the token itself lists (AIF-MQTT, acl, publ and subs), in
                                   the form lk_identity_from_claims gives it; absent: nothing */
};

/** A rule with this bit is no rule of the scope map, but a permission the token lists itself; the
 * other bits are its place in lk_identity.permissions, from 0. */
#define LK_RULE_OF_TOKEN 0x8000

/**
 * Collect an identity from verified claims. A scope that is AIF-MQTT (latchkey/aif.h), and the
 * claims the scope map's `token-rules` name, become permissions; of their filters what lies in the
 * tenant's tree is kept. A token's permissions that are not understood refuse the token, for they
 * may have been meant to restrict.
 *
 * @param room  for {claim.NAME} values of a JWT that have to be unescaped, and for permissions;
 *              LK_IDENTITY_ROOM suffices. The identity points into it, into the claims, and
 *              into the policy (named[].name): who parses a new map stores the identity first.
 * @return LK_OK; LK_ERR_SCOPE, LK_ERR_LIMIT, LK_ERR_NO_SPACE, or the CBOR or JSON reader's error.
 *         On error the identity is zeroed.
 */
LK_MUST_CHECK enum lk_err lk_identity_from_claims(const struct lk_policy *policy,
                                                  const struct lk_claims *claims,
                                                  struct lk_span client_id, struct lk_buf room,
                                                  struct lk_identity *identity);

/** Store an identity as bytes (deterministic CBOR) and read it back; spans point into `in`. */
LK_MUST_CHECK enum lk_err lk_identity_write(const struct lk_identity *identity, struct lk_buf room,
                                            struct lk_span *out);
LK_MUST_CHECK enum lk_err lk_identity_read(struct lk_span in, struct lk_identity *identity);

/** A compiled grant; both halves are borrowed. A zeroed grant denies everything. */
struct lk_grant {
    struct lk_span shape;
    struct lk_span values;
};

/**
 * Compile. Rules whose scope is not held, and rules with a placeholder that has no usable value
 * (missing, empty, with / + # NUL or a control character, or a leading $), are left out. With a
 * tenant every rule stands under t/<tenant>/; without one no rule matches t/...
 *
 * @param shape_room   LK_GRANT_MAX suffices.     @param shape  [out]
 * @param values_room  LK_VALUES_MAX suffices.    @param values [out]
 * @return LK_OK (also for a grant that permits nothing), LK_ERR_NO_SPACE, LK_ERR_LIMIT, or what is
 *         wrong with permissions that lk_identity_from_claims did not write.
 */
LK_MUST_CHECK enum lk_err lk_grant_compile(const struct lk_policy *policy,
                                           const struct lk_identity *identity,
                                           struct lk_buf shape_room, struct lk_span *shape,
                                           struct lk_buf values_room, struct lk_span *values);

enum lk_access { LK_ACCESS_DENY = 0, LK_ACCESS_ALLOW = 1 };

struct lk_request {
    enum lk_action action;
    struct lk_span topic; /* a name, or for SUBSCRIBE a filter, `$share/<group>/` included */
    uint8_t qos;
    bool retain;   /* publish */
    uint32_t size; /* bytes of payload; publish */
};

/* Eight bytes, so that it travels in a register. */
struct lk_verdict {
    enum lk_access access : 16;
    unsigned rule : 16; /* allow: the rule's index in the policy, or one of LK_RULE_OF_TOKEN */
    uint32_t rate_max;  /* allow: messages a second the caller must hold the subject to; 0: none */
};

/**
 * Decide whether a grant lets its client use a topic.
 *
 * A publish and a delivery are matched, a subscription is allowed only if one rule covers every
 * topic its filter could match; `$share/<group>/` is judged by what follows it, and a group name
 * that begins with "latchkey" only with desk:use. `$`-topics need a rule that names them;
 * `authz-info` is never permitted, by no rule. Anything malformed is denied. If several rules
 * allow, one without a rate is preferred, else the highest rate.
 */
struct lk_verdict lk_grant_check(const struct lk_grant *grant, const struct lk_request *request);

/** Why a request was decided as it was, for people: `latchkey explain`. */
enum lk_reason {
    LK_REASON_ALLOWED,      /* rule: the one that decided */
    LK_REASON_NO_SCOPE,     /* rule: its filter fits, but its scope is not held */
    LK_REASON_VOID,         /* rule: its scope is held, but a placeholder has no value */
    LK_REASON_OTHER_VALUE,  /* rule: fits but for a placeholder's value, e.g. another device */
    LK_REASON_OTHER_ACTION, /* rule: fits, but is for the other direction */
    LK_REASON_OPTION,       /* rule: fits, but an option (retain, size, qos, share) does not */
    LK_REASON_TOO_WIDE,     /* rule: the filter asks for more than the rule covers */
    LK_REASON_NO_RULE,      /* nothing comes near */
    LK_REASON_RESERVED,     /* authz-info, $-topics, latchkey share groups */
    LK_REASON_MALFORMED     /* not a valid topic or filter */
};

struct lk_explanation {
    struct lk_verdict verdict;
    enum lk_reason reason;
    uint16_t rule; /* the nearest rule where there is one; as in lk_verdict */
    bool has_rule;
    struct lk_span filter; /* the token's own rule: its filter, without the tenant's prefix */
    struct lk_span detail; /* e.g. the value that would have fitted; static or from the identity */
};

/** Slow and thorough; agrees with lk_grant_check. @return as lk_grant_compile. */
LK_MUST_CHECK enum lk_err lk_grant_explain(const struct lk_policy *policy,
                                           const struct lk_identity *identity,
                                           const struct lk_request *request,
                                           struct lk_explanation *explanation);

/** A sentence for a reason. */
const char *lk_reason_text(enum lk_reason reason);

#endif
