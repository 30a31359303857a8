/* The load generator: places many calls over WebSockets, as Smartflo would, and judges what comes back.

       generator --port 8000 --calls 200 --seconds 5 --pid 1234 --cpu 1

   One thread with one epoll. Frames leave on an absolute timeline, the calls' evenly spread over the interval, whatever
   came back (open loop); with --window each call instead has so many frames under way (closed loop, saturation). A call
   says `connected` and `start`, then media, in the end `stop`. Replies are counted in bytes of audio: how a server cuts
   it into messages is its own business.

   The report is one line of JSON; with --report-seconds there is a line for each period before it. A server's processor
   time is read from its own clock (all threads, ns) at both ends of the measured time. The generator's own lateness
   against its timeline and its processor time are in the report: they say whether it was the bottleneck.

   --most-under-way: of each call, on its timeline: a load that is too much for a server keeps it busy all the time, without
     the queues that would grow without end.
   --listen: what comes back is no echo, but paced speech of the server's own; its schedule is judged, not its content.
   --smooth: tones for sounds and not noise, which an agent's leg would refuse as no speech.
   --count: what comes back has been at another rate, and is another's bytes: frame n is back when so many bytes are.
   --first-number: of the streams' ids, for a second generator beside another.
   --press-ms: each call presses a key so often, and the time until `clear` comes is noted. */
#define _GNU_SOURCE
#include "generator.h"
#include "wire.h"

#include <errno.h>
#include <getopt.h>
#include <sched.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

enum { EVENTS = 256, HANDSHAKES_AT_ONCE = 32 };
static const int64_t SECOND = INT64_C(1000000000), MILLISECOND = 1000000;
static const int64_t OPENING_NS = INT64_C(60000000000), LAST_REPLIES_NS = 3000000000, AFTERWARDS_NS = 100000000, CLOSING_NS = 1000000000;

struct options options = {.calls = 50, .payload_bytes = UNIT_BYTES, .cpu = -1, .path = "/vendor-stream",
                          .settle_ns = 500000000, .warm_up_ns = 1000000000, .measured_ns = 5000000000};
struct totals totals;
struct call *calls;
uint32_t frames_each;
int64_t measure_from_ns, measure_to_ns;
bool is_over;

static int epoll;
static int64_t began_ns;         /* of the timeline of frames */
static int64_t next_frame, next_press;

static int64_t now_ns(void) { return clock_ns(CLOCK_MONOTONIC); }

/* --- The timelines: frame k of call i is due at k intervals and i/calls of one. */

static int64_t due_ns(int64_t number, int64_t interval_ns)
{
    return began_ns + number / options.calls * interval_ns + number % options.calls * interval_ns / options.calls;
}

/* Where a call has as many frames under way as it may, the next leaves with the reply to one of them. */
static void send_or_owe(struct call *call, int64_t now)
{
    if (options.most_under_way && call->sent - call->back >= (uint32_t)options.most_under_way)
        call->owed++;
    else
        send_frame(call, epoll, now);
}

static void send_what_is_due(void)
{
    int64_t last = (int64_t)frames_each * options.calls, now;
    while (!options.window && next_frame < last && due_ns(next_frame, options.interval_ns) <= (now = now_ns())) {
        if (measure_from_ns && now < measure_to_ns)
            note(&totals.lateness, now - due_ns(next_frame, options.interval_ns));
        send_or_owe(&calls[next_frame++ % options.calls], now);
    }
    while (options.press_ms && !is_over && due_ns(next_press, options.press_ms * MILLISECOND) <= (now = now_ns())) {
        int64_t number = next_press++;
        if (number >= options.calls) /* not at the very start */
            press_key(&calls[number % options.calls], epoll, now);
    }
}

static int64_t next_due_ns(void)
{
    int64_t due = INT64_MAX;
    if (!options.window && next_frame < (int64_t)frames_each * options.calls)
        due = due_ns(next_frame, options.interval_ns);
    if (options.press_ms && due_ns(next_press, options.press_ms * MILLISECOND) < due)
        due = due_ns(next_press, options.press_ms * MILLISECOND);
    return due;
}

