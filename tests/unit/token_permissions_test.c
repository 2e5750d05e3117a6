/*
 * From a token's claims to what it may do: AIF-MQTT, acl, publ and subs, and the tenant's tree.
 */
#include <stdio.h>
#include <string.h>

#include <latchkey/base64url.h>
#include <latchkey/grant.h>
#include <latchkey/json.h>

#include "cmocka_all.h"
#include "guard_span.h"
#include "hex.h"
#include "permissions.h"

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

static struct guard token_guard, room_guard;
static struct lk_policy policy;

/* Permissions as text: "ps a; p b/# retain=no qos<=1". */
static const char *
dump(const struct lk_identity *identity)
{
    static char text[8192];
    struct lk_permissions walk;
    struct lk_permission p;
    size_t len = 0;

    text[0] = '\0';
    lk_permissions_open(&walk, identity->permissions);
    while (lk_permissions_next(&walk, &p)) {
        len += (size_t)snprintf(text + len, sizeof(text) - len, "%s%s%s %.*s", len > 0 ? "; " : "",
                                p.publish ? "p" : "", p.subscribe ? "s" : "", (int)p.filter.len,
                                (const char *)p.filter.ptr);
        if (p.flags & LK_RULE_RETAIN_NO)
            len += (size_t)snprintf(text + len, sizeof(text) - len, " retain=no");
        if (p.qos_max < 2)
            len += (size_t)snprintf(text + len, sizeof(text) - len, " qos<=%d", p.qos_max);
    }
    assert_int_equal(lk_permissions_close(&walk), LK_OK);
    return text;
}

static void
use_policy(const char *text)
{
    assert_int_equal(lk_policy_parse(lk_span_text(text), &policy, NULL), LK_OK);
}

/* The identity of a JWT with these claims. Room ends at an unreadable page. */
static enum lk_err
identity_of_jwt(const char *json, const char *client_id, size_t cap, struct lk_identity *identity)
{
    static uint8_t claims_room[8192];
    static struct lk_claims claims;
    struct lk_buf room = {guard_room(&room_guard, cap), cap};
    struct lk_span text = guard_place(&token_guard, lk_span_text(json));

    assert_int_equal(lk_claims_read_jwt(text, LK_BUF_OF(claims_room), &claims), LK_OK);
    return lk_identity_from_claims(&policy, &claims, lk_span_text(client_id), room, identity);
}

static enum lk_err
identity_of_cwt(struct lk_span cbor, struct lk_identity *identity)
{
    static struct lk_claims claims;
    struct lk_buf room = {guard_room(&room_guard, LK_IDENTITY_ROOM), LK_IDENTITY_ROOM};

    assert_int_equal(lk_claims_read_cwt(guard_place(&token_guard, cbor), &claims), LK_OK);
    return lk_identity_from_claims(&policy, &claims, LK_SPAN("dev-1"), room, identity);
}

static void
check_jwt(const char *name, const char *json, const char *wanted, enum lk_err err)
{
    struct lk_identity identity;

    assert_err(name, identity_of_jwt(json, "dev-1", LK_IDENTITY_ROOM, &identity), err);
    if (err != LK_OK) {
        assert_null(identity.subject.ptr);
        assert_null(identity.permissions.ptr);
        return;
    }
    if (strcmp(dump(&identity), wanted) != 0)
        fail_msg("%s: got \"%s\", wanted \"%s\"", name, dump(&identity), wanted);
    if (wanted[0] == '\0')
        assert_null(identity.permissions.ptr);
}

/* AIF-MQTT */

struct aif_row {
    const char *name, *json, *wanted;
    enum lk_err err;
};

