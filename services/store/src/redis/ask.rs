//! How a question gets to the server that has its keys, and its answer back.

use std::{borrow::Cow, sync::Arc, time::Duration};

use futures::future::join_all;
use redis::{Cmd, Pipeline, RedisError, RedisResult, Value};
use tokio::time::{Instant, sleep};

use super::{
    cluster::{Redirect, hash},
    fault,
    link::Link,
    node::Node,
    script::{Arg, Script, Stamp},
    servers::{Server, Servers, Way},
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
    server: Server<'a>,
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
    /// The answer to one.
    pub(super) async fn one(&self, ask: Ask<'_>) -> Result<Value> {
        self.by(self.servers.way(|| ask.slot())?, ask).await
    }

    /// An answer to each: commands, or runs of one script. Different servers are
    /// asked at the same time, and one that is away costs the others only time.
    ///
    /// **Errors**: when none of the servers answered.
    pub(super) async fn many(&self, asks: &[Ask<'_>]) -> Result<Vec<Result<Value>>> {
        let (groups, mut answers) = self.groups(asks);
        let asked = groups.iter().map(|Group { server, of }| {
            let asks: Vec<_> = of.iter().map(|at| asks[*at]).collect();
            async move { self.group(server, &asks).await }
        });
        let came = join_all(asked).await;
        if let Some(Err(error)) = came.first()
            && came.iter().all(Result::is_err)
        {
            return Err(error.clone());
        }
        let mut elsewhere = Vec::new();
        for (Group { of, .. }, came) in groups.into_iter().zip(came) {
            let said = came.unwrap_or_else(|error| vec![Err(error); of.len()]);
            for (at, said) in of.into_iter().zip(said) {
                match said {
                    Ok(Said::Answer(value)) => answers[at] = Ok(value),
                    Ok(Said::Elsewhere(redirect)) => elsewhere.push((at, redirect)),
                    Err(error) => answers[at] = Err(error),
                }
            }
        }
        let sent_on = elsewhere.into_iter().map(|(at, redirect)| async move {
            let answer = match self.follow(redirect, asks[at], 0).await {
                Ok(way) => self.by(way, asks[at]).await,
                Err(error) => Err(error),
            };
            (at, answer)
        });
        for (at, answer) in join_all(sent_on).await {
            answers[at] = answer;
        }
        Ok(answers)
    }

    /// Which server has which of them, and the answers: errors for those that none has.
    fn groups(&self, asks: &[Ask<'_>]) -> (Vec<Group<'_>>, Vec<Result<Value>>) {
        let mut groups: Vec<Group<'_>> = Vec::new();
        let mut answers = Vec::with_capacity(asks.len());
        for (at, ask) in asks.iter().enumerate() {
            match self.servers.way(|| ask.slot()) {
                Ok(Way { server, .. }) => {
                    answers.push(Ok(Value::Nil));
                    match groups.iter_mut().find(|group| std::ptr::eq(&*group.server, &*server)) {
                        Some(group) => group.of.push(at),
                        None => groups.push(Group { server, of: vec![at] }),
                    }
                }
                Err(error) => answers.push(Err(error)),
            }
        }
        (groups, answers)
    }

    async fn group(&self, node: &Node, asks: &[Ask<'_>]) -> Result<Vec<Result<Said>>> {
        let mut answers = Vec::with_capacity(asks.len());
        for asks in asks.chunks(PIPELINE) {
            answers.extend(self.chunk(node, asks).await?);
        }
        Ok(answers)
    }

    async fn chunk(&self, node: &Node, asks: &[Ask<'_>]) -> Result<Vec<Result<Said>>> {
        let slot = node.slot(asks.iter().map(Ask::size).sum());
        let link = slot.link(self.deadline()).await?;
        let mut pipe = redis::pipe();
        for ask in asks {
            pipe.add_command(self.written(ask, &link).into_owned());
        }
        let mut answers = self.each(slot, &link, pipe).await?;
        let unknown = |at: &usize| asks[*at].is_unknown(&answers[*at]);
        let missed: Vec<usize> = (0..asks.len()).filter(unknown).collect();
        if !missed.is_empty() {
            let mut again = redis::pipe();
            for at in &missed {
                if let Ask::Script(script, ..) = asks[*at]
                    && again.is_empty()
                {
                    again.add_command(script.load());
                }
                again.add_command(self.written(&asks[*at], &link).into_owned());
            }
            let loaded = self.each(slot, &link, again).await?;
            for (at, answer) in missed.into_iter().zip(loaded.into_iter().skip(1)) {
                answers[at] = answer;
            }
        }
        Ok(answers.into_iter().map(said).collect())
    }

    /// Asks by a way, and by the next when it is sent elsewhere.
    async fn by<'a>(&'a self, mut way: Way<'a>, ask: Ask<'_>) -> Result<Value> {
        for tries in 1..=REDIRECTS {
            match self.once(&way, ask).await? {
                Said::Answer(value) => return Ok(value),
                Said::Elsewhere(redirect) => {
                    way = Box::pin(self.follow(redirect, ask, tries)).await?;
                }
            }
        }
        Err(Error::new(ErrorKind::Unavailable, "redis cluster: its servers do not agree"))
    }

    async fn follow(&self, redirect: Redirect, ask: Ask<'_>, tries: u32) -> Result<Way<'_>> {
        metrics::counter!("mingle_redis_redirects_total", "kind" => redirect.kind()).increment(1);
        if matches!(redirect, Redirect::Again) {
            sleep((ON_THE_WAY * (tries + 1)).min(self.left())).await;
            if self.left().is_zero() {
                let what = "redis cluster: the keys are on the way to another server";
                return Err(Error::new(ErrorKind::Unavailable, what));
            }
        }
        self.servers.follow(&redirect, || ask.slot())
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
        said(answer)
    }

    async fn send(
        &self,
        slot: &Slot,
        link: &Arc<Link>,
        cmd: &Cmd,
        asking: bool,
    ) -> Result<RedisResult<Value>> {
        if asking {
            let mut pipe = redis::pipe();
            pipe.cmd("ASKING").add_command(cmd.clone());
            // Seldom, and large: it would make every call so.
            let mut answers = Box::pin(self.each(slot, link, pipe)).await?;
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
        mut pipe: Pipeline,
    ) -> Result<Vec<RedisResult<Value>>> {
        pipe.ignore_errors();
        let patience = self.left();
        let answer = pipe.query_async(&mut link.patient(patience)).await;
        slot.judge(link, patience, &answer);
        let answers: Vec<_> = match answer.map_err(fault::error)? {
            Value::Array(answers) if answers.len() == pipe.len() => answers
                .into_iter()
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
            not_after_ms: link.not_after_ms(self.deadline()),
            now_us: self.clock.map(|clock| format!("{}000", clock.now_ms())),
        }
    }
}

fn said(answer: RedisResult<Value>) -> Result<Said> {
    match answer {
        Ok(value) => Ok(Said::Answer(value)),
        Err(error) => match Redirect::read(&error) {
            Some(redirect) => Ok(Said::Elsewhere(redirect)),
            None => Err(fault::error(error)),
        },
    }
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
