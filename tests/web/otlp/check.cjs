// Reads requests as the OTLP's JSON has them, one a line, and holds them against the messages that OpenTelemetry's own
// library was generated with: each field is one of theirs, of its type, and nothing is lost on the way there and back.
const assert = require("node:assert");
const root = require("@opentelemetry/otlp-transformer/build/src/generated/root.js");
const Request = root.opentelemetry.proto.collector.trace.v1.ExportTraceServiceRequest;
const IDS = {traceId: 16, spanId: 8, parentSpanId: 8};

// By the protocol, ids are hexadecimal in JSON, where Protobuf's own JSON has base64.
function each(value, change, key) {
  if (Array.isArray(value))
    return value.map((v) => each(v, change, key));
  if (value && typeof value === "object" && !ArrayBuffer.isView(value))
    return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, each(v, change, k)]));
  return change(key, value);
}

function bytes(key, value) {
  if (!(key in IDS))
    return value;
  const id = Buffer.from(value, "hex");
  assert.equal(id.length, IDS[key], `${key} ${value}`);
  return id;
}

let count = 0;
for (const line of require("node:fs").readFileSync(0, "utf8").split("\n").filter(Boolean)) {
  const given = JSON.parse(line), plain = each(given, bytes);
  const wire = Request.encode(Request.fromObject(plain)).finish();
  const back = Request.toObject(Request.decode(wire), {longs: String, bytes: Buffer, json: false});
  assert.deepStrictEqual(each(back, (k, v) => k in IDS ? Buffer.from(v).toString("hex") : v), given);
  count += given.resourceSpans[0].scopeSpans[0].spans.length;
}
console.log(`${count} spans`);
