//! What Upstash is over TCP, as its documentation has it, before a real Redis: a script
//! may say that only its keys are to be locked, and then touches no others; what is for
//! clusters is refused.
//!
//! Sources: <https://upstash.com/docs/redis/features/key-locking>,
//! <https://upstash.com/docs/redis/commands/scripting/eval>.

use std::{
    collections::HashMap,
    io,
    net::SocketAddr,
    sync::{
        OnceLock,
        atomic::{AtomicU32, AtomicUsize, Ordering::Relaxed},
    },
    thread,
};

use tokio::{
    io::{AsyncBufRead, AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
    runtime::Builder,
    sync::Mutex,
};

use crate::{Redis, server::must};

const BY_KEY: &str = "#!lua flags=allow-key-locking\n";
/// What a script that says so is run with.
const OWN_KEYS: &str = "
    local own, server = {}, redis
    for _, key in ipairs(KEYS) do own[key] = true end
    local of_keys = { DEL = true, EXISTS = true, MGET = true, UNLINK = true }
    local function checked(call)
      return function(verb, ...)
        for at = 1, of_keys[verb:upper()] and select('#', ...) or math.min(1, select('#', ...)) do
          local key = select(at, ...)
          if not own[key] then error('ERR undeclared key ' .. key) end
        end
        return call(verb, ...)
      end
    end
    local checking = { call = checked(server.call), pcall = checked(server.pcall) }
    local redis = setmetatable(checking, { __index = server })
";
const REFUSED: [&str; 4] = ["CLUSTER", "ASKING", "SSUBSCRIBE", "SPUBLISH"];

/// A command, word by word.
type Words = Vec<Vec<u8>>;

/// See the module.
pub struct Upstash {
    redis: Redis,
    address: SocketAddr,
    /// The scripts that said so, by their hash: what is run in their place.
    scripts: Mutex<HashMap<String, String>>,
    runs: AtomicUsize,
}

impl Upstash {
    /// The one that all tests of this process share, and what stands before the keys of
    /// this test there.
    ///
    /// # Panics
    ///
    /// When it cannot be started.
    pub async fn shared() -> (&'static Self, String) {
        static SHARED: OnceLock<&Upstash> = OnceLock::new();
        static TESTS: AtomicU32 = AtomicU32::new(0);
        let shared = tokio::task::spawn_blocking(|| *SHARED.get_or_init(Self::start));
        let test = TESTS.fetch_add(1, Relaxed);
        (must(shared.await, "what Upstash is"), format!("test-{test}:"))
    }

    /// `redis://` as the default user.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// How often a script was run that says that its keys are to be locked.
    #[must_use]
    pub fn runs_by_key(&self) -> usize {
        self.runs.load(Relaxed)
    }

    /// Serves on a thread of its own: the runtimes of tests end with them.
    fn start() -> &'static Self {
        let runtime = must(Builder::new_current_thread().enable_all().build(), "a runtime");
        let (redis, listener) = runtime.block_on(async {
            (Redis::start().await, must(TcpListener::bind("127.0.0.1:0").await, "a port"))
        });
        let address = must(listener.local_addr(), "a port");
        let (scripts, runs) = (Mutex::default(), AtomicUsize::new(0));
        let own: &Self = Box::leak(Box::new(Self { redis, address, scripts, runs }));
        thread::spawn(move || {
            runtime.block_on(async {
                while let Ok((client, _)) = listener.accept().await {
                    tokio::spawn(own.pass(client));
                }
            });
        });
        own
    }

    /// One connection, to its end.
    async fn pass(&self, client: TcpStream) -> io::Result<()> {
        let (from, mut to) = client.into_split();
        let (mut answers, mut server) =
            TcpStream::connect(self.redis.address()).await?.into_split();
        let asked = async {
            let mut from = BufReader::new(from);
            while let Some(words) = command(&mut from).await? {
                server.write_all(&written(&self.translated(words).await)).await?;
            }
            server.shutdown().await
        };
        let answered = tokio::io::copy(&mut answers, &mut to);
        tokio::select! {
            asked = asked => asked,
            answered = answered => answered.map(drop),
        }
    }

    /// What the server is to be told in place of this.
    async fn translated(&self, mut words: Words) -> Words {
        let verb = text(words.first()).to_ascii_uppercase();
        if REFUSED.contains(&&*verb) {
            let refusal =
                format!("return redis.error_reply('ERR Command is not available: {verb}')");
            return ["EVAL", &refusal, "0"].map(|word| word.as_bytes().to_vec()).into();
        }
        let of = match &*verb {
            "EVAL" | "SCRIPT" => usize::from(verb == "SCRIPT") + 1,
            "EVALSHA" => {
                if let Some(script) = self.scripts.lock().await.get(&text(words.get(1))) {
                    words[0] = b"EVAL".to_vec();
                    words[1] = script.clone().into_bytes();
                    self.runs.fetch_add(1, Relaxed);
                }
                return words;
            }
            _ => return words,
        };
        if let Some(script) = text(words.get(of)).strip_prefix(BY_KEY) {
            let run = format!("{OWN_KEYS}{script}");
            let sha = ["EVAL", "return redis.sha1hex(ARGV[1])", "0", &text(words.get(of))];
            self.scripts.lock().await.insert(self.redis.cli(&sha), run.clone());
            self.runs.fetch_add(usize::from(verb == "EVAL"), Relaxed);
            words[of] = run.into_bytes();
        }
        words
    }
}

fn text(word: Option<&Vec<u8>>) -> String {
    word.map(|word| String::from_utf8_lossy(word).into_owned()).unwrap_or_default()
}

/// Reads one command; nothing at the end.
async fn command(from: &mut (impl AsyncBufRead + Unpin)) -> io::Result<Option<Words>> {
    let Some(count) = number(from, '*').await? else { return Ok(None) };
    let mut words = Vec::new();
    for _ in 0..count {
        let Some(size) = number(from, '$').await? else { return Ok(None) };
        let mut word = vec![0; size + 2];
        from.read_exact(&mut word).await?;
        word.truncate(size);
        words.push(word);
    }
    Ok(Some(words))
}

async fn number(from: &mut (impl AsyncBufRead + Unpin), mark: char) -> io::Result<Option<usize>> {
    let mut line = String::new();
    from.read_line(&mut line).await?;
    Ok(line.trim_end().strip_prefix(mark).and_then(|number| number.parse().ok()))
}

fn written(words: &Words) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bytes.extend(format!("${}\r\n", word.len()).into_bytes());
        bytes.extend(word);
        bytes.extend(b"\r\n");
    }
    bytes
}
