// Node's own HTTP/2 server, which answers every request with an empty gRPC message and nothing else in between: the floor under a gRPC
// server on Node. node bench/http2-server.mjs SOCKET
import { createServer } from "node:http2";

const message = Buffer.alloc(5);
createServer()
  .on("stream", (stream) => {
    stream.on("data", () => {});
    stream.respond({ "content-type": "application/grpc+proto" }, { waitForTrailers: true });
    stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0" }));
    stream.end(message);
  })
  .listen(process.argv[2], () => console.log("ready"));
