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
    const struct config_kind *kind; /* type or role; NULL: not configured any more */
};

/** false: it was refused. The caller of the call is set on success. */
LK_MUST_CHECK bool client_authenticate(struct http_call *call, const struct token_request *request,
                                       struct principal *principal);

#endif
