/*
 * doctor_conf.c - reading mosquitto.conf as the broker does, and the plugin's file as it does.
 */
#include "doctor.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <latchkey/host/file.h>

static const char *
file_remember(struct doctor *d, const char *path)
{
    char **more = reallocarray(d->files, d->file_count + 1, sizeof(*more));
    char *copy = strdup(path);

    if (more != NULL)
        d->files = more;
    if (more == NULL || copy == NULL) {
        d->no_memory = true;
        free(copy);
        return "";
    }
    return d->files[d->file_count++] = copy;
}

static void
setting_put(struct doctor *d, struct settings *to, const char *name, const char *value,
            struct place at)
{
    struct setting *more = reallocarray(to->item, to->count + 1, sizeof(*more));
    struct setting made = {strdup(name), strdup(value), at, SIZE_MAX};

    if (more != NULL)
        to->item = more;
    if (more == NULL || made.name == NULL || made.value == NULL) {
        d->no_memory = true;
        free(made.name);
        free(made.value);
        return;
    }
    to->item[to->count++] = made;
}

static char *
trim(char *text)
{
    size_t len;

    text += strspn(text, " \t");
    len = strlen(text);
    while (len > 0 && isspace((unsigned char)text[len - 1]))
        text[--len] = '\0';
    return text;
}

typedef void (*line_fn)(struct doctor *d, char *line, struct place at);

/* @return CLI_DONE, or what was said. */
static int
lines_read(struct doctor *d, const char *path, line_fn take)
{
    struct place at = {file_remember(d, path), 0};
    char *room = malloc(CONF_FILE_MAX + 1), *next, *line;
    struct lk_span file;
    enum lk_err err;

    if (room == NULL)
        return cli_refused("%s", lk_err_text(LK_ERR_NOMEM));
    err = lk_file_read(path, (struct lk_buf){(uint8_t *)room, CONF_FILE_MAX}, &file);
    if (err != LK_OK) {
        free(room);
        return cli_usage(d->cli, "cannot read '%s': %s", path,
                         err == LK_ERR_NO_SPACE ? "too large" : strerror(errno));
    }
    room[file.len] = '\0';
    for (next = room; next != NULL;) {
        line = strsep(&next, "\n");
        at.line++;
        take(d, line, at);
    }
    free(room);
    return CLI_DONE;
}

static void
conf_line(struct doctor *d, char *line, struct place at)
{
    char *value;

    if (line[0] == '#')
        return;
    line = trim(line);
    value = line + strcspn(line, " ");
    if (*value != '\0')
        *value++ = '\0';
    if (line[0] != '\0')
        setting_put(d, &d->broker, line, trim(value), at);
}

/* `name = value` or `[section]`, as the plugin's file has it; `;` and `#` begin comments. */
static void
option_line(struct doctor *d, char *line, struct place at)
{
    char *value, *comment;

    line = trim(line);
    if (line[0] == '\0' || line[0] == ';' || line[0] == '#')
        return;
    if (line[0] == '[') {
        line[strcspn(line, "]")] = '\0';
        setting_put(d, &d->options, "[", line + 1, at);
        return;
    }
    comment = strstr(line, " ;");
    if (comment != NULL)
        *comment = '\0';
    value = line + strcspn(line, "=:");
    if (*value != '\0')
        *value++ = '\0';
    setting_put(d, &d->options, trim(line), trim(value), at);
}

/* --- include_dir --------------------------------------------------------------------------- */

static int
is_conf(const struct dirent *entry)
{
    size_t len = strlen(entry->d_name);

    return len > 5 && strcmp(entry->d_name + len - 5, ".conf") == 0;
}

/* mosquitto.conf(5): by letters, the upper case of each before its lower case. */
static int
compare_names(const struct dirent **a, const struct dirent **b)
{
    const unsigned char *x = (const unsigned char *)(*a)->d_name;
    const unsigned char *y = (const unsigned char *)(*b)->d_name;

    for (; *x != '\0' && *y != '\0'; x++, y++) {
        if (toupper(*x) != toupper(*y))
            return toupper(*x) - toupper(*y);
        if (*x != *y)
            return *x - *y;
    }
    return *x - *y;
}

static int
folder_read(struct doctor *d, const char *folder)
{
    struct dirent **entry = NULL;
    int count = scandir(folder, &entry, is_conf, compare_names), code = CLI_DONE;
    char path[1024];

    if (count < 0)
        return cli_usage(d->cli, "cannot read '%s': %s", folder, strerror(errno));
    for (int i = 0; i < count; i++) {
        (void)snprintf(path, sizeof(path), "%s/%s", folder, entry[i]->d_name);
        if (code == CLI_DONE)
            code = lines_read(d, path, conf_line);
        free(entry[i]);
    }
    free(entry);
    return code;
}

