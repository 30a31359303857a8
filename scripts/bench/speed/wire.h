/* What the programs in C share: base64, mu-law, WebSocket frames (RFC 6455, 5.2), and clocks.
   Nothing here allocates. Strict where a mistake would hide a server's: a payload that is no base64 is reported. */
#ifndef WIRE_H
#define WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { OP_CONTINUATION = 0, OP_TEXT = 1, OP_BINARY = 2, OP_CLOSE = 8, OP_PING = 9, OP_PONG = 10 };
enum { MAX_HEADER = 14 };

static inline int64_t clock_ns(clockid_t clock)
{
    struct timespec at;
    clock_gettime(clock, &at);
    return at.tv_sec * INT64_C(1000000000) + at.tv_nsec;
}

static const char base64_digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
static int8_t base64_values[256];

static inline void base64_prepare(void)
{
    memset(base64_values, -1, sizeof base64_values);
    for (int i = 0; i < 64; i++)
        base64_values[(uint8_t)base64_digits[i]] = (int8_t)i;
}

/* Writes the base64 of `size` bytes, with padding; returns how many characters. */
static inline size_t base64_encode(char *out, const uint8_t *in, size_t size)
{
    char *to = out;
    size_t at = 0;
    for (; at + 3 <= size; at += 3) {
        uint32_t three = (uint32_t)in[at] << 16 | (uint32_t)in[at + 1] << 8 | in[at + 2];
        *to++ = base64_digits[three >> 18];
        *to++ = base64_digits[three >> 12 & 63];
        *to++ = base64_digits[three >> 6 & 63];
        *to++ = base64_digits[three & 63];
    }
    if (at < size) {
        uint32_t rest = (uint32_t)in[at] << 16 | (at + 1 < size ? (uint32_t)in[at + 1] << 8 : 0);
        *to++ = base64_digits[rest >> 18];
        *to++ = base64_digits[rest >> 12 & 63];
        *to++ = at + 1 < size ? base64_digits[rest >> 6 & 63] : '=';
        *to++ = '=';
    }
    return (size_t)(to - out);
}

/* Decodes `size` characters; returns how many bytes, or -1 if this is not base64. `out` has room for 3/4 of it. */
static inline long base64_decode(uint8_t *out, const char *in, size_t size)
{
    if (size % 4)
        return -1;
    size_t padding = size && in[size - 1] == '=' ? (in[size - 2] == '=' ? 2 : 1) : 0;
    uint8_t *to = out;
    for (size_t at = 0; at < size; at += 4) {
        int bits = 0;
        for (size_t i = 0; i < 4; i++) {
            int value = base64_values[(uint8_t)in[at + i]];
            if (value < 0 && !(at + i >= size - padding))
                return -1;
            bits = bits << 6 | (value < 0 ? 0 : value);
        }
        *to++ = (uint8_t)(bits >> 16);
        *to++ = (uint8_t)(bits >> 8);
        *to++ = (uint8_t)bits;
    }
    return (long)(to - out) - (long)padding;
}

/* Returns a sample's mu-law (G.711). */
static inline uint8_t ulaw_of(int sample)
{
    int magnitude = (abs(sample) > 32635 ? 32635 : abs(sample)) + 0x84, segment = 24 - __builtin_clz((unsigned)magnitude);
    return (uint8_t)~((sample < 0 ? 0x80 : 0) | segment << 4 | (magnitude >> (segment + 3) & 0x0F));
}

/* Finds the text of a member, `"name": "text"`, anywhere in a message; returns its start, its length in `length`. */
static inline const char *member(const char *text, size_t size, const char *quoted_name, size_t *length)
{
    const char *end = text + size, *at = memmem(text, size, quoted_name, strlen(quoted_name));
    if (!at)
        return NULL;
    at += strlen(quoted_name);
    while (at < end && (*at == ' ' || *at == ':'))
        at++;
    if (at >= end || *at != '"')
        return NULL;
    const char *stop = memchr(at + 1, '"', (size_t)(end - at - 1));
    if (!stop)
        return NULL;
    *length = (size_t)(stop - at - 1);
    return at + 1;
}

/* A frame at the beginning of `data`: its place and kind. */
struct ws_frame {
    int opcode;
    bool is_final, is_masked;
    size_t header, size;
    uint8_t key[4];
};

/* Returns false if the frame is not complete yet. */
static inline bool ws_parse(const uint8_t *data, size_t size, struct ws_frame *frame)
{
    if (size < 2)
        return false;
    frame->is_final = data[0] & 0x80;
    frame->opcode = data[0] & 0x0F;
    frame->is_masked = data[1] & 0x80;
    frame->size = data[1] & 0x7F;
    frame->header = 2;
    size_t extra = frame->size == 126 ? 2 : frame->size == 127 ? 8 : 0;
    if (size < 2 + extra + (frame->is_masked ? 4 : 0))
        return false;
    if (extra) {
        frame->size = 0;
        for (size_t i = 0; i < extra; i++)
            frame->size = frame->size << 8 | data[2 + i];
        frame->header += extra;
    }
    if (frame->is_masked) {
        memcpy(frame->key, data + frame->header, 4);
        frame->header += 4;
    }
    return size - frame->header >= frame->size;
}

/* Writes a header before a payload of this size; returns its length. A mask's key, if any, follows by the caller's hand. */
static inline size_t ws_header(uint8_t *out, int opcode, size_t size, bool is_masked)
{
    uint8_t mask = is_masked ? 0x80 : 0;
    out[0] = (uint8_t)(0x80 | opcode);
    if (size < 126) {
        out[1] = (uint8_t)(mask | size);
        return 2;
    }
    if (size < 65536) {
        out[1] = mask | 126;
        out[2] = (uint8_t)(size >> 8);
        out[3] = (uint8_t)size;
        return 4;
    }
    out[1] = mask | 127;
    for (int i = 0; i < 8; i++)
        out[2 + i] = (uint8_t)((uint64_t)size >> (56 - 8 * i));
    return 10;
}

/* Masks in place, eight bytes at a time. */
static inline void ws_mask(uint8_t *data, size_t size, const uint8_t key[4])
{
    uint64_t wide;
    memcpy(&wide, key, 4);
    memcpy((uint8_t *)&wide + 4, key, 4);
    size_t at = 0;
    for (; at + 8 <= size; at += 8) {
        uint64_t eight;
        memcpy(&eight, data + at, 8);
        eight ^= wide;
        memcpy(data + at, &eight, 8);
    }
    for (; at < size; at++)
        data[at] ^= key[at % 4];
}

#endif
