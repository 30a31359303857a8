/* One call of the load generator: its connection, and the judgement of what comes back.

   A frame begins with a watermark: two bytes by which it is known, the call's number and the frame's, six bits a byte with
   the highest bit set. So mu-law to PCM16 and back leaves it as it is: of all codes only 0x7F, the negative zero, does not
   survive that, and no sound here has it. The rest of a frame is noise of all levels, and is compared as well. */
#define _GNU_SOURCE
#include "generator.h"
#include "wire.h"

#include <arpa/inet.h>
#include <errno.h>
#include <math.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

static uint8_t sounds[BANK][MAX_PAYLOAD];
char sounds_base64[BANK][MAX_PAYLOAD * 4 / 3 + 8];
static uint32_t chance = 2463534242u;

static uint32_t draw(void)
{
    chance ^= chance << 13;
    chance ^= chance >> 17;
    return chance ^= chance << 5;
}

/* Mostly below 1 kHz, and at half of full scale at most, as speech is. No sound has the negative zero. */
static uint8_t tone_at(int sound, int sample)
{
    double turn = 2 * M_PI * sample / 8000;
    return ulaw_of((int)(9000 * sin(turn * (200 + 5 * sound)) + 4000 * sin(turn * (450 + 3 * sound)) + 1000 * sin(turn * 1300)));
}

void prepare_sounds(void)
{
    base64_prepare();
    for (int sound = 0; sound < BANK; sound++) {
        for (int i = 0; i < options.payload_bytes; i++) {
            uint8_t code = options.is_smooth ? tone_at(sound, i) : (uint8_t)(draw() >> 8);
            sounds[sound][i] = code == 0x7F ? 0x7E : code;
        }
        size_t size = (size_t)options.payload_bytes - WATERMARK_BYTES;
        sounds_base64[sound][base64_encode(sounds_base64[sound], sounds[sound] + WATERMARK_BYTES, size)] = 0;
    }
}

static uint32_t read_six_bits(const uint8_t *from, int count)
{
    uint32_t value = 0;
    for (int i = 0; i < count; i++)
        value = value << 6 | (from[i] & 63);
    return value;
}

/* --- Sending */

static void watch(struct call *call, int epoll, int operation)
{
    uint32_t events = EPOLLIN | (call->wants_write ? (uint32_t)EPOLLOUT : 0);
    epoll_ctl(epoll, operation, call->fd, &(struct epoll_event){.events = events, .data.u32 = (uint32_t)call->number});
}

static void lose(struct call *call)
{
    if (call->state == GONE)
        return;
    if (call->state == OPEN)
        totals.gone_early += !is_over;
    else
        totals.failed++;
    close(call->fd);
    call->state = GONE;
}

static void flush(struct call *call, int epoll)
{
    ssize_t written = send(call->fd, call->out, call->out_size, MSG_NOSIGNAL);
    if (written < 0 && errno != EAGAIN) {
        lose(call);
        return;
    }
    if (written > 0) {
        call->out_size -= (size_t)written;
        memmove(call->out, call->out + written, call->out_size);
    }
    if ((call->out_size > 0) != call->wants_write) {
        call->wants_write = call->out_size > 0;
        totals.blocked += call->wants_write;
        watch(call, epoll, EPOLL_CTL_MOD);
    }
}

/* As a client must: masked, with a key of its own. */
void send_message(struct call *call, int epoll, int opcode, const char *text, size_t size)
{
    if (call->out_size + size + MAX_HEADER > OUT_BYTES) {
        lose(call); /* the server has not read for a long time */
        return;
    }
    uint8_t *to = call->out + call->out_size, key[4];
    uint32_t drawn = draw();
    memcpy(key, &drawn, 4);
    size_t header = ws_header(to, opcode, size, true);
    memcpy(to + header, key, 4);
    memcpy(to + header + 4, text, size);
    ws_mask(to + header + 4, size, key);
    call->out_size += header + 4 + size;
    if (!call->is_reading)
        flush(call, epoll);
}

/* --- Receiving */

static void complete(struct call *call, int epoll, int64_t now)
{
    int64_t frame = call->current;
    totals.frames_back++;
    call->back++;
    call->times_back[frame] += call->times_back[frame] < 255;
    totals.disordered += frame < call->newest_back;
    if (frame > call->newest_back)
        call->newest_back = frame;
    if (measure_from_ns && call->sent_ns[frame] >= measure_from_ns && call->sent_ns[frame] < measure_to_ns)
        note(&totals.latency, now - call->sent_ns[frame]);
    call->current = -1;
    if ((options.window || call->owed) && !is_over) {
        call->owed -= call->owed > 0;
        send_frame(call, epoll, now);
    }
}

/* Judges 160 bytes of what came back. */
static void take_unit(struct call *call, int epoll, const uint8_t *unit, int64_t now)
{
    int skip = 0;
    if (call->current < 0) {
        static const uint8_t silence[8] = {255, 255, 255, 255, 255, 255, 255, 255};
        if (memcmp(unit, silence, sizeof silence) == 0) {
            totals.silence_units++;
            return;
        }
        uint32_t number = read_six_bits(unit + 2, 3), frame = read_six_bits(unit + 5, 4);
        if (memcmp(unit, MAGIC, 2) != 0 || number != (uint32_t)call->number || frame >= call->sent) {
            totals.corrupt++;
            return;
        }
        call->current = frame;
        call->current_bytes = 0;
        skip = WATERMARK_BYTES;
    }
    const uint8_t *sound = sounds[call->current % BANK] + call->current_bytes;
    if (memcmp(unit + skip, sound + skip, (size_t)(UNIT_BYTES - skip)) != 0) {
        totals.corrupt++;
        call->current = -1;
        return;
    }
    call->current_bytes += UNIT_BYTES;
    if (call->current_bytes == options.payload_bytes)
        complete(call, epoll, now);
}

