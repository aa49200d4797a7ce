/* When things are due: points in time as people write them, and steps that do not drift. Time is
 * handed in, so that a test can make its own. SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_CLI_SCHEDULE_H
#define M5_CLI_SCHEDULE_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

enum cli_at {
    CLI_AT_OK,
    CLI_AT_UNREADABLE, /* neither a time of day nor a date with one */
    CLI_AT_PAST        /* a date that is over */
};

/* Reads "HH:MM", "HH:MM:SS" (today, or tomorrow when that is over), or an ISO date and time:
 * "2026-11-22T18:00", with seconds and, if wanted, "Z" or "+01:00" behind; a blank may stand for
 * the T. Without a zone the time is that of this machine. */
enum cli_at cli_at_read(const char *text, time_t now, time_t *out);

/* The start of step @p index (from 0) of @p interval each, the first at @p start: whatever the
 * steps before have taken. UINT64_MAX when it is that far away. */
uint64_t cli_step_due(uint64_t start, uint64_t interval, uint64_t index);

#endif
