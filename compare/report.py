"""docs/benchmarks.md and its plots, from the samples of a run.

Measures nothing and judges nothing: what is said of a figure follows from the figures. Invariant: the same samples make
the same report.
"""

import re

import plot
import prose
import roster
import sample
import workloads
from figures import Figures

# Shown in place of what the run chose: any free port, and the process just started.
PORT = 9000
PLOTTED = (workloads.RATE, workloads.CPU)
# How much of its processor the server and the load used.
SHARES = (workloads.BUSY, workloads.LOAD)


def write(run, samples, target):
    """Writes benchmarks.md and benchmarks/*.svg into `target`; the path of the former."""
    report = Report(run, samples)
    text = report.text()
    plots = target / "benchmarks"
    plots.mkdir(parents=True, exist_ok=True)
    for old in plots.glob("*.svg"):
        old.unlink()
    for name, svg in report.plots():
        (plots / f"{name}.svg").write_text(svg)
    path = target / "benchmarks.md"
    path.write_text(text)
    return path


def brief(workload, taken):
    """A sample in a line."""
    if taken["failure"] is not None:
        return f"FAILED: {taken['failure']}"
    return ", ".join(f"{metric.name} {number(metric.of(taken['bench']))}" for metric in workload.metrics)


class Report:
    def __init__(self, run, samples):
        self.run = run
        self.settings = sample.Settings(**run["settings"])
        self.figures = Figures(samples, roster.BASELINE)
        self.peers = [peer for peer in roster.PEERS if peer.name in run["peers"]]
        self.measured = [peer for peer in self.peers if peer.name not in run["missing"]]
        self.workloads = [workload for workload in workloads.WORKLOADS if workload.name in run["workloads"]]

    def text(self):
        sections = [
            self.introduction(),
            self.summary(),
            self.losses(),
            self.failures(),
            self.contestants(),
            self.machine(),
            self.method(),
            *(self.group(name) for name in workloads.GROUPS if self.of_group(name)),
        ]
        return "\n\n".join(sections) + "\n"

    # --- The sections, in their order.

    def introduction(self):
        rounds = f"{self.settings.rounds} round{'s' if self.settings.rounds > 1 else ''}"
        text = prose.INTRODUCTION.format(
            day=self.run["began"][:10],
            version=self.run["versions"].get("ringsock", "unknown"),
            rounds=rounds,
            seconds=self.settings.seconds,
            warm_up=self.settings.warm_up,
        )
        return text if self.run.get("is_finished") else f"{text}\n\n{prose.UNFINISHED}"

    def summary(self):
        """Each workload's ratios to the baseline, for the figures that matter most."""
        of_traffic = [workload for workload in self.workloads if workloads.CPU in workload.metrics]
        of_idle = [workload for workload in self.workloads if workloads.MEMORY in workload.metrics]
        parts = ["## In short"]
        if of_traffic:
            parts += [prose.CPU_RATIOS, self.ratios([(workload, workloads.CPU) for workload in of_traffic])]
            parts += [prose.RATE_RATIOS, self.ratios([(workload, workload.metrics[0]) for workload in of_traffic])]
        if of_idle:
            parts += [prose.MEMORY_RATIOS, self.ratios([(workload, workloads.MEMORY) for workload in of_idle])]
        return "\n\n".join(parts)

    def ratios(self, rows):
        others = [peer.name for peer in self.measured if peer.name != roster.BASELINE]
        lines = []
        for workload, metric in rows:
            cells = []
            for peer in others:
                cell = self.figures.cell(workload, peer, metric)
                if cell is None:
                    cells.append(self.absent(workload, peer))
                elif cell.ratio is None:
                    cells.append("no ratio")
                else:
                    better = cell.ratio > 1 if metric.more else cell.ratio < 1
                    cells.append(f"**{cell.ratio:.2f}**" if better else f"{cell.ratio:.2f}")
            lines.append([f"`{workload.name}`", *cells])
        return table(["", *others], lines, right_from=1)

    def losses(self):
        peers = [peer.name for peer in self.measured]
        losses, compared = self.figures.losses(self.workloads, peers)
        head = "## Where ringsock loses\n\n"
        if not compared:
            return head + "There was nobody to compare with."
        if not losses:
            return head + f"Nowhere in this run: of {compared} comparisons it won or drew all."
        clear = [loss for loss in losses if loss.is_clear]
        unclear = [loss for loss in losses if not loss.is_clear]
        parts = [head + prose.LOSSES.format(lost=len(losses), compared=compared)]
        if clear:
            parts += [prose.CLEAR_LOSSES.format(count=len(clear)), loss_table(clear)]
        if unclear:
            parts += [prose.UNCLEAR_LOSSES.format(count=len(unclear)), loss_table(unclear)]
        return "\n\n".join(parts)

    def failures(self):
        lines = [[peer, "everything", reason] for peer, reason in self.run["missing"].items()]
        for workload in self.workloads:
            for peer in self.measured:
                reasons, taken = self.figures.failures(workload, peer.name)
                if reasons:
                    # The same fault, however often it was seen, is told once.
                    distinct = {re.sub(r"^[\d,]+ × ", "", reason): reason for reason in reversed(reasons)}
                    said = " ".join(reversed(distinct.values()))
                    lines.append([peer.name, f"`{workload.name}`", f"{len(reasons)} of {taken} samples: {said}"])
        if not lines:
            return "## Failures\n\nNothing."
        return "## Failures\n\n" + table(["server", "workload", "reason"], lines)

    def contestants(self):
        parts = self.run["versions"]
        lines = []
        for peer in self.peers:
            version = ", ".join(f"{part} {parts.get(part, 'unknown')}" for part in peer.versions)
            rules = self.run["rules"].get(peer.name, {})
            checks = [yes_or_no(rules.get(rule)) for rule in RULES]
            lines.append([peer.name, peer.what, version, *checks])
        commands = "\n".join(self.shell(self.settings.server_command(peer, PORT)) for peer in self.measured)
        what = table(["name", "description", "version", *RULES], lines)
        return f"## The servers\n\n{what}\n\n{prose.CONTESTANTS}\n\n```sh\n{commands}\n```"

    def machine(self):
        lines = [[name, value] for name, value in self.run["machine"].items()]
        lines.append(["load before", f"{self.run.get('load_before', 0):.2f} processes that wanted to run"])
        if "steal_percent" in self.run:
            lines.append(["taken by the host", f"{self.run['steal_percent']:.1f} % of the processors' time (steal)"])
            lines.append(["duration", f"{self.run['minutes']:.0f} minutes"])
        return "## The machine\n\n" + table(["item", "value"], lines)

    def method(self):
        settings = self.settings
        text = prose.METHOD.format(
            command=self.run["command"], server_cpu=settings.server_cpu, load_cpu=settings.load_cpu
        )
        return f"## How it was measured\n\n{text}"

    def group(self, name):
        parts = [f"## {workloads.GROUPS[name]}"]
        parts += [f"![{title}](benchmarks/{file}.svg)" for file, title, *_ in self.plots_of(name)]
        for workload in self.of_group(name):
            address = f"127.0.0.1:{PORT}"
            command = self.shell(self.settings.bench_command(workload, address, "PID", "sample.json"))
            parts += [f"### `{workload.name}`: {workload.title}", f"```sh\n{command}\n```", self.table_of(workload)]
        return "\n\n".join(parts)

    def table_of(self, workload):
        shares = () if workload.mode == "idle" else SHARES
        columns = ["", *(heading(metric) for metric in workload.metrics)]
        columns += [f"{metric.title}: ratio" for metric in workload.metrics[:2]]
        columns += [metric.title for metric in shares]
        lines = []
        for peer in self.measured:
            cells = [self.figures.cell(workload, peer.name, metric) for metric in workload.metrics]
            if cells[0] is None:
                lines.append([peer.name, self.absent(workload, peer.name)] + [""] * (len(columns) - 2))
                continue
            shown = [f"{number(cell.median)} ({number(cell.least)}–{number(cell.most)})" for cell in cells]
            ratios = ["" if cell.ratio is None else f"{cell.ratio:.2f}" for cell in cells[:2]]
            used = [f"{self.figures.cell(workload, peer.name, metric).median:.0f} %" for metric in shares]
            lines.append([peer.name, *shown, *ratios, *used])
        return table(columns, lines, right_from=1)

    # --- Plots.

    def plots(self):
        """Name of a file, and what is in it."""
        for group in workloads.GROUPS:
            for file, title, unit, panels in self.plots_of(group):
                yield file, plot.dots(title, unit, panels, one_axis=group.startswith("echo"))

    def plots_of(self, group):
        chosen = self.of_group(group)
        if not chosen:
            return
        if group == "idle":
            (idle,) = chosen
            panels = [plot.Panel(metric.title, list(self.rows(idle, metric))) for metric in idle.metrics[:2]]
            yield "idle-memory", "Memory for each of 10,000 idle connections (less is better)", "bytes", panels
            return
        for metric, better in zip(PLOTTED, ("more", "less")):
            is_mixed = metric is workloads.RATE and group == "other"
            what = "messages, or handshakes, a second" if is_mixed else metric.title
            title = f"{workloads.GROUPS[group]}: {what} ({better} is better)"
            panels = [plot.Panel(workload.title, list(self.rows(workload, metric))) for workload in chosen]
            yield f"{group}-{metric.name}", title, metric.unit, panels

    def rows(self, workload, metric):
        for peer in self.measured:
            cell = self.figures.cell(workload, peer.name, metric)
            if cell is None:
                yield plot.Row(peer.name, note=self.absent(workload, peer.name))
            else:
                yield plot.Row(peer.name, cell.median, cell.least, cell.most)

    # --- Odds and ends.

    def of_group(self, name):
        return [workload for workload in self.workloads if workload.group == name]

    def absent(self, workload, peer):
        """Why there is no figure."""
        return "failed" if self.figures.failures(workload, peer)[0] else "not measured"

    def shell(self, command):
        return " ".join(f"'{word}'" if any(mark in word for mark in "*$ ") else word for word in command)


