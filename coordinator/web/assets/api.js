// The HTTP API, with the cookie that signing in gave. docs/openapi.yaml has what there is.

export const session = {role: null, csrf: null, name: null, databases: []};
export const may = {
  ask: () => ["ci", "operator", "admin"].includes(session.role),
  read: () => ["viewer", "operator", "admin"].includes(session.role),
  operate: () => ["operator", "admin"].includes(session.role),
  all: () => session.databases.includes("*"),
};

export class Refused extends Error {
  constructor(status, error) {
    super(error.message);
    Object.assign(this, {status, code: error.code, remedy: error.remedy, object: error.object});
  }
}

let signedOut = () => {};
export function onSignedOut(action) {
  signedOut = action;
}

async function answer(response) {
  let body = null;
  try {
    body = await response.json();
  } catch {
    // a proxy's own page
  }
  if (response.ok && body)
    return body;
  const error = body && body.error || {code: "unavailable", message: `the answer was ${response.status}`,
    remedy: "Is there a proxy before the coordinator? See its log."};
  if (response.status === 401)
    signedOut();
  throw new Refused(response.status, error);
}

async function send(method, path, body, headers) {
  let response;
  try {
    response = await fetch(path, {method, credentials: "same-origin", cache: "no-store", redirect: "error",
      headers: {...(method === "GET" ? {} : {"X-Pgseal-CSRF": session.csrf || ""}),
        ...(body === undefined ? {} : {"Content-Type": "application/json"}), ...headers},
      body: body === undefined ? undefined : JSON.stringify(body)});
  } catch {
    throw new Refused(0, {code: "unavailable", message: "the coordinator cannot be reached",
      remedy: "It may be restarting: this page tries again by itself."});
  }
  return answer(response);
}

export const get = (path) => send("GET", path);
export const post = (path, body, headers) => send("POST", path, body, headers);
export const remove = (path) => send("DELETE", path);

// Asks until there is an answer: with the same key a request that did get there is joined, not made twice.
export async function ask(path, body) {
  const key = `dashboard-${crypto.getRandomValues(new Uint32Array(4)).join("-")}`;
  for (let tries = 0; ; tries++) {
    try {
      return await post(path, body, {"Idempotency-Key": key});
    } catch (error) {
      if (error.status !== 0 && error.status !== 503 || tries >= 20)
        throw error;
      await pause(Math.min(3000, 300 * 2 ** tries));
    }
  }
}

export const pause = (ms) => new Promise((done) => setTimeout(done, ms));
export const query = (values) => {
  const text = new URLSearchParams(Object.entries(values).filter(([, v]) => v)).toString();
  return text ? `?${text}` : "";
};
export const part = encodeURIComponent;

// Server-sent events, read so that every kind of event arrives, that one knows whether the line stands, and that it goes
// on after the last event that came. tell(kind, data, id) for each; state("open" | "waiting") of the line. Returns a
// function that ends it. last: false where the stream says at its beginning how things are.
export function follow(path, tell, state, last) {
  const stop = new AbortController();
  let id = "";

  async function once() {
    const headers = last !== false && id ? {"Last-Event-ID": id} : {};
    const line = new AbortController();
    let timer = 0;
    const hide = () => {
      clearTimeout(timer);
      if (document.hidden)
        timer = setTimeout(() => line.abort(), 5000);
    };
    stop.signal.addEventListener("abort", () => line.abort(), {once: true});
    document.addEventListener("visibilitychange", hide);
    try {
      await read(await fetch(path, {headers, credentials: "same-origin", cache: "no-store", signal: line.signal}));
    } finally {
      clearTimeout(timer);
      document.removeEventListener("visibilitychange", hide);
      line.abort();
    }
  }

  async function read(response) {
    if (response.status === 401)
      signedOut();
    if (!response.ok)
      throw new Error(String(response.status));
    state("open");
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      // A comment comes every 15 seconds: a line that is silent for longer is dead.
      let timer;
      const silence = new Promise((_, fail) => { timer = setTimeout(() => fail(new Error("silent")), 40000); });
      const {done, value} = await Promise.race([reader.read(), silence]).finally(() => clearTimeout(timer));
      if (done)
        return;
      rest += value;
      let end;
      while ((end = rest.indexOf("\n\n")) >= 0) {
        take(rest.slice(0, end));
        rest = rest.slice(end + 2);
      }
    }
  }

  function take(block) {
    let kind = "", data = "";
    for (const line of block.split("\n")) {
      if (line.startsWith("id: "))
        id = line.slice(4);
      else if (line.startsWith("event: "))
        kind = line.slice(7);
      else if (line.startsWith("data: "))
        data += line.slice(6);
    }
    if (kind)
      tell(kind, JSON.parse(data), id);
  }

  (async () => {
    for (let wait = 300; !stop.signal.aborted;) {
      try {
        await once();
        wait = 300;
      } catch {
        wait = Math.min(5000, wait * 1.7);
      }
      if (stop.signal.aborted)
        return;
      state("waiting");
      await pause(wait);
      if (document.hidden)
        await new Promise((seen) => document.addEventListener("visibilitychange", seen, {once: true}));
    }
  })();
  return () => stop.abort();
}
