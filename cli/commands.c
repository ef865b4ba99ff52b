/* The commands: names, what they take, and help that teaches. */
#include "cli/cli.h"

#include "common/base/cleanup.h"

#define EXIT_CODES                                                                                                     \
  "Exit codes: 0 sealed; 1 failed, the checkpoint is condemned; 3 the coordinator cannot be reached or refused the\n"  \
  "token; 4 errored or canceled, nothing is condemned."

static const char help_dev[] =
    "Sets up DIR (keys, token, two YAML files, a repository) and runs pgseal-coordinator and pgseal-agent with it in\n"
    "the foreground, until Ctrl-C. A second run goes on with what is there. It only reads from your database,\n"
    "until you tell it to restore.\n\n"
    "  pgseal dev --database prod-api='host=db1 dbname=api user=pgseal' --production prod-api\n"
    "  pgseal dev --database shop=postgresql:///shop --engine local --http 127.0.0.1:9000\n\n"
    "A password belongs into ~/.pgpass or a service file, not on the command line. What is given is kept in\n"
    "DIR/databases/NAME.conninfo (mode 0600); a later run needs no --database.\n\n"
    "The first line of coordinator.yaml and agent.yaml says that each run writes them anew; remove it to keep your "
    "own\n"
    "changes.";

static const char help_checkpoint[] =
    "Dumps the database into the repository, restores it into a disposable PostgreSQL and compares. Shows progress\n"
    "until it is sealed. Ctrl-C detaches: the checkpoint goes on.\n\n"
    "  pgseal checkpoint prod-api --tag pre-deploy-4f3a9c1\n"
    "  pgseal checkpoint prod-api --tag nightly --idempotency-key \"$CI_JOB_ID\" --json | jq .id\n\n" EXIT_CODES;

static const char help_status[] =
    "The fleet at a glance: of each database its newest checkpoint, and which objectives of its policies it does not\n"
    "meet right now: the age of its proof, the time that its restore takes, the age of what a restore would bring "
    "back.\nWith --check that is exit status 1.\n\n"
    "  pgseal status\n"
    "  pgseal status --check --json >/dev/null || echo \"look at the fleet\"";

static const char help_ledger[] =
    "One line for each checkpoint; --events prints every event of the hash-chained record, and --json that record as\n"
    "the API gives it.\n\n"
    "  pgseal ledger --database prod-api --limit 5\n"
    "  pgseal ledger --events";

static const char help_show[] = "A tag means the newest checkpoint that has it.\n\n"
                                "  pgseal show pre-deploy-4f3a9c1\n"
                                "  pgseal show pre-deploy-4f3a9c1 --json | jq .prefix";

static const char help_tables[] =
    "Rows and bytes of each table, as the dump told them with its result, beside the sealed checkpoint before it. Of\n"
    "more than 10,000 tables the largest. What the live database has since then: pgseal plan.\n\n"
    "  pgseal tables pre-deploy-4f3a9c1\n"
    "  pgseal tables pre-deploy-4f3a9c1 --by change --limit 10\n"
    "  pgseal tables pre-deploy-4f3a9c1 --json | jq '.list[] | select(.rows_change < 0)'";

static const char help_drill[] =
    "Reads the checkpoint back from the repository, restores it into a disposable PostgreSQL and compares with its\n"
    "manifest. Production is not touched.\n\n"
    "  pgseal drill pre-deploy-4f3a9c1\n\n" EXIT_CODES;

static const char help_cancel[] =
    "Ends its jobs. What is stored already stays in the repository, unsealed.\n\n  pgseal cancel pre-deploy-4f3a9c1";

