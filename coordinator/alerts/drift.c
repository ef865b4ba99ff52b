/* What of a database drifted between its newest sealed checkpoint and the one before it. */
#include <string.h>

#include "coordinator/alerts/conditions.h"

static const char *member(const json_t *object, const char *name) {
  const char *text = json_string_value(json_object_get(object, name));
  return text ? text : "";
}

/* "public.orders has 0 rows (it had 20000)" */
static void say_table(const json_t *item, char *out, size_t size) {
  const json_t *now = json_object_get(item, "now");
  long long before = json_integer_value(json_object_get(item, "before")), rows = json_integer_value(now);
  if (!json_is_integer(now))
    snprintf(out, size, "%s is gone (it had %lld rows)", member(item, "table"), before);
  else if (rows < 0)
    snprintf(out, size, "%s is not among the largest tables any more (it had %lld rows)", member(item, "table"),
             before);
  else
    snprintf(out, size, "%s has %lld row%s (it had %lld)", member(item, "table"), rows, rows == 1 ? "" : "s", before);
}

bool condition_table_fallen(const DatabaseFacts *f, const AlertSettings *settings, int64_t now_us, Finding *out) {
  (void)settings;
  (void)now_us;
  char list[FACTS_TABLES * FACTS_TEXT * 2] = "", one[FACTS_TEXT * 2], more[64] = "";
  size_t index, used = 0;
  const json_t *item;
  if (f->sealed_count < 2 || f->fallen_count == 0)
    return false;
  json_array_foreach(f->fallen, index, item) {
    say_table(item, one, sizeof one);
    used += (size_t)snprintf(list + used, sizeof list - used, "%s%s", index ? ", " : "", one);
    if (used >= sizeof list)
      break;
  }
  if (f->fallen_count > json_array_size(f->fallen))
    snprintf(more, sizeof more, "%zu tables have fallen, among them ", f->fallen_count);
  finding_say(out, "%s: since the checkpoint before the newest sealed one: %s%s", f->name, more, list);
  finding_advise(out,
                 "See what is gone, and the ways back: pgseal plan %s --checkpoint %s; all tables: pgseal tables %s",
                 f->name, f->sealed[1].id, f->sealed[0].id);
  return true;
}

/* "libc de_DE.utf8 2.36" */
static const char *collation_of(const json_t *source, char out[FACTS_TEXT]) {
  const char *version = member(source, "collation_actual");
  version = *version ? version : member(source, "collation_version");
  snprintf(out, FACTS_TEXT, "%s %s%s%s", member(source, "collation_provider"), member(source, "collation"),
           *version ? " " : "", version);
  return out;
}

/* Both are known, and are not the same. */
static bool differs(const json_t *before, const json_t *now, const char *name) {
  const char *left = member(before, name), *right = member(now, name);
  return *left && *right && strcmp(left, right) != 0;
}

bool condition_collation_changed(const DatabaseFacts *f, const AlertSettings *settings, int64_t now_us, Finding *out) {
  (void)settings;
  (void)now_us;
  char is[FACTS_TEXT], was[FACTS_TEXT];
  const json_t *now = f->sealed_count > 0 ? f->sealed[0].source : NULL,
               *before = f->sealed_count > 1 ? f->sealed[1].source : NULL;
  const char *made = member(now, "collation_version"), *actual = member(now, "collation_actual");
  bool other = differs(before, now, "collation_provider") || differs(before, now, "collation");
  if (other || differs(before, now, "collation_actual"))
    finding_say(out, "%s: its texts are sorted by %s now; at the checkpoint before it was %s", f->name,
                collation_of(now, is), collation_of(before, was));
  else if (*made && *actual && strcmp(made, actual) != 0)
    finding_say(out,
                "%s: its texts are sorted by version %s of its collation's library; its indexes may be of version %s",
                f->name, actual, made);
  else
    return false;
  finding_advise(out, other
                          ? "It is another database, or was made anew: is that meant?"
                          : "Was its operating system upgraded, or did another machine take over? Indexes on texts may "
                            "be out of order: REINDEX them, then ALTER DATABASE ... REFRESH COLLATION VERSION.");
  return true;
}

bool condition_encoding_changed(const DatabaseFacts *f, const AlertSettings *settings, int64_t now_us, Finding *out) {
  (void)settings;
  (void)now_us;
  if (f->sealed_count < 2 || !differs(f->sealed[1].source, f->sealed[0].source, "encoding"))
    return false;
  finding_say(out, "%s: its encoding is %s now; at the checkpoint before it was %s", f->name,
              member(f->sealed[0].source, "encoding"), member(f->sealed[1].source, "encoding"));
  finding_advise(out, "An encoding is given when a database is made: this is another one. Is that meant?");
  return true;
}
