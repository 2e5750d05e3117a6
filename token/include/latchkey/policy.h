/*
 * latchkey/policy.h - the scope map: which scope permits what on which topics.
 *
 *     # scope           action     topic filter                   options
 *     telemetry:send    publish    devices/{device}/telemetry/#
 *     commands:receive  publish    devices/{device}/commands/+/result   retain=no
 *
 * A line is: scope, action (publish, subscribe, both), filter, options; `#` at the start of a line
 * or behind white space begins a comment, except where a topic filter is due. Allow-only; what no
 * rule allows is denied.
 *
 * Placeholders fill exactly one whole level: {device} {client} {tenant} {type} {children}
 * {claim.NAME}; aliases %c ${clientid} for {client}, %u ${username} for {device}.
 * Options: publish: retain=no size<=BYTES rate<=N/s; both: qos<=N; subscribe: share=no. An option
 * that does not fit the action refuses the file.
 *
 * A line of exactly two words, `token-rules acl` or `token-rules publ-subs`, says that what tokens
 * list themselves in these claims counts too (POLICY.md). AIF-MQTT in a token's scope always does.
 *
 * A bad line refuses the whole file and says where.
 */
#ifndef LATCHKEY_POLICY_H
#define LATCHKEY_POLICY_H

#include <latchkey/bytes.h>
#include <latchkey/err.h>
#include <latchkey/limits.h>

enum lk_action {
    LK_ACTION_PUBLISH = 1,
    LK_ACTION_SUBSCRIBE = 2, /* the topic is a filter: containment */
    LK_ACTION_RECEIVE = 3    /* a delivery: subscribe rules, by match */
};

enum lk_level_kind {
    LK_LEVEL_TEXT,
    LK_LEVEL_PLUS,
    LK_LEVEL_HASH,
    LK_LEVEL_DEVICE,
    LK_LEVEL_CLIENT,
    LK_LEVEL_TENANT,
    LK_LEVEL_TYPE,
    LK_LEVEL_CHILDREN,
    LK_LEVEL_CLAIM /* index into lk_policy.names */
};

struct lk_level {
    uint8_t kind;               /* enum lk_level_kind */
    uint8_t name;               /* LK_LEVEL_CLAIM: which name */
    uint16_t text_at, text_len; /* LK_LEVEL_TEXT: into lk_policy.text */
};

#define LK_RULE_RETAIN_NO 0x01
#define LK_RULE_SHARE_NO  0x02

struct lk_rule {
    uint16_t scope_at, scope_len; /* into lk_policy.text */
    uint32_t line;                /* in the file, from 1 */
    bool publish, subscribe;
    uint8_t flags;   /* LK_RULE_... */
    uint8_t qos_max; /* 2 where nothing is said */
    uint8_t level_count;
    uint32_t size_max; /* bytes; UINT32_MAX where nothing is said */
    uint32_t rate_max; /* messages a second and subject; 0 where nothing is said */
    struct lk_level level[LK_POLICY_LEVELS_MAX];
};

/* Claims of a token that count beside its scopes. */
#define LK_TOKEN_RULES_ACL       0x01 /* acl, of EMQX */
#define LK_TOKEN_RULES_PUBL_SUBS 0x02 /* publ and subs, arrays of filters */

/** A parsed scope map. Plain data without pointers: the caller places it and may copy it. */
struct lk_policy {
    uint32_t rule_count;
    uint32_t name_count;
    uint32_t text_len;
    uint32_t token_rules; /* LK_TOKEN_RULES_... */
    struct {
        uint16_t at, len;
    } names[LK_NAMED_MAX]; /* NAME of {claim.NAME}, into text */
    struct lk_rule rules[LK_POLICY_RULES_MAX];
    uint8_t text[LK_POLICY_FILE_MAX / 2];
};

struct lk_policy_error {
    uint32_t line, column; /* from 1 */
    const char *expected;  /* a static sentence: "an action: publish, subscribe or both" */
};

/**
 * Parse a scope map.
 * @param file   the text, at most LK_POLICY_FILE_MAX bytes.
 * @param error  [out] filled when the file is refused; may be NULL.
 * @return LK_OK; LK_ERR_SYNTAX with `error`; LK_ERR_LIMIT with `error`. On error the policy is
 *         zeroed: it allows nothing.
 */
LK_MUST_CHECK enum lk_err lk_policy_parse(struct lk_span file, struct lk_policy *policy,
                                          struct lk_policy_error *error);

/** The scope map that is built in: the table of contracts section 4. */
extern const char lk_policy_default[];

#endif
