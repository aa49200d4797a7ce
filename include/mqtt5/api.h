/* Visibility and attributes of the public functions.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef MQTT5_API_H
#define MQTT5_API_H

#if defined(__GNUC__) && !defined(__wasm__)
#define MQTT5_API __attribute__((visibility("default")))
#else
#define MQTT5_API
#endif

#if defined(__GNUC__)
#define MQTT5_NODISCARD __attribute__((warn_unused_result))
#else
#define MQTT5_NODISCARD
#endif

#endif
