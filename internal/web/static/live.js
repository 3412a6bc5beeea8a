// Keeps a page up to date: asks for it again every second and puts in what changed. The
// page works without it. A page nobody looks at is left alone.
"use strict";

const every = 1000, longest = 15000;
const main = document.querySelector("main[data-live]");
const pulse = document.getElementById("pulse");
let tag = "", wait = every, answered = new Date();

async function refresh() {
  const r = await fetch(location.href, {
    headers: { "Accept": "text/html", "If-None-Match": tag },
    cache: "no-store", redirect: "manual", signal: AbortSignal.timeout(longest),
  });
  if (r.type === "opaqueredirect") { // the session is over
    location.reload();
    return;
  }
  if (r.status !== 304) {
    if (!r.ok) throw new Error(r.status);
    const next = new DOMParser().parseFromString(await r.text(), "text/html");
    tag = r.headers.get("ETag") ?? "";
    for (const id of ["main", "pages"]) {
      const [now, then] = [document.getElementById(id), next.getElementById(id)];
      if (now && then) morph(now, then);
    }
  }
  answered = new Date();
}

// morph makes an element equal to another with as few changes as it can: what is the
// same stays, and with it focus, selection and scroll positions.
function morph(now, then) {
  if (now.isEqualNode(then)) return;
  if (now.nodeType !== then.nodeType || now.nodeName !== then.nodeName || now.id !== then.id) {
    now.replaceWith(then);
    return;
  }
  if (now.nodeType !== Node.ELEMENT_NODE) {
    now.nodeValue = then.nodeValue;
    return;
  }
  if (now.matches("form:focus-within")) return; // somebody is typing
  for (const { name } of [...now.attributes]) if (!then.hasAttribute(name)) now.removeAttribute(name);
  for (const { name, value } of then.attributes) if (now.getAttribute(name) !== value) now.setAttribute(name, value);
  const known = new Map();
  for (const child of now.children) if (child.id) known.set(child.id, child);
  let at = now.firstChild;
  for (const child of [...then.childNodes]) {
    const same = child.id ? known.get(child.id) : at && !at.id ? at : null;
    if (!same) {
      now.insertBefore(child, at);
      continue;
    }
    if (same === at) at = at.nextSibling;
    else now.insertBefore(same, at);
    morph(same, child);
  }
  while (at) {
    const next = at.nextSibling;
    at.remove();
    at = next;
  }
}

// say tells whoever listens to the page only what is new.
function say(text) {
  if (pulse.textContent !== text) pulse.textContent = text;
}

async function live() {
  if (!document.hidden) {
    try {
      await refresh();
      wait = every;
      say("live");
    } catch {
      wait = Math.min(2 * wait, longest);
      say("no answer since " + answered.toLocaleTimeString());
    }
    pulse.hidden = false;
    pulse.classList.toggle("lost", wait !== every);
  }
  setTimeout(live, wait);
}

// What a cell says when the pointer rests on it, it says on keyboard focus, too.
function tips() {
  const tip = document.createElement("div");
  tip.id = "tip";
  tip.setAttribute("role", "tooltip");
  tip.hidden = true;
  document.body.append(tip);
  main.addEventListener("focusin", ({ target }) => {
    tip.hidden = !(target.title && target.matches(".grid a:focus-visible"));
    if (tip.hidden) return;
    tip.textContent = target.title;
    const box = target.getBoundingClientRect();
    tip.style.left = Math.min(box.left, innerWidth - tip.offsetWidth - 8) + "px";
    tip.style.top = (box.bottom + tip.offsetHeight + 8 < innerHeight ? box.bottom + 6 : box.top - tip.offsetHeight - 6) + "px";
  });
  main.addEventListener("focusout", () => { tip.hidden = true; });
}

// Arrow keys walk the grid, / goes to the search.
function keys(e) {
  if (e.ctrlKey || e.metaKey || e.altKey) return;
  if (e.target.matches("input, select, textarea")) {
    if (e.key === "Escape") e.target.blur();
    return;
  }
  if (e.key === "/") {
    const find = document.querySelector("input[type=search]");
    if (find) {
      e.preventDefault();
      find.focus();
      find.select();
    }
    return;
  }
  const cell = e.target.closest(".grid tbody :is(td, th)");
  const step = { ArrowUp: "up", ArrowDown: "down", ArrowLeft: "left", ArrowRight: "right" }[e.key];
  if (!cell || !step) return;
  let link = null;
  if (step === "left" || step === "right") {
    const links = [...cell.parentElement.querySelectorAll("a")];
    link = links[links.indexOf(e.target) + (step === "right" ? 1 : -1)];
  } else {
    const row = step === "up" ? cell.parentElement.previousElementSibling : cell.parentElement.nextElementSibling;
    link = row && (row.children[cell.cellIndex]?.querySelector("a") ?? row.querySelector("a"));
  }
  if (link) {
    e.preventDefault();
    link.focus();
  }
}

if (main) {
  live();
  tips();
  document.addEventListener("keydown", keys);
  main.addEventListener("change", (e) => { if (e.target.matches(".filter select")) e.target.form.requestSubmit(); });
  document.addEventListener("visibilitychange", () => { if (!document.hidden) wait = every; });
}
