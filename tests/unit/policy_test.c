#include <stdio.h>
#include <string.h>

#include <latchkey/policy.h>

#include "cmocka_all.h"
#include "guard_span.h"

static struct lk_policy policy;

static bool
is_zeroed(const struct lk_policy *p)
{
    const uint8_t *bytes = (const uint8_t *)p;

    for (size_t i = 0; i < sizeof(*p); i++) {
        if (bytes[i] != 0)
            return false;
    }
    return true;
}

static struct lk_span
scope_of(const struct lk_rule *rule)
{
    return lk_span_of(policy.text + rule->scope_at, rule->scope_len);
}

static bool
level_is(const struct lk_level *level, const char *text)
{
    return level->kind == LK_LEVEL_TEXT &&
           lk_span_is(lk_span_of(policy.text + level->text_at, level->text_len), text);
}

static void
every_part_of_a_rule_is_read(void **state)
{
    static const char text[] =
        "\n"
        "# a comment\n"
        "\t # another\n"
        "a:b publish x/{device}//+/#   retain=no size<=512 rate<=10/s qos<=1 # and one more\n"
        "a:b\tsubscribe\t#\tshare=no\tqos<=0\r\n"
        "c:d both {client}/{tenant}/{type}/{children}/{claim.site}/%c/%u/${clientid}/${username}\n"
        "c#d both {claim.site}/{claim.org-unit} retain=no share=no";
    const struct lk_rule *r = policy.rules;
    static const uint8_t kinds[] = {LK_LEVEL_CLIENT,   LK_LEVEL_TENANT, LK_LEVEL_TYPE,
                                    LK_LEVEL_CHILDREN, LK_LEVEL_CLAIM,  LK_LEVEL_CLIENT,
                                    LK_LEVEL_DEVICE,   LK_LEVEL_CLIENT, LK_LEVEL_DEVICE};

    (void)state;
    assert_int_equal(lk_policy_parse(lk_span_text(text), &policy, NULL), LK_OK);
    assert_int_equal(policy.rule_count, 4);

    assert_true(lk_span_is(scope_of(&r[0]), "a:b"));
    assert_int_equal(r[0].line, 4);
    assert_true(r[0].publish && !r[0].subscribe);
    assert_int_equal(r[0].flags, LK_RULE_RETAIN_NO);
    assert_int_equal(r[0].size_max, 512);
    assert_int_equal(r[0].rate_max, 10);
    assert_int_equal(r[0].qos_max, 1);
    assert_int_equal(r[0].level_count, 5);
    assert_true(level_is(&r[0].level[0], "x"));
    assert_int_equal(r[0].level[1].kind, LK_LEVEL_DEVICE);
    assert_true(level_is(&r[0].level[2], ""));
    assert_int_equal(r[0].level[3].kind, LK_LEVEL_PLUS);
    assert_int_equal(r[0].level[4].kind, LK_LEVEL_HASH);

    assert_int_equal(r[1].line, 5);
    assert_true(!r[1].publish && r[1].subscribe);
    assert_int_equal(r[1].flags, LK_RULE_SHARE_NO);
    assert_int_equal(r[1].qos_max, 0);
    assert_int_equal(r[1].size_max, UINT32_MAX);
    assert_int_equal(r[1].rate_max, 0);
    assert_int_equal(r[1].level_count, 1);
    assert_int_equal(r[1].level[0].kind, LK_LEVEL_HASH);

    assert_true(r[2].publish && r[2].subscribe);
    assert_int_equal(r[2].qos_max, 2);
    assert_int_equal(r[2].level_count, 9);
    for (size_t i = 0; i < sizeof(kinds); i++)
        assert_int_equal(r[2].level[i].kind, kinds[i]);

    assert_true(lk_span_is(scope_of(&r[3]), "c#d"));
    assert_int_equal(r[3].flags, LK_RULE_RETAIN_NO | LK_RULE_SHARE_NO);
    assert_int_equal(policy.name_count, 2);
    assert_int_equal(r[3].level[0].name, 0);
    assert_int_equal(r[3].level[1].name, 1);
    assert_true(
        lk_span_is(lk_span_of(policy.text + policy.names[1].at, policy.names[1].len), "org-unit"));
}

static void
token_rules_are_asked_for(void **state)
{
    static const struct {
        const char *text;
        uint32_t token_rules, rules;
    } rows[] = {
        {"a:b publish x", 0, 1},
        {"token-rules acl", LK_TOKEN_RULES_ACL, 0},
        {"token-rules publ-subs\na:b publish x", LK_TOKEN_RULES_PUBL_SUBS, 1},
        {"token-rules acl\r\n token-rules publ-subs\ntoken-rules acl",
         LK_TOKEN_RULES_ACL | LK_TOKEN_RULES_PUBL_SUBS, 0},
        {"token-rules publish acl", 0, 1},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        assert_int_equal(lk_policy_parse(lk_span_text(rows[i].text), &policy, NULL), LK_OK);
        assert_int_equal(policy.token_rules, rows[i].token_rules);
        assert_int_equal(policy.rule_count, rows[i].rules);
    }
}

