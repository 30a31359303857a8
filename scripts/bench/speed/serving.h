/* What the programs in C serve with: one thread, one epoll, WebSockets (RFC 6455), each message given to `take_message`.
   Include it once, behind `#define _GNU_SOURCE`. Nothing here lets anything wait: who does not read is let go. */
#ifndef SERVING_H
#define SERVING_H

#include "wire.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BUFFER = 16384, CALLS = 20000, EVENTS = 256, HEADER_CHARACTERS = 4096 };

struct call {
    uint8_t in[BUFFER];
    size_t in_size;
    int count; /* of messages sent, for whoever numbers them */
    bool is_open;
};

static struct call *calls[CALLS];

/* The program's own. A path is that of the request, up to its end. */
static void take_open(int fd, struct call *call, const char *request);
static void take_message(int fd, struct call *call, int opcode, char *data, size_t size);

static void send_all(int fd, const void *data, size_t size)
{
    if (send(fd, data, size, MSG_NOSIGNAL) != (ssize_t)size)
        shutdown(fd, SHUT_RDWR); /* nobody here lets so much wait */
}

/* Sends a message; `data` has MAX_HEADER bytes of room in front of it. */
static void send_message(int fd, int opcode, char *data, size_t size)
{
    uint8_t header[MAX_HEADER];
    size_t header_size = ws_header(header, opcode, size, false);
    memcpy(data - header_size, header, header_size);
    send_all(fd, data - header_size, header_size + size);
}

/* --- The handshake: SHA-1 (RFC 3174) of the client's key, for clients that look at it */

static uint32_t rotate(uint32_t word, int bits) { return word << bits | word >> (32 - bits); }

static void sha1_block(uint32_t state[5], const uint8_t block[64])
{
    static const uint32_t constants[4] = {0x5A827999, 0x6ED9EBA1, 0x8F1BBCDC, 0xCA62C1D6};
    uint32_t words[80], a = state[0], b = state[1], c = state[2], d = state[3], e = state[4];
    for (int i = 0; i < 16; i++)
        words[i] = (uint32_t)block[4 * i] << 24 | (uint32_t)block[4 * i + 1] << 16 | (uint32_t)block[4 * i + 2] << 8 | block[4 * i + 3];
    for (int i = 16; i < 80; i++)
        words[i] = rotate(words[i - 3] ^ words[i - 8] ^ words[i - 14] ^ words[i - 16], 1);
    for (int i = 0; i < 80; i++) {
        uint32_t mixed = i < 20 ? (b & c) | (~b & d) : i >= 40 && i < 60 ? (b & c) | (b & d) | (c & d) : b ^ c ^ d;
        uint32_t next = rotate(a, 5) + mixed + e + constants[i / 20] + words[i];
        e = d, d = c, c = rotate(b, 30), b = a, a = next;
    }
    state[0] += a, state[1] += b, state[2] += c, state[3] += d, state[4] += e;
}

/* Writes what `Sec-WebSocket-Accept` is for a key of 24 characters: 28 characters and the end. */
static void accept_of(char out[29], const char key[24])
{
    uint32_t state[5] = {0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476, 0xC3D2E1F0};
    uint8_t blocks[128] = {0}, digest[20];
    memcpy(blocks, key, 24);
    memcpy(blocks + 24, "258EAFA5-E914-47DA-95CA-C5AB0DC85B11", 36);
    blocks[60] = 0x80;
    blocks[126] = 60 * 8 >> 8, blocks[127] = 60 * 8 & 0xFF;
    sha1_block(state, blocks);
    sha1_block(state, blocks + 64);
    for (int i = 0; i < 20; i++)
        digest[i] = (uint8_t)(state[i / 4] >> (24 - 8 * (i % 4)));
    out[base64_encode(out, digest, sizeof digest)] = 0;
}

static void answer(int fd, struct call *call)
{
    static const char key_name[] = "Sec-WebSocket-Key: ";
    char request[HEADER_CHARACTERS], accepted[29], out[256];
    if (!memmem(call->in, call->in_size, "\r\n\r\n", 4))
        return;
    size_t size = call->in_size < sizeof request ? call->in_size : sizeof request - 1;
    memcpy(request, call->in, size);
    request[size] = 0;
    const char *key = strcasestr(request, key_name);
    if (!key || strlen(key) < sizeof key_name - 1 + 24) { /* a probe of the port */
        shutdown(fd, SHUT_RDWR);
        return;
    }
    accept_of(accepted, key + sizeof key_name - 1);
    int written = snprintf(out, sizeof out,
                           "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                           "Sec-WebSocket-Accept: %s\r\n\r\n",
                           accepted);
    call->is_open = true;
    call->in_size = 0;
    send_all(fd, out, (size_t)written);
    take_open(fd, call, request);
}

/* --- Messages */

static void serve(int fd, struct call *call)
{
    ssize_t got = recv(fd, call->in + call->in_size, BUFFER - call->in_size, 0);
    if (got <= 0) {
        close(fd);
        return;
    }
    call->in_size += (size_t)got;
    if (!call->is_open) {
        answer(fd, call);
        return;
    }
    size_t at = 0;
    struct ws_frame frame;
    while (ws_parse(call->in + at, call->in_size - at, &frame)) {
        char *data = (char *)call->in + at + frame.header;
        ws_mask((uint8_t *)data, frame.size, frame.key);
        if (frame.opcode == OP_TEXT || frame.opcode == OP_BINARY)
            take_message(fd, call, frame.opcode, data, frame.size);
        else if (frame.opcode == OP_CLOSE)
            shutdown(fd, SHUT_RDWR);
        at += frame.header + frame.size;
    }
    call->in_size -= at;
    memmove(call->in, call->in + at, call->in_size);
}

static void welcome(int listener, int epoll)
{
    int accepted = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
    if (accepted < 0 || accepted >= CALLS)
        return;
    setsockopt(accepted, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    calls[accepted] = calls[accepted] ? calls[accepted] : malloc(sizeof(struct call));
    memset(calls[accepted], 0, sizeof(struct call));
    epoll_ctl(epoll, EPOLL_CTL_ADD, accepted, &(struct epoll_event){.events = EPOLLIN, .data.fd = accepted});
}

/* Serves on a port of this machine for ever; returns only where it cannot. */
static int serve_for_ever(int port)
{
    base64_prepare();
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    address.sin_port = htons((uint16_t)port);
    int listener = socket(AF_INET, SOCK_STREAM, 0), epoll = epoll_create1(0);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
    if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 1024))
        return 1;
    epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &(struct epoll_event){.events = EPOLLIN, .data.fd = listener});
    for (struct epoll_event events[EVENTS];;) {
        int ready = epoll_wait(epoll, events, EVENTS, -1);
        for (int i = 0; i < ready; i++) {
            if (events[i].data.fd == listener)
                welcome(listener, epoll);
            else
                serve(events[i].data.fd, calls[events[i].data.fd]);
        }
    }
}

#endif
