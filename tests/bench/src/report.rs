//! What was measured, as a table and as JSON.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::stats::{Spread, ratio};

/// Whose figure it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// The server under test.
    Ours,
    /// What stands beside it.
    Floor,
}

struct Figure {
    name: String,
    unit: &'static str,
    ours: Vec<f64>,
    floor: Vec<f64>,
}

/// Settings and figures, each figure with one value per round.
pub(crate) struct Report {
    what: &'static str,
    floor: &'static str,
    settings: Vec<(&'static str, String)>,
    figures: Vec<Figure>,
}

impl Report {
    /// Of the measurement `what`, whose floor is `floor`.
    pub(crate) fn new(what: &'static str, floor: &'static str) -> Self {
        Self { what, floor, settings: Vec::new(), figures: Vec::new() }
    }

    /// Tells how it was measured.
    pub(crate) fn set(&mut self, name: &'static str, value: impl ToString) {
        self.settings.push((name, value.to_string()));
    }

    /// Adds the value of one round.
    pub(crate) fn add(&mut self, name: &str, unit: &'static str, side: Side, value: f64) {
        let at = self.figures.iter().position(|figure| figure.name == name).unwrap_or_else(|| {
            let (ours, floor) = (Vec::new(), Vec::new());
            self.figures.push(Figure { name: name.to_owned(), unit, ours, floor });
            self.figures.len() - 1
        });
        let figure = &mut self.figures[at];
        match side {
            Side::Ours => figure.ours.push(value),
            Side::Floor => figure.floor.push(value),
        }
    }

    /// For programs: every value, in the order of the rounds.
    pub(crate) fn json(&self) -> Value {
        let settings: serde_json::Map<_, _> =
            self.settings.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
        let figures = self.figures.iter().map(|figure| {
            json!({
                "name": figure.name,
                "unit": figure.unit,
                "mingle": side_json(&figure.ours),
                "floor": side_json(&figure.floor),
                "times": spread_json(ratio(&figure.ours, &figure.floor)),
            })
        });
        json!({
            "what": self.what,
            "floor": self.floor,
            "settings": settings,
            "figures": figures.collect::<Vec<_>>(),
        })
    }

    /// For people.
    pub(crate) fn text(&self) -> String {
        let mut text = format!("mingle-bench {}\nfloor: {}\n", self.what, self.floor);
        for (name, value) in &self.settings {
            let _ = writeln!(text, "{name}: {value}");
        }
        let head = ["", "unit", "mingle (min–max)", "floor (min–max)", "times"];
        let mut rows = vec![head.map(str::to_owned)];
        rows.extend(self.figures.iter().map(|figure| {
            let times = ratio(&figure.ours, &figure.floor);
            [
                figure.name.clone(),
                figure.unit.to_owned(),
                spread_text(&figure.ours),
                spread_text(&figure.floor),
                times.map_or_else(String::new, |times| number(times.median)),
            ]
        }));
        text.push('\n');
        text.push_str(&table(&rows));
        text
    }
}

fn side_json(values: &[f64]) -> Value {
    let mut side = spread_json(Spread::of(values));
    if let Value::Object(side) = &mut side {
        side.insert("rounds".to_owned(), json!(values));
    }
    side
}

fn spread_json(spread: Option<Spread>) -> Value {
    spread.map_or(
        Value::Null,
        |Spread { median, min, max }| json!({"median": median, "min": min, "max": max}),
    )
}

fn spread_text(values: &[f64]) -> String {
    Spread::of(values).map_or_else(String::new, |Spread { median, min, max }| {
        format!("{} ({}–{})", number(median), number(min), number(max))
    })
}

/// Three digits that mean something, or all before the point.
fn number(value: f64) -> String {
    let decimals = match value.abs() {
        _ if value.fract() == 0.0 => 0,
        size if size >= 100.0 => 0,
        size if size >= 10.0 => 1,
        _ => 2,
    };
    format!("{value:.decimals$}")
}

/// Columns as wide as their widest cell.
fn table(rows: &[[String; 5]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths: Vec<_> = (0..5).map(|column| width(column).unwrap_or(0)).collect();
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{Report, Side, number};

    fn report() -> Report {
        let mut report = Report::new("rpc", "bare tonic");
        report.set("cores", 2);
        for (ours, floor) in [(30.0, 10.0), (44.0, 20.0), (36.0, 12.0)] {
            report.add("CPU", "µs", Side::Ours, ours);
            report.add("CPU", "µs", Side::Floor, floor);
        }
        report.add("matched", "ms", Side::Ours, 1234.4);
        report
    }

    #[test]
    fn the_table_lines_up_and_names_what_is_missing_by_nothing() {
        let expected = "\
mingle-bench rpc
floor: bare tonic
cores: 2

         unit  mingle (min–max)    floor (min–max)     times
CPU      µs    36 (30–44)          12 (10–20)          3
matched  ms    1234 (1234–1234)
";
        let squeeze = |text: &str| {
            text.lines()
                .map(|l| l.split_whitespace().collect::<Vec<_>>().join(" "))
                .collect::<Vec<_>>()
        };
        let text = report().text();
        assert_eq!(squeeze(&text), squeeze(expected));
        let column =
            |line: &str| line.chars().position(|c| c == 'µ' || c == 'm' && line.contains("1234"));
        let lines: Vec<_> = text.lines().collect();
        assert!(column(lines[5]).is_some());
        assert_eq!(lines[4].find("mingle"), lines[5].replace('µ', "u").find("36"));
    }

    #[test]
    fn json_holds_every_round() {
        let json = report().json();
        assert_eq!(json["settings"]["cores"], "2");
        assert_eq!(json["figures"][0]["mingle"]["median"], 36.0);
        assert_eq!(json["figures"][0]["mingle"]["rounds"][1], 44.0);
        assert_eq!(json["figures"][0]["times"]["median"], 3.0);
        assert!(json["figures"][1]["floor"].is_null());
    }

    #[test]
    fn numbers_have_three_digits() {
        let numbers = [1234.56, 123.4, 12.34, 1.234, 0.0].map(number);
        assert_eq!(numbers, ["1235", "123", "12.3", "1.23", "0"]);
    }
}
