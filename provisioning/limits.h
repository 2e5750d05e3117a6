/*
 * provisioning/limits.h - everything a stranger, a device or a manager can make latchkeyd spend.
 */
#ifndef PROVISIONING_LIMITS_H
#define PROVISIONING_LIMITS_H

/* HTTP */
#define HTTP_BODY_MAX 65536 /* bytes; nothing in this API is longer */
/* What is longer than HTTP_BODY_MAX but not this is read and refused by us, as a problem; the rest
 * is refused by evhttp, in HTML. */
#define HTTP_BODY_READ_MAX   131072 /* bytes */
#define HTTP_TOKEN_BODY_MAX  16384  /* bytes of a token request: a refresh token and some words */
#define HTTP_HEADERS_MAX     16384  /* bytes of all headers: a bearer token is at most 8 KiB */
#define HTTP_PATH_MAX        512    /* bytes of a path; the longest of ours stays below 200 */
#define HTTP_SEGMENTS_MAX    8      /* path segments */
#define HTTP_PARAMS_MAX      2      /* {placeholders} in one route */
#define HTTP_QUERY_MAX       2048   /* bytes of a query string */
#define HTTP_REQUEST_ID_MAX  64     /* characters of X-Request-Id that are echoed */
#define HTTP_ARENA_SIZE      24576  /* bytes of working room one request gets */
#define HTTP_JSON_DEPTH_MAX  16     /* nested arrays and objects; jansson recurses */
#define HTTP_REQUEST_TIME_MS 30000  /* from the first moment to the last byte of a request */
#define HTTP_IDLE_TIME_MS    75000  /* a keep-alive connection without a request */
#define HTTP_ERRORS_MAX      16     /* entries of `errors` in a problem */
#define HTTP_FILES_SPARE     128    /* files beside the connections: database, logs, desk */
#define HTTP_CALLS_KEPT      64     /* finished calls a worker keeps for the next request */

#define FORM_PARAMS_MAX 32 /* parameters of a form or a query */

/* Lists */
#define LIST_LIMIT_DEFAULT 100
#define LIST_LIMIT_MAX     500
#define LIST_CURSOR_MAX    256 /* characters */

/* Registry */
#define NAME_MAX_LEN       128 /* bytes of a device's or client's display name */
#define LOCATION_MAX_LEN   256 /* bytes */
#define TYPE_MAX_LEN       32  /* bytes of a type's or role's name */
#define TAGS_MAX           16  /* tags of one device */
#define TAG_MAX_LEN        32  /* bytes of one tag */
#define TAGS_TEXT_MAX      600 /* bytes of all tags as a JSON array: 16 * 35 + 2, rounded up */
#define SECRET_LEN         32  /* random bytes of a device's or client's secret */
#define SECRET_TEXT_LEN    43  /* the same as base64url */
#define PSK_IDENTITY_MAX   128 /* bytes: id, ':', 8 hex digits */
#define IDEMPOTENCY_MAX    128 /* characters of an Idempotency-Key */
#define IDEMPOTENCY_KEEP_S 600 /* contracts section 8: the answer is kept 10 min */

/* Desk */
#define COMMAND_ID_LEN       26    /* characters of a command's id */
#define COMMAND_NAME_MAX     64    /* bytes */
#define COMMAND_ARGS_MAX     16384 /* bytes of args as JSON: an actuator has to hold them */
#define COMMAND_DETAIL_MAX   1024  /* bytes of a result's detail */
#define COMMANDS_PENDING_MAX 100   /* unfinished commands one device may have */
#define TELEMETRY_MAX        65536 /* bytes of one telemetry payload */

/* Desk: the broker's side */
#define DESK_PACKET_MAX 139264 /* bytes of an MQTT packet: payload, longest topic, the rest */
#define DESK_EXPIRES_IN_MAX                                                                        \
    86400                     /* seconds a command may wait; after a day one sends a new one       \
                               */
#define DESK_WAIT_MAX_S  30   /* seconds of ?wait=: below the usual 60 s of proxies */
#define DESK_WAITERS_MAX 1024 /* requests held by ?wait=; each is an open connection */
#define DESK_BATCH_MAX   256  /* messages in one commit */
#define DESK_BATCH_BYTES_MAX                                                                       \
    4194304                         /* bytes of JSON in one batch: the most the desk ever holds    \
                                     */
