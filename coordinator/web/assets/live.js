// A checkpoint while it is made: what each job does, how fast, how long still; from the stream of its events, which it
// takes up again by itself when the line breaks or the coordinator is restarted.
import {h, replace, say} from "/ui/dom.js";
import {follow, get, part} from "/ui/api.js";
import * as f from "/ui/format.js";

const PHASES = {preflight: "looking", dumping: "dumping", storing: "storing", preparing: "starting a disposable PostgreSQL", restoring: "restoring",
  indexing: "building indexes", asserting: "checking assertions", comparing: "comparing"};

// Speeds, smoothed; a new attempt or phase begins anew. What is left is told by the pace of the phase so far, once that
// says something: of its first seconds and bytes, anything may come out.
const PACE_MS = 5000, PACE_SHARE = 0.05;
class Rate {
  left(total) {
    const took = performance.now() - this.since, done = this.bytes - this.first;
    return took >= PACE_MS && done > 0 && this.bytes < total && this.bytes >= total * PACE_SHARE ? (total - this.bytes) / done * took / 1000 : null;
  }
  add(bytes, phase) {
    const now = performance.now();
    if (phase !== this.phase || bytes < this.bytes)
      [this.phase, this.rate, this.bytes, this.at, this.first, this.since] = [phase, 0, bytes, now, bytes, now];
    else if (bytes > this.bytes && now > this.at) {
      const fresh = (bytes - this.bytes) / (now - this.at) * 1000;
      [this.rate, this.bytes, this.at] = [this.rate ? 0.7 * this.rate + 0.3 * fresh : fresh, bytes, now];
    }
    return this.rate || 0;
  }
}

function drawJob(job, pace) {
  const p = job.progress || {}, over = f.JOB_FINAL.has(job.state);
  const waits = job.state === "queued";
  const share = p.bytes_total > 0 ? Math.min(1, p.bytes / p.bytes_total) : null;
  const rate = pace && p.bytes ? pace.add(p.bytes, p.phase) : 0, left = !over && rate > 0 ? pace.left(p.bytes_total) : null;
  return h("li", {class: `job ${over ? "over" : "runs"}`},
    h("div", {class: "job-head"}, h("b", {}, job.kind), over || waits ? f.state(job.state) : h("span", {class: "phase"}, PHASES[p.phase] || p.phase || "starting"),
      job.attempt > 1 && h("span", {class: "dim"}, `attempt ${job.attempt}`),
      job.agent && h("span", {class: "dim"}, `on ${job.agent}`), waits && h("span", {class: "dim"}, `waiting for ${job.waits_for || "an agent"}`)),
    !over && !waits && [
      h("progress", {max: 1, value: share ?? undefined, "aria-label": `${job.kind}: ${PHASES[p.phase] || p.phase || "starting"}`}),
      h("div", {class: "numbers"},
        p.tables_total > 0 && h("span", {}, `${f.count(p.tables_done)} of ${f.plural(p.tables_total, "table")}`),
        p.rows > 0 && h("span", {}, `${f.short(p.rows)} rows`),
        p.bytes > 0 && h("span", {}, p.bytes_total > 0 ? `${f.size(p.bytes)} of ${f.size(Math.max(p.bytes, p.bytes_total))}` : f.size(p.bytes)),
        rate > 0 && h("span", {}, `${f.size(Math.round(rate))}/s`),
        left !== null && h("span", {}, `${f.seconds(left)} left`),
        p.table && h("span", {class: "dim table-name"}, p.table))],
    job.error && over && job.state !== "canceled" && h("p", {class: "dim"}, job.error.message));
}

// Draws into `place`; ended(checkpoint) once it has. Returns a function that stops it.
export function live(place, id, ended) {
  let checkpoint = null, line = "waiting", said = "", stopped = false;
  const rates = new Map();
  const list = h("ul", {class: "jobs"}), note = h("p", {class: "notice", hidden: true}), head = h("div", {class: "live-head"});
  replace(place, h("section", {"aria-label": "Progress", id: "progress"}, head, list, note));

  function draw() {
    if (!checkpoint || stopped)
      return;
    replace(head, h("h2", {}, "Progress"), f.state(checkpoint.state), h("span", {class: "dim"}, `for ${f.span(f.since(checkpoint.created_at))}`));
    replace(list, checkpoint.jobs.filter((j) => j.kind === "dump" || j.kind === "drill").map((job) =>
      drawJob(job, rates.get(job.id) || rates.set(job.id, new Rate()).get(job.id))));
    note.hidden = line === "open";
    note.textContent = "The line to the coordinator is down: this page takes it up again by itself, and the checkpoint goes on.";
    const words = checkpoint.jobs.filter((j) => !f.JOB_FINAL.has(j.state)).map((j) => `${j.kind} ${PHASES[j.progress?.phase] || j.state}`).join(", ");
    if (words !== said)
      say(said = words);
  }

  // What an event means for what is shown: the jobs' states and phases.
  function tell(kind, data) {
    if (kind === "checkpoint")
      checkpoint = data;
    else if (!checkpoint)
      return;
    else if (kind === "progress") {
      const job = checkpoint.jobs.find((j) => j.id === data.job_id);
      if (job) {
        job.progress = data.progress;
        job.state = "running";
      }
    } else {
      const job = checkpoint.jobs.find((j) => j.id === data.job_id);
      if (job && kind === "job.leased")
        Object.assign(job, {state: "leased", agent: data.agent, attempt: data.detail?.attempt || job.attempt});
      else if (job && kind === "job.finished")
        job.state = data.detail?.state || job.state;
      else if (kind.startsWith("checkpoint."))
        checkpoint.state = kind.slice(11);
    }
    draw();
    if (f.FINAL.has(checkpoint.state) && !stopped) {
      stop();
      say(`The checkpoint is ${checkpoint.state}.`);
      ended(checkpoint);
    }
  }

  const end = follow(`/api/v1/checkpoints/${part(id)}/events`, tell, (now) => { line = now; draw(); }, false);
  // What a queued job waits for changes without an event.
  let asked = 0;
  async function askWaits() {
    if (stopped || line !== "open" || document.hidden || !checkpoint?.jobs.some((j) => j.state === "queued") || performance.now() - asked < 3000)
      return;
    asked = performance.now();
    const {jobs} = await get(`/api/v1/checkpoints/${part(id)}`);
    for (const job of checkpoint.jobs)
      job.waits_for = jobs.find((j) => j.id === job.id)?.waits_for;
  }
  const tick = setInterval(() => { askWaits().catch(() => {}); draw(); }, 1000);
  function stop() {
    stopped = true;
    clearInterval(tick);
    end();
  }
  return stop;
}
