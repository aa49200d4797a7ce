/** @file version.h  The one place that states the version; CMake reads it from here.
 *  SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef MQTT5_VERSION_H
#define MQTT5_VERSION_H

#define MQTT5_VERSION_MAJOR  0
#define MQTT5_VERSION_MINOR  1
#define MQTT5_VERSION_PATCH  0
#define MQTT5_VERSION_STRING "0.1.0"

#endif
