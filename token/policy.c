#include <latchkey/policy.h>

#include <string.h>

#include <latchkey/scope.h>
#include <latchkey/topic.h>

#define CLAIM_NAME_MAX 64 /* bytes of NAME in {claim.NAME} */

static const char EXPECTED_TEXT[] = "UTF-8 text without control characters";
static const char EXPECTED_SCOPE[] =
    "a scope: printable ASCII without space, quotation mark and backslash";
static const char EXPECTED_TOKEN_RULES[] =
    "acl or publ-subs behind token-rules, or an action: publish, subscribe or both";
static const char EXPECTED_LINE_END[] = "nothing more behind token-rules and its word";
static const char EXPECTED_ACTION[] = "an action: publish, subscribe or both";
static const char EXPECTED_FILTER[] = "a topic filter";
static const char EXPECTED_NO_SHARE[] =
    "a filter without $share/<group>/: a shared subscription is judged by what follows it";
static const char EXPECTED_PLUS[] = "+ as a whole level";
static const char EXPECTED_HASH[] = "# as the whole last level";
static const char EXPECTED_PLACEHOLDER[] =
    "a placeholder: {device}, {client}, {tenant}, {type}, {children} or {claim.NAME}";
static const char EXPECTED_WHOLE[] = "a placeholder that fills a whole level";
static const char EXPECTED_ONE_CHILDREN[] = "{children} once in a filter";
static const char EXPECTED_OPTION[] =
    "an option: retain=no, size<=BYTES, rate<=N/s, qos<=N or share=no";
static const char EXPECTED_PUBLISH_OPTION[] =
    "an option for publish: retain=no, size<=BYTES, rate<=N/s or qos<=N";
static const char EXPECTED_SUBSCRIBE_OPTION[] = "an option for subscribe: qos<=N or share=no";
static const char EXPECTED_ONCE[] = "each option once";
static const char EXPECTED_QOS[] = "qos<=0, qos<=1 or qos<=2";
static const char EXPECTED_SIZE[] = "size<=BYTES with BYTES from 0 to 268435455";
static const char EXPECTED_RATE[] = "rate<=N/s with N from 1 to 1000000";
static const char LIMIT_FILE[] = "at most 65536 bytes";
static const char LIMIT_RULES[] = "at most 256 rules";
static const char LIMIT_LEVELS[] = "at most 16 levels in a filter";
static const char LIMIT_NAMES[] = "at most 8 different {claim.NAME}";
static const char LIMIT_TEXT[] = "at most 32768 bytes of scopes, levels and names";

_Static_assert(LK_POLICY_FILE_MAX == 65536, "LIMIT_FILE says so");
_Static_assert(LK_POLICY_RULES_MAX == 256, "LIMIT_RULES says so");
_Static_assert(LK_POLICY_LEVELS_MAX == 16, "LIMIT_LEVELS says so");
_Static_assert(LK_NAMED_MAX == 8, "LIMIT_NAMES says so");
_Static_assert(sizeof(((struct lk_policy *)0)->text) == 32768, "LIMIT_TEXT says so");

struct parser {
    struct lk_policy *policy;
    struct lk_span line; /* without its end */
    uint32_t line_number;
    const uint8_t *at; /* in line */
    const uint8_t *end;
    enum lk_err err; /* the first error; where and what follow */
    uint32_t error_line, error_column;
    const char *expected;
};

/* Columns count characters, as an editor does: a continuation byte of UTF-8 adds none. */
static uint32_t
column_of(const struct parser *p, const uint8_t *at)
{
    uint32_t column = 1;

    for (const uint8_t *q = p->line.ptr; q < at; q++)
        column += (*q & 0xc0) != 0x80;
    return column;
}

static bool
fail(struct parser *p, enum lk_err err, const uint8_t *at, const char *expected)
{
    if (p->err == LK_OK) {
        p->err = err;
        p->error_line = p->line_number;
        p->error_column = column_of(p, at);
        p->expected = expected;
    }
    return false;
}

static size_t
utf8_length(const uint8_t *at, const uint8_t *end)
{
    for (size_t len = 1; len <= 4 && len <= (size_t)(end - at); len++) {
        if (lk_utf8_is_valid(lk_span_of(at, len)))
            return len;
    }
    return 0;
}

