/*
 * list.c - lists of the API, page by page.
 */
#include "api.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void
list_filter(struct list *list, const char *name, const char *value)
{
    if (value != NULL && !url_append(list->query, sizeof(list->query), name, value))
        list->too_long = true;
}

/* Move the items of a page over. @return the cursor of the next page, or NULL. */
static const char *
page_take(const struct list *list, const json_t *page, json_t *items)
{
    const json_t *item;
    size_t i;

    json_array_foreach (json_object_get(page, "items"), i, item) {
        if (list->most > 0 && json_array_size(items) >= (size_t)list->most)
            return NULL;
        (void)json_array_append(items, (json_t *)(uintptr_t)item);
    }
    if (list->most > 0 && json_array_size(items) >= (size_t)list->most)
        return NULL;
    return json_string_value(json_object_get(page, "next_cursor"));
}

static int
pages_read(struct list *list, struct api *api, json_t *items)
{
    char path[URL_MAX], first[64];
    struct call call = {.method = "GET", .path = path};
    json_t *page = NULL, *next;
    const char *cursor = NULL;
    int code = CLI_DONE, pages;

    for (pages = 0; pages < PAGES_MAX; pages++) {
        (void)snprintf(first, sizeof(first), "?limit=%d", PAGE_SIZE);
        path[0] = '\0';
        if (!url_append(path, sizeof(path), list->path, NULL) ||
            !url_append(path, sizeof(path), first, NULL) ||
            !url_append(path, sizeof(path), list->query, NULL) ||
            (cursor != NULL && !url_append(path, sizeof(path), "&cursor=", cursor))) {
            code = cli_usage(list->cli, "the URL gets longer than %d bytes", URL_MAX);
            break;
        }
        code = api_call(api, &call, &next);
        json_decref(page);
        page = next;
        if (code != CLI_DONE)
            break;
        cursor = page_take(list, page, items);
        if (cursor == NULL)
            break;
    }
    json_decref(page);
    return code;
}

int
list_run(struct list *list)
{
    json_t *items;
    struct api api;
    int code;

    if (list->too_long)
        return cli_usage(list->cli, "the filters are too long");
    code = api_open(list->cli, &api);
    if (code != CLI_DONE)
        return code;
    items = json_array();
    code = pages_read(list, &api, items);
    if (code == CLI_DONE && list->cli->json)
        out_json(items);
    else if (code == CLI_DONE && json_array_size(items) > 0)
        out_table(items, list->columns, list->column_count);
    json_decref(items);
    api_close(&api);
    return code;
}
