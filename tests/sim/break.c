/* Lies about what was seen, one kind at a time: each must make the check it is aimed at fire, which
 * shows that the check works.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "sim/sim.h"

const struct sim_break_info sim_breaks[SIM_BREAK_COUNT] = {
#define X(name, text, expected) [SIM_BREAK_##name] = {text, expected},
    SIM_BREAK_TABLE(X)
#undef X
};

bool sim_lie(struct sim_world *world, enum sim_break lie)
{
    if (world->options.lie != lie || world->lied)
        return false;
    if (world->lie_countdown > 0) {
        world->lie_countdown--;
        return false;
    }
    world->lied = true;
    sim_log(world, "(this is where the lie is told)", 0);
    return true;
}
