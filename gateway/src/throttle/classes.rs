//! The classes: which requests, on which terms, charged to whom.

use mingle_client::ratelimit::{Policy, Terms};
use mingle_runtime::config::Problems;
use serde::Deserialize;

use super::Asker;
use crate::fault::Fault;

/// `[gateway.classes]`: the terms of each class.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Classes {
    /// Development tokens, and tokens that are refused.
    pub auth: Terms,
    /// The HTTP API.
    pub api: Terms,
    /// What operators ask.
    pub admin: Terms,
}

impl Classes {
    /// The limits that requests are charged to, as this process knows them.
    pub fn policies(&self) -> Vec<Policy> {
        Class::ALL.into_iter().map(|class| self.policy(class)).collect()
    }

    pub(crate) fn validate(&self, problems: &mut Problems) {
        for class in Class::ALL {
            for (key, why) in self.terms(class).faults() {
                problems.add(&format!("gateway.classes.{}.{key}", class.name()), why);
            }
        }
    }

    /// The limit of a class.
    pub(super) fn policy(&self, class: Class) -> Policy {
        self.terms(class).of(class.name())
    }

    fn terms(&self, class: Class) -> Terms {
        match class {
            Class::Auth => self.auth,
            Class::Api => self.api,
            Class::Admin => self.admin,
        }
    }
}

/// A class of requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    Auth,
    Api,
    Admin,
}

impl Class {
    pub(super) const ALL: [Self; 3] = [Self::Auth, Self::Api, Self::Admin];

    /// Of a path, whether a route is there or not; none: it is free. Probes,
    /// the page and upgrades are.
    pub(super) fn of(path: &str) -> Option<Self> {
        let below = |folder: &str| path.strip_prefix(folder).is_some_and(|rest| !rest.is_empty());
        if path == "/api/dev/token" {
            Some(Self::Auth)
        } else if path == "/api/health" || path.starts_with("/api/health/") {
            None
        } else if below("/admin/") || below("/api/admin/") {
            Some(Self::Admin)
        } else {
            below("/api/").then_some(Self::Api)
        }
    }

    /// Whom to charge for a request of `asker` for `path`, if it is of this
    /// class.
    pub(super) fn charged(self, path: &str, asker: &Asker) -> Option<String> {
        let class = match (&asker.user, Self::of(path)?) {
            (Some(Err(fault)), _) if is_attempt(fault) => Self::Auth,
            (_, class) => class,
        };
        let subject = || match &asker.user {
            Some(Ok(claims)) if class != Self::Auth => format!("user/{}", claims.sub),
            _ => asker.address.subject(),
        };
        (class == self).then(subject)
    }

    fn name(self) -> &'static str {
        match self {
            Self::Auth => "auth",
            Self::Api => "api",
            Self::Admin => "admin",
        }
    }
}

/// True when a refused token may be a guess. One that has expired was good:
/// its owner is to hear that, however many are behind one address.
pub(super) fn is_attempt(fault: &Fault) -> bool {
    fault.reason != "TOKEN_EXPIRED"
}

#[cfg(test)]
mod tests {
    use super::Class;

    #[test]
    fn a_path_is_of_one_class_or_free() {
        for (path, class) in [
            ("/api/rooms", Some(Class::Api)),
            ("/api/nothing", Some(Class::Api)),
            ("/api/healthy", Some(Class::Api)),
            ("/api/dev/token", Some(Class::Auth)),
            ("/api/admin/redis/metrics", Some(Class::Admin)),
            ("/api/admin/cache/clear", Some(Class::Admin)),
            ("/admin/stats", Some(Class::Admin)),
            ("/admin", None),
            ("/admin/", None),
            ("/api/health", None),
            ("/api/health/redis", None),
            ("/ws", None),
            ("/livez", None),
            ("/", None),
            ("/mingle.js", None),
        ] {
            assert_eq!(Class::of(path), class, "{path}");
        }
    }
}
