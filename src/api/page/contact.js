// Whether the daemon answers, and how old what it said is. Pure.
//
//            an answer                    none for LATE_AFTER
//   never ─────────────▶ live ─────────────────────────────▶ late
//                         ▲ ▲                                  │ none for LOST_AFTER,
//                         │ └──────────── an answer ───────────┤ or a request that fails
//                         └──────────────────── lost ◀─────────┘

import { duration, timeOfDay } from "./words.js";

/** Nothing is known yet. Times are in ms on the viewer's clock. */
export const NO_CONTACT = Object.freeze({ answeredAt: null, failure: null, openedAt: null });

export function opened(nowMs) {
  return { ...NO_CONTACT, openedAt: nowMs };
}

export function answered(contact, nowMs) {
  return { ...contact, answeredAt: nowMs, failure: null };
}

/** `detail` says in words how it failed. */
export function failed(contact, detail) {
  return { ...contact, failure: detail };
}

/** `live`, `late`, `lost`, or `never` before the first answer. */
export function standing(contact, nowMs) {
  const { answeredAt, failure } = contact;
  if (answeredAt === null) return failure === null ? "never" : "lost";
  const age = nowMs - answeredAt;
  if (age >= LOST_AFTER || (failure !== null && age >= LATE_AFTER)) return "lost";
  return age >= LATE_AFTER ? "late" : "live";
}

/** What is said above everything else: `null` while all is well. */
export function warning(contact, nowMs) {
  const since = contact.answeredAt ?? contact.openedAt ?? nowMs;
  const age = duration(nowMs - since);
  switch (standing(contact, nowMs)) {
    case "live":
    case "never":
      return null;
    case "late":
      return { tone: "warn", title: `These numbers are ${age} old`, text: "uplinkd takes long to answer." };
    case "lost":
      return {
        tone: "bad",
        title: `No contact with uplinkd since ${timeOfDay(since, nowMs)} (${age})`,
        text:
          `${contact.failure ?? "It does not answer"}. ` +
          (contact.answeredAt === null ? "" : "What stands below is from before. ") +
          "The stream may still be on air. This page tries again every second.",
      };
  }
}

/** The same where the daemon answers, but one of its streams does not tell it anything new. */
export function staleness(stream) {
  if (!(stream?.age_ms >= LATE_AFTER)) return null;
  const title = `The numbers of ${stream.id} are ${duration(stream.age_ms)} old`;
  return { tone: "warn", title, text: "uplinkd answers, but this stream of it hangs." };
}

/** The words beside the dot in the page's head. */
export function label(contact, nowMs) {
  return { live: "Live", late: "Late", lost: "No contact", never: "Connecting" }[standing(contact, nowMs)];
}

// ms. Numbers come four times a second, over a wireless network now and then less often.
const LATE_AFTER = 2500;
const LOST_AFTER = 6000;
