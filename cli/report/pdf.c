/*
 * A report as PDF, by Pango (every script that there is a font for) and Cairo. In the program pgseal-pdf alone, so that
 * nothing else needs them. It is laid out twice: the first time to know how many pages there are.
 */
#include <cairo-pdf.h>
#include <math.h>
#include <pango/pangocairo.h>
#include <string.h>

#include "cli/report/print.h"
#include "common/base/buffer.h"
#include "common/base/cleanup.h"
#include "common/base/memory.h"

/* Points. A4. */
#define PAGE_WIDTH 595.28
#define PAGE_HEIGHT 841.89
#define MARGIN_SIDE 42.0
#define MARGIN_TOP 46.0
#define MARGIN_BOTTOM 56.0
#define BODY_WIDTH (PAGE_WIDTH - 2 * MARGIN_SIDE)
#define BODY_END (PAGE_HEIGHT - MARGIN_BOTTOM)
#define CELL_GAP 7.0
#define ROW_GAP 2.6
#define KEEP_MOST (BODY_END / 2)
enum { CELL_LINES_LIMIT = 40, COLUMNS_LIMIT = 12 };

typedef enum Font {
  FONT_TITLE,
  FONT_SUBTITLE,
  FONT_HEADING,
  FONT_TEXT,
  FONT_FACT,
  FONT_CELL,
  FONT_HEAD,
  FONT_CODE,
  FONT_FOOTER,
  FONT_COUNT
} Font;
static const char *const font_names[FONT_COUNT] = {"sans bold 20",  "sans 12",       "sans bold 12.5",
                                                   "sans 9.5",      "sans 9.5",      "sans 8.5",
                                                   "sans bold 8.5", "monospace 6.1", "sans 7.5"};

typedef struct Pdf {
  cairo_t *cairo;
  PangoContext *pango;
  PangoFontDescription *fonts[FONT_COUNT];
  const View *view;
  double y;
  int page, pages;
} Pdf;

/* ---- text ---- */

static void color(Pdf *pdf, ViewTone tone) {
  static const double colors[TONE_COUNT][3] = {
      {0.10, 0.10, 0.10}, {0.08, 0.39, 0.17}, {0.54, 0.32, 0}, {0.66, 0.03, 0.10}, {0.35, 0.35, 0.35}};
  cairo_set_source_rgb(pdf->cairo, colors[tone][0], colors[tone][1], colors[tone][2]);
}

/* Freed by g_object_unref. width: in points. */
static PangoLayout *lay_out(Pdf *pdf, Font font, const char *text, double width, bool right) {
  PangoLayout *layout = pango_layout_new(pdf->pango);
  PangoAttrList *attributes = pango_attr_list_new();
  /* A name or a digest that is broken is no other name for it. */
  pango_attr_list_insert(attributes, pango_attr_insert_hyphens_new(FALSE));
  pango_layout_set_attributes(layout, attributes);
  pango_attr_list_unref(attributes);
  pango_layout_set_font_description(layout, pdf->fonts[font]);
  pango_layout_set_width(layout, (int)(width * PANGO_SCALE));
  pango_layout_set_wrap(layout, PANGO_WRAP_WORD_CHAR);
  pango_layout_set_height(layout, -CELL_LINES_LIMIT);
  pango_layout_set_ellipsize(layout, PANGO_ELLIPSIZE_END);
  pango_layout_set_text(layout, text, -1);
  /* Pango's left is where a paragraph begins: the right, in some scripts. A column has one edge. */
  bool backwards = pango_layout_get_direction(layout, 0) == PANGO_DIRECTION_RTL;
  pango_layout_set_alignment(layout, right != backwards ? PANGO_ALIGN_RIGHT : PANGO_ALIGN_LEFT);
  return layout;
}

static double height_of(PangoLayout *layout) {
  int height;
  pango_layout_get_size(layout, NULL, &height);
  return (double)height / PANGO_SCALE;
}

static void draw(Pdf *pdf, PangoLayout *layout, double x, double y, ViewTone tone) {
  color(pdf, tone);
  cairo_move_to(pdf->cairo, x, y);
  pango_cairo_show_layout(pdf->cairo, layout);
}

static void line(Pdf *pdf, double y, double grey) {
  cairo_set_source_rgb(pdf->cairo, grey, grey, grey);
  cairo_set_line_width(pdf->cairo, 0.5);
  cairo_move_to(pdf->cairo, MARGIN_SIDE, y);
  cairo_line_to(pdf->cairo, PAGE_WIDTH - MARGIN_SIDE, y);
  cairo_stroke(pdf->cairo);
}

/* ---- pages ---- */

