/* What `pgseal dev` is to run: the options of this run over those of the run before. */
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cli/api.h"
#include "cli/dev.h"
#include "common/base/buffer.h"
#include "common/base/cleanup.h"
#include "common/base/file.h"
#include "common/base/loopback.h"
#include "common/base/memory.h"
#include "common/base/text.h"
#include "common/config/repository.h"
#include "common/postgres/connection.h"

#define DEV_DEFAULT_HTTP "127.0.0.1:8420"
enum { DEV_FILE_LIMIT = 1 << 20 };

char *dev_path(const Dev *dev, const char *name) {
  return memory_format("%s/%s", dev->dir, name);
}

static Status dev_open_dir(Dev *dev, Error *err) {
  /* others may pass through (a drill's cluster runs as another user) but see nothing */
  Status status = file_make_dirs(dev->dir_option, 0711, err);
  if (status != STATUS_OK)
    return status;
  dev->dir = realpath(dev->dir_option, NULL);
  if (!dev->dir)
    return error_set_errno(err, errno, "cannot resolve %s", dev->dir_option);
  CLEANUP_FREE char *lock = dev_path(dev, "lock");
  dev->lock_fd = open(lock, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (dev->lock_fd < 0)
    return error_set_errno(err, errno, "cannot open %s", lock);
  if (flock(dev->lock_fd, LOCK_EX | LOCK_NB) == 0)
    return STATUS_OK;
  error_set(err, ERR_CONFLICT, "another `pgseal dev` runs in %s", dev->dir);
  error_remedy(err, "Stop that one, or use another --dir.");
  return err->status;
}

static DevDatabase *dev_database(Dev *dev, const char *name) {
  for (size_t i = 0; i < dev->database_count; i++)
    if (strcmp(dev->databases[i].name, name) == 0)
      return &dev->databases[i];
  return NULL;
}

static DevDatabase *dev_add_database(Dev *dev, const char *name) {
  DevDatabase *known = dev_database(dev, name);
  if (known)
    return known;
  ARRAY_PUSH(dev->databases, dev->database_count, ((DevDatabase){.name = memory_strdup(name)}));
  return &dev->databases[dev->database_count - 1];
}

/* dev.json: what the run before was asked for. */
static Status dev_load(Dev *dev, Error *err) {
  CLEANUP_FREE char *path = dev_path(dev, "dev.json");
  CLEANUP(buffer_release) Buffer text = {0};
  if (!file_exists(path))
    return STATUS_OK;
  Status status = file_read(path, DEV_FILE_LIMIT, &text, err);
  if (status != STATUS_OK)
    return status;
  CLEANUP(api_release) json_t *json = json_loadb((const char *)text.data, text.size, 0, NULL);
  if (!json_is_object(json)) {
    error_set(err, ERR_CONFIG, "%s is damaged", path);
    error_remedy(err, "Remove it, and name every database with --database once more.");
    return err->status;
  }
  const json_t *databases = json_object_get(json, "databases"), *images = json_object_get(json, "images"), *item;
  size_t index;
  json_array_foreach(databases, index, item) {
    const char *name = api_text(item, "name");
    CLEANUP_FREE char *file = memory_format("%s/databases/%s.conninfo", dev->dir, name);
    if (!text_name_valid(name) || !file_exists(file))
      continue;
    DevDatabase *database = dev_add_database(dev, name);
    database->production = api_true(item, "production");
    if (!database->conninfo) /* unless this run gave another */
      status = file_read_text(file, DEV_FILE_LIMIT, &database->conninfo, err);
    if (status != STATUS_OK)
      return status;
  }
  json_array_foreach(images, index, item) {
    if (json_is_string(item))
      ARRAY_PUSH(dev->images, dev->image_count, memory_strdup(json_string_value(item)));
  }
  dev->http_kept = memory_strdup(api_text(json, "http"));
  dev->engine_kept = memory_strdup(api_text(json, "engine"));
  dev->repository_kept = memory_strdup(api_text(json, "repository"));
  return STATUS_OK;
}

static Status dev_take_database(Dev *dev, const char *option, Error *err) {
  const char *equals = strchr(option, '=');
  CLEANUP_FREE char *name = memory_strndup(option, equals ? (size_t)(equals - option) : 0);
  if (!equals || !text_name_valid(name)) { /* nothing of it is echoed: it may hold a password */
    error_set(err, ERR_INVALID_ARGUMENT,
              "--database takes NAME=CONNINFO, with a name of 1 to 63 of a-z, 0-9, '.', '_', '-'");
    error_remedy(err, "For example: --database prod-api='host=db1 dbname=api user=pgseal'");
    return err->status;
  }
  Conninfo *conninfo = NULL;
  Status status = conninfo_parse(equals + 1, &conninfo, err);
  if (status != STATUS_OK)
    return error_prefix(err, "database %s", name);
  conninfo_free(conninfo);
  if (strpbrk(equals + 1, "\r\n"))
    return error_set(err, ERR_INVALID_ARGUMENT, "database %s: the connection string holds a line break", name);
  DevDatabase *database = dev_add_database(dev, name);
  free(database->conninfo);
  database->conninfo = memory_strdup(equals + 1);
  return STATUS_OK;
}

static Status dev_take_image(Dev *dev, const char *option, Error *err) {
  char *end;
  long major = strtol(option, &end, 10);
  if (major < 9 || major > 99 || *end != '=' || !end[1])
    return error_set(err, ERR_INVALID_ARGUMENT, "--image takes MAJOR=IMAGE, such as 15=postgres:15, not '%s'", option);
  size_t prefix = (size_t)(end + 1 - option);
  for (size_t i = 0; i < dev->image_count; i++)
    if (strncmp(dev->images[i], option, prefix) == 0) {
      free(dev->images[i]);
      dev->images[i] = memory_strdup(option);
      return STATUS_OK;
    }
  ARRAY_PUSH(dev->images, dev->image_count, memory_strdup(option));
  return STATUS_OK;
}

/* Before anything is created: what can be judged from the command line alone. */
static Status dev_take_databases(Dev *dev, Error *err) {
  for (size_t i = 0; i < dev->database_options.count; i++) {
    Status status = dev_take_database(dev, dev->database_options.items[i], err);
    if (status != STATUS_OK)
      return status;
  }
  CLEANUP_FREE char *kept = memory_format("%s/dev.json", dev->dir_option);
  if (dev->database_count > 0 || file_exists(kept))
    return STATUS_OK;
  error_set(err, ERR_INVALID_ARGUMENT, "--database is missing");
  error_remedy(err, "For example: --database prod-api='host=db1 dbname=api user=pgseal'");
  return err->status;
}

static Status dev_take_repository(Dev *dev, Error *err) {
  if (!dev->repository && dev->repository_kept && *dev->repository_kept)
    dev->repository = dev->repository_kept;
  if (!dev->repository)
    return STATUS_OK;
  dev->repository_path = realpath(dev->repository, NULL);
  if (!dev->repository_path)
    return error_set(err, ERR_INVALID_ARGUMENT, "--repository %s: there is no such file", dev->repository);
  RepositoryConfig config = {0};
  Status status = repository_config_load(dev->repository_path, &config, err);
  repository_config_release(&config);
  return status;
}

static Status dev_take_options(Dev *dev, Error *err) {
  if (dev->database_count == 0)
    return error_set(err, ERR_INVALID_ARGUMENT, "--database is missing: the run before left none");
  for (size_t i = 0; i < dev->production_options.count; i++) {
    DevDatabase *database = dev_database(dev, dev->production_options.items[i]);
    if (!database)
      return error_set(err, ERR_INVALID_ARGUMENT, "--production %s: there is no such --database",
                       dev->production_options.items[i]);
    database->production = true;
  }
  for (size_t i = 0; i < dev->image_options.count; i++) {
    Status status = dev_take_image(dev, dev->image_options.items[i], err);
    if (status != STATUS_OK)
      return status;
  }
  if (!dev->engine)
    dev->engine = dev->engine_kept && *dev->engine_kept ? dev->engine_kept : "auto";
  if (strcmp(dev->engine, "auto") != 0 && strcmp(dev->engine, "docker") != 0 && strcmp(dev->engine, "local") != 0)
    return error_set(err, ERR_INVALID_ARGUMENT, "--engine is auto, docker or local, not '%s'", dev->engine);
  return dev_take_repository(dev, err);
}

static Status dev_take_address(Dev *dev, Error *err) {
  if (!dev->http)
    dev->http = dev->http_kept && *dev->http_kept ? dev->http_kept : DEV_DEFAULT_HTTP;
  const char *colon = strrchr(dev->http, ':');
  char *end = NULL;
  long port = colon ? strtol(colon + 1, &end, 10) : 0;
  if (!colon || colon == dev->http || end == colon + 1 || *end || port < 1 || port > 65535)
    return error_set(err, ERR_INVALID_ARGUMENT, "--http takes ADDRESS:PORT, such as " DEV_DEFAULT_HTTP ", not '%s'",
                     dev->http);
  size_t length = (size_t)(colon - dev->http);
  bool bracketed = dev->http[0] == '[' && dev->http[length - 1] == ']';
  dev->host = memory_strndup(dev->http + bracketed, length - 2 * bracketed);
  dev->port = (int)port;
  dev->exposed = !loopback_address(dev->host);
  bool any = strcmp(dev->host, "0.0.0.0") == 0 || strcmp(dev->host, "::") == 0;
  dev->url = any ? memory_format("http://127.0.0.1:%ld", port) : memory_format("http://%s", dev->http);
  return STATUS_OK;
}

Status dev_plan(Dev *dev, Error *err) {
  Status status = dev_take_databases(dev, err);
  if (status == STATUS_OK)
    status = dev_open_dir(dev, err);
  if (status == STATUS_OK)
    status = dev_load(dev, err);
  if (status == STATUS_OK)
    status = dev_take_options(dev, err);
  if (status == STATUS_OK)
    status = dev_take_address(dev, err);
  if (status == STATUS_OK) {
    dev->coordinator_log = dev_path(dev, "coordinator.log");
    dev->agent_log = dev_path(dev, "agent.log");
  }
  return status;
}

/* 0 if the address can be bound (and *port, if it was 0, is then what was found), else errno. */
static int dev_bind(const char *host, int *port) {
  char text[16];
  snprintf(text, sizeof text, "%d", *port);
  struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV}, *found = NULL;
  if (getaddrinfo(host, text, &hints, &found) != 0)
    return EADDRNOTAVAIL;
  int failed = 0, yes = 1;
  CLEANUP_CLOSE int fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  struct sockaddr_storage bound;
  socklen_t size = sizeof bound;
  if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes) != 0 ||
      bind(fd, found->ai_addr, found->ai_addrlen) != 0 || listen(fd, 1) != 0 ||
      getsockname(fd, (struct sockaddr *)&bound, &size) != 0)
    failed = errno;
  else if (*port == 0 && getnameinfo((struct sockaddr *)&bound, size, NULL, 0, text, sizeof text, NI_NUMERICSERV) == 0)
    *port = (int)strtol(text, NULL, 10);
  freeaddrinfo(found);
  return failed;
}

