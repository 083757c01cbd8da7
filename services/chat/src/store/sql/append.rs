//! The one write path: a batch of wishes in one transaction.

use std::{collections::BTreeSet, sync::Arc};

use async_trait::async_trait;
use mingle_store::{
    Database, Result,
    clock::Clock,
    commit::Batch,
    sql,
    sql::{Row, Sql, Tx},
};
use tracing::{Instrument as _, Span};
use uuid::Uuid;

use super::{
    records::{LogRecord, MemberRecord, RoomRecord, TargetRecord, is_over, json},
    rows,
};
use crate::{
    domain::{Account, Intent, Ledger, Verdict, Wish},
    store::Announce,
};

/// A wish on its way into a batch.
pub(super) struct Item {
    pub(super) wish: Wish,
    pub(super) traceparent: String,
    /// Of the one append; linked with that of the shared commit.
    pub(super) span: Span,
}

pub(super) struct Append {
    pub(super) database: Database,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) announce: Arc<dyn Announce>,
    pub(super) max_members: u32,
}

#[async_trait]
impl Batch for Append {
    type Item = Item;
    type Outcome = Verdict;

    async fn run(&self, items: &[Item]) -> Result<Vec<Verdict>> {
        let span = tracing::info_span!("chat.commit", items = items.len());
        for item in items {
            item.span.follows_from(&span);
        }
        // At most 256: exact as f64.
        #[expect(clippy::cast_precision_loss, reason = "a batch has at most 256 items")]
        metrics::histogram!("mingle_chat_append_items").record(items.len() as f64);
        let verdicts = self.commit(items).instrument(span).await?;
        self.tell(items, &verdicts);
        Ok(verdicts)
    }
}

impl Append {
    /// Announces what was committed, in the order of the log.
    fn tell(&self, items: &[Item], verdicts: &[Verdict]) {
        // `pause`: not before the end of the process; `return`: never.
        fail::fail_point!("chat-committed", |_| ());
        for (item, verdict) in items.iter().zip(verdicts) {
            match verdict {
                Ok(written) if !written.events.is_empty() => {
                    self.announce.announce(&written.events, &item.traceparent);
                }
                _ => {}
            }
        }
    }

    async fn commit(&self, items: &[Item]) -> Result<Vec<Verdict>> {
        let mut tx = self.database.begin().await?;
        let mut ledger = self.read(&mut tx, items).await?;
        let now = self.clock.now_ms();
        let mut mint = || Uuid::now_v7().to_string();
        let verdicts = items.iter().map(|item| ledger.apply(&item.wish, now, &mut mint)).collect();
        write(&mut tx, &ledger).await?;
        tx.commit().await?;
        Ok(verdicts)
    }

    /// The rooms first, then what the wishes name in them: under the lock of
    /// the rooms nothing of it can change before the commit.
    async fn read(&self, tx: &mut Tx, items: &[Item]) -> Result<Ledger> {
        let wanted = Wanted::of(items);
        let mut ledger = Ledger::new(self.max_members);
        let rooms = sql!("rooms").bind(json(&wanted.rooms)?).bind(json(&wanted.external)?);
        for row in rooms.all(&mut *tx).await? {
            ledger.open(rows::room(&row)?);
        }
        let sql = sql!("speakers");
        for row in fetch(tx, sql, &wanted.speakers).await? {
            if let Some(account) = account(&mut ledger, &row)? {
                add_speaker(account, &row)?;
            }
        }
        read_members(tx, &wanted, &mut ledger).await?;
        let sql = sql!("targets");
        for row in fetch(tx, sql, &wanted.targets).await? {
            if let Some(account) = account(&mut ledger, &row)? {
                account.add_target(rows::target(&row)?);
            }
        }
        let sql = sql!("counts");
        for row in fetch(tx, sql, &wanted.counts).await? {
            if let Some(account) = account(&mut ledger, &row)? {
                let message_no = rows::unsigned(&row, "message_no")?;
                account.add_count(rows::unsigned(&row, "seq")?, message_no);
            }
        }
        Ok(ledger)
    }
}

/// Adds the membership and the used key of a row, each if it is there.
fn add_speaker(account: &mut Account, row: &Row) -> Result<()> {
    if let Some(membership) = rows::membership_if_any(row)? {
        account.add_member(membership);
    }
    if let Some(sender) = row.get("actor")? {
        account.add_key(sender, row.get("client_msg_id")?, rows::first(row)?);
    }
    Ok(())
}

