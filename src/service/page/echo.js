"use strict";
// The echo: connects to any WebSocket, sends, and measures each round trip.
(() => {
  const PREVIEW_CHARACTERS_MAX = 120; // of a text shown in the log
  const PENDING_MAX = 20000;          // sent messages that wait for their echo
  const SAMPLES_MAX = 1000;           // round trips behind the median
  const BURST_MAX = 100000;
  const REASON_BYTES_MAX = 123;       // RFC 6455, section 5.5: 125 bytes less the code
  const ECHO_TIMEOUT_MS = 10000;

  let socket = null;
  let openedAt = 0;
  let counts;
  let pending = [];   // sent, not yet echoed: { data, binary, at }
  let samples = [];   // latest round trips in ms
  let burst = null;

  // ---- formats

  // Browsers round their clock to 0.1 ms or so: no more digits than that.
  const ms = (value) => (value < 0.05 ? "< 0.1 ms" : value < 100 ? `${value.toFixed(1)} ms` : `${number.format(Math.round(value))} ms`);
  const quantile = (sorted, share) => sorted[Math.max(0, Math.ceil(sorted.length * share) - 1)];

  // ---- log

  function record(kind, label, body, meta) {
    at("log-empty")?.remove();
    const now = new Date();
    const item = document.createElement("li");
    item.className = kind;
    item.append(timeOf(now, clock(now)), span("kind", label), span("body", body));
    if (meta !== undefined) item.append(span("meta", ...meta));
    appendTo(at("log"), at("log-scroll"), [item]);
  }

  function strong(text) {
    const element = document.createElement("b");
    element.textContent = text;
    return element;
  }

  // ---- state and counters

  function show() {
    const open = socket !== null && socket.readyState === WebSocket.OPEN;
    const [state, text] = socket === null ? ["closed", "Not connected"]
      : socket.readyState === WebSocket.CONNECTING ? ["connecting", "Connecting"]
      : open ? ["open", "Connected"]
      : ["closing", "Closing"];
    if (at("state").dataset.state !== state) {
      at("state").dataset.state = state;
      at("state").textContent = text;
    }
    at("url").disabled = at("connect").disabled = socket !== null;
    at("disconnect").disabled = socket === null || state === "closing";
    at("send").disabled = !open || burst !== null;
    at("burst").disabled = !open;
    at("burst").textContent = burst === null ? "Run" : "Stop";
    at("burst-bar").hidden = burst === null;
  }

  function showCounts() {
    at("sent-count").textContent = number.format(counts.sent);
    at("sent-bytes").textContent = size(counts.sentBytes);
    at("received-count").textContent = number.format(counts.received);
    at("received-bytes").textContent = size(counts.receivedBytes);
    if (samples.length > 0) {
      const sorted = samples.slice().sort((a, b) => a - b);
      at("rtt").textContent = ms(samples[samples.length - 1]);
      at("rtt-median").textContent = `median ${ms(quantile(sorted, 0.5))}`;
    } else {
      at("rtt").textContent = "–";
      at("rtt-median").textContent = "no echo yet";
    }
  }

  function showUptime() {
    if (socket === null || socket.readyState !== WebSocket.OPEN) return;
    const seconds = Math.floor((performance.now() - openedAt) / 1000);
    const parts = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60];
    at("uptime").textContent = parts.map((part) => String(part).padStart(2, "0")).join(":");
    const waiting = socket.bufferedAmount;
    at("buffered").textContent = waiting === 0 ? "nothing waits to be sent" : `${size(waiting)} wait to be sent`;
    if (burst === null) showCounts(); // the numbers settle between bursts of events
  }

  function reset() {
    counts = { sent: 0, sentBytes: 0, received: 0, receivedBytes: 0 };
    pending = [];
    samples = [];
    showCounts();
  }

  // ---- connection

  function connect() {
    const field = at("url");
    at("url-error").textContent = at("close-error").textContent = "";
    field.removeAttribute("aria-invalid");
    try {
      socket = new WebSocket(field.value.trim());
    } catch {
      socket = null;
      field.setAttribute("aria-invalid", "true");
      at("url-error").textContent = "This is not a WebSocket address. It starts with ws:// or wss://.";
      field.focus();
      return;
    }
    const ours = socket;
    ours.binaryType = "arraybuffer";
    ours.addEventListener("open", () => {
      openedAt = performance.now();
      at("closed").textContent = "Ready to send";
      record("event", "Open", `Connected to ${ours.url}`);
      show();
      showUptime();
    });
    ours.addEventListener("message", (event) => receive(event.data, performance.now()));
    ours.addEventListener("close", (event) => {
      socket = null;
      stopBurst("The connection closed before all echoes were back.");
      const text = closedText(event);
      at("closed").textContent = text;
      record(event.code === 1000 || event.code >= 3000 ? "event" : "fault", "Close", event.wasClean ? text : `${text}, not cleanly`);
      at("buffered").textContent = "nothing waits to be sent";
      pending = [];
      showCounts();
      show();
    });
    reset();
    at("uptime").textContent = "–";
    at("closed").textContent = "Waiting for the server’s answer";
    show();
  }

  function disconnect() {
    const code = Number(at("close-code").value);
    const reason = at("close-reason").value;
    at("close-error").textContent = "";
    if (code !== 1000 && !(Number.isInteger(code) && code >= 3000 && code <= 4999)) {
      at("close-error").textContent = "The close code must be 1000 or 3000 to 4999.";
    } else if (encoder.encode(reason).length > REASON_BYTES_MAX) {
      at("close-error").textContent = `The reason must not exceed ${REASON_BYTES_MAX} bytes.`;
    } else {
      socket.close(code, reason);
      show();
    }
  }

  // ---- messages

  function transmit(text, binary) {
    const bytes = encoder.encode(text);
    const data = binary ? bytes : text;
    pending.push({ data, binary, at: performance.now() });
    if (pending.length > PENDING_MAX) pending.shift();
    socket.send(data);
    counts.sent += 1;
    counts.sentBytes += bytes.length;
    return { data, length: bytes.length };
  }

  function send() {
    const binary = at("binary").checked;
    const { data, length } = transmit(at("message").value, binary);
    record("sent", binary ? "Sent, bin" : "Sent", preview(data, PREVIEW_CHARACTERS_MAX), [size(length)]);
    showCounts();
  }

  function same(sent, data) {
    if (typeof data === "string") return !sent.binary && sent.data === data;
    return sent.binary && sent.data.length === data.length && sent.data.every((byte, index) => byte === data[index]);
  }

  function receive(raw, now) {
    const data = typeof raw === "string" ? raw : new Uint8Array(raw);
    const length = typeof data === "string" ? encoder.encode(data).length : data.length;
    counts.received += 1;
    counts.receivedBytes += length;
    // The server keeps the order, so an echo is always the oldest message that waits.
    let roundTrip = null;
    if (pending.length > 0 && same(pending[0], data)) {
      roundTrip = now - pending.shift().at;
      samples.push(roundTrip);
      if (samples.length > SAMPLES_MAX) samples.shift();
    }
    if (burst !== null) {
      if (roundTrip !== null) stepBurst(roundTrip);
      return;
    }
    const label = typeof data === "string" ? "Received" : "Rec’d, bin";
    record("received", label, preview(data, PREVIEW_CHARACTERS_MAX), roundTrip === null ? [size(length)] : [`${size(length)} · `, strong(ms(roundTrip))]);
    showCounts();
  }

  // ---- round trips, one after another

  function startBurst() {
    const total = Number(at("burst-count").value);
    if (!Number.isInteger(total) || total < 1 || total > BURST_MAX) {
      at("burst-result").textContent = `Enter a whole number from 1 to ${number.format(BURST_MAX)}.`;
      return;
    }
    pending = [];
    burst = { total, text: at("message").value, binary: at("binary").checked, times: [], since: performance.now(), timer: 0 };
    at("burst-bar").max = total;
    at("burst-bar").value = 0;
    at("burst-result").textContent = "Running";
    show();
    nextOfBurst();
  }

  function nextOfBurst() {
    clearTimeout(burst.timer);
    burst.timer = setTimeout(() => stopBurst("No echo came within 10 seconds."), ECHO_TIMEOUT_MS);
    transmit(burst.text, burst.binary);
  }

  function stepBurst(roundTrip) {
    burst.times.push(roundTrip);
    if (burst.times.length < burst.total) {
      if (burst.times.length % 50 === 0) at("burst-bar").value = burst.times.length;
      nextOfBurst();
    } else {
      stopBurst("");
    }
  }

  function stopBurst(fault) {
    if (burst === null) return;
    const { times, since, timer } = burst;
    clearTimeout(timer);
    burst = null;
    const parts = [plural(times.length, "round trip")];
    if (times.length > 0) {
      const seconds = (performance.now() - since) / 1000;
      const sorted = times.slice().sort((a, b) => a - b);
      parts.push(`median ${ms(quantile(sorted, 0.5))}`, `99 % within ${ms(quantile(sorted, 0.99))}`, `longest ${ms(sorted[sorted.length - 1])}`);
      if (seconds > 0) parts.push(`${number.format(Math.round(times.length / seconds))} per second`);
    }
    const text = parts.join(", ") + (fault === "" ? "" : `. ${fault}`);
    at("burst-result").textContent = text;
    record(fault === "" ? "event" : "fault", "Round trips", text);
    showCounts();
    show();
  }

  // ---- wiring

  function showSize() {
    at("message-size").textContent = size(encoder.encode(at("message").value).length);
  }

  at("connection").addEventListener("submit", (event) => {
    event.preventDefault();
    if (socket === null) connect();
  });
  at("disconnect").addEventListener("click", disconnect);
  at("send").addEventListener("click", send);
  at("burst").addEventListener("click", () => (burst === null ? startBurst() : stopBurst("Stopped.")));
  at("message").addEventListener("input", showSize);
  at("message").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && !at("send").disabled) {
      event.preventDefault();
      send();
    }
  });
  at("clear").addEventListener("click", () => at("log").replaceChildren());
  for (const button of document.querySelectorAll("[data-fill]")) {
    button.addEventListener("click", () => {
      at("message").value = "ringsock ".repeat(Math.ceil(button.dataset.fill / 9)).slice(0, button.dataset.fill);
      showSize();
    });
  }

  at("url").value = `${webSocketBase}/echo`;
  at("terminal").textContent = [
    `curl http${secure}://${location.host}/health`,
    `python -m websockets ${webSocketBase}/echo`,
    `python -m websockets ${webSocketBase}/topics/chat`,
  ].join("\n");
  setInterval(showUptime, 500);
  reset();
  showSize();
  show();
})();
