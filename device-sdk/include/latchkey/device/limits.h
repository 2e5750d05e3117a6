/*
 * latchkey/device/limits.h - everything a server can make a device spend, and every pause it takes.
 *
 * Rooms for tokens and packets are lent by the caller, who thereby sets their limits; what stands
 * here bounds the rest.
 */
#ifndef LATCHKEY_DEVICE_LIMITS_H
#define LATCHKEY_DEVICE_LIMITS_H

/* HTTP */
#define LK_HTTP_HOST_MAX    256   /* bytes of a Host header; RFC 1035 names are shorter */
#define LK_HTTP_LINE_MAX    64    /* bytes kept of a header line; the rest is read past */
#define LK_HTTP_HEAD_MAX    8192  /* bytes of status line and headers together */
#define LK_HTTP_INTERIM_MAX 4     /* 1xx answers before the real one */
#define LK_HTTP_CHUNK_MAX   65536 /* bytes of one chunk; an answer of ours has some hundreds */
#define LK_HTTP_RETRY_MAX_S 3600  /* longest Retry-After that is believed */

/* Token source */
#define LK_SOURCE_REFRESH_MAX      128 /* bytes of a refresh token, ours have 52; longer: not kept */
#define LK_SOURCE_TIMEOUT_MS       30000  /* to connect; and again to ask and be answered */
#define LK_SOURCE_BACKOFF_MS       1000   /* first upper bound of the full-jitter pause; doubles */
#define LK_SOURCE_BACKOFF_MAX_MS   60000  /* its last upper bound */
#define LK_SOURCE_BREAKER_FAILURES 6      /* failures in a row that open the breaker */
#define LK_SOURCE_BREAKER_MS       300000 /* while it is open; by chance up to half as long again */
#define LK_SOURCE_RENEW_PERCENT    75     /* of the lifetime, in the middle */
#define LK_SOURCE_JITTER_PERCENT   5      /* to either side of it */
/* How long an unanswered refresh may be repeated. The server takes a used refresh token again for
 * 60 s (contracts section 8); later, using it would revoke the family. */
#define LK_SOURCE_GRACE_MS       45000
#define LK_SOURCE_LIFETIME_MAX_S 31622400 /* longest expires_in that is believed: 366 days */

/* MQTT */
#define LK_MQTT_PACKET_MAX       268435455 /* remaining length, MQTT 5.0 section 1.5.5 */
#define LK_DEVICE_OPEN_MS        30000     /* TCP and TLS */
#define LK_DEVICE_CONNACK_MS     15000     /* CONNECT to CONNACK */
#define LK_DEVICE_AUTH_MS        15000     /* AUTH 0x19 to the broker's answer */
#define LK_DEVICE_STOP_MS        5000      /* to deliver what is under way before DISCONNECT */
#define LK_DEVICE_GOODBYE_MS     2000      /* to get the DISCONNECT itself out */
#define LK_DEVICE_BACKOFF_MS     1000 /* first upper bound of the pause before a reconnect; doubles */
#define LK_DEVICE_BACKOFF_MAX_MS 60000 /* its last upper bound */
#define LK_DEVICE_STABLE_MS      30000 /* a connection this old resets the back-off */
#define LK_DEVICE_PACKETS_MAX    16 /* packets handled in one step before the caller gets his turn */
#define LK_DEVICE_ID_MAX         97  /* bytes of a device id: tenant, '~', name */
#define LK_DEVICE_TOPIC_MAX      256 /* bytes of a topic the helpers build */
#define LK_DEVICE_DETAIL_MAX     160 /* bytes of a result's detail; a longer one is refused */

#endif