/* Text in comments too: a file that is not text is not the file somebody meant to give us. */
static bool
check_text(struct parser *p)
{
    const uint8_t *at = p->at;

    while (at < p->end) {
        size_t len = utf8_length(at, p->end);

        if (len == 0 || (*at < 0x20 && *at != '\t') || *at == 0x7f)
            return fail(p, LK_ERR_SYNTAX, at, EXPECTED_TEXT);
        at += len;
    }
    return true;
}

static bool
is_blank(uint8_t c)
{
    return c == ' ' || c == '\t';
}

static void
skip_blanks(struct parser *p)
{
    while (p->at < p->end && is_blank(*p->at))
        p->at++;
}

/* Skip blanks and, where one may stand, a comment. Is there another word? */
static bool
find_word(struct parser *p)
{
    skip_blanks(p);
    if (p->at < p->end && *p->at == '#')
        return false;
    return p->at < p->end;
}

static struct lk_span
take_word(struct parser *p)
{
    const uint8_t *start = p->at;

    while (p->at < p->end && !is_blank(*p->at))
        p->at++;
    return lk_span_of(start, (size_t)(p->at - start));
}

static bool
keep_text(struct parser *p, struct lk_span text, uint16_t *at, uint16_t *len)
{
    struct lk_policy *policy = p->policy;

    if (text.len > sizeof(policy->text) - policy->text_len)
        return fail(p, LK_ERR_LIMIT, text.ptr, LIMIT_TEXT);
    if (text.len > 0)
        memcpy(policy->text + policy->text_len, text.ptr, text.len);
    *at = (uint16_t)policy->text_len;
    *len = (uint16_t)text.len;
    policy->text_len += (uint32_t)text.len;
    return true;
}

static bool
parse_scope(struct parser *p, struct lk_rule *rule)
{
    struct lk_span scope = take_word(p);
    const struct lk_policy *policy = p->policy;

    for (size_t i = 0; i < scope.len; i++) {
        if (lk_scope_check(lk_span_of(scope.ptr + i, 1)) != LK_OK)
            return fail(p, LK_ERR_SYNTAX, scope.ptr + i, EXPECTED_SCOPE);
    }
    /* Rules of one scope mostly stand together: share the text. */
    if (policy->rule_count > 0) {
        const struct lk_rule *last = &policy->rules[policy->rule_count - 1];

        if (lk_span_equal(scope, lk_span_of(policy->text + last->scope_at, last->scope_len))) {
            rule->scope_at = last->scope_at;
            rule->scope_len = last->scope_len;
            return true;
        }
    }
    return keep_text(p, scope, &rule->scope_at, &rule->scope_len);
}

static bool
is_action(struct lk_span word)
{
    return lk_span_is(word, "publish") || lk_span_is(word, "subscribe") || lk_span_is(word, "both");
}

static bool
parse_action(struct parser *p, struct lk_rule *rule)
{
    struct lk_span word;

    if (!find_word(p))
        return fail(p, LK_ERR_SYNTAX, p->at, EXPECTED_ACTION);
    word = take_word(p);
    rule->publish = lk_span_is(word, "publish") || lk_span_is(word, "both");
    rule->subscribe = lk_span_is(word, "subscribe") || lk_span_is(word, "both");
    if (!rule->publish && !rule->subscribe)
        return fail(p, LK_ERR_SYNTAX, word.ptr, EXPECTED_ACTION);
    return true;
}

