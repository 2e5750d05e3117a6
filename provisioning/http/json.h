/*
 * provisioning/http/json.h - JSON bodies; the members see router.h.
 */
#ifndef PROVISIONING_JSON_H
#define PROVISIONING_JSON_H

#include "router.h"

/** Once, before anything else uses jansson: freed memory is wiped. */
void json_setup(void);

/** Read a body that must be an object. @return NULL, with a sentence for the client in `why`. */
json_t *json_body_read(struct lk_span text, const char **why);

#endif
