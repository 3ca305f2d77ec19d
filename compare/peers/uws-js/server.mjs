// uWebSockets.js: `node server.mjs PORT`. /echo sends back, /topics/… publishes to all who are there.

// Not its fallback in plain JavaScript, which would be another server.
import { createRequire } from "node:module";

const binary = `uws_${process.platform}_${process.arch}_${process.versions.modules}.node`;
const uws = createRequire(import.meta.url)(`@trufflesuite/uws-js-unofficial/binaries/${binary}`);

const port = Number(process.argv[2]);
const common = {
  compression: uws.DISABLED,
  maxPayloadLength: 64 * 1024,
  maxBackpressure: 1024 * 1024,
  idleTimeout: 120,
};
const app = uws.App();

app.ws("/echo", {
  ...common,
  message: (socket, message, isBinary) => socket.send(message, isBinary),
});
app.ws("/topics/:name", {
  ...common,
  open: (socket) => socket.subscribe("all"),
  message: (_socket, message, isBinary) => app.publish("all", message, isBinary),
});
app.listen("127.0.0.1", port, (listening) => {
  if (!listening) {
    console.error(`Port ${port} cannot be listened on.`);
    process.exit(1);
  }
});
