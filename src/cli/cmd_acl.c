/* `mqttv5 acl`: the rules of an access control file, changed and explained.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "base/bytes.h"
#include "cli/command.h"
#include "cli/json.h"
#include "host/acl/acl.h"
#include "host/auth/edit.h"
#include "host/auth/rewrite.h"

#include <mqtt5/topic.h>

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#define FIELD(name)  offsetof(struct acl_options, name)
#define NEW_MODE     0644
#define OPERANDS_MAX 4
#define LINE_SIZE    (M5_TEXT_LINE_MAX + 64)

struct acl_options {
    const char *file, *client_id;
    bool json;
};

static const struct cli_option acl_table[] = {
    {.group = "Options",
     .name = "file",
     .alias = 'f',
     .type = CLI_STRING,
     .offset = FIELD(file),
     .value = "PATH",
     .env = "MQTT5_ACL_FILE",
     .help = "the file of rules"},
    {.name = "client-id",
     .type = CLI_STRING,
     .offset = FIELD(client_id),
     .value = "ID",
     .fallback = "client",
     .env = "MQTT5_ACL_CLIENT_ID",
     .help = "for check: the client identifier that %c stands for"},
    {.name = "json",
     .type = CLI_BOOL,
     .offset = FIELD(json),
     .env = "MQTT5_ACL_JSON",
     .help = "print JSON"},
    {0},
};

static const struct cli_option *const tables[] = {acl_table, NULL};

/* `mqttv5 acl VERB ...` at work. */
struct job {
    const struct cli_call *call;
    const struct acl_options *options;
    const char *operands[OPERANDS_MAX]; /* behind the verb; NULL: not given */
};

/* ---- reading ---- */

static struct m5_acl *load(const struct job *job)
{
    struct m5_text_error error;
    char text[512];
    struct m5_acl *acl = m5_acl_load(job->options->file, M5_ACL_DETECT, &error);
    if (acl == NULL) {
        m5_text_error_format(&error, job->options->file, text, sizeof text);
        cli_error(job->call, "%s", text);
    }
    return acl;
}

static const char *right_name(uint8_t rights)
{
    static const char *const names[] = {"deny", "read", "write", "readwrite"};
    return names[rights & M5_ACL_BOTH];
}

/* A rule in words of our format; those of Mosquitto's have words of their own. */
static void print_rule(FILE *out, const struct m5_acl_rule *rule)
{
    switch (rule->kind) {
    case M5_ACL_USER:
    case M5_ACL_ROLE:
        fprintf(out, "%s %.*s topic ", rule->kind == M5_ACL_USER ? "user" : "role",
                (int)rule->subject.len, (const char *)rule->subject.data);
        break;
    case M5_ACL_EVERYBODY: fputs("user * topic ", out); break;
    case M5_ACL_ANONYMOUS: fputs("(anonymous) topic ", out); break;
    case M5_ACL_PATTERN: fputs("pattern ", out); break;
    }
    fprintf(out, "%.*s permission %s", (int)rule->pattern.len, (const char *)rule->pattern.data,
            right_name(rule->rights));
}

static const char *kind_name(enum m5_acl_kind kind)
{
    static const char *const names[] = {"user", "role", "everybody", "anonymous", "pattern"};
    return names[kind];
}

static void print_rule_json(const struct m5_acl_rule *rule)
{
    printf("{\"line\":%u,\"kind\":\"%s\"", rule->line, kind_name(rule->kind));
    if (rule->subject.len > 0) {
        fputs(",\"name\":", stdout);
        cli_json_string(stdout, rule->subject);
    }
    fputs(",\"topic\":", stdout);
    cli_json_string(stdout, rule->pattern);
    printf(",\"permission\":\"%s\"}", right_name(rule->rights));
}

/* Which rules a list shows. */
struct selection {
    const char *name; /* NULL: of every name */
    bool users, roles;
};

static bool is_selected(const struct selection *selection, const struct m5_acl_rule *rule)
{
    if (rule->kind == M5_ACL_ROLE ? !selection->roles : !selection->users)
        return false;
    if (selection->name == NULL || m5_text_equals(rule->subject, selection->name))
        return true;
    return rule->kind == M5_ACL_EVERYBODY && strcmp(selection->name, "*") == 0;
}

