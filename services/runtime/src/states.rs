//! The degraded states of a process, and whose they are.
//!
//! | a name such as | says |
//! |---|---|
//! | `chat` | this role is not well, as it says itself or as its callers see |
//! | `matchmaking-index` | a part of that role is not |
//! | `matchmaking-presence` | that role misses the other one: it is the other's state |
//! | `redis` | a server is away that roles of this process use |

use std::collections::{BTreeMap, BTreeSet};

use crate::Role;

/// What is known of a degraded state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fault {
    /// No instance of the role answers: it is unavailable, not degraded.
    pub is_unreached: bool,
    /// The servers that are away, and the parts that fail; empty where nobody
    /// says.
    pub causes: BTreeSet<String>,
}

/// The degraded states that hold, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct States(BTreeMap<String, Fault>);

impl States {
    /// True when all is well.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// True while `state` holds.
    pub fn contains(&self, state: &str) -> bool {
        self.0.contains_key(state)
    }

    /// What is known of `state` while it holds.
    pub fn get(&self, state: &str) -> Option<&Fault> {
        self.0.get(state)
    }

    /// The names, in their order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// The names, in their order, and what is known of each.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Fault)> {
        self.0.iter().map(|(name, fault)| (name.as_str(), fault))
    }

    /// The same by the roles that are not well, of which the process itself has
    /// `here`. A state that is of no role stays under its own name.
    #[must_use]
    pub fn by_role(&self, here: &[Role]) -> Self {
        let mut roles = Self::default();
        for (name, fault) in self.iter() {
            for (role, cause) in owners(name, here) {
                let causes = cause.into_iter().map(ToOwned::to_owned);
                let causes = causes.chain(fault.causes.iter().cloned()).collect();
                roles.add(role, Fault { causes, ..*fault });
            }
        }
        roles
    }

    /// Adds what is known of a state.
    pub(crate) fn add(&mut self, name: &str, fault: Fault) {
        let known = self.0.entry(name.to_owned()).or_default();
        known.is_unreached |= fault.is_unreached;
        known.causes.extend(fault.causes);
    }

    /// Adds what another process says of itself, of which `role` was asked.
    pub(crate) fn hear(&mut self, role: Role, said: &BTreeSet<String>) {
        let said = Self(said.iter().map(|name| (name.clone(), Fault::default())).collect());
        for (role, fault) in said.by_role(&[role]).0 {
            self.add(&role, fault);
        }
    }
}

/// Whose state it is, and the cause that it names.
fn owners<'a>(name: &'a str, here: &[Role]) -> Vec<(&'a str, Option<&'a str>)> {
    if name.parse::<Role>().is_ok() {
        return vec![(name, None)];
    }
    if let Some((role, part)) = name.split_once('-')
        && role.parse::<Role>().is_ok()
    {
        let is_others = part.parse::<Role>().is_ok();
        return vec![if is_others { (part, None) } else { (role, Some(part)) }];
    }
    let mut behind = here.iter().filter(|role| **role != Role::Gateway).peekable();
    if behind.peek().is_none() {
        return vec![(name, None)];
    }
    behind.filter(|role| role.uses(name)).map(|role| (role.name(), Some(name))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(ToString::to_string).collect()
    }

    fn heard(role: Role, names: &[&str]) -> Vec<(String, Vec<String>)> {
        let mut states = States::default();
        states.hear(role, &said(names));
        let told = |(name, fault): (&str, &Fault)| {
            (name.to_owned(), fault.causes.iter().cloned().collect())
        };
        states.iter().map(told).collect()
    }

    fn named(role: &str, causes: &[&str]) -> (String, Vec<String>) {
        (role.to_owned(), causes.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn the_role_that_is_away_is_named_and_not_who_misses_it() {
        assert_eq!(heard(Role::Chat, &["ratelimit"]), [named("ratelimit", &[])]);
        let blind = ["matchmaking-presence", "presence"];
        assert_eq!(heard(Role::Matchmaking, &blind), [named("presence", &[])]);
        let both = heard(Role::Chat, &["database", "ratelimit"]);
        assert_eq!(both, [named("chat", &["database"]), named("ratelimit", &[])]);
    }

    #[test]
    fn a_server_that_is_away_is_the_cause_for_those_who_use_it() {
        let both = ["database", "redis"];
        assert_eq!(heard(Role::Chat, &both), [named("chat", &both)]);
        assert_eq!(heard(Role::Presence, &both), [named("presence", &["redis"])]);
        assert_eq!(heard(Role::Ratelimit, &["database"]), []);
        let parts = ["matchmaking-index", "redis"];
        assert_eq!(heard(Role::Matchmaking, &parts), [named("matchmaking", &["index", "redis"])]);
        assert_eq!(heard(Role::Presence, &["new"]), [named("presence", &["new"])]);
    }

    #[test]
    fn a_process_of_all_roles_tells_by_role_too() {
        let mut states = States::default();
        states.add("database", Fault::default());
        let roles = states.by_role(&Role::ALL);
        assert_eq!(roles.names().collect::<Vec<_>>(), ["chat", "matchmaking"]);
        let alone = states.by_role(&[Role::Gateway]);
        assert_eq!(alone.names().collect::<Vec<_>>(), ["database"]);
    }
}