static const char help_fetch[] =
    "Reads the repository itself, checks the manifest's signature and every digest, and writes an archive that "
    "pg_restore\n"
    "reads in parallel. With --prefix it needs no coordinator at all.\n"
    "\n"
    "  pgseal fetch pre-deploy-4f3a9c1 --repository /srv/pgseal --key escrow.key --certificate escrow.crt \\\n"
    "    --output api.dump && pg_restore -j4 -d restored api.dump\n"
    "  pgseal fetch pre-deploy-4f3a9c1 --repository /srv/pgseal --key escrow.key --stdout | pg_restore -l\n"
    "  pgseal fetch pre-deploy-4f3a9c1 --repository bucket.yaml --key escrow.key --output api.dump\n"
    "  pgseal fetch --prefix prod-api/01kb.../attempt-1 --repository /srv/pgseal --key escrow.key \\\n"
    "    --public-key agent.pub --list\n"
    "\n"
    "Exit codes: 0 fetched; 1 an object is missing or was altered; 2 usage; 3 the coordinator cannot be reached or\n"
    "refused the token; 4 anything else, such as a key that does not fit.";

static const char help_verify[] =
    "Believes neither the coordinator nor the repository: checks the manifest's signature, every object's digests, "
    "the\n"
    "archive's fingerprint, and that signed proofs speak of this very manifest. Production is not touched.\n\n"
    "  pgseal verify pre-deploy-4f3a9c1 --repository /srv/pgseal --key escrow.key --certificate escrow.crt\n"
    "  pgseal verify --offline ./downloaded --key escrow.key --certificate escrow.crt \\\n"
    "    --public-key dump-1.pub --drill-public-key drill-1.pub\n\n"
    "Keys that are not named are those that the coordinator knows; it says so then.\n\n"
    "Exit codes: 0 whole and proven; 1 altered, incomplete or without a proof; 2 usage; 3 the coordinator cannot be\n"
    "reached; 4 it could not be checked, such as with a key that does not fit.";

static const char help_key_check[] =
    "Reads the newest sealed checkpoint (or the one named) and decrypts its manifest, roles, first and last segment.\n"
    "\n"
    "  pgseal key check --key escrow.key --certificate escrow.crt --repository /srv/pgseal\n"
    "  pgseal key check pre-deploy-4f3a9c1 --key escrow.key --certificate escrow.crt --repository bucket.yaml\n"
    "\n"
    "Exit codes: 0 it opens; 1 an object is missing or was altered; 3 the coordinator cannot be reached or refused "
    "the\n"
    "token; 4 the key does not fit.";

static const char help_chain[] =
    "Reads every event and reckons the chain's hashes here. What it prints at its end can be kept somewhere else, and\n"
    "expected of a later run: then nobody wrote the whole ledger anew in between.\n\n"
    "  pgseal ledger verify\n"
    "  pgseal ledger verify --expect 1234:9f86d081884c7d65...\n\n"
    "Exit codes: 0 whole; 1 broken; 3 the coordinator cannot be reached or refused the token.";

static const char help_rebuild[] =
    "After the coordinator's disk was lost: has agents look at what the repository holds, and puts what the ledger "
    "does\n"
    "not know into it. Sealed is what a proof says whose signature verifies with the key of an agent that may drill; "
    "what\n"
    "is refused is listed with its reason, and left alone. Nothing that the ledger knows is changed; again is fine.\n"
    "Without a name: all databases. docs/ledger.md has the whole way. Wants the role admin.\n"
    "\n"
    "  pgseal ledger rebuild --dry-run\n"
    "  pgseal ledger rebuild prod-api shop\n"
    "\n"
    "Exit codes: 0 done; 1 done, but something was refused; 3 the coordinator cannot be reached or refused the token; "
    "4\n"
    "of a database it did not come to an end.";

static const char help_doctor[] =
    "Tries, on the machine and as the user of an agent, everything its configuration names: keys, what it may do in "
    "the\n"
    "repository (and what it should not be able to), databases and whether all their tables can be read, pg_dump's "
    "version\n"
    "beside the server's, and a disposable PostgreSQL started and thrown away. Says what to do about each.\n\n"
    "  sudo -u pgseal pgseal doctor --config /etc/pgseal/agent.yaml\n\n"
    "Exit codes: 0 well, warnings included; 1 something does not work; 2 the configuration is wrong.";

