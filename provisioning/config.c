#include "config.h"

#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <ini.h>

#include <latchkey/host/log.h>
#include <latchkey/id.h>
#include <latchkey/scope.h>

/* --- What is built in (requirements.md; contracts section 3) ---------------------------------- */

#define HOUR 3600
#define DAY  86400

#define AUDIENCES_DEVICE (CONFIG_AUD_MQTT | CONFIG_AUD_COAP | CONFIG_AUD_API)
#define AUDIENCES_ROLE   (CONFIG_AUD_MQTT | CONFIG_AUD_API)

static const struct {
    const char *name, *scopes;
} types[] = {
    {"sensor", "telemetry:send config:read"},
    {"actuator", "commands:receive status:send config:read"},
    {"gateway", "telemetry:send telemetry:relay config:read"},
};

static const struct {
    const char *name, *scopes;
    unsigned audience;
} roles[] = {
    /* resource:* never covers clients, keys, tenants, desk and bridge: the first three by name */
    {"admin",
     "devices:* telemetry:* commands:* status:* config:* alerts:* audit:* feed:* tokens:*"
     " denials:* clients:write keys:write tenants:write",
     CONFIG_AUD_API},
    {"device-manager",
     "devices:read devices:write devices:control telemetry:read commands:send status:read"
     " config:write",
     CONFIG_AUD_API},
    {"monitor", "telemetry:read devices:read alerts:read status:read", CONFIG_AUD_MQTT},
    {"verifier", "feed:read tokens:introspect denials:write", CONFIG_AUD_API},
    {"bridge", "bridge:use", CONFIG_AUD_MQTT},
    {"desk", "desk:use", CONFIG_AUD_MQTT},
};

static const struct {
    unsigned bit;
    const char *name;
} audiences[] = {
    {CONFIG_AUD_MQTT, "mqtt"},
    {CONFIG_AUD_COAP, "coap"},
    {CONFIG_AUD_API, "latchkey-api"},
};

unsigned
config_audience_of(struct lk_span name)
{
    for (size_t i = 0; i < sizeof(audiences) / sizeof(audiences[0]); i++)
        if (lk_span_is(name, audiences[i].name))
            return audiences[i].bit;
    return 0;
}

const char *
config_audience_name(unsigned audience)
{
    for (size_t i = 0; i < sizeof(audiences) / sizeof(audiences[0]); i++)
        if (audiences[i].bit == audience)
            return audiences[i].name;
    return "";
}

static void
text_copy(char *out, size_t size, const char *text)
{
    snprintf(out, size, "%s", text);
}

static void
config_defaults(struct config *c)
{
    text_copy(c->listen_host, sizeof(c->listen_host), "127.0.0.1");
    c->listen_port = 8443;
    text_copy(c->tls_cert, sizeof(c->tls_cert), "server.crt");
    text_copy(c->tls_key, sizeof(c->tls_key), "server.key");
    c->workers = 2;
    c->log_level = LK_LOG_INFO;
    text_copy(c->store_path, sizeof(c->store_path), "latchkey.db");
    text_copy(c->master_file, sizeof(c->master_file), "master.key");
    c->key_publish_s = KEY_PUBLISH_S;
    c->access_lifetime_s = HOUR;
    c->refresh_lifetime_s = 30 * DAY;
    c->refresh_grace_s = REFRESH_GRACE_S;
    text_copy(c->desk.mqtt_host, sizeof(c->desk.mqtt_host), "127.0.0.1");
    c->desk.mqtt_port = 1883;
    text_copy(c->desk.client_id, sizeof(c->desk.client_id), "latchkey-desk");
    c->limits = (struct config_limits){.connections = 4096,
                                       .guesses = GUESS_FREE,
                                       .pending = COMMANDS_PENDING_MAX,
                                       .command_expiry_s = 300};
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        struct config_kind *kind = &c->types[c->type_count++];

        text_copy(kind->name, sizeof(kind->name), types[i].name);
        text_copy(kind->scopes, sizeof(kind->scopes), types[i].scopes);
        kind->audience = CONFIG_AUD_MQTT;
        kind->audiences = AUDIENCES_DEVICE;
    }
    for (size_t i = 0; i < sizeof(roles) / sizeof(roles[0]); i++) {
        struct config_kind *kind = &c->roles[c->role_count++];

        text_copy(kind->name, sizeof(kind->name), roles[i].name);
        text_copy(kind->scopes, sizeof(kind->scopes), roles[i].scopes);
        kind->audience = roles[i].audience;
        kind->audiences = AUDIENCES_ROLE;
    }
}

