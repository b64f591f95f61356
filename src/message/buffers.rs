//! The memory of messages that have ended, for those that come.

use super::{Fields, Request};
use crate::http1::{LONGEST_KEPT, Line};
use bytes::BytesMut;
use std::cell::RefCell;
use std::rc::Rc;

/// How much of each kind is kept. More messages at once allocate.
const MOST: usize = 128;
/// The longest list of fields whose memory is kept.
const MOST_LINES: usize = 64;
/// Room for most heads.
const USUAL_HEAD: usize = 1 << 10;
const USUAL_LINES: usize = 24;
/// Room for what comes first on a connection, which is all of most messages.
pub const FIRST_READ: usize = 8 << 10;

/// Memory that is lent to a message while it is under way. Each shard has its own.
#[derive(Default)]
pub struct Buffers {
    requests: RefCell<Vec<Rc<Request>>>,
    fields: RefCell<Vec<Fields>>,
    lines: RefCell<Vec<Vec<Line>>>,
    heads: RefCell<Vec<Vec<u8>>>,
    inputs: RefCell<Vec<BytesMut>>,
}

fn keep<T>(kept: &RefCell<Vec<T>>, one: T) {
    let mut kept = kept.borrow_mut();
    if kept.len() < MOST {
        kept.push(one);
    }
}

impl Buffers {
    /// A request that nobody else has, of which nothing is set yet.
    pub fn request(&self) -> Rc<Request> {
        self.requests.borrow_mut().pop().unwrap_or_default()
    }

    /// Takes a request back, unless somebody still has it.
    pub fn return_request(&self, mut request: Rc<Request>) {
        if let Some(last) = Rc::get_mut(&mut request) {
            self.return_lines(last.fields.clear());
            if last.fields.capacity() <= LONGEST_KEPT {
                keep(&self.requests, request);
            }
        }
    }

    /// Fields without a line, and without room for lines.
    pub fn fields(&self) -> Fields {
        self.fields.borrow_mut().pop().unwrap_or_default()
    }

    /// Takes fields back.
    pub fn return_fields(&self, mut fields: Fields) {
        self.return_lines(fields.clear());
        if (1..=LONGEST_KEPT).contains(&fields.capacity()) {
            keep(&self.fields, fields);
        }
    }

    /// An empty list of lines.
    pub fn lines(&self) -> Vec<Line> {
        let kept = self.lines.borrow_mut().pop();
        kept.unwrap_or_else(|| Vec::with_capacity(USUAL_LINES))
    }

    fn return_lines(&self, lines: Vec<Line>) {
        if (1..=MOST_LINES).contains(&lines.capacity()) {
            keep(&self.lines, lines);
        }
    }

    /// An empty buffer for a head that is written.
    pub fn head(&self) -> Vec<u8> {
        let kept = self.heads.borrow_mut().pop();
        kept.unwrap_or_else(|| Vec::with_capacity(USUAL_HEAD))
    }

    /// Takes such a buffer back.
    pub fn return_head(&self, mut head: Vec<u8>) {
        if (1..=LONGEST_KEPT).contains(&head.capacity()) {
            head.clear();
            keep(&self.heads, head);
        }
    }

    /// An empty buffer for what is read, with room for [`FIRST_READ`] bytes.
    pub fn input(&self) -> BytesMut {
        let mut input = self.inputs.borrow_mut().pop().unwrap_or_default();
        // Memory of which nobody has a part any more is used again.
        input.reserve(FIRST_READ);
        input
    }

    /// Takes such a buffer back, which must not have grown since.
    pub fn return_input(&self, mut input: BytesMut) {
        if (1..=FIRST_READ).contains(&input.capacity()) {
            input.clear();
            keep(&self.inputs, input);
        }
    }
}
