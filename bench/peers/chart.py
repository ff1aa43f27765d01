"""The recall–speed curves as one small SVG that is readable on light and dark pages."""

from __future__ import annotations

import math

WIDTH, HEIGHT = 860, 500
LEFT, RIGHT, TOP, BOTTOM = 64, 150, 48, 52
TICKS = [0.8, 0.9, 0.95, 0.975, 0.99, 0.995, 0.998]
# One hue a family, on light and on dark; members of a family differ by dashes.
FAMILIES = {
    "vdb": ("#d6336c", "#ff6f9c"),
    "symqg": ("#1971c2", "#5aa9f5"),
    "hnswlib": ("#495057", "#ced4da"),
    "faiss": ("#2b8a3e", "#5fcf75"),
    "usearch": ("#b35c00", "#ffa94d"),
    "zvec": ("#7048c9", "#b197fc"),
    "svs": ("#0b7a85", "#3bc9db"),
}
DASHES = ["", "7 3", "2 3", "9 3 2 3"]
STYLE = (
    ".bg{fill:#fff}.g{stroke:#e3e5e8}text{fill:#33373c;font:12px system-ui,sans-serif}"
    ".l{fill:none;stroke-width:1.8}.vdb{stroke-width:3}.h{font-size:14px;font-weight:600}"
    "@media(prefers-color-scheme:dark){.bg{fill:#15181c}.g{stroke:#30353b}text{fill:#d5d9de}}"
)


def family(name: str) -> str:
    return next((prefix for prefix in FAMILIES if name.startswith(prefix)), "hnswlib")


def colours() -> str:
    """A class for each family, with its second colour on dark pages."""
    light = "".join(f".{name}{{stroke:{pair[0]}}}" for name, pair in FAMILIES.items())
    dark = "".join(f".{name}{{stroke:{pair[1]}}}" for name, pair in FAMILIES.items())
    return f"{light}@media(prefers-color-scheme:dark){{{dark}}}"


def x_of(recall: float) -> float:
    """Recalls are spaced by the logarithm of their error, so that the end that matters has room."""
    errors = [math.log(1 - at) for at in (TICKS[0], recall, TICKS[-1])]
    return LEFT + (WIDTH - LEFT - RIGHT) * (errors[0] - errors[1]) / (errors[0] - errors[2])


def y_of(speed: float, low: float, high: float) -> float:
    share = math.log(speed / low) / math.log(high / low)
    return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * share


def shown(engine: dict) -> list[tuple[float, float]]:
    """The points that lie within the drawing."""
    points = [(point["recall"], point["queries_per_s"]) for point in engine["points"]]
    return sorted((r, s) for r, s in points if TICKS[0] <= r <= TICKS[-1])


def grid(low: float, high: float) -> list[str]:
    """Lines and numbers of both axes; the speeds go 1, 2, 5, 10."""
    parts, bottom, right = [], HEIGHT - BOTTOM, WIDTH - RIGHT
    for recall in TICKS:
        x = x_of(recall)
        parts.append(f'<path class="g" d="M{x:.0f} {TOP}V{bottom}"/>')
        parts.append(f'<text x="{x:.0f}" y="{bottom + 18}" text-anchor="middle">{recall:g}</text>')
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for speed in (step * 10**decade for decade in decades for step in (1, 2, 5)):
        if low <= speed <= high:
            y = y_of(speed, low, high)
            parts.append(f'<path class="g" d="M{LEFT} {y:.0f}H{right}"/>')
            parts.append(f'<text x="{LEFT - 8}" y="{y + 4:.0f}" text-anchor="end">{speed:,.0f}</text>')
    middle = (LEFT + right) / 2
    parts.append(f'<text x="{middle:.0f}" y="{HEIGHT - 12}" text-anchor="middle">recall@10</text>')
    return parts


def line(engine: dict, member: int, row: int, low: float, high: float) -> list[str]:
    """An engine's curve, and its line in the key."""
    name, dash = engine["name"], DASHES[member % len(DASHES)]
    kind = f'class="l {family(name)}"' + (f' stroke-dasharray="{dash}"' if dash else "")
    places = [f"{x_of(recall):.1f} {y_of(speed, low, high):.1f}" for recall, speed in shown(engine)]
    x, y = WIDTH - RIGHT + 12, TOP + 8 + 20 * row
    key = f'<path {kind} d="M{x} {y}h26"/><text x="{x + 32}" y="{y + 4}">{name}</text>'
    return [f'<path {kind} d="M{"L".join(places)}"/>', key]


def draw(measured: list[dict], title: str) -> str:
    """The SVG's text, or an empty one where nothing lies within the drawing."""
    drawn = [engine for engine in measured if shown(engine)]
    speeds = [speed for engine in drawn for _, speed in shown(engine)]
    if not speeds:
        return '<svg xmlns="http://www.w3.org/2000/svg"/>\n'
    low, high = min(speeds) / 1.15, max(speeds) * 1.15
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">',
        f"<title>{title}</title><style>{STYLE}{colours()}</style>",
        f'<rect class="bg" width="{WIDTH}" height="{HEIGHT}"/>',
        f'<text class="h" x="{LEFT}" y="20">{title}</text>',
        f'<text x="{LEFT}" y="37">queries/s, one thread; higher and further right is better</text>',
        *grid(low, high),
    ]
    names = [engine["name"] for engine in measured]
    kin = [[name for name in names if family(name) == family(engine["name"])] for engine in measured]
    member = {name: group.index(name) for name, group in zip(names, kin)}
    # The key from the fastest at recall 0.95 down, so that it has the order of the lines.
    drawn.sort(key=lambda engine: engine["at_recall"]["0.95"] or 0, reverse=True)
    for row, engine in enumerate(drawn):
        parts += line(engine, member[engine["name"]], row, low, high)
    return "\n".join([*parts, "</svg>"]) + "\n"
