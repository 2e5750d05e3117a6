/*
 * acl_import.c - latchkey acl import: an acl_file or dynamic security's JSON as a scope map.
 */
#include "acl_import.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <latchkey/host/file.h>
#include <latchkey/policy.h>

static bool
is_json(struct lk_span file)
{
    size_t at = 0;

    while (at < file.len && strchr(" \t\r\n", file.ptr[at]) != NULL && file.ptr[at] != '\0')
        at++;
    return at < file.len && file.ptr[at] == '{';
}

/* --- the map ------------------------------------------------------------------------------- */

static void
filter_write(FILE *to, const char *filter)
{
    for (; *filter != '\0'; filter++) {
        if (*filter == PLACE_DEVICE)
            (void)fputs("{device}", to);
        else if (*filter == PLACE_CLIENT)
            (void)fputs("{client}", to);
        else
            (void)fputc(*filter, to);
    }
}

/* A comment may hold names of anybody's choice, but no line end. */
static void
comment_write(FILE *to, const char *text)
{
    for (; *text != '\0'; text++)
        (void)fputc((unsigned char)*text < ' ' || *text == 0x7f ? '?' : *text, to);
}

static void
scope_write(FILE *to, const struct import_scope *scope)
{
    (void)fputs("\n# ", to);
    comment_write(to, scope->what);
    if (scope->users > 1 && strncmp(scope->name, "user:", 5) == 0)
        (void)fprintf(to, " and %zu more who may do the same", scope->users - 1);
    (void)fputc('\n', to);
    for (size_t i = 0; i < scope->lines.count; i++) {
        const struct import_line *line = &scope->lines.item[i];

        (void)fprintf(to, "%-24s %-10s ", scope->name,
                      line->publish && line->subscribe ? "both"
                      : line->publish                  ? "publish"
                                                       : "subscribe");
        filter_write(to, line->filter);
        (void)fputc('\n', to);
    }
}

/* @return the text, to be freed; NULL without memory. */
static char *
map_write(const struct import *im, size_t *len)
{
    char *text = NULL;
    FILE *to = open_memstream(&text, len);

    if (to == NULL)
        return NULL;
    (void)fputs("# Scope map, imported by latchkey acl import from ", to);
    comment_write(to, im->path);
    (void)fputs("\n# scope                  action     topic filter\n", to);
    for (size_t i = 0; i < im->scope_count; i++)
        scope_write(to, &im->scope[i]);
    if (fclose(to) != 0) {
        free(text);
        return NULL;
    }
    return text;
}

/* What the plugin would refuse is not written. */
static int
map_check(struct lk_span map)
{
    static struct lk_policy policy; /* too large for the stack */
    struct lk_policy_error error = {0};

    if (lk_policy_parse(map, &policy, &error) == LK_OK)
        return CLI_DONE;
    return cli_refused("the scope map would not be taken: line %u: expected %s",
                       (unsigned)error.line, error.expected);
}

/* --- the report ---------------------------------------------------------------------------- */

static json_t *
scopes_json(const struct import *im, const size_t *scope, size_t count)
{
    json_t *list = json_array();

    for (size_t i = 0; i < count; i++)
        (void)json_array_append_new(list, json_string(im->scope[scope[i]].name));
    return list;
}

static json_t *
users_json(const struct import *im)
{
    json_t *list = json_array(), *one;

    for (size_t i = 0; i < im->user_count; i++) {
        const struct import_user *user = &im->user[i];

        one = json_pack("{s:s?, s:i, s:o}", "user", user->name, "line", (int)user->line, "scopes",
                        scopes_json(im, user->scope, user->scope_count));
        if (user->type != SIZE_MAX)
            (void)json_object_set_new(one, "type", json_sprintf("imported-%zu", user->type + 1));
        (void)json_array_append_new(list, one);
    }
    return list;
}

static json_t *
types_json(const struct import *im)
{
    json_t *list = json_array();

    for (size_t i = 0; i < im->type_count; i++)
        (void)json_array_append_new(
            list, json_pack("{s:o, s:o, s:i}", "type", json_sprintf("imported-%zu", i + 1),
                            "scopes", scopes_json(im, im->type[i].scope, im->type[i].scope_count),
                            "users", (int)im->type[i].users));
    return list;
}