/* --- Reading values -----------------------------------------------------------------------------
 */

enum form {
    FORM_TEXT,
    FORM_PATH,     /* relative to the file's folder */
    FORM_URL,      /* https://host[:port][/path] */
    FORM_LISTEN,   /* ADDRESS:PORT */
    FORM_NUMBER,   /* unsigned */
    FORM_DURATION, /* seconds, or a number with s, m, h, d */
    FORM_BOOL,
    FORM_LOG,
    FORM_ID,
    FORM_SCOPES,
    FORM_AUDIENCE,
    FORM_AUDIENCES
};

struct key {
    const char *section, *name;
    enum form form;
    size_t offset; /* into struct config, or struct config_kind */
    size_t size;   /* of a text */
    int64_t least, most;
};

#define AT(member) offsetof(struct config, member), sizeof(((struct config *)0)->member)
#define OF(member) offsetof(struct config_kind, member), sizeof(((struct config_kind *)0)->member)

static const struct key keys[] = {
    {"server", "listen", FORM_LISTEN, 0, 0, 0, 0},
    {"server", "issuer", FORM_URL, AT(issuer), 0, 0},
    {"server", "tls_cert", FORM_PATH, AT(tls_cert), 0, 0},
    {"server", "tls_key", FORM_PATH, AT(tls_key), 0, 0},
    {"server", "workers", FORM_NUMBER, AT(workers), 1, CONFIG_WORKERS_MAX},
    {"server", "log", FORM_LOG, AT(log_level), 0, 0},
    {"store", "path", FORM_PATH, AT(store_path), 0, 0},
    {"keys", "master", FORM_PATH, AT(master_file), 0, 0},
    {"keys", "publish_before", FORM_DURATION, AT(key_publish_s), 0, DAY},
    {"tokens", "access_lifetime", FORM_DURATION, AT(access_lifetime_s), 1, 366 * DAY},
    {"tokens", "refresh_lifetime", FORM_DURATION, AT(refresh_lifetime_s), 1, 366 * DAY},
    {"tokens", "refresh_grace", FORM_DURATION, AT(refresh_grace_s), 0, HOUR},
    {"desk", "enabled", FORM_BOOL, AT(desk.enabled), 0, 0},
    {"desk", "mqtt_host", FORM_TEXT, AT(desk.mqtt_host), 0, 0},
    {"desk", "mqtt_port", FORM_NUMBER, AT(desk.mqtt_port), 1, 65535},
    {"desk", "mqtt_ca", FORM_PATH, AT(desk.mqtt_ca), 0, 0},
    {"desk", "client_id", FORM_ID, AT(desk.client_id), 0, 0},
    {"limits", "connections", FORM_NUMBER, AT(limits.connections), 1, 1000000},
    {"limits", "guesses", FORM_NUMBER, AT(limits.guesses), 1, 1000},
    {"limits", "pending", FORM_NUMBER, AT(limits.pending), 1, 10000},
    {"limits", "command_expiry", FORM_DURATION, AT(limits.command_expiry_s), 1, DAY},
};

static const struct key kind_keys[] = {
    {NULL, "scopes", FORM_SCOPES, OF(scopes), 0, 0},
    {NULL, "audience", FORM_AUDIENCE, OF(audience), 0, 0},
    {NULL, "audiences", FORM_AUDIENCES, OF(audiences), 0, 0},
    {NULL, "access_lifetime", FORM_DURATION, OF(access_lifetime_s), 1, 366 * DAY},
    {NULL, "access_lifetime_max", FORM_DURATION, OF(access_lifetime_max_s), 1, 366 * DAY},
};

#define KEY_COUNT      (sizeof(keys) / sizeof(keys[0]))
#define KIND_KEY_COUNT (sizeof(kind_keys) / sizeof(kind_keys[0]))