static const struct aif_row aif_rows[] = {
    {"the RFC's own",
     "[[\"topic1\",[\"pub\",\"sub\"]],[\"topic2/#\",[\"pub\"]],[\"+/topic3\",[\"sub\"]]]",
     "ps topic1; p topic2/#; s +/topic3", LK_OK},
    {"nothing", "[]", "", LK_OK},
    {"white space", " [ [ \"a\" , [ \"pub\" ] ] ] ", "p a", LK_OK},
    {"a filter twice", "[[\"a\",[\"pub\"]],[\"b\",[\"pub\"]],[\"a\",[\"sub\"]]]", "ps a; p b",
     LK_OK},
    {"a word twice", "[[\"a\",[\"pub\",\"pub\"]]]", "p a", LK_OK},
    {"an escaped filter", "[[\"\\u0061/\\u002b\",[\"sub\"]]]", "s a/+", LK_OK},
    {"no placeholders here", "[[\"${clientid}/%c\",[\"pub\"]]]", "", LK_ERR_SCOPE},
    {"a dollar further on", "[[\"a/$b\",[\"pub\"]]]", "p a/$b", LK_OK},
    {"the plugin's own topic", "[[\"authz-info\",[\"pub\"]],[\"a\",[\"pub\"]]]", "p a", LK_OK},
    {"all of it", "[[\"#\",[\"pub\",\"sub\"]]]", "ps #", LK_OK},
    {"an unknown word", "[[\"a\",[\"pub\"]],[\"b\",[\"pub\",\"del\"]]]", "", LK_ERR_SCOPE},
    {"a word in capitals", "[[\"a\",[\"PUB\"]]]", "", LK_ERR_SCOPE},
    {"no word", "[[\"a\",[]]]", "", LK_ERR_SCOPE},
    {"a word that is no text", "[[\"a\",[1]]]", "", LK_ERR_SCOPE},
    {"words that are no array", "[[\"a\",\"pub\"]]", "", LK_ERR_SCOPE},
    {"methods of AIF-REST", "[[\"a\",1]]", "", LK_ERR_SCOPE},
    {"one element", "[[\"a\"]]", "", LK_ERR_SCOPE},
    {"three elements", "[[\"a\",[\"pub\"],[\"sub\"]]]", "", LK_ERR_SCOPE},
    {"no pair", "[{\"a\":[\"pub\"]}]", "", LK_ERR_SCOPE},
    {"an empty pair", "[[]]", "", LK_ERR_SCOPE},
    {"a filter that is no text", "[[[\"a\"],[\"pub\"]]]", "", LK_ERR_SCOPE},
    {"an empty filter", "[[\"\",[\"pub\"]]]", "", LK_ERR_SCOPE},
    {"# in the middle", "[[\"a/#/b\",[\"sub\"]]]", "", LK_ERR_SCOPE},
    {"# behind text", "[[\"a#\",[\"sub\"]]]", "", LK_ERR_SCOPE},
    {"+ beside text", "[[\"a/+b\",[\"sub\"]]]", "", LK_ERR_SCOPE},
    {"the server's topics", "[[\"$SYS/#\",[\"sub\"]]]", "", LK_ERR_SCOPE},
    {"a dollar alone", "[[\"$\",[\"sub\"]]]", "", LK_ERR_SCOPE},
    {"a share group", "[[\"$share/g/a\",[\"sub\"]]]", "", LK_ERR_SCOPE},
    {"16 levels", "[[\"1/2/3/4/5/6/7/8/9/10/11/12/13/14/15/16\",[\"pub\"]]]",
     "p 1/2/3/4/5/6/7/8/9/10/11/12/13/14/15/16", LK_OK},
    {"17 levels", "[[\"1/2/3/4/5/6/7/8/9/10/11/12/13/14/15/16/17\",[\"pub\"]]]", "", LK_ERR_LIMIT},
};

static void
aif_in_a_jwt(void **state)
{
    (void)state;
    use_policy("");
    for (size_t i = 0; i < COUNT(aif_rows); i++) {
        const struct aif_row *row = &aif_rows[i];
        uint8_t base64_room[1024];
        struct lk_span base64;
        char json[2048];

        /* RFC 9431 section 3: base64url of the text. */
        assert_int_equal(
            lk_base64url_encode(lk_span_text(row->json), LK_BUF_OF(base64_room), &base64), LK_OK);
        snprintf(json, sizeof(json), "{\"sub\":\"dev-1\",\"scope\":\"%.*s\"}", (int)base64.len,
                 (const char *)base64.ptr);
        check_jwt(row->name, json, row->wanted, row->err);
        snprintf(json, sizeof(json), "{\"sub\":\"dev-1\",\"scope\":%s}", row->json);
        check_jwt(row->name, json, row->wanted, row->err);
    }
}

/* JSON text to CBOR, as far as AIF and acl need it. */
static void
transcode(struct lk_json *r, struct lk_cbor_out *w)
{
    struct lk_json count = *r;
    struct lk_span name, members;
    struct lk_cbor_out inner;
    uint8_t room[1024];
    size_t items = 0;

    switch (lk_json_peek(r)) {
    case LK_JSON_ARRAY:
        lk_json_enter_array(&count);
        for (; lk_json_next_item(&count); items++)
            lk_json_skip(&count);
        lk_cbor_write_array(w, items);
        lk_json_enter_array(r);
        while (lk_json_next_item(r))
            transcode(r, w);
        lk_json_leave_array(r);
        break;
    case LK_JSON_OBJECT:
        lk_cbor_write_open(&inner, LK_BUF_OF(room));
        lk_json_enter_object(r);
        for (; lk_json_next_member(r, &name); items++) {
            lk_cbor_write_text(&inner, name);
            transcode(r, &inner);
        }
        lk_json_leave_object(r);
        assert_int_equal(lk_cbor_write_close(&inner, &members), LK_OK);
        lk_cbor_write_map(w, items);
        lk_cbor_write_raw(w, members);
        break;
    case LK_JSON_STRING:
        lk_cbor_write_text(w, lk_json_string(r));
        break;
    case LK_JSON_NUMBER:
        lk_cbor_write_int(w, lk_json_int(r));
        break;
    case LK_JSON_BOOL:
        lk_cbor_write_bool(w, lk_json_bool(r));
        break;
    case LK_JSON_NULL:
        lk_json_null(r);
        lk_cbor_write_null(w);
        break;
    case LK_JSON_END:
        fail_msg("not JSON");
    }
}

static struct lk_span
cbor_of_json(const char *json, struct lk_buf room)
{
    char text[2048];
    struct lk_cbor_out w;
    struct lk_json r;
    struct lk_span out;

    snprintf(text, sizeof(text), "%s", json);
    lk_json_open(&r, (uint8_t *)text, strlen(text));
    lk_cbor_write_open(&w, room);
    transcode(&r, &w);
    assert_int_equal(lk_json_close(&r), LK_OK);
    assert_int_equal(lk_cbor_write_close(&w, &out), LK_OK);
    return out;
}

