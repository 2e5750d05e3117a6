#include "pki.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <arpa/inet.h>

#include <openssl/bio.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>

#include <latchkey/host/file.h>

#define CA_DAYS     3650
#define SERVER_DAYS 730  /* clients that limit a leaf's life accept up to 825 days */
#define EARLIER_S   3600 /* a client whose clock is a little behind must not refuse it */
#define DAY_S       86400L

struct pki {
    X509 *cert;
    EVP_PKEY *key;
};

/* --- Files ------------------------------------------------------------------------------------ */

static enum lk_err
bio_save(BIO *bio, const char *path, unsigned mode)
{
    char *ptr = NULL;
    long len = BIO_get_mem_data(bio, &ptr);

    if (len <= 0)
        return LK_ERR_CRYPTO;
    return lk_file_write(path, lk_span_of(ptr, (size_t)len), mode);
}

static enum lk_err
cert_save(X509 *cert, const char *path)
{
    BIO *bio = BIO_new(BIO_s_mem());
    enum lk_err err = LK_ERR_CRYPTO;

    if (bio != NULL && PEM_write_bio_X509(bio, cert) == 1)
        err = bio_save(bio, path, 0644);
    BIO_free(bio);
    return err;
}

static enum lk_err
key_save(EVP_PKEY *key, const char *path)
{
    BIO *bio = BIO_new(BIO_s_secmem());
    enum lk_err err = LK_ERR_CRYPTO;

    if (bio != NULL && PEM_write_bio_PKCS8PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL) == 1)
        err = bio_save(bio, path, 0600);
    BIO_free(bio);
    return err;
}

/* --- Certificates -------------------------------------------------------------------------------
 */

static bool
serial_put(X509 *cert)
{
    unsigned char random[16];
    BIGNUM *number;
    bool ok;

    if (RAND_bytes(random, sizeof(random)) != 1)
        return false;
    random[0] &= 0x7f; /* RFC 5280 section 4.1.2.2: positive */
    random[0] |= 0x40; /* and of one length */
    number = BN_bin2bn(random, sizeof(random), NULL);
    ok = number != NULL && BN_to_ASN1_INTEGER(number, X509_get_serialNumber(cert)) != NULL;
    BN_free(number);
    return ok;
}

static bool
extension_put(X509 *cert, X509 *issuer, int nid, const char *value)
{
    X509_EXTENSION *extension;
    X509V3_CTX ctx;
    bool ok;

    X509V3_set_ctx_nodb(&ctx);
    X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
    extension = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    ok = extension != NULL && X509_add_ext(cert, extension, -1) == 1;
    X509_EXTENSION_free(extension);
    return ok;
}

static X509 *
cert_new(EVP_PKEY *key, const char *name, long days)
{
    X509 *cert = X509_new();
    X509_NAME *subject;

    if (cert == NULL)
        return NULL;
    subject = X509_get_subject_name(cert);
    if (X509_set_version(cert, X509_VERSION_3) != 1 || !serial_put(cert) ||
        X509_gmtime_adj(X509_getm_notBefore(cert), -EARLIER_S) == NULL ||
        X509_gmtime_adj(X509_getm_notAfter(cert), days * DAY_S) == NULL ||
        X509_set_pubkey(cert, key) != 1 ||
        X509_NAME_add_entry_by_txt(subject, "O", MBSTRING_ASC,
                                   (const unsigned char *)"Latchkey development", -1, -1, 0) != 1 ||
        X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8, (const unsigned char *)name, -1,
                                   -1, 0) != 1) {
        X509_free(cert);
        return NULL;
    }
    return cert;
}

enum lk_err
pki_new(const char *cert_path, const char *key_path, struct pki **out)
{
    struct pki *pki = calloc(1, sizeof(*pki));
    enum lk_err err = LK_ERR_CRYPTO;

    *out = NULL;
    if (pki == NULL)
        return LK_ERR_NOMEM;
    pki->key = EVP_EC_gen("P-256");
    pki->cert = pki->key == NULL ? NULL : cert_new(pki->key, "Latchkey development CA", CA_DAYS);
    if (pki->cert == NULL ||
        X509_set_issuer_name(pki->cert, X509_get_subject_name(pki->cert)) != 1 ||
        !extension_put(pki->cert, pki->cert, NID_basic_constraints, "critical,CA:TRUE,pathlen:0") ||
        !extension_put(pki->cert, pki->cert, NID_key_usage, "critical,keyCertSign,cRLSign") ||
        !extension_put(pki->cert, pki->cert, NID_subject_key_identifier, "hash") ||
        X509_sign(pki->cert, pki->key, EVP_sha256()) == 0)
        goto fail;
    err = key_save(pki->key, key_path);
    if (err == LK_OK)
        err = cert_save(pki->cert, cert_path);
    if (err != LK_OK)
        goto fail;
    *out = pki;
    return LK_OK;
fail:
    pki_free(pki);
    return err;
}

void
pki_free(struct pki *pki)
{
    if (pki == NULL)
        return;
    X509_free(pki->cert);
    EVP_PKEY_free(pki->key);
    free(pki);
}

/** The names of this machine, and the one the server is to be found under. */
static void
alt_names(const char *host, char *out, size_t size)
{
    static const char local[] = "DNS:localhost,IP:127.0.0.1,IP:::1";
    unsigned char address[16];
    bool is_ip = inet_pton(AF_INET, host, address) == 1 || inet_pton(AF_INET6, host, address) == 1;
    size_t len = strlen(host);
    bool is_name = len > 0 && strspn(host, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                                           "0123456789.-") == len;

    if (strcmp(host, "localhost") == 0 || strcmp(host, "127.0.0.1") == 0 ||
        strcmp(host, "::1") == 0 || (!is_ip && !is_name))
        snprintf(out, size, "%s", local);
    else
        snprintf(out, size, "%s,%s:%s", local, is_ip ? "IP" : "DNS", host);
}

enum lk_err
pki_issue(struct pki *pki, const char *name, const char *host, const char *cert_path,
          const char *key_path)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *cert = key == NULL ? NULL : cert_new(key, name, SERVER_DAYS);
    char names[400];
    enum lk_err err = LK_ERR_CRYPTO;

    alt_names(host, names, sizeof(names));
    if (cert == NULL || X509_set_issuer_name(cert, X509_get_subject_name(pki->cert)) != 1 ||
        !extension_put(cert, pki->cert, NID_basic_constraints, "critical,CA:FALSE") ||
        !extension_put(cert, pki->cert, NID_key_usage, "critical,digitalSignature") ||
        !extension_put(cert, pki->cert, NID_ext_key_usage, "serverAuth") ||
        !extension_put(cert, pki->cert, NID_subject_key_identifier, "hash") ||
        !extension_put(cert, pki->cert, NID_authority_key_identifier, "keyid:always") ||
        !extension_put(cert, pki->cert, NID_subject_alt_name, names) ||
        X509_sign(cert, pki->key, EVP_sha256()) == 0)
        goto out;
    err = key_save(key, key_path);
    if (err == LK_OK)
        err = cert_save(cert, cert_path);
out:
    X509_free(cert);
    EVP_PKEY_free(key);
    return err;
}