/* Serves until a time, or until `is_done` says so. */
static void serve_until(int64_t end_ns, bool (*is_done)(void))
{
    static struct epoll_event events[EVENTS];
    for (int64_t now = now_ns(); now < end_ns && !(is_done && is_done()); now = now_ns()) {
        int64_t until = end_ns;
        if (began_ns) {
            send_what_is_due();
            until = next_due_ns() < end_ns ? next_due_ns() : end_ns;
            now = now_ns();
        }
        int64_t wait = until > now ? until - now : 0;
        int count = epoll_pwait2(epoll, events, EVENTS, &(struct timespec){wait / SECOND, wait % SECOND}, NULL);
        now = now_ns();
        for (int i = 0; i < count; i++)
            handle_events(&calls[events[i].data.u32], epoll, events[i].events, now);
    }
}

/* --- The phases */

static int count_in(enum state state)
{
    int count = 0;
    for (int i = 0; i < options.calls; i++)
        count += calls[i].state == state;
    return count;
}

static bool has_room(void) { return count_in(CONNECTING) + count_in(UPGRADING) < HANDSHAKES_AT_ONCE; }
static bool are_open(void) { return count_in(CONNECTING) + count_in(UPGRADING) == 0; }
static bool are_gone(void) { return count_in(OPEN) == 0; }

static bool are_back(void) { return options.is_listening || totals.frames_back >= totals.frames_sent; }

static void open_all(void)
{
    int64_t first_ns = now_ns();
    for (int i = 0; i < options.calls; i++) {
        calls[i].number = i;
        calls[i].newest_back = calls[i].current = -1;
        calls[i].sent_ns = calloc(frames_each, sizeof *calls[i].sent_ns);
        calls[i].times_back = calloc(frames_each, 1);
        if (options.per_second)
            serve_until(first_ns + i * SECOND / options.per_second, NULL);
        else
            serve_until(first_ns + OPENING_NS, has_room);
        open_call(&calls[i], epoll);
    }
    serve_until(now_ns() + OPENING_NS, are_open);
}

static void read_clocks(int64_t *cpu_ns)
{
    for (int i = 0; i < options.n_pids; i++)
        cpu_ns[i] = cpu_ns_of(options.pids[i]);
}

static int64_t sum(const int64_t *values)
{
    int64_t total = 0;
    for (int i = 0; i < options.n_pids; i++)
        total += values[i];
    return total;
}

static void serve_in_periods(void)
{
    for (int number = 1; now_ns() + options.report_ns / 2 < measure_to_ns; number++) {
        int64_t from[MAX_PIDS], to[MAX_PIDS], from_ns = now_ns(), end_ns = measure_from_ns + number * options.report_ns;
        uint64_t frames = totals.bytes_back;
        read_clocks(from);
        serve_until(end_ns < measure_to_ns ? end_ns : measure_to_ns, NULL);
        read_clocks(to);
        frames = (totals.bytes_back - frames) / (uint64_t)options.payload_bytes;
        print_period(number, (double)(now_ns() - from_ns) / 1e9, sum(to) - sum(from), frames);
    }
}

static void measure(void)
{
    int64_t before[MAX_PIDS], after[MAX_PIDS], own;
    long rss_before[MAX_PIDS], busy, stolen, busy_after, stolen_after;
    for (int i = 0; i < options.n_pids; i++)
        rss_before[i] = rss_kib_of(options.pids[i]);
    open_all();
    serve_until(now_ns() + options.settle_ns, NULL);
    began_ns = now_ns();
    for (int i = 0; i < options.calls && options.window; i++)
        for (int frame = 0; frame < options.window; frame++)
            send_frame(&calls[i], epoll, now_ns());
    serve_until(began_ns + options.warm_up_ns, NULL);
    read_clocks(before);
    struct totals until_now = totals;
    own = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
    read_core(options.watched_core, &busy, &stolen);
    measure_from_ns = now_ns();
    measure_to_ns = measure_from_ns + options.measured_ns;
    if (options.report_ns)
        serve_in_periods();
    serve_until(measure_to_ns, NULL);
    read_clocks(after);
    read_core(options.watched_core, &busy_after, &stolen_after);
    double seconds = (double)(now_ns() - measure_from_ns) / 1e9;
    own = clock_ns(CLOCK_PROCESS_CPUTIME_ID) - own;
    uint64_t bytes_back = totals.bytes_back - until_now.bytes_back;
    is_over = true;
    serve_until(now_ns() + LAST_REPLIES_NS, are_back);
    serve_until(now_ns() + AFTERWARDS_NS, NULL); /* for what should not come */
    for (int i = 0; i < options.n_pids; i++)
        after[i] -= before[i];
    totals.bytes_back = bytes_back;
    totals.busy_seconds = (double)(busy_after - busy) / (double)sysconf(_SC_CLK_TCK);
    totals.stolen_seconds = (double)(stolen_after - stolen) / (double)sysconf(_SC_CLK_TCK);
    print_report(seconds, after, rss_before, own);
}

