"""How the page looks: light and dark as the reader's machine is, from a phone to paper. A constant.

The hues are those of the panel's theme (Okabe and Ito's); everything that has a colour has a word or a glyph as well.
"""

from typing import Final

_LIGHT: Final = """
--paper:#fbfaf7;--card:#fff;--ink:#242a30;--soft:#5d6770;--line:#dfe1df;--faint:#eceeec;
--ok:#007d5c;--info:#0069a6;--warning:#8f5400;--critical:#b83a00;
--ok-wash:#eaf4ef;--info-wash:#e9f2f8;--warning-wash:#fbf2e2;--critical-wash:#fcede5;
--data:#005f99;--second:#a8437f;--usual:#e1eaf3;--healthy:#e4f2ea;
--low-4:#00548a;--low-3:#2b7db5;--low-2:#6aa5cd;--low-1:#a9cbe0;--cell:#e3e5e4;
--high-1:#ecd6a3;--high-2:#d9a441;--high-3:#b8690a;--high-4:#c23f00;--bad:#7a0f3c;
"""
_DARK: Final = """
--paper:#0f1317;--card:#151a1f;--ink:#d3d9df;--soft:#8f99a4;--line:#2b323a;--faint:#1d2329;
--ok:#2fbf91;--info:#56b4e9;--warning:#eba71a;--critical:#ff7d5c;
--ok-wash:#12231d;--info-wash:#12212c;--warning-wash:#272012;--critical-wash:#2b1913;
--data:#93cdf3;--second:#dd9fc4;--usual:#1d2a38;--healthy:#13271f;
--low-4:#5cb8ff;--low-3:#4a9fe0;--low-2:#3c76a3;--low-1:#33566f;--cell:#242b32;
--high-1:#5f5330;--high-2:#a77c2a;--high-3:#eba71a;--high-4:#ff6d48;--bad:#97466f;
"""
_PAGE: Final = """
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%;text-size-adjust:100%}
body{margin:0;background:var(--paper);color:var(--ink);
font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue","Noto Sans","DejaVu Sans",sans-serif;
overflow-wrap:break-word}
main{max-width:1120px;margin:0 auto;padding:40px 32px 24px}
h1{font-size:30px;line-height:1.2;margin:2px 0 8px;font-weight:650;letter-spacing:-.012em;overflow-wrap:anywhere}
h2{font-size:20px;line-height:1.3;margin:0 0 14px;font-weight:640;letter-spacing:-.006em}
h3{font-size:17px;line-height:1.35;margin:0 0 4px;font-weight:620}
h4{font-size:14px;margin:16px 0 4px;font-weight:620;color:var(--soft)}
p{margin:0 0 10px}
section{margin:44px 0 0}
code,pre{font-family:ui-monospace,"SF Mono",Menlo,Consolas,"DejaVu Sans Mono",monospace;font-size:.88em}
code{overflow-wrap:anywhere}
pre{overflow-x:auto;line-height:1.5;margin:10px 0 0}
.n,.num,td,.now{font-variant-numeric:tabular-nums}
.n{white-space:nowrap}
.over{margin:0;font-size:13px;color:var(--soft);letter-spacing:.02em}
.dim{color:var(--soft);font-size:14px;margin-bottom:4px}
.facts{display:flex;flex-wrap:wrap;gap:2px 0;margin:0 0 8px;color:var(--soft);font-size:15px}
.facts>span:not(:last-child)::after{content:"·";margin:0 .55em;opacity:.6}
.facts b{color:var(--ink);font-weight:600}
.facts b.word.ok{color:var(--ok)}.facts b.word.info{color:var(--info)}
.facts b.word.warning{color:var(--warning)}.facts b.word.critical{color:var(--critical)}
.why{max-width:76ch}
.sign{display:inline-block;width:1.35em;color:var(--soft)}
.sign.ok{color:var(--ok)}.sign.info{color:var(--info)}
.sign.warning{color:var(--warning)}.sign.critical{color:var(--critical)}
.notes{margin:8px 0 0;padding-left:18px}
ol,ul{margin:0 0 6px}
.verdict{margin:26px 0 0;padding:18px 22px 14px;border-left:4px solid var(--soft);border-radius:3px 8px 8px 3px;
background:var(--faint)}
.verdict h2{margin:0 0 4px;font-size:23px}
.verdict ol{padding-left:22px;margin-top:4px;max-width:76ch}
.verdict.ok{border-color:var(--ok);background:var(--ok-wash)}
.verdict.info{border-color:var(--info);background:var(--info-wash)}
.verdict.warning{border-color:var(--warning);background:var(--warning-wash)}
.verdict.critical{border-color:var(--critical);background:var(--critical-wash)}
.badges{list-style:none;display:flex;flex-wrap:wrap;gap:6px 22px;margin:16px 0 0;padding:0;font-size:14px}
.badges li{white-space:nowrap;color:var(--soft)}
.badges b{font-weight:600;margin-left:.45em;color:var(--ink)}
.badges .waiting b{color:var(--soft);font-weight:400}
.graphs{display:grid;grid-template-columns:1fr;gap:26px 40px}
figure{margin:0;min-width:0;break-inside:avoid}
figcaption{display:flex;align-items:baseline;gap:10px;font-size:15px;margin-bottom:2px}
figcaption b{font-weight:600}
figcaption .now{margin-left:auto;color:var(--soft);white-space:nowrap}
figcaption .now .n{color:var(--ink);font-weight:640;font-size:17px;margin-left:.15em}
.tag{font-size:12px;color:var(--soft)}
.frame{padding:10px 6px 26px 54px}
.frame.flags-1{padding-top:24px}.frame.flags-2{padding-top:41px}.frame.flags-3{padding-top:58px}
svg.plot{display:block;width:100%;height:200px;overflow:visible}
.small svg.plot{height:140px}
svg text{font:12px/1 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue","Noto Sans","DejaVu Sans",sans-serif;
fill:var(--soft);font-variant-numeric:tabular-nums}
svg .y,svg .layer{text-anchor:end}
svg .x.mid{text-anchor:middle}svg .x.to{text-anchor:end}
svg .grid{stroke:var(--line);stroke-width:1;opacity:.7}
svg .floor{stroke:var(--soft);stroke-width:1;opacity:.55}
svg .usual{fill:var(--usual)}svg .healthy{fill:var(--healthy)}
svg .lines path{fill:none;stroke-width:1.4;stroke-linejoin:round;stroke-linecap:round;vector-effect:non-scaling-stroke}
svg .line-1{stroke:var(--data)}svg .line-2{stroke:var(--second)}
svg .lines .range{opacity:.45;stroke-width:1}svg .lines .middle{stroke-width:1.8}
svg .dot-1{fill:var(--data)}svg .dot-2{fill:var(--second)}
svg line.limit{stroke:var(--soft);stroke-width:1;stroke-dasharray:6 4}
svg text.limit{fill:var(--soft);paint-order:stroke;stroke:var(--paper);stroke-width:3px}
svg line.bad{stroke:var(--critical);stroke-width:5;stroke-linecap:square}
svg text.bad{fill:var(--critical);font-size:16px;font-weight:700;text-anchor:middle}
svg text.over{fill:var(--data);font-size:10px;text-anchor:middle}
svg .flag line{stroke:var(--soft);stroke-width:1;stroke-dasharray:1.5 3}
svg .flag.rollback line{stroke-dasharray:5 3}
svg .flag circle{fill:var(--soft)}
svg .flag text{fill:var(--paper);font-size:10.5px;font-weight:700;text-anchor:middle}
svg .flag.critical line{stroke:var(--critical)}svg .flag.critical circle{fill:var(--critical)}
svg .flag.warning line{stroke:var(--warning)}svg .flag.warning circle{fill:var(--warning)}
svg .flag.info line{stroke:var(--info)}svg .flag.info circle{fill:var(--info)}
svg .flag.ok line{stroke:var(--ok)}svg .flag.ok circle{fill:var(--ok)}
.swatches{display:flex;flex-wrap:wrap;gap:2px 18px;margin:0 0 0 54px;font-size:13px;color:var(--soft)}
.swatch{display:inline-block;width:14px;height:10px;margin-right:7px;border-radius:2px;vertical-align:baseline}
.swatch.usual{background:var(--usual);outline:1px solid var(--line)}
.swatch.healthy{background:var(--healthy);outline:1px solid var(--line)}
.swatch.line-1{height:2px;background:var(--data);vertical-align:.25em}
.swatch.line-1.range{height:8px;opacity:.45;vertical-align:baseline}
.swatch.line-2{height:2px;background:var(--second);vertical-align:.25em}
.moments{list-style:none;padding:0;margin:22px 0 0;font-size:14px;display:grid;gap:4px 28px}
.moments+.dim{margin-top:12px}
.moments li{display:grid;grid-template-columns:20px 88px 1fr;gap:8px;align-items:baseline}
.moments li>span:nth-child(2){color:var(--soft)}
.key{display:inline-block;width:17px;height:17px;line-height:17px;border-radius:9px;text-align:center;font-size:10.5px;
font-style:normal;font-weight:700;background:var(--soft);color:var(--paper)}
.key.critical{background:var(--critical)}.key.warning{background:var(--warning)}
.key.info{background:var(--info)}.key.ok{background:var(--ok)}
.incident,.autopsy{margin:0 0 18px;padding:16px 20px 14px;border:1px solid var(--line);border-radius:8px;
background:var(--card)}
.incident.resolved{background:none}
.incident.sign-of{margin-left:28px}
.incident .graph{margin-top:12px}
.advice ol{padding-left:22px;max-width:76ch}
.wide{overflow-x:auto;margin:8px 0 6px}
table{border-collapse:collapse;font-size:14px;line-height:1.45}
th{text-align:left;font-weight:500;color:var(--soft);border-bottom:1px solid var(--line)}
th,td{padding:5px 22px 5px 0;vertical-align:baseline}
tbody tr:not(:last-child) td{border-bottom:1px solid var(--faint)}
th.num,td.num{text-align:right}
th:last-child,td:last-child{padding-right:0}
details{margin:10px 0 0;font-size:15px}
summary{cursor:pointer;color:var(--soft);width:fit-content}
summary:hover{color:var(--ink)}
.manual{border-top:1px solid var(--faint);padding-top:8px;margin-top:12px}
.manual p{margin-top:10px}
dl{margin:8px 0 0}
dt{font-weight:600;font-size:14px}
dd{margin:0 0 10px;max-width:76ch}
.pairs{display:grid;grid-template-columns:110px 1fr;gap:6px 18px}
.pairs dt{font-weight:400;font-size:15px;color:var(--soft)}
.pairs dd{margin:0;max-width:none}
.parameters{margin-top:24px}
.heat-frame{padding:4px 62px 26px 112px}
.names-wide .heat-frame{padding-left:152px}.names-wide .legend{margin-left:152px}
svg.heat{display:block;width:100%;overflow:visible}
.heat .cells{shape-rendering:crispEdges}
.heat .moment{stroke:var(--ink);stroke-width:1;stroke-dasharray:2 3;opacity:.75}
.heat .usual{fill:var(--cell)}.heat .bad{fill:var(--bad)}
.heat .low-1{fill:var(--low-1)}.heat .low-2{fill:var(--low-2)}.heat .low-3{fill:var(--low-3)}
.heat .low-4{fill:var(--low-4)}.heat .high-1{fill:var(--high-1)}.heat .high-2{fill:var(--high-2)}
.heat .high-3{fill:var(--high-3)}.heat .high-4{fill:var(--high-4)}
.legend{list-style:none;display:flex;flex-wrap:wrap;gap:4px 14px;padding:0;margin:0 0 0 112px;font-size:13px;
color:var(--soft)}
.legend .what{flex-basis:100%}
.legend .swatch{margin-right:5px}
.legend .usual{background:var(--cell);outline:0}.legend .bad{background:var(--bad)}
.legend .low-1{background:var(--low-1)}.legend .low-2{background:var(--low-2)}.legend .low-3{background:var(--low-3)}
.legend .low-4{background:var(--low-4)}.legend .high-1{background:var(--high-1)}
.legend .high-2{background:var(--high-2)}
.legend .high-3{background:var(--high-3)}.legend .high-4{background:var(--high-4)}
footer{max-width:1120px;margin:0 auto;padding:20px 32px 44px;color:var(--soft);font-size:13px}
@media (min-width:820px){.graphs{grid-template-columns:1fr 1fr}.moments{grid-template-columns:1fr 1fr}}
@media (max-width:560px){
main{padding:24px 16px 12px}footer{padding:12px 16px 32px}
body{font-size:15px}h1{font-size:25px}
.verdict{padding:14px 16px 10px}
.incident,.autopsy{padding:14px 14px 12px}.incident.sign-of{margin-left:12px}
.frame{padding-left:46px}.swatches{margin-left:46px}
.heat-frame{padding-left:84px;padding-right:54px}.names-wide .heat-frame{padding-left:118px}
.legend,.names-wide .legend{margin-left:0}
svg.heat .layer,svg.heat .now{font-size:10px}
.pairs{grid-template-columns:1fr;gap:0}.pairs dd{margin-bottom:8px}
.moments li{grid-template-columns:20px 80px 1fr}
th,td{padding-right:14px}
}
"""
_PRINT: Final = """
body{font-size:10.5pt;background:#fff;-webkit-print-color-adjust:exact;print-color-adjust:exact}
main{padding:0;max-width:none}footer{padding:10pt 0 0;max-width:none}
.verdict,figure,tr,.advice{break-inside:avoid}
h2,h3,figcaption{break-after:avoid}
details:not([open]){display:none}
section{margin-top:22pt}
.graphs{grid-template-columns:1fr 1fr;gap:14pt 20pt}
svg.plot{height:118px}.small svg.plot{height:84px}
"""
STYLE: Final = (
    f":root{{color-scheme:light dark;{_LIGHT}}}\n@media screen and (prefers-color-scheme:dark){{:root{{{_DARK}}}}}\n"
    f"{_PAGE}@media print{{{_PRINT}}}\n@page{{margin:15mm 14mm}}\n"
)
