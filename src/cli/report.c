/* Messages of the commands to people, all on standard error: standard output is for payloads.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "cli/command.h"

#include <stdarg.h>

static void print_error(const struct cli_call *call, const char *format, va_list arguments)
{
    const bool colours = cli_colours(stderr);
    fprintf(stderr, "%smqttv5 %s:%s ", colours ? "\033[31m" : "", call->command->name,
            colours ? "\033[0m" : "");
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
}

void cli_error(const struct cli_call *call, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    print_error(call, format, arguments);
    va_end(arguments);
}

int cli_usage(const struct cli_call *call, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    print_error(call, format, arguments);
    va_end(arguments);
    return CLI_USAGE;
}

int cli_failed(const struct cli_call *call, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    print_error(call, format, arguments);
    va_end(arguments);
    return CLI_FAILED;
}

void cli_status(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
}
