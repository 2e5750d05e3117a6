/*
 * secret_out.h - the file of --secret-out. It is made before the server is asked, so that a secret
 * that is shown only once cannot be lost to a folder that is not writable.
 */
#ifndef LATCHKEY_CLI_SECRET_OUT_H
#define LATCHKEY_CLI_SECRET_OUT_H

#include "cli.h"

/** @param path  NULL: none is wanted, fd is -1. */
int secret_file_make(const char *path, int *fd);

/** Write the secret and a line end, and close. */
int secret_file_fill(const char *path, int fd, const char *secret);

/** What options of a rotation there are, and the rotation itself: a POST to `path`, whose answer
 * has `secret` and `old_valid_until`. @param who  the id, to be shown. */
struct rotation {
    const char *secret_out;
    int64_t overlap_s;
};

int secret_rotate(const struct cli *cli, const char *path, const char *who,
                  const struct rotation *rotation);

/** The server refused: remove the empty file again. */
void secret_file_drop(const char *path, int fd);

#endif
