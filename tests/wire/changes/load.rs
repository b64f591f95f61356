//! Pods that speak whatever they are spoken to, and clients that ask again and again.

use crate::rig::{Client, Rig};
use crate::serving::serve_each;
use bytes::Bytes;
use std::collections::{BTreeMap, HashSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// How long a slow answer takes.
const SLOW: Duration = Duration::from_millis(60);
/// The beginning of a PROXY header of version 2, and of HTTP/2.
const PROXY: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
const HTTP2: &[u8] = b"PRI * HTTP/2.0";

/// A pod that takes a PROXY header or none, and HTTP/1.1 or HTTP/2. `/slow` takes a while; of requests for `/flaky` it breaks
/// the first attempt of each.
#[derive(Clone)]
pub struct Chameleon {
    pub address: SocketAddr,
    pub connections: Arc<AtomicUsize>,
    pub open: Arc<AtomicUsize>,
    pub requests: Arc<AtomicUsize>,
    /// What it was spoken to in, each way once, in the order of their first use.
    pub spoken: Arc<Mutex<Vec<&'static str>>>,
    /// Whether it answers 503.
    pub fails: Arc<AtomicBool>,
    broken: Arc<Mutex<HashSet<String>>>,
}

impl Chameleon {
    /// So many pods; a request that one of them broke, none breaks again.
    pub fn some(count: usize) -> Vec<Self> {
        let broken = Arc::default();
        (0..count).map(|_| Self::start(&broken)).collect()
    }

    fn start(broken: &Arc<Mutex<HashSet<String>>>) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let pod = Self {
            address: listener.local_addr().unwrap(),
            connections: Arc::default(),
            open: Arc::default(),
            requests: Arc::default(),
            spoken: Arc::default(),
            fails: Arc::default(),
            broken: broken.clone(),
        };
        let serving = pod.clone();
        serve_each(listener, move |stream| {
            let pod = serving.clone();
            async move {
                pod.connections.fetch_add(1, Ordering::SeqCst);
                pod.open.fetch_add(1, Ordering::SeqCst);
                pod.converse(stream).await;
                pod.open.fetch_sub(1, Ordering::SeqCst);
            }
        });
        pod
    }

    async fn converse(&self, mut stream: TcpStream) -> Option<()> {
        stream.set_nodelay(true).ok()?;
        let mut first = [0; HTTP2.len()];
        peek(&stream, &mut first).await?;
        let proxied = first.starts_with(PROXY);
        if proxied {
            let mut header = [0; 16];
            stream.read_exact(&mut header).await.ok()?;
            let mut rest = vec![0; usize::from(u16::from_be_bytes([header[14], header[15]]))];
            stream.read_exact(&mut rest).await.ok()?;
            peek(&stream, &mut first).await?;
        }
        let multiplexed = first == HTTP2;
        let spoken = match (proxied, multiplexed) {
            (false, false) => "http/1.1",
            (false, true) => "h2",
            (true, false) => "proxied http/1.1",
            (true, true) => "proxied h2",
        };
        {
            let mut all = self.spoken.lock().unwrap();
            if !all.contains(&spoken) {
                all.push(spoken);
            }
        }
        if multiplexed {
            self.speak_h2(stream).await
        } else {
            self.speak_h1(stream).await
        }
    }

    /// Whether this attempt is to be broken.
    fn breaks(&self, target: &str) -> bool {
        target.starts_with("/flaky") && self.broken.lock().unwrap().insert(target.to_owned())
    }

    fn status(&self, target: &str) -> u16 {
        let fails = self.fails.load(Ordering::SeqCst) && !target.starts_with("/health");
        if fails { 503 } else { 200 }
    }

    async fn speak_h1(&self, mut stream: TcpStream) -> Option<()> {
        let mut buffer = Vec::new();
        loop {
            while !buffer.ends_with(b"\r\n\r\n") {
                if stream.read_buf(&mut buffer).await.ok()? == 0 {
                    return None;
                }
            }
            let head = String::from_utf8_lossy(&buffer).into_owned();
            buffer.clear();
            let target = head.split(' ').nth(1)?;
            self.requests.fetch_add(1, Ordering::SeqCst);
            if self.breaks(target) {
                return None;
            }
            if target.starts_with("/slow") {
                tokio::time::sleep(SLOW).await;
            }
            let answer = format!("HTTP/1.1 {} X\r\ncontent-length: 3\r\n\r\nok\n", self.status(target));
            stream.write_all(answer.as_bytes()).await.ok()?;
        }
    }

    async fn speak_h2(&self, stream: TcpStream) -> Option<()> {
        let mut connection = h2::server::handshake(stream).await.ok()?;
        while let Some(Ok((request, mut respond))) = connection.accept().await {
            let target = request.uri().path_and_query()?.as_str().to_owned();
            self.requests.fetch_add(1, Ordering::SeqCst);
            if self.breaks(&target) {
                respond.send_reset(h2::Reason::REFUSED_STREAM);
                continue;
            }
            let status = self.status(&target);
            tokio::spawn(async move {
                if target.starts_with("/slow") {
                    tokio::time::sleep(SLOW).await;
                }
                let reply = http::Response::builder().status(status).body(()).unwrap();
                if let Ok(mut body) = respond.send_response(reply, false) {
                    let _ = body.send_data(Bytes::from_static(b"ok\n"), true);
                }
            });
        }
        Some(())
    }
}