static json_t *
scope_list_json(const struct import *im)
{
    json_t *list = json_array();

    for (size_t i = 0; i < im->scope_count; i++)
        (void)json_array_append_new(
            list, json_pack("{s:s, s:s, s:i, s:i, s:i}", "scope", im->scope[i].name, "of",
                            im->scope[i].what, "line", (int)im->scope[i].line, "rules",
                            (int)im->scope[i].lines.count, "users", (int)im->scope[i].users));
    return list;
}

static json_t *
remarks_json(const struct import *im, bool left_out)
{
    json_t *list = json_array();

    for (size_t i = 0; i < im->remark_count; i++)
        if (im->remark[i].left_out == left_out)
            (void)json_array_append_new(list, json_pack("{s:s, s:i, s:s}", "file", im->path, "line",
                                                        (int)im->remark[i].line, "text",
                                                        im->remark[i].text));
    return list;
}

static void
report_json(const struct import *im, const char *map)
{
    json_t *answer =
        json_pack("{s:s, s:s, s:o, s:o, s:o, s:o, s:o}", "format", im->format, "file", im->path,
                  "scopes", scope_list_json(im), "types", types_json(im), "users", users_json(im),
                  "left_out", remarks_json(im, true), "notes", remarks_json(im, false));

    if (map != NULL)
        (void)json_object_set_new(answer, "map", json_string(map));
    out_json(answer);
    json_decref(answer);
}

static void
scopes_print(FILE *to, const struct import *im, const size_t *scope, size_t count)
{
    for (size_t i = 0; i < count; i++)
        (void)fprintf(to, " %s", im->scope[scope[i]].name);
}

/* Sections for latchkeyd.conf. */
static void
types_print(FILE *to, const struct import *im, const char *indent)
{
    for (size_t i = 0; i < im->type_count; i++) {
        (void)fprintf(to, "%s[type imported-%zu]\n%sscopes =", indent, i + 1, indent);
        scopes_print(to, im, im->type[i].scope, im->type[i].scope_count);
        (void)fprintf(to, "\n%saudience = mqtt\n%saudiences = mqtt\n", indent, indent);
    }
}

static size_t
remarks_print(FILE *to, const struct import *im, bool left_out, const char *title)
{
    size_t count = 0;

    for (size_t i = 0; i < im->remark_count; i++) {
        const struct import_remark *remark = &im->remark[i];

        if (remark->left_out != left_out)
            continue;
        if (count++ == 0)
            (void)fprintf(to, "\n%s\n", title);
        (void)fprintf(to, "  %s:", im->path);
        if (remark->line > 0)
            (void)fprintf(to, "%u:", remark->line);
        (void)fputc(' ', to);
        comment_write(to, remark->text);
        (void)fputc('\n', to);
    }
    return count;
}

/* Types, and who is to be registered with which. */
static void
report_print(FILE *to, const struct import *im)
{
    (void)fprintf(to, "%s: %s, %zu scope%s, %zu user%s\n", im->path, im->format, im->scope_count,
                  im->scope_count == 1 ? "" : "s", im->user_count, im->user_count == 1 ? "" : "s");
    if (im->type_count > 0)
        (void)fputs("\nDevice types for latchkeyd.conf; give them names of your own:\n", to);
    types_print(to, im, "  ");
    if (im->user_count > 0)
        (void)fputs("\nUsers, to be registered with `latchkey device add TYPE --id USER`:\n", to);
    for (size_t i = 0; i < im->user_count; i++) {
        const struct import_user *user = &im->user[i];

        (void)fputs("  ", to);
        comment_write(to, user->name);
        if (user->type == SIZE_MAX)
            (void)fputs("  may do nothing here\n", to);
        else
            (void)fprintf(to, "  imported-%zu\n", user->type + 1);
    }
    (void)remarks_print(to, im, true, "Left out:");
    (void)remarks_print(to, im, false, "To know:");
}

