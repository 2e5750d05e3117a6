/*
 * provisioning/oauth/client_auth.h - is it who it says? Devices and clients alike.
 */
#ifndef PROVISIONING_CLIENT_AUTH_H
#define PROVISIONING_CLIENT_AUTH_H

#include "request.h"

struct principal {
    bool is_device;
    struct store_device device;     /* is_device */
    struct store_client client;     /* !is_device */
    uint64_t generation;            /* of the secret that was shown */
    const struct config_kind *kind; /* type or role; NULL: not configured any more */
};

/** The lowest generation that is good for a device now. */
uint64_t device_generation_floor(const struct store_device *device, int64_t now_s);
uint64_t client_generation_floor(const struct store_client *client, int64_t now_s);

/** false: it was refused. The caller of the call is set on success. `what`: for the audit. */
LK_MUST_CHECK bool client_authenticate(struct http_call *call, const struct token_request *request,
                                       const char *what, struct principal *principal);

#endif
