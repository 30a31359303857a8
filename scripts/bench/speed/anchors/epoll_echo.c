/* `C`: the same work on epoll alone, one thread: what is left when nothing but the system calls and the work is there.
   It finds members of the JSON by searching for their names, which a real parser would not. */
#define _GNU_SOURCE
#include "../wire.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BUFFER = 16384, CALLS = 20000, EVENTS = 256 };

struct call {
    uint8_t in[BUFFER];
    size_t in_size;
    int chunk;
    bool is_open;
};

static struct call *calls[CALLS];
static int16_t to_pcm[256];
static uint8_t to_ulaw[65536];

static void prepare_codec(void)
{
    for (int code = 0; code < 256; code++) {
        int bits = ~code & 0xFF, magnitude = ((((bits & 0x0F) << 3) + 0x84) << ((bits & 0x70) >> 4)) - 0x84;
        to_pcm[code] = (int16_t)(bits & 0x80 ? -magnitude : magnitude);
    }
    for (int sample = -32768; sample < 32768; sample++) {
        int magnitude = (abs(sample) > 32635 ? 32635 : abs(sample)) + 0x84, segment = 24 - __builtin_clz((unsigned)magnitude);
        int code = (sample < 0 ? 0x80 : 0) | segment << 4 | (magnitude >> (segment + 3) & 0x0F);
        to_ulaw[sample & 0xFFFF] = (uint8_t)~code;
    }
}

static void send_all(int fd, const void *data, size_t size)
{
    if (send(fd, data, size, MSG_NOSIGNAL) != (ssize_t)size)
        shutdown(fd, SHUT_RDWR); /* nobody here lets so much wait */
}

static void echo(int fd, struct call *call, const char *text, size_t size)
{
    static uint8_t ulaw[BUFFER], frame[2 * BUFFER];
    static int16_t pcm[BUFFER];
    size_t sid_size = 0, payload_size = 0;
    const char *sid = member(text, size, "\"streamSid\"", &sid_size);
    const char *payload = member(text, size, "\"payload\"", &payload_size);
    if (!sid || !payload)
        return;
    long samples = base64_decode(ulaw, payload, payload_size);
    for (long i = 0; i < samples; i++)
        pcm[i] = to_pcm[ulaw[i]];
    for (long i = 0; i < samples; i++)
        ulaw[i] = to_ulaw[(uint16_t)pcm[i]];
    char *out = (char *)frame + MAX_HEADER;
    int head = sprintf(out, "{\"event\":\"media\",\"streamSid\":\"%.*s\",\"media\":{\"payload\":\"", (int)sid_size, sid);
    size_t written = (size_t)head + base64_encode(out + head, ulaw, samples > 0 ? (size_t)samples : 0);
    written += (size_t)sprintf(out + written, "\",\"chunk\":%d}}", ++call->chunk);
    uint8_t header[MAX_HEADER];
    size_t header_size = ws_header(header, OP_TEXT, written, false);
    memcpy(out - header_size, header, header_size);
    send_all(fd, out - header_size, header_size + written);
}

/* The generator does not look at Sec-WebSocket-Accept, so none is computed. */
static void answer(int fd, struct call *call)
{
    static const char accepted[] = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
    if (!memmem(call->in, call->in_size, "\r\n\r\n", 4))
        return;
    call->is_open = true;
    call->in_size = 0;
    send_all(fd, accepted, sizeof accepted - 1);
}

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
        ws_mask(call->in + at + frame.header, frame.size, frame.key);
        if (frame.opcode == OP_TEXT)
            echo(fd, call, (char *)call->in + at + frame.header, frame.size);
        else if (frame.opcode == OP_CLOSE)
            shutdown(fd, SHUT_RDWR);
        at += frame.header + frame.size;
    }
    call->in_size -= at;
    memmove(call->in, call->in + at, call->in_size);
}

int main(int count, char **words)
{
    base64_prepare();
    prepare_codec();
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    address.sin_port = htons((uint16_t)atoi(count > 1 ? words[1] : "0"));
    int listener = socket(AF_INET, SOCK_STREAM, 0), epoll = epoll_create1(0);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
    if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 1024))
        return 1;
    epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &(struct epoll_event){.events = EPOLLIN, .data.fd = listener});
    for (struct epoll_event events[EVENTS];;) {
        int ready = epoll_wait(epoll, events, EVENTS, -1);
        for (int i = 0; i < ready; i++) {
            int fd = events[i].data.fd;
            if (fd != listener) {
                serve(fd, calls[fd]);
                continue;
            }
            int accepted = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
            if (accepted < 0 || accepted >= CALLS)
                continue;
            setsockopt(accepted, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
            calls[accepted] = calls[accepted] ? calls[accepted] : malloc(sizeof(struct call));
            memset(calls[accepted], 0, sizeof(struct call));
            epoll_ctl(epoll, EPOLL_CTL_ADD, accepted, &(struct epoll_event){.events = EPOLLIN, .data.fd = accepted});
        }
    }
}
