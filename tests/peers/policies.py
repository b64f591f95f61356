#!/usr/bin/env python3
"""Policies under load, beside services and changes that misbehave, in about three minutes.

    policies.py NARTHEX [limits|canary|auth|passwords|oauth2 ...]

It needs htpasswd (Debian: apache2-utils), and for `oauth2` the program that OAUTH2_PROXY names.

limits     60 requests at once meet `limit-rps: 5`, on 1, 2 and 16 shards, while 20 objects change each second.
canary     A canary goes from 0 to 100 % in steps while clients ask without a pause.
auth       The authentication service is right, slow, lying and gone in turn, for AUTH_SECONDS (60) in all.
passwords  200 wrong passwords come each second, and another route is asked meanwhile.
oauth2     oauth2-proxy guards a host by the annotations that its documentation gives.

Exits with 1 if a figure is not what it has to be. Times are printed with the load average, since they mean little on a busy machine.
"""

import asyncio
import base64
import os
import pathlib
import random
import subprocess
import sys
import tempfile
import threading
import time

from rig import free_port, narthex, service

PREFIX = "nginx.ingress.kubernetes.io/"
failures = []


def expect(holds, what):
    if not holds:
        failures.append(what)
        print(f"  WRONG: {what}")


# Manifests.


def ingress(name, host, to, **annotations):
    lines = "".join(f"    {PREFIX}{key.replace('_', '-')}: '{value}'\n" for key, value in annotations.items())
    noted = f"  annotations:\n{lines}" if lines else ""
    return f"""apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: {name}
{noted}spec:
  ingressClassName: nginx
  rules:
  - host: {host}
    http: {{paths: [{{path: /, pathType: Prefix, backend: {{service: {{name: {to}, port: {{number: 80}}}}}}}}]}}
---
"""


def running(binary, manifests, *flags):
    return narthex(binary, manifests, "--drop-in", "ingress-nginx", "--log-level", "error", *flags)


# Servers and clients of a few lines each: what they are asked is a head without a body.


class Server:
    """Answers each head by what `answer` makes of it, a text or a coroutine of one, and counts."""

    def __init__(self, answer):
        self.answer, self.port = answer, free_port()
        self.heads, self.connections = [], 0
        self.loop, self.server = None, None
        self.open()

    def open(self):
        ready = threading.Event()

        async def serve():
            self.loop, self.stopped = asyncio.get_running_loop(), asyncio.Event()
            self.writers = set()
            server = await asyncio.start_server(self.talk, "127.0.0.1", self.port)
            ready.set()
            await self.stopped.wait()
            server.close()
            for writer in self.writers:
                writer.transport.abort()

        self.thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
        self.thread.start()
        ready.wait()

    def close(self):
        self.loop.call_soon_threadsafe(self.stopped.set)
        self.thread.join()

    async def talk(self, reader, writer):
        self.connections += 1
        self.writers.add(writer)
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                self.heads.append(head)
                answer = self.answer(head)
                if asyncio.iscoroutine(answer):
                    answer = await answer
                writer.write(answer.encode())
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            self.writers.discard(writer)
            writer.close()


def reply(status, body="ok\n"):
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n{body}"


class Client:
    """One kept connection, which is opened anew where it was closed."""

    def __init__(self, port):
        self.port, self.writer = port, None

    async def ask(self, host, fields="", path="/", method="GET", content=""):
        """Status, head and body."""
        if self.writer is None:
            self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port)
        self.writer.write(f"{method} {path} HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n{content}".encode())
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
        lower = head.lower()
        body = b""
        if "transfer-encoding: chunked" in lower:
            while (size := int(await self.reader.readline(), 16)) > 0:
                body += (await self.reader.readexactly(size + 2))[:-2]
            await self.reader.readline()
        elif "content-length: " in lower:
            body = await self.reader.readexactly(int(lower.split("content-length: ")[1].split("\r\n")[0]))
        if "connection: close" in lower:
            self.close()
        return int(head.split(" ")[1]), head, body.decode()

    def close(self):
        if self.writer:
            self.writer.close()
        self.writer = None


def percentile(values, share):
    values = sorted(values)
    return values[min(len(values) - 1, int(share * len(values)))] if values else float("nan")


def busy():
    return f"load average {os.getloadavg()[0]:.1f}"


# What is tried.