static void
aif_in_a_cwt(void **state)
{
    (void)state;
    use_policy("");
    for (size_t i = 0; i < 2 * COUNT(aif_rows); i++) {
        const struct aif_row *row = &aif_rows[i / 2];
        uint8_t scope_room[1024], room[2048];
        struct lk_span scope = cbor_of_json(row->json, LK_BUF_OF(scope_room)), cwt;
        struct lk_identity identity;
        struct lk_cbor_out w;

        lk_cbor_write_open(&w, LK_BUF_OF(room));
        lk_cbor_write_map(&w, 2);
        lk_cbor_write_uint(&w, 2);
        lk_cbor_write_text(&w, LK_SPAN("dev-1"));
        lk_cbor_write_uint(&w, 9);
        if (i % 2 == 0)
            lk_cbor_write_bytes(&w, scope);
        else
            lk_cbor_write_raw(&w, scope);
        assert_int_equal(lk_cbor_write_close(&w, &cwt), LK_OK);
        assert_err(row->name, identity_of_cwt(cwt, &identity), row->err);
        if (row->err == LK_OK && strcmp(dump(&identity), row->wanted) != 0)
            fail_msg("%s: got \"%s\"", row->name, dump(&identity));
    }
}

/* Scope as a byte string whose content is not one AIF array. */
static void
broken_encodings_have_their_own_error(void **state)
{
    static const struct {
        const char *name, *hex;
        enum lk_err err;
    } rows[] = {
        {"the specimen", "81 82 6161 81 63707562", LK_OK},
        {"empty", "", LK_ERR_TRUNCATED},
        {"cut off in a pair", "81 82 6174", LK_ERR_TRUNCATED},
        {"cut off in a word", "81 82 6161 81 637075", LK_ERR_TRUNCATED},
        {"another item behind", "81 82 6161 81 63707562 00", LK_ERR_TRAILING},
        {"indefinite length", "9f 82 6161 81 63707562 ff", LK_ERR_MALFORMED},
        {"a filter not UTF-8", "81 82 61ff 81 63707562", LK_ERR_UTF8},
        {"a NUL in a filter", "81 82 6100 81 63707562", LK_ERR_SCOPE},
        {"a filter of bytes", "81 82 4161 81 63707562", LK_ERR_SCOPE},
        {"a word of bytes", "81 82 6161 81 43707562", LK_ERR_SCOPE},
        {"a map", "a1 6161 81 63707562", LK_ERR_SCOPE},
        {"a text", "6161", LK_ERR_SCOPE},
        {"tagged", "c1 81 82 6161 81 63707562", LK_ERR_SCOPE},
    };

    (void)state;
    use_policy("");
    for (size_t i = 0; i < COUNT(rows); i++) {
        uint8_t hex_room[64], room[128];
        struct lk_identity identity;
        struct lk_cbor_out w;
        struct lk_span cwt;

        lk_cbor_write_open(&w, LK_BUF_OF(room));
        lk_cbor_write_map(&w, 1);
        lk_cbor_write_uint(&w, 9);
        lk_cbor_write_bytes(&w, hex_bytes(rows[i].hex, LK_BUF_OF(hex_room)));
        assert_int_equal(lk_cbor_write_close(&w, &cwt), LK_OK);
        assert_err(rows[i].name, identity_of_cwt(cwt, &identity), rows[i].err);
    }
}

static void
what_is_no_json_array_is_a_list_of_scopes(void **state)
{
    static const struct {
        const char *name, *scope;
    } rows[] = {
        {"scopes", "\"telemetry:send a:b\""},
        {"begins like an array: [w", "\"W3c\""},
        {"an object: {\"a\":[\"pub\"]}", "\"eyJhIjpbInB1YiJdfQ\""},
        {"an array cut off: [[\"a\"", "\"W1siYSI\""},
        {"padded", "\"W1siYSIsWyJwdWIiXV1d=\""},
        {"an array and another", "\"W11bXQ\""},
        {"base64url, and a space before it", "\" W1siYSIsWyJwdWIiXV1d\""},
        {"the encoded array beside a scope", "\"W1siYSIsWyJwdWIiXV1d a:b\""},
        {"empty", "\"\""},
    };

    (void)state;
    use_policy("");
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct lk_identity identity;
        char json[256];

        snprintf(json, sizeof(json), "{\"sub\":\"dev-1\",\"scope\":%s}", rows[i].scope);
        assert_err(rows[i].name, identity_of_jwt(json, "dev-1", LK_IDENTITY_ROOM, &identity),
                   LK_OK);
        assert_null(identity.permissions.ptr);
        assert_non_null(identity.scope.ptr);
    }
    /* an array of texts is neither: see lk_token_map_claims */
    check_jwt("array of scopes", "{\"sub\":\"dev-1\",\"scope\":[\"telemetry:send\",\"x\"]}", "",
              LK_OK);
}

static void
aif_leaves_no_scopes(void **state)
{
    struct lk_identity identity;

    (void)state;
    use_policy("");
    assert_int_equal(identity_of_jwt("{\"sub\":\"a\",\"scope\":\"W1siYSIsWyJwdWIiXV1d\"}", "dev-1",
                                     LK_IDENTITY_ROOM, &identity),
                     LK_OK);
    assert_string_equal(dump(&identity), "p a");
    assert_null(identity.scope.ptr);
}

/* acl */

