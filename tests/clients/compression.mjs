#!/usr/bin/env node
// The npm package `ws`, which offers permessage-deflate, against a ringsock that agrees to it.
//
//     node tests/clients/compression.mjs 127.0.0.1:9000 shared
//
// The server runs with `--compression shared` or `dedicated`, as the second argument says.

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";

const packages = fileURLToPath(new URL("../../target/node/", import.meta.url));
const WebSocket = createRequire(packages)("ws");

const [address, mode] = process.argv.slice(2);
const TEST_MS_MAX = 60000;
const records = JSON.stringify(Array.from({ length: 600 }, (_, id) => ({ id, name: `käse ${id % 7}`, price: (id * 37) % 1000 })));

async function open(perMessageDeflate) {
  const socket = new WebSocket(`ws://${address}/echo`, { perMessageDeflate });
  await once(socket, "open");
  return socket;
}

async function echo(socket, data) {
  socket.send(data);
  const [message, isBinary] = await once(socket, "message");
  return isBinary ? message : message.toString();
}

const tests = {
  async "agrees, and echoes in both directions"() {
    const socket = await open({ threshold: 0 });
    const { params } = socket._extensions["permessage-deflate"];
    assert.equal(params.server_no_context_takeover ?? false, mode === "shared");
    assert.equal(params.client_no_context_takeover ?? false, mode === "shared");
    for (const data of ["", "a", records, records.slice(0, 300), randomBytes(20000), Buffer.alloc(60000), records])
      assert.deepEqual(await echo(socket, data), data);
    socket.terminate();
  },
  async "sends less than it was sent"() {
    const socket = await open({ threshold: 0 });
    const before = socket._socket.bytesRead;
    await echo(socket, records);
    const read = socket._socket.bytesRead - before;
    assert.ok(read * 2 < records.length, `${read} bytes came for ${records.length}`);
    socket.terminate();
  },
  async "echoes with every window"() {
    for (const bits of [9, 10, 11, 12, 13, 14, 15]) {
      const socket = await open({ threshold: 0, serverMaxWindowBits: bits, clientMaxWindowBits: bits });
      for (let time = 0; time < 3; time++) assert.equal(await echo(socket, records), records);
      socket.terminate();
    }
  },
  async "many sockets share one compressor"() {
    const sockets = await Promise.all(Array.from({ length: 100 }, () => open({ threshold: 0 })));
    for (let time = 0; time < 5; time++) {
      const echoes = await Promise.all(sockets.map((socket, number) => echo(socket, records + number)));
      echoes.forEach((message, number) => assert.equal(message, records + number));
    }
    sockets.forEach((socket) => socket.terminate());
  },
};

for (const [name, test] of Object.entries(tests)) {
  const timer = setTimeout(() => {
    console.error(`FAILED  ws, ${mode}: ${name}: it took more than ${TEST_MS_MAX} ms`);
    process.exit(1);
  }, TEST_MS_MAX);
  await test();
  clearTimeout(timer);
  console.log(`ok  ws, ${mode}: ${name}`);
}
