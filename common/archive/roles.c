#include "common/archive/roles.h"

#include <stdlib.h>
#include <string.h>

#include "common/archive/script.h"
#include "common/archive/sql_text.h"
#include "common/base/cleanup.h"
#include "common/base/memory.h"

enum { DIGITS_MAX = 9 };

static const struct {
  RoleAttribute attribute;
  const char *given, *withheld;
} attributes[] = {
    {ROLE_SUPERUSER, "SUPERUSER", "NOSUPERUSER"},
    {ROLE_CREATEROLE, "CREATEROLE", "NOCREATEROLE"},
    {ROLE_CREATEDB, "CREATEDB", "NOCREATEDB"},
    {ROLE_REPLICATION, "REPLICATION", "NOREPLICATION"},
    {ROLE_BYPASSRLS, "BYPASSRLS", "NOBYPASSRLS"},
    {ROLE_INHERIT, "INHERIT", "NOINHERIT"},
    {ROLE_LOGIN, "LOGIN", "NOLOGIN"},
};

const char *role_attribute_word(RoleAttribute attribute, bool given) {
  for (size_t i = 0; i < ARRAY_SIZE(attributes); i++)
    if (attributes[i].attribute == attribute)
      return given ? attributes[i].given : attributes[i].withheld;
  return "";
}

static Role *find(RoleList *list, const char *name) {
  for (size_t i = 0; i < list->role_count; i++) {
    size_t at = (list->found + i) % list->role_count;
    if (strcmp(list->roles[at].name, name) != 0)
      continue;
    list->found = at;
    return &list->roles[at];
  }
  return NULL;
}

const Role *roles_find(RoleList *list, const char *name) {
  return find(list, name);
}

void roles_release(RoleList *list) {
  for (size_t i = 0; i < list->role_count; i++) {
    Role *role = &list->roles[i];
    for (size_t s = 0; s < role->setting_count; s++) {
      free(role->settings[s].name);
      free(role->settings[s].values);
    }
    free(role->settings);
    free(role->name);
    free(role->valid_until);
    free(role->comment);
  }
  for (size_t i = 0; i < list->membership_count; i++) {
    free(list->memberships[i].role);
    free(list->memberships[i].member);
  }
  free(list->roles);
  free(list->memberships);
  *list = (RoleList){0};
}

/* ---- a statement, word by word ---- */

typedef struct Words {
  const char *at, *end;
} Words;

static void skip_space(Words *words) {
  while (words->at < words->end && memchr(" \t\r\n", *words->at, 4))
    words->at++;
}

static bool take_word(Words *words, const char *word) {
  skip_space(words);
  if (!sql_at_word(words->at, words->end, word))
    return false;
  words->at += strlen(word);
  skip_space(words);
  return true;
}

static char *take_name(Words *words) { /* or NULL */
  char *name = NULL;
  skip_space(words);
  return sql_take_name(&words->at, words->end, &name) ? name : NULL;
}

static char *take_literal(Words *words) { /* or NULL */
  skip_space(words);
  const char *start = words->at, *quote = start;
  if (start < words->end && *start == 'E')
    quote++;
  if (quote >= words->end || *quote != '\'')
    return NULL;
  const char *stop = sql_skip_token(start, words->end);
  if (stop - quote < 2 || stop[-1] != '\'')
    return NULL;
  words->at = stop;
  return memory_strndup(start, (size_t)(stop - start));
}

static bool take_number(Words *words, int *out) {
  skip_space(words);
  const char *at = words->at;
  int value = 0, digits = 0;
  bool negative = at < words->end && *at == '-';
  for (at += negative; at < words->end && *at >= '0' && *at <= '9'; at++, digits++)
    value = digits < DIGITS_MAX ? 10 * value + (*at - '0') : value;
  if (digits == 0 || digits > DIGITS_MAX)
    return false;
  words->at = at;
  *out = negative ? -1 : value;
  return true;
}

static bool at_end(Words *words) {
  skip_space(words);
  return words->at >= words->end;
}

/* ---- the statements ---- */

static void replace(char **member, char *text) {
  free(*member);
  *member = text;
}

static void take_attributes(Role *role, Words *words) {
  while (!at_end(words)) {
    bool known = false;
    for (size_t i = 0; i < ARRAY_SIZE(attributes) && !known; i++) {
      bool given = take_word(words, attributes[i].given);
      known = given || take_word(words, attributes[i].withheld);
      if (known)
        role->attributes =
            (role->attributes & ~(unsigned)attributes[i].attribute) | (given ? (unsigned)attributes[i].attribute : 0);
    }
    if (known)
      continue;
    char *until = take_word(words, "VALID UNTIL") ? take_literal(words) : NULL;
    if (until)
      replace(&role->valid_until, until);
    else if (!take_word(words, "CONNECTION LIMIT") || !take_number(words, &role->connection_limit))
      words->at = at_end(words) ? words->end : sql_skip_token(words->at, words->end);
  }
}