static void
acl_is_read_as_emqx_writes_it(void **state)
{
#define ENTRY(p, a, t) "{\"permission\":\"" p "\",\"action\":\"" a "\",\"topic\":\"" t "\"}"
#define LIMITED(more)  "[{\"permission\":\"allow\",\"action\":\"all\",\"topic\":\"a\"," more "}]"
    static const struct {
        const char *name, *acl, *wanted;
        enum lk_err err;
    } rows[] = {
        {"one of each",
         "[" ENTRY("allow", "publish", "a") "," ENTRY("allow", "subscribe",
                                                      "b/#") "," ENTRY("allow", "all", "c/+") "]",
         "p a; s b/#; ps c/+", LK_OK},
        {"nothing", "[]", "", LK_OK},
        {"same topic, two actions",
         "[" ENTRY("allow", "publish", "a") "," ENTRY("allow", "subscribe", "a") "]", "ps a",
         LK_OK},
        {"placeholders",
         "[" ENTRY("allow", "publish", "d/${clientid}/x") "," ENTRY(
             "allow", "publish", "%c") "," ENTRY("allow", "publish",
                                                 "${username}/#") "," ENTRY("allow", "publish",
                                                                            "u/%u") "]",
         "p d/dev-1/x; p dev-1; p user/#; p u/user", LK_OK},
        {"a placeholder in a part of a level", "[" ENTRY("allow", "publish", "d-${clientid}") "]",
         "", LK_ERR_SCOPE},
        {"a placeholder we have not", "[" ENTRY("allow", "publish", "d/${peerhost}") "]", "",
         LK_ERR_SCOPE},
        {"one that is not closed", "[" ENTRY("allow", "publish", "d/${clientid") "]", "",
         LK_ERR_SCOPE},
        {"%c in a part of a level is text", "[" ENTRY("allow", "publish", "50%cotton") "]",
         "p 50%cotton", LK_OK},
        {"eq without wildcards", "[" ENTRY("allow", "publish", "eq a/b") "]", "p a/b", LK_OK},
        {"eq with a placeholder", "[" ENTRY("allow", "publish", "eq a/%c") "]", "p a/dev-1", LK_OK},
        {"eq with wildcards is of no use",
         "[" ENTRY("allow", "subscribe", "eq a/#") "," ENTRY("allow", "subscribe", "b") "]", "s b",
         LK_OK},
        {"eq and nothing", "[" ENTRY("allow", "publish", "eq ") "]", "", LK_ERR_SCOPE},
        {"denied first",
         "[" ENTRY("deny", "all", "a/b") "," ENTRY("allow", "all", "a/#") "," ENTRY("allow", "all",
                                                                                    "b") "]",
         "ps b", LK_OK},
        {"denied behind changes nothing",
         "[" ENTRY("allow", "all", "a/#") "," ENTRY("deny", "all", "#") "," ENTRY("allow", "all",
                                                                                  "b") "]",
         "ps a/#", LK_OK},
        {"denied for one action",
         "[" ENTRY("deny", "publish", "a/+") "," ENTRY("allow", "all", "a/b") "]", "s a/b", LK_OK},
        {"denied with a placeholder",
         "[" ENTRY("deny", "all", "d/%c") "," ENTRY("allow", "all", "d/dev-1") "," ENTRY(
             "allow", "all", "d/dev-2") "]",
         "ps d/dev-2", LK_OK},
        {"denied by eq", "[" ENTRY("deny", "all", "eq a/#") "," ENTRY("allow", "all", "a/#") "]",
         "", LK_OK},
        {"denied parent",
         "[" ENTRY("deny", "all", "a/#") "," ENTRY("allow", "all", "a") "," ENTRY("allow", "all",
                                                                                  "ab") "]",
         "ps ab", LK_OK},
        {"the server's topics denied",
         "[" ENTRY("deny", "all", "$SYS/#") "," ENTRY("allow", "all", "a") "]", "ps a", LK_OK},
        {"a share group denied",
         "[" ENTRY("deny", "all", "$share") "," ENTRY("allow", "all", "a") "]", "", LK_ERR_SCOPE},
        {"the server's topics allowed", "[" ENTRY("allow", "subscribe", "$SYS/#") "]", "",
         LK_ERR_SCOPE},
        {"a share group allowed", "[" ENTRY("allow", "subscribe", "$share/g/a") "]", "",
         LK_ERR_SCOPE},
        {"a bad filter denied", "[" ENTRY("deny", "all", "a/#/b") "]", "", LK_ERR_SCOPE},
        {"all QoS", LIMITED("\"qos\":[2,1,0]"), "ps a", LK_OK},
        {"QoS 0 as a number", LIMITED("\"qos\":0"), "ps a qos<=0", LK_OK},
        {"QoS 0 and 1", LIMITED("\"qos\":[0,1]"), "ps a qos<=1", LK_OK},
        {"QoS 0 and 2: 1 is not allowed", LIMITED("\"qos\":[0,2]"), "ps a qos<=0", LK_OK},
        {"QoS 1 only cannot be said", LIMITED("\"qos\":1"), "", LK_OK},
        {"no QoS", LIMITED("\"qos\":[]"), "", LK_OK},
        {"QoS 3", LIMITED("\"qos\":3"), "", LK_ERR_SCOPE},
        {"QoS -1", LIMITED("\"qos\":-1"), "", LK_ERR_SCOPE},
        {"QoS as text", LIMITED("\"qos\":\"1\""), "", LK_ERR_SCOPE},
        {"not retained", LIMITED("\"retain\":false"), "ps a retain=no", LK_OK},
        {"retained only cannot be said", LIMITED("\"retain\":true"), "s a", LK_OK},
        {"retained or not", LIMITED("\"retain\":\"all\""), "ps a", LK_OK},
        {"retain another word", LIMITED("\"retain\":\"no\""), "", LK_ERR_SCOPE},
        {"retain a number", LIMITED("\"retain\":1"), "", LK_ERR_SCOPE},
        {"retain null", LIMITED("\"retain\":null"), "", LK_ERR_SCOPE},
        {"a condition we do not know", LIMITED("\"ipaddr\":\"10.0.0.0/8\""), "", LK_ERR_SCOPE},
        {"another permission", "[" ENTRY("Allow", "publish", "a") "]", "", LK_ERR_SCOPE},
        {"another action", "[" ENTRY("allow", "pub", "a") "]", "", LK_ERR_SCOPE},
        {"no permission", "[{\"action\":\"all\",\"topic\":\"a\"}]", "", LK_ERR_SCOPE},
        {"no action", "[{\"permission\":\"allow\",\"topic\":\"a\"}]", "", LK_ERR_SCOPE},
        {"no topic", "[{\"permission\":\"allow\",\"action\":\"all\"}]", "", LK_ERR_SCOPE},
        {"a topic that is no text",
         "[{\"permission\":\"allow\",\"action\":\"all\",\"topic\":[\"a\"]}]", "", LK_ERR_SCOPE},
        {"an entry that is no object", "[\"a\"]", "", LK_ERR_SCOPE},
        {"no acl", "7", "", LK_ERR_SCOPE},
        {"old", "{\"pub\":[\"a\",\"b/%c\"],\"sub\":[\"c/#\"],\"all\":[\"${username}\"]}",
         "p a; p b/dev-1; s c/#; ps user", LK_OK},
        {"old and empty", "{}", "", LK_OK},
        {"old, another action", "{\"pub\":[\"a\"],\"publish\":[\"a\"]}", "", LK_ERR_SCOPE},
        {"old, no array", "{\"pub\":\"a\"}", "", LK_ERR_SCOPE},
        {"old, no text", "{\"pub\":[1]}", "", LK_ERR_SCOPE},
        {"old, the server's topics", "{\"sub\":[\"$SYS/#\"]}", "", LK_ERR_SCOPE},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        uint8_t acl_room[1024], room[1200];
        struct lk_identity identity;
        struct lk_cbor_out w;
        struct lk_span cwt;
        char json[1024];

        use_policy("token-rules acl");
        snprintf(json, sizeof(json), "{\"sub\":\"user\",\"acl\":%s}", rows[i].acl);
        check_jwt(rows[i].name, json, rows[i].wanted, rows[i].err);
        lk_cbor_write_open(&w, LK_BUF_OF(room));
        lk_cbor_write_map(&w, 2);
        lk_cbor_write_uint(&w, 2);
        lk_cbor_write_text(&w, LK_SPAN("user"));
        lk_cbor_write_text(&w, LK_SPAN("acl"));
        lk_cbor_write_raw(&w, cbor_of_json(rows[i].acl, LK_BUF_OF(acl_room)));
        assert_int_equal(lk_cbor_write_close(&w, &cwt), LK_OK);
        assert_err(rows[i].name, identity_of_cwt(cwt, &identity), rows[i].err);
        if (rows[i].err == LK_OK)
            assert_string_equal(dump(&identity), rows[i].wanted);
        /* and not looked at unless the scope map says so */
        use_policy("token-rules publ-subs");
        check_jwt(rows[i].name, json, "", LK_OK);
    }
}

