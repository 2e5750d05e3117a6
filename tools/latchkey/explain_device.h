/*
 * explain_device.h - what the server knows about a device that is refused something: its type and
 * scopes, the brokers' last refusals, and whether the clocks agree.
 */
#ifndef LATCHKEY_CLI_EXPLAIN_DEVICE_H
#define LATCHKEY_CLI_EXPLAIN_DEVICE_H

#include <latchkey/claims.h>

#include "cli.h"

struct explained {
    json_t *device;           /* as the server has it */
    json_t *denials;          /* array, newest first; NULL: the server keeps none */
    int64_t server_s, here_s; /* at the same moment; 0: the server did not say */
    char scope[LK_SCOPE_MAX];
};

/** Ask the server. @return an exit code; on any but CLI_DONE it has been said why. */
int explained_fetch(const struct cli *cli, const char *id, struct explained *x);
void explained_free(struct explained *x);

/** What a token for this device would say. Spans point into `x`. */
int explained_claims(const struct cli *cli, const struct explained *x, struct lk_claims *claims);

/** In words, on stdout. */
void explained_print(const struct explained *x);

/** The same as members of an object: device, denials, clock_ahead_s, hints. */
void explained_add(const struct explained *x, json_t *answer);

#endif