def loss_table(losses):
    lines = [
        [
            f"`{loss.workload.name}`",
            loss.metric.title,
            loss.peer,
            with_unit(loss.theirs.median, loss.metric),
            with_unit(loss.ours.median, loss.metric),
            f"{loss.times:.2f}",
            f"{loss.theirs.better_rounds} of {loss.theirs.rounds}",
        ]
        for loss in losses
    ]
    columns = ["workload", "figure", "better server", "theirs", "ringsock uring", "times better", "in rounds"]
    return table(columns, lines, right_from=3)


RULES = ("UTF-8 is checked", "unmasked frames are refused")


def yes_or_no(answer):
    return "not known" if answer is None else "yes" if answer else "no"


def heading(metric):
    return metric.title if metric.unit == "/s" else f"{metric.title}, {metric.unit}"


def with_unit(value, metric):
    return number(value) + ("" if metric.unit == "/s" else " ") + metric.unit


def number(value):
    """With three digits that count at least, and commas."""
    magnitude = abs(value)
    digits = 3 if magnitude < 0.9995 else 2 if magnitude < 9.995 else 1 if magnitude < 99.95 else 0
    return f"{value:,.{digits}f}"


def table(columns, lines, right_from=None):
    """In Markdown; columns from `right_from` on stand at the right."""
    right_from = len(columns) if right_from is None else right_from
    borders = ["---:" if at >= right_from else "---" for at in range(len(columns))]
    rows = [columns, borders, *([str(cell).replace("|", "\\|") for cell in line] for line in lines)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)
