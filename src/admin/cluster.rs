//! `?scope=cluster`: one question to all narthexes, and what each of them says.
//!
//! A peer that does not answer is shown as silent, and holds up the others no longer than [`DEADLINE`]. Nobody passes on
//! what was passed on to it: `scope` is taken out of the question, and a field says that it comes from a peer.

use super::Admin;
use super::api::{Query, bad};
use super::reply::{Reply, json_reply, not_found};
use crate::peers::{self, Answer, AnswerBudget, MOST_PEERS, Peer, SCOPE};
use futures_util::StreamExt;
use http::header::{self, HeaderMap};
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::value::RawValue;
use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// How long all peers together have.
const DEADLINE: Duration = Duration::from_secs(2);
/// Peers that are asked at once.
const AT_ONCE: usize = 128;
/// Bytes of all peers' answers together.
const ROOM: usize = 32 << 20;

/// What all narthexes answer.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Nodes {
    /// This one first, then by address.
    nodes: Vec<Node>,
}

/// What one narthex answers.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Node {
    /// Its pod's name, as it says or as its Service's slices have it.
    pod: Option<String>,
    /// Its admin address.
    address: String,
    /// Whether nothing came from it in time.
    silent: bool,
    /// Why there is no answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    /// What it says to the same question without `scope=cluster`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "serde_json::Value")]
    answer: Option<Box<RawValue>>,
}

/// Whether a question is for all narthexes.
pub fn is_for_all(request: &Request<()>) -> bool {
    let path = request.uri().path();
    let query = request.uri().query().unwrap_or_default();
    path.starts_with("/api/v1/")
        && !request.headers().contains_key(SCOPE)
        && Query::parse(query).is_ok_and(|query| query.get("scope") == Some("cluster"))
}

/// A query without its scope.
fn without_scope(query: &str) -> String {
    let kept = query.split('&').filter(|pair| {
        let name = pair.split('=').next().unwrap_or_default();
        super::unescape(name) != "scope"
    });
    kept.collect::<Vec<_>>().join("&")
}

impl Node {
    fn of(peer: &Peer, answer: Result<Answer, String>) -> Self {
        let pod = peer.pod.as_deref().map(str::to_owned);
        let address = peer.address.to_string();
        let answer = match answer {
            Ok(answer) => answer,
            Err(why) => {
                return Self {
                    pod,
                    address,
                    silent: true,
                    error: Some(why),
                    answer: None,
                };
            }
        };
        let (answer, error) = match serde_json::from_slice::<Box<RawValue>>(&answer.body) {
            Ok(said) if answer.status == StatusCode::OK => (Some(said), None),
            Ok(said) => (None, Some(format!("{}: {}", answer.status.as_u16(), complaint(&said)))),
            Err(_) => (None, Some(format!("{}, and not in JSON", answer.status.as_u16()))),
        };
        Self {
            pod,
            address,
            silent: false,
            error,
            answer,
        }
    }
}

/// What an error says, without its wrapping.
fn complaint(said: &RawValue) -> String {
    let error = serde_json::from_str::<serde_json::Value>(said.get()).ok();
    let text = error.and_then(|error| error.get("error")?.as_str().map(str::to_owned));
    text.unwrap_or_else(|| said.get().chars().take(200).collect())
}

impl Admin {
    /// Peers as they are known now, without this process; one address each.
    fn peers(&self) -> Vec<Peer> {
        let given = self.around.peers.iter().map(|address| Peer {
            address: address.clone(),
            pod: None,
        });
        let members = self.shared.members.load();
        let found = members.iter().map(|(address, pod)| Peer {
            address: address.to_string().into(),
            pod: pod.clone(),
        });
        let mut pods: HashSet<Arc<str>> = HashSet::from([Arc::from(&*self.identity.pod)]);
        let mut addresses: HashSet<Arc<str>> = self.around.own.iter().map(|own| own.to_string().into()).collect();
        let mut peers: Vec<Peer> = Vec::new();
        for peer in found.chain(given) {
            let address = peer.address.parse::<SocketAddr>().map(peers::canonical);
            let address = address.map_or_else(|_| peer.address.clone(), |address| address.to_string().into());
            let is_new = addresses.insert(address) && peer.pod.as_ref().is_none_or(|pod| pods.insert(pod.clone()));
            if is_new && peers.len() < MOST_PEERS {
                peers.push(peer);
            }
        }
        peers
    }

    /// This process, as its peers know it.
    fn itself(&self) -> Peer {
        let members = self.shared.members.load();
        let found = members
            .iter()
            .find(|(_, pod)| pod.as_deref() == Some(&*self.identity.pod))
            .map(|(address, _)| address);
        let address = found.or(self.around.own.first());
        Peer {
            address: address.map_or_else(String::new, ToString::to_string).into(),
            pod: Some(Arc::from(&*self.identity.pod)),
        }
    }

