/* The option reader: every way to write an option, every value, every error in words.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "cli/command.h"
#include "support/unit.h"

#include <stdlib.h>
#include <string.h>

struct options {
    const char *text;
    struct cli_strings list;
    bool flag, other;
    uint64_t number, seconds, milliseconds, size;
    int choice;
    const char *file;
    struct cli_strings whole, properties;
};

#define FIELD(name) offsetof(struct options, name)

static const struct cli_choice choices[] = {{"red", 1}, {"green", 2}, {NULL, 0}};

static const struct cli_option first_table[] = {
    {.group = "First",
     .name = "text",
     .alias = 't',
     .type = CLI_STRING,
     .synonym = "words",
     .also = 'w',
     .offset = FIELD(text),
     .value = "TEXT",
     .fallback = "standard",
     .help = "a text"},
    {.name = "list",
     .alias = 'l',
     .type = CLI_STRING,
     .repeatable = true,
     .offset = FIELD(list),
     .value = "ITEM",
     .help = "texts"},
    {.name = "flag", .alias = 'f', .type = CLI_BOOL, .offset = FIELD(flag), .help = "a flag"},
    {.name = "other-flag", .alias = 'o', .type = CLI_BOOL, .offset = FIELD(other), .help = "one"},
    {0}};

static const struct cli_option second_table[] = {
    {.group = "Second",
     .name = "number",
     .alias = 'n',
     .type = CLI_INTEGER,
     .min = 1,
     .max = 9,
     .offset = FIELD(number),
     .value = "N",
     .fallback = "5",
     .env = "SPECIAL",
     .help = "a number"},
    {.name = "seconds",
     .type = CLI_SECONDS,
     .max = 100000,
     .endless = true,
     .offset = FIELD(seconds),
     .value = "TIME",
     .help = "a time"},
    {.name = "milliseconds",
     .type = CLI_MILLISECONDS,
     .offset = FIELD(milliseconds),
     .value = "TIME",
     .help = "a time"},
    {.name = "interval",
     .type = CLI_INTERVAL,
     .offset = FIELD(milliseconds),
     .value = "MS",
     .help = "a time"},
    {.name = "size", .type = CLI_SIZE, .offset = FIELD(size), .value = "SIZE", .help = "a size"},
    {.name = "choice",
     .type = CLI_CHOICE,
     .offset = FIELD(choice),
     .choices = choices,
     .value = "COLOUR",
     .fallback = "green",
     .help = "a colour"},
    {.name = "whole",
     .type = CLI_STRING,
     .repeatable = true,
     .whole = true,
     .offset = FIELD(whole),
     .value = "TEXT",
     .help = "texts with commas"},
    {.name = "property",
     .alias = 'D',
     .type = CLI_PROPERTY,
     .offset = FIELD(properties),
     .value = "PACKET NAME VALUE",
     .env = "",
     .help = "a property"},
    {.name = CLI_OPTIONS_FILE,
     .type = CLI_STRING,
     .offset = FIELD(file),
     .value = "PATH",
     .help = "a file"},
    {0}};

static const struct cli_option *const tables[] = {first_table, second_table, NULL};

static const struct cli_command command = {.name = "try",
                                           .summary = "try options",
                                           .usage = "[options] [FILE]",
                                           .notes = "Mind the gap.\n",
                                           .tables = tables,
                                           .options_size = sizeof(struct options),
                                           .operands_max = 1};

static const char *env_number, *env_list, *env_flag, *env_whole, *env_home;

static const char *environment(const char *name)
{
    if (strcmp(name, "SPECIAL") == 0)
        return env_number;
    if (strcmp(name, "MQTT5_LIST") == 0)
        return env_list;
    if (strcmp(name, "MQTT5_WHOLE") == 0)
        return env_whole;
    if (strcmp(name, "HOME") == 0)
        return env_home;
    return strcmp(name, "MQTT5_OTHER_FLAG") == 0 ? env_flag : NULL;
}

static char error[512];

/* Reads a command line written with single blanks. */
static bool parse(const char *line, struct cli_call *call)
{
    static char copy[512];
    static char *arguments[32];
    int count = 0;
    snprintf(copy, sizeof copy, "%s", line);
    error[0] = 0;
    for (char *rest = copy, *word; (word = strsep(&rest, " ")) != NULL;) {
        if (*word != 0)
            arguments[count++] = word;
    }
    return cli_parse(&command, count, arguments, environment, call, error, sizeof error);
}

