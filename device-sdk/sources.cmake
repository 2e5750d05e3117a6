# The portable sources, for build systems other than ours: compile them, the headers below include/,
# and the named files of ../token; no defines are needed. Paths are relative to this file.
set(LK_DEVICE_SOURCES
  token_request.c # codec: token request and answer
  http.c          # codec: HTTP/1.1
  mqtt_write.c    # codec: MQTT, what a client sends
  mqtt_read.c     # codec: MQTT, what a client hears
  pause.c         # back-off and jitter
  source.c        # token source
  outbox.c        # QoS 1 messages under way
  device.c        # device
  device_topics.c # device: topics and results
  command.c)      # device: commands taken apart
set(LK_DEVICE_TOKEN_SOURCES
  ../token/bytes.c ../token/err.c ../token/base64url.c ../token/cbor.c ../token/json.c)
set(LK_DEVICE_TLS_SOURCES port/tls_mbedtls.c)
set(LK_DEVICE_POSIX_SOURCES port/posix/posix.c)
