/* Tables of packets and what decoding must say of them.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef TEST_DECODE_CASES_H
#define TEST_DECODE_CASES_H

#include <mqtt5/packet.h>

struct decode_case {
    const char *what;
    uint8_t version;
    uint8_t first;    /* byte of the packet */
    const char *body; /* as hex_read() takes it; Remaining Length is computed */
    enum mqtt5_error error;
};

/* Runs each case with its bytes against a guard page; then, for those that are accepted, the body
 * cut off at every byte and with every bit of every byte flipped, under wire_check(). Returns how
 * many cases came out otherwise than they should, and says which. */
unsigned decode_cases_run(const struct decode_case *cases, unsigned count);

#define DECODE_CASES_PASS(cases) \
    assert_int_equal(decode_cases_run((cases), sizeof(cases) / sizeof *(cases)), 0)

#endif