/* search_path TO 'a', 'b' */
static void take_setting(Role *role, Words *words) {
  CLEANUP(buffer_release) Buffer name = {0}, values = {0};
  RoleSetting setting = {0};
  char *parts[2] = {0};
  skip_space(words);
  size_t count = sql_take_qualified(&words->at, words->end, parts, ARRAY_SIZE(parts));
  for (size_t i = 0; i < count && i < ARRAY_SIZE(parts); i++)
    buffer_append_format(&name, "%s%s", i ? "." : "", parts[i]);
  bool good = count > 0 && count <= ARRAY_SIZE(parts) && take_word(words, "TO");
  do {
    CLEANUP_FREE char *value = good ? take_literal(words) : NULL;
    good = value != NULL;
    if (!good)
      break;
    buffer_append_format(&values, "%s%s", setting.value_count++ ? ", " : "", value);
    skip_space(words);
  } while (words->at < words->end && *words->at++ == ',');
  if (good && at_end(words)) {
    setting.name = buffer_steal_text(&name);
    setting.values = buffer_steal_text(&values);
    ARRAY_PUSH(role->settings, role->setting_count, setting);
  }
  free(parts[0]);
  free(parts[1]);
}

static void take_alter(RoleList *list, Words *words) {
  CLEANUP_FREE char *name = take_name(words);
  Role *role = name ? find(list, name) : NULL;
  if (!role)
    return;
  if (take_word(words, "WITH"))
    take_attributes(role, words);
  else if (take_word(words, "SET"))
    take_setting(role, words);
}

static void take_comment(RoleList *list, Words *words) {
  CLEANUP_FREE char *name = take_name(words);
  Role *role = name ? find(list, name) : NULL;
  char *text = role && take_word(words, "IS") ? take_literal(words) : NULL;
  if (text)
    replace(&role->comment, text);
}

static void take_create(RoleList *list, Words *words) {
  char *name = take_name(words);
  if (name && find(list, name)) {
    free(name);
  } else if (name) {
    ARRAY_PUSH(list->roles, list->role_count,
               ((Role){.name = name, .attributes = ROLE_INHERIT, .connection_limit = -1}));
    list->found = list->role_count - 1;
  }
}

/* WITH ADMIN OPTION, INHERIT TRUE, SET FALSE GRANTED BY c */
static void take_options(RoleMembership *one, Words *words) {
  one->set = true;
  if (!take_word(words, "WITH"))
    return;
  do {
    if (take_word(words, "ADMIN OPTION") || take_word(words, "ADMIN TRUE"))
      one->admin = true;
    else if (take_word(words, "INHERIT TRUE"))
      one->inherit = ROLE_OPTION_TRUE;
    else if (take_word(words, "INHERIT FALSE"))
      one->inherit = ROLE_OPTION_FALSE;
    else if (take_word(words, "SET FALSE"))
      one->set = false;
    else if (!take_word(words, "SET TRUE"))
      return;
  } while (words->at < words->end && *words->at++ == ',');
}

/* The same pair, granted by another grantor: what either gives. pg_dumpall writes them behind each other. */
static bool joined(RoleList *list, const RoleMembership *one) {
  RoleMembership *last = list->membership_count ? &list->memberships[list->membership_count - 1] : NULL;
  if (!last || strcmp(last->role, one->role) != 0 || strcmp(last->member, one->member) != 0)
    return false;
  last->admin |= one->admin;
  last->set |= one->set;
  if (one->inherit > last->inherit)
    last->inherit = one->inherit;
  return true;
}

static void take_grant(RoleList *list, Words *words) {
  CLEANUP_FREE char *role = take_name(words);
  CLEANUP_FREE char *member = role && take_word(words, "TO") ? take_name(words) : NULL;
  RoleMembership one = {.role = role, .member = member};
  if (!member)
    return;
  take_options(&one, words);
  if (joined(list, &one))
    return;
  one.role = STEAL(role);
  one.member = STEAL(member);
  ARRAY_PUSH(list->memberships, list->membership_count, one);
}

void roles_parse(const char *text, size_t size, RoleList *out) {
  Script script;
  script_open(&script, text, size);
  for (ScriptPiece piece; (piece = script_next(&script)) != SCRIPT_END;) {
    Words words = {script.piece, script.piece + script.size};
    if (piece == SCRIPT_COMMAND)
      continue;
    if (take_word(&words, "CREATE ROLE"))
      take_create(out, &words);
    else if (take_word(&words, "ALTER ROLE"))
      take_alter(out, &words);
    else if (take_word(&words, "COMMENT ON ROLE"))
      take_comment(out, &words);
    else if (take_word(&words, "GRANT"))
      take_grant(out, &words);
  }
}
