/* What a report is evidence of, and what makes it evidence. */
#include <inttypes.h>
#include <string.h>

#include "common/report/view.h"
#include "common/base/cleanup.h"
#include "common/base/text.h"

#define COLUMNS(columns) columns, sizeof(columns) / sizeof *(columns)

/* ---- controls ---- */

typedef struct Control {
  const char *name, *about, *shown, *not_shown;
} Control;

static const Control controls[] = {
    {"SOC 2 A1.2", "data backup processes and recovery infrastructure are operated and monitored",
     "Which databases were checkpointed and how often, which checkpoints were proven restorable, which were not, and "
     "how old "
     "each database's newest proof is.",
     "That the list of databases is complete; environmental protections; capacity."},
    {"SOC 2 A1.3", "recovery plan procedures are tested",
     "Each drill: a real restore into a separate PostgreSQL server, compared with the original to the last row; its "
     "outcome, "
     "how long it took against the objective, and the next proof after each failure.",
     "The rest of a recovery plan: people, applications, networks, the decision to restore."},
    {"SOC 2 CC7.2", "system components are monitored for anomalies",
     "That failed and errored drills and checkpoints were recorded when they happened, with their reason; canaries "
     "show "
     "whether the drills see damage. Which alerts people silenced or acknowledged, for how long, and why.",
     "Monitoring of anything but checkpoints, drills and restores; who was told of which alert."},
    {"SOC 2 CC7.4, CC7.5", "incidents are responded to, and recovered from",
     "Which restores were made, asked for by whom, approved by whom, with what outcome.",
     "Whether they belonged to an incident, and how that was handled."},
    {"ISO/IEC 27001:2022 Annex A, 8.13", "information backup: copies are maintained and regularly tested",
     "The copies taken in the period, their tests, the coverage, and what a copy does not hold (omissions).",
     "The backup policy itself; retention against it; information that is in no PostgreSQL database listed here."},
    {"ISO/IEC 27001:2022 Annex A, 5.30", "ICT readiness for business continuity is tested against objectives",
     "Restore times measured in drills, and the age of proofs, against the objectives stated for each database.",
     "Whether the objectives are those of the business; that production hardware restores as fast as a drill agent."},
    {"ISO/IEC 27001:2022 Annex A, 5.28, 5.33, 8.15", "evidence, records and logs are kept and protected",
     "Digests of manifests and proofs, the head of a hash-chained ledger, and one signature over all of this.",
     "Logs of other systems; that the ledger's own host was not under somebody else's control."},
    {"NIST SP 800-53 Rev. 5 CP-9(1), CP-4, CP-10",
     "backups are tested for reliability and integrity; recovery is tested", "As for A1.3 and 8.13.",
     "Everything that these ask for beyond databases."},
};

void view_controls(View *view, const json_t *report) {
  static const ViewColumn columns[] = {{"Control", 18, false, false},
                                       {"It asks that", 20, false, false},
                                       {"What this shows of it", 34, false, false},
                                       {"What it does not show", 28, false, false}};
  (void)report;
  view_add(view, VIEW_HEADING, TONE_PLAIN, false, "Controls that this is evidence for");
  ViewItem *table = view_table(view, VIEW_TABLE, false, COLUMNS(columns));
  for (size_t i = 0; i < sizeof controls / sizeof *controls; i++) {
    view_cell(table, TONE_PLAIN, "%s", controls[i].name);
    view_cell(table, TONE_PLAIN, "%s", controls[i].about);
    view_cell(table, TONE_PLAIN, "%s", controls[i].shown);
    view_cell(table, TONE_DIM, "%s", controls[i].not_shown);
  }
  view_add(
      view, VIEW_TEXT, TONE_DIM, false,
      "The controls' texts are shortened here. Whether a control is met is for the auditor to say: this says what was "
      "recorded, and how it can be checked. It is no legal advice.");
}

/* ---- evidence ---- */

static void add_signature(ViewItem *facts, const ReportFile *file, ViewTrust trust) {
  static const char *const said[] = {
      "Its signature was checked with the key that was given: it is by the holder of that key, and nothing was "
      "altered.",
      "Its signature is by the key it names, and it came from the coordinator directly. Whose key that is was not "
      "checked.",
      "Its signature is by the key it names: nothing was altered since. Whose key that is was not checked "
      "(`pgseal report verify FILE --key KEY.pub`).",
      "It is not signed: its coordinator has no `signing_key`. Nothing says that it was not altered."};
  view_fact(facts, "Signature", trust == TRUST_NONE ? TONE_BAD : TONE_PLAIN, "%s", said[trust]);
  if (file->named)
    view_fact(facts, "Ed25519 key", TONE_PLAIN, "%s", view_text(file->signature, "public_key"));
  if (file->named) /* by it a page and its document are told to belong together */
    view_fact(facts, "Its signature", TONE_PLAIN, "%s", view_text(file->signature, "signature"));
}

