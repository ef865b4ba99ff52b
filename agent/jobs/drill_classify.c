#include <stdlib.h>
#include <string.h>

#include "agent/jobs/drill.h"
#include "common/base/cleanup.h"
#include "common/base/memory.h"
#include "common/base/text.h"

enum { CLASSIFY_MESSAGE_SIZE = 1200, CLASSIFY_ISSUE_LIMIT = 1000 };

/* Worst first. What says something about the drill's surroundings stands before what condemns the checkpoint: without
 * its extension a table cannot be made, and then its rows cannot be restored. */
static const Status severity[] = {ERR_CLUSTER_LOST,        ERR_DISK_FULL,          ERR_EXTENSION_ABSENT,
                                  ERR_LOCALE_ABSENT,       ERR_ROLE_MISSING,       ERR_RESTORE_DATA_LOST,
                                  ERR_RESTORE_OBJECT_LOST, ERR_RESTORE_GRANT_LOST, ERR_TOOL};

typedef struct Rule {
  const char *first, *second; /* both must be there; second may be NULL */
  Status status;              /* STATUS_OK: what the entry's loss is */
  const char *remedy;         /* NULL: the code's own */
} Rule;

static const char preload_remedy[] =
    "The extension must be preloaded, which a drill's cluster does not do: keep it out "
    "of the database, or build a drill image that presets shared_preload_libraries.";
static const char path_remedy[] = "A restore runs with an empty search_path: in the source, let the function that is "
                                  "called here name schemas in full, "
                                  "or give it a search_path of its own (ALTER FUNCTION ... SET search_path).";
static const char memory_remedy[] = "Raise `drill.memory_mb`, or drill on a larger agent.";

/* In order of precedence; servers speak the C locale here. */
static const Rule rules[] = {
    {"server closed the connection", NULL, ERR_CLUSTER_LOST, NULL},
    {"terminating connection", NULL, ERR_CLUSTER_LOST, NULL},
    {"connection to server", "No such file or directory", ERR_CLUSTER_LOST, NULL},
    {"connection to server", "Connection refused", ERR_CLUSTER_LOST, NULL},
    {"no connection to the server", NULL, ERR_CLUSTER_LOST, NULL},
    {"connection not open", NULL, ERR_CLUSTER_LOST, NULL},
    {"database system is", NULL, ERR_CLUSTER_LOST, NULL},
    {"out of shared memory", NULL, ERR_CLUSTER_LOST, memory_remedy},
    {"out of memory", NULL, ERR_CLUSTER_LOST, memory_remedy},
    {"could not resize shared memory segment", NULL, ERR_CLUSTER_LOST, memory_remedy},
    {"No space left on device", NULL, ERR_DISK_FULL, NULL},
    {"must be loaded via shared_preload_libraries", NULL, ERR_EXTENSION_ABSENT, preload_remedy},
    {"can only be loaded via shared_preload_libraries", NULL, ERR_EXTENSION_ABSENT, preload_remedy},
    {"extension \"", "is not available", ERR_EXTENSION_ABSENT, NULL},
    {"could not open extension control file", NULL, ERR_EXTENSION_ABSENT, NULL},
    {"extension \"", "has no installation script", ERR_EXTENSION_ABSENT, NULL},
    {"could not access file \"", NULL, ERR_EXTENSION_ABSENT, "Use a drill image that has the library."},
    {"could not load library \"", NULL, ERR_EXTENSION_ABSENT, "Use a drill image that has the library."},
    {"invalid locale name", NULL, ERR_LOCALE_ABSENT, NULL},
    {"could not create locale", NULL, ERR_LOCALE_ABSENT, NULL},
    {"could not open collator", NULL, ERR_LOCALE_ABSENT, NULL},
    {"collation \"", "does not exist", ERR_LOCALE_ABSENT, NULL},
    {"invalid LC_", "locale", ERR_LOCALE_ABSENT, NULL},
    {"ICU is not supported", NULL, ERR_LOCALE_ABSENT, NULL},
    {"role \"", "\" does not exist", ERR_ROLE_MISSING, NULL},
    /* what a source can hold and no restore can make again */
    {"violates foreign key constraint", NULL, STATUS_OK,
     "The source holds rows that break this foreign key: correct or delete them there, or drop the constraint."},
    {"violates check constraint", NULL, STATUS_OK,
     "The rows break this constraint while they are restored, one table after the other. A CHECK may not read other "
     "tables: make it a trigger; or correct the rows in the source."},
    {"could not create unique index", NULL, STATUS_OK,
     "The source holds rows that this unique index forbids, so the index is corrupt there: remove the duplicates, then "
     "REINDEX."},
    {"function ", " does not exist", STATUS_OK, path_remedy},
    {"relation \"", "\" does not exist", STATUS_OK, path_remedy},
};

