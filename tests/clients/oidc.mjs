#!/usr/bin/env node
// A certified OpenID provider, the npm package oidc-provider, as the issuer of a ringsock that this test starts:
// discovery over TLS, rotation of its key, opaque tokens by introspection, and a token that was revoked.
//
//     node tests/clients/oidc.mjs [--reactor epoll]
//
// The packages come from target/node, the program from RINGSOCK_BINARY or target/release/ringsock.

import assert from "node:assert/strict";
import { execFileSync, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import http from "node:http";
import https from "node:https";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { fileURLToPath, pathToFileURL } from "node:url";

const packages = fileURLToPath(new URL("../../target/node/", import.meta.url));
const require = createRequire(packages);
const imported = (name) => import(pathToFileURL(require.resolve(name)));
const WebSocket = require("ws");
const { default: Provider } = await imported("oidc-provider");
const { exportJWK, generateKeyPair } = await imported("jose");

const BINARY = process.env.RINGSOCK_BINARY ?? fileURLToPath(new URL("../../target/release/ringsock", import.meta.url));
const TEST_MS_MAX = 60_000;
const COOL_DOWN_MS = 10_200; // between two fetches of a key set
const AUDIENCE = "chat";
const SIGNED = "https://chat.example/signed";
const OPAQUE = "https://chat.example/opaque";

/** A provider with a new key, whose tokens for SIGNED are JSON Web Tokens and those for OPAQUE are not. */
async function provider(iss, kid) {
  const { privateKey } = await generateKeyPair("ES256", { extractable: true });
  const client = { id_token_signed_response_alg: "ES256", redirect_uris: [], response_types: [] };
  const made = new Provider(iss, {
    jwks: { keys: [{ ...(await exportJWK(privateKey)), kid, alg: "ES256", use: "sig" }] },
    clients: [
      { ...client, client_id: "app", client_secret: "app-secret", grant_types: ["client_credentials"] },
      { ...client, client_id: "ring:sock", client_secret: "s3cret+/%", grant_types: ["client_credentials"] },
    ],
    extraTokenClaims: () => ({ roles: ["user"] }),
    ttl: { ClientCredentials: 300 },
    features: {
      clientCredentials: { enabled: true },
      devInteractions: { enabled: false },
      introspection: { enabled: true, allowedPolicy: () => true },
      revocation: { enabled: true, allowedPolicy: () => true },
      resourceIndicators: {
        enabled: true,
        getResourceServerInfo: (_, resource) => ({
          scope: "",
          audience: AUDIENCE,
          accessTokenTTL: 300,
          accessTokenFormat: resource === SIGNED ? "jwt" : "opaque",
          jwt: { sign: { alg: "ES256" } },
        }),
      },
    },
  });
  return made.callback();
}

const directory = mkdtempSync(join(tmpdir(), "ringsock-oidc-"));
const [key, cert, config] = ["key.pem", "cert.pem", "ringsock.toml"].map((name) => join(directory, name));
const names = ["-addext", "subjectAltName=IP:127.0.0.1", "-addext", "basicConstraints=critical,CA:FALSE"];
const pair = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key, "-out", cert];
execFileSync("openssl", ["req", "-x509", "-subj", "/CN=provider", ...names, ...pair], { stdio: "ignore" });

const handler = {};
const serve = (request, answer) => handler.current(request, answer);
const secure = https.createServer({ key: readFileSync(key), cert: readFileSync(cert) }, serve);
// This test itself asks the provider without TLS.
const plain = http.createServer(serve);
for (const server of [secure, plain]) {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
}
const iss = `https://127.0.0.1:${secure.address().port}`;
handler.current = await provider(iss, "first");

/** Sends a form to the provider as a client. */
async function post(path, form) {
  const headers = { Authorization: `Basic ${btoa("app:app-secret")}` };
  const url = `http://127.0.0.1:${plain.address().port}${path}`;
  const answer = await fetch(url, { method: "POST", headers, body: new URLSearchParams(form) });
  assert.ok(answer.ok, `${path}: ${answer.status} ${await answer.clone().text()}`);
  return answer;
}

