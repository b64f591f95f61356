//! A real API server: etcd and kube-apiserver on loopback, that can be stopped, put back to an older state, and
//! started again. Nothing outlives the test process.

use serde_json::{Value, json};
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, OnceLock, PoisonError, mpsc};
use std::time::{Duration, Instant};

/// Tokens and the users they stand for. `admin` may do everything, the others what a test gives them.
pub const USERS: &[&str] = &[
    "admin", "nobody", "walker", "team", "optional", "narrow", "writer", "cleaner", "no-nodes",
];

/// How long a server may take to start: 6 s here, more where the machine is busy.
const START_TIME: Duration = Duration::from_secs(120);

/// etcd and kube-apiserver.
pub struct Server {
    folder: PathBuf,
    etcd_port: u16,
    peer_port: u16,
    port: u16,
    running: Mutex<Vec<Child>>,
}

/// The server that tests share; each test has its own namespaces and users.
pub fn shared() -> &'static Server {
    static SHARED: OnceLock<Server> = OnceLock::new();
    SHARED.get_or_init(|| Server::start("shared"))
}

impl Server {
    /// Starts a server of one's own.
    pub fn start(name: &str) -> Self {
        let folder = scratch().join(name);
        fs::create_dir_all(&folder).unwrap();
        let [etcd_port, peer_port, port] = free_ports();
        let server = Self {
            folder,
            etcd_port,
            peer_port,
            port,
            running: Mutex::default(),
        };
        let key = server.folder.join("sa.key");
        let made = Command::new("openssl")
            .arg("genrsa")
            .arg("-out")
            .arg(&key)
            .arg("2048")
            .output()
            .unwrap();
        assert!(made.status.success(), "openssl genrsa: {made:?}");
        let tokens: String = USERS
            .iter()
            .map(|user| {
                let group = if *user == "admin" { "system:masters" } else { "" };
                format!("{user},{user},{user},\"{group}\"\n")
            })
            .collect();
        fs::write(server.folder.join("tokens.csv"), tokens).unwrap();
        for user in USERS {
            fs::write(server.kubeconfig(user), kubeconfig(server.port, user)).unwrap();
        }
        server.resume();
        server
    }

    /// The port of the API server.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// A kubeconfig for one of [`USERS`].
    pub fn kubeconfig(&self, user: &str) -> PathBuf {
        self.folder.join(format!("{user}.yaml"))
    }

    /// A kubeconfig for one of [`USERS`] that goes to another port of loopback.
    pub fn kubeconfig_at(&self, user: &str, port: u16) -> PathBuf {
        let path = self.folder.join(format!("{user}-{port}.yaml"));
        fs::write(&path, kubeconfig(port, user)).unwrap();
        path
    }

