/*
 * memory.c - the memory jansson works with. What it held may have been a secret: it is wiped when
 * it is given back.
 */
#include "cli.h"

#include <stdlib.h>

struct block {
    size_t len;
    _Alignas(max_align_t) uint8_t bytes[];
};

static void *
block_new(size_t len)
{
    struct block *block = len < SIZE_MAX - sizeof(*block) ? malloc(sizeof(*block) + len) : NULL;

    if (block == NULL)
        return NULL;
    block->len = len;
    return block->bytes;
}

static void
block_free(void *bytes)
{
    struct block *block;

    if (bytes == NULL)
        return;
    block = (struct block *)(void *)((uint8_t *)bytes - offsetof(struct block, bytes));
    lk_wipe(block->bytes, block->len);
    free(block);
}

void
memory_start(void)
{
    json_set_alloc_funcs(block_new, block_free);
}

void
json_text_free(char *text)
{
    block_free(text);
}
