/* `mqttv5 completion`: what makes a shell complete commands, options and their values.
 *
 * The scripts hold all they need: a shell does not start the program to complete a word.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "cli/command.h"

#include <string.h>

/* ---- what there is to complete ---- */

static bool wants_file(const struct cli_option *option)
{
    return option->value != NULL && strcmp(option->value, "PATH") == 0;
}

static void put_command_names(FILE *out)
{
    for (size_t i = 0; cli_commands[i] != NULL; i++)
        fprintf(out, "%s ", cli_commands[i]->name);
    fputs("help", out);
}

static void put_choices(const struct cli_option *option, FILE *out)
{
    for (const struct cli_choice *choice = option->choices; choice->name != NULL; choice++)
        fprintf(out, "%s%s", choice == option->choices ? "" : " ", choice->name);
}

/* ---- bash ---- */

/* A pattern of `case`: pub:--topic|pub:-t */
static void put_bash_pattern(const struct cli_command *command, const struct cli_option *option,
                             FILE *out)
{
    fprintf(out, "    %s:--%s", command->name, option->name);
    if (option->synonym != NULL)
        fprintf(out, "|%s:--%s", command->name, option->synonym);
    if (option->alias != 0)
        fprintf(out, "|%s:-%c", command->name, option->alias);
    if (option->also != 0)
        fprintf(out, "|%s:-%c", command->name, option->also);
    fputs(")\n        ", out);
}

/* What follows an option that takes a value. */
static void put_bash_values(const struct cli_command *command, FILE *out)
{
    const struct cli_option *option;
    for (size_t i = 0; (option = cli_option_at(command, i)) != NULL; i++) {
        if (option->type == CLI_BOOL)
            continue;
        put_bash_pattern(command, option, out);
        if (wants_file(option))
            fputs("compopt -o default\n        ", out);
        if (option->type == CLI_CHOICE) {
            fputs("words='", out);
            put_choices(option, out);
            fputs("'\n        ", out);
        }
        fputs(";;\n", out);
    }
}

static void put_bash_options(const struct cli_command *command, FILE *out)
{
    fprintf(out, "        %s) words='", command->name);
    const struct cli_option *option;
    for (size_t i = 0; (option = cli_option_at(command, i)) != NULL; i++)
        fprintf(out, "--%s ", option->name);
    fprintf(out, "%s' ;;\n", command == &cmd_completion ? "--help bash zsh" : "--help");
}

static void print_bash(FILE *out)
{
    fputs("# Completion of mqttv5 for bash, made by `mqttv5 completion bash`.\n"
          "_mqttv5()\n{\n"
          "    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]}\n"
          "    local command=${COMP_WORDS[1]} words=''\n"
          "    COMPREPLY=()\n"
          "    # --name=value comes as three words.\n"
          "    if [[ $word == = ]]; then\n"
          "        word=''\n"
          "    elif [[ $before == = ]]; then\n"
          "        before=${COMP_WORDS[COMP_CWORD-2]}\n"
          "    fi\n"
          "    if ((COMP_CWORD == 1)); then\n"
          "        words='",
          out);
    put_command_names(out);
    fputs(" --help --version'\n    else\n    case $command:$before in\n", out);
    for (size_t i = 0; cli_commands[i] != NULL; i++)
        put_bash_values(cli_commands[i], out);
    fputs("    *)\n        case $command in\n        help) words='", out);
    put_command_names(out);
    fputs("' ;;\n", out);
    for (size_t i = 0; cli_commands[i] != NULL; i++)
        put_bash_options(cli_commands[i], out);
    fputs("        esac\n        ;;\n    esac\n    fi\n"
          "    [[ -z $words ]] || COMPREPLY=($(compgen -W \"$words\" -- \"$word\"))\n"
          "}\ncomplete -F _mqttv5 mqttv5\n",
          out);
}

/* ---- zsh ---- */

/* Text inside '...' and [...]. */
static void put_zsh_text(const char *text, FILE *out)
{
    for (; *text != 0; text++) {
        if (*text == '\'')
            fputs("'\\''", out);
        else if (strchr("[]:\\", *text) != NULL)
            fprintf(out, "\\%c", *text);
        else
            fputc(*text, out);
    }
}

static void put_zsh_option(const struct cli_option *option, FILE *out)
{
    fputs(" \\\n            ", out);
    if (option->repeatable && option->alias != 0)
        fprintf(out, "'*'{-%c,--%s=}'", option->alias, option->name);
    else if (option->alias != 0)
        fprintf(out, "'(-%c --%s)'{-%c,--%s%s}'", option->alias, option->name, option->alias,
                option->name, option->type == CLI_BOOL ? "" : "=");
    else
        fprintf(out, "'%s--%s%s", option->repeatable ? "*" : "", option->name,
                option->type == CLI_BOOL ? "" : "=");
    fputc('[', out);
    put_zsh_text(option->help, out);
    fputc(']', out);
    if (option->type != CLI_BOOL) {
        fputc(':', out);
        put_zsh_text(option->value, out);
        fputc(':', out);
    }
    if (wants_file(option))
        fputs("_files", out);
    if (option->type == CLI_CHOICE) {
        fputc('(', out);
        put_choices(option, out);
        fputc(')', out);
    }
    fputc('\'', out);
}

static void put_zsh_command(const struct cli_command *command, FILE *out)
{
    fprintf(out, "    %s)\n        _arguments '(- *)--help[explain the command]'", command->name);
    const struct cli_option *option;
    for (size_t i = 0; (option = cli_option_at(command, i)) != NULL; i++)
        put_zsh_option(option, out);
    if (command == &cmd_completion)
        fputs(" \\\n            '1:shell:(bash zsh)'", out);
    fputs("\n        ;;\n", out);
}

static void print_zsh(FILE *out)
{
    fputs("#compdef mqttv5\n"
          "# Completion of mqttv5 for zsh, made by `mqttv5 completion zsh`.\n"
          "_mqttv5()\n{\n"
          "    if ((CURRENT == 2)); then\n"
          "        local -a commands=(",
          out);
    for (size_t i = 0; cli_commands[i] != NULL; i++) {
        fprintf(out, "'%s:", cli_commands[i]->name);
        put_zsh_text(cli_commands[i]->summary, out);
        fputs("' ", out);
    }
    fputs("'help:explain a command')\n"
          "        _describe command commands\n"
          "        return\n    fi\n"
          "    shift words\n    ((CURRENT--))\n"
          "    case $words[1] in\n    help)\n        _arguments '1:command:(",
          out);
    put_command_names(out);
    fputs(")'\n        ;;\n", out);
    for (size_t i = 0; cli_commands[i] != NULL; i++)
        put_zsh_command(cli_commands[i], out);
    fputs("    esac\n}\n_mqttv5 \"$@\"\n", out);
}

/* ---- the command ---- */

static int run(const struct cli_call *call)
{
    const char *shell = call->operands.count > 0 ? call->operands.items[0] : "";
    if (strcmp(shell, "bash") == 0)
        print_bash(stdout);
    else if (strcmp(shell, "zsh") == 0)
        print_zsh(stdout);
    else
        return cli_usage(call, "name a shell: bash or zsh");
    return CLI_OK;
}

static const struct cli_option *const tables[] = {NULL};

const struct cli_command cmd_completion = {
    .name = "completion",
    .summary = "print a script with which a shell completes mqttv5",
    .usage = "bash|zsh",
    .notes = "For the running bash: source <(mqttv5 completion bash)\n",
    .tables = tables,
    .operands_max = 1,
    .run = run,
};
