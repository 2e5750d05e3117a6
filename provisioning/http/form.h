/*
 * provisioning/http/form.h - application/x-www-form-urlencoded, and HTTP Basic.
 *
 * Everything is decoded in place, in a text that is lent. Values must be UTF-8 without NUL.
 */
#ifndef PROVISIONING_FORM_H
#define PROVISIONING_FORM_H

#include "router.h"

/**
 * Take a form or a query apart. A name that appears twice is LK_ERR_DUPLICATE (RFC 6749 section
 * 3.2); more than FORM_PARAMS_MAX are LK_ERR_LIMIT; a bad escape is LK_ERR_SYNTAX.
 */
LK_MUST_CHECK enum lk_err form_parse(char *text, size_t len, struct http_form *form);

/** An empty value is as good as none (RFC 6749 section 3.2). @return {NULL, 0} if absent. */
struct lk_span form_get(const struct http_form *form, const char *name);

/** Decode one component in place. `plus`: "+" means a space. */
LK_MUST_CHECK enum lk_err form_decode(char *text, size_t len, bool plus, struct lk_span *out);

/**
 * The credentials of an Authorization header, without "Basic " (RFC 7617; id and secret are
 * form-urlencoded before, RFC 6749 section 2.3.1).
 * @param room  at least as long as the text; id and secret point into it.
 */
LK_MUST_CHECK enum lk_err basic_parse(const char *text, struct lk_buf room, struct lk_span *id,
                                      struct lk_span *secret);

#endif
