//! The ids of the bodies and those that the service made.

use mingle_matchmaking::domain::{Match, Ticket};
use parking_lot::Mutex;

/// The tickets that were made, oldest first. What was never made keeps its id.
#[derive(Default)]
pub(super) struct Names(Mutex<Vec<Name>>);

/// A ticket as the body calls it and as the service does.
struct Name {
    name: String,
    ticket_id: String,
    owner: String,
    pool: String,
}

impl Names {
    /// The service made `ticket_id` for what the body calls `ticket`.
    pub(super) fn learn(&self, ticket: &Ticket, ticket_id: &str) {
        self.0.lock().push(Name {
            name: ticket.ticket_id.clone(),
            ticket_id: ticket_id.to_owned(),
            owner: ticket.user_id.clone(),
            pool: ticket.pool.clone(),
        });
    }

    pub(super) fn knows(&self, ticket_id: &str) -> bool {
        self.0.lock().iter().any(|it| it.ticket_id == ticket_id)
    }

    /// The service's id of what the body calls `name`.
    pub(super) fn id(&self, name: &str) -> String {
        let names = self.0.lock();
        names.iter().find(|it| it.name == name).map_or(name, |it| &it.ticket_id).to_owned()
    }

    /// The body's name of what the service calls `ticket_id`.
    pub(super) fn name(&self, ticket_id: &str) -> String {
        let names = self.0.lock();
        let known = names.iter().find(|it| it.ticket_id == ticket_id);
        known.map_or(ticket_id, |it| &it.name).to_owned()
    }

    pub(super) fn owner(&self, ticket_id: &str) -> String {
        let names = self.0.lock();
        let known = names.iter().find(|it| it.ticket_id == ticket_id);
        known.map_or("nobody", |it| &it.owner).to_owned()
    }

    /// The newest ticket of the same owner and pool.
    pub(super) fn previous(&self, of: &Ticket) -> Option<String> {
        let names = self.0.lock();
        let mut newest = names.iter().rev();
        let found = newest.find(|it| it.owner == of.user_id && it.pool == of.pool);
        found.map(|it| it.ticket_id.clone())
    }

    pub(super) fn ids(&self, names: &[String]) -> Vec<String> {
        names.iter().map(|name| self.id(name)).collect()
    }

    /// As the body calls them.
    pub(super) fn named(&self, ids: Vec<String>) -> Vec<String> {
        ids.iter().map(|id| self.name(id)).collect()
    }

    /// As the body calls it and those of its match.
    pub(super) fn ticket(&self, ticket: Ticket) -> Ticket {
        let of = ticket.of.map(|of| self.of(of));
        Ticket { ticket_id: self.name(&ticket.ticket_id), of, ..ticket }
    }

    pub(super) fn of(&self, of: Match) -> Match {
        Match { ticket_ids: self.named(of.ticket_ids), ..of }
    }
}