/** Where the reader stands, and what it has seen. */
struct reading {
    struct config *config;
    struct config_error *error;
    FILE *file;
    unsigned line;
    bool failed;
    bool continued; /* the line goes on from the one above */
    bool seen[KEY_COUNT];
    struct config_kind *kind; /* of the section we are in; NULL: none */
    unsigned kind_seen;       /* bit per kind_keys entry, in this section */
    char section[CONFIG_LINE_MAX];
};

__attribute__((format(printf, 2, 3))) static bool
reading_fail(struct reading *r, const char *format, ...)
{
    char what[240];
    va_list args;

    if (r->failed)
        return false;
    r->failed = true;
    va_start(args, format);
    vsnprintf(what, sizeof(what), format, args);
    va_end(args);
    snprintf(r->error->text, sizeof(r->error->text), "%s:%u: %s", r->config->file, r->line, what);
    return false;
}

static bool
number_read(const char *text, int64_t least, int64_t most, const char **end, int64_t *out)
{
    char *stop;

    errno = 0;
    *out = strtoll(text, &stop, 10);
    *end = stop;
    return stop != text && text[0] >= '0' && text[0] <= '9' && errno == 0 && *out >= least &&
           *out <= most;
}

static bool
duration_read(const char *text, int64_t *out)
{
    static const struct {
        const char *unit;
        int64_t seconds;
    } units[] = {{"", 1}, {"s", 1}, {"m", 60}, {"h", HOUR}, {"d", DAY}};
    const char *end;

    if (!number_read(text, 0, INT64_MAX / DAY, &end, out))
        return false;
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
        if (strcmp(end, units[i].unit) == 0) {
            *out *= units[i].seconds;
            return true;
        }
    }
    return false;
}

static bool
value_path(struct reading *r, const char *value, char *out, size_t size)
{
    const char *slash = strrchr(r->config->file, '/');
    int folder = value[0] == '/' || slash == NULL || value[0] == '\0'
                     ? 0
                     : (int)(slash - r->config->file + 1);

    if (snprintf(out, size, "%.*s%s", folder, r->config->file, value) >= (int)size)
        return reading_fail(r, "a path of at most %zu characters was expected", size - 1);
    return true;
}

static bool
value_url(struct reading *r, const char *value, char *out, size_t size)
{
    size_t len = strlen(value);

    /* RFC 8414 section 2: an https URL without query and fragment. */
    if (strncmp(value, "https://", 8) != 0 || len < 9 || len >= size ||
        strpbrk(value, "?# \t\"<>\\") != NULL || value[len - 1] == '/')
        return reading_fail(r, "an URL like https://auth.example.com was expected: https, no query,"
                               " no fragment, no slash at the end");
    memcpy(out, value, len + 1);
    return true;
}

static bool
value_listen(struct reading *r, const char *value)
{
    struct config *c = r->config;
    const char *colon = strrchr(value, ':'), *end;
    const char *host = value;
    size_t len;
    int64_t port;

    if (colon == NULL || !number_read(colon + 1, 1, 65535, &end, &port) || *end != '\0')
        return reading_fail(r, "ADDRESS:PORT was expected, such as 127.0.0.1:8443 or [::]:8443");
    len = (size_t)(colon - host);
    if (len >= 2 && host[0] == '[' && host[len - 1] == ']') {
        host++;
        len -= 2;
    }
    if (len >= sizeof(c->listen_host))
        return reading_fail(r, "an address of at most %zu characters was expected",
                            sizeof(c->listen_host) - 1);
    memcpy(c->listen_host, host, len);
    c->listen_host[len] = '\0';
    c->listen_port = (unsigned)port;
    return true;
}

static bool
value_bool(struct reading *r, const char *value, bool *out)
{
    *out = strcmp(value, "yes") == 0;
    return *out || strcmp(value, "no") == 0 || reading_fail(r, "yes or no was expected");
}

static bool
value_log(struct reading *r, const char *value, int *out)
{
    static const struct {
        const char *name;
        int level;
    } levels[] = {{"error", LK_LOG_ERROR},
                  {"warn", LK_LOG_WARN},
                  {"info", LK_LOG_INFO},
                  {"debug", LK_LOG_DEBUG}};

    for (size_t i = 0; i < sizeof(levels) / sizeof(levels[0]); i++) {
        if (strcmp(value, levels[i].name) == 0) {
            *out = levels[i].level;
            return true;
        }
    }
    return reading_fail(r, "error, warn, info or debug was expected");
}

