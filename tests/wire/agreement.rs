//! What `explain` says of a request and what becomes of it on the wire are the same: generated requests go over HTTP/1 and
//! HTTP/2 to a running narthex with generated manifests, and its API is asked about each of them.
//!
//! `make agreement` plays 10,000 of them. AGREEMENT_SEED repeats a run, AGREEMENT_MANIFESTS takes the manifests of a
//! folder instead, and NARTHEX another program.

#[path = "agreement/http2.rs"]
mod http2;
#[path = "agreement/pods.rs"]
mod pods;
#[path = "agreement/request.rs"]
mod request;
#[path = "agreement/world.rs"]
mod world;

use crate::rig::{Client, becomes_ready, eventually, free_address};
use crate::tls_rig::{Tls, config};
use request::{Request, shorten};
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;
use world::{Flags, World};

/// Cases that `cargo test` plays.
const CASES: usize = 400;
/// Cases of one narthex.
const PER_WORLD: usize = 200;
/// Disagreements that are shown.
const SHOWN: usize = 25;

/// How often each status came, over HTTP/1 and over HTTP/2.
type Tallies = [BTreeMap<u16, usize>; 2];

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// A narthex that is stopped at the end.
struct Running {
    http: SocketAddr,
    https: SocketAddr,
    admin: SocketAddr,
    child: Child,
}

