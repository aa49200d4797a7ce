/* Dynamic security: every command and its answers as Mosquitto 2.0.11 gives them, what clients may
 * do then, and the file.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "base/assert.h"
#include "base/bytes.h"
#include "host/dynsec/dynsec.h"
#include "support/unit.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static struct m5_dynsec *dynsec;
static char path[64];

static struct m5_dynsec *open_file(const char *file, struct m5_text_error *error)
{
    struct m5_verifier_config config = m5_verifier_defaults;
    config.threads = 1;
    return m5_dynsec_new(&m5_libc_allocator, file, &config, error);
}

static int set_up(void **state)
{
    (void)state;
    struct m5_text_error error;
    dynsec = open_file(NULL, &error);
    return dynsec == NULL ? -1 : 0;
}

static int tear_down(void **state)
{
    (void)state;
    m5_dynsec_free(dynsec);
    dynsec = NULL;
    return 0;
}

/* Says @p commands and compares what is in the list of answers. */
#define SAY(commands, answers) say(commands, answers, __LINE__)
static void say(const char *commands, const char *answers, int line)
{
    char request[8192], expected[8192];
    bool changed;
    snprintf(request, sizeof request, "{\"commands\":[%s]}", commands);
    snprintf(expected, sizeof expected, "{\"responses\":[%s]}", answers);
    for (char *at = request; *at != 0; at++)
        *at = *at == '\'' ? '"' : *at;
    for (char *at = expected; *at != 0; at++)
        *at = *at == '\'' ? '"' : *at;
    char *answer = m5_dynsec_execute(dynsec, m5_bytes_of(request), &changed);
    assert_non_null(answer);
    if (strcmp(answer, expected) != 0)
        fail_msg("line %d: got %s\ninstead of %s", line, answer, expected);
    free(answer);
}

/* One command, and the error that answers it; NULL: none. */
static void err(const char *command, const char *arguments, const char *error)
{
    char request[1024], answer[1024];
    snprintf(request, sizeof request, "{'command':'%s'%s%s}", command, arguments[0] ? "," : "",
             arguments);
    snprintf(answer, sizeof answer, "{'command':'%s'%s%s%s}", command,
             error != NULL ? ",'error':'" : "", error != NULL ? error : "",
             error != NULL ? "'" : "");
    say(request, answer, __LINE__);
}

static void whole(const char *payload, const char *expected)
{
    bool changed;
    char *answer = m5_dynsec_execute(dynsec, m5_bytes_of(payload), &changed);
    assert_string_equal(answer, expected);
    assert_false(changed);
    free(answer);
}

/* ---- commands ---- */

static void what_is_no_command(void **state)
{
    (void)state;
    static const char missing[] = "{\"responses\":[{\"command\":\"Unknown "
                                  "command\",\"error\":\"Invalid/missing commands\"}]}";
    static const char invalid[] =
        "{\"responses\":[{\"command\":\"Unknown command\",\"error\":\"Payload not valid JSON\"}]}";
    whole("{\"commands\":7}", missing);
    whole("{}", missing);
    whole("[]", missing);
    whole("not json", invalid);
    whole("", invalid);
    whole("{\"commands\":[]}", "{\"responses\":[]}");
    SAY("{'command':'nonsense'},{'command':7},{'nocommand':1},5",
        "{'command':'nonsense','error':'Unknown command'},"
        "{'command':'Unknown command','error':'Missing command'},"
        "{'command':'Unknown command','error':'Missing command'},"
        "{'command':'Unknown command','error':'Command not an object'}");
    SAY("{'command':'getClient','username':'c','correlationData':7},"
        "{'command':'getClient','username':'c','correlationData':'x'}",
        "{'command':'getClient','error':'Invalid correlationData data type.'},"
        "{'command':'getClient','error':'Client not found','correlationData':'x'}");
}

