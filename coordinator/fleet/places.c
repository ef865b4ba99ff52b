#include "coordinator/fleet/places.h"

#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "common/base/cleanup.h"
#include "common/base/memory.h"

enum { KEYS_LIMIT = 64, DEPTH_LIMIT = 8, ITEM_DEPTH = 2 };

/* One mapping or sequence that is open. */
typedef struct Frame {
  bool mapping, wants_key;
  char *key; /* the last one */
  char *keys[KEYS_LIMIT];
  size_t key_count;
  unsigned items; /* of a sequence: how many were there already */
} Frame;

typedef struct Reader {
  const char *name;
  Places *places;
  Frame frames[DEPTH_LIMIT];
  size_t depth; /* may be larger than DEPTH_LIMIT: what is deeper is of no interest */
  int documents;
} Reader;

void places_release(Places *places) {
  for (size_t i = 0; i < places->count; i++)
    free(places->items[i].path);
  free(places->items);
  for (size_t i = 0; i < PLACE_SECTIONS; i++)
    free(places->starts[i]);
  *places = (Places){0};
}

static void frame_release(Frame *frame) {
  for (size_t i = 0; i < frame->key_count; i++)
    free(frame->keys[i]);
  *frame = (Frame){0};
}

static void reader_release(Reader *reader) {
  for (size_t i = 0; i < DEPTH_LIMIT; i++)
    frame_release(&reader->frames[i]);
}

/* PLACE_ROOT: in none of the lists. */
static PlaceSection section_of(const Reader *reader) {
  static const char *const names[PLACE_SECTIONS] = {"", "databases", "policies", "quotas"};
  const char *key = reader->depth > 1 ? reader->frames[0].key : NULL;
  for (size_t i = 1; key && i < PLACE_SECTIONS; i++)
    if (strcmp(names[i], key) == 0 && !reader->frames[1].mapping)
      return (PlaceSection)i;
  return PLACE_ROOT;
}

static void add(Reader *reader, PlaceSection section, unsigned item, char *path, int line) {
  Place place = {section, item, path, line};
  ARRAY_PUSH(reader->places->items, reader->places->count, place);
}

/* The keys of the mappings from `first` on: "schedule.cron". */
static char *path_from(const Reader *reader, size_t first) {
  char *path = memory_strdup("");
  for (size_t i = first; i < reader->depth && i < DEPTH_LIMIT; i++) {
    const Frame *frame = &reader->frames[i];
    if (!frame->mapping || !frame->key)
      continue;
    char *longer = memory_format("%s%s%s", path, path[0] ? "." : "", frame->key);
    free(path);
    path = longer;
  }
  return path;
}

static Status take_key(Reader *reader, Frame *frame, const yaml_event_t *event, Error *err) {
  int line = (int)event->start_mark.line + 1;
  const char *key = (const char *)event->data.scalar.value;
  for (size_t i = 0; i < frame->key_count; i++) {
    if (strcmp(frame->keys[i], key) == 0)
      return error_set(err, ERR_CONFIG, "%s:%d: %.64s is there twice", reader->name, line, key);
  }
  if (frame->key_count == KEYS_LIMIT)
    return error_set(err, ERR_CONFIG, "%s:%d: there are more than %d keys", reader->name, line, KEYS_LIMIT);
  frame->key = memory_strdup(key);
  frame->keys[frame->key_count++] = frame->key;
  PlaceSection section = section_of(reader);
  if (section != PLACE_ROOT)
    add(reader, section, reader->frames[1].items - 1, path_from(reader, ITEM_DEPTH), line);
  else
    add(reader, PLACE_ROOT, 0, path_from(reader, 0), line);
  return STATUS_OK;
}

