/* Drills that follow a dump while it still runs. */
#include "tests/unit/agent/jobs/drill_fixture.h"

#include <dirent.h>

/* What the agent tells the drill, in steps. */
typedef struct Teller {
  const Checkpoint *checkpoint;
  const char *bootstrap_role;
  Drill *drill;
  size_t hidden;          /* segments that are told of only with the end */
  bool gone;              /* the dump fails half-way */
  bool cancel;            /* the drill is called off half-way */
  const Checkpoint *next; /* half-way, the dump is tried again, as this one */
  pthread_t thread;
} Teller;

static void tell(Teller *teller, const Checkpoint *checkpoint, int state, uint64_t segments) {
  Pgseal__Follow *follow = memory_alloc(sizeof *follow);
  pgseal__follow__init(follow);
  follow->state = (Pgseal__Follow__State)state;
  follow->segments = segments;
  follow->server_major = FIXTURE_MAJOR;
  follow->roles_stored = segments > 0;
  follow->prefix = memory_strdup(checkpoint->prefix);
  follow->bootstrap_role = memory_strdup(teller->bootstrap_role);
  follow->database_name = memory_strdup(checkpoint->manifest.database_name);
  if (state == PGSEAL__FOLLOW__STATE__STORED)
    follow->manifest_sha256 = memory_strdup(checkpoint->sha256);
  JobChannel *channel = &teller->drill->channel;
  pthread_mutex_lock(&channel->lock);
  if (channel->follow)
    pgseal__follow__free_unpacked(channel->follow, NULL);
  channel->follow = follow;
  channel->serial++;
  pthread_cond_broadcast(&channel->changed);
  pthread_mutex_unlock(&channel->lock);
}

static void tell_all(Teller *teller, const Checkpoint *checkpoint, size_t upto) {
  for (size_t i = 0; i <= upto; i++) {
    tell(teller, checkpoint, PGSEAL__FOLLOW__STATE__DUMPING, i);
    usleep(i < 3 ? 300000 : 20000);
  }
}

static void *teller_run(void *user) {
  Teller *teller = user;
  size_t count = teller->checkpoint->manifest.segment_count;
  tell_all(teller, teller->checkpoint,
           teller->gone || teller->next || teller->cancel ? count / 2 : count - teller->hidden);
  if (teller->cancel) {
    pthread_mutex_lock(&teller->drill->channel.lock);
    teller->drill->channel.canceled = true;
    pthread_cond_broadcast(&teller->drill->channel.changed);
    pthread_mutex_unlock(&teller->drill->channel.lock);
  } else if (teller->gone) {
    tell(teller, teller->checkpoint, PGSEAL__FOLLOW__STATE__GONE, count / 2);
  } else if (teller->next) {
    tell_all(teller, teller->next, teller->next->manifest.segment_count);
    tell(teller, teller->next, PGSEAL__FOLLOW__STATE__STORED, teller->next->manifest.segment_count);
  } else {
    tell(teller, teller->checkpoint, PGSEAL__FOLLOW__STATE__STORED, count);
  }
  return NULL;
}

static int setup_all(void **state) {
  Source *source = memory_alloc(sizeof *source);
  source_open(source, "postgres");
  *state = source;
  PGconn *session = source_connect(source, "postgres");
  session_run(session, "CREATE ROLE alice");
  session_run(session, "CREATE TABLE t (a int PRIMARY KEY, b text); ALTER TABLE t OWNER TO alice");
  session_run(session, "INSERT INTO t SELECT g, md5(g::text) FROM generate_series(1, 20000) g");
  PQfinish(session);
  return 0;
}

static int teardown_all(void **state) {
  source_close(*state);
  free(*state);
  return 0;
}

