//! What a request allocates, over real sockets.

use super::process::{PodsOfRoute, Process, table};
use crate::table::{BackendSettings, PodSet};
use crate::upstream::Stream;
use arc_swap::ArcSwap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, mpsc};
use std::thread;
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::oneshot;

/// Requests of the client, each as a browser sends it.
const REQUEST: &[u8] =
    b"GET /a/1?b=c HTTP/1.1\r\nHost: a.test\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64)\r\nAccept: */*\r\n\
                         Accept-Encoding: gzip, br\r\nAccept-Language: en\r\nCookie: a=b; c=d\r\n\r\n";
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nServer: pod\r\nContent-Length: 5\r\n\r\nhello";
const WARM: usize = 500;
const COUNTED: usize = 10_000;

/// Answers requests, one connection in a thread.
fn serve(listener: TcpListener) {
    for stream in listener.incoming() {
        let Ok(mut stream) = stream else { return };
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            let mut got = Vec::new();
            while let Ok(count @ 1..) = stream.read(&mut bytes) {
                got.extend_from_slice(&bytes[..count]);
                if got.ends_with(b"\r\n\r\n") {
                    got.clear();
                    stream.write_all(ANSWER).unwrap();
                }
            }
        });
    }
}

/// Asks so often.
fn ask(stream: &mut TcpStream, times: usize) {
    let mut bytes = [0; 4096];
    for _ in 0..times {
        stream.write_all(REQUEST).unwrap();
        let mut got = Vec::new();
        while !got.ends_with(b"hello") {
            let count = stream.read(&mut bytes).unwrap();
            assert_ne!(count, 0, "the connection is kept");
            got.extend_from_slice(&bytes[..count]);
        }
        assert!(got.starts_with(b"HTTP/1.1 200 OK\r\n"));
    }
}

#[test]
fn a_request_on_a_kept_connection_allocates_nothing() {
    let pod = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = pod.local_addr().unwrap();
    thread::spawn(move || serve(pod));
    let routes = [0, 1].map(|pod| PodsOfRoute {
        pods: vec![pod],
        generation: 1,
    });
    let settings = [0, 1].map(|_| Arc::new(BackendSettings::default()));
    let mut table = table(1, &routes, &settings);
    let simulated = table.all_pods().next().unwrap();
    let mut endpoint = simulated.endpoints[0].clone();
    endpoint.address = address;
    let pods = PodSet {
        endpoints: Arc::new([endpoint]),
        ..PodSet::clone(simulated)
    };
    table.set_pods(0, Some(Arc::new(pods)));
    let tables = Arc::new(ArcSwap::from_pointee(table));

    let front = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut client = TcpStream::connect(front.local_addr().unwrap()).unwrap();
    client.set_nodelay(true).unwrap();
    let (accepted, from) = front.accept().unwrap();
    accepted.set_nonblocking(true).unwrap();
    let (warm, is_warm) = oneshot::channel();
    let (done, is_done) = oneshot::channel();
    let (go_on, goes_on) = mpsc::channel();
    thread::spawn(move || {
        ask(&mut client, WARM);
        warm.send(()).unwrap();
        goes_on.recv().unwrap();
        ask(&mut client, COUNTED);
        done.send(()).unwrap();
    });

    let runtime = Builder::new_current_thread()
        .enable_all()
        .build_local(LocalOptions::default())
        .unwrap();
    let process = runtime.block_on(async {
        let process = Process::start(&tables, false);
        let stream = tokio::net::TcpStream::from_std(accepted).unwrap();
        process.accept_stream(Stream::Plain(stream), from);
        is_warm.await.unwrap();
        process
    });
    let counted = allocation_counter::measure(|| {
        go_on.send(()).unwrap();
        runtime.block_on(is_done).unwrap();
    });
    // What is done once a tick may allocate.
    let most = COUNTED as u64 / 20;
    assert!(counted.count_total < most, "{counted:?}");
    drop(process);
}