static bool
is_claim_name(struct lk_span name)
{
    if (name.len == 0 || name.len > CLAIM_NAME_MAX)
        return false;
    for (size_t i = 0; i < name.len; i++) {
        uint8_t c = name.ptr[i];

        if (!(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z') && !(c >= '0' && c <= '9') &&
            c != '.' && c != '_' && c != '-' && c != ':')
            return false;
    }
    return true;
}

static bool
parse_claim(struct parser *p, struct lk_span name, struct lk_level *level)
{
    struct lk_policy *policy = p->policy;
    uint32_t i;

    level->kind = LK_LEVEL_CLAIM;
    for (i = 0; i < policy->name_count; i++) {
        if (lk_span_equal(name,
                          lk_span_of(policy->text + policy->names[i].at, policy->names[i].len))) {
            level->name = (uint8_t)i;
            return true;
        }
    }
    if (i == LK_NAMED_MAX)
        return fail(p, LK_ERR_LIMIT, name.ptr, LIMIT_NAMES);
    if (!keep_text(p, name, &policy->names[i].at, &policy->names[i].len))
        return false;
    level->name = (uint8_t)i;
    policy->name_count++;
    return true;
}

static bool
parse_placeholder(struct parser *p, struct lk_span text, struct lk_level *level)
{
    static const struct {
        const char *text;
        enum lk_level_kind kind;
    } placeholders[] = {
        {"{device}", LK_LEVEL_DEVICE},     {"{client}", LK_LEVEL_CLIENT},
        {"{tenant}", LK_LEVEL_TENANT},     {"{type}", LK_LEVEL_TYPE},
        {"{children}", LK_LEVEL_CHILDREN}, {"%c", LK_LEVEL_CLIENT},
        {"${clientid}", LK_LEVEL_CLIENT},  {"%u", LK_LEVEL_DEVICE},
        {"${username}", LK_LEVEL_DEVICE},
    };
    static const char claim[] = "{claim.";
    const size_t claim_len = sizeof(claim) - 1;

    for (size_t i = 0; i < sizeof(placeholders) / sizeof(placeholders[0]); i++) {
        if (lk_span_is(text, placeholders[i].text)) {
            level->kind = (uint8_t)placeholders[i].kind;
            return true;
        }
    }
    if (text.len > claim_len && memcmp(text.ptr, claim, claim_len) == 0) {
        struct lk_span name = lk_span_of(text.ptr + claim_len, text.len - claim_len - 1);

        if (text.ptr[text.len - 1] == '}' && is_claim_name(name))
            return parse_claim(p, name, level);
    }
    return fail(p, LK_ERR_SYNTAX, text.ptr, EXPECTED_PLACEHOLDER);
}

/* Where a placeholder begins in a level, in any of its notations; NULL if there is none. */
static const uint8_t *
find_placeholder(struct lk_span level)
{
    for (size_t i = 0; i < level.len; i++) {
        const uint8_t *at = level.ptr + i;
        uint8_t next = i + 1 < level.len ? at[1] : 0;

        if (*at == '{' || *at == '}' || (*at == '$' && next == '{') ||
            (*at == '%' && (next == 'c' || next == 'u')))
            return at;
    }
    return NULL;
}

/* Does the placeholder that begins the level also end it? */
static bool
is_one_placeholder(struct lk_span level)
{
    const uint8_t *close = memchr(level.ptr, '}', level.len);

    if (level.ptr[0] == '%')
        return level.len == 2;
    return level.ptr[0] != '}' && close != NULL && close == level.ptr + level.len - 1;
}

static bool
parse_level(struct parser *p, struct lk_span text, bool is_last, struct lk_level *level)
{
    const uint8_t *placeholder;

    level->kind = LK_LEVEL_TEXT;
    if (lk_span_is(text, "+")) {
        level->kind = LK_LEVEL_PLUS;
        return true;
    }
    if (lk_span_is(text, "#") && is_last) {
        level->kind = LK_LEVEL_HASH;
        return true;
    }
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] == '+')
            return fail(p, LK_ERR_SYNTAX, text.ptr + i, EXPECTED_PLUS);
        if (text.ptr[i] == '#')
            return fail(p, LK_ERR_SYNTAX, text.ptr + i, EXPECTED_HASH);
    }
    placeholder = find_placeholder(text);
    if (placeholder == NULL)
        return keep_text(p, text, &level->text_at, &level->text_len);
    if (placeholder != text.ptr || !is_one_placeholder(text))
        return fail(p, LK_ERR_SYNTAX, placeholder, EXPECTED_WHOLE);
    return parse_placeholder(p, text, level);
}

static bool
is_share_level(const struct lk_policy *policy, const struct lk_level *level)
{
    return level->kind == LK_LEVEL_TEXT &&
           lk_span_is(lk_span_of(policy->text + level->text_at, level->text_len), "$share");
}