static const char help_plan[] =
    "Reads only. Says what of the checkpoint is gone or changed in the live database, and the ways back in the order\n"
    "in which a team should think of them: a migration that puts definitions back (its SQL is printed), a script that\n"
    "puts back rows, tables restored from the checkpoint, the whole database beside this one. For each: what it "
    "reads,\n"
    "how long it takes, what it locks, and what was written since that it would lose.\n\n"
    "  pgseal plan prod-api\n"
    "  pgseal plan prod-api --checkpoint pre-deploy-4f3a9c1 --rows invoices\n"
    "  pgseal plan prod-api --table 'audit.*' --digest 'audit.*' --json | jq .report.damage\n\n"
    "Exit codes: 0 nothing is lost; 5 something is; 2 usage; 3 the coordinator cannot be reached or refused the "
    "token;\n"
    "4 it could not be found out, or not of every table.";

static const char help_guard[] =
    "Takes a checkpoint, waits until it is proven, runs the command with its input, output and exit status passed\n"
    "through, and compares the database with the checkpoint. Tables, columns, constraints or indexes gone, or more "
    "than\n"
    "5 % of a table's rows, end in exit status 5, an event of the ledger, and the plan: seconds after the damage. The\n"
    "command is not run unless the checkpoint is sealed.\n\n"
    "  pgseal guard prod-api -- npm run migrate\n"
    "  pgseal guard prod-api --tag pre-deploy-4f3a9c1 --on-damage rollback-plan -- ./migrate up\n"
    "  pgseal guard prod-api --before --tag rel-77 && ssh app ./migrate && pgseal guard prod-api --after --tag "
    "rel-77\n\n"
    "Exit codes: the command's own; 5 something was lost, however the command ended. Before it: 1 the checkpoint "
    "failed,\n"
    "2 usage, 3 the coordinator cannot be reached or refused the token, 4 errored. After a command that ended with 0:\n"
    "4 the comparison could not be made, or not of every table.";

static const char help_rehearse[] =
    "Restores a sealed checkpoint on a drill host, proves that copy as a drill does, runs the migration on it and "
    "says\n"
    "what it would do to production's data: objects dropped (and what CASCADE takes with them), columns lost, rows "
    "lost\n"
    "or changed, locks and how long they are held, tables rewritten whole, statements that fail. Production is not\n"
    "touched, and the copy is thrown away.\n\n"
    "  --sql FILE          the agent runs the file; may be repeated.\n"
    "  --command, or --    the command runs here, with DATABASE_URL and PGHOST ... leading to the copy: a port of "
    "this\n"
    "                      machine's loopback, tunnelled to it in PostgreSQL's own TLS.\n\n"
    "  pgseal rehearse prod-api --sql migrations/0042.sql\n"
    "  pgseal rehearse prod-api --fresh -- npm run migrate\n"
    "  pgseal rehearse prod-api --sql 0042.sql --allow lock --summary \"$GITHUB_STEP_SUMMARY\"\n"
    "  pgseal rehearse --new-secret > rehearse.secret\n\n"
    "The agent and whoever rehearses share a secret that the coordinator does not know: PGSEAL_REHEARSE_SECRET,\n"
    "PGSEAL_REHEARSE_SECRET_FILE or --secret-file.\n\n"
    "Exit codes: 0 no danger found; 5 dangerous; 1 a statement or the command failed; 2 usage; 3 the coordinator "
    "cannot\n"
    "be reached or refused the token; 4 it did not come to an end, and says nothing.";

static const char help_restore[] =
    "Puts back what a checkpoint has, by way of an agent that may write to the database. `pgseal plan` says which of\n"
    "these helps, and prints the command:\n\n"
    "  --table           missing tables where they were, with all that belongs to them; --replace: for one that is\n"
    "                    there, which is moved aside, whole. One transaction, verified before it commits.\n"
    "  --table --beside  their rows into a schema of its own, compared with the live ones, and a script of what\n"
    "                    differs: read it, then run it by --run-script, or edit it and use psql.\n"
    "  --new-database    all of it, into a new database on the same server.\n\n"
    "  pgseal restore prod-api --checkpoint pre-deploy-4f3a9c1 --table orders --table 'audit.*'\n"
    "  pgseal restore prod-api --checkpoint pre-deploy-4f3a9c1 --table invoices --beside --script-out back.sql\n"
    "  pgseal restore prod-api --run-script 06f3kq2v8m1s7t5y9c4x0w2z6h\n\n"
    "In production the database's name has to be typed, at a terminal; and of a script, the number of rows. In "
    "scripts:\n"
    "--yes-i-mean NAME, --rows N. Ctrl-C cancels and says what is left. Wants the role operator.\n\n"
    "Exit codes: 0 restored and verified; 1 not as in the checkpoint; 2 usage, or not confirmed: nothing was done; 3 "
    "the\n"
    "coordinator cannot be reached or refused the token; 4 errored or canceled: it says what is left.";

