/* What a grant is compiled from: collected from claims, stored, and read back. */
#include <latchkey/grant.h>

#include <string.h>

#include <latchkey/cbor.h>

#include "permissions.h"

/* Keys of the stored map. Byte strings throughout: what a client sent is stored as it came. */
enum identity_key {
    KEY_SUBJECT = 1,
    KEY_CLIENT_ID,
    KEY_TYPE,
    KEY_TENANT,
    KEY_SCOPE,
    KEY_CHILDREN,
    KEY_NAMED,
    KEY_PERMISSIONS
};

/* What a value took of the room, if it lies in it. */
static void
shrink_room(struct lk_buf *room, struct lk_span value)
{
    uintptr_t start = (uintptr_t)room->ptr;
    uintptr_t at = (uintptr_t)value.ptr;

    if (at >= start && at - start < room->cap) {
        size_t used = (size_t)(at - start) + value.len;

        room->ptr += used;
        room->cap -= used;
    }
}

static void
collect_named(const struct lk_policy *policy, const struct lk_claims *claims, struct lk_buf *room,
              struct lk_identity *identity)
{
    for (uint32_t i = 0; i < policy->name_count; i++) {
        struct lk_span name = lk_span_of(policy->text + policy->names[i].at, policy->names[i].len);
        struct lk_span value;

        if (!lk_claims_get_text(claims, name, *room, &value))
            continue;
        identity->named[identity->named_count].name = name;
        identity->named[identity->named_count].value = value;
        identity->named_count++;
        shrink_room(room, value);
    }
}

enum lk_err
lk_identity_from_claims(const struct lk_policy *policy, const struct lk_claims *claims,
                        struct lk_span client_id, struct lk_buf room, struct lk_identity *identity)
{
    bool is_aif;
    enum lk_err err;

    memset(identity, 0, sizeof(*identity));
    identity->subject = claims->subject;
    identity->client_id = client_id;
    identity->type = claims->type;
    identity->tenant = claims->tenant;
    identity->scope = claims->scope;
    identity->children_count = claims->children_count;
    memcpy(identity->children, claims->children, sizeof(identity->children));
    collect_named(policy, claims, &room, identity);
    err =
        lk_permissions_from_claims(policy, claims, identity, room, &identity->permissions, &is_aif);
    if (is_aif)
        identity->scope = (struct lk_span){NULL, 0};
    if (err != LK_OK)
        memset(identity, 0, sizeof(*identity));
    return err;
}

static size_t
count_pairs(const struct lk_identity *identity)
{
    return (size_t)(identity->subject.ptr != NULL) + (identity->client_id.ptr != NULL) +
           (identity->type.ptr != NULL) + (identity->tenant.ptr != NULL) +
           (identity->scope.ptr != NULL) + (identity->children_count > 0) +
           (identity->named_count > 0) + (identity->permissions.ptr != NULL);
}

static void
write_bytes(struct lk_cbor_out *w, enum identity_key key, struct lk_span value)
{
    if (value.ptr == NULL)
        return;
    lk_cbor_write_uint(w, (uint64_t)key);
    lk_cbor_write_bytes(w, value);
}

/* RFC 8949 section 4.2.1: keys in the order of their encoded bytes, so the shorter first. */
static bool
stands_before(struct lk_span a, struct lk_span b)
{
    if (a.len != b.len)
        return a.len < b.len;
    return a.len > 0 && memcmp(a.ptr, b.ptr, a.len) < 0;
}

static void
write_named(struct lk_cbor_out *w, const struct lk_identity *identity)
{
    size_t order[LK_NAMED_MAX];

    for (size_t i = 0; i < identity->named_count; i++) {
        size_t to = i;

        for (;
             to > 0 && stands_before(identity->named[i].name, identity->named[order[to - 1]].name);
             to--)
            order[to] = order[to - 1];
        order[to] = i;
    }
    lk_cbor_write_map(w, identity->named_count);
    for (size_t i = 0; i < identity->named_count; i++) {
        lk_cbor_write_bytes(w, identity->named[order[i]].name);
        lk_cbor_write_bytes(w, identity->named[order[i]].value);
    }
}