static int print_rules(const struct job *job, const struct selection *selection)
{
    struct m5_acl *acl = load(job);
    if (acl == NULL)
        return CLI_FAILED;
    const struct m5_acl_source *source = m5_acl_source_of(acl);
    bool first = true;
    if (job->options->json)
        putchar('[');
    for (uint32_t i = 0; i < source->rule_count; i++) {
        if (!is_selected(selection, &source->rules[i]))
            continue;
        if (job->options->json) {
            fputs(first ? "" : ",", stdout);
            print_rule_json(&source->rules[i]);
        } else {
            print_rule(stdout, &source->rules[i]);
            putchar('\n');
        }
        first = false;
    }
    if (job->options->json)
        puts("]");
    m5_acl_free(acl);
    return CLI_OK;
}

/* Assignments of @p user (NULL: of all). */
static int print_assignments(const struct job *job, const char *user)
{
    struct m5_acl *acl = load(job);
    if (acl == NULL)
        return CLI_FAILED;
    const struct m5_acl_source *source = m5_acl_source_of(acl);
    bool first = true;
    if (job->options->json)
        putchar('[');
    for (uint32_t i = 0; i < source->assignment_count; i++) {
        const struct m5_acl_assignment *assignment = &source->assignments[i];
        if (user != NULL && !m5_text_equals(assignment->user, user))
            continue;
        if (job->options->json) {
            fputs(first ? "" : ",", stdout);
            cli_json_string(stdout, assignment->role);
        } else {
            printf("%.*s\n", (int)assignment->role.len, (const char *)assignment->role.data);
        }
        first = false;
    }
    if (job->options->json)
        puts("]");
    m5_acl_free(acl);
    return CLI_OK;
}

static int run_list(const struct job *job)
{
    const struct selection selection = {
        .name = job->operands[0], .users = true, .roles = job->operands[0] == NULL};
    return print_rules(job, &selection);
}

static int run_role_list(const struct job *job)
{
    const struct selection selection = {.name = job->operands[0], .roles = true};
    return print_rules(job, &selection);
}

static int run_user_roles(const struct job *job)
{
    return print_assignments(job, job->operands[0]);
}

/* ---- check ---- */

/* A question of `check`, read. */
struct question {
    struct m5_principal who;
    const char *user, *action;
    struct mqtt5_bytes topic; /* a filter without $share, when it is for reading */
    bool writes, is_filter;
};

/* NULL, or what is wrong with it. */
static const char *read_question(const struct job *job, struct question *out)
{
    uint8_t rights;
    struct mqtt5_filter filter;
    out->user = job->operands[0];
    out->action = job->operands[2];
    out->topic = m5_bytes_of(job->operands[1]);
    out->who.client_id = m5_bytes_of(job->options->client_id);
    out->who.anonymous = strcmp(out->user, "anonymous") == 0;
    out->who.username = m5_bytes_of(out->who.anonymous ? "" : out->user);
    if (!m5_acl_rights_of(m5_bytes_of(out->action), &rights) ||
        (rights != M5_ACL_READ && rights != M5_ACL_WRITE))
        return "the action is read (or subscribe) or write (or publish)";
    out->writes = rights == M5_ACL_WRITE;
    if (out->writes)
        return mqtt5_topic_check(out->topic, UINT32_MAX) == MQTT5_OK
                   ? NULL
                   : "one publishes to a topic, not to a filter with wildcards";
    if (mqtt5_filter_parse(out->topic, UINT32_MAX, &filter) != MQTT5_OK)
        return "this is no topic and no filter";
    out->is_filter =
        strcmp(out->action, "subscribe") == 0 || filter.has_wildcard || filter.share_name.len > 0;
    out->topic = filter.filter;
    return NULL;
}

static void print_verdict(const struct job *job, const struct question *question,
                          const struct m5_acl_verdict *verdict)
{
    printf("%s: %s may %s%s %.*s\n", verdict->allowed ? "ALLOWED" : "DENIED", question->user,
           verdict->allowed ? "" : "not ",
           question->writes      ? "write to"
           : question->is_filter ? "subscribe to"
                                 : "read",
           (int)question->topic.len, (const char *)question->topic.data);
    if (verdict->rule == NULL) {
        puts(question->is_filter ? "  no rule covers all that the filter matches, so it is denied"
                                 : "  no rule grants it, so it is denied");
        return;
    }
    printf("  by %s:%u: ", job->options->file, verdict->rule->line);
    print_rule(stdout, verdict->rule);
    putchar('\n');
    if (question->is_filter && verdict->allowed)
        puts("  (messages that other rules deny are withheld one by one)");
}

