//! `google.protobuf.Timestamp` whose JSON is the form every browser and the
//! protocol's examples use: UTC, milliseconds, `Z`.
//!
//! pbjson-types renders `+00:00` and drops empty fractions, which is valid
//! RFC 3339 but not canonical proto3 JSON.

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _, ser::Error as _};

/// A moment in UTC, at nanosecond resolution.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, ::prost::Message)]
pub struct Timestamp {
    /// Seconds since 1970-01-01T00:00:00Z.
    #[prost(int64, tag = "1")]
    pub seconds: i64,
    /// 0 to 999,999,999, counted forward also before 1970.
    #[prost(int32, tag = "2")]
    pub nanos: i32,
}

impl Timestamp {
    /// From milliseconds since 1970.
    pub const fn from_millis(ms: i64) -> Self {
        Self { seconds: ms.div_euclid(1000), nanos: (ms.rem_euclid(1000) * 1_000_000) as i32 }
    }

    /// Milliseconds since 1970, saturating.
    pub const fn millis(&self) -> i64 {
        self.seconds.saturating_mul(1000).saturating_add(self.nanos as i64 / 1_000_000)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let nanos = u32::try_from(self.nanos).map_err(S::Error::custom)?;
        let at = DateTime::<Utc>::from_timestamp(self.seconds, nanos)
            .ok_or_else(|| S::Error::custom("timestamp out of range"))?;
        serializer.serialize_str(&at.to_rfc3339_opts(SecondsFormat::Millis, true))
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let at = DateTime::parse_from_rfc3339(&text).map_err(D::Error::custom)?;
        Ok(Self { seconds: at.timestamp(), nanos: at.timestamp_subsec_nanos() as i32 })
    }
}

#[cfg(test)]
mod tests {
    use super::Timestamp;

    #[test]
    fn json_is_utc_milliseconds_with_z() {
        let at = Timestamp::from_millis(1_767_225_600_000);
        let json = serde_json::to_string(&at).unwrap();
        assert_eq!(json, "\"2026-01-01T00:00:00.000Z\"");
        assert_eq!(serde_json::from_str::<Timestamp>(&json).unwrap(), at);
    }

    #[test]
    fn milliseconds_before_the_epoch_survive() {
        assert_eq!(Timestamp::from_millis(-1).millis(), -1);
        assert_eq!(Timestamp::from_millis(-1), Timestamp { seconds: -1, nanos: 999_000_000 });
    }
}
