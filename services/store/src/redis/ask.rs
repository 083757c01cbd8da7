//! How a question gets to the server that has its keys, and its answer back.

use std::{borrow::Cow, sync::Arc, time::Duration};

use futures::future::join_all;
use redis::{Cmd, RedisError, RedisResult, Value};
use tokio::time::{Instant, sleep};

use super::{
    cluster::{Redirect, hash},
    fault,
    link::Link,
    script::{Arg, Script, Stamp},
    servers::{Servers, Way},
    slot::Slot,
};
use crate::{Error, ErrorKind, Result, clock::Clock};

/// Questions in one round trip. More are sent in several, one after the other.
const PIPELINE: usize = 256;
/// How often one may be sent elsewhere: more is a cluster that does not agree.
const REDIRECTS: u32 = 16;
/// Before one is asked again whose keys are on the way to another server; each
/// time longer by as much.
const ON_THE_WAY: Duration = Duration::from_millis(5);

/// One question.
#[derive(Clone, Copy)]
pub(super) enum Ask<'a> {
    /// Its first argument is its key.
    Command(&'a Cmd),
    /// Its key is elsewhere, and of this slot.
    At(u16, &'a Cmd),
    /// With its keys, of one slot, and arguments.
    Script(&'a Script, &'a [String], &'a [Arg]),
}

impl Ask<'_> {
    fn slot(&self) -> Option<u16> {
        match self {
            Self::Command(cmd) => hash::of(cmd),
            Self::At(slot, _) => Some(*slot),
            Self::Script(_, keys, _) => keys.first().map(|key| hash::slot(key.as_bytes())),
        }
    }

    /// Bytes that it is going to be on the wire, about.
    fn size(&self) -> usize {
        match self {
            Self::Command(cmd) | Self::At(_, cmd) => size(cmd),
            Self::Script(_, keys, args) => {
                keys.iter().map(String::len).chain(args.iter().map(Arg::size)).sum()
            }
        }
    }

    fn is_unknown(&self, answer: &RedisResult<Value>) -> bool {
        matches!(self, Self::Script(..)) && answer.as_ref().is_err_and(fault::is_no_script)
    }
}

/// What asking came to.
#[derive(Clone)]
enum Said {
    Answer(Value),
    Elsewhere(Redirect),
}

/// What one server is asked.
struct Group<'a> {
    way: Way<'a>,
    /// Which of the questions.
    of: Vec<usize>,
}

/// Asks until a time.
pub(super) struct Asker<'a> {
    pub(super) servers: &'a Servers,
    pub(super) begun: Instant,
    /// What all of it may take.
    pub(super) timeout: Duration,
    /// Of a test.
    pub(super) clock: Option<&'a Arc<dyn Clock>>,
}

