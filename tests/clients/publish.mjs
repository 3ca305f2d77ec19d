#!/usr/bin/env node
// Publishes in every way that Node has of sending a body, to a running ringsock.
//
//     node tests/clients/publish.mjs 127.0.0.1:9000 KEY
//
// The server runs with its default limits and this --api-key.

import assert from "node:assert/strict";
import { once } from "node:events";
import http from "node:http";
import { Readable } from "node:stream";

const [address = "127.0.0.1:9000", key = "key"] = process.argv.slice(2);
const url = `http://${address}/api/publish?topic=a`;

/** The status of a request by Node's http, whose body `send` writes. */
async function request(headers, send) {
  const request = http.request(url, { method: "POST", headers: { "X-API-Key": key, ...headers }, agent: false });
  const answered = once(request, "response");
  await send(request);
  const [answer] = await answered;
  answer.resume();
  await once(answer, "end");
  return answer.statusCode;
}

async function fetched(init) {
  const answer = await fetch(url, { method: "POST", headers: { "X-API-Key": key }, ...init });
  await answer.text();
  return answer.status;
}

const ways = {
  "http.request, end(body)": () => request({}, (it) => it.end("hi")),
  "http.request, write() and end()": () =>
    request({}, (it) => {
      it.write("h");
      it.write("i");
      it.end();
    }),
  "http.request, a pipe": () => request({}, (it) => Readable.from(["h", "i"]).pipe(it)),
  "http.request with Expect": () =>
    request({ Expect: "100-continue" }, async (it) => {
      it.flushHeaders();
      await once(it, "continue");
      it.end("hi");
    }),
  "http.request with Expect and a length": () =>
    request({ Expect: "100-continue", "Content-Length": 2 }, async (it) => {
      it.flushHeaders();
      await once(it, "continue");
      it.end("hi");
    }),
  "http.request with trailers": () =>
    request({ Trailer: "X-Sum" }, (it) => {
      it.write("hi");
      it.addTrailers({ "X-Sum": "1" });
      it.end();
    }),
  "fetch with a string": () => fetched({ body: "hi" }),
  "fetch with bytes": () => fetched({ body: new Uint8Array([1, 2]) }),
  "fetch with a stream": () => fetched({ body: Readable.toWeb(Readable.from([Buffer.from("hi")])), duplex: "half" }),
  "fetch without a body": () => fetched({}),
};

const ALL_MS_MAX = 60000;
setTimeout(() => {
  console.error(`not done after ${ALL_MS_MAX} ms`);
  process.exit(1);
}, ALL_MS_MAX).unref();

for (const [name, send] of Object.entries(ways)) {
  assert.equal(await send(), 200, name);
  console.log(`ok ${name}`);
}