static void
a_placeholder_without_a_value_voids_or_denies_more(void **state)
{
    static const char *const unusable[] = {NULL, "", "a/b", "+", "#", "$a", "a\x01"};
    static const char claims[] =
        "{\"sub\":\"user\",\"acl\":[" ENTRY("deny", "publish", "x/%c") "," ENTRY(
            "allow", "publish", "x/dev-2") "," ENTRY("allow", "publish",
                                                     "y/%c") "," ENTRY("allow", "publish",
                                                                       "z") "]}";
    static const char levels[] =
        "{\"sub\":\"user\",\"acl\":[" ENTRY("deny", "all", "x/%c/secret") "," ENTRY(
            "allow", "publish", "x/a/b/secret") "," ENTRY("allow", "subscribe",
                                                          "x/+/+/secret") "]}";
    struct lk_identity identity;

    (void)state;
    use_policy("token-rules acl");
    assert_int_equal(identity_of_jwt(claims, "dev-1", LK_IDENTITY_ROOM, &identity), LK_OK);
    assert_string_equal(dump(&identity), "p x/dev-2; p y/dev-1; p z");
    /* A client id of two levels: x/a/b/secret is denied. */
    assert_int_equal(identity_of_jwt(levels, "dev-1", LK_IDENTITY_ROOM, &identity), LK_OK);
    assert_string_equal(dump(&identity), "p x/a/b/secret; s x/+/+/secret");
    assert_int_equal(identity_of_jwt(levels, "a/b", LK_IDENTITY_ROOM, &identity), LK_OK);
    assert_string_equal(dump(&identity), "");
    for (size_t i = 0; i < COUNT(unusable); i++) {
        assert_int_equal(identity_of_jwt(claims, unusable[i], LK_IDENTITY_ROOM, &identity), LK_OK);
        assert_string_equal(dump(&identity), "p z");
    }
}