static void roles(void **state)
{
    (void)state;
    SAY("{'command':'createRole','rolename':'r1','textname':'T','textdescription':'D','acls':["
        "{'acltype':'publishClientSend','topic':'a/#','priority':3,'allow':true},"
        "{'acltype':'subscribePattern','topic':'a/%c/#','allow':true}]},"
        "{'command':'getRole','rolename':'r1'}",
        "{'command':'createRole'},"
        "{'command':'getRole','data':{'role':{'rolename':'r1','textname':'T',"
        "'textdescription':'D','acls':["
        "{'acltype':'publishClientSend','topic':'a/#','priority':3,'allow':true},"
        "{'acltype':'subscribePattern','topic':'a/%c/#','priority':0,'allow':true}]}}}");
    err("createRole", "'rolename':'r1'", "Role already exists");
    err("createRole", "", "Invalid/missing rolename");
    err("createRole", "'rolename':5", "Invalid/missing rolename");
    err("createRole", "'rolename':'r2','acls':[{'acltype':'nonsense','topic':'x','allow':true}]",
        NULL);
    SAY("{'command':'getRole','rolename':'r2'}",
        "{'command':'getRole','data':{'role':{'rolename':'r2','acls':[]}}}");
    err("getRole", "'rolename':'nope'", "Role not found");
    err("getRole", "", "Invalid/missing rolename");
    err("modifyRole",
        "'rolename':'r2','textname':'rn','acls':["
        "{'acltype':'publishClientSend','topic':'z','allow':true}]",
        NULL);
    err("modifyRole", "'rolename':'r2','textdescription':'rd'", NULL);
    err("modifyRole", "'rolename':'rx'", "Role does not exist");
    err("modifyRole", "", "Invalid/missing rolename");
    SAY("{'command':'listRoles'},{'command':'listRoles','verbose':true,'offset':1,'count':5}",
        "{'command':'listRoles','data':{'totalCount':2,'roles':['r1','r2']}},"
        "{'command':'listRoles','data':{'totalCount':2,'roles':[{'rolename':'r2',"
        "'textname':'rn','textdescription':'rd','acls':["
        "{'acltype':'publishClientSend','topic':'z','priority':0,'allow':true}]}]}}");
    err("deleteRole", "'rolename':'r2'", NULL);
    err("deleteRole", "'rolename':'r2'", "Role not found");
    err("deleteRole", "", "Invalid/missing rolename");
}

static void rules_of_roles(void **state)
{
    (void)state;
    err("createRole", "'rolename':'r1'", NULL);
    err("addRoleACL",
        "'rolename':'r1','acltype':'publishClientReceive','topic':'b/#','priority':4,'allow':true",
        NULL);
    err("addRoleACL", "'rolename':'r1','acltype':'publishClientReceive','topic':'b/#','allow':true",
        "ACL with this topic already exists");
    err("addRoleACL", "'rolename':'rx','acltype':'publishClientReceive','topic':'b/#'",
        "Role not found");
    err("addRoleACL", "'rolename':'r1','acltype':'zzz','topic':'b/#'", "Unknown acltype");
    err("addRoleACL", "'rolename':'r1','acltype':'publishClientReceive','topic':'b/#/c'",
        "Invalid ACL topic");
    err("addRoleACL", "'rolename':'r1','acltype':'publishClientReceive'", "Invalid/missing topic");
    err("addRoleACL", "'rolename':'r1','topic':'q'", "Invalid/missing acltype");
    err("addRoleACL", "'acltype':'subscribeLiteral','topic':'#'", "Invalid/missing rolename");
    err("addRoleACL", "'rolename':'r1','acltype':'publishClientReceive','topic':'noallow'", NULL);
    err("addRoleACL",
        "'rolename':'r1','acltype':'unsubscribePattern','topic':'u/+',"
        "'allow':true,'priority':-1",
        NULL);
    err("addRoleACL", "'rolename':'r1','acltype':'subscribeLiteral','topic':'#','allow':false",
        NULL);
    SAY("{'command':'getRole','rolename':'r1'}",
        "{'command':'getRole','data':{'role':{'rolename':'r1','acls':["
        "{'acltype':'publishClientReceive','topic':'b/#','priority':4,'allow':true},"
        "{'acltype':'publishClientReceive','topic':'noallow','priority':0,'allow':false},"
        "{'acltype':'subscribeLiteral','topic':'#','priority':0,'allow':false},"
        "{'acltype':'unsubscribePattern','topic':'u/+','priority':-1,'allow':true}]}}}");
    err("removeRoleACL", "'rolename':'r1','acltype':'publishClientReceive','topic':'b/#'", NULL);
    err("removeRoleACL", "'rolename':'r1','acltype':'publishClientReceive','topic':'b/#'",
        "ACL not found");
    err("removeRoleACL", "'rolename':'rx','acltype':'publishClientReceive','topic':'b/#'",
        "Role not found");
    err("removeRoleACL", "'rolename':'r1','acltype':'zz','topic':'b/#'", "Unknown acltype");
    err("removeRoleACL", "'rolename':'r1','acltype':'publishClientReceive'",
        "Invalid/missing topic");
    err("removeRoleACL", "'rolename':'r1','topic':'b/#'", "Invalid/missing acltype");
    err("removeRoleACL", "'acltype':'publishClientReceive','topic':'b'",
        "Invalid/missing rolename");
}

