//! narthex, pods that record, and sockets that say exactly what a test says.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How long anything may take before a test gives up.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Looks again and again until `look` finds something.
pub fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "never happened: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Waits until a narthex that was started is ready. False if it ends instead.
pub fn becomes_ready(child: &mut Child, admin: SocketAddr) -> bool {
    eventually("narthex is ready or gone", || {
        if child.try_wait().unwrap().is_some() {
            return Some(false);
        }
        (get(admin, "/readyz").0 == 200).then_some(true)
    })
}

/// What a pod does with a request.
#[derive(Clone)]
pub enum Reply {
    /// Answers these bytes and goes on.
    Bytes(Vec<u8>),
    /// Answers these bytes and closes.
    Last(Vec<u8>),
    /// Says nothing.
    Silence,
}

impl Reply {
    pub fn text(bytes: &str) -> Self {
        Self::Bytes(bytes.as_bytes().to_vec())
    }
}

/// A request as a pod got it.
#[derive(Clone, Debug)]
pub struct Got {
    /// Its bytes.
    pub bytes: Vec<u8>,
}

impl Got {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }

    pub fn line(&self) -> String {
        self.text().lines().next().unwrap_or_default().to_owned()
    }

    /// All values of a field.
    pub fn field(&self, name: &str) -> Vec<String> {
        self.text()
            .split("\r\n\r\n")
            .next()
            .unwrap_or_default()
            .lines()
            .skip(1)
            .filter_map(|line| line.split_once(": "))
            .filter(|(other, _)| other.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.to_owned())
            .collect()
    }
}

/// A pod: records every request and answers as told.
pub struct Pod {
    pub address: SocketAddr,
    pub got: Arc<Mutex<Vec<Got>>>,
    pub connections: Arc<AtomicUsize>,
    reply: Arc<Mutex<Reply>>,
    /// How long an answer takes.
    time: Arc<Mutex<Duration>>,
}

impl Pod {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let pod = Self {
            address: listener.local_addr().unwrap(),
            got: Arc::default(),
            connections: Arc::default(),
            reply: Arc::new(Mutex::new(Reply::text(
                "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nok\n",
            ))),
            time: Arc::default(),
        };
        let (got, connections, reply) = (pod.got.clone(), pod.connections.clone(), pod.reply.clone());
        let time = pod.time.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                connections.fetch_add(1, Ordering::SeqCst);
                let (got, reply, time) = (got.clone(), reply.clone(), time.clone());
                std::thread::spawn(move || serve(stream, &got, &reply, &time));
            }
        });
        pod
    }

    pub fn answers(&self, reply: Reply) {
        *self.reply.lock().unwrap() = reply;
    }

    /// From now on it is so slow.
    pub fn takes(&self, time: Duration) {
        *self.time.lock().unwrap() = time;
    }

    pub fn requests(&self) -> Vec<Got> {
        self.got.lock().unwrap().clone()
    }

    pub fn last(&self) -> Got {
        eventually("the pod gets a request", || self.requests().last().cloned())
    }
}

fn serve(mut stream: TcpStream, got: &Mutex<Vec<Got>>, reply: &Mutex<Reply>, time: &Mutex<Duration>) {
    let mut buffer = Vec::new();
    loop {
        let Some(length) = message_length(&buffer) else {
            let mut piece = [0; 65536];
            match stream.read(&mut piece) {
                Ok(count) if count > 0 => buffer.extend_from_slice(&piece[..count]),
                // What broke off is recorded as it is.
                _ => {
                    if !buffer.is_empty() {
                        got.lock().unwrap().push(Got { bytes: buffer });
                    }
                    return;
                }
            }
            continue;
        };
        let bytes: Vec<u8> = buffer.drain(..length).collect();
        got.lock().unwrap().push(Got { bytes });
        let (reply, time) = (reply.lock().unwrap().clone(), *time.lock().unwrap());
        std::thread::sleep(time);
        match reply {
            Reply::Bytes(bytes) => {
                if stream.write_all(&bytes).is_err() {
                    return;
                }
            }
            Reply::Last(bytes) => {
                let _ = stream.write_all(&bytes);
                return;
            }
            Reply::Silence => {
                let _ = stream.read(&mut [0; 1]);
                return;
            }
        }
    }
}

/// The length of the first message in a buffer, if it is complete.
pub fn message_length(buffer: &[u8]) -> Option<usize> {
    let head = buffer.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let text = String::from_utf8_lossy(&buffer[..head]).to_lowercase();
    if text.contains("\r\ntransfer-encoding: chunked") {
        let rest = &buffer[head..];
        let mut at = 0;
        loop {
            let line = rest[at..].windows(2).position(|window| window == b"\r\n")?;
            let size = std::str::from_utf8(&rest[at..at + line]).ok()?;
            let size = usize::from_str_radix(size.split(';').next()?.trim(), 16).ok()?;
            at += line + 2;
            if size == 0 {
                let end = rest[at..].windows(2).position(|window| window == b"\r\n")?;
                if end == 0 {
                    return Some(head + at + 2);
                }
                let end = rest[at..].windows(4).position(|window| window == b"\r\n\r\n")?;
                return Some(head + at + end + 4);
            }
            at += size + 2;
            if rest.len() < at {
                return None;
            }
        }
    }
    let length = text
        .split("\r\ncontent-length: ")
        .nth(1)
        .and_then(|rest| rest.lines().next());
    let length: usize = length.map_or(0, |length| length.trim().parse().unwrap_or(0));
    (buffer.len() >= head + length).then_some(head + length)
}

