"""From samples to figures: medians, spreads and ratios.

Pure: no files, no clock. Invariant: a ratio compares two samples of one round, so what a machine does over time is in
both.
"""

from collections import defaultdict
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True)
class Cell:
    """One metric of one server at one workload, over all rounds that gave one."""

    median: float
    least: float
    most: float
    # To the baseline: the median of each round's, and in how many of how many rounds the server was the better one.
    ratio: float | None = None
    better_rounds: int = 0
    rounds: int = 0


@dataclass(frozen=True)
class Loss:
    """A comparison that the baseline does not win."""

    workload: object
    metric: object
    peer: str
    theirs: Cell
    ours: Cell

    @property
    def times(self):
        """By how much the other is better, as a factor above 1."""
        return self.theirs.ratio if self.metric.more else 1 / self.theirs.ratio

    @property
    def is_clear(self):
        return self.theirs.better_rounds == self.theirs.rounds


class Figures:
    """All samples of a run."""

    def __init__(self, samples, baseline):
        self.baseline = baseline
        self.samples = defaultdict(dict)
        for sample in samples:
            self.samples[sample["workload"], sample["peer"]][sample["round"]] = sample

    def rounds(self, workload, peer):
        """Round → sample, of those that were measured."""
        taken = self.samples.get((workload.name, peer), {})
        return {number: sample for number, sample in sorted(taken.items()) if sample["failure"] is None}

    def failures(self, workload, peer):
        """Why samples failed, and of how many."""
        taken = self.samples.get((workload.name, peer), {})
        return [sample["failure"] for sample in taken.values() if sample["failure"] is not None], len(taken)

    def cell(self, workload, peer, metric):
        """None where no round gave a figure."""
        values = self.values(workload, peer, metric)
        if not values:
            return None
        base = self.values(workload, self.baseline, metric)
        both = [number for number in values if number in base and base[number] > 0 and values[number] > 0]
        ratios = [values[number] / base[number] for number in both]
        better = sum((ratio > 1) if metric.more else (ratio < 1) for ratio in ratios)
        return Cell(
            median=median(values.values()),
            least=min(values.values()),
            most=max(values.values()),
            ratio=median(ratios) if ratios else None,
            better_rounds=better,
            rounds=len(ratios),
        )

    def values(self, workload, peer, metric):
        """Round → figure."""
        rounds = self.rounds(workload, peer)
        return {number: metric.of(sample["bench"]) for number, sample in rounds.items()}

    def losses(self, workloads, peers):
        """Every comparison in which another is better than the baseline, the largest first; and how many there were."""
        lost, compared = [], 0
        for workload in workloads:
            for metric in workload.metrics:
                ours = self.cell(workload, self.baseline, metric)
                for peer in peers:
                    theirs = self.cell(workload, peer, metric)
                    if peer == self.baseline or theirs is None or theirs.ratio is None:
                        continue
                    compared += 1
                    if (theirs.ratio > 1) if metric.more else (theirs.ratio < 1):
                        lost.append(Loss(workload, metric, peer, theirs, ours))
        return sorted(lost, key=lambda loss: -loss.times), compared
