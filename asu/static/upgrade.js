// Makes the pages of an upgrade quicker. The server draws everything, so they work without it.
//
// The request stays in the fragment of the address, which no browser sends to a server: a link can
// be kept, and no package list is in a log. A first-boot script is never in it.
"use strict";

const SECRET = new Set(["defaults", "pasted"]);

function main() {
  return document.getElementById("content");
}

async function show(answer) {
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const fresh = page.getElementById("content");
  if (!fresh) {
    throw new Error("no page");
  }
  const open = [...main().querySelectorAll("details[open][id]")].map((part) => part.id);
  const focus = document.activeElement && document.activeElement.dataset.focus;
  main().replaceWith(fresh);
  document.title = page.title;
  open.forEach((id) => { const part = document.getElementById(id); if (part) { part.open = true; } });
  if (focus) {
    const again = [...document.querySelectorAll("[data-focus]")].find((part) => part.dataset.focus === focus);
    (again || document.getElementById("preview") || fresh).focus();
  }
  begin();
}

// --- The form ---

function fieldsOf(form, button) {
  const fields = new URLSearchParams(new FormData(form));
  if (button && button.name) {
    fields.append(button.name, button.value);
  }
  return fields;
}

function remember(form) {
  const kept = new URLSearchParams();
  fieldsOf(form).forEach((value, name) => { if (value && !SECRET.has(name)) { kept.append(name, value); } });
  history.replaceState(null, "", "/upgrade#" + kept);
}

async function preview(fields) {
  main().setAttribute("aria-busy", "true");
  try {
    await show(await fetch("/upgrade", { method: "POST", body: fields, headers: { Accept: "text/html" } }));
  } finally {
    main().removeAttribute("aria-busy");
  }
}

function beginForm(form) {
  if (form.dataset.known === "yes") {
    remember(form);
  }
  form.addEventListener("submit", (event) => {
    const button = event.submitter;
    if (button && button.hasAttribute("formaction")) {
      return; // It builds: the answer is another page.
    }
    event.preventDefault();
    preview(fieldsOf(form, button)).catch(() => form.submit());
  });
  if (form.elements.add) {
    form.elements.add.addEventListener("input", () => suggest(form, form.elements.add));
  }
  form.addEventListener("change", (event) => {
    if (event.target.dataset.redraws !== undefined) {
      form.requestSubmit();
    }
  });
}

// What is typed into `add` is searched, a moment after the last key.
let typing = 0;

function suggest(form, input) {
  clearTimeout(typing);
  typing = setTimeout(async () => {
    const asked = new URLSearchParams({ q: input.value, version: form.elements.version.value, target: form.elements.target.value });
    const found = input.value.length > 1 ? (await (await fetch("/api/v1/packages?" + asked)).json()).packages : [];
    document.getElementById("packages").replaceChildren(...(found || []).map((each) => new Option(each.description, each.name)));
  }, 250);
}

// --- A build that runs ---

let events = null;

function text(id, value) {
  const part = document.getElementById(id);
  if (part && part.textContent !== value) {
    part.textContent = value;
  }
}

function duration(seconds) {
  if (seconds === null || seconds === undefined) {
    return document.getElementById("eta").dataset.unknown;
  }
  const minutes = Math.floor(seconds / 60);
  return minutes ? `${minutes} min ${seconds % 60} s` : `${seconds} s`;
}

function watch(build) {
  const redraw = () => { fetch(location.href).then(show).catch(() => {}); };
  let drawn = build.dataset.state, step = null;
  events = new EventSource(`/api/v1/build/${build.dataset.key}/events?after=${build.dataset.after}`);
  events.addEventListener("state", (event) => {
    const state = JSON.parse(event.data);
    const now = state.detail === "started" ? "running" : "queued";
    if (now !== drawn) {
      drawn = now;
      redraw();
      return;
    }
    text("place", String(state.queue_position || 0));
    text("eta", duration(state.eta_seconds));
    text("notice", state.notice || "");
    document.getElementById("notice").hidden = !state.notice;
  });
  events.addEventListener("step", (event) => {
    if (step !== null && step !== event.data) {
      redraw();
    }
    step = event.data;
  });
  events.addEventListener("log", (event) => {
    const log = document.getElementById("log");
    const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
    log.append((log.textContent ? "\n" : "") + JSON.parse(event.data).lines.join("\n"));
    if (atEnd) {
      log.scrollTop = log.scrollHeight;
    }
  });
  events.addEventListener("end", () => { events.close(); redraw(); });
}

// --- A finished image: what arrives is compared with what was built ---

async function download(link) {
  const verdict = link.parentElement.querySelector(".verdict");
  verdict.textContent = verdict.dataset.loading;
  const content = await (await fetch(link.href)).arrayBuffer();
  const digest = [...new Uint8Array(await crypto.subtle.digest("SHA-256", content))]
    .map((byte) => byte.toString(16).padStart(2, "0")).join("");
  if (digest !== link.dataset.sha256) {
    verdict.textContent = verdict.dataset.wrong;
    verdict.classList.add("red");
    return;
  }
  const saved = document.createElement("a");
  saved.href = URL.createObjectURL(new Blob([content]));
  saved.download = link.download;
  saved.click();
  verdict.textContent = verdict.dataset.right;
}

function begin() {
  if (events) {
    events.close();
    events = null;
  }
  const form = document.getElementById("request"), build = document.getElementById("build");
  if (form) {
    beginForm(form);
  }
  if (build && (build.dataset.state === "queued" || build.dataset.state === "running")) {
    watch(build);
  }
  if (window.crypto && crypto.subtle) {
    document.querySelectorAll("a[data-sha256]").forEach((link) => link.addEventListener("click", (event) => {
      event.preventDefault();
      download(link).catch(() => { location.href = link.href; });
    }));
  }
}

function fromFragment() {
  const kept = new URLSearchParams(location.hash.slice(1));
  if (location.pathname === "/upgrade" && kept.get("target") && kept.get("profile")) {
    preview(kept).catch(() => {});
  }
}

addEventListener("hashchange", fromFragment);
if (!document.querySelector("#request[data-known]")) {
  fromFragment();
}
begin();