static void print_verdict_json(const struct question *question,
                               const struct m5_acl_verdict *verdict)
{
    printf("{\"allowed\":%s,\"user\":", verdict->allowed ? "true" : "false");
    cli_json_string(stdout, m5_bytes_of(question->user));
    fputs(",\"client_id\":", stdout);
    cli_json_string(stdout, question->who.client_id);
    printf(",\"action\":\"%s\",\"topic\":", question->writes      ? "write"
                                            : question->is_filter ? "subscribe"
                                                                  : "read");
    cli_json_string(stdout, question->topic);
    fputs(",\"rule\":", stdout);
    if (verdict->rule == NULL)
        fputs("null", stdout);
    else
        print_rule_json(verdict->rule);
    puts("}");
}

static int run_check(const struct job *job)
{
    struct question question = {0};
    const char *why = read_question(job, &question);
    if (why != NULL)
        return cli_usage(job->call, "%s", why);
    struct m5_acl *acl = load(job);
    if (acl == NULL)
        return CLI_FAILED;
    const struct m5_acl_verdict verdict =
        question.writes      ? m5_acl_may_write(acl, &question.who, question.topic)
        : question.is_filter ? m5_acl_may_subscribe(acl, &question.who, question.topic)
                             : m5_acl_may_read(acl, &question.who, question.topic);
    if (job->options->json)
        print_verdict_json(&question, &verdict);
    else
        print_verdict(job, &question, &verdict);
    m5_acl_free(acl);
    return verdict.allowed ? CLI_OK : CLI_FAILED;
}

/* ---- changing ---- */

/* A change: lines that match go, or the first is replaced by @p line. */
struct change {
    struct m5_edit_rule rules[2]; /* one after the other; the second may have no keyword */
    const char *line;             /* for the first */
};

/* A name must be one word that does not look like a comment. NULL or a sentence. */
static const char *check_word(const char *word)
{
    struct m5_text_word words[2];
    const struct mqtt5_bytes text = m5_bytes_of(word);
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] < 0x20 || text.data[i] == 0x7F)
            return "a name or topic in the file has no control characters";
    }
    return m5_text_split(text, words, 2) == 1 && words[0].text.len == text.len
               ? NULL
               : "a name or topic in the file has no blanks, and is not empty";
}

static int apply(const struct job *job, const struct change *change, struct mqtt5_bytes old,
                 struct m5_text *out, uint32_t *matched)
{
    struct m5_text first;
    uint32_t more = 0;
    struct m5_edit edit = {
        .match = m5_edit_is_rule, .ctx = &change->rules[0], .line = change->line};
    if (!m5_edit_apply(old, &edit, &first, matched))
        return cli_failed(job->call, "out of memory");
    if (change->rules[1].keyword == NULL) {
        *out = first;
        return CLI_OK;
    }
    edit.ctx = &change->rules[1];
    const bool done = m5_edit_apply(m5_bytes(first.data, first.size), &edit, out, &more);
    m5_text_free(&first);
    *matched += more;
    return done ? CLI_OK : cli_failed(job->call, "out of memory");
}

/* Only a file that can be read is changed, and only into one that can. */
static int check_content(const struct job *job, struct mqtt5_bytes content, const char *when)
{
    struct m5_text_error error;
    char text[512];
    struct m5_acl *acl = m5_acl_new(&m5_libc_allocator, content, M5_ACL_DETECT, &error);
    const bool is_ours = acl != NULL && m5_acl_source_of(acl)->format == M5_ACL_OURS;
    m5_acl_free(acl);
    if (is_ours)
        return CLI_OK;
    if (acl != NULL)
        return cli_failed(job->call, "%s is in Mosquitto's format: change it with an editor",
                          job->options->file);
    m5_text_error_format(&error, job->options->file, text, sizeof text);
    return cli_failed(job->call, "%s%s", when, text);
}

