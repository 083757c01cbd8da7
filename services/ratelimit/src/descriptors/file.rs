//! A file of rules as it is written.

use serde::{Deserialize, de::IgnoredAny};
use serde_saphyr::Spanned;

use crate::config::{Algorithm, Outage};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Root {
    pub(super) domain: Spanned<String>,
    #[serde(default)]
    pub(super) descriptors: Vec<Descriptor>,
    #[serde(default)]
    pub(super) all_or_nothing: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Descriptor {
    pub(super) key: Spanned<String>,
    pub(super) value: Option<String>,
    pub(super) rate_limit: Option<RateLimit>,
    pub(super) descriptors: Option<Vec<Descriptor>>,
    #[serde(default)]
    pub(super) shadow_mode: bool,
    #[serde(default)]
    pub(super) quota_mode: bool,
    #[serde(default)]
    pub(super) share_threshold: bool,
    #[serde(rename = "detailed_metric")]
    _detailed_metric: Option<bool>,
    #[serde(rename = "value_to_metric")]
    _value_to_metric: Option<bool>,
    #[serde(rename = "metadata")]
    _metadata: Option<IgnoredAny>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RateLimit {
    pub(super) unit: Option<Spanned<String>>,
    pub(super) requests_per_unit: Option<Spanned<u64>>,
    #[serde(default)]
    pub(super) unlimited: bool,
    pub(super) name: Option<String>,
    #[serde(default)]
    pub(super) replaces: Vec<Spanned<Replaced>>,
    pub(super) unit_multiplier: Option<Spanned<u64>>,
    pub(super) window: Option<Spanned<String>>,
    pub(super) algorithm: Option<Spanned<Algorithm>>,
    pub(super) burst: Option<Spanned<u64>>,
    pub(super) outage: Option<Outage>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Replaced {
    pub(super) name: String,
}
