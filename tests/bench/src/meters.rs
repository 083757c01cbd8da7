//! Whose CPU time is counted, each by its own name.

use std::time::Duration;

use crate::{
    proc,
    report::{Report, Side},
};

/// Processes whose CPU time is counted together.
pub(crate) struct Meter {
    /// What they are.
    pub(crate) name: &'static str,
    /// Of the system that is measured, not of a server that it uses.
    pub(crate) counted: bool,
    /// Each counts with its children.
    pub(crate) pids: Vec<u32>,
}

impl Meter {
    /// CPU time so far.
    pub(crate) fn read(&self) -> anyhow::Result<Duration> {
        self.pids.iter().map(|pid| proc::family_cpu(*pid)).sum()
    }
}

/// All that work for a load.
pub(crate) struct Meters(pub(crate) Vec<Meter>);

impl Meters {
    /// CPU time of each so far.
    pub(crate) fn read(&self) -> anyhow::Result<Vec<Duration>> {
        self.0.iter().map(Meter::read).collect()
    }

    /// CPU time of all of the system so far.
    pub(crate) fn total(&self) -> anyhow::Result<Duration> {
        self.0.iter().filter(|meter| meter.counted).map(Meter::read).sum()
    }

    /// Resident memory of all of the system now, in bytes.
    pub(crate) fn resident(&self) -> anyhow::Result<u64> {
        let counted = self.0.iter().filter(|meter| meter.counted);
        counted.flat_map(|meter| &meter.pids).map(|pid| proc::resident(*pid)).sum()
    }

    /// Adds what each of `count` cost since `before`: `figure` for all of
    /// the system, and if there are several, one for each.
    pub(crate) fn report(
        &self,
        report: &mut Report,
        side: Side,
        before: &[Duration],
        (figure, count): (&str, u64),
    ) -> anyhow::Result<()> {
        let used = self.read()?.into_iter().zip(before);
        let used = used.map(|(after, before)| after.saturating_sub(*before).as_secs_f64());
        let each: Vec<f64> = used.map(|seconds| seconds * 1e6 / count as f64).collect();
        let all = self.0.iter().zip(&each).filter(|(meter, _)| meter.counted);
        report.add(figure, "µs", side, all.map(|(_, each)| each).sum());
        if each.len() > 1 {
            for (meter, each) in self.0.iter().zip(each) {
                report.add(&of(figure, meter.name), "µs", side, each);
            }
        }
        Ok(())
    }
}

/// The figure of one meter.
pub(crate) fn of(figure: &str, meter: &str) -> String {
    format!("{figure}, {meter}")
}

#[cfg(test)]
mod tests {
    use std::{process, time::Duration};

    use super::{Meter, Meters};
    use crate::report::{Report, Side};

    #[test]
    fn what_others_use_is_told_and_not_added() {
        let meter = |name, counted| Meter { name, counted, pids: vec![process::id()] };
        let meters = Meters(vec![meter("chat", true), meter("postgres", false)]);
        let mut report = Report::new("chat", "nothing");
        meters.report(&mut report, Side::Ours, &[Duration::ZERO; 2], ("CPU", 1)).unwrap();
        let json = report.json();
        let names: Vec<_> =
            json["figures"].as_array().unwrap().iter().map(|figure| &figure["name"]).collect();
        assert_eq!(names, ["CPU", "CPU, chat", "CPU, postgres"]);
        let median = |at: usize| json["figures"][at]["mingle"]["median"].as_f64().unwrap();
        assert!((median(0) - median(1)).abs() < 1e-9);
    }
}
