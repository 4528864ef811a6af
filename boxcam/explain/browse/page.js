"use strict";
(() => {
  const list = document.getElementById("boxes");
  if (list === null) return;
  const controls = document.getElementById("controls");
  const chosen = document.getElementById("class");
  const words = document.getElementById("text");
  const buttons = Array.from(controls.querySelectorAll("[data-sort]"));
  const boxes = Array.from(list.children, (item, place) => {
    const name = item.querySelector("b").textContent;
    const image = item.querySelector("bdi").textContent;
    const { score, inside } = item.dataset;
    return {
      item, place, name, image: Number(item.dataset.image), text: `${name}\n${image}`.toLowerCase(),
      score: Number(score), inside: inside === "" ? null : Number(inside),
    };
  });
  const names = Array.from(new Set(boxes.map((box) => box.name)));
  const collator = new Intl.Collator(undefined, { numeric: true });
  names.sort(collator.compare);
  const rank = new Map(names.map((name, place) => [name, place]));
  for (const box of boxes) box.class = rank.get(box.name);

  // [what a first press shows first, what each order is called]
  const orders = {
    image: [1, "in the order of images", "in the reverse order of images"],
    class: [1, "by class, A to Z", "by class, Z to A"],
    score: [-1, "by score, lowest first", "by score, highest first"],
    inside: [1, "by share inside, lowest first", "by share inside, highest first"],
  };
  let key = "image";
  let way = 1;

  function compare(a, b) {
    const [x, y] = [a[key], b[key]];
    if (x === y) return a.place - b.place;
    if (x === null || y === null) return x === null ? 1 : -1; // what has none is last, either way
    return way * (x - y);
  }

  function sort() {
    const all = document.createDocumentFragment();
    for (const box of boxes.slice().sort(compare)) all.append(box.item);
    list.append(all);
    for (const button of buttons) {
      const mine = button.dataset.sort === key;
      button.setAttribute("aria-pressed", String(mine));
      button.lastChild.textContent = mine ? (way > 0 ? " ↑" : " ↓") : "";
    }
  }

  function filter() {
    const name = chosen.value === "" ? null : chosen.selectedOptions[0].dataset.name;
    const wanted = words.value.trim().toLowerCase();
    let count = 0;
    for (const box of boxes) {
      box.item.hidden = (name !== null && box.name !== name) || !box.text.includes(wanted);
      count += !box.item.hidden;
    }
    document.getElementById("none").hidden = count > 0;
    const order = orders[key][way > 0 ? 1 : 2];
    document.getElementById("shown").textContent = `${count} of ${boxes.length} shown, ${order}`;
  }

  for (const button of buttons) {
    button.addEventListener("click", () => {
      way = key === button.dataset.sort ? -way : orders[button.dataset.sort][0];
      key = button.dataset.sort;
      sort();
      filter();
    });
  }
  chosen.addEventListener("change", filter);
  words.addEventListener("input", filter);
  controls.addEventListener("submit", (event) => event.preventDefault());
  document.getElementById("all").addEventListener("click", () => {
    chosen.value = words.value = "";
    filter();
    words.focus();
  });

  // Arrows go from box to box, as they lie on the screen.
  list.addEventListener("keydown", (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return;
    const items = Array.from(list.children).filter((item) => !item.hidden);
    const at = items.indexOf(event.target.closest("li"));
    const row = items.findIndex((item) => item.offsetTop !== items[0].offsetTop);
    const columns = row < 0 ? items.length : row;
    const steps = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns, ArrowUp: -columns };
    const ends = { Home: 0, End: items.length - 1 };
    const to = event.key in ends ? ends[event.key] : at + steps[event.key];
    if (at < 0 || Number.isNaN(to)) return;
    event.preventDefault();
    items[to]?.firstElementChild.focus();
  });

  controls.hidden = false;
  sort();
  filter();
})();