static const char help_jobs[] =
    "What agents did, do and are to do, the newest first: plans, restores, rehearsals, and the dumps and drills of\n"
    "checkpoints.\n\n  pgseal jobs --database prod-api --kind restore";

static const char help_job_show[] =
    "With the whole report of a plan, restore or rehearsal.\n\n  pgseal job show JOB --json | jq .report";

static const char help_job_cancel[] = "A restore that is under way is rolled back. Plans and rehearsals are canceled "
                                      "by whoever may ask for one, restores\n"
                                      "by operators.\n"
                                      "\n"
                                      "  pgseal job cancel JOB";

static const char help_job_approve[] =
    "Lets a restore go on that waits for a second person (`restore_approval` in coordinator.yaml). Not with the token "
    "that\n"
    "asked for it. Look at it first: `pgseal job show JOB`.\n\n  pgseal job approve JOB";

static const char help_apply[] =
    "Makes a fleet.yaml (docs/fleet.md) the one in force: databases, policies, schedules, limits. What it changes is "
    "shown,\n"
    "and what in it does nothing: policies that match no database, databases without a policy. As a whole or not at "
    "all.\n"
    "Wants the role admin.\n\n"
    "  pgseal apply -f fleet.yaml --dry-run\n"
    "  pgseal apply -f fleet.yaml\n\n"
    "Exit codes: 0 applied, or nothing to do; 2 it is wrong, with the line; 3 the coordinator cannot be reached or "
    "refused\n"
    "the token; 4 the coordinator watches a file of its own.";

static const char help_fleet[] = "Without a database: the document in force. With one: all that holds for it, and "
                                 "which policies say so.\n\n"
                                 "  pgseal fleet >fleet.yaml\n  pgseal fleet prod-api";

static const char help_schedule[] =
    "Per database: when its next checkpoint is due (jitter included), how the last one ended, how many runs were "
    "missed\n"
    "(the coordinator was down, or its clock was set) and how many skipped (one was under way). The ledger has each:\n"
    "events schedule.missed and schedule.skipped.\n\n"
    "  pgseal schedule --limit 20\n  pgseal schedule prod-api --json | jq '.schedule[0].next_at'";

static const char help_databases[] =
    "Each with its owner, its newest checkpoint, and the objectives that it does not meet. Production is marked.\n\n"
    "  pgseal databases\n  pgseal databases --json | jq -r '.databases[].name'";

static const char help_agents[] =
    "Each with what it may do, the jobs that it has and how many it takes, its machine's load and disks, and until "
    "when\n"
    "its certificate is good. Who is drained or revoked is told.\n\n"
    "  pgseal agents\n  pgseal agents --json | jq -r '.agents[] | select(.state != \"live\") | .name'";

static const char help_token_create[] =
    "The coordinator keeps a hash only.\n\n"
    "  ci        asks for checkpoints of its databases and sees how they end: for pipelines\n"
    "  viewer    reads everything of its databases\n"
    "  operator  both, and drills, restores, approves and cancels\n"
    "  admin     all of it, and makes, rotates and revokes tokens; always of all databases\n\n"
    "  pgseal token create --name deploy-pipeline --databases 'prod-*' --expires 90d\n"
    "  pgseal token create --name dashboard --role viewer\n"
    "  pgseal token create --name oncall --role admin --output ~/.pgseal-token\n\n"
    "Databases that do not match do not exist for the token. '*' and '?' stand for what may vary.";