Status drill_classify_message(const char *message, Status fallback, const char **remedy) {
  for (size_t i = 0; i < ARRAY_SIZE(rules); i++) {
    const char *first = strstr(message, rules[i].first);
    if (!first || (rules[i].second && !strstr(first, rules[i].second)))
      continue;
    *remedy = rules[i].remedy;
    return rules[i].status == STATUS_OK ? fallback : rules[i].status;
  }
  *remedy = NULL;
  return fallback;
}

static bool is_one_of(const char *text, const char *const *list, size_t count) {
  for (size_t i = 0; i < count; i++)
    if (strcmp(text, list[i]) == 0)
      return true;
  return false;
}

/* What an entry's failure costs, when its message says nothing special. */
static Status entry_loss(const ArchiveEntry *entry, const char *command) {
  static const char *const data[] = {"TABLE DATA", "BLOBS", "BLOB", "SEQUENCE SET", "MATERIALIZED VIEW DATA"};
  static const char *const grants[] = {"ACL", "DEFAULT ACL"};
  if (is_one_of(entry->desc, data, ARRAY_SIZE(data)))
    return ERR_RESTORE_DATA_LOST;
  if (is_one_of(entry->desc, grants, ARRAY_SIZE(grants)))
    return ERR_RESTORE_GRANT_LOST;
  if (strncmp(command, "ALTER ", 6) == 0 && strstr(command, " OWNER TO "))
    return ERR_RESTORE_GRANT_LOST;
  return ERR_RESTORE_OBJECT_LOST;
}

static const ArchiveEntry *find_entry(const ArchiveToc *toc, int dump_id) {
  for (size_t i = 0; toc && i < toc->entry_count; i++)
    if (toc->entries[i].dump_id == dump_id)
      return &toc->entries[i];
  return NULL;
}

/* One complaint of pg_restore, while its lines are gathered. Of the message its first line: what follows, details and
 * context, may quote rows, whatever those say. */
typedef struct Complaint {
  const ArchiveEntry *entry; /* NULL: of no entry */
  Buffer message, command, place;
  bool open, in_command, raised; /* raised: in words that a function of the database chose */
} Complaint;

static void complaint_release(Complaint *complaint) {
  buffer_release(&complaint->message);
  buffer_release(&complaint->command);
  buffer_release(&complaint->place);
}

static char *entry_name(const ArchiveEntry *entry) {
  return *entry->schema ? memory_format("%s %s.%s", entry->desc, entry->schema, entry->tag)
                        : memory_format("%s %s", entry->desc, entry->tag);
}

/* The message without the value that it quotes: `invalid input syntax for type integer: "..."`. */
static char *discreet(Complaint *complaint, Status loss, Status status) {
  const char *message = buffer_text(&complaint->message), *error = strstr(message, "ERROR:"), *quote = NULL;
  const char *place = buffer_text(&complaint->place), *open = *place ? " (" : "", *close = *place ? ")" : "";
  if (complaint->raised)
    return memory_strdup("a function of the database raised an exception, whose words may quote rows");
  if (error && status == loss) { /* names of roles, locales and the like are no values */
    const char *colon = strstr(error, ": \""), *value = strstr(error, "value \"");
    quote = colon && (!value || colon < value) ? colon + 2 : value ? value + 6 : NULL;
  }
  if (!quote)
    return memory_format("%s%s%s%s", message, open, place, close);
  const char *last = strrchr(quote, '"');
  return memory_format("%.*s\"...\"%s%s%s%s", (int)(quote - message), message, last > quote ? last + 1 : "", open,
                       place, close);
}

