//! What each route does, takes and answers: all that descriptors do not tell.

/// A route with one method.
#[derive(Debug)]
pub(super) struct Operation {
    /// In lower case.
    pub(super) method: &'static str,
    /// As the router has it.
    pub(super) path: &'static str,
    /// A name, unique among all.
    pub(super) id: &'static str,
    /// What it does, in a sentence.
    pub(super) summary: &'static str,
    /// What its path and its query may say.
    pub(super) parameters: Vec<Parameter>,
    /// The message in its request.
    pub(super) takes: Option<&'static str>,
    /// What its answer is.
    pub(super) gives: Gives,
    /// True where nobody asks for a token.
    pub(super) is_open: bool,
}

/// Part of a path or a query.
#[derive(Debug)]
pub(super) struct Parameter {
    pub(super) name: &'static str,
    pub(super) form: Form,
    pub(super) meaning: &'static str,
}

/// What a parameter looks like.
#[derive(Clone, Copy, Debug)]
pub(super) enum Form {
    /// Part of the path.
    Path,
    Text,
    /// A 64-bit number.
    Number,
    /// A number that has a bound.
    Count,
    /// Such as `25s`.
    Duration,
    /// Given once for each value, at least once.
    Many,
}

/// An answer.
#[derive(Clone, Copy, Debug)]
pub(super) enum Gives {
    /// A message of the protocol.
    Message(&'static str),
    /// How something is: of this form when it is well, and when it is not.
    Health(&'static str),
    /// A word for people.
    Text,
    /// A document such as this one.
    Document,
    /// The other protocol.
    Socket,
}

impl Operation {
    fn new(
        method: &'static str,
        path: &'static str,
        id: &'static str,
        summary: &'static str,
    ) -> Self {
        let (parameters, gives) = (Vec::new(), Gives::Text);
        Self { method, path, id, summary, parameters, takes: None, gives, is_open: false }
    }

    fn with(mut self, name: &'static str, form: Form, meaning: &'static str) -> Self {
        self.parameters.push(Parameter { name, form, meaning });
        self
    }

    fn takes(self, message: &'static str) -> Self {
        Self { takes: Some(message), ..self }
    }

    fn gives(self, gives: Gives) -> Self {
        Self { gives, ..self }
    }

    fn open(self) -> Self {
        Self { is_open: true, ..self }
    }
}

const REDIS: &str = "Whether Redis can be written and read, and by which roles; 503 when by none.";

/// Every route.
pub(super) fn operations() -> Vec<Operation> {
    [rooms(), matching(), presence(), statistics(), health(), entrances()]
        .into_iter()
        .flatten()
        .collect()
}

fn rooms() -> Vec<Operation> {
    const PATH: &str = "/api/rooms";
    const MESSAGES: &str = "/api/rooms/{id}/messages";
    vec![
        Operation::new("get", PATH, "listRooms", "The caller's rooms, most recently active first.")
            .with("pageSize", Form::Count, "1 to 50; 50 without.")
            .with("pageToken", Form::Text, "nextPageToken of the page before.")
            .gives(Gives::Message("RoomList")),
        Operation::new("post", PATH, "createRoom", "Makes a room, once for each externalId.")
            .takes("CreateRoomBody")
            .gives(Gives::Message("RoomSummary")),
        Operation::new("get", MESSAGES, "history", "Messages as they read now, oldest first.")
            .with("id", Form::Path, "The room.")
            .with("before", Form::Number, "Messages before this seq; the newest without.")
            .with("limit", Form::Count, "1 to 50; 50 without.")
            .gives(Gives::Message("Messages")),
        Operation::new("post", MESSAGES, "sendMessage", "Says something, once per clientMsgId.")
            .with("id", Form::Path, "The room.")
            .takes("SendBody")
            .gives(Gives::Message("Sent")),
    ]
}

fn matching() -> Vec<Operation> {
    const TICKET: &str = "/api/match/tickets/{id}";
    let create = "Waits for a partner; the same again answers the same ticket.";
    let read = "A ticket; reading it renews its lease of 30 s.";
    let cancel = "Stops waiting, and says how it ended: CANCELLED, or MATCHED before.";
    vec![
        Operation::new("post", "/api/match/tickets", "createTicket", create)
            .takes("TicketBody")
            .gives(Gives::Message("TicketView")),
        Operation::new("get", TICKET, "readTicket", read)
            .with("id", Form::Path, "The ticket.")
            .with("wait", Form::Duration, "Answers when it is no longer WAITING; 25s at most.")
            .gives(Gives::Message("TicketView")),
        Operation::new("delete", TICKET, "cancelTicket", cancel)
            .with("id", Form::Path, "The ticket.")
            .gives(Gives::Message("TicketView")),
        Operation::new("get", "/api/match/pools/{pool}", "readPool", "How long a wait may be.")
            .with("pool", Form::Path, "The pool, such as random-chat.")
            .gives(Gives::Message("PoolView")),
    ]
}

fn presence() -> Vec<Operation> {
    vec![
        Operation::new("get", "/api/presence", "readPresence", "Who of these users is online.")
            .with("user", Form::Many, "Who shares a room with the caller; 256 at most.")
            .gives(Gives::Message("Presences")),
        Operation::new("get", "/api/presence/count", "countPresence", "How many are online.")
            .gives(Gives::Message("PresenceCount")),
    ]
}

fn statistics() -> Vec<Operation> {
    let get = |path, id, summary, message| {
        Operation::new("get", path, id, summary).gives(Gives::Message(message))
    };
    let system = "Who is online, pools, rates, and every process with those that do not answer.";
    let performance = "What processes cost and how fast they are, of all and of each.";
    let all = "Everything of every process; for the role admin.";
    let redis = "What Redis says of itself, with alerts; for the role admin.";
    let clear = "Voids all cached values, or those of a namespace; for the role admin.";
    vec![
        Operation::new("delete", "/api/admin/cache/clear", "clearCache", clear)
            .with("namespace", Form::Text, "The namespace; all without.")
            .gives(Gives::Message("CacheCleared")),
        get("/api/stats/system", "systemStats", system, "SystemStats"),
        get("/api/stats/performance", "performanceStats", performance, "PerformanceStats"),
        get("/admin/stats", "adminStats", all, "AdminStats"),
        get("/api/admin/redis/metrics", "redisMetrics", redis, "RedisMetrics"),
    ]
}

fn health() -> Vec<Operation> {
    let health = "How the gateway is and each service behind it; 503 when it reaches no chat.";
    let named =
        |path, id| Operation::new("get", path, id, health).gives(Gives::Health("Health")).open();
    vec![
        named("/api/health", "health"),
        named("/health", "healthAlias"),
        Operation::new("get", "/api/health/redis", "redisHealth", REDIS)
            .gives(Gives::Health("RedisHealth"))
            .open(),
        Operation::new("get", "/livez", "live", "The process answers.").open(),
        Operation::new("get", "/readyz", "ready", "Send it traffic; 503 when not.").open(),
    ]
}

fn entrances() -> Vec<Operation> {
    let socket = "The WebSocket, whose protocol is in /api/asyncapi.json.";
    let token = "A token of any user; only in development.";
    vec![
        Operation::new("get", "/ws", "connect", socket).gives(Gives::Socket).open(),
        Operation::new("post", "/api/dev/token", "developmentToken", token)
            .takes("DevTokenBody")
            .gives(Gives::Message("DevToken"))
            .open(),
        Operation::new("get", "/api/openapi.json", "openapi", "This document.")
            .gives(Gives::Document)
            .open(),
        Operation::new("get", "/api/asyncapi.json", "asyncapi", "The WebSocket's document.")
            .gives(Gives::Document)
            .open(),
    ]
}