static void clients(void **state)
{
    (void)state;
    err("createRole", "'rolename':'r1'", NULL);
    err("createRole", "'rolename':'admin'", NULL);
    SAY("{'command':'createClient','username':'c1','password':'pw','clientid':'cid',"
        "'textname':'tn','textdescription':'td','roles':[{'rolename':'r1','priority':7}]},"
        "{'command':'getClient','username':'c1'}",
        "{'command':'createClient'},"
        "{'command':'getClient','data':{'client':{'username':'c1','clientid':'cid',"
        "'textname':'tn','textdescription':'td','roles':[{'rolename':'r1','priority':7}],"
        "'groups':[]}}}");
    err("createClient", "'username':'c1'", "Client already exists");
    err("createClient", "", "Invalid/missing username");
    err("createClient", "'username':'c2','roles':[{'rolename':'nope'}]", "Role not found");
    err("createClient", "'username':'c2','groups':[{'groupname':'nope'}]", "Group not found");
    err("getClient", "'username':'c2'", "Client not found");
    err("createClient", "'username':'c4'", NULL);
    SAY("{'command':'getClient','username':'c4'}",
        "{'command':'getClient','data':{'client':{'username':'c4','roles':[],'groups':[]}}}");
    err("addClientRole", "'username':'c4','rolename':'r1'", NULL);
    err("addClientRole", "'username':'c4','rolename':'r1','priority':9", "Internal error");
    err("addClientRole", "'username':'cx','rolename':'r1'", "Client not found");
    err("addClientRole", "'username':'c4','rolename':'rx'", "Role not found");
    err("addClientRole", "'username':'c4'", "Invalid/missing rolename");
    err("addClientRole", "'rolename':'r1'", "Invalid/missing username");
    err("removeClientRole", "'username':'c4','rolename':'r1'", NULL);
    err("removeClientRole", "'username':'c4','rolename':'r1'", NULL);
    err("removeClientRole", "'username':'c4','rolename':'rx'", "Role not found");
    err("removeClientRole", "'username':'cx','rolename':'r1'", "Client not found");
    err("modifyClient", "'username':'c1','textname':'new','roles':[{'rolename':'admin'}]", NULL);
    err("modifyClient", "'username':'cx'", "Client not found");
    err("modifyClient", "'username':'c1','roles':[{'rolename':'nope'}]", "Role not found");
    err("setClientId", "'username':'c1','clientid':'x'", NULL);
    err("setClientId", "'username':'cx','clientid':'x'", "Client not found");
    err("setClientId", "'clientid':'x'", "Invalid/missing username");
    err("disableClient", "'username':'c1'", NULL);
    SAY("{'command':'getClient','username':'c1'}",
        "{'command':'getClient','data':{'client':{'username':'c1','clientid':'x',"
        "'textname':'new','textdescription':'td','disabled':true,"
        "'roles':[{'rolename':'admin'}],'groups':[]}}}");
    err("enableClient", "'username':'c1'", NULL);
    err("setClientId", "'username':'c1'", NULL);
    err("enableClient", "'username':'cx'", "Client not found");
    err("disableClient", "", "Invalid/missing username");
    SAY("{'command':'listClients','count':1,'offset':1},{'command':'listClients','count':1},"
        "{'command':'listClients','count':-1,'offset':1},"
        "{'command':'listClients','count':1,'verbose':true},{'command':'listClients','count':'x'}",
        "{'command':'listClients','data':{'totalCount':2,'clients':['c4']}},"
        "{'command':'listClients','data':{'totalCount':2,'clients':['c1']}},"
        "{'command':'listClients','data':{'totalCount':2,'clients':['c4']}},"
        "{'command':'listClients','data':{'totalCount':2,'clients':[{'username':'c1',"
        "'textname':'new','textdescription':'td','roles':[{'rolename':'admin'}],'groups':[]}]}},"
        "{'command':'listClients','data':{'totalCount':2,'clients':['c1','c4']}}");
    err("setClientPassword", "'username':'c1','password':'new'", NULL);
    err("setClientPassword", "'username':'cx','password':'new'", "Client not found");
    err("setClientPassword", "'username':'c1'", "Invalid/missing password");
    err("setClientPassword", "'username':'c1','password':''", "Empty password is not allowed");
    err("setClientPassword", "'password':'x'", "Invalid/missing username");
    err("deleteClient", "'username':'c4'", NULL);
    err("deleteClient", "'username':'c4'", "Client not found");
    err("deleteClient", "", "Invalid/missing username");
}