/* One good line, then each part of it broken. */
static void
errors_have_a_place_and_a_sentence(void **state)
{
    static const struct {
        const char *name, *text;
        uint32_t line, column; /* 0: nothing is wrong */
        const char *expected;  /* how the sentence begins */
    } rows[] = {
        {"specimen", "a:b publish x/{device}/# retain=no", 0, 0, ""},
        {"empty file", "", 0, 0, ""},
        {"only comments", "# x\n  # y", 0, 0, ""},
        {"CRLF", "a:b publish x\r\nc:d subscribe y\r\n", 0, 0, ""},
        {"byte order mark",
         "\xef\xbb\xbf"
         "a:b publish x",
         0, 0, ""},
        {"claims of every letter", "a:b publish {claim.azAZ09._-:}/x", 0, 0, ""},
        {"four bytes a character", "a:b publish \xf0\x9f\x8c\xa1/x", 0, 0, ""},
        {"unknown scope", "never:heard-of publish x", 0, 0, ""},
        {"percent without c or u", "a:b publish 100%", 0, 0, ""},

        {"directive acl", "token-rules acl", 0, 0, ""},
        {"directive publ-subs, a comment", "token-rules\tpubl-subs # wiomoc", 0, 0, ""},
        {"a scope of that name", "token-rules publish x\ntoken-rules both y qos<=1", 0, 0, ""},
        {"directive without its word", "token-rules", 1, 12, "acl or publ-subs"},
        {"directive, then a comment", "token-rules # acl", 1, 13, "acl or publ-subs"},
        {"directive of another word", "a:b publish x\ntoken-rules scopes", 2, 13,
         "acl or publ-subs"},
        {"directive in capitals", "token-rules ACL", 1, 13, "acl or publ-subs"},
        {"directive with both words", "token-rules acl publ-subs", 1, 17, "nothing more behind"},
        {"directive like a rule", "token-rules acl x/#", 1, 17, "nothing more behind"},
        {"a scope of that name, no filter", "token-rules publish", 1, 20, "a topic filter"},
        {"directive misspelt is a scope", "token-rule acl", 1, 12, "an action"},

        {"quotation mark in the scope", "a:\"b publish x", 1, 3, "a scope"},
        {"backslash in the scope", "\n\n  a\\b publish x", 3, 4, "a scope"},
        {"scope not ASCII", "a:\xc3\xa9 publish x", 1, 3, "a scope"},
        {"no action", "a:b", 1, 4, "an action"},
        {"no action, blanks", "a:b  ", 1, 6, "an action"},
        {"no action, a comment", "a:b # publish", 1, 5, "an action"},
        {"unknown action", "a:b write x", 1, 5, "an action"},
        {"upper-case action", "a:b Publish x", 1, 5, "an action"},
        {"action runs on", "a:b publishx x", 1, 5, "an action"},
        {"no filter", "a:b publish", 1, 12, "a topic filter"},
        {"no filter, blanks", "a:b publish  \n", 1, 14, "a topic filter"},
        {"no filter, CRLF", "a:b publish\r\n", 1, 12, "a topic filter"},
        {"second line", "a:b publish x\na:b publisg x", 2, 5, "an action"},
        {"second line, CRLF", "a:b publish x\r\na:b publisg x", 2, 5, "an action"},

        {"# not last", "a:b publish x/#/y", 1, 15, "# as the whole last level"},
        {"# not whole", "a:b publish x/y#", 1, 16, "# as the whole last level"},
        {"# twice", "a:b publish x/##", 1, 15, "# as the whole last level"},
        {"+ not whole", "a:b publish x/y+/z", 1, 16, "+ as a whole level"},
        {"+ begins a level", "a:b publish +x", 1, 13, "+ as a whole level"},
        {"a shared filter", "a:b subscribe $share/g/x", 1, 15, "a filter without $share"},

        {"unknown placeholder", "a:b publish x/{devcie}/y", 1, 15, "a placeholder:"},
        {"upper-case placeholder", "a:b publish {Device}", 1, 13, "a placeholder:"},
        {"empty placeholder", "a:b publish {}", 1, 13, "a placeholder:"},
        {"unknown ${}", "a:b publish ${user}", 1, 13, "a placeholder:"},
        {"claim without a name", "a:b publish {claim.}", 1, 13, "a placeholder:"},
        {"claim with an odd name", "a:b publish {claim.a$b}", 1, 13, "a placeholder:"},
        {"a claim's name with /", "a:b publish {claim.a/b}", 1, 13, "a placeholder that fills"},
        {"a claim's name with @", "a:b publish {claim.@}", 1, 13, "a placeholder:"},
        {"a claim's name with [", "a:b publish {claim.[}", 1, 13, "a placeholder:"},
        {"a claim's name with `", "a:b publish {claim.`}", 1, 13, "a placeholder:"},
        {"a claim's name with |", "a:b publish {claim.|}", 1, 13, "a placeholder:"},
        {"a claim's name with ;", "a:b publish {claim.;}", 1, 13, "a placeholder:"},
        {"a claim's name with a blank", "a:b publish {claim.a b}", 1, 13,
         "a placeholder that fills"},
        {"claim without its end", "a:b publish {claim.a", 1, 13, "a placeholder that fills"},
        {"text before", "a:b publish x/y{device}", 1, 16, "a placeholder that fills"},
        {"text behind", "a:b publish x/{device}y", 1, 15, "a placeholder that fills"},
        {"two in a level", "a:b publish {device}{type}", 1, 13, "a placeholder that fills"},
        {"not closed", "a:b publish {device/x", 1, 13, "a placeholder that fills"},
        {"not opened", "a:b publish device}", 1, 19, "a placeholder that fills"},
        {"%c with text", "a:b publish x%c", 1, 14, "a placeholder that fills"},
        {"%u with text", "a:b publish %ux", 1, 13, "a placeholder that fills"},
        {"{children} twice", "a:b publish {children}/{children}", 1, 24, "{children} once"},

        {"unknown option", "a:b publish x colour=red", 1, 15, "an option:"},
        {"retain=yes", "a:b publish x retain=yes", 1, 15, "an option:"},
        {"retain=no runs on", "a:b publish x retain=not", 1, 15, "an option:"},
        {"comment without a blank", "a:b publish x retain=no#x", 1, 15, "an option:"},
        {"= for <=", "a:b publish x qos=1", 1, 15, "an option:"},
        {"blank in an option", "a:b publish x qos <= 1", 1, 15, "an option:"},
        {"second option is wrong", "a:b publish x qos<=1 rate<=1", 1, 22, "rate<=N/s"},
        {"retain on subscribe", "a:b subscribe x retain=no", 1, 17, "an option for subscribe"},
        {"size on subscribe", "a:b subscribe x size<=1", 1, 17, "an option for subscribe"},
        {"rate on subscribe", "a:b subscribe x rate<=1/s", 1, 17, "an option for subscribe"},
        {"share on publish", "a:b publish x share=no", 1, 15, "an option for publish"},
        {"option twice", "a:b publish x qos<=1 qos<=1", 1, 22, "each option once"},
        {"QoS 3", "a:b publish x qos<=3", 1, 15, "qos<=0"},
        {"no QoS", "a:b publish x qos<=", 1, 15, "qos<=0"},
        {"negative size", "a:b publish x size<=-1", 1, 15, "size<="},
        {"size with a unit", "a:b publish x size<=1k", 1, 15, "size<="},
        {"size beyond MQTT", "a:b publish x size<=268435456", 1, 15, "size<="},
        {"size beyond 64 bits", "a:b publish x size<=18446744073709551616", 1, 15, "size<="},
        {"rate 0", "a:b publish x rate<=0/s", 1, 15, "rate<="},
        {"rate a minute", "a:b publish x rate<=1/m", 1, 15, "rate<="},
        {"rate beyond a million", "a:b publish x rate<=1000001/s", 1, 15, "rate<="},

        {"not UTF-8", "a:b publish x/\xff", 1, 15, "UTF-8 text"},
        {"not UTF-8 in a comment", "# \xc3\xa9 \xc3\n", 1, 5, "UTF-8 text"},
        {"surrogate", "a:b publish \xed\xa0\x80", 1, 13, "UTF-8 text"},
        {"delete", "a:b publish x\x7f", 1, 14, "UTF-8 text"},
        {"control character", "a:b publish x\x01", 1, 14, "UTF-8 text"},
        {"carriage return inside", "a:b pub\rlish x", 1, 8, "UTF-8 text"},
        {"characters are counted, not bytes", "a:b publish \xc3\xa9/x+", 1, 16, "+ as a whole"},
    };
    struct guard guard = guard_open(4096);

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct lk_span file = guard_place(&guard, lk_span_text(rows[i].text));
        struct lk_policy_error error = {9, 9, NULL};
        enum lk_err err = lk_policy_parse(file, &policy, &error);

        if (err != (rows[i].line == 0 ? LK_OK : LK_ERR_SYNTAX) || error.line != rows[i].line ||
            error.column != rows[i].column)
            fail_msg("%s: %s at %u:%u %s", rows[i].name, lk_err_name(err), error.line, error.column,
                     error.expected);
        if (strncmp(error.expected, rows[i].expected, strlen(rows[i].expected)) != 0)
            fail_msg("%s: \"%s\"", rows[i].name, error.expected);
        if (err != LK_OK && !is_zeroed(&policy))
            fail_msg("%s: something is left", rows[i].name);
    }
    guard_close(&guard);
}

