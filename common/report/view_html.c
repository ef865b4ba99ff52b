/* A report as one HTML page that needs nothing else, and prints well. Names and messages are text, whatever is in them.
 */
#include "common/report/view.h"
#include "common/base/buffer.h"

static const char *const tones[TONE_COUNT] = {"", "good", "warn", "bad", "dim"};

static const char head[] =
    "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
    "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
    "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>";

static const char style[] =
    "</title>\n<style>\n"
    "@page { size: A4; margin: 18mm 15mm 20mm; "
    "@bottom-right { content: counter(page) \" / \" counter(pages); font: 8pt sans-serif; color: #666 } }\n"
    ":root { color-scheme: light }\n"
    "body { font: 10pt/1.45 system-ui, 'DejaVu Sans', sans-serif; color: #1a1a1a; background: #fff; max-width: 60rem; "
    "margin: 2rem auto; padding: 0 1rem }\n"
    "h1 { font-size: 20pt; margin: 0; line-height: 1.2 }\n"
    "h2 { font-size: 12.5pt; margin: 1.8em 0 .5em; padding-bottom: .2em; border-bottom: 1px solid #bbb; break-after: "
    "avoid }\n"
    ".subtitle { font-size: 12pt; color: #555; margin: .2em 0 1.2em }\n"
    "p { margin: .6em 0; max-width: 48rem }\n"
    "p.dim { break-before: avoid }\n"
    "table { border-collapse: collapse; width: 100%; table-layout: fixed; margin: .5em 0; font-size: 8.5pt; "
    "line-height: 1.35 }\n"
    "thead { display: table-header-group }\n"
    "tr { break-inside: avoid }\n"
    "th, td { text-align: left; vertical-align: top; padding: .3em .5em .3em 0; border-bottom: 1px solid #ddd; "
    "overflow-wrap: anywhere }\n"
    "thead th { border-bottom: 1px solid #777; font-weight: 600; overflow-wrap: break-word; vertical-align: bottom }\n"
    ".facts th { font-weight: 600 } .facts th, .facts td { font-size: 9.5pt }\n"
    ".number { text-align: right }\n"
    ".code { font-family: 'DejaVu Sans Mono', ui-monospace, monospace; font-size: 7pt }\n"
    ".good { color: #14632b } .warn { color: #8a5200 } .bad { color: #a8071a; font-weight: 600 } .dim { color: #595959 "
    "}\n"
    "footer { margin-top: 2em; color: #666; font-size: 8pt }\n"
    "@media print { body { margin: 0; padding: 0; max-width: none } .code { font-size: 6pt } }\n"
    "</style>\n</head>\n<body>\n<main>\n";

static void element(Buffer *out, const char *name, const char *type, const char *more, ViewTone tone,
                    const char *text) {
  buffer_append_format(out, "<%s", name);
  if (*type || *more || *tones[tone])
    buffer_append_format(out, " class=\"%s%s%s%s%s\"", type, *type && *more ? " " : "", more,
                         (*type || *more) && *tones[tone] ? " " : "", tones[tone]);
  buffer_append_text(out, ">");
  buffer_append_html(out, text); /* bidirectional names do not reorder what is beside them */
  buffer_append_format(out, "</%s>", name);
}

static void table(Buffer *out, const ViewItem *item) {
  bool facts = item->kind == VIEW_FACTS;
  int whole = 0;
  for (size_t i = 0; i < item->column_count; i++)
    whole += item->columns[i].weight;
  buffer_append_format(out, "<table%s>\n<colgroup>", facts ? " class=\"facts\"" : "");
  for (size_t i = 0; i < item->column_count; i++)
    buffer_append_format(out, "<col style=\"width:%d%%\">", 100 * item->columns[i].weight / (whole ? whole : 1));
  buffer_append_text(out, "</colgroup>\n");
  for (size_t i = 0; !facts && i < item->column_count; i++) {
    buffer_append_text(out, i ? "" : "<thead><tr>");
    buffer_append_format(out, "<th scope=\"col\"%s>", item->columns[i].number ? " class=\"number\"" : "");
    buffer_append_html(out, item->columns[i].name);
    buffer_append_text(out, i + 1 < item->column_count ? "</th>" : "</th></tr></thead>\n");
  }
  buffer_append_text(out, "<tbody>\n");
  for (size_t i = 0; i < item->cell_count; i++) {
    size_t column = i % item->column_count;
    const ViewColumn *of = &item->columns[column];
    buffer_append_text(out, column ? "" : "<tr>");
    element(out, facts && column == 0 ? "th" : "td", of->number ? "number" : "", of->code ? "code" : "",
            facts && column == 0 ? TONE_PLAIN : item->cells[i].tone, item->cells[i].text);
    buffer_append_text(out, column + 1 == item->column_count ? "</tr>\n" : "");
  }
  buffer_append_text(out, "</tbody>\n</table>\n");
}

void view_html(const View *view, Buffer *out) {
  buffer_append_text(out, head);
  buffer_append_html(out, view->title);
  buffer_append_text(out, style);
  for (size_t i = 0; i < view->count; i++) {
    const ViewItem *item = &view->items[i];
    static const char *const names[] = {"h1", "p", "h2", "p"};
    if (item->columns)
      table(out, item);
    else
      element(out, names[item->kind], item->kind == VIEW_SUBTITLE ? "subtitle" : "", "", item->tone, item->text);
    buffer_append_text(out, "\n");
  }
  buffer_append_text(out, "</main>\n<footer>");
  buffer_append_html(out, view->footer);
  buffer_append_text(out, "</footer>\n</body>\n</html>\n");
}
