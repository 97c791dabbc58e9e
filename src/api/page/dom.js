// The few things that the page does with its document. Texts go in as text: nothing is ever read as HTML.

/** The element with this id, which the page has. */
export function byId(id) {
  const found = document.getElementById(id);
  if (!found) throw new Error(`the page has no #${id}`);
  return found;
}

export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  setAttributes(made, attributes);
  made.append(...children);
  return made;
}

export function svg(tag, attributes = {}, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  setAttributes(made, attributes);
  made.append(...children);
  return made;
}

/** Touches only what is different; `null` takes an attribute away. */
export function setAttributes(node, attributes) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined) node.removeAttribute(name);
    else if (node.getAttribute(name) !== String(value)) node.setAttribute(name, value);
  }
}

/** Touches the text only where it is different: what is selected stays so, and nothing is read out twice. */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

export function show(node, isShown) {
  if (node.hidden === isShown) node.hidden = !isShown;
}

export function clear(...nodes) {
  for (const node of nodes) node.replaceChildren();
}

/**
 * As many children as there are entries. `make` makes one, `fill(child, entry)` writes into it; children stay where
 * they are, so that what has the focus keeps it.
 */
export function fillList(list, entries, make, fill) {
  while (list.children.length > entries.length) list.lastElementChild.remove();
  while (list.children.length < entries.length) list.append(make());
  entries.forEach((entry, index) => fill(list.children[index], entry));
}

/** A `<dl>` of `[label, value]` rows. */
export function fillFacts(list, rows) {
  const make = () => element("div", {}, element("dt"), element("dd"));
  fillList(list, rows, make, ({ firstElementChild: label, lastElementChild: value }, row) => {
    setText(label, row[0]);
    setText(value, row[1]);
  });
}

/** A list of lines of text. */
export function fillLines(list, lines) {
  fillList(list, lines, () => element("li"), setText);
  show(list, lines.length > 0);
}

/** A button that does nothing now stays where it is, and can be reached: focus is not lost when it turns. */
export function setEnabled(button, isEnabled) {
  setAttributes(button, { "aria-disabled": isEnabled ? null : "true" });
}

export function isEnabled(button) {
  return button.getAttribute("aria-disabled") !== "true";
}
