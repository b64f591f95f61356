// A pod on Node's own HTTP server, for exchanges.py: node node_pod.js PORT
const http = require("http");

const left = []; // when requests ended that were not answered to their end

http
  .createServer((request, response) => {
    const socket = request.socket;
    const [, what, point] = request.url.split("/");
    response.on("close", () => {
      if (!response.writableFinished) left.push(Date.now());
    });
    switch (what) {
      case "refuse":
        response.writeHead(413, { "Content-Length": 8, Connection: "close" });
        return response.end("too big\n");
      // Node sees the end of a connection only as long as it reads from it.
      case "slow":
        return request.resume();
      case "events":
        request.resume();
        response.writeHead(200, { "Content-Type": "text/event-stream" });
        return response.write("data: 1\n\n");
      case "left":
        return response.end(JSON.stringify(left));
      case "chunked":
        response.write("some ");
        return response.end("words\n");
      case "cut": {
        const said = [
          "",
          "HTTP/1.1 200 OK\r\nContent-Le",
          "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n",
          "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nsome",
          "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nsome",
          "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nsome\r\n",
          "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nsome\r\n0\r\n",
        ][point];
        return socket.write(said, () => socket.destroy());
      }
      default:
        request.resume();
        return request.on("end", () => response.end("ok\n"));
    }
  })
  .listen(Number(process.argv[2]), "127.0.0.1");
