#include "cli/progress.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cli/api.h"
#include "cli/format.h"
#include "common/base/clock.h"
#include "common/base/cleanup.h"
#include "common/base/memory.h"
#include "common/base/text.h"

enum { PROGRESS_JOBS = 8, PROGRESS_QUIET_US = 15000000, PROGRESS_PHASE_SIZE = 64 };

/* What was last seen of one job, for rates and for saying a thing once. */
typedef struct Seen {
  char id[64];
  int64_t bytes, at_us;
  double rate; /* bytes per second, smoothed; 0 until known */
  Pace pace;
  char phase[PROGRESS_PHASE_SIZE];
  int64_t said_us;
} Seen;

struct Progress {
  const Cli *cli;
  int lines; /* drawn, and to be drawn over */
  Seen seen[PROGRESS_JOBS];
  size_t seen_count;
};

Progress *progress_new(const Cli *cli) {
  Progress *progress = memory_alloc(sizeof *progress);
  progress->cli = cli;
  return progress;
}

static void progress_erase(Progress *progress) {
  if (progress->lines > 0)
    fprintf(stderr, "\x1b[%dA\r\x1b[J", progress->lines);
  progress->lines = 0;
}

void progress_free(Progress *progress) {
  progress_erase(progress);
  fflush(stderr);
  free(progress);
}

void progress_note(Progress *progress, const char *format, ...) {
  progress_erase(progress);
  va_list args;
  va_start(args, format);
  vfprintf(stderr, format, args);
  fputc('\n', stderr);
  va_end(args);
}

static Seen *progress_seen(Progress *progress, const json_t *job) {
  const char *id = api_text(job, "id");
  for (size_t i = 0; i < progress->seen_count; i++)
    if (strcmp(progress->seen[i].id, id) == 0)
      return &progress->seen[i];
  size_t place = progress->seen_count < PROGRESS_JOBS ? progress->seen_count++ : PROGRESS_JOBS - 1;
  progress->seen[place] = (Seen){0};
  snprintf(progress->seen[place].id, sizeof progress->seen[place].id, "%s", id);
  return &progress->seen[place];
}

void pace_note(Pace *pace, const char *phase, int64_t bytes, int64_t now_us) {
  if (strncmp(phase, pace->phase, PACE_PHASE_SIZE - 1) != 0 || bytes < pace->bytes || pace->bytes == 0) {
    snprintf(pace->phase, sizeof pace->phase, "%.*s", PACE_PHASE_SIZE - 1, phase);
    pace->from_us = now_us;
    pace->from_bytes = bytes;
  }
  pace->bytes = bytes;
}

double pace_left(const Pace *pace, int64_t total, int64_t now_us) {
  int64_t done = pace->bytes - pace->from_bytes, took_us = now_us - pace->from_us;
  if (took_us < PACE_US || done <= 0 || pace->bytes >= total || pace->bytes < total / PACE_SHARE)
    return -1;
  return (double)(total - pace->bytes) / (double)done * (double)took_us / 1e6;
}

static void progress_measure(Seen *seen, const char *phase, int64_t bytes, int64_t now_us) {
  pace_note(&seen->pace, phase, bytes, now_us);
  if (seen->at_us && bytes > seen->bytes) {
    double rate = (double)(bytes - seen->bytes) * 1e6 / (double)(now_us - seen->at_us + 1);
    seen->rate = seen->rate > 0 ? 0.8 * seen->rate + 0.2 * rate : rate;
  }
  if (bytes < seen->bytes) /* a new attempt */
    seen->rate = 0;
  if (!seen->at_us || bytes != seen->bytes) {
    seen->at_us = now_us;
    seen->bytes = bytes;
  }
}

static bool job_is_over(const char *state) {
  static const char *const over[] = {"done", "failed", "errored", "canceled"};
  for (size_t i = 0; i < ARRAY_SIZE(over); i++)
    if (strcmp(state, over[i]) == 0)
      return true;
  return false;
}

