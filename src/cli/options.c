/* Reads options by their tables; makes --help of the same tables.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "cli/options.h"

#include "cli/command.h"
#include "host/config/value.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define HELP_COLUMN 34 /* where the explanations start in --help */

/* A copy of a variable's text, cut at its commas. */
struct text {
    struct text *next;
    char chars[];
};

struct reader {
    struct cli_call *call;
    char *error;
    size_t error_size;
};

/* ---- tables ---- */

const struct cli_option *cli_option_at(const struct cli_command *command, size_t position)
{
    for (const struct cli_option *const *table = command->tables; *table != NULL; table++) {
        for (const struct cli_option *option = *table; option->name != NULL; option++) {
            if (position-- == 0)
                return option;
        }
    }
    const struct cli_option *option = command->made == NULL ? NULL : command->made();
    while (option != NULL && option->name != NULL && position > 0) {
        option++;
        position--;
    }
    return option == NULL || option->name == NULL ? NULL : option;
}

static size_t option_count(const struct cli_command *command)
{
    size_t count = 0;
    while (cli_option_at(command, count) != NULL)
        count++;
    return count;
}

static bool is_named(const char *name, const char *wanted, size_t size)
{
    return name != NULL && strlen(name) == size && memcmp(name, wanted, size) == 0;
}

/* The position of the option with this name; the number of options when there is none. */
static size_t find_long(const struct cli_command *command, const char *name, size_t size)
{
    size_t position = 0;
    const struct cli_option *option;
    while ((option = cli_option_at(command, position)) != NULL) {
        if (is_named(option->name, name, size) || is_named(option->synonym, name, size))
            break;
        position++;
    }
    return position;
}

static size_t find_short(const struct cli_command *command, char alias)
{
    size_t position = 0;
    const struct cli_option *option;
    while ((option = cli_option_at(command, position)) != NULL && option->alias != alias &&
           option->also != alias)
        position++;
    return position;
}

const char *cli_env_name(const struct cli_option *option, char out[CLI_NAME_SIZE])
{
    if (option->env != NULL)
        return option->env;
    size_t size = (size_t)snprintf(out, CLI_NAME_SIZE, "MQTT5_%s", option->name);
    for (size_t i = 0; i < size && i < CLI_NAME_SIZE; i++)
        out[i] = out[i] == '-' ? '_' : (char)toupper((unsigned char)out[i]);
    return out;
}

/* ---- errors and guesses ---- */

__attribute__((format(printf, 2, 3))) static bool fail(struct reader *reader, const char *format,
                                                       ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(reader->error, reader->error_size, format, arguments);
    va_end(arguments);
    return false;
}

const char *cli_suggest(const char *text, const char *const *names)
{
    return m5_value_suggest(text, names);
}

static bool fail_unknown(struct reader *reader, const char *name)
{
    const struct cli_command *command = reader->call->command;
    const size_t count = option_count(command);
    const char **names = calloc(count + 2, sizeof *names);
    const char *guess = NULL;
    if (names != NULL) {
        for (size_t i = 0; i < count; i++)
            names[i] = cli_option_at(command, i)->name;
        names[count] = "help";
        guess = cli_suggest(name, names);
    }
    if (guess != NULL)
        fail(reader, "unknown option --%s (did you mean --%s?)", name, guess);
    else
        fail(reader, "unknown option --%s (see mqttv5 %s --help)", name, command->name);
    free(names);
    return false;
}

/* ---- values ---- */

static bool add_string(struct cli_strings *strings, const char *text)
{
    const char **items = realloc(strings->items, (strings->count + 1) * sizeof *items);
    if (items == NULL)
        return false;
    strings->items = items;
    items[strings->count++] = text;
    return true;
}

static enum m5_unit unit_of(enum cli_type type)
{
    switch (type) {
    case CLI_SECONDS: return M5_UNIT_SECONDS;
    case CLI_MILLISECONDS: return M5_UNIT_MILLISECONDS;
    case CLI_INTERVAL: return M5_UNIT_INTERVAL;
    case CLI_SIZE: return M5_UNIT_BYTES;
    default: return M5_UNIT_NONE;
    }
}