static void
publ_and_subs_are_filters(void **state)
{
    static const struct {
        const char *name, *claims, *wanted;
        enum lk_err err;
    } rows[] = {
        {"both", "\"publ\":[\"a\",\"b/+\"],\"subs\":[\"a\",\"#\"]", "ps a; p b/+; s #", LK_OK},
        {"one", "\"subs\":[\"a\"]", "s a", LK_OK},
        {"none", "\"publ\":[],\"subs\":[]", "", LK_OK},
        {"with AIF", "\"scope\":[[\"a\",[\"sub\"]]],\"publ\":[\"a\"]", "s a; p a", LK_OK},
        {"no placeholders", "\"publ\":[\"a/%c\"]", "p a/%c", LK_OK},
        {"no array", "\"publ\":\"a\"", "", LK_ERR_SCOPE},
        {"no text", "\"subs\":[\"a\",1]", "", LK_ERR_SCOPE},
        {"no filter", "\"subs\":[\"a/#/b\"]", "", LK_ERR_SCOPE},
        {"empty", "\"subs\":[\"\"]", "", LK_ERR_SCOPE},
        {"the server's topics", "\"subs\":[\"$SYS/#\"]", "", LK_ERR_SCOPE},
        {"a share group", "\"subs\":[\"$share/g/a\"]", "", LK_ERR_SCOPE},
        {"null", "\"subs\":null", "", LK_ERR_SCOPE},
        {"17 levels", "\"publ\":[\"1/2/3/4/5/6/7/8/9/10/11/12/13/14/15/16/17\"]", "", LK_ERR_LIMIT},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        char json[512];

        use_policy("token-rules publ-subs\ntoken-rules acl");
        snprintf(json, sizeof(json), "{\"sub\":\"dev-1\",%s}", rows[i].claims);
        check_jwt(rows[i].name, json, rows[i].wanted, rows[i].err);
        if (strstr(json, "scope") != NULL)
            continue;
        use_policy("token-rules acl");
        check_jwt(rows[i].name, json, "", LK_OK);
    }
}

static void
what_lies_in_the_tenants_tree_remains(void **state)
{
    static const struct {
        const char *tenant, *filter, *wanted;
    } rows[] = {
        {"acme", "t/acme/foo/#", "p foo/#"},
        {"acme", "t/acme/#", "p #"},
        {"acme", "#", "p #"},
        {"acme", "+/#", "p #"},
        {"acme", "+/+/x", "p x"},
        {"acme", "+/+/#", "p #"},
        {"acme", "t/+/#", "p #"},
        {"acme", "t/#", "p #"},
        {"acme", "t/+/+/x", "p +/x"},
        {"acme", "t/acme//x", "p /x"},
        {"acme", "devices/#", ""},
        {"acme", "t/other/#", ""},
        {"acme", "t/acme", ""},
        {"acme", "t/+", ""},
        {"acme", "t", ""},
        {"acme", "+", ""},
        {"acme", "t/acme/", ""},
        {"acme", "t/acmex/a", ""},
        {"acme", "T/acme/a", ""},
        {"acme", "t/acme/$SYS/x", ""},
        {"acme", "t/acme/authz-info", ""},
        {"acme", "t/acme/t/acme/a", "p t/acme/a"},
        {NULL, "t/acme/foo", ""},
        {NULL, "t/#", ""},
        {NULL, "t", ""},
        {NULL, "t/+/x", ""},
        {NULL, "+/acme/foo", "p +/acme/foo"},
        {NULL, "#", "p #"},
        {NULL, "tt/a", "p tt/a"},
        {NULL, "/t/a", "p /t/a"},
        {"*", "#", ""},
        {"*", "t/acme/a", ""},
        {"", "#", ""},
        {"Acme", "#", ""},
    };

    (void)state;
    use_policy("token-rules publ-subs");
    for (size_t i = 0; i < COUNT(rows); i++) {
        char json[512];

        snprintf(json, sizeof(json), "{\"sub\":\"dev-1\",%s%s%s\"scope\":[[\"%s\",[\"pub\"]]]}",
                 rows[i].tenant != NULL ? "\"tnt\":\"" : "",
                 rows[i].tenant != NULL ? rows[i].tenant : "", rows[i].tenant != NULL ? "\"," : "",
                 rows[i].filter);
        check_jwt(rows[i].filter, json, rows[i].wanted, LK_OK);
    }
    /* both trees are the desk's and the bridge's by scope; a token's own list is not for them */
    check_jwt("desk", "{\"sub\":\"desk\",\"tnt\":\"*\",\"scope\":\"desk:use\",\"publ\":[\"#\"]}",
              "", LK_OK);
}

