/*
 * latchkey/scope.h - scopes: `resource:action`, space-separated (RFC 6749 section 3.3).
 *
 * `resource:*` holds every action of that resource, except that it never covers desk:, bridge:,
 * keys:, clients: and tenants: (contracts section 3).
 */
#ifndef LATCHKEY_SCOPE_H
#define LATCHKEY_SCOPE_H

#include <latchkey/bytes.h>
#include <latchkey/err.h>
#include <latchkey/limits.h>

/**
 * Take the next scope off the front of a scope text.
 *
 *     while (lk_scope_next(&rest, &scope)) ...
 *
 * Runs of spaces count as one. @return false when nothing is left.
 */
bool lk_scope_next(struct lk_span *rest, struct lk_span *scope);

/**
 * Is the text a list of well-formed scopes (characters of RFC 6749 section 3.3), at most
 * LK_SCOPE_MAX bytes and LK_SCOPES_MAX entries? @return LK_OK, LK_ERR_SCOPE, LK_ERR_LIMIT.
 */
LK_MUST_CHECK enum lk_err lk_scope_check(struct lk_span scopes);

/** Does one held scope cover one wanted scope (equal, or held is `resource:*`)? */
bool lk_scope_covers(struct lk_span held, struct lk_span wanted);

/** Does any scope of a list cover the wanted one? */
bool lk_scope_list_covers(struct lk_span held, struct lk_span wanted);

/** Does the held list cover every scope of the wanted list? True for an empty wanted list. */
bool lk_scope_list_covers_all(struct lk_span held, struct lk_span wanted);

#endif
