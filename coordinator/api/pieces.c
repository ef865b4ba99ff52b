/* Answers that are large: written piece by piece, and between two of them the loop does what else there is to do. */
#include <stdlib.h>
#include <string.h>

#include "common/base/memory.h"
#include "coordinator/api/internal.h"

enum { AT_ONCE = 64 << 10, BLOCK = 16 << 10 }; /* what is no larger than the first has a length, and is no stream */

typedef struct Pieces {
  PiecesNext *next;
  void (*release)(void *user);
  void *user;
  Buffer piece;
  size_t sent; /* of the piece */
} Pieces;

static void close_pieces(void *closed) {
  Pieces *pieces = closed;
  pieces->release(pieces->user);
  buffer_release(&pieces->piece);
  free(pieces);
}

static ssize_t read_pieces(void *user, uint64_t position, char *out, size_t size) {
  (void)position;
  Pieces *pieces = user;
  if (pieces->sent == pieces->piece.size) {
    buffer_clear(&pieces->piece);
    pieces->sent = 0;
    pieces->next(pieces->user, &pieces->piece);
    if (pieces->piece.size == 0)
      return MHD_CONTENT_READER_END_OF_STREAM;
  }
  size_t left = pieces->piece.size - pieces->sent, taken = left < size ? left : size;
  memcpy(out, pieces->piece.data + pieces->sent, taken);
  pieces->sent += taken;
  return (ssize_t)taken;
}

/* Takes pieces. */
static enum MHD_Result stream(Request *request, const char *type, Pieces *pieces) {
  struct MHD_Response *response =
      MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, BLOCK, read_pieces, pieces, close_pieces);
  if (!response) {
    close_pieces(pieces);
    return MHD_NO;
  }
  MHD_add_response_header(response, "Content-Type", type);
  MHD_add_response_header(response, "Cache-Control", "no-store");
  MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
  enum MHD_Result result = MHD_queue_response(request->connection, MHD_HTTP_OK, response);
  MHD_destroy_response(response);
  request->phase = PHASE_ANSWERED;
  return result;
}

enum MHD_Result respond_pieces(Request *request, const char *type, PiecesNext *next, void (*release)(void *user),
                               void *user) {
  Pieces *pieces = memory_alloc(sizeof *pieces);
  *pieces = (Pieces){.next = next, .release = release, .user = user};
  bool more = true;
  while (more && pieces->piece.size < AT_ONCE)
    more = next(user, &pieces->piece);
  if (more)
    return stream(request, type, pieces);
  enum MHD_Result result = respond_bytes(request, MHD_HTTP_OK, type, pieces->piece.data, pieces->piece.size);
  close_pieces(pieces);
  return result;
}
