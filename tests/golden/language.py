"""The language of golden conversations: files, patterns, matching, packets in words.

README.md beside this file describes it; golden_script.c and golden_pattern.c read the same one.

SPDX-License-Identifier: MIT OR Apache-2.0
"""

import os
import re

# ---------------------------------------------------------------- reading the files


class ScriptError(Exception):
    pass


class Scenario:
    def __init__(self, path, line, title):
        self.path, self.line, self.title = path, line, title
        self.requirements = []
        self.broker = {}
        self.tags = set()
        self.rows = []
        self.steps = []  # (line, text)

    def name(self):
        return "%s:%d: %s" % (os.path.basename(self.path), self.line, self.title)


def substitute(text, row):
    return re.sub(r"\$([1-9])", lambda m: row[int(m.group(1)) - 1], text)


def expand_rows(scenario):
    """One scenario per `each:` row, its columns put in the place of $1, $2 and so on."""
    if not scenario.rows:
        return [scenario]
    copies = []
    for line, row in scenario.rows:
        try:
            one = Scenario(scenario.path, line, substitute(scenario.title, row))
            one.steps = [(n, substitute(t, row)) for n, t in scenario.steps]
        except IndexError:
            raise ScriptError("%s:%d: a column is missing" % (scenario.path, line))
        if one.title == scenario.title:
            one.title += " (%s)" % row[0]
        one.requirements, one.broker, one.tags = (
            scenario.requirements, scenario.broker, scenario.tags)
        copies.append(one)
    return copies


CONNECT_RE = re.compile(
    r'^connect\s+("(?:[^"\\]|\\.)*")((?:\s+(?:flags=\S+|keep=\S+|v=[345]|present|props=\{.*\}))*)$')


def expand_connect(name, rest, where):
    """`A connect "id" ...` stands for open, a CONNECT and the CONNACK that accepts it."""
    m = CONNECT_RE.match(rest)
    if not m:
        raise ScriptError("%s: cannot read: connect" % where)
    opts = m.group(2)

    def option(key, default):
        found = re.search(key + r"=(\S+)", opts)
        return found.group(1) if found else default

    props_m = re.search(r"props=(\{.*\})", opts)
    props = props_m.group(1) if props_m else "{}"
    bare = opts.replace(props_m.group(0), "") if props_m else opts
    version = re.search(r"v=([345])", bare)
    version = version.group(1) if version else "5"
    flags = option("flags", "02")
    keep = option("keep", "0000")
    present = "01" if re.search(r"\bpresent\b", bare) else "00"
    head = {"5": '"MQTT" 05', "4": '"MQTT" 04', "3": '"MQIsdp" 03'}[version]
    if version == "5":
        send = "10 {%s %s %s %s %s}" % (head, flags, keep, props, m.group(1))
        want = "20 {%s 00 {**}}" % present
    else:
        send = "10 {%s %s %s %s}" % (head, flags, keep, m.group(1))
        want = "20 {%s 00}" % ("00" if version == "3" else present)
    return ["%s open" % name, "%s > %s" % (name, send), "%s < %s" % (name, want)]


def read_file(path):
    scenarios, current = [], None
    with open(path, encoding="utf-8") as f:
        for number, raw in enumerate(f, 1):
            line = raw.strip()
            if not line or line.startswith("#"):
                continue
            if line.startswith("--- "):
                current = Scenario(path, number, line[4:].strip())
                scenarios.append(current)
                continue
            if current is None:
                raise ScriptError("%s:%d: a step before the first '---'" % (path, number))
            key, _, value = line.partition(":")
            if key == "req":
                current.requirements += value.split()
            elif key == "broker":
                for pair in value.split():
                    k, _, v = pair.partition("=")
                    current.broker[k] = v
            elif key == "tags":
                current.tags.update(value.split())
            elif key == "each":
                current.rows.append((number, [c.strip() for c in re.split(r"\s\|(?=\s|$)", value)]))
            else:
                current.steps.append((number, line))
    return [one for s in scenarios for one in expand_rows(s)]


# ---------------------------------------------------------------- the byte language

TOKEN_RE = re.compile(r"""\s*(?:
      (?P<str>"(?:[^"\\]|\\.)*")
    | (?P<raw>'(?:[^'\\]|\\.)*')
    | (?P<repeat>\*[0-9]+)
    | (?P<any>\*\*)
    | (?P<rest>\.\.\.)
    | (?P<one>\?)
    | (?P<props>p\{)
    | (?P<cap><[a-z][a-z0-9_]*(?:=(?:[0-9]+|str))?>)
    | (?P<absent>![0-9a-fA-F]{2})
    | (?P<word>ok\b|done\b|closed\b|nothing\b)
    | (?P<hex>(?:[0-9a-fA-F]{2})+)
    | (?P<punct>[{}\[\]()|,])
    )""", re.X)


