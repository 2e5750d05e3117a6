/*
 * cwt_labels.h - numbers of claims and of confirmation methods; private to the token library.
 */
#ifndef LK_CWT_LABELS_H
#define LK_CWT_LABELS_H

/* RFC 8392 section 4, RFC 8747 section 7.1, RFC 9200 section 8.14 */
#define CWT_ISS   1
#define CWT_SUB   2
#define CWT_AUD   3
#define CWT_EXP   4
#define CWT_NBF   5
#define CWT_IAT   6
#define CWT_CTI   7
#define CWT_CNF   8
#define CWT_SCOPE 9

/* RFC 8747 section 3.1, RFC 9203 section 3.2, RFC 9679 section 5.6 */
#define CNF_COSE_KEY  1
#define CNF_ENCRYPTED 2
#define CNF_KID       3
#define CNF_OSC       4
#define CNF_CKT       5

#endif