static void options_are_read_in_every_spelling(void **state)
{
    static const char *const lines[] = {"--text abc --flag --number 7",
                                        "--text=abc --flag=true -n7",
                                        "-t abc -f -n 7",
                                        "-tabc -fn7",
                                        "-t=abc -f --number=7",
                                        "-ftabc -n=7"};
    (void)state;
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        struct cli_call call;
        if (!parse(lines[i], &call))
            fail_msg("%s: %s", lines[i], error);
        const struct options *options = call.options;
        assert_string_equal(options->text, "abc");
        assert_true(options->flag);
        assert_false(options->other);
        assert_int_equal(options->number, 7);
        assert_int_equal(cli_source_of(&call, "text"), CLI_FROM_FLAG);
        cli_call_free(&call);
    }
}

static void defaults_stand_where_nothing_is_given(void **state)
{
    (void)state;
    struct cli_call call;
    assert_true(parse("", &call));
    const struct options *options = call.options;
    assert_string_equal(options->text, "standard");
    assert_int_equal(options->number, 5);
    assert_int_equal(options->choice, 2);
    assert_int_equal(options->list.count, 0);
    assert_false(options->flag);
    assert_false(cli_given(&call, "number"));
    cli_call_free(&call);
}

static void flag_beats_environment_beats_default(void **state)
{
    (void)state;
    struct cli_call call;
    env_number = "3";
    env_list = "a,b,,c";
    env_flag = "yes";
    assert_true(parse("", &call));
    const struct options *options = call.options;
    assert_int_equal(options->number, 3);
    assert_int_equal(options->list.count, 4);
    assert_string_equal(options->list.items[3], "c");
    assert_true(options->other);
    assert_int_equal(cli_source_of(&call, "number"), CLI_FROM_ENVIRONMENT);
    cli_call_free(&call);
    assert_true(parse("-n 4 --list x,y -l z --other-flag=no", &call));
    options = call.options;
    assert_int_equal(options->number, 4);
    assert_int_equal(options->list.count, 2);
    assert_string_equal(options->list.items[0], "x,y"); /* commas are for variables only */
    assert_string_equal(options->list.items[1], "z");
    assert_false(options->other);
    cli_call_free(&call);
    env_number = "10";
    assert_false(parse("", &call));
    assert_string_equal(error, "SPECIAL must be 1 to 9, not 10");
    cli_call_free(&call);
    env_number = env_list = env_flag = NULL;
}

static void numbers_have_units(void **state)
{
    static const struct {
        const char *line;
        uint64_t seconds, milliseconds, size;
    } cases[] = {{"--seconds 30", 30, 0, 0},
                 {"--seconds 30s", 30, 0, 0},
                 {"--seconds 1m30s", 90, 0, 0},
                 {"--seconds 2h", 7200, 0, 0},
                 {"--seconds 1d", 86400, 0, 0},
                 {"--milliseconds 2", 0, 2000, 0},
                 {"--milliseconds 250ms", 0, 250, 0},
                 {"--interval 250", 0, 250, 0},
                 {"--milliseconds 1s500ms", 0, 1500, 0},
                 {"--size 4096", 0, 0, 4096},
                 {"--size 64KiB", 0, 0, 65536},
                 {"--size 16MiB", 0, 0, 16777216},
                 {"--size 5kB", 0, 0, 5000},
                 {"--size 18446744073709551615", 0, 0, UINT64_MAX}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct cli_call call;
        if (!parse(cases[i].line, &call))
            fail_msg("%s: %s", cases[i].line, error);
        const struct options *options = call.options;
        assert_int_equal(options->seconds, cases[i].seconds);
        assert_int_equal(options->milliseconds, cases[i].milliseconds);
        assert_int_equal(options->size, cases[i].size);
        cli_call_free(&call);
    }
}

