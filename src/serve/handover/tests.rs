//! Hand-overs between two ends in one process, and with releases that take and ask one question.

use super::*;
use crate::table::ListenerProtocol;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::sync::atomic::{AtomicU32, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// A name that no other test has.
fn name() -> Name {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    Name::new(&format!("handover-tests-{}-{count}", std::process::id())).unwrap()
}

/// A place for itself; the port stands for what was asked for.
fn place(transport: Transport, port: u16) -> SocketKey {
    SocketKey {
        role: Role::Listener(ListenerProtocol::Http),
        address: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
        transport,
    }
}

/// Sockets that are held, with the addresses they really have.
fn hold(
    holdings: &Holdings,
    transport: Transport,
    count: u16,
) -> Vec<(SocketKey, SocketAddr, watch::Receiver<Intake>)> {
    let hold = |port| {
        let place = place(transport, port);
        let (added, address) = match transport {
            Transport::Tcp => {
                let socket = TcpListener::bind("127.0.0.1:0").unwrap();
                (holdings.add(place, &socket), socket.local_addr())
            }
            Transport::Udp => {
                let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
                (holdings.add(place, &socket), socket.local_addr())
            }
        };
        (place, address.unwrap(), added.unwrap())
    };
    (1..=count).map(hold).collect()
}

fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async { tokio::time::timeout(PATIENCE * 4, test).await.unwrap() });
}

/// Asks as soon as the other end listens.
async fn ask_until(name: &Name, wanted: &[SocketKey]) -> (Predecessor, Vec<Inherited>) {
    loop {
        if let Some(answer) = ask(name, wanted).await.unwrap() {
            return answer;
        }
        tokio::task::yield_now().await;
    }
}

#[test]
fn any_number_of_sockets_is_handed_over() {
    run(async {
        let (name, holdings) = (name(), Holdings::default());
        let mut held = hold(&holdings, Transport::Tcp, 100);
        held.extend(hold(&holdings, Transport::Udp, 20));
        let (taken, mut is_taken) = watch::channel(false);
        let offering = tokio::spawn(offer(name.clone(), holdings.clone(), taken));
        let mut wanted: Vec<SocketKey> = held.iter().map(|(place, ..)| *place).collect();
        // One that the other does not have.
        wanted.insert(3, place(Transport::Tcp, 1000));
        let (predecessor, inherited) = ask_until(&name, &wanted).await;
        assert_eq!(inherited.len(), held.len());
        for (place, address, _) in &held {
            let found = inherited.iter().find(|inherited| inherited.place == *place).unwrap();
            let found = found.socket.local_addr().unwrap().as_socket();
            assert_eq!(found, Some(*address), "{place:?}");
        }
        let kept = predecessor.take_over().await;
        is_taken.wait_for(|taken| *taken).await.unwrap();
        assert!(held.iter().all(|(_, _, intake)| *intake.borrow() == Intake::Paused));
        // When the successor ends, all of them are accepted on again.
        drop(kept);
        is_taken.wait_for(|taken| !*taken).await.unwrap();
        for (_, _, intake) in &mut held {
            intake.wait_for(|intake| *intake == Intake::Open).await.unwrap();
        }
        offering.abort();
    });
}

/// It reads one question, answers with up to eight sockets, and hangs up on anything but "Serves".
#[test]
fn a_release_that_takes_one_question_hands_over_what_it_has() {
    run(async {
        let name = name();
        let listener = name.bind().unwrap();
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let wanted: Vec<SocketKey> = (1..=30)
            .map(|port| place(Transport::Tcp, port))
            .chain([place(Transport::Udp, 1)])
            .collect();
        let before = async {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (heard, _) = wire::receive(&stream).await.unwrap();
                let Message::Wants(asked) = heard else {
                    panic!("{heard:?}")
                };
                assert!(asked.iter().all(|place| place.transport == Transport::Tcp));
                let gives = Message::Gives(vec![asked[0]]);
                wire::send(&stream, &gives, &[socket.as_fd()]).await.unwrap();
                if let (Message::Serves, _) = wire::receive(&stream).await.unwrap() {
                    return wire::send(&stream, &Message::Yours, &[]).await.unwrap();
                }
            }
        };
        let after = async {
            let (predecessor, inherited) = ask_until(&name, &wanted).await;
            assert_eq!(inherited.len(), 1);
            assert_eq!(inherited[0].place, wanted[0]);
            assert!(predecessor.take_over().await.is_some());
        };
        tokio::join!(before, after);
    });
}

/// Its words, byte by byte.
#[test]
fn a_release_that_asks_one_question_is_answered_in_its_words() {
    run(async {
        let (name, holdings) = (name(), Holdings::default());
        let held = hold(&holdings, Transport::Tcp, 1);
        hold(&holdings, Transport::Udp, 1);
        let (taken, _) = watch::channel(false);
        let offering = tokio::spawn(offer(name.clone(), holdings.clone(), taken));
        let mut stream = loop {
            if let Ok(stream) = name.connect() {
                break stream;
            }
            tokio::task::yield_now().await;
        };
        let hears = async |stream: &mut UnixStream, wanted: &str| {
            let mut heard = vec![0; wanted.len()];
            stream.read_exact(&mut heard).await.unwrap();
            assert_eq!(String::from_utf8(heard).unwrap(), wanted);
        };
        let place = r#"[{"purpose":"Http","address":"127.0.0.1:1"}]"#;
        stream
            .write_all(format!("{{\"Wants\":{place}}}\n").as_bytes())
            .await
            .unwrap();
        hears(&mut stream, &format!("{{\"Gives\":{place}}}\n")).await;
        stream.write_all(b"\"Serves\"\n").await.unwrap();
        hears(&mut stream, "\"Yours\"\n").await;
        assert_eq!(*held[0].2.borrow(), Intake::Paused);
        offering.abort();
    });
}
