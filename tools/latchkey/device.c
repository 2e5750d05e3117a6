/*
 * device.c - latchkey device: register, look, lock, command.
 */
#include "api.h"
#include "secret_out.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct opt no_options[] = {{NULL, OPT_FLAG, NULL}};

/* One request about one device. */
static int
device_call(const struct cli *cli, const char *method, const char *id, const char *suffix,
            json_t **answer)
{
    char path[URL_MAX] = "";
    struct call call = {.method = method, .path = path};
    struct api api;
    int code;

    *answer = NULL;
    if (!url_append(path, sizeof(path), "/v1/devices/", id) ||
        !url_append(path, sizeof(path), suffix, NULL))
        return cli_usage(cli, "the id is too long");
    code = api_open(cli, &api);
    if (code != CLI_DONE)
        return code;
    code = api_call(&api, &call, answer);
    api_close(&api);
    return code;
}

static int
show_answer(const struct cli *cli, int code, json_t *answer)
{
    if (code == CLI_DONE && cli->json && answer != NULL)
        out_json(answer);
    else if (code == CLI_DONE && answer != NULL)
        out_lines(answer);
    json_decref(answer);
    return code;
}

/* --tag floor=2 --tag north: the server keeps tags as texts. */
static int
tags_put(const struct cli *cli, json_t *body, const struct texts *tags)
{
    json_t *array = json_array();
    int code = CLI_DONE;
    size_t i;

    for (i = 0; i < tags->count && code == CLI_DONE; i++) {
        if (json_array_append_new(array, json_string(tags->item[i])) != 0)
            code = cli_usage(cli, "--tag: not UTF-8");
    }
    if (code == CLI_DONE && tags->count > 0)
        (void)json_object_set(body, "tags", array);
    json_decref(array);
    return code;
}

static int
text_put(const struct cli *cli, json_t *body, const char *member, const char *text)
{
    if (text == NULL || json_object_set_new(body, member, json_string(text)) == 0)
        return CLI_DONE;
    return cli_usage(cli, "%s: not UTF-8", member);
}

/* The host part of LATCHKEY_URL, or LATCHKEY_MQTT_HOST. */
static void
example_host(char *room, size_t cap)
{
    const char *host = getenv("LATCHKEY_MQTT_HOST");
    const char *url = getenv("LATCHKEY_URL");
    size_t len;

    if (host == NULL || host[0] == '\0') {
        host = url != NULL && strstr(url, "://") != NULL ? strstr(url, "://") + 3 : "localhost";
        len = strcspn(host, ":/");
    } else {
        len = strlen(host);
    }
    (void)snprintf(room, cap, "%.*s", (int)len, host);
}

static bool
has_scope(const json_t *device, const char *scope)
{
    const json_t *scopes = json_object_get(device, "scopes");
    const json_t *item;
    size_t i;

    if (json_is_string(scopes))
        return strstr(json_string_value(scopes), scope) != NULL;
    json_array_foreach (scopes, i, item) {
        if (json_is_string(item) && strcmp(json_string_value(item), scope) == 0)
            return true;
    }
    return false;
}

/* Lines to copy. The secret stands only in the line that puts it into a file. */
static void
examples_print(const json_t *device, const char *id, const char *secret, const char *path)
{
    const char *ca = getenv("LATCHKEY_CA"), *url = getenv("LATCHKEY_URL");
    const char *port = getenv("LATCHKEY_MQTTS_PORT");
    bool ears = has_scope(device, "commands:receive");
    char host[256], file[LK_SUBJECT_MAX + 8];

    example_host(host, sizeof(host));
    (void)snprintf(file, sizeof(file), "%s.secret", id);
    if (path == NULL) {
        path = file;
        (void)printf("\n# Keep the secret: it is not shown again. (printf is built into the shell: "
                     "nobody sees it run.)\n"
                     "(umask 077; printf '%%s\\n' '%s' > '%s')\n",
                     secret, path);
    }
    (void)printf("\n# A token for it, good for its usual life\n"
                 "export LATCHKEY_URL='%s'%s%s%s\n"
                 "TOKEN=$(LATCHKEY_CLIENT_ID='%s' LATCHKEY_CLIENT_SECRET_FILE='%s' "
                 "latchkey token get)\n",
                 url, ca != NULL ? " LATCHKEY_CA='" : "", ca != NULL ? ca : "",
                 ca != NULL ? "'" : "", id, path);
    (void)printf("\n# %s\n"
                 "mosquitto_%s -h '%s' -p %s %s '%s' -i '%s' -u x -P \"$TOKEN\" "
                 "-t 'devices/%s/%s'%s\n",
                 ears ? "Wait for commands" : "Send telemetry", ears ? "sub" : "pub", host,
                 port != NULL ? port : "8883", ca != NULL ? "--cafile" : "--capath",
                 ca != NULL ? ca : "/etc/ssl/certs", id, id, ears ? "commands/+" : "telemetry",
                 ears ? " -v" : " -m '{\"battery\": 87}'");
}

