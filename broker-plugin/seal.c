#include "seal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <latchkey/crypto.h>

static const char magic[] = "LKSEAL1\n";
#define MAGIC_LEN (sizeof(magic) - 1)

enum lk_err
seal_derive(struct lk_span secret, const char *purpose, uint8_t key[SEAL_KEY_LEN])
{
    return lk_crypto_hkdf_sha256(secret, (struct lk_span){NULL, 0}, lk_span_text(purpose),
                                 (struct lk_buf){key, SEAL_KEY_LEN});
}

static void
big_endian(uint8_t out[4], size_t value)
{
    for (int i = 0; i < 4; i++)
        out[i] = (uint8_t)(value >> (24 - 8 * i));
}

static enum lk_err
next_tag(struct seal *seal, const uint8_t length[4], struct lk_span chunk, uint8_t tag[32])
{
    const struct lk_span parts[] = {lk_span_of(seal->tag, sizeof(seal->tag)), lk_span_of(length, 4),
                                    chunk};

    return lk_crypto_hmac_sha256(lk_span_of(seal->key, SEAL_KEY_LEN), parts, 3, tag);
}

static void
init(struct seal *seal, const char *path, const uint8_t key[SEAL_KEY_LEN])
{
    *seal = (struct seal){.file = NULL};
    memcpy(seal->key, key, SEAL_KEY_LEN);
    (void)snprintf(seal->path, sizeof(seal->path), "%s", path);
    (void)snprintf(seal->temporary, sizeof(seal->temporary), "%s.new", path);
}

static bool
write_bytes(struct seal *seal, const void *bytes, size_t len)
{
    return len == 0 || fwrite(bytes, 1, len, seal->file) == len;
}

