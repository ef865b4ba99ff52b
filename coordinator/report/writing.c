#include "coordinator/report/writing.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/cleanup.h"
#include "common/base/log.h"
#include "common/base/memory.h"
#include "common/crypto/digest.h"
#include "coordinator/report/letter.h"
#include "coordinator/report/pdf.h"

typedef enum Step { STEP_NONE, STEP_GATHERING, STEP_WRITING, STEP_WRITTEN } Step;

struct Writing {
  uv_loop_t *loop;
  const CoordinatorConfig *config;
  Reports *reports;
  void (*written)(void *user);
  void *user;
  atomic_bool stop;
  uv_work_t work;
  /* of the letter: */
  Step step;
  char id[27], digest[SHA256_HEX_SIZE];
  const ReportPlan *plan;
  int64_t created_us, from_us, to_us;
  bool bare;
  char *key, *text; /* of the report; its document */
  size_t size;
  char *problem; /* why there is no report, to be told by mail; or NULL */
  Status status; /* why there is no letter */
  Error err;
  Buffer body;
};

static void clear(Writing *writing) {
  free(writing->key);
  free(writing->text);
  free(writing->problem);
  buffer_release(&writing->body);
  writing->key = writing->text = writing->problem = NULL;
  writing->body = (Buffer){0};
  writing->size = 0;
  writing->id[0] = writing->digest[0] = '\0';
  writing->status = STATUS_OK;
  writing->step = STEP_NONE;
}

/* ---- in the thread ---- */

static Letter letter_of(const Writing *writing) {
  return (Letter){.plan = writing->plan,
                  .route = alert_route(&writing->config->alerts, writing->plan->route),
                  .id = writing->id,
                  .link = writing->config->alerts.link,
                  .created_us = writing->created_us,
                  .from_us = writing->from_us,
                  .to_us = writing->to_us,
                  .bare = writing->bare,
                  .problem = writing->problem};
}

static Status write_letter(Writing *writing, Error *err) {
  CLEANUP(report_file_release) ReportFile file = {0};
  CLEANUP(view_release) View view = {0};
  CLEANUP(buffer_release) Buffer html = {0}, pdf = {0};
  Letter letter = letter_of(writing);
  Error no_pdf;
  Status status = report_read(writing->text, writing->size, &file, err);
  if (status)
    return status;
  bool is_signed = !json_is_null(file.signature);
  view_make(&file, is_signed ? TRUST_NAMED : TRUST_NONE, &view);
  view_html(&view, &html);
  letter.text = writing->text;
  letter.size = writing->size;
  letter.file = &file;
  letter.view = &view;
  letter.html = &html;
  if (report_pdf(writing->text, writing->size, is_signed ? "named" : "none", &writing->stop, &pdf, &no_pdf)) {
    letter.no_pdf = no_pdf.message;
    log_failure(LOG_LEVEL_WARN, "a report is sent without a PDF", &no_pdf);
  } else {
    letter.pdf = &pdf;
  }
  letter_write(&letter, &writing->body);
  sha256_hex(writing->text, writing->size, writing->digest);
  return STATUS_OK;
}

static void work(uv_work_t *request) {
  Writing *writing = request->data;
  writing->status = write_letter(writing, &writing->err);
}

/* ---- on the loop ---- */

static void after_work(uv_work_t *request, int canceled) {
  Writing *writing = request->data;
  if (canceled)
    writing->status = error_set(&writing->err, ERR_UNAVAILABLE, "the letter was not written");
  writing->step = STEP_WRITTEN;
  if (!atomic_load(&writing->stop))
    writing->written(writing->user);
}

/* That there is no report is what its readers have to know; what may pass by itself is tried again. */
static bool is_told(Status status) {
  return status == ERR_NOT_FOUND || status == ERR_TOO_MANY;
}

static void tell_problem(Writing *writing, const Error *cause) {
  writing->problem = memory_strdup(cause->message);
  const Letter letter = letter_of(writing);
  letter_write(&letter, &writing->body);
  writing->step = STEP_WRITTEN;
}

