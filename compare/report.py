"""docs/benchmarks.md and its plots, from the samples of a run.

Measures nothing and judges nothing: what is said of a figure follows from the figures. Invariant: the same samples make
the same report.
"""

import re

import plot
import roster
import sample
import workloads
from figures import Figures

# Shown in place of what the run chose: any free port, and the process just started.
PORT = 9000
PLOTTED = (workloads.RATE, workloads.CPU)


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
        unfinished = "" if self.run.get("is_finished") else "\n\n**This run was not finished.** What is here is what it had measured."
        return (
            "# Benchmarks\n\n"
            "<!-- Written by `scripts/compare`. Do not edit it: measure again. -->\n\n"
            "ringsock beside other WebSocket servers, all measured in the same run, in turn, round after round, on one\n"
            "processor each with the load on another. A ratio compares samples of one round; what is shown is the median\n"
            "over the rounds. Every answer was checked: content, order and number.\n\n"
            f"Measured {self.run['began'][:10]} with ringsock {self.run['versions'].get('ringsock', 'unknown')}: "
            f"{self.settings.rounds} round{'s' if self.settings.rounds > 1 else ''} of {self.settings.seconds:g} s "
            f"after {self.settings.warm_up:g} s of warm-up.{unfinished}"
        )

    def summary(self):
        """Each workload's ratios to the baseline, for the two figures that matter most."""
        of_traffic = [workload for workload in self.workloads if workloads.CPU in workload.metrics]
        of_idle = [workload for workload in self.workloads if workloads.MEMORY in workload.metrics]
        parts = ["## In short"]
        if of_traffic:
            parts += [
                "Processor time of the server for each message (or handshake), as a multiple of what ringsock on io_uring\n"
                "needs. Above 1 the other needs more; **bold** is where it needs less.",
                self.ratios([(workload, workloads.CPU) for workload in of_traffic]),
                "Messages (or handshakes) a second, as a multiple. Below 1 the other does fewer; **bold** is where it does\n"
                "more. Where one connection waits for each answer, or where the load's processor is the busy one, this says\n"
                "less about a server than the table above; the tables below say how busy its processor was.",
                self.ratios([(workload, workload.metrics[0]) for workload in of_traffic]),
            ]
        if of_idle:
            parts += [
                "Memory of the server for each idle connection, as a multiple. Above 1 the other needs more.",
                self.ratios([(workload, workloads.MEMORY) for workload in of_idle]),
            ]
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
        parts = [
            f"{head}Every figure in which another was better than ringsock on io_uring, the largest difference first: "
            f"{len(losses)} of\n{compared} comparisons. ringsock on epoll counts as another."
        ]
        if clear:
            parts += [f"In every round, {len(clear)}:", loss_table(clear)]
        if unclear:
            parts += [f"In the median but not in every round, so perhaps by chance, {len(unclear)}:", loss_table(unclear)]
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
            return "## What failed\n\nNothing."
        return "## What failed\n\n" + table(["who", "at what", "why"], lines)

    def contestants(self):
        parts = self.run["versions"]
        lines = []
        for peer in self.peers:
            version = ", ".join(f"{part} {parts.get(part, 'unknown')}" for part in peer.versions)
            rules = self.run["rules"].get(peer.name, {})
            checks = [yes_or_no(rules.get(rule)) for rule in RULES]
            lines.append([peer.name, peer.what, version, *checks])
        commands = "\n".join(self.shell(self.settings.server_command(peer, PORT)) for peer in self.measured)
        return (
            "## Who was measured\n\n"
            + table(["name", "what", "version", *RULES], lines)
            + "\n\nEach is used as its own documentation and examples show, built for release, without compression, with one\n"
            "thread for its connections. Before it is measured each must echo text, bytes, fragments and 100 messages at\n"
            "once, publish to all subscribers, answer pings and close in order. Their sources are in `compare/peers/`.\n\n"
            "uWebSockets is published on GitHub and not in a registry: what is measured is its C++ core as others have\n"
            "packaged it, which may be older and, on libuv, slower than one built from its newest source.\n\n"
            f"```sh\n{commands}\n```"
        )

    def machine(self):
        lines = [[name, value] for name, value in self.run["machine"].items()]
        lines.append(["load before", f"{self.run.get('load_before', 0):.2f} processes that wanted to run"])
        if "steal_percent" in self.run:
            lines.append(["taken by the host", f"{self.run['steal_percent']:.1f} % of the processors' time (steal)"])
            lines.append(["duration", f"{self.run['minutes']:.0f} minutes"])
        return "## The machine\n\n" + table(["what", "here"], lines)

    def method(self):
        server, load = self.settings.server_cpu, self.settings.load_cpu
        return (
            "## How it was measured\n\n"
            f"Repeat all of it with `{self.run['command']}`, or a figure with `scripts/compare --only PEER --workloads "
            "WORKLOAD`; by\nhand with a server's command from above in one terminal and the command over a table in another, both after\n"
            "`ulimit -n 20000`.\n\n"
            f"- The server is alone on processor {server}, the load (`ringsock bench`, one thread) on processor {load}. For "
            "each sample\n  the server is started anew.\n"
            "- Server CPU is the processor time of the server's process, the kernel's for it included, divided by what came\n"
            "  while it was measured. Of all figures it depends least on the load.\n"
            "- Latency is that of a closed loop: with many connections it says how many others each message waits for, so it\n"
            "  is the rate seen from the other side.\n"
            "- Memory for each is what the server's resident set grew by until all connections were open, divided by their\n"
            "  number, and memory in all is that set in the end; the kernel's is that of its objects for both ends of each\n"
            "  connection (slab), and of whatever else the host did meanwhile.\n"
            "- `busy` is the share of its processor that the server used. Below some 95 % the load, or the way there and\n"
            "  back, set the rate."
        )

    def group(self, name):
        parts = [f"## {workloads.GROUPS[name]}"]
        parts += [f"![{title}](benchmarks/{file}.svg)" for file, title, *_ in self.plots_of(name)]
        for workload in self.of_group(name):
            address = f"127.0.0.1:{PORT}"
            command = self.shell(self.settings.bench_command(workload, address, "PID", "sample.json"))
            parts += [f"### `{workload.name}`: {workload.title}", f"```sh\n{command}\n```", self.table_of(workload)]
        return "\n\n".join(parts)

    def table_of(self, workload):
        has_load = workload.mode != "idle"
        columns = ["", *(heading(metric) for metric in workload.metrics)]
        columns += [f"{metric.title}: ratio" for metric in workload.metrics[:2]] + (["busy"] if has_load else [])
        lines = []
        for peer in self.measured:
            cells = [self.figures.cell(workload, peer.name, metric) for metric in workload.metrics]
            if cells[0] is None:
                lines.append([peer.name, self.absent(workload, peer.name)] + [""] * (len(columns) - 2))
                continue
            shown = [f"{number(cell.median)} ({number(cell.least)}–{number(cell.most)})" for cell in cells]
            ratios = ["" if cell.ratio is None else f"{cell.ratio:.2f}" for cell in cells[:2]]
            busy = [f"{self.figures.cell(workload, peer.name, workloads.BUSY).median:.0f} %"] if has_load else []
            lines.append([peer.name, *shown, *ratios, *busy])
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
            what = metric.title if group.startswith("echo") or metric is workloads.CPU else "messages, or handshakes, a second"
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
    columns = ["workload", "what", "who is better", "theirs", "ringsock uring", "times better", "in rounds"]
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
