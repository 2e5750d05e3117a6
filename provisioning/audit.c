#include "audit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <latchkey/host/clock.h>
#include <latchkey/host/log.h>

static void
field(char *out, size_t size, struct lk_span text)
{
    if (text.len == 0)
        text = LK_SPAN("-");
    /* What a stranger chose may be anything: only what can be shown is kept. */
    snprintf(out, size, "%s", lk_log_span(text));
}

void
audit_of(const struct http_call *call, const char *what, struct lk_span who, struct lk_span target,
         const char *result, struct store_audit *audit)
{
    memset(audit, 0, sizeof(*audit));
    audit->at_ms = lk_clock_wall_ms();
    field(audit->who, sizeof(audit->who), who.ptr != NULL ? who : lk_span_text(call->caller.id));
    snprintf(audit->what, sizeof(audit->what), "%s", what);
    field(audit->target, sizeof(audit->target), target);
    snprintf(audit->from, sizeof(audit->from), "%s", call->from);
    snprintf(audit->result, sizeof(audit->result), "%s", result);
    snprintf(audit->request_id, sizeof(audit->request_id), "%s", call->request_id);
}

void
audit_log(const struct store_audit *audit)
{
    bool is_ok = strcmp(audit->result, "ok") == 0;

    lk_log(is_ok ? LK_LOG_INFO : LK_LOG_WARN,
           "audit what=%s who=%s target=%s from=%s result=%s request=%s", audit->what, audit->who,
           audit->target, audit->from, audit->result, audit->request_id);
}

static enum lk_err
spare_run(struct store_db *db, void *arg)
{
    return store_audit_put(db, arg);
}

static void
spare_done(enum lk_err err, void *arg)
{
    (void)err; /* the log has it */
    free(arg);
}

/** Is there room in this second's budget? Says once what was left out in the one before. */
static bool
budget_take(struct service *service, int64_t second)
{
    unsigned left_out = 0;
    bool ok;

    pthread_mutex_lock(&service->audit_lock);
    if (service->audit_second != second) {
        if (service->audit_count > AUDIT_REFUSALS_MAX)
            left_out = service->audit_count - AUDIT_REFUSALS_MAX;
        service->audit_second = second;
        service->audit_count = 0;
    }
    ok = service->audit_count++ < AUDIT_REFUSALS_MAX;
    pthread_mutex_unlock(&service->audit_lock);
    if (left_out > 0)
        lk_log(LK_LOG_WARN, "audit left_out=%u more refusals in one second than are audited",
               left_out);
    return ok;
}

void
audit_spare(struct service *service, const struct store_audit *audit)
{
    struct store_audit *copy;

    if (!budget_take(service, audit->at_ms / 1000))
        return;
    audit_log(audit);
    copy = malloc(sizeof(*copy));
    if (copy == NULL)
        return;
    *copy = *audit;
    if (store_write_spare(service->store, spare_run, spare_done, copy) != LK_OK)
        free(copy);
}