static void complaint_close(Complaint *complaint, DrillIssues *out) {
  if (!complaint->open)
    return;
  char message[CLASSIFY_MESSAGE_SIZE], object[ERROR_OBJECT_SIZE];
  const char *remedy;
  /* without an entry, it is pg_restore itself that failed */
  Status fallback = complaint->entry ? entry_loss(complaint->entry, buffer_text(&complaint->command)) : ERR_TOOL;
  Status status = drill_classify_message(buffer_text(&complaint->message), fallback, &remedy);
  CLEANUP_FREE char *text = discreet(complaint, fallback, status);
  text_show(text, message, sizeof message);
  CLEANUP_FREE char *name = complaint->entry ? entry_name(complaint->entry) : memory_strdup("");
  DrillIssue issue = {.status = status,
                      .object = memory_strdup(text_show(name, object, sizeof object)),
                      .message = memory_strdup(message),
                      .remedy = memory_strdup(remedy ? remedy : error_default_remedy(status))};
  ARRAY_PUSH(out->items, out->count, issue);
  buffer_clear(&complaint->message);
  buffer_clear(&complaint->command);
  buffer_clear(&complaint->place);
  complaint->open = complaint->in_command = complaint->raised = false;
}

static const char *after(const char *line, const char *prefix) {
  size_t size = strlen(prefix);
  return strncmp(line, prefix, size) == 0 ? line + size : NULL;
}

static void append_part(Buffer *to, const char *text) {
  if (to->size >= CLASSIFY_MESSAGE_SIZE || !*text)
    return;
  if (to->size > 0)
    buffer_append_text(to, " ");
  buffer_append_text(to, text);
}

/* The entry is named once, with its first error; another one's work ends that. */
static bool complaint_begins_entry(const char *text) {
  static const char *const beginnings[] = {"creating ", "processing ", "executing ", "connecting ", "dropping "};
  for (size_t i = 0; i < ARRAY_SIZE(beginnings); i++)
    if (after(text, beginnings[i]))
      return true;
  return false;
}

/* A line that goes on with what came before: of the context only that a function raised it, and `COPY t, line 3`. */
static void complaint_context(Complaint *complaint, const char *line) {
  static const char marker[] = ", line ";
  const char *copy = after(line, "CONTEXT:  COPY "), *number = copy ? strstr(copy, marker) : NULL;
  if (strstr(line, " at RAISE"))
    complaint->raised = true;
  if (!number || complaint->place.size > 0)
    return;
  size_t digits = strspn(number + sizeof marker - 1, "0123456789");
  size_t size = (size_t)(number - copy) + sizeof marker - 1 + digits;
  if (digits == 0)
    return;
  buffer_append_format(&complaint->place, "COPY %.*s", (int)(size < ERROR_OBJECT_SIZE ? size : ERROR_OBJECT_SIZE),
                       copy);
}

static void complaint_line(Complaint *complaint, const char *line, const ArchiveToc *toc, DrillIssues *out) {
  static const char command[] = "Command was: ";
  const char *rest = after(line, "pg_restore: ");
  if (!rest) { /* goes on with what came before */
    const char *statement = after(line, command);
    complaint->in_command = complaint->in_command || statement;
    if (complaint->open && complaint->in_command)
      append_part(&complaint->command, statement ? statement : line);
    else if (complaint->open)
      complaint_context(complaint, line);
    return;
  }
  const char *text;
  if ((text = after(rest, "from TOC entry "))) {
    complaint_close(complaint, out);
    complaint->entry = find_entry(toc, (int)strtol(text, NULL, 10));
  } else if ((text = after(rest, "while "))) { /* INITIALIZING, PROCESSING TOC, FINALIZING */
    complaint_close(complaint, out);
    complaint->entry = NULL;
  } else if ((text = after(rest, "error: "))) {
    complaint_close(complaint, out);
    complaint->open = true;
    append_part(&complaint->message, text);
  } else if ((text = after(rest, "detail: ")) && complaint->open) {
    const char *statement = after(text, command);
    complaint->in_command = statement != NULL;
    append_part(&complaint->command, statement ? statement : "");
  } else {
    complaint_close(complaint, out); /* warnings, and what --verbose tells */
    if (complaint_begins_entry(rest))
      complaint->entry = NULL;
  }
}

