//! One narthex after another on the same addresses: sockets are handed over (`--hand-over`), and nobody is lost.

use crate::h2_rig::{connect_and_watch, request, run};
use crate::rig::{Client, PATIENCE, Reply, Rig, eventually, get, ingress, service_with};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr as UnixAddress, UnixListener, UnixStream};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A name nobody else on this machine uses.
pub fn name(of: &str) -> String {
    format!("{of}-{}", std::process::id())
}

/// Another narthex with the rig's flags.
pub struct Next(pub Child);

impl Next {
    pub fn start(rig: &Rig, flags: &[&str], environment: &[(&str, &str)]) -> Self {
        let log = std::fs::File::create(rig.folder.path().join(".next")).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_narthex"))
            .args(["serve", "--listen-http", &rig.http.to_string()])
            .args([
                "--listen-https",
                &rig.https.to_string(),
                "--admin",
                &rig.admin.to_string(),
            ])
            .args(["--log-level", "debug", "--manifests"])
            .arg(rig.folder.path())
            .env("NARTHEX_DRAIN_GRACE", "0s")
            .envs(environment.iter().copied())
            .args(flags)
            .stderr(log)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        Self(child)
    }
}

impl Drop for Next {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What answers on the admin address calls itself.
pub fn who(admin: SocketAddr) -> Option<String> {
    let (status, said) = get(admin, "/api/v1/version");
    (status == 200).then(|| said.split("\"pod\": \"").nth(1)?.split('"').next().map(str::to_owned))?
}

/// Clients that ask again and again until they are stopped, each on a connection of its own or on one that it keeps.
struct Load {
    stop: Arc<AtomicBool>,
    threads: Vec<std::thread::JoinHandle<()>>,
    answered: Arc<AtomicUsize>,
    failed: Arc<Mutex<Vec<String>>>,
}

impl Load {
    fn start(address: SocketAddr) -> Self {
        let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let failed: Arc<Mutex<Vec<String>>> = Arc::default();
        let threads = (0..6)
            .map(|index| {
                let (stop, answered, failed) = (stop.clone(), answered.clone(), failed.clone());
                std::thread::spawn(move || {
                    let mut kept = None;
                    while !stop.load(Ordering::Relaxed) {
                        match ask(address, &mut kept, index % 2 == 0) {
                            Ok(()) => drop(answered.fetch_add(1, Ordering::Relaxed)),
                            Err(why) => failed.lock().unwrap().push(why),
                        }
                    }
                })
            })
            .collect();
        Self {
            stop,
            threads,
            answered,
            failed,
        }
    }

    fn answered(&self) -> usize {
        self.answered.load(Ordering::Relaxed)
    }

    /// Waits for many more answers.
    fn goes_on(&self) {
        let before = self.answered();
        eventually("clients get answers", || (self.answered() > before + 200).then_some(()));
    }

    fn stop(self) -> Vec<String> {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().unwrap();
        }
        std::mem::take(&mut self.failed.lock().unwrap())
    }
}