/* Counts what has been at another rate meanwhile: frame n is back when so many bytes are. */
static void take_counted(struct call *call, int epoll, long bytes, int64_t now)
{
    call->current_bytes += bytes;
    for (; call->current_bytes >= options.payload_bytes && call->back < call->sent; call->current_bytes -= options.payload_bytes) {
        call->current = call->back;
        complete(call, epoll, now);
    }
    totals.unexpected += call->current_bytes >= options.payload_bytes;
}

static void take_text(struct call *call, int epoll, const char *text, size_t size, int64_t now)
{
    static uint8_t audio[IN_BYTES];
    size_t length;
    const char *payload = member(text, size, "\"payload\"", &length);
    if (!payload) {
        const char *event = member(text, size, "\"event\"", &length);
        if (event && length == 5 && memcmp(event, "clear", 5) == 0 && call->pressed_ns) {
            totals.clears++;
            note(&totals.clear, now - call->pressed_ns);
            call->pressed_ns = 0;
            call->horizon_ns = 0; /* what was to be played is gone: what follows begins anew */
        }
        return;
    }
    long bytes = base64_decode(audio, payload, length);
    if (bytes <= 0 || (bytes % UNIT_BYTES && !options.is_counting)) {
        totals.unexpected++;
        return;
    }
    totals.messages_back++;
    totals.bytes_back += (uint64_t)bytes;
    note_arrival(call, now, (size_t)bytes);
    if (options.is_counting)
        take_counted(call, epoll, bytes, now);
    for (long at = 0; at < bytes && !options.is_listening && !options.is_counting; at += UNIT_BYTES)
        take_unit(call, epoll, audio + at, now);
}

static void take_frames(struct call *call, int epoll, int64_t now)
{
    size_t at = 0;
    struct ws_frame frame;
    while (call->state == OPEN && ws_parse(call->in + at, call->in_size - at, &frame)) {
        char *payload = (char *)call->in + at + frame.header;
        at += frame.header + frame.size;
        if (frame.opcode == OP_PING)
            send_message(call, epoll, OP_PONG, payload, frame.size);
        else if (frame.opcode == OP_CLOSE)
            lose(call);
        else if ((frame.opcode == OP_TEXT || frame.opcode == OP_BINARY) && frame.is_final && !frame.is_masked)
            take_text(call, epoll, payload, frame.size, now);
        else
            totals.unexpected += frame.opcode != OP_PONG;
    }
    call->in_size -= at;
    memmove(call->in, call->in + at, call->in_size);
    if (call->in_size == IN_BYTES)
        lose(call); /* a message longer than any that belongs here */
}

static void take_answer(struct call *call, int epoll)
{
    const uint8_t *end = memmem(call->in, call->in_size, "\r\n\r\n", 4);
    if (!end)
        return;
    if (memcmp(call->in, "HTTP/1.1 101", 12) != 0) {
        lose(call);
        return;
    }
    size_t answer = (size_t)(end + 4 - call->in);
    call->in_size -= answer;
    memmove(call->in, call->in + answer, call->in_size);
    call->state = OPEN;
    send_start(call, epoll);
}

static void request_upgrade(struct call *call, int epoll)
{
    call->state = UPGRADING;
    call->out_size = (size_t)snprintf(
        (char *)call->out, OUT_BYTES,
        "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
        options.path, options.port);
    flush(call, epoll);
}

void open_call(struct call *call, int epoll)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)options.port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    call->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    setsockopt(call->fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    call->in = malloc(IN_BYTES);
    call->out = malloc(OUT_BYTES);
    call->state = CONNECTING;
    call->wants_write = true;
    watch(call, epoll, EPOLL_CTL_ADD);
    if (connect(call->fd, (struct sockaddr *)&address, sizeof address) < 0 && errno != EINPROGRESS)
        lose(call);
}

void handle_events(struct call *call, int epoll, uint32_t events, int64_t now)
{
    if (call->state == CONNECTING && events & EPOLLOUT)
        request_upgrade(call, epoll);
    else if (call->wants_write && events & EPOLLOUT)
        flush(call, epoll);
    if (call->state == GONE || !(events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
        return;
    ssize_t got = recv(call->fd, call->in + call->in_size, IN_BYTES - call->in_size, 0);
    if (got <= 0) {
        if (got == 0 || errno != EAGAIN)
            lose(call);
        return;
    }
    call->in_size += (size_t)got;
    if (call->state == UPGRADING)
        take_answer(call, epoll);
    call->is_reading = true; /* what the replies of one read make room for leaves together */
    if (call->state == OPEN)
        take_frames(call, epoll, now);
    call->is_reading = false;
    if (call->state == OPEN && call->out_size > 0 && !call->wants_write)
        flush(call, epoll);
}
