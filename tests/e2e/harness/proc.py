# What the system says of another process: memory, processor time, descriptors.
# SPDX-License-Identifier: MIT OR Apache-2.0
import os


def rss_kib(pid):
    """Resident memory, in KiB."""
    with open(f'/proc/{pid}/status', encoding='ascii', errors='replace') as status:
        for line in status:
            if line.startswith('VmRSS:'):
                return int(line.split()[1])
    raise AssertionError(f'process {pid} has no VmRSS')


def cpu_s(pid):
    """Processor time used so far, all threads, in seconds; the unit is about 10 ms."""
    with open(f'/proc/{pid}/stat', encoding='utf-8', errors='replace') as stat:
        fields = stat.read().rpartition(')')[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')


def turns(pid):
    """How often its threads have been put to sleep and woken."""
    total = 0
    for thread in os.listdir(f'/proc/{pid}/task'):
        with open(f'/proc/{pid}/task/{thread}/status', encoding='ascii', errors='replace') as text:
            total += sum(int(line.split()[1]) for line in text if 'ctxt_switches' in line)
    return total


def descriptors(pid):
    """How many file descriptors are open."""
    return len(os.listdir(f'/proc/{pid}/fd'))
