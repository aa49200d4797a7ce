/* When things are due, in time that the test makes: no clock is looked at.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "cli/schedule.h"
#include "support/unit.h"

#include <stdlib.h>

#define NOON 1795348800 /* 2026-11-22T12:00:00Z */

struct example {
    const char *text;
    enum cli_at result;
    time_t at;
};

static void expect(const struct example *examples, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        time_t out = 0;
        const enum cli_at result = cli_at_read(examples[i].text, NOON, &out);
        if (result != examples[i].result || (result == CLI_AT_OK && out != examples[i].at))
            fail_msg("%s: %d, %lld", examples[i].text, result, (long long)out);
    }
}

static void a_time_of_day_is_today_or_tomorrow(void **state)
{
    static const struct example examples[] = {
        {"12:01", CLI_AT_OK, NOON + 60},       {"12:00:01", CLI_AT_OK, NOON + 1},
        {"23:59:59", CLI_AT_OK, NOON + 43199}, {"12:00", CLI_AT_OK, NOON + 86400},
        {"11:59:59", CLI_AT_OK, NOON + 86399}, {"00:00", CLI_AT_OK, NOON + 43200},
    };
    (void)state;
    expect(examples, sizeof examples / sizeof *examples);
}

static void a_date_has_a_zone_or_the_machines(void **state)
{
    static const struct example examples[] = {
        {"2026-11-22T12:00:30", CLI_AT_OK, NOON + 30},
        {"2026-11-22 12:01", CLI_AT_OK, NOON + 60},
        {"2026-11-22T12:00:30Z", CLI_AT_OK, NOON + 30},
        {"2026-11-22T13:00:30+01:00", CLI_AT_OK, NOON + 30},
        {"2026-11-22T11:30:30-0030", CLI_AT_OK, NOON + 30},
        {"2028-02-29T12:00:00Z", CLI_AT_OK, 1835438400},
        {"2026-11-22T12:00:00Z", CLI_AT_PAST, 0},
        {"2026-11-22T12:30:00+01:00", CLI_AT_PAST, 0},
        {"1999-01-01T00:00", CLI_AT_PAST, 0},
    };
    (void)state;
    expect(examples, sizeof examples / sizeof *examples);
}

/* In the night to 2026-10-25 the clocks of Berlin go from 3:00 back to 2:00. */
static void tomorrow_is_where_the_clock_says(void **state)
{
    const time_t evening = 1792864800; /* 2026-10-24T20:00:00+02:00 */
    time_t out;
    (void)state;
    setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3", 1);
    tzset();
    assert_int_equal(cli_at_read("19:00", evening, &out), CLI_AT_OK);
    assert_int_equal(out, evening + 24 * 3600); /* 23 hours of the day, and one more */
    setenv("TZ", "UTC", 1);
    tzset();
}

static void what_is_no_time_is_refused(void **state)
{
    static const struct example examples[] = {
        {"", CLI_AT_UNREADABLE, 0},
        {"12", CLI_AT_UNREADABLE, 0},
        {"24:00", CLI_AT_UNREADABLE, 0},
        {"12:60", CLI_AT_UNREADABLE, 0},
        {"12:00:", CLI_AT_UNREADABLE, 0},
        {"12:00x", CLI_AT_UNREADABLE, 0},
        {"1:00", CLI_AT_UNREADABLE, 0},
        {"2026-13-01T00:00", CLI_AT_UNREADABLE, 0},
        {"2026-00-01T00:00", CLI_AT_UNREADABLE, 0},
        {"2027-02-30T00:00Z", CLI_AT_UNREADABLE, 0},
        {"2027-02-30T00:00", CLI_AT_UNREADABLE, 0},
        {"2026-11-22", CLI_AT_UNREADABLE, 0},
        {"2026-11-22T12:00:30+", CLI_AT_UNREADABLE, 0},
        {"2026-11-22T12:00:30Zulu", CLI_AT_UNREADABLE, 0},
    };
    (void)state;
    expect(examples, sizeof examples / sizeof *examples);
}

static void steps_do_not_drift(void **state)
{
    (void)state;
    assert_int_equal(cli_step_due(1000, 250, 0), 1000);
    assert_int_equal(cli_step_due(1000, 250, 1), 1250);
    assert_int_equal(cli_step_due(1000, 250, 4000), 1001000);
    assert_int_equal(cli_step_due(1000, 0, UINT64_MAX), 1000);
    assert_true(cli_step_due(1000, 2, UINT64_MAX) == UINT64_MAX);
    assert_true(cli_step_due(UINT64_MAX, 1, 1) == UINT64_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_time_of_day_is_today_or_tomorrow),
        cmocka_unit_test(a_date_has_a_zone_or_the_machines),
        cmocka_unit_test(tomorrow_is_where_the_clock_says),
        cmocka_unit_test(what_is_no_time_is_refused),
        cmocka_unit_test(steps_do_not_drift),
    };
    setenv("TZ", "UTC", 1);
    tzset();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