Status dev_choose_ports(Dev *dev, Error *err) {
  int failed = dev_bind(dev->host, &dev->port);
  if (failed) {
    error_set(err, ERR_INVALID_ARGUMENT, "cannot listen on %s: %s", dev->http, strerrordesc_np(failed));
    error_remedy(err, "Choose another address with --http, such as --http 127.0.0.1:%d.",
                 dev->port < 65000 ? dev->port + 10 : 8420);
    return err->status;
  }
  int bus = dev->port + 1; /* of the agent's connection: loopback only, and nobody needs to know it */
  if (bus > 65535 || dev_bind("127.0.0.1", &bus) != 0) {
    bus = 0;
    if (dev_bind("127.0.0.1", &bus) != 0)
      return error_set(err, ERR_UNAVAILABLE, "there is no free port on 127.0.0.1");
  }
  dev->bus = memory_format("tcp://127.0.0.1:%d", bus);
  return STATUS_OK;
}

void dev_release(Dev *dev) {
  process_release(&dev->agent);
  process_release(&dev->coordinator);
  for (size_t i = 0; i < dev->database_count; i++) {
    free(dev->databases[i].name);
    if (dev->databases[i].conninfo)
      explicit_bzero(dev->databases[i].conninfo, strlen(dev->databases[i].conninfo));
    free(dev->databases[i].conninfo);
  }
  for (size_t i = 0; i < dev->image_count; i++)
    free(dev->images[i]);
  char *owned[] = {dev->dir,  dev->http_kept, dev->engine_kept, dev->repository_kept, dev->repository_path,
                   dev->host, dev->url,       dev->bus,         dev->coordinator_log, dev->agent_log};
  for (size_t i = 0; i < ARRAY_SIZE(owned); i++)
    free(owned[i]);
  free(dev->databases);
  free(dev->images);
  free(dev->database_options.items);
  free(dev->image_options.items);
  free(dev->production_options.items);
  if (dev->lock_fd >= 0)
    close(dev->lock_fd);
}
