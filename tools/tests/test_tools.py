#!/usr/bin/env python3
"""Breaks each rule in a made-up tree and sees the check complain about that line, and no other."""
# SPDX-License-Identifier: MIT OR Apache-2.0
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

TOOLS = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(TOOLS))
import check_docs  # noqa: E402  pylint: disable=wrong-import-position
import make_docs  # noqa: E402  pylint: disable=wrong-import-position
import mutate_sample  # noqa: E402  pylint: disable=wrong-import-position
import run_tests  # noqa: E402  pylint: disable=wrong-import-position
import source  # noqa: E402  pylint: disable=wrong-import-position

HEAD = '/* A file. SPDX-License-Identifier: MIT OR Apache-2.0 */\n'


class Tree(unittest.TestCase):
    """A temporary tree, and the checks run over it."""

    def setUp(self):
        self.root = pathlib.Path(tempfile.mkdtemp(prefix='mqtt5-tools-'))
        self.addCleanup(shutil.rmtree, self.root)

    def put(self, name, text, head=HEAD):
        """Writes a file below the tree, with the licence line on top."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(head + text, encoding='utf-8')

    def run_tool(self, name, *arguments):
        """(status, output) of one of the tools."""
        result = subprocess.run([sys.executable, str(TOOLS / name), *arguments], text=True,
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        return result.returncode, result.stdout

    def check(self, tool):
        """Lines of complaint of a check over the tree."""
        status, output = self.run_tool(tool, '--root', str(self.root))
        lines = [line for line in output.splitlines() if re.match(r'\S+:\d+: ', line)]
        self.assertEqual(status != 0, bool(lines), output)
        return lines

    def assert_only(self, tool, start, part):
        """Exactly one complaint, which starts and reads so."""
        lines = self.check(tool)
        self.assertEqual(len(lines), 1, lines)
        self.assertTrue(lines[0].startswith(start), lines)
        self.assertIn(part, lines[0])


class Tidy(Tree):
    """check_tidy.py"""

    def test_a_clean_file_passes(self):
        self.put('src/base/a.c', 'int f(void)\n{\n    return strcpy_like(1);\n}\n')
        self.assertEqual(self.check('check_tidy.py'), [])

    def test_a_line_of_100_columns_passes_and_of_101_fails(self):
        self.put('src/base/a.c', '/' * 100 + '\n')
        self.assertEqual(self.check('check_tidy.py'), [])
        self.put('src/base/a.c', '/' * 101 + '\n')
        self.assert_only('check_tidy.py', 'src/base/a.c:2:', '101 columns')

    def test_a_body_of_70_lines_passes_and_of_71_fails(self):
        self.put('src/base/a.c', 'int f(void)\n{\n' + '    g();\n' * 70 + '}\n')
        self.assertEqual(self.check('check_tidy.py'), [])
        self.put('src/base/a.c', 'int f(void)\n{\n' + '    g();\n' * 71 + '}\n')
        self.assert_only('check_tidy.py', 'src/base/a.c:3:', 'body of 71 lines')

    def test_braces_in_strings_macros_and_comments_do_not_count(self):
        body = '    g("}"); /* } */ h(\'}\'); // }\n' * 71
        self.put('src/base/a.c', '#define M(x) do { \\\n    } while (0\n'
                 'int f(void)\n{\n' + body + '}\n')
        self.assert_only('check_tidy.py', 'src/base/a.c:5:', 'body of 71 lines')

    def test_a_file_of_1001_lines_fails(self):
        self.put('src/base/a.c', 'int a;\n' * 999)
        self.assertEqual(self.check('check_tidy.py'), [])
        self.put('src/base/a.c', 'int a;\n' * 1000)
        self.assert_only('check_tidy.py', 'src/base/a.c:1001:', '1001 lines')

    def test_the_licence_line_is_needed(self):
        self.put('src/base/a.c', 'int a;\n', head='')
        self.assert_only('check_tidy.py', 'src/base/a.c:1:', 'SPDX')

    def test_each_banned_call_fails_with_its_replacement(self):
        for call in ('strcpy', 'strcat', 'sprintf', 'atoi', 'rand', 'alloca'):
            self.put('src/base/a.c', f'int f(void)\n{{\n    {call}(1);\n}}\n')
            self.assert_only('check_tidy.py', 'src/base/a.c:4:', f'{call}: use ')

    def test_a_banned_name_in_a_comment_or_a_string_passes(self):
        self.put('src/base/a.c', '/* strcpy(a) is bad */ const char *s = "strcpy(a)";\n')
        self.assertEqual(self.check('check_tidy.py'), [])

    def test_leftovers_fail(self):
        for text, part in (('// TODO later\n', 'issue'), ('#if 0\n#endif\n', '#if 0'),
                           ('\tint a;\n', 'tab'), ('int a; \n', 'blanks'),
                           ('int a;', 'newline'), ('// return f(x);\n', 'code in a comment'),
                           ('typedef struct a { int b; } c;\n', 'typedef')):
            self.put('src/base/a.c', text)
            self.assert_only('check_tidy.py', 'src/base/a.c:2:', part)

    def test_a_todo_with_its_issue_and_a_function_type_pass(self):
        self.put('src/base/a.c', '// TODO(#12) later\ntypedef struct a *(*b_fn)(void);\n')
        self.assertEqual(self.check('check_tidy.py'), [])

    def test_a_header_that_nobody_includes_fails(self):
        self.put('src/base/a.h', 'int a;\n')
        self.assert_only('check_tidy.py', 'src/base/a.h:1:', 'no file includes')
        self.put('src/base/b.c', '#include "base/a.h"\n')
        self.assertEqual(self.check('check_tidy.py'), [])

    def test_a_test_that_no_build_compiles_fails(self):
        self.put('tests/unit/forgotten.c', 'int a;\n')
        self.assert_only('check_tidy.py', 'tests/unit/forgotten.c:1:', 'no build')


class Layers(Tree):
    """check_layers.py"""

    def setUp(self):
        super().setUp()
        for layer in ('base', 'protocol', 'client', 'broker', 'transport', 'host'):
            self.put(f'src/{layer}/{layer}.h', '')
        self.put('include/mqtt5/x.h', '#include <stdint.h>\n')
        self.put('tests/support/s.h', '#include "broker/broker.h"\n')

    def test_upward_includes_pass(self):
        self.put('src/host/a.c', '#include "broker/broker.h"\n#include <unistd.h>\n')
        self.put('src/broker/a.c', '#include "base/base.h"\n#include <mqtt5/x.h>\n'
                 '#include <stdatomic.h>\n#include <string.h>\n')
        self.put('tests/sim/a.c', '#include "support/s.h"\n#include <stdio.h>\n')
        self.assertEqual(self.check('check_layers.py'), [])

    def test_wrong_includes_fail(self):
        for name, include, part in (
                ('src/base/a.c', '"protocol/protocol.h"', 'may not include protocol/'),
                ('src/client/a.c', '"broker/broker.h"', 'may not include broker/'),
                ('src/broker/a.c', '"client/client.h"', 'may not include client/'),
                ('src/transport/a.c', '"broker/broker.h"', 'may not include broker/'),
                ('tests/sim/a.c', '"host/host.h"', 'may not include host/'),
                ('tests/golden/a.c', '"client/client.h"', 'may not include client/'),
                ('src/broker/a.c', '<stdlib.h>', 'may not use <stdlib.h>'),
                ('src/base/a.c', '<stdatomic.h>', 'may not use <stdatomic.h>'),
                ('include/mqtt5/y.h', '<stdio.h>', 'may not use <stdio.h>'),
                ('src/broker/a.c', '"broker.h"', 'not written from the source root'),
                ('src/broker/a.c', '<mqtt5/no.h>', 'does not exist')):
            with self.subTest(include=include, name=name):
                self.put(name, f'#include {include}\n')
                self.assert_only('check_layers.py', f'{name}:2:', part)
                (self.root / name).unlink()

    def test_a_circle_of_includes_fails(self):
        self.put('src/base/a.h', '#include "base/b.h"\n')
        self.put('src/base/b.h', '#include "base/a.h"\n')
        self.assert_only('check_layers.py', 'src/base/b.h:2:', 'includes it again')


@unittest.skipUnless(shutil.which('clang-format-14'), 'clang-format-14 is missing')
class Format(Tree):
    """check_format.py"""

    def test_a_badly_laid_out_file_fails_and_is_mended(self):
        shutil.copy(TOOLS.parent / '.clang-format', self.root)
        self.put('a.c', 'int  f( void ){return 1;}\n')
        self.assertNotEqual(self.check('check_format.py'), [])
        self.run_tool('check_format.py', '--fix', '--root', str(self.root))
        self.assertEqual(self.check('check_format.py'), [])
        self.assertIn('int f(void)\n{\n    return 1;\n}\n', (self.root / 'a.c').read_text())


class Requirements(Tree):
    """check_requirements.py"""

    def setUp(self):
        super().setUp()
        self.put('tools/mqtt5_statements.txt', 'MQTT-1.5.4-1 both\nMQTT-4.2-1 server\n'
                 'MQTT-3.1.2-20 client\nMQTT-6.0.0-1 both websocket\n', head='')
        self.put('tools/requirements_exceptions.txt', '', head='')
        self.put('tests/unit/a_test.c', '/* [MQTT-1.5.4-1] */\n')
        self.put('tests/golden/a.txt', 'req: MQTT-3.1.2-20 MQTT-4.2-1\n', head='')

    def test_covered_statements_pass(self):
        self.assertEqual(self.check('check_requirements.py'), [])

    def test_an_untested_statement_fails_until_it_is_excused(self):
        (self.root / 'tests/golden/a.txt').unlink()
        self.assert_only('check_requirements.py', 'tools/mqtt5_statements.txt:1:', 'MQTT-4.2-1')
        self.put('tools/requirements_exceptions.txt', 'MQTT-4.2-1: no time\n', head='')
        self.assertEqual(self.check('check_requirements.py'), [])

    def test_a_citation_in_the_source_alone_is_not_a_test(self):
        (self.root / 'tests/unit/a_test.c').unlink()
        self.put('src/base/a.c', '/* [MQTT-1.5.4-1] */\n')
        self.assert_only('check_requirements.py', 'tools/mqtt5_statements.txt:1:', '1.5.4-1')

    def test_an_exception_without_reason_or_need_fails(self):
        self.put('tools/requirements_exceptions.txt', 'MQTT-4.2-1: really\n', head='')
        self.assert_only('check_requirements.py', 'tools/requirements_exceptions.txt:1:', 'delete')
        self.put('tools/requirements_exceptions.txt', 'MQTT-4.2-1:\n', head='')
        self.assert_only('check_requirements.py', 'tools/requirements_exceptions.txt:1:', 'reason')

    def test_an_unknown_statement_fails_and_3_1_1_numbers_are_left_alone(self):
        self.put('src/base/a.c', '/* [MQTT3-3.1.0-1] */\n/* [MQTT-9.9.9-9] */\n')
        self.assert_only('check_requirements.py', 'src/base/a.c:3:', 'does not exist')

    def test_a_transport_counts_from_the_day_it_has_a_folder(self):
        self.put('src/transport/websocket/a.c', '')
        self.assert_only('check_requirements.py', 'tools/mqtt5_statements.txt:1:', '6.0.0-1')


class Cases(Tree):
    """check_cases.py"""

    def setUp(self):
        super().setUp()
        self.put('tests/security/cases.txt', '1 | CVE-1 | a: a fault\n2 | CVE-2 | b: another\n'
                 '    + named_otherwise\n3 | no number | c: a third\n    - no such thing here\n',
                 head='')
        self.put('tests/unit/a_test.c', 'static void case_01_holds(void **state)\n{\n}\n')
        self.put('tests/e2e/cases/a.py', 'def named_otherwise(ctx):\n    pass\n', head='')

    def judge(self, log, *arguments):
        """What is said of a run that left this log."""
        self.put('logs/some.log', log, head='')
        return self.run_tool('check_cases.py', '--root', str(self.root), '--logs',
                             str(self.root / 'logs'), *arguments)

    def test_rows_with_tests_or_a_reason_pass(self):
        self.assertEqual(self.check('check_cases.py'), [])

    def test_a_row_without_either_fails(self):
        (self.root / 'tests/unit/a_test.c').unlink()
        self.assert_only('check_cases.py', 'tests/security/cases.txt:1:', 'case 1 has no test')

    def test_a_reason_beside_a_test_fails(self):
        self.put('tests/unit/b_test.c', 'static void case_2_and_3_hold(void **state)\n')
        self.assert_only('check_cases.py', 'tests/security/cases.txt:1:', 'case 3 has both')

    def test_a_named_test_that_is_not_there_fails(self):
        (self.root / 'tests/e2e/cases/a.py').unlink()
        self.assert_only('check_cases.py', 'tests/security/cases.txt:1:', 'named_otherwise')

    def test_a_test_of_no_row_fails(self):
        self.put('tests/unit/b_test.c', 'static void case_9_what(void **state)\n')
        self.assert_only('check_cases.py', 'tests/unit/b_test.c:2:', 'there is no case 9')

    def test_a_run_is_judged_by_its_logs(self):
        good = '[       OK ] case_01_holds\nok     0.1 s  a.named_otherwise [1 worker]\n'
        status, output = self.judge(good, '--all')
        self.assertEqual((status, output.splitlines()[-1]), (0, '2 passed, 0 failed, 1 skipped'))
        status, output = self.judge(good.replace('[       OK ]', '[  FAILED  ]'))
        self.assertEqual((status, output.splitlines()[-1]), (1, '1 passed, 1 failed, 1 skipped'))
        half = '[       OK ] case_01_holds\n'
        status, output = self.judge(half)
        self.assertEqual((status, output.splitlines()[-1]), (0, '1 passed, 0 failed, 2 skipped'))
        self.assertEqual(self.judge(half, '--all')[0], 1)
        status, output = self.judge(half + 'skip   0.0 s  a.named_otherwise [1 worker]  (why)\n',
                                    '--all')
        self.assertIn('named_otherwise', output)
        self.assertEqual(output.splitlines()[-1], '1 passed, 0 failed, 2 skipped')


@unittest.skipUnless(shutil.which('cc') and shutil.which('ar'), 'no compiler')
class Symbols(Tree):
    """check_symbols.py, on archives made here."""

    def build(self, layer, text):
        """Compiles one file into a layer's archive."""
        self.put(f'{layer}.c', text)
        flags = ['-O2', '-fPIC', '-w']
        subprocess.run(['cc', *flags, '-c', f'{layer}.c', '-o', f'{layer}.o'], cwd=self.root,
                       check=True)
        subprocess.run(['ar', 'rcs', f'libm5_{layer}.a', f'{layer}.o'], cwd=self.root, check=True)

    def complaints(self):
        """What the check says about the archives."""
        status, output = self.run_tool('check_symbols.py', str(self.root))
        lines = [line for line in output.splitlines()
                 if not line.startswith(('.text', 'symbols: nothing'))]
        self.assertEqual(status != 0, bool(lines), output)
        return lines

    def assert_complains(self, part):
        """Exactly one complaint, which reads so."""
        lines = self.complaints()
        self.assertEqual(len(lines), 1, lines)
        self.assertIn(part, lines[0])

    def test_constants_lower_layers_and_memcpy_pass(self):
        self.build('base', 'const char *const names[] = {"a", "b"};\nvoid m5_b(void) {}\n')
        self.build('broker', 'void m5_b(void); void *memcpy(void *, const void *, long);\n'
                   'void m5_x(char *p, char *q, long n) { memcpy(p, q, n); m5_b(); }\n')
        self.assertEqual(self.complaints(), [])

    def test_a_system_call_fails(self):
        self.build('broker', 'void *malloc(long); void *m5_x(void) { return malloc(3); }\n')
        self.assert_complains('broker.o calls malloc: no system')

    def test_a_call_across_or_up_fails(self):
        self.build('client', 'void m5_c(void) {}\n')
        self.build('broker', 'void m5_c(void); void m5_b(void) { m5_c(); }\n')
        self.assert_complains('calls m5_c: it belongs to src/client')

    def test_mutable_globals_fail(self):
        for text, name in (('int m5_a = 1;\n', 'm5_a'), ('int m5_a;\n', 'm5_a'),
                           ('int f(void) { static int n; return n++; }\n', 'n.0'),
                           ('const char *m5_p = "a";\n', 'm5_p'),
                           ('_Thread_local int m5_t;\n', 'm5_t')):
            with self.subTest(text=text):
                self.build('base', text)
                self.assert_complains(f'mutable global: {name}')

    def test_a_foreign_name_in_the_shared_library_fails(self):
        self.build('base', 'void mqtt5_a(void) {}\nvoid m5_b(void) {}\n')
        subprocess.run(['cc', '-shared', 'base.o', '-o', 'libmqtt5.so'], cwd=self.root, check=True)
        self.assert_complains('libmqtt5.so exports m5_b')


