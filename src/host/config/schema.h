/* The keys of a configuration: sections of keys, each with its type, range, default, flag,
 * explanation, and where its value goes. Everything about configuration is made of this table.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_HOST_CONFIG_SCHEMA_H
#define M5_HOST_CONFIG_SCHEMA_H

#include "host/config/value.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum m5_key_type {
    M5_KEY_BOOL,         /* bool */
    M5_KEY_SWITCH,       /* enum m5_switch: a bool that tells when it was not set */
    M5_KEY_INTEGER,      /* an unsigned number of `width` bytes, as the next three */
    M5_KEY_SECONDS,      /* */
    M5_KEY_MILLISECONDS, /* */
    M5_KEY_SIZE,         /* bytes */
    M5_KEY_MODE,         /* uint32_t: octal access bits */
    M5_KEY_CHOICE,       /* an enum (of the size of int): a value of `choices` */
    M5_KEY_TEXT,         /* const char * */
    M5_KEY_SECRET,       /* const char *, never shown */
    M5_KEY_PATH,    /* const char *: a file or folder, relative to the configuration's folder */
    M5_KEY_TEXTS,   /* const char *const *, and a size_t count at `count_offset` */
    M5_KEY_PATTERN, /* struct mqtt5_role_mapping: {Equals: value}, or "Any" */
    M5_KEY_SECTION, /* the struct of `section`, here (a pointer to it: `is_pointer`) */
    M5_KEY_LIST,    /* an array of the structs of `section`, size_t count at `count_offset` */
    M5_KEY_ABSENT   /* known to be a key of others: `help` says what to do; no field */
};

enum m5_switch { M5_SWITCH_UNSET, M5_SWITCH_OFF, M5_SWITCH_ON };

/* A word and what it stands for. NULL ends a list. */
struct m5_choice {
    const char *name;
    int value;
};

struct m5_section;

/* NULL when @p text can be used, else the rest of a sentence "name: \"text\" ..."; static, or valid
 * until the next call on this thread. */
typedef const char *m5_key_check_fn(const char *text);

/* One key. A table of them ends with a zeroed entry. */
struct m5_key {
    const char *group; /* heading above this key; NULL: still the one before */
    const char *name;  /* as in files */
    const char *also;  /* other names, separated by blanks; NULL = none */
    enum m5_key_type type;
    uint16_t offset;        /* of the field in the section's struct */
    uint16_t count_offset;  /* TEXTS, LIST */
    uint16_t place_offset;  /* TEXTS: a struct m5_place that is told where it stands; 0 = none */
    uint8_t width;          /* numbers: bytes of the field */
    bool is_pointer;        /* SECTION */
    bool has_flags;         /* SECTION: the flags of its keys are flags of the program */
    bool is_endless;        /* numbers: "never" stands for `most` */
    bool is_harmless;       /* ABSENT: a warning; else an error */
    bool needs_restart;     /* a change counts after a restart only */
    bool is_inverted;       /* BOOL: the flag stands for false */
    bool is_output;         /* PATH: written by the broker, not read */
    uint64_t least, most;   /* numbers: the range; lists: at most `most` entries */
    m5_key_check_fn *check; /* TEXT, TEXTS: what a text must be; NULL = anything */
    const struct m5_choice *choices;  /* CHOICE */
    const struct m5_section *section; /* SECTION, LIST */
    const char *standard;             /* default, as one would write it; NULL: not set */
    const char *flag;                 /* without dashes; NULL = none */
    char alias;                       /* of the flag: -H; 0 = none */
    const char *env;        /* variable of the flag; NULL: MQTT5_ and its name in capitals */
    const char *value;      /* placeholder: "FILE" */
    const char *sample;     /* what generate-config shows for a key without default */
    const char *help;       /* lower case, no full stop */
    const char *flag_help;  /* the same for a flag that is_inverted */
    const char *flag_group; /* SECTION: heading above its flags; NULL: as before */
};

struct m5_section {
    const struct m5_key *keys;
    size_t size;    /* of the struct */
    bool has_place; /* its first member is a struct m5_place: where the section stands */
};

extern const struct m5_section m5_schema_root;

/* The unit of a number's type. */
enum m5_unit m5_key_unit(enum m5_key_type type);

/* True for types whose value is one text in a file. */
bool m5_key_is_scalar(enum m5_key_type type);

/* True when @p name is the key's name or one of the others. */
bool m5_key_is_named(const struct m5_key *key, const char *name);

/* The key of @p section with this name, or NULL. */
const struct m5_key *m5_section_find(const struct m5_section *section, const char *name);

/* Calls @p each for every key that has a flag, in order; @p group is the heading, or NULL when it
 * is still the same. */
typedef void m5_flag_fn(void *ctx, const struct m5_key *key, const char *group);
void m5_schema_flags(m5_flag_fn *each, void *ctx);

#endif
