/*
 * provisioning/http/problem.h - application/problem+json (RFC 9457).
 */
#ifndef PROVISIONING_PROBLEM_H
#define PROVISIONING_PROBLEM_H

#include "router.h"

/** The reason phrase of an error (RFC 9110; evhttp does not know all). */
const char *status_title(unsigned status);

/** The object, with all members but `errors`. */
json_t *problem_json(const struct http_call *call, unsigned status, const char *code,
                     const char *detail, unsigned retry_after_s);

/** Answer with a problem; `errors` (may be NULL) is taken over. */
void problem_send(struct http_call *call, unsigned status, const char *code, const char *detail,
                  json_t *errors);

#endif