impl Running {
    fn start(folder: &Path, flags: &[String]) -> Self {
        let binary = std::env::var("NARTHEX").unwrap_or_else(|_| env!("CARGO_BIN_EXE_narthex").to_owned());
        // A free port may be taken between here and there; then another is tried.
        for _ in 0..5 {
            let (http, https, admin) = (free_address(), free_address(), free_address());
            let https_flag = if flags.iter().any(|flag| flag == "--listen-https") {
                vec![]
            } else {
                vec!["--listen-https".to_owned(), https.to_string()]
            };
            let mut child = Command::new(&binary)
                .args(["serve", "--shards", "1", "--log-level", "warn"])
                .args(["--listen-http", &http.to_string(), "--admin", &admin.to_string()])
                .args(https_flag)
                .args(flags)
                .arg("--manifests")
                .arg(folder.join("manifests"))
                .args(["--access-log", "json", "--access-log-file"])
                .arg(folder.join("access.log"))
                .env("NARTHEX_DRAIN_GRACE", "0s")
                .stderr(std::fs::File::create(folder.join("log")).unwrap())
                .stdout(Stdio::null())
                .spawn()
                .unwrap();
            if becomes_ready(&mut child, admin) {
                return Self {
                    http,
                    https,
                    admin,
                    child,
                };
            }
        }
        panic!(
            "narthex does not start: {}",
            std::fs::read_to_string(folder.join("log")).unwrap()
        );
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What became of a request, or is said to become of it.
#[derive(Debug, Default, PartialEq)]
struct Fate {
    status: u16,
    location: Option<String>,
    /// The pod that answered.
    pod: Option<String>,
    /// Whether it is an error in the form of gRPC, which narthex uses over HTTP/2 only.
    grpc: bool,
}

fn fate(head: &str, status: u16) -> Fate {
    let field = |wanted: &str| {
        let mut lines = head.lines().filter_map(|line| line.split_once(": "));
        let found = lines.find(|(name, _)| name.eq_ignore_ascii_case(wanted));
        found.map(|(_, value)| value.to_owned())
    };
    Fate {
        status,
        location: field("location"),
        pod: field("x-pod"),
        grpc: false,
    }
}

/// Reads one final reply, and not its body: the connection is of no further use.
fn reply(stream: &mut impl Read) -> Result<Fate, String> {
    let mut said = Vec::new();
    loop {
        while let Some(end) = said.windows(4).position(|window| window == b"\r\n\r\n") {
            let head: Vec<u8> = said.drain(..end + 4).collect();
            let head = String::from_utf8_lossy(&head).into_owned();
            let status: u16 = head.split(' ').nth(1).and_then(|text| text.parse().ok()).unwrap_or(0);
            if status >= 200 {
                return Ok(fate(&head, status));
            }
        }
        let mut piece = [0; 16384];
        match stream.read(&mut piece) {
            Ok(count) if count > 0 => said.extend_from_slice(&piece[..count]),
            Ok(_) => return Err("the connection ends without a reply".to_owned()),
            Err(error) => return Err(format!("reading: {error}")),
        }
    }
}

fn send(narthex: &Running, request: &Request, tls: &Arc<rustls::ClientConfig>) -> Result<Fate, String> {
    let address = if request.tls { narthex.https } else { narthex.http };
    let name = match &request.server_name {
        Some(name) => rustls::pki_types::ServerName::try_from(name.clone()).unwrap(),
        None => rustls::pki_types::ServerName::from(address.ip()),
    };
    if request.is_http2() {
        return http2::send(address, request, (name, tls));
    }
    let mut stream = TcpStream::connect(address).map_err(|error| error.to_string())?;
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.set_nodelay(true).unwrap();
    if let Some(header) = request.proxy_header() {
        stream.write_all(header.as_bytes()).map_err(|error| error.to_string())?;
    }
    let bytes = request.bytes();
    if !request.tls {
        // narthex may refuse and close before it has all; what it says is what counts.
        let _ = stream.write_all(&bytes);
        return reply(&mut stream);
    }
    let mut shaken = Tls::over(stream, name, tls.clone()).map_err(|error| format!("handshake: {error}"))?;
    let _ = shaken.0.write_all(&bytes);
    reply(&mut shaken.0)
}

/// `host/path` as the access log names a route, from a rule as `explain` names it.
fn name_of(rule: &Value) -> String {
    let (host, path) = (
        rule["host"].as_str().unwrap_or_default(),
        rule["path"].as_str().unwrap_or_default(),
    );
    match path.split_once(' ') {
        Some(("Prefix" | "Exact", path)) => format!("{host}{path}"),
        _ => format!("{host} (default backend)"),
    }
}

/// Whether both say the same; else what they differ in.
fn compare(explained: &Value, became: &Fate) -> Result<(), String> {
    let status = explained["status"]
        .as_u64()
        .and_then(|status| u16::try_from(status).ok());
    if let Some(status) = status {
        let as_grpc = became.grpc && became.status == 200 && status >= 400;
        if (became.status != status && !as_grpc) || became.pod.is_some() {
            return Err(format!("explain: {}, wire: {became:?}", explained["summary"]));
        }
        let location = explained["location"].as_str();
        if location != became.location.as_deref() {
            return Err(format!("explain: location {location:?}, wire: {became:?}"));
        }
        return Ok(());
    }
    let endpoints: Vec<&str> = explained["endpoints"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|endpoint| endpoint["address"].as_str())
        .collect();
    match &became.pod {
        Some(pod) if endpoints.contains(&pod.as_str()) => Ok(()),
        _ => Err(format!("explain: one of {endpoints:?} answers, wire: {became:?}")),
    }
}

/// Whether the access log names the route that `explain` names.
fn compare_route(explained: &Value, line: &Value) -> Result<(), String> {
    let Some(route) = line["route"].as_str() else {
        let route = &explained["route"];
        return match route.as_str() {
            None => Ok(()),
            Some(_) => Err(format!("explain: route {}, wire: none", name_of(&explained["rule"]))),
        };
    };
    let rule = &explained["rule"];
    let text = |field: &str| rule[field].as_str().unwrap_or_default();
    let (named, object) = (name_of(rule), format!("{} {}", text("object"), text("field")));
    if named == route && line["origin"] == object {
        Ok(())
    } else {
        let origin = &line["origin"];
        Err(format!("explain: route {named} of {object}, wire: {route} of {origin}"))
    }
}

/// Plays the cases of one narthex; the disagreements.
fn play(world: &World, flags: &Flags, rng: &mut fastrand::Rng, cases: usize, tallies: &mut Tallies) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("manifests")).unwrap();
    for (index, text) in world.files.iter().enumerate() {
        std::fs::write(folder.path().join(format!("manifests/{index}.yaml")), text).unwrap();
    }
    let narthex = Running::start(folder.path(), &flags.arguments(world));
    let tls = Arc::new(config(rustls::ALL_VERSIONS));
    let mut admin = Client::connect(narthex.admin);
    let mut played = HashMap::new();
    let mut found = Vec::new();
    for case in 0..cases {
        let request = Request::make(rng, world, flags, &format!("case-{case}"));
        let question = request.question();
        admin.send(format!("GET {question} HTTP/1.1\r\nHost: {}\r\n\r\n", narthex.admin));
        let answer = admin.answer();
        let said = String::from_utf8_lossy(&answer.body).into_owned();
        let explained: Value = serde_json::from_str(&said).unwrap_or_default();
        let became = send(&narthex, &request, &tls);
        let tally = &mut tallies[usize::from(request.is_http2())];
        if world.is_given() && became.as_ref().is_ok_and(|became| became.status == 502) {
            // Our pods cannot be all that somebody's manifests want of a pod, such as one with a certain certificate.
            *tally.entry(502).or_default() += 1;
            continue;
        }
        *tally
            .entry(became.as_ref().map_or(0, |became| became.status))
            .or_default() += 1;
        let compared = match (&became, answer.status) {
            (Ok(became), 200) => compare(&explained, became),
            (Ok(_), status) => Err(format!("explain answers {status}: {said}")),
            (Err(error), _) => Err(format!("explain: {}, wire: {error}", explained["summary"])),
        };
        let text = format!("{request}    {}", shorten(&question));
        if let Err(why) = compared {
            found.push(format!("{why}\n    {text}"));
        } else {
            played.insert(format!("case-{case}"), (explained, text));
        }
    }
    let log = folder.path().join("access.log");
    let lines = eventually("all requests are in the access log", || {
        let text = std::fs::read_to_string(&log).unwrap_or_default();
        let lines: Vec<Value> = text
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect();
        let last = |line: &Value| {
            line["headers"]["User-Agent"] == "the last one" || line["headers"]["user-agent"] == "the last one"
        };
        if !lines.iter().any(last) {
            let mut client = Client::connect(narthex.http);
            client.send("GET / HTTP/1.1\r\nHost: none.test\r\nUser-Agent: the last one\r\n\r\n");
            client.answer();
        }
        lines.iter().any(last).then_some(lines)
    });
    for line in lines {
        let agent = ["User-Agent", "user-agent"]
            .iter()
            .find_map(|name| line["headers"][name].as_str());
        let Some((explained, text)) = agent.and_then(|agent| played.get(agent)) else {
            continue;
        };
        if let Err(why) = compare_route(explained, &line) {
            found.push(format!("{why}\n    {text}"));
        }
    }
    found
}