static const char help_token_rotate[] =
    "A new secret under the same name, role and databases. The old one stays valid until the overlap ends, so that\n"
    "there is time to put the new one where it is used.\n\n"
    "  pgseal token rotate deploy-pipeline --overlap 1h\n"
    "  pgseal token rotate deploy-pipeline --overlap 0      # it leaked";

static const char help_token_list[] = "Of each its role, its databases, when it ends and when it was last used. The "
                                      "coordinator does not know the tokens\n"
                                      "themselves. Wants the role admin.\n\n  pgseal token list";

static const char help_token_revoke[] =
    "Both of its secrets, should it have two, at once: what waits or streams with them ends too.\n\n"
    "  pgseal token revoke deploy-pipeline";

static const char help_agent_invite[] =
    "Makes an invitation: a token that is good once, and not for long. Whoever enrolls with it is that agent, so give "
    "it\n"
    "to the agent's machine alone. The coordinator keeps its hash only.\n\n"
    "  pgseal agent invite dump-1 --capability dump --databases 'prod-*' --output dump-1.token\n"
    "  pgseal agent invite drill-1 --capability drill --expires 30m";

static const char help_agent_revoke[] =
    "At once: its session ends, its certificates open no connection, its jobs go to others, and what it signs from "
    "then\n"
    "on is refused. What it proved before stays proven. It can be invited again, with new keys.\n\n"
    "  pgseal agent revoke dump-1";

static const char help_key_generate[] =
    "Private keys are written with mode 0600 and never overwritten. Nothing leaves this machine.\n\n"
    "  pgseal key generate --kind recipient --out keys/escrow --name \"pgseal escrow\"   # escrow.key, escrow.crt\n"
    "  pgseal key generate --kind signing --out keys/agent-1                           # agent-1.key, agent-1.pub";

static const char help_rotation[] =
    "The checkpoints that the policies of fleet.yaml have drilled again: which are next, how "
    "many drills the budget\n"
    "allows, and whether that keeps every proof as young as it is to be "
    "(docs/rotation.md).\n\n"
    "  pgseal rotation\n"
    "  pgseal rotation --json | jq .forecast";
static const char help_report[] =
    "What the ledger says of a period: drills that were proven, failed or errored and what followed, restore times, "
    "which\n"
    "databases had no fresh proof at its end, who restored what, and the evidence; mapped to controls "
    "(docs/reports.md).\n"
    "Without a file it is shown in short. All times are UTC; --to is not part of the period.\n\n"
    "  pgseal report --month 2026-10\n"
    "  pgseal report --week 2026-W45 --environment production\n"
    "  pgseal report --month 2026-10 --owner team-api --pdf report.pdf --json report.json\n"
    "  pgseal report --from 2026-07-01 --to 2026-10-01 --database prod-api --html report.html";
static const char help_report_list[] = "What coordinator.yaml has under `reports`: of whom, of which period, by which "
                                       "route of alerts, and when the next one "
                                       "is\n"
                                       "due. docs/reports.md.\n\n"
                                       "  pgseal report list";
static const char help_report_send[] =
    "Sends a report of coordinator.yaml by its route now, once, and says whether the mail server has it: of the last "
    "period\n"
    "that is over, or of another. Its schedule goes on as before. Wants the role operator.\n\n"
    "  pgseal report send monthly\n"
    "  pgseal report send monthly --month 2026-10\n\n"
    "Exit codes: 0 the mail server has it; 3 the coordinator cannot be reached or refused the token; 4 it did not get "
    "there.";
static const char help_report_verify[] =
    "Checks a report's document without the coordinator: its signature, and that its numbers follow from its rows.\n"
    "Exit status 0: it is good; 1: it is not.\n\n"
    "  pgseal report verify report.json --key signing.pub";

static const char help_alert_list[] =
    "What fires and what is about to, the worst first; then the routes by which it is told, with what waits for them "
    "and\n"
    "what is wrong with them. docs/alerts.md explains each alert.\n\n"
    "  pgseal alert list\n"
    "  pgseal alert list --all --json | jq '.alerts[] | select(.state == \"resolved\")'";

