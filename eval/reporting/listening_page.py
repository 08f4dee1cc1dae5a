"""Page of a blind listening test: style and script, without any knowledge of the systems."""

from __future__ import annotations

import json
from html import escape
from typing import Any

from .html import STYLE

_STYLE = """
main { max-width: 42rem; margin: 0 auto; }
button { font: inherit; padding: .55rem 1rem; border-radius: 8px; border: 1px solid var(--line);
  background: var(--card); color: var(--ink); cursor: pointer; }
button.chosen, button.playing { outline: 3px solid var(--c0); }
button:disabled { opacity: .45; cursor: default; }
.row { display: flex; flex-wrap: wrap; gap: .6rem; align-items: center; margin: .8rem 0; }
.row input[type=range] { flex: 1; min-width: 10rem; }
output { min-width: 2.5rem; text-align: right; font-variant-numeric: tabular-nums; }
kbd { font-size: .8em; border: 1px solid var(--line); border-radius: 4px; padding: 0 .3em; }
""".strip()

_SCRIPT = r"""
"use strict";
const test = JSON.parse(document.getElementById("test").textContent);
const root = document.getElementById("root");
const state = {listener: "", started: "", place: 0, order: [], answers: [], isSaved: false};
const player = new Audio();
let trial = null, heard = new Set(), answer = null, plays = {}, began = 0;

// A generator that is the same in every browser (mulberry32).
function random(seed) {
  return () => {
    seed = (seed + 0x6D2B79F5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}
function hash(text) {
  let value = 2166136261;
  for (const c of text) value = Math.imul(value ^ c.codePointAt(0), 16777619);
  return value;
}
function shuffled(list, draw) {
  const found = [...list];
  for (let i = found.length - 1; i > 0; i--) {
    const j = Math.floor(draw() * (i + 1));
    [found[i], found[j]] = [found[j], found[i]];
  }
  return found;
}
function make(tag, text, more) {
  return Object.assign(document.createElement(tag), {textContent: text || ""}, more || {});
}
function start(name) {
  state.listener = name.trim();
  if (!state.listener) return;
  const draw = random(test.seed ^ hash(state.listener));
  state.order = shuffled(test.trials, draw)
    .map(each => ({...each, stimuli: shuffled(each.stimuli, draw)}));
  state.started = new Date().toISOString();
  show();
}
function play(id) {
  player.src = test.audio[id];
  player.play().catch(() => {});
  heard.add(id);
  plays[id] = (plays[id] || 0) + 1;
  for (const b of document.querySelectorAll("button[data-sound]"))
    b.classList.toggle("playing", b.dataset.sound === id);
  refresh();
}
function complete() {
  const all = trial.stimuli.every(id => heard.has(id));
  if (test.kind === "ab") return all && answer !== null;
  return all && trial.stimuli.every(id => id in answer);
}
function refresh() {
  const next = document.getElementById("next");
  if (next) next.disabled = !complete();
  for (const b of document.querySelectorAll("button[data-choice]")) {
    b.disabled = !trial.stimuli.every(id => heard.has(id));
    b.classList.toggle("chosen", answer === b.dataset.choice);
  }
}
function choose(choice) {
  if (trial.stimuli.every(id => heard.has(id))) { answer = choice; refresh(); }
}
function next() {
  if (!trial || !complete()) return;
  player.pause();
  const given = {trial: trial.id, stimuli: trial.stimuli, plays,
    seconds: (performance.now() - began) / 1000};
  if (test.kind === "ab") given.choice = answer === "none" ? null : answer;
  else given.scores = answer;
  state.answers.push(given);
  state.place += 1;
  show();
}
function soundButton(id, label, key) {
  const button = make("button", label + " ");
  button.dataset.sound = id;
  button.append(make("kbd", key));
  button.onclick = () => play(id);
  return button;
}
function show() {
  root.replaceChildren();
  if (state.place >= state.order.length) return finish();
  trial = state.order[state.place];
  heard = new Set(); plays = {}; began = performance.now();
  answer = test.kind === "ab" ? null : {};
  root.append(make("h2", `${state.place + 1} of ${state.order.length}`));
  if (trial.reference) {
    const row = make("div", "", {className: "row"});
    row.append(soundButton(trial.reference, "Reference", "R"));
    root.append(row);
  }
  (test.kind === "ab" ? showPair : showScale)();
  const button = make("button", "Next ", {id: "next"});
  button.append(make("kbd", "Enter"));
  button.onclick = next;
  root.append(button);
  refresh();
}
function showPair() {
  const sounds = make("div", "", {className: "row"});
  const choices = make("div", "", {className: "row"});
  trial.stimuli.forEach((id, k) => {
    sounds.append(soundButton(id, "Play " + "AB"[k], String(k + 1)));
    choices.append(choiceButton(id, "AB"[k] + " is better", "AB"[k]));
  });
  choices.append(choiceButton("none", "No difference", "N"));
  root.append(sounds, choices);
}
function choiceButton(choice, label, key) {
  const button = make("button", label + " ");
  button.dataset.choice = choice;
  button.append(make("kbd", key));
  button.onclick = () => choose(choice);
  return button;
}
function showScale() {
  trial.stimuli.forEach((id, k) => {
    const row = make("div", "", {className: "row"});
    const slider = make("input", "", {type: "range", min: 0, max: 100, value: 50});
    slider.dataset.slider = id;
    slider.setAttribute("aria-label", `Sound ${k + 1}, 0 bad to 100 excellent`);
    const shown = make("output", "-");
    slider.oninput = () => {
      answer[id] = Number(slider.value); shown.textContent = slider.value; refresh();
    };
    row.append(soundButton(id, "Play", String(k + 1)), slider, shown);
    root.append(row);
  });
  const scale = "0 bad · 20 poor · 40 fair · 60 good · 80 excellent · 100";
  root.append(make("p", scale, {className: "note"}));
}
function results() {
  return {test: test.id, kind: test.kind, listener: state.listener, started: state.started,
    finished: new Date().toISOString(), answers: state.answers};
}
function finish() {
  trial = null;
  const text = JSON.stringify(results(), null, 1);
  const link = make("a", "Download the answers", {id: "download",
    href: URL.createObjectURL(new Blob([text], {type: "application/json"})),
    download: `answers-${test.id}-${state.listener.replace(/[^\p{L}\p{N}_-]+/gu, "_")}.json`});
  link.onclick = () => { state.isSaved = true; };
  root.append(make("h2", "Thank you"), make("p", "Send this file to whoever asked you:"), link);
  link.focus();
}
document.addEventListener("keydown", event => {
  if (!trial || event.ctrlKey || event.altKey || event.metaKey) return;
  const key = event.key.toLowerCase();
  if (key === "enter") { event.preventDefault(); next(); }
  else if (key === "r" && trial.reference) play(trial.reference);
  else if (/^[1-9]$/.test(key) && trial.stimuli[key - 1]) play(trial.stimuli[key - 1]);
  else if (test.kind === "ab" && "abn".includes(key))
    choose({a: trial.stimuli[0], b: trial.stimuli[1], n: "none"}[key]);
});
// Answers are in this page alone until they are downloaded.
window.addEventListener("beforeunload", event => {
  if (state.started && !state.isSaved) event.preventDefault();
});
const form = document.getElementById("start");
form.onsubmit = event => { event.preventDefault(); start(form.elements.listener.value); };
""".strip()

