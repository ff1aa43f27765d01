//! `train.svg`: the loss and the dev figure of each step, for people.

use super::measure::DevQuality;
use std::fmt::Write as _;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 320.0;
const MARGIN: f64 = 56.0;

/// A picture of the loss of each step (left scale, smoothed over some) and of the dev figure after some
/// steps (right scale), the base's at step 0.
pub(super) fn curves(
    losses: &[f64],
    before: Option<DevQuality>,
    dev: &[(u64, DevQuality)],
) -> String {
    let steps = losses.len().max(1) as f64;
    let measured: Vec<(f64, f64)> = before
        .map(|quality| (0.0, quality.figure()))
        .into_iter()
        .chain(dev.iter().map(|(step, quality)| (*step as f64, quality.figure())))
        .collect();
    let name = before.or(dev.first().map(|(_, quality)| *quality)).unwrap_or_default().name();
    let name = format!("dev {name}");
    let smooth = smoothed(losses, (losses.len() / 100).max(1));
    let losses: Vec<(f64, f64)> = (1u32..).map(f64::from).zip(smooth).collect();
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{HEIGHT}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" \
         fill=\"white\"/>\n"
    );
    line(&mut svg, &losses, steps, "loss", "#1f6fb4", "start", MARGIN);
    line(&mut svg, &measured, steps, &name, "#c2410c", "end", WIDTH - MARGIN);
    let _ = writeln!(
        svg,
        "<text x=\"{}\" y=\"{}\" text-anchor=\"middle\">{steps} steps</text>\n</svg>",
        WIDTH / 2.0,
        HEIGHT - 16.0
    );
    svg
}

/// One curve between its least and its largest value, which are written at `side`.
fn line(
    svg: &mut String,
    points: &[(f64, f64)],
    steps: f64,
    name: &str,
    colour: &str,
    anchor: &str,
    side: f64,
) {
    if points.is_empty() {
        return;
    }
    let least = points.iter().map(|p| p.1).fold(f64::INFINITY, f64::min);
    let most = points.iter().map(|p| p.1).fold(f64::NEG_INFINITY, f64::max);
    let x = |step: f64| MARGIN + step / steps * (WIDTH - 2.0 * MARGIN);
    let room = HEIGHT - 2.0 * MARGIN;
    let y = |value: f64| HEIGHT - MARGIN - (value - least) / (most - least).max(1e-12) * room;
    let path: Vec<String> =
        points.iter().map(|(step, value)| format!("{:.1},{:.1}", x(*step), y(*value))).collect();
    let _ = writeln!(
        svg,
        "<polyline fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.5\" points=\"{}\"/>",
        path.join(" ")
    );
    for (value, at) in [(most, MARGIN - 8.0), (least, HEIGHT - MARGIN + 16.0)] {
        let _ = writeln!(
            svg,
            "<text x=\"{side}\" y=\"{at}\" text-anchor=\"{anchor}\" fill=\"{colour}\">{name} \
             {value:.4}</text>"
        );
    }
}

/// The mean of each value and the `n` before it.
fn smoothed(values: &[f64], n: usize) -> Vec<f64> {
    let mean = |end: usize| {
        let window = values.get(end.saturating_sub(n)..=end).unwrap_or_default();
        window.iter().sum::<f64>() / window.len().max(1) as f64
    };
    (0..values.len()).map(mean).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_curves_are_drawn_between_their_extremes() {
        let quality = |ndcg_10| DevQuality { ndcg_10, ..DevQuality::default() };
        let svg = curves(&[2.0, 1.0, 0.5], Some(quality(0.25)), &[(3, quality(0.75))]);
        assert_eq!(svg.matches("<polyline").count(), 2);
        assert!(svg.contains("dev nDCG@10 0.7500") && svg.contains("dev nDCG@10 0.2500"));
        // The base stands at the left and lowest, the last measurement at the right and highest.
        assert!(svg.contains("points=\"56.0,264.0 664.0,56.0\""), "{svg}");
        assert!(curves(&[], None, &[]).ends_with("</svg>\n"));
        assert_eq!(smoothed(&[1.0, 3.0, 5.0], 1), [1.0, 2.0, 4.0]);
    }
}
