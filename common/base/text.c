#include "common/base/text.h"

#include <fnmatch.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/buffer.h"
#include "common/base/cleanup.h"

enum { CLIP_WORD = 24 }; /* bytes: of a longer word a part is better than none */

size_t text_utf8_length(const char *text) {
  const unsigned char *p = (const unsigned char *)text;
  if (p[0] < 0x80)
    return p[0] ? 1 : 0;
  size_t length = p[0] >= 0xc2 && p[0] <= 0xdf ? 2 : (p[0] & 0xf0) == 0xe0 ? 3 : p[0] >= 0xf0 && p[0] <= 0xf4 ? 4 : 0;
  for (size_t i = 1; i < length; i++)
    if ((p[i] & 0xc0) != 0x80)
      return 0;
  /* RFC 3629: no overlong forms, no surrogates, nothing above U+10FFFF */
  if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) || (p[0] == 0xf0 && p[1] < 0x90) ||
      (p[0] == 0xf4 && p[1] > 0x8f))
    return 0;
  return length;
}

const char *text_size(int64_t bytes, char out[TEXT_SIZE_SIZE]) {
  static const char *const units[] = {"kB", "MB", "GB", "TB", "PB", "EB"};
  if (bytes < 1000) {
    snprintf(out, TEXT_SIZE_SIZE, "%" PRId64 " B", bytes < 0 ? 0 : bytes);
    return out;
  }
  double value = (double)bytes / 1000;
  size_t unit = 0;
  while (value >= 999.95 && unit + 1 < sizeof units / sizeof *units) {
    value /= 1000;
    unit++;
  }
  snprintf(out, TEXT_SIZE_SIZE, "%.1f %s", value, units[unit]);
  return out;
}

void text_hex(const uint8_t *data, size_t size, char *out) {
  static const char digits[] = "0123456789abcdef";
  for (size_t i = 0; i < size; i++) {
    out[2 * i] = digits[data[i] >> 4];
    out[2 * i + 1] = digits[data[i] & 15];
  }
  out[2 * size] = '\0';
}

static int text_hex_digit(char c) {
  if (c >= '0' && c <= '9')
    return c - '0';
  if (c >= 'a' && c <= 'f')
    return c - 'a' + 10;
  if (c >= 'A' && c <= 'F')
    return c - 'A' + 10;
  return -1;
}

bool text_unhex(const char *hex, uint8_t *data, size_t size) {
  if (strlen(hex) != 2 * size)
    return false;
  for (size_t i = 0; i < size; i++) {
    int high = text_hex_digit(hex[2 * i]), low = text_hex_digit(hex[2 * i + 1]);
    if (high < 0 || low < 0)
      return false;
    data[i] = (uint8_t)(high << 4 | low);
  }
  return true;
}

bool text_glob(const char *pattern, const char *name) {
  return fnmatch(pattern, name, 0) == 0;
}

