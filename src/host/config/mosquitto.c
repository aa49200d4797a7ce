/* stub
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "host/config/data.h"
bool m5_config_read_mosquitto(struct m5_config *config, const char *path,
                              struct m5_problems *problems)
{
    (void)config; (void)path; (void)problems;
    return false;
}
