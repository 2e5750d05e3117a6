/*
 * plugin_memory.h - the broker's allocator, as the plugin sees it, with a wish: the n-th fails.
 */
#ifndef LK_TESTS_PLUGIN_MEMORY_H
#define LK_TESTS_PLUGIN_MEMORY_H

/* 0: none fails; n: the n-th from now on, once. */
extern int plugin_memory_fail;

/* Blocks not given back. */
extern long plugin_memory_held;

#endif
