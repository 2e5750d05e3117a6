/*
 * secret_out.c - a new secret is shown once, or goes to a file nobody else can read.
 */
#include "secret_out.h"

#include "api.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <fcntl.h>
#include <unistd.h>

#include <latchkey/host/clock.h>

int
secret_file_make(const char *path, int *fd)
{
    *fd = -1;
    if (path == NULL)
        return CLI_DONE;
    *fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (*fd < 0)
        return cli_refused("--secret-out: cannot make '%s': %s", path, strerror(errno));
    return CLI_DONE;
}

int
secret_file_fill(const char *path, int fd, const char *secret)
{
    size_t len = strlen(secret);
    bool ok;

    ok = write(fd, secret, len) == (ssize_t)len && write(fd, "\n", 1) == 1 && fsync(fd) == 0;
    ok = close(fd) == 0 && ok;
    if (!ok)
        return cli_refused("cannot write '%s': %s; the secret is shown instead", path,
                           strerror(errno));
    return CLI_DONE;
}

void
secret_file_drop(const char *path, int fd)
{
    if (fd < 0)
        return;
    (void)close(fd);
    (void)unlink(path); /* ours: it was made with O_EXCL and is still empty */
}

static int
rotated_print(const struct cli *cli, json_t *answer, const char *who, const char *path, int fd)
{
    const char *secret = json_string_value(json_object_get(answer, "secret"));
    int64_t until_s = json_integer_value(json_object_get(answer, "old_valid_until"));
    int64_t now_s = lk_clock_wall_s();
    char until[64];
    int code = CLI_DONE;

    if (secret == NULL) {
        secret_file_drop(path, fd);
        return cli_unreachable("the answer has no secret; is this a Latchkey server?");
    }
    if (fd >= 0) {
        code = secret_file_fill(path, fd, secret);
        if (code == CLI_DONE)
            (void)json_object_del(answer, "secret");
    }
    if (cli->json) {
        out_json(answer);
        return code;
    }
    secret = json_string_value(json_object_get(answer, "secret"));
    out_time(until_s, now_s, until, sizeof(until));
    (void)printf("id          %s\nsecret      %s%s\nold secret  %s\n", who,
                 secret != NULL ? "" : "in ", secret != NULL ? secret : path,
                 until_s > now_s ? until : "not valid any more");
    if (secret != NULL)
        (void)puts("\n# Keep it in a file that only its owner can read: it is not shown again.");
    return code;
}

int
secret_rotate(const struct cli *cli, const char *path, const char *who,
              const struct rotation *rotation)
{
    struct call call = {.method = "POST", .path = path};
    json_t *body = json_pack("{s:I}", "overlap_s", (json_int_t)rotation->overlap_s);
    json_t *answer = NULL;
    struct api api = {.cli = cli};
    int code = api_open(cli, &api), fd = -1;

    if (code == CLI_DONE)
        code = secret_file_make(rotation->secret_out, &fd);
    if (code == CLI_DONE) {
        call.body = body;
        code = api_call(&api, &call, &answer);
        if (code == CLI_DONE)
            code = rotated_print(cli, answer, who, rotation->secret_out, fd);
        else
            secret_file_drop(rotation->secret_out, fd);
    }
    api_close(&api);
    json_decref(answer);
    json_decref(body);
    return code;
}