static const char help_alert_silence[] =
    "Of the alert with this key (ALERT/OF in pgseal alert list), or of all alerts of a database, of a condition, or of "
    "both,\n"
    "nobody is told until the time is over: 1m to 30d, of chain_broken at most 1h. They fire all the same, and are "
    "shown "
    "as\n"
    "silenced; what fires at the end is told then. Who silenced what and why is in the ledger.\n\n"
    "  pgseal alert silence restore_slow/prod-api --for 2h --reason 'drill host is being moved'\n"
    "  pgseal alert silence --database prod-api --for 3d --reason 'rebuilt until Monday'\n"
    "  pgseal alert silence --condition agent_lost --for 30m --reason 'switch is exchanged'";
static const char help_alert_acknowledge[] =
    "It is not told again, until it is over. If it fires anew, that is told.\n\n"
    "  pgseal alert acknowledge checkpoint_failed/prod-api --reason 'Ann looks into it'";
static const char help_alert_silences[] = "With --all also those that have ended, of 90 days.\n\n"
                                          "  pgseal alert silences";
static const char help_alert_unsilence[] = "What fires is told then.\n\n"
                                           "  pgseal alert unsilence 01m7zq3twc6v5yp5ej1fc06ea7";

static const char help_alert_test[] =
    "Sends a test by a route of coordinator.yaml, once, and says what the receiver answered, and after how long.\n"
    "Wants the role operator.\n\n"
    "  pgseal alert test pager\n\n"
    "Exit codes: 0 the receiver has it; 3 the coordinator cannot be reached or refused the token; 4 it did not get "
    "there.";

static const char help_retention[] =
    "Which checkpoints the policies of fleet.yaml keep, each with the rules that keep it, and which go.\n\n"
    "  pgseal retention prod-api\n"
    "  pgseal retention prod-api --json | jq '.checkpoints[] | select(.fate == \"prune\")'";

static const char help_prune[] =
    "Has what no rule keeps taken out of the repository now, by an agent that may; else that happens by itself within\n"
    "ten minutes. Never the newest sealed one, nothing that is pinned, and nothing that is locked.\n\n"
    "  pgseal prune prod-api --dry-run\n"
    "  pgseal prune prod-api";

static const char help_pin[] = "Keeps a checkpoint, whatever a policy says, until it is unpinned.\n\n"
                               "  pgseal pin pre-deploy-4f3a9c1 --reason 'the audit of 2026'";

static const char help_unpin[] = "The policies say again what becomes of it.\n\n  pgseal unpin pre-deploy-4f3a9c1";

static const char help_drain[] =
    "It gets no more jobs, and ends what it has: before its machine is looked after, or taken away. Jobs that nobody\n"
    "else can do end as no_agent. pgseal undrain lets it work again.\n\n"
    "  pgseal drain dump-1 --reason 'new disk'\n"
    "  pgseal agents";

static const char help_undrain[] = "It gets jobs again.\n\n  pgseal undrain dump-1";

static const char help_cordon[] = "Nothing of it is dumped or pruned until pgseal uncordon; who asks for a checkpoint "
                                  "is refused, and told why. What\n"
                                  "waits keeps waiting. Drills, plans and restores go on.\n\n"
                                  "  pgseal cordon prod-api --reason 'failover test until 16:00'";

static const char help_uncordon[] = "It is dumped and pruned again; what waited goes on.\n\n  pgseal uncordon prod-api";

static const char help_pause[] = "No dump, drill or prune begins anywhere until pgseal resume. What runs goes on, what "
                                 "is asked for is kept and waits,\n"
                                 "and plans, restores and rehearsals go on: they are what one needs on such a day.\n\n"
                                 "  pgseal pause --reason 'the storage is moved'\n"
                                 "  pgseal resume";

static const char help_resume[] =
    "Dumps, drills and prunes begin again. Agents that are drained and databases that are cordoned "
    "stay\n"
    "so (pgseal holds).\n\n  pgseal resume";