static void mistakes_are_explained(void **state)
{
    static const struct {
        const char *line, *error;
    } cases[] = {
        {"--txt a", "unknown option --txt (did you mean --text?)"},
        {"--nmber=3", "unknown option --nmber (did you mean --number?)"},
        {"--hlp", "unknown option --hlp (did you mean --help?)"},
        {"--xyzzy", "unknown option --xyzzy (see mqttv5 try --help)"},
        {"-x", "unknown option -x (see mqttv5 try --help)"},
        {"-fx", "unknown option -x (see mqttv5 try --help)"},
        {"--text", "--text wants a value: TEXT"},
        {"-t", "-t wants a value: TEXT"},
        {"--number 0", "--number must be 1 to 9, not 0"},
        {"-n 10", "-n must be 1 to 9, not 10"},
        {"--number x", "--number wants a whole number, not \"x\""},
        {"--number -1", "--number wants a whole number, not \"-1\""},
        {"--number 3s", "--number wants a whole number, not \"3s\""},
        {"--number 99999999999999999999", "--number wants a whole number, not "
                                          "\"99999999999999999999\""},
        {"--seconds 1x", "--seconds wants a duration like 30, 30s or 1m30s, not \"1x\""},
        {"--seconds 1m30", "--seconds wants a duration like 30, 30s or 1m30s, not \"1m30\""},
        {"--seconds=", "--seconds wants a duration like 30, 30s or 1m30s, not \"\""},
        {"--size 9999999999999999999GiB",
         "--size wants a size like 4096, 64KiB or 16MiB, not \"9999999999999999999GiB\""},
        {"--flag=maybe", "--flag wants true or false, not \"maybe\""},
        {"--choice blue", "--choice must be one of red, green, not \"blue\""},
        {"a b", "unexpected argument \"b\" (see mqttv5 try --help)"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct cli_call call;
        if (parse(cases[i].line, &call))
            fail_msg("%s was accepted", cases[i].line);
        assert_string_equal(error, cases[i].error);
        cli_call_free(&call);
    }
}

static void operands_are_kept_apart(void **state)
{
    (void)state;
    struct cli_call call;
    assert_true(parse("-f file", &call));
    assert_int_equal(call.operands.count, 1);
    assert_string_equal(call.operands.items[0], "file");
    cli_call_free(&call);
    assert_true(parse("-- --text", &call));
    assert_string_equal(call.operands.items[0], "--text");
    cli_call_free(&call);
    assert_true(parse("-", &call)); /* as a name for standard input */
    assert_string_equal(call.operands.items[0], "-");
    cli_call_free(&call);
}

static void help_wins_over_mistakes(void **state)
{
    (void)state;
    struct cli_call call;
    assert_true(parse("--nonsense --help", &call));
    assert_true(call.wants_help);
    cli_call_free(&call);
    assert_true(parse("-- --help", &call));
    assert_false(call.wants_help);
    cli_call_free(&call);
}

static void help_is_made_of_the_tables(void **state)
{
    (void)state;
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    cli_print_help(&command, out);
    fclose(out);
    assert_non_null(strstr(text, "Usage: mqttv5 try [options] [FILE]"));
    assert_non_null(strstr(text, "\nSecond:\n"));
    assert_non_null(strstr(text, "-t, --text TEXT"));
    assert_non_null(strstr(text, "a text; also -w, --words (default standard) [MQTT5_TEXT]"));
    assert_non_null(strstr(text, "texts; may be repeated [MQTT5_LIST]"));
    assert_non_null(strstr(text, "[MQTT5_OTHER_FLAG]"));
    assert_non_null(strstr(text, "(default 5) [SPECIAL]"));
    assert_non_null(strstr(text, "Mind the gap."));
    assert_null(strchr(text, '\033')); /* no colours: this is no terminal */
    free(text);
}

static void other_names_mean_the_same(void **state)
{
    static const char *const lines[] = {"--words abc", "--words=abc", "-w abc", "-wabc"};
    (void)state;
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        struct cli_call call;
        assert_true(parse(lines[i], &call));
        assert_string_equal(((struct options *)call.options)->text, "abc");
        assert_int_equal(cli_source_of(&call, "text"), CLI_FROM_FLAG);
        cli_call_free(&call);
    }
}

static void never_is_the_most(void **state)
{
    static const char *const lines[] = {"--seconds never", "--seconds=-1",
                                        "--seconds \xE2\x88\x9E"};
    struct cli_call call;
    (void)state;
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        assert_true(parse(lines[i], &call));
        assert_int_equal(((struct options *)call.options)->seconds, 100000);
        cli_call_free(&call);
    }
    assert_false(parse("--milliseconds never", &call));
    cli_call_free(&call);
}

static void properties_take_their_words(void **state)
{
    struct cli_call call;
    (void)state;
    assert_true(
        parse("-D connect receive-maximum 10 -f --property publish user-property a b -n 3", &call));
    const struct options *options = call.options;
    static const char *const expected[] = {"connect", "receive-maximum", "10", NULL,
                                           "publish", "user-property",   "a",  "b"};
    assert_int_equal(options->properties.count, 8);
    for (size_t i = 0; i < 8; i++) {
        if (expected[i] == NULL)
            assert_null(options->properties.items[i]);
        else
            assert_string_equal(options->properties.items[i], expected[i]);
    }
    assert_true(options->flag);
    assert_int_equal(options->number, 3);
    cli_call_free(&call);
    assert_false(parse("-D connect receive-maximum", &call));
    assert_string_equal(error, "-D wants PACKET NAME VALUE");
    cli_call_free(&call);
    assert_false(parse("-D publish user-property a", &call));
    assert_string_equal(error, "-D wants PACKET user-property NAME VALUE");
    cli_call_free(&call);
}

