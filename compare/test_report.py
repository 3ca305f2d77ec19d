"""The report of a comparison, from samples made up: no server runs. `python3 -m unittest discover -s compare`."""

import sys
import tempfile
import unittest
import xml.etree.ElementTree as xml
from pathlib import Path

sys.dont_write_bytecode = True  # nothing of ours is left in the tree

import figures
import plot
import report
import roster
import sample
import workloads

ECHO, IDLE = (next(w for w in workloads.WORKLOADS if w.name == name) for name in ("echo-64-100", "idle"))
NAMES = (roster.BASELINE, "gorilla", "ws")


def taken(peer, number, rate=None, cpu=1.0, workload=ECHO, failure=None):
    """A sample as a run leaves it."""
    latency = {"p50": 1e6 / rate, "p99": 9e6 / rate} if rate else {}
    server = {"cpu_us": cpu, "cpu_percent": 97.0, "bytes_per_connection": 200.0 * cpu}
    server |= {"kernel_bytes_per_connection": 9000.0, "resident_bytes": 7e6}
    bench = {"per_second": rate, "opened_per_second": rate, "latency_us": latency, "server": server}
    bench["load"] = {"busy_percent": 55.0}
    return {
        **{"peer": peer, "workload": workload.name, "round": number, "at": f"2026-01-01T00:00:0{number}+00:00"},
        **{"failure": failure, "bench": None if failure else bench},
    }


# The machine is twice as fast in the second round: gorilla is slower than ringsock in each round, and in each round at
# less of the processor.
SAMPLES = [
    taken(roster.BASELINE, 0, 100_000, 9.0),
    taken(roster.BASELINE, 1, 200_000, 4.0),
    taken(roster.BASELINE, 2, 110_000, 8.0),
    taken("gorilla", 0, 50_000, 4.5),
    taken("gorilla", 1, 120_000, 3.0),
    taken("gorilla", 2, 66_000, 2.0),
    taken("ws", 0, failure="12 × The server closed a connection with 1006."),
    taken("ws", 1, 20_000, 40.0),
]


def a_run(**changes):
    return {
        **{"began": "2026-01-01T00:00+00:00", "command": "scripts/compare --quick"},
        **{"is_whole": False, "is_finished": True},
        **{"settings": {"rounds": 3, "seconds": 1.5, "warm_up": 0.4, "server_cpu": 0, "load_cpu": 1}},
        **{"peers": list(NAMES), "workloads": [ECHO.name], "machine": {"processor": "one | two"}, "missing": {}},
        **{"versions": {"ringsock": "0.1.0"}, "rules": {"gorilla": {"UTF-8 is checked": False}}},
        **changes,
    }