static void end_page(Pdf *pdf) {
  CLEANUP_FREE char *number = memory_format("%d / %d", pdf->page, pdf->pages);
  PangoLayout *left = lay_out(pdf, FONT_FOOTER, pdf->view->footer, BODY_WIDTH - 60, false);
  PangoLayout *right = lay_out(pdf, FONT_FOOTER, number, 54, true);
  pango_layout_set_height(left, -2);
  draw(pdf, left, MARGIN_SIDE, BODY_END + 18, TONE_DIM);
  draw(pdf, right, PAGE_WIDTH - MARGIN_SIDE - 54, BODY_END + 18, TONE_DIM);
  g_object_unref(left);
  g_object_unref(right);
  cairo_show_page(pdf->cairo);
}

static void next_page(Pdf *pdf) {
  end_page(pdf);
  pdf->page++;
  pdf->y = MARGIN_TOP;
}

static void need(Pdf *pdf, double height) {
  if (pdf->y + height > BODY_END && pdf->y > MARGIN_TOP)
    next_page(pdf);
}

/* ---- tables ---- */

typedef struct Row {
  PangoLayout *layouts[COLUMNS_LIMIT];
  ViewTone tones[COLUMNS_LIMIT];
  double x[COLUMNS_LIMIT], height;
  size_t count;
} Row;

static void row_release(Row *row) {
  for (size_t i = 0; i < row->count; i++)
    g_object_unref(row->layouts[i]);
}

/* cells NULL: the head. */
static Row row_of(Pdf *pdf, const ViewItem *item, const ViewCell *cells) {
  Row row = {0};
  bool facts = item->kind == VIEW_FACTS;
  int whole = 0;
  double x = MARGIN_SIDE;
  for (size_t i = 0; i < item->column_count; i++)
    whole += item->columns[i].weight;
  for (size_t i = 0; i < item->column_count && i < COLUMNS_LIMIT; i++) {
    const ViewColumn *column = &item->columns[i];
    double width = BODY_WIDTH * column->weight / whole;
    Font font = !cells ? FONT_HEAD : column->code ? FONT_CODE : facts ? FONT_FACT : FONT_CELL;
    row.layouts[i] = lay_out(pdf, font, cells ? cells[i].text : column->name,
                             width - (i + 1 < item->column_count ? CELL_GAP : 0), column->number);
    row.tones[i] = cells ? cells[i].tone : TONE_PLAIN;
    row.x[i] = x;
    x += width;
    row.height = fmax(row.height, height_of(row.layouts[i]));
    row.count++;
  }
  return row;
}

static double row_height(const Row *row) {
  return row->count > 0 ? row->height + 2 * ROW_GAP : 0;
}

static void draw_row(Pdf *pdf, const Row *row, double grey) {
  for (size_t i = 0; i < row->count; i++)
    draw(pdf, row->layouts[i], row->x[i], pdf->y + ROW_GAP, row->tones[i]);
  pdf->y += row_height(row);
  line(pdf, pdf->y, grey);
}

/* ---- what stays together ---- */

static Font font_of(const ViewItem *text) {
  static const Font fonts[] = {FONT_TITLE, FONT_SUBTITLE, FONT_HEADING, FONT_TEXT};
  return fonts[text->kind];
}

/* How much of an item stays with the heading before it: a table's head and first row, a whole text. NULL: nothing. */
static double beginning_of(Pdf *pdf, const ViewItem *item) {
  if (!item)
    return 0;
  if (item->columns) {
    CLEANUP(row_release) Row head = {0}, first = {0};
    if (item->kind == VIEW_TABLE)
      head = row_of(pdf, item, NULL);
    if (item->cell_count >= item->column_count)
      first = row_of(pdf, item, item->cells);
    return fmin(row_height(&head) + row_height(&first) + 4, KEEP_MOST);
  }
  PangoLayout *layout = lay_out(pdf, font_of(item), item->text, BODY_WIDTH, false);
  double height = height_of(layout) + 4;
  g_object_unref(layout);
  return fmin(height, KEEP_MOST);
}

/* A note on a table, small, is not alone on the next page. */
static double note_after(Pdf *pdf, const ViewItem *next) {
  return next && next->kind == VIEW_TEXT && next->tone == TONE_DIM ? beginning_of(pdf, next) : 0;
}

/* ---- items ---- */

/* Readers show headings beside the pages. */
static void outline(const Pdf *pdf, const ViewItem *item) {
  CLEANUP_FREE char *where = memory_format("page=%d pos=[%d %d]", pdf->page, (int)MARGIN_SIDE, (int)pdf->y);
  cairo_pdf_surface_add_outline(cairo_get_target(pdf->cairo), CAIRO_PDF_OUTLINE_ROOT, item->text, where, 0);
}

