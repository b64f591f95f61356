//! One stream of a client's HTTP/2 connection: a request, and its reply on the way.

use super::Conn;
use super::duplex::Duplex;
use super::hold::Turn;
use super::sending::Sending;
use crate::message;
use crate::proxy::{self, Client, ProxyError, Reply, RequestBody, StreamBody};
use crate::serve::tunnel;
use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, Request, Response};
use http_body::Body as _;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

/// What becomes of a stream. Dropped before its end, it resets the stream.
pub(super) struct Stream {
    conn: Rc<Conn>,
    client: Rc<Client>,
    respond: SendResponse<Bytes>,
    /// The client's side of a stream that may become a tunnel.
    input: Option<RecvStream>,
    state: State,
}

/// A request and its body.
type Asked = (Rc<message::Request>, RequestBody);

/// The parts of a request's life.
#[expect(
    clippy::large_enum_variant,
    reason = "most streams come to send a reply, and a box for it would be one allocation more for each"
)]
enum State {
    /// Others of the connection hold too much.
    Waiting(Pin<Box<dyn Future<Output = ()>>>, Option<Asked>),
    Answering(Pin<Box<dyn Future<Output = Reply>>>),
    Sending(Sending),
    Tunnel(Pin<Box<dyn Future<Output = ()>>>),
    Done,
}

impl Stream {
    pub(super) fn new(
        conn: Rc<Conn>,
        client: Rc<Client>,
        request: Request<RecvStream>,
        respond: SendResponse<Bytes>,
        admitted: Result<Option<Turn>, ProxyError>,
    ) -> Self {
        let (asked, input) = split(request);
        let mut stream = Self {
            conn,
            client,
            respond,
            input,
            state: State::Done,
        };
        stream.state = match admitted {
            Ok(None) => stream.answer(asked),
            Ok(Some(turn)) => {
                let client = stream.client.clone();
                let comes = async move { turn.comes(&client).await };
                State::Waiting(Box::pin(comes), Some(asked))
            }
            Err(error) => {
                let reply = proxy::refuse(&stream.conn.shard.worker, &stream.client, &asked.0, error);
                // Nobody reads its body.
                drop(asked);
                stream.reply(reply)
            }
        };
        stream
    }

    fn answer(&self, (request, body): Asked) -> State {
        let (worker, client) = (self.conn.shard.worker.clone(), self.client.clone());
        State::Answering(Box::pin(async move {
            let mut reply = Reply::new(&client);
            proxy::respond(&worker, &client, &request, body, &mut reply).await;
            reply
        }))
    }

    /// Sends the head of a reply.
    fn reply(&mut self, reply: Reply) -> State {
        let mut body = reply.body;
        let mut head = Response::new(());
        *head.status_mut() = reply.head.status;
        *head.headers_mut() = reply.head.fields.to_map();
        if let header::Entry::Vacant(entry) = head.headers_mut().entry(header::DATE)
            && let Some(date) = self.conn.shard.date.now(self.conn.clock())
        {
            entry.insert(date);
        }
        let input = self.input.take();
        if let (Some(input), Some(exchange)) = (input, body.take_tunnel()) {
            // The reply is out with its head: from now on it is the tunnel that stands still or does not.
            drop(body);
            head.headers_mut().remove(header::CONTENT_LENGTH);
            let Some(output) = self.send(head, false) else {
                return State::Done;
            };
            let stream = Duplex::new(self.conn.earned.clone(), input, output);
            let tunnel = tunnel::over_h2(self.conn.shard.clone(), self.client.clone(), stream, exchange);
            return State::Tunnel(Box::pin(tunnel));
        }
        let ends = body.is_end_stream();
        if let (false, Some(length)) = (ends, body.size_hint().exact()) {
            let entry = head.headers_mut().entry(header::CONTENT_LENGTH);
            entry.or_insert_with(|| HeaderValue::from(length));
        }
        match self.send(head, ends) {
            Some(output) if !ends => State::Sending(Sending::new(output, body)),
            _ => State::Done,
        }
    }

    fn send(&mut self, head: Response<()>, ends: bool) -> Option<h2::SendStream<Bytes>> {
        let sent = self.respond.send_response(head, ends);
        let refused = |error| {
            tracing::debug!(peer = %self.conn.peer.socket, %error, "a response head could not be sent");
            self.respond.send_reset(Reason::INTERNAL_ERROR);
        };
        sent.map_err(refused).ok()
    }
}

impl Future for Stream {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        loop {
            this.state = match &mut this.state {
                State::Waiting(comes, request) => {
                    if comes.as_mut().poll(cx).is_pending() {
                        // When the client has reset the stream, or its connection is gone, nobody waits any more.
                        return this.respond.poll_reset(cx).map(drop);
                    }
                    let Some(request) = request.take() else {
                        return Poll::Ready(());
                    };
                    this.answer(request)
                }
                State::Answering(answering) => {
                    let polled = answering.as_mut().poll(cx);
                    for interim in this.client.take_interim() {
                        let mut head = Response::new(());
                        *head.status_mut() = interim.status;
                        *head.headers_mut() = interim.fields.to_map();
                        // What comes too late is no loss.
                        let _ = this.respond.send_informational(head);
                    }
                    let Poll::Ready(reply) = polled else {
                        return this.respond.poll_reset(cx).map(drop);
                    };
                    this.conn.earned.head();
                    this.reply(reply)
                }
                State::Sending(sending) => {
                    ready!(sending.poll(&this.client, this.conn.clock(), cx));
                    State::Done
                }
                State::Tunnel(tunnel) => return tunnel.as_mut().poll(cx),
                State::Done => return Poll::Ready(()),
            };
        }
    }
}

/// A request as `proxy` takes it. If its stream may become a tunnel, its input comes apart, since it is not a body then.
fn split(request: Request<RecvStream>) -> (Asked, Option<RecvStream>) {
    let (parts, input) = request.into_parts();
    let mut asked = message::Request::of_parts(&parts);
    if asked.method != Method::CONNECT {
        let body = RequestBody::Http2(StreamBody::new(input, length(&parts.headers)));
        return ((Rc::new(asked), body), None);
    }
    if let Ok(true) = proxy::upgrade::is_extended_connect(&parts.method, &parts.extensions) {
        asked.method = Method::GET;
        asked.websocket = true;
    }
    ((Rc::new(asked), RequestBody::Empty), Some(input))
}

/// What `Content-Length` says.
pub(super) fn length(fields: &HeaderMap) -> Option<u64> {
    let length = fields.get(header::CONTENT_LENGTH)?;
    length.to_str().ok()?.parse().ok()
}