static void
nul_is_refused(void **state)
{
    struct lk_policy_error error;

    (void)state;
    assert_int_equal(lk_policy_parse(LK_SPAN("a:b publish x\0"), &policy, &error), LK_ERR_SYNTAX);
    assert_int_equal(error.column, 14);
    assert_int_equal(lk_policy_parse(LK_SPAN("# \0"), &policy, &error), LK_ERR_SYNTAX);
    assert_int_equal(error.column, 3);
}

static void
good_lines_before_a_bad_one_do_not_count(void **state)
{
    (void)state;
    assert_int_equal(lk_policy_parse(LK_SPAN("a:b publish x\nnonsense\n"), &policy, NULL),
                     LK_ERR_SYNTAX);
    assert_true(is_zeroed(&policy));
}

static char big[LK_POLICY_FILE_MAX + 1];

static enum lk_err
parse_repeated(const char *line, size_t times, struct lk_policy_error *error)
{
    size_t len = 0;

    for (size_t i = 0; i < times; i++)
        len += (size_t)snprintf(big + len, sizeof(big) - len, line, (unsigned)i);
    return lk_policy_parse(lk_span_of(big, len), &policy, error);
}

static void
limits_hold(void **state)
{
    struct lk_policy_error error;
    char line[200];

    (void)state;
    assert_int_equal(parse_repeated("a:b publish x/%u\n", LK_POLICY_RULES_MAX, &error), LK_OK);
    assert_int_equal(parse_repeated("a:b publish x/%u\n", LK_POLICY_RULES_MAX + 1, &error),
                     LK_ERR_LIMIT);
    assert_int_equal(error.line, LK_POLICY_RULES_MAX + 1);
    assert_int_equal(error.column, 1);
    assert_string_equal(error.expected, "at most 256 rules");

    assert_int_equal(parse_repeated("a:b publish {claim.n%u}\n", LK_NAMED_MAX, &error), LK_OK);
    assert_int_equal(parse_repeated("a:b publish {claim.n%u}\n", LK_NAMED_MAX + 1, &error),
                     LK_ERR_LIMIT);
    assert_int_equal(error.line, LK_NAMED_MAX + 1);

    assert_int_equal(lk_policy_parse(LK_SPAN("a:b publish 1/2/3/4/5/6/7/8/9/10/11/12/13/14/15/#"),
                                     &policy, &error),
                     LK_OK);
    assert_int_equal(
        lk_policy_parse(LK_SPAN("a:b publish 1/2/3/4/5/6/7/8/9/10/11/12/13/14/15/16/#"), &policy,
                        &error),
        LK_ERR_LIMIT);
    assert_int_equal(error.column, 52);

    memset(line, 'x', sizeof(line));
    memcpy(line, "a:b publish ", 12);
    memcpy(line + 190, "\n", 2);
    assert_int_equal(parse_repeated(line, 180, &error), LK_OK);
    assert_int_equal(parse_repeated(line, 190, &error), LK_ERR_LIMIT);
    assert_int_equal(error.column, 13);

    memset(big, '#', sizeof(big));
    assert_int_equal(lk_policy_parse(lk_span_of(big, LK_POLICY_FILE_MAX), &policy, &error), LK_OK);
    assert_int_equal(lk_policy_parse(lk_span_of(big, LK_POLICY_FILE_MAX + 1), &policy, &error),
                     LK_ERR_LIMIT);
    assert_int_equal(error.line, 1);
    assert_true(is_zeroed(&policy));
}

static void
the_default_is_the_installed_example(void **state)
{
    FILE *file = fopen(LK_SOURCE_DIR "/provisioning/examples/scopes.acl", "rb");
    size_t len;

    (void)state;
    assert_non_null(file);
    len = fread(big, 1, sizeof(big), file);
    fclose(file);
    assert_true(lk_span_is(lk_span_of(big, len), lk_policy_default));
    assert_int_equal(lk_policy_parse(lk_span_of(big, len), &policy, NULL), LK_OK);
    assert_int_equal(policy.rule_count, 20);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_part_of_a_rule_is_read),
        cmocka_unit_test(token_rules_are_asked_for),
        cmocka_unit_test(errors_have_a_place_and_a_sentence),
        cmocka_unit_test(nul_is_refused),
        cmocka_unit_test(good_lines_before_a_bad_one_do_not_count),
        cmocka_unit_test(limits_hold),
        cmocka_unit_test(the_default_is_the_installed_example),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
