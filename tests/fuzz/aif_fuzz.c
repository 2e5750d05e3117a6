/*
 * What a token lists itself: AIF-MQTT, acl, publ and subs. The first byte chooses tenant and
 * notation, the rest is the value. Whatever comes of it is a filter one may use, never the
 * server's, never authz-info, and grants nothing outside the tenant; what was read as AIF can be
 * written and read again.
 */
#include "fuzz.h"

#include <latchkey/aif.h>
#include <latchkey/base64url.h>
#include <latchkey/grant.h>
#include <latchkey/json.h>
#include <latchkey/topic.h>

#include "permissions.h"

#define VALUE_MAX 6000 /* bytes; a longer token there is not */

#define CHOOSE_CBOR   0x01
#define CHOOSE_TENANT 0x02
#define CHOOSE_CLAIM  0x0c /* scope, acl, publ, subs */
#define CHOOSE_BASE64 0x10

static const char *const claim_names[] = {"scope", "acl", "publ", "subs"};
static const struct lk_policy policy = {.token_rules =
                                            LK_TOKEN_RULES_ACL | LK_TOKEN_RULES_PUBL_SUBS};

static uint8_t payload_room[2 * VALUE_MAX + 64], claims_room[2 * VALUE_MAX + 64];
static uint8_t room[LK_IDENTITY_ROOM], again_room[LK_IDENTITY_ROOM];

static bool
is_inside(struct lk_span part, struct lk_span whole)
{
    return part.ptr >= whole.ptr && part.ptr + part.len <= whole.ptr + whole.len;
}

static struct lk_span
cwt_of(const char *name, struct lk_span value, bool has_tenant, bool as_bytes)
{
    struct lk_cbor_out w;
    struct lk_span out;

    lk_cbor_write_open(&w, LK_BUF_OF(payload_room));
    lk_cbor_write_map(&w, has_tenant ? 3 : 2);
    lk_cbor_write_uint(&w, 2);
    lk_cbor_write_text(&w, LK_SPAN("dev-1"));
    if (has_tenant) {
        lk_cbor_write_text(&w, LK_SPAN("tnt"));
        lk_cbor_write_text(&w, LK_SPAN("acme"));
    }
    if (strcmp(name, "scope") == 0)
        lk_cbor_write_uint(&w, 9);
    else
        lk_cbor_write_text(&w, lk_span_text(name));
    if (as_bytes)
        lk_cbor_write_bytes(&w, value);
    else
        lk_cbor_write_raw(&w, value);
    PROMISE(lk_cbor_write_close(&w, &out) == LK_OK);
    return out;
}

static struct lk_span
jwt_of(const char *name, struct lk_span value, bool has_tenant, bool as_base64)
{
    struct lk_json_out w;
    struct lk_span out;

    lk_json_write_open(&w, LK_BUF_OF(payload_room));
    lk_json_write_object(&w);
    lk_json_write_name(&w, "sub");
    lk_json_write_string(&w, LK_SPAN("dev-1"));
    if (has_tenant) {
        lk_json_write_name(&w, "tnt");
        lk_json_write_string(&w, LK_SPAN("acme"));
    }
    lk_json_write_name(&w, name);
    if (as_base64)
        lk_json_write_base64url(&w, value);
    else
        lk_json_write_raw(&w, value);
    lk_json_write_object_end(&w);
    PROMISE(lk_json_write_close(&w, &out) == LK_OK);
    return out;
}

static void
check_permissions(const struct lk_identity *identity)
{
    struct lk_permissions walk;
    struct lk_permission p;
    size_t count = 0;

    PROMISE(identity->permissions.ptr == NULL ||
            is_inside(identity->permissions, lk_span_of(room, sizeof(room))));
    lk_permissions_open(&walk, identity->permissions);
    for (; lk_permissions_next(&walk, &p); count++) {
        PROMISE(is_inside(p.filter, identity->permissions));
        PROMISE(lk_filter_is_valid(p.filter) && p.filter.ptr[0] != '$');
        PROMISE(!lk_span_is(p.filter, "authz-info") && !lk_span_is(p.filter, "authz-info/#"));
        PROMISE(p.publish || p.subscribe);
        PROMISE(p.qos_max <= 2 && (p.flags & ~LK_RULE_RETAIN_NO) == 0);
        /* by name nobody of the default tenant is in another's tree */
        PROMISE(identity->tenant.ptr != NULL || p.filter.ptr[0] != 't' ||
                (p.filter.len > 1 && p.filter.ptr[1] != '/'));
    }
    PROMISE(lk_permissions_close(&walk) == LK_OK);
    PROMISE((count == 0) == (identity->permissions.ptr == NULL));
}

