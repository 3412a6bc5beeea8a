#!/usr/bin/env bash
# Runs `make demo` in a terminal of its own (tmux) and draws what it shows as docs/images/demo.svg.
# Without animation the picture is the last frame.
set -euo pipefail
cd "$(dirname "$0")/../.."
columns=108 rows=35 every=0.25
frames=$(mktemp -d)
socket=lpseal-docs-$$
trap 'tmux -L "$socket" kill-server 2>/dev/null; rm -rf "$frames"' EXIT

make build
tmux -L "$socket" new-session -d -x "$columns" -y "$rows" -s demo "PS1='\$ ' bash --norc"
tmux -L "$socket" send-keys -t demo 'clear; make demo' Enter
for n in $(seq 1000 1999); do
	tmux -L "$socket" capture-pane -p -t demo >"$frames/$n"
	! grep -q '^done in' "$frames/$n" || break
	sleep "$every"
done
grep -q '^done in' "$frames/$n"

# Frames that show nothing new are dropped; a bar's line that is half drawn is no news.
shown=()
for f in "$frames"/*; do
	grep -q '^pages:' "$f" || continue
	[ ${#shown[@]} = 0 ] || ! cmp -s "$f" "${shown[-1]}" || continue
	shown+=("$f")
done

awk -v columns="$columns" -v rows="$rows" -v total="${#shown[@]}" '
function escape(s) { gsub(/&/, "\\&amp;", s); gsub(/</, "\\&lt;", s); gsub(/>/, "\\&gt;", s); return s }
function colour(s) { return s ~ /^\$ / ? "#7ee787" : s ~ /\] committed|SHA-256 equals|^done in/ ? "#7ee787" : s ~ /^s-t0.*\[/ ? "#79c0ff" : s ~ /^STAGE/ ? "#ffffff" : "#c9d1d9" }
BEGIN {
	width = columns * 8.4 + 40; height = rows * 18 + 40; step = 0.3; hold = 8; long = total * step + hold
	printf "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" width=\"%d\" height=\"%d\" role=\"img\" aria-label=\"make demo in a terminal\">\n", width, height, width, height
	print "<style>text{font:14px ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;white-space:pre}g{visibility:hidden}g:last-of-type{visibility:visible}"
	print "@media(prefers-reduced-motion:no-preference){g,g:last-of-type{visibility:hidden;animation:show " long "s step-end infinite}}"
	for (i = 1; i <= total; i++) {
		from = 100 * (i - 1) * step / long; to = i == total ? 100 : 100 * i * step / long
		printf "@keyframes f%d{0%%{visibility:%s}%.3f%%{visibility:visible}%.3f%%{visibility:hidden}}#f%d{animation-name:f%d!important}\n", i, i == 1 ? "visible" : "hidden", from, to, i, i
	}
	print "</style>\n<rect width=\"100%\" height=\"100%\" rx=\"8\" fill=\"#0d1117\"/>"
}
FNR == 1 { if (NR > 1) print "</g>"; printf "<g id=\"f%d\">\n", ++n }
$0 != "" { printf "<text x=\"20\" y=\"%d\" fill=\"%s\">%s</text>\n", FNR * 18 + 16, colour($0), escape($0) }
END { print "</g>\n</svg>" }
' "${shown[@]}" >docs/images/demo.svg
