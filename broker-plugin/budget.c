#include "budget.h"

#define FULL_MILLI (INT64_C(1000) * FORGED_PER_S)

void
budget_open(struct budget *b, int64_t now_ms)
{
    *b = (struct budget){
        .turn_ms = now_ms, .then_ms = now_ms, .left_milli = FULL_MILLI, .turn_left = TURN_FORGED};
}

void
budget_turn(struct budget *b, int64_t now_ms)
{
    b->turn_ms = now_ms;
    b->turn_left = TURN_FORGED;
}

static void
refill(struct budget *b, int64_t now_ms)
{
    int64_t elapsed_ms = now_ms - b->then_ms;

    if (elapsed_ms <= 0)
        return;
    /* A second fills it: beyond that the product need not be right, only in range. */
    if (elapsed_ms > 1000)
        elapsed_ms = 1000;
    b->left_milli += elapsed_ms * FORGED_PER_S;
    if (b->left_milli > FULL_MILLI)
        b->left_milli = FULL_MILLI;
    b->then_ms = now_ms;
    /* Where no tick comes, turns are not seen: time has to do. */
    if (now_ms - b->turn_ms >= TURN_LONGEST_MS)
        budget_turn(b, now_ms);
}

bool
budget_allows(struct budget *b, bool suspect, int64_t now_ms)
{
    refill(b, now_ms);
    return b->turn_left > (suspect ? TURN_FORGED / 2 : 0) &&
           b->left_milli >= (suspect ? FULL_MILLI / 2 + 1000 : 1000);
}

void
budget_spend(struct budget *b)
{
    b->turn_left--;
    b->left_milli -= 1000;
}
