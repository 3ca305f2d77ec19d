"""scripts/instructions: what it makes of counts."""

import contextlib
import io
import json
import tempfile
import unittest
from pathlib import Path
from unittest import mock

from . import script

instructions = script("instructions")

BASELINE = {"encode": 1000.0, "echo": 2000.0}
MADE_WITH = {"rustc": "1.95.0", "processor": "avx2"}


class Comparison(unittest.TestCase):
    def test_one_percent_more_and_a_little_fails_and_names_what_is_needed_to_act(self):
        verdict = instructions.compare(BASELINE, {"encode": 1011.0, "echo": 2000.0})
        self.assertTrue(verdict.failed())
        (sentence,) = verdict.regressions
        for part in ("encode", "1,011.0", "1,000.0", "1.1%", "scripts/instructions --renew"):
            self.assertIn(part, sentence)

    def test_a_little_less_than_one_percent_more_passes(self):
        verdict = instructions.compare(BASELINE, {"encode": 1009.0, "echo": 2018.0})
        self.assertFalse(verdict.failed())
        self.assertEqual((verdict.regressions, verdict.gains), ([], []))

    def test_a_gain_is_told_and_fails_nothing(self):
        verdict = instructions.compare(BASELINE, {"encode": 989.0, "echo": 1982.0})
        self.assertFalse(verdict.failed())
        (sentence,) = verdict.gains
        self.assertIn("encode", sentence)
        self.assertIn("--renew", sentence)

    def test_a_case_without_a_baseline_and_a_baseline_without_a_case_fail(self):
        verdict = instructions.compare(BASELINE, {"encode": 1000.0, "new": 5.0})
        self.assertTrue(verdict.failed())
        self.assertEqual([sentence.split()[0] for sentence in verdict.unknown], ["new", "echo"])

    def test_cases_that_were_not_asked_for_are_not_missed(self):
        self.assertFalse(instructions.compare(BASELINE, {"echo": 2000.0}, left_out=["encode"]).failed())


class Run(unittest.TestCase):
    """The whole script, but for what builds and counts."""

    def run_with(self, counts, *arguments, made_with=MADE_WITH):
        """Exit code, output and the baseline afterwards."""
        cases = [instructions.Case(name, 1, 1, 2) for name in counts]

        def count(case, _):
            if isinstance(counts[case.name], str):
                raise instructions.CannotRun(counts[case.name])
            return counts[case.name]

        with tempfile.TemporaryDirectory(dir=instructions.ROOT / "target") as directory:
            baseline = Path(directory) / "baseline.json"
            baseline.write_text(json.dumps({"made_with": MADE_WITH, "instructions": BASELINE}))
            replaced = {
                "BASELINE": baseline,
                "built": lambda: "program",
                "listed": lambda _: cases,
                "Callgrind": lambda _: mock.Mock(made_with=made_with, count=count),
            }
            output = io.StringIO()
            with (
                mock.patch.multiple(instructions, **replaced),
                mock.patch("sys.argv", ["instructions", *arguments]),
                contextlib.redirect_stdout(output),
            ):
                try:
                    code = instructions.main()
                except SystemExit as end:
                    code = end.code
            return code or 0, output.getvalue(), json.loads(baseline.read_text())

    def test_ends_with_1_only_when_a_case_is_above_the_tolerance(self):
        code, output, _ = self.run_with({"encode": 1009.0, "echo": 2000.0})
        self.assertEqual(code, 0, output)
        code, output, _ = self.run_with({"encode": 1000.0, "echo": 2022.0})
        self.assertEqual(code, 1, output)
        self.assertIn("echo takes 2,022.0 instructions where the baseline has 2,000.0: 1.1% more", output)

    def test_another_toolchain_is_said_aloud_and_is_neither_a_success_nor_a_regression(self):
        other = {**MADE_WITH, "rustc": "1.96.0"}
        code, output, _ = self.run_with({"encode": 5000.0, "echo": 2000.0}, made_with=other)
        self.assertEqual(code, 77, output)
        self.assertIn("NOT COMPARED", output)
        self.assertIn("rustc: 1.95.0 then, 1.96.0 now", output)
        self.assertNotIn("processor:", output)

    def test_a_case_that_cannot_run_here_is_said_aloud_and_the_others_are_judged(self):
        code, output, _ = self.run_with({"encode": 1000.0, "echo": "The host refuses io_uring."})
        self.assertEqual(code, 77, output)
        self.assertIn("NOT COUNTED: echo. The host refuses io_uring.", output)
        code, output, _ = self.run_with({"encode": 1011.0, "echo": "The host refuses io_uring."})
        self.assertEqual(code, 1, output)
        code, output, baseline = self.run_with({"encode": 1011.0, "echo": "The host refuses io_uring."}, "--renew")
        self.assertEqual((bool(code), baseline["instructions"]), (True, BASELINE), output)

    def test_words_choose_cases_and_the_others_are_not_missed(self):
        code, output, _ = self.run_with({"encode": 1000.0, "echo": 9999.0}, "enc")
        self.assertEqual(code, 0, output)

    def test_renewing_keeps_what_was_counted_and_what_counted_it(self):
        other = {**MADE_WITH, "rustc": "1.96.0"}
        code, output, baseline = self.run_with({"encode": 5000.0, "new": 1.0}, "--renew", made_with=other)
        self.assertEqual(code, 0, output)
        self.assertEqual(baseline, {"made_with": other, "instructions": {"encode": 5000.0, "new": 1.0}})


class Counting(unittest.TestCase):
    CASE = instructions.Case("echo", 10, 100, 200)

    def counted(self, *runs, before=None):
        callgrind = instructions.Callgrind.__new__(instructions.Callgrind)
        callgrind.instructions = mock.Mock(side_effect=runs)
        return callgrind.count(self.CASE, before), callgrind.instructions.call_count

    def test_a_count_is_what_the_rounds_between_differ_by(self):
        self.assertEqual(self.counted(50_000, 150_000), (100.0, 2))

    def test_a_disturbed_run_is_repeated_and_does_not_count(self):
        self.assertEqual(self.counted(50_000, 160_000, 50_000, 150_000, before=100.0), (100.0, 4))
        self.assertEqual(self.counted(60_000, 150_000, 50_000, 150_000, before=100.0), (100.0, 4))

    def test_what_is_there_every_time_counts(self):
        self.assertEqual(self.counted(*[50_000, 160_000] * 3, before=100.0), (110.0, 6))


if __name__ == "__main__":
    unittest.main()
