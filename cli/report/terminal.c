/* A report in short, on the terminal. */
#include <stdio.h>

#include "cli/format.h"
#include "cli/report/print.h"
#include "common/base/cleanup.h"

static Style style_of(ViewTone tone) {
  static const Style styles[TONE_COUNT] = {STYLE_PLAIN, STYLE_GOOD, STYLE_WARN, STYLE_BAD, STYLE_DIM};
  return styles[tone];
}

static void print_facts(const ViewItem *item, bool color) {
  for (size_t i = 0; i + 1 < item->cell_count; i += 2) {
    const ViewCell *fact = &item->cells[i + 1];
    printf("%-18s %s%s%s\n", item->cells[i].text, cli_style(color, style_of(fact->tone)), fact->text, cli_reset(color));
  }
}

enum { CELL_WIDTH = 44 };

/* Whole tables are for paper: on a terminal what is long is cut. */
static void add_cell(Table *table, const ViewCell *cell, bool color) {
  CLEANUP(buffer_release) Buffer text = {0};
  bool cut = format_width(cell->text) > CELL_WIDTH;
  format_cut(&text, cell->text, cut ? CELL_WIDTH - 3 : CELL_WIDTH);
  table_add(table, "%s%s%s%s", cli_style(color, style_of(cell->tone)), buffer_text(&text), cut ? "..." : "",
            cli_reset(color));
}

static void print_table(const ViewItem *item, bool color) {
  CLEANUP(table_release) Table table = {.columns = item->column_count};
  for (size_t i = 0; i < item->column_count; i++)
    table_add(&table, "%s", item->columns[i].name);
  for (size_t i = 0; i < item->cell_count; i++)
    add_cell(&table, &item->cells[i], color);
  table_print(&table, stdout, color);
}

void view_terminal(const View *view, bool color) {
  for (size_t i = 0; i < view->count; i++) {
    const ViewItem *item = &view->items[i];
    if (!item->brief)
      continue;
    if (item->kind == VIEW_FACTS)
      print_facts(item, color);
    else if (item->kind == VIEW_TABLE)
      print_table(item, color);
    else
      printf(
          "%s%s%s%s\n", item->kind == VIEW_HEADING ? "\n" : "",
          cli_style(color, item->kind == VIEW_TITLE || item->kind == VIEW_HEADING ? STYLE_BOLD : style_of(item->tone)),
          item->text, cli_reset(color));
    if (item->kind == VIEW_SUBTITLE)
      printf("\n");
  }
}
