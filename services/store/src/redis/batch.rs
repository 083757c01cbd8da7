//! Several commands at once.

use redis::Cmd;

/// Commands that are asked in one round trip of each server that has any of
/// their keys. The first argument of each is its key.
#[derive(Default)]
pub struct Batch {
    commands: Vec<Cmd>,
    /// Whether its answer is wanted, of each.
    wanted: Vec<bool>,
}

impl Batch {
    /// Without any.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a command whose answer is wanted.
    pub fn ask(&mut self, name: &str) -> &mut Cmd {
        self.add(name, true)
    }

    /// Adds a command of which only a refusal is of interest.
    pub fn tell(&mut self, name: &str) -> &mut Cmd {
        self.add(name, false)
    }

    /// True when there is nothing to ask.
    pub fn is_empty(&self) -> bool {
        self.commands.is_empty()
    }

    pub(super) fn commands(&self) -> &[Cmd] {
        &self.commands
    }

    /// Of all answers those that are wanted.
    pub(super) fn wanted<T>(&self, answers: Vec<T>) -> Vec<T> {
        let wanted = answers.into_iter().zip(&self.wanted).filter(|(_, wanted)| **wanted);
        wanted.map(|(answer, _)| answer).collect()
    }

    fn add(&mut self, name: &str, wanted: bool) -> &mut Cmd {
        let at = self.commands.len();
        self.commands.push(redis::cmd(name));
        self.wanted.push(wanted);
        &mut self.commands[at]
    }
}
