/* Drill rotation: what is drilled next, and whether the budget is enough. */
#include "coordinator/api/internal.h"

void api_rotation(Api *api, Rotation *rotation) {
  api->rotation = rotation;
}

enum MHD_Result rotation_view(Request *request) {
  Rotation *rotation = request->api->rotation;
  return respond_json(request, MHD_HTTP_OK, rotation ? rotation_show(rotation) : json_pack("{s:b}", "complete", 0));
}