    /// Puts a question to all.
    pub(super) async fn answer_for_all(self: &Arc<Self>, request: &Request<()>) -> Reply {
        let (path, query) = (request.uri().path(), request.uri().query().unwrap_or_default());
        let Some(below) = path.strip_prefix("/api/v1/").filter(|below| *below != "stream") else {
            return bad("the stream is one narthex's: listen to each of them");
        };
        let query = without_scope(query);
        let own = tokio::task::block_in_place(|| self.answer_api(below, &query));
        let Some(own) = own else {
            return not_found(path);
        };
        // What is wrong with a question is so everywhere.
        if own.status() == StatusCode::BAD_REQUEST {
            return own;
        }
        let target = match query.as_str() {
            "" => path.to_owned(),
            query => format!("{path}?{query}"),
        };
        let mut nodes = self.ask_all(&target, request.headers()).await;
        let status = own.status();
        let body = own.into_body().collect().await.map(http_body_util::Collected::to_bytes);
        let answer = Answer {
            status,
            pod: None,
            started: None,
            body: body.unwrap_or_else(|never| match never {}),
        };
        nodes.insert(0, Node::of(&self.itself(), Ok(answer)));
        json_reply(StatusCode::OK, serde_json::to_string(&Nodes { nodes }))
    }

    async fn ask_all(&self, target: &str, fields: &HeaderMap) -> Vec<Node> {
        let deadline = Instant::now() + DEADLINE;
        let room = AnswerBudget::new(ROOM);
        // Peers want the same token; where none is wanted here, it is not ours to hand on.
        let token = fields.get(header::AUTHORIZATION).filter(|_| self.gate.wants_token());
        let own = (self.identity.pod.as_str(), self.identity.started.to_string());
        let asked = self.peers().into_iter().map(|peer| {
            let (room, own) = (&room, &own);
            async move {
                let asking = peers::ask(&peer.address, target, token, room);
                let answer = match timeout_at(deadline, asking).await {
                    Ok(Ok(answer)) => answer,
                    Ok(Err(why)) => return Some(Node::of(&peer, Err(why.to_string()))),
                    Err(_) => {
                        let why = format!("no answer within {} s", DEADLINE.as_secs());
                        return Some(Node::of(&peer, Err(why)));
                    }
                };
                let said = (answer.pod.as_deref(), answer.started.as_deref());
                // By another of its addresses, it was this very process that answered.
                if said == (Some(own.0), Some(own.1.as_str())) {
                    return None;
                }
                let pod = answer.pod.clone().map(Arc::from).or_else(|| peer.pod.clone());
                Some(Node::of(&Peer { pod, ..peer }, Ok(answer)))
            }
        });
        let mut nodes: Vec<Node> = futures_util::stream::iter(asked)
            .buffer_unordered(AT_ONCE)
            .filter_map(std::future::ready)
            .collect()
            .await;
        nodes.sort_by(|one, other| one.address.cmp(&other.address));
        nodes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn node(status: u16, body: &str) -> Node {
        let peer = Peer {
            address: "10.0.0.1:8080".into(),
            pod: None,
        };
        let answer = Answer {
            status: StatusCode::from_u16(status).unwrap(),
            pod: None,
            started: None,
            body: Bytes::from(body.to_owned()),
        };
        Node::of(&peer, Ok(answer))
    }

    #[test]
    fn the_scope_is_taken_out_however_it_is_written() {
        for (query, kept) in [
            ("scope=cluster", ""),
            ("q=a&scope=cluster&page=2", "q=a&page=2"),
            ("s%63ope=cluster&scope=x&q=scope", "q=scope"),
            ("scope&q=%26scope=cluster", "q=%26scope=cluster"),
        ] {
            assert_eq!(without_scope(query), kept);
        }
    }

    #[test]
    fn only_whole_json_is_passed_on() {
        assert_eq!(node(200, "{\"a\": [1]}\n").answer.unwrap().get(), "{\"a\": [1]}");
        for (status, body, error) in [
            (200, "{\"a\": [1]", "200, and not in JSON"),
            (200, "</script>", "200, and not in JSON"),
            (200, "{} {}", "200, and not in JSON"),
            (404, "{\"error\": \"gone\"}", "404: gone"),
            (500, "[]", "500: []"),
        ] {
            let node = node(status, body);
            assert!(node.answer.is_none() && !node.silent);
            assert_eq!(node.error.as_deref(), Some(error));
        }
    }
}
