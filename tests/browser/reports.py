"""The reports of `ringsock bench`, made by real runs against the server that is tried, as a person opens them."""

import subprocess
import sys
from pathlib import Path

from page import ADDRESS, SCREENSHOTS, WIDTHS

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import server  # noqa: E402

WIDE = 1500
BENCH_SECONDS_MAX = 120
# The checked properties of each plot: its title, its place, and the number of points of its shortest line.
PLOTS = """
return Array.from(document.querySelectorAll("figure"), (figure) => {
  const box = figure.querySelector("svg").getBoundingClientRect();
  const lines = Array.from(figure.querySelectorAll("polyline"));
  return {
    title: figure.querySelector("h3").innerText,
    left: box.left, top: box.top, width: box.width, height: box.height,
    points: Math.min(...lines.map((line) => line.points.length)),
    drawn: lines.every((line) => getComputedStyle(line).stroke !== "none" && line.getTotalLength() > 100),
  };
});
"""
TICKS = "return Array.from(document.querySelectorAll('figure:nth-of-type(2) .middle'), (tick) => tick.textContent)"
REQUESTS = "return performance.getEntriesByType('resource').map((entry) => entry.name)"


def shows_a_run(page):
    flags = ["echo", "--connections", "100", "--duration", "4"]
    plots = open_report(page, "bench-echo", flags)
    assert [plot["title"] for plot in plots] == [
        "Messages per second",
        "Latency by percentile",
        "Latency over time",
        "Connections",
        "CPU, in percent of a core",
        "Server memory in MiB",
    ], plots
    assert all(plot["points"] >= 10 for plot in plots), plots
    assert page.texts("h1") == ["Echo, 100 connections"]
    assert page.texts(".verdict") == ["every answer was right"]
    ticks = page.run(TICKS)
    assert ticks[:4] == ["50", "90", "99", "99.9"], ticks


def shows_a_sweep(page):
    steps = ["--steps", "50,100,200,500,1000", "--duration", "1", "--warm-up", "0.5"]
    plots = open_report(page, "bench-sweep", ["sweep", *steps])
    titles = [plot["title"] for plot in plots]
    assert titles == [
        "Latency over connections",
        "Messages per second",
        "CPU, in percent of a core",
        "Server memory in MiB",
    ], titles
    assert all(plot["points"] == 5 for plot in plots), plots
    assert page.texts("h1") == ["Sweep from 50 to 1,000 connections"]
    assert len(page.texts("tr")) == 6


def marks_the_knee(page):
    """A rate that nobody achieves: the knee is the first step."""
    flags = ["sweep", "--steps", "10,20", "--rate", "100000000", "--duration", "0.5", "--warm-up", "0"]
    open_report(page, "bench-knee", flags)
    assert "no step is served well" in page.texts(".knee")[0], page.texts(".knee")
    assert page.run("return document.querySelectorAll('svg .mark').length") >= 3
    assert len(page.texts("tr.is-knee")) == 1
    # The load itself cannot achieve it either, whether it has a processor of its own or not.
    assert any("the load generator" in note for note in page.texts(".note")), page.texts(".note")


def open_report(page, name, flags):
    """Makes a report, opens it, and sees that it needs nothing else and fits every screen. Its plots on a wide one."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    report = (SCREENSHOTS / f"{name}.html").resolve()
    command = [server.BINARY, "bench", *flags, "--url", f"ws://{ADDRESS}/echo", "--html", report]
    if len(sys.argv) > 4:
        command += ["--pid", sys.argv[4]]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=BENCH_SECONDS_MAX)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    page.driver.get(report.as_uri())
    assert page.run(REQUESTS) == [], page.run(REQUESTS)
    for scheme in ("light", "dark"):
        for width in (WIDE, *WIDTHS):
            with page.seen(scheme, width):
                page.take_screenshot(f"{name}-{scheme}-{width}")
                wide = page.run("return document.documentElement.scrollWidth")
                assert wide <= width, f"{width} px wide, it has to be scrolled sideways"
                plots = page.run(PLOTS)
                assert all(plot["drawn"] and plot["width"] > 250 and plot["height"] > 100 for plot in plots), plots
    with page.seen("light", WIDE):
        plots = page.run(PLOTS)
    assert plots[0]["top"] == plots[1]["top"] and plots[0]["left"] < plots[1]["left"], "they stand side by side"
    return plots