/* What is included is read where it is named, so lines go on in their order. */
static int
conf_read(struct doctor *d)
{
    struct settings all = {NULL, 0};
    int code = lines_read(d, d->conf, conf_line);

    all = d->broker;
    d->broker = (struct settings){NULL, 0};
    for (size_t i = 0; i < all.count; i++) {
        struct setting *s = &all.item[i];

        setting_put(d, &d->broker, s->name, s->value, s->at);
        if (code == CLI_DONE && strcmp(s->name, "include_dir") == 0)
            code = folder_read(d, s->value);
        free(s->name);
        free(s->value);
    }
    free(all.item);
    return code;
}

/* --- who belongs to whom ------------------------------------------------------------------- */

bool
setting_loads_plugin(const struct setting *setting)
{
    return strcmp(setting->name, "plugin") == 0 || strcmp(setting->name, "auth_plugin") == 0 ||
           strcmp(setting->name, "global_plugin") == 0;
}

bool
setting_loads_latchkey(const struct setting *setting)
{
    return setting_loads_plugin(setting) && strstr(setting->value, "mosquitto_latchkey") != NULL;
}

static void
owners_find(struct doctor *d)
{
    size_t listener = SIZE_MAX, plugin = SIZE_MAX, section = SIZE_MAX;

    d->plugin = SIZE_MAX;
    for (size_t i = 0; i < d->broker.count; i++) {
        struct setting *s = &d->broker.item[i];

        if (strcmp(s->name, "listener") == 0)
            listener = i;
        if (setting_loads_plugin(s))
            plugin = i;
        if (setting_loads_latchkey(s) && d->plugin == SIZE_MAX)
            d->plugin = i;
        s->owner = strncmp(s->name, "plugin_opt_", 11) == 0 ? plugin : listener;
    }
    for (size_t i = 0; i < d->options.count; i++) {
        if (d->options.item[i].name[0] == '[')
            section = strncmp(d->options.item[i].value, "issuer", 6) == 0 ? i : SIZE_MAX;
        d->options.item[i].owner = section;
    }
}

const struct setting *
doctor_global(const struct doctor *d, const char *name)
{
    const struct setting *found = NULL;

    for (size_t i = 0; i < d->broker.count; i++)
        if (strcmp(d->broker.item[i].name, name) == 0)
            found = &d->broker.item[i];
    return found;
}

const struct setting *
doctor_of_listener(const struct doctor *d, size_t listener, const char *name)
{
    const struct setting *found = NULL;

    for (size_t i = 0; i < d->broker.count; i++)
        if (d->broker.item[i].owner == listener && strcmp(d->broker.item[i].name, name) == 0)
            found = &d->broker.item[i];
    return found;
}

const struct setting *
doctor_option(const struct doctor *d, size_t section, const char *name)
{
    for (size_t i = 0; i < d->options.count; i++)
        if (d->options.item[i].owner == section && strcmp(d->options.item[i].name, name) == 0)
            return &d->options.item[i];
    for (size_t i = 0; section == SIZE_MAX && i < d->broker.count; i++) {
        const struct setting *s = &d->broker.item[i];

        if (s->owner == d->plugin && strncmp(s->name, "plugin_opt_", 11) == 0 &&
            strcmp(s->name + 11, name) == 0)
            return s;
    }
    return NULL;
}

bool
setting_is(const struct setting *setting, const char *value)
{
    return setting != NULL && strcmp(setting->value, value) == 0;
}

/* --- all of it ----------------------------------------------------------------------------- */

int
doctor_read(struct doctor *d)
{
    const struct setting *config;
    int code = conf_read(d);

    if (code != CLI_DONE)
        return code;
    owners_find(d);
    config = d->plugin != SIZE_MAX ? doctor_option(d, SIZE_MAX, "config") : NULL;
    /* One that is not there is a finding (doctor_check_files), not the end of the visit. */
    if (config != NULL && (access(config->value, F_OK) == 0 || errno != ENOENT)) {
        code = lines_read(d, config->value, option_line);
        owners_find(d);
    }
    return d->no_memory ? cli_refused("%s", lk_err_text(LK_ERR_NOMEM)) : code;
}

static void
settings_free(struct settings *settings)
{
    for (size_t i = 0; i < settings->count; i++) {
        free(settings->item[i].name);
        free(settings->item[i].value);
    }
    free(settings->item);
}

void
doctor_free(struct doctor *d)
{
    settings_free(&d->broker);
    settings_free(&d->options);
    for (size_t i = 0; i < d->file_count; i++)
        free(d->files[i]);
    free(d->files);
    json_decref(d->findings);
}

void
doctor_find(struct doctor *d, const struct finding *finding, const char *what, ...)
{
    json_t *text;
    va_list args;

    va_start(args, what);
    text = json_vsprintf(what, args);
    va_end(args);
    if (text == NULL) /* names in it that are not UTF-8 */
        text = json_string("a file with a name that is not UTF-8");
    (void)json_array_append_new(
        d->findings, json_pack("{s:s, s:s?, s:i, s:o, s:s, s:s}", "check", finding->check, "file",
                               finding->at.file, "line", (int)finding->at.line, "what", text, "why",
                               finding->why, "remedy", finding->remedy));
}
