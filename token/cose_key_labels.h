/*
 * cose_key_labels.h - numbers in a COSE_Key; private to the token library.
 */
#ifndef LK_COSE_KEY_LABELS_H
#define LK_COSE_KEY_LABELS_H

#include <latchkey/cbor.h>

/* RFC 9052 section 7.1 */
#define KEY_KTY 1
#define KEY_KID 2
#define KEY_ALG 3
#define KEY_OPS 4

/* Labels below zero belong to the kind: RFC 9053 section 7, RFC 8230 section 4. */
#define KEY_CRV   (-1)
#define KEY_X     (-2)
#define KEY_Y     (-3)
#define KEY_D     (-4)
#define KEY_K     (-1)
#define KEY_RSA_N (-1)
#define KEY_RSA_E (-2)
#define KEY_RSA_D (-3)

#define KTY_OKP     1
#define KTY_EC2     2
#define KTY_RSA     3
#define KTY_OCT     4
#define CRV_P256    1
#define CRV_ED25519 6

/* Members of key_ops */
#define OP_VERIFY  2
#define OP_DECRYPT 4
#define OP_DERIVE  7
#define OP_MAC     10

/** Does `key_ops` of the map that was entered, if it is there, have what we would do? */
bool lk_cose_key_permits(struct lk_cbor *r, int64_t wanted);

#endif