class FiguresOfARun(unittest.TestCase):
    def setUp(self):
        self.figures = figures.Figures(SAMPLES, roster.BASELINE)

    def test_a_figure_is_the_median_with_its_least_and_most(self):
        cell = self.figures.cell(ECHO, "gorilla", workloads.RATE)
        self.assertEqual((cell.median, cell.least, cell.most), (66_000, 50_000, 120_000))

    def test_a_ratio_compares_samples_of_one_round(self):
        # 0.5, 0.6 and 0.6; of the medians it would be 66 / 110 too, but for the processor 3 / 8.
        self.assertAlmostEqual(self.figures.cell(ECHO, "gorilla", workloads.RATE).ratio, 0.6)
        self.assertAlmostEqual(self.figures.cell(ECHO, "gorilla", workloads.CPU).ratio, 0.5)

    def test_the_baseline_is_itself(self):
        self.assertEqual(self.figures.cell(ECHO, roster.BASELINE, workloads.CPU).ratio, 1)

    def test_a_round_that_failed_counts_in_no_figure(self):
        cell = self.figures.cell(ECHO, "ws", workloads.RATE)
        self.assertEqual((cell.median, cell.rounds), (20_000, 1))
        self.assertEqual(self.figures.failures(ECHO, "ws"), (["12 × The server closed a connection with 1006."], 2))

    def test_who_has_no_sample_has_no_figure(self):
        self.assertIsNone(self.figures.cell(IDLE, "ws", workloads.MEMORY))

    def test_every_comparison_that_another_wins_is_a_loss(self):
        losses, compared = self.figures.losses([ECHO], NAMES)
        self.assertEqual(compared, 8)
        self.assertEqual([(loss.peer, loss.metric.name, loss.is_clear) for loss in losses], [("gorilla", "cpu", True)])
        self.assertAlmostEqual(losses[0].times, 2.0)

    def test_more_is_better_of_rates_and_less_of_everything_else(self):
        faster = [taken(roster.BASELINE, 0, 100, 1.0), taken("ws", 0, 300, 1.0)]
        losses, _ = figures.Figures(faster, roster.BASELINE).losses([ECHO], NAMES)
        self.assertEqual({loss.metric.name for loss in losses}, {"rate", "p50", "p99"})
        for loss in losses:
            self.assertAlmostEqual(loss.times, 3.0)

    def test_a_loss_in_some_rounds_alone_is_not_clear(self):
        pairs = ((100, 110), (100, 90), (100, 120))
        mixed = [taken(roster.BASELINE, at, ours) for at, (ours, _) in enumerate(pairs)]
        mixed += [taken("ws", at, theirs) for at, (_, theirs) in enumerate(pairs)]
        losses, _ = figures.Figures(mixed, roster.BASELINE).losses([ECHO], NAMES)
        rate = next(loss for loss in losses if loss.metric is workloads.RATE)
        self.assertEqual((rate.is_clear, rate.theirs.better_rounds, rate.theirs.rounds), (False, 2, 3))


class TheReport(unittest.TestCase):
    def text(self, samples=SAMPLES, **changes):
        return report.Report(a_run(**changes), samples).text()

    def section(self, title, text):
        return text.split(f"## {title}\n", 1)[1].split("\n## ", 1)[0]

    def test_it_says_where_ringsock_loses(self):
        section = self.section("Where ringsock loses", self.text())
        self.assertIn("1 of\n8 comparisons", section)
        self.assertIn("| `echo-64-100` | server CPU for each | gorilla | 3.00 µs | 8.00 µs | 2.00 | 3 of 3 |", section)
        self.assertNotIn("| ws |", section)

    def test_it_says_so_where_ringsock_loses_nowhere(self):
        winning = [one for one in SAMPLES if one["peer"] != "gorilla"]
        self.assertIn("Nowhere in this run", self.section("Where ringsock loses", self.text(winning)))

    def test_a_failure_is_shown_with_its_reason(self):
        section = self.section("Failures", self.text(missing={"go-hub": "The command said | no."}))
        reason = "12 × The server closed a connection with 1006."
        self.assertIn(f"| ws | `echo-64-100` | 1 of 2 samples: {reason} |", section)
        self.assertIn("| go-hub | everything | The command said \\| no. |", section)

    def test_a_fault_that_came_again_is_told_once(self):
        failing = [taken("ws", number, failure=f"{number + 1:,} × Too few.") for number in range(3)]
        failing += [taken("ws", 3, failure="Too slow.")]
        self.assertIn("| 4 of 4 samples: 1 × Too few. Too slow. |", self.section("Failures", self.text(failing)))

    def test_without_ringsock_on_io_uring_there_are_figures_and_no_ratios(self):
        others = [one for one in SAMPLES if one["peer"] != roster.BASELINE]
        text = self.text(others, missing={roster.BASELINE: "No ring."})
        self.assertIn("There was nobody to compare with.", self.section("Where ringsock loses", text))
        self.assertIn("| `echo-64-100` | no ratio | no ratio |", self.section("In short", text))

    def test_who_failed_always_stands_in_the_tables_as_failed(self):
        failing = [one for one in SAMPLES if one["peer"] != "ws"]
        failing += [taken("ws", number, failure="The load was not done within 60 s.") for number in range(2)]
        text = self.text(failing)
        self.assertIn("| ws | failed |", self.section("Echo, 64 bytes", text))
        self.assertIn("| `echo-64-100` | **0.50** | failed |", self.section("In short", text))

    def test_a_workload_has_the_command_that_repeats_it(self):
        self.assertIn(
            "taskset -c 1 target/release/ringsock bench echo --url ws://127.0.0.1:9000/echo --connections 100 "
            "--size 64 --duration 1.5 --warm-up 0.4 --source 127.1.0.0/24 --pid PID --json sample.json",
            self.text(),
        )

    def test_a_run_that_was_not_finished_says_so(self):
        self.assertIn("This run was not finished", self.text(is_finished=False))
        self.assertNotIn("This run was not finished", self.text())

    def test_every_table_has_as_many_cells_in_each_row(self):
        lines = self.text().replace("\\|", "").splitlines()
        for line, following in zip(lines, lines[1:]):
            if line.startswith("|") and following.startswith("|"):
                self.assertEqual(line.count("|"), following.count("|"), following)

    def test_a_table_says_how_busy_server_and_load_were(self):
        rows = [line for line in self.text().splitlines() if line.startswith("| gorilla | 66,000")]
        self.assertTrue(rows and all(row.endswith("| 97 % | 55 % |") for row in rows), rows)

    def test_the_plots_it_refers_to_are_there_and_are_xml(self):
        idle = [taken(peer, 0, 5_000, cost, IDLE) for peer, cost in zip(NAMES, (1, 40, 90))]
        with tempfile.TemporaryDirectory() as folder:
            target = Path(folder)
            (target / "benchmarks").mkdir()
            (target / "benchmarks/old.svg").write_text("of another run")
            path = report.write(a_run(workloads=[ECHO.name, IDLE.name]), SAMPLES + idle, target)
            named = {word.split(")")[0] for word in path.read_text().split("](")[1:]}
            there = {f"benchmarks/{svg.name}" for svg in (target / "benchmarks").iterdir()}
            self.assertEqual(named, there)
            self.assertEqual(len(there), 3)
            for svg in there:
                circles = xml.parse(target / svg).findall(".//{http://www.w3.org/2000/svg}circle")
                self.assertGreaterEqual(len(circles), 3, svg)

    def test_numbers_have_three_digits_that_count(self):
        shown = [report.number(value) for value in (0.456, 9.998, 12.34, 123.4, 1_234_567)]
        self.assertEqual(shown, ["0.456", "10.0", "12.3", "123", "1,234,567"])
        self.assertEqual([plot.short(value) for value in (9.3, 41, 999.6, 12_345)], ["9.30", "41.0", "1.00k", "12.3k"])


