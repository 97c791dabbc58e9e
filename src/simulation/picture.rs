//! A run as one picture: SVG, written by hand, with nothing from elsewhere in it.
//!
//! ```text
//!   title, figures
//!   rates: capacity (area), target and delivered (lines)
//!   the rule that made the target (band)
//!   queue delay (area, logarithmic), the latency (line)
//!   what was given up, row by row
//!   time
//! ```

use std::fmt::Write;
use std::time::Duration;

use super::recorder::{BIN, Bin};
use super::{Outcome, Scenario};
use crate::rate::Rule;
use crate::units::ByteCount;

/// Draws it.
pub fn draw(scenario: &Scenario, outcome: &Outcome) -> String {
    let bins = &outcome.timeline.bins;
    let seconds = scenario.duration.as_secs_f64().max(BIN.as_secs_f64());
    let mut drawing = Drawing { svg: String::new(), seconds };
    drawing.begin();
    drawing.title(scenario, outcome);
    drawing.time_axis();
    drawing.rates(scenario, bins);
    drawing.rules(bins);
    drawing.delays(scenario, bins);
    drawing.losses(bins);
    drawing.svg.push_str("</svg>\n");
    drawing.svg
}

struct Drawing {
    svg: String,
    seconds: f64,
}

/// A way of giving something up.
struct Row {
    name: &'static str,
    unit: &'static str,
    colour: &'static str,
    count: fn(&Bin) -> u32,
}

/// From top to bottom.
#[derive(Clone, Copy)]
struct Strip {
    top: f64,
    height: f64,
}

impl Strip {
    fn bottom(self) -> f64 {
        self.top + self.height
    }

    /// Where a share of the height from the bottom is.
    fn at(self, share: f64) -> f64 {
        self.bottom() - self.height * share.clamp(0.0, 1.0)
    }
}

impl Drawing {
    /// Appends one element. Writing to a string cannot fail.
    fn add(&mut self, element: std::fmt::Arguments<'_>) {
        self.svg.write_fmt(element).expect("a string takes everything");
        self.svg.push('\n');
    }

