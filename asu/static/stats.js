// Keeps the figures of an open page current. Without it the page is complete all the same, as the server draws everything.
"use strict";

const EVERY_MS = 60000; // The day's counts move slowly; who wants to see them move reloads.

async function refresh() {
  const figures = document.getElementById("figures");
  if (document.hidden || !figures || figures.contains(document.activeElement)) {
    return; // Nobody looks, or somebody is about to use a link or a table.
  }
  const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
  if (!answer.ok) {
    return;
  }
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("figures");
  if (!fresh) {
    return;
  }
  const open = [...figures.querySelectorAll("details")].map((part) => part.open);
  fresh.querySelectorAll("details").forEach((part, place) => { part.open = open[place] === true; });
  figures.replaceWith(fresh);
}

setInterval(() => { refresh().catch(() => {}); }, EVERY_MS);
