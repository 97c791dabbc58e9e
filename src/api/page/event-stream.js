// Server-sent events. Read by fetch instead of EventSource, which tells neither why there is none nor the names of
// events that it was not told of beforehand.

/** Takes a stream of server-sent events apart, as the HTML standard says. Pure but for what it has not used yet. */
export class EventStreamParser {
  #rest = "";
  #event = {};
  #id = null;

  /** The events that end in this piece: `{id, event, data}`. */
  push(text) {
    const lines = (this.#rest + text).split(/\r\n|\n|\r(?!$)/);
    this.#rest = lines.pop();
    return lines.flatMap((line) => this.#line(line));
  }

  #line(line) {
    if (line === "") return this.#dispatch();
    const [, field, value] = line.match(/^([^:]*):? ?([^]*)$/);
    if (field === "event") this.#event.event = value;
    if (field === "data") this.#event.data = [...(this.#event.data ?? []), value];
    if (field === "id") this.#id = value;
    return [];
  }

  #dispatch() {
    const { event = "message", data } = this.#event;
    this.#event = {};
    return data === undefined ? [] : [{ id: this.#id, event, data: data.join("\n") }];
  }
}

/**
 * Reads events until `signal` aborts, and comes back with the last id where the connection ends. `open(id, signal)`
 * gives a response, whose body ends with `signal`, or throws; `onEvent` gets each event with its data as JSON; `onTrouble` gets the error, or `null`
 * when events come again. An error with `isFinal` ends it.
 */
export async function follow({ open, onEvent, onTrouble, signal, lastId = null }) {
  let id = lastId;
  while (!signal.aborted) {
    try {
      const response = await open(id, signal);
      onTrouble(null);
      for await (const event of eventsOf(response.body)) {
        id = event.id ?? id;
        onEvent({ ...event, data: JSON.parse(event.data) });
      }
    } catch (error) {
      if (signal.aborted) return;
      onTrouble(error);
      if (error.isFinal) return;
    }
    await new Promise((resolve) => setTimeout(resolve, RECONNECT));
  }
}

/** Gives up where nothing comes for a time: the daemon says something every 10 s. */
async function* eventsOf(body) {
  const parser = new EventStreamParser();
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  try {
    while (true) {
      const { done, value } = await inTime(reader.read());
      if (done) return;
      yield* parser.push(value);
    }
  } finally {
    reader.cancel().catch(() => {}); // it is given up: what else goes wrong with it is nobody's concern
  }
}

function inTime(promise) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error("nothing was heard for a long time")), SILENCE);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

// ms: three times what the daemon is silent for at most.
const SILENCE = 30_000;

// ms
const RECONNECT = 2000;
