// Keeps the figures of an open page current. The server draws everything, so the page is complete
// without this script.
"use strict";

const EVERY_MS = 60000; // The counts of a day change slowly.

async function refresh() {
  const figures = document.getElementById("figures");
  if (document.hidden || !figures || figures.contains(document.activeElement)) {
    return; // The page is hidden, or a link or table in it has the focus.
  }
  const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
  if (!answer.ok) {
    return;
  }
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const fresh = page.getElementById("figures");
  if (!fresh) {
    return;
  }
  const open = [...figures.querySelectorAll("details")].map((part) => part.open);
  fresh.querySelectorAll("details").forEach((part, place) => { part.open = open[place] === true; });
  figures.replaceWith(fresh);
}

setInterval(() => { refresh().catch(() => {}); }, EVERY_MS);