static void groups(void **state)
{
    (void)state;
    err("createRole", "'rolename':'r1'", NULL);
    err("createRole", "'rolename':'r2'", NULL);
    err("createClient", "'username':'c1'", NULL);
    err("createGroup", "'groupname':'g1','textname':'tn','roles':[{'rolename':'r1'}]", NULL);
    err("createGroup", "'groupname':'g1'", "Group already exists");
    err("createGroup", "", "Invalid/missing groupname");
    err("createGroup", "'groupname':'g2','roles':[{'rolename':'nope'}]", "Role not found");
    err("addGroupClient", "'groupname':'g1','username':'c1','priority':5", NULL);
    err("addGroupClient", "'groupname':'g1','username':'c1'", "Client is already in this group");
    err("addGroupClient", "'groupname':'gx','username':'c1'", "Group not found");
    err("addGroupClient", "'groupname':'g1','username':'cx'", "Client not found");
    err("addGroupClient", "'username':'c1'", "Invalid/missing groupname");
    err("addGroupClient", "'groupname':'g1'", "Invalid/missing username");
    err("addGroupRole", "'groupname':'g1','rolename':'r1'", "Group is already in this role");
    err("addGroupRole", "'groupname':'g1','rolename':'r2','priority':3", NULL);
    err("addGroupRole", "'groupname':'g1','rolename':'rx'", "Role not found");
    err("addGroupRole", "'groupname':'g1'", "Invalid/missing rolename");
    SAY("{'command':'getGroup','groupname':'g1'},{'command':'getClient','username':'c1'}",
        "{'command':'getGroup','data':{'group':{'groupname':'g1','textname':'tn','clients':["
        "{'username':'c1','priority':5}],'roles':[{'rolename':'r2','priority':3},"
        "{'rolename':'r1'}]}}},"
        "{'command':'getClient','data':{'client':{'username':'c1','roles':[],'groups':["
        "{'groupname':'g1','priority':5}]}}}");
    err("removeGroupRole", "'groupname':'g1','rolename':'r2'", NULL);
    err("removeGroupRole", "'groupname':'g1','rolename':'r2'", NULL);
    err("removeGroupRole", "'groupname':'gx','rolename':'r2'", "Group not found");
    err("removeGroupClient", "'groupname':'g1','username':'c1'", NULL);
    err("removeGroupClient", "'groupname':'g1','username':'cx'", "Client not found");
    err("modifyGroup", "'groupname':'g1','roles':[],'clients':[{'username':'c1'}]", NULL);
    err("modifyGroup", "'groupname':'gx'", "Group not found");
    SAY("{'command':'listGroups'},{'command':'listGroups','verbose':true}",
        "{'command':'listGroups','data':{'totalCount':1,'groups':['g1']}},"
        "{'command':'listGroups','data':{'totalCount':1,'groups':[{'groupname':'g1',"
        "'textname':'tn','clients':[{'username':'c1'}],'roles':[]}]}}");
    err("setAnonymousGroup", "'groupname':'gx'", "Group not found");
    err("setAnonymousGroup", "", "Invalid/missing groupname");
    err("setAnonymousGroup", "'groupname':'g1'", NULL);
    SAY("{'command':'getAnonymousGroup'}",
        "{'command':'getAnonymousGroup','data':{'group':{'groupname':'g1'}}}");
    err("deleteGroup", "'groupname':'g1'", NULL); /* crashes Mosquitto 2.0.11 */
    SAY("{'command':'getAnonymousGroup'},{'command':'getClient','username':'c1'}",
        "{'command':'getAnonymousGroup','data':{'group':{'groupname':''}}},"
        "{'command':'getClient','data':{'client':{'username':'c1','roles':[],'groups':[]}}}");
    err("deleteGroup", "'groupname':'g1'", "Group not found");
}

static void what_is_deleted_is_gone_everywhere(void **state)
{
    (void)state;
    err("createRole", "'rolename':'r1'", NULL);
    err("createRole", "'rolename':'r2'", NULL);
    err("createGroup", "'groupname':'g1','roles':[{'rolename':'r1'},{'rolename':'r2'}]", NULL);
    err("createClient",
        "'username':'c1','roles':[{'rolename':'r2'},{'rolename':'r1'}],"
        "'groups':[{'groupname':'g1'}]",
        NULL);
    err("deleteRole", "'rolename':'r1'", NULL);
    SAY("{'command':'getGroup','groupname':'g1'},{'command':'getClient','username':'c1'}",
        "{'command':'getGroup','data':{'group':{'groupname':'g1','clients':[{'username':'c1'}],"
        "'roles':[{'rolename':'r2'}]}}},"
        "{'command':'getClient','data':{'client':{'username':'c1','roles':[{'rolename':'r2'}],"
        "'groups':[{'groupname':'g1'}]}}}");
    err("deleteClient", "'username':'c1'", NULL);
    SAY("{'command':'getGroup','groupname':'g1'}",
        "{'command':'getGroup','data':{'group':{'groupname':'g1','clients':[],"
        "'roles':[{'rolename':'r2'}]}}}");
}