enum lk_err
lk_identity_write(const struct lk_identity *identity, struct lk_buf room, struct lk_span *out)
{
    struct lk_cbor_out w;

    *out = (struct lk_span){NULL, 0};
    if (identity->children_count > LK_CHILDREN_MAX || identity->named_count > LK_NAMED_MAX ||
        identity->permissions.len > LK_PERMISSIONS_ROOM)
        return LK_ERR_ARG;
    lk_cbor_write_open(&w, room);
    lk_cbor_write_map(&w, count_pairs(identity));
    write_bytes(&w, KEY_SUBJECT, identity->subject);
    write_bytes(&w, KEY_CLIENT_ID, identity->client_id);
    write_bytes(&w, KEY_TYPE, identity->type);
    write_bytes(&w, KEY_TENANT, identity->tenant);
    write_bytes(&w, KEY_SCOPE, identity->scope);
    if (identity->children_count > 0) {
        lk_cbor_write_uint(&w, KEY_CHILDREN);
        lk_cbor_write_array(&w, identity->children_count);
        for (size_t i = 0; i < identity->children_count; i++)
            lk_cbor_write_bytes(&w, identity->children[i]);
    }
    if (identity->named_count > 0) {
        lk_cbor_write_uint(&w, KEY_NAMED);
        write_named(&w, identity);
    }
    write_bytes(&w, KEY_PERMISSIONS, identity->permissions);
    return lk_cbor_write_close(&w, out);
}

static enum lk_err
read_children(struct lk_cbor *r, struct lk_identity *identity)
{
    if (!lk_cbor_map_find(r, KEY_CHILDREN))
        return LK_OK;
    if (lk_cbor_enter_array(r) > LK_CHILDREN_MAX)
        return LK_ERR_LIMIT;
    while (r->err == LK_OK && lk_cbor_peek(r) != LK_CBOR_END)
        identity->children[identity->children_count++] = lk_cbor_bytes(r);
    lk_cbor_leave_array(r);
    return LK_OK;
}

static enum lk_err
read_named(struct lk_cbor *r, struct lk_identity *identity)
{
    if (!lk_cbor_map_find(r, KEY_NAMED))
        return LK_OK;
    if (lk_cbor_enter_map(r) > LK_NAMED_MAX)
        return LK_ERR_LIMIT;
    while (r->err == LK_OK && lk_cbor_peek(r) != LK_CBOR_END) {
        identity->named[identity->named_count].name = lk_cbor_bytes(r);
        identity->named[identity->named_count].value = lk_cbor_bytes(r);
        identity->named_count++;
    }
    lk_cbor_leave_map(r);
    return LK_OK;
}

static enum lk_err
read_identity(struct lk_span in, struct lk_identity *identity)
{
    enum lk_err err;
    struct lk_cbor r;

    lk_cbor_open(&r, in);
    lk_cbor_enter_map(&r);
    identity->subject = lk_cbor_map_bytes(&r, KEY_SUBJECT);
    identity->client_id = lk_cbor_map_bytes(&r, KEY_CLIENT_ID);
    identity->type = lk_cbor_map_bytes(&r, KEY_TYPE);
    identity->tenant = lk_cbor_map_bytes(&r, KEY_TENANT);
    identity->scope = lk_cbor_map_bytes(&r, KEY_SCOPE);
    err = read_children(&r, identity);
    if (err == LK_OK)
        err = read_named(&r, identity);
    identity->permissions = lk_cbor_map_bytes(&r, KEY_PERMISSIONS);
    if (err != LK_OK)
        return err;
    lk_cbor_leave_map(&r);
    return lk_cbor_close(&r);
}

enum lk_err
lk_identity_read(struct lk_span in, struct lk_identity *identity)
{
    enum lk_err err;

    memset(identity, 0, sizeof(*identity));
    err = read_identity(in, identity);
    if (err != LK_OK)
        memset(identity, 0, sizeof(*identity));
    return err;
}
