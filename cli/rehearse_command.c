/* A migration that is a command of this machine's: it is given a port of loopback that leads to the copy. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/api.h"
#include "cli/command_run.h"
#include "cli/recovery.h"
#include "cli/rehearse.h"
#include "cli/tunnel.h"
#include "common/base/cleanup.h"
#include "common/base/file.h"
#include "common/base/memory.h"

/* Of the copy, once it is known to be one of whoever has the secret. */
typedef struct Copy {
  const char *certificate, *role, *database; /* the job's */
  char password[REHEARSAL_MAC_SIZE];
} Copy;

static bool offered(const json_t *job) {
  return json_is_object(json_object_get(json_object_get(job, "progress"), "tunnel"));
}

static Status check_offer(const json_t *job, const RehearsalSecret *secret, Copy *copy, Error *err) {
  const json_t *offer = json_object_get(json_object_get(job, "progress"), "tunnel");
  const char *id = api_text(job, "id");
  char mac[REHEARSAL_MAC_SIZE];
  *copy = (Copy){.certificate = api_text(offer, "certificate"),
                 .role = api_text(offer, "role"),
                 .database = api_text(offer, "database")};
  rehearsal_offer_mac(secret, id, copy->certificate, copy->role, copy->database, mac);
  if (rehearsal_mac_equal(mac, api_text(offer, "mac"))) {
    rehearsal_password(secret, id, copy->password);
    return STATUS_OK;
  }
  error_set(err, ERR_FORBIDDEN, "the copy that is offered is not of an agent that has the secret: nothing was run");
  error_remedy(err, "Is it the secret that `rehearse.secret_file` of the agent names? If it is, something between here "
                    "and the agent is not what it should be.");
  return ERR_FORBIDDEN;
}

/* What a command finds its database by. Set before there are threads: nothing else may look at the environment. */
static void set_environment(const Copy *copy, int port, const char *certificate) {
  static const char *const misleading[] = {
      "PGHOSTADDR",       "PGSERVICE",     "PGSERVICEFILE",    "PGPASSFILE",
      "PGCHANNELBINDING", "PGREQUIREAUTH", "PGSSLNEGOTIATION", "PGTARGETSESSIONATTRS",
      "PGSSLCERT",        "PGSSLKEY",      "PGSSLCRL",         "PGSSLCRLDIR"};
  for (size_t i = 0; i < ARRAY_SIZE(misleading); i++)
    unsetenv(misleading[i]);
  CLEANUP_FREE char *number = memory_format("%d", port);
  CLEANUP_FREE char *role = http_escape(copy->role), *database = http_escape(copy->database);
  CLEANUP_FREE char *file = http_escape(certificate);
  CLEANUP_FREE char *url = memory_format("postgresql://%s:%s@127.0.0.1:%d/%s?sslmode=verify-ca&sslrootcert=%s", role,
                                         copy->password, port, database, file);
  const char *const variables[][2] = {
      {"DATABASE_URL", url},      {"PGHOST", "127.0.0.1"},        {"PGPORT", number},
      {"PGUSER", copy->role},     {"PGPASSWORD", copy->password}, {"PGDATABASE", copy->database},
      {"PGSSLMODE", "verify-ca"}, {"PGSSLROOTCERT", certificate}, {"PGGSSENCMODE", "disable"},
  };
  for (size_t i = 0; i < ARRAY_SIZE(variables); i++)
    setenv(variables[i][0], variables[i][1], 1);
  unsetenv("PGSEAL_REHEARSE_SECRET"); /* the command has no need of it, nor of the token */
  unsetenv("PGSEAL_TOKEN");
}

static Status through_tunnel(TunnelClient *client, char *const *command, int *exit_status, Error *err) {
  Error broken;
  Status status = tunnel_client_start(client, err);
  if (status == STATUS_OK)
    status = command_run(command, exit_status, err);
  if (tunnel_client_finish(client, status == STATUS_OK ? *exit_status : 127, &broken) != STATUS_OK &&
      status == STATUS_OK) {
    *err = broken;
    status = broken.status;
  }
  return status;
}

/* In a directory of its own, which nobody else may look into. */
static Status run(Cli *cli, const char *job_path, const Copy *copy, char *const *command, int *exit_status,
                  Error *err) {
  const char *tmp = getenv("TMPDIR");
  CLEANUP_FREE char *dir = memory_format("%s/pgseal-rehearse-XXXXXX", tmp && *tmp ? tmp : "/tmp");
  CLEANUP_FREE char *path = memory_format("%s/tunnel", job_path);
  TunnelClient *client = NULL;
  Error ignored;
  if (!mkdtemp(dir))
    return error_set(err, ERR_IO, "cannot make a directory in %s", tmp && *tmp ? tmp : "/tmp");
  CLEANUP_FREE char *certificate = memory_format("%s/copy.crt", dir);
  Status status = file_write_atomic(certificate, 0600, copy->certificate, strlen(copy->certificate), err);
  if (status == STATUS_OK)
    status = tunnel_client_listen(cli->http, path, &client, err);
  if (status == STATUS_OK) {
    set_environment(copy, tunnel_client_port(client), certificate);
    status = through_tunnel(client, command, exit_status, err);
  }
  tunnel_client_close(client);
  if (file_remove_tree(dir, &ignored) != STATUS_OK)
    cli_note(cli, "%s", ignored.message);
  return status;
}

static void cancel(Cli *cli, const char *job_path) {
  CLEANUP_FREE char *path = memory_format("%s/cancel", job_path);
  CLEANUP(api_release) json_t *json = NULL;
  Error ignored;
  if (api_call(cli, "POST", path, NULL, NULL, &json, &ignored) != STATUS_OK)
    return; /* its time ends, too */
}

Status rehearse_command(Cli *cli, const char *job_path, const RehearsalSecret *secret, char *const *command,
                        int *exit_status, json_t **job, Error *err) {
  CLEANUP(api_release) json_t *first = NULL;
  Copy copy;
  *exit_status = 0;
  Status status = recovery_wait(cli, job_path, offered, &first, err);
  if (status != STATUS_OK)
    return status;
  if (recovery_is_over(first)) {
    *job = json_incref(first);
    return STATUS_OK;
  }
  status = check_offer(first, secret, &copy, err);
  bool begun = status == STATUS_OK;
  if (begun)
    status = run(cli, job_path, &copy, command, exit_status, err);
  explicit_bzero(&copy, sizeof copy);
  if (begun && status == ERR_CONFLICT) { /* the copy went away while the command ran; the job says why */
    cli_note(cli, "%s", err->message);
    status = STATUS_OK;
    *exit_status = *exit_status ? *exit_status : 1;
  }
  if (status != STATUS_OK) {
    cancel(cli, job_path);
    return status;
  }
  if (*exit_status != 0)
    cli_note(cli, "the command ended with exit status %d", *exit_status);
  return recovery_wait(cli, job_path, NULL, job, err);
}
