/* `C`: the same work on epoll alone, one thread: what is left when nothing but the system calls and the work is there.
   It finds members of the JSON by searching for their names, which a real parser would not. */
#define _GNU_SOURCE
#include "../serving.h"

static int16_t to_pcm[256];
static uint8_t to_ulaw[65536];

static void prepare_codec(void)
{
    for (int code = 0; code < 256; code++) {
        int bits = ~code & 0xFF, magnitude = ((((bits & 0x0F) << 3) + 0x84) << ((bits & 0x70) >> 4)) - 0x84;
        to_pcm[code] = (int16_t)(bits & 0x80 ? -magnitude : magnitude);
    }
    for (int sample = -32768; sample < 32768; sample++)
        to_ulaw[sample & 0xFFFF] = ulaw_of(sample);
}

static void take_open(int fd, struct call *call, const char *request) { (void)fd, (void)call, (void)request; }

static void take_message(int fd, struct call *call, int opcode, char *text, size_t size)
{
    static uint8_t ulaw[BUFFER];
    static int16_t pcm[BUFFER];
    static char frame[2 * BUFFER];
    size_t sid_size = 0, payload_size = 0;
    const char *sid = member(text, size, "\"streamSid\"", &sid_size);
    const char *payload = member(text, size, "\"payload\"", &payload_size);
    if (opcode != OP_TEXT || !sid || !payload)
        return;
    long samples = base64_decode(ulaw, payload, payload_size);
    for (long i = 0; i < samples; i++)
        pcm[i] = to_pcm[ulaw[i]];
    for (long i = 0; i < samples; i++)
        ulaw[i] = to_ulaw[(uint16_t)pcm[i]];
    char *out = frame + MAX_HEADER;
    int head = sprintf(out, "{\"event\":\"media\",\"streamSid\":\"%.*s\",\"media\":{\"payload\":\"", (int)sid_size, sid);
    size_t written = (size_t)head + base64_encode(out + head, ulaw, samples > 0 ? (size_t)samples : 0);
    written += (size_t)sprintf(out + written, "\",\"chunk\":%d}}", ++call->count);
    send_message(fd, OP_TEXT, out, written);
}

int main(int count, char **words)
{
    prepare_codec();
    return serve_for_ever(atoi(count > 1 ? words[1] : "0"));
}