void drill_classify(const char *errors, const ArchiveToc *toc, DrillIssues *out) {
  CLEANUP(complaint_release) Complaint complaint = {0};
  while (*errors && out->count < CLASSIFY_ISSUE_LIMIT) {
    size_t size = strcspn(errors, "\n");
    CLEANUP_FREE char *line = memory_strndup(errors, size);
    complaint_line(&complaint, line, toc, out);
    errors += size + (errors[size] == '\n');
  }
  complaint_close(&complaint, out);
}

static size_t severity_of(Status status) {
  for (size_t i = 0; i < ARRAY_SIZE(severity); i++)
    if (severity[i] == status)
      return i;
  return ARRAY_SIZE(severity);
}

const DrillIssue *drill_issues_worst(const DrillIssues *issues) {
  const DrillIssue *worst = NULL;
  for (size_t i = 0; i < issues->count; i++)
    if (!worst || severity_of(issues->items[i].status) < severity_of(worst->status))
      worst = &issues->items[i];
  return worst;
}

void drill_issues_release(DrillIssues *issues) {
  for (size_t i = 0; i < issues->count; i++) {
    free(issues->items[i].object);
    free(issues->items[i].message);
    free(issues->items[i].remedy);
  }
  free(issues->items);
  *issues = (DrillIssues){0};
}

/* The last line that it wrote, when it failed without a word that is understood; rather its own than what it passed on.
 */
static Status verdict_unexplained(int exit_code, const char *errors, Error *err) {
  CLEANUP_FREE char *text = memory_strdup("it did not say why");
  bool own = false;
  for (const char *line = errors; *line;) {
    size_t size = strcspn(line, "\n");
    CLEANUP_FREE char *next = memory_strndup(line, size);
    bool its = strstr(next, "pg_restore: ") != NULL;
    if (size > 0 && (its || !own)) {
      char *before = text;
      text = STEAL(next);
      free(before);
    }
    own |= its;
    line += size + (line[size] == '\n');
  }
  char tail[CLASSIFY_MESSAGE_SIZE];
  text_show(text, tail, sizeof tail);
  return error_set(err, ERR_TOOL, "pg_restore ended with exit code %d: %s", exit_code, tail);
}

static Status verdict_worst(const DrillIssues *issues, const DrillIssue *worst, Error *err) {
  CLEANUP_FREE char *more = issues->count > 1 ? memory_format(" (and %zu more)", issues->count - 1) : memory_strdup("");
  error_set(err, worst->status, "%s%s%s%s", worst->object, *worst->object ? ": " : "", worst->message, more);
  error_remedy(err, "%s", worst->remedy);
  error_object(err, "%s", worst->object);
  return err->status;
}

Status drill_restore_verdict(DrillRun *run, const DrillTool *tool, int exit_code, Error *err) {
  CLEANUP(buffer_release) Buffer log = {0};
  Status status = drill_tool_errors(tool, &log, err);
  if (status != STATUS_OK)
    return status;
  const char *errors = buffer_text(&log);
  drill_classify(errors, run->builder ? fingerprint_builder_toc(run->builder) : NULL, &run->issues);
  const DrillIssue *worst = drill_issues_worst(&run->issues);
  if (!worst && exit_code == 0 && !strstr(errors, "errors ignored on restore"))
    return STATUS_OK;
  if (worst)
    (void)verdict_worst(&run->issues, worst, err);
  else
    (void)verdict_unexplained(exit_code, errors, err);
  return drill_blame_cluster(run, err);
}
