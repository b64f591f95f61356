//! What pods do with their connections: closing them at any time, speaking unasked, speaking early, and much at once.

use crate::h2_rig;
use crate::rig::{Client, PATIENCE, Reply, Rig, eventually, ingress, service};
use crate::told_pod::{Then, ToldPod};
use std::future::poll_fn;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::Duration;

const GET: &str = "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nok\n";
const MIB: usize = 1 << 20;

/// A pod that is a function for each of its connections, and how many there were.
fn pod(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let connections: Arc<AtomicUsize> = Arc::default();
    let (serve, count) = (Arc::new(serve), connections.clone());
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            count.fetch_add(1, Ordering::SeqCst);
            stream.set_nodelay(true).unwrap();
            let serve = serve.clone();
            std::thread::spawn(move || serve(stream));
        }
    });
    (address, connections)
}

fn rig(address: SocketAddr) -> Rig {
    Rig::with(0, &["--shards", "1"], |_| {
        service("web", &[(address, "p")]) + &ingress("web", "a.test", "/", "web", "")
    })
}

/// Reads up to the end of a head. False if the connection ends instead.
fn head(stream: &mut TcpStream) -> bool {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            _ => return false,
        }
    }
    true
}

#[test]
fn a_head_that_comes_byte_by_byte_is_read() {
    let (address, _) = pod(|mut stream| {
        while head(&mut stream) {
            for byte in OK.bytes() {
                stream.write_all(&[byte]).unwrap();
            }
        }
    });
    let rig = rig(address);
    let mut client = rig.client();
    for _ in 0..3 {
        let answer = client.send(GET).answer();
        assert_eq!((answer.status, answer.body.as_slice()), (200, &b"ok\n"[..]));
    }
}

#[test]
fn what_comes_behind_a_response_answers_nobody() {
    // Each request is followed by a second response that nobody has asked for.
    let rig = Rig::new(1, &["--shards", "1"]);
    let stray = "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nstray\n";
    rig.pod().answers(Reply::text(&format!("{OK}{stray}")));
    let mut client = rig.client();
    for round in 1..=5 {
        assert_eq!(client.send(GET).answer().body, b"ok\n");
        assert_eq!(rig.pod().connections.load(Ordering::SeqCst), round);
    }
}

#[test]
fn what_a_pod_says_while_nobody_asks_answers_nobody() {
    let (speak, told) = channel();
    let (tell, spoken) = channel();
    let (told, tell) = (Mutex::new(told), Mutex::new(tell));
    let (address, connections) = pod(move |mut stream| {
        assert!(head(&mut stream));
        stream.write_all(OK.as_bytes()).unwrap();
        told.lock().unwrap().recv().unwrap();
        let stray = "HTTP/1.1 408 Too Late\r\ncontent-length: 0\r\n\r\n";
        stream.write_all(stray.as_bytes()).unwrap();
        tell.lock().unwrap().send(()).unwrap();
        // narthex asks for nothing more here.
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
        assert!(rest.is_empty());
    });
    let rig = rig(address);
    let mut client = rig.client();
    for round in 1..=10 {
        assert_eq!(client.send(GET).answer().status, 200, "request {round}");
        assert_eq!(connections.load(Ordering::SeqCst), round);
        speak.send(()).unwrap();
        spoken.recv_timeout(PATIENCE).unwrap();
    }
}

/// The pod's end has come before the next request does, so no request is lost by it, whatever its method.
#[test]
fn a_pod_that_closes_between_requests_costs_no_request() {
    let closed: Arc<AtomicUsize> = Arc::default();
    let counted = closed.clone();
    let (address, _) = pod(move |mut stream| {
        if head(&mut stream) {
            stream.write_all(OK.as_bytes()).unwrap();
        }
        drop(stream);
        counted.fetch_add(1, Ordering::SeqCst);
    });
    let rig = rig(address);
    let mut client = rig.client();
    for round in 1..=50 {
        client.send("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 0\r\n\r\n");
        assert_eq!(client.answer().status, 200, "request {round}");
        eventually("the pod has closed", || {
            (closed.load(Ordering::SeqCst) == round).then_some(())
        });
    }
    assert_eq!(rig.counter("retries_total"), 0);
}

/// Sends back what comes while it comes.
fn echo(mut stream: TcpStream) {
    while head(&mut stream) {
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {MIB}\r\n\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        let (mut left, mut piece) = (MIB, [0; 16 << 10]);
        while left > 0 {
            let Ok(count @ 1..) = stream.read(&mut piece) else {
                return;
            };
            stream.write_all(&piece[..count]).unwrap();
            left -= count;
        }
    }
}

#[test]
fn bodies_pass_both_ways_at_once() {
    let (address, connections) = pod(echo);
    let rig = rig(address);
    let mut client = rig.client();
    let body: Vec<u8> = (0..MIB).map(|at| (at / 251 % 256) as u8).collect();
    for _ in 0..5 {
        client.send(format!(
            "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: {MIB}\r\n\r\n"
        ));
        let (mut writer, sent) = (client.stream.try_clone().unwrap(), body.clone());
        let sending = std::thread::spawn(move || writer.write_all(&sent).unwrap());
        let answer = client.answer();
        assert_eq!(answer.status, 200);
        assert!(answer.body == body, "the body has changed on its way");
        sending.join().unwrap();
    }
    assert_eq!(connections.load(Ordering::SeqCst), 1);
}