/// Looks at the first bytes; none if the connection ends before.
async fn peek(stream: &TcpStream, first: &mut [u8]) -> Option<()> {
    loop {
        let count = stream.peek(first).await.ok()?;
        if count == first.len() {
            return Some(());
        }
        if count == 0 {
            return None;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Clients that ask until they are told to stop.
pub struct Load {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
    clients: Vec<std::thread::JoinHandle<Outcome>>,
}

/// What came of their requests.
#[derive(Debug, Default)]
pub struct Outcome {
    pub answered: u64,
    /// What else they got, and how often.
    pub failed: BTreeMap<String, u64>,
}

impl Load {
    /// Two clients for each of these hosts and paths. Every request has a query of its own.
    pub fn on(rig: &Rig, targets: &[(&'static str, &'static str)]) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let answered = Arc::new(AtomicU64::new(0));
        let each = targets.iter().chain(targets).enumerate();
        let clients = each.map(|(number, (host, path))| {
            let (stop, answered, address) = (stop.clone(), answered.clone(), rig.http);
            let (host, path) = (*host, *path);
            std::thread::spawn(move || {
                let mut outcome = Outcome::default();
                let mut client = Client::connect(address);
                for count in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    client.send(format!("GET {path}?{number}-{count} HTTP/1.1\r\nHost: {host}\r\n\r\n"));
                    let said = match client.answer_to("GET") {
                        Some(answer) if answer.status == 200 => {
                            outcome.answered += 1;
                            answered.fetch_add(1, Ordering::Relaxed);
                            continue;
                        }
                        Some(answer) => format!("{host}{path}: {}", answer.status),
                        None => format!("{host}{path}: the connection ends"),
                    };
                    *outcome.failed.entry(said).or_default() += 1;
                    client = Client::connect(address);
                }
                outcome
            })
        });
        let clients = clients.collect();
        Self {
            stop,
            answered,
            clients,
        }
    }

    /// Requests that were answered with 200 so far.
    pub fn answered(&self) -> u64 {
        self.answered.load(Ordering::Relaxed)
    }

    /// Ends it.
    pub fn end(self) -> Outcome {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Outcome::default();
        for client in self.clients {
            let outcome = client.join().unwrap();
            all.answered += outcome.answered;
            for (said, count) in outcome.failed {
                *all.failed.entry(said).or_default() += count;
            }
        }
        all
    }
}