/* The report is made, or not: what follows from that. False: nothing, it is still being made. */
static bool go_on(Writing *writing) {
  const char *text = NULL;
  size_t size = 0;
  Error err;
  Status status = reports_get(writing->reports, writing->key, &text, &size, &err);
  if (!status && !text)
    return false;
  if (is_told(status)) {
    tell_problem(writing, &err);
    return true;
  }
  if (!status) {
    writing->text = memory_strndup(text, size);
    writing->size = size;
    writing->step = STEP_WRITING;
    writing->work.data = writing;
    if (uv_queue_work(writing->loop, &writing->work, work, after_work) == 0)
      return true;
    status = error_set(&err, ERR_UNAVAILABLE, "no thread could be had for the letter");
  }
  writing->status = status;
  writing->err = err;
  writing->step = STEP_WRITTEN;
  return true;
}

static void on_report(void *user, const char *key) {
  Writing *writing = user;
  if (writing->step == STEP_GATHERING && strcmp(writing->key, key) == 0 && go_on(writing) &&
      writing->step == STEP_WRITTEN)
    writing->written(writing->user);
}

static bool sees_all(const void *user, const char *database) {
  (void)user, (void)database;
  return true;
}

static void start(Writing *writing, const ReportPlan *plan, const LedgerNotification *row, bool bare) {
  const json_t *item = json_array_get(row->alerts, 0);
  clear(writing);
  snprintf(writing->id, sizeof writing->id, "%s", row->id);
  writing->plan = plan;
  writing->bare = bare;
  writing->created_us = row->created_us;
  writing->from_us = json_integer_value(json_object_get(item, "from_us"));
  writing->to_us = json_integer_value(json_object_get(item, "to_us"));
  const ReportWish wish = {.from_us = writing->from_us,
                           .to_us = writing->to_us,
                           .database = plan->database,
                           .owner = plan->owner,
                           .environment = plan->environment,
                           .sees = sees_all};
  Error err;
  Status status = reports_ask(writing->reports, &wish, &writing->key, &err);
  writing->step = STEP_GATHERING;
  if (status == ERR_NOT_FOUND) {
    tell_problem(writing, &err);
  } else if (status) {
    writing->status = status;
    writing->err = err;
    writing->step = STEP_WRITTEN;
  } else {
    (void)go_on(writing); /* it may be there already: another letter was just made of it */
  }
}

Status writing_ask(Writing *writing, const ReportPlan *plan, const LedgerNotification *row, char **body, size_t *size,
                   Error *err) {
  bool bare = json_is_true(json_object_get(json_array_get(row->alerts, 0), "bare"));
  bool mine = strcmp(writing->id, row->id) == 0 && writing->bare == bare;
  *body = NULL;
  if (atomic_load(&writing->stop))
    return STATUS_OK;
  if (!mine && (writing->step == STEP_NONE || writing->step == STEP_WRITTEN)) {
    start(writing, plan, row, bare);
    mine = true;
  }
  if (!mine || writing->step != STEP_WRITTEN)
    return STATUS_OK;
  if (writing->status) {
    Status status = writing->status;
    *err = writing->err;
    clear(writing); /* the next attempt begins anew */
    return status;
  }
  *body = memory_strndup((const char *)writing->body.data, writing->body.size);
  *size = writing->body.size;
  return STATUS_OK;
}

const char *writing_digest(const Writing *writing, const char *id) {
  return strcmp(writing->id, id) == 0 && writing->digest[0] ? writing->digest : NULL;
}

void writing_forget(Writing *writing, const char *id) {
  if (writing->step == STEP_WRITTEN && strcmp(writing->id, id) == 0)
    clear(writing);
}

/* ---- its life ---- */

Status writing_open(uv_loop_t *loop, const CoordinatorConfig *config, Dispatch *dispatch, void (*written)(void *user),
                    void *user, Writing **out, Error *err) {
  Writing *writing = memory_alloc(sizeof *writing);
  *writing = (Writing){.loop = loop, .config = config, .written = written, .user = user};
  Status status = reports_open(loop, config, dispatch, on_report, writing, &writing->reports, err);
  if (status)
    free(writing);
  else
    *out = writing;
  return status;
}

void writing_stop(Writing *writing) {
  atomic_store(&writing->stop, true);
  reports_close(writing->reports);
  writing->reports = NULL;
}

void writing_free(Writing *writing) {
  if (!writing)
    return;
  clear(writing);
  free(writing);
}
