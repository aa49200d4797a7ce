/* Everything of the library.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef MQTT5_MQTT5_H
#define MQTT5_MQTT5_H

#include <mqtt5/allocator.h>
#include <mqtt5/auth.h>
#include <mqtt5/broker.h>
#include <mqtt5/bytes.h>
#include <mqtt5/client.h>
#include <mqtt5/client_auth.h>
#include <mqtt5/error.h>
#include <mqtt5/listener.h>
#include <mqtt5/mock.h>
#include <mqtt5/namespace.h>
#include <mqtt5/packet.h>
#include <mqtt5/property.h>
#include <mqtt5/reason_code.h>
#include <mqtt5/tls.h>
#include <mqtt5/topic.h>
#include <mqtt5/version.h>

#endif