static void commas_belong_to_some_values(void **state)
{
    struct cli_call call;
    (void)state;
    env_whole = "a,b";
    assert_true(parse("", &call));
    const struct options *options = call.options;
    assert_int_equal(options->whole.count, 1);
    assert_string_equal(options->whole.items[0], "a,b");
    cli_call_free(&call);
    env_whole = NULL;
}

static char folder[64];

static void write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static void a_file_counts_after_variables(void **state)
{
    char path[128], line[256];
    struct cli_call call;
    (void)state;
    snprintf(path, sizeof path, "%s/options", folder);
    write_file(path, "# a comment\n\n  --number 7\nlist one\nlist two,2\nflag\n-o=false\n"
                     "text =  with blanks \nsize: 3\n");
    snprintf(line, sizeof line, "--options-file %s", path);
    assert_false(parse(line, &call));
    assert_non_null(strstr(error, "/options:9: unknown option size:"));
    cli_call_free(&call);

    write_file(path, "number 7\nlist one\nlist two,2\nflag\n-o=false\ntext =  with blanks \r\n"
                     "-D publish user-property key a value\nseconds 2m\n");
    snprintf(line, sizeof line, "--options-file %s --seconds 5", path);
    env_number = "3";
    assert_true(parse(line, &call));
    const struct options *options = call.options;
    assert_int_equal(options->number, 3);
    assert_int_equal(cli_source_of(&call, "number"), CLI_FROM_ENVIRONMENT);
    assert_int_equal(options->seconds, 5);
    assert_int_equal(options->list.count, 2);
    assert_string_equal(options->list.items[1], "two,2");
    assert_true(options->flag);
    assert_false(options->other);
    assert_string_equal(options->text, "with blanks ");
    assert_int_equal(cli_source_of(&call, "text"), CLI_FROM_FILE);
    assert_string_equal(options->properties.items[2], "key");
    assert_string_equal(options->properties.items[3], "a value");
    assert_int_equal(options->choice, 2); /* the default */
    cli_call_free(&call);
    env_number = NULL;
    remove(path);
}

static void a_file_is_looked_for_at_home(void **state)
{
    char path[160];
    struct cli_call call;
    (void)state;
    env_home = folder;
    assert_true(parse("", &call)); /* there is none yet, and that is no error */
    cli_call_free(&call);
    snprintf(path, sizeof path, "mkdir -p %s/.config/mqttv5", folder);
    assert_int_equal(system(path), 0);
    snprintf(path, sizeof path, "%s/.config/mqttv5/try.conf", folder);
    write_file(path, "number 9\n");
    assert_true(parse("", &call));
    assert_int_equal(((struct options *)call.options)->number, 9);
    cli_call_free(&call);
    assert_true(parse("--options-file=", &call)); /* from nowhere */
    assert_int_equal(((struct options *)call.options)->number, 5);
    cli_call_free(&call);
    assert_false(parse("--options-file=/nonexistent/file", &call));
    assert_string_equal(error, "cannot read /nonexistent/file: No such file or directory");
    cli_call_free(&call);
    env_home = NULL;
}

static int make_folder(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/mqttv5-options-XXXXXX");
    return mkdtemp(folder) == NULL;
}

static int remove_folder(void **state)
{
    char command_line[128];
    (void)state;
    snprintf(command_line, sizeof command_line, "rm -r %s", folder);
    return system(command_line);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(options_are_read_in_every_spelling),
        cmocka_unit_test(defaults_stand_where_nothing_is_given),
        cmocka_unit_test(flag_beats_environment_beats_default),
        cmocka_unit_test(numbers_have_units),
        cmocka_unit_test(mistakes_are_explained),
        cmocka_unit_test(operands_are_kept_apart),
        cmocka_unit_test(help_wins_over_mistakes),
        cmocka_unit_test(help_is_made_of_the_tables),
        cmocka_unit_test(other_names_mean_the_same),
        cmocka_unit_test(never_is_the_most),
        cmocka_unit_test(properties_take_their_words),
        cmocka_unit_test(commas_belong_to_some_values),
        cmocka_unit_test(a_file_counts_after_variables),
        cmocka_unit_test(a_file_is_looked_for_at_home),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