static bool set_number(struct reader *reader, const struct cli_option *option, const char *text,
                       const char *label, uint64_t *out)
{
    const enum m5_unit unit = unit_of(option->type);
    if (option->endless && m5_value_is_never(text)) {
        *out = option->max;
        return true;
    }
    if (!m5_value_number(text, unit, out))
        return fail(reader, "%s wants %s, not \"%s\"", label, m5_value_kind(unit), text);
    const bool bounded = option->min != 0 || option->max != 0;
    if (bounded && (*out < option->min || *out > option->max))
        return fail(reader, "%s must be %llu to %llu, not %s", label,
                    (unsigned long long)option->min, (unsigned long long)option->max, text);
    return true;
}

static bool set_choice(struct reader *reader, const struct cli_option *option, const char *text,
                       const char *label, int *out)
{
    char list[256] = "";
    size_t used = 0;
    for (const struct cli_choice *choice = option->choices; choice->name != NULL; choice++) {
        if (strcmp(choice->name, text) == 0) {
            *out = choice->value;
            return true;
        }
        if (used < sizeof list)
            used += (size_t)snprintf(list + used, sizeof list - used, "%s%s", used > 0 ? ", " : "",
                                     choice->name);
    }
    return fail(reader, "%s must be one of %s, not \"%s\"", label, list, text);
}

/* Stores @p text as the option's value; @p label names the flag or variable in errors. */
static bool set_value(struct reader *reader, const struct cli_option *option, const char *text,
                      const char *label)
{
    void *field = (char *)reader->call->options + option->offset;
    if (option->repeatable)
        return add_string(field, text) || fail(reader, "out of memory");
    if (option->is_text || option->type == CLI_STRING) {
        *(const char **)field = text;
        return true;
    }
    switch (option->type) {
    case CLI_STRING: break;
    case CLI_BOOL:
        return m5_value_bool(text, field) ||
               fail(reader, "%s wants true or false, not \"%s\"", label, text);
    case CLI_INTEGER:
    case CLI_SECONDS:
    case CLI_MILLISECONDS:
    case CLI_INTERVAL:
    case CLI_SIZE: return set_number(reader, option, text, label, field);
    case CLI_CHOICE: return set_choice(reader, option, text, label, field);
    case CLI_PROPERTY: return fail(reader, "%s wants %s", label, option->value);
    }
    return false;
}

/* Keeps a copy of @p text until the call is freed; NULL without memory, with the error set. */
static char *keep_text(struct reader *reader, const char *text)
{
    const size_t size = strlen(text) + 1;
    struct text *copy = malloc(sizeof *copy + size);
    if (copy == NULL) {
        fail(reader, "out of memory");
        return NULL;
    }
    memcpy(copy->chars, text, size);
    copy->next = reader->call->texts;
    reader->call->texts = copy;
    return copy->chars;
}

/* Adds each part of a comma list; the parts are copied. */
static bool set_list(struct reader *reader, const struct cli_option *option, const char *list)
{
    char *rest = keep_text(reader, list), *part;
    if (rest == NULL)
        return false;
    while ((part = strsep(&rest, ",")) != NULL) {
        if (!set_value(reader, option, part, option->name))
            return false;
    }
    return true;
}

/* Takes PACKET NAME VALUE [VALUE] from @p words, of which there are @p count; gives how many were
 * taken, 0 after an error. */
static size_t set_property(struct reader *reader, const struct cli_option *option,
                           const char *const *words, size_t count, const char *label)
{
    struct cli_strings *field = (void *)((char *)reader->call->options + option->offset);
    const bool is_pair = count > 1 && strcmp(words[1], "user-property") == 0;
    const size_t wanted = is_pair ? CLI_PROPERTY_WORDS : CLI_PROPERTY_WORDS - 1;
    if (count < wanted) {
        fail(reader, "%s wants %s", label,
             is_pair ? "PACKET user-property NAME VALUE" : option->value);
        return 0;
    }
    for (size_t i = 0; i < CLI_PROPERTY_WORDS; i++) {
        if (!add_string(field, i < wanted ? words[i] : NULL)) {
            fail(reader, "out of memory");
            return 0;
        }
    }
    return wanted;
}

/* ---- arguments ---- */

/* What is left to read. */
struct arguments {
    int count;
    char **items;
};

static bool take_flag(struct reader *reader, size_t position, const char *text, const char *label)
{
    reader->call->given[position] = CLI_FROM_FLAG;
    return set_value(reader, cli_option_at(reader->call->command, position), text, label);
}

static bool take_property(struct reader *reader, size_t position, struct arguments *rest,
                          const char *label)
{
    const size_t taken = set_property(reader, cli_option_at(reader->call->command, position),
                                      (const char *const *)rest->items, (size_t)rest->count, label);
    reader->call->given[position] = CLI_FROM_FLAG;
    rest->items += taken;
    rest->count -= (int)taken;
    return taken > 0;
}