#define DESK_BATCH_AGE_MS     20    /* how long a message waits for company before the commit */
#define DESK_FLUSH_RETRY_MS   1000  /* between two tries of a batch the store refuses */
#define DESK_FLUSH_TRIES_MAX  60    /* then the batch is given up, and counted */
#define DESK_INFLIGHT_MAX     64    /* commands sent that the broker has not acknowledged yet */
#define DESK_RETRY_MIN_S      5     /* a command nobody was subscribed for goes again after this */
#define DESK_RETRY_MAX_S      60    /* and, as it grows older, no later than after this */
#define DESK_SWEEP_MS         1000  /* between two looks for commands that are due or expired */
#define DESK_EXPIRE_MAX       500   /* commands expired in one commit */
#define DESK_KEEPALIVE_S      30    /* a silent broker is noticed within twice this */
#define DESK_MISC_INTERVAL_MS 1000  /* between keep-alive turns: libmosquitto's advice */
#define DESK_READY_TIMEOUT_MS 10000 /* from TCP to SUBACK */
#define DESK_SESSION_EXPIRY_S                                                                      \
    86400                          /* the broker keeps our session: as long as a command may wait */
#define DESK_BACKOFF_BASE_MS 250   /* first back-off, doubled each time, with full jitter */
#define DESK_BACKOFF_MAX_MS  30000 /* longest back-off */
#define DESK_STABLE_MS       10000 /* connected this long, the back-off starts anew */
#define DESK_LOG_INTERVAL_MS 10000 /* between two lines about bad messages of one kind */

/* OAuth */
#define REFRESH_FAMILIES_MAX 4  /* per device; the oldest is dropped */
#define REFRESH_GRACE_S      60 /* how long the previous token returns the same successor */

/* Credential guessing: failures only, a right secret always passes. */
#define GUESS_SLOTS      8192 /* (client, address) pairs remembered */
#define GUESS_FREE       5    /* failures before the back-off begins */
#define GUESS_WAIT_MAX_S 60   /* longest Retry-After */

/* Feed and revocation */
#define FEED_PAGE_MAX     1000 /* entries of one answer, some 90 KB */
#define FEED_WAIT_MAX_S   60   /* seconds an answer waits for news */
#define FEED_WAITERS_MAX  1024 /* requests that wait, all together; each is an open connection */
#define FEED_CLIENT_MAX   256  /* of one client; then its oldest is answered at once */
#define FEED_SUBJECT_MAX  64   /* entries about one device or client; then one stands for all */
#define FAMILY_TOKENS_MAX 32   /* living access tokens of a refresh family that are written down */
#define FEED_MARGIN_S     300  /* entries outlive their tokens by this: leeway, and clocks */
#define FEED_VALUE_MAX    97   /* bytes: an id with its tenant, a kid, a jti */
#define FEED_EPOCH_MAX    64
#define OVERLAP_MAX_S     2592000 /* seconds an old secret may stay valid: 30 days */
#define DENIALS_BATCH_MAX 100     /* denials of one report */
#define DENIALS_KEPT      32      /* of one device; the oldest go first */
#define DENIAL_TEXT_MAX   256     /* bytes of a topic in a denial; what is longer is cut */

/* Signing keys */
#define KEYS_MAX 16 /* one signs, one may be next, the others verify */
#define KEY_PUBLISH_S                                                                              \
    600 /* a new key is published this long before it signs: verifiers ask every 300 s */
#define KEY_SETTLE_S 60 /* by then no request is left that took the key before */

/* Store */
#define STORE_QUEUE_MAX      65536  /* writes that wait; more are answered with 503 */
#define STORE_GROUP_MAX      512    /* writes in one transaction: bounds the wait for a commit */
#define STORE_SPARE_MAX      49152  /* above this, writes nobody waits for are dropped */
#define STORE_CLEAN_BATCH    500    /* rows one cleaning step deletes */
#define STORE_CLEAN_PERIOD_S 60     /* seconds between cleaning rounds */
#define AUDIT_ROWS_MAX       500000 /* the oldest go first */
#define AUDIT_REFUSALS_MAX   50     /* audited refusals a second; the others are only counted */
#define AUDIT_TEXT_MAX       256    /* bytes of one audit field */

/* Configuration */
#define CONFIG_LINE_MAX                                                                            \
    200 /* characters of one line; longer lists continue on the next, indented */
#define CONFIG_TYPES_MAX   64
#define CONFIG_ROLES_MAX   64
#define CONFIG_PATH_MAX    1024
#define CONFIG_URL_MAX     256
#define CONFIG_HOST_MAX    256
#define CONFIG_WORKERS_MAX 64

#endif
