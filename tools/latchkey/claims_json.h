/*
 * claims_json.h - CBOR claims as JSON, for people and scripts.
 */
#ifndef LATCHKEY_CLI_CLAIMS_JSON_H
#define LATCHKEY_CLI_CLAIMS_JSON_H

#include <jansson.h>

#include <latchkey/bytes.h>

/**
 * A CWT claims set as a JSON object. Registered labels get their names (RFC 8392 section 4,
 * RFC 8747 section 3.1), other labels their number as text; byte strings become base64url
 * (RFC 8949 section 6.1), numbers that JSON cannot hold exactly become floats, tags are dropped.
 * @return NULL if it is not one well-formed map.
 */
json_t *claims_from_cbor(struct lk_span payload);

/** A JSON object out of bytes: no member twice. @return NULL if it is not one. */
json_t *claims_from_json(struct lk_span payload);

/** Bytes as base64url. */
json_t *base64url_json(struct lk_span bytes);

/** Bytes as lower-case hex. */
json_t *hex_json(struct lk_span bytes);

#endif
