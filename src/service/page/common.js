"use strict";
// Helpers that several parts of the page use.

const LIST_ENTRIES_MAX = 500; // of a log or a chat; older ones are removed
const PREVIEW_BYTES_MAX = 32; // of a binary message
const FOLLOW_PIXELS_MAX = 40; // a list this close to its end follows new entries
const CLOSE_NAMES = {
  1000: "normal closure", 1001: "going away", 1002: "protocol error", 1003: "unsupported data",
  1005: "no code given", 1006: "connection lost or refused", 1007: "invalid data", 1008: "policy violation",
  1009: "message too big", 1010: "extension missing", 1011: "internal error", 1012: "service restart",
  1013: "try again later", 1014: "bad gateway", 1015: "TLS failure",
};

const at = (id) => document.getElementById(id);
const encoder = new TextEncoder();
const number = new Intl.NumberFormat("en-US");
const secure = location.protocol === "https:" ? "s" : "";
const webSocketBase = `ws${secure}://${location.host}`;

const size = (bytes) =>
  bytes < 1024 ? `${bytes} B` : bytes < 1048576 ? `${trim(bytes / 1024)} KiB` : `${trim(bytes / 1048576)} MiB`;
const trim = (value) => String(Math.round(value * 10) / 10);
const clock = (date) => date.toTimeString().slice(0, 8) + "." + String(date.getMilliseconds()).padStart(3, "0");
const plural = (count, word) => `${number.format(count)} ${word}${count === 1 ? "" : "s"}`;

function preview(data, charactersMax) {
  if (typeof data === "string") {
    return data.length > charactersMax ? data.slice(0, charactersMax) + " …" : data;
  }
  const head = Array.from(data.subarray(0, PREVIEW_BYTES_MAX), (byte) => byte.toString(16).padStart(2, "0")).join(" ");
  return data.length > PREVIEW_BYTES_MAX ? head + " …" : head;
}

function closedText(event, names = CLOSE_NAMES) {
  const name = names[event.code] ?? "application code";
  const reason = event.reason === "" ? "" : ` “${event.reason}”`;
  return `Closed with ${event.code} (${name})${reason}`;
}

function span(name, ...content) {
  const element = document.createElement("span");
  element.className = name;
  element.append(...content);
  return element;
}

function timeOf(date, text) {
  const element = document.createElement("time");
  element.dateTime = date.toISOString();
  element.textContent = text;
  return element;
}

// A reader who has scrolled up stays there.
function appendTo(list, view, items) {
  const follow = view.scrollHeight - view.scrollTop - view.clientHeight < FOLLOW_PIXELS_MAX;
  list.append(...items);
  while (list.childElementCount > LIST_ENTRIES_MAX) list.firstElementChild.remove();
  if (follow) view.scrollTop = view.scrollHeight;
}
