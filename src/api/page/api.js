// The daemon's HTTP API, as design and OpenAPI document have it. Every failure is an `ApiError` that says in words
// what went wrong.

/**
 * `kind` is one of
 * - `unreachable`: no answer came, in time or at all;
 * - `sign-in`: the token, or a session, is needed;
 * - `missing`: this daemon has no such thing;
 * - `refused`: it does not do that, and `errors` may say which fields are wrong;
 * - `trouble`: it cannot answer now.
 */
export class ApiError extends Error {
  constructor(kind, detail, { status = null, errors = [], retryAfter = null } = {}) {
    super(detail);
    Object.assign(this, { kind, status, errors, retryAfter });
  }

  /** Asking again changes nothing. */
  get isFinal() {
    return this.kind === "missing";
  }
}

export class Api {
  #fetch;
  #onAnswer;

  /** `onAnswer(response)` sees every response, whatever it says. */
  constructor(fetch, onAnswer = () => {}) {
    this.#fetch = fetch;
    this.#onAnswer = onAnswer;
  }

  async streams() {
    return (await this.#json("GET", "/v1/streams")).items;
  }

  info() {
    return this.#json("GET", "/v1/info");
  }

  /** The stream with its configuration, and the tag of that: `{stream, etag}`. */
  async stream(id) {
    const response = await this.#send("GET", path(id));
    return { stream: await response.json(), etag: response.headers.get("etag") };
  }

  act(id, action) {
    return this.#json("POST", `${path(id)}/actions/${action}`);
  }

  /** What was measured, a value a second. */
  series(id, seconds) {
    return this.#json("GET", `${path(id)}/rate?last_s=${seconds}&format=series`, { timeout: SLOW_TIMEOUT });
  }

  /** What a merge patch of the stream's configuration would do. */
  plan(id, patch, etag) {
    return this.#json("POST", `${path(id)}/plan`, { body: patch, etag, timeout: SLOW_TIMEOUT });
  }

  change(id, patch, etag) {
    return this.#json("PATCH", path(id), { body: patch, etag, type: MERGE_PATCH, timeout: SLOW_TIMEOUT });
  }

  /** The newest picture, or `null` where it is still the one with that tag: `{blob, etag, capturedAt}`. */
  async snapshot(id, width, etag) {
    const headers = etag ? { "If-None-Match": etag } : {};
    const response = await this.#send("GET", `${path(id)}/snapshot.jpg?width=${width}`, { headers });
    if (response.status === 304) return null;
    const capturedAt = Date.parse(response.headers.get("x-captured-at"));
    return { blob: await response.blob(), etag: response.headers.get("etag"), capturedAt };
  }

  /** A response whose body is server-sent events, after the id that was seen last. */
  events(lastId, signal) {
    const headers = lastId === null ? {} : { "Last-Event-ID": lastId };
    const recent = lastId === null ? `?replay=${REPLAYED}` : "";
    return this.#send("GET", `/v1/events${recent}`, { headers, signal });
  }

  configuration() {
    return this.#json("GET", "/v1/config");
  }

  confirm() {
    return this.#json("POST", "/v1/config/confirm");
  }

  rollBack() {
    return this.#json("POST", "/v1/config/rollback");
  }

  /** Whether a token is needed, and a session open. */
  async session() {
    try {
      return await this.#json("GET", "/v1/session");
    } catch (error) {
      if (error.kind === "missing") return { token_required: false, open: true };
      throw error;
    }
  }

  signIn(token) {
    return this.#send("POST", "/v1/session", { body: { token } });
  }

  signOut() {
    return this.#send("DELETE", "/v1/session");
  }

  async #json(method, path, options) {
    const response = await this.#send(method, path, options);
    try {
      return await response.json();
    } catch {
      throw new ApiError("trouble", "its answer broke off");
    }
  }

  async #send(method, path, { body, etag, type = "application/json", headers = {}, timeout = TIMEOUT, signal } = {}) {
    const sent = { ...headers };
    if (body !== undefined) sent["Content-Type"] = type;
    if (etag) sent["If-Match"] = etag;
    let response;
    try {
      response = await this.#fetch(path, {
        method,
        headers: sent,
        body: body === undefined ? undefined : JSON.stringify(body),
        cache: "no-store",
        signal: signal ?? AbortSignal.timeout(timeout),
      });
    } catch (error) {
      const isLate = error.name === "TimeoutError";
      throw new ApiError("unreachable", isLate ? `no answer within ${timeout / 1000} s` : "it cannot be reached");
    }
    this.#onAnswer(response);
    if (response.ok || response.status === 304) return response;
    throw await errorOf(response);
  }
}

/** Where the API has a stream. */
function path(id) {
  return `/v1/streams/${encodeURIComponent(id)}`;
}

async function errorOf(response) {
  const { status } = response;
  const problem = await response.json().catch(() => ({})); // an answer that is no problem document says its status
  const detail = problem.detail ?? problem.title ?? `the answer is ${status}`;
  const retryAfter = Number(response.headers.get("retry-after")) || null;
  return new ApiError(kindOf(status), detail, { status, errors: problem.errors ?? [], retryAfter });
}

function kindOf(status) {
  if (status === 401) return "sign-in";
  if (status === 404 || status === 405) return "missing";
  return status < 500 ? "refused" : "trouble";
}

const MERGE_PATCH = "application/merge-patch+json";

// ms
const TIMEOUT = 5000;

// ms, for what the daemon looks at its devices or its recordings for.
const SLOW_TIMEOUT = 20_000;

/** Events that are shown at first. */
const REPLAYED = 100;