static void defaults(void **state)
{
    (void)state;
    SAY("{'command':'getDefaultACLAccess'}",
        "{'command':'getDefaultACLAccess','data':{'acls':["
        "{'acltype':'publishClientSend','allow':false},"
        "{'acltype':'publishClientReceive','allow':true},"
        "{'acltype':'subscribe','allow':false},{'acltype':'unsubscribe','allow':true}]}}");
    err("setDefaultACLAccess",
        "'acls':[{'acltype':'publishClientSend','allow':true},"
        "{'acltype':'bogus','allow':true},{'acltype':'unsubscribe'},"
        "{'acltype':'subscribe','access':'allow'}]",
        NULL);
    err("setDefaultACLAccess", "", "Missing/invalid actions array");
    SAY("{'command':'getDefaultACLAccess'}",
        "{'command':'getDefaultACLAccess','data':{'acls':["
        "{'acltype':'publishClientSend','allow':true},"
        "{'acltype':'publishClientReceive','allow':true},"
        "{'acltype':'subscribe','allow':true},{'acltype':'unsubscribe','allow':true}]}}");
}

/* ---- what they may do ---- */

static char asks(const char *user, const char *id, enum m5_acl_action action, const char *topic)
{
    const struct m5_principal who = {
        .client_id = m5_bytes_of(id), .username = m5_bytes_of(user), .anonymous = user[0] == 0};
    return "ADU"[m5_dynsec_ask(dynsec, &who, action, m5_bytes_of(topic))];
}

#define WRITE M5_ACL_MAY_WRITE
#define READ  M5_ACL_MAY_READ
#define SUB   M5_ACL_MAY_SUBSCRIBE
#define UNSUB M5_ACL_MAY_UNSUBSCRIBE

static void rule(const char *role, const char *type, const char *topic, int priority, bool allow)
{
    char arguments[512];
    snprintf(arguments, sizeof arguments,
             "'rolename':'%s','acltype':'%s','topic':'%s','priority':%d,'allow':%s", role, type,
             topic, priority, allow ? "true" : "false");
    err("addRoleACL", arguments, NULL);
}

static void rules_decide_by_type_and_priority(void **state)
{
    (void)state;
    err("createRole", "'rolename':'r'", NULL);
    err("createClient", "'username':'u','roles':[{'rolename':'r'}]", NULL);
    rule("r", "publishClientSend", "a/#", 0, true);
    rule("r", "publishClientSend", "a/b", 5, false);
    rule("r", "publishClientReceive", "secret/#", 0, false);
    rule("r", "subscribePattern", "s/#", 0, true);
    rule("r", "subscribeLiteral", "s/+/x", 0, false);
    rule("r", "subscribeLiteral", "#", 0, true);
    rule("r", "unsubscribePattern", "s/#", 0, false);
    assert_int_equal(asks("u", "c", WRITE, "a/c"), 'A');
    assert_int_equal(asks("u", "c", WRITE, "a"), 'A');
    assert_int_equal(asks("u", "c", WRITE, "a/b"), 'D');
    assert_int_equal(asks("u", "c", WRITE, "b"), 'D');
    assert_int_equal(asks("u", "c", READ, "b"), 'A');
    assert_int_equal(asks("u", "c", READ, "secret/b"), 'D');
    assert_int_equal(asks("u", "c", SUB, "s/#"), 'A');
    assert_int_equal(asks("u", "c", SUB, "s/+/y"), 'A');
    assert_int_equal(asks("u", "c", SUB, "s/+/x"), 'D'); /* literal before pattern */
    assert_int_equal(asks("u", "c", SUB, "#"), 'A');
    assert_int_equal(asks("u", "c", SUB, "+/x"), 'D');
    assert_int_equal(asks("u", "c", UNSUB, "s/1"), 'D');
    assert_int_equal(asks("u", "c", UNSUB, "t"), 'A');
    assert_int_equal(asks("v", "c", WRITE, "a/c"), 'U');
    assert_int_equal(asks("", "c", WRITE, "a/c"), 'U'); /* no group for them */
}

