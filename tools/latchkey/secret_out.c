/*
 * secret_out.c - a new secret is shown once, or goes to a file nobody else can read.
 */
#include "secret_out.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <fcntl.h>
#include <unistd.h>

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
