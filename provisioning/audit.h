/*
 * provisioning/audit.h - who did what, to what, from where, and how it ended: to the log, and to
 * the append-only table. Never a secret.
 */
#ifndef PROVISIONING_AUDIT_H
#define PROVISIONING_AUDIT_H

#include "http/router.h"

/** Fill in from a call. `who` absent: the caller, or "-". */
void audit_of(const struct http_call *call, const char *what, struct lk_span who,
              struct lk_span target, const char *result, struct store_audit *audit);

/** One line in the log. */
void audit_log(const struct store_audit *audit);

/** Log, and write when the store has time: for refusals, which change nothing. */
void audit_spare(struct service *service, const struct store_audit *audit);

#endif