static void case_46_names_in_patterns(void **state)
{
    (void)state;
    err("createRole", "'rolename':'r'", NULL);
    err("createClient", "'username':'u','roles':[{'rolename':'r'}]", NULL);
    err("createClient", "'username':'+','roles':[{'rolename':'r'}]", NULL);
    err("createClient", "'username':'$SYS','roles':[{'rolename':'r'}]", NULL);
    rule("r", "publishClientSend", "in/%u/%c/#", 0, true);
    rule("r", "subscribePattern", "out/%c/+", 0, true);
    rule("r", "subscribePattern", "%u/#", 0, true);
    rule("r", "publishClientSend", "+/x", 0, true);
    assert_int_equal(asks("u", "c", WRITE, "in/u/c/1"), 'A');
    assert_int_equal(asks("u", "c", WRITE, "in/v/c/1"), 'D');
    assert_int_equal(asks("+", "c", WRITE, "in/+/c/1"), 'D');
    assert_int_equal(asks("u", "#", SUB, "out/#/x"), 'D');
    assert_int_equal(asks("u", "#", SUB, "out/#"), 'D');
    assert_int_equal(asks("u", "c", SUB, "out/c/+"), 'A');
    assert_int_equal(asks("u", "c", SUB, "out/c/#"), 'D');
    assert_int_equal(asks("$SYS", "c", SUB, "$SYS/#"), 'D');
    assert_int_equal(asks("u", "c", SUB, "u/#"), 'A');
    assert_int_equal(asks("u", "c", WRITE, "$a/x"), 'D'); /* [MQTT-4.7.2-1] */
    assert_int_equal(asks("u", "c", WRITE, "a/x"), 'A');
}

static void own_roles_before_groups(void **state)
{
    (void)state;
    static const char *const names[] = {"own", "high", "low"};
    for (size_t i = 0; i < M5_COUNT_OF(names); i++) {
        char arguments[64];
        snprintf(arguments, sizeof arguments, "'rolename':'%s'", names[i]);
        err("createRole", arguments, NULL);
    }
    rule("own", "publishClientSend", "1", 0, true);
    rule("high", "publishClientSend", "1", 100, false);
    rule("high", "publishClientSend", "2", 0, true);
    rule("low", "publishClientSend", "2", 100, false);
    rule("low", "publishClientSend", "3", 0, true);
    err("createGroup", "'groupname':'gl','roles':[{'rolename':'low'}]", NULL);
    err("createGroup", "'groupname':'gh','roles':[{'rolename':'high'}]", NULL);
    err("createClient",
        "'username':'u','roles':[{'rolename':'own'}],'groups':["
        "{'groupname':'gl','priority':1},{'groupname':'gh','priority':2}]",
        NULL);
    err("setAnonymousGroup", "'groupname':'gh'", NULL);
    for (const char *topic = "1\0002\0003\0"; *topic != 0; topic += 2)
        assert_int_equal(asks("u", "c", WRITE, topic), 'A');
    assert_int_equal(asks("u", "c", WRITE, "4"), 'D');
    assert_int_equal(asks("", "c", WRITE, "2"), 'A');
    assert_int_equal(asks("", "c", WRITE, "1"), 'D');
    err("disableClient", "'username':'u'", NULL);
    assert_int_equal(asks("u", "c", WRITE, "1"), 'D');
    assert_int_equal(asks("u", "c", READ, "1"), 'D');
}

static void who_is_welcome(void **state)
{
    (void)state;
    err("createClient", "'username':'free'", NULL);
    err("createClient", "'username':'bound','clientid':'c1'", NULL);
#define WELCOME(user, id) m5_dynsec_welcomes(dynsec, m5_bytes_of(user), m5_bytes_of(id))
    assert_int_equal(WELCOME("free", "x"), M5_DYNSEC_ALLOW);
    assert_int_equal(WELCOME("bound", "c1"), M5_DYNSEC_ALLOW);
    assert_int_equal(WELCOME("bound", "c2"), M5_DYNSEC_DENY);
    assert_int_equal(WELCOME("nobody", "c2"), M5_DYNSEC_UNKNOWN);
    const uint64_t before = m5_dynsec_generation(dynsec);
    err("disableClient", "'username':'free'", NULL);
    assert_true(m5_dynsec_generation(dynsec) > before);
    assert_int_equal(WELCOME("free", "x"), M5_DYNSEC_DENY);
#define KEEPS(user, since) m5_dynsec_keeps(dynsec, m5_bytes_of(user), m5_bytes_of("c1"), since)
    assert_false(KEEPS("free", before));
    assert_true(KEEPS("bound", before));
    const uint64_t later = m5_dynsec_generation(dynsec);
    err("deleteClient", "'username':'bound'", NULL);
    assert_false(KEEPS("bound", later));
    assert_true(KEEPS("bound", m5_dynsec_generation(dynsec))); /* another one, not named here */
    assert_true(KEEPS("nobody", 0));
}

/* ---- passwords ---- */

