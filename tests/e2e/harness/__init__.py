# The machinery under the end-to-end tests: processes, clients, registry, scheduler.
# SPDX-License-Identifier: MIT OR Apache-2.0
