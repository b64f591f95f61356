//! HTTP/2 frame by frame, for peers that say exactly what a test says.

use crate::rig::PATIENCE;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
pub const DATA: u8 = 0x0;
pub const HEADERS: u8 = 0x1;
pub const PRIORITY: u8 = 0x2;
pub const RST_STREAM: u8 = 0x3;
pub const SETTINGS: u8 = 0x4;
pub const PING: u8 = 0x6;
pub const GOAWAY: u8 = 0x7;
pub const WINDOW_UPDATE: u8 = 0x8;
pub const CONTINUATION: u8 = 0x9;
/// Flags.
pub const END_STREAM: u8 = 0x1;
pub const ACK: u8 = 0x1;
pub const END_HEADERS: u8 = 0x4;
/// Error codes.
pub const NO_ERROR: u32 = 0x0;
pub const PROTOCOL_ERROR: u32 = 0x1;
pub const CANCEL: u32 = 0x8;
pub const ENHANCE_YOUR_CALM: u32 = 0xb;
/// `:status: 200`, an entry of the static table (RFC 7541).
pub const OK: &[u8] = &[0x88];

/// A frame's bytes.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = vec![length[1], length[2], length[3], kind, flags];
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

pub fn reset(stream: u32, code: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &code.to_be_bytes())
}

pub fn window_update(stream: u32, bytes: u32) -> Vec<u8> {
    frame(WINDOW_UPDATE, 0, stream, &bytes.to_be_bytes())
}

pub fn goaway(last: u32, code: u32) -> Vec<u8> {
    frame(GOAWAY, 0, 0, &[last.to_be_bytes(), code.to_be_bytes()].concat())
}

/// A field as a literal that no table takes in.
pub fn literal(name: &str, value: &str) -> Vec<u8> {
    let mut field = vec![0x00];
    for text in [name, value] {
        assert!(text.len() < 127);
        field.push(u8::try_from(text.len()).unwrap());
        field.extend(text.as_bytes());
    }
    field
}

/// A request's head: method, scheme and path by the static table where that has them.
pub fn head(method: &str, host: &str, fields: &[(&str, &str)]) -> Vec<u8> {
    let mut head = match method {
        "GET" => vec![0x82],
        "POST" => vec![0x83],
        _ => literal(":method", method),
    };
    if method != "CONNECT" {
        head.extend([0x84, 0x86]);
    }
    head.extend([0x01, u8::try_from(host.len()).unwrap()]);
    head.extend(host.as_bytes());
    for (name, value) in fields {
        head.extend(literal(name, value));
    }
    head
}

/// A frame as it came.
#[derive(Clone, Debug)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

impl Frame {
    pub fn ends(&self) -> bool {
        self.flags & END_STREAM != 0
    }

    /// The error code of an RST_STREAM or GOAWAY.
    pub fn code(&self) -> u32 {
        let at = if self.kind == GOAWAY { 4 } else { 0 };
        u32::from_be_bytes(self.payload[at..at + 4].try_into().unwrap())
    }
}

/// One end of a connection.
pub struct Raw {
    pub stream: TcpStream,
    buffer: Vec<u8>,
}

impl Raw {
    fn over(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        let buffer = Vec::new();
        Self { stream, buffer }
    }

    /// A client that has said its preface.
    pub fn connect(address: SocketAddr) -> Self {
        Self::connect_with(address, &[])
    }

    /// With this payload of SETTINGS.
    pub fn connect_with(address: SocketAddr, settings: &[u8]) -> Self {
        let mut raw = Self::over(TcpStream::connect(address).unwrap());
        raw.send([PREFACE, &frame(SETTINGS, 0, 0, settings)].concat());
        raw
    }

    /// Whether it could be sent.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.stream.write_all(bytes.as_ref()).is_ok()
    }

    fn fill(&mut self, wanted: usize) -> bool {
        let mut piece = [0; 65536];
        while self.buffer.len() < wanted {
            match self.stream.read(&mut piece) {
                Ok(count) if count > 0 => self.buffer.extend_from_slice(&piece[..count]),
                _ => return false,
            }
        }
        true
    }

    /// The next frame; absent when the connection ends. SETTINGS and PING are answered.
    pub fn next(&mut self) -> Option<Frame> {
        if !self.fill(9) {
            return None;
        }
        let length = u32::from_be_bytes([0, self.buffer[0], self.buffer[1], self.buffer[2]]) as usize;
        if !self.fill(9 + length) {
            return None;
        }
        let bytes: Vec<u8> = self.buffer.drain(..9 + length).collect();
        let frame_of = Frame {
            kind: bytes[3],
            flags: bytes[4],
            stream: u32::from_be_bytes(bytes[5..9].try_into().unwrap()),
            payload: bytes[9..].to_vec(),
        };
        match (frame_of.kind, frame_of.flags & ACK) {
            (SETTINGS, 0) => self.send(frame(SETTINGS, ACK, 0, &[])),
            (PING, 0) => self.send(frame(PING, ACK, 0, &frame_of.payload)),
            _ => true,
        };
        Some(frame_of)
    }

    /// The next frame of this kind.
    pub fn until(&mut self, kind: u8) -> Option<Frame> {
        loop {
            let frame = self.next()?;
            if frame.kind == kind {
                return Some(frame);
            }
        }
    }

    /// All frames until a stream is over, either way.
    pub fn stream_of(&mut self, stream: u32) -> Vec<Frame> {
        let mut frames = Vec::new();
        while let Some(frame) = self.next() {
            let of_it = frame.stream == stream && matches!(frame.kind, DATA | HEADERS | RST_STREAM);
            let over = of_it && (frame.kind == RST_STREAM || frame.ends());
            if of_it || frame.kind == GOAWAY {
                frames.push(frame);
            }
            if over {
                break;
            }
        }
        frames
    }
}

/// A pod whose connections are served one thread each; it is told how many there were before.
pub fn pod(serve: impl Fn(Raw, usize) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let serve = std::sync::Arc::new(serve);
    std::thread::spawn(move || {
        for (index, stream) in listener.incoming().flatten().enumerate() {
            let serve = serve.clone();
            std::thread::spawn(move || {
                let mut raw = Raw::over(stream);
                if raw.fill(PREFACE.len()) {
                    raw.buffer.drain(..PREFACE.len());
                    raw.send(frame(SETTINGS, 0, 0, &[]));
                    serve(raw, index);
                }
            });
        }
    });
    address
}