class Setup(Tree):
    """setup.sh, with made-up dpkg-query, apt-get, id and sudo."""

    def run_setup(self, installed, user=0, sudo=True, apt_status=0, commands=('node', 'npm')):
        """(status, output, what apt-get was called with)."""
        programs = {
            'dpkg-query': 'for last; do :; done\n'
                          f'case " {installed} " in *" all "*|*" $last "*) printf installed;; '
                          '*) exit 1;; esac',
            'id': f'echo {user}',
            'apt-get': f'echo "$@" >>{self.root}/calls\nexit {apt_status}',
        }
        if sudo:
            programs['sudo'] = f'echo sudo >>{self.root}/calls\nexec "$@"'
        (self.root / 'bin').mkdir()
        for name in ('bash', 'env', 'mktemp', 'rm', 'tail', 'true'):
            (self.root / 'bin' / name).symlink_to(shutil.which(name))
        for name in commands:
            (self.root / 'bin' / name).symlink_to('/bin/true')
        for name, text in programs.items():
            path = self.root / 'bin' / name
            path.write_text(f'#!/bin/bash\n{text}\n', encoding='utf-8')
            path.chmod(0o755)
        result = subprocess.run([TOOLS / 'setup.sh', 'test'], text=True, check=False,
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                env={'PATH': str(self.root / 'bin')})
        calls = self.root / 'calls'
        return result.returncode, result.stdout, calls.read_text() if calls.exists() else ''

    def test_nothing_missing_is_silent_and_calls_nobody(self):
        self.assertEqual(self.run_setup('all'), (0, '', ''))

    def test_only_what_is_missing_is_installed(self):
        status, output, calls = self.run_setup('build-essential cmake ninja-build pkg-config '
                                               'liblmdb-dev libyaml-dev libargon2-dev '
                                               'libgnutls28-dev libjansson-dev '
                                               'libmosquitto-dev libpaho-mqtt-dev '
                                               'libcurl4-gnutls-dev libwslay-dev mosquitto '
                                               'clang-14 python3 libcmocka-dev llvm-14')
        self.assertEqual(status, 0, output)
        self.assertIn('update', calls)
        self.assertRegex(calls, 'install --no-install-recommends libclang-rt-14-dev '
                         'clang-format-14 mosquitto-clients python3-paho-mqtt '
                         'chromium openssl gnutls-bin\n')

    def test_node_of_another_maker_is_left_alone(self):
        self.assertRegex(self.run_setup('', commands=())[2], ' nodejs npm\n')
        self.root = pathlib.Path(tempfile.mkdtemp(prefix='mqtt5-tools-'))
        self.addCleanup(shutil.rmtree, self.root)
        self.assertRegex(self.run_setup('', commands=('node',))[2], 'gnutls-bin npm\n')

    def test_sudo_is_used_by_others_than_root(self):
        status, _, calls = self.run_setup('', user=1000)
        self.assertEqual((status, calls.split()[0]), (0, 'sudo'))

    def test_neither_root_nor_sudo_says_what_to_type(self):
        status, output, calls = self.run_setup('', user=1000, sudo=False)
        self.assertEqual((status, calls), (1, ''))
        self.assertIn('as root: apt-get install build-essential', output)

    def test_a_failing_update_is_tried_three_times(self):
        status, output, calls = self.run_setup('', apt_status=100)
        self.assertEqual((status, calls.count('update')), (1, 3), output)


