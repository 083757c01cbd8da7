//! The steps of the folder in which embedded backends keep their files.

use mingle_runtime::lifecycle::DataConfig;
use mingle_store::sqlite::{Folder, OpenError};
use tokio::task::spawn_blocking;

use super::{Asked, Found, Steps, listeners::Beside};
use crate::backends::Plan;

const STEPS: &[&str] = &["data folder", "disk"];
const MIB: u64 = 1024 * 1024;
/// With less than this one should know.
const LITTLE: u64 = 1024 * MIB;
/// With less than this sends are refused soon, if not at once.
const NOTHING: u64 = 16 * MIB;

pub(super) async fn check(
    steps: Steps,
    (asked, plan): (Asked<'_>, Option<&Plan>),
    beside: &Beside,
) {
    let config: DataConfig = match (plan, asked.config.read()) {
        (Some(Plan::Embedded), Ok(config)) => config,
        (Some(Plan::Embedded), Err(_)) | (None, _) => {
            return steps.skip(STEPS, "see the configuration").await;
        }
        (Some(_), _) => return steps.skip(STEPS, "these roles keep no files").await,
    };
    let mut room = None;
    let step = async {
        let dir = config.dir.clone();
        let looked = spawn_blocking(move || Folder::look(&dir)).await;
        let Ok(looked) = looked else { return Found::skip("could not be looked at") };
        if let Ok(folder) = &looked {
            room = Some(folder.room);
        }
        folder(&config, looked, beside)
    };
    steps.run(STEPS[0], step).await;
    match room {
        Some(room) => {
            steps.run(STEPS[1], async { disk(room) }).await;
        }
        None => steps.skip(&STEPS[1..], "the data folder cannot be used").await,
    }
}

fn folder(config: &DataConfig, looked: Result<Folder, OpenError>, beside: &Beside) -> Found {
    let dir = config.dir.display();
    let error = match looked {
        Ok(folder) if folder.is_used => return Found::ok(format!("{dir} has a database")),
        Ok(folder) if folder.path == config.dir => return Found::ok(format!("{dir} is empty")),
        Ok(folder) => {
            return Found::ok(format!("{dir} would be made in {}", folder.path.display()));
        }
        Err(error) => error,
    };
    match &error {
        OpenError::Locked(_) if beside.runs => Found::warn(
            format!("{error}: the mingle that answers at these addresses, most likely"),
            "none where that is the process asked about; another one needs MINGLE_DATA__DIR",
        ),
        OpenError::Locked(_) => {
            Found::fail(error.to_string(), "end that process, or set MINGLE_DATA__DIR to another")
        }
        _ => {
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            let what = format!("{error}: {}", cause.unwrap_or_default());
            Found::fail(what, "give this user leave to write there, or set MINGLE_DATA__DIR")
        }
    }
}

fn disk(room: u64) -> Found {
    let what = format!("{} MiB are free", room / MIB);
    let remedy = "free some, or set MINGLE_DATA__DIR to a folder on another disk";
    if room < NOTHING {
        Found::fail(what, remedy)
    } else if room < LITTLE {
        Found::warn(what, remedy)
    } else {
        Found::ok(what)
    }
}
