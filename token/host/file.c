/*
 * file.c - small files, read whole and written whole. errno tells the system's reason afterwards.
 */
#define _GNU_SOURCE /* mkostemp */
#include <latchkey/host/file.h>

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

static void
close_keep_errno(int fd)
{
    int saved_errno = errno;

    (void)close(fd);
    errno = saved_errno;
}

/* Fill the room to its end or the file's. */
static bool
read_up_to(int fd, struct lk_buf room, size_t *len)
{
    ssize_t n;

    *len = 0;
    while (*len < room.cap) {
        n = read(fd, room.ptr + *len, room.cap - *len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n == 0;
        *len += (size_t)n;
    }
    return true;
}

/* Whether anything is left behind what was read: the size of fstat() may have grown since. */
static bool
is_at_end(int fd)
{
    uint8_t one;
    ssize_t n;

    do
        n = read(fd, &one, 1);
    while (n < 0 && errno == EINTR);
    lk_wipe(&one, sizeof(one));
    return n == 0;
}

static enum lk_err
read_whole(const char *path, mode_t forbidden, struct lk_buf room, struct lk_span *out)
{
    enum lk_err err = LK_ERR_IO;
    struct stat st;
    size_t len = 0;
    /* O_NONBLOCK: a FIFO under this name must not hold us up before it is refused. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

    *out = (struct lk_span){NULL, 0};
    if (fd < 0)
        return errno == ENOENT || errno == ENOTDIR ? LK_ERR_NOT_FOUND : LK_ERR_IO;
    if (fstat(fd, &st) != 0)
        goto out;
    if (!S_ISREG(st.st_mode)) {
        errno = S_ISDIR(st.st_mode) ? EISDIR : EINVAL;
        goto out;
    }
    if ((st.st_mode & forbidden) != 0) {
        errno = EACCES;
        err = LK_ERR_PERMISSION;
        goto out;
    }
    if (!read_up_to(fd, room, &len))
        goto out;
    err = LK_ERR_NO_SPACE;
    if (len == room.cap && !is_at_end(fd)) {
        errno = EFBIG;
        goto out;
    }
    err = LK_OK;
    *out = lk_span_of(room.ptr, len);
out:
    if (err != LK_OK)
        lk_wipe(room.ptr, len);
    close_keep_errno(fd);
    return err;
}

enum lk_err
lk_file_read(const char *path, struct lk_buf room, struct lk_span *out)
{
    return read_whole(path, 0, room, out);
}

enum lk_err
lk_file_read_secret(const char *path, struct lk_buf room, struct lk_span *out)
{
    enum lk_err err = read_whole(path, S_IRWXG | S_IRWXO, room, out);

    if (err != LK_OK)
        return err;
    if (out->len > 0 && out->ptr[out->len - 1] == '\n')
        out->len--;
    if (out->len > 0 && out->ptr[out->len - 1] == '\r')
        out->len--;
    return LK_OK;
}

static bool
write_all(int fd, struct lk_span content)
{
    size_t done = 0;
    ssize_t n;

    while (done < content.len) {
        n = write(fd, content.ptr + done, content.len - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return false;
        done += (size_t)n;
    }
    return true;
}

/* Make the rename itself durable. Some file systems cannot sync a folder; those say EINVAL. */
static bool
sync_folder_of(const char *path)
{
    char folder[PATH_MAX];
    const char *slash = strrchr(path, '/');
    size_t len = slash == NULL ? 1 : slash == path ? 1 : (size_t)(slash - path);
    bool ok;
    int fd;

    memcpy(folder, slash == NULL ? "." : path, len);
    folder[len] = '\0';
    fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ok = fsync(fd) == 0 || errno == EINVAL;
    close_keep_errno(fd);
    return ok;
}

enum lk_err
lk_file_write(const char *path, struct lk_span content, unsigned mode)
{
    char temporary[PATH_MAX];
    bool ok;
    int fd, n, saved_errno;

    n = snprintf(temporary, sizeof(temporary), "%s.XXXXXX", path);
    if (n < 0 || (size_t)n >= sizeof(temporary)) {
        errno = ENAMETOOLONG;
        return LK_ERR_ARG;
    }
    fd = mkostemp(temporary, O_CLOEXEC); /* 0600 until it is whole */
    if (fd < 0)
        return LK_ERR_IO;
    ok = write_all(fd, content) && fchmod(fd, (mode_t)mode) == 0 && fsync(fd) == 0;
    /* close() reports what a network file system could not store. */
    ok = (close(fd) == 0) && ok;
    if (ok && rename(temporary, path) == 0)
        return sync_folder_of(path) ? LK_OK : LK_ERR_IO;
    saved_errno = errno;
    (void)unlink(temporary);
    errno = saved_errno;
    return LK_ERR_IO;
}

enum lk_err
lk_dir_make(const char *path)
{
    struct stat st;

    if (mkdir(path, 0700) == 0)
        return LK_OK;
    if (errno != EEXIST || stat(path, &st) != 0)
        return LK_ERR_IO;
    if (!S_ISDIR(st.st_mode)) {
        errno = ENOTDIR;
        return LK_ERR_IO;
    }
    /* root may look after the folder of the account it will become. */
    if ((st.st_mode & (S_IRWXG | S_IRWXO)) != 0 || (geteuid() != 0 && st.st_uid != geteuid())) {
        errno = EACCES;
        return LK_ERR_PERMISSION;
    }
    return LK_OK;
}