struct waiter {
    pthread_mutex_t mutex;
    pthread_cond_t done;
    enum m5_login_answer answer;
};

static void answered(void *ctx, uint64_t token, enum m5_login_answer answer)
{
    struct waiter *waiter = ctx;
    (void)token;
    pthread_mutex_lock(&waiter->mutex);
    waiter->answer = answer;
    pthread_cond_signal(&waiter->done);
    pthread_mutex_unlock(&waiter->mutex);
}

static enum m5_login_answer login(const char *user, const char *password)
{
    struct waiter waiter = {.mutex = PTHREAD_MUTEX_INITIALIZER,
                            .done = PTHREAD_COND_INITIALIZER,
                            .answer = M5_LOGIN_PENDING};
    const struct m5_login asked = {.user = m5_bytes_of(user),
                                   .password = m5_bytes_of(password),
                                   .done = answered,
                                   .ctx = &waiter};
    const enum m5_login_answer answer = m5_dynsec_login(dynsec, &asked);
    if (answer != M5_LOGIN_PENDING)
        return answer;
    pthread_mutex_lock(&waiter.mutex);
    while (waiter.answer == M5_LOGIN_PENDING)
        pthread_cond_wait(&waiter.done, &waiter.mutex);
    pthread_mutex_unlock(&waiter.mutex);
    return waiter.answer;
}

static void passwords_are_verified(void **state)
{
    (void)state;
    err("createClient", "'username':'a:b','password':'one'", NULL);
    err("createClient", "'username':'none'", NULL);
    assert_int_equal(login("a:b", "one"), M5_LOGIN_RIGHT);
    assert_int_equal(login("a:b", "two"), M5_LOGIN_WRONG);
    assert_int_equal(login("none", ""), M5_LOGIN_WRONG);
    assert_int_equal(login("nobody", "one"), M5_LOGIN_WRONG);
    err("setClientPassword", "'username':'a:b','password':'two'", NULL);
    assert_int_equal(login("a:b", "one"), M5_LOGIN_WRONG); /* what was remembered, too */
    assert_int_equal(login("a:b", "two"), M5_LOGIN_RIGHT);
    err("deleteClient", "'username':'a:b'", NULL);
    assert_int_equal(login("a:b", "two"), M5_LOGIN_WRONG);
}

/* ---- the file ---- */

static void write_file(const char *text)
{
    snprintf(path, sizeof path, "/tmp/mqtt5-dynsec-%ld", (long)getpid());
    const int fd = open(path, O_CREAT | O_TRUNC | O_WRONLY, 0640);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
}

/* As `mosquitto_ctrl dynsec init` of 2.0.11 writes it; the password is "adminpw". */
static const char mosquitto_file[] =
    "{\"clients\":[{\"username\":\"admin\",\"textName\":\"Dynsec admin user\",\"password\":"
    "\"lhAORrugF1Y/V56F0bsZMhzkbcpipPN8WbsoxDn4nHIJ56ChCD0N0Dg07iU8GQLGCk0OzBDdwm2PnLu/2IsZ6A==\","
    "\"salt\":\"fHlSVc2cESWwPM0e\",\"iterations\":101,\"roles\":[{\"rolename\":\"admin\"}]}],"
    "\"roles\":[{\"rolename\":\"admin\",\"acls\":["
    "{\"acltype\":\"publishClientSend\",\"topic\":\"$CONTROL/dynamic-security/#\",\"allow\":true},"
    "{\"acltype\":\"subscribePattern\",\"topic\":\"#\",\"allow\":true}]}],"
    "\"defaultACLAccess\":{\"publishClientSend\":false,\"publishClientReceive\":true,"
    "\"subscribe\":false,\"unsubscribe\":true}}";

static void a_file_of_mosquitto_is_read_and_kept(void **state)
{
    (void)state;
    struct m5_text_error error = {0};
    struct stat status;
    write_file(mosquitto_file);
    m5_dynsec_free(dynsec);
    dynsec = open_file(path, &error);
    assert_string_equal(error.text, "");
    assert_int_equal(login("admin", "adminpw"), M5_LOGIN_RIGHT);
    assert_int_equal(asks("admin", "c", WRITE, M5_DYNSEC_TOPIC), 'A');
    assert_int_equal(asks("admin", "c", WRITE, "x"), 'D');
    assert_int_equal(asks("admin", "c", SUB, M5_DYNSEC_RESPONSE), 'D'); /* '#' is not '$...' */
    err("createClient", "'username':'kept','password':'secret','roles':[{'rolename':'admin'}]",
        NULL);
    m5_dynsec_free(dynsec);
    dynsec = open_file(path, &error);
    assert_non_null(dynsec);
    assert_int_equal(login("kept", "secret"), M5_LOGIN_RIGHT);
    assert_int_equal(login("admin", "adminpw"), M5_LOGIN_RIGHT);
    SAY("{'command':'getClient','username':'admin'}",
        "{'command':'getClient','data':{'client':{'username':'admin',"
        "'textname':'Dynsec admin user','roles':[{'rolename':'admin'}],'groups':[]}}}");
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0640); /* its mode stays */
    unlink(path);
}

