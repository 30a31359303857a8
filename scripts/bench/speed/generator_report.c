/* What the load generator has seen, as JSON, and what it can see of another process. */
#define _GNU_SOURCE
#include "generator.h"
#include "wire.h"

#include <stdio.h>
#include <unistd.h>

static const int64_t SECOND = INT64_C(1000000000);

void note(struct figures *figures, int64_t ns)
{
    if (figures->count == figures->room) {
        figures->room = figures->room ? figures->room * 2 : 4096;
        figures->values = realloc(figures->values, figures->room * sizeof *figures->values);
    }
    figures->values[figures->count++] = (uint32_t)(ns < 0 ? 0 : ns / 1000);
}

/* --- What the caller hears: played at once, in real time, and a gap when there is nothing. */

void note_arrival(struct call *call, int64_t now, size_t bytes)
{
    int64_t lasts_ns = (int64_t)bytes * SECOND / 8000;
    if (call->horizon_ns && now > call->horizon_ns && measure_from_ns && now < measure_to_ns) {
        totals.gaps++;
        if (now - call->horizon_ns > totals.longest_gap_ns)
            totals.longest_gap_ns = now - call->horizon_ns;
    }
    call->horizon_ns = (now > call->horizon_ns ? now : call->horizon_ns) + lasts_ns;
    if (options.is_listening && measure_from_ns && now < measure_to_ns) {
        if (call->n_arrivals == call->arrivals_room) {
            call->arrivals_room = call->arrivals_room ? call->arrivals_room * 2 : 256;
            call->arrivals = realloc(call->arrivals, call->arrivals_room * sizeof *call->arrivals);
        }
        call->arrivals[call->n_arrivals++] = (struct arrival){now, now - call->audio_ns};
    }
    call->audio_ns += lasts_ns;
}

/* The least time less audio between two times: the schedule, as seen by the packets that were on time. */
static int64_t earliest(const struct call *call, int64_t from_ns, int64_t to_ns)
{
    int64_t least = INT64_MAX;
    for (size_t i = 0; i < call->n_arrivals; i++)
        if (call->arrivals[i].at_ns >= from_ns && call->arrivals[i].at_ns < to_ns && call->arrivals[i].offset_ns < least)
            least = call->arrivals[i].offset_ns;
    return least;
}

/* How late each packet was against the schedule that began it; returns the worst drift, first against last tenth. */
static int64_t judge_schedules(struct figures *jitter)
{
    int64_t tenth = (measure_to_ns - measure_from_ns) / 10, worst = 0;
    for (int i = 0; i < options.calls; i++) {
        int64_t base = earliest(&calls[i], measure_from_ns, measure_from_ns + tenth);
        int64_t last = earliest(&calls[i], measure_to_ns - tenth, measure_to_ns);
        if (base == INT64_MAX || last == INT64_MAX)
            continue;
        for (size_t n = 0; n < calls[i].n_arrivals; n++) {
            int64_t off = calls[i].arrivals[n].offset_ns - base;
            note(jitter, off < 0 ? -off : off);
        }
        int64_t drift = last - base < 0 ? base - last : last - base;
        worst = drift > worst ? drift : worst;
    }
    return worst;
}

/* --- Other processes */

int64_t cpu_ns_of(pid_t pid)
{
    clockid_t clock;
    return clock_getcpuclockid(pid, &clock) ? 0 : clock_ns(clock);
}

