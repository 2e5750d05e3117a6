/*
 * seal.h - files that prove they were written by us: a chain of chunks, each with an HMAC-SHA-256
 * over the one before it, a last one that says how many there were.
 *
 *     file   = magic chunk* end           magic = "LKSEAL1\n"
 *     chunk  = length (4 bytes, big-endian, not 0)  bytes  tag (32 bytes)
 *     end    = length 0                             count (4 bytes)  tag
 *     tag    = HMAC(key, tag before || length || bytes)
 *
 * A cut, swapped or foreign chunk is noticed before anything is handed out. Written beside its
 * place and renamed, so a reader sees the old file or the new one. Not secret: authentic. Not
 * here: protection from an older authentic copy of the same file.
 */
#ifndef PLUGIN_SEAL_H
#define PLUGIN_SEAL_H

#include <stdio.h>

#include <latchkey/bytes.h>
#include <latchkey/err.h>

#include "limits.h"

#define SEAL_KEY_LEN 32

struct seal {
    uint8_t key[SEAL_KEY_LEN];
    uint8_t tag[32];
    uint32_t chunks;
    FILE *file;
    char path[OPTION_TEXT_MAX + 32];
    char temporary[OPTION_TEXT_MAX + 40];
};

/** The key for one kind of file: HKDF of the verifier's secret. An empty secret is allowed; such a
 * file then only shows that it is whole. */
LK_MUST_CHECK enum lk_err seal_derive(struct lk_span secret, const char *purpose,
                                      uint8_t key[SEAL_KEY_LEN]);

/* Writing: create, add ..., then commit or abort. After an error only abort is of use. */
LK_MUST_CHECK enum lk_err seal_create(struct seal *seal, const char *path,
                                      const uint8_t key[SEAL_KEY_LEN]);
LK_MUST_CHECK enum lk_err seal_add(struct seal *seal, struct lk_span chunk);
LK_MUST_CHECK enum lk_err seal_commit(struct seal *seal);
void seal_abort(struct seal *seal);

/**
 * Open for reading; the whole file is verified before this returns.
 * @return LK_OK, LK_ERR_NOT_FOUND, LK_ERR_SIGNATURE (not ours, or damaged), LK_ERR_IO.
 */
LK_MUST_CHECK enum lk_err seal_open(struct seal *seal, const char *path,
                                    const uint8_t key[SEAL_KEY_LEN], struct lk_buf room);

/** The next chunk, into room. @return false at the end, or if the file changed under us. */
bool seal_next(struct seal *seal, struct lk_buf room, struct lk_span *chunk);
void seal_close(struct seal *seal);

#endif