static void what_cannot_be_written_is_not_done(void **state)
{
    (void)state;
    struct m5_text_error error = {0};
    char folder[] = "/tmp/mqtt5-dynsec-XXXXXX", file[64];
    assert_non_null(mkdtemp(folder));
    snprintf(file, sizeof file, "%s/file", folder);
    FILE *out = fopen(file, "w");
    assert_non_null(out);
    fputs("{}", out);
    fclose(out);
    m5_dynsec_free(dynsec);
    dynsec = open_file(file, &error);
    assert_non_null(dynsec);
    err("createClient", "'username':'a'", NULL);
    unlink(file);
    assert_int_equal(rmdir(folder), 0); /* so that root cannot write, either */
    SAY("{'command':'createClient','username':'b'},{'command':'getClient','username':'b'}",
        "{'command':'createClient','error':'Internal error'},"
        "{'command':'getClient','error':'Internal error'}");
    err("getClient", "'username':'b'", "Client not found");
    m5_dynsec_free(dynsec);
    dynsec = NULL;
}

static void a_file_that_makes_no_sense_is_refused(void **state)
{
    (void)state;
    static const char *const files[] = {
        "{",
        "[]",
        "{\"clients\":7}",
        "{\"clients\":[{}]}",
        "{\"clients\":[7]}",
        "{\"clients\":[{\"username\":\"a\"},{\"username\":\"a\"}]}",
        "{\"clients\":[{\"username\":\"a\\nb\"}]}",
        "{\"clients\":[{\"username\":\"a\",\"clientid\":7}]}",
        "{\"clients\":[{\"username\":\"a\",\"password\":\"x\"}]}",
        "{\"clients\":[{\"username\":\"a\",\"roles\":[{\"rolename\":\"r\"}]}]}",
        "{\"clients\":[{\"username\":\"a\",\"password\":\"AAAA\",\"salt\":\"AAAA\","
        "\"iterations\":-1}]}",
        "{\"groups\":[{\"groupname\":\"g\",\"clients\":[{\"username\":\"a\"}]}]}",
        "{\"roles\":[{\"rolename\":\"r\",\"acls\":{}}]}",
        "{\"roles\":[{\"rolename\":\"r\",\"acls\":[{\"acltype\":\"x\",\"topic\":\"a\","
        "\"allow\":true}]}]}",
        "{\"roles\":[{\"rolename\":\"r\",\"acls\":[{\"acltype\":\"subscribeLiteral\","
        "\"topic\":\"#a\",\"allow\":true}]}]}",
        "{\"roles\":[{\"rolename\":\"r\",\"acls\":[{\"acltype\":\"subscribeLiteral\","
        "\"topic\":\"a\"}]}]}",
        "{\"anonymousGroup\":\"g\"}",
        "{\"defaultACLAccess\":7}",
        "{\"defaultACLAccess\":{\"subscribe\":\"yes\"}}",
        "{\"clients\":[],\"clients\":[]}",
    };
    for (size_t i = 0; i < M5_COUNT_OF(files); i++) {
        struct m5_text_error error = {0};
        write_file(files[i]);
        struct m5_dynsec *refused = open_file(path, &error);
        if (refused != NULL)
            fail_msg("taken: %s", files[i]);
        assert_true(error.text[0] != 0);
    }
    unlink(path);
    struct m5_text_error error = {0};
    assert_null(open_file(path, &error)); /* it is missing */
    assert_true(error.text[0] != 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_is_no_command),
        TEST(roles),
        TEST(rules_of_roles),
        TEST(clients),
        TEST(groups),
        TEST(what_is_deleted_is_gone_everywhere),
        TEST(defaults),
        TEST(rules_decide_by_type_and_priority),
        TEST(case_46_names_in_patterns),
        TEST(own_roles_before_groups),
        TEST(who_is_welcome),
        TEST(passwords_are_verified),
        TEST(a_file_of_mosquitto_is_read_and_kept),
        TEST(what_cannot_be_written_is_not_done),
        TEST(a_file_that_makes_no_sense_is_refused),
    };
    return cmocka_run_group_tests_name("dynamic security", tests, NULL, NULL);
}