fn ask(address: SocketAddr, kept: &mut Option<TcpStream>, keep: bool) -> Result<(), String> {
    let mut stream = match kept.take() {
        Some(stream) => stream,
        None => TcpStream::connect(address).map_err(|error| format!("connect: {error}"))?,
    };
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let close = if keep { "" } else { "Connection: close\r\n" };
    stream
        .write_all(format!("GET / HTTP/1.1\r\nHost: a.test\r\n{close}\r\n").as_bytes())
        .map_err(|error| format!("write: {error}"))?;
    let mut said = Vec::new();
    while !said.ends_with(b"\r\n\r\nok\n") {
        let mut piece = [0; 1024];
        match stream.read(&mut piece) {
            Ok(0) => return Err(format!("ended after {said:?}")),
            Ok(count) => said.extend_from_slice(&piece[..count]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(format!("read: {error} after {said:?}")),
        }
    }
    let said = String::from_utf8_lossy(&said).to_lowercase();
    if !said.starts_with("http/1.1 200 ") {
        return Err(said);
    }
    if keep && !said.contains("connection: close") {
        *kept = Some(stream);
    }
    Ok(())
}

#[test]
fn an_upgrade_under_load_loses_no_request() {
    let name = name("upgrade");
    let mut rig = Rig::new(2, &["--hand-over", &name, "--pod", "p0", "--drain-spread", "1s"]);
    assert_eq!(who(rig.admin).as_deref(), Some("p0"));
    let load = Load::start(rig.http);
    load.goes_on();
    let mut idle = Client::connect(rig.http);
    assert_eq!(idle.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").answer().status, 200);
    let mut next = Vec::new();
    for index in 1..=3 {
        let pod = format!("p{index}");
        let flags = ["--hand-over", &name, "--pod", &pod, "--drain-spread", "1s"];
        next.push(Next::start(&rig, &flags, &[]));
        eventually("the next one answers on the admin address", || {
            (who(rig.admin)? == pod).then_some(())
        });
        load.goes_on();
        let old = match index {
            1 => &mut rig.child,
            _ => &mut next[index - 2].0,
        };
        // Not told to end by anybody: it knows that it is not needed.
        let status = eventually("the old one ends", || old.try_wait().unwrap());
        assert!(status.success(), "{status}");
    }
    assert!(idle.ends(), "an idle connection of the first is closed");
    let answered = load.answered();
    let failed = load.stop();
    assert!(
        failed.is_empty(),
        "{} of {answered}: {:?}",
        failed.len(),
        failed.first()
    );
}

/// In a pod the kubelet ends the old one; until then it stands by.
#[test]
fn a_predecessor_goes_on_if_its_successor_dies() {
    let name = name("dies");
    let in_pod = [("KUBERNETES_SERVICE_HOST", "10.0.0.1")];
    let rig = Rig::within(&in_pod, 1, &["--hand-over", &name, "--pod", "a"], |pods| {
        service_with("web", pods, "") + &ingress("web", "a.test", "/", "web", "")
    });
    for _ in 0..2 {
        let successor = Next::start(&rig, &["--hand-over", &name, "--pod", "b"], &in_pod);
        eventually("the successor has taken over", || {
            (who(rig.admin)? == "b").then_some(())
        });
        let mut client = rig.client();
        client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
        assert_eq!(client.answer().status, 200);
        drop(successor);
        // Who comes in between waits in the queue that both have.
        let load = Load::start(rig.http);
        load.goes_on();
        let failed = load.stop();
        assert!(failed.is_empty(), "{failed:?}");
        assert_eq!(who(rig.admin).as_deref(), Some("a"));
    }
}

/// Who connects before the change and is not accepted yet is in the queue of a socket that stays open throughout.
#[test]
fn who_waits_in_the_queue_is_served_by_the_successor() {
    let name = name("queue");
    let flags = ["--hand-over", name.as_str(), "--max-connections", "4"];
    let mut rig = Rig::new(1, &flags);
    let busy: Vec<Client> = (0..4).map(|_| rig.client()).collect();
    eventually("all places are taken", || {
        (rig.counter("connections_total") >= 4).then_some(())
    });
    let mut waiting: Vec<Client> = (0..20).map(|_| rig.client()).collect();
    for client in &mut waiting {
        client.send("GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n");
    }
    let _next = Next::start(&rig, &["--hand-over", &name], &[]);
    drop(busy);
    eventually("the old one ends", || rig.child.try_wait().unwrap());
    for client in &mut waiting {
        assert_eq!(client.answer().status, 200);
    }
}

#[test]
fn a_stranger_gets_no_sockets_and_stops_nobody() {
    let name = name("stranger");
    let address = UnixAddress::from_abstract_name(format!("narthex/{name}")).unwrap();
    // Somebody has the name, and says what is no answer.
    let squatter = UnixListener::bind_addr(&address).unwrap();
    let babbling = std::thread::spawn(move || {
        let (mut stream, _) = squatter.accept().unwrap();
        stream.write_all(b"{\"Gives\":[]} nonsense\n").unwrap();
        drop(squatter);
    });
    let rig = Rig::new(1, &["--hand-over", &name]);
    babbling.join().unwrap();
    rig.logged("does not hand over");
    // Now narthex has it, and listens to no nonsense.
    let mut stream = eventually("narthex has the name", || UnixStream::connect_addr(&address).ok());
    stream.write_all(&vec![b'x'; 100_000]).unwrap_or_default();
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest);
    assert!(rest.is_empty());
    let mut client = rig.client();
    assert_eq!(
        client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").answer().status,
        200
    );
    assert_eq!(rig.counter("requests_total"), 1);
}

/// GOAWAY tells the client what was taken up; streams under way finish (RFC 9113, section 6.8).
#[test]
fn streams_under_way_finish_and_then_the_process_ends_well() {
    let mut rig = Rig::new(1, &["--shards", "1", "--drain-spread", "0s"]);
    rig.pod().takes(Duration::from_secs(1));
    run(async {
        let (mut sender, ended) = connect_and_watch(&rig).await;
        let asked = (0..5).map(|_| {
            let request = request("GET", "http://a.test/").body(()).unwrap();
            sender.send_request(request, true).unwrap().0
        });
        let asked: Vec<_> = asked.collect();
        // An idle one beside it.
        let (_other, other_ended) = connect_and_watch(&rig).await;
        while rig.pod().requests().len() < 5 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        terminate(&rig.child);
        for response in asked {
            let (parts, mut body) = response.await.unwrap().into_parts();
            assert_eq!(parts.status, 200);
            assert_eq!(body.data().await.unwrap().unwrap(), "ok\n");
        }
        ended.await.unwrap();
        other_ended.await.unwrap();
    });
    let status = eventually("it ends", || rig.child.try_wait().unwrap());
    assert!(status.success(), "{status}");
}

/// What does not end by itself is cut at the deadline, and that is no failure of the process.
#[test]
fn the_deadline_ends_what_does_not_end() {
    let mut rig = Rig::new(1, &["--drain-deadline", "300ms"]);
    rig.pod().answers(Reply::Silence);
    let mut client = rig.client();
    client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
    rig.pod().last();
    terminate(&rig.child);
    assert!(client.answer_to("GET").is_none());
    let status = eventually("it ends", || rig.child.try_wait().unwrap());
    assert!(status.success(), "{status}");
    rig.logged("the drain deadline has passed");
}

pub fn terminate(child: &Child) {
    let id = rustix::process::Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
}