def tokenize(text, where):
    tokens, pos = [], 0
    text = text.strip()
    while pos < len(text):
        m = TOKEN_RE.match(text, pos)
        if not m or m.end() == pos:
            raise ScriptError("%s: cannot read: %s" % (where, text[pos:]))
        tokens.append((m.lastgroup, m.group(m.lastgroup)))
        pos = m.end()
        while pos < len(text) and text[pos].isspace():
            pos += 1
    return tokens


def unescape(body):
    out, i = bytearray(), 0
    while i < len(body):
        if body[i] != "\\":
            out += body[i].encode("utf-8")
            i += 1
        elif body[i + 1] == "x":
            out.append(int(body[i + 2:i + 4], 16))
            i += 4
        else:
            out += body[i + 1].encode("utf-8")
            i += 2
    return bytes(out)


REST = ("alt", [[], [("group", [("any",)])]])
OK = ("alt", [[], [("bytes", b"\0"), REST]])
DONE = ("alt", [[OK], [("bytes", b"\x10"), REST]])


class Parser:
    def __init__(self, text, where):
        self.where, self.text = where, text
        self.tokens = tokenize(text, where)
        self.i = 0

    def fail(self, why):
        raise ScriptError("%s: %s in: %s" % (self.where, why, self.text))

    def peek(self):
        return self.tokens[self.i] if self.i < len(self.tokens) else (None, None)

    def take(self, text):
        if self.peek()[1] != text:
            self.fail("expected '%s'" % text)
        self.i += 1

    def sequence(self, stops):
        nodes = []
        while self.peek()[0] is not None and self.peek() not in [("punct", s) for s in stops]:
            nodes.append(self.atom(nodes))
            if nodes[-1] is None:
                nodes.pop()
        return nodes

    def atom(self, before):
        kind, text = self.peek()
        self.i += 1
        if kind == "hex":
            return ("bytes", bytes.fromhex(text))
        if kind == "str":
            data = unescape(text[1:-1])
            if len(data) > 65535:
                self.fail("string too long")
            return ("bytes", len(data).to_bytes(2, "big") + data)
        if kind == "raw":
            return ("bytes", unescape(text[1:-1]))
        if kind == "repeat":
            if not before or before[-1][0] != "bytes":
                self.fail("'*N' must follow bytes")
            before[-1] = ("bytes", before[-1][1] * int(text[1:]))
            return None
        if kind == "any":
            return ("any",)
        if kind == "rest":
            return REST
        if kind == "one":
            return ("one",)
        if kind == "word" and text in ("ok", "done"):
            return OK if text == "ok" else DONE
        if kind == "cap":
            name, _, what = text[1:-1].partition("=")
            return ("capture", name, what) if what else ("ref", name)
        if kind == "props":
            return self.props()
        if text == "{":
            nodes = self.sequence("}")
            self.take("}")
            return ("group", nodes)
        if text == "[":
            nodes = self.sequence("]")
            self.take("]")
            return ("block", nodes)
        if text == "(":
            options = self.options(")")
            self.take(")")
            return ("alt", options)
        self.fail("unexpected '%s'" % text)

    def options(self, stop):
        options = [self.sequence("|" + stop)]
        while self.peek() == ("punct", "|"):
            self.i += 1
            options.append(self.sequence("|" + stop))
        return options

    def props(self):
        items, absent, others = [], [], False
        while self.peek() != ("punct", "}"):
            kind, text = self.peek()
            if kind == "absent":
                self.i += 1
                absent.append(int(text[1:], 16))
            elif kind == "any":
                self.i += 1
                others = True
            else:
                items.append(self.sequence(",}"))
            if self.peek() == ("punct", ","):
                self.i += 1
        self.take("}")
        return ("props", items, absent, others)


def parse_bytes(text, where):
    p = Parser(text, where)
    nodes = p.sequence("")
    if p.i != len(p.tokens):
        p.fail("unexpected text")
    return nodes


def parse_expected(text, where):
    """A list of options, each a node list or the word closed or nothing."""
    p = Parser(text, where)
    options = []
    while True:
        if p.peek()[0] == "word" and p.peek()[1] in ("closed", "nothing"):
            options.append(p.peek()[1])
            p.i += 1
        else:
            options.append(p.sequence("|"))
        if p.peek() != ("punct", "|"):
            break
        p.i += 1
    if p.i != len(p.tokens):
        p.fail("unexpected text")
    return options