    fn begin(&mut self) {
        self.add(format_args!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{HEIGHT}\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
             font-family=\"sans-serif\" font-size=\"13\" fill=\"#333\">\n\
             <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#fff\"/>"
        ));
    }

    fn x(&self, bin: usize) -> f64 {
        LEFT + (bin as f64 * BIN.as_secs_f64() / self.seconds).min(1.0) * PLOT_WIDTH
    }

    fn text(&mut self, x: f64, y: f64, anchor: &str, style: &str, text: &str) {
        self.add(format_args!(
            "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" {style}>{}</text>",
            escaped(text)
        ));
    }

    fn title(&mut self, scenario: &Scenario, outcome: &Outcome) {
        let score = &outcome.score;
        let link = scenario.link.to_string();
        let trace = if scenario.link.trace.is_some() { "recorded capacity, " } else { "" };
        self.text(
            LEFT,
            26.0,
            "start",
            "font-size=\"17\" font-weight=\"bold\"",
            &format!("Link: {trace}{link}"),
        );
        let figures = format!(
            "{:.1} % of the usable {} kbit/s used · queue {} ms (95 % of packets) · lost {} % · late {} % at {} ms latency · \
             frozen {} s of {}",
            100.0 * score.utilisation,
            score.usable_kbps,
            score.queue_delay_ms.p95,
            score.lost_percent,
            score.late_percent,
            scenario.latency.as_millis(),
            score.freeze_s,
            self.seconds
        );
        self.text(LEFT, 47.0, "start", "", &figures);
    }

    fn time_axis(&mut self) {
        let step = nice(self.seconds / 12.0);
        let mut second = 0.0;
        while second <= self.seconds + 1e-9 {
            let x = LEFT + second / self.seconds * PLOT_WIDTH;
            self.add(format_args!(
                "<path d=\"M{x:.1} {:.1}V{:.1}\" stroke=\"#e4e4e4\" fill=\"none\"/>",
                RATES.top,
                LOSSES.bottom()
            ));
            self.text(x, LOSSES.bottom() + 18.0, "middle", "", &format!("{second}"));
            second += step;
        }
        self.text(LEFT + PLOT_WIDTH / 2.0, LOSSES.bottom() + 38.0, "middle", "", "time in seconds");
    }

    fn rates(&mut self, scenario: &Scenario, bins: &[Bin]) {
        let kbps = |bytes: ByteCount| (bytes / BIN).as_bps() as f64 / 1000.0;
        let delivered: Vec<f64> = (0..bins.len())
            .map(|index| {
                let recent = &bins[index.saturating_sub(SMOOTHED - 1)..=index];
                recent.iter().map(|bin| kbps(bin.delivered)).sum::<f64>() / recent.len() as f64
            })
            .collect();
        let bound = scenario.settings.bounds.max.as_bps() as f64 / 1000.0;
        let widest = bins.iter().filter_map(|bin| bin.capacity).map(kbps).fold(0.0, f64::max);
        let shown = delivered.iter().copied().fold(bound.min(widest.max(1.0)) * 1.25, f64::max);
        let top = if widest == 0.0 { bound * 1.25 } else { shown };
        self.scale(RATES, "kbit/s", &ticks(top), |value| value / top);
        let capacity = bins.iter().map(|bin| bin.capacity.map_or(top, kbps));
        self.area(RATES, capacity.map(|rate| rate / top), CAPACITY);
        let target = bins.iter().map(|bin| bin.target.as_bps() as f64 / 1000.0 / top);
        self.line(RATES, delivered.iter().map(|rate| rate / top), DELIVERED, "1.6");
        self.line(RATES, target, TARGET, "1.4");
        self.legend(
            RATES,
            &[
                ("capacity of the link", CAPACITY),
                ("target of the encoder", TARGET),
                ("delivered", DELIVERED),
            ],
        );
    }

    fn rules(&mut self, bins: &[Bin]) {
        self.text(LEFT - 8.0, RULES.bottom() - 1.0, "end", "font-size=\"11\"", "rule");
        let mut seen: Vec<Rule> = Vec::new();
        let mut begin = 0;
        for index in 1..=bins.len() {
            let rule = bins[begin].rule;
            if bins.get(index).is_some_and(|bin| bin.rule == rule) {
                continue;
            }
            if let Some(rule) = rule {
                self.block(RULES, begin, index, colour(rule));
                if !seen.contains(&rule) {
                    seen.push(rule);
                }
            }
            begin = index;
        }
        let names: Vec<(&str, &str)> = seen.iter().map(|rule| (rule.as_str(), colour(*rule))).collect();
        self.key_line(LEFT, RULES.bottom() + 16.0, &names);
    }

    fn delays(&mut self, scenario: &Scenario, bins: &[Bin]) {
        // From 1 ms to 10 s, a decade each quarter of the height.
        let share = |delay: Duration| (delay.as_secs_f64() * 1000.0).max(1.0).log10() / 4.0;
        let labels = ["1 ms", "10 ms", "100 ms", "1 s", "10 s"];
        for (decade, label) in labels.iter().enumerate() {
            self.grid(DELAYS, decade as f64 / 4.0, label);
        }
        self.axis_name(DELAYS, "wait (logarithmic)");
        self.area(DELAYS, bins.iter().map(|bin| share(bin.queue)), QUEUE);
        self.line(DELAYS, bins.iter().map(|bin| share(bin.oldest)), OLDEST, "1");
        let y = DELAYS.at(share(scenario.latency));
        self.add(format_args!(
            "<path d=\"M{LEFT} {y:.1}H{:.1}\" stroke=\"{LATENCY}\" stroke-width=\"1.5\" stroke-dasharray=\"7 4\" fill=\"none\"/>",
            LEFT + PLOT_WIDTH
        ));
        self.legend(
            DELAYS,
            &[
                ("queue in the link", QUEUE),
                ("oldest data not acknowledged", OLDEST),
                ("limit: the latency", LATENCY),
            ],
        );
    }

    /// One row for each way of giving something up.
    fn losses(&mut self, bins: &[Bin]) {
        let rows: [Row; 6] = [
            Row { name: "not encoded", unit: "pictures", colour: "#7a8fa6", count: |bin| bin.thinned },
            Row { name: "left out", unit: "pictures", colour: "#c77700", count: |bin| bin.left_out },
            Row { name: "queue full", unit: "packets", colour: "#8e44ad", count: |bin| bin.queue_drops },
            Row { name: "late", unit: "packets", colour: "#d6604d", count: |bin| bin.late },
            Row { name: "lost", unit: "packets", colour: "#b2001d", count: |bin| bin.lost },
            Row {
                name: "frozen", unit: "× 0.1 s", colour: "#222222", count: |bin| u32::from(bin.is_frozen)
            },
        ];
        let height = LOSSES.height / rows.len() as f64;
        for (row, Row { name, unit, colour, count }) in rows.iter().enumerate() {
            let strip = Strip { top: LOSSES.top + row as f64 * height, height: height - 3.0 };
            self.text(LEFT - 8.0, strip.bottom() - 1.0, "end", "font-size=\"11\"", name);
            self.add(format_args!(
                "<rect x=\"{LEFT}\" y=\"{:.1}\" width=\"{PLOT_WIDTH}\" height=\"{:.1}\" fill=\"#f4f4f4\"/>",
                strip.top, strip.height
            ));
            let mut begin = None;
            for index in 0..=bins.len() {
                let is_there = bins.get(index).is_some_and(|bin| count(bin) > 0);
                match (begin, is_there) {
                    (None, true) => begin = Some(index),
                    (Some(from), false) => {
                        self.block(strip, from, index, colour);
                        begin = None;
                    }
                    (None, false) | (Some(_), true) => {}
                }
            }
            let total: u64 = bins.iter().map(|bin| u64::from(count(bin))).sum();
            self.text(
                LEFT + PLOT_WIDTH + 6.0,
                strip.bottom() - 1.0,
                "start",
                "font-size=\"11\"",
                &format!("{total} {unit}"),
            );
        }
    }

    fn scale(&mut self, strip: Strip, name: &str, values: &[f64], share: impl Fn(f64) -> f64) {
        for value in values {
            self.grid(strip, share(*value), &value.to_string());
        }
        self.axis_name(strip, name);
    }

    fn grid(&mut self, strip: Strip, share: f64, label: &str) {
        let y = strip.at(share);
        self.add(format_args!("<path d=\"M{LEFT} {y:.1}h{PLOT_WIDTH}\" stroke=\"#e4e4e4\" fill=\"none\"/>"));
        self.text(LEFT - 8.0, y + 4.0, "end", "", label);
    }

    fn axis_name(&mut self, strip: Strip, name: &str) {
        let y = strip.top + strip.height / 2.0;
        self.add(format_args!(
            "<text transform=\"translate(18 {y:.1}) rotate(-90)\" text-anchor=\"middle\">{name}</text>"
        ));
    }

    fn area(&mut self, strip: Strip, shares: impl Iterator<Item = f64>, colour: &str) {
        let bottom = strip.bottom();
        let mut path = format!("M{LEFT} {bottom:.1}");
        for (index, share) in shares.enumerate() {
            self.step(&mut path, index, strip.at(share), "L");
        }
        self.add(format_args!("<path d=\"{path}V{bottom:.1}Z\" fill=\"{colour}\"/>"));
    }

    fn line(&mut self, strip: Strip, shares: impl Iterator<Item = f64>, colour: &str, width: &str) {
        let mut path = String::new();
        for (index, share) in shares.enumerate() {
            self.step(&mut path, index, strip.at(share), if index == 0 { "M" } else { "L" });
        }
        self.add(format_args!(
            "<path d=\"{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"{width}\" stroke-linejoin=\"round\"/>"
        ));
    }

    /// Goes on to the bin at this height, and through it.
    fn step(&self, path: &mut String, bin: usize, y: f64, command: &str) {
        let (x, end) = (self.x(bin), self.x(bin + 1));
        write!(path, "{command}{x:.1} {y:.1}H{end:.1}").expect("a string takes everything");
    }

    fn block(&mut self, strip: Strip, from: usize, to: usize, colour: &str) {
        let (x, width) = (self.x(from), (self.x(to) - self.x(from)).max(1.5));
        self.add(format_args!(
            "<rect x=\"{x:.1}\" y=\"{:.1}\" width=\"{width:.1}\" height=\"{:.1}\" fill=\"{colour}\"/>",
            strip.top, strip.height
        ));
    }

    /// Above a strip, at its right.
    fn legend(&mut self, strip: Strip, entries: &[(&str, &str)]) {
        let width: f64 = entries.iter().map(|(name, _)| key_width(name)).sum();
        self.key_line(LEFT + PLOT_WIDTH - width, strip.top - 7.0, entries);
    }

    fn key_line(&mut self, left: f64, y: f64, entries: &[(&str, &str)]) {
        let mut x = left;
        for (name, colour) in entries {
            self.add(format_args!(
                "<rect x=\"{x:.1}\" y=\"{:.1}\" width=\"12\" height=\"10\" fill=\"{colour}\"/>",
                y - 9.0
            ));
            self.text(x + 16.0, y, "start", "font-size=\"12\"", name);
            x += key_width(name);
        }
    }
}