static bool text_is_alphanumeric(char c) {
  return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

bool text_name_valid(const char *name) {
  size_t length = strnlen(name, 64);
  if (length < 1 || length > 63 || !text_is_alphanumeric(name[0]))
    return false;
  for (size_t i = 1; i < length; i++)
    if (!text_is_alphanumeric(name[i]) && !strchr("._-", name[i]))
      return false;
  return true;
}

static bool text_is_control(const char *p, size_t length) {
  const unsigned char *u = (const unsigned char *)p;
  if (length == 1)
    return u[0] < 0x20 || u[0] == 0x7f;
  if (length == 2)
    return u[0] == 0xc2 && u[1] < 0xa0;
  /* U+200E, U+200F, U+2028..U+202E, U+2066..U+2069: they reorder or break the line they are shown in */
  if (length == 3 && u[0] == 0xe2)
    return (u[1] == 0x80 && (u[2] == 0x8e || u[2] == 0x8f || (u[2] >= 0xa8 && u[2] <= 0xae))) ||
           (u[1] == 0x81 && u[2] >= 0xa6 && u[2] <= 0xa9);
  return false;
}

bool text_printable(const char *text) {
  while (*text) {
    size_t length = text_utf8_length(text);
    if (length == 0 || text_is_control(text, length))
      return false;
    text += length;
  }
  return true;
}

bool text_tag_valid(const char *tag) {
  size_t size = strnlen(tag, 129);
  return size >= 1 && size <= 128 && text_printable(tag);
}

size_t text_show_character(const char *in, char out[TEXT_SHOWN_SIZE]) {
  const unsigned char *u = (const unsigned char *)in;
  size_t length = text_utf8_length(in);
  if (length > 0 && !text_is_control(in, length)) {
    memcpy(out, in, length);
    out[length] = '\0';
    return length;
  }
  if (*in == '\n' || *in == '\t')
    snprintf(out, TEXT_SHOWN_SIZE, *in == '\n' ? "\\n" : "\\t");
  else if (length < 2)
    snprintf(out, TEXT_SHOWN_SIZE, "\\x%02x", u[0]);
  else /* no control character takes four bytes */
    snprintf(out, TEXT_SHOWN_SIZE, "\\u%04x",
             length == 2 ? (u[0] & 0x1fu) << 6 | (u[1] & 0x3fu)
                         : (u[0] & 0xfu) << 12 | (u[1] & 0x3fu) << 6 | (u[2] & 0x3fu));
  return length ? length : 1;
}

char *text_show(const char *in, char *out, size_t size) {
  size_t used = 0;
  while (size > 0 && *in) {
    char one[TEXT_SHOWN_SIZE];
    in += text_show_character(in, one);
    size_t width = strlen(one);
    if (used + width >= size)
      break;
    memcpy(out + used, one, width);
    used += width;
  }
  if (size > 0)
    out[used] = '\0';
  return out;
}

char *text_join_lines(const char *text) {
  Buffer out = {0};
  for (text += strspn(text, " \t\n"); *text; text += strspn(text, " \t\n")) {
    size_t length = strcspn(text, "\n");
    buffer_append_format(&out, "%s%.*s", out.size ? "; " : "", (int)length, text);
    text += length;
  }
  return buffer_steal_text(&out);
}

/* What did not fit is returned; "" if all did. */
static const char *fill(const char *in, char *out, size_t size) {
  size_t used = 0;
  while (size > 0 && *in) {
    size_t length = text_utf8_length(in);
    bool keep = length > 0 && !text_is_control(in, length);
    size_t step = length ? length : 1;
    size_t width = keep ? step : 1;
    if (used + width >= size)
      break;
    if (keep)
      memcpy(out + used, in, width);
    else
      out[used] = '?';
    used += width;
    in += step;
  }
  if (size > 0)
    out[used] = '\0';
  return in;
}

char *text_clean(const char *in, char *out, size_t size) {
  (void)fill(in, out, size);
  return out;
}

char *text_clip(const char *in, char *out, size_t size) {
  static const char dots[] = "\xe2\x80\xa6";
  if (!*fill(in, out, size) || size <= sizeof dots)
    return out;
  size_t used = size - sizeof dots, least = used > CLIP_WORD ? used - CLIP_WORD : 0;
  while (used > 0 && ((unsigned char)out[used] & 0xc0) == 0x80) /* the middle of a character */
    used--;
  for (size_t at = used; at > least; at--)
    if (out[at] == ' ') {
      used = at;
      break;
    }
  memcpy(out + used, dots, sizeof dots);
  return out;
}

char *text_duration_show(int64_t seconds, char out[TEXT_DURATION_SIZE]) {
  static const struct {
    int64_t seconds;
    char unit;
  } units[] = {{86400, 'd'}, {3600, 'h'}, {60, 'm'}, {1, 's'}};
  size_t at = 0;
  while (seconds == 0 ? units[at].unit != 's' : seconds % units[at].seconds != 0)
    at++;
  snprintf(out, TEXT_DURATION_SIZE, "%lld%c", (long long)(seconds / units[at].seconds), units[at].unit);
  return out;
}

bool text_duration(const char *text, int64_t *seconds) {
  static const struct {
    const char *unit;
    int64_t seconds;
  } units[] = {{"", 1}, {"s", 1}, {"m", 60}, {"h", 3600}, {"d", 86400}, {"w", 7 * 86400}};
  size_t digits = strspn(text, "0123456789");
  if (digits == 0 || digits > 9)
    return false;
  for (size_t i = 0; i < ARRAY_SIZE(units); i++)
    if (strcmp(text + digits, units[i].unit) == 0) {
      *seconds = strtoll(text, NULL, 10) * units[i].seconds;
      return true;
    }
  return false;
}
