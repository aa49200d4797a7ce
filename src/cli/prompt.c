/* Asking people for what is missing, on standard error and standard input.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "cli/prompt.h"

#include "cli/text.h"

#include <mqtt5/topic.h>

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

bool cli_can_ask(const struct cli_connection *options)
{
    return !options->non_interactive && isatty(STDIN_FILENO) == 1 && isatty(STDERR_FILENO) == 1;
}

const char *cli_check_topic_name(const char *answer)
{
    const enum mqtt5_error error = mqtt5_topic_check(cli_bytes(answer), MQTT5_TOPIC_LEVELS_DEFAULT);
    return error == MQTT5_OK ? NULL : mqtt5_error_text(error);
}

const char *cli_check_topic_filter(const char *answer)
{
    struct mqtt5_filter filter;
    const enum mqtt5_error error =
        mqtt5_filter_parse(cli_bytes(answer), MQTT5_TOPIC_LEVELS_DEFAULT, &filter);
    return error == MQTT5_OK ? NULL : mqtt5_error_text(error);
}

const char *cli_check_qos(const char *answer)
{
    const bool good = strlen(answer) == 1 && strchr("012", answer[0]) != NULL;
    return good ? NULL : "0 = at most once, 1 = at least once, 2 = exactly once";
}

/* A line without its end; NULL when there is none. */
static char *read_line(void)
{
    char *line = NULL;
    size_t capacity = 0;
    const ssize_t size = getline(&line, &capacity, stdin);
    if (size < 0 || size >= CLI_ANSWER_SIZE) {
        free(line);
        return NULL;
    }
    line[strcspn(line, "\r\n")] = 0;
    return line;
}

char *cli_ask(const char *question, const char *fallback, cli_answer_check_fn *check)
{
    const bool colours = cli_colours(stderr);
    for (;;) {
        fprintf(stderr, "%s?%s %s", colours ? "\033[32m" : "", colours ? "\033[0m" : "", question);
        if (fallback != NULL)
            fprintf(stderr, " [%s]", fallback);
        fputs(": ", stderr);
        char *line = read_line();
        if (line == NULL) {
            fputc('\n', stderr);
            return NULL;
        }
        if (*line == 0 && fallback != NULL) {
            free(line);
            line = strdup(fallback);
        }
        const char *why = line == NULL || check == NULL ? NULL : check(line);
        if (why == NULL)
            return line;
        cli_status("  %s", why);
        free(line);
    }
}
