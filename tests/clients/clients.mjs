#!/usr/bin/env node
// The npm package `ws` and Node's http against a running ringsock.
//
//     node tests/clients/clients.mjs 127.0.0.1:9000
//
// The server runs with its default limits and `--ping-interval-ms 500`. The package comes from target/node.

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import http from "node:http";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";

const packages = fileURLToPath(new URL("../../target/node/", import.meta.url));
const WebSocket = createRequire(packages)("ws");

const address = process.argv[2] ?? "127.0.0.1:9000";
const url = `ws://${address}/echo`;
const MESSAGE_BYTES_MAX = 65536;
const TEST_MS_MAX = 60000;

async function open(options = {}, protocols = []) {
  const socket = new WebSocket(url, protocols, options);
  await once(socket, "open");
  return socket;
}

async function closed(socket) {
  const [code, reason] = await once(socket, "close");
  return [code, reason.toString()];
}

async function close(socket, code, reason) {
  const end = closed(socket);
  socket.close(code, reason);
  return end;
}

async function echo(socket, data) {
  socket.send(data);
  const [message, isBinary] = await once(socket, "message");
  return isBinary ? message : message.toString();
}

/** One request by Node's http; the answer's status and headers. */
async function ask(method, path, headers = {}) {
  const [host, port] = address.split(":");
  const request = http.request({ host, port, method, path, headers, agent: false });
  request.end();
  const [answer] = await once(request, "response");
  answer.resume();
  await once(answer, "end");
  return answer;
}

const tests = {
  async "echoes text and binary"() {
    const socket = await open();
    for (const data of ["", "text", "Grüße, 世界 🌍", "x".repeat(1000)]) assert.equal(await echo(socket, data), data);
    for (const data of [Buffer.alloc(0), randomBytes(125), randomBytes(126), randomBytes(5000)])
      assert.deepEqual(await echo(socket, data), data);
    assert.deepEqual(await close(socket, 1000, ""), [1000, ""]);
  },

  async "joins fragments, with a ping between them"() {
    const socket = await open({ perMessageDeflate: false });
    const message = once(socket, "message");
    const pong = once(socket, "pong");
    socket.send("one ", { fin: false });
    socket.ping("between");
    socket.send("two ", { fin: false });
    socket.send("three", { fin: true });
    assert.equal((await pong)[0].toString(), "between");
    assert.equal((await message)[0].toString(), "one two three");
    await close(socket);
  },

  async "answers pings"() {
    const socket = await open();
    const pong = once(socket, "pong");
    const payload = randomBytes(125);
    socket.ping(payload);
    assert.deepEqual((await pong)[0], payload);
    await close(socket);
  },

  async "pings an idle client"() {
    const socket = await open();
    await once(socket, "ping");
    assert.equal(await echo(socket, "alive"), "alive");
    await close(socket);
  },

  async "echoes a message at the limit and closes with 1009 above it"() {
    const socket = await open();
    const message = randomBytes(MESSAGE_BYTES_MAX);
    assert.deepEqual(await echo(socket, message), message);
    const end = closed(socket);
    socket.send(randomBytes(MESSAGE_BYTES_MAX + 1));
    assert.equal((await end)[0], 1009);
  },

  async "echoes close codes and reasons"() {
    for (const [code, reason] of [[1000, "done"], [1001, "going away"], [3000, "application"], [4999, "Grüße"]])
      assert.deepEqual(await close(await open(), code, reason), [code, reason]);
  },

  async "answers a close without a code"() {
    // 1005 says that the frame had no code; 1000 is as good an answer (RFC 6455, section 5.5.1).
    assert.ok([1000, 1005].includes((await close(await open()))[0]));
  },

  async "chooses no subprotocol and no extension"() {
    const socket = new WebSocket(url);
    await once(socket, "open");
    assert.equal(socket.protocol, "");
    assert.equal(socket.extensions, "");
    await close(socket);
  },

  async "keeps the order of many messages in flight"() {
    const socket = await open();
    const count = 5000;
    const received = [];
    const all = new Promise((resolve) => {
      socket.on("message", (data) => received.push(data.toString()) === count && resolve());
    });
    const sent = Array.from({ length: count }, (_, number) => `message ${number}`);
    for (const message of sent) socket.send(message);
    await all;
    assert.deepEqual(received, sent);
    await close(socket);
  },

  async "serves 200 connections at once"() {
    const sockets = await Promise.all(Array.from({ length: 200 }, () => open()));
    const echoes = await Promise.all(sockets.map((socket, number) => echo(socket, `socket ${number}`)));
    echoes.forEach((text, number) => assert.equal(text, `socket ${number}`));
    await Promise.all(sockets.map((socket) => close(socket, 1000, "")));
  },

  async "refuses what is no upgrade"() {
    const plain = await ask("GET", "/echo");
    assert.equal(plain.statusCode, 426);
    assert.equal(plain.headers["sec-websocket-version"], "13");
    const post = await ask("POST", "/echo");
    assert.equal(post.statusCode, 405);
    assert.equal(post.headers.allow, "GET, HEAD, OPTIONS");
  },

  async "refuses an upgrade of a path that has none"() {
    const socket = new WebSocket(`ws://${address}/no-such-path`);
    const [, answer] = await once(socket, "unexpected-response");
    assert.equal(answer.statusCode, 404);
    socket.on("error", () => {}); // ending a handshake that was refused counts as an error
    socket.terminate();
  },
};

for (const [name, test] of Object.entries(tests)) {
  const start = performance.now();
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not done within ${TEST_MS_MAX} ms`)), TEST_MS_MAX);
  });
  try {
    await Promise.race([test(), late]);
  } catch (fault) {
    console.error(`FAILED ${name}`);
    console.error(fault);
    process.exit(1);
  }
  clearTimeout(timer);
  console.log(`ok ${name} (${((performance.now() - start) / 1000).toFixed(2)} s)`);
}