long rss_kib_of(pid_t pid)
{
    char path[64];
    long pages = 0;
    snprintf(path, sizeof path, "/proc/%d/statm", pid);
    FILE *file = fopen(path, "r");
    if (file) {
        if (fscanf(file, "%*s %ld", &pages) != 1)
            pages = 0;
        fclose(file);
    }
    return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

/* The busy and the stolen time of a core, in clock ticks: what others have taken of a server's core shows here. */
void read_core(int core, long *busy, long *stolen)
{
    char name[16], line[512];
    long user, nice, system, irq, soft;
    *busy = *stolen = 0;
    FILE *file = fopen("/proc/stat", "r");
    snprintf(name, sizeof name, "cpu%d ", core);
    while (file && fgets(line, sizeof line, file))
        if (strncmp(line, name, strlen(name)) == 0 &&
            sscanf(line, "%*s %ld %ld %ld %*d %*d %ld %ld %ld", &user, &nice, &system, &irq, &soft, stolen) == 6)
            *busy = user + nice + system + irq + soft;
    if (file)
        fclose(file);
}

/* --- JSON */

static int in_order(const void *one, const void *other)
{
    uint32_t a = *(const uint32_t *)one, b = *(const uint32_t *)other;
    return (a > b) - (a < b);
}

static void print_figures(const char *name, struct figures *figures)
{
    size_t count = figures->count;
    if (!count) {
        printf(",\"%s\":null", name);
        return;
    }
    qsort(figures->values, count, sizeof *figures->values, in_order);
    printf(",\"%s\":{\"count\":%zu,\"p50\":%u,\"p99\":%u,\"max\":%u}", name, count, figures->values[count / 2],
           figures->values[count - 1 - (count - 1) / 100], figures->values[count - 1]);
}

void print_period(int number, double seconds, int64_t cpu_ns, uint64_t frames)
{
    long rss = 0;
    for (int i = 0; i < options.n_pids; i++)
        rss += rss_kib_of(options.pids[i]);
    printf("{\"period\":%d,\"seconds\":%.3f,\"cpu_seconds\":%.6f,\"frames\":%lu,\"rss_kib\":%ld}\n", number, seconds,
           (double)cpu_ns / 1e9, (unsigned long)frames, rss);
    fflush(stdout);
}

static void print_servers(const int64_t *cpu_ns, const long *rss_before)
{
    printf(",\"servers\":[");
    for (int i = 0; i < options.n_pids; i++)
        printf("%s{\"cpu_seconds\":%.6f,\"rss_kib_before\":%ld,\"rss_kib\":%ld}", i ? "," : "", (double)cpu_ns[i] / 1e9,
               rss_before[i], rss_kib_of(options.pids[i]));
    printf("]");
}

void print_report(double seconds, const int64_t *cpu_ns, const long *rss_before, int64_t own_cpu_ns)
{
    uint64_t lost = 0, duplicated = 0;
    int open = 0;
    for (int i = 0; i < options.calls; i++) {
        open += calls[i].state == OPEN;
        for (uint32_t frame = 0; frame < calls[i].sent && !options.is_listening; frame++) {
            lost += calls[i].times_back[frame] == 0;
            duplicated += calls[i].times_back[frame] > 1;
        }
    }
    struct figures jitter = {0};
    int64_t drift_ns = options.is_listening ? judge_schedules(&jitter) : 0;
    printf("{\"calls\":%d,\"open_at_end\":%d,\"failed\":%d,\"gone_early\":%d,\"seconds\":%.6f", options.calls, open,
           totals.failed, totals.gone_early, seconds);
    printf(",\"frames_sent\":%lu,\"frames_back\":%lu,\"measured_bytes_back\":%lu,\"messages_back\":%lu,\"silence_units\":%lu",
           (unsigned long)totals.frames_sent, (unsigned long)totals.frames_back, (unsigned long)totals.bytes_back,
           (unsigned long)totals.messages_back, (unsigned long)totals.silence_units);
    printf(",\"lost\":%lu,\"duplicated\":%lu,\"disordered\":%lu,\"corrupt\":%lu,\"unexpected\":%lu", (unsigned long)lost,
           (unsigned long)duplicated, (unsigned long)totals.disordered, (unsigned long)totals.corrupt,
           (unsigned long)totals.unexpected);
    printf(",\"gaps\":%lu,\"longest_gap_us\":%ld,\"drift_us\":%ld,\"presses\":%lu,\"clears\":%lu", (unsigned long)totals.gaps,
           (long)(totals.longest_gap_ns / 1000), (long)(drift_ns / 1000), (unsigned long)totals.presses,
           (unsigned long)totals.clears);
    printf(",\"core\":{\"busy_seconds\":%.3f,\"stolen_seconds\":%.3f}", totals.busy_seconds, totals.stolen_seconds);
    print_figures("latency_us", &totals.latency);
    print_figures("jitter_us", &jitter);
    print_figures("clear_us", &totals.clear);
    printf(",\"generator\":{\"cpu\":%.4f,\"blocked\":%lu", (double)own_cpu_ns / 1e9 / seconds, (unsigned long)totals.blocked);
    print_figures("late_us", &totals.lateness);
    printf("}");
    print_servers(cpu_ns, rss_before);
    printf("}\n");
    fflush(stdout);
}