static int
added_print(const struct cli *cli, json_t *answer, const char *path, int fd)
{
    json_t *device = json_object_get(answer, "device");
    const char *secret = json_string_value(json_object_get(answer, "secret"));
    const char *id = json_string_value(json_object_get(device, "id"));
    int code = CLI_DONE;

    if (fd >= 0 && secret != NULL) {
        code = secret_file_fill(path, fd, secret);
        if (code == CLI_DONE)
            (void)json_object_del(answer, "secret");
        else
            path = NULL;
    } else {
        secret_file_drop(path, fd);
        path = NULL;
    }
    secret = json_string_value(json_object_get(answer, "secret"));
    if (cli->json) {
        out_json(answer);
        return code;
    }
    if (id == NULL)
        return cli_unreachable("the answer has no device id; is this a Latchkey server?");
    (void)printf("id      %s\n", id);
    (void)printf("secret  %s%s\n",
                 secret != NULL ? secret
                 : path != NULL ? "in "
                                : "none",
                 secret == NULL && path != NULL ? path : "");
    if (secret != NULL || path != NULL)
        examples_print(device, id, secret, path);
    return code;
}

int
device_add(struct cli *cli, int argc, char **argv)
{
    const char *id = NULL, *name = NULL, *location = NULL, *path = NULL;
    struct texts tags = {.count = 0}, rest;
    const struct opt options[] = {{"id", OPT_TEXT, &id},
                                  {"name", OPT_TEXT, &name},
                                  {"location", OPT_TEXT, &location},
                                  {"tag", OPT_LIST, &tags},
                                  {"secret-out", OPT_TEXT, &path},
                                  {NULL, OPT_FLAG, NULL}};
    json_t *body, *answer = NULL;
    struct call call = {.method = "POST", .path = "/v1/devices"};
    struct api api = {.cli = cli};
    int code, fd = -1;

    if (!options_parse(cli, argc, argv, options, 1, 1, &rest))
        return CLI_USAGE;
    body = json_object();
    code = text_put(cli, body, "type", rest.item[0]);
    if (code == CLI_DONE)
        code = text_put(cli, body, "id", id);
    if (code == CLI_DONE)
        code = text_put(cli, body, "name", name);
    if (code == CLI_DONE)
        code = text_put(cli, body, "location", location);
    if (code == CLI_DONE)
        code = tags_put(cli, body, &tags);
    if (code == CLI_DONE)
        code = api_open(cli, &api);
    if (code == CLI_DONE)
        code = secret_file_make(path, &fd);
    if (code == CLI_DONE) {
        call.body = body;
        code = api_call(&api, &call, &answer);
        if (code == CLI_DONE)
            code = added_print(cli, answer, path, fd);
        else
            secret_file_drop(path, fd);
    }
    api_close(&api);
    json_decref(answer);
    json_decref(body);
    return code;
}

int
device_list(struct cli *cli, int argc, char **argv)
{
    static const struct out_column columns[] = {
        {"id", "ID"},          {"type", "TYPE"},           {"state", "STATE"}, {"name", "NAME"},
        {"location", "PLACE"}, {"last_seen", "LAST SEEN"}, {"tags", "TAGS"}};
    struct list list = {.cli = cli,
                        .path = "/v1/devices",
                        .columns = columns,
                        .column_count = sizeof(columns) / sizeof(columns[0])};
    const char *type = NULL, *tag = NULL, *state = NULL, *q = NULL;
    const struct opt options[] = {{"type", OPT_TEXT, &type},         {"tag", OPT_TEXT, &tag},
                                  {"state", OPT_TEXT, &state},       {"q", OPT_TEXT, &q},
                                  {"limit", OPT_NUMBER, &list.most}, {NULL, OPT_FLAG, NULL}};
    struct texts rest;

    if (!options_parse(cli, argc, argv, options, 0, 0, &rest))
        return CLI_USAGE;
    list_filter(&list, "&type=", type);
    list_filter(&list, "&tag=", tag);
    list_filter(&list, "&state=", state);
    list_filter(&list, "&q=", q);
    return list_run(&list);
}

static int
one_device(struct cli *cli, int argc, char **argv, const char *method, const char *suffix)
{
    struct texts rest;
    json_t *answer;
    int code;

    if (!options_parse(cli, argc, argv, no_options, 1, 1, &rest))
        return CLI_USAGE;
    code = device_call(cli, method, rest.item[0], suffix, &answer);
    return show_answer(cli, code, answer);
}

int
device_show(struct cli *cli, int argc, char **argv)
{
    return one_device(cli, argc, argv, "GET", "");
}

int
device_suspend(struct cli *cli, int argc, char **argv)
{
    return one_device(cli, argc, argv, "POST", "/suspend");
}

int
device_resume(struct cli *cli, int argc, char **argv)
{
    return one_device(cli, argc, argv, "POST", "/resume");
}

int
device_disconnect(struct cli *cli, int argc, char **argv)
{
    return one_device(cli, argc, argv, "POST", "/disconnect");
}