/* "dump   dumping    142/184 tables  6.1M rows  301.2 MB  43.1 MB/s  ETA 12 s  public.orders  on agent a" */
static void progress_describe(Buffer *out, const Cli *cli, const json_t *job, const Seen *seen, int64_t now_us) {
  const json_t *p = json_object_get(job, "progress");
  const char *state = api_text(job, "state"), *phase = api_text(p, "phase"), *table = api_text(p, "table");
  const char *waits = api_text(job, "waits_for");
  bool over = job_is_over(state), running = !over && strcmp(state, "queued") != 0;
  char count[FORMAT_SIZE], size[TEXT_SIZE_SIZE], seconds[FORMAT_SIZE];
  buffer_append_format(out, "%s%-6s%s %-10s", cli_style(cli->color_err, STYLE_BOLD), api_text(job, "kind"),
                       cli_reset(cli->color_err), running && *phase ? phase : format_job_state(state));
  int64_t done = api_integer(p, "tables_done"), total = api_integer(p, "tables_total");
  int64_t bytes = api_integer(p, "bytes"), bytes_total = api_integer(p, "bytes_total");
  if (total > 0)
    buffer_append_format(out, "  %" PRId64 "/%" PRId64 " tables", done, total);
  if (api_integer(p, "rows") > 0)
    buffer_append_format(out, "  %s rows", format_count(api_integer(p, "rows"), count));
  if (bytes > 0)
    buffer_append_format(out, "  %s", text_size(bytes, size));
  if (running && seen->rate > 0) {
    buffer_append_format(out, "  %s/s", text_size((int64_t)seen->rate, size));
    double left = pace_left(&seen->pace, bytes_total, now_us);
    if (left >= 0)
      buffer_append_format(out, "  ETA %s", format_seconds(left, seconds));
  }
  if (running && *table)
    buffer_append_format(out, "  %s%s%s", cli_style(cli->color_err, STYLE_DIM), table, cli_reset(cli->color_err));
  if (api_integer(job, "attempt") > 1)
    buffer_append_format(out, "  (attempt %" PRId64 ")", api_integer(job, "attempt"));
  if (strcmp(state, "queued") == 0)
    buffer_append_format(out, "  waiting for %s", *waits ? waits : "an agent");
  else if (*api_text(job, "agent"))
    buffer_append_format(out, "  on agent %s", api_text(job, "agent"));
}

static void progress_draw(Progress *progress, const Buffer *lines, size_t count) {
  struct winsize window = {0};
  size_t width = ioctl(STDERR_FILENO, TIOCGWINSZ, &window) == 0 && window.ws_col > 20 ? window.ws_col - 1U : 79;
  CLEANUP(buffer_release) Buffer frame = {0};
  if (progress->lines > 0)
    buffer_append_format(&frame, "\x1b[%dA", progress->lines);
  for (size_t i = 0; i < count; i++) {
    buffer_append_text(&frame, "\r\x1b[2K");
    format_cut(&frame, (const char *)lines[i].data, width);
    buffer_append_byte(&frame, '\n');
  }
  buffer_append_text(&frame, "\x1b[J");
  fputs(buffer_text(&frame), stderr); /* at once, so that it does not flicker */
  fflush(stderr);
  progress->lines = (int)count;
}

/* Plain lines: when something new began, and now and then while it lasts. */
static void progress_say(Seen *seen, const json_t *job, Buffer *line, int64_t now_us) {
  char phase[PROGRESS_PHASE_SIZE];
  const char *state = api_text(job, "state");
  snprintf(phase, sizeof phase, "%s %s %d", job_is_over(state) ? state : "",
           api_text(json_object_get(job, "progress"), "phase"), (int)api_integer(job, "attempt"));
  bool new = strcmp(phase, seen->phase) != 0;
  if (!new && (job_is_over(state) || now_us - seen->said_us < PROGRESS_QUIET_US))
    return;
  snprintf(seen->phase, sizeof seen->phase, "%s", phase);
  seen->said_us = now_us;
  fprintf(stderr, "%s\n", buffer_text(line));
}

void progress_show(Progress *progress, const json_t *checkpoint) {
  const json_t *jobs = json_object_get(checkpoint, "jobs"), *job;
  Buffer lines[PROGRESS_JOBS] = {0};
  size_t count = 0, index, all = json_array_size(jobs);
  int64_t now_us = clock_monotonic_us();
  json_array_foreach(jobs, index, job) {
    bool live = !job_is_over(api_text(job, "state"));
    if (count == PROGRESS_JOBS || (!live && all > 4 && index + 2 < all)) /* old drills are not of interest */
      continue;
    Seen *seen = progress_seen(progress, job);
    const json_t *p = json_object_get(job, "progress");
    progress_measure(seen, api_text(p, "phase"), api_integer(p, "bytes"), now_us);
    progress_describe(&lines[count], progress->cli, job, seen, now_us);
    if (!progress->cli->live)
      progress_say(seen, job, &lines[count], now_us);
    count++;
  }
  if (progress->cli->live)
    progress_draw(progress, lines, count);
  for (size_t i = 0; i < count; i++)
    buffer_release(&lines[i]);
}