/// A pod that answers at once and at length, and reads the request meanwhile. The client reads nothing until it has sent
/// everything.
#[test]
fn an_upload_goes_on_though_its_client_does_not_read_yet() {
    let (address, _) = pod(|mut stream| {
        if !head(&mut stream) {
            return;
        }
        let mut writer = stream.try_clone().unwrap();
        std::thread::spawn(move || {
            let fields = format!("content-length: {}\r\nconnection: close\r\n", 16 * MIB);
            let head = format!("HTTP/1.1 200 OK\r\n{fields}\r\n");
            let _ = writer.write_all(head.as_bytes());
            let _ = writer.write_all(&vec![b'x'; 16 * MIB]);
        });
        let _ = stream.read_exact(&mut vec![0; 8 * MIB]);
        let _ = std::io::copy(&mut stream, &mut std::io::sink());
    });
    let rig = rig(address);
    let mut client = rig.client();
    client.send(format!(
        "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: {}\r\n\r\n",
        8 * MIB
    ));
    client.stream.set_write_timeout(Some(PATIENCE)).unwrap();
    client.stream.write_all(&vec![b'y'; 8 * MIB]).unwrap();
    assert_eq!(client.answer().body.len(), 16 * MIB);
    h2_rig::run(async {
        let mut sender = h2_rig::connect(&rig).await;
        let request = h2_rig::request("POST", "http://a.test/").body(()).unwrap();
        let (answer, mut sending) = sender.send_request(request, false).unwrap();
        let mut left = 8 * MIB;
        while left > 0 {
            sending.reserve_capacity(left);
            let room = poll_fn(|cx| sending.poll_capacity(cx)).await;
            let room = room.expect("the stream goes on").unwrap();
            sending.send_data(vec![b'y'; room].into(), room == left).unwrap();
            left -= room;
        }
        let mut answer = answer.await.unwrap();
        assert_eq!(answer.status(), 200);
        let (body, _) = h2_rig::read(answer.body_mut()).await.unwrap();
        assert_eq!(body.len(), 16 * MIB);
    });
}

/// The kernel keeps what a pod has said over its reset.
#[test]
fn an_early_answer_survives_a_reset() {
    let (address, _) = pod(|mut stream| {
        if !head(&mut stream) {
            return;
        }
        let refusal = "HTTP/1.1 413 Content Too Large\r\ncontent-length: 8\r\n\r\ntoo big\n";
        stream.write_all(refusal.as_bytes()).unwrap();
        socket2::SockRef::from(&stream)
            .set_linger(Some(Duration::ZERO))
            .unwrap();
    });
    let rig = rig(address);
    for _ in 0..20 {
        let mut client = rig.client();
        client.send(format!(
            "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: {}\r\n\r\n",
            8 * MIB
        ));
        let mut writer = client.stream.try_clone().unwrap();
        let sending = std::thread::spawn(move || drop(writer.write_all(&vec![b'x'; 8 * MIB])));
        let answer = client.answer();
        assert_eq!((answer.status, answer.body.as_slice()), (413, &b"too big\n"[..]));
        let _ = client.stream.shutdown(std::net::Shutdown::Both);
        sending.join().unwrap();
    }
}

#[test]
fn a_hundred_interim_responses_pass_and_thousands_are_no_answer() {
    let rig = Rig::new(1, &["--shards", "1"]);
    let interim = "HTTP/1.1 103 Early Hints\r\nlink: </style.css>\r\n\r\n";
    for (times, status) in [(100, 200), (2000, 502)] {
        rig.pod().answers(Reply::text(&(interim.repeat(times) + OK)));
        let mut client = rig.client();
        client.send(GET);
        let mut answers = std::iter::repeat_with(|| client.answer().status);
        let last = answers.find(|status| *status != 103);
        assert_eq!(last, Some(status), "{times}");
    }
    rig.logged("too many interim");
}

#[test]
fn trailers_of_pods_pass_and_the_connection_is_used_again() {
    let rig = Rig::new(1, &["--shards", "1"]);
    let trailed = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 7\r\n\
                   content-length: 9\r\n\r\n";
    rig.pod().answers(Reply::text(trailed));
    let mut client = rig.client();
    for _ in 0..3 {
        let answer = client
            .send("GET / HTTP/1.1\r\nHost: a.test\r\nTE: trailers\r\n\r\n")
            .answer();
        assert_eq!(answer.body, b"3\r\nabc\r\n0\r\nx-sum: 7\r\n\r\n");
    }
    assert_eq!(rig.pod().connections.load(Ordering::SeqCst), 1);
}

#[test]
fn a_pod_that_says_nothing_more_is_told_that_its_client_has_gone() {
    let pod = ToldPod::start(Then::Says(
        vec!["HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc"],
        Duration::ZERO,
    ));
    let rig = rig(pod.address);
    let mut client: Client = rig.client();
    client.stream.set_read_timeout(Some(PATIENCE)).unwrap();
    client.send(GET);
    assert!(client.bytes(12).starts_with(b"HTTP/1.1 200"));
    drop(client);
    pod.ended(1);
}
