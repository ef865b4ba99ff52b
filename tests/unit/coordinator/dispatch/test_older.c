/* Messages that an agent of the version before has sent, byte by byte (agent-messages-1.txt): they mean what they
 * meant, and the whole of its work goes on with this coordinator. Only ids, fencing and the verdict's signature are
 * new. */
#include "tests/unit/coordinator/dispatch/support.h"

#include "common/base/buffer.h"
#include "common/base/text.h"
#include "common/bus/envelope.h"

enum { MESSAGES_MOST = 64, TEXT_MOST = 1 << 20 };

typedef struct Message {
  char *kind;
  uint8_t *data;
  size_t size;
} Message;

static Message messages[MESSAGES_MOST];
static size_t message_count;

static int load(void **state) {
  (void)state;
  Error err;
  CLEANUP_FREE char *path =
      memory_format("%.*s/agent-messages-1.txt", (int)(strrchr(__FILE__, '/') - __FILE__), __FILE__);
  CLEANUP_FREE char *text = NULL;
  if (file_read_text(path, TEXT_MOST, &text, &err) != STATUS_OK)
    fail_msg("%s", err.message);
  char *rest = NULL;
  for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
    char *hex = strchr(line, ' ');
    if (*line == '#')
      continue;
    assert_true(hex && message_count < MESSAGES_MOST);
    Message *message = &messages[message_count++];
    *hex++ = '\0';
    message->kind = memory_strdup(line);
    message->size = strlen(hex) / 2;
    message->data = memory_alloc(message->size);
    assert_true(text_unhex(hex, message->data, message->size));
  }
  assert_true(message_count > 10);
  return 0;
}

static int unload(void **state) {
  (void)state;
  for (size_t i = 0; i < message_count; i++) {
    free(messages[i].kind);
    free(messages[i].data);
  }
  return 0;
}

static Pgseal__Envelope *read_message(const Message *message) {
  Error err;
  Pgseal__Envelope *envelope = NULL;
  if (envelope_unpack(message->data, message->size, &envelope, &err) != STATUS_OK)
    fail_msg("%s: %s", message->kind, err.message);
  return envelope;
}

static void envelope_free(Pgseal__Envelope **envelope) {
  if (*envelope)
    pgseal__envelope__free_unpacked(*envelope, NULL);
}
#define ENVELOPE CLEANUP(envelope_free) Pgseal__Envelope

/* The nth of a kind. */
static Pgseal__Envelope *the(const char *kind, size_t nth) {
  for (size_t i = 0; i < message_count; i++)
    if (strcmp(messages[i].kind, kind) == 0 && nth-- == 0)
      return read_message(&messages[i]);
  fail_msg("there is no such %s", kind);
  return NULL;
}

/* A field that changed its number or its type would be unknown, or written otherwise. */
static void test_nothing_is_lost(void **state) {
  (void)state;
  static const struct {
    const char *kind;
    Pgseal__Envelope__BodyCase body;
  } kinds[] = {{"hello", PGSEAL__ENVELOPE__BODY_HELLO},
               {"authenticate", PGSEAL__ENVELOPE__BODY_AUTHENTICATE},
               {"poll", PGSEAL__ENVELOPE__BODY_POLL},
               {"progress", PGSEAL__ENVELOPE__BODY_PROGRESS},
               {"result", PGSEAL__ENVELOPE__BODY_RESULT}};
  for (size_t i = 0; i < message_count; i++) {
    ENVELOPE *envelope = read_message(&messages[i]);
    CLEANUP(buffer_release) Buffer again = {0};
    bool known = false;
    for (size_t j = 0; j < ARRAY_SIZE(kinds); j++)
      known = known || (strcmp(messages[i].kind, kinds[j].kind) == 0 && envelope->body_case == kinds[j].body);
    assert_true(known);
    assert_int_equal(envelope->base.n_unknown_fields, 0);
    envelope_pack(envelope, &again);
    assert_int_equal(again.size, messages[i].size);
    assert_memory_equal(again.data, messages[i].data, again.size);
  }
}

