#include "plugin_memory.h"

#include <stdlib.h>

#include <mosquitto_broker.h>

int plugin_memory_fail;
long plugin_memory_held;

void *
mosquitto_calloc(size_t nmemb, size_t size)
{
    void *block;

    if (plugin_memory_fail > 0 && --plugin_memory_fail == 0)
        return NULL;
    block = calloc(nmemb, size);
    plugin_memory_held += block != NULL;
    return block;
}

void *
mosquitto_malloc(size_t size)
{
    return mosquitto_calloc(1, size);
}

void
mosquitto_free(void *mem)
{
    plugin_memory_held -= mem != NULL;
    free(mem);
}

/* Clients without TLS, as far as unit tests go. */
void *
mosquitto_client_certificate(const struct mosquitto *client)
{
    (void)client;
    return NULL;
}
