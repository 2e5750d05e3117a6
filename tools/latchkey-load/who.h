/*
 * who.h - the clients of a run, and what they show to the broker: nothing, a password, a token.
 *
 * Tokens are made here, with a private key of the issuer's that the broker knows (a bench has one).
 */
#ifndef LATCHKEY_LOAD_WHO_H
#define LATCHKEY_LOAD_WHO_H

#include <latchkey/device/mqtt.h>
#include <latchkey/key.h>
#include <latchkey/token.h>

enum who_kind { WHO_SENSOR, WHO_MONITOR }; /* publishes its telemetry; hears everybody's */

struct who {
    const char *password; /* of everybody; or NULL */
    const char *key_file; /* JWK with its private part; or NULL */
    const char *issuer, *audience;
    enum lk_format format;
    uint8_t version;
    struct lk_key key;
};

struct person {
    char id[24]; /* client id, user name, subject */
    enum who_kind kind;
    char *token; /* or NULL; owned */
    size_t token_len;
};

/** Read the key if there is one. @return 0, or an exit code after saying what is wrong. */
int who_open(struct who *who);
void who_close(struct who *who);

/** "sensor-000017", "monitor-000001". */
void person_name(struct person *person, enum who_kind kind, unsigned number);

/** A token nobody has seen yet, where tokens are shown. @return 0 or an exit code, as above. */
int person_renew(const struct who *who, struct person *person);
void person_free(struct person *person);

/** What the person's CONNECT says; points into both. */
struct lk_mqtt_connect person_connect(const struct who *who, const struct person *person);

#endif