/** Scopes may go on over several lines; each line is added. */
static bool
value_scopes(struct reading *r, const char *value, char *out, size_t size)
{
    size_t len = r->continued ? strlen(out) : 0;
    int more = snprintf(out + len, size - len, "%s%s", len > 0 ? " " : "", value);

    if (more < 0 || (size_t)more >= size - len || lk_scope_check(lk_span_text(out)) != LK_OK)
        return reading_fail(r,
                            "scopes separated by spaces were expected, such as"
                            " telemetry:send config:read, at most %d bytes",
                            LK_SCOPE_MAX);
    return true;
}

static bool
value_audiences(struct reading *r, const char *value, bool many, unsigned *out)
{
    struct lk_span rest = lk_span_text(value), word;

    *out = 0;
    while (lk_scope_next(&rest, &word)) {
        unsigned bit = config_audience_of(word);

        if (bit == 0 || (*out != 0 && !many))
            *out = 0;
        else
            *out |= bit;
        if (*out == 0)
            break;
    }
    if (*out == 0)
        return reading_fail(r, many ? "some of mqtt, coap and latchkey-api were expected"
                                    : "one of mqtt, coap and latchkey-api was expected");
    return true;
}

static bool
value_read(struct reading *r, const struct key *key, void *base, const char *value)
{
    void *out = (char *)base + key->offset;
    const char *end;
    int64_t number;

    switch (key->form) {
    case FORM_TEXT:
        if (strlen(value) >= key->size)
            return reading_fail(r, "at most %zu characters were expected", key->size - 1);
        text_copy(out, key->size, value);
        return true;
    case FORM_PATH:
        return value_path(r, value, out, key->size);
    case FORM_URL:
        return value_url(r, value, out, key->size);
    case FORM_LISTEN:
        return value_listen(r, value);
    case FORM_NUMBER:
        if (!number_read(value, key->least, key->most, &end, &number) || *end != '\0')
            return reading_fail(r, "a number from %lld to %lld was expected", (long long)key->least,
                                (long long)key->most);
        *(unsigned *)out = (unsigned)number;
        return true;
    case FORM_DURATION:
        if (!duration_read(value, &number) || number < key->least || number > key->most)
            return reading_fail(r,
                                "a duration such as 60s, 15m, 1h or 30d was expected, from %llds"
                                " to %lldd",
                                (long long)key->least, (long long)(key->most / DAY));
        *(int64_t *)out = number;
        return true;
    case FORM_BOOL:
        return value_bool(r, value, out);
    case FORM_LOG:
        return value_log(r, value, out);
    case FORM_ID:
        if (!lk_id_is_valid(lk_span_text(value)) || strlen(value) >= key->size)
            return reading_fail(r, "an id was expected: 1 to 64 of A-Z a-z 0-9 . _ -");
        text_copy(out, key->size, value);
        return true;
    case FORM_SCOPES:
        return value_scopes(r, value, out, key->size);
    case FORM_AUDIENCE:
        return value_audiences(r, value, false, out);
    case FORM_AUDIENCES:
        return value_audiences(r, value, true, out);
    }
    return false;
}

/* --- Sections
 * -------------------------------------------------------------------------------------- */

static struct config_kind *
kind_find(struct config_kind *kinds, size_t count, struct lk_span name)
{
    for (size_t i = 0; i < count; i++)
        if (lk_span_is(name, kinds[i].name))
            return &kinds[i];
    return NULL;
}

static bool
kind_name_is_valid(const char *name)
{
    size_t len = strlen(name);

    return len > 0 && len <= TYPE_MAX_LEN &&
           strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-") == len && name[0] != '-';
}

