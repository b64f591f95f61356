//! A pod that says exactly what a test wants when it has read a head, and knows when its connection ends.

use crate::rig::eventually;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What it does behind a request's head.
#[derive(Clone)]
pub enum Then {
    /// Says this, piece by piece with this pause between, and reads until the connection ends.
    Says(Vec<&'static str>, Duration),
    /// Says this and closes, whatever is still to be read.
    SaysAndCloses(&'static str),
    /// Says this again and again with this pause between, until the connection ends.
    Repeats(&'static str, &'static str, Duration),
}

/// The pod.
pub struct ToldPod {
    pub address: SocketAddr,
    /// The heads it has read.
    pub heads: Arc<Mutex<Vec<String>>>,
    /// Connections that have ended from the other side.
    pub ended: Arc<AtomicUsize>,
    /// Bytes of bodies it has read.
    pub read: Arc<AtomicUsize>,
}

impl ToldPod {
    pub fn start(then: Then) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let pod = Self {
            address: listener.local_addr().unwrap(),
            heads: Arc::default(),
            ended: Arc::default(),
            read: Arc::default(),
        };
        let (heads, ended, read) = (pod.heads.clone(), pod.ended.clone(), pod.read.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (then, heads, ended, read) = (then.clone(), heads.clone(), ended.clone(), read.clone());
                std::thread::spawn(move || {
                    if serve(stream, &then, &heads, &read) {
                        ended.fetch_add(1, Ordering::SeqCst);
                    }
                });
            }
        });
        pod
    }

    pub fn asked(&self, times: usize) {
        eventually("the pod is asked", || {
            (self.heads.lock().unwrap().len() >= times).then_some(())
        });
    }

    pub fn ended(&self, times: usize) {
        eventually("the pod is told that the client has gone", || {
            (self.ended.load(Ordering::SeqCst) >= times).then_some(())
        });
    }
}

/// Whether it ended from the other side.
fn serve(mut stream: TcpStream, then: &Then, heads: &Mutex<Vec<String>>, read: &AtomicUsize) -> bool {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        match stream.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            _ => return false,
        }
    }
    heads.lock().unwrap().push(String::from_utf8_lossy(&head).into_owned());
    match then {
        Then::SaysAndCloses(text) => {
            let _ = stream.write_all(text.as_bytes());
            return false;
        }
        Then::Says(pieces, pause) => {
            for piece in pieces {
                if stream.write_all(piece.as_bytes()).is_err() {
                    return true;
                }
                std::thread::sleep(*pause);
            }
        }
        Then::Repeats(first, text, pause) => {
            let mut writer = stream.try_clone().unwrap();
            let (first, text, pause) = (*first, *text, *pause);
            std::thread::spawn(move || {
                let mut next = first;
                while writer.write_all(next.as_bytes()).is_ok() {
                    std::thread::sleep(pause);
                    next = text;
                }
            });
        }
    }
    let mut piece = [0; 65536];
    loop {
        match stream.read(&mut piece) {
            Ok(count) if count > 0 => drop(read.fetch_add(count, Ordering::SeqCst)),
            _ => return true,
        }
    }
}
