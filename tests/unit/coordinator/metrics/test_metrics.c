/* /metrics over a real dispatch, ledger, schedule and rotation: read by a parser of its own that takes nothing but what
 * the format allows, and held against the table of families. PGSEAL_METRICS_DATABASES=10000 measures it. */
#include "tests/unit/coordinator/dispatch/recovery.h"

#include <math.h>

#include "common/base/cleanup.h"
#include "coordinator/metrics/internal.h"

typedef struct Scene {
  Fixture *f;
  Schedule *schedule;
  Overview *overview;
  Metrics *metrics;
} Scene;

static int scene_setup(void **state) {
  Scene *s = memory_alloc(sizeof *s);
  setup((void **)&s->f);
  OK(schedule_open(s->f->dispatch, s->f->ledger, &s->schedule, &s->f->err));
  s->overview = overview_open(s->f->dispatch, s->f->ledger);
  overview_schedule(s->overview, s->schedule);
  s->metrics = metrics_open(s->f->dispatch, s->f->ledger, s->overview);
  *state = s;
  return 0;
}

static int scene_teardown(void **state) {
  Scene *s = *state;
  metrics_close(s->metrics);
  overview_close(s->overview);
  schedule_close(s->schedule);
  void *fixture = s->f;
  teardown(&fixture);
  free(s);
  return 0;
}

static void apply(Scene *s, const char *text) {
  json_t *report = NULL;
  if (dispatch_apply_fleet(s->f->dispatch, "fleet.yaml", text, strlen(text), &me, false, &report, &s->f->err))
    fail_msg("%s", s->f->err.message);
  json_decref(report);
  schedule_run(s->schedule);
}

static char *scraped(Scene *s) {
  MetricsScrape *scrape = NULL;
  Buffer text = {0};
  metrics_forget(s->metrics);
  OK(metrics_scrape(s->metrics, &scrape, &s->f->err));
  while (metrics_next(scrape, &text))
    ;
  assert_false(metrics_next(scrape, &text));
  metrics_scrape_free(scrape);
  return buffer_steal_text(&text);
}

/* ---- a parser ---- */

static const struct {
  const char *name, *type, *labels;
} families[METRICS_FAMILY_COUNT] = {
#define ROW(id, name, type, labels, help) {name, #type, labels},
    METRICS_FAMILIES(ROW)
#undef ROW
};

/* Of `text`, up to one of the characters in `end`. */
static const char *word(const char **text, const char *end, char out[256]) {
  size_t length = strcspn(*text, end);
  assert_true(length > 0 && length < 256);
  memcpy(out, *text, length);
  out[length] = 0;
  *text += length;
  return out;
}

/* {a="...",b="..."}: their names into out, as the table has them. */
static void labels(const char **at, char out[256]) {
  out[0] = 0;
  if (**at != '{')
    return;
  do {
    char name[256];
    (*at)++;
    word(at, "=\"\n", name);
    assert_true(strspn(name, "abcdefghijklmnopqrstuvwxyz_") == strlen(name));
    assert_true(strncmp(*at, "=\"", 2) == 0);
    for (*at += 2; **at != '"'; (*at)++) {
      assert_true((uint8_t) * *at >= ' ');
      if (**at == '\\')
        assert_true(strchr("\\\"n", *++*at));
    }
    (*at)++;
    CLEANUP_FREE char *all = memory_format("%s%s%s", out, out[0] ? ", " : "", name);
    assert_true(strlen(all) < 256);
    memcpy(out, all, strlen(all) + 1);
  } while (**at == ',');
  assert_true(*(*at)++ == '}');
}

/* One family, from its HELP on; *seen: a bit for each. */
static void family(const char **at, uint64_t *seen) {
  char name[256], again[256], type[256], has[256];
  assert_int_equal(strncmp(*at, "# HELP ", 7), 0);
  *at += 7;
  word(at, " ", name);
  *at = strchr(*at, '\n') + 1;
  assert_int_equal(strncmp(*at, "# TYPE ", 7), 0);
  *at += 7;
  assert_string_equal(word(at, " ", again), name);
  ++*at;
  word(at, "\n", type);
  ++*at;
  size_t number = 0;
  while (number < METRICS_FAMILY_COUNT && strcmp(families[number].name, name) != 0)
    number++;
  if (number == METRICS_FAMILY_COUNT)
    fail_msg("%s is not in the table", name);
  assert_true(strcasecmp(type, families[number].type) == 0);
  assert_int_equal(strcmp(type, "counter") == 0, strlen(name) > 6 && strcmp(name + strlen(name) - 6, "_total") == 0);
  assert_true(*seen >> number == 0); /* once, and in the table's order */
  *seen |= (uint64_t)1 << number;
  while (**at && **at != '#') {
    assert_string_equal(word(at, "{ ", again), name);
    labels(at, has);
    assert_string_equal(has, families[number].labels);
    char *end;
    assert_true(*(*at)++ == ' ');
    double value = strtod(*at, &end);
    assert_true(end > *at && *end == '\n' && isfinite(value));
    *at = end + 1;
  }
}

