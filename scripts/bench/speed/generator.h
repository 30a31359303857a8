/* The load generator: one thread, one epoll, many calls. `generator.c` says what it does and how it is used. */
#ifndef GENERATOR_H
#define GENERATOR_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum {
    UNIT_BYTES = 160,   /* 20 ms of mu-law: everything that comes back is a multiple of it */
    WATERMARK_BYTES = 9, /* at the beginning of each frame: 12 characters of base64 */
    BANK = 64,          /* different sounds; frame n has sound n % BANK */
    MAX_PAYLOAD = 1600,
    MAX_PIDS = 8,
    IN_BYTES = 16384,
    OUT_BYTES = 65536,
};

struct options {
    int port, calls, payload_bytes, window, most_under_way, press_ms, cpu, per_second, watched_core, first_number, n_pids;
    bool is_listening, is_smooth, is_counting;
    int64_t interval_ns, settle_ns, warm_up_ns, measured_ns, report_ns;
    const char *path;
    pid_t pids[MAX_PIDS];
};

enum state { IDLE, CONNECTING, UPGRADING, OPEN, GONE };

/* What came and when: the audio before a message, and the time less that, which is the same for all that are on time. */
struct arrival {
    int64_t at_ns, offset_ns;
};

struct call {
    int fd, number;
    enum state state;
    bool wants_write, is_reading;
    uint8_t *in, *out;
    size_t in_size, out_size;
    /* ours */
    uint32_t sent, sequence; /* frames of audio; messages */
    uint32_t back, owed;     /* frames that came back; that were due, and wait until one has */
    int64_t *sent_ns;        /* when each frame was sent */
    int64_t pressed_ns;      /* when the key was pressed that no clear has followed yet; 0 for none */
    /* theirs */
    uint8_t *times_back; /* of each frame: once is right */
    int64_t newest_back; /* the highest frame that came back; -1 for none */
    int64_t current;     /* the frame of which the beginning has come back; -1 for none */
    int current_bytes;
    int64_t audio_ns, horizon_ns; /* audio received; when it will have been played */
    struct arrival *arrivals;
    size_t n_arrivals, arrivals_room;
};

/* Microseconds, to be sorted once. */
struct figures {
    uint32_t *values;
    size_t count, room;
};

struct totals {
    uint64_t frames_sent, frames_back, bytes_back, messages_back, silence_units, disordered, corrupt, unexpected;
    uint64_t gaps, presses, clears, blocked;
    int64_t longest_gap_ns;
    int failed, gone_early;
    double busy_seconds, stolen_seconds; /* of the watched core, while it was measured */
    struct figures latency, lateness, clear;
};

static const uint8_t MAGIC[2] = {0x55, 0x2A}; /* what a watermark begins with */

/* Set by generator.c, read by all. */
extern struct options options;
extern struct totals totals;
extern struct call *calls;
extern uint32_t frames_each;         /* that a call sends in all, at most */
extern int64_t measure_from_ns, measure_to_ns; /* 0 while nothing is measured */
extern bool is_over;

/* generator_call.c */
extern char sounds_base64[BANK][MAX_PAYLOAD * 4 / 3 + 8]; /* of what follows the watermark */
void prepare_sounds(void);
void open_call(struct call *call, int epoll);
void handle_events(struct call *call, int epoll, uint32_t events, int64_t now);
void send_message(struct call *call, int epoll, int opcode, const char *text, size_t size);

/* generator_messages.c */
void send_start(struct call *call, int epoll);
void send_frame(struct call *call, int epoll, int64_t now);
void press_key(struct call *call, int epoll, int64_t now);
void end_call(struct call *call, int epoll);

/* generator_report.c */
void note(struct figures *figures, int64_t ns);
void note_arrival(struct call *call, int64_t now, size_t bytes);
int64_t cpu_ns_of(pid_t pid);
long rss_kib_of(pid_t pid);
void read_core(int core, long *busy, long *stolen);
void print_period(int number, double seconds, int64_t cpu_ns, uint64_t frames);
void print_report(double seconds, const int64_t *cpu_ns, const long *rss_before, int64_t own_cpu_ns);

#endif