static bool
parse_filter(struct parser *p, struct lk_rule *rule)
{
    bool has_children = false;
    struct lk_span filter;
    const uint8_t *at, *end;

    skip_blanks(p);
    if (p->at == p->end)
        return fail(p, LK_ERR_SYNTAX, p->at, EXPECTED_FILTER);
    filter = take_word(p);
    at = filter.ptr;
    end = filter.ptr + filter.len;
    for (;;) {
        const uint8_t *slash = memchr(at, '/', (size_t)(end - at));
        const uint8_t *stop = slash != NULL ? slash : end;
        struct lk_level *level = &rule->level[rule->level_count];

        if (rule->level_count == LK_POLICY_LEVELS_MAX)
            return fail(p, LK_ERR_LIMIT, at, LIMIT_LEVELS);
        if (!parse_level(p, lk_span_of(at, (size_t)(stop - at)), slash == NULL, level))
            return false;
        if (level->kind == LK_LEVEL_CHILDREN && has_children)
            return fail(p, LK_ERR_SYNTAX, at, EXPECTED_ONE_CHILDREN);
        has_children = has_children || level->kind == LK_LEVEL_CHILDREN;
        rule->level_count++;
        if (slash == NULL)
            break;
        at = slash + 1;
    }
    if (is_share_level(p->policy, &rule->level[0]))
        return fail(p, LK_ERR_SYNTAX, filter.ptr, EXPECTED_NO_SHARE);
    return true;
}

/* Decimal digits and then exactly `tail`. */
static bool
read_number(struct lk_span text, const char *tail, uint32_t min, uint32_t max, uint32_t *value)
{
    uint64_t number = 0;
    size_t i = 0;

    while (i < text.len && i < 10 && text.ptr[i] >= '0' && text.ptr[i] <= '9')
        number = number * 10 + (uint64_t)(text.ptr[i++] - '0');
    if (i == 0 || number < min || number > max)
        return false;
    if (!lk_span_is(lk_span_of(text.ptr + i, text.len - i), tail))
        return false;
    *value = (uint32_t)number;
    return true;
}

enum option {
    OPTION_RETAIN = 0x01,
    OPTION_SIZE = 0x02,
    OPTION_RATE = 0x04,
    OPTION_QOS = 0x08,
    OPTION_SHARE = 0x10
};

static const struct {
    const char *word; /* the whole word, or what stands before its number */
    bool has_number;
    enum option option;
    bool publish, subscribe; /* the actions it is for */
} OPTIONS[] = {
    {"retain=no", false, OPTION_RETAIN, true, false}, {"size<=", true, OPTION_SIZE, true, false},
    {"rate<=", true, OPTION_RATE, true, false},       {"qos<=", true, OPTION_QOS, true, true},
    {"share=no", false, OPTION_SHARE, false, true},
};

static bool
set_option(struct parser *p, struct lk_rule *rule, enum option option, struct lk_span word,
           struct lk_span number)
{
    uint32_t qos = 0;

    switch (option) {
    case OPTION_RETAIN:
        rule->flags |= LK_RULE_RETAIN_NO;
        return true;
    case OPTION_SHARE:
        rule->flags |= LK_RULE_SHARE_NO;
        return true;
    case OPTION_SIZE:
        /* MQTT 5.0 section 1.5.5: no packet is longer than 268,435,455 bytes. */
        if (!read_number(number, "", 0, 268435455, &rule->size_max))
            return fail(p, LK_ERR_SYNTAX, word.ptr, EXPECTED_SIZE);
        return true;
    case OPTION_RATE:
        if (!read_number(number, "/s", 1, 1000000, &rule->rate_max))
            return fail(p, LK_ERR_SYNTAX, word.ptr, EXPECTED_RATE);
        return true;
    case OPTION_QOS:
        if (!read_number(number, "", 0, 2, &qos))
            return fail(p, LK_ERR_SYNTAX, word.ptr, EXPECTED_QOS);
        rule->qos_max = (uint8_t)qos;
        return true;
    }
    return false;
}

/* An option is for at least one direction of its rule, and limits that direction only. */
static bool
parse_option(struct parser *p, struct lk_rule *rule, unsigned *seen)
{
    struct lk_span word = take_word(p);

    for (size_t i = 0; i < sizeof(OPTIONS) / sizeof(OPTIONS[0]); i++) {
        size_t len = strlen(OPTIONS[i].word);

        if (word.len < len || memcmp(word.ptr, OPTIONS[i].word, len) != 0 ||
            (word.len > len && !OPTIONS[i].has_number))
            continue;
        if (!(rule->publish && OPTIONS[i].publish) && !(rule->subscribe && OPTIONS[i].subscribe))
            return fail(p, LK_ERR_SYNTAX, word.ptr,
                        rule->publish ? EXPECTED_PUBLISH_OPTION : EXPECTED_SUBSCRIBE_OPTION);
        if (*seen & (unsigned)OPTIONS[i].option)
            return fail(p, LK_ERR_SYNTAX, word.ptr, EXPECTED_ONCE);
        *seen |= (unsigned)OPTIONS[i].option;
        return set_option(p, rule, OPTIONS[i].option, word,
                          lk_span_of(word.ptr + len, word.len - len));
    }
    return fail(p, LK_ERR_SYNTAX, word.ptr, EXPECTED_OPTION);
}

