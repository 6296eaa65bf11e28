"use strict";
// Shows and hides marks by type, error and score, and sentences by their words. Nothing is shown anew but what changes.
(() => {
  const all = (query, root = document) => [...root.querySelectorAll(query)];
  const one = (query) => document.querySelector(query);
  const [search, minimum, marked] = ["search", "score", "marked"].map((name) => one(`.tools [name=${name}]`));
  const status = one(".status");
  const choices = all(".choice");
  const hidden = { type: new Set(), kind: new Set() };

  const sentences = all("main .sentence").map((element) => ({
    element,
    text: null,
    shown: true,
    parts: all("[data-type]", element).map((part) => ({
      element: part,
      type: part.dataset.type,
      kind: part.dataset.kind,
      score: Number(part.dataset.score ?? NaN), // one without a score is above every minimum
      entity: part.matches("mark:not(.rest)"),
      shown: true,
    })),
  }));

  const folded = (text) => text.normalize().toLocaleLowerCase();

  // What a sentence says, without the types in its marks.
  function textOf(node) {
    if (node.nodeName === "SMALL") return "";
    if (!node.firstChild) return node.nodeValue ?? "";
    let text = "";
    for (let child = node.firstChild; child; child = child.nextSibling) text += textOf(child);
    return text;
  }

  function update() {
    const words = folded(search.value.trim());
    const least = minimum ? Number(minimum.value) : 0;
    let numberOfSentences = 0;
    let numberOfEntities = 0;
    let everyEntity = 0;
    for (const sentence of sentences) {
      let entities = 0;
      for (const part of sentence.parts) {
        const shown = !hidden.type.has(part.type) && !hidden.kind.has(part.kind) && !(part.score < least);
        if (shown !== part.shown) part.element.classList.toggle("off", !(part.shown = shown));
        if (shown && part.entity) entities += 1;
        if (part.entity) everyEntity += 1;
      }
      if (words) sentence.text ??= folded(textOf(sentence.element.querySelector(".text")));
      const shown = (!words || sentence.text.includes(words)) && (entities > 0 || !marked.checked);
      if (shown !== sentence.shown) sentence.element.hidden = !(sentence.shown = shown);
      if (!shown) continue;
      numberOfSentences += 1;
      numberOfEntities += entities;
    }
    if (minimum) one(".tools output").value = least.toFixed(2);
    const part = (number, every, name, names) =>
      (number < every ? `${number.toLocaleString("en")} of ` : "") +
      `${every.toLocaleString("en")} ${every === 1 ? name : names}`;
    const unit = status.dataset.unit;
    status.textContent = part(numberOfSentences, sentences.length, unit, `${unit}s`) + " · " +
      part(numberOfEntities, everyEntity, "entity", "entities");
  }

  // Once a frame, however fast one types.
  let waiting = false;
  function later() {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => { waiting = false; update(); });
  }

  function press(button, shown) {
    button.setAttribute("aria-pressed", String(shown));
    hidden[button.dataset.facet][shown ? "delete" : "add"](button.dataset.value);
    later();
  }

  for (const button of choices) {
    button.disabled = false;
    button.addEventListener("click", () => press(button, button.getAttribute("aria-pressed") === "false"));
  }
  for (const button of all(".every button")) {
    const { every, none } = button.dataset;
    button.addEventListener("click", () => {
      for (const choice of choices) if (choice.dataset.facet === (every ?? none)) press(choice, every !== undefined);
    });
  }
  for (const input of [search, minimum, marked]) input?.addEventListener("input", later);
  for (const element of all(".tools, .every")) element.hidden = false;
  if (matchMedia("(max-width: 54rem)").matches) for (const table of all("details")) table.open = false;
  update(); // a browser may have kept what was typed before the page was loaded anew
})();
