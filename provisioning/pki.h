/*
 * provisioning/pki.h - certificates for development: a CA, and servers on this machine.
 */
#ifndef PROVISIONING_PKI_H
#define PROVISIONING_PKI_H

#include <latchkey/err.h>

struct pki;

/** A new CA (P-256, ten years); its certificate and key (0600) go to the two files. */
LK_MUST_CHECK enum lk_err pki_new(const char *cert_path, const char *key_path, struct pki **out);
void pki_free(struct pki *pki); /* NULL is fine */

/** A server's certificate (P-256, two years) for localhost, 127.0.0.1, ::1 and `host`. */
LK_MUST_CHECK enum lk_err pki_issue(struct pki *pki, const char *name, const char *host,
                                    const char *cert_path, const char *key_path);

#endif
