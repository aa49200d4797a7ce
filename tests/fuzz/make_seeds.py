#!/usr/bin/env python3
"""Writes the seeds of the wire's fuzz targets and mqtt5.dict, the latter out of the property table.

Run it by hand after a change of the table: `tests/fuzz/make_seeds.py`.
SPDX-License-Identifier: MIT OR Apache-2.0
"""
import pathlib
import re

FOLDER = pathlib.Path(__file__).resolve().parent
HEADER = FOLDER.parent.parent / "include" / "mqtt5" / "property.h"

# A right value for each wire type.
VALUES = {
    "BYTE": b"\x01",
    "U16": b"\x00\x01",
    "U32": b"\x00\x00\x00\x01",
    "VARINT": b"\x81\x01",
    "UTF8": b"\x00\x01t",
    "BINARY": b"\x00\x01\xff",
    "PAIR": b"\x00\x01k\x00\x01v",
}

# Remaining Length is added. 'text' stands for its bytes, blanks for nothing.
PACKETS = {
    "connect-5": (5, "10", "0004'MQTT'05 02 003c 00 0000"),
    "connect-5-all": (
        5, "10",
        "0004'MQTT'05 f6 003c 0a 1100000010 210001 1701 0001'c'"
        "0f 1800000005 0101 030001't' 080001'r' 0001'w' 0002'hi' 0001'u' 0001'p'"),
    "connect-3.1.1": (4, "10", "0004'MQTT'04 f6 003c 0001'c' 0001'w' 0002'hi' 0001'u' 0001'p'"),
    "connect-3.1": (3, "10", "0006'MQIsdp'03 02 003c 0001'c'"),
    "connack-5": (5, "20", "00 00 06 210400 220010"),
    "connack-3.1.1": (4, "20", "01 00"),
    "publish-5": (5, "32", "0003'a/b' 0001 08 02000000ff 230001 'payload'"),
    "publish-3.1.1": (4, "30", "0003'a/b' 'payload'"),
    "puback-5": (5, "40", "0001 10 04 1f0001'r'"),
    "pubrec-5": (5, "50", "0001 97"),
    "pubrel-5": (5, "62", "0001"),
    "pubcomp-5": (5, "70", "0001 92 00"),
    "subscribe-5": (5, "82", "0001 020b05 0003'a/+' 2e 000a'$share/g/#' 01"),
    "subscribe-3.1.1": (4, "82", "0001 0003'a/b' 02"),
    "suback-5": (5, "90", "0001 00 00 01 02 8f"),
    "suback-3.1.1": (4, "90", "0001 00 80"),
    "unsubscribe-5": (5, "a2", "0001 00 0003'a/+' 0001'b'"),
    "unsuback-5": (5, "b0", "0001 00 00 11"),
    "unsuback-3.1.1": (4, "b0", "0001"),
    "pingreq": (5, "c0", ""),
    "pingresp": (5, "d0", ""),
    "disconnect-5": (5, "e0", "04 05 1100000000"),
    "auth-5": (5, "f0", "18 08 150001'm' 160001'd'"),
}

TOPICS = {
    "exact": (0, "a/b", "a/b"),
    "plus": (0, "a/+/c", "a/b/c"),
    "hash": (0, "sport/#", "sport"),
    "hidden": (0, "#", "$SYS/broker"),
    "shared": (0, "$share/group/a/+", "a/b"),
    "levels": (2, "a/b", "a/b/c"),
    "utf8": (0, "caf\u00e9/\u20ac/\U0001f600", "caf\u00e9/\u20ac/\U0001f600"),
    "wrong": (0, "a#/+b", "a+"),
}


def read_hex(text):
    parts = re.findall(r"'([^']*)'|([0-9a-f]{2})", text)
    return b"".join(quoted.encode() if quoted else bytes.fromhex(pair) for quoted, pair in parts)


def properties():
    """Name, identifier, wire type and packets of each row of the table."""
    table = HEADER.read_text().replace("\\\n", " ")
    rows = re.findall(r"X\(([A-Z_]+),\s*\w+,\s*(0x\w\w),\s*(\w+),", table)
    if len(rows) != 27:
        raise SystemExit(f"{HEADER}: {len(rows)} properties instead of 27")
    return [(name, int(number, 16), wire_type) for name, number, wire_type in rows]


def write(target, name, data):
    folder = FOLDER / "corpus" / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data)


def main():
    lines = ["# Written by make_seeds.py: each property with a right value, names, limits."]
    for name, number, wire_type in properties():
        data = bytes([number]) + VALUES[wire_type]
        lines.append(f'{name.lower()}="' + "".join(f"\\x{byte:02x}" for byte in data) + '"')
        # The fuzz target's first byte chooses the packet; 2 is PUBLISH, 1 CONNACK, 0 CONNECT.
        for packet in range(14):
            if packet in (0, 1, 2, 13):
                write("fuzz_properties", f"{name.lower()}-{packet}",
                      bytes([packet, len(data)]) + data)
    lines += ['mqtt="\\x00\\x04MQTT"', 'mqisdp="\\x00\\x06MQIsdp"', 'share="$share/"',
              'length_max="\\xff\\xff\\xff\\x7f"',
              'surrogate="\\xed\\xa0\\x80"', 'bom="\\xef\\xbb\\xbf"']
    (FOLDER / "mqtt5.dict").write_text("\n".join(lines) + "\n")

    for name, (version, first, body) in PACKETS.items():
        data = read_hex(body)
        packet = bytes.fromhex(first) + bytes([len(data)]) + data
        write("fuzz_packet", name, bytes([version - 3]) + packet)
        if name in ("connect-5", "publish-5", "pingreq"):
            write("fuzz_frame", name, b"\xff\x10" + packet)
    write("fuzz_frame", "longest", b"\xff\x1f\x30\xff\xff\xff\x7f")
    write("fuzz_frame", "not-minimal", b"\xff\x1f\x30\x80\x00")
    write("fuzz_frame", "too-long", b"\xff\x1f\x30\xff\xff\xff\xff\x01")
    write("fuzz_frame", "too-large", b"\x03\x00\x30\x10")
    for name, (limit, text, topic) in TOPICS.items():
        write("fuzz_topic", name, bytes([limit]) + text.encode() + b"\xfe" + topic.encode())


if __name__ == "__main__":
    main()
