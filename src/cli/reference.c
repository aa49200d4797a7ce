/* `mqttv5 help --json`: every command and option, and every key of a configuration, from which
 * manual pages and docs/ are made.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "cli/command.h"
#include "host/config/config.h"

#include <mqtt5/version.h>

#include <inttypes.h>

/* The texts are our own: plain ASCII. */
static void put_text(const char *name, const char *text, FILE *out)
{
    fprintf(out, "\"%s\": ", name);
    if (text == NULL) {
        fputs("null", out);
        return;
    }
    fputc('"', out);
    for (; *text != 0; text++) {
        if (*text == '"' || *text == '\\')
            fprintf(out, "\\%c", *text);
        else if (*text == '\n')
            fputs("\\n", out);
        else
            fputc(*text, out);
    }
    fputc('"', out);
}

static void put_member(const char *name, const char *text, FILE *out)
{
    put_text(name, text, out);
    fputs(", ", out);
}

static const char *type_name(enum cli_type type)
{
    switch (type) {
    case CLI_STRING: return "string";
    case CLI_BOOL: return "bool";
    case CLI_INTEGER: return "integer";
    case CLI_SECONDS: return "seconds";
    case CLI_MILLISECONDS: return "milliseconds";
    case CLI_INTERVAL: return "interval";
    case CLI_SIZE: return "size";
    case CLI_CHOICE: return "choice";
    case CLI_PROPERTY: return "property";
    }
    return NULL;
}

static void put_choices(const struct cli_option *option, FILE *out)
{
    fputs("\"choices\": [", out);
    if (option->type == CLI_CHOICE) {
        for (const struct cli_choice *choice = option->choices; choice->name != NULL; choice++)
            fprintf(out, "%s\"%s\"", choice == option->choices ? "" : ", ", choice->name);
    }
    fputs("], ", out);
}

static void put_option(const struct cli_option *option, FILE *out)
{
    char name[CLI_NAME_SIZE];
    const char alias[2] = {option->alias, 0}, also[2] = {option->also, 0};
    fputs("{", out);
    put_member("name", option->name, out);
    put_member("group", option->group, out);
    put_member("alias", option->alias != 0 ? alias : NULL, out);
    put_member("also", option->also != 0 ? also : NULL, out);
    put_member("synonym", option->synonym, out);
    put_member("type", type_name(option->type), out);
    put_member("value", option->value, out);
    put_member("default", option->fallback, out);
    put_member("env", cli_env_name(option, name), out);
    put_member("help", option->help, out);
    put_choices(option, out);
    fprintf(out, "\"repeatable\": %s, \"min\": %" PRIu64 ", \"max\": %" PRIu64 "}",
            option->repeatable || option->type == CLI_PROPERTY ? "true" : "false", option->min,
            option->max);
}

static void put_command(const struct cli_command *command, FILE *out)
{
    fputs("  {", out);
    put_member("name", command->name, out);
    put_member("summary", command->summary, out);
    put_member("usage", command->usage, out);
    put_member("notes", command->notes, out);
    put_member("exits", command->exits, out);
    fputs("\"options\": [", out);
    const char *before = "\n    ";
    const struct cli_option *option;
    for (size_t i = 0; (option = cli_option_at(command, i)) != NULL; i++) {
        fputs(before, out);
        put_option(option, out);
        before = ",\n    ";
    }
    fputs("]}", out);
}

void cli_print_reference(FILE *out)
{
    fputs("{\"version\": \"" MQTT5_VERSION_STRING "\", \"commands\": [\n", out);
    for (size_t i = 0; cli_commands[i] != NULL; i++) {
        if (i > 0)
            fputs(",\n", out);
        put_command(cli_commands[i], out);
    }
    fputs("\n], \"configuration\": ", out);
    m5_config_describe(out);
    fputs("}\n", out);
}