class WhatIsKeptOfARun(unittest.TestCase):
    def test_samples_are_read_in_the_order_they_were_taken(self):
        with tempfile.TemporaryDirectory() as folder:
            for one in reversed(SAMPLES):
                path = sample.file_of(Path(folder), one["workload"], one["peer"], one["round"])
                path.parent.mkdir(exist_ok=True)
                sample.write(path, one)
            rounds = [one["round"] for one in sample.read_all(Path(folder))]
            self.assertEqual((len(rounds), rounds), (len(SAMPLES), sorted(rounds)))

    def test_a_wrong_answer_is_no_throughput(self):
        good = {"faults": {}, "open": 100, "per_second": 5.0, "server": {"cpu_us": 1}}
        sample.refuse_faulty(good, ECHO, 0)
        for change, reason in (
            ({"faults": {"A message came twice.": 2, "Lost.": 1}}, "2 × A message came twice."),
            ({"open": 99}, "Only 99 of 100 connections"),
            ({"per_second": 0}, "Nothing came"),
            ({"server": None}, "could not be observed"),
        ):
            with self.assertRaisesRegex(sample.Failure, reason):
                sample.refuse_faulty({**good, **change}, ECHO, 0)
        with self.assertRaisesRegex(sample.Failure, "exit code 1"):
            sample.refuse_faulty(good, ECHO, 1)

    def test_every_part_of_every_peer_that_is_pinned_has_a_version(self):
        pinned = roster.pinned_versions()
        looked_up = {"ringsock", *roster.COMMANDS, *roster.DEBIAN}
        for part in {part for peer in roster.PEERS for part in peer.versions} - looked_up:
            self.assertRegex(pinned.get(part, "none"), r"^\d+\.\d+", part)


if __name__ == "__main__":
    unittest.main()
