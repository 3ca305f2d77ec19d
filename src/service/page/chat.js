"use strict";
// The chat: shows a topic's messages, and parses those of the form {"from": …, "text": …}.
(() => {
  const TOPIC_BYTES_MAX = 255;
  const PREVIEW_CHARACTERS_MAX = 2000; // of a message: the list stays quick with 500 of 64 KiB
  const NAME_CHARACTERS_MAX = 40;
  const DRAW_MS = 50;                  // messages of this interval are drawn together
  const TOPIC_CLOSE_NAMES = { ...CLOSE_NAMES, 1013: "too slow, or the server is full" }; // the reason says which

  let socket = null;
  let received = 0;
  let unechoed = [];   // sent, and the echo has not arrived
  let undrawn = [];    // list items not in the page yet
  let drawTimer = 0;

  // ---- state kept across reloads

  // Each window keeps its own name and topic. A browser may forbid storage.
  function keep(joined) {
    try {
      sessionStorage.chat = JSON.stringify({ name: at("chat-name").value, topic: at("chat-topic").value, joined });
    } catch { /* A reload then begins with the defaults. */ }
  }

  function recall() {
    try {
      return JSON.parse(sessionStorage.chat);
    } catch {
      return { name: `guest-${Math.floor(100 + Math.random() * 900)}`, topic: "chat", joined: false };
    }
  }

  // ---- connection

  function join(byHand) {
    const topic = at("chat-topic").value;
    const fault = topicFault(topic);
    at("chat-error").textContent = fault;
    at("chat-topic").setAttribute("aria-invalid", String(fault !== ""));
    if (fault !== "") return at("chat-topic").focus();
    socket = new WebSocket(`${webSocketBase}/topics/${encodeURIComponent(topic)}`);
    socket.binaryType = "arraybuffer";
    socket.addEventListener("open", () => opened(topic, byHand));
    socket.addEventListener("message", (event) => receive(event.data));
    socket.addEventListener("close", closed);
    show("connecting", "Connecting");
  }

  function topicFault(topic) {
    const bytes = encoder.encode(topic.replace(/\*$/, "")).length;
    if (topic === "" || bytes > TOPIC_BYTES_MAX) return `The name of a topic must have 1 to ${TOPIC_BYTES_MAX} bytes.`;
    // Browsers resolve these as path segments, even percent-encoded.
    if (topic === "." || topic === "..") return "Browsers cannot request this topic.";
    return topic.isWellFormed?.() === false ? "This topic contains half a character." : "";
  }

  function opened(topic, byHand) {
    keep(true);
    show("open", `Joined ${topic}`);
    note(`Joined ${topic}`);
    if (byHand) at("chat-text").focus({ preventScroll: true });
  }

  function leave() {
    keep(false);
    socket.close(1000);
    show("closing", "Leaving");
  }

  function closed(event) {
    socket = null;
    const text = closedText(event, TOPIC_CLOSE_NAMES);
    show(event.code === 1000 ? "closed" : "lost", text);
    note(text);
    if (unechoed.length > 0) note(`${plural(unechoed.length, "message")} of yours did not come back and may be lost.`);
    unechoed = [];
  }

  // ---- messages

  function send() {
    const text = at("chat-text").value;
    if (text === "" || socket === null || socket.readyState !== WebSocket.OPEN) return;
    const message = JSON.stringify({ from: at("chat-name").value.trim() || "nobody", text });
    socket.send(message);
    unechoed.push(message);
    at("chat-text").value = "";
  }

  function receive(raw) {
    const data = typeof raw === "string" ? raw : new Uint8Array(raw);
    const said = typeof data === "string" ? parse(data) : null;
    // A name proves nothing: an identical message is taken for the echo of ours. Messages sent before it were dropped.
    const own = unechoed.indexOf(data) + 1;
    unechoed.splice(0, own);
    received += 1;
    if (said === null) draw("raw", "no sender", data);
    else draw(own > 0 ? "own" : "", said.from, said.text);
  }

  function parse(data) {
    try {
      const { from, text } = JSON.parse(data);
      return typeof from === "string" && typeof text === "string" ? { from, text } : null;
    } catch {
      return null;
    }
  }

  // ---- the list

  function draw(kind, from, data) {
    const shown = preview(data, PREVIEW_CHARACTERS_MAX);
    const bytes = typeof data === "string" ? encoder.encode(data).length : data.length;
    const text = span("text", shown);
    text.dir = "auto";
    if (shown !== data && shown.endsWith(" …")) text.append(span("hint", ` cut, ${size(bytes)} in all`));
    const name = document.createElement("bdi"); // isolates right-to-left names
    name.textContent = preview(from, NAME_CHARACTERS_MAX);
    push(kind, name, text);
  }

  function note(text) {
    push("note", span("text", text));
  }

  // A topic may deliver thousands of messages a second: only those that stay in the list are added to the page.
  function push(kind, ...content) {
    const now = new Date();
    const item = document.createElement("li");
    item.className = kind;
    item.append(timeOf(now, clock(now).slice(0, 8)), ...content);
    undrawn.push(item);
    if (undrawn.length > LIST_ENTRIES_MAX) undrawn.shift();
    if (drawTimer === 0) drawTimer = setTimeout(flush, DRAW_MS);
  }

  function flush() {
    drawTimer = 0;
    at("chat-empty")?.remove();
    appendTo(at("chat-list"), at("chat-scroll"), undrawn);
    undrawn = [];
    const kept = received > LIST_ENTRIES_MAX ? `, the last ${LIST_ENTRIES_MAX} are kept` : "";
    at("chat-count").textContent = plural(received, "message") + kept;
  }

  // ---- state

  function show(state, text) {
    at("chat-state").dataset.state = state;
    at("chat-state").textContent = text;
    at("chat-topic").disabled = at("chat-enter").disabled = socket !== null;
    at("chat-enter").textContent = state === "lost" ? "Rejoin" : "Join";
    at("chat-leave").disabled = socket === null || state === "closing";
    at("chat-send").disabled = state !== "open";
  }

  // ---- wiring

  at("chat-join").addEventListener("submit", (event) => {
    event.preventDefault();
    if (socket === null) join(true);
  });
  at("chat-leave").addEventListener("click", leave);
  at("chat-compose").addEventListener("submit", (event) => {
    event.preventDefault();
    send();
  });

  at("chat-name").addEventListener("change", () => keep(socket !== null));

  const before = recall();
  at("chat-name").value = before.name;
  at("chat-topic").value = before.topic;
  if (before.joined) join(false);
})();