/* --- the command --------------------------------------------------------------------------- */

static bool
has_left_out(const struct import *im)
{
    for (size_t i = 0; i < im->remark_count; i++)
        if (im->remark[i].left_out)
            return true;
    return false;
}

/* Where things go; NULL: the map to standard output, types only into the report. */
struct outputs {
    const char *map, *types;
};

static int
text_save(const char *path, struct lk_span text)
{
    if (lk_file_write(path, text, 0644) == LK_OK)
        return CLI_DONE;
    return cli_refused("%s: cannot write: %s", path, strerror(errno));
}

static int
types_save(const struct import *im, const char *path)
{
    char *text = NULL;
    size_t len = 0;
    FILE *to = open_memstream(&text, &len);
    int code;

    if (to == NULL)
        return cli_refused("%s", lk_err_text(LK_ERR_NOMEM));
    types_print(to, im, "");
    code = fclose(to) == 0 ? text_save(path, lk_span_of(text, len))
                           : cli_refused("%s", lk_err_text(LK_ERR_NOMEM));
    free(text);
    return code;
}

static int
result_write(const struct cli *cli, const struct import *im, const struct outputs *out)
{
    size_t len = 0;
    char *map = map_write(im, &len);
    int code;

    if (map == NULL)
        return cli_refused("%s", lk_err_text(LK_ERR_NOMEM));
    code = map_check(lk_span_of(map, len));
    if (code == CLI_DONE && out->map != NULL)
        code = text_save(out->map, lk_span_of(map, len));
    if (code == CLI_DONE && out->types != NULL)
        code = types_save(im, out->types);
    if (code == CLI_DONE && cli->json) {
        report_json(im, out->map == NULL ? map : NULL);
    } else if (code == CLI_DONE) {
        if (out->map == NULL)
            (void)fwrite(map, 1, len, stdout);
        (void)fflush(stdout);
        report_print(out->map == NULL ? stderr : stdout, im);
    }
    free(map);
    return code == CLI_DONE && has_left_out(im) ? CLI_REFUSED : code;
}

static int
import_run(const struct cli *cli, const char *path, struct lk_span file, const struct outputs *out)
{
    struct import im = {.path = strcmp(path, "-") == 0 ? "standard input" : path};
    int code;

    if (file.len > 0 && (memchr(file.ptr, 0, file.len) != NULL || !lk_utf8_is_valid(file)))
        return cli_refused("%s: not UTF-8 text", im.path);
    code = is_json(file) ? dynsec_read(cli, &im, file) : acl_file_read(cli, &im, file);
    if (code == CLI_DONE)
        import_resolve(&im);
    if (im.no_memory)
        code = cli_refused("%s", lk_err_text(LK_ERR_NOMEM));
    else if (code == CLI_DONE)
        code = result_write(cli, &im, out);
    import_free(&im);
    return code;
}

int
acl_import(struct cli *cli, int argc, char **argv)
{
    static char output[] = "--output"; /* as getopt_long wants it; -o is what people write */
    struct outputs out = {NULL, NULL};
    const char *path;
    const struct opt options[] = {
        {"output", OPT_TEXT, &out.map}, {"types", OPT_TEXT, &out.types}, {NULL, OPT_FLAG, NULL}};
    struct lk_buf room = {NULL, IMPORT_MAX};
    struct lk_span file;
    struct texts rest;
    int code;

    for (int i = 1; i < argc; i++)
        argv[i] = strcmp(argv[i], "-o") == 0 ? output : argv[i];
    if (!options_parse(cli, argc, argv, options, 1, 1, &rest))
        return CLI_USAGE;
    path = rest.item[0][0] == '@' ? rest.item[0] + 1 : rest.item[0];
    room.ptr = malloc(room.cap);
    if (room.ptr == NULL)
        return cli_refused("%s", lk_err_text(LK_ERR_NOMEM));
    code = input_read(cli, path, room, &file);
    if (code == CLI_DONE)
        code = import_run(cli, path, file, &out);
    free(room.ptr);
    return code;
}