static uint64_t parse(const char *text) {
  uint64_t seen = 0;
  for (const char *at = text; *at;)
    family(&at, &seen);
  return seen;
}

static void assert_has(const char *text, const char *line) {
  CLEANUP_FREE char *whole = memory_format("\n%s\n", line);
  if (!strstr(text, whole))
    fail_msg("there is no %s in:\n%s", line, text);
}

static void assert_lacks(const char *text, const char *part) {
  if (strstr(text, part))
    fail_msg("there is %s", part);
}

static void tell_machine(Scene *s) {
  Pgseal__Machine message = PGSEAL__MACHINE__INIT;
  Pgseal__Slots slots = PGSEAL__SLOTS__INIT, *slot_list[] = {&slots};
  Pgseal__Disk disk = PGSEAL__DISK__INIT, *disks[] = {&disk};
  char *places[] = {(char *)"data"};
  message.load1 = 0.25;
  message.cpus = 4;
  message.memory_total = 8192;
  message.memory_available = 4096;
  slots.capability = (char *)"dump";
  slots.used = 1;
  slots.total = 2;
  message.slots = slot_list;
  message.n_slots = 1;
  disk.places = places;
  disk.n_places = 1;
  disk.free_bytes = 1000;
  disk.total_bytes = 9000;
  message.disks = disks;
  message.n_disks = 1;
  dispatch_agent_machine(s->f->dispatch, "dumper", &message);
}

/* ---- tests ---- */

static void test_empty(void **state) {
  Scene *s = *state;
  CLEANUP_FREE char *text = scraped(s);
  parse(text);
  assert_has(text, "pgseal_databases 2");
  assert_has(text, "pgseal_databases_attention{reason=\"never_sealed\"} 2");
  assert_has(text, "pgseal_database_checkpoints_total{database=\"shop\",outcome=\"sealed\"} 0");
  assert_lacks(text, "pgseal_database_size_bytes{");
  assert_lacks(text, "pgseal_database_proof_age_seconds{");
  assert_lacks(text, "_objective_seconds{");
  assert_has(text, "pgseal_jobs{kind=\"dump\",state=\"queued\"} 0");
}