#[test]
fn explain_and_the_wire_agree() {
    let cases = number("AGREEMENT_CASES").map_or(CASES, |cases| cases as usize);
    let seed = number("AGREEMENT_SEED").unwrap_or(1);
    println!("AGREEMENT_SEED={seed} AGREEMENT_CASES={cases}");
    let mut rng = fastrand::Rng::with_seed(seed);
    let pods = pods::start();
    let given = std::env::var_os("AGREEMENT_MANIFESTS").map(|folder| world::folders(Path::new(&folder)));
    let (mut played, mut round, mut found, mut tallies) = (0, 0, Vec::new(), Tallies::default());
    while played < cases {
        let world = match &given {
            None => World::make(&mut rng, pods),
            Some(folders) => World::of(&mut rng, &folders[round % folders.len()], pods),
        };
        let flags = Flags::make(&mut rng, &world);
        let here = PER_WORLD.min(cases - played);
        let shown = flags.arguments(&world).join(" ");
        let differ = play(&world, &flags, &mut rng, here, &mut tallies);
        found.extend(differ.into_iter().map(|text| format!("[{round}: {shown}]\n    {text}")));
        (played, round) = (played + here, round + 1);
    }
    println!(
        "{played} requests to {round} narthexes; statuses over HTTP/1: {:?}, over HTTP/2: {:?}; {} disagreements",
        tallies[0],
        tallies[1],
        found.len()
    );
    assert!(
        found.is_empty(),
        "{} of {played} disagree (AGREEMENT_SEED={seed}):\n{}",
        found.len(),
        found[..found.len().min(SHOWN)].join("\n")
    );
    assert!(
        given.is_some() || (tallies[0].len() > 8 && tallies[1].len() > 5),
        "too few kinds of answers: {tallies:?}"
    );
}
