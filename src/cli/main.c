/* The program `mqttv5`: finds the command, reads its options, runs it.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "cli/command.h"

#include <mqtt5/version.h>

#include <stdlib.h>
#include <string.h>

#define COMMANDS_MAX 32

static const char *environment(const char *name)
{
    return getenv(name);
}

static void print_overview(FILE *out)
{
    fputs("mqttv5: MQTT 5.0 and 3.1.1 broker and clients\n\nUsage: mqttv5 COMMAND [options]\n\n"
          "Commands:\n",
          out);
    for (size_t i = 0; cli_commands[i] != NULL; i++)
        fprintf(out, "  %-10s %s\n", cli_commands[i]->name, cli_commands[i]->summary);
    fputs("\nmqttv5 help COMMAND explains a command, mqttv5 --version names this build.\n", out);
}

static const struct cli_command *find_command(const char *name)
{
    for (size_t i = 0; cli_commands[i] != NULL; i++) {
        if (strcmp(cli_commands[i]->name, name) == 0)
            return cli_commands[i];
    }
    return NULL;
}

static int unknown_command(const char *name)
{
    const char *names[COMMANDS_MAX + 1] = {"help"};
    for (size_t i = 0; cli_commands[i] != NULL && i + 1 < COMMANDS_MAX; i++)
        names[i + 1] = cli_commands[i]->name;
    const char *guess = cli_suggest(name, names);
    if (guess != NULL)
        fprintf(stderr, "mqttv5: unknown command \"%s\" (did you mean %s?)\n", name, guess);
    else
        fprintf(stderr, "mqttv5: unknown command \"%s\" (see mqttv5 --help)\n", name);
    return CLI_USAGE;
}

static int run_command(const struct cli_command *command, int argc, char **argv)
{
    char error[512];
    struct cli_call call;
    int code = CLI_OK;
    if (!cli_parse(command, argc, argv, environment, &call, error, sizeof error))
        code = cli_usage(&call, "%s", error);
    else if (call.wants_help)
        cli_print_help(command, stdout);
    else
        code = command->run(&call);
    cli_call_free(&call);
    return code;
}

static int run_help(int argc, char **argv)
{
    if (argc == 0) {
        print_overview(stdout);
        return CLI_OK;
    }
    if (strcmp(argv[0], "--json") == 0) {
        cli_print_reference(stdout);
        return CLI_OK;
    }
    const struct cli_command *command = find_command(argv[0]);
    if (command == NULL)
        return unknown_command(argv[0]);
    cli_print_help(command, stdout);
    return CLI_OK;
}

static int dispatch(int argc, char **argv)
{
    if (argc < 2) {
        print_overview(stderr);
        return CLI_USAGE;
    }
    const char *name = argv[1];
    if (strcmp(name, "--version") == 0 || strcmp(name, "-V") == 0) {
        puts("mqttv5 " MQTT5_VERSION_STRING);
        return CLI_OK;
    }
    if (strcmp(name, "help") == 0 || strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0)
        return run_help(argc - 2, argv + 2);
    const struct cli_command *command = find_command(name);
    return command == NULL ? unknown_command(name) : run_command(command, argc - 2, argv + 2);
}

int main(int argc, char **argv)
{
    const int code = dispatch(argc, argv);
    /* What was printed counts only when it arrived. */
    return fflush(stdout) != 0 && code == CLI_OK ? CLI_FAILED : code;
}