static void add_chain(ViewItem *facts, const json_t *report) {
  const json_t *chain = json_object_get(report, "chain"), *head = json_object_get(report, "head");
  char when[VIEW_TEXT_SIZE];
  if (head)
    view_fact(facts, "Ledger at the end", TONE_PLAIN, "event %" PRId64 " of %s, hash %s",
              view_integer(head, "sequence"), view_time(view_integer(head, "time_us"), when), view_text(head, "hash"));
  else
    view_fact(facts, "Ledger at the end", TONE_PLAIN, "no event had been written by then");
  view_fact(facts, "Ledger when made", TONE_PLAIN, "event %" PRId64 ", hash %s", view_integer(chain, "sequence"),
            view_text(chain, "hash"));
  view_fact(facts, "Its chain", view_true(chain, "verified") ? TONE_GOOD : TONE_WARN, "%s",
            view_true(chain, "verified")
                ? "was reckoned from its first event to its last when this was made, and is whole"
                : "was too long to be reckoned for this: `pgseal ledger verify --expect HASH` does it");
}

static void add_proofs(View *view, const json_t *report) {
  static const ViewColumn columns[] = {{"Database", 16, false, false},
                                       {"Newest proof (UTC), event", 15, false, false},
                                       {"Drill and checkpoint", 21, false, true},
                                       {"SHA-256 of manifest, proof, all proofs of the period", 48, false, true}};
  const json_t *rows = json_object_get(report, "databases"), *row;
  size_t index;
  ViewItem *table = view_table(view, VIEW_TABLE, false, COLUMNS(columns));
  json_array_foreach(rows, index, row) {
    const json_t *proof = json_object_get(row, "last_proof");
    const char *manifest = view_text(proof, "manifest_sha256"), *digest = view_text(proof, "proof_sha256");
    char when[VIEW_TEXT_SIZE];
    view_cell(table, TONE_PLAIN, "%s", view_text(row, "name"));
    if (proof)
      view_cell(table, TONE_PLAIN, "%s, %" PRId64, view_time(view_integer(proof, "finished_us"), when),
                view_integer(json_object_get(proof, "event"), "sequence"));
    else
      view_cell(table, TONE_BAD, "no proof");
    view_cell(table, TONE_PLAIN, "%s %s", view_text(proof, "drill"), view_text(proof, "checkpoint"));
    bool any = view_integer(json_object_get(row, "drills"), "proven") > 0;
    view_cell(table, TONE_PLAIN, "%s %s %s", *manifest ? manifest : "-", *digest ? digest : "-",
              any ? view_text(row, "proven_sha256") : "-"); /* that of nothing looks as if there were some */
  }
}

static void add_keys(View *view, const json_t *report) {
  static const ViewColumn columns[] = {
      {"Agent", 26, false, false}, {"Ed25519 key", 52, false, true}, {"Revoked (UTC)", 22, false, false}};
  const json_t *rows = json_object_get(report, "keys"), *row;
  size_t index;
  if (json_array_size(rows) == 0)
    return;
  view_add(view, VIEW_TEXT, TONE_PLAIN, false,
           "Manifests and proofs are signed by the agents that made them, with these keys:");
  ViewItem *table = view_table(view, VIEW_TABLE, false, COLUMNS(columns));
  json_array_foreach(rows, index, row) {
    char when[VIEW_TEXT_SIZE];
    view_cell(table, TONE_PLAIN, "%s", view_text(row, "agent"));
    view_cell(table, TONE_PLAIN, "%s", view_text(row, "public_key"));
    view_cell(table, view_integer(row, "revoked_us") ? TONE_WARN : TONE_DIM, "%s",
              view_time(view_integer(row, "revoked_us"), when));
  }
}

void view_evidence(View *view, const ReportFile *file, ViewTrust trust) {
  bool all = strcmp(view_text(json_object_get(file->report, "listed"), "drills"), "all") == 0;
  view_add(view, VIEW_HEADING, TONE_PLAIN, false, "The evidence, and how to check it");
  view_add(view, VIEW_TEXT, TONE_PLAIN, false,
           "This is made of a signed JSON document; the document is what counts. `pgseal report verify FILE --key "
           "KEY.pub` checks, without the coordinator, its signature and that every number here follows from its rows.");
  ViewItem *facts = view_facts(view, false);
  add_signature(facts, file, trust);
  add_chain(facts, file->report);
  add_proofs(view, file->report);
  view_add(
      view, VIEW_TEXT, TONE_DIM, false,
      "The signatures lie beside the manifests and proofs in the repository (`*.cms.sig`), and can be checked "
      "without "
      "any decryption key; `pgseal verify` checks them, and the digests. %s",
      all ? "Every drill, with its digests and its event in the ledger's chain, is in the JSON document."
          : "There were too many drills to list those that were proven: the report of one database or owner does, and "
            "has the same digest of them.");
  add_keys(view, file->report);
}
