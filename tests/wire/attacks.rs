//! Raw bytes that a proxy has to understand as a strict parser does, or refuse: cases as data, played by one runner.
//!
//! They are played against narthex, whole and byte by byte, and checked. With `NARTHEX_WIRE_TARGET=HOST:PORT` they are
//! played against whatever proxy is there and nothing is checked: the runner prints what that proxy did, a line for
//! each case. Its backend for the host `a.test` has to be the pod this test starts, at `NARTHEX_WIRE_POD` (by default
//! 127.0.0.1:18081). `make differential` does that with nginx and HAProxy; docs/security.md shows the outcome.

#[path = "attacks/bodies.rs"]
mod bodies;
#[path = "attacks/heads.rs"]
mod heads;
#[path = "attacks/hosts.rs"]
mod hosts;
#[path = "attacks/paths.rs"]
mod paths;
#[path = "attacks/request_line.rs"]
mod request_line;
#[path = "attacks/sequences.rs"]
mod sequences;
#[path = "attacks/splits.rs"]
mod splits;

use crate::rig::{PATIENCE, Rig, eventually, ingress, message_length, service};
use crate::strict_pod::{Message, Seen, StrictPod};
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

/// Where the pod is that a foreign proxy has for its backend.
const POD: &str = "127.0.0.1:18081";
/// How long a foreign proxy may say nothing before it counts as done.
const QUIET: Duration = Duration::from_millis(400);
/// How a request begins whose body is broken.
const BROKEN: &str = "POST /broken ";
/// Shows whether a connection goes on.
const AGAIN: &[u8] = b"GET /again HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n";

/// One attack, and what narthex is to make of it.
pub struct Case {
    /// The row of the threat table.
    pub row: u8,
    pub name: String,
    /// Each is one write.
    pub pieces: Vec<Vec<u8>>,
    /// The status of each reply.
    pub says: Vec<u16>,
    /// Whether the connection ends then; none where both are right.
    pub closes: Option<bool>,
    pub pod: Vec<Wanted>,
    /// Names of fields whose values the table shows.
    pub shows: Vec<&'static str>,
    /// Why narthex does what it does, where others do something else.
    pub why: &'static str,
}

