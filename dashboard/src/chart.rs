//! Charts of traffic over the last 24 hours, one bar per hour.

use maud::{Markup, html};
use trailpad_common::admin::Traffic;
use trailpad_common::timestamp::Timestamp;
use trailpad_common::traffic::Counts;

use crate::layout::{counted, grouped};

const HOURS: usize = 24;
const HOUR_MICROS: i64 = 3_600_000_000;
// Sizes are in units of the SVG's view box.
const BAR: f64 = 10.0;
const GAP: f64 = 2.0;
const HEIGHT: f64 = 100.0;

/// Counts of each of the last 24 hours, oldest first. The last hour is still running.
pub struct Day {
    hours: [Counts; HOURS],
}

/// Start of the oldest hour in the chart.
pub fn chart_start(now: Timestamp) -> Timestamp {
    let hour = now.unix_micros().div_euclid(HOUR_MICROS);
    Timestamp::from_unix_micros((hour - HOURS as i64 + 1) * HOUR_MICROS)
}

impl Day {
    /// Sums traffic by hour, and ignores traffic outside the 24 hours.
    pub fn of<'t>(traffic: impl Iterator<Item = &'t Traffic>, now: Timestamp) -> Self {
        let began = chart_start(now).unix_micros();
        let mut hours = [Counts::default(); HOURS];
        for part in traffic {
            let hour = (part.span.unix_micros() - began).div_euclid(HOUR_MICROS);
            if let Some(hour) = usize::try_from(hour).ok().and_then(|hour| hours.get_mut(hour)) {
                *hour += part.counts;
            }
        }
        Self { hours }
    }

    pub fn total(&self) -> Counts {
        self.hours.iter().fold(Counts::default(), |mut sum, hour| {
            sum += *hour;
            sum
        })
    }

    /// A sparkline of the accepted and refused counts.
    pub fn small(&self) -> Markup {
        let Counts { accepted, refused, .. } = self.total();
        let label = format!(
            "Last 24 hours: {}, {} refused",
            counted(accepted.into(), "activity accepted", "activities accepted"),
            grouped(refused.into())
        );
        self.bars("chart small", &label, |hour| {
            [("accepted", hour.accepted), ("refused", hour.refused)]
        })
    }

    /// Counts of the gateways: accepted and refused.
    pub fn answered(&self) -> Markup {
        self.large("Accepted and refused in each of the last 24 hours", |hour| {
            [("accepted", hour.accepted), ("refused", hour.refused)]
        })
    }

    /// Counts of the workers: stored and dead.
    pub fn settled(&self) -> Markup {
        self.large("Stored and dead in each of the last 24 hours", |hour| {
            [("stored", hour.stored), ("dead", hour.dead)]
        })
    }

    /// A chart with captions for its vertical and horizontal scale.
    fn large(&self, label: &str, of: impl Fn(&Counts) -> [(&'static str, u32); 2]) -> Markup {
        let sum = |hour: &Counts| of(hour).iter().map(|(_, count)| u64::from(*count)).sum::<u64>();
        let most = self.hours.iter().map(sum).max().unwrap_or(0);
        html! {
            p.most.soft.small { "at most " (grouped(most)) " an hour" }
            (self.bars("chart", label, of))
            div.ends.soft.small aria-hidden="true" { span { "24 hours ago" } span { "now" } }
        }
    }

    fn bars(
        &self,
        class: &str,
        label: &str,
        of: impl Fn(&Counts) -> [(&'static str, u32); 2],
    ) -> Markup {
        let sum = |hour: &Counts| of(hour).iter().map(|(_, count)| f64::from(*count)).sum::<f64>();
        let most = self.hours.iter().map(sum).fold(1.0, f64::max);
        let width = HOURS as f64 * (BAR + GAP) - GAP;
        html! {
            svg class=(class) viewBox=(format!("0 0 {width} {HEIGHT}")) preserveAspectRatio="none"
                role="img" aria-label=(label) {
                @for (at, hour) in self.hours.iter().enumerate() {
                    @let x = at as f64 * (BAR + GAP);
                    rect.axis x=(x) y=(HEIGHT - 2.0) width=(BAR) height="2" {}
                    @let [(lower, low), (upper, high)] = of(hour);
                    @let low_height = f64::from(low) / most * HEIGHT;
                    @let high_height = f64::from(high) / most * HEIGHT;
                    @if low > 0 {
                        rect class=(lower) x=(x) y=(format!("{:.1}", HEIGHT - low_height)) width=(BAR)
                            height=(format!("{low_height:.1}")) { title { (grouped(low.into())) " " (lower) } }
                    }
                    @if high > 0 {
                        rect class=(upper) x=(x) y=(format!("{:.1}", HEIGHT - low_height - high_height))
                            width=(BAR) height=(format!("{high_height:.1}")) {
                            title { (grouped(high.into())) " " (upper) }
                        }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use trailpad_common::id::WebhookId;

    use super::*;

    #[test]
    fn traffic_is_summed_by_hour_and_older_traffic_is_ignored() {
        let at =
            |text: &str| Timestamp::parse(text).expect("the timestamp should be valid").timestamp;
        let now = at("2024-08-03T11:35:00Z");
        let webhook_id = WebhookId::generate();
        let counts = Counts { accepted: 2, ..Counts::default() };
        let traffic = [
            "2024-08-03T11:00:00Z",
            "2024-08-03T11:30:00Z",
            "2024-08-02T12:00:00Z",
            "2024-08-02T11:50:00Z",
        ]
        .map(|span| Traffic { webhook_id, span: at(span), counts });
        let day = Day::of(traffic.iter(), now);
        assert_eq!(day.hours[HOURS - 1].accepted, 4);
        assert_eq!(day.hours[0].accepted, 2);
        assert_eq!(day.total().accepted, 6);
        assert_eq!(day.answered().0.matches("class=\"accepted\"").count(), 2);
    }
}