_ASKED = {
    "ab": "You hear two sounds: which is better? Play both first; the reference, where there is "
    "one, is how it should sound.",
    "mushra": "You hear several sounds of one recording beside the reference. Give each from 0 "
    "(bad) to 100 (excellent, as the reference); one of them is the reference itself.",
}


def listening_page(test: dict[str, Any], title: str) -> str:
    """Build the page, one file that works offline.

    Args:
        test: {"id", "kind" ("ab" or "mushra"), "seed", "trials": [{"id", "reference", "stimuli"}],
            "audio": {id: data URI}}; ids tell nothing of a system.
        title: Plain text.
    """
    # "</" would end the element that holds the data.
    data = json.dumps(test, ensure_ascii=False).replace("</", "<\\/")
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>\n{STYLE}\n{_STYLE}\n</style>\n</head>\n<body>\n"
        f"<main><header><h1>{escape(title)}</h1><p>{escape(_ASKED[test['kind']])}</p></header>\n"
        '<div id="root"><form id="start"><div class="row"><label>Your name or number '
        '<input name="listener" required autofocus pattern=".*\\S.*" title="more than spaces">'
        "</label><button>Start</button></div></form>"
        "</div></main>\n"
        f'<script type="application/json" id="test">{data}</script>\n'
        f"<script>\n{_SCRIPT}\n</script>\n</body>\n</html>\n"
    )
