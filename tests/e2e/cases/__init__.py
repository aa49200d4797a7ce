# The end-to-end tests, one module a subject. SPDX-License-Identifier: MIT OR Apache-2.0
