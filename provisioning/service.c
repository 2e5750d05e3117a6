#include "service.h"

#include <latchkey/host/log.h>

#include "keys/ring.h"

struct config *
service_config_hold(struct service *service)
{
    struct config *config;

    pthread_mutex_lock(&service->config_lock);
    config = service->config;
    config_hold(config);
    pthread_mutex_unlock(&service->config_lock);
    return config;
}

void
service_config_put(struct service *service, struct config *config)
{
    struct config *old;

    pthread_mutex_lock(&service->config_lock);
    old = service->config;
    service->config = config;
    pthread_mutex_unlock(&service->config_lock);
    config_drop(old);
}

struct ring *
service_ring_hold(struct service *service)
{
    struct ring *ring;

    pthread_mutex_lock(&service->config_lock);
    ring = service->ring;
    ring_hold(ring);
    pthread_mutex_unlock(&service->config_lock);
    return ring;
}

enum lk_err
service_ring_reload(struct service *service, struct store_db *db)
{
    struct ring *ring, *old = NULL;
    enum lk_err err;

    pthread_mutex_lock(&service->ring_lock);
    err = ring_open(db, service->seal, &ring);
    if (err == LK_OK) {
        pthread_mutex_lock(&service->config_lock);
        old = service->ring;
        service->ring = ring;
        pthread_mutex_unlock(&service->config_lock);
    }
    pthread_mutex_unlock(&service->ring_lock);
    ring_close(old);
    if (err != LK_OK)
        lk_log(LK_LOG_ERROR, "keys what=reload err=%s %s", lk_err_name(err), lk_err_text(err));
    return err;
}