static const char help_holds[] = "What is drained, cordoned or paused, since when, by whom and why.\n\n  pgseal holds";

/* The table is as long as a function may be. */
#define COMMANDS_OF_LOOKING                                                                                            \
  {"show", "ID|TAG", "one checkpoint: what was proven, what is left out, what differed", help_show, command_show}, {   \
    "tables", "ID|TAG [--by WHAT] [--limit N]", "the tables of a checkpoint, and what changed since the one before",   \
        help_tables, command_tables                                                                                    \
  }
#define COMMANDS_OF_REPORTS                                                                                            \
  {"report",                                                                                                           \
   "--month YYYY-MM | --quarter YYYY-QN | --week YYYY-WNN | --from TIME --to TIME "                                    \
   "[--database NAME ... | --owner TEAM | --environment NAME] [--pdf FILE] [--html FILE] [--json FILE]",               \
   "what was proven in a period, for auditors", help_report, command_report},                                          \
      {"report list", "", "the reports that are sent by mail, and when", help_report_list, command_report_list},       \
      {"report send", "REPORT [--month YYYY-MM ...]", "send one of them now", help_report_send, command_report_send},  \
  {                                                                                                                    \
    "report verify", "FILE [--key KEY.pub]", "check a report without the coordinator", help_report_verify,             \
        command_report_verify                                                                                          \
  }
#define COMMANDS_OF_TOKENS                                                                                             \
  {"token create", "--name NAME [--role ROLE] [--databases GLOB] [--expires 90d]", "make a token; it is shown once",   \
   help_token_create, command_token_create},                                                                           \
      {"token list", "", "tokens by name, role and use", help_token_list, command_token_list},                         \
      {"token rotate", "NAME [--overlap 1h]", "make a token's secret anew, without downtime", help_token_rotate,       \
       command_token_rotate},                                                                                          \
  {                                                                                                                    \
    "token revoke", "NAME", "make a token worthless", help_token_revoke, command_token_revoke                          \
  }

