//! A layer of one value that knows where it is from.

use figment::{
    Error, Metadata, Profile, Provider,
    util::nest,
    value::{Dict, Map, Value},
};

/// The value of a key, as a variable of the environment has it.
pub(super) struct Variable<'a> {
    /// Of the variable.
    pub(super) name: &'a str,
    /// Written `section.key`.
    pub(super) key: &'a str,
    pub(super) value: Value,
}

impl Provider for Variable<'_> {
    fn metadata(&self) -> Metadata {
        Metadata::named("environment").source(self.name)
    }

    fn data(&self) -> Result<Map<Profile, Dict>, Error> {
        let nested = nest(self.key, self.value.clone()).into_dict();
        // Without the value, which may be a secret.
        let dict = nested.ok_or_else(|| Error::from(format!("{} names no key", self.name)))?;
        Ok(Profile::Default.collect(dict))
    }
}