static void paragraph(Pdf *pdf, const ViewItem *item, const ViewItem *next, PdfPlace *place) {
  static const double before[] = {0, 3, 16, 4}, after[] = {2, 10, 5, 4};
  PangoLayout *layout = lay_out(pdf, font_of(item), item->text, BODY_WIDTH, false);
  bool heading = item->kind == VIEW_HEADING;
  need(pdf, before[item->kind] + height_of(layout) + (heading ? after[item->kind] + beginning_of(pdf, next) : 0));
  pdf->y += pdf->y > MARGIN_TOP ? before[item->kind] : 0;
  if (heading)
    outline(pdf, item);
  draw(pdf, layout, MARGIN_SIDE, pdf->y, item->tone);
  pdf->y += height_of(layout) + after[item->kind];
  *place = (PdfPlace){pdf->page, pdf->page};
  g_object_unref(layout);
}

static void table(Pdf *pdf, const ViewItem *item, const ViewItem *next, PdfPlace *place) {
  CLEANUP(row_release) Row head = {0};
  if (item->kind == VIEW_TABLE)
    head = row_of(pdf, item, NULL);
  bool begun = false;
  pdf->y += 2;
  for (size_t i = 0; i + item->column_count <= item->cell_count; i += item->column_count) {
    CLEANUP(row_release) Row row = row_of(pdf, item, &item->cells[i]);
    bool last = i > 0 && i + 2 * item->column_count > item->cell_count;
    double height = row_height(&row) + (begun ? 0 : row_height(&head)) + (last ? 4 + note_after(pdf, next) : 0);
    if (pdf->y + height > BODY_END && pdf->y > MARGIN_TOP) {
      next_page(pdf);
      begun = false;
    }
    if (!begun && head.count > 0)
      draw_row(pdf, &head, 0.45);
    begun = true;
    draw_row(pdf, &row, 0.86);
    *place = (PdfPlace){i == 0 ? pdf->page : place->first, pdf->page};
  }
  pdf->y += 4;
}

/* ---- the document ---- */

static cairo_status_t append(void *user, const unsigned char *data, unsigned size) {
  if (user)
    buffer_append(user, data, size);
  return CAIRO_STATUS_SUCCESS;
}

/* pages: how many there are, or 0 where that is to be found out. out NULL: nothing is kept. */
static int render(const View *view, int pages, Buffer *out, PdfPlace *places, Error *err) {
  cairo_surface_t *surface = cairo_pdf_surface_create_for_stream(append, out, PAGE_WIDTH, PAGE_HEIGHT);
  cairo_pdf_surface_set_metadata(surface, CAIRO_PDF_METADATA_TITLE, view->title);
  cairo_pdf_surface_set_metadata(surface, CAIRO_PDF_METADATA_CREATOR, "pgseal " PGSEAL_VERSION);
  Pdf pdf = {.cairo = cairo_create(surface), .view = view, .y = MARGIN_TOP, .page = 1, .pages = pages};
  pdf.pango = pango_cairo_create_context(pdf.cairo);
  /* Paper has no pixels that glyphs would have to begin on. */
  cairo_font_options_t *options = cairo_font_options_create();
  cairo_font_options_set_hint_metrics(options, CAIRO_HINT_METRICS_OFF);
  cairo_font_options_set_hint_style(options, CAIRO_HINT_STYLE_NONE);
  pango_cairo_context_set_font_options(pdf.pango, options);
  cairo_font_options_destroy(options);
  pango_context_set_round_glyph_positions(pdf.pango, FALSE);
  pango_cairo_context_set_resolution(pdf.pango, 72);
  for (int i = 0; i < FONT_COUNT; i++)
    pdf.fonts[i] = pango_font_description_from_string(font_names[i]);
  for (size_t i = 0; i < view->count; i++) {
    const ViewItem *next = i + 1 < view->count ? &view->items[i + 1] : NULL;
    PdfPlace place = {0};
    (view->items[i].columns ? table : paragraph)(&pdf, &view->items[i], next, &place);
    if (places)
      places[i] = place;
  }
  end_page(&pdf);
  for (int i = 0; i < FONT_COUNT; i++)
    pango_font_description_free(pdf.fonts[i]);
  g_object_unref(pdf.pango);
  cairo_status_t drawn = cairo_status(pdf.cairo);
  cairo_destroy(pdf.cairo);
  cairo_surface_finish(surface);
  drawn = drawn ? drawn : cairo_surface_status(surface);
  cairo_surface_destroy(surface);
  if (drawn == CAIRO_STATUS_SUCCESS)
    return pdf.page;
  error_set(err, ERR_TOOL, "the PDF could not be drawn: %s", cairo_status_to_string(drawn));
  return 0;
}

Status view_pdf(const View *view, Buffer *out, PdfPlace *places, Error *err) {
  int pages = render(view, 0, NULL, NULL, err);
  if (pages == 0 || render(view, pages, out, places, err) == 0)
    return err->status;
  pango_cairo_font_map_set_default(NULL);
  return STATUS_OK;
}
