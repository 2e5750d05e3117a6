/*
 * options.c - options of a command, and the watch over what must not be an argument.
 */
#include "cli.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <getopt.h>

#include <latchkey/base64url.h>
#include <latchkey/limits.h>

#define OPTIONS_MAX 24

static bool
number_parse(const char *text, const char **rest, int64_t *out)
{
    long long value;
    char *end;

    if (!isdigit((unsigned char)text[0]))
        return false;
    errno = 0;
    value = strtoll(text, &end, 10);
    if (errno != 0)
        return false;
    *rest = end;
    *out = value;
    return true;
}

static bool
seconds_parse(const char *text, int64_t *out)
{
    static const struct {
        const char *unit;
        int64_t seconds;
    } units[] = {{"", 1}, {"s", 1}, {"m", 60}, {"h", 3600}, {"d", 86400}};
    const char *unit;
    int64_t value;
    size_t i;

    if (!number_parse(text, &unit, &value))
        return false;
    for (i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
        if (strcmp(unit, units[i].unit) == 0 && value <= INT32_MAX / units[i].seconds) {
            *out = value * units[i].seconds;
            return true;
        }
    }
    return false;
}

static bool
option_take(const struct cli *cli, const struct opt *option, const char *text)
{
    const char *rest = "";
    struct texts *list;

    switch (option->kind) {
    case OPT_FLAG:
        *(bool *)option->value = true;
        return true;
    case OPT_TEXT:
        *(const char **)option->value = text;
        return true;
    case OPT_NUMBER:
        if (number_parse(text, &rest, option->value) && *rest == '\0')
            return true;
        (void)cli_usage(cli, "--%s: expected a number, not '%s'", option->name, text);
        return false;
    case OPT_SECONDS:
        if (seconds_parse(text, option->value))
            return true;
        (void)cli_usage(cli, "--%s: expected seconds or 90s, 15m, 12h, 365d, not '%s'",
                        option->name, text);
        return false;
    case OPT_LIST:
        list = option->value;
        if (list->count < ARGS_MAX) {
            list->item[list->count++] = text;
            return true;
        }
        (void)cli_usage(cli, "--%s: at most %d times", option->name, ARGS_MAX);
        return false;
    }
    return false;
}

static void
say_unknown(const struct cli *cli, const char *argument, int code)
{
    if (code == ':')
        (void)cli_usage(cli, "%s: a value is missing", argument);
    else if (strstr(argument, "secret") != NULL || strstr(argument, "password") != NULL)
        (void)cli_usage(cli, "no option takes a secret: arguments can be read by everybody on the "
                             "machine; set LATCHKEY_CLIENT_SECRET_FILE or LATCHKEY_CLIENT_SECRET");
    else
        (void)cli_usage(cli, "unknown option '%s'", argument);
}

static bool
rest_take(const struct cli *cli, int argc, char **argv, size_t least, size_t most,
          struct texts *rest)
{
    rest->count = 0;
    for (; optind < argc; optind++) {
        if (rest->count == most || rest->count == ARGS_MAX) {
            (void)cli_usage(cli, "one argument too many: '%s'", argv[optind]);
            return false;
        }
        rest->item[rest->count++] = argv[optind];
    }
    if (rest->count < least) {
        (void)cli_usage(cli, "an argument is missing");
        return false;
    }
    return true;
}

bool
options_parse(const struct cli *cli, int argc, char **argv, const struct opt *options, size_t least,
              size_t most, struct texts *rest)
{
    struct option table[OPTIONS_MAX + 1] = {{0}};
    int count, code, index = 0;

    for (count = 0; options[count].name != NULL && count < OPTIONS_MAX; count++) {
        table[count].name = options[count].name;
        table[count].has_arg = options[count].kind == OPT_FLAG ? no_argument : required_argument;
    }
    opterr = 0;
    optind = 0; /* glibc: begin anew, also its own state */
    while ((code = getopt_long(argc, argv, ":", table, &index)) != -1) {
        if (code != 0) {
            say_unknown(cli, argv[optind - 1], code);
            return false;
        }
        if (!option_take(cli, &options[index], optarg))
            return false;
    }
    return rest_take(cli, argc, argv, least, most, rest);
}

static bool
is_base64url_text(const char *text, size_t len)
{
    size_t i;

    for (i = 0; i < len; i++) {
        if (!isalnum((unsigned char)text[i]) && text[i] != '-' && text[i] != '_')
            return false;
    }
    return len > 0;
}

static bool
has_kinds(const char *text)
{
    bool upper = false, lower = false, other = false;

    for (; *text != '\0'; text++) {
        upper = upper || isupper((unsigned char)*text);
        lower = lower || islower((unsigned char)*text);
        other = other || !isalpha((unsigned char)*text);
    }
    return upper && lower && other;
}

/* First characters of tags 61, 17 and 18 and of an untagged COSE array, in base64url and in hex. */
static bool
has_cose_head(const char *text)
{
    static const char *const heads[] = {"2D3", "0oR",  "0YR",  "hEO",  "hEU",
                                        "hFg", "d83d", "d284", "d184", "8443"};
    size_t i;

    for (i = 0; i < sizeof(heads) / sizeof(heads[0]); i++) {
        if (strncasecmp(text, heads[i], strlen(heads[i])) == 0)
            return true;
    }
    return false;
}

static bool
is_jwt_text(const char *text)
{
    const char *first = strchr(text, '.');
    const char *second = first == NULL ? NULL : strchr(first + 1, '.');

    /* "eyJ" is {" in base64url: every JOSE header begins so. */
    return second != NULL && strncmp(text, "eyJ", 3) == 0 && strlen(text) >= 32;
}

const char *
options_secret_kind(const char *argument)
{
    const char *text = argument;
    uint8_t room[32];
    struct lk_span out;
    size_t len;

    if (text[0] == '-' && strchr(text, '=') != NULL)
        text = strchr(text, '=') + 1;
    len = strlen(text);
    if (is_jwt_text(text))
        return "a token";
    if (!is_base64url_text(text, len))
        return NULL;
    if (len >= 80 && has_cose_head(text))
        return "a token";
    /* 32 bytes in base64url (contracts section 3). Ids that long, mixed like that, are not made. */
    if (len == LK_BASE64URL_LEN(sizeof(room)) && has_kinds(text) &&
        lk_base64url_decode(lk_span_text(text), LK_BUF_OF(room), &out) == LK_OK) {
        lk_wipe(room, sizeof(room));
        return "a secret";
    }
    return NULL;
}