def limits(binary):
    pod = Server(lambda head: reply("200 OK"))
    for shards in (1, 2, 16):
        rules = {"pod": service("web", pod.port), "limited": ingress("limited", "limited.test", "web", limit_rps=5)}
        with running(binary, rules, "--shards", str(shards)) as one:
            over = threading.Event()

            def change():
                changes = 0
                while not over.wait(0.05):
                    name = f"other{changes % 20}"
                    one.write(name, ingress(name, f"{name}.test", "web", limit_rps=changes + 1))
                    changes += 1
                print(f"  {changes} objects changed")

            changer = threading.Thread(target=change)
            changer.start()

            async def once(client):
                status = (await client.ask("limited.test"))[0]
                client.close()
                return status

            async def run():
                statuses = await asyncio.gather(*(once(Client(one.http)) for _ in range(60)))
                burst = statuses.count(200)
                began = time.monotonic()
                later = []
                client = Client(one.http)
                # The bucket is full: what passes from now on is what leaks.
                while time.monotonic() - began < 6:
                    if (await client.ask("limited.test"))[0] == 200:
                        later.append(time.monotonic() - began)
                    await asyncio.sleep(0.005)
                return burst, statuses.count(503), later

            burst, refused, later = asyncio.run(run())
            over.set()
            changer.join()
            gaps = [after - before for before, after in zip(later, later[1:])]
            print(f"limits: {shards} shards: {burst} of 60 at once passed, {refused} got 503; then {len(later)} in 6 s, "
                  f"{percentile(gaps, 0.5) * 1000:.0f} ms apart (median); {busy()}")
            # 60 requests take a moment, in which the bucket leaks.
            expect(26 <= burst <= 27 and burst + refused == 60, f"{burst} of 60 passed with {shards} shards, instead of 26")
            expect(28 <= len(later) <= 31, f"{len(later)} passed in 6 s with {shards} shards, instead of 30")


def canary(binary):
    old, new = Server(lambda head: reply("200 OK", "old\n")), Server(lambda head: reply("200 OK", "new\n"))

    def rules(weight, mark):
        # The mark is in the same file, so that it becomes live with the weight.
        return (ingress("main", "canary.test", "old") + ingress("mark", "mark.test", "old", permanent_redirect=f"https://mark.test/{mark}")
                + ingress("canary", "canary.test", "new", canary="true", canary_weight=weight))

    start = {"old": service("old", old.port), "new": service("new", new.port), "rules": rules(0, 0)}
    with running(binary, start, "--shards", "2") as one:
        counts, failed, over, times, shares, step = {}, [], False, [], [], 0

        async def load(client):
            while not over:
                try:
                    status, _, body = await client.ask("canary.test")
                    if status != 200:
                        failed.append(status)
                    counts[step, body.strip()] = counts.get((step, body.strip()), 0) + 1
                except (OSError, asyncio.IncompleteReadError) as error:
                    failed.append(str(error))
                    client.close()

        async def run():
            nonlocal step, over
            clients = [asyncio.create_task(load(Client(one.http))) for _ in range(16)]
            watcher = Client(one.http)
            await asyncio.sleep(1)
            opened = None
            for mark, weight in enumerate([*range(0, 101, 5), *range(95, -1, -5)], 1):
                step = None
                began = time.monotonic()
                one.write("rules", rules(weight, mark))
                while f"https://mark.test/{mark}\r\n" not in (await watcher.ask("mark.test"))[1]:
                    if time.monotonic() - began > 5:
                        sys.exit("a step never became live")
                times.append((time.monotonic() - began) * 1000)
                # Those under way have the weight of before.
                await asyncio.sleep(0.05)
                step = mark, weight
                await asyncio.sleep(0.5)
                if weight == 50 and opened is None:
                    opened = old.connections + new.connections
            over = True
            await asyncio.gather(*clients)
            return opened

        opened = asyncio.run(run())
        for key in {key for key, _ in counts if key}:
            before, after = counts.get((key, "old"), 0), counts.get((key, "new"), 0)
            shares.append((key[1], after / (before + after)))
        total = sum(counts.values())
        worst = max(abs(share - weight / 100) for weight, share in shares)
        print(f"canary: {len(times)} steps, {total} requests, {len(failed)} failed; live after {percentile(times, 0.5):.1f} ms (p50), "
              f"{max(times):.1f} ms (most); shares at most {worst * 100:.1f} points off; {opened} connections to pods at first, "
              f"{old.connections + new.connections} at the end; {busy()}")
        expect(not failed, f"requests failed: {failed[:5]}")
        expect(all(share == weight / 100 for weight, share in shares if weight in (0, 100)), "0 and 100 are exact")
        expect(worst < 0.1, f"a share is {worst} off")
        expect(old.connections + new.connections <= 2 * 2 * 16, "connections to pods were dropped")