int
device_restore(struct cli *cli, int argc, char **argv)
{
    return one_device(cli, argc, argv, "POST", "/restore");
}

int
device_remove(struct cli *cli, int argc, char **argv)
{
    bool purge = false;
    const struct opt options[] = {{"purge", OPT_FLAG, &purge}, {NULL, OPT_FLAG, NULL}};
    struct texts rest;
    json_t *answer;
    int code;

    if (!options_parse(cli, argc, argv, options, 1, 1, &rest))
        return CLI_USAGE;
    code = device_call(cli, "DELETE", rest.item[0], purge ? "?purge=true" : "", &answer);
    return show_answer(cli, code, answer);
}

int
device_rotate(struct cli *cli, int argc, char **argv)
{
    struct rotation rotation = {0};
    const struct opt options[] = {{"overlap", OPT_SECONDS, &rotation.overlap_s},
                                  {"secret-out", OPT_TEXT, &rotation.secret_out},
                                  {NULL, OPT_FLAG, NULL}};
    char path[URL_MAX] = "";
    struct texts rest;

    if (!options_parse(cli, argc, argv, options, 1, 1, &rest))
        return CLI_USAGE;
    if (!url_append(path, sizeof(path), "/v1/devices/", rest.item[0]) ||
        !url_append(path, sizeof(path), "/secret", NULL))
        return cli_usage(cli, "the id is too long");
    return secret_rotate(cli, path, rest.item[0], &rotation);
}

int
device_status(struct cli *cli, int argc, char **argv)
{
    return one_device(cli, argc, argv, "GET", "/status");
}

/* ARGS-JSON as it stands, from standard input or from a file. */
static int
args_read(const struct cli *cli, const char *text, json_t **args)
{
    static uint8_t room[INPUT_MAX];
    struct lk_span in = lk_span_text(text);
    json_error_t error;
    int code = CLI_DONE;

    if (strcmp(text, "-") == 0 || text[0] == '@')
        code = input_read(cli, text, LK_BUF_OF(room), &in);
    if (code != CLI_DONE)
        return code;
    *args =
        json_loadb((const char *)in.ptr, in.len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &error);
    if (*args == NULL)
        return cli_usage(cli, "ARGS-JSON: column %d: %s", error.column, error.text);
    return CLI_DONE;
}

/* What became of the command, as an exit code. */
static int
command_tell(const struct cli *cli, const json_t *answer, int64_t wait_s)
{
    const char *state = json_string_value(json_object_get(answer, "state"));

    if (cli->json)
        out_json(answer);
    else
        out_lines(answer);
    if (wait_s <= 0 || state == NULL || strcmp(state, "done") == 0)
        return CLI_DONE;
    if (strcmp(state, "failed") == 0 || strcmp(state, "expired") == 0 ||
        strcmp(state, "cancelled") == 0)
        return cli_refused("the command has %s", state[0] == 'c' ? "been cancelled" : state);
    return cli_unreachable("the device: no result within %" PRId64 " s; the command is %s", wait_s,
                           state);
}

int
device_send(struct cli *cli, int argc, char **argv)
{
    char path[URL_MAX] = "", wait[32] = "/commands";
    int64_t wait_s = 0, expires_s = 0;
    const struct opt options[] = {{"wait", OPT_SECONDS, &wait_s},
                                  {"expires", OPT_SECONDS, &expires_s},
                                  {NULL, OPT_FLAG, NULL}};
    struct call call = {.method = "POST", .path = path};
    json_t *body, *args = NULL, *answer = NULL;
    struct api api = {.cli = cli};
    struct texts rest;
    int code;

    if (!options_parse(cli, argc, argv, options, 2, 3, &rest))
        return CLI_USAGE;
    if (wait_s > WAIT_MAX_S)
        return cli_usage(cli, "--wait: at most %d seconds", WAIT_MAX_S);
    if (wait_s > 0)
        (void)snprintf(wait, sizeof(wait), "/commands?wait=%" PRId64, wait_s);
    if (!url_append(path, sizeof(path), "/v1/devices/", rest.item[0]) ||
        !url_append(path, sizeof(path), wait, NULL))
        return cli_usage(cli, "the id is too long");
    body = json_object();
    code = text_put(cli, body, "name", rest.item[1]);
    if (code == CLI_DONE && rest.count == 3)
        code = args_read(cli, rest.item[2], &args);
    if (args != NULL)
        (void)json_object_set_new(body, "args", args);
    if (expires_s > 0)
        (void)json_object_set_new(body, "expires_in", json_integer((json_int_t)expires_s));
    if (code == CLI_DONE)
        code = api_open(cli, &api);
    if (code == CLI_DONE) {
        call.body = body;
        call.extra_ms = (unsigned)wait_s * 1000;
        code = api_call(&api, &call, &answer);
    }
    if (code == CLI_DONE)
        code = command_tell(cli, answer, wait_s);
    api_close(&api);
    json_decref(answer);
    json_decref(body);
    return code;
}
