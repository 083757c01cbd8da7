//! Reads, each of one snapshot.

use std::collections::HashMap;

use async_trait::async_trait;
use futures::TryStreamExt as _;
use mingle_store::{
    Result, sql,
    sql::{On, Query, Row},
};

use super::{SqlStore, records::json, rows};
use crate::{
    domain::{Bookmark, Event, Membership, Position, Verdict, View, Wish, prove},
    store::{PAGE_BYTES, Page, Replay, Store},
};

/// Numbers that a database cannot count to are beyond every row.
fn number(value: impl TryInto<i64>) -> i64 {
    value.try_into().unwrap_or(i64::MAX)
}

#[async_trait]
impl Store for SqlStore {
    async fn write(&self, wish: Wish, traceparent: String) -> Result<Verdict> {
        self.submit(wish, traceparent).await
    }

    async fn is_said(&self, room_id: &str, sender: &str, client_msg_id: &str) -> Result<bool> {
        let query = sql!("speakers").bind(json(&[(room_id, sender, client_msg_id)])?);
        let row = query.optional(&self.database).await?;
        let position = row.map(|row| row.get::<Option<i64>>("seq")).transpose()?;
        Ok(position.flatten().is_some())
    }

    async fn view(&self, room_id: &str, user: &str) -> Result<Option<View>> {
        let query = sql!("view").query();
        let row = query.bind(room_id).bind(user).optional(&self.database).await?;
        row.as_ref().map(rows::view).transpose()
    }

    async fn list(
        &self,
        user: &str,
        bookmark: Option<&Bookmark>,
        limit: usize,
    ) -> Result<Vec<View>> {
        let query = sql!("list")
            .bind(user)
            .bind(bookmark.map_or(i64::MAX, |bookmark| bookmark.last_active_at))
            .bind(bookmark.map_or("", |bookmark| &bookmark.room_id))
            .bind(number(limit));
        let found = query.all(&self.database).await?;
        found.iter().map(rows::view).collect()
    }

    async fn members(&self, room_id: &str) -> Result<Vec<Membership>> {
        let query = sql!("members").query();
        let found = query.bind(room_id).all(&self.database).await?;
        found.iter().map(rows::membership).collect()
    }

    async fn history(&self, room_id: &str, before: u64, limit: usize) -> Result<Page> {
        let query = sql!("history")
            .bind(room_id)
            .bind(number(before))
            .bind(number(limit.saturating_add(1)));
        let mut page = page(query, &self.database, limit).await?;
        page.events.reverse();
        Ok(page)
    }

    async fn replay(
        &self,
        room_id: &str,
        after: &Position,
        limit: usize,
    ) -> Result<Option<Replay>> {
        let mut tx = self.database.snapshot().await?;
        let query = sql!("room").query().bind(room_id);
        let Some(row) = query.optional(&mut tx).await? else { return Ok(None) };
        let room = rows::room(&row)?;
        let query = sql!("id_at").query();
        let at = query.bind(room_id).bind(number(after.seq)).optional(&mut tx).await?;
        let stored: Option<String> = at.map(|row| row.get("id")).transpose()?;
        let proved = prove(after, &room, stored.as_deref());
        let page = match proved {
            Ok(()) => range(&mut tx, room_id, after.seq, limit).await?,
            Err(_) => newest(&mut tx, room_id, limit).await?,
        };
        Ok(Some(Replay { page, room, proved }))
    }

    async fn range(&self, room_id: &str, after: u64, limit: usize) -> Result<Page> {
        range(&self.database, room_id, after, limit).await
    }

    async fn heads(&self, room_ids: &[String]) -> Result<HashMap<String, Position>> {
        let query = sql!("heads").query();
        let found = query.bind(json(&room_ids)?).all(&self.database).await?;
        let head =
            |row| Ok((row_text(row, "room_id")?, rows::position(row, "head_seq", "head_id")?));
        found.iter().map(head).collect()
    }

    async fn shared(&self, user: &str, others: &[String]) -> Result<Vec<String>> {
        let query = sql!("shared").query();
        let query = query.bind(user).bind(json(&others)?);
        let found = query.all(&self.database).await?;
        found.iter().map(|row| row_text(row, "user_id")).collect()
    }

    async fn idle(&self, since: i64, limit: usize) -> Result<Vec<String>> {
        let query = sql!("idle").query();
        let query = query.bind(since).bind(number(limit));
        let found = query.all(&self.database).await?;
        found.iter().map(|row| row_text(row, "room_id")).collect()
    }

    async fn expire(&self, before: i64, limit: usize) -> Result<u64> {
        self.take_expired(before, limit).await
    }
}

fn row_text(row: &Row, column: &str) -> Result<String> {
    row.get(column)
}

async fn range(reader: impl Into<On<'_>>, room_id: &str, after: u64, limit: usize) -> Result<Page> {
    let query = sql!("range")
        .query()
        .bind(room_id)
        .bind(number(after))
        .bind(number(limit.saturating_add(1)));
    page(query, reader, limit).await
}

/// The newest page has nothing after it, whatever is before it.
async fn newest(reader: impl Into<On<'_>>, room_id: &str, limit: usize) -> Result<Page> {
    let query = sql!("newest").query().bind(room_id).bind(number(limit.saturating_add(1)));
    let mut page = page(query, reader, limit).await?;
    page.events.reverse();
    page.has_more = false;
    Ok(page)
}

/// Reads until the page is full; a row beyond says that there is more. One
/// event always fits: its texts are bounded far below a page.
async fn page(query: Query, reader: impl Into<On<'_>>, limit: usize) -> Result<Page> {
    let mut found = query.stream(reader);
    let mut page = Page::default();
    let mut bytes = 0;
    while let Some(row) = found.try_next().await? {
        let event: Event = rows::event(&row)?;
        bytes += event.size();
        if page.events.len() >= limit || (bytes > PAGE_BYTES && !page.events.is_empty()) {
            page.has_more = true;
            break;
        }
        page.events.push(event);
    }
    Ok(page)
}