/* Drills a checkpoint that is being made, as the teller tells. */
static void follow(const Source *source, Teller *teller, Status expected) {
  Drill drill;
  drill_init(source, teller->checkpoint, &drill);
  drill.spec.manifest_sha256 = (char *)protobuf_c_empty_string;
  if (teller->next)
    drill.job.checkpoint_id = teller->next->id;
  teller->drill = &drill;
  teller->bootstrap_role = cluster_superuser(source->cluster);
  assert_int_equal(0, pthread_create(&teller->thread, NULL, teller_run, teller));
  drill_run(&drill);
  pthread_join(teller->thread, NULL);
  assert_outcome(&drill, expected);
  if (expected == STATUS_OK) {
    const Checkpoint *last = teller->next ? teller->next : teller->checkpoint;
    assert_string_equal("proven", drill.result.drill->verdict);
    assert_string_equal(last->sha256, drill.result.drill->manifest_sha256);
    assert_ptr_equal(drill.result.drill->proof_key, strstr(drill.result.drill->proof_key, last->prefix));
  } else if (error_outcome(expected) == OUTCOME_FAILED) {
    assert_string_equal("failed", drill.result.drill->verdict);
  } else {
    assert_null(drill.result.drill);
  }
  DIR *dir = opendir(teller->checkpoint->scratch);
  for (struct dirent *e; (e = readdir(dir));)
    assert_int_equal('.', e->d_name[0]);
  closedir(dir);
  drill_release(&drill);
}

static void growing_checkpoint_is_proven(void **state) {
  Checkpoint checkpoint = {0};
  checkpoint_make(*state, &(CheckpointOptions){.database = "postgres"}, &checkpoint);
  assert_true(checkpoint.manifest.segment_count > 8);
  follow(*state, &(Teller){.checkpoint = &checkpoint, .hidden = 3}, STATUS_OK);
  checkpoint_release(&checkpoint);
}

static void checkpoint_without_roles_is_condemned_after_its_end(void **state) {
  Checkpoint checkpoint = {0};
  checkpoint_make(*state, &(CheckpointOptions){.database = "postgres", .roles_replace = "alice", .roles_with = "malic"},
                  &checkpoint);
  follow(*state, &(Teller){.checkpoint = &checkpoint}, ERR_ROLE_MISSING);
  checkpoint_release(&checkpoint);
}

static void lost_dump_cancels(void **state) {
  Checkpoint checkpoint = {0};
  checkpoint_make(*state, &(CheckpointOptions){.database = "postgres"}, &checkpoint);
  follow(*state, &(Teller){.checkpoint = &checkpoint, .gone = true}, ERR_CANCELED);
  checkpoint_release(&checkpoint);
}

static void cancel_ends_it(void **state) {
  Checkpoint checkpoint = {0};
  checkpoint_make(*state, &(CheckpointOptions){.database = "postgres"}, &checkpoint);
  follow(*state, &(Teller){.checkpoint = &checkpoint, .cancel = true}, ERR_CANCELED);
  checkpoint_release(&checkpoint);
}

static void dump_tried_again_is_followed(void **state) {
  Checkpoint first = {0}, second = {0};
  checkpoint_make(*state, &(CheckpointOptions){.database = "postgres"}, &first);
  checkpoint_make(*state, &(CheckpointOptions){.database = "postgres"}, &second);
  follow(*state, &(Teller){.checkpoint = &first, .next = &second}, STATUS_OK);
  checkpoint_release(&first);
  checkpoint_release(&second);
}

/* A segment altered after the dump stored it: found by the manifest's digest at the latest. */
static void altered_segment_is_found(void **state) {
  const Source *source = *state;
  Checkpoint checkpoint = {0}, other = {0};
  checkpoint_make(source, &(CheckpointOptions){.database = "postgres"}, &checkpoint);
  checkpoint_make(source, &(CheckpointOptions){.database = "postgres"}, &other);
  Repository *repository = source_repository(source);
  Buffer object = {0};
  char *key = manifest_segment_key(checkpoint.prefix, 4), *from = manifest_segment_key(other.prefix, 4);
  assert_ok(repository_get(repository, from, FIXTURE_LIMIT, &object, err));
  assert_ok(repository_remove(repository, key, err));
  assert_ok(repository_put(repository, key, object.data, object.size, err));
  follow(source, &(Teller){.checkpoint = &checkpoint}, ERR_SEGMENT_CORRUPT);
  repository_close(repository);
  buffer_release(&object);
  free(key);
  free(from);
  checkpoint_release(&checkpoint);
  checkpoint_release(&other);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(growing_checkpoint_is_proven),
      cmocka_unit_test(checkpoint_without_roles_is_condemned_after_its_end),
      cmocka_unit_test(lost_dump_cancels),
      cmocka_unit_test(cancel_ends_it),
      cmocka_unit_test(dump_tried_again_is_followed),
      cmocka_unit_test(altered_segment_is_found),
  };
  return cmocka_run_group_tests(tests, setup_all, teardown_all);
}
