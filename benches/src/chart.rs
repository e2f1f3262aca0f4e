//! Grouped bars as SVG. Readable on light and dark paper: the picture has no background of its own,
//! and its ink follows the reader's preference.

use std::fmt::Write as _;

use crate::statistics::Spread;

/// A picture of one or more adjacent panels with the same series.
#[derive(Debug, Clone)]
pub struct Chart {
    /// What it shows.
    pub title: String,
    /// How it was measured, in one line.
    pub subtitle: String,
    /// Names of the bars of each group; ours comes first.
    pub series: Vec<String>,
    /// The panels from left to right.
    pub panels: Vec<Panel>,
}

/// One pair of axes.
#[derive(Debug, Clone)]
pub struct Panel {
    /// What the length of a bar means, with its unit.
    pub quantity: String,
    /// Whether short or long bars are good.
    pub better: &'static str,
    /// How the groups differ.
    pub group_axis: String,
    /// Name of a group, and one value for each series.
    pub groups: Vec<(String, Vec<Spread>)>,
}

const PANEL_WIDTH: f64 = 440.0;
const PANEL_HEIGHT: f64 = 300.0;
const PLOT_LEFT: f64 = 64.0;
const PLOT_TOP: f64 = 120.0;
const WIDEST_BAR: f64 = 30.0;
const BOTTOM: f64 = 64.0;
/// Height of a text line, and approximate width of a character of it and of the title.
const LINE: f64 = 16.0;
const CHARACTER: f64 = 6.6;
const TITLE_CHARACTER: f64 = 11.0;

/// Distinguishable with every kind of colour blindness (after Okabe and Ito); ours is the strong
/// colour.
const COLOURS: [&str; 5] = ["#0072b2", "#56b4e9", "#e69f00", "#009e73", "#999999"];

const STYLE: &str = "text{font-family:system-ui,sans-serif;font-size:12px;fill:#24292f}\
.title{font-size:17px;font-weight:600}.value{font-size:11px;text-anchor:middle}.middle{text-anchor:middle}\
.end{text-anchor:end}.faint{fill:#57606a}.grid{stroke:#d0d7de}.axis,.whisker{stroke:#57606a}\
@media(prefers-color-scheme:dark){text{fill:#e6edf3}.faint{fill:#9198a1}.grid{stroke:#3d444d}\
.axis,.whisker{stroke:#9198a1}}";

impl Chart {
    /// The picture. Bars are medians, whiskers quartiles.
    pub fn write(&self) -> String {
        let title_width = 32.0 + TITLE_CHARACTER * self.title.chars().count() as f64;
        let width = (PANEL_WIDTH * self.panels.len() as f64).max(title_width);
        let subtitle = lines_of(&self.subtitle, ((width - 32.0) / CHARACTER) as usize);
        // Everything below the subtitle moves down for its further lines.
        let down = LINE * subtitle.len().saturating_sub(1) as f64;
        let height = PLOT_TOP + PANEL_HEIGHT + BOTTOM + down;
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" \
             height=\"{height}\" role=\"img\">\n<title>{title}</title>\n<style>{STYLE}</style>\n\
             <text class=\"title\" x=\"16\" y=\"28\">{title}</text>\n",
            title = escaped(&self.title),
        );
        for (number, line) in subtitle.iter().enumerate() {
            let y = 48.0 + LINE * number as f64;
            let line = escaped(line);
            let _ = writeln!(
                svg,
                "<text class=\"faint\" x=\"16\" y=\"{y}\">{line}</text>"
            );
        }
        let _ = writeln!(svg, "<g transform=\"translate(0,{down})\">");
        self.write_legend(&mut svg);
        for (number, panel) in self.panels.iter().enumerate() {
            panel.write(number as f64 * PANEL_WIDTH, &mut svg);
        }
        svg.push_str("</g>\n</svg>\n");
        svg
    }

    fn write_legend(&self, svg: &mut String) {
        let mut x = 16.0;
        for (name, colour) in self.series.iter().zip(COLOURS.iter().cycle()) {
            let _ = writeln!(
                svg,
                "<rect x=\"{x}\" y=\"62\" width=\"12\" height=\"12\" rx=\"2\" fill=\"{colour}\"/>\
                 <text x=\"{}\" y=\"72\">{}</text>",
                x + 18.0,
                escaped(name)
            );
            // Approximate width of the text.
            x += 42.0 + CHARACTER * name.chars().count() as f64;
        }
    }
}