/* --- The command line */

static const struct option names[] = {
    {"port", required_argument, 0, 'p'},       {"calls", required_argument, 0, 'n'},
    {"path", required_argument, 0, 'u'},       {"bytes", required_argument, 0, 'b'},
    {"seconds", required_argument, 0, 's'},    {"warm-up-seconds", required_argument, 0, 'w'},
    {"settle-seconds", required_argument, 0, 't'}, {"window", required_argument, 0, 'o'},
    {"most-under-way", required_argument, 0, 'm'},
    {"press-ms", required_argument, 0, 'k'},   {"cpu", required_argument, 0, 'c'},
    {"watch-core", required_argument, 0, 'a'},
    {"first-number", required_argument, 0, 'f'},
    {"per-second", required_argument, 0, 'r'}, {"pid", required_argument, 0, 'i'},
    {"report-seconds", required_argument, 0, 'e'}, {"listen", no_argument, 0, 'l'},
    {"smooth", no_argument, 0, 'h'},           {"count", no_argument, 0, 'q'},
    {0, 0, 0, 0},
};

static void take_option(int option)
{
    switch (option) {
    case 'p': options.port = atoi(optarg); break;
    case 'n': options.calls = atoi(optarg); break;
    case 'u': options.path = optarg; break;
    case 'b': options.payload_bytes = atoi(optarg); break;
    case 's': options.measured_ns = (int64_t)(atof(optarg) * 1e9); break;
    case 'w': options.warm_up_ns = (int64_t)(atof(optarg) * 1e9); break;
    case 't': options.settle_ns = (int64_t)(atof(optarg) * 1e9); break;
    case 'o': options.window = atoi(optarg); break;
    case 'm': options.most_under_way = atoi(optarg); break;
    case 'k': options.press_ms = atoi(optarg); break;
    case 'c': options.cpu = atoi(optarg); break;
    case 'a': options.watched_core = atoi(optarg); break;
    case 'f': options.first_number = atoi(optarg); break;
    case 'r': options.per_second = atoi(optarg); break;
    case 'e': options.report_ns = (int64_t)(atof(optarg) * 1e9); break;
    case 'l': options.is_listening = true; break;
    case 'h': options.is_smooth = true; break;
    case 'q': options.is_counting = true; break;
    case 'i':
        if (options.n_pids < MAX_PIDS)
            options.pids[options.n_pids++] = atoi(optarg);
        break;
    default: exit(2);
    }
}

static void take_options(int count, char **words)
{
    for (int option; (option = getopt_long(count, words, "", names, NULL)) != -1;)
        take_option(option);
    int bytes = options.payload_bytes;
    if (options.port <= 0 || options.calls <= 0 || bytes <= 0 || bytes % UNIT_BYTES || bytes > MAX_PAYLOAD) {
        fprintf(stderr, "generator: needs --port and --calls above 0, and --bytes of n x %d up to %d\n", UNIT_BYTES,
                MAX_PAYLOAD);
        exit(2);
    }
    options.interval_ns = bytes * SECOND / 8000;
    frames_each = (uint32_t)((options.warm_up_ns + options.measured_ns) / options.interval_ns);
    if (options.window)
        frames_each *= 100; /* as many as a core can */
}

int main(int count, char **words)
{
    take_options(count, words);
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    prctl(PR_SET_TIMERSLACK, 1); /* ns; the default of 50 us would be lateness */
    cpu_set_t cpus;
    CPU_ZERO(&cpus);
    if (options.cpu >= 0) {
        CPU_SET(options.cpu, &cpus);
        sched_setaffinity(0, sizeof cpus, &cpus);
    }
    prepare_sounds();
    calls = calloc((size_t)options.calls, sizeof *calls);
    epoll = epoll_create1(EPOLL_CLOEXEC);
    measure();
    for (int i = 0; i < options.calls; i++)
        end_call(&calls[i], epoll);
    serve_until(now_ns() + CLOSING_NS, are_gone);
    return 0;
}
