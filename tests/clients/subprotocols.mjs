#!/usr/bin/env node
// The npm package `ws`, and the WebSocket of Node itself where it has one, ask a running ringsock for subprotocols.
//
//     node tests/clients/subprotocols.mjs 127.0.0.1:9000
//
// The server runs with `--set handshake.subprotocols=chat,v2.example`. The package comes from target/node.

import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";

const packages = fileURLToPath(new URL("../../target/node/", import.meta.url));
const address = process.argv[2] ?? "127.0.0.1:9000";
const TEST_MS_MAX = 60000;

/** The subprotocol in which a message was echoed; rejects if the client does not accept the answer. */
function chosen(WebSocket, path, offered) {
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(`ws://${address}${path}`, offered);
    socket.onopen = () => socket.send("hello");
    socket.onerror = () => reject(new Error("the client gave up"));
    socket.onmessage = ({ data }) => {
      assert.equal(data, "hello");
      resolve(socket.protocol);
      socket.close();
    };
  });
}

setTimeout(() => {
  console.error(`not done after ${TEST_MS_MAX} ms`);
  process.exit(1);
}, TEST_MS_MAX).unref();

const clients = { ws: createRequire(packages)("ws") };
if (globalThis.WebSocket) clients["Node's own WebSocket"] = globalThis.WebSocket;
for (const [name, WebSocket] of Object.entries(clients)) {
  for (const path of ["/echo", "/topics/subprotocols"]) {
    assert.equal(await chosen(WebSocket, path, "chat"), "chat");
    assert.equal(await chosen(WebSocket, path, ["other", "v2.example", "chat"]), "v2.example");
    assert.equal(await chosen(WebSocket, path, []), "");
    // A browser and these clients want one of those that they offer.
    await assert.rejects(chosen(WebSocket, path, ["other", "Chat"]), /gave up/);
    console.log(`ok subprotocols of ${name} on ${path}`);
  }
}
