#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "cli/options.h"
#include "common/base/cleanup.h"

typedef struct Parsed {
  bool flag;
  const char *text;
  int number;
  OptionList list;
  const char *positional[2];
  int count;
  Error err;
} Parsed;

static Status parse(Parsed *p, const char *const *words) {
  *p = (Parsed){.number = 7};
  const Option options[] = {{"json", OPTION_FLAG, &p->flag, NULL, ""},
                            {"tag", OPTION_TEXT, &p->text, "TAG", ""},
                            {"limit", OPTION_INTEGER, &p->number, "N", ""},
                            {"database", OPTION_LIST, &p->list, "NAME", ""}};
  int argc = 0;
  while (words[argc])
    argc++;
  return options_parse(options, ARRAY_SIZE(options), argc, (char **)words, 2, p->positional, &p->count, &p->err);
}

#define WORDS(...) ((const char *const[]){__VA_ARGS__, NULL})

static void test_all_kinds(void **state) {
  (void)state;
  Parsed p;
  assert_int_equal(
      parse(&p, WORDS("a", "--tag", "t", "--json", "--limit=12", "--database", "x", "--database=y=z", "b")), STATUS_OK);
  assert_true(p.flag);
  assert_string_equal(p.text, "t");
  assert_int_equal(p.number, 12);
  assert_int_equal(p.list.count, 2);
  assert_string_equal(p.list.items[1], "y=z");
  assert_int_equal(p.count, 2);
  assert_string_equal(p.positional[1], "b");
  free(p.list.items);
}

static void test_values_may_look_like_anything(void **state) {
  (void)state;
  Parsed p;
  assert_int_equal(parse(&p, WORDS("--tag", "--json", "--", "--limit", "-")), STATUS_OK);
  assert_string_equal(p.text, "--json");
  assert_false(p.flag);
  assert_string_equal(p.positional[0], "--limit");
  assert_string_equal(p.positional[1], "-");
  assert_int_equal(parse(&p, WORDS("--tag=")), STATUS_OK);
  assert_string_equal(p.text, "");
  assert_null(p.positional[0]);
}

static void test_refusals(void **state) {
  (void)state;
  static const struct {
    const char *words[4], *message;
  } cases[] = {
      {{"--tga", "x"}, "there is no option --tga; did you mean --tag?"},
      {{"--data"}, "there is no option --data; did you mean --database?"},
      {{"--zzzzzz"}, "there is no option --zzzzzz"},
      {{"--tag"}, "--tag needs a value: --tag TAG"},
      {{"--json=1"}, "--json takes no value"},
      {{"--limit", "12x"}, "--limit takes a number, not '12x'"},
      {{"--limit", "-1"}, "--limit takes a number, not '-1'"},
      {{"--limit", "99999999999"}, "--limit takes a number, not '99999999999'"},
      {{"a", "b", "c"}, "the argument 'c' is one too many"},
      {{"-x"}, "there is no option -x; options start with two dashes"},
  };
  for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
    Parsed p;
    assert_int_equal(parse(&p, cases[i].words), ERR_INVALID_ARGUMENT);
    assert_string_equal(p.err.message, cases[i].message);
  }
}

static void test_nearest(void **state) {
  (void)state;
  const char *names[] = {"checkpoint", "status", "show"};
  assert_string_equal(options_nearest("chekcpoint", names, 3), "checkpoint");
  assert_string_equal(options_nearest("stat", names, 3), "status");
  assert_null(options_nearest("frobnicate", names, 3));
  assert_null(options_nearest("", names, 3));
  char huge[200];
  memset(huge, 'x', sizeof huge);
  huge[sizeof huge - 1] = '\0';
  assert_null(options_nearest(huge, names, 3));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_all_kinds),
      cmocka_unit_test(test_values_may_look_like_anything),
      cmocka_unit_test(test_refusals),
      cmocka_unit_test(test_nearest),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
