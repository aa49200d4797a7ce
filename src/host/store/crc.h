/* CRC-32C: the checksum over everything that the store keeps.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_HOST_STORE_CRC_H
#define M5_HOST_STORE_CRC_H

#include <stddef.h>
#include <stdint.h>

/* The checksum of bytes that follow others; @p crc: the checksum of those, 0 at first. */
uint32_t m5_crc32c(uint32_t crc, const void *bytes, size_t size);

/* The same without the processor's own instruction; for tests. */
uint32_t m5_crc32c_plain(uint32_t crc, const void *bytes, size_t size);

#endif
