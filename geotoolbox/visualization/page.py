"""The report's style sheet and its one small script."""

from __future__ import annotations

__all__ = ["SCRIPT", "STYLE"]

STYLE = """
:root{color-scheme:light dark;--sans:system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif;
--ink:#1c2328;--muted:#5b6770;--line:#d9dfe3;--surface:#fff;--page:#f5f7f8;--accent:#1b6f8a;--good:#157347;--bad:#b3420b;
--notice:#eef5f8;--warning:#fdf1e7;--code:#f2f5f7}
@media (prefers-color-scheme:dark){:root{--ink:#e6eaed;--muted:#a3afb8;--line:#343d44;--surface:#1a2025;--page:#12161a;
--accent:#62b6d1;--good:#5cc48f;--bad:#f0935a;--notice:#1b2a32;--warning:#33241a;--code:#12181c}}
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%;scroll-behavior:smooth}
body{margin:0;background:var(--page);color:var(--ink);font:16px/1.55 var(--sans)}
header,main,footer{max-width:60rem;margin:0 auto;padding:0 1.5rem}
header{padding-top:3rem}
.kind{margin:0;color:var(--accent);font-size:.85rem;font-weight:600;letter-spacing:.02em}
h1{margin:.15rem 0 .75rem;font-size:clamp(1.6rem,4.5vw,2.3rem);line-height:1.15;letter-spacing:-.015em;
text-wrap:balance;overflow-wrap:anywhere}
.summary{margin:0 0 1.75rem;max-width:46rem;font-size:1.18rem;line-height:1.5;text-wrap:pretty}
.tiles{display:flex;flex-wrap:wrap;gap:1px;margin:0 0 1.5rem;
background:var(--line);border:1px solid var(--line);border-radius:10px;overflow:hidden}
.tile{flex:1 1 11.5rem;background:var(--surface);padding:.9rem 1.1rem 1rem}
.tile dt{color:var(--muted);font-size:.85rem}
.tile dd{margin:0}
.tile b{display:block;font-size:1.75rem;line-height:1.25;font-weight:650;letter-spacing:-.02em;font-variant-numeric:tabular-nums}
.tile span{display:block;color:var(--muted);font-size:.85rem;line-height:1.4}
.tile.good span{color:var(--good)}.tile.bad span{color:var(--bad)}
nav{display:flex;flex-wrap:wrap;gap:.35rem 1.1rem;margin:0 0 1.5rem;font-size:.9rem}
a{color:var(--accent);text-underline-offset:.2em;text-decoration-thickness:1px}
section{background:var(--surface);border:1px solid var(--line);border-radius:10px;padding:1.4rem 1.5rem 1.5rem;margin:0 0 1.25rem}
h2{margin:0 0 .6rem;font-size:1.2rem;letter-spacing:-.01em;line-height:1.3}
section p{margin:.4rem 0 1rem;max-width:46rem;text-wrap:pretty;overflow-wrap:anywhere}
section>:last-child{margin-bottom:0}
.note{border-radius:8px;padding:.7rem 1rem;background:var(--notice);max-width:none}
.note.warning{background:var(--warning)}
figure{margin:.75rem 0 1.25rem}
figure svg{display:block;max-width:100%;height:auto;margin:0 auto}
figcaption{margin-top:.5rem;color:var(--muted);font-size:.9rem;max-width:46rem}
.skip{position:absolute;left:-99rem}.skip:focus{position:static;display:block;padding:.6rem 1.5rem}
.panels{margin:.75rem 0 1.5rem}.panels>p{margin:0 0 .4rem;font-weight:600;font-size:.95rem}
.row{display:grid;grid-template-columns:repeat(var(--n),minmax(0,1fr));gap:.9rem}
.row figure{margin:0}.row figcaption{margin:0 0 .25rem;font-size:.85rem}
.row img{display:block;width:100%;height:auto;border:1px solid var(--line)}
.sharp{image-rendering:pixelated}
.terms{display:grid;grid-template-columns:max-content minmax(0,1fr);gap:.5rem 1.5rem;margin:.5rem 0 1.25rem;max-width:50rem}
.terms dt{font-weight:600}.terms dd{margin:0}
.scroll{overflow-x:auto;position:relative}
.legend{display:flex;flex-wrap:wrap;gap:.3rem 1.1rem;list-style:none;margin:.25rem 0 1rem;padding:0;font-size:.9rem}
.chip{display:inline-block;width:.85em;height:.85em;margin-right:.5em;border-radius:3px;vertical-align:-.06em;
box-shadow:inset 0 0 0 1px rgba(128,128,128,.5)}
.table{margin:.75rem 0 1.25rem}
.bar{display:flex;justify-content:space-between;align-items:baseline;gap:1rem;margin-bottom:.3rem;color:var(--muted);font-size:.9rem}
button{font:inherit;font-size:.82rem;color:var(--accent);background:none;border:1px solid var(--line);border-radius:6px;
padding:.15rem .6rem;cursor:pointer;white-space:nowrap}
button:hover{border-color:var(--accent)}
:focus-visible{outline:2px solid var(--accent);outline-offset:2px}
table{border-collapse:collapse;width:100%;font-size:.9rem;font-variant-numeric:tabular-nums}
th,td{padding:.38rem .7rem;text-align:right;border-bottom:1px solid var(--line);white-space:nowrap}
.left{text-align:left}
td.left{white-space:normal}
thead th{color:var(--muted);font-weight:600;border-bottom-color:var(--muted);white-space:normal;vertical-align:bottom}
thead th[title]{text-decoration:underline dotted;text-underline-offset:.25em;cursor:help}
tbody th{font-weight:500}
.paper{display:none}.tile b.long{font-size:1.15rem;overflow-wrap:anywhere}
.wide th,.wide td{padding-left:.4rem;padding-right:.4rem}.wide{font-size:.84rem}
tbody tr:last-child>*{border-bottom:0}
th:first-child,td:first-child{padding-left:0}th:last-child,td:last-child{padding-right:.2rem}
td[title]{cursor:help}
.sr{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%)}
details .bar{justify-content:flex-end}details .bar span{display:none}
details{margin:.5rem 0 1rem}summary{cursor:pointer;color:var(--accent);font-size:.95rem}
.facts{display:grid;grid-template-columns:repeat(auto-fill,minmax(17rem,1fr));gap:.1rem 2.5rem;margin:.25rem 0 1rem;font-size:.95rem}
.facts div{min-width:0}
.facts div{display:flex;justify-content:space-between;gap:1rem;padding:.35rem 0;border-bottom:1px solid var(--line)}
.facts dt{color:var(--muted);flex:none;max-width:60%}.facts dd{margin:0;text-align:right;overflow-wrap:anywhere}
pre{margin:.5rem 0 1rem;padding:1rem 1.1rem;background:var(--code);border:1px solid var(--line);border-radius:8px;overflow-x:auto;
font:.84rem/1.55 ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace}
footer{padding-top:.5rem;padding-bottom:3rem;color:var(--muted);font-size:.88rem}
@media (max-width:40rem){header,main,footer{padding-left:1rem;padding-right:1rem}header{padding-top:1.75rem}
section{padding:1.1rem 1rem 1.2rem}.tile{flex-basis:40%;padding:.75rem .85rem}.tile b{font-size:1.4rem}
.summary{font-size:1.06rem}figure .scroll svg{width:100%;min-width:calc(var(--w,40rem)*.58);max-width:none}th,td{padding:.38rem .4rem}tbody th{white-space:normal;min-width:6.8rem}table{font-size:.84rem}
.row{grid-template-columns:1fr 1fr}
.terms{grid-template-columns:1fr;gap:0}.terms dd{margin:0 0 .8rem}.bar{flex-wrap:wrap;gap:.3rem 1rem}
.facts{grid-template-columns:1fr}}
@media print{footer{break-before:avoid}section p{break-inside:avoid}:root{color-scheme:light;--ink:#000;--muted:#444;--line:#ccc;--surface:#fff;--page:#fff;--accent:#14566b;
--good:#0f5a37;--bad:#8f3407;--notice:#f3f7f9;--warning:#fbf2ea;--code:#f7f8f9}
body{font-size:10.5pt}nav,button,.skip{display:none!important}header{padding-top:0}header,main,footer{max-width:none;padding-left:0;padding-right:0}
section{border:0;padding:0;margin:0 0 1.5rem}.tile{flex-basis:20%}figure,.tiles,.table,.panels,tr,thead,.note{break-inside:avoid}h2,.bar,summary,thead,section>p:not(.note){break-after:avoid}tbody tr:first-child{break-before:avoid}
.scroll,pre{overflow:visible}pre{white-space:pre-wrap}figure svg{max-height:130mm}.tall svg{max-height:235mm}.broad .scroll{display:none}p.paper{display:block}
*{-webkit-print-color-adjust:exact;print-color-adjust:exact}@page{margin:16mm}}
@media (prefers-reduced-motion:reduce){html{scroll-behavior:auto}}
"""