static void
limits_and_room(void **state)
{
    static char json[8192];
    struct lk_identity identity;
    size_t least = 0;

    (void)state;
    use_policy("token-rules publ-subs\ntoken-rules acl");
    for (size_t entries = LK_PERMISSIONS_MAX; entries <= LK_PERMISSIONS_MAX + 1; entries++) {
        size_t len = (size_t)snprintf(json, sizeof(json), "{\"sub\":\"x\",\"publ\":[");

        for (size_t i = 0; i < entries; i++)
            len +=
                (size_t)snprintf(json + len, sizeof(json) - len, "%s\"%zu\"", i > 0 ? "," : "", i);
        snprintf(json + len, sizeof(json) - len, "]}");
        assert_int_equal(identity_of_jwt(json, "dev-1", LK_IDENTITY_ROOM, &identity),
                         entries <= LK_PERMISSIONS_MAX ? LK_OK : LK_ERR_LIMIT);
    }
    /* every size of room: it does, or it says so; never a byte more is touched */
    for (size_t cap = 0; cap < 256; cap++) {
        enum lk_err err = identity_of_jwt(
            "{\"sub\":\"x\",\"scope\":\"W1siYSIsWyJwdWIiXV1d\",\"acl\":{\"pub\":[\"%c/x\"]},"
            "\"subs\":[\"b\"]}",
            "dev-1", cap, &identity);

        assert_true(err == LK_OK || err == LK_ERR_NO_SPACE);
        if (err == LK_OK && least == 0)
            least = cap;
        assert_int_equal(err == LK_OK, least != 0 && cap >= least);
    }
    assert_true(least > 0);
}

/* A client id is nobody's choice but the client's: it must not make us store more and more. */
static void
filled_placeholders_are_limited(void **state)
{
    static char client_id[2000];
    struct lk_identity identity;

    (void)state;
    use_policy("token-rules acl");
    memset(client_id, 'c', sizeof(client_id) - 1);
    assert_int_equal(identity_of_jwt("{\"sub\":\"x\",\"acl\":{\"pub\":[\"1/%c\",\"2/%c\"]}}",
                                     client_id, LK_IDENTITY_ROOM, &identity),
                     LK_OK);
    assert_int_equal(
        identity_of_jwt("{\"sub\":\"x\",\"acl\":{\"pub\":[\"1/%c\",\"2/%c\",\"3/%c\"]}}", client_id,
                        LK_IDENTITY_ROOM, &identity),
        LK_ERR_LIMIT);
}

static void
stored_identities_carry_them(void **state)
{
    struct lk_identity identity, back;
    uint8_t room[8192], again[8192];
    struct lk_span out, out_again;

    (void)state;
    use_policy("");
    assert_int_equal(identity_of_jwt("{\"sub\":\"x\",\"scope\":\"W1siYSIsWyJwdWIiXV1d\"}", "dev-1",
                                     LK_IDENTITY_ROOM, &identity),
                     LK_OK);
    assert_int_equal(lk_identity_write(&identity, LK_BUF_OF(room), &out), LK_OK);
    assert_int_equal(lk_identity_read(out, &back), LK_OK);
    assert_string_equal(dump(&back), "p a");
    assert_int_equal(lk_identity_write(&back, LK_BUF_OF(again), &out_again), LK_OK);
    assert_true(lk_span_equal(out, out_again));
    /* as they were stored before there were permissions */
    identity.permissions = (struct lk_span){NULL, 0};
    assert_int_equal(lk_identity_write(&identity, LK_BUF_OF(room), &out), LK_OK);
    assert_int_equal(lk_identity_read(out, &back), LK_OK);
    assert_null(back.permissions.ptr);
    identity.permissions = lk_span_of(again, LK_PERMISSIONS_ROOM + 1);
    assert_int_equal(lk_identity_write(&identity, LK_BUF_OF(room), &out), LK_ERR_ARG);
}

/* What a token's own rule has to say about what it permits, and what it does not. */
static void
verdicts_are_explained(void **state)
{
    static const struct {
        struct lk_request request;
        const char *topic;
        enum lk_reason reason;
        int rule; /* the token's own, from 1; 0: none; -1: of the scope map */
        const char *filter, *detail;
    } rows[] = {
        {{.action = LK_ACTION_SUBSCRIBE}, "a/x", LK_REASON_OTHER_ACTION, 1, "a/#", ""},
        {{.action = LK_ACTION_SUBSCRIBE}, "b/#", LK_REASON_TOO_WIDE, 2, "b/+", ""},
        {{.action = LK_ACTION_SUBSCRIBE}, "#", LK_REASON_TOO_WIDE, 2, "b/+", ""},
        {{.action = LK_ACTION_SUBSCRIBE, .qos = 2}, "b/x", LK_REASON_OPTION, 2, "b/+", "qos<=N"},
        {{.action = LK_ACTION_PUBLISH, .retain = true}, "c", LK_REASON_OPTION, 3, "c", "retain=no"},
        {{.action = LK_ACTION_RECEIVE}, "c", LK_REASON_OTHER_ACTION, 3, "c", ""},
        {{.action = LK_ACTION_PUBLISH}, "nothing/near", LK_REASON_NO_RULE, 0, "", ""},
        {{.action = LK_ACTION_PUBLISH}, "t/acme/a/x", LK_REASON_OTHER_VALUE, 0, "", ""},
        {{.action = LK_ACTION_SUBSCRIBE}, "$SYS/#", LK_REASON_RESERVED, 0, "", ""},
        {{.action = LK_ACTION_PUBLISH}, "a/x", LK_REASON_ALLOWED, 1, "a/#", ""},
        {{.action = LK_ACTION_SUBSCRIBE, .qos = 1}, "b/+", LK_REASON_ALLOWED, 2, "b/+", ""},
        {{.action = LK_ACTION_RECEIVE}, "b/x", LK_REASON_ALLOWED, 2, "b/+", ""},
        {{.action = LK_ACTION_PUBLISH, .qos = 2}, "c", LK_REASON_ALLOWED, 3, "c", ""},
        /* the map's rule comes first where both come as near */
        {{.action = LK_ACTION_SUBSCRIBE}, "a/map", LK_REASON_OTHER_ACTION, -1, "", ""},
    };
    struct lk_identity identity;

    (void)state;
    use_policy("token-rules acl\nx:y publish a/map");
    assert_int_equal(identity_of_jwt("{\"sub\":\"user\",\"scope\":\"x:y\",\"acl\":[" ENTRY(
                                         "allow", "publish",
                                         "a/#") ",{\"permission\":\"allow\",\"action\":"
                                                "\"subscribe\",\"topic\":\"b/+\",\"qos\":"
                                                "[0,1]},{\"permission\":\"allow\",\"action\":"
                                                "\"publish\",\"topic\":\"c\",\"retain\":"
                                                "false}]}",
                                     "dev-1", LK_IDENTITY_ROOM, &identity),
                     LK_OK);
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct lk_request request = rows[i].request;
        struct lk_explanation e;
        int rule;

        request.topic = lk_span_text(rows[i].topic);
        assert_int_equal(lk_grant_explain(&policy, &identity, &request, &e), LK_OK);
        assert_int_equal(e.verdict.access == LK_ACCESS_ALLOW, e.reason == LK_REASON_ALLOWED);
        rule = !e.has_rule ? 0 : e.rule & LK_RULE_OF_TOKEN ? (e.rule & ~LK_RULE_OF_TOKEN) + 1 : -1;
        if (e.reason != rows[i].reason || rule != rows[i].rule ||
            !lk_span_is(e.filter, rows[i].filter) || !lk_span_is(e.detail, rows[i].detail))
            fail_msg("%s: %s, rule %d, %.*s", rows[i].topic, lk_reason_text(e.reason), rule,
                     (int)e.filter.len, (const char *)e.filter.ptr);
    }
}

