import assert from "node:assert/strict";
import test from "node:test";

import { Api, ApiError } from "../../../src/api/page/api.js";
import { boundsOf, planOf, read, refusal, trialOf } from "../../../src/api/page/bounds.js";
import { EventStreamParser, follow } from "../../../src/api/page/event-stream.js";
import { about, detail, lineOf, withLine } from "../../../src/api/page/events.js";

const answer = (status, body, headers = {}) =>
  new Response(body === null ? null : JSON.stringify(body), { status, headers });

/** An Api whose requests are kept in `sent`, all with the same answer. */
function apiWith(response) {
  const sent = [];
  const api = new Api(async (path, options) => {
    sent.push({ path, ...options });
    return response();
  });
  return { api, sent };
}

test("a change carries its content type, the tag that it was thought up for, and its stream", async () => {
  const { api, sent } = apiWith(() => answer(200, {}));
  await api.change("a/b", { rate: { max_kbps: 900 } }, '"7"');
  const [{ path, method, headers, body }] = sent;
  assert.deepEqual([path, method, body], ["/v1/streams/a%2Fb", "PATCH", '{"rate":{"max_kbps":900}}']);
  assert.deepEqual(headers, { "Content-Type": "application/merge-patch+json", "If-Match": '"7"' });
});

test("every failure says what kind it is", async () => {
  const problem = (status, headers) => apiWith(() => answer(status, { detail: "so" }, headers)).api;
  const kind = (api) => api.streams().then(assert.fail, (error) => error);
  assert.equal((await kind(problem(401))).kind, "sign-in");
  assert.equal((await kind(problem(404))).kind, "missing");
  assert.equal((await kind(problem(422))).kind, "refused");
  assert.equal((await kind(problem(503))).kind, "trouble");
  assert.equal((await kind(problem(429, { "Retry-After": "7" }))).retryAfter, 7);
  const gone = new Api(async () => Promise.reject(new TypeError("Failed to fetch")));
  assert.equal((await kind(gone)).kind, "unreachable");
  const odd = new Api(async () => new Response("<html>", { status: 502 }));
  assert.equal((await kind(odd)).message, "the answer is 502");
});

test("a daemon without sessions wants no token", async () => {
  assert.deepEqual(await apiWith(() => answer(404, {})).api.session(), { token_required: false, open: true });
});

test("a picture that has not changed is not sent again", async () => {
  const { api, sent } = apiWith(() => answer(304, null));
  assert.equal(await api.snapshot("main", 640, '"1"'), null);
  assert.equal(sent[0].headers["If-None-Match"], '"1"');
});

test("server-sent events are taken apart, wherever their bytes are cut", () => {
  const text = ": hello\r\nretry: 5\nid: a-1\nevent: rate\ndata: {\"a\":\ndata: 1}\n\nid: a-2\ndata:x\n\nevent: empty\n\n";
  const expected = [
    { id: "a-1", event: "rate", data: '{"a":\n1}' },
    { id: "a-2", event: "message", data: "x" },
  ];
  for (let cut = 0; cut <= text.length; cut++) {
    const parser = new EventStreamParser();
    assert.deepEqual([...parser.push(text.slice(0, cut)), ...parser.push(text.slice(cut))], expected, `cut at ${cut}`);
  }
});

test("a reader comes back with its id, and gives up where there are no events", async () => {
  const ended = new AbortController();
  const opened = [];
  const troubles = [];
  const events = [];
  await follow({
    signal: ended.signal,
    lastId: null,
    onEvent: (event) => events.push(event),
    onTrouble: (error) => troubles.push(error?.kind ?? null),
    open: async (id) => {
      opened.push(id);
      if (opened.length === 1) return new Response('id: a-1\nevent: rate\ndata: {"b":2}\n\n');
      throw new ApiError("missing", "there is no such resource");
    },
  });
  assert.deepEqual(opened, [null, "a-1"]);
  assert.deepEqual(events, [{ id: "a-1", event: "rate", data: { b: 2 } }]);
  assert.deepEqual(troubles, [null, "missing"]);
});

test("an event is a line in words", () => {
  const data = {
    time: "2026-01-02T03:04:05.000Z",
    event: "encoder_failed",
    level: "warn",
    stream: "main",
    text: "encoder failed",
    element: "vah264enc",
    part: "bin",
    reason: "it crashed",
  };
  assert.deepEqual(lineOf({ id: "a-1", data }), {
    id: "a-1",
    at: Date.parse(data.time),
    tone: "warn",
    stream: "main",
    text: "Encoder failed",
    detail: "vah264enc · bin · it crashed",
  });
});

