/* Base64, where its first users look for it.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_HOST_AUTH_BASE64_H
#define M5_HOST_AUTH_BASE64_H

#include "base/base64.h"

#endif