def varint(n):
    out = bytearray()
    while True:
        n, low = n >> 7, n & 127
        out.append(low | (128 if n else 0))
        if not n:
            return bytes(out)


def build(nodes, env, where):
    out = bytearray()
    for node in nodes:
        kind = node[0]
        if kind == "bytes":
            out += node[1]
        elif kind == "group":
            inner = build(node[1], env, where)
            out += varint(len(inner)) + inner
        elif kind == "block":
            inner = build(node[1], env, where)
            out += len(inner).to_bytes(2, "big") + inner
        elif kind == "ref":
            if node[1] not in env:
                raise ScriptError("%s: <%s> was never captured" % (where, node[1]))
            out += env[node[1]]
        else:
            raise ScriptError("%s: a wildcard cannot be sent" % where)
    return bytes(out)


# ---------------------------------------------------------------- matching


def read_varint(data, pos, end):
    value = 0
    for i in range(4):
        if pos + i >= end:
            return None, pos
        value |= (data[pos + i] & 127) << (7 * i)
        if not data[pos + i] & 128:
            return (None, pos) if i and not data[pos + i] else (value, pos + i + 1)
    return None, pos


PROPERTY_TYPES = {
    0x01: 1, 0x02: 4, 0x03: "s", 0x08: "s", 0x09: "s", 0x0b: "v", 0x11: 4, 0x12: "s", 0x13: 2,
    0x15: "s", 0x16: "s", 0x17: 1, 0x18: 4, 0x19: 1, 0x1a: "s", 0x1c: "s", 0x1f: "s", 0x21: 2,
    0x22: 2, 0x23: 2, 0x24: 1, 0x25: 1, 0x26: "p", 0x27: 4, 0x28: 1, 0x29: 1, 0x2a: 1}


def split_properties(data, pos, end):
    """The property block at pos as a list of (start, stop), or None; and where it ends."""
    length, pos = read_varint(data, pos, end)
    if length is None or pos + length > end:
        return None, pos
    stop, found = pos + length, []
    while pos < stop:
        start, kind = pos, PROPERTY_TYPES.get(data[pos])
        pos += 1
        if kind is None:
            return None, pos
        if kind == "v":
            value, pos = read_varint(data, pos, stop)
            if value is None:
                return None, pos
        elif kind in ("s", "p"):
            for _ in range(2 if kind == "p" else 1):
                if pos + 2 > stop:
                    return None, pos
                pos += 2 + int.from_bytes(data[pos:pos + 2], "big")
        else:
            pos += kind
        if pos > stop:
            return None, pos
        found.append((start, pos))
    return found, stop


def match_props(node, data, pos, end, env):
    found, stop = split_properties(data, pos, end)
    if found is None:
        return None
    _, items, absent, others = node
    if any(data[a] in absent for a, _ in found):
        return None
    for item in items:
        for k, (a, b) in enumerate(found):
            if match(item, 0, data, a, b, env, None):
                del found[k]
                break
        else:
            return None
    return stop if others or not found else None


def match(nodes, i, data, pos, end, env, then):
    """Matches nodes[i:] against data[pos:end]; `then` is (nodes, i, end, exact, then) or None."""
    if i == len(nodes):
        if then is None:
            return pos == end
        outer, k, outer_end, exact, rest = then
        if exact and pos != end:
            return False
        return match(outer, k, data, pos, outer_end, env, rest)
    node, kind = nodes[i], nodes[i][0]
    if kind == "bytes":
        n = len(node[1])
        return data[pos:min(pos + n, end)] == node[1] and match(
            nodes, i + 1, data, pos + n, end, env, then)
    if kind == "one":
        return pos < end and match(nodes, i + 1, data, pos + 1, end, env, then)
    if kind == "any":
        return any(match(nodes, i + 1, data, p, end, env, then) for p in range(end, pos - 1, -1))
    if kind in ("group", "block"):
        if kind == "group":
            n, start = read_varint(data, pos, end)
        else:
            n = int.from_bytes(data[pos:pos + 2], "big") if pos + 2 <= end else None
            start = pos + 2
        if n is None or start + n > end:
            return False
        return match(node[1], 0, data, start, start + n, env, (nodes, i + 1, end, True, then))
    if kind == "alt":
        return any(match(option, 0, data, pos, end, env, (nodes, i + 1, end, False, then))
                   for option in node[1])
    if kind == "ref":
        want = env.get(node[1], None)
        return want is not None and match(
            [("bytes", want)], 0, data, pos, end, env, (nodes, i + 1, end, False, then))
    if kind == "capture":
        n = 2 + int.from_bytes(data[pos:pos + 2], "big") if node[2] == "str" else int(node[2])
        if pos + n > end:
            return False
        env[node[1]] = data[pos:pos + n]
        return match(nodes, i + 1, data, pos + n, end, env, then)
    if kind == "props":
        stop = match_props(node, data, pos, end, env)
        return stop is not None and match(nodes, i + 1, data, stop, end, env, then)
    raise AssertionError(kind)


