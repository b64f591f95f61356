//! What clients see when narthex ends: nobody who has just connected is sent away without an answer.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use arc_swap::ArcSwap;
use clap::Parser;
use narthex::testing::cli::Cli;
use narthex::testing::serve::handover::SocketKey;
use narthex::testing::serve::{Binding, Server, bind};
use narthex::testing::table::{Listener, Table};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

fn started() -> (Server, SocketAddr) {
    let args = Cli::parse_from(["narthex"]).serve;
    let settings = Arc::new(args.proxy_settings(None, 1000));
    let listener = Arc::new(Listener::http(0, "127.0.0.1:0".parse().unwrap()));
    let bound = bind(SocketKey::of(&listener), &Binding::default()).unwrap();
    let mut table = Table::default();
    table.set_listener(0, Some(listener));
    let tables = Arc::new(ArcSwap::from_pointee(table));
    let mut server = Server::start(tables, settings, args.shard_settings(None), 2, 100).unwrap();
    let address = bound.address();
    server.listen(vec![bound]).unwrap();
    (server, address)
}

fn connected(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream
}

fn ask(stream: &mut TcpStream) {
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n").unwrap();
}

/// Everything until the end of the connection.
fn rest(stream: &mut TcpStream) -> String {
    let mut all = String::new();
    stream.read_to_string(&mut all).unwrap();
    all
}

/// A connection that has just been used is about to be used again, whatever the spread: its next reply tells.
#[test]
fn what_was_used_within_a_second_is_not_closed() {
    let (server, address) = started();
    let mut kept = connected(address);
    let mut answer = [0; 4096];
    ask(&mut kept);
    assert!(kept.read(&mut answer).unwrap() > 0);
    server.drain(Duration::ZERO);
    std::thread::sleep(Duration::from_millis(400));
    ask(&mut kept);
    let answer = rest(&mut kept).to_lowercase();
    assert!(answer.contains("\r\nconnection: close\r\n"), "{answer}");
}

/// Whoever asks again is answered and told; nobody is cut off between two requests.
#[test]
fn the_next_reply_on_a_kept_connection_is_its_last() {
    let (server, address) = started();
    let mut kept = connected(address);
    ask(&mut kept);
    let mut answer = [0; 4096];
    let length = kept.read(&mut answer).unwrap();
    let first = String::from_utf8_lossy(answer.get(..length).unwrap()).to_lowercase();
    assert!(!first.contains("connection: close"), "{first}");
    server.drain(Duration::from_secs(36_000));
    std::thread::sleep(Duration::from_millis(600));
    ask(&mut kept);
    let answer = rest(&mut kept).to_lowercase();
    assert!(answer.starts_with("http/1.1 404 "), "{answer}");
    assert!(answer.contains("\r\nconnection: close\r\n"), "{answer}");
}

#[test]
fn idle_connections_are_not_all_closed_at_once() {
    let (server, address) = started();
    let mut idle: Vec<_> = (0..20).map(|_| connected(address)).collect();
    for stream in &mut idle {
        ask(stream);
        assert!(stream.read(&mut [0; 4096]).unwrap() > 0);
    }
    server.drain(Duration::from_secs(4));
    let began = Instant::now();
    let waiting = idle.into_iter().map(|mut stream| {
        std::thread::spawn(move || {
            assert_eq!(rest(&mut stream), "");
            began.elapsed()
        })
    });
    let waiting: Vec<_> = waiting.collect();
    let ends: Vec<_> = waiting.into_iter().map(|thread| thread.join().unwrap()).collect();
    let first = ends.iter().min().unwrap();
    let last = ends.iter().max().unwrap();
    assert!(*last - *first > Duration::from_millis(500), "{first:?} to {last:?}");
}

#[test]
fn a_fresh_connection_is_answered_and_an_idle_one_is_closed() {
    let (server, address) = started();
    let mut used = connected(address);
    ask(&mut used);
    let mut answer = [0; 4096];
    let length = used.read(&mut answer).unwrap();
    assert!(answer.get(..length).unwrap().starts_with(b"HTTP/1.1 404 "));
    let (mut fresh, mut silent) = (connected(address), connected(address));
    std::thread::sleep(Duration::from_millis(100));

    server.drain(Duration::ZERO);
    let began = Instant::now();
    std::thread::sleep(Duration::from_millis(300));
    ask(&mut fresh);
    let answer = rest(&mut fresh);
    assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
    assert!(began.elapsed() < Duration::from_secs(1), "and closed then");

    assert_eq!(rest(&mut used), "", "an idle connection is closed");
    assert_eq!(rest(&mut silent), "");
    assert!(
        began.elapsed() < Duration::from_secs(3),
        "but nobody is waited for long"
    );
    let refused = TcpStream::connect(address).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    let until = Instant::now() + Duration::from_secs(5);
    while !server.is_drained() {
        assert!(Instant::now() < until, "the server is never done");
        std::thread::sleep(Duration::from_millis(10));
    }
}