/// About as wide as it is drawn, which is up to the viewer's fonts.
fn key_width(name: &str) -> f64 {
    36.0 + 7.2 * name.len() as f64
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// Round values from zero up to `top`, about six.
fn ticks(top: f64) -> Vec<f64> {
    let step = nice(top / 6.0);
    (0..).map(|index| f64::from(index) * step).take_while(|value| *value <= top).collect()
}

/// The next of 1, 2, 5, 10, … that is not smaller.
fn nice(value: f64) -> f64 {
    let decade = 10_f64.powf(value.max(f64::MIN_POSITIVE).log10().floor()).max(1.0);
    [1.0, 2.0, 5.0, 10.0].map(|step| step * decade).into_iter().find(|step| *step >= value).unwrap_or(decade)
}

fn colour(rule: Rule) -> &'static str {
    match rule {
        Rule::Fixed => "#bbbbbb",
        Rule::Grow => "#74c476",
        Rule::Probe => "#c7e9c0",
        Rule::Unproven => "#9ecae1",
        Rule::Maximum => "#2e8b57",
        Rule::Measure => "#fdd49e",
        Rule::Drain => "#fd8d3c",
        Rule::Compete => "#9e9ac8",
        Rule::Refill => "#3182bd",
        Rule::Stall => "#cb181d",
    }
}

const WIDTH: f64 = 1240.0;
const HEIGHT: f64 = 716.0;
const LEFT: f64 = 92.0;
const PLOT_WIDTH: f64 = 1062.0;
const RATES: Strip = Strip { top: 80.0, height: 250.0 };
const RULES: Strip = Strip { top: 338.0, height: 12.0 };
const DELAYS: Strip = Strip { top: 398.0, height: 150.0 };
const LOSSES: Strip = Strip { top: 562.0, height: 96.0 };

/// Bins over which the delivered rate is averaged: half a second, to see the rate and not the pictures.
const SMOOTHED: usize = 5;

const CAPACITY: &str = "#dbe9f6";
const TARGET: &str = "#d95f02";
const DELIVERED: &str = "#1b5e9b";
const QUEUE: &str = "#b8a9d9";
const OLDEST: &str = "#8c8c8c";
const LATENCY: &str = "#b2001d";
