#include <stdlib.h>
#include <string.h>

#include "agent/rehearsal/rehearsal.h"

void rehearsal_statements_init(RehearsalStatements *statements) {
  pthread_mutex_init(&statements->lock, NULL);
}

static void release(RehearsalStatement *statement) {
  free(statement->outline);
  free(statement->message);
  *statement = (RehearsalStatement){0};
}

void rehearsal_statements_release(RehearsalStatements *statements) {
  for (size_t i = 0; i < statements->failure_count; i++)
    release(&statements->failures[i]);
  for (size_t i = 0; i < statements->longest_count; i++)
    release(&statements->longest[i]);
  pthread_mutex_destroy(&statements->lock);
}

/* Into its place; the shortest makes room. */
static void keep_if_long(RehearsalStatements *statements, RehearsalStatement *statement) {
  RehearsalStatement *list = statements->longest;
  size_t place = statements->longest_count;
  while (place > 0 && list[place - 1].seconds < statement->seconds)
    place--;
  if (place == REHEARSAL_LONGEST) {
    release(statement);
    return;
  }
  if (statements->longest_count == REHEARSAL_LONGEST)
    release(&list[--statements->longest_count]);
  memmove(&list[place + 1], &list[place], (statements->longest_count - place) * sizeof *list);
  list[place] = *statement;
  statements->longest_count++;
}

void rehearsal_statements_add(RehearsalStatements *statements, RehearsalStatement statement) {
  pthread_mutex_lock(&statements->lock);
  statements->count++;
  statements->seconds += statement.seconds;
  if (!statement.message) {
    keep_if_long(statements, &statement);
  } else {
    statements->failed++;
    if (statements->failure_count < REHEARSAL_FAILURES)
      statements->failures[statements->failure_count++] = statement;
    else
      release(&statement);
  }
  pthread_mutex_unlock(&statements->lock);
}

static json_t *statement_json(const RehearsalStatement *statement) {
  json_t *json = json_object();
  if (statement->file) {
    json_object_set_new(json, "file", json_string(statement->file));
    json_object_set_new(json, "line", json_integer(statement->line));
  }
  json_object_set_new(json, "statement", json_string(statement->outline));
  json_object_set_new(json, "seconds", json_real(statement->seconds));
  if (statement->message) {
    json_object_set_new(json, "sqlstate", *statement->sqlstate ? json_string(statement->sqlstate) : json_null());
    json_object_set_new(json, "message", json_string(statement->message));
  }
  return json;
}

json_t *rehearsal_statements_json(const RehearsalStatements *statements) {
  json_t *failures = json_array(), *longest = json_array();
  for (size_t i = 0; i < statements->failure_count; i++)
    json_array_append_new(failures, statement_json(&statements->failures[i]));
  for (size_t i = 0; i < statements->longest_count; i++)
    json_array_append_new(longest, statement_json(&statements->longest[i]));
  return json_pack("{s:I, s:I, s:f, s:o, s:o}", "count", (json_int_t)statements->count, "failed",
                   (json_int_t)statements->failed, "seconds", statements->seconds, "failures", failures, "longest",
                   longest);
}
