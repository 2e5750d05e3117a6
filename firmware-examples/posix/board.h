/*
 * board.h - what the examples' "board" has on Linux: options, network, trust. On a microcontroller
 * this is the file that is yours.
 */
#ifndef EXAMPLES_BOARD_H
#define EXAMPLES_BOARD_H

#include <latchkey/device.h>
#include <latchkey/device/posix.h>
#include <latchkey/device/tls_mbedtls.h>

struct options {
    const char *usage;
    uint32_t count;       /* readings to send, then a clean end; 0: no end */
    uint32_t renewals;    /* renewals, then a clean end; 0: no end */
    uint32_t interval_ms; /* between readings */
    uint32_t lifetime_s;  /* of a token, asked for; 0: the server's default */
    uint8_t version;      /* LK_MQTT_5 or LK_MQTT_311 */
    bool bearer;          /* MQTT 5 with the token as password */
    enum lk_format format;
};

struct board {
    struct options options;
    struct lk_posix_tcp source_tcp, broker_tcp;
    struct lk_tls tls;
    struct lk_tls_link source_tls, broker_tls;
    struct lk_transport source_link, broker_link;
    struct lk_span id, secret;
    struct lk_span source_host; /* Host header */
    const char *broker_host, *broker_port;
    char url_host[256], url_port[6], url_authority[262];
    char secret_text[128];
};

/**
 * Read argv and the environment, open nothing yet. Prints what is wrong and returns false; also for
 * --help. Needs board_close() in every case.
 */
bool board_open(struct board *board, struct options defaults, int argc, char **argv);
void board_close(struct board *board);

/** Has somebody asked us to end (SIGINT, SIGTERM)? */
bool board_is_leaving(void);

/** Print the events that every device has in common, a line each. */
void board_print(const struct board *board, const struct lk_device_event *event);

#endif