impl Asker<'_> {
    /// The answer to one, of the server that it is sent to in the end.
    pub(super) async fn one(&self, ask: Ask<'_>) -> Result<Value> {
        let mut way = self.servers.way(|| ask.slot())?;
        for tries in 1..=REDIRECTS {
            match self.once(&way, ask).await? {
                Said::Answer(value) => return Ok(value),
                Said::Elsewhere(redirect) => {
                    if redirect == Redirect::Again {
                        Box::pin(self.pause(tries)).await?;
                    }
                    way = self.follow(&redirect, ask)?;
                }
            }
        }
        Err(disagree())
    }

    /// An answer to each: commands, or runs of one script. Different servers are
    /// asked at the same time, and one that is away costs the others only time. Those
    /// of one server are asked in their order, there and where it sends them.
    ///
    /// **Errors**: when none of the servers answered.
    pub(super) async fn many(&self, asks: &[Ask<'_>]) -> Result<Vec<Result<Value>>> {
        let mut answers = vec![Ok(Value::Nil); asks.len()];
        let mut open: Vec<_> = (0..asks.len()).map(|at| (at, None)).collect();
        for tries in 0..=REDIRECTS {
            let groups = self.groups(asks, std::mem::take(&mut open), &mut answers);
            let asked = groups.iter().map(|group| self.group(group, asks));
            let came = join_all(asked).await;
            if tries == 0 && came.iter().all(Result::is_err) {
                let refused = || answers.iter().find_map(|answer| answer.as_ref().err());
                let first = came.iter().find_map(|came| came.as_ref().err()).or_else(refused);
                if let Some(error) = first {
                    return Err(error.clone());
                }
            }
            for (Group { of, .. }, came) in groups.into_iter().zip(came) {
                let said = came.unwrap_or_else(|error| vec![Err(error); of.len()]);
                for (at, said) in of.into_iter().zip(said) {
                    match said {
                        Ok(Said::Answer(value)) => answers[at] = Ok(value),
                        Ok(Said::Elsewhere(redirect)) => open.push((at, Some(redirect))),
                        Err(error) => answers[at] = Err(error),
                    }
                }
            }
            if open.is_empty() {
                return Ok(answers);
            }
            open.sort_unstable_by_key(|(at, _)| *at);
            if open.iter().any(|(_, redirect)| *redirect == Some(Redirect::Again))
                && let Err(error) = self.pause(tries).await
            {
                open.into_iter().for_each(|(at, _)| answers[at] = Err(error.clone()));
                return Ok(answers);
            }
        }
        open.into_iter().for_each(|(at, _)| answers[at] = Err(disagree()));
        Ok(answers)
    }

    /// Which server is asked which of them; into `answers` the errors of those that
    /// none has.
    fn groups(
        &self,
        asks: &[Ask<'_>],
        open: Vec<(usize, Option<Redirect>)>,
        answers: &mut [Result<Value>],
    ) -> Vec<Group<'_>> {
        let mut groups: Vec<Group<'_>> = Vec::new();
        for (at, redirect) in open {
            let way = match redirect {
                None => self.servers.way(|| asks[at].slot()),
                Some(redirect) => self.follow(&redirect, asks[at]),
            };
            match way {
                Ok(way) => match groups.iter_mut().find(|group| group.way.is(&way)) {
                    Some(group) => group.of.push(at),
                    None => groups.push(Group { way, of: vec![at] }),
                },
                Err(error) => answers[at] = Err(error),
            }
        }
        groups
    }

    async fn group(&self, group: &Group<'_>, asks: &[Ask<'_>]) -> Result<Vec<Result<Said>>> {
        let mut answers = Vec::with_capacity(group.of.len());
        for of in group.of.chunks(PIPELINE) {
            let asks: Vec<_> = of.iter().map(|at| asks[*at]).collect();
            answers.extend(self.chunk(&group.way, &asks).await?);
        }
        Ok(answers)
    }

    async fn chunk(&self, way: &Way<'_>, asks: &[Ask<'_>]) -> Result<Vec<Result<Said>>> {
        let slot = way.server.slot(asks.iter().map(Ask::size).sum());
        let link = slot.link(self.deadline()).await?;
        let written = |ask: &Ask<'_>| self.written(ask, &link).into_owned();
        let commands = asks.iter().map(written).collect();
        let mut answers = self.each(slot, &link, commands, way.asking).await?;
        let unknown = |at: &usize| asks[*at].is_unknown(&answers[*at]);
        let missed: Vec<usize> = (0..asks.len()).filter(unknown).collect();
        if let Some(Ask::Script(script, ..)) = missed.first().map(|at| asks[*at]) {
            let again = missed.iter().map(|at| written(&asks[*at]));
            let commands = std::iter::once(script.load(link.locks)).chain(again).collect();
            let loaded = self.each(slot, &link, commands, way.asking).await?;
            for (at, answer) in missed.into_iter().zip(loaded.into_iter().skip(1)) {
                answers[at] = answer;
            }
        }
        Ok(answers.into_iter().map(|answer| said(way, answer)).collect())
    }

    fn follow(&self, redirect: &Redirect, ask: Ask<'_>) -> Result<Way<'_>> {
        metrics::counter!("mingle_redis_redirects_total", "kind" => redirect.kind()).increment(1);
        self.servers.follow(redirect, || ask.slot())
    }

    /// The keys are on the way to another server.
    async fn pause(&self, tries: u32) -> Result<()> {
        sleep((ON_THE_WAY * (tries + 1)).min(self.left())).await;
        if !self.left().is_zero() {
            return Ok(());
        }
        let what = "redis cluster: the keys are on the way to another server";
        Err(Error::new(ErrorKind::Unavailable, what))
    }

    async fn once(&self, way: &Way<'_>, ask: Ask<'_>) -> Result<Said> {
        let slot = way.server.slot(ask.size());
        let link = slot.link(self.deadline()).await?;
        let mut answer = self.send(slot, &link, &self.written(&ask, &link), way.asking).await?;
        if let Ask::Script(script, keys, args) = ask
            && ask.is_unknown(&answer)
        {
            let by_text = script.by_text(keys, args, &self.stamp(&link));
            answer = self.send(slot, &link, &by_text, way.asking).await?;
        }
        said(way, answer)
    }

    async fn send(
        &self,
        slot: &Slot,
        link: &Arc<Link>,
        cmd: &Cmd,
        asking: bool,
    ) -> Result<RedisResult<Value>> {
        if asking {
            // Seldom, and large: it would make every call so.
            let mut answers = Box::pin(self.each(slot, link, vec![cmd.clone()], asking)).await?;
            return Ok(answers.pop().unwrap_or_else(|| Ok(Value::Nil)));
        }
        let patience = self.left();
        let answer = cmd.query_async(&mut link.patient(patience)).await;
        slot.judge(link, patience, &answer);
        Ok(answer)
    }

    /// An answer or a refusal for each command.
    ///
    /// **Errors**: those of the call; `Corrupt` when there are more or fewer.
    async fn each(
        &self,
        slot: &Slot,
        link: &Arc<Link>,
        commands: Vec<Cmd>,
        asking: bool,
    ) -> Result<Vec<RedisResult<Value>>> {
        let mut pipe = redis::pipe();
        pipe.ignore_errors();
        for command in commands {
            if asking {
                pipe.cmd("ASKING");
            }
            pipe.add_command(command);
        }
        let (skip, step) = if asking { (1, 2) } else { (0, 1) };
        let patience = self.left();
        let answer = pipe.query_async(&mut link.patient(patience)).await;
        slot.judge(link, patience, &answer);
        let answers: Vec<_> = match answer.map_err(fault::error)? {
            Value::Array(answers) if answers.len() == pipe.len() => answers
                .into_iter()
                .skip(skip)
                .step_by(step)
                .map(|answer| match answer {
                    Value::ServerError(error) => Err(RedisError::from(error)),
                    answer => Ok(answer),
                })
                .collect(),
            _ => return Err(Error::new(ErrorKind::Corrupt, "redis answer")),
        };
        for answer in answers.iter().filter(|answer| answer.is_err()) {
            slot.judge(link, patience, answer);
        }
        Ok(answers)
    }

    fn written<'a>(&self, ask: &Ask<'a>, link: &Link) -> Cow<'a, Cmd> {
        match ask {
            Ask::Command(cmd) | Ask::At(_, cmd) => Cow::Borrowed(cmd),
            Ask::Script(script, keys, args) => {
                Cow::Owned(script.by_sha(keys, args, &self.stamp(link)))
            }
        }
    }

    fn deadline(&self) -> Instant {
        self.begun + self.timeout
    }

    fn left(&self) -> Duration {
        self.timeout.saturating_sub(self.begun.elapsed())
    }

    fn stamp(&self, link: &Link) -> Stamp {
        Stamp {
            locks: link.locks,
            not_after_ms: link.not_after_ms(self.deadline()),
            now_us: self.clock.map(|clock| format!("{}000", clock.now_ms())),
        }
    }
}

fn said(way: &Way<'_>, answer: RedisResult<Value>) -> Result<Said> {
    match answer {
        Ok(value) => Ok(Said::Answer(value)),
        Err(error) => match Redirect::read(&error) {
            Some(redirect) => Ok(Said::Elsewhere(redirect.by(way.server.host()))),
            None => Err(fault::error(error)),
        },
    }
}

fn disagree() -> Error {
    Error::new(ErrorKind::Unavailable, "redis cluster: its servers do not agree")
}

/// Bytes that a command is going to be on the wire, about.
fn size(cmd: &Cmd) -> usize {
    cmd.args_iter()
        .map(|arg| match arg {
            redis::Arg::Simple(bytes) => bytes.len(),
            _ => 0,
        })
        .sum()
}
