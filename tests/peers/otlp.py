"""Traces as a collector gets them: a receiver of OTLP over HTTP, with OpenTelemetry's own messages (opentelemetry-proto,
from PyPI), and what two pods are told by traceparent.

`make test-peers` installs that into the cache folder and runs this with the debug binary.
"""

import gzip
import http.client
import http.server
import socketserver
import sys
import threading
import time

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from rig import manifest, narthex, until

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
received, told = [], []


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True


class Receiver(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        assert self.path == "/v1/traces", self.path
        assert self.headers["content-type"] == "application/x-protobuf"
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            for scope in resource.scope_spans:
                received.extend((resource.resource, scope.scope, span) for span in scope.spans)
        answer = ExportTraceServiceResponse().SerializeToString()
        self.send_response(200)
        self.send_header("content-type", "application/x-protobuf")
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass


class Pod(http.server.BaseHTTPRequestHandler):
    """Fails the first request for /retry, wherever that comes to."""

    failed = False

    def do_GET(self):
        told.append((self.path, self.headers["traceparent"], self.headers["tracestate"]))
        status = 200
        if self.path == "/retry" and not Pod.failed:
            Pod.failed, status = True, 503
        self.send_response(status)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


def start(handler):
    server = Server(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_address[1]


def two(pods):
    """One Service of both, which tries twice what a pod answers with 503."""
    said = manifest("a", pods[0])
    said = said.replace("{name: a}\nspec: {ports", '{name: a, annotations: {narthex.io/retries: "1", narthex.io/retry-on: "503"}}\nspec: {ports')
    second = said.split("---\n")[1].replace("{name: a,", "{name: b,").replace(f"port: {pods[0]}", f"port: {pods[1]}")
    return said + second


def plain(pairs):
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in pairs}


def get(address, path, fields):
    client = http.client.HTTPConnection(*address, timeout=10)
    client.request("GET", path, headers={"Host": "a.test", **fields})
    status = client.getresponse().status
    client.close()
    return status


def spans(path):
    """All spans of the one request for this path: the server's, and those of attempts."""
    server = [span for _, _, span in received if span.kind == Span.SPAN_KIND_SERVER]
    server = [span for span in server if plain(span.attributes)["url.path"] == path]
    if not server:
        return None
    (server,) = server
    attempts = [span for _, _, span in received if span.parent_span_id == server.span_id]
    return server, sorted(attempts, key=lambda span: span.start_time_unix_nano)


def main(binary):
    collector, pods = start(Receiver), [start(Pod), start(Pod)]
    flags = ["--otlp-endpoint", f"http://127.0.0.1:{collector}", "--otlp-sample", "1", "--pod", "node-a"]
    with narthex(binary, two(pods), *flags) as running:
        address = ("127.0.0.1", running.http)
        before = time.time_ns()
        fields = {"traceparent": f"00-{TRACE}-{PARENT}-00", "tracestate": "x=1"}
        assert get(address, "/one?secret=1", fields) == 200
        until("a trace comes", lambda: spans("/one"))
        server, (attempt,) = spans("/one")
        assert server.trace_id.hex() == TRACE and server.parent_span_id.hex() == PARENT
        assert server.name == "GET /" and server.status.code == Status.STATUS_CODE_UNSET
        said = plain(server.attributes)
        for name, value in {
            "http.request.method": "GET",
            "url.scheme": "http",
            "url.path": "/one",
            "http.route": "/",
            "http.response.status_code": 200,
            "server.address": "a.test",
            "client.address": "127.0.0.1",
            "network.protocol.version": "1.1",
        }.items():
            assert said[name] == value, (name, said)
        assert said["narthex.origin"].startswith("Ingress default/"), said
        assert "secret" not in str(received), "a query is nobody else's business"
        assert before <= server.start_time_unix_nano <= attempt.start_time_unix_nano
        assert attempt.start_time_unix_nano < attempt.end_time_unix_nano <= server.end_time_unix_nano + 1_000_000
        assert attempt.kind == Span.SPAN_KIND_CLIENT and attempt.trace_id == server.trace_id
        said = plain(attempt.attributes)
        assert said["server.port"] in pods and said["http.response.status_code"] == 200, said
        (pod,) = [one for one in told if one[0].startswith("/one")]
        assert pod[1:] == (f"00-{TRACE}-{attempt.span_id.hex()}-01", "x=1"), pod
        resource, scope, _ = received[0]
        about = plain(resource.attributes)
        assert about["service.name"] == "narthex" and about["service.instance.id"] == "node-a", about
        assert scope.name == "narthex"

        # Each attempt has a span of its own, and each pod is told another.
        assert get(address, "/retry", {"tracestate": "x=1"}) == 200
        until("the retry comes", lambda: spans("/retry"))
        server, attempts = spans("/retry")
        assert not server.parent_span_id and server.trace_id.hex() != TRACE
        first, second = (plain(span.attributes) for span in attempts)
        assert (first["http.response.status_code"], first["error.type"]) == (503, "503"), first
        assert attempts[0].status.code == Status.STATUS_CODE_ERROR and "http.request.resend_count" not in first
        assert (second["http.response.status_code"], second["http.request.resend_count"]) == (200, 1), second
        assert attempts[0].end_time_unix_nano <= attempts[1].start_time_unix_nano
        expected = [f"00-{server.trace_id.hex()}-{span.span_id.hex()}-01" for span in attempts]
        # Without a valid traceparent, tracestate belongs to nothing.
        assert [one[1:] for one in told if one[0] == "/retry"] == [(field, None) for field in expected], told
        # What was not yet sent goes out at the end.
        assert get(address, "/last", {}) == 200
    assert spans("/last"), "the last trace is lost"
    print("traces: a collector gets them as they are meant")


if __name__ == "__main__":
    main(sys.argv[1])
