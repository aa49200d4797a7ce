/* Asking for passwords: at a terminal without showing them, or from standard input.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_CLI_SECRET_H
#define M5_CLI_SECRET_H

#include <stdbool.h>
#include <stddef.h>

#define CLI_SECRET_MAX 65535u /* bytes: what a CONNECT can carry */

/* A password; cli_secret_free() wipes it. */
struct cli_secret {
    char *text; /* zero-terminated */
    size_t size;
};

/* Asks twice at the terminal of the process, without echo. NULL when it was typed, and the same
 * both times; else a sentence. Signals that end the program put the terminal in order first. */
const char *cli_secret_ask(const char *what, struct cli_secret *out);

/* Takes the first line of standard input. NULL or a sentence. */
const char *cli_secret_read(struct cli_secret *out);

/* Copies @p text. NULL or a sentence. */
const char *cli_secret_copy(const char *text, struct cli_secret *out);

void cli_secret_free(struct cli_secret *secret); /* accepts a zeroed one */

#endif
