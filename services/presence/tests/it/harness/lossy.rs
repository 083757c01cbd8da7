//! A way to a server on which an answer is lost.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

/// Forwards to a server on this machine.
pub(crate) struct Lossy {
    pub(crate) port: u16,
    way: Arc<Way>,
}

struct Way {
    server: String,
    armed: AtomicBool,
    lost: AtomicUsize,
    /// What a command names whose answer is lost.
    names: Vec<u8>,
}

impl Lossy {
    /// To `server`, for commands that name `names`.
    pub(crate) async fn start(server: String, names: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (armed, lost) = (AtomicBool::new(false), AtomicUsize::new(0));
        let way = Arc::new(Way { server, armed, lost, names: names.as_bytes().to_vec() });
        let to = way.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(to.clone().forward(client));
            }
        });
        Self { port, way }
    }

    /// The next answer is lost, and its connection with it.
    pub(crate) fn lose_one(&self) {
        self.way.armed.store(true, Ordering::SeqCst);
    }

    pub(crate) fn lost(&self) -> usize {
        self.way.lost.load(Ordering::SeqCst)
    }
}

impl Way {
    async fn forward(self: Arc<Self>, mut client: TcpStream) {
        let mut server = TcpStream::connect(&self.server).await.unwrap();
        let (mut asked, mut answered) = (vec![0; 65_536], vec![0; 65_536]);
        loop {
            tokio::select! {
                len = client.read(&mut asked) => {
                    let Some(len) = len.ok().filter(|len| *len > 0) else { return };
                    let request = &asked[..len];
                    let named = request.windows(self.names.len()).any(|part| part == self.names);
                    if server.write_all(request).await.is_err() {
                        return;
                    }
                    if named && self.armed.swap(false, Ordering::SeqCst) {
                        // It was done when it is answered.
                        let _ = server.read(&mut answered).await;
                        self.lost.fetch_add(1, Ordering::SeqCst);
                        return;
                    }
                }
                len = server.read(&mut answered) => {
                    let Some(len) = len.ok().filter(|len| *len > 0) else { return };
                    if client.write_all(&answered[..len]).await.is_err() {
                        return;
                    }
                }
            }
        }
    }
}