static void test_life_of_a_checkpoint(void **state) {
  Scene *s = *state;
  CLEANUP_FREE char *first = request(s->f, "shop", "t");
  clock_moved_us += 61 * (int64_t)1000000;
  CLEANUP_FREE char *asked = scraped(s);
  assert_has(asked, "pgseal_jobs{kind=\"dump\",state=\"queued\"} 1");
  assert_has(asked, "pgseal_jobs{kind=\"drill\",state=\"queued\"} 1");
  assert_has(asked, "pgseal_jobs_oldest_queued_age_seconds{kind=\"dump\"} 61");
  assert_has(asked, "pgseal_events_total{kind=\"checkpoint.requested\"} 1");
  JOB *dump = must_get(s->f, 1, DUMP);
  tell_machine(s);
  CLEANUP_FREE char *dumping = scraped(s);
  parse(dumping);
  assert_has(dumping, "pgseal_agent_load1{agent=\"dumper\"} 0.25");
  assert_has(dumping, "pgseal_agent_memory_available_bytes{agent=\"dumper\"} 4096");
  assert_has(dumping, "pgseal_agent_slots{agent=\"dumper\",capability=\"dump\"} 2");
  assert_has(dumping, "pgseal_agent_slots_used{agent=\"dumper\",capability=\"dump\"} 1");
  assert_has(dumping, "pgseal_agent_disk_free_bytes{agent=\"dumper\",place=\"data\"} 1000");
  assert_has(dumping, "pgseal_agent_disk_bytes{agent=\"dumper\",place=\"data\"} 9000");
  assert_lacks(dumping, "pgseal_agent_load1{agent=\"both\"}");
  assert_has(dumping, "pgseal_jobs{kind=\"dump\",state=\"running\"} 1");
  assert_has(dumping, "pgseal_agent_jobs{agent=\"dumper\"} 1");
  assert_has(dumping, "pgseal_agent_live{agent=\"dumper\"} 1");
  assert_true(dump_done(s->f, 1, dump, MANIFEST));
  JOB *drill = must_get(s->f, 2, DRILL);
  assert_true(drill_proven(s->f, 2, drill, MANIFEST));
  CLEANUP_FREE char *second = stored(s->f, "shop", MANIFEST);
  JOB *refuted = must_get(s->f, 2, DRILL);
  bool accepted;
  OK(drill_ends(s->f, 2, refuted, 2, OUTCOME_FAILED, MANIFEST, refuted->prefix, &accepted));
  CLEANUP_FREE char *text = scraped(s);
  parse(text);
  assert_has(text, "pgseal_database_checkpoints_total{database=\"shop\",outcome=\"sealed\"} 1");
  assert_has(text, "pgseal_database_checkpoints_total{database=\"shop\",outcome=\"failed\"} 1");
  assert_has(text, "pgseal_database_checkpoints_total{database=\"prod-api\",outcome=\"failed\"} 0");
  assert_has(text, "pgseal_drills_total{outcome=\"proven\"} 1");
  assert_has(text, "pgseal_drills_total{outcome=\"failed\"} 1");
  assert_has(text, "pgseal_database_size_bytes{database=\"shop\"} 1000");
  assert_has(text, "pgseal_database_archive_bytes{database=\"shop\"} 3000");
  assert_has(text, "pgseal_database_rows{database=\"shop\"} 50");
  assert_has(text, "pgseal_database_dump_duration_seconds{database=\"shop\"} 1.5");
  assert_has(text, "pgseal_database_drill_duration_seconds{database=\"shop\"} 2.5");
  assert_has(text, "pgseal_database_failures{database=\"shop\"} 1");
  assert_has(text, "pgseal_database_attention{database=\"shop\",reason=\"failing\"} 1");
  assert_lacks(text, "pgseal_database_attention{database=\"shop\",reason=\"never_sealed\"}");
  OK(dispatch_hold(s->f->dispatch, HOLD_FLEET, "", true, NULL, &me, &s->f->err));
  OK(dispatch_hold(s->f->dispatch, HOLD_AGENT, "dumper", true, NULL, &me, &s->f->err));
  OK(dispatch_hold(s->f->dispatch, HOLD_DATABASE, "shop", true, NULL, &me, &s->f->err));
  CLEANUP_FREE char *held = scraped(s);
  assert_has(held, "pgseal_fleet_paused 1");
  assert_has(held, "pgseal_agent_drained{agent=\"dumper\"} 1");
  assert_has(held, "pgseal_database_cordoned{database=\"shop\"} 1");
}

/* Whatever an owner is called: it stays one label of one line. */
static void test_escaping(void **state) {
  Scene *s = *state;
  Buffer out = {0};
  static const struct {
    const char *value, *text;
  } cases[] = {{"", "x=\"\""},
               {"a\"b", "x=\"a\\\"b\""},
               {"a\\b", "x=\"a\\\\b\""},
               {"a\nb\n", "x=\"a\\nb\\n\""},
               {"\n", "x=\"\\n\""},
               {"Zahlung \xc3\xbc \xf0\x9f\x92\xb6", "x=\"Zahlung \xc3\xbc \xf0\x9f\x92\xb6\""},
               {"a\xff\x01"
                "b",
                "x=\"a??b\""},
               {"} 1\n# EOF", "x=\"} 1\\n# EOF\""}};
  for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
    buffer_clear(&out);
    text_label(&out, "x", cases[i].value);
    assert_string_equal(buffer_text(&out), cases[i].text);
  }
  buffer_release(&out);
  apply(s, "databases: [{name: odd, owner: \"a \\\"b\\\" \\\\ {c}\", environment: \"\xc3\xbc,=\"}]");
  CLEANUP_FREE char *text = scraped(s);
  parse(text);
  assert_has(text,
             "pgseal_database_info{database=\"odd\",environment=\"\xc3\xbc,=\",owner=\"a \\\"b\\\" \\\\ {c}\"} 1");
}