/// A running narthex.
pub struct Rig {
    pub http: SocketAddr,
    pub https: SocketAddr,
    pub admin: SocketAddr,
    pub pods: Vec<Pod>,
    pub folder: tempfile::TempDir,
    pub child: Child,
}

pub fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// A Service of the given endpoints, with one slice each, so that one can go without the others.
pub fn service(name: &str, endpoints: &[(SocketAddr, &str)]) -> String {
    let mut out =
        format!("apiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\nspec: {{ports: [{{port: 80}}]}}\n---\n");
    for (address, pod) in endpoints {
        out += &slice(name, *address, pod);
    }
    out
}

/// A Service with these annotations, and a slice for each pod: `p0`, `p1` and so on.
pub fn service_with(name: &str, pods: &[Pod], annotations: &str) -> String {
    let mut out = format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: {name}, annotations: {{{annotations}}}}}\n\
         spec: {{ports: [{{port: 80}}]}}\n---\n"
    );
    for (index, pod) in pods.iter().enumerate() {
        out += &slice(name, pod.address, &format!("p{index}"));
    }
    out
}

pub fn slice(service: &str, address: SocketAddr, pod: &str) -> String {
    format!(
        "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n\
         metadata: {{name: {service}-{pod}, labels: {{kubernetes.io/service-name: {service}}}}}\naddressType: IPv4\n\
         ports: [{{port: {}}}]\nendpoints:\n- {{addresses: [\"{}\"], targetRef: {{kind: Pod, name: {pod}, uid: {pod}}}}}\n---\n",
        address.port(),
        address.ip()
    )
}

pub fn ingress(name: &str, host: &str, path: &str, service: &str, extra: &str) -> String {
    format!(
        "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {{name: {name}{extra}}}\nspec:\n  rules:\n  - host: {host}\n    \
         http: {{paths: [{{path: {path}, pathType: Prefix, backend: {{service: {{name: {service}, port: {{number: 80}}}}}}}}]}}\n---\n"
    )
}

impl Rig {
    /// One host `a.test` with this many pods.
    pub fn new(pods: usize, flags: &[&str]) -> Self {
        Self::with(pods, flags, |pods| {
            let names: Vec<String> = (0..pods.len()).map(|index| format!("p{index}")).collect();
            let endpoints: Vec<_> = pods
                .iter()
                .zip(&names)
                .map(|(pod, name)| (pod.address, name.as_str()))
                .collect();
            service("web", &endpoints) + &ingress("web", "a.test", "/", "web", "")
        })
    }

    pub fn with(pods: usize, flags: &[&str], manifests: impl FnOnce(&[Pod]) -> String) -> Self {
        Self::within(&[], pods, flags, manifests)
    }

    /// With variables of the environment.
    pub fn within(
        environment: &[(&str, &str)],
        pods: usize,
        flags: &[&str],
        manifests: impl FnOnce(&[Pod]) -> String,
    ) -> Self {
        Self::started(environment, None, pods, flags, manifests)
    }

    /// With so many file descriptors.
    pub fn limited(descriptors: u32, pods: usize, flags: &[&str], manifests: impl FnOnce(&[Pod]) -> String) -> Self {
        Self::started(&[], Some(descriptors), pods, flags, manifests)
    }