def auth(binary):
    seconds = float(os.environ.get("AUTH_SECONDS", "60"))
    mode = "right"

    async def slowly(text):
        await asyncio.sleep(2.5)
        return text

    def says(head):
        verdict = reply("200 OK") if "x-token: good" in head.lower() else reply("401 Unauthorized")
        lies = [
            "SSH-2.0-OpenSSH_9.2\r\n",
            reply("500 Internal Server Error"),
            "HTTP/1.1 200\r\nContent-Length: 5, 6\r\n\r\nhello",
            "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n",
            "HTTP/1.1 204\r\n Folded: x\r\n\r\n",
            "\x00" * 64,
        ]
        if mode == "slow":
            return slowly(verdict)
        # While it is going away it may still be asked.
        return {"right": verdict, "lying": random.choice(lies), "gone": reply("502 Bad Gateway")}[mode]

    pod, service_of_auth = Server(lambda head: reply("200 OK")), Server(says)
    url = "http://auth.default.svc.cluster.local/verify"
    rules = {"pod": service("web", pod.port), "auth": service("auth", service_of_auth.port),
             "rules": ingress("a", "a.test", "web", auth_url=url) + ingress("open", "open.test", "web")}
    with running(binary, rules, "--shards", "2") as one:
        statuses, over, broken = {}, False, []

        async def load(good):
            client = Client(one.http)
            while not over:
                try:
                    fields = f"X-Token: {'good' if good else 'bad'}\r\n"
                    status = (await client.ask("a.test", fields))[0]
                except (OSError, asyncio.IncompleteReadError) as error:
                    broken.append(str(error))
                    client.close()
                    continue
                key = mode, "good" if good else "bad", status
                statuses[key] = statuses.get(key, 0) + 1
                await asyncio.sleep(0.002)

        async def others():
            client, times = Client(one.http), []
            while not over:
                began = time.monotonic()
                status = (await client.ask("open.test"))[0]
                expect(status == 200, f"another route got {status}")
                times.append((time.monotonic() - began) * 1000)
                await asyncio.sleep(0.01)
            return times

        async def run():
            nonlocal mode, over
            clients = [asyncio.create_task(load(index % 2 == 0)) for index in range(12)]
            other = asyncio.create_task(others())
            began = time.monotonic()
            while time.monotonic() - began < seconds:
                for mode in ("right", "slow", "lying", "gone"):
                    if mode == "gone":
                        await asyncio.to_thread(service_of_auth.close)
                    await asyncio.sleep(seconds / 12)
                    if mode == "gone":
                        await asyncio.to_thread(service_of_auth.open)
            over = True
            times = await other
            await asyncio.gather(*clients)
            return times

        times = asyncio.run(run())
        came = [head for head in pod.heads if "host: a.test" in head.lower()]
        strangers = [head for head in came if "x-token: good" not in head.lower()]
        print(f"auth: {sum(statuses.values())} requests, {len(came)} reached the pod, {len(strangers)} of them without the right; "
              f"another route: p99 {percentile(times, 0.99):.1f} ms; {busy()}")
        for key in sorted(statuses):
            print(f"  service {key[0]:6} client {key[1]:5} {key[2]}: {statuses[key]}")
        expect(not strangers, "a request reached the pod unauthorised")
        expect(not broken, f"connections broke: {broken[:3]}")
        expect(statuses.get(("right", "good", 200), 0) > 0, "nobody came in at all")


def passwords(binary):
    pod = Server(lambda head: reply("200 OK"))
    users = subprocess.run(["htpasswd", "-nbB", "-C", "10", "ann", "right"], capture_output=True, text=True, check=True).stdout.strip()
    secret = f"apiVersion: v1\nkind: Secret\nmetadata: {{name: users}}\nstringData: {{auth: '{users}'}}\n---\n"
    guarded = ingress("a", "a.test", "web", auth_type="basic", auth_secret="users")
    rules = {"pod": service("web", pod.port), "rules": secret + guarded + ingress("open", "open.test", "web")}
    with running(binary, rules, "--shards", "2") as one:

        async def other(seconds):
            client, times, end = Client(one.http), [], time.monotonic() + seconds
            while time.monotonic() < end:
                began = time.monotonic()
                status = (await client.ask("open.test"))[0]
                expect(status == 200, f"another route got {status}")
                times.append((time.monotonic() - began) * 1000)
                await asyncio.sleep(0.005)
            return times

        async def guess(number, statuses):
            client = Client(one.http)
            token = base64.b64encode(f"user{number}:wrong{number}".encode()).decode()
            status = (await client.ask("a.test", f"Authorization: Basic {token}\r\n"))[0]
            statuses[status] = statuses.get(status, 0) + 1
            client.close()

        async def run():
            quiet = await other(8)
            statuses, guesses = {}, []

            async def attack():
                for number in range(1600):
                    guesses.append(asyncio.create_task(guess(number, statuses)))
                    await asyncio.sleep(1 / 200)

            attacker = asyncio.create_task(attack())
            loaded = await other(8)
            await attacker
            await asyncio.gather(*guesses)
            return quiet, loaded, statuses

        quiet, loaded, statuses = asyncio.run(run())
        print(f"passwords: 200 wrong ones a second got {dict(sorted(statuses.items()))}; another route's p99: {percentile(quiet, 0.99):.2f} ms "
              f"when quiet, {percentile(loaded, 0.99):.2f} ms meanwhile; {busy()}")
        expect(set(statuses) <= {401, 503}, f"wrong passwords got {statuses}")
        expect(not [head for head in pod.heads if "a.test" in head], "a wrong password reached the pod")


