/*
 * cnf_check.h - what a token's own checks ask of `cnf`; private to the token library.
 */
#ifndef LK_CNF_CHECK_H
#define LK_CNF_CHECK_H

#include <latchkey/claims.h>

/** Is there a symmetric key or a private part in a cnf of kind LK_CNF_KEY? */
bool lk_cnf_is_secret(const struct lk_claims *claims);

#endif
