/* A timer of the shard's wheel that knows what it is for.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_BROKER_ALARM_H
#define M5_BROKER_ALARM_H

#include "base/timer.h"

enum m5_alarm_kind {
    M5_ALARM_CONN,
    M5_ALARM_SESSION,
    M5_ALARM_SYS,
    M5_ALARM_UPKEEP,
    M5_ALARM_EXCHANGE,
    M5_ALARM_METER
};

struct m5_alarm {
    struct m5_timer timer;
    enum m5_alarm_kind kind;
};

static inline void m5_alarm_init(struct m5_alarm *alarm, enum m5_alarm_kind kind)
{
    m5_timer_init(&alarm->timer);
    alarm->kind = kind;
}

#endif