    fn started(
        environment: &[(&str, &str)],
        descriptors: Option<u32>,
        pods: usize,
        flags: &[&str],
        manifests: impl FnOnce(&[Pod]) -> String,
    ) -> Self {
        let pods: Vec<Pod> = (0..pods).map(|_| Pod::start()).collect();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("all.yaml"), manifests(&pods)).unwrap();
        // A free port may be taken between here and there; then another is tried.
        for _ in 0..5 {
            let (http, https, admin) = (free_address(), free_address(), free_address());
            // NARTHEX is another program, such as a release build whose times are looked at.
            let program = std::env::var("NARTHEX").unwrap_or_else(|_| env!("CARGO_BIN_EXE_narthex").to_owned());
            let mut command = Command::new(&program);
            if let Some(descriptors) = descriptors {
                let limit = format!("ulimit -n {descriptors} && exec \"$@\"");
                command = Command::new("sh");
                command.args(["-c", &limit, "sh", &program]);
            }
            let quiet = flags.contains(&"--log-level");
            let http_flag = ["--listen-http".to_owned(), http.to_string()];
            let http_flag = if flags.contains(&"--listen-http") {
                &[][..]
            } else {
                &http_flag
            };
            let level: &[&str] = if quiet { &[] } else { &["--log-level", "debug"] };
            let mut child = command
                .arg("serve")
                .args(http_flag)
                .args(["--listen-https", &https.to_string(), "--admin", &admin.to_string()])
                .args(level)
                .arg("--manifests")
                .arg(folder.path())
                .env("NARTHEX_DRAIN_GRACE", "0s")
                .envs(environment.iter().copied())
                .args(flags)
                .stderr(std::fs::File::create(folder.path().join(".log")).unwrap())
                .stdout(Stdio::null())
                .spawn()
                .unwrap();
            if becomes_ready(&mut child, admin) {
                return Self {
                    http,
                    https,
                    admin,
                    pods,
                    folder,
                    child,
                };
            }
        }
        panic!(
            "narthex does not start: {}",
            std::fs::read_to_string(folder.path().join(".log")).unwrap()
        );
    }

    pub fn pod(&self) -> &Pod {
        &self.pods[0]
    }

    pub fn client(&self) -> Client {
        Client::connect(self.http)
    }

    pub fn manifest(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join(".log")).unwrap()
    }

    /// Waits until the log contains this. A line is written after the event it tells of: a client may have its reply first.
    pub fn logged(&self, words: &str) {
        eventually(&format!("the log says {words:?}"), || {
            self.log().contains(words).then_some(())
        });
    }

    /// A counter, over all shards.
    pub fn counter(&self, name: &str) -> u64 {
        let metrics = get(self.admin, "/metrics").1;
        let prefix = format!("narthex_{name}{{");
        let values = metrics.lines().filter(|line| line.starts_with(&prefix));
        values
            .filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok())
            .sum()
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One GET on a connection of its own; status 0 where nobody answers.
pub fn get(address: SocketAddr, path: &str) -> (u16, String) {
    let Ok(mut stream) = TcpStream::connect(address) else {
        return (0, String::new());
    };
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut request = String::new();
    write!(request, "GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n").unwrap();
    let mut answer = String::new();
    if stream.write_all(request.as_bytes()).is_err() || stream.read_to_string(&mut answer).is_err() {
        return (0, answer);
    }
    let status = answer
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok())
        .unwrap_or(0);
    (status, answer)
}

/// A client's connection.
pub struct Client {
    pub stream: TcpStream,
    buffer: Vec<u8>,
}

/// One reply.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn field(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines
            .find(|(other, _)| other.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }
}

impl Client {
    pub fn connect(address: SocketAddr) -> Self {
        Self::over(TcpStream::connect(address).unwrap())
    }

    pub fn over(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self {
            stream,
            buffer: Vec::new(),
        }
    }

    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        // narthex may have refused and closed already; what it said is what counts.
        let _ = self.stream.write_all(bytes.as_ref());
        self
    }

    fn fill(&mut self) -> bool {
        let mut piece = [0; 65536];
        match self.stream.read(&mut piece) {
            Ok(0) => false,
            Ok(count) => {
                self.buffer.extend_from_slice(&piece[..count]);
                true
            }
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => false,
            Err(error) => panic!("reading: {error}; so far {:?}", String::from_utf8_lossy(&self.buffer)),
        }
    }

    /// The next reply; none if the connection ends instead.
    pub fn answer_to(&mut self, method: &str) -> Option<Answer> {
        loop {
            if let Some(head) = self.buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                let text = String::from_utf8_lossy(&self.buffer[..head + 4]).into_owned();
                let status: u16 = text.split(' ').nth(1).unwrap().parse().unwrap();
                let bodiless = method == "HEAD" || status < 200 || status == 204 || status == 304;
                let length = if bodiless {
                    Some(head + 4)
                } else {
                    message_length(&self.buffer)
                };
                if let Some(length) = length {
                    let message: Vec<u8> = self.buffer.drain(..length).collect();
                    return Some(Answer {
                        status,
                        head: text,
                        body: message[head + 4..].to_vec(),
                    });
                }
            }
            if !self.fill() {
                return None;
            }
        }
    }

    pub fn answer(&mut self) -> Answer {
        self.answer_to("GET").expect("a reply, not the end of the connection")
    }

    /// So many bytes, whatever they are.
    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        while self.buffer.len() < count {
            assert!(self.fill(), "the connection ends after {:?}", self.buffer);
        }
        self.buffer.drain(..count).collect()
    }

    /// All that comes until the connection ends.
    pub fn rest(&mut self) -> Vec<u8> {
        while self.fill() {}
        std::mem::take(&mut self.buffer)
    }

    /// Whether the connection ends, with nothing more said.
    pub fn ends(&mut self) -> bool {
        while self.fill() {}
        self.buffer.is_empty()
    }

    /// Whether another request is answered on the same connection.
    pub fn goes_on(&mut self) -> bool {
        self.send("GET /again HTTP/1.1\r\nHost: a.test\r\n\r\n");
        self.answer_to("GET").is_some_and(|answer| answer.status == 200)
    }
}