/* A scope map that is read anew no longer wants what one before it wanted. */
static void
a_later_map_decides_which_count(void **state)
{
    struct lk_request request = {.topic = {NULL, 0}};
    static const struct {
        const char *map, *topic;
        enum lk_reason reason; /* why subscribing is denied; OTHER_ACTION: publishing is not */
    } rows[] = {
        {"token-rules acl\ntoken-rules publ-subs", "aif", LK_REASON_OTHER_ACTION},
        {"token-rules acl\ntoken-rules publ-subs", "acl", LK_REASON_OTHER_ACTION},
        {"token-rules acl\ntoken-rules publ-subs", "publ", LK_REASON_OTHER_ACTION},
        {"token-rules acl", "acl", LK_REASON_OTHER_ACTION},
        {"token-rules acl", "publ", LK_REASON_NO_RULE},
        {"token-rules publ-subs", "acl", LK_REASON_NO_RULE},
        {"token-rules publ-subs", "publ", LK_REASON_OTHER_ACTION},
        {"", "acl", LK_REASON_NO_RULE},
        {"", "aif", LK_REASON_OTHER_ACTION},
    };
    struct lk_identity identity;

    (void)state;
    use_policy("token-rules acl\ntoken-rules publ-subs");
    assert_int_equal(identity_of_jwt("{\"sub\":\"x\",\"scope\":[[\"aif\",[\"pub\"]]],\"acl\":{"
                                     "\"pub\":[\"acl\"]},\"publ\":[\"publ\"]}",
                                     "dev-1", LK_IDENTITY_ROOM, &identity),
                     LK_OK);
    assert_string_equal(dump(&identity), "p aif; p acl; p publ");
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct lk_explanation e;

        use_policy(rows[i].map);
        request.topic = lk_span_text(rows[i].topic);
        request.action = LK_ACTION_SUBSCRIBE;
        assert_int_equal(lk_grant_explain(&policy, &identity, &request, &e), LK_OK);
        assert_int_equal(e.reason, rows[i].reason);
        request.action = LK_ACTION_PUBLISH;
        assert_int_equal(lk_grant_explain(&policy, &identity, &request, &e), LK_OK);
        assert_int_equal(e.verdict.access == LK_ACCESS_ALLOW,
                         rows[i].reason == LK_REASON_OTHER_ACTION);
        if (e.verdict.access == LK_ACCESS_ALLOW)
            assert_true(lk_span_is(e.filter, rows[i].topic));
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(aif_in_a_jwt),
        cmocka_unit_test(aif_in_a_cwt),
        cmocka_unit_test(broken_encodings_have_their_own_error),
        cmocka_unit_test(what_is_no_json_array_is_a_list_of_scopes),
        cmocka_unit_test(aif_leaves_no_scopes),
        cmocka_unit_test(acl_is_read_as_emqx_writes_it),
        cmocka_unit_test(a_placeholder_without_a_value_voids_or_denies_more),
        cmocka_unit_test(publ_and_subs_are_filters),
        cmocka_unit_test(what_lies_in_the_tenants_tree_remains),
        cmocka_unit_test(limits_and_room),
        cmocka_unit_test(filled_placeholders_are_limited),
        cmocka_unit_test(stored_identities_carry_them),
        cmocka_unit_test(verdicts_are_explained),
        cmocka_unit_test(a_later_map_decides_which_count),
    };

    token_guard = guard_open(16384);
    room_guard = guard_open(LK_IDENTITY_ROOM);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
