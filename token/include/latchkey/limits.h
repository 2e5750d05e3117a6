/*
 * latchkey/limits.h - everything a token or a scope map can make us spend.
 */
#ifndef LATCHKEY_LIMITS_H
#define LATCHKEY_LIMITS_H

#define LK_TOKEN_MAX         8192  /* bytes of a token as text or raw; contracts: 8 KiB */
#define LK_TOKEN_SCRATCH_MAX 16384 /* bytes of working room that always suffice for one token */
#define LK_KID_MAX           64    /* bytes of a key id; ours are 11 */
#define LK_AUDIENCE_MAX      8     /* entries of an `aud` array */
#define LK_CHILDREN_MAX      32 /* entries of `children`; a field gateway with more gets two tokens */
#define LK_SCOPE_MAX         2048  /* bytes of a scope text */
#define LK_SCOPES_MAX        64    /* single scopes in a scope text */
#define LK_DEPTH_MAX         16    /* nested arrays, maps and objects */
#define LK_MEMBERS_MAX       64    /* members of one map or object that must be told apart */
#define LK_TOPIC_MAX         65535 /* bytes of a topic or filter: MQTT's own limit */
#define LK_ID_MAX            64    /* bytes of a device or client name, tenant prefix not counted */
#define LK_TENANT_MAX        32    /* bytes of a tenant's name */
#define LK_SUBJECT_MAX       97    /* tenant, '~', name */
#define LK_POLICY_FILE_MAX   65536 /* bytes of a scope map */
#define LK_POLICY_RULES_MAX  256   /* rules of a scope map */
#define LK_POLICY_LEVELS_MAX 16    /* levels of one rule's filter */
#define LK_NAMED_MAX         8     /* different {claim.NAME} placeholders in one scope map */
#define LK_GRANT_MAX         16384 /* bytes of a compiled shape; a real one is some hundreds */
#define LK_VALUES_MAX        8192  /* bytes of the values that fill a shape's placeholders */
#define LK_PERMISSIONS_MAX   64    /* entries a token lists itself; as many as it may have scopes */
#define LK_PERMISSIONS_ROOM  4096  /* bytes of these entries as stored: 64 bytes for each */
#define LK_IDENTITY_ROOM     16384 /* bytes of working room that suffice to collect an identity */
#define LK_KEYS_MAX          64    /* keys in one keyset, all issuers together */
#define LK_ISSUERS_MAX       8     /* issuers one verifier trusts */

#endif