/* --name, --name=value, --name value. */
static bool take_long(struct reader *reader, const char *argument, struct arguments *rest)
{
    char label[CLI_NAME_SIZE + 2];
    const char *equals = strchr(argument, '=');
    const size_t size = equals != NULL ? (size_t)(equals - argument) : strlen(argument);
    const size_t position = find_long(reader->call->command, argument, size);
    const struct cli_option *option = cli_option_at(reader->call->command, position);
    snprintf(label, sizeof label, "--%.*s", (int)(size < CLI_NAME_SIZE ? size : CLI_NAME_SIZE - 1),
             argument);
    if (option == NULL)
        return fail_unknown(reader, label + 2);
    if (equals != NULL)
        return take_flag(reader, position, equals + 1, label);
    if (option->type == CLI_BOOL)
        return take_flag(reader, position, "true", label);
    if (option->type == CLI_PROPERTY)
        return take_property(reader, position, rest, label);
    if (rest->count == 0)
        return fail(reader, "%s wants a value: %s", label, option->value);
    rest->count--;
    return take_flag(reader, position, *rest->items++, label);
}

/* -r, -t topic, -ttopic, -rt topic, -q=1 as people write it. */
static bool take_short(struct reader *reader, const char *letters, struct arguments *rest)
{
    for (; *letters != 0; letters++) {
        const char label[] = {'-', *letters, 0};
        const size_t position = find_short(reader->call->command, *letters);
        const struct cli_option *option = cli_option_at(reader->call->command, position);
        if (option == NULL)
            return fail(reader, "unknown option -%c (see mqttv5 %s --help)", *letters,
                        reader->call->command->name);
        if (option->type == CLI_BOOL) {
            if (!take_flag(reader, position, "true", label))
                return false;
            continue;
        }
        if (option->type == CLI_PROPERTY && letters[1] == 0)
            return take_property(reader, position, rest, label);
        if (letters[1] != 0)
            return take_flag(reader, position, letters + 1 + (letters[1] == '='), label);
        if (rest->count == 0)
            return fail(reader, "%s wants a value: %s", label, option->value);
        rest->count--;
        return take_flag(reader, position, *rest->items++, label);
    }
    return true;
}

static bool take_operand(struct reader *reader, const char *argument)
{
    struct cli_call *call = reader->call;
    if (call->operands.count >= call->command->operands_max)
        return fail(reader, "unexpected argument \"%s\" (see mqttv5 %s --help)", argument,
                    call->command->name);
    return add_string(&call->operands, argument) || fail(reader, "out of memory");
}

static bool take_arguments(struct reader *reader, struct arguments rest)
{
    bool options_end = false;
    while (rest.count > 0) {
        const char *argument = *rest.items++;
        rest.count--;
        bool ok = true;
        if (options_end || argument[0] != '-' || argument[1] == 0)
            ok = take_operand(reader, argument);
        else if (strcmp(argument, "--") == 0)
            options_end = true;
        else if (argument[1] == '-')
            ok = take_long(reader, argument + 2, &rest);
        else
            ok = take_short(reader, argument + 1, &rest);
        if (!ok)
            return false;
    }
    return true;
}

static bool take_text(struct reader *reader, const struct cli_option *option, const char *text,
                      const char *label)
{
    return option->repeatable && !option->whole ? set_list(reader, option, text)
                                                : set_value(reader, option, text, label);
}

/* Fills what no flag has given from the environment. */
static bool take_environment(struct reader *reader, cli_env_fn *env)
{
    const struct cli_command *command = reader->call->command;
    const struct cli_option *option;
    for (size_t i = 0; (option = cli_option_at(command, i)) != NULL; i++) {
        char name[CLI_NAME_SIZE];
        const char *variable = cli_env_name(option, name);
        const char *text = *variable == 0 ? NULL : env(variable);
        if (reader->call->given[i] != CLI_FROM_DEFAULT || text == NULL)
            continue;
        reader->call->given[i] = CLI_FROM_ENVIRONMENT;
        if (!take_text(reader, option, text, variable))
            return false;
    }
    return true;
}

/* Fills what nothing has given. */
static bool take_defaults(struct reader *reader)
{
    const struct cli_command *command = reader->call->command;
    const struct cli_option *option;
    for (size_t i = 0; (option = cli_option_at(command, i)) != NULL; i++) {
        if (reader->call->given[i] == CLI_FROM_DEFAULT && option->fallback != NULL &&
            !take_text(reader, option, option->fallback, option->name))
            return false;
    }
    return true;
}