/// The text in lines of at most this many characters, as far as its words permit.
fn lines_of(text: &str, most: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= most => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

impl Panel {
    fn write(&self, left: f64, svg: &mut String) {
        let plot_left = left + PLOT_LEFT;
        let plot_width = PANEL_WIDTH - PLOT_LEFT - 16.0;
        let bottom = PLOT_TOP + PANEL_HEIGHT;
        let values = self.groups.iter().flat_map(|(_, values)| values);
        let highest = values
            .map(|value| value.upper.max(value.median))
            .fold(0.0, f64::max);
        let step = tick_step(highest);
        // One step more than needed leaves room for the number above the longest bar.
        let top_value = step * (highest * 1.06 / step).ceil().max(1.0);
        let y_of = |value: f64| bottom - value / top_value * PANEL_HEIGHT;

        let _ = writeln!(
            svg,
            "<text x=\"{}\" y=\"{}\">{} <tspan class=\"faint\">({} is better)</tspan></text>",
            left + 16.0,
            PLOT_TOP - 18.0,
            escaped(&self.quantity),
            self.better
        );
        for tick in 0..=(top_value / step).round() as usize {
            let value = tick as f64 * step;
            let y = y_of(value);
            let class = if tick == 0 { "axis" } else { "grid" };
            let _ = writeln!(
                svg,
                "<line class=\"{class}\" x1=\"{plot_left:.1}\" x2=\"{:.1}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>\
                 <text class=\"end faint\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
                plot_left + plot_width,
                plot_left - 8.0,
                y + 4.0,
                number(value)
            );
        }
        let group_width = plot_width / self.groups.len().max(1) as f64;
        for (place, (name, values)) in self.groups.iter().enumerate() {
            let centre = plot_left + (place as f64 + 0.5) * group_width;
            let slot = (group_width * 0.88 / values.len() as f64).min(WIDEST_BAR + 6.0);
            let first = centre - slot * (values.len() - 1) as f64 / 2.0;
            for (bar, value) in values.iter().enumerate() {
                let x = first + bar as f64 * slot;
                write_bar(
                    x,
                    slot - 5.0,
                    value,
                    COLOURS[bar % COLOURS.len()],
                    y_of,
                    svg,
                );
            }
            let _ = writeln!(
                svg,
                "<text class=\"middle\" x=\"{centre:.1}\" y=\"{}\">{}</text>",
                bottom + 20.0,
                escaped(name)
            );
        }
        let _ = writeln!(
            svg,
            "<text class=\"middle faint\" x=\"{:.1}\" y=\"{}\">{}</text>",
            plot_left + plot_width / 2.0,
            bottom + 42.0,
            escaped(&self.group_axis)
        );
    }
}

fn write_bar(
    x: f64,
    width: f64,
    value: &Spread,
    colour: &str,
    y_of: impl Fn(f64) -> f64,
    svg: &mut String,
) {
    let (base, top) = (y_of(0.0), y_of(value.median));
    let _ = writeln!(
        svg,
        "<rect x=\"{:.1}\" y=\"{top:.1}\" width=\"{width:.1}\" height=\"{:.1}\" rx=\"1.5\" fill=\"{colour}\"/>\
         <line class=\"whisker\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{:.1}\" y2=\"{:.1}\"/>\
         <text class=\"value\" x=\"{x:.1}\" y=\"{:.1}\">{}</text>",
        x - width / 2.0,
        base - top,
        y_of(value.lower),
        y_of(value.upper),
        y_of(value.upper.max(value.median)) - 5.0,
        number(value.median)
    );
}

/// 1, 2 or 5 times a power of ten, for four to ten steps.
fn tick_step(highest: f64) -> f64 {
    let rough = highest.max(f64::MIN_POSITIVE) / 5.0;
    let power = 10_f64.powf(rough.log10().floor());
    [1.0, 2.0, 5.0, 10.0]
        .map(|factor| factor * power)
        .into_iter()
        .find(|&step| step >= rough)
        .unwrap_or(power)
}

/// With as many digits as fit on a bar.
fn number(value: f64) -> String {
    match value {
        value if value >= 10_000.0 => format!("{:.0}k", value / 1000.0),
        value if value >= 1000.0 => format!("{:.1}k", value / 1000.0),
        value if value >= 100.0 || value == value.trunc() => format!("{value:.0}"),
        value if value >= 10.0 => format!("{value:.1}"),
        value => format!("{value:.2}"),
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_numbers() {
        assert_eq!(tick_step(10.0), 2.0);
        assert_eq!(tick_step(9.0), 2.0);
        assert_eq!(tick_step(430.0), 100.0);
        assert!((tick_step(0.07) - 0.02).abs() < 1e-9);
    }

    #[test]
    fn a_chart_has_a_bar_for_each_value_inside_its_axes() {
        let spread = |median: f64| Spread {
            lower: median * 0.9,
            median,
            upper: median * 1.1,
        };
        let chart = Chart {
            title: "a < b".into(),
            subtitle: "once".into(),
            series: vec!["cpm".into(), "other".into()],
            panels: vec![Panel {
                quantity: "µs".into(),
                better: "less",
                group_axis: "entries".into(),
                groups: vec![("10".into(), vec![spread(3.0), spread(30.0)])],
            }],
        };
        let svg = chart.write();
        assert_eq!(svg.matches("class=\"whisker\"").count(), 2);
        assert!(svg.contains("<title>a &lt; b</title>"));
        let tops = svg.split("class=\"value\"").skip(1).map(|rest| {
            let y = rest.split("y=\"").nth(1).and_then(|y| y.split('"').next());
            y.and_then(|y| y.parse::<f64>().ok())
                .expect("each value has a place")
        });
        assert!(
            tops.into_iter()
                .all(|y| (PLOT_TOP - 5.0..PLOT_TOP + PANEL_HEIGHT).contains(&y))
        );
    }
}