static bool
kind_open(struct reading *r, const char *name, bool is_role)
{
    struct config *c = r->config;
    struct config_kind *kinds = is_role ? c->roles : c->types;
    size_t *count = is_role ? &c->role_count : &c->type_count;
    size_t most = is_role ? CONFIG_ROLES_MAX : CONFIG_TYPES_MAX;

    if (!kind_name_is_valid(name))
        return reading_fail(r, "a name of 1 to %d of a-z 0-9 - was expected", TYPE_MAX_LEN);
    r->kind = kind_find(kinds, *count, lk_span_text(name));
    if (r->kind == NULL && *count == most)
        return reading_fail(r, "at most %zu types and roles each", most);
    if (r->kind == NULL) {
        r->kind = &kinds[(*count)++];
        text_copy(r->kind->name, sizeof(r->kind->name), name);
        r->kind->audience = is_role ? CONFIG_AUD_API : CONFIG_AUD_MQTT;
        r->kind->audiences = is_role ? AUDIENCES_ROLE : AUDIENCES_DEVICE;
    }
    if (r->kind->line != 0)
        return reading_fail(r, "[%s %s] is there already, in line %u", is_role ? "role" : "type",
                            name, r->kind->line);
    r->kind->line = r->line;
    r->kind_seen = 0;
    return true;
}

static bool
section_open(struct reading *r, const char *name)
{
    r->kind = NULL;
    text_copy(r->section, sizeof(r->section), name);
    if (strncmp(name, "type ", 5) == 0)
        return kind_open(r, name + 5, false);
    if (strncmp(name, "role ", 5) == 0)
        return kind_open(r, name + 5, true);
    for (size_t i = 0; i < KEY_COUNT; i++)
        if (strcmp(keys[i].section, name) == 0)
            return true;
    return reading_fail(r,
                        "unknown section [%s]: server, store, keys, tokens, type NAME, role"
                        " NAME, desk or limits was expected",
                        name);
}

/* --- inih
 * ---------------------------------------------------------------------------------------------- */

static int
on_kind_value(struct reading *r, const char *name, const char *value)
{
    for (size_t i = 0; i < KIND_KEY_COUNT; i++) {
        if (strcmp(kind_keys[i].name, name) != 0)
            continue;
        if ((r->kind_seen & (1U << i)) != 0 && !(r->continued && kind_keys[i].form == FORM_SCOPES))
            return reading_fail(r, "%s is there already in [%s]", name, r->section);
        r->kind_seen |= 1U << i;
        return value_read(r, &kind_keys[i], r->kind, value);
    }
    return reading_fail(r,
                        "unknown key %s in [%s]: scopes, audience, audiences, access_lifetime or"
                        " access_lifetime_max was expected",
                        name, r->section);
}

static int
on_value(void *arg, const char *section, const char *name, const char *value)
{
    struct reading *r = arg;

    if (r->failed)
        return 0;
    if (section[0] == '\0')
        return reading_fail(r, "a [section] was expected before %s", name);
    if (r->kind != NULL)
        return on_kind_value(r, name, value);
    for (size_t i = 0; i < KEY_COUNT; i++) {
        if (strcmp(keys[i].section, section) != 0 || strcmp(keys[i].name, name) != 0)
            continue;
        if (r->seen[i])
            return reading_fail(r, "%s is there already in [%s]", name, section);
        r->seen[i] = true;
        return value_read(r, &keys[i], r->config, value);
    }
    return reading_fail(r, "unknown key %s in [%s]", name, section);
}

/** Lines for inih. It does not hand on their numbers or empty sections, so both are taken here. */
static char *
on_read(char *room, int size, void *arg)
{
    struct reading *r = arg;
    char *line = fgets(room, size, r->file), *end;
    size_t len;

    if (line == NULL || r->failed)
        return NULL;
    r->line++;
    len = strlen(line);
    if (len + 1 == (size_t)size && line[len - 1] != '\n') {
        reading_fail(r,
                     "a line of at most %d characters was expected; a long list goes on in the"
                     " next line, indented",
                     CONFIG_LINE_MAX - 3);
        return NULL;
    }
    r->continued = len > 0 && (line[0] == ' ' || line[0] == '\t');
    if (line[0] == '[') {
        char name[CONFIG_LINE_MAX];

        end = strchr(line, ']');
        if (end == NULL) {
            reading_fail(r, "] was expected");
            return NULL;
        }
        snprintf(name, sizeof(name), "%.*s", (int)(end - line - 1), line + 1);
        if (!section_open(r, name))
            return NULL;
    }
    return line;
}