static void report(const struct job *job, const char *done, uint32_t lines)
{
    if (job->options->json) {
        fputs("{\"file\":", stdout);
        cli_json_string(stdout, m5_bytes_of(job->options->file));
        printf(",\"done\":\"%s\",\"lines\":%u}\n", done, lines);
    } else {
        cli_status("%s: %s, %u line%s", job->options->file, done, lines, lines == 1 ? "" : "s");
    }
}

static int change_content(const struct job *job, const struct change *change,
                          struct m5_rewrite *file)
{
    struct m5_text_error error;
    struct m5_text content = {0};
    uint32_t matched = 0;
    const struct mqtt5_bytes old = m5_bytes(file->old.data, file->old.size);
    int code = check_content(job, old, "");
    if (code == CLI_OK)
        code = apply(job, change, old, &content, &matched);
    const struct mqtt5_bytes made = m5_bytes(content.data, content.size);
    if (code == CLI_OK)
        code = check_content(job, made, "that would make a file no broker reads: ");
    if (code == CLI_OK && change->line == NULL && matched == 0)
        code = cli_failed(job->call, "%s: there is no such rule", job->options->file);
    if (code == CLI_OK && !m5_rewrite_commit(file, made, &error))
        code = cli_failed(job->call, "%s: %s", job->options->file, error.text);
    if (code == CLI_OK)
        report(job,
               change->line == NULL ? "removed"
               : matched > 0        ? "changed"
                                    : "added",
               change->line == NULL || matched > 0 ? matched : 1);
    m5_text_free(&content);
    return code;
}

static int change_file(const struct job *job, const struct change *change)
{
    struct m5_rewrite file;
    struct m5_text_error error;
    for (size_t i = 0; i < OPERANDS_MAX && job->operands[i] != NULL; i++) {
        const char *why = check_word(job->operands[i]);
        if (why != NULL)
            return cli_usage(job->call, "\"%s\": %s", job->operands[i], why);
    }
    int code = CLI_FAILED;
    if (!m5_rewrite_begin(&file, job->options->file, NEW_MODE, &error))
        cli_error(job->call, "%s: %s", job->options->file, error.text);
    else if (!file.exists && change->line == NULL)
        cli_error(job->call, "%s: there is no such file", job->options->file);
    else
        code = change_content(job, change, &file);
    m5_rewrite_end(&file);
    return code;
}

/* add and role-add */
static int add_rule(const struct job *job, const char *keyword)
{
    uint8_t rights;
    char line[LINE_SIZE];
    struct m5_text_error error;
    if (!m5_acl_rights_of(m5_bytes_of(job->operands[2]), &rights))
        return cli_usage(job->call, "\"%s\" is no permission; write read, write, readwrite or deny",
                         job->operands[2]);
    if (!m5_acl_pattern_check(m5_bytes_of(job->operands[1]), &error))
        return cli_usage(job->call, "%s", error.text);
    const int size = snprintf(line, sizeof line, "%s %s topic %s permission %s", keyword,
                              job->operands[0], job->operands[1], job->operands[2]);
    if (size < 0 || (size_t)size >= sizeof line)
        return cli_usage(job->call, "the rule is too long");
    const struct change change = {
        .rules = {{.keyword = keyword, .name = job->operands[0], .third = job->operands[1]}},
        .line = line};
    return change_file(job, &change);
}

static int run_add(const struct job *job)
{
    return add_rule(job, "user");
}

static int run_role_add(const struct job *job)
{
    return add_rule(job, "role");
}

static int run_remove(const struct job *job)
{
    const struct change change = {
        .rules = {{.keyword = "user", .name = job->operands[0], .third = job->operands[1]}}};
    return change_file(job, &change);
}

/* A role that goes as a whole takes its assignments with it. */
static int run_role_remove(const struct job *job)
{
    struct change change = {
        .rules = {{.keyword = "role", .name = job->operands[0], .third = job->operands[1]}}};
    if (job->operands[1] == NULL)
        change.rules[1] = (struct m5_edit_rule){.keyword = "assign", .third = job->operands[0]};
    return change_file(job, &change);
}

static int run_assign(const struct job *job)
{
    char line[LINE_SIZE];
    const int size =
        snprintf(line, sizeof line, "assign %s %s", job->operands[0], job->operands[1]);
    if (size < 0 || (size_t)size >= sizeof line)
        return cli_usage(job->call, "the names are too long");
    if (strcmp(job->operands[0], "*") == 0)
        return cli_usage(job->call, "a role is assigned to one user; for everybody use: add \"*\"");
    const struct change change = {
        .rules = {{.keyword = "assign", .name = job->operands[0], .third = job->operands[1]}},
        .line = line};
    return change_file(job, &change);
}