/// A request the pod is to see.
#[derive(Default)]
pub struct Wanted {
    pub line: String,
    pub body: String,
    pub fields: Vec<(&'static str, &'static [&'static str])>,
}

/// A case of these bytes. Not refused, it is one request that the pod sees as `line`.
pub fn case(row: u8, name: impl Into<String>, bytes: impl AsRef<[u8]>) -> Case {
    Case {
        row,
        name: name.into(),
        pieces: vec![bytes.as_ref().to_vec()],
        says: Vec::new(),
        closes: Some(false),
        pod: Vec::new(),
        shows: Vec::new(),
        why: "",
    }
}

impl Case {
    /// This status, the end of the connection, and nothing for the pod.
    pub fn refused(mut self, status: u16) -> Self {
        self.says.push(status);
        self.closes = Some(true);
        self
    }

    /// As `refused`, in the body, when the pod may have the head already. Its target says so, for the pod may see how it
    /// ends when the next case is played.
    pub fn broken(mut self) -> Self {
        let text = String::from_utf8_lossy(&self.pieces[0]).replacen("POST / ", BROKEN, 1);
        self.pieces[0] = text.into_bytes();
        self.refused(400)
    }

    /// This status without asking the pod; the connection goes on.
    pub fn answered(mut self, status: u16) -> Self {
        self.says.push(status);
        self
    }

    /// Another write.
    pub fn then(mut self, bytes: impl AsRef<[u8]>) -> Self {
        self.pieces.push(bytes.as_ref().to_vec());
        self
    }

    /// 200 from the pod, which sees this request line.
    pub fn passes(mut self, line: &str) -> Self {
        self.says.push(200);
        self.pod.push(Wanted {
            line: format!("{line} HTTP/1.1"),
            ..Wanted::default()
        });
        self
    }

    /// With this body.
    pub fn body(mut self, body: &str) -> Self {
        self.pod.last_mut().unwrap().body = body.to_owned();
        self
    }

    /// With these lines of a field, and no others.
    pub fn field(mut self, name: &'static str, values: &'static [&'static str]) -> Self {
        self.pod.last_mut().unwrap().fields.push((name, values));
        self.shows.push(name);
        self
    }

    /// And the connection ends.
    pub fn closes(mut self) -> Self {
        self.closes = Some(true);
        self
    }

    /// And the connection ends or not, as the bytes happen to come.
    pub fn ends_either_way(mut self) -> Self {
        self.closes = None;
        self
    }

    pub fn why(mut self, why: &'static str) -> Self {
        self.why = why;
        self
    }
}

pub fn all() -> Vec<(&'static str, Vec<Case>)> {
    vec![
        ("Request line", request_line::cases()),
        ("Host", hosts::cases()),
        ("Paths", paths::cases()),
        ("Content-Length and Transfer-Encoding", bodies::lengths()),
        ("Chunks and trailers", bodies::chunks()),
        ("Lines and bytes of a head", heads::cases()),
        ("Upgrades", sequences::upgrades()),
        ("One request behind another", sequences::pipelines()),
    ]
}

/// The statuses of the replies in a buffer. Of the last, not all need be there.
fn statuses(mut bytes: &[u8]) -> Vec<u16> {
    let mut found = Vec::new();
    while let Some(head) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
        let text = String::from_utf8_lossy(&bytes[..head]);
        let status = text
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok())
            .unwrap_or(0);
        found.push(status);
        let length = match status {
            100..200 | 204 | 304 => Some(head + 4),
            _ => message_length(bytes),
        };
        let Some(rest) = length.and_then(|length| bytes.get(length..)) else {
            break;
        };
        bytes = rest;
    }
    found
}

/// Without 100: a body that is there already need not be asked for.
fn finals(statuses: Vec<u16>) -> Vec<u16> {
    statuses.into_iter().filter(|status| *status != 100).collect()
}

/// One connection's bytes, until it has been as quiet as its time-out says, or its end.
struct Talk {
    stream: TcpStream,
    heard: Vec<u8>,
    ended: bool,
}

impl Talk {
    fn with(target: impl std::net::ToSocketAddrs, patience: Duration) -> Self {
        let stream = TcpStream::connect(target).unwrap();
        stream.set_read_timeout(Some(patience)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self {
            stream,
            heard: Vec::new(),
            ended: false,
        }
    }

    /// Who has refused already need not take it.
    fn say(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    /// Whether more came.
    fn hear(&mut self) -> bool {
        let mut piece = [0; 65536];
        match self.stream.read(&mut piece) {
            Ok(count) if count > 0 => self.heard.extend_from_slice(&piece[..count]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => return false,
            _ => self.ended = true,
        }
        !self.ended
    }
}

/// What the pod saw, without the beginnings of requests whose bodies are broken: whether it gets those is chance.
fn seen_since(pod: &StrictPod, before: usize) -> Vec<Seen> {
    let counts = |seen: &Seen| !matches!(seen, Seen::Cut(text) if text.starts_with(BROKEN));
    pod.seen().into_iter().skip(before).filter(counts).collect()
}

fn rig(pod: &StrictPod) -> Rig {
    let endpoints = [(pod.address, "p0")];
    Rig::with(0, &[], |_| {
        service("web", &endpoints) + &ingress("web", "a.test", "/", "web", "")
    })
}

/// Plays a case against narthex and says what is not as it should be.
fn play(rig: &Rig, pod: &StrictPod, case: &Case, bytewise: bool) -> Result<(), String> {
    let before = pod.seen().len();
    let mut talk = Talk::with(rig.http, PATIENCE);
    for (index, piece) in case.pieces.iter().enumerate() {
        // The next is an answer to what was said: 100.
        while statuses(&talk.heard).len() < index && talk.hear() {}
        match bytewise {
            true => piece.chunks(1).for_each(|byte| talk.say(byte)),
            false => talk.say(piece),
        }
    }
    let mut wanted: Vec<&Wanted> = case.pod.iter().collect();
    let mut says = case.says.clone();
    let again = Wanted {
        line: "GET /again HTTP/1.1".to_owned(),
        ..Wanted::default()
    };
    if case.closes == Some(false) {
        let due = finals(says.clone()).len();
        while finals(statuses(&talk.heard)).len() < due && talk.hear() {}
        talk.say(AGAIN);
        says.push(200);
        wanted.push(&again);
    }
    let due = finals(says.clone()).len();
    while finals(statuses(&talk.heard)).len() < due && talk.hear() {}
    if case.closes != Some(true) {
        let _ = talk.stream.shutdown(Shutdown::Write);
    }
    while talk.hear() {}
    let said = finals(statuses(&talk.heard));
    if said != finals(says) || !talk.ended {
        return Err(format!(
            "it says {said:?}, {}",
            if talk.ended { "and ends" } else { "and goes on" }
        ));
    }
    let seen = || seen_since(pod, before);
    eventually("the pod has seen it", || (seen().len() >= wanted.len()).then_some(()));
    let seen = seen();
    let same = seen.len() == wanted.len() && seen.iter().zip(&wanted).all(|(seen, wanted)| wanted.is(seen));
    if same {
        Ok(())
    } else {
        Err(format!("the pod sees {seen:#?}"))
    }
}

impl Wanted {
    fn is(&self, seen: &Seen) -> bool {
        let Seen::Whole(message) = seen else { return false };
        let fields = self.fields.iter().all(|(name, values)| message.field(name) == *values);
        message.line == self.line && message.body == self.body && fields
    }
}

/// Foreign proxies get a table instead of a verdict.
fn target() -> Option<String> {
    std::env::var("NARTHEX_WIRE_TARGET").ok()
}

fn check(bytewise: bool) {
    let pod = StrictPod::start("127.0.0.1:0");
    let rig = rig(&pod);
    let mut wrong = Vec::new();
    for (group, cases) in all() {
        for case in cases {
            if let Err(why) = play(&rig, &pod, &case, bytewise) {
                wrong.push(format!("{group}, row {}, {}: {why}", case.row, case.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{} cases:\n{}", wrong.len(), wrong.join("\n"));
    // Nothing came late, and hyper never had to refuse what the filter should have.
    let faults: Vec<Seen> = pod
        .seen()
        .into_iter()
        .filter(|seen| matches!(seen, Seen::Fault(..)))
        .collect();
    assert!(faults.is_empty(), "{faults:#?}");
    assert_eq!(rig.counter("http_library_refusals_total"), 0);
}

#[test]
fn hostile_bytes_are_read_as_a_strict_parser_reads_them_or_refused() {
    match target() {
        None => check(false),
        Some(target) => show(&target),
    }
}

#[test]
fn it_does_not_matter_how_hostile_bytes_are_split() {
    if target().is_none() {
        check(true);
    }
}

/// What a proxy did with each case: group, row, name, its cell of the table, and why narthex does what it does.
fn show(target: &str) {
    let address = std::env::var("NARTHEX_WIRE_POD").unwrap_or_else(|_| POD.to_owned());
    let pod = StrictPod::start(&address);
    for (group, cases) in all() {
        for case in cases {
            let before = pod.seen().len();
            let mut talk = Talk::with(target, QUIET);
            for piece in &case.pieces {
                talk.say(piece);
                if case.pieces.len() > 1 {
                    while talk.hear() {}
                }
            }
            while talk.hear() {}
            let seen = seen_since(&pod, before);
            let cell = cell(&statuses(&talk.heard), talk.ended, &seen, &case.shows);
            println!("case\t{group}\t{}\t{}\t{cell}\t{}", case.row, case.name, case.why);
        }
    }
}

fn cell(says: &[u16], ended: bool, seen: &[Seen], shows: &[&str]) -> String {
    let words: Vec<String> = says.iter().map(u16::to_string).collect();
    let mut cell = words.join(" + ");
    // What is usual is not said: that a connection goes on after an answer, and ends with a refusal.
    let refused = says.last().is_some_and(|status| *status >= 400 && *status != 404);
    cell += match (says.is_empty(), refused, ended) {
        (true, _, true) => "closed",
        (true, _, false) => "nothing",
        (false, true, false) => ", open",
        (false, false, true) => ", closed",
        _ => "",
    };
    for seen in seen {
        cell += match seen {
            Seen::Whole(_) => " → ",
            Seen::Fault(..) => " ⚠ ",
            Seen::Cut(_) => " ✂ ",
        };
        cell += &match seen {
            Seen::Whole(message) => summary(message, shows),
            Seen::Fault(why, _) => (*why).to_owned(),
            Seen::Cut(text) => text.lines().next().unwrap_or_default().escape_debug().to_string(),
        };
    }
    cell
}

fn summary(message: &Message, shows: &[&str]) -> String {
    let mut text = message.line.split(" HTTP/1.").next().unwrap_or_default().to_owned();
    if !message.body.is_empty() {
        text += &format!(" [{}]", message.body.escape_debug());
    }
    for name in shows {
        for value in message.field(name) {
            text += &format!(" {name}: {}", value.escape_debug());
        }
    }
    for (name, value) in &message.trailers {
        text += &format!(" trailer {name}: {}", value.escape_debug());
    }
    text
}