/* ---- the options file ---- */

static bool take_file_property(struct reader *reader, const struct cli_option *option, char *text,
                               const char *label)
{
    const char *words[CLI_PROPERTY_WORDS];
    size_t count = 0, wanted = CLI_PROPERTY_WORDS - 1;
    while (text != NULL && *text != 0 && count < wanted) {
        words[count++] = text;
        text = count < wanted ? strpbrk(text, " \t") : NULL;
        if (text != NULL) {
            *text++ = 0;
            text += strspn(text, " \t");
        }
        if (count == 2 && strcmp(words[1], "user-property") == 0)
            wanted = CLI_PROPERTY_WORDS;
    }
    return set_property(reader, option, words, count, label) > 0;
}

/* One line: "--name value", "name value", "name = value", "-n value"; blank lines and those that
 * begin with # say nothing. What a flag or variable has given stays. */
static bool take_line(struct reader *reader, char *line, const char *label)
{
    const struct cli_command *command = reader->call->command;
    line += strspn(line, " \t");
    line[strcspn(line, "\r\n")] = 0;
    if (*line == 0 || *line == '#')
        return true;
    char *name = line + strspn(line, "-");
    const bool is_short = name - line == 1;
    char *value = name + strcspn(name, " \t=");
    const size_t size = (size_t)(value - name);
    const size_t position =
        is_short && size == 1 ? find_short(command, *name) : find_long(command, name, size);
    const struct cli_option *option = cli_option_at(command, position);
    if (option == NULL)
        return fail(reader, "%s: unknown option %.*s (see mqttv5 %s --help)", label,
                    (int)(value - line), line, command->name);
    value += strspn(value, " \t");
    value += *value == '=';
    value += strspn(value, " \t");
    if (reader->call->given[position] > CLI_FROM_FILE)
        return true;
    reader->call->given[position] = CLI_FROM_FILE;
    if (option->type == CLI_PROPERTY)
        return take_file_property(reader, option, value, label);
    if (*value == 0 && option->type != CLI_BOOL && option->type != CLI_STRING)
        return fail(reader, "%s: --%s wants a value: %s", label, option->name, option->value);
    return set_value(reader, option, *value == 0 && option->type == CLI_BOOL ? "true" : value,
                     label);
}

static bool take_lines(struct reader *reader, FILE *file, const char *path)
{
    char *line = NULL;
    size_t capacity = 0;
    bool ok = true;
    for (unsigned number = 1; ok && getline(&line, &capacity, file) >= 0; number++) {
        char label[512];
        snprintf(label, sizeof label, "%.480s:%u", path, number);
        char *copy = keep_text(reader, line);
        ok = copy != NULL && take_line(reader, copy, label);
    }
    free(line);
    return ok;
}

/* Where the file of a command is when nobody says: false when there is no such place. */
static bool find_file(const struct cli_command *command, cli_env_fn *env, char *out, size_t size)
{
    const char *folder = env("XDG_CONFIG_HOME"), *between = "";
    if (folder == NULL || *folder == 0) {
        folder = env("HOME");
        between = "/.config";
    }
    if (folder == NULL || *folder == 0)
        return false;
    return (size_t)snprintf(out, size, "%s%s/mqttv5/%s.conf", folder, between, command->name) <
           size;
}

static bool take_file(struct reader *reader, cli_env_fn *env)
{
    const struct cli_command *command = reader->call->command;
    const size_t position = find_long(command, CLI_OPTIONS_FILE, strlen(CLI_OPTIONS_FILE));
    const struct cli_option *option = cli_option_at(command, position);
    char usual[4096];
    if (option == NULL)
        return true;
    const char *path =
        *(const char *const *)(void *)((char *)reader->call->options + option->offset);
    const bool is_asked_for = path != NULL;
    if (path == NULL && find_file(command, env, usual, sizeof usual))
        path = usual;
    if (path == NULL || *path == 0)
        return true;
    FILE *file = fopen(path, "r");
    if (file == NULL)
        return !is_asked_for || fail(reader, "cannot read %s: %s", path, strerror(errno));
    const bool ok = take_lines(reader, file, path);
    fclose(file);
    return ok;
}

static bool asks_for_help(int argc, char **argv)
{
    for (int i = 0; i < argc && strcmp(argv[i], "--") != 0; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
            return true;
    }
    return false;
}

