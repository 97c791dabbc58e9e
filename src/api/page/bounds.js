// Changing a stream's rate: what the form says, what is wrong with that, and what it would do. Pure.

/** The fields, in the configuration's own names. */
export const FIELDS = ["min_kbps", "start_kbps", "max_kbps"];

/** Of the stream's configuration; `null` where the daemon has none to change. */
export function boundsOf(stream) {
  const rate = stream.config?.rate;
  return rate ? Object.fromEntries(FIELDS.map((field) => [field, rate[field]])) : null;
}

/**
 * What was written, `texts` by field, against the bounds that count: `{patch, errors}`. The daemon has the last word;
 * what is found here needs no daemon.
 */
export function read(texts, bounds) {
  const values = Object.fromEntries(FIELDS.map((field) => [field, Number(texts[field].trim() || NaN)]));
  const errors = {};
  for (const field of FIELDS) {
    const value = values[field];
    if (!Number.isInteger(value) || value <= 0) errors[field] = "Write a whole number of kbit/s, such as 1500.";
  }
  if (Object.keys(errors).length === 0) {
    const { min_kbps: min, start_kbps: start, max_kbps: max } = values;
    if (min > max) errors.max_kbps = "The highest rate is below the lowest.";
    else if (start < min || start > max) errors.start_kbps = "The first rate is not between the other two.";
  }
  const changed = FIELDS.filter((field) => values[field] !== bounds[field]);
  const rate = Object.fromEntries(changed.map((field) => [field, values[field]]));
  return { errors, patch: changed.length === 0 ? null : { rate } };
}

/** What the daemon found wrong, by field of the form; `others` are lines about something else. */
export function refusal(error) {
  const errors = {};
  const others = [];
  for (const { field, detail, fix } of error.errors) {
    const text = sentences(detail, fix);
    const own = FIELDS.find((name) => field?.endsWith(`rate.${name}`));
    if (own && !errors[own]) errors[own] = text;
    else others.push(field ? `${field}: ${text}` : text);
  }
  if (!error.errors.length) others.push(sentences(error.message));
  return { errors, others };
}

/** A plan in words: `{lines, isEmpty, isDisruptive}`; a line is `{tone, text}`. */
export function planOf({ changes, consequences, warnings = [] }) {
  const lines = [
    ...changes.map(({ key, before, after }) => ({
      tone: "info",
      text: `${setting(key)}: ${value(before)} becomes ${value(after)}.`,
    })),
    ...consequences.map(({ effect, output, what }) => ({
      tone: DISRUPTIVE.includes(effect) ? "warn" : "ok",
      text: sentences(output && !what.includes(output) ? `${output}: ${what}` : what),
    })),
    ...warnings.map(({ detail, fix }) => ({ tone: "warn", text: sentences(detail, fix) })),
  ];
  return {
    lines,
    isEmpty: changes.length === 0,
    isDisruptive: consequences.some(({ effect }) => DISRUPTIVE.includes(effect)),
  };
}

/**
 * What there is to say of a change that may still be taken back, or just was: `{text, canConfirm}`, or `null`. The
 * configuration as `GET /v1/config` gives it; `daemonNow` in ms on the daemon's clock.
 */
export function trialOf({ on_trial, rolled_back }, daemonNow) {
  if (on_trial && on_trial.confirm_within_s !== null) {
    const text = `A change is on trial. It is taken back in ${on_trial.confirm_within_s} s unless somebody keeps it.`;
    return { text, canConfirm: true };
  }
  if (on_trial) {
    const streams = on_trial.unproven.join(", ");
    const text = `A change is on trial: it is taken back unless ${streams} streams again within ${on_trial.prove_within_s} s.`;
    return { text, canConfirm: true };
  }
  const isNews = rolled_back && daemonNow - Date.parse(rolled_back.time) < NEWS;
  return isNews ? { text: sentences(`the last change was taken back: ${rolled_back.reason}`), canConfirm: false } : null;
}

// ms
const NEWS = 600_000;

/** Somebody watching would notice. */
const DISRUPTIVE = ["reconnects", "restarts", "starts", "stops"];

const NAMES = { min_kbps: "Lowest rate", start_kbps: "First rate", max_kbps: "Highest rate" };

function setting(key) {
  return NAMES[key.split(".").at(-1)] ?? key;
}

function value(json) {
  if (json === null) return "the default";
  return typeof json === "string" ? json : JSON.stringify(json);
}

function sentences(...texts) {
  const whole = texts.filter(Boolean).map((text) => `${text[0].toUpperCase()}${text.slice(1).replace(/\.$/, "")}.`);
  return whole.join(" ");
}