/* What is stored can be compiled, and then permits each filter it holds. */
static void
check_grant(const struct lk_identity *identity)
{
    static uint8_t shape_room[LK_GRANT_MAX], values_room[LK_VALUES_MAX];
    static char whole[LK_PERMISSIONS_ROOM + LK_TENANT_MAX + 8];
    struct lk_permissions walk;
    struct lk_permission p;
    struct lk_grant grant;
    enum lk_err err = lk_grant_compile(&policy, identity, LK_BUF_OF(shape_room), &grant.shape,
                                       LK_BUF_OF(values_room), &grant.values);

    PROMISE(err == LK_OK || err == LK_ERR_LIMIT);
    lk_permissions_open(&walk, identity->permissions);
    while (err == LK_OK && lk_permissions_next(&walk, &p)) {
        struct lk_request request = {.action = LK_ACTION_SUBSCRIBE, .topic = p.filter};
        struct lk_verdict verdict;
        size_t head = 0;

        if (identity->tenant.ptr != NULL) {
            head = (size_t)snprintf(whole, sizeof(whole), "t/%.*s/", (int)identity->tenant.len,
                                    (const char *)identity->tenant.ptr);
            memcpy(whole + head, p.filter.ptr, p.filter.len);
            request.topic = lk_span_of(whole, head + p.filter.len);
        }
        verdict = lk_grant_check(&grant, &request);
        PROMISE(!p.subscribe || verdict.access == LK_ACCESS_ALLOW);
        PROMISE(verdict.access == LK_ACCESS_DENY || (verdict.rule & LK_RULE_OF_TOKEN));
    }
}

/* In the tenant's tree a topic is permitted only if what the token wrote matches it there. */
static void
check_against_aif(const struct lk_aif *aif, const struct lk_identity *identity)
{
    static char whole[LK_PERMISSIONS_ROOM + LK_TENANT_MAX + 8];
    struct lk_span tenant = identity->tenant;
    struct lk_permissions walk;
    struct lk_permission p;
    size_t head = 0;

    if (tenant.ptr != NULL && identity->permissions.ptr != NULL)
        head = (size_t)snprintf(whole, sizeof(whole), "t/%.*s/", (int)tenant.len,
                                (const char *)tenant.ptr);
    PROMISE(head <= LK_TENANT_MAX + 3);
    lk_permissions_open(&walk, identity->permissions);
    while (lk_permissions_next(&walk, &p)) {
        bool is_covered = false;

        memcpy(whole + head, p.filter.ptr, p.filter.len);
        for (size_t i = 0; i < aif->count; i++)
            is_covered = is_covered || lk_filter_covers(aif->entry[i].target,
                                                        lk_span_of(whole, head + p.filter.len));
        PROMISE(is_covered);
    }
    PROMISE(lk_permissions_close(&walk) == LK_OK);
}

static void
check_aif(const struct lk_claims *claims, const struct lk_identity *identity)
{
    static uint8_t out_room[4 * VALUE_MAX];
    struct lk_buf rest = LK_BUF_OF(again_room);
    struct lk_aif aif, back;
    struct lk_span out;
    bool found;

    PROMISE(lk_aif_from_claims(claims, &rest, &aif, &found) == LK_OK);
    if (!found)
        return;
    PROMISE(identity->scope.ptr == NULL);
    check_against_aif(&aif, identity);
    for (int format = LK_FORMAT_JWT; format <= LK_FORMAT_CWT; format++) {
        static uint8_t back_room[4 * VALUE_MAX];

        PROMISE(lk_aif_write(&aif, (enum lk_format)format, LK_BUF_OF(out_room), &out) == LK_OK);
        PROMISE(lk_aif_read(LK_AIF_MQTT, (enum lk_format)format, out, LK_BUF_OF(back_room),
                            &back) == LK_OK);
        PROMISE(back.count == aif.count);
        for (size_t i = 0; i < aif.count; i++)
            PROMISE(lk_span_equal(back.entry[i].target, aif.entry[i].target) &&
                    back.entry[i].permissions == aif.entry[i].permissions);
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct lk_claims claims;
    struct lk_identity identity;
    struct lk_span value, payload;
    const char *name;
    enum lk_err err;

    if (size < 1 || size > VALUE_MAX)
        return 0;
    value = lk_span_of(data + 1, size - 1);
    name = claim_names[(data[0] & CHOOSE_CLAIM) >> 2];
    if (data[0] & CHOOSE_CBOR) {
        payload = cwt_of(name, value, data[0] & CHOOSE_TENANT, data[0] & CHOOSE_BASE64);
        err = lk_claims_read_cwt(payload, &claims);
    } else {
        payload = jwt_of(name, value, data[0] & CHOOSE_TENANT, data[0] & CHOOSE_BASE64);
        err = lk_claims_read_jwt(payload, LK_BUF_OF(claims_room), &claims);
    }
    if (err != LK_OK)
        return 0;
    err = lk_identity_from_claims(&policy, &claims, LK_SPAN("dev-1:x"), LK_BUF_OF(room), &identity);
    PROMISE(err != LK_ERR_NO_SPACE);
    if (err != LK_OK) {
        PROMISE(identity.permissions.ptr == NULL && identity.subject.ptr == NULL);
        return 0;
    }
    check_permissions(&identity);
    check_grant(&identity);
    /* the value may bring further members with it */
    if (policy.token_rules != 0 && strcmp(name, "scope") == 0 &&
        !lk_claims_get_raw(&claims, LK_SPAN("acl"), &value) &&
        !lk_claims_get_raw(&claims, LK_SPAN("publ"), &value) &&
        !lk_claims_get_raw(&claims, LK_SPAN("subs"), &value))
        check_aif(&claims, &identity);
    return 0;
}
