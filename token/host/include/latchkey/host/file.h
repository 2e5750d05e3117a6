/*
 * latchkey/host/file.h - small files, read whole and written whole.
 */
#ifndef LATCHKEY_HOST_FILE_H
#define LATCHKEY_HOST_FILE_H

#include <latchkey/bytes.h>
#include <latchkey/err.h>

/** Read a regular file. @return LK_OK, LK_ERR_NOT_FOUND, LK_ERR_NO_SPACE (larger), LK_ERR_IO. */
LK_MUST_CHECK enum lk_err lk_file_read(const char *path, struct lk_buf room, struct lk_span *out);

/**
 * Read a secret: as lk_file_read, but a file that group or others may read is refused with
 * LK_ERR_PERMISSION. One trailing line end is cut off.
 */
LK_MUST_CHECK enum lk_err lk_file_read_secret(const char *path, struct lk_buf room,
                                              struct lk_span *out);

/**
 * Write through a temporary file in the same folder, fsync, rename, fsync of the folder: readers
 * see the old or the new content, also after a power cut. @param mode  e.g. 0600.
 */
LK_MUST_CHECK enum lk_err lk_file_write(const char *path, struct lk_span content, unsigned mode);

/** Make a folder with mode 0700 if it is not there; refuse one that others may enter. */
LK_MUST_CHECK enum lk_err lk_dir_make(const char *path);

#endif