class Counting(unittest.TestCase):
    """run_tests.py"""

    def count(self, text, status, **options):
        """How a suite with this output and exit status is counted."""
        return str(run_tests.count(run_tests.Suite('s', [], **options), status, text))

    def test_the_last_summary_line_counts(self):
        self.assertEqual(self.count('1 passed, 0 failed\n7 passed, 0 failed, 2 skipped\n', 0),
                         '7 passed, 0 failed, 2 skipped')

    def test_a_bad_exit_status_is_a_failure_whatever_was_printed(self):
        self.assertEqual(self.count('7 passed, 0 failed\n', 1), '7 passed, 1 failed')
        self.assertEqual(self.count('', None), '0 passed, 1 failed')

    def test_a_suite_that_owes_a_summary_and_prints_none_fails(self):
        self.assertEqual(self.count('fine\n', 0, must_count=True), '0 passed, 1 failed')
        self.assertEqual(self.count('fine\n', 0), '1 passed, 0 failed')

    def test_nothing_run_is_a_failure(self):
        self.assertEqual(self.count('0 passed, 0 failed\n', 0), '0 passed, 1 failed')

    def test_a_ctest_report_counts_what_cmocka_ran(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / 'junit.xml'
            path.write_text(
                '<testsuite><testcase name="a" status="run"><system-out>'
                '[  PASSED  ] 3 test(s).\n</system-out></testcase>'
                '<testcase name="b" status="run"><system-out>plain</system-out></testcase>'
                '<testcase name="c" status="fail"><system-out>[  PASSED  ] 4 test(s).\n'
                '[  FAILED  ] tests: 2 test(s), listed below:\n</system-out></testcase>'
                '<testcase name="d" status="fail"><system-out>crash</system-out></testcase>'
                '<testcase name="e" status="notrun"/></testsuite>', encoding='utf-8')
            self.assertEqual(str(run_tests.count_junit(path)), '8 passed, 3 failed, 1 skipped')


class Docs(Tree):
    """check_docs.py, make_docs.py, mutate_sample.py"""

    OPTION = {'name': 'max-qos', 'group': 'Limits', 'alias': None, 'also': None, 'synonym': None,
              'type': 'integer', 'value': 'N', 'default': '2', 'env': 'MQTT5_MAX_QOS',
              'help': 'highest QoS', 'choices': [], 'repeatable': False, 'min': 0, 'max': 2}

    def complaints(self, check):
        """What one of the checks says about the tree."""
        complain = source.Complaints()
        check(self.root, complain)
        return [(path, line) for path, line, _ in complain.found]

    def reference(self, **changes):
        """One command with one option."""
        return {'version': '1', 'commands': [{'name': 'broker', 'summary': 'serve', 'usage': '',
                                              'notes': None, 'exits': None,
                                              'options': [{**self.OPTION, **changes}]}]}

    @staticmethod
    def schema(flag):
        """A configuration with one limit."""
        key = {'name': 'limit', 'group': 'Limits', 'also': None, 'type': 'number',
               'range': '0 to 2', 'default': '2', 'sample': None, 'flag': flag,
               'variable': 'MQTT5_X', 'section': None, 'help': 'a limit', 'restart': True}
        return {'configuration': [{'path': '', 'keys': [key]}]}

    def test_a_link_to_nowhere(self):
        self.put('docs/a.md', '# Some Heading: `x`\n[b](b.md)\n[a](#some-heading-x)\n[a](#no)\n',
                 '')
        self.assertEqual(self.complaints(check_docs.check_links), [('docs/a.md', 2),
                                                                   ('docs/a.md', 4)])

    def test_code_that_is_in_no_example(self):
        self.put('examples/a.c', '    call(1);\n    call(2);\n')
        self.put('docs/a.md', '```c\n    call(2);\n```\n', '')
        self.put('README.md', '# R\n```c\n    call(3);\n```\n', '')
        self.assertEqual(self.complaints(check_docs.check_code), [('README.md', 2)])

    def test_a_completion_that_completes_nothing(self):
        self.put('completions/mqttv5.bash', '_mqttv5() { COMPREPLY=(); }\n'
                 'complete -F _mqttv5 mqttv5\n', '')
        self.assertEqual(len(self.complaints(check_docs.check_bash)),
                         len(check_docs.COMPLETIONS) - 1)  # one of them wants nothing

    def test_a_limit_that_nothing_explains(self):
        self.assertIn('DISCONNECT 0x9B', make_docs.make_keys(self.schema('max-qos')))
        with self.assertRaises(make_docs.Missing):
            make_docs.make_keys(self.schema('max-new'))

    def test_flags_of_keys_stand_with_their_keys(self):
        both = {**self.reference(), **self.schema('other')}
        self.assertIn(f'--{self.OPTION["name"]}', make_docs.make_flags(both))
        both = {**self.reference(), **self.schema(self.OPTION['name'])}
        self.assertNotIn(f'--{self.OPTION["name"]}', make_docs.make_flags(both))

    def test_a_figure_that_nothing_explains(self):
        self.put('src/broker/sys.c', '"version" "implementation" "protocol_version" "uptime"\n'
                 'X("clients/new", 1)\n#define LOADS(X) \\\n X("sockets", 2)\n#define X\n')
        with self.assertRaisesRegex(make_docs.Missing, 'clients/new'):
            make_docs.make_figures(self.root)

    def test_a_manual_escapes_what_the_formatter_would_take(self):
        page = make_docs.make_manual(self.reference(help=".dot 'n\\x"),
                                     self.reference(help=".dot 'n\\x")['commands'][0])
        self.assertIn("\n\\&.dot 'n\\ex. Default: 2.", page)

    def test_a_made_part_needs_its_place_once(self):
        text = 'a\n<!-- made: x -->\nold\n<!-- end -->\n'
        self.assertEqual(make_docs.fill(text, 'x', 'new'),
                         'a\n<!-- made: x -->\n\nnew\n\n<!-- end -->\n')
        with self.assertRaises(make_docs.Missing):
            make_docs.fill(text + text, 'x', 'new')

    def test_a_break_has_to_fit_one_place(self):
        self.put('src/broker/a.c', 'int a;\nint b;\nint b;\n')
        for line, count in (('int a;', 0), ('int b;', 1), ('int c;', 1)):
            self.put('tools/mutate_sample.txt', '--- title\nreq: MQTT-1.5.4-1\n'
                     f'file: src/broker/a.c\n-{line}\n+int d;\n', '')
            complain = source.Complaints()
            breaks = mutate_sample.read_sample(self.root, complain)
            self.assertEqual((len(breaks), len(complain.found)), (1, count), line)


def main():
    """Runs them all and ends with the line that run_tests.py reads."""
    suite = unittest.defaultTestLoader.loadTestsFromModule(sys.modules[__name__])
    result = unittest.TextTestRunner(verbosity=1, stream=sys.stdout).run(suite)
    broken = len({str(test).split(' (')[0] for test, _ in result.failures + result.errors})
    skipped = len(result.skipped)
    print(f'{result.testsRun - broken - skipped} passed, {broken} failed'
          + (f', {skipped} skipped' if skipped else ''))
    return 0 if result.wasSuccessful() else 1


if __name__ == '__main__':
    sys.exit(main())
