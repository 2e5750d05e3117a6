/*
 * grant_shape.h - the layout of a compiled grant, written by grant_compile.c and read by
 * grant_check.c. Inside token/ only.
 *
 * A shape is a tree over the levels of the rules a client holds. Rules that begin alike share their
 * path, and a check follows the topic, not the rules: it costs the same however many there are.
 *
 * Where all rules begin with the same names and placeholders, as those of one device do, these are
 * not in the tree: filled in and with their slashes they are the grant's prefix, one text among the
 * values. So are t/<tenant>/ before the rules of a tenant.
 *
 * Native byte order (neither half ever leaves the machine), any alignment:
 *
 *   shape   tenancy u8, flags u8, root u16
 *   node    kind u8     enum lk_node: what there is to do
 *           slots u8    placeholders
 *           exact u16   rules that end here
 *           hash u16    rules that end here with #
 *           plus u16    child for +
 *           longs u8    64 - log2 of the size of the table of names of eight bytes or more; 0: none
 *           shorts u8   the same for the other names
 *           window u8   where the eight bytes begin that tell the long names apart
 *           then the placeholders, the long names, the short names
 *   placeholder  slot u16, child u16
 *   long    child u16 (0: free), text u16, length u16
 *   short   child u16 (0: free), short_key of the name u64
 *           Both tables: open addressing, from name_start on.
 *   rules   count u16, then entries: rule u16, what it permits u8, QoS u8, size u32, rate u32
 *   values  one entry per slot: at u16, length u16; then texts. Slot 0 is the prefix (empty without
 *           FLAG_PREFIX). For {children} a table of long entries whatever their length, by a hash
 *           of the level, and its log2
 *
 * Rules, children and texts are offsets from the start of their half; 0 stands for none. Behind a
 * text there are at least LK_TEXT_PAD bytes of the same half, so that eight can be loaded at once.
 * Slots are numbered densely, in an order the held rules alone decide, so shapes of clients that
 * differ in values are equal.
 */
#ifndef LATCHKEY_GRANT_SHAPE_H
#define LATCHKEY_GRANT_SHAPE_H

#include <latchkey/grant.h>

#include "level.h"

#define SHAPE_TENANCY 0
#define SHAPE_FLAGS   1
#define SHAPE_ROOT    2
#define SHAPE_SIZE    4

#define FLAG_DESK   0x01 /* may join share groups of Latchkey's own */
#define FLAG_PREFIX 0x02 /* there is a prefix; it stands in for the tenant's, if there is one */

#define NODE_KIND   0
#define NODE_SLOTS  1
#define NODE_EXACT  2
#define NODE_HASH   4
#define NODE_PLUS   6
#define NODE_LONGS  8
#define NODE_SHORTS 9
#define NODE_WINDOW 10
#define NODE_SIZE   11
#define SLOT_SIZE   4

/* Most nodes have only one kind of children, or only rules. */
enum lk_node {
    LK_NODE_MIXED, /* all may be there, placeholders too */
    LK_NODE_LEAF,  /* rules, no children */
    LK_NODE_NAMES, /* names only */
    LK_NODE_PLUS   /* + only */
};

#define SHORT_CHILD 0
#define SHORT_KEY   2
#define SHORT_SIZE  10

#define LONG_CHILD 0
#define LONG_TEXT  2
#define LONG_LEN   4
#define LONG_SIZE  6

#define RULE_INDEX   0
#define RULE_PERMITS 2
#define RULE_QOS     3
#define RULE_MAX     4
#define RULE_RATE    8
#define RULE_SIZE    12

/* What a rule permits, and what a request needs: a rule fits that has all the bits asked for. */
#define PERMITS_PUBLISH   0x01
#define PERMITS_SUBSCRIBE 0x02
#define PERMITS_RETAIN    0x04
#define PERMITS_SHARE     0x08

/* The prefix. Its length is doubled; the lowest bit says whether it has to be looked at more
 * closely: it has less than eight bytes, or a client's name is `t` and it looks like t/... */
#define SLOT_PREFIX   0
#define PREFIX_IS_ODD 1

#define VALUE_AT   0
#define VALUE_LEN  2
#define VALUE_SIZE 4

#define SLOT_IS_TABLE 0x8000 /* {children} has a table where others have a text */
#define SLOT_NUMBER   0x00ff

#define LK_TEXT_PAD 8

_Static_assert(LK_GRANT_MAX <= UINT16_MAX && LK_VALUES_MAX <= UINT16_MAX, "offsets are 16 bits");

static inline uint16_t
load16(const uint8_t *p)
{
    uint16_t value;

    memcpy(&value, p, sizeof(value));
    return value;
}

static inline uint32_t
load32(const uint8_t *p)
{
    uint32_t value;

    memcpy(&value, p, sizeof(value));
    return value;
}

static inline uint64_t
load64(const uint8_t *p)
{
    uint64_t value;

    memcpy(&value, p, sizeof(value));
    return value;
}

/* Bytes of a table of names. */
static inline size_t
table_size(unsigned shift, size_t entry)
{
    return shift > 0 ? entry << (64 - shift) : 0;
}

/* Where the search for a name begins: by a long name's window, a short one's word, or a hash. */
static inline size_t
name_start(uint64_t word, unsigned shift)
{
    return (size_t)((word * UINT64_C(0x9e3779b97f4a7c15)) >> shift);
}

/* A name of less than eight bytes, its first one lowest, and its length: a\0 is not a. */
static inline uint64_t
short_key(uint64_t word, size_t len)
{
    return word | (uint64_t)len << 56;
}

/* The entry behind one. */
static inline size_t
name_next(size_t i, unsigned shift)
{
    return (size_t)((i + 1) & (UINT64_MAX >> shift));
}

#endif
