/*
 * count_verifications.c - for LD_PRELOAD: counts the signatures a process verifies.
 *
 * An eight-byte counter in the file named by LATCHKEY_TEST_COUNTER, mapped shared, so that a test
 * can read it while the process runs. The broker's plugin is asked nothing: libcrypto's own entry
 * points are counted.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

static _Atomic uint64_t *counter;

__attribute__((constructor)) static void
open_counter(void)
{
    const char *path = getenv("LATCHKEY_TEST_COUNTER");
    int fd = path != NULL ? open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600) : -1;

    if (fd < 0 || ftruncate(fd, sizeof(*counter)) != 0)
        return;
    void *at = mmap(NULL, sizeof(*counter), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (at != MAP_FAILED)
        counter = at;
}

static void
count(void)
{
    if (counter != NULL)
        atomic_fetch_add(counter, 1);
}

int
EVP_DigestVerify(void *ctx, const unsigned char *sig, size_t sig_len, const unsigned char *data,
                 size_t data_len)
{
    int (*real)(void *, const unsigned char *, size_t, const unsigned char *, size_t) =
        dlsym(RTLD_NEXT, "EVP_DigestVerify");
    count();
    return real(ctx, sig, sig_len, data, data_len);
}

int
EVP_DigestVerifyFinal(void *ctx, const unsigned char *sig, size_t sig_len)
{
    int (*real)(void *, const unsigned char *, size_t) = dlsym(RTLD_NEXT, "EVP_DigestVerifyFinal");
    count();
    return real(ctx, sig, sig_len);
}

int
EVP_PKEY_verify(void *ctx, const unsigned char *sig, size_t sig_len, const unsigned char *hash,
                size_t hash_len)
{
    int (*real)(void *, const unsigned char *, size_t, const unsigned char *, size_t) =
        dlsym(RTLD_NEXT, "EVP_PKEY_verify");
    count();
    return real(ctx, sig, sig_len, hash, hash_len);
}

int
ECDSA_do_verify(const unsigned char *hash, int hash_len, const void *sig, void *key)
{
    int (*real)(const unsigned char *, int, const void *, void *) =
        dlsym(RTLD_NEXT, "ECDSA_do_verify");
    count();
    return real(hash, hash_len, sig, key);
}

int
ECDSA_verify(int type, const unsigned char *hash, int hash_len, const unsigned char *sig,
             int sig_len, void *key)
{
    int (*real)(int, const unsigned char *, int, const unsigned char *, int, void *) =
        dlsym(RTLD_NEXT, "ECDSA_verify");
    count();
    return real(type, hash, hash_len, sig, sig_len, key);
}