static void test_who_it_is(void **state) {
  (void)state;
  ENVELOPE *hello = the("hello", 0), *who = the("authenticate", 0), *poll = the("poll", 0);
  static const char *const capabilities[] = {"dump", "drill", "restore"};
  assert_string_equal(hello->hello->agent, "dump-drill-restore");
  assert_int_equal(hello->hello->nonce.len, 32);
  assert_int_equal(who->authenticate->n_capabilities, 3);
  for (size_t i = 0; i < 3; i++)
    assert_string_equal(who->authenticate->capabilities[i], capabilities[i]);
  assert_string_equal(who->authenticate->databases[0], "prod-api");
  assert_string_equal(who->authenticate->host, "agent-1");
  assert_string_equal(who->authenticate->tools[0]->name, "pg_dump-15");
  assert_int_equal(who->authenticate->signature.len, SIGNATURE_SIZE);
  assert_true(poll->poll->free_dump == 2 && poll->poll->free_drill == 2 && poll->poll->free_restore == 2);
  assert_true(poll->poll->free_rehearse == 0 && poll->poll->free_prune == 0); /* it has not heard of them */
}

static Pgseal__Job *polls(Fixture *f, int agent) {
  ENVELOPE *poll = the("poll", 0);
  Pgseal__Job *job = NULL;
  OK(dispatch_poll(f->dispatch, agent_names[agent], poll->poll, &job, &f->err));
  return job;
}

static void rename_to(char **id, const char *to) {
  free(*id);
  *id = memory_strdup(to);
}

static void tells_progress(Fixture *f, size_t nth, const Pgseal__Job *job) {
  ENVELOPE *progress = the("progress", nth);
  REPLY *reply = NULL;
  rename_to(&progress->progress->job_id, job->id);
  progress->progress->fencing = job->fencing;
  OK(dispatch_progress(f->dispatch, agent_names[0], progress->progress, &reply, &f->err));
  assert_false(reply->lease_lost);
}

static void tells_result(Fixture *f, Pgseal__Envelope *result, const Pgseal__Job *job) {
  bool accepted = false;
  const char *reason = NULL;
  rename_to(&result->result->job_id, job->id);
  result->result->fencing = job->fencing;
  OK(dispatch_result(f->dispatch, agent_names[0], result->result, &accepted, &reason, &f->err));
  assert_true(accepted);
}

static void test_it_seals(void **state) {
  Fixture *f = *state;
  ENVELOPE *who = the("authenticate", 0), *dumped = the("result", 0), *drilled = the("result", 1);
  dispatch_agent_offers(f->dispatch, agent_names[0], who->authenticate->capabilities,
                        who->authenticate->n_capabilities);
  CLEANUP_FREE char *id = request(f, "prod-api", "t");
  JOB *dump = polls(f, 0), *drill = polls(f, 0);
  assert_true(dump->kind == DUMP && drill->kind == DRILL);
  tells_progress(f, 0, dump);
  tells_result(f, dumped, dump);
  assert_int_equal(state_of(f, id), CHECKPOINT_DRILLING);
  for (size_t i = 1; i < 7; i++)
    tells_progress(f, i, drill);
  Pgseal__DrillResult *said = drilled->result->result->drill;
  CLEANUP_FREE char *statement =
      verdict_statement(id, drill->drill->drill_id, said->manifest_sha256, said->proof_sha256, OUTCOME_PROVEN);
  assert_int_equal(said->verdict_signature.len, SIGNATURE_SIZE);
  OK(signing_sign(f->keys[0], "verdict", statement, strlen(statement), said->verdict_signature.data, &f->err));
  tells_result(f, drilled, drill);
  assert_int_equal(state_of(f, id), CHECKPOINT_SEALED);
  Checkpoint checkpoint = {0};
  OK(ledger_checkpoint_get(f->ledger, id, &checkpoint, &f->err));
  assert_true(checkpoint.tables == 2 && checkpoint.rows > 0 && checkpoint.server_major == 15);
  checkpoint_release(&checkpoint);
}

/* It may be allowed to prune: it is asked once it says that it can. */
static void test_it_gets_nothing_new(void **state) {
  Fixture *f = *state;
  CLEANUP_FREE char *id = request(f, "shop", "t");
  OK(dispatch_cancel(f->dispatch, id, &me, &f->err));
  OK(dispatch_prune(f->dispatch, id, PRUNE_CHECKPOINT, &me, &f->err));
  assert_null(polls(f, PRUNER));
  Pgseal__Poll newer = PGSEAL__POLL__INIT;
  Pgseal__Job *job = NULL;
  newer.free_prune = 1;
  OK(dispatch_poll(f->dispatch, agent_names[PRUNER], &newer, &job, &f->err));
  assert_non_null(job);
  pgseal__job__free_unpacked(job, NULL);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_nothing_is_lost), cmocka_unit_test(test_who_it_is),
                                     TEST(test_it_seals), TEST(test_it_gets_nothing_new)};
  return cmocka_run_group_tests(tests, load, unload);
}
