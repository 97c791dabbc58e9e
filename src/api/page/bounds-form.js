// The form for a stream's rate: first it shows what a change would do, then it makes it.

import { FIELDS, boundsOf, planOf, read, refusal } from "./bounds.js";
import { element, fillList, setAttributes, setText, show } from "./dom.js";

export class BoundsForm {
  #api;
  #section;
  #form;
  #plan;
  #message;
  /** `{id, etag, bounds}` of the stream that the form is about; `bounds` is `null` where nothing can be changed. */
  #subject = null;
  /** What the shown plan would change. */
  #patch = null;

  constructor(section, api) {
    this.#api = api;
    this.#section = section;
    this.#form = section.querySelector("form");
    this.#plan = section.querySelector(".plan");
    this.#message = section.querySelector(".message");
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#ask();
    });
    this.#form.addEventListener("input", () => this.#forgetPlan());
    section.querySelector(".apply").addEventListener("click", () => this.#apply());
    section.querySelector(".cancel").addEventListener("click", () => {
      this.#fill();
      this.#say("Nothing has changed.");
      this.#input(FIELDS[0]).focus();
    });
  }

  /** Shows the bounds of that stream, unless somebody is about to change them. */
  async load(id) {
    if (this.#subject?.id === id && this.#isEdited()) return;
    const isOther = this.#subject?.id !== id;
    this.#subject = { id, etag: null, bounds: null };
    if (isOther) this.#say("");
    try {
      const { stream, etag } = await this.#api.stream(id);
      if (this.#subject.id !== id) return;
      this.#subject = { id, etag, bounds: boundsOf(stream) };
      this.#fill();
    } catch (error) {
      if (this.#subject.id === id) this.#say(`The bounds cannot be read: ${error.message}.`, "bad");
    }
  }

  #fill() {
    const { bounds } = this.#subject;
    show(this.#form, bounds !== null);
    show(this.#section.querySelector(".unchangeable"), bounds === null);
    if (bounds !== null) for (const field of FIELDS) this.#input(field).value = bounds[field];
    this.#closePlan(); // what was said last stays: a change is told of by an event too, and that fills the form again
  }

  async #ask() {
    const { id, etag, bounds } = this.#subject;
    const texts = Object.fromEntries(FIELDS.map((field) => [field, this.#input(field).value]));
    const { patch, errors } = read(texts, bounds);
    this.#forgetPlan();
    if (this.#showErrors(errors)) return;
    if (patch === null) return this.#say("That is what counts already.");
    this.#say("Asking what this would change …");
    try {
      const plan = planOf(await this.#api.plan(id, patch, etag));
      if (this.#subject.id === id) this.#showPlan(plan, patch);
    } catch (error) {
      this.#showRefusal(error);
    }
  }

  async #apply() {
    const { id, etag } = this.#subject;
    const patch = this.#patch;
    if (patch === null) return;
    this.#patch = null;
    this.#say("Changing …");
    try {
      await this.#api.change(id, patch, etag);
      this.#subject = null;
      await this.load(id);
      this.#say("Changed. It lasts beyond a restart of the daemon.", "ok");
    } catch (error) {
      this.#forgetPlan();
      this.#showRefusal(error);
    }
    this.#input(FIELDS[0]).focus();
  }

  #showPlan(plan, patch) {
    if (plan.isEmpty) return this.#say("That would change nothing.");
    this.#patch = patch;
    const list = this.#plan.querySelector("ul");
    fillList(list, plan.lines, () => element("li"), (item, { tone, text }) => {
      setAttributes(item, { "data-tone": tone });
      setText(item, text);
    });
    setText(this.#section.querySelector(".apply"), plan.isDisruptive ? "Apply, with the interruption" : "Apply");
    show(this.#plan, true);
    this.#say("");
    this.#plan.querySelector("h3").focus();
  }

  #showRefusal(error) {
    if (error.status === 412) {
      this.#subject.etag = null;
      const { id } = this.#subject;
      this.#subject = null;
      this.load(id);
      return this.#say("Somebody else has changed the configuration meanwhile. These are the bounds now.", "warn");
    }
    const { errors, others } = refusal(error);
    this.#showErrors(errors);
    this.#say(["Nothing has changed.", ...others].join(" "), "bad");
  }

  #showErrors(errors) {
    for (const field of FIELDS) {
      const input = this.#input(field);
      const text = errors[field] ?? "";
      setText(this.#section.querySelector(`#${field}-error`), text);
      setAttributes(input, { "aria-invalid": text ? "true" : null });
    }
    const first = FIELDS.find((field) => errors[field]);
    if (first) this.#input(first).focus();
    return first !== undefined;
  }

  #forgetPlan() {
    this.#closePlan();
    this.#say("");
  }

  #closePlan() {
    this.#patch = null;
    show(this.#plan, false);
    this.#showErrors({});
  }

  #isEdited() {
    const { bounds } = this.#subject;
    return bounds !== null && FIELDS.some((field) => this.#input(field).value !== String(bounds[field]));
  }

  #say(text, tone = "info") {
    setText(this.#message, text);
    setAttributes(this.#message, { "data-tone": tone });
  }

  #input(field) {
    return this.#form.elements.namedItem(field);
  }
}
