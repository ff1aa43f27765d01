//! Curves against the size of a collection, as one small SVG that is readable on light and dark pages.

use std::fmt::Write;

const WIDTH: f64 = 430.0;
const HEIGHT: f64 = 230.0;
const LEFT: f64 = 62.0;
const RIGHT: f64 = 40.0;
const TOP: f64 = 44.0;
const BOTTOM: f64 = 34.0;
const STYLE: &str = "<style>.bg{fill:#fff}.g{stroke:#e3e5e8}text{fill:#33373c;font:12px system-ui,\
    sans-serif}.h{font-size:13px;font-weight:600}.l{fill:none;stroke-width:2.2;stroke:#d6336c}\
    .p{fill:#d6336c}@media(prefers-color-scheme:dark){.bg{fill:#15181c}.g{stroke:#30353b}\
    text{fill:#d5d9de}.l{stroke:#ff6f9c}.p{fill:#ff6f9c}}</style>";

/// One quantity: its name with the unit, and its values by size.
pub struct Panel {
    pub name: &'static str,
    pub points: Vec<(f64, f64)>,
}

/// All panels, two beside each other; both axes of each are logarithmic.
pub fn draw(panels: &[Panel]) -> String {
    let rows = panels.len().div_ceil(2) as f64;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {} {}\" role=\"img\">\
         <title>growth</title>{STYLE}<rect class=\"bg\" width=\"100%\" height=\"100%\"/>\n",
        2.0 * WIDTH,
        rows * HEIGHT
    );
    for (i, panel) in panels.iter().enumerate() {
        let (x, y) = ((i % 2) as f64 * WIDTH, (i / 2) as f64 * HEIGHT);
        writeln!(svg, "<g transform=\"translate({x} {y})\">{}</g>", inside(panel)).unwrap();
    }
    svg + "</svg>\n"
}

/// Powers of ten around values.
fn decades(values: impl Iterator<Item = f64> + Clone) -> (f64, f64) {
    let low = values.clone().fold(f64::INFINITY, f64::min).log10().floor();
    let high = values.fold(0.0, f64::max).log10().ceil();
    (low, high.max(low + 1.0))
}

fn inside(panel: &Panel) -> String {
    let across = decades(panel.points.iter().map(|p| p.0));
    let up = decades(panel.points.iter().map(|p| p.1));
    let share = |value: f64, (low, high): (f64, f64)| (value.log10() - low) / (high - low);
    let x = |size: f64| LEFT + (WIDTH - LEFT - RIGHT) * share(size, across);
    let y = |value: f64| HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * share(value, up);
    let mut svg = format!("<text class=\"h\" x=\"{LEFT}\" y=\"20\">{}</text>", panel.name);
    for decade in across.0 as i32..=across.1 as i32 {
        let size = 10f64.powi(decade);
        let (x, end) = (x(size), HEIGHT - BOTTOM);
        write!(svg, "<path class=\"g\" d=\"M{x:.0} {TOP}V{end}\"/>").unwrap();
        let at = end + 18.0;
        write!(svg, "<text x=\"{x:.0}\" y=\"{at}\" text-anchor=\"middle\">{size}</text>").unwrap();
    }
    for decade in up.0 as i32..=up.1 as i32 {
        let value = 10f64.powi(decade);
        let (y, right) = (y(value), WIDTH - RIGHT);
        write!(svg, "<path class=\"g\" d=\"M{LEFT} {y:.0}H{right}\"/>").unwrap();
        let (at, y) = (LEFT - 8.0, y + 4.0);
        write!(svg, "<text x=\"{at}\" y=\"{y:.0}\" text-anchor=\"end\">{value}</text>").unwrap();
    }
    let places: Vec<String> =
        panel.points.iter().map(|p| format!("{:.1} {:.1}", x(p.0), y(p.1))).collect();
    write!(svg, "<path class=\"l\" d=\"M{}\"/>", places.join("L")).unwrap();
    for &(size, value) in &panel.points {
        let (x, y) = (x(size), y(value));
        let said = if value < 100.0 { format!("{value:.1}") } else { format!("{value:.0}") };
        write!(svg, "<circle class=\"p\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\"/>").unwrap();
        let above = y - 8.0;
        write!(svg, "<text x=\"{x:.0}\" y=\"{above:.0}\" text-anchor=\"middle\">{said}</text>")
            .unwrap();
    }
    svg
}
