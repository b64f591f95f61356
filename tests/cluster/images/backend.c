/* The backend of our test clusters: HTTP/1.1 with keep-alive, and every answer is the pod's own name.
 *
 *   GET /anything   200, the host name and a newline
 *   GET /echo...    200, the request head as it arrived
 *   GET /status/N   status N, the host name and a newline
 *
 * Environment: PORT (default 80), GRACE_MS (default 0).
 * On SIGTERM it does what nginx does on SIGQUIT, the stop signal of its image: it stops listening (after GRACE_MS, if
 * set), closes idle connections, answers what it has begun to read, and is gone within a second.
 * One thread, poll, no heap per request. Bodies are read by Content-Length and dropped; chunked ones get 411.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MAX_CONNECTIONS = 1024, HEAD_LIMIT = 16384, LAST_WORDS_MS = 800 };

struct connection {
    size_t used;      /* bytes in head[] */
    long long body;   /* bytes of a request body still to be dropped */
    char head[HEAD_LIMIT + 1];
};

static struct pollfd sockets[MAX_CONNECTIONS + 1]; /* [0] is the listener */
static struct connection *connections[MAX_CONNECTIONS + 1];
static int count = 1;
static volatile sig_atomic_t stopping;
static char name[256];

static void on_term(int signal_number) { (void)signal_number; stopping = 1; }

static long long now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000LL + t.tv_nsec / 1000000;
}

static void drop(int i) {
    close(sockets[i].fd);
    free(connections[i]);
    count--;
    sockets[i] = sockets[count];
    connections[i] = connections[count];
}

/* Answers are far smaller than a socket buffer: a short write means a peer that does not read, and is dropped. */
static int put(int fd, const char *bytes, size_t length) {
    return send(fd, bytes, length, MSG_NOSIGNAL) == (ssize_t)length ? 0 : -1;
}

static const char *header(const char *head, const char *key) {
    size_t length = strlen(key);
    for (const char *line = strstr(head, "\r\n"); line; line = strstr(line + 2, "\r\n"))
        if (!strncasecmp(line + 2, key, length) && line[2 + length] == ':') {
            const char *value = line + 3 + length;
            while (*value == ' ') value++;
            return value;
        }
    return NULL;
}

/* Answers one request, whose head (without the empty line) is a string. Returns -1 when the connection must close. */
static int answer(int fd, struct connection *c, const char *head) {
    static char out[HEAD_LIMIT + 1024];
    char line[300];
    const char *path = strchr(head, ' '), *connection = header(head, "Connection"), *length = header(head, "Content-Length");
    int status = 200, is_head = !strncmp(head, "HEAD ", 5);
    path = path ? path + 1 : "/";
    snprintf(line, sizeof line, "%s\n", name);
    const char *body = line;
    if (!strncmp(path, "/status/", 8)) status = atoi(path + 8);
    if (status < 200 || status > 599) status = 400;
    if (!strncmp(path, "/echo", 5)) body = head;
    int old = strstr(head, " HTTP/1.0") != NULL;
    int close_after = stopping || (connection && !strncasecmp(connection, "close", 5)) ||
                      (old && !(connection && !strncasecmp(connection, "keep-alive", 10)));
    if (header(head, "Transfer-Encoding")) { status = 411; close_after = 1; }
    c->body = length ? atoll(length) : 0;
    int n = snprintf(out, sizeof out,
                     "HTTP/1.1 %d %s\r\nContent-Type: text/plain\r\nContent-Length: %zu\r\nX-Pod: %s\r\n%s\r\n%s", status,
                     status == 200 ? "OK" : "Status", strlen(body), name, close_after ? "Connection: close\r\n" : "",
                     is_head ? "" : body);
    if (n < 0 || n >= (int)sizeof out) return -1;
    return put(fd, out, (size_t)n) || close_after ? -1 : 0;
}

/* Takes what has arrived. Returns -1 when the connection is over. */
static int readable(int fd, struct connection *c) {
    ssize_t got = recv(fd, c->head + c->used, HEAD_LIMIT - c->used, MSG_DONTWAIT);
    if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR)) return -1;
    if (got < 0) return 0;
    c->used += (size_t)got;
    for (;;) {
        size_t body = c->body < (long long)c->used ? (size_t)c->body : c->used;
        memmove(c->head, c->head + body, c->used - body);
        c->used -= body;
        c->body -= (long long)body;
        c->head[c->used] = 0;
        char *end = c->body ? NULL : memmem(c->head, c->used, "\r\n\r\n", 4);
        if (!end) return c->used == HEAD_LIMIT ? -1 : 0;
        *end = 0;
        size_t taken = (size_t)(end - c->head) + 4;
        if (answer(fd, c, c->head)) return -1;
        memmove(c->head, c->head + taken, c->used - taken);
        c->used -= taken;
    }
}

static void welcome(int listener) {
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC), on = 1;
    if (fd < 0) return;
    struct connection *c = count <= MAX_CONNECTIONS ? calloc(1, sizeof *c) : NULL;
    if (!c) { close(fd); return; }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    connections[count] = c;
    sockets[count++] = (struct pollfd){.fd = fd, .events = POLLIN};
}

int main(void) {
    const char *port = getenv("PORT"), *grace = getenv("GRACE_MS");
    struct sockaddr_in6 address = {.sin6_family = AF_INET6, .sin6_port = htons((unsigned short)atoi(port ? port : "80"))};
    struct sigaction term = {.sa_handler = on_term};
    int on = 1, off = 0;
    sigaction(SIGTERM, &term, NULL);
    sigaction(SIGINT, &term, NULL);
    gethostname(name, sizeof name - 1);
    int listener = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    socklen_t size = sizeof address;
    if (listener >= 0) setsockopt(listener, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    else {  /* a kernel without IPv6 */
        struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = address.sin6_port};
        memcpy(&address, &four, size = sizeof four);
        listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    }
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(listener, (struct sockaddr *)&address, size) || listen(listener, 512)) { perror("backend: listen"); return 1; }
    fcntl(listener, F_SETFL, O_NONBLOCK);
    sockets[0] = (struct pollfd){.fd = listener, .events = POLLIN};

    long long told = 0, grace_ms = grace ? atoll(grace) : 0;
    for (;;) {
        if (stopping && !told) told = now_ms();
        if (told && listener >= 0 && now_ms() - told >= grace_ms) {
            close(listener);
            sockets[0].fd = listener = -1;
            for (int i = count - 1; i > 0; i--)
                if (!connections[i]->used && !connections[i]->body && poll(&sockets[i], 1, 0) == 0) drop(i);
        }
        if (told && (listener < 0 && (count == 1 || now_ms() - told >= grace_ms + LAST_WORDS_MS))) return 0;
        if (poll(sockets, (nfds_t)count, told ? 20 : 200) <= 0) continue;
        for (int i = count - 1; i > 0; i--)
            if (sockets[i].revents && readable(sockets[i].fd, connections[i])) drop(i);
        if (sockets[0].fd >= 0 && sockets[0].revents) welcome(listener);
    }
}