# ---------------------------------------------------------------- packets in words

NAMES = ["?", "CONNECT", "CONNACK", "PUBLISH", "PUBACK", "PUBREC", "PUBREL", "PUBCOMP",
         "SUBSCRIBE", "SUBACK", "UNSUBSCRIBE", "UNSUBACK", "PINGREQ", "PINGRESP", "DISCONNECT",
         "AUTH"]


def words(packet, version):
    if not packet:
        return "no bytes"
    name, flags = NAMES[packet[0] >> 4], packet[0] & 15
    length, pos = read_varint(packet, 1, len(packet))
    if length is None:
        return name + " with a malformed length"
    body = packet[pos:]
    try:
        text = name + describe(packet[0] >> 4, flags, body, version)
    except (IndexError, ValueError):
        text = name + " malformed"
    return text


def describe_properties(body, pos):
    found, stop = split_properties(body, pos, len(body))
    if found is None:
        raise ValueError
    return " properties [%s]" % ", ".join(body[a:b].hex() for a, b in found), stop


def describe(kind, flags, body, version):
    def u16(p):
        if p + 2 > len(body):
            raise ValueError
        return int.from_bytes(body[p:p + 2], "big")

    if kind == 2:
        text = " session present %d, reason 0x%02x" % (body[0], body[1])
        return text + (describe_properties(body, 2)[0] if version == 5 else "")
    if kind == 3:
        qos, pos = flags >> 1 & 3, 2 + u16(0)
        text = " qos %d%s%s topic %r" % (
            qos, " dup" if flags & 8 else "", " retain" if flags & 1 else "",
            body[2:pos].decode("utf-8", "replace"))
        if qos:
            text, pos = text + " id %d" % u16(pos), pos + 2
        if version == 5:
            more, pos = describe_properties(body, pos)
            text += more
        payload = body[pos:]
        return text + " payload (%d) %r" % (len(payload), payload[:40])
    if kind in (4, 5, 6, 7):
        reason = " reason 0x%02x" % body[2] if len(body) > 2 else ""
        return " id %d%s" % (u16(0), reason)
    if kind in (9, 11):
        if version != 5:
            return " id %d reasons %s" % (u16(0), body[2:].hex(" "))
        more, pos = describe_properties(body, 2)
        return " id %d%s reasons %s" % (u16(0), more, body[pos:].hex(" "))
    if kind in (14, 15):
        return " reason 0x%02x" % (body[0] if body else 0)
    return ""


# ---------------------------------------------------------------- steps

STEP_RE = re.compile(r"^([A-Z])\s+(open|close|>|<\?|<&|<)\s*(.*)$")


def parse_duration(text, where):
    m = re.match(r"^([0-9]+)(ms|s)$", text)
    if not m:
        raise ScriptError("%s: a duration is needed, 1500ms or 3s" % where)
    return int(m.group(1)) / (1000.0 if m.group(2) == "ms" else 1.0)


def compile_steps(scenario):
    steps = []
    for number, text in scenario.steps:
        where = "%s:%d" % (scenario.path, number)
        m = re.match(r"^([A-Z])\s+(connect\s.*)$", text)
        lines = expand_connect(m.group(1), m.group(2), where) if m else [text]
        for line in lines:
            if line.startswith("advance "):
                steps.append((number, "advance", None, parse_duration(line[8:].strip(), where)))
                continue
            if line == "stop":
                steps.append((number, "stop", None, None))
                continue
            m = re.match(r"^(restart|crash)(?:\s+down\s+(\S+))?$", line)
            if m:
                down = parse_duration(m.group(2), where) if m.group(2) else 0.0
                steps.append((number, m.group(1), None, down))
                continue
            m = re.match(r"^store (fails|works|holds|goes on)$", line)
            if m:
                steps.append((number, "store", None, m.group(1)))
                continue
            m = STEP_RE.match(line)
            if not m:
                raise ScriptError("%s: cannot read: %s" % (where, line))
            name, verb, rest = m.groups()
            if verb == ">":
                body = parse_bytes(rest, where)
            elif verb.startswith("<"):
                body = (parse_expected(rest, where), rest)
            else:
                body = None
            steps.append((number, verb, name, body))
    return steps