async function token(resource) {
  const answer = await post("/token", { grant_type: "client_credentials", resource });
  return (await answer.json()).access_token;
}

writeFileSync(
  config,
  `
[[issuer]]
name = "provider"
iss = "${iss}"
audiences = ["${AUDIENCE}"]
discovery = true
introspection-url = "${iss}/token/introspection"
client-id = "ring:sock"
client-secret = "s3cret+/%"

[[role]]
name = "user"
grants = ["subscribe,publish:rooms/*"]
`,
);

const flags = ["serve", "--listen", "127.0.0.1:0", "--admin-listen", "none", "--config", config];
const env = { ...process.env, SSL_CERT_FILE: cert };
const ringsock = spawn(BINARY, [...flags, ...process.argv.slice(2)], { env, stdio: ["ignore", "pipe", "inherit"] });
const end = () => {
  ringsock.kill();
  rmSync(directory, { recursive: true, force: true });
};
setTimeout(() => {
  console.error("the test takes too long");
  end();
  process.exit(1);
}, TEST_MS_MAX).unref();

/** The address that the server is ready on. */
async function ready() {
  let said = "";
  for await (const chunk of ringsock.stdout) {
    said += chunk;
    const found = /ready on ws:\/\/([^/]+)\//.exec(said);
    if (found) return found[1];
  }
  throw new Error(`ringsock ended: ${said}`);
}

/** The status of a handshake with a token, once a message came back if it is 101. */
function connect(address, bearer, topic = "rooms/1") {
  return new Promise((resolve, reject) => {
    const headers = { Authorization: `Bearer ${bearer}` };
    const socket = new WebSocket(`ws://${address}/topics/${topic}`, { headers });
    socket.on("open", () => socket.send("hello"));
    socket.on("message", (data) => {
      assert.equal(data.toString(), "hello");
      socket.close();
      resolve(101);
    });
    socket.on("unexpected-response", (_, answer) => {
      answer.resume();
      resolve(answer.statusCode);
    });
    socket.on("error", reject);
  });
}

try {
  const address = await ready();
  const begun = Date.now();
  const old = await token(SIGNED);
  assert.equal(old.split(".").length, 3);
  assert.equal(await connect(address, old), 101);
  assert.equal(await connect(address, old, "other"), 403);
  console.log("ok a signed token is accepted by the keys that discovery finds");

  const opaque = await token(OPAQUE);
  assert.notEqual(opaque.split(".").length, 3);
  assert.equal(await connect(address, opaque), 101);
  assert.equal(await connect(address, opaque, "other"), 403);
  assert.equal(await connect(address, "unknown"), 401);
  console.log("ok an opaque token is accepted by introspection, and an unknown one is not");

  const revoked = await token(OPAQUE);
  await post("/token/revocation", { token: revoked });
  assert.equal(await connect(address, revoked), 401);
  console.log("ok a token that was revoked at the provider is refused");

  for (const bearer of [old, opaque]) {
    const explained = spawnSync(BINARY, ["token", "explain", "--config", config, "-"], { env, input: bearer });
    // The provider is this process, which waits: its keys cannot be fetched now.
    assert.match(explained.stdout.toString(), /refused: The issuer provider could not be asked: /);
  }
  const explain = spawn(BINARY, ["token", "explain", "--config", config, opaque], { env });
  const explained = (await explain.stdout.toArray()).join("");
  assert.match(explained, /^accepted\n {2}issuer {3}provider\n/);
  assert.match(explained, /grant {4}subscribe,publish:rooms\/\*/);
  console.log("ok ringsock token explain asks the provider, and says so if it cannot");

  handler.current = await provider(iss, "second");
  const renewed = await token(SIGNED);
  await pause(Math.max(0, COOL_DOWN_MS - (Date.now() - begun)));
  const asked = Date.now();
  assert.equal(await connect(address, renewed), 101);
  const waited = Date.now() - asked;
  assert.ok(waited < 1000, `${waited} ms`);
  assert.equal(await connect(address, old), 401);
  console.log(`ok a new key is accepted within a second (${waited} ms), and the withdrawn one is refused`);
} finally {
  end();
  for (const server of [secure, plain]) {
    server.close();
    server.closeAllConnections();
  }
}
