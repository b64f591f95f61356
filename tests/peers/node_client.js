// Node's own HTTP client, for exchanges.py:
//   node node_client.js upload PORT HOST PATH SIZE     prints the status of the reply
//   node node_client.js leave PORT HOST PATH SIZE MS   leaves after so long, within an upload if there is a size
const http = require("http");
const [what, port, host, path, size, after] = process.argv.slice(2);

const request = http.request({
  host: "127.0.0.1",
  port,
  path,
  method: Number(size) ? "POST" : "GET",
  headers: Number(size) ? { Host: host, "Content-Length": size } : { Host: host },
});
request.on("response", (response) => {
  response.resume();
  if (what === "upload") {
    console.log(response.statusCode);
    process.exit(0);
  }
});
request.on("error", (error) => {
  console.log(error.code);
  process.exit(1);
});
if (what === "upload") {
  request.end(Buffer.alloc(Number(size), "x"));
} else {
  if (Number(size)) request.write(Buffer.alloc(Number(size) / 2, "x"));
  else request.end();
  setTimeout(() => {
    request.destroy();
    console.log(Date.now());
    process.exit(0);
  }, Number(after));
}
