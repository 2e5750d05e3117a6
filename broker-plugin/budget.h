/*
 * budget.h - what forged tokens may cost.
 *
 * A token with a kid that everybody can read costs the broker's thread a signature before it can be
 * refused. So failed signatures are paid from a budget: a few in a turn of the loop, some hundreds
 * a second. When it is spent, a token that was not verified before is refused with BUSY, and its
 * holder comes again. Right tokens cost nothing of it; verified ones (the cache) never ask.
 *
 * One half is for addresses that are below their own rate of failures only: who floods us leaves
 * the other half to everybody else.
 */
#ifndef PLUGIN_BUDGET_H
#define PLUGIN_BUDGET_H

#include <stdbool.h>
#include <stdint.h>

#include "limits.h"

struct budget {
    int64_t turn_ms; /* begin of the turn, as far as is known */
    int64_t then_ms;
    int64_t left_milli; /* thousandths of a failed signature */
    int turn_left;
};

void budget_open(struct budget *b, int64_t now_ms);

/** A turn of the loop begins. */
void budget_turn(struct budget *b, int64_t now_ms);

/** May a signature be worked out now? @param suspect  its address is beyond its rate. */
bool budget_allows(struct budget *b, bool suspect, int64_t now_ms);

/** One was, and did not verify. */
void budget_spend(struct budget *b);

#endif
