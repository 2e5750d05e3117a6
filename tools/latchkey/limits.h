/*
 * limits.h - what a file, a server or a broker can make the command line spend.
 */
#ifndef LATCHKEY_CLI_LIMITS_H
#define LATCHKEY_CLI_LIMITS_H

#define INPUT_MAX         65536 /* bytes of a token on standard input or in a file, hex included */
#define IMPORT_MAX        8388608 /* bytes of another broker's access list */
#define CONF_FILE_MAX     1048576 /* bytes of mosquitto.conf, or of a file it includes */
#define KEYS_FILE_MAX     262144  /* bytes of a JWKS file */
#define KEYS_MAX          256     /* keys of a JWKS file */
#define ANSWER_MAX        4194304 /* bytes of one answer of the server */
#define REQUEST_MAX_MS    30000   /* one request, all in all; --wait is added */
#define URL_MAX           2048    /* bytes of a URL with path and query */
#define SECRET_TEXT_MAX   512     /* bytes of a client secret; ours have 43 */
#define PAGE_SIZE         200     /* items asked for at once in lists */
#define PAGES_MAX         100000  /* a server that never ends its list is not believed */
#define WAIT_MAX_S        60      /* seconds of `device send --wait` */
#define DENIALS_SHOWN     20      /* refusals `explain` tells of */
#define CLOCK_SKEW_S      5       /* clocks that differ by less are called equal */
#define ARGS_MAX          32      /* positional arguments and repeated options */
#define COLUMNS_MAX       12      /* columns of a table */
#define TEXT_DEPTH_MAX    16      /* nested values shown as lines */
#define WATCH_RETRY_MIN_S 1       /* first pause after a lost broker */
#define WATCH_RETRY_MAX_S 30      /* longest pause */
#define WATCH_SESSION_S   60      /* the broker keeps messages for us while we renew */

#endif
