/*
 * provisioning/init.h - `latchkeyd init`: everything a new installation needs, offline.
 */
#ifndef PROVISIONING_INIT_H
#define PROVISIONING_INIT_H

#include <latchkey/err.h>

struct init_options {
    const char *dir;
    const char *issuer; /* NULL: https://localhost:PORT */
    const char *listen; /* NULL: 127.0.0.1:8443 */
    const char *mqtt;   /* HOST:PORT of the broker for the desk; NULL: the desk stays off */
};

/** Says what it does on stdout, and why it cannot on stderr. Refuses to overwrite anything. */
LK_MUST_CHECK enum lk_err init_run(const struct init_options *options);

#endif