const Command cli_commands[] = {
    {"dev", "--database NAME=CONNINFO ... [--dir DIR]", "a coordinator and an agent on this machine, in one command",
     help_dev, command_dev},
    {"checkpoint", "DATABASE --tag TAG [--no-wait]", "take a checkpoint and wait until it is proven", help_checkpoint,
     command_checkpoint},
    {"status", "[--check]", "databases with their newest checkpoint, and agents", help_status, command_status},
    {"ledger", "[--database NAME] [--limit N] [--events]", "how checkpoints ended", help_ledger, command_ledger},
    {"ledger verify", "[--expect N:HASH]", "check the ledger's chain, trusting nobody", help_chain,
     command_ledger_verify},
    {"ledger rebuild", "[DATABASE ...]", "a new ledger out of the repository", help_rebuild, command_ledger_rebuild},
    COMMANDS_OF_LOOKING,
    {"drill", "ID|TAG", "restore a checkpoint again, now, and wait for the proof", help_drill, command_drill},
    {"cancel", "ID|TAG", "end a checkpoint that is under way", help_cancel, command_cancel},
    {"guard", "DATABASE [--tag TAG] [--on-damage WHAT] -- COMMAND ...",
     "checkpoint, run the migration, and say at once what it destroyed", help_guard, command_guard},
    {"plan", "DATABASE [--checkpoint ID|TAG] [--table PATTERN ...]",
     "what is gone or changed since a checkpoint, and the ways back", help_plan, command_plan},
    {"rehearse", "DATABASE (--sql FILE ... | --command COMMAND | -- COMMAND ...)",
     "run a migration on a drilled copy first, and say what it would do", help_rehearse, command_rehearse},
    {"restore", "DATABASE --checkpoint ID|TAG (--table PATTERN ... [--replace | --beside] | --new-database NAME)",
     "put tables back, or rows, or all of it beside", help_restore, command_restore},
    {"jobs", "[--database NAME] [--kind KIND]", "plans, restores, rehearsals, dumps, drills", help_jobs, command_jobs},
    {"job show", "ID", "one job, with its report", help_job_show, command_job_show},
    {"job cancel", "ID", "end a plan, a restore or a rehearsal that is under way", help_job_cancel, command_job_cancel},
    {"job approve", "ID", "let another's restore go on", help_job_approve, command_job_approve},
    {"rotation", "", "what is drilled again next, and whether the budget is enough", help_rotation, command_rotation},
    COMMANDS_OF_REPORTS,
    {"alert list", "[--all]", "what fires, and whether those who are to be told of it are", help_alert_list,
     command_alert_list},
    {"alert silence", "(KEY | --database NAME | --condition NAME) --for TIME --reason TEXT",
     "tell nobody of these alerts for a while", help_alert_silence, command_alert_silence},
    {"alert acknowledge", "KEY --reason TEXT", "somebody looks after it: tell it again only when it is over",
     help_alert_acknowledge, command_alert_acknowledge},
    {"alert silences", "[--all]", "what is silenced or acknowledged, until when, by whom and why", help_alert_silences,
     command_alert_silences},
    {"alert unsilence", "ID", "end a silence or an acknowledgement", help_alert_unsilence, command_alert_unsilence},
    {"alert test", "ROUTE", "send a test, and say whether it got there", help_alert_test, command_alert_test},
    {"retention", "DATABASE", "which checkpoints are kept, and why", help_retention, command_retention},
    {"prune", "DATABASE [--dry-run]", "take what no policy keeps out of the repository, now", help_prune,
     command_prune},
    {"pin", "ID|TAG [--reason TEXT]", "keep a checkpoint, whatever a policy says", help_pin, command_pin},
    {"unpin", "ID|TAG", "keep it no longer than a policy says", help_unpin, command_unpin},
    {"fetch", "ID|TAG --repository DIR|FILE --key KEY.pem (--output FILE | --stdout | --list)",
     "decrypt a checkpoint into a standard archive for pg_restore", help_fetch, command_fetch},
    {"verify", "ID|TAG --repository DIR|FILE --key KEY.pem | --offline DIR ...",
     "check signatures, digests and proofs, trusting nobody", help_verify, command_verify},
    {"doctor", "--config agent.yaml", "is this agent ready for work?", help_doctor, command_doctor},
    {"apply", "-f FILE [--dry-run]", "apply a fleet.yaml, or show what it would change", help_apply, command_apply},
    {"fleet", "[DATABASE]", "the fleet.yaml in force; what holds for a database", help_fleet, command_fleet},
    {"schedule", "[DATABASE] [--limit N]", "what is due next, and what was missed", help_schedule, command_schedule},
    {"databases", "", "the databases of the fleet", help_databases, command_databases},
    {"holds", "", "what is drained, cordoned or paused", help_holds, command_holds},
    {"drain", "AGENT [--reason TEXT]", "no more jobs for an agent", help_drain, command_drain},
    {"undrain", "AGENT", "jobs for an agent again", help_undrain, command_undrain},
    {"cordon", "DATABASE [--reason TEXT]", "no more dumps of a database", help_cordon, command_cordon},
    {"uncordon", "DATABASE", "dumps of a database again", help_uncordon, command_uncordon},
    {"pause", "[--reason TEXT]", "no more routine work in the whole fleet", help_pause, command_pause},
    {"resume", "", "end a pause: routine work goes on", help_resume, command_resume},
    {"agents", "", "the agents, and whether they are live", help_agents, command_agents},
    {"agent invite", "NAME --capability dump|drill ... [--databases GLOB ...] [--expires 1h]",
     "let an agent join; the token is shown once", help_agent_invite, command_agent_invite},
    {"agent revoke", "NAME", "throw an agent out, at once", help_agent_revoke, command_agent_revoke},
    COMMANDS_OF_TOKENS,
    {"key generate", "--kind recipient|signing --out PREFIX", "make a key pair for encryption, or an agent's identity",
     help_key_generate, command_key_generate},
    {"key check", "[ID|TAG] --repository DIR|FILE --key KEY.pem",
     "does the key in the safe open the newest checkpoint?", help_key_check, command_key_check},
};
const size_t cli_command_count = ARRAY_SIZE(cli_commands);