# Cells that a spreadsheet would take for a formula get a leading apostrophe.
SCRIPT = """
(function(){
  function field(cell){
    var raw = cell.hasAttribute('data-value') ? cell.getAttribute('data-value') : cell.textContent.trim();
    if (/^[=+@\\-\\t]/.test(raw) && isNaN(Number(raw))) raw = "'" + raw;
    return /[",\\n]/.test(raw) ? '"' + raw.replace(/"/g, '""') + '"' : raw;
  }
  function csv(table){
    return Array.from(table.rows).map(function(row){return Array.from(row.cells).map(field).join(',');}).join('\\n') + '\\n';
  }
  function fallback(text){
    var area = document.createElement('textarea');
    area.value = text; document.body.appendChild(area); area.select();
    var done = document.execCommand('copy'); area.remove(); return done;
  }
  document.querySelectorAll('button.copy').forEach(function(button){
    button.hidden = false;
    button.addEventListener('click', function(){
      var text = csv(button.closest('.table').querySelector('table'));
      function say(done){ button.textContent = done ? 'Copied' : 'Could not copy';
        document.getElementById('said').textContent = button.textContent;
        setTimeout(function(){button.textContent = 'Copy as CSV';}, 1600); }
      if (navigator.clipboard && window.isSecureContext)
        navigator.clipboard.writeText(text).then(function(){say(true);}, function(){say(fallback(text));});
      else say(fallback(text));
    });
  });
  window.addEventListener('beforeprint', function(){
    document.querySelectorAll('details').forEach(function(d){d.open = true;});
  });
})();
"""
