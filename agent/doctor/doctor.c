#include "agent/doctor/doctor.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "agent/session/tools.h"
#include "common/base/buffer.h"
#include "common/base/cleanup.h"
#include "common/base/text.h"

static const struct {
  const char *word, *color;
} findings[] = {
    [FINDING_OK] = {"ok", "\x1b[32m"},
    [FINDING_WARN] = {"warn", "\x1b[33m"},
    [FINDING_BAD] = {"FAIL", "\x1b[31m"},
};

void doctor_say(Doctor *doctor, Finding finding, const char *what, const char *format, ...) {
  va_list arguments;
  char detail[2048], clean[2048], subject[256];
  va_start(arguments, format);
  vsnprintf(detail, sizeof detail, format, arguments);
  va_end(arguments);
  doctor->warnings += finding == FINDING_WARN;
  doctor->bad += finding == FINDING_BAD;
  printf("%s%-4s%s  %s: %s\n", doctor->color ? findings[finding].color : "", findings[finding].word,
         doctor->color ? "\x1b[0m" : "", text_clean(what, subject, sizeof subject),
         text_clean(detail, clean, sizeof clean));
  fflush(stdout); /* the next thing may take a while */
}

void doctor_remedy(const char *format, ...) {
  va_list arguments;
  char text[2048], clean[2048];
  va_start(arguments, format);
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  printf("      %s\n", text_clean(text, clean, sizeof clean));
}

void doctor_error(Doctor *doctor, const char *what, const Error *err) {
  doctor_say(doctor, FINDING_BAD, what, "%s", err->message);
  doctor_remedy("%s", err->remedy);
}

static void doctor_tools(Doctor *doctor) {
  AgentTools tools = {0};
  agent_tools_find(doctor->config, &tools);
  for (size_t i = 0; i < tools.count; i++)
    if (!agent_tools_inner(tools.items[i].name))
      doctor_say(doctor, FINDING_OK, tools.items[i].name, "%s", tools.items[i].version);
  agent_tools_release(&tools);
}

/* "dumps, drills and prunes". Freed by the caller. */
static char *what_it_does(const AgentConfig *config) {
  const struct {
    bool does;
    const char *word;
  } all[] = {{config->can_dump, "dumps"},
             {config->can_drill, "drills"},
             {config->can_restore, "restores"},
             {config->can_rehearse, "rehearses"},
             {config->can_prune, "prunes"}};
  size_t left = 0;
  for (size_t i = 0; i < ARRAY_SIZE(all); i++)
    left += all[i].does;
  Buffer text = {0};
  for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
    if (!all[i].does)
      continue;
    left--;
    buffer_append_format(&text, "%s%s", all[i].word, left > 1 ? ", " : left == 1 ? " and " : "");
  }
  return buffer_steal_text(&text);
}

int doctor(const char *config_path) {
  Doctor it = {.color = isatty(STDOUT_FILENO) && !getenv("NO_COLOR")};
  AgentConfig *config = NULL;
  Error err;
  if (agent_config_load(config_path, &config, &err)) {
    doctor_error(&it, "configuration", &err);
    return 2;
  }
  it.config = config;
  CLEANUP_FREE char *does = what_it_does(config);
  doctor_say(&it, FINDING_OK, "configuration", "%s, agent %s: %s", config_path, config->name, does);
  doctor_keys(&it);
  doctor_repository(&it);
  doctor_tools(&it);
  if (config->can_dump || config->can_restore)
    doctor_databases(&it);
  if (config->can_drill || config->can_rehearse)
    doctor_drill(&it);
  agent_config_free(config);
  const char *s = it.warnings == 1 ? "" : "s";
  if (it.bad)
    printf("\n%d thing%s not work, %d warning%s.\n", it.bad, it.bad == 1 ? " does" : "s do", it.warnings, s);
  else if (it.warnings)
    printf("\nAll of it works; %d warning%s.\n", it.warnings, s);
  else
    printf("\nAll is well.\n");
  return it.bad ? 1 : 0;
}