/* A value is about to come: of a key, or an item of a sequence. */
static void begin_value(Reader *reader, const yaml_event_t *event) {
  if (reader->depth == 0 || reader->depth > DEPTH_LIMIT)
    return;
  Frame *frame = &reader->frames[reader->depth - 1];
  if (frame->mapping) {
    frame->wants_key = true; /* the next one */
    return;
  }
  PlaceSection section = reader->depth == ITEM_DEPTH ? section_of(reader) : PLACE_ROOT;
  if (section != PLACE_ROOT) {
    Places *places = reader->places;
    ARRAY_PUSH(places->starts[section], places->start_counts[section], places->count);
    add(reader, section, frame->items, memory_strdup(""), (int)event->start_mark.line + 1);
  }
  frame->items++;
}

static void open_frame(Reader *reader, bool mapping) {
  if (reader->depth < DEPTH_LIMIT)
    reader->frames[reader->depth] = (Frame){.mapping = mapping, .wants_key = mapping};
  reader->depth++;
}

static Status take_event(Reader *reader, const yaml_event_t *event, Error *err) {
  Frame *top = reader->depth > 0 && reader->depth <= DEPTH_LIMIT ? &reader->frames[reader->depth - 1] : NULL;
  switch (event->type) {
  case YAML_DOCUMENT_START_EVENT:
    if (reader->documents++ > 0)
      return error_set(err, ERR_CONFIG, "%s:%d: a second document begins here; there can be one only", reader->name,
                       (int)event->start_mark.line + 1);
    return STATUS_OK;
  case YAML_SCALAR_EVENT:
    if (top && top->mapping && top->wants_key) {
      top->wants_key = false;
      return take_key(reader, top, event, err);
    }
    begin_value(reader, event);
    return STATUS_OK;
  case YAML_ALIAS_EVENT:
    begin_value(reader, event);
    return STATUS_OK;
  case YAML_MAPPING_START_EVENT:
  case YAML_SEQUENCE_START_EVENT:
    begin_value(reader, event);
    open_frame(reader, event->type == YAML_MAPPING_START_EVENT);
    return STATUS_OK;
  case YAML_MAPPING_END_EVENT:
  case YAML_SEQUENCE_END_EVENT:
    if (top)
      frame_release(top);
    reader->depth -= reader->depth > 0;
    return STATUS_OK;
  default:
    return STATUS_OK;
  }
}

static Status read_events(Reader *reader, yaml_parser_t *parser, Error *err) {
  for (bool over = false; !over;) {
    yaml_event_t event;
    if (!yaml_parser_parse(parser, &event))
      return STATUS_OK;
    over = event.type == YAML_STREAM_END_EVENT || event.type == YAML_NO_EVENT;
    Status status = take_event(reader, &event, err);
    yaml_event_delete(&event);
    if (status != STATUS_OK)
      return status;
  }
  return STATUS_OK;
}

Status places_read(const char *name, const char *text, size_t size, Places *out, Error *err) {
  CLEANUP(places_release) Places places = {0};
  CLEANUP(reader_release) Reader reader = {.name = name, .places = &places};
  yaml_parser_t parser;
  if (!yaml_parser_initialize(&parser))
    return error_set(err, ERR_NO_MEMORY, "%s: out of memory", name);
  yaml_parser_set_input_string(&parser, (const unsigned char *)text, size);
  Status status = read_events(&reader, &parser, err);
  yaml_parser_delete(&parser);
  if (status != STATUS_OK)
    return status;
  *out = places;
  places = (Places){0};
  return STATUS_OK;
}

int places_line(const Places *places, PlaceSection section, unsigned item, const char *path) {
  size_t at = 0;
  if (section != PLACE_ROOT) {
    if (item >= places->start_counts[section])
      return 0;
    at = places->starts[section][item];
  }
  int line = section != PLACE_ROOT && at < places->count ? places->items[at].line : 0;
  for (; at < places->count; at++) {
    const Place *place = &places->items[at];
    if (place->section != section || place->item != item) {
      if (section != PLACE_ROOT)
        break;
      continue;
    }
    if (strcmp(place->path, path) == 0)
      return place->line;
  }
  return line;
}
