#include "service.h"

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
