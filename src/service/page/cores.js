"use strict";
// The cores: figures of each core, polled while the page is visible.
(() => {
  const POLL_MS = 1000;
  const ANSWER_TIMEOUT_MS = 5000;
  const RETRY_MS = 10000;    // long, because the browser logs every failure
  const HISTORY_MS = 60000;  // shown by a sparkline
  const GAP_MS = 2500;       // a longer gap between two points is not drawn: the page was hidden
  const SPARK_WIDTH = 60, SPARK_HEIGHT = 24, SPARK_MARGIN = 1;
  const SCALE_MIN = 10;      // messages per second at the top, so that a single message stays small
  const RATES = { received: "messages_received", sent: "messages_sent" };
  const FIELDS = ["core", "connections", "topics", "subscriptions", "messages_dropped", ...Object.values(RATES)];

  let panels = [];      // one for each core: { element, points: [{ at, received, sent }] }
  let last = null;      // the latest answer, to take differences from: { at, cores }
  let timer = 0;
  let polling = false;
  let notBefore = 0;    // when the next poll may start

  // ---- polling

  async function poll() {
    polling = true;
    try {
      accept(await ask(), performance.now());
      notBefore = performance.now() + POLL_MS;
    } catch {
      giveUp();
      notBefore = performance.now() + RETRY_MS;
    }
    polling = false;
    schedule();
  }

  async function ask() {
    const response = await fetch("/api/cores", { cache: "no-store", signal: AbortSignal.timeout(ANSWER_TIMEOUT_MS) });
    if (!response.ok) throw new Error(`status ${response.status}`);
    const { cores } = await response.json();
    if (cores.length === 0 || !cores.every((core) => FIELDS.every((field) => Number.isFinite(core[field])))) {
      throw new Error("not the figures of cores");
    }
    return cores;
  }

  function schedule() {
    clearTimeout(timer);
    if (document.hidden || polling) return;
    timer = setTimeout(poll, Math.max(0, notBefore - performance.now()));
  }

  // ---- history

  function accept(cores, now) {
    // Other cores, or totals that shrink: the server has restarted.
    const restarted = last !== null && (cores.length !== last.cores.length || cores.some((core, index) =>
      Object.values(RATES).some((field) => core[field] < last.cores[index][field])));
    if (last === null || restarted) {
      panels = cores.map(makePanel);
      at("cores-list").replaceChildren(...panels.map((panel) => panel.element));
    } else {
      panels.forEach((panel, index) => addPoint(panel, cores[index], last.cores[index], now));
    }
    last = { at: now, cores };
    show(cores, now);
  }

  function addPoint(panel, core, before, now) {
    const point = { at: now };
    for (const [name, field] of Object.entries(RATES)) {
      point[name] = (core[field] - before[field]) * 1000 / (now - last.at);
    }
    panel.points.push(point);
    while (now - panel.points[0].at > HISTORY_MS) panel.points.shift();
  }

  // ---- display

  function makePanel(core) {
    const element = at("core").content.firstElementChild.cloneNode(true);
    element.querySelector("h3").textContent = `Core ${core.core}`;
    const label = `Messages of core ${core.core}, in and out, in the last 60 seconds`;
    element.querySelector("svg").setAttribute("aria-label", label);
    return { element, points: [] };
  }

  function show(cores, now) {
    at("cores-fault").hidden = true;
    at("cores-list").hidden = at("cores-scale").hidden = false;
    const list = at("cores-list");
    // A list that scrolls has to be reachable by keyboard.
    if (list.scrollHeight > list.clientHeight) list.tabIndex = 0;
    else list.removeAttribute("tabindex");
    const top = scaleTop();
    panels.forEach((panel, index) => {
      showFigures(panel, cores[index]);
      for (const [line, name] of [["in", "received"], ["out", "sent"]]) {
        panel.element.querySelector(`path.${line}`).setAttribute("d", path(panel.points, name, top, now));
      }
    });
    const sum = (field) => cores.reduce((total, core) => total + core[field], 0);
    const dropped = sum("messages_dropped");
    at("cores-total").textContent = [plural(cores.length, "core"), plural(sum("connections"), "connection"),
      ...(dropped > 0 ? [`${plural(dropped, "message")} dropped`] : [])].join(" · ");
    at("cores-scale").textContent =
      `Messages per second in the last 60 s, every core on the same scale of 0 to ${rate(top)}.`;
  }

  // 1, 2 or 5 times a power of ten, so that the scale does not move with every message.
  function scaleTop() {
    const rates = panels.flatMap((panel) => panel.points.flatMap((point) => [point.received, point.sent]));
    const highest = Math.max(SCALE_MIN, ...rates);
    const decade = 10 ** Math.floor(Math.log10(highest));
    return [1, 2, 5, 10].map((step) => step * decade).find((value) => value >= highest);
  }

  function showFigures(panel, core) {
    const point = panel.points.at(-1);
    for (const element of panel.element.querySelectorAll("[data-figure]")) {
      const name = element.dataset.figure;
      element.textContent = name in core ? number.format(core[name]) : point === undefined ? "–" : rate(point[name]);
    }
  }

  // Small rates are rounded up, so that a rate above 0 is never shown as 0.
  const rate = (value) => number.format(value > 0 && value < 10 ? Math.ceil(value * 10) / 10 : Math.round(value));

  function path(points, name, top, now) {
    const height = SPARK_HEIGHT - 2 * SPARK_MARGIN;
    return points.map((point, index) => {
      const x = SPARK_WIDTH * (1 - (now - point.at) / HISTORY_MS);
      const y = SPARK_HEIGHT - SPARK_MARGIN - height * point[name] / top;
      const joined = index > 0 && point.at - points[index - 1].at < GAP_MS;
      return `${joined ? "L" : "M"}${x.toFixed(2)} ${y.toFixed(2)}`;
    }).join("");
  }

  function giveUp() {
    last = null;
    at("cores-list").hidden = at("cores-scale").hidden = true;
    at("cores-total").textContent = "";
    at("cores-fault").hidden = false;
    at("cores-fault").textContent =
      `The figures of the cores are not available. Trying again every ${RETRY_MS / 1000} seconds.`;
  }

  document.addEventListener("visibilitychange", schedule);
  schedule();
})();
