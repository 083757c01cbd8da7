//! Who calls, and what the query says.

use std::{str::FromStr, sync::Arc};

use axum::extract::{FromRequestParts, Path};
use http::request::Parts;
use mingle_proto::errors::v1::Reason;
use mingle_runtime::status::Kind;

use crate::{auth::token::Claims, fault::Fault, gateway::Gateway, throttle::Asker};

/// The caller of a route, by `Authorization: Bearer`.
pub(super) struct Caller(pub Claims);

impl Caller {
    /// The user id, as requests carry it.
    pub(super) fn actor(&self) -> String {
        self.0.sub.clone()
    }
}

impl FromRequestParts<Arc<Gateway>> for Caller {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<Gateway>) -> Result<Self, Fault> {
        match parts.extensions.get::<Asker>().and_then(|asker| asker.user.clone()) {
            Some(user) => user.map(Self),
            None => {
                let message = "send the user's token as Authorization: Bearer";
                let fault = Fault::new(Kind::Unauthenticated, Reason::TokenInvalid, message);
                Err(fault.at("authorization"))
            }
        }
    }
}

/// What a token's `roles` must hold for the routes of operators.
const ADMIN: &str = "admin";

/// The caller of a route of operators.
pub(super) struct Admin(Claims);

impl Admin {
    /// The user id, as requests carry it.
    pub(super) fn actor(self) -> String {
        self.0.sub
    }
}

impl FromRequestParts<Arc<Gateway>> for Admin {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, gateway: &Arc<Gateway>) -> Result<Self, Fault> {
        let Caller(claims) = Caller::from_request_parts(parts, gateway).await?;
        if claims.roles.iter().any(|role| role == ADMIN) {
            return Ok(Self(claims));
        }
        let message = "this is for users whose token has the role admin";
        Err(Fault::new(Kind::Denied, Reason::NotAllowed, message).at("authorization"))
    }
}

/// The one parameter of a path.
pub(crate) struct Id(pub(crate) String);

impl FromRequestParts<Arc<Gateway>> for Id {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, gateway: &Arc<Gateway>) -> Result<Self, Fault> {
        let Path(id) = Path::from_request_parts(parts, gateway).await.map_err(|_| {
            Fault::invalid(Reason::Malformed, "path", "the path is not percent-encoded UTF-8")
        })?;
        Ok(Self(id))
    }
}

/// A query, each parameter read by name; unknown ones are refused.
pub(super) struct Query(Vec<(String, String)>);

impl FromRequestParts<Arc<Gateway>> for Query {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<Gateway>) -> Result<Self, Fault> {
        let query = parts.uri.query().unwrap_or_default().as_bytes();
        Ok(Self(url::form_urlencoded::parse(query).into_owned().collect()))
    }
}

impl Query {
    /// Fails when a parameter is none of `names`.
    pub(super) fn only(self, names: &[&str]) -> Result<Self, Fault> {
        match self.0.iter().find(|(name, _)| !names.contains(&name.as_str())) {
            None => Ok(self),
            Some((name, _)) => {
                let message = format!("the query takes {}", names.join(", "));
                Err(Fault::invalid(Reason::UnknownField, name, message))
            }
        }
    }

    /// Every value of a parameter.
    pub(super) fn all(&self, name: &str) -> Vec<String> {
        let named = self.0.iter().filter(|(found, _)| found == name);
        named.map(|(_, value)| value.clone()).collect()
    }

    /// The value of a parameter.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    /// The value of a parameter as a number; 0 when it is absent.
    pub(super) fn number<T: FromStr + Default>(&self, name: &str) -> Result<T, Fault> {
        let Some(text) = self.text(name) else { return Ok(T::default()) };
        text.parse().map_err(|_| {
            Fault::invalid(Reason::Malformed, name, format!("{name} is not a whole number"))
        })
    }

    /// A duration such as `25s` or `500ms`, in milliseconds; 0 when absent.
    pub(super) fn duration_ms(&self, name: &str) -> Result<u32, Fault> {
        let Some(text) = self.text(name) else { return Ok(0) };
        let parsed = match (text.strip_suffix("ms"), text.strip_suffix('s')) {
            (Some(ms), _) => ms.parse().ok(),
            (None, Some(seconds)) => seconds.parse::<u32>().ok().and_then(|s| s.checked_mul(1000)),
            (None, None) => None,
        };
        parsed.ok_or_else(|| {
            let message = format!("{name} is not a duration such as 25s or 500ms");
            Fault::invalid(Reason::Malformed, name, message)
        })
    }
}