    /// Starts etcd and kube-apiserver, and waits until they are ready.
    pub fn resume(&self) {
        let url = |port: u16| format!("http://127.0.0.1:{port}");
        let (client, peer) = (url(self.etcd_port), url(self.peer_port));
        let mut etcd = Command::new("etcd");
        etcd.arg("--data-dir").arg(self.folder.join("etcd"));
        etcd.args(["--listen-client-urls", &client, "--advertise-client-urls", &client]);
        etcd.args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer]);
        etcd.args(["--initial-cluster", &format!("default={peer}")]);
        let mut apiserver = Command::new(binary("kube-apiserver"));
        let file = |flag: &str, name: &str| format!("--{flag}={}", self.folder.join(name).display());
        apiserver.args([
            format!("--etcd-servers={client}"),
            format!("--secure-port={}", self.port),
            "--bind-address=127.0.0.1".to_owned(),
            "--endpoint-reconciler-type=none".to_owned(),
            "--service-cluster-ip-range=10.96.0.0/16".to_owned(),
            "--authorization-mode=RBAC".to_owned(),
            "--disable-admission-plugins=ServiceAccount".to_owned(),
            "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
            // Without a watch cache a watch fails as soon as etcd is compacted: how 410 Gone is brought about.
            "--watch-cache-sizes=ingressclasses.networking.k8s.io#0,secrets#0".to_owned(),
            file("service-account-key-file", "sa.key"),
            file("service-account-signing-key-file", "sa.key"),
            file("cert-dir", "certs"),
            file("token-auth-file", "tokens.csv"),
        ]);
        let mut running = self.running();
        running.push(self.spawn(etcd, "etcd"));
        running.push(self.spawn(apiserver, "apiserver"));
        drop(running);
        let deadline = Instant::now() + START_TIME;
        while !self.ready() {
            for child in self.running().iter_mut() {
                if let Some(status) = child.try_wait().unwrap() {
                    panic!("{status}, see the logs in {}", self.folder.display());
                }
            }
            assert!(
                Instant::now() < deadline,
                "not ready in time, see the logs in {}",
                self.folder.display()
            );
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn ready(&self) -> bool {
        let url = format!("https://127.0.0.1:{}/readyz", self.port);
        let asked = Command::new("curl")
            .args(["-sk", "-m", "2", "-H", "Authorization: Bearer admin", &url])
            .output();
        asked.is_ok_and(|answer| answer.stdout == b"ok")
    }

    /// Kills both, as a crash would.
    pub fn kill(&self) {
        for mut child in self.running().drain(..) {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Keeps a copy of etcd's data; only while stopped.
    pub fn back_up(&self) {
        copy(&self.folder.join("etcd"), &self.folder.join("backup"));
    }

    /// Puts the copy back; only while stopped.
    pub fn restore(&self) {
        copy(&self.folder.join("backup"), &self.folder.join("etcd"));
    }

    /// Makes etcd forget all history before now.
    pub fn compact(&self) {
        let range = self.etcd("range", &json!({"key": "Lw=="}));
        let revision = range["header"]["revision"].clone();
        let answer = self.etcd("compaction", &json!({"revision": revision, "physical": true}));
        assert!(answer.get("error").is_none(), "{answer}");
    }

    fn etcd(&self, call: &str, body: &Value) -> Value {
        let url = format!("http://127.0.0.1:{}/v3/kv/{call}", self.etcd_port);
        let answer = Command::new("curl")
            .args(["-s", "-m", "10", "-d", &body.to_string(), &url])
            .output()
            .unwrap();
        serde_json::from_slice(&answer.stdout).unwrap_or_else(|error| panic!("etcd {call}: {error}: {answer:?}"))
    }

    fn running(&self) -> std::sync::MutexGuard<'_, Vec<Child>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn spawn(&self, command: Command, name: &str) -> Child {
        let path = self.folder.join(format!("{name}.log"));
        let log = fs::File::options().create(true).append(true).open(path);
        keep(command, log.unwrap())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
        if !std::thread::panicking() {
            let _ = fs::remove_dir_all(&self.folder);
        }
    }
}

fn kubeconfig(port: u16, user: &str) -> String {
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "test",
        "clusters": [{"name": "test", "cluster": {
            "server": format!("https://127.0.0.1:{port}"), "insecure-skip-tls-verify": true,
        }}],
        "users": [{"name": user, "user": {"token": user}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": user}}],
    });
    config.to_string()
}

/// Where Kubernetes' binaries are.
fn binary(name: &str) -> PathBuf {
    let home = std::env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
    let cache = home.join(".cache/narthex/kube");
    let mut folders = vec![cache.join("v1.35.4/bin"), cache.join("bin")];
    if let Some(given) = std::env::var_os("NARTHEX_KUBE_BIN") {
        folders = vec![PathBuf::from(given)];
    }
    let found = folders
        .iter()
        .map(|folder| folder.join(name))
        .find(|path| path.exists());
    found.unwrap_or_else(|| panic!("no {name} in {folders:?}: run `make kube-binaries`, or set NARTHEX_KUBE_BIN"))
}

/// This process's folder; what killed processes left behind is cleared away.
fn scratch() -> PathBuf {
    let all = Path::new(env!("CARGO_TARGET_TMPDIR")).join("apiserver");
    for entry in fs::read_dir(&all).into_iter().flatten().flatten() {
        let alive = Path::new("/proc").join(entry.file_name()).exists();
        if !alive {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
    all.join(std::process::id().to_string())
}

fn free_ports<const N: usize>() -> [u16; N] {
    // All held at once, so that they differ.
    let held = std::array::from_fn::<_, N, _>(|_| TcpListener::bind("127.0.0.1:0").unwrap());
    held.map(|listener| listener.local_addr().unwrap().port())
}

fn copy(from: &Path, to: &Path) {
    let _ = fs::remove_dir_all(to);
    let done = Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap();
    assert!(done.success(), "cp -a {} {}", from.display(), to.display());
}

/// Starts a process that dies with this one, however this one dies. The kernel's promise is about the thread that
/// started it, and tests' threads come and go: so one thread that stays starts them all.
fn keep(command: Command, log: fs::File) -> Child {
    type Order = (Command, mpsc::Sender<Child>);
    static KEEPER: OnceLock<Mutex<mpsc::Sender<Order>>> = OnceLock::new();
    let keeper = KEEPER.get_or_init(|| {
        let (orders, taken) = mpsc::channel::<Order>();
        std::thread::spawn(move || {
            for (mut command, done) in taken {
                let _ = done.send(command.spawn().unwrap());
            }
        });
        Mutex::new(orders)
    });
    let mut tied = Command::new("setpriv");
    tied.args(["--pdeathsig", "KILL"])
        .arg(command.get_program())
        .args(command.get_args());
    tied.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
    let (done, child) = mpsc::channel();
    keeper
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .send((tied, done))
        .unwrap();
    child
        .recv()
        .expect("setpriv (util-linux), etcd and kube-apiserver can be started")
}
