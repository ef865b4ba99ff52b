/* Answers that are large: written piece by piece, and between two of them the loop does what else there is to do. */
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#include "common/base/memory.h"
#include "coordinator/api/internal.h"

enum { AT_ONCE = 64 << 10, BLOCK = 16 << 10 }; /* what is no larger than the first has a length, and is no stream */

typedef struct Pieces {
  PiecesNext *next;
  void (*release)(void *user);
  void *user;
  Buffer raw, piece; /* raw: before it is packed */
  size_t sent;       /* of the piece */
  ZSTD_CCtx *packer; /* NULL: as it is */
  bool ended;
} Pieces;

static void close_pieces(void *closed) {
  Pieces *pieces = closed;
  pieces->release(pieces->user);
  buffer_release(&pieces->raw);
  buffer_release(&pieces->piece);
  ZSTD_freeCCtx(pieces->packer);
  free(pieces);
}

/* What is in raw, and flushed: the client can use each piece as it comes. */
static bool pack(Pieces *pieces) {
  ZSTD_inBuffer in = {pieces->raw.data, pieces->raw.size, 0};
  size_t left;
  do {
    buffer_reserve(&pieces->piece, pieces->piece.size + ZSTD_CStreamOutSize());
    ZSTD_outBuffer out = {pieces->piece.data, pieces->piece.capacity, pieces->piece.size};
    left = ZSTD_compressStream2(pieces->packer, &out, &in, pieces->ended ? ZSTD_e_end : ZSTD_e_flush);
    if (ZSTD_isError(left))
      return false;
    pieces->piece.size = out.pos;
  } while (left > 0);
  return true;
}

/* False: it cannot go on. */
static bool next_piece(Pieces *pieces) {
  buffer_clear(&pieces->piece);
  pieces->sent = 0;
  if (pieces->ended)
    return true;
  if (!pieces->packer) {
    pieces->ended = !pieces->next(pieces->user, &pieces->piece);
    return true;
  }
  pieces->ended = !pieces->next(pieces->user, &pieces->raw);
  bool packed = pack(pieces);
  buffer_clear(&pieces->raw);
  return packed;
}

static ssize_t read_pieces(void *user, uint64_t position, char *out, size_t size) {
  (void)position;
  Pieces *pieces = user;
  if (pieces->sent == pieces->piece.size) {
    if (!next_piece(pieces))
      return MHD_CONTENT_READER_END_WITH_ERROR;
    if (pieces->piece.size == 0)
      return MHD_CONTENT_READER_END_OF_STREAM;
  }
  size_t left = pieces->piece.size - pieces->sent, taken = left < size ? left : size;
  memcpy(out, pieces->piece.data + pieces->sent, taken);
  pieces->sent += taken;
  return (ssize_t)taken;
}

/* Takes pieces; the first is there already. */
static enum MHD_Result stream(Request *request, const char *type, Pieces *pieces) {
  if (respond_takes_zstd(request)) {
    pieces->packer = ZSTD_createCCtx();
    pieces->raw = pieces->piece;
    pieces->piece = (Buffer){0};
    if (!pieces->packer ||
        ZSTD_isError(ZSTD_CCtx_setParameter(pieces->packer, ZSTD_c_compressionLevel, RESPOND_PACK_LEVEL)) ||
        !pack(pieces)) {
      close_pieces(pieces);
      return MHD_NO;
    }
    buffer_clear(&pieces->raw);
  }
  struct MHD_Response *response =
      MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, BLOCK, read_pieces, pieces, close_pieces);
  if (!response) {
    close_pieces(pieces);
    return MHD_NO;
  }
  MHD_add_response_header(response, "Content-Type", type);
  MHD_add_response_header(response, "Cache-Control", "no-store");
  MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
  MHD_add_response_header(response, "Vary", "Accept-Encoding");
  if (pieces->packer)
    MHD_add_response_header(response, "Content-Encoding", "zstd");
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
