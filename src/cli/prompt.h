/* Asking people for what is missing, on standard error and standard input.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_CLI_PROMPT_H
#define M5_CLI_PROMPT_H

#include "cli/connection.h"

#define CLI_ANSWER_SIZE 65536 /* bytes of a topic, or of a message that is typed, with the zero */

/* Whether there is somebody to ask: standard input and error are terminals, and nobody forbade it.
 */
bool cli_can_ask(const struct cli_connection *options);

/* NULL when an answer will do, else a sentence that says why not. */
typedef const char *cli_answer_check_fn(const char *answer);

/* Asks, and again until the answer will do; @p fallback (may be NULL) stands for an empty one. The
 * answer is to be freed; NULL at the end of the input. */
char *cli_ask(const char *question, const char *fallback, cli_answer_check_fn *check);

/* What may be asked by both `pub` and `sub`. */
cli_answer_check_fn cli_check_topic_name, cli_check_topic_filter, cli_check_qos;

#endif
