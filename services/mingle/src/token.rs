//! A user's token for whoever operates Mingle, to call it as that user would.

use std::{collections::BTreeMap, io::Write as _, time::Duration};

use anyhow::Context as _;
use clap::Args;
use mingle_gateway::Grant;
use mingle_runtime::{
    Role,
    config::{Config, Mode, Problems, parse_span},
    lifecycle::DataConfig,
};
use mingle_store::clock::{Clock as _, SystemClock};

use crate::{backends::Plan, secrets};

/// A token cannot be taken back: it is for an hour of looking, or a day at most.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);
const SHORTEST: Duration = Duration::from_secs(1);

/// What the token is to say.
#[derive(Args)]
pub(crate) struct Asked {
    /// The user's id, 1 to 128 bytes.
    user: String,
    /// What the user may do beyond their own things, such as admin.
    #[arg(long = "role", value_name = "R")]
    roles: Vec<String>,
    /// An attribute that matchmaking trusts, such as gender=female.
    #[arg(long = "attr", value_name = "K=V", value_parser = attribute)]
    attributes: Vec<(String, String)>,
    /// How long it is good for, such as 30m, 1h30m or 12h; 24h at most.
    #[arg(long, default_value = "1h", value_parser = ttl)]
    ttl: Duration,
}

fn attribute(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=').filter(|(key, _)| !key.is_empty());
    let (key, value) = pair.ok_or("is not KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}

fn ttl(text: &str) -> Result<Duration, String> {
    let span = parse_span(text).map_err(|error| error.to_string())?;
    let span = Duration::from_micros(span);
    if (SHORTEST..=LONGEST).contains(&span) {
        Ok(span)
    } else {
        Err("must be 1s to 24h".to_owned())
    }
}

/// Prints it, and nothing else, on standard output.
///
/// **Errors**: [`Problems`] where there is no secret, or the token would not be
/// taken.
pub(crate) fn run(config: Config, asked: Asked) -> anyhow::Result<()> {
    let config: mingle_gateway::Config = with_secret(config)?.read()?;
    let expires_ms = SystemClock.now_ms() + i64::try_from(asked.ttl.as_millis())?;
    let mut problems = Problems::default();
    let mut attrs = BTreeMap::new();
    for (key, value) in asked.attributes {
        if attrs.insert(key.clone(), value).is_some() {
            problems.add("--attr", format_args!("{key} is said twice"));
        }
    }
    problems.into_result()?;
    let grant = Grant { user: asked.user, roles: asked.roles, attrs, expires_s: expires_ms / 1000 };
    let token = mingle_gateway::sign(&config, grant)?;
    writeln!(std::io::stdout().lock(), "{token}").context("standard output")
}

/// `config` with what a gateway of it would sign with.
fn with_secret(config: Config) -> anyhow::Result<Config> {
    // No user's token needs it, and whoever has the other may not have it.
    let config = secrets::assumed(config, |key| key == secrets::SESSION);
    if !config.is_empty(secrets::JWT) {
        return Ok(config);
    }
    // Processes that share their backends share their secrets, and none is made up.
    Plan::of(&config, &Role::ALL)?;
    let data: DataConfig = config.read()?;
    let config = secrets::kept(config, &data.dir).context("the secret that development keeps")?;
    let mut problems = Problems::default();
    if config.mode() == Mode::Development && config.is_empty(secrets::JWT) {
        let why = format_args!(
            "is missing: set MINGLE_JWT_SECRET as for the gateways, or MINGLE_DATA__DIR to the \
             folder of a mingle that made up its own; {} has none",
            data.dir.display()
        );
        problems.add(secrets::JWT, why);
    }
    problems.into_result()?;
    Ok(config)
}