def oauth2(binary):
    program = os.environ.get("OAUTH2_PROXY") or sys.exit("OAUTH2_PROXY has to name the program")
    pod, port = Server(lambda head: reply("200 OK")), free_port()
    prefix, paths = "http: {paths: [{path: /, pathType: Prefix", "http: {paths: [{path: /oauth2, pathType: Prefix"
    guarded = ingress("app", "app.test", "web", auth_url="http://proxy.default.svc.cluster.local/oauth2/auth",
                      auth_signin="http://$host/oauth2/start?rd=$escaped_request_uri",
                      auth_response_headers="X-Auth-Request-User, X-Auth-Request-Email")
    rules = guarded + ingress("signin", "app.test", "proxy").replace(prefix, paths)
    with tempfile.TemporaryDirectory() as folder:
        users = pathlib.Path(folder, "users")
        subprocess.run(["htpasswd", "-cbB", users, "ann", "right"], capture_output=True, check=True)
        flags = {"http-address": f"127.0.0.1:{port}", "provider": "github", "client-id": "x", "client-secret": "x", "email-domain": "*",
                 "cookie-secret": "0123456789abcdef", "cookie-secure": "false", "htpasswd-file": users, "set-xauthrequest": "true",
                 "upstream": "static://202", "reverse-proxy": "true", "whitelist-domain": "app.test"}
        proxy = subprocess.Popen([program, *(f"--{name}={value}" for name, value in flags.items())],
                                 stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            with running(binary, {"pod": service("web", pod.port), "proxy": service("proxy", port), "rules": rules}) as one:

                async def run():
                    client = Client(one.http)
                    for _ in range(500):
                        if (await client.ask("app.test", path="/oauth2/sign_in"))[0] == 200:
                            break
                        await asyncio.sleep(0.02)
                    status, head, _ = await client.ask("app.test", path="/inbox?a=b")
                    expect(status == 302 and "location: http://app.test/oauth2/start?rd=%2Finbox%3Fa%3Db\r\n" in head.lower().replace("%2f", "%2F")
                           .replace("%3f", "%3F").replace("%3d", "%3D"), f"a stranger is sent to the sign-in page: {head}")
                    expect(not pod.heads, "a stranger reached the pod")
                    form = "username=ann&password=right&rd=%2Finbox"
                    fields = f"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(form)}\r\n"
                    status, head, _ = await client.ask("app.test", fields, "/oauth2/sign_in", "POST", form)
                    cookies = [line.split(" ", 1)[1].split(";")[0] for line in head.split("\r\n") if line.lower().startswith("set-cookie:")]
                    expect(status == 302 and cookies, f"signing in: {head}")
                    forged = "X-Auth-Request-User: root\r\n"
                    status, head, _ = await client.ask("app.test", f"Cookie: {'; '.join(cookies)}\r\n{forged}", "/inbox")
                    got = pod.heads[-1].lower() if pod.heads else ""
                    expect(status == 200 and "x-auth-request-user: ann\r\n" in got and "root" not in got, f"with the cookie: {head}{got}")
                    status, _, _ = await client.ask("app.test", f"Cookie: {cookies[0][:-4]}AAAA\r\n", "/inbox")
                    expect(status == 302, f"a forged cookie got {status}")

                asyncio.run(run())
        finally:
            proxy.terminate()
            proxy.wait()
    print("oauth2: oauth2-proxy let in whom it should")


if len(sys.argv) < 2:
    sys.exit(__doc__)
for trial in sys.argv[2:] or ["limits", "canary", "auth", "passwords", "oauth2"]:
    {"limits": limits, "canary": canary, "auth": auth, "passwords": passwords, "oauth2": oauth2}[trial](sys.argv[1])
sys.exit(f"{len(failures)} figures are wrong" if failures else 0)