/* Everything in the table is there, once there is something to tell. */
static void test_every_family(void **state) {
  Scene *s = *state;
  apply(s, "databases: [{name: a}]\n"
           "policies: [{name: all, objectives: {proof_age: 2h, restore_time: 1s, data_loss: 1h},\n"
           "            rotation: {kinds: [latest]}, schedule: {cron: \"0 4 * * *\"}}]\n");
  CLEANUP_FREE char *id = sealed_of(s->f, "shop");
  uv_loop_t loop;
  OK(uv_loop_init(&loop));
  Rotation *rotation = rotation_open(&loop, s->f->dispatch, s->f->ledger);
  metrics_rotation(s->metrics, rotation);
  const CoordinatorConfig tracing = {.traces = {.endpoint = "http://127.0.0.1:9/v1/traces"}};
  Traces *traces = NULL;
  Error err;
  OK(traces_open(&loop, &tracing, s->f->dispatch, s->f->ledger, &traces, &err));
  metrics_traces(s->metrics, traces);
  traces_stop(traces);
  for (int i = 0; i < 30; i++) {
    rotation_tick(rotation);
    uv_run(&loop, UV_RUN_DEFAULT);
  }
  CLEANUP_FREE char *text = scraped(s);
  uint64_t seen = parse(text), all = ((uint64_t)1 << METRICS_FAMILY_COUNT) - 1;
  for (int i = 0; i < METRICS_FAMILY_COUNT; i++)
    if (!(seen >> i & 1))
      print_error("%s is missing\n", families[i].name);
  assert_true(seen == all);
  assert_has(text, "pgseal_database_proof_age_objective_seconds{database=\"a\"} 7200");
  assert_has(text, "pgseal_database_schedule_missed_total{database=\"a\"} 0");
  assert_has(text, "pgseal_database_attention{database=\"shop\",reason=\"restore_slow\"} 1");
  metrics_rotation(s->metrics, NULL);
  metrics_traces(s->metrics, NULL);
  rotation_close(rotation);
  uv_run(&loop, UV_RUN_DEFAULT);
  traces_close(traces); /* nothing happens in this dispatch any more */
  assert_int_equal(uv_loop_close(&loop), 0);
}

static void declare(Scene *s, int databases) {
  Buffer text = {0};
  buffer_append_text(&text, "databases:\n");
  for (int i = 0; i < databases; i++)
    buffer_append_format(&text, "  - name: db-%05d\n", i);
  buffer_append_text(&text, "policies: [{name: all, objectives: {proof_age: 2h, restore_time: 1s, data_loss: 1h}}]\n");
  apply(s, buffer_text(&text));
  buffer_release(&text);
}

/* Pieces are small, are of one moment, and do not need what they were made of. */
static void test_pieces(void **state) {
  Scene *s = *state;
  const char *wanted = getenv("PGSEAL_METRICS_DATABASES");
  int databases = wanted ? atoi(wanted) : 300;
  declare(s, databases);
  MetricsScrape *scrape = NULL, *other = NULL;
  Buffer one = {0}, two = {0};
  int64_t began = clock_monotonic_us(), longest = 0, pieces = 0;
  OK(metrics_scrape(s->metrics, &scrape, &s->f->err));
  int64_t first = clock_monotonic_us() - began;
  OK(metrics_scrape(s->metrics, &other, &s->f->err));
  declare(s, 1); /* meanwhile */
  metrics_close(s->metrics);
  s->metrics =
      metrics_open(s->f->dispatch, s->f->ledger, s->overview); /* what dispatch tells still is for the old one */
  for (bool more = true; more; pieces++) {
    size_t before = one.size;
    buffer_reserve(&one, (size_t)databases * 1000 + 65536); /* the test's own growing is not what is measured */
    int64_t since = clock_monotonic_us();
    more = metrics_next(scrape, &one);
    int64_t took = clock_monotonic_us() - since;
    longest = took > longest ? took : longest;
    assert_true(one.size - before < METRICS_PIECE + 8192);
  }
  while (metrics_next(other, &two))
    ;
  assert_true(pieces > 5 && one.size == two.size && memcmp(one.data, two.data, one.size) == 0);
  CLEANUP_FREE char *text = buffer_steal_text(&one);
  parse(text);
  CLEANUP_FREE char *last =
      memory_format("pgseal_database_checkpoints_total{database=\"db-%05d\",outcome=\"canceled\"} 0", databases - 1);
  assert_has(text, last);
  if (wanted)
    print_message("%d databases: %.1f MB; taken in %.1f ms, written in %lld pieces, the longest %.2f ms\n", databases,
                  (double)strlen(text) / 1e6, (double)first / 1e3, (long long)pieces, (double)longest / 1e3);
  metrics_scrape_free(scrape);
  metrics_scrape_free(other);
  buffer_release(&two);
}

int main(void) {
#define T(name) cmocka_unit_test_setup_teardown(name, scene_setup, scene_teardown)
  const struct CMUnitTest tests[] = {T(test_empty), T(test_life_of_a_checkpoint), T(test_escaping),
                                     T(test_every_family), T(test_pieces)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