/* --- The whole file
 * --------------------------------------------------------------------------------------- */

static bool
kind_check(struct reading *r, struct config_kind *kind)
{
    const struct config *c = r->config;

    if (kind->access_lifetime_s == 0)
        kind->access_lifetime_s = c->access_lifetime_s;
    if (kind->access_lifetime_max_s == 0)
        kind->access_lifetime_max_s = kind->access_lifetime_s > DAY ? kind->access_lifetime_s : DAY;
    r->line = kind->line;
    if (kind->scopes[0] == '\0')
        return reading_fail(r, "scopes = ... was expected for %s", kind->name);
    if ((kind->audiences & kind->audience) == 0)
        return reading_fail(r, "audiences of %s must contain its audience %s", kind->name,
                            config_audience_name(kind->audience));
    if (kind->access_lifetime_max_s < kind->access_lifetime_s)
        return reading_fail(r, "access_lifetime_max of %s is less than its access_lifetime",
                            kind->name);
    return true;
}

static bool
config_check(struct reading *r)
{
    struct config *c = r->config;

    if (c->issuer[0] == '\0') {
        r->line = 1;
        return reading_fail(r, "[server] issuer = https://... was expected");
    }
    for (size_t i = 0; i < c->type_count; i++)
        if (!kind_check(r, &c->types[i]))
            return false;
    for (size_t i = 0; i < c->role_count; i++)
        if (!kind_check(r, &c->roles[i]))
            return false;
    return true;
}

/** The built-in paths are relative to the file's folder as well. */
static bool
paths_resolve(struct reading *r)
{
    for (size_t i = 0; i < KEY_COUNT; i++) {
        char *out = (char *)r->config + keys[i].offset;
        char value[CONFIG_PATH_MAX];

        if (keys[i].form != FORM_PATH || r->seen[i])
            continue;
        memcpy(value, out, sizeof(value));
        if (!value_path(r, value, out, keys[i].size))
            return false;
    }
    return true;
}

static void
reading_run(struct reading *r)
{
    int line = ini_parse_stream(on_read, r, on_value, r);

    if (line > 0 && !r->failed) {
        r->line = (unsigned)line;
        reading_fail(r, "[section] or name = value was expected");
    } else if (line < 0) {
        reading_fail(r, "out of memory");
    }
    if (!r->failed && paths_resolve(r))
        config_check(r);
}

enum lk_err
config_read(const char *path, struct config **out, struct config_error *error)
{
    struct config *config = calloc(1, sizeof(*config));
    struct reading r = {.config = config, .error = error};

    *out = NULL;
    error->text[0] = '\0';
    if (config == NULL)
        return LK_ERR_NOMEM;
    atomic_init(&config->holders, 1);
    text_copy(config->file, sizeof(config->file), path);
    config_defaults(config);
    r.file = strlen(path) < sizeof(config->file) ? fopen(path, "re") : NULL;
    if (r.file == NULL) {
        snprintf(error->text, sizeof(error->text), "%.*s: %s", (int)sizeof(config->file), path,
                 strerror(errno));
        free(config);
        return LK_ERR_NOT_FOUND;
    }
    reading_run(&r);
    fclose(r.file);
    if (r.failed) {
        free(config);
        return LK_ERR_SYNTAX;
    }
    *out = config;
    return LK_OK;
}

void
config_hold(struct config *config)
{
    atomic_fetch_add(&config->holders, 1);
}

void
config_drop(struct config *config)
{
    if (config != NULL && atomic_fetch_sub(&config->holders, 1) == 1)
        free(config);
}

static const struct config_kind *
kind_get(const struct config_kind *kinds, size_t count, struct lk_span name)
{
    for (size_t i = 0; i < count; i++)
        if (lk_span_is(name, kinds[i].name))
            return &kinds[i];
    return NULL;
}

const struct config_kind *
config_type(const struct config *config, struct lk_span name)
{
    return kind_get(config->types, config->type_count, name);
}

const struct config_kind *
config_role(const struct config *config, struct lk_span name)
{
    return kind_get(config->roles, config->role_count, name);
}