static int run_unassign(const struct job *job)
{
    const struct change change = {
        .rules = {{.keyword = "assign", .name = job->operands[0], .third = job->operands[1]}}};
    return change_file(job, &change);
}

/* ---- the command ---- */

static const struct verb {
    const char *name, *usage;
    size_t least, most; /* operands */
    int (*run)(const struct job *job);
} verbs[] = {
    {"add", "USER TOPIC PERMISSION", 3, 3, run_add},
    {"remove", "USER [TOPIC]", 1, 2, run_remove},
    {"list", "[USER]", 0, 1, run_list},
    {"check", "USER TOPIC ACTION", 3, 3, run_check},
    {"role-add", "ROLE TOPIC PERMISSION", 3, 3, run_role_add},
    {"role-remove", "ROLE [TOPIC]", 1, 2, run_role_remove},
    {"role-list", "[ROLE]", 0, 1, run_role_list},
    {"assign", "USER ROLE", 2, 2, run_assign},
    {"unassign", "USER ROLE", 2, 2, run_unassign},
    {"user-roles", "USER", 1, 1, run_user_roles},
};
#define VERBS (sizeof verbs / sizeof *verbs)

static const struct verb *find_verb(const char *name)
{
    for (size_t i = 0; i < VERBS; i++) {
        if (strcmp(verbs[i].name, name) == 0)
            return &verbs[i];
    }
    return NULL;
}

static int unknown_verb(const struct cli_call *call, const char *name)
{
    const char *names[VERBS + 1] = {NULL};
    for (size_t i = 0; i < VERBS; i++)
        names[i] = verbs[i].name;
    const char *guess = cli_suggest(name, names);
    if (guess != NULL)
        return cli_usage(call, "unknown action \"%s\" (did you mean %s?)", name, guess);
    return cli_usage(call, "unknown action \"%s\" (see mqttv5 acl --help)", name);
}

static int run(const struct cli_call *call)
{
    struct job job = {.call = call, .options = call->options};
    if (call->operands.count == 0)
        return cli_usage(call, "say what to do: add, remove, list, check... (see --help)");
    const struct verb *verb = find_verb(call->operands.items[0]);
    if (verb == NULL)
        return unknown_verb(call, call->operands.items[0]);
    const size_t count = call->operands.count - 1;
    if (count < verb->least || count > verb->most)
        return cli_usage(call, "usage: mqttv5 acl %s %s", verb->name, verb->usage);
    for (size_t i = 0; i < count; i++)
        job.operands[i] = call->operands.items[i + 1];
    if (job.options->file == NULL)
        return cli_usage(call, "name the file of rules with --file");
    return verb->run(&job);
}

const struct cli_command cmd_acl = {
    .name = "acl",
    .summary = "change and explain the rules of an access control file",
    .usage = "ACTION [arguments] --file PATH",
    .notes = "Actions:\n"
             "  add USER TOPIC PERMISSION       add or change a rule; USER * is everybody\n"
             "  remove USER [TOPIC]             remove a rule, or all of the user's\n"
             "  list [USER]                     print rules\n"
             "  check USER TOPIC ACTION         say whether it is allowed, and which rule decides\n"
             "  role-add ROLE TOPIC PERMISSION  add or change a rule of a role\n"
             "  role-remove ROLE [TOPIC]        remove a rule, or the role with its assignments\n"
             "  role-list [ROLE]                print rules of roles\n"
             "  assign USER ROLE                give a role to a user\n"
             "  unassign USER ROLE              take it away\n"
             "  user-roles USER                 print the roles of a user\n"
             "PERMISSION is read, write, readwrite or deny; ACTION of check is read, write,\n"
             "publish or subscribe. The user `anonymous` is who gives no name.\n"
             "list, check and the like read Mosquitto's format too. A file is replaced as a\n"
             "whole, keeping owner, mode and comments.\n"
             "Exit code: 0 done or allowed, 1 denied or it could not be done, 2 wrong usage.\n",
    .tables = tables,
    .options_size = sizeof(struct acl_options),
    .operands_max = 1 + OPERANDS_MAX,
    .run = run,
};
