/* What the load generator says: the platform's messages, in the form of its examples. */
#define _GNU_SOURCE
#include "generator.h"
#include "wire.h"

#include <stdio.h>

static int stream(const struct call *call) { return options.first_number + call->number; }

static void write_six_bits(uint8_t *to, int count, uint32_t value)
{
    for (int i = count - 1; i >= 0; i--, value >>= 6)
        to[i] = (uint8_t)(0x80 | (value & 63));
}

void send_frame(struct call *call, int epoll, int64_t now)
{
    if (call->state != OPEN || call->sent >= frames_each)
        return;
    uint8_t mark[WATERMARK_BYTES];
    memcpy(mark, MAGIC, 2);
    write_six_bits(mark + 2, 3, (uint32_t)call->number);
    write_six_bits(mark + 5, 4, call->sent);
    char mark_base64[13] = "", text[MAX_PAYLOAD * 4 / 3 + 256];
    base64_encode(mark_base64, mark, WATERMARK_BYTES);
    long timestamp_ms = (long)call->sent * options.payload_bytes / 8;
    int size = snprintf(
        text, sizeof text,
        "{\"event\":\"media\",\"sequenceNumber\":\"%u\",\"streamSid\":\"MZ%032d\",\"media\":{\"chunk\":\"%u\","
        "\"timestamp\":\"%ld\",\"payload\":\"%s%s\"}}",
        ++call->sequence, stream(call), call->sent + 1, timestamp_ms, mark_base64, sounds_base64[call->sent % BANK]);
    call->sent_ns[call->sent++] = now;
    totals.frames_sent++;
    send_message(call, epoll, OP_TEXT, text, (size_t)size);
}

void press_key(struct call *call, int epoll, int64_t now)
{
    char text[160];
    int size = snprintf(text, sizeof text,
                        "{\"event\":\"dtmf\",\"sequenceNumber\":\"%u\",\"streamSid\":\"MZ%032d\",\"dtmf\":{\"digit\":\"1\"}}",
                        ++call->sequence, stream(call));
    if (call->state != OPEN || call->pressed_ns)
        return;
    call->pressed_ns = now;
    totals.presses++;
    send_message(call, epoll, OP_TEXT, text, (size_t)size);
}

void send_start(struct call *call, int epoll)
{
    static const char connected[] = "{\"event\":\"connected\"}";
    char text[512];
    send_message(call, epoll, OP_TEXT, connected, sizeof connected - 1);
    int size = snprintf(
        text, sizeof text,
        "{\"event\":\"start\",\"sequenceNumber\":\"%u\",\"streamSid\":\"MZ%032d\",\"start\":{\"accountSid\":\"AC77\","
        "\"streamSid\":\"MZ%032d\",\"callSid\":\"1758000000.%d\",\"from\":\"919800000001\",\"to\":\"918000000099\","
        "\"direction\":\"inbound\",\"mediaFormat\":{\"encoding\":\"audio/x-mulaw\",\"sampleRate\":8000,\"bitRate\":64,"
        "\"bitDepth\":8},\"customParameters\":{}}}",
        ++call->sequence, stream(call), stream(call), stream(call));
    if (call->state == OPEN)
        send_message(call, epoll, OP_TEXT, text, (size_t)size);
}

void end_call(struct call *call, int epoll)
{
    char text[160];
    int size = snprintf(text, sizeof text, "{\"event\":\"stop\",\"sequenceNumber\":\"%u\",\"streamSid\":\"MZ%032d\",\"stop\":{}}",
                        ++call->sequence, stream(call));
    if (call->state == OPEN)
        send_message(call, epoll, OP_TEXT, text, (size_t)size);
    if (call->state == OPEN)
        send_message(call, epoll, OP_CLOSE, "\x03\xe8", 2);
}