bool cli_parse(const struct cli_command *command, int argc, char **argv, cli_env_fn *env,
               struct cli_call *call, char *error, size_t error_size)
{
    struct reader reader = {.call = call, .error = error, .error_size = error_size};
    *call = (struct cli_call){.command = command};
    if (asks_for_help(argc, argv)) {
        call->wants_help = true;
        return true;
    }
    call->options = calloc(1, command->options_size + 1);
    call->given = calloc(option_count(command) + 1, 1);
    if (call->options == NULL || call->given == NULL)
        return fail(&reader, "out of memory");
    return take_arguments(&reader, (struct arguments){argc, argv}) &&
           take_environment(&reader, env) && take_file(&reader, env) && take_defaults(&reader);
}

void cli_call_free(struct cli_call *call)
{
    const struct cli_option *option;
    for (size_t i = 0; call->options != NULL; i++) {
        if ((option = cli_option_at(call->command, i)) == NULL)
            break;
        if (option->repeatable || option->type == CLI_PROPERTY)
            free(((struct cli_strings *)(void *)((char *)call->options + option->offset))->items);
    }
    while (call->texts != NULL) {
        struct text *text = call->texts;
        call->texts = text->next;
        free(text);
    }
    free(call->operands.items);
    free(call->options);
    free(call->given);
    *call = (struct cli_call){.command = call->command};
}

enum cli_source cli_source_of(const struct cli_call *call, const char *name)
{
    const size_t position = find_long(call->command, name, strlen(name));
    return cli_option_at(call->command, position) == NULL ? CLI_FROM_DEFAULT
                                                          : (enum cli_source)call->given[position];
}

bool cli_given(const struct cli_call *call, const char *name)
{
    return cli_source_of(call, name) != CLI_FROM_DEFAULT;
}

/* ---- help ---- */

bool cli_colours(FILE *out)
{
    const char *off = getenv("NO_COLOR");
    return (off == NULL || *off == 0) && isatty(fileno(out)) == 1;
}

static void print_heading(const char *text, FILE *out)
{
    const bool colours = cli_colours(out);
    fprintf(out, "\n%s%s:%s\n", colours ? "\033[1m" : "", text, colours ? "\033[0m" : "");
}

static void print_other_names(const struct cli_option *option, FILE *out)
{
    if (option->also != 0)
        fprintf(out, "; also -%c", option->also);
    if (option->synonym != NULL)
        fprintf(out, "%s--%s", option->also != 0 ? ", " : "; also ", option->synonym);
}

static void print_option(const struct cli_option *option, FILE *out)
{
    char name[CLI_NAME_SIZE];
    int column =
        option->alias != 0 ? fprintf(out, "  -%c, ", option->alias) : fprintf(out, "      ");
    column += fprintf(out, "--%s", option->name);
    if (option->value != NULL)
        column += fprintf(out, " %s", option->value);
    if (column + 2 > HELP_COLUMN) {
        fputc('\n', out);
        column = 0;
    }
    fprintf(out, "%*s%s", HELP_COLUMN - column, "", option->help);
    if (option->repeatable || option->type == CLI_PROPERTY)
        fputs("; may be repeated", out);
    print_other_names(option, out);
    if (option->fallback != NULL)
        fprintf(out, " (default %s)", option->fallback);
    const char *variable = cli_env_name(option, name);
    if (*variable != 0)
        fprintf(out, " [%s]", variable);
    fputc('\n', out);
}

void cli_print_help(const struct cli_command *command, FILE *out)
{
    fprintf(out, "mqttv5 %s: %s\n\nUsage: mqttv5 %s %s\n", command->name, command->summary,
            command->name, command->usage);
    const struct cli_option *option;
    for (size_t i = 0; (option = cli_option_at(command, i)) != NULL; i++) {
        if (option->group != NULL)
            print_heading(option->group, out);
        print_option(option, out);
    }
    const size_t file = find_long(command, CLI_OPTIONS_FILE, strlen(CLI_OPTIONS_FILE));
    if (cli_option_at(command, 0) != NULL)
        fprintf(out, "\nA flag counts before the variable in brackets, and that before the %s.\n",
                cli_option_at(command, file) != NULL ? "options file and the default" : "default");
    if (command->notes != NULL)
        fprintf(out, "\n%s", command->notes);
    fprintf(out,
            "\nExit status: 0: it worked. 1: it did not. 2: the command line makes no sense.%s%s\n",
            command->exits != NULL ? " " : "", command->exits != NULL ? command->exits : "");
}
