/* The flags of `mqttv5 broker` that are keys of its configuration: made of the schema.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "cli/broker.h"

#include "base/assert.h"
#include "host/config/schema.h"

#define CHOICES_MAX 12

/* Made once, by the only thread there is then. */
static struct {
    struct cli_option options[CLI_BROKER_FLAGS_MAX + 1];
    struct cli_choice choices[CLI_BROKER_FLAGS_MAX][CHOICES_MAX];
    size_t count;
} made;

static enum cli_type type_of(const struct m5_key *key)
{
    switch (key->type) {
    case M5_KEY_BOOL:
    case M5_KEY_SWITCH: return CLI_BOOL;
    case M5_KEY_INTEGER: return CLI_INTEGER;
    case M5_KEY_SECONDS: return CLI_SECONDS;
    case M5_KEY_MILLISECONDS: return CLI_MILLISECONDS;
    case M5_KEY_SIZE: return CLI_SIZE;
    case M5_KEY_CHOICE: return CLI_CHOICE;
    default: return CLI_STRING;
    }
}

/* Words that only stand for earlier ones are left out. */
static const struct cli_choice *choices_of(const struct m5_key *key, size_t position)
{
    struct cli_choice *out = made.choices[position];
    size_t count = 0;
    int seen = -1;
    for (const struct m5_choice *choice = key->choices;
         choice->name != NULL && choice->value > seen && count + 1 < CHOICES_MAX; choice++) {
        out[count++] = (struct cli_choice){.name = choice->name, .value = choice->value};
        seen = choice->value;
    }
    return out;
}

/* A flag that switches something off explains itself the other way round. */
static const char *help_of(const struct m5_key *key)
{
    return key->is_inverted && key->flag_help != NULL ? key->flag_help : key->help;
}

static void add_flag(void *ctx, const struct m5_key *key, const char *group)
{
    const size_t position = made.count++;
    (void)ctx;
    M5_ASSERT(position < CLI_BROKER_FLAGS_MAX);
    struct cli_option *option = &made.options[position];
    *option = (struct cli_option){.group = group,
                                  .name = key->flag,
                                  .alias = key->alias,
                                  .type = type_of(key),
                                  .repeatable = key->type == M5_KEY_TEXTS,
                                  .is_text = true,
                                  .offset = offsetof(struct broker_call, slots) +
                                            position * sizeof(union broker_slot),
                                  .value = type_of(key) == CLI_BOOL ? NULL : key->value,
                                  .fallback = type_of(key) == CLI_BOOL ? NULL : key->standard,
                                  .env = key->env,
                                  .help = help_of(key)};
    if (option->type == CLI_CHOICE)
        option->choices = choices_of(key, position);
    if (option->type != CLI_STRING && option->type != CLI_BOOL) {
        option->min = key->least;
        option->max = key->most;
    }
}

const struct cli_option *cli_broker_flags(void)
{
    if (made.count == 0)
        m5_schema_flags(add_flag, NULL);
    return made.options;
}
