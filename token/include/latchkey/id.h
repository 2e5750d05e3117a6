/*
 * latchkey/id.h - ids of devices and clients (contracts section 3).
 *
 * `name` is 1-64 of [A-Za-z0-9._-], first a letter or digit. Outside the default tenant an id is
 * `<tenant>~<name>`; `~` stands nowhere else; tenant is [a-z0-9-]{1,32}.
 */
#ifndef LATCHKEY_ID_H
#define LATCHKEY_ID_H

#include <latchkey/bytes.h>

bool lk_id_is_valid(struct lk_span id);

/** A tenant's name: [a-z0-9-]{1,32}. The default tenant has none. */
bool lk_tenant_is_valid(struct lk_span tenant);

/** May an MQTT client with this id use a token of this subject: the subject, or subject ":" suffix.
 */
bool lk_id_owns_client_id(struct lk_span subject, struct lk_span client_id);

#endif
