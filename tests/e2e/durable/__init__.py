# What tests/e2e/kill.py is made of: sessions, what they promise and were promised, a server.
# SPDX-License-Identifier: MIT OR Apache-2.0