/// A creation that names a room by external id may find another one than
/// its own id; the creator's place in that one is read as well.
async fn read_members(tx: &mut Tx, wanted: &Wanted<'_>, ledger: &mut Ledger) -> Result<()> {
    let found: Vec<_> = ledger
        .accounts()
        .filter_map(|account| Some((account.room.external_id.as_deref()?, account)))
        .flat_map(|(external, account)| {
            let creators = wanted.creators.iter().filter(move |(id, _)| *id == external);
            creators.map(move |(_, creator)| (account.room.room_id.clone(), *creator))
        })
        .collect();
    let named = wanted.members.iter().map(|(room, user)| ((*room).to_owned(), *user));
    let all: BTreeSet<_> = named.chain(found).collect();
    for row in fetch(tx, sql!("memberships"), &all).await? {
        if let Some(account) = account(ledger, &row)? {
            account.add_member(rows::membership(&row)?);
        }
    }
    Ok(())
}

/// Runs a statement over what is wanted; nothing wanted costs nothing.
async fn fetch<T: serde::Serialize>(
    tx: &mut Tx,
    sql: Sql,
    wanted: &BTreeSet<T>,
) -> Result<Vec<Row>> {
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    sql.bind(json(wanted)?).all(tx).await
}

fn account<'a>(ledger: &'a mut Ledger, row: &Row) -> Result<Option<&'a mut Account>> {
    Ok(ledger.account(row.get("room_id")?))
}

/// What the wishes of a batch name.
#[derive(Default)]
struct Wanted<'a> {
    rooms: BTreeSet<&'a str>,
    external: BTreeSet<&'a str>,
    creators: BTreeSet<(&'a str, &'a str)>,
    speakers: BTreeSet<(&'a str, &'a str, &'a str)>,
    members: BTreeSet<(&'a str, &'a str)>,
    targets: BTreeSet<(&'a str, &'a str)>,
    counts: BTreeSet<(&'a str, u64)>,
}

impl<'a> Wanted<'a> {
    fn of(items: &'a [Item]) -> Self {
        let mut wanted = Self::default();
        for Item { wish, .. } in items {
            wanted.add(&wish.room_id, &wish.intent);
        }
        wanted
    }

    fn add(&mut self, room: &'a str, intent: &'a Intent) {
        self.rooms.insert(room);
        match intent {
            Intent::Create(new) => {
                if let Some(external_id) = &new.external_id {
                    self.external.insert(external_id);
                    self.creators.insert((external_id, &new.creator));
                }
            }
            Intent::Message(new) => {
                self.speakers.insert((room, &new.sender, &new.client_msg_id));
            }
            Intent::Edit { actor, message_id, .. } | Intent::Delete { actor, message_id } => {
                self.members.insert((room, actor));
                self.targets.insert((room, message_id));
            }
            Intent::Read { actor, seq } => {
                self.members.insert((room, actor));
                // Beyond what the database counts no room has a row.
                if i64::try_from(*seq).is_ok() {
                    self.counts.insert((room, *seq));
                }
            }
            Intent::Join { actor } | Intent::Leave { actor } | Intent::Close { actor } => {
                self.members.insert((room, actor));
            }
            Intent::CloseIdle { .. } => {}
        }
    }
}

/// Writes what the batch made of its rooms: most batches in one statement.
async fn write(tx: &mut Tx, ledger: &Ledger) -> Result<()> {
    let accounts: Vec<_> = ledger.accounts().collect();
    let changed = accounts.iter().copied().filter(|account| account.is_changed());
    let rooms: Vec<_> = changed.clone().map(RoomRecord::from).collect();
    let members: Vec<_> = accounts
        .iter()
        .flat_map(|account| account.changed_members().map(|m| MemberRecord::new(account, m)))
        .collect();
    let entries = changed.clone().flat_map(|account| account.entries());
    let entries = entries.map(LogRecord::new).collect::<Result<Vec<_>>>()?;
    if !(rooms.is_empty() && members.is_empty()) {
        let query = sql!("put").bind(json(&rooms)?).bind(json(&members)?).bind(json(&entries)?);
        query.execute(&mut *tx).await?;
    }
    let over = changed.filter(|account| is_over(account));
    let over: Vec<_> = over.map(|account| account.room.room_id.as_str()).collect();
    update(tx, sql!("over"), &over).await?;
    let targets: Vec<_> = accounts
        .iter()
        .flat_map(|account| account.changed_targets().map(move |target| (*account, target)))
        .collect();
    let records: Vec<_> =
        targets.iter().map(|(account, target)| TargetRecord::new(account, target)).collect();
    update(tx, sql!("rewrite"), &records).await?;
    let gone = targets.iter().filter(|(_, target)| target.deleted);
    let gone: Vec<_> =
        gone.map(|(account, target)| (&account.room.room_id, target.position.seq)).collect();
    update(tx, sql!("erase"), &gone).await
}

async fn update<T: serde::Serialize>(tx: &mut Tx, sql: Sql, records: &[T]) -> Result<()> {
    if !records.is_empty() {
        sql.bind(json(&records)?).execute(tx).await?;
    }
    Ok(())
}
