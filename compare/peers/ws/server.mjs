// ws for Node.js: `node server.mjs PORT`. /echo sends back, /topics/… publishes to all who are there.

import { WebSocketServer } from "ws";

const server = new WebSocketServer({ host: "127.0.0.1", port: Number(process.argv[2]), maxPayload: 64 * 1024 });
const subscribers = new Set();

server.on("connection", (socket, request) => {
  socket.on("error", () => socket.terminate());
  if (!request.url.startsWith("/topics/")) {
    socket.on("message", (message, isBinary) => socket.send(message, { binary: isBinary }));
    return;
  }
  subscribers.add(socket);
  socket.on("close", () => subscribers.delete(socket));
  socket.on("message", (message, isBinary) => {
    for (const subscriber of subscribers) {
      subscriber.send(message, { binary: isBinary });
    }
  });
});
