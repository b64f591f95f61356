//! Clients that are never idle for long, on connections they keep, while one narthex follows another: none of their
//! requests is lost.

use crate::rig::{PATIENCE, Rig, eventually};
use crate::upgrade::{Next, name, terminate, who};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How long clients wait between a reply and their next request.
const PAUSES: [u64; 3] = [1, 4, 50];
const CLIENTS: usize = 15;
const CHANGES: usize = 5;

#[derive(Default)]
struct Seen {
    stop: AtomicBool,
    /// On connections that had served a request before.
    kept: AtomicUsize,
    failed: Mutex<Vec<String>>,
}

/// One request. Whether the connection goes on.
fn ask(stream: &mut TcpStream) -> Result<bool, String> {
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
        .map_err(|error| format!("write: {error}"))?;
    let mut said = Vec::new();
    while !said.ends_with(b"\r\n\r\nok\n") {
        let mut piece = [0; 1024];
        match stream.read(&mut piece) {
            Ok(0) => return Err(format!("ended after {said:?}")),
            Ok(count) => said.extend_from_slice(&piece[..count]),
            Err(error) => return Err(format!("read: {error} after {said:?}")),
        }
    }
    let said = String::from_utf8_lossy(&said).to_lowercase();
    match said.starts_with("http/1.1 200 ") {
        true => Ok(!said.contains("connection: close")),
        false => Err(said),
    }
}

/// Asks on one connection as long as that goes on, and then on another. A first request may meet a socket that is being
/// closed, so only those that follow count.
fn client(address: SocketAddr, pause: Duration, seen: &Seen) {
    while !seen.stop.load(Ordering::Relaxed) {
        let Ok(mut stream) = TcpStream::connect(address) else {
            std::thread::sleep(pause);
            continue;
        };
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut goes_on = ask(&mut stream).unwrap_or(false);
        while goes_on && !seen.stop.load(Ordering::Relaxed) {
            std::thread::sleep(pause);
            seen.kept.fetch_add(1, Ordering::Relaxed);
            goes_on = ask(&mut stream).unwrap_or_else(|why| {
                seen.failed.lock().unwrap().push(why);
                false
            });
        }
    }
}

/// Has clients ask while `change` replaces narthex again and again.
fn under_load(rig: &mut Rig, mut change: impl FnMut(&Rig, usize) -> Next, ends: impl Fn(&std::process::Child)) {
    let seen: Arc<Seen> = Arc::default();
    let clients: Vec<_> = (0..CLIENTS)
        .map(|index| {
            let (seen, address) = (seen.clone(), rig.http);
            let pause = Duration::from_millis(PAUSES[index % PAUSES.len()]);
            std::thread::spawn(move || client(address, pause, &seen))
        })
        .collect();
    let goes_on = || {
        let before = seen.kept.load(Ordering::Relaxed);
        eventually("clients get answers", || {
            (seen.kept.load(Ordering::Relaxed) > before + 1000).then_some(())
        });
    };
    goes_on();
    let mut last: Option<Next> = None;
    for index in 1..=CHANGES {
        let next = change(rig, index);
        goes_on();
        let old = last.as_mut().map_or(&mut rig.child, |last| &mut last.0);
        ends(old);
        let status = eventually("the old one ends", || old.try_wait().unwrap());
        assert!(status.success(), "{status}");
        last = Some(next);
        goes_on();
    }
    seen.stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.join().unwrap();
    }
    let failed = seen.failed.lock().unwrap();
    let kept = seen.kept.load(Ordering::Relaxed);
    assert!(
        failed.is_empty(),
        "{} of {kept} failed: {:?}",
        failed.len(),
        failed.first()
    );
}

#[test]
fn busy_kept_connections_lose_nothing_when_sockets_are_handed_over() {
    let name = name("busy");
    let flags = |pod: &'static str| {
        [
            "--hand-over".to_owned(),
            name.clone(),
            "--pod".to_owned(),
            pod.to_owned(),
        ]
    };
    let first = flags("p0");
    let mut rig = Rig::new(2, &first.each_ref().map(String::as_str));
    let next = |rig: &Rig, index: usize| {
        let pod = ["p1", "p2", "p3", "p4", "p5"][index - 1];
        let flags = flags(pod);
        let next = Next::start(rig, &flags.each_ref().map(String::as_str), &[]);
        eventually("the next one answers on the admin address", || {
            (who(rig.admin)? == pod).then_some(())
        });
        next
    };
    under_load(&mut rig, next, |_| {});
}

#[test]
fn busy_kept_connections_lose_nothing_when_ports_are_shared() {
    let mut rig = Rig::new(2, &["--share-ports", "--pod", "p0"]);
    let next = |rig: &Rig, index: usize| {
        let pod = ["p1", "p2", "p3", "p4", "p5"][index - 1];
        let next = Next::start(rig, &["--share-ports", "--pod", pod], &[]);
        // The kernel asks either of them.
        eventually("the next one answers on the admin address", || {
            (who(rig.admin)? == pod).then_some(())
        });
        next
    };
    under_load(&mut rig, next, terminate);
}