enum lk_err
seal_create(struct seal *seal, const char *path, const uint8_t key[SEAL_KEY_LEN])
{
    int fd;

    init(seal, path, key);
    /* The folder is ours alone (0700, locked): a fixed name clears up what a crash left behind. */
    (void)unlink(seal->temporary);
    fd = open(seal->temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return LK_ERR_IO;
    seal->file = fdopen(fd, "wb");
    if (seal->file == NULL) {
        (void)close(fd);
        return LK_ERR_IO;
    }
    return write_bytes(seal, magic, MAGIC_LEN) ? LK_OK : LK_ERR_IO;
}

static enum lk_err
add(struct seal *seal, size_t length_value, struct lk_span chunk)
{
    uint8_t length[4], tag[32];
    enum lk_err err;

    big_endian(length, length_value);
    err = next_tag(seal, length, chunk, tag);
    if (err != LK_OK)
        return err;
    memcpy(seal->tag, tag, sizeof(seal->tag));
    return write_bytes(seal, length, sizeof(length)) && write_bytes(seal, chunk.ptr, chunk.len) &&
                   write_bytes(seal, tag, sizeof(tag))
               ? LK_OK
               : LK_ERR_IO;
}

enum lk_err
seal_add(struct seal *seal, struct lk_span chunk)
{
    if (seal->file == NULL)
        return LK_ERR_STATE;
    if (chunk.len == 0 || chunk.len > UINT32_MAX)
        return LK_ERR_ARG;
    seal->chunks++;
    return add(seal, chunk.len, chunk);
}

static void
sync_folder(const char *path)
{
    char folder[sizeof(((struct seal *)0)->path)];
    char *slash;
    int fd;

    (void)snprintf(folder, sizeof(folder), "%s", path);
    slash = strrchr(folder, '/');
    if (slash != NULL)
        *slash = '\0';
    fd = open(slash == NULL ? "." : folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return;
    (void)fsync(fd);
    (void)close(fd);
}

enum lk_err
seal_commit(struct seal *seal)
{
    uint8_t count[4];
    bool ok;

    if (seal->file == NULL)
        return LK_ERR_STATE;
    big_endian(count, seal->chunks);
    ok = add(seal, 0, lk_span_of(count, sizeof(count))) == LK_OK && fflush(seal->file) == 0 &&
         fsync(fileno(seal->file)) == 0;
    ok = (fclose(seal->file) == 0) && ok;
    seal->file = NULL;
    ok = ok && rename(seal->temporary, seal->path) == 0;
    if (!ok) {
        seal_abort(seal);
        return LK_ERR_IO;
    }
    sync_folder(seal->path);
    lk_wipe(seal, sizeof(*seal));
    return LK_OK;
}

void
seal_abort(struct seal *seal)
{
    int saved_errno = errno;

    if (seal->file != NULL)
        (void)fclose(seal->file);
    if (seal->temporary[0] != '\0')
        (void)unlink(seal->temporary);
    lk_wipe(seal, sizeof(*seal));
    errno = saved_errno;
}

static bool
read_bytes(struct seal *seal, void *to, size_t len)
{
    return fread(to, 1, len, seal->file) == len;
}

/* One chunk or the end. @return LK_OK, LK_ERR_CLOSED for a sound end, LK_ERR_SIGNATURE. */
static enum lk_err
read_chunk(struct seal *seal, struct lk_buf room, struct lk_span *chunk)
{
    uint8_t length[4], tag[32], ours[32], count[4];
    size_t len;
    bool is_end;

    if (!read_bytes(seal, length, sizeof(length)))
        return LK_ERR_SIGNATURE;
    len = (size_t)length[0] << 24 | (size_t)length[1] << 16 | (size_t)length[2] << 8 | length[3];
    is_end = len == 0;
    if (is_end)
        len = sizeof(count);
    if (len > room.cap || !read_bytes(seal, room.ptr, len) || !read_bytes(seal, tag, sizeof(tag)))
        return LK_ERR_SIGNATURE;
    *chunk = lk_span_of(room.ptr, len);
    if (next_tag(seal, length, *chunk, ours) != LK_OK ||
        !lk_equal_ct(lk_span_of(ours, sizeof(ours)), lk_span_of(tag, sizeof(tag))))
        return LK_ERR_SIGNATURE;
    memcpy(seal->tag, tag, sizeof(tag));
    if (!is_end) {
        seal->chunks++;
        return LK_OK;
    }
    big_endian(count, seal->chunks);
    return memcmp(count, room.ptr, sizeof(count)) == 0 && fgetc(seal->file) == EOF
               ? LK_ERR_CLOSED
               : LK_ERR_SIGNATURE;
}

static bool
rewind_to_first(struct seal *seal)
{
    char start[MAGIC_LEN];

    seal->chunks = 0;
    memset(seal->tag, 0, sizeof(seal->tag));
    rewind(seal->file);
    return read_bytes(seal, start, sizeof(start)) && memcmp(start, magic, MAGIC_LEN) == 0;
}

enum lk_err
seal_open(struct seal *seal, const char *path, const uint8_t key[SEAL_KEY_LEN], struct lk_buf room)
{
    enum lk_err err = LK_OK;
    struct lk_span chunk;
    struct stat st;
    int fd;

    init(seal, path, key);
    seal->temporary[0] = '\0';
    fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY | O_NOFOLLOW);
    if (fd < 0)
        return errno == ENOENT ? LK_ERR_NOT_FOUND : LK_ERR_IO;
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || st.st_size > STATE_FILE_MAX ||
        (seal->file = fdopen(fd, "rb")) == NULL) {
        (void)close(fd);
        return LK_ERR_IO;
    }
    err = rewind_to_first(seal) ? LK_OK : LK_ERR_SIGNATURE;
    while (err == LK_OK)
        err = read_chunk(seal, room, &chunk);
    if (err == LK_ERR_CLOSED && rewind_to_first(seal))
        return LK_OK;
    seal_close(seal);
    return LK_ERR_SIGNATURE;
}

bool
seal_next(struct seal *seal, struct lk_buf room, struct lk_span *chunk)
{
    *chunk = (struct lk_span){NULL, 0};
    if (seal->file == NULL)
        return false;
    if (read_chunk(seal, room, chunk) == LK_OK)
        return true;
    *chunk = (struct lk_span){NULL, 0};
    return false;
}

void
seal_close(struct seal *seal)
{
    if (seal->file != NULL)
        (void)fclose(seal->file);
    lk_wipe(seal, sizeof(*seal));
}