/* `token-rules acl`: no rule, since no action stands behind its first word. */
static bool
parse_token_rules(struct parser *p, bool *is_rule)
{
    const uint8_t *start = p->at;
    bool is_named = lk_span_is(take_word(p), "token-rules");
    struct lk_span word = {p->at, 0};

    *is_rule = true;
    if (is_named && find_word(p))
        word = take_word(p);
    if (!is_named || is_action(word)) {
        p->at = start;
        return true;
    }
    *is_rule = false;
    if (lk_span_is(word, "acl"))
        p->policy->token_rules |= LK_TOKEN_RULES_ACL;
    else if (lk_span_is(word, "publ-subs"))
        p->policy->token_rules |= LK_TOKEN_RULES_PUBL_SUBS;
    else
        return fail(p, LK_ERR_SYNTAX, word.len > 0 ? word.ptr : p->at, EXPECTED_TOKEN_RULES);
    return find_word(p) ? fail(p, LK_ERR_SYNTAX, p->at, EXPECTED_LINE_END) : true;
}

static bool
parse_line(struct parser *p)
{
    struct lk_policy *policy = p->policy;
    unsigned seen = 0;
    struct lk_rule *rule;
    bool is_rule;

    if (!check_text(p))
        return false;
    if (!find_word(p))
        return true;
    if (!parse_token_rules(p, &is_rule))
        return false;
    if (!is_rule)
        return true;
    if (policy->rule_count == LK_POLICY_RULES_MAX)
        return fail(p, LK_ERR_LIMIT, p->at, LIMIT_RULES);
    rule = &policy->rules[policy->rule_count];
    rule->line = p->line_number;
    rule->qos_max = 2;
    rule->size_max = UINT32_MAX;
    if (!parse_scope(p, rule) || !parse_action(p, rule) || !parse_filter(p, rule))
        return false;
    while (find_word(p)) {
        if (!parse_option(p, rule, &seen))
            return false;
    }
    policy->rule_count++;
    return true;
}

/* Point the parser at the line that begins at `at`; `\n` and `\r\n` end one. */
static const uint8_t *
open_line(struct parser *p, const uint8_t *at, const uint8_t *file_end)
{
    const uint8_t *newline = memchr(at, '\n', (size_t)(file_end - at));
    const uint8_t *end = newline != NULL ? newline : file_end;
    const uint8_t *next = newline != NULL ? newline + 1 : NULL;

    if (end > at && end[-1] == '\r')
        end--;
    p->line_number++;
    p->line = lk_span_of(at, (size_t)(end - at));
    p->at = at;
    p->end = end;
    return next;
}

static void
parse_file(struct parser *p, struct lk_span file)
{
    static const uint8_t bom[] = {0xef, 0xbb, 0xbf};
    const uint8_t *at = file.ptr;
    const uint8_t *end;

    if (file.len == 0)
        return;
    end = file.ptr + file.len;
    if (file.len >= sizeof(bom) && memcmp(at, bom, sizeof(bom)) == 0)
        at += sizeof(bom);
    while (at != NULL) {
        at = open_line(p, at, end);
        if (!parse_line(p))
            return;
    }
}

enum lk_err
lk_policy_parse(struct lk_span file, struct lk_policy *policy, struct lk_policy_error *error)
{
    struct parser p = {.policy = policy};

    memset(policy, 0, sizeof(*policy));
    if (error != NULL)
        *error = (struct lk_policy_error){0, 0, ""};
    if (file.len > LK_POLICY_FILE_MAX) {
        p.err = LK_ERR_LIMIT;
        p.error_line = 1;
        p.error_column = 1;
        p.expected = LIMIT_FILE;
    } else {
        parse_file(&p, file);
    }
    if (p.err == LK_OK)
        return LK_OK;
    memset(policy, 0, sizeof(*policy));
    if (error != NULL)
        *error = (struct lk_policy_error){p.error_line, p.error_column, p.expected};
    return p.err;
}
