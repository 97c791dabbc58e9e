//! What the rate control saw and decided, as columns of one value a second: what a chart wants of ten minutes. The
//! decisions themselves are megabytes of it.

use std::time::{Duration, Instant};

use serde::Serialize;
use utoipa::ToSchema;

use super::wire::{fine_millis, millis, rfc3339};
use crate::supervisor::recorder::Step;

/// What was measured and decided for an output: the newest of each second, the oldest first. `null` is where nothing
/// was measured: all lists are of one length.
#[derive(Serialize, ToSchema)]
pub struct Series {
    output: String,
    /// When the first second began; `null` where there is none.
    time: Option<String>,
    /// From one value to the next.
    step_ms: u64,
    target_bps: Vec<Option<u64>>,
    encoded_bps: Vec<Option<u64>>,
    /// Of all that arrived since the value before.
    acked_bps: Vec<Option<u64>>,
    estimate_bps: Vec<Option<u64>>,
    rtt_ms: Vec<Option<f64>>,
    send_buffer_ms: Vec<Option<u64>>,
}

impl Series {
    /// Of these steps, the oldest first.
    pub fn new(output: String, steps: &[(Instant, Step)]) -> Series {
        let points: Vec<Point> = steps.iter().map(|(at, step)| Point::new(*at, step)).collect();
        let rows = rows(&points);
        let column = |value: fn(&Row) -> Option<u64>| rows.iter().map(|row| value(row.as_ref()?)).collect();
        Series {
            output,
            time: points.first().and_then(|first| rfc3339(first.at)),
            step_ms: millis(STEP),
            target_bps: column(|row| Some(row.point.target_bps)),
            encoded_bps: column(|row| row.point.encoded_bps),
            acked_bps: column(|row| row.acked_bps),
            estimate_bps: column(|row| row.point.estimate_bps),
            rtt_ms: rows.iter().map(|row| Some(fine_millis(row.as_ref()?.point.rtt))).collect(),
            send_buffer_ms: column(|row| Some(row.point.send_buffer_ms)),
        }
    }
}

/// What is told of a step.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Point {
    at: Instant,
    target_bps: u64,
    encoded_bps: Option<u64>,
    estimate_bps: Option<u64>,
    arrived_bytes: u64,
    rtt: Duration,
    send_buffer_ms: u64,
}

impl Point {
    fn new(at: Instant, Step { sample, decision }: &Step) -> Self {
        Point {
            at,
            target_bps: decision.target.as_bps(),
            encoded_bps: sample.encoded.map(|encoded| encoded.as_bps()),
            estimate_bps: decision.estimate.map(|estimate| estimate.as_bps()),
            arrived_bytes: sample.arrived.get(),
            rtt: sample.rtt,
            send_buffer_ms: millis(sample.oldest),
        }
    }
}

/// The newest point of a second.
#[derive(Debug, PartialEq)]
struct Row {
    point: Point,
    acked_bps: Option<u64>,
}

/// One for each second from the first point on.
fn rows(points: &[Point]) -> Vec<Option<Row>> {
    let Some(first) = points.first() else { return Vec::new() };
    let mut rows: Vec<Option<Row>> = Vec::new();
    let mut before = None;
    for (index, point) in points.iter().enumerate() {
        let second = |point: &Point| point.at.duration_since(first.at).as_millis() / STEP.as_millis();
        if points.get(index + 1).is_some_and(|next| second(next) == second(point)) {
            continue;
        }
        let acked_bps = before.and_then(|before| rate_between(before, point));
        let second = usize::try_from(second(point)).unwrap_or(usize::MAX);
        rows.resize_with(second, || None); // those in which there was nothing
        rows.push(Some(Row { point: *point, acked_bps }));
        before = Some(point);
    }
    rows
}

/// `None` where too much lies between, or a new connection, which counts anew.
fn rate_between(before: &Point, after: &Point) -> Option<u64> {
    let between = after.at.duration_since(before.at);
    let bits = after.arrived_bytes.checked_sub(before.arrived_bytes)?.checked_mul(8)?;
    let is_near = !between.is_zero() && between < STEP * 3;
    is_near.then(|| u64::try_from(u128::from(bits) * 1_000_000 / between.as_micros()).ok())?
}

/// Ten minutes have 600 values, and charts no more pixels for them.
const STEP: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    fn point(start: Instant, ms: u64, arrived_bytes: u64) -> Point {
        Point {
            at: start + Duration::from_millis(ms),
            target_bps: ms,
            encoded_bps: None,
            estimate_bps: None,
            arrived_bytes,
            rtt: Duration::ZERO,
            send_buffer_ms: 0,
        }
    }

    #[test]
    fn each_second_has_its_newest_value_and_the_rate_since_the_one_before() {
        let start = Instant::now();
        let points: Vec<Point> = (0..=150).map(|step| point(start, step * 20, step * 2500)).collect();
        let rows = rows(&points);
        let told: Vec<_> = rows.iter().flatten().map(|row| (row.point.target_bps, row.acked_bps)).collect();
        let mbps = Some(1_000_000);
        assert_eq!(told, [(980, None), (1980, mbps), (2980, mbps), (3000, mbps)]);
    }

    #[test]
    fn seconds_without_a_value_are_there_and_a_new_connection_has_no_rate_yet() {
        let start = Instant::now();
        let points = [(0, 0), (1000, 1000), (9000, 2000), (10_000, 100), (11_000, 350)]
            .map(|(ms, arrived)| point(start, ms, arrived));
        let told: Vec<_> = rows(&points).iter().map(|row| row.as_ref().map(|row| row.acked_bps)).collect();
        let none = None::<Option<u64>>;
        let mut expected = vec![none; 12];
        for (second, rate) in [(0, None), (1, Some(8000)), (9, None), (10, None), (11, Some(2000))] {
            expected[second] = Some(rate);
        }
        assert_eq!(told, expected);
        assert_eq!(rows(&[]), []);
    }
}