test("fields of events that nobody has heard of are told all the same", () => {
  assert.equal(detail({ reason: null, hopeless: false, list: [] }), "");
  assert.equal(detail({ odd_thing: 3, list: ["a", "b"], hopeless: true }), "odd thing 3 · list a, b · hopeless");
  assert.equal(detail({ width: 640, height: 360, framerate: "15", target_bps: 4e5 }), "640 × 360 · 15 frames/s · target 400 kbit/s");
});

test("lines are there once, the newest first, those of other streams left out", () => {
  const line = (id, stream) => ({ id, stream });
  let lines = withLine([], line("1", "main"));
  lines = withLine(lines, line("2", "other"));
  lines = withLine(lines, line("3", null));
  assert.equal(withLine(lines, line("2", "other")), null);
  assert.deepEqual(about(lines, "main").map(({ id }) => id), ["3", "1"]);
  for (let id = 4; id < 500; id++) lines = withLine(lines, line(String(id), null));
  assert.equal(lines.length, 200);
});

const BOUNDS = { min_kbps: 300, start_kbps: 1500, max_kbps: 6000 };
const texts = (changed) => ({ min_kbps: "300", start_kbps: " 1500", max_kbps: "6000", ...changed });

test("only what is different is sent", () => {
  assert.deepEqual(read(texts({}), BOUNDS), { errors: {}, patch: null });
  assert.deepEqual(read(texts({ max_kbps: "900", start_kbps: "800" }), BOUNDS).patch, { rate: { max_kbps: 900, start_kbps: 800 } });
  assert.deepEqual(boundsOf({ config: { rate: { ...BOUNDS, adaptive: true } } }), BOUNDS);
  assert.equal(boundsOf({ config: null }), null);
  assert.equal(boundsOf({}), null);
});

test("what cannot be meant is said before anybody is asked", () => {
  const wrong = (changed) => Object.keys(read(texts(changed), BOUNDS).errors);
  assert.deepEqual(wrong({ max_kbps: "" }), ["max_kbps"]);
  assert.deepEqual(wrong({ max_kbps: "5k", min_kbps: "-1" }), ["min_kbps", "max_kbps"]);
  assert.deepEqual(wrong({ max_kbps: "1.5" }), ["max_kbps"]);
  assert.deepEqual(wrong({ max_kbps: "200" }), ["max_kbps"]);
  assert.deepEqual(wrong({ max_kbps: "1000" }), ["start_kbps"]);
});

test("a refusal stands beside its field", () => {
  const errors = [
    { field: "streams.main.rate.max_kbps", detail: "is above what is possible", fix: "write at most 500000" },
    { field: "streams.main.video.codec", detail: "is odd", fix: null },
  ];
  assert.deepEqual(refusal(new ApiError("refused", "wrong", { errors })), {
    errors: { max_kbps: "Is above what is possible. Write at most 500000." },
    others: ["streams.main.video.codec: Is odd."],
  });
  assert.deepEqual(refusal(new ApiError("trouble", "the disk is full")).others, ["The disk is full."]);
});

test("a plan says what changes, what happens, and whether viewers notice", () => {
  const change = { key: "streams.main.rate.max_kbps", before: 6000, after: 900 };
  const consequence = { stream: "main", output: null, effect: "live", what: "the rate keeps to the new bounds at once" };
  const calm = planOf({ changes: [change], consequences: [consequence] });
  assert.deepEqual(calm.lines.map(({ text }) => text), [
    "Highest rate: 6000 becomes 900.",
    "The rate keeps to the new bounds at once.",
  ]);
  assert.deepEqual([calm.isEmpty, calm.isDisruptive], [false, false]);
  const loud = planOf({ changes: [change], consequences: [{ ...consequence, effect: "reconnects" }] });
  assert.equal(loud.isDisruptive, true);
  assert.equal(planOf({ changes: [], consequences: [] }).isEmpty, true);
});

test("a change on trial can be kept, one that was taken back is told of for a while", () => {
  const none = { on_trial: null, rolled_back: null };
  assert.equal(trialOf(none, 0), null);
  const waiting = { confirm_within_s: 12, unproven: [], prove_within_s: 20 };
  assert.deepEqual(trialOf({ ...none, on_trial: waiting }, 0).canConfirm, true);
  assert.match(trialOf({ ...none, on_trial: waiting }, 0).text, /12 s unless/);
  const proving = { confirm_within_s: null, unproven: ["main"], prove_within_s: 7 };
  assert.match(trialOf({ ...none, on_trial: proving }, 0).text, /main streams again within 7 s/);
  const back = { ...none, rolled_back: { time: "2026-01-02T03:04:05.000Z", reason: "main did not stream" } };
  const at = Date.parse(back.rolled_back.time);
  assert.match(trialOf(back, at + 5000).text, /taken back: main did not stream/);
  assert.equal(trialOf(back, at + 3_600_000), null);
});
