#include "grants.h"

#include <string.h>

#include "compat.h"

/* FNV-1a. Shapes come from scopes an issuer signed: nobody can aim at a bucket. */
static uint32_t
hash_of(struct lk_span bytes)
{
    uint32_t hash = UINT32_C(2166136261);

    for (size_t i = 0; i < bytes.len; i++)
        hash = (hash ^ bytes.ptr[i]) * UINT32_C(16777619);
    return hash;
}

static struct shape *
shape_get(struct grants *grants, struct lk_span bytes)
{
    uint32_t hash = hash_of(bytes);
    struct shape **bucket = &grants->buckets[hash % GRANTS_BUCKETS];
    struct shape *shape;

    for (shape = *bucket; shape != NULL; shape = shape->next) {
        if (shape->hash == hash && lk_span_equal(lk_span_of(shape->bytes, shape->len), bytes)) {
            shape->refs++;
            return shape;
        }
    }
    shape = mosquitto_calloc(1, sizeof(*shape) + bytes.len);
    if (shape == NULL)
        return NULL;
    shape->hash = hash;
    shape->refs = 1;
    shape->len = bytes.len;
    if (bytes.len > 0)
        memcpy(shape->bytes, bytes.ptr, bytes.len);
    shape->next = *bucket;
    *bucket = shape;
    return shape;
}

enum lk_err
grants_compile(struct grants *grants, const struct lk_policy *policy,
               const struct lk_identity *identity, struct shape **shape, struct lk_span *values)
{
    struct lk_span bytes;
    enum lk_err err;

    *shape = NULL;
    *values = (struct lk_span){NULL, 0};
    err = lk_grant_compile(policy, identity, LK_BUF_OF(grants->shape_room), &bytes,
                           LK_BUF_OF(grants->values_room), values);
    if (err != LK_OK)
        return err;
    *shape = shape_get(grants, bytes);
    return *shape != NULL ? LK_OK : LK_ERR_NOMEM;
}

void
grants_put(struct grants *grants, struct shape *shape)
{
    struct shape **at;

    if (shape == NULL || --shape->refs > 0)
        return;
    at = &grants->buckets[shape->hash % GRANTS_BUCKETS];
    while (*at != shape)
        at = &(*at)->next;
    *at = shape->next;
    mosquitto_free(shape);
}
