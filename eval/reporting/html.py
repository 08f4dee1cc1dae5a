"""Frame and style sheet of a report: one column on a phone, light or dark by preference."""

from __future__ import annotations

from html import escape

STYLE = """
:root { color-scheme: light dark; --back: #fbfbfa; --card: #fff; --ink: #1d2025; --soft: #616771;
  --line: #dfe1e5; --bad: #b3261e; --bad-back: #fdeceb;
  --c0: #2563c9; --c1: #c4510b; --c2: #15803d; --c3: #8b3fc2; --c4: #b8860b; --c5: #0e7c86;
  --c6: #be185d; --c7: #4b5563; }
@media (prefers-color-scheme: dark) { :root { --back: #15171a; --card: #1d2024; --ink: #e8e9eb;
  --soft: #a0a6b0; --line: #363b43; --bad: #ff8f86; --bad-back: #3a1f1d;
  --c0: #6fa5ff; --c1: #ff9d5c; --c2: #5fcf85; --c3: #cd94f5; --c4: #e6bd4f; --c5: #55c8d2;
  --c6: #f783b4; --c7: #a8b0bd; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 72rem; padding: 1.5rem 1rem 3rem; background: var(--back);
  color: var(--ink); font: 16px/1.5 system-ui, sans-serif; overflow-wrap: break-word; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 .3rem; }
h2 { font-size: 1.2rem; margin: 2.2rem 0 .7rem; }
h3 { font-size: 1rem; margin: 0 0 .4rem; overflow-wrap: anywhere; }
header p, small, .note, dt { color: var(--soft); }
header p { margin: 0; }
small { font-size: .78rem; font-weight: 400; }
.note { font-size: .85rem; margin: .4rem 0 0; }
.bad { color: var(--bad); }
.tables { display: flex; flex-wrap: wrap; gap: 0 2rem; }
.tables section { max-width: 100%; }
.tables .note { width: 0; min-width: min(100%, 16rem); }
.scroll { overflow-x: auto; width: fit-content; max-width: 100%; background: var(--card);
  border: 1px solid var(--line); border-radius: 8px; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .4rem .8rem; text-align: right; vertical-align: top;
  border-bottom: 1px solid var(--line); }
tbody tr:last-child > * { border-bottom: 0; }
thead th { color: var(--soft); font-size: .85rem; font-weight: 600; vertical-align: bottom; }
th:first-child { text-align: left; position: sticky; left: 0; background: var(--card);
  font-weight: 600; min-width: 7rem; max-width: 18rem; }
td { white-space: nowrap; min-width: 6rem; }
td.words { text-align: left; white-space: normal; min-width: 9rem; }
th.words { text-align: left; }
td small, th small { display: block; }
.alert { border-left: 4px solid var(--bad); background: var(--bad-back); padding: .1rem .8rem .8rem;
  border-radius: 8px; }
.alert p { margin: .5rem 0; color: var(--bad); font-weight: 600; }
.alert ul { margin: 0; padding-left: 1.1rem; }
.alert li + li { margin-top: .35rem; }
.alert small { display: block; }
.charts { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fit, minmax(min(100%, 22rem),
  1fr)); }
figure { margin: 0; min-width: 0; }
.charts figure, article { background: var(--card); border: 1px solid var(--line);
  border-radius: 8px; padding: .8rem; }
.charts figure { max-width: 40rem; }
article + article { margin-top: 1rem; }
svg { display: block; width: 100%; height: auto; color: var(--soft); }
blockquote { margin: 0 0 .5rem; font-size: 1.05rem; }
dl { display: grid; grid-template-columns: max-content minmax(0, 1fr); gap: .15rem .8rem;
  margin: 0 0 .6rem; font-size: .9rem; }
dd { margin: 0 0 .2rem; overflow-wrap: anywhere; }
code { font-size: .9em; }
.versions { display: grid; gap: .8rem; grid-template-columns: repeat(auto-fit,
  minmax(min(100%, 19rem), 1fr)); }
figcaption { font-weight: 600; font-size: .9rem; }
img { display: block; width: 100%; height: auto; }
audio { display: block; width: 100%; height: 2.4rem; margin-top: .3rem; }
@media (max-width: 30rem) { table { font-size: .92rem; } th, td { padding: .35rem; }
  thead th, td small { font-size: .75rem; } td { min-width: 0; }
  th:first-child { min-width: 3.2rem; } dl { grid-template-columns: 1fr; } }
""".strip()


def page(title: str, subtitle: str, body: str) -> str:
    """Frame sections as a whole HTML page.

    Args:
        title: Plain text, heading and page name.
        subtitle: Plain text under it, "" for none.
        body: HTML of the sections.
    """
    under = f"<p>{escape(subtitle)}</p>" if subtitle else ""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>\n{STYLE}\n</style>\n</head>\n<body>\n"
        f"<header><h1>{escape(title)}</h1>{under}</header>\n{body}\n</body>\n</html>\n"
    )
