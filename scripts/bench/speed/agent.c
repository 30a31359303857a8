/* The far agent of the benchmark of legs: it says at once what it hears, in the words of the service that it is.

       agent 8765

   The path of a connection says which: `/twilio` (media events; also the platform's own form, so that the load generator
   can call it without a bridge between them), `/raw` (binary audio of any format), `/openai` (the Realtime API). It touches
   no audio: the base64 goes back as it came. */
#define _GNU_SOURCE
#include "serving.h"

static char out[MAX_HEADER + 2 * BUFFER];

static void say(int fd, const char *text)
{
    size_t size = (size_t)sprintf(out + MAX_HEADER, "%s", text);
    send_message(fd, OP_TEXT, out + MAX_HEADER, size);
}

static void take_open(int fd, struct call *call, const char *request)
{
    (void)call;
    if (strncmp(request, "GET /openai", 11) == 0)
        say(fd, "{\"type\":\"session.created\",\"event_id\":\"e\",\"session\":{\"type\":\"realtime\"}}");
}

static void echo_between(int fd, const char *before, const char *payload, size_t size, const char *after)
{
    int written = sprintf(out + MAX_HEADER, "%s%.*s%s", before, (int)size, payload, after);
    send_message(fd, OP_TEXT, out + MAX_HEADER, (size_t)written);
}

static void take_openai(int fd, const char *text, size_t size, const char *type, size_t type_size)
{
    static const char updated[] =
        "{\"type\":\"session.updated\",\"event_id\":\"e\",\"session\":{\"type\":\"realtime\",\"audio\":{\"output\":"
        "{\"format\":{\"type\":\"audio/pcmu\"}}}}}";
    static const char delta[] =
        "{\"type\":\"response.output_audio.delta\",\"event_id\":\"event_BbLNSvfa3Vh9TcZVs3sPc\",\"response_id\":"
        "\"resp_BbLNSxGCkTx4KKUEU9Qvx\",\"item_id\":\"item_BbLNSkpUvJNcZc1HSxVJ3\",\"output_index\":0,\"content_index\":0,"
        "\"delta\":\"";
    size_t audio_size = 0;
    const char *audio = member(text, size, "\"audio\"", &audio_size);
    if (type_size == 14 && memcmp(type, "session.update", 14) == 0)
        say(fd, updated);
    else if (audio && type_size == 25 && memcmp(type, "input_audio_buffer.append", 25) == 0)
        echo_between(fd, delta, audio, audio_size, "\"}");
}

static void take_message(int fd, struct call *call, int opcode, char *data, size_t size)
{
    (void)call;
    size_t length = 0, sid_size = 0;
    if (opcode == OP_BINARY) {
        memcpy(out + MAX_HEADER, data, size);
        send_message(fd, OP_BINARY, out + MAX_HEADER, size);
        return;
    }
    const char *type = member(data, size, "\"type\"", &length);
    if (type) {
        take_openai(fd, data, size, type, length);
        return;
    }
    const char *payload = member(data, size, "\"payload\"", &length), *sid = member(data, size, "\"streamSid\"", &sid_size);
    char before[256];
    if (!payload || !sid || sid_size > 64)
        return;
    sprintf(before, "{\"event\":\"media\",\"streamSid\":\"%.*s\",\"media\":{\"payload\":\"", (int)sid_size, sid);
    echo_between(fd, before, payload, length, "\"}}");
}

int main(int count, char **words) { return serve_for_ever(atoi(count > 1 ? words[1] : "0")); }
